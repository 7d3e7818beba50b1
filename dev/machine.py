"""A simulated bitSpire as a command, to be pointed at any server.

    python -m dev.machine --state zona10.json new
        prints the npub; register it in the dashboard, then make a pairing code
    python -m dev.machine --state zona10.json pair '{"service_npub": "npub1...",
        "relays": ["ws://127.0.0.1:7777"], "pairing_code": "..."}'
        what the pairing QR holds
    python -m dev.machine --state zona10.json cash-out --bills 100x7,50x1 --rate 133.33
    python -m dev.machine --state zona10.json cash-in --bills 100x2 --rate 133.33
    python -m dev.machine --state zona10.json cash-out ... --dispensed 700
    python -m dev.machine --state zona10.json offline

The customer is whoever pays the invoice that is printed, or is asked for one; with
``--customer URL --key ADMINKEY`` a wallet on some LNbits does it. The state file holds
the machine's secret key, its outbox and its cash.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import httpx

from .accounts import answer
from .line_client import NoAnswerError
from .nostr_machine import NostrMachine, RefusedError, State, value_of

Asked = argparse.Namespace


def read_bills(text: str) -> dict[int, int]:
    """`100x7,50x1` as bills by denomination."""
    bills: dict[int, int] = {}
    for part in text.split(","):
        denomination, _, count = part.strip().partition("x")
        bills[int(denomination)] = bills.get(int(denomination), 0) + int(count or 1)
    if not bills or any(d <= 0 or n <= 0 for d, n in bills.items()):
        raise ValueError(text)
    return bills


def read_rate(text: str) -> Decimal:
    try:
        rate = Decimal(text)
    except InvalidOperation as exc:
        raise ValueError(text) from exc
    if not rate.is_finite() or rate <= 0:
        raise ValueError(text)
    return rate


# ------------------------------------------------------------------------ the customer


async def _lnbits(asked: Asked, body: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=asked.customer, timeout=60) as client:
        headers = {"X-Api-Key": asked.key}
        return answer(await client.post("/api/v1/payments", headers=headers, json=body))


def _payer(asked: Asked) -> Callable[[str], Awaitable[Any]]:
    async def pay(bolt11: str) -> None:
        if asked.customer:
            await _lnbits(asked, {"out": True, "bolt11": bolt11})
        else:
            print(f"Pay this invoice, the machine waits:\n{bolt11}", flush=True)

    return pay


def _receiver(asked: Asked) -> Callable[[int], Awaitable[str]]:
    async def make_invoice(amount_sats: int) -> str:
        if asked.customer:
            body = {"out": False, "unit": "sat", "amount": amount_sats, "memo": "sats"}
            return str((await _lnbits(asked, body))["bolt11"])
        print(f"An invoice for exactly {amount_sats} sat, please:", flush=True)
        return (await asyncio.to_thread(sys.stdin.readline)).strip()

    return make_invoice


# ---------------------------------------------------------------------------- commands


async def pair(machine: NostrMachine, asked: Asked) -> str:
    told = await machine.pair(json.loads(asked.qr))
    return f"Paired as {told['name'] or machine.npub}, {told['fiat_code']}."


async def ping(machine: NostrMachine, asked: Asked) -> str:
    told = await machine.ask("ping", {})
    return f"pong, server time {told['server_time']}"


async def quote(machine: NostrMachine, asked: Asked) -> str:
    fiat_code = machine.state.fiat_code
    body = {"tx_type": asked.tx_type, "fiat_code": fiat_code}
    return json.dumps(await machine.ask("quote", body), indent=1)


async def cash_out(machine: NostrMachine, asked: Asked) -> str:
    trade = await machine.cash_out(
        asked.bills, asked.rate, _payer(asked), dispensed=asked.dispensed
    )
    dispensed = value_of(asked.bills) if asked.dispensed is None else asked.dispensed
    return (
        f"{trade.txid}: {trade.principal_sats} sat + {trade.fee_sats} sat fee for "
        f"{trade.fiat_amount}, dispensed {dispensed}"
    )


async def cash_in(machine: NostrMachine, asked: Asked) -> str:
    trade = await machine.cash_in(asked.bills, asked.rate, _receiver(asked))
    sats = trade.principal_sats - trade.fee_sats
    return f"{trade.txid}: {sats} sat for {trade.fiat_amount}: {trade.status}"


async def drain(machine: NostrMachine, asked: Asked) -> str:
    taken = await machine.drain()
    return f"{taken} taken, {len(machine.state.outbox)} left in the outbox"


async def status(machine: NostrMachine, asked: Asked) -> str:
    await machine.publish_beacon()
    await machine.publish_telemetry()
    await machine.publish_cassettes()
    return "Published: beacon, telemetry, cassettes."


async def replay(machine: NostrMachine, asked: Asked) -> str:
    body = {"tx_type": "cash_out", "fiat_code": machine.state.fiat_code}
    await machine.ask("quote", body)
    for report in machine.state.outbox:
        await machine.ask(report.rpc, report.body)
    return f"{await machine.replay()} events sent a second time."


async def garbage(machine: NostrMachine, asked: Asked) -> str:
    sent = await machine.send_garbage()
    await machine.ask("ping", {})
    return f"{sent} bad messages sent; the server still answers a ping."


async def offline(machine: NostrMachine, asked: Asked) -> str:
    """A day without a network: what it would have reported waits in the outbox."""
    await machine.go_offline()
    machine.report("ping", {})
    try:
        await machine.drain()
    except NoAnswerError:
        await machine.go_online()
    waited = len(machine.state.outbox)
    return f"Offline; back online, {await machine.drain()} of {waited} reports taken."


COMMANDS: dict[str, tuple[Callable[[NostrMachine, Asked], Awaitable[str]], str]] = {
    "pair": (pair, "send the code of a pairing QR"),
    "ping": (ping, "is anybody there"),
    "quote": (quote, "the fees, and how much a customer may sell"),
    "cash-out": (cash_out, "a customer buys cash; --dispensed for a jam"),
    "cash-in": (cash_in, "a customer sells cash"),
    "drain": (drain, "send what waits in the outbox"),
    "status": (status, "publish beacon, telemetry and cassettes"),
    "offline": (offline, "lose the network, report, find it again"),
    "replay": (replay, "send the last events twice"),
    "garbage": (garbage, "send what no machine should"),
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m dev.machine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--state", type=Path, required=True, help="the machine's file")
    made.add_argument(
        "--patience", type=float, default=60, help="seconds to wait for an answer"
    )
    commands = made.add_subparsers(dest="command", required=True)
    commands.add_parser("new", help="make a machine with a new key; prints its npub")
    for name, (_, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name == "pair":
            command.add_argument("qr", help="the JSON in the pairing QR")
        if name == "quote":
            command.add_argument("tx_type", choices=("cash_out", "cash_in"))
        if name in ("cash-out", "cash-in"):
            command.add_argument("--bills", type=read_bills, required=True)
            command.add_argument("--rate", type=read_rate, required=True)
            command.add_argument("--customer", help="URL of the customer's LNbits")
            command.add_argument("--key", help="admin key of the customer's wallet")
        if name == "cash-out":
            command.add_argument("--dispensed", type=int, help="units of fiat, if less")
    return made


async def run(asked: Asked) -> str:
    if asked.command == "new":
        if asked.state.exists():
            raise SystemExit(f"{asked.state} is there already.")
        machine = NostrMachine(path=asked.state)
        machine.save()
        return f"Register this machine: {machine.npub}"
    machine = NostrMachine(State.load(asked.state), asked.state)
    machine.patience_seconds = asked.patience
    command, _ = COMMANDS[asked.command]
    try:
        if asked.command != "pair":
            await machine.go_online()
        said = await command(machine, asked)
        if machine.line and machine.state.outbox and asked.command != "pair":
            await machine.drain()
        return said
    finally:
        await machine.go_offline()


def main() -> None:
    asked = parser().parse_args()
    try:
        print(asyncio.run(run(asked)))
    except (RefusedError, NoAnswerError, httpx.HTTPError) as refused:
        raise SystemExit(f"{refused}") from None


if __name__ == "__main__":
    main()
