"""The story that is killed at every point, in scenes, each with a world of its own.

A scene is a machine with its people, and steps: what the server does by itself, and
what people and machines ask of it. They ask again when they got no answer, so each
step may be taken again after the process died in it, and must then change nothing that
was done already. Scenes are short, so that a run for each point is short too.

Together they hold landings (by listener, sweep and report), planning, payouts to every
kind of target, forwarding, cash-ins, refunds, dispense reports, payout intervals, every
repair of the desk, deposits, and what the sweep mends.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from lnbits.core.db import db as core_db
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.settings import settings
from lnbits.wallets import get_funding_source
from lnbits.wallets.fake import FakeWallet
from lnurl_server import LnurlServer
from world import World, age_core, edit_core, update

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import db_time, execute, fetch_all, transaction
from satmachineadmin.base.refusals import ConflictError
from satmachineadmin.desk import (
    balances,
    consents,
    dispense,
    legs,
    quarantine,
    refund,
    settlements,
)
from satmachineadmin.host.limits import reserve_sats
from satmachineadmin.line import payout as line_payout
from satmachineadmin.line.answers import CALLS
from satmachineadmin.line.calls import Call
from satmachineadmin.line.nostr import RPC_KIND, Incoming, LineError
from satmachineadmin.models import CASH_IN, CASH_OUT, Leg, Machine, Settlement, utc_now
from satmachineadmin.parties import deposits, deposits_crud

OUTSIDE_ADDRESS = "shop@elsewhere.example"
OWN_DOMAIN = "sats.example"
RECOVERY_ROUNDS = 8
# set in a test alone: not in LNbits' listeners, not in our background sweep
in_test: ContextVar[bool] = ContextVar("in_test", default=False)

Step = Callable[[], Awaitable[None]]
Answer = dict[str, Any]


async def settle() -> None:
    """What a running server does by itself: land, plan, pay."""
    await tasks.sweep(is_full=True)
    await distribution.worker.run_until_idle()


async def time_passes() -> None:
    """Every wait of every unpaid leg and unfinished payout is over."""
    async with transaction() as conn:
        for table in ("dca_payments", "dca_payouts"):
            await execute(
                conn,
                f"UPDATE satoshimachine.{table} SET next_try_at = NULL "
                "WHERE status IN ('pending', 'new', 'invoiced')",
            )
        await execute(
            conn, "UPDATE satoshimachine.dca_machine_attempts SET next_look_at = NULL"
        )
    # a payment that LNbits calls pending is asked about after a minute
    await edit_core(
        "UPDATE apipayments SET updated_at = :at WHERE status = 'pending' "
        "AND amount < 0",
        at=db_time(utc_now() - timedelta(minutes=2)),
    )


async def balances_sats(wallets: Mapping[str, str]) -> dict[str, Any]:
    """What LNbits' rows add up to for wallets, also deleted ones, by their names."""
    async with core_db.connect() as conn:
        found = await fetch_all(
            conn,
            "SELECT wallet_id, SUM(amount - ABS(fee)) AS msat FROM apipayments "
            "WHERE (status = 'success' AND amount > 0) "
            "OR (status IN ('success', 'pending') AND amount < 0) GROUP BY wallet_id",
        )
    msat = {row["wallet_id"]: int(row["msat"]) for row in found}
    return {name: msat.get(wallet, 0) // 1000 for name, wallet in wallets.items()}


async def finish(scene: Scene) -> None:
    """A few rounds of a healthy server."""
    for _ in range(RECOVERY_ROUNDS):
        await time_passes()
        await line_payout.recheck_customer_payments()
        await settle()
        await scene.people_help()
        if await scene.is_finished():
            return


class Scene:
    """One world and what happens in it."""

    machine: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, world: World, shop: LnurlServer) -> None:
        self.world = world
        self.shop = shop
        self.hashes: list[str] = []
        self.wallets: dict[str, str] = {}

    async def prepare(self) -> None:
        raise NotImplementedError

    def steps(self) -> list[Step]:
        raise NotImplementedError

    def of_others(self) -> list[Step]:
        """Steps of LNbits and of customers: nothing of ours dies in them."""
        return []

    # what everybody has ---------------------------------------------------------

    async def holdings(self) -> dict[str, Any]:
        """What every party has at last, and what became of every leg."""
        world = self.world
        wallets = {
            "machine": world.machine_wallet.id,
            "platform": world.platform.id,
            "customer": world.customer.wallet.id,
            **{f"lp {i}": lp.wallet.id for i, lp in enumerate(world.lps)},
            **self.wallets,
        }
        found: dict[str, Any] = await balances_sats(wallets)
        for i, lp in enumerate(world.lps):
            found[f"fiat of lp {i}"] = int(await world.remaining(lp) * 100)
        found["legs"] = sorted(
            (leg.leg_type, leg.status, leg.amount_sats) for leg in await self.legs()
        )
        found["settlements"] = [s.status for s in await self.settlements()]
        return found

    async def settlements(self) -> list[Settlement]:
        return [await self.world.settlement(h) for h in self.hashes]

    async def legs(self) -> list[Leg]:
        """Every leg of this machine, also those without a settlement."""
        async with transaction() as conn:
            found = await fetch_all(
                conn,
                "SELECT id FROM satoshimachine.dca_payments WHERE machine_id = :m",
                {"m": self.world.machine.id},
            )
        legs = [await crud.get_leg(row["id"]) for row in found]
        return [leg for leg in legs if leg]

    async def sent_sats(self) -> int:
        """What left any wallet of this world, so far."""
        return sum(
            -int(row["amount"]) // 1000
            for row in await self.core_rows()
            if row["amount"] < 0 and row["status"] == "success"
        )

    async def core_rows(self) -> list[Mapping[str, Any]]:
        world = self.world
        ids = [world.machine_wallet.id, *(lp.wallet.id for lp in world.lps)]
        listed = ", ".join(f"'{wallet_id}'" for wallet_id in ids)
        async with core_db.connect() as conn:
            return await fetch_all(
                conn,
                "SELECT amount, status FROM apipayments "
                f"WHERE wallet_id IN ({listed})",
            )

    async def is_finished(self) -> bool:
        """Nothing is left that the server could do by itself."""
        for leg in await self.legs():
            if leg.status == "pending" and (leg.target or leg.leg_type != "refund"):
                return False
        done = {"completed", "voided", "awaiting_dispense", "quarantined"}
        return {s.status for s in await self.settlements()} <= done

    # what several scenes do ------------------------------------------------------

    async def own(self, name: str) -> Any:
        """Somebody with a wallet that counts among the holdings."""
        user = await self.world.make_user(name)
        self.wallets[name] = user.wallet.id
        return user

    async def customer_pays(self, **stamp: Any) -> str:
        payment_hash = await self.world.cash_out(**stamp)
        self.hashes.append(payment_hash)
        return payment_hash

    async def listen(self) -> None:
        """LNbits' listener tells of the newest payment."""
        payment = await self.world.core_payment(self.hashes[-1])
        await tasks.on_invoice_paid(payment)

    async def report(self, fiat_cents: int) -> None:
        settlement = await self.world.settlement(self.hashes[-1])
        if settlement.dispensed_fiat is None:
            await dispense.report_dispense(
                self.world.operator.user_id, settlement.id, fiat_cents, "a bill jammed"
            )

    async def refund_to(self, destination: str) -> None:
        settlement = await self.world.settlement(self.hashes[-1])
        await refund.refund(
            self.world.operator.user_id,
            settlement.id,
            destination,
            "half came out",
            f"refund-{settlement.id}",
        )

    async def people_help(self) -> None:
        """What waits for a person: another invoice for a refund that failed."""
        for payment_hash in self.hashes:
            for leg in await self.world.legs(payment_hash, "refund"):
                is_open = leg.status in ("pending", "failed") and not leg.payout_id
                # an invoice that failed is gone from the leg: it waits for another
                if is_open and leg.attempts and "@" not in (leg.target or ""):
                    await self._refund_anew(leg)

    async def _refund_anew(self, leg: Leg) -> None:
        sats = leg.amount_sats - reserve_sats(leg.amount_sats, False)
        made: Any = await get_funding_source().create_invoice(sats, "once more")
        await refund.refund(
            self.world.operator.user_id,
            str(leg.settlement_id),
            str(made.payment_request),
            "the first invoice failed",
            uuid.uuid4().hex,
        )

    async def refund(self) -> None:
        """For all that is owed and can leave: the rest of less would stay owed."""
        legs = await self.world.legs(self.hashes[-1], "refund")
        owed = sum(leg.amount_sats for leg in legs)
        sats = owed - reserve_sats(owed, False)
        made: Any = await get_funding_source().create_invoice(sats, "my refund")
        self.refund_bolt11 = getattr(self, "refund_bolt11", str(made.payment_request))
        await self.refund_to(self.refund_bolt11)


class CashOut(Scene):
    """Heard of by the listener: platform, splits by wallet id and by invoice key, an LP
    in flow mode and one whose daily limit is reached."""

    async def prepare(self) -> None:
        partner, landlord = await self.own("partner"), await self.own("landlord")
        wallet, key = partner.wallet.id, landlord.wallet
        await self.world.add_split(wallet, "0.6000", wallet_id=wallet)
        await self.world.add_split(key.inkey, "0.4000", kind="key", wallet_id=key.id)
        await self.world.add_lp("300.00")
        await self.world.add_lp("100.00", mode="fixed", daily_limit="20.00")
        await self.customer_pays()

    def steps(self) -> list[Step]:
        return [self.listen, settle]


class Outside(Scene):
    """Splits to an LNURL, to a Lightning address elsewhere and to one of this server;
    an LP who forwards."""

    async def prepare(self) -> None:
        neighbour = await self.own("neighbour")
        at_home = f"{neighbour.wallet.lightning_address}@{OWN_DOMAIN}"
        await self.world.add_split(self.shop.target, "0.5000", kind="lnurl")
        await self.world.add_split(
            OUTSIDE_ADDRESS, "0.3000", kind="address", sort_order=1
        )
        await self.world.add_split(at_home, "0.2000", kind="address", sort_order=2)
        await self.world.add_lp("900.00", autoforward=OUTSIDE_ADDRESS)
        await self.customer_pays()

    def steps(self) -> list[Step]:
        return [settle]


class CashIn(Scene):
    """The machine paid a customer itself; only the fees are owed."""

    async def prepare(self) -> None:
        partner = (await self.own("partner")).wallet.id
        await self.world.add_split(partner, "1.0000", wallet_id=partner)
        await self.world.fund(self.world.machine_wallet.id, 60_000)
        paid = await self.world.cash_in(principal=50_000, fee=4_000, fiat="100.00")
        self.hashes.append(paid)

    def steps(self) -> list[Step]:
        return [settle]


class HalfDispensed(Scene):
    """Half of the cash came out before anything was planned; the customer's refund goes
    to an invoice."""

    async def prepare(self) -> None:
        await self.world.add_lp("300.00")
        await self.customer_pays(dispense="awaiting")

    def steps(self) -> list[Step]:
        return [settle, self.half, settle, self.refund, settle]

    async def half(self) -> None:
        await self.report(10_000)


class Interval(Scene):
    """Two cash-outs gather for an hour; the second turns out to be short after it was
    planned: an LP says yes and the super decides for the others, so its legs shrink;
    then one payment for each, and a refund to an address."""

    machine: ClassVar[Mapping[str, Any]] = {"payout_interval_minutes": 60}

    async def prepare(self) -> None:
        await self.world.add_lp("300.00")
        await self.world.add_lp("100.00")
        await self.customer_pays()
        await self.customer_pays(fiat="100.00", principal=50_000, fee=4_000)

    def steps(self) -> list[Step]:
        return [
            *(settle, self.short, self.an_lp_agrees, self.super_decides),
            *(self.hour_is_over, self.refund, settle),
        ]

    async def short(self) -> None:
        await self.report(4_000)

    async def an_lp_agrees(self) -> None:
        settlement = await self.world.settlement(self.hashes[-1])
        first = self.world.lps[0]
        for leg in await self.world.legs(self.hashes[-1], "dca"):
            if leg.client_id != first.client.id:
                continue
            try:
                await consents.answer_leg(first.user.user_id, leg.id, True, None)
            except ConflictError:  # said yes before this process died
                asked = await consents.read_asked(settlement.id)
                assert asked and len(asked.accepted_by) == 1, asked

    async def super_decides(self) -> None:
        settlement = await self.world.settlement(self.hashes[-1])
        asked = await consents.read_asked(settlement.id)
        assert asked and len(asked.accepted_by) == 1, asked
        if asked.state == "open":
            by = str(settings.super_user)
            await consents.decide(by, settlement.id, True, "the film shows it")

    async def hour_is_over(self) -> None:
        await time_passes()
        await settle()

    async def refund(self) -> None:
        await self.refund_to(OUTSIDE_ADDRESS)


class OnLine(Scene):
    """What machines ask over the line, repeated until it is answered."""

    async def prepare(self) -> None:
        self.txid = uuid.uuid4().hex
        self.clock = int(time.time()) - 300
        self.told: Answer = {}

    def _event(self) -> Incoming:
        """Signed anew every time, and later than the one before."""
        self.clock += 1
        return Incoming(uuid.uuid4().hex, "machine", self.clock, RPC_KIND, "")

    async def machine_now(self) -> Machine:
        machine = await crud.get_machine(self.world.machine.id)
        assert machine
        return machine

    def figures(self, txid: str, **more: Any) -> Answer:
        return {
            "txid": txid,
            "principal_sats": 100_000,
            "fee_sats": 8_000,
            "fiat_amount": "200.00",
            "fiat_code": self.world.machine.fiat_code,
            **more,
        }

    async def ask(self, rpc: str, body: Answer) -> Answer:
        """An answered request: "busy" is repeated, as machines do."""
        machine = await self.machine_now()
        while True:
            try:
                call = Call(machine, self._event(), distribution.INSTANCE_ID)
                return await CALLS[rpc](call, body)
            except LineError as exc:
                if exc.code != "busy":
                    raise


class LineCashOut(OnLine):
    """`invoice`, paid; `settlement`; `dispense` of a half; the refund."""

    async def prepare(self) -> None:
        await super().prepare()
        await self.world.add_lp("300.00")
        await self.world.fund(self.world.customer.wallet.id, 200_000)

    def steps(self) -> list[Step]:
        report, dispense = self.report_settlement, self.report_half
        return [self.invoice, self.pay, report, dispense, settle, self.refund, settle]

    def of_others(self) -> list[Step]:
        return [self.pay]

    async def invoice(self) -> None:
        self.told = await self.ask("invoice", self.figures(self.txid))

    async def pay(self) -> None:
        await pay_invoice(
            wallet_id=self.world.customer.wallet.id, payment_request=self.told["bolt11"]
        )
        self.hashes.append(self.told["payment_hash"])

    async def report_settlement(self) -> None:
        body = {"tx_type": CASH_OUT, "payment_hash": self.hashes[0]}
        await self.ask("settlement", body | self.figures(self.txid))

    async def report_half(self) -> None:
        body = {"payment_hash": self.hashes[0], "dispensed_fiat": "100.00"}
        await self.ask("dispense", body)


class LineCashIn(OnLine):
    """`payout` to an invoice that fails on record, then to one that is paid; a second
    customer's by Lightning address; and a report of the first."""

    async def prepare(self) -> None:
        await super().prepare()
        await self.world.fund(self.world.machine_wallet.id, 300_000)
        made = await FakeWallet().create_invoice(92_000, "a dead invoice")
        self.dead = str(made.payment_request)
        neighbour = await self.own("neighbour")
        self.address = f"{neighbour.wallet.lightning_address}@{OWN_DOMAIN}"
        invoice = await create_invoice(
            wallet_id=self.world.customer.wallet.id, amount=92_000, memo="sats"
        )
        self.good = invoice.bolt11

    def steps(self) -> list[Step]:
        return [self.to_dead, self.to_good, self.to_address, self.look, settle]

    async def to_dead(self) -> None:
        told = await self.ask("payout", self.figures(self.txid, bolt11=self.dead))
        assert told["payment_status"] == "failed", told

    async def to_good(self) -> None:
        await self._until_paid(self.figures(self.txid, bolt11=self.good))

    async def to_address(self) -> None:
        figures = self.figures(f"{self.txid}-2", ln_address=self.address)
        await self._until_paid(figures)

    async def _until_paid(self, body: Answer) -> None:
        for _ in range(10):
            told = await self.ask("payout", body)
            if told["payment_status"] == "paid":
                if told["payment_hash"] not in self.hashes:
                    self.hashes.append(told["payment_hash"])
                return
            await line_payout.recheck_customer_payments()
        raise AssertionError(f"the customer is not paid: {told}")

    async def look(self) -> None:
        """The engine's turn on the line, and a machine that reports what it paid."""
        await line_payout.recheck_customer_payments()
        body = {"tx_type": CASH_IN, "payment_hash": self.hashes[0]}
        await self.ask("settlement", body | self.figures(self.txid))


class Quarantine(Scene):
    """Figures that do not add up: one settlement is resolved, the other voided."""

    async def prepare(self) -> None:
        await self.world.add_lp("300.00")
        await self.customer_pays(fiat_code="USD")
        await self.customer_pays(fiat_code="EUR")

    def steps(self) -> list[Step]:
        return [settle, self.resolve, settle, self.void]

    async def resolve(self) -> None:
        settlement = await self.world.settlement(self.hashes[0])
        if settlement.status == "quarantined":
            fields = {**self.world.stamp(), "txid": None}
            await quarantine.resolve(
                self.world.operator.user_id, settlement.id, fields, "a typing error"
            )

    async def void(self) -> None:
        settlement = await self.world.settlement(self.hashes[1])
        if settlement.status == "quarantined":
            await settlements.void_settlement(
                self.world.operator.user_id, settlement.id, "not a customer"
            )


class Desk(Scene):
    """Legs that nobody can be paid by: one is marked paid, one given up, one tried
    again; deposits taken and reversed; a balance paid out."""

    async def prepare(self) -> None:
        world = self.world
        self.partner = (await self.own("partner")).wallet.id
        await world.add_split("0" * 32, "0.5000", wallet_id="0" * 32)
        await world.add_split(
            self.partner, "0.5000", wallet_id=self.partner, sort_order=1
        )
        await world.add_lp("300.00")
        await world.add_lp("100.00")
        await edit_core(
            "UPDATE wallets SET deleted = :yes WHERE id = :id",
            yes=True,
            id=world.lps[1].wallet.id,
        )
        await world.fund(world.machine_wallet.id, 300_000)
        self.deposit_id = ""
        await self.customer_pays()

    def steps(self) -> list[Step]:
        return [
            settle,
            self.mark_paid,
            self.void,
            self.take_deposit,
            self.reverse_deposit,
            self.close,
            settle,
        ]

    async def _open_leg(self, leg_type: str) -> Leg | None:
        legs = await self.world.legs(self.hashes[0], leg_type)
        found = [leg for leg in legs if leg.status in ("pending", "failed")]
        return found[0] if found else None

    async def mark_paid(self) -> None:
        leg = await self._open_leg("operator_split")
        if leg:
            operator = self.world.operator.user_id
            await legs.mark_leg_paid(operator, leg.id, "in cash", None)

    async def void(self) -> None:
        leg = await self._open_leg("dca")
        if leg:
            operator = self.world.operator.user_id
            with suppress(ConflictError):  # a minute has not passed since the last one
                await legs.retry_leg(operator, leg.id, "once more")
            await settle()
            # as after its last attempt
            await update("dca_payments", leg.id, status="failed")
            await legs.void_leg(operator, leg.id, "the wallet is gone")

    async def take_deposit(self) -> None:
        operator = self.world.operator.user_id
        client = self.world.lps[0].client.id
        if not self.deposit_id:
            self.deposit_id, _ = await deposits.create_deposit(
                operator, False, client, Decimal("50.00"), "an envelope"
            )
        await self._step_deposit("pending", "confirmed", None)

    async def reverse_deposit(self) -> None:
        await self._step_deposit("confirmed", "reversed", "it was counted twice")

    async def _step_deposit(self, was: str, status: str, reason: str | None) -> None:
        operator = self.world.operator.user_id
        async with transaction() as conn:
            deposit, _, _ = await deposits_crud.get_own_deposit(
                conn, self.deposit_id, operator, False
            )
        if deposit.status == was:
            await deposits.set_deposit_status(
                operator, False, self.deposit_id, status, reason
            )

    async def close(self) -> None:
        await balances.close_balance(
            self.world.operator.user_id,
            self.world.lps[0].client.id,
            self.world.machine_wallet.id,
            Decimal("500"),
            "moving away",
            f"close-{self.hashes[0]}",
            confirm_rate=True,
        )


class Mend(Scene):
    """LNbits' slow check wrote over what was received, our payouts and the machine's
    payment alike; the sweep looks once more."""

    async def prepare(self) -> None:
        await self.world.add_lp("300.00")
        await self.customer_pays()
        await settle()
        paid = [str(leg.external_payment_hash) for leg in await self.legs()]
        for payment_hash in [*paid, self.hashes[0]]:
            await edit_core(
                "UPDATE apipayments SET status = 'failed' "
                "WHERE payment_hash = :hash AND amount > 0",
                hash=payment_hash,
            )
            await age_core(payment_hash, minutes=2)

    def steps(self) -> list[Step]:
        return [self.mend]

    async def mend(self) -> None:
        tasks.state.second_look = float("-inf")
        await tasks.run_maintenance()


SCENES: dict[str, type[Scene]] = {
    scene.__name__: scene
    for scene in (
        CashOut,
        Outside,
        CashIn,
        HalfDispensed,
        Interval,
        LineCashOut,
        LineCashIn,
        Quarantine,
        Desk,
        Mend,
    )
}
