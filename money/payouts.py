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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import httpx
from bolt11 import Bolt11Exception
from bolt11 import decode as bolt11_decode
from lnbits.core.models import Payment
from loguru import logger

from .. import bitspire, crud
from ..base.events import CancelledWithinError
from ..host import limits, paying
from ..host.database import CoreConn
from ..host.payments import LnbitsRow, receipts_of, rows_by_hash
from ..models import Payout, utc_now
from . import payouts_crud

TAG = "satmachineadmin"
# LNbits' two commits of an internal payment are milliseconds apart
UNCREDITED_SECONDS = 60

TAKEN_REASON = (
    "Another wallet has paid this invoice, or tried to: it will never be paid from "
    "here. Another one is needed."
)

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

    def booked(self, payout: Payout) -> payouts_crud.Booked:
        """The payout as paid, when LNbits booked it."""
        now = utc_now()
        at = min(self.outgoing.updated_at, now) if self.outgoing else now
        return payouts_crud.Booked(payout, self.network_fee_sats, at)


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
    payouts: Iterable[Payout], conn: CoreConn | None = None
) -> dict[str, Observation]:
    """What became of payouts, from LNbits' rows in one query: payout id -> seen."""
    wanted = [p for p in payouts if p.payment_hash]
    hashes = [str(p.payment_hash) for p in wanted]
    by_hash = await rows_by_hash(hashes, conn)
    return {p.id: _observe(p, by_hash.get(str(p.payment_hash), [])) for p in wanted}


async def undone_receipts(hashes: Sequence[str]) -> list[Observation]:
    """Payments within this instance whose payer paid and whose receipt is no success:
    LNbits died between its two commits, or a status check of another process, or a
    slow one, wrote `failed` over the success."""
    undone = []
    by_hash = await rows_by_hash(hashes)
    for found in by_hash.values():
        for receipt in (r for r in found if r.is_receipt and r.status != "success"):
            paid = next((r for r in found if _pays(r, receipt)), None)
            if paid:
                undone.append(Observation(Outcome.UNCREDITED, paid, receipt))
    return undone


def _pays(row: LnbitsRow, receipt: LnbitsRow) -> bool:
    """Whether this row is the paid other side of the receipt: the same sats left."""
    return row.status == "success" and row.amount_msat == -receipt.amount_msat


def _observe(payout: Payout, found: Sequence[LnbitsRow]) -> Observation:
    sent = [r for r in found if r.amount_msat < 0]
    outgoing = next((r for r in sent if r.wallet_id == payout.source_wallet_id), None)
    incoming = next((r for r in found if r.is_receipt), None)
    outcome = classify(outgoing, incoming, is_foreign=bool(sent))
    return Observation(outcome, outgoing, incoming)


class DestinationError(ValueError):
    """The destination cannot be paid now: counts as a failed attempt."""


class NoAnswerError(DestinationError):
    """Nobody answered there in time: it is not asked again at once, by nobody."""


async def make_internal_invoice(payout: Payout, memo: str, conn: CoreConn) -> Payout:
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
    wallet_id: str, amount_sats: int, memo: str, conn: CoreConn, **more: Any
) -> Payment:
    """An invoice of a wallet of this instance that LNbits' own status checks leave
    alone, before it is paid and after. Raises `DestinationError`."""
    try:
        return await paying.make_lasting_invoice(
            wallet_id, amount_sats, memo, conn, **more
        )
    except paying.NoInvoiceError as exc:
        raise DestinationError(str(exc)) from exc


async def fetch_external_invoice(payout: Payout) -> Payout:
    """An invoice for a payout to an address, an LNURL or a given bolt11.

    Raises `DestinationError`. The beneficiary bears the routing: the invoice is for the
    sum less LNbits' reserve.
    """
    kind, _, target = payout.destination.partition(":")
    if kind == "bolt11":
        return await _given_invoice(payout, target)
    amount_sats = payout.amount_sats - limits.reserve_sats(payout.amount_sats, False)
    if amount_sats <= 0:
        raise DestinationError(
            f"{payout.amount_sats} sat do not cover the routing reserve of "
            f"{payout.amount_sats - amount_sats} sat."
        )
    bolt11 = await invoice_from_outside(target, amount_sats)
    sats, payment_hash = _read_invoice(bolt11)
    if sats != amount_sats:
        raise DestinationError(
            f"The destination's invoice is for {sats} sat, not for {amount_sats}."
        )
    return await _with_invoice(payout, bolt11, payment_hash, sats)


async def _given_invoice(payout: Payout, bolt11: str) -> Payout:
    """A customer's own invoice: one of this instance is not routed, and may be for all
    that is owed, less LNbits' service fee where it takes one."""
    sats, payment_hash = _read_invoice(bolt11)
    is_inside = bool(await receipts_of(payment_hash))
    most = payout.amount_sats - limits.reserve_sats(payout.amount_sats, is_inside)
    if sats > most:
        raise DestinationError(
            f"The destination's invoice is for {sats} sat, not for {most}."
        )
    return await _with_invoice(payout, bolt11, payment_hash, sats)


def _read_invoice(bolt11: str) -> tuple[int, str]:
    """Its sats and its hash. Raises `DestinationError` where they are not whole."""
    try:
        invoice = bolt11_decode(bolt11)
    except (Bolt11Exception, ValueError) as exc:
        raise DestinationError("The destination's invoice cannot be read.") from exc
    sats, rest = divmod(int(invoice.amount_msat or 0), 1000)
    if rest or sats <= 0:
        raise DestinationError(
            "The destination's invoice is not for a whole amount of sats."
        )
    return sats, str(invoice.payment_hash)


async def _with_invoice(
    payout: Payout, bolt11: str, payment_hash: str, sats: int
) -> Payout:
    if await is_machines_invoice(payment_hash):
        raise DestinationError(
            "The destination gave a machine's own invoice: paid by us, that sale would "
            "never land."
        )
    return payout.copy(
        update={
            "payment_hash": payment_hash,
            "bolt11": bolt11,
            "sent_sats": sats,
        }
    )


async def is_machines_invoice(payment_hash: str) -> bool:
    """Whether it is the stamped cash-out invoice of a machine of this server."""
    wallets = await crud.machine_wallets()
    return any(
        row["wallet_id"] in wallets and bitspire.SOURCE in str(row["extra"])
        for row in await receipts_of(payment_hash)
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
            paying.ask_for_invoice(target, amount_sats), OUTSIDE_SECONDS
        )
    except asyncio.TimeoutError as exc:
        raise NoAnswerError(
            f"The destination gives no invoice: no answer within {OUTSIDE_SECONDS} s"
        ) from exc
    except Exception as exc:
        why = _unnamed(str(exc), target)[:200] or type(exc).__name__
        kind = NoAnswerError if _ran_out_of_time(exc) else DestinationError
        raise kind(f"The destination gives no invoice: {why}") from exc


def _ran_out_of_time(exc: BaseException | None) -> bool:
    """Whether a timeout stands behind it: LNbits' lnurl library wraps httpx's."""
    while exc is not None:
        if isinstance(exc, asyncio.TimeoutError | httpx.TimeoutException):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


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
    conn: CoreConn | None = None,
    *,
    stamp: dict[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> str | None:
    """Ask LNbits to pay a stored invoice. Returns why it said no, or None.

    A customer's cash-in carries the machine's `stamp`, and lands by it; everything else
    is marked as a payment of our own, and never lands. `facts` are what it pays for: by
    them a restored database finds out what it paid since.

    Whatever is raised here proves nothing; the caller reads LNbits' rows. Hence the one
    broad except of the money path: every kind of failure has the same next step.
    """
    try:
        await paying.pay(
            payout.source_wallet_id,
            str(payout.bolt11),
            extra=stamp or {"tag": TAG, "payout_id": payout.id, **(facts or {})},
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
    return await paying.credit(seen.incoming.checking_id)


async def is_really_failed(seen: Observation) -> bool:
    """For an external payment: ask the node once more; success wins."""
    if not seen.outgoing:
        return True
    return not await paying.is_paid_after_all(seen.outgoing.checking_id)


async def ask_node(seen: Observation) -> None:
    """Have LNbits look at a pending external payment."""
    if seen.outgoing:
        await paying.look_at_pending(seen.outgoing.checking_id)


def check_again_at(payout: Payout, now: datetime) -> datetime:
    """When to look at an unfinished payout again: 1 min, doubling, at most 1 h."""
    return now + timedelta(seconds=payouts_crud.backoff_seconds(payout.checks + 1))


@dataclass
class InFlightPayments:
    """Payments in progress, which an upgrade or a shutdown must not cut in half."""

    tasks: set[asyncio.Task] = field(default_factory=set)
    payout_ids: set[str] = field(default_factory=set)

    async def run(self, payout_ids: Iterable[str], coro: Any) -> Any:
        """Await a coroutine that survives the cancellation of its caller.

        Cancelled by something within, it raises an error like any other.
        """
        ids = set(payout_ids)
        task = asyncio.create_task(coro)
        self.tasks.add(task)
        self.payout_ids |= ids

        def done(_: asyncio.Task) -> None:
            self.tasks.discard(task)
            self.payout_ids.difference_update(ids)

        task.add_done_callback(done)
        # a wait leaves what it waits for alone, as a shield does
        await asyncio.wait({task})
        if task.cancelled():
            raise CancelledWithinError("a payment was cancelled from within")
        return task.result()


in_flight_payments = InFlightPayments()
