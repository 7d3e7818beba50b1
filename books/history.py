"""How machines were over time, and how fees changed: for the super.

Guaranteed: one statement each, whatever the number of machines and changes; fees are
what the log says was changed, states what was written when they changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from lnbits.db import Connection

from ..base.database import fetch_all, from_db_time
from ..models import utc_now

S = "satoshimachine"
Row = Mapping[str, Any]
STATES = ("online", "quiet", "offline", "off")
MOST_CHANGES = 500
FEES = tuple(
    f"{whose}_{direction}_{what}"
    for whose in ("super", "operator")
    for direction in ("cash_out", "cash_in")
    for what in ("fee_fraction", "fixed_fee")
    if (whose, what) != ("super", "fixed_fee")
)


async def states(
    conn: Connection, since: datetime, until: datetime
) -> list[dict[str, Any]]:
    """By machine: seconds in each state between these moments, as far as it is known
    and over by now, and how often it fell silent. The most silent first."""
    begin, now = int(since.timestamp()), int(utc_now().timestamp())
    end = max(begin, min(int(until.timestamp()), now))
    seconds = ", ".join(
        f"CAST(SUM(CASE WHEN p.state = '{state}' THEN p.until - p.begin ELSE 0 END) "
        f"AS BIGINT) AS {state}_seconds"
        for state in STATES
    )
    rows = await fetch_all(
        conn,
        f"""
        SELECT m.id AS machine_id, COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12))
                AS machine, m.operator_user_id AS operator, {seconds},
            MIN(p.begin) AS known_since,
            COUNT(CASE WHEN p.state = 'offline' AND p.since >= :begin THEN 1 END)
                AS silences
        FROM (
            SELECT machine_id, state, since,
                CASE WHEN since < :begin THEN :begin ELSE since END AS begin,
                CASE WHEN ends < :end THEN ends ELSE :end END AS until
            FROM (
                SELECT machine_id, state, since, COALESCE(LEAD(since) OVER (
                    PARTITION BY machine_id ORDER BY since), :end) AS ends
                FROM {S}.machine_states WHERE since < :end
            ) told WHERE ends > :begin
        ) p JOIN {S}.dca_machines m ON m.id = p.machine_id
        GROUP BY m.id, m.name, m.machine_npub, m.operator_user_id
        """,  # noqa: S608
        {"begin": begin, "end": end},
    )
    found = [dict(row) for row in rows]
    return sorted(found, key=lambda x: (-x["offline_seconds"], x["machine_id"]))


async def fee_changes(conn: Connection) -> list[dict[str, Any]]:
    """The newest changes of the platform's fees and of machines', one a fee."""
    rows = await fetch_all(
        conn,
        f"""
        SELECT a.created_at, a.actor, a.action, a.before_json, a.after_json,
            a.machine_id, m.operator_user_id AS operator,
            COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine
        FROM {S}.dca_audit a LEFT JOIN {S}.dca_machines m ON m.id = a.machine_id
        WHERE a.subject_type IN ('super_config', 'machine')
          AND a.action IN ('config.change', 'machine.change', 'machine.create')
          AND a.after_json LIKE '%fee%'
        ORDER BY a.created_at DESC, a.id DESC LIMIT {MOST_CHANGES}
        """,  # noqa: S608
    )
    return [change for row in rows for change in _changes(row)]


def _changes(row: Row) -> list[dict[str, Any]]:
    before = json.loads(row["before_json"] or "{}")
    after = json.loads(row["after_json"] or "{}")
    return [
        {
            "at": from_db_time(row["created_at"]),
            "actor": row["actor"],
            "fee": fee,
            "before": _text(before.get(fee)),
            "after": _text(after[fee]),
            "machine_id": row["machine_id"],
            "machine": row["machine"],
            "operator": row["operator"],
        }
        for fee in FEES
        # a new machine without this fee has not changed it
        if fee in after and _number(after[fee]) != _number(before.get(fee))
    ]


def _number(value: Any) -> Decimal:
    return Decimal(str(value or 0))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
