"""Real servers, killed: what was paid before, during and after is paid once.

A burst of customers at two machines; SIGKILL of the server process at random
moments of it, again and again; then everything that LNbits took in must have been
settled, and every party must hold exactly what is owed to them. Read from the
databases, from outside the servers.

A dead engine's lease runs out after a minute. Between kills that minute is not
waited for but written into the database while no server runs; that it passes by
itself is tested once, below, and that a frozen process pays nothing twice.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from burst import (
    AT_ONCE,
    IS_OPEN,
    LONG_SECONDS,
    OPEN_LEGS,
    Burst,
    assert_everybody_was_paid_once,
    opened,
    settled_hashes,
    until_settled,
)
from examples import IS_THOROUGH
from outside_view import Books

import environment
from conftest import wait_for
from dev.accounts import answer
from dev.demo import DOMAIN, FIAT
from dev.http_machine import HttpMachine
from dev.outside import start_pair
from dev.prices import Prices, serve_prices
from dev.server import Server, start

pytestmark = [pytest.mark.server, pytest.mark.timeout(900), pytest.mark.longest]

# Most of it is starting LNbits again, which is the same for both. The kills at every
# point, and of one process of three, are in `torture/`.
KILLS = int(os.environ.get("SATMACHINE_KILLS", "8" if IS_THOROUGH else "3"))


@pytest_asyncio.fixture
async def prices() -> AsyncIterator[Prices]:
    async with serve_prices(random.Random(7)) as served:
        yield served


async def test_killed_again_and_again_in_a_burst_everything_is_paid_once(
    tmp_path: Path, prices: Prices
) -> None:
    chance = random.Random()
    database_url = environment.new_database()
    server = start(
        tmp_path / "lnbits", database_url=database_url, domain=DOMAIN, env=AT_ONCE
    )
    demo = None
    try:
        await server.ready()
        demo = await opened(server, prices)
        books = Books(server)
        async with Burst(demo, prices, chance) as burst:
            for _ in range(KILLS):
                burst.open.set()
                await burst.more(chance.randint(1, 4))
                # The moment of the kill is what is random here.
                await asyncio.sleep(chance.uniform(0, 0.6))
                burst.open.clear()
                server.kill9()
                books.end_lease()
                server = await server.again().ready()
        # The sweep of a fresh start lands what no listener heard of.
        await server.stop()
        books.end_lease()
        server = await server.again().ready()
        await until_settled(books, demo)
        await server.stop()

        assert burst.trades > KILLS
        assert_everybody_was_paid_once(books, demo)
        books.assert_ledger_balances()
        print(f"{KILLS} kills, {len(settled_hashes(books))} settlements")
    finally:
        if demo:
            await demo.aclose()
        server.kill9()


async def freeze_until_another_paid(engine: Server, books: Books) -> None:
    """SIGSTOP with unpaid legs in hand, SIGCONT when another process has paid them.

    The minute of its lease is not waited for (that is done behind `make torture`) but
    written into the database.
    """
    in_hand = f"SELECT id FROM satoshimachine.dca_payments WHERE {IS_OPEN}"
    await wait_for(lambda: books.query(in_hand), 60, interval_seconds=0.01)
    engine.freeze()
    try:
        legs = ", ".join(f"'{row['id']}'" for row in books.query(in_hand))
        books.end_lease()
        still_open = f"{in_hand} AND id IN ({legs or 'NULL'})"
        await wait_for(
            lambda: books.query(still_open) == [], LONG_SECONDS, interval_seconds=0.2
        )
    finally:
        engine.thaw()


@pytest.mark.skipif(
    environment.DATABASE != "postgres", reason="SQLite has one process at a time"
)
async def test_two_processes_on_one_database_settle_once_and_take_over(
    tmp_path: Path, prices: Prices
) -> None:
    """Customers come through both processes. The one that pays is frozen while it pays
    until the other has paid everybody, and woken; then who pays now is killed.

    Their funding source is another LNbits: a FakeWallet is memory of one process,
    and the other one's checks would find the first one's invoices failed.
    """
    chance = random.Random()
    pair = await start_pair(
        tmp_path,
        database_url=environment.new_database(),
        domain=DOMAIN,
        env=AT_ONCE,
    )
    one, two, demo, other = pair.a, None, None, None
    try:
        demo = await opened(one, prices)
        two = await replace(one, port=0).again().ready()
        books = Books(one)
        other = httpx.AsyncClient(base_url=two.url, timeout=60)
        for name, machine in list(demo.machines.items()):
            twin = HttpMachine(other, machine.wallet, machine.quote, name)
            demo.machines[f"{name} by way of the other"] = twin
        async with Burst(demo, prices, chance) as burst:
            await burst.more(40)
            # A third look at the same payments: a start sweeps while both run.
            await two.stop()
            two = await two.again().ready()
            await burst.more(40)
            await freeze_until_another_paid(one, books)
            await burst.more(10)
            burst.open.clear()
        await until_settled(books, demo)
        assert_everybody_was_paid_once(books, demo)

        engine = answer(await demo.platform.api.get("/health"))["engine"]
        assert not engine["is_this_process"], "the one that woke up took over again"
        two.kill9()
        killed_at = time.monotonic()
        trade = await demo.machines["Zona 10"].cash_out(
            demo.customer, {100: 1}, prices.sats_per_unit(FIAT)
        )
        status = (
            "SELECT status FROM satoshimachine.dca_settlements "
            f"WHERE payment_hash = '{trade.payment_hash}'"
        )
        await wait_for(
            lambda: books.query(status) == [{"status": "completed"}],
            LONG_SECONDS,
            interval_seconds=0.2,
        )
        taken_over_seconds = time.monotonic() - killed_at
        print(f"the other process took over after {taken_over_seconds:.1f} s")
        # Its process is gone, and the other is on the same machine.
        assert taken_over_seconds <= 15
        # forwards gather a little longer than the settlement takes
        await wait_for(
            lambda: books.query(OPEN_LEGS)[0]["n"] == 0,
            LONG_SECONDS,
            interval_seconds=0.5,
        )
        await one.stop()
        assert_everybody_was_paid_once(books, demo)
        books.assert_ledger_balances()
    finally:
        for closing in (demo, other):
            if closing:
                await closing.aclose()
        if two:
            two.kill9()
        await pair.stop()
