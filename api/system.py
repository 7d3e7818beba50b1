"""Who am I, is all well, and has anything changed, over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Query
from fastapi.responses import StreamingResponse
from lnbits.decorators import check_super_user

from .. import crud, tasks
from ..base.database import db
from ..base.zones import Zone
from ..books.insight_sums import up_to_date
from ..books.lists import ListQuery, fetch_page
from ..books.log import AUDIT_FIELDS, audit_answer, audit_source, by_person
from ..books.summaries import SumsOfDays, platform_counts, sums_of_days, version_of
from ..desk.attention import everything_that_waits
from ..host.people import super_user, usernames_of
from ..line import crud as line_crud
from ..line import keys as line_keys
from ..models import utc_now
from ..parties import machines_crud, staff_crud
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .models import (
    ActingFor,
    AuditAnswer,
    AuditPage,
    Changes,
    Health,
    Me,
    Overview,
    SuperOverview,
    fraction_text,
)
from .route import Caller, InScope, Super, acts_as_super, new_router, refusals
from .zones import InZone

router = new_router()
Days = Annotated[int, Query(ge=1, le=365, description="how many days, of the zone")]
AskedOfAudit = Annotated[ListQuery, Depends(asked_of(AUDIT_FIELDS))]


# Days that are not summed up are read from the entries themselves, which takes less
# than half a second for a year of the largest business that was measured.
SUMMED_UP_WITHIN_SECONDS = 0.5


@router.get(
    "/me",
    summary="The caller's roles, which follow from data",
    response_model=Me,
    responses=refusals(),
)
async def api_me(account: Caller) -> Me:
    roles = await machines_crud.roles(account.id)
    config = await crud.get_super_config()
    return Me(
        user_id=account.id,
        super=acts_as_super(account),
        operator=roles.operator,
        lp=roles.lp,
        enrolled=roles.enrolled,
        invitations=roles.invitations,
        platform_cash_in_fee_fraction=fraction_text(config.super_cash_in_fee_fraction),
        platform_cash_out_fee_fraction=fraction_text(
            config.super_cash_out_fee_fraction
        ),
        service_npub=(await line_keys.key_ring()).npub,
        relays=await line_crud.get_relays(),
        acting_for=await _acting_for(account.id),
    )


async def _acting_for(user_id: str) -> list[ActingFor]:
    found = await staff_crud.works_for(user_id)
    names = await usernames_of(staff.operator_user_id for staff in found)
    return [
        ActingFor(
            id=staff.id,
            name=names.get(staff.operator_user_id),
            role=staff.role,
            machines=staff.machine_ids,
        )
        for staff in found
    ]


@router.get(
    "/audit",
    summary="Who did what, at the caller's machines or as an LP",
    description="`actor=you` is the caller; others are a role, or the name that the "
    "operator gave who works for them.",
    response_model=AuditPage,
    responses=refusals(400),
    openapi_extra=filter_docs(AUDIT_FIELDS, "AuditFilters"),
)
async def api_audit(scope: InScope, query: AskedOfAudit) -> AuditPage:
    source = audit_source(scope.user_id, scope.is_all, super_user())
    found, total = await fetch_page(source, by_person(query, scope.user_id))
    data = [AuditAnswer(**audit_answer(row)) for row in found]
    return AuditPage(data=data, total=total)


@router.get(
    "/audit.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(AUDIT_FIELDS, "AuditFilters"),
)
async def api_audit_csv(scope: InScope, query: AskedOfAudit) -> Any:
    source = audit_source(scope.user_id, scope.is_all, super_user())
    return csv_answer(source, by_person(query, scope.user_id), "audit.csv")


@router.get(
    "/health",
    summary="Whether everything that must run is running; super only",
    response_model=Health,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_health() -> Health:
    return Health(**await tasks.health())


@router.get(
    "/changes",
    summary="A cheap sign of whether anything of the caller's may have changed",
    description="For pages that are open: ask every 5 s, and read again what is shown "
    "when `version` differs from the last one.",
    response_model=Changes,
    responses=refusals(),
)
async def api_changes(account: Caller) -> Changes:
    return Changes(version=await version_of(account.id), now=utc_now())


@router.get(
    "/overview",
    summary="What needs attention, and the sums of the last days",
    response_model=Overview,
    responses=refusals(400),
)
async def api_overview(scope: InScope, zone: InZone, days: Days = 30) -> Overview:
    waiting = await everything_that_waits(scope.user_id, scope.is_all)
    await up_to_date(SUMMED_UP_WITHIN_SECONDS)
    async with db.connect() as conn:
        sums = await sums_of_days(conn, scope.user_id, scope.is_all, days, zone)
    return Overview(needs_attention=waiting, **_sums(sums), **_period(zone, days))


def _sums(sums: SumsOfDays) -> dict[str, Any]:
    return {
        "totals": sums.totals,
        "series": sums.series,
        "corrections": sums.corrections,
    }


def _period(zone: Zone, days: int) -> dict[str, Any]:
    """Whose days they were, and the moment that the first begins at."""
    first = zone.today() - timedelta(days=days - 1)
    return {"time_zone": zone.name, "since": zone.start_of(first)}


@router.get(
    "/super/overview",
    summary="The same across all operators; super only",
    response_model=SuperOverview,
    responses=refusals(400),
)
async def api_super_overview(
    account: Super, zone: InZone, days: Days = 30
) -> SuperOverview:
    waiting = await everything_that_waits(account.id, True)
    await up_to_date(SUMMED_UP_WITHIN_SECONDS)
    async with db.connect() as conn:
        sums = await sums_of_days(conn, account.id, True, days, zone)
        counts = await platform_counts(conn)
    return SuperOverview(
        needs_attention=waiting, **_sums(sums), **_period(zone, days), **counts
    )
