"""Delivering events to operators' servers, beside everything else and slower than it.

Guaranteed: an event is tried until the server takes it (a 2xx), with growing pauses for
a day, then it is given up and stands in the operator's attention. One call at a time
for an operator and `PARALLEL` in all: a server that is slow or dead keeps its own
operator's events waiting, not another's. A server that failed `PATIENCE` times in a row
is left alone for longer and longer, and told everything once it takes a call. Nothing
here holds a database connection while it waits for a server, and no payment waits for
anything here.
Not guaranteed: exactly once. Who dies between a call and its row calls again, with the
same id; that of two processes the one that just lost the lease calls too, once.

At rest: nothing is asked while nobody writes and nothing is due; without a webhook one
statement a minute at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from ..base.database import db, from_db_time, transaction
from ..base.events import wait_for_event
from ..base.signing import signature_header
from ..host import outside, written
from ..models import utc_now
from . import webhooks_crud as sql
from .webhook_events import TEST, look, look_at_attention
from .webhooks import work
from .webhooks_crud import DELIVERED, FAILED, GIVEN_UP, Event, Webhook

PARALLEL = 4
# of one operator, before others have their turn
IN_A_ROW = 20
PATIENCE = 3
POLL_SECONDS = 2.0
SLOW_POLL_SECONDS = 5.0
WITHOUT_WEBHOOKS_SECONDS = 60.0
ATTENTION_SECONDS = 60.0
SIGNATURE_HEADER = "X-Satmachine-Signature"


def backoff(attempts: int) -> timedelta:
    """10 s after the first failure, doubling, at most an hour."""
    return timedelta(seconds=min(10 * 2 ** min(attempts - 1, 20), 3_600))


def pause(failures: int) -> timedelta | None:
    """How long a server is left alone after so many failures in a row."""
    if failures < PATIENCE:
        return None
    return timedelta(seconds=min(10 * 2 ** min(failures - PATIENCE, 20), 600))


def headers_of(webhook: Webhook, event: Event, now: datetime) -> dict[str, str]:
    keys = [webhook.secret]
    is_both = webhook.previous_until is not None and now < webhook.previous_until
    if is_both and webhook.previous_secret:
        keys.append(webhook.previous_secret)
    body, at = event.body.encode(), int(now.timestamp())
    return {
        "Content-Type": "application/json",
        "User-Agent": "satmachineadmin",
        "X-Satmachine-Event": event.kind,
        "X-Satmachine-Event-Id": event.id,
        SIGNATURE_HEADER: signature_header(keys, at, body),
    }


def after_try(event: Event, said: outside.Said, now: datetime) -> Event:
    """The event as it is after a try. A test is tried once; the last try is at the end
    of the day."""
    tried = event.copy(
        update={
            "attempts": event.attempts + 1,
            "last_try_at": now,
            "answer_status": said.status,
            "answer": said.text,
        }
    )
    if said.is_ok:
        tried.status, tried.delivered_at = DELIVERED, now
    elif event.kind == TEST:
        tried.status = FAILED
    elif now >= event.give_up_at:
        tried.status = GIVEN_UP
    else:
        tried.next_try_at = min(now + backoff(tried.attempts), event.give_up_at)
    return tried


@dataclass
class Courier:
    """What one process knows of its deliveries."""

    calls: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    webhooks: list[Webhook] = field(default_factory=list)
    rest: written.Rest = field(default_factory=written.Rest)
    # by the monotonic clock
    next_look: float = 0.0
    next_attention: float = 0.0
    # when something is due that waits for its time alone
    soonest: datetime | None = None

    async def turn(self, holder: str) -> None:
        """Look, begin what is due, and wait a moment. For the engine."""
        if self._may_rest():
            await self._wait()
            return
        is_called = work.is_set()
        work.clear()
        position = written.known()  # before anything is read
        if not is_called and self._may_go_on(position):
            await self._wait()
            return
        is_done = True
        if await self._look(holder):
            is_done = await self._begin(holder)
        self.rest.looked(position, is_done=is_done)
        await self._wait()

    def _may_rest(self) -> bool:
        """Nobody has a webhook, as far as was known a moment ago."""
        return time.monotonic() < self.next_look and not work.is_set()

    def _may_go_on(self, position: object | None) -> bool:
        is_due = self.soonest is not None and self.soonest <= utc_now()
        return not is_due and not self.calls and self.rest.may_go_on(position)

    async def _look(self, holder: str) -> bool:
        """Whether anybody has a webhook; finds what they are to be told."""
        async with db.connect() as conn:
            self.webhooks = await sql.all_webhooks(conn)
        if not self.webhooks:
            self.next_look = time.monotonic() + WITHOUT_WEBHOOKS_SECONDS
            return False
        self.next_look = 0.0
        while await look(self.webhooks):
            await asyncio.sleep(0)
        if time.monotonic() >= self.next_attention:
            self.next_attention = time.monotonic() + ATTENTION_SECONDS
            for webhook in self.webhooks:
                await look_at_attention(webhook, holder)
        return True

    async def _begin(self, holder: str) -> bool:
        """Begin calls while there is room; whether nothing else is due now."""
        for operator in [o for o, call in self.calls.items() if call.done()]:
            del self.calls[operator]
        async with db.connect() as conn:
            due, soonest = await sql.operators_due(conn, utc_now(), holder)
        self.soonest = from_db_time(soonest)
        waiting = [operator for operator in due if operator not in self.calls]
        for operator in waiting[: max(0, PARALLEL - len(self.calls))]:
            call = asyncio.ensure_future(_guarded(deliver(operator, holder)))
            call.add_done_callback(lambda _: work.set())
            self.calls[operator] = call
        return not due

    async def _wait(self) -> None:
        # where nothing tells that somebody wrote, each turn costs a few statements
        is_blind = written.known() is None and not self.calls
        await wait_for_event(work, SLOW_POLL_SECONDS if is_blind else POLL_SECONDS)

    def stop(self) -> None:
        """End the calls that are under way; what they were for waits for the next."""
        for call in self.calls.values():
            call.cancel()
        self.calls.clear()


courier = Courier()


async def _guarded(work_of_one: Coroutine[Any, Any, None]) -> None:
    """What goes wrong with one operator's rows is written down, and tried again."""
    try:
        await work_of_one
    except (SQLAlchemyError, OSError):
        logger.exception("satmachineadmin: webhooks")
        # not at once: the database is in trouble
        await asyncio.sleep(POLL_SECONDS)


async def deliver(operator: str, holder: str) -> None:
    """Tell one operator's server what is due, one event after another, until it fails
    or others are to have a turn."""
    for _ in range(IN_A_ROW):
        async with db.connect() as conn:
            found = await sql.next_due(conn, operator, utc_now(), holder)
        if found is None:
            return
        webhook, event = found
        said = await outside.post(
            webhook.url, event.body.encode(), headers_of(webhook, event, utc_now())
        )
        await _keep(webhook, event, said)
        if not said.is_ok:
            return


async def _keep(webhook: Webhook, event: Event, said: outside.Said) -> None:
    now = utc_now()
    operator = webhook.operator_user_id
    async with transaction() as conn:
        if not await sql.write_result(conn, after_try(event, said, now)):
            return
        if not said.is_ok:
            failures = webhook.failures + 1
            wait = pause(failures)
            until = now + wait if wait else None
            await sql.note_failure(conn, operator, failures, until)
        elif webhook.failures:
            await sql.note_failure(conn, operator, 0, None)
            if webhook.failures >= PATIENCE:  # not for one that it will not take
                await sql.hurry(conn, operator, now)
