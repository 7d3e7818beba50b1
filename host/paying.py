"""Having LNbits make invoices, pay them, and ask its node what became of them.

What these raise or return proves no outcome: that is read from `payments`. A
connection given is passed on, so that a run of calls needs only one.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx
from lnbits.core.crud.payments import (
    get_payment,
    update_payment,
    update_payment_checking_id,
)
from lnbits.core.models import Payment, PaymentState
from lnbits.core.services.lnurl import get_pr_from_lnurl, handle
from lnbits.core.services.payments import (
    check_payment_status,
    create_invoice,
    pay_invoice,
    update_pending_payment,
)
from lnbits.exceptions import InvoiceError
from lnbits.settings import settings
from lnbits.task_manager import task_manager
from lnurl import LnurlException, LnurlPayResponse
from loguru import logger

from ..base.database import db_time, execute
from ..models import utc_now
from .database import CoreConn, core_connection

# LNbits marks an expired unpaid invoice as failed: ours outlive every outage
INVOICE_EXPIRY_SECONDS = 10 * 365 * 24 * 3600
# this prefix keeps LNbits' own status checks away from the receiver's row
INTERNAL_PREFIX = "internal_in_"
# some clients of nodes wait for ever
NODE_SECONDS = 30
# how long somebody who saves an address waits for its server
RECEIVER_SECONDS = 6
# names that nobody can have, and names of the machine itself, whatever is asked
NEVER_THERE = (".invalid", ".localhost")

T = TypeVar("T")


class NoInvoiceError(ValueError):
    """LNbits made no invoice, for the reason given."""


class NoReceiverError(ValueError):
    """Nobody can be paid at an address, for the reason given."""


class SilentReceiverError(ValueError):
    """Whether anybody can be paid at an address is not known now, and why."""


async def make_invoice(
    wallet_id: str, amount_sats: int, memo: str, **more: Any
) -> Payment:
    """An invoice of a wallet that anybody can pay. Raises `NoInvoiceError`."""
    try:
        return await create_invoice(
            wallet_id=wallet_id, amount=amount_sats, memo=memo, **more
        )
    except InvoiceError as exc:
        raise NoInvoiceError(exc.message) from exc


async def make_lasting_invoice(
    wallet_id: str, amount_sats: int, memo: str, conn: CoreConn, **more: Any
) -> Payment:
    """An invoice of a wallet of this instance that only this instance can pay, and that
    LNbits' own status checks leave alone, before it is paid and after. Raises
    `NoInvoiceError`."""
    try:
        payment = await make_invoice(
            wallet_id,
            amount_sats,
            memo,
            internal=True,
            expiry=INVOICE_EXPIRY_SECONDS,
            conn=conn,
            **more,
        )
    except NoInvoiceError:
        raise
    except ValueError as exc:
        raise NoInvoiceError(f"LNbits made no invoice: {str(exc)[:200]}") from exc
    await update_payment_checking_id(
        payment.checking_id, INTERNAL_PREFIX + payment.payment_hash, conn
    )
    return payment


async def ask_for_invoice(target: str, amount_sats: int) -> str:
    """What the server of a Lightning address or LNURL gives. Whatever that server says
    may be raised, and nobody knows how long it takes."""
    return await get_pr_from_lnurl(target, amount_sats * 1000)


async def ask_receiver(target: str) -> None:
    """Ask the server of a Lightning address or LNURL whether it takes payments for it,
    as it is asked when it is paid: private networks are refused unless LNbits'
    administrator allows them. Raises `NoReceiverError` or `SilentReceiverError`."""
    if target.rpartition("@")[2].lower().endswith(NEVER_THERE):
        raise NoReceiverError("there is no such server")
    try:
        found = await asyncio.wait_for(
            handle(target, user_agent=settings.user_agent, timeout=RECEIVER_SECONDS),
            RECEIVER_SECONDS,
        )
    except asyncio.TimeoutError as exc:
        raise SilentReceiverError("its server does not answer") from exc
    except (LnurlException, ValueError) as exc:
        # a host that is not found may be found tomorrow: this server's own connection
        # may be what is missing
        if isinstance(exc.__cause__, socket.gaierror):
            raise SilentReceiverError("its server is not found") from exc
        if isinstance(exc.__cause__, httpx.RequestError):
            raise SilentReceiverError("its server does not answer") from exc
        if "private" in str(exc):
            raise NoReceiverError("its server is in a private network") from exc
        raise NoReceiverError("its server takes no payments for it") from exc
    if not isinstance(found, LnurlPayResponse):
        raise NoReceiverError("its server takes no payments for it")


async def pay(
    wallet_id: str,
    bolt11: str,
    *,
    extra: dict[str, Any],
    description: str,
    external_id: str,
    conn: CoreConn | None = None,
) -> None:
    """Pay an invoice from a wallet. Every kind of failure may be raised."""
    await pay_invoice(
        wallet_id=wallet_id,
        payment_request=bolt11,
        extra=extra,
        description=description,
        external_id=external_id,
        conn=conn,
    )


async def credit(checking_id: str) -> bool:
    """Make a receiver's row a success and tell LNbits' listeners, as LNbits would.

    False if there is no such row.
    """
    async with core_connection() as conn:
        payment = await get_payment(checking_id, conn=conn)
        if not payment or payment.success:
            return bool(payment)
        payment.status = PaymentState.SUCCESS
        await update_payment(payment, conn=conn)
    task_manager.internal_invoice_queue.put_nowait(payment)
    logger.warning(
        f"satmachineadmin: finished the half-done payment {payment.payment_hash} "
        f"to wallet {payment.wallet_id} ({payment.sat} sat)"
    )
    return True


async def fail_unpaid_invoice(payment_hash: str) -> bool:
    """Set an invoice of this instance that nobody has paid to failed: LNbits then pays
    it for nobody any more, however late. True if it was still pending."""
    async with core_connection() as conn:
        failed = await execute(
            conn,
            "UPDATE apipayments SET status = 'failed', updated_at = :now "
            "WHERE payment_hash = :hash AND amount > 0 AND status = 'pending'",
            {"hash": payment_hash, "now": db_time(utc_now())},
        )
        await conn.conn.commit()
    return failed > 0


async def is_paid_after_all(checking_id: str) -> bool:
    """Ask the node once more about an external payment that LNbits calls failed; if it
    was paid, LNbits' row says so from now on. `OSError` if the node does not answer."""
    async with core_connection() as conn:
        payment = await get_payment(checking_id, conn=conn)
    if not payment or payment.is_internal:
        return False
    status = await _in_time(check_payment_status(payment))
    if not status.success:
        return False
    payment.status = PaymentState.SUCCESS
    payment.fee = -abs(status.fee_msat or payment.fee)
    payment.preimage = payment.preimage or status.preimage
    await update_payment(payment)
    return True


async def look_at_pending(checking_id: str) -> None:
    """Have LNbits look at a pending external payment (by itself: every 30 min, and
    only at the ten newest of the whole instance)."""
    async with core_connection() as conn:
        payment = await get_payment(checking_id, conn=conn)
    if payment and payment.pending and not payment.is_internal:
        await _in_time(update_pending_payment(payment))


async def _in_time(asking: Coroutine[Any, Any, T]) -> T:
    """What the node answers; `OSError` if it does not answer at all."""
    try:
        return await asyncio.wait_for(asking, NODE_SECONDS)
    except asyncio.TimeoutError as exc:
        raise OSError(f"the node has not answered for {NODE_SECONDS} s") from exc
