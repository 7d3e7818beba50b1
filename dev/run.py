"""`make run`: LNbits with this extension, and a demo on it, until Ctrl-C.

    python -m dev.run [--db sqlite|postgres] [--demo on|off] [--line nostr|http]
                      [--port N]

The data lies in .data/ and is kept: the next run goes on with it, `make clean`
forgets it. With ``--demo off`` the same people and machines are there, but no
customers: a quiet server to work on. Machines speak over a Nostr relay that runs here
too; with ``--line http`` they use LNbits' HTTP API and a wallet key instead.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import httpx

from . import postgres
from .accounts import PASSWORD, UserSession, answer
from .demo import DEPOSITS, DOMAIN, FIAT, FIXED_DAILY, Demo, refill, set_up
from .demo_cash import first_day
from .demo_line import LineMachine, on_line
from .demo_parties import say
from .http_machine import HttpMachine, pick_bills
from .installation import ROOT
from .line_client import NoAnswerError
from .nostr_machine import RefusedError
from .prices import Prices, serve_prices
from .server import HOST, Server, free_port, start

DATA = ROOT / ".data"
USUAL_PORT = 5000
SECONDS_BETWEEN_TRADES = (3.0, 9.0)
CASH_OUTS_IN_TEN = 7
# States that a settlement stays in until a person acts; any other is on its way.
RESTING = ("completed", "attention", "quarantined", "voided", "awaiting_dispense")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def _choose_port(wanted: int | None) -> int:
    if wanted is None:
        return USUAL_PORT if _is_free(USUAL_PORT) else free_port()
    if not _is_free(wanted):
        raise SystemExit(f"Port {wanted} is taken: choose another with PORT=")
    return wanted


def start_server(db: str, port: int | None, stack: AsyncExitStack) -> Server:
    """LNbits on the demo's data; `stack` stops it, and PostgreSQL after it."""
    database_url = None
    if db == "postgres":
        database = postgres.start(DATA / "pg")
        stack.callback(database.stop)
        database_url = database.ensure_database("lnbits")
    server = start(
        DATA / db,
        database_url=database_url,
        port=_choose_port(port),
        domain=DOMAIN,
        # Forwards to an address gather for ten minutes; nobody watches that long.
        env={"SATMACHINE_EXTERNAL_GATHER_SECONDS": "20"},
    )
    stack.push_async_callback(server.stop)
    return server


# ------------------------------------------------------------------------ what is said


def _sat(amount: int) -> str:
    return f"{amount:,}".replace(",", " ")


WAITS = {
    "pending": "to be paid in a moment",
    "awaiting_dispense": "waiting for the machine to report the dispense",
}


def _legs(settlement: dict[str, Any], demo: Demo) -> str:
    """Who got what, by kind of party: platform, splits, LPs."""
    said: dict[str, list[str]] = {"platform": [], "splits": [], "LPs": []}
    for leg in settlement["legs"]:
        late = "" if leg["status"] == "completed" else f" ({leg['status']})"
        amount = _sat(leg["amount_sats"]) + late
        if leg["leg_type"] == "super_fee":
            said["platform"].append(amount)
        elif leg["leg_type"] == "operator_split":
            said["splits"].append(f"{leg['label']} {amount}")
        elif leg["leg_type"] == "dca":
            name = demo.clients.get(leg["client_id"], "?")
            said["LPs"].append(f"{name} {amount} for {leg['amount_fiat']}")
    parts = [f"{who}: {', '.join(what)}" for who, what in said.items() if what]
    retained = settlement.get("retained_sats")
    if retained:
        parts.append(f"stays in the machine: {_sat(retained)}")
    waits = WAITS.get(settlement["status"], "nobody is owed")
    return " | ".join(parts) or settlement.get("error_message") or waits


def describe(settlement: dict[str, Any], machine: str, demo: Demo) -> str:
    """One line: what happened at which machine, and who got what of it."""
    made = datetime.fromisoformat(settlement["created_at"].replace("Z", "+00:00"))
    kind = (settlement["tx_type"] or "unknown").replace("_", "-")
    fiat = f"{settlement['fiat_amount'] or '?'} {settlement['fiat_code'] or ''}"
    return (
        f"{made.astimezone():%H:%M:%S}  {kind:8} {fiat:>12} "
        f"{_sat(settlement['wire_sats']):>9} sat at {machine} "
        f"-> {_legs(settlement, demo)} [{settlement['status']}]"
    )


def welcome(server: Server, db: str) -> str:
    modes = {
        "lucia": "LP, flow mode",
        "felix": f"LP, fixed mode, {FIXED_DAILY} {FIAT} a day",
        "ana": "LP, forwards to her Lightning address",
    }
    page = f"{server.url}/satmachineadmin/"
    lines = ["", f"Satoshi Machine on LNbits, {db}, data in {DATA.name}/{db}", ""]
    lines += [f"  page     {page}", f"  API      {server.url}/docs", ""]
    lines.append(f"  logins   (password of all: {PASSWORD})")
    lines.append("    super     the platform")
    lines.append("    operator  two machines, their splits and LPs")
    lines += [f"    {name:9} {modes[name]}" for name in DEPOSITS]
    lines += ["", "  Ctrl-C stops; the data is kept, 'make clean' forgets it.", ""]
    return "\n".join(lines)


# ------------------------------------------------------------------------ what happens


async def trade_on(
    demo: Demo,
    machines: Sequence[HttpMachine | LineMachine],
    prices: Prices,
    chance: random.Random,
) -> None:
    """Customers at both machines, one after the other, for ever."""
    while True:
        prices.walk()
        for line in await refill(demo):
            print(f"          {line}", flush=True)
        machine = chance.choice(machines)
        rate = prices.sats_per_unit(FIAT)
        try:
            if chance.randrange(10) < CASH_OUTS_IN_TEN:
                await machine.cash_out(demo.customer, pick_bills(chance), rate)
            else:
                await machine.cash_in(demo.customer, pick_bills(chance, 4), rate)
        except (httpx.HTTPError, RefusedError, NoAnswerError) as refused:
            print(f"          {machine.name} turns a customer away: {refused}")
        await asyncio.sleep(chance.uniform(*SECONDS_BETWEEN_TRADES))


NEWEST: dict[str, Any] = {"sortby": "created_at", "direction": "desc", "limit": 30}


async def _rows(session: UserSession, path: str, **filters: Any) -> list[Any]:
    """Newest last, at most 30."""
    page = answer(await session.api.get(path, params={**NEWEST, **filters}))
    return list(reversed(page["data"]))


async def _settlements(demo: Demo, names: dict[str, str], told: set[str]) -> list[str]:
    lines = []
    for row in await _rows(demo.operator, "/settlements"):
        if row["id"] not in told and row["status"] in RESTING:
            told.add(row["id"])
            one = answer(await demo.operator.api.get(f"/settlements/{row['id']}"))
            lines.append(describe(one, names.get(one["machine_id"], "?"), demo))
    return lines


async def _forwards(demo: Demo, told: set[str]) -> list[str]:
    """What LPs passed on: only they see it, so each of them is asked."""
    lines = []
    forwarded = {"leg_type": "autoforward", "status": "completed"}
    for name in DEPOSITS:
        for leg in await _rows(demo.people[name], "/lp/payments", **forwarded):
            if leg["id"] not in told:
                told.add(leg["id"])
                sats, address = _sat(leg["amount_sats"]), leg["destination_ln_address"]
                lines.append(f"          {name} forwards {sats} sat to {address}")
    return lines


async def tell(demo: Demo) -> None:
    """Prints each settlement once it rests, oldest first, for ever."""
    machines = answer(await demo.operator.api.get("/machines"))["data"]
    names = {machine["id"]: machine["name"] for machine in machines}
    told: set[str] = set()
    # What an earlier run left is old news.
    await _settlements(demo, names, told)
    await _forwards(demo, told)
    while True:
        for line in await _settlements(demo, names, told) + await _forwards(demo, told):
            print(line, flush=True)
        await asyncio.sleep(1)


async def _until_stopped(work: Sequence[asyncio.Task[None]]) -> None:
    """Returns on Ctrl-C or SIGTERM. Raises what a task of `work` raises."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait([waiting, *work], return_when=asyncio.FIRST_COMPLETED)
    for task in [waiting, *work]:
        task.cancel()
    for task in done - {waiting}:
        task.result()


async def run(db: str, demo_on: bool, line: str, port: int | None) -> None:
    chance = random.Random()  # noqa: S311 (a demo's customers, not a secret)
    async with AsyncExitStack() as stack:
        print("Starting LNbits...", flush=True)
        server = start_server(db, port, stack)
        await server.ready()
        prices = await stack.enter_async_context(serve_prices(chance))
        demo = await set_up(server.url, prices)
        stack.push_async_callback(demo.aclose)
        for words in await say(demo):
            print(words, flush=True)
        machines: Sequence[HttpMachine | LineMachine] = [*demo.machines.values()]
        if line == "nostr":
            wallets = {name: m.wallet for name, m in demo.machines.items()}
            online = await stack.enter_async_context(
                on_line(
                    demo.anonymous, demo.platform, demo.operator, wallets, DATA / db
                )
            )
            machines = [*online.values()]
        for words in await first_day(demo.operator):
            print(f"          {words}", flush=True)
        print(welcome(server, db), flush=True)
        work = [asyncio.create_task(tell(demo))]
        if demo_on:
            trade = trade_on(demo, machines, prices, chance)
            work.append(asyncio.create_task(trade))
        await _until_stopped(work)
        print("\nStopping.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--demo", choices=("on", "off"), default="on")
    parser.add_argument("--line", choices=("nostr", "http"), default="nostr")
    parser.add_argument("--port", type=int)
    asked = parser.parse_args()
    try:
        asyncio.run(run(asked.db, asked.demo == "on", asked.line, asked.port))
    except KeyboardInterrupt:
        print("\nStopped before it was set up; the next run goes on with it.")
    except postgres.UnusableFolderError as unusable:
        raise SystemExit(str(unusable)) from None
    except httpx.HTTPStatusError as refused:
        raise SystemExit(
            f"The demo stopped, a request was refused: {refused}"
        ) from None


if __name__ == "__main__":
    main()
