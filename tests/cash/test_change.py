"""Change-making against brute force: every choice of notes, for up to six bays.

Exact in both directions: what can be made up is, with the fewest notes; what cannot is
None. And fast for amounts that no machine pays out.
"""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satmachineadmin.cash.change import fewest_notes, only_choice, value_of

pytestmark = pytest.mark.pure

BAYS = st.dictionaries(
    st.sampled_from([1, 2, 3, 5, 7, 10, 20, 25, 50, 100, 200]),
    st.integers(min_value=-1, max_value=4),
    max_size=6,
)


def brute_force(amount: int, available: dict[int, int]) -> int | None:
    """The fewest notes that add up, by looking at every choice."""
    ranges = [range(max(0, count) + 1) for count in available.values()]
    numbers = [
        sum(counts)
        for counts in itertools.product(*ranges)
        if sum(d * n for d, n in zip(available, counts, strict=True)) == amount
    ]
    return min(numbers, default=None)


@settings(max_examples=400, deadline=None)
@given(BAYS, st.integers(min_value=0, max_value=500))
def test_the_fewest_notes_are_found_where_any_add_up(
    available: dict[int, int], amount: int
) -> None:
    found = fewest_notes(amount, available)
    fewest = brute_force(amount, available)
    if fewest is None:
        assert found is None
        return
    assert found is not None
    assert value_of(found) == amount
    assert sum(found.values()) == fewest
    assert all(0 < count <= available[d] for d, count in found.items())


@settings(max_examples=100, deadline=None)
@given(BAYS, st.lists(st.integers(min_value=0, max_value=4), min_size=6, max_size=6))
def test_what_the_bays_hold_is_never_refused(
    available: dict[int, int], taken: list[int]
) -> None:
    pick = {
        d: min(max(0, n), k)
        for (d, n), k in zip(available.items(), taken, strict=False)
    }
    found = fewest_notes(value_of(pick), available)
    assert found is not None
    assert sum(found.values()) <= sum(pick.values())


@pytest.mark.parametrize(
    ("amount", "available", "expected"),
    [
        (60, {50: 1, 20: 3}, {20: 3}),  # the largest first would fail
        (40, {20: 1}, None),
        (0, {20: 1}, {}),
        (-20, {20: 1}, None),
        (80, {50: 1, 20: 10, 10: 1}, {50: 1, 20: 1, 10: 1}),
        (40, {0: 5, 20: 2}, {20: 2}),
    ],
)
def test_examples(
    amount: int, available: dict[int, int], expected: dict[int, int] | None
) -> None:
    assert fewest_notes(amount, available) == expected


def test_a_large_amount_from_full_bays_takes_no_time() -> None:
    available = {500: 2000, 200: 2000, 100: 2000, 50: 2000, 20: 2000, 5: 2000}
    began = time.perf_counter()
    found = fewest_notes(1_234_565, available)
    assert time.perf_counter() - began < 2
    assert found and value_of(found) == 1_234_565


@given(
    st.dictionaries(st.sampled_from([1, 5, 10, 20, 50, 100]), st.integers(0, 4)),
    st.integers(0, 400),
)
def test_the_only_choice_is_found_where_there_is_one(
    notes: dict[int, int], amount: int
) -> None:
    kinds = list(notes)
    choices = [
        {d: n for d, n in zip(kinds, counts, strict=True) if n}
        for counts in itertools.product(*(range(notes[d] + 1) for d in kinds))
    ]
    found = [c for c in choices if sum(d * n for d, n in c.items()) == amount]
    assert only_choice(amount, notes) == (found[0] if len(found) == 1 else None)
