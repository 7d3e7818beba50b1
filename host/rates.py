"""The currencies that LNbits knows, and the prices that it has heard."""

from __future__ import annotations

from decimal import Decimal

import httpx
from lnbits.utils.cache import cache
from lnbits.utils.exchange_rates import (
    currencies,
    get_fiat_rate_and_price_satoshis,
)
from loguru import logger


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
