"""Cash handed over is two people's word: each says theirs, and both are seen.

Over HTTP as operator, LP and super; time passes by moving the rows' times.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from api_world import Desk, add_deposit, add_lp, make_desk, ok, refused
from money_rows import add_leg
from rebooked import rebook
from world import MakeWorld, update

from satmachineadmin import distribution
from satmachineadmin.base.database import db_time
from satmachineadmin.books.statement import lp_statement
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession


async def remaining(desk: Desk) -> str:
    path = f"/clients/{desk.client['id']}/balance"
    return ok(await desk.operator.api.get(path))["remaining"]


async def seen_by_lp(desk: Desk, deposit_id: str) -> dict[str, Any]:
    (row,) = ok(await desk.lp.api.get(f"/lp/deposits?id={deposit_id}"))["data"]
    return row


async def make_old(deposit_id: str, minutes: int = 61) -> None:
    then = db_time(utc_now() - timedelta(minutes=minutes))
    await update("dca_deposits", deposit_id, confirmed_at=then)


async def ask_back(desk: Desk, amount: str | None = None) -> Any:
    body = {"status": "reversed", "reason": "they took it back"}
    if amount:
        body["amount"] = amount
    path = f"/deposits/{desk.deposit['id']}/status"
    return await desk.operator.api.put(path, json=body)


async def test_an_old_deposit_is_taken_back_with_the_lps_yes(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    path = f"/lp/deposits/{desk.deposit['id']}"
    refused(await desk.lp.api.post(f"{path}/accept-reversal", json={}), 409)
    await make_old(desk.deposit["id"])
    asked = ok(await ask_back(desk))
    assert asked["status"] == "confirmed"
    assert asked["reversal"] == {
        "state": "requested",
        "amount": "300.00",
        "reason": "they took it back",
        "requested_at": asked["reversal"]["requested_at"],
    }
    assert await remaining(desk) == "300.00"
    assert (await seen_by_lp(desk, desk.deposit["id"])) == asked
    refused(await ask_back(desk), 409, "asked")
    no = ok(await desk.lp.api.post(f"{path}/decline-reversal", json={"reason": "no"}))
    assert (no["status"], no["reversal"]["state"]) == ("confirmed", "declined")
    assert await remaining(desk) == "300.00"
    ok(await ask_back(desk))
    yes = ok(await desk.lp.api.post(f"{path}/accept-reversal"))
    assert (yes["status"], yes["reversal"]["state"]) == ("reversed", "accepted")
    assert yes["reason"] == "they took it back"
    assert await remaining(desk) == "0.00"
    log = ok(await desk.operator.api.get(f"/audit?subject_id={desk.deposit['id']}"))
    assert [e["action"] for e in log["data"]][:4] == [
        "deposit.reversal_accepted",
        "deposit.reversal_requested",
        "deposit.reversal_declined",
        "deposit.reversal_requested",
    ]


async def test_what_was_planned_from_is_no_longer_the_operators_alone(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    await add_leg(desk.machine, None, client_id=desk.client["id"], amount_fiat="100.00")
    await make_old(desk.deposit["id"], 2)
    refused(await ask_back(desk), 409, "200.00")
    asked = ok(await ask_back(desk, "150.00"))
    assert (asked["status"], asked["reversal"]["amount"]) == ("confirmed", "150.00")


async def test_a_part_is_taken_back(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """An LP who takes 200.00 of their 300.00 back in cash is recorded so."""
    desk = await make_desk(make_user, make_wallet)
    await make_old(desk.deposit["id"])
    refused(await ask_back(desk, "300.01"), 400, "300.00")
    ok(await ask_back(desk, "200.00"))
    path = f"/lp/deposits/{desk.deposit['id']}/accept-reversal"
    kept = ok(await desk.lp.api.post(path))
    assert (kept["status"], kept["amount"]) == ("confirmed", "100.00")
    assert kept["reversal"]["amount"] == "200.00"
    assert await remaining(desk) == "100.00"
    rows = ok(await desk.lp.api.get("/lp/deposits?status=reversed"))["data"]
    assert [(r["amount"], r["part_of"]) for r in rows] == [
        ("200.00", desk.deposit["id"])
    ]


async def test_the_super_decides_what_the_two_cannot(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    path = f"/super/deposits/{desk.deposit['id']}/decide"
    decide = {"outcome": "accepted", "reason": "there is a receipt"}
    for user in (desk.operator, desk.lp):
        refused(await user.api.post(path, json=decide), 403)
    refused(await super_session.api.post(path, json=decide), 409, "nothing")
    refused(await super_session.api.post(path, json={"outcome": "accepted"}), 400)
    await make_old(desk.deposit["id"])
    ok(await ask_back(desk))
    kept = ok(
        await super_session.api.post(path, json={**decide, "outcome": "declined"})
    )
    assert (kept["status"], kept["reversal"]["state"]) == ("confirmed", "declined")
    ok(await ask_back(desk))
    gone = ok(await super_session.api.post(path, json=decide))
    assert (gone["status"], gone["reversal"]["state"]) == ("reversed", "accepted")
    for user in (desk.operator, desk.lp):
        log = (await user.api.get(f"/audit?subject_id={desk.deposit['id']}")).text
        assert "reversal_declined" in log and "there is a receipt" in log


async def test_a_dispute_changes_nothing_of_the_money(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    deposit = await add_deposit(desk.operator, desk.client["id"], "50", "pending")
    path = f"/lp/deposits/{deposit['id']}"
    refused(await desk.lp.api.post(f"{path}/dispute", json={}), 400, "reason")
    refused(await desk.lp.api.post(f"{path}/withdraw-dispute"), 409)
    disputed = ok(
        await desk.lp.api.post(f"{path}/dispute", json={"reason": "it was 500"})
    )
    assert disputed["dispute"] == {
        "state": "open",
        "opened_by": "lp",
        "reason": "it was 500",
        "opened_at": disputed["dispute"]["opened_at"],
        "closed_at": None,
        "outcome": None,
    }
    assert disputed["status"] == "pending"
    refused(await desk.lp.api.post(f"{path}/dispute", json={"reason": "x"}), 409)
    open_ones = "/deposits?dispute=open"
    assert ok(await desk.operator.api.get(open_ones))["total"] == 1
    every = ok(await super_session.api.get(f"{open_ones}&scope=all&id={deposit['id']}"))
    assert every["data"][0]["dispute"]["reason"] == "it was 500"
    status = f"/deposits/{deposit['id']}/status"
    ok(await desk.operator.api.put(status, json={"status": "confirmed"}))
    assert await remaining(desk) == "350.00"
    back = ok(await desk.lp.api.post(f"{path}/withdraw-dispute"))
    assert (back["dispute"]["state"], back["dispute"]["outcome"]) == (
        "closed",
        "withdrawn",
    )
    ok(await desk.lp.api.post(f"{path}/dispute", json={"reason": "again"}))
    decide = {"outcome": "declined", "reason": "the book says 50"}
    decided = ok(
        await super_session.api.post(
            f"/super/deposits/{deposit['id']}/decide", json=decide
        )
    )
    assert decided["dispute"]["outcome"] == "dismissed"
    assert await remaining(desk) == "350.00"


async def test_a_claim_is_confirmed_or_refused_with_a_reason(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    body = {"client_id": desk.client["id"], "amount": "120", "notes": "on Monday"}
    claim = ok(await desk.lp.api.post("/lp/deposits", json=body), 201)
    assert (claim["status"], claim["amount"]) == ("claimed", "120.00")
    assert await remaining(desk) == "300.00"
    assert ok(await desk.operator.api.get("/deposits?status=claimed"))["total"] == 1
    path = f"/deposits/{claim['id']}"
    refused(await desk.operator.api.put(path, json={"amount": "1"}), 409, "claimed")
    refused(
        await desk.operator.api.put(f"{path}/status", json={"status": "cancelled"}),
        400,
        "reason",
    )
    ok(await desk.operator.api.put(f"{path}/status", json={"status": "confirmed"}))
    assert await remaining(desk) == "420.00"
    by_machine = {"machine_id": desk.machine["id"], "amount": "5"}
    second = ok(await desk.lp.api.post("/lp/deposits", json=by_machine), 201)
    no = {"status": "cancelled", "reason": "nobody saw it"}
    ok(await desk.operator.api.put(f"/deposits/{second['id']}/status", json=no))
    seen = await seen_by_lp(desk, second["id"])
    assert (seen["status"], seen["reason"]) == ("cancelled", "nobody saw it")


async def test_at_most_five_claims_wait_and_only_ones_own(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    other = await make_user("other")
    await add_lp(desk.operator, desk.machine["id"], other)
    body = {"machine_id": desk.machine["id"], "amount": "1"}
    keyed = {**body, "idempotency_key": "k"}
    first = ok(await desk.lp.api.post("/lp/deposits", json=keyed), 201)
    assert ok(await desk.lp.api.post("/lp/deposits", json=keyed), 200) == first
    for _ in range(4):
        ok(await desk.lp.api.post("/lp/deposits", json=body), 201)
    refused(await desk.lp.api.post("/lp/deposits", json=body), 409, "5")
    ok(await other.api.post("/lp/deposits", json=body), 201)
    ids = {"client_id": desk.client["id"], "amount": "1"}
    refused(await other.api.post("/lp/deposits", json=ids), 404)
    refused(await other.api.post("/lp/deposits", json={"amount": "1"}), 400)
    for way in ("dispute", "withdraw-dispute", "accept-reversal", "decline-reversal"):
        path = f"/lp/deposits/{desk.deposit['id']}/{way}"
        for user in (other, desk.operator):
            refused(await user.api.post(path, json={"reason": "x"}), 404)


async def test_a_deposit_recorded_twice_with_one_key_is_one(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    body = {
        "client_id": desk.client["id"],
        "amount": "10",
        "notes": "x",
        "idempotency_key": "one",
    }
    api = desk.operator.api
    first = ok(await api.post("/deposits", json=body), 201)
    assert ok(await api.post("/deposits", json={**body, "amount": "10.00"})) == first
    refused(await api.post("/deposits", json={**body, "amount": "11"}), 409, "key")
    assert ok(await api.get("/deposits"))["total"] == 2


async def test_one_of_long_ago_counts_everywhere_from_when_it_was_recorded(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """Issue 18, 7: confirmed without a `confirmed_at` it was 322.67 in three places,
    297.67 on the statement, and nothing for planning."""
    world = await make_world(deposits=["300.00"])
    (lp,) = world.lps
    recorded = utc_now() - timedelta(days=40)
    await update(
        *("dca_deposits", lp.client.id, "client_id"),
        confirmed_at=None,
        created_at=db_time(recorded),
    )
    await rebook(world.machine.id)
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (leg,) = await world.legs(payment_hash, "dca")
    assert (leg.client_id, leg.amount_sats) == (lp.client.id, 100_000)
    operator = world.operator.api
    balance = ok(await operator.get(f"/clients/{lp.client.id}/balance"))
    assert (balance["deposited"], balance["remaining"]) == ("300.00", "100.00")
    day, today = recorded.date(), utc_now().date()
    (since,) = await lp_statement(lp.user.user_id, day, today)
    assert (since.deposited_cents, since.closing_cents) == (30_000, 10_000)
    (later,) = await lp_statement(lp.user.user_id, day + timedelta(days=1), today)
    assert (later.opening_cents, later.deposited_cents) == (30_000, 0)
    books = ok(await operator.get(f"/accounting/balances?at={day}T23:59:59Z"))["data"]
    held = [x["fiat"] for x in books if x["account"] == "lp_deposits"]
    (total,) = ok(await operator.get("/deposits?totals=true"))["totals"]
    assert held == ["-300.00"] and total["booked_amount"] == "300.00"
    await world.assert_ledger()
