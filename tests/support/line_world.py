"""A machine on the line: two real relays, a simulated bitSpire, and its back office.

The machine has a key and the QR that its operator shows it, and no key of LNbits. The
customers are LNbits users here and pay, or are paid, through LNbits alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest_asyncio
from lnbits.core.services import create_invoice, pay_invoice
from nostr_sdk import Event
from scripted_relay import ScriptedRelay
from world import MakeWorld, World, build_world

from satmachineadmin import tasks
from satmachineadmin.line import crud as line_crud
from satmachineadmin.line import engine as line
from satmachineadmin.line import keys as line_keys
from satmachineadmin.line.nostr import open_event

from conftest import wait_for
from dev.accounts import UserSession, answer
from dev.line_client import Answer, LineClient
from dev.nostr_machine import NostrMachine, RefusedError
from dev.relay import DevRelay

HasUrl = DevRelay | ScriptedRelay
RATE = Decimal(500)  # sats for one quetzal: 200.00 GTQ are 100 000 sat
BILLS = {100: 2}


async def set_relays(super_session: UserSession, *relays: HasUrl) -> None:
    """Tells the server its relays, and waits until it is on all of them."""
    urls = [relay.url for relay in relays]
    answer(await super_session.api.put("/super/nostr", json={"relays": urls}))
    await wait_for(
        lambda: line.current is not None
        and sorted(line.current.pool.connected()) == sorted(urls),
        timeout_seconds=30,
    )


@dataclass
class Lines:
    """The relays that the server is on."""

    relays: list[DevRelay]
    super_session: UserSession


@pytest_asyncio.fixture(scope="session")
async def lines(app: Any, super_session: UserSession) -> AsyncIterator[Lines]:
    relays = [DevRelay(), DevRelay()]
    for relay in relays:
        await relay.start()
    yield Lines(relays, super_session)
    await set_relays(super_session)
    for relay in relays:
        relay.stop()


@dataclass
class OnLine:
    """A world whose machine speaks over the line."""

    world: World
    machine: NostrMachine

    @property
    def client(self) -> LineClient:
        return self.machine.client

    async def qr(self) -> dict[str, Any]:
        """A new pairing code, as the operator's dashboard shows it."""
        path = f"/machines/{self.world.machine.id}/pairing"
        return dict(answer(await self.world.operator.api.post(path)))

    async def ask(self, rpc: str, body: Any = None, **more: Any) -> Answer:
        """One answered request, whatever the answer."""
        return await self.client.insist(rpc, {} if body is None else body, **more)

    async def direct(self, event: Event) -> Answer | None:
        """What the server would answer to an event, without relays in between, as a
        process that has just started would."""
        here = line.Line()
        here.ring = await line_keys.key_ring()
        machine = await line_crud.machine_by_npub(self.machine.npub)
        assert machine
        opened = open_event(event.as_json(), here.ring.readable)
        return await here.answer(machine, opened)

    async def refused(self, rpc: str, body: Any) -> Answer:
        """The ERROR to a request that must be refused."""
        told = await self.ask(rpc, body)
        assert told["status"] == "ERROR", told
        assert told["reason"] and told["server_time"]
        return told

    def figures(
        self,
        txid: str,
        principal: int = 100_000,
        fee: int | None = 8_000,
        fiat: str = "200.00",
        **more: Any,
    ) -> dict[str, Any]:
        body = {
            "txid": txid,
            "principal_sats": principal,
            "fee_sats": fee,
            "fiat_amount": fiat,
            "fiat_code": self.world.machine.fiat_code,
            **more,
        }
        return {name: value for name, value in body.items() if value is not None}

    async def customer_pays(self, bolt11: str) -> None:
        world = self.world
        await world.fund(world.customer.wallet.id, 200_000)
        await pay_invoice(wallet_id=world.customer.wallet.id, payment_request=bolt11)

    async def customer_asks_for(self, amount_sats: int) -> str:
        invoice = await create_invoice(
            wallet_id=self.world.customer.wallet.id,
            amount=amount_sats,
            memo="sats for cash",
        )
        return str(invoice.bolt11)

    async def cash_out(self, **more: Any) -> str:
        """A whole cash-out of 200.00; returns the payment hash."""
        trade = await self.machine.cash_out(BILLS, RATE, self.customer_pays, **more)
        await self.machine.drain()
        return trade.payment_hash

    async def cash_in(self, **more: Any) -> str:
        trade = await self.machine.cash_in(BILLS, RATE, self.customer_asks_for, **more)
        assert trade.status == "paid"
        return trade.payment_hash


MakeOnLine = Callable[..., Awaitable[OnLine]]


@pytest_asyncio.fixture
async def make_on_line(
    lines: Lines,
    make_world: MakeWorld,
    make_user: Any,
    make_wallet: Any,
    fund: Any,
    super_session: UserSession,
) -> AsyncIterator[MakeOnLine]:
    """``await make_on_line()``: a machine that is paired, unless told otherwise."""
    made: list[NostrMachine] = []
    await wait_for(lambda: tasks.state.is_engine)
    await set_relays(super_session, *lines.relays)

    async def make(*, is_paired: bool = True, **options: Any) -> OnLine:
        machine = NostrMachine()
        machine.patience_seconds = 20
        made.append(machine)
        world = await build_world(
            make_user,
            make_wallet,
            fund,
            super_session,
            machine_npub=machine.npub,
            **options,
        )
        found = OnLine(world, machine)
        qr = await found.qr()
        if is_paired:
            await machine.pair(qr)
        else:
            machine.scan(qr)
            await machine.go_online()
        return found

    yield make
    await asyncio.gather(*(machine.go_offline() for machine in made))


__all__ = [
    "BILLS",
    "RATE",
    "Lines",
    "MakeOnLine",
    "OnLine",
    "RefusedError",
    "lines",
    "make_on_line",
    "set_relays",
]
