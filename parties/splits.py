"""Commission splits: who shares the operator's fee."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from ..base.audit import write_audit
from ..base.database import transaction
from ..base.refusals import BadInputError, NotFoundError
from ..crud import lock_ledger
from ..models import CommissionSplit
from .machines_crud import get_own_machine
from .splits_crud import read_set, write_set

MAX_SPLITS = 100


async def get_splits(
    conn: Connection, operator_user_id: str, machine_id: str | None
) -> list[CommissionSplit]:
    """The set's rows in order. `NotFoundError` for somebody else's machine."""
    if machine_id is not None:
        await get_own_machine(conn, machine_id, operator_user_id)
    return await read_set(conn, operator_user_id, machine_id)


def check_set(splits: Sequence[CommissionSplit]) -> None:
    """`BadInputError` unless the fractions add up to 1 and no wallet is there twice."""
    if len(splits) > MAX_SPLITS:
        raise BadInputError(f"A set has at most {MAX_SPLITS} splits.")
    seen: dict[str, int] = {}
    for number, split in enumerate(splits, 1):
        if split.fraction <= 0:
            raise BadInputError(f"Split {number}: its fraction must be more than 0.")
        # two names of one wallet are one target: it would be paid twice
        key = split.target_wallet_id or split.target
        if key in seen:
            raise BadInputError(
                f"Splits {seen[key]} and {number} pay the same wallet: make them one."
            )
        seen[key] = number
    total = sum((s.fraction for s in splits), Decimal(0))
    if splits and total != 1:
        raise BadInputError(
            f"The fractions add up to {total:.4f}: they must add up to 1.0000."
        )


async def replace_splits(
    operator_user_id: str,
    machine_id: str | None,
    splits: Sequence[CommissionSplit],
) -> list[CommissionSplit]:
    """Replace a set whole, or not at all; the new one in order."""
    check_set(splits)
    if machine_id is not None and not splits:
        raise BadInputError(
            "splits is empty: to use your default splits again, delete this machine's "
            "own (DELETE)."
        )
    new = [
        s.copy(
            update={
                "id": urlsafe_short_hash(),
                "operator_user_id": operator_user_id,
                "machine_id": machine_id,
            }
        )
        for s in splits
    ]
    async with transaction() as conn:
        await lock_ledger(conn)
        await _replace(conn, operator_user_id, machine_id, new)
        return await get_splits(conn, operator_user_id, machine_id)


async def delete_override(operator_user_id: str, machine_id: str) -> None:
    """Let the machine use its operator's defaults again."""
    async with transaction() as conn:
        await lock_ledger(conn)
        if not await get_splits(conn, operator_user_id, machine_id):
            raise NotFoundError("This machine has no splits of its own.")
        await _replace(conn, operator_user_id, machine_id, [])


async def _replace(
    conn: Connection,
    operator_user_id: str,
    machine_id: str | None,
    new: Sequence[CommissionSplit],
) -> None:
    old = await get_splits(conn, operator_user_id, machine_id)
    await write_set(conn, operator_user_id, machine_id, new)
    await write_audit(
        conn,
        operator_user_id,
        "splits.change",
        "splits",
        machine_id or "default",
        _facts(old),
        _facts(new),
        operator_user_id=operator_user_id,
        machine_id=machine_id,
    )


def _facts(splits: Sequence[CommissionSplit]) -> dict[str, list[dict[str, str]]]:
    """What the log keeps of a set. An invoice key reads a wallet: it is cut short."""
    return {
        "splits": [
            {
                "target": (
                    f"{s.target[:4]}…{s.target[-4:]}"
                    if s.target_kind in (None, "key", "lnurl")
                    else s.target
                ),
                "label": s.label or "",
                "fraction": format(s.fraction, "f"),
            }
            for s in splits
        ]
    }
