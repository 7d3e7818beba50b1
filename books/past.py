"""What a machine's past says: its last rate, and what payout intervals would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lnbits.db import SQLITE, Connection

from ..base.database import cents_sql, db, db_time, fetch_one
from ..money.planning import FEES_GATHER_MINUTES

S = "satoshimachine"


async def last_rate(conn: Connection, machine_id: str) -> tuple[int, int]:
    """Principal and minor units of the machine's newest good settlement, or zeros."""
    row = await fetch_one(
        conn,
        f"""
        SELECT principal_sats, {cents_sql("fiat_amount")} AS cents
        FROM {S}.dca_settlements
        WHERE machine_id = :machine AND status NOT IN ('quarantined', 'voided')
          AND principal_sats > 0 AND fiat_amount > 0
        ORDER BY transaction_time DESC LIMIT 1
        """,  # noqa: S608
        {"machine": machine_id},
    )
    return (int(row["principal_sats"]), int(row["cents"])) if row else (0, 0)


# ------------------------------------------------- what each payout interval would cost


def _slot_sql(minutes: int) -> str:
    """The number of a payout interval since 1970: the grid that legs are due on."""
    seconds = minutes * 60
    if db.type == SQLITE:
        return f"CAST(created_at / {seconds} AS BIGINT)"
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM created_at) / {seconds}) AS BIGINT)"


def _payments_sql(minutes: int) -> str:
    """At once one payment for each leg; else one for each receiver and interval."""
    if minutes == 0:
        return "COUNT(*)"
    fee_minutes = min(minutes, FEES_GATHER_MINUTES)
    return (
        "COUNT(DISTINCT CASE WHEN leg_type = 'dca' THEN "
        f"client_id || ' ' || {_slot_sql(minutes)} ELSE leg_type || ' ' || "
        f"COALESCE(split_id, '') || ' ' || {_slot_sql(fee_minutes)} END)"
    )


async def payments_at_intervals(
    conn: Connection, machine_id: str, asked: Sequence[int], since: datetime
) -> Mapping[str, Any] | None:
    """`at_N` for each interval asked for: the payments that a machine's legs since then
    would have made if paid every N minutes; `settlements`, and `first_at`."""
    counts = ", ".join(f"{_payments_sql(m)} AS at_{m}" for m in asked)
    return await fetch_one(
        conn,
        f"""
        SELECT MIN(created_at) AS first_at, {counts},
            COUNT(DISTINCT settlement_id) AS settlements
        FROM {S}.dca_payments
        WHERE machine_id = :machine AND created_at >= :since
          AND leg_type IN ('dca', 'super_fee', 'operator_split')
          AND status NOT IN ('voided', 'skipped')
        """,  # noqa: S608
        {"machine": machine_id, "since": db_time(since)},
    )
