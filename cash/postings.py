"""Which movements follow from what happened? Trades, deposits, counts, the hand.

Guaranteed: each function writes in the caller's transaction, what happened once once;
a trade is booked between a savepoint and its release, so that whatever goes wrong here
is rolled back alone and kept as a fault for a person: landing and paying go on.
Not guaranteed: that cash moved. The notes follow the machine's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from lnbits.db import Connection
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from .. import bitspire
from ..calculations import fiat_cents
from ..models import CASH_IN, CASH_OUT, Deposit, Machine, Settlement, utc_now
from . import crud, ledger
from .crud import Place, Trade
from .ledger import BANK, CUSTOMER, DIFFERENCE, HAND, LP, OPENING, Movement, Report

# What a report that is nonsense, or a database that says no, can raise here.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    SQLAlchemyError,
    TypeError,
    ValueError,
)


# ----------------------------------------------------------------------------- trades


async def post_landed(
    conn: Connection, settlement: Settlement, machine: Machine
) -> None:
    """Book what a settlement says that moved when it landed, or is let go on after it
    was held back: a cash-in that was paid, and a cash-out that awaits no report."""
    is_out = settlement.tx_type == CASH_OUT
    if is_out and settlement.dispense_state == bitspire.AWAITING:
        return
    if settlement.status == "quarantined" or settlement.tx_type not in (
        CASH_IN,
        CASH_OUT,
    ):
        return
    at = settlement.transaction_time or utc_now()
    report = Report(
        said_at=at,
        moved_at=at,
        by=ledger.MACHINE,
        cents=fiat_cents(settlement.fiat_amount),
        bills=settlement.bills_json,
        cassettes=settlement.cassettes_json,
    )
    await post_report(conn, settlement, machine, report)


async def post_report(
    conn: Connection, settlement: Settlement, machine: Machine, report: Report
) -> None:
    """Book what a report says that moved, if it is the newest of its settlement.

    Whatever goes wrong is undone to where this began, and kept as the trade's fault.
    """
    # after the first write of a transaction, or SQLite would end it with the savepoint
    await crud.lock_cash(conn)
    savepoint = await conn.conn.begin_nested()
    try:
        await _book(conn, settlement, machine, report)
    except FAULTS as exc:
        await savepoint.rollback()
        logger.exception(f"satmachineadmin: cash of settlement {settlement.id}")
        fault = f"Its notes could not be booked ({type(exc).__name__})."
        await crud.note_fault(conn, settlement.id, machine.id, fault)
    else:
        await savepoint.commit()


async def _book(
    conn: Connection, settlement: Settlement, machine: Machine, report: Report
) -> None:
    now = utc_now()
    known = await crud.get_trade(conn, settlement.id)
    first = report.said_at
    if known and known.is_machine == report.is_machine and not known.fault:
        first = min(first, known.first_said_at)
    elif known and known.is_machine:
        first = known.first_said_at
    if known and known.fault is None and known.rank > report.rank:
        await _remember_first(conn, known, first, settlement, machine)
        return
    if settlement.tx_type == CASH_IN:
        lines = ledger.lines_in(report)
    else:
        bays = await crud.denominations(conn, machine.id)
        reserved = await crud.reserved_notes(
            conn, settlement.payment_hash.partition(":")[0]
        )
        lines = ledger.lines_out(report, bays, reserved)
    trade = Trade(
        settlement_id=settlement.id,
        machine_id=machine.id,
        is_machine=report.is_machine,
        said_at=report.said_at,
        event_id=report.event_id,
        first_said_at=first,
        moved_at=ledger.time_of(
            report, first, settlement.transaction_time or first, now
        ),
        is_timed=report.moved_at is not None,
        lines=lines,
        more_cents=_more_cents(settlement, report, lines),
    )
    await _replace(conn, known, trade, settlement, machine, report.by)


async def _remember_first(
    conn: Connection,
    known: Trade,
    first: datetime,
    settlement: Settlement,
    machine: Machine,
) -> None:
    """An older report changes nothing but when the dispense was first spoken of."""
    if first >= known.first_said_at:
        return
    moved_at = known.moved_at
    if not known.is_timed:
        moved_at = max(first, settlement.transaction_time or first)
    trade = replace(known, first_said_at=first, moved_at=moved_at)
    await _replace(conn, known, trade, settlement, machine, ledger.MACHINE)


async def _replace(
    conn: Connection,
    known: Trade | None,
    trade: Trade,
    settlement: Settlement,
    machine: Machine,
    by: str,
) -> None:
    """Book a trade anew, unless what is booked says the same."""
    is_same = (
        known is not None
        and list(known.lines) == list(trade.lines)
        and (known.moved_at == trade.moved_at)
    )
    if not is_same:
        if known:
            was = _movements(known, settlement, machine, by)
            why = "A newer report says otherwise."
            await crud.post(conn, [movement.reversed(why) for movement in was])
        await crud.post(conn, _movements(trade, settlement, machine, by))
    await crud.put_trade(conn, trade)


def _movements(
    trade: Trade, settlement: Settlement, machine: Machine, by: str
) -> list[Movement]:
    is_in = settlement.tx_type == CASH_IN
    return [
        Movement(
            operator_user_id=machine.operator_user_id,
            machine_id=machine.id,
            from_place=CUSTOMER if is_in else line.place,
            to_place=line.place if is_in else CUSTOMER,
            denomination=line.denomination,
            notes=line.notes,
            cents=line.cents,
            currency=machine.fiat_code,
            at=trade.moved_at,
            by=by,
            source=ledger.SETTLEMENT,
            settlement_id=settlement.id,
        )
        for line in trade.lines
        if line.cents
    ]


def _more_cents(
    settlement: Settlement, report: Report, lines: list[ledger.Line]
) -> int:
    """What left beyond the sale, or is missing of what was paid for; else 0."""
    sold = fiat_cents(settlement.fiat_amount)
    moved = ledger.total_cents(lines)
    if settlement.tx_type == CASH_IN:
        return max(0, sold - moved)
    return max(0, max(moved, report.cents) - sold)


# --------------------------------------------------------------------------- deposits


async def post_deposit(
    conn: Connection,
    deposit: Deposit,
    operator_user_id: str,
    by: str,
    *,
    is_reversal: bool = False,
    cents: int | None = None,
) -> None:
    """An LP's cash comes into the operator's hand; a reversal gives it back, if it is
    in the book that it came."""
    await crud.lock_cash(conn)
    if is_reversal and not await crud.has_deposit(conn, deposit.id):
        return
    movement = Movement(
        operator_user_id=operator_user_id,
        machine_id=deposit.machine_id,
        from_place=HAND if is_reversal else LP,
        to_place=LP if is_reversal else HAND,
        cents=fiat_cents(deposit.amount) if cents is None else cents,
        currency=deposit.currency,
        at=utc_now(),
        by=by,
        source=ledger.PERSON,
        deposit_id=deposit.id,
    )
    await crud.post(conn, [movement])


# ----------------------------------------------------------------------------- counts


async def post_count(
    conn: Connection,
    place: Place,
    counted: Mapping[int, int],
    *,
    at: datetime,
    by: str,
    source: str = ledger.PERSON,
    cents: int | None = None,
    visit_id: str | None = None,
    reason: str | None = None,
    opens: bool = True,
) -> list[dict[str, int | None]]:
    """The place holds exactly this: notes by denomination, or `cents` by amount.

    Returns how it differs from what was expected, by denomination (None: by amount);
    nothing where there was nothing to expect, at the first count of a place that
    `opens` with it.
    """
    held = (await crud.held_at(conn, place, at))[place.name]
    target: dict[int, tuple[int, int]] = {
        note: (count, note * count * 100) for note, count in counted.items()
    }
    if cents is not None:
        target = {0: (0, cents)}
    is_first = not await crud.was_counted(conn, place)
    is_opening = is_first and opens
    outside = OPENING if is_opening else DIFFERENCE
    total = sum(c for _, c in target.values())
    await crud.insert_count(
        conn,
        place,
        at=at,
        notes=counted,
        cents=total,
        is_opening=is_opening,
        by=by,
        source=source,
        visit_id=visit_id,
    )
    movements = []
    for note in sorted({*held, *target}):
        have, want = held.get(note, (0, 0)), target.get(note, (0, 0))
        if have == want:
            continue
        is_more = want[1] > have[1]
        movements.append(
            Movement(
                operator_user_id=place.operator_user_id,
                machine_id=place.machine_id or None,
                from_place=outside if is_more else place.name,
                to_place=place.name if is_more else outside,
                denomination=note or None,
                notes=abs(want[0] - have[0]) if note else None,
                cents=abs(want[1] - have[1]),
                currency=place.currency,
                at=at,
                by=by,
                source=source,
                visit_id=visit_id,
                reason=reason,
            )
        )
    await crud.post(conn, movements)
    return [] if is_opening else differences(place.name, held, target)


async def post_first_counts(
    conn: Connection,
    machine: Machine,
    positions: Mapping[int, tuple[int, int]],
    at: datetime,
) -> None:
    """The machine's own count of bays that nobody has counted before opens them."""
    await crud.lock_cash(conn)
    for position, (note, count) in sorted(positions.items()):
        place = Place.of_machine(machine, ledger.bay(position))
        if note > 0 and not await crud.was_counted(conn, place):
            await post_count(
                conn,
                place,
                {note: count},
                at=at,
                by=ledger.MACHINE,
                source=ledger.MACHINE,
            )


def differences(
    place: str,
    held: Mapping[int, tuple[int, int]],
    target: Mapping[int, tuple[int, int]],
) -> list[dict[str, int | None]]:
    """Expected and counted where they differ: notes by denomination, or minor units
    where some of what moved had no denomination (the hand never has)."""
    if place == HAND or 0 in held or 0 in target:
        expected = sum(cents for _, cents in held.values())
        counted = sum(cents for _, cents in target.values())
        if expected == counted:
            return []
        return [
            {"denomination": None, "expected_cents": expected, "counted_cents": counted}
        ]
    return [
        {
            "denomination": note,
            "expected": held.get(note, (0, 0))[0],
            "counted": target.get(note, (0, 0))[0],
            "expected_cents": held.get(note, (0, 0))[1],
            "counted_cents": target.get(note, (0, 0))[1],
        }
        for note in sorted({*held, *target})
        if held.get(note, (0, 0)) != target.get(note, (0, 0))
    ]


# ------------------------------------------------------------------------------- hand

# What a person may say of the cash in their hands, and where it goes or comes from.
HAND_MOVES = {
    "to_bank": (HAND, BANK),
    "from_bank": (BANK, HAND),
    "withdrawal": (HAND, BANK),
}


async def post_hand(
    conn: Connection,
    operator_user_id: str,
    kind: str,
    cents: int,
    currency: str,
    by: str,
    reason: str | None,
) -> None:
    """Cash to or from the bank, or taken out by the operator for themselves."""
    await crud.lock_cash(conn)
    from_place, to_place = HAND_MOVES[kind]
    movement = Movement(
        operator_user_id=operator_user_id,
        from_place=from_place,
        to_place=to_place,
        cents=cents,
        currency=currency,
        at=utc_now(),
        by=by,
        source=ledger.PERSON,
        reason=reason or ("withdrawal" if kind == "withdrawal" else None),
    )
    await crud.post(conn, [movement])
