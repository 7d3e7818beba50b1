"""SQL of what is owed by machines, to LPs, splits and the platform, by which wallet.

Who of them is gone is LNbits' to say: on SQLite its tables are in another database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lnbits.db import Connection

from ..base.database import fetch_all
from ..parties.lps_crud import debited_cents_sql, deposited_cents_sql

S = "satoshimachine"
_MACHINE = "COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine"
_UNPAID = "status IN ('pending', 'failed')"
Row = Mapping[str, Any]


async def machines_owing(
    conn: Connection, own: str, params: Mapping[str, Any]
) -> Sequence[Row]:
    return await fetch_all(
        conn,
        f"""
        SELECT m.id, m.operator_user_id, m.wallet_id, {_MACHINE}, m.updated_at,
               COALESCE(p.sats, 0) AS sats
        FROM {S}.dca_machines m
        LEFT JOIN (
            SELECT machine_id, CAST(SUM(amount_sats) AS BIGINT) AS sats
            FROM {S}.dca_payments
            WHERE {_UNPAID} AND leg_type <> 'autoforward' GROUP BY machine_id
        ) p ON p.machine_id = m.id
        WHERE m.id IN {own} AND (m.is_active = true OR p.sats > 0)
        ORDER BY m.created_at, m.id
        """,  # noqa: S608
        params,
    )


async def lps_owing(
    conn: Connection, own: str, params: Mapping[str, Any]
) -> Sequence[Row]:
    """LPs who have fiat left, or to whom sats are owed, and where they receive."""
    cents = f"({deposited_cents_sql('c.id')} - {debited_cents_sql('c.id')})"
    return await fetch_all(
        conn,
        f"""
        SELECT * FROM (
            SELECT c.id, c.user_id, COALESCE(c.username, c.id) AS lp, c.machine_id,
                   c.updated_at, m.operator_user_id, m.fiat_code, {_MACHINE},
                   l.dca_wallet_id, {cents} AS cents, COALESCE(p.sats, 0) AS sats
            FROM {S}.dca_clients c
            JOIN {S}.dca_machines m ON m.id = c.machine_id
            LEFT JOIN {S}.dca_lp l ON l.user_id = c.user_id
            LEFT JOIN (
                SELECT client_id, CAST(SUM(amount_sats) AS BIGINT) AS sats
            FROM {S}.dca_payments
                WHERE {_UNPAID} AND leg_type IN ('dca', 'settlement')
                GROUP BY client_id
            ) p ON p.client_id = c.id
            WHERE c.machine_id IN {own}
        ) owed WHERE cents > 0 OR sats > 0 ORDER BY updated_at, id
        """,  # noqa: S608
        params,
    )


async def splits_owing(
    conn: Connection, own: str, params: Mapping[str, Any]
) -> Sequence[Row]:
    """Unpaid splits by the wallet they go to, and those that go nowhere at all: an
    older version kept legs whose split had been deleted, target and all."""
    return await fetch_all(
        conn,
        f"""
        SELECT p.machine_id, p.operator_user_id, {_MACHINE},
               p.destination_wallet_id AS wallet_id, MIN(p.id) AS id,
               MIN(p.settlement_id) AS settlement_id, MIN(p.created_at) AS since,
               MIN(COALESCE(p.label, p.target, 'no target')) AS label, COUNT(*) AS legs,
               CAST(SUM(p.amount_sats) AS BIGINT) AS sats
        FROM {S}.dca_payments p JOIN {S}.dca_machines m ON m.id = p.machine_id
        WHERE p.machine_id IN {own} AND p.status IN ('pending', 'failed')
          AND p.payout_id IS NULL AND p.leg_type = 'operator_split'
          AND (p.destination_wallet_id IS NOT NULL
               OR COALESCE(p.target, p.destination_ln_address) IS NULL)
        GROUP BY p.machine_id, p.operator_user_id, p.destination_wallet_id, m.name,
                 m.machine_npub
        ORDER BY since
        """,  # noqa: S608
        params,
    )


async def platform_owed(conn: Connection) -> Sequence[Row]:
    """The platform's wallet, where fees are set."""
    return await fetch_all(
        conn,
        f"""
        SELECT super_fee_wallet_id AS wallet_id, updated_at AS since,
               (SELECT COALESCE(CAST(SUM(amount_sats) AS BIGINT), 0)
                FROM {S}.dca_payments
                WHERE {_UNPAID} AND leg_type = 'super_fee') AS sats
        FROM {S}.super_config WHERE super_fee_wallet_id IS NOT NULL
        """,  # noqa: S608
    )
