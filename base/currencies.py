"""How many decimals a currency has (ISO 4217), and what follows from it.

Every currency is kept in hundredths. One without decimals is kept so too, and never
with a part of its unit; one with three cannot be kept and is refused.
"""

from __future__ import annotations

from decimal import Decimal

from ..base.refusals import BadInputError
from ..calculations import cents_text

# ISO 4217's minor units where they are not two. static/lib/format.js has the same.
NO_DECIMALS = frozenset(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split()
)
MORE_DECIMALS = {
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}


def decimals(code: str) -> int:
    """The decimals that a currency's own amounts have."""
    return 0 if code in NO_DECIMALS else MORE_DECIMALS.get(code, 2)


def check_currency(code: str) -> None:
    """`BadInputError` for a currency that hundredths cannot hold."""
    places = MORE_DECIMALS.get(code)
    if places:
        raise BadInputError(
            f"{code} has {places} decimal places, and amounts are kept with two: "
            "choose another currency."
        )


def check_amount(amount: Decimal, code: str, what: str) -> None:
    """`BadInputError` for a part of a unit of a currency that has none."""
    if code in NO_DECIMALS and amount != int(amount):
        raise BadInputError(
            f"{what} is {amount}: {code} has no decimal places; write a whole number."
        )


def money(cents: int, code: str) -> str:
    """An amount of minor units as people of that currency write it: "1500 JPY".

    Parts of a unit that has none are shown: they must not be hidden from who looks.
    """
    text = cents_text(cents)
    if code in NO_DECIMALS:
        text = text.removesuffix(".00")
    return f"{text} {code}"
