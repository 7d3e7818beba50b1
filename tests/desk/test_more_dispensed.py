"""More cash left the machine than was sold: booked, marked, and paid as what was sold.

Who got notes too many keeps them; nobody is owed more sats for it, and nothing that is
planned changes. The report is answered like any other.
"""

from __future__ import annotations

from typing import Any

import pytest
from api_world import ok
from line_world import MakeOnLine
from world import MakeWorld, World

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
