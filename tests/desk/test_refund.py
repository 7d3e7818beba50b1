"""The sats that a customer gets back: to whom, once, and from which sats."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok, refused
from desk_world import act, awaiting, customer_invoice, post, refundable, row_of
from lnbits.core.services import create_invoice
from lnbits.core.services.payments import pay_invoice
from world import MakeWorld, balance_sats

from satmachineadmin import distribution
from satmachineadmin.money import payouts, planning

# ---------------------------------------------------------------------------- refund


async def test_what_a_refund_is_not_paid_to(make_world: MakeWorld) -> None:
    world = await make_world()
    settlement_id = await refundable(world)
    own = await create_invoice(
        wallet_id=world.machine_wallet.id, amount=1_000, memo="mine"
    )
    paid = await customer_invoice(world, 1_000)
    await world.fund(world.operator.wallet.id, 1_000)
    operator = await world.make_user("payer")
    await world.fund(operator.wallet.id, 2_000)
    await pay_invoice(wallet_id=operator.wallet.id, payment_request=paid)
    for destination, word in (
        (own.bolt11, "machine"),
        (paid, "paid already"),
        ("not an invoice", "neither"),
        ("a@@b", "address"),
        ("nobody@nowhere.invalid", "there is no such server"),
    ):
        body = {"destination": destination, "idempotency_key": uuid4().hex}
        refused(await act(world, settlement_id, "refund", **body), 400, word)
    bolt11 = await customer_invoice(world, 1_000)
    refused(await act(world, settlement_id, "refund", destination=bolt11), 400, "key")
    # whose server says nothing waits for a second word, if one is wanted
    unheard = {"destination": "a@b.example", "idempotency_key": uuid4().hex}
    first = await act(world, settlement_id, "refund", **unheard, must_answer=True)
    refused(first, 409, "could not be checked")
    ok(await act(world, settlement_id, "refund", **unheard))
    again = await act(world, settlement_id, "refund", **unheard, must_answer=True)
    assert ok(again)["id"] == settlement_id


async def test_two_destinations_at_once_are_one_refund(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    settlement_id = await awaiting(world)
    await act(world, settlement_id, "dispense", dispensed_fiat="0")
    await engine_paused.run_until_idle()
    had = await balance_sats(world.customer.wallet.id)
    bodies = [
        {"destination": await customer_invoice(world, sats), "idempotency_key": key}
        for sats, key in ((50_000, uuid4().hex), (60_000, uuid4().hex))
    ]
    both = await asyncio.gather(
        *(act(world, settlement_id, "refund", **body) for body in bodies)
    )
    # the one behind finds less owed than its invoice is for
    assert sorted(r.status_code for r in both) == [200, 400]
    await engine_paused.run_until_idle()
    paid = await balance_sats(world.customer.wallet.id) - had
    assert paid in (50_000, 60_000)
    await world.assert_ledger()


async def test_a_dead_invoice_makes_room_for_another(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()
    settlement_id = await awaiting(world)
    await act(world, settlement_id, "dispense", dispensed_fiat="0")
    await engine_paused.run_until_idle()
    first = await customer_invoice(world, 50_000)
    key = uuid4().hex
    body = {"destination": first, "idempotency_key": key}
    ok(await act(world, settlement_id, "refund", **body))

    async def gives_none(_: Any) -> Any:
        raise payouts.DestinationError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(payouts, "fetch_external_invoice", gives_none)
        await engine_paused.run_until_idle()
    legs = await world.legs((await row_of(settlement_id))["payment_hash"], "refund")
    assert {leg.target for leg in legs} == {None}
    leg, rest = sorted(legs, key=lambda leg: -leg.attempts)
    assert (leg.attempts, rest.attempts) == (1, 0)
    refused(await post(world, f"/payments/{leg.id}/retry"), 409, "destination")
    had = await balance_sats(world.customer.wallet.id)
    second = await customer_invoice(world, 60_000)
    body = {"destination": second, "idempotency_key": uuid4().hex}
    ok(await act(world, settlement_id, "refund", **body))
    await engine_paused.run_until_idle()
    assert await balance_sats(world.customer.wallet.id) == had + 60_000
    await world.assert_ledger()


async def test_a_refund_takes_no_sats_that_are_owed_to_others(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a settlement left in the wallet was spent since; found by rolling dice."""
    monkeypatch.setattr(planning, "FEES_GATHER_MINUTES", 0)
    world = await make_world(payout_interval_minutes=1440)
    first = await world.settle(await world.cash_out())
    assert first.retained_sats == 105_000
    await world.fund(world.machine_wallet.id, -105_000)  # the operator takes it out
    lp = await world.add_lp("200.00")
    second = await world.settle(await world.cash_out())
    await world.fund(world.machine_wallet.id, -5_000)
    ok(await act(world, first.id, "dispense", dispensed_fiat="0"))
    await world.assert_ledger()
    bolt11 = await customer_invoice(world, 100_000)
    body = {"destination": bolt11, "idempotency_key": uuid4().hex}
    ok(await act(world, first.id, "refund", **body))
    had = await balance_sats(world.customer.wallet.id)
    await engine_paused.run_until_idle()
    # the wallet holds what the LP gets tomorrow, and nothing else
    assert await balance_sats(world.machine_wallet.id) == 100_000
    assert await balance_sats(world.customer.wallet.id) == had
    ok(await act(world, second.id, "retry"))
    await engine_paused.run_until_idle()
    assert await lp.balance_sats() == 100_000
    detail = ok(await world.operator.api.get(f"/settlements/{first.id}"))
    # 3 000 for the platform were paid; the customer is owed everything
    assert (detail["loss_sats"], detail["retained_sats"]) == (3_000, 0)
    await world.assert_ledger()
