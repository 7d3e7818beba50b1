"""What a balance costs in your LNbits, and would cost with the change of docs/host.md.

    python3 bench/host_copy.py data/database.sqlite3

Works on a copy that it makes beside nobody's way and throws away: your database is only
read, LNbits may run on. Python alone is enough. SQLite; docs/host.md has the SQL for a
copy on PostgreSQL.
"""

from __future__ import annotations

import runpy
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
# The very texts that are applied: no import, since the package needs LNbits.
VIEW = runpy.run_path(str(ROOT / "host/balances_view.py"))
READINGS = 3


def measure(copy: sqlite3.Connection) -> list[str]:
    """The lines of the report; `ValueError` if LNbits' view is not one that we know."""
    (text,) = copy.execute(
        "SELECT sql FROM sqlite_master WHERE type = 'view' AND name = 'balances'"
    ).fetchone() or ("",)
    normalised = VIEW["normalised"]
    if normalised(text) not in map(normalised, (VIEW["STOCK_VIEW"], VIEW["OUR_VIEW"])):
        raise ValueError("This LNbits is new to us: its view of balances is unknown.")
    _make(copy, VIEW["DROP_INDEX"], VIEW["DROP_VIEW"], VIEW["STOCK_VIEW"])
    (count,) = copy.execute("SELECT COUNT(*) FROM apipayments").fetchone()
    wallets = _wallets(copy)
    before, pages = _balances(copy), _pages(copy)
    lines = [f"{count} payments", _line("as LNbits comes", copy, wallets)]
    begun = time.perf_counter()
    _make(copy, VIEW["CREATE_INDEX"])
    indexed = time.perf_counter() - begun
    lines.append(_line("with the index", copy, wallets))
    begun = time.perf_counter()
    _make(copy, VIEW["DROP_VIEW"], VIEW["OUR_VIEW"])
    is_same = _balances(copy) == before
    seconds = indexed + time.perf_counter() - begun
    lines.append(_line("with index and view", copy, wallets))
    grown = (_pages(copy) - pages) / 1e6
    lines.append(f"made in {seconds:.1f} s; the file grew by {grown:.1f} MB")
    said = "every balance is the same" if is_same else "BALANCES DIFFER: do not do it"
    return [*lines, f"{len(before)} wallets with a balance: {said}"]


def _make(copy: sqlite3.Connection, *statements: str) -> None:
    for statement in statements:
        copy.execute(statement)
    copy.commit()


def _wallets(copy: sqlite3.Connection) -> dict[str, str]:
    """A wallet with few payments and the one with the most."""
    found = {}
    for name, order in (("idle", "ASC"), ("busiest", "DESC")):
        row = copy.execute(f"""
            SELECT w.id FROM wallets w LEFT JOIN apipayments p ON p.wallet_id = w.id
            WHERE w.deleted = false OR w.deleted IS NULL
            GROUP BY w.id ORDER BY COUNT(p.amount) {order}, w.id LIMIT 1
            """).fetchone()  # noqa: S608
        if row:
            found[name] = row[0]
    return found


def _line(name: str, copy: sqlite3.Connection, wallets: dict[str, str]) -> str:
    costs = ", ".join(f"{w} {_cost(copy, wallets[w]):.2f} ms" for w in wallets)
    return f"one balance {name}: {costs}"


def _cost(copy: sqlite3.Connection, wallet_id: str) -> float:
    readings = []
    for _ in range(READINGS):
        begun = time.perf_counter()
        copy.execute(
            "SELECT balance FROM balances WHERE wallet_id = ?", (wallet_id,)
        ).fetchall()
        readings.append((time.perf_counter() - begun) * 1000)
    return median(readings)


def _balances(copy: sqlite3.Connection) -> dict[str, int]:
    rows = copy.execute("SELECT wallet_id, balance FROM balances")
    return {wallet_id: balance for wallet_id, balance in rows if balance}


def _pages(copy: sqlite3.Connection) -> int:
    """Bytes of the database."""
    (pages,) = copy.execute("PRAGMA page_count").fetchone()
    (size,) = copy.execute("PRAGMA page_size").fetchone()
    return pages * size


def main(path: str) -> int:
    if not Path(path).is_file():
        print(f"There is no file {path}.")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        with (
            closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(Path(folder) / "copy.sqlite3")) as copy,
        ):
            source.backup(copy)
            try:
                lines = measure(copy)
            except ValueError as problem:
                print(problem)
                return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
