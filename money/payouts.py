"""One payout: its invoice, its payment, and what LNbits' rows say became of it.

Guaranteed:
- nothing is paid whose hash does not stand in our database;
- an outcome is read from LNbits' rows by (wallet, hash, sign), never taken from what
  `pay_invoice` returned or raised; only a row that says *failed* frees the legs;
- killed at any point, the next look at the same row continues.
Not guaranteed: that LNbits itself tells the truth about its node. A payment that LNbits
calls failed and that its node pays later is paid twice; asking the node once more
(`check_payment_status`) before a new invoice narrows that gap and cannot close it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from bolt11 import Bolt11Exception
from bolt11 import decode as bolt11_decode
from lnbits.core.crud.payments import (
    get_payment,
    update_payment,
    update_payment_checking_id,
)
from lnbits.core.db import db as core_db
from lnbits.core.models import Payment, PaymentState
from lnbits.core.services.lnurl import get_pr_from_lnurl
from lnbits.core.services.payments import (
    check_payment_status,
    create_invoice,
    pay_invoice,
    update_pending_payment,
)
from lnbits.db import Connection
from lnbits.exceptions import InvoiceError
from lnbits.task_manager import task_manager
from loguru import logger

from .. import bitspire, crud
from ..base.database import CHUNK, fetch_all, from_db_time, in_list
from ..host import limits
from ..models import Payout, utc_now
from . import payouts_crud

TAG = "satmachineadmin"
# LNbits marks an expired unpaid invoice as failed: ours outlive every outage
INVOICE_EXPIRY_SECONDS = 10 * 365 * 24 * 3600
# this prefix keeps LNbits' own status checks away from the receiver's row
INTERNAL_PREFIX = "internal_in_"
# LNbits' two commits of an internal payment are milliseconds apart
UNCREDITED_SECONDS = 60
# some clients of nodes wait for ever
NODE_SECONDS = 30

TAKEN_REASON = (
    "Another wallet has paid this invoice, or tried to: it will never be paid from "
    "here. Another one is needed."
)

T = TypeVar("T")
# LNbits' two requests to a Lightning address may take 10 s each when they fail fast
OUTSIDE_SECONDS = 30
_URL = re.compile(r"\w+://[^\s'\"]+")


class Outcome(str, Enum):
    NOT_TRIED = "not tried"
    TAKEN = "taken"
    INVOICE_FAILED = "invoice failed"
    IN_FLIGHT = "in flight"
    FAILED = "failed"
    UNCREDITED = "uncredited"
    PAID = "paid"


@dataclass(frozen=True)
class LnbitsRow:
    """One row of LNbits' payments, as far as an outcome depends on it."""

    checking_id: str
    wallet_id: str
    amount_msat: int
    fee_msat: int
    status: str
    updated_at: datetime


@dataclass(frozen=True)
class Observation:
    """What LNbits' rows say of one payout.

    `outgoing` is of the paying wallet, `incoming` of the receiver.
    """

    outcome: Outcome
    outgoing: LnbitsRow | None = None
    incoming: LnbitsRow | None = None

    @property
    def network_fee_sats(self) -> int:
        """What LNbits booked as fee on the outgoing row, rounded up to sats."""
        return -(-abs(self.outgoing.fee_msat) // 1000) if self.outgoing else 0


def classify(
    outgoing: LnbitsRow | None, incoming: LnbitsRow | None, *, is_foreign: bool = False
) -> Outcome:
    """What LNbits' rows of one payment hash mean. `is_foreign`: another wallet of this
    instance has paid that invoice, or tried to.

    | outgoing | incoming                | it means                                |
    |----------|-------------------------|-----------------------------------------|
    | none     | none or pending         | not tried; taken, if it is foreign      |
    | none     | success                 | taken: somebody else paid this invoice  |
    | none     | failed                  | the invoice is dead                     |
    | failed   |                         | failed                                  |
    | pending  |                         | in flight                               |
    | success  | none or success         | paid                                    |
    | success  | pending or failed       | payer debited, receiver not credited    |

    A taken invoice will never be paid from here: LNbits pays one payment hash once.
    """
    if outgoing is None:
        return _classify_untried(incoming, is_foreign)
    if outgoing.status == "failed":
        return Outcome.FAILED
    if outgoing.status != "success":
        return Outcome.IN_FLIGHT
    if incoming is not None and incoming.status != "success":
        return Outcome.UNCREDITED
    return Outcome.PAID


def _classify_untried(incoming: LnbitsRow | None, is_foreign: bool) -> Outcome:
    if is_foreign or (incoming is not None and incoming.status == "success"):
        return Outcome.TAKEN
    if incoming is not None and incoming.status == "failed":
        return Outcome.INVOICE_FAILED
    return Outcome.NOT_TRIED


async def read_outcomes(
    payouts: Iterable[Payout], conn: Connection | None = None
) -> dict[str, Observation]:
    """What became of payouts, from LNbits' rows in one query: payout id -> seen.

    `conn` is one of LNbits' database.
    """
    wanted = [p for p in payouts if p.payment_hash]
    hashes = [str(p.payment_hash) for p in wanted]
    async with core_db.reuse_conn(conn) if conn else core_db.connect() as c:
        by_hash = await _rows_by_hash(hashes, c)
    return {p.id: _observe(p, by_hash.get(str(p.payment_hash), [])) for p in wanted}


async def undone_receipts(hashes: Sequence[str]) -> list[Observation]:
    """Payments within this instance whose payer paid and whose receipt LNbits calls
    failed: a status check of another process, or a slow one, wrote over the success."""
    undone = []
    async with core_db.connect() as conn:
        by_hash = await _rows_by_hash(hashes, conn)
    for found in by_hash.values():
        received = [r for r in found if _is_receipt(r) and r.status == "failed"]
        paid = [r for r in found if r.amount_msat < 0 and r.status == "success"]
        if received and paid:
            undone.append(Observation(Outcome.UNCREDITED, paid[0], received[0]))
    return undone


async def _rows_by_hash(
    hashes: Sequence[str], conn: Connection
) -> dict[str, list[LnbitsRow]]:
    by_hash: dict[str, list[LnbitsRow]] = {}
    for start in range(0, len(hashes), CHUNK):
        params: dict[str, Any] = {}
        listed = in_list("h", hashes[start : start + CHUNK], params)
        for row in await fetch_all(
            conn,
            "SELECT checking_id, payment_hash, wallet_id, amount, fee, status, "  # noqa: S608
            f"updated_at FROM apipayments WHERE payment_hash IN {listed}",
            params,
        ):
            by_hash.setdefault(row["payment_hash"], []).append(_lnbits_row(row))
    return by_hash


def _lnbits_row(row: Mapping[str, Any]) -> LnbitsRow:
    return LnbitsRow(
        checking_id=row["checking_id"],
        wallet_id=row["wallet_id"],
        amount_msat=int(row["amount"]),
        fee_msat=int(row["fee"] or 0),
        status=str(row["status"]),
        updated_at=from_db_time(row["updated_at"]) or utc_now(),
    )


def _observe(payout: Payout, found: Sequence[LnbitsRow]) -> Observation:
    sent = [r for r in found if r.amount_msat < 0]
    outgoing = next((r for r in sent if r.wallet_id == payout.source_wallet_id), None)
    incoming = next((r for r in found if _is_receipt(r)), None)
    outcome = classify(outgoing, incoming, is_foreign=bool(sent))
    return Observation(outcome, outgoing, incoming)


def _is_receipt(row: LnbitsRow) -> bool:
    """A service fee is a third row with the same hash, positive and success."""
    return row.amount_msat > 0 and not row.checking_id.startswith("service_fee_")


class DestinationError(ValueError):
    """The destination cannot be paid now: counts as a failed attempt."""


async def make_internal_invoice(payout: Payout, memo: str, conn: Connection) -> Payout:
    """An invoice of the destination wallet that only this instance can pay.

    Raises `DestinationError`. Killed after LNbits wrote the invoice and before its hash
    is in our database: it is never paid, and a new one is made.
    """
    amount_sats = payout.amount_sats - limits.reserve_sats(payout.amount_sats, True)
    payment = await lasting_invoice(
        str(payout.destination_wallet_id),
        amount_sats,
        memo,
        conn,
        extra={"tag": TAG, "payout_id": payout.id},
        external_id=payout.id,
    )
    return payout.copy(
        update={
            "payment_hash": payment.payment_hash,
            "bolt11": payment.bolt11,
            "sent_sats": amount_sats,
        }
    )


async def lasting_invoice(
    wallet_id: str, amount_sats: int, memo: str, conn: Connection, **more: Any
) -> Payment:
    """An invoice of a wallet of this instance that LNbits' own status checks leave
    alone, before it is paid and after. Raises `DestinationError`."""
    try:
        payment = await create_invoice(
            wallet_id=wallet_id,
            amount=amount_sats,
            memo=memo,
            internal=True,
            expiry=INVOICE_EXPIRY_SECONDS,
            conn=conn,
            **more,
        )
    except InvoiceError as exc:
        raise DestinationError(exc.message) from exc
    except ValueError as exc:
        raise DestinationError(f"LNbits made no invoice: {str(exc)[:200]}") from exc
    await update_payment_checking_id(
        payment.checking_id, INTERNAL_PREFIX + payment.payment_hash, conn
    )
    return payment


async def fetch_external_invoice(payout: Payout) -> Payout:
    """An invoice for a payout to an address, an LNURL or a given bolt11.

    Raises `DestinationError`. The beneficiary bears the routing: the invoice is for the
    sum less LNbits' reserve.
    """
    kind, _, target = payout.destination.partition(":")
    amount_sats = payout.amount_sats - limits.reserve_sats(payout.amount_sats, False)
    if amount_sats <= 0:
        raise DestinationError(
            f"{payout.amount_sats} sat do not cover the routing reserve of "
            f"{payout.amount_sats - amount_sats} sat."
        )
    bolt11 = target
    if kind != "bolt11":
        bolt11 = await invoice_from_outside(target, amount_sats)
    try:
        invoice = bolt11_decode(bolt11)
    except (Bolt11Exception, ValueError) as exc:
        raise DestinationError("The destination's invoice cannot be read.") from exc
    sats, rest = divmod(int(invoice.amount_msat or 0), 1000)
    wanted = amount_sats if kind != "bolt11" else sats
    if sats != wanted or rest or not 0 < sats <= amount_sats:
        raise DestinationError(
            f"The destination's invoice is for {sats} sat, not for {amount_sats}."
        )
    if await is_machines_invoice(str(invoice.payment_hash)):
        raise DestinationError(
            "The destination gave a machine's own invoice: paid by us, that sale would "
            "never land."
        )
    return payout.copy(
        update={
            "payment_hash": invoice.payment_hash,
            "bolt11": bolt11,
            "sent_sats": sats,
        }
    )


async def is_machines_invoice(payment_hash: str) -> bool:
    """Whether it is the stamped cash-out invoice of a machine of this server."""
    wallets = await crud.machine_wallets()
    async with core_db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT wallet_id, extra FROM apipayments "
            "WHERE payment_hash = :hash AND amount > 0",
            {"hash": payment_hash},
        )
    return any(
        row["wallet_id"] in wallets and bitspire.SOURCE in str(row["extra"])
        for row in found
    )


async def invoice_from_outside(target: str, amount_sats: int) -> str:
    """What a stranger's server hands out as an invoice. Raises `DestinationError`.

    Whatever that server makes LNbits raise (JSON of a hundred thousand brackets is a
    RecursionError) is one failed attempt: nothing has been paid yet. And however
    slowly it speaks, it keeps one of the few places for payouts outside only so long:
    LNbits' own limit is for each piece of an answer, not for all of it.
    """
    try:
        return await asyncio.wait_for(
            get_pr_from_lnurl(target, amount_sats * 1000), OUTSIDE_SECONDS
        )
    except asyncio.TimeoutError as exc:
        raise DestinationError(
            f"The destination gives no invoice: no answer within {OUTSIDE_SECONDS} s"
        ) from exc
    except Exception as exc:
        why = _unnamed(str(exc), target)[:200] or type(exc).__name__
        raise DestinationError(f"The destination gives no invoice: {why}") from exc


def _unnamed(text: str, target: str) -> str:
    """The text without the address that was asked, or any other: the reason is shown
    to more people than the destination is."""
    text = re.sub(re.escape(target), "…", _URL.sub("…", text), flags=re.I)
    for part in target.split("@"):
        text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "…", text, flags=re.I)
    return text


async def try_to_pay(
    payout: Payout,
    description: str,
    conn: Connection | None = None,
    *,
    stamp: dict[str, Any] | None = None,
) -> str | None:
    """Ask LNbits to pay a stored invoice. Returns why it said no, or None.

    A customer's cash-in carries the machine's `stamp`, and lands by it; everything else
    is marked as a payment of our own, and never lands.

    Whatever is raised here proves nothing; the caller reads LNbits' rows. Hence the one
    broad except of the money path: every kind of failure has the same next step.
    """
    try:
        await pay_invoice(
            wallet_id=payout.source_wallet_id,
            payment_request=str(payout.bolt11),
            extra=stamp or {"tag": TAG, "payout_id": payout.id},
            description=description,
            external_id=payout.id,
            conn=conn,
        )
    except Exception as exc:
        reason = getattr(exc, "message", None) or str(exc) or type(exc).__name__
        logger.warning(
            f"satmachineadmin: payout {payout.id} ({payout.payment_hash}): {reason}"
        )
        return str(reason)[:300]
    return None


async def credit_receiver(seen: Observation) -> bool:
    """Credit the receiver of an internal payment whose second commit never happened.

    LNbits writes the payer's row and then the receiver's; killed between the two, or
    undone by a slow status check, it never mends that itself. Only after a minute: up
    to then LNbits may be about to write it. Its listeners are told, as LNbits would.
    """
    if not seen.outgoing or not seen.incoming:
        return False
    if seen.incoming.amount_msat != -seen.outgoing.amount_msat:
        logger.error(
            f"satmachineadmin: {seen.outgoing.checking_id} took "
            f"{-seen.outgoing.amount_msat} msat, and {seen.incoming.checking_id} is "
            f"for {seen.incoming.amount_msat} msat: nothing is credited"
        )
        return False
    age = utc_now() - seen.outgoing.updated_at
    if timedelta(0) <= age < timedelta(seconds=UNCREDITED_SECONDS):
        return False
    async with core_db.connect() as conn:
        payment = await get_payment(seen.incoming.checking_id, conn=conn)
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


async def is_really_failed(seen: Observation) -> bool:
    """For an external payment: ask the node once more; success wins."""
    if not seen.outgoing:
        return True
    async with core_db.connect() as conn:
        payment = await get_payment(seen.outgoing.checking_id, conn=conn)
    if not payment or payment.is_internal:
        return True
    status = await _in_time(check_payment_status(payment))
    if not status.success:
        return True
    payment.status = PaymentState.SUCCESS
    payment.fee = -abs(status.fee_msat or payment.fee)
    payment.preimage = payment.preimage or status.preimage
    await update_payment(payment)
    return False


async def ask_node(seen: Observation) -> None:
    """Have LNbits look at a pending external payment (by itself: every 30 min, and
    only at the ten newest of the whole instance)."""
    if not seen.outgoing:
        return
    async with core_db.connect() as conn:
        payment = await get_payment(seen.outgoing.checking_id, conn=conn)
    if payment and payment.pending and not payment.is_internal:
        await _in_time(update_pending_payment(payment))


async def _in_time(asking: Coroutine[Any, Any, T]) -> T:
    """What the node answers; `OSError` if it does not answer at all."""
    try:
        return await asyncio.wait_for(asking, NODE_SECONDS)
    except asyncio.TimeoutError as exc:
        raise OSError(f"the node has not answered for {NODE_SECONDS} s") from exc


def check_again_at(payout: Payout, now: datetime) -> datetime:
    """When to look at an unfinished payout again: 1 min, doubling, at most 1 h."""
    return now + timedelta(seconds=payouts_crud.backoff_seconds(payout.checks + 1))


@dataclass
class InFlightPayments:
    """Payments in progress, which an upgrade or a shutdown must not cut in half."""

    tasks: set[asyncio.Task] = field(default_factory=set)
    payout_ids: set[str] = field(default_factory=set)

    async def run(self, payout_ids: Iterable[str], coro: Any) -> Any:
        """Await a coroutine that survives the cancellation of its caller."""
        ids = set(payout_ids)
        task = asyncio.create_task(coro)
        self.tasks.add(task)
        self.payout_ids |= ids

        def done(_: asyncio.Task) -> None:
            self.tasks.discard(task)
            self.payout_ids.difference_update(ids)

        task.add_done_callback(done)
        return await asyncio.shield(task)


in_flight_payments = InFlightPayments()
