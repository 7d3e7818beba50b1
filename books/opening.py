"""What the journal of an older database says beside what its rows said; for a command.

The journal was written once from what stood. Its sums by account are not the figures
that screens showed before, and each difference has a rule: this names it, settlement by
settlement, from the rows alone. What no rule explains is said as such, by its id.
Reads, and changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from lnbits.db import Connection

from ..base.database import fetch_all
from ..ledger import crud
from ..ledger.entries import (
    CASH_DISPENSED,
    CASH_TAKEN,
    HELD_BACK,
    LP_PAID,
    OPERATOR_FEES,
    PLATFORM,
    PLATFORM_PAID,
    REFUNDED,
    SPLITS,
    SPLITS_PAID,
    Amount,
    Standing,
    added_up,
    by_flag,
)
from ..models import FREED_STATUSES, Leg, Settlement

S = "satoshimachine"
PAGE = 500
PAID = ("completed", "skipped")

TESTS = "tests are in the journal, with their mark"
VOIDED = "voided after it was shared out: what was done with it stays"
NOT_SHARED = "not shared out yet: in the journal it is nobody's until then"
LET_GO = "let go: voided by whom it was owed to"
OUTSIDE = "paid outside: it never arrived"
ON_THE_WAY = "routing, and what of its reserve was kept: less arrived than was owed"
HERE_ALREADY = "already in the wallet that it was owed to: received, and not kept"
LESS_CASH = "less cash came out after it was paid: what was paid stays paid"
OLDER = "planned by the terms of before"
NO_LEG = "no leg was made for it: there was nobody to owe it to"
NOTHING_LEFT = "the sale did not leave that much"
UNEXPLAINED = "NOT EXPLAINED"
FIGURES = (
    *("cash-out, minor units", "cash-in, minor units", "platform, sat"),
    *("operator, sat", "arrived at LPs, sat", "refunded, sat", "held back, sat"),
)


@dataclass
class Beside:
    """One figure of a machine: by the rows, by the journal, and why they differ."""

    by_rows: int = 0
    by_journal: int = 0
    rules: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    unexplained: list[str] = field(default_factory=list)

    def add(self, settlement_id: str, rows: int, journal: int, rules: _Rules) -> None:
        self.by_rows += rows
        self.by_journal += journal
        rest = journal - rows
        for rule, amount in rules.items():
            self.rules[rule] += amount
            rest -= amount
        if rest:
            self.rules[UNEXPLAINED] += rest
            self.unexplained.append(settlement_id)


_Rules = dict[str, int]
Books = dict[tuple[str, str], dict[str, Beside]]


async def compare(conn: Connection) -> Books:
    """By machine and currency, figure by figure."""
    books: Books = defaultdict(lambda: {name: Beside() for name in FIGURES})
    async for settlements, paid_to_lps in _pages(conn):
        ids = [x.id for x in settlements]
        legs = await crud.legs_of_settlements(conn, ids)
        posted = await crud.posted(conn, "settlement_id", ids)
        for settlement in settlements:
            was = posted.get(settlement.id)
            now = added_up(by_flag(was.rows).values()) if was else Standing()
            of = books[settlement.machine_id, settlement.fiat_code]
            for name, (rows, journal, rules) in _figures(
                settlement,
                legs.get(settlement.id, []),
                now,
                paid_to_lps[settlement.id],
            ).items():
                of[name].add(settlement.id, rows, journal, rules)
    return books


async def _pages(
    conn: Connection,
) -> AsyncIterator[tuple[list[Settlement], dict[str, int]]]:
    """With what screens said that each paid to LPs: a column of their own."""
    after = ""
    while True:
        found = await fetch_all(
            conn,
            f"SELECT id, paid_to_lps_sats FROM {S}.dca_settlements "  # noqa: S608
            "WHERE id > :after "
            "ORDER BY id LIMIT :limit",
            {"after": after, "limit": PAGE},
        )
        if found:
            said = {row["id"]: int(row["paid_to_lps_sats"]) for row in found}
            yield await crud.settlements(conn, list(said)), said
        if len(found) < PAGE:
            return
        after = found[-1]["id"]


_Figure = tuple[int, int, _Rules]


def _figures(
    settlement: Settlement, legs: Sequence[Leg], now: Standing, paid_to_lps: int
) -> dict[str, _Figure]:
    cash = _cash(settlement, now)
    is_out = settlement.tx_type == "cash_out"
    nothing: _Figure = (0, 0, {})
    figures = (
        cash if is_out else nothing,
        nothing if is_out else cash,
        _platform(settlement, legs, now),
        _operator(settlement, legs, now),
        _lps(settlement, legs, now, paid_to_lps),
        _refunds(legs, now),
        _held_back(settlement, now),
    )
    return dict(zip(FIGURES, figures, strict=True))


def _is_counted(settlement: Settlement) -> bool:
    """Whether screens counted it."""
    is_sale = settlement.status not in ("quarantined", "voided")
    return is_sale and not settlement.is_test


def _counted(settlement: Settlement, amount: int) -> tuple[int, int, _Rules]:
    """What screens said, what the sale's plan says, and why that differs."""
    said = amount if _is_counted(settlement) else 0
    planned = amount if settlement.planned_at else 0
    rules: _Rules = {}
    if planned != said:
        is_more = planned > said
        rule = TESTS if settlement.is_test else VOIDED if is_more else NOT_SHARED
        rules[rule] = planned - said
    return said, planned, rules


def _cash(settlement: Settlement, now: Standing) -> _Figure:
    fiat = settlement.dispensed_fiat
    cents = int((settlement.fiat_amount if fiat is None else fiat) * 100)
    said, _, rules = _counted(settlement, cents)
    journal = now.get((CASH_TAKEN, None), Amount()).cents
    journal -= now.get((CASH_DISPENSED, None), Amount()).cents
    return said, journal, rules


def _sats(standing: Standing, account: str) -> int:
    return sum(x.sats for (name, _), x in standing.items() if name == account)


def _of_legs(legs: Sequence[Leg]) -> _Rules:
    """Why legs came to something else than what they were made for."""
    freed = sum(x.amount_sats for x in legs if x.status in FREED_STATUSES)
    outside = sum(x.amount_sats for x in legs if x.paid_outside and x.status in PAID)
    sent = [x for x in legs if x.status == "completed" and not x.paid_outside]
    less = sum(x.amount_sats - _arrived(x) for x in sent)
    rules = {LET_GO: -freed, OUTSIDE: -outside, ON_THE_WAY: -less}
    return {rule: amount for rule, amount in rules.items() if amount}


def _arrived(leg: Leg) -> int:
    return leg.amount_sats if leg.sent_sats is None else leg.sent_sats


def _why_not_the_share(settlement: Settlement, legs: Sequence[Leg]) -> str | None:
    if settlement.is_older:
        return OLDER
    if not legs:
        return NO_LEG
    return LESS_CASH if settlement.dispensed_fiat is not None else None


def _platform(settlement: Settlement, legs: Sequence[Leg], now: Standing) -> _Figure:
    dispensed = settlement.dispensed_platform_fee_sats
    share = settlement.platform_fee_sats if dispensed is None else dispensed
    said, planned, rules = _counted(settlement, share)
    journal = _sats(now, PLATFORM_PAID) - _sats(now, PLATFORM)
    if settlement.planned_at:
        own = [x for x in legs if x.leg_type == "super_fee"]
        rules |= _of_legs(own)
        beyond = sum(x.amount_sats for x in own) - planned
        why = _why_not_the_share(settlement, own)
        if beyond and why:
            rules[why] = beyond
    return said, journal, rules


def _operator(settlement: Settlement, legs: Sequence[Leg], now: Standing) -> _Figure:
    """Splits, and what of the share they do not take."""
    dispensed = settlement.dispensed_operator_fee_sats
    share = settlement.operator_fee_sats if dispensed is None else dispensed
    said, planned, rules = _counted(settlement, share)
    journal = _sats(now, SPLITS_PAID) - _sats(now, SPLITS) - _sats(now, OPERATOR_FEES)
    if settlement.planned_at:
        own = [x for x in legs if x.leg_type == "operator_split"]
        rules |= _of_legs(own)
        here = sum(
            x.amount_sats
            for x in legs
            if x.status == "skipped" and x.leg_type in ("super_fee", "operator_split")
        )
        if here:
            # in `operator_fees` too, as that wallet is the operator's
            rules[HERE_ALREADY] = here
        kept = -_sats(now, OPERATOR_FEES) - here
        rest = max(0, planned - sum(x.amount_sats for x in own))
        beyond = sum(x.amount_sats for x in own) + rest - planned
        why = _why_not_the_share(settlement, own)
        if beyond and why:
            rules[why] = beyond
        if 0 <= kept < rest:
            rules[NOTHING_LEFT] = kept - rest
    return said, journal, rules


def _lps(
    settlement: Settlement, legs: Sequence[Leg], now: Standing, paid_to_lps: int
) -> _Figure:
    own = [x for x in legs if x.leg_type == "dca" and x.status in PAID]
    is_counted = _is_counted(settlement)
    rules = _of_legs(own)
    if paid_to_lps and not is_counted:
        rules[TESTS if settlement.is_test else VOIDED] = paid_to_lps
    return paid_to_lps if is_counted else 0, _sats(now, LP_PAID), rules


def _refunds(legs: Sequence[Leg], now: Standing) -> _Figure:
    own = [x for x in legs if x.leg_type == "refund" and x.status in PAID]
    said = sum(x.amount_sats for x in own)
    return said, _sats(now, REFUNDED), _of_legs(own)


def _held_back(settlement: Settlement, now: Standing) -> _Figure:
    said = settlement.wire_sats if settlement.status == "quarantined" else 0
    held = -_sats(now, HELD_BACK)
    return said, abs(held), {}
