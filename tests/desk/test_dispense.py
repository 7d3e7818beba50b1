"""A machine paid out less cash than was sold, and what is owed then, over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok, refused
from desk_world import (
    act,
    amounts,
    audit_of,
    awaiting,
    customer_invoice,
    grant,
    in_flight,
    post,
    row_of,
)
from world import MakeWorld, World, balance_sats, update

from satmachineadmin import distribution
from satmachineadmin.money import ending, payouts_crud

from conftest import wait_for

# -------------------------------------------------------------------------- dispense


async def _foreseen(world: World, settlement_id: str, amount: str) -> list[Any]:
    """What the dry run says: asks, changes, then sats of LPs, platform, operator and
    customer, paid already, lost."""
    before = dict(await row_of(settlement_id))
    answer = ok(
        await act(world, settlement_id, "dispense/preview", dispensed_fiat=amount)
    )
    assert dict(await row_of(settlement_id)) == before  # nothing was done
    return list(answer.values())


async def test_a_partial_dispense_owes_the_rest_to_the_customer(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    settlement_id = await awaiting(world)
    for path in ("dispense", "dispense/preview"):
        refused(await act(world, settlement_id, path, dispensed_fiat="-1"), 400)
    seen = await _foreseen(world, settlement_id, "150.00")
    assert seen == [False, True, 75_000, 2_250, 3_750, 27_000, 0, 0]
    ok(await act(world, settlement_id, "dispense", dispensed_fiat="150.00"))
    settlement = await world.until(
        (await row_of(settlement_id))["payment_hash"], "completed"
    )
    assert settlement.dispense_state == "partial"
    detail = ok(await world.operator.api.get(f"/settlements/{settlement_id}"))
    assert amounts(detail) == {"super_fee": 2_250, "dca": 75_000, "refund": 27_000}
    # 6 000 of the fee less 2 250; nobody was named for the operator's share
    assert detail["retained_sats"] == 3_750
    assert detail["refundable_sats"] == 27_000
    assert await world.remaining(world.lps[0]) == Decimal("150.00")
    # said again, nothing changes; more cannot be said any more
    ok(await act(world, settlement_id, "dispense", dispensed_fiat="150.00"))
    seen = await _foreseen(world, settlement_id, "150.00")
    assert seen == [False, False, 75_000, 2_250, 3_750, 27_000, 77_250, 0]
    for path in ("dispense", "dispense/preview"):
        refused(await act(world, settlement_id, path, dispensed_fiat="151.00"), 409)
    actions = [action for action, _ in await audit_of(settlement_id)]
    assert actions == ["settlement.dispense"]

    # an invoice of this instance is not routed: it may be for all of it
    most = detail["refundable_sats"]
    assert detail["max_refund_sats"] < most
    key = {"idempotency_key": uuid4().hex}
    too_much = await customer_invoice(world, most + 1)
    refused(await act(world, settlement_id, "refund", destination=too_much, **key), 400)
    had = await balance_sats(world.customer.wallet.id)
    bolt11 = await customer_invoice(world, most)
    ok(await act(world, settlement_id, "refund", destination=bolt11, **key))
    # the same request again, as after a lost answer, and another one
    again = {"destination": await customer_invoice(world, 10), **key}
    ok(await act(world, settlement_id, "refund", **again))
    await world.until(settlement.payment_hash, "completed")
    assert await balance_sats(world.customer.wallet.id) == had + most
    more = {"destination": await customer_invoice(world, 10), "idempotency_key": "x"}
    refused(await act(world, settlement_id, "refund", **more), 409, "nothing is owed")
    await world.assert_ledger()


async def test_a_voided_refund_stays_voided_when_the_machine_repeats_its_report(
    make_world: MakeWorld,
) -> None:
    """The customer was paid in cash; the machine's outbox says the same once more."""
    world = await make_world(deposits=["300.00"])
    settlement_id = await awaiting(world)
    ok(await act(world, settlement_id, "dispense", dispensed_fiat="150.00"))
    payment_hash = (await row_of(settlement_id))["payment_hash"]
    await world.until(payment_hash, "completed")
    (refund,) = await world.legs(payment_hash, "refund")
    ok(await post(world, f"/payments/{refund.id}/void"))
    retained_sats = (await row_of(settlement_id))["retained_sats"]
    assert retained_sats == 3_750 + 27_000
    for _ in range(2):
        ok(await act(world, settlement_id, "dispense", dispensed_fiat="150.00"))
        (same,) = await world.legs(payment_hash, "refund")
        assert (same.id, same.status) == (refund.id, "voided")
        assert (await row_of(settlement_id))["retained_sats"] == retained_sats
    await world.assert_ledger()
    # another, smaller figure is new: the customer is owed what it leaves
    ok(await act(world, settlement_id, "dispense", dispensed_fiat="100.00"))
    open_sats = [
        x.amount_sats
        for x in await world.legs(payment_hash, "refund")
        if x.status == "pending"
    ]
    assert open_sats == [54_000]


@pytest.mark.parametrize("dispensed", ["0", "200.00"])
async def test_nothing_or_everything_dispensed(
    make_world: MakeWorld, dispensed: str
) -> None:
    world = await make_world(deposits=["300.00"])
    settlement_id = await awaiting(world)
    await update("dca_settlements", settlement_id, status="attention")
    refused(await act(world, settlement_id, "retry"), 409, "cash")
    answer = ok(await act(world, settlement_id, "dispense", dispensed_fiat=dispensed))
    settlement = await world.until(answer["payment_hash"], "completed")
    detail = ok(await world.operator.api.get(f"/settlements/{settlement_id}"))
    if dispensed == "0":
        assert amounts(detail) == {"refund": 108_000}
        assert await world.remaining(world.lps[0]) == Decimal("300.00")
    else:
        assert settlement.dispense_state == "confirmed"
        assert amounts(detail) == {"super_fee": 3_000, "dca": 100_000}
    await world.assert_ledger()


async def test_a_network_fee_makes_a_full_refund_the_operators_loss(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    settlement_id = await awaiting(world)
    await update("dca_settlements", settlement_id, network_fee_sats=50)
    answer = ok(await act(world, settlement_id, "dispense", dispensed_fiat="0"))
    await engine_paused.run_until_idle()
    legs = await world.legs(answer["payment_hash"], "refund")
    assert sorted((x.amount_sats, x.from_free_balance) for x in legs) == [
        (50, True),
        (107_950, False),
    ]
    await world.assert_ledger()


async def test_a_short_report_before_anything_is_paid_is_planned_like_a_new_one(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["150.00", "50.00"], payout_interval_minutes=1440)
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    # nothing can be paid: neither the fees nor, until tomorrow, the LPs
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await update(
        "dca_machines", world.machine.id, payouts_stopped_reason="a test stands by"
    )
    settlement = await world.settle(payment_hash)
    assert settlement.status == "processing"
    seen = await _foreseen(world, settlement.id, "50.00")
    assert seen == [True, True, 25_000, 750, 1_250, 81_000, 0, 0]
    ok(await act(world, settlement.id, "dispense", dispensed_fiat="50.00"))
    await grant(world, settlement.id)
    detail = ok(await world.operator.api.get(f"/settlements/{settlement.id}"))
    assert amounts(detail) == {
        "super_fee": 750,
        "operator_split": 1_250,
        "dca": 25_000,
        "refund": 81_000,
    }
    assert detail["retained_sats"] == 0
    parts = sorted(x.amount_sats for x in await world.legs(payment_hash, "dca"))
    assert parts == [6_250, 18_750]
    assert await world.remaining(world.lps[0]) == Decimal("112.50")
    ok(await act(world, settlement.id, "dispense", dispensed_fiat="0.00"))
    await grant(world, settlement.id)
    detail = ok(await world.operator.api.get(f"/settlements/{settlement.id}"))
    assert amounts(detail) == {"refund": 108_000}
    assert await world.remaining(world.lps[0]) == Decimal("150.00")
    lp_log = ok(await world.lps[0].user.api.get("/audit?action=payment.resize"))
    assert lp_log["total"] == 2
    assert lp_log["data"][0]["actor"] == "operator"
    await world.assert_ledger()


async def test_a_short_report_after_everything_is_paid_is_the_operators_loss(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    settlement = await world.until(payment_hash, "completed")
    retained = 5_000  # no split was set
    seen = await _foreseen(world, settlement.id, "100.00")
    assert seen == [False, True, 100_000, 3_000, 0, 54_000, 103_000, 49_000]
    ok(await act(world, settlement.id, "dispense", dispensed_fiat="100.00"))
    # what stayed in the wallet is the operator's since, and may be gone: all is free
    legs = await world.legs(payment_hash, "refund")
    assert [(x.amount_sats, x.from_free_balance) for x in legs] == [(54_000, True)]
    await world.assert_ledger()
    detail = ok(await world.operator.api.get(f"/settlements/{settlement.id}"))
    assert detail["retained_sats"] == 0
    assert detail["loss_sats"] == 54_000 - retained
    assert detail["refundable_sats"] == 54_000
    bolt11 = await customer_invoice(world, detail["max_refund_sats"])
    body = {"destination": bolt11, "idempotency_key": uuid4().hex}
    ok(await act(world, settlement.id, "refund", **body))

    # the wallet holds 5 000
    async def says_why() -> bool:
        legs = await world.legs(payment_hash, "refund")
        return all(x.error_message for x in legs)

    await wait_for(says_why)
    assert await balance_sats(world.machine_wallet.id) == retained
    had = await balance_sats(world.customer.wallet.id)
    await world.fund(world.machine_wallet.id, 60_000)
    await world.make_due()
    distribution.wake()
    await world.until(payment_hash, "completed")
    paid = await balance_sats(world.customer.wallet.id) - had
    assert paid == detail["max_refund_sats"]
    await world.assert_ledger()


async def test_what_was_on_its_way_during_a_short_report_shrinks_when_it_fails(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["200.00"])
    payment_hash, _leg_id = await in_flight(world, monkeypatch)
    settlement = await world.settlement(payment_hash)
    ok(await act(world, settlement.id, "dispense", dispensed_fiat="100.00"))
    await grant(world, settlement.id)
    for payout in await payouts_crud.unfinished_payouts():
        if payout.source_wallet_id == world.machine_wallet.id:
            await ending.fail_payout(payout, "the test says so")
    # nobody has to say it again
    detail = ok(await world.operator.api.get(f"/settlements/{settlement.id}"))
    assert amounts(detail) == {"super_fee": 1_500, "dca": 50_000, "refund": 54_000}
    assert await world.remaining(world.lps[0]) == Decimal("100.00")
    await world.assert_ledger()
