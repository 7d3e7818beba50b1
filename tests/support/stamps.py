"""A machine's stamp, a payment that carries it, and what the reader makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from lnbits.core.models import Payment

from satmachineadmin.bitspire import (
    ParsedSettlement,
    SettlementInvariantError,
    parse_settlement,
)
from satmachineadmin.models import Machine, SuperConfig

MACHINE = Machine(
    id="machine",
    operator_user_id="operator",
    machine_npub="npub",
    wallet_id="wallet",
    fiat_code="GTQ",
    operator_cash_in_fee_fraction="0.0400",
    operator_cash_out_fee_fraction="0.0500",
)
SUPER = SuperConfig(
    super_cash_in_fee_fraction="0.0200", super_cash_out_fee_fraction="0.0300"
)
STAMP: dict[str, Any] = {
    "source": "bitspire",
    "tx_type": "cash_out",
    "principal_sats": 100_000,
    "fee_sats": 8_000,
    "fiat_amount": "750.00",
    "fiat_code": "GTQ",
    "exchange_rate": 133.3333,
    "txid": "b1946ac9",
    "bills": {"100": 7, "50": 1},
    "cassettes": {"1": 7, "2": 1},
    "dispense": "confirmed",
}
CASH_IN = STAMP | {"tx_type": "cash_in", "bills": {"50": 15}}
MISSING = object()
RATELESS = {"exchange_rate": None}


def paid(stamp: Any, amount_msat: int = 108_000_000, fee_msat: int = 0) -> Payment:
    payment = Payment(
        checking_id="checking",
        payment_hash="hash",
        wallet_id="wallet",
        amount=amount_msat,
        fee=fee_msat,
        bolt11="",
        status="success",
    )
    payment.extra = stamp
    return payment


def parse(
    changes: dict[str, Any] | None = None,
    amount_msat: int = 108_000_000,
    stamp: dict[str, Any] = STAMP,
    **kwargs: Any,
) -> ParsedSettlement:
    changed = stamp | (changes or {})
    changed = {name: value for name, value in changed.items() if value is not MISSING}
    return parse_settlement(paid(changed, amount_msat), MACHINE, SUPER, **kwargs)


def sentence(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(SettlementInvariantError) as error:
        parse(*args, **kwargs)
    text = str(error.value)
    assert text.endswith((".", "?"))
    assert "\n" not in text
    return text
