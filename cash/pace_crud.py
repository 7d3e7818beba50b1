"""SQL of what moves in the machines each day, and of what is inside."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, fetch_all, from_db_time
from ..base.zones import Zone, day_of_number

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


async def zone_names(
    conn: Connection, listed: str, params: Mapping[str, Any]
) -> dict[str, str]:
    """The time zone that each machine's operator chose, '' for none, by machine."""
    found = await fetch_all(
        conn,
        f"SELECT m.id, p.time_zone FROM {S}.dca_machines m "  # noqa: S608
        f"LEFT JOIN {S}.dca_preferences p ON p.user_id = m.operator_user_id "
        f"WHERE m.id IN {listed}",
        params,
    )
    return {row["id"]: row["time_zone"] or "" for row in found}


async def daily(
    conn: Connection,
    listed: str,
    params: Mapping[str, Any],
    zone: Zone,
    *,
    since: datetime,
    until: datetime,
    is_out: bool,
) -> Moved:
    """What left the bays to customers, or came into the box, on each day of a zone."""
    place, other = ("from_place", "to_place") if is_out else ("to_place", "from_place")
    sign = f"CASE WHEN v.{other} = 'customer' THEN 1 ELSE -1 END"
    found = await fetch_all(
        conn,
        f"""
        SELECT v.machine_id, CASE WHEN v.{other} = 'customer' THEN v.{place}
                ELSE v.{other} END AS place,
            COALESCE(v.denomination, 0) AS denomination,
            {zone.day_sql("v.at", since, until)} AS day,
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
        when = day_of_number(int(row["day"]))
        moved.setdefault(key, {})[when] = int(row["notes"] or 0)
    return moved


async def first_moments(
    conn: Connection, listed: str, params: Mapping[str, Any]
) -> dict[str, datetime]:
    """When each machine's history in the cash book begins."""
    found = await fetch_all(
        conn,
        f"SELECT machine_id, MIN(at) AS first_at FROM {S}.cash_movements "  # noqa: S608
        f"WHERE machine_id IN {listed} GROUP BY machine_id",
        params,
    )
    moments = {row["machine_id"]: from_db_time(row["first_at"]) for row in found}
    return {machine_id: at for machine_id, at in moments.items() if at}
