"""Which index LNbits' payments are swept by, asked of the database itself.

Some ten thousand payments are written into LNbits' table, the plan is asked for, and
all is rolled back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone

import pytest
import pytest_asyncio
from lnbits.core.db import db as core_db
from lnbits.db import SQLITE, Connection
from world import MakeWorld

from satmachineadmin import tasks
from satmachineadmin.base.database import db_time, execute, fetch_all, in_list
from satmachineadmin.host import payments

PAYMENTS = 20_000
FIRST = datetime(2025, 1, 1, tzinfo=timezone.utc)
SECOND = "1" if core_db.type == SQLITE else "interval '1 second'"
MOMENT = ":first" if core_db.type == SQLITE else "CAST(:first AS timestamp)"
EXPLAIN = "EXPLAIN QUERY PLAN" if core_db.type == SQLITE else "EXPLAIN"


@pytest_asyncio.fixture
async def busy(make_world: MakeWorld) -> AsyncIterator[tuple[Connection, str]]:
    """LNbits' database with many payments, one a second, half of them of a machine."""
    world = await make_world()
    wallets = {"own": world.machine_wallet.id, "other": world.customer.wallet.id}
    async with core_db.connect() as conn:
        await execute(
            conn,
            f"""
            WITH RECURSIVE n(i) AS (
                SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PAYMENTS})
            INSERT INTO apipayments (checking_id, payment_hash, wallet_id, amount, fee,
                bolt11, status, extra, memo, time, created_at, updated_at)
            SELECT 'plan ' || i, 'plan ' || i,
                CASE WHEN i % 2 = 0 THEN :own ELSE :other END, 1000, 0, '', 'success',
                '{{}}', '', {MOMENT} + i * {SECOND}, {MOMENT} + i * {SECOND},
                {MOMENT} + i * {SECOND}
            FROM n
            """,
            {"first": db_time(FIRST), **wallets},
        )
        if core_db.type != SQLITE:
            await execute(conn, "ANALYZE apipayments")
        yield conn, wallets["own"]
        await conn.conn.rollback()


@pytest.mark.parametrize("share", [0, 0.5, 0.99], ids=["first", "middle", "last"])
async def test_every_page_of_the_sweep_is_read_by_the_time_of_its_payments(
    busy: tuple[Connection, str], share: float
) -> None:
    conn, wallet_id = busy
    after = FIRST + timedelta(seconds=share * PAYMENTS)
    params = {"after": db_time(after), "last": "plan", "limit": tasks.PAGE}
    listed = in_list("w", [wallet_id, "another"], params)
    page = await fetch_all(conn, payments.page_sql(listed), params)
    expected = min(tasks.PAGE, int((1 - share) * PAYMENTS / 2))
    assert expected <= len(page) <= tasks.PAGE
    said = await fetch_all(conn, f"{EXPLAIN} {payments.page_sql(listed)}", params)
    plan = "\n".join(str(list(row.values())[-1]) for row in said)
    assert "idx_payments_updated_at" in plan, plan
    if (1 - share) * PAYMENTS <= tasks.PAGE:
        return  # all that is left is one page, in whatever order it is read
    # nothing but what has the same time is sorted
    assert "B-TREE FOR ORDER BY" not in plan and "Bitmap" not in plan, plan
