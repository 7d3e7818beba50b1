"""SQL of the cash book: movements, what places hold, counts, and the trades booked.

Guaranteed here: a movement is never changed or removed; what a place holds is written
in the statement's own transaction; everything that writes begins with one lock row, so
that a count and a late report never pass each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from ..base.database import (
    cents_sql,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_one,
)
from ..calculations import cents_text
from ..crud import from_time
from ..models import Machine, utc_now
from . import ledger
from .ledger import DIFFERENCE, HAND, OPENING, Held, Movement

S = "satoshimachine"


@dataclass(frozen=True)
class Place:
    """A place whose cash can be counted: a machine's, or an operator's hand."""

    operator_user_id: str
    machine_id: str  # "" for the hand
    name: str
    currency: str

    @classmethod
    def of_machine(cls, machine: Machine, name: str) -> Place:
        return cls(machine.operator_user_id, machine.id, name, machine.fiat_code)

    @property
    def params(self) -> dict[str, Any]:
        return {
            "operator": self.operator_user_id,
            "machine": self.machine_id,
            "place": self.name,
            "currency": self.currency,
        }


async def lock_cash(conn: Connection) -> None:
    """Whatever writes to the cash book does so one at a time."""
    await execute(
        conn, "UPDATE satoshimachine.dca_locks SET n = n + 1 WHERE id = 'cash'"
    )


# -------------------------------------------------------------------------- movements


async def post(conn: Connection, movements: Sequence[Movement]) -> None:
    """Write movements; where one is older than a count of its place, make up for it at
    that count: what was counted stays counted."""
    for movement in movements:
        await _insert(conn, movement)
        for place, sign in ((movement.from_place, -1), (movement.to_place, 1)):
            if ledger.is_inside(place):
                await _keep_the_count(conn, movement, place, sign)


async def _insert(conn: Connection, movement: Movement) -> None:
    await execute(
        conn,
        f"""
        INSERT INTO {S}.cash_movements (
            id, operator_user_id, machine_id, visit_id, settlement_id, deposit_id,
            from_place, to_place, denomination, notes, amount, currency, at, "by",
            reason, source, number, created_at
        ) VALUES (
            :id, :operator, :machine, :visit, :settlement, :deposit, :from_place,
            :to_place, :denomination, :notes, :amount, :currency, :at, :by, :reason,
            :source, :number, :now
        )
        """,  # noqa: S608
        {
            "id": urlsafe_short_hash(),
            "operator": movement.operator_user_id,
            "machine": movement.machine_id,
            "visit": movement.visit_id,
            "settlement": movement.settlement_id,
            "deposit": movement.deposit_id,
            "from_place": movement.from_place,
            "to_place": movement.to_place,
            "denomination": movement.denomination,
            "notes": movement.notes,
            "amount": cents_text(movement.cents),
            "currency": movement.currency,
            "at": db_time(movement.at),
            "by": movement.by,
            "reason": movement.reason,
            "source": movement.source,
            "number": await _next_number(conn, movement),
            "now": db_time(utc_now()),
        },
    )
    await execute_many(
        conn,
        f"""
        INSERT INTO {S}.cash_balances (
            operator_user_id, machine_id, place, denomination, currency, notes, cents
        ) VALUES (
            :operator, :machine, :place, :denomination, :currency, :notes, :cents
        )
        ON CONFLICT (operator_user_id, machine_id, place, denomination, currency)
        DO UPDATE SET notes = cash_balances.notes + excluded.notes,
            cents = cash_balances.cents + excluded.cents
        """,  # noqa: S608
        [
            {
                "operator": movement.operator_user_id,
                "machine": "" if place == HAND else movement.machine_id or "",
                "place": place,
                # the hand is kept by amount, whatever notes came into it
                "denomination": 0 if place == HAND else movement.denomination or 0,
                "currency": movement.currency,
                "notes": 0 if place == HAND else sign * (movement.notes or 0),
                "cents": sign * movement.cents,
            }
            for place, sign in ((movement.from_place, -1), (movement.to_place, 1))
            if ledger.is_inside(place)
        ],
    )


async def _next_number(conn: Connection, movement: Movement) -> int | None:
    """Counted within a settlement: what is booked twice breaks the unique index."""
    if movement.settlement_id is None or movement.number is not None:
        return movement.number
    row = await fetch_one(
        conn,
        f"SELECT MAX(number) AS n FROM {S}.cash_movements "  # noqa: S608
        "WHERE settlement_id = :id",
        {"id": movement.settlement_id},
    )
    return 1 + int(row["n"] or 0) if row else 1


async def _keep_the_count(
    conn: Connection, movement: Movement, place: str, sign: int
) -> None:
    # a filling at the very moment of a count is what followed the count
    after = ">=" if movement.source == ledger.SETTLEMENT else ">"
    count = await fetch_one(
        conn,
        f"""
        SELECT at, is_opening, visit_id, "by" FROM {S}.cash_counts
        WHERE machine_id = :machine AND place = :place AND at {after} :at
          AND operator_user_id = :operator AND currency = :currency
        ORDER BY at LIMIT 1
        """,  # noqa: S608
        {
            "machine": "" if place == HAND else movement.machine_id or "",
            "place": place,
            "at": db_time(movement.at),
            "operator": movement.operator_user_id,
            "currency": movement.currency,
        },
    )
    if count is None:
        return
    outside = OPENING if count["is_opening"] else DIFFERENCE
    at = from_time(count["at"])
    await _insert(
        conn,
        Movement(
            operator_user_id=movement.operator_user_id,
            machine_id=movement.machine_id,
            from_place=place if sign > 0 else outside,
            to_place=outside if sign > 0 else place,
            denomination=movement.denomination,
            notes=movement.notes,
            cents=movement.cents,
            currency=movement.currency,
            at=at,
            by=count["by"],
            source=movement.source,
            visit_id=count["visit_id"],
            settlement_id=movement.settlement_id,
            deposit_id=movement.deposit_id,
            reason="Heard of after the count, and moved before it.",
        ),
    )


# ----------------------------------------------------------------------------- counts


async def held_at(conn: Connection, place: Place, at: datetime) -> Held:
    """What the place held at a time: what it holds now, less what moved since."""
    found = await fetch_all(
        conn,
        f"""
        SELECT denomination, notes, cents FROM {S}.cash_balances
        WHERE operator_user_id = :operator AND machine_id = :machine
          AND place = :place AND currency = :currency
        """,  # noqa: S608
        place.params,
    )
    held = {int(r["denomination"]): (int(r["notes"]), int(r["cents"])) for r in found}
    whose = "operator_user_id = :operator AND currency = :currency"
    params: dict[str, Any] = {**place.params, "at": db_time(at)}
    if place.machine_id:
        whose = "machine_id = :machine"
        del params["operator"], params["currency"]
    else:
        del params["machine"]
    note, notes_sql = "COALESCE(denomination, 0)", "COALESCE(notes, 0)"
    if place.name == HAND:
        note = notes_sql = "0"
    later = await fetch_all(
        conn,
        f"""
        SELECT {note} AS denomination,
            SUM(CASE WHEN to_place = :place THEN 1 ELSE -1 END * {notes_sql})
                AS notes,
            SUM(CASE WHEN to_place = :place THEN 1 ELSE -1 END * {cents_sql("amount")})
                AS cents
        FROM {S}.cash_movements
        WHERE {whose} AND at > :at AND (to_place = :place OR from_place = :place)
        GROUP BY 1
        """,  # noqa: S608
        params,
    )
    for row in later:
        notes, cents = held.get(int(row["denomination"]), (0, 0))
        held[int(row["denomination"])] = (
            notes - int(row["notes"] or 0),
            cents - int(row["cents"] or 0),
        )
    return {place.name: {d: h for d, h in held.items() if h != (0, 0)}}


async def was_counted(conn: Connection, place: Place) -> bool:
    row = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.cash_counts WHERE machine_id = :machine "  # noqa: S608
        "AND place = :place AND operator_user_id = :operator AND currency = :currency "
        "LIMIT 1",
        place.params,
    )
    return row is not None


async def insert_count(
    conn: Connection,
    place: Place,
    *,
    at: datetime,
    notes: Mapping[int, int],
    cents: int,
    is_opening: bool,
    by: str,
    source: str,
    visit_id: str | None = None,
) -> None:
    await execute(
        conn,
        f"""
        INSERT INTO {S}.cash_counts (
            id, operator_user_id, machine_id, place, currency, at, notes_json, cents,
            is_opening, visit_id, "by", source
        ) VALUES (
            :id, :operator, :machine, :place, :currency, :at, :notes, :cents,
            :is_opening, :visit, :by, :source
        )
        """,  # noqa: S608
        {
            **place.params,
            "id": urlsafe_short_hash(),
            "at": db_time(at),
            "notes": json.dumps({str(k): n for k, n in sorted(notes.items())}),
            "cents": cents,
            "is_opening": is_opening,
            "visit": visit_id,
            "by": by,
            "source": source,
        },
    )


# ----------------------------------------------------------------------------- trades


@dataclass(frozen=True)
class Trade:
    """What was booked for a settlement, and by whose word."""

    settlement_id: str
    machine_id: str
    is_machine: bool
    said_at: datetime
    event_id: str
    first_said_at: datetime
    moved_at: datetime
    lines: Sequence[ledger.Line]
    is_timed: bool = False  # the report itself said when
    more_cents: int = 0
    fault: str | None = None

    @property
    def rank(self) -> tuple[bool, datetime, str]:
        return (self.is_machine, self.said_at, self.event_id)


async def get_trade(conn: Connection, settlement_id: str) -> Trade | None:
    row = await fetch_one(
        conn,
        f"SELECT * FROM {S}.cash_trades WHERE settlement_id = :id",  # noqa: S608
        {"id": settlement_id},
    )
    if row is None:
        return None
    said, first, moved = (
        from_time(row[name]) for name in ("said_at", "first_said_at", "moved_at")
    )
    return Trade(
        settlement_id=settlement_id,
        machine_id=row["machine_id"],
        is_machine=bool(row["is_machine"]),
        said_at=said,
        event_id=row["event_id"],
        first_said_at=first,
        moved_at=moved,
        is_timed=bool(row["is_timed"]),
        lines=[ledger.Line(*line) for line in json.loads(row["lines_json"])],
        more_cents=int(row["more_cents"]),
        fault=row["fault"],
    )


async def put_trade(conn: Connection, trade: Trade) -> None:
    lines = [[x.place, x.denomination, x.notes, x.cents] for x in trade.lines]
    await execute(
        conn,
        f"""
        INSERT INTO {S}.cash_trades (
            settlement_id, machine_id, is_machine, said_at, event_id, first_said_at,
            moved_at, is_timed, lines_json, cents, more_cents, fault
        ) VALUES (
            :id, :machine, :is_machine, :said_at, :event, :first_said_at, :moved_at,
            :is_timed, :lines, :cents, :more, :fault
        )
        ON CONFLICT (settlement_id) DO UPDATE SET
            is_machine = excluded.is_machine, said_at = excluded.said_at,
            event_id = excluded.event_id, first_said_at = excluded.first_said_at,
            moved_at = excluded.moved_at, is_timed = excluded.is_timed,
            lines_json = excluded.lines_json, cents = excluded.cents,
            more_cents = excluded.more_cents, fault = excluded.fault
        """,  # noqa: S608
        {
            "id": trade.settlement_id,
            "machine": trade.machine_id,
            "is_machine": trade.is_machine,
            "said_at": db_time(trade.said_at),
            "event": trade.event_id,
            "first_said_at": db_time(trade.first_said_at),
            "moved_at": db_time(trade.moved_at),
            "is_timed": trade.is_timed,
            "lines": json.dumps(lines),
            "cents": ledger.total_cents(trade.lines),
            "more": trade.more_cents,
            "fault": trade.fault,
        },
    )


async def note_fault(
    conn: Connection, settlement_id: str, machine_id: str, fault: str
) -> None:
    """Keep that a trade could not be booked, for a person to see."""
    now = db_time(utc_now())
    await execute(
        conn,
        f"""
        INSERT INTO {S}.cash_trades (
            settlement_id, machine_id, is_machine, said_at, event_id, first_said_at,
            moved_at, lines_json, cents, fault
        ) VALUES (
            :id, :machine, false, :now, '', :now, :now, '[]', 0, :fault
        )
        ON CONFLICT (settlement_id) DO UPDATE SET fault = excluded.fault
        """,  # noqa: S608
        {
            "id": settlement_id,
            "machine": machine_id,
            "now": now,
            "fault": fault[:500],
        },
    )


async def denominations(conn: Connection, machine_id: str) -> dict[int, int]:
    """Position -> denomination of the bays that are known; 0 is none."""
    found = await fetch_all(
        conn,
        f"SELECT position, denomination FROM {S}.cassette_configs "  # noqa: S608
        "WHERE machine_id = :id AND denomination > 0 ORDER BY position",
        {"id": machine_id},
    )
    return {int(r["position"]): int(r["denomination"]) for r in found}


async def reserved_notes(conn: Connection, payment_hash: str) -> dict[int, int]:
    """The notes that were set aside for a sale; empty if none were."""
    row = await fetch_one(
        conn,
        f"SELECT notes_json FROM {S}.cash_reservations "  # noqa: S608
        "WHERE payment_hash = :hash",
        {"hash": payment_hash},
    )
    return ledger.read_notes(row["notes_json"]) if row else {}


async def has_deposit(conn: Connection, deposit_id: str) -> bool:
    row = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.cash_movements WHERE deposit_id = :id "  # noqa: S608
        "AND from_place = 'lp' LIMIT 1",
        {"id": deposit_id},
    )
    return row is not None


async def set_filled(
    conn: Connection, machine_id: str, position: int, notes: int
) -> None:
    """What a bay holds after it was filled: it runs low against that."""
    await execute(
        conn,
        f"UPDATE {S}.cassette_configs SET filled = :notes "  # noqa: S608
        "WHERE machine_id = :machine AND position = :position",
        {"notes": notes, "machine": machine_id, "position": position},
    )
