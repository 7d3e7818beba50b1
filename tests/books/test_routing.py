"""What routing took of payments to somebody outside: issue 18, point 9.

169.83 of it stood in no file, and a statement's total of forwards was not the sum of
its rows.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from api_world import ok
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse
from lnurl_server import LnurlServer
from world import MakeWorld, World

from satmachineadmin import distribution
from satmachineadmin.books.statement import lp_statement
from satmachineadmin.host import paying
from satmachineadmin.host.balances import balances_msat
from satmachineadmin.models import utc_now

OUTSIDE = "somebody@elsewhere.example"
ROUTING = 7


async def books(world: World, path: str) -> list[dict[str, str]]:
    answer = await world.operator.api.get(path)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


async def test_routing_is_in_every_file_and_forwards_are_the_sum_of_their_rows(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = get_funding_source()
    real = source.pay_invoice

    async def pay(bolt11: str, fee_limit_msat: int) -> PaymentResponse:
        paid = await real(bolt11, fee_limit_msat)
        return paid._replace(fee_msat=ROUTING * 1000)

    monkeypatch.setattr(source, "pay_invoice", pay)
    async with LnurlServer() as shop:
        look_up = paying.get_pr_from_lnurl

        async def ask(target: str, amount_msat: int) -> str:
            at = shop.target if target == OUTSIDE else target
            return await look_up(at, amount_msat)

        monkeypatch.setattr(paying, "get_pr_from_lnurl", ask)
        world = await make_world()
        lp = await world.add_lp("900.00", autoforward=OUTSIDE)
        await world.add_split(OUTSIDE, "1.0000")
        for _ in range(3):
            await world.settle(await world.cash_out())
            await world.run_due()
    # one payment to the split's target and one forward for each sale
    legs = ok(await world.operator.api.get("/payments?limit=100"))["data"]
    splits = [x for x in legs if x["leg_type"] == "operator_split"]
    assert [x["status"] for x in splits] == ["completed"] * 3
    assert [x["routing_sats"] for x in splits] == [ROUTING] * 3
    assert all(x["arrived_sats"] < x["amount_sats"] - ROUTING for x in splits)
    # the file by settlement, the file by entry, the payments' file and the balances
    lines = await books(world, "/accounting.csv")
    routed = [x for x in lines if x["record"] == "routing"]
    assert [int(x["sats"]) for x in routed] == [ROUTING] * 3
    assert {x["id"] for x in routed} == {x["id"] for x in splits}
    entries = await books(world, "/accounting.csv?by=entry")
    taken = [int(x["sats"]) for x in entries if x["record"] == "routing"]
    assert sum(taken) == 3 * ROUTING
    payments = await books(world, "/payments.csv?leg_type=operator_split")
    assert sum(int(x["routing_sats"]) for x in payments) == 3 * ROUTING
    balances = ok(await world.operator.api.get("/accounting/balances"))["data"]
    (routing,) = [x for x in balances if x["account"] == "routing"]
    assert routing["sats"] == 3 * ROUTING
    # what left the wallet is what arrived, and what routing took
    wallet = world.machine_wallet.id
    in_lnbits = (await balances_msat([wallet]))[wallet] // 1000
    assert sum(int(x["wallet_sats"]) for x in lines) == in_lnbits
    # an LP's forwards: the total is its rows, and they are what was sent
    today = utc_now().date()
    (statement,) = await lp_statement(lp.user.user_id, today, today)
    rows = [x for x in statement.lines if x.kind == "autoforward"]
    sent = await sent_by(lp.user.api)
    assert [x.sats for x in rows] == sent and len(rows) == 3
    assert statement.forwarded_sats == sum(sent)
    assert 0 < statement.forwarded_sats < 300_000 - 3 * ROUTING
    assert statement.sats == sum(x.sats or 0 for x in statement.lines if x not in rows)


async def sent_by(api: Any) -> list[int]:
    """Forwards as the LP's own list has them."""
    legs = ok(await api.get("/lp/payments?leg_type=autoforward&sortby=created_at"))
    return [x["arrived_sats"] for x in legs["data"]]
