"""From a customer's payment to everybody paid, on a real LNbits, to the sat.

The extension's own listener, sweep and worker run as they do in production; the tests
cause payments through LNbits and wait for what must follow.
"""

from __future__ import annotations

from decimal import Decimal

from world import MakeWorld, balance_sats


async def test_cash_out_pays_platform_operator_and_lps_to_the_sat(
    make_world: MakeWorld,
) -> None:
    world = await make_world(deposits=["300.00", "100.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    payment_hash = await world.cash_out()
    settlement = await world.until(payment_hash, "completed")
    assert (settlement.platform_fee_sats, settlement.operator_fee_sats) == (
        3_000,
        5_000,
    )
    assert settlement.fee_mismatch_sats == 0
    assert await world.platform_sats() == 3_000
    assert await balance_sats(partner.wallet.id) == 5_000
    assert [await lp.balance_sats() for lp in world.lps] == [75_000, 25_000]
    assert await balance_sats(world.machine_wallet.id) == 0
    assert [await world.remaining(lp) for lp in world.lps] == [
        Decimal("150.00"),
        Decimal("50.00"),
    ]
    assert settlement.retained_sats == 0
    await world.assert_ledger()


async def test_cash_in_pays_the_fees_and_no_dca(make_world: MakeWorld) -> None:
    world = await make_world(deposits=["300.00"])
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    await world.fund(world.machine_wallet.id, 100_000)
    payment_hash = await world.cash_in()
    from satmachineadmin import tasks

    assert await tasks.sweep() >= 1
    await world.until(payment_hash, "completed")
    assert await world.platform_sats() == 3_000
    assert await balance_sats(partner.wallet.id) == 5_000
    assert await world.legs(payment_hash, "dca") == []
    assert await balance_sats(world.machine_wallet.id) == 0
    assert await world.remaining(world.lps[0]) == Decimal("300.00")
    await world.assert_ledger()
