"""Somebody outside who takes payments by LNURL, with a knob for every misbehaviour.

A loopback HTTP server. Its invoices come from LNbits' own FakeWallet without a row in
LNbits' database, so paying one is a truly external payment: LNbits asks its funding
source, and the money is gone.

    async with LnurlServer() as shop:
        shop.target     # a bech32 LNURL
        shop.is_down = True
"""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlparse

from lnbits.wallets import get_funding_source
from lnurl import encode as lnurl_encode

METADATA = json.dumps([["text/plain", "a shop outside"]])


class LnurlServer:
    def __init__(self) -> None:
        self.min_sats = 1
        self.max_sats = 100_000_000
        self.is_down = False
        self.is_silent = False  # takes the call and never answers
        self.first: str | None = None  # said to who asks what it takes
        self.answer: str | None = None  # said instead of an invoice
        self.ask_more_sats = 0  # makes the invoice out for more than was asked
        self.always_pr: str | None = None  # hands out this one invoice again and again
        self.asked_sats: list[int] = []
        self.calls = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> LnurlServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.target = str(lnurl_encode(f"{self.url}/pay").bech32).lower()
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

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.calls += 1
            if self.is_silent:
                await reader.read()
                return
            body = await self._body(request.split()[1])
            status = "503 Down" if self.is_down else "200 OK"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n"
                f"{body}".encode()
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the caller lost patience
        finally:
            self._open.discard(writer)
            writer.close()

    async def _body(self, path: str) -> str:
        parsed = urlparse(path)
        if parsed.path == "/pay":
            if self.first is not None:
                return self.first
            return json.dumps(
                {
                    "tag": "payRequest",
                    "callback": f"{self.url}/invoice",
                    "minSendable": self.min_sats * 1000,
                    "maxSendable": self.max_sats * 1000,
                    "metadata": METADATA,
                }
            )
        if self.answer is not None:
            return self.answer
        sats = int(parse_qs(parsed.query)["amount"][0]) // 1000
        self.asked_sats.append(sats)
        invoice = self.always_pr or await self.invoice(sats)
        return json.dumps({"pr": invoice, "routes": []})

    async def invoice(self, sats: int) -> str:
        made: Any = await get_funding_source().create_invoice(
            amount=sats + self.ask_more_sats,
            unhashed_description=METADATA.encode(),
        )
        return str(made.payment_request)
