"""Kills the money path at every point, restarts it, and counts the sats.

The story: a cash-out to three LPs (one forwards, one is capped), the platform, a
split inside and a split outside; a cash-in; a cash-out whose machine dispensed half of
it, and the customer's refund. It runs once unharmed; then once for each point (see
points.py), killed there, restarted, and finished. Each killed run must end with every
party holding exactly what the unharmed run gave them, and with a ledger that adds up.

`make test` kills at a small sample of kinds of points; `make torture` at one point of
every kind, and with SATMACHINE_TORTURE=all at all of them (hours). Both print points,
kills and findings.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from lnbits.core.crud import payments as lnbits_payments_crud
from lnbits.core.services import payments as lnbits_payments
from lnbits.wallets import get_funding_source
from lnurl_server import LnurlServer
from points import Points, wrap_everything
from world import Killed, MakeWorld, World, balance_sats

from satmachineadmin import (
    crud,
    distribution,
    landing,
    lease,
    payouts,
    payouts_crud,
    planning,
    repairs,
    repairs_crud,
    replanning,
    rounds,
    targets,
    tasks,
)
from satmachineadmin.database import run, transaction

MONEY_PATH = (
    crud,
    distribution,
    landing,
    lease,
    payouts,
    payouts_crud,
    planning,
    repairs,
    repairs_crud,
    replanning,
    rounds,
    targets,
    lnbits_payments,
    lnbits_payments_crud,
)
IS_ALL = os.environ.get("SATMACHINE_TORTURE") == "all"
SAMPLE = int(os.environ.get("SATMACHINE_TORTURE_SAMPLE", "12"))

pytestmark = pytest.mark.timeout(24 * 3600 if SAMPLE > 20 or IS_ALL else 300)

points = Points()


@pytest.fixture
def hush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the story lands payments: not the listener, not the background sweep."""
    monkeypatch.setattr(tasks.bitspire, "is_bitspire_payment", _never_in_background)
    monkeypatch.setattr(crud, "EXTERNAL_GATHER", timedelta(0))
    monkeypatch.setattr(payouts_crud, "EXTERNAL_GATHER", timedelta(0))
    monkeypatch.setattr(payouts, "HALF_DONE_SECONDS", 0)


_real_is_bitspire = tasks.bitspire.is_bitspire_payment
_is_landing_on = False


def _never_in_background(payment: Any) -> bool:
    return _is_landing_on and _real_is_bitspire(payment)


@pytest.fixture
def wrapped() -> Iterator[None]:
    restore = wrap_everything(points, MONEY_PATH)
    yield
    restore()


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[LnurlServer]:
    async with LnurlServer() as server:
        yield server


class Story:
    """One world, and the steps that happen in it; a step that died is taken again."""

    def __init__(self, world: World, shop: LnurlServer) -> None:
        self.world = world
        self.shop = shop
        self.hashes: list[str] = []
        self.refund_bolt11 = ""

    async def prepare(self) -> None:
        world = self.world
        self.partner = await world.make_user("partner")
        await world.add_split(
            self.partner.wallet.id, "0.4000", wallet_id=self.partner.wallet.id
        )
        await world.add_split(self.shop.target, "0.6000", kind="lnurl", sort_order=1)
        await world.add_lp("300.00")
        await world.add_lp("100.00", mode="fixed", daily_limit="20.00")
        await world.add_lp("200.00", autoforward=self.shop.target)
        refund = await get_funding_source().create_invoice(50_000, "my refund")
        self.refund_bolt11 = str(refund.payment_request)

    async def settle(self) -> None:
        """What a running server does by itself: land, plan, pay."""
        global _is_landing_on
        _is_landing_on = True
        try:
            await tasks.sweep(is_full=True)
        finally:
            _is_landing_on = False
        await distribution.worker.run_until_idle()

    async def dispense_half(self) -> None:
        settlement = await self.world.settlement(self.hashes[2])
        if settlement.dispensed_fiat is None:
            await repairs.report_dispense(
                self.world.operator.user_id, settlement.id, 10_000, "a bill jammed"
            )

    async def refund(self) -> None:
        settlement = await self.world.settlement(self.hashes[2])
        legs = await self.world.legs(self.hashes[2], "refund")
        if legs and legs[0].target is None and legs[0].status == "pending":
            await repairs.refund(
                self.world.operator.user_id,
                settlement.id,
                self.refund_bolt11,
                "half came out",
                f"refund-{settlement.id}",
            )

    async def holdings(self) -> dict[str, int]:
        world = self.world
        wallets = {
            "machine": world.machine_wallet.id,
            "platform": world.platform.id,
            "partner": self.partner.wallet.id,
            **{f"lp{i}": lp.wallet.id for i, lp in enumerate(world.lps)},
        }
        found = {name: await balance_sats(w) for name, w in wallets.items()}
        for i, lp in enumerate(world.lps):
            found[f"fiat{i}"] = int(await world.remaining(lp) * 100)
        return found


async def restart() -> None:
    """What a new process finds: nothing in memory, the lease of a dead holder over,
    and, with time, every wait over."""
    await asyncio.gather(
        *distribution.worker.externals.values(),
        *payouts.shield.tasks,
        return_exceptions=True,
    )
    payouts.shield = distribution.shield = payouts.Shield()
    distribution.worker = distribution.Worker()
    distribution.HOLDER = uuid.uuid4().hex
    async with transaction() as conn:
        await run(conn, "UPDATE satoshimachine.dca_lease SET expires_epoch = 0")
    assert await lease.take_lease(distribution.HOLDER)


async def time_passes() -> None:
    async with transaction() as conn:
        for table in ("dca_payments", "dca_payouts"):
            await run(
                conn,
                f"UPDATE satoshimachine.{table} SET next_try_at = NULL "
                "WHERE status IN ('pending', 'new', 'invoiced')",
            )


async def finish(story: Story) -> None:
    """A few rounds of a healthy server."""
    for _ in range(6):
        await time_passes()
        await story.settle()
        statuses = {(await story.world.settlement(h)).status for h in story.hashes if h}
        legs = [x for h in story.hashes for x in await story.world.legs(h)]
        is_waiting = any(x.status == "pending" and x.target for x in legs)
        if statuses <= {"completed", "awaiting_dispense"} and not is_waiting:
            return


async def tell(story: Story, target: int) -> bool:
    """The whole story, killed at point `target` (0: never); True if it was killed."""
    points.start(target)
    world = story.world
    was_killed = False

    async def step(action: Any) -> None:
        nonlocal was_killed
        try:
            with points.story():
                await asyncio.create_task(action())
        except Killed:
            was_killed = True
            await restart()
            await action()
        if points.is_dead and not was_killed:  # it died in a task nobody awaits
            was_killed = True
            await restart()

    story.hashes.append(await world.cash_out())
    await step(story.settle)
    await finish_if(was_killed, story)
    story.hashes.append(await world.cash_in(principal=50_000, fee=4_000, fiat="100.00"))
    await step(story.settle)
    await finish_if(was_killed, story)
    story.hashes.append(await world.cash_out(dispense="awaiting"))
    await step(story.settle)
    await step(story.dispense_half)
    await step(story.settle)
    await step(story.refund)
    await step(story.settle)
    await finish(story)
    return was_killed


async def finish_if(was_killed: bool, story: Story) -> None:
    """The unharmed run pays each part of the story before the next begins; a killed
    one must have caught up by then too, or the parts would be merged differently."""
    if was_killed:
        await finish(story)


def choose(order: list[str]) -> list[int]:
    """The points to die at: all, or a sample with every kind before any kind twice."""
    if IS_ALL:
        return list(range(1, len(order) + 1))
    by_kind: dict[str, list[int]] = {}
    for number, name in enumerate(order, 1):
        by_kind.setdefault(name, []).append(number)
    kinds = random.sample(sorted(by_kind), min(SAMPLE, len(by_kind)))
    return sorted(random.choice(by_kind[kind]) for kind in kinds)


async def _run(make_world: MakeWorld, shop: LnurlServer, target: int) -> Any:
    world = await make_world()
    await world.fund(world.machine_wallet.id, 60_000)
    story = Story(world, shop)
    await story.prepare()
    was_killed = await tell(story, target)
    return story, was_killed, await story.holdings()


async def test_killed_at_every_point_everybody_ends_with_the_same_sats(
    make_world: MakeWorld,
    shop: LnurlServer,
    engine_paused: Any,
    hush: None,
    wrapped: None,
) -> None:
    unharmed, _, expected = await _run(make_world, shop, 0)
    total, kinds = points.passed, len(set(points.order))
    chosen = choose(points.order)
    await unharmed.world.assert_ledger()
    assert total > 300, "the points were not discovered"
    for payment_hash in unharmed.hashes:
        assert (await unharmed.world.settlement(payment_hash)).status == "completed"
    kills, findings, slowest = 0, [], 0.0
    for target in chosen:
        started = time.monotonic()
        story, was_killed, holdings = await _run(make_world, shop, target)
        kills += was_killed
        slowest = max(slowest, time.monotonic() - started)
        await story.world.assert_ledger()
        if holdings != expected:
            findings.append((target, points.died_at, holdings))
        for payment_hash in story.hashes:
            status = (await story.world.settlement(payment_hash)).status
            if status != "completed":
                findings.append((target, points.died_at, status))
    print(
        f"\n{total} points of {kinds} kinds, {len(chosen)} runs, {kills} kills, "
        f"{len(findings)} findings; longest run {slowest:.1f} s"
    )
    assert findings == []
    assert kills == len(chosen)
