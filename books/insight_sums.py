"""Sums by machine and day that Insight adds up instead of a year of rows.

Guaranteed: a sum is used only while it is that of the rows. Whatever changes a row
that may be summed up marks its machine and day in the same transaction, by a trigger
of the database (m028), whoever writes it; a marked day is read from its rows, as are
days that are not over and the parts of days at the ends of a range. So an answer is
right at any moment, and what is summed up decides only how long it takes. A process
that is killed leaves a chunk done or marked.

Sums are made afterwards, and not where an entry is posted: two processes that land at
one machine would wait for each other's row of the day, and lock the rows of two
machines in different orders. Here nobody waits: a mark is a row of its own, and days
that are over are summed up in transactions of their own, by one process at a time.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

from lnbits.db import SQLITE, Connection
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from ..base.database import db, db_time, execute, fetch_one, from_db_time, transaction
from ..base.zones import DAY_SECONDS
from ..models import utc_now
from .insight_rows import ALL_KEPT, Kept, Rows

S = "satoshimachine"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# A day is summed up when it has been over for so long: a transaction that wrote into it
# while it lasted, and so without a mark, has long ended.
REST = timedelta(hours=6)
# So many days are marked for summing up at once,
STEP_DAYS = 7
# and so long may a chunk of them take: nobody else writes on SQLite meanwhile.
CHUNK_SECONDS = 0.08
FIRST_MARKS, MOST_MARKS = 8, 512
# How long a reader waits for days that are not summed up; then their rows are read.
WAIT_SECONDS = 20


# ----------------------------------------------------------------------------- reading


def _at(day: int) -> datetime:
    return EPOCH + timedelta(days=day)


def _floor(at: datetime) -> int:
    return (at - EPOCH).days


def _ceil(at: datetime) -> int:
    return -((EPOCH - at).days)


@dataclass(frozen=True)
class Span:
    """Moments of which sums are asked, one after another, and up to which day days are
    summed up. Each range between two of them is told apart in the answer."""

    moments: Sequence[datetime]
    until_day: int

    @property
    def days(self) -> list[tuple[int, int]]:
        """Whole days that are summed up, by range; ends not included."""
        found = []
        for first, last in pairwise(self.moments):
            days = (_ceil(first), min(_floor(last), self.until_day))
            if days[0] < days[1]:
                found.append(days)
        return found

    @property
    def edges(self) -> list[tuple[datetime, datetime]]:
        """The rest."""
        found, at = [], self.moments[0]
        for first, last in self.days:
            if at < _at(first):
                found.append((at, _at(first)))
            at = _at(last)
        if at < self.moments[-1]:
            found.append((at, self.moments[-1]))
        return found


@dataclass(frozen=True)
class Reader:
    """Whose machines, of which span, with or without tests; and the parameters that
    its statements name."""

    span: Span
    machines: Callable[[str], str]
    params: Mapping[str, Any]
    tests: bool = True

    def rows_sql(self, kept: Kept) -> str:
        """Rows of `machine_id`, `is_range` (in the last of the span's ranges), and the
        keys and sums: sums where they are good, else each row itself."""
        parts = [self._sums_sql(kept)] if self.span.days else []
        for rows in kept.rows:
            if self.span.days:
                parts.append(self._marked_sql(rows))
            parts += self._edges_sql(rows)
        return "(" + " UNION ALL ".join(parts) + ")"

    def named(self, sql: str) -> dict[str, Any]:
        """Parameters that a statement names: PostgreSQL refuses one that is not."""
        found: dict[str, Any] = {
            **self.params,
            "last_since": db_time(self.span.moments[-2]),
            "last_day": _ceil(self.span.moments[-2]),
        }
        for index, (first, last) in enumerate(self.span.days):
            found |= {f"day_{index}": first, f"day_{index}_end": last}
        for index, (since, until) in enumerate(self.span.edges):
            found |= {
                f"edge_{index}": db_time(since),
                f"edge_{index}_end": db_time(until),
            }
        words = set(_NAMED.findall(sql))
        return {name: value for name, value in found.items() if name in words}

    def _days_sql(self, column: str) -> str:
        days = (
            f"({column} >= :day_{i} AND {column} < :day_{i}_end)"
            for i in range(len(self.span.days))
        )
        return f"({' OR '.join(days)})"

    def _tests_sql(self, column: str) -> str:
        return "" if self.tests else f" AND {column} = false"

    def _sums_sql(self, kept: Kept) -> str:
        columns = ", ".join(f"r.{name}" for name in (*kept.keys, *kept.sums))
        return f"""
            SELECT r.machine_id,
                CASE WHEN r.day >= :last_day THEN 1 ELSE 0 END AS is_range, {columns}
            FROM {S}.{kept.table} r
            WHERE {self.machines("r.machine_id")} AND {self._days_sql("r.day")}
              {self._tests_sql("r.is_test")} AND (r.machine_id, r.day) NOT IN (
                SELECT x.machine_id, x.day FROM {S}.insight_marks x
                WHERE {self._days_sql("x.day")})
            """  # noqa: S608

    def _each_sql(self, rows: Rows) -> str:
        columns = ", ".join(
            f"{sql} AS {name}" for name, sql in {**rows.keys, **rows.sums}.items()
        )
        return (
            f"SELECT {rows.machine} AS machine_id, CASE WHEN {rows.at} >= :last_since "
            f"THEN 1 ELSE 0 END AS is_range, {columns}"
        )

    def _marked_sql(self, rows: Rows) -> str:
        return f"""
            {self._each_sql(rows)} FROM (
                SELECT DISTINCT x.machine_id, x.day FROM {S}.insight_marks x
                WHERE {self.machines("x.machine_id")} AND {self._days_sql("x.day")}
            ) x CROSS JOIN {rows.tables}
            {_of_day(rows)} AND {rows.where}{self._tests_sql(rows.keys["is_test"])}
            """  # noqa: S608

    def _edges_sql(self, rows: Rows) -> Iterator[str]:
        for index in range(len(self.span.edges)):
            yield f"""
                {self._each_sql(rows)} FROM {rows.tables}
                WHERE {self.machines(rows.machine)} AND {rows.at} >= :edge_{index}
                  AND {rows.at} < :edge_{index}_end
                  AND {rows.where}{self._tests_sql(rows.keys["is_test"])}
                """


_NAMED = re.compile(r"(?<!:):(\w+)")


def _day_start_sql(day: str) -> str:
    if db.type == SQLITE:
        return f"({day}) * {DAY_SECONDS}"
    return f"TIMESTAMP '1970-01-01' + ({day}) * INTERVAL '1 day'"


def _of_day(rows: Rows) -> str:
    """Those of the machine and day of `x`."""
    since, until = _day_start_sql("x.day"), _day_start_sql("x.day + 1")
    return (
        f"WHERE {rows.machine} = x.machine_id AND {rows.at} >= {since} "
        f"AND {rows.at} < {until}"
    )


# -------------------------------------------------------------------------- summing up


async def summed_until(conn: Connection) -> tuple[int, bool]:
    """The day up to which days are summed up but for marked ones, and whether there
    is something to sum up; one statement."""
    row = await fetch_one(
        conn,
        f"""
        SELECT until_day, EXISTS (SELECT 1 FROM {S}.insight_marks m
            WHERE m.day < until_day) AS is_marked
        FROM {S}.insight_state WHERE id = 'days'
        """,  # noqa: S608
    )
    if row is None:
        return 0, False
    until_day = int(row["until_day"])
    return until_day, bool(row["is_marked"]) or until_day < _last_day()


def _last_day() -> int:
    """The first day that is not to be summed up yet."""
    return _floor(utc_now() - REST)


class _Summer:
    """Sums up while there is something to; one at a time in this process."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Begin, unless it has begun, and wait for the end, not longer than so."""
        if self._task is None or self._task.done():
            # in a context of its own: it is nobody's request
            self._task = Context().run(asyncio.create_task, _sum_up())
        await asyncio.wait({self._task}, timeout=seconds)


_summer = _Summer()


async def up_to_date(seconds: float = WAIT_SECONDS) -> int:
    """The day up to which days are summed up, after waiting for what is missing."""
    async with db.connect() as conn:
        until_day, is_missing = await summed_until(conn)
    if is_missing:
        await _summer.wait(seconds)
        async with db.connect() as conn:
            until_day, _ = await summed_until(conn)
    return until_day


async def _sum_up() -> None:
    marks = FIRST_MARKS
    try:
        while True:
            started = time.monotonic()
            if not await sum_up_chunk(marks):
                return
            took = time.monotonic() - started
            marks = marks * 2 if took < CHUNK_SECONDS / 2 else marks
            marks = marks // 2 if took > CHUNK_SECONDS else marks
            marks = max(1, min(marks, MOST_MARKS))
            await asyncio.sleep(0)
    except (SQLAlchemyError, OSError):
        # what is not summed up is read from the rows
        logger.exception("satmachineadmin: sums of insight")


async def sum_up_chunk(marks: int) -> bool:
    """Sum up so many marked machines and days, or mark days that are over by now, in
    one transaction; whether there may be more to do."""
    async with transaction() as conn:
        # one process at a time, and on SQLite nobody writes between two statements
        await execute(
            conn, f"UPDATE {S}.insight_state SET until_day = until_day"  # noqa: S608
        )
        row = await fetch_one(
            conn,
            f"""
            SELECT until_day, (SELECT MIN(day) FROM {S}.insight_marks) AS first,
                (SELECT MAX(day) FROM (SELECT DISTINCT day, machine_id
                    FROM {S}.insight_marks m WHERE m.day < until_day
                    ORDER BY day LIMIT {int(marks)}) few) AS last
            FROM {S}.insight_state WHERE id = 'days'
            """,  # noqa: S608
        )
        if row is None:
            return False
        if row["last"] is not None:
            await _sum_up_days(conn, int(row["first"]), int(row["last"]))
            return True
        return await _mark_days(conn, int(row["until_day"]))


async def _sum_up_days(conn: Connection, first: int, last: int) -> None:
    """Those marked by now; what another process marks meanwhile stays marked."""
    days = {"first": first, "last": last}
    await execute(
        conn,
        f"UPDATE {S}.insight_marks SET is_taken = true "  # noqa: S608
        "WHERE day >= :first AND day <= :last",
        days,
    )
    taken = (
        f"SELECT DISTINCT machine_id, day FROM {S}.insight_marks "  # noqa: S608
        "WHERE is_taken = true AND day >= :first AND day <= :last"
    )
    times = {"since": db_time(_at(first)), "until": db_time(_at(last + 1))}
    for kept in ALL_KEPT:
        await execute(
            conn,
            f"DELETE FROM {S}.{kept.table} WHERE (machine_id, day) IN ({taken})",  # noqa: S608
            days,
        )
        names = ", ".join(("machine_id", "day", *kept.keys, *kept.sums))
        groups = ", ".join(str(n) for n in range(1, len(kept.keys) + 3))
        for rows in kept.rows:
            keys = ", ".join(kept.summed_keys(rows))
            sums = ", ".join(f"SUM({sql})" for sql in rows.sums.values())
            await execute(
                conn,
                f"""
                INSERT INTO {S}.{kept.table} ({names})
                SELECT x.machine_id, x.day, {keys}, {sums}
                FROM ({taken}) x CROSS JOIN {rows.tables}
                {_of_day(rows)} AND {rows.at} >= :since AND {rows.at} < :until
                  AND {rows.where}
                GROUP BY {groups}
                """,  # noqa: S608
                {**days, **times},
            )
    await execute(
        conn,
        f"DELETE FROM {S}.insight_marks WHERE is_taken = true",  # noqa: S608
    )


async def _mark_days(conn: Connection, until_day: int) -> bool:
    """Some days that are over by now; false where there is none left. Those of a
    database of before, too: the first is that of its oldest row."""
    last = _last_day()
    if until_day >= last:
        return False
    first = until_day or await _first_day(conn, last)
    end = min(first + STEP_DAYS, last)
    for table, machine, at in (
        ("dca_settlements", "machine_id", "transaction_time"),
        ("journal", "machine_id", "at"),
    ):
        await execute(
            conn,
            f"""
            INSERT INTO {S}.insight_marks (machine_id, day)
            SELECT DISTINCT {machine}, {day_sql(at)} FROM {S}.{table}
            WHERE {machine} IN (SELECT id FROM {S}.dca_machines)
              AND {at} >= :since AND {at} < :until
            """,  # noqa: S608
            {"since": db_time(_at(first)), "until": db_time(_at(end))},
        )
    await execute(
        conn,
        f"UPDATE {S}.insight_state SET until_day = :day WHERE id = 'days'",  # noqa: S608
        {"day": end},
    )
    return True


async def _first_day(conn: Connection, last: int) -> int:
    """That of the oldest row, by the index of each machine."""
    row = await fetch_one(
        conn,
        f"""
        SELECT MIN((SELECT MIN(j.at) FROM {S}.journal j
                WHERE j.machine_id = m.id AND j.at >= :begin)) AS entry,
            MIN((SELECT MIN(s.transaction_time) FROM {S}.dca_settlements s
                WHERE s.machine_id = m.id AND s.transaction_time >= :begin)) AS trade
        FROM {S}.dca_machines m
        """,  # noqa: S608
        {"begin": db_time(EPOCH)},
    )
    found = [from_db_time(x) for x in (row or {}).values()]
    return min([last, *(_floor(at) for at in found if at)])


def day_sql(column: str) -> str:
    """The number of a time's day of UTC since 1970."""
    if db.type == SQLITE:
        return f"CAST({column} / {DAY_SECONDS} AS BIGINT)"
    return f"(CAST({column} AS DATE) - DATE '1970-01-01')"
