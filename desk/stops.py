"""A machine's payouts are stopped, and go on: never without a person's look.

Guaranteed: the stop and the going on are each one transaction with its audit entry.
"""

from __future__ import annotations

from collections.abc import Sequence

from loguru import logger

from .. import crud, distribution
from ..base.audit import write_audit
from ..base.database import transaction
from ..base.refusals import ConflictError, NotFoundError
from ..models import utc_now
from ..money import strays_crud
from . import reconciliation_crud, repairs_crud
from .differences import Difference


async def stop_payouts(
    machine_id: str, grave: Sequence[Difference], actor: str
) -> None:
    """Pay nothing more from a machine until its operator has looked at what was found;
    what they have looked at before stops nothing again."""
    if not grave:
        return
    async with transaction() as conn:
        machine = await crud.get_machine(machine_id, conn)
        seen = await reconciliation_crud.accepted(conn, machine_id)
        new = [d for d in grave if d.key not in seen]
        if not new or machine is None:
            return
        reason = f"The reconciliation found a difference: {new[0].message}"
        if len(new) > 1:
            reason += f" (And {len(new) - 1} more.)"
        if not await reconciliation_crud.stop_payouts(conn, machine_id, reason):
            return
        await write_audit(
            conn,
            actor,
            "machine.stop_payouts",
            "machine",
            machine_id,
            {"payouts_stopped_reason": None},
            {"payouts_stopped_reason": reason},
            "found by the reconciliation",
            operator_user_id=machine.operator_user_id,
            machine_id=machine_id,
        )
    logger.error(
        f"satmachineadmin: payouts of machine {machine_id} are stopped: {reason}"
    )


async def resume_payouts(user_id: str, machine_id: str, reason: str) -> None:
    """Let a machine pay again after a reconciliation stopped it. What it found then
    stops the machine no second time."""
    async with transaction() as conn:
        machine = await crud.get_machine(machine_id, conn)
        if machine is None or machine.operator_user_id != user_id:
            raise NotFoundError("There is no such machine of yours.")
        if not await repairs_crud.resume_payouts(conn, machine_id, user_id, utc_now()):
            raise ConflictError("The payouts of this machine are not stopped.")
        await reconciliation_crud.accept_newest(conn, machine_id)
        await strays_crud.end(conn, machine_id, "went_on")
        await write_audit(
            conn,
            user_id,
            "machine.resume_payouts",
            "machine",
            machine_id,
            {"payouts_stopped_reason": machine.payouts_stopped_reason},
            {"payouts_stopped_reason": None},
            reason,
            operator_user_id=user_id,
            machine_id=machine_id,
        )
    distribution.wake()
