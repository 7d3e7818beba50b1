"""More cash left the machine than was sold: booked, marked, and paid as what was sold.

Who got notes too many keeps them; nobody is owed more sats for it, and nothing that is
planned changes. The report is answered like any other.
"""

from __future__ import annotations

from typing import Any

import pytest
from api_world import ok
from desk_world import grant
from line_world import MakeOnLine
from world import MakeWorld, World, update

from satmachineadmin import distribution

WHY = {"reason": "counted twice"}


async def report(world: World, settlement_id: str, dispensed: str) -> dict[str, Any]:
    path = f"/settlements/{settlement_id}/dispense"
    body = {"dispensed_fiat": dispensed, **WHY}
    return dict(ok(await world.operator.api.post(path, json=body)))


@pytest.mark.parametrize("dispensed", ["200.01", "220.00", "4000.00"])
async def test_it_is_planned_as_what_was_sold(
    make_world: MakeWorld, engine_paused: distribution.Worker, dispensed: str
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out(dispense="awaiting")
    settlement = await world.until(payment_hash, "awaiting_dispense")
    answer = await report(world, settlement.id, dispensed)
    assert "more_dispensed" in answer["marks"]
    assert answer["dispensed_fiat"] == "200.00"
    await engine_paused.run_until_idle()
    assert (await world.settlement(payment_hash)).status == "completed"
    assert await world.legs(payment_hash, "refund") == []
    assert await world.lps[0].balance_sats() == 100_000
    # said again, nothing changes
    again = await report(world, settlement.id, dispensed)
    assert (again["status"], again["marks"]) == ("completed", answer["marks"])
    await world.assert_ledger()


async def test_after_it_is_paid_it_is_only_marked(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    settlement = await world.settle(await world.cash_out())
    answer = await report(world, settlement.id, "220.00")
    assert "more_dispensed" in answer["marks"]
    assert answer["status"] == "completed"
    assert await world.lps[0].balance_sats() == 100_000
    # and a report of less is still heard
    less = await report(world, settlement.id, "100.00")
    assert less["dispensed_fiat"] == "100.00"
    await world.assert_ledger()


async def test_a_machine_that_says_so_is_answered_ok(make_on_line: MakeOnLine) -> None:
    found = await make_on_line(deposits=["300.00"], allow_stamped_invoices=True)
    world = found.world
    payment_hash = await world.cash_out(dispense="awaiting")
    await world.until(payment_hash, "awaiting_dispense")
    body = {"payment_hash": payment_hash, "dispensed_fiat": "260.00"}
    told = await found.ask("dispense", body)
    assert told["status"] == "OK"
    settlement = await world.until(payment_hash, "completed")
    assert ",more_dispensed," in settlement.marks
    await world.assert_ledger()


@pytest.mark.parametrize("is_paid", [False, True])
@pytest.mark.parametrize("said", ["260.00"])
async def test_a_sale_that_is_planned_in_part_stays_so_and_is_marked(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    said: str,
    is_paid: bool,
) -> None:
    """Half came out, half is owed to the customer, and then somebody counts notes too
    many: whether the customer had them is for people to find out."""
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out(dispense="awaiting")
    settlement = await world.until(payment_hash, "awaiting_dispense")
    await report(world, settlement.id, "100.00")
    if not is_paid:  # planned, and the LP's part waits
        await update("dca_machines", world.machine.id, payouts_stopped_reason="x")
    await engine_paused.run_until_idle()
    before = await world.legs(payment_hash)
    (refund,) = await world.legs(payment_hash, "refund")
    assert refund.amount_sats == 54_000

    answer = await report(world, settlement.id, said)
    assert "more_dispensed" in answer["marks"]
    assert answer["dispensed_fiat"] == "100.00"
    assert await world.legs(payment_hash) == before
    # what lies between is neither of the two
    path = f"/settlements/{settlement.id}/dispense"
    between = {"dispensed_fiat": "150.00", **WHY}
    refused = await world.operator.api.post(path, json=between)
    assert refused.status_code == 409
    assert "it can become less, not more" in refused.json()["detail"]

    await update("dca_machines", world.machine.id, payouts_stopped_reason=None)
    await world.run_due()
    assert await world.lps[0].balance_sats() == 50_000
    assert (await world.settlement(payment_hash)).status == "completed"
    # and less is still heard, and keeps the mark
    less = await report(world, settlement.id, "50.00")
    assert less["dispensed_fiat"] == "50.00"
    assert "more_dispensed" in less["marks"]
    await world.assert_ledger()


@pytest.mark.parametrize("dispense", ["awaiting", "confirmed"])
@pytest.mark.parametrize("sold", ["200.00", "220.00", "300.00"])
async def test_a_report_above_a_sale_that_is_held_back_counts_when_it_is_resolved(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    sold: str,
    dispense: str,
) -> None:
    """Above what, is known only then: of 220.00, a sale of 300.00 came out in part.
    Where the machine said that all came out, who is owed is asked first."""
    world = await make_world(deposits=["900.00"])
    await update("dca_machines", world.machine.id, is_active=False)
    payment_hash = await world.cash_out(dispense=dispense)
    settlement = await world.until(payment_hash, "quarantined")
    await update("dca_machines", world.machine.id, is_active=True)
    for _ in range(2):
        answer = await report(world, settlement.id, "220.00")
        assert answer["status"] == "quarantined"
        assert "more_dispensed" not in answer["marks"]
    figures = {
        **{"tx_type": "cash_out", "principal_sats": 100_000, "fee_sats": 8_000},
        **{"fiat_amount": sold, "fiat_code": "GTQ", **WHY},
    }
    path = f"/settlements/{settlement.id}/resolve"
    answer = dict(ok(await world.operator.api.post(path, json=figures)))
    assert ("more_dispensed" in answer["marks"]) == (sold == "200.00")
    is_part = sold == "300.00"
    if is_part and dispense == "confirmed":
        assert await world.legs(payment_hash, "refund") == []
        await grant(world, settlement.id)
    await engine_paused.run_until_idle()
    assert (await world.settlement(payment_hash)).status == "completed"
    assert len(await world.legs(payment_hash, "refund")) == is_part
    # 100 000 x 220 / 300
    assert await world.lps[0].balance_sats() == (73_333 if is_part else 100_000)
    await world.assert_ledger()


async def test_a_machine_says_it_of_a_sale_that_is_held_back(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"], allow_stamped_invoices=True)
    world = found.world
    await update("dca_machines", world.machine.id, is_active=False)
    payment_hash = await world.cash_out(dispense="awaiting")
    settlement = await world.until(payment_hash, "quarantined")
    await update("dca_machines", world.machine.id, is_active=True)
    body = {"payment_hash": payment_hash, "dispensed_fiat": "260.00"}
    told = await found.ask("dispense", body)
    assert (told["status"], told["settlement_status"]) == ("OK", "quarantined")
    figures = {
        **{"tx_type": "cash_out", "principal_sats": 100_000, "fee_sats": 8_000},
        **{"fiat_amount": "200.00", "fiat_code": "GTQ", **WHY},
    }
    path = f"/settlements/{settlement.id}/resolve"
    answer = dict(ok(await world.operator.api.post(path, json=figures)))
    assert "more_dispensed" in answer["marks"]
    await world.until(payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()
