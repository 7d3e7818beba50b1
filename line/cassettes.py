"""What is in the machine? Cassettes, beacon and telemetry: the replaceable events.

The operator's figures (`denomination`, `count`) and the machine's own report
(`state_*`) stand side by side in one row for each bay; neither overwrites the other,
except that the first report ever fills an empty table.

Guaranteed: the newest event wins (the lower id on a tie), an older one changes nothing
whenever it arrives; one dated more than ten minutes ahead is refused; what we publish
is dated later than what we published before.
Not guaranteed: that a machine has taken what was published, until it reports just that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from lnbits.db import Connection

from ..base.database import db_time, transaction
from ..cash.postings import post_first_counts
from ..models import Machine, utc_now
from . import cassettes_crud
from . import crud as line_crud
from .cassettes_crud import CassetteEvent
from .nostr import (
    APP_DATA_KIND,
    TELEMETRY_KIND,
    Incoming,
    LineError,
    ServiceKey,
    hex_of,
    read_json,
)

S = "satoshimachine"
BEACON = "bitspire-beacon"
TELEMETRY = "bitspire-telemetry"
CASSETTES = "bitspire-cassettes:"
CASSETTES_STATE = "bitspire-cassettes-state:"

MAX_AHEAD_SECONDS = 600
MAX_POSITION = 16
MAX_INTEGER = 2_147_483_647
MAX_TEXT = 500

Positions = dict[int, tuple[int, int]]  # bay -> (denomination, count)


# ------------------------------------------------------------------- reading shapes


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number.")
    if not 0 <= value <= MAX_INTEGER:
        raise ValueError(f"{name} must be from 0 to {MAX_INTEGER}.")
    return value


def read_positions(content: Any) -> Positions:
    """The bays in `{"positions": {"1": {"denomination": 20, "count": 100}}}`.

    Raises ValueError with a sentence: positions are 1 to 16, denominations and counts
    whole numbers from 0.
    """
    positions = content.get("positions") if isinstance(content, Mapping) else None
    if not isinstance(positions, Mapping):
        raise ValueError(
            'Cassettes look like {"positions": {"1": {"denomination": 20,'
            ' "count": 100}}}.'
        )
    found: Positions = {}
    for key, bay in positions.items():
        text = str(key)
        if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 2):
            raise ValueError(f"A position is a number from 1 to {MAX_POSITION}.")
        position = int(text)
        if not 1 <= position <= MAX_POSITION or position in found:
            raise ValueError(
                f"Position {position} must be from 1 to {MAX_POSITION}, and named once."
            )
        if not isinstance(bay, Mapping):
            raise ValueError(f"Position {position} needs a denomination and a count.")
        found[position] = (
            _whole(bay.get("denomination"), f"The denomination of position {position}"),
            _whole(bay.get("count"), f"The count of position {position}"),
        )
    return found


def positions_json(positions: Positions) -> str:
    """The same as the text that is encrypted to the machine."""
    return json.dumps(
        {
            "positions": {
                str(position): {"denomination": denomination, "count": count}
                for position, (denomination, count) in sorted(positions.items())
            }
        }
    )


def _text_or_none(value: Any) -> str | None:
    """A machine's word for a TEXT column: text as it is, anything else as JSON."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:MAX_TEXT]


def beacon_columns(content: Mapping[str, Any]) -> dict[str, Any]:
    """Every `beacon_*` column; what the machine did not send, or not in a form that
    fits, is None."""
    columns: dict[str, Any] = {}
    for name in ("cash_in", "cash_out"):
        value = content.get(name)
        columns[f"beacon_{name}"] = value if isinstance(value, bool) else None
    for name in (
        "cash_level",
        "fiat",
        "model",
        "name",
        "location",
        "geo",
        "version",
    ):
        columns[f"beacon_{name}"] = _text_or_none(content.get(name))
    for name in ("fees", "limits", "denominations"):
        value = content.get(name)
        columns[f"beacon_{name}_json"] = (
            None if value is None else json.dumps(value, ensure_ascii=False)
        )
    return columns


# ------------------------------------------------------------- what a machine reports


async def take_event(machine: Machine, event: Incoming, key: ServiceKey | None) -> None:
    """Store a paired machine's replaceable event, if it is the newest of its name.

    Raises LineError for one that is from the future, unreadable, or named for another
    machine: there is nobody to answer, so the text goes to the counters.
    """
    if event.created_at > time.time() + MAX_AHEAD_SECONDS:
        raise LineError("future", "The event is dated more than ten minutes ahead.")
    name = (event.kind, event.d)
    if name == (APP_DATA_KIND, BEACON):
        columns = beacon_columns(_object(event.content))
        await _take_snapshot(machine, event, columns, "beacon_received_at")
    elif name == (TELEMETRY_KIND, TELEMETRY):
        content = _object(_decrypted(event, key))
        columns = {"telemetry_json": json.dumps(content, ensure_ascii=False)}
        await _take_snapshot(machine, event, columns, "telemetry_received_at")
    elif name == (APP_DATA_KIND, CASSETTES_STATE + event.pubkey):
        try:
            positions = read_positions(_object(_decrypted(event, key)))
        except ValueError as exc:
            raise LineError("bad_request", f"The content is wrong: {exc}") from exc
        await _take_state(machine, event, positions)
    else:
        raise LineError("unknown_event", "No event of this name is read.")


def _decrypted(event: Incoming, key: ServiceKey | None) -> str:
    if key is None:
        raise LineError("undecryptable", "The event names no service key of ours.")
    return key.decrypt(event.pubkey, event.content)


def _object(text: str) -> dict[str, Any]:
    try:
        content = read_json(text)
    except ValueError as exc:
        raise LineError("bad_request", f"The content is wrong: {exc}") from exc
    if not isinstance(content, dict):
        raise LineError("bad_request", "The content is not a JSON object.")
    return content


def _event_time(event: Incoming) -> datetime:
    """When the machine said it: its own clock, but never later than ours."""
    now = utc_now()
    try:
        return min(datetime.fromtimestamp(event.created_at, timezone.utc), now)
    except (OverflowError, OSError, ValueError):
        return now


async def _take_snapshot(
    machine: Machine, event: Incoming, columns: dict[str, Any], time_column: str
) -> None:
    async with transaction() as conn:
        if await line_crud.advance_clock(
            conn, machine.id, f"{event.kind}:{event.d}", event.created_at, event.id
        ):
            columns[time_column] = db_time(_event_time(event))
            await line_crud.upsert_telemetry(conn, machine.id, columns)


async def _take_state(machine: Machine, event: Incoming, positions: Positions) -> None:
    at = db_time(_event_time(event))
    async with transaction() as conn:
        if not await line_crud.advance_clock(
            conn, machine.id, f"{event.kind}:state", event.created_at, event.id
        ):
            return
        is_first = not await cassettes_crud.get_cassettes(machine.id, conn)
        await cassettes_crud.forget_states(conn, machine.id, at, event.id)
        await line_crud.upsert_positions(
            conn,
            [
                {
                    "machine_id": machine.id,
                    "position": position,
                    "denomination": denomination,
                    # a bay that the operator does not know of holds nothing for them
                    "count": count if is_first else 0,
                    "updated_at": at,
                    "updated_by": "machine",
                    "state_denomination": denomination,
                    "state_count": count,
                    "state_at": at,
                    "state_event_id": event.id,
                }
                for position, (denomination, count) in sorted(positions.items())
            ],
            ("state_denomination", "state_count", "state_at", "state_event_id"),
        )
        if is_first:
            await post_first_counts(conn, machine, positions, _event_time(event))
        await cassettes_crud.confirm(
            conn, machine.id, positions_json(positions), event.created_at
        )


# ---------------------------------------------------------- what the operator enters


async def save_cassettes(
    conn: Connection, machine_id: str, positions: Positions, user_id: str
) -> None:
    """The operator's figures, in the caller's transaction; the engine publishes it."""
    now = utc_now()
    await line_crud.delete_positions(conn, machine_id, list(positions))
    await line_crud.upsert_positions(
        conn,
        [
            {
                "machine_id": machine_id,
                "position": position,
                "denomination": denomination,
                "count": count,
                "updated_at": db_time(now),
                "updated_by": user_id,
            }
            for position, (denomination, count) in sorted(positions.items())
        ],
        ("denomination", "count", "updated_at", "updated_by"),
    )
    event = CassetteEvent(
        machine_id=machine_id,
        event_epoch=0,
        positions_json=positions_json(positions),
        saved_at=now,
    )
    await cassettes_crud.keep_to_publish(conn, event)


# ------------------------------------------------------------------------ publishing


async def signed_event(
    machine: Machine, saved: CassetteEvent, key: ServiceKey
) -> CassetteEvent | None:
    """The event to publish, signed once and kept; None if it was saved anew meanwhile.

    Dated max(now, last + 1 s): a relay keeps the newest, and two within one second
    would be a draw.
    """
    if saved.event_json:
        return saved
    pubkey = hex_of(machine.machine_npub)
    epoch = max(int(time.time()), saved.event_epoch + 1)
    event_json = key.sign(
        kind=APP_DATA_KIND,
        content=key.encrypt(pubkey, saved.positions_json),
        tags=[["d", CASSETTES + pubkey], ["p", pubkey]],
        created_at=epoch,
    )
    event = saved.copy(
        update={
            "event_epoch": epoch,
            "event_json": event_json,
            "event_id": json.loads(event_json)["id"],
        }
    )
    return event if await cassettes_crud.keep_signed(event) else None
