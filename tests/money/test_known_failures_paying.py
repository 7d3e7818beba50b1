"""How others lost money with a target, an outcome or a leg; each a test here.

Numbers as in docs/known-failures.md. A real LNbits in this process; the engine
is paused and called by the test, waiting times are skipped by `run_due()`. Somebody
outside is a loopback LNURL server; what the node answers is patched on LNbits' funding
source where a real node would not say it on demand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from lnbits.core.crud.payments import create_payment
from lnbits.core.models import CreatePayment, PaymentState
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.task_manager import task_manager
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import (
    PaymentPendingStatus,
    PaymentResponse,
    PaymentSuccessStatus,
)
from lnurl_server import LnurlServer
from world import MakeWorld, World, age_core, balance_sats, core_rows, edit_core, update

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.host.limits import reserve_sats
from satmachineadmin.models import Leg, utc_now
from satmachineadmin.money import payouts_crud
from satmachineadmin.money.payouts import TAG
from satmachineadmin.money.targets import resolve_target


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[LnurlServer]:
    async with LnurlServer() as server:
        yield server


async def with_shop(
    make_world: MakeWorld, shop: LnurlServer, **options: Any
) -> tuple[World, str]:
    """A world whose operator's whole fee goes to the shop; a settlement is planned."""
    world = await make_world(deposits=["300.00"], **options)
    await world.add_split(shop.target, "1.0000", kind="lnurl")
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    return world, payment_hash


async def split_leg(world: World, payment_hash: str) -> Leg:
    (leg,) = await world.legs(payment_hash, "operator_split")
    return leg


async def set_deleted(wallet_id: str, is_deleted: bool) -> None:
    await edit_core(
        "UPDATE wallets SET deleted = :deleted WHERE id = :id",
        deleted=is_deleted,
        id=wallet_id,
    )


async def test_known_failure_07_one_bad_target_delays_nobody_else(
    make_world: MakeWorld, engine_paused: distribution.Worker, shop: LnurlServer
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    good = await world.make_user("good")
    nowhere = uuid4().hex
    down, picky = LnurlServer(), LnurlServer()
    async with down, picky:
        down.is_down = True
        picky.min_sats = 1_000_000
        await world.add_split(nowhere, "0.2000", wallet_id=nowhere, sort_order=0)
        await world.add_split(down.target, "0.2000", kind="lnurl", sort_order=1)
        await world.add_split(picky.target, "0.2000", kind="lnurl", sort_order=2)
        await world.add_split(good.wallet.id, "0.2000", wallet_id=good.wallet.id)
        await world.add_split(shop.target, "0.2000", kind="lnurl", sort_order=3)
        payment_hash = await world.cash_out()
        await world.settle(payment_hash)
        await world.run_due()
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    assert await balance_sats(good.wallet.id) == 1_000
    assert await world.platform_sats() == 3_000
    legs = {x.target: x for x in await world.legs(payment_hash, "operator_split")}
    assert legs[shop.target].status == "completed"
    for target, why in (
        (nowhere, "no longer exists"),
        (down.target, "gives no invoice"),
        (picky.target, "gives no invoice"),
    ):
        leg = legs[target]
        assert leg.status == "pending"
        assert why in str(leg.error_message)
        assert leg.attempts >= 1
        assert leg.next_try_at
        assert leg.next_try_at > utc_now()
    assert (await world.settlement(payment_hash)).status == "processing"
    await world.assert_ledger()


async def test_known_failure_08_unknown_is_not_failed_and_is_not_paid_again(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    shop: LnurlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, payment_hash = await with_shop(make_world, shop)
    node = get_funding_source()

    async def silent(*_: Any) -> PaymentResponse:
        return PaymentResponse(ok=None)

    async def unreachable(*_: Any) -> Any:
        raise httpx.ConnectError("no route to the node")

    with monkeypatch.context() as patch:
        patch.setattr(node, "pay_invoice", silent)
        await world.run_due()
        leg_hash = str((await split_leg(world, payment_hash)).external_payment_hash)
        await age_core(leg_hash, minutes=2)
        await world.run_due()  # the node says: pending
        patch.setattr(node, "get_payment_status", unreachable)
        await world.run_due()  # a failed look-up is not a failed payment
    leg = await split_leg(world, payment_hash)
    assert (leg.status, leg.attempts) == ("pending", 0)
    assert leg.external_payment_hash == leg_hash
    assert "On its way" in str(leg.error_message)
    assert leg.next_try_at
    assert leg.next_try_at > utc_now()
    assert len(shop.asked_sats) == 1
    with monkeypatch.context() as patch:

        async def paid(*_: Any) -> PaymentSuccessStatus:
            return PaymentSuccessStatus(fee_msat=2_000, preimage="00" * 32)

        patch.setattr(node, "get_payment_status", paid)
        await world.run_due()
    leg = await split_leg(world, payment_hash)
    assert leg.status == "completed"
    assert len(shop.asked_sats) == 1
    assert (await world.settlement(payment_hash)).status == "completed"
    (payout,) = [p for p in await world.payouts() if not p["is_internal"]]
    assert payout["network_fee_sats"] == 2
    await world.assert_ledger()


async def test_known_failure_08_a_stale_failed_while_the_payment_arrives(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    shop: LnurlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, payment_hash = await with_shop(make_world, shop)
    node = get_funding_source()

    async def silent(*_: Any) -> PaymentResponse:
        return PaymentResponse(ok=None)

    async def paid(*_: Any) -> PaymentSuccessStatus:
        return PaymentSuccessStatus(fee_msat=0, preimage="00" * 32)

    with monkeypatch.context() as patch:
        patch.setattr(node, "pay_invoice", silent)
        await world.run_due()
        leg_hash = str((await split_leg(world, payment_hash)).external_payment_hash)
        await edit_core(
            "UPDATE apipayments SET status = 'failed' WHERE payment_hash = :hash",
            hash=leg_hash,
        )
        patch.setattr(node, "get_payment_status", paid)
        await world.run_due()
    assert (await split_leg(world, payment_hash)).status == "completed"
    assert [r["status"] for r in await core_rows(leg_hash)] == ["success"]
    await world.run_due()
    assert len(shop.asked_sats) == 1
    await world.assert_ledger()


async def test_known_failure_08_only_a_failure_on_record_frees_the_leg(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    shop: LnurlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, payment_hash = await with_shop(make_world, shop)

    async def refused(*_: Any) -> PaymentResponse:
        return PaymentResponse(ok=False, error_message="no route")

    with monkeypatch.context() as patch:
        patch.setattr(get_funding_source(), "pay_invoice", refused)
        await world.run_due()
    leg = await split_leg(world, payment_hash)
    assert (leg.status, leg.attempts, leg.payout_id) == ("pending", 1, None)
    await world.run_due()
    leg = await split_leg(world, payment_hash)
    assert leg.status == "completed"
    assert len(shop.asked_sats) == 2
    hashes = [p["payment_hash"] for p in await world.payouts() if not p["is_internal"]]
    assert len(set(hashes)) == 2  # both are kept for ever
    await world.assert_ledger()


@pytest.mark.parametrize("dress", [str.upper, str.lower, "lightning:{}".format])
async def test_known_failure_18_an_lnurl_in_any_dress_is_an_lnurl(
    shop: LnurlServer, app: Any, dress: Any
) -> None:
    found = await resolve_target(f" {dress(shop.target)}\n", owner_user_id="")
    assert (found.kind, found.target, found.wallet_id) == ("lnurl", shop.target, None)


async def test_known_failure_18_a_reserve_is_taken_only_where_routing_is_paid(
    make_world: MakeWorld, engine_paused: distribution.Worker, shop: LnurlServer
) -> None:
    world = await make_world(deposits=["300.00"])
    inside = await world.make_user("inside")
    await world.add_split(shop.target, "0.5000", kind="lnurl")
    await world.add_split(inside.wallet.id, "0.5000", wallet_id=inside.wallet.id)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    await world.run_due()
    legs = {x.target: x for x in await world.legs(payment_hash, "operator_split")}
    assert legs[inside.wallet.id].sent_sats == 2_500
    assert await balance_sats(inside.wallet.id) == 2_500
    reserve = reserve_sats(2_500, False)
    assert reserve > 0
    assert legs[shop.target].amount_sats == 2_500
    assert legs[shop.target].sent_sats == 2_500 - reserve
    assert shop.asked_sats == [2_500 - reserve]
    # what the reserve did not use stays with who paid
    assert await balance_sats(world.machine_wallet.id) == reserve
    await world.assert_ledger()


async def test_known_failure_20_no_name_is_too_long_for_an_invoice(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    long = "x" * 2_000
    world = await make_world(deposits=["300.00"], name=long, location=long)
    await update("dca_clients", world.lps[0].client.id, username=long)
    partner = await world.make_user("partner")
    split = await world.add_split(
        partner.wallet.id, "1.0000", wallet_id=partner.wallet.id
    )
    await update("dca_commission_splits", split.id, label=long)
    payment_hash = await world.cash_out(txid="t" * 2_000, bills={"100": long})
    assert (await world.settle(payment_hash)).status == "completed"
    for payout in await world.payouts():
        for row in await core_rows(payout["payment_hash"]):
            assert len(row["memo"]) < 640
            assert TAG in row["extra"]


async def test_known_failure_23_our_tasks_carry_our_name(app: Any) -> None:
    names = {t.name for t in task_manager.tasks}
    ours = {*tasks.TASKS, f"{tasks.PREFIX}_invoice_listener"}
    assert ours <= names
    assert all(name.startswith("ext_satmachineadmin_") for name in ours)
    for name in ours:
        assert [t.name for t in task_manager.tasks].count(name) == 1


async def test_known_failure_24_a_wallet_gone_for_an_hour(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    gone, there = world.lps
    await set_deleted(gone.wallet.id, True)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    for _ in range(5):
        await world.run_due()
    assert await there.balance_sats() == 25_000
    leg = next(
        x
        for x in await world.legs(payment_hash, "dca")
        if x.client_id == gone.client.id
    )
    assert (leg.status, leg.attempts) == ("pending", 6)
    assert leg.error_message == "The receiving wallet no longer exists."
    assert leg.next_try_at
    wait = leg.next_try_at - utc_now()
    assert timedelta(minutes=31) < wait < timedelta(minutes=33)
    await set_deleted(gone.wallet.id, False)
    await world.run_due()
    assert await gone.balance_sats() == 75_000
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_known_failure_24_an_lp_who_moves_is_paid_where_they_are_now(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    (lp,) = world.lps
    await set_deleted(lp.wallet.id, True)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    new_wallet = await world.make_wallet(lp.user, "new home")
    await update("dca_lp", lp.user.user_id, key="user_id", dca_wallet_id=new_wallet.id)
    await world.run_due()
    assert await balance_sats(new_wallet.id) == 100_000
    (leg,) = await world.legs(payment_hash, "dca")
    assert leg.destination_wallet_id == new_wallet.id
    await world.assert_ledger()


async def test_known_failure_29_fiat_of_a_failed_leg_buys_nothing_else(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["200.00"])
    (lp,) = world.lps
    await set_deleted(lp.wallet.id, True)
    first = await world.cash_out()
    await world.settle(first)
    for _ in range(payouts_crud.MAX_ATTEMPTS):
        await world.run_due()
    (leg,) = await world.legs(first, "dca")
    assert (leg.status, leg.attempts) == ("failed", payouts_crud.MAX_ATTEMPTS)
    settlement = await world.settlement(first)
    assert settlement.status == "attention"
    assert settlement.error_message
    await set_deleted(lp.wallet.id, False)
    second = await world.cash_out()
    await world.settle(second)
    assert await world.legs(second, "dca") == []
    assert await world.remaining(lp) == 0
    # the operator retries
    await update("dca_payments", leg.id, status="pending", attempts=0)
    await world.run_due()
    assert await lp.balance_sats() == 100_000
    assert (await world.settlement(first)).status == "completed"
    await world.assert_ledger()


async def test_known_failure_29_the_operator_as_lp_in_the_machines_own_wallet(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    lp = await world.add_lp("300.00", user=world.operator)
    assert lp.wallet.id == world.machine_wallet.id
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    (leg,) = await world.legs(payment_hash, "dca")
    assert (leg.status, leg.error_message) == ("skipped", "already in this wallet")
    assert await world.remaining(lp) == 100
    assert settlement.status == "completed"
    assert await balance_sats(world.machine_wallet.id) == 105_000
    await world.assert_ledger()


async def test_known_failure_41_ten_newer_pending_payments_hide_ours_from_lnbits(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    shop: LnurlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, payment_hash = await with_shop(make_world, shop)
    node = get_funding_source()

    async def silent(*_: Any) -> PaymentResponse:
        return PaymentResponse(ok=None)

    with monkeypatch.context() as patch:
        patch.setattr(node, "pay_invoice", silent)
        await world.run_due()
    leg_hash = str((await split_leg(world, payment_hash)).external_payment_hash)
    await age_core(leg_hash, minutes=2)
    for _ in range(12):
        other = uuid4().hex * 2
        await create_payment(
            checking_id=other,
            data=CreatePayment(
                wallet_id=world.customer.wallet.id,
                bolt11="",
                payment_hash=other,
                amount_msat=-1_000,
                memo="somebody else's",
            ),
            status=PaymentState.PENDING,
        )
    asked: list[str] = []

    async def paid(checking_id: str) -> Any:
        asked.append(checking_id)
        ours = checking_id == leg_hash
        return PaymentSuccessStatus(fee_msat=0) if ours else PaymentPendingStatus()

    with monkeypatch.context() as patch:
        patch.setattr(node, "get_payment_status", paid)
        await world.run_due()
    assert asked.count(leg_hash) == 1
    assert (await split_leg(world, payment_hash)).status == "completed"
    await edit_core(
        "DELETE FROM apipayments WHERE wallet_id = :w AND status = 'pending'",
        w=world.customer.wallet.id,
    )


async def forwarding(make_world: MakeWorld) -> tuple[World, str, Leg]:
    """An LP who forwards to an address; their sats have arrived, and one leg waits."""
    world = await make_world()
    await world.add_lp("300.00", autoforward="savings@example.com")
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (leg,) = await world.legs(payment_hash, "autoforward")
    assert (leg.status, leg.source_wallet_id) == ("pending", world.lps[0].wallet.id)
    return world, payment_hash, leg


async def spend_all(world: World) -> None:
    """The LP takes the sats out of their wallet themselves."""
    (lp,) = world.lps
    invoice = await create_invoice(
        wallet_id=world.customer.wallet.id,
        amount=await lp.balance_sats(),
        memo="a holiday",
        internal=True,
    )
    await pay_invoice(wallet_id=lp.wallet.id, payment_request=invoice.bolt11)
    assert await lp.balance_sats() == 0


async def test_known_failure_45_autoforward_never_sends_a_later_salary(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, payment_hash, leg = await forwarding(make_world)
    (lp,) = world.lps
    await spend_all(world)
    await world.run_due()
    waiting = await crud.get_leg(leg.id)
    assert waiting
    assert (waiting.status, waiting.attempts) == ("pending", 0)
    assert "holds 0 of the 100000 sat" in str(waiting.error_message)
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_payments SET created_at = :at WHERE id = :id",
            {"at": db_time(utc_now() - timedelta(hours=25)), "id": leg.id},
        )
    await tasks.run_maintenance()
    await world.fund(lp.wallet.id, 500_000)  # the salary
    await world.run_due()
    voided = await crud.get_leg(leg.id)
    assert voided
    assert voided.status == "voided"
    assert "stay in your wallet" in str(voided.error_message)
    assert await lp.balance_sats() == 500_000
    assert (await world.settlement(payment_hash)).status == "completed"


async def test_known_failure_45_turning_forwarding_off_stops_what_waits(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, _, leg = await forwarding(make_world)
    (lp,) = world.lps
    await update("dca_lp", lp.user.user_id, key="user_id", autoforward_enabled=False)
    await tasks.run_maintenance()
    await world.run_due()
    voided = await crud.get_leg(leg.id)
    assert voided
    assert voided.status == "voided"
    assert "turned off" in str(voided.error_message)
    assert await lp.balance_sats() == 100_000
