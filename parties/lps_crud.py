"""SQL of LPs: enrolments, preferences, and what their balances are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lnbits.db import Connection, dict_to_model

from ..base.database import (
    cents_sql,
    db_time,
    execute,
    fetch_models,
    fetch_one,
    insert_sql,
    row_params,
)
from ..base.refusals import ConflictError, NotFoundError
from ..models import CENT, Client, LpProfile
from .invitations_crud import get_own_invitation

S = "satoshimachine"
NO_CLIENT = "There is no such LP of yours."
NOT_YET = "This LP has not said yes to your invitation yet."


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


async def has_history(conn: Connection, client_id: str) -> bool:
    """Whether cash or sats were ever recorded for this client."""
    row = await fetch_one(
        conn,
        f"""
        SELECT EXISTS (SELECT 1 FROM {S}.dca_deposits WHERE client_id = :id)
            OR EXISTS (SELECT 1 FROM {S}.dca_payments WHERE client_id = :id) AS yes
        """,  # noqa: S608
        {"id": client_id},
    )
    return bool(row and row["yes"])


async def write_client(
    conn: Connection, operator_user_id: str, client: Client, columns: Iterable[str]
) -> None:
    """Write these columns of a client at one of this operator's machines."""
    params = row_params(client)
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_clients SET {", ".join(f"{k} = :{k}" for k in columns)}
        WHERE id = :id AND machine_id IN (
            SELECT id FROM {S}.dca_machines WHERE operator_user_id = :user)
        """,  # noqa: S608
        {**{k: params[k] for k in columns}, "id": client.id, "user": operator_user_id},
    )


async def delete_client(
    conn: Connection, operator_user_id: str, client_id: str
) -> None:
    await execute(
        conn,
        f"""
        DELETE FROM {S}.dca_clients WHERE id = :id AND machine_id IN (
            SELECT id FROM {S}.dca_machines WHERE operator_user_id = :user)
        """,  # noqa: S608
        {"id": client_id, "user": operator_user_id},
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


async def insert_profile(conn: Connection, profile: LpProfile) -> int:
    """Rows written: 0 if this LP has a profile."""
    params = row_params(profile)
    return await execute(
        conn, insert_sql("dca_lp", params, "ON CONFLICT DO NOTHING"), params
    )


async def write_profile(
    conn: Connection, user_id: str, written: Mapping[str, Any]
) -> None:
    """Write the preferences named."""
    await execute(
        conn,
        f"UPDATE {S}.dca_lp "  # noqa: S608
        f"SET {', '.join(f'{k} = :{k}' for k in written)} WHERE user_id = :user",
        {**_profile_params(written), "user": user_id},
    )


def _profile_params(written: Mapping[str, Any]) -> dict[str, Any]:
    params = dict(written)
    params["updated_at"] = db_time(params["updated_at"])
    if isinstance(params.get("fixed_mode_daily_limit"), Decimal):
        params["fixed_mode_daily_limit"] = format(params["fixed_mode_daily_limit"], "f")
    return params
