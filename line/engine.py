"""Who is on the line? The engine's end: what comes in, who answers, what goes out.

One process of all that share a database, the engine, listens and answers. An event
passes size, kind, `p` tag and signature (`nostr.open_event`), then "known machine",
then waits in the queue of its machine, where requests are answered one by one: a slow
payout or a machine gone mad delays nobody else. Relays are asked for the messages of
our machines only, so that an honest relay keeps strangers away.

Guaranteed: no event raises out of here; strangers whom a relay lets through cost a
signature check and are counted, not logged one by one; a machine's message gets an
answer, also one that cannot be read.
Not guaranteed: that a request is answered once, or at all (the engine may die, or a
queue be full): machines repeat theirs, and every call is answered from the present
state.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from .. import crud, distribution
from ..base.database import from_db_time
from ..base.events import wait_for_event
from ..host import limits
from ..models import Machine, utc_now
from . import calls as line_calls
from . import cassettes
from . import crud as line_crud
from . import keys as line_keys
from . import payout as line_payout
from .keys import KeyRing
from .nostr import (
    APP_DATA_KIND,
    RPC_KIND,
    TELEMETRY_KIND,
    IgnoredCounts,
    IgnoredError,
    Incoming,
    LineError,
    hex_of,
    npub_of,
    open_event,
    read_request,
    reply_event,
)
from .relays import RelayPool

TURN_SECONDS = 1
SETTINGS_SECONDS = 5
LOOK_SECONDS = 20
STATUS_SECONDS = 10
STATUS_IS_OLD = timedelta(seconds=60)
# a filter of more authors is refused by some relays
AUTHORS_PER_FILTER = 200
MAX_WAITING_PER_MACHINE = 100
MAX_STRANGERS_KEPT = 100
STRANGER_SECONDS = 1

Answer = dict[str, Any]

# Set by whatever changes what the line must do: relays, keys, machines, cassettes.
changed = asyncio.Event()


def wake() -> None:
    """Tell the line of this process to read its settings and machines again now."""
    changed.set()


async def refresh() -> None:
    """The same, and return when it is done: a machine that is about to speak is heard.

    In another process than the engine it does nothing: the engine reads every 5 s, and
    machines repeat what they have no answer to.
    """
    if current and current.ring:
        await current.read_settings()


class Line:
    """The line of this process while it is the engine."""

    def __init__(self) -> None:
        self.ignored = IgnoredCounts()
        self.pool = RelayPool(self.heard)
        self.ring: KeyRing | None = None
        self.relays: list[str] = []
        self.known: set[str] = set()
        self.asked: dict[str, dict[str, Any]] = {}
        self.reading = asyncio.Lock()
        self.strangers: deque[Incoming] = deque(maxlen=MAX_STRANGERS_KEPT)
        self.is_looking = False
        self.waiting: dict[str, deque[Incoming]] = {}
        self.workers: set[asyncio.Task[None]] = set()
        self.service_keys: dict[str, str] = {}
        self.connected: set[str] = set()
        self.sending: set[str] = set()
        self._next: dict[str, float] = {}

    # life ------------------------------------------------------------------------

    async def open(self) -> None:
        await self.pool.start()
        await self.read_settings()
        logger.info("satmachineadmin: the line to the machines is open")

    async def close(self) -> None:
        for worker in list(self.workers):
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)
        await self.pool.stop()
        logger.info("satmachineadmin: the line to the machines is closed")

    async def turn(self) -> None:
        """What is done every second, most of it less often."""
        if changed.is_set() or self._is_time("settings", SETTINGS_SECONDS):
            changed.clear()
            await self.read_settings()
            await self.publish(again=False)
        connected = set(self.pool.connected())
        if connected - self.connected:
            # what the relay missed while it was away
            await self.publish(again=True)
        self.connected = connected
        if self._is_time("look", LOOK_SECONDS):
            await line_payout.recheck_customer_payments()
        if self._is_time("status", STATUS_SECONDS):
            await line_crud.write_status(self.status())

    def _is_time(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._next.get(what, 0):
            return False
        self._next[what] = now + seconds
        return True

    # settings --------------------------------------------------------------------

    async def read_settings(self) -> None:
        """Keys, relays and machines of now; asks the relays anew if they changed."""
        async with self.reading:
            ring = await line_keys.key_ring()
            if ring.problem and (self.ring is None or not self.ring.problem):
                logger.error(f"satmachineadmin: {ring.problem}")
            relays = await line_crud.get_relays()
            known, paired = await line_crud.machine_keys()
            self.known = set(_hex_keys(known))
            self.ring = ring
            is_new_relay = bool(set(relays) - set(self.relays))
            if relays != self.relays:
                await self.pool.set_relays(relays)
                self.relays = relays
            await self._ask(
                self._wanted(set(_hex_keys(paired)), sorted(ring.readable)),
                anew=is_new_relay,
            )

    def _wanted(self, paired: set[str], keys: list[str]) -> dict[str, dict[str, Any]]:
        """Requests of all machines, to our keys, and what paired ones publish."""
        requests = {"kinds": [RPC_KIND], "#p": keys} if keys else None
        reports = {"kinds": [APP_DATA_KIND, TELEMETRY_KIND]}
        return {
            **_filters("requests", requests, self.known),
            **_filters("reports", reports, paired),
        }

    async def _ask(self, wanted: dict[str, dict[str, Any]], *, anew: bool) -> None:
        for name in [name for name in self.asked if name not in wanted]:
            await self.pool.unsubscribe(name)
        for name, found in wanted.items():
            if anew or self.asked.get(name) != found:
                await self.pool.subscribe(name, found)
        self.asked = wanted

    # what comes in ---------------------------------------------------------------

    def heard(self, event_json: str) -> None:
        """Check an event and put it into its machine's queue; never raises."""
        if self.ring is None:
            return
        try:
            event = open_event(event_json, self.ring.readable)
        except IgnoredError as exc:
            self.ignored.note(str(exc))
            return
        if event.pubkey in self.known:
            self._wait_in_line(event)
        else:
            self._keep_stranger(event)

    def _keep_stranger(self, event: Incoming) -> None:
        """A key we do not know may have been registered a moment ago: look once a
        second, whatever comes in between."""
        if len(self.strangers) == MAX_STRANGERS_KEPT:
            self.ignored.note("unknown key")
        self.strangers.append(event)
        if not self.is_looking:
            self.is_looking = True
            self._start(self._look_for_strangers())

    async def _look_for_strangers(self) -> None:
        """Look at once, then once a second while strangers come."""
        try:
            while self.strangers:
                known, _ = await line_crud.machine_keys()
                self.known = set(_hex_keys(known))
                kept = list(self.strangers)
                self.strangers.clear()
                for event in kept:
                    if event.pubkey in self.known:
                        self._wait_in_line(event)
                    else:
                        self.ignored.note("unknown key")
                await asyncio.sleep(STRANGER_SECONDS)
        finally:
            self.is_looking = False

    def _wait_in_line(self, event: Incoming) -> None:
        queue = self.waiting.get(event.pubkey)
        if queue is None:
            queue = self.waiting[event.pubkey] = deque()
            self._start(self._work(event.pubkey, queue))
        if len(queue) >= MAX_WAITING_PER_MACHINE:
            self.ignored.note("too many at once from one machine")
            return
        queue.append(event)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.workers.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.workers.discard(task)
        if not task.cancelled() and task.exception():
            logger.opt(exception=task.exception()).error("satmachineadmin: the line")

    async def _work(self, pubkey: str, queue: deque[Incoming]) -> None:
        """Answer one machine's messages, one after another."""
        try:
            await asyncio.sleep(0)  # the first message is put in after this is started
            while queue:
                event = queue.popleft()
                try:
                    await self._take(event)
                except SQLAlchemyError:
                    logger.exception(f"satmachineadmin: event {event.id}")
        finally:
            del self.waiting[pubkey]

    async def _take(self, event: Incoming) -> None:
        machine = await line_crud.machine_by_npub(npub_of(event.pubkey))
        if machine is None:
            self.ignored.note("unknown key")
        elif event.kind == RPC_KIND:
            await self._answer(machine, event)
        elif machine.is_paired:
            await self._store(machine, event)
        else:
            self.ignored.note("report of an unpaired machine")

    async def _store(self, machine: Machine, event: Incoming) -> None:
        readable = self.ring.readable if self.ring else {}
        key = readable.get(event.to)
        if key is None and self.ring:
            # the `p` tag of a replaceable event is optional
            key = self.ring.for_machine(await self._line_key(machine))
        try:
            await cassettes.take_event(machine, event, key)
            seen_at = min(utc_now(), _time_of(event))
            await line_crud.machine_was_heard(machine, seen_at)
        except LineError as exc:
            self.ignored.note(f"report: {exc.code}")
        except SQLAlchemyError:
            logger.exception(f"satmachineadmin: report {event.id} was not stored")

    async def _line_key(self, machine: Machine) -> str | None:
        known = self.service_keys.get(machine.id)
        return known or (await line_crud.get_line(machine.id)).service_pubkey

    # answering -------------------------------------------------------------------

    async def _answer(self, machine: Machine, event: Incoming) -> None:
        key = self.ring.readable.get(event.to) if self.ring else None
        if key is None or self.ring is None:
            return  # rotated out while it waited
        answer = await self.answer(machine, event)
        if event.to != self.ring.current_pubkey and self.ring.current:
            answer["service_npub"] = self.ring.npub
        self.pool.send(reply_event(key, event, answer))
        await self._was_heard(machine, event)

    async def _was_heard(self, machine: Machine, event: Incoming) -> None:
        try:
            await line_crud.machine_was_heard(machine, utc_now())
            if self.service_keys.get(machine.id) != event.to:
                await line_crud.note_service_key(machine.id, event.to)
                self.service_keys[machine.id] = event.to
        except SQLAlchemyError:
            logger.exception(f"satmachineadmin: machine {machine.id} was heard")

    async def answer(self, machine: Machine, event: Incoming) -> Answer:
        """The answer to a machine's request, whatever it is; never raises.

        The broad except is the last one on this path: a machine must hear that its
        request failed here, and what failed is logged.
        """
        request_id: str | int | None = None
        try:
            plaintext = self._key_of(event).decrypt(event.pubkey, event.content)
            request = read_request(plaintext)
            request_id = request.request_id
            result = await self._call(machine, request.rpc, request.body, event)
        except LineError as exc:
            request_id = exc.facts.pop("requestId", request_id)
            return exc.facts | _error(request_id, exc.code, exc.reason)
        except Exception:
            logger.exception(f"satmachineadmin: request {event.id} of {machine.id}")
            return _error(
                request_id, "server_error", "The server failed; repeat the request."
            )
        return result | {
            "status": "OK",
            "requestId": request_id,
            "server_time": int(time.time()),
        }

    def _key_of(self, event: Incoming) -> Any:
        key = self.ring.readable.get(event.to) if self.ring else None
        if key is None:
            raise LineError("undecryptable", "This service key is no longer read.")
        return key

    async def _call(
        self, machine: Machine, rpc: str, body: Mapping[str, Any], event: Incoming
    ) -> Answer:
        if rpc == "pair":
            answer = await line_calls.pair(machine, body, event.to)
            wake()
            return answer
        if not machine.is_paired:
            raise LineError(
                "not_paired", "Pair this machine first: show its QR in the dashboard."
            )
        if rpc == "ping":
            return {"pong": True}
        if rpc == "quote":
            return await line_calls.quote(machine, body)
        if rpc == "payout":
            return await line_payout.payout(
                machine, body, event, distribution.INSTANCE_ID
            )
        calls = {
            "invoice": line_calls.invoice,
            "settlement": line_calls.settlement,
            "dispense": line_calls.dispense,
        }
        if rpc not in calls:
            raise LineError("unknown_rpc", f"There is no call {rpc[:40]!r}.")
        return await calls[rpc](machine, body, event)

    # what goes out ---------------------------------------------------------------

    async def publish(self, *, again: bool) -> None:
        """Send saved cassettes; with `again` also what a machine has not confirmed."""
        if not self.relays or self.ring is None:
            return
        for saved in await cassettes.to_publish(again=again):
            machine = await crud.get_machine(saved.machine_id)
            key = self.ring.for_machine(
                (await line_crud.get_line(saved.machine_id)).service_pubkey
            )
            if machine is None or key is None:
                continue
            event = await cassettes.signed_event(machine, saved, key)
            if event and event.event_json and event.event_id:
                self._offer(machine.id, event.event_id, event.event_json)

    def _offer(self, machine_id: str, event_id: str, event_json: str) -> None:
        if event_id in self.sending:
            return
        self.sending.add(event_id)

        async def sent() -> None:
            self.sending.discard(event_id)
            await cassettes.was_published(machine_id, event_id)

        self.pool.send(
            event_json, sent=sent, gave_up=lambda: self.sending.discard(event_id)
        )

    # health ----------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        found = self.pool.health()
        found["queue"] += sum(len(queue) for queue in self.waiting.values())
        found["ignored"] = dict(self.ignored.total)
        return found


def _hex_keys(npubs: Iterable[str]) -> Iterator[str]:
    """What is no key (a row from before keys were checked) cannot speak."""
    for npub in npubs:
        with suppress(ValueError):
            yield hex_of(npub)


def _filters(
    name: str, found: dict[str, Any] | None, authors: set[str]
) -> dict[str, dict[str, Any]]:
    """One filter for so many authors as relays take; none without authors."""
    listed = sorted(authors) if found else []
    return {
        f"{name}-{part}": {
            **(found or {}),
            "authors": listed[part * AUTHORS_PER_FILTER :][:AUTHORS_PER_FILTER],
        }
        for part in range(-(-len(listed) // AUTHORS_PER_FILTER))
    }


def _time_of(event: Incoming) -> datetime:
    try:
        return datetime.fromtimestamp(event.created_at, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return utc_now()


def _error(request_id: str | int | None, code: str, reason: str) -> Answer:
    return {
        "status": "ERROR",
        "requestId": request_id,
        "server_time": int(time.time()),
        "code": code,
        "reason": reason,
    }


# --------------------------------------------------------------------- this process

current: Line | None = None


async def run(may_answer: Callable[[], bool]) -> None:
    """Open the line while `may_answer()`, i.e. while this process is the engine."""
    global current
    try:
        while limits.is_running():
            if may_answer() and current is None:
                current = Line()
                await current.open()
            elif current and not may_answer():
                line, current = current, None
                await line.close()
            if current:
                await current.turn()
            await wait_for_event(changed, TURN_SECONDS)
    finally:
        if current:
            line, current = current, None
            await line.close()


async def health() -> dict[str, Any]:
    """Relays, last event and queue length, as the engine sees them.

    `is_listening` is False if nobody is: no engine, or its last word is a minute old.
    """
    ring = await line_keys.key_ring()
    written, at = await line_crud.read_status()
    status = current.status() if current else written or {}
    seen_at = utc_now() if current else from_db_time(at)
    is_listening = bool(seen_at and utc_now() - seen_at < STATUS_IS_OLD)
    return {
        "service_npub": ring.npub,
        "problem": ring.problem,
        "is_listening": is_listening,
        "relays": [
            {
                "url": relay["url"],
                "connected": is_listening and relay["connected"],
                "last_event_at": _iso(relay["last_event_at"]),
            }
            for relay in status.get("relays", [])
        ],
        "last_event_at": _iso(status.get("last_event_at")),
        "queue": status.get("queue", 0),
        "ignored": status.get("ignored", {}),
    }


def _iso(epoch: float | None) -> datetime | None:
    return datetime.fromtimestamp(epoch, timezone.utc) if epoch else None
