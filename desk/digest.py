"""A day summed up in one message, for each who asked for it.

Guaranteed: one a day and person, by its id, whichever process writes it and however
often; a day whose hour passed while nothing ran is told when something runs again, on
that same day. Yesterday is their own: from midnight to midnight of their zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.currencies import money
from ..base.database import db
from ..books import digest as books
from ..host.people import super_user
from ..models import Preferences
from . import outbox_crud as sql
from .outbox_crud import SKIPPED, Message
from .told import digest_moment, zone_of

DIGEST = "digest"
# no use afterwards
LASTS = timedelta(hours=20)
MOST_LISTED = 3
MOST_LETTERS = 200


def digest_id(user_id: str, preferences: Preferences, now: datetime) -> str:
    return f"digest:{user_id}:{zone_of(preferences).day_of(now).isoformat()}"


async def digests_due(
    wishes: Mapping[str, Preferences], now: datetime
) -> tuple[list[Message], datetime | None]:
    """Those of today whose hour has come and that are not written yet, and when the
    next one's does."""
    due: dict[str, tuple[str, datetime]] = {}
    soonest: list[datetime] = []
    for user_id, preferences in wishes.items():
        at = digest_moment(preferences, now)
        if at is None:
            continue
        if at <= now:
            due[digest_id(user_id, preferences, now)] = (user_id, at)
            tomorrow = digest_moment(preferences, now + timedelta(days=1))
            at = tomorrow or at
        soonest.append(at)
    found = []
    if due:
        async with db.connect() as conn:
            present = await sql.present(conn, due)
        for key in sorted(set(due) - present):
            user_id, at = due[key]
            text = await _text(user_id, wishes[user_id], now)
            found.append(_message(key, user_id, text, now))
    return found, min(soonest, default=None)


def _message(key: str, user_id: str, text: str, now: datetime) -> Message:
    return Message(
        id=key,
        user_id=user_id,
        kind=DIGEST,
        cause=key,
        text=text,
        created_at=now,
        next_try_at=now,
        give_up_at=now + LASTS,
    )


async def skip_today(
    conn: Connection, user_id: str, preferences: Preferences, now: datetime
) -> None:
    """Who asks for it in the evening has it from tomorrow on."""
    at = digest_moment(preferences, now)
    if at is None or at > now:
        return
    message = _message(digest_id(user_id, preferences, now), user_id, "", now)
    message.status, message.ended_at = SKIPPED, now
    await sql.put(conn, [message])


async def _text(user_id: str, preferences: Preferences, now: datetime) -> str:
    """Yesterday, and what waits now."""
    zone = zone_of(preferences)
    today = zone.day_of(now)
    yesterday = today - timedelta(days=1)
    hours = (zone.start_of(yesterday), zone.start_of(today))
    parts = [f"{yesterday.isoformat()} in {zone.name}."]
    async with db.connect() as conn:
        roles = await sql.roles_of(conn, user_id)
        if roles.get("operator"):
            parts += _sold(await books.sold(conn, user_id, False, *hours), "operator")
        if roles.get("lp"):
            parts += _received(await books.received(conn, user_id, *hours))
        if user_id == super_user():
            parts += _sold(await books.sold(conn, user_id, True, *hours), "platform")
        waiting = await sql.open_causes(conn, user_id)
    return "\n".join([*parts, *_waits([row["message"] for row in waiting])])


def _sold(rows: Iterable[Mapping[str, Any]], whose: str) -> list[str]:
    """A line a currency; `whose` fees are named."""
    who, fees = (
        ("All operators", "the platform's share")
        if whose == "platform"
        else ("Your machines", "your fees")
    )
    return [
        f"{who}: {row['n']} trades, {money(int(row['cents'] or 0), row['currency'])}, "
        f"{fees} {int(row[whose] or 0)} sat."
        for row in rows
    ] or [f"{who}: no trades."]


def _received(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        f"You received {int(row['sats'])} sat for "
        f"{money(int(row['cents'] or 0), row['currency'])}."
        for row in rows
    ] or ["You received nothing."]


def _waits(messages: list[str]) -> list[str]:
    if not messages:
        return ["Nothing waits for you."]
    listed = [_cut(message) for message in messages[:MOST_LISTED]]
    left = len(messages) - len(listed)
    more = [f"And {left} more: open Satoshi Machine."] if left else []
    return [f"{len(messages)} wait for you:", *listed, *more]


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
