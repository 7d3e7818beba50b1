"""A visit over HTTP: opened, entered twice, closed; and what the screens say then."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import Any

import pytest_asyncio
from api_world import Desk, make_desk, ok, refused
from money_rows import add_settlement, ago

from satmachineadmin.base.database import transaction
from satmachineadmin.cash.postings import post_landed
from satmachineadmin.crud import get_machine, get_settlement
from satmachineadmin.line.requests_crud import MachineRequest, insert_request
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet
from dev.demo_cash import first_day


@pytest_asyncio.fixture
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


async def fill(desk: Desk, count: int) -> None:
    body = {"positions": {"1": {"denomination": 20, "count": count}}}
    path = f"/machines/{desk.machine['id']}/cassettes"
    ok(await desk.operator.api.put(path, json=body))


async def place(desk: Desk, name: str) -> Any:
    path = f"/cash?machine_id={desk.machine['id']}"
    rows = ok(await desk.operator.api.get(path))["data"]
    return next(row for row in rows if row["place"] == name)


async def test_a_visit_from_open_to_close(desk: Desk) -> None:
    api = desk.operator.api
    await fill(desk, 50)
    path = f"/machines/{desk.machine['id']}/visits"
    visit = ok(await api.post(path), 201)
    assert ok(await api.post(path), 201)["id"] == visit["id"]
    bay = next(p for p in visit["places"] if p["place"] == "bay:1")
    # nothing tells what is expected before it is counted
    assert bay["expected"] is None
    body = {
        "counts": {"bay:1": {"20": 48}, "box": {"20": 3}},
        "filled": {"bay:1": {"20": 100}},
        "emptied": ["box"],
        "counted_at": "2100-01-01T00:00:00Z",  # a clock that is fast
    }
    for _ in range(2):  # a connection that broke: the same again is the same
        entered = ok(await api.put(f"/visits/{visit['id']}", json=body))
    bay = next(p for p in entered["places"] if p["place"] == "bay:1")
    assert bay["expected"] == {"20": 50}
    closed = ok(await api.post(f"/visits/{visit['id']}/close", json={"reason": "x"}))
    found = {
        (d["place"], d["denomination"], d["expected"], d["counted"])
        for d in closed["differences"]
    }
    assert found == {("bay:1", 20, 50, 48), ("box", 20, 0, 3)}
    assert (await place(desk, "bay:1"))["notes"] == 148
    assert (await place(desk, "box"))["notes"] == 0
    path = f"/machines/{desk.machine['id']}/cassettes"
    assert ok(await api.get(path))["positions"]["1"]["count"] == 148
    machine = ok(await api.get(f"/machines/{desk.machine['id']}"))
    assert machine["cash_fiat"] == "2960.00"
    refused(await api.post(f"/visits/{visit['id']}/close", json={}), 409, "closed")
    refused(await api.put(f"/visits/{visit['id']}", json=body), 409, "closed")


async def test_nothing_of_a_cancelled_visit_is_booked(desk: Desk) -> None:
    api = desk.operator.api
    await fill(desk, 50)
    path = f"/machines/{desk.machine['id']}/visits"
    visit = ok(await api.post(path), 201)
    body = {"positions": {"1": {"denomination": 20, "count": 1}}}
    cassettes = f"/machines/{desk.machine['id']}/cassettes"
    refused(await api.put(cassettes, json=body), 409, "visit is open")
    ok(await api.put(f"/visits/{visit['id']}", json={"counts": {"bay:1": {"20": 4}}}))
    ok(await api.post(f"/visits/{visit['id']}/cancel", json={}))
    assert (await place(desk, "bay:1"))["notes"] == 50
    ok(await api.put(cassettes, json=body))


async def test_another_note_and_a_bay_left_out_go_to_the_hand(desk: Desk) -> None:
    await fill(desk, 50)
    path = f"/machines/{desk.machine['id']}/cassettes"
    body = {"positions": {"1": {"denomination": 50, "count": 10}}}
    ok(await desk.operator.api.put(path, json=body))
    assert (await place(desk, "bay:1"))["denomination"] == 50
    ok(await desk.operator.api.put(path, json={"positions": {}}))
    body = {"positions": {"1": {"denomination": 0, "count": 0}}}
    refused(await desk.operator.api.put(path, json=body), 400, "denomination")
    hand = next(
        row
        for row in ok(await desk.operator.api.get("/cash"))["data"]
        if row["place"] == "hand"
    )
    # 1 000.00 of twenties came out; 500.00 of fifties went in and out again, and the
    # LP's deposit came to the hand
    assert hand["amount"] == "1300.00"


async def test_coverage_is_said_once_the_hand_was_counted(desk: Desk) -> None:
    api = desk.operator.api
    await fill(desk, 10)
    (total,) = ok(await api.get("/cash"))["totals"]
    assert (total["coverage"], total["hand_amount"]) == (None, None)
    body = {"kind": "count", "amount": "100.00", "currency": "GTQ", "reason": "counted"}
    (total,) = ok(await api.post("/cash/hand", json=body), 201)["totals"]
    assert (total["hand_amount"], total["total_amount"]) == ("100.00", "300.00")
    assert (total["owed_amount"], total["coverage"]) == ("300.00", "1.0000")
    body = {"kind": "to_bank", "amount": "60.00", "currency": "GTQ"}
    (total,) = ok(await api.post("/cash/hand", json=body), 201)["totals"]
    assert (total["hand_amount"], total["coverage"]) == ("40.00", "0.8000")


async def test_movements_and_their_csv_agree(desk: Desk) -> None:
    await fill(desk, 50)
    await fill(desk, 48)
    listed = ok(await desk.operator.api.get("/cash/movements?limit=0"))
    # the columns of the contract, every one
    assert {
        *("id", "operator_user_id", "machine_id", "visit_id", "settlement_id"),
        *("deposit_id", "from_place", "to_place", "denomination", "notes", "amount"),
        *("currency", "at", "by", "reason", "source", "number"),
    } == {*listed["data"][0]}
    owners = {row["operator_user_id"] for row in listed["data"]}
    assert owners == {desk.operator.user_id}
    text = (await desk.operator.api.get("/cash/movements.csv")).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == listed["total"] == len(listed["data"])
    moved = [(m["from_place"], m["to_place"], m["notes"]) for m in listed["data"]]
    assert ("opening", "bay:1", 50) in moved
    assert ("bay:1", "difference", 2) in moved


async def test_a_round_begins_with_what_is_needed(desk: Desk) -> None:
    api = desk.operator.api
    path = f"/machines/{desk.machine['id']}"
    kept = ok(
        await api.put(path, json={"bay_capacities": {"1": 200}, "box_capacity": 500})
    )
    assert (kept["bay_capacities"], kept["box_capacity"]) == ({"1": 200}, 500)
    await fill(desk, 50)
    plan = ok(await api.get(f"/cash/plan?machines={desk.machine['id']}"))
    (bay,) = plan["bays"]
    assert (bay["holds"], bay["bring"], bay["days_left"]) == (50, 150, None)
    assert plan["bring"] == {"GTQ": {"20": 150}}


async def test_one_visit_as_a_file(desk: Desk) -> None:
    """A row for each place and note that was entered, what was expected beside it;
    nobody else's, and no formula."""
    api = desk.operator.api
    path = f"/machines/{desk.machine['id']}"
    ok(await api.put(path, json={"name": "=1+1"}))
    await fill(desk, 50)
    visit = ok(await api.post(f"{path}/visits"), 201)
    body = {
        "counts": {"bay:1": {"20": 48}, "box": {"100": 0}},
        "filled": {"bay:1": {"20": 10}},
        "emptied": ["box"],
    }
    ok(await api.put(f"/visits/{visit['id']}", json=body))
    address = f"/visits/{visit['id']}.csv"

    async def rows() -> list[dict[str, str]]:
        said = await api.get(address)
        assert said.headers["content-type"].startswith("text/csv")
        return list(csv.DictReader(io.StringIO(said.text)))

    figures = ("place", "denomination", "expected", "counted", "difference", "filled")
    bay, box = await rows()
    assert [bay[f] for f in figures] == ["bay:1", "20", "50", "48", "-2", "10"]
    assert [box[f] for f in figures] == ["box", "100", "0", "0", "0", ""]
    assert (bay["status"], bay["is_emptied"], box["is_emptied"]) == (
        "open",
        "false",
        "true",
    )
    ok(await api.post(f"/visits/{visit['id']}/close", json={"reason": "x"}))
    bay, box = await rows()
    assert [bay[f] for f in figures] == ["bay:1", "20", "50", "48", "-2", "10"]
    assert (bay["status"], bay["machine"]) == ("closed", "'=1+1")
    assert (bay["expected_amount"], bay["counted_amount"]) == ("1000.00", "960.00")
    refused(await desk.lp.api.get(address), 404)


async def test_a_cash_in_that_came_to_nothing_may_be_why(desk: Desk) -> None:
    """The machine kept the notes of two of them; one was before the count before. What
    came in by amount is compared by amount."""
    api, machine = desk.operator.api, desk.machine
    path = f"/machines/{machine['id']}/visits"

    async def brought(txid: str, status: str, at: datetime) -> None:
        request = MachineRequest(
            machine_id=machine["id"],
            txid=txid,
            rpc="payout",
            wallet_id=machine["wallet_id"],
            wire_sats=1,
            principal_sats=1,
            fee_sats=0,
            fiat_amount="40.00",
            fiat_code=machine["fiat_code"],
            stamp_json="{}",
            status=status,
            event_id=txid,
            event_epoch=0,
            created_at=at,
            updated_at=at,
        )
        assert await insert_request(request)

    async def counted(notes: dict[str, int]) -> Any:
        visit = ok(await api.post(path), 201)
        body = {"counts": {"box": notes}}
        entered = ok(await api.put(f"/visits/{visit['id']}", json=body))
        closed = ok(await api.post(f"/visits/{visit['id']}/close"))
        return entered["places"][-1], closed["differences"], visit["id"]

    await brought("early", "refused", ago(hours=1))
    _, found, _ = await counted({"20": 1})
    assert "1, 40.00 GTQ in all" in found[0]["likely_reason"]
    now = utc_now()
    await brought("no", "refused", now)
    await brought("dead", "failed", now)
    await brought("paid", "paid", now)
    _, found, visit_id = await counted({"20": 3})
    why = "since the box was last counted: 2, 80.00 GTQ in all."
    assert why in found[0]["likely_reason"]
    slip = await desk.operator.core.get(
        f"/satmachineadmin/visits/{visit_id}/slip?lang=es"
    )
    assert "conteo de la caja: 2, 80,00 GTQ" in slip.text
    # fewer than expected: no cash-in explains that
    _, found, _ = await counted({"20": 2})
    assert found[0]["likely_reason"] is None
    trade = await add_settlement(machine, tx_type="cash_in", fiat_amount="60.00")
    async with transaction() as conn:
        settlement = await get_settlement(trade, conn)
        own = await get_machine(machine["id"], conn)
        assert settlement and own
        await post_landed(conn, settlement, own)
    box, found, _ = await counted({"20": 4, "10": 2})
    assert (box["expected"], box["expected_amount"]) == (None, "100.00")
    assert found == []


async def test_the_first_day_of_the_demo_has_a_difference_to_see(desk: Desk) -> None:
    """What `make run` does at its first machine, once."""
    api = desk.operator.api
    (said,) = await first_day(desk.operator)
    assert said == (
        "operator visits Corner shop: 2 notes of 20 are missing, 50 filled in"
    )
    visits = ok(await api.get("/visits"))["data"]
    # saving cassettes is a visit too
    (visit,) = [one for one in visits if one["reason"] == "first service"]
    assert (visit["status"], visit["difference_amount"]) == ("closed", "40.00")
    assert (await place(desk, "bay:1"))["notes"] == 548
    kinds = [i["kind"] for i in ok(await api.get("/overview"))["needs_attention"]]
    assert "cash_difference" in kinds
    (total,) = ok(await api.get("/cash"))["totals"]
    assert total["coverage"] is not None
    assert await first_day(desk.operator) == []


async def test_a_count_is_of_a_time_that_both_databases_keep(desk: Desk) -> None:
    path = f"/machines/{desk.machine['id']}/visits"
    visit = ok(await desk.operator.api.post(path), 201)
    for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday"):
        body = {"counted_at": at, "counts": {"bay:1": {"20": 1}}}
        answer = await desk.operator.api.put(f"/visits/{visit['id']}", json=body)
        assert answer.status_code == 400, f"{at}: {answer.text}"
