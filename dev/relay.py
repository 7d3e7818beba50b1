"""A real Nostr relay on this machine, for `make run` and the tests.

It is nostr-sdk's `LocalRelay`: it keeps replaceable events in memory and passes
ephemeral ones on, as relays do. ``python -m dev.relay --port 7777`` runs one until
Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from nostr_sdk import LocalRelay, RateLimit, RelayBuilder, uniffi_set_event_loop

# nostr-sdk's own default, 60 notes a minute, is less than one busy machine needs.
NOTES_PER_MINUTE = 1_000_000
MAX_SUBSCRIPTIONS = 500


class DevRelay:
    """A relay that can be stopped and started again under the same address."""

    def __init__(self, port: int | None = None) -> None:
        self.url = ""
        self._port = port
        self._relay: LocalRelay | None = None

    async def start(self) -> str:
        """Listens on 127.0.0.1 and returns the address."""
        uniffi_set_event_loop(asyncio.get_running_loop())
        builder = (
            RelayBuilder()
            .addr("127.0.0.1")
            .rate_limit(
                RateLimit(max_reqs=MAX_SUBSCRIPTIONS, notes_per_minute=NOTES_PER_MINUTE)
            )
        )
        if self._port:
            builder = builder.port(self._port)
        self._relay = LocalRelay(builder)
        await self._relay.run()
        self.url = str(await self._relay.url()).rstrip("/")
        self._port = int(self.url.rpartition(":")[2])
        return self.url

    def stop(self) -> None:
        """Closes every connection. What the relay kept is gone."""
        if self._relay:
            self._relay.shutdown()
            self._relay = None


async def run(port: int | None) -> None:
    relay = DevRelay(port)
    print(f"Nostr relay: {await relay.start()}", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        relay.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A Nostr relay on 127.0.0.1.")
    parser.add_argument("--port", type=int, help="default: any that is free")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(parser.parse_args().port))


if __name__ == "__main__":
    main()
