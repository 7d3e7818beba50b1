"""What LNbits' wallets hold, with what is on its way and without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Booked:
    """What successful payments left in wallets, and how many of them were not for
    whole sats."""

    msat: int = 0
    fractions: int = 0


async def booked(wallet_ids: Sequence[str]) -> Booked:
    """Of all these wallets together; a payment on its way is not booked."""
    total = Booked()
    async with core_connection() as conn:
        for listed, params in in_lists(sorted(set(wallet_ids))):
            for row in await fetch_all(
                conn,
                f"""
                SELECT COALESCE(SUM(amount - ABS(fee)), 0) AS msat,
                    COALESCE(SUM(CASE WHEN (amount - ABS(fee)) % 1000 <> 0
                        THEN 1 ELSE 0 END), 0) AS fractions
                FROM apipayments
                WHERE wallet_id IN {listed} AND status = 'success'
                """,  # noqa: S608
                params,
            ):
                total = Booked(
                    total.msat + int(row["msat"]),
                    total.fractions + int(row["fractions"]),
                )
    return total
