"""Measures on SQLite and PostgreSQL, one process each, and prints ratios first.

    python -m bench              all rows on both databases
    python -m bench burst year   some rows
    python -m bench --db sqlite  one database

Every comparison is made in one run on one machine, the rivals taking turns. What a row
compares is said in its line; a figure without a rival is only for reading.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = (
    "one",
    "burst",
    "calls",
    "year",
    "history",
    "flood",
    "host",
    "processes",
    "insight",
    "pages",
    "start",
    "idle",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="default: all")
    parser.add_argument("--db", choices=("sqlite", "postgres"))
    chosen = parser.parse_args()
    databases = [chosen.db] if chosen.db else ["sqlite", "postgres"]
    worst = 0
    for database in databases:
        for row in chosen.rows or ROWS:
            module = ["bench.pages"] if row == "pages" else ["bench.measure", row]
            done = subprocess.run(  # noqa: S603 (our own module, no shell)
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env={**os.environ, "SATMACHINE_TEST_DB": database},
                check=False,
            )
            worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
