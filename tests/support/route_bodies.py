"""What each route of the API takes, so that a test may ask all of them."""

from __future__ import annotations

from typing import Any

# A body that each route would take, if the row were the caller's.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PUT", "/machines/{machine_id}"): {"name": "mine now"},
    ("PUT", "/machines/{machine_id}/splits"): {
        "splits": [{"target": "a@b.com", "fraction": "1"}]
    },
    ("PUT", "/machines/{machine_id}/cassettes"): {
        "positions": {"1": {"denomination": 20, "count": 1}}
    },
    ("POST", "/staff"): {"role": "bookkeeper"},
    ("PUT", "/staff/{staff_id}"): {"role": "manager"},
    ("PUT", "/visits/{visit_id}"): {"counts": {"bay:1": {"20": 1}}},
    ("PUT", "/preferences"): {"time_zone": "America/Guatemala"},
    ("PUT", "/notifications"): {"digest_at": "08:00"},
    ("PUT", "/webhook"): {"events": []},
    ("POST", "/cash/hand"): {"kind": "to_bank", "amount": "1.00", "currency": "GTQ"},
    ("PUT", "/clients/{client_id}"): {"status": "paused"},
    ("PUT", "/deposits/{deposit_id}"): {"amount": "1.00"},
    ("PUT", "/deposits/{deposit_id}/status"): {"status": "reversed", "reason": "x"},
    ("POST", "/super/deposits/{deposit_id}/decide"): {
        "outcome": "declined",
        "reason": "x",
    },
    ("POST", "/super/settlements/{settlement_id}/decide"): {
        "outcome": "declined",
        "reason": "x",
    },
    ("POST", "/settlements/{settlement_id}/resolve"): {
        "tx_type": "cash_out",
        "principal_sats": 100_000,
        "fee_sats": 8_000,
        "fiat_amount": "750.00",
        "fiat_code": "GTQ",
        "reason": "x",
    },
    ("POST", "/settlements/{settlement_id}/dispense/preview"): {
        "dispensed_fiat": "1.00",
    },
    ("POST", "/settlements/{settlement_id}/dispense"): {
        "dispensed_fiat": "1.00",
        "reason": "x",
    },
    ("POST", "/settlements/{settlement_id}/refund"): {
        "destination": "a@b.com",
        "reason": "x",
        "idempotency_key": "x",
    },
    ("POST", "/settlements/{settlement_id}/notes"): {"note": "x"},
    ("POST", "/settlements/{settlement_id}/test"): {"is_test": True, "reason": "x"},
    ("POST", "/payments/{leg_id}/mark-paid"): {"reason": "x", "reference": "x"},
    ("POST", "/payments/{leg_id}/redirect"): {"reason": "x", "target": "a@b.com"},
    ("POST", "/super/payments/{leg_id}/mark-paid"): {"reason": "x", "reference": "x"},
    ("POST", "/clients/{client_id}/close-balance"): {
        "wallet_id": "<a wallet of who asks>",
        "exchange_rate": 100,
        "reason": "x",
        "idempotency_key": "x",
    },
    # not the words that do it: everything is of other tests too
    ("POST", "/super/everything/delete"): {"confirmation": "x", "reason": "x"},
    ("POST", "/discounts"): {"code": "SPRING25", "fraction": "0.2500"},
    ("PUT", "/discounts/{discount_id}"): {"is_active": False},
    ("POST", "/super/discounts"): {"code": "SPRING25", "fraction": "0.2500"},
    ("PUT", "/super/discounts/{discount_id}"): {"is_active": False},
}
