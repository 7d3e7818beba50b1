"""Who is told of what, when, and how often.

The channels are a list; the causes are real rows.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from api_world import ok, refused
from lnbits.settings import settings
from sqlalchemy.exc import OperationalError
from told import ADMIN, Mail, address_of, mail_in_hand, moved_clock, tell
from world import MakeWorld, World, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base.database import db, db_time, execute, fetch_all, transaction
from satmachineadmin.cash.crud import Place
from satmachineadmin.cash.postings import post_count
from satmachineadmin.desk import notices, reconciliation
from satmachineadmin.models import utc_now


@pytest_asyncio.fixture
async def mail(app: Any, monkeypatch: pytest.MonkeyPatch) -> Mail:
    return await mail_in_hand(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    return moved_clock(monkeypatch)


async def failed(world: World) -> str:
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    (leg,) = await world.legs(payment_hash, "super_fee")
    await update(
        "dca_payments", leg.id, status="failed", error_message="no such wallet"
    )
    return leg.id


async def test_a_failed_leg_is_told_once_again_tomorrow_and_closed_when_it_ends(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    mail: Mail,
    clock: Any,
) -> None:
    world = await make_world(name="Cafe_*Sol*")
    await update("dca_machines", world.machine.id, payouts_stopped_reason="wait")
    operator = await address_of(world.operator.user_id)
    leg_id = await failed(world)
    await update("dca_machines", world.machine.id, payouts_stopped_reason=None)
    await asyncio.gather(notices.run_notices(), notices.run_notices())
    await tell()
    (message,) = mail.take(operator)
    assert "3000 sat could not be paid. no such wallet" in message
    assert not set("*_`[]") & set(message)
    clock(hours=23)
    await tell()
    assert mail.take(operator) == []
    clock(hours=25)
    await tell()
    assert len(mail.take(operator)) == 1
    overview = ok(await world.operator.api.get("/overview"))
    kinds = [item["kind"] for item in overview["needs_attention"]]
    assert "leg_failed" in kinds
    ok(
        await world.super_session.api.post(
            f"/super/payments/{leg_id}/void", json={"reason": "x"}
        )
    )
    clock(hours=50)
    await tell()
    assert mail.take(operator) == []
    row = await notice(f"leg_failed:{leg_id}")
    assert row["closed_at"] is not None and row["times"] == 2


async def notice(cause: str) -> Any:
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_notices WHERE cause = :cause",
            {"cause": cause},
        )
    return found[0] if found else None


async def test_a_cause_that_comes_and_goes_is_told_once_an_hour(
    make_world: MakeWorld, mail: Mail, clock: Any
) -> None:
    world = await make_world()
    operator = await address_of(world.operator.user_id)
    silent: dict[str, Any] = {
        "last_seen_at": db_time(utc_now() - timedelta(minutes=16))
    }
    heard: dict[str, Any] = {"last_seen_at": db_time(utc_now() + timedelta(hours=3))}
    told = 0
    for minutes in range(0, 120, 10):
        clock(minutes=minutes)
        state = silent if minutes % 20 == 0 else heard
        await update("dca_machines", world.machine.id, **state)
        await tell()
        told += len(mail.take(operator))
    assert told == 2


async def test_how_long_a_machine_may_be_silent_is_set_on_it(
    make_world: MakeWorld, mail: Mail, clock: Any
) -> None:
    world = await make_world()
    operator = await address_of(world.operator.user_id)
    path = f"/machines/{world.machine.id}"
    refused(await world.operator.api.put(path, json={"silent_after_minutes": -1}), 400)
    answer = ok(await world.operator.api.put(path, json={"silent_after_minutes": 60}))
    assert (answer["silent_after_minutes"], answer["low_cash_fraction"]) == (
        60,
        "0.2000",
    )
    seen = utc_now() - timedelta(minutes=59)
    await update("dca_machines", world.machine.id, last_seen_at=db_time(seen))
    await tell()
    assert mail.take(operator) == []
    clock(minutes=2)
    await tell()
    (message,) = mail.take(operator)
    assert "silent" in message


async def add_bay(world: World, **columns: Any) -> None:
    params = {
        "machine_id": world.machine.id,
        "position": 1,
        "denomination": 20,
        "count": 100,
        "updated_at": db_time(utc_now() - timedelta(hours=1)),
        **columns,
    }
    names = ", ".join(params)
    values = ", ".join(f":{name}" for name in params)
    async with transaction() as conn:
        await execute(
            conn,
            f"INSERT INTO satoshimachine.cassette_configs ({names}) VALUES ({values})",
            params,
        )
        place = Place.of_machine(world.machine, "bay:1")
        counted = {int(params["denomination"]): int(params["count"])}
        at = utc_now() - timedelta(hours=1)
        await post_count(conn, place, counted, at=at, by="ana")


async def test_low_cash_is_told_by_what_the_cash_book_says(
    make_world: MakeWorld, engine_paused: distribution.Worker, mail: Mail
) -> None:
    world = await make_world(low_cash_fraction="0.5000")
    operator = await address_of(world.operator.user_id)
    await add_bay(world, count=51, filled=100)
    await tell()
    assert mail.take(operator) == []
    await world.landed(await world.cash_out(cassettes={"1": 2, "9": 5}))
    await tell()
    (message,) = mail.take(operator)
    assert "bay 1 holds about 49 notes of 20, of 100" in message
    overview = ok(await world.operator.api.get("/overview"))
    low = [i for i in overview["needs_attention"] if i["kind"] == "low_cash"]
    assert [i["machine_id"] for i in low] == [world.machine.id]


async def test_every_cause_of_an_operators_is_told_to_them_alone(
    make_world: MakeWorld, engine_paused: distribution.Worker, mail: Mail, clock: Any
) -> None:
    world = await make_world(deposits=["200.00"])
    other = await make_world()
    operator = await address_of(world.operator.user_id)
    stranger = await address_of(other.operator.user_id)
    held = await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    assert held.status == "quarantined"
    waiting = await world.landed(await world.cash_out(dispense="awaiting"))
    long_ago = db_time(utc_now() - timedelta(minutes=20))
    await update("dca_settlements", waiting.id, transaction_time=long_ago)
    await world.settle(await world.cash_out())
    assert await world.remaining(world.lps[0]) == 0
    await update("dca_machines", world.machine.id, payouts_stopped_reason="why not")
    # a wallet that was emptied behind our back
    short = await world.landed(await world.cash_out())
    await world.settle(short.payment_hash)
    (leg,) = await world.legs(short.payment_hash, "super_fee")
    reason = "The paying wallet holds 0 of the 3000 sat needed."
    await update("dca_payments", leg.id, error_message=reason, wait_code="wallet_short")
    clock(minutes=3)
    await tell()
    told = sorted(mail.take(operator))
    words = ("waits", "held back", "nothing is paid out", "used up", "stopped", "wait:")
    assert len(told) == 5, told
    for word in words[1:]:
        assert any(word in message for message in told), (word, told)
    assert mail.take(stranger) == []


async def test_an_lp_is_told_of_a_deposit_and_if_they_want_of_payouts(
    make_world: MakeWorld, engine_paused: distribution.Worker, mail: Mail, clock: Any
) -> None:
    world = await make_world()
    keen, calm = await world.add_lp("200.00"), await world.add_lp("200.00")
    keen_mail = await address_of(keen.user.user_id)
    calm_mail = await address_of(calm.user.user_id)
    ok(await keen.user.api.put("/lp", json={"notify_payouts": True}))
    await world.settle(await world.cash_out())
    await tell()
    news = mail.take(keen_mail)
    assert sorted(message.split(": ", 2)[2][:14] for message in news) == [
        "you received 5",
        "your deposit o",
    ]
    assert len(mail.take(calm_mail)) == 1
    clock(hours=2)
    await tell()
    assert mail.take(keen_mail) == []
    row = await notice("deposit_confirmed:none")
    assert row is None


async def test_the_super_is_told_of_trouble_and_it_is_closed(
    app: Any, mail: Mail, clock: Any
) -> None:
    await tell({"sweep": "The sweep fails: disk full."})
    await tell({"sweep": "The sweep fails: disk full."})
    assert mail.take(ADMIN) == ["Satoshi Machine: The sweep fails: disk full."]
    row = await notice("trouble:sweep")
    assert row["user_id"] == settings.super_user
    await tell({})
    assert (await notice("trouble:sweep"))["closed_at"] is not None
    clock(days=31)
    await tell({})
    assert await notice("trouble:sweep") is None


async def test_what_is_trouble_for_the_super(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    relays = [{"url": "wss://a.example", "connected": False}]
    line_health: dict[str, Any] = {"problem": None, "relays": relays}

    async def health() -> Any:
        return line_health

    monkeypatch.setattr(tasks.line, "health", health)
    state = tasks.State(worker_at=utc_now(), relays_at=utc_now())
    monkeypatch.setattr(tasks, "state", state)
    # a relay may be away for a moment
    assert await tasks.health_problems() == {}
    state.relays_at -= timedelta(minutes=6)
    assert "None of the 1 relays" in (await tasks.health_problems())["relays"]
    relays[0]["connected"] = True
    assert await tasks.health_problems() == {}
    relays[0]["connected"] = False
    assert await tasks.health_problems() == {}
    line_health["problem"] = "The service key cannot be decrypted."
    state.sweep_error = "OperationalError: disk full"
    state.worker_at = utc_now() - timedelta(minutes=6)
    found = await tasks.health_problems()
    assert sorted(found) == ["service key", "sweep", "worker"]
    assert "disk full" in found["sweep"]


async def test_only_the_engine_tells_and_trouble_there_stops_nothing(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []

    async def look(trouble: Any) -> int:
        looked.append(trouble)
        raise OSError("no such file")

    monkeypatch.setattr(notices, "run_notices", look)
    monkeypatch.setattr(tasks, "state", tasks.State(is_engine=False))
    await tasks.notify_and_reconcile()
    assert looked == []
    monkeypatch.setattr(tasks, "state", tasks.State(is_engine=True))
    await tasks.notify_and_reconcile()
    assert len(looked) == 1


async def test_what_goes_wrong_with_one_turn_of_the_desk_keeps_no_other_from_its(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A table that cannot be written must not stop the nightly reconciliation."""
    had_their_turn: list[str] = []

    async def broken() -> None:
        raise OperationalError("a statement", {}, OSError("disk full"))

    async def nightly() -> None:
        had_their_turn.append("nightly")

    monkeypatch.setattr(tasks.state, "is_engine", True)
    monkeypatch.setattr(tasks, "note_states", broken)
    monkeypatch.setattr(tasks, "_tell_of_trouble", broken)
    monkeypatch.setattr(reconciliation, "nightly", nightly)
    await tasks.notify_and_reconcile()
    assert had_their_turn == ["nightly"]
