"""Fiat and fractions as people write them, turned into what may be computed with.

Pure: no LNbits is booted; one test asks SQLite itself how far its numbers are exact.
"""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import Any

import pytest
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from satmachineadmin.calculations import (
    MAX_FIAT_CENTS,
    cents_text,
    fiat_cents,
    fraction4,
)

pytestmark = pytest.mark.pure

all_cases = settings(deadline=None, database=None, max_examples=examples(300))

CENTS = st.integers(-MAX_FIAT_CENTS, MAX_FIAT_CENTS)


@pytest.mark.parametrize(
    ("value", "cents"),
    [
        ("750.00", 75_000),
        ("750", 75_000),
        ("750.5", 75_050),
        ("750.500", 75_050),
        ("-0.05", -5),
        ("+1.10", 110),
        ("0", 0),
        ("0.00", 0),
        ("-0.000", 0),
        (750, 75_000),
        (0, 0),
        (0.29, 29),
        (1.1, 110),
        (4.35, 435),
        (1e3, 100_000),
        (Decimal("0.01"), 1),
        (Decimal("7.5E+2"), 75_000),
        ("30000000000000.00", MAX_FIAT_CENTS),
    ],
)
def test_fiat(value: Any, cents: int) -> None:
    assert fiat_cents(value) == cents
    assert type(fiat_cents(value)) is int


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.001", 'The amount is "0.001": it may have two decimal places, no more.'),
        (
            1.005,
            "The amount is 1.005: it may have two decimal places, no more.",
        ),
        (None, "The amount is missing: it must be a number."),
        (True, "The amount is true: it must be a number."),
        ([], "The amount is a list: it must be a number."),
        ({}, "The amount is an object: it must be a number."),
        pytest.param(
            10**5000,
            "The amount is a number of more than 60 digits: the most that can be kept "
            "is 30000000000000.00.",
            id="endless",
        ),
        ("ten", 'The amount is "ten": it must be a number, like 750.00.'),
        ("NaN", 'The amount is "NaN": it must be a number, like 750.00.'),
        (float("inf"), "The amount is inf: it must be a finite number."),
        (
            "30000000000000.01",
            'The amount is "30000000000000.01": the most that can be kept is '
            "30000000000000.00.",
        ),
        (
            -30000000000001,
            "The amount is -30000000000001: the most that can be kept is "
            "30000000000000.00.",
        ),
        (
            Decimal("1E+999999"),
            "The amount is 1E+999999: the most that can be kept is 30000000000000.00.",
        ),
        pytest.param(
            Decimal("1E+999999999"),  # never written out: it would fill the memory
            "The amount is 1E+999999999: the most that can be kept is "
            "30000000000000.00.",
            id="huge",
        ),
        (
            Decimal("1E-999999"),
            "The amount is 1E-999999: it may have two decimal places, no more.",
        ),
    ],
)
def test_fiat_that_is_refused(value: Any, expected: str) -> None:
    with pytest.raises(ValueError) as error:
        fiat_cents(value)
    assert str(error.value) == expected


def test_the_sentence_begins_with_what_it_is_about() -> None:
    with pytest.raises(ValueError, match=r"^The daily limit is true"):
        fiat_cents(True, "The daily limit")
    with pytest.raises(ValueError, match=r"^The platform's fee is 3:"):
        fraction4(3, "The platform's fee")


@all_cases
@given(CENTS)
def test_text_and_cents_are_each_others_inverse(cents: int) -> None:
    text = cents_text(cents)
    assert fiat_cents(text) == cents
    assert fiat_cents(Decimal(text)) == cents
    assert fiat_cents(float(text)) == cents
    assert Decimal(text) * 100 == cents
    assert text[-3] == "."


@pytest.mark.parametrize(
    ("cents", "text"),
    [(75_000, "750.00"), (5, "0.05"), (-5, "-0.05"), (0, "0.00"), (-123, "-1.23")],
)
def test_cents_text(cents: int, text: str) -> None:
    assert cents_text(cents) == text


@pytest.mark.parametrize("bad", [1.0, True, "1", None, Decimal(1)])
def test_cents_are_ints(bad: Any) -> None:
    with pytest.raises(TypeError, match="cents must be an int"):
        cents_text(bad)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.0300", "0.0300"),
        ("0.03", "0.0300"),
        (0.03, "0.0300"),
        (0.0001, "0.0001"),
        (0, "0.0000"),
        ("0", "0.0000"),
        ("0.00000", "0.0000"),
        (1, "1.0000"),
        ("1.0000", "1.0000"),
        (Decimal("0.5"), "0.5000"),
        (0.1, "0.1000"),
    ],
)
def test_fractions(value: Any, expected: str) -> None:
    fraction = fraction4(value)
    assert isinstance(fraction, Decimal)
    assert str(fraction) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, "The fraction is 3: it must be from 0 to 1, a share and not a percentage"),
        ("-0.01", 'The fraction is "-0.01": it must be from 0 to 1'),
        ("1.0001", 'The fraction is "1.0001": it must be from 0 to 1'),
        ("0.00001", 'The fraction is "0.00001": it may have four decimal places'),
        (0.033333, "The fraction is 0.033333: it may have four decimal places"),
        (1e-300, "The fraction is 1e-300: it may have four decimal places"),
        (Decimal("1E-999999"), "The fraction is 1E-999999: it may have four decimal"),
        (Decimal("1E+999999"), "The fraction is 1E+999999: it must be from 0 to 1"),
        (True, "The fraction is true: it must be a number."),
        (None, "The fraction is missing: it must be a number."),
        ("3%", 'The fraction is "3%": it must be a number'),
        (float("nan"), "The fraction is nan: it must be a finite number."),
    ],
)
def test_fractions_that_are_refused(value: Any, expected: str) -> None:
    with pytest.raises(ValueError) as error:
        fraction4(value)
    assert str(error.value).startswith(expected)


@all_cases
@given(st.lists(st.integers(0, MAX_FIAT_CENTS), min_size=1, max_size=20))
@example([MAX_FIAT_CENTS, MAX_FIAT_CENTS - 1, 2_999_999_999_999_999])
def test_sqlite_gives_every_cent_back(amounts_cents: list[int]) -> None:
    # The column and the sum that are kept; SQLite keeps a DECIMAL as a float.
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (amount DECIMAL(10,2) NOT NULL)")
        connection.executemany(
            "INSERT INTO t VALUES (?)",
            [(cents_text(cents),) for cents in amounts_cents],
        )
        read = [row[0] for row in connection.execute("SELECT amount FROM t")]
        (total,) = connection.execute(
            "SELECT SUM(CAST(ROUND(amount * 100) AS BIGINT)) FROM t"
        ).fetchone()
    assert [fiat_cents(amount) for amount in read] == amounts_cents
    assert total == sum(amounts_cents)
