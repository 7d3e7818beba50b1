"""SQL of cassettes: what a machine last reported, what it is still to be told."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lnbits.db import Connection
from pydantic import BaseModel

from ..base.database import (
    db,
    db_time,
    execute,
    fetch_models,
    row_params,
    transaction,
)
from ..models import utc_now

S = "satoshimachine"


class Cassette(BaseModel):
    """One hardware bay: what the operator believes, and what the machine said."""

    machine_id: str
    position: int
    denomination: int
    count: int
    updated_at: datetime | None = None
    updated_by: str | None = None
    state_denomination: int | None = None
    state_count: int | None = None
    state_at: datetime | None = None
    state_event_id: str | None = None


class CassetteEvent(BaseModel):
    """What the operator saved last, and how far it got."""

    machine_id: str
    event_epoch: int
    event_id: str | None = None
    event_json: str | None = None
    positions_json: str
    saved_at: datetime
    offered_at: datetime | None = None
    published_at: datetime | None = None
    confirmed_at: datetime | None = None


async def forget_states(
    conn: Connection, machine_id: str, at: Any, event_id: str
) -> None:
    """A bay that the newest report does not name is not there any more."""
    await execute(
        conn,
        f"UPDATE {S}.cassette_configs SET state_denomination = NULL, "  # noqa: S608
        "state_count = NULL, state_at = :at, state_event_id = :event "
        "WHERE machine_id = :machine",
        {"machine": machine_id, "at": at, "event": event_id},
    )


async def confirm(
    conn: Connection, machine_id: str, positions_json: str, epoch: int
) -> None:
    """The machine reports what was published, and does so after it was published."""
    await execute(
        conn,
        f"UPDATE {S}.dca_cassette_events SET confirmed_at = :at, "  # noqa: S608
        "published_at = COALESCE(published_at, :at) "
        "WHERE machine_id = :machine AND positions_json = :positions "
        "AND event_json IS NOT NULL AND event_epoch <= :epoch "
        "AND confirmed_at IS NULL",
        {
            "machine": machine_id,
            "positions": positions_json,
            "epoch": epoch,
            "at": db_time(utc_now()),
        },
    )


async def get_cassettes(
    machine_id: str, conn: Connection | None = None
) -> list[Cassette]:
    sql = (
        f"SELECT * FROM {S}.cassette_configs WHERE machine_id = :id "  # noqa: S608
        "ORDER BY position"
    )
    if conn:
        return await fetch_models(conn, sql, Cassette, {"id": machine_id})
    async with db.connect() as new_conn:
        return await fetch_models(new_conn, sql, Cassette, {"id": machine_id})


async def get_cassette_event(machine_id: str) -> CassetteEvent | None:
    async with db.connect() as conn:
        found = await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_cassette_events "  # noqa: S608
            "WHERE machine_id = :id",
            CassetteEvent,
            {"id": machine_id},
        )
    return found[0] if found else None


async def keep_to_publish(conn: Connection, event: CassetteEvent) -> None:
    """What the machine is to be told, in the place of what it was to be told before."""
    await execute(
        conn,
        f"""
        INSERT INTO {S}.dca_cassette_events
            (machine_id, event_epoch, positions_json, saved_at)
        VALUES (:machine_id, :event_epoch, :positions_json, :saved_at)
        ON CONFLICT (machine_id) DO UPDATE
        SET positions_json = excluded.positions_json, saved_at = excluded.saved_at,
            event_json = NULL, event_id = NULL, offered_at = NULL,
            published_at = NULL, confirmed_at = NULL
        """,  # noqa: S608
        row_params(event),
    )


async def to_publish(*, again: bool) -> list[CassetteEvent]:
    """Saved cassettes of paired machines that no relay was sent yet; with `again` all
    that the machine has not confirmed (a relay came back)."""
    condition = (
        "e.confirmed_at IS NULL"
        if again
        else "e.published_at IS NULL AND e.offered_at IS NULL"
    )
    async with db.connect() as conn:
        return await fetch_models(
            conn,
            f"""
            SELECT e.* FROM {S}.dca_cassette_events e
            JOIN {S}.dca_machines m ON m.id = e.machine_id
            WHERE m.is_paired = :yes AND {condition} ORDER BY e.saved_at
            """,  # noqa: S608
            CassetteEvent,
            {"yes": True},
        )


async def keep_signed(event: CassetteEvent) -> bool:
    """Keep a signed event; False if another was kept, or the cassettes saved anew."""
    async with transaction() as conn:
        kept = await execute(
            conn,
            f"""
            UPDATE {S}.dca_cassette_events SET event_epoch = :event_epoch,
                event_json = :event_json, event_id = :event_id
            WHERE machine_id = :machine_id AND positions_json = :positions_json
              AND event_json IS NULL AND event_epoch < :event_epoch
            """,  # noqa: S608
            row_params(event),
        )
    return kept == 1


async def was_sent(machine_id: str, event_id: str, *, is_taken: bool) -> None:
    """A relay took it; or was sent it and said nothing, which is another thing."""
    column = "published_at" if is_taken else "offered_at"
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.dca_cassette_events SET {column} = "  # noqa: S608
            f"COALESCE({column}, :now) "
            "WHERE machine_id = :machine AND event_id = :event",
            {"now": db_time(utc_now()), "machine": machine_id, "event": event_id},
        )
