"""Somebody else's row is a 404, whoever asks and whatever is asked (failure 21).

The matrix is made from the routes of the application itself: every route of ours with
an id in its path is asked, with ids of a desk that has one of everything, by another
operator, by another LP, by the super, and by nobody. A route that comes later is in
it by itself, or the test says that it does not know its id.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import pytest_asyncio
from api_world import Desk, make_desk, ok, refused
from fastapi import FastAPI
from fastapi.routing import APIRoute
from money_rows import (
    add_discount,
    add_leg,
    add_offer,
    add_report,
    add_settlement,
    add_staff,
    add_visit,
    add_webhook_event,
)
from route_bodies import BODIES

from satmachineadmin.base.database import db, fetch_all

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

pytestmark = pytest.mark.xdist_group("ownership")

PREFIX = "/satmachineadmin/api/v1"

# The super acts on deposits of any machine.
SUPERS_TOO = "/deposits/"


@pytest_asyncio.fixture(scope="session")
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


@pytest_asyncio.fixture(scope="session")
async def ids(desk: Desk) -> dict[str, str]:
    """The id of one of everything, by the name that a path gives it."""
    settlement = await add_settlement(desk.machine, status="attention")
    leg = await add_leg(
        desk.machine,
        settlement,
        status="failed",
        client_id=desk.client["id"],
        amount_fiat="1.00",
    )
    return {
        "machine_id": desk.machine["id"],
        "client_id": desk.client["id"],
        "enrolment_id": desk.client["id"],
        "deposit_id": desk.deposit["id"],
        "settlement_id": settlement,
        "leg_id": leg,
        "payment_id": leg,
        "offer_id": await add_offer(desk.machine, desk.client["id"]),
        "visit_id": await add_visit(desk.machine),
        "event_id": await add_webhook_event(desk.operator.user_id),
        "report_id": await add_report(desk.machine["id"]),
        "staff_id": await add_staff(desk),
        "discount_id": await add_discount(desk),
    }


def routes_by_id(app: FastAPI) -> list[tuple[str, str, str]]:
    """(method, path below the prefix, name of its id) of every route of ours."""
    found = []
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.path.startswith(PREFIX):
            continue
        # a link is for whoever holds it: tests/parties/test_invitations.py
        if "{code}" in route.path:
            continue
        # a 403 for everybody but the super: test_security_matrix.py
        if "/super/" in route.path:
            continue
        names = [p.name for p in route.dependant.path_params]
        if names:
            assert len(names) == 1, f"{route.path}: which of {names} is asked?"
            path = route.path.removeprefix(PREFIX)
            found += [(method, path, names[0]) for method in sorted(route.methods)]
    return found


async def _ask(
    user: UserSession, method: str, path: str, name: str, row_id: str
) -> httpx.Response:
    body = dict(BODIES.get((method, path), {"reason": "x"}))
    if "wallet_id" in body:
        body["wallet_id"] = user.wallet.id
    url = path.replace(f"{{{name}}}", row_id)
    return await user.api.request(method, url, json=None if method == "GET" else body)


async def _everything_of(desk: Desk) -> dict[str, list[Any]]:
    """Every row of the desk's machine that a person may change."""
    machine = {"machine": desk.machine["id"]}
    found = {}
    async with db.connect() as conn:
        for table in (
            "dca_clients",
            "dca_deposits",
            "dca_settlements",
            "dca_payments",
            "dca_commission_splits",
            "dca_audit",
            "cassette_configs",
        ):
            found[table] = await fetch_all(
                conn,
                f"SELECT * FROM satoshimachine.{table} "
                "WHERE machine_id = :machine ORDER BY 1, 2",
                machine,
            )
        found["dca_machines"] = await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_machines WHERE id = :machine",
            machine,
        )
    return {table: [dict(row) for row in kept] for table, kept in found.items()}


async def test_21_somebody_elses_row_is_a_404(
    app: FastAPI,
    client: httpx.AsyncClient,
    super_session: UserSession,
    make_user: MakeUser,
    make_wallet: MakeWallet,
    desk: Desk,
    ids: dict[str, str],
) -> None:
    other = await make_desk(make_user, make_wallet)
    newcomer = await make_user("newcomer")
    routes = routes_by_id(app)
    assert len(routes) >= 14
    before = await _everything_of(desk)
    for method, path, name in routes:
        assert name in ids, f"{path}: which row is {{{name}}}?"
        what = f"{method} {path}"
        for user in (other.operator, other.lp, newcomer):
            answer = await _ask(user, method, path, name, ids[name])
            assert answer.status_code == 404, f"{what}: {answer.text}"
            missing = await _ask(user, method, path, name, "nothing")
            # it looks like a row that is not there
            assert missing.status_code == 404, f"{what}: {missing.text}"
            assert missing.text == answer.text, what
        url = PREFIX + path.replace(f"{{{name}}}", ids[name])
        answer = await client.request(method, url, json=BODIES.get((method, path)))
        assert answer.status_code == 401, f"{what}: {answer.text}"
        if not path.startswith(SUPERS_TOO):
            answer = await _ask(super_session, method, path, name, ids[name])
            assert answer.status_code == 404, f"{what}: {answer.text}"
    assert await _everything_of(desk) == before


async def test_21_an_lp_is_no_operator_of_the_machine_they_are_enrolled_at(
    app: FastAPI, desk: Desk, ids: dict[str, str]
) -> None:
    before = await _everything_of(desk)
    for method, path, name in routes_by_id(app):
        if path.startswith("/lp/"):
            continue
        answer = await _ask(desk.lp, method, path, name, ids[name])
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"
    assert await _everything_of(desk) == before


@pytest.mark.parametrize(
    "row_id", ["a%00b", "%F0%9F%92%A5", "%ff", "'%20OR%201=1--", "x" * 500, "%0a"]
)
async def test_ids_that_no_database_holds_are_a_404(
    app: FastAPI, desk: Desk, row_id: str
) -> None:
    for method, path, name in routes_by_id(app):
        answer = await _ask(desk.operator, method, path, name, row_id)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"


async def test_only_one_operators_rows_are_in_their_lists(
    make_user: MakeUser, make_wallet: MakeWallet, desk: Desk, ids: dict[str, str]
) -> None:
    other = await make_desk(make_user, make_wallet)
    for path in ("/machines", "/clients", "/deposits", "/settlements", "/payments"):
        text = (await other.operator.api.get(f"{path}?limit=1000")).text
        assert not [i for i in ids.values() if i in text], path
    for path in ("/clients", "/machines"):
        asked = f"{path}?id={ids['client_id']}&id={ids['machine_id']}"
        assert ok(await other.operator.api.get(asked))["total"] == 0
    # rows named in a body are no other
    for path, body in (
        ("/clients", {"machine_id": ids["machine_id"], "username": other.lp.username}),
        ("/deposits", {"client_id": ids["client_id"], "amount": 1}),
        (
            "/splits/preview",
            {
                "machine_id": ids["machine_id"],
                "tx_type": "cash_out",
                "principal_sats": 1,
            },
        ),
    ):
        refused(await other.operator.api.post(path, json=body), 404)


async def test_the_extension_must_be_enabled(make_user: MakeUser) -> None:
    user = await make_user("user", enable=False)
    for path in ("/me", "/machines", "/lp", "/settlements", "/overview"):
        refused(await user.api.get(path), 403, "enabled")
    refused(await user.api.post("/lp", json={"dca_wallet_id": user.wallet.id}), 403)


@pytest.mark.parametrize(
    "path",
    [
        "/me",
        "/machines",
        "/clients",
        "/deposits",
        "/settlements",
        "/payments",
        "/audit",
        "/overview",
        "/changes",
        "/splits",
        "/lp",
        "/lp/summary",
        "/lp/history",
        "/settlements.csv",
    ],
)
async def test_nobody_is_let_in_without_a_session(
    client: httpx.AsyncClient, path: str
) -> None:
    refused(await client.get(PREFIX + path), 401)
