"""What do the rows of a trade say that everybody has and is owed? In accounts, pure.

A *standing* is what one settlement (or one closed balance) comes to in accounts, read
from its rows of now; an *entry* is by how much an event changed it. So the entries of a
settlement always add up to its standing, whatever happened to it and in which order,
and no kind of event can be posted twice or forgotten for good: the next entry, of
whatever kind, carries what is missing.

Guaranteed: every standing and every entry adds up to 0 in sats and in fiat, each, and
in `counter_cents` (the value of the sats in the machine's currency).

Signs: what is held is positive, what is owed or kept is negative.

    machine_wallet + owed (customer, lp, platform, splits, refunds, held_back)
        + kept (own_cash, operator_fees, surplus, reserve_kept, let_go,
          lp_paid_outside) + spent (routing on landing, loss) + other = 0

What arrived (`lp_paid`, `platform_paid`, `splits_paid`, `refunded`) and what routing
took of a payment stand beside that, against `passed_on`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from ..models import CASH_IN, CASH_OUT, FREED_STATUSES, Leg, Settlement

# accounts in sats
MACHINE_WALLET = "machine_wallet"
CUSTOMER = "customer"
PLATFORM = "platform"
PLATFORM_PAID = "platform_paid"
SPLITS = "splits"
SPLITS_PAID = "splits_paid"
OPERATOR_FEES = "operator_fees"
LP = "lp"
LP_PAID = "lp_paid"
LP_PAID_OUTSIDE = "lp_paid_outside"
REFUNDS = "refunds"
REFUNDED = "refunded"
OWN_CASH = "own_cash"
SURPLUS = "surplus"
ROUTING = "routing"
RESERVE_KEPT = "reserve_kept"
LOSS = "loss"
LET_GO = "let_go"
HELD_BACK = "held_back"
OTHER = "other"
PASSED_ON = "passed_on"
# accounts in fiat (own_cash is in both)
LP_DEPOSITS = "lp_deposits"
LP_CASH_USED = "lp_cash_used"
LP_CLOSED = "lp_closed"
CASH_DISPENSED = "cash_dispensed"
CASH_TAKEN = "cash_taken"

OWED = {
    "super_fee": PLATFORM,
    "operator_split": SPLITS,
    "dca": LP,
    "settlement": LP,
    "refund": REFUNDS,
}
ARRIVED = {
    PLATFORM: PLATFORM_PAID,
    SPLITS: SPLITS_PAID,
    LP: LP_PAID,
    REFUNDS: REFUNDED,
}
PER_CLIENT = (LP, LP_PAID, LP_PAID_OUTSIDE)

# (account, client id) -> sats and cents
Key = tuple[str, str | None]


@dataclass(frozen=True)
class Amount:
    sats: int = 0
    cents: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.sats + other.sats, self.cents + other.cents)

    def __neg__(self) -> Amount:
        return Amount(-self.sats, -self.cents)

    def __bool__(self) -> bool:
        return bool(self.sats or self.cents)


class Standing(dict[Key, Amount]):
    """What something comes to, by account and LP; what is 0 is not in it."""

    def add(
        self, account: str, sats: int = 0, cents: int = 0, client: str | None = None
    ) -> None:
        key = (account, client)
        total = self.get(key, Amount()) + Amount(sats, cents)
        if total:
            self[key] = total
        else:
            self.pop(key, None)

    def add_all(self, other: Mapping[Key, Amount], sign: int = 1) -> Standing:
        for (account, client), amount in other.items():
            self.add(account, sign * amount.sats, sign * amount.cents, client)
        return self

    def less(self, other: Mapping[Key, Amount]) -> Standing:
        return Standing(self).add_all(other, -1)

    @property
    def total(self) -> Amount:
        return sum(self.values(), Amount())


@dataclass(frozen=True)
class Line:
    account: str
    client_id: str | None
    sats: int
    fiat_cents: int
    counter_cents: int


@dataclass(frozen=True)
class Rate:
    """Cents for so many sats: the trade's own, principal against fiat."""

    cents: int
    sats: int


NO_RATE = Rate(0, 0)


# ---------------------------------------------------------------------- of a settlement


def standing_of(settlement: Settlement, legs: Sequence[Leg]) -> Standing:
    """What a settlement comes to, of which these are all legs (`autoforward` ones are
    an LP's own business and stand in no book of the operator's)."""
    standing = landed(settlement)
    if settlement.planned_at is None:
        return standing
    legs = [x for x in legs if x.leg_type in OWED]
    gross = -standing[_customer()].sats if _customer() in standing else 0
    standing.pop(_customer(), None)
    kept = _kept_of_plan(settlement, legs, gross)
    standing.add_all(kept)
    for leg in legs:
        standing.add_all(leg_standing(leg))
    standing.add_all(_cash_of(settlement, legs))
    return standing


def _customer() -> Key:
    return (CUSTOMER, None)


def landed(settlement: Settlement) -> Standing:
    """Before there is a plan: the sats are in the wallet (or left it), and nobody's."""
    standing = Standing()
    sign = -1 if is_outgoing(settlement) else 1
    wire = sign * settlement.wire_sats
    network = settlement.network_fee_sats
    standing.add(MACHINE_WALLET, wire - network)
    standing.add(ROUTING, network)
    standing.add(_nobodys(settlement, wire), -wire)
    return standing


def is_outgoing(settlement: Settlement) -> bool:
    """Which way the payment went; an old row that was never read goes by its type."""
    if settlement.is_outgoing is not None:
        return settlement.is_outgoing
    return settlement.tx_type == CASH_IN


def _nobodys(settlement: Settlement, wire_sats: int) -> str:
    if settlement.planned_at is not None:
        return CUSTOMER
    if settlement.status == "quarantined":
        return HELD_BACK
    if settlement.status == "voided":
        # what came in stays the operator's; what went out is gone
        return LET_GO if wire_sats >= 0 else LOSS
    return CUSTOMER


def planned_figures(settlement: Settlement) -> tuple[int, int, int]:
    """Principal and operator's share in sats, and cash in cents: as dispensed, where
    that is known."""
    if settlement.dispensed_fiat is None:
        cash = int(settlement.fiat_amount * 100)
        return settlement.principal_sats, settlement.operator_fee_sats, cash
    return (
        settlement.dispensed_principal_sats or 0,
        settlement.dispensed_operator_fee_sats or 0,
        int(settlement.dispensed_fiat * 100),
    )


def _kept_of_plan(settlement: Settlement, legs: Sequence[Leg], gross: int) -> Standing:
    """What of the trade nobody is owed: the operator's, or their loss.

    A leg that was voided because less cash came out was let go by nobody: let go is
    only what is still there when everybody else has theirs.
    """
    kept = Standing()
    principal, operator_fee, _ = planned_figures(settlement)
    standing_legs = [x for x in legs if x.status not in FREED_STATUSES]
    owed = sum(x.amount_sats for x in standing_legs)
    freed = sum(x.amount_sats for x in legs if x.status in FREED_STATUSES)
    if settlement.tx_type == CASH_OUT:
        to_lps = sum(x.amount_sats for x in legs if x.leg_type == "dca")
        own = max(0, principal - to_lps)
    else:
        own = -principal
    splits = sum(x.amount_sats for x in legs if x.leg_type == "operator_split")
    fees = max(0, operator_fee - splits)
    rest = gross - owed
    let_go = min(freed, max(0, rest - own))
    rest -= let_go
    # of a trade in which less is left than this, nothing of it is kept either
    own = own if own < 0 else min(own, max(0, rest))
    rest -= own
    fees = min(fees, max(0, rest))
    rest -= fees
    kept.add(LET_GO, -let_go)
    kept.add(OWN_CASH, -own)
    kept.add(OPERATOR_FEES, -fees)
    kept.add(SURPLUS if rest >= 0 else LOSS, -rest)
    return kept


def leg_standing(leg: Leg) -> Standing:
    """What one leg comes to: owed, let go (nothing here), kept, or paid from the
    machine's wallet. Adds up to minus what it claims of the trade."""
    standing = Standing()
    account = OWED[leg.leg_type]
    client = leg.client_id if account == LP else None
    if leg.status in FREED_STATUSES:
        return standing
    if leg.status == "skipped":
        # it was in this wallet already, which is the receiver's own
        standing.add(_kept_here(leg), -leg.amount_sats)
        _arrived(standing, account, leg.amount_sats, 0, client)
    elif leg.status != "completed":
        standing.add(account, -leg.amount_sats, client=client)
    elif leg.paid_outside:
        if account == LP:
            standing.add(LP_PAID_OUTSIDE, -leg.amount_sats, client=client)
        else:
            standing.add(OWN_CASH, -leg.amount_sats)
    else:
        arrived, routing = paid_parts(leg)
        standing.add(MACHINE_WALLET, -arrived - routing)
        standing.add(RESERVE_KEPT, arrived + routing - leg.amount_sats)
        _arrived(standing, account, arrived, routing, client)
    return standing


def paid_parts(leg: Leg) -> tuple[int, int]:
    """What arrived of a paid leg, and what routing took of it."""
    arrived = leg.amount_sats if leg.sent_sats is None else leg.sent_sats
    return arrived, leg.routing_sats or 0


def _kept_here(leg: Leg) -> str:
    is_fee = leg.leg_type in ("super_fee", "operator_split")
    return OPERATOR_FEES if is_fee else OWN_CASH


def _arrived(
    standing: Standing, owed: str, arrived: int, routing: int, client: str | None
) -> None:
    standing.add(ARRIVED[owed], arrived, client=client)
    standing.add(ROUTING, routing)
    standing.add(PASSED_ON, -arrived - routing)


def _cash_of(settlement: Settlement, legs: Sequence[Leg]) -> Standing:
    """The cash of a planned trade: whose it was."""
    standing = Standing()
    _, _, cash = planned_figures(settlement)
    if settlement.tx_type == CASH_IN:
        standing.add(CASH_TAKEN, cents=cash)
        standing.add(OWN_CASH, cents=-cash)
        return standing
    own = cash
    for leg in legs:
        if leg.leg_type == "dca" and leg.status not in FREED_STATUSES:
            cents = int((leg.amount_fiat or 0) * 100)
            standing.add(LP_CASH_USED, cents=cents, client=leg.client_id)
            own -= cents
    standing.add(CASH_DISPENSED, cents=-cash)
    standing.add(OWN_CASH, cents=own)
    return standing


def rate_of(settlement: Settlement) -> Rate:
    cents = int(settlement.fiat_amount * 100)
    if settlement.principal_sats <= 0 or cents <= 0:
        return NO_RATE
    return Rate(cents, settlement.principal_sats)


# ------------------------------------------------------------------ of a closed balance


def closing_standing(leg: Leg, *, is_own_wallet: bool) -> Standing:
    """What paying out an LP's balance comes to at the LP's machine: the operator takes
    over the LP's cash and owes sats for it. `is_own_wallet`: they are paid from the
    machine's own wallet; else the sats come in from another one."""
    standing = Standing()
    if leg.status in FREED_STATUSES:
        return standing
    cents = int((leg.amount_fiat or 0) * 100)
    standing.add(LP_CLOSED, cents=cents, client=leg.client_id)
    standing.add(OWN_CASH, leg.amount_sats, -cents)
    for (account, client), amount in leg_standing(leg).items():
        to = OWN_CASH if account == MACHINE_WALLET and not is_own_wallet else account
        standing.add(to, amount.sats, client=client)
    return standing


def lent_standing(leg: Leg) -> Standing:
    """The same at another machine, whose wallet paid it."""
    standing = Standing()
    if leg.status == "completed" and not leg.paid_outside:
        spent = sum(paid_parts(leg))
        standing.add(MACHINE_WALLET, -spent)
        standing.add(OWN_CASH, spent)
    return standing


def closing_rate(leg: Leg) -> Rate:
    return Rate(int((leg.amount_fiat or 0) * 100), leg.amount_sats)


# --------------------------------------------------------------------- other movements


def deposit_standing(client_id: str, cents: int) -> Standing:
    """Cash that an LP handed over; negative where they took it back."""
    standing = Standing()
    standing.add(CASH_TAKEN, cents=cents)
    standing.add(LP_DEPOSITS, cents=-cents, client=client_id)
    return standing


def other_standing(sats: int) -> Standing:
    """A payment in a machine's wallet that is nobody's sale; negative: out of it."""
    standing = Standing()
    standing.add(MACHINE_WALLET, sats)
    standing.add(OTHER, -sats)
    return standing


def service_fee_standing(sats: int) -> Standing:
    """LNbits' own fee on a payment of ours, which its legs left in reserve."""
    standing = Standing()
    standing.add(MACHINE_WALLET, -sats)
    standing.add(RESERVE_KEPT, sats)
    standing.add(ROUTING, sats)
    standing.add(PASSED_ON, -sats)
    return standing


# --------------------------------------------------------------------------- an entry


def lines_of(change: Mapping[Key, Amount], rate: Rate = NO_RATE) -> list[Line]:
    """The lines of an entry, each with the value of its sats; all three add up to 0.

    `ValueError` for a change that does not add up: it must not be written.
    """
    total = sum(change.values(), Amount())
    if total:
        raise ValueError(f"An entry of {change} does not add up: {total}.")
    keys = sorted((k for k, v in change.items() if v), key=lambda k: (k[0], k[1] or ""))
    values = _values([change[k].sats for k in keys], rate)
    return [
        Line(
            account,
            client,
            change[account, client].sats,
            change[account, client].cents,
            v,
        )
        for (account, client), v in zip(keys, values, strict=True)
    ]


def _values(sats: Sequence[int], rate: Rate) -> list[int]:
    """Each sum's value in cents, by largest remainder: they add up to 0 as the sats
    do, and none is a cent or more off its own value."""
    if not rate.sats:
        return [0] * len(sats)
    exact = [Fraction(x * rate.cents, rate.sats) for x in sats]
    values = [x.numerator // x.denominator for x in exact]
    order = sorted(range(len(sats)), key=lambda i: (values[i] - exact[i], i))
    for i in order[: -sum(values)]:
        values[i] += 1
    return values


@dataclass(frozen=True)
class Step:
    """One event of a trade's past: what it changed, and when."""

    kind: str
    at: datetime
    change: Standing
    payment_id: str | None = None


def paid_change(leg: Leg) -> Standing:
    """By how much a leg that is paid now differs from the same leg unpaid."""
    unpaid = leg.copy(update={"status": "pending", "paid_outside": False})
    return leg_standing(leg).less(leg_standing(unpaid))


def past_of(settlement: Settlement, legs: Sequence[Leg]) -> list[Step]:
    """A settlement's past from what stands: landed, planned, paid, given up; dated by
    the best that is known, in the order of time. They add up to its standing."""
    at = settlement.transaction_time or settlement.created_at
    now = standing_of(settlement, legs)
    paid = [x for x in legs if x.leg_type in OWED and _is_paid(x)]
    first = now
    for leg in paid:
        first = first.less(paid_change(leg))
    steps = []
    if settlement.planned_at is None:
        ended = settlement.processed_at if settlement.status == "voided" else None
        before = landed(settlement.copy(update={"status": "pending"}))
        steps = [Step("landed", at, before)]
        steps.append(Step("voided", max(at, ended or at), first.less(before)))
    else:
        before = landed(settlement)
        steps = [Step("landed", at, before), Step("planned", at, first.less(before))]
    for leg in sorted(paid, key=lambda x: (x.completed_at or at, x.id)):
        kind = "paid_outside" if leg.paid_outside else "paid"
        when = max(at, leg.completed_at or at)
        steps.append(Step(kind, when, paid_change(leg), leg.id))
    return [s for s in steps if s.change]


def _is_paid(leg: Leg) -> bool:
    return leg.status in ("completed", "skipped")


def added_up(standings: Iterable[Mapping[Key, Amount]]) -> Standing:
    total = Standing()
    for one in standings:
        total.add_all(one)
    return total


def by_flag(rows: Iterable[tuple[bool, Key, Amount]]) -> dict[bool, Standing]:
    """What was posted, apart for tests and others."""
    found: dict[bool, Standing] = defaultdict(Standing)
    for is_test, (account, client), amount in rows:
        found[is_test].add(account, amount.sats, amount.cents, client)
    return found
