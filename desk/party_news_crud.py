"""SQL of what parties are told: entries of the log, with their machine's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, fetch_all, in_list, in_lists

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
            a.operator_user_id, a.client_user_id, a.after_json, a.reason, m.name,
            m.fiat_code
        FROM {S}.dca_audit a LEFT JOIN {S}.dca_machines m ON m.id = a.machine_id
        WHERE a.created_at >= :since AND a.action IN {listed}
        ORDER BY a.created_at, a.id
        """,  # noqa: S608
        params,
    )


async def lps_of_sales(conn: Connection, ids: Iterable[str]) -> dict[str, list[str]]:
    """settlement id -> the user ids of the LPs whom it pays."""
    found: dict[str, list[str]] = {}
    for listed, params in in_lists(sorted(ids)):
        for row in await fetch_all(
            conn,
            f"""
            SELECT DISTINCT p.settlement_id, c.user_id FROM {S}.dca_payments p
            JOIN {S}.dca_clients c ON c.id = p.client_id
            WHERE p.settlement_id IN {listed} AND p.leg_type = 'dca'
            """,  # noqa: S608
            params,
        ):
            found.setdefault(row["settlement_id"], []).append(row["user_id"])
    return found


async def lps_of_machines(conn: Connection, ids: Iterable[str]) -> dict[str, list[str]]:
    """machine id -> the user ids of its LPs, but those who left."""
    found: dict[str, list[str]] = {}
    for listed, params in in_lists(sorted(ids)):
        for row in await fetch_all(
            conn,
            f"""
            SELECT machine_id, user_id FROM {S}.dca_clients
            WHERE machine_id IN {listed} AND status <> 'left'
            """,  # noqa: S608
            params,
        ):
            found.setdefault(row["machine_id"], []).append(row["user_id"])
    return found
