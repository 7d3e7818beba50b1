"""The forecast on a simulated year with a weekly pattern, against the plain average.

Both are asked every day for the days until a bay is empty; the truth is known because
the year is. The mean errors are printed, and the forecast must be the better one.
"""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from satmachineadmin.cash.forecast import days_until

pytestmark = pytest.mark.pure

FIRST = date(2025, 1, 6)  # a Monday
WEEK = [12, 10, 11, 14, 30, 44, 3]


def simulated_year(seed: int) -> dict[date, int]:
    dice = random.Random(seed)
    days = [FIRST + timedelta(days=n) for n in range(420)]
    return {day: max(0, round(dice.gauss(WEEK[day.weekday()], 4))) for day in days}


def truth(moved: dict[date, int], today: date, left: int) -> float:
    passed = 0
    while left > moved[today]:
        left -= moved[today]
        today += timedelta(days=1)
        passed += 1
    return passed + left / max(1, moved[today])


def plain_average(moved: dict[date, int], today: date, left: int) -> float:
    last = [moved[today - timedelta(days=n)] for n in range(1, 8)]
    return left / (sum(last) / 7)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_better_than_the_plain_average_over_a_year(seed: int) -> None:
    moved = simulated_year(seed)
    ours, plain = [], []
    for number in range(60, 365):
        today = FIRST + timedelta(days=number)
        for left in (20, 60, 100):
            known = {day: n for day, n in moved.items() if day < today}
            said = days_until(left, known, first_day=FIRST, today=today)
            assert said and said.days is not None
            assert said.history_days == 56
            right = truth(moved, today, left)
            ours.append(abs(said.days - right))
            plain.append(abs(plain_average(moved, today, left) - right))
    mean, mean_plain = sum(ours) / len(ours), sum(plain) / len(plain)
    print(f"seed {seed}: mean error {mean:.2f} days, plain average {mean_plain:.2f}")
    assert mean < mean_plain * 0.6


def test_nothing_is_said_from_two_days_of_history() -> None:
    today = FIRST + timedelta(days=2)
    moved = {FIRST: 10, FIRST + timedelta(days=1): 10}
    assert days_until(100, moved, first_day=FIRST, today=today) is None
    later = days_until(100, moved, first_day=FIRST, today=today + timedelta(days=1))
    assert later is not None
    assert later.history_days == 3


def test_nothing_is_said_where_nothing_moves() -> None:
    today = FIRST + timedelta(days=30)
    assert days_until(100, {}, first_day=FIRST, today=today) is None


def test_an_empty_bay_is_empty_now_and_a_full_one_not_in_a_year() -> None:
    today = FIRST + timedelta(days=30)
    moved = {FIRST + timedelta(days=n): 1 for n in range(30)}
    empty = days_until(-3, moved, first_day=FIRST, today=today)
    assert empty and empty.days == 0
    far = days_until(10_000, moved, first_day=FIRST, today=today)
    assert far and far.days is None


def test_the_part_of_today_that_is_over_does_not_count_again() -> None:
    today = FIRST + timedelta(days=28)
    moved = {FIRST + timedelta(days=n): 10 for n in range(28)}
    whole = days_until(25, moved, first_day=FIRST, today=today)
    noon = days_until(25, moved, first_day=FIRST, today=today, day_passed=0.5)
    assert whole and whole.days == 2.5
    assert noon and noon.days == 2.5
