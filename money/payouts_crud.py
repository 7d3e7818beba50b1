"""SQL of paying: which legs are due, payouts and their outcomes.

Guaranteed: a leg is in at most one payout, and leaves it only when that payout ended;
an invoice is kept before it may be paid, by compare-and-set on status, hash and lease;
a final status never changes.
Not guaranteed here: that a payment happened. `payouts.py` reads that from LNbits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lnbits.db import Connection

from ..base.database import (
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_models,
    fetch_one,
    in_lists,
    insert_sql,
    reuse,
    row_params,
    snapshot_sql,
    transaction,
)
from ..base.lease import lease_held_sql
from ..calculations import largest_remainder
from ..crud import (
    USED,
    add_received,
    insert_legs,
    lock_ledger,
    recorded_hashes,
    refresh_settlements,
)
from ..host import written
from ..ledger.postings import post_legs
from ..models import Leg, Payout, utc_now
from .forwards import autoforward_legs
from .owed_crud import MAY_BE_PAID, OWED

__all__ = ["db"]

# of a leg: its id, its sats, its target
LegFacts = tuple[str, int, str | None]
MAX_ATTEMPTS = 10


class Wait(NamedTuple):
    """Why a leg is not paid now: a `WaitCode`, and the sentence for people."""

    code: str
    reason: str


# leg id -> why it waits
Deferred = dict[str, Wait]
DUE = f"{MAY_BE_PAID} AND (next_try_at IS NULL OR next_try_at <= :now)"


def backoff_seconds(attempts: int) -> int:
    """1 min after the first failed attempt, doubling, at most 1 h."""
    return min(60 * 2 ** max(0, attempts - 1), 3600)


async def waiting_wallets() -> list[str]:
    """Paying wallets with legs that are due and in no payout yet."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT DISTINCT source_wallet_id FROM satoshimachine.dca_payments "  # noqa: S608
            f"WHERE source_wallet_id IS NOT NULL AND {DUE}",
            {"now": db_time(utc_now())},
        )
    return [r["source_wallet_id"] for r in found]


async def look_for_work() -> tuple[bool, bool]:
    """Whether there is something to plan, open or advance now, and whether there will
    be: one statement, in place of all that a pass asks."""
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            f"""
            SELECT
                EXISTS (SELECT 1 FROM satoshimachine.dca_settlements
                    WHERE status = 'pending')
                OR EXISTS (SELECT 1 FROM satoshimachine.dca_payments
                    WHERE source_wallet_id IS NOT NULL AND {DUE})
                OR EXISTS (SELECT 1 FROM satoshimachine.dca_payouts
                    WHERE status IN ('new', 'invoiced')
                    AND (next_try_at IS NULL OR next_try_at <= :now)) AS is_due,
                {OWED} AS is_later,
                {snapshot_sql()} AS snapshot,
                (SELECT expires_epoch FROM satoshimachine.dca_lease
                    WHERE id = 'engine') AS expires
            """,  # noqa: S608
            {"now": db_time(utc_now())},
        )
        if row:  # before another statement of ours is committed
            written.polled(row["snapshot"], row["expires"] or 0, is_engine=True)
    return (bool(row["is_due"]), bool(row["is_later"])) if row else (False, False)


async def due_legs(
    conn: Connection, wallet_id: str, now: datetime, limit: int = 5000
) -> list[Leg]:
    """Due legs of a paying wallet that are in no payout, oldest first."""
    return await fetch_models(
        conn,
        f"""
        SELECT * FROM satoshimachine.dca_payments
        WHERE source_wallet_id = :wallet AND {DUE}
        ORDER BY transaction_time, created_at, id LIMIT :limit
        """,  # noqa: S608
        Leg,
        {"wallet": wallet_id, "now": db_time(now), "limit": limit},
    )


async def backing_off(
    conn: Connection, wallet_id: str, now: datetime
) -> set[tuple[str, str | None, str | None]]:
    """(leg type, LP's client row, target) whose last attempt from this wallet failed
    and whose next one is not due."""
    found = await fetch_all(
        conn,
        """
        SELECT DISTINCT leg_type, client_id, target FROM satoshimachine.dca_payments
        WHERE status = 'pending' AND payout_id IS NULL AND attempts > 0
          AND next_try_at > :now AND source_wallet_id = :wallet
        """,
        {"wallet": wallet_id, "now": db_time(now)},
    )
    return {(r["leg_type"], r["client_id"], r["target"]) for r in found}


async def set_leg_waits(deferred: Deferred, next_try_at: datetime) -> None:
    """Say on waiting legs why they wait. No attempt is counted; no status changes."""
    if not deferred:
        return
    async with transaction() as conn:
        await execute_many(
            conn,
            "UPDATE satoshimachine.dca_payments SET error_message = :reason, "
            "wait_code = :code, next_try_at = :next, "
            "waits_since = COALESCE(waits_since, :now) WHERE id = :id "
            "AND status = 'pending' AND payout_id IS NULL",
            [
                {
                    "now": db_time(utc_now()),
                    "id": leg_id,
                    "reason": wait.reason,
                    "code": wait.code,
                    "next": db_time(next_try_at),
                }
                for leg_id, wait in sorted(deferred.items())
            ],
        )


async def still_waiting(conn: Connection, legs: Iterable[Leg]) -> dict[str, Leg]:
    """Those of the legs that are pending and in no payout, as they are now, by id."""
    ids = sorted({leg.id for leg in legs})
    found: dict[str, Leg] = {}
    for listed, params in in_lists(ids):
        for leg in await fetch_models(
            conn,
            f"SELECT * FROM satoshimachine.dca_payments WHERE id IN {listed} "  # noqa: S608
            "AND status = 'pending' AND payout_id IS NULL",
            Leg,
            params,
        ):
            found[leg.id] = leg
    return found


async def count_failed_attempt(
    conn: Connection, legs: Sequence[Leg], reason: str
) -> None:
    """One more failed attempt of legs: back off, or `failed` after the tenth.

    Only of those that are where they were read, in their payout or in none: whoever
    froze in between must not free a leg that another engine is paying. A bolt11 refund
    loses its destination: that invoice is dead, another must be given.
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
                "payout": leg.payout_id or "",
            }
        )
    await execute_many(
        conn,
        """
        UPDATE satoshimachine.dca_payments SET attempts = :attempts, status = :status,
            next_try_at = :next, error_message = :reason, wait_code = NULL,
            payout_id = NULL, external_payment_hash = NULL, sent_sats = NULL,
            target = :target
        WHERE id = :id AND status = 'pending' AND COALESCE(payout_id, '') = :payout
        """,
        params,
    )
    await refresh_settlements(conn, [x.settlement_id for x in legs if x.settlement_id])


async def open_payouts(
    conn: Connection,
    payouts_and_legs: Sequence[tuple[Payout, Sequence[Leg]]],
    holder: str,
) -> list[Payout]:
    """Write payouts and let their legs join, by compare-and-set, in one transaction.

    Returns the payouts that were opened; one of whose legs was voided, paid, taken or
    changed since it was read is left out whole.
    """
    if (
        await fetch_one(
            conn, f"SELECT 1 AS yes WHERE {lease_held_sql()}", {"holder": holder}
        )
        is None
    ):
        return []
    await _join(conn, payouts_and_legs)
    joined = await _joined(conn, [p.id for p, _ in payouts_and_legs])
    opened = []
    for payout, legs in payouts_and_legs:
        if _as_decided(joined[payout.id], legs):
            opened.append((payout, legs))
            continue
        await execute(
            conn,
            "UPDATE satoshimachine.dca_payments SET payout_id = NULL "
            "WHERE payout_id = :payout",
            {"payout": payout.id},
        )
    if opened:
        payout_rows = [row_params(payout) for payout, _ in opened]
        await execute_many(conn, insert_sql("dca_payouts", payout_rows[0]), payout_rows)
        for listed, params in in_lists([payout.id for payout, _ in opened]):
            await execute(
                conn,
                "INSERT INTO satoshimachine.dca_payout_legs "  # noqa: S608
                "(payout_id, leg_id, amount_sats) "
                "SELECT payout_id, id, amount_sats FROM satoshimachine.dca_payments "
                f"WHERE payout_id IN {listed}",
                params,
            )
    return [payout for payout, _ in opened]


def _as_decided(
    joined: set[tuple[str, int, str | None]], decided: Sequence[Leg]
) -> bool:
    """Whether the legs that joined are all those of the round, as it read them: a
    dispense report may have made one smaller, a refund may go elsewhere by now."""
    return joined == {(x.id, x.amount_sats, x.target) for x in decided}


async def _join(
    conn: Connection, payouts_and_legs: Sequence[tuple[Payout, Sequence[Leg]]]
) -> None:
    """Those of the legs that are still free: payouts of one leg all in one call, and
    one statement for each that merges many."""
    free = "status = 'pending' AND payout_id IS NULL"
    # why they waited until now is over; the payout says what happens from here on
    join = (
        "UPDATE satoshimachine.dca_payments SET payout_id = :payout, "
        "error_message = NULL, wait_code = NULL, waits_since = NULL WHERE"
    )
    alone = [(p, legs[0]) for p, legs in payouts_and_legs if len(legs) == 1]
    await execute_many(
        conn,
        f"{join} id = :id AND {free}",
        [{"payout": payout.id, "id": leg.id} for payout, leg in alone],
    )
    for payout, legs in payouts_and_legs:
        if len(legs) == 1:
            continue
        for listed, params in in_lists([x.id for x in legs]):
            params["payout"] = payout.id
            await execute(conn, f"{join} id IN {listed} AND {free}", params)


async def _joined(
    conn: Connection, payout_ids: Sequence[str]
) -> dict[str, set[LegFacts]]:
    """payout id -> what is known of the legs that are in it now."""
    found: dict[str, set[LegFacts]] = {i: set() for i in payout_ids}
    for listed, params in in_lists(payout_ids):
        for row in await fetch_all(
            conn,
            "SELECT id, payout_id, amount_sats, target "  # noqa: S608
            f"FROM satoshimachine.dca_payments WHERE payout_id IN {listed}",
            params,
        ):
            leg = (row["id"], int(row["amount_sats"]), row["target"])
            found[row["payout_id"]].add(leg)
    return found


async def unfinished_payouts(limit: int = 500) -> list[Payout]:
    """Payouts whose outcome is not final and that are due for a look: so many within
    the instance, and so many outside, which wait long for their turn. Each paying
    wallet's oldest first, then each one's second: nobody's many hide another's one."""
    found: list[Payout] = []
    async with db.connect() as conn:
        for is_internal in (True, False):
            found += await fetch_models(
                conn,
                """
                SELECT * FROM (
                    SELECT o.*, ROW_NUMBER() OVER (
                        PARTITION BY source_wallet_id ORDER BY created_at, id) AS turn
                    FROM satoshimachine.dca_payouts o
                    WHERE status IN ('new', 'invoiced') AND is_internal = :internal
                      AND (next_try_at IS NULL OR next_try_at <= :now)
                ) due ORDER BY turn, created_at, id LIMIT :limit
                """,
                Payout,
                {
                    "internal": is_internal,
                    "now": db_time(utc_now()),
                    "limit": limit,
                },
            )
    return found


async def paid_payouts_since(since: datetime) -> list[Payout]:
    """Payouts completed since then: looked at once more by the sweep."""
    async with db.connect() as conn:
        return await fetch_models(
            conn,
            "SELECT * FROM satoshimachine.dca_payouts WHERE paid_at >= :since "
            "AND status = 'paid' ORDER BY paid_at",
            Payout,
            {"since": db_time(since)},
        )


async def get_payout(payout_id: str, conn: Connection | None = None) -> Payout | None:
    async with reuse(conn) as c:
        found = await fetch_models(
            c,
            "SELECT * FROM satoshimachine.dca_payouts WHERE id = :id",
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
    for listed, params in in_lists(ids):
        for leg in await fetch_models(
            conn,
            f"SELECT * FROM satoshimachine.dca_payments WHERE payout_id IN {listed} "  # noqa: S608
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
    count for two debts. The same few statements for one payout or for many.
    """
    if not payouts:
        return []
    async with transaction() as conn:
        hashes = [str(p.payment_hash) for p in payouts]
        taken = await recorded_hashes(conn, hashes, USED)
        fresh = [p for p in payouts if p.payment_hash not in taken]
        now = db_time(utc_now())
        await execute_many(
            conn,
            f"""
            UPDATE satoshimachine.dca_payouts
            SET status = 'invoiced', payment_hash = :hash,
                bolt11 = :bolt11, sent_sats = :sent, lease_token = :holder,
                updated_at = :now
            WHERE id = :id AND status = 'new' AND payment_hash IS NULL
              AND {lease_held_sql()}
            """,  # noqa: S608
            [
                {
                    "id": payout.id,
                    "hash": payout.payment_hash,
                    "bolt11": payout.bolt11,
                    "sent": payout.sent_sats,
                    "holder": holder,
                    "now": now,
                }
                for payout in fresh
            ],
        )
        # whose update found its row: that one carries this invoice's hash now
        stored = {
            p.id: p.payment_hash
            for p in await _payouts_by_id(conn, [p.id for p in fresh])
            if p.status == "invoiced"
        }
        kept = [p for p in fresh if stored.get(p.id) == p.payment_hash]
        await execute_many(
            conn,
            "UPDATE satoshimachine.dca_payments SET external_payment_hash = :hash "
            "WHERE payout_id = :id AND status = 'pending'",
            [{"id": p.id, "hash": p.payment_hash} for p in kept],
        )
    return kept


async def note_payout(
    payout: Payout, *, reason: str | None, next_try_at: datetime
) -> None:
    """Remember why a payout waits and when to look next; its legs say it too."""
    async with transaction() as conn:
        await execute(
            conn,
            """
            UPDATE satoshimachine.dca_payouts SET reason = :reason, next_try_at = :next,
                checks = checks + 1, updated_at = :now
            WHERE id = :id AND status IN ('new', 'invoiced')
            """,
            {
                "id": payout.id,
                "reason": reason,
                "next": db_time(next_try_at),
                "now": db_time(utc_now()),
            },
        )
        await execute(
            conn,
            "UPDATE satoshimachine.dca_payments SET error_message = :reason, "
            "next_try_at = :next WHERE payout_id = :id AND status = 'pending'",
            {"id": payout.id, "reason": reason, "next": db_time(next_try_at)},
        )


async def end_payout(
    conn: Connection, payout: Payout, reason: str, *, holder: str | None = None
) -> list[Leg] | None:
    """The payout is over, unpaid: the legs that were waiting in it, which the caller
    frees; None if it is over already, or has another invoice by now.

    With a `holder`, only while that process is the engine.
    """
    params: dict[str, Any] = {
        "id": payout.id,
        "reason": reason,
        "now": db_time(utc_now()),
        "hash": payout.payment_hash or "",
    }
    as_engine = ""
    if holder:
        params["holder"] = holder
        as_engine = f"AND {lease_held_sql()}"
    ended = await execute(
        conn,
        f"""
        UPDATE satoshimachine.dca_payouts SET status = 'failed', reason = :reason,
            updated_at = :now
        WHERE id = :id AND status IN ('new', 'invoiced')
          AND COALESCE(payment_hash, '') = :hash {as_engine}
        """,  # noqa: S608
        params,
    )
    if not ended:
        return None
    legs = (await legs_of_payouts(conn, [payout.id]))[payout.id]
    return [leg for leg in legs if leg.status == "pending"]


async def free_legs(conn: Connection, payout_id: str) -> None:
    """The legs of an ended payout wait again, and no attempt is counted."""
    await execute(
        conn,
        "UPDATE satoshimachine.dca_payments SET payout_id = NULL, "
        "external_payment_hash = NULL, sent_sats = NULL, error_message = NULL, "
        "wait_code = NULL, next_try_at = NULL "
        "WHERE payout_id = :id AND status = 'pending'",
        {"id": payout_id},
    )


async def mark_withdrawn(payout: Payout, reason: str, holder: str) -> bool:
    """Never pay this invoice any more, said before LNbits is told: it has not tried it
    yet. By compare-and-set on the hash and the lease."""
    now = db_time(utc_now())
    async with transaction() as conn:
        marked = await execute(
            conn,
            f"""
            UPDATE satoshimachine.dca_payouts SET reason = :reason, updated_at = :now,
                withdrawn_at = COALESCE(withdrawn_at, :now)
            WHERE id = :id AND status = 'invoiced' AND payment_hash = :hash
              AND {lease_held_sql()}
            """,  # noqa: S608
            {
                "id": payout.id,
                "hash": payout.payment_hash,
                "reason": reason,
                "now": now,
                "holder": holder,
            },
        )
    return marked == 1


class Booked(NamedTuple):
    """A payout that LNbits booked as paid: what the network took of it, and when."""

    payout: Payout
    network_fee_sats: int
    at: datetime


async def complete_payouts(
    results: Sequence[Booked],
) -> list[Leg]:
    """Proven success of payouts: legs `completed`, and an entry each in the journal.

    Autoforward legs of LPs who asked for it are born in the same transaction. Returns
    the legs that were completed by this call.
    """
    if not results:
        return []
    booked = {x.payout.id: x for x in results}
    now = utc_now()
    async with transaction() as conn:
        await lock_ledger(conn)
        current = await _payouts_by_id(conn, list(booked))
        paid = [p for p in current if p.status == "invoiced"]
        legs_by_payout = await legs_of_payouts(conn, [p.id for p in paid])
        await execute_many(
            conn,
            """
            UPDATE satoshimachine.dca_payouts
            SET status = 'paid', reason = NULL, paid_at = :now,
                updated_at = :now, network_fee_sats = :fee
            WHERE id = :id AND status = 'invoiced'
            """,
            [
                {
                    "id": p.id,
                    "fee": booked[p.id].network_fee_sats,
                    "now": db_time(now),
                }
                for p in paid
            ],
        )
        done = []
        for payout in paid:
            legs = [x for x in legs_by_payout[payout.id] if x.status == "pending"]
            sizes = [leg.amount_sats for leg in legs]
            sent_parts = largest_remainder(payout.sent_sats or 0, sizes)
            fees = largest_remainder(booked[payout.id].network_fee_sats, sizes)
            for leg, sent, fee in zip(legs, sent_parts, fees, strict=True):
                leg.sent_sats, leg.routing_sats = sent, fee
                leg.completed_at = booked[payout.id].at
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
    """`completed` or `skipped`, and what follows, in the caller's transaction."""
    for leg in legs:
        leg.completed_at = leg.completed_at or now
    await _finish(conn, legs, {"status": status, "reason": reason})
    finished = await _ids_with_status(conn, [x.id for x in legs], status)
    received = [x for x in legs if x.id in finished]
    await add_received(conn, received)
    await post_legs(conn, received, status)
    await insert_legs(conn, await autoforward_legs(conn, received, now))
    await refresh_settlements(conn, [x.settlement_id for x in legs if x.settlement_id])


async def _finish(
    conn: Connection, legs: Sequence[Leg], common: Mapping[str, Any]
) -> None:
    """By compare-and-set; one statement for all legs of a payout that sent them whole,
    and one call for all the others."""
    finish = """
        UPDATE satoshimachine.dca_payments SET
            status = :status, error_message = :reason, wait_code = NULL,
            destination_wallet_id = :wallet, completed_at = :at, next_try_at = NULL,
            external_payment_hash = :hash, sent_sats = {sent}, routing_sats = {fee}
        WHERE id {which} AND status = 'pending' AND COALESCE(payout_id, '') = :payout
    """
    groups: dict[tuple[Any, ...], list[Leg]] = {}
    for leg in legs:
        ends = (leg.payout_id, leg.destination_wallet_id, leg.external_payment_hash)
        is_free = not leg.routing_sats
        is_whole = leg.payout_id and is_free and leg.sent_sats == leg.amount_sats
        groups.setdefault((*ends, None if is_whole else leg.id), []).append(leg)
    alone = [group[0] for group in groups.values() if len(group) == 1]
    await execute_many(
        conn,
        finish.format(which="= :id", sent=":sent", fee=":fee"),
        [
            {
                **common,
                **_ends(x),
                "id": x.id,
                "sent": x.sent_sats,
                "fee": x.routing_sats,
            }
            for x in alone
        ],
    )
    for group in groups.values():
        if len(group) == 1:
            continue
        for listed, params in in_lists([x.id for x in group]):
            sql = finish.format(which=f"IN {listed}", sent="amount_sats", fee="0")
            await execute(conn, sql, {**params, **common, **_ends(group[0])})


def _ends(leg: Leg) -> dict[str, Any]:
    return {
        "at": db_time(leg.completed_at or utc_now()),
        "payout": leg.payout_id or "",
        "wallet": leg.destination_wallet_id,
        "hash": leg.external_payment_hash,
    }


async def _ids_with_status(
    conn: Connection, leg_ids: Sequence[str], status: str
) -> set[str]:
    found: set[str] = set()
    for listed, params in in_lists(leg_ids, {"status": status}):
        found.update(
            row["id"]
            for row in await fetch_all(
                conn,
                "SELECT id FROM satoshimachine.dca_payments "  # noqa: S608
                f"WHERE id IN {listed} AND status = :status",
                params,
            )
        )
    return found


async def _payouts_by_id(conn: Connection, payout_ids: Sequence[str]) -> list[Payout]:
    found: list[Payout] = []
    for listed, params in in_lists(payout_ids):
        found += await fetch_models(
            conn,
            f"SELECT * FROM satoshimachine.dca_payouts WHERE id IN {listed}",  # noqa: S608
            Payout,
            params,
        )
    return found
