"""Nobody is an LP of somebody's before they said yes; a no looks like no answer.

Over HTTP as the operator, the LP, a stranger and somebody who has never heard of the
extension; time passes by moving the rows' times.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from api_world import add_deposit, add_machine, make_desk, ok, refused
from lnbits.core.crud.extensions import get_user_extension
from world import edit_core, update

from satmachineadmin.base.database import db, db_time, fetch_one
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession, enrol


async def invite(operator: UserSession, machine_id: str, name: str) -> dict[str, Any]:
    body = {"machine_id": machine_id, "username": name}
    return ok(await operator.api.post("/clients", json=body), 201)


async def enrolments(lp: UserSession) -> list[dict[str, Any]]:
    page = ok(await lp.api.get("/lp/enrolments"))
    assert page["total"] == len(page["data"])
    return page["data"]


async def make_late(invitation_id: str) -> None:
    """Its 14 days are over."""
    past = db_time(utc_now() - timedelta(seconds=1))
    await update("dca_invitations", invitation_id, expires_at=past)


async def test_an_invitation_by_name_until_the_yes(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp", enable=False)
    refused(await lp.api.get("/me"), 403)
    machine = await add_machine(operator, make_wallet)
    client = await invite(operator, machine["id"], lp.username.upper())
    assert client == {
        "id": client["id"],
        "machine_id": machine["id"],
        "username": lp.username.upper(),
        "status": "invited",
        "has_profile": False,
        "dca_mode": None,
        "fixed_mode_daily_limit": None,
        "remaining": "0.00",
        "currency": "GTQ",
        "sats_received": 0,
        "sats_on_the_way": 0,
        "created_at": client["created_at"],
        # nobody else's enrolment says who they are
        "person": client["id"],
        "person_machines": 0,
    }
    # so that they can answer
    extension = await get_user_extension(lp.user_id, "satmachineadmin")
    assert extension and extension.active
    me = ok(await lp.api.get("/me"))
    assert (me["operator"], me["lp"], me["enrolled"]) == (False, False, True)
    assert me["invitations"] == 1
    (mine,) = await enrolments(lp)
    assert mine == {
        "id": client["id"],
        "machine_id": machine["id"],
        "machine": "Corner shop",
        "operator_name": operator.username,
        "currency": "GTQ",
        "status": "invited",
        "created_at": mine["created_at"],
        "expires_at": mine["expires_at"],
        "role": None,
    }
    path = f"/clients/{client['id']}"
    body = {"client_id": client["id"], "amount": "500"}
    # what they prefer is nobody's before the yes
    profile = {"dca_wallet_id": lp.wallet.id, "default_dca_mode": "fixed"}
    ok(await lp.api.post("/lp", json=profile), 201)
    assert ok(await operator.api.get(path)) == client
    refused(await operator.api.post("/deposits", json=body), 409, "yes")
    refused(await operator.api.put(path, json={"status": "active"}), 409, "yes")
    assert ok(await operator.api.put(path, json=client)) == client
    assert ok(await operator.api.get(f"{path}/balance"))["remaining"] == "0.00"
    accepted = ok(await lp.api.post(f"/lp/enrolments/{client['id']}/accept"))
    assert (accepted["id"], accepted["status"]) == (client["id"], "active")
    seen = ok(await operator.api.get(path))
    assert (seen["status"], seen["has_profile"]) == ("active", True)
    assert seen["dca_mode"] == "fixed"
    assert ok(await operator.api.get("/clients"))["total"] == 1
    ok(await operator.api.post("/deposits", json=body), 201)
    refused(await lp.api.post(f"/lp/enrolments/{client['id']}/accept"), 404)
    assert ok(await lp.api.get("/me"))["invitations"] == 0


async def test_the_answer_is_the_same_whoever_exists(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    ok(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 201)
    machine = await add_machine(operator, make_wallet)
    nobody = f"nobody{lp.username}"
    answers = [await invite(operator, machine["id"], n) for n in (lp.username, nobody)]
    for answer in answers:
        assert answer.pop("person") == answer["id"]
        for key in ("id", "username", "created_at"):
            answer.pop(key)
    assert answers[0] == answers[1]
    for name in (lp.username, nobody, nobody.upper()):
        body = {"machine_id": machine["id"], "username": name}
        refused(await operator.api.post("/clients", json=body), 409, "14 days")


async def test_a_name_with_tags_is_nobody_elses(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """LNbits strips tags from what it looks for: <b>alice is not alice."""
    operator, lp = await make_user("operator"), await make_user("lp")
    machine = await add_machine(operator, make_wallet)
    await invite(operator, machine["id"], f"<b>{lp.username}")
    assert await enrolments(lp) == []


async def test_a_name_that_nobody_has_never_comes_to_life(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, later = await make_user("operator"), await make_user("later")
    other = await make_user("other")
    machine = await add_machine(operator, make_wallet)
    # the name is free while it is invited, and taken afterwards
    await edit_core(
        "UPDATE accounts SET username = :name WHERE id = :id",
        name=f"x{later.username}"[:20],
        id=later.user_id,
    )
    client = await invite(operator, machine["id"], later.username)
    await edit_core(
        "UPDATE accounts SET username = :name WHERE id = :id",
        name=later.username,
        id=later.user_id,
    )
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            "SELECT code FROM satoshimachine.dca_invitations WHERE id = :id",
            {"id": client["id"]},
        )
    assert await enrolments(later) == []
    refused(await later.api.post(f"/lp/enrolments/{client['id']}/accept"), 404)
    assert row
    for user in (later, other):
        refused(await user.api.post(f"/invitations/{row['code']}/accept"), 404)


async def test_a_no_looks_like_no_answer(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    machine = await add_machine(operator, make_wallet)
    client = await invite(operator, machine["id"], lp.username)
    no = ok(await lp.api.post(f"/lp/enrolments/{client['id']}/decline"))
    assert (no["id"], no["status"]) == (client["id"], "declined")
    assert await enrolments(lp) == []
    assert ok(await operator.api.get(f"/clients/{client['id']}")) == client
    body = {"machine_id": machine["id"], "username": lp.username}
    refused(await operator.api.post("/clients", json=body), 409, "14 days")
    log = ok(await operator.api.get("/audit?subject_type=client"))["data"]
    assert [e["action"] for e in log] == ["client.invite"]
    assert "client.decline" in (await lp.api.get("/audit")).text
    refused(await lp.api.post(f"/lp/enrolments/{client['id']}/accept"), 404)
    await make_late(client["id"])
    refused(await operator.api.get(f"/clients/{client['id']}"), 404)
    await invite(operator, machine["id"], lp.username)
    assert len(await enrolments(lp)) == 1


async def test_an_invitation_is_over_after_14_days(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    lp = await make_user("lp")
    client = await invite(desk.operator, desk.machine["id"], lp.username)
    for late in (client["id"], desk.link["id"]):
        await make_late(late)
    for way in ("accept", "decline"):
        refused(await lp.api.post(f"/lp/enrolments/{client['id']}/{way}"), 404)
        refused(await lp.api.post(f"/invitations/{desk.link['code']}/{way}"), 404)
    refused(await lp.api.get(f"/invitations/{desk.link['code']}"), 404)
    assert await enrolments(lp) == []
    refused(await desk.operator.api.get(f"/clients/{client['id']}"), 404)


async def test_a_link_leads_who_has_never_seen_the_extension(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    lp, second = await make_user("lp", enable=False), await make_user("second")
    link = desk.link
    assert link["url"].endswith(f"/satmachineadmin/invitations/{link['code']}")
    assert (await lp.core.get(f"/satmachineadmin/invitations/{link['code']}")).text
    refused(await lp.api.get("/invitations/nobodys"), 404)
    refused(await lp.api.get("/me"), 403)  # a wrong code enables nothing
    seen = ok(await lp.api.get(f"/invitations/{link['code']}"))
    assert seen["operator_name"] == desk.operator.username
    assert (seen["machine"], seen["status"]) == ("Corner shop", "invited")
    assert ok(await lp.api.get("/me"))["invitations"] == 0  # reading takes nothing
    accepted = ok(await lp.api.post(f"/invitations/{link['code']}/accept"))
    assert (accepted["id"], accepted["status"]) == (link["id"], "active")
    client = ok(await desk.operator.api.get(f"/clients/{link['id']}"))
    assert (client["username"], client["status"]) == (lp.username, "active")
    # single use
    for user in (lp, second):
        refused(await user.api.get(f"/invitations/{link['code']}"), 404)
        refused(await user.api.post(f"/invitations/{link['code']}/accept"), 404)


async def test_two_open_one_link_and_one_has_it(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    people = [await make_user("lp", enable=False) for _ in range(2)]
    path = f"/invitations/{desk.link['code']}/accept"
    answers = await asyncio.gather(*(p.api.post(path) for p in people))
    assert sorted(a.status_code for a in answers) == [200, 404]


async def test_a_code_is_kept_to_answer_it_later(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    lp, second = await make_user("lp"), await make_user("second")
    taken = ok(
        await lp.api.post("/lp/enrolments", json={"code": desk.link["code"]}), 201
    )
    assert taken["status"] == "invited"
    refused(await second.api.get(f"/invitations/{desk.link['code']}"), 404)
    refused(await second.api.post(f"/lp/enrolments/{taken['id']}/accept"), 404)
    assert [row["id"] for row in await enrolments(lp)] == [taken["id"]]
    ok(await lp.api.post(f"/lp/enrolments/{taken['id']}/accept"))
    refused(await lp.api.post("/lp/enrolments", json={"code": "x"}), 404)


@pytest.mark.parametrize("by_link", [False, True])
async def test_at_most_20_wait_for_an_operator(
    make_user: MakeUser, make_wallet: MakeWallet, by_link: bool
) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)

    async def one(n: int) -> Any:
        if by_link:
            return await operator.api.post(f"/machines/{machine['id']}/invitations")
        body = {"machine_id": machine["id"], "username": f"nobody{n}"}
        return await operator.api.post("/clients", json=body)

    first = ok(await one(0), 201)
    for n in range(1, 20):
        ok(await one(n), 201)
    refused(await one(20), 409, "20")
    await make_late(first["id"])
    ok(await one(21), 201)
    refused(await one(22), 409, "20")


async def test_one_person_at_two_machines(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """Who said yes is a stranger no more; who left is one again."""
    operator, lp = await make_user("operator"), await make_user("lp")
    first, second = [await add_machine(operator, make_wallet) for _ in range(2)]
    client = await enrol(operator, lp, first["id"])
    await enrol(operator, lp, second["id"])
    body = {"machine_id": first["id"], "username": lp.username}
    refused(await operator.api.post("/clients", json=body), 409, "enrolled")
    ok(await lp.api.post(f"/lp/enrolments/{client['id']}/leave"))
    refused(await operator.api.post("/clients", json=body), 409, "14 days")


async def test_an_invitation_is_taken_back(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    stranger = await make_desk(make_user, make_wallet)
    machine = await add_machine(operator, make_wallet)
    client = await invite(operator, machine["id"], lp.username)
    path = f"/clients/{client['id']}"
    for user in (stranger.operator, stranger.lp, lp):
        refused(await user.api.get(path), 404)
        refused(await user.api.delete(path), 404)
        refused(await user.api.put(path, json={"status": "paused"}), 404)
    assert (await operator.api.delete(path)).status_code == 204
    assert await enrolments(lp) == []
    refused(await operator.api.get(path), 404)
    refused(await lp.api.post(f"/lp/enrolments/{client['id']}/accept"), 404)
    # they were told once; not again within 14 days
    body = {"machine_id": machine["id"], "username": lp.username}
    refused(await operator.api.post("/clients", json=body), 409, "14 days")


async def test_who_left_is_owed_and_comes_back_to_their_balance(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    path = f"/clients/{desk.client['id']}"
    refused(
        await desk.operator.api.post(f"/lp/enrolments/{desk.client['id']}/leave"), 404
    )
    left = ok(await desk.lp.api.post(f"/lp/enrolments/{desk.client['id']}/leave"))
    assert left["status"] == "left"
    refused(await desk.lp.api.post(f"/lp/enrolments/{left['id']}/leave"), 409)
    seen = ok(await desk.operator.api.get(path))
    assert (seen["status"], seen["remaining"]) == ("left", "300.00")
    assert ok(await desk.operator.api.put(path, json=seen)) == seen
    refused(await desk.operator.api.put(path, json={"status": "active"}), 409, "left")
    body = {"client_id": desk.client["id"], "amount": "1"}
    refused(await desk.operator.api.post("/deposits", json=body), 409, "left")
    code = desk.link["code"]
    back = ok(await desk.lp.api.post(f"/invitations/{code}/accept"))
    assert (back["id"], back["status"]) == (desk.client["id"], "active")
    seen = ok(await desk.operator.api.get(path))
    assert (seen["status"], seen["remaining"]) == ("active", "300.00")
    assert ok(await desk.operator.api.get("/clients"))["total"] == 1
    await add_deposit(desk.operator, desk.client["id"], "1.00")


async def test_enrolling_switches_a_disabled_extension_on_again(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    ok(await lp.core.put("/api/v1/extension/satmachineadmin/disable"))
    refused(await lp.api.get("/me"), 403)
    machine = await add_machine(operator, make_wallet)
    await invite(operator, machine["id"], lp.username)
    ok(await lp.api.get("/me"))


async def test_a_deleted_machine_takes_its_invitations_along(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    machine = await add_machine(operator, make_wallet)
    await invite(operator, machine["id"], lp.username)
    path = f"/machines/{machine['id']}"
    assert (await operator.api.delete(path)).status_code == 204
    assert await enrolments(lp) == []
