"""Any sequence of payments, failures and repairs: no sat and no cent is lost or made.

A hypothesis state machine drives the extension's own code and SQL; only LNbits is in
memory (`fake_lightning.py`). Everything is asked for at any moment, also when it must
be refused; the engine stands still and takes its steps as rules, one of them with what
a round decided before somebody else acted. After every step the books must balance.
"""

from __future__ import annotations

import asyncio
import traceback
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from cash_rows import assert_adds_up
from desk_journal import check_lps, check_wallet
from desk_shop import DeskShop, Reader, skip_the_disk
from fake_lightning import FAIL, PAY, PEND, REFUSE, FakeLightning
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from lnbits.core.models import Payment

from satmachineadmin import crud, distribution
from satmachineadmin.base.database import (
    db,
    execute,
    fetch_all,
    fetch_models,
    transaction,
)
from satmachineadmin.desk import (
    balances,
    dispense,
    legs,
    quarantine,
    refund,
    settlements,
)
from satmachineadmin.models import Payout, utc_now
from satmachineadmin.money import landing, payouts_crud, planning, rounds
from satmachineadmin.money.funds import free_sats
from satmachineadmin.money.targets import ResolvedTarget
from satmachineadmin.parties import deposits

from balanced import assert_conserves, assert_lp_totals

STEPS = 50
WHY = "a machine rolled the dice"
FIAT = st.sampled_from([1, 3_333, 10_000, 20_000, 50_000])
KINDS = st.sampled_from(["plain", "plain", "plain", "awaiting", "bad"])
PICK = st.integers(min_value=0, max_value=1_000)
# what the node keeps of a receipt: nothing, a little, more than the fee, and all of it
NETWORK = st.sampled_from(["none", "none", "none", "some", "above the fee", "all"])


class Loud:
    """What the engine catches and logs, so that others go on, is a finding here."""

    def exception(self, message: str) -> None:
        ERRORS.append(f"{message}: {traceback.format_exc()}")


ERRORS: list[str] = []


class Desk(DeskShop):
    """What happens, and what must be true after each of it."""

    # the world ----------------------------------------------------------------------

    @initialize(
        interval=st.sampled_from([0, 60, 1440]),
        deposits=st.tuples(FIAT, FIAT, FIAT),
        kinds=st.lists(KINDS, min_size=1, max_size=3),
        is_planned=st.booleans(),
        service_fee=st.sampled_from([0, 0, 1]),
    )
    def open_shop(
        self,
        interval: int,
        deposits: tuple[int, int, int],
        kinds: list[str],
        is_planned: bool,
        service_fee: int,
    ) -> None:
        self.set_up(interval, service_fee)
        # hypothesis leaves some rules out of each example: something is there already
        for person, cents in enumerate(deposits):
            self.do(self._deposit(person, cents))
        for kind in kinds:
            self.customer_pays(10_000, kind, 0)
        self.read()
        if is_planned:
            self.do(self._plan())

    # payments come in ---------------------------------------------------------------

    @rule(cents=FIAT, kind=KINDS, kept=NETWORK)
    def customer_pays_in(self, cents: int, kind: str, kept: str) -> None:
        wire = cents * 5 + cents * 5 * 8 // 100
        above = cents * 5 * 8 // 100 + cents
        network = {"none": 0, "some": min(7, wire), "above the fee": above, "all": wire}
        self.customer_pays(cents, kind, network[kept])

    def customer_pays(self, cents: int, kind: str, network: int) -> None:
        principal = cents * 5
        fee = principal * 8 // 100
        stamp = {
            "source": "bitspire",
            "tx_type": "cash_out",
            "principal_sats": principal + (kind == "bad"),
            "fee_sats": fee,
            "fiat_amount": f"{cents // 100}.{cents % 100:02d}",
            "fiat_code": "GTQ",
        }
        if kind == "awaiting":
            stamp["dispense"] = "awaiting"
        self._land(principal + fee, network, stamp)

    @rule(cents=FIAT)
    def customer_is_paid(self, cents: int) -> None:
        principal = cents * 5
        fee = principal * 8 // 100
        if self.do(self._free_sats()) < principal - fee:
            return
        stamp = {
            "source": "bitspire",
            "tx_type": "cash_in",
            "principal_sats": principal,
            "fee_sats": fee,
            "fiat_amount": f"{cents // 100}.{cents % 100:02d}",
            "fiat_code": "GTQ",
        }
        self._land(-(principal - fee), 0, stamp)

    def _land(self, sats: int, network: int, stamp: dict[str, Any]) -> None:
        self.hashes += 1
        payment_hash = f"{self.wallet}.{sats}.{self.hashes}"
        payment = Payment(
            checking_id=payment_hash,
            payment_hash=payment_hash,
            wallet_id=self.wallet,
            amount=sats * 1000,
            fee=-network * 1000,
            bolt11="",
            status="success",
            extra=stamp,
            updated_at=datetime.now(timezone.utc),
        )
        self.lightning.balances[self.wallet] += sats - network
        landed = self.do(landing.land_payment(payment))
        assert landed and landed.is_new
        if self.hashes % 4 == 0:
            # twice, as the sweep would
            assert not self.do(landing.land_payment(payment)).is_new

    async def _free_sats(self) -> int:
        return await free_sats(self.wallet)

    # the engine ---------------------------------------------------------------------

    @rule(mood=st.sampled_from([PAY, FAIL, PEND]))
    def engine_works_early(self, mood: str) -> None:
        """Before intervals and backoffs are over."""
        self.lightning.mood = mood
        self.do(self._plan())
        self.do(self._pay(True, timedelta(0)))

    @rule(mood=st.sampled_from([PAY, PAY, PAY, FAIL, PEND, REFUSE]))
    def engine_works(self, mood: str) -> None:
        self.lightning.mood = mood
        self.do(self._plan())
        self.do(self._pay(True))

    @rule()
    def engine_plans(self) -> None:
        self.do(self._plan())

    @rule()
    def engine_decides_and_is_slow(self) -> None:
        self.decided = self.do(self._decide())

    @rule(mood=st.sampled_from([PAY, FAIL, PEND]))
    def engine_goes_on(self, mood: str) -> None:
        self.lightning.mood = mood
        self.do(self._open(self.decided))
        self.decided = None
        self.do(self._pay(False))

    @rule(is_paid=st.booleans())
    def outcome_becomes_known(self, is_paid: bool) -> None:
        for payment_hash in self.lightning.pending():
            self.lightning.settle(payment_hash, is_paid)
        self.do(self._pay(False))

    @rule(pick=PICK)
    def leg_fails_for_good(self, pick: int) -> None:
        self.do(self._fail(self.a_leg(pick)))

    @rule(person=st.integers(0, 1))
    def wallet_goes_and_comes_back(self, person: int) -> None:
        self.lightning.deleted ^= {self.lp_wallets[person]}

    @rule(person=st.integers(0, 1))
    def account_goes_and_comes_back(self, person: int) -> None:
        self.lightning.left ^= {self.people[person]}

    @rule(person=st.integers(0, 1))
    def lp_chooses_another_wallet(self, person: int) -> None:
        self.hashes += 1
        wallet = f"w{person}.{self.hashes}{self.tag}"
        self.lightning.owners[wallet] = self.people[person]
        self.lp_wallets[person] = wallet
        self.set_row("dca_lp", "user_id", self.people[person], dca_wallet_id=wallet)

    @rule()
    def partners_wallet_goes_and_comes_back(self) -> None:
        self.lightning.deleted ^= {self.partner}

    @rule(pick=PICK)
    def operator_sends_a_split_elsewhere(self, pick: int) -> None:
        self.hashes += 1
        wallet = f"new{self.hashes}{self.tag}"
        self.lightning.owners[wallet] = f"p{self.tag}"
        self.ask(legs.redirect_leg(self.operator, self.a_leg(pick), wallet, WHY))

    @rule()
    def platform_wallet_is_unset_and_set(self) -> None:
        self.has_platform = not getattr(self, "has_platform", True)
        to = self.platform if self.has_platform else None
        self.set_row("super_config", "id", "default", super_fee_wallet_id=to)

    @rule(minutes=st.sampled_from([0, 60]))
    def operator_changes_the_interval(self, minutes: int) -> None:
        self.set_row(
            "dca_machines", "id", self.machine.id, payout_interval_minutes=minutes
        )

    @rule(pick=PICK, is_paid=st.booleans())
    def stranger_uses_our_invoice(self, pick: int, is_paid: bool) -> None:
        """An LP's partner, or the customer, shows it to somebody who pays it first."""
        untried = self.lightning.untried()
        if untried:
            payment_hash = untried[pick % len(untried)]
            self.lightning.stranger_uses(payment_hash, 1_000, is_paid)
            if is_paid and self.lightning.invoices[payment_hash] == self.wallet:
                self.topped_up += 1_000

    def set_row(self, table: str, key: str, value: str, **columns: Any) -> None:
        changes = ", ".join(f"{name} = :{name}" for name in columns)

        async def work() -> None:
            async with transaction() as conn:
                await execute(
                    conn,
                    f"UPDATE satoshimachine.{table} SET {changes} WHERE {key} = :key",
                    {**columns, "key": value},
                )

        self.do(work())

    async def _plan(self) -> None:
        for settlement in self.settlements:
            if settlement["status"] == "pending":
                await planning.plan_settlement(
                    settlement["id"], distribution.INSTANCE_ID
                )

    async def _decide(self) -> rounds.BatchPlan | None:
        now = utc_now() + timedelta(days=2)  # every interval and backoff is over
        facts = await rounds.read_batch_inputs(self.wallet, now)
        return await rounds.plan_batch(self.wallet, facts, now) if facts.legs else None

    async def _open(self, plan: rounds.BatchPlan | None) -> None:
        if plan is not None:
            await rounds.apply_batch(plan, distribution.INSTANCE_ID, utc_now())

    async def _pay(
        self, is_new_round: bool, later: timedelta = timedelta(days=2)
    ) -> None:
        owing = {
            leg["source_wallet_id"] for leg in self.legs if leg["status"] == "pending"
        }
        for wallet in (self.wallet, self.cash_box) if is_new_round else ():
            if wallet == self.cash_box and wallet not in owing:
                continue
            now = utc_now() + later
            facts = await rounds.read_batch_inputs(wallet, now)
            if facts.legs:
                plan = await rounds.plan_batch(wallet, facts, now)
                await rounds.apply_batch(plan, distribution.INSTANCE_ID, utc_now())
        for _ in range(2):
            async with db.connect() as conn:
                unfinished = await fetch_models(
                    conn,
                    "SELECT * FROM satoshimachine.dca_payouts "
                    "WHERE status IN ('new', 'invoiced') "
                    "AND source_wallet_id IN (:a, :b)",
                    Payout,
                    {"a": self.wallet, "b": self.cash_box},
                )
            if not unfinished:
                return
            await distribution.worker.advance(unfinished)
            externals = distribution.worker.externals
            await asyncio.gather(*externals.values())

    async def _fail(self, leg_id: str) -> None:
        async with transaction() as conn:
            leg = await crud.get_leg(leg_id, conn)
            if leg and leg.status == "pending" and not leg.payout_id:
                leg.attempts = 9
                await payouts_crud.count_failed_attempt(conn, [leg], "gone for good")

    # people -------------------------------------------------------------------------

    @rule(pick=PICK, cents=FIAT)
    def report_dispense(self, pick: int, cents: int) -> None:
        self.ask(
            dispense.report_dispense(self.operator, self.a_settlement(pick), cents, WHY)
        )

    @rule(pick=PICK)
    def nothing_was_dispensed(self, pick: int) -> None:
        self.ask(
            dispense.report_dispense(self.operator, self.a_settlement(pick), 0, WHY)
        )

    @rule(pick=PICK, sats=st.one_of(st.none(), st.integers(1, 60_000)), key=PICK)
    def refund(self, pick: int, sats: int | None, key: int) -> None:
        self.hashes += 1
        target = "me@example.com"
        if sats:
            target = f"ln.r{self.hashes}{self.tag}.{sats}"
        settlement_id = self.a_settlement(pick)
        self.ask(
            refund.refund(self.operator, settlement_id, target, WHY, f"k{key % 5}")
        )

    @rule(pick=PICK)
    def retry_settlement(self, pick: int) -> None:
        self.ask(
            settlements.retry_settlement(self.operator, self.a_settlement(pick), WHY)
        )

    @rule(pick=PICK)
    def void_settlement(self, pick: int) -> None:
        self.ask(
            settlements.void_settlement(self.operator, self.a_settlement(pick), WHY)
        )

    @rule(pick=PICK)
    def retry_leg(self, pick: int) -> None:
        self.ask(legs.retry_leg(self.operator, self.a_leg(pick), WHY))

    @rule(pick=PICK)
    def void_leg(self, pick: int) -> None:
        self.ask(legs.void_leg(self.operator, self.a_leg(pick), WHY))

    @rule(pick=PICK)
    def mark_leg_paid(self, pick: int) -> None:
        self.ask(legs.mark_leg_paid(self.operator, self.a_leg(pick), "slip", WHY))

    @rule(pick=PICK, is_test=st.booleans())
    def mark_test(self, pick: int, is_test: bool) -> None:
        self.ask(
            settlements.mark_test(self.operator, self.a_settlement(pick), is_test, WHY)
        )

    @rule(pick=PICK)
    def resolve(self, pick: int) -> None:
        held = [s for s in self.settlements if s["status"] == "quarantined"]
        if not held:
            return
        settlement = held[pick % len(held)]
        principal = settlement["wire_sats"] * 100 // 108
        cents = max(1, principal // 5)
        fields = {
            "tx_type": "cash_out",
            "principal_sats": principal,
            "fee_sats": settlement["wire_sats"] - principal,
            "fiat_amount": f"{cents // 100}.{cents % 100:02d}",
            "fiat_code": "GTQ",
        }
        self.ask(quarantine.resolve(self.operator, settlement["id"], fields, WHY))

    @rule(person=st.integers(0, 2), cents=FIAT)
    def deposit(self, person: int, cents: int) -> None:
        self.do(self._deposit(person, cents))

    async def _deposit(self, person: int, cents: int) -> None:
        amount = Decimal(cents) / 100
        deposit = await deposits.create_deposit(
            self.operator, False, self.clients[person], amount, None
        )
        await deposits.set_deposit_status(
            self.operator, False, deposit.id, "confirmed", None
        )

    @rule(pick=PICK)
    def reverse_deposit(self, pick: int) -> None:
        self.ask(self._reverse(pick))

    async def _reverse(self, pick: int) -> None:
        async with db.connect() as conn:
            found = await fetch_all(
                conn,
                "SELECT id FROM satoshimachine.dca_deposits WHERE machine_id = :m "
                "AND status = 'confirmed' ORDER BY id",
                {"m": self.machine.id},
            )
        if found:
            deposit_id = found[pick % len(found)]["id"]
            await deposits.set_deposit_status(
                self.operator, False, deposit_id, "reversed", WHY
            )

    @rule(
        person=st.integers(0, 2),
        is_own=st.booleans(),
        key=PICK,
        rate=st.sampled_from(["5", "500", "50000"]),
    )
    def close_balance(self, person: int, is_own: bool, key: int, rate: str) -> None:
        wallet = self.wallet if is_own else self.cash_box
        name = f"close{key % 4}"
        made = self.ask(
            balances.close_balance(
                self.operator,
                self.clients[person],
                wallet,
                Decimal(rate),
                WHY,
                name,
                confirm_rate=True,
            )
        )
        if made and made.leg_id:
            assert self.closed.setdefault(name, made.leg_id) == made.leg_id
        elif made:
            self.offers.append((person, made.offer.id))

    @rule(pick=PICK, is_yes=st.booleans())
    def answer_offer(self, pick: int, is_yes: bool) -> None:
        if not self.offers:
            return
        person, offer_id = self.offers[pick % len(self.offers)]
        answer = balances.accept_offer if is_yes else balances.decline_offer
        self.ask(answer(self.people[person], offer_id, WHY))

    @rule()
    def fund_the_cash_box(self) -> None:
        self.lightning.balances[self.cash_box] += 100_000

    @rule(sats=st.integers(1, 50_000))
    def operator_tops_up(self, sats: int) -> None:
        self.lightning.balances[self.wallet] += sats
        self.topped_up += sats

    # what must be true --------------------------------------------------------------

    @invariant()
    def the_books_balance(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.read()
        assert_conserves(self.settlements, self.legs)
        assert_lp_totals(
            self.legs,
            {r["id"]: int(r["debited"]) for r in self.totals},
            {r["id"]: int(r["deposited"]) for r in self.totals},
        )
        assert ERRORS == [], ERRORS
        self._nothing_is_paid_twice()
        self._lps_have_what_the_legs_say()
        self._debts_are_covered()
        # every note has a place
        self.do(assert_adds_up(self.operator))
        self._the_journal_says_the_same()

    def _the_journal_says_the_same(self) -> None:
        self.journal.check(self.lines, self.settlements, self.legs)
        check_lps(self.lines, self.totals)
        unpaid = {r["payout_id"] for r in self.tries if r["status"] != "paid"}
        check_wallet(self.lines, self.lightning, self.wallet, self.topped_up, unpaid)

    def _nothing_is_paid_twice(self) -> None:
        left = self._moving()
        times: dict[str, int] = {}
        for row in self.tries:
            if row["payout_id"] in left:
                times[row["leg_id"]] = times.get(row["leg_id"], 0) + 1
        assert all(count == 1 for count in times.values()), times
        for leg in self.legs:
            if leg["id"] in times:
                assert leg["status"] in ("pending", "completed"), leg
                assert leg["payout_id"] in left, leg

    def _moving(self) -> set[str]:
        """Payouts that LNbits has paid, or may still pay."""
        sent = self.lightning.sent.values()
        return {p.payout_id for p in sent if p.status != "failed"}

    def _lps_have_what_the_legs_say(self) -> None:
        """In whatever wallet was theirs then."""
        received: dict[str, int] = {}
        for leg in self.legs:
            if leg["status"] == "completed" and leg["payout_id"] and leg["client_id"]:
                wallet = leg["destination_wallet_id"]
                received[wallet] = received.get(wallet, 0) + leg["sent_sats"]
        received.pop(self.wallet, None)
        for wallet, sats in received.items():
            assert sats <= self.lightning.balances[wallet], wallet

    def _debts_are_covered(self) -> None:
        """Whatever happens, the machine wallet holds what its settlements owe."""

        async def now() -> tuple[set[str], int]:
            return self._moving(), self.lightning.balances[self.wallet]

        # on the server's loop, in one go: payments to the outside go on there
        moving, held = self.do(now())
        owed = sum(
            leg["amount_sats"]
            for leg in self.legs
            if leg["status"] in ("pending", "failed")
            and leg["source_wallet_id"] == self.wallet
            and not leg["from_free_balance"]
            and leg["payout_id"] not in moving
        )
        owed += sum(
            s["wire_sats"] - s["network_fee_sats"]
            for s in self.settlements
            if s["planned_at"] is None
            and s["status"] != "voided"
            and s["tx_type"] != "cash_in"
        )
        assert held >= owed


async def run_machine(
    kind: type[Desk], patch: pytest.MonkeyPatch, examples: int
) -> None:
    """Play it, with LNbits in memory and the engine standing still."""
    lightning = FakeLightning()
    lightning.install(patch)
    skip_the_disk(patch)
    ERRORS.clear()
    patch.setattr(distribution, "logger", Loud())

    async def resolved(target: str, *, owner_user_id: str) -> ResolvedTarget:
        return ResolvedTarget(target, "wallet", target)

    patch.setattr(legs, "resolve_target", resolved)
    kind.loop, kind.lightning = asyncio.get_running_loop(), lightning
    kind.reader = Reader(kind.loop)
    await asyncio.to_thread(
        run_state_machine_as_test,
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # a machine whose every payment is refused conserves every sat, too
    assert lightning.paid > 0
