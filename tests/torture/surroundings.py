"""What every scene is played on: nothing in the background, and somebody outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from lnbits.core.services import lnurl as lnbits_lnurl
from lnbits.settings import settings
from lnbits.wallets.base import PaymentStatus
from lnbits.wallets.fake import FakeWallet
from lnurl_server import LnurlServer
from scenes import OUTSIDE_ADDRESS, OWN_DOMAIN, in_test

from satmachineadmin import bitspire, crud
from satmachineadmin.host import paying
from satmachineadmin.money import forwards, payouts


@pytest.fixture
def hush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the story lands payments, and nothing is waited for."""
    real = bitspire.is_bitspire_payment

    def is_ours(payment: Any) -> bool:
        return in_test.get() and real(payment)

    monkeypatch.setattr(bitspire, "is_bitspire_payment", is_ours)
    monkeypatch.setattr(crud, "EXTERNAL_BATCH_DELAY", timedelta(0))
    monkeypatch.setattr(forwards, "EXTERNAL_BATCH_DELAY", timedelta(0))
    monkeypatch.setattr(payouts, "UNCREDITED_SECONDS", 0)
    monkeypatch.setattr(settings, "lnbits_baseurl", f"https://{OWN_DOMAIN}/")
    monkeypatch.setattr(FakeWallet, "get_payment_status", _what_the_node_knows)


async def _what_the_node_knows(node: FakeWallet, checking_id: str) -> PaymentStatus:
    """LNbits' fake node calls every payment pending; a node that was not killed knows
    what it paid, and that it was never asked."""
    return PaymentStatus(paid=checking_id in node.paid_invoices)


@pytest_asyncio.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LnurlServer]:
    """Who answers for an LNURL, and for the Lightning address outside."""
    async with LnurlServer() as server:

        async def look_up(target: str, amount_msat: int) -> str:
            at = server.target if target == OUTSIDE_ADDRESS else target
            return await lnbits_lnurl.get_pr_from_lnurl(at, amount_msat)

        monkeypatch.setattr(paying, "get_pr_from_lnurl", look_up)
        yield server
