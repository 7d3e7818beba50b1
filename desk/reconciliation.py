"""Do our books agree with LNbits'? One machine, one period, every difference by id.

Held against each other: every payout and leg with LNbits' rows, every stamped payment
with its settlement, what each settlement owes with what came in, the wallet's balance
with every payment we know of, LPs' fiat with their legs, the bays with fills and
dispenses.

Guaranteed: it changes no money (a total that is only shown, it counts anew from the
legs); a difference is reported only if it is there at two
looks, so that a payment on its way is none. One that means that money could leave
twice stops the machine's payouts (never the landing) until its operator says go on;
what they have looked at then stops nothing again.
Not guaranteed: that a difference is our mistake. It says who says what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from .. import bitspire, crud
from ..base.audit import ENGINE, write_audit
from ..base.database import db, transaction
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..calculations import cents_text
from ..cash import bays as cash
from ..host.balances import balances_msat
from ..models import CASH_OUT, Settlement, utc_now
from ..money.payouts import TAG
from ..money.planning import owed_of
from . import reconciliation_crud as sql
from .reconciliation_crud import UNKNOWN, Period, Row

# What is younger may be on its way between two databases.
SETTLING_WINDOW = timedelta(minutes=2)
CONFIRM_DELAY_SECONDS = 1.0
NIGHTLY_PERIOD = timedelta(days=2)
NIGHTLY_HOUR_UTC = 2
CURSOR = "reconciliation"
MOST_LISTED = 1000
LONGEST_PERIOD = timedelta(days=366)
LP_RECEIVED = "lp_received"


@dataclass(frozen=True)
class Difference:
    """Two books that do not agree, about one thing.

    `stops`: money could leave twice while this is not understood.
    """

    kind: str
    subject_type: str
    subject_id: str
    message: str
    ids: tuple[str, ...] = ()
    sats: int | None = None
    stops: bool = False

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject_id}:{self.sats or 0}"


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


# --------------------------------------------------------------------------- comparing


def balance_delta_msat(row: Row) -> int:
    """What a row of LNbits does to its wallet's balance."""
    amount, status = int(row["amount"]), row["status"]
    counts = ("success",) if amount > 0 else ("success", "pending")
    return amount - abs(int(row["fee"] or 0)) if status in counts else 0


def has_left(row: Row | None) -> bool:
    """Whether LNbits has paid this, or may still."""
    return row is not None and row["status"] in ("success", "pending")


def outgoing(found: Iterable[Row], wallet_id: str) -> Row | None:
    return next(
        (r for r in found if int(r["amount"]) < 0 and r["wallet_id"] == wallet_id), None
    )


def compare_payouts(
    payouts: Sequence[Row],
    tries: Sequence[Row],
    core: Mapping[str, Sequence[Row]],
) -> list[Difference]:
    """Every payout with LNbits' rows, and every leg with all payouts it was in."""
    found = []
    sums: dict[str, int] = {}
    legs_of: dict[str, list[str]] = {}
    for row in tries:
        payout_id = row["payout_id"]
        sums[payout_id] = sums.get(payout_id, 0) + int(row["amount_sats"])
        legs_of.setdefault(payout_id, []).append(row["leg_id"])
    for payout in payouts:
        sides = core.get(payout["payment_hash"] or "", ())
        found += _compare_payout(payout, sides, legs_of.get(payout["id"], []))
        total = sums.get(payout["id"], 0)
        if total != int(payout["amount_sats"]):
            found.append(
                Difference(
                    "payout_sum",
                    "payout",
                    payout["id"],
                    f"The payout of {payout['amount_sats']} sat is made of legs of "
                    f"{total} sat.",
                    tuple(legs_of.get(payout["id"], [])),
                    total - int(payout["amount_sats"]),
                )
            )
    return found + _paid_twice(tries, core)


def _compare_payout(
    payout: Row, sides: Sequence[Row], leg_ids: Sequence[str]
) -> list[Difference]:
    out = outgoing(sides, payout["source_wallet_id"])
    status = str(out["status"]) if out else "nothing"
    ids = (payout["payment_hash"] or "", *leg_ids)
    sats = int(payout["sent_sats"] or 0)
    if payout["status"] == "failed" and payout["payment_hash"] and has_left(out):
        return [
            Difference(
                "failed_payout_left",
                "payout",
                payout["id"],
                f"A payout of {sats} sat failed in our books, and LNbits says {status}:"
                " its legs could be paid again.",
                ids,
                sats,
                stops=True,
            )
        ]
    if payout["status"] != "paid":
        return []
    if status != "success":
        return [
            Difference(
                "payout_not_paid",
                "payout",
                payout["id"],
                f"A payout of {sats} sat is paid in our books, and LNbits says "
                f"{status}.",
                ids,
                sats,
            )
        ]
    into = next((r for r in sides if int(r["amount"]) > 0), None)
    if into is not None and into["status"] != "success":
        return [
            Difference(
                "payout_not_received",
                "payout",
                payout["id"],
                f"A payout of {sats} sat left its wallet and did not reach wallet "
                f"{into['wallet_id'][:8]}…",
                ids,
                sats,
            )
        ]
    return []


def _paid_twice(
    tries: Sequence[Row], core: Mapping[str, Sequence[Row]]
) -> list[Difference]:
    left: dict[str, list[str]] = {}
    amounts: dict[str, int] = {}
    for row in tries:
        sides = core.get(row["payment_hash"] or "", ())
        amounts[row["leg_id"]] = int(row["amount_sats"])
        if has_left(outgoing(sides, row["source_wallet_id"])):
            left.setdefault(row["leg_id"], []).append(row["payout_id"])
    return [
        Difference(
            "paid_twice",
            "payment",
            leg_id,
            f"{amounts[leg_id]} sat left LNbits in {len(payout_ids)} payments.",
            tuple(sorted(payout_ids)),
            amounts[leg_id],
            stops=True,
        )
        for leg_id, payout_ids in sorted(left.items())
        if len(payout_ids) > 1
    ]


def compare_legs(
    legs: Sequence[Row],
    payouts: Mapping[str, Row],
    tries: Sequence[Row],
    core: Mapping[str, Sequence[Row]],
) -> list[Difference]:
    """Every leg with the payout it says it was paid by."""
    gone = {
        row["leg_id"]
        for row in tries
        if has_left(
            outgoing(core.get(row["payment_hash"] or "", ()), row["source_wallet_id"])
        )
    }
    found = []
    for leg in legs:
        payout = payouts.get(leg["payout_id"] or "")
        problem = _leg_problem(leg, payout, leg["id"] in gone)
        if problem:
            kind, text, stops = problem
            found.append(
                Difference(
                    kind,
                    "payment",
                    leg["id"],
                    f"A leg of {leg['amount_sats']} sat {text}",
                    tuple(x for x in (leg["payout_id"], leg["settlement_id"]) if x),
                    int(leg["amount_sats"]),
                    stops,
                )
            )
    return found


def _leg_problem(
    leg: Row, payout: Row | None, has_gone: bool
) -> tuple[str, str, bool] | None:
    is_open = leg["status"] in ("pending", "failed")
    if is_open and leg["payout_id"] is None and has_gone:
        return "open_leg_left", "waits to be paid, and LNbits has paid it.", True
    if leg["status"] == "voided" and has_gone:
        return "voided_leg_left", "was voided, and LNbits has paid it.", False
    if leg["status"] != "completed" or leg["leg_key"] is None:
        return None  # legs of older versions had no payouts
    if leg["payout_id"] is None:
        if leg["reference"]:
            return None
        return "leg_without_payment", "is completed without any payment.", False
    if payout is None or payout["status"] != "paid":
        return "leg_without_payment", "is completed, and its payout is not.", False
    if leg["external_payment_hash"] != payout["payment_hash"]:
        return "leg_hash", "names another payment than its payout does.", False
    return None


def compare_settlements(
    settlements: Sequence[Row],
    core: Mapping[str, Sequence[Row]],
    payout_hashes: set[str],
) -> list[Difference]:
    """Every settlement with LNbits' payment, and that it is none of our own."""
    found = []
    for row in settlements:
        payment_hash = row["payment_hash"].partition(":")[0]
        sides = [
            r
            for r in core.get(payment_hash, ())
            if r["wallet_id"] == row["wallet_id"]
            and (not row["tx_type"] or _fits(row["tx_type"], int(r["amount"])))
        ]
        paid = [r for r in sides if r["status"] == "success"]
        is_open = row["status"] not in ("completed", "voided")
        if not paid:
            status = sides[0]["status"] if sides else "nothing"
            found.append(
                _settlement(
                    row,
                    "settlement_not_paid",
                    f"A settlement of {row['wire_sats']} sat stands on a payment of "
                    f"which LNbits says {status}.",
                    is_open,
                )
            )
        elif payment_hash in payout_hashes:
            found.append(
                _settlement(
                    row,
                    "own_payment_landed",
                    f"A settlement of {row['wire_sats']} sat is a payout of our own.",
                    row["status"] != "voided",
                )
            )
    return found


def _fits(tx_type: str, amount: int) -> bool:
    return (tx_type == CASH_OUT) == (amount > 0)


def _settlement(row: Row, kind: str, message: str, stops: bool) -> Difference:
    return Difference(
        kind,
        "settlement",
        row["id"],
        message,
        (row["payment_hash"],),
        int(row["wire_sats"]),
        stops,
    )


def compare_marked(
    marked: Sequence[Row],
    recorded_keys: set[tuple[str, str]],
    own_hashes: set[str],
) -> list[Difference]:
    """Every stamped payment with its settlement, and our own payments with a payout."""
    found = []
    for row in marked:
        extra = sql.extra_of(row)
        payment_hash, sats = row["payment_hash"], abs(int(row["amount"])) // 1000
        if extra.get("source") == bitspire.SOURCE:
            side = (payment_hash, row["wallet_id"])
            if row["status"] == "success" and side not in recorded_keys:
                found.append(
                    Difference(
                        "not_landed",
                        "lnbits_payment",
                        payment_hash,
                        f"A stamped payment of {sats} sat has no settlement.",
                        (row["wallet_id"],),
                        sats,
                    )
                )
        elif extra.get("tag") == TAG and int(row["amount"]) < 0:
            if payment_hash not in own_hashes:
                found.append(
                    Difference(
                        "unknown_payout",
                        "lnbits_payment",
                        payment_hash,
                        f"LNbits has a payment of ours of {sats} sat that is in none "
                        "of our books: what it paid could be paid again.",
                        tuple(x for x in (row["external_id"], row["wallet_id"]) if x),
                        sats,
                        stops=True,
                    )
                )
    return found


def compare_conservation(
    settlements: Sequence[Settlement], legs: Sequence[Row]
) -> list[Difference]:
    """What a planned settlement owes and keeps adds up to what came in."""
    owing: dict[str, int] = {}
    for leg in legs:
        if leg["leg_type"] != "autoforward" and leg["status"] != "voided":
            settlement_id = str(leg["settlement_id"])
            amount = int(leg["amount_sats"])
            owing[settlement_id] = owing.get(settlement_id, 0) + amount
    found = []
    for settlement in settlements:
        if settlement.planned_at is None or settlement.status == "voided":
            continue
        available = owed_of(settlement).available_sats
        total = owing.get(settlement.id, 0) + (settlement.retained_sats or 0)
        total -= settlement.loss_sats
        if total != available:
            found.append(
                Difference(
                    "not_conserved",
                    "settlement",
                    settlement.id,
                    f"Its legs and what stays are {total} sat, and {available} sat "
                    "came in.",
                    (),
                    total - available,
                    stops=total > available,
                )
            )
    return found


def compare_lps(balances: Sequence[Row], currency: str) -> list[Difference]:
    """Deposits less debits, and the running totals that plans are made from."""
    found = []
    for row in balances:
        debited, total = int(row["debited"]), int(row["total"])
        name = row["username"] or row["id"]
        if debited != total:
            found.append(
                Difference(
                    "lp_total",
                    "client",
                    row["id"],
                    f"{name}: the legs took {cents_text(debited)} {currency}, the "
                    f"running total says {cents_text(total)}.",
                    (),
                    total - debited,
                    # fiat that is spent would be taken for fiat that is there
                    stops=total < debited,
                )
            )
        received, shown = int(row["received_sats"]), int(row["total_received_sats"])
        if received != shown:
            found.append(
                Difference(
                    LP_RECEIVED,
                    "client",
                    row["id"],
                    f"{name}: the legs brought {received} sat, the running total said "
                    f"{shown}; it is counted anew.",
                    (),
                    shown - received,
                )
            )
        if debited > int(row["deposited"]):
            found.append(
                Difference(
                    "lp_below_zero",
                    "client",
                    row["id"],
                    f"{name}: the legs took {cents_text(debited)} {currency} of "
                    f"{cents_text(int(row['deposited']))} deposited.",
                    (),
                    int(row["deposited"]) - debited,
                    stops=True,
                )
            )
    return found


def compare_bays(bays: Sequence[cash.Bay]) -> list[Difference]:
    """What the machine reports with what was filled in and paid out until then."""
    found = []
    for bay in bays:
        if bay.reported is None or not bay.is_exact or not bay.is_report_newer:
            continue
        expected = bay.filled - bay.dispensed_until_report
        if bay.reported != expected:
            found.append(
                Difference(
                    "cash_differs",
                    "bay",
                    f"{bay.machine_id}:{bay.position}",
                    f"Bay {bay.position}: the machine reports {bay.reported} notes of "
                    f"{bay.denomination}; filled in {bay.filled} less "
                    f"{bay.dispensed_until_report} paid out is {expected}.",
                    (),
                    bay.reported - expected,
                )
            )
    return found


@dataclass
class WalletBook:
    """The balance of a wallet with every payment of it that is in our books, summed
    while they are read. What LNbits has and we have not is foreign, and none of our
    business."""

    wallet_id: str
    ours_msat: int = 0
    known_msat: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(
        self, moves: Iterable[tuple[str, int]], core: Mapping[str, Sequence[Row]]
    ) -> None:
        for payment_hash, said_msat in moves:
            sides = [
                r
                for r in core.get(payment_hash, ())
                if r["wallet_id"] == self.wallet_id
            ]
            if said_msat != UNKNOWN and len(sides) > 1:
                sides = [r for r in sides if (int(r["amount"]) > 0) == (said_msat > 0)]
            real_msat = sum(balance_delta_msat(r) for r in sides)
            self.known_msat += real_msat
            # our fees are whole sats, rounded up
            if said_msat == UNKNOWN or abs(real_msat - said_msat) < 1000:
                self.ours_msat += real_msat
                continue
            self.ours_msat += said_msat
            self.differences.append(
                Difference(
                    "wallet_move",
                    "lnbits_payment",
                    payment_hash,
                    f"This payment moved {real_msat / 1000:g} sat in LNbits and "
                    f"{said_msat / 1000:g} sat in our books.",
                    (self.wallet_id,),
                    (real_msat - said_msat) // 1000,
                )
            )

    def compare(
        self, balance_msat: int, unpaid_sats: int, unplanned_sats: int
    ) -> tuple[list[Difference], dict[str, Any]]:
        found = list(self.differences)
        foreign_msat = balance_msat - self.known_msat
        owed = unpaid_sats + unplanned_sats
        if balance_msat // 1000 < owed:
            found.append(
                Difference(
                    "wallet_short",
                    "wallet",
                    self.wallet_id,
                    f"The wallet holds {balance_msat // 1000} sat and owes {owed} sat.",
                    (),
                    balance_msat // 1000 - owed,
                )
            )
        facts = {
            "wallet_id": self.wallet_id,
            "balance_sats": balance_msat // 1000,
            "retained_sats": self.ours_msat // 1000 - owed,
            "unpaid_sats": unpaid_sats,
            "unplanned_sats": unplanned_sats,
            "foreign_sats": foreign_msat // 1000,
            "difference_sats": (balance_msat - foreign_msat - self.ours_msat) // 1000,
        }
        return found, facts


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
        only = "(SELECT :machine AS id)"
        bays = await cash.bays(conn, only, {"machine": machine_id}, is_from_fill=True)
    settlement_ids = await sql.settlement_ids(machine_id, period)
    legs = await _compare_settlements(settlement_ids, report)
    legs += await sql.legs_by_id(await sql.loose_leg_ids(machine_id, period))
    payouts = await _compare_payments(legs, report)
    marked = await _compare_marked(wallets, report)
    report.differences += compare_lps(lps, machine.fiat_code)
    report.differences += compare_bays(bays)
    for wallet_id in wallets:
        await _compare_wallet(wallet_id, report)
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
        core = await sql.core_rows(landed)
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
    core = await sql.core_rows(t["payment_hash"] for t in tries if t["payment_hash"])
    old = {p["id"]: p for p in payouts if _is_old(p["updated_at"], report.period)}
    old_tries = [t for t in tries if t["payout_id"] in old]
    report.differences += compare_payouts(list(old.values()), old_tries, core)
    report.differences += compare_legs(legs, {p["id"]: p for p in payouts}, tries, core)
    return len(payouts)


async def _compare_marked(wallets: Sequence[str], report: Report) -> int:
    """Stamped payments and our own with what is in our books; how many there are."""
    count = 0
    async for marked in sql.tagged_payments(wallets, report.period):
        hashes = sorted({r["payment_hash"] for r in marked})
        sides = [(r["payment_hash"], r["wallet_id"]) for r in marked]
        async with db.connect() as conn:
            known = await crud.recorded_keys(conn, sides)
            own = await sql.own_hashes(conn, hashes)
        report.differences += compare_marked(marked, known, own)
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
        book.add(moves, await sql.core_rows(move[0] for move in moves))
    balance = (await balances_msat([wallet_id]))[wallet_id]
    found, facts = book.compare(balance, unpaid, unplanned)
    report.differences += found
    report.wallets.append(facts)


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
        "dispensed": bay.dispensed,
        "expected": bay.count,
        "reported": bay.reported,
        "is_exact": bay.is_exact,
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
    await sql.keep_report(machine_id, actor, period, len(report.differences), kept)
    await _stop(report, actor)
    return report


async def _stop(report: Report, actor: str) -> None:
    grave = [d for d in report.differences if d.stops]
    if not grave:
        return
    async with transaction() as conn:
        machine = await crud.get_machine(report.machine_id, conn)
        seen = await sql.accepted(conn, report.machine_id)
        new = [d for d in grave if d.key not in seen]
        if not new or machine is None:
            return
        reason = f"The reconciliation found a difference: {new[0].message}"
        if len(new) > 1:
            reason += f" (And {len(new) - 1} more.)"
        if not await sql.stop_payouts(conn, report.machine_id, reason):
            return
        await write_audit(
            conn,
            actor,
            "machine.stop_payouts",
            "machine",
            report.machine_id,
            {"payouts_stopped_reason": None},
            {"payouts_stopped_reason": reason},
            "found by the reconciliation",
            operator_user_id=machine.operator_user_id,
            machine_id=report.machine_id,
        )
    logger.error(
        f"satmachineadmin: payouts of machine {report.machine_id} are stopped: {reason}"
    )


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
    last = await crud.get_cursor(CURSOR)
    if last is None:
        await crud.set_cursor(CURSOR, today)
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
    await crud.set_cursor(CURSOR, today)
    return done
