"""Random trades, whose legs are owed, paid, given up, marked and shrunk at random."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

from hypothesis import strategies as st

from satmachineadmin.calculations import split_principal_based
from satmachineadmin.models import CASH_IN, CASH_OUT, Leg, Settlement

T0 = datetime(2026, 11, 9, 12, tzinfo=timezone.utc)
STATUSES = ["pending", "failed", "completed", "skipped", "voided"]


@st.composite
def trades(draw: st.DrawFn) -> tuple[Settlement, list[Leg]]:
    tx_type = draw(st.sampled_from([CASH_OUT, CASH_IN]))
    principal = draw(st.integers(1, 10**9))
    fee = draw(st.integers(0, principal // 3))
    network = draw(st.integers(0, 50))
    platform, operator = split_principal_based(
        principal, Decimal("0.03"), Decimal("0.05")
    )
    operator = max(0, min(operator, fee - platform))
    is_out = tx_type == CASH_IN
    status = draw(
        st.sampled_from(["quarantined", "voided", "pending", "completed", "completed"])
    )
    settlement = Settlement(
        id="s",
        machine_id="m",
        payment_hash="h",
        wire_sats=principal - fee if is_out else principal + fee,
        fiat_amount=Decimal(draw(st.integers(1, 10**7))) / 100,
        fiat_code="GTQ",
        exchange_rate=1.0,
        principal_sats=principal,
        fee_sats=fee,
        platform_fee_sats=platform,
        operator_fee_sats=operator,
        network_fee_sats=network,
        tx_type=tx_type,
        is_outgoing=is_out,
        status=status,
        transaction_time=T0,
        processed_at=T0 + timedelta(days=1),
        planned_at=T0 if status == "completed" else None,
    )
    types = ["super_fee", "operator_split", "refund"] + [] * is_out
    kinds = types if is_out else [*types, "dca", "dca", "autoforward"]
    legs = [
        draw(a_leg(number, draw(st.sampled_from(kinds)), principal))
        for number in range(draw(st.integers(0, 6)))
    ]
    return settlement, legs


@st.composite
def a_leg(draw: st.DrawFn, number: int, leg_type: str, most: int) -> Leg:
    amount = draw(st.integers(1, most))
    sent = draw(st.integers(0, amount))
    return Leg(
        id=f"leg{number}",
        settlement_id="s",
        client_id=draw(st.sampled_from(["ana", "ben"])) if leg_type == "dca" else None,
        machine_id="m",
        operator_user_id="o",
        leg_type=leg_type,
        amount_sats=amount,
        amount_fiat=Decimal(draw(st.integers(0, 9999))) / 100,
        transaction_time=T0,
        created_at=T0,
        status=draw(st.sampled_from(STATUSES)),
        paid_outside=draw(st.booleans()),
        sent_sats=sent,
        routing_sats=draw(st.integers(0, amount - sent)),
        completed_at=T0 + timedelta(hours=draw(st.integers(-1, 99))),
    )
