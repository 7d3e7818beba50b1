"""Waiting for something to happen: not for ever, and not dying of what one awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class CancelledWithinError(RuntimeError):
    """What was waited for was cancelled, and whoever waited was not."""


async def in_own_task(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, run so that a cancellation from within is an error.

    A library that cancels what it waits for (a connection that is given up, a client
    that closes) raises CancelledError through everybody above it. A permanent task of
    LNbits' is begun again after any Exception, and ends for good after that one: the
    lease is let go, or nobody lands, or nobody pays, until the next restart. Here only
    the caller's own cancellation comes through as one; `Task.cancelling`, which could
    tell, is not in Python 3.10. Raises CancelledWithinError for the other kind, after
    a cancellation of the caller only when `work` has come to its end.
    """
    task = asyncio.ensure_future(work)
    try:
        # unlike `await task`, it raises CancelledError for the caller's own only
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
    if task.cancelled():
        raise CancelledWithinError("what was waited for was cancelled")
    return task.result()


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
