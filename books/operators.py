"""What each operator's machines sold, how they are, and which share is owed longest:
for the super, over all operators, whatever an operator marked as a test.

Guaranteed: three statements, whatever the number of operators, machines and trades.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, fetch_all, from_db_time
from ..calculations import cents_text
from ..models import utc_now
from .insight_rows import TRADES
from .insight_sums import Reader, Span
from .reports import ONLINE, QUIET

S = "satoshimachine"
Row = Mapping[str, Any]


async def facts_of_operators(conn: Connection, span: Span) -> dict[str, dict[str, Any]]:
    """By operator: trades and volume of the last of two ranges and of the one before
    it, machines by their state, and the oldest of the platform's legs that is not
    paid."""
    found: dict[str, dict[str, Any]] = {}
    for row in await _machines(conn):
        one = found.setdefault(row["operator"], {"machine_ids": []})
        one["machine_ids"] = sorted([*one["machine_ids"], row["id"]])
        state = f"{row['state']}_count"
        one[state] = one.get(state, 0) + 1
    for row in await _volumes(conn, span):
        _add_volume(found.setdefault(row["operator"], {}), row)
    for row in await _oldest(conn):
        found.setdefault(row["operator"], {}).update(
            oldest_unpaid_at=from_db_time(row["created_at"]),
            oldest_unpaid_sats=int(row["amount_sats"]),
            oldest_unpaid_settlement_id=row["settlement_id"],
        )
    for one in found.values():
        fiat = one.get("volume_fiat", {})
        one["volume_fiat"] = {code: cents_text(fiat[code]) for code in sorted(fiat)}
    return found


def _add_volume(one: dict[str, Any], row: Row) -> None:
    name = "" if row["is_range"] else "before_"
    for field, value in ((f"{name}trades", "n"), (f"{name}volume_sats", "sats")):
        one[field] = one.get(field, 0) + int(row[value])
    if row["is_range"]:
        fiat = one.setdefault("volume_fiat", {})
        code = row["currency"]
        fiat[code] = fiat.get(code, 0) + int(row["cents"])


async def _machines(conn: Connection) -> Iterable[Row]:
    """Those that are on, online, quiet or offline by the age of their last word."""
    now = utc_now()
    return await fetch_all(
        conn,
        f"""
        SELECT m.operator_user_id AS operator, m.id,
            CASE WHEN m.is_active = false THEN 'off'
                WHEN m.last_seen_at >= :online_since THEN 'online'
                WHEN m.last_seen_at >= :quiet_since THEN 'quiet'
                ELSE 'offline' END AS state
        FROM {S}.dca_machines m
        """,  # noqa: S608
        {
            "online_since": db_time(now - ONLINE),
            "quiet_since": db_time(now - QUIET),
        },
    )


async def _volumes(conn: Connection, span: Span) -> Iterable[Row]:
    """From the sums by machine and day, and the rows of the rest."""
    reader = Reader(span, lambda column: "1 = 1", {})
    sql = f"""
        SELECT m.operator_user_id AS operator, u.currency, u.is_range,
            CAST(SUM(u.n) AS BIGINT) AS n,
            CAST(SUM(u.principal_sats) AS BIGINT) AS sats,
            CAST(SUM(u.principal_cents) AS BIGINT) AS cents
        FROM {reader.rows_sql(TRADES)} u JOIN {S}.dca_machines m ON m.id = u.machine_id
        GROUP BY 1, 2, 3
        """  # noqa: S608
    return await fetch_all(conn, sql, reader.named(sql))


async def _oldest(conn: Connection) -> Iterable[Row]:
    return await fetch_all(
        conn,
        f"""
        SELECT operator, settlement_id, amount_sats, created_at FROM (
            SELECT p.operator_user_id AS operator, p.settlement_id, p.amount_sats,
                p.created_at, ROW_NUMBER() OVER (
                    PARTITION BY p.operator_user_id ORDER BY p.created_at, p.id) AS n
            FROM {S}.dca_payments p
            WHERE p.leg_type = 'super_fee' AND p.status IN ('pending', 'failed')
        ) unpaid WHERE n = 1
        """,  # noqa: S608
    )
