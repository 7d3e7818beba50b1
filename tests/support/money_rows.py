"""Settlements and legs as the engine would leave them, written straight to the table.

For tests of what is shown and of what a state forbids; how rows come to be there is
tested with the money path.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta, timezone
from typing import Any

from lnbits.helpers import urlsafe_short_hash

from satmachineadmin.base.audit import ENGINE
from satmachineadmin.base.database import execute, insert_sql, row_params, transaction
from satmachineadmin.cash.visits import open_visit
from satmachineadmin.crud import RECEIVED, get_machine, insert_legs
from satmachineadmin.desk.offers_crud import insert_offer
from satmachineadmin.desk.reconciliation import Report
from satmachineadmin.desk.reconciliation_crud import Period, keep_report
from satmachineadmin.desk.webhook_events import event_of
from satmachineadmin.desk.webhooks_crud import Webhook, put_webhook, write_events
from satmachineadmin.models import Leg, Offer, Payout, Settlement


async def _insert(table: str, row: Any) -> None:
    params = row_params(row)
    async with transaction() as conn:
        await execute(conn, insert_sql(table, params), params)


def ago(**span: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**span)


async def add_settlement(machine: dict[str, Any], **fields: Any) -> str:
    """A cash-out of 100 000 sat for 750.00 with a fee of 8 000; returns its id."""
    now = datetime.now(timezone.utc)
    settlement = Settlement(
        **{
            "id": urlsafe_short_hash(),
            "machine_id": machine["id"],
            "payment_hash": secrets.token_hex(32),
            "wire_sats": 108_000,
            "fiat_amount": "750.00",
            "fiat_code": machine["fiat_code"],
            "exchange_rate": 133.3333,
            "principal_sats": 100_000,
            "fee_sats": 8_000,
            "platform_fee_sats": 3_000,
            "operator_fee_sats": 5_000,
            "fee_mismatch_sats": 0,
            "tx_type": "cash_out",
            "status": "completed",
            "wallet_id": machine["wallet_id"],
            "transaction_time": now,
            "created_at": now,
            **fields,
        }
    )
    await _insert("dca_settlements", settlement)
    return settlement.id


async def add_leg(
    machine: dict[str, Any], settlement_id: str | None, **fields: Any
) -> str:
    """A completed dca leg of 1 000 sat; returns its id. The engine, which runs while
    tests do, leaves a pending one alone until tomorrow."""
    async with transaction() as conn:
        owner = await get_machine(machine["id"], conn)
    assert owner
    now = datetime.now(timezone.utc)
    leg = Leg(
        **{
            "id": urlsafe_short_hash(),
            "settlement_id": settlement_id,
            "machine_id": machine["id"],
            "operator_user_id": owner.operator_user_id,
            "leg_type": "dca",
            "leg_key": secrets.token_hex(8),
            "amount_sats": 1_000,
            "status": "completed",
            "source_wallet_id": machine["wallet_id"],
            "transaction_time": now,
            "created_at": now,
            "next_try_at": ago(days=-1) if fields.get("status") == "pending" else None,
            **fields,
        }
    )
    async with transaction() as conn:
        await insert_legs(conn, [leg])
        if leg.leg_type == "dca" and leg.status in RECEIVED:
            await execute(
                conn,
                "UPDATE satoshimachine.dca_settlements SET "
                "paid_to_lps_sats = paid_to_lps_sats + :sats WHERE id = :id",
                {"sats": leg.amount_sats, "id": settlement_id},
            )
    return leg.id


async def add_payout(machine: dict[str, Any], **fields: Any) -> str:
    payout = Payout(
        **{
            "id": urlsafe_short_hash(),
            "source_wallet_id": machine["wallet_id"],
            "destination": "wallet:x",
            "amount_sats": 1_000,
            "status": "invoiced",
            "payment_hash": secrets.token_hex(32),
            **fields,
        }
    )
    await _insert("dca_payouts", payout)
    return payout.id


async def add_offer(machine: dict[str, Any], client_id: str) -> str:
    """An offer to close an LP's balance that waits for them; returns its id."""
    async with transaction() as conn:
        owner = await get_machine(machine["id"], conn)
        assert owner
        offer = Offer(
            id=urlsafe_short_hash(),
            client_id=client_id,
            machine_id=owner.id,
            operator_user_id=owner.operator_user_id,
            wallet_id=owner.wallet_id,
            exchange_rate="12.5",
            reason="moving away",
            expires_at=ago(days=-14),
        )
        await insert_offer(conn, offer)
    return offer.id


async def set_status(table: str, row_id: str, status: str) -> None:
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE satoshimachine.{table} SET status = :status WHERE id = :id",
            {"status": status, "id": row_id},
        )


async def delete_settlement(settlement_id: str) -> None:
    async with transaction() as conn:
        await execute(
            conn,
            "DELETE FROM satoshimachine.dca_settlements WHERE id = :id",
            {"id": settlement_id},
        )


async def add_report(machine_id: str) -> str:
    """A reconciliation of the last day in which all books agree; returns its id."""
    period = Period(ago(days=1), ago())
    report = Report(machine_id, period)
    return await keep_report(machine_id, ENGINE, period, 0, report.as_dict())


async def add_visit(machine: dict[str, Any]) -> str:
    """A visit that somebody has open at the machine; returns its id."""
    async with transaction() as conn:
        own = await get_machine(machine["id"], conn)
        assert own
        return (await open_visit(conn, own, own.operator_user_id)).id


async def add_webhook_event(user_id: str) -> str:
    """An operator's webhook, at an address that nobody answers at, and an event that it
    is to be told in a day; the event's id."""
    now = datetime.now(timezone.utc)
    later = now + timedelta(days=1)
    hook = Webhook(
        operator_user_id=user_id,
        url="http://127.0.0.1:9/",
        secret="whsec_x",
        paused_until=later,
        **dict.fromkeys(("created_at", "updated_at", "read_from"), now),
    )
    event = event_of(user_id, "visit.closed", urlsafe_short_hash(), now, {}, now)
    event.next_try_at = later
    async with transaction() as conn:
        await put_webhook(conn, hook)
        await write_events(conn, [event])
    return event.id


async def add_staff(desk: Any) -> str:
    """Somebody whom the desk's operator asks to work for them; the row's id."""
    answer = await desk.operator.api.post("/staff", json={"role": "bookkeeper"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def nobody_elses_word(machine_id: str) -> None:
    """What other tests left for the super to look at is as if a machine had said it."""
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_settlements SET dispensed_by = 'machine' "
            "WHERE dispensed_by IS NOT NULL AND machine_id <> :id",
            {"id": machine_id},
        )


async def add_discount(desk: Any) -> str:
    """A code of the desk's operator that nobody used; its id."""
    body = {"code": secrets.token_hex(6), "fraction": "0.5000"}
    answer = await desk.operator.api.post("/discounts", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
