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
import fcntl
import random
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from . import postgres
from .accounts import PASSWORD, UserSession, answer
from .demo import CODE, DEPOSITS, DOMAIN, FIAT, FIXED_DAILY, TEAM, Demo, refill, set_up
from .demo_cash import first_day
from .demo_line import LineMachine, on_line
from .demo_parties import charge_too_little, say
from .http_machine import HttpMachine, pick_bills
from .installation import ROOT
from .line_client import NoAnswerError
from .nostr_machine import RefusedError
from .prices import Prices, serve_prices
from .server import HOST, Server, free_port, start

DATA = ROOT / ".data"
USUAL_PORT = 5000
# Held by the demo that runs, with its address in it; `make clean` asks for it too.
LOCK = "demo.lock"
STILL_SECONDS = 5
# A closed terminal is a goodbye like any other.
ENDS = (signal.SIGTERM, signal.SIGHUP)
SECONDS_BETWEEN_TRADES = (3.0, 9.0)
CASH_OUTS_IN_TEN = 7
# States that a settlement stays in until a person acts; any other is on its way.
RESTING = ("completed", "attention", "quarantined", "voided", "awaiting_dispense")


def port_of(text: str) -> int:
    """What PORT= says. Raises SystemExit with a sentence unless it is a port."""
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise SystemExit(f"PORT={text} is no port: choose one from 1024 to 65535.")
    return int(text)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0


def choose_port(wanted: int | None) -> int:
    """Raises SystemExit with a sentence when the wanted one cannot be listened on."""
    if wanted is None:
        return USUAL_PORT if _is_free(USUAL_PORT) else free_port()
    if not _is_free(wanted):
        raise SystemExit(f"Port {wanted} is taken: choose another with PORT=")
    with socket.socket() as probe:
        # As servers do: a port that was left a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as refused:
            raise SystemExit(
                f"Port {wanted} is not for you to use ({refused.strerror}): choose one "
                "from 1024 to 65535 with PORT="
            ) from None
    return wanted


@contextmanager
def only_demo(data: Path) -> Iterator[Callable[[str], None]]:
    """One demo at a time in a checkout: two would write to one database.

    Yields what takes the demo's address, for the next one's refusal. Raises SystemExit
    with a sentence when another runs. The lock ends with the process, however it ends.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / LOCK).open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            where = lock.read().strip()
            at = f" at {where}" if where else ", and is just starting"
            raise SystemExit(
                f"A demo of this checkout runs already{at}. Stop it first (Ctrl-C), or "
                "use another checkout."
            ) from None
        lock.truncate(0)

        def tell_address(url: str) -> None:
            lock.write(url)
            lock.flush()

        yield tell_address


async def _said_while(work: Awaitable[Server], what: str) -> Server:
    """Waits, and says every few seconds that it still does."""
    begun = time.monotonic()
    task = asyncio.ensure_future(work)
    while not (await asyncio.wait([task], timeout=STILL_SECONDS))[0]:
        print(f"  {what}: {time.monotonic() - begun:.0f} s", flush=True)
    return task.result()


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
        port=choose_port(port),
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
    login = f"{server.url}/"
    lines = ["", f"Satoshi Machine on LNbits, {db}, data in {DATA.name}/{db}", ""]
    lines += [f"  log in   {login}", f"  then     {page}"]
    lines += [f"  guides   {page}help", f"  API      {page}docs/reference", ""]
    lines.append(f"  logins   (password of all: {PASSWORD})")
    lines.append("    super     the platform")
    lines.append("    operator  two machines, their splits and LPs")
    lines += [f"    {name:9} {modes[name]}" for name in DEPOSITS]
    lines += [f"    {name:9} the operator's {role}" for name, role in TEAM.items()]
    lines.append(f"  code     {CODE}: customers have it, half of the operator's fee")
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


async def _settlements(
    demo: Demo, names: dict[str, str], told: dict[str, str]
) -> list[str]:
    """A line for each settlement that rests, and another when it rests in another
    state: who saw it wait sees its end too. `told` is the state said last, by id."""
    lines = []
    for row in await _rows(demo.operator, "/settlements"):
        if row["status"] in RESTING and told.get(row["id"]) != row["status"]:
            told[row["id"]] = row["status"]
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
    told: dict[str, str] = {}
    passed_on: set[str] = set()
    # What an earlier run left is old news.
    await _settlements(demo, names, told)
    await _forwards(demo, passed_on)
    while True:
        lines = await _settlements(demo, names, told)
        for line in lines + await _forwards(demo, passed_on):
            print(line, flush=True)
        await asyncio.sleep(1)


async def _until_stopped(work: Sequence[asyncio.Task[None]]) -> None:
    """Returns on Ctrl-C, SIGTERM, or when the terminal is closed. Raises what a task of
    `work` raises."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, *ENDS):
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
        tell_address = stack.enter_context(only_demo(DATA))
        first = "" if (DATA / db).exists() else " for the first time: a minute or two"
        print(f"Starting LNbits{first}...", flush=True)
        server = start_server(db, port, stack)
        tell_address(server.url)
        await _said_while(server.ready(), "LNbits is starting")
        print("LNbits answers. Setting up people and machines...", flush=True)
        prices = await stack.enter_async_context(serve_prices(chance))
        demo = await set_up(server.url, prices)
        stack.push_async_callback(demo.aclose)
        for words in [*await say(demo), *await charge_too_little(demo, prices)]:
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
        # The terminal may be gone; what was started is stopped all the same.
        with suppress(OSError):
            print("\nStopping.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--db", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--demo", choices=("on", "off"), default="on")
    parser.add_argument("--line", choices=("nostr", "http"), default="nostr")
    parser.add_argument("--port")
    asked = parser.parse_args()
    port = None if asked.port is None else port_of(asked.port)
    # Before the loop listens for them: an end by a signal stops PostgreSQL too.
    for number in ENDS:
        signal.signal(number, signal.default_int_handler)
    try:
        asyncio.run(run(asked.db, asked.demo == "on", asked.line, port))
    except KeyboardInterrupt:
        with suppress(OSError):
            print("\nStopped before it was set up; the next run goes on with it.")
    except postgres.UnusableFolderError as unusable:
        raise SystemExit(str(unusable)) from None
    except httpx.HTTPStatusError as refused:
        raise SystemExit(
            f"The demo stopped, a request was refused: {refused}"
        ) from None


if __name__ == "__main__":
    main()
