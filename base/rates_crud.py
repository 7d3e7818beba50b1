"""What a machine usually sells at, and what a bitcoin cost in a currency at a time.

Guaranteed: the usual rate is moved by a day, not by a sale: it is the median of daily
medians, and today's sales count only where there is no other day. A price is what
LNbits said nearest to that time; one that is older than 6 hours is not known.
Not guaranteed: that a market's price is right; it is LNbits' answer.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from lnbits.db import Connection

from ..models import Machine
from .database import SQLITE, cents_sql, db, db_time, execute, fetch_all, fetch_one

S = "satoshimachine"
DAYS = 10
WITHIN = timedelta(days=30)
PRICE_IS_OLD = timedelta(hours=6)
SATS = 100_000_000


class KnownRates(NamedTuple):
    """In sats for one unit of fiat: the medians of days, and the market's, if known."""

    days: list[Decimal]
    market: Fraction | None


def _day_sql(column: str) -> str:
    """A UTC day as text; SQLite keeps times as seconds."""
    if db.type == SQLITE:
        return f"strftime('%Y-%m-%d', {column}, 'unixepoch')"
    return f"to_char({column}, 'YYYY-MM-DD')"


async def known_rates(conn: Connection, machine: Machine, at: datetime) -> KnownRates:
    """What a sale of that time is compared with."""
    market = await market_rate(conn, machine, at) if machine.price_check else None
    return KnownRates(await usual_rates(conn, machine.id, at), market)


async def usual_rates(conn: Connection, machine_id: str, at: datetime) -> list[Decimal]:
    """The medians of the last ten days with planned settlements before that time.

    Whatever was marked as a test since counts: a mark is the operator's to set.
    """
    found = await fetch_all(
        conn,
        f"""
        SELECT day, principal_sats, cents FROM (
            SELECT day, principal_sats, cents,
                ROW_NUMBER() OVER (
                    PARTITION BY day ORDER BY principal_sats * 1.0 / cents, id) AS n,
                COUNT(*) OVER (PARTITION BY day) AS sales
            FROM (
                SELECT id, {_day_sql("transaction_time")} AS day, principal_sats,
                    {cents_sql("fiat_amount")} AS cents
                FROM {S}.dca_settlements
                WHERE machine_id = :machine AND planned_at IS NOT NULL
                  AND transaction_time >= :since AND transaction_time <= :until
                  AND principal_sats > 0 AND fiat_amount > 0
            ) each_sale
        ) ranked
        WHERE n IN ((sales + 1) / 2, (sales + 2) / 2)
        ORDER BY day DESC LIMIT {2 * (DAYS + 1)}
        """,  # noqa: S608
        {
            "machine": machine_id,
            "since": db_time(at - WITHIN),
            "until": db_time(at),
        },
    )
    by_day: dict[str, list[Decimal]] = {}
    for row in found:
        rate = Decimal(int(row["principal_sats"])) * 100 / int(row["cents"])
        by_day.setdefault(row["day"], []).append(rate)
    today = f"{at:%Y-%m-%d}"
    days = [day for day in by_day if day != today][:DAYS] or list(by_day)
    return [sum(by_day[day], Decimal(0)) / len(by_day[day]) for day in days]


async def market_rate(
    conn: Connection, machine: Machine, at: datetime
) -> Fraction | None:
    """By the price kept nearest to that time, times the machine's factor."""
    row = await fetch_one(
        conn,
        f"""
        SELECT price FROM {S}.dca_prices
        WHERE fiat_code = :code AND asked_epoch >= :since AND asked_epoch <= :until
        ORDER BY ABS(asked_epoch - :at) LIMIT 1
        """,  # noqa: S608
        {
            "code": machine.fiat_code,
            "at": int(at.timestamp()),
            "since": int((at - PRICE_IS_OLD).timestamp()),
            "until": int((at + PRICE_IS_OLD).timestamp()),
        },
    )
    if row is None:
        return None
    return SATS / (Fraction(row["price"]) * Fraction(machine.market_factor))


async def newest_prices(
    conn: Connection, at: datetime
) -> dict[str, tuple[float, datetime]]:
    """The last kept price of each currency, with its time; none that is old."""
    found = await fetch_all(
        conn,
        f"""
        SELECT p.fiat_code, p.price, p.asked_epoch FROM {S}.dca_prices p
        JOIN (
            SELECT fiat_code, MAX(asked_epoch) AS newest FROM {S}.dca_prices
            WHERE asked_epoch >= :since AND asked_epoch <= :at GROUP BY fiat_code
        ) n ON n.fiat_code = p.fiat_code AND n.newest = p.asked_epoch
        """,  # noqa: S608
        {
            "since": int((at - PRICE_IS_OLD).timestamp()),
            "at": int(at.timestamp()),
        },
    )
    return {
        row["fiat_code"]: (
            round(float(row["price"]), 2),
            datetime.fromtimestamp(int(row["asked_epoch"]), timezone.utc),
        )
        for row in found
    }


async def machine_currencies(conn: Connection) -> list[str]:
    found = await fetch_all(
        conn,
        f"SELECT DISTINCT fiat_code FROM {S}.dca_machines WHERE is_active = true",  # noqa: S608
        {},
    )
    return [row["fiat_code"] for row in found]


async def keep_price(
    conn: Connection, fiat_code: str, price: Decimal, at: datetime
) -> bool:
    """What LNbits said a bitcoin costs; what no sale is compared with any more goes.
    False if one of that second is kept already."""
    kept = await execute(
        conn,
        f"INSERT INTO {S}.dca_prices (fiat_code, asked_epoch, price) "  # noqa: S608
        "VALUES (:code, :at, :price) ON CONFLICT DO NOTHING",
        {"code": fiat_code, "at": int(at.timestamp()), "price": str(price)},
    )
    await execute(
        conn,
        f"DELETE FROM {S}.dca_prices WHERE asked_epoch < :old",  # noqa: S608
        {"old": int((at - timedelta(days=90)).timestamp())},
    )
    return kept == 1
