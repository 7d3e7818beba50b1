"""The operator's people: every route against every role, closed unless a line opens it.

A collector sees no sat, no fee, no LP and no other machine, in whatever they may ask; a
removed person is out at their next request, and what they did stays in the log under
their name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
from api_world import Desk, add_machine, make_desk, ok, refused
from fastapi import FastAPI
from money_rows import (
    add_leg,
    add_report,
    add_settlement,
    add_visit,
    add_webhook_event,
    ago,
)
from route_bodies import BODIES

from satmachineadmin.api import rights
from satmachineadmin.base.database import db_time, execute, transaction

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

pytestmark = pytest.mark.xdist_group("staff")
PREFIX = "/satmachineadmin/api/v1"
ROLES = ("manager", "bookkeeper", "collector")
# What nobody who works for an operator may do, whatever else they may.
OPERATORS_ALONE = {
    "POST /discounts",
    "PUT /discounts/{discount_id}",
    "DELETE /discounts/{discount_id}",
    "POST /machines",
    "DELETE /machines/{machine_id}",
    "PUT /splits",
    "PUT /machines/{machine_id}/splits",
    "DELETE /machines/{machine_id}/splits",
    "POST /clients/{client_id}/close-balance",
    "POST /payments/{leg_id}/redirect",
    "PUT /preferences",
    "GET /staff",
    "POST /staff",
    "PUT /staff/{staff_id}",
    "DELETE /staff/{staff_id}",
}


@dataclass
class Team:
    desk: Desk
    other_machine: dict[str, Any]
    people: dict[str, UserSession]
    ids: dict[str, str]


async def hire(
    operator: UserSession, person: UserSession, role: str, machines: Any = None
) -> str:
    """Asked in by link, and a yes; the id of /me's acting_for."""
    body = {"role": role, "machine_ids": machines}
    invited = ok(await operator.api.post("/staff", json=body), 201)
    assert invited["url"].endswith(f"/invitations/{invited['code']}")
    ok(await person.api.get(f"/invitations/{invited['code']}"))
    answer = ok(await person.api.post(f"/invitations/{invited['code']}/accept"))
    assert answer["status"] == "active"
    assert answer["role"] == role
    refused(await person.api.post(f"/invitations/{invited['code']}/accept"), 404)
    return str(invited["id"])


@pytest_asyncio.fixture(scope="module")
async def team(make_user: MakeUser, make_wallet: MakeWallet) -> Team:
    desk = await make_desk(make_user, make_wallet)
    other = await add_machine(desk.operator, make_wallet, name="Secret place")
    people = {}
    for role in ROLES:
        people[role] = await make_user(role)
        named = [desk.machine["id"]] if role == "collector" else None
        await hire(desk.operator, people[role], role, named)
    settlement = await add_settlement(desk.machine)
    leg = await add_leg(
        desk.machine, settlement, client_id=desk.client["id"], amount_fiat="1.00"
    )
    ids = {
        "machine_id": desk.machine["id"],
        "client_id": desk.client["id"],
        "deposit_id": desk.deposit["id"],
        "settlement_id": settlement,
        "leg_id": leg,
        "visit_id": await add_visit(desk.machine),
        "event_id": await add_webhook_event(desk.operator.user_id),
        "report_id": await add_report(desk.machine["id"]),
    }
    return Team(desk, other, people, ids)


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    return [
        (method.upper(), path.removeprefix(PREFIX))
        for path, methods in app.openapi()["paths"].items()
        if path.startswith(PREFIX)
        for method in methods
    ]


def test_the_table_names_routes_that_are_there(app: FastAPI) -> None:
    there = {f"{method} {path}" for method, path in routes_of(app)}
    later = ("/accounting", "/insight", "/search", "/discounts")
    gone = {
        line
        for line in rights.RIGHTS
        if not line.startswith("PAGE") and not line.split()[1].startswith(later)
    } - there
    assert gone == set()
    assert {line for line in OPERATORS_ALONE if rights.roles_of(line)} == set()
    below_super = {line for line in rights.RIGHTS if "/super" in line}
    assert below_super == set()


async def test_every_route_for_every_role(app: FastAPI, team: Team) -> None:
    """A 403 in words wherever no line opens it, and let in where one does."""
    for role, person in team.people.items():
        (work,) = ok(await person.api.get("/me"))["acting_for"]
        assert work["role"] == role
        acting = {"X-Acting-For": work["id"]}
        for method, path in routes_of(app):
            named = re.findall(r"{(\w+)}", path)
            line = f"{method} {path}"
            allowed = rights.roles_of(line)
            if allowed == rights.OWN or path.startswith(("/super", "/health")):
                continue
            if method == "DELETE" and role in allowed:
                continue
            url = PREFIX + path
            for name in named:
                url = url.replace(f"{{{name}}}", team.ids.get(name, "x"))
            body = BODIES.get((method, path), {"reason": "x"})
            # a link has no header: whatever is read may be asked for by a link
            how: dict[str, Any] = {"headers": acting}
            if method == "GET":
                how = {"params": {"acting_for": work["id"]}}
            answer = await person.core.request(
                method,
                url,
                **how,
                json=None if method in ("GET", "DELETE") else body,
            )
            what = f"{line} by {role}: {answer.status_code} {answer.text[:200]}"
            if role in allowed:
                assert answer.status_code not in (401, 403, 404, 500), what
                assert "acting_for" not in answer.text or method != "GET", what
            else:
                assert answer.status_code == 403, what


async def end_visits(team: Team) -> None:
    """Nobody is counting: a collector who counts is told nothing."""
    operator = team.desk.operator
    for row in ok(await operator.api.get("/visits"))["data"]:
        if row["status"] == "open":
            ok(await operator.api.post(f"/visits/{row['id']}/cancel"))


async def test_a_collector_sees_no_sats_and_no_other_machine(
    app: FastAPI, team: Team
) -> None:
    person, desk = team.people["collector"], team.desk
    await end_visits(team)
    secrets = {
        "another machine": team.other_machine["id"],
        "its name": "Secret place",
        "the LP": desk.lp.username,
        "the LP's row": desk.client["id"],
        "the operator's id": desk.operator.user_id,
        "a wallet": desk.machine["wallet_id"],
    }
    for method, path in routes_of(app):
        if method != "GET" or "collector" not in rights.roles_of(f"GET {path}"):
            continue
        url = PREFIX + path
        for name in re.findall(r"{(\w+)}", path):
            url = url.replace(f"{{{name}}}", team.ids[name])
        answer = await person.core.get(url)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        told = [k for k, v in secrets.items() if v and v in answer.text]
        assert told == [], f"{path} tells {told}"
        sats = re.findall(r'"\w*(?:sats|fee|fraction)\w*": *(?!null)', answer.text)
        assert sats == [], f"{path} tells {sats}"
    other = team.other_machine["id"]
    for url in (f"/machines/{other}", f"/machines/{other}/cassettes"):
        refused(await person.api.get(url), 404)
    refused(await person.api.get("/cash", params={"machine_id": other}), 404)
    refused(await person.api.get("/machines?balance_sats[gt]=1"), 403)
    refused(await person.api.post(f"/machines/{other}/visits"), 404)
    page = ok(await person.api.get("/machines"))
    assert [m["id"] for m in page["data"]] == [desk.machine["id"]]


async def test_the_log_names_who_did_it_and_a_removed_person_is_out(
    team: Team, make_user: MakeUser
) -> None:
    desk = team.desk
    person = await make_user("gone")
    work = await hire(desk.operator, person, "manager")
    acting = {"X-Acting-For": work}
    url = f"/machines/{desk.machine['id']}"
    ok(await person.api.put(url, json={"location": "Zone 4"}, headers=acting))
    # what was read can be sent back; fees and wallets are the operator's alone
    read = ok(await person.api.get(url, headers=acting))
    ok(await person.api.put(url, json=read, headers=acting))
    for changed in (
        {"operator_cash_out_fee_fraction": "0.0100"},
        {"operator_cash_in_fixed_fee": "1.00"},
        {"wallet_id": person.wallet.id},
    ):
        refused(await person.api.put(url, json=changed, headers=acting), 403)
    ok(await desk.operator.api.delete(f"/staff/{work}"), 204)
    refused(await person.api.get(url, headers=acting), 403)
    refused(await person.api.get(url), 404)
    refused(await person.api.get(url, params={"acting_for": work}), 403)
    log = ok(await desk.operator.api.get("/audit?limit=100"))["data"]
    (entry,) = [e for e in log if (e["after"] or {}).get("location") == "Zone 4"]
    assert entry["actor"] == person.username
    # by the person: the operator themselves are `you`, whose id is in no address
    for who, is_theirs in ((person.username, True), ("you", False)):
        asked = f"/audit?limit=100&actor={who}"
        page = ok(await desk.operator.api.get(asked))["data"]
        assert page and (entry in page) == is_theirs
        assert len({e["actor"] for e in page}) == 1
    assert ok(await person.api.get("/me"))["acting_for"] == []


async def test_who_works_here_was_last_seen_when_they_asked_for_something(
    team: Team, make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """And who has rows of their own asks for those with `self`."""
    operator, person = team.desk.operator, await make_user("seen")
    work = await hire(operator, person, "bookkeeper")

    async def seen() -> str | None:
        (row,) = [
            r for r in ok(await operator.api.get("/staff"))["data"] if r["id"] == work
        ]
        return row["last_seen_at"]

    ok(await person.api.get("/me"))
    assert await seen() is None
    page = ok(await person.api.get("/machines"))
    assert page["total"] == 2
    first = await seen()
    assert first is not None
    ok(await person.api.get("/machines"))
    assert await seen() == first  # not written at each of a page's questions
    alone = {"X-Acting-For": "self"}
    assert ok(await person.api.get("/machines", headers=alone))["total"] == 0
    ok(await person.api.put("/preferences", json={"time_zone": "Asia/Tokyo"}))
    mine = ok(await person.api.get("/preferences", headers=alone))
    assert mine["time_zone"] == "Asia/Tokyo"
    theirs = ok(await person.api.get("/preferences", headers={"X-Acting-For": work}))
    assert theirs["time_zone"] != "Asia/Tokyo"


async def test_the_managers_limit_of_refunds(team: Team) -> None:
    desk, person = team.desk, team.people["manager"]
    settlement = await add_settlement(desk.machine)
    await add_leg(
        desk.machine, settlement, leg_type="refund", leg_key="1", amount_sats=5_000
    )
    limit: dict[str, Any] = {"staff_refund_limit_sats": 4_999}
    ok(await desk.operator.api.put("/preferences", json=limit))
    url = f"/settlements/{settlement}/refund"
    body = {"destination": "a@b.com", "reason": "x", "idempotency_key": "k1"}
    refused(await person.api.post(url, json=body), 403, "4999")
    limit = {"staff_refund_limit_sats": None}
    ok(await desk.operator.api.put("/preferences", json=limit))
    answer: httpx.Response = await person.api.post(url, json=body)
    assert answer.status_code != 403, answer.text


async def test_a_collector_counts_blind(team: Team, make_wallet: MakeWallet) -> None:
    desk, person = team.desk, team.people["collector"]
    machine = desk.machine["id"]
    await end_visits(team)
    bays = {"positions": {"1": {"denomination": 20, "count": 50}}}
    path = f"/machines/{machine}/cassettes"
    ok(await desk.operator.api.put(path, json=bays))
    assert ok(await person.api.get("/cash"))["data"]
    visit = ok(await person.api.post(f"/machines/{machine}/visits"), 201)
    assert visit["opened_by"] == person.user_id
    assert ok(await person.api.get("/cash"))["data"] == []
    assert ok(await person.api.get("/cash/movements"))["data"] == []
    assert ok(await person.api.get("/cash/plan"))["bays"] == []
    refused(await person.api.get(path), 409)
    url = f"/visits/{visit['id']}"
    ok(await person.api.put(url, json={"counts": {"bay:1": {"20": 48}}}))
    (place,) = ok(await person.api.get("/cash"))["data"]
    assert place["notes"] == 50
    # what they counted they are told, wherever it stands; the box they have not counted
    assert ok(await person.api.get(path))["positions"]["1"]["count"] == 50
    assert ok(await person.api.get("/cash/plan"))["bays"]
    assert ok(await person.api.get("/cash/plan"))["boxes"] == []
    assert ok(await person.api.get("/cash/movements"))["data"] == []
    assert ok(await person.api.get(f"/machines/{machine}"))["cash_fiat"] is None
    ok(await person.api.put(url, json={"counts": {"box": {"20": 0}}}))
    assert ok(await person.api.get("/cash/movements"))["data"]
    assert ok(await person.api.get(f"/machines/{machine}"))["cash_fiat"] == "1000.00"
    closed = ok(await person.api.post(f"{url}/close"))
    assert closed["differences"]
    seen = ok(await desk.operator.api.get(url))
    assert seen["closed_by"] not in (None, person.user_id)


async def test_a_visit_is_whose_it_is_for_two_hours(team: Team) -> None:
    """What is counted is in their name: nobody else enters or closes it. The operator
    and a manager may end it; later, whoever may visit the machine goes on with it."""
    desk, person = team.desk, team.people["collector"]
    manager = team.people["manager"]
    await end_visits(team)
    path = f"/machines/{desk.machine['id']}/visits"
    entered = {"counts": {"bay:1": {"20": 48}}}
    url = f"/visits/{ok(await person.api.post(path), 201)['id']}"
    for other in (desk.operator, manager):
        refused(await other.api.post(path), 409, "two hours")
        refused(await other.api.put(url, json=entered), 409, "two hours")
        refused(await other.api.post(f"{url}/close"), 409, "two hours")
    assert ok(await manager.api.post(f"{url}/cancel"))["status"] == "cancelled"

    visit = ok(await manager.api.post(path), 201)
    url = f"/visits/{visit['id']}"
    refused(await person.api.post(f"{url}/cancel"), 409, "two hours")
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.cash_visits SET opened_at = :at WHERE id = :id",
            {"at": db_time(ago(hours=2, minutes=1)), "id": visit["id"]},
        )
    taken = ok(await person.api.post(path), 201)
    assert (taken["id"], taken["opened_by"]) == (visit["id"], person.user_id)
    taken = ok(await desk.operator.api.put(url, json=entered))
    assert taken["opened_by"] == desk.operator.user_id
    assert ok(await person.api.post(f"{url}/cancel"))["status"] == "cancelled"


async def test_people_and_enrolments_as_files(team: Team) -> None:
    """Only the operator's own people; a program's bytes, or a person's words."""
    plain = (await team.desk.operator.api.get("/staff.csv")).text
    head, *rows = plain.splitlines()
    assert head.startswith("id,username,role,machine_ids,status,created_at")
    listed = ok(await team.desk.operator.api.get("/staff"))["data"]
    assert [row.partition(",")[0] for row in rows] == [one["id"] for one in listed]
    asked = {"for": "spreadsheet", "lang": "es"}
    words = (await team.desk.operator.api.get("/staff.csv", params=asked)).text
    assert "Función" in words.splitlines()[0]
    file = await team.desk.operator.api.get("/lp/enrolments.csv")
    assert file.text.startswith("id,machine_id,machine,operator_name,currency,status")
    assert file.headers["content-type"].startswith("text/csv")
    nobody = (await team.desk.lp.api.get("/staff.csv")).text
    assert len(nobody.splitlines()) == 1
