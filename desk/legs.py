"""One leg that did not go through: try it again, give it up, or it was paid outside."""

from __future__ import annotations

from lnbits.db import Connection

from .. import crud, distribution
from ..base.database import transaction
from ..base.refusals import ConflictError
from ..models import Leg
from . import repairs_crud as sql
from .actions import (
    NOT_CLAIMED,
    ConcurrentChangeError,
    audit_legs,
    make_due,
    must_be_open,
    void,
)


async def retry_leg(user_id: str, leg_id: str, reason: str) -> None:
    """Try an unpaid leg again now, with ten new attempts."""
    async with transaction() as conn:
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        await _retry(conn, user_id, leg, reason)
    distribution.wake()


async def _retry(conn: Connection, actor: str, leg: Leg, reason: str | None) -> None:
    must_be_open(leg)
    if leg.leg_type == "refund" and not leg.target:
        raise ConflictError(NOT_CLAIMED)
    await make_due(conn, [leg])
    await audit_legs(conn, actor, "retry", [(leg, {"status": "pending"})], reason)


async def void_leg(user_id: str, leg_id: str, reason: str) -> None:
    """Give an unpaid leg up: its sats stay where they are, an LP's fiat returns."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        must_be_open(leg)
        await void(conn, [leg], reason)
        if leg.settlement_id:
            settlement = await sql.get_own_settlement(conn, leg.settlement_id, user_id)
            await sql.add_retained(conn, settlement.id, leg.amount_sats)
            await crud.refresh_settlements(conn, [settlement.id])
        await audit_legs(conn, user_id, "void", [(leg, {"status": "voided"})], reason)
    distribution.wake()


async def mark_leg_paid(
    user_id: str, leg_id: str, reference: str, reason: str | None
) -> None:
    """An unpaid leg was paid outside this system, with a reference to find it by."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        must_be_open(leg)
        if await sql.mark_paid(conn, leg.id, reference) != 1:
            raise ConcurrentChangeError
        await crud.add_received(conn, [leg])
        if leg.settlement_id:
            await crud.refresh_settlements(conn, [leg.settlement_id])
        after = {"status": "completed", "reference": reference}
        await audit_legs(conn, user_id, "mark_paid", [(leg, after)], reason)
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
        must_be_open(leg)
        await void(conn, [leg], "You kept these sats in your wallet.")
        await audit_legs(
            conn, lp_user_id, "void", [(leg, {"status": "voided"})], reason
        )
