"""How others lost money with who an LP is, and with two hands at once; tests.

Numbers as in docs/known-failures.md. A real LNbits in this process; the engine
is paused and called by the test.
"""

from __future__ import annotations

import asyncio

import pytest
from lnbits.settings import RedirectPath, settings
from unheard import second_machine
from world import Killed, MakeWorld, balance_sats, edit_core, killed_at, update

from satmachineadmin import distribution
from satmachineadmin.host import paying
from satmachineadmin.host.wallets import local_wallet_of_address
from satmachineadmin.money import planning


async def test_known_failure_34_a_leg_of_a_merged_payment_on_its_way_stays_in_it(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["900.00"])
    hashes = [await world.cash_out(), await world.cash_out()]
    for payment_hash in hashes:
        await world.landed(payment_hash)
    with monkeypatch.context() as patch:
        patch.setattr(paying, "pay_invoice", killed_at)
        with pytest.raises(Killed):
            await engine_paused.run_until_idle()
    first, second = [(await world.legs(h, "dca"))[0] for h in hashes]
    assert first.payout_id == second.payout_id
    answer = await world.operator.api.post(
        f"/payments/{first.id}/void", json={"reason": "changed my mind"}
    )
    assert answer.status_code == 409, answer.text
    assert "being paid" in answer.json()["detail"]
    await engine_paused.run_until_idle()
    assert await world.lps[0].balance_sats() == 200_000
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def test_known_failure_43_two_machines_dispense_to_one_lp_at_one_instant(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    a = await make_world()
    lp = await a.add_lp("900.00", mode="fixed", daily_limit="250.00")
    b = await second_machine(a, make_world)
    twin = await b.add_lp("900.00", user=lp.user, has_profile=False)
    at_a, at_b = await a.cash_out(), await b.cash_out()
    settlements = [(await a.landed(at_a)).id, (await b.landed(at_b)).id]
    planned = await asyncio.gather(
        *(planning.plan_settlement(x, distribution.INSTANCE_ID) for x in settlements)
    )
    assert planned == [True, True]
    legs = [*await a.legs(at_a, "dca"), *await b.legs(at_b, "dca")]
    assert sorted(x.amount_fiat or 0 for x in legs) == [50, 200]
    assert await a.remaining(lp) + await b.remaining(twin) == 1_800 - 250
    await engine_paused.run_until_idle()
    await a.assert_ledger()
    await b.assert_ledger()


async def test_known_failure_43_a_deposit_reversed_while_a_settlement_is_planned(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["200.00"])
    (lp,) = world.lps
    answer = await world.operator.api.get(f"/deposits?client_id={lp.client.id}")
    (deposit,) = answer.json()["data"]
    payment_hash = await world.cash_out()
    landed = await world.landed(payment_hash)
    planned, reversed_ = await asyncio.gather(
        planning.plan_settlement(landed.id, distribution.INSTANCE_ID),
        world.operator.api.put(
            f"/deposits/{deposit['id']}/status",
            json={"status": "reversed", "reason": "the notes were false"},
        ),
    )
    assert planned
    bought = await world.legs(payment_hash, "dca")
    if reversed_.status_code == 200:
        assert bought == []
    else:
        assert reversed_.status_code == 409, reversed_.text
        assert [x.amount_fiat for x in bought] == [200]
    assert await world.remaining(lp) == 0
    await engine_paused.run_until_idle()
    await world.assert_ledger()


async def test_known_failure_47_a_receiving_wallet_that_is_not_the_lps_any_more(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["100.00", "100.00", "100.00"])
    shared, thief, honest = world.lps
    await edit_core(
        "UPDATE wallets SET wallet_type = 'lightning-shared' WHERE id = :id",
        id=shared.wallet.id,
    )
    # the companion extension writes dca_lp too, and may be wrong
    await update(
        "dca_lp",
        thief.user.user_id,
        key="user_id",
        dca_wallet_id=world.customer.wallet.id,
    )
    before = await balance_sats(world.customer.wallet.id)
    payment_hash = await world.cash_out(fiat="300.00")
    await world.settle(payment_hash)
    legs = {x.client_id: x for x in await world.legs(payment_hash, "dca")}
    assert "shared wallet" in str(legs[shared.client.id].error_message)
    assert "does not belong" in str(legs[thief.client.id].error_message)
    assert legs[honest.client.id].status == "completed"
    assert await balance_sats(world.customer.wallet.id) == before + 10


async def test_known_failure_47_another_extensions_alice_at_our_own_domain(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    alice = await world.make_user("alice")
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://sats.example/")
    address = f"{alice.wallet.lightning_address}@sats.example"
    assert await local_wallet_of_address(address) == alice.wallet.id
    taken = RedirectPath(
        ext_id="lnurlp",
        from_path="/.well-known/lnurlp",
        redirect_to_path="/api/v1/well-known",
        header_filters={},
    )
    monkeypatch.setattr(settings, "lnbits_extensions_redirects", [taken])
    assert await local_wallet_of_address(address) is None
