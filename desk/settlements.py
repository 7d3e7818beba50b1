"""One settlement: try what is open again, give it up, add a note, mark it as a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lnbits.db import Connection

from .. import bitspire, crud, distribution
from ..base.database import transaction
from ..base.refusals import ConflictError
from ..ledger import postings
from ..models import Leg, Settlement, utc_now
from ..money.replanning import is_open
from . import repairs_crud as sql
from .actions import (
    BEING_PAID,
    JUST_RETRIED,
    ConcurrentChangeError,
    audit_legs,
    audit_settlement,
    make_due,
    void,
    was_just_retried,
)
from .asking import VOID, ask, creditors


async def retry_settlement(user_id: str, settlement_id: str, reason: str) -> None:
    """All failed legs again, all waiting ones now, and a plan that failed once more."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        settlement = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(settlement.machine_id, conn)
        if settlement.planned_at is None:
            await _plan_again(conn, settlement)
            after: dict[str, Any] = {"status": "pending"}
        else:
            legs = [
                leg
                for leg in await crud.legs_of(settlement_id, conn)
                if is_open(leg)
                and leg.leg_type != "autoforward"
                and (leg.leg_type != "refund" or leg.target)
            ]
            if not legs:
                raise ConflictError("Nothing of this settlement waits to be paid.")
            legs = [leg for leg in legs if not was_just_retried(leg)]
            if not legs:
                raise ConflictError(JUST_RETRIED)
            await make_due(conn, legs)
            after = {"payments": [leg.id for leg in legs]}
        await audit_settlement(
            conn,
            user_id,
            "retry",
            settlement,
            machine,
            {"status": settlement.status},
            after,
            reason,
        )
    distribution.wake()


async def _plan_again(conn: Connection, settlement: Settlement) -> None:
    if settlement.dispense_state == bitspire.AWAITING:
        raise ConflictError(
            "Nothing is paid before it is known what the machine paid out in cash: "
            "enter that."
        )
    if settlement.status != "attention":
        raise ConflictError(
            f"This settlement is {settlement.status}: there is nothing to try again."
        )
    await sql.change_settlement(
        conn,
        settlement.copy(update={"status": "pending", "error_message": None}),
        ("status", "error_message"),
        ["attention"],
    )


VOIDABLE = (
    "quarantined",
    "awaiting_dispense",
    "pending",
    "processing",
    "attention",
    "completed",
)


async def void_settlement(user_id: str, settlement_id: str, reason: str) -> None:
    """Give up a settlement that has paid nothing: its sats stay in the machine wallet.

    What is planned for LPs and the platform is not the operator's to give up: they are
    asked, and it stays as it is until every one of them has said yes.
    """
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        settlement = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(settlement.machine_id, conn)
        if settlement.status == "voided":
            raise ConflictError("This settlement was voided already.")
        legs = await crud.legs_of(settlement_id, conn)
        _must_be_unpaid(legs)
        if machine and creditors(VOID, legs):
            await ask(conn, settlement, machine, legs, VOID, reason)
        else:
            await _void(conn, settlement, legs, user_id, reason)
    distribution.wake()


async def void_agreed(
    conn: Connection, settlement: Settlement, actor: str, reason: str
) -> None:
    """Give up a planned settlement with the yes of everybody who is owed. In the
    caller's transaction, under the ledger lock."""
    legs = await crud.legs_of(settlement.id, conn)
    _must_be_unpaid(legs)
    await _void(conn, settlement, legs, actor, reason)


async def _void(
    conn: Connection,
    settlement: Settlement,
    legs: Sequence[Leg],
    actor: str,
    reason: str,
) -> None:
    machine = await crud.get_machine(settlement.machine_id, conn)
    open_legs = [leg for leg in legs if is_open(leg)]
    await void(conn, open_legs, "The settlement was voided.")
    voided = settlement.copy(
        update={
            "status": "voided",
            "error_message": reason,
            "processed_at": utc_now(),
        }
    )
    columns = ("status", "error_message", "processed_at")
    if not await sql.change_settlement(conn, voided, columns, VOIDABLE):
        raise ConcurrentChangeError
    if settlement.planned_at is not None:
        given_up = sum(leg.amount_sats for leg in open_legs)
        await sql.add_retained(conn, settlement.id, given_up)
    await postings.post(conn, [settlement.id], "voided")
    facts = {"amount": settlement.fiat_amount, "currency": settlement.fiat_code}
    await audit_settlement(
        conn,
        actor,
        "void",
        settlement,
        machine,
        {"status": settlement.status},
        {
            "status": "voided",
            "platform_fee_sats": settlement.platform_fee_sats,
            "wire_sats": settlement.wire_sats,
            **facts,
        },
        reason,
    )
    of_lps = [(leg, {"status": "voided"}) for leg in open_legs if leg.client_id]
    await audit_legs(conn, actor, "void", of_lps, reason)


def is_paid(legs: Sequence[Leg]) -> bool:
    """Whether somebody was paid: then it cannot be given up any more."""
    return bool(_paid(legs))


def _paid(legs: Sequence[Leg]) -> list[Leg]:
    # a skipped leg is received; that of an LP took fiat off their balance
    return [
        leg
        for leg in legs
        if leg.status == "completed" or (leg.status == "skipped" and leg.client_id)
    ]


def _must_be_unpaid(legs: Sequence[Leg]) -> None:
    if any(leg.status == "pending" and leg.payout_id for leg in legs):
        raise ConflictError(BEING_PAID)
    paid = _paid(legs)
    if paid:
        raise ConflictError(
            f"{len(paid)} payments of this settlement were made: it cannot be voided "
            "any more. Void those that are still open."
        )


async def add_note(user_id: str, settlement_id: str, note: str) -> None:
    """Add a line to the settlement's memo; what stands there never changes."""
    line = f"{utc_now():%Y-%m-%d %H:%M} UTC: {note}"
    async with transaction() as conn:
        settlement = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(settlement.machine_id, conn)
        await sql.append_note(conn, settlement_id, line)
        await audit_settlement(
            conn, user_id, "note", settlement, machine, None, {"note": note}, None
        )


async def mark_seen(user_id: str, settlement_id: str, reason: str | None) -> None:
    """The operator has seen what attention says of a settlement beside its status."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        before = await sql.get_own_settlement(conn, settlement_id, user_id)
        if before.seen_at is not None:
            raise ConflictError("You have said already that you have seen this.")
        machine = await crud.get_machine(before.machine_id, conn)
        after = before.copy(update={"seen_at": utc_now()})
        await sql.change_settlement(conn, after, ("seen_at",), [before.status])
        await audit_settlement(
            conn, user_id, "seen", before, machine, None, None, reason
        )


async def mark_test(
    user_id: str, settlement_id: str, is_test: bool, reason: str
) -> None:
    """Take a settlement out of the totals, or back in: but one from which something was
    paid already, which stays in the books with its mark. Nothing else changes."""
    async with transaction() as conn:
        # the lock counts, so that open pages notice the change
        await crud.lock_ledger(conn)
        before = await sql.get_own_settlement(conn, settlement_id, user_id)
        if before.is_test == is_test:
            return
        machine = await crud.get_machine(before.machine_id, conn)
        after = before.copy(update={"is_test": is_test})
        await sql.change_settlement(conn, after, ("is_test",), [before.status])
        await postings.post(conn, [after.id], "test")
        await audit_settlement(
            conn,
            user_id,
            "test",
            before,
            machine,
            {"is_test": before.is_test},
            {"is_test": is_test},
            reason,
        )
