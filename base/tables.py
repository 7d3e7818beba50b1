"""All of our tables at once: what they are called, what is in them, and emptied.

Guaranteed: emptied in the caller's transaction, on both databases, to what a first
installation has in them; so a process that dies in between has emptied nothing. What is
in our schema is ours, tables that an older version left aside too, and nothing else is
touched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from lnbits.db import SQLITE, Connection

from .database import db, execute, fetch_all, fetch_one

S = "satoshimachine"
PAGE = 1000
# What the migrations put in, and nobody else.
FIRST_ROWS: tuple[tuple[str, str, str], ...] = (
    ("super_config", "id", "'default'"),
    ("dca_nostr", "id", "'default'"),
    ("dca_lease", "id", "'engine'"),
    ("dca_locks", "id", "'cash'"),
    ("dca_locks", "id", "'ledger'"),
    ("insight_state", "id", "'days'"),
    ("dca_cursors", "id, value, updated_at", "'cash_book_began', '', {now}"),
)


async def table_names(conn: Connection) -> list[str]:
    """Every table of ours, as the database says."""
    if conn.type == SQLITE:
        sql = (
            f"SELECT name FROM {S}.sqlite_master WHERE type = 'table' "  # noqa: S608
            "AND name NOT LIKE 'sqlite%' ORDER BY name"
        )
    else:
        sql = (
            "SELECT tablename AS name FROM pg_tables "  # noqa: S608
            f"WHERE schemaname = '{S}' ORDER BY tablename"
        )
    return [row["name"] for row in await fetch_all(conn, sql)]


async def columns_of(conn: Connection, table: str) -> dict[str, str]:
    """The columns of a table and their types, as the database calls them."""
    if conn.type == SQLITE:
        found = await fetch_all(conn, f"PRAGMA {S}.table_info({table})")
        return {row["name"]: row["type"].upper() for row in found}
    found = await fetch_all(
        conn,
        "SELECT column_name AS name, data_type AS type FROM information_schema.columns "
        "WHERE table_schema = :schema AND table_name = :table "
        "ORDER BY ordinal_position",
        {"schema": S, "table": table},
    )
    return {row["name"]: row["type"].upper() for row in found}


async def rows_of(
    table: str, columns: Iterable[str]
) -> AsyncIterator[list[Mapping[str, Any]]]:
    """Page by page, each on a connection that is given back, in the order in which the
    rows lie there: none twice while nobody writes."""
    listed = ", ".join(f'"{name}"' for name in columns)
    last: Any = -(2**63)
    place, after = "rowid", ":after"
    if db.type != SQLITE:
        # as text: the driver would ask for a tid of its own
        last, place, after = "(0,0)", "ctid", "CAST(CAST(:after AS text) AS tid)"
    while True:
        async with db.connect() as conn:
            page = await fetch_all(
                conn,
                f"SELECT {listed}, CAST({place} AS {_kind()}) AS place "  # noqa: S608
                f"FROM {S}.{table} WHERE {place} > {after} "
                f"ORDER BY {place} LIMIT {PAGE}",
                {"after": last},
            )
        if page:
            yield page
            last = page[-1]["place"]
        if len(page) < PAGE:
            return


def _kind() -> str:
    return "INTEGER" if db.type == SQLITE else "TEXT"


async def keep_others_out(conn: Connection) -> None:
    """Nobody reads or writes a table of ours before this transaction is over; on SQLite
    the first statement that writes does that for the one process there is."""
    if conn.type == SQLITE:
        # what is emptied is overwritten, not only forgotten
        await execute(conn, f"PRAGMA {S}.secure_delete = ON")
        await execute(conn, f"UPDATE {S}.dca_locks SET n = n + 1")  # noqa: S608
        return
    await execute(conn, "SET LOCAL lock_timeout = '10s'")
    named = ", ".join(f"{S}.{name}" for name in await table_names(conn))
    await execute(conn, f"LOCK TABLE {named} IN ACCESS EXCLUSIVE MODE")


async def empty_all(conn: Connection) -> dict[str, int]:
    """Every table as it is after a first installation; how many rows each had."""
    names = await table_names(conn)
    had: dict[str, int] = {}
    for name in names:
        counted = f"SELECT COUNT(*) AS n FROM {S}.{name}"  # noqa: S608
        row = await fetch_one(conn, counted)
        had[name] = int(row["n"]) if row else 0
    if conn.type == SQLITE:
        # twice: a trigger notes in one table what is deleted in another
        for name in names * 2:
            await execute(conn, f"DELETE FROM {S}.{name}")  # noqa: S608
    else:
        named = ", ".join(f"{S}.{name}" for name in names)
        await execute(conn, f"TRUNCATE {named}")
    for table, columns, values in FIRST_ROWS:
        values = values.format(now=conn.timestamp_now)
        into = f"INSERT INTO {S}.{table} ({columns})"
        await execute(conn, f"{into} VALUES ({values})")
    return had


async def give_room_back() -> None:
    """On SQLite the file is as large as it ever was until it is written anew."""
    if db.type == SQLITE:
        async with db.connect() as conn:
            await execute(conn, f"VACUUM {S}")
