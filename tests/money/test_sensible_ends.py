"""Odd figures, odd names, missing parties: each comes to a sensible end.

A real LNbits in this process; the engine is paused and called by the test. Where a row
makes no sense, it was written straight to the table: the companion extension writes
there too.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.core.services import payments as lnbits_payments
from lnbits.settings import settings
from unheard import received
from world import MakeWorld, World, age_core, balance_sats, core_rows, edit_core, update

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.books.summaries import version_of
from satmachineadmin.calculations import ConservationError
from satmachineadmin.models import Leg, utc_now
from satmachineadmin.money import planning

ODD_NAME = "<b>Señor 🏧 &amp; 'Söhne'\"; DROP TABLE dca_payments; --</b>"


async def the_leg(world: World, payment_hash: str, leg_type: str) -> Leg:
    (leg,) = await world.legs(payment_hash, leg_type)
    return leg


async def test_known_failure_22_prices_unreachable(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00", "900.00"])
    hashes = [await world.cash_out(principal=10_000, fee=800, fiat="20.00")]
    hashes += [await world.cash_out(principal=10_000, fee=800, fiat="20.00")]
    hashes += [await world.cash_out(principal=10_000, fee=800, fiat="20.00")]
    for payment_hash in hashes:
        await world.landed(payment_hash)
    asked: list[float] = []

    async def unreachable(amount: float, currency: str) -> float:
        asked.append(amount)
        await asyncio.sleep(0.02)
        raise OSError("no price anywhere")

    monkeypatch.setattr(lnbits_payments, "satoshis_amount_as_fiat", unreachable)
    await engine_paused.run_until_idle()
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    # LNbits asks once an invoice and once a payment: what we can do is pay less often
    assert len(await world.payouts()) == 3
    assert len(asked) >= 6
    await world.assert_ledger()


async def test_a_customers_memo_of_2000_characters(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    memo = "🏧<b>" + "m" * 1_995
    invoice = await create_invoice(
        wallet_id=world.machine_wallet.id,
        amount=108_000,
        memo=memo[:600],  # LNbits makes no invoice with more
        extra=world.stamp(),
    )
    await world.fund(world.customer.wallet.id, 108_000)
    await pay_invoice(
        wallet_id=world.customer.wallet.id,
        payment_request=invoice.bolt11,
        description=memo,
    )
    assert (await world.settle(invoice.payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_names_with_markup_quotes_and_emoji_stay_what_they_are(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"], name=ODD_NAME, location=ODD_NAME)
    partner = await world.make_user("partner")
    split = await world.add_split(
        partner.wallet.id, "1.0000", wallet_id=partner.wallet.id
    )
    await update("dca_commission_splits", split.id, label=ODD_NAME)
    await update("dca_clients", world.lps[0].client.id, username=ODD_NAME)
    payment_hash = await world.cash_out(txid=ODD_NAME)
    settlement = await world.settle(payment_hash)
    assert (settlement.status, settlement.bitspire_txid) == ("completed", ODD_NAME)
    assert (await the_leg(world, payment_hash, "operator_split")).label == ODD_NAME
    machine = await crud.get_machine(world.machine.id)
    assert machine
    assert machine.name == ODD_NAME


async def test_a_machine_wallet_deleted_after_planning(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"], payout_interval_minutes=60)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    wallet_id = world.machine_wallet.id
    sql = "UPDATE wallets SET deleted = :deleted WHERE id = :id"
    await edit_core(sql, deleted=True, id=wallet_id)
    await world.run_due()
    leg = await the_leg(world, payment_hash, "dca")
    assert (leg.status, leg.attempts) == ("pending", 0)
    assert "paying wallet was deleted" in str(leg.error_message)
    await edit_core(sql, deleted=False, id=wallet_id)
    await world.run_due()
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_a_machine_with_no_lps(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    assert (settlement.status, settlement.retained_sats) == ("completed", 105_000)
    assert await world.platform_sats() == 3_000
    await world.assert_ledger()


@pytest.mark.parametrize("tx_type", ["cash_out", "cash_in"])
async def test_0_percent_everywhere(
    make_world: MakeWorld, engine_paused: distribution.Worker, tx_type: str
) -> None:
    world = await make_world(
        deposits=["300.00"], super_fraction="0.0000", operator_fraction="0.0000"
    )
    if tx_type == "cash_in":
        await world.fund(world.machine_wallet.id, 100_000)
        payment_hash = await world.cash_in(fee=0)
        await tasks.sweep()
    else:
        payment_hash = await world.cash_out(fee=0)
    settlement = await world.settle(payment_hash)
    assert settlement.status == "completed"
    legs = [(x.leg_type, x.amount_sats) for x in await world.legs(payment_hash)]
    assert legs == ([("dca", 100_000)] if tx_type == "cash_out" else [])
    assert await balance_sats(world.machine_wallet.id) == 0
    await world.assert_ledger()


async def test_a_settlement_of_1_sat(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out(principal=1, fee=0, fiat="0.01")
    settlement = await world.settle(payment_hash)
    assert settlement.status == "completed"
    (leg,) = await world.legs(payment_hash)
    assert (leg.leg_type, leg.amount_sats, leg.amount_fiat) == (
        "dca",
        1,
        Decimal("0.01"),
    )
    assert await balance_sats(str(leg.destination_wallet_id)) == 1
    await world.assert_ledger()


async def test_21_million_bitcoin(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = 21_000_000 * 100_000_000
    world = await make_world(deposits=["20999999999999.99", "0.01"])
    payment_hash = await received(
        world,
        world.stamp(principal=everything, fee=0, fiat="21000000000000.00"),
        sats=everything,
    )
    await tasks.sweep()
    settlement = await world.settle(payment_hash)
    assert settlement.status == "processing"
    largest = max(await world.legs(payment_hash), key=lambda x: x.amount_sats)
    assert "LNbits' limits allow 10000000 sat" in str(largest.error_message)
    for direction in ("incoming", "outgoing"):
        limit = f"lnbits_max_{direction}_payment_amount_sats"
        monkeypatch.setattr(settings, limit, everything)
    await world.run_due()
    # no fee was charged: the platform's share is a debt that nobody's wallet holds
    legs = await world.legs(payment_hash)
    assert {x.status for x in legs if x.leg_type != "super_fee"} == {"completed"}
    received_sats = [await lp.balance_sats() for lp in world.lps]
    assert sum(received_sats) == everything
    assert [await world.remaining(lp) for lp in world.lps] == [0, 0]
    await world.assert_ledger()


async def test_a_fee_above_and_below_what_the_fractions_give(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    # the platform's share of what was charged nothing is the operator's debt
    await world.fund(world.machine_wallet.id, 2_000)
    above = await world.cash_out(fee=9_000)
    below = await world.cash_out(fee=4_000)
    none = await world.cash_out(fee=0)
    for payment_hash in (above, below, none):
        await world.landed(payment_hash)
    await engine_paused.run_until_idle()
    await world.make_due()
    await engine_paused.run_until_idle()
    figures = []
    for payment_hash in (above, below, none):
        s = await world.settlement(payment_hash)
        assert s.status == "completed"
        figures.append((s.platform_fee_sats, s.operator_fee_sats, s.fee_mismatch_sats))
    assert figures == [
        (3_000, 5_000, 1_000),
        (3_000, 1_000, -4_000),
        (3_000, 0, -8_000),
    ]
    # the surplus of 1 000 and the operator's own 2 000 paid it
    assert await balance_sats(world.machine_wallet.id) == 0
    assert await world.platform_sats() == 9_000
    assert await balance_sats(partner.wallet.id) == 6_000
    await world.assert_ledger()


async def test_the_shares_are_those_of_the_moment_it_landed(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await update("super_config", "default", super_cash_out_fee_fraction="0.0700")
    await update(
        "dca_machines", world.machine.id, operator_cash_out_fee_fraction="0.0100"
    )
    settlement = await world.settle(payment_hash)
    assert (settlement.platform_fee_sats, settlement.operator_fee_sats) == (
        3_000,
        5_000,
    )
    assert str(settlement.super_cash_out_fee_fraction) == "0.0300"
    assert str(settlement.operator_cash_out_fee_fraction) == "0.0500"
    assert await world.platform_sats() == 3_000
    await world.assert_ledger()


async def test_splits_share_the_dust(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    partners = [await world.make_user("partner") for _ in range(3)]
    fractions = ["0.3333", "0.3333", "0.3334"]
    for order, (partner, fraction) in enumerate(zip(partners, fractions, strict=True)):
        wallet_id = partner.wallet.id
        await world.add_split(
            wallet_id, fraction, wallet_id=wallet_id, sort_order=order
        )
    payment_hash = await world.cash_out(principal=100, fee=8, fiat="0.20")
    settlement = await world.settle(payment_hash)
    assert settlement.operator_fee_sats == 5
    assert [await balance_sats(p.wallet.id) for p in partners] == [2, 1, 2]
    assert settlement.status == "completed"
    await world.assert_ledger()


async def test_a_deposit_confirmed_after_the_sale_does_not_buy_it(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["40.00"])
    (lp,) = world.lps
    await world.add_deposit(lp, "500.00", confirmed_at=utc_now() - timedelta(minutes=2))
    sold_before = await received(world, world.stamp())
    await age_core(sold_before, minutes=4)
    await tasks.sweep()
    await world.settle(sold_before)
    leg = await the_leg(world, sold_before, "dca")
    assert (leg.amount_fiat, leg.amount_sats) == (40, 20_000)
    sold_after = await world.cash_out()
    await world.settle(sold_after)
    assert (await the_leg(world, sold_after, "dca")).amount_fiat == 200
    await world.assert_ledger()


NONSENSE: dict[str, dict[str, Any]] = {
    "no such mode": {"default_dca_mode": "yolo"},
    "a negative limit": {"default_dca_mode": "fixed", "fixed_mode_daily_limit": "-5"},
    "a limit of 0": {"default_dca_mode": "fixed", "fixed_mode_daily_limit": "0"},
    "no number": {"default_dca_mode": "fixed", "fixed_mode_daily_limit": "NaN"},
    "more than any money": {
        "default_dca_mode": "fixed",
        "fixed_mode_daily_limit": "999999999999999999.99",
    },
    "no wallet": {"dca_wallet_id": ""},
    "a forward to nowhere": {"autoforward_enabled": True, "autoforward_ln_address": ""},
}


async def test_a_profile_that_makes_no_sense_excludes_nobody_else(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["100.00"] * (len(NONSENSE) + 1))
    honest, *others = world.lps
    for lp, fields in zip(others, NONSENSE.values(), strict=True):
        await update("dca_lp", lp.user.user_id, key="user_id", **fields)
    payment_hash = await world.cash_out(fiat="300.00")
    settlement = await world.settle(payment_hash)
    legs = {x.client_id: x for x in await world.legs(payment_hash, "dca")}
    assert legs[honest.client.id].status == "completed"
    names = {
        name for name, lp in zip(NONSENSE, others, strict=True) if lp.client.id in legs
    }
    assert names == {"more than any money", "a forward to nowhere"}
    assert settlement.status == "completed"
    await world.assert_ledger()


async def test_a_profile_that_stops_making_sense_after_the_plan(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["100.00"] * 3, payout_interval_minutes=60)
    honest, no_number, nowhere = world.lps
    payment_hash = await world.cash_out(fiat="300.00")
    await world.settle(payment_hash)
    await update(
        "dca_lp", no_number.user.user_id, key="user_id", fixed_mode_daily_limit="NaN"
    )
    await update("dca_lp", nowhere.user.user_id, key="user_id", dca_wallet_id="")
    await world.run_due()
    legs = {x.client_id: x for x in await world.legs(payment_hash, "dca")}
    assert legs[honest.client.id].status == "completed"
    assert legs[no_number.client.id].status == "completed"
    assert legs[nowhere.client.id].status == "pending"
    assert "receiving wallet" in str(legs[nowhere.client.id].error_message)


async def test_who_is_paused_or_never_said_where_to_takes_no_part(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["100.00", "100.00"])
    await update("dca_clients", world.lps[0].client.id, status="paused")
    await world.add_lp("100.00", has_profile=False)
    payment_hash = await world.cash_out(fiat="300.00")
    settlement = await world.settle(payment_hash)
    leg = await the_leg(world, payment_hash, "dca")
    assert (leg.client_id, leg.amount_sats) == (world.lps[1].client.id, 33_333)
    assert settlement.retained_sats == 66_667 + 5_000


async def test_a_dispense_that_is_never_reported_asks_for_a_person(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    silent = await received(world, world.stamp(dispense="awaiting"))
    await tasks.sweep()
    assert (await world.settle(silent)).status == "awaiting_dispense"
    done = await world.cash_out()
    assert (await world.settle(done)).status == "completed"
    await tasks.run_maintenance()
    assert (await world.settlement(silent)).status == "awaiting_dispense"
    await update(
        "dca_settlements",
        (await world.settlement(silent)).id,
        transaction_time=crud.db_time(utc_now() - timedelta(minutes=16)),
    )
    before = await version_of(world.operator.user_id)
    await tasks.run_maintenance()
    assert await version_of(world.operator.user_id) != before
    late = await world.settle(silent)
    assert late.status == "attention"
    assert "not reported the dispense" in str(late.error_message)
    assert await world.legs(silent) == []
    await world.assert_ledger()


async def test_a_plan_that_breaks_conservation_is_not_written(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00"])
    broken, fine = await world.cash_out(fee=8_001), await world.cash_out()
    for payment_hash in (broken, fine):
        await world.landed(payment_hash)
    real = planning.check_conservation

    def check(tx_type: str, wire_sats: int, *rest: Any) -> None:
        if wire_sats == 108_001:
            raise ConservationError("The legs do not add up.")
        real(tx_type, wire_sats, *rest)

    monkeypatch.setattr(planning, "check_conservation", check)
    await engine_paused.run_until_idle()
    settlement = await world.settlement(broken)
    assert settlement.status == "attention"
    assert "do not add up" in str(settlement.error_message)
    assert await world.legs(broken) == []
    assert (await world.settlement(fine)).status == "completed"
    assert await core_rows(broken)
    await world.assert_ledger()
