"""The command that measures the change on a copy: what it says, and of what."""

from __future__ import annotations

import hashlib
import runpy
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMAND = ROOT / "bench/host_copy.py"
VIEW = runpy.run_path(str(ROOT / "host/balances_view.py"))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "database.sqlite3"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE wallets (id TEXT, deleted BOOLEAN)")
        made.execute(
            "CREATE TABLE apipayments (wallet_id TEXT, status TEXT, amount INT, "
            "fee INT)"
        )
        made.execute(VIEW["STOCK_VIEW"])
        made.execute("INSERT INTO wallets VALUES ('a', false), ('b', NULL), ('c', 1)")
        made.execute("INSERT INTO apipayments VALUES ('b', 'success', 7, -1)")
        made.execute("INSERT INTO apipayments VALUES ('c', 'success', 9, 0)")
    made.close()
    return path


def run(path: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-S", str(COMMAND), str(path)],  # -S: Python and nothing else
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not ended.stderr, ended.stderr
    return ended.returncode, ended.stdout


def test_the_database_is_only_read(database: Path) -> None:
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    code, said = run(database)
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == "2 payments"
    assert [line.partition(":")[0] for line in lines[1:4]] == [
        "one balance as LNbits comes",
        "one balance with the index",
        "one balance with index and view",
    ]
    assert lines[-1] == "1 wallets with a balance: every balance is the same"
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before
    assert [p.name for p in database.parent.iterdir()] == [database.name]


def test_a_view_that_we_do_not_know(database: Path) -> None:
    with sqlite3.connect(database) as changed:
        changed.execute("DROP VIEW balances")
        changed.execute("CREATE VIEW balances AS SELECT 'a' AS wallet_id, 1 AS balance")
    changed.close()
    code, said = run(database)
    assert code == 1 and said.startswith("This LNbits is new to us")
