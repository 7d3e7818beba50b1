"""Which notes may a customer still be promised? What is in the bays, less promises.

Guaranteed: an invoice that nobody has paid yet keeps its notes until it expires, and a
paid one until its dispense is known, so that two customers are not sold the same notes.
Not guaranteed: that the notes are there. Where nobody filled in or reported a bay,
nothing is known and nobody is refused.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from ..base.database import db, transaction
from ..calculations import fiat_cents
from ..cash import crud, reservations, reservations_crud
from ..host.payments import invoice_states
from ..models import Machine, utc_now
from . import requests_crud
from .nostr import LineError
from .requests_crud import MachineRequest

# An invoice of LNbits that nobody pays is over by then, whatever its expiry is set to.
LONGEST_OPEN = timedelta(days=1)


async def open_invoices(machine: Machine) -> list[str]:
    """Hashes of the machine's invoices that somebody may still pay."""
    since = utc_now() - LONGEST_OPEN
    hashes = await requests_crud.invoice_hashes(machine.id, since)
    return [h for h, row in (await invoice_states(hashes)).items() if row.is_open]


# -------------------------------------------------------------------- what is told


async def cash_facts(machine: Machine) -> dict[str, Any]:
    """`max_cash_out` and `available` of a quote, where bays are known."""
    paid = await reservations.paid_not_landed("(:machine)", {"machine": machine.id})
    async with db.connect() as conn:
        there = await reservations.available(conn, machine, paid)
    if there is None:
        return {}
    most = there.max_units
    if machine.max_fiat is not None:
        most = min(most, int(machine.max_fiat))
    return {
        "max_cash_out": f"{most}.00",
        "available": {str(d): n for d, n in there.notes.items()},
    }


async def set_aside(
    machine: Machine, txid: str, fiat_amount: Decimal, bills: Any
) -> None:
    """Set notes aside for a sale. Refuse before a customer pays for what the machine
    cannot give."""
    paid = await reservations.paid_not_landed("(:machine)", {"machine": machine.id})
    async with transaction() as conn:
        there = await reservations.available(conn, machine, paid)
        cents = fiat_cents(fiat_amount)
        notes = await reservations.reserve(conn, machine, txid, cents, bills, paid)
    if notes is not None:
        return
    notes = there.notes if there else {}
    left = ", ".join(f"{n} x {d}" for d, n in notes.items()) or "none"
    raise LineError(
        "cash_short",
        f"The notes that are left for this customer ({left}) do not make "
        f"{fiat_amount} {machine.fiat_code}.",
    )


async def name_the_sale(machine_id: str, txid: str, payment_hash: str) -> None:
    """The invoice is made: the notes wait for its payment."""
    async with transaction() as conn:
        await reservations_crud.name_the_sale(conn, machine_id, txid, payment_hash)


async def notes_of(request: MachineRequest) -> dict[str, int]:
    """The notes that are set aside for a sale; {} where nobody knows which."""
    async with db.connect() as conn:
        notes = await crud.reserved_notes(conn, str(request.payment_hash))
    return {str(d): n for d, n in sorted(notes.items())}
