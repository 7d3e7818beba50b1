"""A body that is no JSON, or no JSON object, is one sentence, whatever the route."""

from __future__ import annotations

from typing import Any

import pytest
from api_world import add_machine, ok, refused
from fastapi.routing import APIRoute

from satmachineadmin import satmachineadmin_ext
from satmachineadmin.api.fields import Input

from conftest import MakeUser, MakeWallet


@pytest.mark.parametrize("content", ["{bad", "{", '{"name": "x"} x', "[1, 2", "'x'"])
async def test_a_body_that_is_no_json(make_user: MakeUser, content: str) -> None:
    operator = await make_user("operator")
    answer = await operator.api.post(
        "/machines",
        content=content,
        headers={"Content-Type": "application/json"},
    )
    assert refused(answer, 400) == "The body is not valid JSON."


@pytest.mark.parametrize("body", [[["name", "x"]], [], [["name"]], "x", 7])
async def test_a_body_that_is_no_object_changes_nothing(
    make_user: MakeUser, make_wallet: MakeWallet, body: Any
) -> None:
    operator = await make_user("operator")
    machine = await add_machine(operator, make_wallet)
    path = f"/machines/{machine['id']}"
    detail = refused(await operator.api.put(path, json=body), 400)
    assert detail == "The body must be a JSON object."
    assert ok(await operator.api.get(path)) == machine
    refused(
        await operator.api.put("/splits", json={"splits": [body]}),
        400,
        "Number 1: splits must be a JSON object.",
    )


def test_every_body_is_checked_for_being_an_object() -> None:
    bodies = {
        route.path: route.body_field.type_
        for route in satmachineadmin_ext.routes
        if isinstance(route, APIRoute) and route.body_field
    }
    assert len(bodies) >= 20
    assert [p for p, body in bodies.items() if not issubclass(body, Input)] == []
