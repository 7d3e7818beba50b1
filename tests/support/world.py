"""A machine, its operator, its LPs and a customer, made for one test.

Rows are written straight into our tables, so that a test of the money path does not
depend on the HTTP API; sats move only through LNbits.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from lnbits.core.crud import get_wallet
from lnbits.core.crud.payments import get_standalone_payment
from lnbits.core.db import db as core_db
from lnbits.core.models import Payment
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.helpers import urlsafe_short_hash
from lnbits.settings import settings
from lnbits.task_manager import task_manager

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import (
    db_time,
    execute,
    fetch_all,
    fetch_one,
    insert_sql,
    row_params,
    transaction,
)
from satmachineadmin.ledger import postings
from satmachineadmin.models import (
    Client,
    CommissionSplit,
    Deposit,
    Leg,
    LpProfile,
    Machine,
    Settlement,
    utc_now,
)
from satmachineadmin.parties import positions_crud

from balanced import assert_ledger_balances
from conftest import wait_for
from dev.accounts import UserSession, WalletKeys


async def insert(table: str, model: Any) -> None:
    params = row_params(model)
    async with transaction() as conn:
        await execute(conn, insert_sql(table, params), params)


async def update(table: str, row_id: str, key: str = "id", **values: Any) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in values)
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE satoshimachine.{table} SET {sets} WHERE {key} = :row_id",
            {**values, "row_id": row_id},
        )


class Killed(BaseException):
    """The process dies at this point: no handler of the code under test may run."""


def killed_at(*_: Any, **__: Any) -> Any:
    """Stands for any function of the money path: the process dies before it runs."""
    raise Killed


async def core_rows(payment_hash: str) -> list[Mapping[str, Any]]:
    """LNbits' own rows of a payment: payer (negative amount) first."""
    async with core_db.connect() as conn:
        return await fetch_all(
            conn,
            "SELECT * FROM apipayments WHERE payment_hash = :hash ORDER BY amount",
            {"hash": payment_hash},
        )


async def edit_core(sql: str, **params: Any) -> None:
    """Change LNbits' rows as a crash, a slow check or the passing of time would."""
    async with core_db.connect() as conn:
        await execute(conn, sql, params)
        await conn.conn.commit()


async def age_core(payment_hash: str, minutes: float) -> None:
    """LNbits' rows of this payment were last touched so long ago."""
    await edit_core(
        "UPDATE apipayments SET updated_at = :at WHERE payment_hash = :hash",
        at=db_time(utc_now() - timedelta(minutes=minutes)),
        hash=payment_hash,
    )


async def balance_sats(wallet_id: str) -> int:
    wallet = await get_wallet(wallet_id)
    assert wallet
    return wallet.balance_msat // 1000


@dataclass
class Lp:
    user: UserSession
    wallet: WalletKeys
    client: Client
    profile: LpProfile | None

    async def balance_sats(self) -> int:
        return await balance_sats(self.wallet.id)


@dataclass
class World:
    operator: UserSession
    customer: UserSession
    machine: Machine
    machine_wallet: WalletKeys
    platform: WalletKeys
    make_user: Callable[..., Awaitable[UserSession]]
    make_wallet: Callable[..., Awaitable[WalletKeys]]
    fund: Callable[..., Awaitable[None]]
    super_session: UserSession
    lps: list[Lp] = field(default_factory=list)

    async def platform_sats(self) -> int:
        """What the platform has of this operator. Its wallet is the tests' one platform
        while this world stands: fees that other worlds still owed come there too."""
        async with core_db.connect() as conn:
            row = await fetch_one(
                conn,
                """
                SELECT COALESCE(SUM(i.amount), 0) / 1000 AS sats
                FROM apipayments i JOIN apipayments o
                    ON o.payment_hash = i.payment_hash AND o.amount < 0
                JOIN wallets w ON w.id = o.wallet_id
                WHERE i.wallet_id = :platform AND i.amount > 0
                    AND i.status = 'success' AND w."user" = :operator
                """,
                {"platform": self.platform.id, "operator": self.operator.user_id},
            )
        return int(row["sats"]) if row else 0

    async def add_lp(
        self,
        deposit: str | None = "300.00",
        *,
        mode: str = "flow",
        daily_limit: str | None = None,
        autoforward: str | None = None,
        user: UserSession | None = None,
        wallet: WalletKeys | None = None,
        has_profile: bool = True,
        confirmed_at: datetime | None = None,
    ) -> Lp:
        user = user or await self.make_user("lp")
        client = Client(
            id=urlsafe_short_hash(),
            machine_id=self.machine.id,
            user_id=user.user_id,
            username=user.username,
        )
        await insert("dca_clients", client)
        profile = None
        known = [lp.profile for lp in self.lps if lp.user is user]
        if has_profile and not known:
            profile = LpProfile(
                user_id=user.user_id,
                dca_wallet_id=(wallet or user.wallet).id,
                default_dca_mode=mode,
                fixed_mode_daily_limit=daily_limit,
                autoforward_ln_address=autoforward,
                autoforward_enabled=autoforward is not None,
            )
            await insert("dca_lp", profile)
        lp = Lp(
            user, wallet or user.wallet, client, profile or (known and known[0]) or None
        )
        self.lps.append(lp)
        if deposit:
            await self.add_deposit(lp, deposit, confirmed_at=confirmed_at)
        return lp

    async def add_deposit(
        self, lp: Lp, amount: str, confirmed_at: datetime | None = None
    ) -> Deposit:
        at = confirmed_at or utc_now() - timedelta(minutes=5)
        deposit = Deposit(
            id=urlsafe_short_hash(),
            client_id=lp.client.id,
            machine_id=self.machine.id,
            creator_user_id=self.operator.user_id,
            amount=Decimal(amount),
            currency=self.machine.fiat_code,
            status="confirmed",
            confirmed_at=at,
        )
        await insert("dca_deposits", deposit)
        cents = int(Decimal(deposit.amount) * 100)
        async with transaction() as conn:
            await postings.post_deposit(
                conn, deposit, cents=cents, kind="deposit", at=at
            )
        return deposit

    async def add_split(
        self,
        target: str,
        fraction: str,
        *,
        kind: str = "wallet",
        wallet_id: str | None = None,
        machine_id: str | None = None,
        sort_order: int = 0,
    ) -> CommissionSplit:
        split = CommissionSplit(
            id=urlsafe_short_hash(),
            machine_id=machine_id,
            operator_user_id=self.operator.user_id,
            target=target,
            target_kind=kind,
            target_wallet_id=wallet_id,
            fraction=Decimal(fraction),
            sort_order=sort_order,
        )
        await insert("dca_commission_splits", split)
        return split

    def stamp(
        self,
        principal: int = 100_000,
        fee: int = 8_000,
        fiat: str = "200.00",
        tx_type: str = "cash_out",
        **more: Any,
    ) -> dict[str, Any]:
        return {
            "source": "bitspire",
            "tx_type": tx_type,
            "principal_sats": principal,
            "fee_sats": fee,
            "fiat_amount": fiat,
            "fiat_code": self.machine.fiat_code,
            "txid": urlsafe_short_hash(),
            **more,
        }

    async def cash_out_invoice(
        self, stamp: dict[str, Any], sats: int | None = None
    ) -> Payment:
        amount = (
            sats if sats is not None else stamp["principal_sats"] + stamp["fee_sats"]
        )
        return await create_invoice(
            wallet_id=self.machine_wallet.id,
            amount=amount,
            memo="cash out",
            extra=dict(stamp),
        )

    async def cash_out(self, *, sats: int | None = None, **stamp: Any) -> str:
        """A customer buys cash; returns the payment hash. Landing is the listener's."""
        invoice = await self.cash_out_invoice(self.stamp(**stamp), sats)
        await self.fund(self.customer.wallet.id, invoice.sat + 10)
        await pay_invoice(
            wallet_id=self.customer.wallet.id, payment_request=invoice.bolt11
        )
        return invoice.payment_hash

    async def cash_in(self, **stamp: Any) -> str:
        """The machine pays a customer who brought cash; returns the payment hash."""
        fields = self.stamp(tx_type="cash_in", **stamp)
        invoice = await create_invoice(
            wallet_id=self.customer.wallet.id,
            amount=fields["principal_sats"] - fields["fee_sats"],
            memo="cash in",
            internal=True,
        )
        await pay_invoice(
            wallet_id=self.machine_wallet.id,
            payment_request=invoice.bolt11,
            extra=fields,
        )
        return invoice.payment_hash

    async def settlement(self, payment_hash: str) -> Settlement:
        found = await crud.get_settlement_by_hash(payment_hash)
        assert found, f"{payment_hash} has not landed"
        return found

    async def until(
        self, payment_hash: str, status: str, timeout: float = 20
    ) -> Settlement:
        """Waits for a settlement to reach a status."""

        async def reached() -> bool:
            found = await crud.get_settlement_by_hash(payment_hash)
            return found is not None and found.status == status

        try:
            await wait_for(reached, timeout)
            return await self.settlement(payment_hash)
        except AssertionError:
            found = await crud.get_settlement_by_hash(payment_hash)
            legs = await crud.legs_of(found.id) if found else []
            raise AssertionError(f"not {status}: {found!r} {legs!r}") from None

    async def legs(self, payment_hash: str, leg_type: str | None = None) -> list[Leg]:
        legs = await crud.legs_of((await self.settlement(payment_hash)).id)
        return [x for x in legs if leg_type in (None, x.leg_type)]

    async def core_payment(self, payment_hash: str) -> Payment:
        payment = await get_standalone_payment(
            payment_hash, wallet_id=self.machine_wallet.id
        )
        assert payment
        return payment

    async def settlement_count(self) -> int:
        async with transaction() as conn:
            found = await fetch_all(
                conn,
                "SELECT id FROM satoshimachine.dca_settlements WHERE machine_id = :m",
                {"m": self.machine.id},
            )
        return len(found)

    async def landed(self, payment_hash: str) -> Settlement:
        """Waits until the listener has landed it."""

        async def found() -> bool:
            return await crud.get_settlement_by_hash(payment_hash) is not None

        await wait_for(found)
        return await self.settlement(payment_hash)

    async def settle(self, payment_hash: str) -> Settlement:
        """Lands, then all that the engine can do now; for a paused engine."""
        await self.landed(payment_hash)
        await distribution.worker.run_until_idle()
        return await self.settlement(payment_hash)

    async def payouts(self) -> list[Mapping[str, Any]]:
        """Every payout that a leg of this machine is or was in, oldest first."""
        async with transaction() as conn:
            return await fetch_all(
                conn,
                """
                SELECT * FROM satoshimachine.dca_payouts WHERE id IN (
                    SELECT l.payout_id FROM satoshimachine.dca_payout_legs l
                    JOIN satoshimachine.dca_payments p ON p.id = l.leg_id
                    WHERE p.machine_id = :machine)
                ORDER BY created_at, id
                """,
                {"machine": self.machine.id},
            )

    async def make_due(self) -> None:
        """Whatever of this machine waits for its time is due now."""
        async with transaction() as conn:
            await execute(
                conn,
                "UPDATE satoshimachine.dca_payments SET next_try_at = NULL "
                "WHERE machine_id = :machine AND status = 'pending'",
                {"machine": self.machine.id},
            )
            await execute(
                conn,
                """
                UPDATE satoshimachine.dca_payouts SET next_try_at = NULL
                WHERE status IN ('new', 'invoiced') AND id IN (
                    SELECT payout_id FROM satoshimachine.dca_payments
                    WHERE machine_id = :machine)
                """,
                {"machine": self.machine.id},
            )

    async def run_due(self) -> None:
        """Skip every backoff and gathering, and let the engine work."""
        await self.make_due()
        await distribution.worker.run_until_idle()

    async def assert_ledger(self) -> None:
        await assert_ledger_balances(self.machine.id)

    async def remaining(self, lp: Lp) -> Decimal:
        async with transaction() as conn:
            found = await positions_crud.lp_positions(conn, self.machine.id, utc_now())
        row = next(r for r in found if r["client_id"] == lp.client.id)
        cents = int(row["deposited_cents"]) - int(row["debited_cents"])
        return Decimal(cents) / 100


async def set_platform(
    super_fraction: str, wallet_id: str | None, cash_in: str | None = None
) -> None:
    await update(
        "super_config",
        "default",
        super_cash_out_fee_fraction=super_fraction,
        super_cash_in_fee_fraction=cash_in or super_fraction,
        super_fee_wallet_id=wallet_id,
    )


MakeWorld = Callable[..., Awaitable[World]]


def let_loops_run() -> None:
    """Begin again the loops that died with what a test before this one killed: it
    raises where it likes, and a loop may come by there as well as the test."""
    for name, func in tasks.TASKS.items():
        task = task_manager.get_task(name)
        if task and task.task.done():
            task_manager.cancel_task(task)
            task_manager.create_permanent_task(func, name=name)


async def build_world(
    make_user: Any,
    make_wallet: Any,
    fund: Any,
    super_session: UserSession,
    *,
    super_fraction: str = "0.0300",
    operator_fraction: str = "0.0500",
    deposits: Sequence[str] = (),
    **machine_fields: Any,
) -> World:
    assert super_session.user_id == settings.super_user
    let_loops_run()
    operator = await make_user("operator")
    customer = await make_user("customer")
    platform = await make_wallet(super_session, "platform fee")
    await set_platform(super_fraction, platform.id)
    wallet = operator.wallet
    machine = Machine(
        **{
            "id": urlsafe_short_hash(),
            "operator_user_id": operator.user_id,
            "machine_npub": f"npub1{urlsafe_short_hash().lower()}",
            "wallet_id": wallet.id,
            "name": "Antigua",
            "fiat_code": "GTQ",
            "operator_cash_in_fee_fraction": operator_fraction,
            "operator_cash_out_fee_fraction": operator_fraction,
            **machine_fields,
        }
    )
    await insert("dca_machines", machine)
    async with transaction() as conn:
        await execute(
            conn,
            "INSERT INTO satoshimachine.dca_machine_wallets "
            "(wallet_id, machine_id, since_at) VALUES (:w, :m, :t)",
            {
                "w": wallet.id,
                "m": machine.id,
                "t": db_time(utc_now() - timedelta(days=1)),
            },
        )
    world = World(
        *(operator, customer, machine, wallet, platform),
        *(make_user, make_wallet, fund, super_session),
    )
    for deposit in deposits:
        await world.add_lp(deposit)
    return world


async def _let_sleep_what_other_tests_left() -> None:
    # later than any clock that a test sets forward
    much_later = {"at": db_time(utc_now() + timedelta(days=60))}
    async with transaction() as conn:
        for rows_left in (
            "dca_payments SET next_try_at = :at WHERE status = 'pending'",
            "dca_payouts SET next_try_at = :at WHERE status IN ('new', 'invoiced')",
        ):
            await execute(conn, f"UPDATE satoshimachine.{rows_left}", much_later)


@pytest_asyncio.fixture
async def engine_paused(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[distribution.Worker]:
    """The background worker stands still: the test calls the engine itself.

    Landing goes on, and this process stays the engine: the lease is renewed.
    """
    let_loops_run()
    await wait_for(lambda: tasks.state.is_engine)
    stands_still = asyncio.Event()

    def is_ready() -> bool:
        if sys._getframe(1).f_code is tasks.work_once.__code__:
            stands_still.set()
        return False

    monkeypatch.setattr(tasks, "is_ready", is_ready)
    distribution.wake()
    # a turn that had begun would plan behind the test's back, and die of its faults
    await wait_for(stands_still.is_set, 120)
    worker = distribution.worker
    async with worker.lock:
        # the pass that was under way is over, and no other one begins
        await asyncio.gather(*worker.externals.values())
    await _let_sleep_what_other_tests_left()
    yield worker


@pytest.fixture
def make_world(
    app: Any, make_user: Any, make_wallet: Any, fund: Any, super_session: UserSession
) -> MakeWorld:
    """``await make_world(deposits=["300.00", "100.00"])``: a machine to play with."""

    async def make(**options: Any) -> World:
        return await build_world(make_user, make_wallet, fund, super_session, **options)

    return make
