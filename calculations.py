"""Who gets how much: every formula of the money path, and nothing else.

Guaranteed: pure (no database, no clock, no I/O), the same answer for the same input
in whatever order it comes, and integers all the way: sats, and fiat in minor units
(`*_cents`). Fractions are `Decimal`. Where a ratio is needed it is kept as two
integers and rounded once, so neither a float nor the decimal context takes part.

Not guaranteed: that the figures are true. What the machine said is checked in
`bitspire.py`; what an LP owns is read in `crud.py`.

A float or a bool in the place of money is a programming error (`TypeError`). What
people and machines send in goes through `fiat_cents` and `fraction4`, which raise
`ValueError` with a sentence for whoever sent it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol, TypeVar

from .models import CASH_IN, CASH_OUT

# SQLite keeps a DECIMAL as a 64-bit float. Up to here `ROUND(amount * 100)` gives
# back every cent; a little above it does not, and an LP's balance would drift.
MAX_FIAT_CENTS = 3_000_000_000_000_000

_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")


class ConservationError(ValueError):
    """A plan that would lose or invent sats or fiat; its text says how much."""


class Split(Protocol):
    """What `allocate_operator_split_legs` needs of a commission split."""

    @property
    def id(self) -> str: ...

    @property
    def fraction(self) -> Decimal: ...

    @property
    def sort_order(self) -> int: ...


SplitT = TypeVar("SplitT", bound=Split)


@dataclass(frozen=True)
class DcaCandidate:
    """An LP who could take part: `cap_cents` is the most that may be debited now."""

    client_id: str
    balance_cents: int
    cap_cents: int


@dataclass(frozen=True)
class DcaShare:
    """What one LP is debited and receives; both are more than 0."""

    client_id: str
    fiat_cents: int
    amount_sats: int


@dataclass(frozen=True)
class DcaAllocation:
    """The shares in order of client id, and their two sums."""

    shares: tuple[DcaShare, ...]
    fiat_cents: int
    amount_sats: int


@dataclass(frozen=True)
class DispenseSplit:
    """A settlement's figures for what was really dispensed; `refund_sats` is owed
    to the customer."""

    principal_sats: int
    fee_sats: int
    platform_fee_sats: int
    operator_fee_sats: int
    refund_sats: int


# --- numbers as people and machines write them --------------------------------------


def shown(value: Any) -> str:
    """`value` as an error sentence may quote it: short, printable, never raising.

    Lone surrogates and control characters are replaced: the sentence is stored, and
    neither database takes them.
    """
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value[:40].encode("utf-8", "replace").decode("utf-8")
        text = "".join(c if c.isprintable() else "?" for c in text)
        return f'"{text}…"' if len(value) > 40 else f'"{text}"'
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of more than 60 digits"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Decimal):
        return str(value)[:40]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a {type(value).__name__}"


def exact_number(value: Any, what: str) -> Decimal:
    """`value` (text, int, float or `Decimal`) as the `Decimal` that was written.

    A float is taken at its shortest text (`repr`), which is what JSON carried. Text
    is plain decimal notation; nothing is stripped or guessed. Raises `ValueError`.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError(f"{what} is {shown(value)}: it must be a number.")
    if isinstance(value, str):
        if not _PLAIN_NUMBER.fullmatch(value):
            raise ValueError(
                f"{what} is {shown(value)}: it must be a number, like 750.00."
            )
        return Decimal(value)
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{what} is {shown(value)}: it must be a finite number.")
    return number


def fiat_cents(value: Any, what: str = "The amount") -> int:
    """Fiat, as text or number in units with at most two places, in minor units.

    `what` begins the sentence of the `ValueError` raised for anything else: not a
    finite number, a third decimal, or more than `MAX_FIAT_CENTS` either way.
    Negative amounts pass: whether one makes sense is the caller's question.
    """
    number = exact_number(value, what)
    if not number:
        return 0
    if number.adjusted() > 20:
        raise ValueError(
            f"{what} is {shown(value)}: the most that can be kept is "
            f"{cents_text(MAX_FIAT_CENTS)}."
        )
    if number.adjusted() < -2 or (Fraction(number) * 100).denominator != 1:
        raise ValueError(
            f"{what} is {shown(value)}: it may have two decimal places, no more."
        )
    cents = int(Fraction(number) * 100)
    if abs(cents) > MAX_FIAT_CENTS:
        raise ValueError(
            f"{what} is {shown(value)}: the most that can be kept is "
            f"{cents_text(MAX_FIAT_CENTS)}."
        )
    return cents


def cents_text(cents: int) -> str:
    """Minor units as text in units: 75000 is "750.00"."""
    _check_int("cents", cents)
    units, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{units}.{rest:02d}"


def fraction4(value: Any, what: str = "The fraction") -> Decimal:
    """A share of principal, 0 to 1 with at most four places, as `Decimal` with four.

    Raises `ValueError` with a sentence that begins with `what`.
    """
    number = exact_number(value, what)
    if number < 0 or number > 1:
        raise ValueError(
            f"{what} is {shown(value)}: it must be from 0 to 1, "
            "a share and not a percentage (3 % is 0.0300)."
        )
    if not number:
        return Decimal("0.0000")
    if number.adjusted() < -4 or (Fraction(number) * 10_000).denominator != 1:
        raise ValueError(
            f"{what} is {shown(value)}: it may have four decimal places, no more."
        )
    return Decimal(int(Fraction(number) * 10_000)).scaleb(-4)


# --- exact arithmetic ---------------------------------------------------------------


def _check_int(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")


def _check_amount(name: str, value: Any) -> None:
    _check_int(name, value)
    if value < 0:
        raise ValueError(f"{name} is {shown(value)}: it must not be negative.")


def _check_fraction(name: str, value: Any) -> None:
    if not isinstance(value, Decimal):
        raise TypeError(f"{name} must be a Decimal, not {type(value).__name__}.")
    if not value.is_finite() or not 0 <= value <= 1:
        raise ValueError(f"{name} is {shown(value)}: it must be from 0 to 1.")


def round_half_up(numerator: int, denominator: int) -> int:
    """`numerator / denominator`, both integers >= 0, rounded to the nearest integer;
    a half goes up."""
    _check_amount("numerator", numerator)
    _check_int("denominator", denominator)
    if denominator <= 0:
        raise ValueError(f"denominator is {shown(denominator)}: it must be positive.")
    return (2 * numerator + denominator) // (2 * denominator)


def _weight_ratio(weight: int | Decimal) -> tuple[int, int]:
    if isinstance(weight, bool) or not isinstance(weight, (int, Decimal)):
        raise TypeError(
            f"A weight must be an int or a Decimal, not {type(weight).__name__}."
        )
    if isinstance(weight, Decimal) and not weight.is_finite():
        raise ValueError(f"A weight is {weight}: it must be finite.")
    if weight < 0:
        raise ValueError(f"A weight is {shown(weight)}: it must not be negative.")
    return weight.as_integer_ratio()


def largest_remainder(total: int, weights: Sequence[int | Decimal]) -> list[int]:
    """`total` shared pro rata to `weights`, in whole units that add up to `total`.

    Hamilton's method: everybody gets the whole part of their quota, and the units
    that are left go to the largest fractional parts, the earlier one first when two
    are equal: the order given is the order of ties. A weight of 0 gets 0; if all
    weights are 0 so are all parts. `TypeError` for a float or bool, `ValueError` for
    a negative number.
    """
    _check_amount("total", total)
    ratios = [_weight_ratio(weight) for weight in weights]
    scale = math.lcm(*(denominator for _, denominator in ratios))
    whole = [numerator * (scale // denominator) for numerator, denominator in ratios]
    weight_sum = sum(whole)
    if weight_sum == 0:
        return [0] * len(whole)
    parts = [total * weight // weight_sum for weight in whole]
    by_remainder = sorted(
        range(len(whole)), key=lambda i: (-(total * whole[i] % weight_sum), i)
    )
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


# --- the fee ------------------------------------------------------------------------


def split_principal_based(
    principal_sats: int, super_fraction: Decimal, operator_fraction: Decimal
) -> tuple[int, int]:
    """What the fractions give the platform and the operator, in sats.

    Each is `principal x fraction`, rounded half up: a share of *principal*. Taken of
    the fee instead, the platform once got 240 sat where 3 000 were due.
    """
    _check_amount("principal_sats", principal_sats)
    _check_fraction("super_fraction", super_fraction)
    _check_fraction("operator_fraction", operator_fraction)
    super_numerator, super_denominator = super_fraction.as_integer_ratio()
    numerator, denominator = operator_fraction.as_integer_ratio()
    return (
        round_half_up(principal_sats * super_numerator, super_denominator),
        round_half_up(principal_sats * numerator, denominator),
    )


@dataclass(frozen=True)
class FeeTerms:
    """What a customer is asked for a trade, and who forgives a part of it.

    `fixed_cents` is the operator's, beside the fraction. The two discounts are shares
    of the owner's own gross fee: nobody can give away another's.
    """

    platform_fraction: Decimal
    operator_fraction: Decimal
    fixed_cents: int = 0
    operator_discount: Decimal = Decimal(0)
    platform_discount: Decimal = Decimal(0)


@dataclass(frozen=True)
class FeeShares:
    """The parts of a trade's fee, in sats: what each owner is due, and what of their
    gross fee they forgave. Due and forgiven add up to what the terms give."""

    platform_sats: int
    operator_sats: int
    platform_discount_sats: int = 0
    operator_discount_sats: int = 0

    @property
    def fee_sats(self) -> int:
        """What the customer is charged when nothing is off."""
        return self.platform_sats + self.operator_sats


def fixed_fee_sats(fixed_cents: int, principal_sats: int, fiat_cents: int) -> int:
    """A fixed fee in sats, at the rate of its own trade: half_up(fixed x P / F)."""
    _check_amount("fixed_cents", fixed_cents)
    _check_amount("principal_sats", principal_sats)
    _check_int("fiat_cents", fiat_cents)
    return round_half_up(fixed_cents * principal_sats, fiat_cents)


def fee_shares(
    principal_sats: int,
    fiat_cents: int,
    terms: FeeTerms,
    fee_sats: int | None = None,
) -> FeeShares:
    """The fee that the terms give, shared between platform and operator.

    A discount is half_up(gross x share), the operator's gross being fraction and fixed
    fee. It counts only as far as the fee charged (`fee_sats`; without one what the
    terms give) is below the gross fee, the operator's first: who stamps a discount
    that no customer got forgives nothing.
    """
    platform, operator = split_principal_based(
        principal_sats, terms.platform_fraction, terms.operator_fraction
    )
    if terms.fixed_cents:
        operator += fixed_fee_sats(terms.fixed_cents, principal_sats, fiat_cents)
    by_operator = _part_of(operator, terms.operator_discount)
    by_platform = _part_of(platform, terms.platform_discount)
    if fee_sats is not None:
        _check_amount("fee_sats", fee_sats)
        left = min(by_operator + by_platform, max(0, platform + operator - fee_sats))
        by_operator = min(by_operator, left)
        by_platform = left - by_operator
    return FeeShares(
        platform_sats=platform - by_platform,
        operator_sats=operator - by_operator,
        platform_discount_sats=by_platform,
        operator_discount_sats=by_operator,
    )


def _part_of(sats: int, share: Decimal) -> int:
    _check_fraction("The discount", share)
    numerator, denominator = share.as_integer_ratio()
    return round_half_up(sats * numerator, denominator)


def fee_mismatch_sats(fee_sats: int, platform_sats: int, operator_sats: int) -> int:
    """The fee that was charged less the fee that fractions, fixed fee and discounts
    give: > 0 is a surplus, < 0 a shortfall. The shares are those of `fee_shares`."""
    _check_amount("fee_sats", fee_sats)
    _check_amount("platform_sats", platform_sats)
    _check_amount("operator_sats", operator_sats)
    return fee_sats - (platform_sats + operator_sats)


def lock_fee_shares(
    fee_sats: int, platform_sats: int, operator_sats: int
) -> tuple[int, int]:
    """The two shares as they are owed: `(platform_fee_sats, operator_fee_sats)`.

    The platform is a creditor and the operator the house: the platform's is its
    fraction of principal, less its own discount, whatever the customer was charged; the
    operator's is what the fee leaves of theirs. What the fee has above both is the
    surplus, which stays in the machine wallet.
    """
    _check_amount("fee_sats", fee_sats)
    _check_amount("platform_sats", platform_sats)
    _check_amount("operator_sats", operator_sats)
    return platform_sats, max(0, min(operator_sats, fee_sats - platform_sats))


def fee_shortfall_sats(fee_sats: int, platform_sats: int) -> int:
    """What the fee does not cover of the platform's share: the operator's debt."""
    _check_amount("fee_sats", fee_sats)
    _check_amount("platform_sats", platform_sats)
    return max(0, platform_sats - fee_sats)


def held_fee_shares(
    fee_sats: int, platform_sats: int, operator_sats: int, network_fee_sats: int
) -> tuple[int, int]:
    """What the settlement itself holds of the two locked shares, after LNbits booked
    `network_fee_sats` on the payment.

    The surplus bears it first, then the operator's share. What is missing after both
    is missing of the sats that the platform is owed, and never of what it is owed: the
    difference to `platform_sats` is paid from the wallet's free balance.
    """
    _check_amount("fee_sats", fee_sats)
    _check_amount("platform_sats", platform_sats)
    _check_amount("operator_sats", operator_sats)
    _check_amount("network_fee_sats", network_fee_sats)
    platform = min(platform_sats, fee_sats)
    surplus = fee_sats - platform - operator_sats
    if surplus < 0:
        raise ValueError(
            f"The shares {platform_sats} and {operator_sats} sat are more than the fee "
            f"of {fee_sats} sat."
        )
    left = max(network_fee_sats - surplus, 0)
    operator = max(operator_sats - left, 0)
    left -= operator_sats - operator
    return max(platform - left, 0), operator


def allocate_operator_split_legs(
    total: int, splits: Sequence[SplitT]
) -> list[tuple[SplitT, int]]:
    """`total` sats over the operator's splits: `[(split, amount_sats), ...]`.

    In order of `sort_order`, then id, whatever the order they come in; largest
    remainder (Hamilton), ties in that order. The amounts add up to `total` exactly.
    Pro rata to the fractions, which add up to 1.0000 (checked when they are
    written), so each part is within 1 sat of `total x fraction`. A part of 0 sats
    stays in the list: it makes no leg. No splits: an empty list.
    """
    ordered = sorted(splits, key=lambda split: (split.sort_order, split.id))
    for split in ordered:
        _check_fraction(f"The fraction of split {split.id}", split.fraction)
    amounts = largest_remainder(total, [split.fraction for split in ordered])
    return list(zip(ordered, amounts, strict=True))


# --- DCA ----------------------------------------------------------------------------


def allocate_dca(
    principal_sats: int, fiat_cents: int, candidates: Sequence[DcaCandidate]
) -> DcaAllocation:
    """The principal of a cash-out over the LPs whose cash was dispensed.

    `fiat_cents` is what was dispensed (F). Debited is D = min(F, the sum of the
    caps), pro rata to balance with no LP above their cap (water-filling); then
    `round_half_up(P x D / F)` sats, pro rata to those fiat parts. Both by largest
    remainder, ties by client id. A cap counts up to the balance, so nobody goes
    below 0; without one an LP takes no part. An LP whose part is 0 sats is not
    debited. The rest of the principal stays in the machine wallet: for it the
    operator's own cash was dispensed.

    `ValueError` for a client named twice or a negative principal or fiat.
    """
    _check_amount("principal_sats", principal_sats)
    _check_amount("fiat_cents", fiat_cents)
    takers = _takers(candidates)
    if principal_sats == 0 or fiat_cents == 0 or not takers:
        return DcaAllocation(shares=(), fiat_cents=0, amount_sats=0)
    debit_cents = min(fiat_cents, sum(taker.cap_cents for taker in takers))
    parts_cents = _fill_to_caps(debit_cents, takers)
    parts_sats = largest_remainder(
        round_half_up(principal_sats * debit_cents, fiat_cents), parts_cents
    )
    shares = tuple(
        DcaShare(client_id=taker.client_id, fiat_cents=cents, amount_sats=sats)
        for taker, cents, sats in zip(takers, parts_cents, parts_sats, strict=True)
        if sats > 0
    )
    return DcaAllocation(
        shares=shares,
        fiat_cents=sum(share.fiat_cents for share in shares),
        amount_sats=sum(share.amount_sats for share in shares),
    )


def _takers(candidates: Sequence[DcaCandidate]) -> list[DcaCandidate]:
    """Those who can be debited, by client id, with no cap above their balance."""
    seen: set[str] = set()
    takers = []
    for candidate in sorted(candidates, key=lambda c: c.client_id):
        _check_int("balance_cents", candidate.balance_cents)
        _check_int("cap_cents", candidate.cap_cents)
        if candidate.client_id in seen:
            raise ValueError(f"Client {candidate.client_id} is a candidate twice.")
        seen.add(candidate.client_id)
        cap_cents = min(candidate.cap_cents, candidate.balance_cents)
        if cap_cents > 0:
            takers.append(
                DcaCandidate(candidate.client_id, candidate.balance_cents, cap_cents)
            )
    return takers


def _fill_to_caps(debit_cents: int, takers: Sequence[DcaCandidate]) -> list[int]:
    """`debit_cents`, at most the sum of the caps, pro rata to balance under the caps.

    Water-filling in one pass: whoever reaches their cap first is the one with the
    smallest cap for their balance. Once one does not reach it nobody after them
    does, and a quota below a whole cap stays at or below it when rounded up.
    """
    parts = [0] * len(takers)
    filling = sorted(
        range(len(takers)),
        key=lambda i: (Fraction(takers[i].cap_cents, takers[i].balance_cents), i),
    )
    left_cents = debit_cents
    left_balance = sum(taker.balance_cents for taker in takers)
    full = 0
    for i in filling:
        taker = takers[i]
        if taker.cap_cents * left_balance > left_cents * taker.balance_cents:
            break
        parts[i] = taker.cap_cents
        left_cents -= taker.cap_cents
        left_balance -= taker.balance_cents
        full += 1
    rest = sorted(filling[full:])
    shared = largest_remainder(left_cents, [takers[i].balance_cents for i in rest])
    for i, cents in zip(rest, shared, strict=True):
        parts[i] = cents
    return parts


# --- a partial dispense -------------------------------------------------------------


def dispense_split(
    principal_sats: int,
    fee_sats: int,
    platform_fee_sats: int,
    operator_fee_sats: int,
    wire_sats: int,
    fiat_cents: int,
    dispensed_cents: int,
) -> DispenseSplit:
    """A cash-out's figures when `dispensed_cents` of `fiat_cents` came out.

    With r = dispensed / fiat: principal and fee are `half_up(figure x r)`, the two
    shares keep the part of the fee that they had when the settlement *landed*
    (whatever the configuration says today; a platform's share above the fee is
    `half_up(share x r)`), and the rest of the wire is owed to the customer.
    `ValueError` for a dispense above what was ordered, or landed figures that
    contradict each other.
    """
    for name, value in (
        ("principal_sats", principal_sats),
        ("fee_sats", fee_sats),
        ("platform_fee_sats", platform_fee_sats),
        ("operator_fee_sats", operator_fee_sats),
        ("wire_sats", wire_sats),
        ("fiat_cents", fiat_cents),
        ("dispensed_cents", dispensed_cents),
    ):
        _check_amount(name, value)
    if fiat_cents == 0:
        raise ValueError("The settlement has no fiat amount: it must be resolved.")
    if dispensed_cents > fiat_cents:
        raise ValueError(
            f"{cents_text(dispensed_cents)} dispensed is more than the "
            f"{cents_text(fiat_cents)} that were ordered."
        )
    if operator_fee_sats > max(0, fee_sats - platform_fee_sats):
        raise ValueError(
            f"The shares {platform_fee_sats} and {operator_fee_sats} sat are more than "
            f"the fee of {fee_sats} sat."
        )
    if wire_sats != principal_sats + fee_sats:
        raise ValueError(
            f"A cash-out of {wire_sats} sat is not the {principal_sats} principal and "
            f"{fee_sats} fee: only a cash-out dispenses."
        )
    principal = round_half_up(principal_sats * dispensed_cents, fiat_cents)
    fee = round_half_up(fee_sats * dispensed_cents, fiat_cents)
    if platform_fee_sats <= fee_sats and fee_sats > 0:
        platform = round_half_up(fee * platform_fee_sats, fee_sats)
    else:
        platform = round_half_up(platform_fee_sats * dispensed_cents, fiat_cents)
    operator = 0
    if fee_sats > 0:
        share = round_half_up(fee * operator_fee_sats, fee_sats)
        operator = min(share, max(0, fee - platform))
    return DispenseSplit(
        principal_sats=principal,
        fee_sats=fee,
        platform_fee_sats=platform,
        operator_fee_sats=operator,
        refund_sats=wire_sats - principal - fee,
    )


# --- conservation -------------------------------------------------------------------


def check_conservation(
    tx_type: str,
    wire_sats: int,
    network_fee_sats: int,
    fee_sats: int,
    leg_sats: Sequence[int],
    retained_sats: int,
    dca_cents: int,
    fiat_cents: int,
) -> None:
    """Raises `ConservationError` unless nothing is lost or invented.

    Legs and what is retained add up to what the machine wallet received: `wire_sats`
    less the network fee for a cash-out, `fee_sats` for a cash-in. `retained_sats` is
    not negative, and LPs are debited (`dca_cents`) at most what was dispensed
    (`fiat_cents`), nothing for a cash-in.
    """
    for sats in leg_sats:
        _check_int("leg_sats", sats)
        if sats < 0:
            raise ConservationError(f"A leg of {sats} sat is negative.")
    if tx_type == CASH_OUT:
        available_sats = wire_sats - network_fee_sats
    elif tx_type == CASH_IN:
        available_sats = fee_sats
    else:
        raise ConservationError(
            f"The settlement is neither a cash-out nor a cash-in but {shown(tx_type)}."
        )
    _check_int("retained_sats", retained_sats)
    _check_int("available_sats", available_sats)
    if sum(leg_sats) + retained_sats != available_sats:
        raise ConservationError(
            f"The legs of {sum(leg_sats)} sat and the {retained_sats} sat that stay do "
            f"not add up to the {available_sats} sat of the settlement."
        )
    if retained_sats < 0:
        raise ConservationError(
            f"The legs of {sum(leg_sats)} sat are {-retained_sats} sat more than the "
            f"{available_sats} sat of the settlement."
        )
    _check_int("dca_cents", dca_cents)
    _check_int("fiat_cents", fiat_cents)
    most_cents = fiat_cents if tx_type == CASH_OUT else 0
    if not 0 <= dca_cents <= most_cents:
        raise ConservationError(
            f"The LPs would be debited {cents_text(dca_cents)}, but "
            f"{cents_text(most_cents)} of their cash was dispensed."
        )
