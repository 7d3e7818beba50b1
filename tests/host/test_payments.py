"""What host/ has LNbits do with payments, and what it reads of them afterwards.

On a real LNbits with its fake node: an invoice, its payment within the instance and to
the outside, and each question that the extension asks about them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from lnbits.core.crud.payments import get_standalone_payment
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse, PaymentSuccessStatus
from lnbits.wallets.fake import FakeWallet
from world import balance_sats, edit_core

from satmachineadmin.base.database import db_time
from satmachineadmin.host import paying, payments
from satmachineadmin.host.database import deferred_commit
from satmachineadmin.models import utc_now

from conftest import Fund, MakeUser, wait_for

BEGINNING = utc_now() - timedelta(days=1)
MARK = {"tag": "satmachineadmin"}


async def paid(
    make_user: MakeUser, fund: Fund, sats: int = 1_000
) -> tuple[str, str, str, str]:
    """(hash, payer's wallet, receiver's wallet, name) of a payment in here."""
    payer = (await make_user("payer")).wallets[0].id
    receiver = (await make_user("receiver")).wallets[0].id
    await fund(payer, 10_000)
    name = uuid4().hex
    async with deferred_commit() as conn:
        invoice = await paying.make_lasting_invoice(
            receiver, sats, "a test", conn, extra=dict(MARK), external_id=name
        )
    await paying.pay(
        payer, invoice.bolt11, extra=dict(MARK), description="a test", external_id=name
    )
    return invoice.payment_hash, payer, receiver, name


async def test_a_lasting_invoice_is_left_alone_and_paid_once(
    make_user: MakeUser, fund: Fund
) -> None:
    payment_hash, payer, receiver, _ = await paid(make_user, fund)
    rows = (await payments.rows_by_hash([payment_hash]))[payment_hash]
    out, into = sorted(rows, key=lambda row: row.amount_msat)
    assert (out.wallet_id, out.amount_msat, out.status) == (
        payer,
        -1_000_000,
        "success",
    )
    assert (into.wallet_id, into.amount_msat) == (receiver, 1_000_000)
    assert into.checking_id == paying.INTERNAL_PREFIX + payment_hash
    assert into.is_receipt
    assert not out.is_receipt
    assert abs(utc_now() - into.updated_at) < timedelta(minutes=5)
    assert await balance_sats(receiver) == 1_000
    payment = await payments.payment_by_checking_id(into.checking_id)
    assert payment.payment_hash == payment_hash


async def test_invoices_of_a_connection_that_fails_are_none(
    make_user: MakeUser,
) -> None:
    wallet = (await make_user("nobody")).wallets[0].id
    name = uuid4().hex
    with pytest.raises(ZeroDivisionError):
        async with deferred_commit() as conn:
            await paying.make_lasting_invoice(wallet, 5, "a", conn, external_id=name)
            raise ZeroDivisionError
    assert await payments.invoice_by_external_id(wallet, name) is None


async def test_questions_about_one_payment(make_user: MakeUser, fund: Fund) -> None:
    payment_hash, payer, receiver, name = await paid(make_user, fund)
    unknown = uuid4().hex * 2
    sides = await payments.sides_of(payment_hash)
    assert {(r["wallet_id"], r["amount"], r["status"]) for r in sides} == {
        (payer, -1_000_000, "success"),
        (receiver, 1_000_000, "success"),
    }
    by_hash = await payments.sides_by_hash([payment_hash, unknown])
    assert {hash_: len(rows) for hash_, rows in by_hash.items()} == {payment_hash: 2}
    (receipt,) = await payments.receipts_of(payment_hash)
    assert receipt["wallet_id"] == receiver
    assert payments.extra_of(receipt)["tag"] == MARK["tag"]
    assert await payments.issuer_of(payment_hash) == receiver
    assert await payments.issuer_of(unknown) is None
    states = await payments.invoice_states([payment_hash, unknown])
    assert {h: (s.is_paid, s.is_open) for h, s in states.items()} == {
        payment_hash: (True, False)
    }
    both = [payer, receiver]
    came = await payments.payment_of(both, payment_hash, is_incoming=True)
    left = await payments.payment_of(both, payment_hash, is_incoming=False)
    assert came is not None
    assert left is not None
    assert (came.wallet_id, came.amount) == (receiver, 1_000_000)
    assert (left.wallet_id, left.amount) == (payer, -1_000_000)
    assert await payments.payment_of([payer], payment_hash, is_incoming=True) is None
    made = await payments.invoice_by_external_id(receiver, name)
    assert made is not None
    assert made == (payment_hash, came.bolt11)


async def test_questions_about_a_wallet(make_user: MakeUser, fund: Fund) -> None:
    payment_hash, payer, receiver, _ = await paid(make_user, fund)
    assert await payments.debited_hashes(payer, [payment_hash, None]) == {payment_hash}
    assert await payments.debited_hashes(receiver, [payment_hash]) == set()
    (row,) = await payments.receipts_since([receiver], BEGINNING)
    assert (row["payment_hash"], row["amount"]) == (payment_hash, 1_000_000)
    later = utc_now() + timedelta(days=1)
    assert await payments.receipts_since([receiver], later) == []
    first = await payments.successful_page([receiver], (db_time(BEGINNING), ""), 10)
    assert [payments.as_payment(r).payment_hash for r in first] == [payment_hash]
    after = (first[-1]["updated_at"], first[-1]["checking_id"])
    assert await payments.successful_page([receiver], after, 10) == []
    period = (BEGINNING, utc_now() + timedelta(days=1))
    pages = [page async for page in payments.tagged_payments([receiver], *period)]
    assert [r["payment_hash"] for page in pages for r in page] == [payment_hash]


async def test_an_invoice_that_lnbits_refuses(make_user: MakeUser) -> None:
    wallet = (await make_user("hugo")).wallets[0].id
    with pytest.raises(paying.NoInvoiceError):
        await paying.make_invoice(wallet, 100_000_000_000, "more than may come in")
    made = await paying.make_invoice(wallet, 21, "for anybody")
    states = await payments.invoice_states([made.payment_hash])
    assert states[made.payment_hash].is_open


async def test_a_receiver_that_lnbits_forgot_is_credited(
    make_user: MakeUser, fund: Fund
) -> None:
    payment_hash, _, receiver, _ = await paid(make_user, fund)
    checking_id = paying.INTERNAL_PREFIX + payment_hash
    await edit_core(
        "UPDATE apipayments SET status = 'pending' WHERE checking_id = :id",
        id=checking_id,
    )
    assert await balance_sats(receiver) == 0
    assert await paying.credit(checking_id)
    assert await balance_sats(receiver) == 1_000
    assert await paying.credit(checking_id)
    assert not await paying.credit("no such payment")


async def test_the_node_is_asked_about_a_payment_outside(
    make_user: MakeUser, fund: Fund, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pending, then failed in LNbits and paid at its node: the node wins."""
    wallet = (await make_user("ines")).wallets[0].id
    await fund(wallet, 10_000)
    stranger = await FakeWallet().create_invoice(100)
    node: Any = get_funding_source()

    async def silent(*_: Any, **__: Any) -> PaymentResponse:
        return PaymentResponse(ok=None, checking_id=stranger.checking_id)

    async def done(*_: Any, **__: Any) -> PaymentSuccessStatus:
        return PaymentSuccessStatus(fee_msat=0)

    monkeypatch.setattr(node, "pay_invoice", silent)
    await paying.pay(
        wallet,
        str(stranger.payment_request),
        extra=dict(MARK),
        description="outside",
        external_id=uuid4().hex,
    )
    checking_id = str(stranger.checking_id)
    waiting = await payments.payment_by_checking_id(checking_id)
    assert waiting.pending
    monkeypatch.setattr(node, "get_payment_status", done)
    await edit_core(
        "UPDATE apipayments SET status = 'failed' WHERE checking_id = :id",
        id=checking_id,
    )
    assert await paying.is_paid_after_all(checking_id)
    assert not await paying.is_paid_after_all("no such payment")
    payment = await get_standalone_payment(checking_id)
    assert payment is not None
    assert payment.success
    await edit_core(
        "UPDATE apipayments SET status = 'pending' WHERE checking_id = :id",
        id=checking_id,
    )
    await paying.look_at_pending(checking_id)

    async def is_success() -> bool:
        seen = await get_standalone_payment(checking_id)
        return bool(seen and seen.success)

    await wait_for(is_success)
