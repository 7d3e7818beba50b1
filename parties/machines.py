"""SQL of who is who: the platform's fees, machines, and the wallets they ever had.

Guaranteed here: every statement about one row names its owner, so that somebody
else's row is never read or changed; a change and its audit entry are one transaction;
on every machine platform and operator together never take more than the principal.
Whether a wallet belongs to who names it is asked before, in the routes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from lnbits.db import SQLITE, Connection
from lnbits.helpers import urlsafe_short_hash

from ..base.audit import changed, write_audit
from ..base.currencies import check_currency
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
from ..crud import (
    NO_PLATFORM_WALLET,
    get_super_config,
    lock_ledger,
    refresh_settlements,
    settlements_with_open_platform_fee,
)
from ..models import Machine, SuperConfig, WaitCode, utc_now

S = "satoshimachine"
WAITING = "waiting:"
UNUSED_AT_MOST = 20
NO_MACHINE = "There is no such machine of yours."

# What an operator sets on a machine; pairing and its times are not among them.
MACHINE_SETTINGS = (
    "machine_npub",
    "wallet_id",
    "name",
    "location",
    "fiat_code",
    "is_active",
    "operator_cash_in_fee_fraction",
    "operator_cash_out_fee_fraction",
    "payout_interval_minutes",
    "min_payout_sats",
    "max_payout_sats",
    "max_daily_payout_sats",
    "silent_after_minutes",
    "low_cash_fraction",
    "bay_capacities",
    "box_capacity",
    "invoice_expiry_minutes",
    "allow_stamped_invoices",
    "price_check",
    "market_factor",
)
# A machine with a new key has to prove it.
UNPAIRED = {
    "is_paired": False,
    "paired_at": None,
    "pairing_code": None,
    "pairing_expires_at": None,
}


# ----------------------------------------------------------------- the caller's roles


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


# ---------------------------------------------------------------- the platform's fees


async def update_super_config(actor: str, changes: Mapping[str, Any]) -> SuperConfig:
    """Change the fields named. `BadInputError` names the machines on which platform
    and operator together would take more than the principal."""
    async with transaction() as conn:
        await lock_ledger(conn)
        before = await get_super_config(conn)
        after = before.copy(update=dict(changes))
        await _check_fractions_on_all_machines(conn, after)
        old, new = changed(before.dict(), dict(changes))
        if not new:
            return before
        after.updated_at = utc_now()
        params = row_params(after)
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
        if "super_fee_wallet_id" in new:
            await _say_why_fees_wait(conn, after)
        await write_audit(
            conn, actor, "config.change", "super_config", after.id, old, new
        )
    return after


async def _say_why_fees_wait(conn: Connection, config: SuperConfig) -> None:
    """No round reads a platform fee that has no wallet to go to, nor writes on it; and
    a settlement does not wait for it to be complete."""
    is_missing = config.super_fee_wallet_id is None
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
    await refresh_settlements(conn, await settlements_with_open_platform_fee(conn))


async def _check_fractions_on_all_machines(
    conn: Connection, config: SuperConfig
) -> None:
    found = await fetch_all(
        conn,
        f"""
        SELECT id, name, machine_npub FROM {S}.dca_machines
        WHERE CAST(ROUND(operator_cash_in_fee_fraction * 10000) AS BIGINT) > :cash_in
           OR CAST(ROUND(operator_cash_out_fee_fraction * 10000) AS BIGINT) > :cash_out
        ORDER BY name, id
        """,  # noqa: S608
        {
            "cash_in": _room_for_operator(config.super_cash_in_fee_fraction),
            "cash_out": _room_for_operator(config.super_cash_out_fee_fraction),
        },
    )
    if found:
        names = [r["name"] or f"{r['machine_npub'][:12]}…" for r in found]
        listed = ", ".join(names[:20]) + (
            f" and {len(names) - 20} more" if len(names) > 20 else ""
        )
        raise BadInputError(
            "Platform and operator together would take more than the principal on: "
            f"{listed}."
        )


def _room_for_operator(super_fraction: Decimal) -> int:
    """What the platform leaves to the operator, in ten-thousandths of principal."""
    return 10_000 - int(super_fraction * 10_000)


def check_fractions(machine: Machine, config: SuperConfig) -> None:
    """`BadInputError` if platform and operator would take more than the principal."""
    for direction in ("cash_in", "cash_out"):
        platform = getattr(config, f"super_{direction}_fee_fraction")
        operator = getattr(machine, f"operator_{direction}_fee_fraction")
        if platform + operator > 1:
            raise BadInputError(
                f"operator_{direction}_fee_fraction is {operator}: with the "
                f"platform's {platform} that is more than the principal; at most "
                f"{1 - platform} is left for you."
            )


# --------------------------------------------------------------------------- machines


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


async def _check_no_history(conn: Connection, machine: Machine) -> None:
    if await has_history(conn, machine.id):
        raise ConflictError(
            f"This machine has money history in {machine.fiat_code}: its currency "
            "cannot change any more. Register another machine instead."
        )


async def _has_history_for_good(conn: Connection, machine_id: str) -> bool:
    """The same, and no payment lands at it until the caller's transaction ends."""
    if db.type != SQLITE:
        await execute(
            conn,
            f"SELECT id FROM {S}.dca_machines WHERE id = :id FOR UPDATE",  # noqa: S608
            {"id": machine_id},
        )
    return await has_history(conn, machine_id)


async def create_machine(operator_user_id: str, fields: Mapping[str, Any]) -> Machine:
    """Register a machine; it is unpaired until it sends its code.

    `ConflictError` if the npub or the wallet is taken: one wallet serves one machine.
    """
    machine = Machine(
        id=urlsafe_short_hash(), operator_user_id=operator_user_id, **fields
    )
    async with transaction() as conn:
        await lock_ledger(conn)
        check_currency(machine.fiat_code)
        check_fractions(machine, await get_super_config(conn))
        await _check_registrations(conn, operator_user_id)
        await _hold_or_wait(conn, machine)
        await _check_wallet_is_free(conn, machine)
        params = row_params(machine)
        inserted = await execute(
            conn, insert_sql("dca_machines", params, "ON CONFLICT DO NOTHING"), params
        )
        if not inserted:
            raise ConflictError("This npub or this wallet serves a machine already.")
        await _remember_wallet(conn, machine)
        await write_audit(
            conn,
            operator_user_id,
            "machine.create",
            "machine",
            machine.id,
            None,
            _settings(machine),
            operator_user_id=operator_user_id,
            machine_id=machine.id,
        )
    return machine


async def update_machine(
    operator_user_id: str, machine_id: str, changes: Mapping[str, Any]
) -> Machine:
    """Change the settings named. A new npub has to pair again.

    `ConflictError` for a wallet with unfinished business, and for a currency with
    money history.
    """
    async with transaction() as conn:
        await lock_ledger(conn)
        before = await get_own_machine(conn, machine_id, operator_user_id)
        old, new = changed(before.dict(), dict(changes))
        if not new:
            return before
        after = before.copy(update=new)
        check_fractions(after, await get_super_config(conn))
        if "fiat_code" in new:
            check_currency(after.fiat_code)
            await _check_no_history(conn, before)
        written: dict[str, Any] = {**new, "updated_at": utc_now()}
        if "machine_npub" in new:
            await _hold_or_wait(conn, after)
            written.update(UNPAIRED)
            written["machine_npub"] = after.machine_npub
            written["claimed_npub"] = after.claimed_npub
        if "wallet_id" in new:
            await _check_wallet_can_change(conn, before)
            await _check_wallet_is_free(conn, after)
            await _remember_wallet(conn, after)
        # Only what changed: the machine's line writes to this row too.
        after = after.copy(update=written)
        params = row_params(after)
        await execute(
            conn,
            f"UPDATE {S}.dca_machines SET {_assignments(written)} "  # noqa: S608
            "WHERE id = :id AND operator_user_id = :operator_user_id",
            {k: params[k] for k in (*written, "id", "operator_user_id")},
        )
        if "machine_npub" in new:
            await _pass_on_key(conn, before)
        await write_audit(
            conn,
            operator_user_id,
            "machine.change",
            "machine",
            machine_id,
            old,
            new,
            operator_user_id=operator_user_id,
            machine_id=machine_id,
        )
    return after


async def delete_machine(operator_user_id: str, machine_id: str) -> None:
    """Delete a machine without money history; `ConflictError` if it has one."""
    async with transaction() as conn:
        await lock_ledger(conn)
        machine = await get_own_machine(conn, machine_id, operator_user_id)
        if await _has_history_for_good(conn, machine_id):
            raise ConflictError(
                "This machine has money history, which is never deleted. "
                "Switch it off instead (is_active: false)."
            )
        await _delete(conn, machine)
        await _pass_on_key(conn, machine)
        await write_audit(
            conn,
            operator_user_id,
            "machine.delete",
            "machine",
            machine_id,
            _settings(machine),
            None,
            operator_user_id=operator_user_id,
            machine_id=machine_id,
        )


async def unpair(operator_user_id: str, machine_id: str, reason: str | None) -> None:
    """A machine was stolen or sold: its key is refused from now on, and its code is
    gone. It still counts as one that traded over its line."""
    async with transaction() as conn:
        await lock_ledger(conn)
        machine = await get_own_machine(conn, machine_id, operator_user_id)
        if not machine.is_paired:
            raise ConflictError("This machine is not paired.")
        await execute(
            conn,
            f"""
            UPDATE {S}.dca_machines SET is_paired = :no, pairing_code = NULL,
                pairing_expires_at = NULL, updated_at = :now
            WHERE id = :id
            """,  # noqa: S608
            {"id": machine_id, "no": False, "now": db_time(utc_now())},
        )
        await write_audit(
            conn,
            operator_user_id,
            "machine.unpair",
            "machine",
            machine_id,
            None,
            None,
            reason,
            operator_user_id=operator_user_id,
            machine_id=machine_id,
        )


async def _hold_or_wait(conn: Connection, machine: Machine) -> None:
    """Set the key that was typed, or a place in the queue for it.

    Anyone may know an npub: typing one proves nothing, and takes nothing from who
    registered it before. Who pairs with it has it.
    """
    claimed = machine.machine_npub
    if claimed.startswith(WAITING):
        raise BadInputError("machine_npub: give the machine's own key.")
    machine.claimed_npub = claimed
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_machines "  # noqa: S608
        "WHERE (machine_npub = :npub OR claimed_npub = :npub) AND id <> :id",
        Machine,
        {"npub": claimed, "id": machine.id},
    )
    if any(m.operator_user_id == machine.operator_user_id for m in found):
        raise ConflictError("You have registered a machine with this npub already.")
    if any(m.machine_npub == claimed for m in found):
        machine.machine_npub = f"{WAITING}{machine.id}"


async def _pass_on_key(conn: Connection, left: Machine) -> None:
    """A key that its holder gave up is the oldest other registration's that claims it:
    somebody must be there to pair."""
    npub = left.machine_npub
    if npub.startswith(WAITING):
        return
    row = await fetch_one(
        conn,
        f"SELECT id FROM {S}.dca_machines "  # noqa: S608
        "WHERE claimed_npub = :npub AND id <> :id ORDER BY created_at, id",
        {"npub": npub, "id": left.id},
    )
    if row:
        await execute(
            conn,
            f"UPDATE {S}.dca_machines SET machine_npub = :npub "  # noqa: S608
            "WHERE id = :id",
            {"npub": npub, "id": row["id"]},
        )


async def _check_registrations(conn: Connection, operator_user_id: str) -> None:
    """A registration costs nothing, so there are only so many that never traded."""
    row = await fetch_one(
        conn,
        f"""
        SELECT COUNT(*) AS n FROM {S}.dca_machines m
        WHERE m.operator_user_id = :user AND NOT EXISTS (
            SELECT 1 FROM {S}.dca_settlements s WHERE s.machine_id = m.id)
        """,  # noqa: S608
        {"user": operator_user_id},
    )
    if row and int(row["n"]) >= UNUSED_AT_MOST:
        raise ConflictError(
            f"You have {UNUSED_AT_MOST} machines that have not traded yet: delete one "
            "of them first."
        )


async def _delete(conn: Connection, machine: Machine) -> None:
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


async def _check_wallet_is_free(conn: Connection, machine: Machine) -> None:
    """A payment found late belongs to the machine whose wallet it was, so a wallet
    never serves a second one."""
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
        {"wallet": machine.wallet_id, "id": machine.id},
    )
    if row:
        raise ConflictError(
            "wallet_id: this wallet is or was the wallet of another machine. Make a "
            "new wallet: each machine needs one of its own."
        )


async def _check_wallet_can_change(conn: Connection, machine: Machine) -> None:
    """The old wallet's debts would be paid by nobody, or by the wrong wallet."""
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
    if row and (row["settlements"] or row["legs"]):
        raise ConflictError(
            f"The present wallet has {row['settlements']} unfinished settlements and "
            f"{row['legs']} unpaid amounts: finish or void them before the machine "
            "gets another wallet."
        )


async def _remember_wallet(conn: Connection, machine: Machine) -> None:
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


def _settings(machine: Machine) -> dict[str, Any]:
    return {k: v for k, v in machine.dict().items() if k in MACHINE_SETTINGS}


def _assignments(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} = :{k}" for k in params if k != "id")


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
