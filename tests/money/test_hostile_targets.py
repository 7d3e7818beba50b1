"""Targets outside that mean harm: inside our own network, elsewhere, huge or slow.

What an operator or an LP enters as target makes this server call a URL. LNbits' LNURL
service refuses private networks (unless its administrator allows them), follows few
redirects and reads little; here it is shown that our payouts go through it, that the
leg says why it was not paid, and that everybody else is.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lnbits.settings import settings
from lnurl import encode as lnurl_encode
from lnurl_server import LnurlServer
from world import MakeWorld, World, balance_sats

from satmachineadmin import distribution
from satmachineadmin.models import Leg
from satmachineadmin.money import payouts

PRIVATE = {
    "loopback": "https://127.0.0.1/pay",
    "loopback by name": "https://localhost/pay",
    "loopback 6": "https://[::1]/pay",
    "a home network": "https://192.168.1.1/pay",
    "a company network": "https://10.0.0.1/pay",
    "docker": "https://172.17.0.1/pay",
    "the cloud's metadata": "https://169.254.169.254/latest/meta-data",
    "carrier": "https://100.64.0.1/pay",
    "nowhere": "https://0.0.0.0/pay",
}


async def sell(world: World) -> str:
    payment_hash = await world.cash_out()
    await world.settle(payment_hash)
    await world.run_due()
    return payment_hash


async def splits_of(world: World, payment_hash: str) -> dict[str, Leg]:
    legs = await world.legs(payment_hash, "operator_split")
    return {str(leg.target): leg for leg in legs}


async def assert_others_are_paid(world: World, good_wallet_id: str) -> None:
    assert await world.lps[0].balance_sats() == 100_000
    assert await world.platform_sats() == 3_000
    assert await balance_sats(good_wallet_id) > 0
    await world.assert_ledger()


@pytest.mark.parametrize("how", ["by lnurl", "by address"])
async def test_no_payout_makes_us_call_our_own_network(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(settings, "lnbits_lnurl_allow_private_ips", False)
    world = await make_world(deposits=["300.00"])
    good = (await world.make_user("good")).wallet
    await world.add_split(good.id, "0.5000", wallet_id=good.id)
    async with LnurlServer() as inside:
        targets = {"our port": inside.target}
        if how == "by lnurl":
            for name, url in PRIVATE.items():
                targets[name] = str(lnurl_encode(url).bech32).lower()
        else:
            targets["an address"] = "alice@localhost.localdomain"
        for target in targets.values():
            kind = "address" if "@" in target else "lnurl"
            await world.add_split(target, "0.0400", kind=kind)
        payment_hash = await sell(world)
        assert inside.calls == 0
    legs = await splits_of(world, payment_hash)
    for name, target in targets.items():
        leg = legs[target]
        assert (leg.status, leg.attempts) == ("pending", 1), name
        assert "gives no invoice" in str(leg.error_message), name
    await assert_others_are_paid(world, good.id)


class Hostile(LnurlServer):
    """Answers the first request with this, as it is."""

    def __init__(self, head: str, body: str = "", drip_seconds: float = 0) -> None:
        super().__init__()
        self.head, self.body, self.drip_seconds = head, body, drip_seconds

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._open.add(writer)
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.calls += 1
            writer.write(f"HTTP/1.1 {self.head}\r\n\r\n".encode())
            for piece in self._pieces():
                writer.write(piece.encode())
                await writer.drain()
                await asyncio.sleep(self.drip_seconds)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    def _pieces(self) -> Any:
        if self.drip_seconds:
            return iter(self.body)
        return [self.body]


JSON = "200 OK\r\nContent-Type: application/json\r\nConnection: close"
HOSTILE: dict[str, tuple[str, str, float]] = {
    "to the cloud's metadata": (
        "302 Found\r\nLocation: http://169.254.169.254/",
        "",
        0,
    ),
    "to itself for ever": ("302 Found\r\nLocation: /pay", "", 0),
    "to a file": ("302 Found\r\nLocation: file:///etc/passwd", "", 0),
    "to nothing": ("302 Found\r\nLocation: http://", "", 0),
    "huge": (JSON, '{"tag": "' + "x" * 2_000_000, 0),
    "huge by its own account": (f"{JSON}\r\nContent-Length: 99999999999", "{", 0),
    "deep": (JSON, "[" * 200_000, 0),
    "a letter at a time": (JSON, '{"tag": "' + "x" * 10_000, 0.1),
    "not http": ("\x00\x01\x02", "", 0),
    "no text": (JSON, '{"tag": "payRequest", "callback": 7, "metadata": null}', 0),
    "no numbers": (
        JSON,
        '{"tag": "payRequest", "callback": "https://x.com", "metadata": "[]", '
        '"minSendable": 1e999, "maxSendable": NaN}',
        0,
    ),
}


async def test_whatever_a_server_outside_does_the_others_are_paid(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payouts, "OUTSIDE_SECONDS", 2)
    world = await make_world(deposits=["300.00"])
    good = (await world.make_user("good")).wallet
    await world.add_split(good.id, "0.3000", wallet_id=good.id)
    servers = {name: Hostile(*how) for name, how in HOSTILE.items()}
    async with LnurlServer() as shop:
        for server in servers.values():
            await server.__aenter__()
            await world.add_split(server.target, "0.0500", kind="lnurl")
        await world.add_split(shop.target, "0.0500", kind="lnurl")
        payment_hash = await sell(world)
        legs = await splits_of(world, payment_hash)
        for name, server in servers.items():
            leg = legs[server.target]
            assert (leg.status, leg.attempts) == ("pending", 1), name
            assert "gives no invoice" in str(leg.error_message), name
            assert len(str(leg.error_message)) < 400, name
            assert server.calls, name
            await server.__aexit__(None, None, None)
        assert legs[shop.target].status == "completed"
    await assert_others_are_paid(world, good.id)
