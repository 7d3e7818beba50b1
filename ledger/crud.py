"""SQL of the journal: entries are written, read and added up; never changed.

Guaranteed: the number of statements of a call does not depend on how many entries
there are already. An entry and its lines are written in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import (
    db_time,
    execute_many,
    fetch_all,
    fetch_models,
    from_db_time,
    in_lists,
    insert_sql,
)
from ..models import Leg, Settlement
from .entries import Amount, Key, Line

S = "satoshimachine"


@dataclass(frozen=True)
class Entry:
    """One balanced entry. `at` is when it happened, `recorded_at` when it was written;
    `payment_id` is a leg's id, or the hash of a payment that is nobody's sale."""

    id: str
    at: datetime
    recorded_at: datetime
    operator_user_id: str
    machine_id: str
    kind: str
    lines: Sequence[Line]
    currency: str
    settlement_id: str | None = None
    payment_id: str | None = None
    deposit_id: str | None = None
    is_test: bool = False


@dataclass(frozen=True)
class Place:
    """Whose machine it is, its currency, and all wallets that are or were its."""

    machine_id: str
    operator_user_id: str
    currency: str
    wallets: frozenset[str]


async def write_entries(conn: Connection, entries: Sequence[Entry]) -> None:
    """Two statements, however many entries."""
    entries = [e for e in entries if e.lines]
    if not entries:
        return
    rows = [
        {
            "id": e.id,
            "at": db_time(e.at),
            "recorded_at": db_time(e.recorded_at),
            "operator_user_id": e.operator_user_id,
            "machine_id": e.machine_id,
            "settlement_id": e.settlement_id,
            "payment_id": e.payment_id,
            "deposit_id": e.deposit_id,
            "kind": e.kind,
            "is_test": e.is_test,
            "currency": e.currency,
        }
        for e in entries
    ]
    await execute_many(conn, insert_sql("journal", rows[0]), rows)
    lines = [
        {
            "journal_id": e.id,
            "account": line.account,
            "client_id": line.client_id,
            "sats": line.sats,
            "fiat_cents": line.fiat_cents,
            "counter_cents": line.counter_cents,
        }
        for e in entries
        for line in e.lines
    ]
    await execute_many(conn, insert_sql("journal_lines", lines[0]), lines)


@dataclass(frozen=True)
class Posted:
    """What stands in the journal of one settlement or leg, and since when."""

    rows: Sequence[tuple[bool, Key, Amount]]
    last_at: datetime | None


async def posted(
    conn: Connection, column: str, ids: Iterable[str]
) -> dict[str, Posted]:
    """Sums of the journal by `column` (`settlement_id`, or `payment_id` of what has no
    settlement), account, LP and test mark."""
    rows: dict[str, list[tuple[bool, Key, Amount]]] = {}
    last: dict[str, datetime | None] = {}
    alone = "" if column == "settlement_id" else "AND j.settlement_id IS NULL"
    for listed, params in in_lists(sorted(set(ids))):
        for row in await fetch_all(
            conn,
            f"""
            SELECT j.{column} AS id, j.machine_id, j.is_test, l.account, l.client_id,
                CAST(SUM(l.sats) AS BIGINT) AS sats,
                CAST(SUM(l.fiat_cents) AS BIGINT) AS cents, MAX(j.at) AS last_at
            FROM {S}.journal j JOIN {S}.journal_lines l ON l.journal_id = j.id
            WHERE j.{column} IN {listed} {alone}
            GROUP BY j.{column}, j.machine_id, j.is_test, l.account, l.client_id
            """,  # noqa: S608
            params,
        ):
            # what a leg did at another machine than its LP's is told apart by that
            id_ = row["id"] if alone == "" else f"{row['id']}@{row['machine_id']}"
            amount = Amount(int(row["sats"]), int(row["cents"]))
            key = (row["account"], row["client_id"])
            rows.setdefault(id_, []).append((bool(row["is_test"]), key, amount))
            at = from_db_time(row["last_at"])
            if at and (last.get(id_) is None or at > (last[id_] or at)):
                last[id_] = at
    return {id_: Posted(found, last.get(id_)) for id_, found in rows.items()}


async def settlements(conn: Connection, ids: Iterable[str]) -> list[Settlement]:
    found: list[Settlement] = []
    for listed, params in in_lists(sorted(set(ids))):
        found += await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_settlements WHERE id IN {listed}",  # noqa: S608
            Settlement,
            params,
        )
    return found


async def legs_of_settlements(
    conn: Connection, ids: Iterable[str]
) -> dict[str, list[Leg]]:
    found: dict[str, list[Leg]] = {}
    for listed, params in in_lists(sorted(set(ids))):
        for leg in await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_payments WHERE settlement_id IN {listed} "  # noqa: S608
            "AND leg_type <> 'autoforward' ORDER BY created_at, id",
            Leg,
            params,
        ):
            found.setdefault(str(leg.settlement_id), []).append(leg)
    return found


async def legs(conn: Connection, ids: Iterable[str]) -> list[Leg]:
    found: list[Leg] = []
    for listed, params in in_lists(sorted(set(ids))):
        found += await fetch_models(
            conn,
            f"SELECT * FROM {S}.dca_payments WHERE id IN {listed}",  # noqa: S608
            Leg,
            params,
        )
    return found


async def places(
    conn: Connection, machine_ids: Iterable[str], wallet_ids: Iterable[str] = ()
) -> dict[str, Place]:
    """Machines by id, those with these wallets too; one statement."""
    wallets: dict[str, set[str]] = {}
    of: dict[str, Mapping[str, Any]] = {}
    ids = sorted({*machine_ids, *(f"wallet:{w}" for w in wallet_ids)})
    for listed, params in in_lists(ids):
        for row in await fetch_all(
            conn,
            f"""
            SELECT m.id, m.operator_user_id, m.fiat_code, m.wallet_id AS now_wallet,
                w.wallet_id
            FROM {S}.dca_machines m
            LEFT JOIN {S}.dca_machine_wallets w ON w.machine_id = m.id
            WHERE m.id IN {listed} OR m.id IN (
                SELECT machine_id FROM {S}.dca_machine_wallets
                WHERE 'wallet:' || wallet_id IN {listed})
            """,  # noqa: S608
            params,
        ):
            of[row["id"]] = row
            mine = wallets.setdefault(row["id"], {row["now_wallet"]})
            if row["wallet_id"]:
                mine.add(row["wallet_id"])
    return {
        id_: Place(
            id_, row["operator_user_id"], row["fiat_code"], frozenset(wallets[id_])
        )
        for id_, row in of.items()
    }


def lenders_of(leg: Leg, places: Mapping[str, Place]) -> list[Place]:
    """Machines whose wallet pays out a balance at another machine."""
    own = places.get(leg.machine_id)
    if own and leg.source_wallet_id in own.wallets:
        return []
    return [
        place
        for id_, place in sorted(places.items())
        if id_ != leg.machine_id and leg.source_wallet_id in place.wallets
    ]


async def has_entries(conn: Connection, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are entries of the journal already."""
    found: set[str] = set()
    for listed, params in in_lists(sorted(set(ids))):
        sql = f"SELECT id FROM {S}.journal WHERE id IN {listed}"  # noqa: S608
        found.update(row["id"] for row in await fetch_all(conn, sql, params))
    return found


async def forwarded(conn: Connection, hashes: Iterable[str]) -> dict[str, int]:
    """What payments took on behalf of LPs who forward what they get, routing included:
    out of a machine's wallet that is nobody's sale. Payment hash -> sats."""
    found: dict[str, int] = {}
    for listed, params in in_lists(sorted(set(hashes))):
        for row in await fetch_all(
            conn,
            f"""
            SELECT external_payment_hash AS hash,
                CAST(SUM(COALESCE(sent_sats, amount_sats) + COALESCE(routing_sats, 0))
                    AS BIGINT) AS sats
            FROM {S}.dca_payments
            WHERE external_payment_hash IN {listed} AND leg_type = 'autoforward'
              AND status = 'completed' AND paid_outside = false
            GROUP BY external_payment_hash
            """,  # noqa: S608
            params,
        ):
            found[row["hash"]] = int(row["sats"])
    return found
