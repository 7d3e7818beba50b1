"""Cash by place and period: opening + in - out +- differences = closing.

Sums over movements, by when the notes moved; the hand is the operator's, one row a
currency. Outside places have no row: what came from them is "in", and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lnbits.db import Connection

from ..base.database import cents_sql, db_time, fetch_all
from .reports import whose

S = "satoshimachine"


@dataclass(frozen=True)
class CashPeriod:
    """One place in one period, in minor units."""

    place: str
    machine_id: str | None
    machine: str | None
    currency: str
    opening_cents: int
    in_cents: int
    out_cents: int
    difference_cents: int

    @property
    def closing_cents(self) -> int:
        moved = self.in_cents - self.out_cents + self.difference_cents
        return self.opening_cents + moved


async def cash_by_place(
    conn: Connection,
    user_id: str,
    is_all: bool,
    since: datetime,
    until: datetime,
    machine_id: str | None = None,
) -> list[CashPeriod]:
    """Every place that ever held cash, hands first; of one machine if it is named."""
    params = {
        **whose(user_id, is_all),
        "since": db_time(since),
        "until": db_time(until),
    }
    where = ["v.at < :until"]
    if not is_all:
        where.append("v.operator_user_id = :me")
    if machine_id:
        where.append("v.machine_id = :machine")
        params["machine"] = machine_id
    own = " AND ".join(where)
    cents = cents_sql("v.amount")
    late = "v.at >= :since"

    def side(place: str, other: str, sign: str, column: str) -> str:
        counted = f"v.{other} <> 'difference'"
        is_in = f"CASE WHEN {late} AND {counted} THEN {cents} ELSE 0 END"
        nothing = "0"
        came, went = (is_in, nothing) if column == "came" else (nothing, is_in)
        return f"""
            SELECT v.{place} AS place, v.currency, v.operator_user_id,
                CASE WHEN v.{place} = 'hand' THEN '' ELSE v.machine_id END AS machine,
                CASE WHEN {late} THEN 0 ELSE {sign}{cents} END AS opening,
                {came} AS came, {went} AS went,
                CASE WHEN {late} AND NOT {counted} THEN {sign}{cents} ELSE 0 END
                    AS differs
            FROM {S}.cash_movements v WHERE {own}
        """  # noqa: S608

    into = side("to_place", "from_place", "", "came")
    out_of = side("from_place", "to_place", "-", "went")
    found = await fetch_all(
        conn,
        f"""
        SELECT p.place, p.machine, p.currency, p.operator_user_id,
            COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS name,
            SUM(p.opening) AS opening, SUM(p.came) AS came, SUM(p.went) AS went,
            SUM(p.differs) AS differs
        FROM ({into} UNION ALL {out_of}) AS p
        LEFT JOIN {S}.dca_machines m ON m.id = p.machine
        WHERE p.place IN ('hand', 'box', 'bays') OR p.place LIKE 'bay:%'
        GROUP BY p.place, p.machine, p.currency, p.operator_user_id, m.name,
            m.machine_npub
        ORDER BY p.machine, p.place, p.currency, p.operator_user_id
        """,  # noqa: S608
        params,
    )
    return [
        CashPeriod(
            place=row["place"],
            machine_id=row["machine"] or None,
            machine=row["name"],
            currency=row["currency"],
            opening_cents=int(row["opening"] or 0),
            in_cents=int(row["came"] or 0),
            out_cents=int(row["went"] or 0),
            difference_cents=int(row["differs"] or 0),
        )
        for row in found
    ]
