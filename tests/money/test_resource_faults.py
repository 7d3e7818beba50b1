"""The clock jumps, the database is locked, the disk is full: and then it goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncpg import InternalClientError
from lnbits.db import SQLITE
from lnbits.settings import settings
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool
from world import MakeWorld, World

from satmachineadmin import crud, distribution, models, tasks
from satmachineadmin.base import lease
from satmachineadmin.base.database import db
from satmachineadmin.money import landing, payouts, payouts_crud, planning, rounds

MODULES = (
    crud,
    distribution,
    landing,
    models,
    payouts,
    payouts_crud,
    planning,
    rounds,
    tasks,
)


@contextmanager
def clock_off_by(span: timedelta) -> Iterator[None]:
    """Our clock, not the database's, is wrong by so much."""

    def wrong() -> datetime:
        return real() + span

    real = models.utc_now
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            if hasattr(module, "utc_now"):
                patch.setattr(module, "utc_now", wrong)
        yield


async def assert_paid_once(world: World, *hashes: str) -> None:
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    count = len(hashes)
    assert [await lp.balance_sats() for lp in world.lps] == [
        75_000 * count,
        25_000 * count,
    ]
    await world.assert_ledger()


@pytest.mark.parametrize("hours", [-1, 24, -24])
async def test_a_jump_of_the_clock_pays_nothing_twice_and_loses_nothing(
    make_world: MakeWorld, engine_paused: distribution.Worker, hours: int
) -> None:
    world = await make_world()
    # a sale dated before a deposit is not shared with it: these are older than any jump
    long_ago = models.utc_now() - timedelta(days=3)
    for deposit in ("900.00", "300.00"):
        await world.add_lp(deposit, confirmed_at=long_ago)
    first = await world.cash_out()
    await world.landed(first)
    with clock_off_by(timedelta(hours=hours)):
        second = await world.cash_out()
        await world.landed(second)
        await engine_paused.run_until_idle()
        await tasks.sweep()
        await engine_paused.run_until_idle()
    await tasks.sweep(is_full=True)
    for _ in range(2):
        await world.run_due()
    await assert_paid_once(world, first, second)


@contextmanager
def full_disk() -> Iterator[list[int]]:
    """No transaction can be committed, in whatever database."""
    refused: list[int] = []

    async def refuse(self: AsyncConnection) -> None:
        refused.append(1)
        await self.rollback()
        raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AsyncConnection, "commit", refuse)
        yield refused


async def test_a_full_disk_stops_paying_and_then_it_goes_on(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    with full_disk() as refused:
        for _ in range(3):
            try:
                await engine_paused.run_pass()
            except OperationalError:
                continue
    assert refused
    assert [await lp.balance_sats() for lp in world.lps] == [0, 0]
    await lease.acquire_or_renew(distribution.INSTANCE_ID)
    await engine_paused.run_until_idle()
    await world.run_due()
    await assert_paid_once(world, payment_hash)


async def hold_lock(seconds: float, is_held: asyncio.Event) -> None:
    """Another program holds our tables for writing, without committing."""
    if db.type != "SQLITE":
        # A connection of its own: PostgreSQL ends what one of ours holds so long.
        stranger = create_async_engine(db.engine.url, poolclass=NullPool)
        async with stranger.connect() as conn:
            await conn.execute(
                text("LOCK TABLE satoshimachine.dca_payments IN EXCLUSIVE MODE")
            )
            is_held.set()
            await asyncio.sleep(seconds)
            await conn.rollback()
        return
    path = Path(settings.lnbits_data_folder) / "ext_satoshimachine.sqlite3"
    other: Any = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    is_held.set()
    await asyncio.sleep(seconds)
    other.execute("ROLLBACK")
    other.close()


async def test_a_locked_database_delays_and_no_more(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    is_held = asyncio.Event()
    lock = asyncio.create_task(hold_lock(30, is_held))
    await is_held.wait()
    while not lock.done():
        try:
            await engine_paused.run_pass()
        except OperationalError:  # SQLite waits five seconds, then says so
            await asyncio.sleep(0.1)
        else:
            break
    await lock
    await lease.acquire_or_renew(distribution.INSTANCE_ID)
    await engine_paused.run_until_idle()
    await world.run_due()
    await assert_paid_once(world, payment_hash)


# asyncpg says it in its own words where it noticed before SQLAlchemy
CUT = (DBAPIError, OSError, InternalClientError)


async def cut_connections(of_whom: Any) -> None:
    """PostgreSQL ends every connection to a database, whatever it is doing: what a
    server that is stopped hard, and started again, does to those who use it."""
    stranger = create_async_engine(of_whom.engine.url, poolclass=NullPool)
    async with stranger.connect() as conn:
        await conn.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await stranger.dispose()


@pytest.mark.skipif(db.type == SQLITE, reason="SQLite has no connections to cut")
async def test_connections_cut_in_the_middle_of_sales_pay_everything_once(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00", "300.00"])
    hashes = [await world.cash_out() for _ in range(4)]
    for payment_hash in hashes:
        await world.landed(payment_hash)

    async def cut() -> None:
        while True:
            await asyncio.sleep(0.1)
            await cut_connections(db)

    cutting = asyncio.create_task(cut())
    broken = 0
    for _ in range(400):
        try:
            await engine_paused.run_pass()
            await asyncio.sleep(0.01)
        except CUT:
            broken += 1
        if broken >= 3:
            break
    cutting.cancel()
    await asyncio.gather(cutting, return_exceptions=True)
    assert broken, "nothing was cut while it paid"
    for _ in range(20):  # stale connections of the pools are found one by one
        try:
            await lease.acquire_or_renew(distribution.INSTANCE_ID)
            await engine_paused.run_until_idle()
            await world.run_due()
            found = [await world.settlement(x) for x in hashes]
        except CUT:
            continue
        if all(x.status == "completed" for x in found):
            break
    await assert_paid_once(world, *hashes)
