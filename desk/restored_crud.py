"""SQL of taking over and undoing, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lnbits.db import Connection

from ..base.database import (
    db_time,
    execute,
    fetch_all,
    fetch_models,
    fetch_one,
    in_list,
    insert_sql,
    row_params,
)
from ..crud import add_debits, refresh_settlements
from ..models import Leg, Payout, Settlement, utc_now
from ..money.strays_crud import Stray

S = "satoshimachine"


async def settle_leg(conn: Connection, paid: Leg, was: Leg) -> Leg:
    """An unpaid leg becomes `paid`, what a payment paid; its LP's debit follows."""
    params = row_params(paid)
    columns = (
        *("status", "amount_sats", "sent_sats", "amount_fiat", "payout_id"),
        *("external_payment_hash", "completed_at", "next_try_at", "error_message"),
        *("wait_code", "destination_wallet_id"),
    )
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    await execute(
        conn,
        f"UPDATE {S}.dca_payments SET {changes} "  # noqa: S608
        "WHERE id = :id AND status IN ('pending', 'failed')",
        {name: params[name] for name in (*columns, "id")},
    )
    if paid.client_id and paid.leg_type in ("dca", "settlement"):
        cents = int((paid.amount_fiat or 0) * 100) - int((was.amount_fiat or 0) * 100)
        await add_debits(conn, {paid.client_id: cents})
    return paid


def payout_id_of(stray: Stray) -> str:
    return str(stray.extra.get("payout_id") or stray.payment_hash)


async def insert_settled_leg(conn: Connection, paid: Leg) -> Leg:
    """A leg that was paid and stood nowhere; its LP's debit follows."""
    params = row_params(paid)
    await execute(conn, insert_sql("dca_payments", params), params)
    if paid.client_id and paid.leg_type in ("dca", "settlement"):
        await add_debits(conn, {paid.client_id: int((paid.amount_fiat or 0) * 100)})
    return paid


async def machine_of_client(
    conn: Connection, client_id: str, operator_user_id: str
) -> str | None:
    """The machine of an LP of this operator."""
    found = await fetch_one(
        conn,
        f"SELECT m.id FROM {S}.dca_clients c "  # noqa: S608
        f"JOIN {S}.dca_machines m ON m.id = c.machine_id "
        "WHERE c.id = :id AND m.operator_user_id = :operator",
        {"id": client_id, "operator": operator_user_id},
    )
    return str(found["id"]) if found else None


async def closing_legs(conn: Connection, client_id: str) -> list[Leg]:
    """Unpaid legs that pay an LP's balance out."""
    return await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_payments WHERE client_id = :client "  # noqa: S608
        "AND leg_type = 'settlement' AND settlement_id IS NULL "
        "AND status IN ('pending', 'failed') ORDER BY created_at, id",
        Leg,
        {"client": client_id},
    )


async def write_paid_payout(
    conn: Connection, stray: Stray, legs: Sequence[Leg], receiver_id: str | None
) -> None:
    """The payout of this payment as paid, with its legs; an unfinished one of that id
    from before the backup becomes it. `receiver_id` is the wallet of this instance that
    it went to; None is outside."""
    now = utc_now()
    payout = Payout(
        id=payout_id_of(stray),
        source_wallet_id=stray.wallet_id,
        destination=f"taken_over:{stray.payment_hash}",
        destination_wallet_id=receiver_id,
        is_internal=receiver_id is not None,
        amount_sats=sum(x.amount_sats for x in legs),
        sent_sats=stray.amount_sats,
        network_fee_sats=0,
        status="paid",
        payment_hash=stray.payment_hash,
        created_at=now,
        updated_at=now,
        paid_at=now,
    )
    params = row_params(payout)
    known = await execute(
        conn,
        f"UPDATE {S}.dca_payouts SET status = 'paid', payment_hash = "  # noqa: S608
        ":payment_hash, sent_sats = :sent_sats, network_fee_sats = 0, reason = NULL, "
        "paid_at = :paid_at, updated_at = :paid_at WHERE id = :id",
        {k: params[k] for k in ("id", "payment_hash", "sent_sats", "paid_at")},
    )
    if not known:
        await execute(conn, insert_sql("dca_payouts", params), params)
    for leg in legs:
        await execute(
            conn,
            f"INSERT INTO {S}.dca_payout_legs "  # noqa: S608
            "(payout_id, leg_id, amount_sats) VALUES (:payout, :leg, :sats) "
            "ON CONFLICT DO NOTHING",
            {"payout": payout.id, "leg": leg.id, "sats": leg.amount_sats},
        )


async def set_rest(
    conn: Connection, settlement_id: str, retained_sats: int, loss_sats: int
) -> None:
    await execute(
        conn,
        f"UPDATE {S}.dca_settlements SET retained_sats = :kept, "  # noqa: S608
        "loss_sats = :loss WHERE id = :id",
        {"id": settlement_id, "kept": retained_sats, "loss": loss_sats},
    )


async def go_on_if_nothing_is_left(conn: Connection, machine_id: str) -> int:
    """How many payments of this machine still wait for a look; without any its payouts
    go on, unless they were stopped for something else."""
    row = await fetch_one(
        conn,
        f"SELECT COUNT(*) AS n FROM {S}.dca_stray_payments "  # noqa: S608
        "WHERE machine_id = :id AND ended_at IS NULL",
        {"id": machine_id},
    )
    left = int(row["n"]) if row else 0
    if not left:
        await execute(
            conn,
            f"UPDATE {S}.dca_machines SET payouts_stopped_reason = NULL "  # noqa: S608
            "WHERE id = :id",
            {"id": machine_id},
        )
    return left


async def settlements_of_hashes(
    conn: Connection, machine_id: str, payment_hashes: Iterable[str]
) -> list[Settlement]:
    params: dict[str, Any] = {"machine": machine_id}
    listed = in_list("h", sorted(set(payment_hashes)), params)
    return await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_settlements WHERE machine_id = :machine "  # noqa: S608
        f"AND status <> 'voided' AND payment_hash IN {listed}",
        Settlement,
        params,
    )


async def void_whatever_their_state(
    conn: Connection, leg_ids: Sequence[str], why: str
) -> None:
    if not leg_ids:
        return
    params: dict[str, Any] = {"why": why}
    listed = in_list("l", leg_ids, params)
    await execute(
        conn,
        f"UPDATE {S}.dca_payments SET status = 'voided', "  # noqa: S608
        f"error_message = :why, next_try_at = NULL WHERE id IN {listed}",
        params,
    )


async def void_settlement(conn: Connection, settlement_id: str, why: str) -> None:
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_settlements SET status = 'voided', error_message = :why,
            paid_to_lps_sats = 0, loss_sats = 0, processed_at = :now,
            retained_sats = CASE WHEN planned_at IS NULL THEN retained_sats
                WHEN tx_type = 'cash_in' THEN fee_sats
                ELSE wire_sats - network_fee_sats END
        WHERE id = :id
        """,  # noqa: S608
        {"id": settlement_id, "why": why, "now": db_time(utc_now())},
    )


async def reopen_legs(
    conn: Connection, payment_hashes: Iterable[str], why: str
) -> None:
    """Legs that were held for paid within this instance by payments that LNbits does
    not know are owed again. One that went outside is not: the node may have paid it."""
    params: dict[str, Any] = {"why": why}
    listed = in_list("h", sorted(set(payment_hashes)), params)
    for is_internal, status in (("true", "pending"), ("false", "failed")):
        await execute(
            conn,
            f"""
            UPDATE {S}.dca_payments SET status = '{status}', payout_id = NULL,
                external_payment_hash = NULL, sent_sats = NULL, completed_at = NULL,
                attempts = 0, next_try_at = NULL, error_message = :why
            WHERE status = 'completed' AND payout_id IN (
                SELECT id FROM {S}.dca_payouts WHERE is_internal = {is_internal}
                AND payment_hash IN {listed})
            """,  # noqa: S608
            params,
        )


async def end_payouts(
    conn: Connection, payment_hashes: Iterable[str], why: str
) -> None:
    params: dict[str, Any] = {"why": why, "now": db_time(utc_now())}
    listed = in_list("h", sorted(set(payment_hashes)), params)
    await execute(
        conn,
        f"UPDATE {S}.dca_payouts SET status = 'failed', reason = :why, "  # noqa: S608
        f"updated_at = :now WHERE status = 'paid' AND payment_hash IN {listed}",
        params,
    )


async def refresh_of_machine(conn: Connection, machine_id: str) -> None:
    found = await fetch_all(
        conn,
        f"SELECT id FROM {S}.dca_settlements WHERE machine_id = :id "  # noqa: S608
        "AND status IN ('processing', 'attention', 'completed')",
        {"id": machine_id},
    )
    await refresh_settlements(conn, [row["id"] for row in found])
