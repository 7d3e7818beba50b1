"""Receipts that LNbits left half-done: the payer's row is paid, the receiver's is not.

LNbits writes an internal payment in two commits. Killed between them it has debited
the payer and credited nobody, and it never looks again. These are the rows by which
that is seen; what follows from it is decided in `money/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..base.database import db_time, fetch_all, in_lists
from .database import core_connection

# From the payer's side, which the index of `updated_at` keeps short; from the
# receipt's side, where all of a wallet's unpaid invoices are looked at.
_PAID_SINCE = "o.status = 'success' AND o.amount < 0 AND o.updated_at >= :since"


async def half_done_hashes(
    wallet_ids: Sequence[str], text: str, *, since: datetime | None, before: datetime
) -> list[str]:
    """Hashes of payments into these wallets, with `text` in their `extra`, whose payer
    paid the same amount (since then, and before then) and whose receipt is open."""
    found: set[str] = set()
    recent = f"AND {_PAID_SINCE}" if since else "AND o.status = 'success'"
    wanted = {"before": db_time(before), "text": f"%{text}%"}
    if since:
        wanted["since"] = db_time(since)
    for listed, params in in_lists(wallet_ids, wanted):
        async with core_connection() as conn:
            rows = await fetch_all(
                conn,
                "SELECT i.payment_hash FROM apipayments o "  # noqa: S608
                "JOIN apipayments i ON i.payment_hash = o.payment_hash "
                f"WHERE i.wallet_id IN {listed} AND i.amount > 0 "
                "AND i.status <> 'success' AND i.extra LIKE :text "
                f"AND o.amount = -i.amount AND o.updated_at <= :before {recent}",
                params,
            )
        found.update(row["payment_hash"] for row in rows)
    return sorted(found)
