"""The platform, over HTTP: its fees and the wallet they are paid to. Super only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Path
from fastapi.responses import StreamingResponse
from lnbits.db import Page
from lnbits.decorators import check_super_user
from pydantic import BaseModel, Field

from ..base.database import db
from ..books.history import FEES, fee_changes, states
from ..books.insight_sums import Span, up_to_date
from ..books.lists import fetch_row
from ..books.operators import facts_of_operators
from ..books.reports import DEPOSIT_FIELDS, deposits_source
from ..books.summaries import platform_sums
from ..crud import from_time, get_super_config
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


class OperatorSums(BaseModel):
    """What became of the platform's share at one operator's machines.

    From the legs themselves: whatever an operator marks or voids stays in a sum.
    """

    operator_name: str | None = None
    machines: int
    lps: int
    paid_sats: int = Field(0, description="of the platform's share, received")
    owed_sats: int = Field(0, description="not paid yet, shortfalls too")
    shortfall_sats: int = Field(0, description="of that, what was not charged")
    let_go_sats: int = Field(0, description="voided by the super")
    lost_sats: int = Field(0, description="gone with settlements that were voided")
    voided_count: int = Field(0, description="settlements")
    test_count: int = Field(0, description="settlements marked as tests")
    quarantined_count: int = 0
    resolved_count: int = Field(
        0, description="settlements resolved with other figures than the machine's"
    )
    resolved_sats: int = Field(
        0, description="what those figures took off the platform's share"
    )
    share_sats: int = Field(
        0,
        description="the platform's share of what was sold, less the super's own "
        "discounts: paid, owed, let go and lost add up to it, and what was paid before "
        "less cash was said to have come out is beyond it",
    )
    older_paid_sats: int = Field(
        0, description="before this version: planned when the share was of the fee"
    )
    older_owed_sats: int = 0
    older_shortfall_sats: int = 0
    older_let_go_sats: int = 0
    older_lost_sats: int = 0
    trades: int = Field(0, description="of the days asked for, tests too")
    volume_sats: int = Field(0, description="their principal, as dispensed")
    volume_fiat: dict[str, str] = Field({}, description="by currency")
    before_trades: int = Field(0, description="of as many days before")
    before_volume_sats: int = 0
    online_count: int = Field(0, description="machines now, by their last word")
    quiet_count: int = 0
    offline_count: int = 0
    off_count: int = Field(0, description="switched off by the operator")
    machine_ids: list[str] = Field([], description="each opens at /super/machines/{id}")
    oldest_unpaid_at: datetime | None = Field(
        None, description="of the platform's legs; null: all are paid"
    )
    oldest_unpaid_sats: int | None = None
    oldest_unpaid_settlement_id: str | None = Field(
        None, description="opens at /super/settlements/{id}"
    )


class OperatorPage(Page[OperatorSums]):
    data: list[OperatorSums]


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
    until_day = await up_to_date()
    span = Span((days.before, days.since, days.until), until_day)
    async with db.connect() as conn:
        found = await platform_sums(conn)
        facts = await facts_of_operators(conn, span)
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
    return _file("operators.csv", csv_of(names, rows, sheet))


class MachineStates(BaseModel):
    """How long a machine was in each state, of the days asked for."""

    machine_id: str
    machine: str
    operator_name: str | None = None
    known_since: datetime = Field(..., description="nothing is known of before")
    online_seconds: int = Field(..., description="heard in the last 15 minutes")
    quiet_seconds: int = Field(..., description="heard in the last hour")
    offline_seconds: int
    off_seconds: int = Field(..., description="switched off by the operator")
    silences: int = Field(..., description="how often it was silent for an hour")


class StatesPage(Page[MachineStates]):
    data: list[MachineStates]


class FeeChange(BaseModel):
    """One fee, from one day to another."""

    at: datetime
    fee: str = Field(..., description=", ".join(FEES))
    before: str | None = Field(None, description="null: it was a new machine's")
    after: str | None = None
    machine_id: str | None = Field(None, description="null: the platform's fee")
    machine: str | None = None
    operator_name: str | None = None


class FeePage(Page[FeeChange]):
    data: list[FeeChange]


async def _states(days: Days) -> list[MachineStates]:
    async with db.connect() as conn:
        found = await states(conn, days.since, days.until)
    names = await usernames_of(row["operator"] for row in found)
    return [
        MachineStates(
            **{**row, "known_since": from_time(row["known_since"])},
            operator_name=names.get(row["operator"]),
        )
        for row in found
    ]


async def _fees() -> list[FeeChange]:
    async with db.connect() as conn:
        found = await fee_changes(conn)
    names = await usernames_of(row["operator"] for row in found if row["operator"])
    return [
        FeeChange(**row, operator_name=names.get(row["operator"] or ""))
        for row in found
    ]


@router.get(
    "/super/states",
    summary="How long each machine was heard, of the days asked for",
    description="The most silent first. What is counted is when a machine was heard: "
    "while this server was away, none was.",
    response_model=StatesPage,
    responses=refusals(400),
    dependencies=[Depends(check_super_user)],
)
async def api_super_states(days: InDays) -> StatesPage:
    data = await _states(days)
    return StatesPage(data=data, total=len(data))


@router.get(
    "/super/states.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    dependencies=[Depends(check_super_user)],
)
async def api_super_states_csv(days: InDays, sheet: InSheet) -> Any:
    rows = [one.dict() for one in await _states(days)]
    return _file("states.csv", csv_of(list(MachineStates.__fields__), rows, sheet))


@router.get(
    "/super/fees",
    summary="How the platform's and the machines' fees changed, the newest first",
    description="From the log; the newest 500 entries.",
    response_model=FeePage,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_super_fees() -> FeePage:
    data = await _fees()
    return FeePage(data=data, total=len(data))


@router.get(
    "/super/fees.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    dependencies=[Depends(check_super_user)],
)
async def api_super_fees_csv(sheet: InSheet) -> Any:
    rows = [one.dict() for one in await _fees()]
    return _file("fees.csv", csv_of(list(FeeChange.__fields__), rows, sheet))


def _file(name: str, text: str) -> StreamingResponse:
    return StreamingResponse(
        iter([text]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
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
