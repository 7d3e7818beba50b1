"""Dice throw everything at the money path at once; in the end nobody is owed a sat.

A machine with LPs of every kind, splits inside and outside. Each throw is something
that happens to such a network: a sale, a customer with cash, a process that dies or
freezes at some step, a wallet that goes and comes back, a node that fails or says
nothing, a limit, a status check of LNbits', an LP who moves. The ledger must balance
at every moment. Then the trouble ends, and everything must be completed, exactly once.

A failing seed repeats itself: `make test ARGS="-k dice"`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from bolt11 import decode as bolt11_decode
from lnbits.core.services import payments as lnbits_payments
from lnbits.core.services.payments import check_pending_payments
from lnbits.settings import settings
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse, PaymentStatus
from lnurl_server import LnurlServer
from world import Killed, MakeWorld, World, balance_sats, edit_core, killed_at, update

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base import lease
from satmachineadmin.base.database import db_time
from satmachineadmin.host import paying
from satmachineadmin.models import utc_now
from satmachineadmin.money import payouts, payouts_crud, planning, rounds

SEEDS = [14, 32]
THROWS = 30
SATS_PER_UNIT = 500
STEPS: list[tuple[Any, str]] = [
    (crud, "write_plan"),
    (planning, "build_plan"),
    (rounds, "open_round"),
    (payouts_crud, "open_payouts"),
    (paying, "create_invoice"),
    (paying, "update_payment_checking_id"),
    (payouts_crud, "store_invoices"),
    (paying, "pay_invoice"),
    (lnbits_payments, "update_payment"),
    (payouts, "read_outcomes"),
    (payouts_crud, "complete_payouts"),
    (payouts_crud, "finish_legs"),
]


class Node:
    """LNbits' funding source in moods; it never lies about what it has paid."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.is_well = False
        self.paid: dict[str, bool | None] = {}

    async def pay(self, bolt11: str, _: int) -> PaymentResponse:
        payment_hash = bolt11_decode(bolt11).payment_hash
        assert self.paid.get(payment_hash, False) is not True, "paid twice"
        mood = "well" if self.is_well else self.dice.choice(("well", "no", "silent"))
        self.paid[payment_hash] = {"well": True, "no": False, "silent": None}[mood]
        if mood == "well":
            return PaymentResponse(True, payment_hash, 0, "00" * 32)
        return PaymentResponse(ok=self.paid[payment_hash])

    async def status(self, payment_hash: str) -> PaymentStatus:
        if payment_hash not in self.paid:
            return PaymentStatus(None)  # another test's, which the engine found
        known = self.paid[payment_hash]
        if known is None and (self.is_well or self.dice.random() < 0.5):
            known = self.paid[payment_hash] = self.dice.random() < 0.5
        if known is None and self.dice.random() < 0.5:
            raise ConnectionError("the node is away")
        return PaymentStatus(known, 0, "00" * 32 if known else None)


class Game:
    def __init__(
        self, world: World, dice: random.Random, patch: pytest.MonkeyPatch
    ) -> None:
        self.world = world
        self.dice = dice
        self.patch = patch
        self.hashes: list[str] = []
        self.gone: set[str] = set()
        self.said: list[str] = []
        self.deaths = 0

    async def throw(self) -> None:
        things: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self.sell),
            (3, self.buy),
            (6, self.work),
            (7, self.die),
            (2, self.be_another_process),
            (3, self.lose_or_find_a_wallet),
            (2, self.limit),
            (2, self.let_lnbits_check),
            (2, self.undo_a_success),
            (2, self.repeat_everything),
            (2, self.move_an_lp),
            (1, self.change_the_interval),
        ]
        thing = self.dice.choices(
            [t for _, t in things], weights=[weight for weight, _ in things]
        )[0]
        self.said.append(thing.__name__)
        await thing()

    async def sell(self) -> None:
        units = self.dice.randint(1, 40) * 5
        principal = int(units * SATS_PER_UNIT * self.dice.uniform(0.9, 1.1))
        fee = int(principal * self.dice.choice((0.0, 0.03, 0.08, 0.1)))
        allowed = self.relax()
        payment_hash = await self.world.cash_out(
            principal=principal, fee=fee, fiat=f"{units}.00"
        )
        self.hashes.append(payment_hash)
        await self.world.landed(payment_hash)
        self.restrict(allowed)

    async def buy(self) -> None:
        units = self.dice.randint(1, 20) * 5
        principal = units * SATS_PER_UNIT
        fee = principal * 8 // 100
        allowed = self.relax()
        await self.world.fund(self.world.machine_wallet.id, principal)
        self.hashes.append(
            await self.world.cash_in(principal=principal, fee=fee, fiat=f"{units}.00")
        )
        await tasks.sweep()
        self.restrict(allowed)

    async def work(self) -> None:
        if self.dice.random() < 0.5:
            await self.later()
        await distribution.worker.run_until_idle()

    async def later(self) -> None:
        """Two minutes have passed since LNbits last touched what it is busy with."""
        await edit_core(
            "UPDATE apipayments SET updated_at = :at WHERE status = 'pending' "
            "OR payment_hash IN (SELECT payment_hash FROM apipayments "
            "WHERE status <> 'success')",
            at=db_time(utc_now().replace(microsecond=0) - timedelta(minutes=2)),
        )
        await self.world.make_due()

    async def die(self) -> None:
        """In the middle of a sale, and of whatever else is due."""
        await self.sell()
        await self.later()
        module, name = self.dice.choice(STEPS)
        real = getattr(module, name)
        is_after = self.dice.random() < 0.5 and name != "build_plan"
        self.said[-1] += f" {'after' if is_after else 'before'} {name}"

        async def die_after(*args: Any, **kwargs: Any) -> Any:
            await real(*args, **kwargs)
            raise Killed

        with self.patch.context() as patch:
            patch.setattr(module, name, die_after if is_after else killed_at)
            try:
                await distribution.worker.run_until_idle()
            except Killed:
                self.deaths += 1

    async def be_another_process(self) -> None:
        await lease.release_lease(distribution.INSTANCE_ID)
        self.patch.setattr(
            distribution, "INSTANCE_ID", f"process {self.dice.randint(0, 10**9)}"
        )
        assert await lease.acquire_or_renew(distribution.INSTANCE_ID)

    async def lose_or_find_a_wallet(self) -> None:
        lp = self.dice.choice(self.world.lps)
        self.gone ^= {lp.wallet.id}
        await self.set_deleted(lp.wallet.id, lp.wallet.id in self.gone)

    async def set_deleted(self, wallet_id: str, is_deleted: bool) -> None:
        await edit_core(
            "UPDATE wallets SET deleted = :deleted WHERE id = :id",
            deleted=is_deleted,
            id=wallet_id,
        )

    LIMITS = (
        ("lnbits_only_allow_incoming_payments", (True, False, False)),
        ("lnbits_max_outgoing_payment_amount_sats", (30_000, 120_000, 10_000_000)),
        ("lnbits_wallet_limit_daily_max_withdraw", (0, 0, 200_000)),
    )

    async def limit(self) -> None:
        name, values = self.dice.choice(self.LIMITS)
        self.patch.setattr(settings, name, self.dice.choice(values))

    def relax(self) -> dict[str, Any]:
        """The customer's own payment is not what is limited here."""
        before = {name: getattr(settings, name) for name, _ in self.LIMITS}
        for name, values in self.LIMITS:
            self.patch.setattr(settings, name, values[1] if "daily" in name else False)
        self.patch.setattr(
            settings, "lnbits_max_outgoing_payment_amount_sats", 10_000_000
        )
        return before

    def restrict(self, before: dict[str, Any]) -> None:
        for name, value in before.items():
            self.patch.setattr(settings, name, value)

    async def let_lnbits_check(self) -> None:
        with suppress(ConnectionError):
            await check_pending_payments()

    async def undo_a_success(self) -> None:
        """A status check that was slow writes `failed` over what was received."""
        paid = [
            p
            for p in await self.world.payouts()
            if p["status"] == "paid" and p["is_internal"]
        ]
        if not paid:
            return
        payout = self.dice.choice(paid)
        await edit_core(
            "UPDATE apipayments SET status = 'failed' WHERE payment_hash = :hash "
            "AND amount > 0",
            hash=payout["payment_hash"],
        )
        await self.later()
        await self.mend()

    async def mend(self) -> None:
        tasks.state.second_look = float("-inf")
        await tasks.run_maintenance()

    async def repeat_everything(self) -> None:
        await tasks.sweep(is_full=True)
        for payment_hash in self.hashes[-3:]:
            settlement = await crud.get_settlement_by_hash(payment_hash)
            if settlement:
                await distribution.process_settlement(settlement.id)

    async def move_an_lp(self) -> None:
        lp = self.dice.choice(self.world.lps)
        lp.wallet = await self.world.make_wallet(lp.user, "another")
        await update(
            "dca_lp", lp.user.user_id, key="user_id", dca_wallet_id=lp.wallet.id
        )

    async def change_the_interval(self) -> None:
        await update(
            "dca_machines",
            self.world.machine.id,
            payout_interval_minutes=self.dice.choice((0, 60)),
            min_payout_sats=self.dice.choice((0, 0, 20_000)),
        )

    async def end_all_trouble(self, node: Node) -> None:
        node.is_well = True
        self.relax()
        for wallet_id in self.gone:
            await self.set_deleted(wallet_id, False)
        await update("dca_machines", self.world.machine.id, min_payout_sats=0)
        # sales for less fee than the platform's share left the operator a debt
        await self.world.fund(self.world.machine_wallet.id, 200_000)
        await tasks.sweep(is_full=True)
        for _ in range(8):
            await self.later()
            await distribution.worker.run_until_idle()
        await self.mend()


@pytest_asyncio.fixture
async def same_lease(engine_paused: distribution.Worker) -> AsyncIterator[None]:
    ours = distribution.INSTANCE_ID
    yield
    last = distribution.INSTANCE_ID
    distribution.INSTANCE_ID = ours
    await lease.release_lease(last)
    await tasks.renew_lease_once()


@pytest.mark.parametrize("seed", SEEDS)
async def test_dice_leave_nobody_unpaid_and_nobody_paid_twice(
    make_world: MakeWorld,
    same_lease: None,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    dice = random.Random(seed)
    node = Node(dice)
    source = get_funding_source()
    monkeypatch.setattr(source, "pay_invoice", node.pay)
    monkeypatch.setattr(source, "get_payment_status", node.status)
    world = await make_world()
    async with LnurlServer() as shop:
        partner = await world.make_user("partner")
        await world.add_lp("90000.00")
        await world.add_lp("90000.00", mode="fixed", daily_limit="100.00")
        await world.add_lp("50.00")
        await world.add_split(partner.wallet.id, "0.5000", wallet_id=partner.wallet.id)
        await world.add_split(shop.target, "0.5000", kind="lnurl")
        game = Game(world, dice, monkeypatch)
        for count in range(THROWS):
            await game.throw()
            if count % 4 == 3:
                await world.assert_ledger()
        await game.end_all_trouble(node)
        assert game.deaths > 5
        for payment_hash in game.hashes:
            settlement = await world.settlement(payment_hash)
            open_legs = [
                (
                    leg.leg_type,
                    leg.status,
                    leg.amount_sats,
                    leg.error_message,
                    leg.label,
                )
                for leg in await world.legs(payment_hash)
                if leg.status in ("pending", "failed")
            ]
            assert settlement.status == "completed", (open_legs, game.said)
    await world.assert_ledger()
    await assert_everybody_holds_what_they_were_owed(world, partner.wallet.id, node)


async def assert_everybody_holds_what_they_were_owed(
    world: World, partner_wallet_id: str, node: Node
) -> None:
    paid = [p for p in await world.payouts() if p["status"] == "paid"]
    outside = {p["payment_hash"] for p in paid if not p["is_internal"]}
    mine = {p["payment_hash"] for p in await world.payouts()}
    left = {h for h, is_paid in node.paid.items() if is_paid and h in mine}
    assert outside == left
    for wallet_id in (world.platform.id, partner_wallet_id):
        owed = [p["sent_sats"] for p in paid if p["destination_wallet_id"] == wallet_id]
        assert await balance_sats(wallet_id) == sum(owed)
    assert await balance_sats(world.machine_wallet.id) >= 0
