"""One row of the bench on one database: `python -m bench.measure one`.

Words: *floor* is the same payments made by a bare loop of LNbits' `create_invoice` and
`pay_invoice` that shares one connection; *usual* is that loop without sharing, one
payment per target per event, which is what split extensions do.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median, quantiles

from bench.stage import DATABASE, Stage, booted, give

# isort: split
from lnbits.core.db import db as core_db
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.settings import settings
from pydantic import BaseModel
from sqlalchemy import event
from world import World

from satmachineadmin import crud, distribution, planning, tasks
from satmachineadmin.database import (
    db,
    db_time,
    insert_sql,
    one,
    row_params,
    run,
    run_many,
    transaction,
)

from conftest import wait_for

LPS = 50


def say(text: str) -> None:
    print(f"[{DATABASE}] {text}", flush=True)


async def pay_all(payer: str, receivers: Sequence[str], *, shared: bool) -> float:
    """Seconds for one internal payment of 1 000 sat to each receiver."""

    async def loop(conn: object) -> None:
        for wallet_id in receivers:
            invoice = await create_invoice(
                wallet_id=wallet_id,
                amount=1_000,
                memo="share",
                internal=True,
                conn=conn,  # type: ignore[arg-type]
            )
            await pay_invoice(
                wallet_id=payer,
                payment_request=invoice.bolt11,
                conn=conn,  # type: ignore[arg-type]
            )

    started = time.perf_counter()
    if shared:
        async with core_db.connect() as conn:
            await loop(conn)
    else:
        await loop(None)
    return time.perf_counter() - started


async def until_completed(hashes: Sequence[str], seconds: float = 600) -> None:
    async def done() -> bool:
        listed = ", ".join(f"'{h}'" for h in hashes)
        async with db.connect() as conn:
            row = await one(
                conn,
                "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements "  # noqa: S608
                f"WHERE status = 'completed' AND payment_hash IN ({listed})",
            )
        return row is not None and row["n"] == len(hashes)

    await wait_for(done, seconds, 0.02)


async def one_settlement(scene: Stage) -> None:
    """One settlement of 50 LPs, from the customer's payment to the last LP paid."""
    world = await scene.world(LPS)
    wallets = [lp.wallet.id for lp in world.lps]
    await give(world.customer.wallet.id, 50_000_000)
    floors, usuals, ours = [], [], []
    for _ in range(5):
        payer = world.customer.wallet.id
        floors.append(await pay_all(payer, wallets, shared=True))
        usuals.append(await pay_all(payer, wallets, shared=False))
        payment_hash = await world.cash_out(principal=100_000, fiat="100.00")
        started = time.perf_counter()
        await until_completed([payment_hash])
        ours.append(time.perf_counter() - started)
    a, b, c = median(floors), median(usuals), median(ours)
    say(
        f"one settlement x {LPS} LPs: {c / a:.2f} x the floor, {b / c:.2f} x faster "
        f"than usual (ours {c:.2f} s, floor {a:.2f} s, usual {b:.2f} s; medians of 5)"
    )


async def burst(scene: Stage) -> None:
    """50 settlements of 50 LPs at once; landing and other users meanwhile."""
    count = 50
    world = await scene.world(LPS)
    wallets = [lp.wallet.id for lp in world.lps]
    await give(world.customer.wallet.id, 500_000_000)
    sample = 4
    usual = 0.0
    for _ in range(sample):
        usual += await pay_all(world.customer.wallet.id, wallets, shared=False)
    usual = usual / sample * count
    other = world.operator.core
    key = {"X-Api-Key": world.customer.wallet.inkey}

    async def ask() -> float:
        started = time.perf_counter()
        (await other.get("/api/v1/wallet", headers=key)).raise_for_status()
        return time.perf_counter() - started

    idle = [await ask() for _ in range(50)]
    invoices = [
        await world.cash_out_invoice(world.stamp(principal=100_000, fiat="100.00"))
        for _ in range(count)
    ]
    started = time.perf_counter()
    for invoice in invoices:
        await pay_invoice(
            wallet_id=world.customer.wallet.id, payment_request=invoice.bolt11
        )
    busy: list[float] = []
    finished = asyncio.create_task(until_completed([i.payment_hash for i in invoices]))
    while not finished.done():
        busy.append(await ask())
        await asyncio.sleep(0.02)
    await finished
    ours = time.perf_counter() - started
    landed = await landing_seconds([i.payment_hash for i in invoices])
    cuts = quantiles(landed, n=100)
    async with db.connect() as conn:
        row = await one(
            conn,
            "SELECT COUNT(*) AS n FROM satoshimachine.dca_payouts "
            "WHERE source_wallet_id = :w AND status = 'paid'",
            {"w": world.machine_wallet.id},
        )
    payments = row["n"] if row else 0
    say(
        f"burst {count} x {LPS}: {usual / ours:.1f} x faster than usual "
        f"(ours {ours:.1f} s with the customers' payments, usual {usual:.0f} s, "
        f"measured on {sample} settlements and multiplied); {payments} payments for "
        f"{count * (LPS + 1)} legs"
    )
    say(
        f"paid to landed in the burst: p50 {cuts[49] * 1000:.0f} ms, "
        f"p99 {cuts[98] * 1000:.0f} ms"
    )
    say(
        f"another user's request: {median(busy) / median(idle):.2f} x idle "
        f"(idle {median(idle) * 1000:.1f} ms, during the burst "
        f"{median(busy) * 1000:.1f} ms)"
    )


async def landing_seconds(hashes: Sequence[str]) -> list[float]:
    found = []
    for payment_hash in hashes:
        row = await crud.get_settlement_by_hash(payment_hash)
        if row is None or row.transaction_time is None:
            raise RuntimeError(f"{payment_hash} has not landed")
        found.append((row.created_at - row.transaction_time).total_seconds())
    return found


async def count_calls(action: Callable[[], Awaitable[object]]) -> int:
    """SQL statements of our database that an action executes."""
    calls = 0

    def seen(*_: object) -> None:
        nonlocal calls
        calls += 1

    engine = db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", seen)
    try:
        await action()
    finally:
        event.remove(engine, "before_cursor_execute", seen)
    return calls


async def calls(scene: Stage) -> None:
    """Our own statements to land and to plan one settlement, 1 to 1 000 LPs."""
    tasks.is_ready = lambda: False
    landing_calls, planning_calls, seconds = {}, {}, {}
    for lps in (1, 10, 100, 1000):
        world = await scene.world(lps)
        tasks_landing = tasks.landing.land_payment
        tasks.landing.land_payment = _nothing  # the listener stands back
        payment_hash = await world.cash_out(principal=1_000_000, fiat="1000.00")
        await asyncio.sleep(0.2)
        tasks.landing.land_payment = tasks_landing
        payment = await world.core_payment(payment_hash)
        landing_calls[lps] = await count_calls(partial(tasks_landing, payment))
        settlement = await world.settlement(payment_hash)
        started = time.perf_counter()
        planning_calls[lps] = await count_calls(
            partial(planning.plan_settlement, settlement.id, distribution.HOLDER)
        )
        seconds[lps] = time.perf_counter() - started
    say(f"statements to land one settlement, by LPs: {landing_calls}")
    say(f"statements to plan one settlement, by LPs: {planning_calls}")
    say(
        "milliseconds to plan, by LPs: "
        f"{ {lps: round(s * 1000) for lps, s in seconds.items()} }"
    )


async def _nothing(*_: object, **__: object) -> None:
    return None


YEAR_SETTLEMENTS = 100_000
YEAR_LEGS_EACH = 10


async def year(scene: Stage) -> None:
    """Our part of one settlement on an empty history, and after a year of it."""
    tasks.is_ready = lambda: False
    world = await scene.world(YEAR_LEGS_EACH, "90000000.00")
    first = await own_part(world)
    started = time.perf_counter()
    await a_year_of_history(world)
    await vacuum()
    filled = time.perf_counter() - started
    last = await own_part(world)
    say(
        f"our part of a settlement after {YEAR_SETTLEMENTS} settlements and "
        f"{YEAR_SETTLEMENTS * YEAR_LEGS_EACH} legs: {last / first:.2f} x the first "
        f"day's ({first * 1000:.1f} ms, then {last * 1000:.1f} ms; history written "
        f"in {filled:.0f} s)"
    )
    hours = 365 * 12
    ours = hours * (YEAR_LEGS_EACH + 2)
    usual = YEAR_SETTLEMENTS * (YEAR_LEGS_EACH + 2)
    say(
        f"arithmetic: LNbits payments in that year with hourly payouts, 12 h a day: "
        f"{ours}, the usual way {usual}: {usual / ours:.1f} x fewer"
    )
    usage = resource.getrusage(resource.RUSAGE_SELF)
    say(f"memory {usage.ru_maxrss // 1024} MiB, CPU {usage.ru_utime:.0f} s")
    boss = world.operator
    for path in LISTS:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            (await boss.api.get(path)).raise_for_status()
            times.append(time.perf_counter() - started)
        say(f"GET {path}: {median(times) * 1000:.0f} ms (median of 5)")
    started = time.perf_counter()
    size = len((await boss.api.get("/settlements.csv", timeout=600)).content)
    seconds = time.perf_counter() - started
    say(f"GET /settlements.csv: {size >> 20} MiB in {seconds:.1f} s")


LISTS = (
    "/overview?days=30",
    "/settlements?limit=20",
    "/settlements?limit=20&status=completed&sortby=wire_sats&direction=desc",
    "/payments?limit=20",
    "/payments?limit=20&leg_type=dca",
    "/machines",
    "/clients",
    "/deposits",
    "/audit",
    "/changes",
)


async def own_part(world: World) -> float:
    """Seconds to land, plan, open payouts and finish them, without LNbits' payments."""
    times = []
    for _ in range(5):
        real = tasks.landing.land_payment
        tasks.landing.land_payment = _nothing
        payment_hash = await world.cash_out(principal=100_000, fiat="100.00")
        await asyncio.sleep(0.1)
        tasks.landing.land_payment = real
        payment = await world.core_payment(payment_hash)
        started = time.perf_counter()
        await real(payment)
        settlement = await world.settlement(payment_hash)
        await planning.plan_settlement(settlement.id, distribution.HOLDER)
        await distribution.rounds.open_round(
            world.machine_wallet.id, distribution.HOLDER
        )
        times.append(time.perf_counter() - started)
        await distribution.worker.run_until_idle()
    return median(times)


async def a_year_of_history(world: World) -> None:
    """Copies one real settlement and its legs a hundred thousand times."""
    async with transaction() as conn:
        model = await one(
            conn,
            "SELECT id FROM satoshimachine.dca_settlements WHERE machine_id = :m "
            "AND status = 'completed' LIMIT 1",
            {"m": world.machine.id},
        )
    settlement = await crud.get_settlement(model["id"]) if model else None
    if settlement is None:
        raise RuntimeError("there is no completed settlement to copy")
    legs = await crud.legs_of(settlement.id)
    await copy_rows("dca_settlements", settlement, YEAR_SETTLEMENTS)
    dca = [leg for leg in legs if leg.leg_type == "dca"][:YEAR_LEGS_EACH]
    for leg in dca:
        await copy_rows("dca_payments", leg, YEAR_SETTLEMENTS)
    async with transaction() as conn:
        for leg in dca:
            cents = int((leg.amount_fiat or 0) * 100) * YEAR_SETTLEMENTS
            await run(
                conn,
                "UPDATE satoshimachine.dca_client_totals SET debited_cents = "
                "debited_cents + :cents WHERE client_id = :client",
                {"cents": cents, "client": leg.client_id},
            )


async def vacuum() -> None:
    """What PostgreSQL's autovacuum would have done in the course of a year."""
    if db.type == "SQLITE":
        return
    async with db.engine.connect() as plain:
        alone = await plain.execution_options(isolation_level="AUTOCOMMIT")
        await alone.exec_driver_sql("VACUUM ANALYZE")


TIMES = (
    "created_at",
    "transaction_time",
    "processed_at",
    "planned_at",
    "completed_at",
)


async def copy_rows(table: str, row: BaseModel, count: int) -> None:
    """`count` copies of a row with new ids, spread over the year before today."""
    params = row_params(row)
    keys = ["id", "payment_hash" if table == "dca_settlements" else "settlement_id"]
    times = [name for name in TIMES if params.get(name) is not None]
    sql = insert_sql(table, params)
    second = 365 * 86400 / count
    yesterday = time.time() - 86400
    for start in range(0, count, 5000):
        batch = []
        for index in range(start, min(start + 5000, count)):
            moment = db_time(crud.from_time(yesterday - second * (count - index)))
            copy = {**params, **dict.fromkeys(times, moment)}
            copy.update({key: f"{params[key]}-{index:08d}" for key in keys})
            batch.append(copy)
        async with transaction() as conn:
            await run_many(conn, sql, batch)


MEASURES = {"one": one_settlement, "burst": burst, "calls": calls, "year": year}


async def main(row: str) -> None:
    settings.lnbits_rate_limit_no = 1_000_000
    async with booted() as scene:
        await wait_for(lambda: tasks.state.is_engine, 30)
        await MEASURES[row](scene)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
