"""The platform's configuration over HTTP: who may, what is refused, what is logged.

The configuration is one row for the whole run: each test puts back what it changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from api_world import add_machine, ok, refused

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

PATH = "/super/config"


@pytest_asyncio.fixture
async def config(super_session: UserSession) -> AsyncIterator[dict[str, Any]]:
    """The configuration as it is, put back at the end."""
    before = ok(await super_session.api.get(PATH))
    yield before
    ok(await super_session.api.put(PATH, json=before))


async def test_the_super_changes_what_is_named(
    super_session: UserSession, config: dict[str, Any]
) -> None:
    changed = ok(
        await super_session.api.put(PATH, json={"super_cash_out_fee_fraction": 0.03})
    )
    assert changed["super_cash_out_fee_fraction"] == "0.0300"
    assert changed["super_cash_in_fee_fraction"] == config["super_cash_in_fee_fraction"]
    wallet = super_session.wallet.id
    changed = ok(
        await super_session.api.put(PATH, json={"super_fee_wallet_id": wallet})
    )
    assert changed["super_fee_wallet_id"] == wallet
    assert changed["super_cash_out_fee_fraction"] == "0.0300"
    assert ok(await super_session.api.get(PATH)) == changed
    cleared = ok(await super_session.api.put(PATH, json={"super_fee_wallet_id": None}))
    assert cleared["super_fee_wallet_id"] is None
    log = ok(await super_session.api.get("/audit?scope=all&action=config.change"))
    assert log["data"][0]["before"] == {"super_fee_wallet_id": wallet}
    assert log["data"][0]["after"] == {"super_fee_wallet_id": None}
    assert log["data"][0]["actor"] == super_session.user_id


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"super_cash_in_fee_fraction": "1.0001"}, "percentage"),
        ({"super_cash_in_fee_fraction": "0.00001"}, "four decimal"),
        ({"super_cash_in_fee_fraction": None}, "null"),
        ({"super_cash_out_fee_fraction": []}, "number"),
        ({"super_fee_wallet_id": "nobody's"}, "not a wallet of yours"),
        ({"super_fee_wallet_id": "\x00"}, "NUL"),
        ({"super_fee_wallet_id": 3}, "text"),
    ],
)
async def test_bad_input(
    super_session: UserSession,
    config: dict[str, Any],
    body: dict[str, Any],
    word: str,
) -> None:
    refused(await super_session.api.put(PATH, json=body), 400, word)
    assert ok(await super_session.api.get(PATH)) == config


async def test_the_platforms_wallet_must_be_the_supers(
    super_session: UserSession, config: dict[str, Any], make_user: MakeUser
) -> None:
    other = await make_user("other")
    refused(
        await super_session.api.put(
            PATH, json={"super_fee_wallet_id": other.wallet.id}
        ),
        400,
        "not a wallet of yours",
    )


async def test_fees_beyond_the_principal_name_the_machines(
    super_session: UserSession,
    config: dict[str, Any],
    make_user: MakeUser,
    make_wallet: MakeWallet,
) -> None:
    operator = await make_user("operator")
    greedy = await add_machine(
        operator,
        make_wallet,
        name="Greedy",
        operator_cash_in_fee_fraction="0.9",
        operator_cash_out_fee_fraction="0.0500",
    )
    await add_machine(operator, make_wallet, name="Modest")
    try:
        detail = refused(
            await super_session.api.put(
                PATH, json={"super_cash_in_fee_fraction": "0.1001"}
            ),
            400,
            "Greedy",
        )
        assert "Modest" not in detail
        ok(
            await super_session.api.put(
                PATH, json={"super_cash_in_fee_fraction": "0.1"}
            )
        )
        refused(
            await operator.api.put(
                f"/machines/{greedy['id']}",
                json={"operator_cash_in_fee_fraction": "0.9001"},
            ),
            400,
            "0.9000",
        )
    finally:
        ok(
            await operator.api.put(
                f"/machines/{greedy['id']}", json={"operator_cash_in_fee_fraction": 0}
            )
        )


async def test_both_at_once_never_take_more_than_the_principal(
    super_session: UserSession,
    config: dict[str, Any],
    make_user: MakeUser,
    make_wallet: MakeWallet,
) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    path, field = f"/machines/{machine['id']}", "operator_cash_in_fee_fraction"
    try:
        for _ in range(3):
            ok(
                await super_session.api.put(
                    PATH, json={"super_cash_in_fee_fraction": 0}
                )
            )
            ok(await operator.api.put(path, json={field: 0}))
            answers = await asyncio.gather(
                super_session.api.put(PATH, json={"super_cash_in_fee_fraction": "0.6"}),
                operator.api.put(path, json={field: "0.6"}),
            )
            assert sorted(a.status_code for a in answers) == [200, 400]
    finally:
        ok(await operator.api.put(path, json={field: 0}))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("PUT", PATH),
        ("GET", "/super/overview"),
        ("GET", "/health"),
    ],
)
async def test_only_the_super_may(
    client: httpx.AsyncClient, make_user: MakeUser, method: str, path: str
) -> None:
    user = await make_user("user")
    refused(await user.api.request(method, path, json={}), 403)
    anonymous = await client.request(method, f"/satmachineadmin/api/v1{path}", json={})
    refused(anonymous, 401)
