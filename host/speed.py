"""The super's change of what a balance costs in LNbits: offered, made, put back.

LNbits asks its view `balances` 5 to 7 times for a payment. On SQLite the view sums
*all* wallets before it looks at one. What is made here is an index and, on SQLite, the
view asked wallet by wallet, with the proof that every balance is what it was.

The state is what the database says, never what we remember. docs/host.md has the why
of each rule.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

from lnbits.core.db import db as core_db
from lnbits.db import COCKROACH, SQLITE, Connection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ..base import database
from ..base.audit import write_audit
from ..base.database import execute, fetch_all, fetch_one
from ..base.refusals import ConflictError
from . import balances_view as view

READINGS = 3
# Half a minute of waiting is a hanging host; building the index of millions is not.
PATIENCE = "10min"
# One process of all makes or drops the index: another's, while it is being built, looks
# just like one that was left invalid.
_LOCK = "hashtext('satmachineadmin_host')"

STOCK, OURS, OTHER = "stock", "ours", "other"


@dataclass(frozen=True)
class HostState:
    """What the database says."""

    view: str  # STOCK, OURS or OTHER
    view_text: str
    index: str  # "", "valid" or "invalid"
    is_known_database: bool
    is_sqlite: bool

    @property
    def is_offered(self) -> bool:
        return self.is_known_database and self.view != OTHER

    @property
    def is_applied(self) -> bool:
        of_view = self.view == OURS or not self.is_sqlite
        return of_view and self.index == "valid" and self.is_offered

    @property
    def reason(self) -> str | None:
        """Why it is not offered, or what is only half there."""
        if not self.is_known_database:
            return "LNbits runs on CockroachDB: there is nothing that we could change."
        if self.view == OTHER:
            said = "This LNbits is new to us: its view of balances is left alone."
            if self.index:
                said = (
                    "The change has ended: this LNbits is new to us and has its own "
                    "view; our index is left, and can be dropped."
                )
            return said
        if self.is_applied:
            return None
        if self.index == "invalid":
            return "An index was left half made: apply again, or put it back."
        if self.view == OURS:
            return "The index is gone: apply again, or put the view back."
        if self.index:
            return (
                "The change has ended: LNbits replaced its view; our index is left. "
                "Apply anew, or drop it."
            )
        return None


async def read_state() -> HostState:
    async with core_db.connect() as conn:
        return await _state(conn)


async def count_payments() -> int:
    """Of all wallets: what the change will have to look at."""
    async with core_db.connect() as conn:
        row = await fetch_one(conn, "SELECT COUNT(*) AS n FROM apipayments")
    return int(row["n"]) if row else 0


async def _state(conn: Connection) -> HostState:
    if conn.type == COCKROACH:
        return HostState(OTHER, "", "", False, False)
    if conn.type == SQLITE:
        kept = await _texts(conn)
        text_ = kept.get("balances") or ""
        index = _index_kind(kept.get(view.INDEX))
        known = {
            view.normalised(view.STOCK_VIEW): STOCK,
            view.normalised(view.OUR_VIEW): OURS,
        }
        kind = known.get(view.normalised(text_), OTHER)
        return HostState(kind, text_, index, True, True)
    row = await fetch_one(
        conn,
        """
        SELECT pg_get_viewdef(to_regclass('balances')) AS text,
            (SELECT indisvalid AND pg_get_indexdef(indexrelid) LIKE :columns
             FROM pg_index WHERE indexrelid = to_regclass(:name)) AS valid
        """,
        {"name": view.INDEX, "columns": f"%{view.COLUMNS}"},
    )
    text_, valid = (row["text"] or "", row["valid"]) if row else ("", None)
    kind = STOCK if view.bare(text_) == view.bare(view.STOCK_SELECT) else OTHER
    index = {None: "", True: "valid", False: "invalid"}[valid]
    return HostState(kind, text_, index, True, False)


def _index_kind(text_: str | None) -> str:
    """An index of our name over other columns is none of ours: to be made anew."""
    if text_ is None:
        return ""
    is_ours = view.normalised(text_) == view.normalised(view.CREATE_INDEX)
    return "valid" if is_ours else "invalid"


async def _texts(conn: Connection) -> dict[str, str]:
    rows = await fetch_all(
        conn,
        "SELECT name, sql FROM sqlite_master WHERE name IN ('balances', :name)",
        {"name": view.INDEX},
    )
    return {row["name"]: row["sql"] for row in rows}


# ------------------------------------------------------------------------ the change


async def apply(user_id: str) -> None:
    """Make the change, or none of it; 409 where it is not offered."""
    state = await read_state()
    if not state.is_offered:
        raise ConflictError(state.reason or "")
    if state.is_applied:
        return
    await _write_down(user_id, "host.apply", state)
    if state.is_sqlite:
        await _on_sqlite(OURS)
    else:
        await _on_postgres(is_wanted=True)


async def put_back(user_id: str) -> None:
    """As it was before: the view while it is ours, and the index whatever the view."""
    state = await read_state()
    if not state.index and state.view != OURS:
        return
    await _write_down(user_id, "host.undo", state)
    if state.is_sqlite:
        await _on_sqlite(STOCK)
    else:
        await _on_postgres(is_wanted=False)


async def _write_down(user_id: str, action: str, state: HostState) -> None:
    """The log, and LNbits' own text to the letter, before anything is touched."""
    async with database.transaction() as conn:
        if state.view == STOCK:
            await _keep(conn, "view", state.view_text)
        await write_audit(conn, user_id, action, "host", "lnbits")


async def _on_sqlite(wanted: str) -> None:
    await _change_on_sqlite(wanted, await _kept("view") or view.STOCK_VIEW)


async def _change_on_sqlite(wanted: str, stock: str) -> None:
    """One transaction on LNbits' own handle, whose lock lets others wait.

    The BEGIN is ours: sqlite3 begins none before CREATE or DROP, and a rollback would
    leave both behind.
    """
    async with core_db.connect() as conn:
        try:
            await execute(conn, "BEGIN IMMEDIATE")
        except OperationalError as exc:
            raise ConflictError("LNbits' database is busy: try again.") from exc
        try:
            await _change(conn, wanted, stock)
        except BaseException:
            await conn.conn.rollback()
            raise
        await conn.conn.commit()


async def _change(conn: Connection, wanted: str, stock: str) -> None:
    state = await _state(conn)  # again: another process may have been faster
    if wanted == OURS and not state.is_offered:
        raise ConflictError(state.reason or "")
    if state.view == OTHER:  # LNbits' own new one, not ours to read: the index alone
        await execute(conn, view.DROP_INDEX)
        return
    before = await _balances(conn)
    await execute(conn, view.DROP_INDEX)
    if wanted == OURS:
        await execute(conn, view.CREATE_INDEX)
    if state.view in {STOCK, OURS} - {wanted}:
        await execute(conn, view.DROP_VIEW)
        text_ = view.OUR_VIEW if wanted == OURS else stock
        # as it is: a colon in LNbits' text would be a parameter to `text()`
        await conn.conn.exec_driver_sql(text_)
    if await _balances(conn) != before:
        raise ConflictError(
            "A balance would not have stayed the same: nothing was changed."
        )


async def _balances(conn: Connection) -> dict[str, int]:
    """Every wallet's, as the view says it; without payments is 0, row or no row."""
    rows = await fetch_all(conn, "SELECT wallet_id, balance FROM balances")
    return {row["wallet_id"]: row["balance"] for row in rows if row["balance"]}


@asynccontextmanager
async def _outside() -> AsyncIterator[Connection]:
    """A connection of its own, outside LNbits' lock, which nobody waits for.

    Of no pool: what was set or locked in its session ends with it, however it ends.
    """
    level = {} if core_db.type == SQLITE else {"isolation_level": "AUTOCOMMIT"}
    engine = create_async_engine(core_db.engine.url, poolclass=NullPool, **level)
    try:
        async with engine.connect() as raw:
            yield Connection(raw, core_db.type, core_db.name, core_db.schema)
    finally:
        await engine.dispose()


async def _on_postgres(is_wanted: bool) -> None:
    """The index only. CONCURRENTLY knows no transaction; what it leaves when it is cut
    off is invalid, costs and serves nobody, and is dropped before the next try."""
    async with _outside() as conn:
        row = await fetch_one(conn, f"SELECT pg_try_advisory_lock({_LOCK}) AS mine")
        if not row or not row["mine"]:
            raise ConflictError("This is being done already: wait until it is over.")
        try:
            await execute(conn, f"SET statement_timeout = '{PATIENCE}'")
            await _change_index(conn, is_wanted)
        except DBAPIError as exc:
            raise ConflictError(
                "PostgreSQL did not finish: nothing of LNbits' is changed. Try again."
            ) from exc


async def _change_index(conn: Connection, is_wanted: bool) -> None:
    state = await _state(conn)
    if state.index and not (is_wanted and state.index == "valid"):
        drop = view.DROP_INDEX.replace("INDEX", "INDEX CONCURRENTLY", 1)
        await execute(conn, drop)
    if not is_wanted:
        return
    if state.index != "valid":
        await execute(conn, view.CREATE_INDEX_CONCURRENTLY)
    # without it the index alone is read row by row in the table: nothing is gained
    await execute(conn, "VACUUM (ANALYZE) apipayments")
    if (await _state(conn)).index != "valid":
        raise ConflictError(
            "PostgreSQL did not finish: nothing of LNbits' is changed. Try again."
        )


# ------------------------------------------------------------------------ what it costs


async def measure() -> None:
    """Time a balance now and as it would be, three readings each, and keep that."""
    async with _outside() as conn:
        state = await _state(conn)
        # a copy of the whole view, by its place in LNbits' question
        plans = {"now": "balances"}
        if state.is_sqlite and state.is_offered and not state.is_applied:
            plans["then"] = f"({view.OUR_SELECT})"
        found: dict[str, dict[str, float]] = {}
        for wallet, order in (("idle", "ASC"), ("busiest", "DESC")):
            row = await fetch_one(
                conn,
                f"""
                SELECT w.id FROM wallets w LEFT JOIN apipayments p
                    ON p.wallet_id = w.id
                WHERE w.deleted = false OR w.deleted IS NULL
                GROUP BY w.id ORDER BY COUNT(p.amount) {order}, w.id LIMIT 1
                """,  # noqa: S608
            )
            for when, source in plans.items():
                ms = await _cost(conn, source, row["id"]) if row else 0.0
                found.setdefault(when, {})[wallet] = ms
    async with database.transaction() as ours:
        await _keep(ours, _measured(state), json.dumps(found))


async def _cost(conn: Connection, source: str, wallet_id: str) -> float:
    sql = f"SELECT b.balance FROM {source} b WHERE b.wallet_id = :id"  # noqa: S608
    readings = []
    for _ in range(READINGS):
        begun = time.perf_counter()
        (await conn.conn.execute(text(sql), {"id": wallet_id})).all()
        readings.append((time.perf_counter() - begun) * 1000)
    return round(median(readings), 2)


@dataclass(frozen=True)
class Figures:
    """Milliseconds of one balance, `{"idle", "busiest"}`; None: not measured."""

    now: dict[str, float] | None
    # as it would be with the change, at most: without the index
    then: dict[str, float] | None
    # as it was before the change; None while there is none
    before: dict[str, float] | None


def _measured(state: HostState) -> str:
    return "measured_changed" if state.is_applied else "measured_stock"


async def figures(state: HostState) -> Figures:
    """What was measured last while LNbits was as it is now, and before the change."""
    kept = json.loads(await _kept(_measured(state)) or "{}")
    before = json.loads(await _kept("measured_stock") or "{}")
    return Figures(
        kept.get("now"),
        kept.get("then"),
        before.get("now") if state.is_applied else None,
    )


async def _kept(name: str) -> str | None:
    async with database.db.connect() as conn:
        row = await fetch_one(
            conn,
            "SELECT value FROM satoshimachine.host_change WHERE name = :name",
            {"name": name},
        )
    return row["value"] if row else None


async def _keep(conn: Connection, name: str, value: str) -> None:
    await execute(
        conn,
        """
        INSERT INTO satoshimachine.host_change (name, value) VALUES (:name, :value)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value
        """,
        {"name": name, "value": value},
    )
