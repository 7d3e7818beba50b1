"""Databases of every older shape, filled, upgraded, and then used by the whole story.

The running server's own tables are set aside; an older version's take their place, with
the ids of people and wallets that LNbits knows, and are migrated while the server runs
on. Then everything happens on them: cash-outs, also with forwarding, cash-ins, the
line's calls, reports, refunds, quarantine, deposits, a balance paid out, and the debt
that the older version left open. Every row from before is accounted for before and,
where nobody may change it, afterwards.

`make test` does it with one of these shapes, any, and with what version 1 left behind;
`make torture` with all of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from fixtures.databases import Dump, dump
from fixtures.in_place import in_place_of_ours
from fixtures.older_databases import Table, database_at, lamassu_database
from fixtures.upgraded import assert_every_row_accounted_for, includes
from lnurl_server import LnurlServer
from scenes import OUTSIDE_ADDRESS, SCENES, Scene, finish, in_test, settle
from world import Lp, MakeWorld, World, balance_sats, set_platform, update

from satmachineadmin import crud
from satmachineadmin.base.database import db
from satmachineadmin.desk import balances, legs
from satmachineadmin.models import Client, Leg, Settlement
from satmachineadmin.parties import deposits as cash_deposits

from balanced import assert_ledger_balances
from dev.accounts import UserSession

pytestmark = pytest.mark.longest

VERSIONS = range(1, 10)
IS_LONG = not os.environ.get("SATMACHINE_TORTURE", "8").isdigit()
# any of them; which is chosen in the test, for all processes must collect the same
ANY = 0
SHAPES = list(VERSIONS) if IS_LONG else [ANY]
# what is played on machines of before: scenes that bring no splits of their own
USED_BY = ("HalfDispensed", "LineCashOut", "LineCashIn", "Quarantine")
ANEW = SCENES if IS_LONG else ("CashOut", "LineCashIn")
# nobody writes to a settlement, a leg or a deposit that was final before
KEPT_FOR_GOOD = ("dca_telemetry", "dca_commission_splits")

Play = Callable[[], Awaitable[World]]


async def now_in_it() -> Dump:
    async with db.connect() as conn:
        return await dump(conn)


# --------------------------------------------------------------- people of that time


class Cast:
    """Who the names in the older tables are in this LNbits."""

    def __init__(self, make_user: Any, make_wallet: Any, platform: UserSession) -> None:
        self.make_user = make_user
        self.make_wallet = make_wallet
        self.platform = platform
        self.ids: dict[str, str] = {"ana@x.org": OUTSIDE_ADDRESS}

    async def gather(self) -> None:
        self.olga = await self.make_user("olga")
        self.ana = await self.make_user("ana")
        self.fees = await self.make_wallet(self.platform, "fees of before")
        self.ids |= {"olga": self.olga.user_id, "w-super": self.fees.id}
        await self._wallets(self.olga, "w-gtq", "w-mxn", "w-vnd", "w-olga")
        await self._wallets(self.ana, "w-ana-new", "w-ana-old", "w-ana")
        self.ids["ana"] = self.ana.user_id
        for name in ("bo", "cy", "di", "pavel", "rent"):
            user = await self.make_user(name)
            self.ids |= {name: user.user_id, f"w-{name}": user.wallet.id}

    async def _wallets(self, user: UserSession, *names: str) -> None:
        for name in names:
            self.ids[name] = (await self.make_wallet(user, name)).id

    def named(self, tables: list[Table]) -> list[Table]:
        """The tables with these people's ids for the names in them."""
        for table in tables:
            for row in table.rows:
                for column, value in row.items():
                    if isinstance(value, str) and column != "username":
                        row[column] = self.ids.get(value, value)
        return tables


async def world_of(
    cast: Cast,
    fiat_code: str,
    make_user: Any,
    make_wallet: Any,
    fund: Any,
    super_session: UserSession,
) -> World:
    """The machine of before, with its operator, as a world to play in."""
    machine = await crud.get_machine(f"machine-{fiat_code.lower()}")
    assert machine and machine.operator_user_id == cast.olga.user_id
    wallet = next(w for w in cast.olga.wallets if w.id == machine.wallet_id)
    return World(
        cast.olga,
        await make_user("customer"),
        machine,
        wallet,
        cast.fees,
        make_user,
        make_wallet,
        fund,
        super_session,
    )


# ----------------------------------------------------------------------- what happens


async def perform(scene: Scene) -> None:
    """A scene without a fault, to its end."""
    await scene.prepare()
    for step in scene.steps():
        await step()
    await finish(scene)
    assert {s.status for s in await scene.settlements()} <= {"completed", "voided"}
    for payment_hash in scene.hashes:
        for leg in await scene.world.legs(payment_hash):
            assert leg.status in ("completed", "skipped", "voided"), leg


def assert_paid(settlement: Settlement, legs: list[Leg]) -> None:
    assert settlement.status == "completed", [
        (x.leg_type, x.error_message) for x in legs
    ]


async def deposits(world: World, client_id: str, amount: str) -> None:
    operator = world.operator.user_id
    made = await cash_deposits.create_deposit(
        operator, False, client_id, Decimal(amount), None
    )
    await cash_deposits.set_deposit_status(operator, False, made.id, "confirmed", None)


async def old_parties_are_paid(world: World, cast: Cast, shop: LnurlServer) -> None:
    """A cash-out and a cash-in at a machine of before, to those enrolled before."""
    ids = cast.ids
    await update(
        "dca_machines",
        world.machine.id,
        operator_cash_in_fee_fraction="0.0500",
        operator_cash_out_fee_fraction="0.0500",
    )
    # of 750.00 she had 760.00 paid: an older version let her have that
    await deposits(world, "ana-1", "310.00")
    had = shop.asked_sats[:]
    out = await world.cash_out()
    await settle()
    await settle()
    assert_paid(await world.settlement(out), await world.legs(out))
    assert await balance_sats(ids["w-super"]) == 3_000
    # 0.6667 and 0.3333 of 5 000
    assert await balance_sats(ids["w-olga"]) == 3_334
    assert await balance_sats(ids["w-pavel"]) == 1_666
    (dca,) = await world.legs(out, "dca")
    assert (dca.client_id, dca.amount_sats) == ("ana-1", 100_000)
    assert dca.destination_wallet_id == ids["w-ana-new"]
    (forward,) = await world.legs(out, "autoforward")
    assert forward.status == "completed"
    assert len(shop.asked_sats) == len(had) + 1

    # more than is owed: the leg that had failed is owed out of this wallet, too
    await world.fund(world.machine_wallet.id, 200_000)
    paid_in = await world.cash_in()
    await settle()
    assert_paid(await world.settlement(paid_in), await world.legs(paid_in))
    assert await balance_sats(world.customer.wallet.id) >= 92_000
    assert await balance_sats(ids["w-super"]) == 6_000

    before = await balance_sats(ids["w-ana-new"])
    await balances.close_balance(
        world.operator.user_id,
        "ana-1",
        world.machine_wallet.id,
        Decimal("500"),
        "moving away",
        "close ana",
        confirm_rate=True,
    )
    await settle()
    # 310.00 - 10.00 that she had too much - 200.00
    assert await balance_sats(ids["w-ana-new"]) == before + 100 * 500


async def old_debt_is_settled(world: World) -> None:
    """The leg that had failed is paid by hand, and with it the old settlement."""
    operator = world.operator.user_id
    await legs.mark_leg_paid(operator, "leg-split", "in cash", "by hand")
    settlement = await crud.get_settlement("set-out")
    assert settlement and settlement.status == "completed"


async def play_on(world: World, mxn: World, cast: Cast, shop: LnurlServer) -> None:
    client = Client(
        id="ana-1",
        machine_id=world.machine.id,
        user_id=cast.ana.user_id,
        username="Ana",
    )
    await old_parties_are_paid(world, cast, shop)
    await old_debt_is_settled(world)
    for name in USED_BY:
        await perform(SCENES[name](world, shop))
    assert await world.remaining(Lp(cast.ana, cast.ana.wallet, client, None)) == 0
    # the other machine has a currency and splits of its own
    await mxn.fund(mxn.machine_wallet.id, 100_000)
    sold = await mxn.cash_in(fiat="350.25")
    await settle()
    assert (await mxn.settlement(sold)).status == "completed"
    assert (await mxn.settlement(sold)).fiat_code == "MXN"


def assert_the_past_stands(before: Dump, after: Dump) -> None:
    """What was final before, and what nobody touched, is as it was."""
    for table in KEPT_FOR_GOOD:
        for row in before.get(table, []):
            assert includes(after[table], {"id": row["id"]} if "id" in row else row)
    finals = {
        "dca_settlements": ("set-in", "set-big"),
        "dca_payments": ("leg-dca", "leg-super", "leg-close"),
        "dca_deposits": ("dep-gtq", "dep-mxn", "dep-vnd", "dep-orphan"),
    }
    for table, ids in finals.items():
        was = {row["id"]: row for row in before[table]}
        now = {row["id"]: row for row in after[table]}
        for row_id in ids:
            assert now[row_id] == was[row_id], (table, row_id)


@pytest.mark.parametrize("version", SHAPES)
async def test_an_upgraded_database_is_used_by_the_whole_story(
    version: int,
    hush: None,
    shop: LnurlServer,
    engine_paused: Any,
    make_user: Any,
    make_wallet: Any,
    fund: Any,
    super_session: UserSession,
) -> None:
    version = version or random.choice(VERSIONS)
    print(f"the shape of m{version:03}")
    in_test.set(True)
    cast = Cast(make_user, make_wallet, super_session)
    await cast.gather()
    tables = cast.named(database_at(version))
    async with in_place_of_ours(tables, version) as before:
        upgraded = await now_in_it()
        assert_every_row_accounted_for(before, upgraded)
        people = (make_user, make_wallet, fund, super_session)
        world = await world_of(cast, "GTQ", *people)
        mxn = await world_of(cast, "MXN", *people)
        await play_on(world, mxn, cast, shop)
        assert_the_past_stands(upgraded, await now_in_it())
        await assert_ledger_balances()


async def test_what_lamassu_left_behind_is_kept_and_the_story_begins_anew(
    hush: None,
    shop: LnurlServer,
    engine_paused: Any,
    make_world: MakeWorld,
) -> None:
    in_test.set(True)
    async with in_place_of_ours(lamassu_database(), 0) as before:
        await set_platform("0.0300", None)
        for name in ANEW:
            kind = SCENES[name]
            await perform(kind(await make_world(**kind.machine), shop))
        after = await now_in_it()
        for table, rows in before.items():
            assert after[f"v1_{table}"] == rows
        await assert_ledger_balances()
