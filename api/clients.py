"""LPs as their operator sees them, and the cash they handed over, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Response
from fastapi.responses import StreamingResponse
from lnbits.core.models import Account

from ..books.lists import ListQuery, fetch_page, fetch_row
from ..books.reports import (
    CLIENT_FIELDS,
    DEPOSIT_FIELDS,
    clients_source,
    deposits_source,
)
from ..books.summaries import client_balance
from ..host.people import enable_extension, user_named
from ..parties import deposits, lps
from ..parties import invitations_crud as invitations
from ..parties.deposits_crud import NO_DEPOSIT
from ..parties.lps_crud import NO_CLIENT
from .inputs import (
    ClientChanges,
    ClientInput,
    DepositChanges,
    DepositInput,
    DepositStatusInput,
)
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs, totals_of
from .models import BalanceAnswer, ClientAnswer, ClientPage, DepositAnswer, DepositPage
from .route import (
    Caller,
    ClientId,
    DepositId,
    InScope,
    acts_as_super,
    named_fields,
    new_router,
    refusals,
)

router = new_router()
AskedOfClients = Annotated[ListQuery, Depends(asked_of(CLIENT_FIELDS))]
AskedOfDeposits = Annotated[ListQuery, Depends(asked_of(DEPOSIT_FIELDS))]


# ---------------------------------------------------------------------------- clients


async def _client_answer(user_id: str, client_id: str) -> ClientAnswer:
    source = clients_source(user_id, False, client_id)
    return ClientAnswer(**await fetch_row(source, CLIENT_FIELDS, NO_CLIENT))


@router.get(
    "/clients",
    summary="The LPs at the caller's machines, and those who have not answered yet",
    response_model=ClientPage,
    responses=refusals(400),
    openapi_extra=filter_docs(CLIENT_FIELDS, "ClientFilters"),
)
async def api_clients(scope: InScope, query: AskedOfClients) -> ClientPage:
    source = clients_source(scope.user_id, scope.is_all)
    found, total = await fetch_page(source, query)
    data = [ClientAnswer(**row) for row in found]
    totals = await totals_of(source, query)
    return ClientPage(data=data, total=total, totals=totals)


@router.get(
    "/clients.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(CLIENT_FIELDS, "ClientFilters"),
)
async def api_clients_csv(scope: InScope, query: AskedOfClients) -> Any:
    return csv_answer(clients_source(scope.user_id, scope.is_all), query, "clients.csv")


@router.post(
    "/clients",
    status_code=201,
    summary="Invite an LNbits user to be an LP at a machine",
    description="By `username`. The answer is the same whether there is such a user or "
    "not: `invited` until they say yes or 14 days are over. Enables this extension for "
    "them. At most 20 invitations wait at a time, and one for a person in 14 days.",
    response_model=ClientAnswer,
    responses=refusals(400, 404, 409),
)
async def api_invite(account: Caller, body: ClientInput) -> ClientAnswer:
    lp = await user_named(body.username)
    invitation = await invitations.invite(
        account.id, body.machine_id, body.username, lp.id if lp else None
    )
    if lp:
        await enable_extension(lp.id)
    return await _client_answer(account.id, invitation.id)


@router.get(
    "/clients/{client_id}",
    summary="One LP at one machine",
    response_model=ClientAnswer,
    responses=refusals(404),
)
async def api_client(account: Caller, client_id: ClientId) -> ClientAnswer:
    return await _client_answer(account.id, client_id)


@router.put(
    "/clients/{client_id}",
    summary="Pause an LP, take them up again, or change how they are called",
    description="What was read of an invitation may be sent back; nothing else of it "
    "can be changed.",
    response_model=ClientAnswer,
    responses=refusals(400, 404, 409),
)
async def api_update_client(
    account: Caller, client_id: ClientId, body: ClientChanges
) -> ClientAnswer:
    changes = named_fields(body, ("username",))
    present = await _client_answer(account.id, client_id)
    if all(getattr(present, key) == value for key, value in changes.items()):
        return present
    await lps.update_client(account.id, client_id, changes)
    return await _client_answer(account.id, client_id)


@router.delete(
    "/clients/{client_id}",
    status_code=204,
    response_model=None,
    summary="Take an LP without money history off a machine, or an invitation back",
    responses=refusals(404, 409),
)
async def api_delete_client(account: Caller, client_id: ClientId) -> None:
    if not await invitations.withdraw(account.id, client_id):
        await lps.delete_client(account.id, client_id)


@router.get(
    "/clients/{client_id}/balance",
    summary="What an LP deposited, what was paid out, and what is left",
    response_model=BalanceAnswer,
    responses=refusals(404),
)
async def api_balance(account: Caller, client_id: ClientId) -> BalanceAnswer:
    return BalanceAnswer(**(await client_balance(account.id, client_id)).dict())


# --------------------------------------------------------------------------- deposits


async def _deposit_answer(account: Account, deposit_id: str) -> DepositAnswer:
    source = deposits_source(account.id, acts_as_super(account), deposit_id)
    row = await fetch_row(source, DEPOSIT_FIELDS, NO_DEPOSIT)
    return DepositAnswer.of(row)


@router.get(
    "/deposits",
    summary="Deposits at the caller's machines",
    response_model=DepositPage,
    responses=refusals(400),
    openapi_extra=filter_docs(DEPOSIT_FIELDS, "DepositFilters"),
)
async def api_deposits(scope: InScope, query: AskedOfDeposits) -> DepositPage:
    source = deposits_source(scope.user_id, scope.is_all)
    found, total = await fetch_page(source, query)
    data = [DepositAnswer.of(row) for row in found]
    totals = await totals_of(source, query)
    return DepositPage(data=data, total=total, totals=totals)


@router.get(
    "/deposits.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(DEPOSIT_FIELDS, "DepositFilters"),
)
async def api_deposits_csv(scope: InScope, query: AskedOfDeposits) -> Any:
    source = deposits_source(scope.user_id, scope.is_all)
    return csv_answer(source, query, "deposits.csv")


@router.post(
    "/deposits",
    status_code=201,
    summary="Record cash that an LP handed over; it counts once confirmed",
    description="With an `idempotency_key` once: the same again answers the first one, "
    "with 200.",
    response_model=DepositAnswer,
    responses={200: {"model": DepositAnswer}, **refusals(400, 404, 409)},
)
async def api_create_deposit(
    account: Caller, body: DepositInput, response: Response
) -> DepositAnswer:
    deposit_id, is_new = await deposits.create_deposit(
        account.id,
        acts_as_super(account),
        body.client_id,
        body.amount,
        body.notes,
        body.idempotency_key,
    )
    if not is_new:
        response.status_code = 200
    return await _deposit_answer(account, deposit_id)


@router.put(
    "/deposits/{deposit_id}",
    summary="Correct a pending deposit",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_update_deposit(
    account: Caller, deposit_id: DepositId, body: DepositChanges
) -> DepositAnswer:
    changes = named_fields(body, ("notes",))
    await deposits.update_deposit(
        account.id, acts_as_super(account), deposit_id, changes
    )
    return await _deposit_answer(account, deposit_id)


@router.put(
    "/deposits/{deposit_id}/status",
    summary="Confirm or cancel a pending or claimed deposit, or take one back",
    description="A reversal needs a reason, which the LP sees, and is refused if it "
    "would take the LP's balance below zero. Within an hour, and while nothing was "
    "planned from the LP's balance since, the operator makes it alone; later it is "
    "asked of the LP: the status stays confirmed, with `reversal.state` requested. A "
    "claimed deposit is refused (cancelled) with a reason.",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_deposit_status(
    account: Caller, deposit_id: DepositId, body: DepositStatusInput
) -> DepositAnswer:
    await deposits.set_deposit_status(
        account.id,
        acts_as_super(account),
        deposit_id,
        body.status,
        body.reason,
        body.amount,
    )
    return await _deposit_answer(account, deposit_id)
