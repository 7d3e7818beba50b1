"""After an ERROR nothing is ever paid from that event.

The machine heard the ERROR and gave the cash back. Then the reason goes away (a top-up,
a clock that catches up, a machine that is paired, a check that was relaxed), and the
same event comes again: from a second relay, to a server that has restarted, to another
engine. And what is newly signed is judged by the state of now.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from bolt11 import decode as bolt11_decode
from line_world import MakeOnLine, OnLine
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.wallets.fake import FakeWallet
from nostr_sdk import Event
from sqlalchemy.exc import OperationalError
from world import Killed, balance_sats, update

from satmachineadmin import distribution
from satmachineadmin.base.database import execute, fetch_all, transaction
from satmachineadmin.cash import reservations_crud
from satmachineadmin.line import answers, requests_crud, verdicts_crud
from satmachineadmin.line import calls as line_calls
from satmachineadmin.models import utc_now
from satmachineadmin.money import payouts

from dev.line_client import Answer

WIRE = 92_000


def later(seconds: int) -> int:
    return int(time.time()) + seconds


async def payout_event(found: OnLine, txid: str = "one", at: int = 0) -> Event:
    bolt11 = await found.customer_asks_for(WIRE)
    body = found.figures(txid, bolt11=bolt11)
    return found.client.request("payout", body, created_at=at or None)


async def told(found: OnLine, event: Event) -> Answer:
    answer = await found.direct(event)
    assert answer is not None
    return answer


async def top_up(found: OnLine) -> None:
    await found.world.fund(found.world.machine_wallet.id, 300_000)


async def paid_sats(found: OnLine) -> int:
    return await balance_sats(found.world.customer.wallet.id)


async def kept(event: Event) -> dict[str, Any]:
    async with transaction() as conn:
        found = await fetch_all(
            conn,
            "SELECT * FROM satoshimachine.dca_line_events WHERE event_id = :id",
            {"id": event.id().to_hex()},
        )
    return dict(found[0]) if found else {}


# ------------------------------------------------------------------------- refused


async def test_a_copy_of_a_refused_event_is_never_paid(
    make_on_line: MakeOnLine,
) -> None:
    """Over the relays, over a restart, beside an older one that was never seen; and
    what is newly signed is paid."""
    found = await make_on_line()
    older = await payout_event(found, at=later(-60))
    event = await payout_event(found)
    assert (await found.client.ask_event(event))["code"] == "wallet_short"
    await top_up(found)
    assert (await told(found, event))["code"] == "wallet_short"
    assert (await told(found, older))["code"] == "stale"
    assert await paid_sats(found) == 0
    assert await requests_crud.attempts_of(found.world.machine.id, "one") == []
    again = await told(found, await payout_event(found))
    assert again["payment_status"] == "paid"
    assert (await told(found, event))["code"] == "wallet_short"
    assert await paid_sats(found) == WIRE


async def test_a_newer_event_that_failed_frees_no_refused_one(
    make_on_line: MakeOnLine,
) -> None:
    """E1 is refused, the newer E2 fails on a dead invoice, E1 comes once more."""
    found = await make_on_line()
    first = await payout_event(found, at=later(-5))
    assert (await told(found, first))["code"] == "wallet_short"
    await top_up(found)
    dead = await payouts_dead_invoice()
    second = found.client.request("payout", found.figures("one", bolt11=dead))
    assert (await told(found, second))["payment_status"] == "failed"
    assert (await told(found, first))["code"] == "wallet_short"
    unseen = await payout_event(found, at=later(-3))
    assert (await told(found, unseen))["code"] == "stale"
    assert await paid_sats(found) == 0


async def payouts_dead_invoice() -> str:
    made = await FakeWallet().create_invoice(WIRE, "outside")
    assert made.payment_request
    return str(made.payment_request)


async def test_a_clock_that_catches_up_pays_nothing(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_on_line()
    await top_up(found)
    event = await payout_event(found, at=later(604))
    assert (await told(found, event))["code"] == "stale"
    assert (await kept(event))["keep_until_epoch"] >= later(1_790)
    now = time.time()
    monkeypatch.setattr(line_calls.time, "time", lambda: now + 60)
    assert (await told(found, event))["code"] == "stale"
    assert await paid_sats(found) == 0


async def test_what_was_refused_before_its_row_existed(
    make_on_line: MakeOnLine,
) -> None:
    """`bad_request`, and then the check no longer bites: the currency was changed."""
    found = await make_on_line()
    await top_up(found)
    body = found.figures("one", bolt11=await found.customer_asks_for(WIRE))
    event = found.client.request("payout", {**body, "fiat_code": "USD"})
    invoice = found.client.request("invoice", found.figures("two") | {"fiat_code": "U"})
    assert (await told(found, event))["code"] == "bad_request"
    assert (await told(found, invoice))["code"] == "bad_request"
    await update("dca_machines", found.world.machine.id, fiat_code="USD")
    assert (await told(found, event))["code"] == "bad_request"
    assert (await told(found, invoice))["code"] == "bad_request"
    assert await paid_sats(found) == 0


async def test_what_was_asked_before_pairing(make_on_line: MakeOnLine) -> None:
    found = await make_on_line(is_paired=False)
    await top_up(found)
    event = await payout_event(found)
    assert (await told(found, event))["code"] == "not_paired"
    await found.machine.pair(await found.qr())
    assert (await told(found, event))["code"] == "not_paired"
    assert await paid_sats(found) == 0
    assert (await told(found, await payout_event(found)))["payment_status"] == "paid"


async def test_what_failed_here_is_not_paid_later(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`server_error` is an ERROR like any other."""
    found = await make_on_line()
    await top_up(found)
    event = await payout_event(found)

    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setitem(answers.CALLS, "payout", broken)
        assert (await told(found, event))["code"] == "server_error"
    assert (await told(found, event))["code"] == "server_error"
    assert await paid_sats(found) == 0


async def test_an_unreadable_message_is_remembered_too(
    make_on_line: MakeOnLine,
) -> None:
    """It might have been a payout: a check that reads more one day must not pay it."""
    found = await make_on_line()
    client = found.client
    event = client.event(21000, client.sealed('{"rpcName": "payout"}'), [])
    assert (await told(found, event))["code"] == "bad_request"
    assert (await kept(event))["verdict"] == "refused"
    ping = client.request("explode", {})
    assert (await told(found, ping))["code"] == "unknown_rpc"
    assert await kept(ping) == {}


# ----------------------------------------------------------- nothing may be said


async def test_an_error_that_cannot_be_kept_is_not_said(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await make_on_line()
    event = await payout_event(found)

    async def fails(*_: Any) -> Any:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    with monkeypatch.context() as patch:
        patch.setattr(verdicts_crud, "refuse", fails)
        assert await found.direct(event) is None
    await top_up(found)
    assert (await told(found, event))["payment_status"] == "paid"


async def test_a_payment_that_was_begun_gets_no_error(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails between the payment and the answer: the machine asks again, and must
    not have heard an ERROR for what was paid."""
    found = await make_on_line()
    await top_up(found)
    event = await payout_event(found)

    async def broken(*_: Any, **__: Any) -> Any:
        raise OperationalError("SELECT", {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr("satmachineadmin.line.payout.refresh_request", broken)
        assert await found.direct(event) is None
    assert await paid_sats(found) == WIRE
    assert (await told(found, event))["payment_status"] == "paid"
    # and the copy that comes when the event is no longer fresh
    now = time.time()
    monkeypatch.setattr(line_calls.time, "time", lambda: now + 700)
    assert await found.direct(event) is None
    assert await paid_sats(found) == WIRE


async def test_two_engines_and_one_event(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that lost the lease says "busy"; the other must not pay that event."""
    found = await make_on_line()
    await top_up(found)
    event = await payout_event(found)
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "INSTANCE_ID", "who held the lease before")
        assert (await told(found, event))["code"] == "busy"
    assert (await told(found, event))["code"] == "busy"
    assert await paid_sats(found) == 0


async def test_an_engine_that_lost_the_lease_while_paying_says_nothing(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempt stands; whoever is the engine now may pay it for the same event."""
    found = await make_on_line()
    await top_up(found)
    event = await payout_event(found)

    async def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(payouts, "try_to_pay", killed)
        with pytest.raises(Killed):
            await found.direct(event)
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "INSTANCE_ID", "who held the lease before")
        assert await found.direct(event) is None
    assert (await told(found, event))["payment_status"] == "paid"
    assert await paid_sats(found) == WIRE


async def test_a_machine_with_a_thousand_refusals_hears_nothing_more(
    make_on_line: MakeOnLine,
) -> None:
    """Bounded, also for a machine whose clock is years ahead; mended, it is heard."""
    found = await make_on_line()
    await top_up(found)
    ahead, now = later(5 * 365 * 86_400), later(0)
    await fill(found, 900, ahead)
    far = await payout_event(found, at=ahead)
    assert await found.direct(far) is None
    near = await payout_event(found, at=now - 700)
    assert (await told(found, near))["code"] == "stale"
    await fill(found, 99, now + 1_200)
    last = await payout_event(found, at=now - 700)
    assert await found.direct(last) is None
    assert (await told(found, await payout_event(found)))["payment_status"] == "paid"
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_line_events SET keep_until_epoch = :past "
            "WHERE machine_id = :machine",
            {"past": now - 1, "machine": found.world.machine.id},
        )
    assert (await told(found, last))["code"] == "stale"


async def fill(found: OnLine, count: int, keep_until: int) -> None:
    async with transaction() as conn:
        for number in range(count):
            await execute(
                conn,
                "INSERT INTO satoshimachine.dca_line_events "
                "(event_id, machine_id, verdict, keep_until_epoch) "
                "VALUES (:id, :machine, 'refused', :until)",
                {
                    "id": f"{found.machine.npub}-{keep_until}-{number}",
                    "machine": found.world.machine.id,
                    "until": keep_until,
                },
            )


# ---------------------------------------------------------------- the state of now


async def test_a_clock_that_is_set_right_is_judged_by_now(
    make_on_line: MakeOnLine,
) -> None:
    """Refused at +500 s; the clock is mended and the wallet topped up."""
    found = await make_on_line()
    fast = await payout_event(found, at=later(500))
    assert (await told(found, fast))["code"] == "wallet_short"
    still_short = await told(found, await payout_event(found))
    assert still_short["code"] == "wallet_short"
    await top_up(found)
    assert (await told(found, await payout_event(found)))["payment_status"] == "paid"
    assert (await told(found, fast))["code"] == "wallet_short"
    assert await paid_sats(found) == WIRE


async def test_every_new_reason_is_said(make_on_line: MakeOnLine) -> None:
    """Not the one that another event got under this txid."""
    found = await make_on_line()
    assert (await told(found, await payout_event(found)))["code"] == "wallet_short"
    await update(
        "dca_machines", found.world.machine.id, payouts_stopped_reason="the door"
    )
    assert (await told(found, await payout_event(found)))["code"] == "stopped"


# --------------------------------------------------- invoices that LNbits never pays


async def pay_from_elsewhere(found: OnLine, bolt11: str) -> None:
    other = await found.world.make_user("elsewhere")
    await found.world.fund(other.wallet.id, 100_000)
    await pay_invoice(wallet_id=other.wallet.id, payment_request=bolt11)


async def test_an_invoice_that_another_wallet_paid_ends_the_attempt(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    await top_up(found)
    used = await found.customer_asks_for(WIRE)
    await pay_from_elsewhere(found, used)
    body = found.figures("one", bolt11=used)
    for _ in range(2):
        failed = await told(found, found.client.request("payout", body))
        assert (failed["status"], failed["payment_status"]) == ("OK", "failed")
        assert "nother wallet" in failed["reason"]
    again = await told(found, await payout_event(found))
    assert again["payment_status"] == "paid"
    assert await paid_sats(found) == 2 * WIRE
    assert await found.world.settlement_count() == 1


async def test_an_invoice_that_dies_before_it_is_paid_ends_the_attempt(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the payment; meanwhile the invoice is paid by somebody else."""
    found = await make_on_line()
    await top_up(found)
    bolt11 = await found.customer_asks_for(WIRE)
    body = found.figures("one", bolt11=bolt11)

    async def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(payouts, "try_to_pay", killed)
        with pytest.raises(Killed):
            await found.direct(found.client.request("payout", body))
    await pay_from_elsewhere(found, bolt11)
    failed = await told(found, found.client.request("payout", body))
    assert failed["payment_status"] == "failed"
    again = await told(found, await payout_event(found))
    assert again["payment_status"] == "paid"


async def test_an_invoice_of_any_machines_wallet_is_refused(
    make_on_line: MakeOnLine,
) -> None:
    """Not only stamped ones, and not only those of the machine that pays."""
    found, other = await make_on_line(), await make_on_line()
    await top_up(found)
    plain = await create_invoice(
        wallet_id=other.world.machine_wallet.id, amount=WIRE, memo="no stamp"
    )
    body = found.figures("one", bolt11=plain.bolt11)
    refused = await told(found, found.client.request("payout", body))
    assert refused["code"] == "bad_invoice"
    assert await paid_sats(found) == 0


# ------------------------------------------------------------------- open invoices


async def test_a_machine_has_fifty_open_invoices_at_most(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_calls, "MAX_OPEN_INVOICES", 2)
    found = await make_on_line()
    first, _ = [await invoice(found, f"t{n}") for n in range(2)]
    assert (await invoice(found, "t2"))["code"] == "limit"
    assert (await invoice(found, "t0"))["bolt11"] == first["bolt11"]
    await found.customer_pays(first["bolt11"])
    assert (await invoice(found, "t2"))["status"] == "OK"


async def invoice(found: OnLine, txid: str, **more: Any) -> Answer:
    event = found.client.request("invoice", found.figures(txid, **more))
    return await told(found, event)


async def test_no_more_is_sold_than_the_bays_hold(make_on_line: MakeOnLine) -> None:
    """Five notes of 20, and three customers who want 40.00 each."""
    found = await make_on_line()
    path = f"/machines/{found.world.machine.id}/cassettes"
    bays = {"positions": {"1": {"denomination": 20, "count": 5}}}
    await found.world.operator.api.put(path, json=bays)
    small: dict[str, Any] = {"principal": 20_000, "fee": 1_600, "fiat": "40.00"}
    quote = {"tx_type": "cash_out", "fiat_code": "GTQ"}
    assert (await invoice(found, "big"))["code"] == "cash_short"
    assert (await invoice(found, "one", **small))["status"] == "OK"
    two = await invoice(found, "two", **small)
    quoted = await found.ask("quote", quote)
    assert (quoted["max_cash_out"], quoted["available"]) == ("20.00", {"20": 1})
    assert (await invoice(found, "three", **small))["code"] == "cash_short"
    odd: dict[str, Any] = {"principal": 5_000, "fee": 400, "fiat": "10.00"}
    assert (await invoice(found, "odd", **odd))["code"] == "cash_short"
    # paid, and not dispensed yet: the notes are still this customer's
    await found.customer_pays(two["bolt11"])
    await found.world.until(two["payment_hash"], "awaiting_dispense")
    assert (await found.ask("quote", quote))["max_cash_out"] == "20.00"
    assert (await invoice(found, "two", **small))["payment_status"] == "paid"


async def test_requests_at_once_are_not_sold_the_same_notes(
    make_on_line: MakeOnLine,
) -> None:
    found = await make_on_line()
    path = f"/machines/{found.world.machine.id}/cassettes"
    bays = {"positions": {"1": {"denomination": 20, "count": 5}}}
    await found.world.operator.api.put(path, json=bays)
    small: dict[str, Any] = {"principal": 40_000, "fee": 3_200, "fiat": "80.00"}
    answers_ = await asyncio.gather(
        *(found.ask("invoice", found.figures(f"t{n}", **small)) for n in range(4))
    )
    assert sorted(a["status"] for a in answers_) == ["ERROR", "ERROR", "ERROR", "OK"]


async def five_notes_of_twenty(make_on_line: MakeOnLine) -> OnLine:
    found = await make_on_line()
    path = f"/machines/{found.world.machine.id}/cassettes"
    bays = {"positions": {"1": {"denomination": 20, "count": 5}}}
    await found.world.operator.api.put(path, json=bays)
    return found


async def test_three_who_walk_away_block_nobody_for_longer_than_ten_minutes(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They had invoices for all that the bay holds, and paid none."""
    found = await five_notes_of_twenty(make_on_line)
    small: dict[str, Any] = {"principal": 20_000, "fee": 1_600, "fiat": "40.00"}
    smaller: dict[str, Any] = {"principal": 10_000, "fee": 800, "fiat": "20.00"}
    for txid, sizes in (("a", small), ("b", small), ("c", smaller)):
        shown = await invoice(found, txid, **sizes)
        assert bolt11_decode(shown["bolt11"]).expiry == 600
    quote = {"tx_type": "cash_out", "fiat_code": "GTQ"}
    assert (await found.ask("quote", quote))["max_cash_out"] == "0.00"
    for minutes, code in ((0, "cash_short"), (9.9, "cash_short"), (10.1, None)):
        monkeypatch.setattr(
            reservations_crud,
            "utc_now",
            lambda at=minutes: utc_now() + timedelta(minutes=at),
        )
        told_ = await invoice(found, f"d{minutes}", **small)
        assert told_.get("code") == code, minutes
    assert (await found.ask("quote", quote))["max_cash_out"] == "60.00"


async def test_notes_of_a_try_that_died_are_not_sold_twice(
    make_on_line: MakeOnLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the reservation and the invoice; its time passes, and another
    customer is sold the notes. The same txid is then judged anew."""
    found = await five_notes_of_twenty(make_on_line)
    all_of_it: dict[str, Any] = {"principal": 50_000, "fee": 4_000, "fiat": "100.00"}

    async def killed(*_: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(line_calls, "_make", killed)
        with pytest.raises(Killed):
            await invoice(found, "one", **all_of_it)
    assert (await invoice(found, "two", **all_of_it))["code"] == "cash_short"
    later_ = utc_now() + timedelta(minutes=11)
    monkeypatch.setattr(reservations_crud, "utc_now", lambda: later_)
    assert (await invoice(found, "two", **all_of_it))["status"] == "OK"
    assert (await invoice(found, "one", **all_of_it))["code"] == "cash_short"
