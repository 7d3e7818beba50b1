"""The right figures for a settlement whose own could not be believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .. import bitspire, crud, distribution
from ..base.audit import write_audit
from ..base.database import db, transaction
from ..base.rates import marks_text
from ..base.rates_crud import known_rates
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..bitspire import FeeFractions, Limits, SettlementInvariantError
from ..calculations import split_principal_based
from ..cash.postings import post_landed
from ..host import payments as host_payments
from ..ledger import postings
from ..models import CASH_OUT, Fiat, Machine, Settlement, utc_now
from ..money.landing import PAST
from . import repairs_crud as sql
from .actions import (
    ConcurrentChangeError,
    audit_settlement,
)
from .dispense import apply_kept_report

RESOLVED = (
    "tx_type",
    "wire_sats",
    "principal_sats",
    "fee_sats",
    "platform_fee_sats",
    "operator_fee_sats",
    "fee_mismatch_sats",
    "shortfall_sats",
    "operator_discount_sats",
    "platform_discount_sats",
    "fiat_amount",
    "fiat_code",
    "exchange_rate",
    "marks",
    "dispense_state",
    "resolved_sats",
    "status",
    "error_message",
)


async def resolve(
    user_id: str, settlement_id: str, fields: Mapping[str, Any], reason: str
) -> None:
    """Corrected figures for a quarantined settlement, through the same checks as a
    stamp's, with the fractions that were in force when it landed."""
    async with db.connect() as conn:
        seen = await sql.get_own_settlement(conn, settlement_id, user_id)
    amount_msat = await _amount_msat(seen, fields.get("tx_type"))
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        before = await sql.get_own_settlement(conn, settlement_id, user_id)
        machine = await crud.get_machine(before.machine_id, conn)
        if before.status != "quarantined" or machine is None:
            raise ConflictError(
                f"This settlement is {before.status}: only a quarantined one is "
                "resolved."
            )
        at = before.transaction_time or utc_now()
        known = await known_rates(conn, machine, at)
        try:
            figures = bitspire.check_figures(
                fields,
                amount_msat=amount_msat,
                fiat_code=machine.fiat_code,
                fractions=_fractions_at_landing(before, machine),
                recent_rates=known.days,
                market=known.market,
                limits=Limits.of(machine),
            )
        except SettlementInvariantError as exc:
            raise BadInputError(str(exc)) from exc
        changes = {name: getattr(figures, name) for name in RESOLVED[:-5]}
        changes["fiat_amount"] = Fiat(figures.fiat_amount)
        awaits = figures.tx_type == CASH_OUT and _awaits_dispense(before)
        changes["resolved_sats"] = _taken_off(before, figures)
        changes["marks"] = marks_text(figures.marks)
        changes["dispense_state"] = bitspire.AWAITING if awaits else None
        changes["status"] = "awaiting_dispense" if awaits else "pending"
        after = before.copy(update={**changes, "error_message": None})
        if not await sql.change_settlement(conn, after, RESOLVED, ["quarantined"]):
            raise ConcurrentChangeError
        await audit_settlement(
            conn,
            user_id,
            "resolve",
            before,
            machine,
            {name: getattr(before, name) for name in RESOLVED},
            {name: getattr(after, name) for name in RESOLVED},
            reason,
        )
        await postings.post(conn, [after.id], "resolved")
        await apply_kept_report(conn, after, reason)
        await post_landed(conn, after, machine)
    distribution.wake()


def _taken_off(before: Settlement, figures: bitspire.Figures) -> int | None:
    """What these figures take off the platform's share by the machine's own; None if
    they are the machine's own. The super is shown it."""
    said = _stamp(before)
    own = {
        "tx_type": figures.tx_type,
        "principal_sats": figures.principal_sats,
        "fee_sats": figures.fee_sats,
    }
    is_same = all(said.get(name) == value for name, value in own.items())
    if is_same and str(said.get("fiat_amount")) == str(figures.fiat_amount):
        return None
    principal = said.get("principal_sats")
    if type(principal) is not int or not 0 < principal <= bitspire.MAX_SATS:
        return 0
    fraction = (
        before.super_cash_out_fee_fraction
        if figures.tx_type == CASH_OUT
        else before.super_cash_in_fee_fraction
    )
    share, _ = split_principal_based(principal, fraction or Decimal(0), Decimal(0))
    return max(0, share - figures.platform_fee_sats)


def _stamp(settlement: Settlement) -> dict[str, Any]:
    """What the machine said, as far as it can be read."""
    try:
        stamp = json.loads(settlement.stamp_json or "{}")
    except ValueError:
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _awaits_dispense(settlement: Settlement) -> bool:
    """Whether nobody has said yet that the cash came out. Rows that were held back by
    an older version kept it in their stamp only."""
    if settlement.dispense_state is not None:
        return settlement.dispense_state == bitspire.AWAITING
    try:
        stamp = json.loads(settlement.stamp_json or "{}")
    except ValueError:
        return False
    return bitspire.dispense_said(stamp) == bitspire.AWAITING


def _fractions_at_landing(settlement: Settlement, machine: Machine) -> FeeFractions:
    names = FeeFractions.__dataclass_fields__
    kept = {name: getattr(settlement, name) for name in names}
    zero = Decimal(0)
    return FeeFractions(**{k: zero if v is None else v for k, v in kept.items()})


async def _amount_msat(settlement: Settlement, tx_type: Any) -> int:
    """LNbits' own amount of the payment, signed; the row's wire lost its sign when
    nothing of the stamp could be read."""
    payment_hash = settlement.payment_hash.partition(":")[0]
    amounts = [
        int(side["amount"])
        for side in await host_payments.sides_of(payment_hash)
        if side["wallet_id"] == settlement.wallet_id and side["status"] == "success"
    ]
    if not amounts:
        raise ConflictError(
            "LNbits does not know this payment any more: it can only be voided."
        )
    # a wallet that paid itself has both sides of the payment: this row is one of them
    is_outgoing = settlement.is_outgoing
    if is_outgoing is None:
        is_outgoing = tx_type != CASH_OUT
    wanted = [a for a in amounts if (a < 0) == is_outgoing]
    return (wanted or amounts)[0]


async def void_past(user_id: str, machine_id: str, reason: str) -> int:
    """Void all payments of a machine that are older than its wallet's registration,
    with one entry in the log and no notice for each; returns how many."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        machine = await crud.get_machine(machine_id, conn)
        if machine is None or machine.operator_user_id != user_id:
            raise NotFoundError("There is no such machine of yours.")
        held_back = await sql.held_back(conn, machine_id, PAST)
        voided = await sql.void_held_back(conn, machine_id, PAST, reason)
        if not voided:
            raise ConflictError("This machine has no payments from before that wait.")
        await postings.post(conn, held_back, "voided")
        await write_audit(
            conn,
            user_id,
            "machine.void_past",
            "machine",
            machine_id,
            None,
            {"payments": voided},
            reason,
            operator_user_id=user_id,
            machine_id=machine_id,
        )
    distribution.wake()
    return voided
