"""One, two and four LNbits processes on one PostgreSQL.

Real servers behind one set of people: customers pay at every process at once, then
everybody looks at pages. The last row kills the process that pays, and waits until
another has paid what was landed meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from bench.figures import say
from bench.stage import DATABASE

# isort: split
import httpx
from outside_view import Books

import environment
from conftest import wait_for
from dev.accounts import answer, credit
from dev.demo import CUSTOMER_SATS, DOMAIN, FIAT, Demo, refill, set_up
from dev.http_machine import HttpMachine
from dev.prices import serve_prices
from dev.server import Server, start

COUNTS = (1, 2, 4)
AT_EACH = 4
SECONDS = float(os.environ.get("SATMACHINE_BENCH_SECONDS", "10"))
API = "/satmachineadmin/api/v1"
PAGES = ("/overview?days=30", "/settlements?limit=20", "/machines")
LANDED = "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements"
SETTINGS = {"LNBITS_RATE_LIMIT_NO": "1000000"}


async def measure() -> None:
    if DATABASE != "postgres":
        say("processes: SQLite has one process at a time")
        return
    folder = Path(tempfile.mkdtemp(prefix="smb-"))
    async with AsyncExitStack() as stack:
        chance = random.Random(7)  # noqa: S311 (prices of a bench)
        prices = await stack.enter_async_context(serve_prices(chance))
        servers = [
            start(
                folder,
                database_url=environment.new_database(),
                domain=DOMAIN,
                env=SETTINGS,
            )
        ]
        stack.callback(_kill, servers)
        await servers[0].ready()
        demo = await set_up(servers[0].url, prices)
        stack.push_async_callback(demo.aclose)
        books = Books(servers[0])
        rate = prices.sats_per_unit(FIAT)
        figures: dict[int, tuple[float, float]] = {}
        for count in COUNTS:
            while len(servers) < count:
                servers.append(await replace(servers[0], port=0).again().ready())
            figures[count] = await together(servers, demo, books, rate)
        for count in COUNTS[1:]:
            landings, pages = (
                figures[count][n] / figures[1][n] for n in range(len(figures[1]))
            )
            say(
                f"{count} processes on one PostgreSQL and {os.cpu_count()} cores: "
                f"landings {landings:.2f} x one, pages {pages:.2f} x one (wanted of "
                "two: 1.6)"
            )
        for count, (landings, pages) in figures.items():
            say(f"{count} process(es): {landings:.1f} landings/s, {pages:.1f} pages/s")
        await take_over(servers, demo, books, rate)


def _kill(servers: Sequence[Server]) -> None:
    for server in servers:
        server.kill9()


async def together(
    servers: Sequence[Server], demo: Demo, books: Books, rate: Decimal
) -> tuple[float, float]:
    """Landings and pages a second, of all these servers."""
    await refill(demo)
    for _ in range(2):  # LNbits mints ten million sats at a time at most
        await credit(demo.platform, demo.customer.id, 3 * CUSTOMER_SATS)
    headers = demo.people["operator"].headers
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url, timeout=60)
            )
            for server in servers
        ]
        machines = list(demo.machines.values())

        async def trade(client: httpx.AsyncClient, number: int) -> None:
            of = machines[number % len(machines)]
            machine = HttpMachine(client, of.wallet, of.quote, "twin")
            await machine.cash_out(demo.customer, {100: 1}, rate)

        async def look(client: httpx.AsyncClient, number: int) -> None:
            path = API + PAGES[number % len(PAGES)]
            (await client.get(path, headers=headers)).raise_for_status()

        before, started = books.number(LANDED), time.monotonic()
        await _keep_busy(clients, trade)
        landings = (books.number(LANDED) - before) / (time.monotonic() - started)
        await wait_for(lambda: books.number(f"{LANDED} WHERE planned_at IS NULL") == 0)
        started = time.monotonic()
        seen = await _keep_busy(clients, look)
        return landings, seen / (time.monotonic() - started)


async def _keep_busy(
    clients: Sequence[httpx.AsyncClient],
    act: Callable[[httpx.AsyncClient, int], Awaitable[None]],
) -> int:
    """How often the clients acted until the time was over, four of each at once."""
    until = time.monotonic() + SECONDS
    done = 0

    async def one(client: httpx.AsyncClient, number: int) -> None:
        nonlocal done
        while time.monotonic() < until:
            await act(client, number + done)
            done += 1

    await asyncio.gather(*(one(c, n) for c in clients for n in range(AT_EACH)))
    return done


async def take_over(
    servers: list[Server], demo: Demo, books: Books, rate: Decimal
) -> None:
    """Kills the engine; the seconds until another has paid a new cash-out."""
    engine = await _engine(servers, demo)
    engine.kill9()
    killed = time.monotonic()
    other = next(server for server in servers if server is not engine)
    of = next(iter(demo.machines.values()))
    async with httpx.AsyncClient(base_url=other.url, timeout=60) as client:
        machine = HttpMachine(client, of.wallet, of.quote, "after")
        trade = await machine.cash_out(demo.customer, {100: 1}, rate)
    paid = (
        f"{LANDED} WHERE payment_hash = '{trade.payment_hash}' "
        "AND processed_at IS NOT NULL"
    )
    await wait_for(lambda: books.number(paid) == 1, 150, 0.2)
    say(
        f"engine killed: another one had paid {time.monotonic() - killed:.0f} s later "
        "(wanted: 60)"
    )


async def _engine(servers: Sequence[Server], demo: Demo) -> Server:
    headers = demo.platform.headers
    for server in servers:
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            health = answer(await client.get(f"{API}/health"))
        if health["engine"]["is_this_process"]:
            return server
    raise RuntimeError("no process is the engine")
