"""Sats that came into a machine's wallet and no machine stamped get a word: once, to
the operator, until the first settlement shows that the machine stamps.

Top-ups by the operator's own wallet, by an administrator, and payments of before get
none. One world for all, in the order of a machine's first days.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from api_world import ok
from lnbits.core.services import create_invoice, pay_invoice
from world import World, edit_core

from satmachineadmin import distribution
from satmachineadmin.base.database import db, db_time, fetch_all
from satmachineadmin.desk import notices

from dev.accounts import credit

MakeWorld = Callable[..., Coroutine[Any, Any, World]]


async def waiting(world: World, session: Any = None) -> list[dict[str, Any]]:
    api = (session or world.operator).api
    items = ok(await api.get("/overview"))["needs_attention"]
    return [x for x in items if x["kind"] == "unstamped"]


async def notices_of(world: World) -> list[str]:
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT user_id FROM satoshimachine.dca_notices "
            "WHERE machine_id = :m AND kind = 'unstamped'",
            {"m": world.machine.id},
        )
    return [row["user_id"] for row in found]


async def came_in(world: World, sats: int, payer_wallet: str) -> str:
    invoice = await create_invoice(
        wallet_id=world.machine_wallet.id, amount=sats, memo="no stamp"
    )
    await pay_invoice(wallet_id=payer_wallet, payment_request=invoice.bolt11)
    return invoice.payment_hash


async def test_a_first_payment_without_a_stamp_gets_a_word(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world, stranger = await make_world(), await make_world()
    await world.fund(world.customer.wallet.id, 300_000)
    # An administrator's gift, and the operator's own sats.
    await credit(world.super_session, world.machine_wallet.id, 20_000)
    own = await world.make_wallet(world.operator, "savings")
    await world.fund(own.id, 7_000)
    await came_in(world, 6_000, own.id)
    # What came in before the wallet was a machine's is the past.
    past = await came_in(world, 900, world.customer.wallet.id)
    await edit_core(
        "UPDATE apipayments SET created_at = :at WHERE payment_hash = :hash",
        at=db_time(world.machine.created_at.replace(year=2020)),
        hash=past,
    )
    assert await waiting(world) == []

    await came_in(world, 5_000, world.customer.wallet.id)
    (item,) = await waiting(world)
    assert item["message"] == (
        "5000 sat came into Antigua's wallet that no machine stamped: yours, or a "
        "machine set up wrongly?"
    )
    assert item["machine_id"] == item["subject_id"] == world.machine.id
    assert await waiting(world, stranger.operator) == []
    # Told once, to the operator alone.
    for _ in range(2):
        await notices.run_notices()
    assert await notices_of(world) == [world.operator.user_id]

    # A second one is the same question; a sale answers it.
    await came_in(world, 1_000, world.customer.wallet.id)
    (item,) = await waiting(world)
    assert item["message"].startswith("6000 sat came into")
    await world.settle(await world.cash_out())
    assert await waiting(world) == []
