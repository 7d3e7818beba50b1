"""SQL of an operator's people: who works for whom, as what, and since when.

Guaranteed: nobody works for an operator before they said yes to a code, which is used
once and is good for 14 days; whoever was removed, by either side, is out at their next
request, and their row stays, so that the log goes on naming them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash
from pydantic import BaseModel, Field

from ..base.acting import Acting
from ..base.audit import write_audit
from ..base.database import (
    db,
    db_time,
    execute,
    fetch_all,
    fetch_models,
    in_list,
    insert_sql,
    row_params,
    transaction,
)
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..crud import lock_ledger
from ..models import utc_now

S = "satoshimachine"
LIFETIME = timedelta(days=14)
OPEN_AT_MOST = 20
# how exactly it is known when somebody was here: a page asks every few seconds
SEEN_EVERY = timedelta(minutes=5)
NO_STAFF = "There is nobody of yours with this id."
NO_INVITATION = "There is no such invitation, or it was answered or is over."
OPEN, ACTIVE, DECLINED, REMOVED = "invited", "active", "declined", "removed"


class Staff(BaseModel):
    """One person's work for one operator, from the invitation to the end."""

    id: str
    operator_user_id: str
    user_id: str | None = None
    name: str | None = None
    role: str
    machines_json: str | None = None
    status: str = OPEN
    code: str
    created_at: datetime = Field(default_factory=utc_now)
    expires_at: datetime
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    last_seen_at: datetime | None = None

    @property
    def machine_ids(self) -> list[str] | None:
        """Those that were named; None: all, also later ones."""
        return json.loads(self.machines_json) if self.machines_json else None

    @property
    def acting(self) -> Acting:
        ids = self.machine_ids
        return Acting(
            str(self.user_id),
            self.operator_user_id,
            self.role,
            None if ids is None else tuple(ids),
        )


# ------------------------------------------------------------------------ who works


async def works_for(user_id: str) -> list[Staff]:
    """Where this person's yes stands."""
    async with db.connect() as conn:
        return await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_staff WHERE user_id = :user "  # noqa: S608
            "AND status = 'active' ORDER BY created_at, id",
            Staff,
            {"user": user_id},
        )


async def note_seen(staff: Staff) -> None:
    """They ask for something in their work now: kept to a few minutes."""
    now = utc_now()
    if staff.last_seen_at and staff.last_seen_at > now - SEEN_EVERY:
        return
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE {S}.dca_staff SET last_seen_at = :now "  # noqa: S608
            "WHERE id = :id AND status = 'active'",
            {"id": staff.id, "now": db_time(now)},
        )


async def owns_a_machine(user_id: str) -> bool:
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT 1 AS yes FROM {S}.dca_machines "  # noqa: S608
            "WHERE operator_user_id = :user LIMIT 1",
            {"user": user_id},
        )
    return bool(found)


# ----------------------------------------------------------------------- the operator


async def staff_of(conn: Connection, operator_user_id: str) -> list[Staff]:
    """Who works for them, and whom they asked within 14 days."""
    return await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_staff WHERE operator_user_id = :user "  # noqa: S608
        "AND (status = 'active' OR (status IN ('invited', 'declined') "
        "AND expires_at > :now)) ORDER BY created_at, id",
        Staff,
        {"user": operator_user_id, "now": db_time(utc_now())},
    )


async def _own(conn: Connection, staff_id: str, operator_user_id: str) -> Staff:
    for one in await staff_of(conn, operator_user_id):
        if one.id == staff_id:
            return one
    raise NotFoundError(NO_STAFF)


async def _machines_json(
    conn: Connection, operator_user_id: str, machine_ids: Sequence[str] | None
) -> str | None:
    """The named machines as they are kept, if they are the operator's."""
    if machine_ids is None:
        return None
    wanted = sorted(set(machine_ids))
    if not wanted:
        raise BadInputError("Name at least one machine, or leave machine_ids out.")
    params: dict[str, str] = {"user": operator_user_id}
    found = await fetch_all(
        conn,
        f"SELECT id FROM {S}.dca_machines WHERE operator_user_id = :user "  # noqa: S608
        f"AND id IN {in_list('m', wanted, params)}",
        params,
    )
    if len(found) != len(wanted):
        raise NotFoundError("There is no such machine of yours.")
    return json.dumps(wanted)


async def invite(
    operator_user_id: str,
    role: str,
    machine_ids: Sequence[str] | None,
    name: str | None,
) -> Staff:
    """A code with which one person says yes to this role."""
    now = utc_now()
    async with transaction() as conn:
        await lock_ledger(conn)
        staff = Staff(
            id=urlsafe_short_hash(),
            operator_user_id=operator_user_id,
            name=name,
            role=role,
            machines_json=await _machines_json(conn, operator_user_id, machine_ids),
            code=secrets.token_urlsafe(16),
            created_at=now,
            expires_at=now + LIFETIME,
        )
        waiting = [
            s for s in await staff_of(conn, operator_user_id) if s.status != ACTIVE
        ]
        if len(waiting) >= OPEN_AT_MOST:
            raise ConflictError(
                f"You have {OPEN_AT_MOST} invitations that wait for an answer: take "
                "one back first."
            )
        params = row_params(staff)
        await execute(conn, insert_sql("dca_staff", params), params)
        await _audit(conn, operator_user_id, "invite", staff, staff.user_id)
    return staff


async def change(
    operator_user_id: str,
    staff_id: str,
    role: str | None,
    machine_ids: Sequence[str] | None,
    *,
    names_machines: bool,
) -> Staff:
    """Another role, or other machines: from the next request on."""
    async with transaction() as conn:
        await lock_ledger(conn)
        before = await _own(conn, staff_id, operator_user_id)
        machines = before.machines_json
        if names_machines:
            machines = await _machines_json(conn, operator_user_id, machine_ids)
        after = before.copy(
            update={"role": role or before.role, "machines_json": machines}
        )
        await execute(
            conn,
            f"UPDATE {S}.dca_staff SET role = :role, machines_json = :machines "  # noqa: S608
            "WHERE id = :id AND operator_user_id = :user",
            {
                "role": after.role,
                "machines": machines,
                "id": staff_id,
                "user": operator_user_id,
            },
        )
        await _audit(conn, operator_user_id, "change", after, after.user_id, before)
    return after


async def remove(operator_user_id: str, staff_id: str) -> None:
    """Out from their next request on; an invitation is good no more."""
    async with transaction() as conn:
        await lock_ledger(conn)
        staff = await _own(conn, staff_id, operator_user_id)
        await _end(conn, staff, REMOVED)
        await _audit(conn, operator_user_id, "remove", staff, staff.user_id)


async def leave(user_id: str, staff_id: str) -> None:
    """The person's own word: they work for this operator no more."""
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_staff WHERE id = :id "  # noqa: S608
            "AND user_id = :user AND status = 'active'",
            Staff,
            {"id": staff_id, "user": user_id},
        )
        if not found:
            raise NotFoundError(NO_STAFF)
        await _end(conn, found[0], REMOVED)
        await _audit(conn, user_id, "leave", found[0], user_id)


async def _end(conn: Connection, staff: Staff, status: str) -> None:
    await execute(
        conn,
        f"UPDATE {S}.dca_staff SET status = :status, ended_at = :now "  # noqa: S608
        "WHERE id = :id",
        {"status": status, "now": db_time(utc_now()), "id": staff.id},
    )


# ------------------------------------------------------------------------ the person


async def read_code(code: str) -> Staff | None:
    """An invitation that waits behind this code; None if it is none of staff."""
    async with db.connect() as conn:
        found = await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_staff WHERE code = :code "  # noqa: S608
            "AND status = 'invited' AND expires_at > :now",
            Staff,
            {"code": code, "now": db_time(utc_now())},
        )
    return found[0] if found else None


async def answer(
    code: str, user_id: str, username: str | None, *, is_yes: bool
) -> Staff:
    """Use a code up. `ConflictError` for who works for this operator already."""
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_staff WHERE code = :code "  # noqa: S608
            "AND status = 'invited' AND expires_at > :now",
            Staff,
            {"code": code, "now": db_time(utc_now())},
        )
        if not found:
            raise NotFoundError(NO_INVITATION)
        staff = found[0]
        if is_yes:
            await _check_is_new(conn, staff, user_id)
        after = staff.copy(
            update={
                "user_id": user_id,
                "name": username or staff.name,
                "status": ACTIVE if is_yes else DECLINED,
            }
        )
        await execute(
            conn,
            f"UPDATE {S}.dca_staff SET user_id = :user, name = :name, "  # noqa: S608
            "status = :status, answered_at = :now WHERE id = :id",
            {
                "user": user_id if is_yes else None,
                "name": after.name if is_yes else staff.name,
                "status": after.status,
                "now": db_time(utc_now()),
                "id": staff.id,
            },
        )
        if is_yes:
            await _audit(conn, user_id, "accept", after, user_id)
    return after


async def _check_is_new(conn: Connection, staff: Staff, user_id: str) -> None:
    if user_id == staff.operator_user_id:
        raise ConflictError("These are your own machines: send the link to somebody.")
    there = await staff_of(conn, staff.operator_user_id)
    if any(s.user_id == user_id and s.status == ACTIVE for s in there):
        raise ConflictError("You work for this operator already.")


async def _audit(
    conn: Connection,
    actor: str,
    action: str,
    staff: Staff,
    person: str | None,
    before: Staff | None = None,
) -> None:
    await write_audit(
        conn,
        actor,
        f"staff.{action}",
        "staff",
        staff.id,
        None if before is None else {"role": before.role, "username": before.name},
        {"role": staff.role, "username": staff.name},
        operator_user_id=staff.operator_user_id,
        client_user_id=person,
    )
