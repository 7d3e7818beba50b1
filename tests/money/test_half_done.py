"""LNbits dies between its two commits of a customer's payment: who finishes it?

A real LNbits in this process, killed (an exception that nobody handles) where it would
write the receiver's row; then time passes, and the sweep of the engine looks. Both
directions: what a machine gets, and what a machine pays a customer of this server.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.core.services import payments as lnbits_payments
from lnbits.task_manager import task_manager
from rebooked import rebook
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
from satmachineadmin.base.database import transaction
from satmachineadmin.books import statement
from satmachineadmin.models import utc_now
from satmachineadmin.money import payouts
from satmachineadmin.parties import positions_crud


async def half_paid(
    world: World, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any] | None = None
) -> str:
    """A customer's payment of 108 000 sat to the machine, cut between the commits."""
    stamp = world.stamp() if extra is None else extra
    invoice = await world.cash_out_invoice(stamp, 108_000)
    await world.fund(world.customer.wallet.id, 108_010)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(lnbits_payments, "update_payment", killed_at)
        await pay_invoice(
            wallet_id=world.customer.wallet.id, payment_request=invoice.bolt11
        )
    assert await statuses(invoice.payment_hash) == ["success", "pending"]
    return invoice.payment_hash


async def statuses(payment_hash: str) -> list[str]:
    return [row["status"] for row in await core_rows(payment_hash)]


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize("receipt", ["pending", "failed"])
async def test_a_customers_half_done_payment_is_finished_and_lands(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    is_full: bool,
    receipt: str,
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await half_paid(world, monkeypatch)
    await edit_core(
        "UPDATE apipayments SET status = :s WHERE payment_hash = :h AND amount > 0",
        s=receipt,
        h=payment_hash,
    )
    await tasks.sweep(is_full=is_full)
    # LNbits may be about to write it: nobody touches it for a minute
    assert await statuses(payment_hash) == ["success", receipt]
    assert await crud.get_settlement_by_hash(payment_hash) is None

    told: list[Any] = []
    monkeypatch.setattr(task_manager.internal_invoice_queue, "put_nowait", told.append)
    await age_core(payment_hash, minutes=2)
    await tasks.sweep(is_full=is_full)
    await tasks.sweep(is_full=is_full)
    assert [p.payment_hash for p in told].count(payment_hash) == 1
    assert await statuses(payment_hash) == ["success", "success"]
    assert (await world.settle(payment_hash)).status == "completed"
    assert await world.lps[0].balance_sats() == 100_000
    assert await balance_sats(world.customer.wallet.id) == 10
    await world.assert_ledger()


@pytest.mark.parametrize(
    ("extra", "amount_msat"),
    [({"comment": "no stamp"}, 108_000_000), (None, 108_000_001), (None, 1_080_000)],
)
async def test_what_is_no_sale_or_was_not_paid_in_full_is_left_alone(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    extra: dict[str, Any] | None,
    amount_msat: int,
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await half_paid(world, monkeypatch, extra)
    await edit_core(
        "UPDATE apipayments SET amount = :m WHERE payment_hash = :h AND amount > 0",
        m=amount_msat,
        h=payment_hash,
    )
    await age_core(payment_hash, minutes=2)
    await tasks.sweep(is_full=True)
    assert await statuses(payment_hash) == ["success", "pending"]
    assert await balance_sats(world.machine_wallet.id) == 0


async def test_a_receipt_of_another_amount_is_never_credited(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()
    payment_hash = await half_paid(world, monkeypatch)
    await age_core(payment_hash, minutes=2)
    (seen,) = await payouts.undone_receipts([payment_hash])
    assert seen.outgoing
    assert seen.incoming
    row = seen.incoming
    other = payouts.LnbitsRow(
        row.checking_id,
        row.wallet_id,
        row.amount_msat * 2,
        row.fee_msat,
        row.status,
        row.updated_at,
    )
    wrong = payouts.Observation(seen.outcome, seen.outgoing, other)
    assert not await payouts.credit_receiver(wrong)
    assert await statuses(payment_hash) == ["success", "pending"]


async def test_a_customer_who_brought_cash_is_credited_too(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await make_world()
    await world.fund(world.machine_wallet.id, 100_000)
    invoice = await create_invoice(
        wallet_id=world.customer.wallet.id, amount=92_000, memo="mine", internal=True
    )
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(lnbits_payments, "update_payment", killed_at)
        await pay_invoice(
            wallet_id=world.machine_wallet.id,
            payment_request=invoice.bolt11,
            extra=world.stamp(tx_type="cash_in"),
        )
    await age_core(invoice.payment_hash, minutes=2)
    await tasks.sweep()
    await world.settle(invoice.payment_hash)
    monkeypatch.setattr(tasks.state, "second_look", -1e9)
    await tasks.run_maintenance()
    assert await statuses(invoice.payment_hash) == ["success", "success"]
    assert await balance_sats(world.customer.wallet.id) == 92_000
    await world.assert_ledger()


async def test_a_confirmed_deposit_of_an_older_database_counts_from_its_making(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world()
    lp = await world.add_lp("300.00")
    old, young = [await world.add_deposit(lp, "50.00") for _ in range(2)]
    at = utc_now()
    for deposit, made in ((old, timedelta(days=-9)), (young, timedelta(minutes=9))):
        await update(
            "dca_deposits",
            deposit.id,
            confirmed_at=None,
            created_at=crud.db_time(at + made),
        )
    async with transaction() as conn:
        (row,) = await positions_crud.lp_positions(conn, world.machine.id, at)
    assert int(row["deposited_cents"]) == 35_000
    payment_hash = await world.cash_out(fiat="350.00")
    await world.settle(payment_hash)
    (leg,) = await world.legs(payment_hash, "dca")
    assert (leg.amount_sats, leg.amount_fiat) == (100_000, Decimal("350.00"))
    await rebook(world.machine.id)
    (said,) = await statement.lp_statement(
        lp.user.user_id, (at - timedelta(days=3)).date(), at.date()
    )
    assert (said.opening_cents, said.deposited_cents) == (5_000, 35_000)
