"""One search over everything of the caller's, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from ..base.refusals import BadInputError
from ..books.search import search
from ..host.wallets import wallets_of
from .route import Caller, new_router, refusals

router = new_router()
LONGEST = 200


class FoundAnswer(BaseModel):
    type: Literal["machine", "client", "settlement", "payment", "deposit"]
    id: str
    label: str = Field(..., description="the name or the hash that people know it by")
    machine_id: str | None = None
    machine: str | None = None
    client_id: str | None = None
    settlement_id: str | None = None
    status: str | None = None
    sats: int | None = None
    amount: str | None = None
    currency: str | None = None
    at: datetime | None = None
    as_lp: bool = Field(False, description="the caller's own as an LP")


class FoundPage(BaseModel):
    data: list[FoundAnswer]
    total: int


@router.get(
    "/search",
    summary="Search settlements, legs, deposits, machines and LPs of the caller",
    description="By hash or its beginning, the machine's number of a trade, names, "
    "sats, cash amount; at most 20, the exact ones first.",
    response_model=FoundPage,
    responses=refusals(400),
)
async def api_search(
    account: Caller,
    typed: Annotated[str, Query(alias="q", max_length=LONGEST)] = "",
) -> FoundPage:
    try:
        found = await search(account.id, await wallets_of(account.id), typed)
    except ValueError as exc:
        raise BadInputError(str(exc)) from exc
    data = [FoundAnswer(**asdict(one)) for one in found]
    return FoundPage(data=data, total=len(data))
