"""One row of the bench on one database: `python -m bench.measure one`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from bench.stage import Stage, booted

# isort: split
from lnbits.settings import settings

from bench import (
    calls,
    flood,
    history,
    host,
    idle,
    insight,
    payments,
    processes,
    start,
    year,
)

ROWS: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "one": payments.one_settlement,
    "burst": payments.burst,
    "calls": calls.measure,
    "year": year.measure,
    "history": history.measure,
    "flood": flood.measure,
    "host": host.measure,
    "insight": insight.measure,
}

# Rows that start servers of their own.
SERVERS: dict[str, Callable[[], Awaitable[None]]] = {
    "processes": processes.measure,
    "start": start.measure,
    "idle": idle.measure,
}


async def main(row: str) -> None:
    if row in SERVERS:
        await SERVERS[row]()
        return
    settings.lnbits_rate_limit_no = 1_000_000
    async with booted() as scene:
        await ROWS[row](scene)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
