"""Every action from every state: allowed or refused, and what it leaves behind.

Rows are put into the state straight away (`money_rows.py`); how they come to be in it,
and the sats, are tested in `test_repairs.py`. A refused action changes nothing and
leaves no entry in the log; an allowed one leaves exactly its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from api_world import Desk, make_desk
from money_rows import add_leg, add_payout, add_settlement

from satmachineadmin import distribution
from satmachineadmin.base.database import db, fetch_all
from satmachineadmin.desk import repairs_crud
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet

WHY = {"reason": "the matrix asks"}
Row = Mapping[str, Any]


@pytest.fixture
async def desk(
    engine_paused: distribution.Worker, make_user: MakeUser, make_wallet: MakeWallet
) -> Desk:
    return await make_desk(make_user, make_wallet)


async def all_rows(desk: Desk) -> dict[str, list[dict[str, Any]]]:
    """Everything of this machine that an action could change."""
    found = {}
    own = {"m": desk.machine["id"], "c": desk.client["id"]}
    async with db.connect() as conn:
        for table in ("dca_settlements", "dca_payments", "dca_audit"):
            found[table] = [
                dict(r)
                for r in await fetch_all(
                    conn,
                    f"SELECT * FROM satoshimachine.{table} WHERE machine_id = :m "
                    "ORDER BY id",
                    {"m": own["m"]},
                )
            ]
        found["totals"] = [
            dict(r)
            for r in await fetch_all(
                conn,
                "SELECT * FROM satoshimachine.dca_client_totals WHERE client_id = :c",
                {"c": own["c"]},
            )
        ]
    return found


# ------------------------------------------------------------------------------- legs

LEG_STATES: dict[str, dict[str, Any]] = {
    "waiting": {"status": "pending", "completed_at": None},
    "failed": {"status": "failed", "attempts": 10},
    "payout being opened": {"status": "pending", "payout": {"status": "new"}},
    "in flight": {"status": "pending", "payout": {"status": "invoiced"}},
    "completed": {"status": "completed", "payout": {"status": "paid"}},
    "marked paid": {"status": "completed", "reference": "slip"},
    "voided": {"status": "voided"},
    "skipped": {"status": "skipped"},
    "refunded": {"status": "refunded"},
}
OPEN = ("waiting", "failed")
AFTER = {"retry": "pending", "void": "voided", "mark-paid": "completed"}


@pytest.mark.parametrize("action", AFTER)
async def test_every_action_on_a_leg_from_every_state(desk: Desk, action: str) -> None:
    for name, state in LEG_STATES.items():
        columns = dict(state)
        payout = columns.pop("payout", None)
        if payout:
            if payout["status"] == "new":
                payout = {**payout, "payment_hash": None}
            columns["payout_id"] = await add_payout(desk.machine, **payout)
        settlement_id = await add_settlement(
            desk.machine,
            status="attention" if name == "failed" else "processing",
            planned_at=utc_now(),
            retained_sats=107_000,
        )
        leg_id = await add_leg(
            desk.machine,
            settlement_id,
            operator_user_id=desk.operator.user_id,
            client_id=desk.client["id"],
            amount_fiat="7.50",
            **columns,
        )
        before = await all_rows(desk)
        answer = await desk.operator.api.post(
            f"/payments/{leg_id}/{action}", json={**WHY, "reference": "slip 8"}
        )
        after = await all_rows(desk)
        if name not in OPEN:
            assert answer.status_code == 409, (action, name, answer.text)
            flying = name in ("payout being opened", "in flight")
            assert ("being paid" in answer.json()["detail"]) == flying, name
            assert after == before, (action, name)
            continue
        assert answer.status_code == 200, (action, name, answer.text)
        assert answer.json()["status"] == AFTER[action], (action, name)
        log = [e for e in after["dca_audit"] if e not in before["dca_audit"]]
        assert [e["action"] for e in log] == [f"payment.{action.replace('-', '_')}"]
        assert log[0]["actor"] == desk.operator.user_id
        assert log[0]["reason"] == WHY["reason"]
        changed = [r for r in after["dca_payments"] if r not in before["dca_payments"]]
        assert [r["id"] for r in changed] == [leg_id] or name == "waiting"
        settlement = next(
            r for r in after["dca_settlements"] if r["id"] == settlement_id
        )
        kept = 108_000 if action == "void" else 107_000
        assert settlement["retained_sats"] == kept, (action, name)
        assert settlement["status"] != "attention"


# ------------------------------------------------------------------------ settlements


@dataclass(frozen=True)
class State:
    """A settlement, its legs, and which actions are allowed on it."""

    allowed: str
    settlement: dict[str, Any]
    legs: list[dict[str, Any]] = field(default_factory=list)


PLANNED = {"planned_at": utc_now(), "retained_sats": 0, "dispense_state": "confirmed"}
WAITING = {"status": "pending"}
FLYING = {"status": "pending", "payout": {"status": "invoiced"}}
DONE = {"status": "completed", "payout": {"status": "paid"}}
REFUND = {"leg_type": "refund", "status": "pending", "client_id": None}
STATES: dict[str, State] = {
    "quarantined": State("resolve void", {"status": "quarantined"}),
    "awaiting": State(
        "dispense void", {"status": "awaiting_dispense", "dispense_state": "awaiting"}
    ),
    "overdue": State(
        "dispense void", {"status": "attention", "dispense_state": "awaiting"}
    ),
    "pending": State(
        "dispense void", {"status": "pending", "dispense_state": "confirmed"}
    ),
    "no plan": State(
        "dispense retry void", {"status": "attention", "dispense_state": "confirmed"}
    ),
    "waiting": State(
        "dispense retry void", {"status": "processing", **PLANNED}, [WAITING]
    ),
    "failed": State(
        "dispense retry void",
        {"status": "attention", **PLANNED},
        [{"status": "failed"}],
    ),
    "in flight": State("dispense", {"status": "processing", **PLANNED}, [FLYING]),
    "half paid": State(
        "dispense retry", {"status": "processing", **PLANNED}, [DONE, WAITING]
    ),
    "paid": State("dispense", {"status": "completed", **PLANNED}, [DONE]),
    "nobody to pay": State("dispense void", {"status": "completed", **PLANNED}),
    "refund open": State(
        "dispense refund",
        {"status": "completed", **PLANNED, "refund_sats": 1_000},
        [DONE, REFUND],
    ),
    "refund paid": State(
        "dispense",
        {"status": "completed", **PLANNED, "refund_sats": 1_000},
        [DONE, {**REFUND, **DONE}],
    ),
    "voided": State("", {"status": "voided", **PLANNED}, [{"status": "voided"}]),
    "cash-in": State(
        "void",
        {"status": "completed", **PLANNED, "tx_type": "cash_in", "wire_sats": 92_000},
    ),
}
BODIES: dict[str, dict[str, Any]] = {
    "resolve": {
        "tx_type": "cash_out",
        "principal_sats": 100_000,
        "fee_sats": 8_000,
        "fiat_amount": "750.00",
        "fiat_code": "GTQ",
    },
    "dispense": {"dispensed_fiat": "375.00"},
    "refund": {"destination": "customer@elsewhere.example"},
    "retry": {},
    "void": {},
    "notes": {"note": "seen"},
    "test": {"is_test": True},
}


@pytest.mark.parametrize("action", BODIES)
async def test_every_action_on_a_settlement_from_every_state(
    desk: Desk, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_side(_: str) -> list[dict[str, Any]]:
        wallet = desk.machine["wallet_id"]
        return [{"wallet_id": wallet, "amount": 108_000_000, "status": "success"}]

    monkeypatch.setattr(repairs_crud, "lnbits_sides", one_side)
    for name, state in STATES.items():
        settlement_id = await put(desk, state)
        before = await all_rows(desk)
        body = {**WHY, **BODIES[action], "idempotency_key": secrets.token_hex(8)}
        answer = await desk.operator.api.post(
            f"/settlements/{settlement_id}/{action}", json=body
        )
        after = await all_rows(desk)
        if action in state.allowed.split() or action in ("notes", "test"):
            assert answer.status_code == 200, (action, name, answer.text)
            log = [e for e in after["dca_audit"] if e not in before["dca_audit"]]
            word = "note" if action == "notes" else action
            of_settlement = [e for e in log if e["subject_type"] == "settlement"]
            assert [e["action"] for e in of_settlement] == [f"settlement.{word}"]
        else:
            assert answer.status_code == 409, (action, name, answer.text)
            assert after == before, (action, name)


async def put(desk: Desk, state: State) -> str:
    settlement_id = await add_settlement(desk.machine, **state.settlement)
    for leg in state.legs:
        columns = {"client_id": desk.client["id"], "amount_fiat": "7.50", **leg}
        if columns["client_id"] is None:
            columns.pop("amount_fiat")
        payout = columns.pop("payout", None)
        if payout:
            columns["payout_id"] = await add_payout(desk.machine, **payout)
        await add_leg(
            desk.machine,
            settlement_id,
            operator_user_id=desk.operator.user_id,
            **columns,
        )
    return settlement_id
