"""Everything of this extension is deleted: not while anything is open, not before it
was downloaded as it is, all of it or nothing, and a fresh set-up begins from nothing.

On databases of their own, beside the booted server's: whatever stands in that one is of
other tests too. A running server that is emptied is in test_install.py.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from api_world import add_machine
from examples import IS_THOROUGH
from fixtures import databases
from fixtures.databases import Dump, KilledError, dump, migrate, opened
from fixtures.older_databases import build, database_at
from lnbits.db import Connection, Database
from sqlalchemy import event, text

from satmachineadmin.base import database, tables
from satmachineadmin.base.cursors import BEGAN
from satmachineadmin.base.refusals import BadInputError, ConflictError
from satmachineadmin.desk import erasing
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

WHY = "the machines are sold"
SUPER = "5" * 32
# what makes a database of the past one in which all is over
OVER = (
    "UPDATE satoshimachine.dca_settlements SET status = 'completed'",
    "UPDATE satoshimachine.dca_payments SET status = 'completed', " "leg_type = 'dca'",
    "UPDATE satoshimachine.dca_deposits SET status = 'reversed'",
    "DELETE FROM satoshimachine.dca_client_totals",
    "DELETE FROM satoshimachine.cash_balances",
    "DELETE FROM satoshimachine.cash_visits",
)
# what is open again, and a word of the sentence that says so
OPEN = {
    "customers are owed": "UPDATE satoshimachine.dca_payments SET status = 'pending', "
    "leg_type = 'refund' WHERE id = (SELECT MIN(id) FROM satoshimachine.dca_payments)",
    "sat, are unpaid": "UPDATE satoshimachine.dca_payments SET status = 'failed'",
    "neither completed nor voided": "UPDATE satoshimachine.dca_settlements "
    "SET status = 'quarantined'",
    "LPs have a balance": "UPDATE satoshimachine.dca_deposits "
    "SET status = 'confirmed'",
    "are not confirmed": "UPDATE satoshimachine.dca_deposits SET status = 'pending'",
    "cash is in 1 places": "INSERT INTO satoshimachine.cash_balances ("
    "operator_user_id, machine_id, place, denomination, currency, notes, cents) "
    "VALUES ('o', 'm', 'bay:1', 20, 'GTQ', 1, 2000)",
    "visits to machines": "INSERT INTO satoshimachine.cash_visits (id, "
    "operator_user_id, machine_id, status, opened_at, opened_by, entries_json) "
    "VALUES ('v', 'o', 'm', 'open', {now}, 'o', '{{}}')",
}


@dataclass
class Books:
    """A database of the past, with everything over."""

    database: Database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.database.connect() as conn:
            try:
                yield conn
            except BaseException:
                await conn.conn.rollback()
                raise
            await conn.conn.commit()

    async def run(self, *statements: str) -> None:
        async with self.transaction() as conn:
            for statement in statements:
                now = conn.timestamp_now
                await conn.conn.execute(text(statement.format(now=now)))

    async def dump(self) -> Dump:
        async with self.database.connect() as conn:
            return await dump(conn)

    async def standing(self) -> erasing.Standing:
        async with self.database.connect() as conn:
            return await erasing.standing(conn)

    async def download(self) -> None:
        async with self.transaction() as conn:
            await erasing.note_export(conn, SUPER, utc_now())

    async def erase(self) -> None:
        async with self.transaction() as conn:
            await erasing.erase_in(conn, SUPER, WHY)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def books(
    tmp_path_factory: pytest.TempPathFactory, app: Any
) -> AsyncIterator[Books]:
    """One for all: what a test opens, it closes again."""
    folder = tmp_path_factory.mktemp("erasing")
    with pytest.MonkeyPatch.context() as patch:
        async with databases.empty_database(folder, patch) as temporary:
            patch.undo()  # the booted server goes on with its own
            async with opened(temporary) as conn:
                await build(conn, database_at(9))
                await migrate(conn, recorded=9)
            found = Books(temporary)
            await found.run(*OVER)
            yield found


async def test_what_is_open_is_said_and_nothing_is_deleted(books: Books) -> None:
    assert (await books.standing()).open == []
    await books.download()
    for words, statement in OPEN.items():
        await books.run(statement)
        as_it_is = await books.dump()
        standing = await books.standing()
        assert [words in said for said in standing.open] == [True], words
        with pytest.raises(ConflictError) as refused:
            await books.erase()
        assert str(refused.value) == standing.open[0]
        assert await books.dump() == as_it_is
        await books.run(*OVER)
    assert (await books.standing()).open == []
    with pytest.raises(BadInputError, match="type DELETE EVERYTHING"):
        await erasing.erase(SUPER, "delete everything", WHY)


async def test_everything_is_downloaded_first_and_as_it_is(books: Books) -> None:
    await books.run("DELETE FROM satoshimachine.dca_audit")
    with pytest.raises(ConflictError, match="Download everything first"):
        await books.erase()
    began = utc_now() - timedelta(hours=1)
    await books.run("UPDATE satoshimachine.dca_settlements SET created_at = {now}")
    async with books.transaction() as conn:  # a sale landed while it was written
        await erasing.note_export(conn, SUPER, began)
    with pytest.raises(ConflictError, match="Download everything first"):
        await books.erase()
    await books.download()
    assert (await books.standing()).is_exported
    await books.run(
        # a clock of whole seconds would hide which of the two was later
        "UPDATE satoshimachine.dca_settlements SET created_at = (SELECT "
        "MAX(created_at) FROM satoshimachine.dca_audit) WHERE id = 'set-out'",
        "UPDATE satoshimachine.dca_audit SET created_at = (SELECT MIN(created_at) "
        "FROM satoshimachine.dca_machines)",
    )
    before = await books.dump()
    with pytest.raises(ConflictError, match="Something happened since"):
        await books.erase()
    assert await books.dump() == before


async def test_killed_at_any_statement_everything_is_there_or_nothing_is(
    books: Books,
) -> None:
    """And what is there in the end is what a first installation has, and one entry."""
    await books.download()
    before = await books.dump()
    path = Path(str(getattr(books.database, "path", "")))
    assert not path.is_file() or b"w-olga" in path.read_bytes()
    left = 0

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError

    engine = books.database.engine.sync_engine
    kills = 0
    while True:
        left = kills
        event.listen(engine, "before_cursor_execute", count)
        try:
            await books.erase()
        except KilledError:
            # one transaction: what ends at one statement ends at its neighbour
            kills += 1 if IS_THOROUGH or kills < 3 else 12
            continue
        finally:
            event.remove(engine, "before_cursor_execute", count)
            after = await books.dump()
            if left < 0:
                assert after == before, kills
        break
    assert kills > 8
    (entry,) = after.pop("dca_audit")
    assert (entry["action"], entry["reason"]) == ("extension.erase", WHY)
    assert entry["actor"] == SUPER
    after["dca_cursors"] = [x for x in after["dca_cursors"] if x["id"] != BEGAN]
    # test_migrations.py holds the same against a first installation
    first = Counter(table for table, *_ in tables.FIRST_ROWS)
    assert {name: len(rows) for name, rows in after.items() if rows} == first
    # what was deleted is not only forgotten: SQLite would keep its bytes
    assert not path.is_file() or b"w-olga" not in path.read_bytes()


# Names of columns with what opens something; and those that only sound so.
OPENS = re.compile(r"secret|nsec|password|adminkey|inkey|(^|_)code$")
NO_SECRETS = {"fiat_code", "wait_code", "quarantine_code", "discount_code"}


async def test_everything_is_in_the_file_but_what_opens_something(
    super_session: UserSession, make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator = await make_user("erasing")
    machine = await add_machine(operator, make_wallet, name="=cmd()")
    pairing = await operator.api.post(f"/machines/{machine['id']}/pairing")
    code = pairing.json()["pairing_code"]
    answer = await super_session.api.get("/super/everything.zip")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    async with database.db.connect() as conn:
        names = await tables.table_names(conn)
    assert set(files) == {f"{name}.csv" for name in names}
    rows = list(csv.DictReader(io.StringIO(files["dca_machines.csv"])))
    (row,) = [row for row in rows if row["id"] == machine["id"]]
    assert row["name"] == "'=cmd()" and row["is_active"] == "true"
    assert row["created_at"].endswith("+00:00")
    everything = "".join(files.values())
    assert code not in everything
    assert "nsec_encrypted" not in everything
    told = {
        (name.removesuffix(".csv"), column)
        for name, text in files.items()
        for column in text.splitlines()[0].split(",")
        if OPENS.search(column) and column not in NO_SECRETS
    }
    # what a customer types to pay less is told to everybody whom it is for; the other
    # two are why a machine was refused
    assert told <= {
        ("dca_discounts", "code"),
        ("dca_line_events", "code"),
        ("dca_machine_requests", "code"),
    }
    shown = (await super_session.api.get("/super/everything")).json()
    assert shown["exported_at"]
    refused = await super_session.api.post(
        "/super/everything/delete", json={"confirmation": "yes", "reason": "x"}
    )
    assert refused.status_code == 400
