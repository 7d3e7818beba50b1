"""How long will the cash last? What is in a machine, and when a bay is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import in_list
from ..models import utc_now
from . import bays as cash
from . import ledger, pace_crud
from .forecast import WEEKS, Forecast, days_until


@dataclass(frozen=True)
class CashOfMachine:
    """What must be in a machine now, bays and box, in minor units; None if nobody ever
    said. `days_left` is until its first bay is empty; None where nothing can be said.
    """

    cash_cents: int | None = None
    days_left: float | None = None


async def cash_of_machines(
    conn: Connection, machine_ids: Sequence[str]
) -> dict[str, CashOfMachine]:
    """By machine id, in five statements."""
    params: dict[str, Any] = {}
    listed = in_list("machine", machine_ids, params)
    found = await cash.bays(conn, listed, params)
    inside = await pace_crud.inside(conn, listed, params)
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


async def bay_forecasts(
    conn: Connection,
    listed: str,
    params: Mapping[str, Any],
    bays: Sequence[cash.Bay],
) -> dict[tuple[str, int], Forecast | None]:
    """When each bay is empty, by (machine id, position)."""
    moved = await pace_crud.daily(conn, listed, params, since=_since(), is_out=True)
    first = await pace_crud.first_days(conn, listed, params)
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
    moved = await pace_crud.daily(conn, listed, params, since=_since(), is_out=False)
    first = await pace_crud.first_days(conn, listed, params)
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


def _since() -> datetime:
    """No earlier day is asked for."""
    return utc_now() - timedelta(weeks=WEEKS, days=1)
