"""A fee that LNbits booked on a receipt: the house bears it, never LPs or platform."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok, refused
from lnbits.core.crud import create_payment
from lnbits.core.models import CreatePayment, PaymentState
from world import World, balance_sats

from satmachineadmin import distribution
from satmachineadmin.models import Leg, utc_now
from satmachineadmin.money import landing
from satmachineadmin.money.planning import from_free_balance

MakeWorld = Callable[..., Coroutine[Any, Any, World]]
WHY = {"reason": "seen"}


async def receipt(world: World, network_fee_sats: int) -> str:
    """A sale of 200.00, principal 100 000 and fee 8 000, of which a fee was taken."""
    payment_hash = uuid4().hex * 2
    await create_payment(
        checking_id=f"internal_{payment_hash}",
        data=CreatePayment(
            wallet_id=world.machine_wallet.id,
            bolt11="",
            payment_hash=payment_hash,
            amount_msat=108_000_000,
            memo="through phoenixd",
            fee=network_fee_sats * 1000,
            extra=world.stamp(),
        ),
        status=PaymentState.SUCCESS,
    )
    landed = await landing.land_payment(await world.core_payment(payment_hash))
    assert landed
    return payment_hash


async def marks(world: World) -> list[dict[str, Any]]:
    items = ok(await world.operator.api.get("/overview"))["needs_attention"]
    return [x for x in items if x["kind"] == "less_arrived"]


@pytest.mark.parametrize(
    ("network", "platform_held", "split", "missing"),
    [
        (900, 3_000, 4_100, 0),
        (5_000, 3_000, 0, 0),
        (7_999, 1, 0, 0),
        (8_000, 0, 0, 0),
        (8_001, 0, 0, 1),
        (8_900, 0, 0, 900),
        (58_000, 0, 0, 50_000),
        (108_000, 0, 0, 100_000),
    ],
)
async def test_known_failure_58_the_house_bears_a_receipts_network_fee(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    network: int,
    platform_held: int,
    split: int,
    missing: int,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    payment_hash = await receipt(world, network)
    settlement = await world.settle(payment_hash)
    legs = await world.legs(payment_hash)
    own = [x for x in legs if not x.from_free_balance]
    free = [x for x in legs if x.from_free_balance]
    of_lps = [x for x in legs if x.leg_type == "dca"]
    # LPs are owed and debited the whole principal, whatever arrived
    assert sum(x.amount_sats for x in of_lps) == 100_000
    assert sum(x.amount_fiat or 0 for x in of_lps) == Decimal("200.00")
    assert sum(x.amount_sats for x in free if x.leg_type == "dca") == missing
    fees = [x for x in own if x.leg_type == "super_fee"]
    assert sum(x.amount_sats for x in fees) == platform_held
    assert sum(x.amount_sats for x in own if x.leg_type == "operator_split") == split
    assert sum(x.amount_sats for x in own) <= 108_000 - network
    # the last LP's leg first
    if 0 < missing <= 25_000:
        assert {x.client_id for x in free if x.leg_type == "dca"} == {
            max(str(x.client_id) for x in of_lps)
        }
    short = sum(x.amount_sats for x in free)
    assert short == missing + 3_000 - platform_held
    if short:
        assert settlement.status == "processing"
        waiting = {x.id for x in legs if x.status == "pending"}
        assert waiting == {x.id for x in free}
        assert {x.wait_code for x in free} == {"free_balance"}
    # it blocks nothing: another sale is paid meanwhile
    other = await world.cash_out()
    await world.settle(other)
    theirs = [x for x in await world.legs(other) if x.leg_type != "operator_split"]
    assert {x.status for x in theirs} == {"completed"}
    found = await marks(world)
    assert len(found) == (1 if missing else 0)
    # the operator puts it in
    await world.fund(world.machine_wallet.id, short)
    await world.run_due()
    # while the platform's share was not paid, the operator's splits waited
    await world.run_due()
    assert (await world.settlement(payment_hash)).status == "completed"
    got = [await lp.balance_sats() for lp in world.lps]
    assert sum(got) == 200_000
    assert await world.platform_sats() == 6_000
    assert await balance_sats(partner.wallet.id) == split + 5_000
    await world.assert_ledger()


async def test_the_mark_names_both_figures_until_it_is_seen(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await receipt(world, 8_900)
    await world.settle(payment_hash)
    (item,) = await marks(world)
    assert "99100 sat" in item["message"] and "100000" in item["message"]
    path = f"/settlements/{item['settlement_id']}/seen"
    stranger = await world.make_user("stranger")
    refused(await stranger.api.post(path, json=WHY), 404)
    ok(await world.operator.api.post(path, json=WHY))
    assert await marks(world) == []
    refused(await world.operator.api.post(path), 409, "already")
    log = ok(await world.operator.api.get("/audit?action=settlement.seen"))
    assert log["total"] == 1


async def test_a_short_dispense_of_such_a_sale_conserves(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00", "100.00"], payout_interval_minutes=60)
    payment_hash = await receipt(world, 58_000)
    settlement = await world.settle(payment_hash)
    body = {"dispensed_fiat": "100.00", **WHY}
    path = f"/settlements/{settlement.id}/dispense"
    ok(await world.operator.api.post(path, json=body))
    # of a planned sale less counts once the super has decided it, or all have agreed
    decide = f"/super/settlements/{settlement.id}/decide"
    granted = {"outcome": "accepted", **WHY}
    detail = ok(await world.super_session.api.post(decide, json=granted))
    of_lps = [
        x for x in detail["legs"] if x["leg_type"] == "dca" and x["status"] != "voided"
    ]
    assert sum(x["amount_sats"] for x in of_lps) == 50_000
    assert sum(Decimal(x["amount_fiat"]) for x in of_lps) == 100
    own = [
        x
        for x in await world.legs(payment_hash)
        if not x.from_free_balance and x.status != "voided"
    ]
    assert sum(x.amount_sats for x in own) <= 50_000
    await world.assert_ledger()


def a_leg(name: str, sats: int, fiat: str) -> Leg:
    return Leg(
        id=name,
        machine_id="m",
        operator_user_id="o",
        leg_type="dca",
        leg_key=name,
        client_id=name,
        amount_sats=sats,
        amount_fiat=fiat,
        transaction_time=utc_now(),
    )


def test_the_last_parts_spend_free_balance() -> None:
    legs = [a_leg("a", 60, "0.60"), a_leg("b", 40, "0.40"), a_leg("c", 10, "0.10")]
    assert from_free_balance(legs, 110) == legs
    parts = from_free_balance(legs, 70)
    assert [(x.leg_key, x.amount_sats, x.from_free_balance) for x in parts] == [
        ("a", 60, False),
        ("b", 10, False),
        ("b:free", 30, True),
        ("c:free", 10, True),
    ]
    assert [str(x.amount_fiat) for x in parts] == ["0.60", "0.10", "0.30", "0.10"]
    assert len({x.id for x in parts}) == 4
    assert [x.amount_sats for x in from_free_balance(legs, 0)] == [60, 40, 10]
    assert all(x.from_free_balance for x in from_free_balance(legs, -5))
