"""One reading of what people type, by the server and by the page.

Pure: the page's functions are run by Node, where there is one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from readings import AMOUNTS, PERCENTS, RATES, SATS, TWO_WAYS, YEN

from satmachineadmin.base import currencies
from satmachineadmin.base.refusals import BadInputError
from satmachineadmin.base.typed import (
    typed_cents,
    typed_fiat,
    typed_fraction,
    typed_number,
    typed_whole,
)

pytestmark = pytest.mark.pure

LIB = Path(__file__).resolve().parents[2] / "static" / "lib"


def read(reader: Callable[[Any, str], Any], text: str) -> Any:
    """What was read, or None, after a look at the sentence."""
    try:
        return reader(text, "amount")
    except ValueError as exc:
        assert str(exc).startswith("amount is ") and str(exc).endswith(".")
        return None


def test_amounts() -> None:
    found = {text: read(typed_fiat, text) for text in AMOUNTS}
    assert {k: None if v is None else str(v) for k, v in found.items()} == AMOUNTS


@pytest.mark.parametrize("text", TWO_WAYS)
def test_what_can_be_read_in_two_ways_is_refused_with_both(text: str) -> None:
    thousands, decimal = TWO_WAYS[text]
    with pytest.raises(ValueError, match="it can be read as") as refusal:
        typed_cents(text, "amount")
    assert f"Write {thousands} or {decimal}." in str(refusal.value)
    # and each of the two readings is taken
    assert typed_cents(thousands, "amount") != typed_cents(decimal, "amount")


def test_rates_and_fractions() -> None:
    found = {text: read(typed_number, text) for text in RATES if text != "0"}
    for text, rate in found.items():
        assert (None if rate is None else str(rate)) == RATES[text]
    assert read(typed_fraction, "0,03") is None
    assert read(typed_fraction, "0.03") == Decimal("0.0300")


def test_sats() -> None:
    assert {text: read(typed_whole, text) for text in SATS} == SATS


@pytest.mark.parametrize("value", [1.0, 750, 0.5, Decimal("7.50")])
def test_numbers_of_json_are_what_they_are(value: Any) -> None:
    assert typed_fiat(value, "amount") == Decimal(str(value))


def test_currencies_have_their_own_decimals() -> None:
    assert currencies.decimals("JPY") == 0
    assert currencies.decimals("GTQ") == 2
    assert currencies.money(150_000, "JPY") == "1500 JPY"
    assert currencies.money(150_050, "JPY") == "1500.50 JPY"
    assert currencies.money(150_000, "GTQ") == "1500.00 GTQ"
    for code in ("KWD", "BHD", "IQD", "JOD", "LYD", "OMR", "TND", "CLF"):
        with pytest.raises(BadInputError, match="decimal places"):
            currencies.check_currency(code)
    currencies.check_amount(Decimal("1500.00"), "JPY", "amount")
    with pytest.raises(BadInputError, match="JPY has no decimal places"):
        currencies.check_amount(Decimal("10000.50"), "JPY", "amount")


# --------------------------------------------------------------------------- the page

PAGE = """
const fs = require('fs'), vm = require('vm')
const window = {satmachine: {}, i18n: {global: {locale: 'en',
  t: (key, facts) => key.split('.').pop() + JSON.stringify(facts || {})}}}
const Vue = {reactive: x => x}
const at = vm.createContext({window, Vue, Intl, Number, String, Math, Date,
  navigator: {language: 'en'}})
for (const name of ['format', 'typed']) {
  vm.runInContext(fs.readFileSync(`${process.argv[1]}/${name}.js`, 'utf8'), at)
}
const f = window.satmachine.format
const asked = JSON.parse(fs.readFileSync(0, 'utf8'))
const each = (texts, read) => Object.fromEntries(texts.map(one => [one, read(one)]))
process.stdout.write(JSON.stringify({
  amounts: each(asked.amounts, one => f.toAmount(one, 'GTQ')),
  yen: each(asked.yen, one => f.toAmount(one, 'JPY')),
  rates: each(asked.rates, f.toRate),
  sats: each(asked.sats, f.toSats),
  percents: each(asked.percents, f.toFraction),
  problems: each(asked.amounts, one => f.amountProblem(one, 'GTQ')),
  whole: f.amountProblem('1500.50', 'JPY'),
  shown: [f.fiat('1500.00', 'JPY'), f.fiat('1500.5', 'JPY'), f.fiat('1500', 'GTQ')],
  codes: asked.codes.filter(code => f.decimalsOf(code) === 0)
}))
"""


def on_the_page() -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not on this machine")
    asked = {
        "amounts": list(AMOUNTS),
        "yen": list(YEN),
        "rates": list(RATES),
        "sats": list(SATS),
        "percents": list(PERCENTS),
        "codes": sorted({*currencies.NO_DECIMALS, "GTQ", "USD", "HUF", "TWD"}),
    }
    done = subprocess.run(
        [node, "-e", PAGE, str(LIB)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_page_reads_the_same() -> None:
    page = on_the_page()
    assert page["amounts"] == AMOUNTS
    assert page["yen"] == YEN
    assert page["rates"] == RATES
    assert page["sats"] == SATS
    assert page["percents"] == PERCENTS
    for text, problem in page["problems"].items():
        assert bool(problem) == (AMOUNTS[text] is None)
    for text, (one, other) in TWO_WAYS.items():
        said = json.loads(page["problems"][text].removeprefix("two_readings"))
        assert said == {"one": one, "other": other}
    assert page["whole"].startswith("whole_units")


def test_the_page_shows_a_currencys_own_decimals() -> None:
    page = on_the_page()
    assert set(page["codes"]) == currencies.NO_DECIMALS
    shown = [text.replace("\xa0", " ") for text in page["shown"]]
    assert shown == ["JPY 1,500", "JPY 1,500.50", "GTQ 1,500.00"]
