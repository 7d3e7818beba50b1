"""Forwards that must not leave any more: a day old, or turned off by their LP since.

The sats that it would send may be spent by then, and what is in the wallet now may be
the LP's salary. So it is asked where a payment begins, and not only by the sweep: when
payouts are opened, and again before an invoice is made or paid.

Guaranteed: a forward that is over is in no payment that begins after that, but for one
case: an invoice that is kept already and that pays others too is paid as it is.
Not guaranteed: that what is on its way comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import CHUNK, db, db_time, execute, fetch_all, in_list, transaction
from ..models import Leg, LpProfile, Payout, utc_now

__all__ = ["db"]

AT_MOST = timedelta(hours=24)

# a condition on a leg, with `_over_params`
_STALE = """
    leg_type = 'autoforward' AND (created_at < :before OR client_id IN (
        SELECT c.id FROM satoshimachine.dca_clients c
        JOIN satoshimachine.dca_lp l ON l.user_id = c.user_id
        WHERE l.autoforward_enabled = :off))
    """


def _stale_params(now: datetime) -> dict[str, Any]:
    return {"before": db_time(now - AT_MOST), "off": False}


def is_stale(leg: Leg, profile: LpProfile | None, now: datetime) -> bool:
    """Whether a leg is a forward that its LP's sats must not leave for any more."""
    if leg.leg_type != "autoforward":
        return False
    is_off = profile is not None and not profile.autoforward_enabled
    return is_off or leg.created_at < now - AT_MOST


async def payouts_with_stale(payouts: Sequence[Payout]) -> dict[str, bool]:
    """payout id -> whether all of its legs are over, for those where any is."""
    ids = [p.id for p in payouts]
    found: dict[str, bool] = {}
    async with db.connect() as conn:
        for start in range(0, len(ids), CHUNK):
            params = _stale_params(utc_now())
            listed = in_list("p", ids[start : start + CHUNK], params)
            for row in await fetch_all(
                conn,
                f"""
                SELECT payout_id, COUNT(*) AS legs,
                    SUM(CASE WHEN {_STALE} THEN 1 ELSE 0 END) AS are_over
                FROM satoshimachine.dca_payments
                WHERE payout_id IN {listed} AND status = 'pending' GROUP BY payout_id
                """,  # noqa: S608
                params,
            ):
                if row["are_over"]:
                    found[row["payout_id"]] = row["are_over"] == row["legs"]
    return found


async def void_stale() -> int:
    """Void the forwards that are over and in no payout; returns how many."""
    async with transaction() as conn:
        return await void(conn, utc_now())


async def void(conn: Connection, now: datetime) -> int:
    """The same in the caller's transaction."""
    return await execute(
        conn,
        f"""
        UPDATE satoshimachine.dca_payments
        SET status = 'voided', completed_at = :now,
            error_message = CASE WHEN created_at < :before
            THEN 'Not forwarded within a day; the sats stay in your wallet.'
            ELSE 'Forwarding was turned off; the sats stay in your wallet.' END
        WHERE status IN ('pending', 'failed') AND payout_id IS NULL AND {_STALE}
        """,  # noqa: S608
        {"now": db_time(now), **_stale_params(now)},
    )
