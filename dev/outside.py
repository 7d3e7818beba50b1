"""The Lightning network outside, without a node: a second LNbits.

Server A is the one with our extension. Its funding source is a wallet on server
B, so whatever is paid between A and another wallet of B truly leaves or enters A:
A knows nothing of it but what its funding source says. Stopping B is an outage of
the node.

    pair = await start_pair(folder)
    pair.a, pair.b              the two servers
    pair.a_super, pair.b_super  logged in
    pair.customer               a wallet of B with sats: somebody outside
    lnurl_of(pair.b, wallet)    an LNURL that B serves for a wallet of B

Not simulated: routing fees and routes. B charges nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from lnurl import encode as lnurl_encode

from .accounts import (
    UserSession,
    WalletKeys,
    answer,
    create_wallet,
    credit,
    enable_extension,
    first_install,
)
from .server import HOST, Server, start

NODE_SATS = 5_000_000
CUSTOMER_SATS = 5_000_000


@dataclass
class Pair:
    a: Server
    b: Server
    a_super: UserSession
    b_super: UserSession
    node: WalletKeys
    customer: WalletKeys

    async def stop(self) -> None:
        await self.a_super.aclose()
        await self.b_super.aclose()
        await self.a.stop()
        await self.b.stop()


def lnurl_of(server: Server, wallet: WalletKeys) -> str:
    """The bech32 LNURL of a wallet's Lightning address on that server.

    The form ``name@host:port`` is one that the lnurl library refuses.
    """
    url = f"{server.url}/.well-known/lnurlp/{wallet.lightning_address}"
    return str(lnurl_encode(url).bech32)


async def start_pair(
    folder: Path,
    *,
    database_url: str | None = None,
    domain: str = HOST,
    env: Mapping[str, str] | None = None,
    endpoint_of: Callable[[Server], Awaitable[str]] | None = None,
) -> Pair:
    """Starts B, then A funded by it. `database_url` and `domain` are A's.

    B is on SQLite. `env` are more settings of A; `endpoint_of(b)` may put a line
    between A and B.
    """
    b = await start(folder / "outside", with_extension=False).ready()
    b_super = await first_install(b.url)
    node = await create_wallet(b_super, "node of A")
    customer = await create_wallet(b_super, "customer")
    await credit(b_super, node.id, NODE_SATS)
    await credit(b_super, customer.id, CUSTOMER_SATS)
    a = start(
        folder / "inside",
        database_url=database_url,
        domain=domain,
        env={
            "LNBITS_BACKEND_WALLET_CLASS": "LNbitsWallet",
            "LNBITS_ENDPOINT": await endpoint_of(b) if endpoint_of else b.url,
            "LNBITS_ADMIN_KEY": node.adminkey,
            "LNBITS_KEY": node.adminkey,
            **(env or {}),
        },
    )
    await a.ready()
    a_super = await first_install(a.url)
    await enable_extension(a_super)
    return Pair(a, b, a_super, b_super, node, customer)


async def invoice_outside(pair: Pair, wallet: WalletKeys, amount_sats: int) -> str:
    """A bolt11 of somebody outside, made by B."""
    row = answer(
        await pair.b_super.core.post(
            "/api/v1/payments",
            headers={"X-Api-Key": wallet.inkey},
            json={"out": False, "amount": amount_sats, "memo": "outside"},
        )
    )
    return str(row["bolt11"])


async def pay_from_outside(
    pair: Pair, bolt11: str, wallet: WalletKeys | None = None
) -> httpx.Response:
    """Pays an invoice of A as somebody outside would. Returns B's answer."""
    return await pair.b_super.core.post(
        "/api/v1/payments",
        headers={"X-Api-Key": (wallet or pair.customer).adminkey},
        json={"out": True, "bolt11": bolt11},
        timeout=60,
    )
