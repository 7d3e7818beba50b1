"""SQL of telling people: what is news, and what they were told of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from lnbits.db import Connection

from ..base.database import (
    cents_sql,
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_one,
    in_lists,
    insert_sql,
)
from .kinds import MACHINE_NAME

__all__ = ["db"]

S = "satoshimachine"
Row = Mapping[str, Any]

_COLUMNS = (
    "cause",
    "kind",
    "user_id",
    "machine_id",
    "subject_type",
    "subject_id",
    "message",
    "opened_at",
    "told_at",
    "times",
    "closed_at",
)


async def lock(conn: Connection) -> None:
    """Two processes that both take themselves for the engine tell once."""
    await execute(
        conn,
        f"UPDATE {S}.dca_locks SET n = n + 0 WHERE id = 'ledger'",  # noqa: S608
    )


async def owners_of_machines(conn: Connection) -> dict[str, str]:
    found = await fetch_all(
        conn, f"SELECT id, operator_user_id FROM {S}.dca_machines"  # noqa: S608
    )
    return {row["id"]: row["operator_user_id"] for row in found}


class Helper(NamedTuple):
    """Somebody who works for an operator, at all of their machines or at some."""

    user_id: str
    operator: str
    role: str
    machine_ids: frozenset[str] | None


async def helpers(conn: Connection) -> list[Helper]:
    found = await fetch_all(
        conn,
        "SELECT user_id, operator_user_id, role, machines_json "  # noqa: S608
        f"FROM {S}.dca_staff WHERE status = 'active' AND user_id IS NOT NULL",
    )
    return [
        Helper(
            row["user_id"],
            row["operator_user_id"],
            row["role"],
            (
                frozenset(json.loads(row["machines_json"]))
                if row["machines_json"]
                else None
            ),
        )
        for row in found
    ]


async def sales(
    conn: Connection, operators: Sequence[str], since: datetime
) -> list[Row]:
    """What landed since then at machines of these operators, and stands."""
    found: list[Row] = []
    for listed, params in in_lists(operators, {"since": db_time(since)}):
        found += await fetch_all(
            conn,
            f"""
            SELECT s.id, s.machine_id, m.operator_user_id, {MACHINE_NAME}, s.tx_type,
                s.wire_sats, s.fiat_code, {cents_sql("s.fiat_amount")} AS cents
            FROM {S}.dca_machines m JOIN {S}.dca_settlements s ON s.machine_id = m.id
            WHERE m.operator_user_id IN {listed} AND s.transaction_time >= :since
              AND s.status NOT IN ('quarantined', 'voided')
            ORDER BY s.transaction_time, s.id
            """,  # noqa: S608
            params,
        )
    return found


async def items(conn: Connection, sql: str, params: Row) -> list[Row]:
    """The items of a kind of attention, whose SQL after `SELECT` is given."""
    return await fetch_all(conn, f"SELECT {sql}", params)


async def deposits_confirmed(conn: Connection, since: datetime) -> list[Row]:
    return await fetch_all(
        conn,
        f"""
        SELECT d.id, d.machine_id, d.currency, c.user_id,
            {cents_sql("d.amount")} AS cents,
            COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine
        FROM {S}.dca_deposits d
        JOIN {S}.dca_clients c ON c.id = d.client_id
        JOIN {S}.dca_machines m ON m.id = d.machine_id
        WHERE d.status = 'confirmed' AND d.confirmed_at >= :since
        """,  # noqa: S608
        {"since": db_time(since)},
    )


async def payouts_received(conn: Connection, since: datetime) -> list[Row]:
    """Payments to LPs who want to hear of them, one row for each machine and LP."""
    return await fetch_all(
        conn,
        f"""
        SELECT o.id, p.machine_id, c.user_id, m.fiat_code,
            COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine,
            SUM(p.amount_sats) AS sats, SUM({cents_sql("p.amount_fiat")}) AS cents
        FROM {S}.dca_payouts o
        JOIN {S}.dca_payments p ON p.payout_id = o.id
        JOIN {S}.dca_clients c ON c.id = p.client_id
        JOIN {S}.dca_lp l ON l.user_id = c.user_id
        JOIN {S}.dca_machines m ON m.id = p.machine_id
        WHERE o.paid_at >= :since AND o.status = 'paid' AND p.status = 'completed'
          AND p.leg_type IN ('dca', 'settlement') AND l.notify_payouts = true
        GROUP BY o.id, p.machine_id, c.user_id, m.fiat_code, m.name, m.machine_npub
        """,  # noqa: S608
        {"since": db_time(since)},
    )


async def known(conn: Connection, keys: Iterable[str]) -> dict[str, Row]:
    """The rows of these causes, and of all that are open."""
    columns = "cause, told_at, closed_at"
    found = {
        row["cause"]: row
        for row in await fetch_all(
            conn,
            f"SELECT {columns} FROM {S}.dca_notices "  # noqa: S608
            "WHERE closed_at IS NULL",
        )
    }
    others = sorted(set(keys) - set(found))
    for listed, params in in_lists(others):
        for row in await fetch_all(
            conn,
            f"SELECT {columns} FROM {S}.dca_notices "  # noqa: S608
            f"WHERE cause IN {listed}",
            params,
        ):
            found[row["cause"]] = row
    return found


async def is_any_closed(conn: Connection, before: datetime) -> bool:
    """Whether one was closed before then."""
    found = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.dca_notices WHERE closed_at < :before LIMIT 1",  # noqa: S608
        {"before": db_time(before)},
    )
    return found is not None


async def write(
    conn: Connection,
    now: datetime,
    *,
    fresh: Sequence[dict[str, Any]],
    told: Mapping[str, str],
    over: Sequence[str],
    forget_before: datetime,
) -> None:
    """Open causes, note that known ones (key -> sentence) are told again, close those
    that are over and forget what was closed long ago."""
    await execute_many(conn, insert_sql("dca_notices", _COLUMNS), fresh)
    await execute_many(
        conn,
        f"""
        UPDATE {S}.dca_notices SET told_at = :now, times = times + 1,
            message = :message, closed_at = NULL,
            opened_at = CASE WHEN closed_at IS NULL THEN opened_at ELSE :now END
        WHERE cause = :cause
        """,  # noqa: S608
        [
            {"cause": key, "message": message, "now": db_time(now)}
            for key, message in told.items()
        ],
    )
    await execute_many(
        conn,
        f"UPDATE {S}.dca_notices SET closed_at = :now "  # noqa: S608
        "WHERE cause = :cause",
        [{"cause": key, "now": db_time(now)} for key in over],
    )
    await execute(
        conn,
        f"DELETE FROM {S}.dca_notices WHERE closed_at < :before",  # noqa: S608
        {"before": db_time(forget_before)},
    )
