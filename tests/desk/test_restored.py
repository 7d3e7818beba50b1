"""A backup of one database beside a newer other one: is anybody paid twice?

In this process: what an older copy of our database would not hold is taken out of it
(and then of LNbits'), as a restored file or schema would be. The killed server with
real files is in test_restored_files.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse, PaymentStatus
from lnurl_server import LnurlServer
from world import MakeWorld, World, balance_sats, edit_core

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import execute, fetch_all, transaction
from satmachineadmin.host import paying
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


async def forget_closings(world: World) -> None:
    """The same, of balances that were paid out since."""
    one = {"m": world.machine.id}
    closings = "WHERE machine_id = :m AND leg_type = 'settlement'"
    async with transaction() as conn:
        for table, key in (("dca_payout_legs", "payout_id"), ("dca_payouts", "id")):
            await execute(
                conn,
                f"DELETE FROM satoshimachine.{table} WHERE {key} IN (SELECT payout_id "
                f"FROM satoshimachine.dca_payments {closings})",
                one,
            )
        await execute(conn, f"DELETE FROM satoshimachine.dca_payments {closings}", one)


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


SAVINGS = "savings@elsewhere.example"


async def facts_of(world: World) -> list[tuple[Any, ...]]:
    """What everybody was paid, leg by leg."""
    async with transaction() as conn:
        rows = await fetch_all(
            conn,
            "SELECT l.*, p.is_internal, p.sent_sats AS paid_sats "
            "FROM satoshimachine.dca_payments l JOIN satoshimachine.dca_payouts p "
            "ON p.id = l.payout_id WHERE l.machine_id = :m",
            {"m": world.machine.id},
        )
    kept = (
        *("leg_type", "status", "amount_sats", "sent_sats", "client_id"),
        *("source_wallet_id", "destination_wallet_id", "external_payment_hash"),
        *("is_internal", "paid_sats"),
    )
    return sorted(
        (*(row[name] for name in kept), float(row["amount_fiat"] or 0)) for row in rows
    )


async def test_what_left_the_instance_was_forwarded_or_closed_is_taken_over_too(
    make_world: MakeWorld,
    paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A split outside, an LP's forward and a balance that was paid out: each payment
    says enough, and what the routing kept did not arrive."""
    world = await make_world()
    real = paying.get_pr_from_lnurl
    async with LnurlServer() as shop:

        async def look_up(target: str, amount_msat: int) -> str:
            return await real(shop.target if target == SAVINGS else target, amount_msat)

        monkeypatch.setattr(paying, "get_pr_from_lnurl", look_up)
        await world.add_lp("150.00", autoforward=SAVINGS)
        moving = await world.add_lp("150.00")
        await world.add_split(shop.target, "1.0000", kind="lnurl")
        payment_hash = await world.cash_out()
        await world.settle(payment_hash)
        await world.fund(world.machine_wallet.id, 50_000)
        close = {
            **{"wallet_id": world.machine_wallet.id, "exchange_rate": 500},
            **{"confirm_rate": True, "idempotency_key": uuid4().hex, **WHY},
        }
        path = f"/clients/{moving.client.id}/close-balance"
        answer = await world.operator.api.post(path, json=close)
        assert answer.status_code == 200, answer.text
        for _ in range(3):
            await world.run_due()
        before, facts = await balances(world), await facts_of(world)
        assert {x[0] for x in facts} == {
            *("dca", "super_fee", "operator_split", "autoforward", "settlement")
        }
        assert {x[1] for x in facts} == {"completed"}
        asked = shop.asked_sats[:]

        await forget_closings(world)
        await forget(world, [payment_hash])
        await strays.look(is_start=True)
        await tasks.sweep(is_full=True)
        for _ in range(3):
            await world.run_due()
        assert await balances(world) == before
        answer = await press(world, "take-over")
        assert answer.json()["left"] == 0, answer.text
        for _ in range(3):
            await world.run_due()
        assert (await balances(world), shop.asked_sats) == (before, asked)
        assert await facts_of(world) == facts
        assert [await world.remaining(lp) for lp in world.lps] == [50, 0]
        await world.assert_ledger()


@pytest.mark.parametrize("becomes", [True, False])
async def test_what_is_still_on_its_way_is_not_taken_over(
    make_world: MakeWorld,
    paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    becomes: bool,
) -> None:
    """Held for paid, a payment that fails later would be the beneficiary's loss."""
    world = await make_world()
    node = get_funding_source()
    said = PaymentStatus(None)

    async def silent(bolt11: str, _: int) -> PaymentResponse:
        return PaymentResponse(ok=None)

    async def status(checking_id: str) -> PaymentStatus:
        return said

    monkeypatch.setattr(node, "pay_invoice", silent)
    monkeypatch.setattr(node, "get_payment_status", status)
    async with LnurlServer() as shop:
        await world.add_split(shop.target, "1.0000", kind="lnurl")
        payment_hash = await world.cash_out()
        await world.settle(payment_hash)
        await world.run_due()
        (payout,) = [p for p in await world.payouts() if not p["is_internal"]]
        await forget(world, [payment_hash])
        await strays.look(is_start=True)
        await tasks.sweep(is_full=True)
        await world.run_due()
        told = (await press(world, "take-over")).json()
        assert told["left"] == 1
        refused = await press(world, "take-over")
        assert refused.status_code == 409
        assert "still on their way" in refused.json()["detail"]
        assert len(shop.asked_sats) == 1

        await edit_core(
            "UPDATE apipayments SET status = :status WHERE payment_hash = :hash",
            status="success" if becomes else "failed",
            hash=payout["payment_hash"],
        )
        told = (await press(world, "take-over")).json()
        assert (told["payments"], told["left"]) == (int(becomes), 0)
        for _ in range(2):
            await world.run_due()
        # what failed is owed, and asked for again
        assert len(shop.asked_sats) == (1 if becomes else 2)
        if becomes:
            assert (await world.settlement(payment_hash)).status == "completed"
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
