"""A simulated bitSpire that uses LNbits' HTTP API with its wallet's admin key.

A machine of this kind needs no pairing: the key proves it. It stamps the invoice
that a customer pays (cash-out), or its payment of the customer's invoice (cash-in),
and never speaks to the extension: what is settled, the extension reads off the
payments alone.

    machine = HttpMachine(client, wallet, quote)
    await machine.cash_out(customer_wallet, {100: 7, 50: 1}, sats_per_unit)
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import uuid4

import httpx

from .accounts import WalletKeys, answer

Bills = Mapping[int, int]
QUETZAL_BILLS = (200, 100, 50, 20)


def _sats(amount: Decimal) -> int:
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


@dataclass(frozen=True)
class Quote:
    """The fee fractions that the machine was set up with, by direction.

    (platform, operator): each share is rounded by itself, as the back office does.
    """

    cash_out: tuple[Decimal, Decimal]
    cash_in: tuple[Decimal, Decimal]
    fiat_code: str = "GTQ"

    def fee_sats(self, tx_type: str, principal_sats: int) -> int:
        fractions = self.cash_out if tx_type == "cash_out" else self.cash_in
        return sum(_sats(principal_sats * fraction) for fraction in fractions)


@dataclass(frozen=True)
class Trade:
    """What the machine did, in its own words."""

    tx_type: str
    payment_hash: str
    fiat_amount: int
    principal_sats: int
    fee_sats: int
    txid: str


def value_of(bills: Bills) -> int:
    """Whole units of fiat."""
    return sum(denomination * count for denomination, count in bills.items())


def pick_bills(chance: random.Random, most: int = 8) -> Bills:
    """One to `most` bills, as they come out of a purse."""
    picked = chance.choices(QUETZAL_BILLS, (2, 4, 2, 1), k=chance.randint(1, most))
    return {bill: picked.count(bill) for bill in QUETZAL_BILLS if bill in picked}


@dataclass
class HttpMachine:
    """`client` speaks to LNbits and carries no login: the wallet's keys do."""

    client: httpx.AsyncClient
    wallet: WalletKeys
    quote: Quote
    name: str = ""
    trades: list[Trade] = field(default_factory=list)

    def _stamp(
        self, tx_type: str, bills: Bills, sats_per_unit: Decimal
    ) -> dict[str, Any]:
        fiat = value_of(bills)
        principal_sats = _sats(fiat * sats_per_unit)
        return {
            "source": "bitspire",
            "tx_type": tx_type,
            "principal_sats": principal_sats,
            "fee_sats": self.quote.fee_sats(tx_type, principal_sats),
            "fiat_amount": f"{fiat}.00",
            "fiat_code": self.quote.fiat_code,
            "exchange_rate": float(sats_per_unit),
            "txid": uuid4().hex[:8],
            "bills": {str(bill): count for bill, count in bills.items()},
        }

    def _done(self, stamp: dict[str, Any], payment_hash: str) -> Trade:
        trade = Trade(
            tx_type=stamp["tx_type"],
            payment_hash=payment_hash,
            fiat_amount=int(Decimal(stamp["fiat_amount"])),
            principal_sats=stamp["principal_sats"],
            fee_sats=stamp["fee_sats"],
            txid=stamp["txid"],
        )
        self.trades.append(trade)
        return trade

    async def _payments(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        return answer(
            await self.client.post(
                "/api/v1/payments", headers={"X-Api-Key": key}, json=body, timeout=60
            )
        )

    async def offer(
        self, bills: Bills, sats_per_unit: Decimal, **changes: Any
    ) -> tuple[str, Trade]:
        """The stamped invoice that a customer who wants cash is to pay.

        `changes` override fields of the stamp, for machines that misbehave; the
        invoice's amount is principal + fee as the stamp then has them.
        """
        stamp = {**self._stamp("cash_out", bills, sats_per_unit), **changes}
        made = await self._payments(
            self.wallet.inkey,
            {
                "out": False,
                "unit": "sat",
                "amount": stamp["principal_sats"] + stamp["fee_sats"],
                "memo": f"{stamp['fiat_amount']} {stamp['fiat_code']} at {self.name}",
                "extra": stamp,
            },
        )
        return str(made["bolt11"]), self._done(stamp, made["payment_hash"])

    async def cash_out(
        self,
        customer: WalletKeys,
        bills: Bills,
        sats_per_unit: Decimal,
        **changes: Any,
    ) -> Trade:
        """Sells cash: a customer of the same LNbits pays the stamped invoice."""
        bolt11, trade = await self.offer(bills, sats_per_unit, **changes)
        await self._payments(customer.adminkey, {"out": True, "bolt11": bolt11})
        return trade

    async def cash_in(
        self,
        customer: WalletKeys,
        bills: Bills,
        sats_per_unit: Decimal,
        **changes: Any,
    ) -> Trade:
        """Buys cash: pays the customer's invoice of principal - fee, stamped."""
        stamp = {**self._stamp("cash_in", bills, sats_per_unit), **changes}
        invoice = await self._payments(
            customer.inkey,
            {
                "out": False,
                "unit": "sat",
                "amount": stamp["principal_sats"] - stamp["fee_sats"],
                "memo": "sats for cash",
            },
        )
        paid = await self._payments(
            self.wallet.adminkey,
            {"out": True, "bolt11": invoice["bolt11"], "extra": stamp},
        )
        return self._done(stamp, paid["payment_hash"])
