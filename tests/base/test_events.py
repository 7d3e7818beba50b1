"""What a loop waits for is cancelled by somebody else: the loop goes on.

LNbits begins a permanent task again after any exception but CancelledError, so one of
those that comes from below must not look like the end of the loop. The loops' own
cancellation, by a disable or an upgrade, must still end them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from satmachineadmin import tasks
from satmachineadmin.base.events import (
    CancelledWithinError,
    in_own_task,
    wait_for_event,
)
from satmachineadmin.money.payouts import InFlightPayments

pytestmark = pytest.mark.pure

Work = Callable[[], Coroutine[Any, Any, Any]]


async def cancelled_within() -> None:
    """A library closes what it waits for, and we wait for the library."""
    below = asyncio.ensure_future(asyncio.sleep(60))
    asyncio.get_running_loop().call_soon(below.cancel)
    await below


async def test_results_and_errors_come_through() -> None:
    async def fine() -> int:
        return 7

    async def wrong() -> None:
        raise ValueError("wrong")

    assert await in_own_task(fine()) == 7
    with pytest.raises(ValueError, match="wrong"):
        await in_own_task(wrong())


@pytest.mark.parametrize(
    "waits", [in_own_task, lambda work: InFlightPayments().run(["p"], work)]
)
async def test_a_cancellation_from_within_is_an_error(waits: Any) -> None:
    with pytest.raises(CancelledWithinError):
        await waits(cancelled_within())


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_our_own_cancellation_is_one_and_waits_for_what_was_begun(
    is_deaf: bool,
) -> None:
    begun, ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            ended = True
            if not is_deaf:  # as `wait_for` was before Python 3.12
                raise

    task = asyncio.create_task(in_own_task(work()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended


async def test_both_at_the_same_moment_end_it() -> None:
    """Cancelled when the work is over and nobody has looked yet."""

    async def work() -> None:
        task.cancel()

    task = asyncio.create_task(in_own_task(work()))
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wait_is_cancelled_also_when_what_it_waits_for_happens() -> None:
    """`asyncio.wait_for` swallowed the cancellation then, and the loop lived on."""
    event = asyncio.Event()
    task = asyncio.create_task(wait_for_event(event, 60))
    await asyncio.sleep(0.01)
    event.set()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def broken_lease(patch: pytest.MonkeyPatch) -> Work:
    async def broken(_: str) -> bool:
        await cancelled_within()
        return True

    patch.setattr(tasks.lease, "acquire_or_renew", broken)
    patch.setattr(tasks.lease, "release_lease", lambda _: let_go())
    return tasks.lease_loop


async def let_go() -> None:
    raise AssertionError("the lease was let go")


def broken_turn(patch: pytest.MonkeyPatch) -> Work:
    return tasks._every(0, cancelled_within)


def broken_hint(patch: pytest.MonkeyPatch) -> Work:
    async def broken(_: Any) -> None:
        await cancelled_within()

    patch.setattr(tasks.landing, "land_payment", broken)
    payment: Any = object()
    return lambda: tasks.on_invoice_paid(payment)


@pytest.mark.parametrize("broken", [broken_lease, broken_turn, broken_hint])
async def test_every_loop_raises_what_lnbits_begins_it_again_after(
    broken: Callable[[pytest.MonkeyPatch], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.limits, "is_running", lambda: True)
    loop = broken(monkeypatch)
    with pytest.raises(CancelledWithinError):
        await asyncio.wait_for(loop(), 5)


async def test_a_loop_that_is_cancelled_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.limits, "is_running", lambda: True)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        turns += 1
        await asyncio.sleep(0)

    task = asyncio.create_task(tasks._every(0, turn)())
    while turns < 3:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 5)


def test_every_permanent_task_of_ours_is_such_a_loop() -> None:
    """A new one that calls a coroutine directly would die of the first cancellation."""
    made = {tasks._every(0, cancelled_within).__code__, tasks.lease_loop.__code__}
    assert {func.__code__ for func in tasks.TASKS.values()} <= made
