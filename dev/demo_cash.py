"""The cash of the demo: bays that are filled, and a visit with a difference on day one.

Somebody stands at the first machine, counts, finds two notes of 20 fewer than the cash
book expects, fills up and empties the box. What they found is in the machine's page, in
Cash, in the reconciliation and, as a movement, in the books.
"""

from __future__ import annotations

from typing import Any

from .accounts import UserSession, answer
from .nostr_machine import FULL_CASSETTES

MISSING_NOTES = 2
FILLED_NOTES = 50
BAY_NOTES, BOX_NOTES = 600, 1_000
IN_HAND = "20000.00"


async def first_day(operator: UserSession) -> list[str]:
    """Does what was not done by an earlier run; returns a line for each thing done."""
    if answer(await operator.api.get("/visits"))["total"]:
        return []
    by_age = {"sortby": "created_at", "direction": "asc"}
    rows = answer(await operator.api.get("/machines", params=by_age))["data"]
    for row in rows:
        await _fill(operator, row["id"])
    row = rows[0]
    hand = {"kind": "count", "amount": IN_HAND, "currency": row["fiat_code"]}
    answer(await operator.api.post("/cash/hand", json=hand))
    return [await _visit(operator, row)]


async def _fill(operator: UserSession, machine_id: str) -> None:
    """The operator says what fits and what is in the machine."""
    path = f"/machines/{machine_id}"
    fits: dict[str, Any] = {
        "bay_capacities": {str(bay): BAY_NOTES for bay in FULL_CASSETTES},
        "box_capacity": BOX_NOTES,
    }
    answer(await operator.api.put(path, json=fits))
    positions = {
        str(bay): {"denomination": denomination, "count": count}
        for bay, (denomination, count) in FULL_CASSETTES.items()
    }
    answer(await operator.api.put(f"{path}/cassettes", json={"positions": positions}))


async def _visit(operator: UserSession, machine: dict[str, Any]) -> str:
    path = f"/machines/{machine['id']}"
    bays = answer(await operator.api.get(f"{path}/cassettes"))["positions"]
    visit = answer(await operator.api.post(f"{path}/visits"))
    counts = {
        f"bay:{bay}": {str(held["denomination"]): held["count"]}
        for bay, held in bays.items()
    }
    first, [(note, count)] = next((k, v.items()) for k, v in counts.items())
    counts[first] = {note: max(0, count - MISSING_NOTES)}
    entered = {"counts": counts, "filled": {first: {note: FILLED_NOTES}}}
    answer(await operator.api.put(f"/visits/{visit['id']}", json=entered))
    closed = answer(
        await operator.api.post(
            f"/visits/{visit['id']}/close", json={"reason": "first service"}
        )
    )
    missing = sum(d["expected"] - d["counted"] for d in closed["differences"])
    return (
        f"operator visits {machine['name']}: {missing} notes of {note} are missing, "
        f"{FILLED_NOTES} filled in"
    )
