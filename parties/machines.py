"""Who is who: the platform's fees, machines, and the wallets they ever had.

Guaranteed here: every statement about one row names its owner, so that somebody
else's row is never read or changed; a change and its audit entry are one transaction;
on every machine platform and operator together never take more than the principal.
Whether a wallet belongs to who names it is asked before, in the routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from ..base.audit import changed, write_audit
from ..base.currencies import check_amount, check_currency
from ..base.database import transaction
from ..base.refusals import BadInputError, ConflictError
from ..crud import (
    get_super_config,
    lock_ledger,
    refresh_settlements,
    settlements_with_open_platform_fee,
)
from ..models import Machine, SuperConfig, utc_now
from . import machines_crud as sql
from .machines_crud import get_own_machine

WAITING = "waiting:"

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
    "operator_cash_in_fixed_fee",
    "operator_cash_out_fixed_fee",
    "min_fiat",
    "max_fiat",
)
IN_FIAT = MACHINE_SETTINGS[-4:]
# A machine with a new key has to prove it.
UNPAIRED = {
    "is_paired": False,
    "paired_at": None,
    "pairing_code": None,
    "pairing_expires_at": None,
}


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
        await sql.write_super_config(conn, after)
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
    await sql.write_why_fees_wait(conn, is_missing)
    await refresh_settlements(conn, await settlements_with_open_platform_fee(conn))


async def _check_fractions_on_all_machines(
    conn: Connection, config: SuperConfig
) -> None:
    found = await sql.machines_above(
        conn,
        cash_in=_room_for_operator(config.super_cash_in_fee_fraction),
        cash_out=_room_for_operator(config.super_cash_out_fee_fraction),
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


def check_fiat(machine: Machine) -> None:
    """`BadInputError` for a fixed fee or a limit that the currency cannot have, or for
    limits that leave no trade."""
    for name in IN_FIAT:
        value = getattr(machine, name)
        if value is not None:
            check_amount(value, machine.fiat_code, name)
    least, most = machine.min_fiat, machine.max_fiat
    if least is not None and most is not None and least > most:
        raise BadInputError(
            f"min_fiat is {least}, more than the {most} of max_fiat: no trade would be "
            "possible."
        )


# --------------------------------------------------------------------------- machines


async def _check_no_history(conn: Connection, machine: Machine) -> None:
    if await sql.has_history(conn, machine.id):
        raise ConflictError(
            f"This machine has money history in {machine.fiat_code}: its currency "
            "cannot change any more. Register another machine instead."
        )


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
        check_fiat(machine)
        await _check_registrations(conn, operator_user_id)
        await _hold_or_wait(conn, machine)
        await _check_wallet_is_free(conn, machine)
        inserted = await sql.insert_machine(conn, machine)
        if not inserted:
            raise ConflictError("This npub or this wallet serves a machine already.")
        await sql.remember_wallet(conn, machine)
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
        if not {"fiat_code", *IN_FIAT}.isdisjoint(new):
            check_fiat(after)
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
            await sql.remember_wallet(conn, after)
        # Only what changed: the machine's line writes to this row too.
        after = after.copy(update=written)
        await sql.write_machine(conn, after, written)
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
        if await sql.has_history_for_good(conn, machine_id):
            raise ConflictError(
                "This machine has money history, which is never deleted. "
                "Switch it off instead."
            )
        await sql.delete_machine(conn, machine)
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
        await sql.end_pairing(conn, machine_id)
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
    found = await sql.machines_that_claim(conn, claimed, machine.id)
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
    await sql.give_key(conn, npub, left.id)


async def _check_registrations(conn: Connection, operator_user_id: str) -> None:
    """A registration costs nothing, so there are only so many that never traded."""
    most = (await get_super_config(conn)).unused_machines_limit
    if await sql.unused_machines(conn, operator_user_id) >= most:
        raise ConflictError(
            f"You have {most} machines that have not traded yet: delete one "
            "of them first."
        )


async def _check_wallet_is_free(conn: Connection, machine: Machine) -> None:
    """A payment found late belongs to the machine whose wallet it was, so a wallet
    never serves a second one."""
    if await sql.serves_another(conn, machine.wallet_id, machine.id):
        raise ConflictError(
            "wallet_id: this wallet is or was the wallet of another machine. Make a "
            "new wallet: each machine needs one of its own."
        )


async def _check_wallet_can_change(conn: Connection, machine: Machine) -> None:
    """The old wallet's debts would be paid by nobody, or by the wrong wallet."""
    left = await sql.unfinished(conn, machine)
    if any(left):
        raise ConflictError(
            f"The present wallet has {left.settlements} unfinished settlements and "
            f"{left.legs} unpaid amounts: finish or void them before the machine "
            "gets another wallet."
        )


def _settings(machine: Machine) -> dict[str, Any]:
    return {k: v for k, v in machine.dict().items() if k in MACHINE_SETTINGS}
