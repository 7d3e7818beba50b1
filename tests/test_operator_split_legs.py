"""The operator's share over their split targets: largest remainder, to the sat.

Pure: no LNbits is booted.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from satmachineadmin.calculations import allocate_operator_split_legs, largest_remainder
from satmachineadmin.models import CommissionSplit

pytestmark = pytest.mark.pure

all_cases = settings(deadline=None, database=None, max_examples=examples(300))

SATS = st.integers(min_value=0, max_value=2_100_000_000_000_000)


@dataclass(frozen=True)
class Share:
    id: str
    fraction: Decimal
    sort_order: int = 0


def shares(*fractions: str) -> list[Share]:
    return [Share(f"s{i}", Decimal(f), i) for i, f in enumerate(fractions)]


def amounts(total: int, splits: list[Share]) -> list[int]:
    return [sats for _, sats in allocate_operator_split_legs(total, splits)]


@st.composite
def split_sets(draw: st.DrawFn) -> list[Share]:
    """One to twelve splits that add up to 1.0000, with repeated sort orders."""
    cuts = draw(st.lists(st.integers(0, 10_000), max_size=11))
    edges = [0, *sorted(cuts), 10_000]
    return [
        Share(f"id{i}", Decimal(high - low).scaleb(-4), draw(st.integers(0, 3)))
        for i, (low, high) in enumerate(pairwise(edges))
    ]


@pytest.mark.parametrize(
    ("total", "fractions", "expected"),
    [
        (5_000, ["1.0000"], [5_000]),
        (5_000, ["0.6000", "0.4000"], [3_000, 2_000]),
        (100, ["0.3333", "0.3333", "0.3334"], [33, 33, 34]),
        (1, ["0.5000", "0.5000"], [1, 0]),
        (2, ["0.3333", "0.3333", "0.3334"], [1, 0, 1]),
        (0, ["0.5000", "0.5000"], [0, 0]),
        (7, ["0.0000", "1.0000"], [0, 7]),
        (3, ["0.2500", "0.2500", "0.2500", "0.2500"], [1, 1, 1, 0]),
    ],
)
def test_parts(total: int, fractions: list[str], expected: list[int]) -> None:
    assert amounts(total, shares(*fractions)) == expected


def test_no_splits_make_no_legs() -> None:
    assert allocate_operator_split_legs(5_000, []) == []


def test_ties_go_by_sort_order_then_id() -> None:
    half = Decimal("0.5000")
    late, early = Share("a", half, 2), Share("z", half, 1)
    assert allocate_operator_split_legs(1, [late, early]) == [(early, 1), (late, 0)]
    b, a = Share("b", half, 1), Share("a", half, 1)
    assert allocate_operator_split_legs(1, [b, a]) == [(a, 1), (b, 0)]


def test_rows_of_the_database_are_taken_as_they_are() -> None:
    rows = [
        CommissionSplit(id=i, operator_user_id="o", target="t", fraction=fraction)
        for i, fraction in (("a", "0.2500"), ("b", "0.7500"))
    ]
    assert [
        (split.id, sats) for split, sats in allocate_operator_split_legs(5_001, rows)
    ] == [("a", 1_250), ("b", 3_751)]


@all_cases
@given(SATS, split_sets(), st.randoms(use_true_random=False))
def test_known_failure_11_no_dust_is_lost(
    total: int, splits: list[Share], random: Any
) -> None:
    parts = allocate_operator_split_legs(total, splits)
    assert sum(sats for _, sats in parts) == total
    assert sorted(split.id for split, _ in parts) == sorted(s.id for s in splits)
    for split, sats in parts:
        assert type(sats) is int
        assert sats >= 0
        assert abs(sats - total * Fraction(split.fraction)) < 1
        assert sats == 0 or split.fraction > 0
    shuffled = splits.copy()
    random.shuffle(shuffled)
    assert allocate_operator_split_legs(total, shuffled) == parts


WEIGHTS = st.one_of(
    st.integers(0, 10**15),
    st.integers(0, 10**12).map(lambda n: Decimal(n).scaleb(-4)),
)


@all_cases
@given(SATS, st.lists(WEIGHTS, max_size=30))
def test_largest_remainder_adds_up_and_stays_within_one(
    total: int, weights: list[int | Decimal]
) -> None:
    parts = largest_remainder(total, weights)
    weight_sum = sum(Fraction(weight) for weight in weights)
    if weight_sum == 0:
        assert parts == [0] * len(weights)
        return
    assert sum(parts) == total
    quotas = [total * Fraction(weight) / weight_sum for weight in weights]
    for part, quota in zip(parts, quotas, strict=True):
        assert type(part) is int
        assert 0 <= part
        assert abs(part - quota) < 1
    # Hamilton: whoever was rounded up has no smaller remainder than who was not, and
    # of two equal ones it is the earlier.
    remainders = [quota - quota.__floor__() for quota in quotas]
    up = [(-r, i) for i, r in enumerate(remainders) if parts[i] > quotas[i]]
    down = [(-r, i) for i, r in enumerate(remainders) if 0 < r and parts[i] < quotas[i]]
    assert not up or not down or max(up) < min(down)


def test_no_weight_gets_nothing() -> None:
    assert largest_remainder(5, [0, Decimal("0.0000")]) == [0, 0]
    assert largest_remainder(5, []) == []


@pytest.mark.parametrize("bad", [1.0, True, "1", None])
def test_a_total_or_weight_of_another_type_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError):
        largest_remainder(bad, [1])
    with pytest.raises(TypeError):
        largest_remainder(1, [bad])
    with pytest.raises(TypeError):
        allocate_operator_split_legs(bad, shares("1.0000"))
    with pytest.raises(TypeError, match="fraction of split s must be a Decimal"):
        allocate_operator_split_legs(1, [Share("s", bad)])


def test_negative_and_endless_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="total is -1"):
        largest_remainder(-1, [1])
    with pytest.raises(ValueError, match="A weight is -1"):
        largest_remainder(1, [2, -1])
    with pytest.raises(ValueError, match="finite"):
        largest_remainder(1, [Decimal("NaN")])
