"""SQL of what is set aside of the bays, and of what they hold for a customer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from lnbits.db import Connection

from ..base.database import (
    cents_sql,
    db_time,
    execute,
    fetch_all,
    from_db_time,
    in_list,
    in_lists,
)
from ..models import Machine, utc_now

S = "satoshimachine"
NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)
# A reservation that still holds its notes back; needs `:now`. Whether those of a sale
# that was not reported for a day were counted since is asked note by note.
HOLDS = f"""
    (s.id IS NULL AND r.expires_at > :now)
    OR (s.id IS NOT NULL AND s.status <> 'voided' AND s.dispense_state = 'awaiting'
        AND NOT EXISTS (SELECT 1 FROM {S}.cash_trades t
            WHERE t.settlement_id = s.id AND t.fault IS NULL))
"""  # noqa: S608
# A paid sale that has not landed for so long is in the sweep's or a person's hands.
UNLANDED_FOR = timedelta(days=2)
# What expires while LNbits is asked is asked of too.
SOON = timedelta(minutes=1)


async def holding(
    conn: Connection,
    own_machines: str,
    params: Mapping[str, Any],
    paid: Sequence[str] = (),
) -> Sequence[Mapping[str, Any]]:
    """`machine_id`, `notes_json` and `transaction_time` (of a sale that landed) of what
    is set aside now. `paid` are payment hashes of sales that have not landed yet."""
    values = {**params, "now": db_time(utc_now())}
    holds = HOLDS
    if paid:
        listed = in_list("paid", list(paid), values)
        holds += f" OR (s.id IS NULL AND r.payment_hash IN {listed})"
    return await fetch_all(
        conn,
        f"""
        SELECT r.machine_id, r.notes_json, s.transaction_time
        FROM {S}.cash_reservations r
        LEFT JOIN {S}.dca_settlements s ON s.payment_hash = r.payment_hash
        WHERE r.machine_id IN {own_machines} AND ({holds})
        """,  # noqa: S608
        values,
    )


async def unlanded(
    conn: Connection, own_machines: str, params: Mapping[str, Any]
) -> list[str]:
    """Payment hashes of invoices whose time is over, or soon is, and that are no
    settlement."""
    now = utc_now()
    found = await fetch_all(
        conn,
        f"""
        SELECT r.payment_hash FROM {S}.cash_reservations r
        WHERE r.machine_id IN {own_machines} AND r.payment_hash IS NOT NULL
          AND r.expires_at > :since AND r.expires_at <= :soon
          AND NOT EXISTS (SELECT 1 FROM {S}.dca_settlements s
            WHERE s.payment_hash = r.payment_hash)
        """,  # noqa: S608
        {
            **params,
            "since": db_time(now - UNLANDED_FOR),
            "soon": db_time(now + SOON),
        },
    )
    return [row["payment_hash"] for row in found]


async def counted_notes(
    conn: Connection, machine_ids: Sequence[str]
) -> dict[tuple[str, int], datetime]:
    """Since when a person has counted every bay of a note: by (machine id, note)."""
    counted: dict[tuple[str, int], datetime] = {}
    for listed, params in in_lists(machine_ids):
        for row in await fetch_all(
            conn,
            f"""
            SELECT k.machine_id, k.denomination, k.position,
                (SELECT MAX(c.at) FROM {S}.cash_counts c
                    WHERE c.machine_id = k.machine_id AND c.source = 'person'
                      AND c.place = 'bay:' || k.position) AS at
            FROM {S}.cassette_configs k
            WHERE k.machine_id IN {listed} AND k.denomination > 0
            """,  # noqa: S608
            params,
        ):
            key = (row["machine_id"], int(row["denomination"]))
            at = from_db_time(row["at"]) or NEVER
            counted[key] = min(at, counted.get(key, at))
    return counted


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
    conn: Connection, machine: Machine, since: datetime | None
) -> dict[int, tuple[int, int]]:
    """What came out of bays that nobody named, ever or since then, below 0: notes and
    minor units by denomination (0 where only the amount is known)."""
    if since is None:
        found = await fetch_all(
            conn,
            f"SELECT denomination, notes, cents FROM {S}.cash_balances "  # noqa: S608
            "WHERE machine_id = :id AND place = 'bays'",
            {"id": machine.id},
        )
    else:
        found = await fetch_all(
            conn,
            f"""
            SELECT COALESCE(denomination, 0) AS denomination,
                SUM(CASE WHEN to_place = 'bays' THEN 1 ELSE -1 END
                    * COALESCE(notes, 0)) AS notes,
                SUM(CASE WHEN to_place = 'bays' THEN 1 ELSE -1 END
                    * {cents_sql("amount")}) AS cents
            FROM {S}.cash_movements
            WHERE machine_id = :id AND at > :since
              AND (to_place = 'bays' OR from_place = 'bays')
            GROUP BY 1
            """,  # noqa: S608
            {"id": machine.id, "since": db_time(since)},
        )
    return {
        int(r["denomination"]): (int(r["notes"] or 0), int(r["cents"] or 0))
        for r in found
    }


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
