"""How machines were over time, and how fees changed: what the super reads of both."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from api_world import ok
from world import MakeWorld, update

from satmachineadmin import tasks
from satmachineadmin.base.database import db, db_time
from satmachineadmin.books.history import states
from satmachineadmin.desk import states as noted
from satmachineadmin.models import utc_now

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def moment(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def stamp(minutes: float) -> int:
    return int(moment(minutes).timestamp())


def told(
    state: str | None, since: float, seen: float | None, now: float, *, on: bool = True
) -> list[tuple[int, str]]:
    row = {
        "id": "m",
        "is_active": on,
        "last_seen_at": None if seen is None else db_time(moment(seen)),
        "state": state,
        "since": stamp(since) if state else None,
    }
    changes = noted.changes_of(row, moment(now))
    return [((c.since - stamp(0)) // 60, c.state) for c in changes]


@pytest.mark.pure
def test_a_silence_begins_at_the_last_word_however_late_one_looks() -> None:
    assert told(None, 0, 10, 12) == [(12, "online")]
    assert told("online", 0, 10, 24) == []
    assert told("online", 0, 10, 25) == [(25, "quiet")]
    assert told("online", 0, 10, 600) == [(25, "quiet"), (70, "offline")]
    assert told("quiet", 25, 10, 71) == [(70, "offline")]
    assert told("offline", 70, 90, 91) == [(90, "online")]
    assert told("offline", 70, 90, 200) == [
        (90, "online"),
        (105, "quiet"),
        (150, "offline"),
    ]
    assert told("online", 0, 10, 12, on=False) == [(12, "off")]
    assert told("off", 12, 10, 500, on=False) == []
    assert told("off", 12, 10, 500) == [(500, "offline")]
    assert told(None, 0, None, 5) == [(5, "offline")]
    # its clock is ahead of ours
    assert told("offline", 70, 99, 90) == [(90, "online")]


async def test_states_add_up_to_the_time_that_is_known(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(name="Sol")
    machine_id = world.machine.id
    # the loop of the server looks at the real hour
    monkeypatch.setattr(tasks, "note_states", lambda: asyncio.sleep(0))
    start = utc_now().replace(microsecond=0) - timedelta(hours=9)

    async def looked(hours: float, **columns: Any) -> None:
        if columns:
            await update("dca_machines", machine_id, **columns)
        monkeypatch.setattr(noted, "utc_now", lambda: start + timedelta(hours=hours))
        await noted.note_states()

    await looked(0, last_seen_at=db_time(start))
    await looked(2.9)  # quiet at a quarter past, silent at one
    await looked(3, last_seen_at=db_time(start + timedelta(hours=3)))
    await looked(3.1, is_active=False)
    await looked(5, is_active=True, last_seen_at=db_time(start + timedelta(hours=5)))

    async def found(since: float, until: float) -> dict[str, Any]:
        async with db.connect() as conn:
            rows = await states(
                conn, start + timedelta(hours=since), start + timedelta(hours=until)
            )
        (row,) = [r for r in rows if r["machine_id"] == machine_id]
        return row

    row = await found(-5, 5.2)
    assert [row[f"{s}_seconds"] for s in ("online", "quiet", "offline", "off")] == [
        900 + 360 + 720,
        2_700,
        7_200,
        6_840,
    ]
    assert row["known_since"] == int(start.timestamp()) and row["silences"] == 1
    row = await found(0.5, 2)  # begins and ends within
    assert (row["quiet_seconds"], row["offline_seconds"]) == (1_800, 3_600)
    row = await found(2, 2.5)  # one state throughout
    assert (row["offline_seconds"], row["silences"]) == (1_800, 0)

    boss = world.super_session.api
    days = {"from": start.date().isoformat(), "tz": "UTC"}
    page = ok(await boss.get("/super/states", params=days))
    (row,) = [r for r in page["data"] if r["machine_id"] == machine_id]
    assert row["machine"] == "Sol" and row["operator_name"] == world.operator.username
    text = (await boss.get("/super/states.csv", params=days)).text
    assert text.startswith("machine_id,machine,operator_name,known_since,online_")
    assert machine_id in text
    assert (await world.operator.api.get("/super/states")).status_code == 403


async def test_each_change_of_a_fee_is_listed_with_what_it_was(
    make_world: MakeWorld,
) -> None:
    world = await make_world(name="Luna")
    boss = world.super_session.api
    config = ok(await boss.get("/super/config"))
    was = config["super_cash_in_fee_fraction"]
    path = f"/machines/{world.machine.id}"
    body = {"operator_cash_out_fee_fraction": "0.0610", "location": "here"}
    ok(await world.operator.api.put(path, json=body))
    other = "0.0110" if was != "0.0110" else "0.0120"
    ok(await boss.put("/super/config", json={"super_cash_in_fee_fraction": other}))
    ok(await boss.put("/super/config", json={"super_cash_in_fee_fraction": was}))
    back, there, own = ok(await boss.get("/super/fees"))["data"][:3]
    assert (back["before"], back["after"]) == (other, was)
    assert (there["before"], there["after"]) == (was, other)
    assert there["fee"] == "super_cash_in_fee_fraction" and there["machine"] is None
    assert (own["fee"], own["after"]) == ("operator_cash_out_fee_fraction", "0.0610")
    assert (own["machine"], own["operator_name"]) == ("Luna", world.operator.username)
    text = (await boss.get("/super/fees.csv")).text
    assert text.startswith("at,fee,before,after,machine_id,machine,operator_name")
    sheet = {"for": "spreadsheet", "lang": "es", "tz": "UTC"}
    assert "Comisión" in (await boss.get("/super/fees.csv", params=sheet)).text
    assert (await world.operator.api.get("/super/fees")).status_code == 403
