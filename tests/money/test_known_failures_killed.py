"""How others lost money when a process died, froze, or was two; each a test here.

Numbers as in docs/known-failures.md. The engine of this process is paused and
called by the test. To be killed at a step is a `BaseException` out of the function of
that step; the database stands as a killed process leaves it, and the next pass is the
restart. To be frozen is another engine that takes the lease over and does its work
before the step goes on. That real processes survive SIGKILL is in test_crash.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from lnbits.core.services import payments as lnbits_payments
from lnbits.core.services.payments import check_pending_payments
from lnbits.task_manager import task_manager
from world import (
    Killed,
    MakeWorld,
    World,
    age_core,
    balance_sats,
    core_rows,
    edit_core,
    killed_at,
    update,
)

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base import lease
from satmachineadmin.base.database import fetch_all, transaction
from satmachineadmin.host import paying
from satmachineadmin.money import payouts, payouts_crud, planning, rounds

Freeze = Callable[[], Awaitable[None]]


def killed_after(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The process dies as soon as this function has done its work."""

    async def run_and_die(*args: Any, **kwargs: Any) -> Any:
        await real(*args, **kwargs)
        raise Killed

    return run_and_die


async def kill(
    worker: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    *,
    after: bool = False,
) -> None:
    """One run of the engine, which ends where the process dies."""
    with monkeypatch.context() as patch:
        real = getattr(module, name)
        patch.setattr(module, name, killed_after(real) if after else killed_at)
        with pytest.raises(Killed):
            await worker.run_until_idle()


@pytest_asyncio.fixture
async def freeze(engine_paused: distribution.Worker) -> AsyncIterator[Freeze]:
    """``await freeze()``: this engine stands still, the next one does all there is to
    do, and this one wakes up without its lease."""
    ours, our_payments = distribution.INSTANCE_ID, distribution.in_flight_payments
    theirs = uuid4().hex

    async def stand_still() -> None:
        await lease.release_lease(ours)
        assert await lease.acquire_or_renew(theirs)
        distribution.INSTANCE_ID, distribution.in_flight_payments = (
            theirs,
            payouts.InFlightPayments(),
        )
        try:
            await distribution.Worker().run_until_idle()
        finally:
            distribution.INSTANCE_ID, distribution.in_flight_payments = (
                ours,
                our_payments,
            )

    yield stand_still
    await lease.release_lease(theirs)
    await tasks.renew_lease_once()


async def assert_everybody_paid(world: World, payment_hash: str) -> None:
    assert (await world.settlement(payment_hash)).status == "completed"
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    assert await world.platform_sats() == 3_000
    assert await balance_sats(world.machine_wallet.id) == 5_000
    await world.assert_ledger()


BEFORE_PAYMENT = [
    pytest.param(crud, "write_plan", True, id="plan written, not committed"),
    pytest.param(rounds, "open_round", False, id="planned"),
    pytest.param(payouts_crud, "open_payouts", True, id="payouts not committed"),
    pytest.param(paying, "create_invoice", False, id="payouts open"),
    pytest.param(paying, "pay_invoice", False, id="invoice kept"),
]


@pytest.mark.parametrize(("module", "name", "after"), BEFORE_PAYMENT)
async def test_known_failure_02_killed_after_the_row_and_before_the_payment(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    after: bool,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await kill(engine_paused, monkeypatch, module, name, after=after)
    assert await world.lps[0].balance_sats() == 0
    await world.assert_ledger()
    await engine_paused.run_until_idle()
    await assert_everybody_paid(world, payment_hash)


AFTER_PAYMENT = [
    pytest.param(paying, "pay_invoice", True, id="first of three paid"),
    pytest.param(payouts_crud, "complete_payouts", False, id="paid, not looked up"),
    pytest.param(payouts_crud, "finish_legs", True, id="completed, not committed"),
]


@pytest.mark.parametrize(("module", "name", "after"), AFTER_PAYMENT)
async def test_known_failure_03_killed_after_the_payment_and_before_the_row(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    after: bool,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    if name != "pay_invoice":
        # an outcome is looked at first thing in a pass, too: let it be the last
        await kill(engine_paused, monkeypatch, paying, "pay_invoice", after=True)
    await kill(engine_paused, monkeypatch, module, name, after=after)
    assert sum([await lp.balance_sats() for lp in world.lps]) > 0
    assert {x.status for x in await world.legs(payment_hash)} == {"pending"}
    await engine_paused.run_until_idle()
    await assert_everybody_paid(world, payment_hash)


async def test_known_failure_04_killed_between_lnbits_two_commits(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await kill(engine_paused, monkeypatch, lnbits_payments, "update_payment")
    prepared = [str(p["payment_hash"]) for p in await world.payouts()]
    (half_hash,) = [h for h in prepared if len(await core_rows(h)) == 2]
    assert [r["status"] for r in await core_rows(half_hash)] == ["success", "pending"]

    await engine_paused.run_until_idle()
    # LNbits may still be about to write it: nobody touches it for a minute
    assert [r["status"] for r in await core_rows(half_hash)] == ["success", "pending"]
    waiting = [x for x in await world.legs(payment_hash) if x.status == "pending"]
    assert [x.external_payment_hash for x in waiting] == [half_hash]

    told: list[Any] = []
    monkeypatch.setattr(task_manager.internal_invoice_queue, "put_nowait", told.append)
    await age_core(half_hash, minutes=2)
    await world.run_due()
    assert [p.payment_hash for p in told].count(half_hash) == 1
    await assert_everybody_paid(world, payment_hash)


INVOICE_MADE = [
    pytest.param(paying, "update_payment_checking_id", False, id="just made"),
    pytest.param(payouts_crud, "store_invoices", False, id="hash not stored"),
]


@pytest.mark.parametrize(("module", "name", "after"), INVOICE_MADE)
async def test_known_failure_09_killed_between_the_invoice_and_its_hash(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    after: bool,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await kill(engine_paused, monkeypatch, module, name, after=after)
    # nothing says "in progress" without a hash to ask LNbits about
    assert {p["status"] for p in await world.payouts()} == {"new"}
    assert {x.external_payment_hash for x in await world.legs(payment_hash)} == {None}
    await check_pending_payments()
    await engine_paused.run_until_idle()
    await assert_everybody_paid(world, payment_hash)


async def test_known_failure_31_lnbits_checks_leave_a_prepared_invoice_alone(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    client: httpx.AsyncClient,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await kill(engine_paused, monkeypatch, paying, "pay_invoice")
    prepared = [str(p["payment_hash"]) for p in await world.payouts()]
    for _ in range(2):
        await check_pending_payments()
        for leg_hash in prepared:
            await client.get(f"/api/v1/payments/{leg_hash}")
    for leg_hash in prepared:
        assert [r["status"] for r in await core_rows(leg_hash)] == ["pending"]
    await engine_paused.run_until_idle()
    assert [str(p["payment_hash"]) for p in await world.payouts()] == prepared
    await assert_everybody_paid(world, payment_hash)


async def test_known_failure_31_an_invoice_that_died_all_the_same_is_made_anew(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await kill(engine_paused, monkeypatch, paying, "pay_invoice")
    dead = str((await world.payouts())[0]["payment_hash"])
    await edit_core(
        "UPDATE apipayments SET status = 'failed' WHERE payment_hash = :hash", hash=dead
    )
    await engine_paused.run_until_idle()
    waiting = [x for x in await world.legs(payment_hash) if x.status == "pending"]
    assert [(x.attempts, x.error_message) for x in waiting] == [
        (1, "LNbits gave the invoice up before it was paid.")
    ]
    await world.run_due()
    await assert_everybody_paid(world, payment_hash)


async def test_known_failure_31_a_slow_check_overwrote_a_paid_row(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    for leg in await world.legs(payment_hash):
        await edit_core(
            "UPDATE apipayments SET status = 'failed' "
            "WHERE payment_hash = :hash AND amount > 0",
            hash=leg.external_payment_hash,
        )
        await age_core(str(leg.external_payment_hash), minutes=2)
    assert [await lp.balance_sats() for lp in world.lps] == [0, 0]
    tasks.state.second_look = float("-inf")
    await tasks.run_maintenance()
    await assert_everybody_paid(world, payment_hash)
    tasks.state.second_look = float("-inf")
    await tasks.run_maintenance()
    await assert_everybody_paid(world, payment_hash)


async def test_known_failure_31_a_check_of_another_process_overwrote_a_cash_out(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """Seen with FakeWallet: a second process boots, knows nothing of the payment, and
    calls the machine's paid invoice failed."""
    world = await make_world()
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    held = await balance_sats(world.machine_wallet.id)
    await edit_core(
        "UPDATE apipayments SET status = 'failed' "
        "WHERE payment_hash = :hash AND amount > 0",
        hash=payment_hash,
    )
    await age_core(payment_hash, minutes=2)
    assert await balance_sats(world.machine_wallet.id) == held - 108_000
    tasks.state.second_look = float("-inf")
    await tasks.run_maintenance()
    assert await balance_sats(world.machine_wallet.id) == held


async def test_known_failure_32_a_frozen_worker_wakes_up_and_pays_its_older_invoice(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    freeze: Freeze,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = payouts_crud.store_invoices

    async def stored_and_frozen(made: Any, holder: str) -> Any:
        monkeypatch.setattr(payouts_crud, "store_invoices", real)
        stored = await real(made, holder)
        assert len(stored) == 3
        await freeze()
        return stored

    monkeypatch.setattr(payouts_crud, "store_invoices", stored_and_frozen)
    await engine_paused.run_until_idle()
    await assert_everybody_paid(world, payment_hash)


async def test_known_failure_32_a_frozen_worker_overwrites_no_stored_hash(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    freeze: Freeze,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    real = payouts_crud.store_invoices
    older: list[str] = []

    async def frozen_with_an_invoice(made: Any, holder: str) -> Any:
        monkeypatch.setattr(payouts_crud, "store_invoices", real)
        older.extend(str(p.payment_hash) for p in made)
        await freeze()
        return await real(made, holder)

    monkeypatch.setattr(payouts_crud, "store_invoices", frozen_with_an_invoice)
    await engine_paused.run_until_idle()
    assert older
    stored = {p["payment_hash"] for p in await world.payouts()}
    assert stored.isdisjoint(older)
    for leg_hash in older:
        assert [r["status"] for r in await core_rows(leg_hash)] == ["pending"]
    await assert_everybody_paid(world, payment_hash)


async def test_known_failure_32_a_frozen_worker_frees_no_leg_that_is_being_paid(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    freeze: Freeze,
) -> None:
    """It found two wallets unfit, and slept while they were mended and paid."""
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    gone, self_paid = world.lps
    await kill(engine_paused, monkeypatch, rounds, "open_round")
    await set_deleted(gone.wallet.id, True)
    await update(
        "dca_lp",
        self_paid.user.user_id,
        key="user_id",
        dca_wallet_id=world.machine_wallet.id,
    )
    real = rounds.plan_batch

    async def decided_and_frozen(wallet_id: str, *args: Any) -> Any:
        found = await real(wallet_id, *args)
        if wallet_id != world.machine_wallet.id:
            return found
        monkeypatch.setattr(rounds, "plan_batch", real)
        assert (len(found.unpayable), len(found.skipped)) == (1, 1)
        await set_deleted(gone.wallet.id, False)
        await update(
            "dca_lp",
            self_paid.user.user_id,
            key="user_id",
            dca_wallet_id=self_paid.wallet.id,
        )
        with monkeypatch.context() as patch:
            # the next engine is cut short with its invoices kept and not yet paid
            patch.setattr(paying, "pay_invoice", killed_at)
            with pytest.raises(Killed):
                await freeze()
        return found

    monkeypatch.setattr(rounds, "plan_batch", decided_and_frozen)
    await engine_paused.run_pass()
    legs = await world.legs(payment_hash, "dca")
    assert all(x.payout_id and x.status == "pending" for x in legs)
    assert [x.attempts for x in legs] == [0, 0]
    await freeze()
    await assert_everybody_paid(world, payment_hash)


async def set_deleted(wallet_id: str, is_deleted: bool) -> None:
    await edit_core(
        "UPDATE wallets SET deleted = :deleted WHERE id = :id",
        deleted=is_deleted,
        id=wallet_id,
    )


async def test_only_the_holder_of_the_lease_plans_pays_and_keeps_invoices(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    landed = await world.landed(payment_hash)
    stranger = uuid4().hex
    assert await lease.acquire_or_renew(stranger) is False
    assert await planning.plan_settlement(landed.id, stranger) is False
    assert (await world.settlement(payment_hash)).status == "pending"
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "INSTANCE_ID", stranger)
        await engine_paused.run_until_idle()
    assert await world.legs(payment_hash) == []

    await kill(engine_paused, monkeypatch, payouts_crud, "store_invoices")
    opened = await payouts_crud.unfinished_payouts()
    ours = {p["id"] for p in await world.payouts()}
    made = [
        p.copy(update={"payment_hash": uuid4().hex * 2, "bolt11": "lnbc1"})
        for p in opened
        if p.id in ours
    ]
    assert len(made) == 3
    assert await payouts_crud.store_invoices(made, stranger) == []
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "INSTANCE_ID", stranger)
        await engine_paused.run_until_idle()
    assert {p["status"] for p in await world.payouts()} == {"new"}

    await engine_paused.run_until_idle()
    settled = await world.settlement(payment_hash)
    assert settled.processing_claim == distribution.INSTANCE_ID
    await assert_everybody_paid(world, payment_hash)


async def test_a_dead_engines_lease_is_taken_over_when_its_minute_is_over(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await kill(engine_paused, monkeypatch, paying, "pay_invoice", after=True)
    successor = uuid4().hex
    assert await lease.acquire_or_renew(successor) is False
    state = await lease.lease_state()
    assert 0 < state["seconds_left"] <= lease.LEASE_SECONDS
    with monkeypatch.context() as patch:
        # from here on the background renews the lease for the successor
        patch.setattr(distribution, "INSTANCE_ID", successor)
        await update("dca_lease", "engine", expires_epoch=0)
        assert await lease.acquire_or_renew(successor)
        await engine_paused.run_until_idle()
        await assert_everybody_paid(world, payment_hash)
    await lease.release_lease(successor)
    await tasks.renew_lease_once()


async def test_a_lease_from_a_clock_that_was_set_back_blocks_nobody(
    engine_paused: distribution.Worker,
) -> None:
    async with transaction() as conn:
        (row,) = await fetch_all(
            conn, "SELECT expires_epoch FROM satoshimachine.dca_lease"
        )
    await update(
        "dca_lease",
        "engine",
        holder="yesterday",
        expires_epoch=row["expires_epoch"] * 2,
    )
    assert await lease.acquire_or_renew(distribution.INSTANCE_ID)
    assert await lease.holds_lease(distribution.INSTANCE_ID)
