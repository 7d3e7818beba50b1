"""What is said of a rate: the median of rates, and the marks of one that is off.

Pure. A mark stops no payment: LPs, operator and super see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from ..models import Mark


def median_rate(rates: Sequence[Decimal]) -> Fraction:
    """The exact median of one or more rates: the middle one, or the mean of two."""
    ordered = sorted(Fraction(rate) for rate in rates)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def known_of(days: Sequence[Decimal], market: Fraction | None) -> list[Fraction]:
    """What there is to compare with: the usual rate, and the market's."""
    usual = [rate for rate in days if rate > 0]
    known = [median_rate(usual)] if usual else []
    return known if market is None else [*known, market]


def rate_marks(
    exact: Fraction, days: Sequence[Decimal], market: Fraction | None
) -> tuple[str, ...]:
    """Whether a rate is more than 10 % off what is usual or the market's, or whether
    neither of the two is known."""
    known = known_of(days, market)
    if not known:
        return (Mark.RATE_NOT_CHECKED,)
    is_off = any(abs(exact - rate) * 10 > rate for rate in known)
    return (Mark.RATE_OFF,) if is_off else ()


def marks_text(marks: Sequence[str]) -> str:
    """As they are kept: a comma before and behind each."""
    return f",{','.join(marks)}," if marks else ""


def with_mark(text: str, mark: str) -> str:
    """The same with one more mark, once."""
    if f",{mark}," in text:
        return text
    return f"{text or ','}{mark},"
