"""Would a test notice? Runs the tests of a file against each of its mutants.

    python -m dev.mutation                    the pure files, then paying and repairs
    python -m dev.mutation bitspire.py        only these files
    python -m dev.mutation payouts_crud.py:fail_payout    only this function
    python -m dev.mutation --every 4          every fourth mutant of those with a server

Everything is imported and collected once; each mutant is a fork of that process with
one function's code exchanged, which runs the tests that ever call the function, the
quickest and likeliest first, until one fails. A survivor that `docs/mutation.md` does
not judge ends the run with an error. Libraries for this exist and were tried: mutmut
names modules by their path, and a package that *is* its repository's root is named
otherwise; cosmic-ray starts a process for each mutant, which imports LNbits first.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import hypothesis
import pytest

from .installation import EXTENSION_ID, ROOT
from .mutants import CALLED, Mutant, file_name, mutants_of, observed, place

JUDGED = ROOT / "docs" / "mutation.md"
# A mutant that hangs is noticed by whoever waits: killed.
PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Group:
    """Files, the functions of them that are mutated (all, or those), their tests."""

    files: dict[str, tuple[str, ...]]
    tests: tuple[str, ...]
    needs_server: bool = False


GROUPS = (
    Group(
        {
            "calculations.py": (),
            "bitspire.py": (),
            "base/stored_json.py": (),
            "money/replanning.py": (),
            "money/payouts.py": (
                "classify",
                "_observe",
                "Observation.network_fee_sats",
            ),
            "host/payments.py": ("LnbitsRow.is_receipt", "is_service_fee"),
            "money/payouts_crud.py": ("backoff_seconds", "_as_decided"),
        },
        (
            "money/test_outcomes.py",
            "test_principal_based_fees.py",
            "test_operator_split_legs.py",
            "test_dca_allocation.py",
            "test_dispense_split.py",
            "test_fiat_and_fractions.py",
            "test_parse_settlement.py",
            "test_parse_refusals.py",
            "money/test_replanning.py",
            "test_stamp_bounds.py",
        ),
    ),
    # Where a leg, a payout or a settlement changes its state, against a real LNbits.
    Group(
        {
            "money/payouts_crud.py": (
                "set_leg_waits",
                "count_failed_attempt",
                "open_payouts",
                "store_invoices",
                "note_payout",
                "end_payout",
                "free_legs",
                "mark_withdrawn",
                "complete_payouts",
                "finish_legs",
            ),
            "money/forwards.py": ("is_stale",),
            "money/forwards_crud.py": ("payouts_with_stale", "void"),
            "money/ending.py": (),
            "money/resizing_crud.py": (),
            "crud.py": (
                "claim_settlement_for_processing",
                "set_settlement_status",
                "write_plan",
                "add_debits",
                "refresh_settlements",
                "overdue_dispenses",
            ),
            "desk/repairs_crud.py": (
                "_change_open",
                "void_legs",
                "make_due",
                "mark_paid",
                "set_refund_target",
                "resize",
                "change_settlement",
                "add_retained",
            ),
        },
        (
            "money/test_money.py",
            "money/test_payouts.py",
            "desk/test_repairs.py",
            "money/test_forwards.py",
            "money/test_known_failures_paying.py",
            "money/test_known_failures_killed.py",
            "money/test_leg_states.py",
        ),
        needs_server=True,
    ),
)


@dataclass
class Tests:
    """What the unchanged code's run told: who calls what, and how long it takes."""

    seconds: dict[int, float] = field(default_factory=dict)
    callers: dict[str, list[int]] = field(default_factory=dict)
    kills: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


def code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_objects(constant)


class Mutation:
    """A plugin of pytest: instead of the collected tests, runs them per mutant."""

    def __init__(self, group: Group, mutants: Sequence[Mutant]) -> None:
        self.group = group
        self.mutants = mutants
        self.tests = Tests()
        self.survivors: list[Mutant] = []
        self.killed: Counter[str] = Counter()
        self.functions: dict[str, list[FunctionType]] = defaultdict(list)

    # -- pytest's hook

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("the tests do not even import")
        for found in gc.get_objects():
            if isinstance(found, FunctionType) and (
                file_name(Path(found.__code__.co_filename)) in self.group.files
            ):
                self.functions[place(found.__code__)].append(found)
        self._run_unchanged(session)
        for number, mutant in enumerate(self.mutants, 1):
            verdict = self._try(session, mutant)
            if verdict == "survived":
                self.survivors.append(mutant)
            else:
                self.killed[mutant.file] += 1
            mark = {"killed": ".", "hung": "h"}.get(verdict, "S")
            end = "\n" if number % 80 == 0 or mark == "S" else ""
            told = f"S {mutant.line} {mutant.name}" if mark == "S" else mark
            print(told, end=end, flush=True)
        print(flush=True)
        return True

    def _run_unchanged(self, session: pytest.Session) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            result = self._observed(session)
            with os.fdopen(writer, "w") as pipe:
                json.dump(result, pipe)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        seconds, callers, failed = json.loads(said)
        if failed:
            raise session.Interrupted(f"fails without any mutant: {failed}")
        self.tests.seconds = {int(i): s for i, s in seconds.items()}
        self.tests.callers = callers
        total = sum(self.tests.seconds.values())
        print(f"{len(session.items)} tests, {total:.0f} s", flush=True)

    def _observed(self, session: pytest.Session) -> tuple[Any, Any, list[str]]:
        seconds: dict[int, float] = {}
        callers: dict[str, list[int]] = defaultdict(list)
        failed: list[str] = []
        now = -1

        def note(key: str) -> None:
            if now not in callers[key]:
                callers[key].append(now)

        for name in self.group.files:
            module = sys.modules[_module(name)]
            vars(module)[CALLED] = note
            self._exchange(observed(ROOT / name))
        _silence()
        self._fresh_data()
        for now, item in enumerate(session.items):
            start, before = time.monotonic(), session.testsfailed
            _run_test(item)
            seconds[now] = time.monotonic() - start
            if session.testsfailed > before:
                failed.append(item.nodeid)
        return seconds, callers, failed

    # -- one mutant

    def _try(self, session: pytest.Session, mutant: Mutant) -> str:
        chosen = self._tests_for(mutant)
        if not chosen:
            return "survived"
        normal = sum(self.tests.seconds[i] for i in chosen)
        allowed = PATIENCE_SECONDS + 3 * normal
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            os.write(writer, str(self._killer(session, mutant, chosen)).encode())
            os._exit(0)
        os.close(writer)
        verdict = self._wait(child, allowed)
        with os.fdopen(reader) as pipe:
            said = pipe.read()
        if verdict == "hung" or not said:  # killed by us, or dead by itself
            return "hung"
        if said == "None":
            return "survived"
        self.tests.kills[mutant.function][int(said)] += 1
        return "killed"

    def _wait(self, child: int, seconds: float) -> str:
        deadline = time.monotonic() + seconds
        pause = 0.01
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "hung"
            time.sleep(pause)
            pause = min(pause * 2, 0.2)
        return "ended"

    def _tests_for(self, mutant: Mutant) -> list[int]:
        """Those that reach what is changed: first what killed its likes, then quick."""
        if mutant.is_constant:
            chosen = set(self.tests.seconds)
        else:
            key = f"{mutant.file}:{mutant.first_line}:"
            chosen = {
                i
                for caller, tests in self.tests.callers.items()
                if caller.startswith(key)
                for i in tests
            }
        kills = self.tests.kills[mutant.function]
        return sorted(chosen, key=lambda i: (-kills[i], self.tests.seconds[i]))

    def _killer(
        self, session: pytest.Session, mutant: Mutant, chosen: Sequence[int]
    ) -> int | None:
        """In the fork: the number of the test that noticed."""
        _silence()
        self._fresh_data()
        self._apply(mutant)
        for i in chosen:
            _run_test(session.items[i])
            if session.testsfailed:
                return i
        return None

    def _apply(self, mutant: Mutant) -> None:
        if mutant.is_constant:
            module = sys.modules[_module(mutant.file)]
            old = getattr(module, mutant.function)
            new = eval(_code(mutant), vars(module))  # noqa: S307 (our own source)
            for name, other in list(sys.modules.items()):
                if name.partition(".")[0] != EXTENSION_ID:
                    continue
                if vars(other).get(mutant.function) is old:
                    setattr(other, mutant.function, new)
            return
        self._exchange(_code(mutant))

    def _exchange(self, module: CodeType) -> None:
        for code in code_objects(module):
            for function in self.functions.get(place(code), ()):
                function.__code__ = code

    def _fresh_data(self) -> None:
        """No fork finds what another left in LNbits' data folder."""
        environment = sys.modules["environment"]
        data = environment.FOLDER / "data"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()


def _code(mutant: Mutant) -> CodeType:
    if mutant.code is None:
        raise ValueError(f"{mutant.name} was not compiled.")
    return mutant.code


def _module(file: str) -> str:
    return f"{EXTENSION_ID}.{file.removesuffix('.py')}"


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _run_test(item: pytest.Item) -> None:
    # with the session in the place of a next test, only its fixtures stay
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=item.session)


# --- which, and what came of it -----------------------------------------------------


def judged() -> dict[str, str]:
    """name of a mutant -> why it may live, from the tables of `docs/mutation.md`."""
    rows = re.findall(r"^\| (\w+\.py) \| (\S+) \| (.+) \| (.+) \|$", _text(), re.M)
    return {
        f"{file} {function}: {change}".replace(r"\|", "|"): why
        for file, function, change, why in rows
    }


def _text() -> str:
    return JUDGED.read_text() if JUDGED.exists() else ""


def row(mutant: Mutant, why: str = "") -> str:
    change = mutant.change.replace("|", r"\|")
    return f"| {mutant.file} | {mutant.function} | {change} | {why} |"


def mutants_in(
    group: Group, only: Sequence[str] = (), *, only_names: bool = False
) -> list[Mutant]:
    found = []
    for name, functions in group.files.items():
        for mutant in mutants_of(ROOT / name, only_names=only_names):
            asked = (name, f"{name}:{mutant.function}")
            if (not functions or mutant.function in functions) and (
                not only or any(one in only for one in asked)
            ):
                found.append(mutant)
    return found


def run_group(number: int, only: Sequence[str], every: int) -> Mutation | None:
    group = GROUPS[number]
    mutants = mutants_in(group, only)
    if group.needs_server:
        mutants = mutants[::every]
    if not mutants:
        return None
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
    )
    hypothesis.settings.load_profile("mutation")
    run = Mutation(group, mutants)
    tests = [str(ROOT / "tests" / name) for name in group.tests]
    config = str(ROOT / "tests" / "pytest.ini")
    arguments = ["-c", config, *tests, "-q", "-s", "-p", "no:cacheprovider"]
    if pytest.main(arguments, plugins=[run]) not in (0, 5):
        sys.exit("The tests must pass before they can be tested.")
    return run


def report(run: Mutation) -> bool:
    """Prints what was found; whether every survivor has been judged."""
    known = judged()
    alive = Counter(mutant.file for mutant in run.survivors)
    for name in dict.fromkeys(mutant.file for mutant in run.mutants):
        total = run.killed[name] + alive[name]
        print(
            f"{name}: {total} mutants, {run.killed[name]} killed, "
            f"{alive[name]} survived"
        )
    new = [mutant for mutant in run.survivors if mutant.name not in known]
    print("Survivors that nobody has judged yet:")
    print("\n".join(row(mutant) for mutant in new) or "none", flush=True)
    return not new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="file.py or file.py:function")
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--group", type=int, help="0: pure, 1: with a server")
    asked = parser.parse_args()
    if asked.group is None:
        # LNbits and pytest start once in a process
        command = [sys.executable, "-m", "dev.mutation", *sys.argv[1:], "--group"]
        codes = [
            subprocess.run([*command, str(n)], cwd=ROOT).returncode  # noqa: S603
            for n in range(len(GROUPS))
        ]
        sys.exit(max(codes))
    os.environ.setdefault("SATMACHINE_TEST_DB", "sqlite")
    start = time.monotonic()
    run = run_group(asked.group, asked.only, asked.every)
    if run is None:
        return
    is_judged = report(run)
    print(f"{time.monotonic() - start:.0f} s", flush=True)
    sys.exit(0 if is_judged else 1)


if __name__ == "__main__":
    main()
