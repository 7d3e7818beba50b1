"""The night holds the journal against our rows and LNbits' wallets, and stops nothing.

What is missing is planted by taking entries out behind everybody's back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import MakeWorld, World

from satmachineadmin import distribution
from satmachineadmin.base.audit import ENGINE
from satmachineadmin.base.database import execute, transaction
from satmachineadmin.desk import foreign, reconciliation
from satmachineadmin.desk.journal_books import WalletJournal
from satmachineadmin.desk.reconciliation import Period
from satmachineadmin.host.balances import Booked
from satmachineadmin.models import utc_now

from balanced import assert_journal_balances


async def reconciled(world: World) -> dict[str, tuple[int | None, bool]]:
    now = utc_now()
    period = Period(now - timedelta(days=1), now + timedelta(minutes=1))
    report = await reconciliation.reconcile(world.machine.id, period, ENGINE)
    return {d.kind: (d.sats, d.stops) for d in report.differences}


async def lose(world: World, kind: str) -> None:
    """Entries of this kind were never written."""
    of = {"machine": world.machine.id, "kind": kind}
    async with transaction() as conn:
        for table, column in (("journal_lines", "journal_id"), ("journal", "id")):
            await execute(
                conn,
                f"DELETE FROM satoshimachine.{table} WHERE {column} IN ("
                "SELECT id FROM satoshimachine.journal "
                "WHERE machine_id = :machine AND kind = :kind)",
                of,
            )


async def test_what_the_journal_lacks_is_told_and_posted_on_its_own_day(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconciliation, "SETTLING_WINDOW", timedelta(0))
    monkeypatch.setattr(reconciliation, "CONFIRM_DELAY_SECONDS", 0)
    world = await make_world(deposits=["300.00"])
    await world.fund(world.machine_wallet.id, 77_000)
    await world.settle(await world.cash_out())
    await engine_paused.run_until_idle()
    # a top-up that the sweep has not posted yet is none, nor is one that it has
    assert await reconciled(world) == {}
    monkeypatch.setattr(foreign, "SETTLING", timedelta(seconds=-5))
    await foreign.post_foreign()
    assert await reconciled(world) == {}
    await lose(world, "other")
    assert await reconciled(world) == {"journal_wallet": (77_000, False)}
    await lose(world, "paid")
    found = await reconciled(world)
    assert found.pop("journal_wallet") == (77_000, False)
    ((kind, (sats, stops)),) = found.items()
    assert kind == "journal_rows" and sats and sats < 0 and not stops
    # by the next night it is there, as an entry of today
    assert await reconciled(world) == {"journal_wallet": (77_000, False)}
    await assert_journal_balances(world.machine.id)
    await lose(world, "deposit")
    assert "journal_lp" in await reconciled(world)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("msat", "fractions", "on_its_way", "is_off"),
    [
        (5_000_000, 0, 0, False),
        (5_001_000, 0, 0, True),
        (4_999_000, 0, 0, True),
        # two payments that were not for whole sats explain two sat, and no third
        (5_002_999, 2, 0, False),
        (5_003_000, 2, 0, True),
        (5_700_000, 0, 700, False),
        (4_300_000, 0, -700, False),
    ],
)
def test_a_wallet_is_off_by_what_nothing_explains(
    msat: int, fractions: int, on_its_way: int, is_off: bool
) -> None:
    found = WalletJournal("w", 5_000, Booked(msat, fractions), on_its_way).compare([])
    assert bool(found) is is_off


@pytest.mark.pure
def test_what_an_lp_forwards_from_a_machines_wallet_is_nobodys_sale() -> None:
    """A payout of ours that pays legs of settlements is no foreign payment; the part
    that it forwards for an LP whose wallet this is, is."""
    seen = foreign._Seen(
        landed={("sale", "w", False)},
        ours={"out", "mixed", "came"},
        tried={"line"},
        forwarded={"mixed": 300},
        posted={"other:top:in:m"},
    )

    def row(payment_hash: str, sats: int, extra: str = "{}") -> dict[str, Any]:
        facts = {"payment_hash": payment_hash, "wallet_id": "w", "checking_id": "c"}
        return {**facts, "amount": sats * 1000, "fee": 0, "extra": extra}

    assert seen.foreign_sats(row("out", -1_000)) == 0
    assert seen.foreign_sats(row("mixed", -1_000)) == -300
    assert seen.foreign_sats(row("came", 400)) == 400
    assert seen.foreign_sats(row("sale", 500)) == 0
    assert seen.foreign_sats(row("withdrawn", -70)) == -70
    stamped = row("new", 500, '{"source": "bitspire"}')
    assert seen.foreign_sats(stamped) == 0 and seen.is_waited_for(stamped)
    line = row("line", -500)
    assert seen.foreign_sats(line) == 0 and seen.is_waited_for(line)
    owners = {"w": [("m", utc_now()), ("n", utc_now())]}
    assert seen.is_posted(row("top", 5), owners)
    assert not seen.is_posted(row("top", -5), owners)
