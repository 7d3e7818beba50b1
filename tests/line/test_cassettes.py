"""Cassettes, beacon and telemetry: newest wins, the future is refused."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from line_world import Lines, MakeOnLine, OnLine, set_relays
from nostr_sdk import EventBuilder, Kind, Tag
from scripted_relay import ScriptedRelay
from world import update

from satmachineadmin import distribution, tasks
from satmachineadmin.base import lease
from satmachineadmin.base.database import db_time
from satmachineadmin.line import cassettes_crud
from satmachineadmin.line import crud as line_crud
from satmachineadmin.line import engine as line
from satmachineadmin.line import relays as relays_module
from satmachineadmin.models import utc_now

from conftest import wait_for
from dev.accounts import answer

NOW = int(time.time())


def path(found: OnLine, what: str) -> str:
    return f"/machines/{found.world.machine.id}/{what}"


async def shown(found: OnLine, what: str) -> dict[str, Any]:
    return dict(answer(await found.world.operator.api.get(path(found, what))))


async def save(found: OnLine, positions: dict[str, Any]) -> dict[str, Any]:
    return dict(
        answer(
            await found.world.operator.api.put(
                path(found, "cassettes"), json={"positions": positions}
            )
        )
    )


def bay(denomination: int, count: int) -> dict[str, int]:
    return {"denomination": denomination, "count": count}


async def until_telemetry(found: OnLine, key: str, value: Any) -> dict[str, Any]:
    async def said() -> Any:
        told = (await shown(found, "telemetry"))["telemetry"]
        return told if told and told.get(key) == value else None

    return dict(await wait_for(said))


async def until_beacon(found: OnLine, name: str) -> dict[str, Any]:
    async def said() -> Any:
        told = await shown(found, "telemetry")
        return told if (told["beacon"] or {}).get("name") == name else None

    return dict(await wait_for(said))


# ------------------------------------------------------------------------- cassettes


async def test_saved_cassettes_reach_the_machine_and_are_confirmed(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    found.machine.state.cassettes = {}
    saved = await save(found, {"1": bay(20, 100), "2": bay(100, 50)})
    assert saved["confirmed_at"] is None
    await wait_for(lambda: found.machine.state.cassettes)
    assert found.machine.state.cassettes == {1: (20, 100), 2: (100, 50)}

    async def published() -> Any:
        return (await shown(found, "cassettes"))["published_at"]

    assert await wait_for(published)
    await found.machine.publish_cassettes(int(time.time()) + 2)

    async def confirmed() -> Any:
        return (await shown(found, "cassettes"))["confirmed_at"]

    assert await wait_for(confirmed) >= await published()
    told = await shown(found, "cassettes")
    assert told["positions"]["2"]["state_count"] == 50
    assert told["positions"]["2"]["state_at"]


async def test_a_relay_that_says_nothing_is_sent_them_once(
    make_on_line: MakeOnLine, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent, not acknowledged: a state of its own, and not "not published"."""
    monkeypatch.setattr(relays_module, "SEND_TIMEOUT_SECONDS", 0.5)
    found, silent = await make_on_line(), ScriptedRelay()
    await silent.start()
    silent.says_ok = None
    try:
        await set_relays(lines.super_session, silent)
        await wait_for(lambda: "requests" in silent.open_names())
        await save(found, {"1": bay(20, 7)})

        async def offered() -> Any:
            return (await shown(found, "cassettes"))["offered_at"]

        assert await wait_for(offered)
        told = await shown(found, "cassettes")
        assert (told["published_at"], told["confirmed_at"]) == (None, None)
        await asyncio.sleep(3)
        name = f"bitspire-cassettes:{found.machine.hex}"
        taken = [event["id"] for event in silent.taken if ["d", name] in event["tags"]]
        assert len(taken) == 1
    finally:
        await set_relays(lines.super_session, *lines.relays)
        await silent.stop()


async def test_each_save_is_dated_later_than_the_last(make_on_line: MakeOnLine) -> None:
    """A relay keeps the newest: three saves within a second must not be a draw."""
    found = await make_on_line()
    machine_id = found.world.machine.id
    dates: list[int] = []
    for count in (1, 2, 3):
        await save(found, {"1": bay(20, count)})

        async def signed() -> Any:
            event = await cassettes_crud.get_cassette_event(machine_id)
            return event and event.event_json and event

        event = await wait_for(signed)
        body = json.loads(event.event_json)
        assert body["created_at"] == event.event_epoch
        assert ["d", f"bitspire-cassettes:{found.machine.hex}"] in body["tags"]
        dates.append(event.event_epoch)
    assert dates == sorted(set(dates))
    await wait_for(lambda: found.machine.state.cassettes == {1: (20, 3)})


async def test_the_first_report_fills_an_empty_table_and_later_ones_do_not(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    found.machine.state.cassettes = {1: (20, 100), 3: (100, 40)}
    await found.machine.publish_cassettes()

    async def filled() -> Any:
        return (await shown(found, "cassettes"))["positions"]

    positions = await wait_for(filled)
    assert {k: (v["denomination"], v["count"]) for k, v in positions.items()} == {
        "1": (20, 100),
        "3": (100, 40),
    }
    found.machine.state.cassettes = {1: (20, 90), 2: (50, 7)}
    await found.machine.publish_cassettes(int(time.time()) + 1)

    async def reported() -> Any:
        told = (await shown(found, "cassettes"))["positions"]
        return told if told["1"]["state_count"] == 90 else None

    told = await wait_for(reported)
    assert (told["1"]["count"], told["1"]["state_count"]) == (100, 90)
    # a bay that the operator does not know of, and one that is not there any more
    assert (told["2"]["count"], told["2"]["state_count"]) == (0, 7)
    assert (told["3"]["count"], told["3"]["state_count"]) == (40, None)


async def test_a_bay_that_is_not_named_is_removed(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    await save(found, {"1": bay(20, 100), "2": bay(20, 100)})
    told = await save(found, {"2": {**bay(50, 10), "state_count": 99}})
    assert list(told["positions"]) == ["2"]
    assert told["positions"]["2"]["state_count"] is None
    assert (await save(found, {}))["positions"] == {}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"positions": None},
        {"positions": [1]},
        {"positions": {"0": bay(20, 1)}},
        {"positions": {"17": bay(20, 1)}},
        {"positions": {"x": bay(20, 1)}},
        {"positions": {"1": bay(20, 1), "01": bay(20, 1)}},
        {"positions": {"1": bay(-20, 1)}},
        {"positions": {"1": bay(20, -1)}},
        {"positions": {"1": {"denomination": 20}}},
        {"positions": {"1": bay(20, 2**31)}},
        {"positions": {"1": {"denomination": 20.5, "count": 1}}},
        {"positions": {"1": {"denomination": "many", "count": 1}}},
    ],
)
async def test_cassettes_that_make_no_sense(
    make_on_line: MakeOnLine, body: dict[str, Any]
) -> None:
    found = await make_on_line()
    told = await found.world.operator.api.put(path(found, "cassettes"), json=body)
    assert told.status_code == 400
    assert isinstance(told.json()["detail"], str)


async def test_a_relay_that_was_away_gets_what_it_missed(
    make_on_line: MakeOnLine, lines: Lines
) -> None:
    found = await make_on_line()
    for relay in lines.relays:
        relay.stop()
    await wait_for(lambda: line.current and not line.current.pool.connected())
    await save(found, {"1": bay(20, 77)})
    for relay in lines.relays:
        await relay.start()
    await wait_for(
        lambda: found.machine.state.cassettes == {1: (20, 77)} or _asked_again(found),
        timeout_seconds=40,
        interval_seconds=0.2,
    )


async def _asked_again(found: OnLine) -> bool:
    await found.client._subscribe()
    return found.machine.state.cassettes == {1: (20, 77)}


# --------------------------------------------------------------- beacon and telemetry


async def test_beacon_and_telemetry_are_shown_with_their_age(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    assert await shown(found, "telemetry") == {
        "beacon": None,
        "beacon_received_at": None,
        "beacon_age_seconds": None,
        "telemetry": None,
        "telemetry_received_at": None,
        "telemetry_age_seconds": None,
    }
    await found.machine.publish_beacon(
        name="Antigua", fees={"cash_out": 8}, limits={"max": 5000}, geo=[14.5, -90.7]
    )
    await found.machine.publish_telemetry({"door_open": False, "paper": "low"})
    told = await until_beacon(found, "Antigua")
    beacon = told["beacon"]
    assert (beacon["cash_in"], beacon["cash_out"]) == (True, True)
    assert beacon["fees"] == {"cash_out": 8}
    assert beacon["denominations"] == [20, 50, 100, 200]
    assert (beacon["model"], beacon["geo"]) == ("bitSpire simulator", "[14.5, -90.7]")
    assert beacon["cash_level"] == "ok"
    assert 0 <= told["beacon_age_seconds"] < 30
    report = await until_telemetry(found, "paper", "low")
    assert report == {"door_open": False, "paper": "low"}
    machine = answer(await found.world.operator.api.get(path(found, "")[:-1]))
    assert machine["last_seen_at"]


async def test_the_newest_wins_and_the_older_changes_nothing(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    await found.machine.publish_beacon(NOW - 100, name="newer")
    await until_beacon(found, "newer")
    await found.machine.publish_beacon(NOW - 200, name="older")
    await found.machine.publish_telemetry({"n": 1})
    await until_telemetry(found, "n", 1)  # it came after the older beacon
    assert (await shown(found, "telemetry"))["beacon"]["name"] == "newer"
    await found.machine.publish_beacon(NOW - 50, name="newest")
    told = await until_beacon(found, "newest")
    assert told["beacon_age_seconds"] >= 50


async def test_on_a_tie_the_lower_event_id_wins(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    client = found.client
    tied = sorted(
        (
            client.event(
                30078, json.dumps({"name": f"n{n}"}), [["d", "bitspire-beacon"]], NOW
            )
            for n in range(4)
        ),
        key=lambda event: event.id().to_hex(),
    )
    assert line.current
    for event in [tied[2], tied[1], tied[3], tied[0], tied[2]]:
        line.current.heard(event.as_json())
    await until_beacon(found, json.loads(tied[0].content())["name"])


async def test_an_event_from_the_future_is_refused(make_on_line: MakeOnLine) -> None:
    """A clock that says 2036 would freeze the machine's state for ten years."""
    found = await make_on_line()
    assert line.current
    ignored = line.current.ignored.total
    before = ignored["report: future"]
    await found.machine.publish_beacon(int(time.time()) + 500, name="ten minutes")
    await until_beacon(found, "ten minutes")
    await found.machine.publish_beacon(int(time.time()) + 660, name="2036")
    await wait_for(lambda: ignored["report: future"] > before)
    told = (await shown(found, "telemetry"))["beacon"]
    assert told["name"] == "ten minutes"


async def test_what_is_unreadable_is_counted_and_changes_nothing(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    client = found.client
    state = f"bitspire-cassettes-state:{found.machine.hex}"
    other = f"bitspire-cassettes-state:{'00' * 32}"
    good = json.dumps({"positions": {"1": bay(20, 1)}})
    for kind, name, content in (
        (30078, "bitspire-beacon", "not json"),
        (30078, "bitspire-beacon", "[1]"),
        (30079, "bitspire-telemetry", '{"plain": true}'),
        (30079, "bitspire-telemetry", client.sealed("[1]")),
        (30078, state, client.sealed('{"positions": {"99": {}}}')),
        (30078, state, client.sealed('{"positions": {"1": {"count": -1}}}')),
        (30078, other, client.sealed(good)),
        (30078, "something else", client.sealed(good)),
        (30079, "bitspire-beacon", "{}"),
    ):
        await client.send(client.event(kind, content, [["d", name]]))
    await found.machine.publish_telemetry({"last": 1}, int(time.time()) + 1)
    await until_telemetry(found, "last", 1)
    told = await shown(found, "telemetry")
    assert told["beacon"] is None
    assert (await shown(found, "cassettes"))["positions"] == {}


async def test_odd_beacons_are_kept_as_far_as_they_fit(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    await found.machine.publish_beacon(
        name="odd",
        cash_in="yes",
        cash_out=None,
        cash_level={"low": True},
        version=3,
        location="x" * 10_000,
        fees="none",
        limits=None,
        unknown=[1, 2],
    )
    beacon = (await until_beacon(found, "odd"))["beacon"]
    assert (beacon["cash_in"], beacon["cash_out"]) == (None, None)
    assert (beacon["cash_level"], beacon["version"]) == ('{"low": true}', "3")
    assert len(beacon["location"]) == 500
    assert (beacon["fees"], beacon["limits"]) == ("none", None)
    assert "unknown" not in beacon


async def test_a_beacon_needs_no_addressee(make_on_line: MakeOnLine) -> None:
    """It is for the public; its `p` tag, if there is one, means nothing."""
    found = await make_on_line()
    event = (
        EventBuilder(Kind(30078), json.dumps({"name": "public"}))
        .tags([Tag.parse(["d", "bitspire-beacon"])])
        .sign_with_keys(found.machine.keys)
    )
    await found.client.send(event)
    await until_beacon(found, "public")


async def test_an_unpaired_machines_events_are_not_stored(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(is_paired=False)
    await found.machine.publish_beacon(NOW - 10, name="unpaired")
    await found.ask("ping")
    assert line.current
    line.current.heard(
        found.client.event(
            30078, '{"name": "straight in"}', [["d", "bitspire-beacon"]]
        ).as_json()
    )
    await found.ask("ping")
    assert (await shown(found, "telemetry"))["beacon"] is None
    await found.machine.pair(await found.qr())
    # what the relay kept is read once the machine is paired
    await until_beacon(found, "unpaired")


# ----------------------------------------------------------------------------- relays


async def test_relays_are_the_supers(
    make_on_line: MakeOnLine, lines: Lines, super_session: Any
) -> None:
    await make_on_line()
    health = answer(await super_session.api.get("/health"))["relays"]
    assert health["is_listening"] is True
    assert [r["connected"] for r in health["relays"]] == [True, True]
    assert health["last_event_at"] and health["queue"] >= 0
    urls = [relay.url for relay in lines.relays]
    told = answer(
        await super_session.api.put(
            "/super/nostr",
            json={
                "relays": [f" {urls[0].upper().replace('WS', 'ws')}/ ", *urls],
                "service_npub": "ignored",
            },
        )
    )
    assert told["relays"] == urls
    for body, part in (
        ({"relays": ["http://x.com"]}, "http://x.com"),
        ({"relays": ["wss://a"] * 21}, "at most 20"),
        ({"relays": [5]}, "5"),
        ({"relays": "wss://a"}, "relays"),
        ({"relays": None}, "relays"),
    ):
        bad = await super_session.api.put("/super/nostr", json=body)
        assert bad.status_code == 400 and part in bad.json()["detail"], body
    assert answer(await super_session.api.put("/super/nostr", json={})) == told
    audit = await super_session.api.get("/audit?scope=all&action=nostr.relays")
    assert answer(audit)["total"] >= 1


async def test_without_relays_the_server_is_quiet(
    make_on_line: MakeOnLine, lines: Lines, super_session: Any
) -> None:
    found = await make_on_line()
    await set_relays(super_session)
    health = answer(await super_session.api.get("/health"))["relays"]
    assert (health["relays"], health["is_listening"]) == ([], True)
    await save(found, {"1": bay(20, 5)})
    await set_relays(super_session, *lines.relays)
    await wait_for(lambda: found.machine.state.cassettes == {1: (20, 5)})


async def test_health_of_a_process_that_is_not_the_engine(
    make_on_line: MakeOnLine, super_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells what the engine last wrote, and believes it while there is an engine."""
    await make_on_line()
    assert line.current
    await line_crud.write_status(line.current.status())
    monkeypatch.setattr(tasks, "is_ready", lambda: False)
    await wait_for(lambda: line.current is None)
    health = await line.health()
    assert health["is_listening"] is True
    assert [r["connected"] for r in health["relays"]] == [True, True]
    hour_ago = db_time(utc_now() - timedelta(hours=1))
    await update("dca_nostr", "default", status_at=hour_ago)
    # nothing changed in the hour, and nothing was written
    assert (await line.health())["is_listening"] is True
    await lease.release_lease(distribution.INSTANCE_ID)
    try:
        health = await line.health()
    finally:
        await tasks.renew_lease_once()
    assert health["is_listening"] is False
    assert [r["connected"] for r in health["relays"]] == [False, False]
