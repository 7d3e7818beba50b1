"""Sending a message to somebody by the ways that LNbits has: e-mail, Nostr, Telegram.

Each person sets theirs in their LNbits account, its administrator those of the server.
LNbits' own queue is memory and says nothing of what came of a message; here its parts
are called one by one, so that it is known.

Guaranteed: the event loop waits for nobody. LNbits speaks to a Nostr relay and to a
mail server in plain blocking calls; those run on threads of their own, few of them, and
a server that says nothing keeps `SECONDS` of this alone, and other messages.
Not guaranteed: that a message arrived. A channel that took it is all that is known.
"""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.mime.text import MIMEText

import httpx
from lnbits.core.crud.users import get_account
from lnbits.core.services.nostr import fetch_nip5_details, send_nostr_dm
from lnbits.core.services.notifications import send_telegram_message
from lnbits.helpers import is_valid_email_address
from lnbits.settings import settings
from lnbits.utils.nostr import normalize_private_key

from .outside import NotAllowedError, check_url

EMAIL, NOSTR, TELEGRAM = "email", "nostr", "telegram"
SUBJECT = "Satoshi Machine"
SECONDS = 20.0
# of those that a person's own server names: each may take LNbits two seconds
MOST_RELAYS = 5
_mails = ThreadPoolExecutor(max_workers=2, thread_name_prefix="satmachine-mail")
_relays = ThreadPoolExecutor(max_workers=2, thread_name_prefix="satmachine-nostr")

# What came of a message by a channel.
SENT, NO_ANSWER, REFUSED = "sent", "no_answer", "refused"
BAD_ADDRESS, NO_RELAY = "bad_address", "no_relay"


@dataclass(frozen=True)
class Channel:
    """A way to somebody: whether this LNbits has it, and the addresses they gave."""

    name: str
    is_offered: bool
    addresses: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        return self.is_offered and bool(self.addresses)


class NotSentError(Exception):
    """Why a channel did not take a message: one of the words above."""


def _channels(
    email: Sequence[str | None], nostr: Sequence[str | None], chat: str | None
) -> list[Channel]:
    def given(addresses: Sequence[str | None]) -> tuple[str, ...]:
        return tuple(address for address in addresses if address)

    return [
        Channel(EMAIL, settings.is_email_notifications_configured(), given(email)),
        Channel(NOSTR, settings.is_nostr_notifications_configured(), given(nostr)),
        Channel(
            TELEGRAM, settings.is_telegram_notifications_configured(), given([chat])
        ),
    ]


async def channels_of(user_id: str) -> list[Channel]:
    """The ways to a user, as they are now; no addresses if there is no such user."""
    account = await get_account(user_id)
    if account is None:
        return _channels([], [], None)
    told = account.extra.notifications
    return _channels(
        [told.email_address], [told.nostr_identifier], told.telegram_chat_id
    )


def administrators_channels() -> list[Channel]:
    """The ways to whoever runs this LNbits."""
    return _channels(
        settings.lnbits_email_notifications_to_emails,
        settings.lnbits_nostr_notifications_identifiers,
        settings.lnbits_telegram_notifications_chat_id,
    )


async def send(channels: Sequence[Channel], message: str) -> dict[str, str]:
    """Send it by every channel that works, at once; what came of it, by channel. With
    several addresses, one that was reached is enough."""
    works = [channel for channel in channels if channel.works]
    text = f"[{settings.lnbits_site_title}]\n{message}"
    said = await asyncio.gather(*(_send_by(channel, text) for channel in works))
    return {c.name: what for c, what in zip(works, said, strict=True)}


async def _send_by(channel: Channel, message: str) -> str:
    found = [await _try(_SENDERS[channel.name], a, message) for a in channel.addresses]
    return SENT if SENT in found else found[0]


async def _try(
    sender: Callable[[str, str], Awaitable[None]], address: str, message: str
) -> str:
    try:
        await asyncio.wait_for(sender(address, message), SECONDS)
    except NotSentError as exc:
        return str(exc)
    except (asyncio.TimeoutError, httpx.TransportError, OSError):
        return NO_ANSWER
    # whatever else LNbits raises, or its libraries: nothing of it is shown, since the
    # address of Telegram's API has the bot's token in it
    except Exception:
        return REFUSED
    return SENT


# ------------------------------------------------------------------------ the channels


async def _send_email(address: str, message: str) -> None:
    if not is_valid_email_address(address):
        raise NotSentError(BAD_ADDRESS)
    mail = MIMEText(message, "plain")
    sender = settings.lnbits_email_notifications_email
    mail["From"], mail["To"], mail["Subject"] = sender, address, SUBJECT
    user = settings.lnbits_email_notifications_username or sender

    def post() -> None:
        with smtplib.SMTP(
            settings.lnbits_email_notifications_server,
            settings.lnbits_email_notifications_port,
            timeout=SECONDS,
        ) as server:
            server.starttls()
            server.login(user, settings.lnbits_email_notifications_password)
            server.sendmail(sender, [address], mail.as_string())

    try:
        await asyncio.get_running_loop().run_in_executor(_mails, post)
    except smtplib.SMTPServerDisconnected as exc:
        raise NotSentError(NO_ANSWER) from exc
    except smtplib.SMTPException as exc:
        raise NotSentError(REFUSED) from exc


async def _send_nostr(address: str, message: str) -> None:
    try:
        pubkey, named = await fetch_nip5_details(address)
    except (ValueError, AssertionError) as exc:
        raise NotSentError(BAD_ADDRESS) from exc
    relays = [r for r in named[:MOST_RELAYS] if await _is_public_relay(r)]
    if not relays:
        raise NotSentError(NO_RELAY)
    key = normalize_private_key(settings.lnbits_nostr_notifications_private_key)

    def post() -> None:
        # LNbits waits for each relay in a blocking call
        asyncio.run(send_nostr_dm(key, pubkey, message, relays))

    await asyncio.get_running_loop().run_in_executor(_relays, post)


async def _is_public_relay(url: object) -> bool:
    """A server of the internet, as a person's own server names it to ours."""
    if not isinstance(url, str) or not url.startswith("wss://"):
        return False
    try:
        await check_url(f"https://{url.removeprefix('wss://')}")
    except NotAllowedError:
        return False
    return True


async def _send_telegram(address: str, message: str) -> None:
    await send_telegram_message(
        settings.lnbits_telegram_notifications_access_token, address, message
    )


_SENDERS: dict[str, Callable[[str, str], Awaitable[None]]] = {
    EMAIL: _send_email,
    NOSTR: _send_nostr,
    TELEGRAM: _send_telegram,
}
