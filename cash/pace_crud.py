"""SQL of what moves in the machines each day, and of what is inside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

from lnbits.db import SQLITE, Connection

from ..base.database import db, db_time, fetch_all

S = "satoshimachine"

# (machine id, place, denomination; 0: by amount) -> day -> notes
Moved = dict[tuple[str, str, int], dict[date, int]]


async def inside(
    conn: Connection, listed: str, params: Mapping[str, Any]
) -> dict[str, int]:
    """Minor units in bays and box together, by machine id."""
    found = await fetch_all(
        conn,
        f"SELECT machine_id, SUM(cents) AS cents FROM {S}.cash_balances "  # noqa: S608
        f"WHERE machine_id IN {listed} GROUP BY machine_id",
        params,
    )
    return {row["machine_id"]: int(row["cents"] or 0) for row in found}


async def daily(
    conn: Connection,
    listed: str,
    params: Mapping[str, Any],
    *,
    since: datetime,
    is_out: bool,
) -> Moved:
    """What left the bays to customers, or came into the box, on each UTC day."""
    place, other = ("from_place", "to_place") if is_out else ("to_place", "from_place")
    sign = f"CASE WHEN v.{other} = 'customer' THEN 1 ELSE -1 END"
    if db.type == SQLITE:
        day = "CAST(v.at / 86400 AS BIGINT)"
    else:
        day = "CAST(FLOOR(EXTRACT(EPOCH FROM v.at) / 86400) AS BIGINT)"
    found = await fetch_all(
        conn,
        f"""
        SELECT v.machine_id, CASE WHEN v.{other} = 'customer' THEN v.{place}
                ELSE v.{other} END AS place,
            COALESCE(v.denomination, 0) AS denomination, {day} AS day,
            SUM({sign} * COALESCE(v.notes, 0)) AS notes
        FROM {S}.cash_movements v
        WHERE v.machine_id IN {listed} AND v.at >= :since
          AND (v.{other} = 'customer' OR v.{place} = 'customer')
        GROUP BY 1, 2, 3, 4
        """,  # noqa: S608
        {**params, "since": db_time(since)},
    )
    moved: Moved = {}
    for row in found:
        key = (row["machine_id"], row["place"], int(row["denomination"]))
        when = date(1970, 1, 1) + timedelta(days=int(row["day"]))
        moved.setdefault(key, {})[when] = int(row["notes"] or 0)
    return moved


async def first_days(
    conn: Connection, listed: str, params: Mapping[str, Any]
) -> dict[str, date]:
    """The first day of each machine's history in the cash book."""
    found = await fetch_all(
        conn,
        f"SELECT machine_id, MIN(at) AS first_at FROM {S}.cash_movements "  # noqa: S608
        f"WHERE machine_id IN {listed} GROUP BY machine_id",
        params,
    )
    return {
        row["machine_id"]: (
            row["first_at"].date()
            if isinstance(row["first_at"], datetime)
            else datetime.fromtimestamp(float(row["first_at"]), timezone.utc).date()
        )
        for row in found
    }
