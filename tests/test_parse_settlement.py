"""What a machine says: each check of a stamp, and stamps made to break the reader.

Pure: no LNbits is booted. Payments are LNbits' own model, as the listener gets them.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stamps import (
    CASH_IN,
    MACHINE,
    MISSING,
    RATELESS,
    STAMP,
    SUPER,
    paid,
    parse,
    sentence,
)

from satmachineadmin import bitspire
from satmachineadmin.bitspire import (
    MAX_BIGINT,
    MAX_SATS,
    FeeFractions,
    ParsedSettlement,
    SettlementInvariantError,
    check_figures,
    is_bitspire_payment,
    minimal_fields,
    parse_report,
    parse_settlement,
    read_payment,
    report_conflict,
    storable_json,
)
from satmachineadmin.calculations import MAX_FIAT_CENTS, shown
from satmachineadmin.models import Settlement, utc_now

pytestmark = pytest.mark.pure

all_cases = settings(deadline=None, database=None, max_examples=examples(400))

# --- what is read -------------------------------------------------------------------


def test_a_cash_out() -> None:
    parsed = parse()
    assert parsed == ParsedSettlement(
        tx_type="cash_out",
        wire_sats=108_000,
        principal_sats=100_000,
        fee_sats=8_000,
        platform_fee_sats=3_000,
        operator_fee_sats=5_000,
        fee_mismatch_sats=0,
        fiat_cents=75_000,
        fiat_code="GTQ",
        exchange_rate=133.3333,
        payment_hash="hash",
        wallet_id="wallet",
        network_fee_sats=0,
        bitspire_txid="b1946ac9",
        bills_json='{"100": 7, "50": 1}',
        cassettes_json='{"1": 7, "2": 1}',
        dispense="confirmed",
        stamp=STAMP,
    )
    assert str(parsed.fiat_amount) == "750.00"
    assert json.loads(parsed.stamp_json) == STAMP


def test_a_cash_in_has_its_own_fractions_and_direction() -> None:
    parsed = parse(stamp=CASH_IN, amount_msat=-92_000_000)
    assert parsed.tx_type == "cash_in"
    assert parsed.wire_sats == 92_000
    assert (parsed.platform_fee_sats, parsed.operator_fee_sats) == (2_000, 4_000)
    assert parsed.fee_mismatch_sats == 2_000


def test_only_the_optional_fields_may_be_missing() -> None:
    optional = ("exchange_rate", "txid", "bills", "cassettes", "dispense")
    for empty in (MISSING, None):
        parsed = parse(dict.fromkeys(optional, empty))
        assert parsed.exchange_rate == pytest.approx(133.33333, abs=0.0001)
        assert parsed.bitspire_txid is None
        assert parsed.bills_json is None
        assert parsed.cassettes_json is None
        assert parsed.dispense == "confirmed"
    required = ("tx_type", "principal_sats", "fee_sats", "fiat_amount", "fiat_code")
    for name in required:
        for empty in (MISSING, None):
            assert f"{name} is missing" in sentence({name: empty})


def test_a_fee_that_does_not_match_is_recorded_and_not_refused() -> None:
    surplus = parse({"fee_sats": 9_000}, amount_msat=109_000_000)
    assert surplus.fee_mismatch_sats == 1_000
    assert (surplus.platform_fee_sats, surplus.operator_fee_sats) == (3_000, 5_000)
    short = parse({"fee_sats": 3_500}, amount_msat=103_500_000)
    assert short.fee_mismatch_sats == -4_500
    assert (short.platform_fee_sats, short.operator_fee_sats) == (3_000, 500)


def test_a_settlement_of_one_sat() -> None:
    parsed = parse(
        {"principal_sats": 1, "fee_sats": 0, "fiat_amount": "0.01"} | RATELESS, 1_000
    )
    assert (parsed.wire_sats, parsed.fiat_cents, parsed.exchange_rate) == (1, 1, 100.0)
    assert (parsed.platform_fee_sats, parsed.operator_fee_sats) == (0, 0)


def test_21_million_bitcoin() -> None:
    parsed = parse(
        {"principal_sats": MAX_SATS, "fiat_amount": "30000000000000.00"} | RATELESS,
        (MAX_SATS + 8_000) * 1000,
    )
    assert parsed.principal_sats == 2_100_000_000_000_000
    # the platform's fraction of principal, whatever was charged
    assert parsed.platform_fee_sats == 63_000_000_000_000
    assert parsed.fiat_cents == MAX_FIAT_CENTS
    said = sentence({"principal_sats": MAX_SATS + 1} | RATELESS)
    assert "more than all the bitcoin there are" in said


@pytest.mark.parametrize(
    ("dispense", "tx_type", "expected"),
    [
        ("awaiting", "cash_out", "awaiting"),
        ("confirmed", "cash_out", "confirmed"),
        (MISSING, "cash_out", "confirmed"),
        ("awaiting", "cash_in", "confirmed"),
    ],
)
def test_dispense(dispense: Any, tx_type: str, expected: str) -> None:
    amount_msat = 108_000_000 if tx_type == "cash_out" else -92_000_000
    parsed = parse({"dispense": dispense, "tx_type": tx_type}, amount_msat)
    assert parsed.dispense == expected


@pytest.mark.parametrize(
    ("fee_msat", "expected_sats"),
    [(0, 0), (-1, 1), (1, 1), (-1_000, 1), (-1_001, 2), (400_000, 400)],
)
def test_known_failure_42_the_fee_that_lnbits_booked_on_the_payment(
    fee_msat: int, expected_sats: int
) -> None:
    payment = paid(STAMP, fee_msat=fee_msat)
    parsed = parse_settlement(payment, MACHINE, SUPER)
    assert parsed.network_fee_sats == expected_sats
    assert minimal_fields(payment, MACHINE).network_fee_sats == expected_sats


@pytest.mark.parametrize(
    ("txid", "expected"),
    [
        ("b1946ac9", "b1946ac9"),
        (17, "17"),
        ("a\x00b", "a\ufffdb"),
        ("", None),
        ("x" * 201, None),
        (True, None),
        pytest.param(10**5000, None, id="endless"),
        (["a"], None),
    ],
)
def test_a_txid_that_is_none_is_left_out(txid: Any, expected: str | None) -> None:
    assert parse({"txid": txid}).bitspire_txid == expected


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (STAMP, True),
        ({"source": "bitspire"}, True),
        ({"source": "Bitspire"}, False),
        ({"source": ["bitspire"]}, False),
        ({"tag": "satmachineadmin"}, False),
        ({}, False),
        (None, False),
        (["bitspire"], False),
    ],
)
def test_whose_payment_it_is(extra: Any, expected: bool) -> None:
    assert is_bitspire_payment(paid(extra)) is expected


# --- reports and corrections --------------------------------------------------------


def test_a_report_passes_the_same_checks_against_the_payment() -> None:
    report = {name: value for name, value in STAMP.items() if name != "source"}
    unstamped = paid({})
    parsed = parse_report(report, unstamped, MACHINE, SUPER)
    assert (parsed.principal_sats, parsed.stamp) == (100_000, report)
    with pytest.raises(SettlementInvariantError, match="108001 sat"):
        parse_report(report | {"fee_sats": 8_001}, unstamped, MACHINE, SUPER)
    with pytest.raises(SettlementInvariantError, match="it must be an object"):
        parse_report([], unstamped, MACHINE, SUPER)


def test_corrected_figures_use_the_fractions_given() -> None:
    in_force = FeeFractions(
        super_cash_in_fee_fraction=Decimal("0.0000"),
        super_cash_out_fee_fraction=Decimal("0.0100"),
        operator_cash_in_fee_fraction=Decimal("0.0000"),
        operator_cash_out_fee_fraction=Decimal("0.0200"),
    )
    figures = check_figures(
        STAMP, amount_msat=108_000_000, fiat_code="GTQ", fractions=in_force
    )
    assert (figures.platform_fee_sats, figures.operator_fee_sats) == (1_000, 2_000)
    assert figures.fee_mismatch_sats == 5_000


def landed(**changes: Any) -> Settlement:
    return Settlement(
        **{
            "id": "settlement",
            "machine_id": "machine",
            "payment_hash": "hash",
            "wire_sats": 108_000,
            "fiat_amount": "750.00",
            "fiat_code": "GTQ",
            "exchange_rate": 133.3333,
            "principal_sats": 100_000,
            "fee_sats": 8_000,
            "platform_fee_sats": 3_000,
            "operator_fee_sats": 5_000,
            "tx_type": "cash_out",
            "bitspire_txid": "b1946ac9",
            "transaction_time": utc_now(),
            **changes,
        }
    )


def test_a_report_that_repeats_or_adds_is_no_conflict() -> None:
    assert report_conflict(STAMP, landed()) is None
    assert report_conflict({"payment_hash": "hash"}, landed()) is None
    assert report_conflict(STAMP, landed(bitspire_txid=None)) is None
    assert report_conflict(STAMP | {"fiat_amount": 750}, landed()) is None
    unread = landed(
        principal_sats=0, fee_sats=0, fiat_amount=0, fiat_code="", tx_type=""
    )
    assert report_conflict(STAMP, unread) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("tx_type", "cash_in", '"cash_in", but "cash_out"'),
        ("principal_sats", 99_999, "99999, but 100000"),
        ("principal_sats", 100_000.0, "100000.0, but 100000"),
        ("fee_sats", 0, "0, but 8000"),
        ("fiat_code", "USD", '"USD", but "GTQ"'),
        ("fiat_amount", "750.01", '"750.01", but 750.00'),
        ("fiat_amount", "nonsense", '"nonsense", but 750.00'),
        ("txid", "other", '"other", but "b1946ac9"'),
    ],
)
def test_a_report_that_contradicts_what_landed(
    name: str, value: Any, expected: str
) -> None:
    said = report_conflict(STAMP | {name: value}, landed())
    assert said is not None
    assert said.startswith(f"The report's {name} is {expected} is what landed")


# --- a row for what was not understood ----------------------------------------------


def test_known_failure_38_whatever_did_parse_is_kept() -> None:
    payment = paid(STAMP | {"principal_sats": 10**12, "fiat_amount": "750.001"})
    kept = minimal_fields(payment, MACHINE)
    assert (kept.tx_type, kept.fiat_code) == ("cash_out", "GTQ")
    assert (kept.wire_sats, kept.fee_sats) == (108_000, 8_000)
    assert (kept.principal_sats, kept.fiat_cents) == (10**12, 0)
    assert (kept.platform_fee_sats, kept.operator_fee_sats) == (0, 0)
    assert kept.exchange_rate == 133.3333
    assert kept.bitspire_txid == "b1946ac9"
    assert json.loads(kept.stamp_json) == payment.extra


def test_known_failure_38_a_stamp_without_any_field() -> None:
    kept = minimal_fields(paid({"source": "bitspire"}), MACHINE)
    assert (kept.tx_type, kept.fiat_code) == ("", "")
    assert (kept.wire_sats, kept.principal_sats, kept.fee_sats) == (108_000, 0, 0)
    assert (kept.fiat_cents, kept.exchange_rate) == (0, 0.0)
    assert (kept.bitspire_txid, kept.bills_json, kept.cassettes_json) == (None,) * 3
    assert kept.stamp_json == '{"source": "bitspire"}'


def test_a_direction_that_the_payment_contradicts_is_not_kept() -> None:
    assert minimal_fields(paid(CASH_IN, 92_000_000), MACHINE).tx_type == ""
    assert minimal_fields(paid(STAMP, -108_000_000), MACHINE).tx_type == ""
    assert minimal_fields(paid(CASH_IN, -92_000_000), MACHINE).tx_type == "cash_in"


def test_the_fields_of_a_report_are_kept_in_place_of_the_stamp() -> None:
    kept = minimal_fields(paid({}), MACHINE, {"fiat_code": "USD", "fee_sats": 7})
    assert (kept.fee_sats, kept.fiat_code) == (7, "")
    assert kept.stamp == {"fiat_code": "USD", "fee_sats": 7}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        pytest.param(10**5000, "a number of more than 60 digits", id="endless"),
        ("nul \x00 and lone \ud800 surrogate", "nul \ufffd and lone \ufffd surrogate"),
        ({1: "a", None: "b", "\x00": "c"}, {"1": "a", "None": "b", "\ufffd": "c"}),
        ((1, 2), [1, 2]),
        (Decimal("1.50"), "1.50"),
        (object(), "a object"),
        ("<b>ñ 😀</b>", "<b>ñ 😀</b>"),
    ],
)
def test_what_json_or_a_database_would_refuse(value: Any, expected: Any) -> None:
    assert json.loads(storable_json({"x": value})) == {"x": expected}


def test_a_stamp_without_end_is_cut() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert len(storable_json(endless)) < 100
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    assert "(left out)" in storable_json(deep)
    assert len(storable_json(["x" * 10**6] * 1000)) < 200_000
    assert len(storable_json([[[]] * 1000] * 1000)) < 500_000
    assert len(storable_json([0] * 200_000)) < 400_000
    assert len(storable_json(dict.fromkeys(range(200_000), 0))) < 1_500_000
    assert len(storable_json({"x" * i: "y" * i for i in range(3000)})) < 300_000


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-3, 3),
        st.sampled_from([2**63, -(2**63) - 1, 10**400, -(10**400)]),
        st.floats(),
        st.decimals(),
        st.sampled_from([Decimal("sNaN"), Decimal("1E+999999"), Decimal("1E-999999")]),
        st.fractions(),
        st.binary(max_size=3),
        st.dates(),
        st.text(st.characters(), max_size=8),
        st.text(st.characters(categories=["Cs", "Cc"]), max_size=4),
        st.sampled_from(["cash_out", "cash_in", "GTQ", "750.00", "awaiting"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.integers(), st.none()), inner, max_size=3
        ),
        st.tuples(inner),
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from([*STAMP, "fiat_currency"])
CHANGES = st.dictionaries(FIELDS, ANYTHING, min_size=1, max_size=3)
AMOUNTS = st.one_of(
    st.sampled_from([108_000_000, -92_000_000]), st.integers(-MAX_BIGINT, MAX_BIGINT)
)


def assert_can_be_stored(parsed: ParsedSettlement) -> None:
    for sats in (
        parsed.wire_sats,
        parsed.principal_sats,
        parsed.fee_sats,
        parsed.platform_fee_sats,
        parsed.operator_fee_sats,
        parsed.network_fee_sats,
    ):
        assert type(sats) is int
        assert 0 <= sats <= MAX_BIGINT
    assert type(parsed.fiat_cents) is int
    assert 0 <= parsed.fiat_cents <= MAX_FIAT_CENTS
    assert type(parsed.exchange_rate) is float
    assert 0 <= parsed.exchange_rate < 10**21
    texts = [parsed.tx_type, parsed.fiat_code, parsed.stamp_json]
    texts += [parsed.bitspire_txid or "", parsed.bills_json or ""]
    for text in texts:
        assert "\x00" not in text
        text.encode("utf-8")
    json.dumps(parsed.stamp, allow_nan=False, ensure_ascii=False).encode("utf-8")


@all_cases
@given(st.one_of(ANYTHING, CHANGES.map(lambda changes: STAMP | changes)), AMOUNTS)
@example(STAMP | {"bills": Decimal("sNaN"), "dispense": Decimal("sNaN")}, 108_000_000)
@example({"fiat_currency": "\ud800"}, 1)
@example(STAMP | {"fiat_amount": Decimal("1E-999999")}, 108_000_000)
@example(STAMP | {"exchange_rate": Decimal("1E-999999")}, 108_000_000)
def test_known_failure_38_nothing_in_a_stamp_raises_anything_else(
    stamp: Any, amount_msat: int
) -> None:
    payment = paid(stamp, amount_msat, fee_msat=-1)
    try:
        parsed = parse_settlement(
            payment, MACHINE, SUPER, recent_rates=[Decimal("133.3333")]
        )
    except SettlementInvariantError as exc:
        text = str(exc)
        assert "\x00" not in text
        assert len(text.encode("utf-8")) < 500
    else:
        assert_can_be_stored(parsed)
        assert parsed.platform_fee_sats + parsed.operator_fee_sats <= parsed.fee_sats
    assert_can_be_stored(minimal_fields(payment, MACHINE))
    if isinstance(stamp, dict):
        report_conflict(stamp, landed())


@pytest.mark.parametrize("name", [*STAMP, "fiat_currency"])
def test_an_integer_without_end_in_any_field(name: str) -> None:
    # Python itself raises on printing it; so do hypothesis and pytest.
    payment = paid(STAMP | {name: -(10**5000)})
    if name in ("source", "txid", "bills", "cassettes"):
        assert_can_be_stored(parse_settlement(payment, MACHINE, SUPER))
    else:
        with pytest.raises(SettlementInvariantError):
            parse_settlement(payment, MACHINE, SUPER)
    assert_can_be_stored(minimal_fields(payment, MACHINE))


@all_cases
@given(
    st.integers(1, MAX_SATS),
    st.integers(0, MAX_SATS),
    st.integers(1, MAX_FIAT_CENTS),
    st.booleans(),
)
def test_figures_that_agree_are_always_taken(
    principal_sats: int, fee_sats: int, cents: int, is_cash_in: bool
) -> None:
    if is_cash_in:
        fee_sats %= principal_sats
    wire_sats = principal_sats + (-fee_sats if is_cash_in else fee_sats)
    units, rest = divmod(cents, 100)
    parsed = parse(
        {
            "tx_type": "cash_in" if is_cash_in else "cash_out",
            "principal_sats": principal_sats,
            "fee_sats": fee_sats,
            "fiat_amount": f"{units}.{rest:02d}",
        }
        | RATELESS,
        (-wire_sats if is_cash_in else wire_sats) * 1000,
    )
    assert (parsed.principal_sats, parsed.fee_sats) == (principal_sats, fee_sats)
    assert (parsed.fiat_cents, parsed.wire_sats) == (cents, wire_sats)
    assert_can_be_stored(parsed)


@all_cases
@given(ANYTHING)
def test_any_value_can_be_quoted_in_a_sentence(value: Any) -> None:
    text = shown(value)
    assert "\x00" not in text
    assert "\n" not in text
    assert len(text.encode("utf-8")) < 300


# --- one reading of a payment ---------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "is_active", "status", "problem"),
    [
        (STAMP, True, "pending", None),
        (STAMP | {"dispense": "awaiting"}, True, "awaiting_dispense", None),
        (STAMP | {"dispense": "awaiting"}, False, "quarantined", "deactivated"),
        (STAMP | {"fee_sats": 1}, True, "quarantined", "principal 100000 plus fee 1"),
        ({}, True, "quarantined", "does not carry its stamp"),
        (STAMP | {"principal_sats": True}, True, "quarantined", "principal_sats is"),
    ],
)
def test_a_payment_is_read_once_into_status_figures_and_why_not(
    extra: dict[str, Any], is_active: bool, status: str, problem: str | None
) -> None:
    machine = MACHINE.copy(update={"is_active": is_active})
    reading = read_payment(paid(extra), machine, SUPER, report=STAMP)
    assert reading.status == status
    assert (problem or "") in (reading.problem or "")
    assert reading.is_stamped == bool(extra)
    assert reading.parsed.wire_sats == 108_000
    assert reading.cause is None


def test_what_breaks_while_reading_is_a_reason_and_not_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("x")

    monkeypatch.setattr(bitspire, "check_figures", broken)
    reading = read_payment(paid(STAMP), MACHINE, SUPER)
    assert reading.problem == "The stamp could not be read (KeyError)."
    assert isinstance(reading.cause, KeyError)
    assert reading.parsed.wire_sats == 108_000
