"""SQL of what machines ask for that moves money: their invoices and payouts.

Guaranteed here: a request is one row per (machine, txid), whatever is sent later under
that txid; an invoice is paid for one request, ever; an attempt is kept, by the engine
and by nobody else, before it may be paid.
Not guaranteed here: that a payment happened. `payout.py` reads that in LNbits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from lnbits.db import Connection
from pydantic import BaseModel

from ..base.database import (
    db,
    db_time,
    execute,
    fetch_all,
    fetch_models,
    fetch_one,
    insert_sql,
    reuse,
    row_params,
    transaction,
)
from ..base.lease import lease_held_sql
from ..crud import OWN, recorded_hashes
from ..models import Fiat, utc_now
from ..parties import discounts_crud
from ..parties.discounts_crud import Discount
from . import verdicts_crud
from .nostr import Incoming

S = "satoshimachine"


class MachineRequest(BaseModel):
    """An `invoice` or `payout` of a machine, one for each txid it ever used.

    `status` of an invoice: new, made. Of a payout: new (nothing was sent), refused
    (and `code` says why), paying (its newest attempt is on its way, or about to be),
    failed (LNbits says so), paid. `event_epoch` dates the newest event that was acted
    upon, or refused (then no later than we heard it): an older one that comes late
    starts nothing.
    """

    machine_id: str
    txid: str
    rpc: str
    wallet_id: str
    wire_sats: int
    principal_sats: int
    fee_sats: int
    fiat_amount: Fiat
    fiat_code: str
    stamp_json: str
    payment_hash: str | None = None
    bolt11: str | None = None
    status: str = "new"
    code: str | None = None
    reason: str | None = None
    discount_id: str | None = None
    discount_code: str | None = None
    operator_discount: Decimal | None = None
    platform_discount: Decimal | None = None
    event_id: str
    event_epoch: int
    created_at: datetime
    updated_at: datetime

    @property
    def stamp(self) -> dict[str, Any]:
        """A fresh copy: LNbits writes into what it is given."""
        return json.loads(self.stamp_json)


class Attempt(BaseModel):
    """An invoice that a cash-in was paid to, or was about to be."""

    payment_hash: str
    machine_id: str
    txid: str
    wallet_id: str
    wire_sats: int
    destination: str
    bolt11: str
    created_at: datetime
    checks: int = 0
    next_look_at: datetime | None = None
    failed_at: datetime | None = None
    reason: str | None = None


async def get_request(
    machine_id: str, txid: str, conn: Connection | None = None
) -> MachineRequest | None:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            f"SELECT * FROM {S}.dca_machine_requests "  # noqa: S608
            "WHERE machine_id = :machine AND txid = :txid",
            MachineRequest,
            {"machine": machine_id, "txid": txid},
        )
    return found[0] if found else None


async def insert_request(
    request: MachineRequest,
    discount: Discount | None = None,
    expires_at: datetime | None = None,
) -> bool:
    """Write it once per (machine, txid), and count the use of its discount with it;
    False if there is one already. `NoDiscountError` if another took the last use."""
    params = row_params(request)
    sql = insert_sql("dca_machine_requests", params, "ON CONFLICT DO NOTHING")
    async with transaction() as conn:
        if await execute(conn, sql, params) != 1:
            return False
        if discount is not None:
            await discounts_crud.take(
                conn, discount, request.machine_id, request.txid, expires_at
            )
    return True


async def store_made_invoice(
    machine_id: str, txid: str, payment_hash: str, bolt11: str
) -> bool:
    async with transaction() as conn:
        return (
            await execute(
                conn,
                f"""
                UPDATE {S}.dca_machine_requests SET status = 'made',
                    payment_hash = :hash, bolt11 = :bolt11, updated_at = :now
                WHERE machine_id = :machine AND txid = :txid AND payment_hash IS NULL
                """,  # noqa: S608
                {
                    "machine": machine_id,
                    "txid": txid,
                    "hash": payment_hash,
                    "bolt11": bolt11,
                    "now": db_time(utc_now()),
                },
            )
            == 1
        )


async def set_request_status(
    request: MachineRequest,
    status: str,
    *,
    code: str | None = None,
    reason: str | None = None,
    event: tuple[str, int] | None = None,
) -> bool:
    """Compare-and-set on the status and the hash that were read."""
    event_id, event_epoch = event or (request.event_id, request.event_epoch)
    async with transaction() as conn:
        return (
            await execute(
                conn,
                f"""
                UPDATE {S}.dca_machine_requests SET status = :status, code = :code,
                    reason = :reason, event_id = :event, event_epoch = :epoch,
                    updated_at = :now
                WHERE machine_id = :machine AND txid = :txid AND status = :was
                  AND COALESCE(payment_hash, '') = :hash
                """,  # noqa: S608
                {
                    "status": status,
                    "code": code,
                    "reason": reason,
                    "event": event_id,
                    "epoch": event_epoch,
                    "machine": request.machine_id,
                    "txid": request.txid,
                    "was": request.status,
                    "hash": request.payment_hash or "",
                    "now": db_time(utc_now()),
                },
            )
            == 1
        )


class AttemptNotOpenedError(Exception):
    """Nothing was written, and nothing may be paid."""


class InvoiceUsedError(AttemptNotOpenedError):
    """The invoice was somebody's attempt before."""


class DayLimitError(AttemptNotOpenedError):
    """The day's payouts would be above the operator's limit."""


class RequestMovedError(AttemptNotOpenedError):
    """The request is not as it was read, or this process is not the engine."""


async def open_attempt(
    request: MachineRequest,
    attempt: Attempt,
    *,
    event: Incoming,
    holder: str,
    day_start: datetime,
    max_day_sats: int,
) -> None:
    """Keep an attempt before it may be paid.

    In one transaction: the event was not refused, the request stands as it was read,
    this process is the engine, the invoice was never anybody's attempt, and the day's
    sum stays within the limit. Raises an `AttemptNotOpenedError` otherwise, or
    `AlreadyJudgedError`, and keeps nothing.
    """
    async with transaction() as conn:
        await verdicts_crud.note_acted(conn, event, request.machine_id)
        sql = insert_sql(
            "dca_machine_attempts", row_params(attempt), "ON CONFLICT DO NOTHING"
        )
        if await execute(conn, sql, row_params(attempt)) != 1:
            raise InvoiceUsedError
        if await _attempted_sats(conn, request.machine_id, day_start) > max_day_sats:
            raise DayLimitError
        if await _begin_paying(conn, request, attempt, event, holder) != 1:
            raise RequestMovedError


async def _begin_paying(
    conn: Connection,
    request: MachineRequest,
    attempt: Attempt,
    event: Incoming,
    holder: str,
) -> int:
    """Compare-and-set, by the engine; returns the number of requests it moved."""
    return await execute(
        conn,
        f"""
        UPDATE {S}.dca_machine_requests SET status = 'paying', code = NULL,
            reason = NULL, payment_hash = :hash, bolt11 = :bolt11,
            event_id = :event, event_epoch = :epoch, updated_at = :now
        WHERE machine_id = :machine AND txid = :txid AND status = :was
          AND COALESCE(payment_hash, '') = :old AND {lease_held_sql()}
        """,  # noqa: S608
        {
            "hash": attempt.payment_hash,
            "bolt11": attempt.bolt11,
            "event": event.id,
            "epoch": event.created_at,
            "machine": request.machine_id,
            "txid": request.txid,
            "was": request.status,
            "old": request.payment_hash or "",
            "holder": holder,
            "now": db_time(utc_now()),
        },
    )


async def _attempted_sats(conn: Connection, machine_id: str, since: datetime) -> int:
    row = await fetch_one(
        conn,
        f"""
        SELECT COALESCE(SUM(wire_sats), 0) AS sats FROM {S}.dca_machine_attempts
        WHERE machine_id = :machine AND created_at >= :since AND failed_at IS NULL
        """,  # noqa: S608
        {"machine": machine_id, "since": db_time(since)},
    )
    return int(row["sats"]) if row else 0


async def fail_attempt(request: MachineRequest, reason: str) -> bool:
    """LNbits says it failed: the request may get another invoice."""
    now = db_time(utc_now())
    async with transaction() as conn:
        failed = await execute(
            conn,
            f"""
            UPDATE {S}.dca_machine_requests SET status = 'failed', reason = :reason,
                updated_at = :now
            WHERE machine_id = :machine AND txid = :txid AND status = 'paying'
              AND payment_hash = :hash
            """,  # noqa: S608
            {
                "reason": reason,
                "now": now,
                "machine": request.machine_id,
                "txid": request.txid,
                "hash": request.payment_hash,
            },
        )
        if failed == 1:
            await execute(
                conn,
                f"UPDATE {S}.dca_machine_attempts SET failed_at = :now, "  # noqa: S608
                "reason = :reason WHERE payment_hash = :hash",
                {"now": now, "reason": reason, "hash": request.payment_hash},
            )
    return failed == 1


async def attempts_of(machine_id: str, txid: str) -> list[Attempt]:
    async with db.connect() as conn:
        return await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_machine_attempts "  # noqa: S608
            "WHERE machine_id = :machine AND txid = :txid ORDER BY created_at",
            Attempt,
            {"machine": machine_id, "txid": txid},
        )


async def attempted_sats(machine_id: str, since: datetime) -> int:
    """What this machine's un-failed cash-in payouts since then add up to."""
    async with db.connect() as conn:
        return await _attempted_sats(conn, machine_id, since)


async def payouts_to_look_at(now: datetime, limit: int = 100) -> list[MachineRequest]:
    """Cash-in payouts whose outcome is open and that are due for a look."""
    async with db.connect() as conn:
        return await fetch_models(
            conn,
            f"""
            SELECT r.* FROM {S}.dca_machine_requests r
            JOIN {S}.dca_machine_attempts a ON a.payment_hash = r.payment_hash
            WHERE r.rpc = 'payout' AND r.status = 'paying'
              AND (a.next_look_at IS NULL OR a.next_look_at <= :now)
            ORDER BY r.updated_at LIMIT :limit
            """,  # noqa: S608
            MachineRequest,
            {"now": db_time(now), "limit": limit},
        )


async def is_any_payout_open() -> bool:
    """Whether one will be due for a look, now or later."""
    async with db.connect() as conn:
        found = await fetch_one(
            conn,
            f"SELECT 1 AS yes FROM {S}.dca_machine_requests "  # noqa: S608
            "WHERE rpc = 'payout' AND status = 'paying' LIMIT 1",
        )
    return found is not None


async def schedule_check(payment_hash: str, next_look_at: datetime) -> None:
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.dca_machine_attempts SET checks = checks + 1, "  # noqa: S608
            "next_look_at = :next WHERE payment_hash = :hash",
            {"next": db_time(next_look_at), "hash": payment_hash},
        )


async def hash_is_taken(payment_hash: str) -> bool:
    """Whether this hash is a settlement, a payout or a leg of ours already; another
    request's attempt is met when this one's is opened."""
    roles = ("settlement", *OWN)
    async with db.connect() as conn:
        return payment_hash in await recorded_hashes(conn, [payment_hash], roles)


async def complete_settlement_facts(
    settlement_id: str, *, event_id: str, facts: Mapping[str, str | None]
) -> None:
    """Add what a report knows and the row does not; nothing known is changed."""
    columns = ("bitspire_txid", "bills_json", "cassettes_json")
    known = {name: facts[name] for name in columns if facts.get(name) is not None}
    changes = ", ".join(
        f"{name} = COALESCE({name}, :{name})" for name in ("bitspire_event_id", *known)
    )
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.dca_settlements SET {changes} WHERE id = :id",  # noqa: S608
            {"id": settlement_id, "bitspire_event_id": event_id, **known},
        )


async def invoice_hashes(machine_id: str, since: datetime) -> list[str]:
    """The cash-out invoices that were made for this machine since then."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT payment_hash FROM {S}.dca_machine_requests "  # noqa: S608
            "WHERE machine_id = :machine AND rpc = 'invoice' "
            "AND payment_hash IS NOT NULL AND updated_at >= :since",
            {"machine": machine_id, "since": db_time(since)},
        )
    return [row["payment_hash"] for row in found]
