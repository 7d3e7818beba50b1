"""Three LNbits processes on one PostgreSQL, killed and frozen while customers come.

All of them have the extension, and all hear of the same invoices: their funding source
is one wallet of a second LNbits, from which every second customer pays. One of them,
the engine, pays; which one changes with every kill. Read from the databases, from
outside.

Behind `make torture`, because a dead engine's lease takes a minute to run out and no
minute is shortened here. SATMACHINE_SETTLEMENTS says how many (1 000).
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from burst import (
    AT_ONCE,
    OPEN_LEGS,
    Burst,
    assert_everybody_was_paid_once,
    lost_and_doubled,
    opened,
    settled_hashes,
    until_settled,
)
from outside_view import Books

import environment
from conftest import wait_for
from dev.accounts import UserSession, answer, credit
from dev.demo import DOMAIN, Demo
from dev.figures import note
from dev.http_machine import HttpMachine
from dev.outside import Pair, pay_from_outside, start_pair
from dev.prices import Prices, serve_prices
from dev.server import Server, ServerFailedError

IS_LONG = not os.environ.get("SATMACHINE_TORTURE", "8").isdigit()
SETTLEMENTS = int(os.environ.get("SATMACHINE_SETTLEMENTS", "1000"))
PROCESSES = 3
# a kill comes after so many seconds, at random
CALM_SECONDS = (4.0, 15.0)
# six machines: two or three customers a second, for minutes and some twenty kills
PAUSE_SECONDS = 2.0
SETTLED_SECONDS = 900.0
# LNbits mints no more at once
MOST_SATS = 10_000_000

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(
        environment.DATABASE != "postgres", reason="SQLite has one process at a time"
    ),
    pytest.mark.skipif(not IS_LONG, reason="takes minutes: make torture"),
    pytest.mark.longest,
]

LEASE = (
    "SELECT holder, expires_epoch > EXTRACT(EPOCH FROM clock_timestamp()) AS is_held "
    "FROM satoshimachine.dca_lease"
)


@dataclass
class Cluster:
    """Three servers, their outside world, and who pays."""

    pair: Pair
    servers: list[Server]
    demo: Demo
    books: Books
    prices: Prices
    clients: list[httpx.AsyncClient]
    takeovers: list[float] = field(default_factory=list)
    kills: int = 0

    async def engine(self) -> int:
        """Which server is the engine; waits until there is one."""

        async def found() -> list[int]:
            return [n for n in range(PROCESSES) if await self._is_engine(n)]

        return int((await wait_for(found, 90, interval_seconds=0.5))[0])

    async def _is_engine(self, number: int) -> bool:
        url = f"{self.servers[number].url}/satmachineadmin/api/v1/health"
        headers = dict(self.demo.platform.api.headers)
        with suppress(httpx.HTTPError, ValueError):
            async with httpx.AsyncClient(timeout=2, headers=headers) as client:
                told = answer(await client.get(url))
                return bool(told["engine"]["is_this_process"])
        return False

    def holder(self) -> str | None:
        (lease,) = self.books.query(LEASE)
        return str(lease["holder"]) if lease["is_held"] else None

    async def time_takeover(self, old: str) -> float:
        """Seconds until another process than `old` holds the lease."""
        began = time.monotonic()
        # psql is a process of its own: often enough, and no burden
        await wait_for(
            lambda: self.holder() not in (None, old), 120, interval_seconds=0.5
        )
        seconds = time.monotonic() - began
        self.takeovers.append(seconds)
        return seconds

    def moved_sats(self) -> int:
        return self.books.number(
            "SELECT SUM(sent_sats) AS n FROM satoshimachine.dca_payouts "
            "WHERE status = 'paid'"
        )

    def note(self, what: str, burst: Burst, seconds: float, **more: Any) -> None:
        lost, doubled = lost_and_doubled(self.books, self.demo)
        figures = {
            "processes": PROCESSES,
            "kills": self.kills,
            "settlements": len(settled_hashes(self.books)),
            "legs": self.books.number(
                "SELECT COUNT(*) AS n FROM satoshimachine.dca_payments"
            ),
            "moved_sats": self.moved_sats(),
            "lost_sats": lost,
            "doubled_sats": doubled,
            "takeovers": len(self.takeovers),
            "longest_recovery_seconds": round(max(self.takeovers, default=0.0), 1),
            "seconds": round(seconds),
            **more,
        }
        print(f"\n{what}: {figures}", flush=True)
        note(what, database="postgres", customers=burst.trades, **figures)


async def make_rich(admin: UserSession, wallet_id: str) -> None:
    for _ in range(8):
        await credit(admin, wallet_id, MOST_SATS)


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    pair = await start_pair(
        folder, database_url=environment.new_database(), domain=DOMAIN, env=AT_ONCE
    )
    servers, demo = [pair.a], None
    clients: list[httpx.AsyncClient] = []
    try:
        await make_rich(pair.b_super, pair.customer.id)
        async with serve_prices(random.Random(7)) as prices:
            demo = await opened(pair.a, prices, "5000000.00")
            for wallet in [demo.customer, *(m.wallet for m in demo.machines.values())]:
                await make_rich(demo.platform, wallet.id)
            while len(servers) < PROCESSES:
                servers.append(await replace(pair.a, port=0).again().ready())
            for number, server in enumerate(servers[1:], 2):
                client = httpx.AsyncClient(base_url=server.url, timeout=60)
                clients.append(client)
                for name in ("Zona 10", "Antigua"):
                    machine = demo.machines[name]
                    twin = HttpMachine(client, machine.wallet, machine.quote, name)
                    demo.machines[f"{name}, by server {number}"] = twin
            yield Cluster(pair, servers, demo, Books(pair.a), prices, clients)
    finally:
        if demo:
            await demo.aclose()
        for client in clients:
            await client.aclose()
        for server in servers:
            server.kill9()
        await pair.stop()


async def pays_from_outside(pair: Pair, bolt11: str) -> None:
    answer(await pay_from_outside(pair, bolt11))


def burst_at(found: Cluster, chance: random.Random) -> Burst:
    async def outside(bolt11: str) -> None:
        await pays_from_outside(found.pair, bolt11)

    return Burst(found.demo, found.prices, chance, outside, PAUSE_SECONDS)


async def kill_at_random(
    found: Cluster, burst: Burst, chance: random.Random, wanted: int
) -> None:
    """Until enough customers came: SIGKILL one of the servers, and start it again."""
    timing: set[asyncio.Task[float]] = set()
    while len(settled_hashes(found.books)) < wanted:
        await asyncio.sleep(chance.uniform(*CALM_SECONDS))
        old = found.holder()
        engine = await found.engine() if old else None
        number = chance.randrange(PROCESSES)
        found.servers[number].kill9()
        found.kills += 1
        if old and number == engine:
            timing.add(asyncio.create_task(found.time_takeover(old)))
        print(
            f"{len(settled_hashes(found.books))} settlements, {burst.trades} customers,"
            f" {found.kills} kills, {len(found.takeovers)} take-overs",
            flush=True,
        )
        with suppress(ServerFailedError):  # a busy machine: the next one will do
            found.servers[number] = await found.servers[number].again().ready(120)
    if timing:
        await asyncio.gather(*timing)


async def test_a_thousand_settlements_while_processes_are_killed(
    tmp_path: Path,
) -> None:
    chance, began = random.Random(), time.monotonic()
    async with cluster(tmp_path) as found:
        async with burst_at(found, chance) as burst:
            await kill_at_random(found, burst, chance, SETTLEMENTS)
            burst.open.clear()
        await until_settled(found.books, found.demo, SETTLED_SECONDS)
        found.note("processes killed", burst, time.monotonic() - began)
        assert_everybody_was_paid_once(found.books, found.demo)
        found.books.assert_ledger_balances()
        assert found.takeovers, "no kill hit the engine"
        assert max(found.takeovers) <= 60


async def test_a_frozen_engine_wakes_up_and_pays_nothing_twice(tmp_path: Path) -> None:
    """SIGSTOP while it pays, until another has paid all there is; then SIGCONT."""
    chance, began = random.Random(), time.monotonic()
    async with cluster(tmp_path) as found:
        async with burst_at(found, chance) as burst:
            for _ in range(PROCESSES):
                await burst.more(12)
                number = await found.engine()
                old = found.holder()
                assert old
                frozen = found.servers[number]
                await wait_for(
                    lambda: found.books.number(OPEN_LEGS) > 0, 60, interval_seconds=0.01
                )
                await asyncio.sleep(chance.uniform(0, 0.2))
                frozen.freeze()
                try:
                    taken_over = await found.time_takeover(old)
                    burst.open.clear()
                    await until_settled(found.books, found.demo, SETTLED_SECONDS)
                finally:
                    frozen.thaw()
                    burst.open.set()
                print(f"frozen for its lease, {taken_over:.1f} s", flush=True)
                await burst.more(12)
            burst.open.clear()
        await until_settled(found.books, found.demo, SETTLED_SECONDS)
        found.note("engine frozen", burst, time.monotonic() - began, freezes=PROCESSES)
        assert_everybody_was_paid_once(found.books, found.demo)
        found.books.assert_ledger_balances()
        assert max(found.takeovers) <= 60
