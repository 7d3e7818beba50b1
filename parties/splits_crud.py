"""SQL of commission splits: the rows of one set."""

from __future__ import annotations

from collections.abc import Sequence

from lnbits.db import Connection

from ..base.database import execute, execute_many, fetch_models, insert_sql, row_params
from ..models import CommissionSplit

S = "satoshimachine"


def _set_sql(machine_id: str | None) -> str:
    """Rows of one set: the operator's defaults, or a machine's override."""
    which = "machine_id IS NULL" if machine_id is None else "machine_id = :machine"
    return f"operator_user_id = :user AND {which}"


def _set_params(operator_user_id: str, machine_id: str | None) -> dict[str, str]:
    params = {"user": operator_user_id}
    return params if machine_id is None else {**params, "machine": machine_id}


async def read_set(
    conn: Connection, operator_user_id: str, machine_id: str | None
) -> list[CommissionSplit]:
    """The set's rows in order."""
    return await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_commission_splits "  # noqa: S608
        f"WHERE {_set_sql(machine_id)} ORDER BY sort_order, id",
        CommissionSplit,
        _set_params(operator_user_id, machine_id),
    )


async def write_set(
    conn: Connection,
    operator_user_id: str,
    machine_id: str | None,
    new: Sequence[CommissionSplit],
) -> None:
    """Put `new` in the place of the set's rows, in the caller's transaction."""
    await execute(
        conn,
        f"DELETE FROM {S}.dca_commission_splits "  # noqa: S608
        f"WHERE {_set_sql(machine_id)}",
        _set_params(operator_user_id, machine_id),
    )
    params = [row_params(s) for s in new]
    if params:
        await execute_many(conn, insert_sql("dca_commission_splits", params[0]), params)
