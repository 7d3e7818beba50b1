"""Asserts that no sat and no minor unit was lost, invented or paid twice.

Reads our rows and LNbits' rows, so any test can call it: for the whole instance, or
for some machines of it (other tests may have written rows that nobody paid).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from lnbits.core.db import db as core_db

from satmachineadmin.base.database import db, fetch_all, from_db_time
from satmachineadmin.ledger import crud as ledger_crud
from satmachineadmin.ledger.entries import Standing, standing_of
from satmachineadmin.models import Payout, Settlement
from satmachineadmin.money.planning import owed_of


async def _all(query: str, **params: Any) -> list[Any]:
    async with db.connect() as conn:
        return await fetch_all(conn, query, params)


async def assert_ledger_balances(*machine_ids: str) -> None:
    """Conservation of every planned settlement, exactly one payment for every paid leg,
    and LPs' running totals equal to what their legs add up to, never above deposits.

    Of all machines, or of those that are named.
    """
    legs = await _of(machine_ids, "SELECT * FROM satoshimachine.dca_payments")
    settlements = await _of(machine_ids, "SELECT * FROM satoshimachine.dca_settlements")
    payouts = await _all("SELECT * FROM satoshimachine.dca_payouts")
    tries = await _all("SELECT payout_id, leg_id FROM satoshimachine.dca_payout_legs")
    if machine_ids:
        own = {leg["id"] for leg in legs}
        tries = [t for t in tries if t["leg_id"] in own]
        tried = {t["payout_id"] for t in tries}
        payouts = [p for p in payouts if p["id"] in tried]
    assert_conserves(settlements, legs)
    await _assert_paid_once(payouts, legs)
    await _assert_no_leg_left_lnbits_twice(payouts, tries)
    await _assert_lp_totals(machine_ids, legs)
    await assert_journal_balances(*machine_ids)


async def _of(machine_ids: tuple[str, ...], query: str) -> list[Any]:
    found = await _all(query)
    return [r for r in found if not machine_ids or r["machine_id"] in machine_ids]


def _settlement(row: Any) -> Settlement:
    fields = {k: v for k, v in row.items() if v is not None}
    for key in ("created_at", "processed_at", "transaction_time", "planned_at"):
        if key in fields:
            fields[key] = from_db_time(fields[key])
    return Settlement(**fields)


def assert_conserves(settlements: list[Any], legs: list[Any]) -> None:
    """Legs and what is retained add up to what came in, settlement by settlement."""
    by_settlement = defaultdict(list)
    for leg in legs:
        if leg["settlement_id"] and leg["leg_type"] != "autoforward":
            by_settlement[leg["settlement_id"]].append(leg)
    for row in settlements:
        own = by_settlement[row["id"]]
        if row["planned_at"] is None:
            assert own == [], f"{row['id']} has legs and no plan"
            continue
        settlement = _settlement(row)
        owed = owed_of(settlement)
        # what a voided leg does not take is retained, what is paid beyond what came in
        # is the operator's loss, and there is never both
        kept = [x for x in own if x["status"] != "voided"]
        to_lps = [x for x in own if x["leg_type"] == "dca" and _is_received(x)]
        assert row["paid_to_lps_sats"] == sum(x["amount_sats"] for x in to_lps)
        total = sum(x["amount_sats"] for x in kept)
        rest = owed.available_sats - total
        assert (row["retained_sats"], row["loss_sats"]) == (
            max(0, rest),
            max(0, -rest),
        ), row["id"]
        losses = [x for x in kept if _is_loss(settlement, x)]
        assert row["loss_sats"] <= sum(x["amount_sats"] for x in losses), row["id"]
        assert all(leg["amount_sats"] > 0 for leg in own), row["id"]
        assert {x["leg_type"] for x in losses} <= {
            "dca",
            "refund",
            "super_fee",
        }, row["id"]
        refunds = sum(x["amount_sats"] for x in kept if x["leg_type"] == "refund")
        assert refunds <= settlement.refund_sats, row["id"]
        cents = sum(_cents(x) for x in kept)
        assert cents <= round(float(row["fiat_amount"]) * 100), row["id"]
        # a dispense that was corrected too late leaves what was paid by then
        if settlement.dispense_state != "partial":
            assert cents <= owed.fiat_cents, row["id"]
        keys = [(leg["leg_type"], leg["leg_key"]) for leg in own]
        assert len(keys) == len(set(keys)), f"{row['id']} owes one party twice"


def _is_loss(settlement: Settlement, leg: Any) -> bool:
    return settlement.tx_type == "cash_out" and bool(leg["from_free_balance"])


def _is_received(leg: Any) -> bool:
    return leg["status"] in ("completed", "skipped")


def _arrived(leg: Any) -> int:
    return leg["amount_sats"] if leg["sent_sats"] is None else leg["sent_sats"]


def _cents(leg: Any) -> int:
    return round(float(leg["amount_fiat"] or 0) * 100)


async def _assert_paid_once(payouts: list[Any], legs: list[Any]) -> None:
    by_payout = defaultdict(list)
    for leg in legs:
        if leg["payout_id"]:
            by_payout[leg["payout_id"]].append(leg)
    async with core_db.connect() as conn:
        core = await fetch_all(
            conn,
            "SELECT payment_hash, wallet_id, amount, status, checking_id "
            "FROM apipayments WHERE external_id IS NOT NULL AND external_id <> ''",
        )
        out = await fetch_all(
            conn,
            "SELECT payment_hash, wallet_id, amount, status FROM apipayments "
            "WHERE amount < 0 AND status <> 'failed'",
        )
    spent = {(r["payment_hash"], r["wallet_id"]): -r["amount"] // 1000 for r in out}
    incoming = {r["payment_hash"]: r for r in core if r["amount"] > 0}
    paid_for: dict[str, list[str]] = defaultdict(list)
    for row in payouts:
        payout = Payout(**{k: v for k, v in row.items() if not k.endswith("_at")})
        own = by_payout[payout.id]
        if payout.status != "paid":
            assert all(leg["status"] not in ("completed",) for leg in own), payout.id
            continue
        assert payout.payment_hash
        assert sum(leg["amount_sats"] for leg in own) == payout.amount_sats, payout.id
        assert sum(leg["sent_sats"] for leg in own) == payout.sent_sats, payout.id
        key = (payout.payment_hash, payout.source_wallet_id)
        assert spent.get(key) == payout.sent_sats, f"payout {payout.id} left no trace"
        if payout.is_internal:
            received = incoming[payout.payment_hash]
            assert received["status"] == "success", f"{payout.id} debited, not credited"
            assert received["amount"] == (payout.sent_sats or 0) * 1000
        for leg in own:
            assert leg["status"] == "completed", leg["id"]
            paid_for[leg["id"]].append(payout.id)
    for leg in legs:
        if leg["status"] == "completed" and leg["payout_id"]:
            assert len(paid_for[leg["id"]]) == 1, f"leg {leg['id']} paid {paid_for}"
    ours = {p["payment_hash"] for p in payouts if p["status"] == "paid"}
    strangers = [
        r
        for r in core
        if r["amount"] < 0
        and r["status"] == "success"
        and r["payment_hash"] not in ours
        and any(p["id"] for p in payouts if p["payment_hash"] == r["payment_hash"])
    ]
    unfinished = {
        p["payment_hash"] for p in payouts if p["status"] in ("new", "invoiced")
    }
    assert [r for r in strangers if r["payment_hash"] not in unfinished] == []


async def _assert_no_leg_left_lnbits_twice(
    payouts: list[Any], tries: list[Any]
) -> None:
    """Of all payouts that a leg ever was in, LNbits paid at most one."""
    async with core_db.connect() as conn:
        out = await fetch_all(
            conn,
            "SELECT payment_hash, wallet_id FROM apipayments "
            "WHERE amount < 0 AND status = 'success'",
        )
    left = {(r["payment_hash"], r["wallet_id"]) for r in out}
    sent = {
        p["id"] for p in payouts if (p["payment_hash"], p["source_wallet_id"]) in left
    }
    times: dict[str, int] = defaultdict(int)
    for row in tries:
        times[row["leg_id"]] += row["payout_id"] in sent
    twice = [leg_id for leg_id, count in times.items() if count > 1]
    assert twice == [], f"paid twice: {twice}"


async def _assert_lp_totals(machine_ids: tuple[str, ...], legs: list[Any]) -> None:
    kept = await _of(
        machine_ids,
        "SELECT t.*, c.machine_id FROM satoshimachine.dca_client_totals t "
        "LEFT JOIN satoshimachine.dca_clients c ON c.id = t.client_id",
    )
    totals = {r["client_id"]: int(r["debited_cents"]) for r in kept}
    for row in kept:
        received = [
            x
            for x in legs
            if x["client_id"] == row["client_id"]
            and x["leg_type"] in ("dca", "settlement")
            and _is_received(x)
            # never counted as received through Lightning
            and not x["paid_outside"]
        ]
        assert (row["received_sats"], row["received_cents"]) == (
            sum(_arrived(x) for x in received),
            sum(_cents(x) for x in received),
        ), row["client_id"]
    deposits: dict[str, int] = defaultdict(int)
    for row in await _of(
        machine_ids,
        "SELECT client_id, machine_id, amount FROM satoshimachine.dca_deposits "
        "WHERE status = 'confirmed'",
    ):
        deposits[row["client_id"]] += round(float(row["amount"]) * 100)
    assert_lp_totals(legs, totals, deposits)


def assert_lp_totals(
    legs: list[Any], totals: dict[str, int], deposits: dict[str, int]
) -> None:
    """The running totals are what the legs add up to, and nobody is below zero."""
    debits: dict[str, int] = defaultdict(int)
    for leg in legs:
        if leg["leg_type"] in ("dca", "settlement") and leg["client_id"]:
            if leg["status"] not in ("voided", "refunded"):
                debits[leg["client_id"]] += _cents(leg)
    for client_id in set(totals) | set(debits):
        assert totals.get(client_id, 0) == debits[client_id], client_id
        given = deposits.get(client_id, 0)
        assert debits[client_id] <= given, f"{client_id} below zero"


async def assert_journal_balances(*machine_ids: str) -> None:
    """Every entry adds up; what is posted of a settlement is what its rows come to; and
    the wallets of machines hold, by the journal, what LNbits booked for it."""
    entries = await _of(machine_ids, "SELECT * FROM satoshimachine.journal")
    by_id = {e["id"]: e for e in entries}
    lines = [
        x
        for x in await _all("SELECT * FROM satoshimachine.journal_lines")
        if x["journal_id"] in by_id
    ]
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    posted: dict[str, Standing] = defaultdict(Standing)
    for line in lines:
        parts = (line["sats"], line["fiat_cents"], line["counter_cents"])
        sums[line["journal_id"]] = [
            a + b for a, b in zip(sums[line["journal_id"]], parts, strict=True)
        ]
        about = by_id[line["journal_id"]]["settlement_id"]
        if about:
            posted[about].add(line["account"], *parts[:2], line["client_id"])
    assert set(sums) == set(by_id), "an entry without lines"
    assert [i for i, total in sums.items() if any(total)] == []
    async with db.connect() as conn:
        found = await ledger_crud.settlements(conn, {*posted})
        legs = await ledger_crud.legs_of_settlements(conn, {*posted})
    for settlement in found:
        assert posted[settlement.id] == standing_of(
            settlement, legs.get(settlement.id, [])
        ), settlement.id
    every = await _of(machine_ids, "SELECT * FROM satoshimachine.dca_settlements")
    landed = {e["settlement_id"] for e in entries}
    # rows that a test wrote itself never landed
    planned = [s for s in every if s["planned_at"] and s["processing_claim"]]
    assert [s["id"] for s in planned if s["id"] not in landed] == []
