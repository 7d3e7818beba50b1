"""Which legs are paid now, and together: one round of one paying wallet.

A round takes the due legs of a wallet, groups them by destination and opens one payout
for each, oldest first, `dca` before the fees, within LNbits' limits and the wallet's
funds. A refusal that does not depend on the destination stops the wallet's round, is
written on the legs as the reason, and counts as no attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lnbits.helpers import urlsafe_short_hash

from .. import crud
from ..base import lease
from ..base.database import db, fetch_all, transaction
from ..host import limits, people
from ..host.balances import balances_msat
from ..host.payments import debited_hashes
from ..host.wallets import WalletFacts, local_wallet_of_address, wallet_facts
from ..models import Leg, LpProfile, Machine, Payout, SuperConfig, utc_now
from . import forwards, payouts_crud
from .planning import ALREADY_HERE
from .targets import is_outside, resolve_target

RANK = {
    "dca": 0,
    "settlement": 0,
    "refund": 1,
    "super_fee": 2,
    "operator_split": 3,
    "autoforward": 4,
}
# a leg that was refused for a reason of this server's is looked at again after this
WAIT = timedelta(seconds=20)
# a sum below the machine's smallest payout waits no longer than this
MAX_BATCH_WAIT = timedelta(days=7)


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


@dataclass
class Group:
    destination: Destination
    legs: list[Leg] = field(default_factory=list)

    @property
    def order(self) -> tuple[int, datetime, str]:
        return min((RANK[x.leg_type], x.transaction_time, x.id) for x in self.legs)


@dataclass
class BatchPlan:
    """What one look at a wallet's legs decided."""

    wallet_id: str
    payouts: list[tuple[Payout, list[Leg]]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    dead: list[tuple[Leg, str]] = field(default_factory=list)
    skipped: list[Leg] = field(default_factory=list)

    def wait(self, legs: Iterable[Leg], reason: str) -> None:
        self.reasons.update({leg.id: reason for leg in legs})


@dataclass(frozen=True)
class Opened:
    """What the legs of one unfinished payout take from the wallet."""

    payment_hash: str | None
    sats: int
    free_sats: int


@dataclass(frozen=True)
class BatchInputs:
    """All that a round needs to know, read before anything is decided."""

    legs: list[Leg]
    backing_off: set[tuple[str, str | None, str | None]]
    machines: Mapping[str, Machine]
    config: SuperConfig
    profiles: Mapping[str, LpProfile]
    own_reserved_sats: int
    opened: list[Opened]


async def read_batch_inputs(wallet_id: str, now: datetime) -> BatchInputs:
    async with db.connect() as conn:
        legs = await payouts_crud.due_legs(conn, wallet_id, now)
        reserved = await payouts_crud.reserved_sats(conn, [wallet_id])
        opened = await fetch_all(
            conn,
            """
            SELECT o.payment_hash, SUM(p.amount_sats) AS sats,
                   SUM(CASE WHEN p.from_free_balance OR p.leg_type = 'autoforward'
                       THEN p.amount_sats ELSE 0 END) AS free_sats
            FROM satoshimachine.dca_payments p
            JOIN satoshimachine.dca_payouts o ON o.id = p.payout_id
            WHERE p.status = 'pending' AND p.source_wallet_id = :wallet
            GROUP BY o.id, o.payment_hash
            """,
            {"wallet": wallet_id},
        )
        backing_off = await fetch_all(
            conn,
            """
            SELECT DISTINCT leg_type, client_id, target FROM satoshimachine.dca_payments
            WHERE status = 'pending' AND payout_id IS NULL AND attempts > 0
              AND next_try_at > :now AND source_wallet_id = :wallet
            """,
            {"wallet": wallet_id, "now": crud.db_time(now)},
        )
        return BatchInputs(
            legs=legs,
            backing_off={
                (r["leg_type"], r["client_id"], r["target"]) for r in backing_off
            },
            machines=await crud.get_machines_by_id(conn, [x.machine_id for x in legs]),
            config=await crud.get_super_config(conn),
            profiles=await crud.lp_profiles_of_clients(
                conn, [x.client_id for x in legs if x.client_id]
            ),
            own_reserved_sats=reserved[wallet_id][0],
            opened=[
                Opened(r["payment_hash"], int(r["sats"]), int(r["free_sats"]))
                for r in opened
            ],
        )


async def open_round(wallet_id: str, holder: str, most: int | None = None) -> int:
    """Decide and open the payouts of one paying wallet, or only the first `most` of
    them; returns how many."""
    now = utc_now()
    facts = await read_batch_inputs(wallet_id, now)
    if not facts.legs:
        return 0
    return await apply_batch(await plan_batch(wallet_id, facts, now, most), holder, now)


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
        changed = [leg for leg, _ in plan.dead] + plan.skipped
        waiting = await payouts_crud.still_waiting(conn, changed)
        by_reason: dict[str, list[Leg]] = {}
        for leg, reason in plan.dead:
            if leg.id in waiting:
                by_reason.setdefault(reason, []).append(waiting[leg.id])
        for reason, legs in by_reason.items():
            await payouts_crud.count_failed_attempt(conn, legs, reason)
        skipped = [waiting[x.id] for x in plan.skipped if x.id in waiting]
        for leg in skipped:
            leg.destination_wallet_id = leg.source_wallet_id
        await payouts_crud.finish_legs(conn, skipped, "skipped", now, ALREADY_HERE)
    await payouts_crud.set_leg_reasons(plan.reasons, now + WAIT)
    return len(opened)


async def plan_batch(
    wallet_id: str, facts: BatchInputs, now: datetime, most: int | None = None
) -> BatchPlan:
    """Who is paid in this round. Reads LNbits' wallets; writes nothing."""
    found = BatchPlan(wallet_id)
    legs = _not_stopped(facts, now, found)
    wanted = {leg.id: _wanted_wallet(leg, facts) for leg in legs}
    unknown = [x for x in legs if wanted[x.id] is None and x.target]
    # each is asked of LNbits, and many legs have the same
    meant = {_meaning(x): x for x in unknown}
    local = {key: await _local_wallet(leg) for key, leg in meant.items()}
    wanted.update({x.id: local[_meaning(x)] for x in unknown})
    wallets = await wallet_facts([wallet_id, *(w for w in wanted.values() if w)])
    legs = _source_allows(wallet_id, legs, wallets, facts, found)
    groups = _group(legs, wanted, wallets, facts, found)
    groups = _drop_below_minimum(groups, facts, now, found)
    if groups:
        await _fill(wallet_id, groups[:most], facts, found)
    return found


def _not_stopped(facts: BatchInputs, now: datetime, found: BatchPlan) -> list[Leg]:
    legs = []
    for leg in facts.legs:
        if forwards.is_stale(leg, facts.profiles.get(leg.client_id or ""), now):
            continue  # the sweep voids it
        machine = facts.machines.get(leg.machine_id)
        stopped = machine.payouts_stopped_reason if machine else None
        if stopped and leg.leg_type != "autoforward":
            found.wait([leg], f"Payouts of this machine are stopped: {stopped}")
        elif (leg.leg_type, leg.client_id, leg.target) not in facts.backing_off:
            legs.append(leg)
        elif not leg.attempts:
            found.wait(
                [leg], "An earlier payment to this destination failed; this waits too."
            )
    return legs


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


def _wanted_wallet(leg: Leg, facts: BatchInputs) -> str | None:
    """The wallet of this instance that a leg goes to, as things are now."""
    if leg.leg_type in ("dca", "settlement"):
        profile = facts.profiles.get(leg.client_id or "")
        return profile.dca_wallet_id if profile else None
    if leg.leg_type == "super_fee":
        return facts.config.super_fee_wallet_id
    if leg.leg_type == "operator_split" and "@" not in (leg.target or ""):
        return leg.destination_wallet_id
    return None


def _source_allows(
    wallet_id: str,
    legs: list[Leg],
    wallets: Mapping[str, WalletFacts],
    facts: BatchInputs,
    found: BatchPlan,
) -> list[Leg]:
    """The paying wallet must still exist and belong to who owes."""
    source = wallets.get(wallet_id)
    if source is None or source.is_deleted:
        found.wait(legs, "The paying wallet was deleted; restore it in LNbits.")
        return []
    if not source.is_usable:
        found.wait(legs, "The paying wallet is a shared wallet; it cannot pay.")
        return []
    allowed = []
    for leg in legs:
        owner: str | None = leg.operator_user_id
        if leg.leg_type == "autoforward":
            profile = facts.profiles.get(leg.client_id or "")
            owner = profile.user_id if profile else None
        if source.user_id == owner:
            allowed.append(leg)
        else:
            found.wait([leg], "The paying wallet no longer belongs to who owes this.")
    return allowed


def _group(
    legs: Sequence[Leg],
    wanted: Mapping[str, str | None],
    wallets: Mapping[str, WalletFacts],
    facts: BatchInputs,
    found: BatchPlan,
) -> list[Group]:
    groups: dict[str, Group] = {}
    for leg in legs:
        destination = _destination(leg, wanted[leg.id], wallets, facts, found)
        if destination:
            group = groups.setdefault(destination.key, Group(destination))
            group.legs.append(leg)
    return sorted(groups.values(), key=lambda g: g.order)


def _destination(
    leg: Leg,
    wallet_id: str | None,
    wallets: Mapping[str, WalletFacts],
    facts: BatchInputs,
    found: BatchPlan,
) -> Destination | None:
    if wallet_id is None:
        return _outside(leg, found)
    if wallet_id == leg.source_wallet_id:
        leg.destination_wallet_id = wallet_id
        found.skipped.append(leg)
        return None
    problem = _wallet_problem(leg, wallets.get(wallet_id), facts)
    if problem:
        found.dead.append((leg, problem))
        return None
    return Destination(f"wallet:{wallet_id}", wallet_id)


def _outside(leg: Leg, found: BatchPlan) -> Destination | None:
    if leg.leg_type in ("dca", "settlement"):
        found.dead.append(
            (leg, "The LP has no receiving wallet; they must choose one.")
        )
        return None
    if leg.leg_type == "super_fee":
        found.wait([leg], crud.NO_PLATFORM_WALLET)
        return None
    if not leg.target:
        return None  # a refund that nobody claimed yet
    if leg.leg_type == "refund" and "@" not in leg.target:
        return Destination(f"bolt11:{leg.target}")
    kind = "address" if "@" in leg.target else "lnurl"
    return Destination(f"{kind}:{leg.target}")


def _wallet_problem(
    leg: Leg, wallet: WalletFacts | None, facts: BatchInputs
) -> str | None:
    if wallet is None or wallet.is_deleted:
        return "The receiving wallet no longer exists."
    if not wallet.is_usable:
        return "The receiving wallet is a shared wallet and cannot be paid."
    if leg.leg_type in ("dca", "settlement"):
        profile = facts.profiles.get(leg.client_id or "")
        if not profile or wallet.user_id != profile.user_id:
            return "The receiving wallet does not belong to the LP."
    if leg.leg_type == "super_fee" and wallet.user_id != people.super_user():
        return "The platform wallet does not belong to the super user."
    return None


def _drop_below_minimum(
    groups: Sequence[Group], facts: BatchInputs, now: datetime, found: BatchPlan
) -> list[Group]:
    """Leave out DCA sums below the machine's smallest payout."""
    ready = []
    for group in groups:
        small: list[Leg] = []
        for machine_id in {x.machine_id for x in group.legs}:
            dca = [
                x
                for x in group.legs
                if x.leg_type == "dca" and x.machine_id == machine_id
            ]
            small += _too_small(dca, facts.machines.get(machine_id), now, found)
        waiting = {x.id for x in small}
        legs = [x for x in group.legs if x.id not in waiting]
        if legs:
            ready.append(Group(group.destination, legs))
    return ready


def _too_small(
    legs: list[Leg], machine: Machine | None, now: datetime, found: BatchPlan
) -> list[Leg]:
    if not legs or not machine:
        return []
    total = sum(x.amount_sats for x in legs)
    oldest = min(x.created_at for x in legs)
    if total >= machine.min_payout_sats or now - oldest > MAX_BATCH_WAIT:
        return []
    latest = (oldest + MAX_BATCH_WAIT).strftime("%Y-%m-%d")
    found.wait(
        legs,
        f"gathering: {total} of the machine's smallest payout of "
        f"{machine.min_payout_sats} sat; paid on {latest} at the latest",
    )
    return legs


@dataclass
class Funds:
    """What a wallet may still spend in this round, in sats."""

    balance_sats: int
    own_sats: int
    free_sats: int

    def covers(self, leg: Leg) -> bool:
        left = min(self.own_sats, self.free_sats) if is_free(leg) else self.own_sats
        return leg.amount_sats <= left

    def spend(self, leg: Leg) -> None:
        self.own_sats -= leg.amount_sats
        if is_free(leg):
            self.free_sats -= leg.amount_sats


def _funds(balance_sats: int, facts: BatchInputs, gone: set[str]) -> Funds:
    """What may be spent. LNbits takes a payment off the balance when it begins: what is
    on its way must not be taken off a second time, or it would hold up all others."""
    left = [x for x in facts.opened if x.payment_hash in gone]
    here = [x for x in facts.opened if x.payment_hash not in gone]
    reserved = facts.own_reserved_sats - sum(x.sats - x.free_sats for x in left)
    return Funds(
        balance_sats,
        balance_sats - sum(x.sats for x in here),
        balance_sats - reserved - sum(x.free_sats for x in here),
    )


def is_free(leg: Leg) -> bool:
    """Whether a leg may spend only what its wallet owes to nobody."""
    return leg.from_free_balance or leg.leg_type == "autoforward"


async def _fill(
    wallet_id: str, groups: Sequence[Group], facts: BatchInputs, found: BatchPlan
) -> None:
    """Open a payout a group while LNbits' limits and the wallet's funds allow."""
    everybody = [leg for group in groups for leg in group.legs]
    refusal = _instance_refusal()
    if refusal:
        found.wait(everybody, refusal)
        return
    receivers = [g.destination.wallet_id for g in groups if g.destination.wallet_id]
    limited = limits.most_balance_sats() > 0
    # before the balance: what leaves in between is then missing twice, never not at all
    gone = await debited_hashes(wallet_id, [x.payment_hash for x in facts.opened])
    balances = await balances_msat([wallet_id, *(receivers if limited else [])])
    funds = _funds(balances[wallet_id] // 1000, facts, gone)
    spent_sats = 0
    for index, group in enumerate(groups):
        room = most_sats(group.destination, balances)
        if not group.destination.is_internal and not limits.has_funding_source():
            found.wait(group.legs, "LNbits has no Lightning funding source now.")
            continue
        legs, stop = _fit(group, room, funds, found)
        if legs:
            legs, refusal = await _within_limits(wallet_id, spent_sats, group, legs)
            total = sum(leg.amount_sats for leg in legs)
            spent_sats += total
            if legs:
                payout = _payout(wallet_id, group.destination, total)
                found.payouts.append((payout, legs))
            if refusal:
                rest = [x for g in groups[index:] for x in g.legs if x not in legs]
                found.wait(rest, refusal)
                return
        if stop or (legs and limits.wants_pauses()):
            rest = [x for g in groups[index + 1 :] for x in g.legs]
            found.wait(rest, stop or "LNbits wants a pause between two payments.")
            return


def _fit(
    group: Group, room_sats: int, funds: Funds, found: BatchPlan
) -> tuple[list[Leg], str | None]:
    """The legs of a group that fit into one payment, and why to stop the round."""
    before = replace(funds)
    legs, stop = _fit_oldest(group, room_sats, funds, found)
    if group.destination.is_invoice and 0 < len(legs) < len(group.legs):
        funds.own_sats, funds.free_sats = before.own_sats, before.free_sats
        found.wait(legs, "This waits until all of the refund can be paid at once.")
        return [], stop
    return legs, stop


def _fit_oldest(
    group: Group, room_sats: int, funds: Funds, found: BatchPlan
) -> tuple[list[Leg], str | None]:
    legs: list[Leg] = []
    total = 0
    for leg in _to_try(group):
        if total + leg.amount_sats > room_sats:
            if not legs:
                found.wait(
                    [leg],
                    f"{leg.amount_sats} sat are due, but LNbits' limits allow "
                    f"{max(0, room_sats)} sat to this destination in one payment.",
                )
            break
        if not funds.covers(leg):
            reason = _short_reason(leg, funds)
            found.wait([x for x in group.legs if x not in legs], reason)
            # what only lacks free balance must not hold up who is owed out of it
            is_short = leg.amount_sats > funds.own_sats
            return legs, reason if is_short else None
        funds.spend(leg)
        total += leg.amount_sats
        legs.append(leg)
    return legs, None


def _to_try(group: Group) -> list[Leg]:
    """The legs of a group, oldest first; after a failure every second time one alone.

    A server outside has limits of its own, which LNbits does not tell us: together the
    legs may be above its largest payment, alone below its smallest.
    """
    oldest_first = sorted(group.legs, key=lambda x: (x.transaction_time, x.id))
    outside = not group.destination.is_internal and not group.destination.is_invoice
    if outside and oldest_first[0].attempts % 2:
        return oldest_first[:1]
    return oldest_first


def _short_reason(leg: Leg, funds: Funds) -> str:
    if is_free(leg) and funds.own_sats >= leg.amount_sats:
        return (
            f"{max(0, funds.free_sats)} of the {leg.amount_sats} sat needed are free "
            "in the paying wallet; the rest is owed to others."
        )
    return (
        f"The paying wallet holds {max(0, funds.own_sats)} of the "
        f"{leg.amount_sats} sat needed."
    )


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


def _instance_refusal() -> str | None:
    if limits.takes_only_incoming():
        return "This LNbits accepts only incoming payments now (its settings)."
    return None


async def _within_limits(
    wallet_id: str, spent_sats: int, group: Group, legs: list[Leg]
) -> tuple[list[Leg], str | None]:
    """The oldest of these legs that LNbits lets pass, and why not all of them.

    A sum that once was above a day's limit would else wait for ever, and grow.
    """
    refusal = None
    while legs:
        total = spent_sats + sum(leg.amount_sats for leg in legs)
        again = await _limits_refusal(wallet_id, total)
        if again is None:
            break
        refusal = again
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
