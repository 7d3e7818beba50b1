"""Servers outside that did not answer in time, and until when they are left alone.

A row of the database: all legs that go there wait together, take nobody's place among
the payments outside, and a restart does not forget it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlparse

from lnurl import LnurlException
from lnurl import decode as lnurl_decode

from ..base.database import db, db_time, execute, fetch_one, from_db_time, transaction
from ..models import utc_now
from .payouts_crud import backoff_seconds

__all__ = ["db"]


def host_of(destination: str) -> str | None:
    """The host that hands out invoices for a payout's destination, if any does."""
    kind, _, target = destination.partition(":")
    if kind == "address":
        return target.rpartition("@")[2].lower() or None
    if kind != "lnurl":
        return None
    try:
        return urlparse(str(lnurl_decode(target))).netloc.lower() or None
    except (LnurlException, ValueError):
        return None


async def paused_until(host: str) -> datetime | None:
    """When this host may be asked again, if it is not now."""
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            "SELECT paused_until FROM satoshimachine.dca_paused_hosts "
            "WHERE host = :host AND paused_until > :now",
            {"host": host, "now": db_time(utc_now())},
        )
    return from_db_time(row["paused_until"]) if row else None


async def note_timeout(host: str) -> None:
    """It did not answer in time: 1 min of pause, doubling, at most 1 h.

    Several requests that run out together are one time.
    """
    now = utc_now()
    async with transaction() as conn:
        row = await fetch_one(
            conn,
            "SELECT timeouts, paused_until FROM satoshimachine.dca_paused_hosts "
            "WHERE host = :host",
            {"host": host},
        )
        until = from_db_time(row["paused_until"]) if row else None
        if until and until > now:
            return
        timeouts = int(row["timeouts"]) + 1 if row else 1
        pause = timedelta(seconds=backoff_seconds(timeouts))
        await execute(
            conn,
            """
            INSERT INTO satoshimachine.dca_paused_hosts (host, timeouts, paused_until)
            VALUES (:host, :timeouts, :until) ON CONFLICT (host) DO UPDATE
            SET timeouts = excluded.timeouts, paused_until = excluded.paused_until
            """,
            {"host": host, "timeouts": timeouts, "until": db_time(now + pause)},
        )


async def note_answer(host: str) -> None:
    """It answers again: nothing is remembered of it."""
    async with db.connect() as conn:
        known = await fetch_one(
            conn,
            "SELECT 1 AS yes FROM satoshimachine.dca_paused_hosts WHERE host = :host",
            {"host": host},
        )
    if known:
        async with transaction() as conn:
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_paused_hosts WHERE host = :host",
                {"host": host},
            )
