"""SQL of the money path: settlements, legs, payouts, and who may pay.

Guaranteed here: a settlement lands once per payment hash; a plan is written whole or
not at all; a leg is in at most one payout; a final status never changes; nothing that
leads to a payment is written by a process that does not hold the lease.
Not guaranteed here: that a payment happened. That is read from LNbits' rows, in
`payouts.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from .calculations import largest_remainder
from .database import (
    CHUNK,
    cents_sql,
    db,
    db_time,
    epoch_now_sql,
    in_list,
    insert_sql,
    models,
    one,
    reuse,
    row_params,
    rows,
    run,
    run_many,
    transaction,
)
from .models import (
    CommissionSplit,
    Leg,
    LpProfile,
    Machine,
    Payout,
    Settlement,
    SuperConfig,
    utc_now,
)

__all__ = ["db"]

LEASE_SECONDS = 60
NO_PLATFORM_WALLET = "The platform has not chosen the wallet for its fee yet."
# External destinations gather at least this long: routing is paid by the payment.
# A test or a demonstration may shorten it.
EXTERNAL_GATHER = timedelta(
    seconds=int(os.environ.get("SATMACHINE_EXTERNAL_GATHER_SECONDS", "600"))
)
S = "satoshimachine"

# --------------------------------------------------------------------- the lease


def lease_held_sql() -> str:
    """A condition that is true while `:holder` is the engine, by the database's clock."""
    return (
        f"EXISTS (SELECT 1 FROM {S}.dca_lease WHERE id = 'engine' "  # noqa: S608
        f"AND holder = :holder AND expires_epoch > {epoch_now_sql()})"
    )


async def take_lease(holder: str) -> bool:
    """Become or stay the engine for the next 60 s; False if another process is.

    A lease that ends more than two terms ahead was written by a clock that has since
    been set back: it would otherwise block every engine until that hour comes again.
    """
    now = epoch_now_sql()
    async with transaction() as conn:
        taken = await run(
            conn,
            f"""
            UPDATE {S}.dca_lease
            SET holder = :holder, expires_epoch = {now} + {LEASE_SECONDS}
            WHERE id = 'engine' AND (holder IS NULL OR holder = :holder
                OR expires_epoch <= {now}
                OR expires_epoch > {now} + {2 * LEASE_SECONDS})
            """,  # noqa: S608
            {"holder": holder},
        )
    return taken == 1


async def release_lease(holder: str) -> None:
    """Let another process become the engine at once."""
    async with transaction() as conn:
        await run(
            conn,
            f"UPDATE {S}.dca_lease SET expires_epoch = 0 "  # noqa: S608
            "WHERE id = 'engine' AND holder = :holder",
            {"holder": holder},
        )


async def lease_state() -> dict[str, Any]:
    """`{"holder", "seconds_left"}` of the lease row."""
    async with db.connect() as conn:
        row = await one(
            conn,
            f"SELECT holder, expires_epoch - {epoch_now_sql()} AS seconds_left "
            f"FROM {S}.dca_lease WHERE id = 'engine'",  # noqa: S608
        )
    return {
        "holder": row["holder"] if row else None,
        "seconds_left": max(0, int(row["seconds_left"])) if row else 0,
    }


async def holds_lease(holder: str) -> bool:
    async with db.connect() as conn:
        return (
            await one(
                conn, f"SELECT 1 AS yes WHERE {lease_held_sql()}", {"holder": holder}
            )
            is not None
        )  # noqa: E501


async def lock_ledger(conn: Connection) -> None:
    """First statement of whatever changes an LP's fiat: one at a time, everywhere."""
    await run(
        conn, f"UPDATE {S}.dca_locks SET n = n + 1 WHERE id = 'ledger'"
    )  # noqa: S608


# ------------------------------------------------------------------- configuration


async def get_super_config(conn: Connection | None = None) -> SuperConfig:
    async with reuse(conn) as c:
        found = await models(
            c,
            f"SELECT * FROM {S}.super_config WHERE id = 'default'",
            SuperConfig,  # noqa: S608
        )
    return found[0] if found else SuperConfig()


async def get_machine(
    machine_id: str, conn: Connection | None = None
) -> Machine | None:
    """A machine by id, whoever owns it: for the engine, not for a request."""
    async with reuse(conn) as c:
        found = await models(
            c,
            f"SELECT * FROM {S}.dca_machines WHERE id = :id",  # noqa: S608
            Machine,
            {"id": machine_id},
        )
    return found[0] if found else None


async def get_machines_by_id(
    conn: Connection, machine_ids: Iterable[str]
) -> dict[str, Machine]:
    params: dict[str, Any] = {}
    ids = in_list("m", sorted(set(machine_ids)), params)
    found = await models(
        conn,
        f"SELECT * FROM {S}.dca_machines WHERE id IN {ids}",
        Machine,
        params,  # noqa: S608
    )
    return {m.id: m for m in found}


async def machine_wallets(
    conn: Connection | None = None,
) -> dict[str, list[tuple[str, datetime]]]:
    """Every wallet that is or ever was a machine's: wallet id -> (machine id, since)."""
    async with reuse(conn) as c:
        found = await rows(
            c,
            f"SELECT wallet_id, machine_id, since_at FROM {S}.dca_machine_wallets "  # noqa: S608
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


async def wallet_machine_id(
    conn: Connection, wallet_id: str, at: datetime
) -> str | None:
    """The machine whose wallet this was at that time (or first was, if earlier)."""
    found = await rows(
        conn,
        f"SELECT machine_id, since_at FROM {S}.dca_machine_wallets "  # noqa: S608
        "WHERE wallet_id = :wallet ORDER BY since_at",
        {"wallet": wallet_id},
    )
    if not found:
        return None
    owner = found[0]["machine_id"]
    for row in found:
        if from_time(row["since_at"]) <= at:
            owner = row["machine_id"]
    return owner


# --------------------------------------------------------------------- settlements


async def get_settlement(
    settlement_id: str, conn: Connection | None = None
) -> Settlement | None:
    async with reuse(conn) as c:
        found = await models(
            c,
            f"SELECT * FROM {S}.dca_settlements WHERE id = :id",  # noqa: S608
            Settlement,
            {"id": settlement_id},
        )
    return found[0] if found else None


async def get_settlement_by_hash(
    payment_hash: str, conn: Connection | None = None
) -> Settlement | None:
    async with reuse(conn) as c:
        found = await models(
            c,
            f"SELECT * FROM {S}.dca_settlements WHERE payment_hash = :hash",  # noqa: S608
            Settlement,
            {"hash": payment_hash},
        )
    return found[0] if found else None


async def insert_settlement(conn: Connection, settlement: Settlement) -> bool:
    """Write the row once per `payment_hash`; False if it stood there already."""
    params = row_params(settlement)
    sql = insert_sql("dca_settlements", params, "ON CONFLICT DO NOTHING")
    return await run(conn, sql, params) == 1


async def known_sides(
    conn: Connection, hashes: Sequence[str]
) -> set[tuple[str, str]]:
    """Those sides (payment hash, wallet id) of payments that need no landing: landed
    before, or payouts of our own."""
    known: set[tuple[str, str]] = set()
    for start in range(0, len(hashes), CHUNK):
        params: dict[str, Any] = {}
        listed = in_list("h", hashes[start : start + CHUNK], params)
        found = await rows(
            conn,
            f"""
            SELECT payment_hash, wallet_id FROM {S}.dca_settlements
            WHERE payment_hash IN {listed}
            UNION ALL
            SELECT payment_hash, source_wallet_id AS wallet_id FROM {S}.dca_payouts
            WHERE payment_hash IN {listed}
            UNION ALL
            SELECT payment_hash, destination_wallet_id AS wallet_id
            FROM {S}.dca_payouts WHERE payment_hash IN {listed}
            """,  # noqa: S608
            params,
        )
        known.update((row["payment_hash"], row["wallet_id"]) for row in found)
    return known


async def is_own_payment(conn: Connection, payment_hash: str) -> bool:
    """Whether this extension made the payment itself, as a payout."""
    found = await one(
        conn,
        f"SELECT 1 AS yes FROM {S}.dca_payouts WHERE payment_hash = :hash "  # noqa: S608
        f"UNION ALL SELECT 1 AS yes FROM {S}.dca_payments "
        "WHERE external_payment_hash = :hash",
        {"hash": payment_hash},
    )
    return found is not None


async def recent_rates(
    conn: Connection, machine_id: str, before: datetime
) -> list[Decimal]:
    """principal / fiat of the machine's last ten good settlements of the past week."""
    found = await rows(
        conn,
        f"""
        SELECT principal_sats, {cents_sql("fiat_amount")} AS cents
        FROM {S}.dca_settlements
        WHERE machine_id = :machine AND transaction_time >= :since
          AND status NOT IN ('quarantined', 'voided')
          AND principal_sats > 0 AND fiat_amount > 0
        ORDER BY transaction_time DESC LIMIT 10
        """,  # noqa: S608
        {"machine": machine_id, "since": db_time(before - timedelta(days=7))},
    )
    return [Decimal(int(r["principal_sats"])) * 100 / int(r["cents"]) for r in found]


async def pending_settlement_ids(limit: int = 200) -> list[str]:
    """Settlements that wait for a plan, in order of transaction time."""
    async with db.connect() as conn:
        found = await rows(
            conn,
            f"""
            SELECT s.id FROM {S}.dca_settlements s
            WHERE s.status = 'pending'
            ORDER BY s.transaction_time, s.id LIMIT :limit
            """,  # noqa: S608
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
        await run(
            conn,
            f"UPDATE {S}.dca_settlements SET processing_claim = :holder "  # noqa: S608
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
        await run(
            conn,
            f"UPDATE {S}.dca_settlements SET status = :status, "  # noqa: S608
            f"error_message = :error WHERE id = :id "
            f"AND status IN {in_list('was', was, params)}",
            params,
        )
        == 1
    )


async def write_plan(
    conn: Connection, settlement: Settlement, legs: Sequence[Leg], retained_sats: int
) -> None:
    """Legs, their debits and the settlement's new status, in the caller's transaction."""
    await insert_legs(conn, legs)
    now = utc_now()
    await run(
        conn,
        f"""
        UPDATE {S}.dca_settlements SET status = 'processing', error_message = NULL,
            planned_at = :now, retained_sats = :retained
        WHERE id = :id AND status = 'pending'
        """,  # noqa: S608
        {"id": settlement.id, "now": db_time(now), "retained": retained_sats},
    )
    await refresh_settlements(conn, [settlement.id])


async def insert_legs(conn: Connection, legs: Sequence[Leg]) -> None:
    """Insert legs and take the fiat of those that debit off their LPs' balances."""
    params = [row_params(leg) for leg in legs]
    if not params:
        return
    await run_many(conn, insert_sql("dca_payments", params[0]), params)
    debits: dict[str, int] = {}
    for leg in legs:
        if leg.client_id and leg.leg_type in ("dca", "settlement") and leg.amount_fiat:
            cents = int(leg.amount_fiat * 100)
            debits[leg.client_id] = debits.get(leg.client_id, 0) + cents
    await add_debits(conn, debits)


async def add_debits(conn: Connection, cents_by_client: Mapping[str, int]) -> None:
    """Change the running debit totals of LPs; negative gives fiat back (a void)."""
    await run_many(
        conn,
        f"""
        INSERT INTO {S}.dca_client_totals (client_id, debited_cents)
        VALUES (:client, :cents)
        ON CONFLICT (client_id) DO UPDATE
        SET debited_cents = dca_client_totals.debited_cents + excluded.debited_cents
        """,  # noqa: S608
        [{"client": c, "cents": v} for c, v in sorted(cents_by_client.items()) if v],
    )


async def refresh_settlements(conn: Connection, settlement_ids: Iterable[str]) -> None:
    """Derive the status of planned settlements from their legs.

    `attention` while a leg has failed; `completed` when nothing is left that could be
    paid now (a leg without a destination keeps nothing from `completed`); else
    `processing`. Autoforward legs are the LP's own business and do not count.
    """
    ids = sorted(set(settlement_ids))
    for start in range(0, len(ids), CHUNK):
        params: dict[str, Any] = {"now": db_time(utc_now())}
        listed = in_list("s", ids[start : start + CHUNK], params)
        legs = (
            f"SELECT 1 FROM {S}.dca_payments p WHERE p.settlement_id = dca_settlements.id "
            "AND p.leg_type <> 'autoforward'"
        )
        open_leg = (
            "p.status = 'pending' AND (p.payout_id IS NOT NULL OR p.target IS NOT NULL "
            "OR p.destination_wallet_id IS NOT NULL "
            "OR p.leg_type NOT IN ('super_fee', 'refund'))"
        )
        await run(
            conn,
            f"""
            UPDATE {S}.dca_settlements SET
                status = CASE
                    WHEN EXISTS ({legs} AND p.status = 'failed') THEN 'attention'
                    WHEN EXISTS ({legs} AND {open_leg}) THEN 'processing'
                    ELSE 'completed' END,
                error_message = CASE
                    WHEN EXISTS ({legs} AND p.status = 'failed')
                    THEN 'A payment of this settlement failed; retry or void it.'
                    ELSE NULL END,
                processed_at = CASE
                    WHEN EXISTS ({legs} AND (p.status = 'failed' OR ({open_leg})))
                    THEN NULL ELSE COALESCE(processed_at, :now) END
            WHERE id IN {listed} AND planned_at IS NOT NULL
              AND status IN ('processing', 'attention', 'completed')
            """,  # noqa: S608
            params,
        )


async def overdue_dispenses(before: datetime) -> int:
    """Turn `awaiting_dispense` settlements older than `before` to `attention`."""
    async with transaction() as conn:
        return await run(
            conn,
            f"""
            UPDATE {S}.dca_settlements SET status = 'attention', error_message =
                'The machine has not reported the dispense; enter what it paid out.'
            WHERE status = 'awaiting_dispense' AND transaction_time < :before
            """,  # noqa: S608
            {"before": db_time(before)},
        )


# -------------------------------------------------------------------- for the plan


async def effective_splits(
    conn: Connection, operator_user_id: str, machine_id: str
) -> list[CommissionSplit]:
    """The machine's override splits, else the operator's defaults, else none."""
    found = await models(
        conn,
        f"""
        SELECT * FROM {S}.dca_commission_splits
        WHERE operator_user_id = :operator
          AND (machine_id = :machine OR machine_id IS NULL)
        ORDER BY sort_order, id
        """,  # noqa: S608
        CommissionSplit,
        {"operator": operator_user_id, "machine": machine_id},
    )
    override = [s for s in found if s.machine_id == machine_id]
    return override or [s for s in found if s.machine_id is None]


async def lp_positions(
    conn: Connection, machine_id: str, at: datetime
) -> list[Mapping[str, Any]]:
    """Active LPs of a machine with profile and fiat, one row each.

    Columns: client_id, user_id, the `dca_lp` columns (None without a profile),
    `deposited_cents` (confirmed no later than `at`), `debited_cents`.
    """
    return await rows(
        conn,
        f"""
        SELECT c.id AS client_id, c.user_id, l.dca_wallet_id, l.default_dca_mode,
               {cents_sql("l.fixed_mode_daily_limit")} AS limit_cents,
               l.autoforward_ln_address, l.autoforward_enabled,
               COALESCE(d.cents, 0) AS deposited_cents,
               COALESCE(t.debited_cents, 0) AS debited_cents
        FROM {S}.dca_clients c
        LEFT JOIN {S}.dca_lp l ON l.user_id = c.user_id
        LEFT JOIN {S}.dca_client_totals t ON t.client_id = c.id
        LEFT JOIN (
            SELECT client_id, SUM({cents_sql("amount")}) AS cents
            FROM {S}.dca_deposits
            WHERE machine_id = :machine AND status = 'confirmed'
              AND confirmed_at <= :at
            GROUP BY client_id
        ) d ON d.client_id = c.id
        WHERE c.machine_id = :machine AND c.status = 'active'
        ORDER BY c.id
        """,  # noqa: S608
        {"machine": machine_id, "at": db_time(at)},
    )


async def day_debits(
    conn: Connection, machine_id: str, fiat_code: str, at: datetime
) -> dict[str, int]:
    """Minor units each LP of this machine received by DCA on the UTC day of `at`,
    over all machines of this currency: LNbits user id -> cents."""
    day = at.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    found = await rows(
        conn,
        f"""
        SELECT c.user_id, SUM({cents_sql("p.amount_fiat")}) AS cents
        FROM {S}.dca_payments p
        JOIN {S}.dca_clients c ON c.id = p.client_id
        JOIN {S}.dca_machines m ON m.id = p.machine_id
        WHERE p.transaction_time >= :day AND p.transaction_time < :next
          AND p.leg_type = 'dca' AND p.status NOT IN ('voided', 'refunded')
          AND m.fiat_code = :code AND c.user_id IN (
              SELECT user_id FROM {S}.dca_clients WHERE machine_id = :machine)
        GROUP BY c.user_id
        """,  # noqa: S608
        {
            "day": db_time(day),
            "next": db_time(day + timedelta(days=1)),
            "code": fiat_code,
            "machine": machine_id,
        },
    )
    return {r["user_id"]: int(r["cents"] or 0) for r in found}


# ---------------------------------------------------------------------------- legs


async def legs_of(settlement_id: str, conn: Connection | None = None) -> list[Leg]:
    async with reuse(conn) as c:
        return await models(
            c,
            f"SELECT * FROM {S}.dca_payments WHERE settlement_id = :id "  # noqa: S608
            "ORDER BY created_at, leg_type, id",
            Leg,
            {"id": settlement_id},
        )


async def get_leg(leg_id: str, conn: Connection | None = None) -> Leg | None:
    async with reuse(conn) as c:
        found = await models(
            c,
            f"SELECT * FROM {S}.dca_payments WHERE id = :id",  # noqa: S608
            Leg,
            {"id": leg_id},
        )
    return found[0] if found else None


async def waiting_wallets() -> list[str]:
    """Paying wallets with legs that are not in a payout yet."""
    async with db.connect() as conn:
        found = await rows(
            conn,
            f"""
            SELECT DISTINCT source_wallet_id FROM {S}.dca_payments
            WHERE status = 'pending' AND payout_id IS NULL
              AND source_wallet_id IS NOT NULL
              AND (next_try_at IS NULL OR next_try_at <= :now)
            """,  # noqa: S608
            {"now": db_time(utc_now())},
        )
    return [r["source_wallet_id"] for r in found]


async def due_legs(
    conn: Connection, wallet_id: str, now: datetime, limit: int = 5000
) -> list[Leg]:
    """Due legs of a paying wallet that are in no payout, oldest first."""
    return await models(
        conn,
        f"""
        SELECT * FROM {S}.dca_payments
        WHERE status = 'pending' AND payout_id IS NULL AND source_wallet_id = :wallet
          AND (next_try_at IS NULL OR next_try_at <= :now)
        ORDER BY transaction_time, created_at, id LIMIT :limit
        """,  # noqa: S608
        Leg,
        {"wallet": wallet_id, "now": db_time(now), "limit": limit},
    )


async def lp_profiles_of_clients(
    conn: Connection, client_ids: Iterable[str]
) -> dict[str, LpProfile]:
    """client id -> the LP's profile of now."""
    ids = sorted(set(client_ids))
    profiles: dict[str, LpProfile] = {}
    for start in range(0, len(ids), CHUNK):
        params: dict[str, Any] = {}
        listed = in_list("c", ids[start : start + CHUNK], params)
        found = await rows(
            conn,
            f"SELECT c.id AS client_id, l.* FROM {S}.dca_clients c "  # noqa: S608
            f"JOIN {S}.dca_lp l ON l.user_id = c.user_id WHERE c.id IN {listed}",
            params,
        )
        for row in found:
            fields = {k: v for k, v in row.items() if v is not None}
            for key in ("created_at", "updated_at"):
                fields[key] = from_time(fields.get(key))
            profiles[row["client_id"]] = LpProfile(**fields)
    return profiles


async def set_leg_reasons(reasons: Mapping[str, str], next_try_at: datetime) -> None:
    """Say on waiting legs why they wait. No attempt is counted; no status changes."""
    if not reasons:
        return
    async with transaction() as conn:
        await run_many(
            conn,
            f"UPDATE {S}.dca_payments SET error_message = :reason, "  # noqa: S608
            "next_try_at = :next WHERE id = :id AND status = 'pending' "
            "AND payout_id IS NULL",
            [
                {"id": i, "reason": r, "next": db_time(next_try_at)}
                for i, r in sorted(reasons.items())
            ],
        )


MAX_ATTEMPTS = 10


def backoff_seconds(attempts: int) -> int:
    """1 min after the first failed attempt, doubling, at most 1 h."""
    return min(60 * 2 ** max(0, attempts - 1), 3600)


async def count_failed_attempt(
    conn: Connection, legs: Sequence[Leg], reason: str
) -> None:
    """One more failed attempt of legs: back off, or `failed` after the tenth.

    A bolt11 refund loses its destination: that invoice is dead, another must be given.
    """
    now = utc_now()
    params = []
    for leg in legs:
        attempts = leg.attempts + 1
        is_dead_invoice = leg.leg_type == "refund" and "@" not in (leg.target or "")
        params.append(
            {
                "id": leg.id,
                "attempts": attempts,
                "status": "failed" if attempts >= MAX_ATTEMPTS else "pending",
                "next": db_time(now + timedelta(seconds=backoff_seconds(attempts))),
                "reason": reason,
                "target": None if is_dead_invoice else leg.target,
            }
        )
    await run_many(
        conn,
        f"""
        UPDATE {S}.dca_payments SET attempts = :attempts, status = :status,
            next_try_at = :next, error_message = :reason, payout_id = NULL,
            external_payment_hash = NULL, sent_sats = NULL, target = :target
        WHERE id = :id AND status = 'pending'
        """,  # noqa: S608
        params,
    )
    await refresh_settlements(conn, [x.settlement_id for x in legs if x.settlement_id])


# -------------------------------------------------------------------- free balance


async def reserved_sats(
    conn: Connection, wallet_ids: Iterable[str]
) -> dict[str, tuple[int, int]]:
    """What wallets owe: wallet id -> (unpaid legs paid from their own settlement
    plus cash-outs not planned yet, unpaid legs that spend free balance only)."""
    ids = sorted(set(wallet_ids))
    owed = {w: [0, 0] for w in ids}
    for start in range(0, len(ids), CHUNK):
        params: dict[str, Any] = {"free": True}
        listed = in_list("w", ids[start : start + CHUNK], params)
        found = await rows(
            conn,
            f"""
            SELECT source_wallet_id AS wallet_id,
                   CASE WHEN from_free_balance = :free THEN 1 ELSE 0 END AS is_free,
                   SUM(amount_sats) AS sats
            FROM {S}.dca_payments
            WHERE status IN ('pending', 'failed') AND leg_type <> 'autoforward'
              AND source_wallet_id IN {listed}
            GROUP BY source_wallet_id,
                     CASE WHEN from_free_balance = :free THEN 1 ELSE 0 END
            UNION ALL
            SELECT wallet_id, 0 AS is_free, SUM(wire_sats - network_fee_sats) AS sats
            FROM {S}.dca_settlements
            WHERE planned_at IS NULL AND tx_type <> 'cash_in'
              AND status IN ('pending', 'awaiting_dispense', 'attention', 'quarantined')
              AND wallet_id IN {listed}
            GROUP BY wallet_id
            """,  # noqa: S608
            params,
        )
        for row in found:
            owed[row["wallet_id"]][int(row["is_free"])] += int(row["sats"] or 0)
    return {w: (a, b) for w, (a, b) in owed.items()}


# ------------------------------------------------------------------------- payouts


async def open_payouts(
    conn: Connection,
    payouts_and_legs: Sequence[tuple[Payout, Sequence[Leg]]],
    holder: str,
) -> list[Payout]:
    """Write payouts and let their legs join, by compare-and-set, in one transaction.

    Returns the payouts that were opened; one of whose legs was voided, paid or taken
    in the meantime is left out whole.
    """
    if (
        await one(conn, f"SELECT 1 AS yes WHERE {lease_held_sql()}", {"holder": holder})
        is None
    ):
        return []
    opened = []
    for payout, legs in payouts_and_legs:
        ids = [leg.id for leg in legs]
        joined = 0
        for start in range(0, len(ids), CHUNK):
            params: dict[str, Any] = {"payout": payout.id}
            listed = in_list("l", ids[start : start + CHUNK], params)
            joined += await run(
                conn,
                f"UPDATE {S}.dca_payments SET payout_id = :payout "  # noqa: S608
                f"WHERE id IN {listed} AND status = 'pending' AND payout_id IS NULL",
                params,
            )
        if joined == len(ids):
            opened.append((payout, legs))
            continue
        await run(
            conn,
            f"UPDATE {S}.dca_payments SET payout_id = NULL WHERE payout_id = :payout",  # noqa: S608
            {"payout": payout.id},
        )
    if opened:
        payout_rows = [row_params(payout) for payout, _ in opened]
        await run_many(conn, insert_sql("dca_payouts", payout_rows[0]), payout_rows)
        await run_many(
            conn,
            insert_sql("dca_payout_legs", ("payout_id", "leg_id", "amount_sats")),
            [
                {"payout_id": p.id, "leg_id": x.id, "amount_sats": x.amount_sats}
                for p, legs in opened
                for x in legs
            ],
        )
    return [payout for payout, _ in opened]


async def unfinished_payouts(limit: int = 500) -> list[Payout]:
    """Payouts whose outcome is not final and that are due for a look, oldest first."""
    async with db.connect() as conn:
        return await models(
            conn,
            f"""
            SELECT * FROM {S}.dca_payouts
            WHERE status IN ('new', 'invoiced')
              AND (next_try_at IS NULL OR next_try_at <= :now)
            ORDER BY created_at, id LIMIT :limit
            """,  # noqa: S608
            Payout,
            {"now": db_time(utc_now()), "limit": limit},
        )


async def paid_payouts_since(since: datetime) -> list[Payout]:
    """Payouts completed since then: looked at once more by the sweep."""
    async with db.connect() as conn:
        return await models(
            conn,
            f"SELECT * FROM {S}.dca_payouts WHERE paid_at >= :since "  # noqa: S608
            "AND status = 'paid' ORDER BY paid_at",
            Payout,
            {"since": db_time(since)},
        )


async def get_payout(payout_id: str, conn: Connection | None = None) -> Payout | None:
    async with reuse(conn) as c:
        found = await models(
            c,
            f"SELECT * FROM {S}.dca_payouts WHERE id = :id",  # noqa: S608
            Payout,
            {"id": payout_id},
        )
    return found[0] if found else None


async def legs_of_payouts(
    conn: Connection, payout_ids: Iterable[str]
) -> dict[str, list[Leg]]:
    """payout id -> the legs that are in it now."""
    ids = sorted(set(payout_ids))
    found: dict[str, list[Leg]] = {i: [] for i in ids}
    for start in range(0, len(ids), CHUNK):
        params: dict[str, Any] = {}
        listed = in_list("p", ids[start : start + CHUNK], params)
        for leg in await models(
            conn,
            f"SELECT * FROM {S}.dca_payments WHERE payout_id IN {listed} "  # noqa: S608
            "ORDER BY transaction_time, id",
            Leg,
            params,
        ):
            found[str(leg.payout_id)].append(leg)
    return found


async def store_invoices(payouts: Sequence[Payout], holder: str) -> list[Payout]:
    """Keep each payout's invoice *before* it may be paid; returns those now kept.

    Compare-and-set on (status, no hash yet, lease). A hash that another payout has had
    (an outside server that hands out one invoice twice) is refused: one payment would
    count for two debts.
    """
    kept = []
    async with transaction() as conn:
        for payout in payouts:
            taken = await one(
                conn,
                f"SELECT 1 AS yes FROM {S}.dca_payouts WHERE payment_hash = :hash "  # noqa: S608
                f"UNION ALL SELECT 1 AS yes FROM {S}.dca_settlements "
                "WHERE payment_hash = :hash",
                {"hash": payout.payment_hash},
            )
            if taken:
                continue
            stored = await run(
                conn,
                f"""
                UPDATE {S}.dca_payouts SET status = 'invoiced', payment_hash = :hash,
                    bolt11 = :bolt11, sent_sats = :sent, lease_token = :holder,
                    updated_at = :now
                WHERE id = :id AND status = 'new' AND payment_hash IS NULL
                  AND {lease_held_sql()}
                """,  # noqa: S608
                {
                    "id": payout.id,
                    "hash": payout.payment_hash,
                    "bolt11": payout.bolt11,
                    "sent": payout.sent_sats,
                    "holder": holder,
                    "now": db_time(utc_now()),
                },
            )
            if stored == 1:
                kept.append(payout)
        await run_many(
            conn,
            f"UPDATE {S}.dca_payments SET external_payment_hash = :hash "  # noqa: S608
            "WHERE payout_id = :id AND status = 'pending'",
            [{"id": p.id, "hash": p.payment_hash} for p in kept],
        )
    return kept


async def note_payout(
    payout: Payout, *, reason: str | None, next_try_at: datetime
) -> None:
    """Remember why a payout waits and when it is looked at next; its legs say it too."""
    async with transaction() as conn:
        await run(
            conn,
            f"""
            UPDATE {S}.dca_payouts SET reason = :reason, next_try_at = :next,
                checks = checks + 1, updated_at = :now
            WHERE id = :id AND status IN ('new', 'invoiced')
            """,  # noqa: S608
            {
                "id": payout.id,
                "reason": reason,
                "next": db_time(next_try_at),
                "now": db_time(utc_now()),
            },
        )
        await run(
            conn,
            f"UPDATE {S}.dca_payments SET error_message = :reason, "  # noqa: S608
            "next_try_at = :next WHERE payout_id = :id AND status = 'pending'",
            {"id": payout.id, "reason": reason, "next": db_time(next_try_at)},
        )


async def fail_payout(payout: Payout, reason: str) -> bool:
    """Proven failure: the payout ends, its legs leave it and back off."""
    return await _end_payout(payout, reason, counts=True)


async def withdraw_payout(payout: Payout, reason: str) -> bool:
    """End a payout that has no invoice; its legs wait again, no attempt is counted."""
    return await _end_payout(payout, reason, counts=False)


async def _end_payout(payout: Payout, reason: str, *, counts: bool) -> bool:
    async with transaction() as conn:
        await lock_ledger(conn)
        ended = await run(
            conn,
            f"UPDATE {S}.dca_payouts SET status = 'failed', reason = :reason, "  # noqa: S608
            "updated_at = :now WHERE id = :id AND status IN ('new', 'invoiced') "
            "AND (payment_hash = :hash OR (payment_hash IS NULL AND :no_hash))",
            {
                "id": payout.id,
                "reason": reason,
                "now": db_time(utc_now()),
                "hash": payout.payment_hash or "",
                "no_hash": payout.payment_hash is None,
            },
        )
        if not ended:
            return False
        legs = (await legs_of_payouts(conn, [payout.id]))[payout.id]
        waiting = [leg for leg in legs if leg.status == "pending"]
        if counts:
            await count_failed_attempt(conn, waiting, reason)
        else:
            await run(
                conn,
                f"UPDATE {S}.dca_payments SET payout_id = NULL, "  # noqa: S608
                "external_payment_hash = NULL, error_message = :reason "
                "WHERE payout_id = :id AND status = 'pending'",
                {"id": payout.id, "reason": reason},
            )
    return True


async def complete_payouts(
    results: Sequence[tuple[Payout, int]],
) -> list[Leg]:
    """Proven success of payouts (with their network fees in sats): legs `completed`.

    Autoforward legs of LPs who asked for it are born in the same transaction. Returns
    the legs that were completed by this call.
    """
    if not results:
        return []
    fees = {payout.id: fee for payout, fee in results}
    now = utc_now()
    async with transaction() as conn:
        await lock_ledger(conn)
        current = await _payouts_by_id(conn, list(fees))
        paid = [p for p in current if p.status == "invoiced"]
        legs_by_payout = await legs_of_payouts(conn, [p.id for p in paid])
        await run_many(
            conn,
            f"""
            UPDATE {S}.dca_payouts SET status = 'paid', reason = NULL, paid_at = :now,
                updated_at = :now, network_fee_sats = :fee
            WHERE id = :id AND status = 'invoiced'
            """,  # noqa: S608
            [{"id": p.id, "fee": fees[p.id], "now": db_time(now)} for p in paid],
        )
        done = []
        for payout in paid:
            legs = [x for x in legs_by_payout[payout.id] if x.status == "pending"]
            sent_parts = largest_remainder(
                payout.sent_sats or 0, [leg.amount_sats for leg in legs]
            )
            for leg, sent in zip(legs, sent_parts, strict=True):
                leg.sent_sats = sent
                leg.destination_wallet_id = (
                    payout.destination_wallet_id or leg.destination_wallet_id
                )
                leg.external_payment_hash = payout.payment_hash
                done.append(leg)
        await finish_legs(conn, done, "completed", now)
    return done


async def finish_legs(
    conn: Connection,
    legs: Sequence[Leg],
    status: str,
    now: datetime,
    reason: str | None = None,
) -> None:
    """`completed` or `skipped`, with what follows from it, in the caller's transaction."""
    await run_many(
        conn,
        f"""
        UPDATE {S}.dca_payments SET status = :status, sent_sats = :sent,
            destination_wallet_id = :wallet, error_message = :reason,
            completed_at = :now, next_try_at = NULL, external_payment_hash = :hash
        WHERE id = :id AND status = 'pending'
        """,  # noqa: S608
        [
            {
                "id": leg.id,
                "status": status,
                "sent": leg.sent_sats,
                "wallet": leg.destination_wallet_id,
                "reason": reason,
                "now": db_time(now),
                "hash": leg.external_payment_hash,
            }
            for leg in legs
        ],
    )
    await insert_legs(conn, await autoforward_legs(conn, legs, now))
    await refresh_settlements(conn, [x.settlement_id for x in legs if x.settlement_id])


async def autoforward_legs(
    conn: Connection, legs: Sequence[Leg], now: datetime
) -> list[Leg]:
    """The autoforward legs that received DCA legs give rise to."""
    received = [
        x
        for x in legs
        if x.leg_type == "dca" and x.client_id and x.destination_wallet_id
    ]
    if not received:
        return []
    profiles = await lp_profiles_of_clients(conn, [str(x.client_id) for x in received])
    forwards = []
    for leg in received:
        profile = profiles.get(str(leg.client_id))
        if not profile or not profile.autoforward_enabled:
            continue
        if not profile.autoforward_ln_address:
            continue
        forwards.append(
            Leg(
                id=urlsafe_short_hash(),
                settlement_id=leg.settlement_id,
                client_id=leg.client_id,
                machine_id=leg.machine_id,
                operator_user_id=leg.operator_user_id,
                leg_type="autoforward",
                leg_key=leg.id,
                parent_leg_id=leg.id,
                destination_ln_address=profile.autoforward_ln_address,
                target=profile.autoforward_ln_address,
                amount_sats=leg.amount_sats,
                transaction_time=leg.transaction_time,
                source_wallet_id=leg.destination_wallet_id,
                next_try_at=now + EXTERNAL_GATHER,
                created_at=now,
            )
        )
    return forwards


async def _payouts_by_id(conn: Connection, payout_ids: Sequence[str]) -> list[Payout]:
    found: list[Payout] = []
    for start in range(0, len(payout_ids), CHUNK):
        params: dict[str, Any] = {}
        listed = in_list("p", payout_ids[start : start + CHUNK], params)
        found += await models(
            conn,
            f"SELECT * FROM {S}.dca_payouts WHERE id IN {listed}",  # noqa: S608
            Payout,
            params,
        )
    return found


async def void_stale_autoforwards(before: datetime) -> int:
    """Void autoforward legs older than a day, and those whose LP turned it off."""
    async with transaction() as conn:
        return await run(
            conn,
            f"""
            UPDATE {S}.dca_payments SET status = 'voided', completed_at = :now,
                error_message = CASE WHEN created_at < :before
                THEN 'Not forwarded within a day; the sats stay in your wallet.'
                ELSE 'Forwarding was turned off; the sats stay in your wallet.' END
            WHERE leg_type = 'autoforward' AND status IN ('pending', 'failed')
              AND payout_id IS NULL
              AND (created_at < :before OR client_id IN (
                  SELECT c.id FROM {S}.dca_clients c
                  JOIN {S}.dca_lp l ON l.user_id = c.user_id
                  WHERE l.autoforward_enabled = :off))
            """,  # noqa: S608
            {"before": db_time(before), "now": db_time(utc_now()), "off": False},
        )


# ------------------------------------------------------------------ cursors, health


async def get_cursor(name: str) -> str | None:
    async with db.connect() as conn:
        row = await one(
            conn,
            f"SELECT value FROM {S}.dca_cursors WHERE id = :id",  # noqa: S608
            {"id": name},
        )
    return row["value"] if row else None


async def set_cursor(name: str, value: str) -> None:
    async with transaction() as conn:
        await run(
            conn,
            f"""
            INSERT INTO {S}.dca_cursors (id, value, updated_at)
            VALUES (:id, :value, :now) ON CONFLICT (id)
            DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at
            """,  # noqa: S608
            {"id": name, "value": value, "now": db_time(utc_now())},
        )


async def backlog() -> dict[str, Any]:
    """Counts of what waits, and the oldest unpaid leg, for `/health`."""
    async with db.connect() as conn:
        row = await one(
            conn,
            f"""
            SELECT
              (SELECT COUNT(*) FROM {S}.dca_settlements WHERE status = 'pending')
                AS pending_settlements,
              (SELECT COUNT(*) FROM {S}.dca_payments WHERE status = 'pending')
                AS unpaid_legs,
              (SELECT COUNT(*) FROM {S}.dca_payments WHERE status = 'failed')
                AS failed_legs,
              (SELECT COUNT(*) FROM {S}.dca_payouts WHERE status = 'invoiced')
                AS payouts_in_flight,
              (SELECT MIN(created_at) FROM {S}.dca_payments WHERE status = 'pending')
                AS oldest_unpaid_leg_at
            """,  # noqa: S608
        )
    found = dict(row or {})
    oldest = found.get("oldest_unpaid_leg_at")
    found["oldest_unpaid_leg_at"] = from_time(oldest) if oldest is not None else None
    return found
