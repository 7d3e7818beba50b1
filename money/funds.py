"""What may a wallet spend, and for whom? One definition, for rounds, line and screens.

The free balance of a wallet is what LNbits says it holds, less its unpaid legs (refunds
too), less the cash-outs that it received and that are not planned yet. The legs that
spend only free balance are part of what is owed, and are not in each other's way: for
paying them, oldest first, they are not taken off.

Guaranteed: what is read while payments move errs to the paying side's loss, never to
that of somebody who is owed: a payment on its way may be missing twice, and what a
customer paid is never free before its settlement is planned.
Not guaranteed: that LNbits agrees when it pays. Its own check comes last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from .. import bitspire, crud
from ..base.database import db
from ..host.balances import balances_msat
from ..host.payments import debited_hashes, receipts_since, rows_by_hash
from ..models import Leg, utc_now
from .funds_crud import RANK, Debts, Side, opened_payouts, read_debts, unplanned_sides

__all__ = ["db"]

SPLITS = RANK["operator_split"]
# The sweep lands within a minute what the listener missed; after a crash, when an
# engine runs again.
UNLANDED = timedelta(hours=2)


def is_free(leg: Leg) -> bool:
    """Whether a leg may spend only what its wallet owes to nobody."""
    return leg.from_free_balance or leg.leg_type == "autoforward"


@dataclass(frozen=True)
class Funds:
    """What a wallet may still spend, in sats.

    `held` is LNbits' balance less what payouts under way will take; `owed_by_rank` are
    the unpaid legs in no payout that have their own sats in it, whether due or not.
    """

    held_sats: int
    owed_by_rank: tuple[int, ...] = (0, 0, 0)
    free_legs_sats: int = 0
    unplanned_sats: int = 0
    has_shortfall: bool = False

    @property
    def spendable_free_sats(self) -> int:
        """What the legs that spend free balance only may share.

        While the wallet owes the platform a shortfall, the operator's splits wait, and
        what they would take counts as free.
        """
        owed = sum(self.owed_by_rank)
        if self.has_shortfall:
            owed -= self.owed_by_rank[SPLITS]
        return self.held_sats - owed - self.unplanned_sats

    @property
    def free_sats(self) -> int:
        """What is owed to nobody: the operator's to withdraw."""
        return self.spendable_free_sats - self.free_legs_sats

    def left_for(self, leg: Leg) -> int:
        """The most that this leg could take now."""
        if is_free(leg):
            return min(self.held_sats, self.spendable_free_sats)
        rank = RANK[leg.leg_type]
        before = sum(self.owed_by_rank[:rank])
        # sats of a cash-out that is not planned are its LPs' and its customer's
        return self.held_sats - before - (self.unplanned_sats if rank else 0)

    def after(self, leg: Leg) -> Funds:
        """What is left when this leg has been paid."""
        held = self.held_sats - leg.amount_sats
        if is_free(leg):
            counted = leg.amount_sats if leg.leg_type != "autoforward" else 0
            left = self.free_legs_sats - counted
            return replace(self, held_sats=held, free_legs_sats=left)
        owed = list(self.owed_by_rank)
        owed[RANK[leg.leg_type]] -= leg.amount_sats
        return replace(self, held_sats=held, owed_by_rank=tuple(owed))


async def funds_of(wallet_ids: Iterable[str]) -> dict[str, Funds]:
    """What wallets may spend now, by wallet id.

    In this order: which payouts have left is read before the balance, so that what
    leaves in between is missing twice and never not at all; what was received, and what
    is owed, after it, so that no sat of the balance is looked for before it came.
    """
    ids = sorted({w for w in wallet_ids if w})
    async with db.connect() as conn:
        opened = await opened_payouts(conn, ids)
    gone = {
        w: await debited_hashes(w, [x.payment_hash for x in of_wallet])
        for w, of_wallet in opened.items()
    }
    balances = await balances_msat(ids)
    received = [
        Side(row["payment_hash"], row["wallet_id"], int(row["amount"]) // 1000)
        for row in await receipts_since(ids, utc_now() - UNLANDED)
        if bitspire.SOURCE in str(row["extra"])
    ]
    async with db.connect() as conn:
        debts = await read_debts(conn, ids)
        landed = await unplanned_sides(conn, ids)
        known = await crud.recorded_keys(conn, [x.key for x in received])
    sent = await _sent(landed)
    unplanned = dict.fromkeys(ids, 0)
    for side in received:
        if side.key not in known:
            unplanned[side.wallet_id] += side.sats
    for side in landed:
        # by the sign of the payment, whatever its stamp says: what went out left
        # nothing in the wallet that could be owed to anybody
        if side.key not in sent and not side.is_outgoing:
            unplanned[side.wallet_id] += side.sats
    return {
        w: _funds(balances[w] // 1000, debts[w], gone.get(w, set()), unplanned[w])
        for w in ids
    }


async def _sent(landed: Sequence[Side]) -> set[tuple[str, str]]:
    """Of the sides that do not know their direction: those that LNbits sent."""
    unread = [x for x in landed if x.is_outgoing is None]
    rows = await rows_by_hash([x.payment_hash for x in unread]) if unread else {}
    sent = set()
    for side in unread:
        mine = [
            row.amount_msat
            for row in rows.get(side.payment_hash, [])
            if row.wallet_id == side.wallet_id
        ]
        if mine and max(mine) < 0:
            sent.add(side.key)
    return sent


def _funds(
    balance_sats: int, debts: Debts, gone: set[str], unplanned_sats: int
) -> Funds:
    """LNbits takes a payment off the balance when it begins: what is on its way must
    not be taken off a second time, or it would hold up all others."""
    here = sum(x.sats for x in debts.opened if x.payment_hash not in gone)
    return Funds(
        balance_sats - here,
        debts.by_rank,
        debts.free_legs_sats,
        unplanned_sats,
        debts.has_shortfall,
    )


async def free_sats(wallet_id: str) -> int:
    """What a wallet owes to nobody."""
    return (await funds_of([wallet_id]))[wallet_id].free_sats
