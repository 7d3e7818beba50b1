"""What the books of a period say, line by line: settlements, legs and fees.

Every amount in sats has its counter-value in the machine's currency at the rate of its
own transaction: the settlement's fiat for its principal, rounded half up to the cent.
What was dispensed counts, not what was ordered. Test settlements are left out, and so
are quarantined and voided ones: nothing came of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import cents_sql, db, db_time, fetch_all, from_db_time, in_list
from ..calculations import cents_text, fiat_cents, round_half_up
from .reports import own_machines_sql, whose

S = "satoshimachine"
PAGE = 500
DISCOUNTS = ("discount_code", "operator_discount_sats", "platform_discount_sats")
COLUMNS = (
    "time",
    "machine",
    "tx_type",
    "record",
    "party",
    "status",
    "sats",
    "counter_value",
    "currency",
    "exchange_rate",
    "settlement_id",
    "id",
    "payment_hash",
    "reference",
    # of a settlement, on its first line
    *DISCOUNTS,
)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """Whose books, of which machine and period."""

    user_id: str
    is_all: bool
    since: datetime
    until: datetime
    machine_id: str | None = None


async def lines(asked: Asked) -> AsyncIterator[list[dict[str, Any]]]:
    """The lines of a period in order of time, a page of settlements at a time; legs
    that belong to no settlement (balances paid out) come last."""
    after: tuple[Any, str] | None = None
    while True:
        async with db.connect() as conn:
            page = await _settlements(conn, asked, after)
            legs = await _legs(conn, [row["id"] for row in page])
        yield [
            line for row in page for line in settlement_lines(row, legs.get(row["id"]))
        ]
        if len(page) < PAGE:
            break
        after = (page[-1]["transaction_time"], page[-1]["id"])
    async with db.connect() as conn:
        yield [_leg_line(leg, leg) for leg in await _loose_legs(conn, asked)]


def _where(asked: Asked, table: str, params: dict[str, Any]) -> str:
    params.update(whose(asked.user_id, asked.is_all))
    params.update(since=db_time(asked.since), until=db_time(asked.until))
    where = (
        f"{table}.machine_id IN {own_machines_sql(asked.is_all)} "
        f"AND {table}.transaction_time >= :since AND {table}.transaction_time < :until"
    )
    if asked.machine_id:
        params["machine"] = asked.machine_id
        where += f" AND {table}.machine_id = :machine"
    return where


_MACHINE = "COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine"


async def _settlements(
    conn: Connection, asked: Asked, after: tuple[Any, str] | None
) -> list[Row]:
    params: dict[str, Any] = {"limit": PAGE}
    where = _where(asked, "s", params)
    if after:
        where += (
            " AND (s.transaction_time > :after "
            "OR (s.transaction_time = :after AND s.id > :last))"
        )
        params["after"], params["last"] = after
    return await fetch_all(
        conn,
        f"""
        SELECT s.*, {_MACHINE} FROM {S}.dca_settlements s
        JOIN {S}.dca_machines m ON m.id = s.machine_id
        WHERE {where} AND s.is_test = false
          AND s.status NOT IN ('quarantined', 'voided')
        ORDER BY s.transaction_time, s.id LIMIT :limit
        """,  # noqa: S608
        params,
    )


async def _legs(conn: Connection, settlement_ids: Sequence[str]) -> dict[str, list]:
    params: dict[str, Any] = {}
    listed = in_list("s", settlement_ids, params)
    found: dict[str, list] = {}
    for leg in await fetch_all(
        conn,
        f"""
        SELECT p.*, {cents_sql("p.amount_fiat")} AS cents, c.username
        FROM {S}.dca_payments p LEFT JOIN {S}.dca_clients c ON c.id = p.client_id
        WHERE p.settlement_id IN {listed} AND p.leg_type <> 'autoforward'
          AND p.status <> 'voided'
        ORDER BY p.created_at, p.leg_type, p.id
        """,  # noqa: S608
        params,
    ):
        found.setdefault(leg["settlement_id"], []).append(leg)
    return found


async def _loose_legs(conn: Connection, asked: Asked) -> list[Row]:
    params: dict[str, Any] = {}
    where = _where(asked, "p", params)
    return await fetch_all(
        conn,
        f"""
        SELECT p.*, {cents_sql("p.amount_fiat")} AS cents, c.username, {_MACHINE},
            m.fiat_code, '' AS tx_type
        FROM {S}.dca_payments p JOIN {S}.dca_machines m ON m.id = p.machine_id
        LEFT JOIN {S}.dca_clients c ON c.id = p.client_id
        WHERE {where} AND p.settlement_id IS NULL AND p.leg_type = 'settlement'
          AND p.status <> 'voided'
        ORDER BY p.transaction_time, p.id
        """,  # noqa: S608
        params,
    )


@dataclass(frozen=True)
class Figures:
    """A settlement's figures as dispensed, and the rate of its transaction."""

    principal_sats: int
    fee_sats: int
    platform_sats: int
    operator_sats: int
    cents: int

    @classmethod
    def of(cls, row: Row) -> Figures:
        if row["dispensed_fiat"] is not None:
            return cls(
                int(row["dispensed_principal_sats"] or 0),
                int(row["dispensed_fee_sats"] or 0),
                int(row["dispensed_platform_fee_sats"] or 0),
                int(row["dispensed_operator_fee_sats"] or 0),
                _cents(row["dispensed_fiat"]),
            )
        return cls(
            int(row["principal_sats"]),
            int(row["fee_sats"]),
            int(row["platform_fee_sats"]),
            int(row["operator_fee_sats"]),
            _cents(row["fiat_amount"]),
        )


def _cents(amount: Any) -> int:
    return fiat_cents(f"{amount:.2f}")


def counter_value_cents(sats: int, principal_sats: int, cents: int) -> int:
    """Minor units that `sats` were worth at principal_sats for cents."""
    return round_half_up(sats * cents, principal_sats) if principal_sats else 0


def settlement_lines(row: Row, legs: Sequence[Row] | None) -> Iterator[dict[str, Any]]:
    """The lines of one settlement: itself, its fees, and every leg."""
    figures = Figures.of(row)
    # the landed pair gives the rate: a dispense of nothing has none
    principal, cents = int(row["principal_sats"]), _cents(row["fiat_amount"])
    surplus = figures.fee_sats - figures.platform_sats - figures.operator_sats
    for record, sats in (
        ("principal", figures.principal_sats),
        ("fee", figures.fee_sats),
        ("fee: platform share", figures.platform_sats),
        ("fee: operator share", figures.operator_sats),
        ("fee: surplus", max(0, surplus)),
        # of the platform's share, what was not charged: the operator owes it
        ("fee: shortfall", max(0, -surplus)),
        ("network fee of the payment", int(row["network_fee_sats"] or 0)),
    ):
        is_first = record == "principal"
        if sats or is_first:
            value = counter_value_cents(sats, principal, cents)
            value = figures.cents if is_first else value
            yield {
                **_common(row),
                **(_discounts(row) if is_first else {}),
                "record": record,
                "party": "",
                "status": row["status"],
                "sats": sats,
                "counter_value": cents_text(value),
                "id": row["id"],
                "settlement_id": row["id"],
                "payment_hash": row["payment_hash"],
                "reference": row["bitspire_txid"] or "",
            }
    for leg in legs or ():
        yield _leg_line(leg, row)


def _discounts(row: Row) -> dict[str, Any]:
    """Who forgave what; nothing where nobody did."""
    return {name: row[name] or "" for name in DISCOUNTS}


def _common(row: Row) -> dict[str, Any]:
    at = from_db_time(row["transaction_time"])
    return {
        "time": at.isoformat() if at else "",
        "machine": row["machine"],
        "tx_type": row["tx_type"],
        "currency": row["fiat_code"],
        "exchange_rate": row["exchange_rate"],
    }


def _leg_line(leg: Row, settlement: Row) -> dict[str, Any]:
    if leg["cents"] is not None:
        cents = int(leg["cents"])
    else:
        cents = counter_value_cents(
            int(leg["amount_sats"]),
            int(settlement["principal_sats"]),
            _cents(settlement["fiat_amount"]),
        )
    return {
        **_common(settlement),
        "record": f"leg: {leg['leg_type']}",
        "party": leg["username"] or leg["label"] or "",
        "status": leg["status"],
        "sats": int(leg["amount_sats"]),
        "counter_value": cents_text(cents),
        "id": leg["id"],
        "settlement_id": leg["settlement_id"] or "",
        "payment_hash": leg["external_payment_hash"] or "",
        "reference": leg["reference"] or "",
    }
