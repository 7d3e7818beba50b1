"""Who is sent what, when, by which channel, and what becomes of it.

The channels are a list (`told.py`); causes, messages and choices are real rows, and
time is moved by `utc_now`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import pytest_asyncio
from api_world import ok, refused
from told import HOLDER, Mail, address_of, mail_in_hand, moved_clock, send_due, tell
from world import Killed, MakeWorld, World, update

from satmachineadmin import distribution
from satmachineadmin.base.database import db, db_time, execute, fetch_all, transaction
from satmachineadmin.desk import notices, outbox, outbox_crud
from satmachineadmin.desk.told import digest_moment, held_until
from satmachineadmin.host import notices as host_notices
from satmachineadmin.models import Preferences, utc_now

ZONE = "America/Guatemala"  # UTC-6 all year
NIGHT = {"quiet_from": "22:00", "quiet_until": "07:00"}


@pytest_asyncio.fixture
async def mail(app: Any, monkeypatch: pytest.MonkeyPatch) -> Mail:
    return await mail_in_hand(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    return moved_clock(monkeypatch)


def local(hour: int, minute: int = 0, *, days: int = 0) -> datetime:
    """That hour in Guatemala, of tomorrow or so many days later: what was seen today
    is long past then."""
    day = (utc_now() - timedelta(hours=6)).date() + timedelta(days=days + 1)
    midnight = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    return midnight + timedelta(hours=hour + 6, minutes=minute)


async def chooses(who: World, **wishes: Any) -> dict[str, Any]:
    api = who.operator.api
    ok(await api.put("/preferences", json={"time_zone": ZONE}))
    answer: dict[str, Any] = ok(await api.put("/notifications", json=wishes))
    return answer


async def silent(world: World) -> None:
    seen = db_time(utc_now() - timedelta(hours=1))
    await update("dca_machines", world.machine.id, last_seen_at=seen)


async def heard(world: World) -> None:
    seen = db_time(utc_now() + timedelta(days=9))
    await update("dca_machines", world.machine.id, last_seen_at=seen)


async def rows(user_id: str) -> list[Any]:
    async with db.connect() as conn:
        return await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_messages WHERE user_id = :user "
            "ORDER BY created_at, id",
            {"user": user_id},
        )


@pytest.mark.pure
def test_quiet_hours_end_by_the_clock_on_the_wall() -> None:
    berlin = Preferences(time_zone="Europe/Berlin", **NIGHT)
    at = datetime(2026, 3, 28, 21, 30, tzinfo=timezone.utc)  # 22:30, clocks change
    assert held_until(berlin, at) == datetime(2026, 3, 29, 5, tzinfo=timezone.utc)
    at = datetime(2026, 3, 28, 5, 59, tzinfo=timezone.utc)  # 06:59
    assert held_until(berlin, at) == at + timedelta(minutes=1)
    assert held_until(berlin, at + timedelta(minutes=1)) is None
    noon = Preferences(quiet_from="12:00", quiet_until="13:00")
    assert held_until(noon, at.replace(hour=12)) == at.replace(hour=13, minute=0)
    assert held_until(noon, at.replace(hour=11)) is None
    assert held_until(noon, at.replace(hour=13, minute=0)) is None
    assert held_until(Preferences(), at) is None and held_until(None, at) is None
    # a digest's hour that the clocks leave out is still told that day
    left_out = Preferences(time_zone="Europe/Berlin", digest_at="02:30")
    moment = digest_moment(left_out, datetime(2026, 3, 29, 12, tzinfo=timezone.utc))
    assert moment == datetime(2026, 3, 29, 1, 30, tzinfo=timezone.utc)


@pytest.mark.pure
def test_a_flood_is_one_message_that_telegram_takes() -> None:
    now = datetime(2026, 3, 28, 21, 30, tzinfo=timezone.utc)
    flood = [
        outbox_crud.Claimed(
            id=str(n),
            user_id="ana",
            kind="leg_failed",
            cause=str(n),
            text="x" * 300,
            created_at=now,
            next_try_at=now,
            give_up_at=now,
        )
        for n in range(40)
    ]
    (parcel,) = outbox.parcels(flood, outbox.zone_of(None))
    assert len(parcel.messages) == 40 and len(parcel.text) < 4_000
    assert "And 29 more" in parcel.text
    assert len(outbox.parcels(flood[:5], outbox.zone_of(None))) == 5


async def test_what_is_held_goes_once_when_quiet_hours_end(
    make_world: MakeWorld, mail: Mail, clock: Any
) -> None:
    world, other = await make_world(name="Sol"), await make_world(name="Luna")
    operator = await address_of(world.operator.user_id)
    awake = await address_of(other.operator.user_id)
    answer = await chooses(world, **NIGHT)
    assert answer["time_zone"] == ZONE and answer["waiting"] == 0
    await silent(world)
    await silent(other)
    clock(at=local(23, 30))
    await tell()
    assert mail.take(operator) == [] and len(mail.take(awake)) == 1
    await heard(world)
    clock(at=local(1, days=1))
    await tell()  # it is over, and nobody has been told yet
    await update("dca_machines", world.machine.id, payouts_stopped_reason="why not")
    clock(at=local(6, 59, days=1))
    await tell()
    assert mail.take(operator) == []
    told = ok(await world.operator.api.get("/notifications"))
    assert told["waiting"] == 2
    assert datetime.fromisoformat(told["next_at"]) == local(7, days=1)
    clock(at=local(7, days=1))
    await send_due()
    (message,) = mail.take(operator)
    first, second = message.splitlines()[1:]
    assert first.startswith("23:30 Sol") and "Over since 01:00" in first
    assert second.startswith("06:59 Sol: payouts are stopped")
    clock(at=local(8, days=1))
    await send_due()
    assert mail.take(operator) == []
    assert ok(await world.operator.api.get("/notifications"))["waiting"] == 0


async def test_who_dies_between_sending_and_its_row_sends_again(
    make_world: MakeWorld, mail: Mail, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    user = world.operator.user_id
    operator = await address_of(user)
    await silent(world)
    # dies while the cause is written: neither it nor its message is there
    with monkeypatch.context() as dying:

        async def dies(*_: Any) -> None:
            raise Killed

        dying.setattr(notices.outbox_crud, "put", dies)
        with pytest.raises(Killed):
            await notices.run_notices()
    assert await rows(user) == []
    await notices.run_notices()
    await outbox.deliver(user, None, "not the engine")
    assert mail.take(operator) == []
    with monkeypatch.context() as dying:
        dying.setattr(outbox_crud, "finish", dies)
        with pytest.raises(Killed):
            await outbox.deliver(user, None, HOLDER)
    assert len(mail.take(operator)) == 1
    await send_due()  # claimed: whoever it was may still be at it
    assert mail.take(operator) == []
    clock(minutes=5)
    await send_due()
    assert len(mail.take(operator)) == 1
    clock(minutes=20)
    await send_due()
    assert mail.take(operator) == []
    (row,) = await rows(user)
    assert (row["status"], row["attempts"], row["claim"]) == ("sent", 2, None)


async def test_a_channel_that_refuses_is_tried_for_a_day(
    make_world: MakeWorld, mail: Mail, clock: Any
) -> None:
    world = await make_world()
    user = world.operator.user_id
    await silent(world)
    await tell()  # no channel: not kept for the day that there is one
    (row,) = await rows(user)
    assert row["status"] == "no_channel"
    operator = await address_of(user)
    await send_due()
    assert mail.take(operator) == []
    mail.says = host_notices.REFUSED
    await update("dca_machines", world.machine.id, payouts_stopped_reason="why not")
    tried = []
    for minutes in (0, 0.5, 1, 2, 3, 4, 7, 8, 15, 24 * 60 - 1, 24 * 60, 24 * 60 + 5):
        clock(minutes=minutes)
        await (tell() if minutes < 60 else send_due())
        if len(mail.take(operator)):
            tried.append(minutes)
    assert tried == [0, 1, 3, 7, 15, 24 * 60 - 1, 24 * 60]
    assert [r["status"] for r in await rows(user)] == ["no_channel", "given_up"]
    answer = ok(await world.operator.api.get("/notifications"))
    assert (answer["given_up"], answer["last_sent_at"]) == (1, None)


async def test_a_day_is_summed_up_once_by_ones_own_clock(
    make_world: MakeWorld, engine_paused: distribution.Worker, mail: Mail, clock: Any
) -> None:
    world = await make_world(deposits=["400.00"])
    operator = await address_of(world.operator.user_id)
    lp = world.lps[0].user
    lps = await address_of(lp.user_id)
    boss = await address_of(world.super_session.user_id)
    await heard(world)
    await world.settle(await world.cash_out())
    held = await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    assert held.status == "quarantined"
    await chooses(world, notify={"quarantined": False, "balance_used_up": False})
    await tell()
    mail.sent.clear()
    for who in (world.operator, lp, world.super_session):
        ok(await who.api.put("/preferences", json={"time_zone": ZONE}))
        ok(await who.api.put("/notifications", json={"digest_at": "08:00"}))
    overview = ok(await world.operator.api.get(f"/overview?days=1&tz={ZONE}"))["totals"]
    clock(at=local(7, 59))
    await send_due()
    assert [m for m in mail.take(operator) if "trades" in m] == []
    clock(at=local(8))
    await send_due()
    (message,) = mail.take(operator)
    fees = overview["operator_fee_sats"]
    assert f"Your machines: 1 trades, 200.00 GTQ, your fees {fees} sat." in message
    assert "Nothing waits for you." in message
    (message,) = mail.take(lps)
    assert "You received 100000 sat for 200.00 GTQ." in message
    (message,) = mail.take(boss)
    assert "All operators: " in message
    clock(at=local(9))
    await send_due()
    assert mail.take(operator) == []
    await update("dca_machines", world.machine.id, payouts_stopped_reason="why not")
    clock(at=local(12, days=1))  # nothing ran at eight
    await tell()
    stopped, digest = sorted(mail.take(operator), key=len)
    assert "no trades" in digest and "1 wait for you:" in digest
    assert stopped.removeprefix("Satoshi Machine: ") in digest
    for who in (world.operator, lp, world.super_session):
        ok(await who.api.put("/notifications", json={"digest_at": None}))


async def test_a_digest_that_is_chosen_after_its_hour_begins_tomorrow(
    make_world: MakeWorld, mail: Mail, clock: Any
) -> None:
    world = await make_world()
    operator = await address_of(world.operator.user_id)
    api = world.operator.api
    ok(await api.put("/notifications", json={"digest_at": "00:00"}))
    await send_due()
    assert mail.take(operator) == []
    clock(days=1)
    await send_due()
    assert len(mail.take(operator)) == 1
    ok(await api.put("/notifications", json={"digest_at": None}))


async def staff_of(world: World, make_user: Any, role: str, ids: list[str]) -> Any:
    person = await make_user(role)
    async with transaction() as conn:
        await execute(
            conn,
            """
            INSERT INTO satoshimachine.dca_staff (
                id, operator_user_id, user_id, role, machines_json, status, code,
                created_at, expires_at
            ) VALUES (:id, :boss, :user, :role, :machines, 'active', :id, :at, :at)
            """,
            {
                "id": person.user_id,
                "boss": world.operator.user_id,
                "user": person.user_id,
                "role": role,
                "machines": f'["{ids[0]}"]' if ids else None,
                "at": db_time(utc_now()),
            },
        )
    return person


async def test_helpers_are_told_what_their_role_may_know(
    make_world: MakeWorld, make_user: Any, mail: Mail, clock: Any
) -> None:
    world = await make_world()
    operator = await address_of(world.operator.user_id)
    manager = await staff_of(world, make_user, "manager", [])
    collector = await staff_of(world, make_user, "collector", [world.machine.id])
    elsewhere = await staff_of(world, make_user, "collector", ["another"])
    mails = [await address_of(p.user_id) for p in (manager, collector, elsewhere)]
    kinds = ok(await collector.api.get("/notifications"))["kinds"]
    assert [k["kind"] for k in kinds] == [
        "offline",
        "low_cash",
        "box_full",
        "visit_open",
    ]
    assert {role for k in kinds for role in k["roles"]} == {"collector"}
    await silent(world)
    await update("dca_machines", world.machine.id, payouts_stopped_reason="why not")
    await tell()
    assert len(mail.take(operator)) == 2
    assert [len(mail.take(to)) for to in mails] == [2, 1, 0]
    # one's own choice, whomever one works for; and not the operator's
    acting = ok(await manager.api.get("/me"))["acting_for"][0]["id"]
    headers = {"X-Acting-For": acting}
    body = {"notify": {"payouts_stopped": False}}
    ok(await manager.api.put("/notifications", json=body, headers=headers))
    clock(hours=25)
    await tell()
    assert len(mail.take(operator)) == 2
    assert [len(mail.take(to)) for to in mails] == [1, 1, 0]
    # a visit that another closed
    await address_of(collector.user_id)
    headers = {
        "X-Acting-For": ok(await collector.api.get("/me"))["acting_for"][0]["id"]
    }
    path = f"/machines/{world.machine.id}/visits"
    visit = ok(await collector.api.post(path, headers=headers), 201)
    ok(await collector.api.post(f"/visits/{visit['id']}/close", headers=headers))
    visit = ok(await world.operator.api.post(path), 201)
    ok(await world.operator.api.post(f"/visits/{visit['id']}/close"))
    clock()
    await tell()
    (message,) = [m for m in mail.take(operator) if "visit was closed" in m]
    assert "differs by 0.00 GTQ" in message


async def test_each_sale_is_told_to_who_asks_for_it(
    make_world: MakeWorld, engine_paused: distribution.Worker, mail: Mail, clock: Any
) -> None:
    world, other = await make_world(name="Sol"), await make_world()
    operator = await address_of(world.operator.user_id)
    stranger = await address_of(other.operator.user_id)
    chosen = {k["kind"]: k["is_told"] for k in (await chooses(world))["kinds"]}
    assert chosen.pop("sale") is False and all(chosen.values())
    await world.landed(await world.cash_out())
    await tell()
    assert mail.take(operator) == []
    await chooses(world, notify={"sale": True})
    await other.landed(await other.cash_out())
    await tell()
    (message,) = [m for m in mail.take(operator) if "customer" in m]
    assert message == (
        "Satoshi Machine: Sol: a customer paid 108000 sat for 200.00 GTQ."
    )
    assert [m for m in mail.take(stranger) if "customer" in m] == []


async def test_a_test_says_by_which_channel_it_went(
    make_world: MakeWorld, mail: Mail, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    api = world.operator.api
    answer = ok(await api.post("/notifications/test"))
    assert answer["is_sent"] is False
    assert {
        c["name"]: (c["is_offered"], c["is_set"], c["result"])
        for c in answer["channels"]
    } == {
        "email": (True, False, None),
        "nostr": (False, False, None),
        "telegram": (False, False, None),
    }
    detail = refused(await api.post("/notifications/test"), 409)
    assert detail == "You have just sent a test: wait a minute."
    operator = await address_of(world.operator.user_id)
    ok(
        await api.put(
            "/notifications", json={"quiet_from": "00:00", "quiet_until": "23:59"}
        )
    )
    clock(minutes=2)
    answer = ok(await api.post("/notifications/test"))
    assert answer["is_sent"] is True and answer["channels"][0]["result"] == "sent"
    (message,) = mail.take(operator)
    assert message.startswith("Satoshi Machine: This is a test.")
    clock(minutes=4)
    mail.says = host_notices.NO_ANSWER
    answer = ok(await api.post("/notifications/test"))
    assert answer["is_sent"] is False and answer["channels"][0]["result"] == "no_answer"
    assert ok(await api.get("/notifications"))["last_sent_at"] is None


async def test_choices_are_checked_and_kept(make_world: MakeWorld) -> None:
    api = (await make_world()).operator.api
    for body, words in (
        ({"quiet_from": "25:00", "quiet_until": "07:00"}, "time of day"),
        ({"quiet_from": "7:00", "quiet_until": "08:00"}, "time of day"),
        ({"digest_at": "08:00:30"}, "digest_at"),
        ({"quiet_from": "22:00"}, "both a beginning and an end"),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "at the same time"),
        ({"notify": {"nothing": True}}, "nothing that is told"),
    ):
        assert words in refused(await api.put("/notifications", json=body), 400)
    ok(await api.put("/notifications", json={"notify": {"sale": True}, **NIGHT}))
    ok(await api.put("/notifications", json={"notify": {"offline": False}}))
    answer = ok(await api.put("/notifications", json={"digest_at": "08:00"}))
    told = {k["kind"]: k["is_told"] for k in answer["kinds"]}
    assert (told["sale"], told["offline"], told["deposit"]) == (True, False, True)
    assert {k: answer[k] for k in NIGHT} == NIGHT and answer["digest_at"] == "08:00"
    # the other screen's PUT takes nothing of it away
    ok(await api.put("/preferences", json={"number_format": "comma"}))
    assert ok(await api.get("/notifications"))["quiet_from"] == "22:00"
    gone = {"quiet_from": None, "quiet_until": None, "digest_at": None}
    answer = ok(await api.put("/notifications", json=gone))
    assert {k: answer[k] for k in gone} == gone
