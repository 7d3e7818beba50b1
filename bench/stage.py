"""A booted LNbits with machines, LPs and customers, for a measurement.

The surroundings are those of the tests (tests/support/environment.py, world.py): a real
LNbits in this process, FakeWallet, real wallets and payments.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

# As tests/pytest.ini has it; a call on the path may stand before imports.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/torture"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import environment

# isort: split
# before `world`, which it imports and which imports it
import conftest as fixtures

# isort: split
import httpx
from asgi_lifespan import LifespanManager
from lnbits.app import create_app
from lnbits.core.crud.payments import create_payment
from lnbits.core.crud.users import get_account, update_account
from lnbits.core.models import Account, CreatePayment, PaymentState
from lnbits.core.services.users import create_user_account_no_ckeck
from lnbits.settings import settings
from loguru import logger
from world import World, build_world

from dev.accounts import UserSession, WalletKeys

DATABASE = environment.DATABASE


async def give(wallet_id: str, amount_sats: int) -> None:
    """Mints sats, past LNbits' limits too."""
    payment_hash = uuid4().hex + uuid4().hex
    await create_payment(
        checking_id=f"internal_{payment_hash}",
        data=CreatePayment(
            wallet_id=wallet_id,
            bolt11="",
            payment_hash=payment_hash,
            amount_msat=amount_sats * 1000,
            memo="minted by a bench",
        ),
        status=PaymentState.SUCCESS,
    )


class Stage:
    """Makes people and machines on the booted server."""

    def __init__(self, transport: httpx.ASGITransport) -> None:
        self.transport = transport
        self.users: list[UserSession] = []

    async def make_user(self, name: str = "user", enable: bool = True) -> UserSession:
        username = f"{name[:10]}{uuid4().hex[:9]}"
        user = await create_user_account_no_ckeck(
            Account(id=uuid4().hex, username=username)
        )
        session = fixtures._open(user.id, username, self.transport)
        session.wallets = [fixtures._keys(wallet) for wallet in user.wallets]
        if enable:
            await fixtures._enable(user.id)
        self.users.append(session)
        return session

    async def make_wallet(self, user: UserSession, name: str) -> WalletKeys:
        return await fixtures._add_wallet(user, name)

    async def world(
        self, lps: int, deposit: str = "100000.00", **more: object
    ) -> World:
        boss = fixtures._open(settings.super_user, "", self.transport)
        account = await get_account(settings.super_user)
        if account:  # LNbits lets no super user in without a password
            account.hash_password(uuid4().hex)
            await update_account(account)
        await fixtures._enable(settings.super_user)
        self.users.append(boss)
        world = await build_world(self.make_user, self.make_wallet, give, boss)
        for _ in range(lps):
            await world.add_lp(deposit)
        return world


@asynccontextmanager
async def booted() -> AsyncIterator[Stage]:
    lnbits = create_app()
    logger.remove()  # thousands of lines a second are not what is measured
    async with LifespanManager(lnbits, startup_timeout=60, shutdown_timeout=30):
        settings.first_install = False
        fixtures.seed_price("USD", 1_000)
        stage = Stage(httpx.ASGITransport(app=lnbits, raise_app_exceptions=False))
        yield stage
        for user in stage.users:
            await user.aclose()
