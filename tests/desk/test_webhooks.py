"""An operator's server is told what happened, whatever it does, and nobody waits.

Real rows, a real server on the loopback, the courier's own turns. Time is moved by the
rows and by `utc_now`; a call has a second.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from api_world import Desk, add_deposit, add_machine, make_desk, ok, refused
from receiver import Receiver
from world import MakeWorld, World, let_loops_run, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base import lease
from satmachineadmin.base.database import db, db_time, execute, fetch_all, transaction
from satmachineadmin.desk import courier as courier_module
from satmachineadmin.desk import webhook_events, webhooks
from satmachineadmin.desk.courier import Courier, backoff, deliver, pause
from satmachineadmin.host import outside
from satmachineadmin.host.written import Rest
from satmachineadmin.models import utc_now

from conftest import wait_for
from dev import installation

HOLDER = distribution.INSTANCE_ID


@pytest_asyncio.fixture
async def alone(app: Any, monkeypatch: pytest.MonkeyPatch) -> Courier:
    """A courier of this test's own: the one of the loop stands still."""
    let_loops_run()
    stands_still = asyncio.Event()

    async def nothing(_: str) -> None:
        stands_still.set()
        await asyncio.sleep(0.05)

    monkeypatch.setattr(tasks.courier, "turn", nothing)
    # a turn that had begun would look and deliver beside it
    await wait_for(stands_still.is_set)
    monkeypatch.setattr(outside, "CALL_SECONDS", 1.0)
    monkeypatch.setattr(courier_module, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(courier_module, "SLOW_POLL_SECONDS", 0.05)
    return Courier(next_attention=math.inf)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``clock(hours=25)``: the courier believes that it is so much later."""
    now = [timedelta(0)]
    for module in (courier_module, webhook_events, webhooks):
        monkeypatch.setattr(module, "utc_now", lambda: utc_now() + now[0])

    def later(**span: float) -> datetime:
        now[0] = timedelta(**span)
        return utc_now() + now[0]

    return later


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


@pytest_asyncio.fixture(scope="module")
async def its_desk(make_user: Any, make_wallet: Any) -> Desk:
    return await make_desk(make_user, make_wallet)


@pytest_asyncio.fixture
async def desk(its_desk: Desk) -> AsyncIterator[Desk]:
    """Shared, and without a webhook before and after."""
    await without_webhooks()
    yield its_desk
    await without_webhooks()


async def without_webhooks() -> None:
    async with transaction() as conn:
        for table in ("dca_webhooks", "dca_webhook_events", "dca_webhook_causes"):
            await execute(conn, f"DELETE FROM satoshimachine.{table}")


async def hooked(who: World | Desk, shop: Receiver, **more: Any) -> dict[str, Any]:
    body = {"url": shop.url, **more}
    answer: dict[str, Any] = ok(await who.operator.api.put("/webhook", json=body))
    return answer


async def happens(desk: Desk) -> None:
    """Something that is told: `deposit.recorded`."""
    await add_deposit(desk.operator, desk.client["id"], "5.00", status="pending")


async def run(courier: Courier, until: Any = None) -> None:
    """Turns until nothing is due, or until a condition."""
    await wait_for(lambda: tasks.state.is_engine)
    for _ in range(400):
        await courier.turn(HOLDER)
        if until is not None and until():
            break
        if until is None and not courier.calls:
            async with db.connect() as conn:
                due, _ = await courier_module.sql.operators_due(
                    conn, courier_module.utc_now(), HOLDER
                )
            # on a busy machine a lease may be renewed late
            if not due and await lease.holds_lease(HOLDER):
                return
    else:
        raise AssertionError("it never came to an end")


async def events_of(who: World | Desk, **query: Any) -> list[dict[str, Any]]:
    answer = await who.operator.api.get("/webhook/events", params=query)
    found: list[dict[str, Any]] = ok(answer)["data"]
    return found


def verifier_of_the_guide() -> Callable[[str, str, bytes], bool]:
    """What docs/api.md tells programmers to copy."""
    guide = (installation.ROOT / "docs" / "api.md").read_text()
    (code,) = re.findall(r"(?ms)^```python verify\n(.*?)^```$", guide)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    found: Callable[[str, str, bytes], bool] = names["is_from_satmachine"]
    return found


async def test_what_is_told_when_and_signed(
    desk: Desk,
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    alone: Courier,
    shop: Receiver,
) -> None:
    world = await make_world(deposits=["300.00"])
    made = await hooked(world, shop)
    assert made["secret"].startswith("whsec_")
    assert "secret" not in ok(await world.operator.api.get("/webhook"))
    again = ok(await world.operator.api.put("/webhook", json={"url": shop.url}))
    assert again["secret"] is None
    payment_hash = await world.cash_out()
    done = await world.settle(payment_hash)
    assert done.status == "completed"
    await happens(desk)  # another operator's
    client = world.lps[0].client.id
    deposit = await add_deposit(world.operator, client, "50.00")
    path = f"/deposits/{deposit['id']}/status"
    gone = {"status": "reversed", "reason": "wrong LP"}
    ok(await world.operator.api.put(path, json=gone))
    visits = f"/machines/{world.machine.id}/visits"
    visit = ok(await world.operator.api.post(visits), 201)
    ok(await world.operator.api.post(f"/visits/{visit['id']}/close"))
    await run(alone)

    (sale,) = shop.told("settlement.completed")
    assert sale["data"]["id"] == done.id
    assert sale["data"]["payment_hash"] == payment_hash
    assert sale["data"]["principal_sats"] == 100_000
    assert sale["data"]["fiat_amount"] == "200.00"
    told = [e["type"] for e in shop.told() if e["type"].startswith("deposit")]
    assert told == ["deposit.recorded", "deposit.confirmed", "deposit.reversed"]
    reversed_ = shop.told("deposit.reversed")[0]["data"]
    assert (reversed_["amount"], reversed_["currency"]) == ("50.00", "GTQ")
    assert reversed_["status"] == "reversed" and reversed_["reason"] == "wrong LP"
    (closed,) = shop.told("visit.closed")
    assert closed["data"]["id"] == visit["id"]
    ids = [e["id"] for e in shop.told()]
    assert len(ids) == len(set(ids))
    assert desk.machine["id"] not in str(shop.calls)
    assert world.operator.user_id not in str(shop.calls)
    assert world.lps[0].user.user_id not in str(shop.calls)
    verifies = verifier_of_the_guide()
    for call in shop.calls:
        header = call.headers["x-satmachine-signature"]
        assert verifies(made["secret"], header, call.body)
        assert not verifies(made["secret"], header, call.body + b" ")
        assert not verifies("whsec_other", header, call.body)
        old = header.replace("t=1", "t=0")
        assert not verifies(made["secret"], old, call.body)
        stamp, mark = call.headers["x-satmachine-signature"].split(",")
        at = stamp.removeprefix("t=")
        assert abs(int(at) - time.time()) < 60
        signed = at.encode() + b"." + call.body
        good = hmac.new(made["secret"].encode(), signed, hashlib.sha256).hexdigest()
        assert mark == f"v1={good}"
        assert call.headers["x-satmachine-event-id"] == call.event["id"]
    listed = await events_of(world, limit=100, status="delivered")
    assert {e["id"] for e in listed} == set(ids)
    assert {e["answer_status"] for e in listed} == {200}
    one = ok(await world.operator.api.get(f"/webhook/events/{sale['id']}"))
    assert one["body"] == sale
    refused(await desk.operator.api.get(f"/webhook/events/{sale['id']}"), 404)
    assert (await world.operator.api.get("/webhook/events.csv")).text.count("200") > 3


async def test_attention_is_told_as_it_opens_and_closes(
    desk: Desk, alone: Courier, shop: Receiver
) -> None:
    machine_id = desk.machine["id"]

    async def stopped(reason: str | None) -> list[dict[str, Any]]:
        await update("dca_machines", machine_id, payouts_stopped_reason=reason)
        alone.next_attention = 0.0
        alone.rest = Rest()  # PostgreSQL tells of what was written with the next poll
        await run(alone)
        found = [e for e in shop.told() if e["type"].startswith("attention")]
        return [e for e in found if e["data"]["kind"] == "payouts_stopped"]

    await stopped("why")
    await hooked(desk, shop)
    # what stands open when it is set is told as well
    (opened,) = await stopped("why")
    assert opened["type"] == "attention.opened"
    assert opened["data"]["machine_id"] == machine_id
    assert await stopped("another sentence") == [opened]
    _, closed = await stopped(None)
    assert closed["type"] == "attention.closed"
    *_, again = await stopped("again")
    assert again["type"] == "attention.opened" and again["id"] != opened["id"]
    await stopped(None)


async def test_only_what_was_chosen(desk: Desk, alone: Courier, shop: Receiver) -> None:
    wrong = {"url": shop.url, "events": ["x"]}
    answer = await desk.operator.api.put("/webhook", json=wrong)
    refused(answer, 400, "nothing that is told")
    await hooked(desk, shop, events=["deposit.confirmed"])
    alone.next_attention = 0.0
    await add_deposit(desk.operator, desk.client["id"], "50.00")
    await run(alone)
    assert [e["type"] for e in shop.told()] == ["deposit.confirmed"]
    ok(await desk.operator.api.put("/webhook", json={"events": None}))
    answer = ok(await desk.operator.api.get("/webhook"))
    assert answer["events"] == list(webhook_events.KINDS)


@pytest.mark.parametrize(
    "how", ["down", "silent", "500", "nothing", "redirect", "drip", "no http"]
)
async def test_nothing_is_lost_while_it_does_not_take_them(
    desk: Desk,
    alone: Courier,
    shop: Receiver,
    clock: Any,
    how: str,
) -> None:
    """Down, slow, lying, leading elsewhere: shown, tried again, and told in the end."""
    async with Receiver() as elsewhere:
        await hooked(desk, shop, events=["deposit.recorded"])
        shop.how, shop.redirect_to = how, elsewhere.url
        await happens(desk)
        await run(alone)
        (event,) = await events_of(desk)
        assert event["status"] == "waiting" and event["attempts"] == 1
        assert event["next_try_at"] and event["answer"] is not None
        state = ok(await desk.operator.api.get("/webhook"))
        assert (state["waiting"], state["failures"]) == (1, 1)
        failed_calls = len(shop.calls)
        await run(alone)
        assert len(shop.calls) == failed_calls  # not before its time
        shop.how = "ok"
        clock(seconds=11)
        await run(alone)
        (event,) = await events_of(desk)
        assert (event["status"], event["attempts"]) == ("delivered", 2)
        told = {e["id"] for e in shop.told()}
        assert told == {event["id"]} and elsewhere.calls == []


async def test_it_is_given_up_after_a_day_said_and_sent_again(
    desk: Desk,
    alone: Courier,
    shop: Receiver,
    clock: Any,
) -> None:
    await hooked(desk, shop, events=["deposit.recorded"])
    shop.how = "500"
    await happens(desk)
    for hours in (0, 1, 23, 24.1):
        clock(hours=hours)
        await run(alone)
    (event,) = await events_of(desk)
    assert event["status"] == "given_up" and event["answer"] == "<b>no</b>"
    assert event["answer_status"] == 500

    async def attention() -> list[str]:
        overview = ok(await desk.operator.api.get("/overview"))
        items = overview["needs_attention"]
        return [i["message"] for i in items if i["kind"] == "webhook"]

    (message,) = await attention()
    assert "could not be told 1 events" in message
    ok(await desk.operator.api.post("/webhook/seen"))
    assert await attention() == []
    shop.how = "ok"
    assert ok(await desk.operator.api.post("/webhook/send-again")) == {"events": 1}
    await run(alone)
    (event,) = await events_of(desk)
    assert event["status"] == "delivered"
    calls = list(shop.calls)
    assert len({c.body for c in calls}) == 1  # the very bytes, and so one id
    one = f"/webhook/events/{event['id']}/send-again"
    ok(await desk.operator.api.post(one))
    await run(alone)
    assert len(shop.calls) == len(calls) + 1


async def test_one_that_it_will_not_take_keeps_no_other_from_it(
    desk: Desk, alone: Courier, shop: Receiver, clock: Any
) -> None:
    await hooked(desk, shop)
    shop.refuses = "deposit.recorded"
    await add_deposit(desk.operator, desk.client["id"], "50.00")
    await run(alone)
    clock(seconds=11)
    await run(alone)
    states = {e["type"]: e["status"] for e in await events_of(desk, limit=50)}
    assert states == {"deposit.recorded": "waiting", "deposit.confirmed": "delivered"}


async def test_slow_servers_delay_nobody_else(
    desk: Desk,
    alone: Courier,
    shop: Receiver,
    make_user: Any,
    make_wallet: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many that say nothing as there are calls at a time, but one: while each keeps
    its call, another's many events are told."""
    monkeypatch.setattr(outside, "CALL_SECONDS", 60.0)
    async with Receiver("silent") as slow:
        for _ in range(courier_module.PARALLEL - 1):
            late = await make_user("late")
            await add_machine(late, make_wallet)
            ok(await late.api.put("/webhook", json={"url": slow.url}))
            ok(await late.api.post("/webhook/test"))
        await run(alone, until=lambda: len(slow.calls) == courier_module.PARALLEL - 1)
        await hooked(desk, shop)
        for _ in range(3):
            await happens(desk)
        await run(alone, until=lambda: len(shop.calls) == 3)
        assert slow.under_way == slow.most_under_way == courier_module.PARALLEL - 1
        alone.stop()


async def test_a_dead_server_is_left_alone_and_told_all_when_it_is_back(
    desk: Desk,
    alone: Courier,
    shop: Receiver,
    clock: Any,
) -> None:
    await hooked(desk, shop, events=["deposit.recorded", "deposit.confirmed"])
    shop.how = "500"
    for _ in range(3):
        await add_deposit(desk.operator, desk.client["id"], "5.00")
    await run(alone)
    state = ok(await desk.operator.api.get("/webhook"))
    assert state["failures"] == 3 and state["paused_until"]
    assert len(shop.calls) == 3  # not once for each of the six
    shop.how = "ok"
    clock(seconds=12)
    await run(alone)
    assert {e["status"] for e in await events_of(desk, limit=50)} == {"delivered"}
    assert ok(await desk.operator.api.get("/webhook"))["paused_until"] is None


async def test_a_process_that_dies_anywhere_loses_nothing(
    desk: Desk,
    alone: Courier,
    shop: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed before it looked, before the events were written, after the call: told by
    the next, under the same id."""
    await hooked(desk, shop, events=["deposit.recorded"])
    await happens(desk)

    class Killed(BaseException):
        pass

    async def dies(*_: Any, **__: Any) -> Any:
        raise Killed

    sql = courier_module.sql
    for where, name in ((sql, "write_events"), (sql, "read_on")):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, dies)
            with pytest.raises(Killed):
                await Courier().turn(HOLDER)
    assert await events_of(desk) == []
    while not await events_of(desk):
        await webhook_events.look(await webhooks_now())
    with monkeypatch.context() as patch:
        patch.setattr(sql, "write_result", dies)
        with pytest.raises(Killed):
            await deliver(desk.operator.user_id, HOLDER)
    assert len(shop.calls) == 1
    await run(Courier())
    assert [c.body for c in shop.calls] == [shop.calls[0].body] * 2
    (event,) = await events_of(desk)
    assert event["status"] == "delivered"


async def webhooks_now() -> Any:
    async with db.connect() as conn:
        return await courier_module.sql.all_webhooks(conn)


async def test_nothing_is_missed_by_who_was_away(
    desk: Desk,
    alone: Courier,
    shop: Receiver,
    clock: Any,
) -> None:
    """What became true days ago, while nobody was the engine, is told by the next; and
    what was told is not told again, however often it is looked at."""
    await hooked(desk, shop, events=["deposit.recorded"])
    await happens(desk)
    ago = db_time(utc_now() - timedelta(days=3))
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_webhooks SET created_at = :at, read_from = :at "
            "WHERE operator_user_id = :me",
            {
                "at": db_time(utc_now() - timedelta(days=4)),
                "me": desk.operator.user_id,
            },
        )
        await execute(
            conn,
            "UPDATE satoshimachine.dca_audit SET created_at = :ago "
            "WHERE operator_user_id = :me AND action = 'deposit.create'",
            {"ago": ago, "me": desk.operator.user_id},
        )
        entries = await fetch_all(
            conn,
            "SELECT id FROM satoshimachine.dca_audit "
            "WHERE operator_user_id = :me AND action = 'deposit.create'",
            {"me": desk.operator.user_id},
        )
    await run(alone)
    await run(alone)
    clock(minutes=30)
    await run(alone)
    assert len(shop.told()) == len(entries) == len({e["id"] for e in shop.told()})


async def test_who_does_not_hold_the_lease_tells_nobody(
    desk: Desk,
    alone: Courier,
    shop: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await hooked(desk, shop)
    ok(await desk.operator.api.post("/webhook/test"))
    await wait_for(lambda: tasks.state.is_engine)
    for _ in range(3):
        await alone.turn("somebody else")
        await deliver(desk.operator.user_id, "somebody else")
    assert shop.calls == []
    turned: list[str] = []
    monkeypatch.setattr(tasks, "state", tasks.State(is_engine=False))
    monkeypatch.setattr(tasks, "IDLE_POLL_SECONDS", 0)
    monkeypatch.setattr(tasks.courier, "turn", turned.append)
    await tasks.deliver_webhooks()
    assert turned == []


async def test_a_test_is_sent_once_and_answered(
    desk: Desk, alone: Courier, shop: Receiver
) -> None:
    refused(await desk.operator.api.post("/webhook/test"), 404, "no webhook")
    await hooked(desk, shop)
    shop.how = "500"
    sent = ok(await desk.operator.api.post("/webhook/test"))
    assert sent["status"] == "waiting"
    refused(await desk.operator.api.post("/webhook/test"), 409, "on its way")
    await run(alone)
    (event,) = await events_of(desk, type="webhook.test")
    assert (event["status"], event["answer_status"]) == ("failed", 500)
    assert ok(await desk.operator.api.get("/webhook"))["given_up"] == 0


async def test_a_new_secret_signs_and_the_old_one_for_a_day(
    desk: Desk, alone: Courier, shop: Receiver, clock: Any
) -> None:
    refused(await desk.operator.api.post("/webhook/rotate"), 404)
    old = (await hooked(desk, shop, events=["visit.closed"]))["secret"]
    new = ok(await desk.operator.api.post("/webhook/rotate"))["secret"]
    assert new != old

    async def marks() -> list[str]:
        ok(await desk.operator.api.post("/webhook/test"))
        await run(alone)
        call = shop.calls[-1]
        stamp, *found = call.headers["x-satmachine-signature"].split(",")
        signed = stamp.removeprefix("t=").encode() + b"." + call.body
        made = {
            hmac.new(key.encode(), signed, hashlib.sha256).hexdigest(): name
            for name, key in (("old", old), ("new", new))
        }
        return [made[mark.removeprefix("v1=")] for mark in found]

    assert await marks() == ["new", "old"]
    clock(hours=25)
    assert await marks() == ["new"]


async def test_it_is_removed_with_what_it_was_told(
    desk: Desk, alone: Courier, shop: Receiver
) -> None:
    await hooked(desk, shop)
    ok(await desk.operator.api.post("/webhook/test"))
    ok(await desk.operator.api.delete("/webhook"), 204)
    await run(alone)
    assert shop.calls == [] and await events_of(desk) == []
    assert ok(await desk.operator.api.get("/webhook"))["url"] is None
    refused(await desk.operator.api.delete("/webhook"), 404)
    log = ok(await desk.operator.api.get("/audit", params={"limit": 50}))["data"]
    said = [entry for entry in log if entry["action"].startswith("webhook.")]
    assert [e["action"] for e in said[:2]] == ["webhook.remove", "webhook.set"]
    assert "key=5" not in str(said) and "whsec_" not in str(said)


async def test_whose_it_is(
    desk: Desk, make_user: Any, alone: Courier, shop: Receiver
) -> None:
    """Not of who has no machine, nor of who works there."""
    plain = await make_user("plain")
    body = {"url": shop.url}
    refused(await plain.api.put("/webhook", json=body), 400, "no machine")
    refused(await plain.api.put("/webhook", json={}), 400, "url is missing")
    await hooked(desk, shop)
    link = ok(await desk.operator.api.post("/staff", json={"role": "manager"}), 201)
    ok(await plain.api.post(f"/invitations/{link['code']}/accept"))
    for method, path in (("GET", ""), ("PUT", ""), ("POST", "/rotate")):
        answer = await plain.api.request(
            method,
            f"/webhook{path}",
            json=body if method == "PUT" else None,
            headers={"X-Acting-For": link["id"]},
        )
        refused(answer, 403, "role does not include")


async def test_at_rest_it_asks_nothing(
    desk: Desk, alone: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a webhook one look a minute; with one, none while nobody writes."""
    looks: list[int] = []
    present: list[Any] = []

    async def all_webhooks(_: Any) -> Any:
        looks.append(1)
        return present

    async def nothing(*_: Any) -> int:
        return 0

    monkeypatch.setattr(courier_module.sql, "all_webhooks", all_webhooks)
    monkeypatch.setattr(courier_module, "look", nothing)
    monkeypatch.setattr(courier_module, "look_at_attention", nothing)
    webhooks.work.clear()
    for _ in range(5):
        await alone.turn(HOLDER)
    assert len(looks) == 1
    webhooks.work.set()  # somebody sets one
    present.append(object())
    await alone.turn(HOLDER)
    assert len(looks) == 2
    monkeypatch.setattr(courier_module.written, "known", lambda: b"1")
    for _ in range(5):
        await alone.turn(HOLDER)
    assert len(looks) == 3
    monkeypatch.setattr(courier_module.written, "known", lambda: b"2")
    await alone.turn(HOLDER)
    assert len(looks) == 4


@pytest.mark.pure
def test_the_pauses_grow_and_end() -> None:
    assert [backoff(n).seconds for n in (1, 2, 3, 9, 10, 99)] == [
        *(10, 20, 40, 2560),
        *(3600, 3600),
    ]
    assert [pause(n) for n in (0, 2)] == [None, None]
    grown = [pause(n) for n in (3, 4, 99)]
    assert [p.seconds for p in grown if p] == [10, 20, 600]
