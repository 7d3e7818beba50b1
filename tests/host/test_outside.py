"""Calling a server of somebody else's choice: where to, and what it may cost."""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import Any

import pytest
from lnbits.settings import settings
from receiver import Receiver

from satmachineadmin.host import outside

PRIVATE = (
    *("https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x"),
    *("https://192.168.1.1/x", "https://10.0.0.1/x", "https://172.17.0.1/x"),
    *("https://169.254.169.254/latest/meta-data", "https://100.64.0.1/x"),
    *("https://0.0.0.0/x", "https://[::]/x", "https://[fe80::1]/x"),
    *("https://[fd00::1]/x", "https://[::ffff:10.0.0.1]/x", "https://224.0.0.1/x"),
    *("https://[64:ff9b::a00:1]/x", "https://[2002:7f00:1::]/x"),
    *("https://255.255.255.255/x", "https://2130706433/x", "https://0x7f.1/x"),
)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """As LNbits comes: no private network is called."""
    monkeypatch.setattr(settings, "lnbits_callback_allow_private_ips", False)


def names_are(monkeypatch: pytest.MonkeyPatch, *turns: list[str]) -> list[str]:
    """What a name server says, one turn after another; the names asked for."""
    asked: list[str] = []

    def look_up(host: str, port: Any) -> list[Any]:
        asked.append(host)
        texts = turns[min(len(asked), len(turns)) - 1]
        return [ipaddress.ip_address(text) for text in texts]

    monkeypatch.setattr(outside, "_look_up", look_up)
    return asked


@pytest.mark.parametrize("url", PRIVATE)
async def test_a_private_network_is_not_called(strict: None, url: str) -> None:
    with pytest.raises(outside.NotAllowedError, match=r"private network|not found"):
        await outside.check_url(url)


@pytest.mark.parametrize("setting", ["callback", "lnurl"])
async def test_both_of_lnbits_settings_must_allow_it(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(settings, "lnbits_callback_allow_private_ips", True)
    monkeypatch.setattr(settings, "lnbits_lnurl_allow_private_ips", True)
    assert await outside.check_url("http://127.0.0.1:9/x ") == "http://127.0.0.1:9/x"
    monkeypatch.setattr(settings, f"lnbits_{setting}_allow_private_ips", False)
    with pytest.raises(outside.NotAllowedError):
        await outside.check_url("http://127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/x", "begin with https"),
        ("ftp://example.com/x", "like https"),
        ("example.com", "like https"),
        ("https:///x", "like https"),
        ("https://[::1/x", "like https"),
        ("https://a:b@example.com/", "password"),
        ("https://example.com:x/", "port"),
        ("https://example.com/ x", "like https"),
        ("https://example.com/" + "x" * 2000, "like https"),
        ("https://93.184.216.34/", "administrator"),
    ],
)
async def test_what_is_no_address_of_a_server_is_said(
    monkeypatch: pytest.MonkeyPatch, strict: None, url: str, why: str
) -> None:
    names_are(monkeypatch, ["93.184.216.34"])
    with pytest.raises(outside.NotAllowedError, match=why):
        await outside.check_url(url)


async def test_one_private_address_of_a_name_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where private networks are allowed: a name is inside, or it is not."""
    names_are(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(outside.NotAllowedError, match="private"):
        await outside.check_url("https://example.com/")


async def test_the_address_that_was_checked_is_the_one_called(
    monkeypatch: pytest.MonkeyPatch, strict: None
) -> None:
    """A name that meant the internet and then our network: looked up once a call."""
    asked = names_are(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    called: list[tuple[str, str, str]] = []

    async def ask(client: Any, request: Any) -> outside.Said:
        sni = request.extensions["sni_hostname"]
        called.append((request.url.host, request.headers["host"], sni))
        return outside.Said(200, "")

    monkeypatch.setattr(outside, "_ask", ask)
    assert (await outside.post("https://example.com/x", b"{}", {})).is_ok
    assert called == [("93.184.216.34", "example.com", "example.com")]
    assert asked == ["example.com"]
    said = await outside.post("https://example.com/x", b"{}", {})
    assert said.status is None and "private network" in said.text
    assert len(called) == 1


async def test_a_name_server_that_says_nothing_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outside, "CALL_SECONDS", 0.2)
    monkeypatch.setattr(outside, "_look_up", lambda *_: time.sleep(0.6))
    with pytest.raises(outside.NotAllowedError, match="not found"):
        await outside.check_url("https://example.com/")


@pytest.mark.parametrize(
    ("how", "status", "text"),
    [
        ("ok", 200, "ok"),
        ("500", 500, "<b>no</b>"),
        ("garbage", 200, "zz"),
        ("endless", 200, "x" * 200),
        ("half", 200, "only this"),
        ("redirect", 302, ""),
        ("down", None, "No answer: the connection broke off."),
        ("nothing", None, "No answer: the connection broke off."),
        ("no http", None, "No answer: the connection broke off."),
        ("silent", None, "No answer within 1 seconds."),
        ("drip", None, "No answer within 1 seconds."),
    ],
)
async def test_whatever_the_other_side_does_costs_little(
    monkeypatch: pytest.MonkeyPatch, how: str, status: int | None, text: str
) -> None:
    monkeypatch.setattr(outside, "CALL_SECONDS", 0.6)
    async with Receiver(how) as shop, Receiver() as inside:
        shop.redirect_to = inside.url
        begun = time.monotonic()
        said = await outside.post(shop.url, b"{}", {"X-One": "1"})
        assert time.monotonic() - begun < 3
        assert (said.status, said.text) == (status, text)
        assert inside.calls == []
        assert said.is_ok == (status == 200)


async def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = await outside.post(f"http://127.0.0.1:{port}/", b"", {})
    assert said == outside.Said(None, "No answer: no connection.")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is_public(address: str) -> None:
    assert outside.is_public(ipaddress.ip_address(address))
