"""What LNbits knows of payments that our database may not know, and the other way.

LNbits' rows outlive a restored database of ours, and ours outlive a restored LNbits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..base.database import db_time, fetch_all, from_db_time, in_lists
from .database import core_connection


@dataclass(frozen=True)
class Outgoing:
    """A payment out of a wallet that LNbits has taken off its balance."""

    payment_hash: str
    wallet_id: str
    amount_sats: int
    extra: Mapping[str, Any]
    bolt11: str
    created_at: datetime | None


async def tagged_outgoing(tag: str, since: datetime | None) -> list[Outgoing]:
    """Payments out that carry this tag and were not refused, made since then."""
    after = "AND created_at >= :since" if since else ""
    params: dict[str, Any] = {"tag": tag}
    if since:
        # LNbits keeps whole seconds on SQLite
        params["since"] = db_time(since.replace(microsecond=0))
    async with core_connection() as conn:
        found = await fetch_all(
            conn,
            "SELECT payment_hash, wallet_id, amount, extra, bolt11, created_at "  # noqa: S608
            "FROM apipayments WHERE tag = :tag AND amount < 0 "
            f"AND status IN ('success', 'pending') {after} ORDER BY created_at",
            params,
        )
    return [_outgoing(row) for row in found]


async def outgoing_by_external_id(wallet_id: str, external_id: str) -> Outgoing | None:
    """The payment out of this wallet that was made under this id, if it was not
    refused."""
    async with core_connection() as conn:
        found = await fetch_all(
            conn,
            "SELECT payment_hash, wallet_id, amount, extra, bolt11, created_at "
            "FROM apipayments WHERE wallet_id = :wallet AND external_id = :id "
            "AND amount < 0 AND status IN ('success', 'pending') LIMIT 1",
            {"wallet": wallet_id, "id": external_id},
        )
    return _outgoing(found[0]) if found else None


def _outgoing(row: Mapping[str, Any]) -> Outgoing:
    extra = row["extra"]
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except ValueError:
            extra = {}
    return Outgoing(
        payment_hash=row["payment_hash"],
        wallet_id=row["wallet_id"],
        amount_sats=-int(row["amount"]) // 1000,
        extra=extra if isinstance(extra, Mapping) else {},
        bolt11=row["bolt11"] or "",
        created_at=from_db_time(row["created_at"]),
    )


async def known_hashes(payment_hashes: Iterable[str]) -> set[str]:
    """Those of the hashes of which LNbits has any row."""
    hashes = sorted(set(payment_hashes))
    found: set[str] = set()
    async with core_connection() as conn:
        for listed, params in in_lists(hashes):
            rows = await fetch_all(
                conn,
                "SELECT DISTINCT payment_hash FROM apipayments "  # noqa: S608
                f"WHERE payment_hash IN {listed}",
                params,
            )
            found.update(row["payment_hash"] for row in rows)
    return found
