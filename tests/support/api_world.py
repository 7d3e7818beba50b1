"""People and machines for the API's tests, made through the API itself."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import httpx

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession, enrol


def random_hex_key() -> str:
    """64 hex digits that no other machine has."""
    return secrets.token_hex(32)


async def add_machine(
    operator: UserSession, make_wallet: MakeWallet, **fields: Any
) -> dict[str, Any]:
    """A machine of the operator's with a wallet of its own; the API's answer."""
    wallet = await make_wallet(operator, "machine")
    body = {
        "machine_npub": random_hex_key(),
        "wallet_id": wallet.id,
        "name": "Corner shop",
        "fiat_code": "GTQ",
        "operator_cash_out_fee_fraction": "0.0500",
        **fields,
    }
    return ok(await operator.api.post("/machines", json=body), 201)


async def add_lp(
    operator: UserSession, machine_id: str, lp: UserSession
) -> dict[str, Any]:
    """The LP enrolled at the machine, with a profile; the client as answered.

    Nobody is an LP before they said so: `enrol` is an invitation and a yes.
    """
    client = await enrol(operator, lp, machine_id)
    if (await lp.api.get("/lp")).status_code == 404:
        ok(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 201)
    return client


async def add_deposit(
    operator: UserSession, client_id: str, amount: str, status: str = "confirmed"
) -> dict[str, Any]:
    deposit = ok(
        await operator.api.post(
            "/deposits", json={"client_id": client_id, "amount": amount}
        ),
        201,
    )
    if status == "pending":
        return deposit
    return ok(
        await operator.api.put(
            f"/deposits/{deposit['id']}/status", json={"status": status}
        )
    )


@dataclass
class Desk:
    """An operator with a machine, an LP who has 300.00 confirmed, and a link that
    nobody has opened."""

    operator: UserSession
    lp: UserSession
    machine: dict[str, Any]
    client: dict[str, Any]
    deposit: dict[str, Any]
    link: dict[str, Any]


async def make_desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    operator, lp = await make_user("operator"), await make_user("lp")
    machine = await add_machine(operator, make_wallet)
    client = await add_lp(operator, machine["id"], lp)
    deposit = await add_deposit(operator, client["id"], "300.00")
    path = f"/machines/{machine['id']}/invitations"
    link = ok(await operator.api.post(path), 201)
    return Desk(operator, lp, machine, client, deposit, link)


def ok(response: httpx.Response, status: int = 200) -> Any:
    """The answer's JSON, if it has this status."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    return response.json() if response.content else None


def refused(response: httpx.Response, status: int, *words: str) -> str:
    """The one sentence of a refusal, if it has this status and says these words."""
    assert response.status_code == status, f"{response.status_code} {response.text}"
    detail = response.json()["detail"]
    assert isinstance(detail, str) and detail, f"not one sentence: {detail!r}"
    for word in words:
        assert word.lower() in detail.lower(), f"{word!r} is not in {detail!r}"
    return detail
