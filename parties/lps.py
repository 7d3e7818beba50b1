"""LPs: who is enrolled where, what they prefer, and the cash they handed over.

An LP's balance at a machine is what they deposited (confirmed) less the fiat of their
`dca` and `settlement` legs in every status but `voided` and `refunded`. Whatever
changes it begins with the ledger lock, so that nothing is planned from a balance that
is being taken back. An LP's LNbits user id never leaves this layer towards anybody
else: operators see `username` and our own ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..base.audit import changed, write_audit
from ..base.database import transaction
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..crud import lock_ledger
from ..models import Client, LpProfile, utc_now
from . import lps_crud as sql

LEFT = "This LP has left this machine: only they can come back, by an invitation."


# ---------------------------------------------------------------------------- clients


async def update_client(
    operator_user_id: str, client_id: str, changes: Mapping[str, Any]
) -> Client:
    """Change `status` or `username` of a client of this operator's.

    `ConflictError` for a status that is the LP's own to choose.
    """
    async with transaction() as conn:
        await lock_ledger(conn)
        before, _, _ = await sql.get_own_client(conn, client_id, operator_user_id)
        old, new = changed(before.dict(), dict(changes))
        if not new:
            return before
        if "status" in new and before.status == "left":
            raise ConflictError(LEFT)
        if new.get("status") not in (None, "active", "paused"):
            raise BadInputError("status must be active or paused.")
        written = {**new, "updated_at": utc_now()}
        after = before.copy(update=written)
        await sql.write_client(conn, operator_user_id, after, written)
        await write_audit(
            conn,
            operator_user_id,
            "client.change",
            "client",
            client_id,
            old,
            new,
            operator_user_id=operator_user_id,
            machine_id=before.machine_id,
            client_user_id=before.user_id,
        )
    return after


async def delete_client(operator_user_id: str, client_id: str) -> None:
    """Take an LP off a machine; `ConflictError` once there is money history."""
    async with transaction() as conn:
        await lock_ledger(conn)
        client, _, _ = await sql.get_own_client(conn, client_id, operator_user_id)
        if await sql.has_history(conn, client_id):
            raise ConflictError(
                "This LP has money history, which is never deleted. Pause them instead."
            )
        await sql.delete_client(conn, operator_user_id, client_id)
        await write_audit(
            conn,
            operator_user_id,
            "client.delete",
            "client",
            client_id,
            {"username": client.username, "status": client.status},
            None,
            operator_user_id=operator_user_id,
            machine_id=client.machine_id,
            client_user_id=client.user_id,
        )


# -------------------------------------------------------------------- LP preferences


async def create_profile(user_id: str, fields: Mapping[str, Any]) -> None:
    """The onboarding of an LP; `ConflictError` if they have a profile."""
    profile = LpProfile(user_id=user_id, **fields)
    _check_profile(profile.dict())
    async with transaction() as conn:
        await lock_ledger(conn)
        if not await sql.insert_profile(conn, profile):
            raise ConflictError(
                "You have a profile already: change it instead (PUT /lp)."
            )
        await write_audit(
            conn,
            user_id,
            "lp.create",
            "lp",
            "profile",
            None,
            {k: v for k, v in profile.dict().items() if k in fields},
            client_user_id=user_id,
        )


async def update_profile(user_id: str, changes: Mapping[str, Any]) -> None:
    """Change the preferences named. `NotFoundError` without a profile."""
    async with transaction() as conn:
        await lock_ledger(conn)
        before = await sql.get_profile(conn, user_id)
        if before is None:
            raise NotFoundError("You have no LP profile yet: choose a wallet first.")
        _check_profile({**before, **changes})
        old, new = changed(before, dict(changes))
        if not new:
            return
        written = {**new, "updated_at": utc_now()}
        await sql.write_profile(conn, user_id, written)
        await write_audit(
            conn,
            user_id,
            "lp.change",
            "lp",
            "profile",
            old,
            new,
            client_user_id=user_id,
        )


def _check_profile(profile: Mapping[str, Any]) -> None:
    if profile["autoforward_enabled"] and not profile["autoforward_ln_address"]:
        raise BadInputError(
            "autoforward_ln_address is missing: forwarding needs an address to "
            "forward to."
        )
