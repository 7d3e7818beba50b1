"""SQL of what the cash book asks a person to look at: one statement for each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import cents_sql, db_time, fetch_all
from .kinds import MACHINE_NAME

S = "satoshimachine"
Row = Mapping[str, Any]


async def open_visits(
    conn: Connection, own: str, params: Mapping[str, Any], before: datetime
) -> Sequence[Row]:
    """Visits that were opened before a time and are open still."""
    return await fetch_all(
        conn,
        f"""
        SELECT v.id AS subject_id, v.id AS visit_id, v.machine_id, {MACHINE_NAME},
            v.opened_at AS since
        FROM {S}.cash_visits v JOIN {S}.dca_machines m ON m.id = v.machine_id
        WHERE v.machine_id IN {own} AND v.status = 'open' AND v.opened_at < :before
        ORDER BY v.opened_at, v.id
        """,  # noqa: S608
        {**params, "before": db_time(before)},
    )


async def differences(
    conn: Connection, own: str, params: Mapping[str, Any], since: datetime
) -> Sequence[Row]:
    """The newest closed visit of each machine, where what was counted was not what was
    expected; with its operator's limits."""
    return await fetch_all(
        conn,
        f"""
        SELECT v.id AS subject_id, v.id AS visit_id, v.machine_id, {MACHINE_NAME},
            v.closed_at AS since, v.difference_cents, m.fiat_code,
            p.cash_difference_limit AS limits
        FROM {S}.cash_visits v JOIN {S}.dca_machines m ON m.id = v.machine_id
        LEFT JOIN {S}.dca_preferences p ON p.user_id = m.operator_user_id
        WHERE v.machine_id IN {own} AND v.status = 'closed' AND v.difference_cents > 0
          AND v.closed_at >= :since AND NOT EXISTS (
            SELECT 1 FROM {S}.cash_visits n WHERE n.machine_id = v.machine_id
              AND n.status = 'closed' AND n.closed_at > v.closed_at)
        ORDER BY v.closed_at, v.id
        """,  # noqa: S608
        {**params, "since": db_time(since)},
    )


async def trades(
    conn: Connection, own: str, params: Mapping[str, Any], since: datetime
) -> Sequence[Row]:
    """Trades of which the notes are not those of the money, or could not be booked;
    until somebody has counted the machine since."""
    return await fetch_all(
        conn,
        f"""
        SELECT t.settlement_id AS subject_id, t.settlement_id, t.machine_id,
            {MACHINE_NAME}, t.moved_at AS since, t.cents, t.more_cents, t.fault,
            s.tx_type, m.fiat_code, {cents_sql("s.fiat_amount")} AS sold_cents
        FROM {S}.cash_trades t JOIN {S}.dca_machines m ON m.id = t.machine_id
        JOIN {S}.dca_settlements s ON s.id = t.settlement_id
        WHERE t.machine_id IN {own} AND t.moved_at >= :since
          AND (t.more_cents > 0 OR t.fault IS NOT NULL)
          AND NOT EXISTS (SELECT 1 FROM {S}.cash_counts c
            WHERE c.machine_id = t.machine_id AND c.source = 'person'
              AND c.at > t.moved_at)
        ORDER BY t.moved_at, t.settlement_id
        """,  # noqa: S608
        {**params, "since": db_time(since)},
    )


async def boxes(conn: Connection, own: str, params: Mapping[str, Any]) -> Sequence[Row]:
    """Cash boxes whose capacity is known, with the notes in them."""
    return await fetch_all(
        conn,
        f"""
        SELECT m.id AS subject_id, m.id AS machine_id, {MACHINE_NAME}, NULL AS since,
            m.box_capacity, m.low_cash_fraction, SUM(b.notes) AS notes
        FROM {S}.dca_machines m JOIN {S}.cash_balances b ON b.machine_id = m.id
            AND b.place = 'box' AND b.denomination > 0
        WHERE m.id IN {own} AND m.is_active = true AND m.box_capacity > 0
        GROUP BY m.id, m.name, m.machine_npub, m.box_capacity, m.low_cash_fraction
        ORDER BY m.id
        """,  # noqa: S608
        params,
    )
