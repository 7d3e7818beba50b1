"""Where an operator's sats go is not the super's to read: in no list with `scope=all`,
in no reason, and in no entry of the log; nor found by a filter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from api_world import Desk, make_desk, ok
from money_rows import add_leg, add_settlement

from satmachineadmin.base.database import execute, transaction
from satmachineadmin.host import paying
from satmachineadmin.models import Payout
from satmachineadmin.money import payouts

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

ADDRESS = "anselm.of.the.mill@faraway-wallet.com"
URL = "https://faraway-wallet.com/.well-known/lnurlp/anselm.of.the.mill"
REASONS = (
    f"Client error '404 Not Found' for url '{URL}'",
    f"no such user {ADDRESS}",
    "ANSELM.OF.THE.MILL is not here, says faraway-wallet.com. " + ADDRESS * 20,
    "",
)


def assert_unnamed(told: Any) -> None:
    text = json.dumps(told).lower()
    assert "anselm" not in text
    assert "faraway" not in text


@pytest.mark.parametrize("reason", REASONS)
async def test_a_reason_names_no_destination(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    async def refuse(*_: Any) -> str:
        raise ValueError(reason)

    monkeypatch.setattr(paying, "get_pr_from_lnurl", refuse)
    payout = Payout(
        id="x",
        source_wallet_id="x",
        destination=f"address:{ADDRESS}",
        amount_sats=100_000,
    )
    with pytest.raises(payouts.DestinationError) as refusal:
        await payouts.fetch_external_invoice(payout)
    assert str(refusal.value).startswith("The destination gives no invoice: ")
    assert_unnamed(str(refusal.value))


async def failed_leg(desk: Desk) -> str:
    """A failed split whose reason begins with its address, as reasons once did."""
    settlement = await add_settlement(desk.machine, status="attention")
    return await add_leg(
        desk.machine,
        settlement,
        leg_type="operator_split",
        status="failed",
        destination_ln_address=ADDRESS,
        error_message=f"{ADDRESS} gives no invoice: 404 at {URL}",
    )


async def test_the_super_reads_no_address_in_a_reason(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    leg = await failed_leg(desk)
    api = super_session.api
    (seen,) = ok(await api.get(f"/payments?scope=all&id={leg}"))["data"]
    assert seen["error_message"] == "The destination gives no invoice."
    assert_unnamed(seen)
    assert_unnamed((await api.get(f"/payments.csv?scope=all&id={leg}")).text)
    for asked in ("search=anselm", "error_message[like]=anselm"):
        found = ok(await api.get(f"/payments?scope=all&id={leg}&{asked}"))
        assert found["total"] == 0
    for path in ("/overview?scope=all", "/super/overview"):
        assert_unnamed(ok(await api.get(path)))
    (own,) = ok(await desk.operator.api.get(f"/payments?id={leg}"))["data"]
    assert own["error_message"].startswith(ADDRESS)


async def test_the_supers_log_says_not_where_an_operators_sats_go(
    make_user: MakeUser, make_wallet: MakeWallet, super_session: UserSession
) -> None:
    desk = await make_desk(make_user, make_wallet)
    api, machine = desk.operator.api, desk.machine["id"]
    splits = {"splits": [{"target": ADDRESS, "fraction": "1"}]}
    ok(await api.put(f"/machines/{machine}/splits", json=splits))
    ok(await api.put(f"/machines/{machine}", json={"name": "Renamed"}))
    settlement = await add_settlement(desk.machine)
    await add_leg(
        desk.machine,
        settlement,
        leg_type="refund",
        status="pending",
        amount_sats=50_000,
    )
    refund = {"destination": ADDRESS, "reason": "short", "idempotency_key": machine}
    ok(await api.post(f"/settlements/{settlement}/refund", json=refund))
    asked = f"machine_id={machine}&limit=1000"
    own = ok(await api.get(f"/audit?{asked}"))["data"]
    assert json.dumps(own).count(ADDRESS) == 2
    assert desk.machine["wallet_id"] in json.dumps(own)
    seen = ok(await super_session.api.get(f"/audit?scope=all&{asked}"))["data"]
    assert [row["id"] for row in seen] == [row["id"] for row in own]
    text = (await super_session.api.get(f"/audit.csv?scope=all&{asked}")).text
    for told in (seen, text):
        assert_unnamed(told)
        assert desk.machine["wallet_id"] not in json.dumps(told)
    found = await super_session.api.get(f"/audit?scope=all&{asked}&search=anselm")
    assert ok(found)["total"] == 0
    # what names no place is the super's to read
    assert [r["after"] for r in seen if r["action"] == "machine.change"] == [
        {"name": "Renamed"}
    ]
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_payments SET status = 'voided' "
            "WHERE settlement_id = :id",
            {"id": settlement},
        )
