"""The statements behind `attention.py`: for each kind the rows that are in its state,
and what of the platform's own waits. A builder takes the SQL of whose machines are
meant and returns a SELECT's text behind the word, ordered, without its limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lnbits.db import SQLITE, Connection

from ..base.database import db, fetch_all, fetch_one
from ..base.lease import engine_lives_sql
from ..books.payments import UNNAMED_ERROR
from ..books.reports import own_machines_sql
from ..models import WaitCode
from ..parties.lps_crud import deposited_cents_sql
from .kinds import MACHINE_NAME, Kind, Row

S = "satoshimachine"

_OF_SETTLEMENT = (
    f"s.id AS subject_id, s.id AS settlement_id, s.machine_id, {MACHINE_NAME}, "
    "s.transaction_time AS since, s.wire_sats, s.error_message, s.status, "
    "s.wire_sats - s.network_fee_sats AS arrived_sats, s.principal_sats "
    f"FROM {S}.dca_settlements s JOIN {S}.dca_machines m ON m.id = s.machine_id "
)


def settlements(condition: str) -> Callable[[str], str]:
    return lambda own: (
        f"{_OF_SETTLEMENT} WHERE s.machine_id IN {own} AND {condition} "
        "ORDER BY s.transaction_time, s.id"
    )


def never_dispensed(own: str) -> str:
    """Sales whose dispense nobody reported; and since when every bay was counted by a
    person, as far back as the oldest of these counts."""
    return f"""
        (SELECT MIN(COALESCE((SELECT MAX(c.at) FROM {S}.cash_counts c
                WHERE c.machine_id = k.machine_id AND c.source = 'person'
                  AND c.place = 'bay:' || k.position), :never))
            FROM {S}.cassette_configs k
            WHERE k.machine_id = s.machine_id AND k.denomination > 0) AS counted_at,
        {_OF_SETTLEMENT} WHERE s.machine_id IN {own} AND
            ((s.status = 'awaiting_dispense'
                AND s.transaction_time < :since_dispense)
            OR (s.status = 'attention' AND s.planned_at IS NULL
                AND s.dispense_state = 'awaiting'))
        ORDER BY s.transaction_time, s.id
    """  # noqa: S608


def legs(condition: str) -> Callable[[str], str]:
    return lambda own: (
        f"p.id AS subject_id, p.settlement_id, p.machine_id, {MACHINE_NAME}, "
        f"p.created_at AS since, p.amount_sats, {UNNAMED_ERROR} AS error_message, "
        "p.leg_type, p.label "
        f"FROM {S}.dca_payments p JOIN {S}.dca_machines m ON m.id = p.machine_id "
        f"WHERE p.machine_id IN {own} AND p.leg_type <> 'autoforward' AND {condition} "
        "ORDER BY p.created_at, p.id"
    )


# The wallet lacks sats; an older row has no word for why it waits.
SHORT = "COALESCE(p.wait_code, 'wallet_short') IN ('wallet_short', 'free_balance')"
# What is not due, what gathers for a larger payout, what a reconciliation holds up, and
# what waits for an earlier payment that failed: each is said elsewhere, or is as it
# should be.
OTHERWISE = (
    "COALESCE(p.wait_code, 'wallet_short') NOT IN ('wallet_short', 'free_balance', "
    "'platform_wallet', 'unclaimed', 'gathering', 'stopped', 'backing_off')"
)


def waiting(why: str) -> Callable[[str], str]:
    """Payments that were due and could not begin, by machine; since the first try, not
    since their birth: those of an hourly machine are not late before their hour. What
    is in a payout waits for nothing."""
    return lambda own: (
        f"p.machine_id AS subject_id, p.machine_id, {MACHINE_NAME}, "
        "MIN(COALESCE(p.waits_since, p.created_at)) AS since, "
        # PostgreSQL's sum of integers is a decimal, which may be said as 5E+4
        "CAST(SUM(p.amount_sats) AS BIGINT) AS amount_sats, "
        "MAX(p.error_message) AS error_message "
        f"FROM {S}.dca_payments p JOIN {S}.dca_machines m ON m.id = p.machine_id "
        f"WHERE p.machine_id IN {own} AND p.status = 'pending' AND p.attempts = 0 "
        "AND p.payout_id IS NULL AND p.leg_type NOT IN ('autoforward', 'refund') "
        f"AND p.error_message IS NOT NULL AND {why} "
        "GROUP BY p.machine_id, m.name, m.machine_npub ORDER BY since"
    )


def past(own: str) -> str:
    """All payments of a machine that are older than its wallet's registration: one."""
    return (
        f"s.machine_id AS subject_id, s.machine_id, {MACHINE_NAME}, "
        "MIN(s.transaction_time) AS since, COUNT(*) AS payments, "
        "CAST(SUM(s.wire_sats) AS BIGINT) AS amount_sats "
        f"FROM {S}.dca_settlements s JOIN {S}.dca_machines m ON m.id = s.machine_id "
        f"WHERE s.machine_id IN {own} AND s.status = 'quarantined' "
        "AND s.quarantine_code = 'past' "
        "GROUP BY s.machine_id, m.name, m.machine_npub ORDER BY since"
    )


def clients(condition: str) -> Callable[[str], str]:
    return lambda own: (
        f"c.id AS subject_id, c.id AS client_id, c.machine_id, {MACHINE_NAME}, "
        "c.updated_at AS since, COALESCE(c.username, c.id) AS lp "
        f"FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id "
        f"WHERE c.machine_id IN {own} AND c.status = 'active' AND {condition} "
        "ORDER BY c.updated_at, c.id"
    )


def pending_deposits(own: str) -> str:
    return (
        "d.id AS subject_id, d.client_id, d.machine_id, d.created_at AS since, "
        f"{MACHINE_NAME}, COALESCE(c.username, c.id) AS lp, d.currency, "
        "CAST(ROUND(d.amount * 100) AS BIGINT) AS cents "
        f"FROM {S}.dca_deposits d JOIN {S}.dca_machines m ON m.id = d.machine_id "
        f"LEFT JOIN {S}.dca_clients c ON c.id = d.client_id "
        f"WHERE d.machine_id IN {own} AND d.status IN ('pending', 'claimed') "
        "ORDER BY d.created_at, d.id"
    )


def disputed_deposits(own: str) -> str:
    return (
        "d.id AS subject_id, d.client_id, d.machine_id, d.dispute_opened_at AS since, "
        f"{MACHINE_NAME}, COALESCE(c.username, c.id) AS lp, d.currency, "
        "CAST(ROUND(d.amount * 100) AS BIGINT) AS cents "
        f"FROM {S}.dca_deposits d JOIN {S}.dca_machines m ON m.id = d.machine_id "
        f"LEFT JOIN {S}.dca_clients c ON c.id = d.client_id "
        f"WHERE d.machine_id IN {own} AND d.dispute_state = 'open' "
        "ORDER BY d.dispute_opened_at, d.id"
    )


def shortfalls(own: str) -> str:
    """What customers were not charged of the platform's share, by machine."""
    return (
        f"p.machine_id AS subject_id, p.machine_id, {MACHINE_NAME}, "
        "MIN(p.created_at) AS since, CAST(SUM(p.amount_sats) AS BIGINT) AS amount_sats "
        f"FROM {S}.dca_payments p JOIN {S}.dca_machines m ON m.id = p.machine_id "
        f"WHERE p.machine_id IN {own} AND p.leg_type = 'super_fee' "
        "AND p.leg_key = 'shortfall' AND p.status IN ('pending', 'failed') "
        "GROUP BY p.machine_id, m.name, m.machine_npub ORDER BY since"
    )


def fees_off(own: str) -> str:
    """Sales charged off the fees in force, by machine; the super's list has its own,
    from which no "seen" takes anything."""
    return (
        f"s.machine_id AS subject_id, s.machine_id, {MACHINE_NAME}, COUNT(*) AS count, "
        "MIN(s.transaction_time) AS since, "
        "CAST(SUM(ABS(s.fee_mismatch_sats)) AS BIGINT) AS sats "
        f"FROM {S}.dca_settlements s JOIN {S}.dca_machines m ON m.id = s.machine_id "
        f"WHERE s.machine_id IN {own} AND s.marks LIKE '%,fee_off,%' "
        "AND s.transaction_time >= :looks_back AND s.seen_at IS NULL "
        "AND s.status <> 'voided' "
        "GROUP BY s.machine_id, m.name, m.machine_npub ORDER BY since"
    )


def machines(condition: str, since: str) -> Callable[[str], str]:
    return lambda own: (
        f"m.id AS subject_id, m.id AS machine_id, {MACHINE_NAME}, {since} AS since, "
        "m.payouts_stopped_reason AS reason "
        f"FROM {S}.dca_machines m WHERE m.id IN {own} AND m.is_active = true "
        f"AND {condition} ORDER BY m.created_at, m.id"
    )


def silent_sql() -> str:
    """Not heard of for as long as the operator set for this machine."""
    if db.type == SQLITE:
        limit = "m.last_seen_at + m.silent_after_minutes * 60"
    else:
        limit = "m.last_seen_at + m.silent_after_minutes * INTERVAL '1 minute'"
    return f"m.silent_after_minutes > 0 AND {limit} < :now"


NOTHING_LEFT = (
    f"{deposited_cents_sql('c.id')} > 0 AND "  # noqa: S608
    f"{deposited_cents_sql('c.id')} <= "
    f"COALESCE((SELECT t.debited_cents FROM {S}.dca_client_totals t "
    "WHERE t.client_id = c.id), 0)"
)
NO_PROFILE = (
    f"NOT EXISTS (SELECT 1 FROM {S}.dca_lp l "  # noqa: S608
    "WHERE l.user_id = c.user_id)"
)
NEVER_USED = (
    "m.is_paired = false AND m.last_seen_at IS NULL AND NOT EXISTS ("  # noqa: S608
    f"SELECT 1 FROM {S}.dca_settlements s WHERE s.machine_id = m.id)"
)
HAS_FAILED_LEG = (
    f"EXISTS (SELECT 1 FROM {S}.dca_payments p "  # noqa: S608
    "WHERE p.settlement_id = s.id AND p.status = 'failed')"
)


async def rows_of(
    conn: Connection, kind: Kind, is_all: bool, params: dict[str, Any]
) -> list[Row]:
    """A kind's rows, at most `:most`; `params` as `attention.moments` names them."""
    sql = f"SELECT {kind.sql(own_machines_sql(is_all))} LIMIT :most"
    return await fetch_all(conn, sql, params)


async def fees_without_wallet(conn: Connection) -> Row | None:
    """How many fees wait for the platform's wallet (`n`, `sats`, `since`), if any."""
    found = await fetch_one(
        conn,
        f"""
        SELECT COUNT(*) AS n, CAST(SUM(amount_sats) AS BIGINT) AS sats,
               MIN(created_at) AS since
        FROM {S}.dca_payments WHERE status = 'pending' AND leg_type = 'super_fee'
          AND wait_code = :no_wallet
        """,  # noqa: S608
        {"no_wallet": WaitCode.PLATFORM_WALLET},
    )
    return found if found and found["n"] else None


async def line_status(conn: Connection) -> Row | None:
    """What the line said of its relays last: `status_json`, `status_at`; None while
    nobody is the engine, who would say what is new."""
    return await fetch_one(
        conn,
        f"SELECT status_json, status_at FROM {S}.dca_nostr "  # noqa: S608
        f"WHERE id = 'default' AND {engine_lives_sql()}",
    )
