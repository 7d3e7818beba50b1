"""An idle engine rests: what it asks the database while nobody writes to it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from told import mail_in_hand, send_due
from world import MakeWorld

from satmachineadmin import distribution, tasks
from satmachineadmin.base import cursors
from satmachineadmin.desk import outbox
from satmachineadmin.host import written
from satmachineadmin.line import crud as line_crud
from satmachineadmin.line import engine as line_engine
from satmachineadmin.money import payouts_crud


def test_each_commit_moves_the_position_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ours.sqlite3"
    assert written.position_of(path) is None
    with sqlite3.connect(path) as first, sqlite3.connect(path) as other:
        first.execute("CREATE TABLE t (n INT)")
        first.commit()
        seen = [written.position_of(path)]
        for _ in range(3):
            other.execute("INSERT INTO t VALUES (1)")
            other.commit()
            seen.append(written.position_of(path))
        assert None not in seen and len(set(seen)) == 4
        first.execute("SELECT * FROM t").fetchall()
        other.execute("INSERT INTO t VALUES (1)")
        other.rollback()
        first.execute("UPDATE t SET n = 2 WHERE n = 3")
        first.commit()
        assert written.position_of(path) == seen[-1]
    first.close()
    other.close()


CAN_WRITE = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    other.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError as told:
    print(told)
"""


def test_a_look_leaves_the_locks_of_a_transaction_alone(tmp_path: Path) -> None:
    """Whoever closes a file takes the locks of the whole process off it: another
    process could write into LNbits' database in the middle of a commit."""
    path = tmp_path / "ours.sqlite3"
    ours: Any = sqlite3.connect(path, isolation_level=None)
    ours.execute("CREATE TABLE t (n INT)")
    ours.execute("BEGIN IMMEDIATE")
    for _ in range(2):
        assert written.position_of(path) is not None
        command = [sys.executable, "-c", CAN_WRITE, str(path)]
        told = subprocess.check_output(command, text=True)
        assert told.strip() == "database is locked"
    ours.execute("COMMIT")
    ours.close()


def test_a_file_that_was_put_in_its_place_is_the_one_that_is_read(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "ours.sqlite3", tmp_path / "backup.sqlite3"
    for file, times in ((path, 1), (other, 5)):
        with sqlite3.connect(file) as made:
            for number in range(times):
                made.execute(f"CREATE TABLE t{number} (n INT)")
                made.commit()
        made.close()
    first = written.position_of(path)
    wanted = written.position_of(other)
    other.rename(path)
    assert written.position_of(path) == wanted != first
    path.unlink()
    assert written.position_of(path) is None


def test_a_write_ahead_log_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ours.sqlite3"
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("CREATE TABLE t (n INT)")
        made.commit()
        assert written.position_of(path) is None
    made.close()


def test_a_rest_ends_by_a_write_and_by_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest = written.Rest()
    assert not rest.may_go_on(b"1")
    rest.looked(b"1", is_done=False)
    assert not rest.may_go_on(b"1")
    rest.looked(b"1", is_done=True)
    assert rest.may_go_on(b"1")
    assert not rest.may_go_on(b"2")
    rest.looked(None, is_done=True)
    assert not rest.may_go_on(None)
    monkeypatch.setattr(written, "LONGEST_REST_SECONDS", 0)
    rest.looked(b"1", is_done=True)
    assert not rest.may_go_on(b"1")


def test_a_rest_that_begins_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(written.time, "monotonic", lambda: now[0])
    rest = written.Rest(quiet_seconds=60)
    for moment, position, may_rest in [
        *((100.0, b"1", False), (130.0, b"1", False), (160.0, b"1", True)),
        *((170.0, b"2", False), (230.0, b"2", True), (240.0, b"1", False)),
    ]:
        now[0] = moment
        rest.looked(position, is_done=True)
        assert rest.may_go_on(position) is may_rest, (moment, position)


def test_the_lease_is_no_news_and_what_is_written_beside_it_is() -> None:
    count = written.Count()
    assert count.read(5) == count.read(5) == 5
    for raw in (6, 7):
        with count.no_news() as committed:
            committed()
        assert count.read(raw) == 5
    with count.no_news() as committed:
        committed()
    assert count.read(9) == 9  # another's commit beside ours
    with count.no_news():
        pass  # ours changed nothing
    assert count.read(10) == 10
    with count.no_news() as committed:
        committed()
    assert count.read(10) == 10
    assert count.read(11) == 11  # ours was in the last reading: this is another's


def test_what_was_read_while_ours_was_under_way_is_news() -> None:
    """Whether it was in the counter then, nobody can say."""
    count = written.Count()
    count.read(5)
    with count.no_news() as committed:
        assert count.read(6) == 6  # ours, and it was not said yet
        committed()
    assert count.read(7) == 7  # another's, and as many as were said
    assert count.read(8) == 8


@pytest.mark.parametrize("is_engine", [True, False])
def test_a_poll_of_postgres(is_engine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "ours", written.Count())
    monkeypatch.setattr(written, "_poll", written._Poll())
    monkeypatch.setattr(written, "is_sqlite", lambda: False)

    def seen(snapshot: str, expires: int) -> object | None:
        written.polled(snapshot, expires, is_engine=is_engine)
        return written.of_both()

    first = seen("70:70:", 1)
    assert first is not None and seen("70:70:", 1) == first
    renewed = seen("71:71:", 2)  # another's renewal, if this is not the engine
    assert (renewed == first) is not is_engine
    both = seen("73:73:", 3)
    assert both != renewed
    assert seen("70:74:70,72", 3) is None  # somebody is in the middle of something
    assert seen("74:74:", 3) not in (None, both)
    monkeypatch.setattr(written, "FRESH_SECONDS", 0)
    assert written.known() is None  # nobody polled
    assert seen("", 3) is None


def test_a_renewal_by_another_is_no_news_if_it_was_the_only_commit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = written.Count()
    monkeypatch.setattr(written, "ours", count)
    count.read(5)
    written.renewed_by_another(5, 6)
    assert count.read(6) == 5
    written.renewed_by_another(6, 8)
    assert count.read(8) == 8
    count.read(9)  # somebody asked between the two looks at the lease
    written.renewed_by_another(8, 10)
    assert count.read(10) == 10
    written.renewed_by_another(None, 11)
    written.renewed_by_another(10, None)
    assert count.read(11) == 11


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """The statements of this task, those of LNbits' connections too."""
    found: list[str] = []
    task = asyncio.current_task()

    def note(_: Any, __: Any, statement: str, *more: Any) -> None:
        if asyncio.current_task() is task:
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield lambda: len(found)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        # what it was, for who reads why it failed
        for statement, times in Counter(found).most_common(12):
            print(times, " ".join(statement.split())[:300])


@pytest.mark.untouched
async def test_ten_minutes_of_rest(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many turns of each loop as ten minutes have, with nobody writing: each looks
    once, since ten minutes are the longest rest, and then leaves its turns out."""
    await make_world(deposits=["900.00"])
    # the server's own loop would finish what it has begun to send
    await mail_in_hand(monkeypatch)
    await engine_paused.run_until_idle()
    await tasks.notify_and_reconcile()
    await send_due()  # what people are told meanwhile would be news
    monkeypatch.setattr(tasks, "SWEEP_QUIET_SECONDS", 0)
    monkeypatch.setattr(outbox, "POLL_SECONDS", 0)
    messages = outbox.Outbox()
    state = tasks.State(is_engine=True, has_looked=True, full_sweep=time.monotonic())
    state.second_look = state.full_sweep
    monkeypatch.setattr(tasks, "state", state)
    line = line_engine.Line()
    line.relays = await line_crud.get_relays()  # another test's: they are not asked
    await line.read_settings()
    distribution.work.clear()
    began, commits, started = 0, written.raw_position(), time.time()
    with counted() as statements:
        for second in range(1, 601):
            if second % 2 == 0 and written.is_sqlite():
                await tasks._is_called(written.position())
            elif second % 2 == 0:
                await tasks._is_called(None)
                began += 2  # the poll, and LNbits' statement before it
            if second % 5 == 0:
                await line._follow_settings()
                await messages.turn(distribution.INSTANCE_ID)
            if second % 20 == 0:
                await line._look_at_payouts()
            if second % 50 == 0:
                await tasks.renew_lease_once()
            if second % 60 == 0:
                await tasks.sweep_turn()
                # the background's, which may not answer just now, would close it
                with monkeypatch.context() as patch:
                    patch.setattr(line_engine, "current", line)
                    await tasks.desk_turn()
        # the server's own loops go on meanwhile, some seconds of them
        assert statements() - began <= 100 + 10
    if commits is not None:
        after = written.raw_position()
        assert after is not None and after - commits <= 13
    assert state.cursor_written > 0
    assert float(await cursors.get_cursor("sweep") or 0) > started - 60
    assert state.is_engine and not state.is_owed


async def test_a_turn_without_work_is_one_statement_or_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[tuple[bool, bool]] = []
    answers = [(True, False), (False, True), (False, False)]

    async def look() -> tuple[bool, bool]:
        looked.append(answers[min(len(looked), 2)])
        return looked[-1]

    monkeypatch.setattr(payouts_crud, "look_for_work", look)
    monkeypatch.setattr(tasks, "state", tasks.State(is_engine=True, has_looked=True))
    distribution.work.clear()
    # due; later, by the clock; nothing, and then nobody asks until somebody writes
    calls = [await tasks._is_called(b"1") for _ in range(5)]
    assert calls == [True, False, False, False, False]
    assert looked == answers
    await tasks._is_called(b"2")
    assert len(looked) == 4
    for _ in range(2):  # where it cannot be told, each turn asks
        await tasks._is_called(None)
    assert len(looked) == 6
    distribution.wake()
    assert await tasks._is_called(b"2")
    distribution.work.clear()
    tasks.state.has_looked = False
    assert await tasks._is_called(b"2")


async def test_what_is_due_is_what_a_pass_would_find(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    await engine_paused.run_until_idle()
    assert not (await payouts_crud.look_for_work())[0]
    world = await make_world(deposits=["900.00"])
    await world.landed(await world.cash_out())
    assert (await payouts_crud.look_for_work())[0]
    await engine_paused.run_pass()  # planned, and paid
    await engine_paused.run_until_idle()
    assert not (await payouts_crud.look_for_work())[0]
