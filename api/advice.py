"""How often should a machine pay? What each payout interval would cost, from its past.

In LNbits every payment makes all later ones slower, of everybody on the server: whoever
lets a machine's payouts gather makes fewer of them. Guaranteed: one statement over one
week of one machine. Not guaranteed: the future; and at once, payments of a burst merge,
so that the real figure may be lower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import SQLITE, Connection

from ..base.database import db, db_time, fetch_one, from_db_time
from ..models import utc_now
from ..money.planning import FEES_GATHER_MINUTES
from .models import PayoutAdvice, PayoutOption

S = "satoshimachine"
LOOK_BACK = timedelta(days=7)
OFFERED_MINUTES = (0, 60, 1440)
# After a year of so many LNbits needs about 0.6 s for each: on SQLite for the payments
# of the whole instance, on PostgreSQL for those of one wallet (docs/scaling.md).
PAYMENTS_A_DAY = 50 if db.type == SQLITE else 300


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


async def payout_advice(
    conn: Connection, machine_id: str, interval_minutes: int
) -> PayoutAdvice | None:
    """What a machine's last seven days would have cost at each interval, its own and
    the usual ones; None if nothing was owed to anybody in them. One statement."""
    now = utc_now()
    asked = sorted({*OFFERED_MINUTES, interval_minutes})
    counts = ", ".join(f"{_payments_sql(m)} AS at_{m}" for m in asked)
    row = await fetch_one(
        conn,
        f"""
        SELECT MIN(created_at) AS first_at, {counts},
            COUNT(DISTINCT settlement_id) AS settlements
        FROM {S}.dca_payments
        WHERE machine_id = :machine AND created_at >= :since
          AND leg_type IN ('dca', 'super_fee', 'operator_split')
          AND status NOT IN ('voided', 'skipped')
        """,  # noqa: S608
        {"machine": machine_id, "since": db_time(now - LOOK_BACK)},
    )
    first_at = from_db_time(row["first_at"]) if row else None
    if row is None or first_at is None:
        return None
    return _advice(row, asked, _days(first_at, now))


def _days(first_at: datetime, now: datetime) -> int:
    """Whole days looked at, at least one: a new machine has less than a week."""
    return min(LOOK_BACK.days, max(1, -(-(now - first_at) // timedelta(days=1))))


def _advice(
    counted: Mapping[str, Any], asked: Sequence[int], days: int
) -> PayoutAdvice:
    options = [
        PayoutOption(
            interval_minutes=minutes,
            payments_per_day=-(-int(counted[f"at_{minutes}"]) // days),
        )
        for minutes in asked
    ]
    bearable = [o for o in options if o.payments_per_day <= PAYMENTS_A_DAY]
    return PayoutAdvice(
        days=days,
        settlements_per_day=round(int(counted["settlements"]) / days, 1),
        options=options,
        suggested_interval_minutes=(bearable or options[-1:])[0].interval_minutes,
    )
