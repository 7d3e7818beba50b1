"""What an LP forwards, and what LNbits itself keeps of a payment.

A forward is a leg of its own, out of the LP's wallet: it is born with the sats, sends
at most what arrived, and changes nothing about the settlement. A real LNbits in this
process; the engine is paused and called by the test. The address of somebody outside
is looked up at a loopback server; addresses of this instance are paid for real.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from lnbits.settings import settings
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse
from lnurl_server import LnurlServer
from world import (
    Killed,
    Lp,
    MakeWorld,
    World,
    age_core,
    balance_sats,
    core_rows,
    killed_at,
    update,
)

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import db_time
from satmachineadmin.host import paying
from satmachineadmin.host.limits import reserve_sats
from satmachineadmin.models import Leg, utc_now
from satmachineadmin.money import payouts_crud, rounds

from dev.accounts import answer

SAVINGS = "savings@elsewhere.example"


@pytest_asyncio.fixture
async def savings(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LnurlServer]:
    """Who answers for the address of `SAVINGS`."""
    async with LnurlServer() as server:
        real = paying.get_pr_from_lnurl

        async def look_up(target: str, amount_msat: int) -> str:
            at = server.target if target == SAVINGS else target
            return await real(at, amount_msat)

        monkeypatch.setattr(paying, "get_pr_from_lnurl", look_up)
        yield server


async def forwards(world: World, payment_hash: str) -> list[Leg]:
    return await world.legs(payment_hash, "autoforward")


async def saver(make_world: MakeWorld, **options: Any) -> tuple[World, Lp]:
    world = await make_world(**options)
    return world, await world.add_lp("900.00", autoforward=SAVINGS)


async def test_a_forward_is_born_with_the_sats_or_not_at_all(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, lp = await saver(make_world)
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = payouts_crud.refresh_settlements

    async def killed_while_completing(conn: Any, ids: Any) -> None:
        settlements = list(ids)
        await real(conn, settlements)
        if settlements:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(payouts_crud, "refresh_settlements", killed_while_completing)
        with pytest.raises(Killed):
            await engine_paused.run_until_idle()
    assert await lp.balance_sats() == 100_000
    assert await forwards(world, payment_hash) == []
    await engine_paused.run_until_idle()
    (dca,) = await world.legs(payment_hash, "dca")
    (forward,) = await forwards(world, payment_hash)
    assert (forward.parent_leg_id, forward.amount_sats) == (dca.id, 100_000)
    assert (forward.status, forward.source_wallet_id) == ("pending", lp.wallet.id)
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_forwards_gather_and_leave_the_reserve_with_the_lp(
    make_world: MakeWorld, engine_paused: distribution.Worker, savings: LnurlServer
) -> None:
    world, lp = await saver(make_world)
    hashes = [await world.cash_out() for _ in range(3)]
    for payment_hash in hashes:
        await world.settle(payment_hash)
    assert savings.calls == 0
    await world.run_due()
    reserve = reserve_sats(300_000, False)
    assert savings.asked_sats == [300_000 - reserve]
    for payment_hash in hashes:
        (leg,) = await forwards(world, payment_hash)
        assert leg.status == "completed"
    assert await lp.balance_sats() == reserve
    await world.assert_ledger()


async def test_a_forward_to_somebody_here_is_paid_here_and_in_full(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://sats.example/")
    world = await make_world()
    friend = await world.make_user("friend")
    address = f"{friend.wallet.lightning_address}@sats.example"
    lp = await world.add_lp("300.00", autoforward=address)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    await world.run_due()
    (leg,) = await forwards(world, payment_hash)
    assert (leg.status, leg.sent_sats) == ("completed", 100_000)
    assert await balance_sats(friend.wallet.id) == 100_000
    assert await lp.balance_sats() == 0
    await world.assert_ledger()


async def test_a_forward_to_the_wallet_it_is_in_is_over(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://sats.example/")
    world = await make_world()
    user = await world.make_user("lp")
    address = f"{user.wallet.lightning_address}@sats.example"
    await world.add_lp("300.00", user=user, autoforward=address)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    await world.run_due()
    (leg,) = await forwards(world, payment_hash)
    assert (leg.status, leg.error_message) == ("skipped", "already in this wallet")
    assert await balance_sats(user.wallet.id) == 100_000


# ------------------------------------------------------------- over: a day old, or off


async def empty(world: World, lp: Lp) -> None:
    """The LP spends what is in their wallet."""
    invoice = await paying.create_invoice(
        wallet_id=world.customer.wallet.id,
        amount=await lp.balance_sats(),
        memo="a holiday",
        internal=True,
    )
    await paying.pay_invoice(wallet_id=lp.wallet.id, payment_request=invoice.bolt11)


async def a_day_later(world: World, lp: Lp, leg: Leg, *, is_off: bool) -> None:
    """The server was down, the LP's salary came; no sweep has run yet."""
    if is_off:
        user_id = lp.user.user_id
        await update("dca_lp", user_id, key="user_id", autoforward_enabled=False)
    else:
        then = db_time(utc_now() - timedelta(hours=25))
        await update("dca_payments", leg.id, created_at=then)
    await world.fund(lp.wallet.id, 500_000)


@pytest.mark.parametrize("is_off", [False, True])
@pytest.mark.parametrize("is_opened", [False, True])
async def test_the_first_pass_after_an_outage_sends_no_salary(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    savings: LnurlServer,
    is_opened: bool,
    is_off: bool,
) -> None:
    """Killed before the sats were looked for, or with the payout opened and no more."""
    world, lp = await saver(make_world)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (leg,) = await forwards(world, payment_hash)
    if is_opened:
        await world.make_due()
        assert await rounds.open_round(lp.wallet.id, distribution.INSTANCE_ID) == 1
    await empty(world, lp)
    await a_day_later(world, lp, leg, is_off=is_off)
    await world.run_due()
    assert savings.calls == 0
    assert await lp.balance_sats() == 500_000
    await tasks.run_maintenance()
    (leg,) = await forwards(world, payment_hash)
    assert (leg.status, leg.payout_id, leg.attempts) == ("voided", None, 0)
    assert "stay in your wallet" in str(leg.error_message)
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_an_invoice_that_was_kept_and_not_tried_sends_no_salary(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://sats.example/")
    world = await make_world()
    friend = await world.make_user("friend")
    address = f"{friend.wallet.lightning_address}@sats.example"
    lp = await world.add_lp("300.00", autoforward=address)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    with monkeypatch.context() as patch:
        patch.setattr(paying, "pay_invoice", killed_at)
        with pytest.raises(Killed):
            await world.run_due()
    (leg,) = await forwards(world, payment_hash)
    assert leg.external_payment_hash
    await empty(world, lp)
    await a_day_later(world, lp, leg, is_off=False)
    await world.run_due()
    assert await balance_sats(friend.wallet.id) == 0
    assert await lp.balance_sats() == 500_000
    # its invoice is dead first, and free after a minute: whoever froze while paying it
    # may still do so
    (leg,) = await forwards(world, payment_hash)
    assert [r["status"] for r in await core_rows(str(leg.external_payment_hash))] == [
        "failed"
    ]
    await age_core(str(leg.external_payment_hash), minutes=1.1)
    await world.run_due()
    assert await lp.balance_sats() == 500_000
    (leg,) = await forwards(world, payment_hash)
    assert (leg.status, leg.payout_id) == ("voided", None)
    await world.assert_ledger()


async def test_what_is_not_over_is_forwarded_without_what_is(
    make_world: MakeWorld, engine_paused: distribution.Worker, savings: LnurlServer
) -> None:
    world, lp = await saver(make_world)
    old, new = [await world.cash_out() for _ in range(2)]
    for payment_hash in (old, new):
        await world.settle(payment_hash)
    await world.make_due()
    assert await rounds.open_round(lp.wallet.id, distribution.INSTANCE_ID) == 1
    (leg,) = await forwards(world, old)
    await a_day_later(world, lp, leg, is_off=False)
    await world.run_due()
    assert savings.asked_sats == [100_000 - reserve_sats(100_000, False)]
    statuses = [(await forwards(world, x))[0].status for x in (old, new)]
    assert statuses == ["voided", "completed"]
    await world.assert_ledger()


async def test_a_forward_that_fails_for_good_changes_no_settlement(
    make_world: MakeWorld, engine_paused: distribution.Worker, savings: LnurlServer
) -> None:
    world, lp = await saver(make_world)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    savings.is_down = True
    for _ in range(payouts_crud.MAX_ATTEMPTS):
        await world.run_due()
    (leg,) = await forwards(world, payment_hash)
    assert (leg.status, leg.attempts) == ("failed", payouts_crud.MAX_ATTEMPTS)
    assert (await world.settlement(payment_hash)).status == "completed"
    assert await lp.balance_sats() == 100_000
    await world.assert_ledger()


async def test_an_operator_who_forwards_spends_nothing_that_others_are_owed(
    make_world: MakeWorld, engine_paused: distribution.Worker, savings: LnurlServer
) -> None:
    """The operator is an LP in the machine's own wallet; another LP still waits."""
    world = await make_world(payout_interval_minutes=1440)
    operator = await world.add_lp("300.00", user=world.operator, autoforward=SAVINGS)
    other = await world.add_lp("100.00")
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (leg,) = await forwards(world, payment_hash)
    assert (leg.amount_sats, leg.source_wallet_id) == (75_000, operator.wallet.id)
    # the operator spends 60 000 of the 105 000 in the machine's wallet
    invoice = await paying.create_invoice(
        wallet_id=world.customer.wallet.id, amount=60_000, memo="rent", internal=True
    )
    await paying.pay_invoice(
        wallet_id=operator.wallet.id, payment_request=invoice.bolt11
    )
    await update("dca_payments", leg.id, next_try_at=None)
    await engine_paused.run_until_idle()
    waiting = await crud.get_leg(leg.id)
    assert waiting
    assert (waiting.status, waiting.attempts) == ("pending", 0)
    assert savings.calls == 0
    await world.run_due()
    assert await other.balance_sats() == 25_000
    await world.assert_ledger()


async def test_a_forward_on_its_way_makes_nothing_free(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    savings: LnurlServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator is an LP in the machine's own wallet. What is owed to another LP is
    no cash-in's fee, whether the forward is only opened or is with the node."""
    world = await make_world(payout_interval_minutes=1440)
    await world.add_lp("300.00", user=world.operator, autoforward=SAVINGS)
    await world.add_lp("300.00")
    cash_out = await world.cash_out()
    await world.settle(cash_out)
    cash_in = await world.cash_in(principal=40_000)
    await tasks.sweep()
    await world.settle(cash_in)
    (forward,) = await forwards(world, cash_out)
    (fee,) = await world.legs(cash_in, "super_fee")
    assert (forward.amount_sats, fee.amount_sats) == (50_000, 1_200)
    # the other LP's 50 000, the platform's 3 000 of the cash-out, and the forward
    wallet_id = world.machine_wallet.id
    await world.fund(wallet_id, 103_000 - await balance_sats(wallet_id))
    await update("dca_payments", forward.id, next_try_at=None)
    assert await rounds.open_round(wallet_id, distribution.INSTANCE_ID) == 1
    await assert_not_free(fee, 0)

    async def silent(*_: Any) -> PaymentResponse:
        return PaymentResponse(ok=None)

    monkeypatch.setattr(get_funding_source(), "pay_invoice", silent)
    await engine_paused.run_until_idle()
    assert len(savings.asked_sats) == 1
    left = await balance_sats(wallet_id)
    assert left < 54_000
    await assert_not_free(fee, left - 53_000)


async def assert_not_free(leg: Leg, free_sats: int) -> None:
    await update("dca_payments", leg.id, next_try_at=None)
    assert (
        await rounds.open_round(str(leg.source_wallet_id), distribution.INSTANCE_ID)
        == 0
    )
    waiting = await crud.get_leg(leg.id)
    assert waiting and waiting.payout_id is None
    assert str(waiting.error_message).startswith(
        f"{free_sats} of the {leg.amount_sats} sat needed are free"
    )


async def test_lnbits_service_fee_is_borne_by_the_receiver_and_breaks_nothing(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    savings: LnurlServer,
) -> None:
    world, lp = await saver(make_world)
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    lnbits_wallet = await world.make_wallet(world.customer, "service fee")
    monkeypatch.setattr(settings, "lnbits_service_fee", 1.0)
    monkeypatch.setattr(settings, "lnbits_service_fee_wallet", lnbits_wallet.id)
    monkeypatch.setattr(settings, "lnbits_service_fee_ignore_internal", False)
    settlement = await world.settle(payment_hash)
    assert settlement.status == "completed"
    (dca,) = await world.legs(payment_hash, "dca")
    assert (dca.amount_sats, dca.sent_sats) == (100_000, 99_000)
    assert len(await core_rows(str(dca.external_payment_hash))) == 3
    assert await lp.balance_sats() == 99_000
    # the LP is told what arrived, and the fiat of what was owed is theirs no more
    (at_machine,) = answer(await lp.user.api.get("/lp/summary"))
    assert at_machine["sats_received"] == 99_000
    history = answer(await lp.user.api.get("/lp/history"))
    assert sum(day["sats"] for day in history) == 99_000
    assert await balance_sats(partner.wallet.id) == 4_950
    assert await balance_sats(world.machine_wallet.id) >= 0
    (forward,) = await forwards(world, payment_hash)
    assert forward.amount_sats == 99_000  # what arrived, not what was owed
    await world.run_due()
    (forward,) = await forwards(world, payment_hash)
    assert forward.status == "completed"
    assert savings.asked_sats == [99_000 - reserve_sats(99_000, False)]
    await world.assert_ledger()
