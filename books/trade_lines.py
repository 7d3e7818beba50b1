"""What the entries of one trade come to, in the words of a book; pure.

A *state* is the sum of a trade's entries up to a moment, apart for each payment. The
lines of a period are what stood at its end less what stood at its beginning: so the
lines of periods that follow each other add up to those of all of them together, and
what is written later changes no line of a period that is over.

Worth: the principal is worth its cash, the fee half up at the trade's own rate, and
their parts by largest remainder, so that what is printed adds up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..calculations import largest_remainder, round_half_up
from ..ledger.entries import (
    ARRIVED,
    CASH_DISPENSED,
    CASH_TAKEN,
    CUSTOMER,
    HELD_BACK,
    LET_GO,
    LOSS,
    LP,
    LP_CASH_USED,
    LP_CLOSED,
    LP_PAID_OUTSIDE,
    MACHINE_WALLET,
    OPERATOR_FEES,
    OTHER,
    OWN_CASH,
    PLATFORM,
    PLATFORM_PAID,
    REFUNDS,
    RESERVE_KEPT,
    ROUTING,
    SPLITS,
    SPLITS_PAID,
    SURPLUS,
    Amount,
    Standing,
    added_up,
)

PENDING = "pending"
QUARANTINED = "quarantined"
COMPLETED = "completed"
OUTSIDE = "paid outside"
# in the order in which they stand in the file
LEGS = {
    PLATFORM: "leg: super_fee",
    SPLITS: "leg: operator_split",
    LP: "leg: dca",
    REFUNDS: "leg: refund",
}
CLOSING = "leg: settlement"
LENT = "paid for another machine"
HELD = "held back"
NOTHING = Amount()


class Key(NamedTuple):
    """One line: what it is, and of which payment and LP. `state` of a leg's only."""

    record: str
    state: str = ""
    payment_id: str | None = None
    client_id: str | None = None


@dataclass(frozen=True)
class Trade:
    """What is locked when a trade lands: its rate, what was charged, the shares of
    it, and how much of the platform's it did not cover. Of a balance that is paid out,
    sats and cash. Nothing of any other payment."""

    principal_sats: int = 0
    cents: int = 0
    fee_sats: int = 0
    platform_sats: int = 0
    operator_sats: int = 0
    shortfall_sats: int = 0

    def worth(self, sats: int) -> int:
        return counter_value_cents(sats, self.principal_sats, self.cents)

    def of_cash(self, sats: int, cents: int) -> int:
        """The part of `sats` that goes with so much of the cash."""
        return _share(sats, cents, self.cents)


def counter_value_cents(sats: int, principal_sats: int, cents: int) -> int:
    """Minor units that `sats` were worth at principal_sats for cents."""
    return _share(sats, cents, principal_sats)


def _share(amount: int, numerator: int, denominator: int) -> int:
    """Half up, away from 0: what was undone comes to the same as what was done."""
    if denominator <= 0:
        return 0
    product = amount * numerator
    worth = round_half_up(abs(product), denominator)
    return worth if product >= 0 else -worth


@dataclass
class Figure:
    """Sats, minor units, and by how much it changed the machine's wallet."""

    sats: int = 0
    cents: int = 0
    wallet_sats: int = 0

    def __bool__(self) -> bool:
        return bool(self.sats or self.cents or self.wallet_sats)


State = Mapping[str | None, Standing]


@dataclass
class Lines:
    """The lines that a state comes to, in order; what is 0 is none."""

    found: dict[Key, Figure] = field(default_factory=dict)

    def add(self, key: Key, sats: int, cents: int = 0) -> None:
        if sats or cents:
            self.found[key] = Figure(sats, cents)

    def add_shared(self, total: int, of: Sequence[tuple[Key, int]]) -> None:
        """Lines that are worth `total` together."""
        parts = _shared(total, [sats for _, sats in of])
        for (key, sats), cents in zip(of, parts, strict=True):
            self.add(key, sats, cents)

    def moved(self, payment_id: str | None, sats: int) -> None:
        """What the wallet gained, beside the first line of that payment."""
        if not sats:
            return
        own = [key for key in self.found if key.payment_id == payment_id]
        first = own[0] if own else Key("movement", payment_id=payment_id)
        self.found.setdefault(first, Figure()).wallet_sats += sats


def _shared(total: int, sats: Sequence[int]) -> list[int]:
    if total < 0:
        return [-x for x in _shared(-total, [-x for x in sats])]
    if any(x < 0 for x in sats):
        # something was undone beyond what was done: no share of anything
        return [0] * len(sats)
    return largest_remainder(total, sats)


def lines_between(
    trade: Trade, before: State, until: State, *, is_closing: bool = False
) -> dict[Key, Figure]:
    """The lines of the time between two states."""
    first = lines_of(trade, before, is_closing=is_closing)
    lines = lines_of(trade, until, is_closing=is_closing)
    for key, was in first.items():
        now = lines.setdefault(key, Figure())
        now.sats -= was.sats
        now.cents -= was.cents
        now.wallet_sats -= was.wallet_sats
    return {key: figure for key, figure in lines.items() if figure}


def lines_of(
    trade: Trade, state: State, *, is_closing: bool = False
) -> dict[Key, Figure]:
    lines = Lines()
    own = state.get(None, Standing())
    total = added_up(state.values())
    kept_worth = {} if is_closing else _of_the_trade(lines, trade, own, total)
    for account, record in LEGS.items():
        name = CLOSING if is_closing else record
        for client in _clients_of(account, total, state):
            of = list(_legs(account, name, client, state, total))
            _add_legs(lines, trade, of, account, client, total, kept_worth)
    for payment_id, standing in state.items():
        for record, account, sign in _BESIDE:
            sats = sign * _sats(standing, account)
            if payment_id is not None or account != ROUTING:
                lines.add(Key(record, payment_id=payment_id), sats, trade.worth(sats))
    for payment_id, standing in state.items():
        if is_closing and not any(account == LP for account, _ in standing):
            # the wallet of another machine of the operator's paid
            lent = _sats(standing, OWN_CASH)
            lines.add(Key(LENT, payment_id=payment_id), lent, trade.worth(lent))
        lines.moved(payment_id, _sats(standing, MACHINE_WALLET))
    return lines.found


# what stands beside the legs, of a payment or of none
_BESIDE = (
    ("routing", ROUTING, 1),
    ("reserve kept", RESERVE_KEPT, -1),
    ("nobody's sale", OTHER, -1),
)


def _sats(standing: Standing, account: str, client: str | None = None) -> int:
    return standing.get((account, client), NOTHING).sats


@dataclass(frozen=True)
class _Parts:
    """A trade and its fee in sats, and its cash: as it landed, until it is planned."""

    cash: int
    platform: int
    operator: int
    surplus: int
    shortfall: int
    loss: int

    @classmethod
    def of(cls, trade: Trade, own: Standing, total: Standing) -> _Parts:
        if _sats(total, CUSTOMER):
            rest = trade.fee_sats - trade.platform_sats - trade.operator_sats
            fees = (trade.platform_sats, trade.operator_sats)
            return cls(trade.cents, *fees, max(0, rest), max(0, -rest), 0)
        cash = total.get((CASH_TAKEN, None), NOTHING).cents
        cash -= total.get((CASH_DISPENSED, None), NOTHING).cents
        loss = _sats(own, LOSS)
        shortfall = min(max(0, loss), trade.shortfall_sats if cash else 0)
        # what was undone is owed again and arrived less: the share is what it was
        return cls(
            cash,
            _sats(own, PLATFORM_PAID) - _sats(own, PLATFORM),
            _sats(own, SPLITS_PAID) - _sats(own, SPLITS) - _sats(own, OPERATOR_FEES),
            -_sats(own, SURPLUS),
            shortfall,
            loss - shortfall,
        )


def _of_the_trade(
    lines: Lines, trade: Trade, own: Standing, total: Standing
) -> dict[str, int]:
    """Principal, fee and the fee's parts, and what is nobody's any more; the worth of
    the parts that are owed to somebody."""
    parts = _Parts.of(trade, own, total)
    fee = trade.of_cash(trade.fee_sats, parts.cash)
    shares = [parts.platform, parts.operator, parts.surplus]
    if sum(shares) == fee + parts.shortfall and min(shares) >= 0:
        worth = _shared(trade.worth(fee) + trade.worth(parts.shortfall), shares)
    else:
        worth = [trade.worth(sats) for sats in shares]
    principal = trade.of_cash(trade.principal_sats, parts.cash)
    lines.add(Key("principal"), principal, parts.cash)
    lines.add(Key("fee"), fee, trade.worth(fee))
    lines.add(Key("fee: platform share"), shares[0], worth[0])
    lines.add(Key("fee: operator share"), shares[1], worth[1])
    lines.add(Key("fee: surplus"), shares[2], worth[2])
    # worth nothing yet: who decides about it may say something else than its stamp
    lines.add(Key(HELD), -_sats(own, HELD_BACK))
    for record, sats in (
        # of the platform's share, what was not charged: the operator owes it
        ("fee: shortfall", parts.shortfall),
        ("network fee of the payment", _sats(own, ROUTING)),
        ("let go", -_sats(own, LET_GO)),
        ("loss", parts.loss),
    ):
        lines.add(Key(record), sats, trade.worth(sats))
    return {PLATFORM: worth[0], SPLITS: worth[1]}


def _clients_of(account: str, total: Standing, state: State) -> list[str | None]:
    """The LPs whom the trade owes or owed; one that is nobody for what is no LP's."""
    if account != LP:
        return [None]
    accounts = (LP, ARRIVED[LP], LP_PAID_OUTSIDE)
    found = {c for s in (total, *state.values()) for a, c in s if a in accounts}
    return sorted(found, key=str)


def _legs(
    account: str, record: str, client: str | None, state: State, total: Standing
) -> Iterator[tuple[Key, int]]:
    """What is owed, what arrived, and what was paid outside."""
    yield Key(record, PENDING, None, client), -_sats(total, account, client)
    for payment_id, standing in state.items():
        arrived = _sats(standing, ARRIVED[account], client)
        yield Key(record, COMPLETED, payment_id, client), arrived
        outside = -_sats(standing, LP_PAID_OUTSIDE, client) if account == LP else 0
        if (
            account != LP
            and payment_id
            and not arrived
            and standing.get((account, None))
        ):
            outside = -_sats(standing, OWN_CASH)
        yield Key(record, OUTSIDE, payment_id, client), outside


def _add_legs(
    lines: Lines,
    trade: Trade,
    of: Sequence[tuple[Key, int]],
    account: str,
    client: str | None,
    total: Standing,
    kept_worth: Mapping[str, int],
) -> None:
    """With what they are worth: together what the share of the fee is, or the cash
    that they took of the LP's; else each for itself."""
    of = [(key, sats) for key, sats in of if sats]
    rest = 0
    if account == LP:
        cash = total.get((LP_CASH_USED, client), NOTHING).cents
        worth = cash + total.get((LP_CLOSED, client), NOTHING).cents
    else:
        worth = kept_worth.get(account, 0)
        rest = -_sats(total, OPERATOR_FEES) if account == SPLITS else 0
    if worth <= 0 or rest < 0 or any(sats < 0 for _, sats in of):
        for key, sats in of:
            lines.add(key, sats, trade.worth(sats))
        return
    parts = _shared(worth, [*(sats for _, sats in of), rest])
    for (key, sats), cents in zip(of, parts, strict=False):
        lines.add(key, sats, cents)


def status_of(states: Iterable[State]) -> str:
    """How a trade stands by its entries, in the words of settlements."""
    total = added_up(s for state in states for s in state.values())
    accounts = {account for (account, _), amount in total.items() if amount.sats}
    if HELD_BACK in accounts:
        return QUARANTINED
    if CUSTOMER in accounts:
        return "pending"
    if (CASH_TAKEN, None) not in total and (CASH_DISPENSED, None) not in total:
        return "voided" if accounts & {LET_GO, LOSS} else "completed"
    return "processing" if accounts & set(LEGS) else "completed"
