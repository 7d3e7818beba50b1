"""Whose yes an operator needs for what takes from others, and how it is asked.

Guaranteed: what is asked changes nothing of the money; one question is open for a
settlement at most, and a newer one takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from .. import bitspire
from ..base.audit import MACHINE
from ..base.refusals import ConflictError
from ..books.payments import CLAIM_LAPSES
from ..calculations import cents_text, fiat_cents
from ..models import (
    UNPAID_LEG_STATUSES,
    Consent,
    Fiat,
    Leg,
    Machine,
    Settlement,
    utc_now,
)
from . import consents_crud
from .actions import audit_settlement
from .repairs_crud import CLAIM_WAITING

DISPENSE, VOID = "dispense", "void"
# The party that is no LP.
PLATFORM = "platform"
CONSENT_LASTS = timedelta(days=14)
CLAIM_WAITS = (
    "You say that an LP was paid outside for this sale: wait for their answer first."
)


def machines_own_cents(settlement: Settlement) -> int | None:
    """What the machine itself says that it paid out; None if it has not said."""
    if settlement.reported_by == MACHINE and settlement.reported_fiat is not None:
        return fiat_cents(settlement.reported_fiat)
    if settlement.dispense_state == bitspire.AWAITING or settlement.dispensed_by:
        return None
    # its stamp, which speaks of a dispense that was made
    return fiat_cents(settlement.fiat_amount)


def creditors(kind: str, legs: Sequence[Leg]) -> set[str]:
    """Who is owed by legs that are not paid yet, being paid or not: client ids, and the
    platform. An LP's failed leg may be voided without asking, as it always could."""
    found = set()
    for leg in legs:
        if leg.status not in UNPAID_LEG_STATUSES:
            continue
        if leg.leg_type == "super_fee":
            found.add(PLATFORM)
        elif leg.leg_type == "dca" and leg.client_id:
            if kind == DISPENSE or leg.status != "failed":
                found.add(leg.client_id)
    return found


def is_claimed(leg: Leg) -> bool:
    """Whether an LP has still to say that this was paid to them outside."""
    is_open = leg.status in UNPAID_LEG_STATUSES and leg.claim_state == CLAIM_WAITING
    return (
        is_open
        and leg.claim_at is not None
        and utc_now() - leg.claim_at <= (CLAIM_LAPSES)
    )


async def ask(
    conn: Connection,
    settlement: Settlement,
    machine: Machine,
    legs: Sequence[Leg],
    kind: str,
    reason: str | None,
    cents: int | None = None,
) -> Consent:
    """Write the question down, and in the log for whom it concerns. In the caller's
    transaction, under the ledger lock."""
    now = utc_now()
    if any(is_claimed(leg) for leg in legs):
        raise ConflictError(CLAIM_WAITS)
    await consents_crud.end_consents(conn, settlement.id, "replaced", now)
    consent = Consent(
        id=urlsafe_short_hash(),
        settlement_id=settlement.id,
        machine_id=settlement.machine_id,
        operator_user_id=machine.operator_user_id,
        kind=kind,
        sold_fiat=settlement.fiat_amount,
        dispensed_fiat=None if cents is None else Fiat(cents_text(cents)),
        reason=reason,
        created_at=now,
        expires_at=now + CONSENT_LASTS,
    )
    await consents_crud.insert_consent(conn, consent)
    await audit_settlement(
        conn,
        machine.operator_user_id,
        f"{kind}_asked",
        settlement,
        machine,
        None,
        facts_of(consent, settlement),
        reason,
    )
    return consent


def facts_of(consent: Consent, settlement: Settlement) -> dict[str, object]:
    facts: dict[str, object] = {
        "amount": consent.sold_fiat,
        "currency": settlement.fiat_code,
    }
    if consent.dispensed_fiat is not None:
        facts["dispensed_fiat"] = consent.dispensed_fiat
    return facts
