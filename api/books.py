"""The books, over HTTP: the reconciliation of a machine, and a period's accounting."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, root_validator

from ..base.audit import ENGINE
from ..base.database import from_db_time
from ..base.refusals import BadInputError, NotFoundError
from ..base.zones import Zone
from ..books.accounting import COLUMNS, Asked, entry_lines, lines
from ..books.lists import Kind, ListQuery, fetch_page
from ..books.log import REPORT_FIELDS, reconciliations_source
from ..desk import reconciliation, reconciliation_crud
from ..desk.reconciliation_crud import Row
from .fields import Input
from .lists import CSV_ANSWER, asked_of, csv_answer, csv_text, defused, filter_docs
from .route import Caller, InScope, MachineId, new_router, refusals
from .spreadsheet import InSheet, Sheet
from .zones import InZone

router = new_router()


class PeriodInput(Input):
    """Days of the zone, both included. Without them: the last 30 days until now."""

    from_day: date | None = Field(None, alias="from", example="2025-01-01")
    to_day: date | None = Field(None, alias="to", example="2025-01-31")


class About(BaseModel):
    """A row that a difference is about, and by what it is found."""

    id: str
    type: str = Field(
        ...,
        description="settlement, payment, payout, client, bay, wallet or lnbits_payment"
        " (then the id is its payment hash)",
    )
    settlement_id: str | None = None
    payment_hash: str | None = None


class DifferenceAnswer(BaseModel):
    kind: str
    subject_type: str
    subject_id: str
    message: str
    ids: list[str] = Field(..., description="what else it is about")
    about: list[About] = Field([], description="the subject and the ids, explained")
    sats: int | None = None
    stops: bool = Field(
        ..., description="money could leave twice: the machine's payouts are stopped"
    )


class WalletBooks(BaseModel):
    """A wallet's balance: what is nobody else's, what is unpaid, what is foreign."""

    wallet_id: str
    balance_sats: int
    own_sats: int = Field(..., description="of sales, and owed to nobody any more")
    unpaid_sats: int
    unplanned_sats: int
    foreign_sats: int
    difference_sats: int

    @root_validator(pre=True)
    @classmethod
    def _named_as_now(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Reports of before called it as a settlement's `retained_sats`, which is
        another thing: what of one sale no leg claims."""
        known = {"own_sats": values.get("retained_sats"), **values}
        return {name: value for name, value in known.items() if value is not None}


class LpBooks(BaseModel):
    client_id: str
    username: str | None = None
    deposited: str
    debited: str
    remaining: str


class BayBooks(BaseModel):
    position: int
    denomination: int
    filled: int
    dispensed: int = Field(..., description="since it was filled, as settlements say")
    expected: int
    reported: int | None = None
    is_exact: bool = Field(
        ..., description="false: a dispense since did not say which notes came out"
    )


class ReportInList(BaseModel):
    """A report's outcome; the report itself is read by its id."""

    id: str
    machine_id: str
    created_at: datetime
    actor: str = Field(..., description="your user id, operator, or engine (nightly)")
    period_from: datetime
    period_to: datetime
    difference_count: int
    stops: bool = Field(..., description="one of them stops the machine's payouts")


class ReportPage(BaseModel):
    data: list[ReportInList]
    total: int


class ReconciliationAnswer(BaseModel):
    id: str
    machine_id: str
    created_at: datetime
    actor: str = Field(..., description="your user id, or engine: the nightly one")
    period_from: datetime
    period_to: datetime
    differences: list[DifferenceAnswer]
    more: int = Field(..., description="differences beyond those that are listed")
    checked: dict[str, int]
    wallets: list[WalletBooks]
    lps: list[LpBooks]
    bays: list[BayBooks]


async def _answer(row: Row, user_id: str) -> ReconciliationAnswer:
    answer = ReconciliationAnswer(
        id=row["id"],
        machine_id=row["machine_id"],
        created_at=from_db_time(row["created_at"]),
        actor=row["actor"] if row["actor"] in (ENGINE, user_id) else "operator",
        period_from=from_db_time(row["period_from"]),
        period_to=from_db_time(row["period_to"]),
        **json.loads(row["report_json"]),
    )
    wallets = {wallet.wallet_id for wallet in answer.wallets}
    named = [x for d in answer.differences for x in (d.subject_id, *d.ids)]
    known = await reconciliation_crud.what_they_are(row["machine_id"], named)
    for difference in answer.differences:
        difference.about = _about(difference, known, wallets)
    return answer


def _about(
    difference: DifferenceAnswer, known: dict[str, Row], wallets: set[str]
) -> list[About]:
    """The subject first; what LNbits has and we have not is told by its shape."""
    subject = About(id=difference.subject_id, type=difference.subject_type)
    found = [About(**known[subject.id]) if subject.id in known else subject]
    for one in dict.fromkeys(difference.ids):
        if one in known:
            found.append(About(**known[one]))
        elif one in wallets:
            found.append(About(id=one, type="wallet"))
        elif one and one != subject.id:
            found.append(About(id=one, type="lnbits_payment"))
    return found


AskedOfReports = Annotated[ListQuery, Depends(asked_of(REPORT_FIELDS))]
ReportId = Annotated[str, Path(description="a report about a machine of yours")]


@router.get(
    "/reconciliations",
    summary="Every reconciliation of your machines, newest first",
    response_model=ReportPage,
    responses=refusals(400),
    openapi_extra=filter_docs(REPORT_FIELDS, "ReconciliationFilters"),
)
async def api_reconciliations(scope: InScope, query: AskedOfReports) -> ReportPage:
    source = reconciliations_source(scope.user_id, scope.is_all)
    found, total = await fetch_page(source, query)
    return ReportPage(data=[ReportInList(**row) for row in found], total=total)


@router.get(
    "/reconciliations.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(REPORT_FIELDS, "ReconciliationFilters"),
)
async def api_reconciliations_csv(scope: InScope, query: AskedOfReports) -> Any:
    source = reconciliations_source(scope.user_id, scope.is_all)
    return csv_answer(source, query, "reconciliations.csv")


@router.get(
    "/reconciliations/{report_id}",
    summary="One reconciliation, every difference with what it is about",
    response_model=ReconciliationAnswer,
    responses=refusals(404),
)
async def api_one_reconciliation(
    account: Caller, report_id: ReportId
) -> ReconciliationAnswer:
    row = await reconciliation_crud.own_report(report_id, account.id)
    if row is None:
        raise NotFoundError("There is no such report of yours.")
    return await _answer(row, account.id)


@router.get(
    "/machines/{machine_id}/reconciliation",
    summary="The last reconciliation of a machine with LNbits' own books",
    response_model=ReconciliationAnswer,
    responses=refusals(404),
)
async def api_reconciliation(
    account: Caller, machine_id: MachineId
) -> ReconciliationAnswer:
    row = await reconciliation_crud.newest_report(machine_id, account.id)
    if row is None:
        raise NotFoundError(
            "There is no reconciliation of this machine yet, or it is not yours."
        )
    return await _answer(row, account.id)


@router.post(
    "/machines/{machine_id}/reconciliation",
    status_code=200,
    summary="Reconcile a machine now",
    description="Holds our rows of the period against LNbits' payments; it also runs "
    "every night. A difference that means money could leave twice stops the machine's "
    "payouts until `resume-payouts`.",
    response_model=ReconciliationAnswer,
    responses=refusals(400, 404, 409),
)
async def api_reconcile(
    account: Caller,
    machine_id: MachineId,
    zone: InZone,
    body: PeriodInput | None = None,
) -> ReconciliationAnswer:
    since, until = (
        period_between(body.from_day, body.to_day, zone) if body else (None, None)
    )
    await reconciliation.reconcile_own(account.id, machine_id, since, until)
    return await api_reconciliation(account, machine_id)


def period_between(
    first: date | None, last: date | None, zone: Zone
) -> tuple[datetime | None, datetime | None]:
    """The moments that days of the zone begin and end at.

    `BadInputError` for the wrong order.
    """
    for day in (first, last):
        if day and not 1970 <= day.year < 9000:
            raise BadInputError(f"{day} is not a day to keep books of.")
    since = zone.start_of(first) if first else None
    until = zone.start_of(last + timedelta(days=1)) if last else None
    if since and until and since >= until:
        raise BadInputError("to must not be before from.")
    return since, until


@router.get(
    "/accounting.csv",
    summary="What a period's entries came to, with counter-values",
    description="By settlement: what the entries of the period made of each trade, its "
    "fees and its legs, and of what else moved in the machines' wallets. By entry: "
    "every line of every entry. Each is dated by its own time: a period that is over "
    "stays as it is. `wallet_sats` adds up to what the wallets gained. Days of the "
    "zone, both included; without `from` the month of `to`.",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
)
async def api_accounting(
    scope: InScope,
    zone: InZone,
    sheet: InSheet,
    from_day: Annotated[date | None, Query(alias="from")] = None,
    to_day: Annotated[date | None, Query(alias="to")] = None,
    machine_id: Annotated[str | None, Query(max_length=200)] = None,
    by: Annotated[
        Literal["settlement", "entry"], Query(description="what a line is of")
    ] = "settlement",
    tests: Annotated[
        bool | None, Query(description="true: tests alone, false: without them")
    ] = None,
) -> Any:
    last = to_day or zone.today()
    since, until = period_between(from_day or last.replace(day=1), last, zone)
    if since is None or until is None:
        raise BadInputError("The period is not clear.")
    if machine_id and "\x00" in machine_id:
        raise BadInputError("machine_id is no id.")
    asked = Asked(scope.user_id, scope.is_all, since, until, machine_id, tests)
    pages = entry_lines(asked) if by == "entry" else lines(asked)
    return StreamingResponse(
        _csv(pages, sheet),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="accounting.csv"'},
    )


_KINDS: dict[str, Kind] = {
    **dict.fromkeys(COLUMNS, "text"),
    "time": "time",
    "sats": "int",
    "counter_value": "fiat",
    "exchange_rate": "number",
    "operator_discount_sats": "int",
    "platform_discount_sats": "int",
    "fiat": "fiat",
    "wallet_sats": "int",
    "is_test": "bool",
    "recorded_at": "time",
}
_NUMBERS = ("int", "fiat", "number")
Pages = AsyncIterator[list[dict[str, Any]]]


def _cell(sheet: Sheet, name: str, value: Any) -> Any:
    if value == "":
        return ""
    if _KINDS[name] == "time":
        return sheet.time(datetime.fromisoformat(value))
    return sheet.cell(name, _KINDS[name], value)


def _plain(name: str, value: Any) -> Any:
    if _KINDS[name] == "bool":
        return str(bool(value)).lower()
    return value if _KINDS[name] in _NUMBERS else defused(value)


async def _csv(pages: Pages, sheet: Sheet | None) -> AsyncIterator[str]:
    if sheet:
        yield sheet.head(COLUMNS, _KINDS)
        async for page in pages:
            yield sheet.text(
                [_cell(sheet, n, line.get(n, "")) for n in COLUMNS] for line in page
            )
        return
    yield csv_text([list(COLUMNS)])
    async for page in pages:
        yield csv_text([[_plain(n, line.get(n, "")) for n in COLUMNS] for line in page])
