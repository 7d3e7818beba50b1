"""The machines' line over HTTP: relays and service key (super), pairing, cassettes,
telemetry (a machine's operator)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fastapi import Depends
from lnbits.decorators import check_super_user
from pydantic import BaseModel, Field

from ..base.acting import person_behind
from ..base.audit import write_audit
from ..base.database import db, from_db_time, transaction
from ..base.refusals import BadInputError, ConflictError, NotFoundError
from ..base.text import checked_text
from ..cash import visits
from ..cash.ledger import BOX
from ..line import cassettes, cassettes_crud
from ..line import crud as line_crud
from ..line import engine as line
from ..line import keys as line_keys
from ..line.relays import MAX_RELAYS, relay_url_of
from ..models import Machine, utc_now
from ..parties import machines as registry
from ..parties import machines_crud
from .cash import counting
from .fields import Input, Npub, Reason, WholeNumber
from .machines import machine_answer
from .models import MachineAnswer
from .route import Caller, MachineId, Super, new_router, refusals
from .visits import publish, touched_bays

router = new_router()

CODE_IS_VALID = timedelta(hours=1)


# ------------------------------------------------------------------ shapes


class NostrAnswer(BaseModel):
    """The line as the super sees it. The secret key is in no answer."""

    service_npub: str
    relays: list[str]
    problem: str | None = Field(
        None, description="why the service key cannot be used, if it cannot"
    )


class NostrInput(Input):
    relays: list[Any] | None = Field(
        None, description="wss:// addresses; machines learn them from the pairing QR"
    )


class RotateInput(Input):
    reason: Reason | None = None


class RevokeInput(Input):
    service_npub: Npub | None = Field(
        None, description="an old service key; without it, all old ones"
    )
    reason: Reason | None = None


class PairingAnswer(BaseModel):
    """What the pairing QR holds. The code is shown while it is valid."""

    machine_npub: str
    service_npub: str
    relays: list[str]
    pairing_code: str | None = None
    expires_at: datetime | None = None
    is_paired: bool
    paired_at: datetime | None = None


class Denomination(WholeNumber):
    """A note is worth something; "no notes in this bay" is what machines may say."""

    minimum = 1


class BayInput(Input):
    denomination: Denomination
    count: WholeNumber


class CassettesInput(Input):
    """The whole set of bays; one that is not named is removed."""

    positions: dict[str, BayInput]


class BayAnswer(BaseModel):
    denomination: int
    count: int
    state_denomination: int | None = None
    state_count: int | None = None
    state_at: datetime | None = None
    updated_at: datetime | None = None


class CassettesAnswer(BaseModel):
    positions: dict[str, BayAnswer]
    offered_at: datetime | None = Field(
        None, description="sent to a relay that has not acknowledged it"
    )
    published_at: datetime | None = None
    confirmed_at: datetime | None = None


class TelemetryAnswer(BaseModel):
    """The newest public beacon and the newest private report, with their age."""

    beacon: dict[str, Any] | None = None
    beacon_received_at: datetime | None = None
    beacon_age_seconds: int | None = None
    telemetry: dict[str, Any] | None = None
    telemetry_received_at: datetime | None = None
    telemetry_age_seconds: int | None = None


# ------------------------------------------------------------------------- the super


async def nostr_answer() -> NostrAnswer:
    ring = await line_keys.key_ring()
    return NostrAnswer(
        service_npub=ring.npub,
        relays=await line_crud.get_relays(),
        problem=ring.problem,
    )


@router.get(
    "/super/nostr",
    summary="The service key's public part and the relays",
    response_model=NostrAnswer,
    responses=refusals(),
    dependencies=[Depends(check_super_user)],
)
async def api_nostr() -> NostrAnswer:
    return await nostr_answer()


@router.put(
    "/super/nostr",
    summary="Change the relays",
    description="Machines that know none of the new relays must pair again: leave an "
    "old one in the list until all of them were heard on a new one.",
    response_model=NostrAnswer,
    responses=refusals(400),
)
async def api_update_nostr(account: Super, body: NostrInput) -> NostrAnswer:
    if "relays" in body.__fields_set__:
        relays = checked_relays(body.relays)
        before = await line_crud.get_relays()
        if relays != before:
            async with transaction() as conn:
                await line_crud.set_relays(conn, relays)
                await write_audit(
                    conn,
                    account.id,
                    "nostr.relays",
                    "nostr",
                    "default",
                    {"relays": before},
                    {"relays": relays},
                )
            line.wake()
    return await nostr_answer()


def checked_relays(given: list[Any] | None) -> list[str]:
    """Relay addresses, each once, in one spelling; `BadInputError` names a bad one."""
    if given is None:
        raise BadInputError("relays must be a list of addresses; [] for none.")
    if len(given) > MAX_RELAYS:
        raise BadInputError(f"There may be at most {MAX_RELAYS} relays.")
    try:
        urls = [relay_url_of(checked_text(url, "A relay")) for url in given]
    except ValueError as exc:
        raise BadInputError(str(exc)) from exc
    return list(dict.fromkeys(urls))


@router.post(
    "/super/nostr/rotate",
    status_code=200,
    summary="Make a new service key; the old one is still read for 30 days",
    response_model=NostrAnswer,
    responses=refusals(400, 409),
)
async def api_rotate(account: Super, body: RotateInput | None = None) -> NostrAnswer:
    await line_keys.rotate(account.id, body.reason if body else None)
    line.wake()
    return await nostr_answer()


@router.post(
    "/super/nostr/revoke",
    status_code=200,
    summary="Refuse old service keys now, instead of in 30 days",
    response_model=NostrAnswer,
    responses=refusals(400, 409),
)
async def api_revoke(account: Super, body: RevokeInput | None = None) -> NostrAnswer:
    given = body or RevokeInput()
    await line_keys.revoke(account.id, given.service_npub, given.reason)
    await line.refresh()
    return await nostr_answer()


# --------------------------------------------------------------------------- pairing


async def own_machine(machine_id: str, user_id: str) -> Machine:
    async with db.connect() as conn:
        return await machines_crud.get_own_machine(conn, machine_id, user_id)


async def pairing_answer(machine: Machine) -> PairingAnswer:
    ring = await line_keys.key_ring()
    until = machine.pairing_expires_at
    is_valid = bool(machine.pairing_code and until and until > utc_now())
    return PairingAnswer(
        machine_npub=machine.claimed_npub or machine.machine_npub,
        service_npub=ring.npub,
        relays=await line_crud.get_relays(),
        pairing_code=machine.pairing_code if is_valid else None,
        expires_at=until if is_valid else None,
        is_paired=machine.is_paired,
        paired_at=machine.paired_at,
    )


@router.get(
    "/machines/{machine_id}/pairing",
    summary="What the machine must scan, and whether it has",
    response_model=PairingAnswer,
    responses=refusals(404),
)
async def api_pairing(account: Caller, machine_id: MachineId) -> PairingAnswer:
    return await pairing_answer(await own_machine(machine_id, account.id))


@router.post(
    "/machines/{machine_id}/unpair",
    status_code=200,
    summary="Refuse a machine's key at once: it was stolen, or sold",
    description="What is planned is still paid; the machine can be paired again.",
    response_model=MachineAnswer,
    responses=refusals(400, 404, 409),
)
async def api_unpair(
    account: Caller, machine_id: MachineId, body: RotateInput | None = None
) -> MachineAnswer:
    await registry.unpair(account.id, machine_id, body.reason if body else None)
    await line.refresh()
    return await machine_answer(account.id, machine_id)


@router.post(
    "/machines/{machine_id}/pairing",
    status_code=201,
    summary="Make a new pairing code, valid for an hour and once",
    description="The old code is void at once. A machine that is paired stays so.",
    response_model=PairingAnswer,
    responses=refusals(404),
)
async def api_new_pairing_code(account: Caller, machine_id: MachineId) -> PairingAnswer:
    await own_machine(machine_id, account.id)
    code = secrets.token_urlsafe(16)
    async with transaction() as conn:
        if not await line_crud.set_pairing_code(
            conn, machine_id, account.id, code, utc_now() + CODE_IS_VALID
        ):
            raise NotFoundError("There is no such machine of yours.")
        await write_audit(
            conn,
            account.id,
            "machine.pairing_code",
            "machine",
            machine_id,
            operator_user_id=account.id,
            machine_id=machine_id,
        )
    await line.refresh()
    return await pairing_answer(await own_machine(machine_id, account.id))


# ------------------------------------------------------------------------- cassettes


async def cassettes_answer(machine_id: str) -> CassettesAnswer:
    bays = await cassettes_crud.get_cassettes(machine_id)
    async with db.connect() as conn:
        held = await visits.present_bays(
            conn, machine_id, {bay.position: bay.denomination for bay in bays}
        )
    event = await cassettes_crud.get_cassette_event(machine_id)
    return CassettesAnswer(
        positions={
            str(bay.position): BayAnswer(
                **{**bay.dict(), "count": held[bay.position][1]}
            )
            for bay in bays
        },
        offered_at=event.offered_at if event else None,
        published_at=event.published_at if event else None,
        confirmed_at=event.confirmed_at if event else None,
    )


@router.get(
    "/machines/{machine_id}/cassettes",
    summary="What is in each bay: the operator's figures and the machine's own",
    response_model=CassettesAnswer,
    responses=refusals(404),
)
async def api_cassettes(account: Caller, machine_id: MachineId) -> CassettesAnswer:
    machine = await own_machine(machine_id, account.id)
    if (await counting()).get(machine.id, set()) - {BOX}:
        raise ConflictError("You are counting at this machine: end your visit first.")
    return await cassettes_answer(machine.id)


@router.put(
    "/machines/{machine_id}/cassettes",
    summary="Save what is in the bays, and publish it to the machine",
    response_model=CassettesAnswer,
    responses=refusals(400, 404, 409),
)
async def api_save_cassettes(
    account: Caller, machine_id: MachineId, body: CassettesInput
) -> CassettesAnswer:
    machine = await own_machine(machine_id, account.id)
    try:
        positions = cassettes.read_positions(body.dict())
    except ValueError as exc:
        raise BadInputError(str(exc)) from exc
    before = {
        bay.position: (bay.denomination, bay.count)
        for bay in await cassettes_crud.get_cassettes(machine.id)
    }
    async with transaction() as conn:
        person = person_behind(account.id)
        visit = await visits.save_all(conn, machine, positions, person)
        await publish(conn, machine, positions, touched_bays(visit, positions), person)
        await write_audit(
            conn,
            account.id,
            "machine.cassettes",
            "machine",
            machine.id,
            json.loads(cassettes.positions_json(before)),
            json.loads(cassettes.positions_json(positions)),
            operator_user_id=account.id,
            machine_id=machine.id,
        )
    line.wake()
    return await cassettes_answer(machine.id)


# ------------------------------------------------------------------------- telemetry


@router.get(
    "/machines/{machine_id}/telemetry",
    summary="What the machine last said of itself",
    response_model=TelemetryAnswer,
    responses=refusals(404),
)
async def api_telemetry(account: Caller, machine_id: MachineId) -> TelemetryAnswer:
    machine = await own_machine(machine_id, account.id)
    row = await line_crud.get_telemetry(machine.id)
    return telemetry_answer(row) if row else TelemetryAnswer()


def telemetry_answer(row: Mapping[str, Any]) -> TelemetryAnswer:
    beacon_at = from_db_time(row["beacon_received_at"])
    telemetry_at = from_db_time(row["telemetry_received_at"])
    beacon = {
        name.removeprefix("beacon_").removesuffix("_json"): _beacon_value(name, value)
        for name, value in row.items()
        if name.startswith("beacon_") and name != "beacon_received_at"
    }
    return TelemetryAnswer(
        beacon=beacon if beacon_at else None,
        beacon_received_at=beacon_at,
        beacon_age_seconds=_age(beacon_at),
        telemetry=json.loads(row["telemetry_json"]) if telemetry_at else None,
        telemetry_received_at=telemetry_at,
        telemetry_age_seconds=_age(telemetry_at),
    )


def _beacon_value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name.endswith("_json"):
        return json.loads(value)
    # SQLite keeps booleans as 0 and 1
    return bool(value) if name in ("beacon_cash_in", "beacon_cash_out") else value


def _age(at: datetime | None) -> int | None:
    return max(0, int((utc_now() - at).total_seconds())) if at else None
