"""SQL of sums: balances of LPs, and the totals of operators and of the platform.

Guaranteed: a constant number of statements, whatever the number of machines, LPs and
settlements; tests are in no total; fiat is never added across currencies; totals of
days are sums over the journal's entries, each on the day that it happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from lnbits.db import Connection

from ..base.database import cents_sql, db, db_time, fetch_all, fetch_one
from ..base.refusals import NotFoundError
from ..base.zones import UTC, Zone, day_number, day_of_number
from ..calculations import cents_text
from ..crud import ARRIVED_SQL, RECEIVED_SQL
from ..host.rates import HeardPrice
from ..models import CASH_OUT, WaitCode, utc_now
from ..parties.invitations_crud import UNANSWERED_SQL
from ..parties.lps_crud import (
    NO_CLIENT,
    debited_cents_sql,
    deposited_cents_sql,
    on_the_way_sql,
    received_sql,
)
from ..parties.positions_crud import OwnLimit, own_limit
from .coverage import coverages
from .figures import (
    Balance,
    Corrections,
    DayOfSeries,
    LimitToday,
    LpHistoryDay,
    LpMachineSummary,
    Totals,
)
from .insight_rows import BOOKED
from .insight_sums import Reader, Span, summed_until
from .prices import page_prices
from .reports import own_machines_sql, whose

S = "satoshimachine"
SATS_OF_A_BITCOIN = 100_000_000


_BALANCE = f"""
    {deposited_cents_sql("c.id")} AS deposited,
    {deposited_cents_sql("c.id", "pending")} AS pending,
    {debited_cents_sql("c.id")} AS debited,
    {received_sql("c.id")} AS received,
    {on_the_way_sql("c.id")} AS on_the_way
"""


async def client_balance(operator_user_id: str, client_id: str) -> Balance:
    """The balance of an LP at one of this operator's machines."""
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"""
            SELECT m.fiat_code, {_BALANCE}
            FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
            WHERE c.id = :id AND c.machine_id IN {own_machines_sql(False)}
            """,  # noqa: S608
            {"id": client_id, "me": operator_user_id},
        )
        if row is None:
            row = await _invited(conn, operator_user_id, client_id)
    if row is None:
        raise NotFoundError(NO_CLIENT)
    deposited, debited = int(row["deposited"]), int(row["debited"])
    return Balance(
        currency=row["fiat_code"],
        deposited=cents_text(deposited),
        pending_deposits=cents_text(int(row["pending"])),
        paid_out=cents_text(debited),
        remaining=cents_text(deposited - debited),
        sats_received=int(row["received"]),
        sats_on_the_way=int(row["on_the_way"]),
    )


async def _invited(
    conn: Connection, operator_user_id: str, invitation_id: str
) -> Mapping[str, Any] | None:
    """Nothing, in the machine's currency, for who has not said yes."""
    return await fetch_one(
        conn,
        f"""
        SELECT m.fiat_code, 0 AS deposited, 0 AS pending, 0 AS debited, 0 AS received,
            0 AS on_the_way
        FROM {S}.dca_invitations i JOIN {S}.dca_machines m ON m.id = i.machine_id
        WHERE i.id = :id AND i.machine_id IN {own_machines_sql(False)}
          AND i.{UNANSWERED_SQL} AND i.expires_at > :now
        """,  # noqa: S608
        {"id": invitation_id, "me": operator_user_id, "now": db_time(utc_now())},
    )


# -------------------------------------------------------------------------- the LP's


async def lp_summary(user_id: str) -> list[LpMachineSummary]:
    """The caller's enrolments as an LP, oldest first."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"""
            SELECT c.id, c.machine_id, c.status, m.name, m.machine_npub, m.fiat_code,
                m.price_check, m.market_factor, m.allow_stamped_invoices,
                m.operator_user_id, COALESCE(w.show_coverage_to_lps, false) AS shows,
                {received_sql("c.id", "received_cents")} AS paid,
                {_BALANCE}
            FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
            LEFT JOIN {S}.dca_preferences w ON w.user_id = m.operator_user_id
            WHERE c.user_id = :me ORDER BY c.created_at, c.id
            """,  # noqa: S608
            {"me": user_id},
        )
        covered = {
            (one.operator_user_id, one.currency): one.share
            for operator in {r["operator_user_id"] for r in found if r["shows"]}
            for one in await coverages(conn, operator)
        }
        now = utc_now()
        prices, asking = await page_prices(conn, (r["fiat_code"] for r in found), now)
        limit = await own_limit(conn, user_id, now)
    return [
        _lp_machine(
            row,
            covered,
            prices[row["fiat_code"]],
            row["fiat_code"] in asking,
            _limit_today(limit, row["fiat_code"]),
        )
        for row in found
    ]


def _limit_today(limit: OwnLimit | None, currency: str) -> LimitToday | None:
    if limit is None:
        return None
    used = limit.used_cents.get(currency, 0)
    return LimitToday(
        limit=cents_text(limit.limit_cents),
        used=cents_text(used),
        left=cents_text(max(0, limit.limit_cents - used)),
        ends_at=limit.ends_at,
        time_zone=limit.zone.name,
    )


def _lp_machine(
    row: Mapping[str, Any],
    covered: Mapping[tuple[str, str], Decimal | None],
    price: HeardPrice | None,
    is_asking: bool,
    limit: LimitToday | None,
) -> LpMachineSummary:
    share = covered.get((row["operator_user_id"], row["fiat_code"]))
    deposited, debited = int(row["deposited"]), int(row["debited"])
    return LpMachineSummary(
        client_id=row["id"],
        machine_id=row["machine_id"],
        machine=row["name"] or f"{row['machine_npub'][:12]}…",
        status=row["status"],
        currency=row["fiat_code"],
        remaining=cents_text(deposited - debited),
        deposited=cents_text(deposited),
        paid_out=cents_text(debited),
        sats_received=int(row["received"]),
        sats_on_the_way=int(row["on_the_way"]),
        average_price=_price(int(row["paid"]), int(row["received"])),
        price_now=price.price if price else None,
        price_at=price.at if price else None,
        price_is_asked=is_asking,
        limit_today=limit,
        price_check=bool(row["price_check"]),
        market_factor=f"{Decimal(str(row['market_factor'])):.4f}",
        allow_stamped_invoices=bool(row["allow_stamped_invoices"]),
        shows_coverage=bool(row["shows"]),
        coverage=None if share is None else str(share),
    )


def _price(cents: int, sats: int) -> float | None:
    """Fiat for one bitcoin; for display, never for a decision."""
    return round(cents / 100 * SATS_OF_A_BITCOIN / sats, 2) if sats else None


# When sats reached an LP; of rows of long ago only the sale's time is known.
_ARRIVED_AT = "COALESCE(p.completed_at, p.transaction_time)"


async def lp_history(
    user_id: str, days: int | None, zone: Zone = UTC
) -> list[LpHistoryDay]:
    """What the LP received, by the zone's day on which it arrived, and currency; of
    the last days, or ever."""
    ever = datetime.fromtimestamp(0, timezone.utc)
    since = _midnight(zone, days - 1) if days else ever
    received = (
        f"FROM {S}.dca_payments p WHERE p.client_id IN "  # noqa: S608
        f"(SELECT id FROM {S}.dca_clients WHERE user_id = :me) "
        f"AND p.leg_type IN ('dca', 'settlement') AND {RECEIVED_SQL} "
        "AND p.paid_outside = false"
    )
    day = zone.day_sql(_ARRIVED_AT, since, utc_now())
    params = {"me": user_id, "since": db_time(since)}
    async with db.connect() as conn:
        before = await fetch_one(
            conn,
            f"SELECT SUM({ARRIVED_SQL}) AS sats {received} "
            f"AND {_ARRIVED_AT} < :since",
            params,
        )
        found = await fetch_all(
            conn,
            f"""
            SELECT d.day, m.fiat_code, SUM(d.sats) AS sats, SUM(d.cents) AS cents
            FROM (
                SELECT p.machine_id, {day} AS day, SUM({ARRIVED_SQL}) AS sats,
                    SUM({cents_sql("p.amount_fiat")}) AS cents
                {received} AND {_ARRIVED_AT} >= :since
                GROUP BY p.machine_id, {day}
            ) d JOIN {S}.dca_machines m ON m.id = d.machine_id
            GROUP BY d.day, m.fiat_code ORDER BY d.day, m.fiat_code
            """,  # noqa: S608
            params,
        )
    total = int(before["sats"] or 0) if before else 0
    points = []
    for row in found:
        sats, cents = int(row["sats"]), int(row["cents"] or 0)
        total += sats
        points.append(
            LpHistoryDay(
                date=day_of_number(int(row["day"])).isoformat(),
                currency=row["fiat_code"],
                sats=sats,
                fiat=cents_text(cents),
                price=_price(cents, sats),
                cumulative_sats=total,
            )
        )
    return points


def _midnight(zone: Zone, days_ago: int) -> datetime:
    """The beginning of that day of the zone."""
    return zone.start_of(zone.today() - timedelta(days=days_ago))


# ----------------------------------------------------- the operator's, the platform's


class _Sum:
    """Sums of a day or a period, in integers."""

    def __init__(self) -> None:
        self.sats: dict[str, int] = {}
        self.fiat_cents: dict[str, dict[str, int]] = {}

    def add(self, name: str, amount: Any) -> None:
        self.sats[name] = self.sats.get(name, 0) + int(amount or 0)

    def add_fiat(self, name: str, code: str, cents: Any) -> None:
        of_code = self.fiat_cents.setdefault(name, {})
        of_code[code] = of_code.get(code, 0) + int(cents or 0)

    def add_booked(self, row: Mapping[str, Any]) -> None:
        kind = "cash_out" if row["tx_type"] == CASH_OUT else "cash_in"
        self.add(f"{kind}_count", row["n"])
        self.add(f"{kind}_sats", row["principal_sats"])
        self.add("platform_fee_sats", row["platform_sats"])
        self.add("operator_fee_sats", row["operator_sats"])
        self.add("paid_to_lps_sats", row["lp_paid_sats"])
        if row["n"] or row["principal_cents"]:
            self.add_fiat(f"{kind}_fiat", row["currency"], row["principal_cents"])

    def fields(self) -> dict[str, Any]:
        fiat = {
            name: {code: cents_text(c) for code, c in sorted(by_code.items())}
            for name, by_code in self.fiat_cents.items()
        }
        return {**self.sats, **fiat}


@dataclass(frozen=True)
class SumsOfDays:
    """Sums of days, each day's, and how much of the sums corrects older sales."""

    totals: Totals
    series: list[DayOfSeries]
    corrections: Corrections


async def sums_of_days(
    conn: Connection, user_id: str, is_all: bool, days: int, zone: Zone = UTC
) -> SumsOfDays:
    """Sums over the journal's entries of the last `days` days of the zone, today
    included, and each day's: what is found out later stands on its own day, so that a
    day that is over stays as it was."""
    today = zone.today()
    since = zone.start_of(today - timedelta(days=days - 1))
    until = zone.start_of(today + timedelta(days=1))
    first = day_number(today) - days + 1
    total, older = _Sum(), _Sum()
    by_day = {first + n: _Sum() for n in range(days)}
    for row in await _booked(conn, user_id, is_all, since, until, zone):
        for one_sum in (total, by_day[int(row["day"])]):
            one_sum.add_booked(row)
        if row["is_older"]:
            older.add_booked(row)
    for row in await owed_to_lps(conn, user_id, is_all):
        total.add_fiat("owed_to_lps_fiat", row["fiat_code"], row["cents"])
    for row in await _cash_in_machines(conn, user_id, is_all):
        total.add_fiat("cash_in_machines_fiat", row["currency"], row["cents"])
    series = [
        DayOfSeries(date=day_of_number(d).isoformat(), **s.fields())
        for d, s in by_day.items()
    ]
    return SumsOfDays(Totals(**total.fields()), series, Corrections(**older.fields()))


async def _booked(
    conn: Connection,
    user_id: str,
    is_all: bool,
    since: datetime,
    until: datetime,
    zone: Zone,
) -> list[Mapping[str, Any]]:
    """Without tests, by the zone's day, currency and kind; apart for entries of sales
    that were before `since`."""
    until_day, _ = await summed_until(conn)
    if not zone.is_by_quarters(since, until):
        until_day = 0
    reader = Reader(
        Span((since, until), until_day),
        lambda column: f"{column} IN {own_machines_sql(is_all)}",
        whose(user_id, is_all),
        tests=False,
    )
    day = zone.day_of_second_sql("u.second", since, until)
    summed = ", ".join(f"CAST(SUM(u.{x}) AS BIGINT) AS {x}" for x in BOOKED.sums)
    sql = f"""
        SELECT {day} AS day, u.currency, u.tx_type,
            CASE WHEN u.trade_second < {int(since.timestamp())} THEN 1 ELSE 0 END
                AS is_older, {summed}
        FROM {reader.rows_sql(BOOKED)} u GROUP BY 1, 2, 3, 4
        """  # noqa: S608
    return await fetch_all(conn, sql, reader.named(sql))


async def _cash_in_machines(
    conn: Connection, user_id: str, is_all: bool
) -> list[Mapping[str, Any]]:
    """What the cash book says that is in bays and boxes of machines that are on, each
    machine at least 0: the sum of what their pages show."""
    return await fetch_all(
        conn,
        f"""
        SELECT currency, SUM(CASE WHEN cents > 0 THEN cents ELSE 0 END) AS cents
        FROM (
            SELECT b.currency, b.machine_id, SUM(b.cents) AS cents
            FROM {S}.cash_balances b JOIN {S}.dca_machines m ON m.id = b.machine_id
            WHERE b.machine_id IN {own_machines_sql(is_all)} AND m.is_active = true
            GROUP BY b.currency, b.machine_id
        ) AS inside GROUP BY currency
        """,  # noqa: S608
        whose(user_id, is_all),
    )


async def owed_to_lps(
    conn: Connection, user_id: str, is_all: bool
) -> list[Mapping[str, Any]]:
    return await fetch_all(
        conn,
        f"""
        SELECT m.fiat_code,
            SUM({deposited_cents_sql("c.id")} - {debited_cents_sql("c.id")}) AS cents
        FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
        WHERE c.machine_id IN {own_machines_sql(is_all)}
        GROUP BY m.fiat_code
        """,  # noqa: S608
        whose(user_id, is_all),
    )


async def platform_sums(conn: Connection) -> dict[str, dict[str, int]]:
    """What became of the platform's share, by operator: three statements in all.

    Tests and voided settlements are in it: no mark of an operator's takes one out.
    What was planned before the share was a fraction of principal whatever the fee is a
    sum of its own: `older_...`.
    """
    machines = await fetch_all(
        conn,
        f"""
        SELECT m.operator_user_id AS operator, COUNT(*) AS machines,
            SUM((SELECT COUNT(*) FROM {S}.dca_clients c WHERE c.machine_id = m.id))
                AS lps
        FROM {S}.dca_machines m GROUP BY m.operator_user_id
        """,  # noqa: S608
    )
    legs = await fetch_all(conn, _legs_sql())
    settlements = await fetch_all(
        conn,
        f"""
        SELECT m.operator_user_id AS operator,
            SUM(CASE WHEN s.is_older = false AND (s.planned_at IS NOT NULL
                    OR s.status = 'voided')
                THEN COALESCE(s.dispensed_platform_fee_sats, s.platform_fee_sats)
                ELSE 0 END) AS share_sats,
            SUM(CASE WHEN s.status = 'voided' AND s.planned_at IS NULL
                    AND s.is_older = false
                THEN COALESCE(s.dispensed_platform_fee_sats, s.platform_fee_sats)
                ELSE 0 END) AS lost_sats,
            SUM(CASE WHEN s.status = 'voided' AND s.planned_at IS NULL
                    AND s.is_older = true
                THEN s.platform_fee_sats ELSE 0 END) AS older_lost_sats,
            SUM(CASE WHEN s.status = 'voided' THEN 1 ELSE 0 END) AS voided_count,
            SUM(CASE WHEN s.is_test = true THEN 1 ELSE 0 END) AS test_count,
            SUM(CASE WHEN s.status = 'quarantined' THEN 1 ELSE 0 END)
                AS quarantined_count,
            SUM(CASE WHEN s.resolved_sats IS NOT NULL THEN 1 ELSE 0 END)
                AS resolved_count,
            SUM(COALESCE(s.resolved_sats, 0)) AS resolved_sats
        FROM {S}.dca_settlements s JOIN {S}.dca_machines m ON m.id = s.machine_id
        GROUP BY m.operator_user_id
        """,  # noqa: S608
    )
    sums: dict[str, dict[str, int]] = {}
    for row in (*machines, *legs, *settlements):
        own = sums.setdefault(row["operator"], {"machines": 0, "lps": 0})
        for name, value in row.items():
            if name != "operator":
                own[name] = own.get(name, 0) + int(value or 0)
    return sums


def _legs_sql() -> str:
    """The platform's legs by what became of them, by operator, and those of before.
    What was voided since less cash came out is owed no more, and let go by nobody."""
    unpaid = "l.status IN ('pending', 'failed')"
    figures = {
        "paid": "l.status IN ('completed', 'skipped')",
        "owed": unpaid,
        "shortfall": f"{unpaid} AND l.is_shortfall = 1",
        "let_go": "l.status = 'voided' AND l.is_gone = 0",
        "lost": "l.status = 'voided' AND l.is_gone = 1",
    }
    totals = ", ".join(
        f"SUM(CASE WHEN l.is_older = {str(is_older).lower()} AND {condition} "
        f"THEN l.sats ELSE 0 END) AS {before}{name}_sats"
        for before, is_older in (("", False), ("older_", True))
        for name, condition in figures.items()
    )
    # added up by machine first: a hundred thousand legs are told apart once, and not
    # ten times
    return f"""
        SELECT m.operator_user_id AS operator, {totals}
        FROM (
            SELECT p.machine_id, p.status, s.is_older,
                CASE WHEN p.leg_key = 'shortfall' THEN 1 ELSE 0 END AS is_shortfall,
                CASE WHEN s.status = 'voided' THEN 1 ELSE 0 END AS is_gone,
                SUM(p.amount_sats) AS sats
            FROM {S}.dca_payments p
            JOIN {S}.dca_settlements s ON s.id = p.settlement_id
            WHERE p.leg_type = 'super_fee'
              AND COALESCE(p.wait_code, '') <> '{WaitCode.LESS_CASH}'
            GROUP BY 1, 2, 3, 4, 5
        ) l JOIN {S}.dca_machines m ON m.id = l.machine_id
        GROUP BY m.operator_user_id
        """  # noqa: S608


async def platform_counts(conn: Connection) -> dict[str, int]:
    """How many operators, machines and LPs there are."""
    row = await fetch_one(
        conn,
        f"""
        SELECT
          (SELECT COUNT(DISTINCT operator_user_id) FROM {S}.dca_machines) AS operators,
          (SELECT COUNT(*) FROM {S}.dca_machines) AS machines,
          (SELECT COUNT(DISTINCT user_id) FROM {S}.dca_clients) AS lps
        """,  # noqa: S608
    )
    return {k: int(v) for k, v in (row or {}).items()}


async def version_of(user_id: str) -> str:
    """A text that differs when the caller's data may have changed.

    Cheap at any size: ends of indexes, and rows that are few. It may differ without a
    change of the caller's (the ledger and the payouts are everybody's), never the
    other way round. Hashed, so that it tells nothing of other tenants.
    """
    signs = _signs_of_change()
    listed = ", ".join(f"({sql}) AS sign_{n}" for n, sql in enumerate(signs))
    async with db.connect() as conn:
        row = await fetch_one(conn, f"SELECT {listed}", {"me": user_id})
    text = "|".join(str(value) for value in (row or {}).values())
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _signs_of_change() -> list[str]:
    mine = f"FROM {S}.dca_machines WHERE operator_user_id = :me"
    at_mine = f"WHERE machine_id IN {own_machines_sql(False)}"
    newest_landed = (
        f"SELECT MAX(created_at) FROM {S}.dca_settlements "  # noqa: S608
        "WHERE machine_id = m.id"
    )
    return [
        f"SELECT SUM(n) FROM {S}.dca_locks",  # noqa: S608
        f"SELECT COUNT(*) {mine}",
        f"SELECT MAX(updated_at) {mine}",
        f"SELECT MAX(last_seen_at) {mine}",
        f"SELECT MAX(landed) FROM (SELECT ({newest_landed}) AS landed "  # noqa: S608
        f"FROM {S}.dca_machines m WHERE m.operator_user_id = :me) newest",
        f"SELECT MAX(updated_at) FROM {S}.dca_payouts",  # noqa: S608
        f"SELECT MAX(created_at) FROM {S}.dca_audit "  # noqa: S608
        "WHERE operator_user_id = :me",
        # reasons and times of legs that wait change without a payout
        f"SELECT COUNT(error_message) FROM {S}.dca_payments "  # noqa: S608
        f"{at_mine} AND status = 'pending'",
        f"SELECT MAX(next_try_at) FROM {S}.dca_payments "  # noqa: S608
        f"{at_mine} AND status = 'pending'",
        f"SELECT MAX(updated_at) FROM {S}.cassette_configs {at_mine}",  # noqa: S608
        f"SELECT MAX(state_at) FROM {S}.cassette_configs {at_mine}",  # noqa: S608
        f"SELECT MAX(telemetry_received_at) "  # noqa: S608
        f"FROM {S}.dca_telemetry {at_mine}",
        f"SELECT MAX(beacon_received_at) FROM {S}.dca_telemetry {at_mine}",  # noqa: S608
    ]
