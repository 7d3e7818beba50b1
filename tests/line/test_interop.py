"""Machines of other makes: pynostr, nostr-sdk, and nostr-tools on node.

Each signs and encrypts its own requests, sends them over a real relay, and decrypts
what comes back. nostr-tools is installed by npm into .cache/interop, in the versions
that tests/interop/package.json pins; without Node the test is skipped.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from line_world import Lines, MakeOnLine
from nostr_sdk import Event, Nip44Version, PublicKey, SecretKey, nip44_encrypt
from pynostr.event import Event as PynostrEvent
from pynostr.key import PrivateKey
from world import update

from conftest import wait_for
from dev.accounts import answer
from dev.installation import ROOT

HERE = Path(__file__).resolve().parent / "interop"
INSTALLED = ROOT / ".cache" / "interop"
REQUESTS = [
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


async def node(folder: Path, *args: str, **message: Any) -> Any:
    """What machine.mjs prints, as JSON."""
    process = await asyncio.create_subprocess_exec(
        *("node", "machine.mjs", *args),
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await asyncio.wait_for(
        process.communicate(json.dumps(message).encode()), 60
    )
    assert process.returncode == 0, errors.decode()[-2000:]
    return json.loads(said)


async def test_a_machine_made_with_nostr_tools(
    make_on_line: MakeOnLine, lines: Lines
) -> None:
    """From pairing to an invoice, a beacon and telemetry, in JavaScript."""
    folder = await asyncio.to_thread(nostr_tools)
    keys = await node(folder, "npub")
    found = await make_on_line(is_paired=False)
    await update("dca_machines", found.world.machine.id, machine_npub=keys["npub"])
    qr = await found.qr()
    pairing = {
        "rpcName": "pair",
        "requestId": "0",
        "body": {"code": qr["pairing_code"]},
    }
    buying = {
        "rpcName": "invoice",
        "requestId": "4",
        "body": found.figures("js-1", bills={"100": 2}),
    }
    telemetry = {
        "kind": 30079,
        "name": "bitspire-telemetry",
        "content": '{"made": "in JavaScript"}',
        "encrypted": True,
    }
    replies = await node(
        folder,
        nsec=keys["nsec"],
        relay=lines.relays[0].url,
        service=qr["service_npub"],
        requests=[pairing, *REQUESTS, buying],
        publish=[telemetry],
    )
    assert (replies[0]["status"], replies[0]["name"]) == ("OK", "Antigua")
    assert_answered(replies[1:4])
    assert (replies[4]["status"], replies[4]["wire_sats"]) == ("OK", 108_000)
    payment = await found.world.core_payment(replies[4]["payment_hash"])
    assert payment.bolt11 == replies[4]["bolt11"]

    async def told() -> Any:
        path = f"/machines/{found.world.machine.id}/telemetry"
        return answer(await found.world.operator.api.get(path))["telemetry"]

    assert await wait_for(told) == {"made": "in JavaScript"}
