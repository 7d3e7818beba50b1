"""An idle engine rests: what it asks the database while nobody writes to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from world import MakeWorld

from satmachineadmin import distribution, tasks
from satmachineadmin.host import written
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
