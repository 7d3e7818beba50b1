"""Is anything owed, or waited for? Partly as conditions for statements that ask more.

Owed is what this server has yet to do: sales that are not planned, legs and payouts
that are not paid. What waits for a person, who has to say where it goes, is not: it may
wait for months, and an engine would not rest for as long.
"""

from __future__ import annotations

from ..base.database import db, fetch_one

# A leg that waits for somebody to say where it goes is not read by those who pay, or
# ten thousand such legs would hide the ones behind them.
MAY_BE_PAID = """
    status = 'pending' AND payout_id IS NULL
    AND NOT (leg_type = 'refund' AND target IS NULL)
    AND (leg_type <> 'super_fee' OR EXISTS (
        SELECT 1 FROM satoshimachine.super_config
        WHERE id = 'default' AND super_fee_wallet_id IS NOT NULL))
    """

OWED = f"""(
    EXISTS (SELECT 1 FROM satoshimachine.dca_settlements WHERE status = 'pending')
    OR EXISTS (SELECT 1 FROM satoshimachine.dca_payments
        WHERE source_wallet_id IS NOT NULL AND {MAY_BE_PAID})
    OR EXISTS (SELECT 1 FROM satoshimachine.dca_payouts
        WHERE status IN ('new', 'invoiced')))
    """  # noqa: S608


async def is_anything_waited_for() -> bool:
    """Whether time alone may give the engine something to do, within minutes: what is
    owed, what a machine has yet to report, questions, codes of unpaid invoices."""
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"""
            SELECT {OWED}
                OR EXISTS (SELECT 1 FROM satoshimachine.dca_settlements
                    WHERE status = 'awaiting_dispense')
                OR EXISTS (SELECT 1 FROM satoshimachine.dca_consents
                    WHERE state = 'open')
                OR EXISTS (SELECT 1 FROM satoshimachine.dca_discount_uses
                    WHERE given_back_at IS NULL AND expires_at IS NOT NULL) AS yes
            """,  # noqa: S608
        )
    return bool(row and row["yes"])
