"""LPs and deposits as their operator, and the super, may change them over HTTP."""

from __future__ import annotations

import asyncio
import csv
import io
from decimal import Decimal
from typing import Any

import pytest
from api_world import add_deposit, add_lp, add_machine, make_desk, ok, refused
from lnbits.core.models import Account
from money_rows import add_leg

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession, enrol

# ---------------------------------------------------------------------------- clients


async def test_nobody_sees_an_lps_user_id(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    client_id = desk.client["id"]
    for user in (desk.operator, super_session):
        scope = "" if user is desk.operator else "?scope=all&limit=1000"
        for path in ("/clients", "/deposits", "/machines", "/audit", "/payments"):
            assert desk.lp.user_id not in (await user.api.get(path + scope)).text
        for path in ("/deposits.csv", "/audit.csv", "/payments.csv"):
            assert desk.lp.user_id not in (await user.api.get(path + scope)).text
    for path in (f"/clients/{client_id}", f"/clients/{client_id}/balance"):
        assert desk.lp.user_id not in (await desk.operator.api.get(path)).text
    # nor is the operator's, whose id is a login too
    for path in ("/lp/deposits", "/lp/payments", "/lp/summary", "/audit"):
        assert desk.operator.user_id not in (await desk.lp.api.get(path)).text


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 400, "username"),
        ({"user_id": "0" * 32}, 400, "username"),
        ({"username": ""}, 400, "username"),
        ({"username": "a\x00"}, 400, "NUL"),
        ({"username": ["x"]}, 400, "text"),
        ({"username": "x", "machine_id": "nobody's"}, 404, "machine"),
        ({"username": "x", "machine_id": None}, 400, "machine_id"),
    ],
)
async def test_invitations_that_are_refused(
    make_user: MakeUser,
    make_wallet: MakeWallet,
    body: dict[str, Any],
    status: int,
    word: str,
) -> None:
    """By name only: an id is a login."""
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    body = {"machine_id": machine["id"], **body}
    refused(await operator.api.post("/clients", json=body), status, word)


async def test_one_lp_at_two_machines_is_one_person(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """To their operator; what they are elsewhere is nobody's to know here."""
    desk = await make_desk(make_user, make_wallet)
    api = desk.operator.api
    second = await add_machine(desk.operator, make_wallet)
    again = await enrol(desk.operator, desk.lp, second["id"])
    stranger = await make_user("stranger")
    at_strangers = await add_machine(stranger, make_wallet)
    elsewhere = await enrol(stranger, desk.lp, at_strangers["id"])
    other = await make_user("other")
    ok(await other.api.post("/lp", json={"dca_wallet_id": other.wallet.id}), 201)
    alone = await enrol(desk.operator, other, second["id"])
    name = {"machine_id": second["id"], "username": "nobody-yet"}
    invited = ok(await api.post("/clients", json=name), 201)
    rows = {row["id"]: row for row in ok(await api.get("/clients"))["data"]}
    both = {desk.client["id"], again["id"]}
    assert {rows[one]["person"] for one in both} == {desk.client["id"]}
    assert {rows[one]["person_machines"] for one in both} == {2}
    for one, count in ((alone["id"], 1), (invited["id"], 0)):
        assert rows[one]["person"] == one
        assert rows[one]["person_machines"] == count
    asked = {"person": desk.client["id"]}
    found = ok(await api.get("/clients", params=asked))
    assert {row["id"] for row in found["data"]} == both and found["total"] == 2
    theirs = ok(await stranger.api.get(f"/clients/{elsewhere['id']}"))
    assert (theirs["person"], theirs["person_machines"]) == (elsewhere["id"], 1)


async def test_an_lp_is_paused_and_renamed(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    path = f"/clients/{desk.client['id']}"
    paused = ok(await desk.operator.api.put(path, json={"status": "paused"}))
    assert paused["status"] == "paused"
    assert paused["remaining"] == "300.00"
    named = ok(await desk.operator.api.put(path, json={"username": "<i>Doña Ana</i>"}))
    assert (named["username"], named["status"]) == ("<i>Doña Ana</i>", "paused")
    assert ok(await desk.operator.api.put(path, json=named)) == named
    refused(await desk.operator.api.put(path, json={"status": "gone"}), 400, "active")
    refused(await desk.operator.api.put(path, json={"status": None}), 400, "null")
    log = ok(await desk.operator.api.get("/audit?subject_type=client"))["data"]
    assert [e["action"] for e in log] == [
        "client.change",
        "client.change",
        "client.invite",  # the desk's link
        "client.accept",
        "client.invite",
    ]
    assert log[1]["before"] == {"status": "active"}


async def test_14_an_lp_with_money_history_stays(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    path = f"/clients/{desk.client['id']}"
    refused(await desk.operator.api.delete(path), 409, "history")
    fresh = await make_user("fresh")
    client = await add_lp(desk.operator, desk.machine["id"], fresh)
    path = f"/clients/{client['id']}"
    assert (await desk.operator.api.delete(path)).status_code == 204
    refused(await desk.operator.api.get(path), 404)
    # and may be enrolled again
    await add_lp(desk.operator, desk.machine["id"], fresh)


async def test_a_balance_counts_what_is_owed_and_not_what_was_given_back(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    await add_deposit(desk.operator, desk.client["id"], "55.5", status="pending")
    for status, sats, fiat, kind in (
        ("completed", 1_000, "10.00", "dca"),
        ("skipped", 2_000, "20.00", "dca"),
        ("pending", 4_000, "40.00", "dca"),
        ("failed", 8_000, "80.00", "dca"),
        ("voided", 16_000, "99.00", "dca"),
        ("refunded", 32_000, "99.00", "dca"),
        ("completed", 64_000, "0.55", "settlement"),
        ("completed", 128_000, None, "autoforward"),
    ):
        await add_leg(
            desk.machine,
            None,
            status=status,
            amount_sats=sats,
            amount_fiat=fiat,
            leg_type=kind,
            client_id=desk.client["id"],
        )
    path = f"/clients/{desk.client['id']}"
    await _settle_totals(desk.client["id"])
    assert ok(await desk.operator.api.get(f"{path}/balance")) == {
        "currency": "GTQ",
        "deposited": "300.00",
        "pending_deposits": "55.50",
        "paid_out": "150.55",
        "remaining": "149.45",
        "sats_received": 67_000,
        "sats_on_the_way": 12_000,
    }
    client = ok(await desk.operator.api.get(path))
    assert client["remaining"] == "149.45"
    assert (client["sats_received"], client["sats_on_the_way"]) == (67_000, 12_000)
    assert client["dca_mode"] == "flow"
    summary = ok(await desk.lp.api.get("/lp/summary"))
    assert summary == [
        {
            "client_id": desk.client["id"],
            "machine_id": desk.machine["id"],
            "machine": "Corner shop",
            "status": "active",
            "currency": "GTQ",
            "remaining": "149.45",
            "deposited": "300.00",
            "paid_out": "150.55",
            "sats_received": 67_000,
            "sats_on_the_way": 12_000,
            # 30.55 GTQ for 67 000 sat
            "average_price": 45_597.01,
            # what the tests let LNbits believe: 133.3333 sat for a quetzal
            "price_now": 750_000.19,
            "price_at": summary[0]["price_at"],
            "price_is_asked": False,
            "limit_today": None,
            # how this machine's payments are looked at
            "price_check": True,
            "market_factor": "1.0000",
            "allow_stamped_invoices": False,
            "shows_coverage": False,
            "coverage": None,
        }
    ]


async def _settle_totals(client_id: str) -> None:
    """Voided and refunded legs gave their fiat back; these rows were born so."""
    from satmachineadmin.base.database import transaction
    from satmachineadmin.crud import add_debits

    async with transaction() as conn:
        await add_debits(conn, {client_id: -19_800})


# --------------------------------------------------------------------------- deposits


async def test_a_deposit_from_recording_to_reversal(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    api, client_id = desk.operator.api, desk.client["id"]
    deposit = ok(
        await api.post(
            "/deposits",
            json={
                "client_id": client_id,
                "amount": 100.1,
                "notes": "=1+1 <b>",
                "currency": "USD",
                "status": "confirmed",
            },
        ),
        201,
    )
    assert deposit == {
        "id": deposit["id"],
        "client_id": client_id,
        "machine_id": desk.machine["id"],
        "username": desk.lp.username,
        "amount": "100.10",
        "currency": "GTQ",
        "status": "pending",
        "notes": "=1+1 <b>",
        "reason": None,
        "created_at": deposit["created_at"],
        "confirmed_at": None,
        "reversed_at": None,
        "dispute": None,
        "reversal": None,
        "part_of": None,
    }
    path = f"/deposits/{deposit['id']}"
    assert (await _remaining(api, client_id)) == "300.00"
    changed = ok(await api.put(path, json={**deposit, "amount": "50.05"}))
    assert (changed["amount"], changed["status"]) == ("50.05", "pending")
    confirmed = ok(await api.put(f"{path}/status", json={"status": "confirmed"}))
    assert confirmed["status"] == "confirmed"
    assert confirmed["confirmed_at"] >= deposit["created_at"]
    assert (await _remaining(api, client_id)) == "350.05"
    assert await _booked(api) == ("350.05", "350.05")
    refused(await api.put(path, json={"amount": 1}), 409, "pending")
    refused(await api.put(f"{path}/status", json={"status": "reversed"}), 400, "reason")
    reversed_ = ok(
        await api.put(
            f"{path}/status", json={"status": "reversed", "reason": "counted twice"}
        )
    )
    assert (reversed_["status"], reversed_["reason"]) == ("reversed", "counted twice")
    assert (await _remaining(api, client_id)) == "300.00"
    # the rows add up to what was ever written down, the books to what there is
    assert await _booked(api) == ("350.05", "300.00")
    seen = ok(await desk.lp.api.get("/lp/deposits"))
    assert seen["total"] == 2
    assert seen["data"][0] == reversed_
    log = ok(await api.get(f"/audit?subject_id={deposit['id']}"))["data"]
    assert [e["action"] for e in log] == [
        "deposit.reversed",
        "deposit.confirmed",
        "deposit.change",
        "deposit.create",
    ]
    assert log[0]["reason"] == "counted twice"


async def _booked(api: Any) -> tuple[str, str]:
    """What the list's rows and what their entries add up to; the file says the same."""
    (total,) = ok(await api.get("/deposits?totals=true"))["totals"]
    text = (await api.get("/deposits.csv")).text
    lines = list(csv.DictReader(io.StringIO(text)))
    booked = sum(Decimal(x["booked_amount"]) for x in lines)
    assert booked == Decimal(total["booked_amount"])
    return total["amount"], total["booked_amount"]


async def _remaining(api: Any, client_id: str) -> str:
    return ok(await api.get(f"/clients/{client_id}/balance"))["remaining"]


STEPS = ("pending", "confirmed", "cancelled", "reversed")


@pytest.mark.parametrize("present", STEPS)
@pytest.mark.parametrize("wanted", STEPS)
async def test_a_deposit_goes_only_where_it_may(
    make_user: MakeUser, make_wallet: MakeWallet, present: str, wanted: str
) -> None:
    desk = await make_desk(make_user, make_wallet)
    api = desk.operator.api
    deposit = await add_deposit(desk.operator, desk.client["id"], "1", "pending")
    path = f"/deposits/{deposit['id']}/status"
    way = {"pending": [], "reversed": ["confirmed", "reversed"]}.get(present, [present])
    for step in way:
        ok(await api.put(path, json={"status": step, "reason": "test"}))
    answer = await api.put(path, json={"status": wanted, "reason": "test"})
    if wanted == "pending":
        refused(answer, 400, "confirmed")
    elif (present, wanted) in {
        ("pending", "confirmed"),
        ("pending", "cancelled"),
        ("confirmed", "reversed"),
    }:
        assert ok(answer)["status"] == wanted
    else:
        refused(answer, 409, present)


@pytest.mark.parametrize(
    ("amount", "word"),
    [
        (0, "more than 0"),
        ("0.00", "more than 0"),
        (-1, "more than 0"),
        ("-0.01", "more than 0"),
        ("0.001", "two decimal"),
        (1e15, "most"),
        ("1e3", "number"),
        ("NaN", "number"),
        ("Infinity", "number"),
        ("", "number"),
        (None, "amount"),
        (True, "number"),
        ([], "number"),
        (10**1000, "most"),
    ],
)
async def test_13_amounts_that_are_refused(
    make_user: MakeUser, make_wallet: MakeWallet, amount: Any, word: str
) -> None:
    desk = await make_desk(make_user, make_wallet)
    body = {"client_id": desk.client["id"], "amount": amount}
    refused(await desk.operator.api.post("/deposits", json=body), 400, word)
    pending = await add_deposit(desk.operator, desk.client["id"], "5", "pending")
    path = f"/deposits/{pending['id']}"
    refused(await desk.operator.api.put(path, json={"amount": amount}), 400, word)


async def test_no_deposit_for_an_lp_who_has_chosen_no_wallet(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    machine = await add_machine(operator, make_wallet)
    client = await enrol(operator, lp, machine["id"])
    body = {"client_id": client["id"], "amount": "10"}
    refused(await operator.api.post("/deposits", json=body), 409, "wallet")


async def test_10_a_reversal_never_takes_a_balance_below_zero(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    await add_leg(
        desk.machine,
        None,
        amount_fiat="0.01",
        status="pending",
        client_id=desk.client["id"],
    )
    path = f"/deposits/{desk.deposit['id']}/status"
    body = {"status": "reversed", "reason": "a mistake"}
    refused(await desk.operator.api.put(path, json=body), 409, "299.99")
    await add_deposit(desk.operator, desk.client["id"], "0.01")
    # a leg was planned from it: it takes the LP's yes
    ok(await desk.operator.api.put(path, json=body))
    assert await _remaining(desk.operator.api, desk.client["id"]) == "300.00"
    ok(await desk.lp.api.post(f"/lp/deposits/{desk.deposit['id']}/accept-reversal"))
    assert await _remaining(desk.operator.api, desk.client["id"]) == "0.00"


async def test_two_at_once_confirm_a_deposit_once(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    deposit = await add_deposit(desk.operator, desk.client["id"], "7", "pending")
    path = f"/deposits/{deposit['id']}/status"
    answers = await asyncio.gather(
        *(
            user.api.put(path, json={"status": status})
            for user in (desk.operator, super_session)
            for status in ("confirmed", "cancelled")
        )
    )
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409]
    log = ok(await desk.operator.api.get(f"/audit?subject_id={deposit['id']}"))["data"]
    assert len(log) == 2


async def test_the_super_acts_on_deposits_of_any_machine(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    deposit = await add_deposit(super_session, desk.client["id"], "20", "pending")
    path = f"/deposits/{deposit['id']}"
    ok(await super_session.api.put(path, json={"amount": 21}))
    ok(await super_session.api.put(f"{path}/status", json={"status": "confirmed"}))
    assert await _remaining(desk.operator.api, desk.client["id"]) == "321.00"
    log = ok(await desk.operator.api.get(f"/audit?subject_id={deposit['id']}"))["data"]
    assert {e["actor"] for e in log} == {"super"}
    own = ok(await super_session.api.get(f"/deposits?id={deposit['id']}"))
    assert own["total"] == 0
    every = ok(await super_session.api.get(f"/deposits?scope=all&id={deposit['id']}"))
    assert every["total"] == 1


async def test_the_super_without_a_password_has_no_right_of_the_supers(
    make_user: MakeUser,
    make_wallet: MakeWallet,
    super_session: UserSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = await make_desk(make_user, make_wallet)
    deposit = await add_deposit(desk.operator, desk.client["id"], "20", "pending")
    monkeypatch.setattr(Account, "has_password", property(lambda _: False))
    api, path = super_session.api, f"/deposits/{deposit['id']}"
    body: dict[str, Any] = {"client_id": desk.client["id"], "amount": "20"}
    refused(await api.post("/deposits", json=body), 404)
    refused(await api.put(path, json={"amount": 21}), 404)
    refused(await api.put(f"{path}/status", json={"status": "confirmed"}), 404)
    refused(await api.get("/deposits?scope=all"), 403)
    assert ok(await api.get("/me"))["super"] is False
