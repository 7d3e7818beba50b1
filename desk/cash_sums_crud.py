"""SQL of the cash book for the reconciliation: do places add up, and do trades?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lnbits.db import Connection

from ..base.database import cents_sql, db_time, fetch_all
from .reconciliation_crud import Period

S = "satoshimachine"


async def places(conn: Connection, machine_id: str) -> Sequence[Mapping[str, Any]]:
    """Of each place and denomination of a machine: what it is said to hold, and what
    its movements add up to."""
    moved = cents_sql("v.amount")
    return await fetch_all(
        conn,
        f"""
        SELECT place, denomination, currency, SUM(held) AS held_cents,
            SUM(moved) AS moved_cents
        FROM (
            SELECT place, denomination, currency, cents AS held, 0 AS moved
            FROM {S}.cash_balances WHERE machine_id = :id
            UNION ALL
            SELECT v.to_place, COALESCE(v.denomination, 0), v.currency, 0, {moved}
            FROM {S}.cash_movements v WHERE v.machine_id = :id
            UNION ALL
            SELECT v.from_place, COALESCE(v.denomination, 0), v.currency, 0, -{moved}
            FROM {S}.cash_movements v WHERE v.machine_id = :id
        ) AS sides
        WHERE place IN ('box', 'bays') OR place LIKE 'bay:%'
        GROUP BY place, denomination, currency
        ORDER BY place, denomination, currency
        """,  # noqa: S608
        {"id": machine_id},
    )


async def odd_trades(
    conn: Connection, machine_id: str, period: Period
) -> Sequence[Mapping[str, Any]]:
    """Trades of the period whose notes are not those of their money."""
    return await fetch_all(
        conn,
        f"""
        SELECT t.settlement_id, t.cents, t.more_cents, t.fault, s.tx_type, s.fiat_code,
            {cents_sql("s.fiat_amount")} AS sold_cents
        FROM {S}.cash_trades t JOIN {S}.dca_settlements s ON s.id = t.settlement_id
        WHERE t.machine_id = :id AND (t.more_cents > 0 OR t.fault IS NOT NULL)
          AND t.moved_at >= :since AND t.moved_at < :until
        ORDER BY t.moved_at, t.settlement_id
        """,  # noqa: S608
        {
            "id": machine_id,
            "since": db_time(period.since),
            "until": db_time(period.until),
        },
    )
