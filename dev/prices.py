"""A rate provider for LNbits on this machine: no demo asks the network for prices.

``GET /GTQ`` answers with the price of one bitcoin as plain text, which is the
simplest form that LNbits' settings can name. The price walks a little.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

# Units of fiat for one bitcoin; nobody's quote, only the right order of size.
BTC_PRICE = {"GTQ": 750_000, "USD": 97_600, "EUR": 84_000}


class Prices:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._level = 1.0
        self.url = ""

    def walk(self) -> None:
        """One step of at most 0.3 %, held within 10 % of where it began."""
        step = 1 + self._chance.uniform(-0.003, 0.003)
        self._level = min(1.1, max(0.9, self._level * step))

    def btc(self, currency: str) -> int:
        return round(BTC_PRICE[currency] * self._level)

    def sats_per_unit(self, currency: str) -> Decimal:
        price = Decimal(100_000_000) / self.btc(currency)
        return price.quantize(Decimal("0.0001"))

    def provider(self) -> dict[str, Any]:
        """What LNbits' setting `lnbits_exchange_rate_providers` lists."""
        return {
            "name": "Demo",
            "api_url": self.url + "/{TO}",
            "path": "",
            "exclude_to": [],
            "ticker_conversion": [],
        }

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            currency = request.split(b" ")[1].strip(b"/").decode().upper()
            known = currency in BTC_PRICE
            body = str(self.btc(currency)) if known else "unknown currency"
            status = "200 OK" if known else "404 Not Found"
            head = (
                f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            writer.write((head + body).encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, IndexError, ConnectionError):
            pass  # not a request we answer
        finally:
            writer.close()


@asynccontextmanager
async def serve_prices(chance: random.Random) -> AsyncIterator[Prices]:
    """Prices, served on a free port of the loopback interface within the block."""
    prices = Prices(chance)
    server = await asyncio.start_server(prices._answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        prices.url = f"http://127.0.0.1:{port}"
        yield prices
