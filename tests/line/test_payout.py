"""The customer who brought cash is paid once for each txid: the `payout` call.

Repetitions, copies, refusals and crashes; what LNbits says of the payment is made to be
pending or failed by its funding source, and the outcome is always read from its rows.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import pytest
from bolt11 import decode as bolt11_decode
from line_world import MakeOnLine, OnLine
from lnbits.core.crud.payments import create_payment
from lnbits.core.models import CreatePayment, PaymentState
from lnbits.core.services import create_invoice
from lnbits.core.services.payments import check_pending_payments
from lnbits.settings import settings
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import (
    PaymentPendingStatus,
    PaymentResponse,
    PaymentSuccessStatus,
)
from lnbits.wallets.fake import FakeWallet
from world import Killed, age_core, balance_sats, core_rows, edit_core, update

from satmachineadmin import distribution, tasks
from satmachineadmin.base.database import transaction
from satmachineadmin.host import paying
from satmachineadmin.line import engine as line
from satmachineadmin.line import payout as line_payout
from satmachineadmin.line import requests_crud
from satmachineadmin.money import payouts
from satmachineadmin.money.funds import free_sats

from conftest import wait_for
from dev.line_client import NoAnswerError

WIRE = 92_000


async def make_rich(make_on_line: MakeOnLine, **options: Any) -> OnLine:
    """A machine whose wallet holds 200 000 sat that it owes to nobody."""
    found = await make_on_line(**options)
    await found.world.fund(found.world.machine_wallet.id, 200_000)
    return found


async def outside_invoice(sats: int = WIRE) -> str:
    """An invoice that this LNbits' node cannot pay: it fails on record."""
    made = await FakeWallet().create_invoice(sats, "outside")
    assert made.payment_request
    return str(made.payment_request)


async def ask_payout(found: OnLine, txid: str, bolt11: str, **more: Any) -> Any:
    return await found.ask("payout", found.figures(txid, bolt11=bolt11, **more))


async def refused(found: OnLine, txid: str, bolt11: str, **more: Any) -> str:
    told = await found.refused("payout", found.figures(txid, bolt11=bolt11, **more))
    return str(told["code"])


async def spent_sats(found: OnLine) -> int:
    return 200_000 - await balance_sats(found.world.machine_wallet.id)


# ------------------------------------------------------------------------------- once


async def test_paid_once_however_often_it_is_asked(make_on_line: MakeOnLine) -> None:
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    first = await ask_payout(found, "one", bolt11)
    assert (first["status"], first["payment_status"]) == ("OK", "paid")
    assert (first["wire_sats"], first["fee_sats"]) == (WIRE, 8_000)
    for _ in range(3):
        again = await ask_payout(found, "one", bolt11)
        assert (again["payment_status"], again["payment_hash"]) == (
            "paid",
            first["payment_hash"],
        )
        assert again["settlement_id"]
    assert await balance_sats(found.world.customer.wallet.id) == WIRE
    await found.world.until(first["payment_hash"], "completed")
    assert await spent_sats(found) == WIRE + 3_000
    await found.world.assert_ledger()


async def test_requests_at_once_pay_once(make_on_line: MakeOnLine) -> None:
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    body = found.figures("one", bolt11=bolt11)
    answers = await asyncio.gather(*(found.ask("payout", body) for _ in range(8)))
    assert {a["payment_status"] for a in answers} == {"paid"}
    assert await balance_sats(found.world.customer.wallet.id) == WIRE


async def test_another_invoice_for_a_paid_txid_is_a_conflict(
    make_on_line: MakeOnLine,
) -> None:
    """The counter starts again: a new customer is not told that they were paid."""
    found = await make_rich(make_on_line)
    first = await ask_payout(found, "1", await found.customer_asks_for(WIRE))
    told = await found.refused(
        "payout", found.figures("1", bolt11=await found.customer_asks_for(WIRE))
    )
    assert (told["code"], told["payment_status"]) == ("conflict", "paid")
    assert told["payment_hash"] == first["payment_hash"]
    assert await balance_sats(found.world.customer.wallet.id) == WIRE


async def test_one_invoice_is_paid_for_one_txid(make_on_line: MakeOnLine) -> None:
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    await ask_payout(found, "one", bolt11)
    assert await refused(found, "two", bolt11) == "bad_invoice"
    other = await make_rich(make_on_line)
    assert await refused(other, "one", bolt11) == "bad_invoice"
    assert await balance_sats(found.world.customer.wallet.id) == WIRE


# --------------------------------------------------------------------- failed, pending


async def test_after_a_proven_failure_another_invoice_is_paid(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_rich(make_on_line)
    dead = await outside_invoice()
    told = await ask_payout(found, "one", dead)
    assert (told["status"], told["payment_status"]) == ("OK", "failed")
    assert told["reason"]
    assert (await ask_payout(found, "one", dead))["payment_status"] == "failed"
    assert await spent_sats(found) == 0
    good = await found.customer_asks_for(WIRE)
    assert (await ask_payout(found, "one", good))["payment_status"] == "paid"
    assert (await ask_payout(found, "one", dead))["payment_status"] == "paid"
    assert await balance_sats(found.world.customer.wallet.id) == WIRE
    assert await found.world.settlement_count() == 1


class PendingNode:
    """The funding source takes its time: what it is asked to pay is on its way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paid = False
        self.asked = 0
        node = get_funding_source()

        async def pay(bolt11: str, fee_limit_msat: int) -> PaymentResponse:
            self.asked += 1
            return PaymentResponse(ok=None)

        async def look(checking_id: str) -> Any:
            return (
                PaymentSuccessStatus(fee_msat=0)
                if self.paid
                else (PaymentPendingStatus())
            )

        monkeypatch.setattr(node, "pay_invoice", pay)
        monkeypatch.setattr(node, "get_payment_status", look)


async def test_a_pending_payout_is_not_paid_again_and_lands_when_it_is_known(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    node = PendingNode(monkeypatch)
    bolt11 = await outside_invoice()
    first = await ask_payout(found, "one", bolt11)
    assert (first["status"], first["payment_status"]) == ("OK", "pending")
    assert (await ask_payout(found, "one", bolt11))["payment_status"] == "pending"
    other = await found.refused(
        "payout", found.figures("one", bolt11=await outside_invoice())
    )
    assert (other["code"], other["payment_status"]) == ("conflict", "pending")
    assert node.asked == 1
    assert await found.world.settlement_count() == 0

    node.paid = True
    await _look_now(first["payment_hash"])
    told = await ask_payout(found, "one", bolt11)
    assert (told["payment_status"], node.asked) == ("paid", 1)
    settlement = await found.world.until(first["payment_hash"], "completed")
    assert settlement.tx_type == "cash_in"
    await found.world.assert_ledger()


async def _look_now(payment_hash: str) -> None:
    await update(
        "dca_machine_attempts", payment_hash, key="payment_hash", next_look_at=None
    )
    await line_payout.recheck_customer_payments()


async def test_a_payout_that_becomes_known_lands_without_the_machine(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is switched off while its customer's payment is on its way."""
    found = await make_rich(make_on_line)
    node = PendingNode(monkeypatch)
    told = await ask_payout(found, "one", await outside_invoice())
    await found.machine.go_offline()
    node.paid = True
    await _look_now(told["payment_hash"])
    await found.world.until(told["payment_hash"], "completed")


async def test_looks_back_off(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    PendingNode(monkeypatch)
    told = await ask_payout(found, "one", await outside_invoice())
    await _look_now(told["payment_hash"])
    [attempt] = await requests_crud.attempts_of(found.world.machine.id, "one")
    assert attempt.checks == 1
    assert attempt.next_look_at and attempt.next_look_at.timestamp() > time.time() + 50


# --------------------------------------------------------------------------- refusals


async def test_only_free_balance_is_spent(make_on_line: MakeOnLine) -> None:
    """A cash-out that is not dispensed yet belongs to the LPs, not to customers."""
    found = await make_on_line(deposits=["300.00"])
    invoice = await found.ask("invoice", found.figures("out"))
    await found.customer_pays(invoice["bolt11"])
    await found.world.until(invoice["payment_hash"], "awaiting_dispense")
    assert await balance_sats(found.world.machine_wallet.id) == 108_000
    bolt11 = await found.customer_asks_for(WIRE)
    assert await refused(found, "in", bolt11) == "wallet_short"
    quote = {"tx_type": "cash_in", "fiat_code": "GTQ"}
    assert (await found.ask("quote", quote))["max_cash_in_sats"] == 0
    await found.world.fund(found.world.machine_wallet.id, WIRE)
    assert (await ask_payout(found, "in", bolt11))["payment_status"] == "paid"


async def test_sats_that_have_not_landed_yet_are_not_free(
    make_on_line: MakeOnLine,
) -> None:
    """A customer has just paid for a cash-out, and nobody has noticed so far."""
    found = await make_rich(make_on_line, allow_stamped_invoices=True)
    payment_hash = secrets.token_hex(32)
    await create_payment(
        checking_id=f"internal_{payment_hash}",
        data=CreatePayment(
            wallet_id=found.world.machine_wallet.id,
            bolt11="",
            payment_hash=payment_hash,
            amount_msat=50_000_000,
            memo="paid, and no listener heard of it",
            extra=found.world.stamp(principal=46_000, fee=4_000),
        ),
        status=PaymentState.SUCCESS,
    )
    assert await free_sats(found.world.machine_wallet.id) == 200_000
    await tasks.sweep(is_full=True)
    await found.world.until(payment_hash, "completed")


async def test_the_operators_limits(make_on_line: MakeOnLine) -> None:
    found = await make_rich(
        make_on_line, max_payout_sats=WIRE, max_daily_payout_sats=100_000
    )
    more = await found.customer_asks_for(WIRE + 1)
    told = await found.refused(
        "payout", found.figures("big", principal=100_001, bolt11=more)
    )
    assert told["code"] == "limit"
    bolt11 = await found.customer_asks_for(WIRE)
    assert (await ask_payout(found, "one", bolt11))["payment_status"] == "paid"
    again = await found.customer_asks_for(WIRE)
    assert await refused(found, "two", again) == "limit"
    quote = {"tx_type": "cash_in", "fiat_code": "GTQ"}
    assert (await found.ask("quote", quote))["max_cash_in_sats"] == 8_000
    await update("dca_machines", found.world.machine.id, max_daily_payout_sats=200_000)
    assert (await ask_payout(found, "two", again))["payment_status"] == "paid"


async def test_failed_payouts_do_not_count_for_the_day(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_rich(make_on_line, max_daily_payout_sats=100_000)
    told = await ask_payout(found, "one", await outside_invoice())
    assert told["payment_status"] == "failed"
    bolt11 = await found.customer_asks_for(WIRE)
    assert (await ask_payout(found, "two", bolt11))["payment_status"] == "paid"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"is_active": False}, "inactive"),
        ({"payouts_stopped_reason": "the door is open"}, "stopped"),
    ],
)
async def test_a_machine_that_may_not_pay(
    make_on_line: MakeOnLine, fields: dict[str, Any], code: str
) -> None:
    found = await make_rich(make_on_line)
    await update("dca_machines", found.world.machine.id, **fields)
    assert await refused(found, "one", await found.customer_asks_for(WIRE)) == code
    assert await spent_sats(found) == 0


async def test_lnbits_may_say_no(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    with monkeypatch.context() as patch:
        patch.setattr(settings, "lnbits_only_allow_incoming_payments", True)
        assert await refused(found, "one", bolt11) == "refused"
    with monkeypatch.context() as patch:
        patch.setattr(settings, "lnbits_max_outgoing_payment_amount_sats", 1_000)
        assert await refused(found, "one", bolt11) == "limit"
    with monkeypatch.context() as patch:
        patch.setattr(settings, "lnbits_wallet_limit_daily_max_withdraw", -1)
        assert await refused(found, "one", bolt11) == "limit"
    assert await spent_sats(found) == 0
    assert (await ask_payout(found, "one", bolt11))["payment_status"] == "paid"


async def test_what_is_no_customers_invoice_is_refused(
    make_on_line: MakeOnLine,
) -> None:
    found, other = await make_rich(make_on_line), await make_on_line()
    own = await found.ask("invoice", found.figures("out", principal=85_000, fee=7_000))
    others = await other.ask(
        "invoice", other.figures("out", principal=85_000, fee=7_000)
    )
    top_up = await create_invoice(
        wallet_id=found.world.machine_wallet.id, amount=WIRE, memo="top up"
    )
    for bolt11 in (own["bolt11"], others["bolt11"], top_up.bolt11):
        assert await refused(found, "one", bolt11) == "bad_invoice"
    for bolt11 in ("lnbc1", "x", "lnbc920u1" + "q" * 200, own["bolt11"][:-3]):
        assert await refused(found, "one", bolt11) == "bad_invoice"
    wrong = await found.customer_asks_for(WIRE - 1)
    assert await refused(found, "one", wrong) == "wrong_amount"
    assert await spent_sats(found) == 0


async def test_the_invoice_of_a_leg_is_no_customers(
    make_on_line: MakeOnLine,
) -> None:
    """An LP shows the machine the invoice that this back office is about to pay."""
    found = await make_on_line()
    world = found.world
    await world.add_lp("300.00")
    await world.fund(world.machine_wallet.id, 300_000)
    invoice = await create_invoice(
        wallet_id=world.lps[0].wallet.id, amount=WIRE, memo="leg", internal=True
    )
    async with transaction() as conn:
        await conn.conn.exec_driver_sql(
            "INSERT INTO satoshimachine.dca_payouts (id, source_wallet_id, destination,"
            " amount_sats, status, payment_hash, created_at, updated_at) VALUES "
            f"('{invoice.payment_hash[:9]}', 'w', 'd', 1, 'failed',"
            f" '{invoice.payment_hash}', CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)"
        )
    event = found.client.request("payout", found.figures("x", bolt11=invoice.bolt11))
    told = await found.direct(event)
    assert told and told["code"] == "bad_invoice"


@pytest.mark.parametrize(
    "more",
    [
        {"bolt11": None},
        {"bolt11": 5},
        {"bolt11": ""},
        {"bolt11": None, "ln_address": "nobody"},
        {"bolt11": None, "ln_address": 7},
        {"ln_address": "alice@example.com"},
        {"valid_until": "tomorrow"},
        {"valid_until": True},
        {"fee_sats": 100_000},
        {"fee_sats": 100_001},
        {"principal_sats": 0},
    ],
)
async def test_a_payout_that_makes_no_sense(
    make_on_line: MakeOnLine, more: dict[str, Any]
) -> None:
    found = await make_rich(make_on_line)
    body = {**found.figures("one", bolt11=await outside_invoice()), **more}
    body = {name: value for name, value in body.items() if value is not None}
    assert (await found.refused("payout", body))["code"] == "bad_request"
    assert await spent_sats(found) == 0


async def test_after_valid_until_nothing_is_paid(make_on_line: MakeOnLine) -> None:
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    past, ahead = int(time.time()) - 1, int(time.time()) + 60
    assert await refused(found, "one", bolt11, valid_until=past) == "expired"
    assert await spent_sats(found) == 0
    told = await ask_payout(found, "one", bolt11, valid_until=ahead)
    assert told["payment_status"] == "paid"
    told = await ask_payout(found, "one", bolt11, valid_until=past)
    assert told["payment_status"] == "paid"


async def test_an_address_is_asked_for_exactly_what_the_customer_gets(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    asked: list[tuple[str, int]] = []

    async def invoice_of(address: str, amount_msat: int) -> str:
        asked.append((address, amount_msat))
        return await found.customer_asks_for(amount_msat // 1000)

    monkeypatch.setattr(paying, "get_pr_from_lnurl", invoice_of)
    body = found.figures("one", ln_address=" Alice@Example.com")
    for _ in range(2):
        assert (await found.ask("payout", body))["payment_status"] == "paid"
    assert asked == [("alice@example.com", WIRE * 1000)]
    assert await balance_sats(found.world.customer.wallet.id) == WIRE


async def test_a_server_outside_keeps_no_machine_waiting(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer's address whose server drips, or answers 200 000 brackets."""
    found = await make_rich(make_on_line)
    monkeypatch.setattr(payouts, "OUTSIDE_SECONDS", 0.1)

    async def drip(*_: Any) -> str:
        await asyncio.sleep(3_600)
        raise AssertionError

    async def deep(*_: Any) -> str:
        raise RecursionError

    for txid, server in (("slow", drip), ("deep", deep)):
        monkeypatch.setattr(paying, "get_pr_from_lnurl", server)
        body = found.figures(txid, ln_address="mallory@example.com")
        told = await found.refused("payout", body)
        assert told["code"] == "bad_invoice"
        assert "gives no invoice" in told["reason"]
    assert (await found.ask("ping"))["pong"] is True
    assert await spent_sats(found) == 0


async def test_a_node_that_raises_anything_leaves_the_line_open(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    PendingNode(monkeypatch)
    told = await ask_payout(found, "one", await outside_invoice())

    class ForeignError(Exception):
        """As a node's client raises: of no class that we know."""

    async def raises(*_: Any) -> Any:
        raise ForeignError

    monkeypatch.setattr(paying, "update_pending_payment", raises)
    await _look_now(told["payment_hash"])
    [attempt] = await requests_crud.attempts_of(found.world.machine.id, "one")
    assert (attempt.checks, attempt.failed_at) == (1, None)
    # LNbits calls it failed, and the node cannot be asked whether that is true
    await edit_core(
        "UPDATE apipayments SET status = 'failed' WHERE payment_hash = :hash",
        hash=told["payment_hash"],
    )
    monkeypatch.setattr(paying, "check_payment_status", raises)
    again = await ask_payout(found, "one", attempt.bolt11)
    assert (again["status"], again["payment_status"]) == ("OK", "pending")


async def test_known_failure_31_a_slow_check_overwrote_a_paid_customer(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_rich(make_on_line)
    told = await ask_payout(found, "one", await found.customer_asks_for(WIRE))
    payment_hash = told["payment_hash"]
    await found.world.until(payment_hash, "completed")
    await edit_core(
        "UPDATE apipayments SET status = 'failed' "
        "WHERE payment_hash = :hash AND amount > 0",
        hash=payment_hash,
    )
    await age_core(payment_hash, minutes=2)
    assert await balance_sats(found.world.customer.wallet.id) == 0
    for _ in range(2):
        tasks.state.second_look = float("-inf")
        await tasks.run_maintenance()
        assert await balance_sats(found.world.customer.wallet.id) == WIRE
    await found.world.assert_ledger()


async def test_known_failure_31_the_invoice_of_an_address_here_is_left_alone(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by us for a customer of this server: LNbits' checks must not kill it."""
    found = await make_rich(make_on_line)
    wallet_id = found.world.customer.wallet.id

    async def is_here(_: str) -> str:
        return wallet_id

    async def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    monkeypatch.setattr(line_payout, "local_wallet_of_address", is_here)
    body = found.figures("one", ln_address="alice@example.com")
    with monkeypatch.context() as patch:
        patch.setattr(payouts, "try_to_pay", killed)
        with pytest.raises(Killed):
            await found.direct(found.client.request("payout", body))
    [attempt] = await requests_crud.attempts_of(found.world.machine.id, "one")
    assert bolt11_decode(attempt.bolt11).expiry == paying.INVOICE_EXPIRY_SECONDS
    await check_pending_payments()
    told = await found.ask("payout", body)
    assert told["payment_status"] == "paid"
    assert told["payment_hash"] == attempt.payment_hash
    assert await balance_sats(wallet_id) == WIRE


# ---------------------------------------------------------------------------- crashes


async def test_killed_before_the_payment_it_is_paid_when_asked_again(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    event = found.client.request("payout", found.figures("one", bolt11=bolt11))

    async def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(payouts, "try_to_pay", killed)
        with pytest.raises(Killed):
            await found.direct(event)
    assert await spent_sats(found) == 0
    [attempt] = await requests_crud.attempts_of(found.world.machine.id, "one")
    assert attempt.bolt11 == bolt11
    other = await found.refused(
        "payout", found.figures("one", bolt11=await found.customer_asks_for(WIRE))
    )
    assert other["code"] == "conflict"
    assert (await ask_payout(found, "one", bolt11))["payment_status"] == "paid"
    assert await balance_sats(found.world.customer.wallet.id) == WIRE


async def test_killed_after_the_payment_it_is_not_paid_again(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    event = found.client.request("payout", found.figures("one", bolt11=bolt11))

    async def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(line_payout, "refresh_request", killed)
        with pytest.raises(Killed):
            await found.direct(event)
    assert await balance_sats(found.world.customer.wallet.id) == WIRE
    told = await ask_payout(found, "one", bolt11)
    assert told["payment_status"] == "paid"
    assert await balance_sats(found.world.customer.wallet.id) == WIRE
    await found.world.until(told["payment_hash"], "completed")
    assert len(await core_rows(told["payment_hash"])) == 2


async def test_who_is_not_the_engine_pays_nothing(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen worker wakes up when another process has long become the engine."""
    found = await make_rich(make_on_line)
    bolt11 = await found.customer_asks_for(WIRE)
    event = found.client.request("payout", found.figures("one", bolt11=bolt11))
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "INSTANCE_ID", "somebody who held the lease before")
        told = await found.direct(event)
        assert told and told["code"] == "busy"
    await tasks.renew_lease_once()
    assert await spent_sats(found) == 0
    assert await requests_crud.attempts_of(found.world.machine.id, "one") == []


async def test_nobody_answers_while_this_process_is_not_the_engine(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_rich(make_on_line)
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "is_ready", lambda: False)
        await wait_for(lambda: line.current is None)
        with pytest.raises(NoAnswerError):
            await found.client.ask("ping", {}, timeout_seconds=1)
    assert (await found.ask("ping"))["pong"] is True
