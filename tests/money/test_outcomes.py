"""What LNbits' rows say of a payout: every state of payer and receiver, and whose row.

Pure: no LNbits is booted. The table is that of the money path's specification.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from satmachineadmin.host.payments import LnbitsRow
from satmachineadmin.models import Leg, Payout
from satmachineadmin.money.payouts import (
    Observation,
    Outcome,
    _observe,
    classify,
)
from satmachineadmin.money.payouts_crud import _as_decided, backoff_seconds

pytestmark = pytest.mark.pure

NOW = datetime(2025, 1, 31, tzinfo=timezone.utc)
PAYOUT = Payout(
    id="p",
    source_wallet_id="machine",
    destination="wallet:lp",
    amount_sats=5,
    created_at=NOW,
    updated_at=NOW,
)


def row(amount_msat: int, status: str, **more: Any) -> LnbitsRow:
    fields = {"checking_id": "c", "wallet_id": "machine", "fee_msat": 0, **more}
    return LnbitsRow(amount_msat=amount_msat, status=status, updated_at=NOW, **fields)


@pytest.mark.parametrize(
    ("outgoing", "incoming", "expected"),
    [
        (None, None, Outcome.NOT_TRIED),
        (None, "pending", Outcome.NOT_TRIED),
        (None, "success", Outcome.TAKEN),
        (None, "failed", Outcome.INVOICE_FAILED),
        ("pending", None, Outcome.IN_FLIGHT),
        ("pending", "pending", Outcome.IN_FLIGHT),
        ("pending", "success", Outcome.IN_FLIGHT),
        ("pending", "failed", Outcome.IN_FLIGHT),
        ("failed", None, Outcome.FAILED),
        ("failed", "pending", Outcome.FAILED),
        ("failed", "success", Outcome.FAILED),
        ("failed", "failed", Outcome.FAILED),
        ("success", None, Outcome.PAID),
        ("success", "success", Outcome.PAID),
        ("success", "pending", Outcome.UNCREDITED),
        ("success", "failed", Outcome.UNCREDITED),
        # a state that LNbits does not have today frees nothing
        ("unheard of", None, Outcome.IN_FLIGHT),
    ],
)
def test_the_table(
    outgoing: str | None, incoming: str | None, expected: Outcome
) -> None:
    payer = row(-5_000, outgoing) if outgoing else None
    receiver = row(5_000, incoming) if incoming else None
    assert classify(payer, receiver) is expected


def test_whose_row_it_is() -> None:
    mine = row(-5_000, "success")
    received = row(5_000, "success", wallet_id="lp")
    elsewhere = row(-5_000, "failed", wallet_id="somebody's")
    fee = row(50, "failed", checking_id="service_fee_c", wallet_id="fees")
    for found in (
        [mine, received, elsewhere, fee],
        [fee, elsewhere, received, mine],
    ):
        assert _observe(PAYOUT, found) == Observation(Outcome.PAID, mine, received)
    for status in ("failed", "pending", "success"):
        tried = row(-5_000, status, wallet_id="somebody's")
        assert _observe(PAYOUT, [tried]) == Observation(Outcome.TAKEN)
    earned = row(50, "success", checking_id="service_fee_c", wallet_id="fees")
    assert _observe(PAYOUT, [earned]) == Observation(Outcome.NOT_TRIED)
    unpaid = row(5_000, "pending", wallet_id="lp")
    assert _observe(PAYOUT, [earned, unpaid]).outcome is Outcome.NOT_TRIED
    assert _observe(PAYOUT, [earned, received]).outcome is Outcome.TAKEN
    assert _observe(PAYOUT, [mine, fee]) == Observation(Outcome.PAID, mine)
    # a row of nothing is neither side
    nothing = row(0, "failed")
    assert _observe(PAYOUT, [nothing]) == Observation(Outcome.NOT_TRIED)
    assert _observe(PAYOUT, [row(-1, "pending")]).outcome is Outcome.IN_FLIGHT
    assert _observe(PAYOUT, [row(1, "failed")]).outcome is Outcome.INVOICE_FAILED


@pytest.mark.parametrize(
    ("fee_msat", "sats"),
    [(0, 0), (-1, 1), (-999, 1), (-1_000, 1), (-1_001, 2), (1_001, 2)],
)
def test_the_network_fee_is_rounded_up(fee_msat: int, sats: int) -> None:
    paid = row(-5_000, "success", fee_msat=fee_msat)
    assert Observation(Outcome.PAID, paid).network_fee_sats == sats
    assert Observation(Outcome.PAID, None, paid).network_fee_sats == 0


def test_backing_off_doubles_from_a_minute_to_an_hour() -> None:
    waits = [backoff_seconds(attempts) for attempts in range(10)]
    assert waits == [60, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert backoff_seconds(-5) == 60


def test_legs_that_joined_are_those_that_were_decided_on() -> None:
    def leg(leg_id: str, sats: int, target: str | None = None) -> Leg:
        return Leg(
            id=leg_id,
            settlement_id="s",
            machine_id="m",
            operator_user_id="o",
            leg_type="dca",
            amount_sats=sats,
            target=target,
            transaction_time=NOW,
        )

    a, b = leg("a", 1), leg("b", 2, "x@y")
    joined_a, joined_b = ("a", 1, None), ("b", 2, "x@y")
    assert _as_decided({joined_a, joined_b}, [b, a])
    assert not _as_decided({joined_a}, [a, b])
    assert not _as_decided({joined_a, joined_b}, [a])
    assert not _as_decided({("a", 2, None)}, [a])
    assert not _as_decided({("a", 1, "elsewhere")}, [a])
