"""schemathesis asks every route for what its description allows, and for what not.

Inputs are drawn from the API's own OpenAPI document, valid and invalid ones, by
three people: an operator who has one of everything, the super user, and nobody. No
answer may be a 500; every refusal is one sentence with a documented status; every
success is of the shape that the document promises. Row ids are the desk's own half of
the time, or most routes would never get further than "no such row".
"""

from __future__ import annotations

import os
import re
from typing import Any

import httpx
import pytest
import pytest_asyncio
import schemathesis
from api_world import Desk, make_desk
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from money_rows import (
    add_discount,
    add_leg,
    add_offer,
    add_settlement,
    add_staff,
    add_webhook_event,
)
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)

from satmachineadmin import satmachineadmin_ext

from conftest import BASE_URL, MakeUser, MakeWallet
from dev.accounts import UserSession

pytestmark = pytest.mark.xdist_group("fuzz")

PREFIX = "/satmachineadmin/api/v1"
EXAMPLES = int(os.environ.get("SATMACHINE_FUZZ", "6"))
# They would change what the rest of the run stands on: the platform's shares, its
# relays and its service key. Each has tests of its own.
LEFT_ALONE = {
    ("PUT", "/super/config"),
    ("PUT", "/super/nostr"),
    ("POST", "/super/nostr/rotate"),
}


def described() -> dict[str, Any]:
    """The API's own document, of an application that never runs.

    pydantic 1 cannot say that an optional field may be null, so it is said here.
    """
    app = FastAPI()
    app.include_router(satmachineadmin_ext)
    document = app.openapi()
    for model in document["components"]["schemas"].values():
        for name, field in model.get("properties", {}).items():
            if name not in model.get("required", []):
                model["properties"][name] = {"anyOf": [field, {"type": "null"}]}
    return document


schema = schemathesis.openapi.from_dict(described())
OPERATIONS = [
    (method.upper(), path.removeprefix(PREFIX))
    for path, methods in schema.raw_schema["paths"].items()
    for method in methods
    if path.startswith(PREFIX)
    and (method.upper(), path.removeprefix(PREFIX)) not in LEFT_ALONE
]


@pytest_asyncio.fixture(scope="module")
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


@pytest_asyncio.fixture(scope="module")
async def ids(desk: Desk, make_user: MakeUser) -> dict[str, str]:
    settlement = await add_settlement(desk.machine, status="attention")
    leg = await add_leg(
        desk.machine,
        settlement,
        status="failed",
        client_id=desk.client["id"],
        amount_fiat="1.00",
    )
    path = f"/machines/{desk.machine['id']}/reconciliation"
    report = await desk.operator.api.post(path)
    visit = await desk.operator.api.post(f"/machines/{desk.machine['id']}/visits")
    return {
        "machine_id": desk.machine["id"],
        "report_id": report.json()["id"],
        "client_id": desk.client["id"],
        "deposit_id": desk.deposit["id"],
        "settlement_id": settlement,
        "leg_id": leg,
        "visit_id": visit.json()["id"],
        "event_id": await add_webhook_event(desk.operator.user_id),
        "offer_id": await add_offer(desk.machine, desk.client["id"]),
        "username": (await make_user("newcomer")).username,
        "wallet_id": desk.operator.wallet.id,
        "dca_wallet_id": desk.operator.wallet.id,
        "code": desk.link["code"],
        "enrolment_id": desk.client["id"],
        "staff_id": await add_staff(desk),
        "discount_id": await add_discount(desk),
    }


def cases(method: str, path: str) -> st.SearchStrategy[Case]:
    operation = schema[PREFIX + path][method]
    modes: list[Any] = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    return st.one_of([operation.as_strategy(mode) for mode in modes])


def with_real_ids(case: Case, ids: dict[str, str]) -> None:
    """Ids of rows that exist, or most routes get no further than "no such row"."""
    for name in case.path_parameters or {}:
        case.path_parameters[name] = ids[name]
    if isinstance(case.body, dict):
        for name in set(case.body) & set(ids):
            case.body[name] = ids[name]


async def send(case: Case, client: httpx.AsyncClient) -> httpx.Response:
    sent = case.as_transport_kwargs(base_url=BASE_URL)
    body = {k: v for k, v in sent.items() if k in ("json", "data", "files") and v}
    if "data" in body:
        body["content"] = body.pop("data")
    headers = {
        name: value
        for name, value in dict(sent.get("headers") or {}).items()
        if str(value).isascii() and name.lower() == "content-type"
    }
    return await client.request(
        sent["method"], sent["url"], params=sent.get("params"), headers=headers, **body
    )


def check(case: Case, response: httpx.Response, path: str) -> None:
    what = f"{case.method} {path} {case.query} {case.body!r}"
    status = response.status_code
    assert status < 500, f"{what}: {status} {response.text}"
    assert (
        str(status) in case.operation.definition.raw["responses"]
    ), f"{what}: {status}"
    if status >= 400:
        detail = response.json()["detail"]
        assert isinstance(detail, str) and detail, f"{what}: {detail!r}"
    case.validate_response(
        response, checks=[content_type_conformance, response_schema_conformance]
    )


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES <= 20,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
async def test_no_input_breaks_a_route(
    method: str,
    path: str,
    data: st.DataObject,
    desk: Desk,
    ids: dict[str, str],
    super_session: UserSession,
    client: httpx.AsyncClient,
) -> None:
    case = data.draw(cases(method, path))
    if data.draw(st.booleans()):
        with_real_ids(case, ids)
    who: UserSession | None = data.draw(
        st.sampled_from([desk.operator, desk.operator, super_session, None])
    )
    check(case, await send(case, who.core if who else client), path)


def test_a_row_stands_for_every_id_in_a_path(ids: dict[str, str]) -> None:
    """Else a new route is met with an id of its own only when the draw wants it."""
    names = {name for _, path in OPERATIONS for name in re.findall(r"{(\w+)}", path)}
    assert names <= set(ids)
