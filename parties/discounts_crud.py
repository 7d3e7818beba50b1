"""SQL of discounts: codes that take a share off their owner's own fee.

Guaranteed: a code is unique for its owner, whatever its case; a use is counted in the
transaction that writes the request it is for, once for each (machine, txid), and never
above the most uses, however many ask at once; a code is the owner's own: an operator's
counts at their machines, the platform's at all of them, or at those that are named.
Not guaranteed: that a discount costs its owner what it says. `calculations.fee_shares`
counts it only as far as the customer was charged less.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash
from pydantic import BaseModel

from ..base.audit import write_audit
from ..base.database import (
    db,
    db_time,
    execute,
    fetch_all,
    fetch_models,
    fetch_one,
    in_list,
    insert_sql,
    row_params,
    transaction,
)
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..base.zones import zone_or_utc
from ..crud import lock_ledger
from ..host.payments import rows_by_hash
from ..host.people import super_user
from ..models import Machine, utc_now
from .preferences_crud import get_preferences

S = "satoshimachine"
# whose the platform's codes are: a super who has machines too has both kinds
PLATFORM = "platform"
NO_DISCOUNT = "There is no such discount of yours."
_CODE = re.compile(r"[A-Z0-9]{4,24}")
# LNbits may take a payment that was on its way when its invoice expired
LATE = timedelta(minutes=10)


class Discount(BaseModel):
    """`owner` is an operator's user id, or `PLATFORM`; null machines: all of them."""

    id: str
    owner: str
    code: str
    fraction: Decimal
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    machines_json: str | None = None
    max_uses: int | None = None
    max_uses_a_day: int | None = None
    is_active: bool = True
    uses: int = 0
    created_at: datetime
    updated_at: datetime

    @property
    def machine_ids(self) -> list[str] | None:
        return None if self.machines_json is None else json.loads(self.machines_json)


class NoDiscountError(Exception):
    """The code gives nothing here and now; why is told to nobody."""


def folded(code: str) -> str:
    """A code as it is kept. `BadInputError` if it can be none."""
    text = code.strip().upper()
    if not _CODE.fullmatch(text):
        raise BadInputError("code must be 4 to 24 letters and digits.")
    return text


# ------------------------------------------------------------------------- the owner


async def own_discount(conn: Connection, discount_id: str, owner: str) -> Discount:
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_discounts WHERE id = :id "  # noqa: S608
        "AND owner = :owner",
        Discount,
        {"id": discount_id, "owner": owner},
    )
    if not found:
        raise NotFoundError(NO_DISCOUNT)
    return found[0]


async def create(owner: str, user_id: str, fields: Mapping[str, Any]) -> Discount:
    """A new code, in force at once unless its dates say otherwise."""
    now = utc_now()
    discount = Discount(
        id=urlsafe_short_hash(), owner=owner, created_at=now, updated_at=now, **fields
    )
    async with transaction() as conn:
        await lock_ledger(conn)
        await _check(conn, discount)
        params = row_params(discount)
        await execute(conn, insert_sql("dca_discounts", params), params)
        await _audit(conn, user_id, "create", None, discount)
    return discount


async def change(
    owner: str, user_id: str, discount_id: str, fields: Mapping[str, Any]
) -> Discount:
    """What is named changes, for the uses from now on; taken ones stay as they were."""
    async with transaction() as conn:
        await lock_ledger(conn)
        before = await own_discount(conn, discount_id, owner)
        after = before.copy(update={**fields, "updated_at": utc_now()})
        await _check(conn, after)
        params = row_params(after)
        # counted by the machines' requests, meanwhile too
        for kept in ("uses", "created_at", "owner"):
            params.pop(kept)
        changed = ", ".join(f"{name} = :{name}" for name in params if name != "id")
        await execute(
            conn,
            f"UPDATE {S}.dca_discounts SET {changed} "  # noqa: S608
            "WHERE id = :id AND owner = :owner",
            {**params, "owner": owner},
        )
        if _shown(before) != _shown(after):
            await _audit(conn, user_id, "change", before, after)
    return after


async def delete(owner: str, user_id: str, discount_id: str) -> None:
    """Only one that nobody ever used: sales name the others."""
    async with transaction() as conn:
        await lock_ledger(conn)
        discount = await own_discount(conn, discount_id, owner)
        used = await fetch_one(
            conn,
            f"SELECT 1 AS yes FROM {S}.dca_discount_uses "  # noqa: S608
            "WHERE discount_id = :id LIMIT 1",
            {"id": discount_id},
        )
        if used or discount.uses:
            raise ConflictError("This code was used: deactivate it instead.")
        await execute(
            conn,
            f"DELETE FROM {S}.dca_discounts "  # noqa: S608
            "WHERE id = :id AND owner = :owner",
            {"id": discount_id, "owner": owner},
        )
        await _audit(conn, user_id, "delete", discount, None)


async def _check(conn: Connection, discount: Discount) -> None:
    since, until = discount.valid_from, discount.valid_until
    if since and until and until <= since:
        raise BadInputError("valid_until must be later than valid_from.")
    wanted = discount.machine_ids
    if wanted is not None:
        await _check_machines(conn, discount.owner, wanted)
    taken = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.dca_discounts "  # noqa: S608
        "WHERE owner = :owner AND code = :code AND id <> :id",
        {"owner": discount.owner, "code": discount.code, "id": discount.id},
    )
    if taken:
        raise ConflictError(f"You have a code {discount.code} already.")


async def _check_machines(conn: Connection, owner: str, wanted: list[str]) -> None:
    if not wanted:
        raise BadInputError("Name at least one machine, or leave machine_ids out.")
    params: dict[str, str] = {}
    mine = ""
    if owner != PLATFORM:
        mine, params["owner"] = " AND operator_user_id = :owner", owner
    found = await fetch_all(
        conn,
        f"SELECT id FROM {S}.dca_machines "  # noqa: S608
        f"WHERE id IN {in_list('m', wanted, params)}{mine}",
        params,
    )
    if len(found) != len(set(wanted)):
        raise NotFoundError("There is no such machine of yours.")


def _shown(discount: Discount | None) -> dict[str, Any] | None:
    """As the log shows it."""
    if discount is None:
        return None
    found: dict[str, Any] = {
        "code": discount.code,
        "fraction": f"{discount.fraction:.4f}",
        "is_active": discount.is_active,
        "max_uses": discount.max_uses,
        "max_uses_a_day": discount.max_uses_a_day,
    }
    for name in ("valid_from", "valid_until"):
        at = getattr(discount, name)
        found[name] = at.isoformat() if at else None
    return found


async def _audit(
    conn: Connection,
    user_id: str,
    action: str,
    before: Discount | None,
    after: Discount | None,
) -> None:
    about = after or before
    assert about  # noqa: S101 (one of them is)
    await write_audit(
        conn,
        user_id,
        f"discount.{action}",
        "discount",
        about.id,
        _shown(before),
        _shown(after),
        operator_user_id=None if about.owner == PLATFORM else about.owner,
    )


# ------------------------------------------------------------------------- the line


async def in_force(
    conn: Connection, machine: Machine, code: object, now: datetime
) -> Discount:
    """The code's discount at this machine: the operator's where both have one.

    Raises `NoDiscountError` for what is unknown, over, used up, stopped, or no code.
    """
    try:
        wanted = folded(code) if isinstance(code, str) else ""
    except BadInputError as exc:
        raise NoDiscountError from exc
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_discounts WHERE code = :code "  # noqa: S608
        "AND owner IN (:operator, :platform) AND is_active = true",
        Discount,
        {
            "code": wanted,
            "operator": machine.operator_user_id,
            "platform": PLATFORM,
        },
    )
    if not found:
        raise NoDiscountError
    # an operator's code is theirs at their machines, used up or not
    one = min(found, key=lambda d: d.owner == PLATFORM)
    begun = one.valid_from is None or one.valid_from <= now
    over = one.valid_until is not None and one.valid_until <= now
    here = one.machine_ids is None or machine.id in one.machine_ids
    if not (begun and not over and here and await _has_uses_left(conn, one, now)):
        raise NoDiscountError
    return one


async def _has_uses_left(conn: Connection, discount: Discount, now: datetime) -> bool:
    if discount.max_uses is not None and discount.uses >= discount.max_uses:
        return False
    most = discount.max_uses_a_day
    return most is None or await _uses_today(conn, discount, now) < most


async def _uses_today(conn: Connection, discount: Discount, now: datetime) -> int:
    """Of the owner's day."""
    owner = super_user() if discount.owner == PLATFORM else discount.owner
    zone = zone_or_utc((await get_preferences(conn, owner)).time_zone)
    row = await fetch_one(
        conn,
        f"SELECT COUNT(*) AS n FROM {S}.dca_discount_uses "  # noqa: S608
        "WHERE discount_id = :id AND used_at >= :since AND given_back_at IS NULL",
        {"id": discount.id, "since": db_time(zone.start_of(zone.day_of(now)))},
    )
    return int(row["n"]) if row else 0


async def take(
    conn: Connection,
    discount: Discount,
    machine_id: str,
    txid: str,
    expires_at: datetime | None,
) -> None:
    """Count a use, in the transaction of the request it is for.

    The counter is moved first: whoever else wants the last use waits for its row, and
    then sees it gone. Raises `NoDiscountError`; the caller rolls back.
    """
    now = utc_now()
    counted = await execute(
        conn,
        f"UPDATE {S}.dca_discounts SET uses = uses + 1 "  # noqa: S608
        "WHERE id = :id AND is_active = true "
        "AND (max_uses IS NULL OR uses < max_uses) "
        "AND (valid_until IS NULL OR valid_until > :now)",
        {"id": discount.id, "now": db_time(now)},
    )
    if counted != 1:
        raise NoDiscountError
    await execute(
        conn,
        f"INSERT INTO {S}.dca_discount_uses "  # noqa: S608
        "(machine_id, txid, discount_id, used_at, expires_at) "
        "VALUES (:machine, :txid, :id, :now, :expires)",
        {
            "machine": machine_id,
            "txid": txid,
            "id": discount.id,
            "now": db_time(now),
            "expires": db_time(expires_at) if expires_at else None,
        },
    )
    most = discount.max_uses_a_day
    if most is not None and await _uses_today(conn, discount, now) > most:
        raise NoDiscountError


async def hold(machine_id: str, txid: str, expires_at: datetime) -> None:
    """Keep a use for as long as the invoice that is about to be made may be paid.

    One that was given back, because nothing came of the request for so long, is taken
    anew, by one of those who ask. Raises `NoDiscountError` if there is none left.
    """
    which = {"machine": machine_id, "txid": txid}
    async with transaction() as conn:
        kept = await execute(
            conn,
            f"UPDATE {S}.dca_discount_uses SET expires_at = :expires "  # noqa: S608
            "WHERE machine_id = :machine AND txid = :txid AND given_back_at IS NULL",
            {**which, "expires": db_time(expires_at)},
        )
        if kept == 1:
            return
        found = await fetch_models(
            conn,
            f"SELECT d.* FROM {S}.dca_discounts d "  # noqa: S608
            f"JOIN {S}.dca_discount_uses u ON u.discount_id = d.id "
            "WHERE u.machine_id = :machine AND u.txid = :txid",
            Discount,
            which,
        )
        if not found:
            raise NoDiscountError
        let_go = await execute(
            conn,
            f"DELETE FROM {S}.dca_discount_uses "  # noqa: S608
            "WHERE machine_id = :machine AND txid = :txid "
            "AND given_back_at IS NOT NULL",
            which,
        )
        if let_go == 1:
            await take(conn, found[0], machine_id, txid, expires_at)


async def count_paid(
    conn: Connection, machine_id: str, payment_hash: str, discount_id: str
) -> None:
    """A sale has landed with its discount: its use counts, and has no end, so that who
    looked before it was paid does not give it back after. One that was given back,
    because the payment came so late, counts again: what was given was given, so this
    may be one more than the owner allowed."""
    of_request = (
        f"UPDATE {S}.dca_discount_uses SET given_back_at = NULL, "  # noqa: S608
        "expires_at = NULL WHERE machine_id = :machine AND txid IN ("
        f"SELECT r.txid FROM {S}.dca_machine_requests r "
        "WHERE r.machine_id = :machine AND r.payment_hash = :hash)"
    )
    which = {"machine": machine_id, "hash": payment_hash}
    if await execute(conn, f"{of_request} AND given_back_at IS NULL", which):
        return
    if await execute(conn, f"{of_request} AND given_back_at IS NOT NULL", which):
        await execute(
            conn,
            f"UPDATE {S}.dca_discounts SET uses = uses + 1 "  # noqa: S608
            "WHERE id = :id",
            {"id": discount_id},
        )


async def give_back_unpaid() -> int:
    """Uses of invoices that expired and were not paid count no more; how many.

    Those that were paid are looked at once: they have no end from then on. LNbits is
    read first, and each use is changed only if it is still over then.
    """
    over = db_time(utc_now() - LATE)
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"""
            SELECT u.machine_id, u.txid, u.discount_id, r.payment_hash, (
                SELECT COUNT(*) FROM {S}.dca_settlements s
                WHERE s.payment_hash = r.payment_hash) AS landed
            FROM {S}.dca_discount_uses u JOIN {S}.dca_machine_requests r
                ON r.machine_id = u.machine_id AND r.txid = u.txid
            WHERE u.given_back_at IS NULL AND u.expires_at < :over
            ORDER BY u.expires_at LIMIT 500
            """,  # noqa: S608
            {"over": over},
        )
    hashes = [row["payment_hash"] for row in found if row["payment_hash"]]
    rows = await rows_by_hash(hashes) if hashes else {}
    given_back = 0
    for use in found:
        seen = rows.get(use["payment_hash"] or "", [])
        is_paid = use["landed"] or any(row.status == "success" for row in seen)
        given_back += await _end(use, over, is_paid=bool(is_paid))
    return given_back


async def _end(use: Mapping[str, Any], over: Any, *, is_paid: bool) -> int:
    """1 if the use was given back."""
    change = "expires_at = NULL" if is_paid else "given_back_at = :now"
    params = {"machine": use["machine_id"], "txid": use["txid"], "over": over}
    if not is_paid:
        params["now"] = db_time(utc_now())
    async with transaction() as conn:
        changed = await execute(
            conn,
            f"UPDATE {S}.dca_discount_uses SET {change} "  # noqa: S608
            "WHERE machine_id = :machine AND txid = :txid "
            "AND given_back_at IS NULL AND expires_at < :over",
            params,
        )
        if is_paid or changed != 1:
            return 0
        return await execute(
            conn,
            f"UPDATE {S}.dca_discounts SET uses = uses - 1 "  # noqa: S608
            "WHERE id = :id AND uses > 0",
            {"id": use["discount_id"]},
        )
