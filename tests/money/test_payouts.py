"""When legs are paid, together with which others, and over which way.

Merging, gathering, backing off, the four kinds of targets, what a server outside may
answer, LNbits' service fee, and a payment that an upgrade interrupts. A real LNbits in
this process; the engine is paused and called by the test, and waiting times are skipped
by `run_due()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from lnbits.core.services import create_invoice
from lnbits.settings import settings
from lnurl_server import LnurlServer
from world import MakeWorld, World, balance_sats, core_rows, insert, update

from satmachineadmin import crud, distribution
from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.host import paying
from satmachineadmin.host.limits import reserve_sats
from satmachineadmin.models import Leg, Payout, utc_now
from satmachineadmin.money import payouts, payouts_crud, rounds
from satmachineadmin.money.targets import resolve_target


async def cash_outs(world: World, count: int, **stamp: Any) -> list[str]:
    hashes = [await world.cash_out(**stamp) for _ in range(count)]
    for payment_hash in hashes:
        await world.landed(payment_hash)
    return hashes


async def paid_to(world: World, wallet_id: str) -> list[int]:
    return [
        p["sent_sats"]
        for p in await world.payouts()
        if p["status"] == "paid" and p["destination_wallet_id"] == wallet_id
    ]


async def the_leg(world: World, payment_hash: str, leg_type: str) -> Leg:
    (leg,) = await world.legs(payment_hash, leg_type)
    return leg


async def test_twenty_settlements_in_a_burst_cost_one_payment_per_lp(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00", "300.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    hashes = await cash_outs(world, 20, principal=10_000, fee=800, fiat="20.00")
    await engine_paused.run_until_idle()
    assert await paid_to(world, world.lps[0].wallet.id) == [150_000]
    assert await paid_to(world, world.lps[1].wallet.id) == [50_000]
    assert await paid_to(world, world.platform.id) == [6_000]
    assert await paid_to(world, partner.wallet.id) == [10_000]
    assert len(await world.payouts()) == 4
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_the_oldest_and_the_lps_come_first(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """The wallet is short: LPs are served before fees, the older sale before the
    younger, and nothing is lost when it is filled up."""
    world = await make_world(deposits=["900.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    first, second = await cash_outs(world, 2)
    loan = await create_invoice(
        wallet_id=world.customer.wallet.id, amount=100_000, memo="loan", internal=True
    )
    await paying.pay_invoice(
        wallet_id=world.machine_wallet.id, payment_request=loan.bolt11
    )
    await engine_paused.run_until_idle()
    paid = [
        (x.leg_type, x.settlement_id)
        for payment_hash in (first, second)
        for x in await world.legs(payment_hash)
        if x.status == "completed"
    ]
    assert paid == [("dca", (await world.settlement(first)).id)]
    await world.fund(world.machine_wallet.id, 100_000)
    await world.run_due()
    for payment_hash in (first, second):
        assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_a_payout_interval_gathers_until_its_end(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"], payout_interval_minutes=60)
    (lp,) = world.lps
    hashes = await cash_outs(world, 3)
    await engine_paused.run_until_idle()
    assert await lp.balance_sats() == await world.platform_sats() == 0
    for payment_hash in hashes:
        leg = await the_leg(world, payment_hash, "dca")
        assert leg.next_try_at
        assert leg.next_try_at.minute == leg.next_try_at.second == 0
        assert timedelta(0) < leg.next_try_at - leg.created_at <= timedelta(hours=1)
    answer = await lp.user.api.get("/lp/summary")
    assert answer.status_code == 200, answer.text
    (mine,) = answer.json()
    assert (mine["sats_on_the_way"], mine["sats_received"]) == (300_000, 0)
    await world.run_due()
    assert await paid_to(world, lp.wallet.id) == [300_000]
    assert await paid_to(world, world.platform.id) == [9_000]
    await world.assert_ledger()


async def test_fees_gather_for_an_hour_at_most(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"], payout_interval_minutes=1440)
    await world.add_split("lp@example.com", "1.0000", kind="address")
    (payment_hash,) = await cash_outs(world, 1)
    await engine_paused.run_until_idle()
    share = await the_leg(world, payment_hash, "dca")
    platform = await the_leg(world, payment_hash, "super_fee")
    outside = await the_leg(world, payment_hash, "operator_split")
    assert share.next_try_at and platform.next_try_at and outside.next_try_at
    assert (share.next_try_at.hour, share.next_try_at.minute) == (0, 0)
    assert platform.next_try_at.minute == 0
    assert platform.next_try_at - platform.created_at <= timedelta(hours=1)
    # an address outside gathers for ten minutes, also at the end of an hour
    gathered = outside.created_at + crud.EXTERNAL_BATCH_DELAY
    assert outside.next_try_at == max(platform.next_try_at, gathered)


async def test_a_smallest_payout_gathers_until_it_is_reached(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"], min_payout_sats=150_000)
    (lp,) = world.lps
    first = await world.cash_out()
    await world.settle(first)
    leg = await the_leg(world, first, "dca")
    assert (leg.status, leg.attempts) == ("pending", 0)
    assert "100000 of the machine's smallest payout of 150000" in str(leg.error_message)
    second = await world.cash_out()
    await world.landed(second)
    await world.run_due()
    await world.run_due()
    assert await paid_to(world, lp.wallet.id) == [200_000]
    assert (await world.settlement(first)).status == "completed"
    assert (await world.settlement(second)).status == "completed"


async def test_a_smallest_payout_that_is_never_reached_is_paid_after_a_week(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"], min_payout_sats=150_000)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    leg = await the_leg(world, payment_hash, "dca")
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_payments SET created_at = :at WHERE id = :id",
            {"at": db_time(utc_now() - timedelta(days=7, minutes=1)), "id": leg.id},
        )
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000


def test_backoff_begins_with_a_minute_doubles_and_ends_at_an_hour() -> None:
    waits = [payouts_crud.backoff_seconds(n) for n in range(1, 11)]
    assert waits == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


async def test_a_younger_leg_to_a_destination_that_failed_says_what_it_waits_for(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    (lp,) = world.lps
    await update("dca_lp", lp.user.user_id, key="user_id", dca_wallet_id="f" * 32)
    first = await world.cash_out()
    await world.settle(first)
    second = await world.cash_out()
    await world.settle(second)
    leg = await the_leg(world, second, "dca")
    assert leg.attempts == 0
    assert "earlier payment" in str(leg.error_message)
    assert leg.next_try_at


Target = Callable[[World, LnurlServer], Awaitable[str]]


async def wallet_target(world: World, shop: LnurlServer) -> str:
    return (await world.make_user("partner")).wallet.id


async def key_target(world: World, shop: LnurlServer) -> str:
    return (await world.make_user("partner")).wallet.inkey


async def address_target(world: World, shop: LnurlServer) -> str:
    partner = await world.make_user("partner")
    return f"{partner.wallet.lightning_address.upper()}@sats.example"


async def lnurl_target(world: World, shop: LnurlServer) -> str:
    return shop.target.upper()


@pytest.mark.parametrize(
    "target_of", [wallet_target, key_target, address_target, lnurl_target]
)
async def test_every_kind_of_target_is_paid_once_and_in_full(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    target_of: Target,
) -> None:
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://sats.example/")
    world = await make_world(deposits=["300.00"])
    async with LnurlServer() as shop:
        target = await target_of(world, shop)
        found = await resolve_target(target, owner_user_id=world.operator.user_id)
        await world.add_split(
            found.target, "1.0000", kind=found.kind, wallet_id=found.wallet_id
        )
        payment_hash = await world.cash_out()
        await world.settle(payment_hash)
        await world.run_due()
        await world.run_due()
        leg = await the_leg(world, payment_hash, "operator_split")
        assert (leg.status, leg.amount_sats) == ("completed", 5_000)
        cost = reserve_sats(5_000, False) if found.kind == "lnurl" else 0
        assert leg.sent_sats == 5_000 - cost
        out, *incoming = await core_rows(str(leg.external_payment_hash))
        assert out["amount"] == -leg.sent_sats * 1000
        if found.kind == "lnurl":
            assert shop.asked_sats == [leg.sent_sats]
        else:
            assert [r["amount"] for r in incoming] == [5_000_000]
            assert leg.destination_wallet_id == incoming[0]["wallet_id"]
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def sell_through(
    make_world: MakeWorld, shop: LnurlServer, count: int = 1
) -> tuple[World, list[str]]:
    world = await make_world(deposits=["900.00"])
    await world.add_split(shop.target, "1.0000", kind="lnurl")
    hashes = await cash_outs(world, count)
    await distribution.worker.run_until_idle()
    return world, hashes


async def test_an_external_target_gathers_for_ten_minutes(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    async with LnurlServer() as shop:
        world, hashes = await sell_through(make_world, shop, count=3)
        for payment_hash in hashes:
            leg = await the_leg(world, payment_hash, "operator_split")
            assert leg.next_try_at
            wait = leg.next_try_at - leg.created_at
            assert timedelta(minutes=9, seconds=59) <= wait <= timedelta(minutes=11)
        assert shop.calls == 0
        await world.run_due()
        assert shop.asked_sats == [15_000 - reserve_sats(15_000, False)]
        legs = [await the_leg(world, h, "operator_split") for h in hashes]
        assert sum(x.sent_sats or 0 for x in legs) == shop.asked_sats[0]
        assert {x.status for x in legs} == {"completed"}
    await world.assert_ledger()


WRONG_ANSWERS = {
    "no json": "<html>",
    "a list": "[]",
    "a number": "7",
    "no invoice": "{}",
    "an error": '{"status": "ERROR", "reason": "we are closed"}',
    "rubbish for an invoice": '{"pr": "lnbc1rubbish", "routes": []}',
    "an invoice that is no text": '{"pr": {"a": 1}, "routes": []}',
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS.values(), ids=list(WRONG_ANSWERS))
async def test_whatever_a_server_outside_answers_is_one_failed_attempt(
    make_world: MakeWorld, engine_paused: distribution.Worker, answer: str
) -> None:
    async with LnurlServer() as shop:
        world, (payment_hash,) = await sell_through(make_world, shop)
        shop.answer = answer
        await world.run_due()
        leg = await the_leg(world, payment_hash, "operator_split")
        assert (leg.status, leg.attempts, leg.payout_id) == ("pending", 1, None)
        assert leg.error_message
        assert "<" not in leg.error_message
        shop.answer = None
        await world.run_due()
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_an_invoice_for_more_than_was_asked_is_not_paid(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    async with LnurlServer() as shop:
        world, (payment_hash,) = await sell_through(make_world, shop)
        shop.ask_more_sats = 1
        await world.run_due()
        leg = await the_leg(world, payment_hash, "operator_split")
        assert (leg.status, leg.attempts) == ("pending", 1)
        before = await balance_sats(world.machine_wallet.id)
        assert before == 5_000


@pytest.mark.parametrize("is_old", [False, True])
async def test_one_invoice_handed_out_twice_pays_one_debt(
    make_world: MakeWorld, engine_paused: distribution.Worker, is_old: bool
) -> None:
    """`is_old`: the first was paid by a version that kept the hash on the leg only."""
    async with LnurlServer() as shop:
        world, (first,) = await sell_through(make_world, shop)
        sats = 5_000 - reserve_sats(5_000, False)
        shop.always_pr = await shop.invoice(sats)
        await world.run_due()
        paid = await the_leg(world, first, "operator_split")
        if is_old:
            await without_a_payout(paid)
        second = await world.cash_out()
        await world.settle(second)
        await world.run_due()
        unpaid = await the_leg(world, second, "operator_split")
    assert paid.status == "completed"
    assert (unpaid.status, unpaid.attempts) == ("pending", 1)
    assert "used before" in str(unpaid.error_message)
    await world.assert_ledger()


async def without_a_payout(leg: Leg) -> None:
    async with transaction() as conn:
        for table, key in (("dca_payout_legs", "payout_id"), ("dca_payouts", "id")):
            await execute(
                conn,
                f"DELETE FROM satoshimachine.{table} WHERE {key} = :id",
                {"id": leg.payout_id},
            )
    await update("dca_payments", leg.id, payout_id=None)


async def test_a_merged_sum_above_the_targets_limit_is_paid_leg_by_leg(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    async with LnurlServer() as shop:
        shop.max_sats = 9_000
        world, hashes = await sell_through(make_world, shop, count=3)
        for _ in range(6):
            await world.run_due()
        legs = [await the_leg(world, h, "operator_split") for h in hashes]
        assert {x.status for x in legs} == {"completed"}
        assert len(shop.asked_sats) == 3
    await world.assert_ledger()


async def test_single_legs_below_the_targets_minimum_are_paid_together(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    async with LnurlServer() as shop:
        shop.min_sats = 9_000
        world, (first,) = await sell_through(make_world, shop)
        await world.run_due()
        assert (await the_leg(world, first, "operator_split")).attempts == 1
        second = await world.cash_out()
        await world.settle(second)
        for _ in range(2):
            await world.run_due()
        for payment_hash in (first, second):
            leg = await the_leg(world, payment_hash, "operator_split")
            assert leg.status == "completed"
    await world.assert_ledger()


async def test_a_payment_in_progress_survives_the_end_of_the_worker(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An upgrade cancels our tasks; what is being paid comes to its end and is kept."""
    # on a busy machine a part of it would be the next pass's
    monkeypatch.setattr(distribution, "OUTCOME_INTERVAL_SECONDS", 60)
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = paying.pay_invoice
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(**kwargs: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await real(**kwargs)

    monkeypatch.setattr(paying, "pay_invoice", slow)
    work = asyncio.create_task(engine_paused.run_pass())
    await reached.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    under_way = list(payouts.in_flight_payments.tasks)
    assert under_way
    go_on.set()
    await asyncio.gather(*under_way)
    assert (await world.settlement(payment_hash)).status == "completed"
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    await world.assert_ledger()


async def test_stopped_payouts_of_a_machine_wait_and_say_why(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"], payouts_stopped_reason="key stolen")
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    legs = await world.legs(payment_hash)
    assert {(x.status, x.attempts) for x in legs} == {("pending", 0)}
    assert {x.error_message for x in legs} == {
        "Payouts of this machine are stopped: key stolen"
    }
    await update("dca_machines", world.machine.id, payouts_stopped_reason=None)
    await world.run_due()
    assert (await world.settlement(payment_hash)).status == "completed"


async def test_payouts_outside_that_wait_for_their_turn_hide_none_inside(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """A pass reads so many payouts; those outside were opened before."""
    world = await make_world()
    outside = [
        Payout(
            id=f"outside {n}",
            source_wallet_id=world.machine_wallet.id,
            destination=f"address:{n}@elsewhere.example",
            is_internal=False,
            amount_sats=1_000,
            created_at=utc_now() - timedelta(hours=1),
        )
        for n in range(3)
    ]
    inside = Payout(
        id="inside",
        source_wallet_id=world.machine_wallet.id,
        destination=f"wallet:{world.platform.id}",
        destination_wallet_id=world.platform.id,
        amount_sats=1_000,
    )
    for payout in (*outside, inside):
        await insert("dca_payouts", payout)
    found = [p.id for p in await payouts_crud.unfinished_payouts(limit=2)]
    for payout in (*outside, inside):
        await update("dca_payouts", payout.id, status="failed")
    assert found == ["inside", "outside 0", "outside 1"]


async def test_an_address_of_this_server_is_looked_up_once_a_round(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://sats.example/")
    world = await make_world(deposits=["900.00"])
    partner = await world.make_user("partner")
    address = f"{partner.wallet.lightning_address}@sats.example"
    await world.add_split(address, "1.0000", kind="address")
    for payment_hash in await cash_outs(world, 3):
        await world.settle(payment_hash)
    looked_up = []
    real = rounds.local_wallet_of_address

    async def noted(target: str) -> str | None:
        looked_up.append(target)
        return await real(target)

    monkeypatch.setattr(rounds, "local_wallet_of_address", noted)
    await world.make_due()
    assert (
        await rounds.open_round(world.machine_wallet.id, distribution.INSTANCE_ID) == 1
    )
    assert looked_up == [address]
    await engine_paused.run_until_idle()
    assert await paid_to(world, partner.wallet.id) == [15_000]
