"""What may a machine's wallet spend on a customer? Its free balance, and no more.

Guaranteed: sats that were a customer's cash-out are not free before their settlement is
planned, also in the moments before it has landed; what is read while payments move errs
to the machine's loss.
Not guaranteed: that LNbits agrees when it pays. Its own check comes last.
"""

from __future__ import annotations

from datetime import timedelta

from lnbits.core.db import db as core_db

from .. import bitspire, crud
from ..base.database import db, db_time, fetch_all
from ..host.balances import balances_msat
from ..models import Machine, utc_now
from ..money import payouts_crud
from . import requests as requests_crud

# The sweep lands within a minute what the listener missed; after a crash, when an
# engine runs again.
UNLANDED = timedelta(hours=2)


async def free_sats(wallet_id: str) -> int:
    """Balance, less unpaid legs, less cash-outs that are not planned or not landed.

    What it owes is read before and after the balance, and the larger counts: a payment
    that moves in between must not make it look richer than it is.
    """
    before = await _owed_sats(wallet_id)
    balance = (await balances_msat([wallet_id]))[wallet_id] // 1000
    return balance - max(before, await _owed_sats(wallet_id))


async def _owed_sats(wallet_id: str) -> int:
    unlanded = await _unlanded_sats(wallet_id)
    async with db.connect() as conn:
        reserved = await payouts_crud.reserved_sats(conn, [wallet_id])
    return sum(reserved[wallet_id]) + unlanded


async def _unlanded_sats(wallet_id: str) -> int:
    """Stamped payments that LNbits received and that are no settlement yet."""
    async with core_db.connect() as conn:
        received = await fetch_all(
            conn,
            "SELECT payment_hash, amount, extra FROM apipayments "
            "WHERE wallet_id = :wallet AND amount > 0 AND status = 'success' "
            "AND updated_at >= :since",
            {"wallet": wallet_id, "since": db_time(utc_now() - UNLANDED)},
        )
    stamped = [row for row in received if bitspire.SOURCE in str(row["extra"])]
    async with db.connect() as conn:
        sides = [(row["payment_hash"], wallet_id) for row in stamped]
        known = await crud.recorded_keys(conn, sides)
    return sum(
        int(row["amount"]) // 1000
        for row in stamped
        if (row["payment_hash"], wallet_id) not in known
    )


async def max_cash_in_sats(machine: Machine) -> int:
    """Free balance, within what the operator allows for one payout and for today."""
    day_start = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
    spent = await requests_crud.attempted_sats(machine.id, day_start)
    return max(
        0,
        min(
            await free_sats(machine.wallet_id),
            machine.max_payout_sats,
            machine.max_daily_payout_sats - spent,
        ),
    )
