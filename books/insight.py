"""What earned, where and when: sums of a range beside those of the range before it.

Guaranteed: the same number of statements whatever the size; a reader's own machines
only; fiat is never added across currencies. Trades count on their transaction time, as
dispensed where that is known, and their parts are worth what `accounting.csv` says:
half up at the trade's own rate. What was paid, kept or lost is a sum over the journal,
on the day that it happened, worth what its entries say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from lnbits.db import SQLITE, Connection

from ..base.database import (
    cents_sql,
    db,
    db_time,
    fetch_all,
    fetch_one,
    from_db_time,
)
from ..base.zones import Zone, day_number
from ..models import CASH_OUT
from ..parties.lps_crud import debited_cents_sql, deposited_cents_sql
from .reports import own_machines_sql, whose

S = "satoshimachine"
Row = Mapping[str, Any]
# The share of a fee that stays in the machine's wallet because the one it is owed to
# has that wallet: it arrived, and is in `splits_paid` or `platform_paid` already.
_HERE = "fees_here"
# What routing took of a payment to somebody else came off what arrived.
_OWN_ROUTING = "own_routing"
_ACCOUNT = (
    "CASE WHEN l.account = 'operator_fees' AND j.payment_id IS NOT NULL "
    f"THEN '{_HERE}' WHEN l.account = 'routing' AND j.payment_id IS NULL "
    f"THEN '{_OWN_ROUTING}' ELSE l.account END"
)
# by account: the figure that it is, and the sign that makes it one
_FIGURES_OF: dict[str, tuple[tuple[str, int], ...]] = {
    "platform_paid": (("platform_paid", 1),),
    "splits_paid": (("splits_paid", 1), ("fees_received", 1)),
    "operator_fees": (("fees_received", -1),),
    "surplus": (("other_kept", -1),),
    "reserve_kept": (("other_kept", -1),),
    "let_go": (("other_kept", -1),),
    "routing": (("network_fees", 1),),
    _OWN_ROUTING: (("network_fees", 1), ("own_network_fees", 1)),
    "refunded": (("refunds", 1),),
    "loss": (("losses", 1),),
}
_ACCOUNTS = sorted({*_FIGURES_OF} - {_OWN_ROUTING})
# of trades: the figure, and the settlement's column
_OF_TRADES = {
    "fees_charged": "COALESCE(s.dispensed_fee_sats, s.fee_sats)",
    "platform_share": "COALESCE(s.dispensed_platform_fee_sats, s.platform_fee_sats)",
    "operator_share": "COALESCE(s.dispensed_operator_fee_sats, s.operator_fee_sats)",
    "operator_discounts": "s.operator_discount_sats",
    "platform_discounts": "s.platform_discount_sats",
}
FIGURES = (
    *("cash_out", "cash_in", *_OF_TRADES),
    *("fees_received", "platform_paid", "splits_paid", "network_fees"),
    *("own_network_fees", "refunds", "losses", "other_kept"),
)
_COUNTED = "s.status NOT IN ('quarantined', 'voided')"
_PRINCIPAL = "COALESCE(s.dispensed_principal_sats, s.principal_sats)"
_CENTS = cents_sql("COALESCE(s.dispensed_fiat, s.fiat_amount)")
HOURS_OF_A_WEEK = 168


@dataclass(frozen=True)
class Asked:
    """Whose machines, which range, and since when the range before it was."""

    user_id: str
    is_all: bool
    before: datetime
    since: datetime
    until: datetime
    zone: Zone
    machine_id: str | None = None
    tests: bool = False

    def machines(self, column: str) -> str:
        one = f" AND {column} = :machine" if self.machine_id else ""
        return f"{column} IN {own_machines_sql(self.is_all)}{one}"

    def where(self, table: str, column: str, first: str = "since") -> str:
        """Rows of the range, or of both (`before`)."""
        tests = "" if self.tests else f" AND {table}.is_test = false"
        return (
            f"{self.machines(f'{table}.machine_id')} AND {table}.{column} >= :{first} "
            f"AND {table}.{column} < :until{tests}"
        )

    def params(self, *moments: str) -> dict[str, Any]:
        """Those that a statement names: PostgreSQL refuses one that is not used."""
        found = whose(self.user_id, self.is_all)
        found |= {name: db_time(getattr(self, name)) for name in moments}
        return found | ({"machine": self.machine_id} if self.machine_id else {})


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


def worth_sql(sats: str) -> str:
    """`sats` in minor units at the trade's own rate, half up, in integers. Split so
    that SQLite, which goes over to floats beyond 64 bits, stays below for trades up to
    60 bitcoin."""
    cents, principal = cents_sql("s.fiat_amount"), "s.principal_sats"
    if db.type == SQLITE:
        value = (
            f"({sats}) * ({cents} / {principal}) + (2 * ({sats}) * "
            f"({cents} % {principal}) + {principal}) / (2 * {principal})"
        )
    else:
        value = (
            f"DIV(CAST(2 AS NUMERIC) * ({sats}) * {cents} + {principal}, "
            f"CAST(2 AS NUMERIC) * {principal})"
        )
    return f"CASE WHEN {principal} > 0 THEN {value} ELSE 0 END"


def _is_range(column: str) -> str:
    return f"CASE WHEN {column} >= :since THEN 1 ELSE 0 END"


def _sum(sql: str, name: str) -> str:
    return f"CAST(COALESCE(SUM({sql}), 0) AS BIGINT) AS {name}"


@dataclass
class Found:
    """Sums by place, and tests of the range that are in none of them."""

    sums: dict[Place, Sums] = field(default_factory=dict)
    tests_count: int = 0
    tests_sats: int = 0

    def at(self, place: Place) -> Sums:
        return self.sums.setdefault(place, Sums())

    def total(self) -> dict[tuple[str, bool], Sums]:
        """Over all machines, by currency and range."""
        found: dict[tuple[str, bool], Sums] = {}
        for place, one in self.sums.items():
            found.setdefault((place.currency, place.is_range), Sums()).add_all(one)
        return found


async def sums(conn: Connection, asked: Asked) -> Found:
    """By machine, currency and range; four statements."""
    found = Found()
    for row in await _trades(conn, asked):
        one = found.at(_place(row))
        kind = "cash_out" if row["tx_type"] == CASH_OUT else "cash_in"
        one.counts[kind] += int(row["n"])
        one.add(kind, row["principal_sats"], row["principal_cents"])
        for name in _OF_TRADES:
            one.add(name, row[f"{name}_sats"], row[f"{name}_cents"])
    for row in await _journal(conn, asked):
        one = found.at(_place(row))
        for name, sign in _FIGURES_OF.get(row["account"], ()):
            one.add(name, row["sats"], row["cents"], sign)
    for row in await _days_with_sale(conn, asked):
        found.at(_place(row)).days_with_sale = int(row["n"])
    if not asked.tests:
        left_out = await _tests(conn, asked)
        found.tests_count, found.tests_sats = left_out
    return found


def _place(row: Row) -> Place:
    return Place(row["machine_id"], row["currency"], bool(row["is_range"]))


async def _trades(conn: Connection, asked: Asked) -> list[Row]:
    columns = ", ".join(
        f"{_sum(sql, f'{name}_sats')}, {_sum(worth_sql(sql), f'{name}_cents')}"
        for name, sql in _OF_TRADES.items()
    )
    return await fetch_all(
        conn,
        f"""
        SELECT s.machine_id, s.fiat_code AS currency, s.tx_type,
            {_is_range("s.transaction_time")} AS is_range, COUNT(*) AS n,
            {_sum(_PRINCIPAL, "principal_sats")}, {_sum(_CENTS, "principal_cents")},
            {columns}
        FROM {S}.dca_settlements s
        WHERE {asked.where("s", "transaction_time", "before")} AND {_COUNTED}
        GROUP BY 1, 2, 3, 4
        """,  # noqa: S608
        asked.params("before", "since", "until"),
    )


async def _tests(conn: Connection, asked: Asked) -> tuple[int, int]:
    """Marked ones of the range that something was paid from all the same."""
    row = await fetch_one(
        conn,
        f"""
        SELECT COUNT(*) AS n, {_sum(_PRINCIPAL, "sats")}
        FROM {S}.dca_settlements s
        WHERE {asked.machines("s.machine_id")} AND s.is_test = true AND {_COUNTED}
          AND s.transaction_time >= :since AND s.transaction_time < :until
        """,  # noqa: S608
        asked.params("since", "until"),
    )
    return (int(row["n"]), int(row["sats"])) if row else (0, 0)


async def _journal(conn: Connection, asked: Asked) -> list[Row]:
    accounts = ", ".join(f"'{name}'" for name in _ACCOUNTS)
    return await fetch_all(
        conn,
        f"""
        SELECT j.machine_id, j.currency, {_ACCOUNT} AS account,
            {_is_range("j.at")} AS is_range,
            {_sum("l.sats", "sats")}, {_sum("l.counter_cents", "cents")}
        FROM {S}.journal j JOIN {S}.journal_lines l ON l.journal_id = j.id
        WHERE {asked.where("j", "at", "before")} AND l.account IN ({accounts})
        GROUP BY 1, 2, 3, 4
        """,  # noqa: S608
        asked.params("before", "since", "until"),
    )


async def _days_with_sale(conn: Connection, asked: Asked) -> list[Row]:
    day = asked.zone.day_sql("s.transaction_time", asked.before, asked.until)
    return await fetch_all(
        conn,
        f"""
        SELECT s.machine_id, s.fiat_code AS currency,
            {_is_range("s.transaction_time")} AS is_range, COUNT(DISTINCT {day}) AS n
        FROM {S}.dca_settlements s
        WHERE {asked.where("s", "transaction_time", "before")} AND {_COUNTED}
        GROUP BY 1, 2, 3
        """,  # noqa: S608
        asked.params("before", "since", "until"),
    )


async def heat_map(conn: Connection, asked: Asked) -> list[dict[str, Any]]:
    """Trades by weekday (Monday is 1) and hour of the zone, and currency; an hour in
    which there was none is left out."""
    hour = asked.zone.hour_sql("s.transaction_time", asked.since, asked.until)
    found = [
        {
            "currency": row["currency"],
            "weekday": int(row["hour"]) // 24 + 1,
            "hour": int(row["hour"]) % 24,
            "trades": int(row["n"]),
            "volume_sats": int(row["sats"]),
            "cents": int(row["cents"]),
        }
        for row in await fetch_all(
            conn,
            # 1970 began on a Thursday
            f"""
            SELECT s.fiat_code AS currency,
                ({hour} + 72) % {HOURS_OF_A_WEEK} AS hour, COUNT(*) AS n,
                {_sum(_PRINCIPAL, "sats")}, {_sum(_CENTS, "cents")}
            FROM {S}.dca_settlements s
            WHERE {asked.where("s", "transaction_time")} AND {_COUNTED} GROUP BY 1, 2
            """,  # noqa: S608
            asked.params("since", "until"),
        )
    ]
    return sorted(found, key=lambda x: (x["currency"], x["weekday"], x["hour"]))


async def days(conn: Connection, asked: Asked) -> list[Row]:
    """Trades of both ranges by day (its number), currency and kind."""
    day = asked.zone.day_sql("s.transaction_time", asked.before, asked.until)
    return await fetch_all(
        conn,
        f"""
        SELECT {day} AS day, s.fiat_code AS currency, s.tx_type,
            {_is_range("s.transaction_time")} AS is_range, COUNT(*) AS n,
            {_sum(_PRINCIPAL, "sats")}, {_sum(_CENTS, "cents")}
        FROM {S}.dca_settlements s
        WHERE {asked.where("s", "transaction_time", "before")} AND {_COUNTED}
        GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3
        """,  # noqa: S608
        asked.params("before", "since", "until"),
    )


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
        asked.params(),
    )


async def persons(conn: Connection, asked: Asked) -> list[dict[str, Any]]:
    """LPs, one row a person over all machines: what is at work now, and what arrived
    in the range or was paid to them in another way; by currency, the most first."""
    arrived = "CASE WHEN l.account = 'lp_paid'"
    rows = await fetch_all(
        conn,
        f"""
        SELECT c.user_id, c.id, c.username, c.machine_id, m.fiat_code AS currency,
            {deposited_cents_sql("c.id")} - {debited_cents_sql("c.id")} AS at_work,
            COALESCE(r.sats, 0) AS sats, COALESCE(r.cents, 0) AS cents,
            COALESCE(r.outside, 0) AS outside
        FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
        LEFT JOIN (
            SELECT l.client_id, {_sum(f"{arrived} THEN l.sats END", "sats")},
                {_sum(f"{arrived} THEN l.counter_cents END", "cents")},
                {_sum(f"{arrived} THEN 0 ELSE -l.sats END", "outside")}
            FROM {S}.journal j JOIN {S}.journal_lines l ON l.journal_id = j.id
            WHERE {asked.where("j", "at")}
              AND l.account IN ('lp_paid', 'lp_paid_outside') GROUP BY l.client_id
        ) r ON r.client_id = c.id
        WHERE {asked.machines("c.machine_id")} ORDER BY c.created_at, c.id
        """,  # noqa: S608
        asked.params("since", "until"),
    )
    return ranked(persons_of(rows))


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
    customers = f"""
        SELECT {_seconds("t.first_said_at")} AS w
        FROM {S}.dca_settlements s JOIN {S}.cash_trades t ON t.settlement_id = s.id
        WHERE {asked.where("s", "transaction_time")} AND {_COUNTED}
          AND s.tx_type = 'cash_out' AND t.first_said_at > s.transaction_time
        """  # noqa: S608
    lps = f"""
        SELECT {_seconds("p.completed_at")} AS w
        FROM {S}.dca_settlements s JOIN {S}.dca_payments p ON p.settlement_id = s.id
        WHERE {asked.where("s", "transaction_time")} AND {_COUNTED}
          AND p.leg_type = 'dca' AND p.status = 'completed' AND p.paid_outside = false
          AND p.completed_at IS NOT NULL
        """  # noqa: S608
    params = asked.params("since", "until")
    found = {}
    for name, sql in (("customers", customers), ("lps", lps)):
        row = await fetch_one(conn, _ranks(sql), params)
        n = int(row["n"] or 0) if row else 0
        found[name] = (n, row["p50"], row["p99"]) if row and n else (0, None, None)
    return found


def _seconds(column: str) -> str:
    """Whole ones from the trade until then; clocks that disagree make nobody wait less
    than 0."""
    gone = f"{column} - s.transaction_time"
    if db.type != SQLITE:
        gone = f"FLOOR(EXTRACT(EPOCH FROM {gone}))"
    is_later = f"{column} > s.transaction_time"
    return f"CASE WHEN {is_later} THEN CAST({gone} AS BIGINT) ELSE 0 END"


def _ranks(waits_sql: str) -> str:
    """Counted by second first: the running sum over those is short."""
    return f"""
        SELECT MAX(n) AS n,
            MIN(CASE WHEN 2 * upto >= n THEN w END) AS p50,
            MIN(CASE WHEN 100 * upto >= 99 * n THEN w END) AS p99
        FROM (
            SELECT w, SUM(c) OVER (ORDER BY w) AS upto, SUM(c) OVER () AS n
            FROM (SELECT w, COUNT(*) AS c FROM ({waits_sql}) waited GROUP BY w) seconds
        ) ranked
        """  # noqa: S608
