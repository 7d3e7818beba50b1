"""SQL of visits: what was entered, kept until it is booked or given up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from lnbits.db import Connection

from ..base.database import (
    cents_sql,
    db_time,
    execute,
    fetch_all,
    fetch_one,
    from_db_time,
)
from ..base.refusals import ConflictError, NotFoundError
from ..crud import from_time
from .crud import Place

S = "satoshimachine"
NO_VISIT = "There is no such visit of yours."
OPEN, CLOSED, CANCELLED = "open", "closed", "cancelled"


@dataclass(frozen=True)
class Entry:
    """Notes by denomination that somebody entered, and when they had counted them."""

    notes: dict[int, int]
    at: datetime


@dataclass
class Visit:
    """A visit; `counts`, `filled` and `emptied` are by place."""

    id: str
    operator_user_id: str
    machine_id: str
    status: str
    opened_at: datetime
    opened_by: str
    closed_at: datetime | None = None
    closed_by: str | None = None
    reason: str | None = None
    counts: dict[str, Entry] = field(default_factory=dict)
    filled: dict[str, Entry] = field(default_factory=dict)
    emptied: dict[str, datetime] = field(default_factory=dict)
    differences: list[dict[str, Any]] = field(default_factory=list)
    difference_cents: int = 0


def _entries_json(visit: Visit) -> str:
    def entry(value: Entry) -> dict[str, Any]:
        notes = {str(k): n for k, n in sorted(value.notes.items())}
        return {"notes": notes, "at": value.at.isoformat()}

    return json.dumps(
        {
            "counts": {k: entry(v) for k, v in sorted(visit.counts.items())},
            "filled": {k: entry(v) for k, v in sorted(visit.filled.items())},
            "emptied": {k: v.isoformat() for k, v in sorted(visit.emptied.items())},
        }
    )


def _visit_of(row: Mapping[str, Any]) -> Visit:
    kept = json.loads(row["entries_json"])

    def entries(name: str) -> dict[str, Entry]:
        return {
            place: Entry(
                {int(k): n for k, n in value["notes"].items()},
                datetime.fromisoformat(value["at"]),
            )
            for place, value in kept[name].items()
        }

    return Visit(
        id=row["id"],
        operator_user_id=row["operator_user_id"],
        machine_id=row["machine_id"],
        status=row["status"],
        opened_at=from_time(row["opened_at"]),
        opened_by=row["opened_by"],
        closed_at=from_db_time(row["closed_at"]),
        closed_by=row["closed_by"],
        reason=row["reason"],
        counts=entries("counts"),
        filled=entries("filled"),
        emptied={
            place: datetime.fromisoformat(at) for place, at in kept["emptied"].items()
        },
        differences=json.loads(row["differences_json"] or "[]"),
        difference_cents=int(row["difference_cents"]),
    )


async def get_own_visit(
    conn: Connection, visit_id: str, operator_user_id: str
) -> Visit:
    """The operator's visit. `NotFoundError` for anybody else's."""
    row = await fetch_one(
        conn,
        f"SELECT * FROM {S}.cash_visits "  # noqa: S608
        "WHERE id = :id AND operator_user_id = :user",
        {"id": visit_id, "user": operator_user_id},
    )
    if row is None:
        raise NotFoundError(NO_VISIT)
    return _visit_of(row)


async def open_visit_of(conn: Connection, machine_id: str) -> Visit | None:
    row = await fetch_one(
        conn,
        f"SELECT * FROM {S}.cash_visits "  # noqa: S608
        "WHERE machine_id = :id AND status = 'open'",
        {"id": machine_id},
    )
    return _visit_of(row) if row else None


async def open_visits_of(conn: Connection, user_id: str) -> dict[str, Visit]:
    """The visits that this person has open, by machine."""
    found = await fetch_all(
        conn,
        f"SELECT * FROM {S}.cash_visits "  # noqa: S608
        "WHERE opened_by = :user AND status = 'open'",
        {"user": user_id},
    )
    return {row["machine_id"]: _visit_of(row) for row in found}


async def insert_visit(conn: Connection, visit: Visit) -> None:
    await execute(
        conn,
        f"""
        INSERT INTO {S}.cash_visits (
            id, operator_user_id, machine_id, status, opened_at, opened_by, entries_json
        ) VALUES (
            :id, :operator, :machine, :status, :opened_at, :opened_by, :entries
        )
        """,  # noqa: S608
        {
            "id": visit.id,
            "operator": visit.operator_user_id,
            "machine": visit.machine_id,
            "status": visit.status,
            "opened_at": db_time(visit.opened_at),
            "opened_by": visit.opened_by,
            "entries": _entries_json(visit),
        },
    )


async def save_owner(conn: Connection, visit: Visit) -> None:
    """Somebody else goes on with a visit that was left open."""
    await execute(
        conn,
        f"UPDATE {S}.cash_visits SET opened_by = :user "  # noqa: S608
        "WHERE id = :id AND status = 'open'",
        {"id": visit.id, "user": visit.opened_by},
    )


async def save_entries(conn: Connection, visit: Visit) -> None:
    """`ConflictError` if it was closed meanwhile."""
    changed = await execute(
        conn,
        f"UPDATE {S}.cash_visits SET entries_json = :entries "  # noqa: S608
        "WHERE id = :id AND status = 'open'",
        {"id": visit.id, "entries": _entries_json(visit)},
    )
    if changed != 1:
        raise ConflictError("This visit is closed: what was counted in it stays.")


async def save_end(conn: Connection, visit: Visit) -> None:
    """`ConflictError` if somebody else ended it meanwhile."""
    changed = await execute(
        conn,
        f"""
        UPDATE {S}.cash_visits SET status = :status, closed_at = :now,
            closed_by = :user, reason = :reason, differences_json = :differences,
            difference_cents = :cents
        WHERE id = :id AND status = 'open'
        """,  # noqa: S608
        {
            "id": visit.id,
            "status": visit.status,
            "now": db_time(visit.closed_at),
            "user": visit.closed_by,
            "reason": visit.reason,
            "differences": json.dumps(visit.differences),
            "cents": visit.difference_cents,
        },
    )
    if changed != 1:
        raise ConflictError("This visit is closed: what was counted in it stays.")


async def was_there_before_the_book(conn: Connection, machine_id: str) -> bool:
    """Whether the machine was registered before this database kept a cash book."""
    row = await fetch_one(
        conn,
        f"""
        SELECT 1 AS yes FROM {S}.dca_machines m
        JOIN {S}.dca_cursors k ON k.id = 'cash_book_began'
        WHERE m.id = :id AND m.created_at < k.updated_at
        """,  # noqa: S608
        {"id": machine_id},
    )
    return row is not None


async def unpaid_cash_ins(
    conn: Connection, place: Place, visit_id: str, at: datetime
) -> list[int]:
    """Minor units of the line's cash-ins that came to nothing before this visit's count
    of the box, and after the count before it."""
    found = await fetch_all(
        conn,
        f"""
        SELECT {cents_sql("r.fiat_amount")} AS cents
        FROM {S}.dca_machine_requests r
        WHERE r.machine_id = :machine AND r.rpc = 'payout'
          AND r.status IN ('refused', 'failed') AND r.fiat_code = :currency
          AND r.created_at <= :at AND r.created_at > COALESCE((
            SELECT MAX(c.at) FROM {S}.cash_counts c
            WHERE c.machine_id = :machine AND c.place = :place AND c.at < :at
              AND (c.visit_id IS NULL OR c.visit_id <> :visit)), :ever)
        """,  # noqa: S608
        {
            "machine": place.machine_id,
            "place": place.name,
            "currency": place.currency,
            "visit": visit_id,
            "at": db_time(at),
            "ever": db_time(datetime(2000, 1, 1, tzinfo=timezone.utc)),
        },
    )
    return [int(row["cents"]) for row in found]


async def held_in_bays(conn: Connection, machine_id: str) -> dict[tuple[str, int], int]:
    """Notes by (place, denomination), as the ledger has them now."""
    found = await fetch_all(
        conn,
        f"SELECT place, denomination, notes FROM {S}.cash_balances "  # noqa: S608
        "WHERE machine_id = :id AND place LIKE 'bay:%'",
        {"id": machine_id},
    )
    return {(r["place"], int(r["denomination"])): int(r["notes"]) for r in found}
