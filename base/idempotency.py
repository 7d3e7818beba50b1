"""A request that is sent twice does what it asks for once.

A key is kept in the transaction of what was done for it, with what that was: the same
request again finds it, and another request under the same key is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lnbits.db import Connection

from ..models import utc_now
from .database import db_time, execute, fetch_one
from .refusals import ConflictError

S = "satoshimachine"
OTHER_REQUEST = "This idempotency_key was used for another request."


def fingerprint(action: str, body: Mapping[str, Any]) -> str:
    """An action with a digest of what was asked, so that another body differs."""
    text = json.dumps(dict(body), default=str, sort_keys=True)
    return f"{action}:{hashlib.sha256(text.encode()).hexdigest()}"


async def done_before(
    conn: Connection, user_id: str, key: str, action: str
) -> str | None:
    """The id of the row that was made for this request, if it was done already; keeps
    nothing. `ConflictError` for a key that was used for another request."""
    row = await fetch_one(
        conn,
        f"SELECT action, subject_id FROM {S}.dca_idempotency "  # noqa: S608
        "WHERE user_id = :user AND idempotency_key = :key",
        {"user": user_id, "key": key},
    )
    if row is None:
        return None
    if row["action"] != action:
        raise ConflictError(OTHER_REQUEST)
    return str(row["subject_id"])


async def claim_key(
    conn: Connection, user_id: str, key: str, action: str, subject_id: str
) -> str | None:
    """Keep a key for a row that is about to be made; the id of the row that was made
    for it before, if this request was done already. `ConflictError` for a key that
    was used for another request."""
    kept = await execute(
        conn,
        f"""
        INSERT INTO {S}.dca_idempotency
            (user_id, idempotency_key, action, subject_id, created_at)
        VALUES (:user, :key, :action, :subject, :now) ON CONFLICT DO NOTHING
        """,  # noqa: S608
        {
            "user": user_id,
            "key": key,
            "action": action,
            "subject": subject_id,
            "now": db_time(utc_now()),
        },
    )
    if kept:
        return None
    return await done_before(conn, user_id, key, action)
