"""An operator's webhook: where their own server is told what happened.

Guaranteed: one for an operator, set by themselves; its secret is made here and shown
once, when it is made; after a new one was made, calls are signed with both for a day,
so that no event is lost between the two servers.
Not guaranteed: that the secret is safe from who can read this database. It signs what
we say; nothing can be done here with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

from lnbits.db import Connection

from ..base.audit import write_audit
from ..base.database import db, transaction
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..base.signing import new_secret
from ..host.outside import NotAllowedError, check_url, host_of
from ..models import utc_now
from . import webhooks_crud as sql
from .webhook_events import KINDS, LASTS, TEST, event_of
from .webhooks_crud import Event, Webhook

NO_WEBHOOK = "You have no webhook."
NO_EVENT = "There is no such event of your webhook."
BOTH_SECRETS = timedelta(days=1)
# something for who delivers: a webhook, or an event, is new or is to be tried now
work = asyncio.Event()


async def set_webhook(
    operator: str, url: str | None, events: Sequence[str] | None, *, names_events: bool
) -> tuple[Webhook, bool]:
    """Set or change it; and whether it is new, so that its secret is to be shown.

    `BadInputError` for an address that is not called, or an event that there is not.
    """
    url, kept = await _checked(url, events)
    async with transaction() as conn:
        before = await sql.webhook_of(conn, operator)
        if before is None:
            after = await _new(conn, operator, url, kept)
        else:
            after = before.copy(update={"updated_at": utc_now()})
            if url is not None and url != before.url:
                # another server: what the last one did is no matter
                after.url, after.failures, after.paused_until = url, 0, None
            if names_events:
                after.events_json = kept
        what = (after.url, after.events_json)
        if before is None or what != (before.url, before.events_json):
            await sql.put_webhook(conn, after)
            await _audit(conn, "change" if before else "set", before, after)
    work.set()
    return after, before is None


async def _checked(
    url: str | None, events: Sequence[str] | None
) -> tuple[str | None, str | None]:
    """Both as they are kept."""
    for name in events or ():
        if name not in KINDS:
            raise BadInputError(
                f"events: {name[:40]!r} is nothing that is told: {', '.join(KINDS)}."
            )
    if url is not None:
        try:
            url = await check_url(url)
        except NotAllowedError as exc:
            raise BadInputError(str(exc)) from exc
    return url, None if events is None else json.dumps(sorted(set(events)))


async def _new(
    conn: Connection, operator: str, url: str | None, events_json: str | None
) -> Webhook:
    if url is None:
        raise BadInputError("url is missing.")
    if not await sql.has_machine(conn, operator):
        raise BadInputError(
            "You have no machine yet: there is nothing to tell a webhook."
        )
    now = utc_now()
    return Webhook(
        operator_user_id=operator,
        url=url,
        events_json=events_json,
        secret=new_secret(),
        created_at=now,
        updated_at=now,
        read_from=now,
    )


async def rotate_secret(operator: str) -> Webhook:
    """A new secret; the one of before signs too for a day, then never again."""
    async with transaction() as conn:
        before = await _own(conn, operator)
        now = utc_now()
        after = before.copy(
            update={
                "secret": new_secret(),
                "previous_secret": before.secret,
                "previous_until": now + BOTH_SECRETS,
                "rotated_at": now,
                "updated_at": now,
            }
        )
        await sql.put_webhook(conn, after)
        await _audit(conn, "rotate", None, after)
    return after


async def remove_webhook(operator: str) -> None:
    async with transaction() as conn:
        before = await _own(conn, operator)
        await sql.remove_webhook(conn, operator)
        await _audit(conn, "remove", before, None)


async def send_test(operator: str) -> Event:
    """An event that tells of nothing, to be delivered now, once."""
    async with transaction() as conn:
        await _own(conn, operator)
        if await sql.waiting_test(conn, operator, TEST):
            raise ConflictError("A test is on its way: wait for its answer.")
        now = utc_now()
        data = {"message": "Satoshi Machine reaches your server."}
        event = event_of(operator, TEST, "test", now, data, now)
        await sql.write_events(conn, [event])
        await sql.resume(conn, operator)
    work.set()
    return event


async def send_again(operator: str, event_id: str) -> Event:
    """Try an event now, whatever became of it; with the same id and the same bytes."""
    async with transaction() as conn:
        await _own(conn, operator)
        now = utc_now()
        if not await sql.send_again(conn, operator, now, now + LASTS, event_id):
            raise NotFoundError(NO_EVENT)
        event = await own_event(conn, operator, event_id)
    work.set()
    return event


async def send_all_again(operator: str) -> int:
    """Everything that was given up; how many events that are."""
    async with transaction() as conn:
        await _own(conn, operator)
        now = utc_now()
        sent = await sql.send_again(conn, operator, now, now + LASTS)
    work.set()
    return sent


async def seen(operator: str) -> None:
    """What was given up stays so, and asks for nobody any more."""
    async with transaction() as conn:
        await _own(conn, operator)
        await sql.mark_seen(conn, operator, utc_now())


async def webhook_of(operator: str) -> Webhook | None:
    async with db.connect() as conn:
        return await sql.webhook_of(conn, operator)


async def own_event(conn: Connection, operator: str, event_id: str) -> Event:
    event = await sql.own_event(conn, event_id, operator)
    if event is None:
        raise NotFoundError(NO_EVENT)
    return event


async def _own(conn: Connection, operator: str) -> Webhook:
    webhook = await sql.webhook_of(conn, operator)
    if webhook is None:
        raise NotFoundError(NO_WEBHOOK)
    return webhook


async def _audit(
    conn: Connection, what: str, before: Webhook | None, after: Webhook | None
) -> None:
    """Who reads the log sees the host: the rest of an address may be a secret."""
    either = after or before
    operator = either.operator_user_id if either else ""
    await write_audit(
        conn,
        operator,
        f"webhook.{what}",
        "webhook",
        "own",
        _facts(before),
        _facts(after),
        operator_user_id=operator,
    )


def _facts(webhook: Webhook | None) -> dict[str, object] | None:
    if webhook is None:
        return None
    return {"host": host_of(webhook.url), "events": webhook.events or list(KINDS)}
