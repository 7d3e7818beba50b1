"""How much cash is in the bays: what the ledger says, the machine's own count beside.

The ledger's figure is the one that every screen shows. The machine's newest count is
carried on with the notes that moved since, so that both speak of the same moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from lnbits.db import Connection

from ..base.database import from_db_time
from . import bays_crud


@dataclass
class Bay:
    """One bay: counts of notes. `moved_since_report` came in, or with - went out, since
    the machine counted."""

    machine_id: str
    machine: str
    fiat_code: str
    position: int
    denomination: int
    held: int
    filled: int
    low_fraction: Decimal
    capacity: int | None = None
    is_counted: bool = False
    reported: int | None = None
    reported_at: datetime | None = None
    moved_since_report: int = 0

    @property
    def count(self) -> int:
        """What must be in the bay now, at least 0."""
        return max(0, self.held)

    @property
    def expected_at_report(self) -> int:
        """What the ledger says that was in the bay when the machine counted."""
        return self.held - self.moved_since_report

    @property
    def carried_report(self) -> int | None:
        """The machine's own count, with what moved since."""
        if self.reported is None:
            return None
        return self.reported + self.moved_since_report

    @property
    def is_low(self) -> bool:
        full = self.capacity or self.filled
        return full > 0 and self.count < full * self.low_fraction

    @property
    def row(self) -> dict[str, Any]:
        """As a row of what needs attention."""
        return {
            "subject_id": self.machine_id,
            "machine_id": self.machine_id,
            "machine": self.machine,
            "since": None,
            "position": self.position,
            "denomination": self.denomination,
            "filled": self.filled,
            "count": self.count,
        }


async def bays(
    conn: Connection,
    own_machines: str,
    params: Mapping[str, Any],
    *,
    is_active: bool = True,
) -> list[Bay]:
    """Bays with notes in them; of machines that are switched on, unless all are asked
    for. `own_machines` is SQL for their ids, with `params`. Two statements.
    """
    found = await bays_crud.bay_rows(conn, own_machines, params, is_active=is_active)
    all_bays = [_bay(row) for row in found]
    if any(bay.reported is not None for bay in all_bays):
        moved = await bays_crud.moved_since_reports(conn, own_machines, params)
        for bay in all_bays:
            bay.moved_since_report = moved.get((bay.machine_id, bay.position), 0)
    return all_bays


async def low_bays(
    conn: Connection, own_machines: str, params: Mapping[str, Any]
) -> list[Bay]:
    """Bays that hold less than the operator's share of their capacity, or of what was
    filled in."""
    return [bay for bay in await bays(conn, own_machines, params) if bay.is_low]


def capacities(text: str | None) -> dict[int, int]:
    """What fits into each bay, by position."""
    said = json.loads(text) if text else {}
    return {int(position): int(notes) for position, notes in said.items()}


def _bay(row: Mapping[str, Any]) -> Bay:
    reported = row["state_count"]
    if reported is not None and row["state_denomination"] != row["denomination"]:
        # 0 of nothing is "no notes in this bay"; other notes are no count of these
        reported = 0 if row["state_denomination"] == 0 else None
    position = int(row["position"])
    return Bay(
        machine_id=row["machine_id"],
        machine=row["machine"],
        fiat_code=row["fiat_code"],
        position=position,
        denomination=int(row["denomination"]),
        held=int(row["held"]),
        filled=int(row["count"] if row["filled"] is None else row["filled"]),
        low_fraction=Decimal(str(row["low_cash_fraction"])),
        capacity=capacities(row["bay_capacities"]).get(position),
        is_counted=bool(row["is_counted"] or row["has_reported"]),
        reported=None if reported is None else int(reported),
        reported_at=from_db_time(row["state_at"]),
    )
