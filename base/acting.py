"""For whom does this request act? Who asks, and the operator they work for.

Ownership stays in the SQL: a request of an operator's staff asks with the operator's
id, and this says who the person behind it is, for the log and for what only one role
may see. Set by `api/route.py` from the session's own row in `dca_staff`, for the length
of one request; outside a request nobody acts for anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

MANAGER, BOOKKEEPER, COLLECTOR = "manager", "bookkeeper", "collector"
ROLES = (MANAGER, BOOKKEEPER, COLLECTOR)


@dataclass(frozen=True)
class Acting:
    """A person, the operator whose rows they ask for, and their role there.

    `machine_ids` are those that a collector was named for; None: all of them.
    """

    person: str
    operator: str
    role: str
    machine_ids: tuple[str, ...] | None = None

    @property
    def is_blind(self) -> bool:
        """Whether sats, fees, LPs and other machines are not theirs to see."""
        return self.role == COLLECTOR

    def may_see(self, machine_id: str | None) -> bool:
        return self.machine_ids is None or machine_id in self.machine_ids


_acting: ContextVar[Acting | None] = ContextVar("satmachine_acting", default=None)


def acting() -> Acting | None:
    """Who acts for whom in this request; None: the caller for themselves."""
    return _acting.get()


def act(for_whom: Acting) -> None:
    """From here on, until the end of the request."""
    _acting.set(for_whom)


@contextmanager
def one_request() -> Iterator[None]:
    """Whatever is set inside ends with it."""
    token = _acting.set(None)
    try:
        yield
    finally:
        _acting.reset(token)


def person_behind(user_id: str) -> str:
    """Who it is that asks with this id: the person who acts for it, or itself."""
    now = _acting.get()
    return now.person if now and now.operator == user_id else user_id


def blind() -> Acting | None:
    """The collector of this request, if it is one's."""
    now = _acting.get()
    return now if now and now.is_blind else None
