"""The databases of a server process, read from outside it, while it runs or not.

For tests that kill servers: what they assert must not depend on the code they
killed. `query` sees LNbits' tables and ours (``satoshimachine.``) at once, in SQL
that SQLite and PostgreSQL both know.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import environment
from dev.postgres import Postgres
from dev.server import Server

CHECK_LEDGER = Path(__file__).resolve().parent / "check_ledger.py"


class Books:
    def __init__(self, server: Server, postgres: Postgres | None = None) -> None:
        """`postgres` is the server of the databases; None is that of the tests."""
        self.folder = server.folder
        self.database_url = server.database_url
        self.postgres = postgres or environment.POSTGRES

    @property
    def database(self) -> str:
        """The name of LNbits' PostgreSQL database."""
        return urlparse(self.database_url or "").path.strip("/")

    def _sqlite(self) -> sqlite3.Connection:
        data = self.folder / "data"
        connection = sqlite3.connect(data / "database.sqlite3", timeout=30)
        connection.row_factory = sqlite3.Row
        extension = str(data / "ext_satoshimachine.sqlite3")
        connection.execute("ATTACH ? AS satoshimachine", (extension,))
        return connection

    def _psql(self, sql: str) -> str:
        assert self.postgres and self.database_url
        return self.postgres.psql(sql, self.database)

    def query(self, sql: str) -> list[dict[str, Any]]:
        if self.database_url:
            rows = self._psql(f"SELECT COALESCE(json_agg(t), '[]') FROM ({sql}) t")
            return list(json.loads(rows))
        with closing(self._sqlite()) as connection:
            return [dict(row) for row in connection.execute(sql)]

    def number(self, sql: str) -> int:
        """The one number that a query gives; 0 for NULL."""
        (row,) = self.query(sql)
        (value,) = row.values()
        return int(value or 0)

    def execute(self, sql: str) -> None:
        if self.database_url:
            self._psql(sql)
            return
        with closing(self._sqlite()) as connection:
            connection.execute(sql)
            connection.commit()

    def balance_sats(self, wallet_id: str) -> int:
        """What LNbits owes the owner of a wallet, by LNbits' own rule."""
        balance_msat = self.number(
            "SELECT SUM(amount - ABS(fee)) AS msat FROM apipayments "
            f"WHERE wallet_id = '{wallet_id}' AND ((status = 'success' AND amount > 0) "
            "OR (status IN ('success', 'pending') AND amount < 0))"
        )
        return balance_msat // 1000

    def end_lease(self) -> None:
        """Stands for the minute after which a dead engine's lease runs out."""
        self.execute("UPDATE satoshimachine.dca_lease SET expires_epoch = 0")

    def assert_ledger_balances(self) -> None:
        """``ledger.assert_ledger_balances`` on this server's databases.

        In a process of its own: LNbits is bound to the database it was imported on.
        """
        done = subprocess.run(
            [
                *(sys.executable, str(CHECK_LEDGER), str(self.folder)),
                *([self.database_url] if self.database_url else []),
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
