"""Who is owed what when less cash came out than was planned: legs made smaller.

Pure. What is paid or on its way stays as it is; every other leg shrinks to what the
smaller dispense gives it, and what the customer is owed grows. What the shrunk legs
release pays for that. The rest spends the wallet's free balance, as a leg of its own:
what the settlement once left in the wallet has been the operator's since, and may be
gone. Whatever is owed and paid beyond what came in is the operator's loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..calculations import DcaCandidate, allocate_dca, largest_remainder, round_half_up
from ..models import FREED_STATUSES, UNPAID_LEG_STATUSES, Leg, Machine, Settlement
from .planning import SHORTFALL, LegMaker, Owed, owed_of


@dataclass(frozen=True)
class Resize:
    """A leg's new amounts; of 0 sats: the leg is voided and keeps its old ones."""

    leg: Leg
    amount_sats: int
    fiat_cents: int | None = None

    @property
    def is_voided(self) -> bool:
        return self.amount_sats == 0

    @property
    def debit_change_cents(self) -> int:
        """What the LP's debits change by; negative gives fiat back."""
        if self.leg.amount_fiat is None:
            return 0
        return (self.fiat_cents or 0) - int(self.leg.amount_fiat * 100)


@dataclass(frozen=True)
class Replan:
    """`retained_sats` stay of the settlement, or `loss_sats` are paid beyond it."""

    resized: list[Resize]
    added: list[Leg]
    retained_sats: int
    loss_sats: int

    @property
    def debit_changes(self) -> dict[str, int]:
        """client id -> minor units; an LP may have two legs in a settlement."""
        changes: dict[str, int] = {}
        for resize in self.resized:
            client_id = resize.leg.client_id
            if client_id:
                cents = changes.get(client_id, 0) + resize.debit_change_cents
                changes[client_id] = cents
        return changes


def is_open(leg: Leg) -> bool:
    """Unpaid and in no payout: whatever is done to it, nothing is on its way."""
    return leg.status in UNPAID_LEG_STATUSES and leg.payout_id is None


def is_fixed(leg: Leg) -> bool:
    """Paid, received, or on its way."""
    return not is_open(leg) and leg.status not in FREED_STATUSES


def replan(
    before: Settlement,
    after: Settlement,
    machine: Machine,
    legs: Sequence[Leg],
    now: datetime,
) -> Replan:
    """The legs of a planned cash-out for what was really dispensed.

    `before` and `after` differ in their dispensed figures. No leg grows but the
    customer's refund.
    """
    owed = owed_of(after)
    own = [x for x in legs if x.leg_type != "autoforward"]
    shrunk = _super_fee(own, owed)
    shrunk += _operator_splits(own, owed_of(before), owed)
    shrunk += _dca(own, owed)
    # what spends free balance holds nothing that could be released
    released_sats = sum(
        r.leg.amount_sats - r.amount_sats for r in shrunk if not r.leg.from_free_balance
    )
    refunds = [x for x in own if x.leg_type == "refund"]
    given = sum(x.amount_sats for x in refunds if is_fixed(x))
    needed = max(0, after.refund_sats - given)
    if before.dispensed_fiat == after.dispensed_fiat:
        # said again: what was voided since then is given up, and comes not back
        needed = min(needed, sum(x.amount_sats for x in refunds if is_open(x)))
    held = [x for x in refunds if is_open(x) and not x.from_free_balance]
    reserved_sats = sum(x.amount_sats for x in held) + released_sats
    from_own = min(needed, reserved_sats)
    make = LegMaker(after, machine, now)
    resized, added = list(shrunk), list[Leg]()
    for is_free, total in ((False, from_own), (True, needed - from_own)):
        there = [x for x in refunds if is_open(x) and x.from_free_balance is is_free]
        if there:
            resized += _fit(there, total)
        else:
            number = next_number([*refunds, *added])
            added += make.refund(total, number=number, is_free=is_free)
    total_sats = needed + sum(r.amount_sats for r in shrunk)
    total_sats += sum(x.amount_sats for x in own if is_fixed(x))
    changed = [r for r in resized if _is_change(r)]
    return Replan(
        changed,
        added,
        retained_sats=max(0, owed.available_sats - total_sats),
        loss_sats=max(0, total_sats - owed.available_sats),
    )


def next_number(refunds: Sequence[Leg]) -> int:
    keys = [x.leg_key or "" for x in refunds]
    numbers = [int(key) for key in keys if key.isdigit()]
    return max(numbers, default=0) + 1


def _is_change(resize: Resize) -> bool:
    return (
        resize.amount_sats != resize.leg.amount_sats or resize.debit_change_cents != 0
    )


def _super_fee(legs: Sequence[Leg], owed: Owed) -> list[Resize]:
    """What the fee holds of the platform's share, and what it does not."""
    owing = {SHORTFALL: owed.shortfall_sats}
    return [
        Resize(
            leg,
            min(leg.amount_sats, owing.get(leg.leg_key or "", owed.platform_fee_sats)),
        )
        for leg in legs
        if leg.leg_type == "super_fee" and is_open(leg)
    ]


def _operator_splits(legs: Sequence[Leg], before: Owed, owed: Owed) -> list[Resize]:
    """Each split's part in proportion to what it was, whatever the others received; all
    together never more than the fee: one that failed on its way was not made smaller
    when the dispense was said for the first time."""
    open_legs = [x for x in legs if x.leg_type == "operator_split" and is_open(x)]
    was = sum(x.amount_sats for x in open_legs)
    if not was:
        return []
    total = owed.operator_fee_sats
    if before.operator_fee_sats:
        share = round_half_up(was * owed.operator_fee_sats, before.operator_fee_sats)
        total = min(total, share)
    parts = largest_remainder(min(was, total), [x.amount_sats for x in open_legs])
    return [
        Resize(leg, min(leg.amount_sats, part))
        for leg, part in zip(open_legs, parts, strict=True)
    ]


def _dca(legs: Sequence[Leg], owed: Owed) -> list[Resize]:
    """The rest of the smaller dispense over the LPs who have not been paid yet."""
    dca = [x for x in legs if x.leg_type == "dca"]
    paid = [x for x in dca if is_fixed(x)]
    open_legs: dict[str, list[Leg]] = {}
    for leg in dca:
        if is_open(leg):
            open_legs.setdefault(str(leg.client_id), []).append(leg)
    cents = {c: sum(map(_cents, legs)) for c, legs in open_legs.items()}
    rest_sats = owed.principal_sats - sum(x.amount_sats for x in paid)
    rest_cents = owed.fiat_cents - sum(map(_cents, paid))
    still = [x for legs in open_legs.values() for x in legs]
    open_sats = sum(x.amount_sats for x in still)
    if open_sats <= rest_sats and sum(cents.values()) <= rest_cents:
        return [Resize(x, x.amount_sats, _cents(x)) for x in still]
    shares = allocate_dca(
        max(0, rest_sats),
        max(0, rest_cents),
        [DcaCandidate(c, cents[c], cents[c]) for c in open_legs],
    ).shares
    new = {s.client_id: (s.amount_sats, s.fiat_cents) for s in shares}
    return [
        resize
        for c, legs in open_legs.items()
        for resize in _parts(legs, *new.get(c, (0, 0)))
    ]


def _cents(leg: Leg) -> int:
    return int((leg.amount_fiat or 0) * 100)


def _parts(legs: Sequence[Leg], sats: int, cents: int) -> list[Resize]:
    """An LP's new share over their open legs: what the settlement holds first, then
    what spends free balance. No leg grows."""
    resized = []
    for leg in sorted(legs, key=lambda x: x.from_free_balance):
        part_sats = min(leg.amount_sats, sats)
        due_cents = round_half_up(cents * part_sats, sats) if sats else 0
        part_cents = min(_cents(leg), due_cents)
        resized.append(Resize(leg, part_sats, part_cents))
        sats -= part_sats
        cents -= part_cents
    return resized


def _fit(open_legs: Sequence[Leg], total_sats: int) -> list[Resize]:
    """The legs with their sizes changed, the last one first, so that they add up."""
    sizes = [x.amount_sats for x in open_legs]
    rest = total_sats - sum(sizes)
    for i in range(len(sizes) - 1, -1, -1):
        change = max(rest, -sizes[i])
        sizes[i] += change
        rest -= change
        if rest >= 0:
            break
    return [Resize(leg, size) for leg, size in zip(open_legs, sizes, strict=True)]
