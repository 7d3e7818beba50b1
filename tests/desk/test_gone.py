"""Whoever is gone, wallet or account: who is told, and what becomes of what is owed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from api_world import ok
from lnbits.core.crud.users import delete_account
from lnbits.core.crud.wallets import delete_wallet
from world import World, edit_core, update

from satmachineadmin import distribution
from satmachineadmin.base.database import db, db_time, fetch_all
from satmachineadmin.desk import notices
from satmachineadmin.models import utc_now
from satmachineadmin.money import rounds

MakeWorld = Callable[..., Coroutine[Any, Any, World]]
WHY = {"reason": "it is gone"}


async def attention(world: World, *, is_super: bool = False) -> dict[str, Any]:
    """What waits at this world's machine, by kind."""
    session = world.super_session if is_super else world.operator
    path = "/super/overview" if is_super else "/overview"
    items = ok(await session.api.get(path))["needs_attention"]
    mine = [x for x in items if x["machine_id"] in (world.machine.id, None)]
    return {x["kind"]: x for x in mine}


async def told(world: World) -> dict[str, set[str]]:
    """Who is told of which kind about this world's machine."""
    await notices.run_notices()
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT kind, user_id FROM satoshimachine.dca_notices "
            "WHERE machine_id = :m AND closed_at IS NULL",
            {"m": world.machine.id},
        )
    kinds: dict[str, set[str]] = {}
    for row in found:
        kinds.setdefault(row["kind"], set()).add(row["user_id"])
    return kinds


@pytest.fixture
async def world(make_world: MakeWorld, engine_paused: distribution.Worker) -> World:
    return await make_world(deposits=["300.00", "300.00"])


async def test_an_lp_whose_account_was_deleted_is_allotted_nothing(
    world: World,
) -> None:
    gone, there = world.lps
    gone.client.username = "ana"
    await update("dca_clients", gone.client.id, username="ana")
    await delete_account(gone.user.user_id)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (leg,) = await world.legs(payment_hash, "dca")
    assert (leg.client_id, leg.amount_sats) == (there.client.id, 100_000)
    assert await world.remaining(gone) == 300
    asked = {"machine_id": world.machine.id, "tx_type": "cash_out"}
    preview = ok(
        await world.operator.api.post(
            "/splits/preview", json={**asked, "principal_sats": 1_000}
        )
    )
    lps = {x["client_id"] for x in preview["legs"] if x["leg_type"] == "dca"}
    assert lps == {there.client.id}
    item = (await attention(world))["lp_gone"]
    assert (item["subject_id"], item["client_id"]) == (gone.client.id, gone.client.id)
    assert "ana" in item["message"] and "300.00 GTQ" in item["message"]
    assert (await told(world))["lp_gone"] == {world.operator.user_id}
    await world.assert_ledger()


async def test_what_is_owed_to_a_deleted_account_is_paid_to_nobody(
    world: World, engine_paused: distribution.Worker
) -> None:
    """LNbits' row of the wallet may outlive its account: nobody can take sats out."""
    gone, _ = world.lps
    await update("dca_machines", world.machine.id, payouts_stopped_reason="a look")
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    await delete_account(gone.user.user_id)
    await update("dca_machines", world.machine.id, payouts_stopped_reason=None)
    await world.run_due()
    legs = {x.client_id: x for x in await world.legs(payment_hash, "dca")}
    leg = legs[gone.client.id]
    assert (leg.status, leg.attempts) == ("pending", 1)
    assert "account" in str(leg.error_message)
    assert await gone.balance_sats() == 0
    item = (await attention(world))["lp_gone"]
    assert f"{leg.amount_sats} sat wait" in item["message"]
    assert "wallet_short" not in await attention(world)


async def test_an_lps_deleted_wallet_is_told_to_operator_and_lp(world: World) -> None:
    gone, _ = world.lps
    await delete_wallet(user_id=gone.user.user_id, wallet_id=gone.wallet.id)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    first = await world.settlement(payment_hash)
    assert first.status == "processing"
    # a second sale's leg waits behind the first one's failure: it is no short wallet
    await world.settle(await world.cash_out())
    found = await attention(world)
    assert "wallet_short" not in found and "payments_waiting" not in found
    item = found["lp_wallet_gone"]
    assert item["client_id"] == gone.client.id
    assert "100000 sat wait" in item["message"]
    people = {world.operator.user_id, gone.user.user_id}
    assert (await told(world))["lp_wallet_gone"] == people
    # they choose another one, and it is over
    other = await world.make_wallet(gone.user, "new")
    ok(await gone.user.api.put("/lp", json={"dca_wallet_id": other.id}))
    assert "lp_wallet_gone" not in await attention(world)
    assert "lp_wallet_gone" not in await told(world)


async def test_a_deleted_split_target_is_named_and_sent_elsewhere(
    world: World, engine_paused: distribution.Worker
) -> None:
    partner, other = await world.make_user("partner"), await world.make_user("other")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    await delete_wallet(user_id=partner.user_id, wallet_id=partner.wallet.id)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (leg,) = await world.legs(payment_hash, "operator_split")
    item = (await attention(world))["split_gone"]
    assert (item["subject_id"], item["settlement_id"]) == (leg.id, leg.settlement_id)
    assert "5000 sat" in item["message"]
    assert (await told(world))["split_gone"] == {world.operator.user_id}
    split = {"target": other.wallet.id, "fraction": "1.0000"}
    ok(await world.operator.api.put("/splits", json={"splits": [split]}))
    body = {"target": other.wallet.id, **WHY}
    ok(await world.operator.api.post(f"/payments/{leg.id}/redirect", json=body))
    await engine_paused.run_until_idle()
    assert (await world.settlement(payment_hash)).status == "completed"
    assert "split_gone" not in await attention(world)
    # what is planned from now on goes by the splits of now
    second = await world.cash_out()
    await world.settle(second)
    (leg,) = await world.legs(second, "operator_split")
    assert (leg.destination_wallet_id, leg.status) == (other.wallet.id, "completed")


async def test_a_machines_deleted_wallet_is_told_to_operator_and_super(
    world: World,
) -> None:
    await update("dca_machines", world.machine.id, payouts_stopped_reason="a look")
    await world.settle(await world.cash_out())
    await delete_wallet(
        user_id=world.operator.user_id, wallet_id=world.machine.wallet_id
    )
    item = (await attention(world))["wallet_gone"]
    assert (item["subject_type"], item["subject_id"]) == ("machine", world.machine.id)
    assert "103000 sat" in item["message"]
    assert "wallet_gone" in await attention(world, is_super=True)
    people = {world.operator.user_id, world.super_session.user_id}
    assert (await told(world))["wallet_gone"] == people


@pytest.mark.parametrize("has_wallet", [True, False])
async def test_an_operator_who_is_gone_is_the_supers_to_see(
    world: World, has_wallet: bool
) -> None:
    await update("dca_machines", world.machine.id, payouts_stopped_reason="a look")
    await world.settle(await world.cash_out())
    if not has_wallet:
        await delete_wallet(
            user_id=world.operator.user_id, wallet_id=world.machine.wallet_id
        )
    await delete_account(world.operator.user_id)
    found = await attention(world, is_super=True)
    assert "wallet_gone" not in found, "one cause"
    item = found["operator_gone"]
    assert item["subject_id"] == world.machine.id
    assert "103000 sat" in item["message"]
    assert (await told(world))["operator_gone"] == {world.super_session.user_id}


async def test_a_machine_of_somebody_who_is_gone_pays_what_it_owes(
    world: World,
) -> None:
    """Their account is no reason to keep their LPs' sats from them."""
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await delete_account(world.operator.user_id)
    await world.settle(payment_hash)
    assert (await world.settlement(payment_hash)).status == "completed"


# ----------------------------------------------------------------------- who only waits


async def test_what_is_on_its_way_is_no_short_wallet(world: World) -> None:
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    leg = (await world.legs(payment_hash, "dca"))[0]
    await update(
        "dca_payments",
        leg.id,
        status="pending",
        error_message="The outcome is not known yet.",
    )
    assert leg.payout_id
    found = await attention(world)
    assert not {"wallet_short", "payments_waiting"} & set(found)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("wallet_short", "wallet_short"),
        ("free_balance", "wallet_short"),
        (None, "wallet_short"),
        ("refused", "payments_waiting"),
        ("limit", "payments_waiting"),
        ("below_fee", "payments_waiting"),
        ("shortfall", "payments_waiting"),
        ("paying_wallet", "payments_waiting"),
        ("gathering", None),
        ("stopped", None),
        ("platform_wallet", None),
        ("unclaimed", None),
        ("backing_off", None),
    ],
)
async def test_each_reason_to_wait_is_called_what_it_is(
    world: World, code: str | None, kind: str | None
) -> None:
    await update("dca_machines", world.machine.id, payouts_stopped_reason="a look")
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    leg, *others = await world.legs(payment_hash)
    for other in others:
        await update("dca_payments", other.id, wait_code="stopped")
    await update("dca_payments", leg.id, wait_code=code, error_message="Because.")
    found = await attention(world)
    waiting = {"wallet_short", "payments_waiting"} & set(found)
    assert waiting == ({kind} if kind else set())
    if kind:
        assert f"{leg.amount_sats} sat wait: Because." in found[kind]["message"]


async def test_hourly_legs_are_not_late_before_their_first_attempt(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00"], payout_interval_minutes=60)
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    born = utc_now() - timedelta(minutes=55)
    for leg in await world.legs(payment_hash):
        await update("dca_payments", leg.id, created_at=db_time(born))
    await world.fund(world.machine_wallet.id, -300_000)
    assert "wallet_short" not in await attention(world)
    await world.run_due()
    found = await attention(world)
    assert settlement.id
    # it waits since it was tried, and that was a moment ago: nobody is told yet
    since = found["wallet_short"]["since"]
    assert since > f"{utc_now() - timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}"
    assert "wallet_short" not in await told(world)
    later = utc_now() + timedelta(minutes=3)
    with monkeypatch.context() as patch:
        patch.setattr(notices, "utc_now", lambda: later)
        assert "wallet_short" in await told(world)
    # tried again, it waits since the same moment
    before = [leg.waits_since for leg in await world.legs(payment_hash)]
    await world.run_due()
    assert [leg.waits_since for leg in await world.legs(payment_hash)] == before
    await world.fund(world.machine_wallet.id, 300_000)
    await world.run_due()
    assert "wallet_short" not in await attention(world)
    assert rounds.WAIT


async def test_a_shared_or_foreign_wallet_is_as_good_as_gone(world: World) -> None:
    await edit_core(
        'UPDATE wallets SET "user" = :other WHERE id = :id',
        other=world.customer.user_id,
        id=world.machine.wallet_id,
    )
    assert "wallet_gone" in await attention(world)
