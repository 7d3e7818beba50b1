"""An operator's own server that takes a webhook, with a knob for every misbehaviour.

async with Receiver() as shop:
    await operator.api.put("/webhook", json={"url": shop.url})
    shop.how = "500"        # from now on
    shop.told               # the calls so far
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any

REDIRECT = "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
ANSWERS = {
    "ok": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "500": "HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\n<b>no</b>\n",
    "garbage": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n\x01\x02\x07zz\x00",
    "no http": "SSH-2.0-OpenSSH_9.2\r\n",
    "half": "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nonly this",
    "nothing": "",
}


@dataclass(frozen=True)
class Call:
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def type(self) -> str:
        return str(self.event["type"])


class Receiver:
    def __init__(self, how: str = "ok") -> None:
        # of ANSWERS; "silent", "endless", "drip", "redirect", or "down"
        self.how = how
        self.redirect_to = ""
        self.calls: list[Call] = []
        self.refuses: str | None = None  # a type of event that is a 500
        self.under_way = self.most_under_way = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Receiver:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/hook?key=5"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server
        self._server.close()
        for writer in list(self._open):
            writer.close()

    def told(self, kind: str = "") -> list[dict[str, Any]]:
        """The events of calls so far, of one type or of all."""
        return [call.event for call in self.calls if kind in ("", call.type)]

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.how == "down":
                return
            call = await self._read(reader)
            self.calls.append(call)
            await self._answer(call, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the caller lost patience
        finally:
            self.under_way -= 1
            self._open.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Call:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        assert head[0].startswith("POST "), head
        pairs = [line.split(": ", 1) for line in head[1:] if line]
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        return Call(headers, body)

    async def _answer(
        self, call: Call, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        how = "500" if self.refuses and call.type == self.refuses else self.how
        if how == "silent":
            await reader.read()
        elif how in ("endless", "drip"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * (1 if how == "drip" else 10_000))
                await writer.drain()
                await asyncio.sleep(0.02)
        elif how == "redirect":
            writer.write(REDIRECT.format(to=self.redirect_to).encode())
        else:
            writer.write(ANSWERS[how].encode("latin-1"))
        await writer.drain()
