"""Posting to a server of somebody else's choice, so that it reaches nobody else's.

Guaranteed: the address that was checked is the one that is connected to, whatever its
name means a moment later; no redirect is followed; whoever answers slowly, without an
end, or with rubbish costs `CALL_SECONDS` and `MOST_ANSWER_BYTES` at most, and never
raises anything; names are looked up on threads of their own, so that a name server
which says nothing keeps nobody but other calls of this kind.
Not guaranteed: that the other side has not done what it was told when it says nothing.

Private networks are refused as LNbits refuses them to its own webhooks and to LNURL
targets: unless its administrator allows both. Then, and only there, plain http is taken
and LNbits' rules for callback addresses do not count, which no private one would pass.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import httpx
from lnbits.helpers import check_callback_url
from lnbits.settings import settings

CALL_SECONDS = 5.0
MOST_ANSWER_BYTES = 2_000
MOST_URL = 2_000
NO_ADDRESS = "url must be an address like https://example.com/hook."
# of several addresses of a name
MOST_TRIED = 3

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_names = ThreadPoolExecutor(max_workers=2, thread_name_prefix="satmachine-names")
# IPv6 addresses that carry an IPv4 address, and where in it
_CARRIES_V4 = {
    ipaddress.IPv6Network("::ffff:0:0/96"): 0,
    ipaddress.IPv6Network("::/96"): 0,
    ipaddress.IPv6Network("64:ff9b::/96"): 0,
    ipaddress.IPv6Network("2002::/16"): 80,
}


class NotAllowedError(ValueError):
    """An address that is not called; the text says why."""


@dataclass(frozen=True)
class Said:
    """What came of a call: the status and the first bytes of the answer, or why there
    is none (`status` None)."""

    status: int | None
    text: str

    @property
    def is_ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def is_public(address: Address) -> bool:
    """Whether this is an address of the internet, and of one host there."""
    if isinstance(address, ipaddress.IPv6Address):
        for network, shift in _CARRIES_V4.items():
            if address in network:
                inner = (int(address) >> shift) & 0xFFFFFFFF
                return is_public(ipaddress.IPv4Address(inner))
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
    )


def allows_private() -> bool:
    """Whether the administrator lets LNbits call its own network."""
    return bool(
        settings.lnbits_callback_allow_private_ips
        and settings.lnbits_lnurl_allow_private_ips
    )


async def check_url(url: str) -> str:
    """The URL, trimmed, if it may be called now; else `NotAllowedError`."""
    url = url.strip()
    if len(url) > MOST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise NotAllowedError(NO_ADDRESS)
    await _addresses_of(url)
    return url


def host_of(url: str) -> str:
    """The host that a URL names: what may be shown where its path is a secret."""
    return urlsplit(url).hostname or ""


async def post(url: str, body: bytes, headers: Mapping[str, str]) -> Said:
    """Post a body; raises nothing but a cancellation."""
    try:
        return await asyncio.wait_for(_post(url, body, headers), CALL_SECONDS)
    except (asyncio.TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout):
        return Said(None, f"No answer within {CALL_SECONDS:.0f} seconds.")
    except NotAllowedError as exc:
        return Said(None, str(exc))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as exc:
        return Said(None, f"No answer: {_why(exc)}.")


def _why(exc: Exception) -> str:
    """What went wrong in one line, without what the other side may have put in it."""
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout):
        text = str(exc)
        if "CERTIFICATE" in text.upper():
            return "its certificate is not valid"
        return "no connection"
    if isinstance(exc, httpx.ReadError | httpx.RemoteProtocolError | OSError):
        return "the connection broke off"
    return type(exc).__name__


async def _addresses_of(url: str) -> list[Address]:
    """The addresses behind a URL that may be called. `NotAllowedError` if it may not:
    one private address among them is enough."""
    try:
        parts = urlsplit(url)
    except ValueError as exc:  # half of an IPv6 address
        raise NotAllowedError(NO_ADDRESS) from exc
    try:
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise NotAllowedError("url has a port that is no number.") from exc
    if parts.scheme not in ("https", "http") or not host:
        raise NotAllowedError(NO_ADDRESS)
    if parts.username is not None or parts.password is not None:
        raise NotAllowedError("url must not hold a user name or a password.")
    found = await _resolve(host, port)
    is_inside = not any(is_public(address) for address in found)
    if is_inside and allows_private():
        return found
    if not all(is_public(address) for address in found):
        raise NotAllowedError(
            "url leads into a private network, where this server calls nobody."
        )
    if parts.scheme != "https":
        raise NotAllowedError("url must begin with https://.")
    try:
        check_callback_url(url)
    except ValueError as exc:
        raise NotAllowedError(
            "url is not among the addresses that this server's administrator lets it "
            "call."
        ) from exc
    return found


async def _resolve(host: str, port: int | None) -> list[Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    looking = loop.run_in_executor(_names, _look_up, host, port)
    try:
        found = await asyncio.wait_for(looking, CALL_SECONDS)
    except (OSError, UnicodeError, asyncio.TimeoutError) as exc:
        raise NotAllowedError(f"The host {host[:80]!r} is not found.") from exc
    if not found:
        raise NotAllowedError(f"The host {host[:80]!r} is not found.")
    return found


def _look_up(host: str, port: int | None) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # a link's own address comes with the link's name behind it
    texts = [str(info[4][0]).partition("%")[0] for info in found]
    return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]


@cache
def _trusted() -> ssl.SSLContext:
    """Made once: reading the list of authorities takes longer than a call."""
    return httpx.create_ssl_context()


async def _post(url: str, body: bytes, headers: Mapping[str, str]) -> Said:
    addresses = await _addresses_of(url)
    parts = urlsplit(url)
    async with httpx.AsyncClient(
        follow_redirects=False,
        trust_env=False,
        timeout=CALL_SECONDS,
        verify=_trusted(),
    ) as client:

        def request(address: Address) -> httpx.Request:
            return client.build_request(
                "POST",
                httpx.URL(url).copy_with(host=str(address)),
                content=body,
                headers={**headers, "Host": parts.netloc, "Connection": "close"},
                extensions={"sni_hostname": parts.hostname},
            )

        *first, last = addresses[:MOST_TRIED]
        for address in first:
            try:
                return await _ask(client, request(address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await _ask(client, request(last))


async def _ask(client: httpx.AsyncClient, request: httpx.Request) -> Said:
    answer = await client.send(request, stream=True)
    try:
        got = b""
        # as it comes: a small answer may unpack to one without an end
        async for piece in answer.aiter_raw():
            got += piece
            if len(got) >= MOST_ANSWER_BYTES:
                break
    except (httpx.HTTPError, OSError):
        pass  # the status was said
    finally:
        await answer.aclose()
    return Said(answer.status_code, shown(got))


def shown(got: bytes) -> str:
    """The beginning of an answer as one line that can be kept and looked at."""
    text = got[:MOST_ANSWER_BYTES].decode("utf-8", "replace")
    plain = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(plain.split())[:200]
