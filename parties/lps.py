"""SQL of LPs: who is enrolled where, what they prefer, and the cash they handed over.

An LP's balance at a machine is what they deposited (confirmed) less the fiat of their
`dca` and `settlement` legs in every status but `voided` and `refunded`. Whatever
changes it begins with the ledger lock, so that nothing is planned from a balance that
is being taken back. An LP's LNbits user id never leaves this layer towards anybody
else: operators see `username` and our own ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lnbits.db import Connection, dict_to_model

from ..base.audit import changed, write_audit
from ..base.database import (
    cents_sql,
    db_time,
    execute,
    fetch_models,
    fetch_one,
    insert_sql,
    row_params,
    transaction,
)
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..crud import lock_ledger
from ..models import CENT, Client, LpProfile, utc_now
from .invitations_crud import get_own_invitation

S = "satoshimachine"
NO_CLIENT = "There is no such LP of yours."
NOT_YET = "This LP has not said yes to your invitation yet."
LEFT = "This LP has left this machine: only they can come back, by an invitation."


def deposited_cents_sql(client: str, status: str = "confirmed") -> str:
    """Minor units of a client's deposits in that status, as a scalar expression."""
    return (
        f"COALESCE((SELECT SUM({cents_sql('d.amount')}) "  # noqa: S608
        f"FROM {S}.dca_deposits d "
        f"WHERE d.client_id = {client} AND d.status = '{status}'), 0)"
    )


def debited_cents_sql(client: str) -> str:
    """Minor units that legs took off a client's balance: the running total that is
    kept in the transaction of every leg that debits or gives back."""
    return (
        f"COALESCE((SELECT t.debited_cents FROM {S}.dca_client_totals t "  # noqa: S608
        f"WHERE t.client_id = {client}), 0)"
    )


ON_THE_WAY = "p.status IN ('pending', 'failed')"


def received_sql(client: str, column: str = "received_sats") -> str:
    """What a client's legs brought them (or `received_cents`, what they took for it):
    the running total that is kept in the transaction that finishes a leg."""
    return (
        f"COALESCE((SELECT t.{column} FROM {S}.dca_client_totals t "  # noqa: S608
        f"WHERE t.client_id = {client}), 0)"
    )


def on_the_way_sql(client: str) -> str:
    """Sats that are still owed to a client, as a scalar expression."""
    return (
        "COALESCE((SELECT SUM(p.amount_sats) "  # noqa: S608
        f"FROM {S}.dca_payments p WHERE p.client_id = {client} "
        f"AND p.leg_type IN ('dca', 'settlement') AND {ON_THE_WAY}), 0)"
    )


# ---------------------------------------------------------------------------- clients


def owner_sql(machine: str, is_super: bool) -> str:
    """The operator's own rows; the super acts on deposits of any machine."""
    return "1 = 1" if is_super else f"{machine}.operator_user_id = :user"


async def get_own_client(
    conn: Connection, client_id: str, user_id: str, is_super: bool = False
) -> tuple[Client, str, str]:
    """A client with their machine's currency and operator. `NotFoundError` if it is
    not at one of this operator's machines."""
    params = {"id": client_id} if is_super else {"id": client_id, "user": user_id}
    row = await fetch_one(
        conn,
        f"""
        SELECT c.*, m.fiat_code, m.operator_user_id
        FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
        WHERE c.id = :id AND {owner_sql("m", is_super)}
        """,  # noqa: S608
        params,
    )
    if row is None:
        if await get_own_invitation(conn, client_id, user_id):
            raise ConflictError(NOT_YET)
        raise NotFoundError(NO_CLIENT)
    return dict_to_model(dict(row), Client), row["fiat_code"], row["operator_user_id"]


async def update_client(
    operator_user_id: str, client_id: str, changes: Mapping[str, Any]
) -> Client:
    """Change `status` or `username` of a client of this operator's.

    `ConflictError` for a status that is the LP's own to choose.
    """
    async with transaction() as conn:
        await lock_ledger(conn)
        before, _, _ = await get_own_client(conn, client_id, operator_user_id)
        old, new = changed(before.dict(), dict(changes))
        if not new:
            return before
        if "status" in new and before.status == "left":
            raise ConflictError(LEFT)
        if new.get("status") not in (None, "active", "paused"):
            raise BadInputError("status must be active or paused.")
        written = {**new, "updated_at": utc_now()}
        after = before.copy(update=written)
        params = row_params(after)
        await execute(
            conn,
            f"""
            UPDATE {S}.dca_clients SET {", ".join(f"{k} = :{k}" for k in written)}
            WHERE id = :id AND machine_id IN (
                SELECT id FROM {S}.dca_machines WHERE operator_user_id = :user)
            """,  # noqa: S608
            {
                **{k: params[k] for k in written},
                "id": client_id,
                "user": operator_user_id,
            },
        )
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
        client, _, _ = await get_own_client(conn, client_id, operator_user_id)
        history = await fetch_one(
            conn,
            f"""
            SELECT EXISTS (SELECT 1 FROM {S}.dca_deposits WHERE client_id = :id)
                OR EXISTS (SELECT 1 FROM {S}.dca_payments WHERE client_id = :id) AS yes
            """,  # noqa: S608
            {"id": client_id},
        )
        if history and history["yes"]:
            raise ConflictError(
                "This LP has money history, which is never deleted. Pause them instead."
            )
        await execute(
            conn,
            f"""
            DELETE FROM {S}.dca_clients WHERE id = :id AND machine_id IN (
                SELECT id FROM {S}.dca_machines WHERE operator_user_id = :user)
            """,  # noqa: S608
            {"id": client_id, "user": operator_user_id},
        )
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


async def get_profile(conn: Connection, user_id: str) -> dict[str, Any] | None:
    """The LP's row as it stands: the companion extension writes here too, so nothing
    is taken for granted about its values."""
    row = await fetch_one(
        conn,
        f"SELECT * FROM {S}.dca_lp WHERE user_id = :user",  # noqa: S608
        {"user": user_id},
    )
    if row is None:
        return None
    profile = dict(row)
    profile["fixed_mode_daily_limit"] = _limit_or_none(row["fixed_mode_daily_limit"])
    profile["autoforward_enabled"] = bool(row["autoforward_enabled"])
    profile["notify_payouts"] = bool(row["notify_payouts"])
    return profile


def _limit_or_none(value: Any) -> Decimal | None:
    try:
        limit = Decimal(str(value)).quantize(CENT) if value is not None else None
    except InvalidOperation:
        return None
    return limit if limit is None or limit.is_finite() else None


async def create_profile(user_id: str, fields: Mapping[str, Any]) -> None:
    """The onboarding of an LP; `ConflictError` if they have a profile."""
    profile = LpProfile(user_id=user_id, **fields)
    _check_profile(profile.dict())
    async with transaction() as conn:
        await lock_ledger(conn)
        params = row_params(profile)
        inserted = await execute(
            conn, insert_sql("dca_lp", params, "ON CONFLICT DO NOTHING"), params
        )
        if not inserted:
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
        before = await get_profile(conn, user_id)
        if before is None:
            raise NotFoundError("You have no LP profile yet: choose a wallet first.")
        _check_profile({**before, **changes})
        old, new = changed(before, dict(changes))
        if not new:
            return
        written = {**new, "updated_at": utc_now()}
        await execute(
            conn,
            f"UPDATE {S}.dca_lp "  # noqa: S608
            f"SET {', '.join(f'{k} = :{k}' for k in written)} WHERE user_id = :user",
            {**_profile_params(written), "user": user_id},
        )
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


def _profile_params(written: Mapping[str, Any]) -> dict[str, Any]:
    params = dict(written)
    params["updated_at"] = db_time(params["updated_at"])
    if isinstance(params.get("fixed_mode_daily_limit"), Decimal):
        params["fixed_mode_daily_limit"] = format(params["fixed_mode_daily_limit"], "f")
    return params


def _check_profile(profile: Mapping[str, Any]) -> None:
    if profile["autoforward_enabled"] and not profile["autoforward_ln_address"]:
        raise BadInputError(
            "autoforward_ln_address is missing: forwarding needs an address to "
            "forward to."
        )


async def clients_of_user(conn: Connection, user_id: str) -> list[Client]:
    """Every enrolment of this LP."""
    return await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_clients WHERE user_id = :user "  # noqa: S608
        "ORDER BY created_at, id",
        Client,
        {"user": user_id},
    )
