"""What those who are owed say of what an operator asks of a planned sale.

Guaranteed: until every one of them has said yes, or is paid, nothing of the sale
changes; a lower dispense may be decided by the super for all of them, a void never.
Payments go on meanwhile: who was paid is asked no more. A question lapses after 14
days.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lnbits.db import Connection

from .. import crud, distribution
from ..base.audit import write_audit
from ..base.database import db, transaction
from ..base.refusals import ConflictError, NotFoundError
from ..calculations import fiat_cents
from ..cash.ledger import Report
from ..models import UNPAID_LEG_STATUSES, Consent, Leg, Settlement, utc_now
from . import consents_crud, dispense, legs, settlements
from . import repairs_crud as sql
from .actions import MAX_CAS_ATTEMPTS, ConcurrentChangeError
from .asking import DISPENSE, PLATFORM, creditors, facts_of, is_claimed

ACCEPTED, DECLINED = "accepted", "declined"
NOBODY_ASKS = "Nobody asks anything of you about this payment."
NOTHING_OPEN = "Nothing is asked about this settlement."
LPS_DECIDE = "Nothing of this sale is owed to the platform: its LPs decide."


# ------------------------------------------------------------------------- the answers


async def answer_leg(
    lp_user_id: str, leg_id: str, is_yes: bool, reason: str | None
) -> None:
    """An LP's answer about a leg of theirs: to the operator's word that it was paid
    outside, else to what is asked about its sale. `ConflictError` where neither is."""
    async with db.connect() as conn:
        leg = await sql.get_lps_leg(conn, leg_id, lp_user_id)
        is_asked = await _asked_of(conn, leg) is not None
    if not is_asked:
        await legs.answer_claim(lp_user_id, leg_id, is_yes, reason)
        return

    async def say(conn: Connection) -> None:
        leg = await sql.get_lps_leg(conn, leg_id, lp_user_id)
        consent = await _asked_of(conn, leg)
        if consent is None or leg.client_id is None:
            raise ConflictError(NOBODY_ASKS)
        await _answer(conn, consent, leg.client_id, lp_user_id, is_yes, reason)

    await _until_done(say)


async def _asked_of(conn: Connection, leg: Leg) -> Consent | None:
    if leg.settlement_id is None or is_claimed(leg):
        return None
    consent = await consents_crud.open_consent(conn, leg.settlement_id, utc_now())
    if consent is None or leg.client_id not in creditors(consent.kind, [leg]):
        return None
    return consent


async def decide(super_id: str, settlement_id: str, granted: bool, reason: str) -> None:
    """The super's word: of a lower dispense it is the decision for everybody; of a void
    it is the platform's answer, and LPs answer for themselves."""

    async def say(conn: Connection) -> None:
        settlement = await crud.get_settlement(settlement_id, conn)
        if settlement is None:
            raise NotFoundError("There is no such settlement.")
        consent = await consents_crud.open_consent(conn, settlement_id, utc_now())
        if consent is None:
            raise ConflictError(NOTHING_OPEN)
        if consent.kind == DISPENSE:
            await _decide_for_all(conn, consent, super_id, granted, reason)
            return
        own = await crud.legs_of(settlement_id, conn)
        if PLATFORM not in creditors(consent.kind, own):
            raise ConflictError(LPS_DECIDE)
        await _answer(conn, consent, PLATFORM, super_id, granted, reason)

    await _until_done(say)


async def _decide_for_all(
    conn: Connection, consent: Consent, super_id: str, granted: bool, reason: str
) -> None:
    answer = ACCEPTED if granted else DECLINED
    await _audit(conn, consent, super_id, "decided", answer, reason)
    if granted:
        await _apply(conn, consent)
    await consents_crud.end_consents(conn, consent.settlement_id, answer, utc_now())


async def _answer(
    conn: Connection,
    consent: Consent,
    party: str,
    actor: str,
    is_yes: bool,
    reason: str | None,
) -> None:
    answer, now = ACCEPTED if is_yes else DECLINED, utc_now()
    if (await consents_crud.answers(conn, consent.id)).get(party) == ACCEPTED:
        raise ConflictError("You have agreed already.")
    await consents_crud.put_answer(conn, consent.id, party, answer, now)
    action = "agreed" if is_yes else "refused"
    client_user_id = None if party == PLATFORM else actor
    await _audit(conn, consent, actor, action, answer, reason, client_user_id)
    if is_yes:
        await _settle(conn, consent)
    elif consent.kind != DISPENSE:
        # one creditor's no is enough; of a dispense the super may decide
        await consents_crud.end_consents(conn, consent.settlement_id, DECLINED, now)


async def _until_done(say: Callable[[Connection], Awaitable[None]]) -> None:
    """In one transaction under the lock; again where a payout took a leg meanwhile."""
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


async def _audit(
    conn: Connection,
    consent: Consent,
    actor: str,
    action: str,
    answer: str,
    reason: str | None,
    client_user_id: str | None = None,
) -> None:
    settlement = await crud.get_settlement(consent.settlement_id, conn)
    facts = facts_of(consent, settlement) if settlement else {}
    await write_audit(
        conn,
        actor,
        f"settlement.{consent.kind}_{action}",
        "settlement",
        consent.settlement_id,
        None,
        {**facts, "answer": answer},
        reason,
        operator_user_id=consent.operator_user_id,
        machine_id=consent.machine_id,
        client_user_id=client_user_id,
    )


# ----------------------------------------------------------------- what comes of a yes


async def settle_open() -> None:
    """Do what everybody agreed to or was paid before, and end what lapsed. For the
    engine, every minute."""
    async with db.connect() as conn:
        waiting = await consents_crud.open_settlement_ids(conn)
    for settlement_id in waiting:
        try:
            async with transaction() as conn:
                await crud.lock_ledger(conn)
                await _settle_one(conn, settlement_id)
        except ConcurrentChangeError:
            continue
    if waiting:
        distribution.wake()


async def _settle_one(conn: Connection, settlement_id: str) -> None:
    now = utc_now()
    consent = await consents_crud.open_consent(conn, settlement_id, now)
    if consent is None:
        await consents_crud.end_consents(conn, settlement_id, "lapsed", now)
    else:
        await _settle(conn, consent)


async def _settle(conn: Connection, consent: Consent) -> None:
    """Do it if everybody who is owed has agreed; end it where it came too late."""
    settlement = await crud.get_settlement(consent.settlement_id, conn)
    own = await crud.legs_of(consent.settlement_id, conn)
    if settlement is None or _is_overtaken(consent, settlement, own):
        await consents_crud.end_consents(
            conn, consent.settlement_id, "overtaken", utc_now()
        )
        return
    said = await consents_crud.answers(conn, consent.id)
    waits = {x for x in creditors(consent.kind, own) if said.get(x) != ACCEPTED}
    if waits or settlement.planned_at is None or _is_being_voided(consent, own):
        return
    await _apply(conn, consent)
    await consents_crud.end_consents(conn, consent.settlement_id, ACCEPTED, utc_now())


def _is_being_voided(consent: Consent, own: Sequence[Leg]) -> bool:
    """Of what is on its way it must first be known what becomes of it."""
    return consent.kind != DISPENSE and any(
        leg.status in UNPAID_LEG_STATUSES and leg.payout_id for leg in own
    )


def _is_overtaken(consent: Consent, settlement: Settlement, own: Sequence[Leg]) -> bool:
    if settlement.status == "voided":
        return True
    if consent.kind != DISPENSE:
        return settlements.is_paid(own)
    asked = fiat_cents(consent.dispensed_fiat or 0)
    return dispense.planned_cents(settlement) <= asked


async def _apply(conn: Connection, consent: Consent) -> None:
    settlement = await crud.get_settlement(consent.settlement_id, conn)
    if settlement is None:
        return
    actor, reason = consent.operator_user_id, consent.reason
    if consent.kind != DISPENSE:
        await settlements.void_agreed(conn, settlement, actor, reason or "")
        return
    cents = fiat_cents(consent.dispensed_fiat or 0)
    await dispense.apply_dispense(conn, settlement, cents, actor, reason)
    report = Report(said_at=consent.created_at, by=actor, cents=cents, is_machine=False)
    await dispense.book_report(conn, settlement, report)


# ------------------------------------------------------------------------ what is shown


@dataclass(frozen=True)
class Asked:
    """What was asked last about a settlement, and by whom it is answered: LPs by what
    their operator calls them."""

    id: str
    kind: str
    state: str
    sold_fiat: str
    dispensed_fiat: str | None
    reason: str | None
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    waits_for: list[str] = field(default_factory=list)
    accepted_by: list[str] = field(default_factory=list)
    declined_by: list[str] = field(default_factory=list)


async def read_asked(settlement_id: str) -> Asked | None:
    """For whoever may read the settlement."""
    async with db.connect() as conn:
        consent = await consents_crud.newest_consent(conn, settlement_id)
        if consent is None:
            return None
        own = await crud.legs_of(settlement_id, conn)
        said = await consents_crud.answers(conn, consent.id)
        names = await consents_crud.names_of_clients(conn, settlement_id)
    is_open = consent.state == consents_crud.OPEN
    is_lapsed = is_open and consent.expires_at <= utc_now()
    state = "lapsed" if is_lapsed else consent.state
    owed = creditors(consent.kind, own) if state == consents_crud.OPEN else set()

    def named(parties: set[str]) -> list[str]:
        return sorted(PLATFORM if x == PLATFORM else names.get(x, x) for x in parties)

    return Asked(
        id=consent.id,
        kind=consent.kind,
        state=state,
        sold_fiat=f"{consent.sold_fiat:.2f}",
        dispensed_fiat=(
            None if consent.dispensed_fiat is None else f"{consent.dispensed_fiat:.2f}"
        ),
        reason=consent.reason,
        asked_at=consent.created_at,
        expires_at=consent.expires_at,
        decided_at=consent.decided_at,
        waits_for=named(owed - set(said)),
        accepted_by=named({x for x, answer in said.items() if answer == ACCEPTED}),
        declined_by=named({x for x, answer in said.items() if answer == DECLINED}),
    )
