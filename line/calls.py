"""What does a machine ask, and what is it told? The calls of kind 21000, but `payout`.

Each is `(call, body)`: who asks by which event, and what was decrypted.

Every call is answered from the present state, whatever was answered before: a machine
repeats what it must report until it has an OK. Money is idempotent by payment hash and
by (machine, txid), never by requestId.

Guaranteed: a report adds facts, never money: what lands is what LNbits' own rows show
in the machine's wallet. Refusals are `LineError`s with a code and a sentence.
Not guaranteed: that the machine hears the answer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from bolt11 import decode as bolt11_decode
from lnbits.core.models import Payment
from loguru import logger

from .. import bitspire, crud, distribution
from ..base.audit import MACHINE
from ..base.database import db, transaction
from ..base.rates_crud import known_rates
from ..base.refusals import BadInputError, RefusedError
from ..base.text import storable_text
from ..bitspire import FeeFractions, Figures, Limits, SettlementInvariantError
from ..calculations import cents_text, fee_shares, fiat_cents
from ..cash.ledger import Report
from ..cash.postings import post_report
from ..desk.actions import ConcurrentChangeError
from ..desk.dispense import apply_kept_reports, machine_reports
from ..host import paying
from ..host.payments import invoice_by_external_id, payment_of
from ..models import CASH_IN, CASH_OUT, Fiat, Machine, Settlement, utc_now
from ..money import landing
from ..parties.discounts_crud import PLATFORM, Discount, NoDiscountError
from . import codes, requests_crud
from . import crud as line_crud
from .available import cash_facts, name_the_sale, notes_of, open_invoices, set_aside
from .funds import max_cash_in_sats
from .nostr import Incoming, LineError
from .requests_crud import MachineRequest

FRESH_SECONDS = 600
MAX_TXID_LENGTH = 200
MAX_OPEN_INVOICES = 50


@dataclass(frozen=True)
class Call:
    """Who asks, by which event. `holder` is the process that answers: it may pay only
    while it holds the lease."""

    machine: Machine
    event: Incoming
    holder: str


# -------------------------------------------------------------------- small questions


async def pair(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    """Prove that the machine's key and the operator's code belong together.

    Repeated with the code it paired with, the machine is told that it is paired.
    """
    machine = call.machine
    code = body.get("code")
    if not isinstance(code, str) or not code:
        raise LineError("bad_request", "code is missing: scan the pairing QR again.")
    paired = await line_crud.pair_machine(machine, code, call.event.to)
    if not paired:
        line = await line_crud.get_line(machine.id)
        repeated = hmac.compare_digest((line.used_code or "").encode(), code.encode())
        if not (machine.is_paired and repeated):
            await line_crud.count_wrong_code(machine.id)
            raise LineError(
                "bad_code",
                "This pairing code is wrong, used or older than an hour: show a new "
                "one in the dashboard.",
            )
    else:
        # another registration that claims this key may have had the code
        machine = await line_crud.machine_by_npub(machine.machine_npub) or machine
        logger.info(f"satmachineadmin: machine {machine.id} is paired")
    return {
        "name": machine.name or "",
        "fiat_code": machine.fiat_code,
        "currency": machine.fiat_code,
    }


async def ping(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"pong": True}


async def quote(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    """The fees in force for a direction, how much a trade may have, how much a customer
    may sell, and what the machine can pay out."""
    machine = call.machine
    tx_type = body.get("tx_type")
    if tx_type not in (CASH_IN, CASH_OUT):
        raise LineError("bad_request", 'tx_type must be "cash_out" or "cash_in".')
    if body.get("fiat_code") != machine.fiat_code:
        raise LineError(
            "bad_request", f"The machine's currency here is {machine.fiat_code}."
        )
    must_be_active(machine)
    discount = await codes.read_code(machine, body)
    config = await crud.get_super_config()
    fractions = codes.fractions_with(FeeFractions.of(machine, config), discount)
    terms = fractions.terms(tx_type)
    if body.get("fiat_amount") is not None:
        must_be_within_limits(machine, _cents(body["fiat_amount"], "fiat_amount"))
    least, most = machine.min_fiat, machine.max_fiat
    return {
        "platform_fee_fraction": format(terms.platform_fraction, "f"),
        "operator_fee_fraction": format(terms.operator_fraction, "f"),
        "operator_fixed_fee": cents_text(terms.fixed_cents),
        "min_fiat": None if least is None else format(least, "f"),
        "max_fiat": None if most is None else format(most, "f"),
        "max_cash_in_sats": await max_cash_in_sats(machine),
        **codes.of_discount(discount, terms),
        **await cash_facts(machine),
    }


def must_be_within_limits(machine: Machine, cents: int) -> None:
    """Before a customer pays or puts notes in; what is in the box is paid."""
    refusal = Limits.of(machine).refusal(cents, machine.fiat_code)
    if refusal:
        raise LineError("limit", refusal)


def must_be_active(machine: Machine) -> None:
    if not machine.is_active:
        raise LineError("inactive", "This machine is deactivated by its operator.")


def must_be_fresh(event: Incoming) -> None:
    """Only an order to move money must be fresh; reports are welcome late."""
    if abs(time.time() - event.created_at) > FRESH_SECONDS:
        raise LineError(
            "stale",
            "The request is dated more than ten minutes away from the server's time: "
            "set the machine's clock and ask again.",
        )


# --------------------------------------------------------- terms of a transaction


@dataclass(frozen=True)
class Terms:
    """What a machine wants to do, after every check of a settlement."""

    txid: str
    figures: Figures
    stamp: dict[str, Any]
    discount: Discount | None = None


def read_txid(body: Mapping[str, Any]) -> str:
    txid = body.get("txid")
    if isinstance(txid, int) and not isinstance(txid, bool) and txid.bit_length() < 200:
        txid = str(txid)
    if not isinstance(txid, str) or not 0 < len(txid) <= MAX_TXID_LENGTH:
        raise LineError(
            "bad_request",
            f"txid must be text of at most {MAX_TXID_LENGTH} characters.",
        )
    return txid


async def read_terms(
    machine: Machine, body: Mapping[str, Any], tx_type: str, txid: str
) -> Terms:
    """Check the figures as a settlement of them would be checked when it lands.

    Without `fee_sats` the fee is what today's terms give. A cash-out outside the
    machine's limits is refused; the notes of a cash-in are in the box already. Raises
    LineError.
    """
    async with db.connect() as conn:
        config = await crud.get_super_config(conn)
        known = await known_rates(conn, machine, utc_now())
    discount = await codes.read_code(machine, body)
    fractions = codes.fractions_with(FeeFractions.of(machine, config), discount)
    stamp = {
        name: body[name]
        for name in ("exchange_rate", "bills", "cassettes")
        if body.get(name) is not None
    }
    principal, fee = body.get("principal_sats"), body.get("fee_sats")
    if fee is None and type(principal) is int and 0 < principal <= bitspire.MAX_SATS:
        cents = _cents(body.get("fiat_amount"), "fiat_amount")
        if cents > 0:  # else the figures are refused below
            fee = fee_shares(principal, cents, fractions.terms(tx_type)).fee_sats
    stamp |= {
        "source": bitspire.SOURCE,
        "tx_type": tx_type,
        "principal_sats": principal,
        "fee_sats": fee,
        "fiat_amount": body.get("fiat_amount"),
        "fiat_code": body.get("fiat_code"),
        "txid": txid,
    }
    if tx_type == CASH_OUT:
        stamp["dispense"] = bitspire.AWAITING
    try:
        figures = bitspire.check_figures(
            stamp,
            amount_msat=_wire_msat(tx_type, principal, fee),
            fiat_code=machine.fiat_code,
            fractions=fractions,
            recent_rates=known.days,
            market=known.market,
        )
    except SettlementInvariantError as exc:
        raise LineError("bad_request", str(exc)) from exc
    if tx_type == CASH_OUT:
        must_be_within_limits(machine, figures.fiat_cents)
    stamp["fiat_amount"] = format(figures.fiat_amount, "f")
    return Terms(txid, figures, stamp, discount)


def _wire_msat(tx_type: str, principal: Any, fee: Any) -> int:
    """The payment these figures make; 1 sat when they are none (they then fail)."""
    if type(principal) is not int or type(fee) is not int:
        return 1000 if tx_type == CASH_OUT else -1000
    if tx_type == CASH_OUT:
        return (principal + fee) * 1000
    if 0 < principal <= fee:
        raise LineError(
            "bad_request",
            f"A fee of {fee} sat leaves the customer nothing of {principal} sat.",
        )
    return (fee - principal) * 1000


def new_request(machine: Machine, rpc: str, terms: Terms, event: Incoming) -> Any:
    """The row of a request that nothing was done about yet."""
    now = utc_now()
    discount = terms.discount
    is_platforms = discount is not None and discount.owner == PLATFORM
    share = discount.fraction if discount else None
    return MachineRequest(
        machine_id=machine.id,
        txid=terms.txid,
        rpc=rpc,
        wallet_id=machine.wallet_id,
        wire_sats=terms.figures.wire_sats,
        principal_sats=terms.figures.principal_sats,
        fee_sats=terms.figures.fee_sats,
        fiat_amount=Fiat(terms.figures.fiat_amount),
        fiat_code=terms.figures.fiat_code,
        stamp_json=json.dumps(terms.stamp, ensure_ascii=False),
        discount_id=discount.id if discount else None,
        discount_code=discount.code if discount else None,
        operator_discount=Decimal(0) if is_platforms else share,
        platform_discount=share if is_platforms else (discount and Decimal(0)),
        event_id=event.id,
        event_epoch=0,  # nothing was decided upon yet
        created_at=now,
        updated_at=now,
    )


def must_be_same(request: MachineRequest, rpc: str, body: Mapping[str, Any]) -> None:
    """A txid names one transaction for ever: another body under it is an error."""
    cents = fiat_cents(request.fiat_amount)
    try:
        is_same_fiat = fiat_cents(body.get("fiat_amount"), "fiat_amount") == cents
    except ValueError:
        is_same_fiat = False
    same = (
        request.rpc == rpc
        and is_same_fiat
        and body.get("fiat_code") == request.fiat_code
        and body.get("principal_sats") == request.principal_sats
        and body.get("fee_sats", request.fee_sats) in (request.fee_sats, None)
        and str(body.get("code") or "").strip().upper() == (request.discount_code or "")
    )
    if not same:
        raise LineError(
            "conflict",
            f"txid {request.txid[:40]} is a {request.rpc} of "
            f"{request.fiat_amount} {request.fiat_code} since "
            f"{request.created_at:%Y-%m-%d %H:%M}: use a new txid for a new "
            "transaction.",
        )


async def request_for(
    call: Call, rpc: str, tx_type: str, body: Mapping[str, Any]
) -> MachineRequest:
    """The row of this (machine, txid), written now if there is none."""
    machine, event = call.machine, call.event
    txid = read_txid(body)
    request = await requests_crud.get_request(machine.id, txid)
    if request is None:
        terms = await read_terms(machine, body, tx_type, txid)
        written = new_request(machine, rpc, terms, event)
        # cash that was put in stays in: only an invoice can be left unpaid
        minutes = machine.invoice_expiry_minutes if rpc == "invoice" else None
        expires_at = utc_now() + timedelta(minutes=minutes) if minutes else None
        try:
            await requests_crud.insert_request(written, terms.discount, expires_at)
        except NoDiscountError as exc:
            raise codes.bad_code() from exc
        request = await requests_crud.get_request(machine.id, txid)
    if request is None:
        raise LineError("server_error", "The request could not be stored; repeat it.")
    must_be_same(request, rpc, body)
    return request


# ---------------------------------------------------------------------------- invoice


async def invoice(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    """A stamped cash-out invoice in the machine's wallet: one for each txid."""
    machine = call.machine
    must_be_fresh(call.event)
    must_be_active(machine)
    request = await request_for(call, "invoice", CASH_OUT, body)
    if request.payment_hash is None:
        await _must_have_few_open(machine)
        await set_aside(
            machine, request.txid, request.fiat_amount, request.stamp.get("bills")
        )
        if request.discount_id:
            await codes.keep(machine, request.txid)
        payment_hash, bolt11 = await invoice_by_external_id(
            request.wallet_id, external_id(request)
        ) or await _make(machine, request)
        await name_the_sale(machine.id, request.txid, payment_hash)
        await requests_crud.store_made_invoice(
            machine.id, request.txid, payment_hash, bolt11
        )
        request = await requests_crud.get_request(machine.id, request.txid) or request
    is_paid = await _is_paid(request)
    return {
        "txid": request.txid,
        "bolt11": request.bolt11,
        "payment_hash": request.payment_hash,
        "fee_sats": request.fee_sats,
        "wire_sats": request.wire_sats,
        "dispense": bitspire.AWAITING,
        "payment_status": "paid" if is_paid else "pending",
        "bills": await notes_of(request),
    }


async def _must_have_few_open(machine: Machine) -> None:
    """Each open invoice costs the server memory and checks, and holds cash back."""
    hashes = await open_invoices(machine)
    if len(hashes) >= MAX_OPEN_INVOICES:
        raise LineError(
            "limit",
            f"This machine has {len(hashes)} invoices that nobody has paid yet, and "
            f"may have {MAX_OPEN_INVOICES}: wait until they expire.",
        )


def external_id(request: MachineRequest) -> str:
    """What LNbits keeps of the request: no spaces, whatever the txid is."""
    digest = hashlib.sha256(f"{request.machine_id}:{request.txid}".encode())
    return f"satmachine-{digest.hexdigest()[:40]}"


async def _make(machine: Machine, request: MachineRequest) -> tuple[str, str]:
    try:
        payment = await paying.make_invoice(
            request.wallet_id,
            request.wire_sats,
            f"{(machine.name or 'Satoshi Machine')[:100]}: "
            f"{request.fiat_amount} {request.fiat_code}",
            extra=request.stamp,
            external_id=external_id(request),
            expiry=machine.invoice_expiry_minutes * 60,
        )
    except paying.NoInvoiceError as exc:
        raise LineError("refused", f"LNbits makes no invoice: {exc}") from exc
    return payment.payment_hash, payment.bolt11


async def _is_paid(request: MachineRequest) -> bool:
    """Whether the invoice was paid; an old transaction is never offered again.

    A machine whose counter starts at 1 again would otherwise be given an invoice that
    was paid long ago, and dispense against it.
    """
    payment = await payment_of(
        [request.wallet_id], str(request.payment_hash), is_incoming=True
    )
    if payment and payment.success:
        settlement = await crud.get_settlement_by_hash(payment.payment_hash)
        if settlement and settlement.status != "awaiting_dispense":
            raise LineError(
                "conflict",
                f"txid {request.txid[:40]} was paid and is finished: use a new txid "
                "for a new transaction.",
                payment_hash=request.payment_hash,
            )
        return True
    if bolt11_decode(str(request.bolt11)).has_expired():
        raise LineError(
            "expired",
            f"The invoice of txid {request.txid[:40]} has expired: use a new txid.",
        )
    return False


# ------------------------------------------------------------------------- settlement


def read_hash(body: Mapping[str, Any]) -> str:
    value = body.get("payment_hash")
    text = value.strip().lower() if isinstance(value, str) else ""
    if len(text) != 64 or any(c not in "0123456789abcdef" for c in text):
        raise LineError("bad_request", "payment_hash must be 64 hex digits.")
    return text


async def landed_at(machine: Machine, payment_hash: str) -> Settlement | None:
    """The settlement of this hash on this machine, its side if there are two."""
    for known_as in (payment_hash, f"{payment_hash}:{machine.id}"):
        settlement = await crud.get_settlement_by_hash(known_as)
        if settlement and settlement.machine_id == machine.id:
            return settlement
    return None


async def settlement(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    """Land the payment that the report names, or complete what has landed."""
    machine, event = call.machine, call.event
    payment_hash = read_hash(body)
    if body.get("tx_type") not in (CASH_IN, CASH_OUT):
        raise LineError("bad_request", 'tx_type must be "cash_out" or "cash_in".')
    settlement = await landed_at(machine, payment_hash)
    is_duplicate = settlement is not None
    if settlement is None:
        settlement, is_new = await _land(machine, payment_hash, body, event)
        is_duplicate = not is_new
    contradiction = bitspire.report_conflict(body, settlement)
    if contradiction:
        await _book_refused(settlement, body, event)
        raise LineError("conflict", contradiction, settlement_id=settlement.id)
    if settlement.quarantine_code == landing.NOT_MADE_HERE:
        settlement = await landing.release(settlement, body, event.id)
        if settlement.status != "quarantined":
            await apply_kept_reports(settlement)
    await _complete(settlement, body, event)
    return {
        "settlement_id": settlement.id,
        "settlement_status": await _present_status(settlement),
        "duplicate": is_duplicate,
    }


async def _present_status(settlement: Settlement) -> str:
    now = await crud.get_settlement(settlement.id)
    return (now or settlement).status


async def _land(
    machine: Machine, payment_hash: str, body: Mapping[str, Any], event: Incoming
) -> tuple[Settlement, bool]:
    payment = await _paid_payment(
        machine, payment_hash, is_incoming=body.get("tx_type") == CASH_OUT
    )
    async with db.connect() as conn:
        config = await crud.get_super_config(conn)
    try:
        bitspire.check_figures(
            body,
            amount_msat=payment.amount,
            fiat_code=machine.fiat_code,
            fractions=FeeFractions.of(machine, config),
        )
    except SettlementInvariantError as exc:
        raise LineError("mismatch", str(exc)) from exc
    landed = await landing.land_payment(payment, report=body, event_id=event.id)
    if landed is None:
        raise LineError(
            "not_a_settlement",
            "This payment was made by the back office itself: it is no customer's.",
        )
    if landed.is_new:
        distribution.wake()
    return landed.settlement, landed.is_new


async def _paid_payment(
    machine: Machine, payment_hash: str, *, is_incoming: bool
) -> Payment:
    """The successful payment in a wallet of this machine, or why there is none."""
    wallets = await line_crud.wallets_of_machine(machine.id)
    payment = await payment_of(wallets, payment_hash, is_incoming=is_incoming)
    if payment is None:
        direction = "received" if is_incoming else "sent"
        raise LineError(
            "unknown_payment",
            f"This machine's wallet has {direction} no payment with this hash.",
        )
    if not payment.success:
        raise LineError(
            "not_paid",
            "This payment failed." if payment.failed else "It is not paid yet.",
        )
    return payment


async def _complete(
    settlement: Settlement, body: Mapping[str, Any], event: Incoming
) -> None:
    """Facts that only the report has; and `dispense: confirmed` is a full dispense."""
    facts = {
        "bills_json": _json_fact(body.get("bills")),
        "cassettes_json": _json_fact(body.get("cassettes")),
    }
    if body.get("txid") is not None:
        facts["bitspire_txid"] = storable_text(read_txid(body))
    await requests_crud.complete_settlement_facts(
        settlement.id, event_id=event.id, facts=facts
    )
    is_open = settlement.dispense_state == bitspire.AWAITING
    if is_open and body.get("dispense") == bitspire.CONFIRMED:
        # of a sale that was held back unread only the report says how much it was
        said = settlement.fiat_amount or body.get("fiat_amount")
        cents = _cents(said, "fiat_amount")
        report = cash_report(body, event, cents)
        await report_dispense(settlement, cents, report)
    elif not is_open and (body.get("bills") or body.get("cassettes")):
        report = cash_report(body, event, fiat_cents(settlement.fiat_amount))
        await _book_notes(settlement, report)


async def _book_refused(
    settlement: Settlement, body: Mapping[str, Any], event: Incoming
) -> None:
    """A report whose money is refused still says which notes moved, where it speaks of
    this trade (its direction, its currency, its txid); its own amount is what they come
    to, where it names no notes."""
    of_the_trade = {x: body.get(x) for x in ("tx_type", "fiat_code", "txid")}
    if not settlement.tx_type or bitspire.report_conflict(of_the_trade, settlement):
        return
    has_left = body.get("dispense") == bitspire.CONFIRMED
    if settlement.dispense_state == bitspire.AWAITING and not has_left:
        return
    names_notes = body.get("bills") or body.get("cassettes")
    if not has_left and not names_notes:
        return
    try:
        cents = fiat_cents(body.get("fiat_amount"), "fiat_amount")
    except ValueError:
        cents = fiat_cents(settlement.fiat_amount)
    await _book_notes(settlement, cash_report(body, event, cents))


def _cents(value: Any, name: str) -> int:
    try:
        return fiat_cents(value, name)
    except ValueError as exc:
        raise LineError("bad_request", str(exc)) from exc


async def _book_notes(settlement: Settlement, report: Report) -> None:
    """Which notes they were, of a trade whose money is settled."""
    if settlement.tx_type == CASH_IN:
        # the notes fell into the box before the customer was paid
        report = replace(report, moved_at=settlement.transaction_time)
    async with transaction() as conn:
        machine = await crud.get_machine(settlement.machine_id, conn)
        if machine:
            await post_report(conn, settlement, machine, report)


def _json_fact(value: Any) -> str | None:
    return None if value is None else bitspire.storable_json(value)


# --------------------------------------------------------------------------- dispense


async def dispense(call: Call, body: Mapping[str, Any]) -> dict[str, Any]:
    """The machine paid out the cash, all of it or a part."""
    machine, event = call.machine, call.event
    payment_hash = read_hash(body)
    settlement = await landed_at(machine, payment_hash)
    if settlement is None:
        payment = await _paid_payment(machine, payment_hash, is_incoming=True)
        landed = await landing.land_payment(payment, event_id=event.id)
        if landed is None:
            raise LineError(
                "not_a_settlement",
                "This payment carries no stamp: send its settlement report first.",
            )
        settlement = landed.settlement
    is_unread = settlement.status == "quarantined" and not settlement.tx_type
    if settlement.tx_type != CASH_OUT and not is_unread:
        raise LineError("bad_request", "Only a cash-out is dispensed.")
    cents = _cents(body.get("dispensed_fiat"), "dispensed_fiat")
    await requests_crud.complete_settlement_facts(
        settlement.id,
        event_id=event.id,
        facts={"bills_json": _json_fact(body.get("bills"))},
    )
    await report_dispense(settlement, cents, cash_report(body, event, cents))
    return {
        "settlement_id": settlement.id,
        "settlement_status": await _present_status(settlement),
    }


def cash_report(body: Mapping[str, Any], event: Incoming, cents: int) -> Report:
    """What a report says of the notes, for the cash book."""
    return Report(
        said_at=datetime.fromtimestamp(event.created_at, timezone.utc),
        by=MACHINE,
        cents=cents,
        event_id=event.id,
        moved_at=_moment(body.get("dispensed_at")),
        bills=body.get("bills"),
        cassettes=body.get("cassettes"),
    )


def _moment(value: Any) -> datetime | None:
    """Unix seconds as a time; None for anything that is none."""
    if type(value) not in (int, float):
        return None
    try:
        return datetime.fromtimestamp(value, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None


async def report_dispense(settlement: Settlement, cents: int, report: Report) -> None:
    """Plan by what was dispensed. Raises LineError; said again, nothing changes."""
    try:
        await machine_reports(settlement, cents, report)
    except ConcurrentChangeError as exc:
        raise LineError("busy", str(exc)) from exc
    except BadInputError as exc:
        raise LineError("bad_request", str(exc)) from exc
    except RefusedError as exc:
        raise LineError("conflict", str(exc)) from exc
