"""Settlements and their legs, over HTTP: reading them."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import StreamingResponse

from ..books.lists import MAX_ROWS, ListQuery, fetch_page, fetch_row
from ..books.log import AUDIT_FIELDS, audit_answer, audit_of_source
from ..books.payments import (
    LEG_FIELDS,
    SETTLEMENT_DETAIL,
    SETTLEMENT_FIELDS,
    legs_source,
    settlements_source,
)
from ..desk.consents import read_asked
from ..host.limits import reserve_sats
from ..host.people import super_user
from ..host.wallets import wallets_of
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs, totals_of
from .models import (
    AuditAnswer,
    ConsentAnswer,
    LegAnswer,
    LegPage,
    SettlementAnswer,
    SettlementDetail,
    SettlementPage,
    pick,
)
from .route import Caller, InScope, SettlementId, new_router, refusals

router = new_router()
AskedOfSettlements = Annotated[ListQuery, Depends(asked_of(SETTLEMENT_FIELDS))]
AskedOfLegs = Annotated[ListQuery, Depends(asked_of(LEG_FIELDS))]
# More LPs than this do not fit beside one machine's slot.
MOST_LEGS = 10_000


@router.get(
    "/settlements",
    summary="Settlements of the caller's machines",
    response_model=SettlementPage,
    responses=refusals(400),
    openapi_extra=filter_docs(SETTLEMENT_FIELDS, "SettlementFilters"),
)
async def api_settlements(scope: InScope, query: AskedOfSettlements) -> SettlementPage:
    source = settlements_source(scope.user_id, scope.is_all)
    found, total = await fetch_page(source, query)
    data = [SettlementAnswer(**r) for r in found]
    totals = await totals_of(source, query)
    return SettlementPage(data=data, total=total, totals=totals)


@router.get(
    "/settlements.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(SETTLEMENT_FIELDS, "SettlementFilters"),
)
async def api_settlements_csv(scope: InScope, query: AskedOfSettlements) -> Any:
    source = settlements_source(scope.user_id, scope.is_all)
    return csv_answer(source, query, "settlements.csv")


@router.get(
    "/settlements/{settlement_id}",
    summary="One settlement, with its legs, what stays, and its history",
    response_model=SettlementDetail,
    responses=refusals(404),
)
async def api_settlement(
    account: Caller, settlement_id: SettlementId
) -> SettlementDetail:
    return await settlement_detail(account.id, settlement_id)


async def settlement_detail(
    user_id: str, settlement_id: str, is_all: bool = False
) -> SettlementDetail:
    """The operator's settlement with everything that became of it; any, for the
    super."""
    row = await fetch_row(
        settlements_source(user_id, is_all, settlement_id),
        SETTLEMENT_DETAIL,
        "There is no such settlement of yours.",
    )
    source = legs_source(user_id, is_all, await wallets_of(user_id), settlement_id)
    oldest_first = ListQuery(
        LEG_FIELDS, sortby="created_at", direction="asc", limit=MOST_LEGS
    )
    legs, _ = await fetch_page(source, oldest_first, MOST_LEGS)
    subjects = [settlement_id, *(leg["id"] for leg in legs)]
    newest, _ = await fetch_page(
        audit_of_source(user_id, super_user(), subjects, is_all),
        ListQuery(AUDIT_FIELDS, limit=MAX_ROWS),
    )
    refundable = int(row["refundable_sats"])
    asked = await read_asked(settlement_id)
    return SettlementDetail(
        **pick(row, SettlementAnswer),
        legs=[LegAnswer(**leg) for leg in legs],
        max_refund_sats=max(0, refundable - reserve_sats(refundable, False)),
        dispense_state=row["dispense_state"],
        dispensed_fiat=row["dispensed_fiat"],
        dispensed_by=row["dispensed_by"],
        consent=ConsentAnswer(**vars(asked)) if asked else None,
        dispensed_principal_sats=row["dispensed_principal_sats"],
        dispensed_fee_sats=row["dispensed_fee_sats"],
        stamp=_stamp(row["stamp_json"]),
        history=[AuditAnswer(**audit_answer(entry)) for entry in reversed(newest)],
    )


def _stamp(text: str | None) -> Any:
    """What the machine said; as text if it is no JSON."""
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


@router.get(
    "/payments",
    summary="Legs of the caller's settlements",
    response_model=LegPage,
    responses=refusals(400),
    openapi_extra=filter_docs(LEG_FIELDS, "LegFilters"),
)
async def api_payments(scope: InScope, query: AskedOfLegs) -> LegPage:
    own = await wallets_of(scope.user_id)
    source = legs_source(scope.user_id, scope.is_all, own)
    found, total = await fetch_page(source, query)
    data = [LegAnswer(**row) for row in found]
    totals = await totals_of(source, query)
    return LegPage(data=data, total=total, totals=totals)


@router.get(
    "/payments.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(LEG_FIELDS, "LegFilters"),
)
async def api_payments_csv(scope: InScope, query: AskedOfLegs) -> Any:
    own = await wallets_of(scope.user_id)
    return csv_answer(
        legs_source(scope.user_id, scope.is_all, own), query, "payments.csv"
    )
