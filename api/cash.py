"""The cash book over HTTP: what every place holds, movements, visits, the hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from fastapi.responses import Response, StreamingResponse
from lnbits.db import Connection, Page
from pydantic import BaseModel, Field

from ..base.acting import Acting, acting, blind, person_behind
from ..base.audit import write_audit
from ..base.currencies import check_amount, money
from ..base.database import db, in_list, transaction
from ..base.refusals import BadInputError, NotFoundError
from ..books.cash import (
    MOVEMENT_FIELDS,
    VISIT_FIELDS,
    CashNow,
    cash_now,
    movements_source,
    visits_source,
)
from ..books.lists import ListQuery, Source, fetch_page, narrowed
from ..books.summaries import owed_to_lps
from ..calculations import cents_text, fiat_cents
from ..cash import bays as cash_bays
from ..cash import crud as cash_crud
from ..cash import ledger, visits
from ..cash.crud import Place
from ..cash.postings import post_count, post_hand
from ..cash.visits_crud import (
    NO_VISIT,
    OPEN,
    Visit,
    get_own_visit,
    open_visits_of,
    save_entries,
)
from ..line import cassettes
from ..line import engine as line
from ..models import Machine, utc_now
from ..parties import machines_crud
from .fields import Choice, FiatCode, FiatFigure, Input, Moment, Reason
from .lists import CSV_ANSWER, asked_of, csv_answer, csv_text, defused, filter_docs
from .route import Caller, InScope, MachineId, new_router, refusals

router = new_router()
VisitId = Annotated[str, Path(description="a visit at a machine of yours")]
AskedOfMovements = Annotated[ListQuery, Depends(asked_of(MOVEMENT_FIELDS))]
AskedOfVisits = Annotated[ListQuery, Depends(asked_of(VISIT_FIELDS))]


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


class VisitPlace(BaseModel):
    """What was entered for a place; what was expected only once it was counted."""

    place: str
    denomination: int | None = None
    capacity: int | None = None
    counts: dict[str, int] | None = None
    filled: dict[str, int] | None = None
    is_emptied: bool = False
    counted_at: datetime | None = None
    expected: dict[str, int] | None = Field(
        None, description="null too where some of it is known by amount only"
    )
    expected_amount: str | None = None


class DifferenceOfVisit(BaseModel):
    place: str
    denomination: int | None = Field(None, description="null: by amount")
    expected: int | None = None
    counted: int | None = None
    expected_amount: str
    counted_amount: str
    likely_reason: str | None = None


class VisitAnswer(BaseModel):
    id: str
    machine_id: str
    status: str
    opened_at: datetime
    opened_by: str
    closed_at: datetime | None = None
    closed_by: str | None = None
    reason: str | None = None
    currency: str
    places: list[VisitPlace]
    differences: list[DifferenceOfVisit] = []


class VisitInList(BaseModel):
    id: str
    machine_id: str
    status: str
    opened_at: datetime
    opened_by: str
    closed_at: datetime | None = None
    closed_by: str | None = None
    difference_amount: str
    currency: str
    reason: str | None = None


class VisitPage(Page[VisitInList]):
    data: list[VisitInList]


NotesByPlace = dict[str, dict[str, Any] | None]


class VisitInput(Input):
    """What is named is replaced; null takes a place back."""

    counts: NotesByPlace | None = Field(
        None, description="before filling or emptying", example={"bay:1": {"20": 48}}
    )
    filled: NotesByPlace | None = Field(None, example={"bay:1": {"20": 100}})
    emptied: list[str] | None = Field(None, example=["box"])
    counted_at: Moment | None = Field(None, description="when; without it: now")


class ReasonInput(Input):
    reason: Reason | None = None


class EmptyInput(Input):
    """Nothing is asked for."""


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
    async with db.connect() as conn:
        owed = await owed_to_lps(conn, user_id, is_all)
        return await cash_now(conn, user_id, is_all, owed)


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


async def _of_cash(source: Source, column: str, *, is_blind: bool = False) -> Source:
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
    source = await _of_cash(
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
    source = await _of_cash(
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


# ---------------------------------------------------------------------------- visits


def _who(user_id: str | None, reader: str) -> str | None:
    if user_id is None or user_id in (person_behind(reader), "machine", "engine"):
        return user_id
    return "operator"


def _texts(notes: Mapping[int, int]) -> dict[str, int]:
    return {str(note): count for note, count in sorted(notes.items())}


async def visit_answer(
    conn: Connection, visit: Visit, machine: Machine, reader: str
) -> VisitAnswer:
    bays = await cash_crud.denominations(conn, machine.id)
    fits = cash_bays.capacities(machine.bay_capacities)
    names = {ledger.bay(position) for position in bays} | {ledger.BOX}
    names |= {*visit.counts, *visit.filled, *visit.emptied}
    places = []
    for name in sorted(names, key=lambda n: (n == ledger.BOX, len(n), n)):
        position = int(name.partition(":")[2] or 0)
        count, fill = visit.counts.get(name), visit.filled.get(name)
        expected, expected_amount = None, None
        if count and visit.status == OPEN:
            held = await cash_crud.held_at(
                conn, Place.of_machine(machine, name), count.at
            )
            of_place = held[name]
            expected_amount = cents_text(sum(cents for _, cents in of_place.values()))
            if 0 not in of_place:
                expected = {str(n): h[0] for n, h in sorted(of_place.items())}
        places.append(
            VisitPlace(
                place=name,
                denomination=bays.get(position),
                capacity=fits.get(position) if position else machine.box_capacity,
                counts=_texts(count.notes) if count else None,
                filled=_texts(fill.notes) if fill else None,
                is_emptied=name in visit.emptied,
                counted_at=count.at if count else None,
                expected=expected,
                expected_amount=expected_amount,
            )
        )
    return VisitAnswer(
        id=visit.id,
        machine_id=visit.machine_id,
        status=visit.status,
        opened_at=visit.opened_at,
        opened_by=_who(visit.opened_by, reader),
        closed_at=visit.closed_at,
        closed_by=_who(visit.closed_by, reader),
        reason=visit.reason,
        currency=machine.fiat_code,
        places=places,
        differences=[
            DifferenceOfVisit(
                place=d["place"],
                denomination=d.get("denomination"),
                expected=d.get("expected"),
                counted=d.get("counted"),
                expected_amount=cents_text(d["expected_cents"]),
                counted_amount=cents_text(d["counted_cents"]),
                likely_reason=_likely_reason(d, machine.fiat_code),
            )
            for d in visit.differences
        ],
    )


def _likely_reason(difference: Mapping[str, Any], currency: str) -> str | None:
    if "unpaid" not in difference:
        return None
    return (
        "Cash-ins that were refused or failed since the box was last counted: "
        f"{difference['unpaid']}, {money(difference['unpaid_cents'], currency)} in all."
    )


async def publish(
    conn: Connection,
    machine: Machine,
    bays: Mapping[int, tuple[int, int]],
    touched: Mapping[int, int],
    user_id: str,
) -> None:
    """The ledger's counts of this moment go to the machine; a bay that was counted or
    filled runs low against what it holds now."""
    await cassettes.save_cassettes(conn, machine.id, dict(bays), user_id)
    for position, notes in touched.items():
        await cash_crud.set_filled(conn, machine.id, position, notes)


def touched_bays(visit: Visit, bays: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    """What the bays that were filled, or counted anew, hold after the visit."""
    return {
        position: count
        for position, (_, count) in bays.items()
        if ledger.bay(position) in {*visit.filled, *visit.counts}
    }


@router.post(
    "/machines/{machine_id}/visits",
    status_code=201,
    summary="Open a visit at a machine, or go on with one's own",
    response_model=VisitAnswer,
    responses=refusals(400, 404, 409),
)
async def api_open_visit(
    account: Caller, machine_id: MachineId, body: EmptyInput | None = None
) -> VisitAnswer:
    async with transaction() as conn:
        machine = await machines_crud.get_own_machine(conn, machine_id, account.id)
        visit = await visits.open_visit(conn, machine, person_behind(account.id))
        return await visit_answer(conn, visit, machine, account.id)


@router.get(
    "/visits",
    summary="Visits at the caller's machines, newest first",
    response_model=VisitPage,
    responses=refusals(400),
    openapi_extra=filter_docs(VISIT_FIELDS, "VisitFilters"),
)
async def api_visits(scope: InScope, query: AskedOfVisits) -> VisitPage:
    source = await _of_cash(visits_source(scope.user_id, scope.is_all), "v.machine_id")
    listed, total = await fetch_page(source, query)
    return VisitPage(data=[VisitInList(**row) for row in listed], total=total)


@router.get(
    "/visits.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(VISIT_FIELDS, "VisitFilters"),
)
async def api_visits_csv(scope: InScope, query: AskedOfVisits) -> Any:
    source = await _of_cash(visits_source(scope.user_id, scope.is_all), "v.machine_id")
    return csv_answer(source, query, "visits.csv")


@router.get(
    "/machines/{machine_id}/visits",
    summary="Visits at one machine, newest first",
    response_model=VisitPage,
    responses=refusals(400, 404),
)
async def api_visits_of_machine(
    account: Caller, machine_id: MachineId, query: AskedOfVisits
) -> VisitPage:
    async with db.connect() as conn:
        await machines_crud.get_own_machine(conn, machine_id, account.id)
    source = visits_source(account.id, False)
    source.where.append("v.machine_id = :machine_id")
    source.params["machine_id"] = machine_id
    listed, total = await fetch_page(source, query)
    return VisitPage(data=[VisitInList(**row) for row in listed], total=total)


async def own_visit(
    conn: Connection, visit_id: str, user_id: str
) -> tuple[Visit, Machine]:
    visit = await get_own_visit(conn, visit_id, user_id)
    who = acting()
    if who and not who.may_see(visit.machine_id):
        raise NotFoundError(NO_VISIT)
    machine = await machines_crud.get_own_machine(conn, visit.machine_id, user_id)
    return visit, machine


@router.get(
    "/visits/{visit_id}.csv",
    summary="One visit as CSV: a row for each place and note that was entered",
    response_class=Response,
    responses={200: CSV_ANSWER, **refusals(404)},
)
async def api_visit_csv(account: Caller, visit_id: VisitId) -> Response:
    async with db.connect() as conn:
        visit, machine = await own_visit(conn, visit_id, account.id)
        answer = await visit_answer(conn, visit, machine, account.id)
    name = machine.name or machine.machine_npub[:12]
    return Response(
        csv_text([VISIT_COLUMNS, *visit_rows(answer, defused(name))]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="visit.csv"'},
    )


VISIT_COLUMNS = [
    *("visit_id", "machine_id", "machine", "status", "opened_at", "opened_by"),
    *("closed_at", "closed_by", "place", "denomination", "expected", "counted"),
    *("difference", "filled", "is_emptied", "counted_at", "currency"),
    *("expected_amount", "counted_amount"),
]


def visit_rows(visit: VisitAnswer, machine: str) -> list[list[Any]]:
    """What was entered, and what was expected of it where it was another number; empty
    where nobody entered it. A place known by amount only has no denomination."""
    head: list[Any] = [visit.id, visit.machine_id, machine, visit.status]
    head += [_iso(visit.opened_at), visit.opened_by]
    head += [_iso(visit.closed_at), visit.closed_by]
    found = {(d.place, d.denomination): d for d in visit.differences}
    rows = []
    for place in visit.places:
        counts, filled = place.counts or {}, place.filled or {}
        notes: set[int | None] = {int(n) for n in {*counts, *filled}}
        notes |= {note for name, note in found if name == place.place}
        for note in sorted(notes, key=lambda n: n or 0):
            key = "" if note is None else str(note)
            other = found.get((place.place, note))
            counted = other.counted if other else counts.get(key)
            expected = other.expected if other else counted
            if place.expected is not None:
                expected = place.expected.get(key, 0)
            elif place.expected_amount is not None:
                expected = None  # by amount
            missing = None
            if counted is not None and expected is not None:
                missing = counted - expected
            rows.append(
                [
                    *head,
                    *(place.place, note, expected, counted),
                    missing,
                    filled.get(key),
                    "true" if place.is_emptied else "false",
                    _iso(place.counted_at),
                    visit.currency,
                    *(
                        (other.expected_amount, other.counted_amount)
                        if other
                        else ("", "")
                    ),
                ]
            )
    return rows


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


@router.get(
    "/visits/{visit_id}",
    summary="One visit; what was expected of a place only once it was counted",
    response_model=VisitAnswer,
    responses=refusals(404),
)
async def api_visit(account: Caller, visit_id: VisitId) -> VisitAnswer:
    async with db.connect() as conn:
        visit, machine = await own_visit(conn, visit_id, account.id)
        return await visit_answer(conn, visit, machine, account.id)


@router.put(
    "/visits/{visit_id}",
    summary="Enter what was counted, filled in and taken out",
    response_model=VisitAnswer,
    responses=refusals(400, 404, 409),
)
async def api_enter(
    account: Caller, visit_id: VisitId, body: VisitInput
) -> VisitAnswer:
    async with transaction() as conn:
        await cash_crud.lock_cash(conn)
        visit, machine = await own_visit(conn, visit_id, account.id)
        visits.must_be_open(visit)
        await visits.must_be_theirs(conn, visit, person_behind(account.id))
        visits.enter(
            visit,
            counts=body.counts,
            filled=body.filled,
            emptied=body.emptied,
            counted_at=body.counted_at,
        )
        await save_entries(conn, visit)
        return await visit_answer(conn, visit, machine, account.id)


@router.post(
    "/visits/{visit_id}/close",
    status_code=200,
    summary="Book the visit, and publish what the bays hold to the machine",
    response_model=VisitAnswer,
    responses=refusals(400, 404, 409),
)
async def api_close(
    account: Caller, visit_id: VisitId, body: ReasonInput | None = None
) -> VisitAnswer:
    reason = body.reason if body else None
    person = person_behind(account.id)
    async with transaction() as conn:
        await cash_crud.lock_cash(conn)
        visit, machine = await own_visit(conn, visit_id, account.id)
        visits.must_be_open(visit)
        await visits.must_be_theirs(conn, visit, person)
        bays = await visits.close(conn, visit, machine, person, reason)
        await publish(conn, machine, bays, touched_bays(visit, bays), person)
        await write_audit(
            conn,
            account.id,
            "visit.close",
            "visit",
            visit.id,
            None,
            {
                "difference": cents_text(visit.difference_cents),
                "currency": machine.fiat_code,
            },
            reason,
            operator_user_id=machine.operator_user_id,
            machine_id=machine.id,
        )
        answer = await visit_answer(conn, visit, machine, account.id)
    line.wake()
    return answer


@router.post(
    "/visits/{visit_id}/cancel",
    status_code=200,
    summary="Give a visit up: nothing of it is booked",
    response_model=VisitAnswer,
    responses=refusals(400, 404, 409),
)
async def api_cancel(
    account: Caller, visit_id: VisitId, body: EmptyInput | None = None
) -> VisitAnswer:
    async with transaction() as conn:
        await cash_crud.lock_cash(conn)
        visit, machine = await own_visit(conn, visit_id, account.id)
        visits.must_be_open(visit)
        if blind():  # the operator and a manager may end anybody's
            await visits.must_be_theirs(conn, visit, person_behind(account.id))
        await visits.cancel(conn, visit, person_behind(account.id))
        return await visit_answer(conn, visit, machine, account.id)
