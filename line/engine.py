"""Who is on the line? The engine's end: what comes in, who answers, what goes out.

One process of all that share a database, the engine, listens and answers. An event
passes size, kind, `p` tag and signature (`nostr.open_event`), then "known machine",
then waits in the queue of its machine, where requests are answered one by one: a slow
payout or a machine gone mad delays nobody else. Relays are asked for all that is sent
to our keys: each key has a budget (`budget.py`), and is not read beyond it.

Guaranteed: no event raises out of here; strangers cost a look-up a second and are
counted, not logged one by one; a machine's message gets an answer, also one that cannot
be read, within its budget.
Not guaranteed: that a request is answered once, or at all (the engine may die, or a
queue be full): machines repeat theirs, and every call is answered from the present
state.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from .. import crud, distribution
from ..base.events import wait_for_event
from ..desk.relays import deaf_sentence
from ..host import limits, written
from ..models import Machine, utc_now
from . import answers, cassettes, cassettes_crud, requests_crud
from . import crud as line_crud
from . import keys as line_keys
from . import payout as line_payout
from .answers import Answer
from .budget import (
    PAIRED_AT_ONCE,
    PAIRED_PER_SECOND,
    STRANGER_SECONDS,
    UNPAIRED_AT_ONCE,
    UNPAIRED_EVENT_CHARACTERS,
    UNPAIRED_PER_SECOND,
    Budget,
    Strangers,
    claimed_key,
)
from .calls import Call
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
    reply_event,
)
from .relays import Offer, RelayPool

TURN_SECONDS = 1
SETTINGS_SECONDS = 5
LOOK_SECONDS = 20
STATUS_SECONDS = 10
MAX_WAITING_PER_MACHINE = 100
MAX_STRANGERS_KEPT = 100

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
        self.paired: set[str] = set()
        self.unpaired_budget = Budget(UNPAIRED_PER_SECOND, UNPAIRED_AT_ONCE)
        self.paired_budget = Budget(PAIRED_PER_SECOND, PAIRED_AT_ONCE)
        self.looked_up = Strangers()
        self.reading = asyncio.Lock()
        self.strangers: deque[Incoming] = deque(maxlen=MAX_STRANGERS_KEPT)
        self.is_looking = False
        self.waiting: dict[str, deque[Incoming]] = {}
        self.workers: set[asyncio.Task[None]] = set()
        self.service_keys: dict[str, str] = {}
        self.listening: set[str] = set()
        self.sending: set[str] = set()
        self._next: dict[str, float] = {}
        self.written: dict[str, Any] | None = None
        self.rest = written.Rest()
        self.payouts_rest = written.Rest()

    # life ------------------------------------------------------------------------

    async def open(self) -> None:
        await self.pool.start()
        await self.read_settings()
        if self.relays:
            logger.info("satmachineadmin: the line to the machines is open")
        else:
            logger.info(
                "satmachineadmin: the line to the machines waits for a relay: the "
                "super enters one under Platform"
            )

    async def close(self) -> None:
        for worker in list(self.workers):
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)
        await self.pool.stop()
        logger.info("satmachineadmin: the line to the machines is closed")

    async def turn(self) -> None:
        """What is done every second, most of it less often.

        Raises if the relays' loops have ended: the line is then opened anew.
        """
        self.pool.assert_alive()
        if changed.is_set() or self._is_time("settings", SETTINGS_SECONDS):
            await self._follow_settings()
        listening = set(self.pool.listening())
        if listening - self.listening:
            # what the relay missed while it was away
            await self.publish(again=True)
        self.listening = listening
        if self._is_time("look", LOOK_SECONDS):
            await self._look_at_payouts()
        if self._is_time("status", STATUS_SECONDS):
            await self._write_status()

    async def _look_at_payouts(self) -> None:
        position = written.known()  # before anything is read
        if self.payouts_rest.may_go_on(position):
            return
        is_done = await line_payout.recheck_customer_payments() == 0
        is_done = is_done and not await requests_crud.is_any_payout_open()
        self.payouts_rest.looked(position, is_done=is_done)

    async def _follow_settings(self) -> None:
        """Nothing to read where nobody has written since there was nothing to send."""
        position = written.known()  # before anything is read
        if not changed.is_set() and self.rest.may_go_on(position):
            return
        changed.clear()
        await self.read_settings()
        self.rest.looked(position, is_done=await self.publish(again=False) == 0)

    async def _write_status(self) -> None:
        """Only what is new: whoever reads it asks the lease whether we still live."""
        status = self.status()
        if status != self.written:
            await line_crud.write_status(status)
            self.written = status

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
            self.paired = set(_hex_keys(paired))
            self.ring = ring
            if relays != self.relays:
                await self.pool.set_relays(relays)
                self.relays = relays
            self._listen(sorted(self.paired), ring)

    def _listen(self, paired: list[str], ring: KeyRing) -> None:
        """One subscription for everything that is sent to our keys: a registration
        costs no relay anything. And what paired machines publish."""
        keys = sorted(ring.readable)
        self.pool.listen(
            {"kinds": [RPC_KIND], "#p": keys} if keys else None,
            {"kinds": [APP_DATA_KIND, TELEMETRY_KIND]},
            paired,
            ring.current,
        )

    # what comes in ---------------------------------------------------------------

    def heard(self, event_json: str) -> None:
        """Check an event and put it into its machine's queue; never raises."""
        if self.ring is None:
            return
        if not self._may_be_read(event_json):
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

    def _may_be_read(self, event_json: str) -> bool:
        """Whether the key that it claims to be of has budget left; else it is counted.

        Before anything is parsed: nostr-sdk has checked the signature, so nobody spends
        another's budget.
        """
        key, now = claimed_key(event_json), time.monotonic()
        if key is None:
            return True  # and `open_event` says what is wrong with it
        why = ""
        if key in self.paired:
            if len(self.waiting.get(key, ())) >= MAX_WAITING_PER_MACHINE:
                why = "too many at once from one machine"
        elif key in self.known:
            if len(event_json) > UNPAIRED_EVENT_CHARACTERS:
                why = "too long before pairing"
            elif not self.unpaired_budget.take(key, now):
                why = "too many before pairing"
        elif self.looked_up.is_known_stranger(key, now):
            why = "unknown key"
        if why:
            self.ignored.note(why)
        return not why

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
                known, paired = await line_crud.machine_keys()
                self.known = set(_hex_keys(known))
                self.paired = set(_hex_keys(paired))
                kept = list(self.strangers)
                self.strangers.clear()
                for event in kept:
                    if event.pubkey in self.known:
                        self._wait_in_line(event)
                    else:
                        self.looked_up.add(event.pubkey, time.monotonic())
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
                await asyncio.sleep(self._wait_seconds(pubkey))
                try:
                    await self._take(event)
                except SQLAlchemyError:
                    logger.exception(f"satmachineadmin: event {event.id}")
        finally:
            del self.waiting[pubkey]

    def _wait_seconds(self, pubkey: str) -> float:
        if pubkey not in self.paired:
            return 0.0  # it was counted when it came in
        return self.paired_budget.wait_seconds(pubkey, time.monotonic())

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
        if answer is None:
            self.ignored.note("nothing may be said")
            return
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

    async def answer(self, machine: Machine, event: Incoming) -> Answer | None:
        """The answer to a machine's request; None if nothing may be said."""
        call = Call(machine, event, distribution.INSTANCE_ID)
        answer = await answers.answer(call, self.ring)
        if answer and not machine.is_paired and answer["status"] == "OK":
            self.paired.add(event.pubkey)
            wake()  # what it publishes is asked for now
        return answer

    # what goes out ---------------------------------------------------------------

    async def publish(self, *, again: bool) -> int:
        """Send saved cassettes; with `again` also what a machine has not confirmed.
        Returns how many there were."""
        if not self.relays or self.ring is None:
            return 0
        found = await cassettes_crud.to_publish(again=again)
        for saved in found:
            machine = await crud.get_machine(saved.machine_id)
            key = self.ring.for_machine(
                (await line_crud.get_line(saved.machine_id)).service_pubkey
            )
            if machine is None or key is None:
                continue
            event = await cassettes.signed_event(machine, saved, key)
            if event and event.event_json and event.event_id:
                self._offer(machine.id, event.event_id, event.event_json)
        return len(found)

    def _offer(self, machine_id: str, event_id: str, event_json: str) -> None:
        if event_id in self.sending:
            return
        self.sending.add(event_id)

        async def sent(offer: Offer) -> None:
            self.sending.discard(event_id)
            await cassettes_crud.was_sent(
                machine_id, event_id, is_taken=offer is Offer.TAKEN
            )

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


def _time_of(event: Incoming) -> datetime:
    try:
        return datetime.fromtimestamp(event.created_at, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return utc_now()


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

    `is_listening` is False if nobody is: there is no engine. The engine itself asks the
    database nothing: it has read its keys, and does so again when they change.
    """
    if current and current.ring:
        ring, status, is_listening = current.ring, current.status(), True
    else:
        ring = await line_keys.key_ring()
        status, is_listening = await line_crud.read_status()
    return {
        "service_npub": ring.npub,
        "problem": ring.problem,
        "is_listening": is_listening,
        "relays": [
            {
                "url": relay["url"],
                "connected": is_listening and relay["connected"],
                "listening": is_listening and relay.get("listening", False),
                "subscriptions": relay.get("subscriptions", 0),
                "subscriptions_wanted": relay.get("subscriptions_wanted", 0),
                "last_event_at": _iso(relay["last_event_at"]),
                "problem": deaf_sentence(relay) if is_listening else None,
            }
            for relay in status.get("relays", [])
        ],
        "last_event_at": _iso(status.get("last_event_at")),
        "queue": status.get("queue", 0),
        "ignored": status.get("ignored", {}),
    }


def _iso(epoch: float | None) -> datetime | None:
    return datetime.fromtimestamp(epoch, timezone.utc) if epoch else None
