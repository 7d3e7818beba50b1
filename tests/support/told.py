"""What people are sent, in a list in place of mail servers, relays and Telegram."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from lnbits.core.crud.users import get_account, update_account
from lnbits.settings import settings
from world import let_loops_run

from satmachineadmin import distribution, tasks
from satmachineadmin.base import lease
from satmachineadmin.desk import notices, outbox
from satmachineadmin.host import notices as host_notices
from satmachineadmin.host.notices import Channel
from satmachineadmin.models import utc_now

from conftest import wait_for

HOLDER = distribution.INSTANCE_ID
ADMIN = "admin@mail.example"


class Mail:
    """What was sent, and to whom (their e-mail address)."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        # what the channel says to the next ones
        self.says = host_notices.SENT

    async def send(self, channels: Sequence[Channel], message: str) -> dict[str, str]:
        works = [channel for channel in channels if channel.works]
        for channel in works:
            self.sent += [(address, message) for address in channel.addresses]
        return {channel.name: self.says for channel in works}

    def take(self, to: str) -> list[str]:
        """Messages to this person so far; they are forgotten."""
        found = [message for name, message in self.sent if name == to]
        self.sent = [m for m in self.sent if m[0] != to]
        return found


async def mail_in_hand(monkeypatch: pytest.MonkeyPatch) -> Mail:
    """LNbits that sends e-mail into a list, and nothing by itself: the loop that would
    stands still."""
    let_loops_run()
    stands_still = asyncio.Event()

    async def nothing(_: str) -> None:
        stands_still.set()
        await asyncio.sleep(0.05)

    monkeypatch.setattr(tasks.outbox, "turn", nothing)
    outbox.work.set()
    await wait_for(stands_still.is_set)
    box = Mail()
    monkeypatch.setattr(host_notices, "send", box.send)
    monkeypatch.setattr(settings, "lnbits_email_notifications_enabled", True)
    monkeypatch.setattr(settings, "lnbits_email_notifications_email", "us@mail.example")
    monkeypatch.setattr(settings, "lnbits_email_notifications_to_emails", [ADMIN])
    return box


async def send_due() -> None:
    """All that is due by the clock of the outbox."""
    sender = outbox.Outbox()
    await wait_for(lambda: tasks.state.is_engine)
    for _ in range(100):
        # on a busy machine a lease may be renewed late
        if await sender.send_due(HOLDER) and await lease.holds_lease(HOLDER):
            return
    raise AssertionError("it never came to an end")


async def tell(trouble: Mapping[str, str] | None = None) -> None:
    """Find what people are to be told, and send it."""
    await notices.run_notices(trouble)
    await send_due()


def moved_clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``clock(hours=25)``: who tells believes that it is so much later, or at
    ``clock(at=moment)`` that it is then."""
    moment = [utc_now()]
    for module in (notices, outbox):
        monkeypatch.setattr(module, "utc_now", lambda: moment[0])

    def later(at: datetime | None = None, **span: float) -> datetime:
        moment[0] = at or utc_now() + timedelta(**span)
        return moment[0]

    return later


async def address_of(user_id: str) -> str:
    """Give the user an e-mail address for notifications."""
    account = await get_account(user_id)
    assert account
    account.extra.notifications.email_address = f"{user_id}@mail.example"
    await update_account(account)
    return f"{user_id}@mail.example"
