"""`docs/known-failures.md` says which test shows what: those tests are there."""

from __future__ import annotations

import re

import pytest

from dev.installation import ROOT

pytestmark = pytest.mark.pure
TESTS = ROOT / "tests"
ROW = re.compile(r"^\| (\d+) \| .+ \| (.+) \|$", re.M)


def test_every_known_failure_has_a_test() -> None:
    rows = ROW.findall((ROOT / "docs" / "known-failures.md").read_text())
    numbers = [int(number) for number, _ in rows]
    assert numbers == list(range(1, len(numbers) + 1))
    for number, shown in rows:
        for named in re.findall(r"`([^`]+)`", shown):
            path, _, test = named.partition("::")
            text = (TESTS / path).read_text()
            wanted = test or f"test_known_failure_{int(number):02}_"
            assert f"def {wanted}" in text, (number, named)


def test_no_test_has_a_number_that_is_not_in_the_list() -> None:
    rows = ROW.findall((ROOT / "docs" / "known-failures.md").read_text())
    listed = {int(number): shown for number, shown in rows}
    for path in TESTS.rglob("test_*.py"):
        for number in re.findall(r"def test_known_failure_(\d+)_", path.read_text()):
            assert str(path.relative_to(TESTS)) in listed[int(number)], path
