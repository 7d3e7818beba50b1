"""What did an LP hand over and receive in a period? The figures of the printed page.

Guaranteed: for each machine, opening + confirmed - reversed - turned into sats =
closing, in minor units; a debit that was voided later is in no period. Days are those
of the reader's zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from ..base.database import cents_sql, db, db_time, fetch_all, from_db_time
from ..base.refusals import BadInputError
from ..base.zones import UTC, Zone
from ..calculations import cents_text

S = "satoshimachine"


@dataclass
class StatementLine:
    """A deposit, its reversal, or a payment."""

    at: datetime
    kind: str  # deposit, reversal, dca, settlement or autoforward
    status: str = ""
    note: str = ""
    fiat: str = ""
    sats: int | None = None


@dataclass
class MachineStatement:
    machine: str
    currency: str
    opening_cents: int = 0
    deposited_cents: int = 0
    reversed_cents: int = 0
    debited_cents: int = 0
    sats: int = 0
    forwarded_sats: int = 0
    lines: list[StatementLine] = field(default_factory=list)

    @property
    def closing_cents(self) -> int:
        came = self.opening_cents + self.deposited_cents
        return came - self.reversed_cents - self.debited_cents

    @property
    def figures(self) -> dict[str, str]:
        """The fiat sums as text, by name."""
        return {
            name: cents_text(getattr(self, f"{name}_cents"))
            for name in ("opening", "deposited", "reversed", "debited", "closing")
        }


def period_of(
    first: date | None, last: date | None, zone: Zone = UTC
) -> tuple[date, date]:
    """The days asked for; without any, this month so far.

    Raises BadInputError when the first is after the last.
    """
    end = last or zone.today()
    start = first or end.replace(day=1)
    if start > end:
        raise BadInputError(f"The period ends on {end}, before it begins on {start}.")
    return start, end


async def lp_statement(
    user_id: str, first: date, last: date, zone: Zone = UTC
) -> Sequence[MachineStatement]:
    """One statement for each machine where this user is an LP, oldest first."""
    since = zone.start_of(first)
    until = zone.start_of(last + timedelta(days=1))
    period = {"me": user_id, "until": db_time(until)}
    async with db.connect() as conn:
        machines = await fetch_all(
            conn,
            f"""
            SELECT c.id, m.name, m.machine_npub, m.fiat_code
            FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
            WHERE c.user_id = :me ORDER BY c.created_at, c.id
            """,  # noqa: S608
            {"me": user_id},
        )
        deposits = await fetch_all(
            conn,
            f"""
            SELECT d.client_id, {cents_sql("d.amount")} AS cents, d.notes, d.reason,
                d.status, d.reversed_at,
                COALESCE(d.confirmed_at, d.created_at) AS confirmed_at
            FROM {S}.dca_deposits d JOIN {S}.dca_clients c ON c.id = d.client_id
            WHERE c.user_id = :me
              AND COALESCE(d.confirmed_at, d.created_at) < :until
              AND d.status IN ('confirmed', 'reversed')
            """,  # noqa: S608
            period,
        )
        before = await fetch_all(
            conn,
            f"""
            SELECT p.client_id, SUM({cents_sql("p.amount_fiat")}) AS cents
            FROM {S}.dca_payments p JOIN {S}.dca_clients c ON c.id = p.client_id
            WHERE c.user_id = :me AND p.transaction_time < :since
              AND p.leg_type IN ('dca', 'settlement')
              AND p.status NOT IN ('voided', 'refunded')
            GROUP BY p.client_id
            """,  # noqa: S608
            {"me": user_id, "since": db_time(since)},
        )
        legs = await fetch_all(
            conn,
            f"""
            SELECT p.client_id, p.leg_type, p.status, p.amount_sats, p.sent_sats,
                p.transaction_time, {cents_sql("COALESCE(p.amount_fiat, 0)")} AS cents
            FROM {S}.dca_payments p JOIN {S}.dca_clients c ON c.id = p.client_id
            WHERE c.user_id = :me AND p.transaction_time < :until
              AND p.transaction_time >= :since
              AND p.leg_type IN ('dca', 'settlement', 'autoforward')
              AND p.status NOT IN ('voided', 'refunded')
            """,  # noqa: S608
            {**period, "since": db_time(since)},
        )
    found = {
        row["id"]: MachineStatement(
            row["name"] or row["machine_npub"][:16], row["fiat_code"]
        )
        for row in machines
    }
    for row in before:
        found[row["client_id"]].opening_cents -= int(row["cents"] or 0)
    for row in deposits:
        _add_deposit(found[row["client_id"]], row, since, until)
    for row in legs:
        _add_leg(found[row["client_id"]], row)
    for statement in found.values():
        statement.lines.sort(key=lambda line: line.at)
    return list(found.values())


def _add_deposit(
    statement: MachineStatement,
    row: Mapping[str, Any],
    since: datetime,
    until: datetime,
) -> None:
    cents = int(row["cents"])
    confirmed_at = from_db_time(row["confirmed_at"])
    reversed_at = from_db_time(row["reversed_at"])
    if confirmed_at is None:
        return
    if confirmed_at < since:
        statement.opening_cents += cents
    else:
        statement.deposited_cents += cents
        line = StatementLine(confirmed_at, "deposit", note=row["notes"] or "")
        line.fiat = cents_text(cents)
        statement.lines.append(line)
    if row["status"] != "reversed" or reversed_at is None or reversed_at >= until:
        return
    if reversed_at < since:
        statement.opening_cents -= cents
    else:
        statement.reversed_cents += cents
        line = StatementLine(reversed_at, "reversal", note=row["reason"] or "")
        line.fiat = cents_text(-cents)
        statement.lines.append(line)


def _add_leg(statement: MachineStatement, row: Mapping[str, Any]) -> None:
    at = from_db_time(row["transaction_time"])
    if at is None:
        return
    is_paid = row["status"] in ("completed", "skipped")
    sats = int(row["amount_sats"])
    if is_paid and row["sent_sats"] is not None:
        sats = int(row["sent_sats"])  # what arrived, not what was owed
    line = StatementLine(at, row["leg_type"], row["status"], sats=sats)
    if row["leg_type"] == "autoforward":
        if is_paid:
            statement.forwarded_sats += sats
    else:
        cents = int(row["cents"])
        statement.debited_cents += cents
        line.fiat = cents_text(-cents)
        if is_paid:
            statement.sats += sats
    statement.lines.append(line)
