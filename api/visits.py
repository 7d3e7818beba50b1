"""Visits over HTTP: who stands at a machine counts, fills and empties, and closes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.responses import Response, StreamingResponse
from lnbits.db import Connection, Page
from pydantic import BaseModel, Field

from ..base.acting import acting, blind, person_behind
from ..base.audit import write_audit
from ..base.currencies import money
from ..base.database import db, transaction
from ..base.refusals import NotFoundError
from ..books.cash import (
    VISIT_FIELDS,
    visits_source,
)
from ..books.lists import ListQuery, Source, fetch_page
from ..calculations import cents_text
from ..cash import bays as cash_bays
from ..cash import crud as cash_crud
from ..cash import ledger, visits
from ..cash.crud import Place
from ..cash.visits_crud import (
    NO_VISIT,
    OPEN,
    Visit,
    get_own_visit,
    save_entries,
)
from ..line import cassettes
from ..line import engine as line
from ..models import Machine
from ..parties import machines_crud
from .cash import of_cash
from .fields import Input, Moment, Reason
from .lists import CSV_ANSWER, asked_of, csv_answer, csv_text, defused, filter_docs
from .route import Caller, InScope, MachineId, new_router, refusals

router = new_router()
VisitId = Annotated[str, Path(description="a visit at a machine of yours")]
AskedOfVisits = Annotated[ListQuery, Depends(asked_of(VISIT_FIELDS))]


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
    source = await of_cash(visits_source(scope.user_id, scope.is_all), "v.machine_id")
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
    source = await of_cash(visits_source(scope.user_id, scope.is_all), "v.machine_id")
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
    source = await _at_machine(account.id, machine_id)
    listed, total = await fetch_page(source, query)
    return VisitPage(data=[VisitInList(**row) for row in listed], total=total)


@router.get(
    "/machines/{machine_id}/visits.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400, 404)},
    openapi_extra=filter_docs(VISIT_FIELDS, "VisitFilters"),
)
async def api_visits_of_machine_csv(
    account: Caller, machine_id: MachineId, query: AskedOfVisits
) -> StreamingResponse:
    return csv_answer(await _at_machine(account.id, machine_id), query, "visits.csv")


async def _at_machine(user_id: str, machine_id: str) -> Source:
    async with db.connect() as conn:
        await machines_crud.get_own_machine(conn, machine_id, user_id)
    source = visits_source(user_id, False)
    source.where.append("v.machine_id = :machine_id")
    source.params["machine_id"] = machine_id
    return source


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
