"""What the cash book asks a person to look at, and when each of it is over."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest_asyncio
from api_world import Desk, make_desk, ok, refused
from money_rows import add_settlement, ago

from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.cash.ledger import Report
from satmachineadmin.cash.postings import post_report
from satmachineadmin.crud import get_machine, get_settlement
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet


@pytest_asyncio.fixture
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


async def attention(desk: Desk) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in ok(await desk.operator.api.get("/overview"))["needs_attention"]:
        found.setdefault(item["kind"], []).append(item)
    return found


async def fill(desk: Desk, count: int) -> None:
    body = {"positions": {"1": {"denomination": 20, "count": count}}}
    path = f"/machines/{desk.machine['id']}/cassettes"
    ok(await desk.operator.api.put(path, json=body))


async def visit(desk: Desk, **entered: Any) -> dict[str, Any]:
    """A visit from open to closed."""
    api = desk.operator.api
    opened = ok(await api.post(f"/machines/{desk.machine['id']}/visits"), 201)
    ok(await api.put(f"/visits/{opened['id']}", json=entered))
    closed: dict[str, Any] = ok(await api.post(f"/visits/{opened['id']}/close"))
    return closed


async def report(desk: Desk, cents: int, bills: dict[str, int], **fields: Any) -> str:
    """A trade of that much, and the machine's word on the notes; returns its id."""
    trade = await add_settlement(
        desk.machine, fiat_amount=Decimal(cents) / 100, status="completed", **fields
    )
    async with transaction() as conn:
        settlement = await get_settlement(trade, conn)
        machine = await get_machine(desk.machine["id"], conn)
        assert settlement and machine
        said = Report(
            ago(minutes=1),
            "machine",
            cents,
            trade,
            moved_at=ago(minutes=1),
            bills=bills,
        )
        await post_report(conn, settlement, machine, said)
    return trade


async def test_more_notes_than_were_sold_wait_until_somebody_counts(desk: Desk) -> None:
    await fill(desk, 50)
    when = {"transaction_time": ago(minutes=2)}
    async with transaction() as conn:  # the count was before the sale
        await execute(
            conn,
            "UPDATE satoshimachine.cash_counts SET at = :at WHERE machine_id = :id",
            {"at": db_time(ago(hours=1)), "id": desk.machine["id"]},
        )
    trade = await report(desk, 4000, {"20": 4}, **when)
    (item,) = (await attention(desk))["cash_left"]
    assert item["settlement_id"] == trade
    assert "80.00 GTQ left the machine for a sale of 40.00 GTQ." in item["message"]
    path = f"/machines/{desk.machine['id']}/reconciliation"
    tomorrow = (utc_now() + timedelta(days=1)).date().isoformat()
    async with transaction() as conn:  # what is younger may be on its way
        await execute(
            conn,
            "UPDATE satoshimachine.cash_trades SET moved_at = :at "
            "WHERE settlement_id = :id",
            {"at": db_time(ago(minutes=5)), "id": trade},
        )
    answer = ok(await desk.operator.api.post(path, json={"to": tomorrow}))
    found = {d["kind"]: d for d in answer["differences"]}
    assert "80.00 GTQ left the machine" in found["cash_trade"]["message"]
    assert "cash_places" not in found
    await fill(desk, 46)
    assert "cash_left" not in await attention(desk)


async def test_fewer_notes_than_were_paid_for(desk: Desk) -> None:
    await report(desk, 10_000, {"20": 4}, tx_type="cash_in")
    (item,) = (await attention(desk))["cash_left"]
    assert "80.00 GTQ came in for a sale of 100.00 GTQ." in item["message"]


async def test_a_difference_above_the_operators_limit(desk: Desk) -> None:
    await fill(desk, 50)
    closed = await visit(desk, counts={"bay:1": {"20": 48}})
    (item,) = (await attention(desk))["cash_difference"]
    assert (item["subject_type"], item["subject_id"]) == ("visit", closed["id"])
    assert "differs by 40.00 GTQ" in item["message"]
    api = desk.operator.api
    ok(await api.put("/preferences", json={"cash_difference_limit": {"GTQ": "40"}}))
    assert "cash_difference" not in await attention(desk)
    ok(await api.put("/preferences", json={"cash_difference_limit": {"GTQ": 39.99}}))
    assert "cash_difference" in await attention(desk)
    await visit(desk, counts={"bay:1": {"20": 48}})
    assert "cash_difference" not in await attention(desk)


async def test_a_box_that_is_nearly_full_and_a_visit_left_open(desk: Desk) -> None:
    api = desk.operator.api
    path = f"/machines/{desk.machine['id']}"
    ok(await api.put(path, json={"box_capacity": 10}))
    await report(desk, 14_000, {"20": 7}, tx_type="cash_in")
    assert "box_full" not in await attention(desk)
    await report(desk, 2_000, {"20": 1}, tx_type="cash_in")
    (item,) = (await attention(desk))["box_full"]
    assert "about 8 of 10 notes" in item["message"]
    opened = ok(await api.post(f"{path}/visits"), 201)
    assert "visit_open" not in await attention(desk)
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.cash_visits SET opened_at = :at WHERE id = :id",
            {"at": db_time(ago(hours=3)), "id": opened["id"]},
        )
    (item,) = (await attention(desk))["visit_open"]
    assert item["subject_id"] == opened["id"]
    body = {"counts": {"box": {"20": 8}}, "emptied": ["box"]}
    ok(await api.put(f"/visits/{opened['id']}", json=body))
    ok(await api.post(f"/visits/{opened['id']}/close"))
    assert not {"box_full", "visit_open"} & (await attention(desk)).keys()


async def test_less_cash_than_lps_are_owed_and_what_an_lp_is_shown(desk: Desk) -> None:
    api, lp = desk.operator.api, desk.lp.api
    (mine,) = ok(await lp.get("/lp/summary"))
    assert (mine["shows_coverage"], mine["coverage"]) == (False, None)
    assert "coverage_low" not in await attention(desk)
    body = {"kind": "count", "amount": "100.00", "currency": "GTQ"}
    ok(await api.post("/cash/hand", json=body), 201)
    (item,) = (await attention(desk))["coverage_low"]
    assert "Cash of 100.00 GTQ stands against 300.00 GTQ" in item["message"]
    ok(await api.put("/preferences", json={"show_coverage_to_lps": True}))
    (mine,) = ok(await lp.get("/lp/summary"))
    assert (mine["shows_coverage"], mine["coverage"]) == (True, "0.3333")
    ok(await api.post("/cash/hand", json={**body, "amount": "300.00"}), 201)
    assert "coverage_low" not in await attention(desk)


async def test_a_sale_of_yesterday_is_probably_dispensed(desk: Desk) -> None:
    at = {"status": "awaiting_dispense", "dispense_state": "awaiting"}
    await add_settlement(desk.machine, transaction_time=ago(hours=25), **at)
    await add_settlement(desk.machine, transaction_time=ago(hours=23), **at)
    old, young = (await attention(desk))["dispense"]
    assert "its notes count as probably dispensed" in old["message"]
    assert "No dispense was reported." in young["message"]
    await fill(desk, 10)
    old, young = (await attention(desk))["dispense"]
    assert "the machine was counted since" in old["message"]
    assert "No dispense was reported." in young["message"]


async def test_preferences_keep_what_they_name(desk: Desk) -> None:
    api = desk.operator.api
    before = ok(await api.get("/preferences"))
    assert before == {
        "time_zone": None,
        "number_format": None,
        "notify": {},
        "staff_refund_limit_sats": None,
        "cash_difference_limit": {},
        "show_coverage_to_lps": False,
    }
    body = {
        "time_zone": "America/Guatemala",
        "number_format": "comma",
        "notify": {"low_cash": False},
        "staff_refund_limit_sats": 5000,
        "cash_difference_limit": {"GTQ": "100"},
    }
    kept = ok(await api.put("/preferences", json=body))
    assert kept == {**before, **body, "cash_difference_limit": {"GTQ": "100.00"}}
    # what was read can be sent back, and what is not named stays
    assert ok(await api.put("/preferences", json=kept)) == kept
    assert ok(await api.put("/preferences", json={"time_zone": None}))["notify"]
    for wrong, word in (
        ({"time_zone": "Mars/Olympus"}, "time zone"),
        ({"time_zone": "../etc/passwd"}, "time zone"),
        ({"notify": {"nothing": True}}, "notify"),
        ({"cash_difference_limit": {"XXX": "1"}}, "currency"),
        ({"cash_difference_limit": {"GTQ": "-1"}}, "at least 0"),
        ({"show_coverage_to_lps": None}, "must not be null"),
    ):
        refused(await api.put("/preferences", json=wrong), 400, word)
    assert ok(await desk.lp.api.get("/preferences")) == before


def summed(
    moved: list[dict[str, str]], place: str, since: str, until: str
) -> dict[str, Decimal]:
    """What the movements' file says of one place and period."""
    sums = {k: Decimal("0.00") for k in ("opening", "in", "out", "differences")}
    for row in moved:
        for end, sign, name in (("to_place", 1, "in"), ("from_place", -1, "out")):
            day, amount = row["at"][:10], Decimal(row["amount"])
            other = row["from_place" if end == "to_place" else "to_place"]
            if row[end] != place or day > until:
                continue
            if day < since:
                sums["opening"] += sign * amount
            elif other == "difference":
                sums["differences"] += sign * amount
            else:
                sums[name] += amount
    return sums


async def test_the_books_of_cash_add_up_for_any_period(desk: Desk) -> None:
    await fill(desk, 50)
    await visit(desk, counts={"bay:1": {"20": 48}}, filled={"bay:1": {"20": 100}})
    api = desk.operator.api
    rows = ok(await api.get("/cash/books"))["data"]
    by_place = {row["place"]: row for row in rows}
    assert by_place["bay:1"]["closing"] == "2960.00"
    assert (by_place["bay:1"]["in"], by_place["bay:1"]["differences"]) == (
        "3000.00",
        "-40.00",
    )
    # 300.00 of the LP's deposit came, 2 000.00 went into the bay
    assert by_place["hand"]["closing"] == "-1700.00"
    for row in rows:
        sums = [Decimal(row[k]) for k in ("opening", "in", "out", "differences")]
        assert sums[0] + sums[1] - sums[2] + sums[3] == Decimal(row["closing"])
    later = (utc_now() + timedelta(days=40)).date().isoformat()
    path = f"/cash/books?from={later}&to={later}"
    after = {r["place"]: r for r in ok(await api.get(path))["data"]}
    assert after["bay:1"]["opening"] == after["bay:1"]["closing"] == "2960.00"
    # any period, against the movements' own file
    listed = (await api.get("/cash/movements.csv")).text
    moved = list(csv.DictReader(io.StringIO(listed)))
    today = utc_now().date()
    for first, last in ((-1, 0), (0, 0), (1, 2), (-3, -1)):
        since = (today + timedelta(days=first)).isoformat()
        until = (today + timedelta(days=last)).isoformat()
        path = f"/cash/books?from={since}&to={until}"
        for row in ok(await api.get(path))["data"]:
            assert summed(moved, row["place"], since, until) == {
                k: Decimal(row[k]) for k in ("opening", "in", "out", "differences")
            }
    text = (await api.get("/cash/books.csv")).text.splitlines()
    assert text[0].startswith("place,machine_id,machine,currency,opening,in,out")
    assert len(text) == len(rows) + 1
    refused(await api.get("/cash/books?from=2025-02-01&to=2025-01-01"), 400, "to must")
