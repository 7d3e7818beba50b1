"""SQL of repairs: rows of one owner, changed only while nothing is on its way.

Guaranteed here: the owner is in the statement that reads a row, so somebody else's is
never found; every change of a leg asks again, in the same statement, that it is unpaid
and in no payout. What may follow from what is decided by the modules that ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from lnbits.db import Connection
from pydantic import BaseModel

from ..base.database import (
    cents_sql,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_models,
    fetch_one,
    in_list,
    in_lists,
    row_params,
)
from ..base.refusals import NotFoundError
from ..calculations import cents_text
from ..models import Client, Leg, Settlement, WaitCode, utc_now
from ..money.replanning import Resize
from ..money.targets import ResolvedTarget

M = TypeVar("M", bound=BaseModel)
S = "satoshimachine"
CLAIM_WAITING = "waiting"
# The leg is unpaid, and nothing that could pay it exists.
OPEN = "status IN ('pending', 'failed') AND payout_id IS NULL"
OWN_MACHINES = (
    f"(SELECT id FROM {S}.dca_machines WHERE operator_user_id = :user)"  # noqa: S608
)


# ------------------------------------------------------------------------- whose row


async def _own(
    conn: Connection,
    model: type[M],
    where: str,
    row_id: str,
    user_id: str | None,
    missing: str,
) -> M:
    """The row of a table that `where` says is this user's. `NotFoundError` else."""
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.{where} AND id = :id",  # noqa: S608
        model,
        # PostgreSQL refuses a parameter that is not used
        {"id": row_id} | ({"user": user_id} if user_id else {}),
    )
    if not found:
        raise NotFoundError(missing)
    return found[0]


async def get_own_settlement(
    conn: Connection, settlement_id: str, operator_user_id: str
) -> Settlement:
    """The operator's settlement. `NotFoundError` for anybody else's."""
    where = f"dca_settlements WHERE machine_id IN {OWN_MACHINES}"
    missing = "There is no such settlement of yours."
    return await _own(conn, Settlement, where, settlement_id, operator_user_id, missing)


async def get_own_leg(conn: Connection, leg_id: str, operator_user_id: str) -> Leg:
    """A leg at the operator's machines. What LPs forward is theirs alone."""
    where = (
        "dca_payments WHERE leg_type <> 'autoforward' AND "
        f"machine_id IN {OWN_MACHINES}"
    )
    missing = "There is no such payment of yours."
    return await _own(conn, Leg, where, leg_id, operator_user_id, missing)


async def get_leg(conn: Connection, leg_id: str) -> Leg:
    """Any leg but what LPs forward: for the super, who sees them all."""
    where = "dca_payments WHERE leg_type <> 'autoforward'"
    missing = "There is no such payment."
    return await _own(conn, Leg, where, leg_id, None, missing)


async def get_own_autoforward(conn: Connection, leg_id: str, lp_user_id: str) -> Leg:
    """What this LP forwards. `NotFoundError` for any other leg."""
    where = (
        "dca_payments WHERE leg_type = 'autoforward' AND client_id IN ("  # noqa: S608
        f"SELECT id FROM {S}.dca_clients WHERE user_id = :user)"
    )
    missing = "There is no such forwarding of yours."
    return await _own(conn, Leg, where, leg_id, lp_user_id, missing)


async def get_lps_leg(conn: Connection, leg_id: str, lp_user_id: str) -> Leg:
    """What this LP is owed. `NotFoundError` for any other leg."""
    where = (
        "dca_payments WHERE leg_type IN ('dca', 'settlement') "  # noqa: S608
        f"AND client_id IN (SELECT id FROM {S}.dca_clients WHERE user_id = :user)"
    )
    missing = "There is no such payment of yours."
    return await _own(conn, Leg, where, leg_id, lp_user_id, missing)


async def get_own_client(
    conn: Connection, client_id: str, operator_user_id: str
) -> Client:
    where = f"dca_clients WHERE machine_id IN {OWN_MACHINES}"
    missing = "There is no such LP of yours."
    return await _own(conn, Client, where, client_id, operator_user_id, missing)


# ------------------------------------------------------------------------------ legs


async def _change_open(
    conn: Connection, leg_ids: Sequence[str], changes: str, params: Mapping[str, Any]
) -> int:
    """Set columns of those legs that are open; returns how many were."""
    changed = 0
    for listed, chunk in in_lists(leg_ids, params):
        changed += await execute(
            conn,
            f"UPDATE {S}.dca_payments SET {changes} "  # noqa: S608
            f"WHERE id IN {listed} AND {OPEN}",
            chunk,
        )
    return changed


async def void_legs(
    conn: Connection, leg_ids: Sequence[str], why: str, code: str | None = None
) -> int:
    """Void open legs; what they were for is kept in their amounts."""
    return await _change_open(
        conn,
        leg_ids,
        "status = 'voided', completed_at = :now, next_try_at = NULL, "
        "error_message = :why, wait_code = :code",
        {"now": db_time(utc_now()), "why": why, "code": code},
    )


async def make_due(conn: Connection, leg_ids: Sequence[str]) -> int:
    """Open legs are pending, with a clean record, and due now."""
    return await _change_open(
        conn,
        leg_ids,
        "status = 'pending', attempts = 0, next_try_at = NULL, error_message = NULL, "
        "wait_code = NULL, waits_since = NULL, retried_at = :now",
        {"now": db_time(utc_now())},
    )


async def clear_destination_backoff(conn: Connection, legs: Iterable[Leg]) -> None:
    """Let go of others that back off from the same destination: a round leaves out a
    destination while one of its legs waits after a failure."""
    await execute_many(
        conn,
        f"""
        UPDATE {S}.dca_payments SET next_try_at = :now
        WHERE status = 'pending' AND payout_id IS NULL AND attempts > 0
          AND next_try_at > :now AND source_wallet_id = :source
          AND leg_type = :type AND COALESCE(client_id, '') = :client
          AND COALESCE(target, '') = :target
        """,  # noqa: S608
        [
            {
                "now": db_time(utc_now()),
                "source": leg.source_wallet_id,
                "type": leg.leg_type,
                "client": leg.client_id or "",
                "target": leg.target or "",
            }
            for leg in legs
        ],
    )


async def mark_paid(conn: Connection, leg_id: str, reference: str) -> int:
    """An open leg was paid outside: completed, without a payout of ours."""
    return await _change_open(
        conn,
        [leg_id],
        "status = 'completed', reference = :reference, completed_at = :now, "
        "next_try_at = NULL, error_message = NULL, wait_code = NULL, "
        "paid_outside = true",
        {"reference": reference, "now": db_time(utc_now())},
    )


async def claim_paid(conn: Connection, leg_id: str, reference: str) -> int:
    """The operator says that an LP was paid outside: nothing else changes by it."""
    return await _change_open(
        conn,
        [leg_id],
        "claim_state = :state, claim_reference = :reference, claim_at = :now",
        {"state": CLAIM_WAITING, "reference": reference, "now": db_time(utc_now())},
    )


async def redirect(
    conn: Connection, leg_id: str, to: ResolvedTarget, address: str | None
) -> int:
    """An open split goes to another target, with a clean record, and is due now."""
    return await _change_open(
        conn,
        [leg_id],
        "target = :target, destination_wallet_id = :wallet, "
        "destination_ln_address = :address, status = 'pending', attempts = 0, "
        "next_try_at = NULL, error_message = NULL, wait_code = NULL, "
        "waits_since = NULL",
        {"target": to.target, "wallet": to.wallet_id, "address": address},
    )


async def answer_claim(conn: Connection, leg_id: str, answer: str) -> int:
    """What the LP says of a claim that waits."""
    return await execute(
        conn,
        f"UPDATE {S}.dca_payments SET claim_state = :answer "  # noqa: S608
        "WHERE id = :id AND claim_state = :waiting",
        {"id": leg_id, "answer": answer, "waiting": CLAIM_WAITING},
    )


async def set_refund_target(
    conn: Connection, leg_ids: Sequence[str], target: str | None, address: str | None
) -> int:
    return await _change_open(
        conn,
        leg_ids,
        "target = :target, destination_ln_address = :address, status = 'pending', "
        "attempts = 0, next_try_at = NULL, error_message = NULL, wait_code = NULL",
        {"target": target, "address": address},
    )


async def resize(conn: Connection, change: Resize) -> int:
    """Give an open leg its new amounts, if it still has the ones that were read.

    A given invoice is for the old amount: the leg loses it.
    """
    leg = change.leg
    is_for_one_sum = leg.leg_type == "refund" and "@" not in (leg.target or "@")
    params: dict[str, Any] = {
        "id": leg.id,
        "was": leg.amount_sats,
        "sats": change.amount_sats,
        "target": None if is_for_one_sum else leg.target,
    }
    fiat = ""
    if leg.amount_fiat is not None:
        fiat = "amount_fiat = :fiat,"
        params["fiat"] = cents_text(change.fiat_cents or 0)
    return await execute(
        conn,
        f"""
        UPDATE {S}.dca_payments SET amount_sats = :sats, {fiat} target = :target
        WHERE id = :id AND {OPEN} AND amount_sats = :was
        """,  # noqa: S608
        params,
    )


# ----------------------------------------------------------------------- settlements


async def change_settlement(
    conn: Connection,
    settlement: Settlement,
    columns: Sequence[str],
    was: Sequence[str],
) -> int:
    """Write some columns of the settlement given, if its status is one of `was`."""
    values = row_params(settlement)
    params = {name: values[name] for name in (*columns, "id")}
    listed = in_list("was", was, params)
    return await execute(
        conn,
        f"UPDATE {S}.dca_settlements "  # noqa: S608
        f"SET {', '.join(f'{c} = :{c}' for c in columns)} "
        f"WHERE id = :id AND status IN {listed}",
        params,
    )


async def add_retained(conn: Connection, settlement_id: str, sats: int) -> None:
    """What voided legs do not take makes a loss smaller, then stays in the wallet."""
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_settlements SET
            retained_sats = COALESCE(retained_sats, 0)
                + CASE WHEN loss_sats < :sats THEN :sats - loss_sats ELSE 0 END,
            loss_sats = CASE WHEN loss_sats > :sats THEN loss_sats - :sats ELSE 0 END
        WHERE id = :id
        """,  # noqa: S608
        {"sats": sats, "id": settlement_id},
    )


async def append_note(conn: Connection, settlement_id: str, line: str) -> None:
    """Add a line to the memo: by the database, so that two at once are both kept."""
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_settlements SET notes = CASE
            WHEN notes IS NULL OR notes = '' THEN CAST(:line AS TEXT)
            ELSE notes || CAST(:nl AS TEXT) || CAST(:line AS TEXT) END
        WHERE id = :id
        """,  # noqa: S608
        {"line": line, "nl": "\n", "id": settlement_id},
    )


# -------------------------------------------------------------------- one more thing


async def claim_idempotency_key(
    conn: Connection, user_id: str, key: str, action: str, subject_id: str
) -> tuple[str, str] | None:
    """Keep an idempotency key with what it was for; what it was for before, if it was
    used: then the caller does nothing."""
    kept = await execute(
        conn,
        f"""
        INSERT INTO {S}.dca_idempotency
            (user_id, idempotency_key, action, subject_id, created_at)
        VALUES (:user, :key, :action, :subject, :now) ON CONFLICT DO NOTHING
        """,  # noqa: S608
        {
            "user": user_id,
            "key": key,
            "action": action,
            "subject": subject_id,
            "now": db_time(utc_now()),
        },
    )
    if kept:
        return None
    row = await fetch_one(
        conn,
        f"SELECT action, subject_id FROM {S}.dca_idempotency "  # noqa: S608
        "WHERE user_id = :user AND idempotency_key = :key",
        {"user": user_id, "key": key},
    )
    return (row["action"], row["subject_id"]) if row else ("", "")


async def remaining_cents(conn: Connection, client_id: str) -> int:
    """What is left of an LP's deposits, minor units; for whoever holds the lock."""
    row = await fetch_one(
        conn,
        f"""
        SELECT
          (SELECT COALESCE(SUM({cents_sql("amount")}), 0) FROM {S}.dca_deposits
           WHERE client_id = :id AND status = 'confirmed') AS deposited,
          (SELECT COALESCE(SUM(debited_cents), 0) FROM {S}.dca_client_totals
           WHERE client_id = :id) AS debited
        """,  # noqa: S608
        {"id": client_id},
    )
    return int(row["deposited"]) - int(row["debited"]) if row else 0


async def client_user_ids(
    conn: Connection, client_ids: Iterable[str | None]
) -> dict[str, str]:
    """client id -> the LP's user id, for the audit log."""
    ids = sorted({c for c in client_ids if c})
    found: dict[str, str] = {}
    for listed, params in in_lists(ids):
        for row in await fetch_all(
            conn,
            f"SELECT id, user_id FROM {S}.dca_clients WHERE id IN {listed}",  # noqa: S608
            params,
        ):
            found[row["id"]] = row["user_id"]
    return found


async def known_hash(conn: Connection, payment_hash: str) -> bool:
    """Whether a payment of this hash is in our books already, in whatever role."""
    tables = (
        ("dca_settlements", "payment_hash"),
        ("dca_payouts", "payment_hash"),
        ("dca_payments", "external_payment_hash"),
        ("dca_machine_attempts", "payment_hash"),
        ("dca_machine_requests", "payment_hash"),
    )
    sql = " UNION ALL ".join(
        f"SELECT 1 AS yes FROM {S}.{table} WHERE {column} = :hash"  # noqa: S608
        for table, column in tables
    )
    return await fetch_one(conn, sql, {"hash": payment_hash}) is not None


async def resume_payouts(
    conn: Connection, machine_id: str, operator_user_id: str, now: datetime
) -> int:
    """Lift the stop; legs that waited for it are due now."""
    lifted = await execute(
        conn,
        f"UPDATE {S}.dca_machines SET payouts_stopped_reason = NULL, "  # noqa: S608
        "updated_at = :now WHERE id = :id AND operator_user_id = :user "
        "AND payouts_stopped_reason IS NOT NULL",
        {"id": machine_id, "user": operator_user_id, "now": db_time(now)},
    )
    if lifted:
        await execute(
            conn,
            f"UPDATE {S}.dca_payments SET next_try_at = NULL, error_message = NULL, "  # noqa: S608
            "wait_code = NULL "
            "WHERE machine_id = :id AND status = 'pending' AND payout_id IS NULL "
            "AND wait_code = :stopped",
            {"id": machine_id, "stopped": WaitCode.STOPPED},
        )
    return lifted


async def held_back(conn: Connection, machine_id: str, code: str) -> list[str]:
    """The ids of all that a machine has held back for this."""
    found = await fetch_all(
        conn,
        f"SELECT id FROM {S}.dca_settlements WHERE machine_id = :machine "  # noqa: S608
        "AND status = 'quarantined' AND quarantine_code = :code",
        {"machine": machine_id, "code": code},
    )
    return [row["id"] for row in found]


async def void_held_back(
    conn: Connection, machine_id: str, code: str, reason: str
) -> int:
    """Void all that a machine has held back for this; returns how many."""
    return await execute(
        conn,
        f"UPDATE {S}.dca_settlements SET status = 'voided', "  # noqa: S608
        "error_message = :reason, processed_at = :now WHERE machine_id = :machine "
        "AND status = 'quarantined' AND quarantine_code = :code",
        {
            "machine": machine_id,
            "code": code,
            "reason": reason,
            "now": db_time(utc_now()),
        },
    )
