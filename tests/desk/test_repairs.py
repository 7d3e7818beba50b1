"""What an operator does when something went wrong, over HTTP, on real payments.

The engine stands still where a test needs a moment that would pass by (`engine_paused`)
and is called by the test. After every story the books must balance.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from api_world import ok, refused
from desk_world import (
    FIGURES,
    WHY,
    act,
    audit_of,
    awaiting,
    failed_leg,
    grant,
    in_flight,
    post,
    row_of,
    stop,
)
from lnbits.core.services.payments import pay_invoice
from world import MakeWorld, balance_sats, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base.database import db_time
from satmachineadmin.models import utc_now
from satmachineadmin.money import rounds

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


# ------------------------------------------------------------------------------ legs


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
    await grant(world, settlement.id)
    assert (await world.legs(payment_hash, "dca"))[0].amount_sats == 100_000
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000
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
    await grant(world, settlement.id)
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
    assert (await row_of(settlement_id))["status"] == status
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


async def test_notes_are_appended_and_a_test_leaves_the_totals_until_it_was_paid_from(
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

    async def counted() -> int:
        overview = ok(await world.operator.api.get("/overview"))
        return int(overview["totals"]["cash_out_count"])

    waits = await world.landed(await world.cash_out(dispense="awaiting"))
    assert await counted() == 2
    assert ok(await act(world, waits.id, "test", is_test=True))["is_test"]
    assert await counted() == 1
    ok(await act(world, waits.id, "test", is_test=False))
    assert await counted() == 2
    # the platform was paid of this one: a mark takes nothing out of the books
    assert ok(await act(world, settlement.id, "test", is_test=True))["is_test"]
    assert await counted() == 2
    ok(await act(world, settlement.id, "test", is_test=True))
    assert [a for a, _ in await audit_of(settlement.id)] == [
        "settlement.note",
        "settlement.note",
        "settlement.test",
    ]


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
