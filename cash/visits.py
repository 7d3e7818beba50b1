"""Somebody stands at the machine: what they counted, filled in and took out.

A visit is open while they work, and nothing is booked yet: a connection that breaks
loses nothing that was sent, and the same sent again is the same. Closing books it all
in one transaction, each value at the time at which it was counted.

Guaranteed: one open visit a machine; what a count finds missing is a movement with who
counted; a bay holds one denomination, another one empties it first.
Not guaranteed: that the counter did not know what was expected. The form asks first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from ..base.refusals import BadInputError, ConflictError
from ..models import Machine, utc_now
from . import crud, ledger
from . import visits_crud as sql
from .crud import Place
from .ledger import BOX, HAND, Movement
from .postings import post_count
from .visits_crud import CANCELLED, CLOSED, OPEN, Entry, Visit

TAKE_OVER = timedelta(hours=2)
MAX_POSITION = 16

Notes = Mapping[int, int]


async def open_visit(conn: Connection, machine: Machine, user_id: str) -> Visit:
    """Begin a visit, or go on with one's own that is open.

    After two hours anybody who may visit the machine takes over an open one, with what
    was entered. `ConflictError` before.
    """
    await crud.lock_cash(conn)
    present = await sql.open_visit_of(conn, machine.id)
    now = utc_now()
    if present is None:
        visit = Visit(
            id=urlsafe_short_hash(),
            operator_user_id=machine.operator_user_id,
            machine_id=machine.id,
            status=OPEN,
            opened_at=now,
            opened_by=user_id,
        )
        await sql.insert_visit(conn, visit)
        return visit
    await must_be_theirs(conn, present, user_id)
    return present


async def must_be_theirs(conn: Connection, visit: Visit, user_id: str) -> None:
    """Who opened a visit enters and closes it: the counts are in their name. After two
    hours it is whoever goes on with it. `ConflictError` before."""
    if visit.opened_by == user_id:
        return
    if utc_now() - visit.opened_at < TAKE_OVER:
        raise ConflictError(
            "Somebody else has a visit open at this machine. You can take it over two "
            "hours after it was opened."
        )
    visit.opened_by = user_id
    await sql.save_owner(conn, visit)


def must_be_open(visit: Visit) -> None:
    if visit.status == CLOSED:
        raise ConflictError("This visit is closed: what was counted in it stays.")
    if visit.status == CANCELLED:
        raise ConflictError("This visit was cancelled: open a new one.")


# ------------------------------------------------------------------------ entering


def read_place(name: str, *, is_filled: bool = False) -> str:
    """`bay:1` to `bay:16`, or `box`. `BadInputError` for anything else."""
    kind, _, number = name.partition(":")
    is_number = number.isascii() and number.isdigit() and len(number) <= 2
    if kind == "bay" and is_number and 1 <= int(number) <= MAX_POSITION:
        return ledger.bay(number)
    if name == BOX and not is_filled:
        return BOX
    if is_filled:
        raise BadInputError(
            f"{name[:40]!r} is not a place that is entered here: bay:1 to bay:16."
        )
    raise BadInputError(
        f"{name[:40]!r} is not a place that is entered here: bay:1 to bay:16, or box."
    )


def read_notes(place: str, value: Mapping[str, Any]) -> dict[int, int]:
    """`{"20": 48}` as numbers; a bay has one denomination. `BadInputError`."""
    notes: dict[int, int] = {}
    for key, count in value.items():
        text = str(key)
        if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 10**9):
            raise BadInputError(
                f"{place}: {text[:40]!r} is not a denomination: whole units from 1."
            )
        if type(count) is not int or not 0 <= count <= ledger.MAX_NOTES:
            raise BadInputError(
                f"{place}: the number of notes is a whole number from 0 to "
                f"{ledger.MAX_NOTES}."
            )
        notes[int(text)] = count
    if place != BOX and len(notes) != 1:
        raise BadInputError(f"{place}: a bay holds notes of one denomination.")
    return notes


def enter(
    visit: Visit,
    *,
    counts: Mapping[str, Any] | None,
    filled: Mapping[str, Any] | None,
    emptied: Sequence[str] | None,
    counted_at: datetime | None,
) -> None:
    """Replace what is named; a place of null is taken back. The same again is the same:
    a value keeps the time at which it was first sent unless another is given."""
    now = utc_now()
    at = min(counted_at, now) if counted_at else None
    for given, kept, is_filled in (
        (counts, visit.counts, False),
        (filled, visit.filled, True),
    ):
        for name, value in (given or {}).items():
            place = read_place(name, is_filled=is_filled)
            if value is None:
                kept.pop(place, None)
                continue
            notes = read_notes(place, value)
            before = kept.get(place)
            if before is None or before.notes != notes or at is not None:
                kept[place] = Entry(notes, at or now)
    if emptied is not None:
        places = [read_place(name) for name in emptied]
        visit.emptied = {p: at or visit.emptied.get(p) or now for p in places}


# -------------------------------------------------------------------------- closing


async def cancel(conn: Connection, visit: Visit, user_id: str) -> None:
    """Give it up: nothing of it is booked."""
    must_be_open(visit)
    await _finish(conn, visit, CANCELLED, user_id, None)


async def close(
    conn: Connection, visit: Visit, machine: Machine, user_id: str, reason: str | None
) -> dict[int, tuple[int, int]]:
    """Book the visit; what the bays hold then: position -> (denomination, count).

    The caller publishes that to the machine, and commits.
    """
    await crud.lock_cash(conn)
    must_be_open(visit)
    bays = await crud.denominations(conn, machine.id)
    for name in sorted({*visit.counts, *visit.filled, *visit.emptied}):
        place = Place.of_machine(machine, name)
        visit.differences += await _book_place(conn, visit, place, user_id, reason)
        notes = (visit.filled.get(name) or visit.counts.get(name) or _NOTHING).notes
        if name != BOX and notes:
            bays[int(name.partition(":")[2])] = next(iter(notes))
    await _settle_unknown_bays(conn, visit, machine, user_id, bays)
    await _find_likely_reason(conn, visit, machine)
    visit.difference_cents = sum(
        abs(d["counted_cents"] - d["expected_cents"]) for d in visit.differences
    )
    await _finish(conn, visit, CLOSED, user_id, reason)
    return await present_bays(conn, machine.id, bays)


_NOTHING = Entry({}, datetime.min)


async def _find_likely_reason(conn: Connection, visit: Visit, machine: Machine) -> None:
    """Notes of a cash-in that was refused or failed are in the box, if the machine kept
    them, and nowhere in the book: said beside what the box has too much."""
    found = [d for d in visit.differences if d["place"] == BOX]
    found = [d for d in found if d["counted_cents"] > d["expected_cents"]]
    if not found:
        return
    place = Place.of_machine(machine, BOX)
    unpaid = await sql.unpaid_cash_ins(conn, place, visit.id, visit.counts[BOX].at)
    if unpaid:
        for difference in found:
            difference |= {"unpaid": len(unpaid), "unpaid_cents": sum(unpaid)}


async def _book_place(
    conn: Connection, visit: Visit, place: Place, user_id: str, reason: str | None
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    count = visit.counts.get(place.name)
    fill = visit.filled.get(place.name)
    if count:
        if place.name != BOX:
            await _empty(conn, visit, place, count.at, user_id, keep=count.notes)
        found = [
            {"place": place.name, **difference}
            for difference in await post_count(
                conn,
                place,
                count.notes,
                at=count.at,
                by=user_id,
                visit_id=visit.id,
                reason=reason,
                opens=await _opens(conn, place),
            )
        ]
    emptied_at = visit.emptied.get(place.name)
    if emptied_at:
        at = max(emptied_at, count.at) if count else emptied_at
        await _empty(conn, visit, place, at, user_id)
    if fill:
        at = max(fill.at, count.at) if count else fill.at
        await _empty(conn, visit, place, at, user_id, keep=fill.notes)
        await _move(conn, visit, place, fill.notes, at, user_id, from_hand=True)
    return found


async def _opens(conn: Connection, place: Place) -> bool:
    """Whether the first count of a place says what it held before the book began.

    A bay's does. A box was empty when its machine came, unless the book came later.
    """
    if place.name != BOX:
        return True
    return await sql.was_there_before_the_book(conn, place.machine_id)


async def _empty(
    conn: Connection,
    visit: Visit,
    place: Place,
    at: datetime,
    user_id: str,
    keep: Notes | None = None,
) -> None:
    """What the place holds goes to the hand, but for a denomination that stays; and
    where another one is in it, what is counted of the new one was put in."""
    held = (await crud.held_at(conn, place, at))[place.name]
    for note, (notes, cents) in sorted(held.items()):
        if note not in (keep or {}) and cents > 0:
            movement = _movement(visit, place, at, user_id, note, notes, cents)
            await crud.post(conn, [movement])
    if keep is None or place.name not in visit.counts:
        return
    is_exchanged = any(cents > 0 for d, (_, cents) in held.items() if d not in keep)
    is_counted = visit.counts[place.name].notes == keep
    if is_exchanged and is_counted and not any(held.get(d) for d in keep):
        await _move(conn, visit, place, keep, at, user_id, from_hand=True)


async def _move(
    conn: Connection,
    visit: Visit,
    place: Place,
    notes: Notes,
    at: datetime,
    user_id: str,
    *,
    from_hand: bool,
) -> None:
    for note, count in sorted(notes.items()):
        if count:
            movement = _movement(
                visit, place, at, user_id, note, count, note * count * 100, from_hand
            )
            await crud.post(conn, [movement])


def _movement(
    visit: Visit,
    place: Place,
    at: datetime,
    user_id: str,
    note: int,
    notes: int,
    cents: int,
    from_hand: bool = False,
) -> Movement:
    return Movement(
        operator_user_id=place.operator_user_id,
        machine_id=place.machine_id,
        from_place=HAND if from_hand else place.name,
        to_place=place.name if from_hand else HAND,
        denomination=note or None,
        notes=notes if note else None,
        cents=cents,
        currency=place.currency,
        at=at,
        by=user_id,
        source=ledger.PERSON,
        visit_id=visit.id,
    )


async def _settle_unknown_bays(
    conn: Connection,
    visit: Visit,
    machine: Machine,
    user_id: str,
    bays: Mapping[int, int],
) -> None:
    """Once every bay is counted, nothing is left of what came out of no known bay."""
    names = {ledger.bay(position) for position in bays} - visit.emptied.keys()
    if not names <= visit.counts.keys():
        return
    place = Place.of_machine(machine, ledger.BAYS)
    at = max((entry.at for entry in visit.counts.values()), default=utc_now())
    held = (await crud.held_at(conn, place, at))[place.name]
    if not held and not await crud.was_counted(conn, place):
        return
    found = await post_count(
        conn, place, {}, at=at, by=user_id, visit_id=visit.id, opens=False
    )
    visit.differences += [{"place": place.name, **difference} for difference in found]


async def _finish(
    conn: Connection, visit: Visit, status: str, user_id: str, reason: str | None
) -> None:
    visit.status, visit.closed_at, visit.closed_by = status, utc_now(), user_id
    visit.reason = reason
    await sql.save_end(conn, visit)


async def present_bays(
    conn: Connection, machine_id: str, bays: Mapping[int, int]
) -> dict[int, tuple[int, int]]:
    """What the ledger says that is in each bay now, at least 0."""
    held = await sql.held_in_bays(conn, machine_id)
    return {
        position: (note, max(0, held.get((ledger.bay(position), note), 0)))
        for position, note in sorted(bays.items())
    }


# ----------------------------------------------------------- all in one go


async def save_all(
    conn: Connection,
    machine: Machine,
    positions: Mapping[int, tuple[int, int]],
    user_id: str,
) -> Visit:
    """The operator says what is in every bay: a visit opened and closed at once. A bay
    that is left out goes to the hand."""
    await crud.lock_cash(conn)
    if await sql.open_visit_of(conn, machine.id):
        raise ConflictError(
            "A visit is open at this machine: close or cancel it first."
        )
    now = utc_now()
    visit = Visit(
        id=urlsafe_short_hash(),
        operator_user_id=machine.operator_user_id,
        machine_id=machine.id,
        status=OPEN,
        opened_at=now,
        opened_by=user_id,
        counts={
            ledger.bay(position): Entry({note: count}, now)
            for position, (note, count) in positions.items()
        },
    )
    for position in await crud.denominations(conn, machine.id):
        if position not in positions:
            visit.emptied[ledger.bay(position)] = now
    await sql.insert_visit(conn, visit)
    await close(conn, visit, machine, user_id, None)
    return visit
