"""What of the operators' doings the super is to look at, machine by machine with sums.

Each kind is one statement over the rows that are in that state, or that came into it
in the last 30 days; what an operator marks or says they have seen takes nothing out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.currencies import money
from ..base.database import cents_sql, db_time
from ..models import WaitCode
from . import notices_crud
from .kinds import MACHINE_NAME, Kind, Row

S = "satoshimachine"
FEES_LATE = timedelta(hours=1)
LOOKS_BACK = timedelta(days=30)
_BY = "GROUP BY m.id, m.name, m.machine_npub, m.operator_user_id, m.fiat_code"
_OF_MACHINE = (
    f"m.id AS subject_id, m.id AS machine_id, {MACHINE_NAME}, "
    "m.operator_user_id AS operator, m.fiat_code AS currency, COUNT(*) AS count"
)


def _settlements(condition: str, sats: str, since: str = "s.transaction_time") -> Any:
    """Settlements of a machine that `condition` is true of, with a sum of sats and of
    their cash."""
    return lambda _: (
        f"{_OF_MACHINE}, MIN({since}) AS since, "
        f"CAST(COALESCE(SUM({sats}), 0) AS BIGINT) AS sats, "
        f"CAST(COALESCE(SUM({cents_sql('s.fiat_amount')}), 0) AS BIGINT) AS cents "
        f"FROM {S}.dca_settlements s JOIN {S}.dca_machines m ON m.id = s.machine_id "
        f"WHERE {since} >= :looks_back AND {condition} {_BY} "
        "ORDER BY since, m.id LIMIT :most"
    )


def _late_fees(_: str) -> str:
    return (
        f"{_OF_MACHINE}, MIN(p.created_at) AS since, NULL AS cents, "
        "CAST(SUM(p.amount_sats) AS BIGINT) AS sats "
        f"FROM {S}.dca_payments p JOIN {S}.dca_machines m ON m.id = p.machine_id "
        "WHERE p.leg_type = 'super_fee' AND p.status IN ('pending', 'failed') "
        "AND COALESCE(p.leg_key, '') <> 'shortfall' AND p.created_at < :fees_late "
        f"AND COALESCE(p.wait_code, '') <> '{WaitCode.PLATFORM_WALLET}' "
        f"{_BY} ORDER BY since, m.id LIMIT :most"
    )


def _asked(_: str) -> str:
    """One for each question: it is decided one by one."""
    return (
        f"s.id AS subject_id, s.id AS settlement_id, m.id AS machine_id, "
        f"{MACHINE_NAME}, m.operator_user_id AS operator, m.fiat_code AS currency, "
        "1 AS count, k.created_at AS since, s.platform_fee_sats AS sats, k.kind, "
        f"{cents_sql('s.fiat_amount')} AS cents "
        f"FROM {S}.dca_consents k JOIN {S}.dca_settlements s ON s.id = k.settlement_id "
        f"JOIN {S}.dca_machines m ON m.id = k.machine_id "
        "WHERE k.state = 'open' AND k.expires_at > :now "
        "ORDER BY k.created_at, k.id LIMIT :most"
    )


def _reversals(_: str) -> str:
    return (
        "d.id AS subject_id, d.client_id, m.id AS machine_id, "
        f"{MACHINE_NAME}, m.operator_user_id AS operator, d.currency, "
        "1 AS count, d.reversal_at AS since, NULL AS sats, "
        f"{cents_sql('COALESCE(d.reversal_amount, d.amount)')} AS cents "
        f"FROM {S}.dca_deposits d JOIN {S}.dca_machines m ON m.id = d.machine_id "
        "WHERE d.reversal_state = 'requested' AND d.status = 'confirmed' "
        "ORDER BY d.reversal_at, d.id LIMIT :most"
    )


def _cash(row: Row) -> str:
    return money(int(row["cents"]), row["currency"])


LOOK = "Look at what the operator did, and ask them."
KINDS = (
    Kind(
        "asked",
        "settlement",
        "Decide it, if they cannot agree.",
        _asked,
        lambda r: (
            f"{r['machine']}: the operator asks for the yes of who is owed by a sale "
            f"of {_cash(r)}."
        ),
    ),
    Kind(
        "reversal",
        "deposit",
        "Decide it, if they cannot agree.",
        _reversals,
        lambda r: (
            f"{r['machine']}: the operator asks to take {_cash(r)} of a deposit back."
        ),
    ),
    Kind(
        "fees_late",
        "machine",
        "Look at why they wait.",
        _late_fees,
        lambda r: (
            f"{r['machine']}: fees waiting for more than an hour: {r['count']}, "
            f"{r['sats']} sat in all."
        ),
    ),
    Kind(
        "fee_off",
        "machine",
        "Look at what customers were charged.",
        _settlements("s.marks LIKE '%,fee_off,%'", "ABS(s.fee_mismatch_sats)"),
        lambda r: (
            f"{r['machine']}: sales charged off the fees in force, in 30 days: "
            f"{r['count']}, by {r['sats']} sat in all."
        ),
    ),
    Kind(
        "voided",
        "machine",
        LOOK,
        _settlements(
            "s.status = 'voided' AND COALESCE(s.quarantine_code, '') <> 'past'",
            "s.platform_fee_sats",
            "s.processed_at",
        ),
        lambda r: (
            f"{r['machine']}: sales given up in 30 days: {r['count']}, of {_cash(r)} "
            f"in all, and {r['sats']} sat of your share with them."
        ),
    ),
    Kind(
        "resolved",
        "machine",
        LOOK,
        _settlements("s.resolved_sats IS NOT NULL", "s.resolved_sats", "s.created_at"),
        lambda r: (
            f"{r['machine']}: sales resolved with other figures than the machine's, "
            f"in 30 days: {r['count']}, of {_cash(r)} in all: {r['sats']} sat less of "
            "your share."
        ),
    ),
    Kind(
        "tests",
        "machine",
        LOOK,
        _settlements("s.is_test = true", "s.platform_fee_sats"),
        lambda r: (
            f"{r['machine']}: sales marked as tests in 30 days: {r['count']}, of "
            f"{_cash(r)} in all, with {r['sats']} sat of your share."
        ),
    ),
    Kind(
        "refunds_by_word",
        "machine",
        LOOK,
        _settlements(
            "s.dispense_state = 'partial' AND s.dispensed_by IS NOT NULL "
            "AND s.dispensed_by <> 'machine'",
            "s.refund_sats",
        ),
        lambda r: (
            f"{r['machine']}: by the operator's word customers are owed {r['sats']} "
            f"sat, in 30 days, by sales: {r['count']}, of {_cash(r)} in all."
        ),
    ),
)


async def platform_rows(
    conn: Connection, now: datetime, most: int
) -> Sequence[tuple[Kind, list[Row]]]:
    """The rows of each kind, oldest first, at most so many of a kind."""
    params = {
        "now": db_time(now),
        "fees_late": db_time(now - FEES_LATE),
        "looks_back": db_time(now - LOOKS_BACK),
        "most": most,
    }
    found: list[tuple[Kind, list[Row]]] = []
    for kind in KINDS:
        sql = kind.sql("")
        used = {k: v for k, v in params.items() if f":{k}" in sql}
        found.append((kind, await notices_crud.items(conn, sql, used)))
    return found
