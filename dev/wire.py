"""A line to the outside that a test can hold.

`Wire` stands between LNbits and its funding source. Held, it delivers requests and
keeps the answers: the node has paid, and nobody here knows.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Wire:
    """Relays TCP from a free port to `port`; `hold()` keeps back what comes back."""

    def __init__(self, port: int) -> None:
        self.target_port = port
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.asked_to_pay = asyncio.Event()
        self.server: asyncio.Server | None = None
        self.tasks: set[asyncio.Task] = set()

    async def open(self) -> Wire:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    @property
    def url(self) -> str:
        if self.server is None:
            raise RuntimeError("open the wire first")
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def hold(self) -> None:
        self.asked_to_pay.clear()
        self.flowing.clear()

    def release(self) -> None:
        self.flowing.set()

    async def close(self) -> None:
        self.release()
        for task in list(self.tasks):
            task.cancel()
        if self.server:
            self.server.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            far = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.close()
            return
        for coro in (self._there(reader, far[1]), self._back(far[0], writer)):
            task = asyncio.create_task(coro)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _there(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if b"bolt11" in data and b'"out"' in data:
                    self.asked_to_pay.set()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
