"""The days that a forecast rests on are the operator's own.

In Guatemala a Saturday night is Sunday for UTC: counted so, every weekend would be
forecast a day late.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest_asyncio
from api_world import Desk, make_desk, ok

from satmachineadmin.base.database import db, transaction
from satmachineadmin.cash import crud, pace
from satmachineadmin.cash.ledger import Movement
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet

SATURDAY, NIGHT_IN_UTC = 5, 3  # 21:00 on the day before, six hours behind


@pytest_asyncio.fixture
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    return await make_desk(make_user, make_wallet)


def sundays_of_utc() -> list[datetime]:
    """Three in the morning on the last four."""
    night = utc_now().astimezone(timezone.utc).replace(hour=NIGHT_IN_UTC, minute=0)
    night -= timedelta(days=(night.weekday() + 1) % 7 + 7)
    return [night - timedelta(weeks=n) for n in range(4)]


async def test_days_are_those_of_the_operators_zone(desk: Desk) -> None:
    api, machine = desk.operator.api, desk.machine
    bays = {"positions": {"1": {"denomination": 20, "count": 500}}}
    ok(await api.put(f"/machines/{machine['id']}/cassettes", json=bays))
    async with transaction() as conn:
        await crud.post(
            conn,
            [
                Movement(
                    operator_user_id=desk.operator.user_id,
                    machine_id=machine["id"],
                    from_place="bay:1",
                    to_place="customer",
                    denomination=20,
                    notes=70,
                    cents=140_000,
                    currency="GTQ",
                    at=at,
                    by="machine",
                    source="machine",
                )
                for at in sundays_of_utc()
            ],
        )

    async def weekdays() -> set[int]:
        async with db.connect() as conn:
            of_it = {"m": machine["id"]}
            past = await pace._past(conn, "(:m)", of_it, is_out=True)
        moved = past.moved[machine["id"], "bay:1", 20]
        assert sum(moved.values()) == 280
        return {day.weekday() for day in moved}

    assert await weekdays() == {SATURDAY + 1}
    ok(await api.put("/preferences", json={"time_zone": "America/Guatemala"}))
    assert await weekdays() == {SATURDAY}
    row = ok(await api.get(f"/machines/{machine['id']}"))
    assert row["days_until_empty"] is not None
