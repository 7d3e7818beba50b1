"""The line on a relay program of another author, with login and limits on.

Two programs in all: nostr-sdk's relay in most tests of this folder, and `nostr-relay`
here, a process of its own. What it does that nostr-sdk's does not: it refuses in a
NOTICE that names no subscription, takes a login without saying so, and is an older
reading of NIP-42 than ours.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from another_relay import AnotherRelay
from nostr_sdk import EventBuilder, Keys, Kind, Tag

from satmachineadmin.line import relays as relays_module
from satmachineadmin.line.nostr import APP_DATA_KIND, RPC_KIND, ServiceKey
from satmachineadmin.line.relays import RelayPool

from conftest import wait_for

pytestmark = [pytest.mark.pure, pytest.mark.timeout(400)]

MACHINE = Keys.generate()


class Ear:
    """A pool at the relay that listens as the line does, and what it heard."""

    def __init__(self, relay: AnotherRelay) -> None:
        self.relay = relay
        self.key = ServiceKey.generate()
        self.heard: list[str] = []
        self.pool = RelayPool(lambda text: self.heard.append(json.loads(text)["id"]))

    async def open(self, paired: int = 0) -> None:
        requests = {"kinds": [RPC_KIND], "#p": [self.key.pubkey]}
        authors = [MACHINE.public_key().to_hex()]
        authors += [f"{number:064x}" for number in range(1, paired)]
        await self.pool.start()
        await self.pool.set_relays([self.relay.url])
        self.pool.listen(requests, {"kinds": [APP_DATA_KIND]}, authors, self.key)

    @property
    def is_heard(self) -> bool:
        return self.pool.listening() == [self.relay.url]

    @property
    def shown(self) -> dict[str, Any]:
        [found] = self.pool.health()["relays"]
        return dict(found)

    async def hears(self, kind: int) -> None:
        event = (
            EventBuilder(Kind(kind), "hello")
            .tags([Tag.parse(["p", self.key.pubkey]), Tag.parse(["d", "beacon"])])
            .sign_with_keys(MACHINE)
        )
        await self.relay.publish(event.as_json())
        await wait_for(lambda: event.id().to_hex() in self.heard, timeout_seconds=20)


@pytest_asyncio.fixture(scope="module")
async def relay(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[AnotherRelay]:
    found = AnotherRelay(tmp_path_factory.mktemp("relay"), most_subscriptions=3)
    await found.start()
    yield found
    found.stop()


@pytest_asyncio.fixture
async def ear(relay: AnotherRelay) -> AsyncIterator[Ear]:
    found = Ear(relay)
    yield found
    await found.pool.stop()


async def test_it_listens_after_a_login_within_its_limits_and_after_a_restart(
    relay: AnotherRelay, ear: Ear
) -> None:
    """3 000 paired machines would be four subscriptions; it takes three."""
    await relay.may_read(ear.key.pubkey)
    await ear.open(paired=3_000)
    await wait_for(lambda: ear.is_heard, timeout_seconds=60)
    assert ear.shown["subscriptions"] == ear.shown["subscriptions_wanted"] == 2
    await ear.hears(RPC_KIND)
    await ear.hears(APP_DATA_KIND)
    relay.stop()
    await wait_for(lambda: not ear.shown["connected"], timeout_seconds=20)
    await relay.start()
    await wait_for(lambda: ear.is_heard, timeout_seconds=30)
    await ear.hears(RPC_KIND)


async def test_who_may_not_read_there_is_told_so_and_asks_until_they_may(
    relay: AnotherRelay, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own words are shown; when its owner relents, a new connection logs in."""
    monkeypatch.setattr(relays_module, "RECONNECT_EVERY_SECONDS", 5)
    await ear.open()
    words = "restricted: permission denied"
    await wait_for(lambda: ear.shown["words"] == words, timeout_seconds=30)
    assert (ear.shown["connected"], ear.shown["listening"]) == (True, False)
    await relay.may_read(ear.key.pubkey)
    await wait_for(lambda: ear.is_heard, timeout_seconds=60)
    await ear.hears(RPC_KIND)
