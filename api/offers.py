"""Offers to close an LP's balance at a low rate, over HTTP: the LP takes one or not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.responses import StreamingResponse
from lnbits.db import Page
from pydantic import BaseModel, Field

from ..books.lists import ListQuery, fetch_page, fetch_row
from ..books.offers import OFFER_FIELDS, lp_offers_source
from ..calculations import fiat_cents, round_half_up
from ..desk import balances
from .inputs import AnswerInput
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .route import Caller, InScope, new_router, refusals

router = new_router()
AskedOfOffers = Annotated[ListQuery, Depends(asked_of(OFFER_FIELDS))]
OfferId = Annotated[str, Path(description="an offer to you")]
NO_OFFER = "There is no such offer to you."


class OfferWaiting(BaseModel):
    """A balance is not closed yet: the rate is low, and the LP must say yes to it."""

    offer_id: str
    status: str = Field("waiting for the LP", description="always these words")
    expires_at: datetime


class OfferAnswer(BaseModel):
    """An operator's offer to pay the LP's whole balance out at a low rate."""

    id: str
    client_id: str
    machine_id: str
    machine: str | None = Field(None, description="its name")
    status: str = Field(
        ..., description="waiting, accepted, declined, lapsed, or replaced by another"
    )
    exchange_rate: float = Field(..., description="sats for one unit of fiat")
    remaining: str = Field(..., description="what is left of the balance now")
    currency: str
    amount_sats: int | None = Field(
        None, description="what would be paid now; null once it is over"
    )
    reason: str | None = None
    payment_id: str | None = Field(None, description="the leg, once accepted")
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None


class OfferPage(Page[OfferAnswer]):
    data: list[OfferAnswer]


def _answer(row: Mapping[str, Any]) -> OfferAnswer:
    """The row, with what it would pay of what is left now; nothing once it is over."""
    sats = None
    if row["status"] == "waiting":
        cents = fiat_cents(row["remaining"], "remaining")
        rate = Decimal(str(row["exchange_rate"]))
        parts = (cents * rate / 100).as_integer_ratio()
        sats = round_half_up(*parts) if cents > 0 else 0
    return OfferAnswer(**{**row, "amount_sats": sats})


async def _offer(user_id: str, offer_id: str) -> OfferAnswer:
    source = lp_offers_source(user_id, offer_id)
    return _answer(await fetch_row(source, OFFER_FIELDS, NO_OFFER))


@router.get(
    "/lp/offers",
    summary="Offers to pay the caller's whole balance out at a low rate",
    description="Nothing is debited before the yes. An offer lapses after 14 days.",
    response_model=OfferPage,
    responses=refusals(400),
    openapi_extra=filter_docs(OFFER_FIELDS, "LpOfferFilters"),
)
async def api_lp_offers(scope: InScope, query: AskedOfOffers) -> OfferPage:
    found, total = await fetch_page(lp_offers_source(scope.user_id), query)
    return OfferPage(data=[_answer(row) for row in found], total=total)


@router.get(
    "/lp/offers.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(OFFER_FIELDS, "LpOfferFilters"),
)
async def api_lp_offers_csv(scope: InScope, query: AskedOfOffers) -> Any:
    return csv_answer(lp_offers_source(scope.user_id), query, "offers.csv")


@router.post(
    "/lp/offers/{offer_id}/accept",
    summary="Take an offer: what is left of the balance now is paid out at its rate",
    response_model=OfferAnswer,
    responses=refusals(400, 404, 409),
)
async def api_accept_offer(
    account: Caller, offer_id: OfferId, body: AnswerInput | None = None
) -> OfferAnswer:
    await balances.accept_offer(account.id, offer_id, body.reason if body else None)
    return await _offer(account.id, offer_id)


@router.post(
    "/lp/offers/{offer_id}/decline",
    summary="Do not take an offer: the balance stays as it is",
    response_model=OfferAnswer,
    responses=refusals(400, 404, 409),
)
async def api_decline_offer(
    account: Caller, offer_id: OfferId, body: AnswerInput | None = None
) -> OfferAnswer:
    await balances.decline_offer(account.id, offer_id, body.reason if body else None)
    return await _offer(account.id, offer_id)
