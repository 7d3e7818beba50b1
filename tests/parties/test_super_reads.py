"""The super reads any row in full, with the operator's name on it, and changes none.

What became of the platform's share adds up from the legs themselves: no mark of an
operator's takes a sat out of it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from api_world import Desk, add_machine, make_desk, ok, random_hex_key, refused
from money_rows import add_leg, add_settlement, nobody_elses_word
from world import update

from satmachineadmin.base.database import db_time
from satmachineadmin.desk import attention
from satmachineadmin.models import utc_now

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


async def test_what_the_super_is_to_look_at(
    make_user: MakeUser,
    make_wallet: MakeWallet,
    super_session: UserSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By machine, with its operator's name, how many and how much."""
    # machines of other tests wait too
    monkeypatch.setattr(attention, "MOST", 10_000)
    desk = await make_desk(make_user, make_wallet)
    made = [await add_settlement(desk.machine) for _ in range(5)]
    voided, resolved, test, off, word = made
    now = db_time(utc_now())
    for settlement in made:
        await update(
            "dca_settlements",
            settlement,
            transaction_time=now,
            created_at=now,
            processed_at=now,
            platform_fee_sats=30,
            fiat_amount="2.00",
        )
    await update("dca_settlements", voided, status="voided")
    await update("dca_settlements", resolved, resolved_sats=20)
    await update("dca_settlements", test, is_test=True)
    marks: dict[str, Any] = {"marks": ",fee_off,", "fee_mismatch_sats": -70}
    # what an operator has seen, the super is shown all the same
    await update("dca_settlements", off, seen_at=now, **marks)
    partial: dict[str, Any] = {"dispense_state": "partial", "refund_sats": 9}
    await update("dca_settlements", word, dispensed_by="somebody", **partial)
    leg = await add_leg(
        desk.machine, off, leg_type="super_fee", status="pending", amount_sats=30
    )
    long_ago = db_time(utc_now() - timedelta(hours=2))
    await update("dca_payments", leg, created_at=long_ago)
    await nobody_elses_word(desk.machine["id"])
    seen = ok(await super_session.api.get("/super/overview"))["needs_attention"]
    mine = {x["kind"]: x for x in seen if x["machine_id"] == desk.machine["id"]}
    found = {
        kind: (item["count"], item["sats"])
        for kind, item in mine.items()
        if item["count"]
    }
    assert found == {
        "voided": (1, 30),
        "resolved": (1, 20),
        "tests": (1, 30),
        "fee_off": (1, 70),
        "refunds_by_word": (1, 9),
        "fees_late": (1, 30),
    }
    assert {x["operator_name"] for x in mine.values()} == {desk.operator.username}
    assert (mine["tests"]["amount_fiat"], mine["tests"]["currency"]) == ("2.00", "GTQ")
    own = ok(await desk.operator.api.get("/overview"))["needs_attention"]
    assert not {"voided", "tests", "fee_off"} & {x["kind"] for x in own}
    assert {x["operator_name"] for x in own} <= {None}


async def test_the_super_raises_how_many_machines_nobody_uses(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    operator = await make_user("operator")
    limit = "unused_machines_limit"
    assert ok(await super_session.api.get("/super/config"))[limit] == 20
    for wrong in (0, 1001, "many"):
        refused(
            await super_session.api.put("/super/config", json={limit: wrong}),
            400,
            limit,
        )
    for most in (1, 2):
        kept = ok(await super_session.api.put("/super/config", json={limit: most}))
        assert kept[limit] == most
        await add_machine(operator, make_wallet)
        wallet = await make_wallet(operator, "one more")
        body = {"machine_npub": random_hex_key(), "wallet_id": wallet.id}
        more = await operator.api.post(
            "/machines", json={**body, "name": "more", "fiat_code": "GTQ"}
        )
        refused(more, 409, f"{most} machines")
    ok(await super_session.api.put("/super/config", json={limit: 20}))


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
        "resolved_count": 0,
        "resolved_sats": 0,
        "share_sats": row["share_sats"],
        **{
            f"older_{name}_sats": 0
            for name in ("paid", "owed", "shortfall", "let_go", "lost")
        },
        # a test is in it, what was voided is not: it was never sold
        "trades": 2,
        "volume_sats": 200_000,
        "volume_fiat": {"GTQ": "1500.00"},
        "before_trades": 0,
        "before_volume_sats": 0,
        "online_count": 0,
        "quiet_count": 0,
        "offline_count": 1,
        "off_count": 0,
        "machine_ids": [desk.machine["id"]],
        "oldest_unpaid_at": row["oldest_unpaid_at"],
        "oldest_unpaid_sats": 20,
        "oldest_unpaid_settlement_id": kept,
    }
    # a sum of its own: what was planned when the share was a part of the fee
    await update("dca_settlements", kept, is_older=True)
    later = await sums_of(super_session, desk)
    assert (later["older_paid_sats"], later["older_shortfall_sats"]) == (1, 20)
    assert (later["paid_sats"], later["owed_sats"]) == (0, 300)
    assert row["lost_sats"] >= 50_000


async def test_operators_of_other_days_and_as_a_file(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    week_ago = utc_now() - timedelta(days=7)
    await add_settlement(desk.machine, transaction_time=week_ago)
    await add_settlement(
        desk.machine,
        dispensed_fiat="375.00",
        dispensed_principal_sats=50_000,
        dispensed_fee_sats=4_000,
        dispensed_platform_fee_sats=1_500,
        dispensed_operator_fee_sats=2_500,
    )
    day = f"{utc_now():%Y-%m-%d}"
    first = f"{utc_now() - timedelta(days=6):%Y-%m-%d}"
    params = {"from": first, "to": day, "tz": "UTC"}
    page = ok(await super_session.api.get("/super/operators", params=params))
    (row,) = [r for r in page["data"] if r["operator_name"] == desk.operator.username]
    assert (row["trades"], row["volume_sats"]) == (1, 50_000)
    assert (row["before_trades"], row["before_volume_sats"]) == (1, 100_000)
    assert row["oldest_unpaid_at"] is None
    ranks = [r["volume_sats"] for r in page["data"]]
    assert ranks == sorted(ranks, reverse=True)
    # each opens what it sums
    every = {"scope": "all", "machine_id": row["machine_ids"][0], **params}
    insight = ok(await super_session.api.get("/insight", params=every))
    assert insight["totals"][0]["volume_sats"] == row["volume_sats"]
    file = await super_session.api.get("/super/operators.csv", params=params)
    line = next(x for x in file.text.splitlines() if desk.operator.username in x)
    assert ",375.00 GTQ," in line
    refused(
        await super_session.api.get("/super/operators?from=2000-01-01"), 400, "days"
    )
    refused(await desk.operator.api.get("/super/operators.csv"), 403)
