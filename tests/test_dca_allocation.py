"""The principal over the LPs: pro rata, under their caps, and conservation of it all.

Pure: no LNbits is booted. The water-filling is compared with the slow, obvious way of
doing it (fill, cap, and again), in exact fractions.
"""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from satmachineadmin.calculations import (
    ConservationError,
    DcaAllocation,
    DcaCandidate,
    DcaShare,
    allocate_dca,
    check_conservation,
    round_half_up,
)

pytestmark = pytest.mark.pure

all_cases = settings(deadline=None, database=None, max_examples=examples(400))


def lp(client_id: str, balance_cents: int, cap_cents: int | None = None) -> Any:
    return DcaCandidate(
        client_id, balance_cents, balance_cents if cap_cents is None else cap_cents
    )


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[DcaCandidate]:
    """Up to 25 LPs, some without a balance, some at their daily limit; the small
    numbers make ties and parts of 0 sats common."""
    most = draw(st.sampled_from([5, 300, 10**6, 10**13]))
    amounts = st.integers(-2, most)
    pairs = draw(st.lists(st.tuples(amounts, amounts), max_size=25))
    return [
        DcaCandidate(f"c{i:02d}", balance, cap)
        for i, (balance, cap) in enumerate(pairs)
    ]


SATS = st.one_of(st.integers(0, 50), st.integers(0, 2_100_000_000_000_000))
CENTS = st.one_of(st.integers(0, 500), st.integers(0, 10**14))


def test_the_example_of_the_specification() -> None:
    assert allocate_dca(100_000, 20_000, [lp("a", 30_000), lp("b", 10_000)]) == (
        DcaAllocation(
            shares=(DcaShare("a", 15_000, 75_000), DcaShare("b", 5_000, 25_000)),
            fiat_cents=20_000,
            amount_sats=100_000,
        )
    )


def test_known_failure_10_nobody_is_debited_more_than_they_have() -> None:
    # 200.00 were dispensed, the LPs hold 50.00: a quarter of the principal is theirs.
    allocation = allocate_dca(100_000, 20_000, [lp("a", 3_000), lp("b", 2_000)])
    assert allocation.shares == (
        DcaShare("a", 3_000, 15_000),
        DcaShare("b", 2_000, 10_000),
    )
    assert allocation.amount_sats == 25_000


def test_known_failure_11_dust_goes_to_somebody_and_fiat_is_debited() -> None:
    allocation = allocate_dca(100, 100, [lp("a", 100), lp("b", 100), lp("c", 100)])
    assert [(s.fiat_cents, s.amount_sats) for s in allocation.shares] == [
        (34, 34),
        (33, 33),
        (33, 33),
    ]


def test_a_cap_is_filled_and_the_rest_goes_round_again() -> None:
    # Pro rata would be 100.00 each; a may take 40.00 today, b and c share 260.00.
    allocation = allocate_dca(
        300_000, 30_000, [lp("a", 20_000, 4_000), lp("b", 20_000), lp("c", 20_000)]
    )
    assert allocation.shares == (
        DcaShare("a", 4_000, 40_000),
        DcaShare("b", 13_000, 130_000),
        DcaShare("c", 13_000, 130_000),
    )


def test_ties_go_by_client_id_and_not_by_who_is_nearer_their_cap() -> None:
    allocation = allocate_dca(3, 3, [lp("a", 1_000, 900), lp("b", 1_000, 500)])
    assert allocation.shares == (DcaShare("a", 2, 2), DcaShare("b", 1, 1))


def test_filling_one_cap_can_fill_another() -> None:
    # b's quota is 100.00, below its cap, until a's is cut and b's grows to 125.00.
    allocation = allocate_dca(
        300_000,
        30_000,
        [lp("a", 20_000, 5_000), lp("b", 20_000, 11_000), lp("c", 20_000)],
    )
    assert [s.fiat_cents for s in allocation.shares] == [5_000, 11_000, 14_000]


def test_an_lp_at_their_daily_limit_takes_no_part() -> None:
    allocation = allocate_dca(1_000, 100, [lp("a", 500, 0), lp("b", 100)])
    assert allocation.shares == (DcaShare("b", 100, 1_000),)


def test_a_cap_above_the_balance_counts_up_to_the_balance() -> None:
    allocation = allocate_dca(1_000, 1_000, [lp("a", 100, 900)])
    assert allocation.shares == (DcaShare("a", 100, 100),)


def test_a_part_of_no_sats_is_not_debited() -> None:
    allocation = allocate_dca(1, 10_000, [lp("a", 5_000), lp("b", 5_000)])
    assert allocation == DcaAllocation(
        shares=(DcaShare("a", 5_000, 1),), fiat_cents=5_000, amount_sats=1
    )


def test_fiat_too_small_for_half_a_sat_makes_no_share() -> None:
    assert allocate_dca(1, 10_000, [lp("a", 4_999)]).shares == ()
    assert allocate_dca(1, 10_000, [lp("a", 5_000)]).shares == (
        DcaShare("a", 5_000, 1),
    )


@pytest.mark.parametrize(
    ("principal_sats", "fiat_cents", "candidates"),
    [
        (100_000, 20_000, []),
        (100_000, 20_000, [lp("a", 0), lp("b", -500), lp("c", 500, -1)]),
        (100_000, 0, [lp("a", 500)]),
        (0, 20_000, [lp("a", 500)]),
    ],
)
def test_nobody_to_pay(
    principal_sats: int, fiat_cents: int, candidates: list[DcaCandidate]
) -> None:
    assert allocate_dca(principal_sats, fiat_cents, candidates) == DcaAllocation(
        shares=(), fiat_cents=0, amount_sats=0
    )


@all_cases
@given(SATS, CENTS, candidate_lists())
def test_conservation_and_caps(
    principal_sats: int, fiat_cents: int, candidates: list[DcaCandidate]
) -> None:
    allocation = allocate_dca(principal_sats, fiat_cents, candidates)
    known = {c.client_id: c for c in candidates}
    for share in allocation.shares:
        assert type(share.fiat_cents) is int
        assert type(share.amount_sats) is int
        assert share.amount_sats > 0
        candidate = known.pop(share.client_id)
        assert 0 < share.fiat_cents <= candidate.cap_cents
        assert share.fiat_cents <= candidate.balance_cents
    assert allocation.fiat_cents == sum(s.fiat_cents for s in allocation.shares)
    assert allocation.amount_sats == sum(s.amount_sats for s in allocation.shares)

    caps = [min(c.cap_cents, c.balance_cents) for c in candidates]
    debit_cents = min(fiat_cents, sum(cap for cap in caps if cap > 0))
    assert allocation.fiat_cents <= debit_cents
    if fiat_cents:
        assert allocation.amount_sats == round_half_up(
            principal_sats * debit_cents, fiat_cents
        )
    if debit_cents == fiat_cents > 0:
        assert allocation.amount_sats == principal_sats


@all_cases
@given(SATS, CENTS, candidate_lists(), st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_changes_nothing(
    principal_sats: int, fiat_cents: int, candidates: list[DcaCandidate], random: Any
) -> None:
    expected = allocate_dca(principal_sats, fiat_cents, candidates)
    shuffled = candidates.copy()
    random.shuffle(shuffled)
    assert allocate_dca(principal_sats, fiat_cents, shuffled) == expected
    assert [s.client_id for s in expected.shares] == sorted(
        s.client_id for s in expected.shares
    )


def slow_water_filling(
    debit_cents: int, candidates: list[DcaCandidate]
) -> dict[str, Fraction]:
    """Exact quotas: share pro rata, give whoever is above their cap just the cap,
    share the rest among the others, until nobody is above."""
    quotas: dict[str, Fraction] = {}
    open_ones = [c for c in candidates if min(c.cap_cents, c.balance_cents) > 0]
    left = Fraction(debit_cents)
    while open_ones:
        balance = sum(c.balance_cents for c in open_ones)
        over = [
            c
            for c in open_ones
            if left * c.balance_cents / balance > min(c.cap_cents, c.balance_cents)
        ]
        if not over:
            for c in open_ones:
                quotas[c.client_id] = left * c.balance_cents / balance
            break
        for c in over:
            quotas[c.client_id] = Fraction(min(c.cap_cents, c.balance_cents))
            left -= quotas[c.client_id]
        open_ones = [c for c in open_ones if c not in over]
    return quotas


@all_cases
@given(CENTS, candidate_lists())
def test_parts_are_within_a_cent_of_the_slow_water_filling(
    fiat_cents: int, candidates: list[DcaCandidate]
) -> None:
    # A sat for each cent, so that no part is dropped for being worth no sat.
    allocation = allocate_dca(fiat_cents, fiat_cents, candidates)
    caps = [min(c.cap_cents, c.balance_cents) for c in candidates]
    quotas = slow_water_filling(
        min(fiat_cents, sum(cap for cap in caps if cap > 0)), candidates
    )
    parts = {s.client_id: s.fiat_cents for s in allocation.shares}
    for client_id, quota in quotas.items():
        assert abs(parts.get(client_id, 0) - quota) < 1
    assert sum(parts.values()) == sum(quotas.values())


def test_500_lps_take_milliseconds_and_every_sat_arrives() -> None:
    candidates = [
        lp(f"c{i:05d}", 10_000 + 37 * i, 500 + 13 * (i % 90)) for i in range(5_000)
    ]
    started = time.process_time()
    allocation = allocate_dca(2_100_000_000_000_000, 4_000_000, candidates)
    assert time.process_time() - started < 2
    assert allocation.amount_sats == 2_100_000_000_000_000
    assert allocation.fiat_cents == 4_000_000
    assert len(allocate_dca(10**8, 10**6, candidates[:500]).shares) == 500


def test_a_client_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="Client a is a candidate twice"):
        allocate_dca(100, 100, [lp("a", 0), lp("a", 100)])


@pytest.mark.parametrize("bad", [1.0, True, "1", None])
def test_money_that_is_not_an_int_is_a_type_error(bad: Any) -> None:
    for call in (
        lambda: allocate_dca(bad, 100, []),
        lambda: allocate_dca(100, bad, []),
        lambda: allocate_dca(100, 100, [DcaCandidate("a", bad, 1)]),
        lambda: allocate_dca(100, 100, [DcaCandidate("a", 1, bad)]),
        lambda: allocate_dca(100, 100, [DcaCandidate("a", 0, bad)]),
    ):
        with pytest.raises(TypeError):
            call()


def test_negative_money_is_refused() -> None:
    with pytest.raises(ValueError, match="principal_sats is -1"):
        allocate_dca(-1, 100, [])
    with pytest.raises(ValueError, match="fiat_cents is -1"):
        allocate_dca(1, -1, [])


# --- conservation -------------------------------------------------------------------

CASH_OUT_PLAN: dict[str, Any] = {
    "tx_type": "cash_out",
    "wire_sats": 108_000,
    "network_fee_sats": 0,
    "fee_sats": 8_000,
    "leg_sats": [3_000, 5_000, 75_000, 25_000],
    "retained_sats": 0,
    "dca_cents": 20_000,
    "fiat_cents": 20_000,
}
CASH_IN_PLAN: dict[str, Any] = CASH_OUT_PLAN | {
    "tx_type": "cash_in",
    "wire_sats": 92_000,
    "leg_sats": [3_000, 5_000],
    "dca_cents": 0,
}


@pytest.mark.parametrize(
    "plan",
    [CASH_OUT_PLAN, CASH_IN_PLAN, CASH_IN_PLAN | {"leg_sats": [0, 3_000, 5_000]}],
)
def test_a_plan_that_adds_up_passes(plan: dict[str, Any]) -> None:
    check_conservation(**plan)


def test_known_failure_42_the_network_fee_is_not_there_to_be_paid_out() -> None:
    plan = CASH_OUT_PLAN | {"network_fee_sats": 400}
    with pytest.raises(ConservationError, match="107600 sat of the settlement"):
        check_conservation(**plan)
    check_conservation(**plan | {"leg_sats": [3_000, 4_600, 75_000, 25_000]})
    with pytest.raises(ConservationError, match="are 400 sat more than the 107600 sat"):
        check_conservation(**plan | {"retained_sats": -400})


@pytest.mark.parametrize(
    ("plan", "change", "sentence"),
    [
        (CASH_OUT_PLAN, {"leg_sats": [3_000, 5_000]}, "do not add up to the 108000"),
        (CASH_OUT_PLAN, {"retained_sats": 1}, "do not add up to the 108000"),
        (CASH_OUT_PLAN, {"leg_sats": [-1, 108_001]}, "A leg of -1 sat is negative"),
        (CASH_OUT_PLAN, {"dca_cents": 20_001}, "debited 200.01, but 200.00"),
        (CASH_OUT_PLAN, {"dca_cents": -1}, "debited -0.01"),
        (CASH_OUT_PLAN, {"tx_type": ""}, "neither a cash-out nor a cash-in"),
        (CASH_IN_PLAN, {"leg_sats": [3_000, 5_001]}, "do not add up to the 8000"),
        (CASH_IN_PLAN, {"dca_cents": 1}, "debited 0.01, but 0.00"),
        (
            CASH_IN_PLAN,
            {"leg_sats": [3_000, 5_001], "retained_sats": -1},
            "are 1 sat more than the 8000 sat",
        ),
    ],
)
def test_a_plan_that_does_not_add_up_is_refused(
    plan: dict[str, Any], change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConservationError, match=sentence):
        check_conservation(**plan | change)


@pytest.mark.parametrize(
    "change",
    [
        {"leg_sats": [3_000.0, 105_000]},
        {"retained_sats": 0.0},
        {"wire_sats": 108_000.0},
        {"dca_cents": True},
        {"fiat_cents": 20_000.0},
    ],
)
def test_a_float_in_a_plan_is_a_type_error(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        check_conservation(**CASH_OUT_PLAN | change)
