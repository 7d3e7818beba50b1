"""Runs every test on SQLite and on PostgreSQL, both at the same time: `make test`.

    python -m dev.tests                   everything
    python -m dev.tests -k crash -x       what follows goes to pytest
    python -m dev.tests --db postgres     one database
    python -m dev.tests --workers 1       processes for each database (default 3)
    python -m dev.tests --quick           what needs no LNbits, on SQLite: `make quick`

Most of a test's time is waiting: for a server that starts, a lease that ends, a page
that loads. So each database's tests are spread over a few processes, every one of them
with an LNbits, and a PostgreSQL, of its own.

What failed is run once more by itself, alone on the machine: real servers, browsers and
kills depend on the machine's moment. What fails twice fails the run; what needed its
second try is listed at the end, with why, and is a fault to be mended.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".cache" / "tests"
TESTS = ROOT / "tests"
PYTEST = (sys.executable, "-m", "pytest", "-c", str(TESTS / "pytest.ini"), str(TESTS))
DATABASES = ("sqlite", "postgres")
STILL_SECONDS = 30
GOODBYE_SECONDS = 60
# Where the time goes, at the end of each log.
SLOWEST = ("--durations=40", "--durations-min=5")
# The longest begin first: not the largest group.
IN_ORDER = ("--no-loadscope-reorder",)
# pytest's exit codes
TESTS_FAILED, NO_TESTS = 1, 5


@dataclass
class Run:
    """The tests on one database, under way or finished."""

    database: str
    workers: int
    arguments: list[str]

    @property
    def log(self) -> Path:
        return LOGS / f"{self.database}.log"

    @property
    def cache(self) -> Path:
        return ROOT / ".pytest_cache" / self.database

    def command(self, *more: str) -> list[str]:
        caching = ("-o", f"cache_dir={self.cache}")
        return [*PYTEST, *caching, *SLOWEST, *self.arguments, *more]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SATMACHINE_TEST_DB": self.database}

    def start(self) -> subprocess.Popen[bytes]:
        # What failed in an earlier run must not stand for what fails in this one.
        shutil.rmtree(self.cache, ignore_errors=True)
        spread = ("-n", str(self.workers), "--dist", "loadscope", *IN_ORDER)
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 (our own command, no shell)
                self.command(*(spread if self.workers > 1 else ())),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def again(self) -> int:
        """What failed, by itself; its exit code."""
        print(f"\nOnce more, what failed on {self.database}, by itself:", flush=True)
        return subprocess.run(  # noqa: S603
            self.command("--last-failed", "--last-failed-no-failures", "none"),
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            check=False,
        ).returncode

    def failed(self) -> list[str]:
        """What failed at the first try, each with pytest's reason."""
        found = self.cache / "v" / "cache" / "lastfailed"
        if not found.exists():
            return []
        log = self.log.read_text(errors="replace")
        reasons = dict(re.findall(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?$", log, re.M))
        return [f"{n}: {reasons.get(n) or '?'}" for n in json.loads(found.read_text())]

    def last_line(self) -> str:
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line[-80:] for line in reversed(lines) if line.strip()), "")


def run(databases: list[str], workers: int, arguments: list[str]) -> int:
    """Exit code: 0 if every test passed, at the second try at the latest."""
    LOGS.mkdir(parents=True, exist_ok=True)
    runs = [Run(name, workers, arguments) for name in databases]
    begun = time.monotonic()
    under_way = {one.database: one.start() for one in runs}
    try:
        _wait(runs, under_way, begun)
    except BaseException:
        _end(under_way.values())
        raise
    for one in runs:
        print(f"\n===== {one.database} =====\n{one.log.read_text(errors='replace')}")
    print(f"It took {time.monotonic() - begun:.0f} s.", flush=True)
    codes = {one.database: under_way[one.database].returncode for one in runs}
    if set(codes.values()) == {NO_TESTS}:
        return NO_TESTS
    again: list[str] = []
    for one in runs:
        if codes[one.database] == TESTS_FAILED:
            again += [f"{one.database} {name}" for name in one.failed()]
            codes[one.database] = one.again()
        elif codes[one.database] == NO_TESTS:
            codes[one.database] = 0  # what `-k` named is a test of the other database
    print(f"\nSecond tries: {len(again)}", *again, sep="\n  ", flush=True)
    return max(codes.values(), key=abs)


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Asks pytest to end, as Ctrl-C does, and waits: it stops its servers and its
    PostgreSQL, which outlive a pytest that is killed."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _told_to_end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _wait(
    runs: list[Run], under_way: dict[str, subprocess.Popen[bytes]], begun: float
) -> None:
    said = begun
    while any(process.poll() is None for process in under_way.values()):
        time.sleep(0.5)
        if time.monotonic() - said >= STILL_SECONDS:
            said = time.monotonic()
            for one in runs:
                print(f"{said - begun:5.0f} s {one.database}: {one.last_line()}")
            sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dev.tests", description=__doc__)
    parser.add_argument("--db", choices=DATABASES)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    chosen, arguments = parser.parse_known_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _told_to_end)
    # a shell starts what runs in the background deaf to it, and pytest is asked with it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if chosen.quick:
        return run(["sqlite"], 2, ["--quick", *arguments])
    databases = [chosen.db] if chosen.db else list(DATABASES)
    return run(databases, max(1, chosen.workers), arguments)


if __name__ == "__main__":
    sys.exit(main())
