"""SQL of the bays: what the ledger holds in each, and what moved since a count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lnbits.db import Connection

from ..base.database import fetch_all

S = "satoshimachine"


async def bay_rows(
    conn: Connection, own_machines: str, params: Mapping[str, Any], *, is_active: bool
) -> list[Mapping[str, Any]]:
    """Bays with a denomination: what the ledger holds in each, the machine's newest
    count of it, and whether anybody counted it since the ledger began."""
    only = " AND m.is_active = true" if is_active else ""
    return await fetch_all(
        conn,
        f"""
        SELECT k.*, COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine,
            m.low_cash_fraction, m.fiat_code, m.bay_capacities,
            COALESCE(b.notes, 0) AS held,
            EXISTS (SELECT 1 FROM {S}.cash_counts c
                WHERE c.machine_id = k.machine_id AND c.source <> 'upgrade'
                  AND c.place = 'bay:' || k.position) AS is_counted,
            EXISTS (SELECT 1 FROM {S}.dca_cursors u WHERE u.id = 'cash_book_began'
                AND k.state_count IS NOT NULL AND k.state_at >= u.updated_at)
                AS has_reported
        FROM {S}.cassette_configs k
        JOIN {S}.dca_machines m ON m.id = k.machine_id
        LEFT JOIN {S}.cash_balances b ON b.machine_id = k.machine_id
            AND b.operator_user_id = m.operator_user_id AND b.currency = m.fiat_code
            AND b.place = 'bay:' || k.position AND b.denomination = k.denomination
        WHERE k.machine_id IN {own_machines} AND k.denomination > 0{only}
        ORDER BY k.machine_id, k.position
        """,  # noqa: S608
        params,
    )


async def moved_since_reports(
    conn: Connection, own_machines: str, params: Mapping[str, Any]
) -> dict[tuple[str, int], int]:
    """Notes that came in, or with - went out, since the machine counted; by
    (machine id, position)."""
    found = await fetch_all(
        conn,
        f"""
        SELECT k.machine_id, k.position,
            SUM(CASE WHEN v.to_place = 'bay:' || k.position THEN v.notes
                ELSE -v.notes END) AS moved
        FROM {S}.cassette_configs k
        JOIN {S}.cash_movements v ON v.machine_id = k.machine_id AND v.at > k.state_at
            AND v.denomination = k.denomination
            AND (v.to_place = 'bay:' || k.position OR
                v.from_place = 'bay:' || k.position)
        WHERE k.machine_id IN {own_machines} AND k.state_count IS NOT NULL
        GROUP BY k.machine_id, k.position
        """,  # noqa: S608
        params,
    )
    return {(r["machine_id"], int(r["position"])): int(r["moved"] or 0) for r in found}
