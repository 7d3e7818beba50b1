"""Lists in statements: right, and few enough that a server may keep them compiled."""

from __future__ import annotations

from typing import Any

import pytest
from world import MakeWorld

from satmachineadmin.base.database import CHUNK, db, fetch_all, in_list


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 8, 9, 300])
async def test_a_list_finds_its_own_rows_and_no_others(
    make_world: MakeWorld, size: int
) -> None:
    world = await make_world()
    params: dict[str, Any] = {}
    ids = [f"nobody {n}" for n in range(max(0, size - 1))]
    listed = in_list("m", [world.machine.id, *ids][:size], params)
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT id FROM satoshimachine.dca_machines WHERE id IN {listed}",
            params,
        )
    assert [row["id"] for row in found] == [world.machine.id][:size]


def test_a_list_that_grows_is_not_another_statement_each_time() -> None:
    """SQLAlchemy keeps what it has compiled; a day of sales cost 40 MB that way."""
    texts = {in_list("h", ["x"] * size, {}) for size in range(CHUNK + 1)}
    assert len(texts) == 10
