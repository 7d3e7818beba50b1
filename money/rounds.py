"""Which legs are paid now, and together: one round of one paying wallet.

A round takes the due legs of a wallet and opens one payout for each destination, within
LNbits' limits and the wallet's funds. It is a row of stages, each of which gets legs
and returns those it keeps and why the others wait; nothing is written before the end.

A leg that lacks only free balance waits alone. A wallet that lacks what it owes pays
LPs and refunds first, then the platform, then splits, oldest first, up to the first
that does not fit. A refusal that does not depend on the destination stops the wallet's
round. None of these counts as an attempt; the reason stands on the leg.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lnbits.helpers import urlsafe_short_hash

from .. import crud
from ..base import lease
from ..base.database import db, transaction
from ..host import limits, people
from ..host.balances import balances_msat
from ..host.wallets import WalletFacts, local_wallet_of_address, wallet_facts
from ..models import Leg, LpProfile, Machine, Payout, SuperConfig, WaitCode, utc_now
from ..parties import positions_crud
from . import forwards, payouts_crud
from .funds import Funds, funds_of, is_free
from .funds_crud import RANK
from .payouts_crud import Deferred, Wait
from .planning import ALREADY_HERE
from .targets import is_outside, resolve_target

# a leg that was refused for a reason of this server's is looked at again after this
WAIT = timedelta(seconds=20)
# a sum below the machine's smallest payout waits no longer than this
MAX_BATCH_WAIT = timedelta(days=7)

SAME_DESTINATION_FAILED = Wait(
    WaitCode.BACKING_OFF,
    "An earlier payment to this destination failed; this waits too.",
)
SOURCE_DELETED = Wait(
    WaitCode.PAYING_WALLET, "The paying wallet was deleted; restore it in LNbits."
)
SOURCE_SHARED = Wait(
    WaitCode.PAYING_WALLET, "The paying wallet is a shared wallet; it cannot pay."
)
SOURCE_FOREIGN = Wait(
    WaitCode.PAYING_WALLET,
    "The paying wallet no longer belongs to who owes this.",
)
NO_PLATFORM_WALLET = Wait(WaitCode.PLATFORM_WALLET, crud.NO_PLATFORM_WALLET)
NO_FUNDING_SOURCE = Wait(
    WaitCode.REFUSED, "LNbits has no Lightning funding source now."
)
PAUSE = Wait(WaitCode.REFUSED, "LNbits wants a pause between two payments.")
SHORTFALL_FIRST = Wait(
    WaitCode.SHORTFALL,
    "The platform's share that was not charged is paid first.",
)


@dataclass(frozen=True)
class Destination:
    """Where a leg is paid: a wallet of this instance, or something outside."""

    key: str
    wallet_id: str | None = None

    @property
    def is_internal(self) -> bool:
        return self.wallet_id is not None

    @property
    def is_invoice(self) -> bool:
        """One given invoice: it is paid once, with the sats of all legs or not yet."""
        return self.key.startswith("bolt11:")


def order(leg: Leg) -> tuple[int, datetime, str]:
    """Who is paid first where there is not enough for all."""
    return RANK[leg.leg_type], leg.transaction_time, leg.id


@dataclass(frozen=True)
class Group:
    """Legs that one payment can pay together."""

    destination: Destination
    legs: list[Leg]

    @property
    def order(self) -> tuple[int, datetime, str]:
        return min(order(x) for x in self.legs)

    @property
    def sats(self) -> int:
        return sum(x.amount_sats for x in self.legs)


@dataclass
class BatchPlan:
    """What one look at a wallet's legs decided."""

    payouts: list[tuple[Payout, list[Leg]]] = field(default_factory=list)
    deferred: Deferred = field(default_factory=dict)
    unpayable: list[tuple[Leg, str]] = field(default_factory=list)
    skipped: list[Leg] = field(default_factory=list)


@dataclass(frozen=True)
class BatchInputs:
    """All that a round needs to know of our own tables, read before it decides."""

    legs: list[Leg]
    backing_off: set[tuple[str, str | None, str | None]]
    machines: Mapping[str, Machine]
    config: SuperConfig
    profiles: Mapping[str, LpProfile]


async def read_batch_inputs(wallet_id: str, now: datetime) -> BatchInputs:
    async with db.connect() as conn:
        legs = await payouts_crud.due_legs(conn, wallet_id, now)
        return BatchInputs(
            legs=legs,
            backing_off=await payouts_crud.backing_off(conn, wallet_id, now),
            machines=await crud.get_machines_by_id(conn, [x.machine_id for x in legs]),
            config=await crud.get_super_config(conn),
            profiles=await positions_crud.lp_profiles_of_clients(
                conn, [x.client_id for x in legs if x.client_id]
            ),
        )


async def open_round(wallet_id: str, holder: str, most: int | None = None) -> int:
    """Decide and open the payouts of one paying wallet, or only the first `most` of
    them; returns how many."""
    now = utc_now()
    inputs = await read_batch_inputs(wallet_id, now)
    if not inputs.legs:
        return 0
    plan = await plan_batch(wallet_id, inputs, now, most)
    return await apply_batch(plan, holder, now)


async def apply_batch(plan: BatchPlan, holder: str, now: datetime) -> int:
    """Write what a round decided; returns how many payouts it opened.

    Whatever was done to a leg since it was read is not overwritten: the leg is left to
    the next round.
    """
    async with transaction() as conn:
        if not await lease.holds_lease(holder, conn):
            # frozen since the legs were read: another engine pays them now
            return 0
        await crud.lock_ledger(conn)
        opened = await payouts_crud.open_payouts(conn, plan.payouts, holder)
        changed = [leg for leg, _ in plan.unpayable] + plan.skipped
        waiting = await payouts_crud.still_waiting(conn, changed)
        by_reason: dict[str, list[Leg]] = {}
        for leg, reason in plan.unpayable:
            if leg.id in waiting:
                by_reason.setdefault(reason, []).append(waiting[leg.id])
        for reason, legs in by_reason.items():
            await payouts_crud.count_failed_attempt(conn, legs, reason)
        skipped = [waiting[x.id] for x in plan.skipped if x.id in waiting]
        for leg in skipped:
            leg.destination_wallet_id = leg.source_wallet_id
        await payouts_crud.finish_legs(conn, skipped, "skipped", now, ALREADY_HERE)
    await payouts_crud.set_leg_waits(plan.deferred, now + WAIT)
    return len(opened)


async def plan_batch(
    wallet_id: str, inputs: BatchInputs, now: datetime, most: int | None = None
) -> BatchPlan:
    """Who is paid in this round. Reads LNbits' wallets; writes nothing."""
    legs, stopped = _not_stopped(inputs, now)
    wanted = await _wanted_wallets(legs, inputs)
    wallets = await wallet_facts([wallet_id, *(w for w in wanted.values() if w)])
    legs, refused = _source_allows(legs, wallets.get(wallet_id), inputs)
    plan = _located(legs, wanted, wallets, inputs)
    groups, small = _drop_below_minimum(plan.groups, inputs, now)
    payouts, unfunded = await _fill(wallet_id, groups, most)
    return BatchPlan(
        payouts,
        {**stopped, **refused, **plan.deferred, **small, **unfunded},
        plan.unpayable,
        plan.skipped,
    )


def _deferred(legs: Iterable[Leg], wait: Wait) -> Deferred:
    return {leg.id: wait for leg in legs}


def _not_stopped(inputs: BatchInputs, now: datetime) -> tuple[list[Leg], Deferred]:
    """Without forwards that are over (the sweep voids them), machines whose payouts are
    stopped, and destinations that failed a moment ago."""
    kept: list[Leg] = []
    deferred: Deferred = {}
    for leg in inputs.legs:
        if forwards.is_stale(leg, inputs.profiles.get(leg.client_id or ""), now):
            continue
        machine = inputs.machines.get(leg.machine_id)
        stopped = machine.payouts_stopped_reason if machine else None
        if stopped and leg.leg_type != "autoforward":
            reason = f"Payouts of this machine are stopped: {stopped}"
            deferred[leg.id] = Wait(WaitCode.STOPPED, reason)
        elif (leg.leg_type, leg.client_id, leg.target) not in inputs.backing_off:
            kept.append(leg)
        elif not leg.attempts:
            deferred[leg.id] = SAME_DESTINATION_FAILED
    return kept, deferred


async def _wanted_wallets(
    legs: Sequence[Leg], inputs: BatchInputs
) -> dict[str, str | None]:
    """leg id -> the wallet of this instance that it goes to, as things are now."""
    wanted = {leg.id: _wanted_wallet(leg, inputs) for leg in legs}
    unknown = [x for x in legs if wanted[x.id] is None and x.target]
    # each is asked of LNbits, and many legs have the same
    meant = {_meaning(x): x for x in unknown}
    local = {key: await _local_wallet(leg) for key, leg in meant.items()}
    return {**wanted, **{x.id: local[_meaning(x)] for x in unknown}}


def _meaning(leg: Leg) -> tuple[str, bool]:
    """What it depends on which wallet a leg's target is."""
    return str(leg.target), leg.leg_type == "operator_split"


async def _local_wallet(leg: Leg) -> str | None:
    """The wallet behind a target: an address of this instance, or an old split's key
    (splits of before m010 were kept without the wallet they mean)."""
    target = str(leg.target)
    if "@" in target:
        return await local_wallet_of_address(target)
    if leg.leg_type != "operator_split" or is_outside(target):
        return None
    try:
        return (await resolve_target(target, owner_user_id="")).wallet_id
    except ValueError:
        return target  # no such wallet: the leg will say so


def _wanted_wallet(leg: Leg, inputs: BatchInputs) -> str | None:
    """The wallet of this instance that a leg goes to, as things are now."""
    if leg.leg_type in ("dca", "settlement"):
        profile = inputs.profiles.get(leg.client_id or "")
        return profile.dca_wallet_id if profile else None
    if leg.leg_type == "super_fee":
        return inputs.config.super_fee_wallet_id
    if leg.leg_type == "operator_split" and "@" not in (leg.target or ""):
        return leg.destination_wallet_id
    return None


def _source_allows(
    legs: Sequence[Leg], source: WalletFacts | None, inputs: BatchInputs
) -> tuple[list[Leg], Deferred]:
    """The paying wallet must still exist and belong to who owes."""
    if source is None or source.is_deleted:
        return [], _deferred(legs, SOURCE_DELETED)
    if not source.is_usable:
        return [], _deferred(legs, SOURCE_SHARED)
    kept: list[Leg] = []
    foreign: list[Leg] = []
    for leg in legs:
        owner: str | None = leg.operator_user_id
        if leg.leg_type == "autoforward":
            profile = inputs.profiles.get(leg.client_id or "")
            owner = profile.user_id if profile else None
        (kept if source.user_id == owner else foreign).append(leg)
    return kept, _deferred(foreign, SOURCE_FOREIGN)


@dataclass
class Located:
    """Legs by destination, and what became of those that have none."""

    by_key: dict[str, Group] = field(default_factory=dict)
    deferred: Deferred = field(default_factory=dict)
    unpayable: list[tuple[Leg, str]] = field(default_factory=list)
    skipped: list[Leg] = field(default_factory=list)

    @property
    def groups(self) -> list[Group]:
        return list(self.by_key.values())


def _located(
    legs: Sequence[Leg],
    wanted: Mapping[str, str | None],
    wallets: Mapping[str, WalletFacts],
    inputs: BatchInputs,
) -> Located:
    found = Located()
    for leg in legs:
        wallet_id = wanted[leg.id]
        if wallet_id is not None and wallet_id == leg.source_wallet_id:
            found.skipped.append(leg)
            continue
        if wallet_id is None:
            where = _outside(leg)
        else:
            where = _wallet_problem(leg, wallets.get(wallet_id), inputs) or Destination(
                f"wallet:{wallet_id}", wallet_id
            )
        if isinstance(where, Destination):
            group = found.by_key.setdefault(where.key, Group(where, []))
            group.legs.append(leg)
        elif isinstance(where, Wait):
            found.deferred[leg.id] = where
        elif where:
            found.unpayable.append((leg, where))
    return found


def _outside(leg: Leg) -> Destination | Wait | str | None:
    """Where a leg goes that goes to no wallet of this instance; else why it waits, or
    (as a text) why it cannot be paid. None: nobody has said yet where it goes."""
    if leg.leg_type in ("dca", "settlement"):
        return "The LP has no receiving wallet; they must choose one."
    if leg.leg_type == "super_fee":
        return NO_PLATFORM_WALLET
    if not leg.target:
        return None
    if leg.leg_type == "refund" and "@" not in leg.target:
        return Destination(f"bolt11:{leg.target}")
    kind = "address" if "@" in leg.target else "lnurl"
    return Destination(f"{kind}:{leg.target}")


def _wallet_problem(
    leg: Leg, wallet: WalletFacts | None, inputs: BatchInputs
) -> str | None:
    if wallet is None or wallet.is_deleted:
        return "The receiving wallet no longer exists."
    if not wallet.has_owner:
        return "The LNbits account of who receives this was deleted."
    if not wallet.is_usable:
        return "The receiving wallet is a shared wallet and cannot be paid."
    if leg.leg_type in ("dca", "settlement"):
        profile = inputs.profiles.get(leg.client_id or "")
        if not profile or wallet.user_id != profile.user_id:
            return "The receiving wallet does not belong to the LP."
    if leg.leg_type == "super_fee" and wallet.user_id != people.super_user():
        return "The platform wallet does not belong to the super user."
    return None


def _drop_below_minimum(
    groups: Sequence[Group], inputs: BatchInputs, now: datetime
) -> tuple[list[Group], Deferred]:
    """Leave out DCA sums below the machine's smallest payout."""
    deferred: Deferred = {}
    for group in groups:
        dca = [x for x in group.legs if x.leg_type == "dca"]
        for machine_id in {x.machine_id for x in dca}:
            legs = [x for x in dca if x.machine_id == machine_id]
            wait = _too_small(legs, inputs.machines.get(machine_id), now)
            if wait:
                deferred.update(_deferred(legs, wait))
    return _without(groups, deferred), deferred


def _too_small(legs: list[Leg], machine: Machine | None, now: datetime) -> Wait | None:
    if not machine:
        return None
    total = sum(x.amount_sats for x in legs)
    oldest = min(x.created_at for x in legs)
    if total >= machine.min_payout_sats or now - oldest > MAX_BATCH_WAIT:
        return None
    latest = (oldest + MAX_BATCH_WAIT).strftime("%Y-%m-%d")
    return Wait(
        WaitCode.GATHERING,
        f"gathering: {total} of the machine's smallest payout of "
        f"{machine.min_payout_sats} sat; paid on {latest} at the latest",
    )


def _without(groups: Sequence[Group], deferred: Deferred) -> list[Group]:
    """The groups without the legs that wait, in the order in which they are paid."""
    left = [
        Group(g.destination, [x for x in g.legs if x.id not in deferred])
        for g in groups
    ]
    return sorted((g for g in left if g.legs), key=lambda g: g.order)


def affordable(groups: Sequence[Group], funds: Funds) -> tuple[list[Group], Deferred]:
    """The groups without the legs that the wallet cannot pay now. Pure.

    What lacks only free balance waits alone, whatever else goes to its destination. At
    the first leg that lacks sats which it is owed, all behind it wait too.
    """
    deferred: Deferred = {}
    units = sorted(_units(groups), key=lambda legs: order(legs[0]))
    for index, unit in enumerate(units):
        left, wait = _take(unit, funds)
        if wait is None:
            funds = left
            continue
        deferred.update(_deferred(unit, wait))
        if wait.code == WaitCode.WALLET_SHORT:
            behind = [leg for legs in units[index + 1 :] for leg in legs]
            deferred.update(_deferred(behind, wait))
            break
    return _without(groups, deferred), deferred


def _units(groups: Sequence[Group]) -> list[list[Leg]]:
    """What is paid whole or not yet: each leg by itself, but all of an invoice's."""
    units: list[list[Leg]] = []
    for group in groups:
        legs = sorted(group.legs, key=order)
        units += [legs] if group.destination.is_invoice else [[x] for x in legs]
    return units


def _take(unit: Sequence[Leg], funds: Funds) -> tuple[Funds, Wait | None]:
    for leg in unit:
        if funds.has_shortfall and leg.leg_type == "operator_split":
            return funds, SHORTFALL_FIRST
        left_sats = funds.left_for(leg)
        if leg.amount_sats > left_sats:
            return funds, _short(leg, funds)
        funds = funds.after(leg)
    return funds, None


def _short(leg: Leg, funds: Funds) -> Wait:
    code = WaitCode.FREE_BALANCE if is_free(leg) else WaitCode.WALLET_SHORT
    left_sats = funds.left_for(leg)
    if is_free(leg) and funds.held_sats >= leg.amount_sats:
        reason = (
            f"{max(0, left_sats)} of the {leg.amount_sats} sat needed are free "
            "in the paying wallet; the rest is owed to others."
        )
    else:
        held_sats = funds.held_sats if is_free(leg) else left_sats
        reason = (
            f"The paying wallet holds {max(0, held_sats)} of the "
            f"{leg.amount_sats} sat needed."
        )
    return Wait(code, reason)


Opening = tuple[Payout, list[Leg]]


async def _fill(
    wallet_id: str, groups: Sequence[Group], most: int | None
) -> tuple[list[Opening], Deferred]:
    """A payout a group while the wallet's funds and LNbits' limits allow."""
    everybody = [leg for group in groups for leg in group.legs]
    refusal = _instance_refusal()
    if refusal or not everybody:
        return [], _deferred(everybody, refusal) if refusal else {}
    funds = (await funds_of([wallet_id]))[wallet_id]
    groups, deferred = affordable(groups, funds)
    groups = groups[:most]
    receivers = [g.destination.wallet_id for g in groups if g.destination.wallet_id]
    limited = limits.most_balance_sats() > 0
    balances = await balances_msat(receivers) if limited else {}
    payouts: list[Opening] = []
    spent_sats = 0
    for index, group in enumerate(groups):
        if not group.destination.is_internal and not limits.has_funding_source():
            deferred.update(_deferred(group.legs, NO_FUNDING_SOURCE))
            continue
        legs, crowded = _fit_room(group, most_sats(group.destination, balances))
        legs, stop = await _within_limits(wallet_id, spent_sats, group, legs)
        deferred.update(crowded)
        total_sats = sum(leg.amount_sats for leg in legs)
        too_small = _below_fee(group.destination, total_sats)
        if legs and too_small:
            deferred.update(_deferred(legs, too_small))
        elif legs:
            spent_sats += total_sats
            payouts.append((_payout(wallet_id, group.destination, total_sats), legs))
        if not stop and legs and limits.wants_pauses():
            stop = PAUSE
        if stop:
            rest = [x for g in groups[index:] for x in g.legs if x not in legs]
            deferred.update(_deferred(rest, stop))
            break
    return payouts, deferred


def _below_fee(destination: Destination, total_sats: int) -> Wait | None:
    """Nothing would arrive of this sum: LNbits' service fee, or what it wants kept back
    for the routing, is all of it. More will come that it can go with."""
    kept_back = limits.reserve_sats(total_sats, destination.is_internal)
    if total_sats > kept_back or destination.is_invoice:
        return None
    return Wait(
        WaitCode.BELOW_FEE,
        f"{total_sats} sat do not cover LNbits' fee of {kept_back} sat; this is paid "
        "together with what is due to this destination next.",
    )


def _fit_room(group: Group, room_sats: int) -> tuple[list[Leg], Deferred]:
    """The oldest legs that fit into one payment by LNbits' limits; the others are next,
    or, where not even one fits, are told why not."""
    legs: list[Leg] = []
    total_sats = 0
    for leg in _to_try(group):
        if total_sats + leg.amount_sats > room_sats:
            break
        total_sats += leg.amount_sats
        legs.append(leg)
    is_part = group.destination.is_invoice and len(legs) < len(group.legs)
    if legs and not is_part:
        return legs, {}
    due_sats = group.sats if is_part else _to_try(group)[0].amount_sats
    wait = Wait(
        WaitCode.LIMIT,
        f"{due_sats} sat are due, but LNbits' limits allow "
        f"{max(0, room_sats)} sat to this destination in one payment.",
    )
    return [], _deferred(group.legs if is_part else _to_try(group)[:1], wait)


def _to_try(group: Group) -> list[Leg]:
    """The legs of a group, oldest first; after a failure every second time one alone.

    A server outside has limits of its own, which LNbits does not tell us: together the
    legs may be above its largest payment, alone below its smallest.
    """
    oldest_first = sorted(group.legs, key=lambda x: (x.transaction_time, x.id))
    outside = not group.destination.is_internal and not group.destination.is_invoice
    oldest = oldest_first[0]
    if (
        outside
        and oldest.attempts % 2
        and not _below_fee(group.destination, oldest.amount_sats)
    ):
        return [oldest]
    return oldest_first


def most_sats(destination: Destination, balances: Mapping[str, int]) -> int:
    """The most that one payment to this destination may carry, by LNbits' limits."""
    most = limits.most_outgoing_sats()
    if destination.wallet_id:
        most = min(most, limits.most_incoming_sats())
        ceiling = limits.most_balance_sats()
        if ceiling > 0:
            held = balances.get(destination.wallet_id, 0) // 1000
            most = min(most, ceiling - held)
    return most


def _instance_refusal() -> Wait | None:
    if limits.takes_only_incoming():
        return Wait(
            WaitCode.REFUSED,
            "This LNbits accepts only incoming payments now (its settings).",
        )
    return None


async def _within_limits(
    wallet_id: str, spent_sats: int, group: Group, legs: list[Leg]
) -> tuple[list[Leg], Wait | None]:
    """The oldest of these legs that LNbits lets pass, and why not all of them.

    A sum that once was above a day's limit would else wait for ever, and grow.
    """
    refusal: Wait | None = None
    while legs:
        total = spent_sats + sum(leg.amount_sats for leg in legs)
        again = await _limits_refusal(wallet_id, total)
        if again is None:
            break
        refusal = Wait(WaitCode.REFUSED, again)
        legs = [] if group.destination.is_invoice else legs[: len(legs) // 2]
    return legs, refusal


async def _limits_refusal(wallet_id: str, total_sats: int) -> str | None:
    """LNbits' own sentence why this wallet may not pay now, or None."""
    if not limits.has_wallet_limits():
        return None
    return await limits.wallet_refusal(wallet_id, total_sats)


def _payout(wallet_id: str, destination: Destination, amount_sats: int) -> Payout:
    return Payout(
        id=urlsafe_short_hash(),
        source_wallet_id=wallet_id,
        destination=destination.key,
        destination_wallet_id=destination.wallet_id,
        is_internal=destination.is_internal,
        amount_sats=amount_sats,
    )
