"""Fixtures: one booted LNbits with this extension, and people who use it.

The server is shared by the whole run, so every test makes its own users, wallets
and machines, and counts only what is theirs. Conditions are waited for with
``wait_for``, never slept for.
"""

from __future__ import annotations

import inspect
import math
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from functools import cache
from typing import Any
from uuid import uuid4

import environment  # first: it sets what LNbits reads when it is imported

# isort: split
import asyncio
import importlib

import httpx
import pytest
import pytest_asyncio
import screen_words
from asgi_lifespan import LifespanManager
from examples import IS_THOROUGH
from fastapi import FastAPI
from lnbits.app import create_app
from lnbits.core.crud import create_wallet
from lnbits.core.crud.extensions import create_user_extension, get_user_extension
from lnbits.core.crud.payments import create_payment
from lnbits.core.crud.users import get_account, update_account
from lnbits.core.db import db as core_db
from lnbits.core.models import Account, CreatePayment, PaymentState, Wallet
from lnbits.core.models.extensions import UserExtension
from lnbits.core.services import notifications
from lnbits.core.services.users import create_user_account_no_ckeck
from lnbits.db import SQLITE
from lnbits.helpers import create_access_token
from lnbits.settings import settings
from lnbits.utils.cache import cache as lnbits_cache
from lnurl import LnurlResponseException
from xdist.scheduler import LoadScopeScheduling

from dev.accounts import UserSession, WalletKeys, open_session

BASE_URL = "http://lnbits.test"

MakeUser = Callable[..., Awaitable[UserSession]]
MakeWallet = Callable[..., Awaitable[WalletKeys]]
Fund = Callable[..., Awaitable[None]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only what needs no LNbits")


def _needs_lnbits(item: pytest.Item) -> bool:
    """Whether it boots an LNbits, in this process or another, or kills one."""
    fixtures = getattr(item, "fixturenames", ())
    marks = ("server", "browser", "longest")
    return "app" in fixtures or any(item.get_closest_marker(m) for m in marks)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Which tests are run, and in which order: the longest begin first, but for those
    that measure an LNbits at rest, where nobody else may owe anything.

    Pure functions are run once: a database can make no difference to them. So are
    tests of the page itself, whose server asks nothing that the tests of the API do not
    ask of both databases, and what is refused before a database is asked;
    SATMACHINE_EXAMPLES=100 runs them on both.
    """
    if config.getoption("--quick"):
        config.hook.pytest_deselected(items=[i for i in items if _needs_lnbits(i)])
        items[:] = [item for item in items if not _needs_lnbits(item)]
    if environment.DATABASE != "sqlite":
        pure = [item for item in items if item.get_closest_marker("pure")]
        assert not any("app" in getattr(i, "fixturenames", ()) for i in pure)
        page = [i for i in items if any(map(i.get_closest_marker, ("page", "once")))]
        once = {*pure, *([] if IS_THOROUGH else page)}
        config.hook.pytest_deselected(items=list(once))
        items[:] = [item for item in items if item not in once]
    items.sort(
        key=lambda item: (
            item.get_closest_marker("untouched") is None,
            item.get_closest_marker("longest") is None,
        )
    )


@cache
def _group_of(path: str) -> str | None:
    """The `xdist_group` of a test file, read from its text: whoever hands out tests to
    the processes has not imported them."""
    text = (environment.ROOT / "tests" / path.removeprefix("tests/")).read_text()
    found = re.search(r'xdist_group\("(\w+)"\)', text)
    return found[1] if found else None


class GroupedScheduling(LoadScopeScheduling):
    """One test after another to whoever is free, and a group to one process.

    xdist's own `loadgroup` writes the group into a test's id, which pytest 9 does not
    read back: every process then had a server and a browser of its own.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _group_of(nodeid.partition("::")[0]) or nodeid


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Any
) -> LoadScopeScheduling | None:
    return GroupedScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report: Any = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and stage is not None:
        report.sections.append(("Pages", stage.seen()))
    return report


async def wait_for(
    condition: Callable[[], Any],
    timeout_seconds: float = 60,
    interval_seconds: float = 0.02,
) -> Any:
    """Returns the first true value of `condition`, which may be async.

    Raises AssertionError with the last value seen when the time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        value: Any = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not true within {timeout_seconds} s, last value: {value!r}"
            )
        await asyncio.sleep(interval_seconds)


def seed_price(currency: str, sats_per_unit: float) -> None:
    """Lets LNbits believe that one unit of `currency` costs so many sats."""
    lnbits_cache.set(
        f"btc-price-{currency}", 100_000_000 / sats_per_unit, expiry=24 * 3600
    )


async def _nobody_has_one(*_: Any) -> None:
    """Stands for LNbits' look for chats and browsers to tell of a payment.

    It reads the user, their wallets and their subscriptions for each payment and each
    side of it, a fifth of all that a test does, and finds that nobody here has any. The
    servers that tests start as processes look.
    """


@pytest_asyncio.fixture(scope="session")
async def app() -> AsyncIterator[FastAPI]:
    """LNbits, booted, with the extension installed, migrated and started."""
    if core_db.type == SQLITE:
        _keep_one_connection()
    lnbits = create_app()
    async with LifespanManager(lnbits, startup_timeout=300, shutdown_timeout=60):
        settings.first_install = False
        told: Any = notifications
        told.send_chat_payment_notification = _nobody_has_one
        told.send_payment_push_notification = _nobody_has_one
        seed_price("USD", 1_000)
        seed_price("GTQ", 133.3333)
        # Tests plant the prices that sales are compared with; they trade at any rate.
        tasks: Any = importlib.import_module("satmachineadmin.tasks")
        tasks.state.prices = math.inf
        if not any(
            getattr(route, "path", "").startswith("/satmachineadmin/")
            for route in lnbits.routes
        ):
            # LNbits only logs why it could not load an extension: say it here.
            importlib.import_module("satmachineadmin")
            raise AssertionError("LNbits did not register the extension's routes")
        if core_db.type == SQLITE:
            await quick_balances()
        yield lnbits
    await core_db.engine.dispose()


def _keep_one_connection() -> None:
    """LNbits' database on SQLite with a connection that stays open, as ours has it: a
    thread and a file opened for each use were a sixth of what a test of paying cost.
    Servers that tests start as processes have LNbits' own way."""
    ours: Any = importlib.import_module("satmachineadmin.base.database")
    core_db.engine = ours.engine_of_one(core_db.engine)


async def quick_balances() -> None:
    """LNbits' balances asked wallet by wallet, as `host/speed.py` offers it.

    Every test makes wallets and payments of its own, and with LNbits' own view each
    payment sums them all: a fifth of what a run cost. tests/host shows that both say
    the same; servers that tests start as processes, and PostgreSQL, have LNbits' own.
    """
    speed: Any = importlib.import_module("satmachineadmin.host.speed")
    async with core_db.connect() as conn:
        await speed._change(conn, speed.OURS, "")
        await conn.conn.commit()


@pytest.fixture(scope="session", autouse=True)
def the_log_in_words() -> Generator[None, None, None]:
    """Whatever any test writes to the log, both languages have words for."""
    audit: Any = importlib.import_module("satmachineadmin.base.audit")
    entry = audit.AuditEntry

    def checked(**fields: Any) -> Any:
        assert not (missing := screen_words.of_the_log(fields)), missing
        return entry(**fields)

    audit.AuditEntry = checked
    yield
    audit.AuditEntry = entry


@pytest.fixture(scope="session", autouse=True)
def no_server_outside() -> Generator[None, None, None]:
    """What a Lightning address is asked when it is saved gets no answer, wherever tests
    are run: a LNURL of a server that a test started is asked."""
    paying: Any = importlib.import_module("satmachineadmin.host.paying")
    asked = paying.handle

    async def unheard(target: str, **more: Any) -> Any:
        if "@" in target:
            nobody = LnurlResponseException("Nobody is asked in tests.")
            raise nobody from socket.gaierror(socket.EAI_NONAME, "not found")
        return await asked(target, **more)

    paying.handle = unheard
    yield
    paying.handle = asked


@pytest_asyncio.fixture(scope="session")
async def transport(app: FastAPI) -> httpx.ASGITransport:
    """Answers like a server would: an error is a 500, not an exception here."""
    return httpx.ASGITransport(app=app, raise_app_exceptions=False)


@pytest_asyncio.fixture(scope="session")
async def client(transport: httpx.ASGITransport) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who is not logged in."""
    async with httpx.AsyncClient(
        transport=transport, base_url=BASE_URL, timeout=60
    ) as anonymous:
        yield anonymous


async def _enable(user_id: str) -> None:
    # A second row for the same user would be a unique violation.
    if await get_user_extension(user_id, "satmachineadmin"):
        return
    await create_user_extension(
        UserExtension(user=user_id, extension="satmachineadmin", active=True)
    )


def _open(
    user_id: str, username: str, transport: httpx.AsyncBaseTransport
) -> UserSession:
    token = create_access_token({"sub": username, "usr": user_id})
    return open_session(user_id, username, token, BASE_URL, transport, 60)


def _keys(wallet: Wallet) -> WalletKeys:
    return WalletKeys(
        id=wallet.id,
        adminkey=wallet.adminkey,
        inkey=wallet.inkey,
        name=wallet.name,
        lightning_address=wallet.lightning_address or "",
    )


async def _add_wallet(user: UserSession, name: str) -> WalletKeys:
    wallet = await create_wallet(user_id=user.user_id, wallet_name=name)
    keys = _keys(wallet)
    user.wallets.append(keys)
    return keys


@pytest_asyncio.fixture(scope="session")
async def super_session(transport: httpx.ASGITransport) -> AsyncIterator[UserSession]:
    """LNbits' super user, with a password, a wallet and the extension enabled.

    LNbits lets no administrator in who has no password.
    """
    account = await get_account(settings.super_user)
    assert account
    account.hash_password("satoshi-machine")
    await update_account(account)
    session = _open(settings.super_user, "", transport)
    await _enable(session.user_id)
    await _add_wallet(session, "platform")
    yield session
    await session.aclose()


@pytest_asyncio.fixture(scope="session")
async def make_user(transport: httpx.ASGITransport) -> AsyncIterator[MakeUser]:
    """``await make_user("alice")``: a new user, every time, with one wallet.

    The username begins with the name given and is unique. With ``enable=False``
    the extension stays switched off for them.
    """
    sessions: list[UserSession] = []

    async def make(name: str = "user", enable: bool = True) -> UserSession:
        username = f"{name[:10]}{uuid4().hex[:9]}"
        account = Account(id=uuid4().hex, username=username)
        user = await create_user_account_no_ckeck(account)
        session = _open(user.id, username, transport)
        session.wallets = [_keys(wallet) for wallet in user.wallets]
        if enable:
            await _enable(user.id)
        sessions.append(session)
        return session

    yield make
    for session in sessions:
        await session.aclose()


@pytest.fixture(scope="session")
def make_wallet(app: FastAPI) -> MakeWallet:
    """``await make_wallet(user, "name")``: one more wallet of that user."""

    async def make(user: UserSession, name: str = "wallet") -> WalletKeys:
        return await _add_wallet(user, name)

    return make


@pytest.fixture(scope="session")
def fund(app: FastAPI) -> Fund:
    """``await fund(wallet_id, sats)``: mints sats, past LNbits' limits too."""

    async def give(wallet_id: str, amount_sats: int) -> None:
        payment_hash = uuid4().hex + uuid4().hex
        await create_payment(
            checking_id=f"internal_{payment_hash}",
            data=CreatePayment(
                wallet_id=wallet_id,
                bolt11="",
                payment_hash=payment_hash,
                amount_msat=amount_sats * 1000,
                memo="minted by a test",
            ),
            status=PaymentState.SUCCESS,
        )

    return give


@pytest.fixture(scope="session")
def database() -> str:
    """ "sqlite" or "postgres": what this run tests on."""
    return environment.DATABASE


from line_world import lines, make_on_line  # noqa: E402,F401
from surroundings import hush, shop  # noqa: E402,F401
from world import engine_paused, make_world  # noqa: E402,F401
