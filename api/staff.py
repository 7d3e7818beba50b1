"""The operator's people over HTTP: whom they ask in, as what, and who left."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from ..base.database import db
from ..host.people import EXTENSION_ID
from ..parties import staff_crud
from ..parties.staff_crud import Staff
from .fields import Choice, Input, Name, RowId
from .lists import CSV_ANSWER, csv_of_rows
from .route import Caller, new_router, refusals
from .spreadsheet import InSheet

router = new_router()
StaffId = Annotated[str, Path(description="somebody who works for you, or is asked to")]


class Role(Choice):
    choices = ("manager", "bookkeeper", "collector")


class StaffInput(Input):
    role: Role
    machine_ids: list[RowId] | None = Field(
        None, description="of a collector: those they see; null: all"
    )
    name: Name | None = Field(
        None, description="what you call them, until they say yes"
    )


class StaffChanges(Input):
    role: Role | None = None
    machine_ids: list[RowId] | None = None


class StaffAnswer(BaseModel):
    id: str
    username: str | None = None
    role: str
    machine_ids: list[str] | None = Field(None, description="null: all")
    status: str = Field(..., description="invited or active")
    created_at: datetime
    expires_at: datetime | None = Field(None, description="of an invitation")
    last_seen_at: datetime | None = Field(
        None, description="when they last asked for something here, to five minutes"
    )


class StaffInvited(StaffAnswer):
    """With the link for one person; whoever opens it may say yes once."""

    code: str
    url: str


class StaffPage(BaseModel):
    data: list[StaffAnswer]
    total: int


def staff_facts(staff: Staff) -> StaffAnswer:
    # a no looks like no answer
    is_active = staff.status == staff_crud.ACTIVE
    return StaffAnswer(
        id=staff.id,
        username=staff.name,
        role=staff.role,
        machine_ids=staff.machine_ids,
        status=staff_crud.ACTIVE if is_active else staff_crud.OPEN,
        created_at=staff.created_at,
        expires_at=None if is_active else staff.expires_at,
        last_seen_at=staff.last_seen_at,
    )


async def _people(operator_user_id: str) -> list[StaffAnswer]:
    async with db.connect() as conn:
        found = await staff_crud.staff_of(conn, operator_user_id)
    return [staff_facts(s) for s in found]


@router.get(
    "/staff",
    summary="Who works for the caller, and who is asked to",
    response_model=StaffPage,
    responses=refusals(),
)
async def api_staff(account: Caller) -> StaffPage:
    found = await _people(account.id)
    return StaffPage(data=found, total=len(found))


@router.get(
    "/staff.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals()},
)
async def api_staff_csv(account: Caller, sheet: InSheet) -> StreamingResponse:
    found = await _people(account.id)
    return csv_of_rows(found, list(StaffAnswer.__fields__), sheet, "staff.csv")


@router.post(
    "/staff",
    status_code=201,
    summary="A link that asks one person in, with a role",
    response_model=StaffInvited,
    responses=refusals(400, 404, 409),
)
async def api_invite_staff(
    account: Caller, request: Request, body: StaffInput
) -> StaffInvited:
    staff = await staff_crud.invite(account.id, body.role, body.machine_ids, body.name)
    url = f"{request.base_url}{EXTENSION_ID}/invitations/{staff.code}"
    return StaffInvited(**staff_facts(staff).dict(), code=staff.code, url=url)


@router.put(
    "/staff/{staff_id}",
    summary="Another role, or other machines, from their next request on",
    response_model=StaffAnswer,
    responses=refusals(400, 404),
)
async def api_change_staff(
    account: Caller, staff_id: StaffId, body: StaffChanges
) -> StaffAnswer:
    changed = await staff_crud.change(
        account.id,
        staff_id,
        body.role,
        body.machine_ids,
        names_machines="machine_ids" in body.__fields_set__,
    )
    return staff_facts(changed)


@router.delete(
    "/staff/{staff_id}",
    status_code=204,
    response_model=None,
    summary="Remove somebody: they are out at their next request",
    responses=refusals(404),
)
async def api_remove_staff(account: Caller, staff_id: StaffId) -> None:
    await staff_crud.remove(account.id, staff_id)


@router.post(
    "/staff/{staff_id}/leave",
    status_code=204,
    response_model=None,
    summary="The caller works for this operator no more",
    responses=refusals(404),
)
async def api_leave_staff(account: Caller, staff_id: StaffId) -> None:
    await staff_crud.leave(account.id, staff_id)
