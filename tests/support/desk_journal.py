"""After every step of the desk's machine the journal says what the rows and LNbits say.

Entries balance; what is posted of a settlement is what its rows come to; LPs' cash in
the journal is what their deposits and legs leave them; the machine's wallet holds what
its entries add up to, and what no sale brought (which the sweep posts, not the desk).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from typing import Any

from fake_lightning import FakeLightning

from satmachineadmin.base.database import db, fetch_all, from_db_time
from satmachineadmin.base.zones import Zone
from satmachineadmin.books import accounting, summaries
from satmachineadmin.ledger.entries import (
    LP_CASH_USED,
    LP_CLOSED,
    LP_DEPOSITS,
    MACHINE_WALLET,
    Standing,
    standing_of,
)
from satmachineadmin.models import Leg, Settlement

Row = Mapping[str, Any]
PARTS = ("sats", "fiat_cents", "counter_cents")
BEGINNING = datetime(2000, 1, 1, tzinfo=timezone.utc)
END = datetime(2100, 1, 1, tzinfo=timezone.utc)
# the overview's figures: the lines of the accounting file that they are
FIGURES = {
    "principal": "{kind}_sats",
    "fee: platform share": "platform_fee_sats",
    "fee: operator share": "operator_fee_sats",
    "leg: dca": "paid_to_lps_sats",
    "leg: settlement": "paid_to_lps_sats",
}
OF_LP = (LP_DEPOSITS, LP_CASH_USED, LP_CLOSED)

LINES_SQL = """
    SELECT j.id, j.settlement_id, l.account, l.client_id, l.sats, l.fiat_cents,
        l.counter_cents
    FROM satoshimachine.journal j
    JOIN satoshimachine.journal_lines l ON l.journal_id = j.id
    WHERE j.machine_id = :m
    """


class JournalWatch:
    """One machine's journal, held against its rows. What has not changed since the
    step before is not worked out again."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Any, Standing]] = {}

    def check(
        self, lines: Sequence[Row], settlements: Sequence[Row], legs: Sequence[Row]
    ) -> None:
        entries: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        posted: dict[str, Standing] = defaultdict(Standing)
        for line in lines:
            sums = entries[line["id"]]
            for n, part in enumerate(PARTS):
                sums[n] += line[part]
            if line["settlement_id"]:
                posted[line["settlement_id"]].add(
                    *(line["account"], line["sats"], line["fiat_cents"]),
                    line["client_id"],
                )
        assert [i for i, sums in entries.items() if any(sums)] == []
        of_settlement: dict[str, list[Row]] = defaultdict(list)
        for leg in legs:
            if leg["settlement_id"] and leg["leg_type"] != "autoforward":
                of_settlement[leg["settlement_id"]].append(leg)
        for row in settlements:
            now = self._standing(row, of_settlement[row["id"]])
            assert posted.pop(row["id"], Standing()) == now, row["id"]
        assert not posted, "entries of settlements that are nowhere"

    def _standing(self, row: Row, legs: Sequence[Row]) -> Standing:
        seen = (tuple(row.values()), [tuple(x.values()) for x in legs])
        before = self.known.get(row["id"])
        if before is None or before[0] != seen:
            before = seen, standing_of(
                Settlement(**_given(row)), [Leg(**_given(x)) for x in legs]
            )
            self.known[row["id"]] = before
        return before[1]


def _given(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def check_lps(lines: Sequence[Row], totals: Sequence[Row]) -> None:
    """What is left of an LP's cash, by the journal and by the running totals."""
    left: dict[str, int] = defaultdict(int)
    for line in lines:
        if line["account"] in OF_LP:
            left[line["client_id"]] -= line["fiat_cents"]
    for row in totals:
        assert left[row["id"]] == int(row["deposited"]) - int(row["debited"]), row


def check_wallet(
    lines: Sequence[Row],
    lightning: FakeLightning,
    wallet: str,
    topped_up: int,
    unpaid_payouts: set[str],
) -> None:
    """The wallet's balance is its account, and what is no sale: top-ups, strangers'
    payments, LNbits' own fee, sats out of another wallet, and payments whose outcome
    is not in our books yet."""
    expected = sum(x["sats"] for x in lines if x["account"] == MACHINE_WALLET)
    expected += topped_up
    for sent in lightning.sent.values():
        if sent.status == "failed":
            continue
        if sent.source == wallet:
            expected -= lightning.service_fee_of(sent.sats)
            expected -= sent.sats if sent.payout_id in unpaid_payouts else 0
        if sent.destination == wallet and sent.status == "success":
            expected += sent.sats
    assert lightning.balances[wallet] == expected


async def assert_periods_add_up(operator: str, machine_id: str) -> None:
    """The lines of the accounting file: of periods cut at the times of entries they add
    up to those of all of them, and the wallet's column to the wallet's account."""
    async with db.connect() as conn:
        entries = await fetch_all(
            conn,
            "SELECT j.at, l.account, l.sats FROM satoshimachine.journal j "
            "JOIN satoshimachine.journal_lines l ON l.journal_id = j.id "
            "WHERE j.machine_id = :m",
            {"m": machine_id},
        )
    times = sorted({at for row in entries if (at := from_db_time(row["at"]))})
    cuts = [BEGINNING, *times[:: max(1, len(times) // 3)], END]
    parts: dict[tuple[Any, ...], list[int]] = {}
    for since, until in pairwise(cuts):
        await _add_lines(parts, accounting.Asked(operator, False, since, until))
    whole: dict[tuple[Any, ...], list[int]] = {}
    await _add_lines(whole, accounting.Asked(operator, False, BEGINNING, END))
    found, wanted = ({k: v for k, v in x.items() if any(v)} for x in (parts, whole))
    assert found == wanted
    gained = sum(wallet for *_, wallet in whole.values())
    assert gained == sum(r["sats"] for r in entries if r["account"] == MACHINE_WALLET)


async def _add_lines(
    sums: dict[tuple[Any, ...], list[int]], asked: accounting.Asked
) -> None:
    async for page in accounting.lines(asked):
        for line in page:
            state = line["status"] if line["record"].startswith("leg") else ""
            key = (line["record"], line["id"], line["party"], state, line["is_test"])
            of = sums.setdefault(key, [0, 0, 0])
            of[0] += line["sats"]
            of[1] += round(Decimal(line["counter_value"]) * 100)
            of[2] += line["wallet_sats"]


async def assert_overview_is_the_books(operator: str, zone: Zone) -> None:
    """The overview's sums, by SQL, are those of the accounting file's lines, by Python;
    and its days add up to them."""
    today = zone.today()
    for days in (1, 30, 365):
        first = today - timedelta(days=days - 1)
        since, until = zone.start_of(first), zone.start_of(today + timedelta(days=1))
        asked = accounting.Asked(operator, False, since, until, tests=False)
        wanted: dict[str, int] = defaultdict(int)
        async for page in accounting.lines(asked):
            for line in page:
                name = FIGURES.get(line["record"])
                is_leg = line["record"].startswith("leg")
                if name and (not is_leg or line["status"] == "completed"):
                    wanted[name.format(kind=line["tx_type"])] += line["sats"]
                if line["record"] == "principal":
                    cents = round(Decimal(line["counter_value"]) * 100)
                    wanted[f"{line['tx_type']}_fiat {line['currency']}"] += cents
        async with db.connect() as conn:
            found = await summaries.sums_of_days(conn, operator, False, days, zone)
        assert _figures([found.totals]) == {k: v for k, v in wanted.items() if v}
        series = _figures(found.series)
        assert series == _figures([found.totals])


def _figures(sums: Sequence[Any]) -> dict[str, int]:
    total: dict[str, int] = defaultdict(int)
    for one in sums:
        for name in set(FIGURES.values()):
            for kind in ("cash_out", "cash_in") if "{kind}" in name else ("",):
                total[name.format(kind=kind)] += getattr(one, name.format(kind=kind))
        for kind in ("cash_out_fiat", "cash_in_fiat"):
            for code, amount in getattr(one, kind).items():
                total[f"{kind} {code}"] += round(Decimal(amount) * 100)
    return {name: sats for name, sats in total.items() if sats}
