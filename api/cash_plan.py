"""A round of refills over HTTP: what to bring and to fetch, in the order of need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from ..base.acting import Acting, acting
from ..base.database import db
from ..base.refusals import BadInputError, NotFoundError
from ..books.cash import CashNow
from ..books.reports import own_machines_sql, whose
from ..calculations import cents_text
from ..cash import bays as cash_bays
from ..cash import ledger
from ..cash.pace import bay_forecasts, box_forecasts
from ..parties import machines_crud
from .cash import cash_of, counting
from .route import Caller, new_router, refusals

router = new_router()


class PlanBay(BaseModel):
    machine_id: str
    machine: str
    place: str
    denomination: int
    currency: str
    holds: int
    bring: int = Field(..., description="notes to fill it up to its capacity")
    days_left: float | None = Field(None, description="null: nothing can be said")
    history_days: int | None = None


class PlanBox(BaseModel):
    machine_id: str
    amount: str
    currency: str
    capacity: int | None = None
    notes: int
    days_left: float | None = Field(
        None, description="until it is full; null: nothing can be said"
    )
    history_days: int | None = None


class PlanAnswer(BaseModel):
    """A round: bays in the order of need, the boxes to fetch, what to bring in all."""

    bays: list[PlanBay]
    boxes: list[PlanBox]
    bring: dict[str, dict[str, int]] = Field(
        ..., description="notes by currency and denomination"
    )


@router.get(
    "/cash/plan",
    summary="A round of refills: what to bring and to fetch, in the order of need",
    response_model=PlanAnswer,
    responses=refusals(400, 404),
)
async def api_plan(
    account: Caller,
    machines: Annotated[
        str, Query(description="ids between commas; without it all of the caller's")
    ] = "",
) -> PlanAnswer:
    return await plan_answer(account.id, machines)


async def plan_answer(user_id: str, machines: str) -> PlanAnswer:
    """`machines` are ids between commas; without any, all of the user's."""
    ids = [one for one in machines.split(",") if one]
    if len(ids) > 200:
        raise BadInputError("machines: at most 200 at once.")
    found = await cash_of(user_id, False)
    who, still = acting(), await counting()
    if who and any(not who.may_see(one) for one in ids):
        raise NotFoundError("There is no such machine of yours.")
    async with db.connect() as conn:
        for machine_id in ids:
            await machines_crud.get_own_machine(conn, machine_id, user_id)
        own, params = own_machines_sql(False), whose(user_id, False)
        bays = await cash_bays.bays(conn, own, params)
        if ids:
            bays = [bay for bay in bays if bay.machine_id in ids]
        if who:
            bays = [
                b
                for b in bays
                if _is_told(b.machine_id, ledger.bay(b.position), who, still)
            ]
        forecasts = await bay_forecasts(conn, own, params, bays)
    answer = PlanAnswer(bays=[], boxes=[], bring={})
    for bay in bays:
        forecast = forecasts[bay.machine_id, bay.position]
        bring = max(0, (bay.capacity or bay.filled) - bay.count)
        answer.bays.append(
            PlanBay(
                machine_id=bay.machine_id,
                machine=bay.machine,
                place=ledger.bay(bay.position),
                denomination=bay.denomination,
                currency=bay.fiat_code,
                holds=bay.count,
                bring=bring,
                days_left=forecast.days if forecast else None,
                history_days=forecast.history_days if forecast else None,
            )
        )
        of_currency = answer.bring.setdefault(bay.fiat_code, {})
        note = str(bay.denomination)
        of_currency[note] = of_currency.get(note, 0) + bring
    answer.bays.sort(
        key=lambda b: (b.days_left is None, b.days_left or 0, b.machine, b.place)
    )
    boxes = await _boxes(user_id, found, ids)
    answer.boxes = [
        b for b in boxes if not who or _is_told(b.machine_id, ledger.BOX, who, still)
    ]
    return answer


def _is_told(
    machine_id: str, place: str, who: Acting, still: Mapping[str, set[str]]
) -> bool:
    """Whether a machine is theirs, and they are not about to count this place."""
    return who.may_see(machine_id) and place not in still.get(machine_id, set())


async def _boxes(user_id: str, found: CashNow, ids: list[str]) -> list[PlanBox]:
    """What is in each box, the fullest first."""
    boxes: dict[str, PlanBox] = {}
    cents: dict[str, int] = {}
    for holding in found.holdings:
        machine_id = holding.machine_id or ""
        if holding.place != ledger.BOX or (ids and machine_id not in ids):
            continue
        box = boxes.setdefault(
            machine_id,
            PlanBox(
                machine_id=machine_id,
                amount="0.00",
                currency=holding.currency,
                capacity=holding.capacity,
                notes=0,
            ),
        )
        box.notes += holding.notes or 0
        cents[machine_id] = cents.get(machine_id, 0) + holding.cents
        box.amount = cents_text(cents[machine_id])
    room = {b.machine_id: b.capacity - b.notes for b in boxes.values() if b.capacity}
    async with db.connect() as conn:
        own, params = own_machines_sql(False), whose(user_id, False)
        forecasts = await box_forecasts(conn, own, params, room)
    for machine_id, forecast in forecasts.items():
        if forecast:
            boxes[machine_id].days_left = forecast.days
            boxes[machine_id].history_days = forecast.history_days
    return sorted(
        boxes.values(), key=lambda b: (b.days_left is None, b.days_left or 0, -b.notes)
    )
