"""Telling people: one message for a cause, again each day while it lasts, then closed.

What may be told is what `attention.py` shows (and a bay that runs low), plus what LPs
are told: a deposit confirmed and, if they want, each payout. Messages go through
LNbits' own notifications (e-mail, Nostr, Telegram, as each user set them up).

Guaranteed: one cause is one row, whichever process looks; it is marked as told before
it is told, so that a crash repeats nothing.
Not guaranteed: that a message arrives. Whoever is told can also see it in the overview.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection
from loguru import logger

from ..base.currencies import money
from ..base.database import (
    CHUNK,
    cents_sql,
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    from_db_time,
    in_list,
    insert_sql,
    transaction,
)
from ..books.reports import own_machines_sql
from ..cash import bays as cash
from ..host.notices import tell_administrator, tell_user
from ..host.people import super_user
from ..models import utc_now
from ..parties.names import quoted
from .attention import KINDS, LOW_CASH, Kind, moments
from .party_news import party_news

S = "satoshimachine"
REPEAT_INTERVAL = timedelta(days=1)
# A cause that comes and goes is told once an hour at most.
COOLDOWN = timedelta(hours=1)
# LPs are told of what happened within this time; older news is no news.
NEWS_WINDOW = timedelta(days=1)
RETENTION = timedelta(days=30)
# A wallet may be short for a moment between two payments.
GRACE_PERIODS = {"wallet_short": timedelta(minutes=2)}
NOTIFIED_KINDS = (
    "payouts_stopped",
    "leg_failed",
    "quarantined",
    "dispense",
    "wallet_short",
    "offline",
    "balance_used_up",
)
# Telegram reads these as formatting, and refuses a message with half of a pair.
_MARKUP = str.maketrans(dict.fromkeys("*_`[]{}", " "))


@dataclass(frozen=True)
class Cause:
    """Why somebody is told something; `key` is the same as long as it lasts."""

    key: str
    kind: str
    user_id: str
    message: str
    subject_type: str
    subject_id: str
    machine_id: str | None = None
    is_news: bool = False


async def run_notices(trouble: Mapping[str, str] | None = None) -> int:
    """Find the causes of now, open and close them, tell people; how many were told.

    `trouble` is what the super has to know, by name. For the engine, every minute.
    """
    now = utc_now()
    async with db.connect() as conn:
        causes = await _operators_causes(conn, now)
        causes += await _deposits_confirmed(conn, now)
        causes += await _payouts_received(conn, now)
        news = await party_news(conn, now - NEWS_WINDOW, super_user())
    causes += [Cause(**n._asdict(), is_news=True) for n in news]
    causes += [_trouble(name, text) for name, text in (trouble or {}).items()]
    due = await _remember(causes, now)
    for cause in due:
        await _tell(cause)
    return len(due)


# ------------------------------------------------------------------------- the causes


async def _operators_causes(conn: Connection, now: datetime) -> list[Cause]:
    everybody = own_machines_sql(True)
    owners = {
        row["id"]: row["operator_user_id"]
        for row in await fetch_all(
            conn, f"SELECT id, operator_user_id FROM {S}.dca_machines"  # noqa: S608
        )
    }
    causes = []
    for kind in KINDS:
        if kind.name not in NOTIFIED_KINDS:
            continue
        found = await fetch_all(conn, f"SELECT {kind.sql(everybody)}", moments(now))
        if kind.name in GRACE_PERIODS:
            latest = now - GRACE_PERIODS[kind.name]
            found = [r for r in found if (from_db_time(r["since"]) or now) <= latest]
        causes += [_cause(kind, row, owners) for row in found]
    for bay in await cash.low_bays(conn, everybody, {}):
        causes.append(_cause(LOW_CASH, bay.row, owners, f":{bay.position}"))
    return causes


def _cause(
    kind: Kind, row: Mapping[str, Any], owners: Mapping[str, str], part: str = ""
) -> Cause:
    return Cause(
        key=f"{kind.name}:{row['subject_id']}{part}",
        kind=kind.name,
        user_id=owners.get(row["machine_id"], ""),
        message=f"{kind.sentence(row)} {kind.action}",
        subject_type=kind.subject_type,
        subject_id=row["subject_id"],
        machine_id=row["machine_id"],
    )


def _trouble(name: str, sentence: str) -> Cause:
    return Cause(
        key=f"trouble:{name}",
        kind="trouble",
        user_id=super_user(),
        message=sentence,
        subject_type="server",
        subject_id=name,
    )


async def _deposits_confirmed(conn: Connection, now: datetime) -> list[Cause]:
    found = await fetch_all(
        conn,
        f"""
        SELECT d.id, d.machine_id, d.currency, c.user_id,
            {cents_sql("d.amount")} AS cents,
            COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine
        FROM {S}.dca_deposits d
        JOIN {S}.dca_clients c ON c.id = d.client_id
        JOIN {S}.dca_machines m ON m.id = d.machine_id
        WHERE d.status = 'confirmed' AND d.confirmed_at >= :since
        """,  # noqa: S608
        {"since": db_time(now - NEWS_WINDOW)},
    )
    return [
        Cause(
            key=f"deposit_confirmed:{row['id']}",
            kind="deposit_confirmed",
            user_id=row["user_id"],
            message=(
                f"{quoted(row['machine'])}: your deposit of "
                f"{money(int(row['cents']), row['currency'])} is confirmed and "
                "at work."
            ),
            subject_type="deposit",
            subject_id=row["id"],
            machine_id=row["machine_id"],
            is_news=True,
        )
        for row in found
    ]


async def _payouts_received(conn: Connection, now: datetime) -> list[Cause]:
    """One piece of news for each payment to an LP who wants to hear of them."""
    found = await fetch_all(
        conn,
        f"""
        SELECT o.id, p.machine_id, c.user_id, m.fiat_code,
            COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine,
            SUM(p.amount_sats) AS sats, SUM({cents_sql("p.amount_fiat")}) AS cents
        FROM {S}.dca_payouts o
        JOIN {S}.dca_payments p ON p.payout_id = o.id
        JOIN {S}.dca_clients c ON c.id = p.client_id
        JOIN {S}.dca_lp l ON l.user_id = c.user_id
        JOIN {S}.dca_machines m ON m.id = p.machine_id
        WHERE o.paid_at >= :since AND o.status = 'paid' AND p.status = 'completed'
          AND p.leg_type IN ('dca', 'settlement') AND l.notify_payouts = true
        GROUP BY o.id, p.machine_id, c.user_id, m.fiat_code, m.name, m.machine_npub
        """,  # noqa: S608
        {"since": db_time(now - NEWS_WINDOW)},
    )
    return [
        Cause(
            key=f"payout:{row['id']}:{row['machine_id']}:{row['user_id']}",
            kind="payout",
            user_id=row["user_id"],
            message=(
                f"{quoted(row['machine'])}: you received {row['sats']} sat for "
                f"{money(int(row['cents'] or 0), row['fiat_code'])}."
            ),
            subject_type="payout",
            subject_id=row["id"],
            machine_id=row["machine_id"],
            is_news=True,
        )
        for row in found
    ]


# -------------------------------------------------------------------------- the memory


async def _remember(causes: Sequence[Cause], now: datetime) -> list[Cause]:
    """Open, repeat and close causes in one transaction; those to be told now."""
    by_key = {cause.key: cause for cause in causes}
    async with transaction() as conn:
        # two processes that both take themselves for the engine tell once
        await execute(
            conn,
            f"UPDATE {S}.dca_locks SET n = n + 0 WHERE id = 'ledger'",  # noqa: S608
        )
        known = await _known(conn, by_key)
        due = [c for c in by_key.values() if _is_due(c, known.get(c.key), now)]
        fresh = [c for c in due if c.key not in known]
        await execute_many(
            conn,
            insert_sql("dca_notices", _COLUMNS),
            [_row(cause, now) for cause in fresh],
        )
        await execute_many(
            conn,
            f"""
            UPDATE {S}.dca_notices SET told_at = :now, times = times + 1,
                message = :message, closed_at = NULL,
                opened_at = CASE WHEN closed_at IS NULL THEN opened_at ELSE :now END
            WHERE cause = :cause
            """,  # noqa: S608
            [
                {"cause": c.key, "message": c.message, "now": db_time(now)}
                for c in due
                if c.key in known
            ],
        )
        over = [
            key
            for key, row in known.items()
            if row["closed_at"] is None and key not in by_key
        ]
        await execute_many(
            conn,
            f"UPDATE {S}.dca_notices SET closed_at = :now "  # noqa: S608
            "WHERE cause = :cause",
            [{"cause": key, "now": db_time(now)} for key in over],
        )
        await execute(
            conn,
            f"DELETE FROM {S}.dca_notices WHERE closed_at < :before",  # noqa: S608
            {"before": db_time(now - RETENTION)},
        )
    return due


async def _known(conn: Connection, keys: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """The rows of these causes, and of all that are open."""
    columns = "cause, told_at, closed_at"
    found = {
        row["cause"]: row
        for row in await fetch_all(
            conn,
            f"SELECT {columns} FROM {S}.dca_notices "  # noqa: S608
            "WHERE closed_at IS NULL",
        )
    }
    others = sorted(set(keys) - set(found))
    for start in range(0, len(others), CHUNK):
        params: dict[str, Any] = {}
        listed = in_list("k", others[start : start + CHUNK], params)
        for row in await fetch_all(
            conn,
            f"SELECT {columns} FROM {S}.dca_notices "  # noqa: S608
            f"WHERE cause IN {listed}",
            params,
        ):
            found[row["cause"]] = row
    return found


def _is_due(cause: Cause, row: Mapping[str, Any] | None, now: datetime) -> bool:
    if row is None:
        return True
    if cause.is_news:
        return False
    told_at = from_db_time(row["told_at"]) or now
    return told_at <= now - (REPEAT_INTERVAL if row["closed_at"] is None else COOLDOWN)


_COLUMNS = (
    "cause",
    "kind",
    "user_id",
    "machine_id",
    "subject_type",
    "subject_id",
    "message",
    "opened_at",
    "told_at",
    "times",
    "closed_at",
)


def _row(cause: Cause, now: datetime) -> dict[str, Any]:
    return {
        "cause": cause.key,
        "kind": cause.kind,
        "user_id": cause.user_id,
        "machine_id": cause.machine_id,
        "subject_type": cause.subject_type,
        "subject_id": cause.subject_id,
        "message": cause.message,
        "opened_at": db_time(now),
        "told_at": db_time(now),
        "times": 1,
        # news is over once it is told
        "closed_at": db_time(now) if cause.is_news else None,
    }


# ------------------------------------------------------------------------- the telling


async def _tell(cause: Cause) -> None:
    """Hand a message to LNbits, which sends it in the background."""
    message = f"Satoshi Machine: {cause.message}".translate(_MARKUP)
    if cause.kind == "trouble":
        await tell_administrator(message)
        return
    if not await tell_user(cause.user_id, message):
        logger.warning(f"satmachineadmin: nobody to tell of {cause.key}")
