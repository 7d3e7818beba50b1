"""Where the sats go that a customer is owed: once, and at most what is owed.

What moves money does so once for each idempotency key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bolt11 import Bolt11Exception
from bolt11 import decode as bolt11_decode
from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from .. import crud, distribution
from ..base.acting import acting
from ..base.database import transaction
from ..base.refusals import (
    BadInputError,
    ConflictError,
    ForbiddenError,
    RefusedError,
)
from ..host import payments as host_payments
from ..host.limits import reserve_sats
from ..host.wallets import local_wallet_of_address
from ..models import Leg, WaitCode
from ..money.planning import UNCLAIMED
from ..money.replanning import Resize, is_open, next_number
from ..money.targets import normalise_address, refusal_of
from ..parties.preferences_crud import get_preferences
from . import repairs_crud as sql
from .actions import (
    BEING_PAID,
    ConcurrentChangeError,
    audit_settlement,
    check_same_action,
)


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
    user_id: str,
    settlement_id: str,
    destination: str,
    reason: str,
    key: str,
    must_answer: bool = False,
) -> None:
    """Say where the customer's refund goes; it is paid once, at most what is owed.

    `must_answer`: an address whose server says nothing now is refused.
    """
    target = read_refund_target(destination)
    problem, is_inside = await _destination_problem(target, must_answer)
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        settlement = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(settlement.machine_id, conn)
        action = f"refund:{settlement_id}"
        used = await sql.claim_idempotency_key(
            conn, user_id, key, action, settlement_id
        )
        if used:
            check_same_action(used, action)
            return
        if problem:
            raise problem
        legs = await crud.legs_of(settlement_id, conn)
        await _check_staff_limit(conn, user_id, legs)
        open_legs = _refunds_to_claim(legs)
        owed_sats = sum(x.amount_sats for x in open_legs)
        await _check_refund(conn, target, owed_sats, is_inside)
        if target.amount_sats is not None:
            open_legs = await _only_what_it_takes(
                conn, legs, open_legs, _with_reserve(target.amount_sats, is_inside)
            )
        ids = [leg.id for leg in open_legs]
        set_now = await sql.set_refund_target(conn, ids, target.target, target.address)
        if set_now != len(ids):
            raise ConcurrentChangeError
        await crud.refresh_settlements(conn, [settlement_id])
        await audit_settlement(
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


async def _check_staff_limit(
    conn: Connection, operator_user_id: str, legs: Sequence[Leg]
) -> None:
    """Who works for the operator says where refunds up to a limit go: of all that the
    customer is owed of this sale, or an invoice for a part would get around it."""
    if acting() is None:
        return
    preferences = await get_preferences(conn, operator_user_id)
    limit = preferences.staff_refund_limit_sats
    refunds = [x for x in legs if x.leg_type == "refund" and x.status != "voided"]
    owed_sats = sum(x.amount_sats for x in refunds)
    if limit is not None and owed_sats > limit:
        raise ForbiddenError(
            f"This refund is of {owed_sats} sat: above {limit} sat the operator says "
            "where it goes."
        )


def _with_reserve(sats: int, is_inside: bool) -> int:
    """What must be owed for an invoice of so many sats to be paid: an invoice of this
    instance is not routed, and takes LNbits' service fee at most."""
    total = sats
    while (missing := sats - (total - reserve_sats(total, is_inside))) > 0:
        total += missing
    return total


async def _only_what_it_takes(
    conn: Connection, legs: Sequence[Leg], open_legs: Sequence[Leg], needed_sats: int
) -> list[Leg]:
    """The legs that an invoice is paid from: the last one is split where the invoice is
    for less than is owed, and the rest stays owed, without a destination."""
    taken: list[Leg] = []
    left = needed_sats
    for leg in open_legs:
        if left <= 0:
            break
        if leg.amount_sats > left:
            rest = leg.amount_sats - left
            if await sql.resize(conn, Resize(leg, left)) != 1:
                raise ConcurrentChangeError
            await crud.insert_legs(conn, [_rest_of(leg, rest, legs)])
            leg = leg.copy(update={"amount_sats": left})
        taken.append(leg)
        left -= leg.amount_sats
    # one that had another invoice, which failed, waits for a destination again
    ids = {leg.id for leg in taken}
    let_go = [leg.id for leg in open_legs if leg.id not in ids and leg.target]
    if await sql.set_refund_target(conn, let_go, None, None) != len(let_go):
        raise ConcurrentChangeError
    return taken


def _rest_of(leg: Leg, sats: int, legs: Sequence[Leg]) -> Leg:
    refunds = [x for x in legs if x.leg_type == "refund"]
    return Leg(
        id=urlsafe_short_hash(),
        settlement_id=leg.settlement_id,
        machine_id=leg.machine_id,
        operator_user_id=leg.operator_user_id,
        leg_type="refund",
        leg_key=str(next_number(refunds)),
        label=leg.label,
        amount_sats=sats,
        transaction_time=leg.transaction_time,
        source_wallet_id=leg.source_wallet_id,
        from_free_balance=leg.from_free_balance,
        error_message=UNCLAIMED,
        wait_code=WaitCode.UNCLAIMED,
    )


def _refunds_to_claim(legs: Sequence[Leg]) -> list[Leg]:
    refunds = [leg for leg in legs if leg.leg_type == "refund"]
    if any(leg.status == "pending" and leg.payout_id for leg in refunds):
        raise ConflictError(BEING_PAID)
    open_legs = [leg for leg in refunds if is_open(leg)]
    if not open_legs:
        raise ConflictError("Nothing is owed to the customer of this settlement.")
    # what has a destination keeps it until the payment has failed
    free = [x for x in open_legs if not _waits_to_be_paid(x)]
    if not free:
        raise ConflictError(
            "This refund has a destination and waits to be paid. Another can be given "
            "once the payment has failed; to stop it, void it."
        )
    return free


def _waits_to_be_paid(leg: Leg) -> bool:
    return bool(leg.target) and leg.attempts == 0 and leg.status == "pending"


async def _destination_problem(
    target: RefundTarget, must_answer: bool
) -> tuple[RefusedError | None, bool]:
    """What LNbits, or an address' own server, knows against a destination, and whether
    it is an invoice of this instance: read before our own database."""
    wallets = await crud.machine_wallets()
    if target.payment_hash is None:
        wallet_id = await local_wallet_of_address(target.target)
        if wallet_id in wallets:
            problem = "destination is the address of a machine's wallet."
            return BadInputError(problem), False
        return await refusal_of(target.target, must_answer), False
    sides = await host_payments.sides_of(target.payment_hash)
    is_inside = any(side["amount"] > 0 for side in sides)
    if any(side["wallet_id"] in wallets for side in sides):
        problem = (
            "destination is an invoice of a machine on this server: the customer must "
            "make one in their own wallet."
        )
    elif any(side["status"] == "success" for side in sides):
        problem = "destination: this invoice has been paid already; ask for a new one."
    else:
        return None, is_inside
    return BadInputError(problem), is_inside


async def _check_refund(
    conn: Connection, target: RefundTarget, owed_sats: int, is_inside: bool
) -> None:
    most = owed_sats - reserve_sats(owed_sats, is_inside)
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
