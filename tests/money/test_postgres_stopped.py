"""PostgreSQL is stopped hard in the middle of sales, and comes back: all paid once.

A server of its own, with an LNbits of its own on it: SIGKILL, or an immediate stop,
while customers are at two machines and legs are being paid. LNbits runs on without a
database, and goes on when there is one again. What was committed is kept (the kernel
is not killed), everything else is a sale that did not happen. Its commits wait for the
log, as PostgreSQL's do unless told otherwise: one that forgets what it has acknowledged
may forget a payment that LNbits has told us of (docs/administrator.md).
"""

from __future__ import annotations

import asyncio
import random
import time
from uuid import uuid4

import pytest
from burst import (
    AT_ONCE,
    OPEN_LEGS,
    Burst,
    assert_everybody_was_paid_once,
    opened,
    until_settled,
)
from outside_view import Books

import environment
from conftest import wait_for
from dev import postgres
from dev.demo import DOMAIN
from dev.prices import serve_prices
from dev.server import start

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(900),
    pytest.mark.longest,
    pytest.mark.skipif(
        environment.DATABASE != "postgres", reason="SQLite has no server to stop"
    ),
]


async def test_stopped_hard_and_back_everything_is_paid_once() -> None:
    chance = random.Random()
    # Short: a Unix socket's path has about a hundred characters.
    folder = environment.FOLDER / f"pg{uuid4().hex[:6]}"
    own = postgres.start(folder)
    server = start(
        environment.FOLDER / f"ln{uuid4().hex[:6]}",
        database_url=own.ensure_database("lnbits"),
        domain=DOMAIN,
        env=AT_ONCE,
    )
    demo = None
    try:
        await server.ready()
        async with serve_prices(random.Random(7)) as prices:
            demo = await opened(server, prices)
            books = Books(server, own)
            async with Burst(demo, prices, chance) as burst:
                for is_immediate in (True, False):
                    await burst.more(4)
                    # in the middle of paying
                    await wait_for(lambda: books.number(OPEN_LEGS), 60, 0.01)
                    await asyncio.sleep(chance.uniform(0, 0.3))
                    own.kill(is_immediate=is_immediate)
                    await asyncio.sleep(chance.uniform(0.2, 1))
                    await asyncio.to_thread(own.start_again)
                    # nobody restarts LNbits
                    await burst.more(3, 90)
                burst.open.clear()
            back_at = time.monotonic()
            await until_settled(books, demo)
            print(f"{burst.trades} customers; settled {time.monotonic() - back_at:.1f}")
            assert burst.trades >= 14
            assert_everybody_was_paid_once(books, demo)
            books.assert_ledger_balances()
    finally:
        if demo:
            await demo.aclose()
        server.kill9()
        own.stop()
