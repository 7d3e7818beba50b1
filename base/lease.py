"""Who may pay: the lease that makes one of all processes on a database the engine.

Guaranteed: two processes never hold the lease at one moment of the database's clock.
Not guaranteed: that a process that held it a moment ago has noticed that it lost it.
Therefore every write that precedes a payment asks for it in the same statement.
"""

from __future__ import annotations

from typing import Any

from lnbits.db import Connection

from .database import db, epoch_now_sql, execute, fetch_one, reuse, transaction

__all__ = ["db"]

# The next engine begins within a minute of the last sign of life, its start included.
LEASE_SECONDS = 55


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
    """Become or stay the engine for the next 55 s; False if another process is.

    A lease that ends more than two terms ahead was written by a clock that has since
    been set back: it would otherwise block every engine until that hour comes again.
    """
    now = epoch_now_sql()
    async with transaction() as conn:
        taken = await execute(
            conn,
            f"""
            UPDATE satoshimachine.dca_lease
            SET holder = :holder, expires_epoch = {now} + {LEASE_SECONDS}
            WHERE id = 'engine' AND (holder IS NULL OR holder = :holder
                OR expires_epoch <= {now}
                OR expires_epoch > {now} + {2 * LEASE_SECONDS})
            """,  # noqa: S608
            {"holder": holder},
        )
    return taken == 1


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
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"SELECT holder, expires_epoch - {epoch_now_sql()} AS seconds_left "  # noqa: S608
            f"FROM satoshimachine.dca_lease WHERE id = 'engine'",
        )
    return {
        "holder": row["holder"] if row else None,
        "seconds_left": max(0, int(row["seconds_left"])) if row else 0,
    }


async def holds_lease(holder: str, conn: Connection | None = None) -> bool:
    async with reuse(conn) as c:
        found = await fetch_one(
            c, f"SELECT 1 AS yes WHERE {lease_held_sql()}", {"holder": holder}
        )
    return found is not None
