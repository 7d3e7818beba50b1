"""Whose day is it? Days of a reader's time zone, as moments and in SQL.

A zone is IANA's (`zoneinfo`); a host without zone data knows UTC alone. SQL knows no
zone of ours, and SQLite none at all: it gets the zone as the moments at which its
offset from UTC changes in the range that is asked for, the same on both databases, in
one statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lnbits.db import SQLITE

from ..models import utc_now
from .database import db
from .refusals import BadInputError

UTC_NAME = "UTC"
DAY_SECONDS = 86_400
HOUR_SECONDS = 3_600
QUARTER_SECONDS = 900
# Before this no machine of ours has sold anything.
_EARLIEST = datetime(2009, 1, 1, tzinfo=timezone.utc)
# No zone changes its offset twice within so many days.
_STEP = timedelta(days=5)


class Zone:
    """A time zone by its IANA name; UTC where the host knows no other."""

    def __init__(self, name: str = UTC_NAME) -> None:
        self.name = name
        self._info = timezone.utc if name == UTC_NAME else ZoneInfo(name)

    def day_of(self, at: datetime) -> date:
        """The day that this moment is in."""
        return at.astimezone(self._info).date()

    def today(self) -> date:
        return self.day_of(utc_now())

    def start_of(self, day: date) -> datetime:
        """The first moment of the day, in UTC; after it where midnight is left out."""
        local = datetime.combine(day, time(), self._info)
        return local.astimezone(timezone.utc)

    def moment(self, day: date, time_of_day: time) -> datetime:
        """When a clock there shows this, in UTC; for a time that is left out, as if
        the clock had not been changed yet."""
        return datetime.combine(day, time_of_day, self._info).astimezone(timezone.utc)

    def local(self, at: datetime) -> datetime:
        return at.astimezone(self._info)

    def offset_seconds(self, at: datetime) -> int:
        offset = at.astimezone(self._info).utcoffset()
        return int(offset.total_seconds()) if offset else 0

    def day_sql(self, column: str, since: datetime, until: datetime) -> str:
        """The number of the zone's day since 1970 of a time column, which is right
        for times from `since` until `until`."""
        return self._count_sql(_seconds_sql(column), since, until, DAY_SECONDS)

    def day_of_second_sql(self, second: str, since: datetime, until: datetime) -> str:
        """The same of a column of seconds since 1970."""
        return self._count_sql(second, since, until, DAY_SECONDS)

    def hour_of_second_sql(self, second: str, since: datetime, until: datetime) -> str:
        """The same of hours: a local hour that a clock goes through twice is one."""
        return self._count_sql(second, since, until, HOUR_SECONDS)

    def is_by_quarters(self, since: datetime, until: datetime) -> bool:
        """Whether a quarter of an hour of UTC is in one of the zone's hours throughout:
        so in all, but for a change of the clocks at a minute past midnight."""
        offsets = _offsets(self.name, _day(since), _day(until))
        return not any(x % QUARTER_SECONDS for pair in offsets for x in pair)

    def _count_sql(
        self, seconds: str, since: datetime, until: datetime, length: int
    ) -> str:
        *before, last = _offsets(self.name, _day(since), _day(until))
        if before:
            whens = " ".join(
                f"WHEN {seconds} < {ends} THEN {offset}" for ends, offset in before
            )
            offset_sql = f"(CASE {whens} ELSE {last[1]} END)"
        else:
            offset_sql = str(last[1])
        number = f"({seconds} + {offset_sql}) / {length}"
        # SQLite cuts off, which is the floor after 1970
        floor = number if db.type == SQLITE else f"FLOOR({number})"
        return f"CAST({floor} AS BIGINT)"


def _seconds_sql(column: str) -> str:
    return column if db.type == SQLITE else f"EXTRACT(EPOCH FROM {column})"


UTC = Zone()


def day_number(day: date) -> int:
    """As `day_sql` counts."""
    return (day - date(1970, 1, 1)).days


def day_of_number(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)


def zone_named(name: str) -> Zone:
    """`BadInputError` for what is no zone that this host knows."""
    try:
        return Zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise BadInputError(
            f"{name[:64]!r} is not a time zone: one like America/Guatemala."
        ) from exc


def zone_or_utc(name: str | None) -> Zone:
    """A zone that was stored: UTC where this host does not know it, or nobody chose."""
    try:
        return zone_named(name or UTC_NAME)
    except BadInputError:
        return UTC


def _day(at: datetime) -> date:
    return at.astimezone(timezone.utc).date()


@lru_cache(maxsize=500)
def _offsets(name: str, first: date, last: date) -> list[tuple[int, int]]:
    """(until, offset) in seconds, in order; the last one has no end."""
    zone = Zone(name)
    since = max(_EARLIEST, datetime.combine(first, time(), timezone.utc))
    until = datetime.combine(last, time(), timezone.utc) + 2 * timedelta(days=1)
    found = []
    for change in _changes(zone, since, until):
        found.append(
            (
                int(change.timestamp()),
                zone.offset_seconds(change - timedelta(seconds=1)),
            )
        )
    return [*found, (0, zone.offset_seconds(until))]


def _changes(zone: Zone, since: datetime, until: datetime) -> Iterator[datetime]:
    """The moments from which another offset counts."""
    at = since
    while at < until:
        later = min(at + _STEP, until)
        if zone.offset_seconds(at) != zone.offset_seconds(later):
            early, late = int(at.timestamp()), int(later.timestamp())
            while late - early > 1:
                middle = (early + late) // 2
                moment = datetime.fromtimestamp(middle, timezone.utc)
                if zone.offset_seconds(moment) == zone.offset_seconds(at):
                    early = middle
                else:
                    late = middle
            yield datetime.fromtimestamp(late, timezone.utc)
        at = later
