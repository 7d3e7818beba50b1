"""SQL of machines, of the wallets they ever had, and of the platform's fees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lnbits.db import SQLITE, Connection

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
)
from ..base.refusals import NotFoundError
from ..crud import NO_PLATFORM_WALLET
from ..models import Machine, SuperConfig, WaitCode, utc_now

S = "satoshimachine"
NO_MACHINE = "There is no such machine of yours."


class Roles(NamedTuple):
    """Whether a user owns a machine, has an LP profile, is enrolled as an LP or
    invited to be one."""

    operator: bool
    lp: bool
    enrolled: bool
    invitations: int


async def roles(user_id: str) -> Roles:
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"""
            SELECT
              EXISTS (SELECT 1 FROM {S}.dca_machines
                      WHERE operator_user_id = :user) AS operator,
              EXISTS (SELECT 1 FROM {S}.dca_lp WHERE user_id = :user) AS lp,
              EXISTS (SELECT 1 FROM {S}.dca_clients
                      WHERE user_id = :user) AS enrolled,
              (SELECT COUNT(*) FROM {S}.dca_invitations WHERE user_id = :user
                 AND state = 'open' AND expires_at > :now) AS invitations
            """,  # noqa: S608
            {"user": user_id, "now": db_time(utc_now())},
        )
    if row is None:
        return Roles(False, False, False, 0)
    invitations = int(row["invitations"])
    return Roles(
        bool(row["operator"]),
        bool(row["lp"]),
        bool(row["enrolled"]) or invitations > 0,
        invitations,
    )


async def write_super_config(conn: Connection, config: SuperConfig) -> None:
    params = row_params(config)
    await execute(
        conn,
        insert_sql("super_config", params, "ON CONFLICT DO NOTHING"),
        params,
    )
    await execute(
        conn,
        f"UPDATE {S}.super_config SET {_assignments(params)} "  # noqa: S608
        "WHERE id = :id",
        params,
    )


async def write_why_fees_wait(conn: Connection, is_missing: bool) -> None:
    """Write on open platform fees that their wallet is missing, or take it off them."""
    await execute(
        conn,
        f"UPDATE {S}.dca_payments SET error_message = :reason, "  # noqa: S608
        "wait_code = :code "
        "WHERE status = 'pending' AND leg_type = 'super_fee' AND payout_id IS NULL "
        "AND (:is_missing OR wait_code = :no_wallet)",
        {
            "reason": NO_PLATFORM_WALLET if is_missing else None,
            "code": WaitCode.PLATFORM_WALLET if is_missing else None,
            "is_missing": is_missing,
            "no_wallet": WaitCode.PLATFORM_WALLET,
        },
    )


async def machines_above(
    conn: Connection, cash_in: int, cash_out: int
) -> Sequence[Mapping[str, Any]]:
    """Machines whose operator takes more than so many ten-thousandths of principal."""
    return await fetch_all(
        conn,
        f"""
        SELECT id, name, machine_npub FROM {S}.dca_machines
        WHERE CAST(ROUND(operator_cash_in_fee_fraction * 10000) AS BIGINT) > :cash_in
           OR CAST(ROUND(operator_cash_out_fee_fraction * 10000) AS BIGINT) > :cash_out
        ORDER BY name, id
        """,  # noqa: S608
        {"cash_in": cash_in, "cash_out": cash_out},
    )


async def get_own_machine(
    conn: Connection, machine_id: str, operator_user_id: str
) -> Machine:
    """The operator's machine. `NotFoundError` for anybody else's."""
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_machines "  # noqa: S608
        "WHERE id = :id AND operator_user_id = :user",
        Machine,
        {"id": machine_id, "user": operator_user_id},
    )
    if not found:
        raise NotFoundError(NO_MACHINE)
    return found[0]


async def has_history(conn: Connection, machine_id: str) -> bool:
    """Whether money was ever recorded at this machine, by anybody."""
    row = await fetch_one(
        conn,
        f"""
        SELECT EXISTS (SELECT 1 FROM {S}.dca_settlements WHERE machine_id = :id)
            OR EXISTS (SELECT 1 FROM {S}.dca_payments WHERE machine_id = :id)
            OR EXISTS (SELECT 1 FROM {S}.dca_deposits WHERE machine_id = :id)
            OR EXISTS (SELECT 1 FROM {S}.dca_machine_requests WHERE machine_id = :id)
            OR EXISTS (SELECT 1 FROM {S}.cash_movements WHERE machine_id = :id)
            AS yes
        """,  # noqa: S608
        {"id": machine_id},
    )
    return bool(row and row["yes"])


async def has_history_for_good(conn: Connection, machine_id: str) -> bool:
    """The same, and no payment lands at it until the caller's transaction ends."""
    if db.type != SQLITE:
        await execute(
            conn,
            f"SELECT id FROM {S}.dca_machines WHERE id = :id FOR UPDATE",  # noqa: S608
            {"id": machine_id},
        )
    return await has_history(conn, machine_id)


async def insert_machine(conn: Connection, machine: Machine) -> int:
    """Rows written: 0 if the key or the wallet is taken."""
    params = row_params(machine)
    return await execute(
        conn, insert_sql("dca_machines", params, "ON CONFLICT DO NOTHING"), params
    )


async def write_machine(
    conn: Connection, machine: Machine, columns: Iterable[str]
) -> None:
    """Write only these columns: the machine's line writes to its row too."""
    params = row_params(machine)
    written = list(columns)
    await execute(
        conn,
        f"UPDATE {S}.dca_machines SET {_assignments(written)} "  # noqa: S608
        "WHERE id = :id AND operator_user_id = :operator_user_id",
        {k: params[k] for k in (*written, "id", "operator_user_id")},
    )


def _assignments(columns: Iterable[str]) -> str:
    return ", ".join(f"{k} = :{k}" for k in columns if k != "id")


async def end_pairing(conn: Connection, machine_id: str) -> None:
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_machines SET is_paired = :no, pairing_code = NULL,
            pairing_expires_at = NULL, updated_at = :now
        WHERE id = :id
        """,  # noqa: S608
        {"id": machine_id, "no": False, "now": db_time(utc_now())},
    )


async def machines_that_claim(
    conn: Connection, npub: str, but: str
) -> Sequence[Machine]:
    """Every other registration that holds this key or waits for it."""
    return await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_machines "  # noqa: S608
        "WHERE (machine_npub = :npub OR claimed_npub = :npub) AND id <> :id",
        Machine,
        {"npub": npub, "id": but},
    )


async def give_key(conn: Connection, npub: str, but: str) -> None:
    """Give a key to the oldest other registration that claims it, if there is one."""
    row = await fetch_one(
        conn,
        f"SELECT id FROM {S}.dca_machines "  # noqa: S608
        "WHERE claimed_npub = :npub AND id <> :id ORDER BY created_at, id",
        {"npub": npub, "id": but},
    )
    if row:
        await execute(
            conn,
            f"UPDATE {S}.dca_machines SET machine_npub = :npub "  # noqa: S608
            "WHERE id = :id",
            {"npub": npub, "id": row["id"]},
        )


async def unused_machines(conn: Connection, operator_user_id: str) -> int:
    """How many registrations of this user never traded."""
    row = await fetch_one(
        conn,
        f"""
        SELECT COUNT(*) AS n FROM {S}.dca_machines m
        WHERE m.operator_user_id = :user AND NOT EXISTS (
            SELECT 1 FROM {S}.dca_settlements s WHERE s.machine_id = m.id)
        """,  # noqa: S608
        {"user": operator_user_id},
    )
    return int(row["n"]) if row else 0


async def delete_machine(conn: Connection, machine: Machine) -> None:
    params = {"id": machine.id, "user": machine.operator_user_id}
    owned = (
        f"(SELECT id FROM {S}.dca_machines "  # noqa: S608
        "WHERE id = :id AND operator_user_id = :user)"
    )
    for table in (
        "dca_commission_splits",
        "dca_clients",
        "dca_invitations",
        "dca_machine_wallets",
        "dca_telemetry",
        "cassette_configs",
        "dca_machine_lines",
        "dca_nostr_clocks",
        "dca_cassette_events",
    ):
        await execute(
            conn,
            f"DELETE FROM {S}.{table} WHERE machine_id IN {owned}",  # noqa: S608
            params,
        )
    await execute(
        conn,
        f"DELETE FROM {S}.dca_machines "  # noqa: S608
        "WHERE id = :id AND operator_user_id = :user",
        params,
    )


async def serves_another(conn: Connection, wallet_id: str, machine_id: str) -> bool:
    """Whether a wallet is or was another machine's."""
    row = await fetch_one(
        conn,
        f"""
        SELECT 1 AS yes FROM {S}.dca_machine_wallets w
        JOIN {S}.dca_machines m ON m.id = w.machine_id
        WHERE w.wallet_id = :wallet AND w.machine_id <> :id
        UNION ALL
        SELECT 1 AS yes FROM {S}.dca_machines
        WHERE wallet_id = :wallet AND id <> :id
        """,  # noqa: S608
        {"wallet": wallet_id, "id": machine_id},
    )
    return row is not None


class Unfinished(NamedTuple):
    """What is not over at a machine's present wallet: how many of each."""

    settlements: int
    legs: int


async def unfinished(conn: Connection, machine: Machine) -> Unfinished:
    row = await fetch_one(
        conn,
        f"""
        SELECT
          (SELECT COUNT(*) FROM {S}.dca_settlements
           WHERE machine_id = :id AND (wallet_id = :wallet OR wallet_id IS NULL)
             AND status NOT IN ('completed', 'voided')) AS settlements,
          (SELECT COUNT(*) FROM {S}.dca_payments
           WHERE machine_id = :id AND source_wallet_id = :wallet
             AND status IN ('pending', 'failed')) AS legs
        """,  # noqa: S608
        {"id": machine.id, "wallet": machine.wallet_id},
    )
    if row is None:
        return Unfinished(0, 0)
    return Unfinished(int(row["settlements"]), int(row["legs"]))


async def remember_wallet(conn: Connection, machine: Machine) -> None:
    """Keep the wallet as one of the machine's for good: payments may come late."""
    params = row_params(machine)
    await execute(
        conn,
        f"""
        INSERT INTO {S}.dca_machine_wallets (wallet_id, machine_id, since_at)
        VALUES (:wallet_id, :id, :updated_at) ON CONFLICT DO NOTHING
        """,  # noqa: S608
        {k: params[k] for k in ("wallet_id", "id", "updated_at")},
    )


async def wallets_and_owners(
    machine_ids: Sequence[str],
) -> dict[str, tuple[str, str]]:
    """machine id -> its present wallet and its operator's user id; for machines that
    the reader was shown already."""
    params: dict[str, Any] = {}
    listed = in_list("m", machine_ids, params)
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT id, wallet_id, operator_user_id "  # noqa: S608
            f"FROM {S}.dca_machines WHERE id IN {listed}",
            params,
        )
    return {row["id"]: (row["wallet_id"], row["operator_user_id"]) for row in found}
