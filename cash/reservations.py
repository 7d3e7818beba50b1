"""Which notes may still be sold? What the bays hold, less what is set aside.

An invoice sets notes aside until it expires; a paid sale until its dispense is reported
or it is voided. A sale that was paid after its invoice expired sets its notes aside
again, and one that is not reported for a day keeps them out until somebody counts.

Guaranteed: a sale is refused only where every bay was counted since the cash book
began; for that the larger of the ledger and the machine's own newest count is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lnbits.db import Connection

from ..models import Machine, utc_now
from . import crud, ledger
from . import reservations_crud as sql
from .change import Notes, fewest_notes, value_of

# After a day without a report it is as good as certain that the notes are gone.
PROBABLY_DISPENSED = timedelta(hours=24)


@dataclass(frozen=True)
class Available:
    """What a customer may buy: notes by denomination. `is_sure` where every bay was
    counted since the cash book began: only then a sale is refused."""

    notes: Notes
    is_sure: bool

    @property
    def max_units(self) -> int:
        """The largest amount, in whole units."""
        return value_of(self.notes)


async def reserved(
    conn: Connection, own_machines: str, params: Mapping[str, Any]
) -> dict[str, Notes]:
    """Notes that are set aside, by machine id and denomination."""
    day_ago = utc_now() - PROBABLY_DISPENSED
    found = await sql.holding(conn, own_machines, params, day_ago)
    by_machine: dict[str, Notes] = {}
    for row in found:
        notes = by_machine.setdefault(row["machine_id"], {})
        for note, count in ledger.read_notes(row["notes_json"]).items():
            notes[note] = notes.get(note, 0) + count
    return by_machine


async def available(conn: Connection, machine: Machine) -> Available | None:
    """What the machine can pay out now; None where no bay is known."""
    rows = await sql.bay_rows(conn, machine)
    if not rows:
        return None
    notes: Notes = {}
    for row in rows:
        note = int(row["denomination"])
        notes[note] = notes.get(note, 0) + max(0, _most_in(row))
    for note, count in await sql.from_unknown_bays(conn, machine):
        notes[note] = notes.get(note, 0) + count
    set_aside = (await reserved(conn, "(:machine)", {"machine": machine.id})).get(
        machine.id, {}
    )
    for note, count in set_aside.items():
        notes[note] = notes.get(note, 0) - count
    is_sure = all(row["is_counted"] or row["has_reported"] for row in rows)
    return Available({n: c for n, c in sorted(notes.items()) if c > 0}, is_sure)


def _most_in(row: Mapping[str, Any]) -> int:
    """The larger of the ledger's figure and the machine's own, carried on."""
    held = int(row["held"])
    if row["state_count"] is None or row["state_denomination"] != row["denomination"]:
        return held
    return max(held, int(row["state_count"]) + int(row["moved"] or 0))


async def reserve(
    conn: Connection, machine: Machine, txid: str, fiat_cents: int, bills: Any
) -> Notes | None:
    """Set notes aside for an invoice; which, or None if it must be refused.

    Those of the request where they add up, else the fewest that do. Nothing is refused
    that is not sure to be short: then, and where nothing adds up, the answer is empty.
    It is asked before an invoice exists. So what an earlier try of this txid set aside,
    that died before it had one, was promised to nobody: it is judged anew, for its time
    may be over and the notes another customer's.
    """
    await crud.lock_cash(conn)
    await sql.forget(conn, machine.id, txid)
    there = await available(conn, machine)
    asked = ledger.read_notes(bills)
    is_asked = bool(asked) and value_of(asked) * 100 == fiat_cents
    if there is None:
        notes: Notes | None = asked if is_asked else {}
    elif is_asked and all(there.notes.get(n, 0) >= c for n, c in asked.items()):
        notes = asked
    else:
        whole, rest = divmod(fiat_cents, 100)
        notes = None if rest else fewest_notes(whole, there.notes)
        if notes is None and not there.is_sure:
            notes = asked if is_asked else {}
    if notes is not None:
        await sql.insert(conn, machine, txid, notes)
    return notes
