"""The accounting CSV: every amount of a period, with its counter-value."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok, refused
from world import MakeWorld, World, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base.database import db_time
from satmachineadmin.books import accounting
from satmachineadmin.books.trade_lines import counter_value_cents
from satmachineadmin.host.balances import balances_msat
from satmachineadmin.models import utc_now

from dev.accounts import UserSession

WHY = {"reason": "as agreed"}


async def books(user: UserSession, query: str = "") -> list[dict[str, str]]:
    answer = await user.api.get(f"/accounting.csv{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def sums(lines: list[dict[str, str]]) -> dict[str, tuple[int, Decimal]]:
    """Sats and counter-value by record."""
    found: dict[str, tuple[int, Decimal]] = {}
    for line in lines:
        sats, value = found.get(line["record"], (0, Decimal(0)))
        found[line["record"]] = (
            sats + int(line["sats"]),
            value + Decimal(line["counter_value"]),
        )
    return found


def test_the_counter_value_is_rounded_half_up_at_the_transactions_rate() -> None:
    assert counter_value_cents(100_000, 100_000, 20_000) == 20_000
    assert counter_value_cents(5, 1_000, 100) == 1  # half a cent
    assert counter_value_cents(4, 1_000, 100) == 0
    assert counter_value_cents(4, 0, 100) == 0


async def a_day(make_world: MakeWorld) -> World:
    world = await make_world(deposits=["300.00"], name="=SUM(A1)")
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    await world.fund(world.machine_wallet.id, 200_000)
    await world.settle(await world.cash_out())
    await world.cash_in(principal=50_000, fee=4_000, fiat="100.00")
    await tasks.sweep()
    await distribution.worker.run_until_idle()
    return world


async def test_every_amount_of_a_period_has_its_counter_value(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await a_day(make_world)
    lines = await books(world.operator)
    assert sums(lines) == {
        "principal": (150_000, Decimal("300.00")),
        "fee": (12_000, Decimal("24.00")),
        "fee: platform share": (4_500, Decimal("9.00")),
        "fee: operator share": (7_500, Decimal("15.00")),
        "leg: super_fee": (4_500, Decimal("9.00")),
        "leg: operator_split": (7_500, Decimal("15.00")),
        "leg: dca": (100_000, Decimal("200.00")),
    }
    assert {line["currency"] for line in lines} == {"GTQ"}
    assert {line["machine"] for line in lines} == {"'=SUM(A1)"}
    (dca,) = [line for line in lines if line["record"] == "leg: dca"]
    assert dca["party"] == world.lps[0].user.username
    assert dca["payment_hash"] and dca["status"] == "completed"
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


async def test_what_was_dispensed_counts_and_a_test_has_its_mark(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    short = await world.landed(await world.cash_out(dispense="awaiting"))
    body: dict[str, Any] = {"dispensed_fiat": "150.00", **WHY}
    path = f"/settlements/{short.id}"
    ok(await world.operator.api.post(f"{path}/dispense", json=body))
    await engine_paused.run_until_idle()
    found = sums(await books(world.operator))
    assert found["principal"] == (75_000, Decimal("150.00"))
    assert found["fee"] == (6_000, Decimal("12.00"))
    assert found["leg: refund"] == (27_000, Decimal("54.00"))
    # something was paid from it: it stays, whoever marks it since
    body = {"is_test": True, **WHY}
    ok(await world.operator.api.post(f"{path}/test", json=body))
    assert sums(await books(world.operator)) == found
    assert await books(world.operator, "?tests=true") == []
    waits = await world.landed(await world.cash_out(dispense="awaiting"))
    ok(await world.operator.api.post(f"/settlements/{waits.id}/test", json=body))
    tests = await books(world.operator, "?tests=true")
    assert {line["is_test"] for line in tests} == {"true"}
    assert sums(tests)["principal"] == (100_000, Decimal("200.00"))
    assert sums(await books(world.operator, "?tests=false")) == found
    held = await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    assert held.status == "quarantined"
    everything = await books(world.operator)
    assert sums(everything)["held back"][0] == 108_000
    # what the wallet has is what its lines say
    wallet = world.machine_wallet.id
    in_lnbits = (await balances_msat([wallet]))[wallet] // 1000
    assert sum(int(line["wallet_sats"]) for line in everything) == in_lnbits
    entries = await books(world.operator, "?by=entry")
    assert sum(int(line["wallet_sats"]) for line in entries) == in_lnbits
    assert sum(int(line["sats"]) for line in entries) == 0


async def test_a_balance_paid_out_is_a_line_of_its_own(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["12.34"])
    body = {
        "wallet_id": world.operator.wallet.id,
        "exchange_rate": 150,
        "idempotency_key": uuid4().hex,
        **WHY,
    }
    await world.fund(world.operator.wallet.id, 2_000)
    path = f"/clients/{world.lps[0].client.id}/close-balance"
    ok(await world.operator.api.post(path, json=body))
    (line,) = await books(world.operator)
    assert (line["record"], line["sats"], line["counter_value"]) == (
        "leg: settlement",
        "1851",
        "12.34",
    )


async def test_a_sale_that_charged_less_than_the_platforms_share(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """The share is owed all the same: the lines say so, and still add up."""
    world = await make_world(deposits=["900.00"])
    await world.fund(world.machine_wallet.id, 10_000)
    await world.settle(await world.cash_out(fee=1_000))
    found = sums(await books(world.operator))
    assert found["fee"][0] == 1_000
    assert found["fee: platform share"][0] == 3_000
    assert found["fee: shortfall"][0] == 2_000
    assert "fee: surplus" not in found


async def test_whose_books_and_of_when(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    super_session: UserSession,
) -> None:
    world = await a_day(make_world)
    stranger = await world.make_user("stranger")
    assert await books(stranger) == []
    assert await books(world.lps[0].user) == []
    refused(await stranger.api.get("/accounting.csv?scope=all"), 403)
    another = await make_world()
    theirs = await another.settle(await another.cash_out())
    everything = await books(super_session, "?scope=all")
    own = {x["settlement_id"] for x in await books(world.operator)}
    assert len(own) == 2
    assert {*own, theirs.id} <= {x["settlement_id"] for x in everything}
    assert theirs.id not in own
    day = utc_now().date().isoformat()
    count = len(await books(world.operator))
    assert len(await books(world.operator, f"?from={day}&to={day}")) == count
    assert await books(world.operator, "?from=2020-01-01&to=2020-12-31") == []
    assert await books(world.operator, "?machine_id=another") == []
    found = await books(world.operator, f"?machine_id={world.machine.id}")
    assert len(found) == count
    for query in ("?from=2025-02-01&to=2025-01-01", "?from=x", "?to=0001-01-01"):
        refused(await world.operator.api.get(f"/accounting.csv{query}"), 400)


async def test_books_of_more_than_a_page(
    make_world: MakeWorld, monkeypatch: Any, engine_paused: distribution.Worker
) -> None:
    monkeypatch.setattr(accounting, "PAGE", 2)
    monkeypatch.setattr(accounting, "ENTRIES", 2)
    world = await make_world()
    for _ in range(5):
        settlement = await world.landed(await world.cash_out())
        # all at one instant: the id decides
        await update("journal", settlement.id, "settlement_id", at=_an_instant())
    lines = await books(world.operator)
    settlements = [x["settlement_id"] for x in lines if x["record"] == "principal"]
    assert len(settlements) == 5 == len(set(settlements))
    entries = [x["id"] for x in await books(world.operator, "?by=entry")]
    assert len(entries) == 2 * len(set(entries)) == 10


def _an_instant() -> Any:
    return db_time(utc_now().replace(minute=0, second=0, microsecond=0))


@pytest.mark.pure
def test_an_entry_of_a_leap_day_is_a_line_like_others() -> None:
    """There is no 29 February in the year 9999."""
    subject = accounting.Subject("a trade", "a machine")
    row = {
        "is_test": False,
        "payment_id": None,
        "account": "customer",
        "sats": 1,
        "cents": 0,
        "client_id": None,
        "is_before": 0,
    }
    days = (datetime(2028, 3, 1), datetime(2028, 2, 29), datetime(2028, 3, 2))
    for day in days:
        at = day.replace(tzinfo=timezone.utc)
        accounting._add(subject, {**row, "at": db_time(at)})
    assert subject.times[None] == datetime(2028, 2, 29, tzinfo=timezone.utc)
