"""The relay pool, over real relays (nostr-sdk's `LocalRelay`) and a lying one.

The lying relay is a bare websocket server that sends whatever a test wants, says OK to
what it drops, says nothing at all, or closes the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from nostr_sdk import EventBuilder, Keys, Kind, Tag
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from satmachineadmin.line import relays as relays_module
from satmachineadmin.line.nostr import APP_DATA_KIND, RPC_KIND, ServiceKey
from satmachineadmin.line.relays import Offer, RelayPool, relay_url_of

from conftest import wait_for
from dev.relay import DevRelay

pytestmark = pytest.mark.pure

SERVICE = ServiceKey.generate()
MACHINE = Keys.generate()
MACHINE_HEX = MACHINE.public_key().to_hex()
REQUESTS = {"kinds": [RPC_KIND], "#p": [SERVICE.pubkey]}


def event_json(content: str, kind: int = RPC_KIND) -> str:
    """A signed request of the machine."""
    return (
        EventBuilder(Kind(kind), content)
        .tags([Tag.parse(["p", SERVICE.pubkey]), Tag.parse(["d", "name"])])
        .sign_with_keys(MACHINE)
        .as_json()
    )


class Heard:
    """A pool and what it heard."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.pool = RelayPool(lambda text: self.events.append(json.loads(text)))

    @property
    def contents(self) -> list[str]:
        return [event["content"] for event in self.events]

    async def open(self, *urls: str, is_heard: bool = True) -> None:
        await self.pool.start()
        await self.pool.set_relays(urls)
        self.pool.listen(REQUESTS, {}, [])
        await wait_for(lambda: len(self.pool.connected()) == len(urls))
        if is_heard:
            await wait_for(lambda: len(self.pool.listening()) == len(urls))


class LyingRelay:
    """A websocket server that behaves like a relay as far as a test wants."""

    def __init__(self) -> None:
        self.url = ""
        self.subscriptions: list[tuple[ServerConnection, str]] = []
        self.taken: list[dict[str, Any]] = []
        self.says_ok: bool | None = True
        self._server: Server | None = None

    async def start(self) -> str:
        self._server = await serve(self._talk, "127.0.0.1", 0, max_size=None)
        port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"
        return self.url

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _talk(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                await self._answer(connection, json.loads(text))

    async def _answer(self, connection: ServerConnection, message: Any) -> None:
        if message[0] == "REQ":
            self.subscriptions.append((connection, message[1]))
            await connection.send(json.dumps(["EOSE", message[1]]))
        elif message[0] == "EVENT":
            self.taken.append(message[1])
            if self.says_ok is not None:
                answer = ["OK", message[1]["id"], self.says_ok, "because"]
                await connection.send(json.dumps(answer))

    async def send(self, *messages: Any) -> None:
        await wait_for(lambda: self.subscriptions)
        connection, name = self.subscriptions[-1]
        for message in messages:
            raw = message if isinstance(message, str) else json.dumps(message)
            await connection.send(raw.replace('"SUB"', json.dumps(name)))


Opened = Callable[..., Awaitable[Heard]]


@pytest_asyncio.fixture
async def opened() -> AsyncIterator[Opened]:
    made: list[Heard] = []

    async def make(*urls: str) -> Heard:
        heard = Heard()
        made.append(heard)
        await heard.open(*urls)
        return heard

    yield make
    for heard in made:
        await heard.pool.stop()


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[DevRelay]:
    relay = DevRelay()
    await relay.start()
    yield relay
    relay.stop()


@pytest_asyncio.fixture
async def second_relay() -> AsyncIterator[DevRelay]:
    relay = DevRelay()
    await relay.start()
    yield relay
    relay.stop()


@pytest_asyncio.fixture
async def liar() -> AsyncIterator[LyingRelay]:
    relay = LyingRelay()
    await relay.start()
    yield relay
    await relay.stop()


async def test_an_event_comes_once_from_several_relays(
    opened: Opened, relay: DevRelay, second_relay: DevRelay
) -> None:
    heard = await opened(relay.url, second_relay.url)
    sender = await opened(relay.url, second_relay.url)
    for number in range(20):
        sender.pool.send(event_json(f"n{number}"))
    await wait_for(lambda: len(heard.events) == 20)
    await wait_for(lambda: sender.pool.health()["queue"] == 0)
    assert sorted(heard.contents) == sorted(f"n{n}" for n in range(20))
    assert heard.pool.health()["last_event_at"]


async def test_a_relay_that_restarts_is_found_again_and_asked_again(
    opened: Opened, relay: DevRelay
) -> None:
    heard = await opened(relay.url)
    relay.stop()
    await wait_for(lambda: not heard.pool.connected())
    [shown] = heard.pool.health()["relays"]
    assert (shown["url"], shown["connected"], shown["listening"]) == (
        relay.url,
        False,
        False,
    )
    await relay.start()
    await wait_for(lambda: heard.pool.connected(), timeout_seconds=30)
    sender = await opened(relay.url)

    def repeated() -> list[str]:
        # like a machine, which repeats until it is answered
        sender.pool.send(event_json("after"))
        return heard.contents

    await wait_for(repeated, interval_seconds=0.2)


async def test_a_message_waits_for_a_relay_and_goes_once(
    opened: Opened, relay: DevRelay
) -> None:
    sender = await opened(relay.url)
    relay.stop()
    await wait_for(lambda: not sender.pool.connected())
    sent: list[str] = []

    async def note(offer: Offer) -> None:
        sent.append(offer.name)

    # a kind that relays keep: nobody has to be listening at that moment
    sender.pool.send(event_json("kept", kind=APP_DATA_KIND), sent=note)
    assert sender.pool.health()["queue"] == 1
    await relay.start()
    await wait_for(lambda: sent == ["TAKEN"], timeout_seconds=40)
    assert sender.pool.health()["queue"] == 0
    heard = await opened(relay.url)
    heard.pool.listen(None, {"kinds": [APP_DATA_KIND]}, [MACHINE_HEX])
    await wait_for(lambda: heard.contents == ["kept"])


async def test_a_refused_message_is_offered_again_and_an_unanswered_one_is_not(
    opened: Opened, liar: LyingRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relay that took it without a word has it: sent, not acknowledged."""
    monkeypatch.setattr(relays_module, "SEND_TIMEOUT_SECONDS", 0.5)
    sender = await opened(liar.url)
    became: list[str] = []

    async def note(offer: Offer) -> None:
        became.append(offer.name)

    liar.says_ok = False
    sender.pool.send(event_json("again"), sent=note)
    await wait_for(lambda: len(liar.taken) >= 1)
    liar.says_ok = None
    await wait_for(lambda: became == ["SENT"], timeout_seconds=20)
    assert sender.pool.health()["queue"] == 0
    taken = len(liar.taken)
    await asyncio.sleep(2.5)
    assert len(liar.taken) == taken
    liar.says_ok = True
    sender.pool.send(event_json("another"), sent=note)
    await wait_for(lambda: became == ["SENT", "TAKEN"])


async def test_who_is_not_heard_in_time_is_given_up(
    opened: Opened, liar: LyingRelay
) -> None:
    sender = await opened(liar.url)
    liar.says_ok = False
    given_up: list[str] = []
    sender.pool.send(
        event_json("late"), seconds=0.5, gave_up=lambda: given_up.append("late")
    )
    await wait_for(lambda: given_up == ["late"])
    assert sender.pool.health()["queue"] == 0


async def test_a_silent_relay_delays_nobody(
    opened: Opened, relay: DevRelay, liar: LyingRelay
) -> None:
    heard = await opened(relay.url)
    sender = await opened(relay.url, liar.url)
    liar.says_ok = None
    for number in range(50):
        sender.pool.send(event_json(f"n{number}"))
    await wait_for(lambda: len(heard.events) == 50, timeout_seconds=5)


async def test_a_lying_relay_gets_nothing_through(
    opened: Opened, liar: LyingRelay
) -> None:
    """Bad signatures, a megabyte, noise: all dropped, and the connection still serves
    what is good. Whom an event is for is asked later, by `nostr.open_event`."""
    heard = await opened(liar.url)
    good = json.loads(event_json("good"))
    other = json.loads(
        EventBuilder(Kind(RPC_KIND), "other")
        .tags([Tag.parse(["p", "22" * 32])])
        .sign_with_keys(MACHINE)
        .as_json()
    )
    await liar.send(
        ["EVENT", "SUB", good | {"sig": "00" * 64}],
        ["EVENT", "SUB", good | {"content": "changed"}],
        ["EVENT", "SUB", {k: v for k, v in good.items() if k != "sig"}],
        ["EVENT", "SUB", other],
        ["EVENT", "SUB", json.loads(event_json("x" * 1_000_000))],
        ["EVENT", "not asked for", good],
        ["EVENT"],
        [],
        {},
        "garbage",
        "[" * 3_000,
        ["NOTICE", "hello"],
        ["CLOSED", "nothing", "error: no"],
        *[["EVENT", "SUB", good]] * 3,
    )
    await wait_for(lambda: heard.events)
    last = json.loads(event_json("last"))
    await liar.send(["EVENT", "SUB", last])
    await wait_for(lambda: "last" in heard.contents)
    assert heard.contents == ["other", "good", "last"]


async def test_relays_can_be_changed_while_it_runs(
    opened: Opened, relay: DevRelay, second_relay: DevRelay
) -> None:
    heard = await opened(relay.url)
    await heard.pool.set_relays([second_relay.url])
    await wait_for(lambda: heard.pool.connected() == [second_relay.url])
    old, new = await opened(relay.url), await opened(second_relay.url)
    old.pool.send(event_json("to the old"))
    await wait_for(lambda: old.pool.health()["queue"] == 0)
    new.pool.send(event_json("to the new"))
    await wait_for(lambda: heard.contents)
    assert heard.contents == ["to the new"]


async def test_the_queue_is_bounded(
    opened: Opened, liar: LyingRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relays_module, "MAX_OUTGOING", 10)
    sender = Heard()
    await sender.pool.start()  # no relay at all
    try:
        for number in range(30):
            sender.pool.send(event_json(f"n{number}"))
        await asyncio.sleep(0)
        await wait_for(lambda: sender.pool.health()["queue"] <= 10)
    finally:
        await sender.pool.stop()


def test_an_address_has_one_spelling() -> None:
    assert relay_url_of(" wss://Relay.Example.com/ ") == "wss://relay.example.com"
    assert relay_url_of("ws://127.0.0.1:7777/path") == "ws://127.0.0.1:7777/path"
    for text in ("", "relay", "http://a.com", "wss://", "wss://a b", "ws://a:99999"):
        with pytest.raises(ValueError, match="not the address of a relay"):
            relay_url_of(text)


@pytest.mark.parametrize("how", ["cancelled", "raised"])
async def test_a_loop_of_the_pool_that_ends_is_noticed(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps the line opens it anew: an open line that nobody reads is deaf."""
    pool = RelayPool(lambda text: None)

    async def end() -> None:
        if how == "raised":
            raise OSError("no more")
        raise asyncio.CancelledError

    monkeypatch.setattr(pool, "_send_loop", end)
    await pool.start()
    pool.assert_alive()
    await asyncio.sleep(0.05)
    with pytest.raises(RuntimeError, match=how if how == "cancelled" else "no more"):
        pool.assert_alive()
    await pool.stop()
    pool.assert_alive()
