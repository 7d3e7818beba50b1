"""The currencies that LNbits knows, and the prices that it has heard."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import NamedTuple

import httpx
from lnbits.utils.cache import cache
from lnbits.utils.exchange_rates import (
    currencies,
    get_fiat_rate_and_price_satoshis,
)
from loguru import logger

# Of a price for a page: so long it is new, and so long it is shown.
NEW_SECONDS = 60
SHOWN = timedelta(minutes=10)


class HeardPrice(NamedTuple):
    """Fiat for one bitcoin, and when LNbits said so."""

    price: float
    at: datetime


_heard: dict[str, HeardPrice] = {}
_asked: dict[str, float] = {}
_asking: dict[str, asyncio.Task[None]] = {}


def is_currency(code: str) -> bool:
    """Whether LNbits knows a currency of this code."""
    return code in currencies


def price_now(fiat_code: str) -> float | None:
    """Fiat for one bitcoin as LNbits last heard: nobody waits for a price here."""
    price = cache.get(f"btc-price-{fiat_code}")
    return round(float(price), 2) if isinstance(price, (int, float)) else None


async def ask_price(fiat_code: str) -> Decimal | None:
    """The same, asked for: it may take seconds, and is None when nobody answers."""
    try:
        _, price = await get_fiat_rate_and_price_satoshis(fiat_code)
    except (httpx.HTTPError, OSError, LookupError, TypeError, ValueError) as exc:
        logger.warning(f"satmachineadmin: no price for {fiat_code}: {exc}")
        return None
    if not isinstance(price, int | float) or not 0 < price < 10**15:
        return None
    return Decimal(repr(price))


def price_for_a_page(fiat_code: str) -> tuple[HeardPrice | None, bool]:
    """What was heard last, and whether LNbits is being asked now: nobody waits for it.

    Asked for in the background, once a minute, whatever the number of pages.
    """
    now = datetime.now(timezone.utc)
    known = price_now(fiat_code)
    if known is not None:
        _heard[fiat_code] = HeardPrice(known, now)
    elif time.monotonic() - _asked.get(fiat_code, -NEW_SECONDS) >= NEW_SECONDS:
        _asked[fiat_code] = time.monotonic()
        task = asyncio.get_running_loop().create_task(_hear(fiat_code))
        _asking[fiat_code] = task
        task.add_done_callback(lambda _: _asking.pop(fiat_code, None))
    heard = _heard.get(fiat_code)
    if heard and now - heard.at > SHOWN:
        heard = None
    return heard, fiat_code in _asking


async def _hear(fiat_code: str) -> None:
    price = await ask_price(fiat_code)
    if price is not None:
        now = datetime.now(timezone.utc)
        _heard[fiat_code] = HeardPrice(round(float(price), 2), now)
