"""LNbits' connection is shared by many payments, and given back in between.

What is tested: invoices are committed together or not at all; whoever loses the lease
between two holds pays nothing more; with the shortest hold everybody is paid once.
"""

from __future__ import annotations

from typing import Any

import pytest
from lnbits.core.db import db as core_db
from world import Killed, MakeWorld, World, killed_at

from satmachineadmin import distribution
from satmachineadmin.base import lease
from satmachineadmin.base.database import fetch_all, in_list
from satmachineadmin.host import paying
from satmachineadmin.models import Payout
from satmachineadmin.money import payouts, payouts_crud
from satmachineadmin.money.rush import PayoutDebouncer

LPS = 4


async def invoices_in_lnbits(world: World) -> int:
    params: dict[str, Any] = {}
    listed = in_list("w", [lp.wallet.id for lp in world.lps], params)
    async with core_db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT checking_id FROM apipayments WHERE wallet_id IN {listed}",
            params,
        )
    assert all(row["checking_id"].startswith("internal_in_") for row in found)
    return len(found)


async def received(world: World) -> list[int]:
    return [await lp.balance_sats() for lp in world.lps]


async def test_killed_among_the_invoices_there_are_none(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"] * LPS)
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = paying.update_payment_checking_id
    seen: list[str] = []

    async def third_kills(*args: Any) -> None:
        seen.append(args[0])
        if len(seen) == 3:
            killed_at()
        await real(*args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        # the customers of the tests before this one are none of its
        patch.setattr(distribution, "debouncer", PayoutDebouncer())
        patch.setattr(distribution, "MAX_CONNECTION_SECONDS", 60)
        patch.setattr(paying, "update_payment_checking_id", third_kills)
        await engine_paused.run_until_idle()
    assert await invoices_in_lnbits(world) == 0
    assert {p["status"] for p in await world.payouts()} == {"new"}
    await engine_paused.run_until_idle()
    assert await received(world) == [25_000] * LPS
    assert await invoices_in_lnbits(world) == LPS
    await world.assert_ledger()


async def test_killed_between_two_holds_of_invoices_others_are_made(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"] * LPS)
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = paying.update_payment_checking_id
    seen: list[str] = []

    async def third_kills(*args: Any) -> None:
        seen.append(args[0])
        if len(seen) == 3:
            killed_at()
        await real(*args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(distribution, "MAX_CONNECTION_SECONDS", 0)
        # the customers of the tests before this one are none of its
        patch.setattr(distribution, "debouncer", PayoutDebouncer())
        patch.setattr(paying, "update_payment_checking_id", third_kills)
        await engine_paused.run_until_idle()
    assert await invoices_in_lnbits(world) == 2
    assert {p["status"] for p in await world.payouts()} == {"new"}
    await engine_paused.run_until_idle()
    assert await received(world) == [25_000] * LPS
    assert await invoices_in_lnbits(world) == LPS + 2
    await world.assert_ledger()


async def test_killed_between_two_holds_of_payments_nobody_is_paid_again(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"] * LPS)
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = payouts.try_to_pay
    tried: list[str] = []

    async def third_kills(*args: Any, **kwargs: Any) -> str | None:
        tried.append(args[0].id)
        if len(tried) == 3:
            killed_at()
        return await real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(distribution, "MAX_CONNECTION_SECONDS", 0)
        # the customers of the tests before this one are none of its
        patch.setattr(distribution, "debouncer", PayoutDebouncer())
        patch.setattr(payouts, "try_to_pay", third_kills)
        await engine_paused.run_until_idle()
    # two are paid in LNbits, and no row of ours says so yet
    assert sum(await received(world)) == 50_000
    assert {p["status"] for p in await world.payouts()} == {"invoiced"}
    await engine_paused.run_until_idle()
    assert await received(world) == [25_000] * LPS
    await world.assert_ledger()


@pytest.mark.parametrize("look_after", [0, 60])
async def test_the_shortest_hold_pays_everybody_once(
    look_after: int,
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00"] * LPS)
    monkeypatch.setattr(distribution, "MAX_CONNECTION_SECONDS", 0)
    monkeypatch.setattr(distribution, "OUTCOME_INTERVAL_SECONDS", look_after)
    payment_hash = await world.cash_out()
    settled = await world.settle(payment_hash)
    assert settled.status == "completed"
    assert await received(world) == [25_000] * LPS
    assert await invoices_in_lnbits(world) == LPS
    await world.assert_ledger()


async def test_nothing_is_paid_after_the_lease_was_lost_between_two_holds(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"] * LPS)
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real_store, real_pay = payouts_crud.store_invoices, payouts.try_to_pay
    real_holds = lease.holds_lease
    tried: list[str] = []

    with pytest.MonkeyPatch.context() as patch:

        async def store(*args: Any) -> list[Payout]:
            patch.setattr(distribution, "MAX_CONNECTION_SECONDS", 0)
            patch.setattr(distribution, "OUTCOME_INTERVAL_SECONDS", 0)
            return await real_store(*args)

        async def pay(*args: Any, **kwargs: Any) -> str | None:
            tried.append(args[0].id)
            return await real_pay(*args, **kwargs)

        async def holds(*args: Any) -> bool:
            return not tried and await real_holds(*args)

        patch.setattr(payouts_crud, "store_invoices", store)
        patch.setattr(payouts, "try_to_pay", pay)
        patch.setattr(lease, "holds_lease", holds)
        await engine_paused.run_until_idle()
    assert len(tried) == 1
    assert sum(await received(world)) == 25_000
    await engine_paused.run_until_idle()
    assert await received(world) == [25_000] * LPS
    await world.assert_ledger()
