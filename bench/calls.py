"""Our own SQL statements for one settlement, from 1 to 1 000 LPs."""

from __future__ import annotations

import time
from functools import partial

from bench.figures import count_calls, engine_at_rest, say
from bench.stage import Stage
from bench.year import unlanded

# isort: split
from satmachineadmin import distribution, tasks
from satmachineadmin.money import planning

LPS = (1, 10, 100, 1000)


async def measure(scene: Stage) -> None:
    await engine_at_rest()
    landing, plan, paying, seconds = {}, {}, {}, {}
    for lps in LPS:
        world = await scene.world(lps)
        payment_hash = await unlanded(world, 100_000)
        payment = await world.core_payment(payment_hash)
        landing[lps] = await count_calls(partial(tasks.landing.land_payment, payment))
        settlement = await world.settlement(payment_hash)
        started = time.perf_counter()
        plan[lps] = await count_calls(
            partial(planning.plan_settlement, settlement.id, distribution.INSTANCE_ID)
        )
        seconds[lps] = time.perf_counter() - started
        paying[lps] = await count_calls(distribution.worker.run_until_idle)
    say(f"statements to land one settlement, by LPs: {landing}")
    say(f"statements to plan one settlement, by LPs: {plan}")
    say(f"milliseconds to plan, by LPs: {_rounded(seconds, 1000)}")
    say(
        "statements to pay one settlement, by LPs (many rows count as one): "
        f"{paying}, per leg {_rounded({n: paying[n] / (n + 1) for n in LPS}, 1)}"
    )


def _rounded(figures: dict[int, float], factor: int) -> dict[int, float]:
    return {lps: round(figure * factor, 1) for lps, figure in figures.items()}
