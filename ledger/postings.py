"""What has just changed in the rows, written into the journal, in the same transaction.

Guaranteed: what is posted of a settlement is the difference between what its rows come
to now and what its entries add up to; so posting again writes nothing, and an event
that was not posted is carried by the next one. What does not add up raises, and with it
the caller's transaction is undone: nothing is half-written.
Not guaranteed: that somebody posts. Whoever changes a settlement's sums, a leg's status
or a deposit calls in here; the nightly reconciliation looks for what was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from ..models import Deposit, Leg, Machine, Settlement, utc_now
from . import crud
from .crud import Entry, Place, Posted, lenders_of
from .entries import (
    MACHINE_WALLET,
    NO_RATE,
    Amount,
    Rate,
    Standing,
    by_flag,
    closing_rate,
    closing_standing,
    deposit_standing,
    landed,
    lent_standing,
    lines_of,
    other_standing,
    paid_change,
    rate_of,
    service_fee_standing,
    standing_of,
)

PAID = ("completed", "skipped")
NOTHING = Posted((), None)


def _entry(
    place: Place,
    kind: str,
    at: datetime,
    change: Standing,
    rate: Rate,
    *,
    entry_id: str | None = None,
    settlement: Settlement | None = None,
    payment_id: str | None = None,
    deposit_id: str | None = None,
    is_test: bool = False,
) -> Entry:
    return Entry(
        id=entry_id or urlsafe_short_hash(),
        at=at,
        recorded_at=utc_now(),
        operator_user_id=place.operator_user_id,
        machine_id=place.machine_id,
        kind=kind,
        lines=lines_of(change, rate),
        currency=place.currency,
        settlement_id=settlement.id if settlement else None,
        payment_id=payment_id,
        deposit_id=deposit_id,
        is_test=is_test,
    )


def _place_of(machine: Machine) -> Place:
    wallets = frozenset({machine.wallet_id})
    return Place(machine.id, machine.operator_user_id, machine.fiat_code, wallets)


async def post_landed(
    conn: Connection, settlement: Settlement, machine: Machine
) -> None:
    """A payment landed, read or held back: one entry, at its transaction time."""
    at = settlement.transaction_time or settlement.created_at
    kind = "quarantined" if settlement.status == "quarantined" else "landed"
    rate, place = rate_of(settlement), _place_of(machine)
    change = landed(settlement)
    entries = [_entry(place, kind, at, change, rate, settlement=settlement)]
    # it may have stood for a while as a payment that is nobody's sale
    moved = change.get((MACHINE_WALLET, None), Amount()).sats
    payment_hash = settlement.payment_hash.partition(":")[0]
    other = other_id(payment_hash, moved, machine.id)
    for entry_id in await crud.has_entries(conn, [other]):
        sats = change[MACHINE_WALLET, None].sats
        entries.append(
            _entry(
                place,
                "landed",
                utc_now(),
                other_standing(-sats),
                NO_RATE,
                entry_id=f"landed:{entry_id}",
                payment_id=settlement.payment_hash,
            )
        )
    await crud.write_entries(conn, entries)


async def post(
    conn: Connection,
    settlement_ids: Iterable[str | None],
    kind: str,
    *,
    at: datetime | None = None,
    paid: Sequence[str] = (),
) -> None:
    """What changed of these settlements. `at`: when, else now; never before what is
    posted of them already. `paid`: ids of legs that were paid, each of which is an
    entry of its own, at its own time. The same few statements for one or for many."""
    ids = sorted({x for x in settlement_ids if x})
    if not ids:
        return
    found = await crud.settlements(conn, ids)
    legs = await crud.legs_of_settlements(conn, ids)
    before = await crud.posted(conn, "settlement_id", ids)
    places = await crud.places(conn, {x.machine_id for x in found})
    entries: list[Entry] = []
    for settlement in found:
        place = places.get(settlement.machine_id)
        if place:
            of_it = legs.get(settlement.id, [])
            was = before.get(settlement.id, NOTHING)
            entries += _changes(settlement, of_it, was, place, kind, at, set(paid))
    await crud.write_entries(conn, entries)


def _changes(
    settlement: Settlement,
    legs: Sequence[Leg],
    was: Posted,
    place: Place,
    kind: str,
    at: datetime | None,
    paid: set[str],
) -> list[Entry]:
    when = max(at or utc_now(), was.last_at) if was.last_at else at or utc_now()
    rate = rate_of(settlement)
    posted = by_flag(was.rows)
    mark = _mark(settlement, legs, posted, kind)
    change = standing_of(settlement, legs).less(posted.get(mark, Standing()))
    entries = []
    other_side = posted.get(not mark, Standing())
    if other_side:
        entries.append(
            _entry(
                place,
                kind,
                when,
                Standing().less(other_side),
                rate,
                settlement=settlement,
                is_test=not mark,
            )
        )
    payments = []
    for leg in legs:
        if leg.id in paid and leg.status in PAID:
            part = paid_change(leg)
            change = change.less(part)
            name = "paid_outside" if leg.paid_outside else "paid"
            payments.append(
                _entry(
                    place,
                    name,
                    leg.completed_at or when,
                    part,
                    rate,
                    settlement=settlement,
                    payment_id=leg.id,
                    is_test=mark,
                )
            )
    if change:
        entries.append(
            _entry(place, kind, when, change, rate, settlement=settlement, is_test=mark)
        )
    return [*entries, *payments]


def _mark(
    settlement: Settlement,
    legs: Sequence[Leg],
    posted: Mapping[bool, Standing],
    kind: str,
) -> bool:
    """Whether its entries are a test's. What something was paid from stays what it
    was, whoever marks it since."""
    known = [flag for flag, standing in posted.items() if standing]
    if len(known) != 1:
        return settlement.is_test
    is_paid = any(x.status in PAID for x in legs)
    return known[0] if kind != "test" or is_paid else settlement.is_test


def planned_at(settlement: Settlement) -> datetime:
    """When a plan counts: at the transaction, or when it was said what came out."""
    if settlement.dispensed_fiat is not None:
        return utc_now()
    return settlement.transaction_time or utc_now()


async def post_closing(
    conn: Connection, leg_ids: Iterable[str], kind: str, at: datetime | None = None
) -> None:
    """Legs of closed balances, which have no settlement: at the LP's machine, and at
    the one whose wallet paid."""
    legs = [
        x
        for x in await crud.legs(conn, leg_ids)
        if x.settlement_id is None and x.leg_type == "settlement"
    ]
    if not legs:
        return
    before = await crud.posted(conn, "payment_id", [x.id for x in legs])
    wallets = {x.source_wallet_id for x in legs if x.source_wallet_id}
    places = await crud.places(conn, {x.machine_id for x in legs}, wallets)
    entries: list[Entry] = []
    for leg in legs:
        when = (leg.completed_at if leg.status in PAID else at) or utc_now()
        for place in _places_of(leg, places, before):
            is_own = leg.source_wallet_id in place.wallets
            if place.machine_id == leg.machine_id:
                standing = closing_standing(leg, is_own_wallet=is_own)
            else:
                standing = lent_standing(leg)
            was = before.get(f"{leg.id}@{place.machine_id}", NOTHING)
            change = standing.less(by_flag(was.rows).get(False, Standing()))
            if change:
                entries.append(
                    _entry(
                        place, kind, when, change, closing_rate(leg), payment_id=leg.id
                    )
                )
    await crud.write_entries(conn, entries)


def _places_of(
    leg: Leg, places: Mapping[str, Place], before: Mapping[str, Posted]
) -> list[Place]:
    """The LP's machine, and the one whose wallet lends the sats. One only: of machines
    that had this wallet one after the other, the one that it is posted at already."""
    own = places.get(leg.machine_id)
    lenders = lenders_of(leg, places)
    known = [x for x in lenders if f"{leg.id}@{x.machine_id}" in before]
    return [*([own] if own else []), *(known or lenders)[:1]]


async def post_legs(conn: Connection, legs: Sequence[Leg], kind: str) -> None:
    """Legs that were paid, given up or let go just now, of settlements and closings."""
    of_settlements = [
        x for x in legs if x.settlement_id and x.leg_type != "autoforward"
    ]
    ids = [x.id for x in of_settlements]
    await post(conn, [x.settlement_id for x in of_settlements], kind, paid=ids)
    closings = [x.id for x in legs if x.leg_type == "settlement"]
    if closings:
        await post_closing(conn, closings, kind)


async def post_undone(
    conn: Connection,
    machine: Machine,
    undone: Sequence[Settlement],
    reopened: Sequence[Leg],
) -> None:
    """LNbits knows payments no more that stood here: they are in no wallet, and legs
    that they paid are owed again."""
    ids = [*(x.id for x in undone), *(x.settlement_id for x in reopened)]
    await post(conn, ids, "undone")
    await post_closing(
        conn, [x.id for x in reopened if x.settlement_id is None], "undone"
    )
    for settlement in undone:
        wallet = landed(settlement)[MACHINE_WALLET, None].sats
        await post_other(
            conn,
            _place_of(machine),
            settlement.payment_hash,
            -wallet,
            utc_now(),
            kind="undone",
        )


async def post_deposit(
    conn: Connection, deposit: Deposit, *, cents: int, kind: str, at: datetime
) -> None:
    """Cash that an LP handed over was confirmed; negative where it was taken back."""
    places = await crud.places(conn, [deposit.machine_id])
    if deposit.machine_id in places and cents:
        entry = _entry(
            places[deposit.machine_id],
            kind,
            at,
            deposit_standing(deposit.client_id, cents),
            NO_RATE,
            deposit_id=deposit.id,
        )
        await crud.write_entries(conn, [entry])


def other_id(payment_hash: str, sats: int, machine_id: str, kind: str = "other") -> str:
    """The one entry of a payment that is nobody's sale, in one direction."""
    return f"{kind}:{payment_hash}:{'in' if sats > 0 else 'out'}:{machine_id}"


def service_fee_id(payment_hash: str, machine_id: str) -> str:
    return f"service_fee:{payment_hash}:{machine_id}"


async def post_other(
    conn: Connection,
    place: Place,
    payment_hash: str,
    sats: int,
    at: datetime,
    *,
    kind: str = "other",
) -> None:
    """A payment in a machine's wallet that is nobody's sale, once."""
    entry_id = other_id(payment_hash, sats, place.machine_id, kind)
    if not sats or await crud.has_entries(conn, [entry_id]):
        return
    entry = _entry(
        place,
        kind,
        at,
        other_standing(sats),
        NO_RATE,
        entry_id=entry_id,
        payment_id=payment_hash,
    )
    await crud.write_entries(conn, [entry])


async def post_service_fee(
    conn: Connection, place: Place, payment_hash: str, sats: int, at: datetime
) -> None:
    """LNbits' own fee on a payment out of a machine's wallet, once: what was held back
    of the legs for it was not kept."""
    entry_id = service_fee_id(payment_hash, place.machine_id)
    if not sats or await crud.has_entries(conn, [entry_id]):
        return
    entry = _entry(
        place,
        "service_fee",
        at,
        service_fee_standing(sats),
        NO_RATE,
        entry_id=entry_id,
        payment_id=payment_hash,
    )
    await crud.write_entries(conn, [entry])
