"""Machines over HTTP: registering, changing, deleting, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from api_world import (
    add_deposit,
    add_lp,
    add_machine,
    make_desk,
    ok,
    random_hex_key,
    refused,
)
from money_rows import add_settlement
from pynostr.key import PrivateKey, PublicKey

from conftest import Fund, MakeUser, MakeWallet
from dev.accounts import UserSession


async def test_a_new_machine_is_answered_whole(make_user, make_wallet, fund) -> None:
    operator = await make_user("operator")
    wallet = await make_wallet(operator)
    await fund(wallet.id, 12_345)
    key = random_hex_key()
    machine = ok(
        await operator.api.post(
            "/machines",
            json={
                "machine_npub": key,
                "wallet_id": wallet.id,
                "name": "<b>Café</b> 🏧",
                "location": "Quetzaltenango",
                "fiat_code": "gtq",
                "operator_cash_in_fee_fraction": 0.04,
                "operator_cash_out_fee_fraction": "0.05",
            },
        ),
        201,
    )
    assert machine["machine_npub"] == PublicKey.from_hex(key).npub
    assert machine["name"] == "<b>Café</b> 🏧"
    assert machine["fiat_code"] == "GTQ"
    assert machine["operator_cash_in_fee_fraction"] == "0.0400"
    assert machine["operator_cash_out_fee_fraction"] == "0.0500"
    assert machine["is_active"] is True
    assert machine["is_paired"] is False
    assert machine["balance_sats"] == machine["free_balance_sats"] == 12_345
    assert machine["status"] == "offline"
    assert machine["last_seen_at"] is None
    assert machine["created_at"].endswith("+00:00")
    assert ok(await operator.api.get(f"/machines/{machine['id']}")) == machine
    page = ok(await operator.api.get("/machines"))
    assert page == {"data": [machine], "total": 1}


async def test_the_super_sees_whose_machine_it_is_and_not_its_wallet(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    asked = f"/machines?scope=all&id={machine['id']}"
    seen = ok(await super_session.api.get(asked))["data"][0]
    wallet = machine["wallet_id"]
    assert seen == {
        **machine,
        "wallet_id": f"{wallet[:4]}…{wallet[-4:]}",
        "operator_name": operator.username,
    }
    assert machine["operator_name"] is None


async def test_what_was_read_can_be_sent_back(make_user, make_wallet) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    path = f"/machines/{machine['id']}"
    assert ok(await operator.api.put(path, json=machine)) == machine
    changed = {**machine, "name": "Elsewhere", "id": "x", "is_paired": True}
    after = ok(await operator.api.put(path, json=changed))
    assert after == {
        **machine,
        "name": "Elsewhere",
        "updated_at": after["updated_at"],
    }


async def test_a_put_changes_only_what_it_names(make_user, make_wallet) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet, location="Antigua")
    after = ok(
        await operator.api.put(
            f"/machines/{machine['id']}",
            json={
                "is_active": False,
                "payout_interval_minutes": "60",
                "min_payout_sats": 500,
                "location": None,
            },
        )
    )
    assert after["is_active"] is False
    assert after["payout_interval_minutes"] == 60
    assert after["min_payout_sats"] == 500
    assert after["location"] is None
    assert after["name"] == machine["name"]
    assert after["operator_cash_out_fee_fraction"] == "0.0500"


BAD_FIELDS: list[tuple[str, Any, str]] = [
    ("machine_npub", "npub1qqqqqq", "npub"),
    ("machine_npub", "ab" * 31, "npub"),
    ("machine_npub", 7, "machine_npub"),
    ("machine_npub", None, "machine_npub"),
    ("wallet_id", "no such wallet", "wallet"),
    ("wallet_id", "a\x00b", "NUL"),
    ("wallet_id", None, "wallet_id"),
    ("name", "\ud800", "character"),
    ("name", "x" * 121, "121"),
    ("name", ["a"], "text"),
    ("location", "a\x00", "NUL"),
    ("fiat_code", "QQQ", "currency"),
    ("fiat_code", "", "currency"),
    ("operator_cash_out_fee_fraction", "0.05001", "four decimal"),
    ("operator_cash_out_fee_fraction", 5, "percentage"),
    ("operator_cash_out_fee_fraction", "-0.01", "from 0 to 1"),
    ("operator_cash_out_fee_fraction", "NaN", "number"),
    ("operator_cash_out_fee_fraction", True, "number"),
    ("operator_cash_out_fee_fraction", 10**400, "from 0 to 1"),
    ("operator_cash_in_fee_fraction", None, "null"),
    ("is_active", "perhaps", "true or false"),
    ("payout_interval_minutes", -1, "from 0"),
    ("payout_interval_minutes", 1.5, "whole"),
    ("max_payout_sats", 10**30, "too large"),
    ("max_payout_sats", "1e3", "number"),
    ("max_daily_payout_sats", 2_100_000_000_000_001, "from 0"),
]


@pytest.mark.parametrize(("field", "value", "word"), BAD_FIELDS)
async def test_bad_input_is_one_sentence(
    make_user, make_wallet, field, value, word
) -> None:
    operator = await make_user("operator")
    wallet = await make_wallet(operator)
    body = {
        "machine_npub": random_hex_key(),
        "wallet_id": wallet.id,
        "fiat_code": "GTQ",
        field: value,
    }
    # json= would not send half a character
    refused(await post_json(operator, "/machines", body), 400, word)
    assert ok(await operator.api.get("/machines"))["total"] == 0


async def post_json(user: UserSession, path: str, body: Any) -> Any:
    import json

    return await user.api.post(
        path,
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "{}", "\xff"])
async def test_a_body_that_is_no_machine_is_one_sentence(make_user, content) -> None:
    operator = await make_user("operator")
    refused(
        await operator.api.post(
            "/machines",
            content=content.encode("latin-1"),
            headers={"Content-Type": "application/json"},
        ),
        400,
    )


async def test_a_secret_key_is_refused_and_not_repeated(
    make_user, make_wallet, capfd
) -> None:
    operator = await make_user("operator")
    nsec = PrivateKey().nsec
    wallet = await make_wallet(operator)
    for key in (nsec, nsec.upper(), f" nostr:{nsec} "):
        detail = refused(
            await operator.api.post(
                "/machines",
                json={"machine_npub": key, "wallet_id": wallet.id, "fiat_code": "GTQ"},
            ),
            400,
            "SECRET",
        )
        assert nsec[5:20] not in detail.lower()
    machine = await add_machine(operator, make_wallet)
    refused(
        await operator.api.put(
            f"/machines/{machine['id']}", json={"machine_npub": nsec}
        ),
        400,
        "SECRET",
    )
    out, err = capfd.readouterr()
    assert nsec[5:20] not in (out + err).lower()


async def test_an_npub_is_the_same_machine_in_either_form(
    make_user, make_wallet
) -> None:
    operator, other = await make_user("operator"), await make_user("other")
    key = random_hex_key()
    npub = PublicKey.from_hex(key).npub
    await add_machine(operator, make_wallet, machine_npub=npub)
    wallet = await make_wallet(operator)
    for same in (key, key.upper(), npub, npub.upper(), f"nostr:{npub}"):
        refused(
            await operator.api.post(
                "/machines",
                json={"machine_npub": same, "wallet_id": wallet.id, "fiat_code": "GTQ"},
            ),
            409,
            "npub",
        )
    assert ok(await other.api.get("/machines"))["total"] == 0


async def test_typing_an_npub_takes_nothing_from_anybody(
    make_user, make_wallet
) -> None:
    """Registering proves nothing: it was told apart by who came last, and the first
    one's machine, LPs and cassettes were gone."""
    squatter, owner = await make_user("squatter"), await make_user("owner")
    key = random_hex_key()
    first = await add_machine(squatter, make_wallet, machine_npub=key)
    await add_lp(squatter, first["id"], await make_user("lp"))
    second = await add_machine(owner, make_wallet, machine_npub=key)
    assert second["id"] != first["id"]
    assert second["machine_npub"] == f"waiting:{second['id']}"
    assert second["claimed_npub"] == first["claimed_npub"] == first["machine_npub"]
    assert ok(await squatter.api.get(f"/machines/{first['id']}")) == first
    assert ok(await squatter.api.get("/clients"))["total"] == 1
    path = f"/machines/{second['id']}"
    assert ok(await owner.api.put(path, json=second))["machine_npub"] == (
        second["machine_npub"]
    )
    wallet = await make_wallet(owner)
    again = {"machine_npub": key, "wallet_id": wallet.id, "fiat_code": "GTQ"}
    refused(await owner.api.post("/machines", json=again), 409, "already")
    again["machine_npub"] = "waiting:x"
    refused(await owner.api.post("/machines", json=again), 400, "own key")
    # given up, the key is the next one's
    new = {"machine_npub": random_hex_key()}
    moved = ok(await squatter.api.put(f"/machines/{first['id']}", json=new))
    assert moved["claimed_npub"] == moved["machine_npub"]
    assert ok(await owner.api.get(path))["machine_npub"] == first["machine_npub"]


async def test_at_most_20_registrations_that_never_traded(
    make_user, make_wallet
) -> None:
    operator = await make_user("operator")
    machines = [await add_machine(operator, make_wallet) for _ in range(20)]
    wallet = await make_wallet(operator)
    body = {
        "machine_npub": random_hex_key(),
        "wallet_id": wallet.id,
        "fiat_code": "GTQ",
    }
    refused(await operator.api.post("/machines", json=body), 409, "20")
    await add_settlement(machines[0])
    ok(await operator.api.post("/machines", json=body), 201)


async def test_47_the_wallet_must_be_an_ordinary_one_of_the_operators(
    make_user, make_wallet
) -> None:
    from lnbits.core.crud import create_wallet, delete_wallet
    from lnbits.core.models.wallets import WalletType

    operator, other = await make_user("operator"), await make_user("other")
    shared = await create_wallet(
        user_id=operator.user_id,
        wallet_name="shared",
        wallet_type=WalletType.LIGHTNING_SHARED,
        shared_wallet_id=other.wallet.id,
    )
    deleted = await make_wallet(operator)
    await delete_wallet(user_id=operator.user_id, wallet_id=deleted.id)
    machine = await add_machine(operator, make_wallet)
    for wallet_id, word in (
        (other.wallet.id, "not a wallet of yours"),
        (deleted.id, "not a wallet of yours"),
        (operator.wallet.adminkey, "not a wallet of yours"),
        (f"{operator.wallet.id}<b>", "not a wallet of yours"),
        (shared.id, "shared"),
    ):
        body = {"machine_npub": random_hex_key(), "fiat_code": "GTQ"}
        refused(
            await operator.api.post("/machines", json={**body, "wallet_id": wallet_id}),
            400,
            word,
        )
        refused(
            await operator.api.put(
                f"/machines/{machine['id']}", json={"wallet_id": wallet_id}
            ),
            400,
            word,
        )


async def test_one_wallet_serves_one_machine_for_good(make_user, make_wallet) -> None:
    operator = await make_user("operator")
    first = await add_machine(operator, make_wallet)
    new = await make_wallet(operator)
    ok(await operator.api.put(f"/machines/{first['id']}", json={"wallet_id": new.id}))
    second = await add_machine(operator, make_wallet)
    for taken in (first["wallet_id"], new.id):
        body = {"machine_npub": random_hex_key(), "fiat_code": "GTQ"}
        refused(
            await operator.api.post("/machines", json={**body, "wallet_id": taken}),
            409,
            "another machine",
        )
        refused(
            await operator.api.put(
                f"/machines/{second['id']}", json={"wallet_id": taken}
            ),
            409,
            "another machine",
        )
    # a machine may have its own old wallet back
    back = {"wallet_id": first["wallet_id"]}
    ok(await operator.api.put(f"/machines/{first['id']}", json=back))


async def test_33_the_wallet_stays_while_something_is_unpaid(
    make_user, make_wallet
) -> None:
    from money_rows import add_leg, add_settlement, set_status

    desk = await make_desk(make_user, make_wallet)
    path = f"/machines/{desk.machine['id']}"
    new = await make_wallet(desk.operator)
    settlement = await add_settlement(desk.machine, status="processing")
    refused(
        await desk.operator.api.put(path, json={"wallet_id": new.id}),
        409,
        "1 unfinished settlements",
    )
    await set_status("dca_settlements", settlement, "completed")
    leg = await add_leg(desk.machine, settlement, status="failed")
    refused(
        await desk.operator.api.put(path, json={"wallet_id": new.id}),
        409,
        "1 unpaid amounts",
    )
    await set_status("dca_payments", leg, "completed")
    after = ok(await desk.operator.api.put(path, json={"wallet_id": new.id}))
    assert after["wallet_id"] == new.id


async def test_the_currency_stays_once_there_is_money_history(
    make_user, make_wallet
) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    machine = await add_machine(operator, make_wallet)
    path = f"/machines/{machine['id']}"
    assert ok(await operator.api.put(path, json={"fiat_code": "USD"}))["fiat_code"] == (
        "USD"
    )
    client = await add_lp(operator, machine["id"], lp)
    await add_deposit(operator, client["id"], "1", status="pending")
    refused(await operator.api.put(path, json={"fiat_code": "GTQ"}), 409, "history")
    # the same again is no change
    ok(await operator.api.put(path, json={"fiat_code": "USD", "name": "x"}))


async def test_one_of_many_at_once_gets_the_wallet_and_the_npub(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator = await make_user("operator")
    wallet, key = await make_wallet(operator), random_hex_key()

    async def register(**fields: Any) -> int:
        body = {"machine_npub": random_hex_key(), "fiat_code": "GTQ", **fields}
        return (await operator.api.post("/machines", json=body)).status_code

    codes = await asyncio.gather(*(register(wallet_id=wallet.id) for _ in range(5)))
    assert sorted(codes) == [201, 409, 409, 409, 409]
    wallets = [await make_wallet(operator) for _ in range(5)]
    codes = await asyncio.gather(
        *(register(wallet_id=w.id, machine_npub=key) for w in wallets)
    )
    assert sorted(codes) == [201, 409, 409, 409, 409]


async def test_a_new_key_has_to_pair_again(make_user, make_wallet) -> None:
    from satmachineadmin.base.database import execute, transaction

    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_machines SET is_paired = :yes, "
            "pairing_code = 'code' WHERE id = :id",
            {"yes": True, "id": machine["id"]},
        )
    path = f"/machines/{machine['id']}"
    assert ok(await operator.api.get(path))["is_paired"] is True
    after = ok(await operator.api.put(path, json={"machine_npub": random_hex_key()}))
    assert after["is_paired"] is False
    assert after["machine_npub"] != machine["machine_npub"]


async def test_a_machine_without_history_can_be_deleted(make_user, make_wallet) -> None:
    operator, lp = await make_user("operator"), await make_user("lp")
    machine = await add_machine(operator, make_wallet)
    client = await add_lp(operator, machine["id"], lp)
    path = f"/machines/{machine['id']}"
    response = await operator.api.delete(path)
    assert response.status_code == 204 and not response.content
    refused(await operator.api.get(path), 404)
    refused(await operator.api.delete(path), 404)
    refused(await operator.api.get(f"/clients/{client['id']}"), 404)
    # its wallet is free again
    await add_machine(operator, make_wallet, wallet_id=machine["wallet_id"])


async def test_14_a_machine_with_history_is_switched_off_not_deleted(
    make_user, make_wallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    path = f"/machines/{desk.machine['id']}"
    refused(await desk.operator.api.delete(path), 409, "Switch it off")
    ok(await desk.operator.api.put(path, json={"is_active": False}))


async def test_every_change_is_in_the_log(
    make_user: MakeUser, make_wallet: MakeWallet, fund: Fund
) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    path = f"/machines/{machine['id']}"
    ok(await operator.api.put(path, json={"name": "B"}))
    ok(await operator.api.put(path, json={"name": "B"}))
    await operator.api.delete(path)
    log = ok(await operator.api.get(f"/audit?subject_id={machine['id']}"))["data"]
    assert [e["action"] for e in log] == [
        "machine.delete",
        "machine.change",
        "machine.create",
    ]
    assert {e["actor"] for e in log} == {operator.user_id}
    assert log[1]["before"] == {"name": "Corner shop"}
    assert log[1]["after"] == {"name": "B"}
    assert log[2]["after"]["operator_cash_out_fee_fraction"] == "0.0500"
