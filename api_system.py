"""Who am I, is all well, and has anything changed, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import StreamingResponse
from lnbits.settings import settings

from . import registry
from .api_lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .api_models import AuditAnswer, AuditPage, Me
from .api_route import Caller, InScope, new_router, refusals
from .lists import ListQuery, fetch_page
from .reports import AUDIT_FIELDS, audit_source

router = new_router()
AskedOfAudit = Annotated[ListQuery, Depends(asked_of(AUDIT_FIELDS))]


@router.get(
    "/me",
    summary="The caller's roles, which follow from data",
    response_model=Me,
    responses=refusals(),
)
async def api_me(account: Caller) -> Me:
    operator, lp = await registry.roles(account.id)
    return Me(user_id=account.id, super=account.is_super_user, operator=operator, lp=lp)


@router.get(
    "/audit",
    summary="Who did what, at the caller's machines or as an LP",
    response_model=AuditPage,
    responses=refusals(400),
    openapi_extra=filter_docs(AUDIT_FIELDS, "AuditFilters"),
)
async def api_audit(scope: InScope, query: AskedOfAudit) -> AuditPage:
    source = audit_source(scope.user_id, scope.is_all, settings.super_user or "")
    found, total = await fetch_page(source, query)
    return AuditPage(data=[audit_answer(row) for row in found], total=total)


@router.get(
    "/audit.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(AUDIT_FIELDS, "AuditFilters"),
)
async def api_audit_csv(scope: InScope, query: AskedOfAudit) -> Any:
    source = audit_source(scope.user_id, scope.is_all, settings.super_user or "")
    return csv_answer(source, query, "audit.csv")


def audit_answer(row: Mapping[str, Any]) -> AuditAnswer:
    """A row of the log, with what was and what is as JSON again."""
    opened = dict(row)
    for key in ("before", "after"):
        opened[key] = json.loads(row[key]) if row[key] else None
    return AuditAnswer(**opened)
