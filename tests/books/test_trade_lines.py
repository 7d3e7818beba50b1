"""Lines of periods add up to those of all of them, and what is printed adds up; pure.

Random trades, and random moments that cut their past into periods.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trades import T0, trades

from satmachineadmin.books.trade_lines import (
    Figure,
    Key,
    Trade,
    lines_between,
    status_of,
)
from satmachineadmin.calculations import round_half_up
from satmachineadmin.ledger.entries import Standing, past_of
from satmachineadmin.models import CASH_OUT, Leg, Settlement

pytestmark = pytest.mark.pure
State = dict[str | None, Standing]


def trade_of(settlement: Settlement) -> Trade:
    return Trade(
        settlement.principal_sats,
        int(settlement.fiat_amount * 100),
        settlement.fee_sats,
        settlement.platform_fee_sats,
        settlement.operator_fee_sats,
        settlement.shortfall_sats,
    )


def state_at(settlement: Settlement, legs: list[Leg], at: datetime) -> State:
    """What its entries before that moment add up to, apart for each payment."""
    state: State = defaultdict(Standing)
    for step in past_of(settlement, legs):
        if step.at < at:
            state[step.payment_id].add_all(step.change)
    return state


def added(parts: list[dict[Key, Figure]]) -> dict[Key, tuple[int, int, int]]:
    total: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0])
    for part in parts:
        for key, figure in part.items():
            for n, x in enumerate((figure.sats, figure.cents, figure.wallet_sats)):
                total[key][n] += x
    return {key: (a, b, c) for key, (a, b, c) in total.items() if a or b or c}


@given(trades(), st.lists(st.integers(-5, 120), max_size=5))
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
def test_parts_of_a_past_add_up_to_all_of_it(
    given_trade: tuple[Settlement, list[Leg]], hours: list[int]
) -> None:
    settlement, legs = given_trade
    trade = trade_of(settlement)
    cuts = [T0 + timedelta(hours=h) for h in sorted({-9, *hours, 999})]
    states = [state_at(settlement, legs, at) for at in cuts]
    parts = [lines_between(trade, one, two) for one, two in pairwise(states)]
    whole = lines_between(trade, {}, states[-1])
    assert added(parts) == added([whole])
    # the wallet's column is what the wallet gained
    standing = Standing()
    for one in states[-1].values():
        standing.add_all(one)
    wallet = standing.get(("machine_wallet", None))
    gained = sum(figure.wallet_sats for figure in whole.values())
    assert gained == (wallet.sats if wallet else 0)


@given(trades())
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
def test_what_is_printed_adds_up(given_trade: tuple[Settlement, list[Leg]]) -> None:
    """The principal is worth its cash, the fee what its rate says, half up, and the
    parts of the fee add up to it, in sats and in cash."""
    settlement, _ = given_trade
    settlement.status, settlement.planned_at = "pending", None
    settlement.shortfall_sats = max(
        0, settlement.platform_fee_sats - settlement.fee_sats
    )
    state = state_at(settlement, [], T0 + timedelta(days=9))
    found = lines_between(trade_of(settlement), {}, state)
    cents = int(settlement.fiat_amount * 100)

    def of(record: str) -> tuple[int, int]:
        figure = found.get(Key(record), Figure())
        return figure.sats, figure.cents

    assert of("principal") == (settlement.principal_sats, cents)
    fee = settlement.fee_sats
    assert of("fee") == (fee, round_half_up(fee * cents, settlement.principal_sats))
    parts = ("fee: platform share", "fee: operator share", "fee: surplus")
    for n in (0, 1):
        charged = sum(of(name)[n] for name in parts) - of("fee: shortfall")[n]
        assert charged == of("fee")[n]
    assert status_of([state]) == "pending"


def test_a_fee_of_19_75_is_7_41_and_12_34() -> None:
    """It was 7.41 and 12.35 in the files; and 50 001 sat for 100.01 are not at 504."""
    principal, cents, fee = 50_001, 10_001, 9_876
    platform = 3_704
    settlement = Settlement(
        id="s",
        machine_id="m",
        payment_hash="h",
        wire_sats=principal + fee,
        fiat_amount=Decimal("100.01"),
        fiat_code="GTQ",
        exchange_rate=504.0,
        principal_sats=principal,
        fee_sats=fee,
        platform_fee_sats=platform,
        operator_fee_sats=fee - platform,
        tx_type=CASH_OUT,
        is_outgoing=False,
        status="pending",
        transaction_time=T0,
    )
    state = state_at(settlement, [], T0 + timedelta(days=1))
    found = lines_between(trade_of(settlement), {}, state)
    worth = {key.record: figure.cents for key, figure in found.items()}
    assert worth["principal"] == cents
    assert worth["fee"] == 1_975
    assert worth["fee: platform share"] + worth["fee: operator share"] == 1_975


def test_a_late_short_dispense_is_the_operators_loss_and_the_shares_are_its_legs() -> (
    None
):
    """Issue 18, 2: the share lines said 450 where 1 350 had been paid."""
    settlement = Settlement(
        id="s",
        machine_id="m",
        payment_hash="h",
        wire_sats=48_600,
        fiat_amount=Decimal("90.00"),
        fiat_code="GTQ",
        exchange_rate=500.0,
        principal_sats=45_000,
        fee_sats=3_600,
        platform_fee_sats=1_350,
        operator_fee_sats=2_250,
        tx_type=CASH_OUT,
        is_outgoing=False,
        status="completed",
        transaction_time=T0,
        planned_at=T0,
        processed_at=T0,
    )

    def leg(leg_type: str, sats: int, **more: object) -> Leg:
        facts = {"id": leg_type, "settlement_id": "s", "machine_id": "m", **more}
        facts |= {"operator_user_id": "o", "transaction_time": T0}
        facts |= {"completed_at": T0, "created_at": T0, "sent_sats": sats}
        return Leg(leg_type=leg_type, amount_sats=sats, status="completed", **facts)

    legs = [
        leg("super_fee", 1_350),
        leg("operator_split", 2_250),
        leg("dca", 45_000, client_id="ana", amount_fiat=Decimal(90)),
    ]
    day = timedelta(days=1)
    before = state_at(settlement, legs, T0 + day)
    filed = lines_between(trade_of(settlement), {}, before)
    assert filed[Key("fee: platform share")].sats == 1_350
    assert filed[Key("leg: super_fee", "completed", "super_fee")].sats == 1_350
    # three weeks later: 30.00 came out, and 32 400 are owed to the customer
    short = settlement.copy(
        update={
            "dispensed_fiat": Decimal(30),
            "dispensed_principal_sats": 15_000,
            "dispensed_fee_sats": 1_200,
            "dispensed_platform_fee_sats": 450,
            "dispensed_operator_fee_sats": 750,
        }
    )
    refund = leg("refund", 32_400).copy(update={"status": "pending"})
    now = state_at(short, [*legs, refund], T0 + day)
    later = lines_between(trade_of(settlement), before, now)
    assert Key("fee: platform share") not in later
    assert later[Key("principal")] == Figure(-30_000, -6_000, 0)
    assert later[Key("leg: refund", "pending")].sats == 32_400
    assert later[Key("loss")].sats == 32_400
    assert [k.record for k in later if k.record == "leg: dca"] == []
