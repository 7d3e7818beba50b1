"""Our books against LNbits': every planted difference is found, a healthy run has none.

Settlements and payments are real (LNbits' fake funding source); a difference is
planted by changing one row behind everybody's back, in one of the two books.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_world import ok, refused
from examples import IS_THOROUGH
from lnbits.core.db import db as core_db
from world import MakeWorld, World, edit_core, update

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base import cursors
from satmachineadmin.base.audit import ENGINE
from satmachineadmin.base.database import db_time, execute, execute_many, transaction
from satmachineadmin.desk import reconciliation
from satmachineadmin.desk.reconciliation import Period, Report
from satmachineadmin.models import utc_now

pytestmark = pytest.mark.longest

WHY = {"reason": "I have looked at it"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is a moment old: nothing is on its way in these tests."""
    monkeypatch.setattr(reconciliation, "SETTLING_WINDOW", timedelta(0))
    monkeypatch.setattr(reconciliation, "CONFIRM_DELAY_SECONDS", 0)


def period() -> Period:
    now = utc_now()
    return Period(now - timedelta(days=1), now + timedelta(minutes=1))


async def kinds(world: World) -> dict[str, bool]:
    """The kinds of differences found, and whether they stop payouts."""
    report = await reconciliation.reconcile(world.machine.id, period(), ENGINE)
    return {d.kind: d.stops for d in report.differences}


async def a_healthy_machine(make_world: MakeWorld) -> World:
    """Two LPs, a partner, cash-outs, a cash-in, a retry, a refund and a short dispense,
    a voided leg, a leg marked paid, a balance paid out, a top-up and a withdrawal."""
    world = await make_world(deposits=["500.00", "100.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "0.7000", wallet_id=partner.wallet.id)
    own = world.machine_wallet.id
    await world.add_split(own, "0.3000", wallet_id=own, sort_order=1)
    await world.fund(own, 500_000)
    await world.settle(await world.cash_out())
    await world.cash_in()
    await tasks.sweep()
    await distribution.worker.run_until_idle()
    short = await world.landed(await world.cash_out(dispense="awaiting"))
    body: dict[str, Any] = {"dispensed_fiat": "50.00", **WHY}
    path = f"/settlements/{short.id}"
    ok(await world.operator.api.post(f"{path}/dispense", json=body))
    await distribution.worker.run_until_idle()
    late = await world.settle(await world.cash_out())
    body = {"dispensed_fiat": "0", **WHY}
    ok(await world.operator.api.post(f"/settlements/{late.id}/dispense", json=body))
    await distribution.worker.run_until_idle()
    third = await world.add_lp("50.00")
    body = {
        "wallet_id": own,
        "exchange_rate": 460,
        "confirm_rate": True,
        "idempotency_key": uuid4().hex,
        **WHY,
    }
    path = f"/clients/{third.client.id}/close-balance"
    ok(await world.operator.api.post(path, json=body))
    await distribution.worker.run_until_idle()
    await update("dca_machines", world.machine.id, payouts_stopped_reason="a pause")
    waiting = await world.settle(await world.cash_out())
    legs = await world.legs(waiting.payment_hash)
    fee = next(x for x in legs if x.leg_type == "super_fee")
    ok(await world.super_session.api.post(f"/super/payments/{fee.id}/void", json=WHY))
    split = next(x for x in legs if x.leg_type == "operator_split" and not x.payout_id)
    body = {"reference": "cash", **WHY}
    if split.status == "pending":
        ok(await world.operator.api.post(f"/payments/{split.id}/mark-paid", json=body))
    await update("dca_machines", world.machine.id, payouts_stopped_reason=None)
    await world.run_due()
    return world


async def test_all_that_may_happen_to_a_healthy_machine_is_no_difference(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await a_healthy_machine(make_world)
    assert await kinds(world) == {}
    path = f"/machines/{world.machine.id}/reconciliation"
    answer = ok(await world.operator.api.get(path))
    assert answer["differences"] == [] and answer["actor"] == ENGINE
    assert answer["checked"]["settlements"] == 5
    (wallet,) = answer["wallets"]
    parts = ("own_sats", "unpaid_sats", "unplanned_sats", "foreign_sats")
    assert sum(wallet[part] for part in parts) == wallet["balance_sats"]
    assert wallet["difference_sats"] == 0
    assert wallet["foreign_sats"] == 500_000
    await world.assert_ledger()


# ------------------------------------------------------------------ planted differences

Plant = Callable[[World, dict[str, Any]], Awaitable[None]]


async def paid(world: World) -> dict[str, Any]:
    """A settlement that was paid, and its payout to the LP."""
    world_hash = await world.cash_out(cassettes={"1": 4})
    settlement = await world.settle(world_hash)
    assert settlement.status == "completed"
    (leg,) = await world.legs(world_hash, "dca")
    return {
        "settlement": settlement.id,
        "hash": world_hash,
        "leg": leg.id,
        "payout": leg.payout_id,
        "payout_hash": leg.external_payment_hash,
    }


async def core(sql: str, **params: Any) -> None:
    await edit_core(f"UPDATE apipayments SET {sql}", **params)


async def payout_lost(world: World, ids: dict[str, Any]) -> None:
    await core(
        "status = 'failed' WHERE payment_hash = :h AND amount < 0", h=ids["payout_hash"]
    )


async def receiver_lost(world: World, ids: dict[str, Any]) -> None:
    await core(
        "status = 'pending' WHERE payment_hash = :h AND amount > 0",
        h=ids["payout_hash"],
    )


async def failed_here_paid_there(world: World, ids: dict[str, Any]) -> None:
    await update("dca_payouts", ids["payout"], status="failed")
    await update(
        "dca_payments", ids["leg"], status="failed", payout_id=None, completed_at=None
    )


async def paid_again(world: World, ids: dict[str, Any]) -> None:
    """As if a crash had paid the leg with a second invoice."""
    other = await paid(world)
    async with transaction() as conn:
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_payout_legs "
            "(payout_id, leg_id, amount_sats) VALUES (:p, :l, 100000)",
            {"p": other["payout"], "l": ids["leg"]},
        )


async def unknown_to_us(world: World, ids: dict[str, Any]) -> None:
    async with transaction() as conn:
        for table, key in (("dca_payout_legs", "payout_id"), ("dca_payouts", "id")):
            await execute(
                conn,
                f"DELETE FROM satoshimachine.{table} WHERE {key} = :id",
                {"id": ids["payout"]},
            )


async def never_landed(world: World, ids: dict[str, Any]) -> None:
    async with transaction() as conn:
        for table, key in (
            ("dca_payments", "settlement_id"),
            ("dca_settlements", "id"),
        ):
            await execute(
                conn,
                f"DELETE FROM satoshimachine.{table} WHERE {key} = :id",
                {"id": ids["settlement"]},
            )


async def never_paid_in(world: World, ids: dict[str, Any]) -> None:
    await core(
        "status = 'failed' WHERE payment_hash = :h AND amount > 0", h=ids["hash"]
    )


async def another_amount(world: World, ids: dict[str, Any]) -> None:
    await core(
        "amount = amount - 1000 WHERE payment_hash = :h AND amount > 0", h=ids["hash"]
    )


async def another_fee(world: World, ids: dict[str, Any]) -> None:
    await core(
        "fee = -5000 WHERE payment_hash = :h AND amount < 0", h=ids["payout_hash"]
    )


async def a_leg_grew(world: World, ids: dict[str, Any]) -> None:
    await update("dca_payments", ids["leg"], amount_sats=100_001)


async def more_is_kept(world: World, ids: dict[str, Any]) -> None:
    await update("dca_settlements", ids["settlement"], retained_sats=99_999)


async def completed_for_nothing(world: World, ids: dict[str, Any]) -> None:
    await update("dca_payments", ids["leg"], payout_id=None)


async def another_hash(world: World, ids: dict[str, Any]) -> None:
    await update("dca_payments", ids["leg"], external_payment_hash="00")


async def running_total_lost(world: World, ids: dict[str, Any]) -> None:
    client = world.lps[0].client.id
    await update("dca_client_totals", client, key="client_id", debited_cents=1)


async def received_lost(world: World, ids: dict[str, Any]) -> None:
    client = world.lps[0].client.id
    await update("dca_client_totals", client, key="client_id", received_sats=1)


async def deposit_lost(world: World, ids: dict[str, Any]) -> None:
    client = world.lps[0].client.id
    await update("dca_deposits", client, key="client_id", amount="0.01")


async def emptied(world: World, ids: dict[str, Any]) -> None:
    """The operator took out what was owed to others."""
    await update("dca_machines", world.machine.id, payouts_stopped_reason="a pause")
    await world.settle(await world.cash_out(fee=0))
    await world.fund(world.machine_wallet.id, -60_000)
    await update("dca_machines", world.machine.id, payouts_stopped_reason=None)


async def notes_missing(world: World, ids: dict[str, Any]) -> None:
    params = {
        "m": world.machine.id,
        "filled": db_time(utc_now() - timedelta(hours=1)),
        "now": db_time(utc_now() + timedelta(seconds=1)),
    }
    async with transaction() as conn:
        await execute(
            conn,
            "INSERT INTO satoshimachine.cassette_configs (machine_id, position, "
            "denomination, count, updated_at, state_denomination, state_count, "
            "state_at) VALUES (:m, 1, 50, 100, :filled, 50, 95, :now)",
            params,
        )


async def own_payout_landed(world: World, ids: dict[str, Any]) -> None:
    """As if the payout had been taken for a cash-in of a customer."""
    await update(
        "dca_settlements",
        ids["settlement"],
        payment_hash=ids["payout_hash"],
        tx_type="cash_in",
        status="attention",
    )


async def a_dead_invoice(world: World, ids: dict[str, Any]) -> None:
    """As an older version left it: the payout is under way, and its invoice was paid by
    somebody else's wallet."""
    await update("dca_payouts", ids["payout"], status="invoiced")
    await update("dca_payments", ids["leg"], status="pending", completed_at=None)
    await core(
        "wallet_id = 'elsewhere' WHERE payment_hash = :h AND amount < 0",
        h=ids["payout_hash"],
    )


async def a_half_done_sale(world: World, ids: dict[str, Any]) -> None:
    """LNbits stopped between its two commits of a customer's payment."""
    await never_landed(world, ids)
    await core(
        "status = 'pending' WHERE payment_hash = :h AND amount > 0", h=ids["hash"]
    )


async def an_lps_wallet_deleted(world: World, ids: dict[str, Any]) -> None:
    """With a leg that waits for it."""
    await edit_core(
        "UPDATE wallets SET deleted = true WHERE id = :w", w=world.lps[0].wallet.id
    )
    await update(
        "dca_payments", ids["leg"], status="failed", payout_id=None, completed_at=None
    )


async def a_split_without_a_target(world: World, ids: dict[str, Any]) -> None:
    await update(
        "dca_payments",
        ids["leg"],
        leg_type="operator_split",
        status="failed",
        payout_id=None,
        completed_at=None,
        client_id=None,
        destination_wallet_id=None,
        destination_ln_address=None,
        target=None,
    )


PLANTED: list[tuple[Plant, dict[str, bool]]] = [
    (payout_lost, {"payout_not_paid": False, "wallet_move": False}),
    (receiver_lost, {"payout_not_received": False}),
    (failed_here_paid_there, {"failed_payout_left": True, "open_leg_left": True}),
    (paid_again, {"paid_twice": True, "payout_sum": False}),
    (unknown_to_us, {"unknown_payout": True, "leg_without_payment": False}),
    (never_landed, {"not_landed": False}),
    (never_paid_in, {"settlement_not_paid": False, "wallet_move": False}),
    (another_amount, {"wallet_move": False}),
    (another_fee, {"wallet_move": False}),
    (a_leg_grew, {"not_conserved": True}),
    (more_is_kept, {"not_conserved": True}),
    (completed_for_nothing, {"leg_without_payment": False}),
    (another_hash, {"leg_hash": False}),
    (running_total_lost, {"lp_total": True}),
    (received_lost, {"lp_received": False}),
    (deposit_lost, {"lp_below_zero": True}),
    (emptied, {"wallet_short": False}),
    (notes_missing, {"cash_differs": False}),
    (own_payout_landed, {"own_payment_landed": True, "not_landed": False}),
    (a_dead_invoice, {"payout_stuck": False}),
    (a_half_done_sale, {"half_done": False}),
    (an_lps_wallet_deleted, {"lp_wallet_gone": False}),
    (a_split_without_a_target, {"split_gone": False}),
]


@pytest.mark.parametrize(
    "plant, expected", PLANTED, ids=lambda p: getattr(p, "__name__", "")
)
async def test_a_planted_difference_is_found(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    plant: Plant,
    expected: dict[str, bool],
) -> None:
    world = await make_world(deposits=["900.00"], operator_fraction="0.0000")
    await world.settle(await world.cash_out(fee=3_000, cassettes={"1": 4}))
    ids = await paid(world)
    assert await kinds(world) == {}
    await plant(world, ids)
    found = await kinds(world)
    assert expected.items() <= found.items(), found
    machine = await crud.get_machine(world.machine.id)
    assert machine
    assert (machine.payouts_stopped_reason is not None) == any(found.values())


# ------------------------------------------------------------------------ what follows


async def test_a_total_that_is_only_shown_is_counted_anew(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    ids = await paid(world)
    await received_lost(world, ids)
    assert await kinds(world) == {"lp_received": False}
    assert await kinds(world) == {}
    await world.assert_ledger()


async def test_a_stop_holds_payouts_never_the_landing_and_stops_once(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    ids = await paid(world)
    await running_total_lost(world, ids)
    path = f"/machines/{world.machine.id}"
    answer = ok(await world.operator.api.post(f"{path}/reconciliation"))
    (difference,) = answer["differences"]
    assert (difference["kind"], difference["subject_id"], difference["stops"]) == (
        "lp_total",
        world.lps[0].client.id,
        True,
    )
    assert answer["actor"] == world.operator.user_id
    overview = ok(await world.operator.api.get("/overview"))
    kinds_shown = [item["kind"] for item in overview["needs_attention"]]
    assert "payouts_stopped" in kinds_shown
    payment_hash = await world.cash_out()
    settlement = await world.settle(payment_hash)
    assert settlement.status == "processing"
    legs = await world.legs(payment_hash)
    assert all("stopped" in (x.error_message or "") for x in legs), legs
    log = ok(await world.operator.api.get("/audit?action=machine.stop_payouts"))
    assert log["total"] == 1
    ok(await world.operator.api.post(f"{path}/resume-payouts", json=WHY))
    # the same difference again: it was looked at
    assert await kinds(world) == {"lp_total": True}
    await distribution.worker.run_until_idle()
    assert (await world.settlement(payment_hash)).status == "completed"
    # another one stops again
    await running_total_lost(world, ids)
    assert await kinds(world) == {"lp_total": True}
    refused_to = ok(await world.operator.api.get(path))
    assert refused_to["payouts_stopped_reason"]


async def test_every_report_is_listed_and_says_what_it_is_about(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["900.00"])
    ids = await paid(world)
    api = world.operator.api
    path = f"/machines/{world.machine.id}/reconciliation"
    assert ok(await api.post(path))["differences"] == []
    await failed_here_paid_there(world, ids)
    newest = ok(await api.post(path))
    page = ok(await api.get("/reconciliations"))
    found = len(newest["differences"])
    listed = [
        (x["machine_id"], x["difference_count"], x["stops"]) for x in page["data"]
    ]
    assert page["total"] == 2
    assert listed == [(world.machine.id, found, True), (world.machine.id, 0, False)]
    assert {x["actor"] for x in page["data"]} == {world.operator.user_id}
    only = ok(await api.get("/reconciliations?stops=true"))
    assert [x["id"] for x in only["data"]] == [newest["id"]]
    report = ok(await api.get(f"/reconciliations/{newest['id']}"))
    assert report == newest
    about = {d["kind"]: d["about"] for d in report["differences"]}
    payout, payment, leg = about["failed_payout_left"]
    assert (payout["id"], payout["type"]) == (ids["payout"], "payout")
    assert (payment["id"], payment["type"]) == (
        payout["payment_hash"],
        "lnbits_payment",
    )
    assert (leg["id"], leg["type"]) == (ids["leg"], "payment")
    settlement = ok(await api.get(f"/settlements/{leg['settlement_id']}"))
    assert ids["leg"] in [x["id"] for x in settlement["legs"]]
    stranger = await world.make_user("stranger")
    assert ok(await stranger.api.get("/reconciliations"))["total"] == 0
    refused(await stranger.api.get(f"/reconciliations/{newest['id']}"), 404)


async def test_what_is_there_only_once_is_no_difference(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A payment between the two books differs at one look, and not at the next."""
    world = await make_world(deposits=["900.00"])
    ids = await paid(world)
    compare = reconciliation.compare
    looks = []

    async def compare_and_mend(machine_id: str, asked: Period) -> Report:
        looks.append(machine_id)
        report = await compare(machine_id, asked)
        await update("dca_payouts", ids["payout"], status="paid")
        await update(
            "dca_payments", ids["leg"], status="completed", payout_id=ids["payout"]
        )
        return report

    await failed_here_paid_there(world, ids)
    monkeypatch.setattr(reconciliation, "compare", compare_and_mend)
    assert await kinds(world) == {}
    assert len(looks) == 2


async def test_an_old_settlement_is_looked_at_when_it_changed_in_the_period(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    """Paid a month ago; planned, or its legs made, or paid only now."""
    world = await make_world(deposits=["900.00"])
    then = db_time(utc_now() - timedelta(days=30))
    ids = await paid(world)
    (leg,) = await world.legs(ids["hash"], "dca")
    for x in await world.legs(ids["hash"]):
        await update("dca_payments", x.id, transaction_time=then, created_at=then)
    await more_is_kept(world, ids)
    settlement = ids["settlement"]
    await update("dca_settlements", settlement, transaction_time=then)
    assert "not_conserved" in await kinds(world)
    await update("dca_settlements", settlement, planned_at=then)
    assert "not_conserved" in await kinds(world)
    for row in await world.payouts():
        await update("dca_payouts", row["id"], paid_at=then)
    assert "not_conserved" not in await kinds(world)
    await update("dca_payments", leg.id, created_at=db_time(utc_now()))
    assert "not_conserved" in await kinds(world)
    await update("dca_payments", leg.id, created_at=then)
    await update("dca_payouts", ids["payout"], paid_at=db_time(utc_now()))
    assert "not_conserved" in await kinds(world)


async def test_only_the_operator_reads_and_runs_it(make_world: MakeWorld) -> None:
    world = await make_world()
    path = f"/machines/{world.machine.id}/reconciliation"
    refused(await world.operator.api.get(path), 404)
    stranger = await world.make_user("stranger")
    refused(await stranger.api.post(path), 404)
    body = {"from": "2025-02-01", "to": "2025-01-01"}
    refused(await world.operator.api.post(path, json=body), 400)
    refused(await world.operator.api.post(path, json={"from": "x"}), 400)
    answer = refused(
        await world.operator.api.post(path, json={"from": "1970-01-01"}), 400
    )
    assert "at most 366 days" in str(answer)
    future = (utc_now() + timedelta(days=3)).date().isoformat()
    refused(await world.operator.api.post(path, json={"from": future}), 409)
    body = {"from": "2025-01-01", "to": "2025-01-31"}
    answer = ok(await world.operator.api.post(path, json=body))
    assert answer["period_to"].startswith("2025-02-01T00:00:00")
    refused(await stranger.api.get(path), 404)


async def test_every_machine_is_reconciled_once_a_night(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    moment = [utc_now().replace(hour=1, minute=59)]
    monkeypatch.setattr(reconciliation, "utc_now", lambda: moment[0])
    seen: list[str] = []

    async def note(machine_id: str, asked: Period, actor: str) -> Report:
        seen.append(machine_id)
        if len(seen) == 1:
            raise ValueError("this machine's books cannot be read")
        return Report(machine_id, asked)

    monkeypatch.setattr(reconciliation, "reconcile", note)
    await cursors.set_cursor(reconciliation.CURSOR, "2025-01-01")
    assert await reconciliation.nightly() == 0
    moment[0] = moment[0].replace(hour=2)
    await reconciliation.nightly()
    assert world.machine.id in seen
    assert len(seen) == len(set(seen))
    count = len(seen)
    assert await reconciliation.nightly() == 0
    moment[0] += timedelta(days=1)
    assert await reconciliation.nightly() >= count


# ------------------------------------------------------------------------------ a lot


async def stamped_payments(world: World, count: int) -> None:
    """LNbits' rows of `count` customers who paid, written at once."""
    now = utc_now()
    params = []
    for n in range(count):
        principal = 1_000 + n % 7
        stamp = world.stamp(principal=principal, fee=80, fiat="2.00")
        payment_hash = uuid4().hex + uuid4().hex
        params.append(
            {
                "id": payment_hash,
                "wallet": world.machine_wallet.id,
                "amount": (principal + 80) * 1000,
                "extra": json.dumps(stamp),
                "at": db_time(now - timedelta(milliseconds=100 * (count - n))),
            }
        )
    async with core_db.connect() as conn:
        await execute_many(
            conn,
            "INSERT INTO apipayments (checking_id, payment_hash, wallet_id, amount, "
            "fee, bolt11, status, extra, memo, time, created_at, updated_at) VALUES "
            "(:id, :id, :wallet, :amount, 0, '', 'success', :extra, '', :at, :at, :at)",
            params,
        )
        await conn.conn.commit()


# they are landed and planned one by one, which is what takes long
MANY = 1_000 if IS_THOROUGH else 200


@pytest.mark.timeout(600)
async def test_none_is_found_in_a_healthy_run_of_many_settlements(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["1500.00", "600.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    await stamped_payments(world, MANY)
    await tasks.sweep(is_full=True)
    await engine_paused.run_until_idle()
    report = await reconciliation.reconcile(world.machine.id, period(), ENGINE)
    assert report.differences == []
    assert report.checked["settlements"] == MANY
    assert report.checked["legs"] > 3 * MANY
    (wallet,) = report.wallets
    assert wallet["unpaid_sats"] == 0 == wallet["difference_sats"]
    # and one among them all is found
    row = (await world.payouts())[0]
    await update("dca_payouts", row["id"], network_fee_sats=1)
    found = await kinds(world)
    assert found == {"wallet_move": False}
