"""What earned, where and when: sums of a range beside those of the range before it.

Guaranteed: the same number of statements whatever the size; a reader's own machines
only; fiat is never added across currencies. Trades count on their transaction time, as
dispensed where that is known, and their parts are worth what `accounting.csv` says:
half up at the trade's own rate. What was paid, kept or lost is a sum over the journal,
on the day that it happened, worth what its entries say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from lnbits.db import Connection

from ..base.database import fetch_all, from_db_time
from ..base.zones import Zone, day_number
from ..models import CASH_OUT
from ..parties.lps_crud import debited_cents_sql, deposited_cents_sql
from .insight_rows import (
    JOURNAL,
    LP_ACCOUNTS,
    OF_TRADES,
    OWN_ROUTING,
    QUARTERS,
    TRADES,
    WAITS,
)
from .insight_sums import Reader, Span
from .reports import own_machines_sql, whose

S = "satoshimachine"
Row = Mapping[str, Any]
# by account: the figure that it is, and the sign that makes it one
_FIGURES_OF: dict[str, tuple[tuple[str, int], ...]] = {
    "platform_paid": (("platform_paid", 1),),
    "splits_paid": (("splits_paid", 1), ("fees_received", 1)),
    "operator_fees": (("fees_received", -1),),
    "surplus": (("other_kept", -1),),
    "reserve_kept": (("other_kept", -1),),
    "let_go": (("other_kept", -1),),
    "routing": (("network_fees", 1),),
    OWN_ROUTING: (("network_fees", 1), ("own_network_fees", 1)),
    "refunded": (("refunds", 1),),
    "loss": (("losses", 1),),
}
FIGURES = (
    *("cash_out", "cash_in", *OF_TRADES),
    *("fees_received", "platform_paid", "splits_paid", "network_fees"),
    *("own_network_fees", "refunds", "losses", "other_kept"),
)
HOURS_OF_A_WEEK = 168


@dataclass(frozen=True)
class Asked:
    """Whose machines, which range, and since when the range before it was; and the day
    up to which days are summed up (`insight_sums.up_to_date`)."""

    user_id: str
    is_all: bool
    before: datetime
    since: datetime
    until: datetime
    zone: Zone
    machine_id: str | None = None
    tests: bool = False
    until_day: int = 0

    def machines(self, column: str) -> str:
        one = f" AND {column} = :machine" if self.machine_id else ""
        return f"{column} IN {own_machines_sql(self.is_all)}{one}"

    @property
    def params(self) -> dict[str, Any]:
        found = whose(self.user_id, self.is_all)
        return found | ({"machine": self.machine_id} if self.machine_id else {})

    @property
    def both(self) -> Reader:
        """Of the range and of the one before it."""
        span = Span((self.before, self.since, self.until), self.until_day)
        return Reader(span, self.machines, self.params, self.tests)

    @property
    def range(self) -> Reader:
        span = Span((self.since, self.until), self.until_day)
        return Reader(span, self.machines, self.params, self.tests)

    @property
    def by_quarters(self) -> Asked:
        """For sums by the zone's hours or days: none is used where a clock changes
        within a quarter of an hour."""
        if self.zone.is_by_quarters(self.before, self.until):
            return self
        return replace(self, until_day=0)


class Place(NamedTuple):
    """A machine in its currency, in one of the two ranges; all machines without one."""

    machine_id: str | None
    currency: str
    is_range: bool


class Sums:
    """Counts, and each figure in sats and minor units."""

    def __init__(self) -> None:
        self.counts = {"cash_out": 0, "cash_in": 0}
        self.sats = dict.fromkeys(FIGURES, 0)
        self.cents = dict.fromkeys(FIGURES, 0)
        self.days_with_sale = 0

    def add(self, name: str, sats: Any, cents: Any, sign: int = 1) -> None:
        self.sats[name] += sign * int(sats or 0)
        self.cents[name] += sign * int(cents or 0)

    def add_all(self, other: Sums) -> None:
        for kind, count in other.counts.items():
            self.counts[kind] += count
        for name in FIGURES:
            self.add(name, other.sats[name], other.cents[name])

    @property
    def margin(self) -> tuple[int, int]:
        """What the operator kept of trades before their splits, less what trades cost
        them, in sats and minor units. Refunds beyond a trade are its loss; discounts
        were never charged."""
        own, kept, costs = "fees_received", "other_kept", ("own_network_fees", "losses")
        sats, cents = (
            of[own] + of[kept] - sum(of[x] for x in costs)
            for of in (self.sats, self.cents)
        )
        return sats, cents


def _sums(*names: str) -> str:
    return ", ".join(f"CAST(SUM(u.{name}) AS BIGINT) AS {name}" for name in names)


@dataclass
class Found:
    """Sums by place, and tests of the range that are in none of them."""

    sums: dict[Place, Sums] = field(default_factory=dict)
    tests_count: int = 0
    tests_sats: int = 0
    # of the range, by enrolment
    received: dict[str, dict[str, int]] = field(default_factory=dict)

    def at(self, place: Place) -> Sums:
        return self.sums.setdefault(place, Sums())

    def receive(self, row: Row) -> None:
        """What an LP got: through Lightning, or in another way."""
        of = self.received.setdefault(
            row["client_id"], {"sats": 0, "cents": 0, "outside": 0}
        )
        if row["account"] == "lp_paid":
            of["sats"] += int(row["sats"])
            of["cents"] += int(row["cents"])
        else:
            of["outside"] -= int(row["sats"])

    def total(self) -> dict[tuple[str, bool], Sums]:
        """Over all machines, by currency and range."""
        found: dict[tuple[str, bool], Sums] = {}
        for place, one in self.sums.items():
            found.setdefault((place.currency, place.is_range), Sums()).add_all(one)
        return found


async def sums(conn: Connection, asked: Asked) -> Found:
    """By machine, currency and range; two statements. `days` adds to it on how many
    days there was a trade."""
    found = Found()
    for row in await _trades(conn, asked):
        if row["is_test"] and not asked.tests:
            if row["is_range"]:
                found.tests_count += int(row["n"])
                found.tests_sats += int(row["principal_sats"])
            continue
        one = found.at(_place(row))
        kind = "cash_out" if row["tx_type"] == CASH_OUT else "cash_in"
        one.counts[kind] += int(row["n"])
        one.add(kind, row["principal_sats"], row["principal_cents"])
        for name in OF_TRADES:
            one.add(name, row[f"{name}_sats"], row[f"{name}_cents"])
    for row in await _journal(conn, asked):
        if row["account"] in LP_ACCOUNTS:
            if row["is_range"]:
                found.receive(row)
            continue
        one = found.at(_place(row))
        for name, sign in _FIGURES_OF.get(row["account"], ()):
            one.add(name, row["sats"], row["cents"], sign)
    return found


def _place(row: Row) -> Place:
    return Place(row["machine_id"], row["currency"], bool(row["is_range"]))


async def _trades(conn: Connection, asked: Asked) -> list[Row]:
    """Tests, too: those that something was paid from are left out aloud."""
    reader = replace(asked, tests=True).both
    return await _added_up(
        conn,
        reader,
        f"""
        SELECT u.machine_id, u.currency, u.tx_type, u.is_test, u.is_range,
            {_sums(*TRADES.sums)}
        FROM {reader.rows_sql(TRADES)} u GROUP BY 1, 2, 3, 4, 5
        """,  # noqa: S608
    )


async def _added_up(conn: Connection, reader: Reader, sql: str) -> list[Row]:
    return await fetch_all(conn, sql, reader.named(sql))


async def _journal(conn: Connection, asked: Asked) -> list[Row]:
    reader = asked.both
    return await _added_up(
        conn,
        reader,
        f"""
        SELECT u.machine_id, u.currency, u.account, u.client_id, u.is_range,
            {_sums(*JOURNAL.sums)}
        FROM {reader.rows_sql(JOURNAL)} u GROUP BY 1, 2, 3, 4, 5
        """,  # noqa: S608
    )


async def heat_map(conn: Connection, asked: Asked) -> list[dict[str, Any]]:
    """Trades by weekday (Monday is 1) and hour of the zone, and currency; an hour in
    which there was none is left out."""
    reader = asked.by_quarters.range
    hour = asked.zone.hour_of_second_sql("u.second", asked.since, asked.until)
    found = [
        {
            "currency": row["currency"],
            "weekday": int(row["hour"]) // 24 + 1,
            "hour": int(row["hour"]) % 24,
            "trades": int(row["n"]),
            "volume_sats": int(row["principal_sats"]),
            "cents": int(row["principal_cents"]),
        }
        for row in await _added_up(
            conn,
            reader,
            # 1970 began on a Thursday
            f"""
            SELECT u.currency, ({hour} + 72) % {HOURS_OF_A_WEEK} AS hour,
                {_sums(*QUARTERS.sums)}
            FROM {reader.rows_sql(QUARTERS)} u GROUP BY 1, 2
            """,  # noqa: S608
        )
    ]
    return sorted(found, key=lambda x: (x["currency"], x["weekday"], x["hour"]))


async def days(conn: Connection, asked: Asked, found: Found) -> list[Row]:
    """Trades of both ranges by day (its number), currency and kind; on how many days
    each machine had one is put into `found`."""
    reader = asked.by_quarters.both
    day = asked.zone.day_of_second_sql("u.second", asked.before, asked.until)
    rows = await _added_up(
        conn,
        reader,
        f"""
        WITH d AS (
            SELECT u.machine_id, u.currency, u.tx_type, u.is_range, {day} AS day,
                {_sums(*QUARTERS.sums)}
            FROM {reader.rows_sql(QUARTERS)} u GROUP BY 1, 2, 3, 4, 5
        )
        SELECT u.day, u.currency, u.tx_type, u.is_range, NULL AS machine_id,
            {_sums(*QUARTERS.sums)}
        FROM d u GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT NULL, u.currency, NULL, u.is_range, u.machine_id,
            COUNT(DISTINCT u.day), 0, 0
        FROM d u GROUP BY u.machine_id, u.currency, u.is_range
        ORDER BY 1, 2, 3
        """,  # noqa: S608
    )
    for row in rows:
        if row["machine_id"] is not None:
            found.at(_place(row)).days_with_sale = int(row["n"])
    return [row for row in rows if row["machine_id"] is None]


def days_of(
    zone: Zone, since: datetime, until: datetime, now: datetime, there_since: Any = None
) -> int:
    """Days of a range that have begun, from the one on which a machine was there."""
    begun = from_db_time(there_since)
    first = zone.day_of(max(since, begun) if begun else since)
    last = min(until, now)
    end = zone.day_of(last)
    part_of_a_day = 0 if zone.start_of(end) == last else 1
    return max(0, day_number(end) - day_number(first) + part_of_a_day)


async def machines(conn: Connection, asked: Asked) -> list[Row]:
    return await fetch_all(
        conn,
        f"""
        SELECT m.id, COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine,
            m.fiat_code AS currency, m.created_at
        FROM {S}.dca_machines m WHERE {asked.machines("m.id")} ORDER BY 2, 1
        """,  # noqa: S608
        asked.params,
    )


async def persons(conn: Connection, asked: Asked, found: Found) -> list[dict[str, Any]]:
    """LPs, one row a person over all machines: what is at work now, and what arrived
    in the range or was paid to them in another way; by currency, the most first."""
    rows = await fetch_all(
        conn,
        f"""
        SELECT c.user_id, c.id, c.username, c.machine_id, m.fiat_code AS currency,
            {deposited_cents_sql("c.id")} - {debited_cents_sql("c.id")} AS at_work
        FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
        WHERE {asked.machines("c.machine_id")} ORDER BY c.created_at, c.id
        """,  # noqa: S608
        asked.params,
    )
    nothing = {"sats": 0, "cents": 0, "outside": 0}
    return ranked(
        persons_of({**row, **found.received.get(row["id"], nothing)} for row in rows)
    )


def persons_of(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One row a person, whatever the number of machines they are at."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        person = found.setdefault(
            row["user_id"],
            {
                "username": None,
                "client_ids": [],
                "machine_ids": [],
                "at_work": {},
                "received_fiat": {},
                "received_sats": 0,
                "paid_outside_sats": 0,
            },
        )
        person["username"] = row["username"] or person["username"]
        person["client_ids"].append(row["id"])
        if row["machine_id"] not in person["machine_ids"]:
            person["machine_ids"].append(row["machine_id"])
        for name, cents in (("at_work", "at_work"), ("received_fiat", "cents")):
            of = person[name]
            of[row["currency"]] = of.get(row["currency"], 0) + int(row[cents])
        person["received_sats"] += int(row["sats"])
        person["paid_outside_sats"] += int(row["outside"])
    return list(found.values())


def ranked(people: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """By what is at work, then by what they got: the most first. Currencies are never
    added: the largest sum of one of them says where a person stands."""
    return sorted(
        people,
        key=lambda one: (
            -max(one["at_work"].values(), default=0),
            -one["received_sats"],
            one["username"] or "",
        ),
    )


async def waits(conn: Connection, asked: Asked) -> dict[str, tuple[int, Any, Any]]:
    """How many waited, and the seconds that half (p50) and 99 of 100 (p99) of them did
    not wait longer than, by nearest rank: customers from their payment until the
    machine said what came out, LPs from the trade until their sats arrived."""
    reader = asked.range
    rows = await _added_up(
        conn,
        reader,
        f"""
        SELECT who, MAX(n) AS n,
            MIN(CASE WHEN 2 * upto >= n THEN seconds END) AS p50,
            MIN(CASE WHEN 100 * upto >= 99 * n THEN seconds END) AS p99
        FROM (
            SELECT who, seconds, SUM(c) OVER (PARTITION BY who ORDER BY seconds)
                AS upto, SUM(c) OVER (PARTITION BY who) AS n
            FROM (SELECT u.who, u.seconds, SUM(u.n) AS c
                FROM {reader.rows_sql(WAITS)} u GROUP BY u.who, u.seconds) waited
        ) ranked GROUP BY who
        """,  # noqa: S608
    )
    found = {row["who"]: (int(row["n"]), row["p50"], row["p99"]) for row in rows}
    return {who: found.get(who, (0, None, None)) for who in ("customers", "lps")}
