"""What people call the machines and LPs whose ids a list shows."""

from __future__ import annotations

from collections.abc import Iterable

from ..base.database import db, fetch_all, in_lists

S = "satoshimachine"


async def machines_named(ids: Iterable[str | None]) -> dict[str, str]:
    """The name of each machine, or the beginning of its key."""
    name = "COALESCE(NULLIF(name, ''), SUBSTR(machine_npub, 1, 12)) AS name"
    return await _named(
        f"SELECT id, {name} FROM {S}.dca_machines WHERE id IN",  # noqa: S608
        ids,
    )


async def clients_named(ids: Iterable[str | None]) -> dict[str, str]:
    """What the operator calls each LP."""
    return await _named(
        f"SELECT id, username AS name FROM {S}.dca_clients WHERE id IN",  # noqa: S608
        ids,
    )


async def _named(select: str, ids: Iterable[str | None]) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = sorted({one for one in ids if one})
    if not wanted:
        return found
    async with db.connect() as conn:
        for listed, params in in_lists(wanted):
            for row in await fetch_all(conn, f"{select} {listed}", params):
                found[row["id"]] = row["name"] or ""
    return found
