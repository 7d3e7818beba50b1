"""Which notes may still be sold? What the bays hold, less what is set aside.

An invoice sets notes aside until it expires; a paid sale until its dispense is reported
or it is voided. A sale that was paid after its invoice expired sets its notes aside
again, and one that is not reported for a day keeps them out until somebody counts.

Guaranteed: a sale is refused only where every bay was counted since the cash book
began; for that the larger of the ledger and the machine's own newest count is taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, execute, fetch_all, fetch_one
from ..models import Machine, utc_now
from . import crud, ledger
from .change import Notes, fewest_notes, value_of

S = "satoshimachine"
# After a day without a report it is as good as certain that the notes are gone.
PROBABLY_DISPENSED = timedelta(hours=24)

# A reservation that still holds its notes back; needs `:now` and `:day_ago`.
HOLDS = f"""
    (s.id IS NULL AND r.expires_at > :now)
    OR (s.id IS NOT NULL AND s.status <> 'voided' AND s.dispense_state = 'awaiting'
        AND NOT EXISTS (SELECT 1 FROM {S}.cash_trades t
            WHERE t.settlement_id = s.id AND t.fault IS NULL)
        AND NOT (s.transaction_time < :day_ago AND EXISTS (
            SELECT 1 FROM {S}.cash_counts c WHERE c.machine_id = r.machine_id
              AND c.source = 'person' AND c.at > s.transaction_time)))
"""  # noqa: S608


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
    now = utc_now()
    found = await fetch_all(
        conn,
        f"""
        SELECT r.machine_id, r.notes_json FROM {S}.cash_reservations r
        LEFT JOIN {S}.dca_settlements s ON s.payment_hash = r.payment_hash
        WHERE r.machine_id IN {own_machines} AND ({HOLDS})
        """,  # noqa: S608
        {
            **params,
            "now": db_time(now),
            "day_ago": db_time(now - PROBABLY_DISPENSED),
        },
    )
    by_machine: dict[str, Notes] = {}
    for row in found:
        notes = by_machine.setdefault(row["machine_id"], {})
        for note, count in ledger.read_notes(row["notes_json"]).items():
            notes[note] = notes.get(note, 0) + count
    return by_machine


async def available(conn: Connection, machine: Machine) -> Available | None:
    """What the machine can pay out now; None where no bay is known."""
    only, params = "(:machine)", {"machine": machine.id}
    rows = await fetch_all(
        conn,
        f"""
        SELECT k.position, k.denomination, COALESCE(b.notes, 0) AS held,
            k.state_count, k.state_denomination, k.state_at,
            EXISTS (SELECT 1 FROM {S}.cash_counts c
                WHERE c.machine_id = k.machine_id AND c.source <> 'upgrade'
                  AND c.place = 'bay:' || k.position) AS is_counted,
            EXISTS (SELECT 1 FROM {S}.dca_cursors u WHERE u.id = 'cash_book_began'
                AND k.state_count IS NOT NULL AND k.state_at >= u.updated_at)
                AS has_reported,
            (SELECT COALESCE(SUM(CASE WHEN v.to_place = 'bay:' || k.position
                    THEN v.notes ELSE -v.notes END), 0)
                FROM {S}.cash_movements v
                WHERE v.machine_id = k.machine_id AND v.at > k.state_at
                  AND v.denomination = k.denomination
                  AND (v.to_place = 'bay:' || k.position
                    OR v.from_place = 'bay:' || k.position)) AS moved
        FROM {S}.cassette_configs k
        LEFT JOIN {S}.cash_balances b ON b.machine_id = k.machine_id
            AND b.place = 'bay:' || k.position AND b.denomination = k.denomination
            AND b.currency = :currency
        WHERE k.machine_id = :machine AND k.denomination > 0
        """,  # noqa: S608
        {**params, "currency": machine.fiat_code},
    )
    if not rows:
        return None
    notes: Notes = {}
    for row in rows:
        note = int(row["denomination"])
        notes[note] = notes.get(note, 0) + max(0, _most_in(row))
    for note, count in await _from_unknown_bays(conn, machine):
        notes[note] = notes.get(note, 0) + count
    set_aside = (await reserved(conn, only, params)).get(machine.id, {})
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


async def _from_unknown_bays(
    conn: Connection, machine: Machine
) -> list[tuple[int, int]]:
    """Notes of which nobody said which bay they came out of: below 0."""
    found = await fetch_all(
        conn,
        f"SELECT denomination, notes FROM {S}.cash_balances "  # noqa: S608
        "WHERE machine_id = :id AND place = 'bays' AND denomination > 0",
        {"id": machine.id},
    )
    return [(int(r["denomination"]), int(r["notes"])) for r in found]


async def reserve(
    conn: Connection, machine: Machine, txid: str, fiat_cents: int, bills: Any
) -> Notes | None:
    """Set notes aside for an invoice; which, or None if it must be refused.

    Those of the request where they add up, else the fewest that do. Nothing is refused
    that is not sure to be short: then, and where nothing adds up, the answer is empty.
    The same txid again gets the same notes, for another time.
    """
    await crud.lock_cash(conn)
    known = await fetch_one(
        conn,
        f"SELECT notes_json FROM {S}.cash_reservations "  # noqa: S608
        "WHERE machine_id = :machine AND txid = :txid",
        {"machine": machine.id, "txid": txid},
    )
    if known:
        return ledger.read_notes(known["notes_json"])
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
        await _insert(conn, machine, txid, notes)
    return notes


async def _insert(
    conn: Connection, machine: Machine, txid: str, notes: Mapping[int, int]
) -> None:
    now = utc_now()
    await execute(
        conn,
        f"""
        INSERT INTO {S}.cash_reservations (
            machine_id, txid, notes_json, created_at, expires_at
        ) VALUES (:machine, :txid, :notes, :now, :until)
        """,  # noqa: S608
        {
            "machine": machine.id,
            "txid": txid,
            "notes": json.dumps({str(n): c for n, c in sorted(notes.items())}),
            "now": db_time(now),
            "until": db_time(now + timedelta(minutes=machine.invoice_expiry_minutes)),
        },
    )


async def name_the_sale(
    conn: Connection, machine_id: str, txid: str, payment_hash: str
) -> None:
    """The invoice was made: its payment is what the notes are set aside for."""
    await execute(
        conn,
        f"UPDATE {S}.cash_reservations SET payment_hash = :hash "  # noqa: S608
        "WHERE machine_id = :machine AND txid = :txid",
        {"machine": machine_id, "txid": txid, "hash": payment_hash},
    )
