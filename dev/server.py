"""A real LNbits server process, for `make run`, tests, torture and benches.

    server = start(folder)
    await server.ready()
    ... httpx.AsyncClient(base_url=server.url) ...
    server.kill9()          # as the kernel does it: no goodbye
    server.freeze()         # and .thaw(): it sleeps, and knows nothing of it
    server = server.again() # same folder, same port, same settings
    await server.stop()     # as an administrator does it

Two servers may share a folder when they share a PostgreSQL database (`database_url`).
Guaranteed: every server started here is killed when this process exits.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from .installation import environment, lay_out

HOST = "127.0.0.1"
SERVE = Path(__file__).resolve().parent / "serve.py"


class ServerFailedError(RuntimeError):
    """The process ended before it answered; carries the end of its log."""


@dataclass
class Server:
    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    database_url: str | None = None
    with_extension: bool = True
    domain: str = HOST
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    async def ready(self, timeout_seconds: float = 300) -> Server:
        """Returns once LNbits answers.

        Raises ServerFailedError when it ends first, or does not answer in time.
        """
        deadline = time.monotonic() + timeout_seconds
        async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
            while True:
                if self.process.poll() is not None:
                    raise ServerFailedError(
                        f"LNbits ended with {self.process.returncode}, see {self.log}:"
                        f"\n{self.log_tail()}"
                    )
                try:
                    # Served by LNbits even before its first login is made.
                    response = await client.get("/api/v1/health")
                    if response.status_code in (200, 307):
                        return self
                except httpx.TransportError:
                    pass
                if time.monotonic() > deadline:
                    raise ServerFailedError(
                        f"LNbits did not answer within {timeout_seconds} s, see "
                        f"{self.log}:\n{self.log_tail()}"
                    )
                await asyncio.sleep(0.05)

    def kill9(self) -> None:
        """SIGKILL: whatever was under way is cut off at that instruction."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        _running.discard(self.process)

    def freeze(self) -> None:
        """SIGSTOP: it stands still, as under a hypervisor that pauses it."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on in the middle of what it was doing."""
        self.process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when it has not ended 15 s later."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self.process.wait, 15)
            except subprocess.TimeoutExpired:
                pass
        self.kill9()

    def again(self) -> Server:
        """The same server, started anew after it was stopped or killed."""
        return start(
            self.folder,
            database_url=self.database_url,
            port=self.port,
            with_extension=self.with_extension,
            domain=self.domain,
            env=self.env,
        )


_running: set[subprocess.Popen[bytes]] = set()


@atexit.register
def _kill_all() -> None:
    for process in _running:
        process.kill()
    for process in _running:
        process.wait()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def start(
    folder: Path,
    *,
    database_url: str | None = None,
    port: int = 0,
    with_extension: bool = True,
    domain: str = HOST,
    env: Mapping[str, str] | None = None,
) -> Server:
    """Starts LNbits in a run folder, which is made unless it exists.

    SQLite in ``folder/data`` unless a `database_url` is given; a free port unless
    `port` is. `domain` is what LNbits takes for its own in Lightning addresses.
    `env` overrides LNbits' settings. Does not wait: see ``ready``.
    """
    lay_out(folder, with_extension=with_extension)
    port = port or free_port()
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LNBITS_", "PYTEST_"))
    }
    variables.update(environment(folder, database_url))
    variables.update({"HOST": HOST, "PORT": str(port)})
    variables.update({"LNBITS_BASEURL": f"http://{domain}:{port}/"})
    variables.update(env or {})
    log = folder / f"server-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 (our own script, no shell)
            [sys.executable, str(SERVE), HOST, str(port)],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C in a terminal is for us, and we stop the server in good order.
            start_new_session=True,
        )
    _running.add(process)
    return Server(
        folder, port, process, log, database_url, with_extension, domain, env or {}
    )


@asynccontextmanager
async def running(
    folder: Path,
    *,
    database_url: str | None = None,
    domain: str = HOST,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Server]:
    """A server for the length of a block, ready when the block begins."""
    server = start(folder, database_url=database_url, domain=domain, env=env)
    try:
        yield await server.ready()
    finally:
        await server.stop()
