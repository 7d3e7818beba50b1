"""The lease at rest: how long it lasts, and who takes it over when.

The holders are real processes, and the terms real; only the clock of the row is moved.
Two servers, one killed and one frozen: money/test_crash, torture/test_three_processes.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from lnbits.db import SQLITE
from world import MakeWorld, World, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base import lease, processes
from satmachineadmin.base.database import db, epoch_now_sql, execute, transaction
from satmachineadmin.models import utc_now
from satmachineadmin.money import owed_crud, payouts_crud

# before a fixture puts others in their place
rest_as_engine, wait_for_lease = tasks._rest_as_engine, tasks._wait_for_lease
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(SLEEPER)
    yield process
    process.kill()
    process.wait()


def owed_from_now_on() -> str:
    """What is owed, but for what the tests before this one left unpaid."""
    now = utc_now()
    began = f"'{now:%Y-%m-%d %H:%M:%S}'" if db.type != SQLITE else str(now.timestamp())
    own, count = re.subn(
        r"(FROM satoshimachine\.dca_(?:settlements|payments|payouts)\s+WHERE)",
        rf"\1 created_at >= {began} AND",
        owed_crud.OWED,
    )
    assert count == 3
    return own


@pytest_asyncio.fixture
async def waiting(
    engine_paused: distribution.Worker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[distribution.Worker]:
    """This process is not the engine, and its loop stands still meanwhile."""
    await engine_paused.run_until_idle()
    stands_still, go_on = asyncio.Event(), asyncio.Event()

    async def stand_still() -> None:
        stands_still.set()
        await go_on.wait()

    with monkeypatch.context() as patch:
        patch.setattr(lease._owed, "sql", owed_from_now_on())
        for name in ("_rest_as_engine", "_wait_for_lease"):
            patch.setattr(tasks, name, stand_still)
        patch.setattr(tasks, "state", tasks.State())
        tasks.owed_began.set()  # the turn that had begun ends
        await asyncio.wait_for(stands_still.wait(), 60)
        patch.setattr(tasks, "state", tasks.State())
        yield engine_paused
    await update("dca_lease", "engine", expires_epoch=0)
    go_on.set()
    await tasks.renew_lease_once()
    assert tasks.state.is_engine


async def held_by(holder: str, seconds: int) -> None:
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_lease SET holder = :holder, "
            f"expires_epoch = {epoch_now_sql()} + {seconds}",
            {"holder": holder},
        )


async def seconds_left() -> int:
    return int((await lease.lease_state())["seconds_left"])


async def is_engine_after_a_turn() -> bool:
    await tasks.renew_lease_once()
    return tasks.state.is_engine


async def owe(make_world: MakeWorld) -> tuple[World, str]:
    world = await make_world(deposits=["900.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    return world, payment_hash


async def test_it_lasts_110_seconds_at_rest_and_55_while_anything_is_owed(
    waiting: distribution.Worker, make_world: MakeWorld
) -> None:
    await held_by("gone", -1)
    assert await is_engine_after_a_turn()
    assert 108 <= await seconds_left() <= 110
    world, payment_hash = await owe(make_world)
    assert await is_engine_after_a_turn()
    assert 53 <= await seconds_left() <= 55
    await waiting.run_until_idle()
    assert (await world.settlement(payment_hash)).status == "completed"
    assert await is_engine_after_a_turn()
    assert 108 <= await seconds_left() <= 110


async def test_whose_process_has_ended_is_not_waited_for(
    waiting: distribution.Worker, other: subprocess.Popen[bytes]
) -> None:
    name = processes.name_of(other.pid)
    assert name
    await held_by(name, 110)
    for _ in range(2):
        assert not await is_engine_after_a_turn()
    other.send_signal(signal.SIGSTOP)
    assert not await is_engine_after_a_turn()
    assert 105 <= await seconds_left() <= 110
    other.kill()
    other.wait()
    assert await is_engine_after_a_turn()
    assert await lease.holds_lease(distribution.INSTANCE_ID)


async def test_two_that_see_it_gone_do_not_both_take_it(
    waiting: distribution.Worker, other: subprocess.Popen[bytes]
) -> None:
    name = processes.name_of(other.pid)
    assert name
    await held_by(name, 110)
    other.kill()
    other.wait()
    us = [uuid4().hex for _ in range(5)]
    took = await asyncio.gather(*(lease.take_from(name, one) for one in us))
    assert sorted(took) == [False, False, False, False, True]
    assert await lease.holds_lease(us[took.index(True)])


async def test_a_frozen_holder_at_rest_is_waited_for_until_its_time_is_over(
    waiting: distribution.Worker, other: subprocess.Popen[bytes]
) -> None:
    name = processes.name_of(other.pid)
    assert name
    other.send_signal(signal.SIGSTOP)
    await held_by(name, 3)
    assert not await is_engine_after_a_turn()
    began = time.monotonic()
    while not await is_engine_after_a_turn():
        await asyncio.sleep(0.2)
    assert 1.9 <= time.monotonic() - began <= 6
    # and when it wakes up it may not write what comes before a payment
    assert not await lease.holds_lease(name)
    assert await payouts_crud.store_invoices([], name) == []


async def test_what_begins_to_be_owed_shortens_the_lease_of_one_at_rest(
    waiting: distribution.Worker,
    other: subprocess.Popen[bytes],
    make_world: MakeWorld,
) -> None:
    """It may be frozen: then another pays within a minute of the sale."""
    name = processes.name_of(other.pid)
    assert name
    other.send_signal(signal.SIGSTOP)
    await held_by(name, 110)
    assert not await is_engine_after_a_turn()
    assert await seconds_left() > 100
    world, payment_hash = await owe(make_world)
    assert not await is_engine_after_a_turn()
    left = await seconds_left()
    assert 53 <= left <= lease.LEASE_SECONDS
    for _ in range(2):  # once, and not again with each look
        await held_by(name, left - 20)
        assert not await is_engine_after_a_turn()
        assert await seconds_left() <= left - 20
    await held_by(name, 0)
    assert await is_engine_after_a_turn()
    await waiting.run_until_idle()
    assert (await world.settlement(payment_hash)).status == "completed"


async def test_one_that_lives_is_not_robbed_by_the_shorter_term() -> None:
    """Whoever rests renews within the term that another may cut it down to."""
    assert lease.RESTING_RENEW_SECONDS < lease.LEASE_SECONDS
    assert lease.RENEW_SECONDS < lease.LEASE_SECONDS < 60 - tasks.IDLE_POLL_SECONDS
    assert lease.RESTING_LEASE_SECONDS < 120 - tasks.IDLE_POLL_SECONDS


async def test_what_waits_for_a_person_is_not_owed(
    waiting: distribution.Worker, make_world: MakeWorld
) -> None:
    world, payment_hash = await owe(make_world)
    await waiting.run_until_idle()
    leg, *_ = await world.legs(payment_hash)
    await update(
        "dca_payments",
        leg.id,
        status="pending",
        leg_type="refund",
        payout_id=None,
        target=None,
    )
    try:
        assert not (await lease.look()).is_owed
        await update("dca_payments", leg.id, target="wallet")
        assert (await lease.look()).is_owed
    finally:
        await update(
            "dca_payments",
            leg.id,
            status=leg.status,
            leg_type=leg.leg_type,
            payout_id=leg.payout_id,
            target=leg.target,
        )


async def wait_ends_within(seconds: float, wait: Any) -> float:
    began = time.monotonic()
    await asyncio.wait_for(wait, seconds)
    return time.monotonic() - began


async def test_who_waits_looks_when_the_holder_ends_and_when_something_is_written(
    waiting: distribution.Worker,
    other: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = processes.name_of(other.pid)
    position: list[int | None] = [1]
    monkeypatch.setattr(tasks.written, "raw_position", lambda: position[0])
    monkeypatch.setattr(tasks, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(tasks, "IDLE_POLL_SECONDS", 0.2)
    seen = lease.Lease(name, 110, is_owed=False)
    resting = tasks.state
    resting.lease_seen, resting.lease_raw = seen, 1
    with pytest.raises(asyncio.TimeoutError):  # nothing was written: no look
        await wait_ends_within(0.6, wait_for_lease())
    position[0] = 2
    assert await wait_ends_within(2, wait_for_lease()) >= 0.2
    position[0] = resting.lease_raw = None  # it cannot be told
    assert await wait_ends_within(2, wait_for_lease()) >= 0.2
    position[0] = resting.lease_raw = 2
    other.kill()
    other.wait()
    await wait_ends_within(2, wait_for_lease())
    resting.lease_seen = lease.Lease("elsewhere", 0, is_owed=False)
    assert await wait_ends_within(2, wait_for_lease()) >= 0.2


async def test_an_engine_at_rest_renews_every_50_seconds_and_at_once_when_owed(
    waiting: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resting = tasks.state
    resting.is_engine, resting.is_owed = True, False
    resting.lease_renewed = time.monotonic() - 49.9
    assert 0.05 <= await wait_ends_within(2, rest_as_engine()) <= 1
    resting.lease_renewed = time.monotonic() - 20
    turn = asyncio.create_task(rest_as_engine())
    await asyncio.sleep(0.05)
    assert not turn.done()
    tasks.note_owed(is_owed=True)
    await asyncio.wait_for(turn, 2)
    resting.lease_renewed = time.monotonic() - 9.9
    assert 0.05 <= await wait_ends_within(2, rest_as_engine()) <= 1
