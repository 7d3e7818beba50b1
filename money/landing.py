"""How does a payment get in? Landing: one durable row for it before anything else.

Guaranteed: a payment of a machine lands once, whoever reports it and how often, and it
lands even if nothing about it can be understood (then `quarantined`, with the reason
and the raw stamp). Payments that this extension made itself never land.
Not guaranteed: that every stamped payment is seen by the listener. The sweep in
`tasks.py` finds what the listener's queue lost.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from lnbits.core.models import Payment
from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash
from loguru import logger

from .. import bitspire, crud
from ..base.audit import MACHINE, write_audit
from ..base.database import transaction
from ..base.rates import marks_text
from ..base.rates_crud import known_rates
from ..bitspire import FeeFractions, Reading
from ..cash.postings import post_landed
from ..ledger import postings
from ..models import Fiat, Machine, Settlement, SuperConfig, utc_now
from ..parties import discounts_crud

# Why a settlement is held back although its figures are right: a word that other
# modules go by, and the sentence for the operator.
PAST = "past"
NOT_MADE_HERE = "not_made_here"
SECOND_SIDE = "second_side"
REASONS = {
    PAST: "This payment is older than the registration of its wallet as a machine's: "
    "whether it was a customer's, and who was paid from it, only you know.",
    NOT_MADE_HERE: "This invoice was not made by the machine, which trades over its "
    "line: somebody else stamped it, and the machine has not reported it.",
}
OTHER_MACHINE = (
    "This payment landed for another machine of this server already: the customer of "
    "one machine was paid through the other."
)
SAME_MACHINE = (
    "This machine's wallet paid its own invoice: one side of the payment landed "
    "already, and no customer was there."
)


@dataclass(frozen=True)
class Landed:
    """A settlement row, and whether this call wrote it."""

    settlement: Settlement
    is_new: bool


async def land_payment(
    payment: Payment,
    *,
    report: Mapping[str, Any] | None = None,
    event_id: str | None = None,
) -> Landed | None:
    """Land a successful payment of a machine's wallet, once per payment hash.

    `report` are the fields of a machine's Nostr report, which stand for a stamp.
    Returns None when the payment is not ours to land: not successful, not in a wallet
    that is or ever was a machine's, neither stamped nor reported, or made by this
    extension itself. Raises nothing for bad figures: those land `quarantined`.
    """
    is_stamped = bitspire.is_bitspire_payment(payment)
    if not payment.success or (report is None and not is_stamped):
        return None
    async with transaction() as conn:
        owner = await crud.wallet_owner(conn, payment.wallet_id, payment.updated_at)
        machine = owner and await crud.lock_machine_against_delete(conn, owner[0])
        if not (owner and machine):
            return None
        if await crud.is_own_payment(conn, payment.payment_hash):
            return None
        config = await crud.get_super_config(conn)
        at = min(payment.updated_at, utc_now())
        known = await known_rates(conn, machine, at)
        taken = await crud.discount_taken(conn, machine.id, payment.payment_hash)
        reading = bitspire.read_payment(
            payment,
            machine,
            config,
            report=report,
            recent_rates=known.days,
            market=known.market,
            fractions=replace(FeeFractions.of(machine, config), **taken.shares),
        )
        row = _row(reading, payment, machine, config, event_id, taken)
        if _is_past(payment, owner[1]):
            _hold_back(row, PAST)
        elif await _is_strangers(conn, row, machine, report):
            _hold_back(row, NOT_MADE_HERE)
        landed = await _write(conn, row)
        if landed.is_new:
            await postings.post_landed(conn, landed.settlement, machine)
            await post_landed(conn, landed.settlement, machine)
            if taken.discount_id:
                await discounts_crud.count_paid(
                    conn, machine.id, payment.payment_hash, taken.discount_id
                )
    if landed.is_new:
        _log_landing(landed.settlement, reading.cause)
    return landed


def _is_past(payment: Payment, registered_at: datetime) -> bool:
    """Whether the payment was made, or last touched, before its wallet was a machine's.

    A label that somebody puts on an old payment renews `updated_at`. By the second: on
    SQLite LNbits keeps no more.
    """
    first = min(payment.created_at, payment.updated_at)
    return int(first.timestamp()) < int(registered_at.timestamp())


async def _is_strangers(
    conn: Connection,
    row: Settlement,
    machine: Machine,
    report: Mapping[str, Any] | None,
) -> bool:
    """Whether a stamped invoice was made neither by the line's `invoice` nor by a
    machine that says so.

    Only a machine that is paired, or ever was, trades over its line; one that never
    was stamps its invoices itself.
    """
    if row.is_outgoing or machine.allow_stamped_invoices:
        return False
    if not await crud.has_line(conn, machine):
        return False
    if report is not None and not bitspire.report_conflict(report, row):
        return False
    return not await crud.is_line_invoice(conn, machine.id, row.payment_hash)


def _hold_back(row: Settlement, code: str, reason: str = "") -> None:
    """For a person to look at first. What is wrong with the figures stays the reason;
    of what is past, only that is told."""
    if row.error_message and code == NOT_MADE_HERE:
        return
    row.status = "quarantined"
    row.quarantine_code = code
    row.error_message = reason or REASONS[code]


async def _write(conn: Connection, row: Settlement) -> Landed:
    """The row under its hash, now or before.

    A hash can have two sides in wallets of machines: a customer pays machine B's
    invoice through machine A, or a wallet pays itself. The second one lands for a
    person to look at.
    """
    payment_hash = row.payment_hash
    if await crud.insert_settlement(conn, row):
        return Landed(row, True)
    first = await crud.get_settlement_by_hash(payment_hash, conn)
    if first is None or _is_same_side(first, row):
        return Landed(first or row, False)
    row.payment_hash = crud.second_hash(payment_hash, first, row)
    if row.quarantine_code != PAST:
        is_other = first.machine_id != row.machine_id
        _hold_back(row, SECOND_SIDE, OTHER_MACHINE if is_other else SAME_MACHINE)
    is_new = await crud.insert_settlement(conn, row)
    second = await crud.get_settlement_by_hash(row.payment_hash, conn)
    return Landed(second or row, is_new)


def _is_same_side(first: Settlement, row: Settlement) -> bool:
    if first.machine_id != row.machine_id:
        return False
    return first.is_outgoing is None or first.is_outgoing == row.is_outgoing


async def release(
    settlement: Settlement, report: Mapping[str, Any], event_id: str | None
) -> Settlement:
    """The machine reports a payment that was held back as not made by it: if it agrees
    with what landed, the sale goes its way. The row as it is afterwards.

    The caller wakes the engine, and applies a dispense that was kept meanwhile.
    """
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        now = await crud.get_settlement(settlement.id, conn)
        machine = await crud.get_machine(settlement.machine_id, conn)
        if now is None or machine is None:
            return settlement
        is_held = (now.status, now.quarantine_code) == ("quarantined", NOT_MADE_HERE)
        is_wrong = not machine.is_active or bitspire.report_conflict(report, now)
        if not is_held or is_wrong:
            return now
        # a report that was kept is applied by the caller: nothing is planned before
        is_awaited = (
            now.dispense_state == bitspire.AWAITING or now.reported_fiat is not None
        )
        status = "awaiting_dispense" if is_awaited else "pending"
        await crud.release_settlement(conn, now.id, status)
        await postings.post(conn, [now.id], "released")
        await write_audit(
            conn,
            MACHINE,
            "settlement.release",
            "settlement",
            now.id,
            {"status": now.status, "error_message": now.error_message},
            {"status": status},
            None,
            operator_user_id=machine.operator_user_id,
            machine_id=machine.id,
        )
        logger.info(f"satmachineadmin: {now.id} is the machine's ({event_id})")
        after = await crud.get_settlement(now.id, conn) or now
        await post_landed(conn, after, machine)
        return after


def _row(
    reading: Reading,
    payment: Payment,
    machine: Machine,
    config: SuperConfig,
    event_id: str | None,
    taken: crud.DiscountTaken,
) -> Settlement:
    parsed = reading.parsed
    now = utc_now()
    is_outgoing = payment.amount < 0
    return Settlement(
        id=urlsafe_short_hash(),
        machine_id=machine.id,
        payment_hash=payment.payment_hash,
        bitspire_event_id=event_id,
        wire_sats=parsed.wire_sats,
        fiat_amount=Fiat(parsed.fiat_amount),
        fiat_code=parsed.fiat_code,
        exchange_rate=parsed.exchange_rate,
        principal_sats=parsed.principal_sats,
        fee_sats=parsed.fee_sats,
        platform_fee_sats=parsed.platform_fee_sats,
        operator_fee_sats=parsed.operator_fee_sats,
        fee_mismatch_sats=parsed.fee_mismatch_sats,
        shortfall_sats=parsed.shortfall_sats,
        network_fee_sats=parsed.network_fee_sats,
        tx_type=parsed.tx_type,
        bitspire_txid=parsed.bitspire_txid,
        bills_json=parsed.bills_json,
        cassettes_json=parsed.cassettes_json,
        stamp_json=parsed.stamp_json,
        marks=marks_text(parsed.marks),
        status=reading.status,
        error_message=reading.problem[:1000] if reading.problem else None,
        dispense_state=None if is_outgoing else parsed.dispense,
        is_outgoing=is_outgoing,
        wallet_id=payment.wallet_id,
        # a server whose clock or time zone is off must not date a payment ahead
        transaction_time=min(payment.updated_at, now),
        created_at=now,
        super_cash_in_fee_fraction=config.super_cash_in_fee_fraction,
        super_cash_out_fee_fraction=config.super_cash_out_fee_fraction,
        operator_cash_in_fee_fraction=machine.operator_cash_in_fee_fraction,
        operator_cash_out_fee_fraction=machine.operator_cash_out_fee_fraction,
        operator_cash_in_fixed_fee=machine.operator_cash_in_fixed_fee,
        operator_cash_out_fixed_fee=machine.operator_cash_out_fixed_fee,
        **taken.columns,
        operator_discount_sats=parsed.operator_discount_sats,
        platform_discount_sats=parsed.platform_discount_sats,
    )


def _log_landing(settlement: Settlement, cause: Exception | None) -> None:
    if cause:
        trace = "".join(traceback.format_exception(cause))
        logger.error(f"satmachineadmin: landing {settlement.payment_hash}: {trace}")
    text = (
        f"satmachineadmin: landed {settlement.tx_type or '?'} {settlement.id} of "
        f"{settlement.wire_sats} sat ({settlement.payment_hash}), {settlement.status}"
    )
    if settlement.status == "quarantined":
        logger.warning(f"{text}: {settlement.error_message}")
    elif settlement.fee_mismatch_sats:
        logger.warning(f"{text}, fee mismatch {settlement.fee_mismatch_sats} sat")
    else:
        logger.info(text)
