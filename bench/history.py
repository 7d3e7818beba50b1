"""LNbits' own payments of a month: our way's number, and the usual way's.

In LNbits every payment makes all later ones slower. Both ways settle one cash-out of 10
LPs on an empty LNbits; ours again after the payments that hourly payouts would have
made in the month, the usual way again after one payment for each leg. The rows are
copies of really paid ones, made by the database itself. At both rates ours is measured
too, so that the merging and the history can be told apart.
"""

from __future__ import annotations

from functools import partial
from statistics import median

from bench.figures import engine_at_rest, say, seconds_of
from bench.payments import pay_all
from bench.stage import Stage, give
from bench.year import HOURS_OPEN, LEGS_EACH, SETTLEMENTS, tidy, unlanded

# isort: split
from lnbits.core.db import db as core_db
from lnbits.core.models import Payment
from world import World

from satmachineadmin import distribution, tasks
from satmachineadmin.base.database import execute, fetch_all, fetch_one, in_list

PART = 12
DAYS = 365 // PART
EVERYBODY = LEGS_EACH + 2  # the platform's and the operator's fee
OURS = DAYS * HOURS_OPEN * EVERYBODY
USUAL = SETTLEMENTS // PART * EVERYBODY


async def measure(scene: Stage) -> None:
    await engine_at_rest()
    world = await scene.world(LEGS_EACH, "90000000.00")
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "1.0000", wallet_id=partner.wallet.id)
    await give(world.machine_wallet.id, 100_000_000_000)
    first = await settled(world, 3)
    usual_first = await usual(world, partner.wallet.id)
    hashes = await paid_hashes(world)
    await copy_payments(hashes, 0, OURS)
    ours_last = await settled(world, 3)
    await copy_payments(hashes, OURS, USUAL)
    usual_last = await usual(world, partner.wallet.id)
    ours_there = await settled(world, 1)
    say(
        f"one settlement x {LEGS_EACH} LPs after {DAYS} days of {SETTLEMENTS // 365} "
        f"settlements: usual {usual_last / ours_last:.1f} x ours"
    )
    say(
        f"the same: usual {usual_last:.2f} s after {USUAL} LNbits payments, "
        f"{usual_last / usual_first:.1f} x its first day's; ours {ours_last:.2f} s "
        f"after {OURS}, {ours_last / first:.1f} x its first day's; ours would take "
        f"{ours_there:.2f} s after {USUAL}"
    )


async def settled(world: World, times: int) -> float:
    """Seconds to land, plan and pay one cash-out; the median of so many."""
    taken = []
    for _ in range(times):
        payment = await world.core_payment(await unlanded(world))
        taken.append(await seconds_of(partial(_settle, payment)))
    return median(taken)


async def _settle(payment: Payment) -> None:
    await tasks.landing.land_payment(payment)
    await distribution.worker.run_until_idle()


async def usual(world: World, partner: str) -> float:
    receivers = [*(lp.wallet.id for lp in world.lps), world.platform.id, partner]
    return await pay_all(world.machine_wallet.id, receivers, shared=False)


async def paid_hashes(world: World) -> list[str]:
    return [p["payment_hash"] for p in await world.payouts()][-EVERYBODY:]


async def copy_payments(hashes: list[str], done: int, total: int) -> None:
    """Copies both rows of each payment until there are `total` more payments."""
    params: dict[str, object] = {}
    listed = in_list("h", hashes, params)
    async with core_db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT * FROM apipayments WHERE payment_hash IN {listed} LIMIT 1",  # noqa: S608
            params,
        )
        columns = list(found[0])
        changed = {
            name: f"{name} || '-' || CAST(n AS TEXT)"
            for name in ("checking_id", "payment_hash")
        }
        await execute(
            conn,
            f"""
            WITH RECURSIVE numbers(n) AS (
                SELECT {done // len(hashes)} UNION ALL
                SELECT n + 1 FROM numbers WHERE n < {total // len(hashes) - 1})
            INSERT INTO apipayments ({", ".join(f'"{c}"' for c in columns)})
            SELECT {", ".join(changed.get(c, f'"{c}"') for c in columns)}
            FROM apipayments, numbers WHERE payment_hash IN {listed}
            """,  # noqa: S608
            params,
        )
        await conn.conn.commit()
        row = await fetch_one(conn, "SELECT COUNT(*) AS n FROM apipayments")
    if row is None or row["n"] < 2 * total:
        raise RuntimeError(f"{row} LNbits payments instead of {total}")
    await tidy(core_db)
