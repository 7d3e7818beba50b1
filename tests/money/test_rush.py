"""In a rush customers pay first; one sale alone waits for nobody."""

from __future__ import annotations

import asyncio
import time

import pytest
from world import MakeWorld

from satmachineadmin import distribution, tasks
from satmachineadmin.money import rounds, rush

from conftest import wait_for


async def test_one_sale_waits_for_nobody() -> None:
    alone = rush.PayoutDebouncer()
    alone.landed()
    assert not alone.is_on()


async def test_a_rush_is_over_when_nobody_comes() -> None:
    customers = rush.PayoutDebouncer()
    customers.landed()
    customers.landed()
    assert customers.is_on()
    started = time.monotonic()
    await customers.wait_until_quiet()
    assert (
        rush.QUIET_PERIOD_SECONDS <= time.monotonic() - started < rush.MAX_WAIT_SECONDS
    )


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def come_after(self, customers: rush.PayoutDebouncer, *seconds: float) -> None:
        for pause in seconds:
            self.now += pause
            customers.landed()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rush, "time", clock)
    monkeypatch.setattr(rush, "MAX_WAIT_SECONDS", 10)
    return clock


def test_customers_of_a_slow_server_come_slowly(clock: Clock) -> None:
    customers = rush.PayoutDebouncer()
    clock.come_after(customers, 0, 0.4, 0.1, 0.1)
    clock.now += 0.7
    assert customers.is_on()
    clock.now += 0.2
    assert not customers.is_on()


def test_a_pause_before_a_rush_does_not_make_it_longer(clock: Clock) -> None:
    customers = rush.PayoutDebouncer()
    clock.come_after(customers, 0, 50, 0.1)
    clock.now += rush.QUIET_PERIOD_SECONDS + 0.1
    assert not customers.is_on()


def test_of_a_sale_alone_a_few_are_paid_first_and_then_everybody(clock: Clock) -> None:
    customers = rush.PayoutDebouncer()
    assert customers.take_batch_limit() is None
    for _ in range(2):
        clock.come_after(customers, 5)
        assert customers.take_batch_limit() == rush.PROBE_BATCH_SIZE
        assert customers.take_batch_limit() is None
    # whoever was paid by another process, or a minute ago, is no beginning of a rush
    clock.come_after(customers, 5)
    clock.now += 2
    assert customers.take_batch_limit() is None


def test_in_a_rush_few_are_paid_and_after_it_all(clock: Clock) -> None:
    customers = rush.PayoutDebouncer()
    clock.come_after(customers, 0, 0.1)
    assert (
        customers.take_batch_limit()
        == customers.take_batch_limit()
        == rush.PROBE_BATCH_SIZE
    )
    clock.now += 1
    assert customers.take_batch_limit() is None


async def test_what_takes_nothing_from_customers_is_done_meanwhile() -> None:
    customers = rush.PayoutDebouncer()
    done: list[int] = []

    async def plan() -> None:
        done.append(len(done))
        if len(done) < 3:
            customers.landed()

    customers.landed()
    customers.landed()
    await customers.wait_until_quiet(plan)
    assert len(done) == 3


async def test_whoever_is_owed_waits_no_longer_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rush, "MAX_WAIT_SECONDS", 0.5)
    customers = rush.PayoutDebouncer()

    async def come() -> None:
        while True:
            customers.landed()
            await asyncio.sleep(0.05)

    coming = asyncio.create_task(come())
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await customers.wait_until_quiet()
    waited = time.monotonic() - started
    assert 0.5 <= waited < 1.5
    # and then there is as much time to pay
    assert customers.is_on()
    assert customers.take_batch_limit() is None
    started = time.monotonic()
    await customers.wait_until_quiet()
    assert time.monotonic() - started < 0.2
    coming.cancel()


async def test_ten_customers_at_once_cost_one_payment_for_each_receiver(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside what the first were paid before anybody knew of a rush."""
    # the customers of a test on a busy machine are slow
    monkeypatch.setattr(rush, "QUIET_PERIOD_SECONDS", 1.0)
    monkeypatch.setattr(rush, "BURST_GAP_SECONDS", 5.0)
    monkeypatch.setattr(rush, "MAX_WAIT_SECONDS", 30.0)
    monkeypatch.setattr(tasks, "debouncer", rush.PayoutDebouncer())
    monkeypatch.setattr(distribution, "debouncer", tasks.debouncer)
    world = await make_world(deposits=["3000.00", "1000.00"])
    hashes = [await world.cash_out() for _ in range(10)]

    async def is_paid() -> bool:
        rows = [await world.settlement(payment_hash) for payment_hash in hashes]
        return all(row.status == "completed" for row in rows)

    await wait_for(is_paid, 30)
    receivers = 3  # two LPs and the platform
    assert len(await world.payouts()) <= 2 * receivers + 1
    await world.assert_ledger()


async def test_one_answer_serves_every_wallet_of_a_pass(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asking uses the answer up: the second wallet of a pass got no limit at all."""
    wallets = []
    for _ in range(2):
        world = await make_world(deposits=["300.00"])
        await world.landed(await world.cash_out())
        wallets.append(world.machine_wallet.id)
    answers = iter([rush.PROBE_BATCH_SIZE])
    monkeypatch.setattr(
        distribution.debouncer, "take_batch_limit", lambda: next(answers, None)
    )
    seen: dict[str, int | None] = {}

    async def open_round(wallet_id: str, _: str, most: int | None = None) -> int:
        seen[wallet_id] = most
        return 0

    monkeypatch.setattr(rounds, "open_round", open_round)
    await engine_paused.run_pass()
    assert [seen[wallet] for wallet in wallets] == [rush.PROBE_BATCH_SIZE] * 2
