"""The journal over HTTP: entries with their lines, balances, plain-text accounting."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from ..base.refusals import BadInputError
from ..books.journal import (
    ENTRY_FIELDS,
    LINE_FIELDS,
    Asked,
    balances,
    beancount,
    entries_source,
    lines_of_entries,
    lines_source,
    of_period,
)
from ..books.lists import ListQuery, fetch_page
from .books import period_between
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .route import InScope, new_router, refusals
from .zones import InZone

router = new_router()

ABOUT = (
    "What is held is positive, what is owed or kept is negative: the lines of an entry "
    "add up to 0 in sats, in fiat and in counter value, each."
)


class LineAnswer(BaseModel):
    account: str = Field(
        ...,
        description="machine_wallet, customer, platform, splits, operator_fees, lp, "
        "lp_paid_outside, refunds, own_cash, surplus, routing, reserve_kept, loss, "
        "let_go, held_back, other; what arrived (lp_paid, platform_paid, splits_paid, "
        "refunded) against passed_on; in fiat lp_deposits, lp_cash_used, lp_closed, "
        "cash_dispensed, cash_taken, own_cash",
    )
    client_id: str | None = None
    sats: int
    fiat: str = Field(..., description="in the entry's currency, two places")
    counter_value: str = Field(
        ..., description="what the sats were worth at the rate of their trade"
    )


class EntryAnswer(BaseModel):
    id: str
    at: datetime = Field(..., description="when it happened: the day it counts on")
    recorded_at: datetime = Field(..., description="when it was written down")
    machine_id: str
    settlement_id: str | None = None
    payment_id: str | None = Field(
        None, description="a leg, or the hash of a payment that is nobody's sale"
    )
    deposit_id: str | None = None
    kind: str
    is_test: bool
    currency: str
    lines: list[LineAnswer]


class EntryPage(BaseModel):
    data: list[EntryAnswer]
    total: int


class BalanceAnswer(LineAnswer):
    username: str | None = Field(None, description="of the LP whose account it is")
    machine_id: str
    currency: str


class BalancesAnswer(BaseModel):
    at: datetime | None = Field(None, description="up to when; None: until now")
    data: list[BalanceAnswer]


AskedOfEntries = Annotated[ListQuery, Depends(asked_of(ENTRY_FIELDS))]
AskedOfLines = Annotated[ListQuery, Depends(asked_of(LINE_FIELDS))]


@router.get(
    "/accounting/entries",
    summary="Every entry of your machines' journal, newest first",
    description=ABOUT,
    response_model=EntryPage,
    responses=refusals(400),
    openapi_extra=filter_docs(ENTRY_FIELDS, "EntryFilters"),
)
async def api_entries(scope: InScope, query: AskedOfEntries) -> EntryPage:
    source = entries_source(scope.user_id, scope.is_all)
    found, total = await fetch_page(source, query)
    lines = await lines_of_entries([row["id"] for row in found])
    return EntryPage(
        data=[EntryAnswer(**row, lines=lines.get(row["id"], [])) for row in found],
        total=total,
    )


@router.get(
    "/accounting/entries.csv",
    summary="The same journal as CSV, a row for each line of an entry",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(LINE_FIELDS, "EntryLineFilters"),
)
async def api_entries_csv(scope: InScope, query: AskedOfLines) -> Any:
    source = lines_source(scope.user_id, scope.is_all)
    return csv_answer(source, query, "entries.csv")


@router.get(
    "/accounting/balances",
    summary="What everybody had and was owed at a moment, by machine and account",
    description=f"Sums over the entries before it. {ABOUT}",
    response_model=BalancesAnswer,
    responses=refusals(400),
)
async def api_balances(
    scope: InScope,
    at: Annotated[
        datetime | None, Query(description="ISO 8601; without a zone it is UTC")
    ] = None,
    machine_id: Annotated[str | None, Query(max_length=200)] = None,
    tests: Annotated[
        bool | None, Query(description="true: tests alone, false: without them")
    ] = None,
) -> BalancesAnswer:
    moment = as_utc(at) if at else None
    if machine_id and "\x00" in machine_id:
        raise BadInputError("machine_id is no id.")
    asked = Asked(scope.user_id, scope.is_all, moment, machine_id, tests)
    found = await balances(asked)
    return BalancesAnswer(at=moment, data=[BalanceAnswer(**row) for row in found])


def as_utc(at: datetime) -> datetime:
    if not 1970 < at.year < 9000:
        raise BadInputError(f"{at.year} is not a year to keep books of.")
    return at.astimezone(timezone.utc) if at.tzinfo else at.replace(tzinfo=timezone.utc)


@router.get(
    "/accounting.beancount",
    summary="The whole journal as plain-text accounting, for beancount",
    description="Commodities SAT and each machine's currency; days of the zone, both "
    "included; without `from` since the beginning.",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A file that `bean-check` accepts.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **refusals(400),
    },
)
async def api_beancount(
    scope: InScope,
    zone: InZone,
    from_day: Annotated[date | None, Query(alias="from")] = None,
    to_day: Annotated[date | None, Query(alias="to")] = None,
) -> Any:
    since, until = period_between(from_day, to_day, zone)
    text = beancount(
        of_period(entries_source(scope.user_id, scope.is_all), since, until),
        of_period(lines_source(scope.user_id, scope.is_all), since, until),
        zone,
    )
    return StreamingResponse(
        text,
        media_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="accounting.beancount"'},
    )
