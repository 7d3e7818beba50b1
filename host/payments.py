"""What LNbits' rows say of payments. Amounts are msat, negative what was paid out.

A payment within this instance is two rows of one hash; with a service fee there is a
third, positive and successful from the start, which is nobody's receipt.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..base.database import CHUNK, fetch_all, in_list
from .database import core_connection


async def debited_hashes(
    wallet_id: str, payment_hashes: Iterable[str | None]
) -> set[str]:
    """Those of a wallet's payments that LNbits has taken off its balance."""
    hashes = sorted({h for h in payment_hashes if h})
    found: set[str] = set()
    async with core_connection() as conn:
        for start in range(0, len(hashes), CHUNK):
            params: dict[str, Any] = {"wallet": wallet_id}
            listed = in_list("h", hashes[start : start + CHUNK], params)
            found.update(
                row["payment_hash"]
                for row in await fetch_all(
                    conn,
                    "SELECT payment_hash FROM apipayments "  # noqa: S608
                    f"WHERE wallet_id = :wallet AND payment_hash IN {listed} "
                    "AND amount < 0 AND status IN ('success', 'pending')",
                    params,
                )
            )
    return found
