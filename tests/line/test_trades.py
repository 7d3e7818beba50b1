"""Whole trades over the line: from `quote` to everybody paid, over real relays."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial

from line_world import BILLS, RATE, MakeOnLine, OnLine
from lnbits.core.crud import get_standalone_payment
from world import balance_sats, update

from satmachineadmin import crud, tasks
from satmachineadmin.base.database import db_time
from satmachineadmin.models import utc_now

from conftest import wait_for


async def test_cash_out_from_quote_to_everybody_paid(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00", "100.00"])
    world = found.world
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    payment_hash = await found.cash_out()
    settlement = await world.until(payment_hash, "completed")
    assert settlement.dispense_state == "confirmed"
    assert settlement.bitspire_event_id
    assert settlement.bitspire_txid == found.machine.trades[0].txid
    assert await world.platform_sats() == 3_000
    assert await balance_sats(partner.wallet.id) == 5_000
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    assert await balance_sats(world.machine_wallet.id) == 0
    assert found.machine.state.outbox == [] == found.machine.state.refused
    await world.assert_ledger()


async def test_cash_in_from_quote_to_everybody_paid(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    world = found.world
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    # a thousand for routing: a quote knows of no destination yet
    await world.fund(world.machine_wallet.id, 101_000)
    payment_hash = await found.cash_in()
    settlement = await world.until(payment_hash, "completed")
    assert (settlement.tx_type, settlement.wire_sats) == ("cash_in", 92_000)
    assert await balance_sats(world.customer.wallet.id) == 92_000
    assert await world.platform_sats() == 3_000
    assert await balance_sats(partner.wallet.id) == 5_000
    assert await balance_sats(world.machine_wallet.id) == 1_000
    await world.assert_ledger()


async def test_a_partial_dispense_is_planned_by_what_came_out(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"])
    world = found.world
    payment_hash = await found.cash_out(dispensed=150)
    settlement = await world.until(payment_hash, "completed")
    assert settlement.dispense_state == "partial"
    assert settlement.dispensed_fiat == Decimal("150.00")
    assert await world.lps[0].balance_sats() == 75_000
    [refund] = await world.legs(payment_hash, "refund")
    assert refund.amount_sats == 27_000
    assert await world.remaining(world.lps[0]) == Decimal("150.00")
    await world.assert_ledger()


async def test_nothing_is_paid_before_the_dispense_is_reported(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"])
    body = found.figures("waits")
    invoice = await found.ask("invoice", body)
    assert invoice["dispense"] == "awaiting"
    await found.customer_pays(invoice["bolt11"])
    settlement = await found.world.until(invoice["payment_hash"], "awaiting_dispense")
    assert await crud.legs_of(settlement.id) == []
    told = await found.ask(
        "dispense",
        {"payment_hash": invoice["payment_hash"], "dispensed_fiat": "200.00"},
    )
    assert told["settlement_id"] == settlement.id
    await found.world.until(invoice["payment_hash"], "completed")


async def test_after_a_quarter_of_an_hour_somebody_must_look(
    make_on_line: MakeOnLine,
) -> None:
    """The machine is silent after the customer paid; its report is welcome late."""
    found = await make_on_line(deposits=["300.00"])
    invoice = await found.ask("invoice", found.figures("silent"))
    payment_hash = invoice["payment_hash"]
    await found.customer_pays(invoice["bolt11"])
    settlement = await found.world.until(payment_hash, "awaiting_dispense")
    now = utc_now()
    for minutes, status in ((14, "awaiting_dispense"), (16, "attention")):
        at = db_time(now - timedelta(minutes=minutes))
        await update("dca_settlements", settlement.id, transaction_time=at)
        await tasks.run_maintenance()
        assert (await found.world.settlement(payment_hash)).status == status
    await found.ask(
        "dispense", {"payment_hash": payment_hash, "dispensed_fiat": "200.00"}
    )
    await found.world.until(payment_hash, "completed")


async def test_the_machine_needs_no_key_of_lnbits(make_on_line: MakeOnLine) -> None:
    """All that it keeps is its own secret, the service's npub, relays and cash."""
    found = await make_on_line()
    kept = vars(found.machine.state)
    assert set(kept) == {
        *("nsec", "service_npub", "relays", "name", "fiat_code", "counter"),
        *("outbox", "refused", "cassettes", "cash_box"),
    }
    wallets = [found.world.machine_wallet, found.world.operator.wallet]
    for secret in [key for w in wallets for key in (w.id, w.adminkey, w.inkey)]:
        assert secret not in repr(kept)


async def test_the_cash_in_is_stamped_by_the_server(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    await found.world.fund(found.world.machine_wallet.id, 100_000)
    payment_hash = await found.cash_in()
    payment = await get_standalone_payment(
        payment_hash, wallet_id=found.world.machine_wallet.id
    )
    assert payment and payment.extra
    assert payment.extra["source"] == "bitspire"
    assert payment.extra["tx_type"] == "cash_in"
    assert payment.extra["bills"] == {"100": 2}
    assert payment.memo and found.machine.trades[0].txid in payment.memo


async def test_quote_tells_fractions_and_what_is_free(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(max_payout_sats=40_000)
    await found.world.fund(found.world.machine_wallet.id, 30_000)
    told = await found.ask("quote", {"tx_type": "cash_in", "fiat_code": "GTQ"})
    assert told["platform_fee_fraction"] == "0.0300"
    assert told["operator_fee_fraction"] == "0.0500"
    # the wire, 288 for the routing, and the platform's 938 of its principal: 30 000
    assert told["max_cash_in_sats"] == 28_774
    await found.world.fund(found.world.machine_wallet.id, 30_000)
    told = await found.ask("quote", {"tx_type": "cash_in", "fiat_code": "GTQ"})
    assert told["max_cash_in_sats"] == 40_000
    for body in (
        {"tx_type": "cash", "fiat_code": "GTQ"},
        {"tx_type": "cash_in", "fiat_code": "USD"},
        {},
    ):
        assert (await found.refused("quote", body))["code"] == "bad_request"


async def test_fifty_settlements_through_a_dying_relay(
    make_on_line: MakeOnLine, lines: object
) -> None:
    """One of two relays is killed and restarted in the middle: every settlement lands,
    every dispense is planned, nothing twice."""
    found = await make_on_line()
    await found.world.fund(found.world.customer.wallet.id, 1_000_000)
    hashes = await _invoices(found, 50)
    relay = found_relays(lines)[0]
    for number, payment_hash in enumerate(hashes):
        if number == 15:
            relay.stop()
        if number == 35:
            await relay.start()
        found.machine.report(
            "dispense", {"payment_hash": payment_hash, "dispensed_fiat": "2.00"}
        )
        await found.machine.drain()
    assert found.machine.state.outbox == [] == found.machine.state.refused
    for payment_hash in hashes:
        await found.world.until(payment_hash, "completed", timeout=60)
    assert await found.world.settlement_count() == 50
    await found.world.assert_ledger()


def found_relays(lines: object) -> list:
    return lines.relays  # type: ignore[attr-defined]


async def _invoices(found: OnLine, count: int) -> list[str]:
    """So many paid cash-outs of 2.00 that wait for their dispense."""
    hashes = []
    for number in range(count):
        body = found.figures(f"n{number}", principal=1_000, fee=80, fiat="2.00")
        invoice = await found.ask("invoice", body)
        await found.customer_pays(invoice["bolt11"])
        hashes.append(invoice["payment_hash"])
    for payment_hash in hashes:
        await wait_for(partial(crud.get_settlement_by_hash, payment_hash))
    return hashes


def test_the_bills_are_what_the_rate_makes_of_them() -> None:
    assert sum(d * n for d, n in BILLS.items()) * RATE == 100_000
