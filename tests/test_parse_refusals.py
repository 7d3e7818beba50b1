"""What a stamp is refused for: one clear sentence for each thing that makes no sense.

Pure: no LNbits is booted.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from stamps import MACHINE, RATELESS, SUPER, paid, parse, sentence

from satmachineadmin.bitspire import (
    SettlementInvariantError,
    median_rate,
    parse_settlement,
)

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("bad", ["", "CASH_OUT", "cash out", 1, True, [], {}])
def test_tx_type_is_one_of_two(bad: Any) -> None:
    assert 'it must be "cash_out" or "cash_in"' in sentence({"tx_type": bad})


@pytest.mark.parametrize("name", ["principal_sats", "fee_sats"])
@pytest.mark.parametrize(
    "bad", [True, False, 100_000.0, 100_000.5, "100000", float("nan"), [], {}]
)
def test_sats_are_integers(name: str, bad: Any) -> None:
    said = sentence({name: bad})
    assert said.startswith(f"{name} is ")
    assert "it must be a whole number of sats" in said


@pytest.mark.parametrize(
    ("name", "bad", "expected"),
    [
        ("principal_sats", 0, "principal_sats is 0: it must be at least 1 sat."),
        ("principal_sats", -5, "principal_sats is -5: it must be at least 1 sat."),
        ("fee_sats", -1, "fee_sats is -1: it must be at least 0 sat."),
        pytest.param(
            "principal_sats",
            10**5000,
            "principal_sats is a number of more than 60 digits: that is more than all "
            "the bitcoin there are.",
            id="endless",
        ),
    ],
)
def test_sats_are_within_what_there_is(name: str, bad: int, expected: str) -> None:
    assert sentence({name: bad}) == expected


@pytest.mark.parametrize(
    ("good", "expected_cents"),
    [("750.00", 75_000), ("750", 75_000), (750, 75_000), (750.5, 75_050)],
)
def test_fiat_is_text_or_number(good: Any, expected_cents: int) -> None:
    assert parse({"fiat_amount": good}).fiat_cents == expected_cents


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("0", "it must be more than 0"),
        ("-750.00", "it must be more than 0"),
        ("750.001", "two decimal places"),
        (0.1 + 0.2, "two decimal places"),
        ("30000000000000.01", "the most that can be kept is 30000000000000.00"),
        (1e300, "the most that can be kept is 30000000000000.00"),
        pytest.param(
            10**5000, "the most that can be kept is 30000000000000.00", id="endless"
        ),
        (float("nan"), "it must be a finite number"),
        (float("inf"), "it must be a finite number"),
        ("NaN", "it must be a number"),
        ("1e3", "it must be a number"),
        ("1_000", "it must be a number"),
        (" 750", "it must be a number"),
        ("\u0667\u0665\u0660", "it must be a number"),
        ("750,00", "it must be a number"),
        ("", "it must be a number"),
        (True, "it must be a number"),
        ([], "it must be a number"),
        ({}, "it must be a number"),
    ],
)
def test_fiat_is_positive_with_two_places_within_the_column(
    bad: Any, expected: str
) -> None:
    said = sentence({"fiat_amount": bad})
    assert said.startswith("fiat_amount is ")
    assert expected in said


@pytest.mark.parametrize("bad", ["USD", "gtq", "GTQ ", "", 320, ["GTQ"]])
def test_known_failure_12_the_currency_is_the_machines(bad: Any) -> None:
    assert "the machine's currency here is GTQ" in sentence({"fiat_code": bad})


def test_an_invoice_made_in_fiat_is_given_away_by_fiat_currency() -> None:
    for code in ("USD", None):
        said = sentence({"fiat_currency": code})
        assert "LNbits wrote its own figures over the machine's" in said


@pytest.mark.parametrize(
    ("amount_msat", "tx_type", "expected"),
    [
        (108_000_001, "cash_out", "it must be whole sats"),
        (-92_000_001, "cash_in", "it must be whole sats"),
        (0, "cash_out", "moved no sats"),
        (-108_000_000, "cash_out", "left the machine wallet"),
        (92_000_000, "cash_in", "came into the machine wallet"),
        (107_999_000, "cash_out", "principal 100000 plus fee 8000 is 108000 sat"),
        (92_000_000, "cash_out", "principal 100000 plus fee 8000 is 108000 sat"),
        (-108_000_000, "cash_in", "principal 100000 minus fee 8000 is 92000 sat"),
    ],
)
def test_the_payment_is_what_the_stamp_says(
    amount_msat: int, tx_type: str, expected: str
) -> None:
    assert expected in sentence({"tx_type": tx_type}, amount_msat)


@pytest.mark.parametrize(
    "good", [133.3333, "133.3333", 134.6666, "132.0001", 133, Decimal("133.33")]
)
def test_a_rate_within_1_percent(good: Any) -> None:
    assert parse({"exchange_rate": good}).exchange_rate == float(good)


@pytest.mark.parametrize("rate", [99, 101, "99.00", 101.0])
def test_1_percent_itself_is_within(rate: Any) -> None:
    parsed = parse({"fiat_amount": "1000.00", "exchange_rate": rate})
    assert parsed.exchange_rate == float(rate)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (134.6667, "they may differ by 1 %"),
        (131.9999, "they may differ by 1 %"),
        (0.0075, "they may differ by 1 %"),
        (0, "it must be more than 0"),
        (-133.3333, "it must be more than 0"),
        (1e300, "sats for one unit of fiat"),
        (5e-324, "sats for one unit of fiat"),
        (float("inf"), "it must be a finite number"),
        (float("nan"), "it must be a finite number"),
        (True, "it must be a number"),
        ("many", "it must be a number"),
        ([133], "it must be a number"),
    ],
)
def test_a_rate_that_makes_no_sense(bad: Any, expected: str) -> None:
    said = sentence({"exchange_rate": bad})
    assert said.startswith("exchange_rate is ")
    assert expected in said


def test_known_failure_44_cents_where_units_were_meant() -> None:
    usual = [Decimal("133.3333")] * 10
    assert parse(recent_rates=usual).fiat_cents == 75_000
    said = sentence({"fiat_amount": 75_000} | RATELESS, recent_rates=usual)
    assert "was it sent in cents instead of units?" in said
    assert "75000.00" in said


@pytest.mark.parametrize(
    ("usual", "is_refused"),
    [
        ("400.0000", False),
        ("400.0001", True),
        ("44.4445", False),
        ("44.4444", True),
    ],
)
def test_the_factor_of_3_in_both_directions(usual: str, is_refused: bool) -> None:
    # 100 000 sat for 750.00 are 133.3333... sat for one GTQ.
    rates = [Decimal(usual)]
    if is_refused:
        assert "more than 3 times off" in sentence(recent_rates=rates)
    else:
        parse(recent_rates=rates)


@pytest.mark.parametrize("usual", [30, 270])
def test_a_factor_of_3_itself_is_within(usual: int) -> None:
    changes = {"principal_sats": 90_000, "fee_sats": 18_000, "fiat_amount": "1000.00"}
    parse(changes | RATELESS, recent_rates=[Decimal(usual)])


def test_one_unit_of_some_currencies_is_less_than_a_sat() -> None:
    usual = [Decimal("0.0500")] * 10
    figures = {"principal_sats": 100_000, "fee_sats": 8_000}
    parse(figures | {"fiat_amount": "2000000.00"} | RATELESS, recent_rates=usual)
    said = sentence(
        figures | {"fiat_amount": "200000000.00"} | RATELESS, recent_rates=usual
    )
    assert "was it sent in cents instead of units?" in said


def test_the_median_is_the_middle_and_no_rates_or_zero_rates_mean_no_check() -> None:
    assert median_rate([Decimal(9), Decimal(1), Decimal(2)]) == 2
    assert median_rate([Decimal(9), Decimal(1), Decimal(2), Decimal(3)]) == Fraction(
        5, 2
    )
    parse(recent_rates=[])
    parse(recent_rates=[Decimal(0)])
    # One settlement gone wrong among ten does not move the check.
    parse(recent_rates=[Decimal(133)] * 9 + [Decimal(10**9)])


@pytest.mark.parametrize("bad", ["CONFIRMED", "", True, 1, ["awaiting"], {}])
def test_a_dispense_state_that_is_not_known(bad: Any) -> None:
    assert 'it must be "confirmed", "awaiting" or absent' in sentence({"dispense": bad})


@pytest.mark.parametrize("bad", [None, [], "text", 7])
def test_a_stamp_that_is_no_object(bad: Any) -> None:
    with pytest.raises(SettlementInvariantError, match="it must be an object"):
        parse_settlement(paid(bad), MACHINE, SUPER)
