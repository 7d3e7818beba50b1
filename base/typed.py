"""What people type for an amount, a rate, a fraction or a number of sats: one reading.

Guaranteed: what can be read in two ways is refused with both readings, in one sentence,
and what is taken is taken exactly. `static/lib/typed.js` reads the same, sentence for
sentence; one table (tests/support/typed.py) tests both. Numbers of JSON are what they
are: only text is read.
Not guaranteed: anything about what machines say. They write plain decimals
(`calculations.exact_number`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ..calculations import cents_text, exact_number, fiat_cents, fraction4, shown

# Between thousands: blanks of every width, and the Swiss apostrophe.
_GAPS = " \t\u00a0\u2007\u2009\u202f'\u2019"
_GAP = re.compile(f"[{_GAPS}]")
_SHAPE = re.compile(rf"([+-]?)([0-9][0-9.,{_GAPS}]*)")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:([.,_])[0-9]{3})(?:\1[0-9]{3})*")
_LONGEST = 60


def _not_a_number(value: Any, what: str, like: str) -> ValueError:
    return ValueError(f"{what} is {shown(value)}: it must be a number, like {like}.")


def _parts(value: str, what: str, like: str) -> tuple[str, str]:
    """The sign, and the digits with their separators; gaps are written `_`."""
    found = _SHAPE.fullmatch(value.strip())
    if found is None or len(value) > _LONGEST:
        raise _not_a_number(value, what, like)
    return found[1], _GAP.sub("_", found[2])


def _whole(digits: str) -> str | None:
    """Digits in groups of three, or in none, without their separators."""
    if digits.isdigit():
        return digits
    return re.sub("[.,_]", "", digits) if _GROUPED.fullmatch(digits) else None


def _decimal(whole: str | None, places: str) -> str | None:
    return None if whole is None or not places.isdigit() else f"{whole}.{places}"


def _two_readings(value: str, what: str, whole: str, places: str) -> ValueError:
    one, other = whole + places, f"{whole}.{places}"
    if places.endswith("0"):
        return ValueError(
            f"{what} is {shown(value)}: it can be read as {one} and as {other}. "
            f"Write {one} or {other[:-1]}."
        )
    return ValueError(
        f"{what} is {shown(value)}: it can be read as {one} and as {other}, and there "
        f"may be two decimal places, no more. Write {one} or {other[:-1]}."
    )


def typed_amount(value: Any, what: str) -> Decimal:
    """Money of a currency: `1,234.50`, `1234.5`, `750,00`, `1 000`.

    One separator before exactly three digits may be of thousands or of decimals:
    `ValueError` with both readings.
    """
    if not isinstance(value, str):
        return exact_number(value, what)
    sign, digits = _parts(value, what, "750.00")
    marks = [c for c in digits if c in ".,"]
    read: str | None
    if not marks:
        read = _whole(digits)
    elif len(marks) == 1 and "_" not in digits:
        whole, places = re.split("[.,]", digits)
        if _GROUPED.fullmatch(digits):
            raise _two_readings(value, what, sign + whole, places)
        read = _decimal(_whole(whole), places)
    elif marks.count(marks[-1]) > 1:
        # twice the same: of thousands, if nothing else is there
        read = _whole(digits)
    else:
        whole, _, places = digits.rpartition(marks[-1])
        read = _decimal(_whole(whole), places)
    if read is None:
        raise _not_a_number(value, what, "750.00")
    return Decimal(sign + read)


def typed_number(value: Any, what: str, like: str = "133.3333") -> Decimal:
    """A rate or a fraction: a point is decimal, and a comma alone is refused."""
    if not isinstance(value, str):
        return exact_number(value, what)
    sign, digits = _parts(value, what, like)
    whole, point, places = digits.partition(".")
    if "," in digits and not point:
        raise ValueError(
            f"{what} is {shown(value)}: write a point before decimal places, and no "
            f"comma, like {like}."
        )
    read = _whole(whole)
    if point:
        read = _decimal(read, places)
    if read is None:
        raise _not_a_number(value, what, like)
    return Decimal(sign + read)


def typed_whole(value: Any, what: str) -> Decimal:
    """A number of sats, or of anything that has no parts: every separator is of
    thousands."""
    if not isinstance(value, str):
        return exact_number(value, what)
    sign, digits = _parts(value, what, "1000")
    read = _whole(digits)
    if read is None:
        raise ValueError(
            f"{what} is {shown(value)}: it must be a whole number, without decimal "
            "places, like 1000 or 1,000."
        )
    return Decimal(sign + read)


def typed_cents(value: Any, what: str) -> int:
    """`typed_amount` in minor units of 1/100."""
    return fiat_cents(typed_amount(value, what), what)


def typed_fiat(value: Any, what: str) -> Decimal:
    """`typed_amount` with its two places."""
    return Decimal(cents_text(typed_cents(value, what)))


def typed_fraction(value: Any, what: str) -> Decimal:
    """A share, 0 to 1 with at most four places."""
    return fraction4(typed_number(value, what, "0.0300"), what)
