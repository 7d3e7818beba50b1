"""SQL of settlements: landing, planning, and their legs.

Guaranteed here: a settlement lands once per payment hash; a plan is written whole or
not at all, with the debits of the LPs it takes fiat from.
What is paid, and whether, is in `payouts_crud.py`; who may plan and pay in `lease.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from lnbits.db import SQLITE, Connection

from .base.database import (
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_models,
    fetch_one,
    in_list,
    in_lists,
    insert_sql,
    reuse,
    row_params,
    transaction,
)
from .base.lease import lease_held_sql
from .models import (
    CASH_IN,
    CASH_OUT,
    FRACTION_STEP,
    Leg,
    Machine,
    Settlement,
    SuperConfig,
    utc_now,
)

__all__ = ["db"]

# the statuses in which a leg has reached its receiver: both are final
RECEIVED = ("completed", "skipped")
RECEIVED_SQL = "p.status IN ('completed', 'skipped')"
# the sats that arrived: LNbits may take a service fee of what was owed
ARRIVED_SQL = "COALESCE(p.sent_sats, p.amount_sats)"
NO_PLATFORM_WALLET = "The platform has not chosen the wallet for its fee yet."
# External destinations gather at least this long: routing is paid by the payment.
# A test or a demonstration may shorten it.
EXTERNAL_BATCH_DELAY = timedelta(
    seconds=int(os.environ.get("SATMACHINE_EXTERNAL_GATHER_SECONDS", "600"))
)


async def lock_ledger(conn: Connection) -> None:
    """First statement of whatever changes an LP's fiat: one at a time, everywhere."""
    await execute(
        conn, "UPDATE satoshimachine.dca_locks SET n = n + 1 WHERE id = 'ledger'"
    )


async def get_super_config(conn: Connection | None = None) -> SuperConfig:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            "SELECT * FROM satoshimachine.super_config WHERE id = 'default'",
            SuperConfig,
        )
    return found[0] if found else SuperConfig()


async def get_machine(
    machine_id: str, conn: Connection | None = None
) -> Machine | None:
    """A machine by id, whoever owns it: for the engine, not for a request."""
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            "SELECT * FROM satoshimachine.dca_machines WHERE id = :id",
            Machine,
            {"id": machine_id},
        )
    return found[0] if found else None


async def lock_machine_against_delete(
    conn: Connection, machine_id: str
) -> Machine | None:
    """A machine that nobody deletes before the caller's transaction ends.

    For landing: on PostgreSQL another process could delete it in between, and its
    settlement would be nobody's. What the line writes there does not wait for it.
    """
    lock = "" if db.type == SQLITE else " FOR KEY SHARE"
    found = await fetch_models(
        conn,
        f"SELECT * FROM satoshimachine.dca_machines WHERE id = :id{lock}",  # noqa: S608
        Machine,
        {"id": machine_id},
    )
    return found[0] if found else None


async def get_machines_by_id(
    conn: Connection, machine_ids: Iterable[str]
) -> dict[str, Machine]:
    params: dict[str, Any] = {}
    ids = in_list("m", sorted(set(machine_ids)), params)
    found = await fetch_models(
        conn,
        f"SELECT * FROM satoshimachine.dca_machines WHERE id IN {ids}",  # noqa: S608
        Machine,
        params,
    )
    return {m.id: m for m in found}


async def machine_wallets(
    conn: Connection | None = None,
) -> dict[str, list[tuple[str, datetime]]]:
    """Every wallet that is or was a machine's: wallet id -> [(machine id, since)]."""
    async with reuse(conn) as c:
        found = await fetch_all(
            c,
            "SELECT wallet_id, machine_id, since_at "
            "FROM satoshimachine.dca_machine_wallets "
            "ORDER BY since_at",
        )
    wallets: dict[str, list[tuple[str, datetime]]] = {}
    for row in found:
        since = from_time(row["since_at"])
        wallets.setdefault(row["wallet_id"], []).append((row["machine_id"], since))
    return wallets


def from_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.replace(tzinfo=timezone.utc)
    return datetime.fromtimestamp(float(value or 0), timezone.utc)


async def wallet_owner(
    conn: Connection, wallet_id: str, at: datetime
) -> tuple[str, datetime] | None:
    """The machine whose wallet this was at that time (or first was, if earlier), and
    when the wallet was first registered for a machine; None if it never was."""
    found = await fetch_all(
        conn,
        "SELECT machine_id, since_at FROM satoshimachine.dca_machine_wallets "
        "WHERE wallet_id = :wallet ORDER BY since_at",
        {"wallet": wallet_id},
    )
    if not found:
        return None
    owner = found[0]["machine_id"]
    for row in found:
        if from_time(row["since_at"]) <= at:
            owner = row["machine_id"]
    return owner, from_time(found[0]["since_at"])


async def has_line(conn: Connection, machine: Machine) -> bool:
    """Whether the machine trades over its line: it is paired, or was paired once."""
    if machine.is_paired or machine.paired_at:
        return True
    found = await fetch_one(
        conn,
        "SELECT 1 AS yes FROM satoshimachine.dca_machine_lines "
        "WHERE machine_id = :machine AND used_code IS NOT NULL",
        {"machine": machine.id},
    )
    return found is not None


async def is_line_invoice(conn: Connection, machine_id: str, payment_hash: str) -> bool:
    """Whether this machine asked for this invoice over its line."""
    found = await fetch_one(
        conn,
        "SELECT 1 AS yes FROM satoshimachine.dca_machine_requests "
        "WHERE machine_id = :machine AND payment_hash = :hash AND rpc = 'invoice'",
        {"machine": machine_id, "hash": payment_hash},
    )
    return found is not None


@dataclass(frozen=True)
class DiscountTaken:
    """The discount that a machine's request took, as it was then."""

    discount_id: str | None = None
    code: str | None = None
    operator_discount: Decimal = Decimal(0)
    platform_discount: Decimal = Decimal(0)

    @property
    def shares(self) -> dict[str, Decimal]:
        return {
            "operator_discount": self.operator_discount,
            "platform_discount": self.platform_discount,
        }

    @property
    def columns(self) -> dict[str, Any]:
        """Of a settlement; all NULL where no discount was taken."""
        known = {"discount_id": self.discount_id, "discount_code": self.code}
        return {**known, **self.shares} if self.discount_id else known


async def discount_taken(
    conn: Connection, machine_id: str, payment_hash: str
) -> DiscountTaken:
    """What the request of this machine took, which made or paid this invoice: a code
    in a stamp is text, and gives nothing."""
    found = await fetch_one(
        conn,
        "SELECT discount_id, discount_code, operator_discount, platform_discount "
        "FROM satoshimachine.dca_machine_requests "
        "WHERE machine_id = :machine AND payment_hash = :hash "
        "AND discount_id IS NOT NULL",
        {"machine": machine_id, "hash": payment_hash},
    )
    if not found:
        return DiscountTaken()
    return DiscountTaken(
        found["discount_id"],
        found["discount_code"],
        Decimal(str(found["operator_discount"])).quantize(FRACTION_STEP),
        Decimal(str(found["platform_discount"])).quantize(FRACTION_STEP),
    )


async def get_settlement(
    settlement_id: str, conn: Connection | None = None
) -> Settlement | None:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            "SELECT * FROM satoshimachine.dca_settlements WHERE id = :id",
            Settlement,
            {"id": settlement_id},
        )
    return found[0] if found else None


async def get_settlement_by_hash(
    payment_hash: str, conn: Connection | None = None
) -> Settlement | None:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            "SELECT * FROM satoshimachine.dca_settlements WHERE payment_hash = :hash",
            Settlement,
            {"hash": payment_hash},
        )
    return found[0] if found else None


async def insert_settlement(conn: Connection, settlement: Settlement) -> bool:
    """Write the row once per `payment_hash`; False if it stood there already."""
    params = row_params(settlement)
    sql = insert_sql("dca_settlements", params, "ON CONFLICT DO NOTHING")
    return await execute(conn, sql, params) == 1


# One side of a payment: its hash, the wallet, and whether that wallet paid it. One
# wallet can be both sides of a payment to itself.
PaymentSide = tuple[str, str, bool]


async def recorded_keys(
    conn: Connection, sides: Iterable[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Those (payment hash, wallet id) that need no landing, in either direction."""
    wanted = set(sides)
    both = {(h, w, out) for h, w in wanted for out in (True, False)}
    return {(h, w) for h, w, _ in await recorded_sides(conn, both)}


async def recorded_sides(
    conn: Connection, sides: Iterable[PaymentSide]
) -> set[PaymentSide]:
    """Those sides of payments that need no landing: landed before, or payouts of our
    own."""
    wanted = set(sides)
    known = await _sides_of(conn, sorted({side[0] for side in wanted}))
    unknown = wanted - known
    if unknown:
        known |= await _second_sides(conn, unknown)
    return known & wanted


def second_hash(payment_hash: str, first: Settlement, second: Settlement) -> str:
    """What the second side of a payment lands under; the first has the bare hash."""
    if first.machine_id != second.machine_id:
        return f"{payment_hash}:{second.machine_id}"
    return f"{payment_hash}:{CASH_IN if second.is_outgoing else CASH_OUT}"


async def _second_sides(
    conn: Connection, sides: Iterable[PaymentSide]
) -> set[PaymentSide]:
    """Those that landed as `second_hash`: one machine's customer was paid through
    another machine, or a wallet paid itself, and the other side landed first."""
    wallets = await machine_wallets(conn)
    names = {
        f"{payment_hash}:{name}"
        for payment_hash, wallet_id, _ in sides
        for name in {CASH_IN, CASH_OUT, *(m for m, _ in wallets.get(wallet_id, []))}
    }
    found = await _sides_of(conn, sorted(names))
    return {(name.partition(":")[0], wallet, out) for name, wallet, out in found}


async def _sides_of(conn: Connection, hashes: Sequence[str]) -> set[PaymentSide]:
    known: set[PaymentSide] = set()
    for listed, params in in_lists(hashes, {"yes": True, "no": False}):
        found = await fetch_all(
            conn,
            f"""
            SELECT payment_hash, wallet_id, is_outgoing
            FROM satoshimachine.dca_settlements
            WHERE payment_hash IN {listed}
            UNION ALL
            SELECT payment_hash, source_wallet_id AS wallet_id, :yes AS is_outgoing
            FROM satoshimachine.dca_payouts
            WHERE payment_hash IN {listed}
            UNION ALL
            SELECT payment_hash, destination_wallet_id AS wallet_id,
                :no AS is_outgoing
            FROM satoshimachine.dca_payouts WHERE payment_hash IN {listed}
            """,  # noqa: S608
            params,
        )
        for row in found:
            # an old row that was quarantined unread does not know which side it was
            outs = (
                (True, False)
                if row["is_outgoing"] is None
                else (bool(row["is_outgoing"]),)
            )
            known.update((row["payment_hash"], row["wallet_id"], out) for out in outs)
    return known


# Where a payment's hash may stand in our tables, by what the payment is there: the
# table and its column of hashes.
HASHES = {
    "settlement": ("dca_settlements", "payment_hash"),
    "payout": ("dca_payouts", "payment_hash"),
    # of legs that were paid before there were payouts it stands here only
    "leg": ("dca_payments", "external_payment_hash"),
    "attempt": ("dca_machine_attempts", "payment_hash"),
}
# payments that this extension made itself
OWN = ("payout", "leg")
# whatever of ours an invoice may have been used for already
USED = ("settlement", "payout", "leg", "attempt")


async def recorded_hashes(
    conn: Connection, hashes: Iterable[str], roles: Iterable[str]
) -> set[str]:
    """Those of the hashes that are known in one of these roles (of `HASHES`).

    The one answer to "is this hash ours": a table that one of those who ask does not
    ask is a payment that is taken for another, or paid for two debts.
    """
    wanted = sorted(set(hashes))
    found: set[str] = set()
    for listed, params in in_lists(wanted):
        sql = " UNION ALL ".join(
            f"SELECT {column} AS payment_hash "  # noqa: S608
            f"FROM satoshimachine.{table} WHERE {column} IN {listed}"
            for table, column in (HASHES[role] for role in roles)
        )
        found.update(row["payment_hash"] for row in await fetch_all(conn, sql, params))
    return found


async def is_own_payment(conn: Connection, payment_hash: str) -> bool:
    """Whether this extension made the payment itself, as a payout."""
    return payment_hash in await recorded_hashes(conn, [payment_hash], OWN)


async def pending_settlement_ids(limit: int = 200) -> list[str]:
    """Settlements that wait for a plan, in order of transaction time."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            """
            SELECT s.id FROM satoshimachine.dca_settlements s
            WHERE s.status = 'pending'
            ORDER BY s.transaction_time, s.id LIMIT :limit
            """,
            {"limit": limit},
        )
    return [r["id"] for r in found]


async def claim_settlement_for_processing(
    settlement_id: str, holder: str, conn: Connection
) -> bool:
    """Claim a `pending` settlement for planning in the caller's transaction.

    The compare-and-set that makes a plan happen once: only the engine (the holder of
    the lease) can win it, and only while the settlement is still pending.
    """
    return (
        await execute(
            conn,
            f"UPDATE satoshimachine.dca_settlements SET processing_claim = :holder "  # noqa: S608
            f"WHERE id = :id AND status = 'pending' AND {lease_held_sql()}",
            {"id": settlement_id, "holder": holder},
        )
        == 1
    )


async def set_settlement_status(
    conn: Connection,
    settlement_id: str,
    status: str,
    *,
    was: Sequence[str],
    error_message: str | None = None,
) -> bool:
    """Move a settlement from one of `was` to `status`; False if it was in none."""
    params: dict[str, Any] = {
        "id": settlement_id,
        "status": status,
        "error": error_message,
    }
    return (
        await execute(
            conn,
            f"UPDATE satoshimachine.dca_settlements SET status = :status, "  # noqa: S608
            f"error_message = :error WHERE id = :id "
            f"AND status IN {in_list('was', was, params)}",
            params,
        )
        == 1
    )


async def release_settlement(conn: Connection, settlement_id: str, status: str) -> bool:
    """A held-back settlement goes its way; False if it is held back no more."""
    return (
        await execute(
            conn,
            "UPDATE satoshimachine.dca_settlements SET status = :status, "
            "error_message = NULL, quarantine_code = NULL "
            "WHERE id = :id AND status = 'quarantined'",
            {"id": settlement_id, "status": status},
        )
        == 1
    )


async def write_plan(
    conn: Connection,
    settlement: Settlement,
    legs: Sequence[Leg],
    retained_sats: int,
    loss_sats: int = 0,
) -> None:
    """Legs, debits and the settlement's new status, in the caller's transaction."""
    await insert_legs(conn, legs)
    now = utc_now()
    await execute(
        conn,
        """
        UPDATE satoshimachine.dca_settlements
        SET status = 'processing', error_message = NULL,
            planned_at = :now, retained_sats = :retained, loss_sats = :loss
        WHERE id = :id AND status = 'pending'
        """,
        {
            "id": settlement.id,
            "now": db_time(now),
            "retained": retained_sats,
            "loss": loss_sats,
        },
    )
    await refresh_settlements(conn, [settlement.id])


async def insert_legs(conn: Connection, legs: Sequence[Leg]) -> None:
    """Insert legs and take the fiat of those that debit off their LPs' balances."""
    params = [row_params(leg) for leg in legs]
    if not params:
        return
    await execute_many(conn, insert_sql("dca_payments", params[0]), params)
    debits: dict[str, int] = {}
    for leg in legs:
        if leg.client_id and leg.leg_type in ("dca", "settlement") and leg.amount_fiat:
            cents = int(leg.amount_fiat * 100)
            debits[leg.client_id] = debits.get(leg.client_id, 0) + cents
    await add_debits(conn, debits)
    await add_received(conn, [leg for leg in legs if leg.status in RECEIVED])


async def add_received(conn: Connection, legs: Iterable[Leg]) -> None:
    """Count legs that reached their LP just now towards the LP's running totals."""
    sums: dict[str, list[int]] = {}
    for leg in legs:
        if leg.client_id and leg.leg_type in ("dca", "settlement"):
            of_client = sums.setdefault(leg.client_id, [0, 0])
            arrived = leg.amount_sats if leg.sent_sats is None else leg.sent_sats
            of_client[0] += arrived
            of_client[1] += int((leg.amount_fiat or 0) * 100)
    await execute_many(
        conn,
        """
        INSERT INTO satoshimachine.dca_client_totals
            (client_id, received_sats, received_cents)
        VALUES (:client, :sats, :cents)
        ON CONFLICT (client_id) DO UPDATE SET
            received_sats = dca_client_totals.received_sats + excluded.received_sats,
            received_cents = dca_client_totals.received_cents + excluded.received_cents
        """,
        [
            {"client": client, "sats": sats, "cents": cents}
            for client, (sats, cents) in sorted(sums.items())
        ],
    )


async def add_debits(conn: Connection, cents_by_client: Mapping[str, int]) -> None:
    """Change the running debit totals of LPs; negative gives fiat back (a void)."""
    await execute_many(
        conn,
        """
        INSERT INTO satoshimachine.dca_client_totals (client_id, debited_cents)
        VALUES (:client, :cents)
        ON CONFLICT (client_id) DO UPDATE
        SET debited_cents = dca_client_totals.debited_cents + excluded.debited_cents
        """,
        [{"client": c, "cents": v} for c, v in sorted(cents_by_client.items()) if v],
    )


async def refresh_settlements(conn: Connection, settlement_ids: Iterable[str]) -> None:
    """Derive the status of planned settlements, and what LPs got, from their legs.

    `attention` while a leg has failed; `completed` when nothing is left that could be
    paid now (a leg without a destination keeps nothing from `completed`); else
    `processing`. Autoforward legs are the LP's own business and do not count.
    """
    ids = sorted(set(settlement_ids))
    for listed, params in in_lists(ids, {"now": db_time(utc_now())}):
        legs = (
            "SELECT 1 FROM satoshimachine.dca_payments p "
            "WHERE p.settlement_id = dca_settlements.id "
            "AND p.leg_type <> 'autoforward'"
        )
        open_leg = (
            "p.status = 'pending' AND (p.payout_id IS NOT NULL "
            "OR p.leg_type NOT IN ('super_fee', 'refund') "
            "OR p.leg_type = 'refund' AND p.target IS NOT NULL "
            "OR p.leg_type = 'super_fee' AND EXISTS ("
            "SELECT 1 FROM satoshimachine.super_config c "
            "WHERE c.id = 'default' AND c.super_fee_wallet_id IS NOT NULL))"
        )
        await execute(
            conn,
            f"""
            UPDATE satoshimachine.dca_settlements SET
                status = CASE
                    WHEN EXISTS ({legs} AND p.status = 'failed') THEN 'attention'
                    WHEN EXISTS ({legs} AND {open_leg}) THEN 'processing'
                    ELSE 'completed' END,
                error_message = CASE
                    WHEN EXISTS ({legs} AND p.status = 'failed')
                    THEN 'A payment of this settlement failed; retry or void it.'
                    ELSE NULL END,
                paid_to_lps_sats = (
                    SELECT COALESCE(SUM(p.amount_sats), 0)
                    FROM satoshimachine.dca_payments p
                    WHERE p.settlement_id = dca_settlements.id
                      AND p.leg_type = 'dca'
                      AND {RECEIVED_SQL}),
                processed_at = CASE
                    WHEN EXISTS ({legs} AND (p.status = 'failed' OR ({open_leg})))
                    THEN NULL ELSE COALESCE(processed_at, :now) END
            WHERE id IN {listed} AND planned_at IS NOT NULL
              AND status IN ('processing', 'attention', 'completed')
            """,  # noqa: S608
            params,
        )


async def settlements_with_open_platform_fee(conn: Connection) -> list[str]:
    """Settlements whose status depends on whether the platform has a wallet."""
    found = await fetch_all(
        conn,
        "SELECT DISTINCT settlement_id FROM satoshimachine.dca_payments "
        "WHERE status = 'pending' AND leg_type = 'super_fee' AND payout_id IS NULL "
        "AND settlement_id IS NOT NULL",
    )
    return [r["settlement_id"] for r in found]


async def hashes_landed_since(since: datetime) -> list[str]:
    """Payment hashes of what machines were paid, or paid customers, since then."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT payment_hash FROM satoshimachine.dca_settlements "
            "WHERE transaction_time >= :since",
            {"since": db_time(since)},
        )
    return [r["payment_hash"] for r in found]


async def overdue_dispenses(before: datetime) -> int:
    """Turn `awaiting_dispense` settlements older than `before` to `attention`."""
    overdue = "status = 'awaiting_dispense' AND transaction_time < :before"
    params = {"before": db_time(before)}
    async with db.connect() as conn:
        found = await fetch_one(
            conn,
            f"SELECT 1 FROM satoshimachine.dca_settlements WHERE {overdue} LIMIT 1",  # noqa: S608
            params,
        )
    if found is None:
        return 0
    async with transaction() as conn:
        # Open pages notice by the ledger's lock, which is taken before any row.
        await lock_ledger(conn)
        return await execute(
            conn,
            f"""
            UPDATE satoshimachine.dca_settlements
            SET status = 'attention', error_message =
                'The machine has not reported the dispense; enter what it paid out.'
            WHERE {overdue}
            """,  # noqa: S608
            params,
        )


async def legs_of(settlement_id: str, conn: Connection | None = None) -> list[Leg]:
    async with reuse(conn) as c:
        return await fetch_models(
            c,
            "SELECT * FROM satoshimachine.dca_payments WHERE settlement_id = :id "
            "ORDER BY created_at, leg_type, id",
            Leg,
            {"id": settlement_id},
        )


async def get_leg(leg_id: str, conn: Connection | None = None) -> Leg | None:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            "SELECT * FROM satoshimachine.dca_payments WHERE id = :id",
            Leg,
            {"id": leg_id},
        )
    return found[0] if found else None


async def backlog() -> dict[str, Any]:
    """Counts of what waits, and the oldest unpaid leg, for `/health`.

    A failed leg is unpaid too: it is owed until somebody voids it or pays it.
    """
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            """
            SELECT
              (SELECT COUNT(*) FROM satoshimachine.dca_settlements
                WHERE status = 'pending')
                AS pending_settlements,
              (SELECT COUNT(*) FROM satoshimachine.dca_payments
                WHERE status IN ('pending', 'failed'))
                AS unpaid_legs,
              (SELECT COUNT(*) FROM satoshimachine.dca_payments WHERE status = 'failed')
                AS failed_legs,
              (SELECT COUNT(*) FROM satoshimachine.dca_payouts
                WHERE status = 'invoiced')
                AS payouts_in_flight,
              (SELECT MIN(created_at) FROM satoshimachine.dca_payments
                WHERE status IN ('pending', 'failed'))
                AS oldest_unpaid_leg_at
            """,
        )
    found = dict(row or {})
    oldest = found.get("oldest_unpaid_leg_at")
    found["oldest_unpaid_leg_at"] = from_time(oldest) if oldest is not None else None
    return found
