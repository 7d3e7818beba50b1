"""What would a settlement of this size lead to? The engine's own plan, not written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from .. import crud
from ..base.database import db
from ..base.refusals import BadInputError
from ..bitspire import FeeFractions
from ..books.past import last_rate
from ..calculations import cents_text, fee_shares, round_half_up
from ..host.people import accounts_gone
from ..models import CASH_OUT, CommissionSplit, Fiat, Machine, Settlement, utc_now
from ..money.planning import build_plan, candidate_of, present
from ..parties import positions_crud
from ..parties.machines_crud import get_own_machine
from .inputs import PreviewInput
from .models import PreviewAnswer, PreviewLeg, fiat_text


async def preview_settlement(
    operator_user_id: str, asked: PreviewInput
) -> PreviewAnswer:
    """The plan with today's fees, splits and LP balances, at the machine's last rate.

    Without a rate the LPs are shown as if their whole balances were dispensed, and
    fiat and the operator's fixed fee are left out.
    """
    async with db.connect() as conn:
        machine = await get_own_machine(conn, asked.machine_id, operator_user_id)
        config = await crud.get_super_config(conn)
        splits = await positions_crud.effective_splits(
            conn, operator_user_id, machine.id
        )
        now = utc_now()
        positions = await positions_crud.lp_positions(conn, machine.id, now)
        used = await positions_crud.day_debits(conn, machine.id, machine.fiat_code, now)
        sats, cents = await last_rate(conn, machine.id)
    gone = await accounts_gone(p["user_id"] for p in positions)
    positions = present(positions, gone)
    if asked.splits is not None:
        splits = _unsaved_splits(asked, operator_user_id)
    has_rate = sats > 0 and cents > 0
    fiat_cents = (
        max(1, round_half_up(asked.principal_sats * cents, sats))
        if has_rate
        else max(1, _room(positions, used))
    )
    settlement = _settlement(machine, asked, fiat_cents)
    terms = FeeFractions.of(machine, config).terms(asked.tx_type)
    if not has_rate:  # a fixed fee has no value in sats
        terms = replace(terms, fixed_cents=0)
    shares = fee_shares(asked.principal_sats, fiat_cents, terms)
    platform, operator, fee = (
        shares.platform_sats,
        shares.operator_sats,
        shares.fee_sats,
    )
    settlement = settlement.copy(
        update={
            "fee_sats": fee,
            "platform_fee_sats": platform,
            "operator_fee_sats": operator,
            "wire_sats": asked.principal_sats
            + (fee if asked.tx_type == CASH_OUT else -fee),
        }
    )
    plan = build_plan(settlement, machine, config, splits, positions, used, now)
    return PreviewAnswer(
        tx_type=asked.tx_type,
        wire_sats=settlement.wire_sats,
        principal_sats=settlement.principal_sats,
        fee_sats=fee,
        platform_fee_sats=platform,
        operator_fee_sats=operator,
        exchange_rate=sats * 100 / cents if has_rate else None,
        fiat_amount=cents_text(fiat_cents) if has_rate else None,
        fiat_code=machine.fiat_code,
        legs=[
            PreviewLeg(
                leg_type=leg.leg_type,
                label=leg.label,
                client_id=leg.client_id,
                target=leg.target,
                amount_sats=leg.amount_sats,
                amount_fiat=(
                    fiat_text(leg.amount_fiat)
                    if has_rate and leg.amount_fiat is not None
                    else None
                ),
            )
            for leg in plan.legs
        ],
        retained_sats=plan.retained_sats,
    )


def _room(positions: Sequence[Mapping[str, Any]], used: Mapping[str, int]) -> int:
    candidates = [candidate_of(p, used) for p in positions]
    return sum(c.cap_cents for c in candidates if c)


def _unsaved_splits(
    asked: PreviewInput, operator_user_id: str
) -> list[CommissionSplit]:
    splits = [
        CommissionSplit(
            id=f"{index:06}",
            operator_user_id=operator_user_id,
            target=split.target or "",
            label=split.label,
            fraction=split.fraction,
            sort_order=index,
        )
        for index, split in enumerate(asked.splits or [])
    ]
    total = sum((s.fraction for s in splits), Decimal(0))
    if splits and total != 1:
        raise BadInputError(
            f"The fractions add up to {total:.4f}: they must add up to 1.0000."
        )
    return splits


def _settlement(machine: Machine, asked: PreviewInput, fiat_cents: int) -> Settlement:
    return Settlement(
        id="preview",
        machine_id=machine.id,
        payment_hash="preview",
        wire_sats=0,
        fiat_amount=Fiat(cents_text(fiat_cents)),
        fiat_code=machine.fiat_code,
        exchange_rate=asked.principal_sats * 100 / fiat_cents,
        principal_sats=asked.principal_sats,
        fee_sats=0,
        platform_fee_sats=0,
        operator_fee_sats=0,
        tx_type=asked.tx_type,
        wallet_id=machine.wallet_id,
        transaction_time=utc_now(),
    )
