"""How much of the server's time may a key have?

Guaranteed: an unknown key costs a look-up a second, whatever it sends; a registered one
that is not paired, a short message a second; a paired one what its outbox needs at a
time, and then it waits, and nobody else does. What is too much is not even parsed.
Discount codes are not found by trying: after so many that gave nothing, a machine's
are not looked at for a while, right ones neither.
Not guaranteed: that a relay sends no more than is read. nostr-sdk has received it, and
checked its signature on threads of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

UNPAIRED_PER_SECOND = 1.0
UNPAIRED_AT_ONCE = 5.0
# 1 kB in NIP-44 is 1 520 characters; the rest is the event around it.
UNPAIRED_EVENT_CHARACTERS = 2_300
PAIRED_PER_SECOND = 10.0
PAIRED_AT_ONCE = 200.0
# Codes that gave nothing, of one machine's customers: they mistype, and try again.
BAD_CODES_PER_SECOND = 1 / 60
BAD_CODES_AT_ONCE = 20.0
STRANGER_SECONDS = 1.0
MAX_KEYS = 10_000

# Not within a string: its quotes would be escaped there.
_PUBKEY = re.compile(r'"pubkey":\s*"([0-9a-f]{64})"')


def claimed_key(event_json: str) -> str | None:
    """Whose event this says it is, without reading it."""
    found = _PUBKEY.search(event_json)
    return found.group(1) if found else None


@dataclass
class _Bucket:
    tokens: float
    at: float


@dataclass
class Budget:
    """Tokens of each key: so many at once, so many a second. Times are given."""

    per_second: float
    at_once: float
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def _filled(self, key: str, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= MAX_KEYS:
                self._buckets.clear()
            bucket = self._buckets[key] = _Bucket(self.at_once, now)
        gained = max(0.0, now - bucket.at) * self.per_second
        bucket.tokens, bucket.at = min(self.at_once, bucket.tokens + gained), now
        return bucket

    def has(self, key: str, now: float) -> bool:
        """Whether the key may have one now; it takes none."""
        return self._filled(key, now).tokens >= 1

    def take(self, key: str, now: float) -> bool:
        """One message now, if the key may have one."""
        bucket = self._filled(key, now)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def wait_seconds(self, key: str, now: float) -> float:
        """Takes one message in any case, and says how long it has to wait for it."""
        bucket = self._filled(key, now)
        bucket.tokens -= 1
        return max(0.0, -bucket.tokens / self.per_second)


@dataclass
class Strangers:
    """Keys that were looked up a moment ago and belong to nobody here."""

    _until: dict[str, float] = field(default_factory=dict)

    def add(self, key: str, now: float) -> None:
        if len(self._until) >= MAX_KEYS:
            self._until.clear()
        self._until[key] = now + STRANGER_SECONDS

    def is_known_stranger(self, key: str, now: float) -> bool:
        return self._until.get(key, 0.0) > now
