"""SQL of what a plan is made from: who shares the fee, and what each LP still has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from lnbits.db import Connection

from ..base.database import (
    cents_sql,
    db_time,
    fetch_all,
    fetch_models,
    fetch_one,
    in_list,
    in_lists,
)
from ..base.zones import Zone, zone_or_utc
from ..models import CommissionSplit, LpProfile


async def effective_splits(
    conn: Connection, operator_user_id: str, machine_id: str
) -> list[CommissionSplit]:
    """The machine's override splits, else the operator's defaults, else none."""
    found = await fetch_models(
        conn,
        """
        SELECT * FROM satoshimachine.dca_commission_splits
        WHERE operator_user_id = :operator
          AND (machine_id = :machine OR machine_id IS NULL)
        ORDER BY sort_order, id
        """,
        CommissionSplit,
        {"operator": operator_user_id, "machine": machine_id},
    )
    override = [s for s in found if s.machine_id == machine_id]
    return override or [s for s in found if s.machine_id is None]


async def lps_at_machine_of(conn: Connection, settlement_id: str) -> list[str]:
    """The LNbits user ids of the active LPs at the machine of a settlement that is to
    be planned for them: a cash-in pays none."""
    found = await fetch_all(
        conn,
        """
        SELECT DISTINCT c.user_id FROM satoshimachine.dca_clients c
        JOIN satoshimachine.dca_settlements s ON s.machine_id = c.machine_id
        WHERE s.id = :settlement AND s.tx_type = 'cash_out' AND c.status = 'active'
        """,
        {"settlement": settlement_id},
    )
    return [row["user_id"] for row in found]


async def lp_positions(
    conn: Connection, machine_id: str, at: datetime
) -> list[Mapping[str, Any]]:
    """Active LPs of a machine with profile and fiat, one row each.

    Columns: client_id, user_id, the `dca_lp` columns (None without a profile),
    `limit_cents` (None without one, 0 for one that is no amount of money),
    `deposited_cents` (confirmed no later than `at`; databases older than
    `confirmed_at` have only when it was recorded), `debited_cents`.
    """
    found = await fetch_all(
        conn,
        f"""
        SELECT c.id AS client_id, c.user_id, l.dca_wallet_id, l.default_dca_mode,
               l.fixed_mode_daily_limit,
               l.autoforward_ln_address, l.autoforward_enabled,
               COALESCE(d.cents, 0) AS deposited_cents,
               COALESCE(t.debited_cents, 0) AS debited_cents
        FROM satoshimachine.dca_clients c
        LEFT JOIN satoshimachine.dca_lp l ON l.user_id = c.user_id
        LEFT JOIN satoshimachine.dca_client_totals t ON t.client_id = c.id
        LEFT JOIN (
            SELECT client_id, SUM({cents_sql("amount")}) AS cents
            FROM satoshimachine.dca_deposits
            WHERE machine_id = :machine AND status = 'confirmed'
              AND COALESCE(confirmed_at, created_at) <= :at
            GROUP BY client_id
        ) d ON d.client_id = c.id
        WHERE c.machine_id = :machine AND c.status = 'active'
        ORDER BY c.id
        """,  # noqa: S608
        {"machine": machine_id, "at": db_time(at)},
    )
    return [
        {**row, "limit_cents": _limit_cents(row["fixed_mode_daily_limit"])}
        for row in found
    ]


def _limit_cents(value: Any) -> int | None:
    """In Python, because PostgreSQL ends the whole statement over one row's NaN."""
    if value is None:
        return None
    try:
        return int(Decimal(str(value)) * 100)
    except (ArithmeticError, ValueError):
        return 0


async def day_debits(
    conn: Connection, machine_id: str, fiat_code: str, at: datetime
) -> dict[str, int]:
    """Minor units each LP of this machine received by DCA on their own day of `at`,
    over all machines of this currency: LNbits user id -> cents.

    CROSS JOIN keeps SQLite from starting with the LPs and reading all their years of
    legs: it begins with those of the two days that any zone's day lies in.
    """
    zones = await _zones_of_lps(conn, machine_id, at)
    params: dict[str, Any] = {"code": fiat_code, "machine": machine_id}
    days: dict[str, tuple[datetime, datetime]] = {}
    for zone in {zone.name: zone for zone in zones.values()}.values():
        day = zone.day_of(at)
        days[zone.name] = zone.start_of(day), zone.start_of(day + timedelta(days=1))
    if not days:
        return {}
    params["first"] = db_time(min(start for start, _ in days.values()))
    params["last"] = db_time(max(end for _, end in days.values()))
    within = []
    for n, (name, (start, end)) in enumerate(sorted(days.items())):
        params[f"start{n}"], params[f"end{n}"] = db_time(start), db_time(end)
        day_is = f"p.transaction_time >= :start{n} AND p.transaction_time < :end{n}"
        if len(days) > 1:
            users = [user for user, zone in zones.items() if zone.name == name]
            day_is += f" AND c.user_id IN {in_list(f'u{n}x', users, params)}"
        within.append(f"({day_is})")
    found = await fetch_all(
        conn,
        f"""
        SELECT c.user_id, SUM({cents_sql("p.amount_fiat")}) AS cents
        FROM satoshimachine.dca_payments p
        CROSS JOIN satoshimachine.dca_clients c
        CROSS JOIN satoshimachine.dca_machines m
        WHERE c.id = p.client_id AND m.id = p.machine_id
          AND p.transaction_time >= :first AND p.transaction_time < :last
          AND p.leg_type = 'dca' AND p.status NOT IN ('voided', 'refunded')
          AND m.fiat_code = :code AND c.user_id IN (
              SELECT user_id FROM satoshimachine.dca_clients
              WHERE machine_id = :machine)
          AND ({" OR ".join(within)})
        GROUP BY c.user_id
        """,  # noqa: S608
        params,
    )
    return {r["user_id"]: int(r["cents"] or 0) for r in found}


@dataclass(frozen=True)
class OwnLimit:
    """An LP's daily limit, and what was used of it today, by currency."""

    limit_cents: int
    used_cents: Mapping[str, int]
    zone: Zone
    ends_at: datetime


async def own_limit(conn: Connection, user_id: str, at: datetime) -> OwnLimit | None:
    """What a plan would go by for this LP at `at`; None without a limit."""
    row = await fetch_one(
        conn,
        """
        SELECT l.default_dca_mode, l.fixed_mode_daily_limit,
            CASE WHEN w.time_zone_from > :at THEN w.time_zone_before
                ELSE w.time_zone END AS zone
        FROM satoshimachine.dca_lp l
        LEFT JOIN satoshimachine.dca_preferences w ON w.user_id = l.user_id
        WHERE l.user_id = :user
        """,
        {"user": user_id, "at": db_time(at)},
    )
    limit = _limit_cents(row["fixed_mode_daily_limit"]) if row else None
    if row is None or limit is None or row["default_dca_mode"] != "fixed":
        return None
    zone = zone_or_utc(row["zone"])
    day = zone.day_of(at)
    ends_at = zone.start_of(day + timedelta(days=1))
    found = await fetch_all(
        conn,
        f"""
        SELECT m.fiat_code, SUM({cents_sql("p.amount_fiat")}) AS cents
        FROM satoshimachine.dca_payments p
        CROSS JOIN satoshimachine.dca_clients c
        CROSS JOIN satoshimachine.dca_machines m
        WHERE c.id = p.client_id AND m.id = p.machine_id AND c.user_id = :user
          AND p.transaction_time >= :start AND p.transaction_time < :end
          AND p.leg_type = 'dca' AND p.status NOT IN ('voided', 'refunded')
        GROUP BY m.fiat_code
        """,  # noqa: S608
        {
            "user": user_id,
            "start": db_time(zone.start_of(day)),
            "end": db_time(ends_at),
        },
    )
    used = {r["fiat_code"]: int(r["cents"] or 0) for r in found}
    return OwnLimit(limit, used, zone, ends_at)


async def _zones_of_lps(
    conn: Connection, machine_id: str, at: datetime
) -> dict[str, Zone]:
    """Each LP's zone: a change counts from the day after it was made."""
    found = await fetch_all(
        conn,
        """
        SELECT DISTINCT c.user_id,
            CASE WHEN w.time_zone_from > :at THEN w.time_zone_before
                ELSE w.time_zone END AS zone
        FROM satoshimachine.dca_clients c
        LEFT JOIN satoshimachine.dca_preferences w ON w.user_id = c.user_id
        WHERE c.machine_id = :machine
        """,
        {"machine": machine_id, "at": db_time(at)},
    )
    return {row["user_id"]: zone_or_utc(row["zone"]) for row in found}


async def lp_profiles_of_clients(
    conn: Connection, client_ids: Iterable[str]
) -> dict[str, LpProfile]:
    """client id -> where the LP's sats go now (no modes, no limits)."""
    ids = sorted(set(client_ids))
    profiles: dict[str, LpProfile] = {}
    for listed, params in in_lists(ids):
        found = await fetch_all(
            conn,
            f"SELECT c.id AS client_id, l.* FROM satoshimachine.dca_clients c "  # noqa: S608
            "JOIN satoshimachine.dca_lp l ON l.user_id = c.user_id "
            f"WHERE c.id IN {listed}",
            params,
        )
        profiles.update({row["client_id"]: _where_to(row) for row in found})
    return profiles


def _where_to(row: Mapping[str, Any]) -> LpProfile:
    """What paying an LP depends on. The companion extension writes these rows too: a
    limit or a time that makes no sense must not leave the LP, or the round, unpaid.
    """
    return LpProfile(
        user_id=row["user_id"],
        dca_wallet_id=row["dca_wallet_id"] or "",
        autoforward_ln_address=row["autoforward_ln_address"],
        autoforward_enabled=row["autoforward_enabled"] == 1,
    )
