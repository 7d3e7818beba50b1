"""Where sats are to go is asked before it is kept: an LP's address, a split's target,
a refund's destination.

What is known to take no payments is refused in a sentence; what says nothing now is
kept, but not for who wants an answer first (`must_answer`), as the screens do.
"""

from __future__ import annotations

import pytest
from api_world import make_desk, ok, refused
from lnbits.core.services import lnurl as lnbits_lnurl
from lnbits.settings import settings
from lnurl import encode as lnurl_encode
from lnurl_server import LnurlServer

from satmachineadmin.host import paying

from conftest import MakeUser, MakeWallet

pytestmark = pytest.mark.once


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is asked where nothing stands between."""
    monkeypatch.setattr(paying, "handle", lnbits_lnurl.handle)


async def test_an_address_that_is_known_to_take_nothing_is_not_kept(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch, asks: None
) -> None:
    lp = await make_user("lp")
    ok(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 201)

    async def keep(address: str, why: str | None = None) -> None:
        body = {"autoforward_ln_address": address, "autoforward_enabled": True}
        answer = await lp.api.put("/lp", json=body)
        if why is None:
            assert ok(answer)["autoforward_ln_address"] == address
        else:
            refused(answer, 400, why)

    await keep("nobody@nowhere.invalid", "there is no such server")
    await keep("nadie@lnbits.localhost", "there is no such server")
    async with LnurlServer() as shop:
        await keep(shop.target)
        shop.first = '{"status": "ERROR", "reason": "<b>nobody</b>"}'
        other = str(lnurl_encode(f"{shop.url}/pay?two").bech32).lower()
        await keep(other, "takes no payments")
        shop.first = "no JSON"
        await keep(other, "takes no payments")
        shop.first, shop.is_down = None, True
        await keep(other, "takes no payments")
        # what is kept is asked no more: what was read can be sent back
        ok(await lp.api.put("/lp", json=ok(await lp.api.get("/lp"))))
        calls = shop.calls
        monkeypatch.setattr(settings, "lnbits_lnurl_allow_private_ips", False)
        shop.is_down = False
        inside = str(lnurl_encode("https://127.0.0.1/pay").bech32).lower()
        await keep(inside, "in a private network")
        assert shop.calls == calls
    assert ok(await lp.api.get("/lp"))["autoforward_ln_address"] == shop.target


async def test_who_says_nothing_is_kept_unless_an_answer_is_wanted(
    make_user: MakeUser, asks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paying, "RECEIVER_SECONDS", 0.2)
    lp = await make_user("lp")
    ok(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 201)
    async with LnurlServer() as shop:
        shop.is_silent = True
        body = {"autoforward_ln_address": shop.target, "must_answer": True}
        refused(await lp.api.put("/lp", json=body), 409, "does not answer")
        assert ok(await lp.api.get("/lp"))["autoforward_ln_address"] is None
        ok(await lp.api.put("/lp", json={**body, "must_answer": False}))
    closed = str(lnurl_encode(f"{shop.url}/pay?shut").bech32).lower()
    body["autoforward_ln_address"] = closed
    refused(await lp.api.put("/lp", json=body), 409, "does not answer")


async def test_addresses_of_this_server_are_known_without_asking(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://own.example/")
    lp = await make_user("lp")
    ok(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}), 201)
    address = f"{lp.wallet.lightning_address}@own.example"
    mine = {"autoforward_ln_address": address, "must_answer": True}
    ok(await lp.api.put("/lp", json=mine))
    nobody = {"autoforward_ln_address": "nobody-of-the-name@own.example"}
    refused(await lp.api.put("/lp", json=nobody), 400, "nobody on this server")


async def test_targets_of_splits_are_asked_once(
    make_user: MakeUser, make_wallet: MakeWallet, asks: None
) -> None:
    desk = await make_desk(make_user, make_wallet)
    own = desk.operator.wallet.id
    one = f"/machines/{desk.machine['id']}/splits"
    async with LnurlServer() as shop:
        for path in ("/splits", one):
            halves = [
                {"target": target, "fraction": "0.5"} for target in (shop.target, own)
            ]
            body = {"splits": halves, "must_answer": True}
            before = shop.calls
            ok(await desk.operator.api.put(path, json=body))
            ok(await desk.operator.api.put(path, json=body))
            assert shop.calls == before + 1, path
            bad = [{"target": "a@nowhere.invalid", "fraction": "1"}]
            refused(
                await desk.operator.api.put(path, json={"splits": bad}),
                400,
                "'a@nowhere.invalid' cannot be paid",
            )
            # what does not add up is told first, and nobody is asked for it
            half = {"splits": [{"target": shop.target, "fraction": "0.4"}]}
            refused(await desk.operator.api.put(path, json=half), 400, "0.4000")
            kept = ok(await desk.operator.api.get(path))["splits"]
            assert [split["target"] for split in kept] == [shop.target, own]
