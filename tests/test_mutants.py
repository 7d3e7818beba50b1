"""The mutants of `make mutants`: what is changed, and that judgements are not stale.

Pure: no LNbits is booted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.mutants import CALLED, mutants_of, observed
from dev.mutation import GROUPS, judged, mutants_in, row
from environment import ROOT

pytestmark = pytest.mark.pure

SOURCE = '''
LIMIT = 10
NAME = "a"


def capped(x: int, is_open: bool) -> int:
    """Not mutated."""
    if x < LIMIT and not is_open:
        raise ValueError(f"{x} is too small.")
    return min(x, 3)


class Row:
    @property
    def sql(self) -> str:
        return "UPDATE t SET a = :a WHERE b = 'x' AND c <= :c"
'''


def changes(tmp_path: Path) -> dict[str, list[str]]:
    path = tmp_path / "some.py"
    path.write_text(SOURCE)
    found: dict[str, list[str]] = {}
    for mutant in mutants_of(path):
        found.setdefault(mutant.function, []).append(mutant.change)
    return found


def test_every_kind_of_thing_is_changed_and_nothing_for_people(tmp_path: Path) -> None:
    found = changes(tmp_path)
    assert found["LIMIT"] == ["`10` → `11`", "`10` → `9`"]
    condition = "`x < LIMIT and (not is_open)` → "
    assert found["capped"] == [
        condition + "`x < LIMIT or not is_open`",
        condition + "`not is_open`",
        condition + "`x < LIMIT`",
        condition + "`x <= LIMIT and (not is_open)`",
        condition + "`x >= LIMIT and (not is_open)`",
        condition + "`x < LIMIT and is_open`",
        "`raise ValueError(f'{x} is too small.')` → `pass`",
        "`return min(x, 3)` → `return None`",
        "`return min(x, 3)` → `return max(x, 3)`",
        "`return min(x, 3)` → `return min(x, 4)`",
        "`return min(x, 3)` → `return min(x, 2)`",
    ]
    sql = [c for c in found["Row.sql"] if "return" not in c]
    for instead in ("a = a WHERE", "b = b AND", "b <> 'x'", "c < :c", "'x' OR c"):
        assert any(instead in c.partition("→")[2] for c in sql), instead


def test_a_mutant_behaves_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(SOURCE)
    answers = set()
    for mutant in mutants_of(path):
        if mutant.change.startswith("`return min"):
            names: dict = {}
            assert mutant.code
            exec(mutant.code, names)  # noqa: S102
            answers.add(names["capped"](12, True))
    assert answers == {None, 12, 4, 2}


def test_observed_code_says_what_it_calls(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(SOURCE)
    called: list[str] = []
    names: dict = {CALLED: called.append}
    exec(observed(path), names)  # noqa: S102
    assert names["capped"](12, True) == 3
    assert names["Row"]().sql.startswith("UPDATE")
    assert called == ["some.py:6:capped", "some.py:14:sql"]


def test_judgements_and_names_are_of_what_there_is() -> None:
    there = {m.name: m for group in GROUPS for m in mutants_in(group, only_names=True)}
    stale = [name for name in judged() if name not in there]
    assert stale == [], "changed or gone: judge again what `make mutants` finds"
    assert all(len(why) > 10 for why in judged().values())
    # a row as the command prints it is read back as the same mutant
    some = next(iter(there.values()))
    assert row(some).startswith(f"| {some.file} | {some.function} | `")
    named = {(m.file, m.function) for m in there.values()}
    for group in GROUPS:
        for file, functions in group.files.items():
            assert [f for f in functions if (file, f) not in named] == []
        assert [t for t in group.tests if not (ROOT / "tests" / t).exists()] == []
