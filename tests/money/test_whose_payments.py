"""Whose payment is it? What lands and is distributed, and what a person sees first.

A wallet with a past, invoices that somebody else made for a machine that trades over
its line, and payments whose two sides are both ours. A real LNbits; its rows are
edited only where the passing of time would have left them so.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from api_world import ok, refused
from cash_rows import given_out
from lnbits.core.services import pay_invoice
from unheard import received, second_machine
from world import MakeWorld, World, edit_core, update

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import db_time
from satmachineadmin.models import Settlement, utc_now
from satmachineadmin.money import landing
from satmachineadmin.money.funds import free_sats

A_LONG_TIME = timedelta(days=180)


async def held(world: World, payment_hash: str) -> tuple[str, str | None]:
    settlement = await world.settle(payment_hash)
    assert await world.legs(payment_hash) == []
    return settlement.status, settlement.quarantine_code


async def pair(world: World, **more: Any) -> None:
    await update("dca_machines", world.machine.id, is_paired=True, **more)


# --- a wallet with a past -------------------------------------------------------------


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("broken", [False, True])
async def test_what_a_wallet_received_before_it_was_a_machines_is_held_back(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    labelled: bool,
    broken: bool,
) -> None:
    world = await make_world(deposits=["900.00"])
    stamp = world.stamp(fiat="0" if broken else "200.00")
    hashes = [await received(world, stamp) for _ in range(3)]
    long_ago = db_time(utc_now() - A_LONG_TIME)
    for payment_hash in hashes:
        await edit_core(
            "UPDATE apipayments SET created_at = :c, updated_at = :u "
            "WHERE payment_hash = :h",
            c=long_ago,
            # a label renews it
            u=db_time(utc_now()) if labelled else long_ago,
            h=payment_hash,
        )
    await tasks.sweep(is_full=True)
    for payment_hash in hashes:
        assert await held(world, payment_hash) == ("quarantined", landing.PAST)
        settlement = await world.settlement(payment_hash)
        assert "older than the registration" in str(settlement.error_message)
    today = await world.cash_out()
    assert (await world.settle(today)).status == "completed"


async def test_a_past_is_given_up_together_and_reserves_nothing(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    wallet_id = world.machine_wallet.id
    had = await free_sats(wallet_id)
    hashes = [await received(world, world.stamp()) for _ in range(3)]
    for payment_hash in hashes:
        await edit_core(
            "UPDATE apipayments SET created_at = :c, updated_at = :c "
            "WHERE payment_hash = :h",
            c=db_time(utc_now() - A_LONG_TIME),
            h=payment_hash,
        )
    await tasks.sweep(is_full=True)
    for payment_hash in hashes:
        assert await held(world, payment_hash) == ("quarantined", landing.PAST)
    # what came before the machine is owed to nobody: the operator may withdraw it
    assert await free_sats(wallet_id) == had + 3 * 108_000
    path = f"/machines/{world.machine.id}/void-past"
    why = {"reason": "it was another machine's"}
    items = ok(await world.operator.api.get("/overview"))["needs_attention"]
    (item,) = [x for x in items if x["kind"] in ("past", "quarantined")]
    assert (item["kind"], item["subject_id"]) == ("past", world.machine.id)
    assert "3, 324000 sat in all" in item["message"]
    other = await world.make_user("other")
    refused(await other.api.post(path, json=why), 404)
    refused(await world.operator.api.post(path, json={}), 400, "reason")
    # one that was not paid out then is resolved by itself; another reason stays held
    first, *rest = [await world.settlement(x) for x in hashes]
    figures = {
        "tx_type": "cash_out",
        "principal_sats": 100_000,
        "fee_sats": 8_000,
        "fiat_amount": "200.00",
        "fiat_code": "GTQ",
        **why,
    }
    resolve = f"/settlements/{first.id}/resolve"
    ok(await world.operator.api.post(resolve, json=figures))
    bad = await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    ok(await world.operator.api.post(path, json=why))
    for settlement in rest:
        voided = await world.settlement(settlement.payment_hash)
        assert (voided.status, voided.error_message) == ("voided", why["reason"])
    assert (await world.settle(first.payment_hash)).status == "completed"
    assert (await world.settlement(bad.payment_hash)).status == "quarantined"
    refused(await world.operator.api.post(path, json=why), 409, "no payments")
    log = ok(await world.operator.api.get("/audit?action=machine.void_past"))
    assert log["total"] == 1
    # the sweep finds them again, and leaves them as they are
    await tasks.sweep(is_full=True)
    for settlement in rest:
        assert await world.legs(settlement.payment_hash) == []
    await world.assert_ledger()


async def test_a_wallet_that_changes_machines_keeps_its_first_beginning(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    payment_hash = await received(world, world.stamp())
    await update(
        "dca_machine_wallets",
        world.machine_wallet.id,
        key="wallet_id",
        # registered in this very second, of which LNbits keeps the whole ones only
        since_at=db_time((await world.core_payment(payment_hash)).created_at),
    )
    await tasks.sweep(is_full=True)
    assert (await world.settle(payment_hash)).status == "completed"


# --- whose invoices -------------------------------------------------------------------


async def test_an_invoice_that_a_paired_machine_did_not_make_is_held_back(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    await pair(world)
    payment_hash = await world.cash_out()
    assert await held(world, payment_hash) == ("quarantined", landing.NOT_MADE_HERE)
    settlement = await world.settlement(payment_hash)
    assert "not made by the machine" in str(settlement.error_message)

    stamp = (await world.core_payment(payment_hash)).extra
    wrong = {**stamp, "fiat_amount": "100.00"}
    after = await landing.release(settlement, wrong, "event")
    assert after.status == "quarantined"
    after = await landing.release(settlement, stamp, "event")
    assert (after.status, after.quarantine_code) == ("pending", None)
    assert await given_out(after) == [("bays", "customer", 20_000)]
    assert (await world.settle(payment_hash)).status == "completed"
    assert await world.lps[0].balance_sats() == 100_000
    # once more, by a machine that heard no answer
    assert (await landing.release(after, stamp, "event")).status == "completed"
    await world.assert_ledger()


@pytest.mark.parametrize(
    ("was", "status"),
    [
        ({"is_paired": True, "allow_stamped_invoices": True}, "completed"),
        ({"is_paired": False}, "completed"),
        ({"is_paired": False, "paired_at": db_time(utc_now())}, "quarantined"),
    ],
)
async def test_whether_others_may_make_its_invoices(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    was: dict[str, Any],
    status: str,
) -> None:
    world = await make_world(deposits=["900.00"])
    await update("dca_machines", world.machine.id, **was)
    payment_hash = await world.cash_out()
    assert (await world.settle(payment_hash)).status == status


async def test_what_a_paired_machine_pays_out_is_its_own(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    await pair(world)
    await world.fund(world.machine_wallet.id, 100_000)
    payment_hash = await world.cash_in()
    await tasks.sweep()
    assert (await world.settle(payment_hash)).status in ("processing", "completed")


async def test_a_report_that_agrees_lands_it_at_once_and_another_does_not(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    await pair(world)
    for fiat, status in (("200.00", "pending"), ("199.00", "quarantined")):
        payment_hash = await received(world, world.stamp())
        payment = await world.core_payment(payment_hash)
        report = {**payment.extra, "fiat_amount": fiat}
        landed = await landing.land_payment(payment, report=report)
        assert landed
        assert landed.settlement.status == status


# --- two sides that are both ours -----------------------------------------------------


async def pay_itself(world: World, **stamps: Any) -> str:
    invoice = await world.cash_out_invoice(world.stamp())
    await world.fund(world.machine_wallet.id, 110_000)
    await pay_invoice(
        wallet_id=world.machine_wallet.id,
        payment_request=invoice.bolt11,
        extra=world.stamp(tx_type="cash_in", principal=116_000),
    )
    return invoice.payment_hash


async def sides_of(payment_hash: str, world: World) -> list[Settlement]:
    names = ("", f":{world.machine.id}", ":cash_in", ":cash_out")
    found = [await crud.get_settlement_by_hash(payment_hash + x) for x in names]
    return [x for x in found if x]


async def test_a_wallet_that_pays_itself_has_two_sides(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    payment_hash = await pay_itself(world)
    await world.landed(payment_hash)
    for _ in range(3):
        await tasks.sweep(is_full=True)
    first, second = await sides_of(payment_hash, world)
    assert first.is_outgoing is not second.is_outgoing
    assert second.status == "quarantined"
    assert second.quarantine_code == landing.SECOND_SIDE
    direction = "cash_in" if second.is_outgoing else "cash_out"
    assert second.payment_hash == f"{payment_hash}:{direction}"
    assert second.wire_sats == 108_000
    assert await world.settlement_count() == 2


async def test_a_customer_of_one_machine_paid_through_another_still_has_two_sides(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    other = await second_machine(world, make_world)
    invoice = await world.cash_out_invoice(world.stamp())
    await world.fund(other.machine_wallet.id, 110_000)
    await pay_invoice(
        wallet_id=other.machine_wallet.id,
        payment_request=invoice.bolt11,
        extra=other.stamp(tx_type="cash_in", principal=116_000),
    )
    await world.landed(invoice.payment_hash)
    for _ in range(2):
        await tasks.sweep(is_full=True)
    (first,) = await sides_of(invoice.payment_hash, world)
    same, second = await sides_of(invoice.payment_hash, other)
    assert same.id == first.id
    assert (second.status, second.quarantine_code) == (
        "quarantined",
        landing.SECOND_SIDE,
    )
