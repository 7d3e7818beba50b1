"""Customers at the machines of real servers, and what everybody must have afterwards.

For tests that kill or freeze server processes. Read from the databases, from outside.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from outside_view import Books

from conftest import wait_for
from dev.accounts import credit
from dev.demo import CUSTOMER_SATS, FIAT, Demo, deposit, set_up
from dev.http_machine import HttpMachine, pick_bills
from dev.prices import Prices
from dev.server import Server

# Past the minute after which a half-done payment may be mended, and the next sweep.
LONG_SECONDS = 150.0
# Forwards to an address gather for minutes, so that fewer payments are routed.
AT_ONCE = {"SATMACHINE_EXTERNAL_GATHER_SECONDS": "0", "SATMACHINE_RUSH_SECONDS": "0"}
OPEN_SETTLEMENTS = (
    "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements "
    "WHERE status <> 'completed'"
)
IS_OPEN = "status NOT IN ('completed', 'skipped')"
OPEN_LEGS = f"SELECT COUNT(*) AS n FROM satoshimachine.dca_payments WHERE {IS_OPEN}"


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


def parties(demo: Demo) -> dict[str, str]:
    """Wallets that began empty, by name: all but the machines' and the customer's."""
    others = {machine.wallet.id for machine in demo.machines.values()}
    others.add(demo.customer.id)
    return {
        f"{name}: {wallet.name}": wallet.id
        for name, session in demo.people.items()
        for wallet in session.wallets
        if wallet.id not in others
    }


def _legs_and_owed(books: Books) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Every leg, and what the legs owe each wallet, less what it forwards."""
    legs = books.query(
        "SELECT l.*, p.destination_wallet_id AS paid_to "
        "FROM satoshimachine.dca_payments l "
        "LEFT JOIN satoshimachine.dca_payouts p ON p.id = l.payout_id"
    )
    owed: dict[str, int] = defaultdict(int)
    for leg in legs:
        owed[leg["paid_to"] or leg["destination_wallet_id"]] += leg["amount_sats"]
        if leg["leg_type"] == "autoforward":
            owed[leg["source_wallet_id"]] -= leg["amount_sats"]
    return legs, owed


def lost_and_doubled(books: Books, demo: Demo) -> tuple[int, int]:
    """Sats that parties have too little, and too many, by what their legs say."""
    _, owed = _legs_and_owed(books)
    off = [books.balance_sats(w) - owed[w] for w in parties(demo).values()]
    return -sum(x for x in off if x < 0), sum(x for x in off if x > 0)


def assert_everybody_was_paid_once(books: Books, demo: Demo) -> None:
    stamped = stamped_payments(books, demo)
    assert settled_hashes(books) == sorted(stamped)

    legs, owed = _legs_and_owed(books)
    assert [leg for leg in legs if leg["status"] != "completed"] == []
    for name, wallet_id in parties(demo).items():
        assert books.balance_sats(wallet_id) == owed[wallet_id], name

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


Outside = Callable[[str], Awaitable[None]]


class Burst:
    """Customers at every machine, while the doors are open; a crash puts nobody off.

    With `outside`, which pays a bolt11 from elsewhere, every second customer who buys
    cash comes from there. `pause_seconds` is how long a machine rests, on average,
    between two customers.
    """

    def __init__(
        self,
        demo: Demo,
        prices: Prices,
        chance: random.Random,
        outside: Outside | None = None,
        pause_seconds: float = 0.0,
    ) -> None:
        self.demo = demo
        self.prices = prices
        self.chance = chance
        self.outside = outside
        self.pause_seconds = pause_seconds
        self.open = asyncio.Event()
        self.trades = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def _customers(self, machine: HttpMachine) -> None:
        while True:
            await self.open.wait()
            try:
                await self._trade(machine)
                self.trades += 1
                await asyncio.sleep(self.chance.uniform(0, 2 * self.pause_seconds))
            except httpx.HTTPError:
                # The server died under it. What LNbits wrote down of it counts, not
                # what the customer heard.
                await asyncio.sleep(0.05)

    async def _trade(self, machine: HttpMachine) -> None:
        bills, rate = pick_bills(self.chance, 3), self.prices.sats_per_unit(FIAT)
        if self.chance.random() >= 0.8:
            await machine.cash_in(self.demo.customer, bills, rate)
        elif self.outside and self.chance.random() < 0.5:
            bolt11, _ = await machine.offer(bills, rate)
            await self.outside(bolt11)
        else:
            await machine.cash_out(self.demo.customer, bills, rate)

    async def more(self, trades: int, timeout_seconds: float = 60) -> None:
        """Returns when that many more customers were served."""
        wanted = self.trades + trades
        await wait_for(lambda: self.trades >= wanted, timeout_seconds)

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


async def opened(server: Server, prices: Prices, cash: str = "50000.00") -> Demo:
    """The demo's people, with LPs whose cash and a customer whose sats outlast any
    burst."""
    demo = await set_up(server.url, prices)
    await credit(demo.platform, demo.customer.id, 3 * CUSTOMER_SATS)
    for client_id in demo.clients:
        await deposit(demo, client_id, cash, "before the burst")
    return demo


async def until_settled(
    books: Books, demo: Demo, timeout_seconds: float = LONG_SECONDS
) -> None:
    async def settled() -> bool:
        await asyncio.sleep(0.2)
        return (
            len(settled_hashes(books)) == len(stamped_payments(books, demo))
            and books.number(OPEN_SETTLEMENTS) == 0
            and books.number(OPEN_LEGS) == 0
        )

    try:
        await wait_for(settled, timeout_seconds)
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
        sides = [
            books.query(
                "SELECT wallet_id, amount, status, checking_id, created_at, updated_at "
                f"FROM apipayments WHERE payment_hash = '{payment_hash}'"
            )
            for payment_hash in unstamped
        ]
        raise AssertionError(
            f"not settled: {states}, legs {stuck[:20]}, payments {missing} without a "
            f"settlement, settlements {unstamped} without a payment: {sides}"
        ) from None
