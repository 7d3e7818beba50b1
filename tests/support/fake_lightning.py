"""LNbits' side of the money path in memory, with a knob for every outcome.

For tests that need thousands of payments: the extension's own SQL runs for real, and
only what asks LNbits (wallets, balances, invoices, paying, outcomes) is answered from
here. Balances move as LNbits moves them: a pending payment is off the payer's wallet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from lnbits.helpers import urlsafe_short_hash

from satmachineadmin import distribution
from satmachineadmin.base.refusals import BadInputError
from satmachineadmin.desk import balances, refund
from satmachineadmin.desk.refund import RefundTarget
from satmachineadmin.host import limits, payments
from satmachineadmin.host.payments import LnbitsRow
from satmachineadmin.host.wallets import WalletFacts
from satmachineadmin.models import Payout, utc_now
from satmachineadmin.money import ending, funds, payouts, planning, rounds
from satmachineadmin.money.payouts import Observation, classify

# What becomes of a payment that LNbits is asked to make.
PAY, FAIL, PEND, REFUSE = "pay", "fail", "pend", "refuse"


@dataclass
class Sent:
    """One payment that LNbits has tried."""

    payout_id: str
    source: str
    destination: str | None
    sats: int
    status: str


@dataclass
class FakeLightning:
    """Wallets, invoices and payments. `mood` is what becomes of the next ones."""

    mood: str = PAY
    owners: dict[str, str] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    balances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    invoices: dict[str, str | None] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    # users whose account is gone, and invoices that somebody else has paid or tried
    left: set[str] = field(default_factory=set)
    foreign: dict[str, bool] = field(default_factory=dict)
    # LNbits' own, in per cent of every payment
    service_fee: int = 0
    paid: int = 0

    def clear(self) -> None:
        self.mood, self.service_fee = PAY, 0
        for kept in (
            *(self.owners, self.deleted, self.balances, self.invoices, self.sent),
            *(self.dead, self.left, self.foreign),
        ):
            kept.clear()

    def settle(self, payment_hash: str, is_paid: bool) -> None:
        """The outcome of a payment that was pending becomes known."""
        payment = self.sent[payment_hash]
        assert payment.status == "pending"
        payment.status = "success" if is_paid else "failed"
        if not is_paid:
            self.balances[payment.source] += payment.sats
            self.balances[payment.source] += self.service_fee_of(payment.sats)
            return
        self.paid += 1
        if payment.destination:
            self.balances[payment.destination] += payment.sats

    def service_fee_of(self, sats: int) -> int:
        return -(-sats * self.service_fee // 100)

    def reserve_sats(self, amount_sats: int, is_internal: bool) -> int:
        """What LNbits wants kept back: its service fee, and the routing outside."""
        routing = 0 if is_internal else max(2, amount_sats // 100)
        return routing + self.service_fee_of(amount_sats)

    def untried(self) -> list[str]:
        """Invoices that nobody has paid or given up, oldest first."""
        return [
            payment_hash
            for payment_hash in self.invoices
            if payment_hash not in self.sent
            and payment_hash not in self.dead
            and payment_hash not in self.foreign
        ]

    def stranger_uses(self, payment_hash: str, sats: int, is_paid: bool) -> None:
        """Another wallet of the instance pays an invoice of ours, or tries in vain:
        LNbits then lets nobody else pay it."""
        self.foreign[payment_hash] = is_paid
        wallet = self.invoices[payment_hash]
        if is_paid and wallet:
            self.balances[wallet] += sats

    def pending(self) -> list[str]:
        return sorted(h for h, p in self.sent.items() if p.status == "pending")

    # what the extension asks ------------------------------------------------------

    async def accounts_gone(self, user_ids: Iterable[str]) -> set[str]:
        return self.left & set(user_ids)

    async def wallet_facts(self, wallet_ids: Iterable[str]) -> dict[str, WalletFacts]:
        return {
            w: WalletFacts(
                *(w, self.owners[w], "lightning", w in self.deleted),
                has_owner=self.owners[w] not in self.left,
            )
            for w in wallet_ids
            if w in self.owners
        }

    async def balances_msat(self, wallet_ids: Iterable[str]) -> dict[str, int]:
        return {w: self.balances[w] * 1000 for w in wallet_ids}

    async def make_internal_invoice(
        self, payout: Payout, memo: str, conn: Any
    ) -> Payout:
        sats = payout.amount_sats - self.reserve_sats(payout.amount_sats, True)
        if sats <= 0:
            raise payouts.DestinationError("nothing would arrive")
        return self._invoice(payout, payout.destination_wallet_id, sats)

    async def fetch_external_invoice(self, payout: Payout) -> Payout:
        kind, _, target = payout.destination.partition(":")
        most = payout.amount_sats - self.reserve_sats(payout.amount_sats, False)
        if most <= 0:
            raise payouts.DestinationError("less than the reserve")
        if kind != "bolt11":
            return self._invoice(payout, None, most)
        _, payment_hash, sats = target.split(".")
        if int(sats) > most:
            raise payouts.DestinationError(f"for {sats} sat, not for {most}")
        return self._invoice(payout, None, int(sats), payment_hash)

    def _invoice(
        self,
        payout: Payout,
        wallet_id: str | None,
        sats: int,
        payment_hash: str | None = None,
    ) -> Payout:
        payment_hash = payment_hash or urlsafe_short_hash()
        self.invoices[payment_hash] = wallet_id
        return payout.copy(
            update={
                "payment_hash": payment_hash,
                "bolt11": f"ln.{payment_hash}.{sats}",
                "sent_sats": sats,
            }
        )

    async def try_to_pay(
        self, payout: Payout, description: str, conn: Any = None, *, facts: Any = None
    ) -> str | None:
        payment_hash, sats = str(payout.payment_hash), payout.sent_sats or 0
        assert payment_hash in self.invoices
        if payment_hash in self.sent or payment_hash in self.foreign:
            return "already tried"
        assert payment_hash not in self.dead, "an invoice that was given up is paid"
        takes = sats + self.service_fee_of(sats)
        if self.mood == REFUSE or self.balances[payout.source_wallet_id] < takes:
            return "LNbits refuses"
        self.balances[payout.source_wallet_id] -= takes
        destination = self.invoices[payment_hash]
        self.sent[payment_hash] = Sent(
            payout.id, payout.source_wallet_id, destination, sats, "pending"
        )
        if self.mood != PEND:
            self.settle(payment_hash, self.mood == PAY)
        return None if self.mood == PAY else "LNbits says no"

    async def read_outcomes(
        self, asked: Iterable[Payout], conn: Any = None
    ) -> dict[str, Observation]:
        return {p.id: self._seen(p) for p in asked if p.payment_hash}

    def _seen(self, payout: Payout) -> Observation:
        payment = self.sent.get(str(payout.payment_hash))
        wallet = self.invoices.get(str(payout.payment_hash))
        out = payment and self._row(payment.source, -payment.sats, payment.status)
        came = "success" if payment and payment.status == "success" else "pending"
        if str(payout.payment_hash) in self.dead:
            came = "failed"
        is_foreign = str(payout.payment_hash) in self.foreign
        if self.foreign.get(str(payout.payment_hash)):
            came = "success"
        into = self._row(wallet, payout.sent_sats or 0, came) if wallet else None
        outcome = classify(out or None, into, is_foreign=is_foreign)
        return Observation(outcome, out or None, into)

    def _row(self, wallet_id: str, sats: int, status: str) -> LnbitsRow:
        # an invoice that was given up has been so for long
        at = utc_now() - timedelta(hours=status == "failed")
        return LnbitsRow("x", wallet_id, sats * 1000, 0, status, at)

    async def fail_unpaid_invoice(self, payment_hash: str) -> bool:
        if payment_hash in self.sent or payment_hash in self.foreign:
            return False
        self.dead.add(payment_hash)
        return True

    async def debited_hashes(self, wallet_id: str, hashes: Iterable[Any]) -> set[str]:
        sent = {h: self.sent[h] for h in hashes if h in self.sent}
        return {
            h for h, p in sent.items() if p.source == wallet_id and p.status != "failed"
        }

    async def receipts_since(self, wallet_ids: Any, since: Any) -> list[Any]:
        return []

    async def local_wallet_of_address(self, address: str) -> str | None:
        return None

    async def lnbits_sides(self, payment_hash: str) -> list[dict[str, Any]]:
        wallet_id, _, amount = payment_hash.partition(".")
        if not amount:
            return []
        return [
            {
                "wallet_id": wallet_id,
                "amount": int(amount.partition(".")[0]) * 1000,
                "status": "success",
            }
        ]

    @staticmethod
    def read_refund_target(destination: str) -> RefundTarget:
        """`name@domain` or `ln.<hash>.<sats>`."""
        if "@" in destination:
            return RefundTarget(destination, address=destination)
        parts = destination.split(".")
        if len(parts) != 3:
            raise BadInputError("destination: no invoice")
        return RefundTarget(
            destination, payment_hash=parts[1], amount_sats=int(parts[2])
        )

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Answer the extension's questions from here until the patch is undone."""
        for name in ("wallet_facts", "balances_msat", "local_wallet_of_address"):
            patch.setattr(rounds, name, getattr(self, name))
        for name in (
            "balances_msat",
            "debited_hashes",
            "receipts_since",
        ):
            patch.setattr(funds, name, getattr(self, name))
        for name in ("wallet_facts", "fail_unpaid_invoice"):
            patch.setattr(ending, name, getattr(self, name))
        for name in (
            "make_internal_invoice",
            "fetch_external_invoice",
            "try_to_pay",
            "read_outcomes",
        ):
            patch.setattr(payouts, name, getattr(self, name))
        patch.setattr(balances, "wallet_facts", self.wallet_facts)
        for module in (balances, planning):
            patch.setattr(module, "accounts_gone", self.accounts_gone)
        patch.setattr(refund, "read_refund_target", self.read_refund_target)
        patch.setattr(refund, "local_wallet_of_address", self.local_wallet_of_address)
        patch.setattr(payments, "sides_of", self.lnbits_sides)
        for module in (limits, refund):
            patch.setattr(module, "reserve_sats", self.reserve_sats)
        patch.setattr(distribution, "core_connection", no_connection)
        patch.setattr(distribution, "deferred_commit", no_connection)

        async def really(_: Observation) -> bool:
            return True

        patch.setattr(payouts, "is_really_failed", really)


@asynccontextmanager
async def no_connection() -> AsyncIterator[None]:
    """Stands for LNbits' database where only a connection to pass on is wanted."""
    yield None
