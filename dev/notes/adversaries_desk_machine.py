"""Any sequence of payments, failures and repairs: no sat and no cent is lost or made.

A hypothesis state machine drives the extension's own code and SQL; only LNbits is in
memory (`fake_lightning.py`). Everything is asked for at any moment, also when it must
be refused; the engine stands still and takes its steps as rules, one of them with what
a round decided before somebody else acted. After every step the books must balance.

The operator of it is against the others: what they do alone takes nothing from LPs and
platform, every part of the platform's share is paid, owed, let go or lost, and no list
shows anybody what is not theirs.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from examples import IS_THOROUGH
from fake_lightning import FAIL, PAY, PEND, REFUSE, FakeLightning
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from lnbits.core.models import Payment
from lnbits.db import SQLITE, Connection
from lnbits.helpers import urlsafe_short_hash
from lnbits.settings import settings as lnbits_settings
from sqlalchemy import text

from satmachineadmin import crud, distribution
from satmachineadmin.base.database import (
    db,
    db_time,
    execute,
    fetch_all,
    fetch_models,
    insert_sql,
    row_params,
    transaction,
)
from satmachineadmin.base.refusals import RefusedError
from satmachineadmin.books.lists import ListQuery, fetch_page
from satmachineadmin.books.payments import (
    LEG_FIELDS,
    SETTLEMENT_FIELDS,
    legs_source,
    lp_legs_source,
    settlements_source,
)
from satmachineadmin.books.reports import DEPOSIT_FIELDS, deposits_source
from satmachineadmin.desk import (
    balances,
    consents,
    dispense,
    legs,
    quarantine,
    refund,
    settlements,
)
from satmachineadmin.models import (
    Client,
    CommissionSplit,
    LpProfile,
    Machine,
    Payout,
    WaitCode,
    utc_now,
)
from satmachineadmin.money import landing, payouts_crud, planning, rounds
from satmachineadmin.money.funds import free_sats
from satmachineadmin.parties import deposits

from ledger import assert_conserves, assert_lp_totals

pytestmark = pytest.mark.longest

# in memory here; PostgreSQL asks a server over a socket each time
EXAMPLES = 300 if IS_THOROUGH else 20
STEPS = 40
WHY = "a machine rolled the dice"
FIAT = st.sampled_from([1, 3_333, 10_000, 20_000, 50_000])
KINDS = st.sampled_from(["plain", "plain", "plain", "awaiting", "bad", "free", "lure"])
PICK = st.integers(min_value=0, max_value=1_000)


class Reader:
    """Reads our tables after every step: on SQLite past the event loop, which costs
    more than the query."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connection: sqlite3.Connection | None = None

    def rows(self, sql: str, params: dict[str, Any]) -> list[Any]:
        if db.type == SQLITE:
            return [dict(row) for row in self._sqlite().execute(sql, params)]
        work = self._rows(sql, params)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _rows(self, sql: str, params: dict[str, Any]) -> list[Any]:
        async with db.connect() as conn:
            return list(await fetch_all(conn, sql, params))

    def _sqlite(self) -> sqlite3.Connection:
        if self.connection is None:
            folder = Path(lnbits_settings.lnbits_data_folder)
            file = folder / "ext_satoshimachine.sqlite3"
            self.connection = sqlite3.connect(":memory:", timeout=30)
            self.connection.row_factory = sqlite3.Row
            self.connection.execute("ATTACH ? AS satoshimachine", (str(file),))
        return self.connection


class Desk(RuleBasedStateMachine):
    """One operator with one machine, three LPs, a partner and customers."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    reader: ClassVar[Reader]
    lightning: ClassVar[FakeLightning]

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run on the loop that the server lives on, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def ask(self, work: Coroutine[Any, Any, Any]) -> Any:
        """An action of a person, which may be refused."""
        try:
            return self.do(work)
        except RefusedError:
            return None

    # the world ----------------------------------------------------------------------

    @initialize(
        interval=st.sampled_from([0, 1440]),
        deposits=st.tuples(FIAT, FIAT, FIAT),
        kinds=st.lists(KINDS, min_size=1, max_size=3),
        is_planned=st.booleans(),
    )
    def open_shop(
        self,
        interval: int,
        deposits: tuple[int, int, int],
        kinds: list[str],
        is_planned: bool,
    ) -> None:
        self.lightning.clear()
        self.tag = urlsafe_short_hash()
        self.operator = uuid4().hex
        self.wallet = f"machine{self.tag}"
        self.platform = f"platform{self.tag}"
        self.cash_box = f"box{self.tag}"
        self.decided: rounds.BatchPlan | None = None
        self.closed: dict[str, str] = {}
        self.offers: list[tuple[int, str]] = []
        # deposits that were taken back with a yes, or by the operator in time
        self.agreed: set[str] = set()
        self.super = lnbits_settings.super_user
        self.hashes = 0
        self.machine = Machine(
            id=f"m{self.tag}",
            operator_user_id=self.operator,
            machine_npub=f"npub1{self.tag}",
            wallet_id=self.wallet,
            operator_cash_in_fee_fraction="0.0500",
            operator_cash_out_fee_fraction="0.0500",
            payout_interval_minutes=interval,
        )
        # the third LP is the operator, whose sats stay in the machine's own wallet
        self.people = [uuid4().hex, uuid4().hex, self.operator]
        self.lp_wallets = [f"w{n}{self.tag}" for n in (1, 2)] + [self.wallet]
        self.clients = [f"c{n}{self.tag}" for n in (1, 2, 3)]
        partner = f"partner{self.tag}"
        self.lightning.owners.update(
            {
                self.wallet: self.operator,
                self.cash_box: self.operator,
                self.platform: lnbits_settings.super_user,
                partner: f"p{self.tag}",
                **dict(zip(self.lp_wallets[:2], self.people[:2], strict=True)),
            }
        )
        self.do(self._open_shop(partner))
        # hypothesis leaves some rules out of each example: something is there already
        for person, cents in enumerate(deposits):
            self.do(self._deposit(person, cents))
        for kind in kinds:
            self.customer_pays(10_000, kind, 0)
        self.read()
        if is_planned:
            self.do(self._plan())

    async def _open_shop(self, partner: str) -> None:
        written: list[tuple[str, Any]] = [("dca_machines", self.machine)]
        for who, wallet, client in zip(
            self.people, self.lp_wallets, self.clients, strict=True
        ):
            written += [
                ("dca_lp", LpProfile(user_id=who, dca_wallet_id=wallet)),
                (
                    "dca_clients",
                    Client(id=client, machine_id=self.machine.id, user_id=who),
                ),
            ]
        for n, (target, fraction) in enumerate(
            (("0.6000", partner), ("0.4000", self.wallet))
        ):
            written.append(
                (
                    "dca_commission_splits",
                    CommissionSplit(
                        id=f"s{n}{self.tag}",
                        operator_user_id=self.operator,
                        target=fraction,
                        target_kind="wallet",
                        target_wallet_id=fraction,
                        fraction=Decimal(target),
                        sort_order=n,
                    ),
                )
            )
        async with transaction() as conn:
            for table, row in written:
                params = row_params(row)
                await execute(conn, insert_sql(table, params), params)
            await execute(
                conn,
                "INSERT INTO satoshimachine.dca_machine_wallets "
                "(wallet_id, machine_id, since_at) VALUES (:w, :m, :t)",
                {
                    "w": self.wallet,
                    "m": self.machine.id,
                    "t": db_time(utc_now() - timedelta(days=1)),
                },
            )
            await execute(
                conn,
                "UPDATE satoshimachine.super_config SET "
                "super_cash_out_fee_fraction = '0.0300', "
                "super_cash_in_fee_fraction = '0.0300', super_fee_wallet_id = :w",
                {"w": self.platform},
            )

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.do(self._close_shop())

    async def _close_shop(self) -> None:
        """Nothing is left behind for the engine of the other tests."""
        own = {"m": self.machine.id, "o": self.operator}
        async with transaction() as conn:
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_payouts WHERE id IN ("
                "SELECT l.payout_id FROM satoshimachine.dca_payout_legs l "
                "JOIN satoshimachine.dca_payments p ON p.id = l.leg_id "
                "WHERE p.machine_id = :m)",
                {"m": self.machine.id},
            )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_client_totals WHERE client_id IN ("
                "SELECT id FROM satoshimachine.dca_clients WHERE machine_id = :m)",
                {"m": self.machine.id},
            )
            for table in (
                *("payments", "settlements", "deposits", "clients"),
                *("consents", "offers"),
            ):
                await execute(
                    conn,
                    f"DELETE FROM satoshimachine.dca_{table} WHERE machine_id = :m",
                    {"m": self.machine.id},
                )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_machines "
                "WHERE id = :m AND operator_user_id = :o",
                own,
            )
            await execute(
                conn,
                "DELETE FROM satoshimachine.dca_machine_wallets WHERE machine_id = :m",
                {"m": self.machine.id},
            )

    # what is there ------------------------------------------------------------------

    def read(self) -> None:
        own = {"m": self.machine.id}
        self.settlements = self.reader.rows(
            # in an order that does not depend on random ids, so that a failure shrinks
            "SELECT * FROM satoshimachine.dca_settlements WHERE machine_id = :m "
            "ORDER BY created_at, wire_sats, id",
            own,
        )
        self.legs = self.reader.rows(
            "SELECT * FROM satoshimachine.dca_payments WHERE machine_id = :m "
            "ORDER BY created_at, leg_type, leg_key, id",
            own,
        )
        self.deposits = self.reader.rows(
            "SELECT * FROM satoshimachine.dca_deposits WHERE machine_id = :m "
            "ORDER BY created_at, amount, id",
            own,
        )
        self.tries = self.reader.rows(
            "SELECT l.payout_id, l.leg_id FROM satoshimachine.dca_payout_legs l "
            "JOIN satoshimachine.dca_payments p ON p.id = l.leg_id "
            "WHERE p.machine_id = :m",
            own,
        )
        self.totals = self.reader.rows(
            "SELECT c.id, COALESCE(t.debited_cents, 0) AS debited, "
            "COALESCE((SELECT SUM(CAST(ROUND(d.amount * 100) AS BIGINT)) "
            "FROM satoshimachine.dca_deposits d WHERE d.client_id = c.id "
            "AND d.status = 'confirmed'), 0) AS deposited "
            "FROM satoshimachine.dca_clients c "
            "LEFT JOIN satoshimachine.dca_client_totals t ON t.client_id = c.id "
            "WHERE c.machine_id = :m",
            own,
        )

    def a_settlement(self, pick: int) -> str:
        if not self.settlements:
            return "none"
        return str(self.settlements[pick % len(self.settlements)]["id"])

    def a_leg(self, pick: int) -> str:
        return str(self.legs[pick % len(self.legs)]["id"]) if self.legs else "none"

    # payments come in ---------------------------------------------------------------

    @rule(cents=FIAT, kind=KINDS, net=PICK)
    def customer_pays_in(self, cents: int, kind: str, net: int) -> None:
        self.customer_pays(cents, kind, net)

    def customer_pays(self, cents: int, kind: str, net: int) -> None:
        # a holder of the wallet's key stamps what they like: no fee, two sats for all
        principal = 2 if kind == "lure" else cents * 5
        fee = 0 if kind == "free" else principal * 8 // 100
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
        # now and then the node charges whoever receives
        is_charged = net % 10 == 0 and principal > 5
        network = 7 if is_charged else 0
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

    async def _pay(self, is_new_round: bool) -> None:
        owing = {
            leg["source_wallet_id"] for leg in self.legs if leg["status"] == "pending"
        }
        for wallet in (self.wallet, self.cash_box) if is_new_round else ():
            if wallet == self.cash_box and wallet not in owing:
                continue
            now = utc_now() + timedelta(days=2)
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
        self._operator_says(self.a_settlement(pick), cents)

    @rule(pick=PICK)
    def nothing_was_dispensed(self, pick: int) -> None:
        self._operator_says(self.a_settlement(pick), 0)

    def _operator_says(self, settlement_id: str, cents: int) -> None:
        """What is planned for LPs and platform stays, whatever the operator says; said
        again, what failed since may shrink to what was agreed."""
        said = [
            s
            for s in self.settlements
            if s["id"] == settlement_id and s["dispensed_fiat"] is not None
        ]
        is_again = said and round(float(said[0]["dispensed_fiat"]) * 100) == cents
        before = self._owed(settlement_id)
        self.ask(dispense.report_dispense(self.operator, settlement_id, cents, WHY))
        self.read()
        assert is_again or self._owed(settlement_id) == before

    def _owed(self, settlement_id: str) -> dict[str, Any]:
        """What LPs and platform are owed by a sale."""
        return {
            leg["id"]: (leg["amount_sats"], leg["amount_fiat"])
            for leg in self.legs
            if leg["settlement_id"] == settlement_id
            and leg["leg_type"] in ("dca", "super_fee")
            and leg["status"] in ("pending", "failed")
        }

    # what the others say --------------------------------------------------------------

    @rule(pick=PICK, is_yes=st.booleans())
    def lp_answers(self, pick: int, is_yes: bool) -> None:
        """Of a claim that they were paid outside, or of what is asked of a sale."""
        open_legs = [
            leg
            for leg in self.legs
            if leg["leg_type"] in ("dca", "settlement")
            and leg["status"] in ("pending", "failed")
        ]
        if not open_legs:
            return
        leg = open_legs[pick % len(open_legs)]
        person = self.people[self.clients.index(leg["client_id"])]
        self.ask(consents.answer_leg(person, leg["id"], is_yes, WHY))

    @rule(pick=PICK, is_yes=st.booleans())
    def super_decides(self, pick: int, is_yes: bool) -> None:
        settlement_id = self.a_settlement(pick)
        self.ask(consents.decide(self.super, settlement_id, is_yes, WHY))

    @rule(pick=PICK, is_gift=st.booleans())
    def super_lets_a_fee_go(self, pick: int, is_gift: bool) -> None:
        leg_id = self.a_leg(pick)
        done = legs.mark_fee_paid(self.super, leg_id, "slip", WHY)
        if is_gift:
            done.close()
            done = legs.void_fee(self.super, leg_id, WHY)
        self.ask(done)

    @rule()
    def a_minute_passes(self) -> None:
        self.do(consents.settle_open())

    @rule(pick=PICK, is_yes=st.booleans(), by_super=st.booleans())
    def answer_a_reversal(self, pick: int, is_yes: bool, by_super: bool) -> None:
        asked = [d for d in self.deposits if d["reversal_state"] == "requested"]
        if not asked:
            return
        deposit = asked[pick % len(asked)]
        person = self.people[self.clients.index(deposit["client_id"])]
        answer = (
            deposits.decide(self.super, deposit["id"], is_yes, WHY)
            if by_super
            else deposits.answer_reversal(person, deposit["id"], is_yes, WHY)
        )
        if self.ask(answer) and is_yes:
            self.agreed.add(deposit["id"])

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
        settlement_id = self.a_settlement(pick)
        before = self._owed(settlement_id)
        waits = {
            leg["id"]
            for leg in self.legs
            if leg["status"] == "pending" or leg["leg_type"] == "super_fee"
        }
        self.ask(settlements.void_settlement(self.operator, settlement_id, WHY))
        self.read()
        # an LP's leg that has failed is given up by the operator, as ever
        kept = self._owed(settlement_id)
        assert not waits & set(before) or kept == before

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
                "SELECT * FROM satoshimachine.dca_deposits WHERE machine_id = :m "
                "AND status = 'confirmed' ORDER BY id",
                {"m": self.machine.id},
            )
        if found:
            deposit = found[pick % len(found)]
            was_planned = any(
                leg["client_id"] == deposit["client_id"]
                and str(leg["created_at"]) >= str(deposit["confirmed_at"])
                for leg in self.legs
                if leg["leg_type"] in ("dca", "settlement")
            )
            after = await deposits.set_deposit_status(
                self.operator, False, deposit["id"], "reversed", WHY
            )
            if after.status == "reversed":
                assert not was_planned
                self.agreed.add(deposit["id"])

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
        self._nothing_is_paid_twice()
        self._lps_have_what_the_legs_say()
        self._debts_are_covered()
        self._no_fiat_falls_unseen()
        self._the_share_is_whole()

    @rule()
    def nobody_reads_what_is_not_theirs(self) -> None:
        self.do(self._read_all_lists())

    async def _read_all_lists(self) -> None:
        """As each LP, as a stranger and as another operator."""
        stranger = uuid4().hex
        for reader in (*self.people[:2], stranger):
            own = set()
            if reader in self.people:
                own = {self.clients[self.people.index(reader)]}
            found, _ = await fetch_page(
                lp_legs_source(reader, []), ListQuery(LEG_FIELDS)
            )
            assert {row["client_id"] for row in found} <= own
            for source, fields in (
                (legs_source(reader, False, []), LEG_FIELDS),
                (settlements_source(reader, False), SETTLEMENT_FIELDS),
                (deposits_source(reader, False), DEPOSIT_FIELDS),
            ):
                assert await fetch_page(source, ListQuery(fields)) == ([], 0)

    def _no_fiat_falls_unseen(self) -> None:
        """An LP's fiat falls by sats sent, or on their way to them, or with their own
        yes: a claim accepted, a reversal agreed or made in time."""
        for leg in self.legs:
            if (
                leg["leg_type"] in ("dca", "settlement")
                and leg["status"] == "completed"
            ):
                assert leg["payout_id"] or leg["claim_state"] == "accepted", leg
        for deposit in self.deposits:
            if deposit["status"] == "reversed":
                assert {deposit["id"], deposit["part_of"]} & self.agreed, deposit

    def _the_share_is_whole(self) -> None:
        """Paid, owed, let go and lost add up to the platform's part of what was
        dispensed; what was paid before less was agreed on is beyond it."""
        for settlement in self.settlements:
            if settlement["planned_at"] is None:
                continue
            fees = [
                leg
                for leg in self.legs
                if leg["settlement_id"] == settlement["id"]
                and leg["leg_type"] == "super_fee"
                and leg["wait_code"] != WaitCode.LESS_CASH
            ]
            share = settlement["dispensed_platform_fee_sats"]
            if share is None:
                share = settlement["platform_fee_sats"]
            total = sum(leg["amount_sats"] for leg in fees)
            is_late = any(
                leg["status"] != "pending" or leg["payout_id"] for leg in fees
            )
            assert total >= share, (settlement, fees)
            assert total == share or is_late, (settlement, fees)

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
        for client, wallet in list(zip(self.clients, self.lp_wallets, strict=True))[:2]:
            received = sum(
                leg["sent_sats"]
                for leg in self.legs
                if leg["client_id"] == client
                and leg["status"] == "completed"
                and leg["payout_id"]
            )
            assert received <= self.lightning.balances[wallet]

    def _debts_are_covered(self) -> None:
        """Whatever happens, the machine wallet holds what its settlements owe."""
        moving = self._moving()
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
        assert self.lightning.balances[self.wallet] >= owed


def skip_the_disk(patch: pytest.MonkeyPatch) -> None:
    """SQLite waits for the disk at every commit, and nobody pulls the plug here."""
    connect = db.connect

    @asynccontextmanager
    async def quick() -> AsyncIterator[Connection]:
        async with connect() as conn:
            await conn.conn.execute(text("PRAGMA satoshimachine.synchronous = OFF"))
            yield conn

    if db.type == SQLITE:
        patch.setattr(db, "connect", quick)


@pytest.mark.timeout(4 * 3600 if IS_THOROUGH else 900)
async def test_any_sequence_of_actions_and_failures_conserves_every_sat(
    engine_paused: distribution.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lightning = FakeLightning()
    lightning.install(monkeypatch)
    skip_the_disk(monkeypatch)
    Desk.loop, Desk.lightning = asyncio.get_running_loop(), lightning
    Desk.reader = Reader(Desk.loop)
    await asyncio.to_thread(
        run_state_machine_as_test,
        Desk,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
