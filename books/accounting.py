"""What the books of a period say, line by line: every line is a sum over entries.

By settlement (the usual form): what the entries of the period made of each trade, its
fees, its legs and what else moved in the machines' wallets; see `trade_lines.py`. By
entry: every line of every entry. Both are dated by the entries: what happens later to a
trade stands in the period in which it happens, and a period that is over stays as it
is, to the byte. Tests are lines like others, with their mark.

Names of machines and LPs are those of now.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from lnbits.db import Connection

from ..base.database import cents_sql, db, db_time, fetch_all, from_db_time, in_lists
from ..calculations import cents_text
from ..ledger.entries import HELD_BACK, MACHINE_WALLET, Standing
from .journal import lines_of_entries
from .reports import own_machines_sql, whose
from .trade_lines import (
    COMPLETED,
    QUARANTINED,
    Figure,
    Key,
    Trade,
    lines_between,
    status_of,
)

S = "satoshimachine"
PAGE = 500
ENTRIES = 2_000
NEVER = datetime.max.replace(tzinfo=timezone.utc)
DISCOUNTS = ("discount_code", "operator_discount_sats", "platform_discount_sats")
# what came later stands last
ADDED = ("fiat", "wallet_sats", "is_test", "recorded_at")
COLUMNS = (
    "time",
    "machine",
    "tx_type",
    "record",
    "party",
    "status",
    "sats",
    "counter_value",
    "currency",
    "exchange_rate",
    "settlement_id",
    "id",
    "payment_hash",
    "reference",
    # of a settlement, on its first line
    *DISCOUNTS,
    *ADDED,
)
Row = Mapping[str, Any]
_MACHINE = "COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine"


@dataclass(frozen=True)
class Asked:
    """Whose books, of which machine and period; tests alone, without them, or both."""

    user_id: str
    is_all: bool
    since: datetime
    until: datetime
    machine_id: str | None = None
    tests: bool | None = None

    def where(self, params: dict[str, Any]) -> str:
        """Entries of the period."""
        params.update(whose(self.user_id, self.is_all))
        params.update(since=db_time(self.since), until=db_time(self.until))
        where = (
            f"j.machine_id IN {own_machines_sql(self.is_all)} "
            "AND j.at >= :since AND j.at < :until"
        )
        if self.machine_id:
            params["machine"] = self.machine_id
            where += " AND j.machine_id = :machine"
        if self.tests is not None:
            params["tests"] = self.tests
            where += " AND j.is_test = :tests"
        return where


@dataclass
class Subject:
    """A trade, a balance that is paid out, or a payment that is nobody's sale: what
    its entries add up to before the period and at its end, apart for tests."""

    id: str
    machine_id: str
    before: dict[bool, dict[str | None, Standing]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Standing))
    )
    until: dict[bool, dict[str | None, Standing]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Standing))
    )
    # of entries in the period, by payment
    times: dict[str | None, datetime] = field(default_factory=dict)
    began_before: bool = False


async def lines(asked: Asked) -> AsyncIterator[list[dict[str, Any]]]:
    """By settlement, in order of time; what belongs to none comes last. A page of
    settlements at a time: a line whose time is not there yet waits for it."""
    for column in ("settlement_id", "payment_id"):
        async with db.connect() as conn:
            found = await _subjects(conn, asked, column)
        waiting: list[dict[str, Any]] = []
        for start in range(0, len(found), PAGE):
            async with db.connect() as conn:
                page = await _read(conn, asked, column, found[start : start + PAGE])
                facts = await _Facts.of(conn, column, page)
            waiting += [x for subject in page for x in _lines(subject, facts)]
            waiting.sort(key=lambda line: line["time"])
            end = len(waiting)
            if start + PAGE < len(found):
                until = _text(found[start + PAGE]["first_at"])
                end = bisect_left(waiting, until, key=lambda line: line["time"])
            yield waiting[:end]
            del waiting[:end]


async def _subjects(conn: Connection, asked: Asked, column: str) -> list[Row]:
    params: dict[str, Any] = {}
    where = asked.where(params)
    alone = "" if column == "settlement_id" else "AND j.settlement_id IS NULL"
    return await fetch_all(
        conn,
        f"""
        SELECT j.{column} AS id, j.machine_id, MIN(j.at) AS first_at
        FROM {S}.journal j WHERE {where} AND j.{column} IS NOT NULL {alone}
        GROUP BY j.{column}, j.machine_id ORDER BY first_at, j.{column}, j.machine_id
        """,  # noqa: S608
        params,
    )


async def _read(
    conn: Connection, asked: Asked, column: str, page: Sequence[Row]
) -> list[Subject]:
    """One statement for a page, however much happened to its trades before."""
    subjects = {
        (r["id"], r["machine_id"]): Subject(r["id"], r["machine_id"]) for r in page
    }
    alone = "" if column == "settlement_id" else "AND j.settlement_id IS NULL"
    tests = "" if asked.tests is None else "AND j.is_test = :tests"
    period = {"since": db_time(asked.since), "until": db_time(asked.until)}
    if asked.tests is not None:
        period["tests"] = asked.tests
    for listed, params in in_lists([r["id"] for r in page], period):
        for row in await fetch_all(
            conn,
            f"""
            SELECT e.id, e.machine_id, e.payment_id, e.is_test, e.is_before,
                l.account, l.client_id, MIN(e.at) AS at,
                CAST(SUM(l.sats) AS BIGINT) AS sats,
                CAST(SUM(l.fiat_cents) AS BIGINT) AS cents
            FROM (
                SELECT j.id AS entry, j.{column} AS id, j.machine_id, j.payment_id,
                    j.is_test, j.at,
                    CASE WHEN j.at < :since THEN 1 ELSE 0 END AS is_before
                FROM {S}.journal j
                WHERE j.{column} IN {listed} AND j.at < :until {alone} {tests}
            ) e JOIN {S}.journal_lines l ON l.journal_id = e.entry
            GROUP BY e.id, e.machine_id, e.payment_id, e.is_test, e.is_before,
                l.account, l.client_id
            ORDER BY e.is_test, e.payment_id, l.account, l.client_id
            """,  # noqa: S608
            params,
        ):
            subject = subjects.get((row["id"], row["machine_id"]))
            if subject:
                _add(subject, row)
    return list(subjects.values())


def _add(subject: Subject, row: Row) -> None:
    flag, payment = bool(row["is_test"]), row["payment_id"]
    line = (row["account"], int(row["sats"]), int(row["cents"]), row["client_id"])
    subject.until[flag][payment].add(*line)
    if row["is_before"]:
        subject.before[flag][payment].add(*line)
        subject.began_before = True
        return
    at = from_db_time(row["at"])
    if at and at < subject.times.get(payment, NEVER):
        subject.times[payment] = at


@dataclass
class _Facts:
    """What the lines of a page are about: settlements, legs, LPs and machines."""

    settlements: dict[str, Row]
    legs: dict[str, Row]
    clients: dict[str, str]
    machines: dict[str, Row]

    @classmethod
    async def of(cls, conn: Connection, column: str, page: Sequence[Subject]) -> _Facts:
        is_trade = column == "settlement_id"
        sales = [subject.id for subject in page] if is_trade else []
        states = [s for x in page for s in x.until.values()]
        payments = {p for s in states for p in s if p}
        clients = {c for s in states for one in s.values() for _, c in one if c}
        return cls(
            await _by_id(
                conn,
                f"""
                SELECT s.*, {cents_sql("s.fiat_amount")} AS cents
                FROM {S}.dca_settlements s WHERE s.id IN {{}}
                """,  # noqa: S608
                sales,
            ),
            await _by_id(
                conn,
                f"""
                SELECT p.id, p.leg_type, p.label, p.amount_sats, p.reference,
                    p.external_payment_hash, {cents_sql("p.amount_fiat")} AS cents
                FROM {S}.dca_payments p WHERE p.id IN {{}}
                """,  # noqa: S608
                payments,
            ),
            {
                id_: row["username"] or ""
                for id_, row in (
                    await _by_id(
                        conn,
                        f"SELECT id, username FROM {S}.dca_clients "  # noqa: S608
                        "WHERE id IN {}",
                        clients,
                    )
                ).items()
            },
            await _by_id(
                conn,
                f"SELECT m.id, {_MACHINE}, m.fiat_code "  # noqa: S608
                f"FROM {S}.dca_machines m WHERE m.id IN {{}}",
                {subject.machine_id for subject in page},
            ),
        )


async def _by_id(conn: Connection, sql: str, ids: Iterable[str]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for listed, params in in_lists(sorted(set(ids))):
        for row in await fetch_all(conn, sql.format(listed), params):
            found[row["id"]] = row
    return found


def _trade(subject: Subject, facts: _Facts) -> tuple[Trade, bool]:
    """What its lines are reckoned with, and whether it is a balance paid out."""
    row = facts.settlements.get(subject.id)
    if row is not None:
        return (
            Trade(
                int(row["principal_sats"]),
                int(row["cents"] or 0),
                int(row["fee_sats"]),
                int(row["platform_fee_sats"]),
                int(row["operator_fee_sats"]),
                int(row["shortfall_sats"] or 0),
            ),
            False,
        )
    leg = facts.legs.get(subject.id)
    if leg is None:
        return Trade(), True
    return Trade(int(leg["amount_sats"]), int(leg["cents"] or 0)), True


def _lines(subject: Subject, facts: _Facts) -> Iterator[dict[str, Any]]:
    trade, is_closing = _trade(subject, facts)
    common = _common(subject, trade, facts)
    # what its stamp says is not what it will be resolved to
    unread = {**_UNREAD, "currency": _own_currency(subject, facts)}
    is_first = not subject.began_before
    for flag in sorted(subject.until):
        before, until = subject.before.get(flag, {}), subject.until[flag]
        found = lines_between(trade, before, until, is_closing=is_closing)
        status = status_of([until])
        for key, figure in found.items():
            line = {**common, **_line(subject, key, figure, facts, status)}
            line |= unread if status == QUARANTINED else {}
            line["is_test"] = flag
            if is_first and subject.id in facts.settlements:
                line |= _discounts(facts.settlements[subject.id])
            is_first = False
            yield line


_UNREAD = {"tx_type": "", "exchange_rate": ""}


def _own_currency(subject: Subject, facts: _Facts) -> str:
    machine = facts.machines.get(subject.machine_id)
    return machine["fiat_code"] if machine else ""


def _common(subject: Subject, trade: Trade, facts: _Facts) -> dict[str, Any]:
    machine = facts.machines.get(subject.machine_id)
    row = facts.settlements.get(subject.id)
    sale = row or {}
    return {
        "machine": machine["machine"] if machine else "",
        "tx_type": sale.get("tx_type") or "",
        "currency": sale.get("fiat_code") or _own_currency(subject, facts),
        "exchange_rate": _rate(trade.principal_sats, trade.cents),
        "settlement_id": subject.id if row else "",
    }


def _line(
    subject: Subject, key: Key, figure: Figure, facts: _Facts, status: str
) -> dict[str, Any]:
    leg = facts.legs.get(key.payment_id or "")
    row = facts.settlements.get(subject.id)
    at = subject.times.get(key.payment_id) or min(subject.times.values())
    party = facts.clients.get(key.client_id or "", "")
    told = {"id": subject.id, "payment_hash": "", "reference": ""}
    if leg:
        party = party or leg["label"] or ""
        told["id"] = leg["id"]
        told["payment_hash"] = leg["external_payment_hash"] or ""
        told["reference"] = leg["reference"] or ""
    elif row and not key.state:
        told["payment_hash"] = row["payment_hash"]
        told["reference"] = row["bitspire_txid"] or ""
    elif not row:
        told["payment_hash"] = subject.id
    return {
        **told,
        "time": _iso(at),
        "record": key.record,
        "party": party,
        "status": key.state or (COMPLETED if leg else status),
        "sats": figure.sats,
        "counter_value": cents_text(figure.cents),
        "wallet_sats": figure.wallet_sats,
    }


def _discounts(row: Row) -> dict[str, Any]:
    """Who forgave what; nothing where nobody did."""
    return {name: row[name] or "" for name in DISCOUNTS}


# --------------------------------------------------------------------------- by entry


async def entry_lines(asked: Asked) -> AsyncIterator[list[dict[str, Any]]]:
    """Every line of every entry of the period, in order of time, a page at a time."""
    after: Row | None = None
    while True:
        async with db.connect() as conn:
            page = await _entries(conn, asked, after)
        found = await lines_of_entries([row["id"] for row in page])
        async with db.connect() as conn:
            named = await _named(conn, found)
        # also the landing of an older database's, which is an entry of its own
        held = {
            (row["settlement_id"], row["at"])
            for row in page
            if any(x["account"] == HELD_BACK for x in found.get(row["id"], []))
        }
        yield [
            _entry_line(row, line, named)
            | (_UNREAD if (row["settlement_id"], row["at"]) in held else {})
            for row in page
            for line in found.get(row["id"], [])
        ]
        if len(page) < ENTRIES:
            return
        after = page[-1]


async def _entries(conn: Connection, asked: Asked, after: Row | None) -> list[Row]:
    params: dict[str, Any] = {"limit": ENTRIES}
    where = asked.where(params)
    if after:
        where += " AND (j.at > :after OR (j.at = :after AND j.id > :last))"
        params["since"] = params["after"] = after["at"]
        params["last"] = after["id"]
    return await fetch_all(
        conn,
        f"""
        SELECT j.*, {_MACHINE}, COALESCE(s.tx_type, '') AS tx_type, s.principal_sats,
            {cents_sql("s.fiat_amount")} AS cents,
            COALESCE(p.external_payment_hash, s.payment_hash,
                CASE WHEN p.id IS NULL THEN j.payment_id END) AS payment_hash,
            COALESCE(p.reference, CASE WHEN p.id IS NULL THEN s.bitspire_txid END)
                AS reference, COALESCE(p.label, '') AS label
        FROM {S}.journal j JOIN {S}.dca_machines m ON m.id = j.machine_id
        LEFT JOIN {S}.dca_settlements s ON s.id = j.settlement_id
        LEFT JOIN {S}.dca_payments p ON p.id = j.payment_id
        WHERE {where} ORDER BY j.at, j.id LIMIT :limit
        """,  # noqa: S608
        params,
    )


async def _named(
    conn: Connection, found: Mapping[str, Sequence[Row]]
) -> dict[str, str]:
    """What the operator calls the LPs of these lines."""
    clients = {x["client_id"] for of in found.values() for x in of if x["client_id"]}
    sql = f"SELECT id, username FROM {S}.dca_clients WHERE id IN {{}}"  # noqa: S608
    rows = await _by_id(conn, sql, clients)
    return {id_: row["username"] or "" for id_, row in rows.items()}


def _entry_line(row: Row, line: Row, named: Mapping[str, str]) -> dict[str, Any]:
    is_wallet = line["account"] == MACHINE_WALLET
    return {
        "time": _text(row["at"]),
        "machine": row["machine"],
        "tx_type": row["tx_type"],
        "record": line["account"],
        "party": named.get(line["client_id"] or "") or row["label"],
        "status": row["kind"],
        "sats": line["sats"],
        "counter_value": line["counter_value"],
        "currency": row["currency"],
        "exchange_rate": _rate(int(row["principal_sats"] or 0), int(row["cents"] or 0)),
        "settlement_id": row["settlement_id"] or "",
        "id": row["id"],
        "payment_hash": row["payment_hash"] or "",
        "reference": row["reference"] or "",
        "fiat": line["fiat"],
        "wallet_sats": line["sats"] if is_wallet else 0,
        "is_test": bool(row["is_test"]),
        "recorded_at": _text(row["recorded_at"]),
    }


def _text(moment: Any) -> str:
    return _iso(from_db_time(moment))


def _iso(at: datetime | None) -> str:
    """As texts they are in the order of time, too: "+" is before "."."""
    return at.isoformat() if at else ""


def _rate(sats: int, cents: int) -> float | str:
    """The trade's own: sats for one unit of its cash."""
    return round(sats * 100 / cents, 8) if sats and cents else ""
