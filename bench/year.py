"""The simulated year: 100 000 settlements and 1 000 000 legs in our own tables.

Our part of one settlement before and after it, the screens' lists at that size, the
CSV, memory and CPU. The rows are copies of one settlement that was really paid, made by
the database itself.
"""

from __future__ import annotations

import asyncio
import resource
import time
from functools import partial
from statistics import median

from bench.figures import engine_at_rest, say, seconds_of
from bench.stage import Stage

# isort: split
from lnbits.db import Database
from pydantic import BaseModel
from world import World

from satmachineadmin import crud, distribution, tasks
from satmachineadmin.base.database import db, db_time, execute, row_params, transaction
from satmachineadmin.models import Leg, Settlement
from satmachineadmin.money import planning

from dev.accounts import UserSession

SETTLEMENTS = 100_000
LEGS_EACH = 10
HOURS_OPEN = 12
DAY = 86_400
LISTS = (
    "/overview?days=30",
    "/overview?days=365",
    "/settlements?limit=20",
    "/settlements?limit=20&offset=50000",
    "/settlements?limit=20&status=completed&sortby=wire_sats&direction=desc",
    "/settlements?limit=20&search=nothing-like-it",
    "/settlements?limit=20&search=00099999",
    "/payments?limit=20",
    "/payments?limit=20&leg_type=dca",
    "/machines",
    "/machines/{machine}",
    "/clients",
    "/clients?sortby=sats_received&direction=desc",
    "/deposits",
    "/audit",
    "/changes",
)
LP_LISTS = ("/lp/summary", "/lp/history?days=365", "/lp/payments?limit=20")


async def measure(scene: Stage) -> None:
    await engine_at_rest()
    world = await scene.world(LEGS_EACH, "90000000.00")
    first = await own_part(world)
    filled = await seconds_of(lambda: a_year_of_history(world))
    await tidy(db)
    last = await own_part(world)
    say(
        f"our part of a settlement after {SETTLEMENTS} settlements and "
        f"{SETTLEMENTS * LEGS_EACH} legs: {last / first:.2f} x the first day's "
        f"({first * 1000:.1f} ms, then {last * 1000:.1f} ms; medians of 5; history "
        f"written in {filled:.0f} s)"
    )
    ours = 365 * HOURS_OPEN * (LEGS_EACH + 2)
    usual = SETTLEMENTS * (LEGS_EACH + 2)
    say(
        f"arithmetic: LNbits payments of that year with hourly payouts, {HOURS_OPEN} h "
        f"a day: {usual / ours:.1f} x fewer than usual (at most {ours}, usual {usual})"
    )
    await lists(world.operator, LISTS, world.machine.id)
    await lists(world.lps[0].user, LP_LISTS, world.machine.id)
    boss = world.operator.api
    started = time.perf_counter()
    size = len((await boss.get("/settlements.csv", timeout=600)).content)
    seconds = time.perf_counter() - started
    say(f"GET /settlements.csv: {size >> 20} MiB in {seconds:.1f} s")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    say(
        f"memory at most {usage.ru_maxrss // 1024} MiB, LNbits and the bench included; "
        f"CPU {usage.ru_utime + usage.ru_stime:.0f} s"
    )


async def lists(user: UserSession, paths: tuple[str, ...], machine_id: str) -> None:
    for path in paths:

        async def ask(path: str = path) -> None:
            answer = await user.api.get(path.format(machine=machine_id))
            answer.raise_for_status()

        taken = await seconds_of(ask, 5)
        verdict = "" if taken <= 0.3 else " (wanted: 300 ms)"
        say(f"GET {path}: {taken * 1000:.0f} ms{verdict}")


async def own_part(world: World) -> float:
    """Seconds to land, plan, open payouts and finish them, without LNbits' payments."""
    times = []
    for _ in range(5):
        payment_hash = await unlanded(world)
        payment = await world.core_payment(payment_hash)
        taken = await seconds_of(partial(tasks.landing.land_payment, payment))
        settlement = await world.settlement(payment_hash)
        started = time.perf_counter()
        await planning.plan_settlement(settlement.id, distribution.INSTANCE_ID)
        await distribution.rounds.open_round(
            world.machine_wallet.id, distribution.INSTANCE_ID
        )
        times.append(taken + time.perf_counter() - started)
        await distribution.worker.run_until_idle()
    return median(times)


async def unlanded(world: World, cents: int = 10_000) -> str:
    """The hash of a cash-out that the listener did not see."""
    real = tasks.landing.land_payment
    tasks.landing.land_payment = _nothing
    payment_hash = await world.cash_out(
        principal=cents * 10, fee=cents, fiat=f"{cents // 100}.00"
    )
    await asyncio.sleep(0.2)
    tasks.landing.land_payment = real
    return payment_hash


async def _nothing(*_: object, **__: object) -> None:
    return None


async def a_year_of_history(world: World) -> None:
    """Copies one real settlement and its legs a hundred thousand times."""
    settlement, legs = await _model(world)
    dca = [leg for leg in legs if leg.leg_type == "dca"][:LEGS_EACH]
    await _copy("dca_settlements", settlement, "payment_hash")
    for leg in dca:
        await _copy("dca_payments", leg, "settlement_id")
    async with transaction() as conn:
        for leg in dca:
            await execute(
                conn,
                "UPDATE satoshimachine.dca_client_totals SET "
                "debited_cents = debited_cents + :cents, "
                "received_cents = received_cents + :cents, "
                "received_sats = received_sats + :sats WHERE client_id = :client",
                {
                    "cents": int((leg.amount_fiat or 0) * 100) * SETTLEMENTS,
                    "sats": leg.amount_sats * SETTLEMENTS,
                    "client": leg.client_id,
                },
            )


async def _model(world: World) -> tuple[Settlement, list[Leg]]:
    found = await world.operator.api.get("/settlements?status=completed&limit=1")
    settlement = await crud.get_settlement(found.json()["data"][0]["id"])
    if settlement is None:
        raise RuntimeError("there is no completed settlement to copy")
    return settlement, await crud.legs_of(settlement.id)


async def tidy(database: Database) -> None:
    """What PostgreSQL's autovacuum would have done in the course of a year."""
    if database.type == "SQLITE":
        return
    async with database.engine.connect() as plain:
        alone = await plain.execution_options(isolation_level="AUTOCOMMIT")
        await alone.exec_driver_sql("VACUUM ANALYZE")


TIMES = ("created_at", "transaction_time", "processed_at", "planned_at", "completed_at")


async def _copy(table: str, row: BaseModel, key: str) -> None:
    """Copies of a row with new ids, spread over the year before yesterday."""
    fields = row_params(row)
    times = [name for name in TIMES if fields.get(name) is not None]
    step = 365 * DAY / SETTLEMENTS
    if db.type == "SQLITE":
        number, at = "printf('%08d', n)", f"CAST(:start AS REAL) + n * {step}"
    else:
        number = "LPAD(CAST(n AS TEXT), 8, '0')"
        at = f"CAST(:start AS TIMESTAMP) + n * INTERVAL '{step} seconds'"
    changed = dict.fromkeys(times, at)
    changed.update({name: f"{name} || '-' || {number}" for name in ("id", key)})
    columns = ", ".join(fields)
    values = ", ".join(changed.get(name, name) for name in fields)
    start = crud.from_time(time.time() - 366 * DAY)
    async with transaction() as conn:
        await execute(
            conn,
            f"WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM "  # noqa: S608
            f"numbers WHERE n < {SETTLEMENTS - 1}) "
            f"INSERT INTO satoshimachine.{table} ({columns}) SELECT {values} "
            f"FROM satoshimachine.{table}, numbers WHERE id = :id",
            {"id": fields["id"], "start": db_time(start)},
        )
