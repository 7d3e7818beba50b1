"""A wallet that does not hold all that it owes, or nothing that it owes to nobody.

What lacks only free balance waits alone; a short wallet pays LPs and refunds first,
then the platform, then the operator's splits. One definition of the free balance for
rounds, line and screens. A real LNbits in this process; the engine is called by the
test.
"""

from __future__ import annotations

import pytest
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.settings import settings
from world import MakeWorld, World, balance_sats, set_platform, update

from satmachineadmin import distribution, tasks
from satmachineadmin.line.funds import max_cash_in_sats
from satmachineadmin.models import Fiat, Leg, Machine, WaitCode, utc_now
from satmachineadmin.money import planning
from satmachineadmin.money.funds import Funds, free_sats
from satmachineadmin.money.rounds import Destination, Group, affordable

from dev.accounts import answer


async def with_partner(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch, **options: object
) -> World:
    """A world whose operator's fee goes to a partner; fees do not gather."""
    monkeypatch.setattr(planning, "FEES_GATHER_MINUTES", 0)
    world = await make_world(**options)
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    return world


async def cash_in(world: World, principal: int, fiat: str, fee: int) -> str:
    payment_hash = await world.cash_in(principal=principal, fee=fee, fiat=fiat)
    await tasks.sweep()
    await world.settle(payment_hash)
    return payment_hash


async def take_out(world: World, sats: int) -> None:
    """The operator withdraws."""
    await world.fund(world.machine_wallet.id, -sats)


async def waits(world: World, payment_hash: str) -> dict[str, str | None]:
    """leg type -> the code of why it waits, of the legs that do."""
    legs = await world.legs(payment_hash)
    return {x.leg_type: x.wait_code for x in legs if x.status == "pending"}


async def test_known_failure_50_what_lacks_free_balance_waits_alone(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await with_partner(make_world, monkeypatch, deposits=["900.00"])
    await world.fund(world.machine_wallet.id, 92_000)
    in_hash = await cash_in(world, 100_000, "200.00", 8_000)
    assert await balance_sats(world.machine_wallet.id) == 0
    free = WaitCode.FREE_BALANCE
    assert await waits(world, in_hash) == {"super_fee": free, "operator_split": free}
    hashes = [await world.cash_out() for _ in range(3)]
    for payment_hash in hashes:
        await world.landed(payment_hash)
    # their fees go to the very same wallets as the fees that must wait
    await world.run_due()
    for payment_hash in hashes:
        assert (await world.settlement(payment_hash)).status == "completed"
    assert await world.lps[0].balance_sats() == 300_000
    assert await world.platform_sats() == 9_000
    for leg in await world.legs(in_hash):
        assert (leg.status, leg.attempts) == ("pending", 0)
        assert str(leg.error_message).startswith(
            f"0 of the {leg.amount_sats} sat needed are free"
        )
    await world.fund(world.machine_wallet.id, 8_000)
    await world.run_due()
    assert (await world.settlement(in_hash)).status == "completed"
    assert await balance_sats(world.machine_wallet.id) == 0
    await world.assert_ledger()


async def test_the_fees_of_a_cash_in_are_not_in_each_others_way(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await with_partner(make_world, monkeypatch)
    await world.fund(world.machine_wallet.id, 100_000)
    in_hash = await cash_in(world, 100_000, "200.00", 8_000)
    assert (await world.settlement(in_hash)).status == "completed"
    assert await balance_sats(world.machine_wallet.id) == 0
    assert await free_sats(world.machine_wallet.id) == 0
    await world.assert_ledger()


async def test_a_short_wallet_pays_lps_then_the_platform_then_splits(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await with_partner(make_world, monkeypatch, deposits=["900.00"])
    first, second = await world.cash_out(), await world.cash_out()
    await world.landed(first)
    await world.landed(second)
    await distribution.plan_pending()
    await take_out(world, 16_000 + 50_000)  # 150 000 of 216 000 are left
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000
    short = WaitCode.WALLET_SHORT
    fees = {"super_fee": short, "operator_split": short}
    assert await waits(world, first) == fees
    assert await waits(world, second) == {"dca": short, **fees}
    assert await world.platform_sats() == 0
    await world.fund(world.machine_wallet.id, 50_000 + 4_000)
    await world.run_due()
    # the LPs have all of it; of the platform's two fees the older one fits
    assert await world.lps[0].balance_sats() == 200_000
    assert await world.platform_sats() == 3_000
    assert await waits(world, first) == {"operator_split": short}
    assert await waits(world, second) == fees
    await world.fund(world.machine_wallet.id, 12_000)
    await world.run_due()
    for payment_hash in (first, second):
        assert (await world.settlement(payment_hash)).status == "completed"
    assert await balance_sats(world.machine_wallet.id) == 0
    await world.assert_ledger()


async def test_no_fee_is_paid_from_principal_that_only_gathers(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await with_partner(
        make_world, monkeypatch, deposits=["900.00"], payout_interval_minutes=1440
    )
    payment_hash = await world.cash_out()
    await world.landed(payment_hash)
    await distribution.plan_pending()
    await take_out(world, 8_000)
    await engine_paused.run_until_idle()
    legs = await world.legs(payment_hash)
    assert {x.leg_type: x.wait_code for x in legs} == {
        "dca": None,
        "super_fee": WaitCode.WALLET_SHORT,
        "operator_split": WaitCode.WALLET_SHORT,
    }
    assert await balance_sats(world.machine_wallet.id) == 100_000
    await world.run_due()
    assert await world.lps[0].balance_sats() == 100_000
    await world.assert_ledger()


async def test_one_free_balance_for_rounds_line_and_screens(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await with_partner(make_world, monkeypatch, deposits=["900.00"])
    wallet = world.machine_wallet.id

    async def shown() -> int:
        path = f"/machines/{world.machine.id}"
        return int(answer(await world.operator.api.get(path))["free_balance_sats"])

    await world.fund(wallet, 50_000)
    assert await free_sats(wallet) == await shown() == 50_000
    payment_hash = await world.cash_out(dispense="awaiting")
    await world.until(payment_hash, "awaiting_dispense")
    assert await balance_sats(wallet) == 158_000
    assert await free_sats(wallet) == await shown() == 50_000
    # whatever the stamp says of it: these sats went out, and nothing of them is owed
    await world.fund(world.customer.wallet.id, 1_000)
    invoice = await create_invoice(
        wallet_id=world.customer.wallet.id, amount=20_000, memo="?", internal=True
    )
    for sent in (invoice,):
        await pay_invoice(
            wallet_id=wallet,
            payment_request=sent.bolt11,
            extra={"source": "bitspire", "tx_type": "cash_out", "principal_sats": "?"},
        )
    await tasks.sweep()
    held = await world.settlement(invoice.payment_hash)
    assert held.status == "quarantined"
    assert await free_sats(wallet) == await shown() == 30_000
    # a cash-in's wrong direction is reserved: the sats came in
    odd = await world.cash_out(tx_type="cash_in")
    await world.until(odd, "quarantined")
    assert await balance_sats(wallet) == 158_000 - 20_000 + 108_000
    assert await free_sats(wallet) == await shown() == 30_000


@pytest.mark.parametrize("free", [0, 1, 999, 8_000, 92_000, 100_000, 1_234_567])
async def test_what_the_quote_offers_can_be_paid_with_all_its_fees(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
) -> None:
    world = await with_partner(make_world, monkeypatch, max_payout_sats=10_000_000)
    wallet = world.machine_wallet.id
    if free:
        await world.fund(wallet, free)
    machine = Machine(**world.machine.dict())
    most = await max_cash_in_sats(machine)
    assert most <= free
    if free < 1_000:
        return
    # one sat more of wire, with the reserve and 3 % and 5 %, would be too much
    reserve = -(-(most + 1) // 100)
    principal = (most + 1) * 100 // 92
    assert most + 1 + max(2, reserve) + principal * 8 // 100 + 2 > free
    fee = round(principal * 0.08)
    payment_hash = await world.cash_in(
        principal=most + fee, fee=fee, fiat=str(Fiat((most + fee) // 500 or 1))
    )
    await tasks.sweep()
    await world.landed(payment_hash)
    await update("dca_settlements", payment_hash, key="payment_hash", status="pending")
    await world.settle(payment_hash)
    assert await waits(world, payment_hash) == {}
    assert await balance_sats(wallet) >= 0


async def test_a_leg_of_one_sat_under_a_service_fee_waits_for_company(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await with_partner(make_world, monkeypatch, deposits=["900.00"])
    await set_platform("0.0000", world.platform.id)
    await update(
        "dca_machines", world.machine.id, operator_cash_out_fee_fraction="0.0001"
    )
    fees = await world.make_wallet(world.customer, "service fee")
    first = await world.cash_out(principal=10_000, fee=1, fiat="20.00")
    await world.landed(first)
    monkeypatch.setattr(settings, "lnbits_service_fee", 1.0)
    monkeypatch.setattr(settings, "lnbits_service_fee_wallet", fees.id)
    monkeypatch.setattr(settings, "lnbits_service_fee_ignore_internal", False)
    await world.run_due()
    (split,) = await world.legs(first, "operator_split")
    assert (split.amount_sats, split.status, split.attempts) == (1, "pending", 0)
    assert split.wait_code == WaitCode.BELOW_FEE
    assert "1 sat do not cover LNbits' fee of 1 sat" in str(split.error_message)
    assert all(p["sent_sats"] for p in await world.payouts())
    monkeypatch.setattr(settings, "lnbits_service_fee_wallet", None)
    second = await world.cash_out(principal=10_000, fee=1, fiat="20.00")
    await world.landed(second)
    monkeypatch.setattr(settings, "lnbits_service_fee_wallet", fees.id)
    await world.run_due()
    for payment_hash in (first, second):
        (split,) = await world.legs(payment_hash, "operator_split")
        assert split.status == "completed"
    assert [p["sent_sats"] for p in await world.payouts() if p["amount_sats"] == 2] == [
        1
    ]
    await world.assert_ledger()


# -------------------------------------------------------------------------------- pure


def leg(leg_type: str, sats: int, number: int, *, is_free: bool = False) -> Leg:
    now = utc_now()
    return Leg(
        id=f"{number}",
        machine_id="m",
        operator_user_id="o",
        leg_type=leg_type,
        amount_sats=sats,
        transaction_time=now.replace(microsecond=number),
        source_wallet_id="w",
        from_free_balance=is_free,
    )


def chosen(funds: Funds, *legs: Leg) -> tuple[list[str], dict[str, str]]:
    groups = [Group(Destination(f"wallet:{x.leg_type}", x.leg_type), [x]) for x in legs]
    kept, deferred = affordable(groups, funds)
    ids = [x.id for group in kept for x in group.legs]
    return ids, {i: wait.code for i, wait in deferred.items()}


def test_a_round_stops_at_the_first_leg_that_does_not_fit() -> None:
    short = WaitCode.WALLET_SHORT
    lp, fee, split = leg("dca", 50, 3), leg("super_fee", 5, 1), leg("refund", 50, 2)
    funds = Funds(99, (100, 5, 0))
    assert chosen(funds, lp, fee, split) == (["2"], {"3": short, "1": short})
    funds = Funds(104, (100, 5, 0))
    assert chosen(funds, lp, fee, split) == (["2", "3"], {"1": short})


def test_free_legs_go_oldest_first_and_hold_up_nobody() -> None:
    free = WaitCode.FREE_BALANCE
    legs = [
        leg("super_fee", 30, 1, is_free=True),
        leg("super_fee", 30, 2, is_free=True),
        leg("super_fee", 10, 3, is_free=True),
        leg("dca", 100, 4),
    ]
    funds = Funds(145, (100, 0, 0), free_legs_sats=70)
    assert chosen(funds, *legs) == (["4", "1", "3"], {"2": free})
    assert funds.free_sats == -25
    assert funds.spendable_free_sats == 45


def test_while_a_shortfall_is_owed_splits_wait_and_their_sats_are_free() -> None:
    owed = leg("super_fee", 30, 1, is_free=True)
    split = leg("operator_split", 40, 2)
    funds = Funds(40, (0, 0, 40), free_legs_sats=30, has_shortfall=True)
    assert chosen(funds, owed, split) == (["1"], {"2": WaitCode.SHORTFALL})
