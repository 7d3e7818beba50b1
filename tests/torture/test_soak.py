"""A day of an operator's machine, without waiting for it: does memory stay flat?

What a day brings, at its real counts: twelve sales an hour over a real relay (one in
six buys sats), all paid, one LP who forwards outside; a sweep and a desk round every
minute, a full sweep every hour and the second look every ten minutes; the machine's
beacon and report every minute; an operator who keeps the pages open all day, and an LP
and the super who look every minute. Everything is in this process: LNbits, the
extension, the machine's client, and the funding source. The resident memory is printed
every two hours.

`make soak` runs 24 hours on each database; `make test` six minutes, which keep this
file honest and prove nothing about leaks.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator

import psutil  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from line_world import MakeOnLine, OnLine
from lnbits.core.services import lnurl as lnbits_lnurl
from lnurl_server import LnurlServer
from loguru import logger
from world import balance_sats

from satmachineadmin import distribution, payouts, tasks

from dev.accounts import UserSession

MINUTES = int(float(os.environ.get("SATMACHINE_SOAK_HOURS", "0.1")) * 60)
SALE_EVERY_MINUTES = 5
SHOW_EVERY_MINUTES = 120
# until every page, statement and kind of payment was seen once
WARM_MINUTES = 180
# Between the first hours after that and the last: 24 h may not cost more.
FLAT_MIB = 16
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


@pytest_asyncio.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LnurlServer]:
    async with LnurlServer() as server:

        async def look_up(_: str, amount_msat: int) -> str:
            return await lnbits_lnurl.get_pr_from_lnurl(server.target, amount_msat)

        monkeypatch.setattr(payouts, "get_pr_from_lnurl", look_up)
        yield server


@pytest.fixture
def quiet() -> Iterator[None]:
    """pytest keeps what is printed and logged: no memory of ours."""
    logger.disable("lnbits")
    logger.disable("satmachineadmin")
    yield
    logger.enable("lnbits")
    logger.enable("satmachineadmin")


def resident_mib() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


class Day:
    def __init__(self, machine: OnLine, super_session: UserSession) -> None:
        self.on_line = machine
        self.world = machine.world
        self.super = super_session
        self.sales = self.requests = self.messages = 0

    async def minute(self, minute: int) -> None:
        if minute % SALE_EVERY_MINUTES == 0:
            await self.sale(minute // SALE_EVERY_MINUTES)
        if minute % 60 == 0:
            tasks.state.full_sweep = -1e9
        if minute % 10 == 0:
            tasks.state.second_look = -1e9
        await tasks.sweep_once()
        await tasks.desk_once()
        await self.on_line.machine.publish_beacon()
        await self.on_line.machine.publish_telemetry()
        self.messages += 2
        await self.pages(minute)
        # what the machine's client keeps for its own tests is not the server's
        self.on_line.client.sent.clear()
        self.on_line.machine.trades.clear()

    async def sale(self, number: int) -> None:
        if number % 6 == 5:
            await self.on_line.cash_in()
        else:
            await self.on_line.cash_out()
        # what waits ten minutes to be paid outside is due at the next sale but one
        if number % 2:
            await self.world.run_due()
        else:
            await distribution.worker.run_until_idle()
        self.sales += 1
        self.messages += 4

    async def pages(self, minute: int) -> None:
        """The operator's page asks every five seconds for what changed."""
        lp = self.world.lps[0].user
        for user, pages, polls in (
            (self.world.operator, OPERATORS_PAGES, 12),
            (lp, LPS_PAGES, 1),
            (self.super, SUPERS_PAGES, 1),
        ):
            page = pages[minute % len(pages)]
            url = page.replace("{machine}", self.world.machine.id)
            for path in (*["/changes"] * polls, url):
                seen = await user.api.get(path)
                assert seen.status_code == 200, f"{path}: {seen.text[:200]}"
                self.requests += 1


async def test_a_day_costs_no_memory(
    make_on_line: MakeOnLine,
    super_session: UserSession,
    shop: LnurlServer,
    quiet: None,
    database: str,
) -> None:
    machine = await make_on_line()
    world = machine.world
    # dispenses 20 x 200.00 an hour: an LP's cash must last
    for forwards in ("dave@forward.example", None, None):
        await world.add_lp("100000.00", autoforward=forwards)
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    await world.fund(world.machine_wallet.id, 10_000_000)
    day, started = Day(machine, super_session), time.monotonic()
    by_minute: list[float] = []
    for minute in range(MINUTES):
        await day.minute(minute)
        by_minute.append(resident_mib())
        if minute % SHOW_EVERY_MINUTES == 0 or minute == MINUTES - 1:
            print(
                f"{database} {minute // 60:2d}:{minute % 60:02d} h: "
                f"{by_minute[-1]:.1f} MiB, {day.sales} sales, {day.messages} messages, "
                f"{day.requests} requests, {time.monotonic() - started:.0f} s",
                flush=True,
            )
    for _ in range(3):
        await world.run_due()
    await world.assert_ledger()
    assert await balance_sats(partner.wallet.id) > 0
    assert day.sales == -(-MINUTES // SALE_EVERY_MINUTES)
    if MINUTES >= WARM_MINUTES * 3:
        early = statistics.median(by_minute[WARM_MINUTES : WARM_MINUTES + 120])
        late = statistics.median(by_minute[-120:])
        print(f"{database}: {early:.1f} MiB early, {late:.1f} MiB late", flush=True)
        assert late - early < FLAT_MIB
