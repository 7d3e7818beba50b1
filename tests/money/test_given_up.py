"""A payout that LNbits has not tried is looked at again before it is paid.

Its receiver may have chosen another wallet since, a wallet may be gone, the platform
may have no wallet any more. Then there are servers outside that do not answer.
A real LNbits in this process; the engine is paused and called by the test.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from lnbits.core.services import pay_invoice
from lnurl_server import LnurlServer
from world import (
    Killed,
    MakeWorld,
    World,
    age_core,
    balance_sats,
    core_rows,
    edit_core,
    set_platform,
    update,
)

from satmachineadmin import crud, distribution
from satmachineadmin.base.database import db_time, fetch_all, transaction
from satmachineadmin.models import Leg, WaitCode, utc_now
from satmachineadmin.money import ending, hosts_crud, payouts, planning

from dev.accounts import answer


async def refuses(*_: Any, **__: Any) -> str:
    return "This wallet may not pay now."


async def with_untried_invoice(make_world: MakeWorld) -> tuple[World, str, Leg]:
    """A sale whose LP's invoice is kept, and that LNbits refused to pay so far."""
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(payouts, "try_to_pay", refuses)
        await distribution.worker.run_until_idle()
    (leg,) = await world.legs(payment_hash, "dca")
    assert leg.external_payment_hash
    return world, payment_hash, leg


async def move(world: World) -> str:
    """The LP chooses another wallet, and deletes the old one."""
    lp = world.lps[0]
    new = await world.make_wallet(lp.user, "new")
    await update("dca_lp", lp.user.user_id, key="user_id", dca_wallet_id=new.id)
    return str(new.id)


async def delete(wallet_id: str) -> None:
    await edit_core("UPDATE wallets SET deleted = true WHERE id = :id", id=wallet_id)


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_known_failure_53_nobody_is_paid_into_a_wallet_that_they_left(
    make_world: MakeWorld, engine_paused: distribution.Worker, is_deleted: bool
) -> None:
    world, payment_hash, leg = await with_untried_invoice(make_world)
    old_hash = str(leg.external_payment_hash)
    new = await move(world)
    if is_deleted:
        await delete(world.lps[0].wallet.id)
    await world.run_due()
    # the old invoice is dead first, and for a minute nothing else happens
    (row,) = await core_rows(old_hash)
    assert row["status"] == "failed"
    assert await balance_sats(new) == 0
    (leg,) = await world.legs(payment_hash, "dca")
    assert leg.payout_id is not None
    await world.run_due()
    assert await balance_sats(new) == 0
    # LNbits pays it for nobody, however late
    stranger = await world.make_user("stranger")
    await world.fund(stranger.wallet.id, 200_000)
    with pytest.raises(Exception):  # noqa: B017
        await pay_invoice(wallet_id=stranger.wallet.id, payment_request=row["bolt11"])
    await edit_core(
        "DELETE FROM apipayments WHERE payment_hash = :hash AND amount < 0",
        hash=old_hash,
    )
    await age_core(old_hash, minutes=1.1)
    await world.run_due()
    (leg,) = await world.legs(payment_hash, "dca")
    assert (leg.status, leg.destination_wallet_id) == ("completed", new)
    assert await balance_sats(new) == 100_000
    if not is_deleted:
        assert await balance_sats(world.lps[0].wallet.id) == 0
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_what_was_paid_in_the_last_moment_counts(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """Whoever froze before paying wakes up after the wallet was changed."""
    world, payment_hash, leg = await with_untried_invoice(make_world)
    old_hash = str(leg.external_payment_hash)
    (row,) = await core_rows(old_hash)
    new = await move(world)

    async def paid_first(_: str) -> bool:
        await pay_invoice(
            wallet_id=world.machine_wallet.id, payment_request=row["bolt11"]
        )
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "fail_unpaid_invoice", paid_first)
        await world.run_due()
    await world.run_due()
    (leg,) = await world.legs(payment_hash, "dca")
    assert leg.status == "completed"
    assert await world.lps[0].balance_sats() == 100_000
    assert await balance_sats(new) == 0
    await world.assert_ledger()


async def test_killed_between_the_mark_and_lnbits_it_is_given_up_by_the_next_look(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, _, leg = await with_untried_invoice(make_world)
    old_hash = str(leg.external_payment_hash)
    new = await move(world)

    async def killed(_: str) -> bool:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ending, "fail_unpaid_invoice", killed)
        with pytest.raises(Killed):
            await world.run_due()
    # the LP changes their mind: the invoice was given up all the same
    lp = world.lps[0]
    await update("dca_lp", lp.user.user_id, key="user_id", dca_wallet_id=lp.wallet.id)
    await world.run_due()
    assert [r["status"] for r in await core_rows(old_hash)] == ["failed"]
    await age_core(old_hash, minutes=1.1)
    await world.run_due()
    assert await lp.balance_sats() == 100_000
    assert await balance_sats(new) == 0
    await world.assert_ledger()


async def test_without_an_invoice_it_simply_ends(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)

    async def not_now(*_: Any, **__: Any) -> int:
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "invoice_and_pay", not_now)
        await engine_paused.run_until_idle()
    new = await move(world)
    await world.run_due()
    assert await balance_sats(new) == 100_000
    (leg,) = await world.legs(payment_hash, "dca")
    assert (leg.status, leg.attempts) == ("completed", 0)
    await world.assert_ledger()


async def test_known_failure_a_platform_wallet_unset_later_holds_nothing_up(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    super_session: Any,
) -> None:
    monkeypatch.setattr(planning, "FEES_GATHER_MINUTES", 60)
    world = await make_world(deposits=["300.00"], payout_interval_minutes=60)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    assert (await world.settlement(payment_hash)).status == "processing"
    path = "/super/config"
    answer(await super_session.api.put(path, json={"super_fee_wallet_id": None}))
    try:
        await world.run_due()
        (fee,) = await world.legs(payment_hash, "super_fee")
        assert (fee.status, fee.wait_code) == ("pending", WaitCode.PLATFORM_WALLET)
        assert fee.error_message == crud.NO_PLATFORM_WALLET
        assert (await world.settlement(payment_hash)).status == "completed"
    finally:
        body = {"super_fee_wallet_id": world.platform.id}
        answer(await super_session.api.put(path, json=body))
    await world.run_due()
    assert await world.platform_sats() == 3_000
    assert (await world.settlement(payment_hash)).status == "completed"
    await set_platform("0.0300", world.platform.id)
    await world.assert_ledger()


# ----------------------------------------------------------------------------- outside


async def owe_outside(world: World, shop: LnurlServer, times: int) -> None:
    """Payouts of this machine to a shop: one for each, as several rounds open them."""
    for number in range(times):
        await world.add_split(shop.target, "0.0100", kind="lnurl", sort_order=number)


async def test_known_failure_66_dead_addresses_of_one_operator_delay_nobody_else(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payouts, "OUTSIDE_SECONDS", 2)
    bad = await make_world(deposits=["300.00"])
    good = await make_world(deposits=["300.00"])
    silent = [LnurlServer() for _ in range(8)]
    shop = LnurlServer()
    async with shop:
        for number, server in enumerate(silent):
            await server.__aenter__()
            server.is_silent = True
            await bad.add_split(
                server.target, "0.1250", kind="lnurl", sort_order=number
            )
        await good.add_split(shop.target, "1.0000", kind="lnurl")
        for world in (bad, good):
            await world.landed(await world.cash_out())
        await distribution.plan_pending()
        await bad.make_due()
        await good.make_due()
        passes = asyncio.create_task(engine_paused.run_until_idle())
        started = asyncio.get_running_loop().time()
        while not shop.asked_sats:
            assert asyncio.get_running_loop().time() - started < 15
            await asyncio.sleep(0.05)
        # the good one's invoice is asked for while the first bad ones are waited for
        assert sum(server.calls for server in silent) <= 3
        await passes
        for server in silent:
            await server.__aexit__(None, None, None)
    (leg,) = [x for x in await _legs(good) if x["leg_type"] == "operator_split"]
    assert leg["status"] == "completed"


async def _legs(world: World) -> list[Any]:
    async with transaction() as conn:
        return list(
            await fetch_all(
                conn,
                "SELECT * FROM satoshimachine.dca_payments WHERE machine_id = :m",
                {"m": world.machine.id},
            )
        )


async def test_a_host_that_timed_out_is_not_asked_again_at_once_by_anybody(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payouts, "OUTSIDE_SECONDS", 1)
    first = await make_world(deposits=["300.00"])
    second = await make_world(deposits=["300.00"])
    async with LnurlServer() as shop:
        shop.is_silent = True
        for world in (first, second):
            await world.add_split(shop.target, "1.0000", kind="lnurl")
            await world.landed(await world.cash_out())
        await distribution.plan_pending()
        await first.make_due()
        await engine_paused.run_until_idle()
        assert shop.calls == 1
        await second.make_due()
        await engine_paused.run_until_idle()
        assert shop.calls == 1, "another operator's leg asked it again"
        (waits,) = [x for x in await _legs(second) if x["leg_type"] == "operator_split"]
        assert "did not answer in time" in waits["error_message"]
        assert (waits["status"], waits["attempts"]) == ("pending", 0)
        host = hosts_crud.host_of(f"lnurl:{shop.target}")
        assert host
        until = await hosts_crud.paused_until(host)
        assert until
        assert timedelta(0) < until - utc_now() <= timedelta(minutes=1)
        shop.is_silent = False
        long_ago = db_time(utc_now() - timedelta(hours=1))
        await update("dca_paused_hosts", host, key="host", paused_until=long_ago)
        await first.run_due()
        await second.run_due()
        for world in (first, second):
            (leg,) = [
                x for x in await _legs(world) if x["leg_type"] == "operator_split"
            ]
            assert leg["status"] == "completed"
        assert await hosts_crud.paused_until(host) is None
