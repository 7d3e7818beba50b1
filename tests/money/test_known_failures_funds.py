"""How others lost money with a wallet's funds and LNbits' limits; each a test here.

Numbers as in docs/known-failures.md. A real LNbits in this process; the engine
is paused and called by the test. LNbits' limits are its settings, changed for a test
and only after the customer paid, so that they meet our payments and nobody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok
from lnbits.core.crud.payments import create_payment
from lnbits.core.models import CreatePayment, PaymentState
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.settings import settings
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse, PaymentSuccessStatus
from lnurl_server import LnurlServer
from world import MakeWorld, World, age_core, balance_sats, edit_core, update

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import fetch_all, transaction
from satmachineadmin.host import limits, paying
from satmachineadmin.models import Leg
from satmachineadmin.money import landing, payouts_crud, planning
from satmachineadmin.money.funds import funds_of

from dev.accounts import UserSession


async def legs_by_status(world: World, payment_hash: str) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for leg in await world.legs(payment_hash):
        found.setdefault(leg.status, []).append(leg.amount_sats)
    return {status: sorted(sats) for status, sats in found.items()}


async def reserved(world: World) -> tuple[int, int]:
    """What is owed out of its own settlement, and out of what is free."""
    wallet = world.machine_wallet.id
    funds = (await funds_of([wallet]))[wallet]
    own = sum(funds.owed_by_rank) + funds.unplanned_sats
    return own, funds.free_legs_sats


async def cash_outs(world: World, count: int, **stamp: Any) -> list[str]:
    """Several customers in a row, landed and not yet planned."""
    hashes = [await world.cash_out(**stamp) for _ in range(count)]
    for payment_hash in hashes:
        await world.landed(payment_hash)
    return hashes


async def paid_sats(world: World, wallet_id: str) -> list[int]:
    """The payments that a wallet received from this machine, oldest first."""
    return [
        p["sent_sats"]
        for p in await world.payouts()
        if p["status"] == "paid" and p["destination_wallet_id"] == wallet_id
    ]


async def test_known_failure_30_fees_of_a_cash_in_leave_what_lps_wait_for(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "FEES_GATHER_MINUTES", 0)
    world = await make_world(deposits=["300.00"], payout_interval_minutes=1440)
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    out_hash = await world.cash_out()
    await world.settle(out_hash)
    assert await balance_sats(world.machine_wallet.id) == 100_000
    assert await reserved(world) == (100_000, 0)
    # the machine's own key pays a cash-in out of what the LP waits for
    in_hash = await world.cash_in(principal=40_000, fee=3_200, fiat="80.00")
    await tasks.sweep()
    await world.settle(in_hash)
    assert await legs_by_status(world, in_hash) == {"pending": [1_200, 2_000]}
    for leg in await world.legs(in_hash):
        assert "the rest is owed to others" in str(leg.error_message)
        assert leg.attempts == 0
    # the LP's time comes: short, shown, and no failure
    await world.run_due()
    (leg,) = await world.legs(out_hash, "dca")
    assert (leg.status, leg.attempts) == ("pending", 0)
    assert (
        leg.error_message == "The paying wallet holds 63200 of the 100000 sat needed."
    )
    await world.fund(world.machine_wallet.id, 36_800)
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000
    assert await legs_by_status(world, in_hash) == {"pending": [1_200, 2_000]}
    await world.fund(world.machine_wallet.id, 3_200)
    await world.run_due()
    assert (await world.settlement(in_hash)).status == "completed"
    assert await balance_sats(world.machine_wallet.id) == 0
    await world.assert_ledger()


async def test_a_cash_in_short_of_free_sats_holds_up_no_cash_out(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "FEES_GATHER_MINUTES", 0)
    world = await make_world(deposits=["900.00"], payout_interval_minutes=1440)
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    first = await world.cash_out()
    await world.settle(first)
    in_hash = await world.cash_in(principal=40_000, fee=3_200, fiat="80.00")
    await tasks.sweep()
    await world.settle(in_hash)
    second = await world.cash_out()
    await world.settle(second)
    # the machine's own key paid it out of what the LP waits for: until that is back
    # the fees wait as well, those of the cash-in for what is free besides
    assert await legs_by_status(world, second) == {"pending": [3_000, 5_000, 100_000]}
    await world.fund(world.machine_wallet.id, 36_800)
    await world.run_due()
    assert (await world.settlement(second)).status == "completed"
    assert await world.lps[0].balance_sats() == 200_000
    assert await legs_by_status(world, in_hash) == {"pending": [1_200, 2_000]}


async def test_known_failure_39_a_merged_sum_keeps_within_lnbits_limit(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00"])
    (lp,) = world.lps
    hashes = await cash_outs(world, 3)
    monkeypatch.setattr(settings, "lnbits_max_outgoing_payment_amount_sats", 250_000)
    await engine_paused.run_until_idle()
    assert await paid_sats(world, lp.wallet.id) == [200_000, 100_000]
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_known_failure_39_one_leg_above_the_limit_waits_alone(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00"])
    (lp,) = world.lps
    (large,) = await cash_outs(world, 1)
    (small,) = await cash_outs(world, 1, principal=50_000, fee=4_000, fiat="100.00")
    with monkeypatch.context() as patch:
        patch.setattr(settings, "lnbits_max_incoming_payment_amount_sats", 60_000)
        await engine_paused.run_until_idle()
        assert (await world.settlement(small)).status == "completed"
        (leg,) = await world.legs(large, "dca")
        assert (leg.status, leg.attempts) == ("pending", 0)
        assert leg.error_message == (
            "100000 sat are due, but LNbits' limits allow 60000 sat to this "
            "destination in one payment."
        )
    await world.run_due()
    assert await paid_sats(world, lp.wallet.id) == [50_000, 100_000]
    await world.assert_ledger()


async def test_known_failure_39_a_days_withdrawal_limit_takes_what_fits(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00"], operator_fraction="0.0000")
    (lp,) = world.lps
    await world.settle(await world.cash_out(fee=3_000))  # 103 000 left this wallet
    hashes = await cash_outs(world, 4, fee=3_000)
    limit = "lnbits_wallet_limit_daily_max_withdraw"
    with monkeypatch.context() as patch:
        patch.setattr(settings, limit, 320_000)
        await engine_paused.run_until_idle()
        assert await paid_sats(world, lp.wallet.id) == [100_000, 200_000]
        await engine_paused.run_until_idle()
        statuses = [x.status for h in hashes for x in await world.legs(h, "dca")]
        assert statuses == ["completed", "completed", "pending", "pending"]
        (leg,) = await world.legs(hashes[3], "dca")
        assert "Daily withdrawal limit of 320000 sats" in str(leg.error_message)
        assert leg.attempts == 0
    await world.run_due()
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_known_failure_39_the_receivers_room(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00", "900.00"])
    full, roomy = world.lps
    await world.fund(full.wallet.id, 180_000)
    hashes = await cash_outs(world, 3)
    with monkeypatch.context() as patch:
        patch.setattr(settings, "lnbits_wallet_limit_max_balance", 250_000)
        for _ in range(3):
            await engine_paused.run_until_idle()
        assert await roomy.balance_sats() == 150_000
        assert await full.balance_sats() == 230_000
        waiting = [
            x
            for payment_hash in hashes
            for x in await world.legs(payment_hash, "dca")
            if x.status == "pending"
        ]
        assert [x.client_id for x in waiting] == [full.client.id] * 2
        assert all("allow 20000 sat" in str(x.error_message) for x in waiting)
        assert all(x.attempts == 0 for x in waiting)
    await world.run_due()
    assert await full.balance_sats() == 330_000
    await world.assert_ledger()


async def test_known_failure_40_a_weekend_of_only_incoming_payments(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    with monkeypatch.context() as patch:
        patch.setattr(settings, "lnbits_only_allow_incoming_payments", True)
        for _ in range(12):
            await world.run_due()
        legs = await world.legs(payment_hash)
        assert {(x.status, x.attempts) for x in legs} == {("pending", 0)}
        assert {x.error_message for x in legs} == {
            "This LNbits accepts only incoming payments now (its settings)."
        }
        assert (await world.settlement(payment_hash)).status == "processing"
        assert await world.payouts() == []
    await world.run_due()
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    await world.assert_ledger()


async def test_known_failure_40_only_incoming_after_the_invoice_was_made(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = paying.pay_invoice
    with monkeypatch.context() as patch:

        async def closed(**kwargs: Any) -> Any:
            patch.setattr(settings, "lnbits_only_allow_incoming_payments", True)
            return await real(**kwargs)

        patch.setattr(paying, "pay_invoice", closed)
        for _ in range(12):
            await world.run_due()
        legs = await world.legs(payment_hash)
        assert {(x.status, x.attempts) for x in legs} == {("pending", 0)}
        assert {x.error_message for x in legs} == {"Only incoming payments allowed."}
        prepared = {p["payment_hash"] for p in await world.payouts()}
    await world.run_due()
    assert {p["payment_hash"] for p in await world.payouts()} == prepared
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()


async def test_known_failure_40_a_short_wallet_waits_and_says_so(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    invoice = await create_invoice(
        wallet_id=world.customer.wallet.id, amount=60_000, memo="a loan", internal=True
    )
    await pay_invoice(wallet_id=world.machine_wallet.id, payment_request=invoice.bolt11)
    for _ in range(12):
        await world.run_due()
    legs = {x.leg_type: x for x in await world.legs(payment_hash)}
    assert {(x.status, x.attempts) for x in legs.values()} == {("pending", 0)}
    assert legs["dca"].error_message == (
        "The paying wallet holds 48000 of the 100000 sat needed."
    )
    await world.fund(world.machine_wallet.id, 60_000)
    await world.run_due()
    assert (await world.settlement(payment_hash)).status == "completed"
    assert await balance_sats(world.machine_wallet.id) == 5_000
    await world.assert_ledger()


async def test_known_failure_40_no_platform_wallet_is_not_a_failure(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    await update("super_config", "default", super_fee_wallet_id=None)
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    assert settlement.status == "completed"
    for _ in range(12):
        await world.run_due()
    (leg,) = await world.legs(payment_hash, "super_fee")
    assert (leg.status, leg.attempts) == ("pending", 0)
    assert leg.error_message == crud.NO_PLATFORM_WALLET
    assert await reserved(world) == (3_000, 0)
    await update("super_config", "default", super_fee_wallet_id=world.platform.id)
    await world.run_due()
    assert await world.platform_sats() == 3_000
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_known_failure_40_what_has_nowhere_to_go_hides_nobody(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    super_session: UserSession,
) -> None:
    """A round reads so many legs; platform fees without a wallet and refunds without
    a destination are older than the LP's leg, and more than that."""
    real = payouts_crud.due_legs

    async def two_legs(conn: Any, wallet_id: str, now: datetime) -> list[Leg]:
        return await real(conn, wallet_id, now, limit=2)

    world = await make_world()
    api = super_session.api
    ok(await api.put("/super/config", json={"super_fee_wallet_id": None}))
    for _ in range(2):
        await world.settle(await world.cash_out(fee=3_000))
    short = await world.landed(await world.cash_out(fee=3_000, dispense="awaiting"))
    body = {"dispensed_fiat": "50.00", "reason": "the bay was empty"}
    path = f"/settlements/{short.id}/dispense"
    ok(await world.operator.api.post(path, json=body))
    await world.run_due()
    assert world.machine_wallet.id not in await payouts_crud.waiting_wallets()
    monkeypatch.setattr(payouts_crud, "due_legs", two_legs)
    await world.add_lp("300.00")
    payment_hash = await world.cash_out(fee=0)
    await world.landed(payment_hash)
    await world.make_due()
    await distribution.worker.run_pass()
    assert await world.lps[0].balance_sats() == 100_000
    wallet = {"super_fee_wallet_id": world.platform.id}
    ok(await api.put("/super/config", json=wallet))
    assert await fees_say(world) == {None}
    ok(await api.put("/super/config", json={"super_fee_wallet_id": None}))
    assert await fees_say(world) == {crud.NO_PLATFORM_WALLET}
    ok(await api.put("/super/config", json=wallet))
    await world.run_due()
    # the last one's fee of 0 is the operator's debt
    assert await world.platform_sats() == 4 * 3_000 - 2_250
    await world.assert_ledger()


async def fees_say(world: World) -> set[str | None]:
    async with transaction() as conn:
        found = await fetch_all(
            conn,
            "SELECT error_message FROM satoshimachine.dca_payments WHERE "
            "machine_id = :m AND leg_type = 'super_fee' AND status = 'pending'",
            {"m": world.machine.id},
        )
    return {row["error_message"] for row in found}


async def test_known_failure_40_no_funding_source_stops_only_what_goes_outside(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00"])
    async with LnurlServer() as shop:
        await world.add_split(shop.target, "1.0000", kind="lnurl")
        payment_hash = await world.cash_out()
        await world.landed(payment_hash)
        with monkeypatch.context() as patch:
            patch.setattr(limits, "has_funding_source", lambda: False)
            await engine_paused.run_until_idle()
            for _ in range(3):
                await world.run_due()
            assert await world.lps[0].balance_sats() == 100_000
            (leg,) = await world.legs(payment_hash, "operator_split")
            assert (leg.status, leg.attempts) == ("pending", 0)
            assert "no Lightning funding source" in str(leg.error_message)
        await world.run_due()
        assert (await world.settlement(payment_hash)).status == "completed"


async def test_known_failure_42_a_fee_on_the_received_payment(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    payment_hash = uuid4().hex * 2
    await create_payment(
        checking_id=f"internal_{payment_hash}",
        data=CreatePayment(
            wallet_id=world.machine_wallet.id,
            bolt11="",
            payment_hash=payment_hash,
            amount_msat=108_000_000,
            memo="through phoenixd",
            fee=432_100,
            extra=world.stamp(),
        ),
        status=PaymentState.SUCCESS,
    )
    landed = await landing.land_payment(await world.core_payment(payment_hash))
    assert landed
    assert landed.settlement.network_fee_sats == 433
    assert (await world.settle(payment_hash)).status == "completed"
    assert await world.lps[0].balance_sats() == 100_000
    assert await world.platform_sats() == 3_000
    assert await balance_sats(partner.wallet.id) == 5_000 - 433
    assert await balance_sats(world.machine_wallet.id) == 0
    await world.assert_ledger()


async def test_a_payment_under_way_outside_holds_up_nobody(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """LNbits has taken its sats off the balance already: they count once."""
    world = await make_world(deposits=["900.00"], operator_fraction="0.4500")
    node = get_funding_source()
    async with LnurlServer() as shop:
        await world.add_split(shop.target, "1.0000", kind="lnurl")
        first = await world.cash_out(fee=48_000)
        await world.settle(first)
        with monkeypatch.context() as patch:

            async def silent(*_: Any) -> PaymentResponse:
                return PaymentResponse(ok=None)

            patch.setattr(node, "pay_invoice", silent)
            await world.run_due()
            (leg,) = await world.legs(first, "operator_split")
            assert leg.external_payment_hash
            assert await balance_sats(world.machine_wallet.id) < 10
            second = await world.cash_out(fee=48_000)
            await world.settle(second)
            assert await world.lps[0].balance_sats() == 200_000
            assert await world.platform_sats() == 6_000
        await age_core(str(leg.external_payment_hash), minutes=2)
        with monkeypatch.context() as patch:

            async def paid(*_: Any) -> PaymentSuccessStatus:
                return PaymentSuccessStatus(fee_msat=0)

            patch.setattr(node, "get_payment_status", paid)
            await world.run_due()
        await world.run_due()
        assert (await world.settlement(first)).status == "completed"
        assert (await world.settlement(second)).status == "completed"
    await world.assert_ledger()


async def test_a_pause_between_two_payments_is_kept(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    a_day_ago = datetime(2020, 1, 1, tzinfo=timezone.utc)
    with monkeypatch.context() as patch:
        patch.setattr(settings, "lnbits_wallet_limit_secs_between_trans", 60)
        for count in range(1, 4):
            await edit_core(
                "UPDATE apipayments SET time = :at, created_at = :at "
                "WHERE wallet_id = :w",
                at=crud.db_time(a_day_ago),
                w=world.machine_wallet.id,
            )
            await world.run_due()
            await world.run_due()
            paid = [p for p in await world.payouts() if p["status"] == "paid"]
            assert len(paid) == count
            legs = await world.legs(payment_hash)
            assert {x.attempts for x in legs} == {0}
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()
