"""What the cash book asks a person to look at: bays, boxes, visits, differences.

Each ends by itself: a bay that was filled, a box that was taken out, a visit that was
closed, a machine that was counted since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from lnbits.db import Connection

from ..base.currencies import money
from ..books.coverage import coverages
from ..books.reports import own_machines_sql, whose
from ..calculations import fiat_cents
from ..cash import bays as cash
from ..cash.visits import TAKE_OVER
from ..models import CASH_IN, utc_now
from . import cash_attention_crud as sql
from .kinds import Kind, Row

# A difference that somebody looked at is old news after a week, or at the next visit.
DIFFERENCE_LASTS = timedelta(days=7)
TRADE_LASTS = timedelta(days=30)


def _trade_sentence(row: Row) -> str:
    sold, moved = int(row["sold_cents"]), int(row["cents"])
    code = row["fiat_code"]
    if row["tx_type"] == CASH_IN:
        return (
            f"{row['machine']}: {money(moved, code)} came in for a sale of "
            f"{money(sold, code)}."
        )
    left = max(moved, sold + int(row["more_cents"]))
    return (
        f"{row['machine']}: {money(left, code)} left the machine for a sale of "
        f"{money(sold, code)}."
    )


CASH_LEFT = Kind(
    "cash_left",
    "settlement",
    "Count what is in the machine: open a visit.",
    lambda own: "",
    _trade_sentence,
)
CASH_FAULT = Kind(
    "cash_fault",
    "settlement",
    "Count what is in the machine: open a visit.",
    lambda own: "",
    lambda r: (
        f"{r['machine']}: the notes of a sale of "
        f"{money(int(r['sold_cents']), r['fiat_code'])} are not in the cash book. "
        f"{r['fault']}"
    ),
)
CASH_DIFFERENCE = Kind(
    "cash_difference",
    "visit",
    "Look at the visit, and ask who was there.",
    lambda own: "",
    lambda r: (
        f"{r['machine']}: what was counted differs by "
        f"{money(int(r['difference_cents']), r['fiat_code'])} from what was expected."
    ),
)
LOW_CASH = Kind(
    "low_cash",
    "machine",
    "Fill the bay, then save the new count.",
    lambda own: "",
    lambda r: (
        f"{r['machine']}: bay {r['position']} holds about {r['count']} notes of "
        f"{r['denomination']}, of {r['filled']} that were filled in."
    ),
)
BOX_FULL = Kind(
    "box_full",
    "machine",
    "Empty the cash box in a visit.",
    lambda own: "",
    lambda r: (
        f"{r['machine']}: the cash box holds about {int(r['notes'])} of "
        f"{r['box_capacity']} notes."
    ),
)
VISIT_OPEN = Kind(
    "visit_open",
    "visit",
    "Close the visit, or cancel it.",
    lambda own: "",
    lambda r: f"{r['machine']}: a visit has been open for more than two hours.",
)
COVERAGE_LOW = Kind(
    "coverage_low",
    "cash",
    "Count the machines and your hands, or bring cash.",
    lambda own: "",
    lambda r: (
        f"Cash of {money(r['held_cents'], r['currency'])} stands against "
        f"{money(r['owed_cents'], r['currency'])} that LPs are owed."
    ),
)

# What is told by message too; the others wait in the overview.
TOLD_OF_CASH = frozenset(
    kind.name for kind in (CASH_LEFT, CASH_DIFFERENCE, LOW_CASH, BOX_FULL, VISIT_OPEN)
)


async def cash_rows(
    conn: Connection, user_id: str, is_all: bool
) -> list[tuple[Kind, Sequence[Row]]]:
    """Rows of each kind, the gravest first. `part` tells rows of one subject apart."""
    own, params, now = own_machines_sql(is_all), whose(user_id, is_all), utc_now()
    trades = await sql.trades(conn, own, params, now - TRADE_LASTS)
    found = await sql.differences(conn, own, params, now - DIFFERENCE_LASTS)
    low = await cash.low_bays(conn, own, params)
    boxes = await sql.boxes(conn, own, params)
    rows: list[tuple[Kind, Sequence[Row]]] = [
        (CASH_LEFT, [r for r in trades if r["fault"] is None]),
        (CASH_FAULT, [r for r in trades if r["fault"] is not None]),
        (CASH_DIFFERENCE, [r for r in found if _is_above_limit(r)]),
        (LOW_CASH, [{**bay.row, "part": f":{bay.position}"} for bay in low]),
        (BOX_FULL, [r for r in boxes if _is_nearly_full(r)]),
        (
            VISIT_OPEN,
            await sql.open_visits(conn, own, params, now - TAKE_OVER),
        ),
    ]
    if not is_all:
        rows.append((COVERAGE_LOW, await _uncovered(conn, user_id)))
    return rows


def _is_above_limit(row: Row) -> bool:
    limits = json.loads(row["limits"]) if row["limits"] else {}
    return int(row["difference_cents"]) > fiat_cents(limits.get(row["fiat_code"], "0"))


def _is_nearly_full(row: Row) -> bool:
    """Less room is left than the share at which a bay counts as low."""
    left = 1 - Decimal(str(row["low_cash_fraction"]))
    return int(row["notes"]) >= int(row["box_capacity"]) * left


async def _uncovered(conn: Connection, user_id: str) -> Sequence[Row]:
    return [
        {
            "subject_id": one.currency,
            "machine_id": None,
            "since": None,
            "currency": one.currency,
            "held_cents": one.held_cents,
            "owed_cents": one.owed_cents,
        }
        for one in await coverages(conn, user_id)
        if one.share is not None and one.share < 1
    ]
