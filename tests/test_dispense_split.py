"""A partial dispense: the figures for what came out, and what the customer is owed.

Pure: no LNbits is booted.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from satmachineadmin.calculations import DispenseSplit, dispense_split

pytestmark = pytest.mark.pure

all_cases = settings(deadline=None, database=None, max_examples=examples(400))

LANDED: dict[str, Any] = {
    "principal_sats": 100_000,
    "fee_sats": 8_000,
    "platform_fee_sats": 3_000,
    "operator_fee_sats": 5_000,
    "wire_sats": 108_000,
    "fiat_cents": 75_000,
    "dispensed_cents": 75_000,
}


@st.composite
def landed_rows(draw: st.DrawFn) -> dict[str, Any]:
    most = draw(st.sampled_from([10, 10_000, 2_100_000_000_000_000]))
    principal = draw(st.integers(1, most))
    fee = draw(st.integers(0, most))
    platform = draw(st.integers(0, fee))
    cents = draw(st.integers(1, 10**12))
    return {
        "principal_sats": principal,
        "fee_sats": fee,
        "platform_fee_sats": platform,
        "operator_fee_sats": draw(st.integers(0, fee - platform)),
        "wire_sats": principal + fee,
        "fiat_cents": cents,
        "dispensed_cents": draw(st.integers(0, cents)),
    }


def test_a_full_dispense_changes_nothing() -> None:
    assert dispense_split(**LANDED) == DispenseSplit(100_000, 8_000, 3_000, 5_000, 0)


def test_known_failure_26_a_partial_dispense_is_not_paid_in_full() -> None:
    # A third of 750.00 came out: two thirds of the wire go back to the customer.
    assert dispense_split(**LANDED | {"dispensed_cents": 25_000}) == DispenseSplit(
        principal_sats=33_333,
        fee_sats=2_667,
        platform_fee_sats=1_000,
        operator_fee_sats=1_667,
        refund_sats=72_000,
    )


def test_nothing_dispensed_is_owed_back_whole() -> None:
    assert dispense_split(**LANDED | {"dispensed_cents": 0}) == DispenseSplit(
        0, 0, 0, 0, 108_000
    )


def test_known_failure_46_a_fee_of_0() -> None:
    landed = LANDED | {
        "fee_sats": 0,
        "platform_fee_sats": 0,
        "operator_fee_sats": 0,
        "wire_sats": 100_000,
        "dispensed_cents": 37_500,
    }
    assert dispense_split(**landed) == DispenseSplit(50_000, 0, 0, 0, 50_000)


def test_known_failure_46_more_dispensed_than_ordered() -> None:
    with pytest.raises(ValueError, match=r"750\.01 dispensed is more than the 750\.00"):
        dispense_split(**LANDED | {"dispensed_cents": 75_001})


def test_known_failure_46_a_fee_surplus_is_not_handed_to_the_shares() -> None:
    landed = LANDED | {
        "fee_sats": 10_000,
        "wire_sats": 110_000,
        "dispensed_cents": 37_500,
    }
    # Half came out: the surplus of 2 000 becomes 1 000, and stays in the wallet.
    assert dispense_split(**landed) == DispenseSplit(
        principal_sats=50_000,
        fee_sats=5_000,
        platform_fee_sats=1_500,
        operator_fee_sats=2_500,
        refund_sats=55_000,
    )


def test_two_shares_that_both_round_up_stay_within_the_fee() -> None:
    landed = {
        "principal_sats": 10,
        "fee_sats": 2,
        "platform_fee_sats": 1,
        "operator_fee_sats": 1,
        "wire_sats": 12,
        "fiat_cents": 2,
        "dispensed_cents": 1,
    }
    assert dispense_split(**landed) == DispenseSplit(5, 1, 1, 0, 6)


@all_cases
@given(landed_rows())
def test_conservation(landed: dict[str, Any]) -> None:
    split = dispense_split(**landed)
    assert all(type(value) is int and value >= 0 for value in vars(split).values())
    assert (
        split.principal_sats + split.fee_sats + split.refund_sats == landed["wire_sats"]
    )
    assert split.platform_fee_sats + split.operator_fee_sats <= split.fee_sats
    r = Fraction(landed["dispensed_cents"], landed["fiat_cents"])
    half = Fraction(1, 2)
    assert -half < split.principal_sats - landed["principal_sats"] * r <= half
    assert -half < split.fee_sats - landed["fee_sats"] * r <= half
    if landed["fee_sats"]:
        off = split.platform_fee_sats - Fraction(
            split.fee_sats * landed["platform_fee_sats"], landed["fee_sats"]
        )
        assert -half < off <= half
    if r == 1:
        assert split == DispenseSplit(
            landed["principal_sats"],
            landed["fee_sats"],
            landed["platform_fee_sats"],
            landed["operator_fee_sats"],
            0,
        )


@all_cases
@given(landed_rows(), st.integers(0, 10**12))
def test_more_cash_never_means_fewer_sats(landed: dict[str, Any], other: int) -> None:
    other %= landed["fiat_cents"] + 1
    low, high = sorted([landed["dispensed_cents"], other])
    less = dispense_split(**landed | {"dispensed_cents": low})
    more = dispense_split(**landed | {"dispensed_cents": high})
    assert less.principal_sats <= more.principal_sats
    assert less.fee_sats <= more.fee_sats
    assert less.refund_sats >= more.refund_sats


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"fiat_cents": 0, "dispensed_cents": 0}, "has no fiat amount"),
        ({"dispensed_cents": -1}, "dispensed_cents is -1"),
        ({"platform_fee_sats": 3_001}, "more than the fee of 8000 sat"),
        ({"wire_sats": 92_000}, "only a cash-out dispenses"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        dispense_split(**LANDED | change)


@pytest.mark.parametrize("bad", [1.0, True, "1", None])
@pytest.mark.parametrize("name", list(LANDED))
def test_money_that_is_not_an_int_is_a_type_error(name: str, bad: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be an int"):
        dispense_split(**LANDED | {name: bad})
