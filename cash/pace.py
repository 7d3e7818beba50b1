"""How long will the cash last? What is in a machine, and when a bay is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from lnbits.db import SQLITE, Connection

from ..base.database import db, db_time, fetch_all, in_list
from ..models import utc_now
from . import bays as cash
from . import ledger
from .forecast import WEEKS, Forecast, days_until

S = "satoshimachine"


@dataclass(frozen=True)
class CashOfMachine:
    """What must be in a machine now, bays and box, in minor units; None if nobody ever
    said. `days_left` is until its first bay is empty; None where nothing can be said.
    """

    cash_cents: int | None = None
    days_left: float | None = None


# (machine id, place, denomination; 0: by amount) -> day -> notes (or minor units)
Moved = dict[tuple[str, str, int], dict[date, int]]


async def cash_of_machines(
    conn: Connection, machine_ids: Sequence[str]
) -> dict[str, CashOfMachine]:
    """By machine id, in five statements."""
    params: dict[str, Any] = {}
    listed = in_list("machine", machine_ids, params)
    found = await cash.bays(conn, listed, params)
    inside = await _inside(conn, listed, params)
    forecasts = await bay_forecasts(conn, listed, params, found)
    result = {}
    for machine_id in {bay.machine_id for bay in found} | inside.keys():
        days = [
            forecast.days
            for (machine, _), forecast in forecasts.items()
            if machine == machine_id and forecast and forecast.days is not None
        ]
        result[machine_id] = CashOfMachine(
            max(0, inside.get(machine_id, 0)), min(days, default=None)
        )
    return result


async def _inside(
    conn: Connection, listed: str, params: Mapping[str, Any]
) -> dict[str, int]:
    found = await fetch_all(
        conn,
        f"SELECT machine_id, SUM(cents) AS cents FROM {S}.cash_balances "  # noqa: S608
        f"WHERE machine_id IN {listed} GROUP BY machine_id",
        params,
    )
    return {row["machine_id"]: int(row["cents"] or 0) for row in found}


async def bay_forecasts(
    conn: Connection,
    listed: str,
    params: Mapping[str, Any],
    bays: Sequence[cash.Bay],
) -> dict[tuple[str, int], Forecast | None]:
    """When each bay is empty, by (machine id, position)."""
    moved = await daily(conn, listed, params, is_out=True)
    first = await first_days(conn, listed, params)
    now = utc_now()
    return {
        (bay.machine_id, bay.position): days_until(
            bay.count,
            moved.get((bay.machine_id, ledger.bay(bay.position), bay.denomination), {}),
            first_day=first.get(bay.machine_id, now.date()),
            today=now.date(),
            day_passed=share_of_day(now),
        )
        for bay in bays
    }


async def box_forecasts(
    conn: Connection,
    listed: str,
    params: Mapping[str, Any],
    room: Mapping[str, int],
) -> dict[str, Forecast | None]:
    """When each box is full, by machine id; `room` is how many notes still fit."""
    moved = await daily(conn, listed, params, is_out=False)
    first = await first_days(conn, listed, params)
    into: dict[str, dict[date, int]] = {}
    for (machine_id, place, _), by_day in moved.items():
        if place == ledger.BOX:
            days = into.setdefault(machine_id, {})
            for day, notes in by_day.items():
                days[day] = days.get(day, 0) + notes
    now = utc_now()
    return {
        machine_id: days_until(
            left,
            into.get(machine_id, {}),
            first_day=first.get(machine_id, now.date()),
            today=now.date(),
            day_passed=share_of_day(now),
        )
        for machine_id, left in room.items()
    }


def share_of_day(now: datetime) -> float:
    """How much of the UTC day is over."""
    return (now.hour * 3600 + now.minute * 60 + now.second) / 86_400


async def daily(
    conn: Connection, listed: str, params: Mapping[str, Any], *, is_out: bool
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
        {**params, "since": db_time(utc_now() - timedelta(weeks=WEEKS, days=1))},
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
