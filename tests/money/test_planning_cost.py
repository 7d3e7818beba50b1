"""What planning costs: a constant number of database calls, whoever there is to pay.

Every statement that our database handle sends is counted, by SQLAlchemy's own event
(one call is one, also when it carries many rows). The LPs here are rows and have no
wallets: they are planned for and, their day not being over, not paid.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import event
from world import MakeWorld, World

from satmachineadmin import distribution
from satmachineadmin.base.database import db, db_time, execute, fetch_all, transaction
from satmachineadmin.models import utc_now
from satmachineadmin.money import planning

LPS = 500
EARLIER_LEGS = 100_000
DAY_MINUTES = 1440
COUNTING = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) "
)


_is_counted: ContextVar[bool] = ContextVar("is_counted", default=False)


@contextmanager
def counted_calls() -> Iterator[list[str]]:
    """The statements that who asks sends to our database while this lasts.

    The lease, the sweep and the line go on beside it, in tasks of their own.
    """
    sent: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if _is_counted.get():
            sent.append(statement)

    token = _is_counted.set(True)

    engine = db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
        _is_counted.reset(token)


async def crowd(world: World, count: int) -> None:
    """So many LPs with 100.00 each."""
    now = db_time(utc_now())
    params = {"count": count, "machine": world.machine.id, "now": now}
    people = f"'{world.machine.id}-' || i"
    async with transaction() as conn:
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_clients "
            "(id, machine_id, user_id, status, created_at, updated_at) "
            f"{COUNTING} SELECT {people}, :machine, {people}, 'active', :now, :now "
            "FROM n",
            params,
        )
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_lp "
            "(user_id, dca_wallet_id, created_at, updated_at) "
            f"{COUNTING} SELECT {people}, {people}, :now, :now FROM n",
            {"count": count, "now": now},
        )
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_deposits (id, client_id, machine_id, "
            "creator_user_id, amount, currency, status, created_at, confirmed_at) "
            f"{COUNTING} SELECT {people}, {people}, :machine, 'test', 100.00, 'GTQ', "
            "'confirmed', :now, :now FROM n",
            params,
        )


async def history(world: World, lps: int, legs: int) -> None:
    """So many completed DCA legs of 0.01 each, over these LPs."""
    params = {
        "count": legs,
        "lps": lps,
        "machine": world.machine.id,
        "operator": world.operator.user_id,
        "wallet": world.machine_wallet.id,
        "now": db_time(utc_now()),
    }
    who = f"'{world.machine.id}-' || (i % :lps + 1)"
    async with transaction() as conn:
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_payments (id, client_id, machine_id, "
            "operator_user_id, leg_type, leg_key, amount_sats, amount_fiat, "
            "transaction_time, status, created_at, source_wallet_id) "
            f"{COUNTING} SELECT :machine || '/' || i, {who}, :machine, :operator, "
            "'dca', 'old' || i, 5, 0.01, :now, 'completed', :now, :wallet FROM n",
            params,
        )
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_client_totals (client_id, debited_cents, "
            "received_cents, received_sats) SELECT client_id, COUNT(*), COUNT(*), "
            "SUM(amount_sats) FROM satoshimachine.dca_payments "
            "WHERE machine_id = :machine GROUP BY client_id",
            {"machine": world.machine.id},
        )


Crowds = list[World]


@pytest_asyncio.fixture
async def crowds(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> AsyncIterator[Crowds]:
    """A machine with 1 LP, and one with 500 LPs and a past; forgotten afterwards."""
    worlds = []
    for lps, legs in ((1, 0), (LPS, EARLIER_LEGS)):
        world = await make_world(payout_interval_minutes=DAY_MINUTES)
        await crowd(world, lps)
        if legs:
            await history(world, lps, legs)
        worlds.append(world)
    yield worlds
    for world in worlds:
        await forget(world)


async def forget(world: World) -> None:
    machine = {"machine": world.machine.id}
    own_clients = (
        "(SELECT id FROM satoshimachine.dca_clients WHERE machine_id = :machine)"
    )
    async with transaction() as conn:
        for condition in (
            "dca_client_totals WHERE client_id IN " + own_clients,
            "dca_payments WHERE machine_id = :machine",
            "dca_settlements WHERE machine_id = :machine",
        ):
            await execute(conn, f"DELETE FROM satoshimachine.{condition}", machine)


async def planned(world: World) -> tuple[int, float]:
    """Plans one settlement; returns the database calls and the seconds it took."""
    payment_hash = await world.cash_out(principal=1_000_003, fee=80_000, fiat="2000.00")
    landed = await world.landed(payment_hash)
    started = time.monotonic()
    with counted_calls() as sent:
        assert await planning.plan_settlement(landed.id, distribution.INSTANCE_ID)
    seconds = time.monotonic() - started
    await world.assert_ledger()
    return len(sent), seconds


async def test_planning_for_500_lps_with_100_000_earlier_legs_costs_what_one_costs(
    crowds: Crowds, capsys: pytest.CaptureFixture[str]
) -> None:
    few, many = crowds
    calls_few, seconds_few = await planned(few)
    calls_many, seconds_many = await planned(many)
    with capsys.disabled():
        print(
            f"\nplanning: {calls_few} database calls, {seconds_few * 1000:.0f} ms "
            f"for 1 LP; {calls_many} calls, {seconds_many * 1000:.0f} ms "
            f"for {LPS} LPs with {EARLIER_LEGS} earlier legs"
        )
    assert calls_many == calls_few
    assert calls_many < 30
    settlement_legs = await all_dca_legs(many)
    assert len(settlement_legs) == LPS
    amounts = sorted(x["amount_sats"] for x in settlement_legs)
    assert sum(amounts) == 1_000_003
    assert amounts[-1] - amounts[0] <= 1  # equal balances, and dust to somebody
    assert sum(round(float(x["amount_fiat"]) * 100) for x in settlement_legs) == 200_000


async def all_dca_legs(world: World) -> list[Any]:
    async with transaction() as conn:
        return await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_payments WHERE machine_id = :machine "
            "AND leg_type = 'dca' AND status = 'pending'",
            {"machine": world.machine.id},
        )
