"""SQL of forwards that are over, and of wallets that receivers chose anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import db, db_time, execute, fetch_all, in_lists, transaction
from ..models import Payout, utc_now
from .forwards import AT_MOST

__all__ = ["db"]

# a condition on a leg, with `_over_params`
_STALE = """
    leg_type = 'autoforward' AND (created_at < :before OR client_id IN (
        SELECT c.id FROM satoshimachine.dca_clients c
        JOIN satoshimachine.dca_lp l ON l.user_id = c.user_id
        WHERE l.autoforward_enabled = :off))
    """


def _stale_params(now: datetime) -> dict[str, Any]:
    return {"before": db_time(now - AT_MOST), "off": False}


async def payouts_with_stale(payouts: Sequence[Payout]) -> dict[str, bool]:
    """payout id -> whether all of its legs are over, for those where any is."""
    ids = [p.id for p in payouts]
    found: dict[str, bool] = {}
    async with db.connect() as conn:
        for listed, params in in_lists(ids, _stale_params(utc_now())):
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


async def wanted_wallets(
    payout_ids: Sequence[str],
) -> dict[str, set[tuple[str, str | None]]]:
    """payout id -> (leg type, the wallet that such a leg goes to now) of those of its
    waiting legs whose receiver may choose another wallet at any time."""
    found: dict[str, set[tuple[str, str | None]]] = {}
    async with db.connect() as conn:
        for listed, params in in_lists(payout_ids):
            for row in await fetch_all(
                conn,
                f"""
                SELECT p.payout_id, p.leg_type,
                       CASE WHEN p.leg_type = 'super_fee'
                       THEN (SELECT s.super_fee_wallet_id
                             FROM satoshimachine.super_config s WHERE s.id = 'default')
                       ELSE l.dca_wallet_id END AS wallet_id
                FROM satoshimachine.dca_payments p
                LEFT JOIN satoshimachine.dca_clients c ON c.id = p.client_id
                LEFT JOIN satoshimachine.dca_lp l ON l.user_id = c.user_id
                WHERE p.payout_id IN {listed} AND p.status = 'pending'
                  AND p.leg_type IN ('dca', 'settlement', 'super_fee')
                """,  # noqa: S608
                params,
            ):
                wanted = found.setdefault(row["payout_id"], set())
                wanted.add((row["leg_type"], row["wallet_id"] or None))
    return found
