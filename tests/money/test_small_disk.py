"""A disk that is really full: a small file system, filled to its last byte.

While the test runs LNbits' databases lie on a file system of a few megabytes: on
SQLite the whole data folder, on PostgreSQL the tables of payments, in a tablespace
(its log stays on the large disk, or the server would stop, as it should). Making a
file system takes root; whoever is not root sees this file skipped, and the simulated
full disk of `test_resource_faults.py` passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from lnbits.core.db import db as core_db
from lnbits.settings import settings
from loguru import logger
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from world import MakeWorld

from satmachineadmin import distribution
from satmachineadmin.base import lease
from satmachineadmin.base.database import db

import environment

SIZE_MIB = 64
LPS = 40
TABLES = (
    (core_db, "apipayments"),
    (db, "satoshimachine.dca_payments"),
    (db, "satoshimachine.dca_payouts"),
    (db, "satoshimachine.dca_payout_legs"),
)


@dataclass
class SmallDisk:
    folder: Path

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Writes until nothing more fits: block by block, so that not one is left."""
        with self.ballast.open("ab", buffering=0) as ballast:
            for size in (2**20, 4096, 1):
                try:
                    while True:
                        ballast.write(b"\0" * size)
                except OSError:
                    continue

    def make_room(self) -> None:
        self.ballast.unlink(missing_ok=True)


def mount(folder: Path, taken_bytes: int = 0) -> None:
    """A file system with `SIZE_MIB` of room beside what will be put there."""
    size = f"size={SIZE_MIB + -(-taken_bytes // 2**20)}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be made here: {done.stderr.strip()}")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607


@asynccontextmanager
async def data_on_small_disk(tmp_path: Path) -> AsyncIterator[SmallDisk]:
    """SQLite: the files move while nobody uses them, and are opened anew."""
    data = Path(settings.lnbits_data_folder).resolve()
    aside = tmp_path / "aside"
    async with core_db.lock, db.lock:
        shutil.copytree(data, aside)
        mount(data, sum(file.stat().st_size for file in aside.rglob("*")))
        shutil.copytree(aside, data, dirs_exist_ok=True)
        await core_db.engine.dispose()
    disk = SmallDisk(data)
    try:
        yield disk
    finally:
        disk.make_room()
        async with core_db.lock, db.lock:
            shutil.rmtree(aside)
            shutil.copytree(data, aside)
            unmount(data)
            shutil.copytree(aside, data, dirs_exist_ok=True)
            await core_db.engine.dispose()


async def move_tables(tablespace: str) -> None:
    for database, table in TABLES:
        async with database.engine.connect() as conn:
            await conn.execute(text(f"ALTER TABLE {table} SET TABLESPACE {tablespace}"))
            await conn.commit()


@asynccontextmanager
async def tables_on_small_disk(tmp_path: Path) -> AsyncIterator[SmallDisk]:
    assert environment.POSTGRES
    folder = environment.FOLDER / "small"
    folder.mkdir()
    mount(folder)
    owner = (environment.FOLDER / "pg").stat()
    space = folder / "tables"
    space.mkdir()
    os.chown(space, owner.st_uid, owner.st_gid)
    environment.POSTGRES.psql(f"CREATE TABLESPACE small LOCATION '{space}'")
    await move_tables("small")
    disk = SmallDisk(folder)
    try:
        yield disk
    finally:
        disk.make_room()
        await move_tables("pg_default")
        environment.POSTGRES.psql("DROP TABLESPACE small")
        unmount(folder)


async def test_a_disk_that_is_really_full_stops_paying_and_then_it_goes_on(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    tmp_path: Path,
    database: str,
) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a small file system takes root")
    world = await make_world()
    # enough legs, payouts and payments that they need new pages
    for _ in range(LPS):
        await world.add_lp("100.00")
    small_disk = data_on_small_disk if database == "sqlite" else tables_on_small_disk
    # a pass logs what it could not do, and goes on with the next wallet
    refused: list[str] = []
    listening = logger.add(lambda said: refused.append(str(said)), level="WARNING")
    async with small_disk(tmp_path) as disk:
        hashes = [await world.cash_out() for _ in range(3)]
        for payment_hash in hashes:
            await world.landed(payment_hash)
        disk.fill()
        for _ in range(3):
            try:
                await engine_paused.run_pass()
            except (DBAPIError, OSError) as exc:
                refused.append(str(exc))
        logger.remove(listening)
        paid_while_full = sum([await lp.balance_sats() for lp in world.lps])
        disk.make_room()
        await lease.acquire_or_renew(distribution.INSTANCE_ID)
        await engine_paused.run_until_idle()
        for _ in range(3):
            await world.run_due()
        await world.assert_ledger()
    full = ("database or disk is full", "No space left on device", "DiskFullError")
    assert any(word in said for said in refused for word in full), refused
    assert paid_while_full < 300_000
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    assert sum([await lp.balance_sats() for lp in world.lps]) == 300_000
