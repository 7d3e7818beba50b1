"""What LNbits needs longer, and larger, to start with us: `python -m bench start`.

Stock and with us take turns, each on a database that has been started once before, so
that no migration is timed. Processor time and memory are the process's own, of Linux'
/proc, read when LNbits and, with us, our own health have answered.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.figures import say

# isort: split
import httpx

import environment
from conftest import wait_for
from dev.server import Server, start

TURNS = int(os.environ.get("SATMACHINE_BENCH_STARTS", "5"))
OUR_HEALTH = "/satmachineadmin/api/v1/health/live"
MIB = 1024 * 1024


def processor_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2]
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mib(server: Server) -> float:
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / MIB


async def once(make: Callable[[], Server]) -> tuple[float, float]:
    """Processor seconds until usable, and MiB then."""
    server = make()
    try:
        await server.ready()
        if server.with_extension:
            async with httpx.AsyncClient(base_url=server.url) as client:

                async def is_ours() -> bool:
                    return (await client.get(OUR_HEALTH)).status_code != 404

                await wait_for(is_ours, 60)
        return processor_seconds(server), resident_mib(server)
    finally:
        await server.stop()


async def measure() -> None:
    folder = Path(tempfile.mkdtemp(prefix="smb-"))
    rivals: dict[bool, Callable[[], Server]] = {}
    for with_us in (False, True):
        made = start(
            folder / ("with" if with_us else "stock"),
            database_url=environment.new_database(),
            with_extension=with_us,
        )
        await made.ready()
        await made.stop()
        rivals[with_us] = made.again
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(TURNS):
        for with_us, make in rivals.items():
            found[with_us].append(await once(make))
    stock_s, ours_s = (median(s for s, _ in found[one]) for one in (False, True))
    stock_mib, ours_mib = (median(m for _, m in found[one]) for one in (False, True))
    say(
        f"starting LNbits: {ours_s - stock_s:+.1f} s of processor time with us "
        f"({stock_s:.1f} s to {ours_s:.1f} s, {ours_s / stock_s:.2f} x), "
        f"{ours_mib - stock_mib:+.0f} MiB ({stock_mib:.0f} to {ours_mib:.0f}), "
        f"medians of {TURNS}"
    )
