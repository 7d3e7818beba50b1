"""Relays that stop listening: each is asked again, and says in its own words why not.

Over a scripted relay where no relay program does it on demand; the clock of the waiting
itself is tested without a relay.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from line_world import Lines, MakeOnLine, set_relays
from nostr_sdk import EventBuilder, Keys, Kind, Tag
from scripted_relay import ScriptedRelay

from satmachineadmin.base.database import (
    execute,
    insert_sql,
    row_params,
    transaction,
)
from satmachineadmin.desk import relays as desk_relays
from satmachineadmin.desk.relays import deaf_sentence
from satmachineadmin.line import engine
from satmachineadmin.line import listening as listening_module
from satmachineadmin.line import relays as relays_module
from satmachineadmin.line.listening import Listening
from satmachineadmin.line.nostr import APP_DATA_KIND, RPC_KIND, ServiceKey, hex_of
from satmachineadmin.line.relays import RelayPool

from conftest import wait_for
from dev.accounts import answer
from dev.line_client import LineClient

SERVICE = ServiceKey.generate()
MACHINE = Keys.generate()
REQUESTS = {"kinds": [RPC_KIND], "#p": [SERVICE.pubkey]}
REPORTS = {"kinds": [APP_DATA_KIND]}


def authors(count: int) -> list[str]:
    return [f"{number:064x}" for number in range(count)]


class Ear:
    """A pool that listens at one scripted relay, and what it heard."""

    def __init__(self, relay: ScriptedRelay) -> None:
        self.relay = relay
        self.heard: list[str] = []
        self.pool = RelayPool(lambda text: self.heard.append(json.loads(text)["id"]))

    async def open(self, paired: int = 0) -> None:
        await self.pool.start()
        await self.pool.set_relays([self.relay.url])
        self.pool.listen(REQUESTS, REPORTS, authors(paired), SERVICE)

    @property
    def is_heard(self) -> bool:
        return self.pool.listening() == [self.relay.url]

    @property
    def shown(self) -> dict[str, Any]:
        [found] = self.pool.health()["relays"]
        return dict(found)

    async def hears(self) -> None:
        """A request that somebody sends now arrives."""
        speaker = RelayPool(lambda text: None)
        await speaker.start()
        try:
            await speaker.set_relays([self.relay.url])
            await wait_for(lambda: len(speaker.connected()) == 1)
            event = (
                EventBuilder(Kind(RPC_KIND), "hello")
                .tags([Tag.parse(["p", SERVICE.pubkey])])
                .sign_with_keys(MACHINE)
            )
            speaker.send(event.as_json())
            await wait_for(lambda: event.id().to_hex() in self.heard)
        finally:
            await speaker.stop()


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    found = ScriptedRelay()
    await found.start()
    yield found
    await found.stop()


@pytest_asyncio.fixture
async def ear(relay: ScriptedRelay) -> AsyncIterator[Ear]:
    found = Ear(relay)
    yield found
    await found.pool.stop()


async def test_a_subscription_that_is_closed_is_asked_for_again(
    relay: ScriptedRelay, ear: Ear
) -> None:
    await ear.open()
    await wait_for(lambda: ear.is_heard)
    await relay.close_all("error: subscription idle too long")
    await wait_for(lambda: len(relay.asked) == 2)
    await wait_for(lambda: ear.is_heard)
    assert relay.clients == 1  # over the same connection
    await ear.hears()


@pytest.mark.parametrize("by_notice", [False, True])
async def test_a_relay_that_refuses_is_shown_in_its_own_words(
    relay: ScriptedRelay,
    ear: Ear,
    by_notice: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening_module, "ANSWER_SECONDS", 1)
    relay.refuses, relay.refuses_by_notice = "rate-limited: slow down", by_notice
    await ear.open()
    await wait_for(lambda: ear.shown["words"] == "rate-limited: slow down")
    assert (ear.shown["connected"], ear.shown["listening"]) == (True, False)
    await wait_for(lambda: len(relay.asked) >= 3, timeout_seconds=20)
    relay.refuses = None
    await wait_for(lambda: ear.is_heard, timeout_seconds=20)
    assert ear.shown["words"] == ""
    await ear.hears()


async def test_a_relay_that_answers_nothing_gets_a_new_connection(
    relay: ScriptedRelay, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening_module, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(listening_module, "MAX_RETRY_SECONDS", 0.5)
    monkeypatch.setattr(relays_module, "RECONNECT_EVERY_SECONDS", 3)
    relay.is_mute = True
    await ear.open()
    await wait_for(lambda: relay.clients == 1)
    [first] = relay._clients
    await wait_for(lambda: relay._clients not in ([first], []), timeout_seconds=30)
    await wait_for(lambda: ear.shown["words"] == "it does not answer")
    relay.is_mute = False
    await wait_for(lambda: ear.is_heard, timeout_seconds=20)


async def test_a_relay_that_falls_silent_is_noticed(
    relay: ScriptedRelay, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has confirmed everything, keeps the socket open, and hears nobody."""
    monkeypatch.setattr(listening_module, "RENEW_SECONDS", 1)
    monkeypatch.setattr(listening_module, "ANSWER_SECONDS", 1)
    await ear.open()
    await wait_for(lambda: ear.is_heard)
    relay.is_mute = True
    await wait_for(lambda: not ear.is_heard, timeout_seconds=20)
    relay.is_mute = False
    await wait_for(lambda: ear.is_heard, timeout_seconds=20)


async def test_a_relay_that_wants_a_login_gets_the_service_keys(
    relay: ScriptedRelay, ear: Ear
) -> None:
    relay.wants_login = True
    await ear.open(paired=3)
    await wait_for(lambda: ear.is_heard, timeout_seconds=20)
    [login] = relay.logins
    assert (login["kind"], login["pubkey"]) == (22242, SERVICE.pubkey)
    assert ["challenge", "challenge"] in login["tags"]
    assert ["relay", relay.url] in login["tags"]
    await relay.stop()
    await relay.start()
    await wait_for(lambda: len(relay.logins) == 2, timeout_seconds=30)
    await wait_for(lambda: ear.is_heard, timeout_seconds=30)
    await ear.hears()


async def test_a_relay_that_takes_few_subscriptions_gets_few(
    relay: ScriptedRelay, ear: Ear
) -> None:
    """3 000 paired machines: three subscriptions of five filters, then one of all."""
    relay.most_subscriptions = 2
    await ear.open(paired=3_000)
    await wait_for(lambda: ear.is_heard, timeout_seconds=30)
    assert sorted(relay.open_names()) == ["reports-0", "requests"]
    assert relay.asked[0] == ["REQ", "requests", REQUESTS]


async def test_a_relay_that_takes_short_filters_gets_short_ones(
    relay: ScriptedRelay, ear: Ear
) -> None:
    relay.most_authors = 60
    await ear.open(paired=250)
    await wait_for(lambda: ear.is_heard, timeout_seconds=30)
    last = [m for m in relay.asked if m[1].startswith("reports")][-1]
    assert max(len(f["authors"]) for f in last[2:]) == 50


# ------------------------------------------------------------- without a relay


def test_it_is_asked_less_and_less_often_but_for_ever() -> None:
    ear = Listening()
    ear.want(REQUESTS, REPORTS, [])
    ear.connected(0.0)
    asked: list[int] = []
    for now in range(200):
        if ear.messages(float(now)):
            asked.append(now)
            ear.closed("requests", "blocked: no", float(now))
    assert asked[:5] == [0, 1, 3, 7, 15]
    assert asked[5:] == list(range(30, 200, 15))
    assert ear.must_reconnect()


def test_a_person_hears_of_it_after_a_minute() -> None:
    relay = {"deaf_seconds": 59, "words": "auth-required: no"}
    assert deaf_sentence(relay) is None
    said = deaf_sentence(relay | {"deaf_seconds": 60})
    assert said == (
        "connected, but this relay does not listen for us: auth-required: no"
    )


def test_what_is_not_wanted_any_more_is_closed() -> None:
    ear = Listening()
    ear.want(REQUESTS, REPORTS, authors(1))
    ear.connected(0.0)
    assert len(ear.messages(0.0)) == 2
    for name in ("requests", "reports-0"):
        ear.confirmed(name, 0.0)
    assert ear.is_listening
    ear.want(REQUESTS, REPORTS, [])
    assert ear.messages(1.0) == ['["CLOSE", "reports-0"]']
    ear.closed("reports-0", "as you wish", 1.0)
    assert ear.is_listening


def test_words_are_those_of_the_relay_and_short() -> None:
    ear = Listening()
    ear.want(REQUESTS, REPORTS, [])
    ear.connected(0.0)
    ear.messages(0.0)
    ear.closed("requests", "x" * 5_000, 1.0)
    assert ear.words == "x" * 200


def test_a_notice_that_refuses_is_an_answer() -> None:
    """Older relays refuse in a NOTICE that names no subscription."""
    ear = Listening()
    ear.want(REQUESTS, REPORTS, authors(3_000))
    ear.connected(0.0)
    assert len(ear.messages(0.0)) == 4
    ear.noticed("welcome", 1.0)
    assert ear.messages(5.0) == []
    ear.noticed("rejected: too many subscriptions", 5.0)
    assert (ear.words, ear.wanted_count) == ("rejected: too many subscriptions", 2)
    asked = [json.loads(text) for text in ear.messages(6.0)]
    assert [m[:2] for m in asked if m[0] == "CLOSE"] == [
        ["CLOSE", "reports-1"],
        ["CLOSE", "reports-2"],
    ]
    assert [m[1] for m in asked if m[0] == "REQ"] == ["requests", "reports-0"]
    for name in ("requests", "reports-0"):
        ear.confirmed(name, 7.0)
    assert ear.is_listening
    ear.noticed("error: something else", 8.0)
    assert ear.is_listening
    assert ear.words == ""


def test_a_relay_that_takes_few_filters_or_short_ones_gets_less() -> None:
    ear = Listening()
    ear.want(REQUESTS, REPORTS, authors(1_000))
    ear.connected(0.0)
    ear.messages(0.0)
    ear.noticed("ERROR: bad req: too many filters", 1.0)
    assert (ear.filters_per_subscription, ear.authors_per_filter) == (2, 200)
    ear.messages(3.0)
    ear.noticed("ERROR: bad req: filter too big", 4.0)
    assert (ear.filters_per_subscription, ear.authors_per_filter) == (2, 100)
    ear.messages(9.0)
    ear.noticed("rate-limited: slow down", 9.0)
    assert (ear.filters_per_subscription, ear.authors_per_filter) == (2, 100)


def test_after_a_login_it_is_asked_at_once_whether_or_not_it_says_so() -> None:
    ear = Listening()
    ear.want(REQUESTS, REPORTS, [])
    ear.connected(0.0)
    ear.messages(0.0)
    ear.closed("requests", "auth-required: who are you?", 0.1)
    assert ear.messages(0.2) == []
    ear.logged_in(0.3)
    assert len(ear.messages(0.3)) == 1


# ------------------------------------------------------------------- on a server


async def test_registrations_that_are_not_paired_cost_a_relay_nothing(
    make_on_line: MakeOnLine, lines: Lines, relay: ScriptedRelay
) -> None:
    """1 250 of them, over a relay that takes two subscriptions and short filters: the
    machine that is paired is heard."""
    found = await make_on_line()
    machine = found.world.machine
    strangers = [Keys.generate().public_key().to_bech32() for _ in range(1_250)]
    async with transaction() as conn:
        for number, npub in enumerate(strangers):
            own = f"{machine.id}-{number}"
            row = machine.copy(
                update={"id": own, "wallet_id": own, "machine_npub": npub}
            )
            row.claimed_npub, row.is_paired = npub, False
            params = row_params(row)
            await execute(conn, insert_sql("dca_machines", params), params)
    relay.most_subscriptions, relay.most_authors = 2, 200
    try:
        await set_relays(lines.super_session, relay)
        await wait_for(lambda: sorted(relay.open_names()) == ["reports-0", "requests"])
        asked = {a for m in relay.asked for f in m[2:] for a in f.get("authors", [])}
        assert found.machine.hex in asked
        assert not asked & {hex_of(npub) for npub in strangers}
        machine_line = LineClient(
            found.client.keys, found.machine.state.service_npub, [relay.url]
        )
        await machine_line.open()
        assert (await machine_line.insist("ping", {}))["pong"] is True
        await machine_line.close()
    finally:
        await set_relays(lines.super_session, *lines.relays)
        async with transaction() as conn:
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_machines WHERE id LIKE :those",
                {"those": f"{machine.id}-%"},
            )


async def test_everybody_hears_which_relay_does_not_listen_and_why(
    lines: Lines, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/health`, what needs the super's attention, and what the Platform screen reads;
    not in the first minute, and not when it listens again."""
    relay.refuses = "restricted: members only"
    api = lines.super_session.api
    said = "connected, but this relay does not listen for us: restricted: members only"

    async def shown() -> dict[str, Any]:
        found = answer(await api.get("/health"))["relays"]["relays"]
        return next((r for r in found if r["url"] == relay.url), {})

    async def attention() -> list[str]:
        found = answer(await api.get("/super/overview"))["needs_attention"]
        return [i["message"] for i in found if i["kind"] == "relay_deaf"]

    monkeypatch.setattr(engine, "STATUS_SECONDS", 0.5)
    try:
        await set_relays(lines.super_session, *lines.relays, relay)
        await wait_for(lambda: relay.asked)
        seen = await wait_for(shown)
        assert (seen["connected"], seen["listening"]) == (True, False)
        assert (seen["problem"], await attention()) == (None, [])
        monkeypatch.setattr(desk_relays, "DEAF_SECONDS", 1)

        async def is_told() -> bool:
            return (await shown())["problem"] == said and await attention() == [
                f"{relay.url}: {said}"
            ]

        await wait_for(is_told, timeout_seconds=30)
        relay.refuses = None

        async def is_over() -> bool:
            seen = await shown()
            has = seen["subscriptions"] == seen["subscriptions_wanted"] > 0
            return has and seen["problem"] is None and await attention() == []

        await wait_for(is_over, timeout_seconds=40)
    finally:
        await set_relays(lines.super_session, *lines.relays)
