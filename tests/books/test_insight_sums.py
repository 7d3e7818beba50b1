"""The sums that Insight keeps: none is used that is not that of the rows any more,
whoever changed them, and a kill leaves days done or to be done.

Its range is long over, so every trade here is in a day that is summed up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import pytest_asyncio
from api_world import Desk, make_desk, ok
from examples import examples
from lnbits.helpers import urlsafe_short_hash
from money_rows import add_leg, add_settlement
from world import Killed

from satmachineadmin.base.database import db_time, execute, fetch_all, transaction
from satmachineadmin.base.zones import Zone, zone_named
from satmachineadmin.books import insight_sums
from satmachineadmin.books.insight_sums import EPOCH, Span
from satmachineadmin.ledger import crud as ledger_crud
from satmachineadmin.ledger.crud import Entry
from satmachineadmin.ledger.entries import Line
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

NOON = datetime(2025, 3, 10, 12, tzinfo=timezone.utc)
DAYS = {"from": "2025-03-01", "to": "2025-03-31"}


@pytest.mark.pure
def test_days_and_edges_are_the_whole_span_once() -> None:
    dice = Random(4)
    for _ in range(examples(200)):
        base = EPOCH + timedelta(days=dice.randint(0, 20_000))
        seconds = sorted(
            dice.choice([dice.randint(0, 9), dice.randint(0, 40)]) * 86_400
            + dice.choice([0, 0, 20_700, 86_399])
            for _ in range(3)
        )
        moments = [base + timedelta(seconds=x) for x in seconds]
        if len(set(moments)) < 3:
            continue
        span = Span(moments, dice.randint(0, 20_040))
        days = [(EPOCH + timedelta(a), EPOCH + timedelta(b)) for a, b in span.days]
        parts = sorted([*days, *span.edges])
        assert parts[0][0] == moments[0] and parts[-1][1] == moments[-1]
        assert all(a < b for a, b in parts)
        assert all(a[1] == b[0] for a, b in pairwise(parts))
        for first, last in days:
            assert not first < moments[1] < last
            assert (last - EPOCH).days <= span.until_day


@pytest.mark.pure
def test_a_clock_that_changed_within_a_quarter_of_an_hour_is_known() -> None:
    def is_by_quarters(name: str, year: int) -> bool:
        begin = datetime(year, 1, 1, tzinfo=timezone.utc)
        return zone_named(name).is_by_quarters(begin, begin + timedelta(days=365))

    # a minute past midnight, until 2011
    assert not is_by_quarters("America/St_Johns", 2010)
    for name in ("America/St_Johns", "Asia/Kathmandu", "Pacific/Chatham"):
        assert is_by_quarters(name, 2025)
    assert Zone().is_by_quarters(NOON, utc_now())


@pytest_asyncio.fixture(scope="module")
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


async def run(sql: str, **params: Any) -> None:
    async with transaction() as conn:
        await execute(conn, sql, params)


async def rows(sql: str) -> list[Mapping[str, Any]]:
    async with transaction() as conn:
        return await fetch_all(conn, sql)


async def marks(machine: str) -> int:
    sql = "SELECT machine_id FROM satoshimachine.insight_marks"
    return len([r for r in await rows(sql) if r["machine_id"] == machine])


async def trade(desk: Desk, days: int = 0, **more: Any) -> str:
    at = NOON + timedelta(days=days)
    fields = {"transaction_time": at, "created_at": at, "planned_at": at, **more}
    return await add_settlement(desk.machine, status="completed", **fields)


async def told(user: UserSession) -> dict[str, Any]:
    return ok(await user.api.get("/insight", params=DAYS))


async def told_of_rows(user: UserSession, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, with no sum used."""

    async def nothing(*_: Any) -> int:
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(insight_sums, "up_to_date", nothing)
        return await told(user)


def entry(desk: Desk, settlement: str, account: str, sats: int) -> Entry:
    return Entry(
        id=urlsafe_short_hash(),
        at=NOON,
        recorded_at=utc_now(),
        operator_user_id=desk.operator.user_id,
        machine_id=desk.machine["id"],
        kind="paid",
        lines=[Line(account, None, sats, 0, 7), Line("passed_on", None, -sats, 0, -7)],
        currency="GTQ",
        settlement_id=settlement,
    )


async def test_whatever_changes_a_day_that_is_over_is_seen_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change, by whoever's SQL, before and after the day is summed up again."""
    machine, operator = desk.machine["id"], desk.operator
    first, second = await trade(desk), await trade(desk, 1)
    leg = await add_leg(
        *(desk.machine, first),
        leg_type="dca",
        client_id=desk.client["id"],
        amount_fiat="1.00",
        status="pending",
    )
    async with transaction() as conn:
        await ledger_crud.write_entries(
            conn,
            [entry(desk, first, "platform_paid", 40), entry(desk, first, "loss", 3)],
        )
    s, p, j = (
        f"satoshimachine.{x}" for x in ("dca_settlements", "dca_payments", "journal")
    )
    paid = (
        "WHERE account = 'platform_paid' AND journal_id IN "
        f"(SELECT id FROM {j} WHERE settlement_id = :id)"
    )
    changes: list[tuple[str, dict[str, Any]]] = [
        (f"UPDATE {s} SET dispensed_fiat = 1, dispensed_principal_sats = 9", {}),
        (f"UPDATE {s} SET is_test = true", {}),
        (f"UPDATE {s} SET is_test = false", {}),
        (f"UPDATE {s} SET status = 'voided'", {}),
        (f"UPDATE {s} SET status = 'completed'", {}),
        (f"UPDATE {s} SET operator_discount_sats = 77", {}),
        (f"UPDATE {s} SET transaction_time = :at", {"at": NOON + timedelta(days=3)}),
        (f"UPDATE {p} SET status = 'completed', completed_at = :at", {"at": utc_now()}),
        (f"UPDATE {p} SET paid_outside = true", {}),
        (f"UPDATE {p} SET paid_outside = false", {}),
        (f"DELETE FROM {p}", {}),
        (f"UPDATE {j}_lines SET sats = 41 {paid}", {}),
        (f"DELETE FROM {j}_lines {paid}", {}),
        (f"UPDATE {j} SET at = :at", {"at": NOON + timedelta(days=60)}),
        (f"UPDATE {j} SET at = :at", {"at": NOON + timedelta(days=2)}),
        (f"DELETE FROM {j}", {}),
        (f"DELETE FROM {s}", {}),
    ]
    was = await told(operator)
    assert await marks(machine) == 0
    assert sum(t["trades"] for t in was["totals"]) == 2
    for sql, params in changes:
        key = "id" if s in sql else "settlement_id"
        whole = sql if "WHERE" in sql else f"{sql} WHERE {key} = :id"
        times = {name: db_time(at) for name, at in params.items()}
        await run(whole, id=first, **times)
        assert await marks(machine), sql
        now = await told_of_rows(operator, monkeypatch)
        # with what is marked read from its rows, then summed up
        with monkeypatch.context() as patch:
            patch.setattr(insight_sums._summer, "wait", _nobody_sums)
            assert await told(operator) == now, sql
        assert now != was, sql
        assert await told(operator) == now, sql
        assert await marks(machine) == 0, sql
        was = now
    assert leg
    # what counts in no sum marks nothing, nor does what is of a day that lasts
    await run(
        "UPDATE satoshimachine.dca_settlements SET processed_at = :at WHERE id = :id",
        **{"id": second, "at": db_time(utc_now())},
    )
    await add_settlement(desk.machine, transaction_time=utc_now())
    assert await marks(machine) == 0


async def _nobody_sums(_seconds: float) -> None:
    return None


async def test_killed_at_any_statement_a_day_is_done_or_to_be_done(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told(desk.operator)
    for day in (5, 6):
        await trade(desk, day)
    now = await told_of_rows(desk.operator, monkeypatch)
    real, left = insight_sums.execute, 0

    async def dies(*args: Any) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return await real(*args)

    for statements in range(100):
        left = statements
        with monkeypatch.context() as patch:
            patch.setattr(insight_sums, "execute", dies)
            try:
                assert await insight_sums.sum_up_chunk(1)
            except Killed:
                patch.setattr(insight_sums._summer, "wait", _nobody_sums)
                assert await told(desk.operator) == now
                assert await marks(desk.machine["id"]) == 2
                continue
        break
    assert 10 < statements < 99
    assert await told(desk.operator) == now
    assert await marks(desk.machine["id"]) == 0


async def test_a_database_of_before_is_summed_up_from_its_first_day(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As m028 leaves it, and as the migration met a second time finds it."""
    await trade(desk, 9)
    now = await told(desk.operator)
    sums = "SELECT * FROM satoshimachine.insight_trades"
    kept = len(await rows(sums))
    await run("UPDATE satoshimachine.insight_state SET until_day = 0")
    with monkeypatch.context() as patch:
        patch.setattr(insight_sums._summer, "wait", _nobody_sums)
        assert await told(desk.operator) == now
    assert await told(desk.operator) == now
    assert len(await rows(sums)) == kept
    last = int(
        (await rows("SELECT * FROM satoshimachine.insight_state"))[0]["until_day"]
    )
    assert EPOCH + timedelta(days=last + 1) + insight_sums.REST > utc_now()
