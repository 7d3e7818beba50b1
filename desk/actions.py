"""What every repair does: is the leg open, void it, and write down who did it, and why.

Guaranteed: an action and its audit entry are one transaction; a leg that is in a
payout is left alone, whatever is asked (its outcome must be proven first); a final
status never changes; a voided leg of an LP gives the fiat back, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from lnbits.db import Connection

from .. import crud
from ..base.audit import write_audit
from ..base.refusals import ConflictError
from ..models import Leg, Machine, Settlement, utc_now
from ..money.replanning import is_open
from . import repairs_crud as sql

BEING_PAID = (
    "This is being paid: its outcome must be known before anything else can be done."
)
JUST_RETRIED = "This was tried again less than a minute ago: wait a little."
RETRY_PAUSE = timedelta(minutes=1)
# What is owed to an LP, and takes fiat off their balance.
OWED_TO_LP = ("dca", "settlement")
NOT_CLAIMED = "This refund has no destination yet: enter the customer's first."


# Between the look at a settlement and the change of it, a payout may have begun.
MAX_CAS_ATTEMPTS = 5


class ConcurrentChangeError(ConflictError):
    """A payout took a leg between reading it and changing it; look again."""

    def __init__(self) -> None:
        super().__init__(BEING_PAID)


def facts_of(leg: Leg) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "leg_type": leg.leg_type,
        "status": leg.status,
        "amount_sats": leg.amount_sats,
    }
    if leg.amount_fiat is not None:
        facts["amount_fiat"] = leg.amount_fiat
    return facts


async def audit_settlement(
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


async def audit_legs(
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
            facts_of(leg),
            after,
            reason,
            operator_user_id=(
                None if leg.leg_type == "autoforward" else leg.operator_user_id
            ),
            machine_id=leg.machine_id,
            client_user_id=people.get(leg.client_id or ""),
        )


def was_just_retried(leg: Leg) -> bool:
    """Whether somebody had this leg tried again within the last minute."""
    return leg.retried_at is not None and utc_now() - leg.retried_at < RETRY_PAUSE


def must_be_open(leg: Leg) -> None:
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
    if leg.leg_type not in OWED_TO_LP or leg.amount_fiat is None:
        return 0
    return int(leg.amount_fiat * 100)


async def _give_back(conn: Connection, legs: Iterable[Leg]) -> None:
    """The fiat of voided legs returns to their LPs' balances."""
    back: dict[str, int] = {}
    for leg in legs:
        if leg.client_id:
            back[leg.client_id] = back.get(leg.client_id, 0) - _debit_cents(leg)
    await crud.add_debits(conn, back)


async def void(conn: Connection, legs: Sequence[Leg], why: str) -> None:
    """Void open legs with what follows for LPs; `ConcurrentChangeError`
    if one is not."""
    if await sql.void_legs(conn, [leg.id for leg in legs], why) != len(legs):
        raise ConcurrentChangeError
    await _give_back(conn, legs)


async def make_due(conn: Connection, legs: Sequence[Leg]) -> None:
    if await sql.make_due(conn, [leg.id for leg in legs]) != len(legs):
        raise ConcurrentChangeError
    await sql.clear_destination_backoff(conn, legs)
    await crud.refresh_settlements(
        conn, [x.settlement_id for x in legs if x.settlement_id]
    )


def check_same_action(used: tuple[str, str], action: str) -> None:
    """The same key for something else is a mistake of the caller's."""
    if used[0] != action:
        raise ConflictError("This idempotency_key was used for another request.")
