"""The simulated machine as a command: what anybody can point at a server.

Each command is a process of its own that reads and writes the machine's file; here they
reach the server in this process over a real relay.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from line_world import MakeOnLine, OnLine
from world import balance_sats, update

from satmachineadmin import crud

from conftest import wait_for
from dev.installation import ROOT
from dev.machine import read_bills, read_rate
from dev.nostr_machine import NostrMachine, Report, State

Command = Callable[..., Awaitable[str]]


async def start(path: Path, *args: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dev.machine", "--state", str(path), *args),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(path: Path, *args: str, fails: bool = False) -> str:
    """What a command prints."""
    process = await start(path, *args)
    said, errors = await asyncio.wait_for(process.communicate(), 60)
    assert bool(process.returncode) is fails, errors.decode()
    return (errors if fails else said).decode()


async def machine_of(make_on_line: MakeOnLine, path: Path) -> OnLine:
    """A machine that was made and paired by commands."""
    found = await make_on_line(is_paired=False)
    said = await run(path, "new")
    npub = said.split()[-1]
    await update("dca_machines", found.world.machine.id, machine_npub=npub)
    said = await run(path, "pair", json.dumps(await found.qr()))
    assert "Paired as Antigua, GTQ" in said
    return found


async def read_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    return (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()


async def test_a_day_of_commands(make_on_line: MakeOnLine, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    found = await machine_of(make_on_line, path)
    await found.world.fund(found.world.machine_wallet.id, 200_000)
    assert "pong" in await run(path, "ping")
    assert '"0.0300"' in await run(path, "quote", "cash_out")

    buying = await start(
        path, "cash-out", "--bills", "100x2", "--rate", "500", "--dispensed", "150"
    )
    assert "Pay this invoice" in await read_line(buying)
    await found.customer_pays(await read_line(buying))
    assert "dispensed 150" in await read_line(buying)
    await buying.wait()

    selling = await start(path, "cash-in", "--bills", "100x2", "--rate", "500")
    assert "exactly 92000 sat" in await read_line(selling)
    assert selling.stdin
    before = await balance_sats(found.world.customer.wallet.id)
    selling.stdin.write((await found.customer_asks_for(92_000)).encode() + b"\n")
    await selling.stdin.drain()
    assert "paid" in await read_line(selling)
    await selling.wait()
    assert await balance_sats(found.world.customer.wallet.id) == before + 92_000

    assert "Published" in await run(path, "status")
    assert "1 of 1 reports taken" in await run(path, "offline")
    assert "sent a second time" in await run(path, "replay")
    assert "still answers" in await run(path, "garbage")
    assert "0 left" in await run(path, "drain")
    assert await found.world.settlement_count() == 2
    state = State.load(path)
    assert (state.counter, state.outbox, state.refused) == (2, [], [])
    assert path.stat().st_mode & 0o077 == 0  # the secret is nobody else's to read


async def test_what_is_asked_wrongly(make_on_line: MakeOnLine, tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    found = await machine_of(make_on_line, path)
    await run(path, "new", fails=True)
    await run(path, "explode", fails=True)
    await run(path, "cash-out", "--bills", "100x2", "--rate", "-1", fails=True)
    code = json.dumps({**await found.qr(), "pairing_code": "guessed"})
    assert "bad_code" in await run(path, "pair", code, fails=True)
    said = await run(path, "cash-in", "--bills", "100x2", "--rate", "500", fails=True)
    assert "wallet_short" in said


@pytest.mark.parametrize("text", ["", "x", "100x", "100xx", "-1x1", "100x0", "1.5x1"])
def test_bills_that_make_no_sense(text: str) -> None:
    if text == "100x":
        assert read_bills(text) == {100: 1}
        return
    with pytest.raises(ValueError):
        read_bills(text)


def test_bills_and_rates() -> None:
    assert read_bills("100x7, 50x1,100") == {100: 8, 50: 1}
    assert str(read_rate("133.33")) == "133.33"
    for text in ("", "x", "0", "-1", "nan", "inf"):
        with pytest.raises(ValueError):
            read_rate(text)


async def test_the_outbox_survives_a_power_cut(
    make_on_line: MakeOnLine, tmp_path: Path
) -> None:
    """Days without a network, then everything is taken, in order, once."""
    found = await make_on_line()
    machine = found.machine
    machine.path = tmp_path / "machine.json"
    hashes: list[str] = []
    for number in range(5):
        body = found.figures(f"n{number}", principal=1_000, fee=80, fiat="2.00")
        invoice = await found.ask("invoice", body)
        await found.customer_pays(invoice["bolt11"])
        hashes.append(invoice["payment_hash"])
    await machine.go_offline()
    for payment_hash in hashes:
        machine.report(
            "dispense", {"payment_hash": payment_hash, "dispensed_fiat": "2.00"}
        )
    machine.report("dispense", {"payment_hash": "00" * 32, "dispensed_fiat": "2.00"})

    again = NostrMachine(State.load(machine.path), machine.path)
    assert again.npub == machine.npub
    assert again.state.outbox[0] == Report(
        "dispense", {"payment_hash": hashes[0], "dispensed_fiat": "2.00"}
    )
    await again.go_online()
    try:
        assert await again.drain() == 5
    finally:
        await again.go_offline()
    kept: dict[str, Any] = json.loads(machine.path.read_text())
    assert kept["outbox"] == []
    assert [r["answer"]["code"] for r in kept["refused"]] == ["unknown_payment"]
    for payment_hash in hashes:
        await found.world.until(payment_hash, "completed")
    await wait_for(lambda: crud.get_settlement_by_hash(hashes[0]))
