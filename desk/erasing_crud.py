"""SQL of what forbids that everything is deleted, and of the file that comes first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, fetch_one, from_db_time
from ..models import utc_now
from ..parties.lps_crud import debited_cents_sql, deposited_cents_sql

S = "satoshimachine"
# how long an invoice of a machine may be paid, at the longest
OPEN_INVOICE = timedelta(days=1)


async def open_counts(conn: Connection) -> Mapping[str, Any]:
    """How much of each kind is not over, of all operators: one statement."""
    left = f"{deposited_cents_sql('c.id')} - {debited_cents_sql('c.id')}"
    row = await fetch_one(
        conn,
        f"""
        SELECT
          (SELECT COUNT(*) FROM {S}.dca_settlements
            WHERE status NOT IN ('completed', 'voided')) AS settlements,
          (SELECT COUNT(*) FROM {S}.dca_payments
            WHERE status IN ('pending', 'failed') AND leg_type <> 'refund') AS legs,
          (SELECT CAST(COALESCE(SUM(amount_sats), 0) AS BIGINT) FROM {S}.dca_payments
            WHERE status IN ('pending', 'failed') AND leg_type <> 'refund') AS unpaid,
          (SELECT COUNT(*) FROM {S}.dca_payments
            WHERE status IN ('pending', 'failed') AND leg_type = 'refund') AS refunds,
          (SELECT CAST(COALESCE(SUM(amount_sats), 0) AS BIGINT) FROM {S}.dca_payments
            WHERE status IN ('pending', 'failed') AND leg_type = 'refund')
            AS owed,
          (SELECT COUNT(*) FROM {S}.dca_payouts WHERE status IN ('new', 'invoiced'))
            AS payouts,
          (SELECT COUNT(*) FROM {S}.dca_machine_requests r
            WHERE (r.rpc = 'payout' AND r.status = 'paying')
               OR (r.rpc = 'invoice' AND r.status IN ('new', 'made')
                   AND r.updated_at > :lately AND NOT EXISTS (
                     SELECT 1 FROM {S}.dca_settlements s
                     WHERE s.payment_hash = r.payment_hash))) AS customers,
          (SELECT COUNT(*) FROM {S}.dca_clients c WHERE {left} <> 0) AS lps,
          (SELECT COUNT(*) FROM {S}.dca_deposits
            WHERE status IN ('pending', 'claimed') OR dispute_state = 'open'
               OR reversal_state = 'requested') AS deposits,
          (SELECT COUNT(*) FROM {S}.cash_visits WHERE status = 'open') AS visits,
          (SELECT COUNT(*) FROM (
              SELECT 1 AS one FROM {S}.cash_balances
              GROUP BY operator_user_id, machine_id, place, currency
              HAVING SUM(cents) > 0) places) AS places
        """,  # noqa: S608
        {"lately": db_time(utc_now() - OPEN_INVOICE)},
    )
    return row or {}


async def exported_at(conn: Connection) -> datetime | None:
    """When everything was downloaded last."""
    row = await fetch_one(
        conn,
        f"SELECT MAX(created_at) AS at FROM {S}.dca_audit "  # noqa: S608
        "WHERE action = 'extension.export'",
    )
    return from_db_time(row["at"]) if row else None


async def has_changed_since(conn: Connection, at: datetime) -> bool:
    """Whether anybody did anything, sold anything or moved cash after that."""
    row = await fetch_one(
        conn,
        f"""
        SELECT
          (SELECT COUNT(*) FROM {S}.dca_audit WHERE created_at > :at
            AND action NOT IN ('extension.export', 'host.undo'))
          + (SELECT COUNT(*) FROM {S}.dca_settlements WHERE created_at > :at)
          + (SELECT COUNT(*) FROM {S}.cash_movements WHERE created_at > :at) AS n
        """,  # noqa: S608
        {"at": db_time(at)},
    )
    return bool(row and row["n"])
