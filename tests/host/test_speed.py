"""The change of LNbits' balances: the same sums, all of it or none, and put back.

One LNbits for all; whatever a test leaves, the next one begins with LNbits as it came.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from lnbits.core.crud.payments import create_payment
from lnbits.core.crud.wallets import (
    delete_wallet,
    get_total_balance,
    get_wallet,
    get_wallets,
)
from lnbits.core.db import db as core_db
from lnbits.core.models import CreatePayment, PaymentState
from lnbits.settings import settings
from sqlalchemy.exc import DBAPIError
from world import edit_core

from satmachineadmin.base.database import db, execute, fetch_all, transaction
from satmachineadmin.base.refusals import ConflictError
from satmachineadmin.host import balances_view as view
from satmachineadmin.host import speed
from satmachineadmin.host.database import is_sqlite

from conftest import MakeUser, MakeWallet, quick_balances
from dev.accounts import UserSession

pytestmark = pytest.mark.xdist_group("host_speed")

URL = "/satmachineadmin/api/v1/super/host"
SHAPE = {"offered", "applied", "reason", "payments", "balance_ms", "changes"}
SUPER = "0" * 32
EXPECTED_MSAT = {
    "settled": 7_000_000 - 1_000_000 - 3_000 - 500_000 - 2_000,
    "without": 0,
    "pending_in": 0,
    "failed": 0,
    "shared": 41_000,
}


async def _row(wallet_id: str, msat: int, status: str, fee: int = 0) -> None:
    name = uuid4().hex + uuid4().hex
    await create_payment(
        checking_id=f"internal_{name}",
        data=CreatePayment(
            wallet_id=wallet_id,
            bolt11="",
            payment_hash=name,
            amount_msat=msat,
            fee=fee,
            memo="x",
        ),
        status=PaymentState(status),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wallets(make_user: MakeUser, make_wallet: MakeWallet) -> dict[str, str]:
    """Each kind of wallet that a balance could differ for, by what it is."""
    user = await make_user("speed")
    ids = {}
    for name in (*EXPECTED_MSAT, "deleted"):
        ids[name] = (await make_wallet(user, name)).id
    settled = ids["settled"]
    await _row(settled, 7_000_000, "success")
    await _row(settled, -1_000_000, "success", fee=-3_000)
    await _row(settled, -500_000, "pending", fee=2_000)
    await _row(settled, -400_000, "failed", fee=-1_000)
    await _row(ids["pending_in"], 9_000, "pending")
    await _row(ids["failed"], 9_000, "failed")
    await _row(ids["deleted"], 5_000, "success")
    await delete_wallet(user_id=user.user_id, wallet_id=ids["deleted"])
    # somebody else's wallet shows this one's sats and has no rows of its own
    await _row(ids["shared"], 41_000, "success")
    guest = await make_wallet(await make_user("guest"), "a share")
    await edit_core(
        "UPDATE wallets SET wallet_type = 'lightning-shared', shared_wallet_id = :of "
        "WHERE id = :id",
        of=ids["shared"],
        id=guest.id,
    )
    return {**ids, "share": guest.id, "user": user.user_id}


async def _schema() -> set[tuple[Any, ...]]:
    """Every object of LNbits' schema with its text."""
    async with core_db.connect() as conn:
        if is_sqlite():
            rows = await fetch_all(conn, "SELECT type, name, sql FROM sqlite_master")
        else:
            rows = await fetch_all(
                conn,
                "SELECT 'index' AS type, indexname AS name, indexdef AS sql "
                "FROM pg_indexes WHERE schemaname = 'public' UNION ALL "
                "SELECT 'view', viewname, definition FROM pg_views "
                "WHERE schemaname = 'public'",
            )
    return {tuple(row.values()) for row in rows}


async def _seen(wallets: Mapping[str, str]) -> dict[str, Any]:
    """What LNbits' own readers of the view say."""
    found: dict[str, Any] = {"total": await get_total_balance()}
    for name, wallet_id in wallets.items():
        if name != "user":
            wallet = await get_wallet(wallet_id)
            found[name] = wallet.balance_msat if wallet else None
    listed = await get_wallets(wallets["user"])
    found["list"] = sorted((w.id, w.balance_msat) for w in listed)
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def stock(app: Any) -> AsyncIterator[None]:
    """The other tests' server has quick balances: here LNbits' own, to the letter."""
    if not is_sqlite():
        yield
        return
    async with core_db.connect() as conn:
        await speed._change(conn, speed.STOCK, view.STOCK_VIEW)
        await conn.conn.commit()
    yield
    await quick_balances()


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def as_it_came(stock: None) -> AsyncIterator[None]:
    before = await _schema()
    yield
    await speed.put_back(SUPER)
    assert await _schema() == before


async def _actions() -> list[str]:
    async with db.connect() as conn:
        rows = await fetch_all(
            conn,
            "SELECT action FROM satoshimachine.dca_audit "
            "WHERE subject_type = 'host' ORDER BY created_at",
        )
    return [row["action"] for row in rows]


async def test_balances_stay_and_it_can_be_put_back(
    super_session: UserSession, wallets: dict[str, str]
) -> None:
    http = super_session.core
    async with transaction() as conn:  # what another test has measured here
        await execute(
            conn,
            "DELETE FROM satoshimachine.host_change WHERE name LIKE 'measured%'",
            {},
        )
    before, seen = await _schema(), await _seen(wallets)
    for name, msat in EXPECTED_MSAT.items():
        assert seen[name] == msat, name
    told = (await http.get(URL)).json()
    assert set(told) == SHAPE
    assert (told["offered"], told["applied"]) == (True, False)
    assert told["reason"] is None
    assert told["balance_ms"] is None  # a GET never measures
    assert told["payments"] > 0 and told["changes"]

    measured = (await http.post(f"{URL}/measure")).json()
    assert set(measured) == SHAPE
    assert set(measured["balance_ms"]) == {"idle", "busiest"}
    assert (await http.get(URL)).json() == measured
    assert await _schema() == before

    for _ in range(2):  # twice is once
        answer = await http.post(URL)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == SHAPE
        assert answer.json()["applied"] and answer.json()["reason"] is None
    assert await _seen(wallets) == seen
    changed = {row[1] for row in await _schema() ^ before}
    assert changed == {view.INDEX} | ({"balances"} if is_sqlite() else set())
    now = (await http.get(URL)).json()
    assert now["balance_ms"] is None  # what was measured was before the change
    stock = measured["balance_ms"]
    assert now["changes"][-1] == (
        f"Before the change a balance cost {stock['idle']} ms, the busiest wallet's "
        f"{stock['busiest']} ms."
    )
    assert (await http.post(f"{URL}/measure")).json()["balance_ms"]

    for _ in range(2):
        answer = await http.post(f"{URL}/undo")
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == SHAPE and not answer.json()["applied"]
    assert await _schema() == before
    assert await _seen(wallets) == seen
    assert (await _actions())[-2:] == ["host.apply", "host.undo"]


async def test_nobody_but_the_super_may(make_user: MakeUser) -> None:
    user = await make_user("nobody")
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/undo")):
        answer = await user.core.request(method, URL + path)
        assert answer.status_code == 403


async def test_a_difference_leaves_neither_view_nor_index(
    super_session: UserSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_sqlite():
        pytest.skip("the view stays LNbits' own on PostgreSQL")
    before = await _schema()
    wrong = view.OUR_VIEW.replace("ABS(p.fee)", "0")
    monkeypatch.setattr(view, "OUR_VIEW", wrong)
    await _row(super_session.wallets[0].id, -1_000, "success", fee=-7)
    answer = await super_session.core.post(URL)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("A balance would not have stayed")
    assert await _schema() == before


@pytest.mark.parametrize("statement", ["index", "view", "compared"])
async def test_stopped_in_the_middle_leaves_nothing(
    statement: str, monkeypatch: pytest.MonkeyPatch, wallets: dict[str, str]
) -> None:
    """However it is stopped: a handler that is cancelled, a statement that fails."""
    if not is_sqlite():
        pytest.skip("PostgreSQL's index is one statement")
    before = await _schema()
    broken = "SELECT nothing FROM nowhere"
    if statement == "index":
        monkeypatch.setattr(view, "DROP_VIEW", broken)
    elif statement == "view":
        monkeypatch.setattr(view, "OUR_VIEW", broken)
    else:
        read, calls = speed._balances, []

        async def dies(conn: Any) -> dict[str, int]:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return await read(conn)

        monkeypatch.setattr(speed, "_balances", dies)
    with pytest.raises((DBAPIError, KeyboardInterrupt)):
        await speed.apply(SUPER)
    monkeypatch.undo()
    assert await _schema() == before
    assert not (await speed.read_state()).is_applied


KILLED = """
import asyncio, os, sys
sys.path[:0] = sys.argv[1:3]
from satmachineadmin.host import speed, balances_view
read, calls = speed._balances, []
async def dies(conn):
    calls.append(1)
    if len(calls) == 2:
        os._exit(9)
    return await read(conn)
speed._balances = dies
asyncio.run(speed._change_on_sqlite(speed.OURS, balances_view.STOCK_VIEW))
"""


async def test_killed_in_the_middle(wallets: dict[str, str], tmp_path: Path) -> None:
    """The process is gone between the statements and the commit."""
    if not is_sqlite():
        pytest.skip("PostgreSQL's index is one statement")
    with sqlite3.connect(core_db.path) as source:
        with sqlite3.connect(tmp_path / "database.sqlite3") as copy:
            source.backup(copy)
    place = Path(settings.lnbits_extensions_path) / "extensions"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(place), os.getcwd()],
        env={**os.environ, "LNBITS_DATA_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 9, ended.stderr
    with sqlite3.connect(tmp_path / "database.sqlite3") as copy:
        left = set(copy.execute("SELECT type, name, sql FROM sqlite_master"))
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert left == await _schema()


async def test_an_invalid_index_is_made_anew(super_session: UserSession) -> None:
    """What a cancelled CONCURRENTLY leaves; on SQLite: an index of other columns."""
    if is_sqlite():
        await edit_core(f"CREATE INDEX {view.INDEX} ON apipayments (amount)")
    else:
        await edit_core(view.CREATE_INDEX)
        await edit_core(
            "UPDATE pg_index SET indisvalid = false "
            f"WHERE indexrelid = '{view.INDEX}'::regclass"
        )
    told = (await super_session.core.get(URL)).json()
    assert told["offered"] and not told["applied"]
    assert told["reason"].startswith("An index was left half made")
    assert (await super_session.core.post(URL)).json()["applied"]
    assert (await speed.read_state()).index == "valid"


async def _replace_view(text: str) -> None:
    async with core_db.connect() as conn:
        await execute(conn, view.DROP_VIEW)
        await conn.conn.exec_driver_sql(text)
        await conn.conn.commit()


async def test_an_unknown_view_is_refused(super_session: UserSession) -> None:
    before, http = await _schema(), super_session.core
    stock = next(row[2] for row in before if row[1] == "balances")
    if not is_sqlite():
        stock = f"CREATE VIEW balances AS {stock}"
    newer = view.STOCK_VIEW.replace("'pending')", "'pending', 'held')")
    try:
        await _replace_view(newer)
        changed = await _schema()
        told = (await http.get(URL)).json()
        assert not told["offered"] and not told["applied"]
        assert told["reason"].startswith("This LNbits is new to us")
        answer = await http.post(URL)
        assert answer.status_code == 409
        assert answer.json()["detail"] == told["reason"]
        assert told["changes"] == []  # nothing to make, nothing to put back
        assert (await http.post(f"{URL}/undo")).status_code == 200
        assert await _schema() == changed
    finally:
        await _replace_view(stock)


async def test_an_upgrade_of_lnbits_ends_it(super_session: UserSession) -> None:
    """LNbits replaced the view; the index is left, to be used anew or dropped."""
    if not is_sqlite():
        pytest.skip("the view stays LNbits' own on PostgreSQL")
    http = super_session.core
    await http.post(URL)
    newer = view.STOCK_VIEW.replace("'pending')", "'pending', 'held')")
    await _replace_view(newer)
    told = (await http.get(URL)).json()
    assert not told["offered"] and told["reason"].startswith("The change has ended")
    assert told["changes"] == [view.DROP_INDEX]
    await http.post(f"{URL}/undo")
    left = {row[1]: row[2] for row in await _schema()}
    assert view.INDEX not in left and left["balances"] == newer
    await _replace_view(view.STOCK_VIEW)

    await http.post(URL)
    await _replace_view(view.STOCK_VIEW)
    told = (await http.get(URL)).json()
    assert told["offered"] and not told["applied"]
    assert told["reason"].startswith("The change has ended: LNbits replaced its view")
    assert (await http.post(URL)).json()["applied"]


async def test_the_text_we_know_is_lnbits_own_to_the_letter() -> None:
    if is_sqlite():
        assert (await speed.read_state()).view_text.strip() == view.STOCK_VIEW


async def test_a_busy_database_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_sqlite():
        async with speed._outside() as conn:
            await fetch_all(conn, f"SELECT pg_advisory_lock({speed._LOCK})")
            with pytest.raises(ConflictError, match="being done already"):
                await speed.apply(SUPER)
        return
    other = sqlite3.connect(core_db.path)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(ConflictError, match="busy"):
            await speed._change_on_sqlite(speed.OURS, view.STOCK_VIEW)
    finally:
        other.rollback()
        other.close()
    assert not (await speed.read_state()).is_applied
