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
from ..bitspire import Reading
from ..models import CASH_OUT, Fiat, Machine, Settlement, SuperConfig, utc_now

OTHER_SIDE = (
    "This payment landed for another machine of this server already: the customer of "
    "one machine was paid through the other."
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
        config = await crud.get_super_config(conn)
        reading = bitspire.read_payment(
            payment,
            machine,
            config,
            report=report,
            recent_rates=await crud.recent_rates(conn, machine.id, utc_now()),
        )
        row = _row(reading, payment, machine, config, event_id)
        landed = await _write(conn, row)
        if landed is None:
            row = _row(
                reading.held_back(OTHER_SIDE), payment, machine, config, event_id
            )
            row.payment_hash = f"{payment.payment_hash}:{machine.id}"
            landed = await _write(conn, row)
    if landed and landed.is_new:
        _log_landing(landed.settlement, reading.cause)
    return landed


async def _write(conn: Connection, row: Settlement) -> Landed | None:
    """The row under its hash, now or before; None if the hash is another machine's.

    A customer can pay machine B's invoice through machine A of the same instance: one
    hash then has two sides, and the second lands for a person to look at.
    """
    if await crud.insert_settlement(conn, row):
        return Landed(row, True)
    first = await crud.get_settlement_by_hash(row.payment_hash, conn)
    if first is None or first.machine_id == row.machine_id:
        return Landed(first or row, False)
    return None


def _row(
    reading: Reading,
    payment: Payment,
    machine: Machine,
    config: SuperConfig,
    event_id: str | None,
) -> Settlement:
    parsed = reading.parsed
    now = utc_now()
    is_awaited = reading.problem is None and parsed.tx_type == CASH_OUT
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
        network_fee_sats=parsed.network_fee_sats,
        tx_type=parsed.tx_type,
        bitspire_txid=parsed.bitspire_txid,
        bills_json=parsed.bills_json,
        cassettes_json=parsed.cassettes_json,
        stamp_json=parsed.stamp_json,
        status=reading.status,
        error_message=reading.problem[:1000] if reading.problem else None,
        dispense_state=parsed.dispense if is_awaited else None,
        wallet_id=payment.wallet_id,
        # a server whose clock or time zone is off must not date a payment ahead
        transaction_time=min(payment.updated_at, now),
        created_at=now,
        super_cash_in_fee_fraction=config.super_cash_in_fee_fraction,
        super_cash_out_fee_fraction=config.super_cash_out_fee_fraction,
        operator_cash_in_fee_fraction=machine.operator_cash_in_fee_fraction,
        operator_cash_out_fee_fraction=machine.operator_cash_out_fee_fraction,
    )


def _log_landing(settlement: Settlement, cause: Exception | None) -> None:
    if cause:
        logger.opt(exception=cause).error(
            f"satmachineadmin: landing {settlement.payment_hash}"
        )
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
