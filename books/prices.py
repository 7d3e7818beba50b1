"""The market's price as pages show it: one figure, whichever page it is on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from lnbits.db import Connection

from ..base.rates_crud import newest_prices
from ..host.rates import HeardPrice, price_for_a_page


async def page_prices(
    conn: Connection, codes: Iterable[str], now: datetime
) -> tuple[dict[str, HeardPrice | None], set[str]]:
    """Fiat for one bitcoin and since when, for each currency; None where no price is
    known. And the currencies that LNbits is being asked for: nobody waits for it."""
    found: dict[str, HeardPrice | None] = {}
    asking: set[str] = set()
    kept = await newest_prices(conn, now)
    for code in sorted(set(codes)):
        heard, is_asking = price_for_a_page(code)
        if is_asking:
            asking.add(code)
        if heard is None and code in kept:
            heard = HeardPrice(*kept[code])
        found[code] = heard
    return found, asking
