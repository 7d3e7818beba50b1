"""Do our books agree with LNbits'? One machine, one period, every difference by id.

Held against each other: every payout and leg with LNbits' rows, every stamped payment
with its settlement, what each settlement owes with what came in, the wallet's balance
with every payment we know of, LPs' fiat with their legs, the bays with fills and
dispenses, the journal with our rows and with the wallets; and who is owed with who is
still there.

Guaranteed: it changes no money (a total that is only shown, it counts anew from the
legs; what the journal lacks of our own rows is posted, on its own day); a difference
is reported only if it is there at two looks, so that a payment on its way is none. One
that means that money could leave twice stops the machine's payouts (never the landing)
until its operator says go on; what they have looked at then stops nothing again.
Not guaranteed: that a difference is our mistake. It says who says what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from .. import crud
from ..base import cursors
from ..base.audit import ENGINE
from ..base.database import db
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..calculations import cents_text
from ..cash import bays as cash
from ..host.balances import balances_msat
from ..host.payments import sides_by_hash, tagged_payments
from ..models import Machine, utc_now
from . import cash_sums_crud as cash_sums
from . import journal_books, stops
from . import journal_books_crud as journal_sql
from . import reconciliation_crud as sql
from .differences import (
    LP_RECEIVED,
    Difference,
    WalletBook,
    compare_bays,
    compare_conservation,
    compare_gone,
    compare_legs,
    compare_lps,
    compare_marked,
    compare_payouts,
    compare_places,
    compare_settlements,
    compare_trades,
    half_done_payments,
)
from .gone import read_gone
from .journal_books import JOURNAL_ROWS
from .reconciliation_crud import Period, Row

# What is younger may be on its way between two databases.
SETTLING_WINDOW = timedelta(minutes=2)
CONFIRM_DELAY_SECONDS = 1.0
NIGHTLY_PERIOD = timedelta(days=2)
NIGHTLY_HOUR_UTC = 2
CURSOR = "reconciliation"
MOST_LISTED = 1000
LONGEST_PERIOD = timedelta(days=366)


@dataclass
class Report:
    """What was compared, and what does not agree."""

    machine_id: str
    period: Period
    differences: list[Difference] = field(default_factory=list)
    checked: dict[str, int] = field(default_factory=dict)
    wallets: list[dict[str, Any]] = field(default_factory=list)
    lps: list[dict[str, Any]] = field(default_factory=list)
    bays: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        gravest_first = sorted(self.differences, key=lambda d: not d.stops)
        listed = gravest_first[:MOST_LISTED]
        return {
            "differences": [
                {**asdict(d), "ids": list(d.ids), "key": d.key} for d in listed
            ],
            "more": len(self.differences) - len(listed),
            "checked": self.checked,
            "wallets": self.wallets,
            "lps": self.lps,
            "bays": self.bays,
        }


# ----------------------------------------------------------------------------- reading


async def compare(machine_id: str, period: Period) -> Report:
    """Read both books and hold them against each other; changes nothing."""
    report = Report(machine_id, period)
    async with db.connect() as conn:
        machine = await crud.get_machine(machine_id, conn)
        if machine is None:
            raise NotFoundError("There is no such machine.")
        wallets = await sql.wallets_of_machine(conn, machine_id)
        lps = await sql.lp_balances(conn, machine_id)
        bays = await cash.bays(
            conn, sql.ONE_MACHINE, {"machine": machine_id}, is_active=False
        )
        places = await cash_sums.places(conn, machine_id)
        trades = await cash_sums.odd_trades(conn, machine_id, period)
    settlement_ids = await sql.settlement_ids(machine_id, period)
    legs = await _compare_settlements(settlement_ids, report)
    legs += await sql.legs_by_id(await sql.loose_leg_ids(machine_id, period))
    payouts = await _compare_payments(legs, report)
    marked = await _compare_marked(wallets, report)
    report.differences += compare_lps(lps, machine.fiat_code)
    report.differences += compare_bays(bays)
    report.differences += compare_places(places, machine_id)
    report.differences += compare_trades(trades)
    gone = await read_gone(machine.operator_user_id, False)
    report.differences += compare_gone(gone, machine_id)
    for wallet_id in wallets:
        await _compare_wallet(wallet_id, report)
    await _compare_journal(machine, settlement_ids, lps, legs, report)
    report.lps = [_lp_facts(row) for row in lps]
    report.bays = [_bay_facts(bay) for bay in bays]
    report.checked = {
        "settlements": len(settlement_ids),
        "legs": len(legs),
        "payouts": payouts,
        "stamped_payments": marked,
    }
    return report


async def _compare_settlements(ids: Sequence[str], report: Report) -> list[Row]:
    """Settlements with LNbits' payments and with their legs; returns the legs."""
    all_legs: list[Row] = []
    async for settlements, legs in sql.settlements_and_legs(ids):
        landed = [s["payment_hash"].partition(":")[0] for s in settlements]
        async with db.connect() as conn:
            own = await sql.own_hashes(conn, landed)
        core = await sides_by_hash(landed)
        report.differences += compare_settlements(settlements, core, own)
        report.differences += compare_conservation(
            [sql.settlement_of(row) for row in settlements], legs
        )
        all_legs += legs
    return all_legs


async def _compare_payments(legs: Sequence[Row], report: Report) -> int:
    """Payouts and legs with each other and with LNbits' payments; how many payouts."""
    ids = set(await sql.payout_ids(report.machine_id, report.period))
    ids |= {x["payout_id"] for x in legs if x["payout_id"]}
    payouts = await sql.payouts_by_id(ids)
    tries = await sql.payout_legs(sorted(ids))
    core = await sides_by_hash(t["payment_hash"] for t in tries if t["payment_hash"])
    old = {p["id"]: p for p in payouts if _is_old(p["updated_at"], report.period)}
    old_tries = [t for t in tries if t["payout_id"] in old]
    report.differences += compare_payouts(list(old.values()), old_tries, core)
    report.differences += compare_legs(legs, {p["id"]: p for p in payouts}, tries, core)
    return len(payouts)


async def _compare_marked(wallets: Sequence[str], report: Report) -> int:
    """Stamped payments and our own with what is in our books; how many there are."""
    count = 0
    async for marked in tagged_payments(
        wallets, report.period.since, report.period.until
    ):
        hashes = sorted({r["payment_hash"] for r in marked})
        sides = [(r["payment_hash"], r["wallet_id"]) for r in marked]
        async with db.connect() as conn:
            known = await crud.recorded_keys(conn, sides)
            own = await sql.own_hashes(conn, hashes)
        waiting = [r["payment_hash"] for r in marked if r["status"] == "pending"]
        half_done = half_done_payments(await sides_by_hash(waiting))
        report.differences += compare_marked(marked, known, own, half_done)
        count += len(marked)
    return count


def _is_old(moment: Any, period: Period) -> bool:
    at = sql.time_of(moment)
    return at is None or at < period.until


async def _compare_wallet(wallet_id: str, report: Report) -> None:
    async with db.connect() as conn:
        unpaid = await sql.unpaid(conn, wallet_id)
        unplanned = await sql.unplanned(conn, wallet_id)
    book = WalletBook(wallet_id)
    async for moves in sql.known_entries(wallet_id):
        book.add(moves, await sides_by_hash(move[0] for move in moves))
    balance = (await balances_msat([wallet_id]))[wallet_id]
    found, facts = book.compare(balance, unpaid, unplanned)
    report.differences += found
    report.wallets.append(facts)


async def _compare_journal(
    machine: Machine,
    settlement_ids: Sequence[str],
    lps: Sequence[Row],
    legs: Sequence[Row],
    report: Report,
) -> None:
    """The journal with our rows, with LPs' cash and with what LNbits booked."""
    async with db.connect() as conn:
        missing = await journal_sql.missing_by_settlement(conn, settlement_ids)
        left = await journal_sql.left_by_lp(conn, machine.id)
    wallets = await journal_books.read_wallets(machine.id, machine.wallet_id)
    found = journal_books.compare_rows(missing)
    found += journal_books.compare_lps(lps, left, machine.fiat_code)
    report.differences += journal_books.not_said_yet(found, report.differences, legs)
    report.differences += wallets.compare(report.differences)


def _lp_facts(row: Row) -> dict[str, Any]:
    return {
        "client_id": row["id"],
        "username": row["username"],
        "deposited": cents_text(int(row["deposited"])),
        "debited": cents_text(int(row["debited"])),
        "remaining": cents_text(int(row["deposited"]) - int(row["debited"])),
    }


def _bay_facts(bay: cash.Bay) -> dict[str, Any]:
    return {
        "position": bay.position,
        "denomination": bay.denomination,
        "filled": bay.filled,
        "dispensed": bay.filled - bay.count,
        "expected": bay.count,
        "reported": bay.reported,
        "is_exact": True,
    }


# ----------------------------------------------------------------------------- running


async def reconcile(machine_id: str, period: Period, actor: str) -> Report:
    """Compare, look twice at what differs, keep the report, stop what must be stopped.

    `actor` is who asked: a user id, or `audit.ENGINE`.
    """
    report = await compare(machine_id, period)
    if report.differences:
        await asyncio.sleep(CONFIRM_DELAY_SECONDS)
        first = {difference.key for difference in report.differences}
        report = await compare(machine_id, period)
        report.differences = [d for d in report.differences if d.key in first]
    kept = report.as_dict()
    if any(d.kind == LP_RECEIVED for d in report.differences):
        # only shown, and no plan is made from it: the legs are right
        await sql.recount_received(machine_id)
    lacking = [d.subject_id for d in report.differences if d.kind == JOURNAL_ROWS]
    await journal_books.correct(lacking)
    await sql.keep_report(machine_id, actor, period, len(report.differences), kept)
    grave = [d for d in report.differences if d.stops]
    await stops.stop_payouts(machine_id, grave, actor)
    return report


async def reconcile_own(
    operator_user_id: str,
    machine_id: str,
    since: datetime | None,
    until: datetime | None,
) -> None:
    """On demand, by the machine's operator: of the last 30 days unless they say."""
    async with db.connect() as conn:
        machine = await crud.get_machine(machine_id, conn)
    if machine is None or machine.operator_user_id != operator_user_id:
        raise NotFoundError("There is no such machine of yours.")
    latest = utc_now() - SETTLING_WINDOW
    until = min(until or latest, latest)
    since = since or until - timedelta(days=30)
    if since >= until:
        raise ConflictError(
            "The period is empty: it ends two minutes ago at the latest."
        )
    if until - since > LONGEST_PERIOD:
        raise BadInputError(
            "A reconciliation covers at most 366 days: say a later from."
        )
    await reconcile(machine_id, Period(since, until), operator_user_id)


async def nightly() -> int:
    """Once a UTC day, in its small hours, every machine; returns how many.

    For the engine, called every minute. Killed half-way, the next call starts again.
    The first day of an installation has nothing to hold against anything.
    """
    now = utc_now()
    today = now.date().isoformat()
    last = await cursors.get_cursor(CURSOR)
    if last is None:
        await cursors.set_cursor(CURSOR, today)
    if last in (None, today) or now.hour < NIGHTLY_HOUR_UTC:
        return 0
    period = Period(now - NIGHTLY_PERIOD, now - SETTLING_WINDOW)
    done = 0
    for machine_id in await sql.all_machine_ids():
        try:
            report = await reconcile(machine_id, period, ENGINE)
        except (SQLAlchemyError, OSError, ArithmeticError, LookupError, ValueError):
            logger.exception(f"satmachineadmin: reconciliation of {machine_id}")
            continue
        done += 1
        if report.differences:
            logger.warning(
                f"satmachineadmin: reconciliation of machine {machine_id}: "
                f"{len(report.differences)} differences"
            )
    await cursors.set_cursor(CURSOR, today)
    return done
