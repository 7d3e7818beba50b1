"""Messages by the channels that LNbits has, with LNbits' own accounts and settings; the
servers of the channels alone are ours. `make hosts` asks every LNbits."""

from __future__ import annotations

import asyncio
import smtplib
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx
import pytest
from lnbits.core.crud.users import get_account, update_account
from lnbits.core.services.nostr import fetch_nip5_details
from lnbits.settings import settings

from satmachineadmin.host import notices, outside
from satmachineadmin.host.notices import Channel

from conftest import MakeUser

TOKEN = "123:secret"
PUBKEY = "ab" * 32


class MailServer:
    """In place of `smtplib.SMTP`, as LNbits and we speak to one."""

    posted: ClassVar[list[tuple[str, list[str], str]]] = []
    fails: ClassVar[Exception | None] = None
    seconds: ClassVar[float] = 0.0

    def __init__(self, host: str, port: int, timeout: float) -> None:
        assert (host, port) == ("mail.example", 587) and 0 < timeout <= 30
        assert threading.current_thread() is not threading.main_thread()

    def __enter__(self) -> MailServer:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def starttls(self) -> None:
        time.sleep(self.seconds)
        if self.fails:
            raise self.fails

    def login(self, user: str, password: str) -> None:
        assert (user, password) == ("us@mail.example", "hush")

    def sendmail(self, sender: str, to: list[str], text: str) -> None:
        self.posted.append((sender, to, text))


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[MailServer]]:
    for name, value in {
        "email_notifications_enabled": True,
        "email_notifications_email": "us@mail.example",
        "email_notifications_password": "hush",
        "email_notifications_server": "mail.example",
        "email_notifications_to_emails": ["a@mail.example", "b@mail.example"],
        "nostr_notifications_enabled": True,
        "nostr_notifications_private_key": "11" * 32,
        "telegram_notifications_enabled": True,
        "telegram_notifications_access_token": TOKEN,
    }.items():
        monkeypatch.setattr(settings, f"lnbits_{name}", value)
    monkeypatch.setattr(notices.smtplib, "SMTP", MailServer)
    MailServer.posted, MailServer.fails, MailServer.seconds = [], None, 0.0
    yield MailServer


async def test_each_channel_of_an_account_is_tried_and_says_what_came_of_it(
    make_user: MakeUser,
    channels: type[MailServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grace = await make_user("grace")
    assert [c.works for c in await notices.channels_of(grace.user_id)] == [False] * 3
    assert [c.works for c in await notices.channels_of("nobody")] == [False] * 3
    account = await get_account(grace.user_id)
    assert account
    told = account.extra.notifications
    told.email_address = "grace@mail.example"
    told.nostr_identifier = "grace@example.com"
    told.telegram_chat_id = "77"
    await update_account(account)
    chats: list[tuple[str, str, str]] = []
    dms: list[tuple[str, list[str], bool]] = []
    relays = ["wss://one.example", "ws://plain.example", "wss://inside.example", 7]

    async def telegram(token: str, chat: str, text: str) -> None:
        chats.append((token, chat, text))

    async def nip5(identifier: str) -> tuple[str, list[Any]]:
        assert identifier == "grace@example.com"
        return PUBKEY, [*relays, *[f"wss://{n}.example" for n in range(50)]]

    async def dm(key: str, to: str, text: str, relays: list[str]) -> None:
        is_loop = threading.current_thread() is threading.main_thread()
        dms.append((f"{key[:2]}{to[:2]} {text}", relays, is_loop))

    async def check(url: str) -> str:
        if "inside" in url:
            raise outside.NotAllowedError("private")
        return url

    monkeypatch.setattr(notices, "send_telegram_message", telegram)
    monkeypatch.setattr(notices, "fetch_nip5_details", nip5)
    monkeypatch.setattr(notices, "send_nostr_dm", dm)
    monkeypatch.setattr(notices, "check_url", check)
    ways = await notices.channels_of(grace.user_id)
    assert await notices.send(ways, "hello") == dict.fromkeys(
        ("email", "nostr", "telegram"), "sent"
    )
    ((sender, to, mail),) = channels.posted
    assert (sender, to) == ("us@mail.example", ["grace@mail.example"])
    assert "Subject: Satoshi Machine" in mail and "hello" in mail
    assert chats == [(TOKEN, "77", f"[{settings.lnbits_site_title}]\nhello")]
    # a person's server may name a thousand relays, and the loop waits for none
    ((text, reached, is_loop),) = dms
    assert text.startswith("11ab") and not is_loop
    assert reached == ["wss://one.example", "wss://0.example"]

    async def refused(*_: Any) -> None:
        raise httpx.HTTPStatusError(TOKEN, request=None, response=None)  # type: ignore

    async def nowhere(_: str) -> tuple[str, list[str]]:
        return PUBKEY, []

    monkeypatch.setattr(notices, "send_telegram_message", refused)
    monkeypatch.setattr(notices, "fetch_nip5_details", nowhere)
    channels.fails = smtplib.SMTPAuthenticationError(535, b"no")
    assert await notices.send(ways, "hello") == {
        "email": "refused",
        "nostr": "no_relay",
        "telegram": "refused",
    }
    # no server is asked where there is none, whatever somebody typed
    monkeypatch.setattr(notices, "fetch_nip5_details", fetch_nip5_details)
    for typed in ("not-an-address", "a@b@c", "grace@", f"npub1{PUBKEY}"):
        way = [Channel("nostr", True, (typed,))]
        assert await notices.send(way, "hello") == {"nostr": "bad_address"}


async def test_a_server_that_says_nothing_keeps_nobody(
    channels: type[MailServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "SECONDS", 0.3)
    channels.seconds = 1.0
    one = [Channel("email", True, ("grace@mail.example",))]
    started = time.monotonic()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    loop = asyncio.ensure_future(others())
    said = await asyncio.gather(*(notices.send(one, "hello") for _ in range(6)))
    loop.cancel()
    assert said == [{"email": "no_answer"}] * 6
    assert time.monotonic() - started < 0.9 and turns > 10
    # those that found no thread are not sent behind everybody's back
    await asyncio.sleep(2.0)
    assert len(channels.posted) <= 2


async def test_the_administrators_addresses_are_each_tried(
    channels: type[MailServer],
) -> None:
    ways = notices.administrators_channels()
    assert ways[0].addresses == ("a@mail.example", "b@mail.example")
    assert await notices.send(ways, "hello") == {"email": "sent"}
    assert [to for _, to, _ in channels.posted] == [
        ["a@mail.example"],
        ["b@mail.example"],
    ]
    bad = [Channel("email", True, ("nothing",))]
    assert await notices.send(bad, "hello") == {"email": "bad_address"}
    silent = [Channel("email", False, ("a@mail.example",))]
    assert await notices.send(silent, "hello") == {}
