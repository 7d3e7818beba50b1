"""The super reads any row in full, with the operator's name on it, and changes none.

What became of the platform's share adds up from the legs themselves: no mark of an
operator's takes a sat out of it.
"""

from __future__ import annotations

from typing import Any

from api_world import Desk, make_desk, ok, refused
from money_rows import add_leg, add_settlement
from world import update

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession


async def sums_of(super_session: UserSession, desk: Desk) -> dict[str, Any]:
    page = ok(await super_session.api.get("/super/operators"))
    assert page["total"] == len(page["data"])
    (row,) = [r for r in page["data"] if r["operator_name"] == desk.operator.username]
    return row


async def test_any_row_in_full(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    settlement = await add_settlement(desk.machine)
    await add_leg(
        desk.machine, settlement, client_id=desk.client["id"], amount_fiat="1.00"
    )
    own = ok(await desk.operator.api.get(f"/settlements/{settlement}"))
    path = f"/super/settlements/{settlement}"
    seen = ok(await super_session.api.get(path))
    assert seen["operator_name"] == desk.operator.username
    assert [leg["id"] for leg in seen["legs"]] == [leg["id"] for leg in own["legs"]]
    for key in ("wire_sats", "platform_fee_sats", "retained_sats", "shortfall_sats"):
        assert seen[key] == own[key]
    machine = f"/super/machines/{desk.machine['id']}"
    assert ok(await super_session.api.get(machine))["operator_name"] == (
        desk.operator.username
    )
    for user in (desk.operator, desk.lp):
        for asked in (path, machine, "/super/operators"):
            refused(await user.api.get(asked), 403)
    for missing in ("/super/settlements/x", "/super/machines/x"):
        refused(await super_session.api.get(missing), 404)


async def test_the_sums_of_an_operator(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    assert (await sums_of(super_session, desk))["owed_sats"] == 0
    kept, voided, test = [await add_settlement(desk.machine) for _ in range(3)]
    await update("dca_settlements", voided, status="voided")
    await update("dca_settlements", test, is_test=True)
    for settlement, status, sats, key in (
        (kept, "completed", 1, "super"),
        (kept, "pending", 20, "shortfall"),
        (test, "failed", 300, "super"),
        (test, "voided", 4_000, "shortfall"),
        (voided, "voided", 50_000, "super"),
    ):
        leg = await add_leg(
            desk.machine,
            settlement,
            leg_type="super_fee",
            status=status,
            amount_sats=sats,
        )
        await update("dca_payments", leg, leg_key=key)
    row = await sums_of(super_session, desk)
    assert row == {
        "operator_name": desk.operator.username,
        "machines": 1,
        "lps": 1,
        "paid_sats": 1,
        "owed_sats": 320,
        "shortfall_sats": 20,
        "let_go_sats": 4_000,
        "lost_sats": row["lost_sats"],
        "voided_count": 1,
        "test_count": 1,
        "quarantined_count": 0,
    }
    assert row["lost_sats"] >= 50_000
