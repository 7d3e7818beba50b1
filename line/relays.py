"""The relays: one client on several of them, and a queue of what must go out.

Guaranteed: subscriptions survive a reconnection, which is tried for ever with backoff;
a message is offered to every connected relay until one took it or its time is up; a
slow or dead relay delays nobody.
Not guaranteed: delivery. A relay may say OK and drop it, or send what it was never
given: signatures are checked by nostr-sdk, and again by `nostr.open_event`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from loguru import logger
from nostr_sdk import (
    Client,
    ClientBuilder,
    ClientOptions,
    Event,
    Filter,
    HandleNotification,
    NostrSdkError,
    Relay,
    RelayLimits,
    RelayMessage,
    RelayOptions,
    RelayUrl,
    uniffi_set_event_loop,
)

from ..base.events import wait_for_event
from .nostr import MAX_EVENT_BYTES

MESSAGE_LIFE_SECONDS = 600
MAX_OUTGOING = 5_000
MAX_SENDING_PER_RELAY = 200
SEND_TIMEOUT_SECONDS = 12
MAX_RESEND_SECONDS = 30
RECONNECT_SECONDS = 1
ASK_AGAIN_SECONDS = 0.5
LISTEN_AGAIN_SECONDS = 0.05
MAX_RELAYS = 20


def relay_url_of(text: str) -> str:
    """A relay's address, in one spelling; raises ValueError with a sentence."""
    url = text.strip()
    try:
        return str(RelayUrl.parse(url)).rstrip("/")
    except NostrSdkError as exc:
        raise ValueError(
            f"{url[:100]!r} is not the address of a relay: it starts with wss:// (or"
            " ws:// on your own network) and names a host."
        ) from exc


@dataclass(order=True)
class _Outgoing:
    due: float
    number: int
    event: Event = field(compare=False)
    until: float = field(compare=False)
    sent: Callable[[], Awaitable[None]] | None = field(compare=False, default=None)
    gave_up: Callable[[], None] | None = field(compare=False, default=None)
    attempts: int = field(compare=False, default=0)


class _Listener(HandleNotification):
    def __init__(self, heard: Callable[[str, str], None]) -> None:
        self._heard = heard

    async def handle(
        self, relay_url: RelayUrl, subscription_id: str, event: Event
    ) -> None:
        self._heard(str(relay_url).rstrip("/"), event.as_json())

    async def handle_msg(self, relay_url: RelayUrl, msg: RelayMessage) -> None:
        """Nothing: events come through `handle`, once each."""


class RelayPool:
    """One client on several relays: subscriptions that survive a reconnection, and
    a queue of what must go out.

    `on_event` gets the JSON of every event that a relay brought and whose signature
    nostr-sdk has checked; it must return at once.
    """

    def __init__(self, on_event: Callable[[str], None]) -> None:
        self._on_event = on_event
        self._client: Client | None = None
        self._relays: dict[str, Relay] = {}
        self._sending: Counter[str] = Counter()
        self._queue: list[_Outgoing] = []
        self._delivering = 0
        self._number = 0
        self._is_full = False
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted: dict[str, Filter] = {}
        self._connections: dict[str, int] = {}
        self._last_events: dict[str, float] = {}

    # life ------------------------------------------------------------------------

    async def start(self) -> None:
        uniffi_set_event_loop(asyncio.get_running_loop())
        options = ClientOptions().automatic_authentication(False)
        self._client = ClientBuilder().opts(options).build()
        self._start_task(self._listen(self._client))
        self._start_task(self._send_loop())
        self._start_task(self._ask_again_loop())

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client:
            await client.shutdown()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._relays.clear()

    def _start_task(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _listen(self, client: Client) -> None:
        listener = _Listener(self._heard)
        while self._client is not None:
            try:
                await client.handle_notifications(listener)
            except NostrSdkError as exc:
                logger.warning(f"satmachineadmin: listening to relays failed: {exc}")
            # It also ends when more came than could be read: that much is lost, and
            # whoever has no answer asks again.
            await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    def _heard(self, url: str, event_json: str) -> None:
        self._last_events[url] = time.time()
        self._on_event(event_json)

    @property
    def client(self) -> Client:
        if self._client is None:
            raise RuntimeError("The relay pool is not running.")
        return self._client

    # relays and subscriptions ----------------------------------------------------

    async def set_relays(self, urls: Iterable[str]) -> None:
        """Connect to these relays and to no others."""
        wanted = dict.fromkeys(urls)
        for url in [known for known in self._relays if known not in wanted]:
            del self._relays[url]
            self._connections.pop(url, None)
            await self.client.force_remove_relay(RelayUrl.parse(url))
        limits = (
            RelayLimits()
            .event_max_size(MAX_EVENT_BYTES)
            .message_max_size(2 * MAX_EVENT_BYTES)
        )
        # Not `verify_subscriptions`: nostr-sdk drops what a relay sends for a filter
        # that has just been replaced. `open_event` refuses what nobody asked for.
        options = (
            RelayOptions()
            .retry_interval(timedelta(seconds=RECONNECT_SECONDS))
            .limits(limits)
        )
        for url in wanted:
            if url in self._relays:
                continue
            address = RelayUrl.parse(url)
            await self.client.add_relay_with_opts(address, options)
            self._relays[url] = await self.client.relay(address)
            await self.client.connect_relay(address)

    async def subscribe(self, name: str, wanted: Mapping[str, Any]) -> None:
        """Ask every relay, now and after each reconnection; replaces what `name`
        asked for before."""
        self._wanted[name] = Filter.from_json(json.dumps(wanted))
        if self._relays:
            await self.client.subscribe_with_id(name, self._wanted[name])

    async def unsubscribe(self, name: str) -> None:
        if self._wanted.pop(name, None):
            await self.client.unsubscribe(name)

    async def _ask_again_loop(self) -> None:
        """Ask a relay again after each connection.

        nostr-sdk does so itself, but for a connection that was made within the second
        of the last subscription ("Skip re-subscription"), and is deaf from then on.
        """
        while self._client is not None:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            for url, relay in list(self._relays.items()):
                made = relay.stats().success()
                if relay.is_connected() and made != self._connections.get(url):
                    self._connections[url] = made
                    await self._ask(url)

    async def _ask(self, url: str) -> None:
        for name, wanted in list(self._wanted.items()):
            try:
                address = RelayUrl.parse(url)
                await self.client.subscribe_with_id_to([address], name, wanted)
            except NostrSdkError as exc:
                self._connections.pop(url, None)
                logger.debug(f"satmachineadmin: {url} was not asked: {exc}")

    def connected(self) -> list[str]:
        return [url for url, relay in self._relays.items() if relay.is_connected()]

    def health(self) -> dict[str, Any]:
        """Relays with their state, the time (since 1970) of the last event that each
        was first to bring, and how many messages wait to go."""
        return {
            "relays": [
                {
                    "url": url,
                    "connected": relay.is_connected(),
                    "last_event_at": self._last_events.get(url),
                }
                for url, relay in self._relays.items()
            ],
            "last_event_at": max(self._last_events.values(), default=None),
            "queue": len(self._queue) + self._delivering,
        }

    # outgoing --------------------------------------------------------------------

    def send(
        self,
        event_json: str,
        *,
        seconds: float = MESSAGE_LIFE_SECONDS,
        sent: Callable[[], Awaitable[None]] | None = None,
        gave_up: Callable[[], None] | None = None,
    ) -> None:
        """Queue a signed event. `sent` is awaited when a relay has taken it, `gave_up`
        called when none did for so many seconds."""
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
                event=Event.from_json(event_json),
                until=now + seconds,
                sent=sent,
                gave_up=gave_up,
            )
        )
        self._wake.set()

    async def _send_loop(self) -> None:
        while self._client is not None:
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
        """Offer it to every connected relay; again later if none took it."""
        try:
            taken = await self._offer(item.event)
            if taken and item.sent:
                await item.sent()
        finally:
            self._delivering -= 1
        if taken:
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

    async def _offer(self, event: Event) -> bool:
        """True as soon as one relay took the event; slow ones go on by themselves."""
        offers = []
        for url, relay in self._relays.items():
            if relay.is_connected() and self._sending[url] < MAX_SENDING_PER_RELAY:
                self._sending[url] += 1
                offer = asyncio.create_task(self._send_to(url, relay, event))
                self._tasks.add(offer)  # type: ignore[arg-type]
                offer.add_done_callback(self._tasks.discard)
                offers.append(offer)
        for done in asyncio.as_completed(offers):
            if await done:
                return True
        return False

    async def _send_to(self, url: str, relay: Relay, event: Event) -> bool:
        try:
            await asyncio.wait_for(relay.send_event(event), SEND_TIMEOUT_SECONDS)
        except (NostrSdkError, asyncio.TimeoutError) as exc:
            logger.debug(f"satmachineadmin: {url} did not take an event: {exc}")
            return False
        finally:
            self._sending[url] -= 1
        return True
