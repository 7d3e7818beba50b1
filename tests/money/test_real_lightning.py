"""The same story over real Lightning payments: a second LNbits is the world outside.

Two server processes: A with the extension, and B, whose wallet is A's funding source.
A customer of B pays A's machine; an LNURL split and an LP's forwarding address lead
back to B. Nothing is mocked; between A and B runs a line that a test can hold:
then the node has paid, and A does not know it yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

import environment
from conftest import wait_for
from dev.accounts import (
    UserSession,
    WalletKeys,
    answer,
    balance_sats,
    create_user,
    create_wallet,
    enrol,
)
from dev.http_machine import HttpMachine, Quote
from dev.outside import Pair, lnurl_of, pay_from_outside, start_pair
from dev.wire import Wire

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("real_lightning"),
    pytest.mark.longest,
]

RATE = Decimal("500")


@dataclass
class Outside:
    pair: Pair
    wire: Wire
    operator: UserSession
    machine: HttpMachine
    machine_id: str
    partner: WalletKeys
    friend: WalletKeys
    lp: UserSession
    forwarding_lp: UserSession


async def _enrol(
    operator: UserSession, lp: UserSession, machine_id: str, **profile: object
) -> None:
    body = {
        "dca_wallet_id": lp.wallet.id,
        "default_dca_mode": "flow",
        "fixed_mode_daily_limit": None,
        "autoforward_ln_address": None,
        "autoforward_enabled": False,
        **profile,
    }
    answer(await lp.api.post("/lp", json=body))
    client = await enrol(operator, lp, machine_id)
    deposit = answer(
        await operator.api.post(
            "/deposits", json={"client_id": client["id"], "amount": "1000.00"}
        )
    )
    answer(
        await operator.api.put(
            f"/deposits/{deposit['id']}/status", json={"status": "confirmed"}
        )
    )


@pytest_asyncio.fixture(scope="module")
async def outside(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outside]:
    folder: Path = tmp_path_factory.mktemp("ln")
    database_url = None
    if environment.POSTGRES:
        database_url = environment.POSTGRES.ensure_database("real_lightning")
    wires: list[Wire] = []

    async def endpoint_of(b: object) -> str:
        wires.append(await Wire(b.port).open())  # type: ignore[attr-defined]
        return wires[0].url

    pair = await start_pair(
        folder,
        database_url=database_url,
        env={"SATMACHINE_EXTERNAL_GATHER_SECONDS": "0"},
        endpoint_of=endpoint_of,
    )
    partner = await create_wallet(pair.b_super, "partner")
    friend = await create_wallet(pair.b_super, "friend")
    boss = pair.a_super
    answer(
        await boss.api.put(
            "/super/config",
            json={
                "super_cash_in_fee_fraction": "0.03",
                "super_cash_out_fee_fraction": "0.03",
                "super_fee_wallet_id": boss.wallet.id,
            },
        )
    )
    operator = await create_user(boss, "operator")
    machine = answer(
        await operator.api.post(
            "/machines",
            json={
                "machine_npub": "ab" * 32,
                "wallet_id": operator.wallet.id,
                "name": "Antigua",
                "fiat_code": "GTQ",
                "operator_cash_in_fee_fraction": "0.05",
                "operator_cash_out_fee_fraction": "0.05",
            },
        )
    )
    splits = [
        {
            "target": lnurl_of(pair.b, partner),
            "label": "partner outside",
            "fraction": "1.0000",
            "sort_order": 0,
        }
    ]
    answer(await operator.api.put("/splits", json={"splits": splits}))
    lp = await create_user(boss, "lp_one")
    forwarding = await create_user(boss, "lp_forward")
    await _enrol(operator, lp, machine["id"])
    await _enrol(
        operator,
        forwarding,
        machine["id"],
        autoforward_ln_address=lnurl_of(pair.b, friend),
        autoforward_enabled=True,
    )
    http_machine = HttpMachine(
        operator.core,
        operator.wallet,
        Quote((Decimal("0.03"), Decimal("0.05")), (Decimal("0.03"), Decimal("0.05"))),
        "Antigua",
    )
    yield Outside(
        pair,
        wires[0],
        operator,
        http_machine,
        machine["id"],
        partner,
        friend,
        lp,
        forwarding,
    )
    await wires[0].close()
    await operator.aclose()
    await pair.stop()


async def _settlement(outside: Outside, payment_hash: str) -> dict:
    found = answer(
        await outside.operator.api.get(
            "/settlements", params={"payment_hash": payment_hash}
        )
    )
    if not found["data"]:
        return {}
    settlement_id = found["data"][0]["id"]
    return answer(await outside.operator.api.get(f"/settlements/{settlement_id}"))


async def _until(
    outside: Outside, payment_hash: str, status: str, seconds: int
) -> dict:
    last: dict = {}

    async def reached() -> bool:
        nonlocal last
        last = await _settlement(outside, payment_hash)
        return last.get("status") == status

    try:
        await wait_for(reached, seconds, 0.3)
    except AssertionError:
        raise AssertionError(f"not {status}: {last}") from None
    return last


def _leg(settlement: dict, leg_type: str) -> dict:
    return next(x for x in settlement["legs"] if x["leg_type"] == leg_type)


async def _balance_b(outside: Outside, wallet: WalletKeys) -> int:
    return await balance_sats(outside.pair.b_super.core, wallet.inkey)


async def test_a_customer_from_outside_pays_and_shares_leave_to_the_outside(
    outside: Outside,
) -> None:
    bolt11, trade = await outside.machine.offer({100: 2}, RATE)
    assert (trade.principal_sats, trade.fee_sats) == (100_000, 8_000)
    answer(await pay_from_outside(outside.pair, bolt11))
    settlement = await _until(outside, trade.payment_hash, "completed", 60)
    split = _leg(settlement, "operator_split")
    assert split["amount_sats"] == 5_000
    assert 0 < split["sent_sats"] < 5_000
    assert await _balance_b(outside, outside.partner) == split["sent_sats"]
    assert await balance_sats(outside.lp.core, outside.lp.wallet.inkey) == 50_000

    async def forwarded() -> bool:
        return await _balance_b(outside, outside.friend) > 0

    await wait_for(forwarded, 30, 0.3)
    payments = answer(await outside.forwarding_lp.api.get("/lp/payments"))["data"]
    forward = next(x for x in payments if x["leg_type"] == "autoforward")
    assert forward["amount_sats"] == 50_000
    assert await _balance_b(outside, outside.friend) < 50_000
    assert settlement["retained_sats"] == 0
    # what the routing reserve did not use stays in the machine's wallet
    left = await balance_sats(outside.operator.core, outside.operator.wallet.inkey)
    assert left == 5_000 - split["sent_sats"]


async def test_the_node_is_stopped_while_a_payment_is_under_way(
    outside: Outside,
) -> None:
    before = await _balance_b(outside, outside.partner)
    outside.wire.asked_to_pay.clear()
    bolt11, trade = await outside.machine.offer({100: 2}, RATE)

    # hold the line only once the customer's payment has landed
    answer(await pay_from_outside(outside.pair, bolt11))
    await wait_for(lambda: _settlement(outside, trade.payment_hash), 30, 0.05)
    outside.wire.hold()

    async def arrived() -> bool:
        return await _balance_b(outside, outside.partner) > before

    await wait_for(arrived, 30, 0.3)
    outside.pair.b.kill9()
    outside.wire.release()
    waiting = await _settlement(outside, trade.payment_hash)
    split = _leg(waiting, "operator_split")
    assert split["status"] == "pending"
    outside.pair.b = await outside.pair.b.again().ready()
    await outside.pair.b_super.aclose()
    settlement = await _until(outside, trade.payment_hash, "completed", 150)
    split = _leg(settlement, "operator_split")
    assert split["status"] == "completed"
    async with httpx.AsyncClient(base_url=outside.pair.b.url) as core:
        after = await balance_sats(core, outside.partner.inkey)
    assert after - before == split["sent_sats"], "paid exactly once"
