"""Random sequences against the book: what came in minus what went out is 0.

Hypothesis sells, buys, reports late, again and otherwise, counts, visits, corrects,
takes deposits in and back, moves cash to the bank, and breaks a transaction off after
its work. After each sequence the sum over all places, outside ones too, is 0, what
places are said to hold is the sum of their movements, and each trade stands in the book
as its newest report says it, whatever came in between.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cash_rows import a_machine, a_sale, add_bays, assert_adds_up, count, movements
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from satmachineadmin.base.database import transaction
from satmachineadmin.cash import crud, postings, visits
from satmachineadmin.cash.crud import Place
from satmachineadmin.cash.ledger import Report
from satmachineadmin.models import Deposit, Settlement, utc_now

NOTES = (20, 100)
MINUTES = st.integers(0, 300)
COUNTS = st.integers(0, 60)
STEP = st.one_of(
    st.tuples(st.just("report"), st.integers(0, 3), MINUTES, MINUTES, COUNTS, COUNTS),
    st.tuples(st.just("count"), st.integers(1, 2), MINUTES, COUNTS),
    st.tuples(st.just("count_box"), MINUTES, COUNTS, COUNTS),
    st.tuples(st.just("deposit"), st.integers(1, 10_000)),
    st.tuples(st.just("give_back"), st.integers(0, 5)),
    st.tuples(st.just("bank"), st.integers(1, 10_000)),
    st.tuples(st.just("hand"), st.integers(0, 10_000)),
    st.tuples(
        st.just("visit"),
        st.integers(1, 2),
        MINUTES,
        COUNTS,
        st.sampled_from(NOTES),
        COUNTS,
        st.integers(0, 3),
    ),
    st.tuples(st.just("broken"), st.integers(1, 2), COUNTS),
)
# at one of two machines of one operator, of two currencies
STEPS = st.lists(st.tuples(st.sampled_from((0, 1)), STEP), max_size=14)


class BrokenOffError(Exception):
    """A process that ends before its transaction does."""


class Book:
    """A machine of two bays, two sales and two purchases."""

    def __init__(self, currency: str = "GTQ", operator: str | None = None) -> None:
        self.machine = a_machine()
        self.machine.fiat_code = currency
        if operator:
            self.machine.operator_user_id = operator
        self.began = utc_now() - timedelta(hours=8)
        self.trades: list[Settlement] = [a_sale(self.machine, self.at(0)) for _ in "ab"]
        for _ in "cd":
            bought = a_sale(self.machine, self.at(0), "100.00")
            bought.tx_type = "cash_in"
            self.trades.append(bought)
        self.newest: dict[str, Report] = {}
        self.deposits: list[Deposit] = []

    def at(self, minutes: int) -> datetime:
        return self.began + timedelta(minutes=minutes)

    async def step(self, conn: Connection, name: str, *values: int) -> None:
        await getattr(self, name)(conn, *values)

    async def report(
        self, conn: Connection, which: int, said: int, moved: int, *counts: int
    ) -> None:
        trade = self.trades[which]
        bills = {str(n): c for n, c in zip(NOTES, counts, strict=True) if c}
        cents = sum(int(n) * c * 100 for n, c in bills.items())
        report = Report(
            self.at(said),
            "machine",
            cents,
            urlsafe_short_hash(),
            moved_at=self.at(moved),
            bills=bills,
        )
        await postings.post_report(conn, trade, self.machine, report)
        known = self.newest.get(trade.id)
        if known is None or report.rank > known.rank:
            self.newest[trade.id] = report

    async def count(self, conn: Connection, bay: int, minutes: int, notes: int) -> None:
        place = f"bay:{bay}"
        held = {NOTES[bay - 1]: notes}
        await count(conn, self.machine, place, held, self.at(minutes))

    async def count_box(self, conn: Connection, minutes: int, *counts: int) -> None:
        held = dict(zip(NOTES, counts, strict=True))
        await count(conn, self.machine, "box", held, self.at(minutes))

    async def deposit(self, conn: Connection, cents: int) -> None:
        new = Deposit(
            id=urlsafe_short_hash(),
            client_id="lp",
            machine_id=self.machine.id,
            creator_user_id="ana",
            amount=Decimal(cents) / 100,
            currency=self.machine.fiat_code,
        )
        self.deposits.append(new)
        operator = self.machine.operator_user_id
        await postings.post_deposit(conn, new, operator, "ana")

    async def give_back(self, conn: Connection, which: int) -> None:
        if which < len(self.deposits):
            operator = self.machine.operator_user_id
            given = self.deposits.pop(which)
            await postings.post_deposit(conn, given, operator, "ana", is_reversal=True)

    async def bank(self, conn: Connection, cents: int) -> None:
        operator, code = self.machine.operator_user_id, self.machine.fiat_code
        await postings.post_hand(conn, operator, "to_bank", cents, code, "ana", None)

    async def hand(self, conn: Connection, cents: int) -> None:
        """A correction: this is what is in the operator's hands."""
        operator, code = self.machine.operator_user_id, self.machine.fiat_code
        place = Place(operator, "", "hand", code)
        at = utc_now()
        await postings.post_count(conn, place, {}, cents=cents, at=at, by="ana")
        held = await crud.held_at(conn, place, at)
        assert held["hand"].get(0, (0, 0))[1] == cents

    async def visit(
        self,
        conn: Connection,
        bay: int,
        minutes: int,
        notes: int,
        note: int,
        filled: int,
        taken: int,
    ) -> None:
        """A bay counted and filled, maybe with another note; and bays or the box taken
        out. When it is closed the bay holds what was said, until something moves."""
        opened = await visits.open_visit(conn, self.machine, "ana")
        place, at = f"bay:{bay}", self.at(minutes)
        emptied = [["box"], ["box", place], [place], []][taken]
        visits.enter(
            opened,
            counts={place: {str(NOTES[bay - 1]): notes}, "box": {"20": notes}},
            filled={place: {str(note): filled}},
            emptied=emptied,
            counted_at=at,
        )
        await visits.close(conn, opened, self.machine, "ana", None)
        held = await crud.held_at(conn, Place.of_machine(self.machine, place), at)
        stayed = 0 if place in emptied or note != NOTES[bay - 1] else notes
        assert held[place].get(note, (0, 0))[0] == stayed + filled
        held = await crud.held_at(conn, Place.of_machine(self.machine, "box"), at)
        boxed = 0 if "box" in emptied else notes
        assert sum(n for n, _ in held["box"].values()) == boxed

    async def broken(self, conn: Connection, bay: int, notes: int) -> None:
        await self.count(conn, bay, 300, notes)
        raise BrokenOffError

    async def assert_trades_are_their_newest_reports(self) -> None:
        moved: dict[str, int] = {}
        for row in await movements(self.machine.operator_user_id):
            cents = round(float(row["amount"]) * 100)
            sign = (row["to_place"] == "customer") - (row["from_place"] == "customer")
            if row["settlement_id"]:
                trade = row["settlement_id"]
                moved[trade] = moved.get(trade, 0) + sign * cents
        for trade in self.trades:
            report = self.newest.get(trade.id)
            said = report.cents if report else 0
            sign = -1 if trade.tx_type == "cash_in" else 1
            assert moved.get(trade.id, 0) == sign * said


async def tell(steps: list[Any]) -> None:
    """What happened to two machines of one operator, of two currencies."""
    here = Book()
    operator = here.machine.operator_user_id
    books = (here, Book("USD", operator))
    async with transaction() as conn:
        for book in books:
            await add_bays(conn, book.machine, *NOTES)
    for which, step in steps:
        try:
            async with transaction() as conn:
                await books[which].step(conn, *step)
        except BrokenOffError:
            pass
    await assert_adds_up(operator)
    for book in books:
        await book.assert_trades_are_their_newest_reports()


async def test_any_sequence_conserves_every_note(app: Any) -> None:
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=examples(200),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=STEPS)
    def any_sequence(steps: list[Any]) -> None:
        asyncio.run_coroutine_threadsafe(tell(steps), loop).result(60)

    await asyncio.to_thread(any_sequence)
