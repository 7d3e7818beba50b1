"""The right figures for a settlement whose own could not be believed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .. import bitspire, crud, distribution
from ..base.database import db, transaction
from ..base.refusals import BadInputError, ConflictError
from ..bitspire import FeeFractions, SettlementInvariantError
from ..models import CASH_OUT, Fiat, Machine, Settlement, utc_now
from . import repairs_crud as sql
from .actions import (
    ConcurrentChangeError,
    audit_settlement,
)

RESOLVED = (
    "tx_type",
    "wire_sats",
    "principal_sats",
    "fee_sats",
    "platform_fee_sats",
    "operator_fee_sats",
    "fee_mismatch_sats",
    "fiat_amount",
    "fiat_code",
    "exchange_rate",
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
        try:
            figures = bitspire.check_figures(
                fields,
                amount_msat=amount_msat,
                fiat_code=machine.fiat_code,
                fractions=_fractions_at_landing(before, machine),
                recent_rates=await crud.recent_rates(conn, machine.id, at),
            )
        except SettlementInvariantError as exc:
            raise BadInputError(str(exc)) from exc
        changes = {name: getattr(figures, name) for name in RESOLVED[:-2]}
        changes["fiat_amount"] = Fiat(figures.fiat_amount)
        after = before.copy(
            update={**changes, "status": "pending", "error_message": None}
        )
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
    distribution.wake()


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
        for side in await sql.lnbits_sides(payment_hash)
        if side["wallet_id"] == settlement.wallet_id and side["status"] == "success"
    ]
    if not amounts:
        raise ConflictError(
            "LNbits does not know this payment any more: it can only be voided."
        )
    wanted = [a for a in amounts if (a > 0) == (tx_type == CASH_OUT)]
    return (wanted or amounts)[0]
