"""What the caller is told, by which channels of their LNbits account, and when. One's
own, whomever one works for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, Field
from pydantic.fields import ModelField

from ..base.database import db, from_db_time, transaction
from ..desk import outbox_crud
from ..desk.digest import skip_today
from ..desk.outbox import send_test, work
from ..desk.told import (
    LP,
    OPERATOR,
    SUPER,
    check_hours,
    is_told,
    kinds_of,
    time_of_day,
)
from ..host.notices import Channel, channels_of
from ..host.people import super_user
from ..models import Preferences, utc_now
from ..parties.preferences_crud import get_preferences, put_preferences
from ..parties.staff_crud import works_for
from .fields import Input, Text
from .preferences import audit_preferences, checked_notify
from .route import Caller, named_fields, new_router, refusals

router = new_router()
HOURS = ("quiet_from", "quiet_until", "digest_at")
GIVEN_UP_WITHIN = timedelta(days=7)


class TimeOfDay(Text):
    """A time that a clock shows, to the minute."""

    max_length = 5

    @classmethod
    def validate(cls, value: object, field: ModelField) -> str:
        text = super().validate(value, field)
        try:
            time_of_day(text)
        except ValueError:
            raise ValueError(
                f"{field.name} must be a time of day like 22:00."
            ) from None
        return text


class ChannelAnswer(BaseModel):
    name: str = Field(..., description="email, nostr or telegram")
    is_offered: bool = Field(..., description="this LNbits sends by it")
    is_set: bool = Field(..., description="your LNbits account names your address")


class KindAnswer(BaseModel):
    kind: str
    roles: list[str] = Field(..., description="as what you are told of it")
    is_told: bool


class NotificationsAnswer(BaseModel):
    channels: list[ChannelAnswer]
    kinds: list[KindAnswer] = Field(..., description="what you may choose")
    quiet_from: str | None = Field(None, description="null: no quiet hours")
    quiet_until: str | None = Field(None, description="what was held goes then")
    digest_at: str | None = Field(None, description="null: no daily sum")
    time_zone: str | None = Field(None, description="whose hours; null: UTC")
    waiting: int = Field(0, description="messages held or on their way")
    next_at: datetime | None = Field(None, description="when the next one goes")
    given_up: int = Field(0, description="that no channel took, in seven days")
    last_sent_at: datetime | None = None


class NotificationsInput(Input):
    """What is named changes."""

    notify: dict[str, bool] | None = Field(None, example={"low_cash": False})
    quiet_from: TimeOfDay | None = Field(None, example="22:00")
    quiet_until: TimeOfDay | None = Field(None, example="07:00")
    digest_at: TimeOfDay | None = Field(None, example="08:00")


class ChannelTried(ChannelAnswer):
    result: str | None = Field(
        None,
        description="sent, no_answer, refused, bad_address, no_relay; null: not tried",
    )


class TestAnswer(BaseModel):
    is_sent: bool = Field(..., description="a channel took it")
    channels: list[ChannelTried]


def _channels(found: Sequence[Channel]) -> list[ChannelAnswer]:
    return [
        ChannelAnswer(
            name=one.name, is_offered=one.is_offered, is_set=bool(one.addresses)
        )
        for one in found
    ]


async def _roles(user_id: str) -> list[str]:
    async with db.connect() as conn:
        own = await outbox_crud.roles_of(conn, user_id)
    roles = [OPERATOR] if own.get("operator") else []
    roles += sorted({staff.role for staff in await works_for(user_id)})
    roles += [LP] if own.get("lp") else []
    return [*roles, SUPER] if user_id == super_user() else roles


async def _answer(user_id: str, preferences: Preferences) -> NotificationsAnswer:
    kinds = kinds_of(await _roles(user_id))
    async with db.connect() as conn:
        facts = await outbox_crud.facts(conn, user_id, utc_now() - GIVEN_UP_WITHIN)
    return NotificationsAnswer(
        channels=_channels(await channels_of(user_id)),
        kinds=[
            KindAnswer(kind=kind, roles=roles, is_told=is_told(preferences, kind))
            for kind, roles in kinds.items()
        ],
        time_zone=preferences.time_zone,
        waiting=int(facts["waiting"]),
        next_at=from_db_time(facts["next_at"]),
        given_up=int(facts["given_up"]),
        last_sent_at=from_db_time(facts["sent_at"]),
        **{name: getattr(preferences, name) for name in HOURS},
    )


@router.get(
    "/notifications",
    summary="What the caller is told, how and when",
    response_model=NotificationsAnswer,
    responses=refusals(),
)
async def api_notifications(account: Caller) -> NotificationsAnswer:
    async with db.connect() as conn:
        present = await get_preferences(conn, account.id)
    return await _answer(account.id, present)


@router.put(
    "/notifications",
    summary="Choose what one is told, quiet hours, and a daily sum",
    description="By the clock of the caller's `time_zone` (`PUT /preferences`), else "
    "UTC. `notify` names kinds; those that it does not name stay as they are. What is "
    "held already goes when it would have gone.",
    response_model=NotificationsAnswer,
    responses=refusals(400),
)
async def api_choose_notifications(
    account: Caller, body: NotificationsInput
) -> NotificationsAnswer:
    changes = named_fields(body, HOURS)
    async with transaction() as conn:
        before = await get_preferences(conn, account.id)
        if "notify" in changes:
            chosen = checked_notify(changes["notify"])
            changes["notify"] = {**before.notify, **chosen}
        after = before.copy(update=changes)
        check_hours(after)
        if after != before:
            await put_preferences(conn, account.id, after)
            if after.digest_at != before.digest_at:
                await skip_today(conn, account.id, after, utc_now())
            await audit_preferences(conn, account.id, before, after)
    work.set()
    return await _answer(account.id, after)


@router.post(
    "/notifications/test",
    status_code=200,
    summary="Send oneself a message by every channel one has",
    description="Once a minute. It is sent whatever the hour, and answered when each "
    "channel has taken it, refused it, or said nothing for 20 seconds.",
    response_model=TestAnswer,
    responses=refusals(409),
)
async def api_test_notifications(account: Caller) -> TestAnswer:
    said = await send_test(account.id)
    return TestAnswer(
        is_sent="sent" in said.values(),
        channels=[
            ChannelTried(**one.dict(), result=said.get(one.name))
            for one in _channels(await channels_of(account.id))
        ],
    )
