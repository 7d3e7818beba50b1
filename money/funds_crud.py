"""SQL of what wallets owe: unpaid legs, payouts under way, payments without a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lnbits.db import Connection

from ..base.database import fetch_all, in_lists

# Where a wallet lacks what it owes: LPs and customers first, then the platform, then
# the operator's own splits, so that nobody's fee is paid from somebody's principal.
RANK = {
    "dca": 0,
    "settlement": 0,
    "refund": 0,
    "super_fee": 1,
    "operator_split": 2,
    "autoforward": 3,
}


@dataclass(frozen=True)
class Opened:
    """What the legs of one unfinished payout take from the wallet."""

    payment_hash: str | None
    sats: int


@dataclass(frozen=True)
class Debts:
    """What a wallet owes by its legs, in sats: those in no payout by rank, those of
    them that spend free balance only, and those in payouts."""

    by_rank: tuple[int, ...] = (0, 0, 0)
    free_legs_sats: int = 0
    opened: tuple[Opened, ...] = ()
    has_shortfall: bool = False


@dataclass(frozen=True)
class Side:
    """One side of a payment: what stands, or will stand, in a settlement. Old rows
    that were quarantined unread do not know which way it went."""

    payment_hash: str
    wallet_id: str
    sats: int
    is_outgoing: bool | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.payment_hash, self.wallet_id


async def read_debts(conn: Connection, wallet_ids: Sequence[str]) -> dict[str, Debts]:
    """What wallets owe by our own tables, by wallet id."""
    legs = await _unpaid_legs(conn, wallet_ids)
    opened = await opened_payouts(conn, wallet_ids)
    return {
        w: replace(legs.get(w, Debts()), opened=tuple(opened.get(w, [])))
        for w in wallet_ids
    }


async def _unpaid_legs(conn: Connection, wallet_ids: Sequence[str]) -> dict[str, Debts]:
    found: dict[str, Debts] = {}
    for listed, params in in_lists(wallet_ids):
        for row in await fetch_all(
            conn,
            f"""
            SELECT source_wallet_id AS wallet_id, leg_type,
                   CASE WHEN from_free_balance THEN 1 ELSE 0 END AS is_free,
                   -- without a platform wallet nothing of it is due
                   MAX(CASE WHEN leg_type = 'super_fee' AND leg_key = 'shortfall'
                       AND EXISTS (SELECT 1 FROM satoshimachine.super_config
                                   WHERE super_fee_wallet_id IS NOT NULL)
                       THEN 1 ELSE 0 END) AS is_shortfall,
                   SUM(amount_sats) AS sats
            FROM satoshimachine.dca_payments
            WHERE status IN ('pending', 'failed') AND payout_id IS NULL
              AND leg_type <> 'autoforward' AND source_wallet_id IN {listed}
            GROUP BY source_wallet_id, leg_type,
                     CASE WHEN from_free_balance THEN 1 ELSE 0 END
            """,  # noqa: S608
            params,
        ):
            wallet = row["wallet_id"]
            found[wallet] = _with_legs(found.get(wallet, Debts()), row)
    return found


def _with_legs(debts: Debts, row: Mapping[str, Any]) -> Debts:
    sats = int(row["sats"] or 0)
    has_shortfall = debts.has_shortfall or bool(row["is_shortfall"])
    if row["is_free"]:
        total = debts.free_legs_sats + sats
        return replace(debts, free_legs_sats=total, has_shortfall=has_shortfall)
    by_rank = list(debts.by_rank)
    by_rank[RANK[row["leg_type"]]] += sats
    return replace(debts, by_rank=tuple(by_rank), has_shortfall=has_shortfall)


async def opened_payouts(
    conn: Connection, wallet_ids: Sequence[str]
) -> dict[str, list[Opened]]:
    found: dict[str, list[Opened]] = {}
    for listed, params in in_lists(wallet_ids):
        for row in await fetch_all(
            conn,
            f"""
            SELECT p.source_wallet_id AS wallet_id, o.payment_hash,
                   SUM(p.amount_sats) AS sats
            FROM satoshimachine.dca_payments p
            JOIN satoshimachine.dca_payouts o ON o.id = p.payout_id
            WHERE p.status = 'pending' AND p.source_wallet_id IN {listed}
            GROUP BY p.source_wallet_id, o.id, o.payment_hash
            """,  # noqa: S608
            params,
        ):
            opened = Opened(row["payment_hash"], int(row["sats"]))
            found.setdefault(row["wallet_id"], []).append(opened)
    return found


async def unplanned_sides(conn: Connection, wallet_ids: Sequence[str]) -> list[Side]:
    """Payments of wallets that landed and have no plan, whichever way they went; of
    those from before the wallet was a machine's nothing is owed."""
    found: list[Side] = []
    for listed, params in in_lists(wallet_ids):
        for row in await fetch_all(
            conn,
            f"""
            SELECT payment_hash, wallet_id, is_outgoing,
                   wire_sats - network_fee_sats AS sats
            FROM satoshimachine.dca_settlements
            WHERE planned_at IS NULL AND status IN
                ('pending', 'awaiting_dispense', 'attention', 'quarantined')
              AND COALESCE(quarantine_code, '') <> 'past'
              AND wallet_id IN {listed}
            """,  # noqa: S608
            params,
        ):
            # a second side's hash carries its machine, `<hash>:<machine id>`
            payment_hash = str(row["payment_hash"]).partition(":")[0]
            out = row["is_outgoing"]
            found.append(
                Side(
                    payment_hash,
                    row["wallet_id"],
                    int(row["sats"] or 0),
                    None if out is None else bool(out),
                )
            )
    return found
