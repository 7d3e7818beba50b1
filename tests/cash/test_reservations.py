"""What may still be sold, against brute force: while invoices are made and expire.

Random bays (up to six), customers who all walk away, a clock that goes on: a sale
is refused exactly when no choice of the notes that are not set aside makes it up, and
gets the fewest notes that do. A machine of which one bay was never counted is never
refused; of the ledger and the machine's own count the larger one counts.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from cash_rows import a_machine, add_bays, count
from examples import examples

from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.cash import reservations, reservations_crud
from satmachineadmin.models import Machine, utc_now

S = "satoshimachine"
NOTES = [5, 10, 20, 50, 100, 200]
OPEN_FOR = timedelta(minutes=10)


def fewest(amount: int, left: dict[int, int]) -> int | None:
    """By looking at every choice."""
    ranges = [range(max(0, most) + 1) for most in left.values()]
    found = [
        sum(counts)
        for counts in itertools.product(*ranges)
        if sum(d * n for d, n in zip(left, counts, strict=True)) == amount
    ]
    return min(found, default=None)


class Afternoon:
    """One machine, its customers, and a clock that the test moves."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chance = random.Random(seed)
        self.machine = a_machine()
        self.now = utc_now()
        bays = self.chance.sample(NOTES, self.chance.randint(1, 6))
        self.bays = {note: self.chance.randint(0, 3) for note in bays}
        self.promised: list[tuple[datetime, dict[int, int]]] = []
        self.number = 0
        monkeypatch.setattr(reservations_crud, "utc_now", lambda: self.now)

    async def opened(self, *, is_counted: bool = True) -> None:
        """Every bay counted, or all but the first."""
        async with transaction() as conn:
            await add_bays(conn, self.machine, *self.bays)
            for position, (note, notes) in enumerate(self.bays.items(), 1):
                if is_counted or position > 1:
                    at = self.now - timedelta(hours=1)
                    await count(
                        conn, self.machine, f"bay:{position}", {note: notes}, at
                    )

    @property
    def left(self) -> dict[int, int]:
        gone: Counter[int] = Counter()
        for until, notes in self.promised:
            if until > self.now:
                gone.update(notes)
        return {note: held - gone[note] for note, held in self.bays.items()}

    async def customer(self, amount: int) -> dict[int, int] | None:
        self.number += 1
        async with transaction() as conn:
            notes = await reservations.reserve(
                conn, self.machine, f"t{self.number}", amount * 100, None
            )
        if notes:
            self.promised.append((self.now + OPEN_FOR, notes))
        return notes


async def test_sold_exactly_when_it_can_be_paid_out(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0
    for seed in range(examples(60)):
        day = Afternoon(seed, monkeypatch)
        await day.opened()
        for _ in range(8):
            day.now += timedelta(minutes=day.chance.choice((0, 1, 4, 9)))
            left, amount = day.left, 5 * day.chance.randint(1, 60)
            notes = await day.customer(amount)
            wanted = fewest(amount, left)
            told = (seed, amount, left, notes)
            assert (notes is None) == (wanted is None), told
            refused += notes is None
            if notes is not None:
                assert sum(notes.values()) == wanted, told
                assert sum(d * n for d, n in notes.items()) == amount, told
                assert all(n <= left[d] for d, n in notes.items()), told
        day.now += OPEN_FOR
        async with transaction() as conn:
            there = await reservations.available(conn, day.machine)
        assert there and there.notes == {d: n for d, n in sorted(day.bays.items()) if n}
    assert refused


async def test_a_machine_with_one_bay_that_was_not_counted_is_never_refused(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(10):
        day = Afternoon(seed, monkeypatch)
        await day.opened(is_counted=False)
        for _ in range(4):
            assert await day.customer(day.chance.randint(1, 2_000)) is not None


async def said(machine: Machine, notes: int, at: datetime) -> None:
    """The machine's own count of its first bay."""
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.cassette_configs SET state_count = :n, state_at = :at, "
            "state_denomination = denomination WHERE machine_id = :m AND position = 1",
            {"n": notes, "at": db_time(at), "m": machine.id},
        )


async def test_the_larger_of_the_ledger_and_the_machines_own_count(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Afternoon(1, monkeypatch)
    day.bays = {20: 3}
    await day.opened()
    await said(day.machine, 5, day.now)
    assert await day.customer(100) == {20: 5}
    day.now += OPEN_FOR
    await said(day.machine, 1, day.now)
    assert await day.customer(80) is None
    assert await day.customer(60) == {20: 3}
