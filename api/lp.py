"""An LP's own side, over HTTP: their preferences, deposits, payments and summary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Response
from fastapi.responses import StreamingResponse

from ..base.database import db, from_db_time
from ..base.refusals import BadInputError, NotFoundError
from ..books.figures import LpHistoryDay, LpMachineSummary
from ..books.lists import ListQuery, fetch_page, fetch_row
from ..books.payments import LEG_FIELDS, lp_legs_source
from ..books.reports import DEPOSIT_FIELDS, lp_deposits_source
from ..books.summaries import lp_history, lp_summary
from ..host.wallets import wallets_of
from ..money.targets import check_own_wallet, check_receivers
from ..parties import deposits, lps, lps_crud
from ..parties.deposits_crud import NO_DEPOSIT
from .inputs import AnswerInput, DepositClaim, LpChanges, LpInput, ReasonInput
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs, totals_of
from .models import DepositAnswer, DepositPage, LegAnswer, LegPage, LpAnswer, pick
from .route import Caller, InScope, named_fields, new_router, refusals
from .zones import InZone

router = new_router()
AskedOfDeposits = Annotated[ListQuery, Depends(asked_of(DEPOSIT_FIELDS))]
AskedOfLegs = Annotated[ListQuery, Depends(asked_of(LEG_FIELDS))]
OwnDepositId = Annotated[str, Path(description="a deposit of yours as an LP")]
NULLABLE = ("fixed_mode_daily_limit", "autoforward_ln_address")


async def _answer(user_id: str) -> LpAnswer:
    async with db.connect() as conn:
        profile = await lps_crud.get_profile(conn, user_id)
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


async def _check_address(
    fields: Mapping[str, Any], present: str | None, must_answer: bool
) -> None:
    address = fields.get("autoforward_ln_address")
    if address and address != present:
        await check_receivers([address], must_answer)


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
    must_answer = fields.pop("must_answer", False)
    await _check_wallet(fields, account.id)
    await _check_address(fields, None, must_answer)
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
    must_answer = changes.pop("must_answer", False)
    if changes.get("dca_wallet_id") != present.dca_wallet_id:
        await _check_wallet(changes, account.id)
    await _check_address(changes, present.autoforward_ln_address, must_answer)
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
    source = lp_deposits_source(scope.user_id)
    found, total = await fetch_page(source, query)
    data = [DepositAnswer.of(row) for row in found]
    totals = await totals_of(source, query)
    return DepositPage(data=data, total=total, totals=totals)


@router.get(
    "/lp/deposits.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(DEPOSIT_FIELDS, "LpDepositFilters"),
)
async def api_lp_deposits_csv(scope: InScope, query: AskedOfDeposits) -> Any:
    return csv_answer(lp_deposits_source(scope.user_id), query, "deposits.csv")


async def _deposit_answer(user_id: str, deposit_id: str) -> DepositAnswer:
    source = lp_deposits_source(user_id, deposit_id)
    row = await fetch_row(source, DEPOSIT_FIELDS, NO_DEPOSIT)
    return DepositAnswer.of(row)


@router.post(
    "/lp/deposits",
    status_code=201,
    summary="Report cash that was handed over and not recorded",
    description="The operator confirms it, or refuses it with a reason. At most five "
    "wait at a machine.",
    response_model=DepositAnswer,
    responses={200: {"model": DepositAnswer}, **refusals(400, 404, 409)},
)
async def api_claim_deposit(
    account: Caller, body: DepositClaim, response: Response
) -> DepositAnswer:
    where = body.client_id or body.machine_id
    if not where:
        raise BadInputError("client_id or machine_id is missing: at which machine?")
    deposit_id, is_new = await deposits.claim_deposit(
        account.id, where, body.amount, body.notes, body.idempotency_key
    )
    if not is_new:
        response.status_code = 200
    return await _deposit_answer(account.id, deposit_id)


@router.post(
    "/lp/deposits/{deposit_id}/dispute",
    summary="Say that a deposit is wrong; operator and super see it",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_dispute(
    account: Caller, deposit_id: OwnDepositId, body: ReasonInput
) -> DepositAnswer:
    await deposits.dispute(account.id, deposit_id, body.reason)
    return await _deposit_answer(account.id, deposit_id)


@router.post(
    "/lp/deposits/{deposit_id}/withdraw-dispute",
    summary="Take one's dispute back",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_withdraw_dispute(
    account: Caller, deposit_id: OwnDepositId, body: AnswerInput | None = None
) -> DepositAnswer:
    reason = body.reason if body else None
    await deposits.withdraw_dispute(account.id, deposit_id, reason)
    return await _deposit_answer(account.id, deposit_id)


@router.post(
    "/lp/deposits/{deposit_id}/accept-reversal",
    summary="Agree that cash was given back: it leaves the balance",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_accept_reversal(
    account: Caller, deposit_id: OwnDepositId, body: AnswerInput | None = None
) -> DepositAnswer:
    await deposits.answer_reversal(account.id, deposit_id, True)
    return await _deposit_answer(account.id, deposit_id)


@router.post(
    "/lp/deposits/{deposit_id}/decline-reversal",
    summary="Say that no cash was given back: the balance stays",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_decline_reversal(
    account: Caller, deposit_id: OwnDepositId, body: AnswerInput | None = None
) -> DepositAnswer:
    reason = body.reason if body else None
    await deposits.answer_reversal(account.id, deposit_id, False, reason)
    return await _deposit_answer(account.id, deposit_id)


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
    data = [LegAnswer(**row) for row in found]
    totals = await totals_of(source, query)
    return LegPage(data=data, total=total, totals=totals)


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


def days_of_span(
    span: Annotated[
        str,
        Query(alias="range", description="like 30d, 1 to 3650 days; or all"),
    ] = "30d",
) -> int | None:
    """The days of a range like 30d; None for all. `BadInputError` for another word."""
    if span == "all":
        return None
    number = span[:-1] if span.endswith("d") else ""
    if not (number.isascii() and number.isdigit() and len(number) <= 4):
        raise BadInputError("range must be like 30d, or all.")
    if not 1 <= int(number) <= 3650:
        raise BadInputError("range must be from 1d to 3650d, or all.")
    return int(number)


InSpan = Annotated[int | None, Depends(days_of_span)]


@router.get(
    "/lp/history",
    summary="What the caller received as an LP, by day and currency",
    response_model=list[LpHistoryDay],
    responses=refusals(400),
)
async def api_lp_history(
    account: Caller, zone: InZone, days: InSpan
) -> list[LpHistoryDay]:
    return await lp_history(account.id, days, zone)
