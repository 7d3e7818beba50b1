"""SQL of the reconciliation: our rows of one machine, and LNbits' rows beside them.

Everything here only reads, but for the reports that are kept. Our database and
LNbits' are two: neither is held while the other is asked.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lnbits.db import Connection, dict_to_model
from lnbits.helpers import urlsafe_short_hash

from ..base.database import (
    cents_sql,
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_one,
    from_db_time,
    in_lists,
    transaction,
)
from ..crud import ARRIVED_SQL, RECEIVED_SQL, lock_ledger
from ..models import Settlement, utc_now

S = "satoshimachine"
# for what other modules read of several machines
ONE_MACHINE = "(SELECT :machine AS id)"
Row = Mapping[str, Any]
LEG_COLUMNS = (
    "id, payout_id, settlement_id, leg_type, leg_key, amount_sats, status, reference, "
    "external_payment_hash"
)
PAYOUT_COLUMNS = (
    "id, source_wallet_id, amount_sats, sent_sats, status, payment_hash, updated_at"
)
PAGE = 1000
# a leg that brought its LP something, through Lightning
LP_LEG = (
    f"p.leg_type IN ('dca', 'settlement') AND {RECEIVED_SQL} "
    "AND p.paid_outside = false"
)


@dataclass(frozen=True)
class Period:
    """From (included) to (excluded)."""

    since: datetime
    until: datetime

    @property
    def params(self) -> dict[str, Any]:
        return {"since": db_time(self.since), "until": db_time(self.until)}


# --------------------------------------------------------------------------- our rows


async def wallets_of_machine(conn: Connection, machine_id: str) -> list[str]:
    """Every wallet that is or was this machine's."""
    found = await fetch_all(
        conn,
        f"SELECT wallet_id FROM {S}.dca_machine_wallets "  # noqa: S608
        "WHERE machine_id = :machine "
        f"UNION SELECT wallet_id FROM {S}.dca_machines WHERE id = :machine",
        {"machine": machine_id},
    )
    return sorted(r["wallet_id"] for r in found)


async def settlement_ids(machine_id: str, period: Period) -> list[str]:
    """Settlements of a period: paid in it, planned in it, or with legs made or paid in
    it. What a dispense report changes late is looked at once more."""
    return await _ids(
        f"""
        SELECT id FROM {S}.dca_settlements WHERE machine_id = :machine
            AND (transaction_time >= :since AND transaction_time < :until
                OR planned_at >= :since AND planned_at < :until)
        UNION SELECT settlement_id FROM {S}.dca_payments
        WHERE machine_id = :machine AND settlement_id IS NOT NULL
            AND created_at >= :since AND created_at < :until
        UNION SELECT p.settlement_id FROM {S}.dca_payouts o
        JOIN {S}.dca_payments p ON p.payout_id = o.id
        WHERE o.paid_at >= :since AND o.paid_at < :until
            AND p.machine_id = :machine AND p.settlement_id IS NOT NULL
        """,  # noqa: S608
        {"machine": machine_id, **period.params},
    )


async def loose_leg_ids(machine_id: str, period: Period) -> list[str]:
    """Legs of a period that are of no settlement."""
    return await _ids(
        f"""
        SELECT id FROM {S}.dca_payments WHERE machine_id = :machine
            AND settlement_id IS NULL
            AND transaction_time >= :since AND transaction_time < :until
        """,  # noqa: S608
        {"machine": machine_id, **period.params},
    )


async def payout_ids(machine_id: str, period: Period) -> list[str]:
    """Payouts begun in a period that a leg of this machine is or was in."""
    return await _ids(
        f"""
        SELECT o.id FROM {S}.dca_payouts o
        WHERE o.created_at >= :since AND o.created_at < :until AND EXISTS (
            SELECT 1 FROM {S}.dca_payout_legs l
            JOIN {S}.dca_payments p ON p.id = l.leg_id
            WHERE l.payout_id = o.id AND p.machine_id = :machine)
        """,  # noqa: S608
        {"machine": machine_id, **period.params},
    )


async def _ids(sql: str, params: Mapping[str, Any]) -> list[str]:
    """Ids alone, of however many rows: the rows themselves are read page by page, and
    the connection, which the lease needs too, is given back in between."""
    async with db.connect() as conn:
        return sorted(
            next(iter(row.values())) for row in await fetch_all(conn, sql, params)
        )


async def settlements_and_legs(
    settlement_ids: Sequence[str],
) -> AsyncIterator[tuple[list[Row], list[Row]]]:
    """Page by page, each with all legs of its settlements as they are then."""
    for listed, params in in_lists(settlement_ids):
        async with db.connect() as conn:
            settlements = await fetch_all(
                conn,
                f"SELECT * FROM {S}.dca_settlements "  # noqa: S608
                f"WHERE id IN {listed} ORDER BY id",
                params,
            )
            legs = await fetch_all(
                conn,
                f"SELECT {LEG_COLUMNS} FROM {S}.dca_payments "  # noqa: S608
                f"WHERE settlement_id IN {listed} ORDER BY id",
                params,
            )
        yield settlements, legs


async def legs_by_id(leg_ids: Sequence[str]) -> list[Row]:
    return await _by_id("dca_payments", LEG_COLUMNS, leg_ids)


async def payouts_by_id(payout_ids: Iterable[str]) -> list[Row]:
    return await _by_id("dca_payouts", PAYOUT_COLUMNS, sorted(payout_ids))


async def _by_id(table: str, columns: str, ids: Sequence[str]) -> list[Row]:
    found: list[Row] = []
    for listed, params in in_lists(ids):
        async with db.connect() as conn:
            found += await fetch_all(
                conn,
                f"SELECT {columns} FROM {S}.{table} "  # noqa: S608
                f"WHERE id IN {listed} ORDER BY id",
                params,
            )
    return found


async def own_hashes(conn: Connection, hashes: Sequence[str]) -> set[str]:
    """Those of the hashes that are payouts of ours."""
    found: set[str] = set()
    for listed, params in in_lists(hashes):
        for row in await fetch_all(
            conn,
            f"SELECT payment_hash FROM {S}.dca_payouts "  # noqa: S608
            f"WHERE payment_hash IN {listed}",
            params,
        ):
            found.add(row["payment_hash"])
    return found


def settlement_of(row: Row) -> Settlement:
    return dict_to_model(dict(row), Settlement)


async def payout_legs(payout_ids: Sequence[str]) -> list[Row]:
    """Which legs payouts were for, and every other payout of those legs."""
    found: list[Row] = []
    for listed, params in in_lists(payout_ids):
        async with db.connect() as conn:
            found += await fetch_all(
                conn,
                f"""
                SELECT DISTINCT l.payout_id, l.leg_id, l.amount_sats, o.payment_hash,
                    o.source_wallet_id, o.status
                FROM {S}.dca_payout_legs asked
                JOIN {S}.dca_payout_legs l ON l.leg_id = asked.leg_id
                JOIN {S}.dca_payouts o ON o.id = l.payout_id
                WHERE asked.payout_id IN {listed}
                """,  # noqa: S608
                params,
            )
    return found


async def lp_balances(conn: Connection, machine_id: str) -> list[Row]:
    """Deposits, what legs took and brought, and the running totals, in minor units
    and sats."""
    return await fetch_all(
        conn,
        f"""
        SELECT c.id, c.username,
            COALESCE((SELECT SUM({cents_sql("d.amount")}) FROM {S}.dca_deposits d
                WHERE d.client_id = c.id AND d.status = 'confirmed'), 0) AS deposited,
            COALESCE((SELECT SUM({cents_sql("p.amount_fiat")})
                FROM {S}.dca_payments p
                WHERE p.client_id = c.id AND p.leg_type IN ('dca', 'settlement')
                AND p.status NOT IN ('voided', 'refunded')), 0) AS debited,
            COALESCE((SELECT SUM(t.debited_cents) FROM {S}.dca_client_totals t
                WHERE t.client_id = c.id), 0) AS total,
            COALESCE((SELECT SUM({ARRIVED_SQL}) FROM {S}.dca_payments p
                WHERE p.client_id = c.id AND {LP_LEG}), 0) AS received_sats,
            COALESCE((SELECT SUM(t.received_sats) FROM {S}.dca_client_totals t
                WHERE t.client_id = c.id), 0) AS total_received_sats
        FROM {S}.dca_clients c WHERE c.machine_id = :machine ORDER BY c.id
        """,  # noqa: S608
        {"machine": machine_id},
    )


async def recount_received(machine_id: str) -> None:
    """What the machine's LPs have received, counted anew from their legs.

    Under the lock that whoever finishes a leg holds, so that none is counted twice."""
    async with transaction() as conn:
        await lock_ledger(conn)
        await recount_received_in(conn, machine_id)


async def recount_received_in(conn: Connection, machine_id: str) -> None:
    """The same in a transaction that holds that lock."""
    legs = (
        f"FROM {S}.dca_payments p WHERE {LP_LEG} "
        "AND p.client_id = dca_client_totals.client_id"
    )
    cents = cents_sql("p.amount_fiat")
    await execute(
        conn,
        f"""
        UPDATE {S}.dca_client_totals SET
            received_sats = (SELECT COALESCE(SUM({ARRIVED_SQL}), 0) {legs}),
            received_cents = (SELECT COALESCE(SUM({cents}), 0) {legs})
        WHERE client_id IN (
            SELECT id FROM {S}.dca_clients WHERE machine_id = :machine)
        """,  # noqa: S608
        {"machine": machine_id},
    )


async def unpaid(conn: Connection, wallet_id: str) -> int:
    """What a wallet still owes: unpaid legs that no payment is under way for."""
    row = await fetch_one(
        conn,
        f"""
        SELECT SUM(p.amount_sats) AS sats FROM {S}.dca_payments p
        LEFT JOIN {S}.dca_payouts o ON o.id = p.payout_id
        WHERE p.source_wallet_id = :wallet AND p.status IN ('pending', 'failed')
          AND p.leg_type <> 'autoforward'
          AND (o.id IS NULL OR o.status <> 'invoiced')
        """,  # noqa: S608
        {"wallet": wallet_id},
    )
    return int(row["sats"] or 0) if row else 0


async def unplanned(conn: Connection, wallet_id: str) -> int:
    """Sats of cash-outs that nothing was planned for yet."""
    row = await fetch_one(
        conn,
        f"""
        SELECT SUM(wire_sats - network_fee_sats) AS sats FROM {S}.dca_settlements
        WHERE wallet_id = :wallet AND planned_at IS NULL AND tx_type <> 'cash_in'
          AND status <> 'voided'
        """,  # noqa: S608
        {"wallet": wallet_id},
    )
    return int(row["sats"] or 0) if row else 0


async def known_entries(wallet_id: str) -> AsyncIterator[list[tuple[str, int]]]:
    """Every payment of this wallet that is in our books, page by page: (hash, msat by
    our figures).

    Cash-outs in, cash-ins and payouts out, each with the fee that we noted. A payout
    whose outcome is open counts if LNbits has a row of it, so its figure is `UNKNOWN`
    and LNbits' own is taken.
    """
    settlements = f"""
        SELECT id, payment_hash AS hash, tx_type, wire_sats AS sats,
            network_fee_sats AS fee, 'settlement' AS what
        FROM {S}.dca_settlements WHERE wallet_id = :wallet
        """  # noqa: S608
    payouts = f"""
        SELECT id, payment_hash AS hash, status AS tx_type, sent_sats AS sats,
            network_fee_sats AS fee, 'payout' AS what
        FROM {S}.dca_payouts
        WHERE source_wallet_id = :wallet AND payment_hash IS NOT NULL
        """  # noqa: S608
    for sql in (settlements, payouts):
        last: str | None = ""
        while last is not None:
            async with db.connect() as conn:
                page = await fetch_all(
                    conn,
                    f"{sql} AND id > :last ORDER BY id LIMIT :limit",
                    {"wallet": wallet_id, "last": last, "limit": PAGE},
                )
            yield [(r["hash"].partition(":")[0], _msat(r)) for r in page]
            last = page[-1]["id"] if len(page) == PAGE else None


UNKNOWN = -(2**63)


def _msat(row: Row) -> int:
    """What a payment does to the wallet, by our figures; `UNKNOWN` takes LNbits'."""
    sats, fee = int(row["sats"] or 0), int(row["fee"] or 0)
    if row["what"] == "payout":
        return -(sats + fee) * 1000 if row["tx_type"] == "paid" else UNKNOWN
    if row["tx_type"] == "cash_out":
        return (sats - fee) * 1000
    if row["tx_type"] == "cash_in":
        return -(sats + fee) * 1000
    return UNKNOWN  # a quarantined row does not know its own direction


# ------------------------------------------------------------------------ what is kept


async def keep_report(
    machine_id: str, actor: str, period: Period, differences: int, report: Any
) -> str:
    report_id = urlsafe_short_hash()
    async with transaction() as conn:
        await execute(
            conn,
            f"""
            INSERT INTO {S}.dca_reconciliations (id, machine_id, created_at, actor,
                period_from, period_to, differences, report_json)
            VALUES (:id, :machine, :now, :actor, :since, :until, :n, :report)
            """,  # noqa: S608
            {
                "id": report_id,
                "machine": machine_id,
                "now": db_time(utc_now()),
                "actor": actor,
                **period.params,
                "n": differences,
                "report": json.dumps(report, ensure_ascii=False),
            },
        )
    return report_id


async def newest_report(machine_id: str, operator_user_id: str) -> Row | None:
    """The machine's last report, if the machine is this operator's."""
    async with db.connect() as conn:
        return await fetch_one(
            conn,
            f"""
            SELECT r.* FROM {S}.dca_reconciliations r
            JOIN {S}.dca_machines m ON m.id = r.machine_id
            WHERE r.machine_id = :machine AND m.operator_user_id = :user
            ORDER BY r.created_at DESC, r.id DESC LIMIT 1
            """,  # noqa: S608
            {"machine": machine_id, "user": operator_user_id},
        )


async def own_report(report_id: str, operator_user_id: str) -> Row | None:
    """The report, if its machine is this operator's."""
    async with db.connect() as conn:
        return await fetch_one(
            conn,
            f"""
            SELECT r.* FROM {S}.dca_reconciliations r
            JOIN {S}.dca_machines m ON m.id = r.machine_id
            WHERE r.id = :id AND m.operator_user_id = :user
            """,  # noqa: S608
            {"id": report_id, "user": operator_user_id},
        )


# By kind: where the id stands, and what else is told. A payout is of a wallet, and so
# names no machine.
_NAMED = {
    "settlement": ("dca_settlements", "id", "id", "payment_hash"),
    "lnbits_payment": ("dca_settlements", "payment_hash", "id", "payment_hash"),
    "payment": ("dca_payments", "id", "settlement_id", "external_payment_hash"),
    "payout": ("dca_payouts", "id", "NULL", "payment_hash"),
}


async def what_they_are(machine_id: str, ids: Iterable[str]) -> dict[str, Row]:
    """For those of a report's ids that are rows of ours: their `type`, and the
    `settlement_id` and `payment_hash` by which they are found."""
    wanted = sorted(set(ids))
    known: dict[str, Row] = {}
    async with db.connect() as conn:
        for kind, (table, key, settlement, payment_hash) in _NAMED.items():
            own = "" if table == "dca_payouts" else " AND machine_id = :machine"
            named = {"machine": machine_id} if own else {}
            for listed, params in in_lists(wanted, named):
                found = await fetch_all(
                    conn,
                    f"SELECT {key} AS id, {settlement} AS settlement_id, "  # noqa: S608
                    f"{payment_hash} AS payment_hash FROM {S}.{table} "
                    f"WHERE {key} IN {listed}{own}",
                    params,
                )
                known.update({row["id"]: {**row, "type": kind} for row in found})
    return known


async def accepted(conn: Connection, machine_id: str) -> set[str]:
    """Keys of differences that the operator has looked at."""
    found = await fetch_all(
        conn,
        f"SELECT difference FROM {S}.dca_accepted_differences "  # noqa: S608
        "WHERE machine_id = :machine",
        {"machine": machine_id},
    )
    return {r["difference"] for r in found}


async def accept(conn: Connection, machine_id: str, keys: Iterable[str]) -> None:
    await execute_many(
        conn,
        f"INSERT INTO {S}.dca_accepted_differences "  # noqa: S608
        "(machine_id, difference, accepted_at) VALUES (:machine, :key, :now) "
        "ON CONFLICT DO NOTHING",
        [
            {"machine": machine_id, "key": key, "now": db_time(utc_now())}
            for key in sorted(set(keys))
        ],
    )


async def accept_newest(conn: Connection, machine_id: str) -> None:
    """Take what the last report found grave as looked at."""
    row = await fetch_one(
        conn,
        f"SELECT report_json FROM {S}.dca_reconciliations "  # noqa: S608
        "WHERE machine_id = :machine ORDER BY created_at DESC, id DESC LIMIT 1",
        {"machine": machine_id},
    )
    found = json.loads(row["report_json"])["differences"] if row else []
    await accept(conn, machine_id, [d["key"] for d in found if d["stops"]])


async def stop_payouts(conn: Connection, machine_id: str, reason: str) -> int:
    """Stop a machine's payouts, unless they are stopped."""
    return await execute(
        conn,
        f"UPDATE {S}.dca_machines SET payouts_stopped_reason = :reason "  # noqa: S608
        "WHERE id = :id AND payouts_stopped_reason IS NULL",
        {"id": machine_id, "reason": reason},
    )


async def all_machine_ids() -> list[str]:
    async with db.connect() as conn:
        found = await fetch_all(
            conn, f"SELECT id FROM {S}.dca_machines ORDER BY id"  # noqa: S608
        )
    return [r["id"] for r in found]


def time_of(value: Any) -> datetime | None:
    return from_db_time(value)
