"""Who is owed what from one settlement: its legs, written in one transaction.

Guaranteed: a settlement is planned once, by the engine; its legs and what stays in the
wallet add up to what the wallet received; no LP is debited more than their balance at
the transaction's time; the number of statements does not depend on the number of LPs.
Not guaranteed: that a destination can be paid. That is found out when it is paid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash
from loguru import logger

from .. import crud
from ..base.database import db, transaction
from ..calculations import (
    ConservationError,
    DcaCandidate,
    allocate_dca,
    allocate_operator_split_legs,
    cents_text,
    check_conservation,
    held_fee_shares,
    round_half_up,
)
from ..host.people import accounts_gone
from ..ledger import postings
from ..models import (
    CASH_IN,
    CASH_OUT,
    CommissionSplit,
    Fiat,
    Leg,
    Machine,
    Mark,
    Settlement,
    SuperConfig,
    WaitCode,
    utc_now,
)
from ..parties import positions_crud
from . import forwards
from .targets import is_outside

ALREADY_HERE = "already in this wallet"
SHORTFALL = "shortfall"
# behind the key of an LP's leg: the part that the settlement does not hold
FREE_PART = ":free"
SHORTFALL_LABEL = "Platform fee, from what is free in the wallet"
REFUND_LABEL = "Refund to the customer"
FREE_REFUND_LABEL = "Refund to the customer, from what is free in the wallet"
# The fees of a machine with a payout interval gather with its DCA legs, or they would
# be most of its payments; but no longer than this: they are not the operator's alone.
FEES_GATHER_MINUTES = 60
NO_MACHINE = "The machine of this settlement was removed."
UNCLAIMED = "waiting for a destination for the customer's refund"


@dataclass(frozen=True)
class Owed:
    """What is distributed of a settlement: as it landed, or as it was dispensed."""

    principal_sats: int  # owed to LPs, whatever arrived
    platform_fee_sats: int
    operator_fee_sats: int
    refund_sats: int
    fiat_cents: int
    available_sats: int  # what the wallet received (cash-out) or charged (cash-in)
    loss_sats: int = 0  # of the customer's refund, what the settlement does not hold
    shortfall_sats: int = 0  # of the platform's share, what it does not hold
    missing_sats: int = 0  # of the principal, what it does not hold


def owed_of(settlement: Settlement) -> Owed:
    """The figures that are planned, the network fee taken off what is held of the
    shares: what the fee does not hold of the platform's is a shortfall.

    A network fee larger than the whole fee leaves less than the principal in the
    wallet. LPs and the customer are owed all the same: the house bears what is missing,
    out of the wallet's free balance.
    """
    principal = settlement.principal_sats
    fee = settlement.fee_sats
    platform = settlement.platform_fee_sats
    operator = settlement.operator_fee_sats
    cents = int(settlement.fiat_amount * 100)
    if settlement.dispensed_fiat is not None:
        principal = settlement.dispensed_principal_sats or 0
        fee = settlement.dispensed_fee_sats or 0
        platform = settlement.dispensed_platform_fee_sats or 0
        operator = settlement.dispensed_operator_fee_sats or 0
        cents = int(settlement.dispensed_fiat * 100)
    network = settlement.network_fee_sats if settlement.tx_type == CASH_OUT else 0
    held, operator = held_fee_shares(fee, platform, operator, network)
    short = platform - held
    if settlement.tx_type == CASH_IN:
        fee_sats = settlement.fee_sats
        return Owed(principal, held, operator, 0, 0, fee_sats, 0, short)
    available = settlement.wire_sats - network
    left = max(0, available - held - operator)
    refund = min(settlement.refund_sats, left)
    return Owed(
        principal,
        held,
        operator,
        refund,
        cents,
        available,
        settlement.refund_sats - refund,
        short,
        max(0, principal - (left - refund)),
    )


@dataclass(frozen=True)
class Plan:
    legs: list[Leg]
    retained_sats: int
    loss_sats: int = 0


class LegMaker:
    """Makes the legs of one settlement; each kind is one method."""

    def __init__(self, settlement: Settlement, machine: Machine, now: datetime):
        self.settlement = settlement
        self.machine = machine
        self.now = now
        self.is_cash_in = settlement.tx_type == CASH_IN

    def leg(self, leg_type: str, leg_key: str, amount_sats: int, **more: Any) -> Leg:
        leg = Leg(
            id=urlsafe_short_hash(),
            settlement_id=self.settlement.id,
            machine_id=self.machine.id,
            operator_user_id=self.machine.operator_user_id,
            leg_type=leg_type,
            leg_key=leg_key,
            amount_sats=amount_sats,
            transaction_time=self.settlement.transaction_time or self.now,
            source_wallet_id=self.settlement.wallet_id or self.machine.wallet_id,
            created_at=self.now,
            # a cash-in paid the customer already: its fees come from what is free
            from_free_balance=self.is_cash_in,
            **more,
        )
        if leg.destination_wallet_id == leg.source_wallet_id:
            leg.status = "skipped"
            leg.error_message = ALREADY_HERE
            leg.completed_at = self.now
            leg.next_try_at = None
        return leg

    def super_fee(self, amount_sats: int, config: SuperConfig) -> list[Leg]:
        if amount_sats <= 0:
            return []
        is_due = bool(config.super_fee_wallet_id)
        return [
            self.leg(
                "super_fee",
                "super",
                amount_sats,
                destination_wallet_id=config.super_fee_wallet_id,
                next_try_at=self.fees_due_at(),
                label="Platform fee",
                error_message=None if is_due else crud.NO_PLATFORM_WALLET,
                wait_code=None if is_due else WaitCode.PLATFORM_WALLET,
            )
        ]

    def shortfall(self, amount_sats: int, config: SuperConfig) -> list[Leg]:
        """What the fee did not cover of the platform's share: the operator's debt."""
        legs = self.super_fee(amount_sats, config)
        for leg in legs:
            leg.leg_key, leg.label = SHORTFALL, SHORTFALL_LABEL
            leg.from_free_balance = True
        return legs

    def operator_splits(
        self, amount_sats: int, splits: Sequence[CommissionSplit]
    ) -> list[Leg]:
        legs = []
        for split, part_sats in allocate_operator_split_legs(amount_sats, splits):
            if part_sats == 0:
                continue
            is_external = split.target_wallet_id is None and is_outside(split.target)
            legs.append(
                self.leg(
                    "operator_split",
                    split.id,
                    part_sats,
                    split_id=split.id,
                    target=split.target,
                    label=split.label,
                    destination_wallet_id=split.target_wallet_id,
                    destination_ln_address=split.target if is_external else None,
                    next_try_at=self.fees_due_at(is_external),
                )
            )
        return legs

    def dca(
        self,
        owed: Owed,
        positions: Sequence[Mapping[str, Any]],
        used: Mapping[str, int],
    ) -> list[Leg]:
        by_client = {p["client_id"]: p for p in positions}
        candidates = [c for p in positions if (c := candidate_of(p, used))]
        shares = allocate_dca(owed.principal_sats, owed.fiat_cents, candidates).shares
        return [
            self.leg(
                "dca",
                share.client_id,
                share.amount_sats,
                client_id=share.client_id,
                amount_fiat=Fiat(cents_text(share.fiat_cents)),
                exchange_rate=share.amount_sats * 100 / share.fiat_cents,
                rate_mark=_rate_mark(self.settlement),
                destination_wallet_id=by_client[share.client_id]["dca_wallet_id"],
                next_try_at=self._interval_end(self.machine.payout_interval_minutes),
            )
            for share in shares
        ]

    def fees_due_at(self, is_external: bool = False) -> datetime | None:
        minutes = min(self.machine.payout_interval_minutes, FEES_GATHER_MINUTES)
        due = self._interval_end(minutes)
        if not is_external:
            return due
        gathered = self.now + crud.EXTERNAL_BATCH_DELAY
        return max(due, gathered) if due else gathered

    def _interval_end(self, minutes: int) -> datetime | None:
        """The end of the interval that is running now (UTC grid); None: at once."""
        if minutes <= 0:
            return None
        step = minutes * 60
        due = (int(self.now.timestamp()) // step + 1) * step
        return datetime.fromtimestamp(due, timezone.utc)

    def refund(
        self, amount_sats: int, *, number: int = 1, is_free: bool = False
    ) -> list[Leg]:
        """What the customer is owed, out of the settlement or of what is free."""
        if amount_sats <= 0:
            return []
        leg = self.leg(
            "refund",
            str(number),
            amount_sats,
            label=FREE_REFUND_LABEL if is_free else REFUND_LABEL,
            error_message=UNCLAIMED,
            wait_code=WaitCode.UNCLAIMED,
        )
        leg.from_free_balance = is_free
        return [leg]


def _rate_mark(settlement: Settlement) -> str | None:
    """What the LP is told of the rate of this sale."""
    for mark in (Mark.RATE_OFF, Mark.RATE_NOT_CHECKED):
        if f",{mark}," in settlement.marks:
            return mark
    return None


def from_free_balance(legs: Sequence[Leg], held_sats: int) -> list[Leg]:
    """The LPs' legs, those for more than the settlement holds spending free balance;
    the last ones first, and where it goes through one leg in two parts."""
    parts: list[Leg] = []
    for leg in legs:
        own_sats = min(leg.amount_sats, max(0, held_sats))
        held_sats -= own_sats
        if own_sats == leg.amount_sats:
            parts.append(leg)
            continue
        free = leg.copy(
            update={
                "from_free_balance": True,
                "leg_key": f"{leg.leg_key}{FREE_PART}",
                "amount_sats": leg.amount_sats - own_sats,
            }
        )
        if own_sats:
            cents = int((leg.amount_fiat or 0) * 100)
            of_free = round_half_up(cents * free.amount_sats, leg.amount_sats)
            fiat = {"amount_fiat": Fiat(cents_text(cents - of_free))}
            parts.append(leg.copy(update={"amount_sats": own_sats, **fiat}))
            free.id = urlsafe_short_hash()
            free.amount_fiat = Fiat(cents_text(of_free))
        parts.append(free)
    return parts


def candidate_of(
    position: Mapping[str, Any], used_cents: Mapping[str, int]
) -> DcaCandidate | None:
    """An LP as a candidate for DCA, or None (with the reason in the log).

    The companion extension writes `dca_lp` too: a row that makes no sense excludes its
    LP and nobody else.
    """
    balance = int(position["deposited_cents"]) - int(position["debited_cents"])
    if balance <= 0:
        return None
    reason = _profile_problem(position)
    if reason:
        logger.warning(
            f"satmachineadmin: LP {position['client_id']} takes no part: {reason}"
        )
        return None
    cap = balance
    if position["default_dca_mode"] == "fixed" and position["limit_cents"] is not None:
        used = used_cents.get(position["user_id"], 0)
        cap = min(cap, max(0, int(position["limit_cents"]) - used))
    return DcaCandidate(position["client_id"], balance, cap)


def _profile_problem(position: Mapping[str, Any]) -> str | None:
    if not position["dca_wallet_id"]:
        return "no receiving wallet was chosen"
    if position["default_dca_mode"] not in ("flow", "fixed"):
        return f"unknown DCA mode {position['default_dca_mode']!r}"
    limit = position["limit_cents"]
    if limit is not None and int(limit) <= 0:
        return "the daily limit is not positive"
    return None


def build_plan(
    settlement: Settlement,
    machine: Machine,
    config: SuperConfig,
    splits: Sequence[CommissionSplit],
    positions: Sequence[Mapping[str, Any]],
    used_cents: Mapping[str, int],
    now: datetime,
) -> Plan:
    """All legs of a settlement and what stays. Raises `ConservationError`. Pure."""
    owed = owed_of(settlement)
    make = LegMaker(settlement, machine, now)
    legs = make.super_fee(owed.platform_fee_sats, config)
    legs += make.operator_splits(owed.operator_fee_sats, splits)
    # borne by what is free in the wallet, not by this settlement
    beyond = make.shortfall(owed.shortfall_sats, config)
    if settlement.tx_type == CASH_OUT:
        to_lps = make.dca(owed, positions, used_cents)
        held_sats = owed.principal_sats - owed.missing_sats
        for leg in from_free_balance(to_lps, held_sats):
            (beyond if leg.from_free_balance else legs).append(leg)
        legs += make.refund(owed.refund_sats)
        beyond += make.refund(owed.loss_sats, number=2, is_free=True)
    amounts = [leg.amount_sats for leg in legs]
    retained = owed.available_sats - sum(amounts)
    check_conservation(
        settlement.tx_type,
        settlement.wire_sats,
        settlement.network_fee_sats,
        settlement.fee_sats,
        amounts,
        retained,
        sum(int(leg.amount_fiat * 100) for leg in [*legs, *beyond] if leg.amount_fiat),
        owed.fiat_cents,
    )
    rest = retained - sum(x.amount_sats for x in beyond)
    return Plan([*legs, *beyond], max(0, rest), max(0, -rest))


async def plan_settlement(settlement_id: str, holder: str) -> bool:
    """Plan one `pending` settlement; False if it is not (or no longer) ours to plan.

    Killed before the commit: nothing was written, and the settlement is still pending.
    After it: the legs stand, and the next round pays them.
    """
    async with db.connect() as conn:
        lps = await positions_crud.lps_at_machine_of(conn, settlement_id)
    gone = await accounts_gone(lps) if lps else set()
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        if not await crud.claim_settlement_for_processing(settlement_id, holder, conn):
            return False
        settlement = await crud.get_settlement(settlement_id, conn)
        machine = settlement and await crud.get_machine(settlement.machine_id, conn)
        if not settlement:
            return False
        if not machine:
            logger.error(f"satmachineadmin: settlement {settlement_id}: {NO_MACHINE}")
            await _cannot_be_planned(conn, settlement_id, NO_MACHINE)
            return False
        try:
            plan = await _plan(conn, settlement, machine, gone)
        except (ConservationError, ValueError, ArithmeticError, TypeError) as exc:
            logger.exception(f"satmachineadmin: planning settlement {settlement_id}")
            await _cannot_be_planned(conn, settlement_id, str(exc))
            return False
        await crud.write_plan(
            conn, settlement, plan.legs, plan.retained_sats, plan.loss_sats
        )
        skipped = [leg for leg in plan.legs if leg.status == "skipped"]
        now = utc_now()
        await crud.insert_legs(
            conn, await forwards.autoforward_legs(conn, skipped, now)
        )
        await postings.post(
            conn,
            [settlement.id],
            "planned",
            at=postings.planned_at(settlement),
            paid=[leg.id for leg in skipped],
        )
    return True


async def _cannot_be_planned(conn: Connection, settlement_id: str, why: str) -> None:
    await crud.set_settlement_status(
        conn,
        settlement_id,
        "attention",
        was=["pending"],
        error_message=f"No plan could be made: {why}",
    )


def present(
    positions: Sequence[Mapping[str, Any]], gone: Collection[str]
) -> list[Mapping[str, Any]]:
    """Without LPs whose LNbits account was deleted: nothing could be paid to them."""
    for position in positions:
        if position["user_id"] in gone:
            logger.warning(
                f"satmachineadmin: LP {position['client_id']} takes no part: their "
                "LNbits account was deleted"
            )
    return [p for p in positions if p["user_id"] not in gone]


async def _plan(
    conn: Connection, settlement: Settlement, machine: Machine, gone: Collection[str]
) -> Plan:
    now = utc_now()
    at = settlement.transaction_time or now
    return build_plan(
        settlement,
        machine,
        await crud.get_super_config(conn),
        await positions_crud.effective_splits(
            conn, machine.operator_user_id, machine.id
        ),
        present(await positions_crud.lp_positions(conn, machine.id, at), gone),
        await positions_crud.day_debits(conn, machine.id, machine.fiat_code, at),
        now,
    )


def overdue_before(now: datetime) -> datetime:
    """Dispense reports of payments older than this are overdue (15 minutes)."""
    return now - timedelta(minutes=15)
