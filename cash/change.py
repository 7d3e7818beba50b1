"""Which notes make up an amount? Change-making from what is in the bays, exactly.

Guaranteed: pure; where any choice of the notes that are there adds up to the amount,
one is found, and it has the fewest notes; of two with as few, the one with more of the
larger notes. None means that no choice adds up.

Why it is fast: of D or more notes, some add up to a multiple of D (pigeonhole on the
sums of their beginnings). So a choice of fewest notes never leaves the largest note D
in the bay and uses D / gcd or more smaller ones: only that many counts of each note are
looked at, whatever the amount.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd

Notes = dict[int, int]  # denomination in whole units -> number of notes

# No machine gives out more for one sale; of more, choices are not counted.
MOST_LOOKED_AT = 200


def value_of(notes: Mapping[int, int]) -> int:
    """What notes are worth, in whole units."""
    return sum(denomination * count for denomination, count in notes.items())


def fewest_notes(amount: int, available: Mapping[int, int]) -> Notes | None:
    """The fewest notes of `available` that add up to `amount` whole units.

    Counts below 0 are none; so are denominations of 0. None if nothing adds up.
    """
    if amount < 0:
        return None
    held = {d: n for d, n in available.items() if d > 0 and n > 0}
    largest_first = sorted(held, reverse=True)
    # what is left to make up -> the counts chosen so far, and how many notes they are
    chosen: dict[int, tuple[int, tuple[int, ...]]] = {amount: (0, ())}
    for index, denomination in enumerate(largest_first):
        smaller = largest_first[index + 1 :]
        most_left = sum(d * held[d] for d in smaller)
        step = gcd(denomination, *smaller)
        chosen = _with_note(
            chosen, denomination, held[denomination], most_left, denomination // step
        )
    if 0 not in chosen:
        return None
    counts = chosen[0][1]
    return {d: n for d, n in zip(largest_first, counts, strict=True) if n}


def _with_note(
    chosen: Mapping[int, tuple[int, tuple[int, ...]]],
    denomination: int,
    held: int,
    most_left: int,
    looked_at: int,
) -> dict[int, tuple[int, tuple[int, ...]]]:
    found: dict[int, tuple[int, tuple[int, ...]]] = {}
    for left, (number, counts) in chosen.items():
        most = min(held, left // denomination)
        # what smaller notes cannot make up is made up by this one
        least = max(0, most - looked_at, -((most_left - left) // denomination))
        for count in range(most, least - 1, -1):
            rest = left - count * denomination
            candidate = (number + count, (*counts, count))
            present = found.get(rest)
            if present is None or _is_better(candidate, present):
                found[rest] = candidate
    return found


def _is_better(
    candidate: tuple[int, tuple[int, ...]], present: tuple[int, tuple[int, ...]]
) -> bool:
    if candidate[0] != present[0]:
        return candidate[0] < present[0]
    return candidate[1] > present[1]


def only_choice(amount: int, notes: Mapping[int, int]) -> Notes | None:
    """The one choice of these notes that adds up to `amount` whole units; None where
    none does, or more than one, or where it would be long to look."""
    if amount == value_of(notes):
        return {d: n for d, n in notes.items() if n}
    if sum(notes.values()) > MOST_LOOKED_AT:
        return None
    ways: dict[int, tuple[int, tuple[int, ...]]] = {0: (1, ())}
    kinds = [d for d, n in notes.items() if d > 0 and n > 0]
    for note in kinds:
        found: dict[int, tuple[int, tuple[int, ...]]] = {}
        for made, (number, counts) in ways.items():
            for count in range(min(notes[note], (amount - made) // note) + 1):
                key = made + count * note
                known = found.get(key)
                many = min(2, number + (known[0] if known else 0))
                found[key] = (many, (*counts, count))
        ways = found
    number, counts = ways.get(amount, (0, ()))
    if number != 1:
        return None
    return {d: n for d, n in zip(kinds, counts, strict=True) if n}
