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

from ..base.database import db, from_db_time
from ..books.past import payments_at_intervals
from ..host import speed
from ..models import utc_now
from .models import PayoutAdvice, PayoutOption

LOOK_BACK = timedelta(days=7)
OFFERED_MINUTES = (0, 60, 1440)
# After a year of so many LNbits needs about 0.6 s for each: on SQLite for the payments
# of the whole instance, on PostgreSQL for those of one wallet (docs/scaling.md).
PAYMENTS_A_DAY = 50 if db.type == SQLITE else 300
# With the host's change (docs/host.md), which asks on both for one wallet only.
PAYMENTS_A_DAY_FAST = 700


async def bearable_payments_a_day() -> int:
    """How many payments a day LNbits bears for a year, as its database is now."""
    state = await speed.read_state()
    return PAYMENTS_A_DAY_FAST if state.is_applied else PAYMENTS_A_DAY


async def payout_advice(
    conn: Connection, machine_id: str, interval_minutes: int, bearable: int
) -> PayoutAdvice | None:
    """What a machine's last seven days would have cost at each interval, its own and
    the usual ones; None if nothing was owed to anybody in them. One statement.

    `bearable`: the most payments a day that are still suggested."""
    now = utc_now()
    asked = sorted({*OFFERED_MINUTES, interval_minutes})
    row = await payments_at_intervals(conn, machine_id, asked, now - LOOK_BACK)
    first_at = from_db_time(row["first_at"]) if row else None
    if row is None or first_at is None:
        return None
    return _advice(row, asked, _days(first_at, now), bearable)


def _days(first_at: datetime, now: datetime) -> int:
    """Whole days looked at, at least one: a new machine has less than a week."""
    return min(LOOK_BACK.days, max(1, -(-(now - first_at) // timedelta(days=1))))


def _advice(
    counted: Mapping[str, Any], asked: Sequence[int], days: int, bearable: int
) -> PayoutAdvice:
    options = [
        PayoutOption(
            interval_minutes=minutes,
            payments_per_day=-(-int(counted[f"at_{minutes}"]) // days),
        )
        for minutes in asked
    ]
    few = [o for o in options if o.payments_per_day <= bearable]
    return PayoutAdvice(
        days=days,
        settlements_per_day=round(int(counted["settlements"]) / days, 1),
        options=options,
        suggested_interval_minutes=(few or options[-1:])[0].interval_minutes,
    )
