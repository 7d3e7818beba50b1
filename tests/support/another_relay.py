"""`nostr-relay`, a relay program in Python by another author, with login and limits.

It is not nostr-sdk's relay and shares no code with it: it wants a login (NIP-42) of
whoever reads, says nothing when it takes one, refuses in a NOTICE that names no
subscription, and takes so many subscriptions of a connection and no more.

It is installed by pip into .cache/another-relay, once, in the versions that
tests/line/interop/relay-requirements.txt pins, because it needs a pydantic and an
SQLAlchemy that LNbits cannot use.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from conftest import wait_for
from dev.installation import ROOT

WANTED = ROOT / "tests" / "line" / "interop" / "relay-requirements.txt"
INSTALLED = ROOT / ".cache" / "another-relay"
READER = "r"

CONFIG = """
DEBUG: false
relay_name: another
storage:
  sqlalchemy.url: sqlite+aiosqlite:///{folder}/relay.sqlite3
  validators:
    - nostr_relay.validators.is_signed
gunicorn:
  bind: 127.0.0.1:{port}
  loglevel: warning
authentication:
  enabled: true
  relay_urls:
    - ws://127.0.0.1:{port}
  actions:
    save: a
    query: {READER}
subscription_limit: {most}
"""


def installed() -> Path:
    """The folder with the relay; skips the test where the index cannot be reached."""
    INSTALLED.parent.mkdir(parents=True, exist_ok=True)
    stamp = INSTALLED / "installed.txt"
    with (INSTALLED.parent / "another-relay.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another database's tests may want it too
        if not stamp.exists() or stamp.read_bytes() != WANTED.read_bytes():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--upgrade"]
            command += ["--target", str(INSTALLED), "-r", str(WANTED)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if done.returncode:
                pytest.skip(f"nostr-relay is not to be had: {done.stderr[-200:]}")
            stamp.write_bytes(WANTED.read_bytes())
    return INSTALLED


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class AnotherRelay:
    """One relay process, which can be stopped and started under the same address."""

    def __init__(self, folder: Path, *, most_subscriptions: int) -> None:
        self.folder = folder
        port = _free_port()
        self.url = f"ws://127.0.0.1:{port}"
        text = CONFIG.format(
            folder=folder,
            port=port,
            most=most_subscriptions,
            READER=READER,
        )
        (folder / "relay.yaml").write_text(text, encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    async def _command(self, *args: str) -> subprocess.Popen[bytes]:
        """The relay's own command."""
        there = await asyncio.to_thread(installed)
        code = "from nostr_relay.cli import main; main()"
        with (self.folder / "relay.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code, "-c", "relay.yaml", *args],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(there)},
                stdout=log,
                stderr=log,
            )

    async def start(self) -> None:
        self._process = await self._command("serve", "--use-uvicorn")
        await wait_for(self._is_up, timeout_seconds=60)

    async def _is_up(self) -> bool:
        with contextlib.suppress(OSError, WebSocketException):
            async with connect(self.url):
                return True
        return False

    def stop(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()

    async def may_read(self, pubkey: str) -> None:
        """The relay's owner lets a key read."""
        command = await self._command("role", "set", "-p", pubkey, "-r", READER)
        assert await asyncio.to_thread(command.wait, 60) == 0

    async def publish(self, event_json: str) -> None:
        async with connect(self.url) as connection:
            await connection.send(f'["EVENT",{event_json}]')
            while True:
                said = json.loads(await asyncio.wait_for(connection.recv(), 10))
                if said[0] == "OK":
                    assert said[2], said
                    return
