"""What LNbits' wallets hold."""

from __future__ import annotations

from collections.abc import Iterable

from ..base.database import fetch_all, in_lists
from .database import core_connection


async def balances_msat(wallet_ids: Iterable[str]) -> dict[str, int]:
    """LNbits' balances in millisats by wallet id (0 for one without payments)."""
    ids = sorted({w for w in wallet_ids if w})
    found = dict.fromkeys(ids, 0)
    async with core_connection() as conn:
        for listed, params in in_lists(ids):
            for row in await fetch_all(
                conn,
                # the sum of the `balances` view, for these wallets only
                f"""
                SELECT wallet_id, SUM(amount - ABS(fee)) AS msat FROM apipayments
                WHERE wallet_id IN {listed}
                  AND ((status = 'success' AND amount > 0)
                       OR (status IN ('success', 'pending') AND amount < 0))
                GROUP BY wallet_id
                """,  # noqa: S608
                params,
            ):
                found[row["wallet_id"]] = int(row["msat"] or 0)
    return found
