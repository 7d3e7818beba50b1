"""An LP's own side, over HTTP: their preferences, deposits, payments and summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse

from ..base.database import db, from_db_time
from ..base.refusals import BadInputError, NotFoundError
from ..books.lists import ListQuery, fetch_page
from ..books.reports import (
    DEPOSIT_FIELDS,
    LEG_FIELDS,
    lp_deposits_source,
    lp_legs_source,
    wallets_of,
)
from ..books.summaries import lp_history, lp_summary
from ..money.targets import check_own_wallet
from ..parties import lps
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .models import (
    DepositAnswer,
    DepositPage,
    LegAnswer,
    LegPage,
    LpAnswer,
    LpChanges,
    LpHistoryDay,
    LpInput,
    LpMachineSummary,
    pick,
)
from .route import Caller, InScope, named_fields, new_router, refusals

router = new_router()
AskedOfDeposits = Annotated[ListQuery, Depends(asked_of(DEPOSIT_FIELDS))]
AskedOfLegs = Annotated[ListQuery, Depends(asked_of(LEG_FIELDS))]
NULLABLE = ("fixed_mode_daily_limit", "autoforward_ln_address")


async def _answer(user_id: str) -> LpAnswer:
    async with db.connect() as conn:
        profile = await lps.get_profile(conn, user_id)
    if profile is None:
        raise NotFoundError("You have no LP profile yet: choose a wallet first.")
    shown = pick(profile, LpAnswer)
    limit = profile["fixed_mode_daily_limit"]
    shown["fixed_mode_daily_limit"] = None if limit is None else f"{limit:.2f}"
    for key in ("created_at", "updated_at"):
        shown[key] = from_db_time(profile[key])
    return LpAnswer(**shown)


async def _check_wallet(fields: Mapping[str, Any], user_id: str) -> None:
    if "dca_wallet_id" in fields:
        await check_own_wallet(fields["dca_wallet_id"], user_id, "dca_wallet_id")


@router.get(
    "/lp",
    summary="The caller's preferences as an LP",
    response_model=LpAnswer,
    responses=refusals(404),
)
async def api_lp(account: Caller) -> LpAnswer:
    return await _answer(account.id)


@router.post(
    "/lp",
    status_code=201,
    summary="Onboarding of an LP: which wallet, how much a day, forward or not",
    response_model=LpAnswer,
    responses=refusals(400, 409),
)
async def api_create_lp(account: Caller, body: LpInput) -> LpAnswer:
    fields = {k: v for k, v in named_fields(body, NULLABLE).items() if v is not None}
    await _check_wallet(fields, account.id)
    await lps.create_profile(account.id, fields)
    return await _answer(account.id)


@router.put(
    "/lp",
    summary="Change the preferences that are named",
    response_model=LpAnswer,
    responses=refusals(400, 404),
)
async def api_update_lp(account: Caller, body: LpChanges) -> LpAnswer:
    present = await _answer(account.id)
    changes = named_fields(body, NULLABLE)
    if changes.get("dca_wallet_id") != present.dca_wallet_id:
        await _check_wallet(changes, account.id)
    await lps.update_profile(account.id, changes)
    return await _answer(account.id)


@router.get(
    "/lp/deposits",
    summary="The caller's deposits as an LP, at every machine",
    response_model=DepositPage,
    responses=refusals(400),
    openapi_extra=filter_docs(DEPOSIT_FIELDS, "LpDepositFilters"),
)
async def api_lp_deposits(scope: InScope, query: AskedOfDeposits) -> DepositPage:
    found, total = await fetch_page(lp_deposits_source(scope.user_id), query)
    return DepositPage(data=[DepositAnswer(**row) for row in found], total=total)


@router.get(
    "/lp/deposits.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(DEPOSIT_FIELDS, "LpDepositFilters"),
)
async def api_lp_deposits_csv(scope: InScope, query: AskedOfDeposits) -> Any:
    return csv_answer(lp_deposits_source(scope.user_id), query, "deposits.csv")


@router.get(
    "/lp/payments",
    summary="What the caller received as an LP, and what is on its way or forwarded",
    response_model=LegPage,
    responses=refusals(400),
    openapi_extra=filter_docs(LEG_FIELDS, "LpPaymentFilters"),
)
async def api_lp_payments(scope: InScope, query: AskedOfLegs) -> LegPage:
    source = lp_legs_source(scope.user_id, await wallets_of(scope.user_id))
    found, total = await fetch_page(source, query)
    return LegPage(data=[LegAnswer(**row) for row in found], total=total)


@router.get(
    "/lp/payments.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(LEG_FIELDS, "LpPaymentFilters"),
)
async def api_lp_payments_csv(scope: InScope, query: AskedOfLegs) -> Any:
    source = lp_legs_source(scope.user_id, await wallets_of(scope.user_id))
    return csv_answer(source, query, "payments.csv")


@router.get(
    "/lp/summary",
    summary="The caller's balance and sats as an LP, machine by machine",
    response_model=list[LpMachineSummary],
    responses=refusals(),
)
async def api_lp_summary(account: Caller) -> list[LpMachineSummary]:
    return await lp_summary(account.id)


@router.get(
    "/lp/history",
    summary="What the caller received as an LP, by UTC day and currency",
    response_model=list[LpHistoryDay],
    responses=refusals(400),
)
async def api_lp_history(
    account: Caller,
    span: Annotated[
        str,
        Query(alias="range", description="like 30d, 1 to 3650 days; or all"),
    ] = "30d",
) -> list[LpHistoryDay]:
    return await lp_history(account.id, _days_of(span))


def _days_of(span: str) -> int | None:
    """The days of a range like 30d; None for all. `BadInputError` for another word."""
    if span == "all":
        return None
    number = span[:-1] if span.endswith("d") else ""
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        raise BadInputError("range must be like 30d, or all.")
    if not 1 <= int(number) <= 3650:
        raise BadInputError("range must be from 1d to 3650d, or all.")
    return int(number)
