"""Discount codes that customers type at a machine.

Guaranteed: whoever tries codes learns one a minute at most, machine by machine, after
the first few: then they are not looked at, and a right one is refused like any other.
Not guaranteed: that this outlives the process; another begins with the first few.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from ..base.database import db
from ..bitspire import FeeFractions
from ..calculations import FeeTerms
from ..models import Machine, utc_now
from ..parties import discounts_crud
from ..parties.discounts_crud import PLATFORM, Discount, NoDiscountError
from .budget import BAD_CODES_AT_ONCE, BAD_CODES_PER_SECOND, Budget
from .nostr import LineError

# what is left of each machine's wrong codes
tries = Budget(BAD_CODES_PER_SECOND, BAD_CODES_AT_ONCE)


async def read_code(machine: Machine, body: Mapping[str, Any]) -> Discount | None:
    """The discount that the customer's code gives now; None without a code."""
    code = body.get("code")
    if code is None or code == "":
        return None
    if not tries.has(machine.id, time.monotonic()):
        raise LineError(
            "bad_code",
            "Too many codes gave no discount at this machine: try again in a minute.",
        )
    try:
        async with db.connect() as conn:
            return await discounts_crud.in_force(conn, machine, code, utc_now())
    except NoDiscountError as exc:
        # counted before the answer goes out: requests come side by side
        tries.take(machine.id, time.monotonic())
        raise bad_code() from exc


def bad_code() -> LineError:
    """The same for unknown, used up and over: whoever guesses learns nothing."""
    return LineError("bad_code", "This code gives no discount.")


def fractions_with(fractions: FeeFractions, discount: Discount | None) -> FeeFractions:
    """The owner's fee less what its code takes off it."""
    if discount is None:
        return fractions
    if discount.owner == PLATFORM:
        return replace(fractions, platform_discount=discount.fraction)
    return replace(fractions, operator_discount=discount.fraction)


def of_discount(discount: Discount | None, terms: FeeTerms) -> dict[str, Any]:
    """What of the fee the code takes off: a share of the platform's part, or of the
    operator's fraction and fixed fee."""
    if discount is None:
        return {}
    return {
        "code": discount.code,
        "platform_discount": f"{terms.platform_discount:.4f}",
        "operator_discount": f"{terms.operator_discount:.4f}",
    }


async def keep(machine: Machine, txid: str) -> None:
    """The use of this txid counts until its invoice, made now, has expired."""
    expires_at = utc_now() + timedelta(minutes=machine.invoice_expiry_minutes)
    try:
        await discounts_crud.hold(machine.id, txid, expires_at)
    except NoDiscountError as exc:
        raise bad_code() from exc
