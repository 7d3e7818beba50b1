"""Does this relay listen for us? Our subscriptions at one relay, without the network.

A relay may close a subscription at any time, want a login first, take only so many
subscriptions or so long a filter, or say nothing at all. Each is asked again: at once,
then less often, at last over a new connection; and a relay that has taken a
subscription is asked for it again every minute, because silence looks like peace.

Guaranteed: what is wanted is asked for again until the relay confirms it (`EOSE`), at
least every 15 seconds; the relay's own words are kept for people.
Not guaranteed: that a relay which confirms a subscription sends what belongs to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

REQUESTS, REPORTS = "requests", "reports"
AUTHORS_PER_FILTER = 200
FEWEST_AUTHORS = 25
FILTERS_PER_SUBSCRIPTION = 5
MOST_FILTERS = 100
ANSWER_SECONDS = 10
RENEW_SECONDS = 60
MAX_RETRY_SECONDS = 15
RECONNECT_AFTER_TRIES = 4
MAX_WORDS = 200
SILENT = "it does not answer"
# A relay that wants something else than fewer authors: a login, patience, trust.
NOT_THE_FILTER = ("auth-required", "rate-limit", "restricted", "blocked", "slow down")
TOO_MANY = ("too many", "subscriptions", "concurrent")
# What a NOTICE says that refuses. Any other may be a greeting.
REFUSALS = (*NOT_THE_FILTER, *TOO_MANY, "error", "invalid", "rejected", "filter")

Filter = dict[str, Any]


@dataclass
class _Subscription:
    filters: list[Filter]
    is_open: bool = False
    asked_at: float | None = None  # and not answered yet
    confirmed_at: float = 0.0
    due: float = 0.0
    tries: int = 0


@dataclass
class Listening:
    """What we want from one relay, what it confirmed, and why not. Times are given."""

    authors_per_filter: int = AUTHORS_PER_FILTER
    filters_per_subscription: int = FILTERS_PER_SUBSCRIPTION
    words: str = ""
    deaf_since: float | None = None
    is_connected: bool = False
    _requests: Filter | None = None
    _reports: Filter = field(default_factory=dict)
    _authors: tuple[str, ...] = ()
    _subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    _to_close: list[str] = field(default_factory=list)

    # what we want -----------------------------------------------------------------

    def want(
        self, requests: Filter | None, reports: Filter, authors: Sequence[str]
    ) -> None:
        """Requests to our keys, and what these authors publish."""
        self._requests, self._reports = requests, reports
        self._authors = tuple(authors)
        self._lay_out()

    def _lay_out(self) -> None:
        wanted: dict[str, list[Filter]] = {}
        if self._requests:
            wanted[REQUESTS] = [self._requests]
        filters = [
            {
                **self._reports,
                "authors": list(self._authors[at : at + self.authors_per_filter]),
            }
            for at in range(0, len(self._authors), self.authors_per_filter)
        ]
        step = self.filters_per_subscription
        for part, at in enumerate(range(0, len(filters), step)):
            wanted[f"{REPORTS}-{part}"] = filters[at : at + step]
        for name in [n for n in self._subscriptions if n not in wanted]:
            del self._subscriptions[name]
            self._to_close.append(name)
        for name, found in wanted.items():
            known = self._subscriptions.get(name)
            if known is None:
                self._subscriptions[name] = _Subscription(found)
            elif known.filters != found:
                known.filters, known.asked_at, known.due = found, None, 0.0
                known.confirmed_at = 0.0

    # what it says -----------------------------------------------------------------

    def connected(self, now: float) -> None:
        """A new connection knows nothing of what was asked before."""
        self.is_connected = True
        self._to_close.clear()
        for subscription in self._subscriptions.values():
            subscription.is_open, subscription.asked_at = False, None
            subscription.due, subscription.tries = now, 0
        self._judge(now)

    def disconnected(self) -> None:
        self.is_connected, self.deaf_since = False, None

    def logged_in(self, now: float) -> None:
        """The login was sent, or taken: what was refused for want of it is asked for at
        once. Not every relay says that it took it; what it reads next, it reads after.
        """
        for subscription in self._subscriptions.values():
            if not subscription.is_open:
                subscription.asked_at, subscription.due = None, now

    def confirmed(self, name: str, now: float) -> None:
        """EOSE: the relay has this subscription."""
        subscription = self._subscriptions.get(name)
        if subscription is None:
            return
        subscription.is_open, subscription.asked_at = True, None
        subscription.confirmed_at, subscription.tries = now, 0
        self._judge(now)

    def closed(self, name: str, words: str, now: float) -> None:
        subscription = self._subscriptions.get(name)
        if subscription is None:
            return
        self.words = words[:MAX_WORDS] or "it gave no reason"
        self._failed(subscription, now)
        if name.startswith(REPORTS):
            self._ask_for_less(words.lower())
        self._judge(now)

    def noticed(self, words: str, now: float) -> None:
        """Older relays refuse a subscription in a NOTICE, without saying which: all
        that wait for an answer are asked for again, and for less."""
        asked = [s for s in self._subscriptions.values() if s.asked_at is not None]
        if not asked:
            return
        self.words = words[:MAX_WORDS]
        said = words.lower()
        if not any(refusal in said for refusal in REFUSALS):
            return
        for subscription in asked:
            self._failed(subscription, now)
        if len(self._subscriptions) > 1:
            self._ask_for_less(said)

    def _failed(self, subscription: _Subscription, now: float) -> None:
        subscription.is_open, subscription.asked_at = False, None
        subscription.due = now + min(2**subscription.tries, MAX_RETRY_SECONDS)
        subscription.tries += 1

    def _ask_for_less(self, words: str) -> None:
        if any(reason in words for reason in NOT_THE_FILTER):
            return
        if "too many filters" in words:
            self.filters_per_subscription = max(1, self.filters_per_subscription // 2)
        elif any(reason in words for reason in TOO_MANY):
            more = self.filters_per_subscription * 4
            self.filters_per_subscription = min(more, MOST_FILTERS)
        else:
            fewer = self.authors_per_filter // 2
            self.authors_per_filter = max(fewer, FEWEST_AUTHORS)
        self._lay_out()

    def _judge(self, now: float) -> None:
        if self.is_listening:
            self.deaf_since, self.words = None, ""
        elif self.deaf_since is None and self.is_connected:
            self.deaf_since = now

    # what follows -----------------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        return self.is_connected and all(
            subscription.is_open for subscription in self._subscriptions.values()
        )

    @property
    def open_count(self) -> int:
        return sum(s.is_open for s in self._subscriptions.values())

    @property
    def wanted_count(self) -> int:
        return len(self._subscriptions)

    def messages(self, now: float) -> list[str]:
        """What is to be said to the relay now, as JSON; then it counts as said."""
        if not self.is_connected:
            return []
        said = [json.dumps(["CLOSE", name]) for name in self._to_close]
        self._to_close.clear()
        for name, subscription in self._subscriptions.items():
            self._give_up_waiting(subscription, now)
            if subscription.asked_at is None and self._is_due(subscription, now):
                subscription.asked_at = now
                said.append(json.dumps(["REQ", name, *subscription.filters]))
        self._judge(now)
        return said

    def _give_up_waiting(self, subscription: _Subscription, now: float) -> None:
        asked_at = subscription.asked_at
        if asked_at is not None and now - asked_at > ANSWER_SECONDS:
            self.words = self.words or SILENT
            self._failed(subscription, now)

    @staticmethod
    def _is_due(subscription: _Subscription, now: float) -> bool:
        if subscription.is_open:
            return now - subscription.confirmed_at > RENEW_SECONDS
        return subscription.due <= now

    def must_reconnect(self) -> bool:
        """Whether this connection has been asked in vain often enough."""
        return any(
            s.tries >= RECONNECT_AFTER_TRIES and not s.is_open
            for s in self._subscriptions.values()
        )
