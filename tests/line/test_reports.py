"""What a machine's report may do: add facts, never money.

Wrong amounts, other people's hashes, replays, contradictions, old and future clocks:
each request is answered from the present state, with a reason, and lands nothing twice.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from cash_rows import given_out
from line_world import MakeOnLine, OnLine
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.helpers import urlsafe_short_hash

from satmachineadmin import crud

from conftest import wait_for


async def paid_invoice(found: OnLine, txid: str = "one") -> dict[str, Any]:
    """A cash-out of 200.00 that was asked for and paid; the answer to `invoice`."""
    invoice = await found.ask("invoice", found.figures(txid))
    assert invoice["status"] == "OK", invoice
    await found.customer_pays(invoice["bolt11"])
    await wait_for(lambda: crud.get_settlement_by_hash(invoice["payment_hash"]))
    return invoice


def report(found: OnLine, payment_hash: str, **changes: Any) -> dict[str, Any]:
    figures = found.figures("one")
    body = {"tx_type": "cash_out", "payment_hash": payment_hash, **figures, **changes}
    return {name: value for name, value in body.items() if value is not None}


async def stamped_by_hand(found: OnLine, **stamp: Any) -> str:
    """An invoice of the machine's wallet with no request behind it; not paid."""
    world = found.world
    invoice = await create_invoice(
        wallet_id=world.machine_wallet.id, amount=108_000, memo="", extra=stamp
    )
    return invoice.payment_hash


# ------------------------------------------------------------------- creating money


async def test_an_unpaid_hash_is_not_paid(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    invoice = await found.ask("invoice", found.figures("one"))
    told = await found.refused("settlement", report(found, invoice["payment_hash"]))
    assert told["code"] == "not_paid"
    assert await found.world.settlement_count() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"principal_sats": 1_000_000},
        {"principal_sats": 99_999},
        {"fee_sats": 0},
        {"tx_type": "cash_in"},
        {"principal_sats": "100000"},
        {"fiat_amount": "-200.00"},
        {"fiat_amount": "2e99"},
        {"fiat_code": "USD"},
    ],
)
async def test_a_report_of_another_amount_lands_nothing(
    make_on_line: MakeOnLine, changes: dict[str, Any]
) -> None:
    """A payment that carries no stamp and that no request was made for."""
    found = await make_on_line()
    world = found.world
    payment_hash = await stamped_by_hand(found)
    await world.fund(world.customer.wallet.id, 110_000)
    payment = await world.core_payment(payment_hash)
    await pay_invoice(
        wallet_id=world.customer.wallet.id, payment_request=payment.bolt11
    )
    told = await found.refused("settlement", report(found, payment_hash, **changes))
    assert told["code"] in ("mismatch", "unknown_payment")
    assert await world.settlement_count() == 0


async def test_an_unstamped_payment_lands_for_a_person_to_look_at(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"])
    world = found.world
    payment_hash = await stamped_by_hand(found)
    await world.fund(world.customer.wallet.id, 110_000)
    payment = await world.core_payment(payment_hash)
    await pay_invoice(
        wallet_id=world.customer.wallet.id, payment_request=payment.bolt11
    )
    told = await found.ask("settlement", report(found, payment_hash))
    assert (told["status"], told["settlement_status"]) == ("OK", "quarantined")
    assert (told["duplicate"], await world.settlement_count()) == (False, 1)
    assert await world.legs(payment_hash) == []
    assert await world.lps[0].balance_sats() == 0


async def test_another_machines_hash_is_unknown_here(make_on_line: MakeOnLine) -> None:
    mine, other = await make_on_line(), await make_on_line()
    invoice = await paid_invoice(other)
    told = await mine.refused("settlement", report(mine, invoice["payment_hash"]))
    assert told["code"] == "unknown_payment"
    told = await mine.refused(
        "dispense",
        {"payment_hash": invoice["payment_hash"], "dispensed_fiat": "200.00"},
    )
    assert told["code"] == "unknown_payment"
    assert await mine.world.settlement_count() == 0
    landed = await other.world.settlement(invoice["payment_hash"])
    assert landed.status == "awaiting_dispense"


async def test_an_lps_payment_is_no_settlement(make_on_line: MakeOnLine) -> None:
    """The hash of what an LP received: an outgoing payment of the machine's wallet."""
    found = await make_on_line(deposits=["300.00"])
    payment_hash = await found.cash_out()
    await found.world.until(payment_hash, "completed")
    [leg] = await found.world.legs(payment_hash, "dca")
    lp_hash = str(leg.external_payment_hash)
    for tx_type in ("cash_out", "cash_in"):
        told = await found.refused(
            "settlement",
            report(
                found,
                lp_hash,
                tx_type=tx_type,
                fee_sats=0,
                txid=None,
            ),
        )
        assert told["code"] in ("unknown_payment", "not_a_settlement")
    assert await found.world.settlement_count() == 1


async def test_an_outgoing_hash_is_no_cash_out(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    await found.world.fund(found.world.machine_wallet.id, 100_000)
    payment_hash = await found.cash_in()
    told = await found.refused("settlement", report(found, payment_hash))
    assert told["code"] in ("conflict", "unknown_payment")
    assert await found.world.settlement_count() == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"payment_hash": "x"},
        {"payment_hash": "00" * 32},
        {"payment_hash": ["00" * 32], "tx_type": "cash_out"},
        {"payment_hash": "00" * 32, "tx_type": None},
        {"payment_hash": "00" * 31 + "zz", "tx_type": "cash_out"},
    ],
)
async def test_a_report_that_makes_no_sense_is_a_bad_request(
    make_on_line: MakeOnLine, body: dict[str, Any]
) -> None:
    found = await make_on_line()
    assert (await found.refused("settlement", body))["code"] == "bad_request"


# --------------------------------------------------------------------------- replays


async def test_the_same_report_again_is_a_duplicate(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    invoice = await paid_invoice(found)
    body = report(found, invoice["payment_hash"])
    first = await found.ask("settlement", body, request_id="same")
    again = await found.ask("settlement", body, request_id="same")
    assert first["settlement_id"] == again["settlement_id"]
    assert again["duplicate"] is True
    assert (first["requestId"], again["requestId"]) == ("same", "same")
    assert await found.world.settlement_count() == 1


async def test_the_same_event_is_answered_once(make_on_line: MakeOnLine) -> None:
    """It reaches the server over two relays; and again when it is sent twice more."""
    found = await make_on_line()
    before = found.client.replies
    event = found.client.request("ping", {})
    assert (await found.client.ask_event(event))["pong"] is True
    await found.client.send(event)
    await found.client.send(event)
    await found.ask("ping")
    assert found.client.replies == before + 2


async def test_another_body_for_a_landed_hash_is_a_conflict(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    invoice = await paid_invoice(found)
    payment_hash = invoice["payment_hash"]
    landed = await found.world.settlement(payment_hash)
    for changes in (
        {"principal_sats": 99_000, "fee_sats": 9_000},
        {"fiat_amount": "201.00"},
        {"txid": "two"},
        {"tx_type": "cash_in"},
    ):
        told = await found.refused("settlement", report(found, payment_hash, **changes))
        assert told["code"] == "conflict", changes
    assert await found.world.settlement(payment_hash) == landed


async def test_a_report_whose_money_is_refused_still_books_its_notes(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    invoice = await paid_invoice(found)
    payment_hash = invoice["payment_hash"]
    landed = await found.world.settlement(payment_hash)
    bills = {"bills": {"100": 3}, "dispense": "confirmed"}
    for of_another_trade in (
        {"txid": "two"},
        {"tx_type": "cash_in"},
        {"fiat_code": "USD"},
    ):
        body = report(found, payment_hash, **bills, **of_another_trade)
        assert (await found.refused("settlement", body))["code"] == "conflict"
        assert await given_out(landed) == []
    wrong = {"fiat_amount": "300.00", **bills}
    told = await found.refused("settlement", report(found, payment_hash, **wrong))
    assert told["code"] == "conflict"
    assert sum(cents for *_, cents in await given_out(landed)) == 300_00
    assert await found.world.settlement(payment_hash) == landed


async def test_a_report_adds_the_facts_that_are_missing(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    world = found.world
    stamp = world.stamp(dispense="awaiting")
    del stamp["txid"]
    payment_hash = await stamped_by_hand(found, **stamp)
    payment = await world.core_payment(payment_hash)
    await found.customer_pays(payment.bolt11)
    assert (await world.landed(payment_hash)).bitspire_txid is None
    body = report(
        found, payment_hash, txid="mine", bills={"100": 2}, cassettes={"1": 2}
    )
    told = await found.ask("settlement", body)
    assert told["duplicate"] is True
    landed = await world.settlement(payment_hash)
    assert landed.bitspire_txid == "mine"
    assert landed.bills_json == '{"100": 2}'
    assert landed.bitspire_event_id
    told = await found.refused("settlement", {**body, "txid": "another"})
    assert told["code"] == "conflict"


async def test_confirmed_in_the_report_is_a_full_dispense(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"])
    invoice = await paid_invoice(found)
    body = report(found, invoice["payment_hash"], dispense="confirmed")
    assert (await found.ask("settlement", body))["status"] == "OK"
    await found.world.until(invoice["payment_hash"], "completed")
    assert await found.world.lps[0].balance_sats() == 100_000


async def test_a_dispense_said_twice_changes_nothing(make_on_line: MakeOnLine) -> None:
    found = await make_on_line(deposits=["300.00"])
    payment_hash = await found.cash_out()
    await found.world.until(payment_hash, "completed")
    body = {"payment_hash": payment_hash, "dispensed_fiat": "200.00"}
    for _ in range(3):
        assert (await found.ask("dispense", body))["settlement_status"] == "completed"
    assert await found.world.lps[0].balance_sats() == 100_000
    # more than was sold is heard, and is no more sats for anybody
    told = await found.ask("dispense", {**body, "dispensed_fiat": "200.01"})
    assert (told["status"], told["settlement_status"]) == ("OK", "completed")
    assert await found.world.lps[0].balance_sats() == 100_000
    told = await found.refused("dispense", {**body, "dispensed_fiat": "-1"})
    assert told["code"] == "bad_request"
    await found.world.assert_ledger()


async def test_a_short_dispense_after_the_payment_costs_the_operator(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line(deposits=["300.00"])
    payment_hash = await found.cash_out()
    await found.world.until(payment_hash, "completed")
    told = await found.ask(
        "dispense", {"payment_hash": payment_hash, "dispensed_fiat": "100.00"}
    )
    assert told["status"] == "OK"
    settlement = await found.world.settlement(payment_hash)
    assert settlement.dispense_state == "partial"
    refunds = await found.world.legs(payment_hash, "refund")
    assert sum(refund.amount_sats for refund in refunds) == 54_000
    # what this settlement does not hold any more is the operator's loss
    assert any(refund.from_free_balance for refund in refunds)
    assert await found.world.lps[0].balance_sats() == 100_000


# ----------------------------------------------------------------------- the invoice


async def test_the_same_txid_gives_the_same_invoice(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    body = found.figures("one", bills={"100": 2})
    first = await found.ask("invoice", body)
    assert (first["wire_sats"], first["fee_sats"]) == (108_000, 8_000)
    again = await found.ask("invoice", body)
    without_fee = await found.ask("invoice", found.figures("one", fee=None))
    assert first["bolt11"] == again["bolt11"] == without_fee["bolt11"]
    payment = await found.world.core_payment(first["payment_hash"])
    assert payment.sat == 108_000
    assert payment.extra["txid"] == "one"
    assert payment.extra["dispense"] == "awaiting"


async def test_the_fee_is_todays_if_none_is_sent(make_on_line: MakeOnLine) -> None:
    found = await make_on_line()
    told = await found.ask("invoice", found.figures("one", fee=None))
    assert (told["fee_sats"], told["wire_sats"]) == (8_000, 108_000)
    told = await found.ask("invoice", found.figures("two", fee=9_500))
    assert (told["fee_sats"], told["wire_sats"]) == (9_500, 109_500)


async def test_another_body_for_the_same_txid_is_a_conflict(
    make_on_line: MakeOnLine,
) -> None:
    """A machine whose counter starts at 1 again is told so; it shows no old invoice."""
    found = await make_on_line()
    first = await found.ask("invoice", found.figures("1"))
    for body in (
        found.figures("1", principal=50_000, fee=4_000, fiat="100.00"),
        found.figures("1", fiat="201.00"),
        found.figures("1", fee=7_999),
        found.figures("1", fiat_code="USD"),
    ):
        assert (await found.refused("invoice", body))["code"] == "conflict"
    told = await found.refused("payout", found.figures("1", bolt11="lnbc1"))
    assert told["code"] == "conflict"
    assert (await found.ask("invoice", found.figures("1")))["bolt11"] == first["bolt11"]


async def test_a_finished_txid_is_never_offered_again(make_on_line: MakeOnLine) -> None:
    """The counter starts again, and even the amount is the same: the old invoice, which
    is paid, would make the machine dispense for nothing."""
    found = await make_on_line()
    invoice = await paid_invoice(found, "1")
    told = await found.ask("invoice", found.figures("1"))
    assert told["payment_status"] == "paid"  # not dispensed yet: this is a repetition
    await found.ask(
        "dispense",
        {"payment_hash": invoice["payment_hash"], "dispensed_fiat": "200.00"},
    )
    told = await found.refused("invoice", found.figures("1"))
    assert told["code"] == "conflict"


@pytest.mark.parametrize(
    "changes",
    [
        {"principal_sats": 0},
        {"principal_sats": True},
        {"principal_sats": 1e5},
        {"principal_sats": 10**30},
        {"fee_sats": -1},
        {"fee_sats": "8000"},
        {"fiat_amount": "0"},
        {"fiat_amount": "200.001"},
        {"fiat_amount": None},
        {"fiat_code": "EUR"},
        {"txid": ""},
        {"txid": None},
        {"txid": "x" * 201},
        {"txid": ["a"]},
        {"exchange_rate": 9_000},
    ],
)
async def test_figures_that_cannot_be_true_make_no_invoice(
    make_on_line: MakeOnLine, changes: dict[str, Any]
) -> None:
    found = await make_on_line()
    body = {**found.figures("bad"), **changes}
    told = await found.refused("invoice", body)
    assert told["code"] == "bad_request"


async def test_a_deactivated_machine_gets_no_invoice(make_on_line: MakeOnLine) -> None:
    found = await make_on_line(is_active=False)
    assert (await found.refused("invoice", found.figures("1")))["code"] == "inactive"
    quote = {"tx_type": "cash_in", "fiat_code": "GTQ"}
    assert (await found.refused("quote", quote))["code"] == "inactive"
    assert (await found.ask("ping"))["pong"] is True


# ------------------------------------------------------------------------- the clock

HOUR, WEEK = 3_600, 7 * 24 * 3_600


@pytest.mark.parametrize("seconds", [-WEEK, -601 - 5, HOUR])
async def test_an_order_must_be_fresh_and_a_report_need_not(
    make_on_line: MakeOnLine, seconds: int
) -> None:
    found = await make_on_line()
    invoice = await paid_invoice(found)
    at = int(time.time()) + seconds

    async def ask_then(rpc: str, body: Any) -> dict[str, Any]:
        return await found.client.ask(rpc, body, created_at=at)

    told = await ask_then("invoice", found.figures("late"))
    assert (told["status"], told["code"]) == ("ERROR", "stale")
    assert abs(told["server_time"] - time.time()) < 10
    told = await ask_then("payout", found.figures("late", bolt11="lnbc1"))
    assert (told["status"], told["code"]) == ("ERROR", "stale")
    body = report(found, invoice["payment_hash"])
    assert (await ask_then("settlement", body))["status"] == "OK"
    dispensed = {"payment_hash": invoice["payment_hash"], "dispensed_fiat": "200.00"}
    assert (await ask_then("dispense", dispensed))["status"] == "OK"
    assert (await ask_then("ping", {}))["pong"] is True


async def test_a_txid_may_be_anything_that_can_be_kept(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    for txid in ("a b", "é/ñ", "<b>&amp;</b>", "'; DROP TABLE x; --", 17, "🏧" * 50):
        told = await found.ask("invoice", found.figures(txid))  # type: ignore[arg-type]
        assert told["status"] == "OK", told
        assert told["txid"] == str(txid)


async def test_requests_of_one_machine_do_not_touch_anothers_txid(
    make_on_line: MakeOnLine,
) -> None:
    one, two = await make_on_line(), await make_on_line()
    txid = urlsafe_short_hash()
    first = await one.ask("invoice", one.figures(txid))
    second = await two.ask(
        "invoice", two.figures(txid, principal=50_000, fee=4_000, fiat="100.00")
    )
    assert first["payment_hash"] != second["payment_hash"]
    assert second["wire_sats"] == 54_000
