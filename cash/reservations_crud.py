"""SQL of what is set aside of the bays, and of what they hold for a customer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, execute, fetch_all
from ..models import Machine, utc_now

S = "satoshimachine"
# A reservation that still holds its notes back; needs `:now` and `:day_ago`.
HOLDS = f"""
    (s.id IS NULL AND r.expires_at > :now)
    OR (s.id IS NOT NULL AND s.status <> 'voided' AND s.dispense_state = 'awaiting'
        AND NOT EXISTS (SELECT 1 FROM {S}.cash_trades t
            WHERE t.settlement_id = s.id AND t.fault IS NULL)
        AND NOT (s.transaction_time < :day_ago AND EXISTS (
            SELECT 1 FROM {S}.cash_counts c WHERE c.machine_id = r.machine_id
              AND c.source = 'person' AND c.at > s.transaction_time)))
"""  # noqa: S608


async def holding(
    conn: Connection, own_machines: str, params: Mapping[str, Any], day_ago: datetime
) -> Sequence[Mapping[str, Any]]:
    """`machine_id` and `notes_json` of what is set aside now."""
    return await fetch_all(
        conn,
        f"""
        SELECT r.machine_id, r.notes_json FROM {S}.cash_reservations r
        LEFT JOIN {S}.dca_settlements s ON s.payment_hash = r.payment_hash
        WHERE r.machine_id IN {own_machines} AND ({HOLDS})
        """,  # noqa: S608
        {**params, "now": db_time(utc_now()), "day_ago": db_time(day_ago)},
    )


async def bay_rows(conn: Connection, machine: Machine) -> Sequence[Mapping[str, Any]]:
    """Each bay: what the ledger has, the machine's own count and what moved since."""
    return await fetch_all(
        conn,
        f"""
        SELECT k.position, k.denomination, COALESCE(b.notes, 0) AS held,
            k.state_count, k.state_denomination, k.state_at,
            EXISTS (SELECT 1 FROM {S}.cash_counts c
                WHERE c.machine_id = k.machine_id AND c.source <> 'upgrade'
                  AND c.place = 'bay:' || k.position) AS is_counted,
            EXISTS (SELECT 1 FROM {S}.dca_cursors u WHERE u.id = 'cash_book_began'
                AND k.state_count IS NOT NULL AND k.state_at >= u.updated_at)
                AS has_reported,
            (SELECT COALESCE(SUM(CASE WHEN v.to_place = 'bay:' || k.position
                    THEN v.notes ELSE -v.notes END), 0)
                FROM {S}.cash_movements v
                WHERE v.machine_id = k.machine_id AND v.at > k.state_at
                  AND v.denomination = k.denomination
                  AND (v.to_place = 'bay:' || k.position
                    OR v.from_place = 'bay:' || k.position)) AS moved
        FROM {S}.cassette_configs k
        LEFT JOIN {S}.cash_balances b ON b.machine_id = k.machine_id
            AND b.place = 'bay:' || k.position AND b.denomination = k.denomination
            AND b.currency = :currency
        WHERE k.machine_id = :machine AND k.denomination > 0
        """,  # noqa: S608
        {"machine": machine.id, "currency": machine.fiat_code},
    )


async def from_unknown_bays(
    conn: Connection, machine: Machine
) -> list[tuple[int, int]]:
    """Notes of which nobody said which bay they came out of: below 0."""
    found = await fetch_all(
        conn,
        f"SELECT denomination, notes FROM {S}.cash_balances "  # noqa: S608
        "WHERE machine_id = :id AND place = 'bays' AND denomination > 0",
        {"id": machine.id},
    )
    return [(int(r["denomination"]), int(r["notes"])) for r in found]


async def forget(conn: Connection, machine_id: str, txid: str) -> None:
    """What was set aside for a request that never had an invoice."""
    await execute(
        conn,
        f"DELETE FROM {S}.cash_reservations "  # noqa: S608
        "WHERE machine_id = :machine AND txid = :txid",
        {"machine": machine_id, "txid": txid},
    )


async def insert(
    conn: Connection, machine: Machine, txid: str, notes: Mapping[int, int]
) -> None:
    now = utc_now()
    await execute(
        conn,
        f"""
        INSERT INTO {S}.cash_reservations (
            machine_id, txid, notes_json, created_at, expires_at
        ) VALUES (:machine, :txid, :notes, :now, :until)
        """,  # noqa: S608
        {
            "machine": machine.id,
            "txid": txid,
            "notes": json.dumps({str(n): c for n, c in sorted(notes.items())}),
            "now": db_time(now),
            "until": db_time(now + timedelta(minutes=machine.invoice_expiry_minutes)),
        },
    )


async def name_the_sale(
    conn: Connection, machine_id: str, txid: str, payment_hash: str
) -> None:
    """The invoice was made: its payment is what the notes are set aside for."""
    await execute(
        conn,
        f"UPDATE {S}.cash_reservations SET payment_hash = :hash "  # noqa: S608
        "WHERE machine_id = :machine AND txid = :txid",
        {"machine": machine_id, "txid": txid, "hash": payment_hash},
    )
