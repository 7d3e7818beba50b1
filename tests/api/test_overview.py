"""What needs attention, sums, signs of change, health, and what `/docs` tells."""

from __future__ import annotations

import re
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

import pytest
from api_world import Desk, add_deposit, add_lp, add_machine, make_desk, ok, refused
from fastapi import FastAPI
from money_rows import add_leg, add_payout, add_settlement, ago, set_status
from rebooked import rebook
from sqlalchemy import event

from satmachineadmin.base.database import db, db_time, execute, transaction
from satmachineadmin.cash.ledger import Report
from satmachineadmin.cash.postings import post_report
from satmachineadmin.crud import (
    NO_PLATFORM_WALLET,
    get_machine,
    get_settlement,
    insert_legs,
    legs_of,
)
from satmachineadmin.models import WaitCode

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession, enrol

PREFIX = "/satmachineadmin/api/v1"


async def test_totals_and_series(make_user: MakeUser, make_wallet: MakeWallet) -> None:
    desk = await make_desk(make_user, make_wallet)
    dollars = await add_machine(desk.operator, make_wallet, fiat_code="USD")
    api = desk.operator.api
    yesterday = ago(days=1)
    await add_settlement(desk.machine)
    await add_settlement(desk.machine, transaction_time=yesterday)
    await add_settlement(
        dollars,
        tx_type="cash_in",
        wire_sats=92_000,
        fiat_amount="100.10",
        status="processing",
    )
    # half of it was dispensed
    half = await add_settlement(
        desk.machine,
        dispensed_fiat="375.00",
        dispensed_principal_sats=50_000,
        dispensed_fee_sats=4_000,
        dispensed_platform_fee_sats=1_500,
        dispensed_operator_fee_sats=2_500,
        planned_at=ago(),
    )
    # none of these counts
    await add_settlement(desk.machine, status="voided")
    await add_settlement(desk.machine, status="quarantined")
    test = await add_settlement(desk.machine, is_test=True)
    await add_settlement(desk.machine, transaction_time=ago(days=8))
    legs = {"client_id": desk.client["id"], "amount_fiat": "1.00"}
    await add_leg(desk.machine, half, amount_sats=700, **legs)
    await add_leg(desk.machine, half, amount_sats=50, status="skipped", **legs)
    await add_leg(desk.machine, half, amount_sats=9_000, status="pending", **legs)
    await add_leg(desk.machine, test, amount_sats=9_000, **legs)
    await add_leg(desk.machine, None, amount_sats=3, leg_type="settlement", **legs)
    for leg_type, sats in (("super_fee", 1_500), ("refund", 54_000)):
        await add_leg(desk.machine, half, amount_sats=sats, leg_type=leg_type)
    await fill(desk, {"1": (100, 7), "2": (50, 3)})
    for machine in (desk.machine, dollars):
        await rebook(machine["id"])
    overview = ok(await api.get("/overview?days=7"))
    assert overview["totals"] == {
        "cash_out_count": 3,
        "cash_out_sats": 250_000,
        "cash_out_fiat": {"GTQ": "1875.00"},
        "cash_in_count": 1,
        "cash_in_sats": 100_000,
        "cash_in_fiat": {"USD": "100.10"},
        "platform_fee_sats": 10_500,
        "operator_fee_sats": 17_500,
        "paid_to_lps_sats": 753,
        "owed_to_lps_fiat": {"GTQ": "295.00"},
        "cash_in_machines_fiat": {"GTQ": "850.00"},
    }
    series = overview["series"]
    assert len(series) == 7
    assert [day["date"] for day in series] == [
        ago(days=n).date().isoformat() for n in range(6, -1, -1)
    ]
    assert series[-2]["cash_out_sats"] == 100_000
    assert series[-1]["cash_out_fiat"] == {"GTQ": "1125.00"}
    assert series[-1]["paid_to_lps_sats"] == 753
    assert series[0]["cash_out_count"] == 0
    assert len(ok(await api.get("/overview"))["series"]) == 30
    assert ok(await api.get("/overview?days=1"))["totals"]["cash_out_count"] == 2


async def test_a_tile_is_what_the_list_behind_it_adds_up_to(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """The tile counted what was dispensed, the list what was ordered: 726 687 sat and
    801 692 for the same 23 rows. And what was paid outside never arrived."""
    desk = await make_desk(make_user, make_wallet)
    api = desk.operator.api
    await add_settlement(desk.machine)
    half = await add_settlement(
        desk.machine,
        dispensed_fiat="375.00",
        dispensed_principal_sats=50_000,
        dispensed_platform_fee_sats=1_500,
        dispensed_operator_fee_sats=2_500,
        planned_at=ago(),
        retained_sats=7,
        refund_sats=54_000,
    )
    legs = {"client_id": desk.client["id"], "amount_fiat": "1.00"}
    await add_leg(desk.machine, half, amount_sats=700, **legs)
    await add_leg(desk.machine, half, amount_sats=50, paid_outside=True, **legs)
    await rebook(desk.machine["id"])
    sums = ok(await api.get("/overview?days=7"))["totals"]
    assert (sums["cash_out_sats"], sums["cash_out_fiat"]["GTQ"]) == (150_000, "1125.00")
    assert sums["paid_to_lps_sats"] == 700
    asked = "is_test=false&tx_type=cash_out&totals=true&limit=1"
    (total,) = ok(await api.get(f"/settlements?{asked}"))["totals"]
    assert total["traded_sats"] == sums["cash_out_sats"]
    assert total["traded_fiat"] == sums["cash_out_fiat"]["GTQ"]
    assert total["rows"] == sums["cash_out_count"] == 2
    assert (total["retained_sats"], total["refund_sats"]) == (7, 54_000)
    asked = "leg_type[in]=dca,settlement&status[in]=completed,skipped&is_test=false"
    asked += f"&paid_at[ge]={ago(days=6).date()}"
    (total,) = ok(await api.get(f"/payments?{asked}&totals=true"))["totals"]
    assert total["arrived_sats"] == sums["paid_to_lps_sats"]


async def fill(desk: Desk, bays: dict[str, tuple[int, int]]) -> None:
    """The operator says what is in the bays: denomination and count."""
    positions = {
        position: {"denomination": note, "count": count}
        for position, (note, count) in bays.items()
    }
    path = f"/machines/{desk.machine['id']}/cassettes"
    ok(await desk.operator.api.put(path, json={"positions": positions}))


async def test_a_machine_says_how_long_its_cash_will_last(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    path = f"/machines/{desk.machine['id']}"
    machine = ok(await desk.operator.api.get(path))
    assert machine["cash_fiat"] is None and machine["days_until_empty"] is None
    assert machine["last_settlement_at"] is None
    await fill(desk, {"1": (100, 40)})
    assert ok(await desk.operator.api.get(path))["cash_fiat"] == "4000.00"
    for days in (20, 6, 1):
        sale = await add_settlement(
            desk.machine, fiat_amount="700.00", transaction_time=ago(days=days)
        )
        async with transaction() as conn:
            settlement = await get_settlement(sale, conn)
            own = await get_machine(desk.machine["id"], conn)
            assert settlement and own
            report = Report(
                ago(),
                "machine",
                70_000,
                sale,
                moved_at=ago(days=days),
                bills={"100": 7},
            )
            await post_report(conn, settlement, own, report)
    # they were heard of after the count, and had left before it
    machine = ok(await desk.operator.api.get(path))
    assert machine["cash_fiat"] == "4000.00"
    assert machine["days_until_empty"] > 0
    assert machine["last_settlement_at"][:10] == ago(days=1).date().isoformat()
    assert machine["platform_cash_out_fee_fraction"].startswith("0.")
    totals = ok(await desk.operator.api.get("/overview"))["totals"]
    assert totals["cash_in_machines_fiat"] == {"GTQ": "4000.00"}


@pytest.mark.parametrize("days", ["0", "-1", "366", "x", "1.5", ""])
async def test_days_that_are_refused(make_user: MakeUser, days: str) -> None:
    user = await make_user("user")
    refused(await user.api.get(f"/overview?days={days}"), 400, "days")


async def test_an_empty_overview(make_user: MakeUser) -> None:
    user = await make_user("user")
    overview = ok(await user.api.get("/overview"))
    assert overview["needs_attention"] == []
    assert overview["totals"]["cash_out_fiat"] == {}


async def test_what_needs_attention(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    api, machine, client_id = desk.operator.api, desk.machine, desk.client["id"]

    async def kinds() -> list[str]:
        found = ok(await api.get("/overview"))["needs_attention"]
        for item in found:
            assert item["message"].startswith("Corner shop"), item
            assert item["action"].endswith("."), item
            assert item["machine_id"] == machine["id"], item
        return [item["kind"] for item in found]

    assert await kinds() == ["unpaired"]
    settlement = await add_settlement(machine)
    assert await kinds() == []

    bad = await add_settlement(machine, status="quarantined", error_message="No stamp.")
    late = await add_settlement(
        machine, status="awaiting_dispense", transaction_time=ago(minutes=16)
    )
    await add_settlement(machine, status="awaiting_dispense")
    failed_in = await add_settlement(
        machine, status="attention", planned_at=ago(minutes=1)
    )
    failed = await add_leg(
        machine, failed_in, status="failed", attempts=10, error_message="Gone."
    )
    broken = await add_settlement(
        machine, status="attention", planned_at=ago(minutes=1)
    )
    # its plan failed, and nobody is owed a dispense report
    unplanned = await add_settlement(
        machine, status="attention", planned_at=None, transaction_time=ago(days=1)
    )
    await add_leg(
        machine,
        settlement,
        status="pending",
        error_message="the machine wallet holds 1 of the 2 sat needed",
    )
    refund = await add_leg(machine, settlement, leg_type="refund", status="pending")
    await add_leg(
        machine,
        settlement,
        leg_type="super_fee",
        status="pending",
        error_message=NO_PLATFORM_WALLET,
        wait_code=WaitCode.PLATFORM_WALLET,
    )
    deposit = await add_deposit(desk.operator, client_id, "9.90", "pending")
    items = ok(await api.get("/overview"))["needs_attention"]
    assert [(i["kind"], i["subject_id"]) for i in items] == [
        ("leg_failed", failed),
        ("quarantined", bad),
        ("attention", unplanned),
        ("attention", broken),
        ("dispense", late),
        ("wallet_short", machine["id"]),
        ("refund", refund),
        ("deposit_pending", deposit["id"]),
    ]
    by_kind = {i["kind"]: i for i in items}
    assert by_kind["leg_failed"]["settlement_id"] == failed_in
    assert "Gone." in by_kind["leg_failed"]["message"]
    assert "9.90 GTQ" in by_kind["deposit_pending"]["message"]
    assert by_kind["deposit_pending"]["client_id"] == client_id
    for table, row in (
        ("dca_payments", failed),
        ("dca_settlements", bad),
        ("dca_settlements", late),
        ("dca_settlements", broken),
        ("dca_settlements", unplanned),
        ("dca_settlements", failed_in),
        ("dca_payments", refund),
    ):
        await set_status(table, row, "completed")
    await add_leg(
        machine, None, client_id=client_id, amount_fiat="300.00", status="pending"
    )
    ok(await api.put(f"/deposits/{deposit['id']}/status", json={"status": "cancelled"}))
    new = await make_user("new")
    await enrol(desk.operator, new, machine["id"])
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_machines SET last_seen_at = :then, "
            "payouts_stopped_reason = 'Two payments differ.' WHERE id = :id",
            {
                "then": db_time(ago(minutes=16)),
                "id": machine["id"],
            },
        )
    assert await kinds() == [
        "payouts_stopped",
        "wallet_short",
        "offline",
        "balance_used_up",
        "no_profile",
    ]
    assert ok(await api.get(f"/machines/{machine['id']}"))["status"] == "quiet"
    # a machine that is switched off needs nobody
    ok(await api.put(f"/machines/{machine['id']}", json={"is_active": False}))
    assert "offline" not in await kinds()


async def test_many_of_one_kind_say_that_there_are_more(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    for _ in range(21):
        await add_settlement(desk.machine, status="quarantined")
    items = ok(await desk.operator.api.get("/overview"))["needs_attention"]
    assert len(items) == 20
    assert "more" in items[-1]["message"]


async def test_an_overview_takes_the_same_number_of_statements_at_any_size(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)

    # The engine runs meanwhile: only what this request does is counted.
    is_asking: ContextVar[bool] = ContextVar("is_asking", default=False)

    async def statements(path: str) -> int:
        counted = []

        def count(*_args: Any) -> None:
            if is_asking.get():
                counted.append(1)

        engine = db.engine.sync_engine
        event.listen(engine, "before_cursor_execute", count)
        token = is_asking.set(True)
        try:
            ok(await desk.operator.api.get(path))
        finally:
            is_asking.reset(token)
            event.remove(engine, "before_cursor_execute", count)
        assert counted
        return len(counted)

    for _ in range(2):
        await add_settlement(desk.machine)
    paths = ("/overview", "/changes", "/machines", "/clients", "/settlements?limit=1")
    before = {path: await statements(path) for path in paths}
    for _ in range(3):
        machine = await add_machine(desk.operator, make_wallet)
        await add_lp(desk.operator, machine["id"], desk.lp)
        for _ in range(5):
            settlement = await add_settlement(machine)
            await add_leg(machine, settlement)
    assert {path: await statements(path) for path in paths} == before


async def test_the_supers_overview_is_everybodys(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    await rebook("what other tests wrote by hand")
    before = ok(await super_session.api.get("/super/overview?days=1"))
    desk = await make_desk(make_user, make_wallet)
    settlement = await add_settlement(desk.machine)
    await add_leg(
        desk.machine,
        settlement,
        leg_type="super_fee",
        status="pending",
        error_message=NO_PLATFORM_WALLET,
        wait_code=WaitCode.PLATFORM_WALLET,
    )
    await rebook(desk.machine["id"])
    after = ok(await super_session.api.get("/super/overview?days=1"))
    assert after["operators"] == before["operators"] + 1
    assert after["machines"] == before["machines"] + 1
    assert after["lps"] == before["lps"] + 1
    sums = after["totals"]["cash_out_sats"] - before["totals"]["cash_out_sats"]
    assert sums == 100_000
    assert "no_fee_wallet" in [i["kind"] for i in after["needs_attention"]]
    own = ok(await super_session.api.get("/overview?days=1"))
    assert own["totals"]["cash_out_sats"] == 0
    every = ok(await super_session.api.get("/overview?days=1&scope=all"))
    assert every["totals"] == after["totals"]
    refused(await desk.operator.api.get("/overview?scope=all"), 403)


# it would say of the payout what LNbits does not know of it
@pytest.mark.usefixtures("engine_paused")
async def test_a_settlement_alone_shows_everything(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    operator_id = desk.operator.user_id
    settlement = await add_settlement(
        desk.machine,
        retained_sats=7,
        stamp_json='{"source": "bitspire"}',
        dispensed_fiat="375.00",
    )
    # taken into a payout that has no invoice yet: no action is allowed already
    payout = await add_payout(desk.machine, status="new", payment_hash=None)
    paid = await add_leg(
        desk.machine,
        settlement,
        client_id=desk.client["id"],
        amount_fiat="1.50",
        destination_wallet_id=desk.lp.wallet.id,
        status="pending",
        payout_id=payout,
    )
    for leg_type, more in (
        ("super_fee", {"destination_wallet_id": "f" * 32}),
        (
            "operator_split",
            {
                "destination_wallet_id": desk.operator.wallet.id,
                "operator_user_id": operator_id,
            },
        ),
        (
            "operator_split",
            {
                "destination_ln_address": "partner@example.com",
                "operator_user_id": operator_id,
            },
        ),
        ("refund", {"status": "pending", "amount_sats": 50_000}),
    ):
        await add_leg(desk.machine, settlement, leg_type=leg_type, **more)
    forward = await add_leg(
        desk.machine, settlement, leg_type="autoforward", client_id=desk.client["id"]
    )
    shown = ok(await desk.operator.api.get(f"/settlements/{settlement}"))
    assert shown["retained_sats"] == 7
    assert shown["refundable_sats"] == 50_000
    assert 0 < shown["max_refund_sats"] < 50_000
    assert shown["dispensed_fiat"] == "375.00"
    assert shown["stamp"] == {"source": "bitspire"}
    assert shown["history"] == []
    legs = {leg["id"]: leg for leg in shown["legs"]}
    assert forward not in legs and len(legs) == 5
    assert legs[paid]["in_flight"] is True
    assert legs[paid]["amount_fiat"] == "1.50"
    wallets = {leg["destination_wallet_id"] for leg in shown["legs"]}
    lp_wallet = desk.lp.wallet.id
    assert wallets == {
        None,
        "ffff…ffff",
        desk.operator.wallet.id,
        f"{lp_wallet[:4]}…{lp_wallet[-4:]}",
    }
    addresses = {leg["destination_ln_address"] for leg in shown["legs"]}
    assert addresses == {None, "partner@example.com"}
    listed = ok(await desk.operator.api.get(f"/settlements?id={settlement}"))["data"]
    assert listed[0] == {k: shown[k] for k in listed[0]}
    in_flight = ok(await desk.operator.api.get("/payments?in_flight=true"))
    assert [leg["id"] for leg in in_flight["data"]] == [paid]


async def test_a_settlement_of_many_lps_is_shown_whole(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    settlement = await add_settlement(desk.machine)
    first = await add_leg(desk.machine, settlement)
    async with transaction() as conn:
        [leg] = await legs_of(settlement, conn)
        more = [
            leg.copy(update={"id": f"{first}{n}", "leg_key": f"{leg.leg_key}{n}"})
            for n in range(1_004)
        ]
        refund = {"leg_type": "refund", "status": "pending", "amount_sats": 70}
        last = {"id": f"{first}last", "leg_key": "last", **refund}
        await insert_legs(conn, [*more, leg.copy(update=last)])
        reasons = [{"id": f"note{n}", "action": f"note {n}"} for n in range(1_002)]
        for one_reason in reasons:
            await execute(
                conn,
                "INSERT INTO satoshimachine.dca_audit "
                "(id, created_at, actor, operator_user_id, machine_id, action, "
                "subject_type, subject_id) VALUES (:id, :at, 'engine', :me, :machine, "
                ":action, 'settlement', :settlement)",
                {
                    **one_reason,
                    "id": f"{first}{one_reason['id']}",
                    "at": db_time(ago(minutes=2_000 - int(one_reason["id"][4:]))),
                    "me": desk.operator.user_id,
                    "machine": desk.machine["id"],
                    "settlement": settlement,
                },
            )
    shown = ok(await desk.operator.api.get(f"/settlements/{settlement}"))
    assert len(shown["legs"]) == 1_006
    assert shown["refundable_sats"] == 70
    # of a longer history the newest is kept, oldest first
    told = [entry["action"] for entry in shown["history"]]
    assert told == [f"note {n}" for n in range(2, 1_002)]


async def test_a_change_changes_the_version(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    seen: list[str] = []

    async def changed() -> bool:
        version = ok(await desk.operator.api.get("/changes"))["version"]
        is_new = version not in seen
        seen.append(version)
        return is_new

    assert await changed()
    settlement = await add_settlement(desk.machine)
    assert await changed()
    await add_leg(desk.machine, settlement, status="pending", error_message="short")
    assert await changed()
    await add_payout(desk.machine)
    assert await changed()
    ok(
        await desk.operator.api.put(
            f"/clients/{desk.client['id']}", json={"status": "paused"}
        )
    )
    assert await changed()
    ok(
        await desk.operator.api.put(
            f"/machines/{desk.machine['id']}", json={"name": "New"}
        )
    )
    assert await changed()


async def test_health_tells_who_is_at_work(super_session: UserSession) -> None:
    health = ok(await super_session.api.get("/health"))
    assert set(health) == {
        "listener",
        "sweep",
        "engine",
        "relays",
        "backlog",
        "oldest_unpaid_leg",
    }
    assert health["engine"]["is_this_process"] in (True, False)


async def test_a_failed_leg_is_unpaid(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    machine = await add_machine(await make_user("operator"), make_wallet)
    before = ok(await super_session.api.get("/health"))
    long_ago = datetime(2001, 1, 1, tzinfo=timezone.utc)
    leg = await add_leg(machine, None, status="failed", created_at=long_ago)
    health = ok(await super_session.api.get("/health"))
    assert health["oldest_unpaid_leg"] == long_ago.isoformat()
    counts = [h["backlog"]["unpaid_legs"] for h in (before, health)]
    assert counts[1] == counts[0] + 1
    await set_status("dca_payments", leg, "voided")


async def test_the_log_hides_an_lps_preferences_from_everybody_else(
    make_user: MakeUser, super_session: UserSession
) -> None:
    lp = await make_user("lp")
    ok(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 201)
    own = ok(await lp.api.get("/audit"))["data"]
    assert own[0]["after"]["dca_wallet_id"] == lp.wallet.id
    assert own[0]["actor"] == lp.user_id
    entry = own[0]["id"]
    seen = ok(await super_session.api.get(f"/audit?scope=all&id={entry}"))["data"]
    assert (seen[0]["actor"], seen[0]["after"]) == ("lp", None)


# ------------------------------------------------------------------------------ /docs


async def test_every_route_is_documented(app: FastAPI, client: Any) -> None:
    schema = (await client.get("/openapi.json")).json()
    paths = {p: ops for p, ops in schema["paths"].items() if p.startswith(PREFIX)}
    assert len(paths) >= 30
    for path, operations in paths.items():
        for method, operation in operations.items():
            where = f"{method.upper()} {path}"
            assert operation.get("summary"), where
            codes = set(operation["responses"])
            assert {"400", "401", "403"} <= codes, where
            if "{" in path:
                assert "404" in codes, where
            # ours is one sentence with a 400, not FastAPI's list with a 422
            assert "422" not in codes, where
            if method == "delete":
                assert "204" in codes, where
                continue
            if codes >= {"204"}:
                continue
            good = operation["responses"].get("201") or operation["responses"]["200"]
            shown = next(iter(good["content"].values()))["schema"]
            assert shown, where
            has_no_body = path.endswith(NO_BODY) or "/super/host" in path
            if method in ("post", "put") and not has_no_body:
                assert "requestBody" in operation, where


# the address says all
NO_BODY = (
    "/pairing",
    "/notifications/test",
    "/webhook/rotate",
    "/webhook/test",
    "/webhook/seen",
    "/send-again",
)
# what a person types, and reads once
NO_FILE = {f"{PREFIX}/search"}


async def test_every_list_has_its_csv(client: Any) -> None:
    schema = (await client.get("/openapi.json")).json()
    lists = set()
    for path, operations in schema["paths"].items():
        if path.startswith(PREFIX) and "get" in operations:
            content = operations["get"]["responses"]["200"].get("content", {})
            answer = content.get("application/json", {}).get("schema", {})
            name = answer.get("$ref", "").rpartition("/")[2]
            fields = schema["components"]["schemas"].get(name, {}).get("properties", {})
            if {"data", "total"} <= set(fields):
                lists.add(path)
    assert len(lists) > 15
    files = {f"{path}.csv" for path in lists - NO_FILE}
    assert sorted(files - set(schema["paths"])) == []


async def test_lists_document_their_filters(client: Any) -> None:
    schema = (await client.get("/openapi.json")).json()
    listed = schema["paths"][f"{PREFIX}/settlements"]["get"]["parameters"]
    names = {p["name"] for p in listed}
    assert {"limit", "offset", "sortby", "direction", "search", "scope"} <= names
    assert {"payment_hash", "status", "tx_type", "machine_id", "created_at"} <= names


async def test_the_reference_has_every_route_and_needs_no_internet(
    client: Any,
) -> None:
    """LNbits' own `/docs` takes its script from a server on the internet."""
    schema = (await client.get("/openapi.json")).json()
    answer = await client.get("/satmachineadmin/docs/reference")
    assert answer.status_code == 200, answer.text
    page = answer.text
    for path, operations in schema["paths"].items():
        if path.startswith(f"{PREFIX}/"):
            for method in operations:
                call = f"{method.upper()} {path.removeprefix(PREFIX)}"
                assert f"<code>{call}</code>" in page, call
    # its links lead into the page, or to the guide beside it; it loads nothing
    assert not re.search(r"<script|<link|src=|url\(|https?://", page)
    leads = set(re.findall(r'href="#([^"]+)"', page))
    assert leads <= set(re.findall(r'id="([^"]+)"', page)) and len(leads) > 50
    assert set(re.findall(r'href="([^"#]+)"', page)) == {"api.md"}
    assert "dispensed_fiat" in page and "fraction" in page
