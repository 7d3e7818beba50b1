"""Legs made smaller in the database, as `replanning.py` says.

Guaranteed: only a leg that is unpaid and in no payout changes, and only if it still has
the amounts that were read; LPs' debits change with it in the same transaction.
"""

from __future__ import annotations

from typing import Any

from lnbits.db import Connection

from .. import crud
from ..base.database import db, db_time, execute
from ..calculations import cents_text
from ..ledger import postings
from ..models import Leg, Settlement, WaitCode, utc_now
from .replanning import Replan, Resize, replan

__all__ = ["db"]

LESS_CASH = "Voided: the machine paid out less cash than was planned."
OPEN = "status IN ('pending', 'failed') AND payout_id IS NULL"


async def refit(conn: Connection, settlement_id: str) -> bool:
    """Make the open legs of a settlement fit what was dispensed, once more.

    A leg that was on its way while a short dispense was reported kept its size: once
    its payment has failed it is as open as the others were. True if anything changed.
    """
    settlement = await crud.get_settlement(settlement_id, conn)
    if not settlement or not _is_short(settlement):
        return False
    machine = await crud.get_machine(settlement.machine_id, conn)
    if machine is None:
        return False
    legs = await crud.legs_of(settlement.id, conn)
    plan = replan(settlement, settlement, machine, legs, utc_now())
    if not plan.resized and not plan.added:
        return False
    for change in plan.resized:
        await _resize_or_void(conn, change)
    await crud.add_debits(conn, plan.debit_changes)
    await crud.insert_legs(conn, plan.added)
    await _keep_sums(conn, settlement.id, plan)
    await crud.refresh_settlements(conn, [settlement.id])
    await postings.post(conn, [settlement.id], "dispense")
    return True


def _is_short(settlement: Settlement) -> bool:
    return settlement.planned_at is not None and settlement.dispense_state == "partial"


async def _resize_or_void(conn: Connection, change: Resize) -> None:
    if not change.is_voided:
        await resize(conn, change)
        return
    await execute(
        conn,
        f"""
        UPDATE satoshimachine.dca_payments SET status = 'voided', completed_at = :now,
            next_try_at = NULL, error_message = :why, wait_code = :code
        WHERE id = :id AND {OPEN}
        """,  # noqa: S608
        {
            "id": change.leg.id,
            "now": db_time(utc_now()),
            "why": LESS_CASH,
            "code": WaitCode.LESS_CASH,
        },
    )


async def resize(conn: Connection, change: Resize) -> int:
    """Give an open leg its new amounts, if it still has the ones that were read.

    A given invoice is for the old amount: the leg loses it.
    """
    leg: Leg = change.leg
    is_for_one_sum = leg.leg_type == "refund" and "@" not in (leg.target or "@")
    params: dict[str, Any] = {
        "id": leg.id,
        "was": leg.amount_sats,
        "sats": change.amount_sats,
        "target": None if is_for_one_sum else leg.target,
    }
    fiat = ""
    if leg.amount_fiat is not None:
        fiat = "amount_fiat = :fiat,"
        params["fiat"] = cents_text(change.fiat_cents or 0)
    return await execute(
        conn,
        f"""
        UPDATE satoshimachine.dca_payments
        SET amount_sats = :sats, {fiat} target = :target
        WHERE id = :id AND {OPEN} AND amount_sats = :was
        """,  # noqa: S608
        params,
    )


async def _keep_sums(conn: Connection, settlement_id: str, plan: Replan) -> None:
    await execute(
        conn,
        "UPDATE satoshimachine.dca_settlements SET retained_sats = :retained, "
        "loss_sats = :loss WHERE id = :id",
        {
            "id": settlement_id,
            "retained": plan.retained_sats,
            "loss": plan.loss_sats,
        },
    )
