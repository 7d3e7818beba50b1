"""How others lost money by whose payment it was and what was said of it.

Numbers as in docs/known-failures.md. A real LNbits in this process, with our
listener, sweep and engine; LNbits' rows are edited by hand only where a crash, a slow
check or the passing of time would have left them so. The listener is made deaf by
patching what it asks first.
"""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from bolt11 import decode as bolt11_decode
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.helpers import urlsafe_short_hash
from lnurl_server import LnurlServer
from sqlalchemy.exc import OperationalError
from unheard import change_wallet, deaf_listener, received, second_machine
from world import (
    MakeWorld,
    World,
    age_core,
    balance_sats,
    core_rows,
    edit_core,
    insert,
    killed_at,
)

from satmachineadmin import bitspire, crud, distribution, tasks
from satmachineadmin.base import rates_crud
from satmachineadmin.base.audit import ENGINE
from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.desk import reconciliation
from satmachineadmin.host.limits import reserve_sats
from satmachineadmin.line.requests_crud import Attempt
from satmachineadmin.models import Machine, utc_now
from satmachineadmin.money import landing
from satmachineadmin.money.funds import free_sats


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
    await tasks.sweep()
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
    await tasks.sweep(is_full=True)
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
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
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
    with monkeypatch.context() as patch:
        patch.setattr(landing, "land_payment", killed_at)  # it is known by now
        await tasks.sweep(is_full=True)
    await distribution.worker.run_until_idle()
    assert await crud.legs_of(second.id) == []
    assert await a.lps[0].balance_sats() == 100_000
    monkeypatch.setattr(reconciliation, "SETTLING_WINDOW", timedelta(0))
    period = reconciliation.Period(
        utc_now() - timedelta(days=1), utc_now() + timedelta(minutes=1)
    )
    for world in (a, b):
        report = await reconciliation.reconcile(world.machine.id, period, ENGINE)
        assert report.differences == []
    await a.assert_ledger()
    await b.assert_ledger()


@pytest.mark.parametrize("whose", ["a sale", "a customer's cash-in"])
async def test_known_failure_36_a_target_hands_out_an_invoice_that_is_not_its_own(
    make_world: MakeWorld, engine_paused: distribution.Worker, whose: str
) -> None:
    """Paid as a payout of ours, machine B's sale would never land, and B has given its
    customer the cash; a cash-in's invoice would count for two debts."""
    a = await make_world(deposits=["300.00"])
    b = await second_machine(a, make_world)
    async with LnurlServer() as shop:
        await a.add_split(shop.target, "1.0000", kind="lnurl")
        await a.settle(payment_hash := await a.cash_out())
        sats = 5_000 - reserve_sats(5_000, False)
        if whose == "a sale":
            stamp = b.stamp(principal=sats - 100, fee=100, fiat="9.80")
            invoice = await b.cash_out_invoice(stamp)
            shop.always_pr = str(invoice.bolt11)
        else:
            shop.always_pr = await shop.invoice(sats)
            await add_attempt(b, shop.always_pr)
        await a.run_due()
    (leg,) = await a.legs(payment_hash, "operator_split")
    assert (leg.status, leg.attempts) == ("pending", 1)
    why = "a machine's own invoice" if whose == "a sale" else "used before"
    assert why in str(leg.error_message)
    if whose == "a sale":
        await a.fund(a.customer.wallet.id, sats)
        await pay_invoice(
            wallet_id=a.customer.wallet.id, payment_request=shop.always_pr
        )
        await b.landed(invoice.payment_hash)
    await a.assert_ledger()


async def test_known_failure_36_a_second_side_that_came_in_is_reserved_once(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await make_world()
    b = await second_machine(a, make_world)
    await a.fund(b.machine_wallet.id, 200_000)
    invoice = await a.cash_out_invoice(a.stamp())
    fields = b.stamp(principal=110_000, fee=2_000, fiat="220.00", tx_type="cash_in")
    async with deaf_listener(monkeypatch):
        await pay_invoice(
            wallet_id=b.machine_wallet.id, payment_request=invoice.bolt11, extra=fields
        )
    assert await landing.land_payment(await b.core_payment(invoice.payment_hash))
    await tasks.sweep()
    second = await a.settlement(f"{invoice.payment_hash}:{a.machine.id}")
    assert (second.status, second.wire_sats) == ("quarantined", 108_000)
    assert await free_sats(a.machine_wallet.id) == 0


async def add_attempt(world: World, bolt11: str) -> None:
    """A customer's cash-in at this machine, about to be paid to that invoice."""
    attempt = Attempt(
        payment_hash=bolt11_decode(bolt11).payment_hash,
        machine_id=world.machine.id,
        txid=urlsafe_short_hash(),
        wallet_id=world.machine_wallet.id,
        wire_sats=1,
        destination=f"bolt11:{bolt11}",
        bolt11=bolt11,
        created_at=utc_now(),
    )
    await insert("dca_machine_attempts", attempt)


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
    await tasks.sweep()
    settlement = await world.until(invoice.payment_hash, "completed")
    assert settlement.transaction_time
    assert abs((settlement.transaction_time - utc_now()).total_seconds()) < 600


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
        await tasks.sweep()
        settlement = await world.until(payment_hash, "completed")
    finally:
        monkeypatch.delenv("TZ")
        if was is not None:
            os.environ["TZ"] = was
        time.tzset()
    assert settlement.transaction_time
    assert abs((settlement.transaction_time - utc_now()).total_seconds()) < 600
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
        await tasks.sweep()
        assert await world.settlement_count() == 2
    await tasks.sweep(is_full=True)
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


async def test_known_failure_44_a_first_sale_in_cents_does_not_lock_the_machine_up(
    make_world: MakeWorld,
) -> None:
    """No usual rate is known yet: the market's price holds the wrong one back."""
    world = await make_world(deposits=["300.00"])
    price = Decimal(100_000_000) / 500
    async with transaction() as conn:
        await rates_crud.keep_price(conn, world.machine.fiat_code, price, utc_now())
    try:
        wrong_hash = await world.cash_out(fiat="20000.00")
        wrong = await world.until(wrong_hash, "quarantined")
        await world.until(await world.cash_out(fiat="200.00"), "completed")
        figures = world.stamp(fiat="200.00") | {"reason": "seen on the receipt"}
        path = f"/settlements/{wrong.id}/resolve"
        answer = await world.operator.api.post(path, json=figures)
        assert answer.status_code == 200, answer.text
        await world.until(wrong_hash, "completed")
        await world.assert_ledger()
    finally:
        async with transaction() as conn:
            await execute(conn, "DELETE FROM satoshimachine.dca_prices", {})


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
        await execute(
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


UNREADABLE = {
    "no json": "bitspire {",
    "a nest of five thousand": '{"source": "bitspire", "n": %s}'
    % ("[" * 5_000 + "]" * 5_000),
    "not an object": '["bitspire"]',
    "a text": '"bitspire"',
}


async def test_known_failure_38_a_row_that_cannot_even_be_read_stops_none_behind_it(
    make_world: MakeWorld,
) -> None:
    """LNbits' own reader of the row raises: nothing of it can be known."""
    world = await make_world(deposits=["300.00"])
    sql = "UPDATE apipayments SET extra = :extra WHERE payment_hash = :hash"
    hashes = []
    for extra in UNREADABLE.values():
        hashes.append(await received(world, world.stamp()))
        await edit_core(sql, extra=extra, hash=hashes[-1])
    good = await received(world, world.stamp())
    await tasks.sweep(is_full=True)
    await world.until(good, "completed")
    # whoever mends the row will see it land
    for payment_hash in hashes:
        await edit_core(sql, extra=json.dumps(world.stamp()), hash=payment_hash)
    await tasks.sweep(is_full=True)
    for payment_hash in hashes:
        await world.until(payment_hash, "completed")
    await world.assert_ledger()
