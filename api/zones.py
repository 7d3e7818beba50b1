"""In whose days a request is meant: `tz=`, else what the caller prefers, else UTC."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from ..base.database import db
from ..base.zones import Zone, zone_named, zone_or_utc
from ..parties.preferences_crud import get_preferences
from .route import Caller

AskedZone = Annotated[
    str | None,
    Query(
        alias="tz",
        max_length=64,
        description="an IANA time zone, like America/Guatemala, whose days are meant",
    ),
]


async def zone_for(user_id: str, tz: str | None) -> Zone:
    """`BadInputError` for a `tz` that is no zone."""
    if tz:
        return zone_named(tz)
    async with db.connect() as conn:
        preferences = await get_preferences(conn, user_id)
    return zone_or_utc(preferences.time_zone)


async def zone_of_request(account: Caller, tz: AskedZone = None) -> Zone:
    return await zone_for(account.id, tz)


InZone = Annotated[Zone, Depends(zone_of_request)]
