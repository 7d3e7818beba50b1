"""Closing an LP's balance: at which rate, from which wallet, and with whose yes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok, refused
from lnbits.core.crud.users import delete_account
from lnbits.core.crud.wallets import delete_wallet
from world import Lp, World, balance_sats, edit_core, update

from satmachineadmin import distribution
from satmachineadmin.base.database import db, db_time, fetch_all
from satmachineadmin.desk import notices
from satmachineadmin.models import utc_now

MakeWorld = Callable[..., Coroutine[Any, Any, World]]
WHY = {"reason": "closing"}
# what the tests' LNbits says of GTQ, and the usual rate of a world's sales
MARKET, USUAL = 133.3333, 500


async def close(world: World, lp: Lp, rate: float, **more: Any) -> Any:
    body = {
        "wallet_id": world.operator.wallet.id,
        "exchange_rate": rate,
        "idempotency_key": uuid4().hex,
        **WHY,
        **more,
    }
    path = f"/clients/{lp.client.id}/close-balance"
    return await world.operator.api.post(path, json=body)


async def offers_of(lp: Lp) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ok(await lp.user.api.get("/lp/offers"))["data"]
    return found


async def closings(world: World) -> list[Any]:
    async with db.connect() as conn:
        return await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_payments WHERE machine_id = :m "
            "AND leg_type = 'settlement'",
            {"m": world.machine.id},
        )


@pytest.fixture
async def world(make_world: MakeWorld, engine_paused: distribution.Worker) -> World:
    made = await make_world(deposits=["300.00"])
    await made.fund(made.operator.wallet.id, 200_000)
    return made


# ----------------------------------------------------------------------- at which rate


@pytest.mark.parametrize("rate", [MARKET, MARKET * 0.91, MARKET * 2.9])
async def test_a_rate_near_the_markets_pays_at_once(world: World, rate: float) -> None:
    rate = round(rate, 4)
    leg = ok(await close(world, world.lps[0], rate))
    assert leg["amount_sats"] == round(300 * rate)
    assert leg["leg_type"] == "settlement"


async def test_a_low_rate_is_an_offer_that_debits_nothing(world: World) -> None:
    lp = world.lps[0]
    key = uuid4().hex
    answer = ok(await close(world, lp, 100, idempotency_key=key))
    assert set(answer) == {"offer_id", "status", "expires_at"}
    assert answer["status"] == "waiting for the LP"
    assert await closings(world) == []
    assert await world.remaining(lp) == 300
    # the same request again is the same offer; another body is none
    assert ok(await close(world, lp, 100, idempotency_key=key)) == answer
    refused(await close(world, lp, 101, idempotency_key=key), 409, "idempotency_key")
    (offer,) = await offers_of(lp)
    assert offer["id"] == answer["offer_id"]
    assert (offer["status"], offer["remaining"], offer["amount_sats"]) == (
        "waiting",
        "300.00",
        30_000,
    )
    await world.add_deposit(lp, "100.00")
    (offer,) = await offers_of(lp)
    assert offer["amount_sats"] == 40_000
    path = f"/lp/offers/{offer['id']}"
    refused(await world.operator.api.post(f"{path}/accept"), 404)
    taken = ok(await lp.user.api.post(f"{path}/accept"))
    assert taken["status"] == "accepted"
    # worked out at the yes
    (leg,) = await closings(world)
    assert (leg["id"], leg["amount_sats"]) == (taken["payment_id"], 40_000)
    refused(await lp.user.api.post(f"{path}/accept"), 409, "over")
    refused(await lp.user.api.post(f"{path}/decline"), 409, "over")
    await distribution.worker.run_until_idle()
    assert await lp.balance_sats() == 40_000
    assert await world.remaining(lp) == 0
    # the request that made the offer answers what became of it
    paid = ok(await close(world, lp, 100, idempotency_key=key))
    assert (paid["id"], paid["status"]) == (taken["payment_id"], "completed")
    await world.assert_ledger()


async def test_a_declined_offer_changes_nothing(world: World) -> None:
    lp = world.lps[0]
    ok(await close(world, lp, 1))
    (offer,) = await offers_of(lp)
    declined = ok(await lp.user.api.post(f"/lp/offers/{offer['id']}/decline", json=WHY))
    assert (declined["status"], declined["amount_sats"]) == ("declined", None)
    refused(await lp.user.api.post(f"/lp/offers/{offer['id']}/accept"), 409)
    assert await closings(world) == []
    assert await world.remaining(lp) == 300


async def test_an_offer_lapses_and_a_newer_one_takes_its_place(world: World) -> None:
    lp = world.lps[0]
    first = ok(await close(world, lp, 50))["offer_id"]
    second = ok(await close(world, lp, 60))["offer_id"]
    states = {offer["id"]: offer["status"] for offer in await offers_of(lp)}
    assert states == {first: "replaced", second: "waiting"}
    refused(await lp.user.api.post(f"/lp/offers/{first}/accept"), 409, "over")
    then = db_time(utc_now() - timedelta(seconds=1))
    await update("dca_offers", second, expires_at=then)
    states = {offer["id"]: offer["status"] for offer in await offers_of(lp)}
    assert states[second] == "lapsed"
    refused(await lp.user.api.post(f"/lp/offers/{second}/accept"), 409, "14 days")
    refused(await lp.user.api.post(f"/lp/offers/{second}/decline"), 409, "14 days")
    assert await closings(world) == []


async def test_a_rate_far_above_asks_to_be_confirmed(world: World) -> None:
    lp = world.lps[0]
    detail = refused(await close(world, lp, 50_000), 400, "confirm_rate")
    assert "133.3333" in detail
    assert await closings(world) == []
    # meant, and the wallet cannot pay 15 000 000 sat
    refused(await close(world, lp, 50_000, confirm_rate=True), 409, "free")
    leg = ok(await close(world, lp, 420, confirm_rate=True))
    assert leg["amount_sats"] == 126_000


async def test_the_machines_own_sales_count_beside_the_market(world: World) -> None:
    """Sales at 500 where the market says 133: below the one is below enough."""
    await world.settle(await world.cash_out(fiat="20.00", principal=10_000, fee=800))
    lp = world.lps[0]
    assert "offer_id" in ok(await close(world, lp, MARKET))
    leg = ok(await close(world, lp, USUAL, confirm_rate=True))
    assert leg["amount_sats"] == 140_000
    # the newer request ended the offer
    assert [offer["status"] for offer in await offers_of(lp)] == ["replaced"]


# ------------------------------------------------------------------- from which wallet


async def test_a_wallet_that_cannot_pay_closes_nothing(world: World) -> None:
    lp = world.lps[0]
    empty = await world.make_wallet(world.operator, "empty")
    detail = refused(
        await close(world, lp, MARKET, wallet_id=empty.id), 409, "0 of the 40000 sat"
    )
    assert "free in this wallet" in detail
    assert await closings(world) == []
    assert await world.remaining(lp) == 300


async def test_what_a_machines_wallet_owes_to_others_is_not_spent(
    world: World,
) -> None:
    lp = world.lps[0]
    await world.landed(await world.cash_out(dispense="awaiting"))
    free = await balance_sats(world.machine_wallet.id) - 108_000 - 100_000
    await world.fund(world.machine_wallet.id, -free)
    body = {"wallet_id": world.machine_wallet.id, "confirm_rate": True}
    refused(await close(world, lp, USUAL, **body), 409, "100000 of the 150000")
    assert await closings(world) == []


async def test_an_offer_is_not_taken_from_a_wallet_that_was_emptied(
    world: World,
) -> None:
    """And the LP is not told what the operator holds."""
    lp = world.lps[0]
    ok(await close(world, lp, 100))
    (offer,) = await offers_of(lp)
    await world.fund(world.operator.wallet.id, -200_000)
    path = f"/lp/offers/{offer['id']}/accept"
    detail = refused(await lp.user.api.post(path), 409, "cannot pay")
    assert not any(character.isdigit() for character in detail)
    assert [x["status"] for x in await offers_of(lp)] == ["waiting"]
    await world.fund(world.operator.wallet.id, 30_000)
    ok(await lp.user.api.post(path))


# -------------------------------------------------------------------------- to which LP


@pytest.mark.parametrize("gone", ["wallet", "account", "both", "foreign"])
@pytest.mark.parametrize("rate", [MARKET, 100])
async def test_nothing_is_closed_for_an_lp_who_cannot_be_reached(
    world: World, gone: str, rate: float
) -> None:
    lp = world.lps[0]
    offer = ok(await close(world, lp, 100))["offer_id"]
    if gone in ("wallet", "both"):
        await delete_wallet(user_id=lp.user.user_id, wallet_id=lp.wallet.id)
    if gone in ("account", "both"):
        await delete_account(lp.user.user_id)
    if gone == "foreign":
        await edit_core(
            'UPDATE wallets SET "user" = :other WHERE id = :id',
            other=world.operator.user_id,
            id=lp.wallet.id,
        )
    word = "deleted" if gone in ("account", "both") else "no longer exists"
    refused(await close(world, lp, rate), 409, word)
    assert await closings(world) == []
    if gone in ("wallet", "foreign"):
        answer = await lp.user.api.post(f"/lp/offers/{offer}/accept")
        refused(answer, 409, "no longer exists")


async def test_who_is_told(world: World) -> None:
    lp = world.lps[0]
    ok(await close(world, lp, 100))
    await notices.run_notices()
    (offer,) = await offers_of(lp)
    ok(await lp.user.api.post(f"/lp/offers/{offer['id']}/accept"))
    await notices.run_notices()
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT kind, user_id, message FROM satoshimachine.dca_notices "
            "WHERE machine_id = :m AND kind LIKE 'client_offer%' ORDER BY opened_at",
            {"m": world.machine.id},
        )
    assert [(row["kind"], row["user_id"]) for row in found] == [
        ("client_offer", lp.user.user_id),
        ("client_offer_accepted", world.operator.user_id),
    ]
    assert "300.00 GTQ" in found[0]["message"]
    log = ok(await lp.user.api.get("/audit"))["data"]
    assert {"client.offer", "client.offer_accepted"} <= {x["action"] for x in log}
