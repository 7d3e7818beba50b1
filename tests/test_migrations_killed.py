"""
LNbits killed in the middle of the migrations, after any of their statements.

LNbits commits each statement, and after a restart runs the migration that was not
finished from its first line. Statements and migrations are not listed here: whatever
`migrations.py` executes is found and tried.

* `test_killed_after_any_statement`: the database as it is after a statement is
  copied, and the copy migrated to the end: by the restarted LNbits, and after an
  uninstallation that forgot how far it was.
* `test_killed_at_every_start`: one database, killed at every start after the first
  statement that no start before it came to, until there is none left.

Both must end with exactly the rows and the schema of a run without a kill.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from examples import IS_THOROUGH
from fixtures import databases
from fixtures.databases import (
    Dump,
    KilledError,
    Uncommitted,
    Watched,
    all_migrations,
    copied,
    dump,
    migrate,
    opened,
    schema_lines,
)
from fixtures.older_databases import Table, build, database_at, lamassu_database
from lnbits.db import SQLITE, Connection, Database
from sqlalchemy import text

pytestmark = pytest.mark.longest

# After m009 there is much of this, and nothing in it that a restart could get wrong
# later on: it is tried start by start, the rest of these migrations by itself as well.
ADDS = re.compile(r"\s*(CREATE|ALTER TABLE \S+ ADD COLUMN) ")


@dataclass
class Shape:
    """A database, the migration that LNbits has on record, and the last to run."""

    tables: list[Table]
    recorded: int
    last: int = 9


SHAPES = {
    "nothing": Shape([], 0),
    "lamassu": Shape(lamassu_database(), 0),
    **{f"m00{n}": Shape(database_at(n), n) for n in range(1, 9)},
    "m009": Shape(database_at(9), 9, last=999),
}
# What has landed is never edited: the rest is for those who change this file's way.
NOW_SHAPES = ("nothing", "lamassu", "m004", "m009")
STARTS = {
    "nothing": Shape([], 0),
    "lamassu": Shape(lamassu_database(), 0),
    # m010 does everything there, beginning with m001, and finds no rows: a fresh
    # install comes to it in the same way.
    "lamassu_upgraded_in_place": Shape(lamassu_database(), 9, last=10),
    "m001": Shape(database_at(1), 1, last=999),
    "m007": Shape(database_at(7), 7),
}


@pytest_asyncio.fixture
async def empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Database]:
    async with databases.empty_database(tmp_path, monkeypatch) as database:
        yield database


@dataclass
class Outcome:
    """All that is in a database."""

    rows: Dump
    schema: dict[str, set[str]]


async def outcome(conn: Connection) -> Outcome:
    return Outcome(await dump(conn), await schema_lines(conn))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SHAPES if IS_THOROUGH else NOW_SHAPES)
async def test_killed_after_any_statement(
    empty: Database, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = SHAPES[name]
    async with opened(empty) as conn:
        await build(conn, shape.tables)
        async with copied(empty, conn) as undisturbed:
            await migrate(undisturbed, shape.recorded, shape.last)
            expected = await outcome(undisturbed)

        finished = shape.recorded
        states = [await outcome(conn)]
        statements = 0

        async def restart(statement: str) -> None:
            nonlocal statements
            statements += 1
            if number > 9 and ADDS.match(statement):
                return
            state = await outcome(conn)
            if state == states[-1]:
                return  # the statement found its work done, this state was tried
            states.append(state)
            # m010 itself begins with m001: forgetting makes no difference from there.
            for recorded in {finished, 0} if finished < 9 else {finished}:
                async with copied(empty, conn) as copy:
                    await migrate(copy, recorded, shape.last)
                    assert await outcome(copy) == expected, (
                        finished,
                        recorded,
                        statement,
                    )

        watched = Watched if conn.type == SQLITE else Uncommitted
        for number, migration in all_migrations():
            if shape.recorded < number <= shape.last:
                await migration(watched(conn, restart))
                finished = number
        assert await outcome(conn) == expected
    with capsys.disabled():
        print(f"\n{name}: {statements} statements, {len(states)} states", end=" ")
    assert len(states) > 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", STARTS)
async def test_killed_at_every_start(
    empty: Database, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = STARTS[name]
    async with opened(empty) as conn:
        await build(conn, shape.tables)
        async with copied(empty, conn) as undisturbed:
            await migrate(undisturbed, shape.recorded, shape.last)
            expected = await outcome(undisturbed)

    pending = [
        (number, migration)
        for number, migration in all_migrations()
        if shape.recorded < number <= shape.last
    ]
    survived: set[tuple[int, str]] = set()

    async def kill(statement: str) -> None:
        step = (pending[0][0], statement)
        if step not in survived:
            survived.add(step)
            raise KilledError(statement)

    kills = 0
    while pending:
        async with opened(empty) as conn:
            try:
                while pending:
                    await pending[0][1](Watched(conn, kill))
                    pending.pop(0)
            except KilledError:
                kills += 1
    with capsys.disabled():
        print(f"\n{name}: killed {kills} times", end=" ")
    assert kills
    async with opened(empty) as conn:
        assert await outcome(conn) == expected


async def test_killed_between_drop_and_rename_then_reinstalled(
    empty: Database,
) -> None:
    """SQLite has no cassette_configs at that moment: m007 must not make a new one."""
    async with opened(empty) as conn:
        if conn.type != SQLITE:
            return
        await build(conn, database_at(7))
        cassettes = (await dump(conn))["cassette_configs"]

        async def kill(statement: str) -> None:
            if statement.startswith("DROP TABLE"):
                raise KilledError(statement)

        with pytest.raises(KilledError):
            await migrate(Watched(conn, kill), 7)
        names = await databases.table_names(conn)
        assert "cassette_configs" not in names
        await migrate(conn)
        assert len((await dump(conn))["cassette_configs"]) == len(cassettes)
        rest = text("SELECT count(*) FROM satoshimachine.cassette_configs")
        assert (await conn.conn.execute(rest)).scalar() == len(cassettes)
