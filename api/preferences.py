"""What the caller prefers: their zone and numbers, what is told, limits of cash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lnbits.db import Connection
from pydantic import BaseModel, Field

from ..base.acting import blind
from ..base.audit import changed, write_audit
from ..base.database import db, transaction
from ..base.refusals import BadInputError
from ..base.typed import typed_cents
from ..base.zones import zone_named
from ..calculations import cents_text
from ..desk.told import ALL_KINDS
from ..host.rates import is_currency
from ..models import Preferences
from ..parties.preferences_crud import (
    get_preferences,
    keep_zone_until_tomorrow,
    put_preferences,
)
from .fields import Choice, Input, Sats, Text
from .route import Caller, named_fields, new_router, refusals

router = new_router()


class NumberFormat(Choice):
    """Which sign stands before the decimals."""

    choices = ("point", "comma")


class ZoneName(Text):
    max_length = 64


class PreferencesAnswer(BaseModel):
    time_zone: str | None = Field(None, description="IANA; null: the browser's")
    number_format: str | None = Field(None, description="point or comma before cents")
    notify: dict[str, bool] = Field(
        {},
        description="by kind: whether it is told. What nobody chose is, but for sales",
    )
    staff_refund_limit_sats: int | None = Field(
        None, description="what a manager may refund; null: no limit"
    )
    cash_difference_limit: dict[str, str] = Field(
        {}, description="by currency: a count that differs by more is told"
    )
    show_coverage_to_lps: bool = False


class PreferencesInput(Input):
    time_zone: ZoneName | None = Field(None, example="America/Guatemala")
    number_format: NumberFormat | None = None
    notify: dict[str, bool] | None = Field(None, example={"low_cash": False})
    staff_refund_limit_sats: Sats | None = None
    cash_difference_limit: dict[str, Any] | None = Field(
        None, example={"GTQ": "100.00"}
    )
    show_coverage_to_lps: bool | None = None


NULLABLE = ("time_zone", "number_format", "staff_refund_limit_sats")


def _checked_limits(limits: Mapping[str, Any]) -> dict[str, str]:
    """Amounts by currency, as they are kept. `BadInputError` names the wrong one."""
    kept: dict[str, str] = {}
    for code, amount in limits.items():
        if not is_currency(code):
            raise BadInputError(f"{code[:20]!r} is not a currency.")
        try:
            cents = typed_cents(amount, "cash_difference_limit")
        except ValueError as exc:
            raise BadInputError(str(exc)) from exc
        if cents < 0:
            raise BadInputError(
                f"cash_difference_limit of {code} is {amount}: it must be at least 0."
            )
        kept[code] = cents_text(cents)
    return kept


def checked_notify(notify: Mapping[str, bool]) -> dict[str, bool]:
    for kind in notify:
        if kind not in ALL_KINDS:
            raise BadInputError(
                f"notify: {kind[:40]!r} is nothing that is told: "
                f"{', '.join(sorted(ALL_KINDS))}."
            )
    return dict(notify)


def _answer(preferences: Preferences) -> PreferencesAnswer:
    return PreferencesAnswer(**preferences.dict())


@router.get(
    "/preferences",
    summary="The caller's zone and numbers, what they are told, limits of cash",
    response_model=PreferencesAnswer,
    responses=refusals(),
)
async def api_preferences(account: Caller) -> PreferencesAnswer:
    async with db.connect() as conn:
        present = await get_preferences(conn, account.id)
    if blind():  # the limit is one of sats
        present.staff_refund_limit_sats = None
    return _answer(present)


@router.put(
    "/preferences",
    summary="Change the preferences that are named",
    response_model=PreferencesAnswer,
    responses=refusals(400),
)
async def api_update_preferences(
    account: Caller, body: PreferencesInput
) -> PreferencesAnswer:
    changes = named_fields(body, NULLABLE)
    if "time_zone" in changes:
        zone = changes["time_zone"]
        changes["time_zone"] = zone_named(zone).name if zone else None
    if "cash_difference_limit" in changes:
        limits = _checked_limits(changes["cash_difference_limit"])
        changes["cash_difference_limit"] = limits
    if "notify" in changes:
        changes["notify"] = checked_notify(changes["notify"])
    async with transaction() as conn:
        before = await get_preferences(conn, account.id)
        after = before.copy(update=changes)
        if after != before:
            await put_preferences(conn, account.id, after)
            if after.time_zone != before.time_zone:
                await keep_zone_until_tomorrow(conn, account.id, before.time_zone)
            await audit_preferences(conn, account.id, before, after)
    return _answer(after)


async def audit_preferences(
    conn: Connection, user_id: str, before: Preferences, after: Preferences
) -> None:
    old, new = changed(before.dict(), after.dict())
    await write_audit(
        conn,
        user_id,
        "preferences.change",
        "preferences",
        "own",
        old,
        new,
        operator_user_id=user_id,
    )
