"""How long will the cash last? What is in a machine, and when a bay is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import in_list
from ..base.zones import UTC, Zone, zone_or_utc
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
    """By machine id, in six statements."""
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
    past = await _past(conn, listed, params, is_out=True)
    return {
        (bay.machine_id, bay.position): past.until(
            bay.machine_id,
            bay.count,
            past.moved.get(
                (bay.machine_id, ledger.bay(bay.position), bay.denomination), {}
            ),
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
    past = await _past(conn, listed, params, is_out=False)
    into: dict[str, dict[date, int]] = {}
    for (machine_id, place, _), by_day in past.moved.items():
        if place == ledger.BOX:
            days = into.setdefault(machine_id, {})
            for day, notes in by_day.items():
                days[day] = days.get(day, 0) + notes
    return {
        machine_id: past.until(machine_id, left, into.get(machine_id, {}))
        for machine_id, left in room.items()
    }


@dataclass(frozen=True)
class _Past:
    """What moved on each day, in the days of each machine's operator: a Saturday night
    in Guatemala is a Saturday, whatever UTC says."""

    moved: pace_crud.Moved
    first: Mapping[str, datetime]
    zones: Mapping[str, Zone]
    now: datetime

    def until(
        self, machine_id: str, left: int, moved: Mapping[date, int]
    ) -> Forecast | None:
        zone = self.zones.get(machine_id, UTC)
        today = zone.day_of(self.now)
        return days_until(
            left,
            moved,
            first_day=zone.day_of(self.first.get(machine_id, self.now)),
            today=today,
            day_passed=share_of_day(zone.local(self.now)),
        )


async def _past(
    conn: Connection, listed: str, params: Mapping[str, Any], *, is_out: bool
) -> _Past:
    """In three statements, and one more for each further zone."""
    now = utc_now()
    since = now - timedelta(weeks=WEEKS, days=1)
    names = await pace_crud.zone_names(conn, listed, params)
    moved: pace_crud.Moved = {}
    for name in sorted(set(names.values())):
        asked = dict(params)
        own = in_list("zoned", [i for i, n in names.items() if n == name], asked)
        moved |= await pace_crud.daily(
            conn, own, asked, zone_or_utc(name), since=since, until=now, is_out=is_out
        )
    first = await pace_crud.first_moments(conn, listed, params)
    zones = {machine_id: zone_or_utc(name) for machine_id, name in names.items()}
    return _Past(moved, first, zones, now)


def share_of_day(now: datetime) -> float:
    """How much of the day is over, on the clock that is given."""
    return (now.hour * 3600 + now.minute * 60 + now.second) / 86_400
