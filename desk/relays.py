"""Relays that are connected and do not listen for us, as the line last wrote down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lnbits.db import Connection

from ..api.models import AttentionItem
from ..base.database import fetch_one, from_db_time
from ..models import utc_now

# so long may a relay take to listen for us before a person hears of it
DEAF_SECONDS = 60
STATUS_IS_OLD = timedelta(seconds=60)


def deaf_sentence(relay: Mapping[str, Any]) -> str | None:
    """What is wrong with a relay that is connected and hears nothing for us."""
    if relay.get("deaf_seconds", 0) < DEAF_SECONDS:
        return None
    return f"connected, but this relay does not listen for us: {relay['words']}"


async def deaf_relays(conn: Connection) -> list[AttentionItem]:
    """The super's: machines that know only such a relay are not heard."""
    row = await fetch_one(
        conn,
        "SELECT status_json, status_at FROM satoshimachine.dca_nostr "
        "WHERE id = 'default'",
    )
    at = from_db_time(row["status_at"]) if row and row["status_json"] else None
    if row is None or at is None or utc_now() - at > STATUS_IS_OLD:
        return []
    return [
        AttentionItem(
            kind="relay_deaf",
            message=f"{relay['url']}: {sentence}",
            subject_type="nostr",
            subject_id="default",
            since=at - timedelta(seconds=relay["deaf_seconds"]),
            action="Ask who runs the relay, or choose another one.",
        )
        for relay in json.loads(row["status_json"]).get("relays", [])
        if (sentence := deaf_sentence(relay))
    ]
