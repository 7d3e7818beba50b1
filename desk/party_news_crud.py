"""SQL of what parties are told: entries of the log, with their machine's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, fetch_all, in_list

S = "satoshimachine"


async def entries_since(
    conn: Connection, since: datetime, actions: Iterable[str]
) -> list[Mapping[str, Any]]:
    """The log's entries of these actions, oldest first."""
    params: dict[str, Any] = {"since": db_time(since)}
    listed = in_list("a", actions, params)
    return await fetch_all(
        conn,
        f"""
        SELECT a.id, a.actor, a.action, a.subject_type, a.subject_id, a.machine_id,
            a.operator_user_id, a.client_user_id, a.after_json, a.reason, m.name
        FROM {S}.dca_audit a LEFT JOIN {S}.dca_machines m ON m.id = a.machine_id
        WHERE a.created_at >= :since AND a.action IN {listed}
        ORDER BY a.created_at, a.id
        """,  # noqa: S608
        params,
    )
