"""SQL of how machines were: one row a change, by the second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lnbits.db import Connection

from ..base.database import db, execute_many, fetch_all, insert_sql

__all__ = ["db"]

S = "satoshimachine"
ONLINE_STATE, QUIET_STATE, OFFLINE, OFF = "online", "quiet", "offline", "off"
Row = Mapping[str, Any]


class Change(NamedTuple):
    """From this second since 1970 on, the machine was so."""

    machine_id: str
    since: int
    state: str


async def machines(conn: Connection) -> list[Row]:
    """Each with its last word, and how it was as far as is written."""
    last = (
        f"SELECT x.{{}} FROM {S}.machine_states x WHERE x.machine_id = m.id "  # noqa: S608
        "ORDER BY x.since DESC LIMIT 1"
    )
    return await fetch_all(
        conn,
        f"""
        SELECT m.id, m.is_active, m.last_seen_at, ({last.format("state")}) AS state,
            ({last.format("since")}) AS since
        FROM {S}.dca_machines m
        """,  # noqa: S608
    )


async def write(conn: Connection, changes: Sequence[Change]) -> None:
    await execute_many(
        conn,
        insert_sql("machine_states", Change._fields, "ON CONFLICT DO NOTHING"),
        [change._asdict() for change in changes],
    )
