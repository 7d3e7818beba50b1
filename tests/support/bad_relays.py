"""Three relays that close, throttle, restart, fall silent and lie, by a script.

What they do, and when, follows from a seed alone. Each has a machine that knows no
other relay: what passes from a relay's return until that machine has an answer is
measured (while the server itself is up).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from scripted_relay import ScriptedRelay

from dev.line_client import NoAnswerError

Ask = Callable[[], Awaitable[object]]


@dataclass
class Weather:
    """What one relay goes through, and how long it took to be of use again."""

    relay: ScriptedRelay
    ask: Ask
    server_up_at: Callable[[], float]
    chance: random.Random
    longest_bad_seconds: float = 6
    did: list[str] = field(default_factory=list)
    # seconds, and after what
    answered_after: list[tuple[float, str]] = field(default_factory=list)

    async def blow(self, until: float) -> None:
        """Bad and good by turns; good at the end."""
        kinds = [self.closes, self.refuses, self.throttles, self.restarts]
        kinds += [self.falls_silent, self.drops, self.repeats]
        while time.monotonic() < until:
            kind = self.chance.choice(kinds)
            self.did.append(kind.__name__)
            await kind(self.chance.uniform(1, self.longest_bad_seconds))
            await self.measure(time.monotonic())
            await asyncio.sleep(self.chance.uniform(1, 4))

    async def measure(self, returned_at: float) -> None:
        while True:
            try:
                await self.ask()
            except NoAnswerError:
                continue
            break
        began = max(returned_at, self.server_up_at())
        self.answered_after.append((time.monotonic() - began, self.did[-1]))

    async def closes(self, seconds: float) -> None:
        await self.relay.close_all("error: subscription idle too long")

    async def refuses(self, seconds: float) -> None:
        self.relay.refuses = "restricted: come back later"
        await self.relay.close_all("restricted: come back later")
        await asyncio.sleep(seconds)
        self.relay.refuses = None

    async def throttles(self, seconds: float) -> None:
        self.relay.refuses, self.relay.says_ok = "rate-limited: slow down", False
        await asyncio.sleep(seconds)
        self.relay.refuses, self.relay.says_ok = None, True

    async def restarts(self, seconds: float) -> None:
        await self.relay.stop()
        await asyncio.sleep(seconds)
        await self.relay.start()

    async def falls_silent(self, seconds: float) -> None:
        self.relay.is_mute = True
        await asyncio.sleep(seconds)
        self.relay.is_mute = False

    async def drops(self, seconds: float) -> None:
        """It says OK and passes nothing on."""
        self.relay.loses = 1.0
        await asyncio.sleep(seconds)
        self.relay.loses = 0.0

    async def repeats(self, seconds: float) -> None:
        """Everything three times, and what it took long ago once more."""
        self.relay.copies = 3
        await self.relay.repeat(200)
        await asyncio.sleep(seconds)
        self.relay.copies = 1
