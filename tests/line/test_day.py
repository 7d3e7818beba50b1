"""A day in five minutes: many machines, bad relays, a server that is killed.

Fifty machines (by SATMACHINE_EXAMPLES=100; four otherwise) trade over three relays that
close, throttle, restart, fall silent, drop and repeat by a script with a seed; the
server is killed meanwhile (twice); the machines' clocks are off by up to nine minutes;
some wallets are empty until the day is half over. Each machine keeps to the table of
docs/machines.md: after an ERROR it hands the cash back.

In the end, read from the databases from outside: every trade is settled or refused,
nothing was paid after an ERROR, nothing twice, the books balance. How long it took from
a relay's return to the first answer is printed, and is less than 30 s.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from bad_relays import Weather
from examples import IS_THOROUGH
from outside_view import Books
from scripted_relay import ScriptedRelay

import environment
from conftest import wait_for
from dev.accounts import (
    UserSession,
    WalletKeys,
    answer,
    create_user,
    create_wallet,
    credit,
    enable_extension,
    first_install,
)
from dev.line_client import NoAnswerError
from dev.nostr_machine import NostrMachine, RefusedError
from dev.server import Server, start

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(3_600),
    pytest.mark.longest,
    pytest.mark.skipif(
        environment.DATABASE != "sqlite" and not IS_THOROUGH,
        reason="a sample on SQLite; both databases with SATMACHINE_EXAMPLES=100",
    ),
]

MACHINES = 50 if IS_THOROUGH else 4
KILLS = 2 if IS_THOROUGH else 1
DAY_SECONDS = 300 if IS_THOROUGH else 15
MOST_MACHINES_OF_AN_OPERATOR = 17
CLOCK_SECONDS = 540
RETURN_SECONDS = 30
START_SATS = 10_000_000
WIRE_OUT, WIRE_IN = 1_080, 920
MOST_INVOICES = 3
SEED = int(os.environ.get("SATMACHINE_SEED", "16"))


@dataclass
class Trader:
    """One machine, and what became of each of its trades, by txid.

    `settled` has the payment's hash; `refused` the code, after which the cash is handed
    back; `walked` are customers who could not pay, `shown` all invoices of customers.
    """

    machine: NostrMachine
    wallet: WalletKeys
    chance: random.Random
    is_rich: bool
    number: int = 0
    settled: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    walked: list[str] = field(default_factory=list)
    shown: dict[str, list[str]] = field(default_factory=dict)

    def figures(self, kind: str) -> dict[str, Any]:
        self.number += 1
        return {
            "txid": f"{self.machine.hex[:8]}-{kind}-{self.number}",
            "principal_sats": 1_000,
            "fee_sats": 80,
            "fiat_amount": "2.00",
            "fiat_code": "GTQ",
        }

    async def told(self, rpc: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to it, however long that takes: no answer is not a no."""
        while True:
            with suppress(NoAnswerError):
                return await self.machine.ask(rpc, body)


class Town:
    """The server, which is killed and started again, and everybody who uses it."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.books = Books(server)
        self.chance = random.Random(seed)
        self.up_at = 0.0
        self.sessions: list[UserSession] = []
        self.relays: list[ScriptedRelay] = []
        self.traders: list[Trader] = []
        self.weather: list[Weather] = []

    # getting ready ---------------------------------------------------------------

    async def open(self) -> None:
        await self.server.ready()
        platform = await first_install(self.server.url)
        await enable_extension(platform)
        self.sessions.append(platform)
        for _ in range(3):
            self.relays.append(ScriptedRelay())
            await self.relays[-1].start()
        urls = [relay.url for relay in self.relays]
        answer(await platform.api.put("/super/nostr", json={"relays": urls}))
        self.sessions.append(await create_user(platform, "customer"))
        await credit(platform, self.customer.id, START_SATS)
        fees = await create_wallet(platform, "fees")
        share = {
            "super_cash_in_fee_fraction": "0.03",
            "super_cash_out_fee_fraction": "0.03",
            "super_fee_wallet_id": fees.id,
        }
        answer(await platform.api.put("/super/config", json=share))
        for number in range(MACHINES):
            if number % MOST_MACHINES_OF_AN_OPERATOR == 0:
                operator = await create_user(platform, f"operator{number}")
                self.sessions.append(operator)
            self.traders.append(await self._trader(operator, number))
        self.up_at = time.monotonic()

    @property
    def customer(self) -> WalletKeys:
        return self.sessions[1].wallet

    async def _trader(self, operator: UserSession, number: int) -> Trader:
        """The first three know one relay each, the others two or three."""
        urls = [relay.url for relay in self.relays]
        few = self.chance.sample(urls, self.chance.choice((2, 3)))
        machine = NostrMachine()
        machine.patience_seconds = 30
        wallet = await create_wallet(operator, f"machine {number}")
        body = {
            "machine_npub": machine.npub,
            "wallet_id": wallet.id,
            "fiat_code": "GTQ",
            "operator_cash_out_fee_fraction": "0.05",
            "operator_cash_in_fee_fraction": "0.05",
        }
        row = answer(await operator.api.post("/machines", json=body))
        qr = answer(await operator.api.post(f"/machines/{row['id']}/pairing"))
        relays = [urls[number]] if number < len(urls) else few
        await machine.pair({**qr, "relays": relays})
        off = self.chance.randint(-CLOCK_SECONDS, CLOCK_SECONDS)
        machine.client.clock_ahead_seconds = off
        is_rich = number % 3 != 2
        if is_rich:
            await credit(self.sessions[0], wallet.id, START_SATS)
        return Trader(machine, wallet, random.Random(f"{SEED} {number}"), is_rich)

    async def close(self) -> None:
        for trader in self.traders:
            await trader.machine.go_offline()
        for session in self.sessions:
            await session.aclose()
        for relay in self.relays:
            await relay.stop()
        self.server.kill9()

    # LNbits, as its users see it -------------------------------------------------

    async def _payments(self, key: str, body: dict[str, Any]) -> httpx.Response:
        """Tried until the server is there."""
        core = self.sessions[1].core
        while True:
            with suppress(httpx.TransportError):
                return await core.post(
                    "/api/v1/payments", headers={"X-Api-Key": key}, json=body
                )
            await asyncio.sleep(0.3)

    async def pays(self, invoice: dict[str, Any]) -> bool:
        """Whether the customer has paid. What was refused may have been paid before a
        kill, and an unpaid invoice does not outlive its server: the node that LNbits
        has here forgets it."""
        body = {"out": True, "bolt11": invoice["bolt11"]}
        if (await self._payments(self.customer.adminkey, body)).is_success:
            return True
        path = f"/api/v1/payments/{invoice['payment_hash']}"
        headers = {"X-Api-Key": self.customer.adminkey}
        while True:
            with suppress(httpx.TransportError):
                said = await self.sessions[1].core.get(path, headers=headers)
                return said.is_success and bool(said.json().get("paid"))
            await asyncio.sleep(0.3)

    async def asks_for(self, sats: int) -> str:
        body = {"out": False, "unit": "sat", "amount": sats, "memo": "sats"}
        while True:
            said = await self._payments(self.customer.inkey, body)
            if said.is_success:
                return str(said.json()["bolt11"])
            await asyncio.sleep(0.3)

    # the day ---------------------------------------------------------------------

    async def trade(self, trader: Trader, until: float) -> None:
        while time.monotonic() < until:
            kind = trader.chance.choice((self.cash_in, self.cash_out))
            await kind(trader)
            await asyncio.sleep(trader.chance.uniform(0.5, 3))

    async def cash_out(self, trader: Trader) -> None:
        body = trader.figures("out")
        txid = body["txid"]
        try:
            invoice = await trader.told("invoice", body)
        except RefusedError as refused:
            trader.refused[txid] = refused.code
            return
        if not await self.pays(invoice):
            trader.walked.append(txid)
            return
        payment_hash = invoice["payment_hash"]
        named = {"tx_type": "cash_out", "payment_hash": payment_hash}
        trader.machine.report("settlement", {**body, **named})
        dispensed = {"payment_hash": payment_hash, "dispensed_fiat": "2.00"}
        trader.machine.report("dispense", dispensed)
        while trader.machine.state.outbox:
            with suppress(NoAnswerError):
                await trader.machine.drain()
        trader.settled[txid] = payment_hash

    async def cash_in(self, trader: Trader) -> None:
        body = trader.figures("in")
        txid = body["txid"]
        shown = trader.shown[txid] = []
        for _ in range(MOST_INVOICES):
            shown.append(await self.asks_for(WIRE_IN))
            try:
                told = await self._outcome(trader, {**body, "bolt11": shown[-1]})
            except RefusedError as refused:
                trader.refused[txid] = refused.code
                return
            if told["payment_status"] == "paid":
                trader.settled[txid] = told["payment_hash"]
                return
        trader.refused[txid] = "failed"

    async def _outcome(self, trader: Trader, body: dict[str, Any]) -> dict[str, Any]:
        while True:
            told = await trader.told("payout", body)
            if told["payment_status"] != "pending":
                return told
            await asyncio.sleep(0.3)

    async def top_up(self, at: float) -> None:
        """Half the day is over: the empty wallets are filled."""
        await asyncio.sleep(max(0, at - time.monotonic()))
        for trader in self.traders:
            while not trader.is_rich:
                with suppress(httpx.HTTPError):
                    await credit(self.sessions[0], trader.wallet.id, START_SATS)
                    trader.is_rich = True

    async def kill(self, times: list[float]) -> None:
        for at in times:
            await asyncio.sleep(max(0, at - time.monotonic()))
            self.up_at = float("inf")
            self.server.kill9()
            self.books.end_lease()
            self.server = await self.server.again().ready()
            self.up_at = time.monotonic()

    async def day(self) -> None:
        began = time.monotonic()
        until = began + DAY_SECONDS
        self.weather = [
            Weather(
                relay,
                partial(trader.machine.ask, "ping", {}),
                lambda: self.up_at,
                random.Random(f"{SEED} {relay.url[-1]}"),
            )
            for relay, trader in zip(self.relays, self.traders, strict=False)
        ]
        kills = [began + DAY_SECONDS * (n + 1) / (KILLS + 1) for n in range(KILLS)]
        await asyncio.gather(
            *(weather.blow(until) for weather in self.weather),
            *(self.trade(trader, until) for trader in self.traders),
            self.top_up(began + DAY_SECONDS / 2),
            self.kill(kills),
        )


async def test_a_day_of_bad_relays_kills_and_wrong_clocks(tmp_path: Path) -> None:
    server = start(tmp_path / "lnbits", database_url=environment.new_database())
    town = Town(server, SEED)
    try:
        await town.open()
        await town.day()
        settled = {t: h for trader in town.traders for t, h in trader.settled.items()}
        await wait_for(
            lambda: town.books.number(
                "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements "
                "WHERE status = 'completed'"
            )
            == len(settled),
            300 if IS_THOROUGH else 60,
            interval_seconds=0.5,
        )
        await town.server.stop()
        tell(town)
        assert_settled_or_refused(town, settled)
        town.books.assert_ledger_balances()
        slowest, _ = max(w for weather in town.weather for w in weather.answered_after)
        assert slowest < RETURN_SECONDS
    finally:
        await town.close()


def tell(town: Town) -> None:
    waits = sorted(w for weather in town.weather for w in weather.answered_after)
    middle, (seconds, why) = waits[len(waits) // 2][0], waits[-1]
    did = Counter(what for weather in town.weather for what in weather.did)
    refused = Counter(c for trader in town.traders for c in trader.refused.values())
    print(
        f"seed {SEED}: {MACHINES} machines, {KILLS} kills, relays {dict(did)}; "
        f"{sum(len(t.settled) for t in town.traders)} trades settled, refused "
        f"{dict(refused)}, {sum(len(t.walked) for t in town.traders)} walked away; "
        f"from a relay's return to an answer: median {middle:.1f} s, "
        f"longest {seconds:.1f} s ({why})"
    )


def assert_settled_or_refused(town: Town, settled: dict[str, str]) -> None:
    books = town.books
    rows = books.query(
        "SELECT bitspire_txid, payment_hash FROM satoshimachine.dca_settlements"
    )
    assert len(rows) == len(settled)
    assert {r["bitspire_txid"]: r["payment_hash"] for r in rows} == settled
    hashes = list(settled.values())
    assert len(set(hashes)) == len(hashes)
    paid = books.query(
        "SELECT payment_hash, COUNT(*) AS n FROM apipayments WHERE amount < 0 "
        f"AND status = 'success' AND amount = -{WIRE_IN * 1000} GROUP BY payment_hash"
    )
    ins = {t for t in settled if "-in-" in t}
    # once each, and not one of those whose cash was handed back
    assert {r["payment_hash"]: r["n"] for r in paid} == {settled[t]: 1 for t in ins}
    outs = len(settled) - len(ins)
    balance = START_SATS - outs * WIRE_OUT + len(ins) * WIRE_IN
    assert books.balance_sats(town.customer.id) == balance
    attempts = books.query(
        "SELECT txid FROM satoshimachine.dca_machine_attempts WHERE failed_at IS NULL"
    )
    assert Counter(row["txid"] for row in attempts) == Counter(ins)
    refused = {t for trader in town.traders for t in trader.refused}
    assert not refused & settled.keys()
