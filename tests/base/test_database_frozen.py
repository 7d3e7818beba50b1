"""A process that stands still inside a transaction keeps nobody waiting.

It holds the row that everybody must lock who changes what LPs are owed. A killed
process is rolled back at once, since its connection closes; of a frozen one, or one
whose host lost its power, PostgreSQL hears nothing, and would wait for hours.
"""

from __future__ import annotations

import pytest
from lnbits.db import Database
from sqlalchemy.exc import DBAPIError, InterfaceError
from world import MakeWorld, balance_sats

from satmachineadmin import crud, distribution
from satmachineadmin.base.database import (
    IDLE_TRANSACTION_SECONDS,
    end_idle_transactions,
    execute,
    fetch_one,
    transaction,
)
from satmachineadmin.base.lease import LEASE_SECONDS

import environment

pytestmark = pytest.mark.skipif(
    environment.DATABASE != "postgres", reason="SQLite's locks die with the process"
)


async def test_our_connections_are_given_up_before_the_lease_is_over() -> None:
    async with transaction() as conn:
        shown = await fetch_one(conn, "SHOW idle_in_transaction_session_timeout")
    assert shown
    assert shown["idle_in_transaction_session_timeout"] == (
        f"{IDLE_TRANSACTION_SECONDS}s"
    )
    assert IDLE_TRANSACTION_SECONDS < LEASE_SECONDS


async def test_a_frozen_process_keeps_no_other_from_paying(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    frozen = Database("ext_satoshimachine")
    end_idle_transactions(frozen, 1)
    async with frozen.connect() as conn:
        await crud.lock_ledger(conn)
        # stands still from here; another process is the engine
        await engine_paused.run_until_idle()
        assert (await world.settlement(payment_hash)).status == "completed"
        assert await balance_sats(world.lps[0].wallet.id) == 100_000
        # and wakes up: what it had begun is gone
        with pytest.raises((DBAPIError, InterfaceError)):
            await execute(conn, "UPDATE satoshimachine.dca_lease SET holder = 'frozen'")
            await conn.conn.commit()
        await conn.conn.invalidate()
    await frozen.engine.dispose()
    assert await balance_sats(world.lps[0].wallet.id) == 100_000
    await world.assert_ledger()
