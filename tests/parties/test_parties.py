"""Nobody has to take another's word: the ways to cheat, one by one.

Who tries, over HTTP or with a customer's payment; what happens to the money; and what
the three parties then see. Invitations and deposits have files of their own beside
this one.
"""

from __future__ import annotations

from typing import Any

from api_world import add_lp, add_machine, make_desk, ok, random_hex_key, refused
from money_rows import add_leg
from world import MakeWorld, World, balance_sats

from satmachineadmin import distribution
from satmachineadmin.models import Leg

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession


def by_key(legs: list[Leg], leg_type: str) -> dict[str, Leg]:
    return {str(x.leg_key): x for x in legs if x.leg_type == leg_type}


async def platform_sums(
    super_session: UserSession, operator: UserSession
) -> dict[str, Any]:
    page = ok(await super_session.api.get("/super/operators"))
    (row,) = [r for r in page["data"] if r["operator_name"] == operator.username]
    return row


async def fill(world: World, sats: int) -> None:
    """The operator puts sats of their own into the machine's wallet."""
    await world.fund(world.machine_wallet.id, sats)


# ------------------------------------------------------------- the platform's share


async def test_a_fee_of_0_in_the_stamp_costs_the_operator_not_the_platform(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"])
    payment_hash = await world.cash_out(fee=0)
    settlement = await world.settle(payment_hash)
    assert settlement.platform_fee_sats == 3_000
    assert (settlement.shortfall_sats, settlement.operator_fee_sats) == (3_000, 0)
    assert settlement.fee_mismatch_sats == -8_000
    fees = by_key(await world.legs(payment_hash), "super_fee")
    assert set(fees) == {"shortfall"}
    # the LP is paid whole, and the platform waits for the operator's sats
    assert await world.lps[0].balance_sats() == 100_000
    assert fees["shortfall"].status == "pending"
    seen = ok(await world.operator.api.get(f"/settlements/{settlement.id}"))
    assert seen["shortfall_sats"] == 3_000
    assert (await platform_sums(super_session, world.operator))["shortfall_sats"] == (
        3_000
    )
    await fill(world, 3_000)
    await world.make_due()
    await distribution.worker.run_until_idle()
    (paid,) = await world.legs(payment_hash, "super_fee")
    assert paid.status == "completed"
    sums = await platform_sums(super_session, world.operator)
    assert (sums["paid_sats"], sums["owed_sats"]) == (3_000, 0)
    await world.assert_ledger()


async def test_a_sale_shifted_from_principal_to_fee_pays_the_fraction_of_principal(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """36 000 principal and 72 000 fee are what the stamp says; the rate check is what
    stops it where there is a usual rate."""
    world = await make_world(deposits=["900.00"])
    for _ in range(2):
        await world.settle(await world.cash_out())
    shifted = await world.cash_out(principal=30_000, fee=78_000)
    assert (await world.landed(shifted)).status == "quarantined"


async def test_splits_wait_while_the_platform_is_owed(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    box = await world.make_wallet(world.operator, "splits")
    await world.add_split(box.id, "1.0000", wallet_id=box.id)
    # 2 000 of the platform's 3 000: a shortfall of 1 000, and nothing is free
    short = await world.cash_out(fee=2_000)
    await world.settle(short)
    fees = by_key(await world.legs(short), "super_fee")
    assert {k: v.amount_sats for k, v in fees.items()} == {
        "super": 2_000,
        "shortfall": 1_000,
    }
    # the next sale's split is the operator's own: it pays the platform first
    good = await world.cash_out()
    await world.settle(good)
    await world.make_due()
    await distribution.worker.run_until_idle()
    await world.make_due()
    await distribution.worker.run_until_idle()
    assert await balance_sats(world.platform.id) == 6_000
    (split,) = await world.legs(good, "operator_split")
    assert split.status == "pending"
    assert await balance_sats(box.id) == 0
    await fill(world, 1_000)
    await world.make_due()
    await distribution.worker.run_until_idle()
    assert await balance_sats(box.id) == 5_000
    await world.assert_ledger()


async def test_a_test_mark_takes_nothing_out_of_the_supers_sums(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"])
    settlement = await world.settle(await world.cash_out())
    mark = {"is_test": True, "reason": "only a test"}
    ok(await world.operator.api.post(f"/settlements/{settlement.id}/test", json=mark))
    sums = await platform_sums(super_session, world.operator)
    assert (sums["paid_sats"], sums["test_count"]) == (3_000, 1)
    seen = ok(await super_session.api.get(f"/super/settlements/{settlement.id}"))
    assert seen["is_test"] is True
    assert seen["operator_name"] == world.operator.username


async def test_a_planned_sale_is_not_the_operators_to_void(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"], payout_interval_minutes=60)
    settlement = await world.settle(await world.cash_out())
    path = f"/settlements/{settlement.id}/void"
    reason = {"reason": "nothing came out"}
    refused(await world.operator.api.post(path, json=reason), 409, "owed to LPs")
    sums = await platform_sums(super_session, world.operator)
    assert (sums["owed_sats"], sums["lost_sats"]) == (3_000, 0)


async def test_a_void_before_planning_is_told_to_lps_and_super(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await make_world(deposits=["900.00"])
    settlement = await world.landed(await world.cash_out(dispense="awaiting"))
    path = f"/settlements/{settlement.id}/void"
    ok(await world.operator.api.post(path, json={"reason": "nothing came out"}))
    (entry,) = ok(await world.lps[0].user.api.get("/audit"))["data"]
    assert (entry["action"], entry["reason"]) == (
        "settlement.void",
        "nothing came out",
    )
    # that it was done and why; not the operator's figures
    assert (entry["before"], entry["after"]) == (None, None)
    sums = await platform_sums(super_session, world.operator)
    assert (sums["lost_sats"], sums["voided_count"]) == (3_000, 1)


async def test_an_lp_marked_as_paid_who_was_not(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    leg = await add_leg(
        desk.machine,
        None,
        client_id=desk.client["id"],
        amount_fiat="1.00",
        status="pending",
    )
    say = {"reason": "in cash", "reference": "receipt 7"}
    mark, own = f"/payments/{leg}/mark-paid", f"/lp/payments/{leg}"
    refused(await desk.lp.api.post(f"{own}/accept"), 409, "nobody says")
    claimed = ok(await desk.operator.api.post(mark, json=say))
    assert claimed["status"] == "pending"
    assert claimed["claim"]["state"] == "waiting"
    for user in (desk.operator, await make_user("other")):
        refused(await user.api.post(f"{own}/accept"), 404)
    no = ok(await desk.lp.api.post(f"{own}/decline", json={"reason": "no"}))
    assert (no["status"], no["claim"]["state"]) == ("pending", "declined")
    refused(await desk.lp.api.post(f"{own}/decline"), 409)
    ok(await desk.operator.api.post(mark, json=say))
    paid = ok(await desk.lp.api.post(f"{own}/accept"))
    assert (paid["status"], paid["paid_outside"]) == ("completed", True)
    (sums,) = ok(await desk.lp.api.get("/lp/summary"))
    assert sums["sats_received"] == 0


# ---------------------------------------------------------------------------- machines


async def test_a_squatter_of_an_npub_gets_nothing(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """Who comes second takes nothing from the first, with or without a deposit."""
    desk = await make_desk(make_user, make_wallet)
    squatter = await make_user("squatter")
    claim = await add_machine(
        squatter, make_wallet, machine_npub=desk.machine["machine_npub"]
    )
    assert claim["machine_npub"] == f"waiting:{claim['id']}"
    path = f"/machines/{desk.machine['id']}"
    assert ok(await desk.operator.api.get(path)) == {
        **desk.machine,
        "updated_at": ok(await desk.operator.api.get(path))["updated_at"],
    }
    assert ok(await desk.operator.api.get("/clients"))["total"] == 2
    refused(await squatter.api.get(path), 404)


# ------------------------------------------------------------------- the daily limit


async def test_a_stranger_cannot_use_up_an_lps_daily_limit(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """It took an enrolment by name and a deposit of one's own word: both want a yes."""
    stranger, lp = await make_user("stranger"), await make_user("lp")
    fixed = {
        "dca_wallet_id": lp.wallet.id,
        "default_dca_mode": "fixed",
        "fixed_mode_daily_limit": "500.00",
    }
    ok(await lp.api.post("/lp", json=fixed), 201)
    machine = await add_machine(stranger, make_wallet, machine_npub=random_hex_key())
    body = {"machine_id": machine["id"], "username": lp.username}
    client = ok(await stranger.api.post("/clients", json=body), 201)
    assert client["fixed_mode_daily_limit"] is None
    deposit = {"client_id": client["id"], "amount": "500.00"}
    refused(await stranger.api.post("/deposits", json=deposit), 409, "yes")
    assert ok(await lp.api.get("/lp/summary")) == []


async def test_nobodys_list_shows_what_is_not_theirs(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    other = await make_desk(make_user, make_wallet)
    await add_lp(desk.operator, desk.machine["id"], other.lp)
    seen = ok(await other.lp.api.get("/lp/enrolments"))
    assert seen["total"] == 2
    assert ok(await desk.lp.api.get("/lp/enrolments"))["total"] == 1
    for user, path in ((desk.lp, "/lp/deposits"), (other.operator, "/deposits")):
        text = (await user.api.get(path)).text
        assert (other if user is desk.lp else desk).deposit["id"] not in text
