"""When something went wrong: what its owner may do about it, and when not.

Guaranteed: an action and its audit entry are one transaction; a leg that is in a
payout is left alone, whatever is asked (its outcome must be proven first); a final
status never changes; a voided leg of an LP gives the fiat back, once; what moves money
does so once for each idempotency key.
Not guaranteed: that a reported dispense is true. What the operator or the machine says
was paid out in cash is what is planned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from bolt11 import Bolt11Exception
from bolt11 import decode as bolt11_decode
from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from .. import bitspire, crud, distribution
from ..base.audit import write_audit
from ..base.database import db, transaction
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..bitspire import FeeFractions, SettlementInvariantError
from ..calculations import cents_text, dispense_split, fiat_cents, round_half_up
from ..host.limits import reserve_sats
from ..host.wallets import local_wallet_of_address
from ..models import CASH_OUT, Fiat, Leg, Machine, Settlement, utc_now
from ..money.replanning import Replan, Resize, is_open, replan
from ..money.targets import normalise_address
from . import reconciliation_crud
from . import repairs_crud as sql

BEING_PAID = (
    "This is being paid: its outcome must be known before anything else can be done."
)
NOT_CLAIMED = "This refund has no destination yet: enter the customer's first."
MAX_SATS = bitspire.MAX_SATS
# Between the look at a settlement and the change of it, a payout may have begun.
MAX_CAS_ATTEMPTS = 5


class ConcurrentChangeError(ConflictError):
    """A payout took a leg between reading it and changing it; look again."""

    def __init__(self) -> None:
        super().__init__(BEING_PAID)


# ------------------------------------------------------------------- parts of actions


def _facts(leg: Leg) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "leg_type": leg.leg_type,
        "status": leg.status,
        "amount_sats": leg.amount_sats,
    }
    if leg.amount_fiat is not None:
        facts["amount_fiat"] = leg.amount_fiat
    return facts


async def _audit_settlement(
    conn: Connection,
    actor: str,
    action: str,
    settlement: Settlement,
    machine: Machine | None,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    reason: str | None,
) -> None:
    await write_audit(
        conn,
        actor,
        f"settlement.{action}",
        "settlement",
        settlement.id,
        before,
        after,
        reason,
        operator_user_id=machine.operator_user_id if machine else None,
        machine_id=settlement.machine_id,
    )


async def _audit_legs(
    conn: Connection,
    actor: str,
    action: str,
    changes: Sequence[tuple[Leg, Mapping[str, Any]]],
    reason: str | None,
) -> None:
    """One entry a leg, so that the LP whose leg it is can read theirs."""
    people = await sql.client_user_ids(conn, [leg.client_id for leg, _ in changes])
    for leg, after in changes:
        await write_audit(
            conn,
            actor,
            f"payment.{action}",
            "payment",
            leg.id,
            _facts(leg),
            after,
            reason,
            operator_user_id=(
                None if leg.leg_type == "autoforward" else leg.operator_user_id
            ),
            machine_id=leg.machine_id,
            client_user_id=people.get(leg.client_id or ""),
        )


def _must_be_open(leg: Leg) -> None:
    if is_open(leg):
        return
    if leg.status in ("pending", "failed"):
        raise ConflictError(BEING_PAID)
    words = {
        "completed": "has been paid",
        "skipped": "is in its wallet already",
        "voided": "was voided",
        "refunded": "was refunded",
    }
    raise ConflictError(f"This {words.get(leg.status, leg.status)}: that is final.")


def _debit_cents(leg: Leg) -> int:
    if leg.leg_type not in ("dca", "settlement") or leg.amount_fiat is None:
        return 0
    return int(leg.amount_fiat * 100)


async def _give_back(conn: Connection, legs: Iterable[Leg]) -> None:
    """The fiat of voided legs returns to their LPs' balances."""
    back: dict[str, int] = {}
    for leg in legs:
        if leg.client_id:
            back[leg.client_id] = back.get(leg.client_id, 0) - _debit_cents(leg)
    await crud.add_debits(conn, back)


async def _void(conn: Connection, legs: Sequence[Leg], why: str) -> None:
    """Void open legs with what follows for LPs; `ConcurrentChangeError`
    if one is not."""
    if await sql.void_legs(conn, [leg.id for leg in legs], why) != len(legs):
        raise ConcurrentChangeError
    await _give_back(conn, legs)


# -------------------------------------------------------------------------- one leg


async def retry_leg(user_id: str, leg_id: str, reason: str) -> None:
    """Try an unpaid leg again now, with ten new attempts."""
    async with transaction() as conn:
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        await _retry(conn, user_id, leg, reason)
    distribution.wake()


async def _retry(conn: Connection, actor: str, leg: Leg, reason: str | None) -> None:
    _must_be_open(leg)
    if leg.leg_type == "refund" and not leg.target:
        raise ConflictError(NOT_CLAIMED)
    await _make_due(conn, [leg])
    await _audit_legs(conn, actor, "retry", [(leg, {"status": "pending"})], reason)


async def _make_due(conn: Connection, legs: Sequence[Leg]) -> None:
    if await sql.make_due(conn, [leg.id for leg in legs]) != len(legs):
        raise ConcurrentChangeError
    await sql.clear_destination_backoff(conn, legs)
    await crud.refresh_settlements(
        conn, [x.settlement_id for x in legs if x.settlement_id]
    )


async def void_leg(user_id: str, leg_id: str, reason: str) -> None:
    """Give an unpaid leg up: its sats stay where they are, an LP's fiat returns."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        _must_be_open(leg)
        await _void(conn, [leg], reason)
        if leg.settlement_id:
            settlement = await sql.get_own_settlement(conn, leg.settlement_id, user_id)
            await sql.add_retained(conn, settlement.id, leg.amount_sats)
            await crud.refresh_settlements(conn, [settlement.id])
        await _audit_legs(conn, user_id, "void", [(leg, {"status": "voided"})], reason)
    distribution.wake()


async def mark_leg_paid(
    user_id: str, leg_id: str, reference: str, reason: str | None
) -> None:
    """An unpaid leg was paid outside this system, with a reference to find it by."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        _must_be_open(leg)
        if await sql.mark_paid(conn, leg.id, reference) != 1:
            raise ConcurrentChangeError
        await crud.add_received(conn, [leg])
        if leg.settlement_id:
            await crud.refresh_settlements(conn, [leg.settlement_id])
        after = {"status": "completed", "reference": reference}
        await _audit_legs(conn, user_id, "mark_paid", [(leg, after)], reason)
    distribution.wake()


async def retry_autoforward(lp_user_id: str, leg_id: str, reason: str | None) -> None:
    """An LP tries their own forwarding again."""
    async with transaction() as conn:
        leg = await sql.get_own_autoforward(conn, leg_id, lp_user_id)
        await _retry(conn, lp_user_id, leg, reason)
    distribution.wake()


async def void_autoforward(lp_user_id: str, leg_id: str, reason: str | None) -> None:
    """An LP keeps the sats in their wallet instead of forwarding them."""
    async with transaction() as conn:
        leg = await sql.get_own_autoforward(conn, leg_id, lp_user_id)
        _must_be_open(leg)
        await _void(conn, [leg], "You kept these sats in your wallet.")
        await _audit_legs(
            conn, lp_user_id, "void", [(leg, {"status": "voided"})], reason
        )


# ------------------------------------------------------------------- one settlement


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
            await _make_due(conn, legs)
            after = {"payments": [leg.id for leg in legs]}
        await _audit_settlement(
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
    """Give up a settlement that has paid nothing: its sats stay in the machine wallet
    and are the operator's; LPs get their fiat back."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        settlement = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(settlement.machine_id, conn)
        if settlement.status == "voided":
            raise ConflictError("This settlement was voided already.")
        legs = await crud.legs_of(settlement_id, conn)
        _must_be_unpaid(legs)
        open_legs = [leg for leg in legs if is_open(leg)]
        await _void(conn, open_legs, "The settlement was voided.")
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
        await _audit_settlement(
            conn,
            user_id,
            "void",
            settlement,
            machine,
            {"status": settlement.status},
            {"status": "voided"},
            reason,
        )
        of_lps = [(leg, {"status": "voided"}) for leg in open_legs if leg.client_id]
        await _audit_legs(conn, user_id, "void", of_lps, reason)
    distribution.wake()


def _must_be_unpaid(legs: Sequence[Leg]) -> None:
    if any(leg.status == "pending" and leg.payout_id for leg in legs):
        raise ConflictError(BEING_PAID)
    # a skipped leg is received; that of an LP took fiat off their balance
    paid = [
        leg
        for leg in legs
        if leg.status == "completed" or (leg.status == "skipped" and leg.client_id)
    ]
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
        await _audit_settlement(
            conn, user_id, "note", settlement, machine, None, {"note": note}, None
        )


async def mark_test(
    user_id: str, settlement_id: str, is_test: bool, reason: str
) -> None:
    """Take a settlement out of the totals, or back in. Nothing else changes."""
    async with transaction() as conn:
        # the lock counts, so that open pages notice the change
        await crud.lock_ledger(conn)
        before = await sql.get_own_settlement(conn, settlement_id, user_id)
        if before.is_test == is_test:
            return
        machine = await crud.get_machine(before.machine_id, conn)
        after = before.copy(update={"is_test": is_test})
        await sql.change_settlement(conn, after, ("is_test",), [before.status])
        await _audit_settlement(
            conn,
            user_id,
            "test",
            before,
            machine,
            {"is_test": before.is_test},
            {"is_test": is_test},
            reason,
        )


# --------------------------------------------------------------------------- resolve

RESOLVED = (
    "tx_type",
    "wire_sats",
    "principal_sats",
    "fee_sats",
    "platform_fee_sats",
    "operator_fee_sats",
    "fee_mismatch_sats",
    "fiat_amount",
    "fiat_code",
    "exchange_rate",
    "status",
    "error_message",
)


async def resolve(
    user_id: str, settlement_id: str, fields: Mapping[str, Any], reason: str
) -> None:
    """Corrected figures for a quarantined settlement, through the same checks as a
    stamp's, with the fractions that were in force when it landed."""
    async with db.connect() as conn:
        seen = await sql.get_own_settlement(conn, settlement_id, user_id)
    amount_msat = await _amount_msat(seen, fields.get("tx_type"))
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        before = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(before.machine_id, conn)
        if before.status != "quarantined" or machine is None:
            raise ConflictError(
                f"This settlement is {before.status}: only a quarantined one is "
                "resolved."
            )
        at = before.transaction_time or utc_now()
        try:
            figures = bitspire.check_figures(
                fields,
                amount_msat=amount_msat,
                fiat_code=machine.fiat_code,
                fractions=_fractions_at_landing(before, machine),
                recent_rates=await crud.recent_rates(conn, machine.id, at),
            )
        except SettlementInvariantError as exc:
            raise BadInputError(str(exc)) from exc
        changes = {name: getattr(figures, name) for name in RESOLVED[:-2]}
        changes["fiat_amount"] = Fiat(figures.fiat_amount)
        after = before.copy(
            update={**changes, "status": "pending", "error_message": None}
        )
        if not await sql.change_settlement(conn, after, RESOLVED, ["quarantined"]):
            raise ConcurrentChangeError
        await _audit_settlement(
            conn,
            user_id,
            "resolve",
            before,
            machine,
            {name: getattr(before, name) for name in RESOLVED},
            {name: getattr(after, name) for name in RESOLVED},
            reason,
        )
    distribution.wake()


def _fractions_at_landing(settlement: Settlement, machine: Machine) -> FeeFractions:
    names = FeeFractions.__dataclass_fields__
    kept = {name: getattr(settlement, name) for name in names}
    zero = Decimal(0)
    return FeeFractions(**{k: zero if v is None else v for k, v in kept.items()})


async def _amount_msat(settlement: Settlement, tx_type: Any) -> int:
    """LNbits' own amount of the payment, signed; the row's wire lost its sign when
    nothing of the stamp could be read."""
    payment_hash = settlement.payment_hash.partition(":")[0]
    amounts = [
        int(side["amount"])
        for side in await sql.lnbits_sides(payment_hash)
        if side["wallet_id"] == settlement.wallet_id and side["status"] == "success"
    ]
    if not amounts:
        raise ConflictError(
            "LNbits does not know this payment any more: it can only be voided."
        )
    wanted = [a for a in amounts if (a > 0) == (tx_type == CASH_OUT)]
    return (wanted or amounts)[0]


# -------------------------------------------------------------------------- dispense

DISPENSED = (
    "dispensed_fiat",
    "dispensed_principal_sats",
    "dispensed_fee_sats",
    "dispensed_platform_fee_sats",
    "dispensed_operator_fee_sats",
    "dispense_state",
    "refund_sats",
)


async def report_dispense(
    user_id: str, settlement_id: str, dispensed_cents: int, reason: str
) -> None:
    """What the operator says that the machine paid out in cash."""
    for attempt in range(MAX_CAS_ATTEMPTS):
        try:
            async with transaction() as conn:
                await crud.lock_ledger(conn)
                own = await sql.get_own_settlement(conn, settlement_id, user_id)
                await apply_dispense(conn, own, dispensed_cents, user_id, reason)
            break
        except ConcurrentChangeError:
            if attempt == MAX_CAS_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0)
    distribution.wake()


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
    wallet's free balance. The caller commits, and then wakes the engine.
    Raises `BadInputError` and `ConflictError`.
    """
    await crud.lock_ledger(conn)
    before = await crud.get_settlement(settlement.id, conn)
    machine = await crud.get_machine(settlement.machine_id, conn)
    if before is None or machine is None:
        raise NotFoundError("There is no such settlement.")
    _must_be_dispensable(before)
    after = _dispensed(before, dispensed_cents)
    columns: tuple[str, ...]
    if before.planned_at is None:
        if _is_known(before, dispensed_cents):
            return before
        after.status, after.error_message = "pending", None
        columns = (*DISPENSED, "status", "error_message")
        was = ["awaiting_dispense", "attention", "pending"]
    else:
        plan = await _plan_less(conn, before, after, machine)
        if plan is None:
            return before
        await _apply_plan(conn, plan, source, reason)
        after.retained_sats, after.loss_sats = plan.retained_sats, plan.loss_sats
        columns = (*DISPENSED, "retained_sats", "loss_sats")
        was = ["processing", "attention", "completed"]
    if not await sql.change_settlement(conn, after, columns, was):
        raise ConcurrentChangeError
    await crud.refresh_settlements(conn, [after.id])
    await _audit_settlement(
        conn,
        source,
        "dispense",
        before,
        machine,
        {name: getattr(before, name) for name in columns},
        {name: getattr(after, name) for name in columns},
        reason,
    )
    return await crud.get_settlement(settlement.id, conn) or after


def _must_be_dispensable(settlement: Settlement) -> None:
    if settlement.status == "quarantined":
        raise ConflictError("This settlement is quarantined: resolve it first.")
    if settlement.status == "voided":
        raise ConflictError("This settlement was voided.")
    if settlement.tx_type != CASH_OUT:
        raise ConflictError("Only a cash-out is dispensed.")


def _planned_cents(settlement: Settlement) -> int:
    dispensed = settlement.dispensed_fiat
    return fiat_cents(settlement.fiat_amount if dispensed is None else dispensed)


def _is_known(settlement: Settlement, dispensed_cents: int) -> bool:
    is_open = settlement.dispense_state == bitspire.AWAITING
    is_stuck = settlement.status == "attention"
    same = _planned_cents(settlement) == dispensed_cents
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
    planned, now_cents = _planned_cents(before), _planned_cents(after)
    if now_cents > planned:
        raise ConflictError(
            f"{cents_text(planned)} {before.fiat_code} dispensed is what was planned: "
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
    debits = {
        change.leg.client_id: change.debit_change_cents
        for change in plan.resized
        if change.leg.client_id
    }
    await crud.add_debits(conn, debits)
    await crud.insert_legs(conn, plan.added)
    changed = [(r.leg, _resized_facts(r)) for r in plan.resized]
    await _audit_legs(conn, source, "resize", changed, reason)


async def _apply_resize(conn: Connection, change: Resize) -> None:
    if change.is_voided:
        why = "Voided: the machine paid out less cash than was planned."
        done = await sql.void_legs(conn, [change.leg.id], why)
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


# ---------------------------------------------------------------------------- refund


@dataclass(frozen=True)
class RefundTarget:
    """Where a customer's refund goes: an address, or an invoice of so many sats."""

    target: str
    address: str | None = None
    payment_hash: str | None = None
    amount_sats: int | None = None
    is_expired: bool = False


def read_refund_target(destination: str) -> RefundTarget:
    """A bolt11 invoice or a Lightning address. `BadInputError` for anything else."""
    text = destination.strip()
    if "@" in text:
        try:
            address = normalise_address(text)
        except ValueError as exc:
            raise BadInputError(f"destination: {exc}") from exc
        return RefundTarget(address, address=address)
    bolt11 = text.lower().removeprefix("lightning:").strip()
    try:
        invoice = bolt11_decode(bolt11)
    except (Bolt11Exception, ValueError) as exc:
        raise BadInputError(
            "destination is neither a Lightning invoice nor a Lightning address like "
            "name@domain.com."
        ) from exc
    sats, rest = divmod(int(invoice.amount_msat or 0), 1000)
    if not sats or rest:
        raise BadInputError(
            "destination: the invoice must name a whole amount of sats; ask the "
            "customer for one that does."
        )
    return RefundTarget(
        bolt11,
        payment_hash=invoice.payment_hash,
        amount_sats=sats,
        is_expired=invoice.has_expired(),
    )


async def refund(
    user_id: str, settlement_id: str, destination: str, reason: str, key: str
) -> None:
    """Say where the customer's refund goes; it is paid once, at most what is owed."""
    target = read_refund_target(destination)
    problem = await _destination_problem(target)
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        settlement = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(settlement.machine_id, conn)
        action = f"refund:{settlement_id}"
        used = await sql.claim_idempotency_key(
            conn, user_id, key, action, settlement_id
        )
        if used:
            _check_same_action(used, action)
            return
        if problem:
            raise BadInputError(problem)
        legs = await crud.legs_of(settlement_id, conn)
        open_legs = _refunds_to_claim(legs)
        await _check_refund(conn, target, sum(x.amount_sats for x in open_legs))
        ids = [leg.id for leg in open_legs]
        set_now = await sql.set_refund_target(conn, ids, target.target, target.address)
        if set_now != len(ids):
            raise ConcurrentChangeError
        await crud.refresh_settlements(conn, [settlement_id])
        await _audit_settlement(
            conn,
            user_id,
            "refund",
            settlement,
            machine,
            {"destination": [leg.target for leg in open_legs]},
            {
                "destination": target.target,
                "owed_sats": sum(x.amount_sats for x in open_legs),
            },
            reason,
        )
    distribution.wake()


def _check_same_action(used: tuple[str, str], action: str) -> None:
    """The same key for something else is a mistake of the caller's."""
    if used[0] != action:
        raise ConflictError("This idempotency_key was used for another request.")


def _refunds_to_claim(legs: Sequence[Leg]) -> list[Leg]:
    refunds = [leg for leg in legs if leg.leg_type == "refund"]
    if any(leg.status == "pending" and leg.payout_id for leg in refunds):
        raise ConflictError(BEING_PAID)
    open_legs = [leg for leg in refunds if is_open(leg)]
    if not open_legs:
        raise ConflictError("Nothing is owed to the customer of this settlement.")
    if all(x.target and x.attempts == 0 and x.status == "pending" for x in open_legs):
        raise ConflictError(
            "This refund has a destination and waits to be paid. Another can be given "
            "once the payment has failed; to stop it, void it."
        )
    return open_legs


async def _destination_problem(target: RefundTarget) -> str | None:
    """What LNbits knows against a destination: read before our own database."""
    wallets = await crud.machine_wallets()
    if target.payment_hash is None:
        wallet_id = await local_wallet_of_address(target.target)
        if wallet_id in wallets:
            return "destination is the address of a machine's wallet."
        return None
    sides = await sql.lnbits_sides(target.payment_hash)
    if any(side["wallet_id"] in wallets for side in sides):
        return (
            "destination is an invoice of a machine on this server: the customer must "
            "make one in their own wallet."
        )
    if any(side["status"] == "success" for side in sides):
        return "destination: this invoice has been paid already; ask for a new one."
    return None


async def _check_refund(conn: Connection, target: RefundTarget, owed_sats: int) -> None:
    most = owed_sats - reserve_sats(owed_sats, False)
    if most <= 0:
        raise ConflictError(
            f"The {owed_sats} sat owed do not cover the routing: pay them in cash and "
            "mark the refund as paid, or void it."
        )
    if target.payment_hash is None:
        return
    if target.is_expired:
        raise BadInputError("destination: this invoice has expired; ask for a new one.")
    if (target.amount_sats or 0) > most:
        raise BadInputError(
            f"destination: the invoice is for {target.amount_sats} sat, but at most "
            f"{most} sat can be refunded."
        )
    if await sql.known_hash(conn, target.payment_hash):
        raise BadInputError(
            "destination: this invoice was used before; ask for a new one."
        )


# --------------------------------------------------------------------- close a balance


async def close_balance(
    user_id: str,
    client_id: str,
    wallet_id: str,
    exchange_rate: Decimal,
    reason: str,
    key: str,
) -> str:
    """Pay an LP's whole remaining fiat in sats at a stated rate (sats for one unit of
    fiat); the id of the leg. The wallet was checked to be the operator's."""
    leg_id = urlsafe_short_hash()
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        client = await sql.get_own_client(conn, client_id, user_id)
        action = f"close-balance:{client_id}"
        used = await sql.claim_idempotency_key(conn, user_id, key, action, leg_id)
        if used:
            _check_same_action(used, action)
            return used[1]
        profile = (await crud.lp_profiles_of_clients(conn, [client_id])).get(client_id)
        if profile is None:
            raise ConflictError(
                "This LP has not chosen a wallet yet: ask them to, then close."
            )
        cents = await sql.remaining_cents(conn, client_id)
        if cents <= 0:
            raise ConflictError("Nothing is left of this LP's deposits.")
        now = utc_now()
        leg = Leg(
            id=leg_id,
            client_id=client_id,
            machine_id=client.machine_id,
            operator_user_id=user_id,
            leg_type="settlement",
            leg_key=client_id,
            label="Balance paid out",
            amount_sats=_sats_at(cents, exchange_rate),
            amount_fiat=Fiat(cents_text(cents)),
            exchange_rate=float(exchange_rate),
            destination_wallet_id=profile.dca_wallet_id,
            transaction_time=now,
            created_at=now,
            source_wallet_id=wallet_id,
            # a machine's wallet pays its settlements first
            from_free_balance=True,
        )
        await crud.insert_legs(conn, [leg])
        await write_audit(
            conn,
            user_id,
            "client.close_balance",
            "client",
            client_id,
            {"remaining": cents_text(cents)},
            {
                "remaining": cents_text(0),
                "amount_sats": leg.amount_sats,
                "exchange_rate": str(exchange_rate),
                "payment": leg_id,
            },
            reason,
            operator_user_id=user_id,
            machine_id=client.machine_id,
            client_user_id=client.user_id,
        )
    distribution.wake()
    return leg_id


def _sats_at(cents: int, exchange_rate: Decimal) -> int:
    rate = Fraction(exchange_rate)
    sats = round_half_up(cents * rate.numerator, 100 * rate.denominator)
    if not 0 < sats <= MAX_SATS:
        raise BadInputError(
            f"exchange_rate is {exchange_rate}: at that rate {cents_text(cents)} is "
            f"{sats} sat. It is sats for one unit of fiat, like 133.3333."
        )
    return sats


# --------------------------------------------------------------------- go on paying


async def resume_payouts(user_id: str, machine_id: str, reason: str) -> None:
    """Let a machine pay again after a reconciliation stopped it. What it found then
    stops the machine no second time."""
    async with transaction() as conn:
        machine = await crud.get_machine(machine_id, conn)
        if machine is None or machine.operator_user_id != user_id:
            raise NotFoundError("There is no such machine of yours.")
        if not await sql.resume_payouts(conn, machine_id, user_id, utc_now()):
            raise ConflictError("The payouts of this machine are not stopped.")
        await reconciliation_crud.accept_newest(conn, machine_id)
        await write_audit(
            conn,
            user_id,
            "machine.resume_payouts",
            "machine",
            machine_id,
            {"payouts_stopped_reason": machine.payouts_stopped_reason},
            {"payouts_stopped_reason": None},
            reason,
            operator_user_id=user_id,
            machine_id=machine_id,
        )
    distribution.wake()
