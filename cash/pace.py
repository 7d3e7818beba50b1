"""How long will the cash last? What is in a machine, and how fast it is paid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from lnbits.db import Connection

from ..base.database import cents_sql, db_time, fetch_all, in_list
from ..models import utc_now
from . import bays as cash

S = "satoshimachine"
PACE = timedelta(days=7)


@dataclass(frozen=True)
class CashOfMachine:
    """What must be in a machine now, in minor units; None if nobody ever said.

    `days_left` is at the pace of the last seven days; None without a pace.
    """

    cash_cents: int | None = None
    days_left: float | None = None


async def cash_of_machines(
    conn: Connection, machine_ids: Sequence[str]
) -> dict[str, CashOfMachine]:
    """By machine id, in three statements."""
    params: dict[str, str] = {}
    listed = in_list("machine", machine_ids, params)
    in_bays: dict[str, int] = {}
    for bay in await cash.bays(conn, listed, params):
        cents = bay.count * bay.denomination * 100
        in_bays[bay.machine_id] = in_bays.get(bay.machine_id, 0) + cents
    found = await fetch_all(
        conn,
        f"""
        SELECT machine_id,
            SUM({cents_sql("COALESCE(dispensed_fiat, fiat_amount)")}) AS cents
        FROM {S}.dca_settlements
        WHERE machine_id IN {listed} AND tx_type = 'cash_out'
          AND transaction_time >= :since AND is_test = false
          AND status NOT IN ('quarantined', 'voided')
        GROUP BY machine_id
        """,  # noqa: S608
        {**params, "since": db_time(utc_now() - PACE)},
    )
    paid_out = {row["machine_id"]: int(row["cents"] or 0) for row in found}
    return {
        machine_id: CashOfMachine(cents, _days_left(cents, paid_out.get(machine_id, 0)))
        for machine_id, cents in in_bays.items()
    }


def _days_left(cash_cents: int, week_cents: int) -> float | None:
    if week_cents <= 0:
        return None
    return round(cash_cents * PACE.days / week_cents, 1)
