"""Who may pay: the lease that makes one of all processes on a database the engine.

Guaranteed: two processes never hold the lease at one moment of the database's clock.
Not guaranteed: that a process that held it a moment ago has noticed that it lost it.
Therefore every write that precedes a payment asks for it in the same statement.

How long it lasts goes by whether anything is owed, in the statement that renews it.
What begins to be owed while it rests is seen by who waits for it, and cut to the
shorter term by them: the holder may be dead. Cutting takes it from nobody who lives: a
resting holder renews it within that term. A holder whose process has ended on the same
machine (`processes.is_gone`) is not waited for at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from lnbits.db import Connection

from .database import (
    db,
    epoch_now_sql,
    execute,
    fetch_one,
    reuse,
    snapshot_sql,
    transaction,
)

__all__ = ["db"]

# The next engine begins within a minute of the last sign of life, its start included.
LEASE_SECONDS = 55
RENEW_SECONDS = 10
# While nothing is owed. Renewed within LEASE_SECONDS: see above.
RESTING_LEASE_SECONDS = 110
RESTING_RENEW_SECONDS = 50


class Lease(NamedTuple):
    """The row as one looks at it who waits for it."""

    holder: str | None
    seconds_left: int
    is_owed: bool
    expires_epoch: int = 0
    # PostgreSQL's, of that moment
    snapshot: str = ""

    @property
    def is_over(self) -> bool:
        """A lease that ends more than two terms ahead was written by a clock that has
        since been set back: it would block every engine until that hour comes again."""
        return (
            self.holder is None
            or not 0 < self.seconds_left <= 2 * RESTING_LEASE_SECONDS
        )


class _Next:
    also: Callable[[Connection], Awaitable[None]] | None = None


_next = _Next()


def with_next_renewal(also: Callable[[Connection], Awaitable[None]]) -> None:
    """What is to be committed with it: a commit of its own is what rest costs on
    SQLite. Only the last that was given, and lost if the process ends before."""
    _next.also = also


class _Owed:
    sql = "1 = 1"


_owed = _Owed()


def owed_is(condition: str) -> None:
    """The SQL by which anything is owed, of those who know; until then something is."""
    _owed.sql = condition


def lease_held_sql() -> str:
    """A condition: `:holder` is the engine now, by the database's clock."""
    return (
        f"EXISTS (SELECT 1 FROM satoshimachine.dca_lease WHERE id = 'engine' "  # noqa: S608
        f"AND holder = :holder AND expires_epoch > {epoch_now_sql()})"
    )


def engine_lives_sql() -> str:
    """A condition: some process is the engine now."""
    return (
        f"EXISTS (SELECT 1 FROM satoshimachine.dca_lease WHERE id = 'engine' "  # noqa: S608
        f"AND holder IS NOT NULL AND expires_epoch > {epoch_now_sql()})"
    )


async def acquire_or_renew(holder: str) -> bool:
    """Become or stay the engine for the next term; False if another process is, which
    then has the shorter term while anything is owed."""
    now = epoch_now_sql()
    is_over = (
        f"holder IS NULL OR expires_epoch <= {now} "
        f"OR expires_epoch > {now} + {2 * RESTING_LEASE_SECONDS}"
    )
    also = _next.also
    async with transaction() as conn:
        if await _take(conn, f"holder = :holder OR {is_over}", {"holder": holder}):
            if also:
                await also(conn)
            _next.also = None
            return True
        await _shorten(conn)
    return False


async def take_from(gone: str, holder: str) -> bool:
    """Become the engine in place of one whose process has ended; False if it is not
    the one any more."""
    async with transaction() as conn:
        return await _take(conn, "holder = :gone", {"holder": holder, "gone": gone})


async def _take(conn: Connection, may_take_sql: str, params: dict[str, str]) -> bool:
    taken = await execute(
        conn,
        f"""
        UPDATE satoshimachine.dca_lease
        SET holder = :holder, expires_epoch = {epoch_now_sql()} + CASE
            WHEN {_owed.sql} THEN {LEASE_SECONDS} ELSE {RESTING_LEASE_SECONDS} END
        WHERE id = 'engine' AND ({may_take_sql})
        """,  # noqa: S608
        params,
    )
    return taken == 1


async def look() -> Lease:
    """Who holds it, how long, and whether anything is owed: one statement."""
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"SELECT holder, expires_epoch, {snapshot_sql()} AS snapshot, "  # noqa: S608
            f"expires_epoch - {epoch_now_sql()} AS seconds_left, "
            f"CASE WHEN {_owed.sql} THEN 1 ELSE 0 END AS is_owed "
            "FROM satoshimachine.dca_lease WHERE id = 'engine'",
        )
    if row is None:
        return Lease(None, 0, is_owed=False)
    return Lease(
        row["holder"],
        int(row["seconds_left"]),
        bool(row["is_owed"]),
        int(row["expires_epoch"]),
        row["snapshot"],
    )


async def shorten() -> None:
    """Something is owed: whoever holds the lease must show that they live within the
    shorter term."""
    async with transaction() as conn:
        await _shorten(conn)


async def _shorten(conn: Connection) -> None:
    latest = f"{epoch_now_sql()} + {LEASE_SECONDS}"
    await execute(
        conn,
        f"UPDATE satoshimachine.dca_lease SET expires_epoch = {latest} "  # noqa: S608
        f"WHERE id = 'engine' AND expires_epoch > {latest} AND ({_owed.sql})",
    )


async def release_lease(holder: str) -> None:
    """Let another process become the engine at once."""
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_lease SET expires_epoch = 0 "
            "WHERE id = 'engine' AND holder = :holder",
            {"holder": holder},
        )


async def lease_state() -> dict[str, Any]:
    """`{"holder", "seconds_left"}` of the lease row."""
    seen = await look()
    return {"holder": seen.holder, "seconds_left": max(0, seen.seconds_left)}


async def holds_lease(holder: str, conn: Connection | None = None) -> bool:
    async with reuse(conn) as c:
        found = await fetch_one(
            c, f"SELECT 1 AS yes WHERE {lease_held_sql()}", {"holder": holder}
        )
    return found is not None
