"""A day of an operator's machine, without waiting for it: does memory stay flat?

What a day brings to a server, at its real counts: twelve sales an hour over a real
relay (one in six buys sats), all paid, one LP who forwards outside; the machine's
beacon and report every minute; an operator who keeps the pages open all day, and an LP
and the super who look every minute. The server is a process of its own, and its
resident memory is what is looked at: the machine, the relay and the browsers are here.
Its sweeps and rounds keep their own pace, so a day's load sees an hour's rounds.

`make soak` runs 24 hours on each database; `make test` six minutes on SQLite, which
keep this file honest and prove nothing about leaks.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from burst import AT_ONCE, opened, until_settled
from outside_view import Books

import environment
from dev.accounts import UserSession, answer
from dev.demo import DOMAIN, FIAT, Demo, refill
from dev.nostr_machine import NostrMachine
from dev.prices import Prices, serve_prices
from dev.relay import DevRelay
from dev.server import Server, start

pytestmark = [pytest.mark.server, pytest.mark.timeout(4 * 3600), pytest.mark.longest]

MINUTES = int(float(os.environ.get("SATMACHINE_SOAK_HOURS", "0.1")) * 60)
SALE_EVERY_MINUTES = 5
SHOW_EVERY_MINUTES = 120
# until every page, statement and kind of payment was seen once
WARM_MINUTES = 360
# Between the first hours after that and the last.
FLAT_MIB = 16
BILLS = {100: 2}
MACHINE = "Zona 10"
OPERATORS_PAGES = (
    "/overview",
    "/machines",
    "/machines/{machine}",
    "/settlements",
    "/payments",
    "/deposits",
    "/clients",
    "/settlements.csv",
)
LPS_PAGES = ("/lp/summary", "/lp/payments", "/lp/history")
SUPERS_PAGES = ("/super/overview", "/health", "/audit")


@dataclass
class Day:
    """One machine's customers, and the people who look at it."""

    server: Server
    demo: Demo
    prices: Prices
    machine: NostrMachine
    machine_id: str
    sales: int = 0
    messages: int = 0
    requests: int = 0

    def resident_mib(self) -> float:
        process = psutil.Process(self.server.process.pid)
        return float(process.memory_info().rss) / 2**20

    async def minute(self, minute: int) -> None:
        if minute % 60 == 0:
            await refill(self.demo)
        if minute % SALE_EVERY_MINUTES == 0:
            await self.sale(minute // SALE_EVERY_MINUTES)
        await self.machine.publish_beacon()
        await self.machine.publish_telemetry()
        self.messages += 2
        await self.pages(minute)
        # what the machine's client keeps for its own tests is no business of this one
        self.machine.client.sent.clear()
        self.machine.trades.clear()

    async def sale(self, number: int) -> None:
        rate = self.prices.sats_per_unit(FIAT)
        if number % 6 == 5:
            await self.machine.cash_in(BILLS, rate, self.asks_for)
        else:
            await self.machine.cash_out(BILLS, rate, self.pays)
        await self.machine.drain()
        self.sales += 1
        self.messages += 4

    async def pays(self, bolt11: str) -> None:
        await self._payments(
            self.demo.customer.adminkey, {"out": True, "bolt11": bolt11}
        )

    async def asks_for(self, sats: int) -> str:
        body = {"out": False, "unit": "sat", "amount": sats, "memo": "sats"}
        made = await self._payments(self.demo.customer.inkey, body)
        return str(made["bolt11"])

    async def _payments(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self.demo.anonymous.post(
            "/api/v1/payments", headers={"X-Api-Key": key}, json=body
        )
        return dict(answer(response))

    async def pages(self, minute: int) -> None:
        """The operator's page asks every five seconds for what changed."""
        for user, pages, polls in (
            (self.demo.operator, OPERATORS_PAGES, 12),
            (self.demo.people["lucia"], LPS_PAGES, 1),
            (self.demo.platform, SUPERS_PAGES, 1),
        ):
            page = pages[minute % len(pages)]
            await self._look(user, *["/changes"] * polls, page)

    async def _look(self, user: UserSession, *paths: str) -> None:
        for path in paths:
            seen = await user.api.get(path.replace("{machine}", self.machine_id))
            assert seen.status_code == 200, f"{path}: {seen.text[:200]}"
            self.requests += 1


@pytest_asyncio.fixture
async def day(tmp_path: Path) -> AsyncIterator[Day]:
    async with AsyncExitStack() as stack:
        relay = DevRelay()
        await relay.start()
        stack.callback(relay.stop)
        chance = random.Random(7)
        prices = await stack.enter_async_context(serve_prices(chance))
        server = start(
            tmp_path / "lnbits",
            database_url=environment.new_database(),
            domain=DOMAIN,
            env=AT_ONCE,
        )
        stack.callback(server.kill9)
        await server.ready()
        # dispenses 20 x 200.00 an hour: the LPs' cash must last
        demo = await opened(server, prices, "100000.00")
        stack.push_async_callback(demo.aclose)
        machines = answer(await demo.operator.api.get("/machines"))["data"]
        machine_id = next(row["id"] for row in machines if row["name"] == MACHINE)
        machine = NostrMachine()
        stack.push_async_callback(machine.go_offline)
        answer(
            await demo.platform.api.put("/super/nostr", json={"relays": [relay.url]})
        )
        path = f"/machines/{machine_id}"
        change = {"machine_npub": machine.npub}
        answer(await demo.operator.api.put(path, json=change))
        await machine.pair(answer(await demo.operator.api.post(f"{path}/pairing")))
        yield Day(server, demo, prices, machine, machine_id)


@pytest.mark.skipif(
    environment.DATABASE == "postgres" and "SATMACHINE_SOAK_HOURS" not in os.environ,
    reason="its six minutes prove as much on SQLite",
)
async def test_a_day_costs_no_memory(day: Day, database: str) -> None:
    by_minute: list[float] = []
    started = time.monotonic()
    for minute in range(MINUTES):
        await day.minute(minute)
        by_minute.append(day.resident_mib())
        if minute % SHOW_EVERY_MINUTES == 0 or minute == MINUTES - 1:
            print(
                f"{database} {minute // 60:2d}:{minute % 60:02d} h: "
                f"{by_minute[-1]:.1f} MiB, {day.sales} sales, {day.messages} messages, "
                f"{day.requests} requests, {time.monotonic() - started:.0f} s",
                flush=True,
            )
    books = Books(day.server)
    await until_settled(books, day.demo)
    books.assert_ledger_balances()
    assert day.sales == -(-MINUTES // SALE_EVERY_MINUTES)
    if MINUTES >= WARM_MINUTES * 3:
        early = statistics.median(by_minute[WARM_MINUTES : WARM_MINUTES + 120])
        late = statistics.median(by_minute[-120:])
        print(f"{database}: {early:.1f} MiB early, {late:.1f} MiB late", flush=True)
        assert late - early < FLAT_MIB
