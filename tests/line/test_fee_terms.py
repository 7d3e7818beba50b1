"""Fixed fee and limits over the line: what a machine is told, charged and refused.

The price is one for quote, invoice, payout and what lands; a cash-out outside the
limits is refused before a customer pays, a cash-in is paid and marked: its notes are in
the box.
"""

from __future__ import annotations

from line_world import MakeOnLine, OnLine
from lnbits.core.crud import get_standalone_payment

from satmachineadmin import crud


async def with_fees(make_on_line: MakeOnLine, **fields: str) -> OnLine:
    found = await make_on_line()
    machine = found.world.machine
    api = found.world.operator.api
    answer = await api.put(f"/machines/{machine.id}", json=fields)
    assert answer.status_code == 200, answer.text
    assert {k: answer.json()[k] for k in fields} == fields
    return found


async def test_a_fixed_fee_is_quoted_charged_and_landed(
    make_on_line: MakeOnLine,
) -> None:
    found = await with_fees(
        make_on_line, operator_cash_out_fixed_fee="10.00", min_fiat="50.00"
    )
    world = found.world
    code = world.machine.fiat_code
    told = await found.ask("quote", {"tx_type": "cash_out", "fiat_code": code})
    assert told["operator_fixed_fee"] == "10.00"
    assert (told["min_fiat"], told["max_fiat"]) == ("50.00", None)
    told = await found.ask("quote", {"tx_type": "cash_in", "fiat_code": code})
    assert told["operator_fixed_fee"] == "0.00"
    # 200.00 are 100 000 sat, so 10.00 are 5 000 beside 3 000 and 5 000
    invoice = await found.ask("invoice", found.figures("one", fee=None))
    assert (invoice["fee_sats"], invoice["wire_sats"]) == (13_000, 113_000)
    await found.customer_pays(invoice["bolt11"])
    body = {**found.figures("one", fee=13_000), "tx_type": "cash_out"}
    body |= {"payment_hash": invoice["payment_hash"], "dispense": "confirmed"}
    assert (await found.ask("settlement", body))["status"] == "OK"
    settlement = await world.until(invoice["payment_hash"], "completed")
    assert settlement.fee_mismatch_sats == 0
    assert settlement.platform_fee_sats == 3_000
    assert settlement.operator_fee_sats == 10_000
    assert settlement.operator_cash_out_fixed_fee == 10
    assert await world.platform_sats() == 3_000
    await world.assert_ledger()


async def test_limits_refuse_a_sale_and_mark_a_purchase(
    make_on_line: MakeOnLine,
) -> None:
    found = await with_fees(make_on_line, min_fiat="300.00", max_fiat="400.00")
    world = found.world
    code = world.machine.fiat_code
    refused = await found.refused("invoice", found.figures("low"))
    assert refused["code"] == "limit"
    assert "300.00" in refused["reason"]
    asked = {"tx_type": "cash_out", "fiat_code": code, "fiat_amount": "500.00"}
    assert (await found.refused("quote", asked))["code"] == "limit"
    high = found.figures("high", principal=250_000, fee=20_000, fiat="500.00")
    assert (await found.refused("invoice", high))["code"] == "limit"
    await world.fund(world.machine_wallet.id, 101_000)
    bolt11 = await found.customer_asks_for(92_000)
    paid = await found.ask("payout", {**found.figures("in"), "bolt11": bolt11})
    assert paid["payment_status"] == "paid", paid
    assert await get_standalone_payment(paid["payment_hash"], incoming=False)
    settlement = await crud.get_settlement_by_hash(paid["payment_hash"])
    assert settlement
    assert ",outside_limits," in settlement.marks
    listed = await world.operator.api.get("/settlements?marks[like]=outside")
    assert listed.json()["data"][0]["marks"] == ["rate_not_checked", "outside_limits"]
