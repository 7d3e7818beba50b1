"""SQL of invitations: nobody is an LP of somebody's before they said yes.

Guaranteed: a row of `dca_clients` is written by the LP's own yes and by nothing else,
with the invitation's id; until then the operator reads `invited`, whoever exists and
whatever was answered: a no looks like no answer. A name that nobody has when it is
invited never comes to life: whose it is, is looked up once and kept.
Not guaranteed: that a link reaches who it was meant for. Its code is used once.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection, dict_to_model
from lnbits.helpers import urlsafe_short_hash
from pydantic import BaseModel, Field

from ..base.audit import write_audit
from ..base.database import (
    db_time,
    execute,
    fetch_all,
    fetch_models,
    fetch_one,
    insert_sql,
    row_params,
    transaction,
)
from ..base.refusals import ConflictError, NotFoundError
from ..crud import lock_ledger
from ..models import Client, utc_now

S = "satoshimachine"
LIFETIME = timedelta(days=14)
OPEN_AT_MOST = 20
NO_INVITATION = "There is no such invitation, or it was answered or is over."
NO_ENROLMENT = "There is no such enrolment of yours."
ENROLLED = "This LP is enrolled at this machine already."

# What its operator reads as `invited`.
UNANSWERED_SQL = "state IN ('open', 'declined')"


class Invitation(BaseModel):
    id: str
    machine_id: str
    operator_user_id: str
    code: str
    username: str | None = None  # as typed
    name_key: str | None = None  # the name in any spelling; of a link none
    user_id: str | None = None  # whose name it was; none: nobody's
    client_id: str | None = None
    state: str = "open"
    created_at: datetime = Field(default_factory=utc_now)
    expires_at: datetime
    answered_at: datetime | None = None


async def invite(
    operator_user_id: str,
    machine_id: str,
    username: str | None = None,
    lp_user_id: str | None = None,
    is_link: bool = False,
) -> Invitation:
    """Invite whoever has this name now; with `is_link` whoever opens the link.

    `ConflictError` for who is enrolled there, for a name that was invited within 14
    days and did not say yes, and for more than 20 that wait.
    """
    now = utc_now()
    invitation = Invitation(
        id=urlsafe_short_hash(),
        machine_id=machine_id,
        operator_user_id=operator_user_id,
        code=secrets.token_urlsafe(16),
        username=username,
        name_key=username.casefold() if username and not is_link else None,
        user_id=lp_user_id,
        created_at=now,
        expires_at=now + LIFETIME,
    )
    async with transaction() as conn:
        await lock_ledger(conn)
        await _check_machine(conn, machine_id, operator_user_id)
        await _check_limits(conn, invitation, now)
        params = row_params(invitation)
        await execute(conn, insert_sql("dca_invitations", params), params)
        await write_audit(
            conn,
            operator_user_id,
            "client.invite",
            "client",
            invitation.id,
            None,
            {"username": username, "status": "invited"},
            operator_user_id=operator_user_id,
            machine_id=machine_id,
            client_user_id=lp_user_id,
        )
    return invitation


async def _check_machine(conn: Connection, machine_id: str, operator: str) -> None:
    machine = await fetch_one(
        conn,
        f"SELECT id FROM {S}.dca_machines "  # noqa: S608
        "WHERE id = :id AND operator_user_id = :user",
        {"id": machine_id, "user": operator},
    )
    if machine is None:
        raise NotFoundError("There is no such machine of yours.")


async def _check_limits(
    conn: Connection, invitation: Invitation, now: datetime
) -> None:
    """The same for a name that nobody has: what is refused tells nothing of others."""
    if await _is_enrolled(conn, invitation):
        raise ConflictError(ENROLLED)
    present = await fetch_all(
        conn,
        f"""
        SELECT i.state, i.name_key, i.machine_id, c.status
        FROM {S}.dca_invitations i
        LEFT JOIN {S}.dca_clients c ON c.id = i.client_id
        WHERE i.operator_user_id = :operator AND i.expires_at > :now
        """,  # noqa: S608
        {"operator": invitation.operator_user_id, "now": db_time(now)},
    )
    # who said yes is an LP like any other, until they leave
    waiting = [r for r in present if r["state"] != "accepted" or r["status"] == "left"]
    name = invitation.name_key
    if name and any(r["name_key"] == name for r in waiting):
        raise ConflictError(
            "You have invited this person already: one invitation in 14 days."
        )
    # one that was withdrawn has told its person already
    counted = [r for r in waiting if r["state"] != "withdrawn" or r["name_key"]]
    if len([r for r in counted if r["state"] != "accepted"]) >= OPEN_AT_MOST:
        raise ConflictError(
            f"You have {OPEN_AT_MOST} invitations that wait for an answer: wait for "
            "answers, or until the oldest is over (14 days)."
        )


async def _is_enrolled(conn: Connection, invitation: Invitation) -> bool:
    if not invitation.user_id:
        return False
    row = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.dca_clients WHERE machine_id = :machine "  # noqa: S608
        "AND user_id = :user AND status <> 'left'",
        {"machine": invitation.machine_id, "user": invitation.user_id},
    )
    return row is not None


# ------------------------------------------------------------------ the operator's view


async def get_own_invitation(
    conn: Connection, invitation_id: str, operator_user_id: str
) -> Invitation | None:
    """An invitation of this operator's that looks unanswered to them."""
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_invitations WHERE id = :id "  # noqa: S608
        f"AND operator_user_id = :user AND {UNANSWERED_SQL} AND expires_at > :now",
        Invitation,
        {"id": invitation_id, "user": operator_user_id, "now": db_time(utc_now())},
    )
    return found[0] if found else None


async def withdraw(operator_user_id: str, invitation_id: str) -> bool:
    """Take an invitation back; False if there is none that waits."""
    async with transaction() as conn:
        await lock_ledger(conn)
        present = await get_own_invitation(conn, invitation_id, operator_user_id)
        if present is None:
            return False
        await _answer(conn, present, "withdrawn")
        await write_audit(
            conn,
            operator_user_id,
            "client.withdraw",
            "client",
            invitation_id,
            {"status": "invited"},
            None,
            operator_user_id=operator_user_id,
            machine_id=present.machine_id,
            client_user_id=present.user_id,
        )
    return True


async def _answer(
    conn: Connection, invitation: Invitation, state: str, **more: Any
) -> None:
    written = {"state": state, "answered_at": db_time(utc_now()), **more}
    await execute(
        conn,
        f"UPDATE {S}.dca_invitations "  # noqa: S608
        f"SET {', '.join(f'{k} = :{k}' for k in written)} WHERE id = :id",
        {**written, "id": invitation.id},
    )


# ------------------------------------------------------------------------ the LP's view


async def open_invitations(conn: Connection, user_id: str) -> list[Mapping[str, Any]]:
    """What waits for this user's yes, newest first, with its machine."""
    return await fetch_all(
        conn,
        f"""
        SELECT i.id, i.machine_id, i.operator_user_id, 'invited' AS status,
            i.created_at, i.expires_at, m.name, m.machine_npub, m.fiat_code
        FROM {S}.dca_invitations i JOIN {S}.dca_machines m ON m.id = i.machine_id
        WHERE i.user_id = :user AND i.state = 'open' AND i.expires_at > :now
        ORDER BY i.created_at DESC, i.id
        """,  # noqa: S608
        {"user": user_id, "now": db_time(utc_now())},
    )


async def with_machine(conn: Connection, invitation_id: str) -> Mapping[str, Any]:
    """An invitation, in whatever state, with its machine."""
    row = await fetch_one(
        conn,
        f"""
        SELECT i.id, i.machine_id, i.operator_user_id, i.created_at, i.expires_at,
            m.name, m.machine_npub, m.fiat_code
        FROM {S}.dca_invitations i JOIN {S}.dca_machines m ON m.id = i.machine_id
        WHERE i.id = :id
        """,  # noqa: S608
        {"id": invitation_id},
    )
    if row is None:
        raise NotFoundError(NO_INVITATION)
    return row


async def enrolments(conn: Connection, user_id: str) -> list[Mapping[str, Any]]:
    """The machines that this user said yes to, newest first."""
    return await fetch_all(
        conn,
        f"""
        SELECT c.id, c.machine_id, m.operator_user_id, c.status, c.created_at,
            m.name, m.machine_npub, m.fiat_code
        FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
        WHERE c.user_id = :user ORDER BY c.created_at DESC, c.id
        """,  # noqa: S608
        {"user": user_id},
    )


async def take_link(code: str, user_id: str) -> Invitation:
    """The open invitation behind a link, which is this user's from now on.

    `NotFoundError` for a code that is unknown, over, answered or another user's.
    """
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await _by_code(conn, code, user_id)
        if found.user_id is None:
            await execute(
                conn,
                f"UPDATE {S}.dca_invitations SET user_id = :user "  # noqa: S608
                "WHERE id = :id AND user_id IS NULL",
                {"user": user_id, "id": found.id},
            )
    return found.copy(update={"user_id": user_id})


async def read_link(conn: Connection, code: str, user_id: str) -> Invitation:
    """The same, without taking it."""
    return await _by_code(conn, code, user_id)


async def _by_code(conn: Connection, code: str, user_id: str) -> Invitation:
    """A name's invitation has a code too, which only the named may use: one of a name
    that nobody had is nobody's for good."""
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_invitations "  # noqa: S608
        "WHERE code = :code AND state = 'open' AND expires_at > :now "
        "AND (user_id = :user OR (user_id IS NULL AND name_key IS NULL))",
        Invitation,
        {"code": code, "user": user_id, "now": db_time(utc_now())},
    )
    if not found:
        raise NotFoundError(NO_INVITATION)
    return found[0]


async def _open_for(conn: Connection, invitation_id: str, user_id: str) -> Invitation:
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_invitations WHERE id = :id "  # noqa: S608
        "AND user_id = :user AND state = 'open' AND expires_at > :now",
        Invitation,
        {"id": invitation_id, "user": user_id, "now": db_time(utc_now())},
    )
    if not found:
        raise NotFoundError(NO_INVITATION)
    return found[0]


async def accept(invitation_id: str, user_id: str, username: str | None) -> Client:
    """The LP's yes: from now on they are enrolled, with the invitation's id.

    Who had left comes back to the enrolment they had, with its balance.
    """
    async with transaction() as conn:
        await lock_ledger(conn)
        invitation = await _open_for(conn, invitation_id, user_id)
        client = await _enrolled(conn, invitation, user_id, username)
        await _answer(conn, invitation, "accepted", client_id=client.id)
        await write_audit(
            conn,
            user_id,
            "client.accept",
            "client",
            client.id,
            {"status": "invited"},
            {"username": client.username, "status": client.status},
            operator_user_id=invitation.operator_user_id,
            machine_id=invitation.machine_id,
            client_user_id=user_id,
        )
    return client


async def _enrolled(
    conn: Connection, invitation: Invitation, user_id: str, username: str | None
) -> Client:
    """The row of who says yes: a new one, or theirs of before they left."""
    client = Client(
        id=invitation.id,
        machine_id=invitation.machine_id,
        user_id=user_id,
        username=invitation.username or username,
    )
    params = row_params(client)
    inserted = await execute(
        conn, insert_sql("dca_clients", params, "ON CONFLICT DO NOTHING"), params
    )
    if inserted:
        return client
    key = {"machine": invitation.machine_id, "user": user_id}
    await execute(
        conn,
        f"UPDATE {S}.dca_clients SET status = 'active', updated_at = :now "  # noqa: S608
        "WHERE machine_id = :machine AND user_id = :user AND status = 'left'",
        {**key, "now": db_time(utc_now())},
    )
    (present,) = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_clients "  # noqa: S608
        "WHERE machine_id = :machine AND user_id = :user",
        Client,
        key,
    )
    return present


async def decline(
    invitation_id: str, user_id: str, reason: str | None = None
) -> Invitation:
    """The LP's no, which only they can see."""
    async with transaction() as conn:
        await lock_ledger(conn)
        invitation = await _open_for(conn, invitation_id, user_id)
        await _answer(conn, invitation, "declined")
        await write_audit(
            conn,
            user_id,
            "client.decline",
            "client",
            invitation.id,
            {"status": "invited"},
            {"status": "declined"},
            reason,
            client_user_id=user_id,
        )
    return invitation


async def leave(client_id: str, user_id: str, reason: str | None = None) -> Client:
    """No new legs for this LP at this machine; what they are owed stays owed."""
    async with transaction() as conn:
        await lock_ledger(conn)
        row = await fetch_one(
            conn,
            f"""
            SELECT c.*, m.operator_user_id
            FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
            WHERE c.id = :id AND c.user_id = :user
            """,  # noqa: S608
            {"id": client_id, "user": user_id},
        )
        if row is None:
            raise NotFoundError(NO_ENROLMENT)
        if row["status"] == "left":
            raise ConflictError("You have left this machine already.")
        await execute(
            conn,
            f"UPDATE {S}.dca_clients SET status = 'left', updated_at = :now "  # noqa: S608
            "WHERE id = :id AND user_id = :user",
            {"id": client_id, "user": user_id, "now": db_time(utc_now())},
        )
        await write_audit(
            conn,
            user_id,
            "client.leave",
            "client",
            client_id,
            {"status": row["status"]},
            {"status": "left"},
            reason,
            operator_user_id=row["operator_user_id"],
            machine_id=row["machine_id"],
            client_user_id=user_id,
        )
    return dict_to_model({**row, "status": "left"}, Client)
