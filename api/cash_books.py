"""Cash by place and period over HTTP, for the accounting page and as CSV."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from ..base.database import db
from ..base.refusals import BadInputError
from ..base.zones import Zone
from ..books.cash_periods import CashPeriod, cash_by_place
from ..books.lists import Kind
from ..calculations import cents_text
from .books import period_between
from .lists import CSV_ANSWER, csv_text, defused
from .route import InScope, Scope, new_router, refusals
from .spreadsheet import InSheet
from .zones import InZone

router = new_router()


class CashPeriodAnswer(BaseModel):
    """opening + in - out + differences = closing."""

    place: str = Field(..., description="bay:1, box, bays (nobody said which), hand")
    machine_id: str | None = None
    machine: str | None = None
    currency: str
    opening: str
    came_in: str = Field(..., alias="in")
    went_out: str = Field(..., alias="out")
    differences: str = Field(..., description="counted more, or with - less")
    closing: str

    class Config:
        allow_population_by_field_name = True


class CashBooksAnswer(BaseModel):
    data: list[CashPeriodAnswer]
    total: int


def _answer(period: CashPeriod) -> CashPeriodAnswer:
    return CashPeriodAnswer(
        place=period.place,
        machine_id=period.machine_id,
        machine=period.machine,
        currency=period.currency,
        opening=cents_text(period.opening_cents),
        came_in=cents_text(period.in_cents),
        went_out=cents_text(period.out_cents),
        differences=cents_text(period.difference_cents),
        closing=cents_text(period.closing_cents),
    )


async def asked_periods(
    scope: InScope,
    zone: InZone,
    from_day: Annotated[date | None, Query(alias="from")] = None,
    to_day: Annotated[date | None, Query(alias="to")] = None,
    machine_id: Annotated[str | None, Query(max_length=200)] = None,
) -> list[CashPeriodAnswer]:
    """The rows of the period: days, both included; else the month of `to`."""
    return await cash_periods(scope, zone, from_day, to_day, machine_id)


async def cash_periods(
    scope: Scope,
    zone: Zone,
    from_day: date | None,
    to_day: date | None,
    machine_id: str | None,
) -> list[CashPeriodAnswer]:
    last = to_day or zone.today()
    since, until = period_between(from_day or last.replace(day=1), last, zone)
    if since is None or until is None:
        raise BadInputError("The period is not clear.")
    if machine_id and "\x00" in machine_id:
        raise BadInputError("machine_id is no id.")
    async with db.connect() as conn:
        found = await cash_by_place(
            conn, scope.user_id, scope.is_all, since, until, machine_id
        )
    return [_answer(one) for one in found]


Periods = Annotated[list[CashPeriodAnswer], Depends(asked_periods)]


@router.get(
    "/cash/books",
    summary="Cash by place in a period: opening, in, out, differences, closing",
    description="By when the notes moved. Days of the zone, both included; without "
    "`from` the month of `to`.",
    response_model=CashBooksAnswer,
    responses=refusals(400),
)
async def api_cash_books(periods: Periods) -> CashBooksAnswer:
    return CashBooksAnswer(data=periods, total=len(periods))


@router.get(
    "/cash/books.csv",
    summary="The same list as CSV",
    response_class=Response,
    responses={200: CSV_ANSWER, **refusals(400)},
)
async def api_cash_books_csv(periods: Periods, sheet: InSheet) -> Response:
    rows = [one.dict(by_alias=True) for one in periods]
    columns = [field.alias for field in CashPeriodAnswer.__fields__.values()]
    if sheet:
        return _csv(
            sheet.head(columns, _KINDS)
            + sheet.text(
                [
                    sheet.cell(name, _KINDS.get(name, "fiat"), row[name])
                    for name in columns
                ]
                for row in rows
            )
        )
    # amounts are our own figures, and may be below 0
    text = csv_text(
        [
            columns,
            *(
                [defused(v or "") if k == "machine" else v for k, v in row.items()]
                for row in rows
            ),
        ]
    )
    return _csv(text)


_KINDS: dict[str, Kind] = dict.fromkeys(
    ("place", "machine_id", "machine", "currency"), "text"
)


def _csv(text: str) -> Response:
    return Response(
        text,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="cash-books.csv"'},
    )
