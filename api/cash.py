"""The cash book over HTTP: what every place holds, movements, the hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from lnbits.db import Page
from pydantic import BaseModel, Field

from ..base.acting import Acting, blind, person_behind
from ..base.audit import write_audit
from ..base.currencies import check_amount
from ..base.database import db, in_list, transaction
from ..base.refusals import BadInputError
from ..books.cash import (
    MOVEMENT_FIELDS,
    CashNow,
    cash_now,
    movements_source,
)
from ..books.lists import ListQuery, Source, fetch_page, narrowed
from ..books.reports import own_machines_sql, whose
from ..books.summaries import owed_to_lps
from ..calculations import cents_text, fiat_cents
from ..cash import crud as cash_crud
from ..cash import ledger, reservations
from ..cash.crud import Place
from ..cash.postings import post_count, post_hand
from ..cash.visits_crud import (
    Visit,
    open_visits_of,
)
from ..models import utc_now
from ..parties import machines_crud
from .fields import Choice, FiatCode, FiatFigure, Input, Reason
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .route import Caller, InScope, new_router, refusals

router = new_router()
AskedOfMovements = Annotated[ListQuery, Depends(asked_of(MOVEMENT_FIELDS))]


# ---------------------------------------------------------------------------- shapes


class PlaceAnswer(BaseModel):
    place: str = Field(..., description="bay:1, box, bays (nobody said which), hand")
    machine_id: str | None = None
    denomination: int | None = Field(None, description="null: known by amount only")
    notes: int | None = Field(None, description="below 0: count it")
    amount: str
    currency: str
    capacity: int | None = None
    reserved_notes: int = 0
    counted_at: datetime | None = None
    as_of: datetime


class CashTotalAnswer(BaseModel):
    """Sums of one currency, over all that is the operator's."""

    currency: str
    total_amount: str
    available_amount: str = Field(..., description="in bays, less what is set aside")
    hand_amount: str | None = Field(None, description="null until somebody said it")
    owed_amount: str = Field(..., description="what LPs have left of their deposits")
    coverage: str | None = Field(
        None, description="cash to what is owed; null until the hand was counted"
    )


class CashAnswer(BaseModel):
    data: list[PlaceAnswer]
    totals: list[CashTotalAnswer]


class MovementAnswer(BaseModel):
    id: str
    machine_id: str | None = None
    visit_id: str | None = None
    settlement_id: str | None = None
    deposit_id: str | None = None
    from_place: str
    to_place: str
    denomination: int | None = None
    notes: int | None = None
    amount: str
    currency: str
    at: datetime
    by: str = Field(..., description="your id, machine, engine or operator")
    reason: str | None = None
    source: str
    number: int | None = None
    operator_user_id: str | None = Field(None, description="your id, or null")


class MovementPage(Page[MovementAnswer]):
    data: list[MovementAnswer]


class HandKind(Choice):
    choices = ("to_bank", "from_bank", "withdrawal", "correction", "count")


class HandInput(Input):
    kind: HandKind = Field(
        ...,
        description="to_bank, from_bank, withdrawal: `amount` moves; count or "
        "correction: `amount` is what is in the operator's hands now",
    )
    amount: FiatFigure = Field(..., description="at least 0", example="1500.00")
    currency: FiatCode
    reason: Reason | None = None


# ---------------------------------------------------------------------- what there is


async def cash_of(user_id: str, is_all: bool) -> CashNow:
    own, params = own_machines_sql(is_all), whose(user_id, is_all)
    paid = await reservations.paid_not_landed(own, params)
    async with db.connect() as conn:
        owed = await owed_to_lps(conn, user_id, is_all)
        return await cash_now(conn, user_id, is_all, owed, paid)


@router.get(
    "/cash",
    summary="What every place holds, and cash against what LPs are owed",
    response_model=CashAnswer,
    responses=refusals(400, 404),
)
async def api_cash(
    scope: InScope,
    machine_id: Annotated[
        str | None, Query(description="the places of one machine; totals stay whole")
    ] = None,
) -> CashAnswer:
    if machine_id is not None and not scope.is_all:
        async with db.connect() as conn:
            await machines_crud.get_own_machine(conn, machine_id, scope.user_id)
    return await cash_answer(scope.user_id, scope.is_all, machine_id)


async def cash_answer(
    user_id: str, is_all: bool, machine_id: str | None = None
) -> CashAnswer:
    now = utc_now()
    found = await cash_of(user_id, is_all)
    collector = blind()
    if collector:
        found = await _seen_by(collector, found)
    return CashAnswer(
        data=[
            PlaceAnswer(
                place=holding.place,
                machine_id=holding.machine_id,
                denomination=holding.denomination,
                notes=holding.notes,
                amount=cents_text(holding.cents),
                currency=holding.currency,
                capacity=holding.capacity,
                reserved_notes=holding.reserved_notes,
                counted_at=holding.counted_at,
                as_of=now,
            )
            for holding in found.holdings
            if machine_id is None or holding.machine_id == machine_id
        ],
        totals=[
            CashTotalAnswer(
                currency=total.currency,
                total_amount=cents_text(total.total_cents),
                available_amount=cents_text(total.available_cents),
                hand_amount=(
                    None if total.hand_cents is None else cents_text(total.hand_cents)
                ),
                owed_amount=cents_text(total.owed_cents),
                coverage=None if total.coverage is None else str(total.coverage),
            )
            for total in found.totals
        ],
    )


async def open_visits() -> dict[str, Visit]:
    """A collector's own, by machine: until they counted they are told no count."""
    collector = blind()
    if collector is None:
        return {}
    async with db.connect() as conn:
        return await open_visits_of(conn, collector.person)


async def counting() -> dict[str, set[str]]:
    """Machine id -> places there that the collector of this request has a visit open
    for and has not counted yet."""
    found = await open_visits()
    if not found:
        return {}
    still = {}
    async with db.connect() as conn:
        for machine_id, visit in found.items():
            bays = await cash_crud.denominations(conn, machine_id)
            places = {ledger.BOX, *(ledger.bay(position) for position in bays)}
            still[machine_id] = places - visit.counts.keys()
    return still


async def _seen_by(collector: Acting, found: CashNow) -> CashNow:
    """The places of the machines that a collector was named for; no sums, for they
    are of what LPs are owed too."""
    visiting = await open_visits()
    shown = [
        holding
        for holding in found.holdings
        if holding.machine_id and collector.may_see(holding.machine_id)
        # what is there is told once they said what they counted
        and (
            holding.machine_id not in visiting
            or holding.place in visiting[holding.machine_id].counts
        )
    ]
    return replace(found, holdings=shown, totals=[])


async def of_cash(source: Source, column: str, *, is_blind: bool = False) -> Source:
    """For a collector: their machines, without those that they are counting."""
    source = narrowed(source, column, blind())
    still = await counting() if is_blind else {}
    hidden = [machine_id for machine_id, places in still.items() if places]
    if hidden:
        listed = in_list("hidden", hidden, source.params)
        source.where.append(f"{column} NOT IN {listed}")
    if blind() and is_blind:
        # what LPs brought, and what is in the operator's hands, is not theirs to see
        source.where.append("v.machine_id IS NOT NULL AND v.deposit_id IS NULL")
    return source


@router.get(
    "/cash/movements",
    summary="Every movement of cash, newest first",
    response_model=MovementPage,
    responses=refusals(400),
    openapi_extra=filter_docs(MOVEMENT_FIELDS, "CashMovementFilters"),
)
async def api_movements(scope: InScope, query: AskedOfMovements) -> MovementPage:
    source = await of_cash(
        movements_source(scope.user_id, scope.is_all), "v.machine_id", is_blind=True
    )
    listed, total = await fetch_page(source, query)
    return MovementPage(data=[MovementAnswer(**row) for row in listed], total=total)


@router.get(
    "/cash/movements.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(MOVEMENT_FIELDS, "CashMovementFilters"),
)
async def api_movements_csv(scope: InScope, query: AskedOfMovements) -> Any:
    source = await of_cash(
        movements_source(scope.user_id, scope.is_all), "v.machine_id", is_blind=True
    )
    return csv_answer(source, query, "cash-movements.csv")


# ----------------------------------------------------------------------------- hands


@router.post(
    "/cash/hand",
    status_code=201,
    summary="Cash to or from the bank, taken out, or counted in the operator's hands",
    response_model=CashAnswer,
    responses=refusals(400),
)
async def api_hand(account: Caller, body: HandInput) -> CashAnswer:
    check_amount(body.amount, body.currency, "amount")
    cents = fiat_cents(body.amount)
    is_count = body.kind in ("count", "correction")
    if cents == 0 and not is_count:
        raise BadInputError(f"amount is {cents_text(cents)}: it must be more than 0.")
    async with transaction() as conn:
        if is_count:
            await cash_crud.lock_cash(conn)
            place = Place(account.id, "", ledger.HAND, body.currency)
            await post_count(
                conn,
                place,
                {},
                cents=cents,
                at=utc_now(),
                by=person_behind(account.id),
                reason=body.reason,
            )
        else:
            await post_hand(
                conn,
                account.id,
                body.kind,
                cents,
                body.currency,
                person_behind(account.id),
                body.reason,
            )
        await write_audit(
            conn,
            account.id,
            "cash.hand",
            "cash",
            body.currency,
            None,
            {
                "kind": body.kind,
                "amount": cents_text(cents),
                "currency": body.currency,
            },
            body.reason,
            operator_user_id=account.id,
        )
    return await cash_answer(account.id, False)
