"""LNbits starts with us almost as fast, and as small, as without us.

FastAPI builds a route anew for each router on its way into the app, with copies of its
models. Ours are declared, and each is built by its first request: that must be the
same route in the end, and none may be built by starting.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.datastructures import DefaultPlaceholder
from fastapi.routing import APIRoute

from satmachineadmin import satmachineadmin_ext
from satmachineadmin.api.route import SentenceRoute

pytestmark = pytest.mark.pure

BUILT = "dependant"
# what is made anew by each building
MADE = {
    "_declared",
    "_flat_dependant",
    "app",
    "body_field",
    "dependant",
    "path_regex",
    "response_field",
    "response_fields",
    "secure_cloned_response_field",
}


def included() -> list[SentenceRoute]:
    """Our routes in an app of their own, as LNbits includes them."""
    app = FastAPI()
    app.include_router(router=satmachineadmin_ext, prefix="/upgrades/abc")
    return [route for route in app.routes if isinstance(route, SentenceRoute)]


def test_including_our_routes_builds_none() -> None:
    found = included()
    assert len(found) > 100
    assert [route.path for route in found if BUILT in route.__dict__] == []


def usual(route: SentenceRoute) -> APIRoute:
    declared: dict[str, Any] = dict(route.__dict__["_declared"])
    made = SentenceRoute.__new__(SentenceRoute)
    APIRoute.__init__(made, route.path, route.endpoint, **declared)
    return made


def test_what_is_read_before_is_what_fastapi_makes_of_it() -> None:
    for route in included():
        whole = usual(route)
        for name, value in route.__dict__.items():
            if name == "response_model" and isinstance(value, DefaultPlaceholder):
                continue  # FastAPI reads the answer's class off the function
            if name not in MADE:
                assert getattr(whole, name) == value, (route.path, name)
        assert whole.path_regex.pattern == route.path_regex.pattern


def test_each_is_built_once_and_whole() -> None:
    for route in included():
        expected = set(usual(route).__dict__)
        assert route.dependant is route.dependant
        assert expected <= set(route.__dict__), route.path
        with pytest.raises(AttributeError):
            _ = route.nothing_of_the_kind


async def test_a_request_builds_what_it_asks_for_and_no_more() -> None:
    app, router = FastAPI(), APIRouter(route_class=SentenceRoute)

    @router.get("/one/{number}")
    async def one(number: int) -> dict[str, int]:
        return {"number": number}

    @router.get("/other")
    async def other() -> dict[str, int]:
        return {}

    app.include_router(router)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://it") as client:
        assert (await client.get("/one/7")).json() == {"number": 7}
        refused = await client.get("/one/seven")
        assert refused.status_code == 400
        assert refused.json() == {"detail": "number must be a whole number."}
    ours = [r for r in app.routes if isinstance(r, SentenceRoute)]
    built = {route.path: BUILT in route.__dict__ for route in ours}
    assert built["/one/{number}"]
    assert not built["/other"]


def test_nostr_sdk_is_loaded_by_the_first_relay_and_not_with_us() -> None:
    """In a process of its own: this one has it already."""
    program = (
        "import json, sys, satmachineadmin\n"
        "from satmachineadmin.line import sdk\n"
        "before = 'nostr_sdk' in sys.modules\n"
        "sdk.RelayUrl.parse('wss://relay.example')\n"
        "print(json.dumps([before, 'nostr_sdk' in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [False, True]
