"""The currencies that LNbits knows, and the prices that it has heard."""

from __future__ import annotations

from lnbits.utils.cache import cache
from lnbits.utils.exchange_rates import currencies


def is_currency(code: str) -> bool:
    """Whether LNbits knows a currency of this code."""
    return code in currencies


def price_now(fiat_code: str) -> float | None:
    """Fiat for one bitcoin as LNbits last heard: nobody waits for a price here."""
    price = cache.get(f"btc-price-{fiat_code}")
    return round(float(price), 2) if isinstance(price, (int, float)) else None
