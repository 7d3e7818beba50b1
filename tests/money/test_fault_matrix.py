"""Every way a payment can go x every way its look-up can go x every kind of target.

In the shape of nutshell's fake backend: a node that LNbits asks, with one fault for
paying and one for telling what became of it. Everything above the node is real. All
faults happen in one settlement at once, one split each, so that they could also get
into each other's way. The node keeps book of what it really paid: that is at most one
invoice for each debt, at every moment, and exactly one when the faults are over.

Within LNbits there is no node: what paying does stands in LNbits' rows at once, and
looking is reading them. There the faults are LNbits' (it refuses, raises, times out, is
killed between its two commits, leaves a row pending) and the database's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from bolt11 import decode as bolt11_decode
from lnbits.exceptions import PaymentError
from lnbits.wallets import get_funding_source
from lnbits.wallets.base import PaymentResponse, PaymentStatus
from lnurl import encode as lnurl_encode
from sqlalchemy.exc import OperationalError
from world import MakeWorld, World, balance_sats, core_rows, edit_core

from satmachineadmin import distribution
from satmachineadmin.base.database import db_time
from satmachineadmin.host import paying
from satmachineadmin.models import Leg, utc_now
from satmachineadmin.money import payouts

PAYS = (
    "succeeds",
    "fails",
    "stays pending",
    "raises before",
    "raises after paying",
    "times out",
)
LOOKUPS = (
    "success",
    "failed",
    "pending, then success",
    "pending, then failed",
    "pending for ever",
    "raises",
    "raises, then success",
    "times out",
)
CELLS = list(product(PAYS, LOOKUPS))


class NodeError(Exception):
    """What a node's client library raises, of no class that anybody could know."""


@dataclass
class Node:
    """The funding source: what it is asked, what it answers, what it really paid."""

    cell_of_target: dict[str, int] = field(default_factory=dict)
    cell_of_hash: dict[str, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    looked: Counter[str] = field(default_factory=Counter)
    paid: set[str] = field(default_factory=set)
    is_healed: bool = False

    async def invoice_of(self, target: str, msat: int) -> str:
        made: Any = await get_funding_source().create_invoice(amount=msat // 1000)
        bolt11 = str(made.payment_request)
        self.cell_of_hash[bolt11_decode(bolt11).payment_hash] = self.cell_of_target[
            target
        ]
        return bolt11

    async def pay(self, bolt11: str, _: int) -> PaymentResponse:
        payment_hash = bolt11_decode(bolt11).payment_hash
        if payment_hash not in self.cell_of_hash:
            return PaymentResponse(ok=None)  # another test's, which the engine finds
        self.asked[payment_hash] += 1
        fault, _lookup = CELLS[self.cell_of_hash[payment_hash]]
        if self.is_healed or fault in ("succeeds", "raises after paying"):
            self.paid.add(payment_hash)
        if self.is_healed or fault == "succeeds":
            return PaymentResponse(True, payment_hash, 0, "00" * 32)
        if fault == "fails":
            return PaymentResponse(ok=False, error_message="no route")
        if fault == "stays pending":
            return PaymentResponse(ok=None, checking_id=payment_hash)
        if fault == "times out":
            raise asyncio.TimeoutError
        raise NodeError("connection reset")

    async def status(self, payment_hash: str) -> PaymentStatus:
        self.looked[payment_hash] += 1
        if payment_hash not in self.cell_of_hash:
            return PaymentStatus(None)
        _pay, fault = CELLS[self.cell_of_hash[payment_hash]]
        is_first = self.looked[payment_hash] == 1
        if self.is_healed:
            return self._final(payment_hash, payment_hash in self.paid)
        if fault == "times out":
            raise asyncio.TimeoutError
        if fault == "raises" or (fault.startswith("raises") and is_first):
            raise NodeError("unreachable")
        if fault == "pending for ever" or (fault.startswith("pending") and is_first):
            return PaymentStatus(None)
        return self._final(payment_hash, fault.endswith("success"))

    def _final(self, payment_hash: str, is_success: bool) -> PaymentStatus:
        """A node may not know for long, but it does not lie: what it paid, it paid."""
        if is_success or payment_hash in self.paid:
            self.paid.add(payment_hash)
            return PaymentStatus(True, 0, "00" * 32)
        return PaymentStatus(False)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    made, real = Node(), get_funding_source()
    monkeypatch.setattr(real, "pay_invoice", made.pay)
    monkeypatch.setattr(real, "get_payment_status", made.status)
    monkeypatch.setattr(paying, "get_pr_from_lnurl", made.invoice_of)
    return made


async def sell_to_every_cell(world: World, node: Node, kind: str) -> str:
    for index in range(len(CELLS)):
        target = f"cell{index}@shop.example"
        if kind == "lnurl":
            target = str(lnurl_encode(f"https://shop{index}.example/pay").bech32)
            target = target.lower()
        node.cell_of_target[target] = index
        await world.add_split(target, "0.0200", kind=kind, sort_order=index)
    fee = 1_000 * 50
    good = await world.make_user("good")
    await world.add_split(good.wallet.id, "0.0400", wallet_id=good.wallet.id)
    payment_hash = await world.cash_out(principal=fee * 20, fee=fee * 20 * 8 // 100)
    await world.settle(payment_hash)
    assert await balance_sats(good.wallet.id) == fee * 4 // 100
    return payment_hash


async def a_minute_later(world: World) -> None:
    await edit_core(
        "UPDATE apipayments SET updated_at = :at "
        "WHERE wallet_id = :wallet AND status = 'pending'",
        at=db_time(utc_now() - timedelta(minutes=2)),
        wallet=world.machine_wallet.id,
    )
    await world.run_due()


async def legs_by_cell(world: World, node: Node, payment_hash: str) -> dict[int, Leg]:
    legs = await world.legs(payment_hash, "operator_split")
    return {
        node.cell_of_target[str(leg.target)]: leg
        for leg in legs
        if leg.target in node.cell_of_target
    }


async def assert_sound(world: World, node: Node, payment_hash: str) -> None:
    """True at every moment, whatever has gone wrong so far."""
    twice = [h for h, times in node.asked.items() if times > 1]
    assert twice == [], "one invoice was given to the node twice"
    paid = Counter(CELLS[node.cell_of_hash[h]] for h in node.paid)
    assert [cell for cell, times in paid.items() if times > 1] == []
    for cell, leg in (await legs_by_cell(world, node, payment_hash)).items():
        assert leg.status in ("pending", "completed"), CELLS[cell]
        if leg.status == "completed":
            assert leg.external_payment_hash in node.paid, CELLS[cell]
        else:
            assert leg.error_message, f"{CELLS[cell]} waits and does not say why"
            assert leg.next_try_at, f"{CELLS[cell]} waits for nothing"
    for payout in await world.payouts():
        if payout["status"] == "failed" and payout["payment_hash"]:
            rows = await core_rows(payout["payment_hash"])
            assert [r["status"] for r in rows] == ["failed"], "freed without a failure"
            assert payout["payment_hash"] not in node.paid
    await world.assert_ledger()


@pytest.mark.parametrize("kind", ["address", "lnurl"])
async def test_whatever_the_node_does_a_debt_outside_is_paid_once(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    node: Node,
    kind: str,
) -> None:
    world = await make_world(deposits=["300.00"])
    payment_hash = await sell_to_every_cell(world, node, kind)
    await world.run_due()
    await assert_sound(world, node, payment_hash)
    for _ in range(3):
        await a_minute_later(world)
        await assert_sound(world, node, payment_hash)
    legs = await legs_by_cell(world, node, payment_hash)
    for cell, leg in legs.items():
        pays, lookup = CELLS[cell]
        # a failure that the node reported, and does not take back when asked once more,
        # is one: many nodes call "pending" whatever they have no record of
        is_failure = pays == "fails" and lookup.startswith("pending")
        if pays == "succeeds" or (lookup.endswith("success") and not is_failure):
            assert leg.status == "completed", CELLS[cell]
        elif pays != "fails" and lookup in ("pending for ever", "raises", "times out"):
            # nobody knows: it waits with the one hash it has, and counts no attempt
            assert (leg.status, leg.attempts) == ("pending", 0), CELLS[cell]
            assert "On its way" in str(leg.error_message), CELLS[cell]
    node.is_healed = True
    for _ in range(3):  # its failure is told, then believed, then paid anew
        await a_minute_later(world)
    await assert_sound(world, node, payment_hash)
    legs = await legs_by_cell(world, node, payment_hash)
    assert len(legs) == len(CELLS)
    assert {CELLS[c] for c, leg in legs.items() if leg.status != "completed"} == set()
    assert len(node.paid) == len(CELLS)
    assert (await world.settlement(payment_hash)).status == "completed"


# ------------------------------------------------------------------- within LNbits

# What LNbits does: what it raises, the rows of payer and receiver that it leaves (none:
# nothing was tried), and what the pending one becomes later.
INSIDE: dict[str, tuple[type[BaseException] | None, tuple[str, str] | None, str]] = {
    "succeeds": (None, ("success", "success"), ""),
    "refuses": (PaymentError, None, ""),
    "proven failure": (PaymentError, ("failed", "pending"), ""),
    "pending, then success": (None, ("pending", "pending"), "success"),
    "pending, then failed": (None, ("pending", "pending"), "failed"),
    "pending for ever": (None, ("pending", "pending"), ""),
    "raises before": (NodeError, None, ""),
    "raises after paying": (NodeError, ("success", "success"), ""),
    "times out before": (asyncio.TimeoutError, None, ""),
    "times out after paying": (asyncio.TimeoutError, ("success", "success"), ""),
    "dies between payer and receiver": (NodeError, ("success", "pending"), ""),
}
READINGS: dict[str, tuple[type[BaseException] | None, int]] = {
    "reads at once": (None, 0),
    "cannot read once": (OperationalError, 1),
    "cannot read for long": (OperationalError, 1_000_000),
    "times out once": (asyncio.TimeoutError, 1),
    "times out for long": (asyncio.TimeoutError, 1_000_000),
}
INSIDE_SATS = 4_500


@dataclass
class Inside:
    """LNbits' own payments with a fault for each destination wallet."""

    fault_of_wallet: dict[str, str] = field(default_factory=dict)
    wallet_of_hash: dict[str, str] = field(default_factory=dict)
    tried: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    error: type[BaseException] | None = None
    is_healed: bool = False

    def fault(self, payment_hash: str) -> str:
        return self.fault_of_wallet.get(self.wallet_of_hash.get(payment_hash, ""), "")

    async def invoice(self, **kwargs: Any) -> Any:
        made = await _real_invoice(**kwargs)
        self.wallet_of_hash[made.payment_hash] = kwargs["wallet_id"]
        return made

    async def pay(self, **kwargs: Any) -> Any:
        payment_hash = bolt11_decode(kwargs["payment_request"]).payment_hash
        fault = self.fault(payment_hash)
        if self.is_healed or not fault:
            return await _real_pay(**kwargs)
        self.tried[fault] += 1
        error, rows_left, _ = INSIDE[fault]
        if rows_left and self.tried[fault] == 1:
            await _real_pay(**kwargs)
            for side, status in zip(("< 0", "> 0"), rows_left, strict=True):
                await kwargs["conn"].execute(
                    "UPDATE apipayments SET status = :status "
                    f"WHERE payment_hash = :hash AND amount {side}",
                    {"status": status, "hash": payment_hash},
                )
        if error is PaymentError:
            raise PaymentError("LNbits refuses.", status="failed")
        if error:
            raise error("connection reset")

    async def read(self, asked: Any) -> Any:
        if self.error and self.unreadable and not self.is_healed:
            self.unreadable -= 1
            if self.error is OperationalError:
                raise OperationalError("SELECT", {}, Exception("disk I/O error"))
            raise self.error
        return await _real_read(asked)

    async def later(self) -> None:
        """What was pending becomes what it becomes."""
        for payment_hash in self.wallet_of_hash:
            fault = self.fault(payment_hash)
            then = INSIDE[fault][2] if fault else ""
            if self.is_healed and fault == "pending for ever":
                then = "failed"
            # an invoice that was made and not kept has no payer: nothing becomes of it
            rows_there = await core_rows(payment_hash)
            if not then or [r["status"] for r in rows_there] != ["pending"] * 2:
                continue
            sides = 2 if then == "success" else 1
            for row in rows_there[:sides]:
                await edit_core(
                    "UPDATE apipayments SET status = :then WHERE checking_id = :id",
                    then=then,
                    id=row["checking_id"],
                )


_real_invoice = paying.create_invoice
_real_pay = paying.pay_invoice
_real_read = payouts.read_outcomes


async def run_whatever_happens(world: World) -> None:
    """As the loop does: what a pass raises ends the pass, and another one begins."""
    for _ in range(2):
        try:
            await world.run_due()
        except (OperationalError, asyncio.TimeoutError):
            continue


@pytest.mark.parametrize("kind", ["wallet", "key"])
@pytest.mark.parametrize("reading", list(READINGS))
async def test_whatever_lnbits_does_a_debt_inside_is_paid_once(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    reading: str,
) -> None:
    world = await make_world(deposits=["300.00"])
    inside = Inside(error=READINGS[reading][0], unreadable=READINGS[reading][1])
    wallets = {}
    for index, fault in enumerate(INSIDE):
        wallet = await world.make_wallet(world.customer, f"split {index}")
        wallets[fault] = wallet.id
        inside.fault_of_wallet[wallet.id] = fault
        await world.add_split(
            wallet.id if kind == "wallet" else wallet.inkey,
            "0.0900",
            kind=kind,
            wallet_id=wallet.id,
            sort_order=index,
        )
    good = (await world.make_user("good")).wallet
    await world.add_split(good.id, "0.0100", wallet_id=good.id, sort_order=99)
    monkeypatch.setattr(paying, "create_invoice", inside.invoice)
    monkeypatch.setattr(paying, "pay_invoice", inside.pay)
    monkeypatch.setattr(payouts, "read_outcomes", inside.read)
    payment_hash = await world.cash_out(principal=1_000_000, fee=80_000)
    await world.landed(payment_hash)

    async def paid() -> dict[str, int]:
        return {fault: await balance_sats(wallets[fault]) for fault in INSIDE}

    for _ in range(3):
        await run_whatever_happens(world)
        so_far = await paid()
        assert {f: s for f, s in so_far.items() if s not in (0, INSIDE_SATS)} == {}
        await world.assert_ledger()
        await age_rows(world)
        await inside.later()
    if not READINGS[reading][1]:
        for leg in await world.legs(payment_hash, "operator_split"):
            fault = inside.fault_of_wallet.get(str(leg.destination_wallet_id), "")
            _, rows_left, then = INSIDE.get(fault, (None, None, ""))
            if leg.status == "completed":
                continue
            assert leg.error_message, f"{fault} waits and does not say why"
            is_unpaid = rows_left is None or "failed" in (rows_left[0], then)
            assert is_unpaid or fault == "pending for ever", fault
            if fault == "pending for ever":
                assert leg.attempts == 0
    inside.is_healed = True
    for _ in range(3):
        await age_rows(world)
        await inside.later()
        await run_whatever_happens(world)
    assert await paid() == dict.fromkeys(INSIDE, INSIDE_SATS)
    assert await balance_sats(good.id) == 500
    assert await world.lps[0].balance_sats() == 1_000_000
    assert (await world.settlement(payment_hash)).status == "completed"
    await world.assert_ledger()


async def age_rows(world: World) -> None:
    """LNbits' rows of this machine's payments were last touched two minutes ago."""
    await edit_core(
        "UPDATE apipayments SET updated_at = :at WHERE payment_hash IN ("
        "SELECT payment_hash FROM apipayments WHERE wallet_id = :wallet)",
        at=db_time(utc_now() - timedelta(minutes=2)),
        wallet=world.machine_wallet.id,
    )
