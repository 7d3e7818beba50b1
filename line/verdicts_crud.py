"""What became of an event that asks for money: acted upon, or refused for good.

An event can come again: from a second relay, after a restart, to the next engine. Its
id says whether it is the same one; a wish that still stands comes under a new id.

Guaranteed: an event has one verdict, whoever writes first, because its id is the key of
the row. So nothing is paid from an event whose ERROR may have been sent (the machine
may have handed the cash back by then), and no ERROR is sent for one that was acted
upon, unless the engine that acted takes it back before it says so.
Not guaranteed: memory for ever. A verdict is kept until the event, by its own date, has
been stale for ten minutes.
"""

from __future__ import annotations

import time

from lnbits.db import Connection
from pydantic import BaseModel

from ..base.database import execute, fetch_models, fetch_one, reuse, transaction
from ..base.lease import lease_held_sql
from .nostr import Incoming

S = "satoshimachine"

ACTED, REFUSED = "acted", "refused"
# An event is fresh until ten minutes after its date: kept for twice that.
KEEP_SECONDS = 1_200
MAX_REFUSED = 1_000
# What is dated far ahead is kept until that date. A machine whose clock was years ahead
# still needs to hear what is wrong with it once that was mended.
MAX_REFUSED_AHEAD = 900
MAX_EPOCH = 2**63 - 1


class Verdict(BaseModel):
    """What was decided about one event; `code` and `reason` of a refusal."""

    event_id: str
    machine_id: str
    verdict: str
    code: str | None = None
    reason: str | None = None
    keep_until_epoch: int


class AlreadyJudgedError(Exception):
    """The event has a verdict: another process, or a copy of it, was first."""


async def get_verdict(event_id: str, conn: Connection | None = None) -> Verdict | None:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            f"SELECT * FROM {S}.dca_line_events WHERE event_id = :id",  # noqa: S608
            Verdict,
            {"id": event_id},
        )
    return found[0] if found else None


def keep_until(event: Incoming, now: float) -> int:
    """Twenty minutes after the later of its date and ours, in seconds since 1970."""
    return min(max(event.created_at, int(now)) + KEEP_SECONDS, MAX_EPOCH)


async def _insert(conn: Connection, verdict: Verdict) -> bool:
    """False if the event has a verdict already, whichever it is."""
    inserted = await execute(
        conn,
        f"""
        INSERT INTO {S}.dca_line_events
            (event_id, machine_id, verdict, code, reason, keep_until_epoch)
        VALUES (:event_id, :machine_id, :verdict, :code, :reason, :keep_until_epoch)
        ON CONFLICT (event_id) DO NOTHING
        """,  # noqa: S608
        verdict.dict(),
    )
    return inserted == 1


async def note_acted(conn: Connection, event: Incoming, machine_id: str) -> None:
    """In the transaction that acts upon it. Raises `AlreadyJudgedError`."""
    verdict = Verdict(
        event_id=event.id,
        machine_id=machine_id,
        verdict=ACTED,
        keep_until_epoch=keep_until(event, time.time()),
    )
    if not await _insert(conn, verdict):
        raise AlreadyJudgedError


async def may_act_again(event: Incoming, machine_id: str, holder: str) -> bool:
    """Whether what this event (or an earlier one) began may be gone on with for it.

    False if it was refused, or if `holder` is not the engine by the database's clock.
    """
    async with transaction() as conn:
        await _insert(
            conn,
            Verdict(
                event_id=event.id,
                machine_id=machine_id,
                verdict=ACTED,
                keep_until_epoch=keep_until(event, time.time()),
            ),
        )
        acted = await execute(
            conn,
            f"UPDATE {S}.dca_line_events SET verdict = verdict "  # noqa: S608
            f"WHERE event_id = :event AND verdict = :acted AND {lease_held_sql()}",
            {"event": event.id, "acted": ACTED, "holder": holder},
        )
    return acted == 1


async def refuse(event: Incoming, machine_id: str, code: str, reason: str) -> bool:
    """Keep a refusal; True once it is committed, and only then may it be said.

    False if the event was acted upon (see `take_back`), and when a machine has too many
    refusals: then it hears nothing.
    """
    now = time.time()
    verdict = Verdict(
        event_id=event.id,
        machine_id=machine_id,
        verdict=REFUSED,
        code=code,
        reason=reason,
        keep_until_epoch=keep_until(event, now),
    )
    async with transaction() as conn:
        await _forget(conn, machine_id, now)
        known = await get_verdict(event.id, conn)
        if known is None:
            return await _has_room(conn, verdict, now) and await _insert(conn, verdict)
    return known.verdict == REFUSED


async def take_back(event: Incoming, code: str, reason: str, holder: str) -> bool:
    """Refuse what was acted upon, because LNbits did not even try it.

    Only by the engine: nobody else can be paying it at this moment. False otherwise,
    and nothing may be said then.
    """
    async with transaction() as conn:
        taken_back = await execute(
            conn,
            f"""
            UPDATE {S}.dca_line_events
            SET verdict = :refused, code = :code, reason = :reason
            WHERE event_id = :event AND verdict = :acted AND {lease_held_sql()}
            """,  # noqa: S608
            {
                "refused": REFUSED,
                "acted": ACTED,
                "code": code,
                "reason": reason,
                "event": event.id,
                "holder": holder,
            },
        )
    return taken_back == 1


async def _forget(conn: Connection, machine_id: str, now: float) -> None:
    await execute(
        conn,
        f"DELETE FROM {S}.dca_line_events "  # noqa: S608
        "WHERE machine_id = :machine AND keep_until_epoch < :now",
        {"machine": machine_id, "now": int(now)},
    )


async def _has_room(conn: Connection, verdict: Verdict, now: float) -> bool:
    row = await fetch_one(
        conn,
        f"""
        SELECT COUNT(*) AS all_of_them,
            COALESCE(SUM(CASE WHEN keep_until_epoch > :soon THEN 1 ELSE 0 END), 0)
                AS ahead
        FROM {S}.dca_line_events WHERE machine_id = :machine AND verdict = :refused
        """,  # noqa: S608
        {
            "machine": verdict.machine_id,
            "refused": REFUSED,
            "soon": int(now) + 2 * KEEP_SECONDS,
        },
    )
    if row is None or int(row["all_of_them"]) >= MAX_REFUSED:
        return False
    is_ahead = verdict.keep_until_epoch > int(now) + 2 * KEEP_SECONDS
    return not is_ahead or int(row["ahead"]) < MAX_REFUSED_AHEAD
