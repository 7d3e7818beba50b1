"""The relays: one client on several of them, and a queue of what must go out.

nostr-sdk keeps the connections and checks signatures. What each relay has of our
subscriptions, and why not, is kept by `listening.py`: nostr-sdk asks once for each
connection and forgets what a relay closes, so REQ, AUTH and EVENT are sent from here,
and EOSE, CLOSED, AUTH, NOTICE and OK are read here.

Guaranteed: a relay that closes a subscription, wants a login or goes silent is asked
again until it listens; a message is offered to every connected relay until one took
it, or took it without a word, or its time is up; a slow or dead relay delays nobody.
Not guaranteed: delivery. A relay may say OK and drop it, or send what it was never
given: signatures are checked by nostr-sdk, and again by `nostr.open_event`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from loguru import logger

from ..base.events import wait_for_event
from . import sdk
from .listening import Filter, Listening
from .nostr import MAX_EVENT_BYTES, ServiceKey

MESSAGE_LIFE_SECONDS = 600
MAX_OUTGOING = 5_000
MAX_SENDING_PER_RELAY = 200
SEND_TIMEOUT_SECONDS = 12
MAX_RESEND_SECONDS = 30
RECONNECT_SECONDS = 1
LOOK_SECONDS = 0.5
LISTEN_AGAIN_SECONDS = 0.05
# A connection on which nothing was confirmed is given up, at most this often.
RECONNECT_EVERY_SECONDS = 30
# A machine is told once by a relay that says nothing; it asks again if it must.
AUTH_KIND = 22242
MAX_RELAYS = 20


def relay_url_of(text: str) -> str:
    """A relay's address, in one spelling; raises ValueError with a sentence."""
    url = text.strip()
    try:
        return str(sdk.RelayUrl.parse(url)).rstrip("/")
    except sdk.NostrSdkError as exc:
        raise ValueError(
            f"{url[:100]!r} is not the address of a relay: it starts with wss:// (or"
            " ws:// on your own network) and names a host."
        ) from exc


class Offer(Enum):
    """What a relay did with an event: refused or lost it, took it, or took it without
    a word (sent, not acknowledged)."""

    NO = 0
    SENT = 1
    TAKEN = 2


@dataclass(order=True)
class _Outgoing:
    due: float
    number: int
    event: sdk.Event = field(compare=False)
    until: float = field(compare=False)
    sent: Callable[[Offer], Awaitable[None]] | None = field(compare=False, default=None)
    gave_up: Callable[[], None] | None = field(compare=False, default=None)
    attempts: int = field(compare=False, default=0)


class _Listener:
    """A `HandleNotification`, which nostr-sdk asks for by its methods alone."""

    def __init__(
        self,
        heard: Callable[[str, str], None],
        told: Callable[[str, list[Any]], None],
    ) -> None:
        self._heard = heard
        self._told = told

    async def handle(
        self, relay_url: sdk.RelayUrl, subscription_id: str, event: sdk.Event
    ) -> None:
        self._heard(str(relay_url).rstrip("/"), event.as_json())

    async def handle_msg(self, relay_url: sdk.RelayUrl, msg: sdk.RelayMessage) -> None:
        """Everything but events: those come through `handle`, once each."""
        text = msg.as_json()
        if not text.startswith('["EVENT"'):
            self._told(str(relay_url).rstrip("/"), json.loads(text))


@dataclass
class _Connection:
    """One relay: nostr-sdk's end, what it has of our subscriptions, and our login."""

    relay: sdk.Relay
    listening: Listening = field(default_factory=Listening)
    made: int = 0
    made_at: float = 0.0
    challenge: str = ""
    login_id: str = ""
    last_event_at: float | None = None
    sending: int = 0
    waiting: dict[str, asyncio.Future[bool]] = field(default_factory=dict)


class RelayPool:
    """One client on several relays: subscriptions that survive whatever a relay does,
    and a queue of what must go out.

    `on_event` gets the JSON of every event that a relay brought and whose signature
    nostr-sdk has checked; it must return at once.
    """

    def __init__(self, on_event: Callable[[str], None]) -> None:
        self._on_event = on_event
        self._is_open = False
        self._client: sdk.Client | None = None
        self._relays: dict[str, _Connection] = {}
        self._queue: list[_Outgoing] = []
        self._delivering = 0
        self._number = 0
        self._is_full = False
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._permanent: list[asyncio.Task[Any]] = []
        self._wanted: tuple[Filter | None, Filter, list[str]] = (None, {}, [])
        self._key: ServiceKey | None = None

    # life ------------------------------------------------------------------------

    async def start(self) -> None:
        self._is_open = True
        loops = (self._send_loop(), self._look_loop())
        self._permanent = [self._start_task(loop) for loop in loops]

    def assert_alive(self) -> None:
        """Raises RuntimeError if one of its loops has ended, of an error or cancelled
        by something within: a line that looks open and is deaf or dumb."""
        for task in self._permanent:
            if self._is_open and task.done():
                why = "cancelled" if task.cancelled() else repr(task.exception())
                raise RuntimeError(f"a loop of the relays ended: {why}")

    async def stop(self) -> None:
        self._is_open = False
        client, self._client = self._client, None
        if client:
            await client.shutdown()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._relays.clear()

    def _start_task(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _listen(self, client: sdk.Client) -> None:
        listener = _Listener(self._heard, self._told)
        while self._is_open:
            try:
                await client.handle_notifications(listener)
            except sdk.NostrSdkError as exc:
                logger.warning(f"satmachineadmin: listening to relays failed: {exc}")
            # It also ends when more came than could be read: that much is lost, and
            # whoever has no answer asks again.
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    def _heard(self, url: str, event_json: str) -> None:
        if url in self._relays:
            self._relays[url].last_event_at = time.time()
        self._on_event(event_json)

    def _told(self, url: str, message: list[Any]) -> None:
        """What a relay says of itself; a relay can say anything."""
        found = self._relays.get(url)
        said: list[Any] = [*message, "", "", ""]
        kind, rest = said[0], said[1:]
        if found is None:
            return
        now = time.monotonic()
        if kind == "EOSE":
            found.listening.confirmed(str(rest[0]), now)
        elif kind == "CLOSED":
            logger.info(f"satmachineadmin: {url} closed {rest[0]}: {rest[1]}")
            found.listening.closed(str(rest[0]), str(rest[1]), now)
        elif kind == "NOTICE":
            found.listening.noticed(str(rest[0]), now)
        elif kind == "AUTH":
            found.challenge = str(rest[0])
            self._log_in(url, found)
        elif kind == "OK":
            self._acknowledged(found, str(rest[0]), rest[1] is True, str(rest[2]))
        self._speak(found)

    def _log_in(self, url: str, found: _Connection) -> None:
        """NIP-42: the relay wants to know who asks."""
        if self._key is None:
            return
        event = self._key.sign(
            kind=AUTH_KIND,
            content="",
            tags=[["relay", url], ["challenge", found.challenge]],
        )
        found.login_id = str(json.loads(event)["id"])
        if self._say(found, f'["AUTH",{event}]'):
            found.listening.logged_in(time.monotonic())

    def _acknowledged(
        self, found: _Connection, event_id: str, is_taken: bool, words: str
    ) -> None:
        if event_id == found.login_id:
            if is_taken:
                found.listening.logged_in(time.monotonic())
            else:
                found.listening.words = words or "it refuses our login"
        waiting = found.waiting.get(event_id)
        if waiting and not waiting.done():
            waiting.set_result(is_taken)

    @staticmethod
    def _say(found: _Connection, text: str) -> bool:
        try:
            found.relay.send_msg(sdk.ClientMessage.from_json(text))
        except sdk.NostrSdkError as exc:
            logger.debug(f"satmachineadmin: a relay was not told {text[:40]}: {exc}")
            return False
        return True

    def _speak(self, found: _Connection) -> None:
        for text in found.listening.messages(time.monotonic()):
            self._say(found, text)

    @property
    def client(self) -> sdk.Client:
        """Made by the first relay: a line that waits for one needs no nostr-sdk."""
        if not self._is_open:
            raise RuntimeError("The relay pool is not running.")
        if self._client is None:
            sdk.uniffi_set_event_loop(asyncio.get_running_loop())
            options = sdk.ClientOptions().automatic_authentication(False)
            self._client = sdk.ClientBuilder().opts(options).build()
            self._permanent.append(self._start_task(self._listen(self._client)))
        return self._client

    # relays and subscriptions ----------------------------------------------------

    async def set_relays(self, urls: Iterable[str]) -> None:
        """Connect to these relays and to no others."""
        wanted = dict.fromkeys(urls)
        for url in [known for known in self._relays if known not in wanted]:
            del self._relays[url]
            await self.client.force_remove_relay(sdk.RelayUrl.parse(url))
        if not wanted:
            return
        limits = (
            sdk.RelayLimits()
            .event_max_size(MAX_EVENT_BYTES)
            .message_max_size(2 * MAX_EVENT_BYTES)
        )
        # Not `verify_subscriptions`: nostr-sdk does not know what we ask for.
        # `open_event` refuses what nobody asked for.
        options = (
            sdk.RelayOptions()
            .retry_interval(timedelta(seconds=RECONNECT_SECONDS))
            .adjust_retry_interval(False)
            .limits(limits)
        )
        for url in wanted:
            if url in self._relays:
                continue
            address = sdk.RelayUrl.parse(url)
            await self.client.add_relay_with_opts(address, options)
            found = _Connection(await self.client.relay(address))
            found.listening.want(*self._wanted)
            self._relays[url] = found
            await self.client.connect_relay(address)

    def listen(
        self,
        requests: Filter | None,
        reports: Filter,
        authors: list[str],
        key: ServiceKey | None = None,
    ) -> None:
        """Have every relay listen for this, whatever it does; logins are by `key`."""
        self._wanted, self._key = (requests, reports, authors), key
        for url, found in self._relays.items():
            found.listening.want(*self._wanted)
            if found.challenge and not found.login_id:
                self._log_in(url, found)
            if found.listening.is_connected:
                self._speak(found)

    async def _look_loop(self) -> None:
        """Ask a relay after each connection, and again for what it did not confirm."""
        while self._is_open:
            await asyncio.sleep(LOOK_SECONDS)
            for url, found in list(self._relays.items()):
                try:
                    await self._look(url, found)
                except sdk.NostrSdkError as exc:
                    logger.debug(f"satmachineadmin: {url}: {exc}")

    async def _look(self, url: str, found: _Connection) -> None:
        now = time.monotonic()
        if not found.relay.is_connected():
            if found.listening.is_connected:
                found.listening.disconnected()
                self._lose(found)
            return
        made = found.relay.stats().success()
        if made != found.made or not found.listening.is_connected:
            if made != found.made:
                self._lose(found)
            found.made, found.made_at = made, now
            found.listening.connected(now)
        is_old = now - found.made_at > RECONNECT_EVERY_SECONDS
        if is_old and found.listening.must_reconnect():
            logger.info(f"satmachineadmin: {url} does not listen: a new connection")
            found.made_at = now
            found.listening.disconnected()
            address = sdk.RelayUrl.parse(url)
            await self.client.disconnect_relay(address)
            await self.client.connect_relay(address)
            return
        self._speak(found)

    @staticmethod
    def _lose(found: _Connection) -> None:
        """The connection is gone, and with it what it was to acknowledge."""
        for waiting in found.waiting.values():
            if not waiting.done():
                waiting.set_result(False)

    def connected(self) -> list[str]:
        return [url for url, r in self._relays.items() if r.relay.is_connected()]

    def listening(self) -> list[str]:
        """Relays that have confirmed all that we asked for."""
        return [url for url, r in self._relays.items() if r.listening.is_listening]

    def health(self) -> dict[str, Any]:
        """Relays with their state, the time (since 1970) of the last event that each
        was first to bring, and how many messages wait to go."""
        found = [self._health(url, relay) for url, relay in self._relays.items()]
        times = [r["last_event_at"] for r in found if r["last_event_at"]]
        return {
            "relays": found,
            "last_event_at": max(times, default=None),
            "queue": len(self._queue) + self._delivering,
        }

    @staticmethod
    def _health(url: str, found: _Connection) -> dict[str, Any]:
        is_connected = found.relay.is_connected()
        since = found.listening.deaf_since
        is_deaf = is_connected and since is not None
        return {
            "url": url,
            "connected": is_connected,
            "last_event_at": found.last_event_at,
            "listening": is_connected and found.listening.is_listening,
            "subscriptions": found.listening.open_count if is_connected else 0,
            "subscriptions_wanted": found.listening.wanted_count,
            "deaf_seconds": int(time.monotonic() - since) if is_deaf and since else 0,
            "words": (found.listening.words or "it does not answer") if is_deaf else "",
        }

    # outgoing --------------------------------------------------------------------

    def send(
        self,
        event_json: str,
        *,
        seconds: float = MESSAGE_LIFE_SECONDS,
        sent: Callable[[Offer], Awaitable[None]] | None = None,
        gave_up: Callable[[], None] | None = None,
    ) -> None:
        """Queue a signed event. `sent` is awaited when a relay has taken it, or was
        sent it and says nothing; `gave_up` is called when none did for so long."""
        now = time.monotonic()
        if len(self._queue) >= MAX_OUTGOING:
            oldest = min(self._queue, key=lambda item: item.number)
            self._queue.remove(oldest)
            self._give_up(oldest)
            if not self._is_full:
                self._is_full = True
                logger.warning(
                    "satmachineadmin: the queue to the relays is full: the oldest "
                    "messages are dropped, their machines will ask again"
                )
        else:
            self._is_full = False
        self._number += 1
        self._queue.append(
            _Outgoing(
                due=now,
                number=self._number,
                event=sdk.Event.from_json(event_json),
                until=now + seconds,
                sent=sent,
                gave_up=gave_up,
            )
        )
        self._wake.set()

    async def _send_loop(self) -> None:
        while self._is_open:
            now = time.monotonic()
            due = [item for item in self._queue if item.due <= now]
            self._queue = [item for item in self._queue if item.due > now]
            for item in sorted(due):
                self._delivering += 1
                self._start_task(self._deliver(item))
            waits = [item.due - now for item in self._queue]
            await wait_for_event(self._wake, min(waits, default=3600))
            self._wake.clear()

    async def _deliver(self, item: _Outgoing) -> None:
        """Offer it to every connected relay; again later if none took it.

        What a relay was sent without a word is not sent again: it may have arrived,
        and who waits for it asks again.
        """
        try:
            offer = await self._offer(item.event)
            if offer is not Offer.NO and item.sent:
                await item.sent(offer)
        finally:
            self._delivering -= 1
        if offer is not Offer.NO:
            return
        now = time.monotonic()
        item.attempts += 1
        item.due = now + min(2 ** (item.attempts - 1), MAX_RESEND_SECONDS)
        if item.due < item.until:
            self._queue.append(item)
            self._wake.set()
        else:
            logger.warning("satmachineadmin: no relay took a message in time")
            self._give_up(item)

    @staticmethod
    def _give_up(item: _Outgoing) -> None:
        if item.gave_up:
            item.gave_up()

    async def _offer(self, event: sdk.Event) -> Offer:
        """TAKEN as soon as one relay took the event; slow ones go on by themselves."""
        event_id, text = event.id().to_hex(), f'["EVENT",{event.as_json()}]'
        offers = []
        for found in self._relays.values():
            if found.relay.is_connected() and found.sending < MAX_SENDING_PER_RELAY:
                offer = asyncio.create_task(self._send_to(found, event_id, text))
                self._tasks.add(offer)
                offer.add_done_callback(self._tasks.discard)
                offers.append(offer)
        best = Offer.NO
        for done in asyncio.as_completed(offers):
            offered = await done
            best = max(best, offered, key=lambda o: o.value)
            if best is Offer.TAKEN:
                break
        return best

    async def _send_to(self, found: _Connection, event_id: str, text: str) -> Offer:
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        found.waiting[event_id] = waiting
        found.sending += 1
        try:
            if not self._say(found, text):
                return Offer.NO
            await asyncio.wait({waiting}, timeout=SEND_TIMEOUT_SECONDS)
            if waiting.done():
                return Offer.TAKEN if waiting.result() else Offer.NO
            return Offer.SENT if found.relay.is_connected() else Offer.NO
        finally:
            found.waiting.pop(event_id, None)
            found.sending -= 1
