"""What the first money engine was stopped in, and what the one of today makes of it.

Each state is made on a real LNbits, at the moment where the older code stood still for
ever; then our tables are forgotten back to what that version kept (m015), upgraded as
LNbits does it, and the engine of today starts. Everybody is paid, once, or somebody is
told and has a button. All states lie in one database, as a neglected one's would.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from api_world import ok
from fixtures.in_place import as_left_by
from lnbits.core.crud.wallets import delete_wallet
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.core.services import payments as lnbits_payments
from world import (
    Killed,
    MakeWorld,
    World,
    age_core,
    balance_sats,
    core_rows,
    edit_core,
    killed_at,
    set_platform,
    update,
)

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.audit import ENGINE
from satmachineadmin.base.database import db, execute, fetch_all, transaction
from satmachineadmin.desk import reconciliation
from satmachineadmin.models import Leg
from satmachineadmin.money import payouts, strays

pytestmark = pytest.mark.longest

OLD = 15  # the last migration of that engine
WHY = {"reason": "as the older version left it"}


@pytest_asyncio.fixture
async def paused(
    engine_paused: distribution.Worker,
) -> AsyncIterator[distribution.Worker]:
    strays.watch.payout_id = None
    yield engine_paused
    strays.watch.payout_id = None


async def refuses(*_: Any, **__: Any) -> str:
    return "This wallet may not pay now."


class State:
    """One thing that the older engine was stopped in."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hash = ""

    async def make(self) -> None:
        raise NotImplementedError

    async def way_out(self) -> None:
        """What a person does of it; nothing where it is healed by itself."""

    async def check(self) -> None:
        raise NotImplementedError

    # what most of them do -----------------------------------------------------------

    async def sell_untried(self) -> Leg:
        """A sale whose LP's invoice is kept and was refused so far."""
        self.hash = await self.world.cash_out()
        await self.world.landed(self.hash)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(payouts, "try_to_pay", refuses)
            await distribution.worker.run_until_idle()
        leg = await self.leg("dca")
        assert leg.external_payment_hash
        return leg

    async def leg(self, leg_type: str) -> Leg:
        legs = await self.world.legs(self.hash, leg_type)
        return next(x for x in legs if x.status != "voided")

    async def is_completed(self) -> None:
        settlement = await self.world.settlement(self.hash)
        assert settlement.status == "completed", await self.world.legs(self.hash)

    async def press(self, path: str, **body: Any) -> Any:
        return ok(await self.world.operator.api.post(path, json={**WHY, **body}))

    async def attention(self) -> dict[str, Any]:
        items = ok(await self.world.operator.api.get("/overview"))["needs_attention"]
        return {x["kind"]: x for x in items}


class DeadInvoice(State):
    """A payout whose invoice somebody else has paid: "being paid" until now."""

    async def make(self) -> None:
        leg = await self.sell_untried()
        rows = await core_rows(str(leg.external_payment_hash))
        stranger = await self.world.make_user("stranger")
        await self.world.fund(stranger.wallet.id, 101_000)
        await pay_invoice(
            wallet_id=stranger.wallet.id, payment_request=rows[0]["bolt11"]
        )

    async def check(self) -> None:
        await self.is_completed()
        # what the stranger gave is a present
        assert await self.world.lps[0].balance_sats() == 200_000


class FailedInvoice(State):
    """LNbits' status check has marked a prepared invoice as failed."""

    async def make(self) -> None:
        leg = await self.sell_untried()
        await edit_core(
            "UPDATE apipayments SET status = 'failed' WHERE payment_hash = :h",
            h=leg.external_payment_hash,
        )

    async def check(self) -> None:
        await self.is_completed()
        assert await self.world.lps[0].balance_sats() == 100_000


class TakenRefund(State):
    """A customer's invoice, which another wallet has paid: every action was a 409."""

    async def make(self) -> None:
        self.hash = await self.world.cash_out(dispense="awaiting")
        held = await self.world.until(self.hash, "awaiting_dispense")
        await self.press(f"/settlements/{held.id}/dispense", dispensed_fiat="0")
        await distribution.worker.run_until_idle()
        bolt11 = await self.invoice()
        await self.give(bolt11)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(payouts, "try_to_pay", refuses)
            await self.world.run_due()
        stranger = await self.world.make_user("stranger")
        await self.world.fund(stranger.wallet.id, 55_000)
        await pay_invoice(wallet_id=stranger.wallet.id, payment_request=bolt11)

    async def invoice(self) -> str:
        made = await create_invoice(
            wallet_id=self.world.customer.wallet.id, amount=50_000, memo="my refund"
        )
        return str(made.bolt11)

    async def give(self, bolt11: str) -> None:
        settlement = await self.world.settlement(self.hash)
        path = f"/settlements/{settlement.id}/refund"
        await self.press(path, destination=bolt11, idempotency_key=uuid4().hex)

    async def way_out(self) -> None:
        assert (await self.leg("refund")).status == "pending"
        await self.give(await self.invoice())

    async def check(self) -> None:
        paid = [
            leg.amount_sats
            for leg in await self.world.legs(self.hash, "refund")
            if leg.status == "completed"
        ]
        assert paid == [50_000]


class HalfDoneReceipt(State):
    """LNbits died between its two commits of a customer's payment."""

    async def make(self) -> None:
        invoice = await self.world.cash_out_invoice(self.world.stamp(), 108_000)
        await self.world.fund(self.world.customer.wallet.id, 108_010)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(lnbits_payments, "update_payment", killed_at)
            await pay_invoice(
                wallet_id=self.world.customer.wallet.id, payment_request=invoice.bolt11
            )
        self.hash = invoice.payment_hash
        assert await crud.get_settlement_by_hash(self.hash) is None

    async def check(self) -> None:
        await self.is_completed()
        assert await self.world.lps[0].balance_sats() == 100_000


class LeftWallet(State):
    """An untried payout into a wallet that its LP has left, and deleted."""

    async def make(self) -> None:
        await self.sell_untried()
        lp = self.world.lps[0]
        self.new = await self.world.make_wallet(lp.user, "new")
        await update(
            "dca_lp", lp.user.user_id, key="user_id", dca_wallet_id=self.new.id
        )
        await delete_wallet(user_id=lp.user.user_id, wallet_id=lp.wallet.id)

    async def check(self) -> None:
        await self.is_completed()
        assert await balance_sats(self.new.id) == 100_000


class DeletedWallet(State):
    """The same, of an LP who has no other wallet yet: they are asked, and choose."""

    async def make(self) -> None:
        await self.sell_untried()
        lp = self.world.lps[0]
        await delete_wallet(user_id=lp.user.user_id, wallet_id=lp.wallet.id)

    async def way_out(self) -> None:
        assert "lp_wallet_gone" in await self.attention()
        lp = self.world.lps[0]
        self.new = await self.world.make_wallet(lp.user, "new")
        ok(await lp.user.api.put("/lp", json={"dca_wallet_id": self.new.id}))

    async def check(self) -> None:
        await self.is_completed()
        assert await balance_sats(self.new.id) == 100_000


class NoSplitTarget(State):
    """A leg of a split whose wallet was deleted, after the splits were changed."""

    async def make(self) -> None:
        partner = await self.world.make_user("partner")
        self.other = await self.world.make_user("other")
        wallet = partner.wallet.id
        await self.world.add_split(wallet, "1.0000", wallet_id=wallet)
        await delete_wallet(user_id=partner.user_id, wallet_id=wallet)
        self.hash = await self.world.cash_out()
        await self.world.settle(self.hash)
        splits = [{"target": self.other.wallet.id, "fraction": "1.0000"}]
        ok(await self.world.operator.api.put("/splits", json={"splits": splits}))

    async def way_out(self) -> None:
        leg = await self.leg("operator_split")
        assert (await self.attention())["split_gone"]["subject_id"] == leg.id
        await self.press(f"/payments/{leg.id}/redirect", target=self.other.wallet.id)

    async def check(self) -> None:
        await self.is_completed()
        assert await balance_sats(self.other.wallet.id) == 5_000


class SplitWithoutTarget(NoSplitTarget):
    """The same, and the leg's split is gone, target and all."""

    async def make(self) -> None:
        await super().make()
        leg = await self.leg("operator_split")
        await update(
            "dca_payments",
            leg.id,
            destination_wallet_id=None,
            destination_ln_address=None,
            target=None,
        )


class UnsetPlatform(State):
    """The platform's wallet was unset after planning: "processing" for ever."""

    async def make(self) -> None:
        await update("dca_machines", self.world.machine.id, payouts_stopped_reason="x")
        self.hash = await self.world.cash_out()
        await self.world.settle(self.hash)
        await update("dca_machines", self.world.machine.id, payouts_stopped_reason=None)
        leg = await self.leg("super_fee")
        await update("dca_payments", leg.id, destination_wallet_id=None)

    async def check(self) -> None:
        await self.is_completed()
        assert await self.world.lps[0].balance_sats() == 100_000


class ShortWallet(State):
    """Fee legs of a cash-in that lacked free balance held up all the others."""

    async def make(self) -> None:
        await self.world.fund(self.world.machine_wallet.id, 92_000)
        self.cash_in = await self.world.cash_in()
        await tasks.sweep()
        await distribution.worker.run_until_idle()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(payouts, "try_to_pay", refuses)
            self.hash = await self.world.cash_out()
            await self.world.settle(self.hash)

    async def check(self) -> None:
        await self.is_completed()
        assert await self.world.lps[0].balance_sats() == 100_000


STATES: tuple[type[State], ...] = (
    DeadInvoice,
    FailedInvoice,
    TakenRefund,
    HalfDoneReceipt,
    LeftWallet,
    DeletedWallet,
    NoSplitTarget,
    SplitWithoutTarget,
    UnsetPlatform,
    ShortWallet,
)


async def time_passes(states: list[State]) -> None:
    """Two minutes, in which nobody touches LNbits' rows."""
    for state in states:
        for table, column in (
            ("dca_payments", "external_payment_hash"),
            ("dca_payouts", "payment_hash"),
        ):
            for row in await hashes_of(state.world, table, column):
                await age_core(row, minutes=2)
        await age_core(state.hash, minutes=2)
    async with transaction() as conn:
        await execute(
            conn, "UPDATE satoshimachine.dca_payouts SET next_try_at = NULL", {}
        )


async def hashes_of(world: World, table: str, column: str) -> list[str]:
    own = (
        "machine_id = :m"
        if table == "dca_payments"
        else "id IN (SELECT payout_id FROM satoshimachine.dca_payments "
        "WHERE machine_id = :m)"
    )
    async with db.connect() as conn:
        rows = await fetch_all(
            conn,
            f"SELECT {column} AS h FROM satoshimachine.{table} WHERE {own} "
            f"AND {column} IS NOT NULL",
            {"m": world.machine.id},
        )
    return [row["h"] for row in rows]


async def engine_works(states: list[State]) -> None:
    """From its first start on: the looks and the sweep, then pass after pass."""
    tasks.state.second_look = float("-inf")
    await strays.look(is_start=True)
    for _ in range(4):
        await tasks.sweep(is_full=True)
        await tasks.run_maintenance()
        for state in states:
            await state.world.make_due()
        await distribution.worker.run_until_idle()
        await time_passes(states)


async def test_what_the_older_engine_was_stopped_in_is_healed_or_has_a_way_out(
    make_world: MakeWorld,
    paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states: list[State] = []
    for kind in STATES:
        state = kind(await make_world(deposits=["300.00"]))
        # one platform for all: a real instance has one
        if states:
            state.world.platform = states[0].world.platform
            await set_platform("0.0300", state.world.platform.id)
        await state.make()
        states.append(state)
    await time_passes(states)
    machines = [state.world.machine.id for state in states]
    async with as_left_by(OLD, machines) as before:
        assert len(before["dca_machines"]) == len(STATES)
        await engine_works(states)
        for state in states:
            await state.way_out()
        await engine_works(states)
        monkeypatch.setattr(reconciliation, "CONFIRM_DELAY_SECONDS", 0)
        for state in states:
            print(type(state).__name__)
            machine = await crud.get_machine(state.world.machine.id)
            assert machine and machine.payouts_stopped_reason is None
            await state.check()
            await state.world.assert_ledger()
            report = await reconciliation.reconcile(machine.id, whole(), ENGINE)
            assert report.differences == [], type(state).__name__


def whole() -> reconciliation.Period:
    return reconciliation.Period(crud.utc_now().replace(year=2020), crud.utc_now())
