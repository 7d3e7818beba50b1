"""One leg that did not go through: try it again, give it up, or it was paid outside."""

from __future__ import annotations

from lnbits.db import Connection

from .. import crud, distribution
from ..base.database import transaction
from ..base.refusals import BadInputError, ConflictError, ForbiddenError
from ..books.payments import CLAIM_LAPSES
from ..ledger.postings import post_legs
from ..models import Leg, utc_now
from ..money.targets import check_receivers, is_outside, resolve_target
from . import consents_crud
from . import repairs_crud as sql
from .actions import (
    JUST_RETRIED,
    NOT_CLAIMED,
    OWED_TO_LP,
    ConcurrentChangeError,
    audit_legs,
    make_due,
    must_be_open,
    void,
    was_just_retried,
)
from .repairs_crud import CLAIM_WAITING

NOT_FAILED = (
    "This payment to an LP has not failed: it is owed to them and goes on by itself. "
    "It can be voided once it has failed."
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
    if was_just_retried(leg):
        raise ConflictError(JUST_RETRIED)
    await make_due(conn, [leg])
    await audit_legs(conn, actor, "retry", [(leg, {"status": "pending"})], reason)


async def void_leg(user_id: str, leg_id: str, reason: str) -> None:
    """Give an unpaid leg up: its sats stay where they are, an LP's fiat returns.

    What is owed to an LP may be voided once it has failed; what is owed to the platform
    only by the platform. `ForbiddenError` and `ConflictError` say so.
    """
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        _must_be_the_operators(leg)
        must_be_open(leg)
        if leg.leg_type in OWED_TO_LP and leg.status != "failed":
            raise ConflictError(NOT_FAILED)
        await _void_and_retain(conn, user_id, leg, reason)
    distribution.wake()


async def mark_leg_paid(
    user_id: str, leg_id: str, reference: str, reason: str | None
) -> None:
    """An unpaid leg was paid outside this system, with a reference to find it by.

    Of an LP's leg this is a claim: it counts when the LP says so, and changes nothing
    until then.
    """
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        _must_be_the_operators(leg)
        must_be_open(leg)
        if leg.leg_type in OWED_TO_LP:
            await _must_not_be_asked(conn, leg)
            if await sql.claim_paid(conn, leg.id, reference) != 1:
                raise ConcurrentChangeError
            after = {"claim": CLAIM_WAITING, "reference": reference}
            await audit_legs(conn, user_id, "claim_paid", [(leg, after)], reason)
        else:
            await complete_outside(conn, user_id, leg, reference, reason)
    distribution.wake()


async def _must_not_be_asked(conn: Connection, leg: Leg) -> None:
    """One question at a time, so that it is clear to what an LP says yes."""
    now = utc_now()
    if leg.settlement_id and await consents_crud.open_consent(
        conn, leg.settlement_id, now
    ):
        raise ConflictError(
            "You have asked this LP about the sale already: wait for their answer "
            "first."
        )


async def redirect_leg(
    user_id: str, leg_id: str, target: str, reason: str, must_answer: bool = False
) -> None:
    """An operator's split goes to a target of now: the old one is gone, or was wrong.

    `must_answer`: an address whose server says nothing now is refused.

    `ConflictError` for any other leg: what is owed to others goes where they say.
    """
    try:
        to = await resolve_target(target, owner_user_id=user_id)
    except ValueError as exc:
        raise BadInputError(f"target: {exc}") from exc
    await check_receivers([to.target], must_answer)
    address = to.target if to.wallet_id is None and is_outside(to.target) else None
    async with transaction() as conn:
        leg = await sql.get_own_leg(conn, leg_id, user_id)
        must_be_open(leg)
        if leg.leg_type != "operator_split":
            raise ConflictError(
                "Only a split of yours can be sent elsewhere: this payment is owed to "
                "somebody who says where it goes."
            )
        if await sql.redirect(conn, leg.id, to, address) != 1:
            raise ConcurrentChangeError
        if leg.settlement_id:
            await crud.refresh_settlements(conn, [leg.settlement_id])
        after = {"status": "pending", "destination": to.target}
        await audit_legs(conn, user_id, "redirect", [(leg, after)], reason)
    distribution.wake()


def _must_be_the_operators(leg: Leg) -> None:
    if leg.leg_type == "super_fee":
        raise ForbiddenError(
            "The platform's fee is owed to the platform: only the super user may void "
            "it or mark it as paid."
        )


async def _void_and_retain(
    conn: Connection, actor: str, leg: Leg, reason: str | None
) -> None:
    await void(conn, [leg], reason or "")
    if leg.settlement_id:
        # of a shortfall it makes the operator's loss smaller
        await sql.add_retained(conn, leg.settlement_id, leg.amount_sats)
        await crud.refresh_settlements(conn, [leg.settlement_id])
    await post_legs(conn, [leg], "voided")
    await audit_legs(conn, actor, "void", [(leg, {"status": "voided"})], reason)


async def complete_outside(
    conn: Connection, actor: str, leg: Leg, reference: str, reason: str | None
) -> None:
    """An open leg is completed without a payment of ours, by the word of the one who
    was owed. In the caller's transaction, under the ledger lock; never counted as
    received through Lightning."""
    if await sql.mark_paid(conn, leg.id, reference) != 1:
        raise ConcurrentChangeError
    if leg.settlement_id:
        await crud.refresh_settlements(conn, [leg.settlement_id])
    await post_legs(conn, [leg], "paid_outside")
    after = {"status": "completed", "reference": reference}
    await audit_legs(conn, actor, "mark_paid", [(leg, after)], reason)


# ------------------------------------------------------------------ the platform's fee


async def retry_fee(super_id: str, leg_id: str, reason: str) -> None:
    """The super tries a fee of the platform again."""
    async with transaction() as conn:
        leg = await _get_fee(conn, leg_id)
        await _retry(conn, super_id, leg, reason)
    distribution.wake()


async def void_fee(super_id: str, leg_id: str, reason: str) -> None:
    """The super lets a fee of the platform go; its sats stay the operator's."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await _get_fee(conn, leg_id)
        must_be_open(leg)
        await _void_and_retain(conn, super_id, leg, reason)
    distribution.wake()


async def mark_fee_paid(
    super_id: str, leg_id: str, reference: str, reason: str | None
) -> None:
    """The super was paid a fee of the platform outside."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await _get_fee(conn, leg_id)
        must_be_open(leg)
        await complete_outside(conn, super_id, leg, reference, reason)
    distribution.wake()


async def _get_fee(conn: Connection, leg_id: str) -> Leg:
    leg = await sql.get_leg(conn, leg_id)
    if leg.leg_type != "super_fee":
        raise ForbiddenError(
            "You act on the platform's fees alone: this payment is owed to others."
        )
    return leg


# --------------------------------------------------- what an LP says of "paid outside"


async def answer_claim(
    lp_user_id: str, leg_id: str, is_paid: bool, reason: str | None
) -> None:
    """The LP says whether they were paid outside. Their yes completes the leg, in a
    figure of its own; after their no it is owed as before. `ConflictError` where
    nobody claims it, or the claim is 14 days old."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        leg = await sql.get_lps_leg(conn, leg_id, lp_user_id)
        is_over = leg.claim_at is None or utc_now() - leg.claim_at > CLAIM_LAPSES
        if leg.claim_state != CLAIM_WAITING or is_over:
            raise ConflictError("Nobody says that this was paid to you outside.")
        must_be_open(leg)
        answer = "accepted" if is_paid else "declined"
        if await sql.answer_claim(conn, leg.id, answer) != 1:
            raise ConcurrentChangeError
        if is_paid:
            reference = leg.claim_reference or ""
            await complete_outside(conn, lp_user_id, leg, reference, reason)
        else:
            after = {"claim": answer}
            await audit_legs(conn, lp_user_id, "claim_declined", [(leg, after)], reason)
    distribution.wake()


# -------------------------------------------------------------- what an LP forwards


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
