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
from ..calculations import cents_text
from ..crud import add_debits, refresh_settlements
from ..models import Fiat, Leg, Payout, Settlement, utc_now
from ..money.strays_crud import Stray

S = "satoshimachine"


async def settle_leg(
    conn: Connection,
    leg: Leg,
    amount_sats: int,
    fiat_cents: int | None,
    stray: Stray,
) -> None:
    """An unpaid leg becomes what this payment paid; its LP's debit follows."""
    fiat = None if fiat_cents is None else cents_text(fiat_cents)
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_payments SET status = 'completed', amount_sats = :sats,
            sent_sats = :sats, amount_fiat = :fiat, payout_id = :payout,
            external_payment_hash = :hash, completed_at = :now, next_try_at = NULL,
            error_message = NULL
        WHERE id = :id AND status IN ('pending', 'failed')
        """,  # noqa: S608
        {
            "id": leg.id,
            "sats": amount_sats,
            "fiat": fiat,
            "payout": payout_id_of(stray),
            "hash": stray.payment_hash,
            "now": db_time(utc_now()),
        },
    )
    if leg.client_id:
        was = int((leg.amount_fiat or 0) * 100)
        await add_debits(conn, {leg.client_id: (fiat_cents or 0) - was})


def payout_id_of(stray: Stray) -> str:
    return str(stray.extra.get("payout_id") or stray.payment_hash)


async def insert_settled_leg(
    conn: Connection, leg: Leg, fiat_cents: int | None, stray: Stray
) -> Leg:
    leg.status = "completed"
    leg.error_message = None
    leg.sent_sats = leg.amount_sats
    leg.amount_fiat = None if fiat_cents is None else Fiat(cents_text(fiat_cents))
    leg.payout_id = payout_id_of(stray)
    leg.external_payment_hash = stray.payment_hash
    leg.completed_at = utc_now()
    leg.next_try_at = None
    params = row_params(leg)
    await execute(conn, insert_sql("dca_payments", params), params)
    if leg.client_id and fiat_cents:
        await add_debits(conn, {leg.client_id: fiat_cents})
    return leg


async def write_paid_payout(
    conn: Connection, stray: Stray, legs: Sequence[Leg]
) -> None:
    """The payout of this payment as paid, with its legs; an unfinished one of that id
    from before the backup becomes it."""
    now = utc_now()
    payout = Payout(
        id=payout_id_of(stray),
        source_wallet_id=stray.wallet_id,
        destination=f"taken_over:{stray.payment_hash}",
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
