"""Invitations over HTTP: the operator asks, the LP says yes, no, or leaves.

A link is opened by people who have never heard of this extension: its routes take any
LNbits user, and enable the extension for who holds a code that is good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Path, Request
from fastapi.responses import StreamingResponse
from lnbits.core.models import Account
from lnbits.decorators import check_access_token, check_account_exists
from pydantic import UUID4

from ..base.database import db, from_db_time
from ..base.refusals import NotFoundError
from ..host.people import (
    EXTENSION_ID,
    account_of,
    enable_extension,
    may_use_extension,
    usernames_of,
)
from ..models import utc_now
from ..parties import invitations_crud as invitations
from ..parties import staff_crud
from .inputs import AnswerInput, CodeInput, LinkInput
from .lists import CSV_ANSWER, csv_of_rows
from .models import EnrolmentAnswer, EnrolmentPage, InvitationAnswer
from .route import Caller, MachineId, new_router, refusals
from .spreadsheet import InSheet

router = new_router()

Code = Annotated[str, Path(description="of a link that invites")]
EnrolmentId = Annotated[str, Path(description="an invitation or enrolment of yours")]


# ------------------------------------------------------------------------ LNbits' users


async def any_user(
    request: Request,
    access_token: Annotated[str | None, Depends(check_access_token)],
    usr: UUID4 | None = None,
) -> Account:
    """Whoever is logged in, with this extension enabled or not.

    LNbits proves who it is, and what their token may do, before it looks at their
    extensions: only that last refusal is passed over.
    """
    request.scope.pop("user_id", None)
    try:
        return await check_account_exists(request, access_token, usr)
    except HTTPException as exc:
        user_id = str(request.scope.get("user_id") or "")
        is_known = exc.status_code == 403 and user_id
        if not is_known or not may_use_extension(user_id):
            raise
        account = await account_of(user_id)
        if account is None:
            raise
        return account


AnyUser = Annotated[Account, Depends(any_user)]


# ------------------------------------------------------------------------- the operator


@router.post(
    "/machines/{machine_id}/invitations",
    status_code=201,
    summary="A link that invites one person to be an LP at a machine",
    description="Its code is used once and is good for 14 days.",
    response_model=InvitationAnswer,
    responses=refusals(400, 404, 409),
)
async def api_invitation_link(
    account: Caller,
    machine_id: MachineId,
    request: Request,
    body: LinkInput | None = None,
) -> InvitationAnswer:
    label = body.username if body else None
    made = await invitations.invite(account.id, machine_id, label, is_link=True)
    return InvitationAnswer(
        id=made.id,
        code=made.code,
        url=f"{request.base_url}{EXTENSION_ID}/invitations/{made.code}",
        expires_at=made.expires_at,
    )


# ------------------------------------------------------------------------------- the LP


def _answers(
    found: list[Mapping[str, Any]], names: Mapping[str, str | None]
) -> list[EnrolmentAnswer]:
    return [
        EnrolmentAnswer(
            id=row["id"],
            machine_id=row["machine_id"],
            machine=row["name"] or f"{row['machine_npub'][:12]}…",
            operator_name=names.get(row["operator_user_id"]),
            currency=row["fiat_code"],
            status=row["status"],
            created_at=from_db_time(row["created_at"]) or utc_now(),
            expires_at=from_db_time(row.get("expires_at")),
        )
        for row in found
    ]


def _reason(body: AnswerInput | None) -> str | None:
    return body.reason if body else None


async def _enrolments(user_id: str) -> list[EnrolmentAnswer]:
    """What waits for this user's yes, then the machines they said yes to."""
    async with db.connect() as conn:
        found = await invitations.open_invitations(conn, user_id)
        found += await invitations.enrolments(conn, user_id)
    names = await usernames_of(row["operator_user_id"] for row in found)
    return _answers(found, names)


async def _enrolment(user_id: str, enrolment_id: str) -> EnrolmentAnswer:
    for row in await _enrolments(user_id):
        if row.id == enrolment_id:
            return row
    raise NotFoundError(invitations.NO_ENROLMENT)


async def _invitation_answer(
    invitation: invitations.Invitation, status: str
) -> EnrolmentAnswer:
    """An invitation as who holds it sees it."""
    async with db.connect() as conn:
        row = await invitations.with_machine(conn, invitation.id)
    names = await usernames_of([invitation.operator_user_id])
    (answer,) = _answers([{**row, "status": status}], names)
    return answer


async def _work_answer(staff: staff_crud.Staff) -> EnrolmentAnswer:
    """An invitation to work for an operator, as who holds it sees it."""
    names = await usernames_of([staff.operator_user_id])
    return EnrolmentAnswer(
        id=staff.id,
        machine_id="",
        machine="",
        operator_name=names.get(staff.operator_user_id),
        currency="",
        status=staff.status,
        created_at=staff.created_at,
        expires_at=staff.expires_at,
        role=staff.role,
    )


@router.get(
    "/invitations/{code}",
    summary="What a link invites to; for any LNbits user",
    description="Enables this extension for the caller.",
    response_model=EnrolmentAnswer,
    responses=refusals(404),
)
async def api_invitation(account: AnyUser, code: Code) -> EnrolmentAnswer:
    staff = await staff_crud.read_code(code)
    if staff:
        await enable_extension(account.id)
        return await _work_answer(staff)
    async with db.connect() as conn:
        invitation = await invitations.read_link(conn, code, account.id)
    await enable_extension(account.id)
    return await _invitation_answer(invitation, "invited")


@router.post(
    "/invitations/{code}/accept",
    summary="Say yes to a link",
    response_model=EnrolmentAnswer,
    responses=refusals(404),
)
async def api_accept_link(
    account: AnyUser, code: Code, body: AnswerInput | None = None
) -> EnrolmentAnswer:
    if await staff_crud.read_code(code):
        await enable_extension(account.id)
        return await _work_answer(
            await staff_crud.answer(code, account.id, account.username, is_yes=True)
        )
    invitation = await invitations.take_link(code, account.id)
    await enable_extension(account.id)
    client = await invitations.accept(invitation.id, account.id, account.username)
    return await _enrolment(account.id, client.id)


@router.post(
    "/invitations/{code}/decline",
    summary="Say no to a link; who sent it is not told",
    response_model=EnrolmentAnswer,
    responses=refusals(404),
)
async def api_decline_link(
    account: AnyUser, code: Code, body: AnswerInput | None = None
) -> EnrolmentAnswer:
    if await staff_crud.read_code(code):
        return await _work_answer(
            await staff_crud.answer(code, account.id, account.username, is_yes=False)
        )
    invitation = await invitations.take_link(code, account.id)
    declined = await invitations.decline(invitation.id, account.id, _reason(body))
    return await _invitation_answer(declined, "declined")


@router.get(
    "/lp/enrolments",
    summary="Who invites the caller, and where they are an LP",
    response_model=EnrolmentPage,
    responses=refusals(),
)
async def api_enrolments(account: Caller) -> EnrolmentPage:
    found = await _enrolments(account.id)
    return EnrolmentPage(data=found, total=len(found))


@router.get(
    "/lp/enrolments.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals()},
)
async def api_enrolments_csv(account: Caller, sheet: InSheet) -> StreamingResponse:
    found = await _enrolments(account.id)
    return csv_of_rows(found, list(EnrolmentAnswer.__fields__), sheet, "enrolments.csv")


@router.post(
    "/lp/enrolments",
    status_code=201,
    summary="Take the invitation behind a code, to answer it later",
    response_model=EnrolmentAnswer,
    responses=refusals(400, 404),
)
async def api_take_link(account: Caller, body: CodeInput) -> EnrolmentAnswer:
    invitation = await invitations.take_link(body.code, account.id)
    return await _invitation_answer(invitation, "invited")


@router.post(
    "/lp/enrolments/{enrolment_id}/accept",
    summary="Say yes to an invitation",
    response_model=EnrolmentAnswer,
    responses=refusals(404),
)
async def api_accept(
    account: Caller, enrolment_id: EnrolmentId, body: AnswerInput | None = None
) -> EnrolmentAnswer:
    client = await invitations.accept(enrolment_id, account.id, account.username)
    return await _enrolment(account.id, client.id)


@router.post(
    "/lp/enrolments/{enrolment_id}/decline",
    summary="Say no to an invitation; who sent it is not told",
    response_model=EnrolmentAnswer,
    responses=refusals(404),
)
async def api_decline(
    account: Caller, enrolment_id: EnrolmentId, body: AnswerInput | None = None
) -> EnrolmentAnswer:
    declined = await invitations.decline(enrolment_id, account.id, _reason(body))
    return await _invitation_answer(declined, "declined")


@router.post(
    "/lp/enrolments/{enrolment_id}/leave",
    summary="Leave a machine: no new sats; what is owed stays owed",
    response_model=EnrolmentAnswer,
    responses=refusals(404, 409),
)
async def api_leave(
    account: Caller, enrolment_id: EnrolmentId, body: AnswerInput | None = None
) -> EnrolmentAnswer:
    await invitations.leave(enrolment_id, account.id, _reason(body))
    return await _enrolment(account.id, enrolment_id)
