"""Rows that a test wrote or moved by hand, booked as those of an older database are."""

from __future__ import annotations

from satmachineadmin.base.database import db, execute, transaction
from satmachineadmin.ledger.before_crud import write_before


async def rebook(machine_id: str) -> None:
    """The machine's journal is written anew from what stands in its rows."""
    entries = "SELECT id FROM satoshimachine.journal WHERE machine_id = :machine"
    async with transaction() as conn:
        for table, column in (("journal_lines", "journal_id"), ("journal", "id")):
            await execute(
                conn,
                f"DELETE FROM satoshimachine.{table} WHERE {column} IN ({entries})",
                {"machine": machine_id},
            )
    async with db.connect() as conn:
        await write_before(conn)
