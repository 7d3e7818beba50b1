"""What an operator may only do with the yes of those from whom it takes.

A dispense that a person reports after planning, or below the machine's own figure, and
the void of a planned sale: nothing changes until LPs and the platform agree; of a
dispense the super may decide. The machine pays hourly, so that its legs are open.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from api_world import ok, refused
from world import MakeWorld, World, update

from satmachineadmin import distribution
from satmachineadmin.base.database import db_time
from satmachineadmin.desk import consents
from satmachineadmin.models import Settlement, utc_now

LATE = {"dispensed_fiat": "50.00", "reason": "a bill jammed"}
VOID = {"reason": "nothing came out"}
YES, NO = {"outcome": "accepted", "reason": "seen"}, {
    "outcome": "declined",
    "reason": "no proof",
}


async def planned(make_world: MakeWorld, **stamp: Any) -> tuple[World, Settlement]:
    """A sale of 200.00 at an hourly machine: 150.00 of one LP and 50.00 of another."""
    world = await make_world(deposits=["600.00", "200.00"], payout_interval_minutes=60)
    return world, await world.settle(await world.cash_out(**stamp))


async def seen(world: World, settlement: Settlement) -> dict[str, Any]:
    return ok(await world.operator.api.get(f"/settlements/{settlement.id}"))


async def own_leg(world: World, index: int) -> dict[str, Any]:
    page = ok(await world.lps[index].user.api.get("/lp/payments"))
    (leg,) = [x for x in page["data"] if x["leg_type"] == "dca"]
    return leg


async def answer(world: World, index: int, way: str) -> dict[str, Any]:
    leg = await own_leg(world, index)
    path = f"/lp/payments/{leg['id']}/{way}"
    return ok(await world.lps[index].user.api.post(path))


def open_legs(settlement: dict[str, Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for leg in settlement["legs"]:
        if leg["status"] == "pending":
            found.setdefault(leg["leg_type"], []).append(leg["amount_sats"])
    return {k: sorted(v) for k, v in found.items()}


WHOLE = {"dca": [25_000, 75_000], "super_fee": [3_000]}


async def test_a_late_report_of_less_waits_for_every_creditor(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, settlement = await planned(make_world)
    path = f"/settlements/{settlement.id}/dispense"
    asked = ok(await world.operator.api.post(path, json=LATE))
    assert open_legs(asked) == WHOLE
    assert (asked["dispensed_fiat"], asked["refund_sats"]) == (None, 0)
    names = sorted(lp.user.username for lp in world.lps)
    assert asked["consent"]["state"] == "open"
    assert asked["consent"]["waits_for"] == sorted([*names, "platform"])
    leg = await own_leg(world, 0)
    assert leg["consent"]["state"] == "waiting"
    assert (leg["consent"]["sold_fiat"], leg["consent"]["dispensed_fiat"]) == (
        "200.00",
        "50.00",
    )
    only = {"consent": "waiting"}
    found = ok(await world.lps[0].user.api.get("/lp/payments", params=only))
    assert found["total"] == 1
    # a stranger, the operator and the other LP say nothing for this one
    for user in (world.operator, world.customer, world.lps[1].user):
        refused(await user.api.post(f"/lp/payments/{leg['id']}/accept"), 404)
    assert (await answer(world, 0, "accept"))["consent"]["state"] == "accepted"
    again = f"/lp/payments/{leg['id']}/accept"
    refused(await world.lps[0].user.api.post(again), 409, "agreed already")
    await answer(world, 1, "decline")
    still = await seen(world, settlement)
    assert open_legs(still) == WHOLE
    assert still["consent"]["declined_by"] == [world.lps[1].user.username]
    # one who said no may think again
    await answer(world, 1, "accept")
    assert (await seen(world, settlement))["consent"]["waits_for"] == ["platform"]
    decide = f"/super/settlements/{settlement.id}/decide"
    refused(await world.operator.api.post(decide, json=YES), 403)
    done = ok(await world.super_session.api.post(decide, json=YES))
    assert done["consent"]["state"] == "accepted"
    assert open_legs(done) == {
        "dca": [6_250, 18_750],
        "super_fee": [750],
        "refund": [3_750, 77_250],
    }
    assert (done["dispensed_fiat"], done["dispensed_by"]) == ("50.00", "person")
    refused(await world.super_session.api.post(decide, json=YES), 409, "Nothing")
    await world.assert_ledger()


async def test_the_super_decides_for_all_either_way(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, settlement = await planned(make_world)
    path = f"/settlements/{settlement.id}"
    decide = f"/super{path}/decide"
    ok(await world.operator.api.post(f"{path}/dispense", json=LATE))
    no = ok(await world.super_session.api.post(decide, json=NO))
    assert (no["consent"]["state"], open_legs(no)) == ("declined", WHOLE)
    assert (await own_leg(world, 0))["consent"] is None
    ok(await world.operator.api.post(f"{path}/dispense", json=LATE))
    await answer(world, 0, "decline")
    yes = ok(await world.super_session.api.post(decide, json=YES))
    assert open_legs(yes)["dca"] == [6_250, 18_750]
    await world.assert_ledger()


async def test_below_the_machines_own_figure_it_waits_before_planning_too(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """The stamp said that the cash came out: an operator who says 'nothing came out'
    before the engine looks takes nothing."""
    world = await make_world(deposits=["600.00"], payout_interval_minutes=60)
    settlement = await world.landed(await world.cash_out())
    path = f"/settlements/{settlement.id}/dispense"
    nothing = {"dispensed_fiat": "0", "reason": "nothing came out"}
    asked = ok(await world.operator.api.post(path, json=nothing))
    assert (asked["consent"]["state"], asked["dispensed_fiat"]) == ("open", None)
    await world.settle(settlement.payment_hash)
    assert open_legs(await seen(world, settlement))["dca"] == [100_000]
    assert (await own_leg(world, 0))["consent"]["state"] == "waiting"


async def test_who_was_paid_is_asked_no_more(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """What is asked holds up no payment; where all are paid it is the operator's own
    loss, at the next look."""
    world, settlement = await planned(make_world)
    path = f"/settlements/{settlement.id}/dispense"
    ok(await world.operator.api.post(path, json=LATE))
    await world.make_due()
    await distribution.worker.run_until_idle()
    assert await world.lps[0].balance_sats() == 75_000
    await consents.settle_open()
    done = await seen(world, settlement)
    assert (done["consent"]["state"], done["loss_sats"]) == ("accepted", 76_000)
    assert await world.platform_sats() == 3_000
    await world.assert_ledger()


async def test_a_newer_question_takes_its_place_and_all_lapse(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, settlement = await planned(make_world)
    path = f"/settlements/{settlement.id}"
    ok(await world.operator.api.post(f"{path}/dispense", json=LATE))
    await answer(world, 0, "accept")
    less = {**LATE, "dispensed_fiat": "20.00"}
    asked = ok(await world.operator.api.post(f"{path}/dispense", json=less))
    # what was agreed to was another figure
    assert asked["consent"]["accepted_by"] == []
    assert (await own_leg(world, 0))["consent"]["dispensed_fiat"] == "20.00"
    claim = {"reason": "in cash", "reference": "slip 7"}
    leg = await own_leg(world, 0)
    mark = f"/payments/{leg['id']}/mark-paid"
    refused(await world.operator.api.post(mark, json=claim), 409, "asked this LP")
    past = db_time(utc_now() - timedelta(seconds=1))
    await update("dca_consents", asked["consent"]["id"], expires_at=past)
    assert (await own_leg(world, 0))["consent"] is None
    assert (await seen(world, settlement))["consent"]["state"] == "lapsed"
    refused(await world.lps[0].user.api.post(f"/lp/payments/{leg['id']}/accept"), 409)
    await consents.settle_open()
    assert open_legs(await seen(world, settlement)) == WHOLE
    # while a claim waits, nothing else is asked
    ok(await world.operator.api.post(mark, json=claim))
    refused(
        await world.operator.api.post(f"{path}/dispense", json=LATE), 409, "outside"
    )


async def test_a_void_of_a_planned_sale_wants_every_yes(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, settlement = await planned(make_world)
    path = f"/settlements/{settlement.id}"
    decide = f"/super{path}/decide"
    asked = ok(await world.operator.api.post(f"{path}/void", json=VOID))
    assert (asked["consent"]["kind"], asked["status"]) == ("void", settlement.status)
    assert open_legs(asked) == WHOLE
    # the super speaks for the platform, and for no LP
    said = ok(await world.super_session.api.post(decide, json=YES))
    assert (said["consent"]["state"], open_legs(said)) == ("open", WHOLE)
    await answer(world, 0, "accept")
    # one no is enough
    await answer(world, 1, "decline")
    ended = await seen(world, settlement)
    assert (ended["consent"]["state"], open_legs(ended)) == ("declined", WHOLE)
    ok(await world.operator.api.post(f"{path}/void", json=VOID))
    for index in (0, 1):
        await answer(world, index, "accept")
    done = ok(await world.super_session.api.post(decide, json=YES))
    assert (done["status"], open_legs(done)) == ("voided", {})
    (sums,) = ok(await world.lps[0].user.api.get("/lp/summary"))
    assert sums["remaining"] == "600.00"
    await world.assert_ledger()


async def test_a_void_that_comes_too_late_ends(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, settlement = await planned(make_world)
    path = f"/settlements/{settlement.id}"
    ok(await world.operator.api.post(f"{path}/void", json=VOID))
    await world.make_due()
    await distribution.worker.run_until_idle()
    await consents.settle_open()
    late = await seen(world, settlement)
    assert (late["consent"]["state"], late["status"]) == ("overtaken", "completed")
    refused(await world.operator.api.post(f"{path}/void", json=VOID), 409, "were made")
