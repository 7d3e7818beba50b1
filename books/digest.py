"""A day's sums for one person, as their morning's message has them.

Guaranteed: by the rules of the overview: what was held back or given up, and tests, are
in none; a sale of which less came out counts with what came out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import cents_sql, db_time, fetch_all
from ..crud import ARRIVED_SQL, RECEIVED_SQL
from .reports import own_machines_sql, whose

S = "satoshimachine"
Row = Mapping[str, Any]


async def sold(
    conn: Connection, user_id: str, is_all: bool, since: datetime, until: datetime
) -> list[Row]:
    """By currency: `n` trades, their `cents`, the fees of `operator` and `platform`."""
    fiat = cents_sql("COALESCE(s.dispensed_fiat, s.fiat_amount)")
    return await fetch_all(
        conn,
        f"""
        SELECT s.fiat_code AS currency, COUNT(*) AS n,
            CAST(SUM({fiat}) AS BIGINT) AS cents,
            CAST(SUM(COALESCE(s.dispensed_operator_fee_sats, s.operator_fee_sats))
                AS BIGINT) AS operator,
            CAST(SUM(COALESCE(s.dispensed_platform_fee_sats, s.platform_fee_sats))
                AS BIGINT) AS platform
        FROM {S}.dca_settlements s
        WHERE s.machine_id IN {own_machines_sql(is_all)}
          AND s.transaction_time >= :since AND s.transaction_time < :until
          AND s.status NOT IN ('quarantined', 'voided') AND s.is_test = false
        GROUP BY s.fiat_code ORDER BY s.fiat_code
        """,  # noqa: S608
        {
            **whose(user_id, is_all),
            "since": db_time(since),
            "until": db_time(until),
        },
    )


async def received(
    conn: Connection, user_id: str, since: datetime, until: datetime
) -> list[Row]:
    """By currency: `sats` that an LP got meanwhile, and the `cents` they were of."""
    return await fetch_all(
        conn,
        f"""
        SELECT m.fiat_code AS currency, CAST(SUM({ARRIVED_SQL}) AS BIGINT) AS sats,
            CAST(SUM({cents_sql("p.amount_fiat")}) AS BIGINT) AS cents
        FROM {S}.dca_clients c
        JOIN {S}.dca_payments p ON p.client_id = c.id
        JOIN {S}.dca_machines m ON m.id = c.machine_id
        WHERE c.user_id = :user AND p.leg_type IN ('dca', 'settlement')
          AND {RECEIVED_SQL} AND p.paid_outside = false
          AND p.completed_at >= :since AND p.completed_at < :until
        GROUP BY m.fiat_code ORDER BY m.fiat_code
        """,  # noqa: S608
        {"user": user_id, "since": db_time(since), "until": db_time(until)},
    )
