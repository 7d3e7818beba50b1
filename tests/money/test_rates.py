"""What a sale is compared with: the usual rate by days, and the market's price.

Planted days of sales, then a customer's payment; who sees which mark.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from money_rows import add_settlement
from world import MakeWorld, World, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base import rates_crud
from satmachineadmin.base.database import db, db_time, transaction
from satmachineadmin.models import utc_now


async def plant(world: World, days_ago: int, rate: int, sales: int = 1) -> list[str]:
    """Planned sales of one day at a rate (sats for one unit)."""
    at = utc_now() - timedelta(days=days_ago)
    made = []
    for n in range(sales):
        row = await add_settlement(
            world.machine.dict(),
            id=f"{world.machine.id}-{days_ago}-{n}-{rate}",
            fiat_amount="100.00",
            principal_sats=rate * 100,
            status="completed",
            transaction_time=at - timedelta(seconds=n),
        )
        await update(
            "dca_settlements",
            f"{world.machine.id}-{days_ago}-{n}-{rate}",
            planned_at=db_time(at),
        )
        made.append(row)
    return made


async def usual(world: World) -> list[Decimal]:
    async with db.connect() as conn:
        return await rates_crud.usual_rates(conn, world.machine.id, utc_now())


async def set_price(world: World, sats_per_unit: str, hours_ago: float = 0) -> None:
    price = Decimal(100_000_000) / Decimal(sats_per_unit)
    at = utc_now() - timedelta(hours=hours_ago)
    async with transaction() as conn:
        await rates_crud.keep_price(conn, world.machine.fiat_code, price, at)


@pytest.fixture(autouse=True)
async def no_prices() -> AsyncIterator[None]:
    yield
    async with transaction() as conn:
        await rates_crud.execute(conn, "DELETE FROM satoshimachine.dca_prices", {})


async def test_one_days_sales_do_not_move_the_usual_rate(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """Twenty-three self-made sales of one day against three honest days."""
    world = await make_world(deposits=["900.00"])
    for day in (1, 2, 3):
        await plant(world, day, 500)
    await plant(world, 4, 8, sales=23)
    assert sorted(await usual(world)) == [8, 500, 500, 500]
    await plant(world, 0, 8, sales=23)
    assert len(await usual(world)) == 4
    assert (await world.landed(await world.cash_out())).status == "pending"


async def test_a_test_mark_takes_no_sale_out_of_the_usual_rate(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    await plant(world, 1, 133, sales=2)
    for n in range(2):
        await update("dca_settlements", f"{world.machine.id}-1-{n}-133", is_test=True)
    assert await usual(world) == [133]


async def test_only_the_last_thirty_days_and_ten_of_them(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    await plant(world, 31, 999)
    for day in range(1, 13):
        await plant(world, day, 100 + day, sales=2)
    assert await usual(world) == [100 + day for day in range(1, 11)]


async def test_marks_of_a_rate(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["9000.00"])
    first = await world.settle(await world.cash_out())
    assert first.marks == ",rate_not_checked,"
    (leg,) = await world.legs(first.payment_hash, "dca")
    assert leg.rate_mark == "rate_not_checked"
    await set_price(world, "500", hours_ago=5.9)
    good = await world.settle(await world.cash_out())
    assert good.marks == ""
    # 100 000 sat for 160.00: 625 where 500 is usual and the market's
    off = await world.settle(await world.cash_out(fiat="160.00", fee=20_000))
    assert off.marks == ",fee_off,rate_off,"
    (leg,) = await world.legs(off.payment_hash, "dca")
    assert leg.rate_mark == "rate_off"
    path = f"/settlements/{off.id}"
    seen = (await world.operator.api.get(path)).json()
    assert seen["marks"] == ["fee_off", "rate_off"]
    listed = await world.operator.api.get("/settlements?marks[like]=rate_off")
    assert [row["id"] for row in listed.json()["data"]] == [off.id]
    lps = (await world.lps[0].user.api.get("/lp/payments")).json()["data"]
    assert {row["rate_mark"] for row in lps} == {"rate_not_checked", None, "rate_off"}


async def test_the_market_stops_what_the_usual_rate_lets_pass(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    await set_price(world, "500")
    cheap = await world.landed(await world.cash_out(fiat="120.00"))
    assert cheap.status == "quarantined"
    assert "more than 1.5 times off the market's 500" in (cheap.error_message or "")
    # the operator may state a factor, or switch the comparison off
    path, put = f"/machines/{world.machine.id}", world.operator.api.put
    changed = (await put(path, json={"market_factor": "0.6"})).json()
    assert (changed["market_factor"], changed["price_check"]) == ("0.6000", True)
    assert (await world.landed(await world.cash_out(fiat="120.00"))).status == "pending"
    ok = (await put(path, json={"market_factor": 1, "price_check": False})).json()
    assert (ok["market_factor"], ok["price_check"]) == ("1.0000", False)
    assert (await world.landed(await world.cash_out(fiat="120.00"))).status == "pending"
    for bad in ("0", "101", "1,5", "0.00001", None, "x"):
        assert (await put(path, json={"market_factor": bad})).status_code == 400


async def test_an_old_price_is_not_known(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    await set_price(world, "1", hours_ago=6.1)
    landed = await world.landed(await world.cash_out())
    assert (landed.status, landed.marks) == ("pending", ",rate_not_checked,")


async def test_the_nearest_price_counts(make_world: MakeWorld) -> None:
    world = await make_world()
    await set_price(world, "100", hours_ago=5)
    await set_price(world, "200", hours_ago=1)
    async with db.connect() as conn:
        for hours, rate in ((4.5, 100), (0, 200), (2.9, 200), (3.1, 100)):
            at = utc_now() - timedelta(hours=hours)
            found = await rates_crud.market_rate(conn, world.machine, at)
            assert found and abs(found - rate) < Fraction(1, 1000)


async def test_the_engine_asks_for_each_currency_of_a_machine(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    asked = []

    async def price(code: str) -> Decimal | None:
        asked.append(code)
        return Decimal("760000.5") if code == world.machine.fiat_code else None

    monkeypatch.setattr(tasks, "ask_price", price)
    monkeypatch.setattr(tasks.state, "is_engine", True)
    monkeypatch.setattr(tasks.state, "prices", -1e9)
    await tasks.ask_prices()
    await tasks.ask_prices()
    assert asked.count(world.machine.fiat_code) == 1
    async with db.connect() as conn:
        rate = await rates_crud.market_rate(conn, world.machine, utc_now())
    assert rate == Fraction(100_000_000) / Fraction("760000.5")
