"""The demo's machines on the line: as `make run` has them, unless told otherwise.

Each keeps its key, outbox and cash in a file, is registered by its npub, paired with
the code that the operator gets, and then knows no key of LNbits. Customers pay and are
paid through LNbits, as everywhere in the demo.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from .accounts import UserSession, WalletKeys, answer
from .demo import CODE
from .http_machine import Bills, value_of
from .nostr_machine import FULL_CASSETTES, NostrMachine, RefusedError, State
from .relay import DevRelay

# One cash-out in so many jams, and dispenses a part.
ONE_JAM_IN = 30
# One customer in so many has the operator's code.
ONE_CODE_IN = 3
LOW_COUNT = 100


@dataclass
class LineMachine:
    """The same calls as `HttpMachine`, over Nostr."""

    client: httpx.AsyncClient
    operator: UserSession
    machine_id: str
    wallet: WalletKeys
    name: str
    machine: NostrMachine
    chance: random.Random = field(default_factory=random.Random)

    async def _payments(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self.client.post(
            "/api/v1/payments", headers={"X-Api-Key": key}, json=body, timeout=60
        )
        return dict(answer(response))

    async def cash_out(
        self, customer: WalletKeys, bills: Bills, sats_per_unit: Decimal
    ) -> None:
        async def pay(bolt11: str) -> None:
            await self._payments(customer.adminkey, {"out": True, "bolt11": bolt11})

        is_jammed = self.chance.randrange(ONE_JAM_IN) == 0
        dispensed = value_of(bills) - min(bills) if is_jammed else None
        code = CODE if self.chance.randrange(ONE_CODE_IN) == 0 else None
        try:
            await self.machine.cash_out(
                bills, sats_per_unit, pay, dispensed=dispensed, code=code
            )
        except RefusedError as refused:
            if refused.code != "bad_code":
                raise
            # the trade goes on without it
            await self.machine.cash_out(bills, sats_per_unit, pay, dispensed=dispensed)
        await self.report()

    async def cash_in(
        self, customer: WalletKeys, bills: Bills, sats_per_unit: Decimal
    ) -> None:
        async def make_invoice(amount_sats: int) -> str:
            body = {"out": False, "unit": "sat", "amount": amount_sats, "memo": "sats"}
            return str((await self._payments(customer.inkey, body))["bolt11"])

        await self.machine.cash_in(bills, sats_per_unit, make_invoice)
        await self.report()

    async def report(self) -> None:
        """What a bitSpire tells after each customer."""
        await self.machine.drain()
        await self.machine.publish_cassettes()
        await self.machine.publish_telemetry()
        await self.machine.publish_beacon(name=self.name)
        if min(count for _, count in self.machine.state.cassettes.values()) < LOW_COUNT:
            await self._fill_cassettes()

    async def _fill_cassettes(self) -> None:
        """The operator opens the machine and says what is in it now."""
        positions = {
            str(bay): {"denomination": denomination, "count": count}
            for bay, (denomination, count) in FULL_CASSETTES.items()
        }
        path = f"/machines/{self.machine_id}/cassettes"
        answer(await self.operator.api.put(path, json={"positions": positions}))


def _kept(path: Path) -> NostrMachine:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = State.load(path) if path.exists() else State.new()
    machine = NostrMachine(state, path)
    machine.save()
    return machine


async def _paired(
    operator: UserSession, row: dict[str, Any], machine: NostrMachine, relay: DevRelay
) -> None:
    """Registers the key if it is a new board, and pairs unless that was done."""
    path = f"/machines/{row['id']}"
    if row["machine_npub"] != machine.npub:
        row = answer(await operator.api.put(path, json={"machine_npub": machine.npub}))
    if row["is_paired"] and machine.state.service_npub:
        machine.state.relays = [relay.url]
        machine.save()
        await machine.go_online()
        return
    await machine.pair(answer(await operator.api.post(f"{path}/pairing")))


@asynccontextmanager
async def on_line(
    client: httpx.AsyncClient,
    platform: UserSession,
    operator: UserSession,
    wallets: dict[str, WalletKeys],
    folder: Path,
) -> AsyncIterator[dict[str, LineMachine]]:
    """Machines by name, online, for the length of a block; with a relay of their own.

    `wallets` are the machines' wallets by the machines' names.
    """
    relay = DevRelay()
    await relay.start()
    machines: dict[str, LineMachine] = {}
    try:
        answer(await platform.api.put("/super/nostr", json={"relays": [relay.url]}))
        rows = answer(await operator.api.get("/machines", params={"limit": 100}))
        for row in rows["data"]:
            name = row["name"]
            if name not in wallets:
                continue
            machine = _kept(folder / "machines" / f"{row['id']}.json")
            machines[name] = LineMachine(
                client, operator, row["id"], wallets[name], name, machine
            )
            await _paired(operator, row, machine, relay)
            await machines[name].report()
        yield machines
    finally:
        for found in machines.values():
            await found.machine.go_offline()
        relay.stop()
