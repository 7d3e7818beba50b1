"""What may still be sold, against brute force: while invoices are made and expire.

Random bays (up to six), customers who all walk away, a clock that goes on: a sale
is refused exactly when no choice of the notes that are not set aside makes it up, and
gets the fewest notes that do. A machine of which one bay was never counted is never
refused; of the ledger and the machine's own count the larger one counts.
"""

from __future__ import annotations

import itertools
import random
import secrets
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from cash_rows import a_machine, a_sale, add_bays, count
from examples import examples
from lnbits.core.services import create_invoice, pay_invoice
from money_rows import add_settlement

from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.cash import ledger, postings, reservations, reservations_crud
from satmachineadmin.models import Machine, utc_now

from conftest import Fund, MakeUser

S = "satoshimachine"
NOTES = [5, 10, 20, 50, 100, 200]
OPEN_FOR = timedelta(minutes=10)


def fewest(amount: int, left: dict[int, int]) -> int | None:
    """By looking at every choice."""
    ranges = [range(max(0, most) + 1) for most in left.values()]
    found = [
        sum(counts)
        for counts in itertools.product(*ranges)
        if sum(d * n for d, n in zip(left, counts, strict=True)) == amount
    ]
    return min(found, default=None)


class Afternoon:
    """One machine, its customers, and a clock that the test moves."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chance = random.Random(seed)
        self.machine = a_machine()
        self.now = utc_now()
        bays = self.chance.sample(NOTES, self.chance.randint(1, 6))
        self.bays = {note: self.chance.randint(0, 3) for note in bays}
        self.promised: list[tuple[datetime, dict[int, int]]] = []
        self.number = 0
        monkeypatch.setattr(reservations_crud, "utc_now", lambda: self.now)

    async def opened(self, *, is_counted: bool = True) -> None:
        """Every bay counted, or all but the first."""
        async with transaction() as conn:
            await add_bays(conn, self.machine, *self.bays)
            for position, (note, notes) in enumerate(self.bays.items(), 1):
                if is_counted or position > 1:
                    at = self.now - timedelta(hours=1)
                    await count(
                        conn, self.machine, f"bay:{position}", {note: notes}, at
                    )

    @property
    def left(self) -> dict[int, int]:
        gone: Counter[int] = Counter()
        for until, notes in self.promised:
            if until > self.now:
                gone.update(notes)
        return {note: held - gone[note] for note, held in self.bays.items()}

    async def customer(self, amount: int) -> dict[int, int] | None:
        self.number += 1
        async with transaction() as conn:
            notes = await reservations.reserve(
                conn, self.machine, f"t{self.number}", amount * 100, None
            )
        if notes:
            self.promised.append((self.now + OPEN_FOR, notes))
        return notes


async def test_sold_exactly_when_it_can_be_paid_out(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0
    for seed in range(examples(60)):
        day = Afternoon(seed, monkeypatch)
        await day.opened()
        for _ in range(8):
            day.now += timedelta(minutes=day.chance.choice((0, 1, 4, 9)))
            left, amount = day.left, 5 * day.chance.randint(1, 60)
            notes = await day.customer(amount)
            wanted = fewest(amount, left)
            told = (seed, amount, left, notes)
            assert (notes is None) == (wanted is None), told
            refused += notes is None
            if notes is not None:
                assert sum(notes.values()) == wanted, told
                assert sum(d * n for d, n in notes.items()) == amount, told
                assert all(n <= left[d] for d, n in notes.items()), told
        day.now += OPEN_FOR
        async with transaction() as conn:
            there = await reservations.available(conn, day.machine)
        assert there and there.notes == {d: n for d, n in sorted(day.bays.items()) if n}
    assert refused


async def test_a_machine_with_one_bay_that_was_not_counted_is_never_refused(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(10):
        day = Afternoon(seed, monkeypatch)
        await day.opened(is_counted=False)
        for _ in range(4):
            assert await day.customer(day.chance.randint(1, 2_000)) is not None


async def said(machine: Machine, notes: int, at: datetime, position: int = 1) -> None:
    """The machine's own count of one of its bays."""
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.cassette_configs SET state_count = :n, state_at = :at, "
            "state_denomination = denomination WHERE machine_id = :m AND position = :p",
            {"n": notes, "at": db_time(at), "m": machine.id, "p": position},
        )


async def test_the_larger_of_the_ledger_and_the_machines_own_count(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Afternoon(1, monkeypatch)
    day.bays = {20: 3}
    await day.opened()
    await said(day.machine, 5, day.now)
    assert await day.customer(100) == {20: 5}
    day.now += OPEN_FOR
    await said(day.machine, 1, day.now)
    assert await day.customer(80) is None
    assert await day.customer(60) == {20: 3}


async def test_two_bays_of_one_note_are_what_one_word_says_of_both(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger says 5 and 2, the machine 3 and 4: seven by either, never nine."""
    day = Afternoon(3, monkeypatch)
    async with transaction() as conn:
        await add_bays(conn, day.machine, 20, 20)
        at = day.now - timedelta(hours=1)
        await count(conn, day.machine, "bay:1", {20: 5}, at)
        await count(conn, day.machine, "bay:2", {20: 2}, at)
    await said(day.machine, 3, day.now)
    await said(day.machine, 4, day.now, position=2)
    assert await day.customer(160) is None
    assert await day.customer(140) == {20: 7}


async def gone(machine: Machine, cents: int, at: datetime) -> None:
    """A dispense of which only the amount is known."""
    sale = a_sale(machine, at)
    async with transaction() as conn:
        report = ledger.Report(said_at=at, by=ledger.MACHINE, cents=cents)
        await postings.post_report(conn, sale, machine, report)


async def test_notes_that_left_by_amount_alone_are_not_sold_again(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Afternoon(4, monkeypatch)
    day.bays = {20: 5, 50: 2}
    await day.opened()
    await gone(day.machine, 70_00, day.now)
    # 130 are left, whichever notes went: more than that is refused, and that is not
    async with transaction() as conn:
        there = await reservations.available(conn, day.machine)
    assert there and (there.max_units, there.is_sure) == (130, True)
    assert await day.customer(140) is None
    assert await day.customer(130) == {20: 4, 50: 1}
    day.now += OPEN_FOR
    # once the machine has said what it holds, its word is the larger one
    day.now += timedelta(minutes=1)
    await said(day.machine, 4, day.now)
    await said(day.machine, 1, day.now, position=2)
    async with transaction() as conn:
        there = await reservations.available(conn, day.machine)
    assert there and (there.notes, there.unknown_units) == ({20: 4, 50: 1}, 0)


async def test_a_sale_paid_in_time_keeps_its_notes_until_it_lands(
    app: Any, monkeypatch: pytest.MonkeyPatch, make_user: MakeUser, fund: Fund
) -> None:
    day = Afternoon(5, monkeypatch)
    day.bays = {20: 2}
    await day.opened()
    mine = {"machine": day.machine.id}
    buyer, seller = await make_user("buyer"), await make_user("seller")
    hashes = []
    for number, is_paid in enumerate((True, False)):
        invoice = await create_invoice(
            wallet_id=seller.wallets[0].id, amount=100, memo="a sale"
        )
        if is_paid:
            await fund(buyer.wallets[0].id, 1_000)
            await pay_invoice(
                wallet_id=buyer.wallets[0].id, payment_request=invoice.bolt11
            )
        hashes.append(invoice.payment_hash)
        txid = f"sale-{number}"
        async with transaction() as conn:
            await reservations.reserve(conn, day.machine, txid, 20_00, None)
            await reservations_crud.name_the_sale(
                conn, day.machine.id, txid, invoice.payment_hash
            )
    assert await reservations.paid_not_landed("(:machine)", mine) == []
    day.now += OPEN_FOR
    paid = await reservations.paid_not_landed("(:machine)", mine)
    assert paid == hashes[:1]
    async with transaction() as conn:
        held = await reservations.reserved(conn, "(:machine)", mine, paid)
        there = await reservations.available(conn, day.machine, paid)
    assert held == {day.machine.id: {20: 1}}
    assert there and there.notes == {20: 1}


async def test_of_a_sale_that_was_never_reported_a_count_frees_what_it_counted(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Afternoon(6, monkeypatch)
    day.bays = {20: 3, 50: 3}
    await day.opened()
    sold_at = day.now
    machine = day.machine
    shown = {"id": machine.id, "fiat_code": "GTQ", "wallet_id": machine.wallet_id}
    await add_settlement(
        shown,
        payment_hash=(payment_hash := secrets.token_hex(32)),
        transaction_time=sold_at,
        status="awaiting_dispense",
        dispense_state="awaiting",
    )
    async with transaction() as conn:
        assert await reservations.reserve(
            conn, day.machine, "never said", 70_00, None
        ) == {20: 1, 50: 1}
        await reservations_crud.name_the_sale(
            conn, day.machine.id, "never said", payment_hash
        )
    day.now = sold_at + timedelta(hours=25)
    monkeypatch.setattr(reservations, "utc_now", lambda: day.now)

    async def notes() -> dict[int, int]:
        async with transaction() as conn:
            there = await reservations.available(conn, day.machine)
        assert there
        return there.notes

    assert await notes() == {20: 2, 50: 2}
    async with transaction() as conn:
        await count(conn, day.machine, "box", {20: 1}, day.now)
    assert await notes() == {20: 2, 50: 2}
    async with transaction() as conn:
        await count(conn, day.machine, "bay:1", {20: 2}, day.now)
    assert await notes() == {20: 2, 50: 2}  # one note of 50 is still out
    async with transaction() as conn:
        await count(conn, day.machine, "bay:2", {50: 2}, day.now)
    assert await notes() == {20: 2, 50: 2}
