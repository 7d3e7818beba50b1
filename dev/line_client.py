"""The machine's side of the line: a Nostr client that asks and waits for the reply.

It shares no code with the extension, on purpose: what it says is signed and encrypted
by nostr-sdk alone, as an independent machine's would be.

    client = LineClient(keys, service_npub, relays)
    await client.open()
    answer = await client.ask("ping", {})
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from nostr_sdk import (
    Client,
    Event,
    EventBuilder,
    Filter,
    HandleNotification,
    Keys,
    Kind,
    Nip44Version,
    NostrSdkError,
    PublicKey,
    Relay,
    RelayMessage,
    RelayOptions,
    RelayUrl,
    Tag,
    Timestamp,
    nip44_decrypt,
    nip44_encrypt,
    uniffi_set_event_loop,
)

RPC_KIND = 21000
APP_DATA_KIND = 30078
TELEMETRY_KIND = 30079

Answer = dict[str, Any]


class NoAnswerError(TimeoutError):
    """Nobody answered in time: whether the request was heard is not known."""


class LineClient:
    """One machine's connection to its relays and, through them, to its service."""

    def __init__(
        self,
        keys: Keys,
        service_npub: str,
        relays: Iterable[str],
        on_cassettes: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.keys = keys
        self.service = PublicKey.parse(service_npub)
        self.relays = list(relays)
        self.hex = keys.public_key().to_hex()
        self.npub = keys.public_key().to_bech32()
        self.replies = 0
        self.clock_ahead_seconds = 0
        self.sent: list[Event] = []
        self._on_cassettes = on_cassettes
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._client: Client | None = None
        self._listening: asyncio.Task[None] | None = None
        self._connections: dict[str, int] = {}
        self._number = 0

    # connection ------------------------------------------------------------------

    async def open(self) -> None:
        """Connects to the relays that are up; the others are tried again for ever."""
        uniffi_set_event_loop(asyncio.get_running_loop())
        self._client = Client()
        options = RelayOptions().retry_interval(timedelta(seconds=1))
        options = options.adjust_retry_interval(False)
        for url in self.relays:
            await self._client.add_relay_with_opts(RelayUrl.parse(url), options)
        await self._client.connect()
        await self._client.wait_for_connection(timedelta(seconds=5))
        self._listening = asyncio.create_task(self._listen(self._client))
        await self._subscribe()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client:
            await client.shutdown()
        if self._listening:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        self._connections.clear()

    @property
    def client(self) -> Client:
        if self._client is None:
            raise NoAnswerError("The machine is offline.")
        return self._client

    async def _listen(self, client: Client) -> None:
        with contextlib.suppress(NostrSdkError):
            await client.handle_notifications(_Replies(self._heard, self._closed))

    async def _subscribe(self) -> None:
        """Ask each relay once for every connection that was made to it."""
        replies = (
            Filter()
            .kind(Kind(RPC_KIND))
            .author(self.service)
            .pubkey(self.keys.public_key())
        )
        cassettes = (
            Filter()
            .kind(Kind(APP_DATA_KIND))
            .author(self.service)
            .identifier(f"bitspire-cassettes:{self.hex}")
        )
        for url, relay in (await self.client.relays()).items():
            made = relay.stats().success()
            if relay.is_connected() and made != self._connections.get(str(url)):
                self._connections[str(url)] = made
                await self.client.subscribe_with_id_to([url], "replies", replies)
                await self.client.subscribe_with_id_to([url], "cassettes", cassettes)

    def _closed(self, url: str) -> None:
        """The relay has closed a subscription: before the next request it is asked
        again, or the reply would go past this machine."""
        self._connections.pop(url, None)

    async def connected(self) -> list[Relay]:
        relays = (await self.client.relays()).values()
        return [relay for relay in relays if relay.is_connected()]

    # what comes in ---------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        if event.author().to_hex() != self.service.to_hex():
            return
        text = nip44_decrypt(self.keys.secret_key(), event.author(), event.content())
        message = json.loads(text)
        if event.kind().as_u16() == APP_DATA_KIND:
            if self._on_cassettes:
                self._on_cassettes(message)
            return
        self.replies += 1
        for tag in event.tags().to_vec():
            name, value = tag.as_vec()[:2]
            waiting = self._waiting.get(value) if name == "e" else None
            if waiting and not waiting.done():
                waiting.set_result(message)

    # what goes out ---------------------------------------------------------------

    def request(
        self,
        rpc: str,
        body: Any,
        *,
        request_id: str | None = None,
        created_at: int | None = None,
    ) -> Event:
        """A signed request, encrypted to the service."""
        self._number += 1
        message = {
            "rpcName": rpc,
            "requestId": request_id or f"{self.hex[:6]}-{self._number}",
            "body": body,
        }
        return self.event(RPC_KIND, self.sealed(json.dumps(message)), [], created_at)

    def sealed(self, text: str) -> str:
        return nip44_encrypt(
            self.keys.secret_key(), self.service, text, Nip44Version.V2
        )

    def now(self) -> int:
        """What the machine's own clock says, in seconds since 1970."""
        return int(time.time()) + self.clock_ahead_seconds

    def set_clock(self, server_time: int) -> None:
        """Every answer says what time it is for the service."""
        self.clock_ahead_seconds = server_time - int(time.time())

    def event(
        self,
        kind: int,
        content: str,
        tags: list[list[str]],
        created_at: int | None = None,
    ) -> Event:
        """Any event of this machine, addressed to the service."""
        all_tags = [["p", self.service.to_hex()], *tags]
        return (
            EventBuilder(Kind(kind), content)
            .tags([Tag.parse(tag) for tag in all_tags])
            .custom_created_at(Timestamp.from_secs(created_at or self.now()))
            .sign_with_keys(self.keys)
        )

    async def send(self, event: Event) -> int:
        """Offers an event to every connected relay; returns how many took it."""
        self.sent.append(event)
        del self.sent[:-200]
        await self._subscribe()
        offers = [relay.send_event(event) for relay in await self.connected()]
        done = await asyncio.gather(*offers, return_exceptions=True)
        return sum(not isinstance(result, BaseException) for result in done)

    async def ask(
        self, rpc: str, body: Any, *, timeout_seconds: float = 10, **more: Any
    ) -> Answer:
        """The service's answer to one request. Raises `NoAnswerError`."""
        return await self.ask_event(self.request(rpc, body, **more), timeout_seconds)

    async def ask_event(self, event: Event, timeout_seconds: float = 10) -> Answer:
        event_id = event.id().to_hex()
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[event_id] = waiting
        try:
            return await asyncio.wait_for(
                self._exchange(event, waiting), timeout_seconds
            )
        except asyncio.TimeoutError as exc:
            raise NoAnswerError(f"no answer within {timeout_seconds} s") from exc
        finally:
            del self._waiting[event_id]

    async def _exchange(self, event: Event, waiting: asyncio.Future[Answer]) -> Answer:
        await self.send(event)
        return await waiting

    async def insist(
        self, rpc: str, body: Any, *, timeout_seconds: float = 60, **more: Any
    ) -> Answer:
        """Asks again, newly signed each time, until somebody answers."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                seconds = min(3, max(left, 0.1))
                return await self.ask(rpc, body, timeout_seconds=seconds, **more)
            except NoAnswerError:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(0.3)


class _Replies(HandleNotification):
    def __init__(
        self, heard: Callable[[Event], None], closed: Callable[[str], None]
    ) -> None:
        self._heard = heard
        self._closed = closed

    async def handle(
        self, relay_url: RelayUrl, subscription_id: str, event: Event
    ) -> None:
        with contextlib.suppress(NostrSdkError, ValueError):
            self._heard(event)

    async def handle_msg(self, relay_url: RelayUrl, msg: RelayMessage) -> None:
        """Events come through `handle`."""
        if msg.as_json().startswith('["CLOSED"'):
            self._closed(str(relay_url))
