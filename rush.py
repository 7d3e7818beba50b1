"""A rush of customers: they pay first, and then everybody is paid at once.

LNbits has one connection to its database at a time, and whoever pays out in a rush
takes it from the customers at the machines. What lands meanwhile goes to the same
receivers: paid after the rush, it is one payment for each of them and not one for each
sale. Guaranteed: one sale alone waits for nobody, and nobody waits longer than
`LONGEST_SECONDS` at a time, with as much time to pay in between.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

# two sales within this time are a rush, and it is over when none has come for so long
TWO_WITHIN_SECONDS = 1.0
QUIET_SECONDS = 0.3
# a test that kills a server while it pays does without
LONGEST_SECONDS = float(os.environ.get("SATMACHINE_RUSH_SECONDS", "3"))
LOOK_SECONDS = 0.03


class Rush:
    """What lands in this process, as it comes: other processes have other customers."""

    def __init__(self) -> None:
        self._landed: deque[float] = deque(maxlen=2)
        self._patient_from = 0.0

    def landed(self) -> None:
        """A sale has landed."""
        self._landed.append(time.monotonic())

    def is_on(self) -> bool:
        """Whether customers are coming one after another just now."""
        if len(self._landed) < 2:
            return False
        last_but_one, last = self._landed
        return (
            last - last_but_one < TWO_WITHIN_SECONDS
            and time.monotonic() - last < QUIET_SECONDS
        )

    async def over(self, meanwhile: Callable[[], Awaitable[Any]] | None = None) -> None:
        """Returns when the rush is over, or has lasted for as long as one may wait.

        `meanwhile` is done each time that something has landed: what takes nothing
        from the customers.
        """
        until = time.monotonic() + LONGEST_SECONDS
        seen = 0.0
        while self.is_on() and time.monotonic() >= self._patient_from:
            if time.monotonic() >= until:
                self._patient_from = time.monotonic() + LONGEST_SECONDS
                return
            if meanwhile and seen != self._landed[-1]:
                seen = self._landed[-1]
                await meanwhile()
            else:
                await asyncio.sleep(LOOK_SECONDS)


rush = Rush()
