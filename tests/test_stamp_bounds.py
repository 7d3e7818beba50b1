"""Where exactly a bound of what a machine may say lies: its last value and the next.

Pure: no LNbits is booted. The bounds stand here as numbers, not by their names, so
that changing one fails a test.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from stamps import MACHINE, STAMP, paid, parse, sentence
from test_parse_settlement import landed

from satmachineadmin.bitspire import minimal_fields, report_conflict, storable_json
from satmachineadmin.calculations import fiat_cents, fraction4, shown

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * 40, '"' + "x" * 40 + '"'),
        ("x" * 41, '"' + "x" * 40 + '…"'),
        (2**200 - 1, str(2**200 - 1)),
        (2**200, "a number of more than 60 digits"),
        (Decimal("1." + "2" * 50), "1." + "2" * 38),
        (False, "false"),
        ("a\nb\x00", '"a?b?"'),
    ],
)
def test_how_much_of_a_value_a_sentence_quotes(value: Any, expected: str) -> None:
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("txid", "expected"),
    [
        ("x" * 200, "x" * 200),
        ("x" * 201, None),
        ("7", "7"),
        ("", None),
        (2**200 - 1, str(2**200 - 1)),
        (2**200, None),
    ],
)
def test_the_longest_txid(txid: Any, expected: str | None) -> None:
    assert parse({"txid": txid}).bitspire_txid == expected


@pytest.mark.parametrize(
    ("sats", "kept"), [(2**63 - 1, 2**63 - 1), (2**63, 0), (-(2**63) + 1, 2**63 - 1)]
)
def test_the_largest_payment_that_a_row_can_hold(sats: int, kept: int) -> None:
    assert minimal_fields(paid(STAMP, sats * 1000), MACHINE).wire_sats == kept


@pytest.mark.parametrize("sats", [2**63 - 1, 2**63, 2**70])
def test_the_largest_network_fee_that_a_row_can_hold(sats: int) -> None:
    payment = paid(STAMP, fee_msat=sats * 1000)
    assert minimal_fields(payment, MACHINE).network_fee_sats == 2**63 - 1


def test_how_deep_and_how_long_a_stamp_may_be() -> None:
    def nested(depth: int) -> Any:
        return 1 if depth == 0 else [nested(depth - 1)]

    assert storable_json(nested(20)) == "[" * 20 + "1" + "]" * 20
    assert "(left out)" in storable_json(nested(21))

    def inside(depth: int) -> Any:
        return 1 if depth == 0 else {"a": inside(depth - 1)}

    assert storable_json(inside(20)) == '{"a": ' * 20 + "1" + "}" * 20
    assert "(left out)" in storable_json(inside(21))
    # the list itself is a value too
    assert storable_json([0] * 99_999).count("0") == 99_999
    assert storable_json([0] * 100_001).count("0") == 99_999
    # an entry is its value and the letters of its name
    names = {f"{n:09}": 0 for n in range(20_000)}
    assert len(json.loads(storable_json(names))) == 10_000
    assert storable_json("x" * 99_999) == '"' + "x" * 99_999 + '"'
    assert storable_json("x" * 100_001) == '"' + "x" * 99_999 + '"'


def test_yes_no_and_nothing_stay_what_they_are() -> None:
    kept = storable_json({"a": True, "b": False, "c": None, "d": 1})
    assert kept == '{"a": true, "b": false, "c": null, "d": 1}'


def test_nothing_is_owed_from_a_quarantined_row() -> None:
    kept = minimal_fields(paid(STAMP), MACHINE)
    assert (kept.platform_fee_sats, kept.operator_fee_sats) == (0, 0)
    assert kept.fee_mismatch_sats == 0


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 133.3333),
        ({"exchange_rate": None}, 100_000 / 750),
        ({"exchange_rate": "nonsense", "fiat_amount": "800"}, 125.0),
        ({"exchange_rate": None, "fiat_amount": None}, 0.0),
        ({"exchange_rate": None, "principal_sats": -1}, 0.0),
    ],
)
def test_the_rate_of_a_quarantined_row(changes: dict[str, Any], rate: float) -> None:
    assert minimal_fields(paid(STAMP | changes), MACHINE).exchange_rate == rate


@pytest.mark.parametrize(("fee", "kept"), [(0, 0), (1, 1), (-1, 0)])
def test_the_fee_of_a_quarantined_row(fee: int, kept: int) -> None:
    payment = paid(STAMP | {"fee_sats": fee, "principal_sats": 1})
    fields = minimal_fields(payment, MACHINE)
    assert (fields.fee_sats, fields.principal_sats) == (kept, 1)


@pytest.mark.parametrize(
    ("msat", "tx_type"), [(1, "cash_out"), (0, ""), (-1, ""), (1_000, "cash_out")]
)
def test_the_smallest_payment_that_came_in(msat: int, tx_type: str) -> None:
    assert minimal_fields(paid(STAMP, msat), MACHINE).tx_type == tx_type


def test_a_number_without_end_after_the_point_is_never_written_out() -> None:
    with pytest.raises(ValueError, match="two decimal places"):
        fiat_cents(Decimal("1E-999999999"))
    with pytest.raises(ValueError, match="four decimal places"):
        fraction4(Decimal("1E-999999999"))


def test_what_is_kept_of_a_stamp_reads_like_the_stamp() -> None:
    assert parse({"note": "ñ"}).stamp["note"] == "ñ"
    assert '"note": "ñ"' in parse({"note": "ñ"}).stamp_json
    assert minimal_fields(paid(["x"]), MACHINE).stamp == {"stamp": ["x"]}


def test_a_rate_that_is_off_is_told_with_the_one_that_is_right() -> None:
    text = sentence({"exchange_rate": 100})
    assert "exchange_rate is 100 sat" in text
    assert "principal / fiat is 133.3333" in text


def test_a_txid_may_come_as_a_number_or_as_its_text() -> None:
    row = landed(bitspire_txid="12")
    assert report_conflict({"txid": 12}, row) is None
    assert report_conflict({"txid": "12"}, row) is None
    assert "txid is " in str(report_conflict({"txid": 13}, row))
