"""The platform, over HTTP: its fees and the wallet they are paid to. Super only."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.responses import StreamingResponse
from lnbits.decorators import check_super_user

from ..base.database import db
from ..books.lists import fetch_row
from ..books.operators import facts_of_operators
from ..books.reports import DEPOSIT_FIELDS, deposits_source
from ..books.summaries import platform_sums
from ..crud import get_super_config
from ..desk import consents
from ..host.people import usernames_of
from ..money.targets import check_own_wallet
from ..parties import deposits, machines_crud
from ..parties import machines as registry
from ..parties.deposits_crud import NO_DEPOSIT
from .inputs import DecisionInput, SuperConfigInput
from .insight import Days, InDays, csv_of
from .lists import CSV_ANSWER
from .machines import machine_answer
from .models import (
    DepositAnswer,
    MachineAnswer,
    OperatorPage,
    OperatorSums,
    SettlementDetail,
    SuperConfigAnswer,
)
from .route import Super, named_fields, new_router, refusals
from .settlements import settlement_detail
from .spreadsheet import InSheet

router = new_router()
AnySettlementId = Annotated[str, Path(description="a settlement of any machine")]
AnyMachineId = Annotated[str, Path(description="any machine")]
AnyDepositId = Annotated[str, Path(description="a deposit at any machine")]


@router.get(
    "/super/config",
    summary="The platform's fee fractions and wallet",
    response_model=SuperConfigAnswer,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_super_config() -> SuperConfigAnswer:
    return SuperConfigAnswer.of(await get_super_config())


@router.put(
    "/super/config",
    summary="Change the platform's fees and wallet",
    description="Refused, with the names of the machines, where platform and operator "
    "together would take more than the principal.",
    response_model=SuperConfigAnswer,
    responses=refusals(400),
)
async def api_update_super_config(
    account: Super, body: SuperConfigInput
) -> SuperConfigAnswer:
    changes = named_fields(body, ("super_fee_wallet_id",))
    wallet_id = changes.get("super_fee_wallet_id")
    if wallet_id and wallet_id != (await get_super_config()).super_fee_wallet_id:
        await check_own_wallet(wallet_id, account.id, "super_fee_wallet_id")
    return SuperConfigAnswer.of(await registry.update_super_config(account.id, changes))


async def _operator_name(machine_id: str) -> str | None:
    _, owner = (await machines_crud.wallets_and_owners([machine_id]))[machine_id]
    return (await usernames_of([owner])).get(owner)


@router.get(
    "/super/settlements/{settlement_id}",
    summary="Any settlement, in full and with whose it is; read only",
    response_model=SettlementDetail,
    responses=refusals(404),
)
async def api_super_settlement(
    account: Super, settlement_id: AnySettlementId
) -> SettlementDetail:
    detail = await settlement_detail(account.id, settlement_id, is_all=True)
    detail.operator_name = await _operator_name(detail.machine_id)
    return detail


@router.post(
    "/super/settlements/{settlement_id}/decide",
    summary="Decide what is asked about a settlement",
    description="A lower dispense: for everybody who is owed. A void: for the platform "
    "alone; LPs answer for themselves.",
    response_model=SettlementDetail,
    responses=refusals(400, 404, 409),
)
async def api_decide_settlement(
    account: Super, settlement_id: AnySettlementId, body: DecisionInput
) -> SettlementDetail:
    granted = body.outcome == "accepted"
    await consents.decide(account.id, settlement_id, granted, body.reason)
    return await api_super_settlement(account, settlement_id)


@router.get(
    "/super/machines/{machine_id}",
    summary="Any machine, with whose it is; read only",
    response_model=MachineAnswer,
    responses=refusals(404),
)
async def api_super_machine(account: Super, machine_id: AnyMachineId) -> MachineAnswer:
    return await machine_answer(account.id, machine_id, is_all=True)


async def _operators(days: Days) -> list[OperatorSums]:
    """The most volume first, then what is owed."""
    async with db.connect() as conn:
        found = await platform_sums(conn)
        facts = await facts_of_operators(conn, days.before, days.since, days.until)
    names = await usernames_of(found)
    data = [
        OperatorSums(operator_name=names.get(k), **{**facts.get(k, {}), **v})
        for k, v in found.items()
    ]
    return sorted(
        data,
        key=lambda x: (-x.volume_sats, -x.owed_sats, (x.operator_name or "").lower()),
    )


@router.get(
    "/super/operators",
    summary="What each operator sold, and what became of the platform's share",
    description="Volume, trades and those before are of the days asked for (30 up to "
    "today without them), as in `/insight`; the platform's share is of all time, "
    "machines are as they are now. `/insight?scope=all&machine_id=` says more "
    "of one.",
    response_model=OperatorPage,
    responses=refusals(400),
    dependencies=[Depends(check_super_user)],
)
async def api_super_operators(days: InDays) -> OperatorPage:
    data = await _operators(days)
    return OperatorPage(data=data, total=len(data))


@router.get(
    "/super/operators.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    dependencies=[Depends(check_super_user)],
)
async def api_super_operators_csv(days: InDays, sheet: InSheet) -> Any:
    rows = []
    for one in await _operators(days):
        fiat = " + ".join(f"{text} {code}" for code, text in one.volume_fiat.items())
        rows.append({**one.dict(), "volume": fiat})
    lists = {"volume_fiat", "machine_ids"}
    names = [name for name in OperatorSums.__fields__ if name not in lists]
    names.insert(names.index("volume_sats") + 1, "volume")
    return StreamingResponse(
        iter([csv_of(names, rows, sheet)]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="operators.csv"'},
    )


@router.post(
    "/super/deposits/{deposit_id}/decide",
    summary="Decide what is open about a deposit: a reversal, a dispute",
    description="`accepted` makes the reversal that was asked for and upholds the "
    "dispute; `declined` leaves the money as it is and dismisses it.",
    response_model=DepositAnswer,
    responses=refusals(400, 404, 409),
)
async def api_decide_deposit(
    account: Super, deposit_id: AnyDepositId, body: DecisionInput
) -> DepositAnswer:
    granted = body.outcome == "accepted"
    await deposits.decide(account.id, deposit_id, granted, body.reason)
    source = deposits_source(account.id, True, deposit_id)
    row = await fetch_row(source, DEPOSIT_FIELDS, NO_DEPOSIT)
    return DepositAnswer.of(row)
