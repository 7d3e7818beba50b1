"""What did the machine say? The stamp on a payment, read and checked.

A bitSpire machine stamps its invoices and payments (`Payment.extra`), and may repeat
the same fields in a Nostr report; an operator corrects them when they resolve a
quarantined settlement. All three go through `check_figures`: one list of checks,
whoever speaks. Figures that pass are internally consistent and agree with the
payment that LNbits booked; whether the cash really moved nobody here can know.

Guaranteed: pure; nothing that a machine can put into a stamp raises anything but
`SettlementInvariantError` here, whose text is one sentence for the operator. And
`minimal_fields` never raises at all: what it returns can be inserted into either
database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .base.currencies import check_amount
from .base.rates import median_rate, rate_marks
from .base.stored_json import storable, storable_json
from .base.text import storable_text
from .calculations import (
    FeeTerms,
    cents_text,
    exact_number,
    fee_mismatch_sats,
    fee_shares,
    fee_shortfall_sats,
    fiat_cents,
    lock_fee_shares,
    shown,
)
from .models import CASH_IN, CASH_OUT, Machine, Mark, Settlement, SuperConfig

if TYPE_CHECKING:
    from lnbits.core.models import Payment

SOURCE = "bitspire"
AWAITING = "awaiting"
CONFIRMED = "confirmed"

MAX_SATS = 2_100_000_000_000_000
MAX_BIGINT = 2**63 - 1
MAX_TXID_LENGTH = 200

# How far a stated rate may be from principal / fiat, and principal / fiat from the
# median of the machine's last settlements.
RATE_TOLERANCE = Fraction(1, 100)
USUAL_RATE_FACTOR = 3
MARKET_RATE_FACTOR = Fraction(3, 2)


class SettlementInvariantError(ValueError):
    """Figures that cannot be true. The text is one sentence for the operator."""


@dataclass(frozen=True)
class FeeFractions:
    """The four fractions (of principal) in force when a settlement lands, the
    operator's two fixed fees (fiat), and the discount that the sale took."""

    super_cash_in_fee_fraction: Decimal
    super_cash_out_fee_fraction: Decimal
    operator_cash_in_fee_fraction: Decimal
    operator_cash_out_fee_fraction: Decimal
    operator_cash_in_fixed_fee: Decimal = Decimal(0)
    operator_cash_out_fixed_fee: Decimal = Decimal(0)
    operator_discount: Decimal = Decimal(0)
    platform_discount: Decimal = Decimal(0)

    @classmethod
    def of(cls, machine: Machine, super_config: SuperConfig) -> FeeFractions:
        """Those that are in force now."""
        return cls(
            super_config.super_cash_in_fee_fraction,
            super_config.super_cash_out_fee_fraction,
            machine.operator_cash_in_fee_fraction,
            machine.operator_cash_out_fee_fraction,
            machine.operator_cash_in_fixed_fee,
            machine.operator_cash_out_fixed_fee,
        )

    def terms(self, tx_type: str) -> FeeTerms:
        """All that makes the fee of a cash-out or a cash-in."""
        is_out = tx_type == CASH_OUT
        fixed = (
            self.operator_cash_out_fixed_fee
            if is_out
            else self.operator_cash_in_fixed_fee
        )
        return FeeTerms(
            *self.for_direction(tx_type),
            fiat_cents(fixed),
            self.operator_discount,
            self.platform_discount,
        )

    def for_direction(self, tx_type: str) -> tuple[Decimal, Decimal]:
        """`(super_fraction, operator_fraction)` of a cash-out or a cash-in."""
        if tx_type == CASH_OUT:
            return self.super_cash_out_fee_fraction, self.operator_cash_out_fee_fraction
        return self.super_cash_in_fee_fraction, self.operator_cash_in_fee_fraction


@dataclass(frozen=True)
class Limits:
    """How much cash a trade at a machine has at least and at most, in minor units."""

    min_cents: int | None = None
    max_cents: int | None = None

    @classmethod
    def of(cls, machine: Machine) -> Limits:
        """Those that are in force now."""
        least, most = machine.min_fiat, machine.max_fiat
        return cls(
            None if least is None else fiat_cents(least),
            None if most is None else fiat_cents(most),
        )

    def refusal(self, cents: int, code: str) -> str | None:
        """Why no trade of so much may begin, or None."""
        if self.min_cents is not None and cents < self.min_cents:
            return (
                f"This machine trades from {cents_text(self.min_cents)} {code}: "
                f"{cents_text(cents)} is less."
            )
        if self.max_cents is not None and cents > self.max_cents:
            return (
                f"This machine trades up to {cents_text(self.max_cents)} {code} at "
                f"once: {cents_text(cents)} is more."
            )
        return None


@dataclass(frozen=True)
class Figures:
    """Checked figures of one settlement, the fee shares locked.

    `fee_mismatch_sats` is the fee less what fractions, fixed fee and discount give; the
    two shares are net of the two discounts. `exchange_rate` is
    sats for one unit of fiat, for display only: money is never computed from it.
    """

    tx_type: str
    wire_sats: int
    principal_sats: int
    fee_sats: int
    platform_fee_sats: int
    operator_fee_sats: int
    fee_mismatch_sats: int
    fiat_cents: int
    fiat_code: str
    exchange_rate: float
    operator_discount_sats: int = field(default=0, kw_only=True)
    platform_discount_sats: int = field(default=0, kw_only=True)
    marks: tuple[str, ...] = field(default=(), compare=False, kw_only=True)

    @property
    def shortfall_sats(self) -> int:
        """What the fee does not cover of the platform's share."""
        return fee_shortfall_sats(self.fee_sats, self.platform_fee_sats)

    @property
    def fiat_amount(self) -> Decimal:
        """The fiat in units, with two places."""
        return Decimal(cents_text(self.fiat_cents))


@dataclass(frozen=True)
class ParsedSettlement(Figures):
    """A payment of a machine and what its stamp or report says, ready to be landed.

    `dispense` is "awaiting" or "confirmed" (a cash-in has nothing to wait for).
    `stamp` is all that was said, in a form that can be stored and sent.
    """

    payment_hash: str
    wallet_id: str
    network_fee_sats: int
    bitspire_txid: str | None
    bills_json: str | None
    cassettes_json: str | None
    dispense: str
    stamp: dict[str, Any]

    @property
    def stamp_json(self) -> str:
        """The stamp as JSON text that both databases and any browser take."""
        return json.dumps(self.stamp, ensure_ascii=False, allow_nan=False)


# --- reading a stamp ----------------------------------------------------------------


def is_bitspire_payment(payment: Payment) -> bool:
    """Whether the payment carries a machine's stamp (whatever the stamp says)."""
    extra = payment.extra
    return isinstance(extra, dict) and extra.get("source") == SOURCE


@dataclass(frozen=True)
class Reading:
    """A payment of a machine, read once: what of it is known, and whether anybody may
    be paid from it.

    `problem` is why a person must look first, as one sentence; None when nothing
    speaks against it. `cause` is what went wrong in this code while reading, for the
    log; a stamp cannot make that happen on purpose.
    """

    parsed: ParsedSettlement
    is_stamped: bool
    problem: str | None = None
    cause: Exception | None = None

    @property
    def status(self) -> str:
        """The status that the settlement lands with."""
        if self.problem:
            return "quarantined"
        return "awaiting_dispense" if self.parsed.dispense == AWAITING else "pending"


def read_payment(
    payment: Payment,
    machine: Machine,
    super_config: SuperConfig,
    *,
    report: Mapping[str, Any] | None = None,
    recent_rates: Sequence[Decimal] = (),
    market: Fraction | None = None,
    fractions: FeeFractions | None = None,
) -> Reading:
    """All that can be known of a payment from its stamp, else from a `report`.

    Never raises: the sats are in the wallet whatever we fail to understand of them.
    """
    is_stamped = is_bitspire_payment(payment)
    fields = payment.extra if is_stamped else report
    cause: Exception | None = None
    try:
        parsed = parse_report(
            fields,
            payment,
            machine,
            super_config,
            recent_rates=recent_rates,
            market=market,
            fractions=fractions,
        )
    except SettlementInvariantError as exc:
        problem = str(exc)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        problem = f"The stamp could not be read ({type(exc).__name__})."
        cause = exc
    else:
        return Reading(parsed, is_stamped, _why_not(machine, is_stamped))
    minimal = minimal_fields(payment, machine, fields)
    return Reading(minimal, is_stamped, problem, cause)


def _why_not(machine: Machine, is_stamped: bool) -> str | None:
    """Why nobody is paid from figures that are right, or None."""
    if not machine.is_active:
        return "This machine is deactivated."
    if not is_stamped:
        return (
            "The machine reports a payment that does not carry its stamp: check that "
            "this payment was really a customer's."
        )
    return None


def parse_settlement(
    payment: Payment,
    machine: Machine,
    super_config: SuperConfig,
    *,
    recent_rates: Sequence[Decimal] = (),
    market: Fraction | None = None,
) -> ParsedSettlement:
    """The settlement that a stamped payment of `machine` says it is.

    `payment.amount` is signed msat, as LNbits keeps it. `recent_rates` are principal
    sats per unit of fiat, a median for each of the machine's last ten days with sales;
    `market` the same by the market's price, None where it is not known.
    Raises `SettlementInvariantError` with one sentence if a check fails.
    """
    return parse_report(
        payment.extra,
        payment,
        machine,
        super_config,
        recent_rates=recent_rates,
        market=market,
    )


def parse_report(
    fields: Any,
    payment: Payment,
    machine: Machine,
    super_config: SuperConfig,
    *,
    recent_rates: Sequence[Decimal] = (),
    market: Fraction | None = None,
    fractions: FeeFractions | None = None,
) -> ParsedSettlement:
    """The same for the fields of a Nostr `settlement` report about `payment`.

    A report adds facts, never money: the amount and the direction are the payment's,
    and a report that says otherwise fails. `fractions` are those of the sale, if it
    took a discount; else those in force. Raises `SettlementInvariantError`.
    """
    figures = check_figures(
        fields,
        amount_msat=payment.amount,
        fiat_code=machine.fiat_code,
        fractions=fractions or FeeFractions.of(machine, super_config),
        recent_rates=recent_rates,
        market=market,
        limits=Limits.of(machine),
    )
    return _with_facts(figures, payment, fields, _dispense(fields, figures.tx_type))


def check_figures(
    fields: Any,
    *,
    amount_msat: int,
    fiat_code: str,
    fractions: FeeFractions,
    recent_rates: Sequence[Decimal] = (),
    market: Fraction | None = None,
    limits: Limits | None = None,
) -> Figures:
    """The figures in `fields` after every check of a settlement, the fee split.

    For a stamp, a report and an operator's correction alike. `fields` has `tx_type`,
    `principal_sats`, `fee_sats`, `fiat_amount`, `fiat_code` and maybe
    `exchange_rate`; `amount_msat` is the LNbits payment, positive when received;
    `fiat_code` is the machine's; `fractions` those in force at landing; `limits` the
    machine's, of which a trade outside is marked. Raises
    `SettlementInvariantError` with one sentence for the first check that fails.
    """
    if not isinstance(fields, Mapping):
        raise SettlementInvariantError(
            f"The stamp is {shown(fields)}: it must be an object with the settlement's "
            "figures."
        )
    if "fiat_currency" in fields:
        raise SettlementInvariantError(
            f"The invoice was made in {shown(fields['fiat_currency'])}, so LNbits "
            "wrote its own figures over the machine's: the machine must make its "
            "invoices in sats."
        )
    tx_type = _tx_type(fields)
    principal_sats = _sats(fields, "principal_sats", at_least=1)
    fee_sats = _sats(fields, "fee_sats", at_least=0)
    cents = _fiat_cents(fields)
    code = _fiat_code(fields, fiat_code)
    _check_units(cents, code)
    wire_sats = _wire_sats(amount_msat, tx_type)
    _check_wire(tx_type, wire_sats, principal_sats, fee_sats)
    exact_rate = Fraction(principal_sats * 100, cents)
    stated_rate = _stated_rate(fields)
    if stated_rate is not None:
        _check_stated_rate(stated_rate, exact_rate)
    _check_usual_rate(exact_rate, recent_rates, cents, code)
    _check_market_rate(exact_rate, market, cents, code)
    shares = fee_shares(principal_sats, cents, fractions.terms(tx_type), fee_sats)
    due = (shares.platform_sats, shares.operator_sats)
    mismatch_sats = fee_mismatch_sats(fee_sats, *due)
    marks = rate_marks(exact_rate, recent_rates, market)
    if abs(mismatch_sats) * 100 > principal_sats:
        marks = (Mark.FEE_OFF, *marks)
    if limits and limits.refusal(cents, code):
        marks = (*marks, Mark.OUTSIDE_LIMITS)
    platform_locked, operator_locked = lock_fee_shares(fee_sats, *due)
    return Figures(
        tx_type=tx_type,
        wire_sats=wire_sats,
        principal_sats=principal_sats,
        fee_sats=fee_sats,
        platform_fee_sats=platform_locked,
        operator_fee_sats=operator_locked,
        fee_mismatch_sats=mismatch_sats,
        fiat_cents=cents,
        fiat_code=code,
        exchange_rate=float(exact_rate if stated_rate is None else stated_rate),
        operator_discount_sats=shares.operator_discount_sats,
        platform_discount_sats=shares.platform_discount_sats,
        marks=marks,
    )


def minimal_fields(
    payment: Payment, machine: Machine, fields: Any = None
) -> ParsedSettlement:
    """What a quarantined row keeps: whatever of the stamp is readable by itself.

    The rest is 0 or '' and the stamp is kept whole. Nothing is owed from it: the fee
    shares are 0. `fields` are those of a report (default: the payment's stamp).
    Never raises. `tx_type` is '' also when it contradicts the payment's direction.
    """
    said = payment.extra if fields is None else fields
    known: Mapping[Any, Any] = said if isinstance(said, Mapping) else {}
    amount_msat = payment.amount
    wire_sats = abs(amount_msat) // 1000
    tx_type = _or_default(lambda: _tx_type(known), "")
    if (tx_type == CASH_OUT) != (amount_msat > 0):
        tx_type = ""
    principal_sats = _or_default(lambda: _sats(known, "principal_sats", at_least=1), 0)
    cents = _or_default(lambda: _fiat_cents(known), 0)
    exact = Fraction(principal_sats * 100, cents) if cents else Fraction(0)
    figures = Figures(
        tx_type=tx_type,
        wire_sats=wire_sats if wire_sats <= MAX_BIGINT else 0,
        principal_sats=principal_sats,
        fee_sats=_or_default(lambda: _sats(known, "fee_sats", at_least=0), 0),
        platform_fee_sats=0,
        operator_fee_sats=0,
        fee_mismatch_sats=0,
        fiat_cents=cents,
        fiat_code=_or_default(lambda: _fiat_code(known, machine.fiat_code), ""),
        exchange_rate=float(_or_default(lambda: _stated_rate(known), None) or exact),
    )
    dispense = dispense_said(known) if amount_msat > 0 else CONFIRMED
    return _with_facts(figures, payment, said, dispense)


def dispense_said(fields: Any) -> str:
    """What a stamp whose figures are not believed says of the dispense.

    Whatever it says that is not a clear yes waits for somebody to say what came out:
    nobody is paid for notes that stayed in the machine. Without a word about it the
    machine dispensed before it stamped.
    """
    said = fields.get("dispense") if isinstance(fields, Mapping) else None
    return CONFIRMED if said in (None, CONFIRMED) else AWAITING


def report_conflict(fields: Mapping[str, Any], landed: Settlement) -> str | None:
    """The sentence for a report that contradicts what is landed, or None.

    Compared is what the report names and the row knows: a quarantined row has 0 or ''
    for what was not readable, and that contradicts nothing.
    """
    landed_cents = fiat_cents(landed.fiat_amount)
    known: dict[str, Any] = {
        "tx_type": landed.tx_type,
        "principal_sats": landed.principal_sats,
        "fiat_code": landed.fiat_code,
        "txid": landed.bitspire_txid,
    }
    known = {name: value for name, value in known.items() if value}
    if landed.principal_sats:
        known["fee_sats"] = landed.fee_sats
    for name, value in known.items():
        said = _txid(fields) if name == "txid" else fields.get(name)
        if said is not None and (type(said), said) != (type(value), value):
            return (
                f"The report's {name} is {shown(said)}, but {shown(value)} is what "
                "landed: correct the machine's outbox."
            )
    if landed_cents and fields.get("fiat_amount") is not None:
        said_cents = _or_default(lambda: _fiat_cents(fields), None)
        if said_cents != landed_cents:
            return (
                f"The report's fiat_amount is {shown(fields['fiat_amount'])}, but "
                f"{cents_text(landed_cents)} is what landed: correct the machine's "
                "outbox."
            )
    return None


def network_fee_sats(payment: Payment) -> int:
    """What LNbits booked as a fee on the payment itself, in whole sats, rounded up.

    LNbits keeps it in msat, of either sign, and takes its absolute value off the
    wallet's balance for payments received too.
    """
    return -(-abs(payment.fee) // 1000)


# --- one field at a time ------------------------------------------------------------


def _or_default(read: Any, default: Any) -> Any:
    try:
        return read()
    except SettlementInvariantError:
        return default


def _tx_type(fields: Mapping[Any, Any]) -> str:
    tx_type = fields.get("tx_type")
    if not isinstance(tx_type, str) or tx_type not in (CASH_OUT, CASH_IN):
        raise SettlementInvariantError(
            f'tx_type is {shown(tx_type)}: it must be "cash_out" or "cash_in".'
        )
    return CASH_OUT if tx_type == CASH_OUT else CASH_IN


def _sats(fields: Mapping[Any, Any], name: str, *, at_least: int) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettlementInvariantError(
            f"{name} is {shown(value)}: it must be a whole number of sats, like 100000."
        )
    if value < at_least:
        raise SettlementInvariantError(
            f"{name} is {shown(value)}: it must be at least {at_least} sat."
        )
    if value > MAX_SATS:
        raise SettlementInvariantError(
            f"{name} is {shown(value)}: that is more than all the bitcoin there are."
        )
    return int(value)


def _fiat_cents(fields: Mapping[Any, Any]) -> int:
    value = fields.get("fiat_amount")
    try:
        cents = fiat_cents(value, "fiat_amount")
    except ValueError as exc:
        raise SettlementInvariantError(str(exc)) from exc
    if cents <= 0:
        raise SettlementInvariantError(
            f"fiat_amount is {shown(value)}: it must be more than 0."
        )
    return cents


def _fiat_code(fields: Mapping[Any, Any], machine_code: str) -> str:
    code = fields.get("fiat_code")
    if not isinstance(code, str) or code != machine_code:
        raise SettlementInvariantError(
            f"fiat_code is {shown(code)}, but the machine's currency here is "
            f"{machine_code}: correct the machine's setting."
        )
    return machine_code


def _check_units(cents: int, code: str) -> None:
    try:
        check_amount(Decimal(cents_text(cents)), code, "fiat_amount")
    except ValueError as exc:
        raise SettlementInvariantError(str(exc)) from exc


def _stated_rate(fields: Mapping[Any, Any]) -> Fraction | None:
    value = fields.get("exchange_rate")
    if value is None:
        return None
    try:
        rate = exact_number(value, "exchange_rate")
    except ValueError as exc:
        raise SettlementInvariantError(str(exc)) from exc
    if rate <= 0:
        raise SettlementInvariantError(
            f"exchange_rate is {shown(value)}: it must be more than 0."
        )
    if not -20 <= rate.adjusted() <= 20:
        raise SettlementInvariantError(
            f"exchange_rate is {shown(value)}: it must be sats for one unit of fiat, "
            "like 133.3333."
        )
    return Fraction(rate)


def _dispense(fields: Mapping[Any, Any], tx_type: str) -> str:
    value = fields.get("dispense")
    if value is not None and value not in (AWAITING, CONFIRMED):
        raise SettlementInvariantError(
            f'dispense is {shown(value)}: it must be "confirmed", "awaiting" or absent.'
        )
    return AWAITING if value == AWAITING and tx_type == CASH_OUT else CONFIRMED


def _txid(fields: Mapping[Any, Any]) -> str | None:
    value = fields.get("txid")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if value.bit_length() <= 200 else None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TXID_LENGTH:
        return None
    return storable_text(value)


# --- fields against each other and the payment --------------------------------------


def _wire_sats(amount_msat: int, tx_type: str) -> int:
    if amount_msat % 1000:
        raise SettlementInvariantError(
            f"The payment is {shown(amount_msat)} msat: it must be whole sats."
        )
    if amount_msat == 0:
        raise SettlementInvariantError("The payment moved no sats.")
    if tx_type == CASH_OUT and amount_msat < 0:
        raise SettlementInvariantError(
            "The payment left the machine wallet, but tx_type is cash_out, which the "
            "customer pays in."
        )
    if tx_type == CASH_IN and amount_msat > 0:
        raise SettlementInvariantError(
            "The payment came into the machine wallet, but tx_type is cash_in, which "
            "is paid out to the customer."
        )
    return abs(amount_msat) // 1000


def _check_wire(
    tx_type: str, wire_sats: int, principal_sats: int, fee_sats: int
) -> None:
    if tx_type == CASH_OUT:
        word, expected_sats = "plus", principal_sats + fee_sats
    else:
        word, expected_sats = "minus", principal_sats - fee_sats
    if wire_sats != expected_sats:
        raise SettlementInvariantError(
            f"The payment is {shown(wire_sats)} sat, but principal {principal_sats} "
            f"{word} fee {fee_sats} is {expected_sats} sat: take the figures from the "
            "machine's receipt."
        )


def _check_stated_rate(stated: Fraction, exact: Fraction) -> None:
    if abs(stated - exact) > exact * RATE_TOLERANCE:
        raise SettlementInvariantError(
            f"exchange_rate is {_rate_text(stated)} sat for one unit of fiat, but "
            f"principal / fiat is {_rate_text(exact)}: they may differ by 1 %."
        )


def _check_usual_rate(
    exact: Fraction, recent_rates: Sequence[Decimal], cents: int, code: str
) -> None:
    known = [rate for rate in recent_rates if rate > 0]
    if not known:
        return
    usual = median_rate(known)
    if usual <= USUAL_RATE_FACTOR * exact and exact <= USUAL_RATE_FACTOR * usual:
        return
    raise SettlementInvariantError(
        f"fiat_amount is {cents_text(cents)}, which makes {_rate_text(exact)} sat for "
        f"one {code}, more than {USUAL_RATE_FACTOR} times off the usual "
        f"{_rate_text(usual)} of this machine: was it sent in cents instead of units?"
    )


def _check_market_rate(
    exact: Fraction, market: Fraction | None, cents: int, code: str
) -> None:
    if market is None:
        return
    if market <= MARKET_RATE_FACTOR * exact and exact <= MARKET_RATE_FACTOR * market:
        return
    raise SettlementInvariantError(
        f"fiat_amount is {cents_text(cents)}, which makes {_rate_text(exact)} sat for "
        f"one {code}, more than 1.5 times off the market's {_rate_text(market)}: check "
        "the machine's price."
    )


def _rate_text(rate: Fraction) -> str:
    return f"{float(rate):.7g}"


# --- what is kept -------------------------------------------------------------------


def _with_facts(
    figures: Figures, payment: Payment, said: Any, dispense: str
) -> ParsedSettlement:
    known: Mapping[Any, Any] = said if isinstance(said, Mapping) else {}
    stamp = storable(said)
    return ParsedSettlement(
        **vars(figures),
        payment_hash=payment.payment_hash,
        wallet_id=payment.wallet_id,
        network_fee_sats=min(network_fee_sats(payment), MAX_BIGINT),
        bitspire_txid=_txid(known),
        bills_json=_json_or_none(known.get("bills")),
        cassettes_json=_json_or_none(known.get("cassettes")),
        dispense=dispense,
        stamp=stamp if isinstance(stamp, dict) else {"stamp": stamp},
    )


def _json_or_none(value: Any) -> str | None:
    return None if value is None else storable_json(value)
