"""What is a movement of cash, and what follows from a report? Pure: no database.

A movement takes notes, or an amount of which nobody said the notes, from one place to
another, at the time when they moved. What a place holds is the sum of its movements. A
count is kept true for ever: what is reported late, and moved before it, is made up for
at the count, against its difference. So the order in which things are heard of changes
nothing.

Places of a machine: `bay:<position>`, `box`, and `bays` for what came out of a bay of
which nobody said which one. Of an operator: `hand`. The others are outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .change import only_choice

BOX = "box"
BAYS = "bays"
HAND = "hand"
LP = "lp"
BANK = "bank"
CUSTOMER = "customer"
OPENING = "opening"
DIFFERENCE = "difference"
OUTSIDE = (LP, BANK, CUSTOMER, OPENING, DIFFERENCE)

PERSON = "person"
MACHINE = "machine"
SETTLEMENT = "settlement"

MAX_NOTES = 1_000_000
MAX_DENOMINATION = 2_147_483_647
MAX_CENTS = 10**17


def bay(position: int | str) -> str:
    """The place of a bay."""
    return f"bay:{int(position)}"


def is_of_machine(place: str) -> bool:
    """Whether each machine has such a place of its own."""
    return place in (BOX, BAYS) or place.startswith("bay:")


def is_inside(place: str) -> bool:
    """Whether cash in this place is the operator's to count."""
    return place == HAND or is_of_machine(place)


@dataclass(frozen=True)
class Movement:
    """Notes or an amount on their way. `denomination` is None where only the amount is
    known, then `notes` is too; `cents` are minor units, never negative."""

    operator_user_id: str
    from_place: str
    to_place: str
    cents: int
    currency: str
    at: datetime
    by: str
    source: str
    machine_id: str | None = None
    denomination: int | None = None
    notes: int | None = None
    visit_id: str | None = None
    settlement_id: str | None = None
    deposit_id: str | None = None
    reason: str | None = None
    number: int | None = None

    def reversed(self, reason: str) -> Movement:
        """The same way back, at the same time."""
        return replace(
            self,
            from_place=self.to_place,
            to_place=self.from_place,
            reason=reason,
            number=None,
        )


# place -> denomination (0: by amount) -> (notes, minor units)
Held = dict[str, dict[int, tuple[int, int]]]


def fold(movements: Iterable[Movement], at: datetime | None = None) -> Held:
    """What every place, the outside ones too, holds after what moved until `at`."""
    held: Held = {}
    for movement in movements:
        if at is not None and movement.at > at:
            continue
        for place, sign in ((movement.from_place, -1), (movement.to_place, 1)):
            of_place = held.setdefault(place, {})
            notes, cents = of_place.get(movement.denomination or 0, (0, 0))
            of_place[movement.denomination or 0] = (
                notes + sign * (movement.notes or 0),
                cents + sign * movement.cents,
            )
    return held


# ------------------------------------------------------------------ what a report says


@dataclass(frozen=True)
class Line:
    """Part of what left or entered a machine: as a movement has it."""

    place: str
    denomination: int | None
    notes: int | None
    cents: int


@dataclass(frozen=True)
class Report:
    """Who says what moved for a settlement, and when they said it.

    `said_at` and `event_id` put reports in order, a person's below every machine's.
    `moved_at` is when the notes moved, where the report knows. `bills` are notes by
    denomination, `cassettes` by bay; what makes no sense counts as not said.
    """

    said_at: datetime
    by: str
    cents: int
    event_id: str = ""
    is_machine: bool = True
    moved_at: datetime | None = None
    bills: Any = None
    cassettes: Any = None

    @property
    def rank(self) -> tuple[bool, datetime, str]:
        return (self.is_machine, self.said_at, self.event_id)


def read_notes(value: Any, largest_key: int = MAX_DENOMINATION) -> dict[int, int]:
    """`{"20": 3}` as numbers; empty if any of it is not a count of notes."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    if not isinstance(value, Mapping):
        return {}
    found: dict[int, int] = {}
    for key, count in value.items():
        text = str(key)
        is_key = text.isascii() and text.isdigit() and len(text) <= 10
        if not is_key or not 1 <= int(text) <= largest_key:
            return {}
        if type(count) is not int or not 0 <= count <= MAX_NOTES:
            return {}
        found[int(text)] = found.get(int(text), 0) + count
    return {key: count for key, count in found.items() if count}


def lines_out(
    report: Report, bays: Mapping[int, int], reserved: Mapping[int, int]
) -> list[Line]:
    """What left the bays: by `cassettes`, else by `bills`, else by the amount.

    `bays` is position -> denomination. `reserved` are the notes that were set aside for
    this sale: they came out if nobody says otherwise, all of them or, of a part that
    only one choice of them makes up, those.
    """
    by_bay = read_notes(report.cassettes, 99)
    if by_bay:
        return _by_bay(report.cents, by_bay, bays)
    bills = read_notes(report.bills)
    if not bills and 0 < report.cents and report.cents % 100 == 0:
        bills = only_choice(report.cents // 100, reserved) or {}
    if bills:
        return [_bill(bays, note, count) for note, count in sorted(bills.items())]
    return _by_amount(report.cents, bays)


def _by_bay(
    cents: int, by_bay: Mapping[int, int], bays: Mapping[int, int]
) -> list[Line]:
    """Of bays that nobody knows of, what is left of the amount says the notes; where
    it does not, it is an amount."""
    lines = [
        _line(bay(position), bays[position], count)
        for position, count in sorted(by_bay.items())
        if bays.get(position)
    ]
    unknown = [position for position in by_bay if not bays.get(position)]
    left = cents - total_cents(lines)
    if unknown and left > 0:
        count = by_bay[unknown[0]]
        if len(unknown) == 1 and left % (count * 100) == 0:
            lines.append(_line(bay(unknown[0]), left // (count * 100), count))
        else:
            lines.append(Line(BAYS, None, None, left))
    return lines


def _bill(bays: Mapping[int, int], note: int, count: int) -> Line:
    of_note = [position for position, held in bays.items() if held == note]
    return _line(bay(of_note[0]) if len(of_note) == 1 else BAYS, note, count)


def _by_amount(cents: int, bays: Mapping[int, int]) -> list[Line]:
    if cents <= 0:
        return []
    if len(bays) == 1:
        (position, note), *_ = bays.items()
        if note and cents % (note * 100) == 0:
            return [_line(bay(position), note, cents // (note * 100))]
    return [Line(BAYS, None, None, cents)]


def lines_in(report: Report) -> list[Line]:
    """What fell into the box: by `bills`, else by the amount."""
    bills = read_notes(report.bills)
    if bills:
        return [_line(BOX, note, count) for note, count in sorted(bills.items())]
    return [Line(BOX, None, None, report.cents)] if report.cents > 0 else []


def _line(place: str, denomination: int, notes: int) -> Line:
    return Line(place, denomination, notes, denomination * notes * 100)


def time_of(
    report: Report, first_said_at: datetime, transaction_time: datetime, now: datetime
) -> datetime:
    """When the notes moved: never before the transaction, never later than our clock.

    Without a time of its own, a report moved its notes when the first word of the
    dispense was said.
    """
    moved = report.moved_at or first_said_at
    return min(max(moved, transaction_time), max(now, transaction_time))


def total_cents(lines: Sequence[Line]) -> int:
    return sum(line.cents for line in lines)
