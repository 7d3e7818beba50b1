"""SQL of the journal's sums that are held against rows and LNbits' wallets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lnbits.db import Connection

from ..base.database import fetch_all, fetch_one, in_list, in_lists
from ..ledger import crud as ledger_crud
from ..ledger.entries import (
    LP_CASH_USED,
    LP_CLOSED,
    LP_DEPOSITS,
    MACHINE_WALLET,
    Standing,
    added_up,
    by_flag,
    standing_of,
)

S = "satoshimachine"


@dataclass(frozen=True)
class Sharing:
    """Machines that have or had a wallet in common, and all their wallets: what is in
    those wallets is in the journal of one of those machines."""

    machine_ids: tuple[str, ...]
    wallet_ids: tuple[str, ...]


async def sharing(conn: Connection, machine_id: str) -> Sharing:
    rows = await fetch_all(
        conn,
        f"SELECT machine_id, wallet_id FROM {S}.dca_machine_wallets "  # noqa: S608
        f"UNION SELECT id, wallet_id FROM {S}.dca_machines",
    )
    machines, wallets, size = {machine_id}, set[str](), -1
    while size != len(machines) + len(wallets):
        size = len(machines) + len(wallets)
        wallets |= {r["wallet_id"] for r in rows if r["machine_id"] in machines}
        machines |= {r["machine_id"] for r in rows if r["wallet_id"] in wallets}
    return Sharing(tuple(sorted(machines)), tuple(sorted(wallets)))


async def wallet_account(conn: Connection, machine_ids: Sequence[str]) -> int:
    """Sats that the wallets of these machines hold by the journal."""
    params = {"account": MACHINE_WALLET}
    listed = in_list("m", machine_ids, params)
    row = await fetch_one(
        conn,
        f"""
        SELECT CAST(SUM(l.sats) AS BIGINT) AS sats
        FROM {S}.journal j JOIN {S}.journal_lines l ON l.journal_id = j.id
        WHERE j.machine_id IN {listed} AND l.account = :account
        """,  # noqa: S608
        params,
    )
    return int(row["sats"] or 0) if row else 0


async def unfinished_hashes(conn: Connection, wallet_ids: Sequence[str]) -> list[str]:
    """Payments out of these wallets whose payouts are not paid in our books."""
    params: dict[str, str] = {}
    listed = in_list("w", wallet_ids, params)
    found = await fetch_all(
        conn,
        f"SELECT payment_hash FROM {S}.dca_payouts "  # noqa: S608
        f"WHERE source_wallet_id IN {listed} AND payment_hash IS NOT NULL "
        "AND status IN ('new', 'invoiced')",
        params,
    )
    return [row["payment_hash"] for row in found]


async def left_by_lp(conn: Connection, machine_id: str) -> dict[str, int]:
    """What is left of each LP's cash by the journal, in minor units."""
    found = await fetch_all(
        conn,
        f"""
        SELECT l.client_id, CAST(SUM(l.fiat_cents) AS BIGINT) AS cents
        FROM {S}.journal j JOIN {S}.journal_lines l ON l.journal_id = j.id
        WHERE j.machine_id = :machine AND l.client_id IS NOT NULL
          AND l.account IN ('{LP_DEPOSITS}', '{LP_CASH_USED}', '{LP_CLOSED}')
        GROUP BY l.client_id
        """,  # noqa: S608
        {"machine": machine_id},
    )
    return {row["client_id"]: -int(row["cents"]) for row in found}


async def missing_by_settlement(
    conn: Connection, settlement_ids: Iterable[str]
) -> dict[str, Standing]:
    """By how much settlements' rows come to something else than is posted of them."""
    missing: dict[str, Standing] = {}
    for _, params in in_lists(sorted(set(settlement_ids))):
        ids = list(params.values())
        found = await ledger_crud.settlements(conn, ids)
        legs = await ledger_crud.legs_of_settlements(conn, ids)
        posted = await ledger_crud.posted(conn, "settlement_id", ids)
        for settlement in found:
            was = posted.get(settlement.id)
            standing = added_up(by_flag(was.rows).values()) if was else Standing()
            now = standing_of(settlement, legs.get(settlement.id, []))
            change = now.less(standing)
            if change:
                missing[settlement.id] = change
    return missing
