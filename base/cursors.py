"""How far something has read, by name: kept, so that a restart goes on from there."""

from __future__ import annotations

from lnbits.db import Connection

from ..models import utc_now
from .database import db, db_time, execute, fetch_one, transaction

# When everything was deleted: of what is older, LNbits knows more than we do.
BEGAN = "began"


async def get_cursor(name: str) -> str | None:
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            "SELECT value FROM satoshimachine.dca_cursors WHERE id = :id",
            {"id": name},
        )
    return row["value"] if row else None


async def set_cursor(name: str, value: str) -> None:
    async with transaction() as conn:
        await put_cursor(conn, name, value)


async def put_cursor(conn: Connection, name: str, value: str) -> None:
    """The same in the caller's transaction."""
    await execute(
        conn,
        """
        INSERT INTO satoshimachine.dca_cursors (id, value, updated_at)
        VALUES (:id, :value, :now) ON CONFLICT (id)
        DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
        """,
        {"id": name, "value": value, "now": db_time(utc_now())},
    )
