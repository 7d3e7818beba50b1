"""One connection to SQLite that stays open: what that must not change."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lnbits.settings import settings
from sqlalchemy import event

from satmachineadmin.base import database
from satmachineadmin.base.database import OurDatabase

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(database.db.type != "SQLITE", reason="PostgreSQL has a pool"),
]

ALL = "SELECT n FROM satoshimachine.t ORDER BY n"


@pytest_asyncio.fixture
async def kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OurDatabase]:
    monkeypatch.setattr(settings, "lnbits_data_folder", str(tmp_path))
    made = OurDatabase("ext_satoshimachine")
    await made.execute("CREATE TABLE satoshimachine.t (n INT)")
    yield made
    await made.engine.dispose()


async def numbers(kept: OurDatabase) -> list[int]:
    found: Any = await kept.fetchall(ALL)
    return [row["n"] for row in found]


async def test_many_uses_open_one_connection(kept: OurDatabase) -> None:
    opened: list[str] = []
    event.listen(kept.engine.sync_engine, "connect", lambda *_: opened.append(""))
    before = set(threading.enumerate())
    for number in range(5):
        await kept.execute("INSERT INTO satoshimachine.t VALUES (:n)", {"n": number})
    assert await numbers(kept) == [0, 1, 2, 3, 4]
    assert opened == []
    assert set(threading.enumerate()) <= before


async def test_what_was_not_committed_is_gone_at_the_next_use(
    kept: OurDatabase,
) -> None:
    async with kept.connect() as conn:
        await database.execute(conn, "INSERT INTO satoshimachine.t VALUES (1)")
        assert len(await database.fetch_all(conn, ALL)) == 1
    assert await numbers(kept) == []
    with pytest.raises(ValueError, match="in the middle"):
        async with kept.connect() as conn:
            await database.execute(conn, "INSERT INTO satoshimachine.t VALUES (2)")
            raise ValueError("in the middle")
    assert await numbers(kept) == []


async def test_a_backup_that_is_put_in_its_place_is_read(
    kept: OurDatabase, tmp_path: Path
) -> None:
    await kept.execute("INSERT INTO satoshimachine.t VALUES (1)")
    shutil.copyfile(kept.path, tmp_path / "backup")
    await kept.execute("INSERT INTO satoshimachine.t VALUES (2)")
    (tmp_path / "backup").rename(kept.path)
    assert await numbers(kept) == [1]
    await kept.execute("INSERT INTO satoshimachine.t VALUES (3)")
    assert await numbers(OurDatabase("ext_satoshimachine")) == [1, 3]


async def test_a_deleted_file_is_made_anew(kept: OurDatabase) -> None:
    Path(kept.path).unlink()
    await kept.execute("CREATE TABLE satoshimachine.t (n INT)")
    assert await numbers(OurDatabase("ext_satoshimachine")) == []


def test_a_process_ends_that_has_it_open(tmp_path: Path) -> None:
    """LNbits tells no extension that it ends; a thread that waits would keep it."""
    script = (
        "import asyncio, sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from satmachineadmin.base.database import db\n"
        "print(asyncio.run(db.fetchone('SELECT 1 AS one')))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"LNBITS_DATA_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1" in told.stdout, told.stderr
