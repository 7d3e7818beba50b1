"""The journal of a database that had none: written once, from what stands.

Guaranteed: in chunks, each with all entries of its settlements or none of them; killed
in between, the next run goes on with what has no entry yet. Run again, it does nothing.
Dated by the best that is known: payments by their legs' `completed_at`, deposits that
were confirmed without a time by `created_at`; every entry is of the kind `before`.
Not guaranteed: that a void, a report or a mark is dated by its own day: only what it
came to stands in those rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lnbits.db import Connection

from ..base.database import (
    cents_sql,
    execute_many,
    fetch_all,
    fetch_models,
    from_db_time,
)
from ..calculations import largest_remainder
from ..models import Leg, Settlement, utc_now
from . import crud
from .crud import Entry, Place, S, lenders_of
from .entries import (
    NO_RATE,
    Rate,
    Standing,
    closing_rate,
    closing_standing,
    deposit_standing,
    lent_standing,
    lines_of,
    past_of,
    rate_of,
)

BEFORE = "before"
CHUNK = 500


async def write_before(conn: Connection) -> None:
    """All of it; each chunk is committed by itself."""
    await _fill_in_routing(conn)
    await _settlements(conn)
    await _closings(conn)
    await _deposits(conn)


async def _write(conn: Connection, entries: Sequence[Entry]) -> None:
    if entries:
        await crud.write_entries(conn, entries)
        await _commit(conn)


async def _commit(conn: Connection) -> None:
    """LNbits' own connection commits with each of its statements: this one is nothing
    but the end of a chunk."""
    await conn.execute(
        "UPDATE satoshimachine.dca_locks SET n = n + 1 WHERE id = 'ledger'"
    )


async def _fill_in_routing(conn: Connection) -> None:
    """What routing took of each leg of a payment that cost something."""
    rows = await fetch_all(
        conn,
        f"""
        SELECT p.id, p.payout_id, p.amount_sats, o.network_fee_sats AS fee
        FROM {S}.dca_payments p JOIN {S}.dca_payouts o ON o.id = p.payout_id
        WHERE o.status = 'paid' AND o.network_fee_sats > 0
          AND p.status = 'completed'
        ORDER BY p.payout_id, p.transaction_time, p.id
        """,  # noqa: S608
    )
    by_payout: dict[str, list[tuple[str, int]]] = {}
    fees: dict[str, int] = {}
    for row in rows:
        leg = (row["id"], int(row["amount_sats"]))
        by_payout.setdefault(row["payout_id"], []).append(leg)
        fees[row["payout_id"]] = int(row["fee"])
    params = [
        {"id": leg_id, "sats": sats}
        for payout_id, legs in by_payout.items()
        for (leg_id, _), sats in zip(
            legs,
            largest_remainder(fees[payout_id], [amount for _, amount in legs]),
            strict=True,
        )
    ]
    await execute_many(
        conn,
        f"UPDATE {S}.dca_payments SET routing_sats = :sats "  # noqa: S608
        "WHERE id = :id AND routing_sats IS NULL",
        params,
    )
    if params:
        await _commit(conn)


async def _settlements(conn: Connection) -> None:
    after = ""
    while True:
        found = await fetch_models(
            conn,
            f"""
            SELECT * FROM {S}.dca_settlements s WHERE s.id > :after AND NOT EXISTS (
                SELECT 1 FROM {S}.journal j WHERE j.settlement_id = s.id)
            ORDER BY s.id LIMIT :limit
            """,  # noqa: S608
            Settlement,
            {"after": after, "limit": CHUNK},
        )
        if not found:
            return
        after = found[-1].id
        legs = await crud.legs_of_settlements(conn, [x.id for x in found])
        places = await crud.places(conn, {x.machine_id for x in found})
        entries = [
            entry
            for x in found
            if x.machine_id in places
            for entry in _past(x, legs.get(x.id, []), places[x.machine_id])
        ]
        await _write(conn, entries)


def _past(settlement: Settlement, legs: Sequence[Leg], place: Place) -> list[Entry]:
    return [
        _entry(
            f"{BEFORE}:{settlement.id}:{number:03}",
            place,
            step.at,
            step.change,
            rate_of(settlement),
            settlement_id=settlement.id,
            payment_id=step.payment_id,
            is_test=settlement.is_test,
        )
        for number, step in enumerate(past_of(settlement, legs))
    ]


def _entry(
    entry_id: str,
    place: Place,
    at: datetime,
    change: Standing,
    rate: Rate = NO_RATE,
    *,
    settlement_id: str | None = None,
    payment_id: str | None = None,
    deposit_id: str | None = None,
    is_test: bool = False,
) -> Entry:
    return Entry(
        id=entry_id,
        at=at,
        recorded_at=utc_now(),
        operator_user_id=place.operator_user_id,
        machine_id=place.machine_id,
        kind=BEFORE,
        lines=lines_of(change, rate),
        currency=place.currency,
        settlement_id=settlement_id,
        payment_id=payment_id,
        deposit_id=deposit_id,
        is_test=is_test,
    )


async def _closings(conn: Connection) -> None:
    """Balances that were paid out: few, in one chunk."""
    legs = await fetch_models(
        conn,
        f"""
        SELECT * FROM {S}.dca_payments p
        WHERE p.leg_type = 'settlement' AND p.settlement_id IS NULL AND NOT EXISTS (
            SELECT 1 FROM {S}.journal j WHERE j.payment_id = p.id)
        ORDER BY p.id
        """,  # noqa: S608
        Leg,
    )
    wallets = {x.source_wallet_id for x in legs if x.source_wallet_id}
    places = await crud.places(conn, {x.machine_id for x in legs}, wallets)
    entries = []
    for leg in legs:
        own = [places[leg.machine_id]] if leg.machine_id in places else []
        for place in (*own, *lenders_of(leg, places)[:1]):
            entries += _closing(leg, place)
    await _write(conn, entries)


def _closing(leg: Leg, place: Place) -> list[Entry]:
    is_own = leg.source_wallet_id in place.wallets
    owed = Standing()
    if place.machine_id == leg.machine_id:
        unpaid = leg.copy(update={"status": "pending", "paid_outside": False})
        if leg.status not in ("voided", "refunded"):
            owed = closing_standing(unpaid, is_own_wallet=is_own)
        now = closing_standing(leg, is_own_wallet=is_own)
    else:
        now = lent_standing(leg)
    steps = [
        (leg.created_at, owed),
        (leg.completed_at or leg.created_at, now.less(owed)),
    ]
    return [
        _entry(
            f"{BEFORE}:{leg.id}:{place.machine_id}:{number}",
            place,
            at,
            change,
            closing_rate(leg),
            payment_id=leg.id,
        )
        for number, (at, change) in enumerate(steps)
        if change
    ]


async def _deposits(conn: Connection) -> None:
    rows = await fetch_all(
        conn,
        f"""
        SELECT d.id, d.client_id, d.machine_id, d.status, d.reversed_at,
            COALESCE(d.confirmed_at, d.created_at) AS confirmed_at,
            {cents_sql('d.amount')} AS cents
        FROM {S}.dca_deposits d
        WHERE d.status IN ('confirmed', 'reversed') AND NOT EXISTS (
            SELECT 1 FROM {S}.journal j WHERE j.deposit_id = d.id)
        ORDER BY d.id
        """,  # noqa: S608
    )
    places = await crud.places(conn, {row["machine_id"] for row in rows})
    entries = []
    for row in rows:
        place, cents = places.get(row["machine_id"]), int(row["cents"])
        at = from_db_time(row["confirmed_at"])
        if place is None or at is None:
            continue
        steps = [(at, cents)]
        if row["status"] == "reversed":
            steps.append((from_db_time(row["reversed_at"]) or at, -cents))
        entries += [
            _entry(
                f"{BEFORE}:{row['id']}:{number}",
                place,
                when,
                deposit_standing(row["client_id"], sum_cents),
                deposit_id=row["id"],
            )
            for number, (when, sum_cents) in enumerate(steps)
        ]
    await _write(conn, entries)
