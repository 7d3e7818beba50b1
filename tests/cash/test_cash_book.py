"""The cash book as a ledger: a day replayed in every order, and nothing lost.

The trades of a day (a sale and its report, a second report that says otherwise, a sale
whose report comes after a count because the line was down, a refill, a person's count,
the machine's own) are booked in many orders of arrival (in all by
SATMACHINE_EXAMPLES=100); what the places hold is the same each time, and what they hold
is the sum of their movements.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from cash_rows import a_machine, a_sale, add_bays, assert_adds_up, count, movements
from examples import IS_THOROUGH
from lnbits.db import Connection

from satmachineadmin.base.database import db, transaction
from satmachineadmin.cash import crud, ledger, postings
from satmachineadmin.cash.crud import Place
from satmachineadmin.cash.ledger import Report
from satmachineadmin.line import cassettes, cassettes_crud
from satmachineadmin.line.nostr import Incoming
from satmachineadmin.models import utc_now

S = "satoshimachine"
Step = Callable[[Connection], Awaitable[None]]
OWN_COUNT = 5


class Day:
    """What happened at one machine on one day, to be told in any order."""

    def __init__(self) -> None:
        self.machine = a_machine()
        self.began = utc_now() - timedelta(hours=10)
        self.first = a_sale(self.machine, self.at(10))
        self.second = a_sale(self.machine, self.at(40), "100.00")
        self.report = Report(
            self.at(12), "machine", 4000, "a", moved_at=self.at(11), bills={"20": 2}
        )
        self.steps: list[Step] = [
            self.sold,
            self.otherwise,
            self.while_the_line_was_down,
            self.refilled,
            self.counted,
        ]

    def at(self, minutes: int) -> datetime:
        return self.began + timedelta(minutes=minutes)

    async def opened(self, conn: Connection) -> None:
        await add_bays(conn, self.machine, 20)
        await count(conn, self.machine, "bay:1", {20: 50}, self.at(0))

    async def sold(self, conn: Connection) -> None:
        await postings.post_report(conn, self.first, self.machine, self.report)

    async def otherwise(self, conn: Connection) -> None:
        newer = replace(self.report, said_at=self.at(30), bills={"20": 4}, event_id="b")
        await postings.post_report(conn, self.first, self.machine, newer)

    async def while_the_line_was_down(self, conn: Connection) -> None:
        report = Report(
            self.at(90),
            "machine",
            10_000,
            "c",
            moved_at=self.at(41),
            cassettes={"1": 5},
        )
        await postings.post_report(conn, self.second, self.machine, report)

    async def refilled(self, conn: Connection) -> None:
        movement = ledger.Movement(
            operator_user_id=self.machine.operator_user_id,
            machine_id=self.machine.id,
            from_place="hand",
            to_place="bay:1",
            denomination=20,
            notes=30,
            cents=60_000,
            currency=self.machine.fiat_code,
            at=self.at(20),
            by="ana",
            source="person",
        )
        await crud.post(conn, [movement])

    async def counted(self, conn: Connection) -> None:
        await count(conn, self.machine, "bay:1", {20: 70}, self.at(60))

    async def machines_own_count(self) -> None:
        """What its telemetry says of the bay stands beside the book, and moves nothing:
        not the sum of what was sold, nor when it comes before, or late."""
        at = int(self.at(70).timestamp())
        event = Incoming(uuid4().hex, "", at, 30078, "")
        await cassettes._take_state(self.machine, event, {1: (20, 72)})

    async def told(self, order: Sequence[int]) -> tuple[Any, Any, Any]:
        """What is inside, each place's notes over the day, the bay before the count."""
        async with transaction() as conn:
            await self.opened(conn)
        for number in order:
            if number == OWN_COUNT:
                await self.machines_own_count()
                continue
            async with transaction() as conn:
                await self.steps[number](conn)
        operator = self.machine.operator_user_id
        net: Counter[str] = Counter()
        for row in await movements(operator):
            net[row["from_place"]] -= int(row["notes"] or 0)
            net[row["to_place"]] += int(row["notes"] or 0)
        place = Place.of_machine(self.machine, "bay:1")
        async with db.connect() as conn:
            before = await crud.held_at(conn, place, self.at(50))
        inside = await assert_adds_up(operator)
        return inside, {k: n for k, n in net.items() if n}, before


async def test_a_day_in_every_order_of_arrival_ends_the_same(app: Any) -> None:
    orders = list(itertools.permutations(range(6)))
    if not IS_THOROUGH:
        orders = [*orders[:2], *random.Random(7).sample(orders, 22)]
    for order in orders:
        day = Day()
        inside, net, before = await day.told(order)
        assert inside == {("bay:1", 20): (70, 140_000), ("hand", 0): (0, -60_000)}
        # 50 - 4 + 30 - 5 were there, and 70 were counted
        assert before == {"bay:1": {20: (71, 142_000)}}, order
        assert net == {
            "opening": -50,
            "hand": -30,
            "customer": 9,
            "difference": 1,
            "bay:1": 70,
        }, order
        async with db.connect() as conn:
            [bay] = await cassettes_crud.get_cassettes(day.machine.id, conn)
        assert bay.state_count == 72, order


async def test_a_fault_in_the_book_is_undone_alone_and_kept(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = a_machine()
    sale = a_sale(machine, utc_now())
    real = crud.put_trade

    async def broken(*args: Any) -> None:
        await real(*args)
        raise ValueError("broken")

    monkeypatch.setattr(crud, "put_trade", broken)
    report = Report(utc_now(), "machine", 4000, "a", bills={"20": 2})
    async with transaction() as conn:
        await add_bays(conn, machine, 20)
        await postings.post_report(conn, sale, machine, report)
    assert await movements(machine.operator_user_id) == []
    async with db.connect() as conn:
        trade = await crud.get_trade(conn, sale.id)
        assert await crud.denominations(conn, machine.id) == {1: 20}
    assert trade
    assert trade.fault
    monkeypatch.undo()
    async with transaction() as conn:
        await postings.post_report(conn, sale, machine, report)
    assert await assert_adds_up(machine.operator_user_id) == {
        ("bay:1", 20): (-2, -4000)
    }


async def test_more_notes_than_were_sold_are_kept_and_marked(app: Any) -> None:
    machine = a_machine()
    sale = a_sale(machine, utc_now())
    report = Report(utc_now(), "machine", 4000, "a", bills={"20": 4})
    for _ in range(2):  # said again, nothing changes
        async with transaction() as conn:
            if not await crud.denominations(conn, machine.id):
                await add_bays(conn, machine, 20)
            await postings.post_report(conn, sale, machine, report)
    held = await assert_adds_up(machine.operator_user_id)
    assert held == {("bay:1", 20): (-4, -8000)}
    async with db.connect() as conn:
        trade = await crud.get_trade(conn, sale.id)
    assert trade
    assert trade.more_cents == 4000
