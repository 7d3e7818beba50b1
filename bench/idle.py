"""What rest costs: `python -m bench idle`. One LNbits alone, with us, and two with us.

Real servers with nobody at them, for SATMACHINE_BENCH_IDLE minutes each (10). Counted
by the kernel: processor time and context switches of the process, and with `strace`,
where it is installed, how often it asked for a disk. And by the database: on SQLite the
commits of our file and of LNbits', by their counters; on PostgreSQL transactions that
wrote. Statements, those of each connection that LNbits opens too, by `dev/serve.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.figures import say
from bench.stage import DATABASE
from bench.start import OUR_HEALTH, processor_seconds

# isort: split
import httpx
from outside_view import Books

import environment
from conftest import wait_for
from dev.server import Server, start

MINUTES = float(os.environ.get("SATMACHINE_BENCH_IDLE", "10"))
# it has started, and what it begins with is over
SETTLED_SECONDS = float(os.environ.get("SATMACHINE_BENCH_SETTLED", "240"))
TRACED_MINUTES = MINUTES / 2
FILES = {"ours": "ext_satoshimachine.sqlite3", "LNbits'": "database.sqlite3"}


@dataclass
class Reading:
    seconds: float
    switches: int
    statements: int
    commits: dict[str, int]


def _switches(server: Server) -> int:
    """Of all its threads: those of a database driver are most of them."""
    found = 0
    for status in Path(f"/proc/{server.pid}/task").glob("*/status"):
        found += sum(map(int, re.findall(r"ctxt_switches:\t(\d+)", status.read_text())))
    return found


async def _statements(server: Server) -> int:
    """`dev/serve.py` writes the count when it is told to."""
    path = server.folder / f"statements-{server.port}"
    path.unlink(missing_ok=True)
    server.process.send_signal(signal.SIGUSR1)
    await wait_for(lambda: path.exists() and path.read_text(), 60)
    return int(path.read_text())


def _commits(server: Server) -> dict[str, int]:
    if DATABASE == "postgres":
        writes = "SELECT txid_snapshot_xmax(txid_current_snapshot()) AS n"
        return {"of all": Books(server).number(writes)}
    found = {}
    for name, file in FILES.items():
        path = server.folder / "data" / file
        header = path.read_bytes()[24:28] if path.exists() else b""
        found[name] = int.from_bytes(header, "big")
    return found


async def read(server: Server) -> Reading:
    return Reading(
        processor_seconds(server),
        _switches(server),
        await _statements(server),
        _commits(server),
    )


def _syncs(stack: ExitStack, servers: Sequence[Server]) -> Path | None:
    if not shutil.which("strace"):
        return None
    log = Path(tempfile.mkdtemp(prefix="smb-")) / "strace"
    for server in servers:
        tracer = subprocess.Popen(  # noqa: S603 (no shell)
            [
                *("strace", "-f", "-qq", "-e", "trace=fsync,fdatasync"),
                *("-o", f"{log}-{server.port}", "-p", str(server.pid)),
            ]
        )
        stack.callback(tracer.wait)
        stack.callback(tracer.terminate)
    return log


async def watched(name: str, servers: Sequence[Server]) -> None:
    await asyncio.sleep(SETTLED_SECONDS)
    before = [await read(server) for server in servers]
    await asyncio.sleep(MINUTES * 60)
    after = [await read(server) for server in servers]
    # a process that is traced stops at every call: not while it is measured
    with ExitStack() as stack:
        syncs = _syncs(stack, servers)
        await asyncio.sleep(TRACED_MINUTES * 60)
    for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
        commits = ", ".join(
            f"{(count - old.commits[which]) / MINUTES:.1f} {which}"
            for which, count in new.commits.items()
        )
        said = (
            f"{name}, process {number} of {len(servers)}, a minute: "
            f"{(new.statements - old.statements) / MINUTES:.1f} statements, "
            f"commits {commits}, "
            f"{(new.switches - old.switches) / MINUTES:.0f} context switches, "
            f"{(new.seconds - old.seconds) / MINUTES:.2f} s of processor time"
        )
        if syncs:
            traced = Path(f"{syncs}-{servers[number - 1].port}")
            count = len(re.findall(r"f(?:data)?sync\(", traced.read_text()))
            said += f", {count / TRACED_MINUTES:.1f} syncs"
        say(said)


async def _started(with_us: bool) -> Server:
    server = start(
        Path(tempfile.mkdtemp(prefix="smb-")) / "lnbits",
        database_url=environment.new_database(),
        with_extension=with_us,
        env={"SATMACHINE_COUNT_STATEMENTS": "1"},
    )
    await server.ready()
    if with_us:
        async with httpx.AsyncClient(base_url=server.url) as client:

            async def is_ours() -> bool:
                return (await client.get(OUR_HEALTH)).status_code != 404

            await wait_for(is_ours, 120)
    return server


async def measure() -> None:
    for with_us in (False, True):
        server = await _started(with_us)
        try:
            await watched("with us" if with_us else "LNbits alone", [server])
            if with_us:
                second = await replace(server, port=0).again().ready()
                try:
                    await watched("with us", [server, second])
                finally:
                    second.kill9()
        finally:
            await server.stop()
