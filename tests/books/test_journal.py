"""The journal over HTTP: entries balance, a closed period stays, wallets explain
themselves, and beancount reads all of it.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from api_world import ok
from bean_check import assert_accepted
from world import MakeWorld, World, update

from satmachineadmin import distribution
from satmachineadmin.base.cursors import set_cursor
from satmachineadmin.base.database import db_time
from satmachineadmin.books.journal import beancount_account
from satmachineadmin.desk import foreign
from satmachineadmin.host.balances import balances_msat
from satmachineadmin.models import utc_now

from balanced import assert_journal_balances
from dev.accounts import UserSession

WHY = {"reason": "as agreed"}


async def sums(user: UserSession, query: str = "") -> dict[str, int]:
    """Sats by account."""
    answer = ok(await user.api.get(f"/accounting/balances{query}"))
    found: dict[str, int] = defaultdict(int)
    for row in answer["data"]:
        found[row["account"]] += row["sats"]
    return {account: sats for account, sats in found.items() if sats}


async def closed(user: UserSession, until: str) -> bytes:
    answer = await user.api.get(
        "/accounting/entries.csv",
        params={"at[lt]": until, "sortby": "at", "direction": "asc"},
    )
    assert answer.status_code == 200, answer.text
    return answer.content


async def business(make_world: MakeWorld, worker: distribution.Worker) -> World:
    world = await make_world(deposits=["300.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "0.5000", wallet_id=partner.wallet.id)
    await world.add_split(
        world.operator.wallet.id, "0.5000", wallet_id=world.operator.wallet.id
    )
    await world.settle(await world.cash_out())
    await worker.run_until_idle()
    return world


async def test_a_closed_period_is_the_same_to_the_byte_after_any_later_event(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await business(make_world, engine_paused)
    operator = world.operator
    waiting = await world.landed(await world.cash_out(dispense="awaiting"))
    held = await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    # what happened so far is two days old
    at = utc_now() - timedelta(days=2)
    until = (at + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    await update("journal", world.machine.id, "machine_id", at=db_time(at))
    before = await closed(operator, until)
    assert before.count(b"\n") > 10

    path = f"/settlements/{waiting.id}"
    body: dict[str, Any] = {"dispensed_fiat": "50.00", **WHY}
    ok(await operator.api.post(f"{path}/dispense", json=body))
    await engine_paused.run_until_idle()
    ok(await operator.api.post(f"/settlements/{held.id}/void", json=WHY))
    body = {"is_test": True, **WHY}
    ok(await operator.api.post(f"{path}/test", json=body))
    found = await closed(operator, until)
    assert found == before
    await assert_journal_balances(world.machine.id)


async def test_a_wallet_explains_itself_and_fees_are_received_or_owed(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await business(make_world, engine_paused)
    wallet = world.machine_wallet.id
    found = await sums(world.operator)
    in_lnbits = (await balances_msat([wallet]))[wallet] // 1000
    # half of the fee went to the wallet that it was in already
    assert found["machine_wallet"] == in_lnbits == 2_500
    assert found["lp_paid"] == 100_000
    assert found["platform_paid"] == 3_000
    assert found["splits_paid"] == 5_000
    assert found["passed_on"] == -108_000
    # nothing is owed any more
    assert not {"lp", "platform", "splits", "refunds", "customer"} & set(found)
    nothing = await sums(world.operator, "?at=2020-01-01T00:00:00")
    assert nothing == {}
    assert await sums(await world.make_user("stranger")) == {}


async def test_what_is_nobodys_sale_is_an_entry_once(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await business(make_world, engine_paused)
    await world.fund(world.machine_wallet.id, 77_000)
    assert "other" not in await sums(world.operator)
    monkeypatch.setattr(foreign, "SETTLING", timedelta(seconds=-5))
    for _ in range(2):
        await foreign.post_foreign()
        await set_cursor(foreign.CURSOR, f"{foreign.BEGINNING}|")
    found = await sums(world.operator)
    wallet = world.machine_wallet.id
    in_lnbits = (await balances_msat([wallet]))[wallet] // 1000
    assert found["machine_wallet"] == in_lnbits == 79_500
    assert found["other"] == -77_000


async def test_what_was_paid_outside_never_arrived_and_is_kept(
    make_world: MakeWorld, engine_paused: distribution.Worker
) -> None:
    world = await make_world(deposits=["300.00"])
    await update("dca_machines", world.machine.id, payout_interval_minutes=1440)
    await world.settle(await world.cash_out())
    legs = ok(await world.operator.api.get("/payments?leg_type=dca"))["data"]
    path = f"/payments/{legs[0]['id']}"
    said = {"reference": "cash receipt 17", **WHY}
    ok(await world.operator.api.post(f"{path}/mark-paid", json=said))
    assert (await sums(world.operator))["lp"] == -100_000
    ok(await world.lps[0].user.api.post(f"/lp{path}/accept", json=WHY))
    found = await sums(world.operator)
    assert found["lp_paid_outside"] == -100_000
    assert "lp" not in found and "lp_paid" not in found
    entries = ok(await world.operator.api.get("/accounting/entries?kind=paid_outside"))
    (entry,) = entries["data"]
    assert entry["payment_id"] == legs[0]["id"]
    assert {x["account"]: x["sats"] for x in entry["lines"]} == {
        "lp": 100_000,
        "lp_paid_outside": -100_000,
    }


async def test_beancount_reads_all_of_it(
    make_world: MakeWorld, engine_paused: distribution.Worker, tmp_path: Path
) -> None:
    world = await business(make_world, engine_paused)
    await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    body: dict[str, Any] = {"dispensed_fiat": "50.00", **WHY}
    short = await world.landed(await world.cash_out(dispense="awaiting"))
    path = f"/settlements/{short.id}/dispense"
    ok(await world.operator.api.post(path, json=body))
    await engine_paused.run_until_idle()
    answer = await world.operator.api.get("/accounting.beancount?tz=America/Guatemala")
    assert answer.status_code == 200, answer.text
    wallet = world.machine_wallet.id
    in_lnbits = (await balances_msat([wallet]))[wallet] // 1000
    name = beancount_account("machine_wallet", world.machine.id, None)
    assert_accepted(tmp_path, answer.text, {name: in_lnbits})
