"""Every entry balances, and all of a settlement's add up to what its rows say.

Pure: random trades, whose legs are owed, paid, given up, marked and shrunk at random.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from trades import T0, trades

from satmachineadmin.ledger import entries
from satmachineadmin.ledger.entries import (
    Amount,
    Rate,
    added_up,
    lines_of,
    past_of,
    rate_of,
    standing_of,
)
from satmachineadmin.models import CASH_OUT, Leg, Settlement

pytestmark = pytest.mark.pure


def balances(change: entries.Standing, rate: Rate) -> bool:
    lines = lines_of(change, rate)
    return (
        sum(x.sats for x in lines) == 0
        and sum(x.fiat_cents for x in lines) == 0
        and sum(x.counter_cents for x in lines) == 0
    )


@given(trades())
@settings(max_examples=examples(300))
def test_every_standing_and_step_balances(trade: tuple[Settlement, list[Leg]]) -> None:
    settlement, legs = trade
    now = standing_of(settlement, legs)
    assert now.total == Amount()
    assert balances(now, rate_of(settlement))
    steps = past_of(settlement, legs)
    for step in steps:
        assert balances(step.change, rate_of(settlement))
    assert added_up(s.change for s in steps) == now
    assert [s.at for s in steps[2:]] == sorted(s.at for s in steps[2:])


@given(trades())
@settings(max_examples=examples(200))
def test_the_wallet_has_what_came_less_what_was_sent(
    trade: tuple[Settlement, list[Leg]],
) -> None:
    settlement, legs = trade
    sign = -1 if settlement.is_outgoing else 1
    expected = sign * settlement.wire_sats - settlement.network_fee_sats
    if settlement.planned_at:
        expected -= sum(
            (x.sent_sats or 0) + (x.routing_sats or 0)
            for x in legs
            if x.status == "completed"
            and not x.paid_outside
            and x.leg_type != "autoforward"
        )
    found = standing_of(settlement, legs).get(("machine_wallet", None), Amount())
    assert found.sats == expected


@given(st.lists(st.integers(-(10**9), 10**9), max_size=8), st.integers(1, 10**7))
@settings(max_examples=examples(200))
def test_values_add_up_and_are_off_by_less_than_a_cent(
    sats: list[int], cents: int
) -> None:
    change = entries.Standing()
    for number, sum_sats in enumerate(sats):
        change.add("lp", sum_sats, client=str(number))
    change.add("customer", -sum(sats))
    rate = Rate(cents, 777_777)
    lines = lines_of(change, rate)
    assert sum(x.counter_cents for x in lines) == 0
    for line in lines:
        exact = Decimal(line.sats) * cents / 777_777
        assert abs(line.counter_cents - exact) < 1


def test_what_does_not_add_up_is_refused() -> None:
    change = entries.Standing()
    change.add("lp", 1)
    with pytest.raises(ValueError, match="does not add up"):
        lines_of(change)


def test_a_whole_cash_out_of_100_000_sat() -> None:
    """The example of the product's first page, planned and half paid."""
    settlement = Settlement(
        id="s",
        machine_id="m",
        payment_hash="h",
        wire_sats=108_000,
        fiat_amount=Decimal(750),
        fiat_code="GTQ",
        exchange_rate=133.3,
        principal_sats=100_000,
        fee_sats=8_000,
        platform_fee_sats=3_000,
        operator_fee_sats=5_000,
        tx_type=CASH_OUT,
        is_outgoing=False,
        transaction_time=T0,
        planned_at=T0,
        status="processing",
    )

    def leg(leg_type: str, sats: int, **more: object) -> Leg:
        facts = {"id": leg_type, "settlement_id": "s", "machine_id": "m", **more}
        facts |= {"operator_user_id": "o", "transaction_time": T0}
        return Leg(leg_type=leg_type, amount_sats=sats, **facts)

    legs = [
        leg("super_fee", 3_000, status="completed", sent_sats=3_000),
        leg("operator_split", 4_000),
        leg("dca", 60_000, client_id="ana", amount_fiat=Decimal(450)),
    ]
    assert standing_of(settlement, legs) == {
        ("machine_wallet", None): Amount(105_000),
        ("platform_paid", None): Amount(3_000),
        ("passed_on", None): Amount(-3_000),
        ("splits", None): Amount(-4_000),
        ("operator_fees", None): Amount(-1_000),
        ("lp", "ana"): Amount(-60_000),
        ("own_cash", None): Amount(-40_000, 30_000),
        ("lp_cash_used", "ana"): Amount(0, 45_000),
        ("cash_dispensed", None): Amount(0, -75_000),
    }
    held_back = settlement.copy(update={"planned_at": None, "status": "quarantined"})
    assert standing_of(held_back, []) == {
        ("machine_wallet", None): Amount(108_000),
        ("held_back", None): Amount(-108_000),
    }
