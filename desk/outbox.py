"""Sending people what they are told, beside everything else.

Guaranteed: a message that was written with its cause is handed to every channel that
its reader has set, at the earliest when their quiet hours are over, and tried again
with growing pauses for a day until one of the channels took it. At least once: who dies
between the channel's yes and its row sends again, `CLAIMED` later. What came together
in quiet hours, or too much at once, goes as one message, in order, with its hours. No
payment waits for anything here: nothing is held while a channel is spoken to but a row
that nobody else wants.
Not guaranteed: exactly once, nor that a channel which took a message brought it. Who
has set no channel is told nothing, and sees it on their pages.

At rest: nothing is asked while nobody writes and nothing is due.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from lnbits.helpers import urlsafe_short_hash

from ..base.database import db, transaction
from ..base.events import wait_for_event
from ..base.refusals import ConflictError
from ..base.zones import Zone
from ..host import notices as host
from ..host import written
from ..host.notices import Channel
from ..models import Preferences, utc_now
from ..parties.preferences_crud import all_wishes
from . import outbox_crud as sql
from .digest import DIGEST, digests_due
from .outbox_crud import GIVEN_UP, NO_CHANNEL, SENT, TESTED, WAITING, Claimed, Message
from .told import held_until, zone_of

TROUBLE, TEST = "trouble", "test"
LASTS = timedelta(days=1)
KEPT = timedelta(days=30)
CLAIMED = timedelta(minutes=5)
# a person more than this at once is told in one message
MOST_AT_ONCE = 5
# of such a message: a line each, and what Telegram takes is 4096
MOST_LINES, MOST_LETTERS = 20, 3_500
PARALLEL = 4
POLL_SECONDS = 5.0
FORGET_SECONDS = 3_600
TEST_EVERY = timedelta(minutes=1)
# Telegram reads these as formatting, and refuses a message with half of a pair.
_MARKUP = str.maketrans(dict.fromkeys("*_`[]{}", " "))
# something is written to be sent
work = asyncio.Event()


def message_of(
    user_id: str,
    kind: str,
    cause: str,
    text: str,
    preferences: Preferences | None,
    now: datetime,
) -> Message:
    """A message as it is kept: to go now, or when their quiet hours are over."""
    until = held_until(preferences, now)
    at = until or now
    return Message(
        id=urlsafe_short_hash(),
        user_id=user_id,
        kind=kind,
        cause=cause,
        text=text,
        created_at=now,
        is_held=until is not None,
        next_try_at=at,
        give_up_at=at + LASTS,
    )


def backoff(attempts: int) -> timedelta:
    """A minute after the first failure, doubling, at most an hour."""
    return timedelta(minutes=min(2 ** min(attempts - 1, 20), 60))


# ------------------------------------------------------------------------- in one piece


class Parcel(NamedTuple):
    """What goes as one message."""

    messages: Sequence[Claimed]
    text: str


def parcels(messages: Sequence[Claimed], zone: Zone) -> list[Parcel]:
    """Of one person and one kind of channels, oldest first. Each is a message of its
    own, but what was held goes in one, and so does what would be too many."""
    is_many = len(messages) > MOST_AT_ONCE
    together = [m for m in messages if m.kind != DIGEST and (m.is_held or is_many)]
    alone = [m for m in messages if m not in together]
    if len(together) == 1:
        together, alone = [], list(messages)
    found = [Parcel([m], m.text) for m in alone]
    if together:
        found.insert(0, Parcel(together, _in_one(together, zone)))
    return found


def _in_one(messages: Sequence[Claimed], zone: Zone) -> str:
    lines: list[str] = []
    letters = 0
    for message in messages:
        line = f"{zone.local(message.created_at):%H:%M} {message.text}"
        if message.closed_at and message.closed_at > message.created_at:
            line += f" (Over since {zone.local(message.closed_at):%H:%M}.)"
        if len(lines) == MOST_LINES or letters + len(line) > MOST_LETTERS:
            left = len(messages) - len(lines)
            lines.append(f"And {left} more: open Satoshi Machine.")
            break
        lines.append(line)
        letters += len(line) + 1
    return "\n".join([f"{len(messages)} messages.", *lines])


# ----------------------------------------------------------------------------- sending


async def deliver(user_id: str, preferences: Preferences | None, holder: str) -> None:
    """Tell one person what is due; what came of it is kept."""
    now = utc_now()
    token = urlsafe_short_hash()
    async with transaction() as conn:
        claimed = await sql.claim(conn, user_id, now, now + CLAIMED, token, holder)
    if not claimed:
        return
    zone = zone_of(preferences)
    trouble = [m for m in claimed if m.kind == TROUBLE]
    own = [m for m in claimed if m.kind != TROUBLE]
    if trouble:
        await _send(token, parcels(trouble, zone), host.administrators_channels())
    if own:
        await _send(token, parcels(own, zone), await host.channels_of(user_id))


async def _send(
    token: str, parcels_: Iterable[Parcel], channels: Sequence[Channel]
) -> None:
    for parcel in parcels_:
        said = await host.send(channels, shown(parcel.text))
        await _keep(token, parcel, said)


def shown(text: str) -> str:
    return f"Satoshi Machine: {text}".translate(_MARKUP)


async def _keep(token: str, parcel: Parcel, said: Mapping[str, str]) -> None:
    now = utc_now()
    first = parcel.messages[0]
    status, again = WAITING, now + backoff(max(m.attempts for m in parcel.messages))
    if not said:
        status = NO_CHANNEL
    elif host.SENT in said.values():
        status = SENT
    elif now >= first.give_up_at:
        status = GIVEN_UP
    # the last try is when its time is over
    again = max(now, min(again, first.give_up_at))
    ids = [message.id for message in parcel.messages]
    async with transaction() as conn:
        text = json.dumps(dict(said), sort_keys=True) if said else None
        await sql.finish(conn, token, ids, status, text, now, again)


async def send_test(user_id: str) -> dict[str, str]:
    """Send this person a message that tells of nothing, now, whatever the hour; what
    came of it, by channel that they have. ConflictError for two within a minute."""
    now = utc_now()
    text = "This is a test. You will be told what happens at your machines like this."
    test = message_of(user_id, TEST, "test", text, None, now)
    test.status, test.ended_at = TESTED, now
    async with transaction() as conn:
        if await sql.last_test(conn, user_id, now - TEST_EVERY):
            raise ConflictError("You have just sent a test: wait a minute.")
        await sql.put(conn, [test])
    return await host.send(await host.channels_of(user_id), shown(text))


# ---------------------------------------------------------------------------- the loop


@dataclass
class Outbox:
    """What one process knows of what waits to be sent."""

    rest: written.Rest = field(default_factory=written.Rest)
    # when something is due that waits for its time alone
    soonest: datetime | None = None
    forgotten_at: datetime | None = None

    async def turn(self, holder: str) -> None:
        """Write the digests whose hour it is, send what is due, and wait a moment. For
        the engine."""
        is_called = work.is_set()
        work.clear()
        position = written.known()  # before anything is read
        is_due = self.soonest is not None and self.soonest <= utc_now()
        if is_called or is_due or not self.rest.may_go_on(position):
            is_done = await self.send_due(holder)
            self.rest.looked(position, is_done=is_done)
        await wait_for_event(work, POLL_SECONDS)

    async def send_due(self, holder: str) -> bool:
        """Whether nothing was due."""
        now = utc_now()
        async with db.connect() as conn:
            wishes = await all_wishes(conn)
        digests, next_digest = await digests_due(wishes, now)
        if digests:
            async with transaction() as conn:
                await sql.put(conn, digests)
        async with db.connect() as conn:
            users, next_message = await sql.due(conn, now, holder)
        moments = [at for at in (next_digest, next_message) if at]
        self.soonest = min(moments, default=None)
        room = asyncio.Semaphore(PARALLEL)

        async def one(user_id: str) -> None:
            async with room:
                await deliver(user_id, wishes.get(user_id), holder)

        await asyncio.gather(*(one(user_id) for user_id in users))
        if users:
            await self._forget(now)
        return not users

    async def _forget(self, now: datetime) -> None:
        since = self.forgotten_at
        if since and now - since < timedelta(seconds=FORGET_SECONDS):
            return
        self.forgotten_at = now
        async with transaction() as conn:
            await sql.forget(conn, now - KEPT)


outbox = Outbox()
