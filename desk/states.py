"""How machines were: written down when one falls silent, is heard again, or is
switched off.

Guaranteed: a machine that fell silent is written with the moment at which it did,
however late somebody looks: that follows from its last word. One row a change.
Not guaranteed: a silence that begins and ends between two looks (a minute, ten at
rest), and whether a machine or this server was away: what is written is when a machine
was heard.
"""

from __future__ import annotations

from datetime import datetime

from ..base.database import db, from_db_time, transaction
from ..books.reports import ONLINE, QUIET
from ..models import utc_now
from . import states_crud as sql
from .states_crud import OFF, OFFLINE, ONLINE_STATE, QUIET_STATE, Change, Row


def changes_of(row: Row, now: datetime) -> list[Change]:
    """What became of a machine since its last row, oldest first."""
    at = int(now.timestamp())
    last, since = row["state"], int(row["since"] or 0)
    if not row["is_active"]:
        return [] if last == OFF else [Change(row["id"], at, OFF)]
    seen = from_db_time(row["last_seen_at"])
    if seen is None:
        return [] if last == OFFLINE else [Change(row["id"], at, OFFLINE)]
    heard = int(seen.timestamp())
    silent = (
        (heard, ONLINE_STATE),
        (heard + int(ONLINE.total_seconds()), QUIET_STATE),
        (heard + int(QUIET.total_seconds()), OFFLINE),
    )
    past = [(moment, state) for moment, state in silent if moment <= at]
    # a machine whose clock is ahead of ours was heard now
    current = past[-1] if past else (at, ONLINE_STATE)
    if last in (None, OFF):
        # nothing is known of before
        return [Change(row["id"], at, current[1])]
    found: list[Change] = []
    for moment, state in past or [current]:
        if moment > since and state != last:
            found.append(Change(row["id"], moment, state))
            last = state
    return found


async def note_states() -> int:
    """Write down what changed; how many changes. For the engine, with its notices."""
    now = utc_now()
    async with db.connect() as conn:
        rows = await sql.machines(conn)
    found = [change for row in rows for change in changes_of(row, now)]
    if found:
        async with transaction() as conn:
            await sql.write(conn, found)
    return len(found)
