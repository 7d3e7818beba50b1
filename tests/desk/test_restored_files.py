"""Real servers, real backups: one of the two databases is put back, older.

SQLite: the file beside the newer one. PostgreSQL: the schema, as `pg_dump` kept it. A
server sells, is stopped, finds what an administrator has put back, and is started:
nobody is paid twice, and a person presses the one button that there is for it.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing, suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from bean_check import assert_accepted
from burst import (
    AT_ONCE,
    Burst,
    assert_everybody_was_paid_once,
    opened,
    parties,
    settled_hashes,
    stamped_payments,
    until_settled,
)
from examples import IS_THOROUGH
from outside_view import Books

from satmachineadmin.books.journal import beancount_account

import environment
from conftest import wait_for
from dev.accounts import answer
from dev.demo import DOMAIN, Demo
from dev.prices import serve_prices
from dev.server import Server, start

pytestmark = [pytest.mark.server, pytest.mark.timeout(900), pytest.mark.longest]

WHY = {"reason": "the disk broke, and this is the backup"}
# what a backup of one of the two databases is called: a file, or a schema
OURS, LNBITS = "ext_satoshimachine", "database"
SCHEMAS = {OURS: "satoshimachine", LNBITS: "public"}
PAID_OUT = (
    "SELECT COUNT(*) AS n FROM apipayments WHERE tag = 'satmachineadmin' "
    "AND amount < 0 AND status <> 'failed'"
)


class Backups:
    """Of each of the two databases, as they were when the backup was made."""

    def __init__(self, books: Books, folder: Path) -> None:
        self.books = books
        self.folder = folder
        self.dumps: dict[str, str] = {}

    def _file(self, name: str) -> Path:
        return self.books.folder / "data" / f"{name}.sqlite3"

    def make(self) -> None:
        """While the server runs, as `sqlite3 .backup` and `pg_dump` do it."""
        for name, schema in SCHEMAS.items():
            if self.books.database_url:
                assert self.books.postgres
                dump = self.books.postgres.dump(self.books.database, schema)
                self.dumps[name] = dump
                continue
            with (
                closing(sqlite3.connect(self._file(name), timeout=30)) as source,
                closing(sqlite3.connect(self.folder / name)) as target,
            ):
                source.backup(target)

    def put_back(self, name: str) -> None:
        """While the server is stopped."""
        if self.books.database_url:
            assert self.books.postgres
            self.books.postgres.psql(self.dumps[name], self.books.database)
            return
        for rest in ("-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self._file(name)}{rest}").unlink()
        shutil.copyfile(self.folder / name, self._file(name))


class Shop:
    """The demo on a server that is stopped and started."""

    def __init__(self, server: Server, demo: Demo) -> None:
        self.server = server
        self.demo = demo
        self.books = Books(server)

    async def restart_with(self, ours: Backups, lnbits: Backups) -> None:
        await self.server.stop()
        ours.put_back(OURS)
        lnbits.put_back(LNBITS)
        self.books.end_lease()
        self.server = await self.server.again().ready()

    def holdings(self) -> dict[str, int]:
        """What everybody holds by LNbits' books, and how often it paid for us."""
        wallets = {**parties(self.demo)}
        wallets |= {m.name: m.wallet.id for m in self.demo.machines.values()}
        found = {name: self.books.balance_sats(w) for name, w in wallets.items()}
        return found | {"payments": self.books.number(PAID_OUT)}

    async def machines(self) -> dict[str, dict[str, Any]]:
        page = answer(await self.demo.operator.api.get("/machines"))
        return {row["id"]: row for row in page["data"]}

    async def until_stopped(self, words: str) -> list[str]:
        """Machines whose payouts are stopped for this, once some are."""

        async def stopped() -> list[str]:
            rows = (await self.machines()).values()
            return [
                row["id"] for row in rows if words in str(row["payouts_stopped_reason"])
            ]

        return list(await wait_for(stopped, 90, interval_seconds=0.2))

    async def until_idle(self) -> None:
        """Passes of the worker that began after everything had landed and was planned:
        if anybody were paid twice, it would be now."""

        async def planned() -> bool:
            waiting = self.books.number(
                "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements "
                "WHERE status = 'pending'"
            )
            stamped = set(stamped_payments(self.books, self.demo))
            return not waiting and stamped <= set(settled_hashes(self.books))

        await wait_for(planned, 90, interval_seconds=0.2)
        for _ in range(2):
            last = await self._last_pass()

            async def passed(last: str = last) -> bool:
                return await self._last_pass() != last

            await wait_for(passed, 60, interval_seconds=0.2)

    async def _last_pass(self) -> str:
        health = answer(await self.demo.platform.api.get("/health"))
        return str(health["engine"]["last_pass_at"])

    async def press(self, action: str, machine_ids: list[str]) -> int:
        """Until nothing is left: what an LP forwarded of sales at two machines is
        taken over when both know of theirs. Returns how many payments that were."""
        left, payments = machine_ids, 0
        for _ in range(2):
            for machine_id in left:
                path = f"/machines/{machine_id}/{action}"
                done = answer(await self.demo.operator.api.post(path, json=WHY))
                assert done["payments"] > 0, done
                payments += done["payments"]
                if not done["left"]:
                    left = [x for x in left if x != machine_id]
        assert left == []
        return payments

    async def first_in_attention(self) -> str:
        overview = answer(await self.demo.operator.api.get("/overview"))
        return str(overview["needs_attention"][0]["kind"])


# So many customers had been served when a backup was made.
SALES = (1, 5, 50)
# an older backup of ours, and one of LNbits'; all six take minutes
PAIRS = list(permutations(SALES, 2)) if IS_THOROUGH else [(1, 50), (50, 5)]
# What a person must be told of: payments that only one of the two databases knows.
ONLY_IN_LNBITS = (
    "SELECT COUNT(DISTINCT payment_hash) AS n FROM apipayments "
    "WHERE tag = 'satmachineadmin' AND amount < 0 AND status = 'success' "
    "AND payment_hash NOT IN (SELECT payment_hash FROM satoshimachine.dca_payouts "
    "WHERE payment_hash IS NOT NULL)"
)
ONLY_IN_OURS = (
    "SELECT COUNT(*) AS n FROM (SELECT payment_hash FROM satoshimachine.dca_payouts "
    "WHERE status = 'paid' UNION SELECT payment_hash "
    "FROM satoshimachine.dca_settlements WHERE status <> 'voided') known "
    "WHERE payment_hash NOT IN (SELECT payment_hash FROM apipayments)"
)


async def test_any_two_backups_beside_each_other_pay_nobody_twice(
    tmp_path: Path,
) -> None:
    """Of 1, 5 and 50 sales, ours beside LNbits', older and newer."""
    chance = random.Random(11)
    server = start(
        tmp_path / "lnbits",
        database_url=environment.new_database(),
        domain=DOMAIN,
        env=AT_ONCE,
    )
    demo = None
    try:
        await server.ready()
        async with serve_prices(random.Random(7)) as prices:
            demo = await opened(server, prices)
            shop = Shop(server, demo)
            made: dict[int, tuple[Backups, dict[str, int]]] = {}
            async with Burst(demo, prices, chance) as burst:
                for sales in SALES:
                    burst.open.set()
                    await burst.more(sales - burst.trades, 240)
                    burst.open.clear()
                    await until_settled(shop.books, demo)
                    folder = tmp_path / str(sales)
                    folder.mkdir()
                    backups = Backups(shop.books, folder)
                    backups.make()
                    made[sales] = (backups, shop.holdings())
            balances = await assert_books_are_accepted(shop, tmp_path)
            assert any(balances.values())
            for ours, lnbits in PAIRS:
                backups, (other, held) = made[ours][0], made[lnbits]
                await drill(shop, backups, other, held, ours < lnbits)
                await assert_books_are_accepted(shop, tmp_path)
            # and customers are served as ever
            async with Burst(demo, prices, chance) as burst:
                await burst.more(2)
                burst.open.clear()
            await wait_for(lambda: everybody_is_paid(shop), 90, interval_seconds=0.3)
            shop.books.assert_ledger_balances()
            await shop.server.stop()
            server = shop.server
    finally:
        if demo:
            await demo.aclose()
            shop.server.kill9()
        server.kill9()


async def drill(
    shop: Shop,
    ours: Backups,
    lnbits: Backups,
    held: dict[str, int],
    is_older: bool,
) -> None:
    """What LNbits says that everybody holds stays so, whatever is pressed."""
    await shop.restart_with(ours, lnbits)
    differs = shop.books.number(ONLY_IN_LNBITS if is_older else ONLY_IN_OURS)
    words = "was an older backup restored" if is_older else "older backup of LNbits"
    stopped = await shop.until_stopped(words)
    await shop.until_idle()
    assert shop.holdings() == held
    assert await shop.first_in_attention() == "payouts_stopped"
    said = await shop.press("take-over" if is_older else "undo", stopped)
    assert said == differs > 0
    if is_older:
        await until_settled(shop.books, shop.demo)
        assert_everybody_was_paid_once(shop.books, shop.demo)
    else:
        await shop.until_idle()
        assert_only_what_lnbits_knows_stands(shop)
    assert shop.holdings() == held


# What is in a machine's wallet and is nobody's sale stands in the journal after ten
# minutes: until then the books know nothing of it.
NOT_POSTED_YET = """
    SELECT COALESCE(SUM(amount - ABS(fee)), 0) / 1000 AS n FROM apipayments
    WHERE wallet_id = '{wallet}' AND status = 'success'
      AND payment_hash NOT IN (
        SELECT payment_hash FROM satoshimachine.dca_settlements
        UNION SELECT payment_hash FROM satoshimachine.dca_payouts
        WHERE payment_hash IS NOT NULL
        UNION SELECT payment_id FROM satoshimachine.journal
        WHERE payment_id IS NOT NULL)
    """


async def assert_books_are_accepted(shop: Shop, folder: Path) -> dict[str, int]:
    """bean-check takes the demo's whole journal, and its machines' wallets hold in
    it what LNbits says."""
    text = (await shop.demo.operator.api.get("/accounting.beancount")).text
    balances = {}
    for machine_id, machine in (await shop.machines()).items():
        wallet = machine["wallet_id"]
        unknown = shop.books.number(NOT_POSTED_YET.format(wallet=wallet))
        name = beancount_account("machine_wallet", machine_id, None)
        balances[name] = shop.books.balance_sats(wallet) - unknown
    assert len(balances) > 1
    assert_accepted(folder, text, balances)
    return balances


def _standing(shop: Shop) -> dict[str, str]:
    rows = shop.books.query(
        "SELECT payment_hash, status FROM satoshimachine.dca_settlements"
    )
    return {r["payment_hash"]: r["status"] for r in rows if r["status"] != "voided"}


def everybody_is_paid(shop: Shop) -> bool:
    standing = _standing(shop)
    return set(standing) == set(stamped_payments(shop.books, shop.demo)) and set(
        standing.values()
    ) == {"completed"}


def assert_only_what_lnbits_knows_stands(shop: Shop) -> None:
    assert set(_standing(shop)) == set(stamped_payments(shop.books, shop.demo))
    unknown = shop.books.query(
        "SELECT payment_hash FROM satoshimachine.dca_payouts WHERE status = 'paid' "
        "AND payment_hash NOT IN (SELECT payment_hash FROM apipayments)"
    )
    assert unknown == []
