"""Which notes may a customer still be promised? What is in the bays, less promises.

Guaranteed: an invoice that nobody has paid yet keeps its notes until it expires, and a
paid one until its dispense is known, so that two customers are not sold the same notes.
Not guaranteed: that the notes are there. Where nobody filled in or reported a bay,
nothing is known and nobody is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from ..base.database import (
    db,
    db_time,
    fetch_models,
)
from ..cash.bays import bays
from ..host.payments import invoice_states
from ..models import Machine, utc_now
from . import requests_crud
from .nostr import LineError
from .requests_crud import MachineRequest

S = "satoshimachine"
# An invoice of LNbits that nobody pays is over by then, whatever its expiry is set to.
LONGEST_OPEN = timedelta(days=1)
Notes = dict[int, int]  # denomination -> count


async def open_invoices(machine: Machine) -> list[str]:
    """Hashes of the machine's invoices that somebody may still pay."""
    since = utc_now() - LONGEST_OPEN
    hashes = await requests_crud.invoice_hashes(machine.id, since)
    return [h for h, row in (await invoice_states(hashes)).items() if row.is_open]


# ------------------------------------------------------------------ what is promised


async def available_notes(machine: Machine) -> Notes | None:
    """Notes by denomination that nobody was promised; None if no bay is known."""
    async with db.connect() as conn:
        found = await bays(conn, "(:machine)", {"machine": machine.id})
    if not found:
        return None
    notes: Notes = {}
    for bay in found:
        notes[bay.denomination] = notes.get(bay.denomination, 0) + bay.count
    for request in await _promised(machine):
        taken = choose_notes(notes, request.fiat_amount, request.stamp.get("bills"))
        for denomination, count in (taken or {}).items():
            notes[denomination] -= count
    return notes


async def _promised(machine: Machine) -> list[MachineRequest]:
    """Requests whose notes are in a bay and belong to a customer: the invoice is open,
    or paid and not known to be dispensed."""
    async with db.connect() as conn:
        made = await fetch_models(
            conn,
            f"""
            SELECT r.* FROM {S}.dca_machine_requests r
            LEFT JOIN {S}.dca_settlements s ON s.payment_hash = r.payment_hash
            WHERE r.machine_id = :machine AND r.rpc = 'invoice'
              AND r.payment_hash IS NOT NULL AND r.updated_at >= :since
              AND (s.id IS NULL OR s.status = 'awaiting_dispense')
            ORDER BY r.created_at, r.txid
            """,  # noqa: S608
            MachineRequest,
            {"machine": machine.id, "since": db_time(utc_now() - LONGEST_OPEN)},
        )
    rows = await invoice_states([str(request.payment_hash) for request in made])
    return [
        request
        for request in made
        if (row := rows.get(str(request.payment_hash))) and (row.is_open or row.is_paid)
    ]


def choose_notes(notes: Notes, fiat_amount: Decimal, bills: Any = None) -> Notes | None:
    """The notes for an amount: the `bills` asked for where they are there and add up,
    else few ones that do; None if these notes do not add up to it."""
    units = int(fiat_amount)
    if units != fiat_amount:
        return None
    asked = _read_bills(bills)
    has_asked = all(notes.get(d, 0) >= n for d, n in asked.items())
    if asked and has_asked and sum(d * n for d, n in asked.items()) == units:
        return asked
    known = sorted((d for d, n in notes.items() if d > 0 and n > 0), reverse=True)

    @cache
    def fewest(rest: int, index: int) -> tuple[int, ...] | None:
        """How many of each denomination from `index` on, largest first."""
        if rest == 0:
            return ()
        if index == len(known):
            return None
        for count in range(min(rest // known[index], notes[known[index]]), -1, -1):
            found = fewest(rest - count * known[index], index + 1)
            if found is not None:
                return (count, *found)
        return None

    counts = fewest(units, 0)
    if counts is None:
        return None
    return {d: n for d, n in zip(known, counts, strict=False) if n}


def _read_bills(bills: Any) -> Notes:
    """Notes by denomination as a machine says them; {} if it makes no sense."""
    if not isinstance(bills, Mapping):
        return {}
    read: Notes = {}
    for denomination, count in bills.items():
        text = str(denomination)
        if not (text.isascii() and text.isdigit() and type(count) is int and count > 0):
            return {}
        read[int(text[:9])] = count
    return read


# -------------------------------------------------------------------- what is told


async def cash_facts(machine: Machine) -> dict[str, Any]:
    """`max_cash_out` and `available` of a quote, where bays are known."""
    notes = await available_notes(machine)
    if notes is None:
        return {}
    return {
        "max_cash_out": f"{sum(d * n for d, n in notes.items())}.00",
        "available": {str(d): n for d, n in sorted(notes.items())},
    }


async def must_have_cash(machine: Machine, fiat_amount: Decimal, bills: Any) -> None:
    """Refuse before a customer pays for what the machine cannot give."""
    notes = await available_notes(machine)
    if notes is None or choose_notes(notes, fiat_amount, bills) is not None:
        return
    left = ", ".join(f"{n} x {d}" for d, n in sorted(notes.items()) if n) or "none"
    raise LineError(
        "cash_short",
        f"The notes that are left for this customer ({left}) do not make "
        f"{fiat_amount} {machine.fiat_code}.",
    )
