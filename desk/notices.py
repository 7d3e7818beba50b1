"""Telling people: one message for a cause, again each day while it lasts, then closed.

What may be told is what `attention.py` shows (and a bay that runs low), plus what LPs
are told: a deposit confirmed and, if they want, each payout. Messages go through
LNbits' own notifications (e-mail, Nostr, Telegram, as each user set them up).

Guaranteed: one cause is one row, whichever process looks; it is marked as told before
it is told, so that a crash repeats nothing.
Not guaranteed: that a message arrives. Whoever is told can also see it in the overview.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lnbits.db import Connection
from loguru import logger

from ..base.currencies import money
from ..base.database import (
    db,
    db_time,
    from_db_time,
    transaction,
)
from ..books.reports import own_machines_sql
from ..host.notices import tell_administrator, tell_user
from ..host.people import super_user
from ..models import utc_now
from ..parties.names import quoted
from ..parties.preferences_crud import muted_kinds
from . import notices_crud
from .attention import GRACE_PERIODS, KINDS, moments
from .cash_attention import TOLD_OF_CASH, cash_rows
from .gone import Gone, read_gone
from .kinds import Kind
from .party_news import party_news
from .unstamped import read_unstamped

S = "satoshimachine"
REPEAT_INTERVAL = timedelta(days=1)
# A cause that comes and goes is told once an hour at most.
COOLDOWN = timedelta(hours=1)
# LPs are told of what happened within this time; older news is no news.
NEWS_WINDOW = timedelta(days=1)
RETENTION = timedelta(days=30)
NOTIFIED_KINDS = (
    "payouts_stopped",
    "leg_failed",
    "quarantined",
    "dispense",
    "less_arrived",
    "wallet_short",
    "payments_waiting",
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
    gone = await read_gone("", True)
    unstamped = await read_unstamped("", True)
    async with db.connect() as conn:
        causes = await _operators_causes(conn, now)
        causes += await _deposits_confirmed(conn, now)
        causes += await _payouts_received(conn, now)
        news = await party_news(conn, now - NEWS_WINDOW, super_user())
    causes += [Cause(**n._asdict(), is_news=True) for n in news]
    causes += [_gone(cause, user) for cause in gone for user in cause.tell if user]
    # told once: a top-up is no trouble to be reminded of
    causes += [
        replace(_gone(cause, user), is_news=True)
        for cause in unstamped
        for user in cause.tell
    ]
    causes += [_trouble(name, text) for name, text in (trouble or {}).items()]
    due = await _remember(causes, now)
    for cause in due:
        await _tell(cause)
    return len(due)


# ------------------------------------------------------------------------- the causes


async def _operators_causes(conn: Connection, now: datetime) -> list[Cause]:
    everybody = own_machines_sql(True)
    owners = await notices_crud.owners_of_machines(conn)
    causes = []
    for kind in KINDS:
        if kind.name not in NOTIFIED_KINDS:
            continue
        found = await notices_crud.items(conn, kind.sql(everybody), moments(now))
        if kind.name in GRACE_PERIODS:
            latest = now - GRACE_PERIODS[kind.name]
            found = [r for r in found if (from_db_time(r["since"]) or now) <= latest]
        causes += [_cause(kind, row, owners) for row in found]
    for kind, rows in await cash_rows(conn, "", True):
        if kind.name in TOLD_OF_CASH:
            causes += [_cause(kind, r, owners, r.get("part") or "") for r in rows]
    muted = await muted_kinds(conn)
    return [c for c in causes if (c.user_id, c.kind) not in muted]


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


def _gone(gone: Gone, user_id: str) -> Cause:
    return Cause(
        key=f"{gone.kind}:{gone.subject_id}:{user_id}",
        kind=gone.kind,
        user_id=user_id,
        message=f"{gone.message} {gone.action}",
        subject_type=gone.subject_type,
        subject_id=gone.subject_id,
        machine_id=gone.machine_id,
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
    found = await notices_crud.deposits_confirmed(conn, now - NEWS_WINDOW)
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
    found = await notices_crud.payouts_received(conn, now - NEWS_WINDOW)
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


class Changes(NamedTuple):
    """What became of the causes since they were last looked at."""

    due: list[Cause]
    known: Mapping[str, Mapping[str, Any]]
    over: list[str]


async def _remember(causes: Sequence[Cause], now: datetime) -> list[Cause]:
    """Open, repeat and close causes in one transaction; those to be told now. Where
    nothing changed, nothing is locked or written: an engine at rest comes by here."""
    by_key = {cause.key: cause for cause in causes}
    forget_before = now - RETENTION
    async with db.connect() as conn:
        seen = await _changes(conn, by_key, now)
        if not (seen.due or seen.over) and not await notices_crud.is_any_closed(
            conn, forget_before
        ):
            return []
    async with transaction() as conn:
        await notices_crud.lock(conn)
        due, known, over = await _changes(conn, by_key, now)
        fresh = [c for c in due if c.key not in known]
        await notices_crud.write(
            conn,
            now,
            fresh=[_row(cause, now) for cause in fresh],
            told={c.key: c.message for c in due if c.key in known},
            over=over,
            forget_before=forget_before,
        )
    return due


async def _changes(
    conn: Connection, by_key: Mapping[str, Cause], now: datetime
) -> Changes:
    known = await notices_crud.known(conn, by_key)
    due = [c for c in by_key.values() if _is_due(c, known.get(c.key), now)]
    is_open = [key for key, row in known.items() if row["closed_at"] is None]
    return Changes(due, known, [key for key in is_open if key not in by_key])


def _is_due(cause: Cause, row: Mapping[str, Any] | None, now: datetime) -> bool:
    if row is None:
        return True
    if cause.is_news:
        return False
    told_at = from_db_time(row["told_at"]) or now
    return told_at <= now - (REPEAT_INTERVAL if row["closed_at"] is None else COOLDOWN)


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
