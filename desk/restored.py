"""One of the two databases was restored from an older backup: take over, or undo.

Guaranteed: what LNbits paid and we did not know is written as completed legs from what
the payment itself says, and is not paid again; what LNbits does not know is voided with
its legs, and LPs get their fiat back. Each is one transaction with its audit entry, by
a person. When nothing is left to look at, the machine's payouts go on.
Not guaranteed: payments of versions that named no legs in their payments, and of very
many legs at once, cannot be taken over: a person looks, and lets the machine go on.
What is still on its way waits until LNbits knows what became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from .. import crud, distribution
from ..base.audit import write_audit
from ..base.database import db, transaction
from ..base.refusals import ConflictError, NotFoundError
from ..calculations import cents_text, largest_remainder
from ..host.payments import rows_by_hash
from ..models import Fiat, Leg, Machine, Settlement, utc_now
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
    async with db.connect() as conn:
        seen = await strays_crud.open_strays(conn, machine_id, UNKNOWN)
    ends = await _ends_of(seen)
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        machine = await _own_machine(conn, machine_id, user_id)
        found = await strays_crud.open_strays(conn, machine_id, UNKNOWN)
        if not found:
            raise ConflictError("LNbits made no payments that are not known here.")
        refused = [x.payment_hash for x in found if _status(x, ends) == "failed"]
        await strays_crud.end(conn, machine_id, "failed", refused)
        taken = []
        for stray in sorted(found, key=_is_forward):
            end = ends.get(stray.payment_hash)
            if end and end.status == "success":
                take = Take(conn, machine, stray, end.receiver_id)
                if await take.all(user_id, reason):
                    taken.append(stray)
        if not taken and not refused:
            raise ConflictError(_why_nothing(found, ends))
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
class End:
    """What LNbits says of a payment out: its status, and whose it is within it."""

    status: str
    receiver_id: str | None


async def _ends_of(strays: Sequence[Stray]) -> dict[str, End]:
    rows = await rows_by_hash([x.payment_hash for x in strays])
    ends: dict[str, End] = {}
    for stray in strays:
        own = rows.get(stray.payment_hash, [])
        status = [
            row.status
            for row in own
            if row.amount_msat < 0 and row.wallet_id == stray.wallet_id
        ]
        receiver = [row.wallet_id for row in own if row.is_receipt]
        if status:
            ends[stray.payment_hash] = End(status[0], receiver[0] if receiver else None)
    return ends


def _status(stray: Stray, ends: dict[str, End]) -> str:
    return ends[stray.payment_hash].status if stray.payment_hash in ends else ""


def _why_nothing(found: Sequence[Stray], ends: dict[str, End]) -> str:
    if any(_status(x, ends) == "pending" for x in found):
        return (
            "These payments are still on their way: wait until LNbits knows what "
            "became of them."
        )
    return (
        "These payments name no settlements that are planned here: wait until "
        "the sales have landed, enter dispenses that are missing, and try "
        "again."
    )


def _is_forward(stray: Stray) -> bool:
    """What an LP forwarded is taken over after what they received."""
    said = stray.extra.get("legs")
    return any(x[1:2] == ["autoforward"] for x in said or [] if isinstance(x, list))


@dataclass(frozen=True)
class Fact:
    """One leg that a payment says it paid; of a balance that was paid out, it has no
    settlement. A wallet of an LP's, or of the operator's, may have paid for several
    machines at once."""

    machine_id: str
    settlement: Settlement | None
    leg_type: str
    leg_key: str
    amount_sats: int
    fiat_cents: int | None
    parent: Leg | None = None


@dataclass(frozen=True)
class Take:
    """One payment's legs as completed, and its payout as paid."""

    conn: Connection
    machine: Machine
    stray: Stray
    receiver_id: str | None

    async def all(self, actor: str, reason: str) -> bool:
        """False if it does not say what it paid, or speaks of a sale that is not
        planned here: then nothing is written."""
        facts = await self._facts()
        if not facts:
            return False
        # what the routing took of a payment outside did not arrive
        sent = largest_remainder(self.stray.amount_sats, [x.amount_sats for x in facts])
        legs = [
            await self._completed_leg(fact, arrived)
            for fact, arrived in zip(facts, sent, strict=True)
        ]
        await sql.write_paid_payout(self.conn, self.stray, legs, self.receiver_id)
        await crud.add_received(self.conn, legs)
        settlements = {x.settlement.id: x.settlement for x in facts if x.settlement}
        for settlement in settlements.values():
            await _rebalance(self.conn, settlement, actor, reason)
        await crud.refresh_settlements(self.conn, list(settlements))
        changes = [(leg, {"status": "completed"}) for leg in legs]
        await audit_legs(self.conn, actor, "take_over", changes, reason)
        return True

    async def _facts(self) -> list[Fact]:
        said = self.stray.extra.get("legs")
        facts = []
        for one in said if isinstance(said, list) else []:
            fact = await self._fact(one)
            if fact is None:
                return []
            facts.append(fact)
        return facts

    async def _fact(self, said: Any) -> Fact | None:
        if not isinstance(said, list) or len(said) != 5:
            return None
        payment_hash, leg_type, leg_key, sats, cents = said
        is_number = type(sats) is int and (cents is None or type(cents) is int)
        if not (is_number and sats > 0):
            return None
        if leg_type == "settlement" and payment_hash is None:
            client_id = str(leg_key)
            machine_id = await sql.machine_of_client(
                self.conn, client_id, self.machine.operator_user_id
            )
            if machine_id is None:
                return None
            return Fact(machine_id, None, leg_type, client_id, sats, cents)
        if not isinstance(payment_hash, str):
            return None
        settlement = await crud.get_settlement_by_hash(payment_hash, self.conn)
        if settlement is None or settlement.planned_at is None:
            return None
        parent = None
        if leg_type == "autoforward":
            parent = await self._forwarded(settlement)
        if parent is None and settlement.machine_id != self.machine.id:
            return None
        if parent is None and leg_type == "autoforward":
            return None
        return Fact(
            *(settlement.machine_id, settlement, str(leg_type), str(leg_key)),
            *(sats, cents, parent),
        )

    async def _forwarded(self, settlement: Settlement) -> Leg | None:
        """What its LP had received into the wallet that this payment left. Legs of a
        sale that landed anew have other ids than the payment says."""
        received = [
            leg
            for leg in await crud.legs_of(settlement.id, self.conn)
            if leg.leg_type == "dca"
            and leg.destination_wallet_id == self.stray.wallet_id
            and leg.status in ("completed", "skipped")
        ]
        return received[0] if received else None

    async def _completed_leg(self, fact: Fact, sent_sats: int) -> Leg:
        """The leg of the plan that this payment paid, as it was paid; or a new one,
        where today's plan has none for that party."""
        planned = await self._planned(fact)
        leg = next((x for x in planned if x.status in ("pending", "failed")), None)
        if leg:
            return await sql.settle_leg(
                self.conn, self._as_paid(leg, fact, sent_sats), leg
            )
        taken = bool(planned)
        key = f"{fact.leg_key}:{self.stray.payment_hash}" if taken else fact.leg_key
        made = self._as_paid(self._new_leg(fact, key), fact, sent_sats)
        return await sql.insert_settled_leg(self.conn, made)

    async def _planned(self, fact: Fact) -> list[Leg]:
        if fact.settlement is None:
            return await sql.closing_legs(self.conn, fact.leg_key)
        keys = {fact.leg_key, fact.parent.id if fact.parent else fact.leg_key}
        return [
            leg
            for leg in await crud.legs_of(fact.settlement.id, self.conn)
            if leg.leg_type == fact.leg_type and leg.leg_key in keys
        ]

    def _new_leg(self, fact: Fact, key: str) -> Leg:
        now = utc_now()
        if fact.settlement is None:
            return Leg(
                id=urlsafe_short_hash(),
                client_id=fact.leg_key,
                machine_id=fact.machine_id,
                operator_user_id=self.machine.operator_user_id,
                leg_type=fact.leg_type,
                leg_key=key,
                label="Balance paid out",
                amount_sats=fact.amount_sats,
                transaction_time=now,
                created_at=now,
                source_wallet_id=self.stray.wallet_id,
                from_free_balance=True,
            )
        make = LegMaker(fact.settlement, self.machine, now)
        leg = make.leg(fact.leg_type, key, fact.amount_sats)
        if fact.leg_type == "dca":
            leg.client_id = fact.leg_key.removesuffix(FREE_PART)
            leg.from_free_balance |= fact.leg_key.endswith(FREE_PART)
        if fact.parent:
            leg.client_id = fact.parent.client_id
            leg.machine_id = fact.parent.machine_id
            leg.operator_user_id = fact.parent.operator_user_id
            leg.parent_leg_id = fact.parent.id
            leg.source_wallet_id = self.stray.wallet_id
            leg.from_free_balance = False
        return leg

    def _as_paid(self, leg: Leg, fact: Fact, sent_sats: int) -> Leg:
        fiat = None if fact.fiat_cents is None else Fiat(cents_text(fact.fiat_cents))
        return leg.copy(
            update={
                "status": "completed",
                "amount_sats": fact.amount_sats,
                "sent_sats": sent_sats,
                "amount_fiat": fiat,
                "destination_wallet_id": self.receiver_id or leg.destination_wallet_id,
                "payout_id": sql.payout_id_of(self.stray),
                "external_payment_hash": self.stray.payment_hash,
                "completed_at": utc_now(),
                "next_try_at": None,
                "error_message": None,
                "wait_code": None,
            }
        )


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
