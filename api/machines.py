"""Machines and commission splits, over HTTP: an operator's own only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import StreamingResponse

from ..base.acting import acting, blind
from ..base.database import db
from ..base.refusals import BadInputError, ForbiddenError, NotFoundError
from ..books.lists import ListQuery, Source, fetch_page, ids_of, narrowed
from ..books.reports import MACHINE_FACTS, MACHINE_FIELDS, machines_source, with_facts
from ..calculations import cents_text
from ..cash.pace import CashOfMachine, cash_of_machines
from ..cash.visits import read_place
from ..host.balances import balances_msat
from ..host.people import usernames_of
from ..models import CommissionSplit, Machine
from ..money.funds import funds_of
from ..money.targets import check_own_wallet, check_receivers, resolve_target
from ..parties import machines as registry
from ..parties import machines_crud
from ..parties import splits as split_sets
from .advice import bearable_payments_a_day, payout_advice
from .cash import counting
from .inputs import MachineChanges, MachineInput, PreviewInput, SplitsInput
from .lists import CSV_ANSWER, asked_of, csv_answer, filter_docs
from .models import (
    MachineAnswer,
    MachineForCollector,
    MachineForCollectorPage,
    MachinePage,
    PreviewAnswer,
    SplitAnswer,
    SplitsAnswer,
    fraction_text,
)
from .preview import preview_settlement
from .route import Caller, InScope, MachineId, named_fields, new_router, refusals

router = new_router()
AskedOfMachines = Annotated[ListQuery, Depends(asked_of(MACHINE_FIELDS))]
# Of a machine's settings, what nobody who works for the operator may change.
OWNERS_ALONE = (
    "wallet_id",
    "machine_npub",
    "operator_cash_in_fee_fraction",
    "operator_cash_out_fee_fraction",
    "operator_cash_in_fixed_fee",
    "operator_cash_out_fixed_fee",
)
NULLABLE = (
    "name",
    "location",
    "bay_capacities",
    "box_capacity",
    "min_fiat",
    "max_fiat",
)


async def _wallet_sats(wallet_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Balance and free balance of wallets, in sats."""
    msats = await balances_msat(wallet_ids)
    funds = await funds_of(wallet_ids)
    return {
        wallet: (msat // 1000, funds[wallet].free_sats)
        for wallet, msat in msats.items()
    }


async def _facts(
    machine_ids: Sequence[str], with_operators: bool
) -> dict[str, dict[str, Any]]:
    """What the wallets and bays of machines hold, by machine id.

    The shown wallet of somebody else's machine is shortened, its balance is not.
    """
    known = await machines_crud.wallets_and_owners(machine_ids)
    sats = await _wallet_sats([wallet for wallet, _ in known.values()])
    names: Mapping[str, str | None] = {}
    if with_operators:
        names = await usernames_of([owner for _, owner in known.values()])
    async with db.connect() as conn:
        cash = await cash_of_machines(conn, list(known))
    facts = {}
    for machine_id, (wallet, owner) in known.items():
        balance, free = sats.get(wallet, (0, 0))
        held = cash.get(machine_id, CashOfMachine())
        cents = held.cash_cents
        facts[machine_id] = {
            "balance_sats": balance,
            "free_balance_sats": free,
            "cash_fiat": None if cents is None else cents_text(cents),
            "days_until_empty": held.days_left,
            "operator_name": names.get(owner),
        }
    return facts


async def _answers(
    source: Source, query: ListQuery, *, with_operators: bool = False
) -> MachinePage:
    """Machines with what their wallets and bays hold: of the shown ones, or of all
    that the reader may see where the question is about these."""
    asked = {condition.field for condition in query.conditions} | {query.sortby}
    if not asked.isdisjoint(MACHINE_FACTS):
        ids = await ids_of(source)
        facts = await _facts(ids, with_operators)
        source = with_facts(source, facts)
        listed, total = await fetch_page(source, query)
    else:
        listed, total = await fetch_page(source, query)
        facts = await _facts([row["id"] for row in listed], with_operators)
    # a machine that was removed in between has none
    data = [
        MachineAnswer(**{**row, **_capacities(row), **facts[row["id"]]})
        for row in listed
        if row["id"] in facts
    ]
    return MachinePage(data=data, total=total)


def _capacities(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = row["bay_capacities"]
    return {"bay_capacities": json.loads(kept) if kept else None}


def _kept_capacities(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with `bay_capacities` as it is kept. `BadInputError` names a position
    that is none; `bay:1` is 1."""
    given = fields.get("bay_capacities")
    if given is None:
        return fields
    kept: dict[str, int] = {}
    for key, notes in given.items():
        place = read_place(key if ":" in key else f"bay:{key}", is_filled=True)
        kept[place.partition(":")[2]] = notes
    return {**fields, "bay_capacities": json.dumps(kept, sort_keys=True)}


async def machine_answer(
    user_id: str, machine_id: str, is_all: bool = False
) -> MachineAnswer:
    """The operator's machine; any, with whose it is, for the super."""
    source = machines_source(user_id, is_all, machine_id)
    query = ListQuery(MACHINE_FIELDS, limit=1)
    page = await _answers(source, query, with_operators=is_all)
    if not page.data:
        raise NotFoundError(machines_crud.NO_MACHINE)
    answer = page.data[0]
    bearable = await bearable_payments_a_day()
    async with db.connect() as conn:
        answer.payout_advice = await payout_advice(
            conn, machine_id, answer.payout_interval_minutes, bearable
        )
    return answer


async def _check_wallet(fields: Mapping[str, Any], user_id: str) -> None:
    if "wallet_id" in fields:
        await check_own_wallet(fields["wallet_id"], user_id, "wallet_id")


async def _for_collector(answer: MachineAnswer) -> MachineForCollector:
    """While they count at it, no figure of what is in it."""
    shown = MachineForCollector(**answer.dict())
    if (await counting()).get(shown.id):
        shown.cash_fiat = shown.days_until_empty = None
    return shown


@router.get(
    "/machines",
    summary="The caller's machines",
    description="A collector is shown the machines that they were named for, without "
    "sats and fees.",
    response_model=MachinePage | MachineForCollectorPage,
    responses=refusals(400),
    openapi_extra=filter_docs(MACHINE_FIELDS, "MachineFilters"),
)
async def api_machines(
    scope: InScope, query: AskedOfMachines
) -> MachinePage | MachineForCollectorPage:
    source = machines_source(scope.user_id, scope.is_all)
    collector = blind()
    if collector:
        # neither a filter nor an order tells more than what is shown
        asked = {c.field for c in query.conditions} | {query.sortby}
        if not asked <= {*MachineForCollector.__fields__, "created_at", None}:
            raise ForbiddenError("Your role does not include this.")
        page = await _answers(narrowed(source, "m.id", collector), query)
        shown = [await _for_collector(row) for row in page.data]
        return MachineForCollectorPage(data=shown, total=page.total)
    return await _answers(source, query, with_operators=scope.is_all)


@router.get(
    "/machines.csv",
    summary="The same list as CSV, whole",
    response_class=StreamingResponse,
    responses={200: CSV_ANSWER, **refusals(400)},
    openapi_extra=filter_docs(MACHINE_FIELDS, "MachineFilters"),
)
async def api_machines_csv(scope: InScope, query: AskedOfMachines) -> Any:
    source = machines_source(scope.user_id, scope.is_all)
    facts = await _facts(await ids_of(source), scope.is_all)
    return csv_answer(with_facts(source, facts), query, "machines.csv")


@router.post(
    "/machines",
    status_code=201,
    summary="Register a machine",
    response_model=MachineAnswer,
    responses=refusals(400, 409),
)
async def api_create_machine(account: Caller, body: MachineInput) -> MachineAnswer:
    fields = _kept_capacities(named_fields(body, NULLABLE))
    await _check_wallet(fields, account.id)
    machine = await registry.create_machine(account.id, fields)
    return await machine_answer(account.id, machine.id)


@router.get(
    "/machines/{machine_id}",
    summary="One machine",
    response_model=MachineAnswer | MachineForCollector,
    responses=refusals(404),
)
async def api_machine(
    account: Caller, machine_id: MachineId
) -> MachineAnswer | MachineForCollector:
    answer = await machine_answer(account.id, machine_id)
    return await _for_collector(answer) if blind() else answer


@router.put(
    "/machines/{machine_id}",
    summary="Change the settings of a machine that are named",
    response_model=MachineAnswer,
    responses=refusals(400, 404, 409),
)
async def api_update_machine(
    account: Caller, machine_id: MachineId, body: MachineChanges
) -> MachineAnswer:
    async with db.connect() as conn:
        present = await machines_crud.get_own_machine(conn, machine_id, account.id)
    changes = _kept_capacities(named_fields(body, NULLABLE))
    if acting():
        _check_owners_alone(present, changes)
    if changes.get("wallet_id") != present.wallet_id:
        await _check_wallet(changes, account.id)
    await registry.update_machine(account.id, machine_id, changes)
    return await machine_answer(account.id, machine_id)


def _check_owners_alone(present: Machine, changes: Mapping[str, Any]) -> None:
    """Where the money goes and what is charged is the operator's alone to set; what was
    read can be sent back."""
    for name in OWNERS_ALONE:
        if name in changes and changes[name] != getattr(present, name):
            raise ForbiddenError(f"{name} is for the machine's operator alone to set.")


@router.delete(
    "/machines/{machine_id}",
    status_code=204,
    response_model=None,
    summary="Delete a machine that has no money history",
    responses=refusals(404, 409),
)
async def api_delete_machine(account: Caller, machine_id: MachineId) -> None:
    await registry.delete_machine(account.id, machine_id)


# ----------------------------------------------------------------------------- splits


def _splits_answer(splits: Sequence[CommissionSplit]) -> SplitsAnswer:
    return SplitsAnswer(
        splits=[
            SplitAnswer(
                id=s.id,
                target=s.target,
                target_kind=s.target_kind,
                label=s.label,
                fraction=fraction_text(s.fraction),
                sort_order=s.sort_order,
            )
            for s in splits
        ]
    )


async def _resolved(
    body: SplitsInput, old: Sequence[CommissionSplit], operator_user_id: str
) -> list[CommissionSplit]:
    """The splits with their targets recognised. `BadInputError` says which is not, or
    cannot be paid; what is among the `old` is not asked again."""
    splits = body.splits
    if len(splits) > split_sets.MAX_SPLITS:
        raise BadInputError(f"A set has at most {split_sets.MAX_SPLITS} splits.")
    resolved = []
    for index, split in enumerate(splits):
        try:
            target = await resolve_target(split.target, owner_user_id=operator_user_id)
        except ValueError as exc:
            raise BadInputError(f"Split {index + 1}: {exc}") from exc
        resolved.append(
            CommissionSplit(
                id="",
                operator_user_id=operator_user_id,
                target=target.target,
                target_kind=target.kind,
                target_wallet_id=target.wallet_id,
                label=split.label,
                fraction=split.fraction,
                sort_order=index if split.sort_order is None else split.sort_order,
            )
        )
    # before anybody outside is asked: a set that does not add up is not kept anyway
    split_sets.check_set(resolved)
    known = {split.target for split in old}
    new = [split.target for split in resolved if split.target not in known]
    await check_receivers(new, body.must_answer)
    return resolved


@router.get(
    "/splits",
    summary="The caller's default splits of the operator's fee",
    response_model=SplitsAnswer,
    responses=refusals(),
)
async def api_splits(account: Caller) -> SplitsAnswer:
    async with db.connect() as conn:
        return _splits_answer(await split_sets.get_splits(conn, account.id, None))


@router.put(
    "/splits",
    summary="Replace the default splits",
    description="The fractions add up to 1.0000; an empty set is allowed: then the "
    "operator's fee stays in the machine wallet.",
    response_model=SplitsAnswer,
    responses=refusals(400),
)
async def api_replace_splits(account: Caller, body: SplitsInput) -> SplitsAnswer:
    async with db.connect() as conn:
        old = await split_sets.get_splits(conn, account.id, None)
    new = await _resolved(body, old, account.id)
    return _splits_answer(await split_sets.replace_splits(account.id, None, new))


@router.post(
    "/splits/preview",
    status_code=200,
    summary="The legs that a settlement of this size would make",
    response_model=PreviewAnswer,
    responses=refusals(400, 404),
)
async def api_preview(account: Caller, body: PreviewInput) -> PreviewAnswer:
    return await preview_settlement(account.id, body)


@router.get(
    "/machines/{machine_id}/splits",
    summary="The splits of this machine that override the defaults; empty without one",
    response_model=SplitsAnswer,
    responses=refusals(404),
)
async def api_machine_splits(account: Caller, machine_id: MachineId) -> SplitsAnswer:
    async with db.connect() as conn:
        return _splits_answer(await split_sets.get_splits(conn, account.id, machine_id))


@router.put(
    "/machines/{machine_id}/splits",
    summary="Replace the splits of this machine",
    response_model=SplitsAnswer,
    responses=refusals(400, 404),
)
async def api_replace_machine_splits(
    account: Caller, machine_id: MachineId, body: SplitsInput
) -> SplitsAnswer:
    async with db.connect() as conn:
        old = await split_sets.get_splits(conn, account.id, machine_id)
    new = await _resolved(body, old, account.id)
    return _splits_answer(await split_sets.replace_splits(account.id, machine_id, new))


@router.delete(
    "/machines/{machine_id}/splits",
    status_code=204,
    response_model=None,
    summary="Let the machine use the default splits again",
    responses=refusals(404),
)
async def api_delete_machine_splits(account: Caller, machine_id: MachineId) -> None:
    await split_sets.delete_override(account.id, machine_id)
