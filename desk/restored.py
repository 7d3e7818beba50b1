"""One of the two databases was restored from an older backup: take over, or undo.

Guaranteed: what LNbits paid and we did not know is written as completed legs from what
the payment itself says, and is not paid again; what LNbits does not know is voided with
its legs, and LPs get their fiat back. Each is one transaction with its audit entry, by
a person. When nothing is left to look at, the machine's payouts go on.
Not guaranteed: payments of versions that named no legs in their payments, and of very
many legs at once, cannot be taken over: a person looks, and lets the machine go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lnbits.db import Connection

from .. import crud, distribution
from ..base.audit import write_audit
from ..base.database import transaction
from ..base.refusals import ConflictError, NotFoundError
from ..models import Leg, Machine, Settlement, utc_now
from ..money import strays_crud
from ..money.planning import FREE_PART, LegMaker, owed_of
from ..money.replanning import is_open
from ..money.strays_crud import LOST, UNKNOWN, Stray
from . import reconciliation_crud
from . import restored_crud as sql
from .actions import audit_legs, void

UNDONE = "Undone: LNbits does not know this payment any more."
NOT_OWED = "Not owed: others were paid, as LNbits' payments say."


@dataclass(frozen=True)
class Done:
    """How many payments were dealt with, their sats, and how many are left."""

    payments: int
    amount_sats: int
    left: int


async def take_over(user_id: str, machine_id: str, reason: str) -> Done:
    """Write down what LNbits paid and we did not know. Raises `NotFoundError`, and
    `ConflictError` when there is nothing, or nothing that can be worked out yet."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        machine = await _own_machine(conn, machine_id, user_id)
        found = await strays_crud.open_strays(conn, machine_id, UNKNOWN)
        if not found:
            raise ConflictError("LNbits made no payments that are not known here.")
        taken = [x for x in found if await _take(conn, machine, x, user_id, reason)]
        if not taken:
            raise ConflictError(
                "These payments name no settlements that are planned here: wait until "
                "the sales have landed, enter dispenses that are missing, and try "
                "again."
            )
        hashes = [x.payment_hash for x in taken]
        await strays_crud.end(conn, machine_id, "taken_over", hashes)
        done = await _finish(conn, machine, "take_over", taken, user_id, reason)
    distribution.wake()
    return done


async def undo(user_id: str, machine_id: str, reason: str) -> Done:
    """Void what LNbits does not know. Raises `NotFoundError` and `ConflictError`."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        machine = await _own_machine(conn, machine_id, user_id)
        lost = await strays_crud.open_strays(conn, machine_id, LOST)
        if not lost:
            raise ConflictError("Nothing stands here that LNbits does not know.")
        hashes = [x.payment_hash for x in lost]
        for settlement in await sql.settlements_of_hashes(conn, machine_id, hashes):
            await _undo_settlement(conn, settlement, user_id, reason)
        await sql.reopen_legs(conn, hashes, UNDONE)
        await sql.end_payouts(conn, hashes, UNDONE)
        await sql.refresh_of_machine(conn, machine_id)
        await reconciliation_crud.recount_received_in(conn, machine_id)
        await strays_crud.end(conn, machine_id, "undone", hashes)
        done = await _finish(conn, machine, "undo", lost, user_id, reason)
    distribution.wake()
    return done


async def _own_machine(conn: Connection, machine_id: str, user_id: str) -> Machine:
    machine = await crud.get_machine(machine_id, conn)
    if machine is None or machine.operator_user_id != user_id:
        raise NotFoundError("There is no such machine of yours.")
    return machine


async def _finish(
    conn: Connection,
    machine: Machine,
    action: str,
    strays: Sequence[Stray],
    user_id: str,
    reason: str,
) -> Done:
    left = await sql.go_on_if_nothing_is_left(conn, machine.id)
    done = Done(len(strays), sum(x.amount_sats for x in strays), left)
    await write_audit(
        conn,
        user_id,
        f"machine.{action}",
        "machine",
        machine.id,
        None,
        {"payments": done.payments, "amount_sats": done.amount_sats},
        reason,
        operator_user_id=user_id,
        machine_id=machine.id,
    )
    return done


# ------------------------------------------------------------------------- take over


@dataclass(frozen=True)
class Fact:
    """One leg that a payment says it paid."""

    settlement: Settlement
    leg_type: str
    leg_key: str
    amount_sats: int
    fiat_cents: int | None


async def _take(
    conn: Connection, machine: Machine, stray: Stray, actor: str, reason: str
) -> bool:
    """One payment's legs as completed, and its payout as paid; False if it does not say
    what it paid, or speaks of a sale that is not planned here."""
    facts = await _facts(conn, machine, stray)
    if not facts:
        return False
    legs: list[Leg] = []
    for fact in facts:
        legs.append(await _completed_leg(conn, machine, fact, stray))
    await sql.write_paid_payout(conn, stray, legs)
    await crud.add_received(conn, legs)
    for settlement in {x.settlement.id: x.settlement for x in facts}.values():
        await _rebalance(conn, settlement, actor, reason)
    await crud.refresh_settlements(conn, [x.settlement.id for x in facts])
    changes = [(leg, {"status": "completed"}) for leg in legs]
    await audit_legs(conn, actor, "take_over", changes, reason)
    return True


async def _facts(conn: Connection, machine: Machine, stray: Stray) -> list[Fact]:
    said = stray.extra.get("legs")
    facts = []
    for one in said if isinstance(said, list) else []:
        fact = await _fact(conn, machine, one)
        if fact is None:
            return []
        facts.append(fact)
    return facts


async def _fact(conn: Connection, machine: Machine, said: Any) -> Fact | None:
    if not isinstance(said, list) or len(said) != 5:
        return None
    payment_hash, leg_type, leg_key, sats, cents = said
    is_number = type(sats) is int and (cents is None or type(cents) is int)
    if not (is_number and sats > 0 and isinstance(payment_hash, str)):
        return None
    settlement = await crud.get_settlement_by_hash(payment_hash, conn)
    if settlement is None or settlement.planned_at is None:
        return None
    if settlement.machine_id != machine.id or leg_type == "autoforward":
        return None
    return Fact(settlement, str(leg_type), str(leg_key), sats, cents)


async def _completed_leg(
    conn: Connection, machine: Machine, fact: Fact, stray: Stray
) -> Leg:
    """The leg of the plan that this payment paid, as it was paid; or a new one, where
    today's plan has none for that party."""
    planned = [
        leg
        for leg in await crud.legs_of(fact.settlement.id, conn)
        if (leg.leg_type, leg.leg_key) == (fact.leg_type, fact.leg_key)
    ]
    if planned and planned[0].status in ("pending", "failed"):
        leg = planned[0]
        await sql.settle_leg(conn, leg, fact.amount_sats, fact.fiat_cents, stray)
        return await crud.get_leg(leg.id, conn) or leg
    make = LegMaker(fact.settlement, machine, utc_now())
    key = fact.leg_key if not planned else f"{fact.leg_key}:{stray.payment_hash}"
    leg = make.leg(fact.leg_type, key, fact.amount_sats)
    if fact.leg_type == "dca":
        leg.client_id = fact.leg_key.removesuffix(FREE_PART)
    return await sql.insert_settled_leg(conn, leg, fact.fiat_cents, stray)


async def _rebalance(
    conn: Connection, settlement: Settlement, actor: str, reason: str
) -> None:
    """What stays of a sale whose legs are others than planned. Who was not paid, and
    for whom nothing is left of it, is not owed: others got it."""
    legs = [
        x
        for x in await crud.legs_of(settlement.id, conn)
        if x.leg_type != "autoforward" and x.status not in ("voided", "refunded")
    ]
    available = owed_of(settlement).available_sats
    total = sum(x.amount_sats for x in legs)
    # what spends free balance is owed beyond what the sale holds, and stays owed
    beyond = sum(x.amount_sats for x in legs if x.from_free_balance)
    for leg in [x for x in legs if x.leg_type == "dca" and is_open(x)]:
        if total - beyond <= available:
            break
        if leg.from_free_balance:
            continue
        await void(conn, [leg], NOT_OWED)
        await audit_legs(conn, actor, "void", [(leg, {"status": "voided"})], reason)
        total -= leg.amount_sats
    await sql.set_rest(
        conn, settlement.id, max(0, available - total), max(0, total - available)
    )


# ------------------------------------------------------------------------------- undo


async def _undo_settlement(
    conn: Connection, settlement: Settlement, actor: str, reason: str
) -> None:
    """Void a sale whose payment LNbits does not know, with all of its legs."""
    legs = [
        x
        for x in await crud.legs_of(settlement.id, conn)
        if x.status not in ("voided", "refunded")
    ]
    await sql.void_whatever_their_state(conn, [x.id for x in legs], UNDONE)
    back: dict[str, int] = {}
    for leg in legs:
        if leg.client_id and leg.leg_type == "dca" and leg.amount_fiat:
            cents = int(leg.amount_fiat * 100)
            back[leg.client_id] = back.get(leg.client_id, 0) - cents
    await crud.add_debits(conn, back)
    await sql.void_settlement(conn, settlement.id, UNDONE)
    await audit_legs(
        conn, actor, "undo", [(x, {"status": "voided"}) for x in legs], reason
    )
