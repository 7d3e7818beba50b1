"""Every action from every state: allowed or refused, and what it leaves behind.

Rows are put into the state straight away (`money_rows.py`); how they come to be in it,
and the sats, are tested in `test_repairs.py`. A refused action changes nothing and
leaves no entry in the log; an allowed one leaves exactly its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from api_world import Desk, make_desk
from lnbits.core.crud.wallets import delete_wallet
from lnbits.core.services import create_invoice
from money_rows import add_leg, add_payout, add_settlement

from satmachineadmin import distribution
from satmachineadmin.base.database import (
    db,
    db_time,
    execute,
    fetch_all,
    transaction,
)
from satmachineadmin.host import payments
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

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
# Who is owed decides: what an LP waits for is not the operator's to give up, and that
# it was paid outside is the LP's to say.
CREDITORS: dict[str, dict[str, Any]] = {
    "an LP": {"leg_type": "dca"},
    "an LP whose balance is closed": {"leg_type": "settlement"},
    "the operator": {"leg_type": "operator_split"},
    "a customer": {"leg_type": "refund", "target": "customer@elsewhere.example"},
    "the platform": {"leg_type": "super_fee"},
}


def is_allowed(action: str, creditor: str, state: str) -> int:
    """What the operator is answered about an unpaid leg."""
    if creditor == "the platform":
        return 200 if action == "retry" else 403
    if creditor.startswith("an LP") and action == "void":
        return 200 if state == "failed" else 409
    return 200


@pytest.mark.parametrize("creditor", CREDITORS)
@pytest.mark.parametrize("action", AFTER)
async def test_every_action_on_a_leg_from_every_state(
    desk: Desk, action: str, creditor: str
) -> None:
    of_lp = creditor.startswith("an LP")
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
            client_id=desk.client["id"] if of_lp else None,
            amount_fiat="7.50" if of_lp else None,
            **CREDITORS[creditor],
            **columns,
        )
        before = await all_rows(desk)
        answer = await desk.operator.api.post(
            f"/payments/{leg_id}/{action}", json={**WHY, "reference": "slip 8"}
        )
        after = await all_rows(desk)
        if creditor == "the platform" and action != "retry":
            assert answer.status_code == 403, (action, name, answer.text)
            assert after == before, (action, name)
            continue
        if name not in OPEN:
            assert answer.status_code == 409, (action, name, answer.text)
            flying = name in ("payout being opened", "in flight")
            assert ("being paid" in answer.json()["detail"]) == flying, name
            assert after == before, (action, name)
            continue
        wanted = is_allowed(action, creditor, name)
        assert answer.status_code == wanted, (action, name, answer.text)
        if wanted != 200:
            assert after == before, (action, name)
            continue
        if action == "mark-paid" and of_lp:
            assert_claimed(leg_id, answer.json(), before, after)
            continue
        assert answer.json()["status"] == AFTER[action], (action, name)
        assert answer.json()["paid_outside"] == (action == "mark-paid")
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


def assert_claimed(
    leg_id: str, answer: dict[str, Any], before: dict[str, Any], after: dict[str, Any]
) -> None:
    """The operator's word stands on the leg, and nothing else has changed."""
    assert answer["claim"]["state"] == "waiting"
    assert answer["claim"]["reference"] == "slip 8"
    assert answer["claim"]["at"] is not None
    assert answer["paid_outside"] is False
    was = next(r for r in before["dca_payments"] if r["id"] == leg_id)
    now = next(r for r in after["dca_payments"] if r["id"] == leg_id)
    changed = {key for key in now if now[key] != was[key]}
    assert changed == {"claim_state", "claim_reference", "claim_at"}
    assert after["totals"] == before["totals"]
    assert after["dca_settlements"] == before["dca_settlements"]
    log = [e for e in after["dca_audit"] if e not in before["dca_audit"]]
    assert [e["action"] for e in log] == ["payment.claim_paid"]
    assert log[0]["client_user_id"]


async def test_the_super_acts_on_the_platforms_fees_and_on_nothing_else(
    desk: Desk, super_session: UserSession
) -> None:
    for creditor, columns in CREDITORS.items():
        for action, status in AFTER.items():
            settlement_id = await add_settlement(
                desk.machine,
                status="processing",
                planned_at=utc_now(),
                retained_sats=107_000,
            )
            leg_id = await add_leg(
                desk.machine, settlement_id, **columns, status="pending"
            )
            before = await all_rows(desk)
            path = f"/super/payments/{leg_id}/{action}"
            body = {**WHY, "reference": "slip 9"}
            of_operator = await desk.operator.api.post(path, json=body)
            assert of_operator.status_code == 403
            answer = await super_session.api.post(path, json=body)
            after = await all_rows(desk)
            if creditor != "the platform":
                assert answer.status_code == 403, (creditor, answer.text)
                assert after == before, creditor
                continue
            assert answer.status_code == 200, (action, answer.text)
            assert answer.json()["status"] == status
            log = [e for e in after["dca_audit"] if e not in before["dca_audit"]]
            assert [e["actor"] for e in log] == [super_session.user_id]
            # the operator reads it in their own log
            assert log[0]["operator_user_id"] == desk.operator.user_id
    missing = await super_session.api.post("/super/payments/none/void", json=WHY)
    assert missing.status_code == 404


async def test_a_leg_is_tried_again_once_a_minute(desk: Desk) -> None:
    settlement_id = await add_settlement(
        desk.machine, status="processing", planned_at=utc_now(), retained_sats=107_000
    )
    legs = [
        await add_leg(desk.machine, settlement_id, status="failed", attempts=10)
        for _ in range(2)
    ]
    api = desk.operator.api
    paths = [f"/payments/{leg}/retry" for leg in legs]
    assert (await api.post(paths[0], json=WHY)).status_code == 200
    again = await api.post(paths[0], json=WHY)
    assert again.status_code == 409
    assert "less than a minute" in again.json()["detail"]
    # of the whole settlement: the other one only, then none
    whole = f"/settlements/{settlement_id}/retry"
    assert (await api.post(whole, json=WHY)).status_code == 200
    assert (await api.post(paths[1], json=WHY)).status_code == 409
    assert (await api.post(whole, json=WHY)).status_code == 409
    async with transaction() as conn:
        await execute(
            conn,
            "UPDATE satoshimachine.dca_payments SET retried_at = :then",
            {"then": db_time(utc_now() - timedelta(seconds=61))},
        )
    assert (await api.post(paths[0], json=WHY)).status_code == 200


async def test_only_a_split_that_is_unpaid_is_sent_elsewhere(desk: Desk) -> None:
    for creditor, columns in CREDITORS.items():
        for name, state in LEG_STATES.items():
            changed = {**columns, **state}
            payout = changed.pop("payout", None)
            if payout:
                changed["payout_id"] = await add_payout(desk.machine, **payout)
            leg_id = await add_leg(desk.machine, None, **changed)
            before = await all_rows(desk)
            answer = await desk.operator.api.post(
                f"/payments/{leg_id}/redirect",
                json={**WHY, "target": desk.operator.wallet.id},
            )
            after = await all_rows(desk)
            if creditor != "the operator" or name not in OPEN:
                assert answer.status_code == 409, (creditor, name, answer.text)
                assert after == before, (creditor, name)
                continue
            assert answer.status_code == 200, (name, answer.text)
            leg = answer.json()
            assert leg["destination_wallet_id"] == desk.operator.wallet.id
            assert (leg["status"], leg["attempts"]) == ("pending", 0)
            log = [e for e in after["dca_audit"] if e not in before["dca_audit"]]
            assert [e["action"] for e in log] == ["payment.redirect"]
    nowhere = await desk.operator.api.post(
        f"/payments/{leg_id}/redirect", json={**WHY, "target": "nobody"}
    )
    assert nowhere.status_code == 400


async def test_an_invoice_for_less_than_is_owed_leaves_the_rest_owed(
    desk: Desk,
) -> None:
    settlement_id = await add_settlement(
        desk.machine, status="completed", **{**PLANNED, "refund_sats": 54_000}
    )
    await add_leg(
        desk.machine,
        settlement_id,
        **{**REFUND, "leg_key": "1", "amount_sats": 54_000, "target": None},
    )
    made = await create_invoice(
        wallet_id=desk.lp.wallet.id, amount=5_400, memo="a part"
    )
    answer = await desk.operator.api.post(
        f"/settlements/{settlement_id}/refund",
        json={
            **WHY,
            "destination": made.bolt11,
            "idempotency_key": secrets.token_hex(8),
        },
    )
    assert answer.status_code == 200, answer.text
    refunds = [x for x in answer.json()["legs"] if x["leg_type"] == "refund"]
    assert sum(x["amount_sats"] for x in refunds) == 54_000
    claimed = [x for x in refunds if x["has_destination"]]
    assert len(refunds) == 2
    assert len(claimed) == 1
    assert 5_400 <= claimed[0]["amount_sats"] < 6_000


async def test_no_balance_is_closed_into_a_wallet_that_is_gone(desk: Desk) -> None:
    await delete_wallet(
        user_id=desk.lp.user_id, wallet_id=desk.lp.wallet.id, deleted=True
    )
    before = await all_rows(desk)
    answer = await desk.operator.api.post(
        f"/clients/{desk.client['id']}/close-balance",
        json={
            **WHY,
            "wallet_id": desk.operator.wallet.id,
            "exchange_rate": 100,
            "idempotency_key": secrets.token_hex(8),
        },
    )
    assert answer.status_code == 409, answer.text
    assert "no longer exists" in answer.json()["detail"]
    assert await all_rows(desk) == before


async def test_a_claim_lapses_after_a_fortnight_or_when_the_leg_is_paid(
    desk: Desk,
) -> None:
    async def claim_of(**columns: Any) -> str:
        leg_id = await add_leg(
            desk.machine,
            None,
            claim_state="waiting",
            claim_reference="slip",
            **columns,
        )
        found = await desk.operator.api.get(f"/payments?id={leg_id}")
        return str(found.json()["data"][0]["claim"]["state"])

    now = utc_now()
    assert await claim_of(status="pending", claim_at=now) == "waiting"
    late = now - timedelta(days=15)
    assert await claim_of(status="pending", claim_at=late) == "lapsed"
    assert await claim_of(status="completed", claim_at=now) == "lapsed"


# ------------------------------------------------------------------------ settlements


@dataclass(frozen=True)
class State:
    """A settlement, its legs, which actions are allowed on it, and which of these are
    a question to those who are owed."""

    allowed: str
    settlement: dict[str, Any]
    legs: list[dict[str, Any]] = field(default_factory=list)
    asked: str = ""


PLANNED = {"planned_at": utc_now(), "retained_sats": 0, "dispense_state": "confirmed"}
WAITING = {"status": "pending"}
FLYING = {"status": "pending", "payout": {"status": "invoiced"}}
DONE = {"status": "completed", "payout": {"status": "paid"}}
REFUND = {"leg_type": "refund", "status": "pending", "client_id": None}
STATES: dict[str, State] = {
    "quarantined": State("resolve dispense void", {"status": "quarantined"}),
    "awaiting": State(
        "dispense void", {"status": "awaiting_dispense", "dispense_state": "awaiting"}
    ),
    "overdue": State(
        "dispense void", {"status": "attention", "dispense_state": "awaiting"}
    ),
    # the machine's own stamp says that all came out
    "pending": State(
        "dispense void",
        {"status": "pending", "dispense_state": "confirmed"},
        asked="dispense",
    ),
    "no plan": State(
        "dispense retry void",
        {"status": "attention", "dispense_state": "confirmed"},
        asked="dispense",
    ),
    "waiting": State(
        "dispense retry void",
        {"status": "processing", **PLANNED},
        [WAITING],
        asked="dispense void",
    ),
    "a fee waiting": State(
        "dispense retry void",
        {"status": "processing", **PLANNED},
        [{"status": "pending", "leg_type": "super_fee", "client_id": None}],
        asked="dispense void",
    ),
    "a split waiting": State(
        "dispense retry void",
        {"status": "processing", **PLANNED},
        [{"status": "pending", "leg_type": "operator_split", "client_id": None}],
    ),
    "failed": State(
        "dispense retry void",
        {"status": "attention", **PLANNED},
        [{"status": "failed"}],
        asked="dispense",
    ),
    "in flight": State(
        "dispense",
        {"status": "processing", **PLANNED},
        [FLYING],
        asked="dispense",
    ),
    "half paid": State(
        "dispense retry",
        {"status": "processing", **PLANNED},
        [DONE, WAITING],
        asked="dispense",
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

    monkeypatch.setattr(payments, "sides_of", one_side)
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
            if action in state.asked.split():
                word += "_asked"
                for table in ("dca_payments", "dca_settlements"):
                    assert after[table] == before[table], (action, name)
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
