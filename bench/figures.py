"""How the rows print, time and count."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from statistics import median

from bench.stage import DATABASE, Stage

# isort: split
from sqlalchemy import event

from satmachineadmin import tasks
from satmachineadmin.base.database import db

from conftest import wait_for


def say(text: str) -> None:
    """One line of the list in docs/scaling.md."""
    print(f"- {DATABASE}: {text}", flush=True)


async def seconds_of(action: Callable[[], Awaitable[object]], times: int = 1) -> float:
    """The median of so many runs, one after another."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await action()
        taken.append(time.perf_counter() - started)
    return median(taken)


async def count_calls(action: Callable[[], Awaitable[object]]) -> int:
    """SQL statements of our database that an action executes."""
    calls = 0

    def seen(*_: object) -> None:
        nonlocal calls
        calls += 1

    engine = db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", seen)
    try:
        await action()
    finally:
        event.remove(engine, "before_cursor_execute", seen)
    return calls


async def engine_at_rest() -> None:
    """The engine of this process: the row calls it itself."""
    await wait_for(lambda: tasks.state.is_engine, 30)
    tasks.is_ready = lambda: False


__all__ = ["DATABASE", "Stage", "count_calls", "engine_at_rest", "say", "seconds_of"]
