"""A sale that is held back: is anybody paid for notes that stayed in the machine?

The stamp says that the dispense is awaited; then the sale is quarantined, for whatever
reason. What is reported meanwhile, over HTTP and over the machine's line, is kept and
counts when the sale is resolved; without a report nothing is paid until there is one.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from cash_rows import given_out
from line_world import MakeOnLine, OnLine
from lnbits.core.services import create_invoice, pay_invoice
from world import MakeWorld, World, update

from satmachineadmin import crud
from satmachineadmin.models import Settlement
from satmachineadmin.money import landing

from conftest import wait_for

WHY = {"reason": "as the receipt says"}
FIGURES = {
    "tx_type": "cash_out",
    "principal_sats": 100_000,
    "fee_sats": 8_000,
    "fiat_amount": "200.00",
    "fiat_code": "GTQ",
}
# how a sale comes to be held back
CAUSES: dict[str, dict[str, Any]] = {
    "inactive": {},
    "fee": {"fee": 7_000, "sats": 108_000},
    "rate": {"exchange_rate": 1},
    "direction": {"tx_type": "cash-out"},
}


async def act(world: World, settlement: Settlement, action: str, **body: Any) -> Any:
    path = f"/settlements/{settlement.id}/{action}"
    answer = await world.operator.api.post(path, json={**WHY, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def held_back(world: World, cause: str, **stamp: Any) -> Settlement:
    if cause == "inactive":
        await update("dca_machines", world.machine.id, is_active=False)
    payment_hash = await world.cash_out(
        **{"dispense": "awaiting", **CAUSES[cause], **stamp}
    )
    settlement = await world.until(payment_hash, "quarantined")
    await update("dca_machines", world.machine.id, is_active=True)
    return settlement


async def made_by_an_older_version(settlement: Settlement) -> None:
    await update(
        "dca_settlements", settlement.id, dispense_state=None, is_outgoing=None
    )


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("cause", CAUSES)
async def test_a_sale_whose_cash_was_not_confirmed_is_resolved_into_waiting(
    make_world: MakeWorld, cause: str, is_old: bool
) -> None:
    world = await make_world(deposits=["300.00"])
    held = await held_back(world, cause)
    if is_old:
        await made_by_an_older_version(held)
    answer = await act(world, held, "resolve", **FIGURES)
    assert answer["status"] == "awaiting_dispense"
    assert await world.legs(held.payment_hash) == []
    await act(world, held, "dispense", dispensed_fiat="200.00")
    await world.until(held.payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()


@pytest.mark.parametrize(
    "dispense", ["Awaiting", "AWAITING", False, "no", ["awaiting"]]
)
async def test_what_is_no_clear_yes_waits_too(
    make_world: MakeWorld, dispense: Any
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out(dispense=dispense)
    held = await world.until(payment_hash, "quarantined")
    assert (await act(world, held, "resolve", **FIGURES))["status"] == (
        "awaiting_dispense"
    )


@pytest.mark.parametrize("stamp", [{"dispense": "confirmed"}, {}])
async def test_a_sale_that_was_dispensed_is_resolved_and_paid(
    make_world: MakeWorld, stamp: dict[str, Any]
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out(fee=7_000, sats=108_000, **stamp)
    held = await world.until(payment_hash, "quarantined")
    await act(world, held, "resolve", **FIGURES)
    await world.until(payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 100_000
    # its notes are out, and in the cash book too
    assert await given_out(held) == [("bays", "customer", 20_000)]


@pytest.mark.parametrize(
    ("said", "principal", "refund"),
    [("0", 0, 108_000), ("50.00", 25_000, 81_000), ("200.00", 100_000, 0)],
)
@pytest.mark.parametrize("cause", CAUSES)
async def test_what_was_reported_meanwhile_counts_when_it_is_resolved(
    make_world: MakeWorld, cause: str, said: str, principal: int, refund: int
) -> None:
    world = await make_world(deposits=["300.00"])
    held = await held_back(world, cause)
    for _ in range(2):  # and again, by somebody who heard no answer
        answer = await act(world, held, "dispense", dispensed_fiat=said)
        assert answer["status"] == "quarantined"
    assert await world.legs(held.payment_hash) == []
    answer = await act(world, held, "resolve", **FIGURES)
    assert Decimal(answer["dispensed_fiat"]) == Decimal(said)
    await world.until(held.payment_hash, "completed")
    legs = await world.legs(held.payment_hash)
    paid = {leg.leg_type: leg.amount_sats for leg in legs}
    assert paid.get("dca", 0) == principal
    assert paid.get("refund", 0) == refund
    assert await world.lps[0].balance_sats() == principal
    await world.assert_ledger()


# --- over the line --------------------------------------------------------------------


async def stamped_by_somebody(found: OnLine, **stamp: Any) -> str:
    """Paid, and not made by the machine; it reports later."""
    world = found.world
    fields = {**world.stamp(dispense="awaiting"), **stamp}
    invoice = await create_invoice(
        wallet_id=world.machine_wallet.id, amount=108_000, memo="", extra=fields
    )
    await world.fund(world.customer.wallet.id, 108_010)
    await pay_invoice(
        wallet_id=world.customer.wallet.id, payment_request=invoice.bolt11
    )
    await wait_for(lambda: crud.get_settlement_by_hash(invoice.payment_hash))
    return invoice.payment_hash


async def test_a_report_of_the_machine_releases_and_a_dispense_does_not(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"])
    world = found.world
    payment_hash = await stamped_by_somebody(found, txid="one")
    held = await world.settlement(payment_hash)
    assert held.quarantine_code == landing.NOT_MADE_HERE
    dispensed = {"payment_hash": payment_hash, "dispensed_fiat": "50.00"}
    told = await found.ask("dispense", dispensed)
    assert (told["status"], told["settlement_status"]) == ("OK", "quarantined")

    body = {
        "payment_hash": payment_hash,
        "tx_type": "cash_out",
        **found.figures("one"),
    }
    wrong = {**body, "fiat_amount": "100.00"}
    assert (await found.refused("settlement", wrong))["code"] == "conflict"
    assert (await world.settlement(payment_hash)).status == "quarantined"
    told = await found.ask("settlement", body)
    assert told["status"] == "OK", told
    await world.until(payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 25_000
    (refund,) = await world.legs(payment_hash, "refund")
    assert refund.amount_sats == 81_000
    await world.assert_ledger()


async def test_the_machines_own_report_is_not_undercut_by_its_operator(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"])
    world = found.world
    await update("dca_machines", world.machine.id, is_active=False)
    payment_hash = await stamped_by_somebody(found)
    held = await world.settlement(payment_hash)
    await update("dca_machines", world.machine.id, is_active=True)
    dispensed = {"payment_hash": payment_hash, "dispensed_fiat": "200.00"}
    assert (await found.ask("dispense", dispensed))["status"] == "OK"
    answer = await world.operator.api.post(
        f"/settlements/{held.id}/dispense", json={**WHY, "dispensed_fiat": "0"}
    )
    assert answer.status_code == 409
    assert "machine itself reported 200.00" in answer.json()["detail"]
    await act(world, held, "resolve", **FIGURES)
    await world.until(payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()
