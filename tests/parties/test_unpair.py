"""A machine that was stolen, and a service key that leaked: refused at once.

What the line then says is in tests/line; here the buttons, and who may press them.
"""

from __future__ import annotations

from api_world import add_machine, ok, refused
from world import update

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession


async def test_unpair(make_user: MakeUser, make_wallet: MakeWallet) -> None:
    operator, other = await make_user("operator"), await make_user("other")
    machine = await add_machine(operator, make_wallet)
    path = f"/machines/{machine['id']}/unpair"
    refused(await operator.api.post(path), 409, "not paired")
    await update("dca_machines", machine["id"], is_paired=True)
    refused(await other.api.post(path), 404)
    gone = ok(await operator.api.post(path, json={"reason": "stolen"}))
    assert gone["is_paired"] is False
    (entry,) = [
        row
        for row in ok(await operator.api.get("/audit"))["data"]
        if row["action"] == "machine.unpair"
    ]
    assert entry["reason"] == "stolen"


async def test_an_old_service_key_is_revoked_now(
    super_session: UserSession, make_user: MakeUser
) -> None:
    path = "/super/nostr"
    await super_session.api.post(f"{path}/revoke")  # those of the tests before
    before = ok(await super_session.api.get(path))["service_npub"]
    refused(await (await make_user("other")).api.post(f"{path}/revoke"), 403)
    mine = {"service_npub": before}
    refused(await super_session.api.post(f"{path}/revoke", json=mine), 409, "in use")
    ok(await super_session.api.post(f"{path}/rotate"))
    after = ok(await super_session.api.post(f"{path}/revoke", json=mine))
    assert after["service_npub"] != before
    refused(await super_session.api.post(f"{path}/revoke"), 409, "no old service key")
