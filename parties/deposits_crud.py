"""SQL of the cash that LPs handed over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from lnbits.db import Connection, dict_to_model

from ..base.database import db_time, execute, fetch_one, insert_sql, row_params
from ..base.refusals import ConflictError, NotFoundError
from ..models import Client, Deposit
from .lps_crud import NO_CLIENT, debited_cents_sql, deposited_cents_sql, owner_sql

S = "satoshimachine"
NO_DEPOSIT = "There is no such deposit of yours."
CHANGED = "Somebody else has just changed this deposit."


class Found(NamedTuple):
    """A deposit, its operator and its LP's user id."""

    deposit: Deposit
    operator: str
    lp: str


async def get_own_deposit(
    conn: Connection, deposit_id: str, user_id: str, is_super: bool = False
) -> Found:
    """A deposit at the operator's machines. `NotFoundError` otherwise."""
    params = {"id": deposit_id} if is_super else {"id": deposit_id, "user": user_id}
    return await _found(conn, owner_sql("m", is_super), params)


async def lps_deposit(conn: Connection, deposit_id: str, user_id: str) -> Found:
    """A deposit of this LP's own."""
    params = {"id": deposit_id, "user": user_id}
    return await _found(conn, "c.user_id = :user", params)


async def _found(conn: Connection, whose: str, params: Mapping[str, Any]) -> Found:
    row = await fetch_one(
        conn,
        f"""
        SELECT d.*, m.operator_user_id, c.user_id AS lp_user_id
        FROM {S}.dca_deposits d
        JOIN {S}.dca_machines m ON m.id = d.machine_id
        LEFT JOIN {S}.dca_clients c ON c.id = d.client_id
        WHERE d.id = :id AND {whose}
        """,  # noqa: S608
        params,
    )
    if row is None:
        raise NotFoundError(NO_DEPOSIT)
    deposit = dict_to_model(dict(row), Deposit)
    return Found(deposit, row["operator_user_id"], row["lp_user_id"] or "")


async def write_deposit(
    conn: Connection, before: Deposit, changes: Mapping[str, Any]
) -> Deposit:
    """Write the changes, if the row still is as it was read."""
    after = before.copy(update=dict(changes))
    params = row_params(after)
    written = await execute(
        conn,
        f"UPDATE {S}.dca_deposits "  # noqa: S608
        f"SET {', '.join(f'{k} = :{k}' for k in changes)} "
        "WHERE id = :id AND status = :was",
        {**{k: params[k] for k in (*changes, "id")}, "was": before.status},
    )
    if not written:
        raise ConflictError(CHANGED)
    return after


async def insert_deposit(conn: Connection, deposit: Deposit) -> None:
    params = row_params(deposit)
    await execute(conn, insert_sql("dca_deposits", params), params)


async def enrolled(
    conn: Connection, lp_user_id: str, client_or_machine: str
) -> tuple[Client, str, str]:
    """Where the LP said yes, by our id of them there or by the machine's."""
    row = await fetch_one(
        conn,
        f"""
        SELECT c.*, m.fiat_code, m.operator_user_id
        FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
        WHERE c.user_id = :user AND (c.id = :id OR c.machine_id = :id)
        """,  # noqa: S608
        {"user": lp_user_id, "id": client_or_machine},
    )
    if row is None:
        raise NotFoundError(NO_CLIENT)
    return dict_to_model(dict(row), Client), row["fiat_code"], row["operator_user_id"]


async def open_claims(conn: Connection, client_id: str) -> int:
    """How many deposits this LP reported here that wait for an answer."""
    row = await fetch_one(
        conn,
        f"SELECT COUNT(*) AS n FROM {S}.dca_deposits "  # noqa: S608
        "WHERE client_id = :id AND status = 'claimed'",
        {"id": client_id},
    )
    return int(row["n"]) if row else 0


async def was_planned_since(conn: Connection, client_id: str, since: datetime) -> bool:
    """Whether a leg took from this LP's balance since then."""
    row = await fetch_one(
        conn,
        f"""
        SELECT EXISTS (SELECT 1 FROM {S}.dca_payments
            WHERE client_id = :client AND leg_type IN ('dca', 'settlement')
              AND created_at >= :since) AS yes
        """,  # noqa: S608
        {"client": client_id, "since": db_time(since)},
    )
    return bool(row and row["yes"])


async def balance_cents(conn: Connection, client_id: str) -> int:
    """Minor units that an LP has left of their deposits at this machine."""
    row = await fetch_one(
        conn,
        f"""
        SELECT {deposited_cents_sql("c.id")} AS deposited,
               {debited_cents_sql("c.id")} AS debited
        FROM {S}.dca_clients c WHERE c.id = :id
        """,  # noqa: S608
        {"id": client_id},
    )
    return int(row["deposited"]) - int(row["debited"]) if row else 0
