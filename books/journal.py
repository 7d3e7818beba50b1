"""The journal for its readers: entries, balances at a date, and plain-text accounting.

Every sum here is a sum over lines of entries; nothing is worked out from rows that may
have changed since. A reader has the journal of the machines that are theirs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..base.database import db, db_time, fetch_all, in_lists
from ..base.zones import Zone
from ..calculations import cents_text
from .lists import Fields, ListQuery, Source, stream_rows
from .reports import own_machines_sql, whose

S = "satoshimachine"
Row = Mapping[str, Any]

ENTRY_FIELDS = Fields(
    kinds={
        "id": "text",
        "at": "time",
        "recorded_at": "time",
        "machine_id": "text",
        "settlement_id": "text",
        "payment_id": "text",
        "deposit_id": "text",
        "kind": "text",
        "is_test": "bool",
        "currency": "text",
    },
    search=("id", "settlement_id", "payment_id", "deposit_id", "kind"),
    newest="at",
)
# one row a line of an entry
LINE_FIELDS = Fields(
    kinds={
        **ENTRY_FIELDS.kinds,
        "account": "text",
        "client_id": "text",
        "sats": "int",
        "fiat": "fiat",
        "counter_value": "fiat",
    },
    search=ENTRY_FIELDS.search,
    newest="at",
)


def entries_source(user_id: str, is_all: bool) -> Source:
    """One row an entry."""
    return Source(
        columns={name: f"j.{name}" for name in ENTRY_FIELDS.kinds},
        tables=f"{S}.journal j",
        where=[f"j.machine_id IN {own_machines_sql(is_all)}"],
        params=whose(user_id, is_all),
        key="j.id",
    )


def lines_source(user_id: str, is_all: bool) -> Source:
    """Each line with its entry, for the CSV."""
    columns = {name: f"j.{name}" for name in ENTRY_FIELDS.kinds}
    columns |= {name: f"l.{name}" for name in ("account", "client_id", "sats")}
    columns["fiat"] = "l.fiat_cents / 100.0"
    columns["counter_value"] = "l.counter_cents / 100.0"
    return Source(
        columns=columns,
        tables=f"{S}.journal j JOIN {S}.journal_lines l ON l.journal_id = j.id",
        where=[f"j.machine_id IN {own_machines_sql(is_all)}"],
        params=whose(user_id, is_all),
        key="(j.id || l.account || COALESCE(l.client_id, ''))",
    )


def of_period(source: Source, since: datetime | None, until: datetime | None) -> Source:
    """Those of entries from one moment to before another."""
    where, params = list(source.where), dict(source.params)
    for name, op, at in (("since", ">=", since), ("until", "<", until)):
        if at:
            where.append(f"j.at {op} :{name}")
            params[name] = db_time(at)
    return replace(source, where=where, params=params)


async def lines_of_entries(entry_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The lines of each entry, by account and LP."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with db.connect() as conn:
        for listed, params in in_lists(sorted(set(entry_ids))):
            for row in await fetch_all(
                conn,
                f"SELECT * FROM {S}.journal_lines WHERE journal_id IN {listed} "  # noqa: S608
                "ORDER BY account, client_id",
                params,
            ):
                found.setdefault(row["journal_id"], []).append(
                    {
                        "account": row["account"],
                        "client_id": row["client_id"],
                        "sats": int(row["sats"]),
                        "fiat": cents_text(int(row["fiat_cents"])),
                        "counter_value": cents_text(int(row["counter_cents"])),
                    }
                )
    return found


@dataclass(frozen=True)
class Asked:
    """Whose journal, of which machine, and up to when (not included)."""

    user_id: str
    is_all: bool
    until: datetime | None = None
    machine_id: str | None = None
    tests: bool | None = None

    def where(self, params: dict[str, Any]) -> str:
        params.update(whose(self.user_id, self.is_all))
        where = f"j.machine_id IN {own_machines_sql(self.is_all)}"
        if self.until:
            where += " AND j.at < :until"
            params["until"] = db_time(self.until)
        if self.machine_id:
            where += " AND j.machine_id = :machine"
            params["machine"] = self.machine_id
        if self.tests is not None:
            where += " AND j.is_test = :tests"
            params["tests"] = self.tests
        return where


async def balances(asked: Asked) -> list[dict[str, Any]]:
    """Sums by machine, account and LP of all entries before the moment asked for."""
    params: dict[str, Any] = {}
    where = asked.where(params)
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"""
            SELECT j.machine_id, j.currency, l.account, l.client_id, c.username,
                CAST(SUM(l.sats) AS BIGINT) AS sats,
                CAST(SUM(l.fiat_cents) AS BIGINT) AS cents,
                CAST(SUM(l.counter_cents) AS BIGINT) AS counter
            FROM {S}.journal j JOIN {S}.journal_lines l ON l.journal_id = j.id
            LEFT JOIN {S}.dca_clients c ON c.id = l.client_id
            WHERE {where}
            GROUP BY j.machine_id, j.currency, l.account, l.client_id, c.username
            ORDER BY j.machine_id, l.account, l.client_id
            """,  # noqa: S608
            params,
        )
    return [
        {
            "machine_id": row["machine_id"],
            "currency": row["currency"],
            "account": row["account"],
            "client_id": row["client_id"],
            "username": row["username"],
            "sats": int(row["sats"]),
            "fiat": cents_text(int(row["cents"])),
            "counter_value": cents_text(int(row["counter"])),
        }
        for row in found
    ]


# --------------------------------------------------------------- plain-text accounting

# account -> beancount's kind of it
ROOTS = {
    "machine_wallet": "Assets",
    "cash_taken": "Assets",
    "cash_dispensed": "Assets",
    "customer": "Liabilities",
    "platform": "Liabilities",
    "splits": "Liabilities",
    "lp": "Liabilities",
    "refunds": "Liabilities",
    "held_back": "Liabilities",
    "lp_deposits": "Liabilities",
    "lp_cash_used": "Liabilities",
    "lp_closed": "Liabilities",
    "loss": "Expenses",
    "routing": "Expenses",
    "operator_fees": "Income",
    "surplus": "Income",
    "reserve_kept": "Income",
    "let_go": "Income",
}


def beancount_account(account: str, machine_id: str, client_id: str | None) -> str:
    """`Assets:Machine-Wallet:M<id>`: each part begins with a capital and has letters,
    digits and hyphens only, whatever the ids are."""
    parts = [ROOTS.get(account, "Equity"), account.title().replace("_", "-")]
    parts.append(f"M{_plain(machine_id)}")
    if client_id:
        parts.append(f"L{_plain(client_id)}")
    return ":".join(parts)


def _plain(id_: str) -> str:
    """An id as a part of a name, so that no two ids become one: what is neither letter
    nor digit is written by its number, and so is the letter that marks that."""
    return "".join(
        c if c.isascii() and c.isalnum() and c != "Z" else f"Z{ord(c):X}-" for c in id_
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


async def beancount(asked: Source, opened: Source, zone: Zone) -> AsyncIterator[str]:
    """The whole journal as beancount reads it: accounts opened once, then entries in
    the order of their time, on days of the zone. Currencies are SAT and each
    machine's own."""
    yield 'option "title" "Satoshi Machine"\noption "operating_currency" "SAT"\n\n'
    for row in await _accounts(opened):
        name = beancount_account(row["account"], row["machine_id"], row["client_id"])
        yield f"1970-01-01 open {name}\n"
    yield "\n"
    in_order = ListQuery(ENTRY_FIELDS, sortby="at", direction="asc")
    async for chunk in stream_rows(asked, in_order):
        lines = await lines_of_entries([row["id"] for row in chunk])
        yield "".join(_entry(row, lines.get(row["id"], []), zone) for row in chunk)


async def _accounts(opened: Source) -> list[Row]:
    async with db.connect() as conn:
        return await fetch_all(
            conn,
            "SELECT DISTINCT j.machine_id, l.account, l.client_id "  # noqa: S608
            f"FROM {opened.tables} WHERE {' AND '.join(opened.where)} "
            "ORDER BY j.machine_id, l.account, l.client_id",
            opened.params,
        )


def _entry(
    row: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], zone: Zone
) -> str:
    tag = " #test" if row["is_test"] else ""
    at = row["at"]
    facts = {"entry": row["id"], "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
    facts["settlement"], facts["payment"] = row["settlement_id"], row["payment_id"]
    facts["deposit"] = row["deposit_id"]
    text = [f"{zone.day_of(at)} * {_quoted(row['kind'])}{tag}"]
    text += [f"  {key}: {_quoted(value)}" for key, value in facts.items() if value]
    text += _postings(row, lines)
    return "\n".join([*text, "", ""])


def _postings(
    row: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    for line in lines:
        name = beancount_account(line["account"], row["machine_id"], line["client_id"])
        if line["sats"]:
            yield f"  {name}  {line['sats']} SAT"
        if Decimal(line["fiat"]):
            yield f"  {name}  {line['fiat']} {row['currency']}"
