"""Real servers, killed: what was paid before, during and after is paid once.

A burst of customers at two machines; SIGKILL of the server process at random
moments of it, twenty times over; then everything that LNbits took in must have been
settled, and every party must hold exactly what is owed to them. Read from the
databases, from outside the servers.

A dead engine's lease runs out after a minute. Between kills that minute is not
waited for but written into the database while no server runs; that it passes by
itself is tested once, below.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from books import Books

import environment
from conftest import wait_for
from dev.accounts import answer
from dev.demo import DOMAIN, FIAT, Demo, deposit, set_up
from dev.http_machine import HttpMachine, pick_bills
from dev.outside import start_pair
from dev.prices import Prices, serve_prices
from dev.server import Server, start

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]

KILLS = 20
# Past the minute after which a half-done payment may be mended, and the next sweep.
LONG_SECONDS = 150.0
# Forwards to an address gather for minutes, so that fewer payments are routed.
AT_ONCE = {"SATMACHINE_EXTERNAL_GATHER_SECONDS": "0"}
OPEN_SETTLEMENTS = (
    "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements "
    "WHERE status <> 'completed'"
)
OPEN_LEGS = (
    "SELECT COUNT(*) AS n FROM satoshimachine.dca_payments "
    "WHERE status NOT IN ('completed', 'skipped')"
)


def stamped_payments(books: Books, demo: Demo) -> dict[str, int]:
    """Hash -> signed sats of every successful payment that a machine stamped."""
    machine_wallets = {machine.wallet.id for machine in demo.machines.values()}
    rows = books.query(
        "SELECT payment_hash, wallet_id, amount, extra FROM apipayments "
        "WHERE status = 'success'"
    )
    stamped = {}
    for row in rows:
        extra = row["extra"]
        if isinstance(extra, str):
            extra = json.loads(extra or "{}")
        if row["wallet_id"] in machine_wallets and extra.get("source") == "bitspire":
            stamped[row["payment_hash"]] = row["amount"] // 1000
    return stamped


def settled_hashes(books: Books) -> list[str]:
    rows = books.query("SELECT payment_hash FROM satoshimachine.dca_settlements")
    return sorted(row["payment_hash"] for row in rows)


def assert_everybody_was_paid_once(books: Books, demo: Demo) -> None:
    stamped = stamped_payments(books, demo)
    assert settled_hashes(books) == sorted(stamped)

    legs = books.query(
        "SELECT l.*, p.destination_wallet_id AS paid_to "
        "FROM satoshimachine.dca_payments l "
        "LEFT JOIN satoshimachine.dca_payouts p ON p.id = l.payout_id"
    )
    owed: dict[str, int] = defaultdict(int)
    for leg in legs:
        assert leg["status"] == "completed", leg
        owed[leg["paid_to"]] += leg["amount_sats"]
        if leg["leg_type"] == "autoforward":
            owed[leg["source_wallet_id"]] -= leg["amount_sats"]

    # Every party but the machines and the customer began with an empty wallet.
    others = {machine.wallet.id for machine in demo.machines.values()}
    others.add(demo.customer.id)
    for session in demo.people.values():
        for wallet in session.wallets:
            if wallet.id not in others:
                assert books.balance_sats(wallet.id) == owed[wallet.id], wallet.name

    # A machine holds what it was lent and traded, less what its legs took.
    for machine in demo.machines.values():
        lent = books.number(
            "SELECT SUM(amount) / 1000 AS sats FROM apipayments WHERE amount > 0 "
            f"AND status = 'success' AND wallet_id = '{machine.wallet.id}' "
            "AND payment_hash NOT IN "
            "(SELECT payment_hash FROM satoshimachine.dca_settlements)"
        )
        traded = books.number(
            "SELECT SUM(CASE WHEN tx_type = 'cash_out' THEN wire_sats "
            "ELSE -wire_sats END) AS sats FROM satoshimachine.dca_settlements "
            f"WHERE wallet_id = '{machine.wallet.id}'"
        )
        paid = sum(
            leg["amount_sats"]
            for leg in legs
            if leg["source_wallet_id"] == machine.wallet.id
        )
        assert books.balance_sats(machine.wallet.id) == lent + traded - paid

    # One LNbits payment, of two sides, for each payout; none beside them.
    paid_out = books.query(
        "SELECT payment_hash FROM satoshimachine.dca_payouts WHERE status = 'paid'"
    )
    ours = books.query(
        "SELECT payment_hash, COUNT(*) AS sides, SUM(amount) AS msat FROM apipayments "
        "WHERE status = 'success' AND tag = 'satmachineadmin' GROUP BY payment_hash"
    )
    assert {row["payment_hash"] for row in ours} == {
        row["payment_hash"] for row in paid_out
    }
    assert all(row["sides"] == 2 and row["msat"] == 0 for row in ours)


class Burst:
    """Customers at every machine, while the doors are open; a crash puts nobody off."""

    def __init__(self, demo: Demo, prices: Prices, chance: random.Random) -> None:
        self.demo = demo
        self.prices = prices
        self.chance = chance
        self.open = asyncio.Event()
        self.trades = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def _customers(self, machine: HttpMachine) -> None:
        while True:
            await self.open.wait()
            is_cash_out = self.chance.random() < 0.8
            trade = machine.cash_out if is_cash_out else machine.cash_in
            rate = self.prices.sats_per_unit(FIAT)
            try:
                await trade(self.demo.customer, pick_bills(self.chance, 3), rate)
                self.trades += 1
            except httpx.HTTPError:
                # The server died under it. What LNbits wrote down of it counts, not
                # what the customer heard.
                await asyncio.sleep(0.05)

    async def more(self, trades: int) -> None:
        """Returns when that many more customers were served."""
        wanted = self.trades + trades
        await wait_for(lambda: self.trades >= wanted, 60)

    async def __aenter__(self) -> Burst:
        self._tasks = [
            asyncio.create_task(self._customers(machine))
            for machine in self.demo.machines.values()
        ]
        self.open.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest_asyncio.fixture
async def prices() -> AsyncIterator[Prices]:
    async with serve_prices(random.Random(7)) as served:
        yield served


async def _opened(server: Server, prices: Prices) -> Demo:
    """The demo's people, with LPs whose cash outlasts any burst."""
    demo = await set_up(server.url, prices)
    for client_id in demo.clients:
        await deposit(demo, client_id, "50000.00", "before the burst")
    return demo


async def _until_settled(books: Books, demo: Demo) -> None:
    async def settled() -> bool:
        await asyncio.sleep(0.2)
        return (
            len(settled_hashes(books)) == len(stamped_payments(books, demo))
            and books.number(OPEN_SETTLEMENTS) == 0
            and books.number(OPEN_LEGS) == 0
        )

    try:
        await wait_for(settled, LONG_SECONDS)
    except AssertionError:
        stuck = books.query(
            "SELECT l.leg_type, l.status, l.error_message, l.attempts, "
            "p.status AS payout_status, p.reason FROM satoshimachine.dca_payments l "
            "LEFT JOIN satoshimachine.dca_payouts p ON p.id = l.payout_id "
            "WHERE l.status NOT IN ('completed', 'skipped')"
        )
        states = books.query(
            "SELECT status, error_message, COUNT(*) AS n "
            "FROM satoshimachine.dca_settlements GROUP BY status, error_message"
        )
        stamped, settled_now = stamped_payments(books, demo), set(settled_hashes(books))
        missing = {h: sats for h, sats in stamped.items() if h not in settled_now}
        unstamped = settled_now - set(stamped)
        raise AssertionError(
            f"not settled: {states}, legs {stuck[:20]}, payments {missing} without a "
            f"settlement, settlements {unstamped} without a payment"
        ) from None


async def test_twenty_kills_in_a_burst_and_everything_is_paid_once(
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
        demo = await _opened(server, prices)
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
        await _until_settled(books, demo)
        await server.stop()

        assert burst.trades > KILLS
        assert_everybody_was_paid_once(books, demo)
        books.assert_ledger_balances()
        print(f"{KILLS} kills, {len(settled_hashes(books))} settlements")
    finally:
        if demo:
            await demo.aclose()
        server.kill9()


@pytest.mark.skipif(
    environment.DATABASE != "postgres", reason="SQLite has one process at a time"
)
async def test_two_processes_on_one_database_settle_once_and_take_over(
    tmp_path: Path, prices: Prices
) -> None:
    """Customers come through both processes; then the one that pays is killed.

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
        demo = await _opened(one, prices)
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
            burst.open.clear()
        await _until_settled(books, demo)
        assert_everybody_was_paid_once(books, demo)

        engine = answer(await demo.platform.api.get("/health"))["engine"]
        assert engine["is_this_process"], "the first process has paid all along"
        one.kill9()
        killed_at = time.monotonic()
        trade = await demo.machines["Zona 10 by way of the other"].cash_out(
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
        # The lease lasts 55 s; the others look when it may be over.
        assert taken_over_seconds <= 60
        # forwards gather a little longer than the settlement takes
        await wait_for(
            lambda: books.query(OPEN_LEGS)[0]["n"] == 0,
            LONG_SECONDS,
            interval_seconds=0.5,
        )
        await two.stop()
        assert_everybody_was_paid_once(books, demo)
        books.assert_ledger_balances()
    finally:
        for closing in (demo, other):
            if closing:
                await closing.aclose()
        if two:
            two.kill9()
        await pair.stop()
