"""Payments of a machine that the listener never hears of, and machines that change.

As when LNbits' queue dies with its process, or a wallet is another machine's now.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from lnbits.core.crud.payments import create_payment
from lnbits.core.models import CreatePayment, PaymentState
from world import MakeWorld, World, update

from satmachineadmin import bitspire, tasks
from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.models import utc_now

from conftest import wait_for


@asynccontextmanager
async def deaf_listener(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """LNbits' queue forgets what is paid in here, as when the process dies."""
    heard_before = tasks.state.listener_at
    with monkeypatch.context() as patch:
        patch.setattr(bitspire, "is_bitspire_payment", lambda _: False)
        yield
        await wait_for(lambda: tasks.state.listener_at != heard_before)


async def received(
    world: World, extra: dict[str, Any], sats: int = 108_000, wallet_id: str = ""
) -> str:
    """A successful payment into the machine's wallet that no listener heard of."""
    payment_hash = uuid4().hex + uuid4().hex
    await create_payment(
        checking_id=f"internal_{payment_hash}",
        data=CreatePayment(
            wallet_id=wallet_id or world.machine_wallet.id,
            bolt11="",
            payment_hash=payment_hash,
            amount_msat=sats * 1000,
            memo="from outside",
            extra=extra,
        ),
        status=PaymentState.SUCCESS,
    )
    return payment_hash


async def second_machine(world: World, make_world: MakeWorld, **fields: Any) -> World:
    """Another operator's machine, with the same platform wallet."""
    other = await make_world(**fields)
    await update("super_config", "default", super_fee_wallet_id=world.platform.id)
    other.platform = world.platform
    return other


async def change_wallet(world: World) -> str:
    """The machine gets another wallet, as its operator may when nothing is open."""
    wallet = await world.make_wallet(world.operator, "new machine wallet")
    old = world.machine_wallet
    await update("dca_machines", world.machine.id, wallet_id=wallet.id)
    async with transaction() as conn:
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_machine_wallets "
            "(wallet_id, machine_id, since_at) VALUES (:w, :m, :t)",
            {"w": wallet.id, "m": world.machine.id, "t": db_time(utc_now())},
        )
    world.machine_wallet = wallet
    return old.id
