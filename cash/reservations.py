"""Which notes may still be sold? What the bays hold, less what is set aside.

An invoice sets notes aside until it expires; a paid sale until its dispense is reported
or it is voided. A sale that was paid after its invoice expired sets its notes aside
again, and one that is not reported for a day keeps them out until somebody counts.

Guaranteed: a sale is refused only where every bay was counted since the cash book
began; for that the larger of the ledger and the machine's own newest count is taken,
note by note: of two bays of one note neither word knows more than it says in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import db, from_db_time
from ..host.payments import invoice_states
from ..models import Machine, utc_now
from . import crud, ledger
from . import reservations_crud as sql
from .change import Notes, fewest_notes, value_of

# After a day without a report it is as good as certain that the notes are gone.
PROBABLY_DISPENSED = timedelta(hours=24)


@dataclass(frozen=True)
class Available:
    """What a customer may buy: notes by denomination. `is_sure` where every bay was
    counted since the cash book began: only then a sale is refused.

    Of `unknown_units` nobody said which notes they were, only what they came to: the
    likeliest are off `notes`, and a sale is refused by its value alone.
    """

    notes: Notes
    is_sure: bool
    unknown_units: int = 0
    most: int | None = None

    @property
    def max_units(self) -> int:
        """The largest amount, in whole units."""
        value = value_of(self.notes)
        return value if self.most is None else min(self.most, value)

    def must_refuse(self, units: int) -> bool:
        """Whether an amount that `notes` do not make up is surely not there."""
        return self.is_sure and (not self.unknown_units or units > self.max_units)


async def paid_not_landed(own_machines: str, params: Mapping[str, Any]) -> list[str]:
    """Payment hashes of sales that were paid in time and have not landed yet. Their
    notes are set aside though the invoice's time is over. Asks LNbits: to be called
    before a connection is taken."""
    async with db.connect() as conn:
        hashes = await sql.unlanded(conn, own_machines, params)
    if not hashes:
        return []
    return [h for h, row in (await invoice_states(hashes)).items() if row.is_paid]


async def reserved(
    conn: Connection,
    own_machines: str,
    params: Mapping[str, Any],
    paid: Sequence[str] = (),
) -> dict[str, Notes]:
    """Notes that are set aside, by machine id and denomination. `paid` are sales that
    have not landed yet (`paid_not_landed`)."""
    day_ago = utc_now() - PROBABLY_DISPENSED
    found = await sql.holding(conn, own_machines, params, paid)
    old = {r["machine_id"] for r in found if _sold_at(r) < day_ago}
    counted = await sql.counted_notes(conn, sorted(old)) if old else {}
    by_machine: dict[str, Notes] = {}
    for row in found:
        sold_at = _sold_at(row)
        notes = by_machine.setdefault(row["machine_id"], {})
        for note, count in ledger.read_notes(row["notes_json"]).items():
            counted_at = counted.get((row["machine_id"], note))
            if sold_at < day_ago and counted_at and counted_at > sold_at:
                continue  # they are missing in what was counted
            notes[note] = notes.get(note, 0) + count
    return by_machine


def _sold_at(row: Mapping[str, Any]) -> datetime:
    """When the sale landed; now, where it has not."""
    return from_db_time(row["transaction_time"]) or utc_now()


async def available(
    conn: Connection, machine: Machine, paid: Sequence[str] = ()
) -> Available | None:
    """What the machine can pay out now; None where no bay is known."""
    rows = await sql.bay_rows(conn, machine)
    if not rows:
        return None
    notes, unknown_cents = await _in_the_bays(conn, machine, rows)
    mine = {"machine": machine.id}
    set_aside = await reserved(conn, "(:machine)", mine, paid)
    _take(notes, set_aside.get(machine.id, {}))
    unknown_units, most = -(-max(0, unknown_cents) // 100), None
    if unknown_units:
        there = {d: n for d, n in notes.items() if n > 0}
        most = max(0, value_of(there) - unknown_units)
        _take(notes, fewest_notes(unknown_units, there) or {})
    is_sure = all(row["is_counted"] or row["has_reported"] for row in rows)
    left = {c: n for c, n in sorted(notes.items()) if n > 0}
    return Available(left, is_sure, unknown_units, most)


def _take(notes: Notes, gone: Mapping[int, int]) -> None:
    for note, count in gone.items():
        notes[note] = notes.get(note, 0) - count


async def _in_the_bays(
    conn: Connection, machine: Machine, rows: Sequence[Mapping[str, Any]]
) -> tuple[Notes, int]:
    """Notes by denomination, and minor units of which nobody knows the notes: by the
    ledger or by the machine's own newest count carried on, whichever is more."""
    held: Notes = {}
    own: Notes = {}
    counted_at: datetime | None = None
    for row in rows:
        note, in_ledger = int(row["denomination"]), max(0, int(row["held"]))
        by_machine = in_ledger
        if row["state_count"] is not None and row["state_denomination"] == note:
            by_machine = max(0, int(row["state_count"]) + int(row["moved"] or 0))
            at = from_db_time(row["state_at"])
            counted_at = max(filter(None, (counted_at, at)), default=None)
        held[note] = held.get(note, 0) + in_ledger
        own[note] = own.get(note, 0) + by_machine
    unknown = await sql.from_unknown_bays(conn, machine, None)
    since = unknown
    if counted_at:
        since = await sql.from_unknown_bays(conn, machine, counted_at)
    _take(held, {d: -n for d, (n, _) in unknown.items() if d})
    _take(own, {d: -n for d, (n, _) in since.items() if d})
    gone, gone_since = -unknown.get(0, (0, 0))[1], -since.get(0, (0, 0))[1]
    if gone <= 0 and gone_since <= 0:
        return {d: max(held[d], own.get(d, 0)) for d in held}, 0
    if value_of(own) * 100 - gone_since >= value_of(held) * 100 - gone:
        return own, gone_since
    return held, gone


async def reserve(
    conn: Connection,
    machine: Machine,
    txid: str,
    fiat_cents: int,
    bills: Any,
    paid: Sequence[str] = (),
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
    there = await available(conn, machine, paid)
    asked = ledger.read_notes(bills)
    is_asked = bool(asked) and value_of(asked) * 100 == fiat_cents
    if there is None:
        notes: Notes | None = asked if is_asked else {}
    elif is_asked and all(there.notes.get(n, 0) >= c for n, c in asked.items()):
        notes = asked
    else:
        whole, rest = divmod(fiat_cents, 100)
        notes = None if rest else fewest_notes(whole, there.notes)
        if notes is None and not there.must_refuse(whole + bool(rest)):
            notes = asked if is_asked else {}
    if notes is not None:
        await sql.insert(conn, machine, txid, notes)
    return notes
