"""Am I ahead? What an LP received, what it cost and is worth, and how long the rest of
their cash will last.

Guaranteed: the caller's own rows only, in the same number of statements whatever the
number of machines and payments; integers throughout. Nobody waits for a price: it is
what was heard last, with its time, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from lnbits.db import Connection

from ..base.database import cents_sql, db_time, fetch_all, from_db_time
from ..base.zones import Zone, day_of_number
from ..calculations import round_half_up
from ..crud import ARRIVED_SQL, RECEIVED_SQL
from ..host.rates import HeardPrice
from ..models import utc_now
from ..parties.lps_crud import debited_cents_sql, deposited_cents_sql, received_sql
from ..parties.positions_crud import OwnLimit, own_limit
from .prices import page_prices

S = "satoshimachine"
Row = Mapping[str, Any]
SATS_OF_A_BITCOIN = 100_000_000
# The pace at which cash was used lately says how long the rest lasts.
PACE_DAYS = 30
LONGEST_DAYS = 3_650


@dataclass
class Standing:
    """What was received, what it took of the LP's cash, and what is still at work."""

    sats: int = 0
    paid_cents: int = 0
    at_work_cents: int = 0
    # used of the cash in the last days, and in how many of them
    pace_cents: int = 0
    pace_days: int = PACE_DAYS

    def value_cents(self, price_cents: int) -> int:
        return round_half_up(self.sats * price_cents, SATS_OF_A_BITCOIN)

    @property
    def average_price_cents(self) -> int | None:
        if not self.sats:
            return None
        return round_half_up(self.paid_cents * SATS_OF_A_BITCOIN, self.sats)

    @property
    def days_left(self) -> int | None:
        """Days until the cash is used up at the pace of the last ones, begun ones too;
        None where none was used, or it would take longer than anybody plans."""
        if self.at_work_cents <= 0:
            return 0 if self.paid_cents else None
        if self.pace_cents <= 0:
            return None
        days = -(-self.at_work_cents * self.pace_days // self.pace_cents)
        return days if days <= LONGEST_DAYS else None


@dataclass
class AtMachine(Standing):
    client_id: str = ""
    machine_id: str = ""
    machine: str = ""
    status: str = ""
    currency: str = ""


@dataclass
class Day:
    """What came on one day of the zone, and what all had cost by its end."""

    day: date
    currency: str
    sats: int
    cents: int
    all_sats: int
    all_cents: int


@dataclass
class LpInsight:
    machines: list[AtMachine]
    days: list[Day]
    limit: OwnLimit | None
    prices: dict[str, HeardPrice | None]
    asking: set[str]
    by_currency: dict[str, Standing] = field(default_factory=dict)


async def lp_insight(
    conn: Connection, user_id: str, days: int | None, zone: Zone
) -> LpInsight:
    """Of the last so many days of the zone, or of all; six statements."""
    now = utc_now()
    since = datetime.fromtimestamp(0, timezone.utc)
    if days:
        since = zone.start_of(zone.today() - timedelta(days=days - 1))
    machines = [_at_machine(r, now) for r in await _machines(conn, user_id, now)]
    by_currency = _by_currency(machines)
    prices, asking = await page_prices(conn, by_currency, now)
    return LpInsight(
        machines=machines,
        days=await _days(conn, user_id, since, zone, machines),
        limit=await own_limit(conn, user_id, now),
        prices=prices,
        asking=asking,
        by_currency=by_currency,
    )


async def _machines(conn: Connection, user_id: str, now: datetime) -> list[Row]:
    return await fetch_all(
        conn,
        f"""
        SELECT c.id, c.machine_id, c.status, c.created_at, m.name, m.machine_npub,
            m.fiat_code, {deposited_cents_sql("c.id")} AS deposited,
            {debited_cents_sql("c.id")} AS debited,
            {received_sql("c.id")} AS sats,
            {received_sql("c.id", "received_cents")} AS paid,
            COALESCE((SELECT SUM({cents_sql("p.amount_fiat")})
                FROM {S}.dca_payments p
                WHERE p.client_id = c.id AND p.leg_type = 'dca'
                  AND p.status IN ('pending', 'failed', 'completed', 'skipped')
                  AND p.transaction_time >= :lately), 0) AS pace
        FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
        WHERE c.user_id = :me ORDER BY c.created_at, c.id
        """,  # noqa: S608
        {"me": user_id, "lately": db_time(now - timedelta(days=PACE_DAYS))},
    )


def _at_machine(row: Row, now: datetime) -> AtMachine:
    enrolled = from_db_time(row["created_at"]) or now
    is_active = row["status"] == "active"
    return AtMachine(
        sats=int(row["sats"]),
        paid_cents=int(row["paid"]),
        at_work_cents=int(row["deposited"]) - int(row["debited"]),
        # nothing is used of the cash of who is paused or has left
        pace_cents=int(row["pace"]) if is_active else 0,
        pace_days=max(1, min(PACE_DAYS, (now - enrolled).days)),
        client_id=row["id"],
        machine_id=row["machine_id"],
        machine=row["name"] or f"{row['machine_npub'][:12]}…",
        status=row["status"],
        currency=row["fiat_code"],
    )


def _by_currency(machines: Iterable[AtMachine]) -> dict[str, Standing]:
    """Sums; a pace is over the days of the machine that was there longest."""
    found: dict[str, Standing] = {}
    for one in machines:
        total = found.setdefault(one.currency, Standing(pace_days=1))
        total.sats += one.sats
        total.paid_cents += one.paid_cents
        total.at_work_cents += one.at_work_cents
        total.pace_cents += one.pace_cents
        total.pace_days = max(total.pace_days, one.pace_days)
    return found


async def _days(
    conn: Connection,
    user_id: str,
    since: datetime,
    zone: Zone,
    machines: Sequence[AtMachine],
) -> list[Day]:
    """What arrived, by day and currency. What was before the range is what the running
    totals have beyond it: the whole past is not read again."""
    arrived = "COALESCE(p.completed_at, p.transaction_time)"
    day = zone.day_sql(arrived, since, utc_now())
    rows = await fetch_all(
        conn,
        f"""
        SELECT d.day, m.fiat_code, SUM(d.sats) AS sats, SUM(d.cents) AS cents
        FROM (
            SELECT p.machine_id, {day} AS day, SUM({ARRIVED_SQL}) AS sats,
                SUM({cents_sql("p.amount_fiat")}) AS cents
            FROM {S}.dca_payments p WHERE p.client_id IN
                (SELECT id FROM {S}.dca_clients WHERE user_id = :me)
              AND p.leg_type IN ('dca', 'settlement') AND {RECEIVED_SQL}
              AND p.paid_outside = false AND {arrived} >= :since
            GROUP BY p.machine_id, {day}
        ) d JOIN {S}.dca_machines m ON m.id = d.machine_id
        GROUP BY d.day, m.fiat_code ORDER BY d.day, m.fiat_code
        """,  # noqa: S608
        {"me": user_id, "since": db_time(since)},
    )
    sums: dict[str, list[int]] = {}
    for one in machines:
        of = sums.setdefault(one.currency, [0, 0])
        of[0] += one.sats
        of[1] += one.paid_cents
    for row in rows:
        of = sums.setdefault(row["fiat_code"], [0, 0])
        of[0] -= int(row["sats"])
        of[1] -= int(row["cents"] or 0)
    found = []
    for row in rows:
        sats, cents = int(row["sats"]), int(row["cents"] or 0)
        of = sums[row["fiat_code"]]
        of[0] += sats
        of[1] += cents
        at = day_of_number(int(row["day"]))
        found.append(Day(at, row["fiat_code"], sats, cents, *of))
    return found
