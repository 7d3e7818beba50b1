"""What the cash book shows: movements, visits, what every place holds, and coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from lnbits.db import Connection

from ..base.acting import person_behind
from ..base.database import fetch_all, from_db_time
from ..cash import bays as cash_bays
from ..cash import ledger, reservations
from .coverage import share_of
from .lists import Fields, Source
from .reports import own_machines_sql, whose

S = "satoshimachine"

MOVEMENT_FIELDS = Fields(
    kinds={
        "id": "text",
        "machine_id": "text",
        "visit_id": "text",
        "settlement_id": "text",
        "deposit_id": "text",
        "from_place": "text",
        "to_place": "text",
        "denomination": "int",
        "notes": "int",
        "amount": "fiat",
        "currency": "text",
        "at": "time",
        "by": "text",
        "reason": "text",
        "source": "text",
        "number": "int",
        "operator_user_id": "text",
    },
    search=("reason", "from_place", "to_place", "currency", "id"),
    newest="at",
)

VISIT_FIELDS = Fields(
    kinds={
        "id": "text",
        "machine_id": "text",
        "status": "text",
        "opened_at": "time",
        "opened_by": "text",
        "closed_at": "time",
        "closed_by": "text",
        "difference_amount": "fiat",
        "currency": "text",
        "reason": "text",
    },
    search=("reason", "status", "id"),
    newest="opened_at",
)


def _who(column: str) -> str:
    """The reader's own id, a word that is nobody's login, or a role."""
    return (
        f"CASE WHEN {column} IN (:reader, 'machine', 'engine') THEN {column} "
        "ELSE 'operator' END"
    )


def movements_source(user_id: str, is_all: bool) -> Source:
    columns = {name: f"v.{name}" for name in MOVEMENT_FIELDS.kinds}
    columns["by"] = _who('v."by"')
    # a login, where LNbits allows it: told to whose it is
    columns["operator_user_id"] = (
        "CASE WHEN v.operator_user_id = :reader THEN v.operator_user_id END"
    )
    return Source(
        columns=columns,
        tables=f"{S}.cash_movements v",
        where=[] if is_all else ["v.operator_user_id = :me"],
        params={"reader": person_behind(user_id), **whose(user_id, is_all)},
        key="v.id",
    )


def visits_source(user_id: str, is_all: bool) -> Source:
    columns = {name: f"v.{name}" for name in VISIT_FIELDS.kinds}
    columns["opened_by"] = _who("v.opened_by")
    columns["closed_by"] = _who("v.closed_by")
    columns["difference_amount"] = "CAST(v.difference_cents AS DECIMAL(20,2)) / 100.0"
    columns["currency"] = "m.fiat_code"
    return Source(
        columns=columns,
        tables=f"{S}.cash_visits v JOIN {S}.dca_machines m ON m.id = v.machine_id",
        where=[] if is_all else ["v.operator_user_id = :me"],
        params={"reader": person_behind(user_id), **whose(user_id, is_all)},
        key="v.id",
    )


# ------------------------------------------------------------------ what places hold


@dataclass
class Holding:
    """What one place holds of one denomination (None: by amount), as of now."""

    place: str
    machine_id: str | None
    denomination: int | None
    notes: int | None
    cents: int
    currency: str
    capacity: int | None = None
    reserved_notes: int = 0
    counted_at: datetime | None = None


@dataclass
class CashTotal:
    """Sums of one currency in minor units; None where nobody has said it yet."""

    currency: str
    total_cents: int = 0
    available_cents: int = 0
    hand_cents: int | None = None
    owed_cents: int = 0

    @property
    def coverage(self) -> Decimal | None:
        """Cash against what LPs are owed; None until the hand was counted."""
        return share_of(self.total_cents, self.owed_cents, self.hand_cents is not None)


@dataclass
class CashNow:
    holdings: list[Holding] = field(default_factory=list)
    totals: list[CashTotal] = field(default_factory=list)


async def cash_now(
    conn: Connection,
    user_id: str,
    is_all: bool,
    owed: Sequence[Mapping[str, Any]],
    paid: Sequence[str],
) -> CashNow:
    """Every place that the reader may see, and sums by currency. `owed` are rows of
    `fiat_code` and `cents` that LPs have left, `paid` sales that have not landed."""
    own, params = own_machines_sql(is_all), whose(user_id, is_all)
    bays = await cash_bays.bays(conn, own, params, is_active=False)
    set_aside = await reservations.reserved(conn, own, params, paid)
    only = "" if is_all else " WHERE operator_user_id = :me"
    balances = await fetch_all(
        conn,
        f"SELECT * FROM {S}.cash_balances{only} "  # noqa: S608
        "ORDER BY machine_id, place, denomination",
        params,
    )
    counted = await _counted(conn, only, params)
    machines = await fetch_all(
        conn,
        f"SELECT id, fiat_code, box_capacity FROM {S}.dca_machines "  # noqa: S608
        f"WHERE id IN {own} ORDER BY created_at, id",
        params,
    )
    now = CashNow()
    shown = set()
    for machine in machines:
        reserved = dict(set_aside.get(machine["id"], {}))
        for bay in (b for b in bays if b.machine_id == machine["id"]):
            here = min(reserved.get(bay.denomination, 0), bay.count)
            reserved[bay.denomination] = reserved.get(bay.denomination, 0) - here
            shown.add((bay.machine_id, ledger.bay(bay.position), bay.denomination))
            now.holdings.append(
                Holding(
                    ledger.bay(bay.position),
                    bay.machine_id,
                    bay.denomination,
                    bay.held,
                    bay.held * bay.denomination * 100,
                    bay.fiat_code,
                    bay.capacity,
                    here,
                )
            )
        rest = [
            row
            for row in balances
            if row["machine_id"] == machine["id"]
            and (row["machine_id"], row["place"], int(row["denomination"])) not in shown
            and (row["cents"] or row["notes"])
        ]
        now.holdings += [_holding(row, machine["box_capacity"]) for row in rest]
        if not any(row["place"] == ledger.BOX for row in rest):
            now.holdings.append(
                Holding(
                    ledger.BOX,
                    machine["id"],
                    None,
                    0,
                    0,
                    machine["fiat_code"],
                    machine["box_capacity"],
                )
            )
    now.holdings += [_holding(row, None) for row in balances if not row["machine_id"]]
    for holding in now.holdings:
        holding.counted_at = counted.get((holding.machine_id or "", holding.place))
    now.totals = _totals(now.holdings, counted_hands(counted, now), owed)
    return now


def _holding(row: Mapping[str, Any], box_capacity: int | None) -> Holding:
    note = int(row["denomination"])
    return Holding(
        row["place"],
        row["machine_id"] or None,
        note or None,
        int(row["notes"]) if note else None,
        int(row["cents"]),
        row["currency"],
        box_capacity if row["place"] == ledger.BOX else None,
    )


async def _counted(
    conn: Connection, only: str, params: Mapping[str, Any]
) -> dict[tuple[str, str], datetime]:
    """When a place was last counted: by (machine id, place); hands by currency too."""
    found = await fetch_all(
        conn,
        f"""
        SELECT machine_id, place, currency, MAX(at) AS at FROM {S}.cash_counts{only}
        GROUP BY machine_id, place, currency
        """,  # noqa: S608
        params,
    )
    counted: dict[tuple[str, str], datetime] = {}
    for row in found:
        at = from_db_time(row["at"])
        if at:
            counted[(row["machine_id"], row["place"])] = at
            if row["place"] == ledger.HAND:
                counted[(f"hand:{row['currency']}", ledger.HAND)] = at
    return counted


def counted_hands(
    counted: Mapping[tuple[str, str], datetime], now: CashNow
) -> dict[str, int | None]:
    """What is in the hand by currency; None where nobody said it."""
    hands: dict[str, int | None] = {}
    for holding in now.holdings:
        if holding.place == ledger.HAND:
            known = (f"hand:{holding.currency}", ledger.HAND) in counted
            before = hands.get(holding.currency) or 0
            hands[holding.currency] = before + holding.cents if known else None
    for key, place in counted:
        if place == ledger.HAND and key.startswith("hand:"):
            hands.setdefault(key.removeprefix("hand:"), 0)
    return hands


def _totals(
    holdings: Sequence[Holding],
    hands: Mapping[str, int | None],
    owed: Sequence[Mapping[str, Any]],
) -> list[CashTotal]:
    totals: dict[str, CashTotal] = {}

    def of(currency: str) -> CashTotal:
        return totals.setdefault(currency, CashTotal(currency))

    for holding in holdings:
        total = of(holding.currency)
        total.total_cents += holding.cents
        if holding.place.startswith("bay:") and holding.denomination:
            free = max(0, (holding.notes or 0) - holding.reserved_notes)
            total.available_cents += free * holding.denomination * 100
    for currency, cents in hands.items():
        of(currency).hand_cents = cents
    for row in owed:
        of(row["fiat_code"]).owed_cents += int(row["cents"] or 0)
    return [totals[currency] for currency in sorted(totals)]
