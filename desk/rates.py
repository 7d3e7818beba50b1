"""Is a rate fair? What a machine's own sales and the market's price say of it.

Rates are sats for one unit of fiat. Nothing is asked of the network here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from lnbits.db import Connection

from .. import bitspire
from ..base import rates_crud
from ..host.rates import price_now
from ..models import Machine

# A rate this much below what is known takes from an LP: it needs their yes.
LEAST_SHARE = Fraction(9, 10)
# One this much above takes from the operator: most often a point in the wrong place.
FAR_ABOVE = 3


@dataclass(frozen=True)
class KnownRates:
    """What a rate is compared with; None where it is not known."""

    usual: Fraction | None = None
    market: Fraction | None = None

    @property
    def known(self) -> list[Fraction]:
        return [rate for rate in (self.usual, self.market) if rate]

    def takes_from_lp(self, rate: Decimal) -> bool:
        """More than 10 % below the usual rate, or the market's."""
        return any(Fraction(rate) < known * LEAST_SHARE for known in self.known)

    def takes_from_operator(self, rate: Decimal) -> bool:
        """More than three times the usual rate, or the market's."""
        return any(Fraction(rate) > known * FAR_ABOVE for known in self.known)


async def known_rates(conn: Connection, machine: Machine, at: datetime) -> KnownRates:
    """What is compared of a machine at this time. An operator may switch off that sales
    are compared with the market; what is owed to an LP is compared all the same."""
    days = await rates_crud.usual_rates(conn, machine.id, at)
    days = [rate for rate in days if rate > 0]
    market = await rates_crud.market_rate(conn, machine, at) or _heard(machine)
    return KnownRates(bitspire.median_rate(days) if days else None, market)


def _heard(machine: Machine) -> Fraction | None:
    """By the price that LNbits has heard, where none was kept yet."""
    price = price_now(machine.fiat_code)
    if not price or price <= 0:
        return None
    return rates_crud.SATS / (Fraction(price) * Fraction(machine.market_factor))
