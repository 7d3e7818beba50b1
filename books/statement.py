"""What did an LP hand over and receive in a period? The figures of the printed page.

Guaranteed: they are sums over the journal's entries, each on the day that it happened,
so a statement of days that are over is the same whenever it is printed; every total is
the sum of the lines under it; for each machine, opening + confirmed - reversed - turned
into sats = closing, in minor units. Days are those of the reader's zone. What an LP
forwards is in no book of the operator's: those lines are the payments that were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from ..base.database import cents_sql, db, db_time, fetch_all, from_db_time
from ..base.refusals import BadInputError
from ..base.zones import UTC, Zone
from ..calculations import cents_text, round_half_up
from ..ledger.entries import (
    LP_CASH_USED,
    LP_CLOSED,
    LP_DEPOSITS,
    LP_PAID,
    LP_PAID_OUTSIDE,
)

S = "satoshimachine"


@dataclass
class StatementLine:
    """One thing that happened: cash, sats, or both where they came on one day."""

    at: datetime
    # deposit, reversal, dca, settlement, given_back, received, taken_back, outside,
    # autoforward
    kind: str
    note: str = ""
    fiat_cents: int = 0
    sats: int | None = None
    is_test: bool = False
    cost_cents: int = 0  # of the sats that arrived
    payment_hash: str = ""
    balance_cents: int = 0  # of cash at work, after it

    @property
    def fiat(self) -> str:
        return cents_text(self.fiat_cents) if self.fiat_cents else ""

    @property
    def balance(self) -> str:
        return cents_text(self.balance_cents)

    @property
    def cost(self) -> str:
        return cents_text(self.cost_cents)

    @property
    def rate(self) -> Decimal | None:
        """Sats for one unit of the cash that bought them."""
        if not self.sats or not self.cost_cents:
            return None
        return (Decimal(self.sats * 100) / self.cost_cents).quantize(Decimal("0.01"))


@dataclass
class MachineStatement:
    machine: str
    currency: str
    operator_user_id: str = ""
    opening_cents: int = 0
    deposited_cents: int = 0
    reversed_cents: int = 0
    debited_cents: int = 0
    sats: int = 0
    outside_sats: int = 0
    forwarded_sats: int = 0
    cost_cents: int = 0  # of the sats that arrived
    lines: list[StatementLine] = field(default_factory=list)

    @property
    def closing_cents(self) -> int:
        came = self.opening_cents + self.deposited_cents
        return came - self.reversed_cents - self.debited_cents

    @property
    def average_price(self) -> str | None:
        """Of one bitcoin, as it was paid for the sats that arrived."""
        return price_of(self.cost_cents, self.sats)

    def carry_on(self) -> None:
        """Each line's balance from the one before, oldest first; and what it cost."""
        self.lines.sort(key=lambda line: line.at)
        balance = self.opening_cents
        for line in self.lines:
            balance += line.fiat_cents
            line.balance_cents = balance
            self.cost_cents += line.cost_cents

    @property
    def figures(self) -> dict[str, str]:
        """The fiat sums as text, by name."""
        return {
            name: cents_text(getattr(self, f"{name}_cents"))
            for name in ("opening", "deposited", "reversed", "debited", "closing")
        }


def price_of(cents: int, sats: int) -> str | None:
    """Fiat for one bitcoin; None where no sats are."""
    if sats <= 0:
        return None
    return cents_text(round_half_up(cents * 100_000_000, sats))


@dataclass
class CurrencyTotal:
    currency: str
    cost_cents: int = 0
    sats: int = 0

    @property
    def cost(self) -> str:
        return cents_text(self.cost_cents)

    @property
    def average_price(self) -> str | None:
        return price_of(self.cost_cents, self.sats)


def totals_of(machines: Sequence[MachineStatement]) -> list[CurrencyTotal]:
    """What was bought at all machines, by currency."""
    found: dict[str, CurrencyTotal] = {}
    for one in machines:
        total = found.setdefault(one.currency, CurrencyTotal(one.currency))
        total.cost_cents += one.cost_cents
        total.sats += one.sats
    return list(found.values())


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
    period = {"me": user_id, "since": db_time(since), "until": db_time(until)}
    async with db.connect() as conn:
        machines = await fetch_all(
            conn,
            f"""
            SELECT c.id, m.name, m.machine_npub, m.fiat_code, m.operator_user_id
            FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
            WHERE c.user_id = :me ORDER BY c.created_at, c.id
            """,  # noqa: S608
            {"me": user_id},
        )
        before = await fetch_all(
            conn,
            f"""
            SELECT l.client_id, CAST(SUM(l.fiat_cents) AS BIGINT) AS cents
            FROM {_TABLES} {_OWN} AND j.at < :since AND l.account IN ({_CASH})
            GROUP BY l.client_id
            """,  # noqa: S608
            {"me": user_id, "since": db_time(since)},
        )
        entries = await fetch_all(
            conn,
            f"""
            SELECT l.client_id, l.account, l.sats, l.fiat_cents AS cents, j.id, j.at,
                j.is_test, j.settlement_id, j.payment_id, d.notes,
                COALESCE(d.reason, d.reversal_reason) AS reason, p.reference,
                p.external_payment_hash,
                {cents_sql("COALESCE(p.amount_fiat, 0)")} AS cost_cents
            FROM {_TABLES} {_ABOUT} {_OWN} AND j.at >= :since AND j.at < :until
              AND l.account IN ({_CASH}, '{LP_PAID}', '{LP_PAID_OUTSIDE}')
            ORDER BY j.at, j.id, l.account
            """,  # noqa: S608
            period,
        )
        forwards = await fetch_all(
            conn,
            f"""
            SELECT p.client_id, p.completed_at AS at,
                COALESCE(p.sent_sats, p.amount_sats) AS sats
            FROM {S}.dca_payments p JOIN {S}.dca_clients c ON c.id = p.client_id
            WHERE c.user_id = :me AND p.completed_at >= :since
              AND p.completed_at < :until AND p.leg_type = 'autoforward'
              AND p.status IN ('completed', 'skipped')
            ORDER BY p.completed_at, p.id
            """,  # noqa: S608
            period,
        )
    found = {
        row["id"]: MachineStatement(
            row["name"] or row["machine_npub"][:16],
            row["fiat_code"],
            row["operator_user_id"],
        )
        for row in machines
    }
    for row in before:
        found[row["client_id"]].opening_cents -= int(row["cents"] or 0)
    days: dict[tuple[str, date], StatementLine] = {}
    for row in entries:
        _add(found[row["client_id"]], row, zone, days)
    for row in forwards:
        statement, sats = found[row["client_id"]], int(row["sats"])
        statement.forwarded_sats += sats
        statement.lines.append(_line(row, "autoforward", sats=sats))
    for statement in found.values():
        statement.carry_on()
    return list(found.values())


_CASH = f"'{LP_DEPOSITS}', '{LP_CASH_USED}', '{LP_CLOSED}'"
_TABLES = f"{S}.journal_lines l JOIN {S}.journal j ON j.id = l.journal_id"
_OWN = f"""
    WHERE l.client_id IN (SELECT id FROM {S}.dca_clients WHERE user_id = :me)
    """  # noqa: S608
_ABOUT = f"""
    LEFT JOIN {S}.dca_deposits d ON d.id = j.deposit_id
    LEFT JOIN {S}.dca_payments p ON p.id = j.payment_id
    """
Row = Mapping[str, Any]


def _line(row: Row, kind: str, **fields: Any) -> StatementLine:
    at = from_db_time(row["at"])
    if at is None:
        raise ValueError("An entry without a time.")
    return StatementLine(at, kind, **fields)


def _add(
    statement: MachineStatement,
    row: Row,
    zone: Zone,
    days: dict[tuple[str, date], StatementLine],
) -> None:
    """One line of an entry. Sats that came on the day on which the cash was turned
    into them stand beside it."""
    account, cents, sats = row["account"], -int(row["cents"]), int(row["sats"])
    subject = row["settlement_id"] or row["payment_id"] or row["id"]
    is_test = bool(row["is_test"])
    if account == LP_DEPOSITS:
        is_back = cents < 0
        statement.deposited_cents += 0 if is_back else cents
        statement.reversed_cents -= cents if is_back else 0
        note = row["reason" if is_back else "notes"] or ""
        kind = "reversal" if is_back else "deposit"
        line = _line(row, kind, note=note, fiat_cents=cents)
    elif account in (LP_CASH_USED, LP_CLOSED):
        statement.debited_cents -= cents
        kind = "settlement" if account == LP_CLOSED else "dca"
        line = _line(row, kind if cents < 0 else "given_back", fiat_cents=cents)
        days.setdefault((f"{row['client_id']} {subject}", zone.day_of(line.at)), line)
    elif account == LP_PAID_OUTSIDE:
        statement.outside_sats -= sats
        line = _line(row, "outside", note=row["reference"] or "", sats=-sats)
    else:
        statement.sats += sats
        line = _line(row, "received" if sats > 0 else "taken_back", sats=sats)
        line.payment_hash = row["external_payment_hash"] or ""
        line.cost_cents = int(row["cost_cents"]) * (1 if sats > 0 else -1)
        debit = days.get((f"{row['client_id']} {subject}", zone.day_of(line.at)))
        if debit and debit.sats is None and debit.fiat_cents < 0 < sats:
            debit.sats, debit.cost_cents = sats, line.cost_cents
            debit.payment_hash = line.payment_hash
            return
    line.is_test = is_test
    statement.lines.append(line)
