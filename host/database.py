"""Connections to LNbits' own database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NewType

from lnbits.core.db import db as core_db
from lnbits.db import SQLITE, Connection, insert_query, model_to_dict, update_query
from pydantic import BaseModel
from sqlalchemy import text

# A connection of LNbits' database, which is not ours (`base.database`).
CoreConn = NewType("CoreConn", Connection)


def is_sqlite() -> bool:
    return core_db.type == SQLITE


@asynccontextmanager
async def core_connection(conn: CoreConn | None = None) -> AsyncIterator[CoreConn]:
    """The connection given, or a new one. Nothing that waits belongs inside: LNbits
    has one lock for the whole process."""
    if conn:
        yield conn
        return
    async with core_db.connect() as new_conn:
        yield CoreConn(new_conn)


class _Uncommitted(Connection):
    """A connection on which LNbits' own helpers write without committing."""

    async def insert(self, table_name: str, model: BaseModel) -> None:
        await self.conn.execute(
            text(insert_query(table_name, model)), model_to_dict(model)
        )

    async def update(
        self, table_name: str, model: BaseModel, where: str = "WHERE id = :id"
    ) -> None:
        await self.conn.execute(
            text(update_query(table_name, model, where)), model_to_dict(model)
        )

    async def execute(self, query: str, values: dict | None = None) -> Any:
        params = self.rewrite_values(values) if values else {}
        return await self.conn.execute(text(self.rewrite_query(query)), params)


@asynccontextmanager
async def deferred_commit() -> AsyncIterator[CoreConn]:
    """A connection for LNbits' helpers, whose writes are committed together at the end.

    A commit is most of what an invoice costs. Not for payments: LNbits tells its
    listeners of one at once, and what they were told must not be rolled back.
    """
    async with core_db.connect() as conn:
        together = _Uncommitted(conn.conn, conn.type, conn.name, conn.schema)
        try:
            yield CoreConn(together)
        except BaseException:
            await conn.conn.rollback()
            raise
        await conn.conn.commit()
