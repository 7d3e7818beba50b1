"""A backup of one database beside a newer other one: is anybody paid twice?

In this process: what an older copy of our database would not hold is taken out of it
(and then of LNbits'), as a restored file or schema would be. The killed server with
real files is in test_restored_files.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from world import MakeWorld, World, balance_sats, edit_core

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import execute, fetch_all, transaction
from satmachineadmin.money import strays, strays_crud

WHY = {"reason": "an older backup was put back"}


@pytest_asyncio.fixture
async def paused(
    engine_paused: distribution.Worker,
) -> AsyncIterator[distribution.Worker]:
    strays.watch.payout_id = None
    yield engine_paused
    async with transaction() as conn:
        await execute(conn, "DELETE FROM satoshimachine.dca_stray_payments")
    strays.watch.payout_id = None


async def forget(world: World, hashes: list[str]) -> None:
    """Our database as it was before these sales landed."""
    of_machine = {"m": world.machine.id}
    async with transaction() as conn:
        for payment_hash in hashes:
            settlement = await crud.get_settlement_by_hash(payment_hash, conn)
            assert settlement
            one = {"s": settlement.id}
            payouts = [
                row["payout_id"]
                for row in await fetch_all(
                    conn,
                    "SELECT DISTINCT payout_id FROM satoshimachine.dca_payments "
                    "WHERE settlement_id = :s AND payout_id IS NOT NULL",
                    one,
                )
            ]
            for payout in payouts:
                for table, key in (
                    ("dca_payout_legs", "payout_id"),
                    ("dca_payouts", "id"),
                ):
                    await execute(
                        conn,
                        f"DELETE FROM satoshimachine.{table} WHERE {key} = :p",
                        {"p": payout},
                    )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_payments WHERE settlement_id = :s",
                one,
            )
            await execute(
                conn, "DELETE FROM satoshimachine.dca_settlements WHERE id = :s", one
            )
        await execute(
            conn,
            """
            UPDATE satoshimachine.dca_client_totals SET
                debited_cents = (SELECT COALESCE(SUM(
                    CAST(ROUND(p.amount_fiat * 100) AS BIGINT)), 0)
                    FROM satoshimachine.dca_payments p
                    WHERE p.client_id = dca_client_totals.client_id),
                received_cents = (SELECT COALESCE(SUM(
                    CAST(ROUND(p.amount_fiat * 100) AS BIGINT)), 0)
                    FROM satoshimachine.dca_payments p
                    WHERE p.client_id = dca_client_totals.client_id),
                received_sats = (SELECT COALESCE(SUM(p.amount_sats), 0)
                    FROM satoshimachine.dca_payments p
                    WHERE p.client_id = dca_client_totals.client_id)
            WHERE client_id IN (SELECT id FROM satoshimachine.dca_clients
                                WHERE machine_id = :m)
            """,
            of_machine,
        )


async def press(world: World, action: str, **body: Any) -> Any:
    return await world.operator.api.post(
        f"/machines/{world.machine.id}/{action}", json={**WHY, **body}
    )


async def balances(world: World) -> list[int]:
    wallets = [world.machine_wallet, world.platform, *(lp.wallet for lp in world.lps)]
    return [await balance_sats(wallet.id) for wallet in wallets]


async def stopped_reason(world: World) -> str | None:
    machine = await crud.get_machine(world.machine.id)
    assert machine
    return machine.payouts_stopped_reason


@pytest.mark.parametrize("is_start", [True, False])
async def test_an_older_database_of_ours_pays_nothing_again(
    make_world: MakeWorld, paused: distribution.Worker, is_start: bool
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    sales = []
    for _ in range(2):
        payment_hash = await world.cash_out(fiat="150.00")
        assert (await world.settle(payment_hash)).status == "completed"
        sales.append(payment_hash)
    if not is_start:  # restored under the running server
        await strays.look(is_start=False)
    before = await balances(world)
    await forget(world, sales[1:] if is_start else sales)

    assert await strays.look(is_start=is_start) > 0
    assert "was an older backup restored" in str(await stopped_reason(world))
    await tasks.sweep(is_full=True)
    for _ in range(3):
        await world.run_due()
    assert await balances(world) == before
    items = (await world.operator.api.get("/overview")).json()["needs_attention"]
    assert items[0]["kind"] == "payouts_stopped"

    answer = await press(world, "take-over")
    assert answer.status_code == 200, answer.text
    assert answer.json()["left"] == 0
    assert await stopped_reason(world) is None
    for _ in range(3):
        await world.run_due()
    assert await balances(world) == before
    for payment_hash in sales:
        assert (await world.settlement(payment_hash)).status == "completed"
        assert {x.status for x in await world.legs(payment_hash)} == {"completed"}
    await world.assert_ledger()
    # and new sales are paid as ever
    payment_hash = await world.cash_out(fiat="100.00")
    assert (await world.settle(payment_hash)).status == "completed"
    await world.assert_ledger()
    assert (await press(world, "take-over")).status_code == 409


async def test_a_payout_that_was_open_in_the_backup_is_not_paid_again(
    make_world: MakeWorld, paused: distribution.Worker
) -> None:
    """The backup was made between the payout's row and its invoice."""
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    before = await balances(world)
    payouts = [row["id"] for row in await world.payouts()]
    async with transaction() as conn:
        for payout in payouts:
            await execute(
                conn,
                "UPDATE satoshimachine.dca_payouts SET status = 'new', bolt11 = NULL, "
                "payment_hash = NULL, paid_at = NULL, sent_sats = NULL WHERE id = :p",
                {"p": payout},
            )
            await execute(
                conn,
                "UPDATE satoshimachine.dca_payments SET status = 'pending', "
                "external_payment_hash = NULL, completed_at = NULL, sent_sats = NULL "
                "WHERE payout_id = :p",
                {"p": payout},
            )
        await execute(
            conn,
            "UPDATE satoshimachine.dca_client_totals SET received_sats = 0, "
            "received_cents = 0 WHERE client_id = :c",
            {"c": world.lps[0].client.id},
        )
        await execute(
            conn,
            "UPDATE satoshimachine.dca_settlements SET paid_to_lps_sats = 0, "
            "status = 'processing' WHERE payment_hash = :h",
            {"h": payment_hash},
        )
    assert await strays.look(is_start=True)
    for _ in range(3):
        await world.run_due()
    assert await balances(world) == before
    assert (await press(world, "take-over")).json()["left"] == 0
    await world.run_due()
    assert await balances(world) == before
    assert {x.status for x in await world.legs(payment_hash)} == {"completed"}
    await world.assert_ledger()


async def test_a_person_may_let_it_go_on_after_a_look(
    make_world: MakeWorld, paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    await forget(world, [payment_hash])
    await strays.look(is_start=True)
    stranger = await world.make_user("stranger")
    for action in ("take-over", "undo", "resume-payouts"):
        answer = await stranger.api.post(
            f"/machines/{world.machine.id}/{action}", json=WHY
        )
        assert answer.status_code == 404
    assert (await press(world, "resume-payouts")).status_code == 200
    assert await strays.look(is_start=True) == 0
    assert await stopped_reason(world) is None
    assert world.machine_wallet.id not in await strays_crud.stopped_wallets()


@pytest.mark.parametrize("lost", ["all of it", "its payments"])
async def test_an_older_lnbits_is_found_and_undone(
    make_world: MakeWorld, paused: distribution.Worker, lost: str
) -> None:
    world = await make_world(deposits=["300.00"])
    kept = await world.cash_out(fiat="100.00")
    await world.settle(kept)
    payment_hash = await world.cash_out(fiat="200.00")
    await world.settle(payment_hash)
    hashes = {str(x.external_payment_hash) for x in await world.legs(payment_hash)}
    if lost == "all of it":
        hashes.add(payment_hash)
    for one in hashes:
        await edit_core("DELETE FROM apipayments WHERE payment_hash = :h", h=one)
    await strays.look(is_start=True)
    assert "older backup of LNbits" in str(await stopped_reason(world))
    answer = await press(world, "undo")
    assert answer.status_code == 200, answer.text
    assert answer.json()["payments"] == len(hashes)
    assert await stopped_reason(world) is None
    if lost == "all of it":
        assert (await world.settlement(payment_hash)).status == "voided"
        assert {x.status for x in await world.legs(payment_hash)} == {"voided"}
        assert await world.remaining(world.lps[0]) == 200
        assert await world.lps[0].balance_sats() == 100_000
    else:
        await world.run_due()
        assert (await world.settlement(payment_hash)).status == "completed"
        assert await world.lps[0].balance_sats() == 200_000
    assert (await world.settlement(kept)).status == "completed"
    assert (await press(world, "undo")).status_code == 409


async def test_what_is_known_stops_nothing(
    make_world: MakeWorld, paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    for is_start in (True, False, True):
        await strays.look(is_start=is_start)
    assert await stopped_reason(world) is None
