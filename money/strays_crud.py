"""SQL of payments that only LNbits knows, or only we: `dca_stray_payments`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.audit import ENGINE, write_audit
from ..base.database import (
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_one,
    from_db_time,
    in_list,
    in_lists,
    transaction,
)
from ..crud import get_machine
from ..models import utc_now

S = "satoshimachine"
UNKNOWN, LOST = "unknown", "lost"
# one page of what we hold for paid; a whole page that LNbits knows ends the search
PAGE = 200


@dataclass(frozen=True)
class Stray:
    """`unknown`: LNbits paid it and we do not know it. `lost`: the other way round."""

    kind: str
    payment_hash: str
    wallet_id: str
    machine_id: str | None
    amount_sats: int
    extra: Mapping[str, Any]


async def newest_payout() -> tuple[str, datetime] | None:
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"SELECT id, created_at FROM {S}.dca_payouts "  # noqa: S608
            "ORDER BY created_at DESC LIMIT 1",
        )
    made_at = from_db_time(row["created_at"]) if row else None
    return (row["id"], made_at) if row and made_at else None


async def has_payout(payout_id: str) -> bool:
    async with db.connect() as conn:
        sql = f"SELECT 1 AS yes FROM {S}.dca_payouts WHERE id = :id"  # noqa: S608
        return await fetch_one(conn, sql, {"id": payout_id}) is not None


async def our_hashes(payment_hashes: Iterable[str]) -> set[str]:
    """Those that stand on a payout, a leg or an attempt of ours."""
    hashes = sorted(set(payment_hashes))
    found: set[str] = set()
    async with db.connect() as conn:
        for listed, params in in_lists(hashes):
            rows = await fetch_all(
                conn,
                f"SELECT payment_hash AS h FROM {S}.dca_payouts "  # noqa: S608
                f"WHERE payment_hash IN {listed} UNION "
                f"SELECT external_payment_hash AS h FROM {S}.dca_payments "
                f"WHERE external_payment_hash IN {listed} UNION "
                f"SELECT payment_hash AS h FROM {S}.dca_machine_attempts "
                f"WHERE payment_hash IN {listed} UNION "
                f"SELECT payment_hash AS h FROM {S}.dca_stray_payments "
                f"WHERE payment_hash IN {listed}",
                params,
            )
            found.update(row["h"] for row in rows)
    return found


async def machine_of(wallet_id: str, said: Any) -> tuple[str, datetime | None] | None:
    """The machine that a payment out of this wallet belongs to, and since when the
    wallet is a machine's (None: it is an LP's or the operator's own)."""
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"SELECT machine_id, since_at FROM {S}.dca_machine_wallets "  # noqa: S608
            "WHERE wallet_id = :wallet ORDER BY since_at DESC LIMIT 1",
            {"wallet": wallet_id},
        )
        if row:
            return row["machine_id"], from_db_time(row["since_at"])
        row = await fetch_one(
            conn,
            f"SELECT id FROM {S}.dca_machines WHERE id = :id "  # noqa: S608
            f"OR id = (SELECT machine_id FROM {S}.dca_payments "
            "WHERE source_wallet_id = :wallet ORDER BY created_at DESC LIMIT 1)",
            {"id": str(said or ""), "wallet": wallet_id},
        )
    return (row["id"], None) if row else None


async def paid_page(after: int) -> list[Mapping[str, Any]]:
    """What we hold for paid or received, newest first: a page of both kinds."""
    async with db.connect() as conn:
        return await fetch_all(
            conn,
            f"""
            SELECT * FROM (
                SELECT p.payment_hash, p.source_wallet_id AS wallet_id,
                    p.sent_sats AS sats, p.paid_at AS at,
                    (SELECT MAX(l.machine_id) FROM {S}.dca_payments l
                     WHERE l.payout_id = p.id) AS machine_id
                FROM {S}.dca_payouts p
                WHERE p.status = 'paid' AND p.payment_hash IS NOT NULL
                UNION ALL
                SELECT s.payment_hash, s.wallet_id, s.wire_sats AS sats,
                    s.transaction_time AS at, s.machine_id
                FROM {S}.dca_settlements s WHERE s.status <> 'voided'
            ) x ORDER BY at DESC, payment_hash LIMIT :limit OFFSET :after
            """,  # noqa: S608
            {"limit": PAGE, "after": after},
        )


async def keep(strays: Sequence[Stray], reasons: Mapping[str, str]) -> int:
    """Write down what was found, and stop the machines concerned; returns how many are
    new. `reasons` are the sentences of the stop, by machine id."""
    if not strays:
        return 0
    now = utc_now()
    async with transaction() as conn:
        before = await _count(conn)
        await execute_many(
            conn,
            f"INSERT INTO {S}.dca_stray_payments (kind, payment_hash, "  # noqa: S608
            "wallet_id, machine_id, amount_sats, extra_json, found_at) VALUES "
            "(:kind, :hash, :wallet, :machine, :sats, :extra, :now) "
            "ON CONFLICT DO NOTHING",
            [
                {
                    "kind": x.kind,
                    "hash": x.payment_hash,
                    "wallet": x.wallet_id,
                    "machine": x.machine_id,
                    "sats": x.amount_sats,
                    "extra": json.dumps(x.extra, ensure_ascii=False, default=str),
                    "now": db_time(now),
                }
                for x in strays
            ],
        )
        new = await _count(conn) - before
        for machine_id, reason in reasons.items() if new else ():
            await _stop(conn, machine_id, reason)
    return new


async def _count(conn: Connection) -> int:
    sql = f"SELECT COUNT(*) AS n FROM {S}.dca_stray_payments"  # noqa: S608
    row = await fetch_one(conn, sql)
    return int(row["n"]) if row else 0


async def _stop(conn: Connection, machine_id: str, reason: str) -> None:
    machine = await get_machine(machine_id, conn)
    stopped = await execute(
        conn,
        f"UPDATE {S}.dca_machines SET payouts_stopped_reason = :reason "  # noqa: S608
        "WHERE id = :id AND payouts_stopped_reason IS NULL",
        {"id": machine_id, "reason": reason},
    )
    if machine and stopped:
        await write_audit(
            conn,
            ENGINE,
            "machine.stop_payouts",
            "machine",
            machine_id,
            {"payouts_stopped_reason": None},
            {"payouts_stopped_reason": reason},
            "found by the reconciliation",
            operator_user_id=machine.operator_user_id,
            machine_id=machine_id,
        )


async def stopped_wallets(conn: Connection | None = None) -> set[str]:
    """Wallets that pay nothing until somebody has looked: LNbits paid something from
    them, or lost something of them, that the other side does not know."""
    sql = (
        f"SELECT DISTINCT wallet_id FROM {S}.dca_stray_payments "  # noqa: S608
        "WHERE ended_at IS NULL"
    )
    if conn:
        return {row["wallet_id"] for row in await fetch_all(conn, sql)}
    async with db.connect() as own:
        return {row["wallet_id"] for row in await fetch_all(own, sql)}


async def open_strays(conn: Connection, machine_id: str, kind: str) -> list[Stray]:
    found = await fetch_all(
        conn,
        f"SELECT * FROM {S}.dca_stray_payments "  # noqa: S608
        "WHERE machine_id = :machine AND kind = :kind AND ended_at IS NULL "
        "ORDER BY found_at, payment_hash",
        {"machine": machine_id, "kind": kind},
    )
    return [
        Stray(
            row["kind"],
            row["payment_hash"],
            row["wallet_id"],
            row["machine_id"],
            int(row["amount_sats"]),
            json.loads(row["extra_json"] or "{}"),
        )
        for row in found
    ]


async def end(
    conn: Connection,
    machine_id: str,
    ended_as: str,
    payment_hashes: Iterable[str] | None = None,
) -> int:
    """A person has looked at all of a machine's, or at these."""
    params: dict[str, Any] = {
        "machine": machine_id,
        "as": ended_as,
        "now": db_time(utc_now()),
    }
    listed = ""
    if payment_hashes is not None:
        hashes = sorted(set(payment_hashes))
        if not hashes:
            return 0
        listed = f"AND payment_hash IN {in_list('h', hashes, params)}"
    return await execute(
        conn,
        f"UPDATE {S}.dca_stray_payments SET ended_at = :now, ended_as = :as "  # noqa: S608
        f"WHERE machine_id = :machine AND ended_at IS NULL {listed}",
        params,
    )
