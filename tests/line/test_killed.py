"""Settlements over the line, and the server killed in the middle of them.

A real server process, a real relay, one machine. Its reports and its customers' payouts
go on, repeated until they are answered, while SIGKILL hits the server again and again;
in the end every report is taken, every customer was paid once, nothing is missing.
Read from the databases, from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from examples import IS_THOROUGH
from outside_view import Books

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
from dev.nostr_machine import NostrMachine
from dev.relay import DevRelay
from dev.server import Server, start

pytestmark = [pytest.mark.server, pytest.mark.timeout(900), pytest.mark.longest]

CASH_OUTS = CASH_INS = 25 if IS_THOROUGH else 8
KILLS = 5 if IS_THOROUGH else 2
WIRE_OUT, WIRE_IN = 10_800, 9_200


@dataclass
class Shop:
    """A server on which one machine is paired."""

    server: Server
    machine: NostrMachine
    people: list[UserSession]
    wallet: WalletKeys
    customer: WalletKeys

    async def pays(self, bolt11: str) -> None:
        await self._payments(self.customer.adminkey, {"out": True, "bolt11": bolt11})

    async def asks_for(self, sats: int) -> str:
        body = {"out": False, "unit": "sat", "amount": sats, "memo": "sats"}
        return str((await self._payments(self.customer.inkey, body))["bolt11"])

    async def _payments(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self.people[0].core.post(
            "/api/v1/payments", headers={"X-Api-Key": key}, json=body
        )
        return dict(answer(response))

    async def close(self) -> None:
        await self.machine.go_offline()
        for session in self.people:
            await session.aclose()


def figures(txid: str) -> dict[str, Any]:
    return {
        "txid": txid,
        "principal_sats": 10_000,
        "fee_sats": 800,
        "fiat_amount": "20.00",
        "fiat_code": "GTQ",
    }


async def open_shop(server: Server, relay: DevRelay) -> Shop:
    platform = await first_install(server.url)
    await enable_extension(platform)
    operator = await create_user(platform, "operator")
    customer = await create_user(platform, "customer")
    fees = await create_wallet(platform, "fees")
    await platform.api.put(
        "/super/config",
        json={
            "super_cash_out_fee_fraction": "0.0300",
            "super_cash_in_fee_fraction": "0.0300",
            "super_fee_wallet_id": fees.id,
        },
    )
    answer(await platform.api.put("/super/nostr", json={"relays": [relay.url]}))
    machine = NostrMachine()
    machine.patience_seconds = 60
    made = answer(
        await operator.api.post(
            "/machines",
            json={
                "machine_npub": machine.npub,
                "wallet_id": operator.wallet.id,
                "fiat_code": "GTQ",
                "operator_cash_out_fee_fraction": "0.0500",
                "operator_cash_in_fee_fraction": "0.0500",
            },
        )
    )
    qr = answer(await operator.api.post(f"/machines/{made['id']}/pairing"))
    await machine.pair(qr)
    await credit(platform, operator.wallet.id, 500_000)
    await credit(platform, customer.wallet.id, 500_000)
    return Shop(
        server,
        machine,
        [platform, operator, customer],
        operator.wallet,
        customer.wallet,
    )


async def drain_all(machine: NostrMachine) -> None:
    """The outbox, until it is empty, whoever dies meanwhile."""
    while machine.state.outbox:
        with contextlib.suppress(NoAnswerError):
            await machine.drain()


async def pay_customers(shop: Shop) -> None:
    """Customers who bring cash, one after another, until each is paid."""
    for number in range(CASH_INS):
        bolt11 = ""
        while True:
            # An unpaid invoice does not outlive its server: the node that LNbits has
            # here forgets it. The customer then shows another one.
            bolt11 = bolt11 or await _shown_invoice(shop)
            body = {**figures(f"in-{number}"), "bolt11": bolt11}
            try:
                told = await shop.machine.client.insist(
                    "payout", body, timeout_seconds=60
                )
            except NoAnswerError:
                continue
            assert told["status"] == "OK" or told["code"] == "busy", told
            if told.get("payment_status") == "paid":
                break
            if told.get("payment_status") == "failed":
                bolt11 = ""
            await asyncio.sleep(0.1)


async def _shown_invoice(shop: Shop) -> str:
    while True:
        try:
            return await shop.asks_for(WIRE_IN)
        except httpx.HTTPError:
            await asyncio.sleep(0.2)


async def test_the_server_is_killed_in_the_middle_of_settlements(
    tmp_path: Path,
) -> None:
    chance = random.Random()
    relay = DevRelay()
    await relay.start()
    server = start(tmp_path / "lnbits", database_url=environment.new_database())
    shop = None
    try:
        await server.ready()
        shop = await open_shop(server, relay)
        books = Books(server)
        machine = shop.machine
        for number in range(CASH_OUTS):
            invoice = await machine.ask("invoice", figures(f"out-{number}"))
            await shop.pays(invoice["bolt11"])
            payment_hash = invoice["payment_hash"]
            machine.report(
                "settlement",
                {"tx_type": "cash_out", "payment_hash": payment_hash}
                | figures(f"out-{number}"),
            )
            machine.report(
                "dispense", {"payment_hash": payment_hash, "dispensed_fiat": "20.00"}
            )

        work = asyncio.gather(drain_all(machine), pay_customers(shop))
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.3, 2.5))
            server.kill9()
            books.end_lease()
            server = await server.again().ready()
        await asyncio.wait_for(work, 300)

        assert machine.state.outbox == [] == machine.state.refused
        await wait_for(
            lambda: books.number(
                "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements "
                "WHERE status = 'completed'"
            )
            == CASH_OUTS + CASH_INS,
            180,
            interval_seconds=0.5,
        )
        await server.stop()
        assert_everybody_was_paid_once(books, shop)
        books.assert_ledger_balances()
    finally:
        if shop:
            await shop.close()
        server.kill9()
        relay.stop()


def assert_everybody_was_paid_once(books: Books, shop: Shop) -> None:
    settled = books.query(
        "SELECT payment_hash, bitspire_txid, tx_type FROM "
        "satoshimachine.dca_settlements"
    )
    assert len({row["payment_hash"] for row in settled}) == CASH_OUTS + CASH_INS
    assert {row["bitspire_txid"] for row in settled} == {
        *(f"out-{n}" for n in range(CASH_OUTS)),
        *(f"in-{n}" for n in range(CASH_INS)),
    }
    paid_sats = CASH_OUTS * WIRE_OUT
    received_sats = CASH_INS * WIRE_IN
    assert books.balance_sats(shop.customer.id) == 500_000 - paid_sats + received_sats
    # the platform's 3 % of 10 000 sat each; there are no splits and no LPs
    fees = (CASH_OUTS + CASH_INS) * 300
    assert (
        books.balance_sats(shop.wallet.id) == 500_000 + paid_sats - received_sats - fees
    )
    unfailed = books.query(
        "SELECT txid FROM satoshimachine.dca_machine_attempts WHERE failed_at IS NULL"
    )
    assert len(unfailed) == CASH_INS
