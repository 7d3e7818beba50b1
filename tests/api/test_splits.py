"""Commission splits over HTTP: sets that add up, targets that exist, and a preview."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import Desk, add_machine, make_desk, ok, refused
from money_rows import add_settlement

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

EMPTY: dict[str, Any] = {"splits": []}


def split(target: str, fraction: Any, **more: Any) -> dict[str, Any]:
    return {"target": target, "fraction": fraction, **more}


async def test_defaults_and_an_override(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, partner = await make_user("operator"), await make_user("partner")
    machine = await add_machine(operator, make_wallet)
    own = f"/machines/{machine['id']}/splits"
    assert ok(await operator.api.get("/splits")) == EMPTY
    assert ok(await operator.api.get(own)) == EMPTY
    body = {
        "splits": [
            split(f" {operator.wallet.id.upper()} ", "0.6", label="me <b>"),
            split("lightning:BOB@Example.com", 0.4, label="Bob", sort_order=-1),
        ]
    }
    saved = ok(await operator.api.put("/splits", json=body))
    assert [(s["target"], s["fraction"], s["label"]) for s in saved["splits"]] == [
        ("bob@example.com", "0.4000", "Bob"),
        (operator.wallet.id, "0.6000", "me <b>"),
    ]
    read = ok(await operator.api.get("/splits"))
    assert read == saved
    assert [s["target_kind"] for s in read["splits"]] == ["address", "wallet"]
    # what was read can be sent back
    again = ok(await operator.api.put("/splits", json=read))
    assert [s["target"] for s in again["splits"]] == [
        s["target"] for s in read["splits"]
    ]
    override = {"splits": [split(partner.wallet.inkey, 1)]}
    saved = ok(await operator.api.put(own, json=override))
    assert saved["splits"][0]["target_kind"] == "key"
    assert len(ok(await operator.api.get("/splits"))["splits"]) == 2
    assert (await operator.api.delete(own)).status_code == 204
    assert ok(await operator.api.get(own)) == EMPTY
    refused(await operator.api.delete(own), 404)
    refused(await operator.api.put(own, json=EMPTY), 400, "DELETE")
    assert ok(await operator.api.put("/splits", json=EMPTY)) == EMPTY
    log = ok(await operator.api.get("/audit?subject_type=splits"))["data"]
    assert len(log) == 5
    assert partner.wallet.inkey not in str(log)


BAD_SETS: list[tuple[list[Any], str]] = [
    ([("me", "0.9999")], "0.9999"),
    ([("me", "1.0001")], "percentage"),
    ([("me", "0.5"), ("a@b.com", "0.6")], "1.1000"),
    ([("me", "1"), ("a@b.com", "0")], "more than 0"),
    ([("me", "0.33333")], "four decimal"),
    ([("a@b.com", "0.5"), ("A@B.com", "0.5")], "same"),
    ([("me", "0.5"), ("my key", "0.5")], "same"),
    ([("my admin key", "1")], "admin key"),
    ([("nobody's", "1")], "no Lightning address"),
    ([("lnurl1qqq", "1")], "LNURL"),
    ([("", "1")], "empty"),
    ([("a\x00@b.com", "1")], "NUL"),
    ([("x" * 3000, "1")], "3000"),
    ([("me", None)], "fraction"),
    ([(None, "1")], "target"),
]


@pytest.mark.parametrize(("targets", "word"), BAD_SETS)
async def test_17_47_a_bad_set_leaves_the_old_one(
    make_user: MakeUser, make_wallet: MakeWallet, targets: list[Any], word: str
) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    real = {
        "me": operator.wallet.id,
        "my key": operator.wallet.inkey,
        "my admin key": operator.wallet.adminkey,
    }
    body = {"splits": [split(real.get(t, t), f) for t, f in targets]}
    for path in ("/splits", f"/machines/{machine['id']}/splits"):
        good = {"splits": [split("keep@example.com", "1")]}
        ok(await operator.api.put(path, json=good))
        answer = await operator.api.put(path, json=body)
        refused(answer, 400, word)
        assert operator.wallet.adminkey not in answer.text
        kept = ok(await operator.api.get(path))["splits"]
        assert [s["target"] for s in kept] == ["keep@example.com"]


@pytest.mark.parametrize("body", [[], None, {}, {"splits": {}}, {"splits": [1]}])
async def test_no_set_at_all(make_user: MakeUser, body: Any) -> None:
    operator = await make_user("operator")
    refused(await operator.api.put("/splits", json=body), 400)


async def test_too_many_splits(make_user: MakeUser) -> None:
    operator = await make_user("operator")
    body = {"splits": [split(f"a{n}@b.com", "0.0001") for n in range(101)]}
    refused(await operator.api.put("/splits", json=body), 400, "100")


# ---------------------------------------------------------------------------- preview


async def _desk_with_fees(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> Desk:
    desk = await make_desk(make_user, make_wallet)
    body = {
        "splits": [
            split("one@example.com", "0.6", label="One"),
            split(desk.operator.wallet.id, "0.4", label="Two"),
        ]
    }
    ok(await desk.operator.api.put("/splits", json=body))
    return desk


async def test_a_preview_is_the_plan_that_would_be_made(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await _desk_with_fees(make_user, make_wallet, super_session)
    config = ok(await super_session.api.get("/super/config"))
    platform = round(float(config["super_cash_out_fee_fraction"]) * 100_000)
    asked = {
        "machine_id": desk.machine["id"],
        "tx_type": "cash_out",
        "principal_sats": "100000",
    }
    shown = ok(await desk.operator.api.post("/splits/preview", json=asked))
    assert shown["platform_fee_sats"] == platform
    assert shown["operator_fee_sats"] == 5_000
    assert shown["wire_sats"] == 105_000 + platform
    assert shown["exchange_rate"] is None
    assert shown["fiat_amount"] is None
    legs = [x for x in shown["legs"] if x["leg_type"] != "super_fee"]
    assert [(x["leg_type"], x["label"], x["amount_sats"]) for x in legs] == [
        ("operator_split", "One", 3_000),
        ("operator_split", "Two", 2_000),
        ("dca", None, 100_000),
    ]
    await add_settlement(desk.machine, exchange_rate=200.0, fiat_amount="500.00")
    shown = ok(await desk.operator.api.post("/splits/preview", json=asked))
    assert shown["exchange_rate"] == 200.0
    assert shown["fiat_amount"] == "500.00"
    dca = shown["legs"][-1]
    # the LP has 300.00 of the 500.00; for the rest the operator's cash would go
    assert (dca["amount_sats"], dca["amount_fiat"]) == (60_000, "300.00")
    assert dca["client_id"] == desk.client["id"]
    assert shown["retained_sats"] == 40_000


async def test_a_preview_of_cash_in_and_of_splits_not_saved(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await _desk_with_fees(make_user, make_wallet, super_session)
    machine = f"/machines/{desk.machine['id']}"
    ok(
        await desk.operator.api.put(
            machine, json={"operator_cash_in_fee_fraction": "0.1"}
        )
    )
    asked = {
        "machine_id": desk.machine["id"],
        "tx_type": "cash_in",
        "principal_sats": 1_000,
        "splits": [{"label": "all", "fraction": "1"}],
    }
    shown = ok(await desk.operator.api.post("/splits/preview", json=asked))
    assert shown["wire_sats"] == 1_000 - shown["fee_sats"]
    assert [x["leg_type"] for x in shown["legs"]].count("dca") == 0
    last = shown["legs"][-1]
    assert (last["label"], last["amount_sats"]) == ("all", 100)
    asked["splits"] = [{"fraction": "0.9"}]
    refused(await desk.operator.api.post("/splits/preview", json=asked), 400, "0.9000")


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"principal_sats": 0}, 400, "from 1"),
        ({"principal_sats": 1.5}, 400, "whole"),
        ({"principal_sats": 10**20}, 400, "large"),
        ({"tx_type": "gift"}, 400, "cash_out"),
        ({"machine_id": "nobody's"}, 404, "machine"),
    ],
)
async def test_previews_that_are_refused(
    make_user: MakeUser,
    make_wallet: MakeWallet,
    change: dict[str, Any],
    status: int,
    word: str,
) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    body = {
        "machine_id": machine["id"],
        "tx_type": "cash_out",
        "principal_sats": 1,
        **change,
    }
    refused(await operator.api.post("/splits/preview", json=body), status, word)


async def test_a_preview_at_both_ends(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    for principal in (1, 2_100_000_000_000_000):
        for tx_type in ("cash_out", "cash_in"):
            body = {
                "machine_id": desk.machine["id"],
                "tx_type": tx_type,
                "principal_sats": principal,
            }
            shown = ok(await desk.operator.api.post("/splits/preview", json=body))
            assert shown["principal_sats"] == principal
