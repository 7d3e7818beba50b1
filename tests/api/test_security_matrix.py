"""Every route of the API against everybody who has no business there.

The routes come from the application's own OpenAPI document. Each must be in `RULES`
or have a row's id in its path: a route that comes later fails the first test until
somebody says who may ask it. What happens with somebody else's row, whatever is sent,
is in `test_api_ownership.py`; here are the people: other tenants, people without the
extension, the holder of any wallet's keys, forged and expired tokens.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio
from api_world import Desk, add_deposit, make_desk
from fastapi import FastAPI
from lnbits.helpers import create_access_token
from lnbits.settings import settings
from money_rows import (
    add_discount,
    add_leg,
    add_offer,
    add_report,
    add_settlement,
    add_visit,
    add_webhook_event,
)
from route_bodies import BODIES

from conftest import BASE_URL, MakeUser, MakeWallet
from dev.accounts import UserSession

pytestmark = pytest.mark.xdist_group("security_matrix")

WORK = {"role": "bookkeeper"}
PREFIX = "/satmachineadmin/api/v1"

# Who may ask a route that names no row.
SUPER = "the super user"
EVERYBODY = "everybody with the extension, about their own rows"
RULES = {
    "/super/overview": SUPER,
    "/super/config": SUPER,
    "/super/operators": SUPER,
    "/super/operators.csv": SUPER,
    "/super/states": SUPER,
    "/super/states.csv": SUPER,
    "/super/fees": SUPER,
    "/super/fees.csv": SUPER,
    "/super/discounts": SUPER,
    "/super/discounts.csv": SUPER,
    "/super/host": SUPER,
    "/super/host/undo": SUPER,
    "/super/host/measure": SUPER,
    "/super/everything": SUPER,
    "/super/everything.zip": SUPER,
    "/super/everything/delete": SUPER,
    "/super/nostr": SUPER,
    "/super/nostr/rotate": SUPER,
    "/super/nostr/revoke": SUPER,
    "/health": SUPER,
    "/me": EVERYBODY,
    "/audit": EVERYBODY,
    "/audit.csv": EVERYBODY,
    "/accounting.csv": EVERYBODY,
    "/accounting.beancount": EVERYBODY,
    "/accounting/entries": EVERYBODY,
    "/accounting/entries.csv": EVERYBODY,
    "/accounting/balances": EVERYBODY,
    "/insight": EVERYBODY,
    "/insight.csv": EVERYBODY,
    "/reconciliations": EVERYBODY,
    "/reconciliations.csv": EVERYBODY,
    "/changes": EVERYBODY,
    "/overview": EVERYBODY,
    "/machines": EVERYBODY,
    "/machines.csv": EVERYBODY,
    "/splits": EVERYBODY,
    "/splits/preview": EVERYBODY,
    "/clients": EVERYBODY,
    "/clients.csv": EVERYBODY,
    "/deposits": EVERYBODY,
    "/deposits.csv": EVERYBODY,
    "/settlements": EVERYBODY,
    "/settlements.csv": EVERYBODY,
    "/payments": EVERYBODY,
    "/payments.csv": EVERYBODY,
    "/cash": EVERYBODY,
    "/cash/movements": EVERYBODY,
    "/cash/movements.csv": EVERYBODY,
    "/cash/books": EVERYBODY,
    "/cash/books.csv": EVERYBODY,
    "/cash/hand": EVERYBODY,
    "/cash/plan": EVERYBODY,
    "/preferences": EVERYBODY,
    "/search": EVERYBODY,
    "/staff": EVERYBODY,
    "/staff.csv": EVERYBODY,
    "/discounts": EVERYBODY,
    "/discounts.csv": EVERYBODY,
    "/notifications": EVERYBODY,
    "/notifications/test": EVERYBODY,
    "/webhook": EVERYBODY,
    "/webhook/rotate": EVERYBODY,
    "/webhook/test": EVERYBODY,
    "/webhook/seen": EVERYBODY,
    "/webhook/send-again": EVERYBODY,
    "/webhook/events": EVERYBODY,
    "/webhook/events.csv": EVERYBODY,
    "/visits": EVERYBODY,
    "/visits.csv": EVERYBODY,
    "/lp": EVERYBODY,
    "/lp/deposits": EVERYBODY,
    "/lp/deposits.csv": EVERYBODY,
    "/lp/offers": EVERYBODY,
    "/lp/offers.csv": EVERYBODY,
    "/lp/payments": EVERYBODY,
    "/lp/payments.csv": EVERYBODY,
    "/lp/summary": EVERYBODY,
    "/lp/history": EVERYBODY,
    "/lp/insight": EVERYBODY,
    "/lp/insight.csv": EVERYBODY,
    "/lp/enrolments": EVERYBODY,
    "/lp/enrolments.csv": EVERYBODY,
}
# A row in the path is an operator's, except below these.
LP_ROWS = "/lp/"
# What the super alone may do to anybody's row.
SUPERS_ROWS = "/super/"
# The word of who works there, not of the operator.
PERSONS_ROWS = "/staff/{staff_id}/leave"
# A link is for whoever holds it, who may never have heard of the extension.
LINKS = "/invitations/"
SUPERS_ROWS_TOO = "/deposits/"


@dataclass(frozen=True)
class Route:
    method: str
    path: str  # below the prefix
    row: str  # the name of the id in the path, or ""

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def url(self, ids: dict[str, str]) -> str:
        return PREFIX + self.path.replace(f"{{{self.row}}}", ids.get(self.row, ""))

    def body(self, user: UserSession | None = None) -> dict[str, Any] | None:
        """What the route would take if the row were the caller's."""
        if self.method in ("GET", "DELETE"):
            return None
        body = dict(BODIES.get((self.method, self.path), {"reason": "x"}))
        if "wallet_id" in body and user:
            body["wallet_id"] = user.wallet.id
        return body


def routes_of(app: FastAPI) -> list[Route]:
    found = []
    for path, methods in app.openapi()["paths"].items():
        if not path.startswith(PREFIX):
            continue
        below = path.removeprefix(PREFIX)
        named = re.findall(r"{(\w+)}", below)
        assert len(named) <= 1, f"{below}: whose row decides?"
        found += [Route(m.upper(), below, (named or [""])[0]) for m in methods]
    assert len(found) >= 60
    return found


@pytest_asyncio.fixture(scope="module")
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


@pytest_asyncio.fixture(scope="module")
async def ids(desk: Desk) -> dict[str, str]:
    """One row of everything at the desk, in a state that most actions refuse."""
    settlement = await add_settlement(desk.machine)
    leg = await add_leg(
        desk.machine, settlement, client_id=desk.client["id"], amount_fiat="1.00"
    )
    return {
        "machine_id": desk.machine["id"],
        "client_id": desk.client["id"],
        "deposit_id": desk.deposit["id"],
        "settlement_id": settlement,
        "leg_id": leg,
        "visit_id": await add_visit(desk.machine),
        "report_id": await add_report(desk.machine["id"]),
        "code": desk.link["code"],
        "offer_id": await add_offer(desk.machine, desk.client["id"]),
        "discount_id": await add_discount(desk),
        "enrolment_id": desk.client["id"],
        "event_id": await add_webhook_event(desk.operator.user_id),
        "staff_id": (await desk.operator.api.post("/staff", json=WORK)).json()["id"],
    }


def sentence(answer: httpx.Response, what: str) -> None:
    """A refusal is one sentence, never a stack or a list."""
    assert answer.status_code < 500, f"{what}: {answer.status_code} {answer.text}"
    if answer.status_code >= 400:
        detail = answer.json()["detail"]
        assert isinstance(detail, str) and detail, f"{what}: {detail!r}"
        assert "Traceback" not in detail, what


def test_every_route_has_a_rule(app: FastAPI, ids: dict[str, str]) -> None:
    routes = routes_of(app)
    without = [r.name for r in routes if not r.row and r.path not in RULES]
    assert without == [], "who may ask these? Say it in RULES"
    unknown = [r.name for r in routes if r.row and r.row not in ids]
    assert unknown == [], "a row of which kind is this? Say it in ids"
    gone = set(RULES) - {r.path for r in routes}
    assert gone == set(), "these rules are of no route"


@pytest_asyncio.fixture(scope="module")
async def strangers(
    app: FastAPI, desk: Desk, transport: httpx.ASGITransport
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Nobody of these is logged in, whatever they hold."""
    operator, platform = desk.operator, settings.super_user
    claims = {"sub": operator.username, "usr": operator.user_id}
    in_an_hour = datetime.now(timezone.utc) + timedelta(hours=1)
    forged = jwt.encode({**claims, "exp": in_an_hour}, secrets.token_hex(32), "HS256")
    unsigned = jwt.encode({**claims, "exp": in_an_hour}, "", "none")
    expired = create_access_token(claims, token_expire_minutes=-1)
    of_super = create_access_token({"sub": "", "usr": platform}, -1)
    headers = {
        "nobody": {},
        "the operator's admin key": {"X-Api-Key": operator.wallet.adminkey},
        "the operator's invoice key": {"X-Api-Key": operator.wallet.inkey},
        "the LP's admin key": {"X-Api-Key": desk.lp.wallet.adminkey},
        "an admin key as token": {
            "Authorization": f"Bearer {operator.wallet.adminkey}"
        },
        "an expired token": {"Authorization": f"Bearer {expired}"},
        "the super's expired token": {"Authorization": f"Bearer {of_super}"},
        "a forged token": {"Authorization": f"Bearer {forged}"},
        "an unsigned token": {"Authorization": f"Bearer {unsigned}"},
        "an expired cookie": {"Cookie": f"cookie_access_token={expired}"},
        "rubbish": {"Authorization": "Bearer a.b.c"},
    }
    clients = {
        name: httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=sent)
        for name, sent in headers.items()
    }
    clients["the operator's user id"] = httpx.AsyncClient(
        transport=transport, base_url=BASE_URL, params={"usr": operator.user_id}
    )
    yield clients
    for client in clients.values():
        await client.aclose()


@pytest_asyncio.fixture(scope="module", autouse=True)
async def lnbits_as_it_came(super_session: UserSession) -> AsyncIterator[None]:
    """The super's requests are made in earnest: one of them changes LNbits itself."""
    yield
    answer = await super_session.core.post(f"{PREFIX}/super/host/undo")
    assert answer.json()["applied"] is False


# first of all: the others leave nothing as it was
async def test_no_answer_holds_a_key_or_what_logs_somebody_in(
    app: FastAPI,
    desk: Desk,
    super_session: UserSession,
    ids: dict[str, str],
) -> None:
    """What anybody is shown of others: no wallet key, no nsec, nobody's password hash.

    With LNbits' method `user-id-only` a user id is a login: what it may show is its
    owner's own, and to an operator those of the LPs enrolled by that id.
    """
    await add_deposit(desk.operator, desk.client["id"], "1.00", status="pending")
    everybody = {"operator": desk.operator, "lp": desk.lp, "super": super_session}
    secrets_of = {
        f"{name}'s {kind}": value
        for name, user in everybody.items()
        for wallet in user.wallets
        for kind, value in (("admin key", wallet.adminkey), ("key", wallet.inkey))
    }
    for route in routes_of(app):
        if route.method != "GET":
            continue
        for name, user in everybody.items():
            url = route.url(ids)
            scopes = [{}, {"scope": "all"}] if name == "super" else [{}]
            for params in scopes:
                text = (await user.core.get(url, params=params)).text
                told = [k for k, value in secrets_of.items() if value in text]
                assert told == [], f"{route.name} tells {name} {told}"
                assert "nsec1" not in text, f"{route.name} tells {name} an nsec"
                others = [
                    other
                    for other, person in everybody.items()
                    if other != name and person.user_id in text
                ]
                if name == "lp":
                    assert others == [], f"{route.name} tells an LP who {others} is"


@pytest.mark.once
async def test_without_a_session_nothing_is_told_and_nothing_done(
    app: FastAPI, strangers: dict[str, httpx.AsyncClient], ids: dict[str, str]
) -> None:
    """A wallet's key is no login here: LNbits' payments API is all that it opens."""
    for route in routes_of(app):
        for who, client in strangers.items():
            answer = await client.request(
                route.method, route.url(ids), json=route.body()
            )
            what = f"{route.name} by {who}"
            sentence(answer, what)
            assert answer.status_code == 401, f"{what}: {answer.status_code}"


def expected(route: Route, role: str) -> set[int]:
    """What a logged-in person who has no business at this desk may be answered."""
    if route.path.startswith(LINKS):
        return {200, 404}
    if role == "super":
        if not route.row:
            return {200, 201, 400, 404, 409}
        if route.path.startswith(SUPERS_ROWS):
            # of a leg that is no fee: theirs to see, and not to act on
            return {200, 400, 403, 404, 409}
        is_theirs = route.path.startswith(SUPERS_ROWS_TOO)
        return {200, 400, 404, 409} if is_theirs else {404}
    if role == "not enabled" or route.path.startswith(SUPERS_ROWS):
        return {403}
    if not route.row and RULES[route.path] == SUPER:
        return {403}
    if route.row:
        return {404}
    # their own lists and their own profile; or a body that makes no sense
    # (what is in their own hands is theirs to say)
    return {200, 404} if route.method == "GET" else {200, 201, 400, 404}


async def test_everybody_else_is_refused(
    app: FastAPI,
    super_session: UserSession,
    make_user: MakeUser,
    make_wallet: MakeWallet,
    ids: dict[str, str],
) -> None:
    other = await make_desk(make_user, make_wallet)
    people = {
        "another operator": other.operator,
        "another LP": other.lp,
        "a plain user": await make_user("plain"),
        "not enabled": await make_user("outside", enable=False),
        "super": super_session,
    }
    spared = {"/super/nostr/rotate"}  # the super's other tests need the key
    # a link enables the extension for who follows it: last, that is
    for route in sorted(routes_of(app), key=lambda r: r.path.startswith(LINKS)):
        for role, user in people.items():
            if role == "super" and route.path in spared:
                continue
            answer = await user.core.request(
                route.method, route.url(ids), json=route.body(user)
            )
            what = f"{route.name} by {role}"
            sentence(answer, what)
            allowed = expected(route, role)
            assert answer.status_code in allowed, f"{what}: {answer.text}"


async def test_the_owner_is_let_in_everywhere(
    app: FastAPI, desk: Desk, ids: dict[str, str]
) -> None:
    """Else the refusals above would prove nothing: the ids are of rows that exist."""
    for route in sorted(routes_of(app), key=lambda r: r.method == "DELETE"):
        if not route.row or route.method == "DELETE":
            continue
        if route.path.startswith((SUPERS_ROWS, PERSONS_ROWS)):
            continue
        user = desk.lp if route.path.startswith(LP_ROWS) else desk.operator
        answer = await user.core.request(
            route.method, route.url(ids), json=route.body(user)
        )
        sentence(answer, route.name)
        assert answer.status_code not in (401, 403), f"{route.name}: {answer.text}"
        if answer.status_code == 404:
            # the LP's own actions are for forwarding legs only, and this is none;
            # a link is used once
            assert route.path.startswith(
                (LP_ROWS, LINKS)
            ), f"{route.name}: {answer.text}"
