"""What the desk's tests begin with: what waits, what failed, what is being paid."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from lnbits.core.services import create_invoice
from world import Killed, World, update

from satmachineadmin import distribution
from satmachineadmin.base.database import db, fetch_all
from satmachineadmin.money import payouts

WHY = {"reason": "the receipt says so"}
FIGURES = {
    "tx_type": "cash_out",
    "principal_sats": 100_000,
    "fee_sats": 8_000,
    "fiat_amount": "200.00",
    "fiat_code": "GTQ",
    **WHY,
}


async def post(world: World, path: str, **body: Any) -> Any:
    return await world.operator.api.post(path, json={**WHY, **body})


async def act(world: World, settlement_id: str, action: str, **body: Any) -> Any:
    return await post(world, f"/settlements/{settlement_id}/{action}", **body)


async def grant(world: World, settlement_id: str) -> Any:
    """The super decides for everybody that less cash came out, as the operator says."""
    path = f"/super/settlements/{settlement_id}/decide"
    body = {"outcome": "accepted", "reason": "seen"}
    answer = await world.super_session.api.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer


async def audit_of(subject_id: str) -> list[tuple[str, str | None]]:
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT action, reason FROM satoshimachine.dca_audit "
            "WHERE subject_id = :id ORDER BY created_at, action",
            {"id": subject_id},
        )
    return [(r["action"], r["reason"]) for r in found]


async def awaiting(world: World, **stamp: Any) -> str:
    """A paid cash-out whose dispense is not reported yet; the settlement's id."""
    payment_hash = await world.cash_out(dispense="awaiting", **stamp)
    return (await world.until(payment_hash, "awaiting_dispense")).id


async def customer_invoice(world: World, sats: int) -> str:
    invoice = await create_invoice(
        wallet_id=world.customer.wallet.id, amount=sats, memo="my refund"
    )
    return str(invoice.bolt11)


def amounts(settlement: dict[str, Any]) -> dict[str, int]:
    """Sats by leg type of the legs that were not voided."""
    found: dict[str, int] = {}
    for leg in settlement["legs"]:
        if leg["status"] != "voided":
            found[leg["leg_type"]] = found.get(leg["leg_type"], 0) + leg["amount_sats"]
    return found


async def row_of(settlement_id: str) -> Any:
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_settlements WHERE id = :id",
            {"id": settlement_id},
        )
    return found[0]


async def failed_leg(world: World) -> tuple[str, str]:
    """A settlement whose dca leg failed for good: payment hash and leg id."""
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    assert settlement.status == "processing"
    (leg,) = await world.legs(payment_hash, "dca")
    await update(
        "dca_payments", leg.id, status="failed", attempts=10, error_message="gone"
    )
    await update("dca_settlements", settlement.id, status="attention")
    return payment_hash, leg.id


async def stop(world: World, reason: str | None = "a test stands by") -> None:
    await update("dca_machines", world.machine.id, payouts_stopped_reason=reason)


async def in_flight(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The process dies after the invoice was kept: nobody knows whether it was paid."""

    async def dies(*_: Any, **__: Any) -> None:
        raise Killed

    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    with monkeypatch.context() as patch:
        patch.setattr(payouts, "try_to_pay", dies)
        with pytest.raises(Killed):
            await distribution.worker.run_until_idle()
    legs = await world.legs(payment_hash)
    assert all(x.payout_id and x.external_payment_hash for x in legs)
    return payment_hash, next(x.id for x in legs if x.leg_type == "dca")


async def refundable(world: World) -> str:
    settlement_id = await awaiting(world)
    await act(world, settlement_id, "dispense", dispensed_fiat="0")
    await world.until((await row_of(settlement_id))["payment_hash"], "completed")
    return settlement_id


def close_body(world: World, **more: Any) -> dict[str, Any]:
    return {
        "wallet_id": world.operator.wallet.id,
        "exchange_rate": 133.3333,
        "idempotency_key": uuid4().hex,
        **more,
    }
