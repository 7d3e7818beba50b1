"""SQL of what a user prefers, whatever their role: one row, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, execute, fetch_all, fetch_one, from_db_time
from ..base.zones import zone_or_utc
from ..models import Preferences, utc_now

S = "satoshimachine"


async def get_preferences(conn: Connection, user_id: str) -> Preferences:
    """The user's own; what nobody said is as it is for everybody."""
    row = await fetch_one(
        conn,
        f"SELECT * FROM {S}.dca_preferences WHERE user_id = :id",  # noqa: S608
        {"id": user_id},
    )
    if row is None:
        return Preferences()
    limit = row["staff_refund_limit_sats"]
    return Preferences(
        time_zone=row["time_zone"],
        number_format=row["number_format"],
        notify=_object(row["notify_json"]),
        staff_refund_limit_sats=None if limit is None else int(limit),
        cash_difference_limit=_object(row["cash_difference_limit"]),
        show_coverage_to_lps=bool(row["show_coverage_to_lps"]),
        quiet_from=row["quiet_from"],
        quiet_until=row["quiet_until"],
        digest_at=row["digest_at"],
    )


def _object(text: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text) if text else {}
    return found


def _json(value: Mapping[str, Any]) -> str | None:
    return json.dumps(value, sort_keys=True) if value else None


async def put_preferences(
    conn: Connection, user_id: str, preferences: Preferences
) -> None:
    await execute(
        conn,
        f"""
        INSERT INTO {S}.dca_preferences (
            user_id, time_zone, number_format, notify_json, staff_refund_limit_sats,
            cash_difference_limit, show_coverage_to_lps, quiet_from, quiet_until,
            digest_at, updated_at
        ) VALUES (
            :id, :zone, :format, :notify, :refunds, :difference, :shows, :quiet_from,
            :quiet_until, :digest_at, :now
        )
        ON CONFLICT (user_id) DO UPDATE SET
            time_zone = excluded.time_zone, number_format = excluded.number_format,
            notify_json = excluded.notify_json,
            staff_refund_limit_sats = excluded.staff_refund_limit_sats,
            cash_difference_limit = excluded.cash_difference_limit,
            show_coverage_to_lps = excluded.show_coverage_to_lps,
            quiet_from = excluded.quiet_from, quiet_until = excluded.quiet_until,
            digest_at = excluded.digest_at,
            updated_at = excluded.updated_at
        """,  # noqa: S608
        {
            "id": user_id,
            "zone": preferences.time_zone,
            "format": preferences.number_format,
            "notify": _json(preferences.notify),
            "refunds": preferences.staff_refund_limit_sats,
            "difference": _json(preferences.cash_difference_limit),
            "shows": preferences.show_coverage_to_lps,
            "quiet_from": preferences.quiet_from,
            "quiet_until": preferences.quiet_until,
            "digest_at": preferences.digest_at,
            "now": db_time(utc_now()),
        },
    )


async def keep_zone_until_tomorrow(
    conn: Connection, user_id: str, before: str | None
) -> None:
    """A change of zone counts from the next day: until then a daily limit goes by the
    zone of before, or who moves their day would have it twice."""
    row = await fetch_one(
        conn,
        f"""
        SELECT time_zone_before, time_zone_from FROM {S}.dca_preferences
        WHERE user_id = :id
        """,  # noqa: S608
        {"id": user_id},
    )
    now = utc_now()
    counts_from = from_db_time(row["time_zone_from"]) if row else None
    if row and counts_from and now < counts_from:
        before = row["time_zone_before"]  # the second change of this day
    zone = zone_or_utc(before)
    tomorrow = zone.start_of(zone.day_of(now) + timedelta(days=1))
    await execute(
        conn,
        f"UPDATE {S}.dca_preferences SET time_zone_before = :before, "  # noqa: S608
        "time_zone_from = :tomorrow WHERE user_id = :id",
        {"id": user_id, "before": before, "tomorrow": db_time(tomorrow)},
    )


async def all_wishes(conn: Connection) -> dict[str, Preferences]:
    """By user: what those prefer who ever said what they want to be told, or when."""
    found = await fetch_all(
        conn,
        f"""
        SELECT user_id, time_zone, notify_json, quiet_from, quiet_until, digest_at
        FROM {S}.dca_preferences
        WHERE notify_json IS NOT NULL OR quiet_from IS NOT NULL
            OR digest_at IS NOT NULL
        """,  # noqa: S608
    )
    return {
        row["user_id"]: Preferences(
            time_zone=row["time_zone"],
            notify=_object(row["notify_json"]),
            quiet_from=row["quiet_from"],
            quiet_until=row["quiet_until"],
            digest_at=row["digest_at"],
        )
        for row in found
    }
