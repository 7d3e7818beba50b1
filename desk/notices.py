"""Telling people: one message for a cause, again each day while it lasts, then closed.

What may be told is what `attention.py` shows (and a bay that runs low), plus what LPs
are told: a deposit confirmed and, if they want, each payout. Who wants to be told of
what, and when, is in `told.py`; the messages are sent by `outbox.py`.

Guaranteed: one cause is one row, whichever process looks; its message is written in
the transaction that opens it or repeats it, so that a crash neither loses nor doubles
it.
Not guaranteed: that a message arrives. Whoever is told can also see it in the overview.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lnbits.db import Connection

from ..base.currencies import money
from ..base.database import (
    db,
    db_time,
    from_db_time,
    transaction,
)
from ..books.reports import own_machines_sql
from ..host.people import super_user
from ..models import CASH_IN, Preferences, utc_now
from ..parties.names import quoted
from ..parties.preferences_crud import all_wishes
from . import notices_crud, outbox_crud
from .attention import GRACE_PERIODS, KINDS, moments
from .cash_attention import TOLD_OF_CASH, cash_rows
from .gone import Gone, read_gone
from .kinds import Kind
from .notices_crud import Helper
from .outbox import message_of, work
from .party_news import party_news
from .told import KINDS_OF_ROLE, NOTIFIED_KINDS, SALE, is_told
from .unstamped import read_unstamped

S = "satoshimachine"
REPEAT_INTERVAL = timedelta(days=1)
# A cause that comes and goes is told once an hour at most.
COOLDOWN = timedelta(hours=1)
# LPs are told of what happened within this time; older news is no news.
NEWS_WINDOW = timedelta(days=1)
RETENTION = timedelta(days=30)


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
        wishes = await all_wishes(conn)
        causes = await _operators_causes(conn, now)
        causes += await _deposits_confirmed(conn, now)
        causes += await _payouts_received(conn, now)
        causes += await _sales(conn, wishes, now)
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
    causes = [c for c in causes if is_told(wishes.get(c.user_id), c.kind)]
    due = await _remember(causes, wishes, now)
    if due:
        work.set()
    return len(due)


# ------------------------------------------------------------------------- the causes


async def _operators_causes(conn: Connection, now: datetime) -> list[Cause]:
    everybody = own_machines_sql(True)
    owners = await notices_crud.owners_of_machines(conn)
    helpers = await notices_crud.helpers(conn)
    causes = []
    for kind in KINDS:
        if kind.name not in NOTIFIED_KINDS:
            continue
        found = await notices_crud.items(conn, kind.sql(everybody), moments(now))
        if kind.name in GRACE_PERIODS:
            latest = now - GRACE_PERIODS[kind.name]
            found = [r for r in found if (from_db_time(r["since"]) or now) <= latest]
        causes += [_cause(kind, row, owners) for row in found]
        causes += _helpers_causes(kind, found, owners, helpers)
    for kind, rows in await cash_rows(conn, "", True):
        if kind.name in TOLD_OF_CASH:
            causes += [_cause(kind, r, owners, r.get("part") or "") for r in rows]
            causes += _helpers_causes(kind, rows, owners, helpers)
    return causes


def _helpers_causes(
    kind: Kind,
    rows: Sequence[Mapping[str, Any]],
    owners: Mapping[str, str],
    helpers: Sequence[Helper],
) -> list[Cause]:
    """The same for those who work for the operator, of what their role may know."""
    return [
        replace(cause, key=f"{cause.key}:{who.user_id}", user_id=who.user_id)
        for row in rows
        for cause in [_cause(kind, row, owners, row.get("part") or "")]
        for who in helpers
        if who.operator == cause.user_id
        and kind.name in KINDS_OF_ROLE[who.role]
        and (who.machine_ids is None or cause.machine_id in who.machine_ids)
    ]


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


async def _sales(
    conn: Connection, wishes: Mapping[str, Preferences], now: datetime
) -> list[Cause]:
    """One piece of news for each payment to a machine whose operator asked for them."""
    asking = [user for user, they in wishes.items() if is_told(they, SALE)]
    found = await notices_crud.sales(conn, asking, now - NEWS_WINDOW) if asking else []
    return [
        Cause(
            key=f"sale:{row['id']}",
            kind=SALE,
            user_id=row["operator_user_id"],
            message=_sale_sentence(row),
            subject_type="settlement",
            subject_id=row["id"],
            machine_id=row["machine_id"],
            is_news=True,
        )
        for row in found
    ]


def _sale_sentence(row: Mapping[str, Any]) -> str:
    amount = money(int(row["cents"] or 0), row["fiat_code"])
    sats = abs(int(row["wire_sats"]))
    if row["tx_type"] == CASH_IN:
        return f"{row['machine']}: a customer brought {amount} for {sats} sat."
    return f"{row['machine']}: a customer paid {sats} sat for {amount}."


# -------------------------------------------------------------------------- the memory


class Changes(NamedTuple):
    """What became of the causes since they were last looked at."""

    due: list[Cause]
    known: Mapping[str, Mapping[str, Any]]
    over: list[str]


async def _remember(
    causes: Sequence[Cause], wishes: Mapping[str, Preferences], now: datetime
) -> list[Cause]:
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
        await outbox_crud.put(conn, [_message(cause, wishes, now) for cause in due])
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


def _message(
    cause: Cause, wishes: Mapping[str, Preferences], now: datetime
) -> outbox_crud.Message:
    they = wishes.get(cause.user_id)
    return message_of(cause.user_id, cause.kind, cause.key, cause.message, they, now)
