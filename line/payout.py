"""Pay the customer: the `payout` call, a cash-in.

The customer's cash is in the machine when the request comes, and the sats leave once
for each (machine, txid), however often, late, or with what other invoice it is asked.

Guaranteed:
- an attempt (its hash and bolt11) stands in our database before it may be paid, written
  by the engine only, and each request has at most one that LNbits does not call failed;
- what became of it is read from LNbits' rows, never from what paying it returned;
- after an ERROR nothing is paid for that event any more (`verdicts_crud.py`), nor for
  an older one that a slow relay brings later: the machine may have given the cash back;
- only free balance is spent, within the operator's limits for one payout and one day.
Not guaranteed: that a payment which LNbits calls failed is not settled by its node
later; the node is asked once more before another invoice is taken.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bolt11 import decode as bolt11_decode
from loguru import logger

from .. import crud, distribution
from ..base import lease
from ..host import limits
from ..host.database import deferred_commit
from ..host.payments import issuer_of, payment_by_checking_id
from ..host.wallets import local_wallet_of_address, wallet_facts
from ..models import CASH_IN, Machine, Payout, utc_now
from ..money import landing, payouts, payouts_crud
from ..money.funds import free_sats
from ..money.payouts import DestinationError, Observation, Outcome
from ..money.targets import normalise_address
from . import requests_crud, verdicts_crud
from .calls import Call, external_id, must_be_fresh, request_for
from .nostr import Incoming, LineError
from .requests_crud import Attempt, MachineRequest
from .verdicts_crud import AlreadyJudgedError

PAYING, PAID, FAILED, REFUSED = "paying", "paid", "failed", "refused"
PENDING = "pending"
LOOK_FIRST_SECONDS = 60


@dataclass(frozen=True)
class Invoice:
    """The customer's invoice, and the wallet that issued it if it is of this server."""

    bolt11: str
    payment_hash: str
    wallet_id: str | None
    is_expired: bool


@dataclass(frozen=True)
class Answer:
    """Nothing is paid for this request now; `status` is how it stands."""

    status: str


@dataclass(frozen=True)
class Pay:
    """The invoice that is stored: LNbits has not tried it."""


@dataclass(frozen=True)
class NewInvoice:
    """The invoice that this request brings, after the checks."""


# --------------------------------------------------------------------------- the call


async def payout(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    """Pay the customer, or say what became of it. Raises LineError."""
    must_be_fresh(call.event)
    destination = read_destination(body)
    request = await request_for(call, "payout", CASH_IN, body)
    seen = Observation(Outcome.NOT_TRIED)
    if request.payment_hash:
        request, seen = await refresh_request(request)
    step = next_step(request, seen, destination, await _destinations(request))
    if isinstance(step, Answer):
        return await _state(request, step.status)
    try:
        _must_be_newest(request, call.event)
        _must_be_wanted(body)
        if isinstance(step, Pay):
            invoice = await _stored_invoice(request)
            await _must_be_allowed(call.machine, request, invoice)
        else:
            await _must_be_allowed(call.machine, request, None)
            invoice = await _invoice(request, destination)
            await _must_be_allowed(call.machine, request, invoice)
            await _open(call, request, invoice, destination)
    except LineError as refusal:
        await _note_refusal(request, refusal, call.event)
        raise
    return await _pay(call, request.txid)


def next_step(
    request: MachineRequest,
    seen: Observation,
    destination: str,
    destinations: Collection[str],
) -> Answer | Pay | NewInvoice:
    """What follows from the request's row and from what LNbits' rows say of its newest
    attempt. `destinations` are those of all its attempts.

    Raises LineError `conflict`: something may be on its way to another invoice.
    """
    if request.status == FAILED:
        return Answer(FAILED) if destination in destinations else NewInvoice()
    if request.status not in (PAYING, PAID):
        return NewInvoice()
    if destination not in destinations:
        raise LineError(
            "conflict",
            f"txid {request.txid[:40]} is being paid to another invoice, or was: use a "
            "new txid for a new transaction.",
            payment_hash=request.payment_hash,
            payment_status=PAID if request.status == PAID else PENDING,
        )
    if request.status == PAID:
        return Answer(PAID)
    return Pay() if seen.outcome is Outcome.NOT_TRIED else Answer(PENDING)


async def _destinations(request: MachineRequest) -> set[str]:
    attempts = await requests_crud.attempts_of(request.machine_id, request.txid)
    return {attempt.destination for attempt in attempts}


async def _state(request: MachineRequest, status: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "txid": request.txid,
        "payment_hash": request.payment_hash,
        "payment_status": status,
        "wire_sats": request.wire_sats,
        "fee_sats": request.fee_sats,
    }
    if status == FAILED and request.reason:
        answer["reason"] = request.reason
    if status == PAID:
        settlement = await crud.get_settlement_by_hash(str(request.payment_hash))
        answer["settlement_id"] = settlement.id if settlement else None
    return answer


def _must_be_newest(request: MachineRequest, event: Incoming) -> None:
    """What was asked before the newest request that was decided upon, and comes after
    it, pays nothing: the machine has gone on since, and may have given the cash back.
    """
    if event.created_at < request.event_epoch:
        raise LineError(
            "stale",
            "A request that is dated later was decided upon already: ask again, newly "
            "signed.",
        )


async def _note_refusal(
    request: MachineRequest, refusal: LineError, event: Incoming
) -> None:
    """Show why it was refused; an open attempt stays open.

    The date counts as far as our own clock: a machine whose clock was fast, and is set
    right, must not wait until the time it once believed in.
    """
    status = REFUSED if request.status == "new" else request.status
    dated = min(event.created_at, int(time.time()))
    await requests_crud.set_request_status(
        request,
        status,
        code=refusal.code,
        reason=refusal.reason,
        event=(event.id, max(dated, request.event_epoch)),
    )


# --------------------------------------------------------------------- what is checked


def read_destination(body: Mapping[str, Any]) -> str:
    """`bolt11:<invoice>` or `address:<name@domain>`; exactly one must be given."""
    bolt11, address = body.get("bolt11"), body.get("ln_address")
    if (bolt11 is None) == (address is None):
        raise LineError("bad_request", "Send either bolt11 or ln_address.")
    if bolt11 is not None:
        if not isinstance(bolt11, str) or not 0 < len(bolt11) <= 8_000:
            raise LineError("bad_request", "bolt11 must be a Lightning invoice.")
        return f"bolt11:{bolt11.strip().lower().removeprefix('lightning:')}"
    if not isinstance(address, str):
        raise LineError("bad_request", "ln_address must be like name@domain.com.")
    try:
        return f"address:{normalise_address(address)}"
    except ValueError as exc:
        raise LineError("bad_request", str(exc)) from exc


def _must_be_wanted(body: Mapping[str, Any]) -> None:
    until = body.get("valid_until")
    if until is None:
        return
    if isinstance(until, bool) or not isinstance(until, int):
        raise LineError("bad_request", "valid_until must be whole seconds since 1970.")
    if time.time() > until:
        raise LineError("expired", "valid_until has passed: nothing is paid any more.")


async def _must_be_allowed(
    machine: Machine, request: MachineRequest, invoice: Invoice | None
) -> None:
    """Everything that may say no for a reason that is not the destination's."""
    sats = request.wire_sats
    if not machine.is_active:
        raise LineError("inactive", "This machine is deactivated by its operator.")
    if machine.payouts_stopped_reason:
        raise LineError("stopped", f"Payouts stopped: {machine.payouts_stopped_reason}")
    if sats > machine.max_payout_sats:
        raise LineError(
            "limit",
            f"{sats} sat is more than the {machine.max_payout_sats} sat that the "
            "operator allows for one payout.",
        )
    await _lnbits_must_allow(request, invoice)
    is_internal = invoice is None or bool(invoice.wallet_id)
    needed = sats + limits.reserve_sats(sats, is_internal)
    free = await free_sats(request.wallet_id)
    if free < needed:
        raise LineError(
            "wallet_short",
            f"{max(0, free)} of the {needed} sat needed (with the reserve for routing) "
            "are free in the machine's wallet.",
        )


async def _lnbits_must_allow(request: MachineRequest, invoice: Invoice | None) -> None:
    """LNbits' own refusals, asked for before an attempt exists that they would stop."""
    if limits.takes_only_incoming():
        raise LineError("refused", "This LNbits accepts only incoming payments now.")
    most = limits.most_outgoing_sats()
    if request.wire_sats > most:
        raise LineError("limit", f"This LNbits pays at most {most} sat at once.")
    if invoice and not invoice.wallet_id and not limits.has_funding_source():
        raise LineError("refused", "LNbits has no Lightning funding source now.")
    refusal = await limits.wallet_refusal(request.wallet_id, request.wire_sats)
    if refusal:
        raise LineError("limit", refusal)


async def _invoice(request: MachineRequest, destination: str) -> Invoice:
    """The customer's invoice, given or fetched, for exactly what they get."""
    kind, _, target = destination.partition(":")
    bolt11 = target
    if kind == "address":
        bolt11 = await _invoice_of_address(target, request)
    invoice = await read_invoice(bolt11, request.wire_sats)
    if invoice.is_expired:
        raise LineError("bad_invoice", "The customer's invoice has expired.")
    await _must_be_customers(request, invoice)
    return invoice


async def _invoice_of_address(address: str, request: MachineRequest) -> str:
    sats = request.wire_sats
    wallet_id = await local_wallet_of_address(address)
    try:
        if not wallet_id:
            return await payouts.invoice_from_outside(address, sats)
        memo = f"{request.fiat_amount} {request.fiat_code}"
        async with deferred_commit() as conn:
            payment = await payouts.lasting_invoice(wallet_id, sats, memo, conn)
        return payment.bolt11
    except DestinationError as exc:
        raise LineError("bad_invoice", str(exc)) from exc


async def read_invoice(bolt11: str, wire_sats: int) -> Invoice:
    """A customer's invoice, if it is for exactly `wire_sats`. Raises LineError."""
    try:
        decoded = bolt11_decode(bolt11)
        amount_msat = int(decoded.amount_msat or 0)
        payment_hash = str(decoded.payment_hash)
        is_expired = decoded.has_expired()
    except Exception as exc:
        # bolt11 raises whatever its libraries raise, a bare Exception among it; all of
        # it says the same of the text
        raise LineError("bad_invoice", "bolt11 is not a Lightning invoice.") from exc
    if amount_msat != wire_sats * 1000:
        raise LineError(
            "wrong_amount",
            f"The invoice is for {amount_msat / 1000:g} sat; the customer gets "
            f"{wire_sats} sat.",
        )
    return Invoice(bolt11, payment_hash, await issuer_of(payment_hash), is_expired)


async def _must_be_customers(request: MachineRequest, invoice: Invoice) -> None:
    """Not an invoice of this back office, of a machine, or of the paying wallet."""
    wallet = (await wallet_facts([request.wallet_id])).get(request.wallet_id)
    machine = await crud.get_machine(request.machine_id)
    owner = machine.operator_user_id if machine else None
    if wallet is None or not wallet.is_usable or wallet.user_id != owner:
        raise LineError(
            "refused", "The machine's wallet is gone or is not its operator's any more."
        )
    is_taken = await requests_crud.hash_is_taken(invoice.payment_hash)
    if is_taken or (invoice.wallet_id or "") in await crud.machine_wallets():
        raise LineError(
            "bad_invoice",
            "This invoice belongs to a machine or to the back office: the customer "
            "must show one of their own wallet.",
        )


# --------------------------------------------------------------------------- paying it


async def _open(
    call: Call, request: MachineRequest, invoice: Invoice, destination: str
) -> None:
    now = utc_now()
    machine = call.machine
    attempt = Attempt(
        payment_hash=invoice.payment_hash,
        machine_id=request.machine_id,
        txid=request.txid,
        wallet_id=request.wallet_id,
        wire_sats=request.wire_sats,
        destination=destination,
        bolt11=invoice.bolt11,
        created_at=now,
        next_look_at=now + timedelta(seconds=LOOK_FIRST_SECONDS),
    )
    try:
        await requests_crud.open_attempt(
            request,
            attempt,
            event=call.event,
            holder=call.holder,
            day_start=now.replace(hour=0, minute=0, second=0, microsecond=0),
            max_day_sats=machine.max_daily_payout_sats,
        )
    except requests_crud.InvoiceUsedError as exc:
        raise LineError(
            "bad_invoice", "This invoice was used before: the customer must make a new."
        ) from exc
    except requests_crud.DayLimitError as exc:
        raise LineError(
            "limit",
            f"With {request.wire_sats} sat more, today's payouts would be above the "
            f"{machine.max_daily_payout_sats} sat that the operator allows for a day.",
        ) from exc
    except (requests_crud.RequestMovedError, AlreadyJudgedError) as exc:
        raise _busy() from exc


def _busy() -> LineError:
    return LineError("busy", "The server is changing hands; repeat the request.")


async def _stored_invoice(request: MachineRequest) -> Invoice:
    """The invoice that LNbits has not tried. Expired or not, it is the only one that
    may be paid until LNbits says that it failed."""
    return await read_invoice(str(request.bolt11), request.wire_sats)


async def _pay(call: Call, txid: str) -> dict[str, Any]:
    """Whatever is raised from here on without `take_back` is not said to the machine:
    its event was acted upon."""
    machine_id = call.machine.id
    request = await requests_crud.get_request(machine_id, txid)
    if request is None or request.status != PAYING:
        raise LineError("busy", "The request is being worked on; repeat it.")
    if not await verdicts_crud.may_act_again(call.event, machine_id, call.holder):
        raise _busy()
    reason = await payouts.in_flight_payments.run(
        [_payout_of(request).id],
        payouts.try_to_pay(
            _payout_of(request),
            f"{request.fiat_amount} {request.fiat_code}, {request.txid[:40]}",
            stamp=request.stamp,
        ),
    )
    request, seen = await refresh_request(request)
    if seen.outcome is Outcome.NOT_TRIED and request.status == PAYING:
        return await _not_tried(call, request, _refusal_of(reason))
    status = request.status if request.status in (PAID, FAILED) else PENDING
    return await _state(request, status)


async def _not_tried(
    call: Call, request: MachineRequest, refusal: LineError
) -> dict[str, Any]:
    """LNbits said no before it wrote a row: for now, or for ever to what is too old."""
    is_over = bolt11_decode(str(request.bolt11)).has_expired()
    if is_over and await lease.holds_lease(call.holder):
        await requests_crud.fail_attempt(request, "The customer's invoice has expired.")
        failed = await requests_crud.get_request(request.machine_id, request.txid)
        return await _state(failed or request, FAILED)
    if not await verdicts_crud.take_back(
        call.event, refusal.code, refusal.reason, call.holder
    ):
        raise _busy()
    await _note_refusal(request, refusal, call.event)
    raise refusal


def _refusal_of(reason: str | None) -> LineError:
    """LNbits wrote no row: it said no before it tried."""
    text = reason or "LNbits did not pay and gave no reason."
    is_short = "balance" in text.lower() or "reserve" in text.lower()
    return LineError("wallet_short" if is_short else "refused", text)


# ------------------------------------------------------------------------ the outcome


def _payout_of(request: MachineRequest) -> Payout:
    """The request in the form that `payouts.py` reads outcomes for."""
    return Payout(
        id=external_id(request),
        source_wallet_id=request.wallet_id,
        destination=f"bolt11:{request.bolt11}",
        is_internal=False,
        amount_sats=request.wire_sats,
        sent_sats=request.wire_sats,
        status="invoiced",
        payment_hash=request.payment_hash,
        bolt11=request.bolt11,
        created_at=request.created_at,
    )


async def _seen(request: MachineRequest) -> Observation:
    payout = _payout_of(request)
    return (await payouts.read_outcomes([payout]))[payout.id]


async def refresh_request(
    request: MachineRequest,
) -> tuple[MachineRequest, Observation]:
    """Read LNbits' rows of the newest attempt and move the request to what they say."""
    seen = await _seen(request)
    if request.status != PAYING:
        return request, seen
    if seen.outcome is Outcome.UNCREDITED and await payouts.credit_receiver(seen):
        seen = await _seen(request)
    if seen.outcome is Outcome.PAID:
        await _land(request, seen)
        await requests_crud.set_request_status(request, PAID)
    elif seen.outcome is Outcome.INVOICE_FAILED:
        await requests_crud.fail_attempt(request, "The customer's invoice is dead.")
    elif seen.outcome is Outcome.TAKEN:
        await requests_crud.fail_attempt(request, payouts.TAKEN_REASON)
    elif seen.outcome is Outcome.FAILED:
        await _fail_if_proven(request, seen)
    now = await requests_crud.get_request(request.machine_id, request.txid)
    return now or request, seen


async def _land(request: MachineRequest, seen: Observation) -> None:
    """The sweep would land it too, by its stamp; this is only sooner."""
    if seen.outgoing is None:
        return
    payment = await payment_by_checking_id(seen.outgoing.checking_id)
    landed = await landing.land_payment(payment, event_id=request.event_id)
    if landed and landed.is_new:
        distribution.wake()


async def _fail_if_proven(request: MachineRequest, seen: Observation) -> None:
    try:
        is_failed = await payouts.is_really_failed(seen)
    except Exception as exc:  # see look_at_open_payouts: unknown, so it waits
        logger.warning(
            f"satmachineadmin: cash-in {request.payment_hash}: status unknown: {exc}"
        )
        return
    if is_failed:
        await requests_crud.fail_attempt(
            request, "LNbits reports that the payment to the customer failed."
        )


async def recheck_customer_payments() -> int:
    """The engine's look at payouts whose outcome is open, with backoff; LNbits itself
    looks only every half hour, and at the ten newest of the whole server."""
    found = await requests_crud.payouts_to_look_at(utc_now())
    for request in found:
        try:
            await _look_and_ask(request)
        except Exception:
            # every node's client raises classes of its own: none is an outcome, and
            # none may close the line to the machines
            logger.exception(f"satmachineadmin: cash-in {request.payment_hash}")
        await _look_later(request)
    return len(found)


async def _look_and_ask(request: MachineRequest) -> None:
    _, seen = await refresh_request(request)
    if seen.outcome is Outcome.IN_FLIGHT:
        await payouts.ask_node(seen)
        await refresh_request(request)


async def _look_later(request: MachineRequest) -> None:
    attempts = await requests_crud.attempts_of(request.machine_id, request.txid)
    checks = next(
        (a.checks for a in attempts if a.payment_hash == request.payment_hash), 0
    )
    await requests_crud.schedule_check(
        str(request.payment_hash),
        utc_now() + timedelta(seconds=payouts_crud.backoff_seconds(checks + 1)),
    )
