"""A machine paid out less cash than was sold: what is planned, and what is owed then.

Guaranteed: a figure lower than the machine's own, or said by a person of a sale that is
planned already, changes nothing of what LPs and the platform are owed until they agree
or the super decides (`consents.py`).
Not guaranteed: that a reported dispense is true. What the machine says was paid out in
cash is what is planned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lnbits.db import Connection

from .. import bitspire, crud, distribution
from ..base.audit import MACHINE
from ..base.currencies import check_amount, money
from ..base.database import dry_run, transaction
from ..base.rates import with_mark
from ..base.refusals import (
    BadInputError,
    ConflictError,
    NotFoundError,
    RefusedError,
)
from ..calculations import cents_text, dispense_split, fiat_cents
from ..cash.ledger import Report
from ..cash.postings import post_report
from ..ledger import postings
from ..models import (
    CASH_OUT,
    FREED_STATUSES,
    UNPAID_LEG_STATUSES,
    Fiat,
    Leg,
    Machine,
    Mark,
    Settlement,
    WaitCode,
    utc_now,
)
from ..money.replanning import Replan, Resize, replan
from . import repairs_crud as sql
from .actions import (
    MAX_CAS_ATTEMPTS,
    ConcurrentChangeError,
    audit_legs,
    audit_settlement,
)
from .asking import DISPENSE, ask, creditors, machines_own_cents

# the legs by which a sale is shared out
SHARES = ("dca", "super_fee", "operator_split")
DISPENSED = (
    "dispensed_fiat",
    "dispensed_principal_sats",
    "dispensed_fee_sats",
    "dispensed_platform_fee_sats",
    "dispensed_operator_fee_sats",
    "dispense_state",
    "dispensed_by",
    "refund_sats",
)


async def report_dispense(
    user_id: str, settlement_id: str, dispensed_cents: int, reason: str
) -> None:
    """What the operator says that the machine paid out in cash: counted, or asked of
    those from whom it would take."""
    report = Report(
        said_at=utc_now(), by=user_id, cents=dispensed_cents, is_machine=False
    )

    async def say(conn: Connection) -> None:
        settlement = await sql.get_own_settlement(conn, settlement_id, user_id)
        if await _asked(conn, settlement, dispensed_cents, reason):
            return
        await apply_dispense(conn, settlement, dispensed_cents, user_id, reason)
        await book_report(conn, settlement, report)

    await _do_and_wake(say)


@dataclass(frozen=True)
class Outcome:
    """What a report of a dispense would come to: who gets what of the sale then."""

    asks: bool  # those who are owed are asked first; this is so if they agree
    changes: bool
    lps_sats: int
    platform_sats: int
    operator_sats: int
    refund_sats: int
    paid_sats: int  # of what LPs, the platform and split targets get
    loss_sats: int


async def preview_dispense(
    user_id: str, settlement_id: str, dispensed_cents: int
) -> Outcome:
    """What `report_dispense` would do, done by the same code and taken back. Raises
    what it would raise."""
    async with dry_run() as conn:
        await crud.lock_ledger(conn)
        before = await sql.get_own_settlement(conn, settlement_id, user_id)
        asks = await _asked(conn, before, dispensed_cents, None)
        after = await apply_dispense(conn, before, dispensed_cents, user_id)
        legs = await crud.legs_of(after.id, conn)
    return _outcome(before, after, legs, asks)


def _outcome(
    before: Settlement, after: Settlement, legs: Sequence[Leg], asks: bool
) -> Outcome:
    def of(leg_type: str) -> int:
        counted = [x for x in legs if x.leg_type == leg_type]
        return sum(x.amount_sats for x in counted if x.status not in FREED_STATUSES)

    changed = any(
        getattr(before, x) != getattr(after, x) for x in (*DISPENSED, "marks")
    )
    not_paid = (*UNPAID_LEG_STATUSES, *FREED_STATUSES)
    paid = [x for x in legs if x.leg_type in SHARES and x.status not in not_paid]
    if after.planned_at is None:
        lps_sats = after.dispensed_principal_sats or 0
        platform_sats = after.dispensed_platform_fee_sats or 0
        operator_sats = after.dispensed_operator_fee_sats or 0
        refund_sats = after.refund_sats
    else:
        lps_sats, platform_sats = of("dca"), of("super_fee")
        operator_sats = of("operator_split") + (after.retained_sats or 0)
        refund_sats = of("refund")
    return Outcome(
        asks=asks,
        changes=changed or before.status != after.status,
        lps_sats=lps_sats,
        platform_sats=platform_sats,
        operator_sats=operator_sats,
        refund_sats=refund_sats,
        paid_sats=sum(x.amount_sats for x in paid),
        loss_sats=after.loss_sats or 0,
    )


async def machine_reports(
    settlement: Settlement, dispensed_cents: int, report: Report
) -> None:
    """What the machine says that it paid out; said again, nothing changes. The notes
    are booked as it says, even where the money of it is refused."""

    async def say(conn: Connection) -> None:
        await apply_dispense(conn, settlement, dispensed_cents, MACHINE)
        await book_report(conn, settlement, report)

    try:
        await _do_and_wake(say)
    except RefusedError:
        async with transaction() as conn:
            await book_report(conn, settlement, report)
        raise


async def _asked(
    conn: Connection, before: Settlement, cents: int, reason: str | None
) -> bool:
    """Whether this takes from others what they did not agree to: then they are asked,
    and nothing else happens."""
    machine = await crud.get_machine(before.machine_id, conn)
    _must_be_dispensable(before)
    if before.status == "quarantined" or machine is None:
        return False
    _said(before, cents)  # what cannot be believed is refused, and not asked
    legs = await crud.legs_of(before.id, conn)
    if before.planned_at is None:
        own = machines_own_cents(before)
        takes = own is not None and cents < own
    else:
        takes = cents < planned_cents(before) and bool(creditors(DISPENSE, legs))
    if takes:
        await ask(conn, before, machine, legs, DISPENSE, reason, cents)
    return takes


async def _do_and_wake(say: Callable[[Connection], Awaitable[None]]) -> None:
    """In one transaction under the lock. Raises `ConcurrentChangeError` if payouts were
    faster every time."""
    for attempt in range(MAX_CAS_ATTEMPTS):
        try:
            async with transaction() as conn:
                await crud.lock_ledger(conn)
                await say(conn)
            break
        except ConcurrentChangeError:
            if attempt == MAX_CAS_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0)
    distribution.wake()


async def book_report(conn: Connection, settlement: Settlement, report: Report) -> None:
    """The notes of a report, in the cash book."""
    machine = await crud.get_machine(settlement.machine_id, conn)
    if machine:
        await post_report(conn, settlement, machine, report)


async def apply_dispense(
    conn: Connection,
    settlement: Settlement,
    dispensed_cents: int,
    source: str,
    reason: str | None = None,
) -> Settlement:
    """Plan a cash-out by what was really dispensed; its row afterwards.

    `source` is who says so, for the log: a user id or `audit.MACHINE`. Said again,
    nothing changes. After planning it can only become less: legs that are not paid and
    not on their way shrink, and the rest of what the customer is owed comes out of the
    wallet's free balance. More than was sold is planned as all of it, and marked. The
    caller commits, and then wakes the engine.
    Raises `BadInputError` and `ConflictError`.
    """
    await crud.lock_ledger(conn)
    before = await crud.get_settlement(settlement.id, conn)
    machine = await crud.get_machine(settlement.machine_id, conn)
    if before is None or machine is None:
        raise NotFoundError("There is no such settlement.")
    _must_be_dispensable(before)
    if before.status == "quarantined":
        return await _keep_report(
            conn, before, machine, dispensed_cents, source, reason
        )
    after = _said(before, dispensed_cents)
    after.dispensed_by = source
    if source == MACHINE:
        after.reported_fiat = Fiat(cents_text(dispensed_cents))
        after.reported_by = MACHINE
    change: Change | None
    if before.planned_at is None:
        change = _new_plan(before, after)
    elif dispensed_cents > fiat_cents(before.fiat_amount):
        change = _only_marked(before, after)
    else:
        change = await _planned_anew(conn, before, after, machine, source, reason)
    if change is None:
        return before
    after, columns, was = change
    if not await sql.change_settlement(conn, after, columns, was):
        raise ConcurrentChangeError
    await crud.refresh_settlements(conn, [after.id])
    if before.planned_at is not None:
        await postings.post(conn, [after.id], "dispense")
    await audit_settlement(
        conn,
        source,
        "dispense",
        before,
        machine,
        {name: getattr(before, name) for name in columns if name not in WHOSE},
        {name: getattr(after, name) for name in columns if name not in WHOSE},
        reason,
    )
    return await crud.get_settlement(settlement.id, conn) or after


REPORTED = ("reported_fiat", "reported_by")
# the log has its actor, and no user id beside it
WHOSE = ("dispensed_by", "reported_by")
PLANNED = ["processing", "attention", "completed"]
# a settlement as it is to be, the columns that change, and from which statuses
Change = tuple[Settlement, tuple[str, ...], list[str]]


def _said(before: Settlement, dispensed_cents: int) -> Settlement:
    """The settlement as a report says it: more than was sold is all, and marked."""
    ordered_cents = fiat_cents(before.fiat_amount)
    if dispensed_cents != ordered_cents:
        said = Decimal(cents_text(dispensed_cents))
        check_amount(said, before.fiat_code, "dispensed_fiat")
    after = _dispensed(before, min(dispensed_cents, ordered_cents))
    if dispensed_cents > ordered_cents:
        after.marks = with_mark(before.marks, Mark.MORE_DISPENSED)
    return after


def _new_plan(before: Settlement, after: Settlement) -> Change | None:
    is_news = (after.marks, after.reported_by) != (before.marks, before.reported_by)
    if _is_known(before, planned_cents(after)) and not is_news:
        return None
    after.status, after.error_message = "pending", None
    columns = (*DISPENSED, *REPORTED, "status", "error_message", "marks")
    return after, columns, ["awaiting_dispense", "attention", "pending"]


def _only_marked(before: Settlement, after: Settlement) -> Change | None:
    """What is planned stays: nobody gets more sats for notes too many."""
    if after.marks == before.marks:
        return None
    return before.copy(update={"marks": after.marks}), ("marks",), PLANNED


async def _planned_anew(
    conn: Connection,
    before: Settlement,
    after: Settlement,
    machine: Machine,
    source: str,
    reason: str | None,
) -> Change | None:
    plan = await _plan_less(conn, before, after, machine)
    if plan is None:
        return None
    await _apply_plan(conn, plan, source, reason)
    after.retained_sats, after.loss_sats = plan.retained_sats, plan.loss_sats
    return after, (*DISPENSED, "retained_sats", "loss_sats"), PLANNED


def _must_be_dispensable(settlement: Settlement) -> None:
    if settlement.status == "voided":
        raise ConflictError("This settlement was voided.")
    is_unread = settlement.status == "quarantined" and not settlement.tx_type
    if settlement.is_outgoing or not (settlement.tx_type == CASH_OUT or is_unread):
        raise ConflictError("Only a cash-out is dispensed.")


async def _keep_report(
    conn: Connection,
    before: Settlement,
    machine: Machine,
    dispensed_cents: int,
    source: str,
    reason: str | None,
) -> Settlement:
    """What came out of the machine for a sale that is held back: kept, and counted when
    its figures are right. Nobody is paid by it now."""
    if dispensed_cents < 0:
        raise BadInputError("dispensed_fiat must not be negative.")
    known = before.reported_fiat
    is_machines = before.reported_by == MACHINE and source != MACHINE
    if known is not None and is_machines and dispensed_cents < fiat_cents(known):
        raise ConflictError(
            f"The machine itself reported {known} {machine.fiat_code} dispensed: "
            "resolve the settlement first."
        )
    after = before.copy(
        update={
            "reported_fiat": Fiat(cents_text(dispensed_cents)),
            "reported_by": source,
        }
    )
    if (known, before.reported_by) == (after.reported_fiat, source):
        return before
    columns = ("reported_fiat", "reported_by")
    if not await sql.change_settlement(conn, after, columns, ["quarantined"]):
        raise ConcurrentChangeError
    await audit_settlement(
        conn,
        source,
        "dispense",
        before,
        machine,
        {"reported_fiat": known},
        {"reported_fiat": after.reported_fiat},
        reason,
    )
    return after


async def apply_kept_report(
    conn: Connection, settlement: Settlement, reason: str | None = None
) -> None:
    """The dispense that was reported while the sale was held back, now that its figures
    are known; more than was sold counts as all of it."""
    if settlement.reported_fiat is None or settlement.tx_type != CASH_OUT:
        return
    cents = fiat_cents(settlement.reported_fiat)
    source = settlement.reported_by or MACHINE
    if source == MACHINE or not await _asked(conn, settlement, cents, reason):
        await apply_dispense(conn, settlement, cents, source, reason)


async def apply_kept_reports(settlement: Settlement) -> None:
    """The same in a transaction of its own, for a sale that the machine released."""
    async with transaction() as conn:
        await apply_kept_report(conn, settlement)
    distribution.wake()


def planned_cents(settlement: Settlement) -> int:
    """What the plan goes by, minor units: what was dispensed, or sold."""
    dispensed = settlement.dispensed_fiat
    return fiat_cents(settlement.fiat_amount if dispensed is None else dispensed)


def _is_known(settlement: Settlement, dispensed_cents: int) -> bool:
    is_open = settlement.dispense_state == bitspire.AWAITING
    is_stuck = settlement.status == "attention"
    same = planned_cents(settlement) == dispensed_cents
    return same and not is_open and not is_stuck


def _dispensed(settlement: Settlement, dispensed_cents: int) -> Settlement:
    landed_cents = fiat_cents(settlement.fiat_amount)
    try:
        split = dispense_split(
            settlement.principal_sats,
            settlement.fee_sats,
            settlement.platform_fee_sats,
            settlement.operator_fee_sats,
            settlement.wire_sats,
            landed_cents,
            dispensed_cents,
        )
    except ValueError as exc:
        raise BadInputError(str(exc)) from exc
    is_full = dispensed_cents == landed_cents
    return settlement.copy(
        update={
            "dispensed_fiat": Fiat(cents_text(dispensed_cents)),
            "dispensed_principal_sats": split.principal_sats,
            "dispensed_fee_sats": split.fee_sats,
            "dispensed_platform_fee_sats": split.platform_fee_sats,
            "dispensed_operator_fee_sats": split.operator_fee_sats,
            "dispense_state": bitspire.CONFIRMED if is_full else "partial",
            "refund_sats": split.refund_sats,
        }
    )


async def _plan_less(
    conn: Connection, before: Settlement, after: Settlement, machine: Machine
) -> Replan | None:
    """How what is open of a planned settlement shrinks; None if nothing changes.

    Said again, a short dispense may still change something: a payment that was on its
    way then may have failed since.
    """
    planned, now_cents = planned_cents(before), planned_cents(after)
    if now_cents > planned:
        raise ConflictError(
            f"{money(planned, before.fiat_code)} dispensed is what was planned: "
            "it can become less, not more."
        )
    if now_cents == planned and before.dispense_state != "partial":
        return None
    legs = await crud.legs_of(before.id, conn)
    plan = replan(before, after, machine, legs, utc_now())
    is_same = now_cents == planned and not plan.resized and not plan.added
    return None if is_same else plan


async def _apply_plan(
    conn: Connection, plan: Replan, source: str, reason: str | None
) -> None:
    for change in plan.resized:
        await _apply_resize(conn, change)
    await crud.add_debits(conn, plan.debit_changes)
    await crud.insert_legs(conn, plan.added)
    changed = [(r.leg, _resized_facts(r)) for r in plan.resized]
    await audit_legs(conn, source, "resize", changed, reason)


async def _apply_resize(conn: Connection, change: Resize) -> None:
    if change.is_voided:
        why = "Voided: the machine paid out less cash than was planned."
        code = WaitCode.LESS_CASH
        done = await sql.void_legs(conn, [change.leg.id], why, code)
    else:
        done = await sql.resize(conn, change)
    if done != 1:
        raise ConcurrentChangeError


def _resized_facts(change: Resize) -> dict[str, Any]:
    if change.is_voided:
        return {"status": "voided"}
    facts: dict[str, Any] = {"amount_sats": change.amount_sats}
    if change.leg.amount_fiat is not None:
        facts["amount_fiat"] = cents_text(change.fiat_cents or 0)
    return facts
