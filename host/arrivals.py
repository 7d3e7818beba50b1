"""What came into wallets and carries no stamp of a machine.

What an administrator credits is no payment by anybody, and is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..base.database import db_time, fetch_all, from_db_time, in_lists
from .database import core_connection

# What LNbits writes on sats that its administrator gives a wallet.
ADMIN_CREDIT = "Admin credit"


@dataclass(frozen=True)
class Arrival:
    """A successful payment into a wallet; `payer_id` is the LNbits user who paid it,
    None for somebody outside."""

    wallet_id: str
    amount_sats: int
    at: datetime | None
    extra: Mapping[str, Any]
    payer_id: str | None


async def arrivals(
    wallet_ids: Sequence[str], since: datetime, most: int
) -> list[Arrival]:
    """Payments into these wallets that were made since then, the oldest first."""
    found: list[Arrival] = []
    wanted = {"since": db_time(since), "admin": ADMIN_CREDIT, "most": most}
    async with core_connection() as conn:
        for listed, params in in_lists(wallet_ids, wanted):
            rows = await fetch_all(
                conn,
                "SELECT p.wallet_id, p.amount, p.extra, p.created_at, "  # noqa: S608
                '(SELECT MIN(w."user") FROM apipayments o JOIN wallets w '
                "ON w.id = o.wallet_id WHERE o.payment_hash = p.payment_hash "
                "AND o.amount < 0) AS payer_id "
                f"FROM apipayments p WHERE p.wallet_id IN {listed} AND p.amount > 0 "
                "AND p.status = 'success' AND p.created_at >= :since "
                "AND p.checking_id NOT LIKE 'service_fee_%' "
                "AND (p.memo IS NULL OR p.memo <> :admin) "
                "ORDER BY p.created_at LIMIT :most",
                params,
            )
            found += [_arrival(row) for row in rows]
    return found


def _arrival(row: Mapping[str, Any]) -> Arrival:
    extra = row["extra"]
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError:
            extra = {}
    return Arrival(
        wallet_id=row["wallet_id"],
        amount_sats=int(row["amount"]) // 1000,
        at=from_db_time(row["created_at"]),
        extra=extra if isinstance(extra, Mapping) else {},
        payer_id=row["payer_id"],
    )
