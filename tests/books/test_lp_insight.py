"""An LP's Insight: what was received is what their other screens say, its value is by
the price heard last, and nobody waits for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from api_world import ok, refused
from lnbits.utils.cache import cache
from world import MakeWorld, World, update

from satmachineadmin import distribution
from satmachineadmin.api.lp_insight import _standing
from satmachineadmin.base import rates_crud
from satmachineadmin.base.database import execute, transaction
from satmachineadmin.base.zones import UTC
from satmachineadmin.books.lp_insight import Standing
from satmachineadmin.host import rates
from satmachineadmin.models import utc_now

from conftest import seed_price
from dev.accounts import UserSession

WHY = {"reason": "as agreed"}


@pytest.fixture
async def no_price() -> AsyncIterator[None]:
    """LNbits has heard no price of a quetzal, and none was asked for."""
    known = [cache.value(f"btc-price-{code}") for code in ("GTQ",)]
    cache.pop("btc-price-GTQ")
    for of in (rates._heard, rates._asked):
        of.pop("GTQ", None)
    yield
    for of in (rates._heard, rates._asked):
        of.pop("GTQ", None)
    assert known[0] is not None
    seed_price("GTQ", 133.3333)
    # or everybody's sales after this would be measured by it
    async with transaction() as conn:
        await execute(conn, "DELETE FROM satoshimachine.dca_prices")


async def asked(user: UserSession, query: str = "") -> dict[str, Any]:
    return ok(await user.api.get(f"/lp/insight{query}"))


async def sold(make_world: MakeWorld, **options: Any) -> World:
    """An LP with 300.00 who got 100 000 sat for 200.00 of them."""
    world = await make_world(deposits=["300.00"], **options)
    await world.settle(await world.cash_out())
    return world


async def test_what_was_received_is_worth_what_the_price_says(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await sold(make_world)
    lp = world.lps[0].user
    seed_price("GTQ", 400)  # 250 000.00 for one bitcoin
    answer = await asked(lp)
    seed_price("GTQ", 133.3333)
    (price,) = answer["prices"]
    assert (price["price"], price["is_asking"]) == (250_000.0, False)
    (total,) = answer["totals"]
    assert total == {
        "currency": "GTQ",
        "sats_received": 100_000,
        "cost": "200.00",
        "average_price": "200000.00",
        "value": "250.00",
        "gain": "50.00",
        "gain_share": "0.2500",
        "at_work": "100.00",
        "used_a_day": "200.00",
        "days_left": 1,
        "used_up_on": (UTC.today() + timedelta(days=1)).isoformat(),
    }
    (machine,) = answer["machines"]
    assert {k: machine[k] for k in total} == total
    assert machine["machine"] == "Antigua"
    (day,) = answer["days"]
    assert (day["sats"], day["cost"]) == (100_000, "200.00")
    assert day["price"] == day["average_price"] == "200000.00"
    # as the other screens have it
    (summary,) = ok(await lp.api.get("/lp/summary"))
    assert summary["sats_received"] == total["sats_received"]
    assert summary["remaining"] == total["at_work"]
    assert summary["limit_today"] is None
    assert answer["limits"] == []


async def test_the_average_price_is_of_all_that_came_before_too(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await sold(make_world)
    lp = world.lps[0].user
    at = rates_crud.db_time(utc_now() - timedelta(days=40))
    old = {"transaction_time": at, "completed_at": at}
    await update("dca_payments", world.machine.id, "machine_id", **old)
    await world.settle(await world.cash_out(principal=25_000, fee=2_000, fiat="100.00"))
    answer = await asked(lp, "?range=30d")
    (day,) = answer["days"]
    assert (day["sats"], day["cost"], day["price"]) == (25_000, "100.00", "400000.00")
    assert (day["cumulative_sats"], day["cumulative_cost"]) == (125_000, "300.00")
    assert day["average_price"] == "240000.00"
    first, second = (await asked(lp, "?range=all"))["days"]
    assert first["cumulative_sats"] == 100_000 and second == day
    (total,) = answer["totals"]
    assert total["days_left"] == 0  # all of the cash is used
    file = await lp.api.get("/lp/insight.csv?range=all")
    lines = file.text.strip().splitlines()
    assert lines[0].startswith("date,currency,sats,cost") and len(lines) == 3
    for part in ("machines", "totals"):
        file = await lp.api.get(f"/lp/insight.csv?part={part}&for=spreadsheet&lang=es")
        assert "Ganancia" in file.text
    refused(await lp.api.get("/lp/insight?range=week"), 400, "range")


async def test_what_is_left_of_todays_limit_is_what_a_plan_goes_by(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    lp = await world.add_lp("300.00", mode="fixed", daily_limit="150.00")
    ok(await lp.user.api.put("/preferences", json={"time_zone": "Pacific/Auckland"}))
    for left in ("150.00", "50.00", "0.00"):
        (limit,) = (await asked(lp.user))["limits"]
        assert (limit["currency"], limit["limit"]) == ("GTQ", "150.00")
        assert limit["left"] == left
        assert Decimal(limit["used"]) == 150 - Decimal(left)
        # the zone that they chose today counts from tomorrow
        assert limit["time_zone"] == "UTC"
        # the LP's own page says the same, at the machine where nothing comes
        (seen,) = ok(await lp.user.api.get("/lp/summary"))
        of_today = {**limit, "ends_at": seen["limit_today"]["ends_at"]}
        assert {"currency": "GTQ", **seen["limit_today"]} == of_today
        await world.settle(await world.cash_out(fiat="100.00"))
    assert await world.remaining(lp) == Decimal("150.00")
    # a plan of tomorrow, and of the day that the LP has since
    await update(
        "dca_preferences",
        lp.user.user_id,
        "user_id",
        time_zone_from=rates_crud.db_time(utc_now()),
    )
    (limit,) = (await asked(lp.user))["limits"]
    assert limit["time_zone"] == "Pacific/Auckland"
    midnight = utc_now().astimezone(ZoneInfo("Pacific/Auckland")).date()
    assert limit["ends_at"][:10] in (str(midnight), str(midnight - timedelta(days=1)))


async def test_without_a_price_nobody_waits_and_it_is_asked_for_once(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    no_price: None,
) -> None:
    world = await sold(make_world)
    lp = world.lps[0].user
    calls, answers = [], asyncio.Event()

    async def ask(code: str) -> Decimal | None:
        calls.append(code)
        await answers.wait()
        return Decimal("250000")

    monkeypatch.setattr(rates, "ask_price", ask)
    async with transaction() as conn:
        await execute(conn, "DELETE FROM satoshimachine.dca_prices")
    for _ in range(3):
        answer = await asked(lp)
        assert answer["prices"] == [
            {"currency": "GTQ", "price": None, "at": None, "is_asking": True}
        ]
        (total,) = answer["totals"]
        assert total["value"] is total["gain"] is total["gain_share"] is None
        assert total["sats_received"] == 100_000
    # what the engine kept lately is better than nothing, and says how old it is
    at = utc_now() - timedelta(hours=1)
    async with transaction() as conn:
        await rates_crud.keep_price(conn, "GTQ", Decimal("240000"), at)
    (price,) = (await asked(lp))["prices"]
    assert price["price"] == 240_000.0 and price["at"][:16] == at.isoformat()[:16]
    answers.set()
    await asyncio.gather(*rates._asking.values())
    (price,) = (await asked(lp))["prices"]
    assert (price["price"], price["is_asking"]) == (250_000.0, False)
    assert calls == ["GTQ"]
    # a minute later it is asked for again; ten minutes old, it is not shown
    monkeypatch.setattr(rates, "NEW_SECONDS", -1)
    await asked(lp)
    assert calls == ["GTQ", "GTQ"]
    await asyncio.gather(*rates._asking.values())


async def test_an_lp_sees_their_own_and_others_nothing(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    await world.settle(await world.cash_out())
    for lp, cost in zip(world.lps, ("150.00", "50.00"), strict=True):
        (total,) = (await asked(lp.user))["totals"]
        assert total["cost"] == cost
    answer = await asked(world.operator)
    for part in ("totals", "machines", "prices", "limits", "days"):
        assert answer[part] == []


async def test_what_was_paid_outside_was_not_received(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """In no screen of the LP's, whatever the operator claims."""
    world = await make_world(deposits=["300.00"])
    await update("dca_machines", world.machine.id, payout_interval_minutes=1440)
    await world.settle(await world.cash_out())
    (leg,) = ok(await world.operator.api.get("/payments?leg_type=dca"))["data"]
    said = {"reference": "cash receipt 17", **WHY}
    path = f"/payments/{leg['id']}"
    ok(await world.operator.api.post(f"{path}/mark-paid", json=said))
    lp = world.lps[0].user
    ok(await lp.api.post(f"/lp{path}/accept", json=WHY))
    answer = await asked(lp)
    assert answer["days"] == ok(await lp.api.get("/lp/history")) == []
    (total,) = answer["totals"]
    assert (total["sats_received"], total["average_price"]) == (0, None)
    assert total["at_work"] == "100.00"


@pytest.mark.pure
def test_a_loss_is_negative_and_odd_sums_are_rounded_once() -> None:
    fields = _standing(Standing(sats=1, paid_cents=100), 99_999.99, UTC)
    assert (fields["value"], fields["gain"]) == ("0.00", "-1.00")
    assert fields["gain_share"] == "-1.0000"
    assert Standing(at_work_cents=100, pace_cents=30, pace_days=10).days_left == 34
    assert Standing(at_work_cents=100).days_left is None
    assert Standing(at_work_cents=10**9, pace_cents=1).days_left is None
    assert Standing(at_work_cents=0, paid_cents=5, pace_cents=5).days_left == 0
    assert Standing(at_work_cents=0).days_left is None
