"""Every point of the money path at which a process can die, discovered by running it.

A point is the moment before and the moment after each coroutine function of the money
path (ours and LNbits' own payment code), each SQL statement and each commit. Nothing is
listed by hand: every `async def` of the modules is wrapped wherever any of them has a
name for it, so new code has its points the day it is written.

A process dies at a point by a `BaseException` that no handler of the code under test
catches; from then on every further point, in whatever task, dies too, so that nothing
is committed after death. What a dying process would leave, an uncommitted transaction,
is rolled back as the database would.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection
from world import Killed

# Only what the story itself set in motion counts: LNbits' own tasks run on beside it.
_in_story: ContextVar[bool] = ContextVar("in_story", default=False)


class Points:
    """Counts points, and dies at the `target`-th; 0 never dies."""

    def __init__(self) -> None:
        self.target = 0
        self.passed = 0
        self.is_dead = False
        self.died_at = ""
        self.order: list[str] = []

    def start(self, target: int = 0) -> None:
        self.target, self.passed = target, 0
        self.is_dead, self.died_at = False, ""
        self.order = []

    def hit(self, name: str) -> None:
        if not _in_story.get():
            return
        if self.is_dead:
            raise Killed
        self.passed += 1
        self.order.append(name)
        if self.passed == self.target:
            self.is_dead, self.died_at = True, name
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
        for owner, name, value in _coroutine_functions(module, names):
            replace(owner, name, value)
    for method in ("execute", "commit"):
        real = getattr(AsyncConnection, method)
        undo.append((AsyncConnection, method, real))
        setattr(AsyncConnection, method, _statement(points, real, method))

    def restore() -> None:
        for owner, name, value in reversed(undo):
            setattr(owner, name, value)

    return restore


def _coroutine_functions(
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


def _with_points(points: Points, func: Callable[..., Awaitable[Any]]) -> Any:
    label = f"{func.__module__.removeprefix('satmachineadmin.')}.{func.__qualname__}"

    @functools.wraps(func)
    async def run(*args: Any, **kwargs: Any) -> Any:
        points.hit(f"before {label}")
        result = await func(*args, **kwargs)
        points.hit(f"after {label}")
        return result

    return run


def _statement(points: Points, real: Callable[..., Awaitable[Any]], what: str) -> Any:
    async def run(self: AsyncConnection, *args: Any, **kwargs: Any) -> Any:
        points.hit(f"before a {what}")
        result = await real(self, *args, **kwargs)
        points.hit(f"after a {what}")
        return result

    return run
