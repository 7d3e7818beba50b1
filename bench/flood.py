"""What a flood costs others: a user's page, and a real machine's ping.

    python -m bench flood

Two keys send 200 events a second each, of 1 kB: one that nobody knows, and one that is
registered and not paired. Once as it is, with a budget for each key, and once as it was
before there were any: every event is parsed, and the unpaired key's are answered. Idle,
with and without take turns in one run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

from bench.figures import say
from bench.stage import Stage, give

# isort: split
from flood import flood
from line_world import OnLine, set_relays
from lnbits.core.crud.users import get_account, update_account
from lnbits.settings import settings
from world import build_world

from satmachineadmin import tasks
from satmachineadmin.line import engine as line
from satmachineadmin.line.engine import Line
from satmachineadmin.line.nostr import IgnoredError, open_event

import conftest as fixtures
from conftest import wait_for
from dev.accounts import UserSession, answer
from dev.nostr_machine import NostrMachine
from dev.relay import DevRelay

ROUNDS = 3
SECONDS, EACH_PER_SECOND, CHARACTERS = 8, 200, 1_000
Waits = tuple[list[float], list[float]]


async def measure(scene: Stage) -> None:
    await wait_for(lambda: tasks.state.is_engine, 30)
    account = await get_account(settings.super_user)
    if account is None:
        raise RuntimeError("This LNbits has no super user.")
    account.hash_password("a bench")  # without one LNbits lets no administrator in
    await update_account(account)
    boss = fixtures._open(settings.super_user, "", scene.transport)
    scene.users.append(boss)
    await fixtures._enable(settings.super_user)
    relay = DevRelay()
    await relay.start()
    await set_relays(boss, relay)
    real, unpaired = [await _on_line(scene, boss, p) for p in (True, False)]
    found: dict[str, Waits] = {k: ([], []) for k in ("idle", "with", "without")}
    try:
        for _ in range(ROUNDS):
            await _watched(real, found["idle"], _after(SECONDS))
            await _flooded(boss, relay, real, unpaired, found["with"])
            budgeted = _line().pool._on_event
            _line().pool._on_event = _without_budget()
            await _flooded(boss, relay, real, unpaired, found["without"])
            _line().pool._on_event = budgeted
    finally:
        await set_relays(boss)
        for one in (real, unpaired):
            await one.machine.go_offline()
        relay.stop()
    _tell(found)


def _line() -> Line:
    if line.current is None:
        raise RuntimeError("The line to the machines is closed.")
    return line.current


def _tell(found: dict[str, Waits]) -> None:
    idle = median(found["idle"][0])
    for kind in ("without", "with"):
        pages, pings = found[kind]
        say(
            f"2 x {EACH_PER_SECOND} events a second {kind} a budget for each key: "
            f"a user's page {median(pages) / idle:.2f} x idle "
            f"({median(pages) * 1000:.0f} ms to {idle * 1000:.0f} ms), a machine's "
            f"ping {median(pings) * 1000:.0f} ms, at most {max(pings) * 1000:.0f} ms"
        )


async def _on_line(scene: Stage, boss: UserSession, is_paired: bool) -> OnLine:
    machine = NostrMachine()
    world = await build_world(
        scene.make_user,
        scene.make_wallet,
        give,
        boss,
        machine_npub=machine.npub,
    )
    found = OnLine(world, machine)
    qr = await found.qr()
    if is_paired:
        await machine.pair(qr)
    else:
        machine.scan(qr)
        await machine.go_online()
    return found


async def _flooded(
    boss: UserSession, relay: DevRelay, real: OnLine, unpaired: OnLine, waits: Waits
) -> None:
    service = real.client.service.to_hex()
    async with flood(
        *(service, unpaired.machine.state.nsec),
        seconds=SECONDS,
        each_per_second=EACH_PER_SECOND,
        characters=CHARACTERS,
    ) as bad:
        relays = {"relays": [bad.url, relay.url]}
        answer(await boss.api.put("/super/nostr", json=relays))
        await wait_for(lambda: bad.url in _line().pool.listening(), 30)
        await _watched(real, waits, bad.ended.done)
    await set_relays(boss, relay)
    # what waits of it is over before the next one begins
    await wait_for(lambda: not _line().waiting, 120)


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() > until


async def _watched(real: OnLine, waits: Waits, is_over: Callable[[], bool]) -> None:
    pages, pings = waits
    while not is_over():
        pages.append(await _seconds(lambda: real.world.operator.api.get("/machines")))
        pings.append(await _seconds(lambda: real.machine.ask("ping", {})))
        await asyncio.sleep(0.1)


async def _seconds(action: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await action()
    return time.perf_counter() - started


def _without_budget() -> Callable[[str], None]:
    """The intake as it was: read, known or looked up, and into the queue."""
    here = _line()

    def heard(event_json: str) -> None:
        try:
            event = open_event(event_json, here.ring.readable if here.ring else {})
        except IgnoredError:
            return
        if event.pubkey in here.known:
            here._wait_in_line(event)
        else:
            here._keep_stranger(event)

    return heard
