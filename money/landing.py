"""How does a payment get in? Landing: one durable row for it before anything else.

Guaranteed: a payment of a machine lands once, whoever reports it and how often, and it
lands even if nothing about it can be understood (then `quarantined`, with the reason
and the raw stamp). Payments that this extension made itself never land.
Not guaranteed: that every stamped payment is seen by the listener. The sweep in
`tasks.py` finds what the listener's queue lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lnbits.core.models import Payment
from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash
from loguru import logger

from .. import bitspire, crud
from ..base.database import transaction
from ..bitspire import ParsedSettlement, SettlementInvariantError
from ..models import CASH_OUT, Fiat, Machine, Settlement, SuperConfig, utc_now


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
    if not payment.success:
        return None
    if report is None and not bitspire.is_bitspire_payment(payment):
        return None
    async with transaction() as conn:
        machine_id = await crud.wallet_machine_id(
            conn, payment.wallet_id, payment.updated_at
        )
        machine = (
            await crud.lock_machine_against_delete(conn, machine_id)
            if machine_id
            else None
        )
        if machine is None or await crud.is_own_payment(conn, payment.payment_hash):
            return None
        settlement = await _settlement_row(conn, payment, machine, report, event_id)
        is_new = await crud.insert_settlement(conn, settlement)
        if not is_new:
            return await _landed_before(conn, settlement, payment, machine, report)
    _log_landing(settlement)
    return Landed(settlement, True)


async def _landed_before(
    conn: Connection,
    settlement: Settlement,
    payment: Payment,
    machine: Machine,
    report: Mapping[str, Any] | None,
) -> Landed | None:
    """The row that has this hash already, or the other side of the same payment.

    A customer can pay machine B's invoice through machine A of the same instance: one
    hash then has two sides, and the second lands for a person to look at.
    """
    first = await crud.get_settlement_by_hash(payment.payment_hash, conn)
    if first is None or first.machine_id == machine.id:
        return Landed(first, False) if first else None
    second_hash = f"{payment.payment_hash}:{machine.id}"
    parsed = bitspire.minimal_fields(payment, machine, report)
    second = _quarantined(
        settlement,
        parsed,
        "This payment landed for another machine of this server already: the customer "
        "of one machine was paid through the other.",
    ).copy(update={"payment_hash": second_hash})
    is_new = await crud.insert_settlement(conn, second)
    found = await crud.get_settlement_by_hash(second_hash, conn)
    return Landed(found or second, is_new)


async def _settlement_row(
    conn: Connection,
    payment: Payment,
    machine: Machine,
    report: Mapping[str, Any] | None,
    event_id: str | None,
) -> Settlement:
    config = await crud.get_super_config(conn)
    rates = await crud.recent_rates(conn, machine.id, utc_now())
    is_stamped = bitspire.is_bitspire_payment(payment)
    fields = payment.extra if is_stamped else report
    empty = _empty_row(payment, machine, config, event_id)
    try:
        parsed = bitspire.parse_report(
            fields, payment, machine, config, recent_rates=rates
        )
    except SettlementInvariantError as exc:
        return _quarantined(
            empty, bitspire.minimal_fields(payment, machine, fields), str(exc)
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        # The sats are in the wallet whatever we fail to understand of them.
        logger.exception(f"satmachineadmin: landing {payment.payment_hash}")
        return _quarantined(
            empty,
            bitspire.minimal_fields(payment, machine, fields),
            f"The stamp could not be read ({type(exc).__name__}).",
        )
    if not machine.is_active:
        return _quarantined(empty, parsed, "This machine is deactivated.")
    if not is_stamped:
        return _quarantined(
            empty,
            parsed,
            "The machine reports a payment that does not carry its stamp: check that "
            "this payment was really a customer's.",
        )
    is_awaiting = parsed.dispense == bitspire.AWAITING
    return _filled(
        empty,
        parsed,
        status="awaiting_dispense" if is_awaiting else "pending",
        dispense_state=parsed.dispense if parsed.tx_type == CASH_OUT else None,
    )


def _empty_row(
    payment: Payment, machine: Machine, config: SuperConfig, event_id: str | None
) -> Settlement:
    now = utc_now()
    return Settlement(
        id=urlsafe_short_hash(),
        machine_id=machine.id,
        payment_hash=payment.payment_hash,
        bitspire_event_id=event_id,
        wire_sats=0,
        fiat_amount=Fiat(0),
        fiat_code="",
        exchange_rate=0,
        principal_sats=0,
        fee_sats=0,
        platform_fee_sats=0,
        operator_fee_sats=0,
        tx_type="",
        wallet_id=payment.wallet_id,
        # a server whose clock or time zone is off must not date a payment ahead
        transaction_time=min(payment.updated_at, now),
        created_at=now,
        super_cash_in_fee_fraction=config.super_cash_in_fee_fraction,
        super_cash_out_fee_fraction=config.super_cash_out_fee_fraction,
        operator_cash_in_fee_fraction=machine.operator_cash_in_fee_fraction,
        operator_cash_out_fee_fraction=machine.operator_cash_out_fee_fraction,
    )


def _filled(row: Settlement, parsed: ParsedSettlement, **more: Any) -> Settlement:
    return row.copy(
        update={
            "wire_sats": parsed.wire_sats,
            "fiat_amount": parsed.fiat_amount,
            "fiat_code": parsed.fiat_code,
            "exchange_rate": parsed.exchange_rate,
            "principal_sats": parsed.principal_sats,
            "fee_sats": parsed.fee_sats,
            "platform_fee_sats": parsed.platform_fee_sats,
            "operator_fee_sats": parsed.operator_fee_sats,
            "fee_mismatch_sats": parsed.fee_mismatch_sats,
            "network_fee_sats": parsed.network_fee_sats,
            "tx_type": parsed.tx_type,
            "bitspire_txid": parsed.bitspire_txid,
            "bills_json": parsed.bills_json,
            "cassettes_json": parsed.cassettes_json,
            "stamp_json": parsed.stamp_json,
            **more,
        }
    )


def _quarantined(row: Settlement, parsed: ParsedSettlement, reason: str) -> Settlement:
    return _filled(row, parsed, status="quarantined", error_message=reason[:1000])


def _log_landing(settlement: Settlement) -> None:
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
