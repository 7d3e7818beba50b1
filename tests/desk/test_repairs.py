"""What an operator does when something went wrong, over HTTP, on real payments.

The engine stands still where a test needs a moment that would pass by (`engine_paused`)
and is called by the test. After every story the books must balance.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok, refused
from lnbits.core.services import create_invoice
from lnbits.core.services.payments import pay_invoice
from world import Killed, MakeWorld, World, balance_sats, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base.database import db, db_time, fetch_all
from satmachineadmin.desk import balances
from satmachineadmin.models import utc_now
from satmachineadmin.money import ending, payouts, payouts_crud, planning, rounds

from conftest import wait_for

WHY = {"reason": "the receipt says so"}
FIGURES = {
    "tx_type": "cash_out",
    "principal_sats": 100_000,
    "fee_sats": 8_000,
    "fiat_amount": "200.00",
    "fiat_code": "GTQ",
    **WHY,
}


async def post(world: World, path: str, **body: Any) -> Any:
    return await world.operator.api.post(path, json={**WHY, **body})


async def act(world: World, settlement_id: str, action: str, **body: Any) -> Any:
    return await post(world, f"/settlements/{settlement_id}/{action}", **body)


async def audit_of(subject_id: str) -> list[tuple[str, str | None]]:
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT action, reason FROM satoshimachine.dca_audit "
            "WHERE subject_id = :id ORDER BY created_at, action",
            {"id": subject_id},
        )
    return [(r["action"], r["reason"]) for r in found]


async def awaiting(world: World, **stamp: Any) -> str:
    """A paid cash-out whose dispense is not reported yet; the settlement's id."""
    payment_hash = await world.cash_out(dispense="awaiting", **stamp)
    return (await world.until(payment_hash, "awaiting_dispense")).id


async def customer_invoice(world: World, sats: int) -> str:
    invoice = await create_invoice(
        wallet_id=world.customer.wallet.id, amount=sats, memo="my refund"
    )
    return str(invoice.bolt11)


def amounts(settlement: dict[str, Any]) -> dict[str, int]:
    """Sats by leg type of the legs that were not voided."""
    found: dict[str, int] = {}
    for leg in settlement["legs"]:
        if leg["status"] != "voided":
            found[leg["leg_type"]] = found.get(leg["leg_type"], 0) + leg["amount_sats"]
    return found


# ----------------------------------------------------------------------- quarantined


async def test_a_quarantined_settlement_is_resolved_with_the_fractions_it_landed_with(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out(fee=7_000, sats=108_000)
    held = await world.until(payment_hash, "quarantined")
    # the operator's fee changes meanwhile: what landed before does not change
    await update(
        "dca_machines",
        world.machine.id,
        operator_cash_out_fee_fraction="0.0100",
    )
    refused(await act(world, held.id, "resolve", **FIGURES | {"fee_sats": 7_000}), 400)
    refused(await act(world, held.id, "resolve", **FIGURES | {"reason": " "}), 400)
    stranger = await world.make_user("stranger")
    path = f"/settlements/{held.id}/resolve"
    refused(await stranger.api.post(path, json=FIGURES), 404)
    answer = ok(await act(world, held.id, "resolve", **FIGURES))
    assert answer["platform_fee_sats"] == 3_000
    assert answer["operator_fee_sats"] == 5_000
    await world.until(payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 100_000
    refused(await act(world, held.id, "resolve", **FIGURES), 409, "quarantined")
    assert ("settlement.resolve", WHY["reason"]) in await audit_of(held.id)
    await world.assert_ledger()


async def test_the_direction_of_an_unreadable_stamp_is_the_payments(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    invoice = await world.cash_out_invoice({"source": "bitspire"}, 108_000)
    await world.fund(world.customer.wallet.id, 108_000)
    await pay_invoice(
        wallet_id=world.customer.wallet.id, payment_request=invoice.bolt11
    )
    held = await world.until(invoice.payment_hash, "quarantined")
    assert (held.tx_type, held.wire_sats) == ("", 108_000)
    cash_in = FIGURES | {"tx_type": "cash_in", "principal_sats": 116_000}
    refused(await act(world, held.id, "resolve", **cash_in), 400, "came into")
    ok(await act(world, held.id, "resolve", **FIGURES))
    await world.until(invoice.payment_hash, "completed")
    await world.assert_ledger()


async def test_a_dismissed_quarantine_frees_its_sats(make_world: MakeWorld) -> None:
    world = await make_world()
    payment_hash = await world.cash_out(fee=7_000, sats=108_000)
    held = await world.until(payment_hash, "quarantined")
    machine = f"/machines/{world.machine.id}"
    before = ok(await world.operator.api.get(machine))
    assert before["free_balance_sats"] == 0
    answer = ok(await act(world, held.id, "void"))
    assert answer["status"] == "voided"
    after = ok(await world.operator.api.get(machine))
    assert after["free_balance_sats"] == 108_000
    refused(await act(world, held.id, "resolve", **FIGURES), 409)
    refused(await act(world, held.id, "void"), 409, "already")


# -------------------------------------------------------------------------- dispense


async def test_a_partial_dispense_owes_the_rest_to_the_customer(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    settlement_id = await awaiting(world)
    refused(await act(world, settlement_id, "dispense", dispensed_fiat="-1"), 400)
    ok(await act(world, settlement_id, "dispense", dispensed_fiat="150.00"))
    settlement = await world.until(
        (await _row(settlement_id))["payment_hash"], "completed"
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
    refused(await act(world, settlement_id, "dispense", dispensed_fiat="151.00"), 409)
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
    payment_hash = (await _row(settlement_id))["payment_hash"]
    await world.until(payment_hash, "completed")
    (refund,) = await world.legs(payment_hash, "refund")
    ok(await post(world, f"/payments/{refund.id}/void"))
    retained_sats = (await _row(settlement_id))["retained_sats"]
    assert retained_sats == 3_750 + 27_000
    for _ in range(2):
        ok(await act(world, settlement_id, "dispense", dispensed_fiat="150.00"))
        (same,) = await world.legs(payment_hash, "refund")
        assert (same.id, same.status) == (refund.id, "voided")
        assert (await _row(settlement_id))["retained_sats"] == retained_sats
    await world.assert_ledger()
    # another, smaller figure is new: the customer is owed what it leaves
    ok(await act(world, settlement_id, "dispense", dispensed_fiat="100.00"))
    open_sats = [
        x.amount_sats
        for x in await world.legs(payment_hash, "refund")
        if x.status == "pending"
    ]
    assert open_sats == [54_000]


async def _row(settlement_id: str) -> Any:
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_settlements WHERE id = :id",
            {"id": settlement_id},
        )
    return found[0]


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
    ok(await act(world, settlement.id, "dispense", dispensed_fiat="50.00"))
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


# ------------------------------------------------------------------------------ legs


async def failed_leg(world: World) -> tuple[str, str]:
    """A settlement whose dca leg failed for good: payment hash and leg id."""
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    assert settlement.status == "processing"
    (leg,) = await world.legs(payment_hash, "dca")
    await update(
        "dca_payments", leg.id, status="failed", attempts=10, error_message="gone"
    )
    await update("dca_settlements", settlement.id, status="attention")
    return payment_hash, leg.id


async def stop(world: World, reason: str | None = "a test stands by") -> None:
    await update("dca_machines", world.machine.id, payouts_stopped_reason=reason)


async def test_a_failed_leg_still_debits_and_is_paid_when_retried(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """Known failure 29: 200 000 sat for one deposit."""
    world = await make_world(deposits=["200.00"])
    await stop(world)
    _payment_hash, leg_id = await failed_leg(world)
    second = await world.cash_out()
    await world.settle(second)
    assert await world.legs(second, "dca") == []
    await stop(world, None)
    stranger = await world.make_user("stranger")
    path = f"/payments/{leg_id}/retry"
    refused(await stranger.api.post(path, json=WHY), 404)
    answer = ok(await post(world, path))
    assert (answer["status"], answer["attempts"]) == ("pending", 0)
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000
    assert await world.remaining(world.lps[0]) == 0
    refused(await post(world, path), 409, "final")
    assert ("payment.retry", WHY["reason"]) in await audit_of(leg_id)
    await world.assert_ledger()


async def test_a_voided_leg_gives_the_fiat_back_once(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["200.00"])
    await stop(world)
    payment_hash, leg_id = await failed_leg(world)
    path = f"/payments/{leg_id}/void"
    both = await asyncio.gather(post(world, path), post(world, path))
    assert sorted(r.status_code for r in both) == [200, 409]
    assert await world.remaining(world.lps[0]) == Decimal("200.00")
    settlement = await world.settlement(payment_hash)
    assert settlement.retained_sats == 105_000
    for action in ("retry", "mark-paid"):
        body = {"reference": "slip 7"}
        refused(await post(world, f"/payments/{leg_id}/{action}", **body), 409)
    log = ok(await world.lps[0].user.api.get(f"/audit?subject_id={leg_id}"))
    assert [e["action"] for e in log["data"]] == ["payment.void"]
    # the fiat buys again
    await stop(world, None)
    second = await world.settle(await world.cash_out())
    assert second.status == "completed"
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()


async def test_a_leg_marked_paid_needs_a_reference_and_is_never_paid(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["200.00"])
    await stop(world)
    payment_hash, leg_id = await failed_leg(world)
    path = f"/payments/{leg_id}/mark-paid"
    refused(await post(world, path), 400, "reference")
    answer = ok(await post(world, path, reference="bank slip 7"))
    assert answer["status"] == "failed"  # until the LP says that they have it
    lp = world.lps[0].user.api
    ok(await lp.post(f"/lp/payments/{leg_id}/accept", json={}))
    await stop(world, None)
    await world.run_due()
    assert await world.lps[0].balance_sats() == 0
    assert await world.remaining(world.lps[0]) == 0
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_retrying_a_settlement_makes_all_that_waits_due(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["200.00"], payout_interval_minutes=1440)
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    assert await world.lps[0].balance_sats() == 0
    ok(await act(world, settlement.id, "retry"))
    await engine_paused.run_until_idle()
    assert await world.lps[0].balance_sats() == 100_000
    assert (await world.settlement(payment_hash)).status == "completed"
    refused(await act(world, settlement.id, "retry"), 409, "nothing")


async def test_a_retry_is_not_held_up_by_another_leg_to_the_same_place(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["400.00"])
    await stop(world)
    first = await world.cash_out()
    second = await world.cash_out()
    await world.settle(first)
    await world.settle(second)
    await stop(world, None)
    later = utc_now().replace(year=utc_now().year + 1)
    for payment_hash in (first, second):
        (leg,) = await world.legs(payment_hash, "dca")
        await update("dca_payments", leg.id, attempts=3, next_try_at=db_time(later))
    ok(await post(world, f"/payments/{leg.id}/retry"))
    await engine_paused.run_until_idle()
    assert await world.lps[0].balance_sats() == 200_000


# ------------------------------------------------------------------------- in flight


async def in_flight(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The process dies after the invoice was kept: nobody knows whether it was paid."""

    async def dies(*_: Any, **__: Any) -> None:
        raise Killed

    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    with monkeypatch.context() as patch:
        patch.setattr(payouts, "try_to_pay", dies)
        with pytest.raises(Killed):
            await distribution.worker.run_until_idle()
    legs = await world.legs(payment_hash)
    assert all(x.payout_id and x.external_payment_hash for x in legs)
    return payment_hash, next(x.id for x in legs if x.leg_type == "dca")


async def test_nothing_can_be_done_to_what_is_being_paid(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["200.00"])
    payment_hash, leg_id = await in_flight(world, monkeypatch)
    settlement = await world.settlement(payment_hash)
    for action in ("retry", "void", "mark-paid"):
        path = f"/payments/{leg_id}/{action}"
        refused(await post(world, path, reference="r"), 409, "being paid")
    refused(await act(world, settlement.id, "void"), 409, "being paid")
    refused(await act(world, settlement.id, "retry"), 409)
    assert await audit_of(leg_id) == []
    # a short report leaves it alone: the refund is the operator's loss
    ok(await act(world, settlement.id, "dispense", dispensed_fiat="0"))
    assert (await world.legs(payment_hash, "dca"))[0].amount_sats == 100_000
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000
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
    for payout in await payouts_crud.unfinished_payouts():
        if payout.source_wallet_id == world.machine_wallet.id:
            await ending.fail_payout(payout, "the test says so")
    # nobody has to say it again
    detail = ok(await world.operator.api.get(f"/settlements/{settlement.id}"))
    assert amounts(detail) == {"super_fee": 1_500, "dca": 50_000, "refund": 54_000}
    assert await world.remaining(world.lps[0]) == Decimal("100.00")
    await world.assert_ledger()


async def test_a_leg_made_smaller_after_the_round_looked_is_not_paid_in_full(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["200.00"])
    await stop(world)
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    await stop(world, None)
    await world.make_due()
    facts = await rounds.read_batch_inputs(world.machine_wallet.id, utc_now())
    plan = await rounds.plan_batch(world.machine_wallet.id, facts, utc_now())
    assert len(plan.payouts) == 2
    ok(await act(world, settlement.id, "dispense", dispensed_fiat="100.00"))
    opened = await rounds.apply_batch(plan, distribution.INSTANCE_ID, utc_now())
    assert opened == 0
    await world.run_due()
    assert await world.lps[0].balance_sats() == 50_000
    await world.assert_ledger()


async def test_a_leg_voided_after_the_round_looked_stays_voided(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    lp = await world.add_lp("200.00", user=world.operator, autoforward="a@b.example")
    box = await world.make_wallet(world.operator, "box")
    await update("dca_lp", world.operator.user_id, key="user_id", dca_wallet_id=box.id)
    await stop(world)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    await stop(world, None)
    await world.make_due()
    own = world.machine_wallet.id
    await update("dca_lp", world.operator.user_id, key="user_id", dca_wallet_id=own)
    plan = await rounds.plan_batch(
        own, await rounds.read_batch_inputs(own, utc_now()), utc_now()
    )
    assert [leg.leg_type for leg in plan.skipped] == ["dca"]
    # only a payment that has failed may be voided
    await update("dca_payments", plan.skipped[0].id, status="failed")
    ok(await post(world, f"/payments/{plan.skipped[0].id}/void"))
    await rounds.apply_batch(plan, distribution.INSTANCE_ID, utc_now())
    (leg,) = await world.legs(payment_hash, "dca")
    assert leg.status == "voided"
    assert await world.legs(payment_hash, "autoforward") == []
    assert await world.remaining(lp) == Decimal("200.00")
    await world.assert_ledger()


# -------------------------------------------------------------------- a whole one


@pytest.mark.parametrize("status", ["awaiting_dispense", "attention", "pending"])
async def test_a_settlement_that_is_not_planned_can_be_voided(
    make_world: MakeWorld, engine_paused: distribution.Worker, status: str
) -> None:
    world = await make_world(deposits=["200.00"])
    await stop(world)
    if status in ("awaiting_dispense", "attention"):
        settlement_id = await awaiting(world)
        await update("dca_settlements", settlement_id, status=status)
    else:
        payment_hash = await world.cash_out()
        landed = await world.landed(payment_hash)
        settlement_id = landed.id
    assert (await _row(settlement_id))["status"] == status
    both = await asyncio.gather(
        act(world, settlement_id, "void"), act(world, settlement_id, "void")
    )
    assert sorted(r.status_code for r in both) == [200, 409]
    assert await world.remaining(world.lps[0]) == Decimal("200.00")
    await stop(world, None)
    await world.run_due()
    assert await balance_sats(world.machine_wallet.id) == 108_000
    machine = ok(await world.operator.api.get(f"/machines/{world.machine.id}"))
    assert machine["free_balance_sats"] == 108_000
    refused(await act(world, settlement_id, "dispense", dispensed_fiat="1"), 409)
    refused(await act(world, settlement_id, "retry"), 409)
    assert await audit_of(settlement_id) == [("settlement.void", WHY["reason"])]
    await world.assert_ledger()


async def test_a_settlement_that_has_paid_somebody_cannot_be_voided(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["200.00"])
    settlement = await world.until(await world.cash_out(), "completed")
    refused(await act(world, settlement.id, "void"), 409, "were made")
    stranger = await world.make_user("stranger")
    for action in ("void", "retry", "notes", "test", "dispense", "refund"):
        body = {
            **WHY,
            "note": "x",
            "is_test": True,
            "dispensed_fiat": "1",
            "destination": "a@b.example",
            "idempotency_key": "k",
        }
        path = f"/settlements/{settlement.id}/{action}"
        refused(await stranger.api.post(path, json=body), 404)
        refused(await world.lps[0].user.api.post(path, json=body), 404)


async def test_notes_are_appended_and_a_test_leaves_the_totals(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    settlement = await world.until(await world.cash_out(), "completed")
    path = f"/settlements/{settlement.id}"
    await asyncio.gather(
        act(world, settlement.id, "notes", note="first <b>&amp;"),
        act(world, settlement.id, "notes", note="second"),
    )
    notes = ok(await world.operator.api.get(path))["notes"]
    assert "first <b>&amp;" in notes and "second" in notes
    assert len(notes.splitlines()) == 2
    refused(await act(world, settlement.id, "notes", note=""), 400)
    totals = ok(await world.operator.api.get("/overview"))["totals"]
    assert totals["cash_out_count"] == 1
    assert ok(await act(world, settlement.id, "test", is_test=True))["is_test"]
    totals = ok(await world.operator.api.get("/overview"))["totals"]
    assert totals["cash_out_count"] == 0
    ok(await act(world, settlement.id, "test", is_test=True))
    assert [a for a, _ in await audit_of(settlement.id)] == [
        "settlement.note",
        "settlement.note",
        "settlement.test",
    ]


# ---------------------------------------------------------------------------- refund


async def refundable(world: World) -> str:
    settlement_id = await awaiting(world)
    await act(world, settlement_id, "dispense", dispensed_fiat="0")
    await world.until((await _row(settlement_id))["payment_hash"], "completed")
    return settlement_id


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
    ):
        body = {"destination": destination, "idempotency_key": uuid4().hex}
        refused(await act(world, settlement_id, "refund", **body), 400, word)
    bolt11 = await customer_invoice(world, 1_000)
    refused(await act(world, settlement_id, "refund", destination=bolt11), 400, "key")


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
    legs = await world.legs((await _row(settlement_id))["payment_hash"], "refund")
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


# --------------------------------------------------------------------- close a balance


def close_body(world: World, **more: Any) -> dict[str, Any]:
    return {
        "wallet_id": world.operator.wallet.id,
        "exchange_rate": 133.3333,
        "idempotency_key": uuid4().hex,
        **more,
    }


async def test_closing_a_balance_pays_once(make_world: MakeWorld) -> None:
    world = await make_world(deposits=["300.00"])
    lp = world.lps[0]
    cash_box = await world.make_wallet(world.operator, "cash box")
    await world.fund(cash_box.id, 50_000)
    path = f"/clients/{lp.client.id}/close-balance"
    body = close_body(world, wallet_id=cash_box.id)
    for wrong in ({"exchange_rate": 0}, {"exchange_rate": "x"}, {"wallet_id": "x"}):
        refused(await post(world, path, **body | wrong), 400)
    alien = {"wallet_id": world.customer.wallet.id}
    refused(await post(world, path, **body | alien), 400)
    stranger = await world.make_user("stranger")
    own = {"wallet_id": stranger.wallet.id, **WHY}
    refused(await stranger.api.post(path, json=body | own), 404)
    both = await asyncio.gather(post(world, path, **body), post(world, path, **body))
    legs = [ok(answer) for answer in both]
    assert legs[0]["id"] == legs[1]["id"]
    assert legs[0]["amount_sats"] == 40_000
    refused(await post(world, path, **close_body(world)), 409, "nothing is left")
    other = await world.add_lp("10.00")
    other_path = f"/clients/{other.client.id}/close-balance"
    refused(await post(world, other_path, **body), 409, "idempotency_key")

    async def received() -> bool:
        return await lp.balance_sats() == 40_000

    await wait_for(received)
    assert await balance_sats(cash_box.id) == 10_000
    assert await world.remaining(lp) == 0
    assert ok(await post(world, path, **body))["status"] == "completed"
    assert await balance_sats(cash_box.id) == 10_000
    await world.assert_ledger()


async def test_a_close_is_replayed_after_the_process_died_behind_the_commit(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00"])
    lp = world.lps[0]

    def dies() -> None:
        raise Killed

    await world.fund(world.operator.wallet.id, 45_000)
    body = close_body(world, exchange_rate=150)
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "wake", dies)
        with pytest.raises(Killed):
            await balances.close_balance(
                world.operator.user_id,
                lp.client.id,
                world.operator.wallet.id,
                Decimal(150),
                "closing",
                body["idempotency_key"],
            )
    path = f"/clients/{lp.client.id}/close-balance"
    leg = ok(await post(world, path, **body))
    assert leg["amount_sats"] == 45_000
    # given up again: the fiat returns
    refused(await post(world, f"/payments/{leg['id']}/void", reason=""), 400)

    refused(await post(world, f"/payments/{leg['id']}/void"), 409)  # it goes on

    async def voided() -> bool:
        # as after the last attempt
        await update("dca_payments", leg["id"], status="failed", payout_id=None)
        answer = await post(world, f"/payments/{leg['id']}/void")
        return bool(answer.status_code == 200)

    await wait_for(voided)
    assert await world.remaining(lp) == Decimal("300.00")
    await world.assert_ledger()


# -------------------------------------------------------------------------------- LPs


async def test_only_the_lp_acts_on_what_they_forward(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    lp = await world.add_lp("300.00", autoforward="me@example.com")
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (forward,) = await world.legs(payment_hash, "autoforward")
    refused(await post(world, f"/payments/{forward.id}/void"), 404)
    other = await world.add_lp("300.00")
    for action in ("retry", "void"):
        path = f"/lp/payments/{forward.id}/{action}"
        refused(await other.user.api.post(path, json=WHY), 404)
        refused(await world.operator.api.post(path, json=WHY), 404)
    (dca,) = await world.legs(payment_hash, "dca")
    refused(await lp.user.api.post(f"/lp/payments/{dca.id}/void"), 404)
    answer = ok(await lp.user.api.post(f"/lp/payments/{forward.id}/retry"))
    assert answer["next_try_at"] is None
    answer = ok(await lp.user.api.post(f"/lp/payments/{forward.id}/void", json=WHY))
    assert answer["status"] == "voided"
    refused(await lp.user.api.post(f"/lp/payments/{forward.id}/retry"), 409)
    assert await lp.balance_sats() == 100_000
    await world.assert_ledger()


# ------------------------------------------------------------------------------ go on


async def test_stopped_payouts_go_on_when_the_operator_says_so(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    path = f"/machines/{world.machine.id}/resume-payouts"
    refused(await post(world, path), 409)
    await stop(world, "the books and LNbits differ")
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    assert settlement.status == "processing"
    stranger = await world.make_user("stranger")
    refused(await stranger.api.post(path, json=WHY), 404)
    assert ok(await post(world, path))["payouts_stopped_reason"] is None
    await engine_paused.run_until_idle()
    assert (await world.settlement(payment_hash)).status == "completed"
    assert ("machine.resume_payouts", WHY["reason"]) in await audit_of(world.machine.id)


async def test_a_process_that_is_not_the_engine_rests(
    engine_paused: distribution.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once woken, its worker turned round and round without ever waiting."""
    distribution.wake()
    await tasks.work_once()
    monkeypatch.setattr(tasks, "IDLE_POLL_SECONDS", 0.05)
    started = asyncio.get_running_loop().time()
    await tasks.work_once()
    assert asyncio.get_running_loop().time() - started >= 0.04


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
