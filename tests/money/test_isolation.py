"""What goes wrong with one party's payout, round or plan stops nobody else's.

Whatever raises here stands for what nobody thought of. The engine is paused and called
by the test; the node is LNbits' funding source with one method patched.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse, PaymentSuccessStatus
from lnurl_server import LnurlServer
from unheard import second_machine
from world import MakeWorld, World, age_core

from satmachineadmin import distribution
from satmachineadmin.host import paying
from satmachineadmin.models import Leg, utc_now
from satmachineadmin.money import payouts_crud, planning, rounds


class UnforeseenError(Exception):
    """Of no class that anybody expects."""


async def two_lps(make_world: MakeWorld) -> tuple[World, str]:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    return world, payment_hash


async def leg_of(world: World, payment_hash: str, lp: int) -> Leg:
    legs = await world.legs(payment_hash, "dca")
    return next(x for x in legs if x.client_id == world.lps[lp].client.id)


async def assert_only_the_first_waits(world: World, payment_hash: str) -> None:
    assert await world.lps[1].balance_sats() == 25_000
    for leg in await world.legs(payment_hash):
        is_first = leg.client_id == world.lps[0].client.id
        assert leg.status == ("pending" if is_first else "completed")
    leg = await leg_of(world, payment_hash, 0)
    assert "UnforeseenError" in str(leg.error_message)
    assert leg.attempts == 0
    assert leg.next_try_at
    assert leg.next_try_at > utc_now()


async def test_an_invoice_that_cannot_be_made(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, payment_hash = await two_lps(make_world)
    real = paying.create_invoice

    async def create_invoice(**kwargs: Any) -> Any:
        if kwargs["wallet_id"] == world.lps[0].wallet.id:
            raise UnforeseenError
        return await real(**kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(paying, "create_invoice", create_invoice)
        await engine_paused.run_until_idle()
        await assert_only_the_first_waits(world, payment_hash)
    await world.run_due()
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_an_outcome_that_cannot_be_written(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, payment_hash = await two_lps(make_world)
    real = payouts_crud.complete_payouts

    async def complete_payouts(results: Any) -> Any:
        for payout, *_ in results:
            if payout.destination_wallet_id == world.lps[0].wallet.id:
                raise UnforeseenError
        return await real(results)

    with monkeypatch.context() as patch:
        patch.setattr(payouts_crud, "complete_payouts", complete_payouts)
        await engine_paused.run_until_idle()
        await assert_only_the_first_waits(world, payment_hash)
        assert await world.lps[0].balance_sats() == 75_000  # paid, and not paid again
    await world.run_due()
    assert await world.lps[0].balance_sats() == 75_000
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_a_server_outside_that_breaks_what_we_call_it_with(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00"])
    calls = 0

    async with LnurlServer() as shop:

        async def broken(target: str, _: int) -> str:
            nonlocal calls
            calls += target == shop.target
            raise UnforeseenError

        await world.add_split(shop.target, "1.0000", kind="lnurl")
        payment_hash = await world.cash_out()
        await world.settle(payment_hash)
        with monkeypatch.context() as patch:
            patch.setattr(paying, "get_pr_from_lnurl", broken)
            await world.run_due()
            await engine_paused.run_until_idle()
        assert calls == 1  # it is left in peace for a while
        (leg,) = await world.legs(payment_hash, "operator_split")
        assert leg.status == "pending"
        assert leg.error_message
        assert leg.next_try_at
        assert leg.next_try_at > utc_now()
        await world.run_due()
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


@pytest.mark.parametrize(
    ("module", "name"), [(rounds, "read_batch_inputs"), (planning, "build_plan")]
)
async def test_one_machines_round_or_plan(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
) -> None:
    ill, payment_hash = await two_lps(make_world)
    well = await second_machine(ill, make_world, deposits=["300.00"])
    other_hash = await well.cash_out()
    await well.landed(other_hash)
    real = getattr(module, name)
    names = {ill.machine.id, ill.machine_wallet.id}

    def broken(*args: Any) -> Any:
        if names & {getattr(x, "machine_id", x) for x in args[:1]}:
            raise UnforeseenError
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, broken)
        await engine_paused.run_until_idle()
        assert (await well.settlement(other_hash)).status == "completed"
        assert (await ill.settlement(payment_hash)).status != "completed"
    await ill.run_due()
    assert (await ill.settlement(payment_hash)).status == "completed"
    await ill.assert_ledger()


async def test_a_node_that_never_answers_holds_up_nobody_inside(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00"])
    node = get_funding_source()
    never, asked = asyncio.Event(), asyncio.Event()

    async def silent(*_: Any) -> PaymentResponse:
        return PaymentResponse(ok=None)

    async def for_ever(*_: Any) -> Any:
        asked.set()
        await never.wait()

    async def paid(*_: Any) -> PaymentSuccessStatus:
        return PaymentSuccessStatus(fee_msat=0)

    async with LnurlServer() as shop:
        await world.add_split(shop.target, "1.0000", kind="lnurl")
        first = await world.cash_out()
        await world.settle(first)
        with monkeypatch.context() as patch:
            patch.setattr(node, "pay_invoice", silent)
            await world.run_due()
            (leg,) = await world.legs(first, "operator_split")
            await age_core(str(leg.external_payment_hash), minutes=2)
            patch.setattr(node, "get_payment_status", for_ever)
            patch.setattr(paying, "NODE_SECONDS", 0.5)
            await world.make_due()
            second = await world.cash_out()
            await world.landed(second)
            for _ in range(3):
                await asyncio.wait_for(engine_paused.run_pass(), 10)
            assert await world.lps[0].balance_sats() == 200_000
            await asyncio.wait_for(asked.wait(), 10)
            # the look-up ends by itself, and is tried again later
            await asyncio.gather(*engine_paused.externals.values())
            (leg,) = await world.legs(first, "operator_split")
            assert (leg.status, leg.attempts) == ("pending", 0)
            assert "On its way" in str(leg.error_message)
        with monkeypatch.context() as patch:
            patch.setattr(node, "get_payment_status", paid)
            await world.run_due()
        await world.run_due()
    for payment_hash in (first, second):
        assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()
