"""What host/ says of LNbits' wallets, people, limits and prices, on a real LNbits.

Each function is asked about rows that LNbits itself made; `make hosts` does so with
every LNbits that we support.
"""

from __future__ import annotations

from uuid import uuid4

import pytest
from lnbits.core.crud import delete_wallet, get_wallet
from lnbits.core.crud.extensions import get_user_extension
from lnbits.settings import settings

from satmachineadmin.host import limits, people, rates, wallets
from satmachineadmin.host.balances import balances_msat

from conftest import Fund, MakeUser, MakeWallet


async def test_wallet_facts(make_user: MakeUser, make_wallet: MakeWallet) -> None:
    alice = await make_user("alice")
    gone = await make_wallet(alice, "gone")
    await delete_wallet(user_id=alice.user_id, wallet_id=gone.id)
    facts = await wallets.wallet_facts([alice.wallets[0].id, gone.id, "nobody", ""])
    assert set(facts) == {alice.wallets[0].id, gone.id}
    own = facts[alice.wallets[0].id]
    assert (own.user_id, own.wallet_type) == (alice.user_id, "lightning")
    assert own.is_usable
    assert facts[gone.id].is_deleted
    assert not facts[gone.id].is_usable
    assert set(await wallets.wallets_of(alice.user_id)) == set(facts)
    assert await wallets.wallets_of("nobody") == []


async def test_a_wallet_is_found_by_each_of_its_names(make_user: MakeUser) -> None:
    wallet = (await make_user("bob")).wallets[0]
    for name in (wallet.id, wallet.inkey, wallet.adminkey):
        row = await wallets.find_wallet(name)
        assert row is not None
        assert (row["id"], row["inkey"], row["adminkey"]) == (
            wallet.id,
            wallet.inkey,
            wallet.adminkey,
        )
        assert not row["deleted"]
    assert await wallets.find_wallet(uuid4().hex) is None


async def test_addresses_of_this_server(
    make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = (await make_user("carol")).wallets[0]
    name = wallet.lightning_address.partition("@")[0]
    assert name
    monkeypatch.setattr(settings, "lnbits_baseurl", "https://sats.example:8443/")
    assert wallets.is_own_domain("x@sats.example")
    assert wallets.is_own_domain("x@sats.example:8443")
    assert not wallets.is_own_domain("x@example")
    assert await wallets.local_wallet_of_address(f"{name}@sats.example") == wallet.id
    assert await wallets.local_wallet_of_address(f"{name}@elsewhere.example") is None
    assert await wallets.local_wallet_of_address("nobody.here@sats.example") is None


async def test_balances_are_lnbits_own(make_user: MakeUser, fund: Fund) -> None:
    rich = (await make_user("rich")).wallets[0]
    poor = (await make_user("poor")).wallets[0]
    await fund(rich.id, 1_234)
    said = await get_wallet(rich.id)
    assert said is not None
    assert await balances_msat([rich.id, poor.id]) == {rich.id: 1_234_000, poor.id: 0}
    assert said.balance_msat == 1_234_000


async def test_limits_follow_the_settings(
    make_user: MakeUser, fund: Fund, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = (await make_user("dora")).wallets[0]
    await fund(wallet.id, 10_000)
    assert limits.is_running()
    assert limits.has_funding_source()
    assert limits.is_ready()
    assert not limits.takes_only_incoming()
    assert not limits.has_wallet_limits()
    assert await limits.wallet_refusal(wallet.id, 1_000) is None
    monkeypatch.setattr(settings, "lnbits_only_allow_incoming_payments", True)
    monkeypatch.setattr(settings, "lnbits_max_outgoing_payment_amount_sats", 7)
    monkeypatch.setattr(settings, "lnbits_max_incoming_payment_amount_sats", 8)
    monkeypatch.setattr(settings, "lnbits_wallet_limit_max_balance", 9)
    monkeypatch.setattr(settings, "lnbits_wallet_limit_secs_between_trans", 60)
    assert limits.takes_only_incoming()
    assert limits.most_outgoing_sats() == 7
    assert limits.most_incoming_sats() == 8
    assert limits.most_balance_sats() == 9
    assert limits.wants_pauses()
    assert limits.has_wallet_limits()
    assert "60 seconds" in str(await limits.wallet_refusal(wallet.id, 1_000))


def test_the_reserve_is_whole_sats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "lnbits_reserve_fee_min", 1_500)
    monkeypatch.setattr(settings, "lnbits_reserve_fee_percent", 1.0)
    assert limits.reserve_sats(100, False) == 2
    assert limits.reserve_sats(1_000_000, False) == 10_000
    assert limits.reserve_sats(1_000_000, True) == 0


async def test_people(make_user: MakeUser) -> None:
    erin = await make_user("erin", enable=False)
    assert people.super_user() == settings.super_user
    assert await people.usernames_of([erin.user_id, "nobody"]) == {
        erin.user_id: erin.username
    }
    account = await people.account_of(erin.user_id)
    assert account is not None
    assert account.username == erin.username
    assert await people.account_of("nobody") is None
    named = await people.user_named(erin.username.upper())
    assert named is not None
    assert named.id == erin.user_id
    assert await people.user_named(f"<b>{erin.username}") is None
    assert people.may_use_extension(erin.user_id)


async def test_the_extension_is_enabled_once(make_user: MakeUser) -> None:
    frank = await make_user("frank", enable=False)
    for _ in range(2):
        await people.enable_extension(frank.user_id)
        row = await get_user_extension(frank.user_id, people.EXTENSION_ID)
        assert row is not None
        assert row.active


def test_rates() -> None:
    assert rates.is_currency("GTQ")
    assert not rates.is_currency("QQQ")
    assert rates.price_now("XAF") is None


async def test_prices_are_what_lnbits_heard(make_user: MakeUser) -> None:
    assert rates.price_now("USD") == 100_000.0
