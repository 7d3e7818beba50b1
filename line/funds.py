"""How much may a machine take in now? What its wallet could pay out for it, all told.

Guaranteed: what is offered leaves room for the wire, for what LNbits wants kept back
for routing, and for the fees that this cash-in will owe, all of the free balance.
Not guaranteed: that it is still so when the customer's cash is in the machine. `payout`
then refuses only where wire and reserve are not free.
"""

from __future__ import annotations

from dataclasses import replace

from .. import crud
from ..base.database import db
from ..bitspire import FeeFractions
from ..books.past import last_rate
from ..calculations import allocate_operator_split_legs, fee_shares, round_half_up
from ..host import limits
from ..models import CASH_IN, CommissionSplit, Machine, SuperConfig, utc_now
from ..money.funds import free_sats
from ..parties import positions_crud
from . import requests_crud


async def max_cash_in_sats(machine: Machine) -> int:
    """The largest `wire_sats` that the free balance bears with its reserve and fees,
    within what the operator allows for one payout and for today."""
    day_start = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    spent = await requests_crud.attempted_sats(machine.id, day_start)
    async with db.connect() as conn:
        config = await crud.get_super_config(conn)
        splits = await positions_crud.effective_splits(
            conn, machine.operator_user_id, machine.id
        )
        rate = await last_rate(conn, machine.id)
    free = await free_sats(machine.wallet_id)
    return max(
        0,
        min(
            _largest_wire_sats(free, machine, config, splits, rate),
            machine.max_payout_sats,
            machine.max_daily_payout_sats - spent,
        ),
    )


def _largest_wire_sats(
    free: int,
    machine: Machine,
    config: SuperConfig,
    splits: list[CommissionSplit],
    rate: tuple[int, int],
) -> int:
    """By halving: what a cash-in takes grows with its principal."""
    fits, too_much = 0, max(0, free) * 2 + 1
    best = 0
    while fits < too_much - 1:
        principal = (fits + too_much) // 2
        wire, needed = _needed(principal, machine, config, splits, rate)
        if needed <= free:
            fits, best = principal, max(best, wire)
        else:
            too_much = principal
    return best


def _needed(
    principal_sats: int,
    machine: Machine,
    config: SuperConfig,
    splits: list[CommissionSplit],
    rate: tuple[int, int],
) -> tuple[int, int]:
    """What the customer gets for this principal, and what that takes of the wallet.

    `rate` (sats, minor units) is the last one, for the fixed fee; without any the
    fixed fee is left out.
    """
    terms = FeeFractions.of(machine, config).terms(CASH_IN)
    sats, cents = rate
    if not (sats and cents):
        terms, sats, cents = replace(terms, fixed_cents=0), 1, 1
    fixed = round_half_up(terms.fixed_cents * sats, cents)
    shares = fee_shares(principal_sats, cents, replace(terms, fixed_cents=0))
    platform, operator = shares.platform_sats, shares.operator_sats + fixed
    wire = principal_sats - platform - operator
    needed = wire + (limits.reserve_sats(wire, False) if wire > 0 else 0)
    # a leg to the wallet that pays it is no payment
    if config.super_fee_wallet_id != machine.wallet_id:
        needed += platform
    needed += sum(
        sats
        for split, sats in allocate_operator_split_legs(operator, splits)
        if split.target_wallet_id != machine.wallet_id
    )
    return wire, needed
