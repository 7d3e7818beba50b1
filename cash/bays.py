"""How much cash is in the bays: what was filled in, less what was paid out since.

The operator's count is what was in a bay when they saved it; the machine's own count,
if it reports one, is newer or older than that. Either is carried on with the notes
that settlements say they dispensed since. Cash-in notes go elsewhere and count for
nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from lnbits.db import Connection

from ..base.database import fetch_all, from_db_time

S = "satoshimachine"
# When the newest count of a bay was taken: the operator's, or the newest of both.
FILLED = "updated_at"
COUNTED = (
    "CASE WHEN state_count IS NOT NULL AND state_at >= updated_at THEN state_at "
    "ELSE updated_at END"
)


@dataclass
class Bay:
    """One bay: counts of notes. `dispensed` is since `counted_at`."""

    machine_id: str
    machine: str
    fiat_code: str
    position: int
    denomination: int
    filled: int
    counted: int
    counted_at: datetime | None
    low_fraction: Decimal
    reported: int | None = None
    reported_at: datetime | None = None
    dispensed: int = 0
    dispensed_until_report: int = 0
    is_exact: bool = True

    @property
    def count(self) -> int:
        """What must be in the bay now, at least 0."""
        return max(0, self.counted - self.dispensed)

    @property
    def is_report_newer(self) -> bool:
        """Whether the machine has counted since the operator filled in."""
        if self.reported is None or self.reported_at is None:
            return False
        return self.counted_at is None or self.reported_at >= self.counted_at

    @property
    def is_low(self) -> bool:
        return self.filled > 0 and self.count < self.filled * self.low_fraction

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
    is_from_fill: bool = False,
) -> list[Bay]:
    """Bays of active machines, carried on from the newest count, or with
    `is_from_fill` from the operator's, whatever the machine reported since.

    `own_machines` is SQL for their ids, with `params`. Two statements.
    """
    found = await fetch_all(
        conn,
        f"""
        SELECT k.*, COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine,
            m.low_cash_fraction, m.fiat_code
        FROM {S}.cassette_configs k JOIN {S}.dca_machines m ON m.id = k.machine_id
        WHERE k.machine_id IN {own_machines} AND m.is_active = true
        ORDER BY k.machine_id, k.position
        """,  # noqa: S608
        params,
    )
    all_bays = [_bay(row, is_from_fill) for row in found]
    if all_bays:
        since = FILLED if is_from_fill else COUNTED
        await _count_dispensed(conn, all_bays, own_machines, params, since)
    return all_bays


async def low_bays(
    conn: Connection, own_machines: str, params: Mapping[str, Any]
) -> list[Bay]:
    """Bays that hold less than the operator's share of what was filled in."""
    return [bay for bay in await bays(conn, own_machines, params) if bay.is_low]


def _bay(row: Mapping[str, Any], is_from_fill: bool) -> Bay:
    filled_at = from_db_time(row["updated_at"])
    reported_at = from_db_time(row["state_at"])
    bay = Bay(
        machine_id=row["machine_id"],
        machine=row["machine"],
        fiat_code=row["fiat_code"],
        position=int(row["position"]),
        denomination=int(row["denomination"]),
        filled=int(row["count"]),
        counted=int(row["count"]),
        counted_at=filled_at,
        low_fraction=Decimal(str(row["low_cash_fraction"])),
        reported=None if row["state_count"] is None else int(row["state_count"]),
        reported_at=reported_at,
    )
    is_newer = reported_at and (filled_at is None or reported_at >= filled_at)
    if bay.reported is not None and is_newer and not is_from_fill:
        bay.counted, bay.counted_at = bay.reported, reported_at
    return bay


async def _count_dispensed(
    conn: Connection,
    all_bays: Sequence[Bay],
    own_machines: str,
    params: Mapping[str, Any],
    since: str,
) -> None:
    found = await fetch_all(
        conn,
        f"""
        SELECT s.machine_id, s.transaction_time, s.cassettes_json, s.dispense_state,
            s.status
        FROM {S}.dca_settlements s
        JOIN (SELECT machine_id, MIN({since}) AS since
              FROM {S}.cassette_configs WHERE machine_id IN {own_machines}
              GROUP BY machine_id) k ON k.machine_id = s.machine_id
        WHERE s.tx_type = 'cash_out' AND s.transaction_time >= k.since
          AND s.status NOT IN ('quarantined', 'voided')
        """,  # noqa: S608
        params,
    )
    by_machine: dict[str, list[Bay]] = {}
    for bay in all_bays:
        by_machine.setdefault(bay.machine_id, []).append(bay)
    for row in found:
        notes = _notes(row["cassettes_json"])
        is_exact = bool(notes) and row["dispense_state"] in (None, "confirmed")
        at = from_db_time(row["transaction_time"])
        for bay in by_machine.get(row["machine_id"], []):
            if bay.counted_at is None or at is None or at < bay.counted_at:
                continue
            if is_exact:
                count = notes.get(str(bay.position), 0)
                bay.dispensed += count
                if bay.reported_at and at <= bay.reported_at:
                    bay.dispensed_until_report += count
            else:
                # how many notes came out of which bay, nobody said
                bay.is_exact = False


def _notes(text: str | None) -> dict[str, int]:
    """Notes by bay as a machine says them; what makes no sense counts for nothing."""
    try:
        said = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    return {k: v for k, v in said.items() if type(v) is int and v >= 0}
