"""Machines of other makes: pynostr, nostr-sdk, and nostr-tools on node.

Each signs and encrypts its own requests, sends them over a real relay, and decrypts
what comes back. nostr-tools is installed by npm into .cache/interop, in the versions
that tests/line/interop/package.json pins; without Node the test is skipped.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from line_world import Lines, MakeOnLine, OnLine
from lnbits.wallets.fake import FakeWallet
from nostr_sdk import Event, Nip44Version, PublicKey, SecretKey, nip44_encrypt
from pynostr.event import Event as PynostrEvent
from pynostr.key import PrivateKey
from world import update

from conftest import wait_for
from dev.accounts import answer
from dev.installation import ROOT
from dev.nostr_machine import WHAT_TO_DO

HERE = Path(__file__).resolve().parent / "interop"
INSTALLED = ROOT / ".cache" / "interop"
WANTS = "wants_invoice"
REQUESTS: list[dict[str, Any]] = [
    {"rpcName": "ping", "requestId": "1", "body": {}},
    {"rpcName": "quote", "requestId": "é-2", "body": {"tx_type": "cash_in"}},
    {"rpcName": "explode", "requestId": 3, "body": {}},
]


def assert_answered(replies: list[dict[str, Any]]) -> None:
    """What every make of machine must have read."""
    ping, quote, explode = replies
    assert (ping["status"], ping["requestId"], ping["pong"]) == ("OK", "1", True)
    assert (quote["status"], quote["requestId"]) == ("ERROR", "é-2")
    assert quote["code"] == "bad_request" and "GTQ" in quote["reason"]
    assert (explode["code"], explode["requestId"]) == ("unknown_rpc", 3)


async def test_a_machine_made_with_nostr_sdk(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    replies = []
    for request in REQUESTS:
        content = found.client.sealed(json.dumps(request))
        event = found.client.event(21000, content, [])
        replies.append(await found.client.ask_event(event))
    assert_answered(replies)


async def test_a_machine_that_signs_with_pynostr(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    key = PrivateKey.from_nsec(found.machine.state.nsec)
    service = PublicKey.parse(found.client.service.to_hex())
    replies = []
    for request in REQUESTS:
        event = PynostrEvent(
            kind=21000,
            tags=[["p", service.to_hex()], ["client", 'ü \\ " \n']],
            content=nip44_encrypt(
                SecretKey.parse(key.hex()),
                service,
                json.dumps(request, ensure_ascii=False),
                Nip44Version.V2,
            ),
        )
        event.sign(key.hex())
        signed = Event.from_json(json.dumps(event.to_dict()))
        replies.append(await found.client.ask_event(signed))
    assert_answered(replies)


def nostr_tools() -> Path:
    """The folder with nostr-tools; installed on the first run."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("needs Node and npm")
    wanted = (HERE / "package.json").read_bytes()
    stamp = INSTALLED / "installed.json"
    if not stamp.exists() or stamp.read_bytes() != wanted:
        INSTALLED.mkdir(parents=True, exist_ok=True)
        (INSTALLED / "package.json").write_bytes(wanted)
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=INSTALLED, capture_output=True, text=True, timeout=100
        )
        if done.returncode:
            pytest.skip(f"npm could not install nostr-tools: {done.stderr[-200:]}")
        stamp.write_bytes(wanted)
    shutil.copy(HERE / "machine.mjs", INSTALLED / "machine.mjs")
    return INSTALLED


@dataclass
class JavaScriptMachine:
    """machine.mjs as a process; its customer is whoever tests."""

    process: asyncio.subprocess.Process

    async def tell(self, **message: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        await self.process.stdin.drain()

    async def says(self, what: str) -> Any:
        """The next thing it prints, which must be this."""
        assert self.process.stdout and self.process.stderr
        line = await asyncio.wait_for(self.process.stdout.readline(), 90)
        if not line:
            raise AssertionError((await self.process.stderr.read()).decode()[-2000:])
        said = json.loads(line)
        assert what in said, said
        return said[what]

    async def ask(self, rpc: str, body: Any, **more: Any) -> Any:
        await self.tell(do="ask", rpc=rpc, body=body, **{"id": "0", **more})
        return await self.says("done")

    async def end(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


async def javascript(*args: str) -> JavaScriptMachine:
    folder = await asyncio.to_thread(nostr_tools)
    return JavaScriptMachine(
        await asyncio.create_subprocess_exec(
            *("node", "machine.mjs", *args),
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )


@pytest_asyncio.fixture
async def in_javascript(
    make_on_line: MakeOnLine, lines: Lines
) -> AsyncIterator[tuple[OnLine, JavaScriptMachine]]:
    """A machine that is registered with a key of machine.mjs, and paired by it."""
    new = await javascript("new")
    assert new.process.stdout
    keys = json.loads(await new.process.stdout.readline())
    await new.end()
    found = await make_on_line(is_paired=False, deposits=["300.00"])
    await update("dca_machines", found.world.machine.id, machine_npub=keys["npub"])
    qr = await found.qr()
    machine = await javascript()
    try:
        await machine.tell(
            nsec=keys["nsec"],
            service=qr["service_npub"],
            # one of them is down: it goes on without it
            relays=["ws://127.0.0.1:9", *(relay.url for relay in lines.relays)],
            fiat_code="GTQ",
        )
        paired = await machine.ask("pair", {"code": qr["pairing_code"]})
        assert (paired["status"], paired["name"]) == ("OK", "Antigua")
        yield found, machine
    finally:
        await machine.end()


async def test_a_machine_made_with_nostr_tools(
    in_javascript: tuple[OnLine, JavaScriptMachine],
) -> None:
    found, machine = in_javascript
    replies = [
        await machine.ask(r["rpcName"], r["body"], id=r["requestId"]) for r in REQUESTS
    ]
    assert_answered(replies)
    await machine.tell(
        do="publish",
        kind=30079,
        name="bitspire-telemetry",
        content='{"made": "in JavaScript"}',
        encrypted=True,
    )
    assert await machine.says("done") == {"published": "bitspire-telemetry"}

    async def told() -> Any:
        path = f"/machines/{found.world.machine.id}/telemetry"
        return answer(await found.world.operator.api.get(path))["telemetry"]

    assert await wait_for(told) == {"made": "in JavaScript"}


async def test_whole_trades_in_javascript(
    in_javascript: tuple[OnLine, JavaScriptMachine],
) -> None:
    """From `quote` to `dispense`, a short one, and from `quote` to `payout`, where the
    wallet is short first, and then the customer's first invoice is dead."""
    found, machine = in_javascript
    world = found.world
    fixed = {"operator_cash_out_fixed_fee": "2.01"}
    address = f"/machines/{world.machine.id}"
    answer(await world.operator.api.put(address, json=fixed))
    await machine.tell(do="cash_out", bills={"100": 2}, rate=500)
    await found.customer_pays(await machine.says("show"))
    sold = await machine.says("done")
    await world.until(sold["payment_hash"], "completed")
    landed = await world.settlement(sold["payment_hash"])
    assert (landed.bitspire_txid, landed.principal_sats) == (sold["txid"], 100_000)
    # the price is the service's, to the sat: 3 and 5 %, and 2.01 GTQ at this rate
    assert (landed.fee_sats, landed.fee_mismatch_sats) == (9_005, 0)
    await machine.tell(do="cash_out", bills={"100": 2}, rate=500, dispensed=100)
    await found.customer_pays(await machine.says("show"))
    short = await machine.says("done")
    assert short["dispensed"] == "100.00"

    async def planned() -> Any:
        landed = await world.settlement(short["payment_hash"])
        return landed.dispensed_fiat == 100

    await wait_for(planned)
    await machine.tell(do="cash_in", bills={"100": 20}, rate=500)
    assert await machine.says("refused") == "wallet_short"
    await world.fund(world.machine_wallet.id, 300_000)
    await machine.tell(do="cash_in", bills={"100": 2}, rate=500)
    sats = await machine.says(WANTS)
    dead = await FakeWallet().create_invoice(sats, "outside")
    await machine.tell(bolt11=dead.payment_request)
    await machine.tell(bolt11=await found.customer_asks_for(await machine.says(WANTS)))
    bought = await machine.says("done")
    assert (bought["status"], sats) == ("paid", 92_000)
    await world.until(bought["payment_hash"], "completed")


def test_every_error_has_a_line_in_the_guide_and_in_both_clients() -> None:
    """The same codes in docs/machines.md, dev/nostr_machine.py and machine.mjs, and
    every code that the service may send among them."""
    guide = (ROOT / "docs" / "machines.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", guide, re.MULTILINE)
    documented = {code for row in rows for code in re.findall(r"`(\w+)`", row)}
    script = (HERE / "machine.mjs").read_text(encoding="utf-8")
    table = script[script.index("WHAT_TO_DO = {") : script.index("const HOPELESS")]
    in_javascript = dict(re.findall(r"(\w+): '(.*?)'", table))
    sent = set()
    for path in (ROOT / "line").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        sent |= set(re.findall(r'LineError\(\s*"(\w+)"', text))
    # what is published gets no answer: these are counted in health
    assert sent - documented == {"future", "unknown_event"}
    assert documented == set(WHAT_TO_DO)
    assert in_javascript == WHAT_TO_DO
