"""What a machine is told about its payout interval: counted from its own legs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from lnbits.helpers import urlsafe_short_hash
from world import MakeWorld, World, insert

from satmachineadmin.host import speed
from satmachineadmin.models import Leg, utc_now


def hours_of_yesterday(*hours: int) -> list[datetime]:
    start = datetime.combine(
        (utc_now() - timedelta(days=1)).date(), datetime.min.time(), timezone.utc
    )
    return [start + timedelta(hours=hour, minutes=3) for hour in hours]


async def paid(world: World, at: datetime, status: str = "completed") -> None:
    """One settlement's legs: one for each LP, the platform's, one split."""
    settlement_id = urlsafe_short_hash()
    receivers: list[dict[str, Any]] = [
        {"leg_type": "dca", "client_id": lp.client.id, "leg_key": lp.client.id}
        for lp in world.lps
    ]
    receivers += [
        {"leg_type": "super_fee", "leg_key": "super"},
        {"leg_type": "operator_split", "leg_key": "s", "split_id": "s"},
        {"leg_type": "refund", "leg_key": "1"},  # not of the interval's making
    ]
    for receiver in receivers:
        await insert(
            "dca_payments",
            Leg(
                id=urlsafe_short_hash(),
                settlement_id=settlement_id,
                machine_id=world.machine.id,
                operator_user_id=world.operator.user_id,
                amount_sats=1,
                transaction_time=at,
                created_at=at,
                status=status,
                **receiver,
            ),
        )


async def advice(world: World) -> dict[str, Any] | None:
    answer = await world.operator.api.get(f"/machines/{world.machine.id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["payout_advice"]


async def test_what_each_interval_would_have_cost(make_world: MakeWorld) -> None:
    world = await make_world(deposits=["900.00"] * 2, payout_interval_minutes=120)
    assert await advice(world) is None
    # four settlements: two in one hour, three in one slot of two hours
    for at in hours_of_yesterday(0, 0, 1, 5):
        await paid(world, at)
    await paid(world, utc_now() - timedelta(days=8))  # longer ago than is looked at
    await paid(world, hours_of_yesterday(9)[0], status="voided")
    found = await advice(world)
    assert found is not None
    days = found["days"]
    assert days in (1, 2)  # yesterday's first hour began one to two days ago
    assert found["settlements_per_day"] == 4 / days
    per_day = {o["interval_minutes"]: o["payments_per_day"] for o in found["options"]}
    # by receiver: 2 LPs, and 2 for the fees, which gather for an hour at most
    assert per_day == {
        0: 16 / days,
        60: (6 + 6) / days,
        120: (4 + 6) / days,
        1440: (2 + 6) / days,
    }
    assert found["suggested_interval_minutes"] == 0
    listed = (await world.operator.api.get("/machines")).json()["data"]
    assert [m["payout_advice"] for m in listed] == [None]


async def test_the_shortest_bearable_interval_is_suggested(
    make_world: MakeWorld, monkeypatch: Any
) -> None:
    world = await make_world(deposits=["900.00"] * 2)
    for at in hours_of_yesterday(0, 0, 0, 0, 1, 1, 1, 1):
        await paid(world, at)
    # 32 at once, 8 hourly, 6 daily, in one day or in two
    for most, suggested in ((32, 0), (8, 60), (1, 1440)):
        for name in ("PAYMENTS_A_DAY", "PAYMENTS_A_DAY_FAST"):
            monkeypatch.setattr(f"satmachineadmin.api.advice.{name}", most)
        found = await advice(world)
        assert found and found["suggested_interval_minutes"] == suggested


async def test_more_is_bearable_where_lnbits_was_made_fast(
    make_world: MakeWorld, monkeypatch: Any
) -> None:
    world = await make_world(deposits=["900.00"] * 2)
    for at in hours_of_yesterday(0, 0, 0, 0, 1, 1, 1, 1):
        await paid(world, at)
    monkeypatch.setattr("satmachineadmin.api.advice.PAYMENTS_A_DAY", 1)
    try:
        await speed.apply(world.operator.user_id)
        found = await advice(world)
    finally:
        await speed.put_back(world.operator.user_id)
    assert found and found["suggested_interval_minutes"] == 0
    found = await advice(world)
    assert found and found["suggested_interval_minutes"] == 1440
