"""Amounts, rates, fractions and sats as text: every route reads them in one way.

`tests/base/test_typed.py` has the table; here it is asked of the routes, with what
follows from a machine's currency.
"""

from __future__ import annotations

from typing import Any

import pytest
from api_world import Desk, add_lp, add_machine, make_desk, ok, refused
from readings import AMOUNTS, RATES, SATS, TWO_WAYS

from conftest import MakeUser, MakeWallet


async def yen_desk(make_user: MakeUser, make_wallet: MakeWallet) -> Any:
    operator, lp = await make_user(), await make_user()
    machine = await add_machine(operator, make_wallet, fiat_code="JPY")
    return operator, await add_lp(operator, machine["id"], lp), lp


@pytest.fixture
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


async def test_a_deposits_amount(desk: Desk) -> None:
    for text, amount in AMOUNTS.items():
        body = {"client_id": desk.client["id"], "amount": text}
        answer = await desk.operator.api.post("/deposits", json=body)
        if amount is None:
            said = refused(answer, 400)
            if text in TWO_WAYS:
                one, other = TWO_WAYS[text]
                assert said.endswith(f"Write {one} or {other}.")
        else:
            assert ok(answer, 201)["amount"] == amount


async def test_every_amount_has_both_readings_refused(desk: Desk) -> None:
    deposit, client = desk.deposit["id"], desk.client["id"]
    post, put = desk.operator.api.post, desk.operator.api.put
    pending = {"client_id": client, "amount": "5"}
    other = ok(await post("/deposits", json=pending), 201)["id"]
    back = {"status": "reversed", "amount": "1,000", "reason": "x"}
    profile = {"default_dca_mode": "fixed", "fixed_mode_daily_limit": "1.000"}
    resolve = {
        "tx_type": "cash_out",
        "principal_sats": 1,
        "fee_sats": 0,
        "fiat_amount": "1.000",
        "fiat_code": "GTQ",
        "reason": "x",
    }
    claim = {"machine_id": desk.machine["id"], "amount": "1.000"}
    answers = [
        await put(f"/deposits/{other}", json={"amount": "1.000"}),
        await put(f"/deposits/{deposit}/status", json=back),
        await post(
            "/settlements/x/dispense", json={"dispensed_fiat": "1.000", "reason": "x"}
        ),
        await post("/settlements/x/resolve", json=resolve),
        await desk.lp.api.put("/lp", json=profile),
        await desk.lp.api.post("/lp/deposits", json=claim),
        await desk.operator.api.get("/deposits", params={"amount[ge]": "1.000"}),
    ]
    for answer in answers:
        assert "it can be read as 1000 and as 1.000" in refused(answer, 400)


async def test_a_close_rate(desk: Desk) -> None:
    path = f"/clients/{desk.client['id']}/close-balance"
    for text, rate in RATES.items():
        body = {
            "wallet_id": "not-there",
            "exchange_rate": text,
            "reason": "x",
            "idempotency_key": f"rate-{text}",
        }
        answer = await desk.operator.api.post(path, json=body)
        said = refused(answer, 400)
        assert ("exchange_rate" in said) == (rate is None), (text, said)


async def test_fractions_and_sats(desk: Desk) -> None:
    path = f"/machines/{desk.machine['id']}"
    put = desk.operator.api.put
    field = "operator_cash_in_fee_fraction"
    assert ok(await put(path, json={field: " 0.03 "}))[field] == "0.0300"
    for text in ("0,03", "0,030", "3 %"):
        assert field in refused(await put(path, json={field: text}), 400)
    for text, sats in SATS.items():
        answer = await put(path, json={"max_payout_sats": text})
        if sats is None:
            assert "max_payout_sats" in refused(answer, 400)
        else:
            assert ok(answer)["max_payout_sats"] == sats


async def test_a_currency_without_decimals(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, client, lp = await yen_desk(make_user, make_wallet)
    body = {"client_id": client["id"], "amount": "10000.50"}
    said = refused(await operator.api.post("/deposits", json=body), 400)
    assert said == (
        "amount is 10000.50: JPY has no decimal places; write a whole number."
    )
    deposit = ok(
        await operator.api.post("/deposits", json={**body, "amount": "10 000"}), 201
    )
    assert deposit["amount"] == "10000.00"  # JSON keeps two places
    path = f"/deposits/{deposit['id']}"
    refused(await operator.api.put(path, json={"amount": "0.5"}), 400)
    claim = {"client_id": client["id"], "amount": "1.5"}
    refused(await lp.api.post("/lp/deposits", json=claim), 400)
    ok(await operator.api.put(f"{path}/status", json={"status": "confirmed"}))
    part = {"status": "reversed", "amount": "0.5", "reason": "x"}
    refused(await operator.api.put(f"{path}/status", json=part), 400)
    much = {"status": "reversed", "amount": "20000", "reason": "x"}
    refused(await operator.api.put(f"{path}/status", json=much), 400)


async def test_a_currency_that_hundredths_cannot_hold(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator = await make_user()
    machine = await add_machine(operator, make_wallet)
    wallet = await make_wallet(operator, "other")
    body = {"machine_npub": "11" * 32, "wallet_id": wallet.id, "fiat_code": "KWD"}
    said = refused(await operator.api.post("/machines", json=body), 400)
    assert said == (
        "KWD has 3 decimal places, and amounts are kept with two: choose another "
        "currency."
    )
    path = f"/machines/{machine['id']}"
    refused(await operator.api.put(path, json={"fiat_code": "BHD"}), 400)
    assert ok(await operator.api.put(path, json={"fiat_code": "JPY"}))
