"""When is a bay empty, or the box full? From the same weekdays of the last weeks.

Guaranteed: pure, integers and days in, days out; nothing is said from less than three
days of history, nor of a place that nothing moves in.
Not guaranteed: a holiday. What is not in the last weeks is not in the forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

MIN_DAYS = 3
WEEKS = 8
# Beyond a year "in 400 days" says no more than "not soon".
MAX_DAYS = 365
# A weekday that was seen so often speaks for itself; before, the plain average helps.
ENOUGH_WEEKDAYS = 2


@dataclass(frozen=True)
class Forecast:
    """`days` until the place is empty (or full), one place after the point; None if
    that is more than a year off. `history_days` is what it rests on."""

    days: float | None
    history_days: int


def daily_pace(moved: Mapping[date, int], first_day: date, today: date) -> list[float]:
    """Notes (or minor units) a day by weekday, Monday first, from whole days before
    `today`; a day that is not in `moved` moved nothing."""
    start = max(first_day, today - timedelta(weeks=WEEKS))
    days = [start + timedelta(days=n) for n in range((today - start).days)]
    total = sum(moved.get(day, 0) for day in days)
    average = total / len(days) if days else 0.0
    pace = []
    for weekday in range(7):
        same = [moved.get(day, 0) for day in days if day.weekday() == weekday]
        missing = max(0, ENOUGH_WEEKDAYS - len(same))
        pace.append((sum(same) + missing * average) / (len(same) + missing))
    return pace


def days_until(
    left: int,
    moved: Mapping[date, int],
    *,
    first_day: date,
    today: date,
    day_passed: float = 0.0,
) -> Forecast | None:
    """When `left` notes (or minor units) are used up; None where nothing can be said.

    `moved` is what went out (or in) on each day since `first_day`, the first day of
    history; `day_passed` is the share of today that is over.
    """
    history = (today - max(first_day, today - timedelta(weeks=WEEKS))).days
    if history < MIN_DAYS:
        return None
    pace = daily_pace(moved, first_day, today)
    if sum(pace) <= 0:
        return None
    if left <= 0:
        return Forecast(0.0, history)
    return Forecast(_days(left, pace, today, day_passed), history)


def _days(
    left: float, pace: list[float], today: date, day_passed: float
) -> float | None:
    passed = 0.0
    share = 1.0 - day_passed
    for number in range(MAX_DAYS + 1):
        used = pace[(today.weekday() + number) % 7] * share
        if used >= left:
            return round(passed + share * left / used, 1)
        left -= used
        passed += share
        share = 1.0
    return None
