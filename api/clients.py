"""LPs as their operator sees them, and the cash they handed over, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import StreamingResponse
from lnbits.core.crud.extensions import (
    create_user_extension,
    get_user_extension,
    update_user_extension,
)
from lnbits.core.crud.users import get_account, get_account_by_username
from lnbits.core.db import db as core_db
from lnbits.core.models import Account
from lnbits.core.models.extensions import UserExtension
from sqlalchemy.exc import IntegrityError

from ..base.database import db
from ..base.refusals import BadInputError
from ..books.lists import ListQuery, fetch_page, fetch_row
from ..books.reports import (
    CLIENT_FIELDS,
    DEPOSIT_FIELDS,
    clients_source,
    deposits_source,
)
from ..books.summaries import client_balance
from ..parties import lps
from ..parties import machines as registry
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .models import (
    BalanceAnswer,
    ClientAnswer,
    ClientChanges,
    ClientInput,
    ClientPage,
    DepositAnswer,
    DepositChanges,
    DepositInput,
    DepositPage,
    DepositStatusInput,
)
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
EXTENSION_ID = "satmachineadmin"
AskedOfClients = Annotated[ListQuery, Depends(asked_of(CLIENT_FIELDS))]
AskedOfDeposits = Annotated[ListQuery, Depends(asked_of(DEPOSIT_FIELDS))]


# ---------------------------------------------------------------------------- clients


async def _client_answer(user_id: str, client_id: str) -> ClientAnswer:
    source = clients_source(user_id, False, client_id)
    return ClientAnswer(**await fetch_row(source, CLIENT_FIELDS, lps.NO_CLIENT))


async def _account_of(body: ClientInput) -> Account:
    """The LNbits user to enrol. `BadInputError` if there is none."""
    account: Account | None = None
    if body.user_id:
        account = await get_account(body.user_id)
        # LNbits strips tags from what it looks for: take no near match
        if account is None or account.id != body.user_id:
            raise BadInputError("user_id: there is no LNbits user with this id.")
    elif body.username:
        account = await get_account_by_username(body.username)
        if not account or (account.username or "").lower() != body.username.lower():
            raise BadInputError("username: there is no LNbits user of this name.")
    if account is None:
        raise BadInputError("user_id or username is missing: who is the LP?")
    return account


async def _enable_extension(user_id: str) -> None:
    """Enable this extension for an LP. Looks first: a second row for one user is a
    unique violation that LNbits trips over."""
    new = UserExtension(user=user_id, extension=EXTENSION_ID, active=True)
    async with core_db.connect() as conn:
        present = await get_user_extension(user_id, EXTENSION_ID, conn=conn)
        if present and not present.active:
            present.active = True
            await update_user_extension(present, conn=conn)
        if present:
            return
        try:
            await create_user_extension(new, conn=conn)
        except IntegrityError:
            # another process was faster; its row says the same
            await conn.conn.rollback()


@router.get(
    "/clients",
    summary="The LPs enrolled at the caller's machines",
    response_model=ClientPage,
    responses=refusals(400),
    openapi_extra=filter_docs(CLIENT_FIELDS, "ClientFilters"),
)
async def api_clients(scope: InScope, query: AskedOfClients) -> ClientPage:
    source = clients_source(scope.user_id, scope.is_all)
    found, total = await fetch_page(source, query)
    return ClientPage(data=[ClientAnswer(**row) for row in found], total=total)


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
    summary="Enrol an LNbits user as an LP at a machine",
    description="Named by `user_id` or `username`. Enables this extension for them.",
    response_model=ClientAnswer,
    responses=refusals(400, 404, 409),
)
async def api_enrol(account: Caller, body: ClientInput) -> ClientAnswer:
    async with db.connect() as conn:
        await registry.get_own_machine(conn, body.machine_id, account.id)
    lp = await _account_of(body)
    await _enable_extension(lp.id)
    client = await lps.enrol(
        account.id, body.machine_id, lp.id, body.username or lp.username
    )
    return await _client_answer(account.id, client.id)


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
    response_model=ClientAnswer,
    responses=refusals(400, 404),
)
async def api_update_client(
    account: Caller, client_id: ClientId, body: ClientChanges
) -> ClientAnswer:
    changes = named_fields(body, ("username",))
    await lps.update_client(account.id, client_id, changes)
    return await _client_answer(account.id, client_id)


@router.delete(
    "/clients/{client_id}",
    status_code=204,
    response_model=None,
    summary="Take an LP without money history off a machine",
    responses=refusals(404, 409),
)
async def api_delete_client(account: Caller, client_id: ClientId) -> None:
    await lps.delete_client(account.id, client_id)


@router.get(
    "/clients/{client_id}/balance",
    summary="What an LP deposited, what was paid out, and what is left",
    response_model=BalanceAnswer,
    responses=refusals(404),
)
async def api_balance(account: Caller, client_id: ClientId) -> BalanceAnswer:
    return await client_balance(account.id, client_id)


# --------------------------------------------------------------------------- deposits


async def _deposit_answer(account: Account, deposit_id: str) -> DepositAnswer:
    source = deposits_source(account.id, acts_as_super(account), deposit_id)
    return DepositAnswer(**await fetch_row(source, DEPOSIT_FIELDS, lps.NO_DEPOSIT))


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
    return DepositPage(data=[DepositAnswer(**row) for row in found], total=total)


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
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_create_deposit(account: Caller, body: DepositInput) -> DepositAnswer:
    deposit = await lps.create_deposit(
        account.id, acts_as_super(account), body.client_id, body.amount, body.notes
    )
    return await _deposit_answer(account, deposit.id)


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
    await lps.update_deposit(account.id, acts_as_super(account), deposit_id, changes)
    return await _deposit_answer(account, deposit_id)


@router.put(
    "/deposits/{deposit_id}/status",
    summary="Confirm or cancel a pending deposit, or reverse a confirmed one",
    description="A reversal needs a reason, which the LP sees, and is refused if it "
    "would take the LP's balance below zero.",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_deposit_status(
    account: Caller, deposit_id: DepositId, body: DepositStatusInput
) -> DepositAnswer:
    await lps.set_deposit_status(
        account.id, acts_as_super(account), deposit_id, body.status, body.reason
    )
    return await _deposit_answer(account, deposit_id)
