"""How others lost money before a settlement was even written down; each a test here.

Numbers as in docs/known-failures.md. A real LNbits in this process, with our
listener, sweep and engine; LNbits' rows are edited by hand only where a crash, a slow
check or the passing of time would have left them so. The listener is made deaf by
patching what it asks first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from lnbits.db import SQLITE, Connection, Database
from sqlalchemy.exc import OperationalError
from unheard import deaf_listener, received, second_machine
from world import MakeWorld, age_core, balance_sats, edit_core

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base import cursors
from satmachineadmin.base.database import db, db_time, execute, transaction
from satmachineadmin.base.refusals import ConflictError
from satmachineadmin.models import Settlement, utc_now
from satmachineadmin.money import landing
from satmachineadmin.parties import machines as registry

from dev import installation


async def test_known_failure_01_one_payment_delivered_five_times_at_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    async with deaf_listener(monkeypatch):
        payment_hash = await world.cash_out()
    payment = await world.core_payment(payment_hash)
    landed = await asyncio.gather(
        tasks.on_invoice_paid(payment.copy(deep=True)),
        tasks.sweep(),
        landing.land_payment(payment.copy(deep=True)),
        tasks.sweep(is_full=True),
        tasks.on_invoice_paid(payment.copy(deep=True)),
        landing.land_payment(payment.copy(deep=True)),
    )
    new = [x for x in landed if isinstance(x, landing.Landed) and x.is_new]
    assert len(new) <= 1
    await world.until(payment_hash, "completed")
    again = await landing.land_payment(payment)
    assert again
    assert not again.is_new
    await tasks.sweep(is_full=True)
    settlement = await world.settlement(payment_hash)
    assert await world.settlement_count() == 1
    assert len(await world.legs(payment_hash)) == 3
    assert settlement.status == "completed"
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    await world.assert_ledger()


async def test_known_failure_05_the_listener_died_and_the_sweep_lands_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00"])
    async with deaf_listener(monkeypatch):
        payment_hash = await world.cash_out()
        assert await crud.get_settlement_by_hash(payment_hash) is None
    await tasks.sweep()
    await world.until(payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()


async def test_known_failure_06_nobody_to_pay_is_a_row_and_a_rerun_does_nothing(
    make_world: MakeWorld,
) -> None:
    world = await make_world(super_fraction="0.0000", operator_fraction="0.0000")
    payment_hash = await world.cash_out(fee=0, principal=108_000)
    first = await world.until(payment_hash, "completed")
    assert await world.legs(payment_hash) == []
    assert first.retained_sats == 108_000
    for _ in range(3):
        await tasks.sweep(is_full=True)
        await distribution.process_settlement(first.id)
    assert await world.settlement(payment_hash) == first
    assert await world.legs(payment_hash) == []
    assert await balance_sats(world.machine_wallet.id) == 108_000
    await world.assert_ledger()


async def test_known_failure_12_two_currencies_are_two_balances(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    lp = await world.add_lp("300.00", mode="fixed", daily_limit="150.00")
    dollars = await second_machine(world, make_world, fiat_code="USD")
    same_lp = await dollars.add_lp("40.00", user=lp.user, has_profile=False)
    payment_hash = await dollars.cash_out(fiat="200.00")
    await dollars.until(payment_hash, "completed")
    legs = await dollars.legs(payment_hash, "dca")
    assert [(x.amount_fiat, x.amount_sats) for x in legs] == [(40, 20_000)]
    assert await world.remaining(lp) == 300
    assert await dollars.remaining(same_lp) == 0
    # what was bought in dollars leaves the daily limit in quetzales as it was
    payment_hash = await world.cash_out(fiat="200.00")
    await world.until(payment_hash, "completed")
    assert [x.amount_fiat for x in await world.legs(payment_hash, "dca")] == [150]
    await world.assert_ledger()
    await dollars.assert_ledger()


def test_known_failure_15_no_statement_that_only_sqlite_takes() -> None:
    for path in installation.package_sources():
        text = path.read_text().upper()
        assert "INSERT OR IGNORE" not in text, path.name
        assert "INSERT OR REPLACE" not in text, path.name


async def test_known_failure_15_times_survive_the_database(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    before = utc_now() - timedelta(seconds=2)
    payment_hash = await world.cash_out()
    settlement = await world.until(payment_hash, "completed")
    (leg,) = await world.legs(payment_hash, "dca")
    times = [settlement.transaction_time, settlement.created_at]
    times += [settlement.planned_at, settlement.processed_at, leg.completed_at]
    for moment in times:
        assert moment is not None
        assert moment.tzinfo is not None
        assert before <= moment <= utc_now() + timedelta(seconds=2)
    assert leg.transaction_time == settlement.transaction_time


async def test_known_failure_16_the_watermark_waits_for_a_failed_query(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00"])
    await tasks.sweep()
    watermark = await cursors.get_cursor("sweep")
    payment_hash = await received(world, world.stamp())

    async def broken(*_: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("the disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "successful_page", broken)
        await tasks.sweep_once()
        assert "disk is full" in str(tasks.state.sweep_error)
    assert await cursors.get_cursor("sweep") == watermark
    await tasks.sweep_once()
    assert tasks.state.sweep_error is None
    await world.until(payment_hash, "completed")


async def test_known_failure_16_a_commit_that_came_late_is_not_behind_the_watermark(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00", "300.00"])
    await tasks.sweep()
    late = await received(world, world.stamp())
    await age_core(late, minutes=10)
    await tasks.sweep()
    very_late = await received(world, world.stamp())
    await age_core(very_late, minutes=180)
    await tasks.sweep()
    assert await crud.get_settlement_by_hash(very_late) is None
    await tasks.sweep(is_full=True)
    await world.until(very_late, "completed")
    await world.until(late, "completed")
    await world.assert_ledger()


async def test_known_failure_16_pages_lose_nothing_where_they_meet(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["9000.00"])
    monkeypatch.setattr(tasks, "PAGE", 2)
    hashes = [await received(world, world.stamp()) for _ in range(7)]
    # one commit wrote five of them: the same time to the microsecond
    at = db_time(utc_now())
    for payment_hash in hashes[1:6]:
        await edit_core(
            "UPDATE apipayments SET updated_at = :at WHERE payment_hash = :hash",
            at=at,
            hash=payment_hash,
        )
    await tasks.sweep()
    for payment_hash in hashes:
        await world.until(payment_hash, "completed")
    await world.assert_ledger()


async def test_known_failure_19_a_pays_b_pays_a_ends_where_it_began(
    make_world: MakeWorld,
) -> None:
    a = await make_world()
    b = await second_machine(a, make_world)
    await a.add_split(b.machine_wallet.id, "1.0000", wallet_id=b.machine_wallet.id)
    await b.add_split(a.machine_wallet.id, "1.0000", wallet_id=a.machine_wallet.id)
    payment_hash = await a.cash_out()
    await a.until(payment_hash, "completed")
    await tasks.sweep(is_full=True)
    await distribution.worker.run_until_idle()
    for world, settlements in ((a, 1), (b, 0)):
        assert await world.settlement_count() == settlements
    assert await balance_sats(b.machine_wallet.id) == 5_000
    await a.assert_ledger()


# ------------------------------------------------- landing while a machine is deleted


@pytest.fixture
def deletes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines are deleted by another process, with connections of its own."""
    if db.type == SQLITE:
        pytest.skip("one process writes at a time, and holds no lock while it reads")
    elsewhere = Database("ext_satoshimachine")

    @asynccontextmanager
    async def transaction_elsewhere() -> AsyncIterator[Connection]:
        async with elsewhere.connect() as conn:
            try:
                yield conn
            except BaseException:
                await conn.conn.rollback()
                raise
            await conn.conn.commit()

    monkeypatch.setattr(registry, "transaction", transaction_elsewhere)


async def test_a_machine_is_not_deleted_while_a_payment_lands(
    make_world: MakeWorld, deletes_elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    payment = await world.core_payment(await received(world, world.stamp()))
    real, deleting = crud.insert_settlement, list[asyncio.Task[None]]()

    async def insert(conn: Connection, settlement: Settlement) -> bool:
        work = registry.delete_machine(world.operator.user_id, world.machine.id)
        deleting.append(asyncio.create_task(work))
        await asyncio.wait(deleting, timeout=1)
        return await real(conn, settlement)

    monkeypatch.setattr(crud, "insert_settlement", insert)
    landed = await landing.land_payment(payment)
    assert landed and landed.is_new
    with pytest.raises(ConflictError, match="money history"):
        await deleting[0]
    assert await crud.get_machine(world.machine.id)


async def test_a_payment_does_not_land_at_a_machine_that_is_deleted_meanwhile(
    make_world: MakeWorld, deletes_elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    payment = await world.core_payment(await received(world, world.stamp()))
    landings = list[asyncio.Task[Any]]()

    async def meanwhile(*_: Any, **__: Any) -> None:
        landings.append(asyncio.create_task(landing.land_payment(payment)))
        await asyncio.wait(landings, timeout=1)

    monkeypatch.setattr(registry, "write_audit", meanwhile)
    await registry.delete_machine(world.operator.user_id, world.machine.id)
    assert await landings[0] is None
    assert await world.settlement_count() == 0


async def test_a_settlement_without_a_machine_is_not_passed_over_in_silence(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    payment_hash = await received(world, world.stamp())
    await landing.land_payment(await world.core_payment(payment_hash))
    async with transaction() as conn:
        sql = "DELETE FROM satoshimachine.dca_machines WHERE id = :id"
        await execute(conn, sql, {"id": world.machine.id})
    await engine_paused.run_until_idle()
    settlement = await world.settlement(payment_hash)
    assert settlement.status == "attention"
    assert settlement.error_message == (
        "No plan could be made: The machine of this settlement was removed."
    )
