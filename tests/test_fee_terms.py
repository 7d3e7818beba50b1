"""Who gets how much of a fee with a fixed part and discounts: the formulas alone.

Every mixture of fractions, fixed fee, discounts of both owners (all of it too) and of
what the machine charged: net and forgiven add up to what the terms give, nobody
forgives what no customer got, and the platform's share is its own whatever is charged.
And through a whole plan: nothing is lost or invented, after a partial dispense and with
a network fee, for a cash-out and a cash-in.
"""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from satmachineadmin.bitspire import Limits
from satmachineadmin.calculations import (
    FeeTerms,
    dispense_split,
    fee_mismatch_sats,
    fee_shares,
    fee_shortfall_sats,
    fixed_fee_sats,
    lock_fee_shares,
    round_half_up,
    split_principal_based,
)
from satmachineadmin.models import (
    CASH_IN,
    CASH_OUT,
    CommissionSplit,
    Fiat,
    Fraction4,
    Machine,
    Settlement,
    SuperConfig,
)
from satmachineadmin.money.planning import build_plan

pytestmark = pytest.mark.pure

FRACTIONS = st.integers(0, 5_000).map(lambda n: Decimal(n).scaleb(-4))
SHARES = st.one_of(
    st.just(Decimal(0)),
    st.just(Decimal(1)),
    st.integers(1, 10_000).map(lambda n: Decimal(n).scaleb(-4)),
)
TERMS = st.builds(
    FeeTerms,
    platform_fraction=FRACTIONS,
    operator_fraction=FRACTIONS,
    fixed_cents=st.integers(0, 100_000),
    operator_discount=SHARES,
    platform_discount=SHARES,
)
TRADES = st.tuples(st.integers(1, 10_000_000), st.integers(1, 10_000_000))


def test_a_fixed_fee_counts_at_the_rate_of_its_own_trade() -> None:
    # 100 000 sat for 750.00: 10.00 is 1 333.33 sat
    assert fixed_fee_sats(1_000, 100_000, 75_000) == 1_333
    terms = FeeTerms(Decimal("0.0300"), Decimal("0.0500"), 1_000)
    shares = fee_shares(100_000, 75_000, terms)
    assert (shares.platform_sats, shares.operator_sats) == (3_000, 6_333)
    assert shares.fee_sats == 9_333


def test_nobody_gives_away_anothers_share() -> None:
    terms = FeeTerms(
        Decimal("0.0300"), Decimal("0.0500"), 1_000, operator_discount=Decimal(1)
    )
    shares = fee_shares(100_000, 75_000, terms)
    assert (shares.platform_sats, shares.operator_sats) == (3_000, 0)
    assert (shares.platform_discount_sats, shares.operator_discount_sats) == (0, 6_333)


@pytest.mark.parametrize(
    ("fee", "operators", "platforms", "mismatch"),
    [
        (8_000, 0, 0, 0),  # no customer got anything off: nothing is forgiven
        (9_000, 0, 0, 1_000),
        (7_000, 1_000, 0, 0),  # the operator's comes first
        (5_500, 2_500, 0, 0),
        (4_500, 2_500, 1_000, 0),
        (4_000, 2_500, 1_500, 0),
        (1_000, 2_500, 1_500, -3_000),  # less than all discounts: a mismatch
    ],
)
def test_a_discount_counts_as_far_as_the_fee_is_lower(
    fee: int, operators: int, platforms: int, mismatch: int
) -> None:
    half = Decimal("0.5000")
    terms = FeeTerms(Decimal("0.0300"), Decimal("0.0500"), 0, half, half)
    shares = fee_shares(100_000, 75_000, terms, fee)
    assert shares.operator_discount_sats == operators
    assert shares.platform_discount_sats == platforms
    assert shares.platform_sats == 3_000 - platforms
    found = fee_mismatch_sats(fee, shares.platform_sats, shares.operator_sats)
    assert found == mismatch


@settings(deadline=None, database=None, max_examples=examples(300))
@given(TRADES, TERMS, st.integers(0, 12_000_000))
def test_net_and_forgiven_add_up_to_what_the_terms_give(
    trade: tuple[int, int], terms: FeeTerms, fee: int
) -> None:
    principal, cents = trade
    platform, operator = split_principal_based(
        principal, terms.platform_fraction, terms.operator_fraction
    )
    operator += fixed_fee_sats(terms.fixed_cents, principal, cents)
    asked = fee_shares(principal, cents, terms)
    for shares in (asked, fee_shares(principal, cents, terms, fee)):
        assert shares.platform_sats + shares.platform_discount_sats == platform
        assert shares.operator_sats + shares.operator_discount_sats == operator
        assert min(shares.platform_sats, shares.operator_sats) >= 0
    # what a machine charges by the terms fits them, to the sat
    exact = fee_shares(principal, cents, terms, asked.fee_sats)
    assert exact == asked
    charged = fee_shares(principal, cents, terms, fee)
    forgiven = charged.platform_discount_sats + charged.operator_discount_sats
    assert forgiven <= max(0, platform + operator - fee)
    if charged.platform_discount_sats:
        most = asked.operator_discount_sats
        assert charged.operator_discount_sats == most  # the operator's came first


def _settlement(
    tx_type: str, trade: tuple[int, int], terms: FeeTerms, fee: int, network: int
) -> Settlement:
    principal, cents = trade
    shares = fee_shares(principal, cents, terms, fee)
    due = (shares.platform_sats, shares.operator_sats)
    platform, operator = lock_fee_shares(fee, *due)
    return Settlement(
        id="s",
        machine_id="m",
        payment_hash="h",
        tx_type=tx_type,
        wire_sats=principal + (fee if tx_type == CASH_OUT else -fee),
        principal_sats=principal,
        fee_sats=fee,
        platform_fee_sats=platform,
        operator_fee_sats=operator,
        shortfall_sats=fee_shortfall_sats(fee, platform),
        operator_discount_sats=shares.operator_discount_sats,
        platform_discount_sats=shares.platform_discount_sats,
        network_fee_sats=min(network, principal),
        fiat_amount=Fiat(Decimal(cents) / 100),
        fiat_code="GTQ",
        exchange_rate=principal * 100 / cents,
        wallet_id="w",
        transaction_time=NOW,
    )


NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
MACHINE = Machine(id="m", operator_user_id="o", machine_npub="npub1m", wallet_id="w")
PLATFORM = SuperConfig(super_fee_wallet_id="p")
SPLITS = [
    CommissionSplit(
        id=f"split{i}",
        operator_user_id="o",
        target=f"t{i}",
        target_wallet_id=f"t{i}",
        fraction=Fraction4(part),
    )
    for i, part in enumerate(("0.3333", "0.6667"))
]


@settings(deadline=None, database=None, max_examples=examples(300))
@given(
    st.sampled_from([CASH_OUT, CASH_IN]),
    TRADES,
    TERMS,
    st.one_of(st.none(), st.integers(0, 12_000_000)),
    st.integers(0, 5_000),
    st.integers(0, 10_000_000),
    st.integers(0, 10_000_000),
)
def test_a_plan_conserves_every_sat_and_the_platform_has_its_share(
    tx_type: str,
    trade: tuple[int, int],
    terms: FeeTerms,
    fee: int | None,
    network: int,
    cash: int,
    dispensed: int,
) -> None:
    principal, cents = trade
    asked = fee_shares(principal, cents, terms).fee_sats
    charged = asked if fee is None else fee
    if tx_type == CASH_IN:
        charged = min(charged, principal - 1)
    row = _settlement(tx_type, trade, terms, charged, network)
    owed = row.platform_fee_sats
    if tx_type == CASH_OUT and dispensed < cents:
        part = dispense_split(
            principal,
            charged,
            row.platform_fee_sats,
            row.operator_fee_sats,
            row.wire_sats,
            cents,
            dispensed,
        )
        row = row.copy(
            update={
                "dispensed_fiat": Fiat(Decimal(dispensed) / 100),
                "dispensed_principal_sats": part.principal_sats,
                "dispensed_fee_sats": part.fee_sats,
                "dispensed_platform_fee_sats": part.platform_fee_sats,
                "dispensed_operator_fee_sats": part.operator_fee_sats,
                "refund_sats": part.refund_sats,
            }
        )
        owed = part.platform_fee_sats
        assert owed <= row.platform_fee_sats
    positions = [
        {
            "client_id": "lp",
            "user_id": "u",
            "dca_wallet_id": "l",
            "default_dca_mode": "flow",
            "limit_cents": None,
            "deposited_cents": cash,
            "debited_cents": 0,
        }
    ]
    plan = build_plan(row, MACHINE, PLATFORM, SPLITS, positions, {}, NOW)
    paid = sum(x.amount_sats for x in plan.legs if x.leg_type == "super_fee")
    assert paid == owed
    out = row.wire_sats - row.network_fee_sats
    came = out if tx_type == CASH_OUT else row.fee_sats
    total = sum(x.amount_sats for x in plan.legs)
    assert total + plan.retained_sats - plan.loss_sats == came
    lps = [x for x in plan.legs if x.leg_type == "dca"]
    if tx_type == CASH_OUT and cash >= cents and not row.dispensed_fiat:
        assert sum(x.amount_sats for x in lps) in (principal, 0)


def test_limits_say_what_the_machine_trades() -> None:
    machine = MACHINE.copy(update={"min_fiat": Fiat(50), "max_fiat": Fiat(200)})
    limits = Limits.of(machine)
    assert limits.refusal(5_000, "GTQ") is None
    assert limits.refusal(20_000, "GTQ") is None
    assert "from 50.00 GTQ" in (limits.refusal(4_999, "GTQ") or "")
    assert "up to 200.00 GTQ" in (limits.refusal(20_001, "GTQ") or "")
    assert Limits.of(MACHINE).refusal(1, "GTQ") is None


def test_half_up_is_the_rounding_of_a_discount() -> None:
    terms = FeeTerms(Decimal(0), Decimal("0.0001"), 0, Decimal("0.5000"))
    shares = fee_shares(10_000, 100, terms)
    assert shares.operator_discount_sats == round_half_up(1, 2) == 1
