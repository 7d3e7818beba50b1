"""Any sequence of what dishonest parties do, beside payments, failures and repairs.

The operator is against the others, a stranger or the holder of the wallet's key stamps
what they like, LPs and super answer or do not. After every step no LP's fiat has fallen
without sats sent or their own yes, the whole of the platform's share is paid, owed, let
go or lost with a void, and no list shows anybody what is not theirs.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from desk_machine import FIAT, PICK, WHY, Desk, run_machine
from examples import IS_THOROUGH
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from lnbits.settings import settings as lnbits_settings

from satmachineadmin import distribution
from satmachineadmin.base.database import db, fetch_all
from satmachineadmin.books.lists import ListQuery, fetch_page
from satmachineadmin.books.payments import (
    LEG_FIELDS,
    SETTLEMENT_FIELDS,
    legs_source,
    lp_legs_source,
    settlements_source,
)
from satmachineadmin.books.reports import DEPOSIT_FIELDS, deposits_source
from satmachineadmin.desk import consents, dispense, legs, settlements
from satmachineadmin.models import WaitCode
from satmachineadmin.parties import deposits

pytestmark = pytest.mark.longest

EXAMPLES = 300 if IS_THOROUGH else 12
OWED = ("pending", "failed")
TO_LPS = ("dca", "settlement")


class Adversaries(Desk):
    """What each party does against the others, and what must hold all the same."""

    def set_up(self, interval: int, service_fee: int) -> None:
        super().set_up(interval, service_fee)
        # deposits that were taken back with a yes, or by the operator in time
        self.agreed: set[str] = set()
        self.deposits: list[Any] = []

    def read(self) -> None:
        super().read()
        (self.deposits,) = self.reader.rows(
            (
                "SELECT * FROM satoshimachine.dca_deposits WHERE machine_id = :m "
                "ORDER BY created_at, amount, id",
            ),
            {"m": self.machine.id},
        )

    @property
    def platform_owner(self) -> str:
        return str(lnbits_settings.super_user)

    def of_lp(self, leg: Any) -> str:
        return self.people[self.clients.index(leg["client_id"])]

    # a stranger, or the holder of the wallet's key ------------------------------------

    @rule(cents=FIAT, is_free=st.booleans())
    def stamps_what_they_like(self, cents: int, is_free: bool) -> None:
        """No fee for all of it, or two sats for all the cash."""
        sats = cents * 5 if is_free else 2
        stamp = {
            "source": "bitspire",
            "tx_type": "cash_out",
            "principal_sats": sats,
            "fee_sats": 0,
            "fiat_amount": f"{cents // 100}.{cents % 100:02d}",
            "fiat_code": "GTQ",
        }
        self._land(sats, 0, stamp)

    # the operator ---------------------------------------------------------------------

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
            and leg["status"] in OWED
        }

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

    async def _reverse(self, pick: int) -> None:
        async with db.connect() as conn:
            found = await fetch_all(
                conn,
                "SELECT * FROM satoshimachine.dca_deposits WHERE machine_id = :m "
                "AND status = 'confirmed' ORDER BY id",
                {"m": self.machine.id},
            )
        if not found:
            return
        deposit = found[pick % len(found)]
        was_planned = any(
            leg["client_id"] == deposit["client_id"]
            and str(leg["created_at"]) >= str(deposit["confirmed_at"])
            for leg in self.legs
            if leg["leg_type"] in TO_LPS
        )
        after = await deposits.set_deposit_status(
            self.operator, False, deposit["id"], "reversed", WHY
        )
        if after.status == "reversed":
            assert not was_planned
            self.agreed.add(deposit["id"])

    # what the others say --------------------------------------------------------------

    @rule(pick=PICK, is_yes=st.booleans())
    def lp_answers(self, pick: int, is_yes: bool) -> None:
        """Of a claim that they were paid outside, or of what is asked of a sale."""
        owed = [
            leg
            for leg in self.legs
            if leg["leg_type"] in TO_LPS and leg["status"] in OWED
        ]
        if owed:
            leg = owed[pick % len(owed)]
            self.ask(consents.answer_leg(self.of_lp(leg), leg["id"], is_yes, WHY))

    @rule(pick=PICK, is_yes=st.booleans())
    def super_decides(self, pick: int, is_yes: bool) -> None:
        settlement_id = self.a_settlement(pick)
        self.ask(consents.decide(self.platform_owner, settlement_id, is_yes, WHY))

    @rule(pick=PICK, is_gift=st.booleans())
    def super_lets_a_fee_go(self, pick: int, is_gift: bool) -> None:
        leg_id, who = self.a_leg(pick), self.platform_owner
        self.ask(
            legs.void_fee(who, leg_id, WHY)
            if is_gift
            else legs.mark_fee_paid(who, leg_id, "slip", WHY)
        )

    @rule()
    def a_minute_passes(self) -> None:
        self.do(consents.settle_open())

    @rule(pick=PICK, is_yes=st.booleans(), by_super=st.booleans())
    def answer_a_reversal(self, pick: int, is_yes: bool, by_super: bool) -> None:
        asked = [d for d in self.deposits if d["reversal_state"] == "requested"]
        if not asked:
            return
        deposit = asked[pick % len(asked)]
        answer = (
            deposits.decide(self.platform_owner, deposit["id"], is_yes, WHY)
            if by_super
            else deposits.answer_reversal(
                self.of_lp(deposit), deposit["id"], is_yes, WHY
            )
        )
        if self.ask(answer) and is_yes:
            self.agreed.add(deposit["id"])

    # what must be true ----------------------------------------------------------------

    @invariant()
    def nobody_takes_from_another(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.read()
        self._no_fiat_falls_unseen()
        self._the_share_is_whole()

    def _no_fiat_falls_unseen(self) -> None:
        """An LP's fiat falls by sats sent, or on their way to them, or with their own
        yes: a claim accepted, a reversal agreed or made in time."""
        for leg in self.legs:
            if leg["leg_type"] in TO_LPS and leg["status"] == "completed":
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

    @rule()
    def nobody_reads_what_is_not_theirs(self) -> None:
        self.do(self._read_all_lists())

    async def _read_all_lists(self) -> None:
        """As each LP, as a stranger and as another operator."""
        for reader in (*self.people[:2], uuid4().hex):
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


@pytest.mark.timeout(4 * 3600 if IS_THOROUGH else 900)
async def test_no_sequence_of_actions_takes_from_another_unseen(
    engine_paused: distribution.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_machine(Adversaries, monkeypatch, EXAMPLES)
