"""The fee split: shares of principal, locked within the fee that was charged.

Pure: no LNbits is booted. Properties are checked with hypothesis against the rational
number that the formula means, equality asserted with values.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from satmachineadmin.calculations import (
    fee_mismatch_sats,
    fee_shortfall_sats,
    held_fee_shares,
    lock_fee_shares,
    round_half_up,
    split_principal_based,
)

pytestmark = pytest.mark.pure

all_cases = settings(deadline=None, database=None, max_examples=examples(300))

SATS = st.integers(min_value=0, max_value=2_100_000_000_000_000)
FRACTIONS = st.integers(min_value=0, max_value=10_000).map(
    lambda n: Decimal(n).scaleb(-4)
)
NOT_INTS: list[Any] = [1.0, True, "1", Decimal(1), None]


def test_the_example_of_the_specification() -> None:
    shares = split_principal_based(100_000, Decimal("0.0300"), Decimal("0.0500"))
    assert shares == (3_000, 5_000)
    assert fee_mismatch_sats(8_000, *shares) == 0
    assert lock_fee_shares(8_000, *shares) == (3_000, 5_000)


def test_known_failure_25_percent_of_principal_not_of_the_fee() -> None:
    platform, _ = split_principal_based(100_000, Decimal("0.0300"), Decimal("0.0500"))
    assert platform == 3_000
    assert platform != 240


@pytest.mark.parametrize(
    ("principal_sats", "fraction", "expected_sats"),
    [
        (1, "0.0300", 0),
        (49, "0.0100", 0),
        (50, "0.0100", 1),
        (150, "0.0100", 2),
        (250, "0.0100", 3),
        (5_000, "0.0001", 1),
        (4_999, "0.0001", 0),
        (100_000, "0.0000", 0),
        (100_000, "1.0000", 100_000),
        (2_100_000_000_000_000, "0.0333", 69_930_000_000_000),
    ],
)
def test_half_a_sat_is_rounded_up(
    principal_sats: int, fraction: str, expected_sats: int
) -> None:
    shares = split_principal_based(principal_sats, Decimal(fraction), Decimal(fraction))
    assert shares == (expected_sats, expected_sats)


@all_cases
@given(SATS, FRACTIONS, FRACTIONS)
def test_each_share_is_the_nearest_sat(
    principal_sats: int, super_fraction: Decimal, operator_fraction: Decimal
) -> None:
    shares = split_principal_based(principal_sats, super_fraction, operator_fraction)
    for share, fraction in zip(
        shares, (super_fraction, operator_fraction), strict=True
    ):
        assert type(share) is int
        assert 0 <= share <= principal_sats
        off = share - principal_sats * Fraction(fraction)
        assert Fraction(-1, 2) < off <= Fraction(1, 2)


@given(SATS, FRACTIONS)
@all_cases
def test_the_decimal_context_changes_nothing(sats: int, fraction: Decimal) -> None:
    expected = split_principal_based(sats, fraction, fraction)
    with localcontext() as context:
        context.prec = 3
        assert split_principal_based(sats, fraction, fraction) == expected


@all_cases
@given(SATS, SATS, SATS)
def test_the_operators_share_is_what_the_fee_leaves_of_it(
    fee_sats: int, platform_sats: int, operator_sats: int
) -> None:
    platform, operator = lock_fee_shares(fee_sats, platform_sats, operator_sats)
    assert platform == platform_sats
    assert 0 <= operator <= operator_sats
    covered = platform - fee_shortfall_sats(fee_sats, platform)
    assert covered + operator == min(fee_sats, platform_sats + operator_sats)
    assert operator == 0 or covered == platform, "the platform comes first"


@pytest.mark.parametrize(
    ("fee_sats", "mismatch_sats", "locked"),
    [
        (8_000, 0, (3_000, 5_000)),
        (9_000, 1_000, (3_000, 5_000)),
        (7_000, -1_000, (3_000, 4_000)),
        (2_000, -6_000, (3_000, 0)),
        (0, -8_000, (3_000, 0)),
    ],
)
def test_a_fee_that_does_not_match_the_fractions(
    fee_sats: int, mismatch_sats: int, locked: tuple[int, int]
) -> None:
    assert fee_mismatch_sats(fee_sats, 3_000, 5_000) == mismatch_sats
    assert lock_fee_shares(fee_sats, 3_000, 5_000) == locked


@pytest.mark.parametrize(
    ("network_fee_sats", "expected"),
    [
        (0, (3_000, 5_000)),
        (1_000, (3_000, 5_000)),
        (1_001, (3_000, 4_999)),
        (6_000, (3_000, 0)),
        (6_001, (2_999, 0)),
        (9_000, (0, 0)),
        (50_000, (0, 0)),
    ],
)
def test_known_failure_42_surplus_then_operator_then_platform_bear_a_network_fee(
    network_fee_sats: int, expected: tuple[int, int]
) -> None:
    assert held_fee_shares(9_000, 3_000, 5_000, network_fee_sats) == expected


@all_cases
@given(SATS, SATS, SATS, SATS)
def test_a_network_fee_takes_no_more_than_it_is(
    surplus_sats: int, platform_sats: int, operator_sats: int, network_fee_sats: int
) -> None:
    fee_sats = surplus_sats + platform_sats + operator_sats
    platform, operator = held_fee_shares(
        fee_sats, platform_sats, operator_sats, network_fee_sats
    )
    assert 0 <= platform <= platform_sats
    assert 0 <= operator <= operator_sats
    borne = platform_sats + operator_sats - platform - operator
    assert borne == min(
        max(network_fee_sats - surplus_sats, 0), platform_sats + operator_sats
    )
    assert platform == platform_sats or operator == 0


def test_an_operators_share_above_the_fee_is_refused() -> None:
    with pytest.raises(ValueError, match="more than the fee of 7999 sat"):
        held_fee_shares(7_999, 3_000, 5_000, 1)


@pytest.mark.parametrize(
    ("fee_sats", "short_sats"), [(8_000, 0), (3_000, 0), (2_999, 1), (0, 3_000)]
)
def test_what_a_fee_does_not_cover_of_the_platforms_share_is_owed(
    fee_sats: int, short_sats: int
) -> None:
    """The platform is a creditor: its share is of principal, whatever was charged."""
    platform, operator = lock_fee_shares(fee_sats, 3_000, 5_000)
    assert platform == 3_000
    assert fee_shortfall_sats(fee_sats, platform) == short_sats
    held, _ = held_fee_shares(fee_sats, platform, operator, 0)
    assert held + short_sats == 3_000


@pytest.mark.parametrize("bad", NOT_INTS)
def test_money_that_is_not_an_int_is_a_type_error(bad: Any) -> None:
    tenth = Decimal("0.1")
    for call in (
        lambda: split_principal_based(bad, tenth, tenth),
        lambda: lock_fee_shares(bad, 1, 1),
        lambda: lock_fee_shares(1, bad, 1),
        lambda: lock_fee_shares(1, 1, bad),
        lambda: fee_mismatch_sats(bad, 1, 1),
        lambda: fee_mismatch_sats(1, bad, 1),
        lambda: fee_mismatch_sats(1, 1, bad),
        lambda: held_fee_shares(bad, 0, 0, 1),
        lambda: held_fee_shares(3, bad, 0, 1),
        lambda: held_fee_shares(3, 0, bad, 1),
        lambda: held_fee_shares(3, 0, 0, bad),
        lambda: round_half_up(bad, 1),
        lambda: round_half_up(1, bad),
    ):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("bad", [0.03, True, 1, "0.03", None, Fraction(3, 100)])
def test_a_fraction_that_is_not_a_decimal_is_a_type_error(bad: Any) -> None:
    with pytest.raises(TypeError, match="super_fraction must be a Decimal"):
        split_principal_based(100, bad, Decimal(0))
    with pytest.raises(TypeError, match="operator_fraction must be a Decimal"):
        split_principal_based(100, Decimal(0), bad)


@pytest.mark.parametrize("bad", ["-0.0001", "1.0001", "3", "NaN", "Infinity"])
def test_a_fraction_outside_0_to_1_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 1"):
        split_principal_based(100, Decimal(bad), Decimal(0))


def test_negative_sats_are_refused() -> None:
    with pytest.raises(ValueError, match="principal_sats is -1"):
        split_principal_based(-1, Decimal(0), Decimal(0))
    with pytest.raises(ValueError, match="fee_sats is -1"):
        lock_fee_shares(-1, 0, 0)
    with pytest.raises(ValueError, match="network_fee_sats is -1"):
        held_fee_shares(3, 0, 0, -1)
    with pytest.raises(ValueError, match="denominator is 0"):
        round_half_up(1, 0)
