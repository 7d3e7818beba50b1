"""Codes that customers type: who forgives what, how often, and what is left of it."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from api_world import ok, refused
from line_world import MakeOnLine, OnLine
from world import World

from satmachineadmin.base.database import db, db_time, execute, fetch_all, transaction
from satmachineadmin.line import codes
from satmachineadmin.line.budget import BAD_CODES_AT_ONCE
from satmachineadmin.models import utc_now
from satmachineadmin.parties import discounts_crud
from satmachineadmin.parties.discounts_crud import NoDiscountError

from dev.accounts import UserSession

DISCOUNTS = ("discount_code", "operator_discount_sats", "platform_discount_sats")
BAD = "This code gives no discount."
TOO_MANY = "Too many codes gave no discount at this machine: try again in a minute."


def forgiven(settlement: dict[str, Any], by: str) -> str:
    return str(settlement[f"{by}_discount_sats"] or "")


async def made(user: UserSession, code: str, fraction: str, **more: Any) -> Any:
    prefix = more.pop("prefix", "")
    body = {"code": code, "fraction": fraction, **more}
    return ok(await user.api.post(f"{prefix}/discounts", json=body), 201)


async def sold(found: OnLine, txid: str, code: str | None) -> Any:
    """A sale of 200.00 with a code, paid and dispensed; its settlement."""
    asked = {**found.figures(txid, fee=None), "code": code}
    invoice = await found.ask("invoice", asked)
    await found.customer_pays(invoice["bolt11"])
    body = {**found.figures(txid, fee=invoice["fee_sats"]), "tx_type": "cash_out"}
    body |= {"payment_hash": invoice["payment_hash"], "dispense": "confirmed"}
    assert (await found.ask("settlement", body))["status"] == "OK"
    settlement = await found.world.until(invoice["payment_hash"], "completed")
    return ok(await found.world.operator.api.get(f"/settlements/{settlement.id}"))


async def expire_uses(world: World) -> None:
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_discount_uses SET expires_at = :at "
            "WHERE machine_id = :id",
            {"at": db_time(utc_now() - timedelta(hours=1)), "id": world.machine.id},
        )


async def test_who_owns_the_code_forgives(
    make_on_line: MakeOnLine, super_session: UserSession
) -> None:
    """Of 100 000 sat the platform takes 3 000 and the operator 5 000; half of the
    operator's, and all of the platform's, are given away by whose they are."""
    found = await make_on_line(deposits=["900.00"])
    world, operator = found.world, found.world.operator
    name = world.machine.id[:6].encode().hex()
    half = await made(operator, f"h{name}", "0.5000")
    assert (half["code"], half["uses"]) == (f"h{name}".upper(), 0)
    assert (half["fraction"], half["machine_ids"]) == ("0.5000", None)
    gift = await made(super_session, f"p{name}", "1.0000", prefix="/super")
    asked = {"tx_type": "cash_out", "fiat_code": world.machine.fiat_code}
    told = await found.ask("quote", {**asked, "code": f" h{name}"})
    assert (told["operator_discount"], told["operator_fee_fraction"]) == (
        "0.5000",
        "0.0500",
    )
    first = await sold(found, "one", f"H{name}")
    assert first["fee_mismatch_sats"] == 0
    assert (first["platform_fee_sats"], first["operator_fee_sats"]) == (3_000, 2_500)
    assert first["operator_discount_sats"] == 2_500
    assert first["platform_discount_sats"] == 0
    assert (first["fee_sats"], first["discount_code"]) == (5_500, half["code"])
    second = await sold(found, "two", f"p{name}")
    assert (second["fee_sats"], second["platform_fee_sats"]) == (5_000, 0)
    assert second["platform_discount_sats"] == 3_000
    # one of that name is the operator's before the platform's
    await made(super_session, f"h{name}", "1.0000", prefix="/super")
    third = await sold(found, "three", f"h{name}")
    assert third["operator_discount_sats"] == 2_500
    # and when theirs is used up, it is not the platform that gives instead
    path = f"/discounts/{half['id']}"
    ok(await operator.api.put(path, json={"max_uses": 2}))
    told = await found.refused("quote", {**asked, "code": f"h{name}"})
    assert told["code"] == "bad_code"
    seen = ok(await operator.api.get(f"/discounts/{half['id']}"))
    assert (seen["uses"], seen["forgiven_sats"]) == (2, 5_000)
    seen = ok(await super_session.api.get(f"/super/discounts/{gift['id']}"))
    assert (seen["uses"], seen["forgiven_sats"]) == (1, 3_000)
    page = ok(await operator.api.get("/discounts"))
    assert [row["id"] for row in page["data"]] == [half["id"]]
    text = (await operator.api.get("/discounts.csv")).text
    assert text.startswith("id,code,fraction,") and half["id"] in text
    books = csv.DictReader(
        io.StringIO((await operator.api.get("/accounting.csv")).text)
    )
    given = [
        tuple(row[name] for name in DISCOUNTS) for row in books if row["discount_code"]
    ]
    assert sorted(given) == sorted(
        (x["discount_code"], forgiven(x, "operator"), forgiven(x, "platform"))
        for x in (first, second, third)
    )
    await world.assert_ledger()


async def test_codes_are_not_found_by_trying(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many that gave nothing the right one is refused, too; another machine's
    customers notice nothing, a request that has its code neither, and a minute later
    there is one more try."""
    now = [1_000.0]
    monkeypatch.setattr(codes, "time", SimpleNamespace(monotonic=lambda: now[0]))
    found = await make_on_line()
    other = found.world.machine.copy(update={"id": "another"})
    await made(found.world.operator, "right1", "0.1000")
    asked = {"tx_type": "cash_out", "fiat_code": found.world.machine.fiat_code}
    body = {**found.figures("held", fee=None), "code": "right1"}
    held = await found.ask("invoice", body)
    for number in range(int(BAD_CODES_AT_ONCE)):
        told = await found.refused("quote", {**asked, "code": f"guess{number}"})
        assert (told["code"], told["reason"]) == ("bad_code", BAD)
        if number == 3:  # a right one in between costs nothing
            told = await found.ask("quote", {**asked, "code": "right1"})
            assert told["operator_discount"] == "0.1000"
    for code in ("right1", "guess", "x"):
        told = await found.refused("quote", {**asked, "code": code})
        assert (told["code"], told["reason"]) == ("bad_code", TOO_MANY), code
    for rpc in ("invoice", "payout"):
        new = {**found.figures(f"new-{rpc}", fee=None), "code": "right1"}
        new["bolt11"] = held["bolt11"]
        told = await found.refused(rpc, new)
        assert told["code"] == "bad_code", rpc
    assert (await found.ask("invoice", body))["bolt11"] == held["bolt11"]
    assert (await found.ask("quote", asked))["operator_fee_fraction"] == "0.0500"
    assert await codes.read_code(other, {"code": "right1"})
    now[0] += 60
    assert (await found.ask("quote", {**asked, "code": "right1"}))["code"] == "RIGHT1"
    told = await found.refused("quote", {**asked, "code": "guess"})
    assert told["reason"] == BAD
    told = await found.refused("quote", {**asked, "code": "right1"})
    assert told["reason"] == TOO_MANY


async def test_a_code_that_gives_nothing_is_refused_in_one_way(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    operator, machine = found.world.operator, found.world.machine
    past = (utc_now() - timedelta(minutes=1)).isoformat()
    later = (utc_now() + timedelta(days=1)).isoformat()
    await made(operator, "over", "0.1000", valid_until=past)
    await made(operator, "soon", "0.1000", valid_from=later)
    stopped = await made(operator, "stopped", "0.1000")
    path = f"/discounts/{stopped['id']}"
    ok(await operator.api.put(path, json={"is_active": False}))
    refused(await operator.api.put(path, json={"code": None}), 400, "null")
    asked = {"tx_type": "cash_out", "fiat_code": machine.fiat_code}
    for code in ("over", "soon", "stopped", "never", "x", "a b!", 7, ["over"], "é" * 5):
        told = await found.refused("quote", {**asked, "code": code})
        assert (told["code"], told["reason"]) == ("bad_code", BAD), code
    body = {**found.figures("t", fee=None), "code": "over"}
    assert (await found.refused("invoice", body))["code"] == "bad_code"
    # nothing was kept under that txid
    assert "bolt11" in await found.ask("invoice", found.figures("t", fee=None))


async def test_the_last_use_is_one_customers(make_on_line: MakeOnLine) -> None:
    """However many ask at once; the same txid again is the same use."""
    found = await make_on_line()
    operator, machine = found.world.operator, found.world.machine
    twice = await made(operator, "twice", "0.5000", max_uses=2)

    async def ask(n: int) -> bool:
        async with db.connect() as conn:
            discount = await discounts_crud.in_force(conn, machine, "TWICE", utc_now())
        try:
            async with transaction() as conn:
                await discounts_crud.take(conn, discount, machine.id, f"r{n}", None)
        except NoDiscountError:
            return False
        return True

    body = {**found.figures("one", fee=None), "code": "twice"}
    first = await found.ask("invoice", body)
    assert (await found.ask("invoice", body))["payment_hash"] == first["payment_hash"]
    told = await found.refused("invoice", found.figures("one", fee=None))
    assert told["code"] == "conflict"
    discount = await asyncio.gather(*(ask(n) for n in range(6)), return_exceptions=True)
    # who came after the last use found none in force, or none left
    assert [x for x in discount if x is True] == [True]
    seen = ok(await operator.api.get(f"/discounts/{twice['id']}"))
    assert seen["uses"] == 2
    refused(await operator.api.delete(f"/discounts/{twice['id']}"), 409)


async def test_an_invoice_paid_after_its_use_was_given_back_counts(
    make_on_line: MakeOnLine,
) -> None:
    """The customer had the discount: the owner sees it, once, among its uses."""
    found = await make_on_line()
    world, operator = found.world, found.world.operator
    late = await made(operator, "late", "0.5000", max_uses=1)
    path = f"/discounts/{late['id']}"
    asked = {**found.figures("one", fee=None), "code": "late"}
    invoice = await found.ask("invoice", asked)
    await expire_uses(world)
    assert await discounts_crud.give_back_unpaid() == 1
    second = await sold(found, "two", "late")  # it was free again
    assert second["discount_code"] == late["code"]
    # who looked before it was paid finds no end of it any more
    async with db.connect() as conn:
        uses = await fetch_all(
            conn,
            "SELECT expires_at FROM satoshimachine.dca_discount_uses "
            "WHERE machine_id = :id AND txid = 'two'",
            {"id": world.machine.id},
        )
    assert [row["expires_at"] for row in uses] == [None]
    await found.customer_pays(invoice["bolt11"])
    body = {**found.figures("one", fee=invoice["fee_sats"]), "tx_type": "cash_out"}
    body |= {"payment_hash": invoice["payment_hash"], "dispense": "confirmed"}
    assert (await found.ask("settlement", body))["status"] == "OK"
    await world.until(invoice["payment_hash"], "completed")
    seen = ok(await operator.api.get(path))
    assert (seen["uses"], seen["forgiven_sats"]) == (2, 5_000)
    await expire_uses(world)
    assert await discounts_crud.give_back_unpaid() == 0
    assert ok(await operator.api.get(path))["uses"] == 2
    await world.assert_ledger()


async def test_so_many_a_day_and_given_back_when_nobody_pays(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    world, operator = found.world, found.world.operator
    daily = await made(operator, "daily", "0.5000", max_uses_a_day=1)
    path = f"/discounts/{daily['id']}"
    await found.ask("invoice", {**found.figures("one", fee=None), "code": "daily"})
    other = {**found.figures("two", fee=None), "code": "daily"}
    assert (await found.refused("invoice", other))["code"] == "bad_code"
    assert await discounts_crud.give_back_unpaid() == 0
    await expire_uses(world)
    assert await discounts_crud.give_back_unpaid() == 1
    assert await discounts_crud.give_back_unpaid() == 0
    assert ok(await operator.api.get(path))["uses"] == 0
    # the request is asked again, and holds its use as long as its invoice lives
    third = {**found.figures("three", fee=None), "code": "daily"}
    with_no_invoice = await found.ask("invoice", third)
    assert with_no_invoice["bolt11"]
    await expire_uses(world)
    assert await discounts_crud.give_back_unpaid() == 1
    later = utc_now() + timedelta(minutes=5)
    holding = (discounts_crud.hold(world.machine.id, "three", later) for _ in range(4))
    await asyncio.gather(*holding, return_exceptions=True)
    assert await discounts_crud.give_back_unpaid() == 0
    assert ok(await operator.api.get(path))["uses"] == 1
    await expire_uses(world)
    assert await discounts_crud.give_back_unpaid() == 1
    # what was paid is never given back
    invoice = await found.ask("invoice", other)
    await found.customer_pays(invoice["bolt11"])
    await expire_uses(world)
    assert await discounts_crud.give_back_unpaid() == 0
    async with db.connect() as conn:
        uses = await fetch_all(
            conn,
            "SELECT txid, given_back_at FROM satoshimachine.dca_discount_uses "
            "WHERE machine_id = :id",
            {"id": world.machine.id},
        )
    counts = {use["txid"]: use["given_back_at"] is None for use in uses}
    assert counts == {"one": False, "two": True, "three": False}


async def test_a_purchase_with_a_code_pays_the_customer_more(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    world = found.world
    await made(world.operator, "buyer", "1.0000")
    await world.fund(world.machine_wallet.id, 120_000)
    asked = found.figures("in", fee=None)
    # the platform's 3 000 are left of 8 000
    bolt11 = await found.customer_asks_for(97_000)
    paid = await found.ask("payout", {**asked, "bolt11": bolt11, "code": "BUYER"})
    assert (paid["payment_status"], paid["fee_sats"]) == ("paid", 3_000)
    settlement = await world.until(paid["payment_hash"], "completed")
    assert settlement.operator_discount_sats == 5_000
    assert (settlement.platform_fee_sats, settlement.operator_fee_sats) == (3_000, 0)


async def test_what_a_code_may_be(
    make_on_line: MakeOnLine, super_session: UserSession
) -> None:
    found = await make_on_line()
    operator, machine = found.world.operator, found.world.machine
    good = {"code": "good", "fraction": "0.1"}
    for body in (
        {**good, "code": "abc"},
        {**good, "code": "with space"},
        {**good, "code": "a" * 25},
        {**good, "fraction": "0"},
        {**good, "fraction": "1.0001"},
        {**good, "max_uses": 0},
        {**good, "machine_ids": []},
        {
            **good,
            "valid_from": "2026-05-02T00:00:00Z",
            "valid_until": "2026-05-01T00:00:00Z",
        },
        {**good, "valid_from": "0001-01-01T00:00:00+14:00"},
        {**good, "valid_until": "9999-12-31T23:59:59-14:00"},
    ):
        refused(await operator.api.post("/discounts", json=body), 400)
    foreign = {**good, "machine_ids": [machine.id]}
    refused(await super_session.api.post("/discounts", json=foreign), 404)
    first = await made(operator, "good", "0.1", machine_ids=[machine.id])
    assert first["machine_ids"] == [machine.id]
    again = {"code": "GooD", "fraction": "0.2"}
    refused(await operator.api.post("/discounts", json=again), 409)
    # what was read can be sent back
    path = f"/discounts/{first['id']}"
    assert ok(await operator.api.put(path, json=first)) == first
    async with db.connect() as conn:
        assert await discounts_crud.in_force(conn, machine, "good", utc_now())
    # at another machine it gives nothing
    ok(await operator.api.put(path, json={"max_uses": 5, "max_uses_a_day": 2}))
    log = ok(await operator.api.get("/audit"))["data"]
    assert {"discount.create", "discount.change"} <= {row["action"] for row in log}
    assert (await operator.api.delete(path)).status_code == 204
    refused(await operator.api.get(path), 404)
