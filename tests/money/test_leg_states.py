"""What a round, and an attempt that failed, leave on legs: on theirs and no others."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import pytest
from api_world import make_desk
from money_rows import add_leg, add_payout, add_settlement

from satmachineadmin import distribution
from satmachineadmin.base.database import db, fetch_all, transaction
from satmachineadmin.crud import legs_of
from satmachineadmin.models import Leg, Payout, WaitCode, utc_now
from satmachineadmin.money.payouts_crud import (
    Wait,
    count_failed_attempt,
    get_payout,
    open_payouts,
    set_leg_waits,
    store_invoices,
)

from conftest import MakeUser, MakeWallet

BOLT11 = "lnbc1"


async def settlement_of(make_user: MakeUser, make_wallet: MakeWallet) -> Any:
    desk = await make_desk(make_user, make_wallet)
    return desk.machine, await add_settlement(desk.machine)


async def legs_by_id(settlement_id: str) -> dict[str, Leg]:
    return {leg.id: leg for leg in await legs_of(settlement_id)}


async def test_a_reason_is_written_on_the_legs_that_wait_for_it(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    machine, settlement = await settlement_of(make_user, make_wallet)
    payout = await add_payout(machine, status="paid")
    asked, other = [
        await add_leg(machine, settlement, status="pending") for _ in range(2)
    ]
    moving = await add_leg(machine, settlement, status="pending", payout_id=payout)
    paid = await add_leg(machine, settlement, status="completed")
    later = utc_now() + timedelta(days=2)
    wait = Wait(WaitCode.REFUSED, "LNbits has no Lightning funding source now.")
    await set_leg_waits(dict.fromkeys((asked, moving, paid), wait), later)
    legs = await legs_by_id(settlement)
    assert (legs[asked].error_message, legs[asked].wait_code) == (
        wait.reason,
        wait.code,
    )
    assert legs[asked].next_try_at == later
    assert legs[asked].attempts == 0
    assert [legs[x].error_message for x in (other, moving, paid)] == [None] * 3


async def test_one_payout_that_cannot_be_opened_leaves_the_others_alone(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    machine, settlement = await settlement_of(make_user, make_wallet)
    before = await add_payout(machine, status="paid")
    moving = await add_leg(machine, settlement, status="pending", payout_id=before)
    ids = [await add_leg(machine, settlement, status="pending") for _ in range(4)]
    legs = await legs_by_id(settlement)
    shrunk = legs[ids[1]].copy(update={"amount_sats": 1_001})
    merged, good = [
        Payout(
            id=f"{settlement}{n}",
            source_wallet_id=machine["wallet_id"],
            destination=f"wallet:{n}",
            amount_sats=2_000,
        )
        for n in range(2)
    ]
    decided = [
        (merged, [legs[ids[0]], shrunk]),
        (good, [legs[ids[2]], legs[ids[3]]]),
    ]
    async with db.connect() as conn:
        opened = await open_payouts(conn, decided, distribution.INSTANCE_ID)
        found = await fetch_all(
            conn,
            "SELECT id, payout_id FROM satoshimachine.dca_payments "
            "WHERE settlement_id = :id",
            {"id": settlement},
        )
        await conn.conn.rollback()
    assert [p.id for p in opened] == [good.id]
    in_payout = {row["id"]: row["payout_id"] for row in found}
    assert [in_payout[i] for i in ids] == [None, None, good.id, good.id]
    assert in_payout[moving] == before


@pytest.mark.parametrize(
    ("status", "has_invoice"), [("failed", False), ("paid", False), ("paid", True)]
)
async def test_an_invoice_comes_too_late_for_a_payout_that_is_over(
    status: str, has_invoice: bool, make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    machine, _ = await settlement_of(make_user, make_wallet)
    own = {"payment_hash": secrets.token_hex(32) if has_invoice else None}
    payout = await get_payout(await add_payout(machine, status=status, **own))
    assert payout
    invoiced = payout.copy(
        update={"payment_hash": secrets.token_hex(32), "bolt11": BOLT11}
    )
    assert await store_invoices([invoiced], distribution.INSTANCE_ID) == []
    assert await get_payout(payout.id) == payout


@pytest.mark.parametrize(
    ("leg_type", "target", "left"),
    [
        ("refund", BOLT11, None),
        ("refund", "customer@example.com", "customer@example.com"),
        ("operator_split", "partner@example.com", "partner@example.com"),
        ("operator_split", "lnurl1", "lnurl1"),
    ],
)
async def test_what_an_attempt_that_failed_leaves(
    leg_type: str,
    target: str,
    left: str | None,
    make_user: MakeUser,
    make_wallet: MakeWallet,
) -> None:
    machine, settlement = await settlement_of(make_user, make_wallet)
    payout = await add_payout(machine, status="paid")
    more: dict[str, Any] = {
        "status": "pending",
        "leg_type": leg_type,
        "target": target,
        "sent_sats": 990,
        "external_payment_hash": "a" * 64,
    }
    tried = await add_leg(machine, settlement, payout_id=payout, **more)
    read = (await legs_by_id(settlement))[tried]
    async with transaction() as conn:
        await count_failed_attempt(conn, [read], "It failed.")
    leg = (await legs_by_id(settlement))[tried]
    assert (leg.status, leg.attempts, leg.error_message) == ("pending", 1, "It failed.")
    assert (leg.payout_id, leg.sent_sats, leg.external_payment_hash) == (None,) * 3
    assert leg.target == left
    assert leg.next_try_at and leg.next_try_at > utc_now()
    # read before it was freed: whoever freed it has counted
    async with transaction() as conn:
        await count_failed_attempt(conn, [read], "It failed again.")
    assert (await legs_by_id(settlement))[tried] == leg


async def test_what_was_paid_since_it_was_read_does_not_fail(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    machine, settlement = await settlement_of(make_user, make_wallet)
    payout = await add_payout(machine, status="paid")
    leg = await add_leg(machine, settlement, status="completed", payout_id=payout)
    paid = (await legs_by_id(settlement))[leg]
    async with transaction() as conn:
        await count_failed_attempt(conn, [paid.copy(update={"status": "pending"})], "x")
    assert (await legs_by_id(settlement))[leg] == paid


async def test_the_tenth_attempt_is_the_last(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    machine, settlement = await settlement_of(make_user, make_wallet)
    ids = [
        await add_leg(machine, settlement, status="pending", attempts=attempts)
        for attempts in (8, 9)
    ]
    legs = await legs_by_id(settlement)
    async with transaction() as conn:
        await count_failed_attempt(conn, [legs[i] for i in ids], "It failed.")
    legs = await legs_by_id(settlement)
    assert [legs[i].status for i in ids] == ["pending", "failed"]
