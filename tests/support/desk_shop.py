"""One operator, a machine, three LPs, a partner, and a shop that opens and closes.

What the state machine of `desk/test_desk_machine.py` stands on: the rows of the
parties, and a quick look at all rows after every step.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from desk_journal import (
    LINES_SQL,
    JournalWatch,
    assert_overview_is_the_books,
    assert_periods_add_up,
)
from fake_lightning import FakeLightning
from hypothesis.stateful import RuleBasedStateMachine
from lnbits.db import SQLITE, Connection
from lnbits.helpers import urlsafe_short_hash
from lnbits.settings import settings as lnbits_settings
from sqlalchemy import text

from satmachineadmin.base.database import (
    db,
    db_time,
    execute,
    fetch_all,
    insert_sql,
    row_params,
    transaction,
)
from satmachineadmin.base.refusals import RefusedError
from satmachineadmin.base.zones import Zone
from satmachineadmin.models import Client, CommissionSplit, LpProfile, Machine, utc_now
from satmachineadmin.money import rounds

READ = (
    # in an order that does not depend on random ids, so that a failure shrinks
    "SELECT * FROM satoshimachine.dca_settlements WHERE machine_id = :m "
    "ORDER BY created_at, wire_sats, id",
    "SELECT * FROM satoshimachine.dca_payments WHERE machine_id = :m "
    "ORDER BY created_at, leg_type, leg_key, id",
    "SELECT l.payout_id, l.leg_id, o.status "
    "FROM satoshimachine.dca_payout_legs l "
    "JOIN satoshimachine.dca_payments p ON p.id = l.leg_id "
    "JOIN satoshimachine.dca_payouts o ON o.id = l.payout_id "
    "WHERE p.machine_id = :m",
    LINES_SQL,
    "SELECT c.id, COALESCE(t.debited_cents, 0) AS debited, "
    "COALESCE((SELECT SUM(CAST(ROUND(d.amount * 100) AS BIGINT)) "
    "FROM satoshimachine.dca_deposits d WHERE d.client_id = c.id "
    "AND d.status = 'confirmed'), 0) AS deposited "
    "FROM satoshimachine.dca_clients c "
    "LEFT JOIN satoshimachine.dca_client_totals t ON t.client_id = c.id "
    "WHERE c.machine_id = :m",
)


class Reader:
    """Reads our tables after every step: on SQLite past the event loop, which costs
    more than the query."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connection: sqlite3.Connection | None = None

    def rows(self, sqls: Sequence[str], params: dict[str, Any]) -> list[list[Any]]:
        """The rows of each query, all as they are at one moment: the server's own
        turns go on meanwhile."""
        if db.type == SQLITE:
            connection = self._sqlite()
            connection.execute("BEGIN")
            try:
                return [
                    [dict(r) for r in connection.execute(sql, params)] for sql in sqls
                ]
            finally:
                connection.execute("COMMIT")
        work = self._rows(sqls, params)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _rows(
        self, sqls: Sequence[str], params: dict[str, Any]
    ) -> list[list[Any]]:
        async with db.connect() as conn:
            await execute(conn, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            return [list(await fetch_all(conn, sql, params)) for sql in sqls]

    def _sqlite(self) -> sqlite3.Connection:
        if self.connection is None:
            folder = Path(lnbits_settings.lnbits_data_folder)
            file = folder / "ext_satoshimachine.sqlite3"
            self.connection = sqlite3.connect(":memory:", timeout=30)
            self.connection.row_factory = sqlite3.Row
            self.connection.execute("ATTACH ? AS satoshimachine", (str(file),))
        return self.connection


class DeskShop(RuleBasedStateMachine):
    """One operator with one machine, three LPs, a partner and customers."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    reader: ClassVar[Reader]
    lightning: ClassVar[FakeLightning]

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run on the loop that the server lives on, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def ask(self, work: Coroutine[Any, Any, Any]) -> Any:
        """An action of a person, which may be refused."""
        try:
            return self.do(work)
        except RefusedError:
            return None

    # the world ----------------------------------------------------------------------

    def set_up(self, interval: int, service_fee: int) -> None:
        """The parties and the machine, before anything happened."""
        self.lightning.clear()
        self.lightning.service_fee = service_fee
        self.tag = urlsafe_short_hash()
        self.operator = uuid4().hex
        self.wallet = f"machine{self.tag}"
        self.platform = f"platform{self.tag}"
        self.cash_box = f"box{self.tag}"
        self.decided: rounds.BatchPlan | None = None
        self.closed: dict[str, str] = {}
        self.offers: list[tuple[int, str]] = []
        self.hashes = 0
        self.topped_up = 0
        self.journal = JournalWatch()
        self.machine = Machine(
            id=f"m{self.tag}",
            operator_user_id=self.operator,
            machine_npub=f"npub1{self.tag}",
            wallet_id=self.wallet,
            operator_cash_in_fee_fraction="0.0500",
            operator_cash_out_fee_fraction="0.0500",
            payout_interval_minutes=interval,
        )
        # the third LP is the operator, whose sats stay in the machine's own wallet
        self.people = [uuid4().hex, uuid4().hex, self.operator]
        self.lp_wallets = [f"w{n}{self.tag}" for n in (1, 2)] + [self.wallet]
        self.clients = [f"c{n}{self.tag}" for n in (1, 2, 3)]
        self.partner = f"partner{self.tag}"
        self.lightning.owners.update(
            {
                self.wallet: self.operator,
                self.cash_box: self.operator,
                self.platform: lnbits_settings.super_user,
                self.partner: f"p{self.tag}",
                **dict(zip(self.lp_wallets[:2], self.people[:2], strict=True)),
            }
        )
        self.do(self._open_shop(self.partner))

    async def _open_shop(self, partner: str) -> None:
        written: list[tuple[str, Any]] = [("dca_machines", self.machine)]
        for who, wallet, client in zip(
            self.people, self.lp_wallets, self.clients, strict=True
        ):
            written += [
                ("dca_lp", LpProfile(user_id=who, dca_wallet_id=wallet)),
                (
                    "dca_clients",
                    Client(id=client, machine_id=self.machine.id, user_id=who),
                ),
            ]
        for n, (target, fraction) in enumerate(
            (("0.6000", partner), ("0.4000", self.wallet))
        ):
            written.append(
                (
                    "dca_commission_splits",
                    CommissionSplit(
                        id=f"s{n}{self.tag}",
                        operator_user_id=self.operator,
                        target=fraction,
                        target_kind="wallet",
                        target_wallet_id=fraction,
                        fraction=Decimal(target),
                        sort_order=n,
                    ),
                )
            )
        async with transaction() as conn:
            for table, row in written:
                params = row_params(row)
                await execute(conn, insert_sql(table, params), params)
            await execute(
                conn,
                "INSERT INTO satoshimachine.dca_machine_wallets "
                "(wallet_id, machine_id, since_at) VALUES (:w, :m, :t)",
                {
                    "w": self.wallet,
                    "m": self.machine.id,
                    "t": db_time(utc_now() - timedelta(days=1)),
                },
            )
            await execute(
                conn,
                "UPDATE satoshimachine.super_config SET "
                "super_cash_out_fee_fraction = '0.0300', "
                "super_cash_in_fee_fraction = '0.0300', super_fee_wallet_id = :w",
                {"w": self.platform},
            )

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.do(self._close_shop())

    async def _close_shop(self) -> None:
        """Nothing is left behind for the engine of the other tests."""
        await assert_periods_add_up(self.operator, self.machine.id)
        await assert_overview_is_the_books(self.operator, Zone("Asia/Kathmandu"))
        own = {"m": self.machine.id, "o": self.operator}
        async with transaction() as conn:
            await execute(
                conn,
                "DELETE FROM satoshimachine.journal_lines WHERE journal_id IN ("
                "SELECT id FROM satoshimachine.journal WHERE machine_id = :m)",
                {"m": self.machine.id},
            )
            await execute(
                conn,
                "DELETE FROM satoshimachine.journal WHERE machine_id = :m",
                {"m": self.machine.id},
            )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_payouts WHERE id IN ("
                "SELECT l.payout_id FROM satoshimachine.dca_payout_legs l "
                "JOIN satoshimachine.dca_payments p ON p.id = l.leg_id "
                "WHERE p.machine_id = :m)",
                {"m": self.machine.id},
            )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_client_totals WHERE client_id IN ("
                "SELECT id FROM satoshimachine.dca_clients WHERE machine_id = :m)",
                {"m": self.machine.id},
            )
            for table in (
                *("payments", "settlements", "deposits", "clients"),
                *("consents", "offers"),
            ):
                await execute(
                    conn,
                    f"DELETE FROM satoshimachine.dca_{table} WHERE machine_id = :m",
                    {"m": self.machine.id},
                )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_machines "
                "WHERE id = :m AND operator_user_id = :o",
                own,
            )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_machine_wallets WHERE machine_id = :m",
                {"m": self.machine.id},
            )

    # what is there ------------------------------------------------------------------

    def read(self) -> None:
        own = {"m": self.machine.id}
        (
            self.settlements,
            self.legs,
            self.tries,
            self.lines,
            self.totals,
        ) = self.reader.rows(READ, own)

    def a_settlement(self, pick: int) -> str:
        if not self.settlements:
            return "none"
        return str(self.settlements[pick % len(self.settlements)]["id"])

    def a_leg(self, pick: int) -> str:
        return str(self.legs[pick % len(self.legs)]["id"]) if self.legs else "none"


def skip_the_disk(patch: pytest.MonkeyPatch) -> None:
    """SQLite waits for the disk at every commit, and nobody pulls the plug here."""
    connect = db.connect

    @asynccontextmanager
    async def quick() -> AsyncIterator[Connection]:
        async with connect() as conn:
            await conn.conn.execute(text("PRAGMA satoshimachine.synchronous = OFF"))
            yield conn

    if db.type == SQLITE:
        patch.setattr(db, "connect", quick)
