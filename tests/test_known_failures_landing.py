"""How others lost money before a settlement was even written down; each a test here.

The numbers are those of 80-known-failures.md. A real LNbits in this process, with our
listener, sweep and engine; LNbits' rows are edited by hand only where a crash, a slow
check or the passing of time would have left them so. The listener is made deaf by
patching what it asks first.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from lnbits.core.crud.payments import create_payment
from lnbits.core.models import CreatePayment, PaymentState
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.helpers import urlsafe_short_hash
from sqlalchemy.exc import OperationalError
from world import (
    MakeWorld,
    World,
    age_core,
    balance_sats,
    core_rows,
    edit_core,
    insert,
    update,
)

from satmachineadmin import bitspire, crud, distribution, landing, tasks
from satmachineadmin.database import db_time, run, transaction
from satmachineadmin.models import Machine, utc_now

from conftest import wait_for

ROOT = Path(__file__).resolve().parent.parent


@asynccontextmanager
async def deaf_listener(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """LNbits' queue forgets what is paid in here, as when the process dies."""
    heard_before = tasks.state.listener_at
    with monkeypatch.context() as patch:
        patch.setattr(bitspire, "is_bitspire_payment", lambda _: False)
        yield
        await wait_for(lambda: tasks.state.listener_at != heard_before)


async def received(
    world: World, extra: dict[str, Any], sats: int = 108_000, wallet_id: str = ""
) -> str:
    """A successful payment into the machine's wallet that no listener heard of."""
    payment_hash = uuid4().hex + uuid4().hex
    await create_payment(
        checking_id=f"internal_{payment_hash}",
        data=CreatePayment(
            wallet_id=wallet_id or world.machine_wallet.id,
            bolt11="",
            payment_hash=payment_hash,
            amount_msat=sats * 1000,
            memo="from outside",
            extra=extra,
        ),
        status=PaymentState.SUCCESS,
    )
    return payment_hash


async def second_machine(world: World, make_world: MakeWorld, **fields: Any) -> World:
    """Another operator's machine, with the same platform wallet."""
    other = await make_world(**fields)
    await update("super_config", "default", super_fee_wallet_id=world.platform.id)
    other.platform = world.platform
    return other


async def test_known_failure_01_one_payment_delivered_five_times_at_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    async with deaf_listener(monkeypatch):
        payment_hash = await world.cash_out()
    payment = await world.core_payment(payment_hash)
    landed = await asyncio.gather(
        tasks.on_invoice_paid(payment.copy(deep=True)),
        tasks.sweep(),
        landing.land_payment(payment.copy(deep=True)),
        tasks.sweep(is_full=True),
        tasks.on_invoice_paid(payment.copy(deep=True)),
        landing.land_payment(payment.copy(deep=True)),
    )
    new = [x for x in landed if isinstance(x, landing.Landed) and x.is_new]
    assert len(new) <= 1
    await world.until(payment_hash, "completed")
    again = await landing.land_payment(payment)
    assert again
    assert not again.is_new
    assert await tasks.sweep(is_full=True) == 0
    settlement = await world.settlement(payment_hash)
    assert await world.settlement_count() == 1
    assert len(await world.legs(payment_hash)) == 3
    assert settlement.status == "completed"
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    await world.assert_ledger()


async def test_known_failure_05_the_listener_died_and_the_sweep_lands_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00"])
    async with deaf_listener(monkeypatch):
        payment_hash = await world.cash_out()
        assert await crud.get_settlement_by_hash(payment_hash) is None
    assert await tasks.sweep() == 1
    await world.until(payment_hash, "completed")
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()


async def test_known_failure_06_nobody_to_pay_is_a_row_and_a_rerun_does_nothing(
    make_world: MakeWorld,
) -> None:
    world = await make_world(super_fraction="0.0000", operator_fraction="0.0000")
    payment_hash = await world.cash_out(fee=0, principal=108_000)
    first = await world.until(payment_hash, "completed")
    assert await world.legs(payment_hash) == []
    assert first.retained_sats == 108_000
    for _ in range(3):
        await tasks.sweep(is_full=True)
        await distribution.process_settlement(first.id)
    assert await world.settlement(payment_hash) == first
    assert await world.legs(payment_hash) == []
    assert await balance_sats(world.machine_wallet.id) == 108_000
    await world.assert_ledger()


async def test_known_failure_12_two_currencies_are_two_balances(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    lp = await world.add_lp("300.00", mode="fixed", daily_limit="150.00")
    dollars = await second_machine(world, make_world, fiat_code="USD")
    same_lp = await dollars.add_lp("40.00", user=lp.user, has_profile=False)
    payment_hash = await dollars.cash_out(fiat="200.00")
    await dollars.until(payment_hash, "completed")
    legs = await dollars.legs(payment_hash, "dca")
    assert [(x.amount_fiat, x.amount_sats) for x in legs] == [(40, 20_000)]
    assert await world.remaining(lp) == 300
    assert await dollars.remaining(same_lp) == 0
    # what was bought in dollars leaves the daily limit in quetzales as it was
    payment_hash = await world.cash_out(fiat="200.00")
    await world.until(payment_hash, "completed")
    assert [x.amount_fiat for x in await world.legs(payment_hash, "dca")] == [150]
    await world.assert_ledger()
    await dollars.assert_ledger()


def test_known_failure_15_no_statement_that_only_sqlite_takes() -> None:
    for path in ROOT.glob("*.py"):
        text = path.read_text().upper()
        assert "INSERT OR IGNORE" not in text, path.name
        assert "INSERT OR REPLACE" not in text, path.name


async def test_known_failure_15_times_survive_the_database(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    before = utc_now() - timedelta(seconds=2)
    payment_hash = await world.cash_out()
    settlement = await world.until(payment_hash, "completed")
    (leg,) = await world.legs(payment_hash, "dca")
    times = [settlement.transaction_time, settlement.created_at]
    times += [settlement.planned_at, settlement.processed_at, leg.completed_at]
    for moment in times:
        assert moment is not None
        assert moment.tzinfo is not None
        assert before <= moment <= utc_now() + timedelta(seconds=2)
    assert leg.transaction_time == settlement.transaction_time


async def test_known_failure_16_the_watermark_waits_for_a_failed_query(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00"])
    await tasks.sweep()
    watermark = await crud.get_cursor("sweep")
    payment_hash = await received(world, world.stamp())

    async def broken(*_: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("the disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "_payments_page", broken)
        await tasks.sweep_once()
        assert "disk is full" in str(tasks.state.sweep_error)
    assert await crud.get_cursor("sweep") == watermark
    await tasks.sweep_once()
    assert tasks.state.sweep_error is None
    await world.until(payment_hash, "completed")


async def test_known_failure_16_a_commit_that_came_late_is_not_behind_the_watermark(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00", "300.00"])
    await tasks.sweep()
    late = await received(world, world.stamp())
    await age_core(late, minutes=10)
    assert await tasks.sweep() == 1
    very_late = await received(world, world.stamp())
    await age_core(very_late, minutes=180)
    await tasks.sweep()
    assert await crud.get_settlement_by_hash(very_late) is None
    assert await tasks.sweep(is_full=True) == 1
    await world.until(very_late, "completed")
    await world.until(late, "completed")
    await world.assert_ledger()


async def test_known_failure_16_pages_lose_nothing_where_they_meet(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["9000.00"])
    monkeypatch.setattr(tasks, "PAGE", 2)
    hashes = [await received(world, world.stamp()) for _ in range(7)]
    # one commit wrote five of them: the same time to the microsecond
    at = db_time(utc_now())
    for payment_hash in hashes[1:6]:
        await edit_core(
            "UPDATE apipayments SET updated_at = :at WHERE payment_hash = :hash",
            at=at,
            hash=payment_hash,
        )
    assert await tasks.sweep() == 7
    for payment_hash in hashes:
        await world.until(payment_hash, "completed")
    await world.assert_ledger()


async def test_known_failure_19_a_pays_b_pays_a_ends_where_it_began(
    make_world: MakeWorld,
) -> None:
    a = await make_world()
    b = await second_machine(a, make_world)
    await a.add_split(b.machine_wallet.id, "1.0000", wallet_id=b.machine_wallet.id)
    await b.add_split(a.machine_wallet.id, "1.0000", wallet_id=a.machine_wallet.id)
    payment_hash = await a.cash_out()
    await a.until(payment_hash, "completed")
    await tasks.sweep(is_full=True)
    await distribution.worker.run_until_idle()
    for world, settlements in ((a, 1), (b, 0)):
        assert await world.settlement_count() == settlements
    assert await balance_sats(b.machine_wallet.id) == 5_000
    await a.assert_ledger()


async def change_wallet(world: World) -> str:
    """The machine gets another wallet, as its operator may when nothing is open."""
    wallet = await world.make_wallet(world.operator, "new machine wallet")
    old = world.machine_wallet
    await update("dca_machines", world.machine.id, wallet_id=wallet.id)
    async with transaction() as conn:
        await run(
            conn,
            "INSERT INTO satoshimachine.dca_machine_wallets "
            "(wallet_id, machine_id, since_at) VALUES (:w, :m, :t)",
            {"w": wallet.id, "m": world.machine.id, "t": db_time(utc_now())},
        )
    world.machine_wallet = wallet
    return old.id


async def test_known_failure_33_the_wallet_that_owes_is_the_wallet_that_pays(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["500.00"], payout_interval_minutes=60)
    owed = await world.cash_out()
    await world.settle(owed)  # planned; the LP's leg waits for the hour to end
    assert [x.status for x in await world.legs(owed, "dca")] == ["pending"]
    not_landed = await received(world, world.stamp())
    old_wallet_id = await change_wallet(world)
    await world.fund(world.machine_wallet.id, 500_000)
    assert await tasks.sweep() == 1
    assert (await world.settlement(not_landed)).wallet_id == old_wallet_id
    await world.run_due()
    await world.run_due()
    for payment_hash in (owed, not_landed):
        assert (await world.settlement(payment_hash)).status == "completed"
    assert await balance_sats(world.machine_wallet.id) == 500_000
    assert await balance_sats(old_wallet_id) == 10_000  # the operator's fee, no splits
    assert await world.lps[0].balance_sats() == 200_000
    await world.assert_ledger()


async def test_known_failure_35_our_own_payout_is_stamped_by_who_received_it(
    make_world: MakeWorld,
) -> None:
    a = await make_world(deposits=["300.00"])
    b = await second_machine(a, make_world)
    await a.add_split(b.machine_wallet.id, "1.0000", wallet_id=b.machine_wallet.id)
    payment_hash = await a.cash_out()
    await a.until(payment_hash, "completed")
    (leg,) = await a.legs(payment_hash, "operator_split")
    for world, fields in (
        (b, b.stamp(principal=4_900, fee=100, fiat="9.80")),
        (a, a.stamp(principal=5_100, fee=100, fiat="9.80", tx_type="cash_in")),
    ):
        answer = await world.operator.core.patch(
            "/api/v1/payments/extra",
            headers={"X-Api-Key": world.machine_wallet.adminkey},
            json={"payment_hash": leg.external_payment_hash, "extra": fields},
        )
        assert answer.status_code == 200, answer.text
    assert await tasks.sweep(is_full=True) == 0
    for row in await core_rows(str(leg.external_payment_hash)):
        assert bitspire.SOURCE in str(row["extra"])
    report = b.stamp(principal=4_900, fee=100, fiat="9.80")
    payment = await b.core_payment(str(leg.external_payment_hash))
    assert await landing.land_payment(payment, report=report) is None
    assert await b.settlement_count() == 0


async def test_known_failure_35_a_top_up_reported_as_a_settlement_waits_for_a_person(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await received(world, {})
    payment = await world.core_payment(payment_hash)
    landed = await landing.land_payment(payment, report=world.stamp())
    assert landed
    assert landed.settlement.status == "quarantined"
    assert "does not carry its stamp" in str(landed.settlement.error_message)
    await distribution.worker.run_until_idle()
    assert await world.legs(payment_hash) == []


async def test_known_failure_36_one_hash_with_two_sides(
    make_world: MakeWorld,
) -> None:
    a = await make_world(deposits=["300.00"])
    b = await second_machine(a, make_world)
    await a.fund(b.machine_wallet.id, 200_000)
    invoice = await a.cash_out_invoice(a.stamp())
    # B's customer shows A's invoice to B, and B pays it as a cash-in of its own
    await pay_invoice(
        wallet_id=b.machine_wallet.id,
        payment_request=invoice.bolt11,
        extra=b.stamp(principal=110_000, fee=2_000, fiat="220.00", tx_type="cash_in"),
    )
    await tasks.sweep()
    await a.until(invoice.payment_hash, "completed")
    second = await a.settlement(f"{invoice.payment_hash}:{b.machine.id}")
    assert (second.machine_id, second.status) == (b.machine.id, "quarantined")
    assert "another machine" in str(second.error_message)
    assert await tasks.sweep(is_full=True) == 0
    await distribution.worker.run_until_idle()
    assert await crud.legs_of(second.id) == []
    assert await a.lps[0].balance_sats() == 100_000
    await a.assert_ledger()
    await b.assert_ledger()


async def test_known_failure_37_made_at_10_00_and_paid_at_10_59_with_nobody_listening(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["300.00"])
    await tasks.sweep()
    invoice = await world.cash_out_invoice(world.stamp())
    an_hour_ago = db_time(utc_now() - timedelta(minutes=59))
    await edit_core(
        "UPDATE apipayments SET created_at = :at, time = :at "
        "WHERE payment_hash = :hash",
        at=an_hour_ago,
        hash=invoice.payment_hash,
    )
    await world.fund(world.customer.wallet.id, 108_000)
    async with deaf_listener(monkeypatch):
        await pay_invoice(
            wallet_id=world.customer.wallet.id, payment_request=invoice.bolt11
        )
    assert await tasks.sweep() == 1
    settlement = await world.until(invoice.payment_hash, "completed")
    assert settlement.transaction_time
    assert abs((settlement.transaction_time - utc_now()).total_seconds()) < 60


@pytest.mark.parametrize("zone", ["America/Guatemala", "Pacific/Kiritimati"])
async def test_known_failure_37_a_server_in_another_time_zone(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    was = os.environ.get("TZ")
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        world = await make_world(deposits=["300.00"])
        await tasks.sweep()
        async with deaf_listener(monkeypatch):
            payment_hash = await world.cash_out()
        assert await tasks.sweep() == 1
        settlement = await world.until(payment_hash, "completed")
    finally:
        monkeypatch.delenv("TZ")
        if was is not None:
            os.environ["TZ"] = was
        time.tzset()
    assert settlement.transaction_time
    assert abs((settlement.transaction_time - utc_now()).total_seconds()) < 60
    assert await world.lps[0].balance_sats() == 100_000


NASTY_STAMPS: dict[str, dict[str, Any]] = {
    "nothing else": {"source": "bitspire"},
    "a huge fiat amount": {"fiat_amount": 1e12},
    "a fiat amount beyond every column": {"fiat_amount": "9" * 40},
    "infinite fiat": {"fiat_amount": "Infinity"},
    "no number": {"fiat_amount": "NaN", "exchange_rate": "NaN"},
    "text for sats": {"principal_sats": "100000"},
    "a bool for sats": {"principal_sats": True},
    "more sats than there are": {"principal_sats": 10**30, "fee_sats": 10**30},
    "null everywhere": dict.fromkeys(
        ("principal_sats", "fee_sats", "fiat_amount", "fiat_code", "txid", "bills")
    ),
    "a NUL character": {"txid": "a\x00b", "fiat_code": "G\x00T", "bills": {"\x00": 1}},
    "half a surrogate": {"fiat_code": "\ud800", "cassettes": {"\udfff": "\ud800"}},
    "markup": {"txid": "<script>alert(1)</script>&amp;", "fiat_amount": "12.345"},
    "a deep nest": {"bills": json.loads("[" * 60 + "]" * 60), "fiat_amount": 0},
    "a direction that is not": {"tx_type": "cash_sideways"},
    "the other direction": {"tx_type": "cash_in"},
    "another currency": {"fiat_code": "USD"},
    "a fiat invoice": {"fiat_currency": "GTQ"},
    "a list for a stamp field": {"fiat_amount": [1], "dispense": {"no": "no"}},
}


async def test_known_failure_38_a_stamp_that_cannot_be_kept_stalls_nobody(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    await world.until(await world.cash_out(), "completed")  # what is usual here
    hashes = {}
    for name, fields in NASTY_STAMPS.items():
        extra = (
            {"source": "bitspire"}
            if len(fields) == 1 and "source" in fields
            else {
                **world.stamp(),
                **fields,
            }
        )
        hashes[name] = await received(world, extra)
    good = await received(world, world.stamp())
    await tasks.sweep(is_full=True)
    await world.until(good, "completed")
    for name, payment_hash in hashes.items():
        settlement = await crud.get_settlement_by_hash(payment_hash)
        assert settlement, f"{name} was dropped"
        assert settlement.status == "quarantined", name
        assert settlement.error_message, name
        assert settlement.stamp_json, name
        assert (settlement.platform_fee_sats, settlement.operator_fee_sats) == (0, 0)
        assert await crud.legs_of(settlement.id) == []
    assert await world.lps[0].balance_sats() == 150_000
    await world.assert_ledger()


async def test_known_failure_38_one_row_that_cannot_land_stops_none_behind_it(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(deposits=["900.00"])
    hashes = [await received(world, world.stamp()) for _ in range(3)]
    real = crud.insert_settlement

    async def insert_settlement(conn: Any, settlement: Any) -> bool:
        if settlement.payment_hash == hashes[0]:
            raise OperationalError("INSERT", {}, Exception("no"))
        return await real(conn, settlement)

    with monkeypatch.context() as patch:
        patch.setattr(crud, "insert_settlement", insert_settlement)
        assert await tasks.sweep() == 2
    assert await tasks.sweep(is_full=True) == 1
    for payment_hash in hashes:
        await world.until(payment_hash, "completed")


async def test_known_failure_44_cents_where_units_were_meant_wait_for_a_person(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["90000.00"])
    for _ in range(3):
        await world.until(await world.cash_out(), "completed")
    payment_hash = await world.cash_out(fiat="20000.00")
    settlement = await world.until(payment_hash, "quarantined")
    assert "cents instead of units" in str(settlement.error_message)
    assert await world.legs(payment_hash) == []
    assert await world.remaining(world.lps[0]) == 90_000 - 600
    await world.assert_ledger()


async def test_a_deactivated_machine_lands_quarantined(make_world: MakeWorld) -> None:
    world = await make_world(deposits=["300.00"], is_active=False)
    payment_hash = await world.cash_out()
    settlement = await world.until(payment_hash, "quarantined")
    assert settlement.error_message == "This machine is deactivated."
    assert settlement.platform_fee_sats == 3_000  # locked at landing all the same
    assert await world.legs(payment_hash) == []


async def test_an_unstamped_or_unpaid_payment_is_not_ours(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00"])
    top_up = await received(world, {"comment": "bitspire"})
    elsewhere = await received(world, world.stamp(), wallet_id=world.customer.wallet.id)
    unpaid = await world.cash_out_invoice(world.stamp())
    await tasks.sweep(is_full=True)
    for payment_hash in (top_up, elsewhere, unpaid.payment_hash):
        assert await crud.get_settlement_by_hash(payment_hash) is None
    assert await landing.land_payment(unpaid) is None


async def test_a_wallet_that_served_two_machines_lands_for_the_one_of_that_time(
    make_world: MakeWorld,
) -> None:
    world = await make_world()
    successor = Machine(
        id=urlsafe_short_hash(),
        operator_user_id=world.operator.user_id,
        machine_npub=urlsafe_short_hash(),
        wallet_id=world.machine_wallet.id,
    )
    await change_wallet(world)
    await insert("dca_machines", successor)
    async with transaction() as conn:
        await run(
            conn,
            "INSERT INTO satoshimachine.dca_machine_wallets "
            "(wallet_id, machine_id, since_at) VALUES (:w, :m, :t)",
            {
                "w": successor.wallet_id,
                "m": successor.id,
                "t": db_time(utc_now() - timedelta(hours=1)),
            },
        )
    before = await received(world, world.stamp(), wallet_id=successor.wallet_id)
    await age_core(before, minutes=120)
    after = await received(world, world.stamp(), wallet_id=successor.wallet_id)
    await tasks.sweep(is_full=True)
    assert (await world.settlement(before)).machine_id == world.machine.id
    assert (await world.settlement(after)).machine_id == successor.id


async def test_landing_is_acknowledged_before_anything_is_paid(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    invoice = await create_invoice(
        wallet_id=world.machine_wallet.id,
        amount=108_000,
        memo="cash out",
        extra=world.stamp(),
    )
    await world.fund(world.customer.wallet.id, 108_000)
    started = time.monotonic()
    await pay_invoice(
        wallet_id=world.customer.wallet.id, payment_request=invoice.bolt11
    )
    landed = await world.landed(invoice.payment_hash)
    print(f"landed {(time.monotonic() - started) * 1000:.0f} ms after the payment")
    assert landed.status == "pending"
    assert await world.legs(invoice.payment_hash) == []
    assert await world.payouts() == []
    assert (await world.settle(invoice.payment_hash)).status == "completed"
