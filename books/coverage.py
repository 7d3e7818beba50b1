"""Is there as much cash as LPs are owed? By currency, in bays, boxes and the hand.

It is claimed only once the operator has said what is in their hands.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from lnbits.db import Connection

from ..base.database import fetch_all
from ..parties.lps_crud import debited_cents_sql, deposited_cents_sql

S = "satoshimachine"


@dataclass(frozen=True)
class Coverage:
    """Cash of one operator in one currency, against what their LPs have left."""

    operator_user_id: str
    currency: str
    held_cents: int
    owed_cents: int
    is_counted: bool

    @property
    def share(self) -> Decimal | None:
        return share_of(self.held_cents, self.owed_cents, self.is_counted)


def share_of(held_cents: int, owed_cents: int, is_counted: bool) -> Decimal | None:
    """Rounded down, so that 1 is never claimed of less; None until it was counted, and
    where nothing is owed it is 1."""
    if not is_counted:
        return None
    if owed_cents <= 0:
        return Decimal("1.0000")
    share = Decimal(held_cents) / Decimal(owed_cents)
    return share.quantize(Decimal("0.0001"), rounding=ROUND_DOWN)


async def coverages(conn: Connection, operator_user_id: str) -> list[Coverage]:
    """Of each currency of the operator's machines. One statement."""
    found = await fetch_all(
        conn,
        f"""
        SELECT c.fiat_code,
            COALESCE((SELECT SUM(b.cents) FROM {S}.cash_balances b
                WHERE b.operator_user_id = :me AND b.currency = c.fiat_code), 0)
                AS held,
            COALESCE((SELECT SUM({deposited_cents_sql("l.id")}
                    - {debited_cents_sql("l.id")})
                FROM {S}.dca_clients l JOIN {S}.dca_machines o ON o.id = l.machine_id
                WHERE o.operator_user_id = :me AND o.fiat_code = c.fiat_code), 0)
                AS owed,
            EXISTS (SELECT 1 FROM {S}.cash_counts k
                WHERE k.operator_user_id = :me AND k.place = 'hand'
                  AND k.currency = c.fiat_code) AS is_counted
        FROM (SELECT DISTINCT fiat_code FROM {S}.dca_machines
            WHERE operator_user_id = :me) AS c
        ORDER BY c.fiat_code
        """,  # noqa: S608
        {"me": operator_user_id},
    )
    return [
        Coverage(
            operator_user_id=operator_user_id,
            currency=row["fiat_code"],
            held_cents=int(row["held"]),
            owed_cents=int(row["owed"]),
            is_counted=bool(row["is_counted"]),
        )
        for row in found
    ]
