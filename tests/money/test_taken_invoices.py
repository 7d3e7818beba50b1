"""An invoice that somebody else paid, or tried to pay, before us.

LNbits pays one payment hash once, so ours never leaves with it: the destination is dead
and whoever is owed is free for another one. A real LNbits in this process; the engine
is paused and called by the test.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.exceptions import PaymentError
from lnbits.settings import settings
from lnbits.wallets.fake import FakeWallet
from world import MakeWorld, World, balance_sats, core_rows

from satmachineadmin import distribution
from satmachineadmin.models import Leg

from dev.accounts import answer

OWED = 108_000


async def owed_a_refund(make_world: MakeWorld) -> tuple[World, str]:
    """A customer whose cash never came out: a refund of 108 000 is owed."""
    world = await make_world()
    payment_hash = await world.cash_out(dispense="awaiting")
    held = await world.until(payment_hash, "awaiting_dispense")
    path = f"/settlements/{held.id}/dispense"
    body = {"dispensed_fiat": "0", "reason": "jammed"}
    answer(await world.operator.api.post(path, json=body))
    await distribution.worker.run_until_idle()
    return world, payment_hash


async def give(world: World, payment_hash: str, bolt11: str) -> None:
    """The operator enters where the refund goes."""
    settlement = await world.settlement(payment_hash)
    body = {
        "destination": bolt11,
        "idempotency_key": uuid4().hex,
        "reason": "at the counter",
    }
    path = f"/settlements/{settlement.id}/refund"
    answer(await world.operator.api.post(path, json=body))


async def refund_leg(world: World, payment_hash: str) -> Leg:
    legs = await world.legs(payment_hash, "refund")
    return next(x for x in legs if x.status in ("pending", "completed"))


async def stranger_pays(world: World, bolt11: str) -> None:
    stranger = await world.make_user("stranger")
    await world.fund(stranger.wallet.id, OWED + 5_000)
    await pay_invoice(wallet_id=stranger.wallet.id, payment_request=bolt11)


async def of_customer(world: World, sats: int = OWED) -> str:
    invoice = await create_invoice(
        wallet_id=world.customer.wallet.id, amount=sats, memo="my refund"
    )
    return str(invoice.bolt11)


async def stored(world: World, payment_hash: str) -> str:
    """Lets the engine keep the refund's invoice without paying it; returns its hash."""
    await world.make_due()
    with pytest.MonkeyPatch.context() as patch:

        async def nothing(*_: object, **__: object) -> str:
            return "This wallet may not pay now."

        patch.setattr("satmachineadmin.money.payouts.try_to_pay", nothing)
        await distribution.worker.run_until_idle()
    leg = await refund_leg(world, payment_hash)
    assert leg.external_payment_hash
    return leg.external_payment_hash


@pytest.mark.parametrize("service_fee", [0, 1])
async def test_a_refund_invoice_that_another_wallet_pays_first_is_dead(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    service_fee: int,
) -> None:
    world, payment_hash = await owed_a_refund(make_world)
    if service_fee:
        fees = await world.make_user("fees")
        monkeypatch.setattr(settings, "lnbits_service_fee", service_fee)
        monkeypatch.setattr(settings, "lnbits_service_fee_wallet", fees.wallet.id)
    first = await of_customer(world, 50_000)
    await give(world, payment_hash, first)
    taken = await stored(world, payment_hash)
    await stranger_pays(world, first)
    had = await balance_sats(world.machine_wallet.id)
    await world.run_due()
    leg = await refund_leg(world, payment_hash)
    assert (leg.status, leg.payout_id, leg.target) == ("pending", None, None)
    assert "Another wallet has paid this invoice" in str(leg.error_message)
    assert await balance_sats(world.machine_wallet.id) == had
    payer = next(r for r in await core_rows(taken) if r["amount"] < 0)
    assert payer["wallet_id"] != world.machine_wallet.id
    # the customer gives another one, and is paid once
    second = await of_customer(world, 50_000)
    await give(world, payment_hash, second)
    await world.run_due()
    assert (await refund_leg(world, payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_an_outside_invoice_that_another_wallet_tried_in_vain_is_dead(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, payment_hash = await owed_a_refund(make_world)
    made = await FakeWallet().create_invoice(50_000, "outside")
    assert made.payment_request
    await give(world, payment_hash, made.payment_request)
    taken = await stored(world, payment_hash)
    with pytest.raises(PaymentError):
        await stranger_pays(world, made.payment_request)
    assert [r["status"] for r in await core_rows(taken)] == ["failed"]
    await world.run_due()
    leg = await refund_leg(world, payment_hash)
    assert (leg.status, leg.payout_id, leg.target) == ("pending", None, None)
    await give(world, payment_hash, await of_customer(world, 50_000))
    await world.run_due()
    assert (await refund_leg(world, payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_a_leg_invoice_that_its_receiver_pays_themselves_makes_room_for_another(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    with pytest.MonkeyPatch.context() as patch:

        async def nothing(*_: object, **__: object) -> str:
            return "This wallet may not pay now."

        patch.setattr("satmachineadmin.money.payouts.try_to_pay", nothing)
        await engine_paused.run_until_idle()
    (leg,) = await world.legs(payment_hash, "dca")
    (row,) = await core_rows(str(leg.external_payment_hash))
    await stranger_pays(world, row["bolt11"])
    lp = world.lps[0]
    assert await lp.balance_sats() == 100_000
    await world.run_due()
    await world.run_due()
    (leg,) = await world.legs(payment_hash, "dca")
    assert leg.status == "completed"
    assert await lp.balance_sats() == 200_000
    assert await balance_sats(world.machine_wallet.id) == 5_000
    await world.assert_ledger()


async def test_an_invoice_of_this_instance_may_be_for_all_that_is_owed(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """Nothing is routed, so nothing is kept back; one sat more is refused."""
    world, payment_hash = await owed_a_refund(make_world)
    settlement = await world.settlement(payment_hash)
    body = {
        "destination": await of_customer(world, OWED + 1),
        "idempotency_key": uuid4().hex,
        "reason": "at the counter",
    }
    path = f"/settlements/{settlement.id}/refund"
    assert (await world.operator.api.post(path, json=body)).status_code == 400
    had = await balance_sats(world.customer.wallet.id)
    await give(world, payment_hash, await of_customer(world, OWED))
    await world.run_due()
    legs = await world.legs(payment_hash, "refund")
    assert [(x.status, x.amount_sats, x.sent_sats) for x in legs] == [
        ("completed", OWED, OWED)
    ]
    assert await balance_sats(world.customer.wallet.id) == had + OWED
    await world.assert_ledger()
