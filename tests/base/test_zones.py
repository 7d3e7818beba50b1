"""Days of a zone: as moments, and in the SQL of both databases."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest

from satmachineadmin.base.database import db, db_time, fetch_all
from satmachineadmin.base.refusals import BadInputError
from satmachineadmin.base.zones import (
    UTC,
    Zone,
    day_number,
    day_of_number,
    zone_named,
    zone_or_utc,
)

# Guatemala has no summer time; Berlin's and Auckland's change in different months;
# Kolkata is half an hour off, Chatham three quarters; Asuncion's and Havana's clocks
# change at midnight itself.
ZONES = (
    *("UTC", "America/Guatemala", "Europe/Berlin", "Asia/Kolkata"),
    *("Pacific/Auckland", "Pacific/Chatham", "America/Asuncion", "America/Havana"),
)


@pytest.mark.pure
@pytest.mark.parametrize("name", ZONES)
def test_days_of_a_year_touch_and_are_whole(name: str) -> None:
    zone = Zone(name)
    day = date(2024, 1, 1)
    while day < date(2025, 1, 2):
        start, end = zone.start_of(day), zone.start_of(day + timedelta(days=1))
        assert timedelta(hours=23) <= end - start <= timedelta(hours=25)
        assert zone.day_of(start) == day
        assert zone.day_of(start - timedelta(microseconds=1)) == day - timedelta(1)
        assert zone.day_of(end - timedelta(microseconds=1)) == day
        assert day_of_number(day_number(day)) == day
        day += timedelta(days=1)


@pytest.mark.pure
def test_what_is_no_zone() -> None:
    for name in ("Nowhere/City", "../etc/passwd", "", "A" * 300, "\u00e9", "US/\x00"):
        with pytest.raises(BadInputError, match="is not a time zone"):
            zone_named(name)
        assert zone_or_utc(name).name == UTC.name
    assert zone_or_utc(None).name == "UTC"


async def test_the_database_counts_the_same_days() -> None:
    """Around every midnight of two years, and every change of the clocks."""
    since = datetime(2023, 12, 31, tzinfo=timezone.utc)
    until = datetime(2026, 1, 1, tzinfo=timezone.utc)
    moments = [since + timedelta(hours=h, seconds=1) for h in range(24 * 31)]
    for name in ZONES:
        zone = Zone(name)
        for n in range(0, 730, 5):
            start = zone.start_of(date(2024, 1, 1) + timedelta(days=n))
            moments += [start, start - timedelta(seconds=1)]
        # the weeks in which clocks change
        for month, day in ((3, 8), (3, 29), (10, 5), (9, 28), (10, 26), (11, 2)):
            at = datetime(2025, month, day, tzinfo=timezone.utc)
            moments += [at + timedelta(minutes=30 * n) for n in range(96)]
    moments = sorted(moment for moment in set(moments) if since <= moment < until)
    sql = ", ".join(
        f"{Zone(name).day_sql('at', since, until)} AS z{n}"
        for n, name in enumerate(ZONES)
    )
    async with db.connect() as conn:
        for first in range(0, len(moments), 200):
            some = moments[first : first + 200]
            rows = " UNION ALL ".join(
                f"SELECT {n} AS n, {_typed(f':m{n}')} AS at" for n in range(len(some))
            )
            params = {f"m{n}": db_time(at) for n, at in enumerate(some)}
            found = await fetch_all(
                conn,
                f"SELECT n, {sql} FROM ({rows}) AS times ORDER BY n",
                params,
            )
            for row, at in zip(found, some, strict=True):
                for n, name in enumerate(ZONES):
                    told = day_of_number(int(row[f"z{n}"]))
                    assert told == Zone(name).day_of(at), (name, at)


def _typed(mark: str) -> str:
    return mark if db.type == "SQLITE" else f"CAST({mark} AS TIMESTAMPTZ)"
