"""A closed balance is paid once, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from api_world import ok, refused
from desk_world import WHY, close_body, post
from world import Killed, MakeWorld, balance_sats, update

from satmachineadmin import distribution
from satmachineadmin.desk import balances

from conftest import wait_for

# --------------------------------------------------------------------- close a balance


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
