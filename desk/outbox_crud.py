"""SQL of messages to people: kept from the moment that their cause is, until they went.

Guaranteed: a message is written in the transaction of what it tells of, so that neither
is there without the other; only the engine is given one to send, and only once at a
time (`claim`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from lnbits.db import Connection
from pydantic import BaseModel

from ..base.database import (
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_models,
    fetch_one,
    from_db_time,
    in_list,
    insert_sql,
    row_params,
)
from ..base.lease import lease_held_sql

__all__ = ["db"]

S = "satoshimachine"
WAITING, SENT, GIVEN_UP, NO_CHANNEL = "waiting", "sent", "given_up", "no_channel"
# a digest that was not wanted yet when its time was
SKIPPED = "skipped"
# sent by whoever asked, at once
TESTED = "tested"
Row = Mapping[str, Any]


class Message(BaseModel):
    """One message to one person."""

    id: str
    user_id: str
    kind: str
    cause: str
    text: str
    status: str = WAITING
    created_at: datetime
    is_held: bool = False
    attempts: int = 0
    next_try_at: datetime
    give_up_at: datetime
    claim: str | None = None
    ended_at: datetime | None = None
    said: str | None = None


class Claimed(Message):
    """With the end of its cause, if that is over."""

    closed_at: datetime | None = None


async def put(conn: Connection, messages: Sequence[Message]) -> None:
    """Each once, by its id."""
    params = [row_params(message) for message in messages]
    if params:
        sql = insert_sql("dca_messages", params[0], "ON CONFLICT DO NOTHING")
        await execute_many(conn, sql, params)


async def due(
    conn: Connection, now: datetime, holder: str
) -> tuple[list[str], datetime | None]:
    """Who can be told something now, and when the next one can be; nobody for a
    process that is not the engine."""
    found = await fetch_all(
        conn,
        f"""
        SELECT user_id, MIN(next_try_at) AS at FROM {S}.dca_messages
        WHERE status = '{WAITING}' AND {lease_held_sql()}
        GROUP BY user_id ORDER BY 2
        """,  # noqa: S608
        {"holder": holder},
    )
    users: list[str] = []
    for row in found:
        at = from_db_time(row["at"])
        if at and at > now:
            return users, at
        users.append(row["user_id"])
    return users, None


async def claim(
    conn: Connection,
    user_id: str,
    now: datetime,
    until: datetime,
    token: str,
    holder: str,
) -> list[Claimed]:
    """What this person can be told now, oldest first, given to nobody else until then;
    nothing for a process that is not the engine."""
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_messages
        SET claim = :token, next_try_at = :until, attempts = attempts + 1
        WHERE user_id = :user AND status = '{WAITING}' AND next_try_at <= :now
          AND {lease_held_sql()}
        """,  # noqa: S608
        {
            "token": token,
            "until": db_time(until),
            "user": user_id,
            "now": db_time(now),
            "holder": holder,
        },
    )
    return await fetch_models(
        conn,
        f"""
        SELECT m.*, n.closed_at FROM {S}.dca_messages m
        LEFT JOIN {S}.dca_notices n ON n.cause = m.cause
        WHERE m.claim = :token ORDER BY m.created_at, m.id
        """,  # noqa: S608
        Claimed,
        {"token": token},
    )


async def finish(
    conn: Connection,
    token: str,
    ids: Iterable[str],
    status: str,
    said: str | None,
    now: datetime,
    next_try_at: datetime,
) -> None:
    """What came of messages that were claimed; what waits is tried again then."""
    params: dict[str, Any] = {
        "token": token,
        "status": status,
        "said": said,
        "ended": None if status == WAITING else db_time(now),
        "next": db_time(next_try_at),
    }
    listed = in_list("id", ids, params)
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_messages SET status = :status, said = :said, claim = NULL,
            ended_at = :ended, next_try_at = :next
        WHERE claim = :token AND id IN {listed} AND status = '{WAITING}'
        """,  # noqa: S608
        params,
    )


async def present(conn: Connection, ids: Iterable[str]) -> set[str]:
    params: dict[str, Any] = {}
    listed = in_list("id", ids, params)
    found = await fetch_all(
        conn,
        f"SELECT id FROM {S}.dca_messages WHERE id IN {listed}",  # noqa: S608
        params,
    )
    return {row["id"] for row in found}


async def forget(conn: Connection, before: datetime) -> None:
    """What came to its end before then."""
    await execute(
        conn,
        f"DELETE FROM {S}.dca_messages WHERE ended_at < :before",  # noqa: S608
        {"before": db_time(before)},
    )


async def facts(conn: Connection, user_id: str, since: datetime) -> Row:
    """`waiting`, `next_at`; `given_up` since then; `sent_at` of the last that went."""
    row = await fetch_one(
        conn,
        f"""
        SELECT COUNT(CASE WHEN status = '{WAITING}' THEN 1 END) AS waiting,
            MIN(CASE WHEN status = '{WAITING}' THEN next_try_at END) AS next_at,
            COUNT(CASE WHEN status = '{GIVEN_UP}' AND ended_at >= :since THEN 1 END)
                AS given_up,
            MAX(CASE WHEN status = '{SENT}' THEN ended_at END) AS sent_at
        FROM {S}.dca_messages WHERE user_id = :user
        """,  # noqa: S608
        {"user": user_id, "since": db_time(since)},
    )
    return row or {}


async def last_test(conn: Connection, user_id: str, since: datetime) -> bool:
    """Whether they sent themselves a test since then."""
    row = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.dca_messages "  # noqa: S608
        "WHERE user_id = :user AND kind = 'test' AND created_at > :since LIMIT 1",
        {"user": user_id, "since": db_time(since)},
    )
    return row is not None


async def roles_of(conn: Connection, user_id: str) -> Row:
    """Whether they are an `operator`, an `lp`."""
    row = await fetch_one(
        conn,
        f"""
        SELECT EXISTS (SELECT 1 FROM {S}.dca_machines
                WHERE operator_user_id = :user) AS operator,
            EXISTS (SELECT 1 FROM {S}.dca_lp WHERE user_id = :user) AS lp
        """,  # noqa: S608
        {"user": user_id},
    )
    return row or {}


async def open_causes(conn: Connection, user_id: str) -> list[Row]:
    """What waits for them, as they were told it: the oldest first."""
    return await fetch_all(
        conn,
        f"SELECT message FROM {S}.dca_notices "  # noqa: S608
        "WHERE closed_at IS NULL AND user_id = :user ORDER BY opened_at, cause",
        {"user": user_id},
    )
