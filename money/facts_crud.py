"""SQL of what LNbits keeps with a payment of ours: what it paid for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..base.database import cents_sql, db, fetch_all, in_lists

__all__ = ["db"]

# legs that a payment names in its `extra`, some 130 bytes each
MOST_FACTS = 60


async def facts_of_payouts(payout_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What LNbits keeps with a payment, so that a restored database of ours can take it
    over: payout id -> the machine, and for each leg the hash of its settlement, type,
    key, sats and fiat. Of very many legs only their number: LNbits reads all of it
    with each list of payments."""
    facts: dict[str, dict[str, Any]] = {}
    async with db.connect() as conn:
        for listed, params in in_lists(payout_ids):
            for row in await fetch_all(
                conn,
                "SELECT p.payout_id, p.machine_id, s.payment_hash, "  # noqa: S608
                "p.leg_type, p.leg_key, p.amount_sats, "
                f"{cents_sql('p.amount_fiat')} AS cents "
                "FROM satoshimachine.dca_payments p "
                "LEFT JOIN satoshimachine.dca_settlements s ON s.id = p.settlement_id "
                f"WHERE p.payout_id IN {listed} ORDER BY p.id",
                params,
            ):
                one = facts.setdefault(
                    row["payout_id"], {"machine_id": row["machine_id"], "legs": []}
                )
                cents = None if row["cents"] is None else int(row["cents"])
                one["legs"].append(
                    [
                        row["payment_hash"],
                        row["leg_type"],
                        row["leg_key"],
                        int(row["amount_sats"]),
                        cents,
                    ]
                )
    for one in facts.values():
        if len(one["legs"]) > MOST_FACTS:
            one["legs"] = len(one["legs"])
    return facts
