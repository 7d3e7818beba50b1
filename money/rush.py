"""A rush of customers: they pay first, and then everybody is paid at once.

LNbits has one connection to its database at a time, and whoever pays out in a rush
takes it from the customers at the machines. What lands meanwhile goes to the same
receivers: paid after the rush, it is one payment for each of them and not one for each
sale. Guaranteed: one sale alone waits for nobody, and nobody waits longer than
`LONGEST_SECONDS` at a time, with as much time to pay in between. A sale may be the
first of a rush: until that is known, only a few receivers are paid at a time, or the
second customer would have to wait for all of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

# two sales within this time are a rush, and it is over when none has come for so long,
# or for twice as long as the last ones came apart: a slow server's customers are slow
BURST_GAP_SECONDS = 1.0
QUIET_PERIOD_SECONDS = 0.3
LOOK_BACK = 4
# a test that kills a server while it pays does without
MAX_WAIT_SECONDS = float(os.environ.get("SATMACHINE_RUSH_SECONDS", "10"))
POLL_SECONDS = 0.03
# how many receivers are paid together while a sale may be the first of a rush
PROBE_BATCH_SIZE = 3


class PayoutDebouncer:
    """What lands in this process, as it comes: other processes have other customers."""

    def __init__(self) -> None:
        self._landed: deque[float] = deque(maxlen=LOOK_BACK)
        self._patient_from = 0.0
        self._few_for = 0.0

    def landed(self) -> None:
        """A sale has landed."""
        self._landed.append(time.monotonic())

    def is_on(self) -> bool:
        """Whether customers are coming one after another just now."""
        apart = self._apart()
        return bool(apart) and (
            apart[-1] < BURST_GAP_SECONDS
            and time.monotonic() - self._landed[-1] < self._quiet(apart)
        )

    def should_defer(self) -> bool:
        """Whether customers are coming, and whoever is owed still has patience."""
        return self.is_on() and time.monotonic() >= self._patient_from

    def take_batch_limit(self) -> int | None:
        """How many receivers to pay together now; None for all of them.

        A sale alone is asked about once: the next round after it is for everybody.
        """
        if not self._landed or not MAX_WAIT_SECONDS:
            return None
        if self.is_on():
            # it began while the first sale was planned, or has had its patience
            return PROBE_BATCH_SIZE if self.should_defer() else None
        apart, last = self._apart(), self._landed[-1]
        is_alone = not apart or apart[-1] >= BURST_GAP_SECONDS
        is_new = time.monotonic() - last < BURST_GAP_SECONDS
        is_first_round = is_new and self._few_for < last
        self._few_for = last
        return PROBE_BATCH_SIZE if is_alone and is_first_round else None

    def _apart(self) -> list[float]:
        """Seconds between the last sales, the newest last."""
        return [
            self._landed[i] - self._landed[i - 1] for i in range(1, len(self._landed))
        ]

    @staticmethod
    def _quiet(apart: list[float]) -> float:
        slow = max(x for x in apart if x < BURST_GAP_SECONDS)
        return min(max(QUIET_PERIOD_SECONDS, 2 * slow), BURST_GAP_SECONDS)

    async def wait_until_quiet(
        self, meanwhile: Callable[[], Awaitable[Any]] | None = None
    ) -> None:
        """Returns when the rush is over, or has lasted for as long as one may wait.

        `meanwhile` is done each time that something has landed: what takes nothing
        from the customers.
        """
        until = time.monotonic() + MAX_WAIT_SECONDS
        seen = 0.0
        while self.should_defer():
            if time.monotonic() >= until:
                self._patient_from = time.monotonic() + MAX_WAIT_SECONDS
                return
            if meanwhile and seen != self._landed[-1]:
                seen = self._landed[-1]
                await meanwhile()
            else:
                await asyncio.sleep(POLL_SECONDS)


debouncer = PayoutDebouncer()
