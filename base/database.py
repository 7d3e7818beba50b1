"""The database handle, and what SQLite and PostgreSQL do not agree about.

LNbits' own helpers commit every statement. What must happen together goes through
`transaction()`: raw statements on one connection and one commit. Never await a
payment or the network inside it: the handle has one lock for the whole process.
"""

from __future__ import annotations

import os
from collections.abc import (
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

import aiosqlite
from lnbits.db import (
    POSTGRES,
    SQLITE,
    Connection,
    Database,
    dict_to_model,
)
from pydantic import BaseModel
from sqlalchemy import event, text
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only


class OurDatabase(Database):
    """LNbits' handle, with what it does anew for each use done once.

    On SQLite each use began a thread, opened the file, attached it, and so read the
    whole schema of ours twice: 4.4 ms of processor time, where the question itself
    takes 0.7 ms. Its one connection (the handle has a lock) now stays open between
    uses. On PostgreSQL each use asked whether the schema exists.
    """

    def __init__(self, db_name: str) -> None:
        super().__init__(db_name)
        self._file: tuple[int, int] | None = None
        if self.type == SQLITE:
            self.engine = engine_of_one(self.engine)
        event.listen(self.engine.sync_engine, "connect", self._made)

    def _made(self, connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        if self.type == SQLITE:
            cursor.execute(f"ATTACH '{self.path}' AS {self.schema}")
            self._file = _which_file(self.path)
        else:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {self.schema}")
            connection.commit()
        cursor.close()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        async with self.lock:
            if self._file and self._file != _which_file(self.path):
                # A backup was put in its place, or somebody deleted it.
                self._file = None
                await self.engine.dispose()
            async with self.engine.connect() as conn:
                yield Connection(conn, self.type, self.name, self.schema)


def engine_of_one(engine: AsyncEngine) -> AsyncEngine:
    """SQLite's engine with one connection, which is kept between uses."""
    kept = create_async_engine(
        engine.url, echo=engine.echo, poolclass=AsyncAdaptedQueuePool, pool_size=1
    )
    event.listen(kept.sync_engine, "do_connect", _in_a_thread_that_may_be_left)
    return kept


def _which_file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _in_a_thread_that_may_be_left(
    dialect: Any, _: Any, positional: list[Any], named: dict[str, Any]
) -> Any:
    """A connection whose thread does not keep the process from ending: LNbits tells
    nobody that it ends. As SQLAlchemy does it; aiosqlite 0.22 has moved the thread."""
    connection = aiosqlite.connect(*positional, **named, check_same_thread=False)
    thread: Any = getattr(connection, "_thread", connection)
    thread.daemon = True
    return AsyncAdapt_aiosqlite_connection(dialect.dbapi, await_only(connection))


db = OurDatabase("ext_satoshimachine")

# A process that stands still, or whose host is gone without a word, keeps the rows that
# it locked until PostgreSQL gives it up: before its lease is over, or whoever takes the
# lease would wait for those rows. Nothing of ours waits inside a transaction.
IDLE_TRANSACTION_SECONDS = 30


def end_idle_transactions(database: Database, seconds: int) -> None:
    """Let PostgreSQL end a transaction that says nothing for so long."""

    def on_connect(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{seconds}s'")
        cursor.close()
        connection.commit()

    event.listen(database.engine.sync_engine, "connect", on_connect)


if db.type != SQLITE:
    end_idle_transactions(db, IDLE_TRANSACTION_SECONDS)

TModel = TypeVar("TModel", bound=BaseModel)

# PostgreSQL takes at most 32767 parameters in one statement; SQLite 32766 since 3.32.
CHUNK = 400


@asynccontextmanager
async def transaction() -> AsyncIterator[Connection]:
    """One connection whose statements are committed together, or not at all."""
    async with db.connect() as conn:
        try:
            yield conn
        except BaseException:
            await conn.conn.rollback()
            raise
        await conn.conn.commit()


@asynccontextmanager
async def dry_run() -> AsyncIterator[Connection]:
    """As `transaction()`, and nothing that was done in it is kept."""
    async with db.connect() as conn:
        try:
            yield conn
        finally:
            await conn.conn.rollback()


@asynccontextmanager
async def reuse(conn: Connection | None) -> AsyncIterator[Connection]:
    """The connection given, or a new one: nested `connect()` would deadlock."""
    if conn:
        yield conn
        return
    async with db.connect() as new_conn:
        yield new_conn


async def execute(
    conn: Connection, sql: str, params: Mapping[str, Any] | None = None
) -> int:
    """Run one statement without committing; returns the number of rows it touched."""
    result = await conn.conn.execute(text(sql), dict(params or {}))
    return result.rowcount


async def execute_many(
    conn: Connection, sql: str, params: Sequence[Mapping[str, Any]]
) -> None:
    """Run one statement for many parameter sets in one call, without committing."""
    if params:
        await conn.conn.execute(text(sql), [dict(p) for p in params])


async def fetch_all(
    conn: Connection, sql: str, params: Mapping[str, Any] | None = None
) -> list[Mapping[str, Any]]:
    """All rows of a query, as mappings. Parameters are sent as they are."""
    result = await conn.conn.execute(text(sql), dict(params or {}))
    found = result.mappings().all()
    result.close()
    return list(found)


async def fetch_one(
    conn: Connection, sql: str, params: Mapping[str, Any] | None = None
) -> Mapping[str, Any] | None:
    """The first row of a query, or None."""
    found = await fetch_all(conn, sql, params)
    return found[0] if found else None


async def fetch_models(
    conn: Connection,
    sql: str,
    model: type[TModel],
    params: Mapping[str, Any] | None = None,
) -> list[TModel]:
    """All rows of a query as models."""
    read = _reader(model)
    return [read(row) for row in await fetch_all(conn, sql, params)]


@cache
def _reader(model: type[TModel]) -> Callable[[Mapping[str, Any]], TModel]:
    """Makes a model of a row. LNbits' own way looks at each field's type for each row,
    and a round of a rush reads thousands; for models in models it is the only one."""
    fields = model.__fields__
    kinds = {f.outer_type_ for f in fields.values()}
    plain = (str, int, bool, float, Decimal, datetime)
    if not all(isinstance(kind, type) and issubclass(kind, plain) for kind in kinds):
        return lambda row: dict_to_model(dict(row), model)
    times = {name for name, f in fields.items() if f.outer_type_ is datetime}
    flags = {name for name, f in fields.items() if f.outer_type_ is bool}

    def read(row: Mapping[str, Any]) -> TModel:
        known = {k: v for k, v in row.items() if v is not None and k in fields}
        for name in times & known.keys():
            known[name] = from_db_time(known[name])
        for name in flags & known.keys():
            known[name] = bool(known[name])
        return model(**known)

    return read


def in_list(name: str, values: Iterable[Any], params: dict[str, Any]) -> str:
    """`(:name_0, :name_1, ...)` for an IN clause; fills `params`. Never empty.

    The last value is repeated until their number is a power of two: SQLAlchemy keeps
    every statement that it has compiled, and a list that is one longer after each sale
    would be another statement each time, of hundreds of parameters.
    """
    # no id of ours is the empty string
    listed = list(values) or [""]
    listed += listed[-1:] * (2 ** (len(listed) - 1).bit_length() - len(listed))
    keys = [f"{name}_{index}" for index in range(len(listed))]
    params.update(zip(keys, listed, strict=True))
    return f"({', '.join(f':{key}' for key in keys)})"


def in_lists(
    values: Sequence[Any], params: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """An IN clause and its parameters, with a copy of `params`, for each so many of
    these values as one statement may name."""
    for start in range(0, len(values), CHUNK):
        filled = dict(params or {})
        yield in_list("in", values[start : start + CHUNK], filled), filled


def db_time(moment: datetime | None) -> float | datetime | None:
    """A time as the database wants it: epoch on SQLite, naive UTC on PostgreSQL."""
    if moment is None:
        return None
    if db.type == SQLITE:
        return moment.timestamp()
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def from_db_time(value: Any) -> datetime | None:
    """The UTC-aware time behind what a TIMESTAMP column gave."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=timezone.utc)
    if isinstance(value, str) and "-" in value:
        # what SQLite's own CURRENT_TIMESTAMP wrote, where a row came without a time
        return datetime.fromisoformat(value).replace(tzinfo=timezone.utc)
    return datetime.fromtimestamp(float(value), timezone.utc)


def epoch_now_sql() -> str:
    """The database's own clock in whole seconds: one clock for all processes."""
    if db.type == SQLITE:
        return "CAST(strftime('%s', 'now') AS BIGINT)"
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)"


def snapshot_sql() -> str:
    """What PostgreSQL has committed as the statement sees it; empty elsewhere."""
    return "CAST(txid_current_snapshot() AS TEXT)" if db.type == POSTGRES else "''"


def cents_sql(column: str) -> str:
    """An integer of minor units from a DECIMAL column (SQLite sums floats)."""
    return f"CAST(ROUND({column} * 100) AS BIGINT)"


def row_params(model: BaseModel) -> dict[str, Any]:
    """A row's columns as parameters: Decimals as text, times as the database's."""
    params: dict[str, Any] = {}
    for key, value in model.dict().items():
        if isinstance(value, datetime):
            params[key] = db_time(value)
        elif hasattr(value, "as_tuple"):
            params[key] = format(value, "f")
        else:
            params[key] = value
    return params


def insert_sql(table: str, columns: Iterable[str], on_conflict: str = "") -> str:
    """`INSERT INTO satoshimachine.<table>` with one named parameter a column."""
    names = list(columns)
    return (
        f"INSERT INTO satoshimachine.{table} ({', '.join(names)}) "  # noqa: S608
        f"VALUES ({', '.join(f':{n}' for n in names)}) {on_conflict}"
    )
