"""One settlement, and a burst of them, against the same payments made without us.

*Floor*: a bare loop of LNbits' `create_invoice` and `pay_invoice` that shares one
connection. *Usual*: that loop without sharing, one payment per target per event, which
is what split extensions do. What LNbits does about a payment afterwards, its
notifications, waits until the floor gives the connection back, and is not in its time.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Any

from bench.figures import say
from bench.stage import Stage, give

# isort: split
from lnbits.core.db import db as core_db
from lnbits.core.services import create_invoice, pay_invoice
from lnbits.db import Connection
from lnbits.task_manager import task_manager
from world import World

from satmachineadmin import crud, tasks
from satmachineadmin.base.database import db, fetch_one
from satmachineadmin.money import payouts_crud

from conftest import wait_for

LPS = 50
RUNS = 5
BURST = 50
SAMPLE = 4


async def pay_all(payer: str, receivers: Sequence[str], *, shared: bool) -> float:
    """Seconds for one internal payment of 1 000 sat to each receiver."""

    async def loop(conn: Connection | None) -> None:
        for wallet_id in receivers:
            invoice = await create_invoice(
                wallet_id=wallet_id,
                amount=1_000,
                memo="share",
                internal=True,
                conn=conn,
            )
            await pay_invoice(
                wallet_id=payer, payment_request=invoice.bolt11, conn=conn
            )

    started = time.perf_counter()
    if shared:
        async with core_db.connect() as conn:
            await loop(conn)
    else:
        await loop(None)
    return time.perf_counter() - started


async def quiet() -> None:
    """Until LNbits has told everybody of what was paid before."""
    await wait_for(lambda: task_manager.internal_invoice_queue.empty(), 60)
    await asyncio.sleep(1)


@asynccontextmanager
async def until_completed(hashes: Sequence[str]) -> AsyncIterator[None]:
    """Leaves the block when all are completed; looks only when a payout was."""
    real = payouts_crud.complete_payouts
    changed = asyncio.Event()

    async def completing(results: Any) -> Any:
        done = await real(results)
        changed.set()
        return done

    payouts_crud.complete_payouts = completing
    try:
        yield
        while await _completed(hashes) < len(hashes):
            await asyncio.wait_for(changed.wait(), 300)
            changed.clear()
    finally:
        payouts_crud.complete_payouts = real


async def _completed(hashes: Sequence[str]) -> int:
    listed = ", ".join(f"'{h}'" for h in hashes)
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            "SELECT COUNT(*) AS n FROM satoshimachine.dca_settlements "  # noqa: S608
            f"WHERE status = 'completed' AND payment_hash IN ({listed})",
        )
    return row["n"] if row else 0


async def crowd(scene: Stage, sats: int) -> tuple[World, str, list[str]]:
    """A machine with its LPs, a wallet of so many sats, and who is paid from it."""
    await wait_for(lambda: tasks.state.is_engine, 30)
    world = await scene.world(LPS)
    payer = world.customer.wallet.id
    await give(payer, sats)
    # our payments are one more: the platform's fee
    return world, payer, [*(lp.wallet.id for lp in world.lps), world.platform.id]


async def one_settlement(scene: Stage) -> None:
    """From the customer's payment to the last LP paid."""
    world, payer, wallets = await crowd(scene, 50_000_000)
    rivals: dict[str, list[tuple[float, float]]] = {
        "floor": [],
        "usual": [],
        "ours": [],
    }

    async def timed(name: str, paying: Awaitable[Any]) -> None:
        """Seconds until all are paid, and of CPU until LNbits has told everybody."""
        cpu, started = time.process_time(), time.perf_counter()
        await paying
        seconds = time.perf_counter() - started
        await quiet()
        rivals[name].append((seconds, time.process_time() - cpu))

    for _ in range(RUNS):
        await timed("floor", pay_all(payer, wallets, shared=True))
        await timed("usual", pay_all(payer, wallets, shared=False))
        payment_hash = await world.cash_out(principal=100_000, fiat="100.00")
        await timed("ours", _completing([payment_hash]))
    (a, cpu_a), (b, cpu_b), (c, cpu_c) = (
        (median(t for t, _ in runs), median(t for _, t in runs))
        for runs in rivals.values()
    )
    say(
        f"one settlement x {LPS} LPs: {c / a:.2f} x the floor (wanted: 1.15), "
        f"{b / c:.2f} x faster than usual (wanted: 2; the floor itself is "
        f"{b / a:.2f} x faster); ours {c:.2f} s, floor {a:.2f} s, usual {b:.2f} s, "
        f"medians of {RUNS}"
    )
    say(
        f"its CPU, with what LNbits does after each payment: {cpu_c / cpu_a:.2f} x the "
        f"floor's, {cpu_b / cpu_c:.2f} x less than usual; ours {cpu_c:.2f} s, floor "
        f"{cpu_a:.2f} s, usual {cpu_b:.2f} s"
    )


async def _completing(hashes: Sequence[str]) -> None:
    async with until_completed(hashes):
        pass


async def burst(scene: Stage) -> None:
    """Settlements at once; their landing and other users meanwhile."""
    world, payer, wallets = await crowd(scene, 500_000_000)
    idle = [await _ask(world) for _ in range(100)]
    # the same customers, at somebody who owes nothing to anybody
    bills = [
        await create_invoice(wallet_id=world.platform.id, amount=1_000, memo="a bill")
        for _ in range(BURST)
    ]
    async with _others(world) as alone:
        for bill in bills:
            await pay_invoice(wallet_id=payer, payment_request=bill.bolt11)
    await quiet()
    invoices = [
        await world.cash_out_invoice(world.stamp(principal=100_000, fiat="100.00"))
        for _ in range(BURST)
    ]
    hashes = [i.payment_hash for i in invoices]
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    async with _others(world) as busy, until_completed(hashes):
        for invoice in invoices:
            await pay_invoice(wallet_id=payer, payment_request=invoice.bolt11)
        paid = time.perf_counter() - started
    ours = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    payments, legs = await _payouts_of(world)
    await quiet()
    floor = paid
    for _ in range(SAMPLE):
        floor += await pay_all(payer, wallets, shared=True) / SAMPLE * BURST
        await quiet()
    started = time.perf_counter()
    async with _others(world) as besides:
        await _usual_burst(world, payer, wallets)
    usual = time.perf_counter() - started
    say(
        f"burst {BURST} x {LPS}: {usual / ours:.1f} x faster than usual (wanted: 20), "
        f"{floor / ours:.1f} x faster than the floor; ours {ours:.1f} s, usual "
        f"{usual:.0f} s, floor {floor:.0f} s (measured on {SAMPLE} settlements and "
        f"multiplied), each with the customers' own payments, {paid:.1f} s of ours; "
        f"{payments} payments for {legs} legs"
    )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    say(
        f"CPU during the burst {cpu:.1f} s; memory at most "
        f"{after.ru_maxrss // 1024} MiB, LNbits included"
    )
    cuts = quantiles(await _landing_seconds(hashes), n=100)
    say(
        f"paid to landed in the burst: p50 {cuts[49] * 1000:.0f} ms, "
        f"p99 {cuts[98] * 1000:.0f} ms (wanted: p99 100)"
    )
    say(
        f"another user's request in the burst: median "
        f"{median(busy) / median(idle):.1f} x idle (wanted: 2; "
        f"{median(alone) / median(idle):.1f} x when customers pay and nobody is paid "
        f"for it, {median(besides) / median(idle):.1f} x in the usual way's burst); "
        f"median and p99 {_told(busy)}, idle {_told(idle)}, customers alone "
        f"{_told(alone)}, usual {_told(besides)}"
    )


def _told(times: Sequence[float]) -> str:
    return f"{median(times) * 1000:.1f} / {quantiles(times, n=100)[98] * 1000:.0f} ms"


async def _ask(world: World) -> float:
    """Seconds that another user waits for an answer of LNbits'."""
    started = time.perf_counter()
    answer = await world.operator.core.get(
        "/api/v1/wallet", headers={"X-Api-Key": world.customer.wallet.inkey}
    )
    answer.raise_for_status()
    return time.perf_counter() - started


@asynccontextmanager
async def _others(world: World) -> AsyncIterator[list[float]]:
    """What another user waits for while the block runs, one request after another."""
    waited: list[float] = []

    async def ask() -> None:
        while True:
            waited.append(await _ask(world))
            await asyncio.sleep(0.02)

    asking = asyncio.create_task(ask())
    try:
        yield waited
    finally:
        asking.cancel()


async def _usual_burst(world: World, payer: str, wallets: Sequence[str]) -> None:
    """Customers pay as many sales, and each sale pays everybody by itself."""
    for _ in range(BURST):
        invoice = await create_invoice(
            wallet_id=world.machine_wallet.id, amount=1_000, memo="a sale"
        )
        await pay_invoice(wallet_id=payer, payment_request=invoice.bolt11)
        await pay_all(payer, wallets, shared=False)


async def _payouts_of(world: World) -> tuple[int, int]:
    async with db.connect() as conn:
        row = await fetch_one(
            conn,
            "SELECT COUNT(DISTINCT o.id) AS payments, COUNT(*) AS legs "
            "FROM satoshimachine.dca_payouts o "
            "JOIN satoshimachine.dca_payments p ON p.payout_id = o.id "
            "WHERE o.source_wallet_id = :w AND o.status = 'paid'",
            {"w": world.machine_wallet.id},
        )
    return (row["payments"], row["legs"]) if row else (0, 0)


async def _landing_seconds(hashes: Sequence[str]) -> list[float]:
    found = []
    for payment_hash in hashes:
        row = await crud.get_settlement_by_hash(payment_hash)
        if row is None or row.transaction_time is None:
            raise RuntimeError(f"{payment_hash} has not landed")
        found.append((row.created_at - row.transaction_time).total_seconds())
    return found
