"""An LP's own side over HTTP: onboarding, preferences, what they received."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import Desk, add_lp, add_machine, make_desk, ok, refused
from money_rows import add_leg, ago

from conftest import MakeUser, MakeWallet


async def test_onboarding_is_open_to_anybody(make_user: MakeUser) -> None:
    lp = await make_user("lp")
    refused(await lp.api.get("/lp"), 404, "wallet")
    refused(await lp.api.put("/lp", json={}), 404, "wallet")
    profile = ok(
        await lp.api.post(
            "/lp",
            json={
                "dca_wallet_id": lp.wallet.id,
                "default_dca_mode": "fixed",
                "fixed_mode_daily_limit": 50,
                "autoforward_ln_address": " Alice@Example.COM ",
                "autoforward_enabled": True,
            },
        ),
        201,
    )
    assert profile == {
        "dca_wallet_id": lp.wallet.id,
        "default_dca_mode": "fixed",
        "fixed_mode_daily_limit": "50.00",
        "autoforward_ln_address": "alice@example.com",
        "autoforward_enabled": True,
        "notify_payouts": False,
        "created_at": profile["created_at"],
        "updated_at": profile["updated_at"],
    }
    refused(
        await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 409, "PUT /lp"
    )
    assert ok(await lp.api.put("/lp", json=profile)) == profile


async def test_the_defaults_of_a_profile(make_user: MakeUser) -> None:
    lp = await make_user("lp")
    ok(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 201)
    profile = ok(await lp.api.get("/lp"))
    assert profile["default_dca_mode"] == "flow"
    assert profile["fixed_mode_daily_limit"] is None
    assert profile["autoforward_enabled"] is False


async def test_a_put_changes_only_what_it_names(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    lp = await make_user("lp")
    ok(
        await lp.api.post(
            "/lp",
            json={
                "dca_wallet_id": lp.wallet.id,
                "default_dca_mode": "fixed",
                "fixed_mode_daily_limit": "12.34",
            },
        ),
        201,
    )
    other = await make_wallet(lp)
    after = ok(await lp.api.put("/lp", json={"dca_wallet_id": other.id}))
    assert after["dca_wallet_id"] == other.id
    assert after["fixed_mode_daily_limit"] == "12.34"
    after = ok(await lp.api.put("/lp", json={"fixed_mode_daily_limit": None}))
    assert after["fixed_mode_daily_limit"] is None
    assert after["default_dca_mode"] == "fixed"
    log = ok(await lp.api.get("/audit"))["data"]
    assert [e["action"] for e in log] == ["lp.change", "lp.change", "lp.create"]
    assert log[0]["before"] == {"fixed_mode_daily_limit": "12.34"}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"dca_wallet_id": None}, "dca_wallet_id"),
        ({"dca_wallet_id": "nobody's"}, "not a wallet of yours"),
        ({"dca_wallet_id": "\x00"}, "NUL"),
        ({"default_dca_mode": "all in"}, "flow, fixed"),
        ({"fixed_mode_daily_limit": 0}, "more than 0"),
        ({"fixed_mode_daily_limit": "1.005"}, "two decimal"),
        ({"autoforward_ln_address": "nobody"}, "Lightning address"),
        ({"autoforward_ln_address": "a@b@c.com"}, "Lightning address"),
        ({"autoforward_ln_address": "a\x00@b.com"}, "NUL"),
        ({"autoforward_enabled": True}, "autoforward_ln_address"),
        ({"autoforward_enabled": "maybe"}, "true or false"),
    ],
)
async def test_bad_preferences(
    make_user: MakeUser, body: dict[str, Any], word: str
) -> None:
    lp = await make_user("lp")
    first = {"dca_wallet_id": lp.wallet.id}
    refused(await lp.api.post("/lp", json={**first, **body}), 400, word)
    refused(await lp.api.get("/lp"), 404)
    ok(await lp.api.post("/lp", json=first), 201)
    refused(await lp.api.put("/lp", json=body), 400, word)


async def test_the_address_stays_while_forwarding_is_on(make_user: MakeUser) -> None:
    lp = await make_user("lp")
    body = {
        "dca_wallet_id": lp.wallet.id,
        "autoforward_ln_address": "a@b.com",
        "autoforward_enabled": True,
    }
    ok(await lp.api.post("/lp", json=body), 201)
    gone = {"autoforward_ln_address": None}
    refused(await lp.api.put("/lp", json=gone), 400, "autoforward_ln_address")
    ok(await lp.api.put("/lp", json={**gone, "autoforward_enabled": False}))


async def test_the_wallet_must_be_the_lps(make_user: MakeUser) -> None:
    lp, other = await make_user("lp"), await make_user("other")
    body = {"dca_wallet_id": other.wallet.id}
    refused(await lp.api.post("/lp", json=body), 400, "not a wallet of yours")


async def test_a_row_of_the_companion_extension_that_makes_no_sense(
    make_user: MakeUser, database: str
) -> None:
    """The companion writes `dca_lp` too, and SQLite keeps any text in any column."""
    from satmachineadmin.base.database import execute, transaction

    lp = await make_user("lp")
    limit = "'a lot'" if database == "sqlite" else "-5"
    async with transaction() as conn:
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_lp (user_id, dca_wallet_id, "
            "default_dca_mode, fixed_mode_daily_limit) "
            f"VALUES (:user, '', 'whatever', {limit})",
            {"user": lp.user_id},
        )
    profile = ok(await lp.api.get("/lp"))
    assert profile["default_dca_mode"] == "whatever"
    mended = ok(
        await lp.api.put(
            "/lp",
            json={
                "dca_wallet_id": lp.wallet.id,
                "default_dca_mode": "flow",
                "fixed_mode_daily_limit": None,
            },
        )
    )
    assert mended["dca_wallet_id"] == lp.wallet.id


async def test_an_lp_sees_their_own_legs_and_forwards_only(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    other = await make_user("other")
    other_client = await add_lp(desk.operator, desk.machine["id"], other)
    own = {"client_id": desk.client["id"], "destination_wallet_id": desk.lp.wallet.id}
    dca = await add_leg(desk.machine, None, amount_fiat="10.00", **own)
    forward = await add_leg(
        desk.machine,
        None,
        leg_type="autoforward",
        client_id=desk.client["id"],
        destination_ln_address="alice@example.com",
        parent_leg_id=dca,
    )
    await add_leg(desk.machine, None, client_id=other_client["id"])
    await add_leg(desk.machine, None, leg_type="super_fee")
    seen = ok(await desk.lp.api.get("/lp/payments?sortby=created_at&direction=asc"))
    assert [leg["id"] for leg in seen["data"]] == [dca, forward]
    assert seen["data"][0]["destination_wallet_id"] == desk.lp.wallet.id
    assert seen["data"][1]["destination_ln_address"] == "alice@example.com"
    # the operator sees neither the forward nor the whole wallet id
    legs = ok(await desk.operator.api.get("/payments"))["data"]
    assert forward not in [leg["id"] for leg in legs]
    shown = next(leg for leg in legs if leg["id"] == dca)["destination_wallet_id"]
    wallet = desk.lp.wallet.id
    assert shown == f"{wallet[:4]}…{wallet[-4:]}"
    # and learns nothing of it by filtering either
    for query in (
        f"destination_wallet_id={wallet}",
        f"destination_wallet_id[like]={wallet[8:20]}",
        f"search={wallet}",
    ):
        assert ok(await desk.operator.api.get(f"/payments?{query}"))["total"] == 0


async def test_history_by_day_and_currency(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    dollars = await _at_second_machine(desk, make_wallet)
    now = ago(seconds=0)
    for days, sats, fiat in ((40, 1_000, "1.00"), (2, 2_000, "4.00"), (2, 500, "1.00")):
        await add_leg(
            desk.machine,
            None,
            client_id=desk.client["id"],
            amount_sats=sats,
            amount_fiat=fiat,
            transaction_time=ago(days=days),
        )
    for status in ("completed", "skipped", "pending", "voided"):
        await add_leg(
            dollars[0],
            None,
            client_id=dollars[1]["id"],
            amount_fiat="2.00",
            status=status,
            transaction_time=now,
        )
    answer = ok(await desk.lp.api.get("/lp/history?range=30d"))
    assert answer == [
        {
            "date": ago(days=2).date().isoformat(),
            "currency": "GTQ",
            "sats": 2_500,
            "fiat": "5.00",
            "price": 200_000.0,
            "cumulative_sats": 3_500,
        },
        {
            "date": now.date().isoformat(),
            "currency": "USD",
            "sats": 2_000,
            "fiat": "4.00",
            "price": 200_000.0,
            "cumulative_sats": 5_500,
        },
    ]
    assert len(ok(await desk.lp.api.get("/lp/history?range=all"))) == 3
    assert len(ok(await desk.lp.api.get("/lp/history?range=1d"))) == 1
    for bad in ("", "d", "0d", "-1d", "9999d", "30", "x", "1\u0662d"):
        refused(
            await desk.lp.api.get("/lp/history", params={"range": bad}), 400, "range"
        )


async def _at_second_machine(
    desk: Desk, make_wallet: MakeWallet
) -> tuple[dict[str, Any], dict[str, Any]]:
    machine = await add_machine(desk.operator, make_wallet, fiat_code="USD")
    return machine, await add_lp(desk.operator, machine["id"], desk.lp)


async def test_nothing_to_see_without_the_role(make_user: MakeUser) -> None:
    user = await make_user("user")
    for path in ("/lp/deposits", "/lp/payments"):
        assert ok(await user.api.get(path)) == {"data": [], "total": 0}
    for path in ("/lp/summary", "/lp/history"):
        assert ok(await user.api.get(path)) == []
