"""Everything of this extension is deleted: when it may be, and how.

Guaranteed: nothing is deleted while anybody is owed anything, or before it was
downloaded as it is; LNbits' own database is put back first; then all of our tables are
emptied in one transaction, and stand as after a first installation, with one entry in
the log: who deleted, and how many rows. Killed anywhere, everything is there or
nothing is. Every process on the database has lost its lease then, and begins anew.
What was paid before is never taken for lost or unknown afterwards: `BEGAN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lnbits.db import Connection
from loguru import logger
from sqlalchemy.exc import DBAPIError

from ..base import tables
from ..base.audit import write_audit
from ..base.cursors import BEGAN, put_cursor
from ..base.database import db, transaction
from ..base.refusals import BadInputError, ConflictError
from ..host import speed
from ..models import utc_now
from . import erasing_crud as sql

# What a person types, in the language of their screen.
CONFIRMATIONS = ("DELETE EVERYTHING", "BORRAR TODO")

NOT_DOWNLOADED = "Download everything first: afterwards nothing of it is here."
CHANGED_SINCE = (
    "Something happened since everything was downloaded: download it once more."
)
BUSY = "The database is busy: nothing was deleted. Try again."


@dataclass(frozen=True)
class Standing:
    """What forbids it, in sentences; and when everything was downloaded last."""

    open: list[str]
    exported_at: datetime | None
    # what is downloaded is what is there
    is_exported: bool


def _open(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each kind that is not over."""
    told = {
        "refunds": "Nothing is deleted while customers are owed {refunds} refunds, "
        "{owed} sat.",
        "customers": "Nothing is deleted while {customers} trades with customers are "
        "under way.",
        "payouts": "Nothing is deleted while {payouts} payouts are on their way.",
        "legs": "Nothing is deleted while {legs} payments, {unpaid} sat, are unpaid.",
        "settlements": "Nothing is deleted while {settlements} settlements are neither "
        "completed nor voided.",
        "lps": "Nothing is deleted while {lps} LPs have a balance: close it first.",
        "deposits": "Nothing is deleted while {deposits} deposits are not confirmed, "
        "or are disputed.",
        "visits": "Nothing is deleted while {visits} visits to machines are open.",
        "places": "Nothing is deleted while cash is in {places} places by the cash "
        "book: empty and count them.",
    }
    return [text.format(**found) for kind, text in told.items() if found[kind]]


async def standing(conn: Connection) -> Standing:
    exported_at = await sql.exported_at(conn)
    return Standing(
        _open(await sql.open_counts(conn)),
        exported_at,
        exported_at is not None and not await sql.has_changed_since(conn, exported_at),
    )


async def read_standing() -> Standing:
    async with db.connect() as conn:
        return await standing(conn)


def _check(now: Standing) -> None:
    if now.open:
        raise ConflictError(now.open[0])
    if now.exported_at is None:
        raise ConflictError(NOT_DOWNLOADED)
    if not now.is_exported:
        raise ConflictError(CHANGED_SINCE)


async def note_export(conn: Connection, user_id: str, began: datetime) -> None:
    """Everything was written into a file for this person, from that moment on. What
    came meanwhile may be missing in it: then it is no file to delete after."""
    if await sql.has_changed_since(conn, began):
        return
    await write_audit(conn, user_id, "extension.export", "extension", "all")


async def erase(user_id: str, confirmation: str, reason: str) -> None:
    """Delete everything. `ConflictError` with what forbids it; nothing is done then."""
    if confirmation not in CONFIRMATIONS:
        raise BadInputError(f"confirmation: type {CONFIRMATIONS[0]}.")
    _check(await read_standing())
    await speed.put_back(user_id)
    try:
        async with transaction() as conn:
            had = await erase_in(conn, user_id, reason)
    except DBAPIError as exc:
        raise ConflictError(BUSY) from exc
    logger.warning(f"satmachineadmin: everything was deleted by {user_id}: {had}")
    try:
        await tables.give_room_back()
    except DBAPIError as exc:
        logger.warning(f"satmachineadmin: the file keeps its size: {exc}")


async def erase_in(conn: Connection, user_id: str, reason: str) -> Mapping[str, int]:
    """In the caller's transaction: all of it, or `ConflictError` and nothing. How many
    rows each table had."""
    await tables.keep_others_out(conn)
    _check(await standing(conn))
    had = await tables.empty_all(conn)
    await put_cursor(conn, BEGAN, str(utc_now().timestamp()))
    await write_audit(
        conn,
        user_id,
        "extension.erase",
        "extension",
        "all",
        {"rows": sum(had.values())},
        None,
        reason,
    )
    return had
