"""Discounts over HTTP: an operator's codes, and the platform's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.responses import StreamingResponse
from lnbits.db import Page
from pydantic import BaseModel, Field

from ..books.discounts import DISCOUNT_FIELDS, discounts_source
from ..books.lists import ListQuery, fetch_page, fetch_row
from ..parties import discounts_crud
from ..parties.discounts_crud import NO_DISCOUNT, PLATFORM
from .fields import Fraction, Input, Moment, RowId, Text, WholeNumber
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .route import Caller, Super, named_fields, new_router, refusals

router = new_router()
DiscountId = Annotated[str, Path(description="a discount of yours")]
AskedOfDiscounts = Annotated[ListQuery, Depends(asked_of(DISCOUNT_FIELDS))]


class Code(Text):
    """4 to 24 letters and digits; case does not matter."""

    max_length = 24

    @classmethod
    def validate(cls, value: Any, field: Any) -> str:
        return discounts_crud.folded(super().validate(value, field))


class Share(Fraction):
    """0.0001 to 1.0000 of the owner's own fee."""

    @classmethod
    def validate(cls, value: Any, field: Any) -> Decimal:
        share = super().validate(value, field)
        if share <= 0:
            raise ValueError("fraction must be more than 0 and at most 1.0000.")
        return share


class Uses(WholeNumber):
    minimum = 1
    maximum = 1_000_000_000


NULLABLE = ("valid_from", "valid_until", "machine_ids", "max_uses", "max_uses_a_day")


class DiscountChanges(Input):
    """What is named changes; null takes a limit away."""

    code: Code | None = None
    fraction: Share | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    machine_ids: list[RowId] | None = Field(None, description="null: all of yours")
    max_uses: Uses | None = None
    max_uses_a_day: Uses | None = None
    is_active: bool | None = None

    def changes(self) -> dict[str, Any]:
        """Columns and their values, of the fields that the body names."""
        named = named_fields(self, nullable=NULLABLE)
        if "machine_ids" in named:
            ids = named.pop("machine_ids")
            kept = None if ids is None else json.dumps(sorted(set(ids)))
            named["machines_json"] = kept
        return named


class DiscountInput(DiscountChanges):
    code: Code
    fraction: Share


class DiscountAnswer(BaseModel):
    id: str
    code: str
    fraction: str = Field(..., description="of the owner's own fee")
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    machine_ids: list[str] | None = Field(None, description="null: all")
    max_uses: int | None = None
    max_uses_a_day: int | None = Field(None, description="of the owner's days")
    is_active: bool
    uses: int = Field(..., description="without those of invoices that nobody paid")
    forgiven_sats: int
    created_at: datetime


class DiscountPage(Page[DiscountAnswer]):
    data: list[DiscountAnswer]


def _answer(row: Mapping[str, Any]) -> DiscountAnswer:
    machines = row["machine_ids"]
    return DiscountAnswer(
        **{
            **row,
            "fraction": f"{Decimal(str(row['fraction'])):.4f}",
            "machine_ids": None if machines is None else json.loads(machines),
        }
    )


async def _page(owner: str, query: ListQuery) -> DiscountPage:
    found, total = await fetch_page(discounts_source(owner), query)
    return DiscountPage(data=[_answer(row) for row in found], total=total)


async def _one(owner: str, discount_id: str) -> DiscountAnswer:
    source = discounts_source(owner, discount_id)
    return _answer(await fetch_row(source, DISCOUNT_FIELDS, NO_DISCOUNT))


# ------------------------------------------------------------------------ the operator


@router.get(
    "/discounts",
    summary="Codes that take a share off the caller's own fee",
    response_model=DiscountPage,
    responses=refusals(400),
    openapi_extra=filter_docs(DISCOUNT_FIELDS, "DiscountFilters"),
)
async def api_discounts(account: Caller, query: AskedOfDiscounts) -> DiscountPage:
    return await _page(account.id, query)


@router.get(
    "/discounts.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(DISCOUNT_FIELDS, "DiscountFilters"),
)
async def api_discounts_csv(
    account: Caller, query: AskedOfDiscounts
) -> StreamingResponse:
    return csv_answer(discounts_source(account.id), query, "discounts.csv")


@router.post(
    "/discounts",
    status_code=201,
    summary="A code that takes a share off the operator's fee",
    description="Off the fraction and the fixed fee. Taken on the line, once per txid.",
    response_model=DiscountAnswer,
    responses=refusals(400, 404, 409),
)
async def api_create_discount(account: Caller, body: DiscountInput) -> DiscountAnswer:
    made = await discounts_crud.create(account.id, account.id, body.changes())
    return await _one(account.id, made.id)


@router.get(
    "/discounts/{discount_id}",
    summary="One code, its uses and what it forgave",
    response_model=DiscountAnswer,
    responses=refusals(404),
)
async def api_discount(account: Caller, discount_id: DiscountId) -> DiscountAnswer:
    return await _one(account.id, discount_id)


@router.put(
    "/discounts/{discount_id}",
    summary="Change or stop a code, for the uses from now on",
    response_model=DiscountAnswer,
    responses=refusals(400, 404, 409),
)
async def api_change_discount(
    account: Caller, discount_id: DiscountId, body: DiscountChanges
) -> DiscountAnswer:
    await discounts_crud.change(account.id, account.id, discount_id, body.changes())
    return await _one(account.id, discount_id)


@router.delete(
    "/discounts/{discount_id}",
    status_code=204,
    response_model=None,
    summary="Remove a code that nobody used",
    responses=refusals(404, 409),
)
async def api_delete_discount(account: Caller, discount_id: DiscountId) -> None:
    await discounts_crud.delete(account.id, account.id, discount_id)


# ------------------------------------------------------------------------ the platform


@router.get(
    "/super/discounts",
    summary="Codes that take a share off the platform's fee",
    response_model=DiscountPage,
    responses=refusals(400),
    openapi_extra=filter_docs(DISCOUNT_FIELDS, "SuperDiscountFilters"),
)
async def api_super_discounts(account: Super, query: AskedOfDiscounts) -> DiscountPage:
    return await _page(PLATFORM, query)


@router.get(
    "/super/discounts.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(DISCOUNT_FIELDS, "SuperDiscountFilters"),
)
async def api_super_discounts_csv(
    account: Super, query: AskedOfDiscounts
) -> StreamingResponse:
    return csv_answer(discounts_source(PLATFORM), query, "discounts.csv")


@router.post(
    "/super/discounts",
    status_code=201,
    summary="A code that takes a share off the platform's fee, at any machine",
    response_model=DiscountAnswer,
    responses=refusals(400, 404, 409),
)
async def api_create_super_discount(
    account: Super, body: DiscountInput
) -> DiscountAnswer:
    made = await discounts_crud.create(PLATFORM, account.id, body.changes())
    return await _one(PLATFORM, made.id)


@router.get(
    "/super/discounts/{discount_id}",
    summary="One code of the platform, its uses and what it forgave",
    response_model=DiscountAnswer,
    responses=refusals(404),
)
async def api_super_discount(account: Super, discount_id: DiscountId) -> DiscountAnswer:
    return await _one(PLATFORM, discount_id)


@router.put(
    "/super/discounts/{discount_id}",
    summary="Change or stop a code of the platform",
    response_model=DiscountAnswer,
    responses=refusals(400, 404, 409),
)
async def api_change_super_discount(
    account: Super, discount_id: DiscountId, body: DiscountChanges
) -> DiscountAnswer:
    await discounts_crud.change(PLATFORM, account.id, discount_id, body.changes())
    return await _one(PLATFORM, discount_id)


@router.delete(
    "/super/discounts/{discount_id}",
    status_code=204,
    response_model=None,
    summary="Remove a code of the platform that nobody used",
    responses=refusals(404, 409),
)
async def api_delete_super_discount(account: Super, discount_id: DiscountId) -> None:
    await discounts_crud.delete(PLATFORM, account.id, discount_id)
