"""Waiting for something to happen, but not for ever."""

from __future__ import annotations

import asyncio


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than so many seconds.

    `asyncio.wait_for` swallows a cancellation that comes with the event (before Python
    3.12), and the loop around it would go on for ever.
    """
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiter}, timeout=max(0.0, seconds))
    finally:
        waiter.cancel()
