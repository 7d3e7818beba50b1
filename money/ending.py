"""Payouts that end without a payment: failed, or given up before they were tried.

A payout that has no outgoing row in LNbits yet is looked at again before it is paid:
its receiver may have chosen another wallet since, or a wallet may be gone.

Guaranteed: legs leave a payout only when its invoice can never be paid any more. One
that LNbits holds for us is first set to failed there, by compare-and-set, and is then
left alone for a minute: whoever was just about to pay it has done so by then, and that
stands in LNbits' rows. What leaves a payout fits what was dispensed.
Not guaranteed: that an invoice from outside dies with its payout. Such a payout is
ended by what LNbits' rows say of it, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from lnbits.db import Connection

from ..base.database import db, transaction
from ..crud import lock_ledger
from ..host.paying import fail_unpaid_invoice
from ..host.wallets import wallet_facts
from ..models import Leg, Payout, utc_now
from . import forwards_crud, payouts_crud, resizing_crud

__all__ = ["db"]

# whoever was about to pay an invoice when it was given up has done so by then
SETTLING_TIME = timedelta(seconds=60)

FORWARD_OVER = "A forward in it was over."
RECEIVER_MOVED = "The receiver has chosen another wallet since."
WALLET_GONE = "A wallet of this payment was deleted."


async def fail_payout(payout: Payout, reason: str) -> bool:
    """Proven failure: the payout ends, its legs leave it and back off."""
    async with transaction() as conn:
        await lock_ledger(conn)
        legs = await payouts_crud.end_payout(conn, payout, reason)
        if legs is None:
            return False
        await payouts_crud.count_failed_attempt(conn, legs, reason)
        await _refit(conn, legs)
    return True


async def withdraw(payout: Payout, reason: str, holder: str) -> bool:
    """End a payout that will never be paid, through no fault of its destination: its
    legs wait again, and no attempt is counted. Under the lease: only the engine knows
    that nobody is paying it now."""
    async with transaction() as conn:
        await lock_ledger(conn)
        legs = await payouts_crud.end_payout(conn, payout, reason, holder=holder)
        if legs is None:
            return False
        await payouts_crud.free_legs(conn, payout.id)
        await forwards_crud.void(conn, utc_now())
        await _refit(conn, legs)
    return True


async def _refit(conn: Connection, legs: Sequence[Leg]) -> None:
    """A leg that was on its way during a short dispense report shrinks now."""
    of_legs = {str(x.settlement_id) for x in legs if x.settlement_id}
    for settlement_id in sorted(of_legs):
        await resizing_crud.refit(conn, settlement_id)


async def may_be_paid(untried: Sequence[Payout], holder: str) -> list[Payout]:
    """Those of the payouts that may be paid now; the others end, or are given up.

    Only for payouts that have no invoice, or whose invoice LNbits has not tried.
    """
    over = await forwards_crud.payouts_with_stale(untried) if untried else {}
    moved = await _moved_or_gone(untried)
    kept = []
    for payout in untried:
        reason = moved.get(payout.id)
        # legs that leave a kept invoice could be paid by it and by another one
        is_over = payout.id in over and (over[payout.id] or not payout.payment_hash)
        if is_over:
            reason = FORWARD_OVER
        if payout.withdrawn_at:
            reason = reason or payout.reason or WALLET_GONE
        is_from_outside = payout.payment_hash and not payout.is_internal
        if not reason or (is_from_outside and not is_over):
            kept.append(payout)
        elif payout.payment_hash and payout.is_internal:
            await _give_up(payout, reason, holder)
        else:
            await withdraw(payout, reason, holder)
    return kept


async def _moved_or_gone(payouts: Sequence[Payout]) -> dict[str, str]:
    """payout id -> why it must not be paid as it is, of those for which that is so."""
    if not payouts:
        return {}
    wallets = await wallet_facts(
        w for p in payouts for w in (p.source_wallet_id, p.destination_wallet_id) if w
    )
    usable = {w for w, facts in wallets.items() if facts.is_usable}
    # who owes pays without an account; who receives could not take it out
    unowned = {w for w, facts in wallets.items() if not facts.has_owner}
    wanted = await forwards_crud.wanted_wallets([p.id for p in payouts])
    found = {}
    for payout in payouts:
        mine = {payout.source_wallet_id, payout.destination_wallet_id} - {None}
        now = {wallet for _, wallet in wanted.get(payout.id, set())}
        if not mine <= usable or payout.destination_wallet_id in unowned:
            found[payout.id] = WALLET_GONE
        elif payout.is_internal and not now <= {payout.destination_wallet_id}:
            found[payout.id] = RECEIVER_MOVED
    return found


async def _give_up(payout: Payout, reason: str, holder: str) -> None:
    """Never pay an invoice of ours, and have LNbits never pay it for anybody.

    Killed in between: it is marked, and the next look does the rest.
    """
    if await payouts_crud.mark_withdrawn(payout, reason, holder):
        await fail_unpaid_invoice(str(payout.payment_hash))
        await payouts_crud.note_payout(
            payout, reason=reason, next_try_at=utc_now() + SETTLING_TIME
        )
