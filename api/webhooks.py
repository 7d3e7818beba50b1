"""An operator's webhook over HTTP: set, tried, looked at. The operator's alone: whoever
sets it is sent everything that happens at their machines."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.responses import StreamingResponse
from lnbits.db import Page
from pydantic import BaseModel, Field

from ..base.database import db
from ..books.lists import ListQuery, fetch_page
from ..books.webhooks import WEBHOOK_FIELDS, webhook_source
from ..crud import from_time
from ..desk import webhooks, webhooks_crud
from ..desk.webhook_events import KINDS
from ..desk.webhooks_crud import WAITING, Event, Webhook
from .fields import Input, Text
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .route import Caller, named_fields, new_router, refusals

router = new_router()
EventId = Annotated[str, Path(description="an event of your webhook")]
AskedOfEvents = Annotated[ListQuery, Depends(asked_of(WEBHOOK_FIELDS))]


class Url(Text):
    max_length = 2000


class WebhookInput(Input):
    """What is named changes."""

    url: Url | None = Field(None, example="https://example.com/satmachine")
    events: list[str] | None = Field(
        None, description=f"null: all; else some of {', '.join(KINDS)}"
    )


class WebhookAnswer(BaseModel):
    url: str | None = Field(None, description="null: there is no webhook")
    events: list[str] = Field(list(KINDS), description="what it is told")
    created_at: datetime | None = None
    updated_at: datetime | None = None
    rotated_at: datetime | None = Field(None, description="when its secret was renewed")
    both_until: datetime | None = Field(
        None, description="until then calls are signed with the secret of before too"
    )
    waiting: int = Field(0, description="events on their way")
    given_up: int = Field(0, description="events given up that nobody has looked at")
    failures: int = Field(0, description="calls that failed in a row")
    paused_until: datetime | None = Field(
        None, description="its server failed, and is left alone until then"
    )
    last_delivered_at: datetime | None = None


class WebhookMade(WebhookAnswer):
    secret: str | None = Field(
        None, description="said once, when it is made: calls are signed with it"
    )


class EventAnswer(BaseModel):
    id: str
    type: str
    status: str = Field(..., description="waiting, delivered, given_up; a test: failed")
    attempts: int
    created_at: datetime
    last_try_at: datetime | None = None
    next_try_at: datetime | None = None
    give_up_at: datetime | None = None
    delivered_at: datetime | None = None
    answer_status: int | None = Field(None, description="null: there was no answer")
    answer: str | None = Field(
        None, description="how the answer began, or why there is none"
    )


class EventWithBody(EventAnswer):
    body: dict[str, Any]


class EventPage(Page[EventAnswer]):
    data: list[EventAnswer]


class SentAgain(BaseModel):
    events: int


async def _answer(operator: str, webhook: Webhook | None) -> WebhookAnswer:
    if webhook is None:
        return WebhookAnswer()
    async with db.connect() as conn:
        counts = await webhooks_crud.counts(conn, operator)
    at = counts["delivered_at"]
    return WebhookAnswer(
        url=webhook.url,
        events=webhook.events or list(KINDS),
        created_at=webhook.created_at,
        updated_at=webhook.updated_at,
        rotated_at=webhook.rotated_at,
        both_until=webhook.previous_until,
        waiting=int(counts["waiting"]),
        given_up=int(counts["given_up"]),
        failures=webhook.failures,
        paused_until=webhook.paused_until,
        last_delivered_at=None if at is None else from_time(at),
    )


async def _made(operator: str, webhook: Webhook, *, shows: bool) -> WebhookMade:
    facts = await _answer(operator, webhook)
    return WebhookMade(**facts.dict(), secret=webhook.secret if shows else None)


def _event(event: Event) -> EventAnswer:
    is_waiting = event.status == WAITING
    return EventAnswer(
        **event.dict(exclude={"next_try_at", "give_up_at"}),
        type=event.kind,
        next_try_at=event.next_try_at if is_waiting else None,
        give_up_at=event.give_up_at if is_waiting else None,
    )


@router.get(
    "/webhook",
    summary="Where the operator's own server is told what happens",
    response_model=WebhookAnswer,
    responses=refusals(),
)
async def api_webhook(account: Caller) -> WebhookAnswer:
    return await _answer(account.id, await webhooks.webhook_of(account.id))


@router.put(
    "/webhook",
    summary="Set or change it; the first answer holds its secret, once",
    description="https only. An address of a private network is refused.",
    response_model=WebhookMade,
    responses=refusals(400),
)
async def api_set_webhook(account: Caller, body: WebhookInput) -> WebhookMade:
    named = named_fields(body, nullable=("events",))
    webhook, is_new = await webhooks.set_webhook(
        account.id,
        named.get("url"),
        named.get("events"),
        names_events="events" in named,
    )
    return await _made(account.id, webhook, shows=is_new)


@router.delete(
    "/webhook",
    status_code=204,
    response_model=None,
    summary="Remove it, with all that it was told",
    responses=refusals(404),
)
async def api_remove_webhook(account: Caller) -> None:
    await webhooks.remove_webhook(account.id)


@router.post(
    "/webhook/rotate",
    status_code=200,
    summary="A new secret, said once; the old one signs too for a day",
    response_model=WebhookMade,
    responses=refusals(404),
)
async def api_rotate(account: Caller) -> WebhookMade:
    webhook = await webhooks.rotate_secret(account.id)
    return await _made(account.id, webhook, shows=True)


@router.post(
    "/webhook/test",
    status_code=200,
    summary="Send an event that tells of nothing, once and now",
    response_model=EventAnswer,
    responses=refusals(404, 409),
)
async def api_test(account: Caller) -> EventAnswer:
    return _event(await webhooks.send_test(account.id))


@router.post(
    "/webhook/send-again",
    status_code=200,
    summary="Try everything again that was given up",
    response_model=SentAgain,
    responses=refusals(404),
)
async def api_send_all_again(account: Caller) -> SentAgain:
    return SentAgain(events=await webhooks.send_all_again(account.id))


@router.post(
    "/webhook/seen",
    status_code=200,
    summary="What was given up is known, and asks for nobody any more",
    response_model=WebhookAnswer,
    responses=refusals(404),
)
async def api_seen(account: Caller) -> WebhookAnswer:
    await webhooks.seen(account.id)
    return await api_webhook(account)


@router.get(
    "/webhook/events",
    summary="What it was told in 30 days, and what it answered",
    response_model=EventPage,
    responses=refusals(400),
    openapi_extra=filter_docs(WEBHOOK_FIELDS, "WebhookEventFilters"),
)
async def api_events(account: Caller, query: AskedOfEvents) -> EventPage:
    found, total = await fetch_page(webhook_source(account.id), query)
    return EventPage(data=[EventAnswer(**row) for row in found], total=total)


@router.get(
    "/webhook/events.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(WEBHOOK_FIELDS, "WebhookEventFilters"),
)
async def api_events_csv(account: Caller, query: AskedOfEvents) -> StreamingResponse:
    return csv_answer(webhook_source(account.id), query, "webhook.csv")


@router.get(
    "/webhook/events/{event_id}",
    summary="One event with its body, as it is sent",
    response_model=EventWithBody,
    responses=refusals(404),
)
async def api_event(account: Caller, event_id: EventId) -> EventWithBody:
    async with db.connect() as conn:
        event = await webhooks.own_event(conn, account.id, event_id)
    return EventWithBody(**_event(event).dict(), body=json.loads(event.body))


@router.post(
    "/webhook/events/{event_id}/send-again",
    status_code=200,
    summary="Try an event now, with the same id and the same bytes",
    response_model=EventAnswer,
    responses=refusals(404),
)
async def api_send_again(account: Caller, event_id: EventId) -> EventAnswer:
    return _event(await webhooks.send_again(account.id, event_id))
