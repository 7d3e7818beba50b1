"""Every point of the money path at which a process can die, discovered by running it.

A point is the moment before and the moment after each coroutine function of the money
path (ours, and LNbits' own payment code), each SQL statement and each commit, wherever
it is awaited from. Nothing is listed by hand: the money path is every module of the
package but those in `NOT_THE_MONEY_PATH`, each with its reason, and every `async def`
of these modules is wrapped wherever any of them has a name for it. So new code has its
points the day it is written, in a new module too.

A process dies at a point by a `BaseException` that no handler of the code under test
catches; from then on every further point, in whatever task, dies too, so that nothing
is committed after death. What a dying process would leave, an uncommitted transaction,
is rolled back as the database would.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from lnbits.core.crud import payments as lnbits_payments_crud
from lnbits.core.services import lnurl as lnbits_lnurl
from lnbits.core.services import payments as lnbits_payments
from lnbits.wallets import fake as lnbits_node
from sqlalchemy.ext.asyncio import AsyncConnection
from world import Killed

import satmachineadmin

from dev import installation

NOT_THE_MONEY_PATH = {
    "base.events": "waits for an event, and changes nothing",
    "base.processes": "asks the kernel which process this is",
    "base.tables": "empties all tables at once: see desk/test_erasing",
    "base.zones": "reads which day it is where somebody is",
    "books.accounting": "reads what was paid, for a CSV",
    "books.opening": "compares an old database's figures, and writes nothing",
    "books.trade_lines": "adds up entries for a CSV, and writes nothing",
    "books.cash": "reads the cash book, for a screen",
    "books.cash_periods": "adds the cash book up, for a file",
    "books.coverage": "reads how much cash there is for LPs, for a screen",
    "books.discounts": "reads codes, for a screen and a file",
    "books.history": "reads how fees and machines were, for the super",
    "books.insight": "adds up what earns, for a screen",
    "books.insight_rows": "says what is added up",
    "books.insight_sums": "keeps sums, for a screen: books/test_insight_sums",
    "books.journal": "reads the journal, for a screen and for files",
    "books.lists": "reads pages for a screen",
    "books.log": "reads what was done, for a screen",
    "books.lp_insight": "adds up what an LP got, for a screen",
    "books.names": "reads what rows are called, for a file",
    "books.operators": "adds up operators, for the super",
    "books.past": "reads a machine's past, for advice on a screen",
    "books.payments": "reads what was paid, for a screen",
    "books.prices": "reads the price for a screen",
    "books.reports": "writes CSV files",
    "books.search": "looks for what somebody typed",
    "books.statement": "writes an LP's statement",
    "books.summaries": "adds up, for a screen",
    "books.webhooks": "reads what an operator's server was told, for a screen",
    "cash.bays": "counts the notes in a machine, for a screen and a warning",
    "cash.bays_crud": "reads for it",
    "cash.pace": "reads history, for advice on a screen",
    "cash.pace_crud": "reads for it",
    "cash.visits": "writes down notes that a person moved: cash/test_conservation",
    "cash.visits_crud": "keeps visits: cash/test_conservation",
    "desk.attention": "reads what waits for a person",
    "desk.attention_crud": "reads what waits for a person",
    "desk.cash_attention": "reads what waits for a person",
    "desk.cash_attention_crud": "reads what waits for a person",
    "desk.cash_sums_crud": "adds notes up, for the reconciliation",
    "desk.courier": "calls operators' servers after the fact: desk/test_webhooks",
    "desk.differences": "holds against each other what was read",
    "books.digest": "adds up a day, for a message",
    "desk.digest": "writes a day's sums to people: desk/test_outbox",
    "desk.erasing": "deletes everything when nothing is owed: desk/test_erasing",
    "desk.erasing_crud": "reads for it",
    "desk.gone": "reads which wallets and accounts are gone, for attention",
    "desk.gone_crud": "reads for it",
    "desk.journal_books": "compares, and posts late: see desk/test_journal_books",
    "desk.journal_books_crud": "reads for it",
    "desk.notices": "tells people what happened",
    "desk.notices_crud": "keeps what people were told",
    "desk.outbox": "sends people what happened, after the fact: desk/test_outbox",
    "desk.outbox_crud": "keeps it until it went",
    "desk.party_news": "tells people what happened",
    "desk.party_news_crud": "reads what happened",
    "desk.platform_attention": "reads what the super is to look at",
    "desk.reconciliation": "compares what was paid with what was owed: pays nothing",
    "desk.reconciliation_crud": "reads for it, and stops a machine: see its tests",
    "desk.restored": "a person's answer to a restored backup: see desk/test_restored",
    "desk.restored_crud": "the same, in SQL",
    "desk.states": "notes when machines fell silent: books/test_history",
    "desk.states_crud": "the same, in SQL",
    "desk.stops": "lets a machine's payouts go on: see desk/test_reconciliation",
    "desk.told": "knows who wants to be told of what",
    "desk.unstamped": "reads what arrived that no machine stamped",
    "desk.webhook_events": "reads what happened, for operators' servers",
    "desk.webhooks": "keeps where an operator is told: no sats",
    "desk.webhooks_crud": "the same, in SQL",
    "host.arrivals": "reads for it",
    "host.limits": "asks what LNbits lets pass",
    "host.notices": "hands messages to LNbits",
    "host.outside": "calls operators' servers: host/test_outside",
    "host.people": "reads who somebody is, and lets an LP see us",
    "host.rates": "reads a price, for a screen",
    "host.speed": "makes LNbits' balances fast, or puts them back: host/test_speed",
    "host.strays": "looks for payments of ours after a start: see desk/test_restored",
    "ledger.before_crud": "writes an older database's journal, in its migration",
    "line.answers": "carries requests to line.calls and line.payout, told here",
    "line.available": "counts the notes that nobody was promised",
    "line.cassettes": "tells a machine what its bays hold: no sats",
    "line.cassettes_crud": "keeps what a machine's bays hold: no sats",
    "line.codes": "reads what a code gives: see line/test_discounts",
    "line.engine": "hears machines, and answers through line.answers",
    "line.funds": "reads how much a customer may bring",
    "line.keys": "keeps the key of the line, not money",
    "line.nostr": "reads and writes events",
    "line.relays": "connects to relays",
    "migrations": "has tests of its own, which kill it after every statement",
    "money.owed_crud": "asks whether anything is owed, for the term of the lease",
    "money.resizing_crud": (
        "after an attempt that failed, what is planned anew: see desk/test_dispense"
    ),
    "money.rush": "waits for customers, and changes nothing",
    "money.strays": "looks for payments of ours after a start: see desk/test_restored",
    "money.targets": "reads what a target means, and pays nothing",
    "parties.discounts_crud": "counts uses of codes, no sats: see line/test_discounts",
    "parties.invitations_crud": "keeps who may be an LP: no sats",
    "parties.lps": "keeps who is an LP and what they prefer: api/test_clients, test_lp",
    "parties.machines": "keeps machines and their settings",
    "parties.machines_crud": "the same, in SQL",
    "parties.preferences_crud": "keeps what people prefer to see",
    "parties.splits": "keeps an operator's splits; they are read at planning",
    "parties.splits_crud": "the same, in SQL",
    "parties.staff_crud": "keeps who works for whom: no sats",
    "views": "serves pages",
    "views_api": "gathers the routers",
}
# who asks, over HTTP, for what the modules below it do
SCREENS = "api."

LNBITS = (lnbits_payments, lnbits_payments_crud, lnbits_lnurl, lnbits_node)

# Only what the story itself set in motion counts: LNbits' own tasks run on beside it.
_in_story: ContextVar[bool] = ContextVar("in_story", default=False)
_place: ContextVar[str] = ContextVar("place", default="the story")


def money_path() -> list[ModuleType]:
    """The package's modules that are not excluded, and LNbits' payment code."""
    package = satmachineadmin.__name__
    names = {
        ".".join(path.relative_to(installation.ROOT).with_suffix("").parts)
        for path in installation.package_sources()
        if path.name != "__init__.py"
    }
    gone = set(NOT_THE_MONEY_PATH) - names
    assert not gone, f"excluded, and there is no such module: {sorted(gone)}"
    ours = {n for n in names if not n.startswith(SCREENS)} - set(NOT_THE_MONEY_PATH)
    found = [importlib.import_module(f"{package}.{name}") for name in sorted(ours)]
    return [*found, *LNBITS]


@dataclass(frozen=True)
class Point:
    """The `nth` time that the story comes by this name (from 1)."""

    name: str
    nth: int

    @property
    def is_lasting(self) -> bool:
        """Whether what stands in a database, or what a node did, differs from the
        point before or the point after: the points in between only lose memory."""
        return " a commit in " in self.name or "FakeWallet." in self.name


class Points:
    """Counts points, and dies at one of them; at None never."""

    def __init__(self) -> None:
        self.start(None)

    def start(self, target: Point | None) -> None:
        self.target = target
        self.is_dead = False
        self.order: list[Point] = []
        self._seen: Counter[str] = Counter()

    def hit(self, name: str) -> None:
        if not _in_story.get():
            return
        if self.is_dead:
            raise Killed
        self._seen[name] += 1
        point = Point(name, self._seen[name])
        self.order.append(point)
        if point == self.target:
            self.is_dead = True
            raise Killed

    @contextmanager
    def story(self) -> Iterator[None]:
        """What runs inside, and every task born inside, has points."""
        token = _in_story.set(True)
        try:
            yield
        finally:
            _in_story.reset(token)


def wrap_everything(
    points: Points, modules: Sequence[ModuleType]
) -> Callable[[], None]:
    """Puts points around the coroutine functions of `modules`; returns the undoing."""
    names = {module.__name__ for module in modules}
    undo: list[tuple[Any, str, Any]] = []
    wrapped: dict[int, Any] = {}

    def wrap(func: Any) -> Any:
        if id(func) not in wrapped:
            wrapped[id(func)] = _with_points(points, func)
        return wrapped[id(func)]

    def replace(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, value))
        setattr(owner, name, wrap(value))

    for module in modules:
        for owner, name, value in coroutine_functions(module, names):
            replace(owner, name, value)
    for method in ("execute", "commit"):
        real = getattr(AsyncConnection, method)
        undo.append((AsyncConnection, method, real))
        setattr(AsyncConnection, method, _statement(points, real, method))

    def restore() -> None:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)

    return restore


def coroutine_functions(
    module: ModuleType, names: set[str]
) -> list[tuple[Any, str, Any]]:
    """(owner, name, function) for the module's functions, imports and methods."""
    found: list[tuple[Any, str, Any]] = []
    for name, value in vars(module).items():
        if inspect.iscoroutinefunction(value) and value.__module__ in names:
            found.append((module, name, value))
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            methods = vars(value).items()
            found += [
                (value, n, f) for n, f in methods if inspect.iscoroutinefunction(f)
            ]
    return found


def _label_of(func: Any) -> str:
    """`payouts.try_to_pay`: what a function is called in the names of points."""
    return f"{func.__module__.removeprefix('satmachineadmin.')}.{func.__qualname__}"


def _with_points(points: Points, func: Callable[..., Awaitable[Any]]) -> Any:
    label = _label_of(func)

    @functools.wraps(func)
    async def run(*args: Any, **kwargs: Any) -> Any:
        points.hit(f"before {label}")
        token = _place.set(label)
        try:
            result = await func(*args, **kwargs)
        finally:
            _place.reset(token)
        points.hit(f"after {label}")
        return result

    return run


def _statement(points: Points, real: Callable[..., Awaitable[Any]], what: str) -> Any:
    async def run(self: AsyncConnection, *args: Any, **kwargs: Any) -> Any:
        place = _place.get()
        points.hit(f"before a {what} in {place}")
        result = await real(self, *args, **kwargs)
        points.hit(f"after a {what} in {place}")
        return result

    return run
