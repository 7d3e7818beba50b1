"""The screens after a year, in a real browser: from the click until usable.

    python -m bench pages

A screen is usable when its heading stands and nothing of it is loading any more. The
page is opened once, as a visitor's; then each screen is clicked in the navigation, five
times, with the browser's cache warm and the screens' code loaded. "first" is the very
first click, which loads the screen's code too.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

from bench.stage import Stage, booted

# isort: split
import uvicorn
from lnbits.settings import settings
from playwright.async_api import Page, async_playwright

from bench.figures import say
from bench.year import LEGS_EACH, SETTLEMENTS, a_year_of_history, tidy
from satmachineadmin import tasks
from satmachineadmin.base.database import db

from conftest import wait_for
from dev import browser
from dev.accounts import UserSession
from dev.server import HOST, free_port

# Of operators; from one to the next and round again, as a hand would.
SECTIONS = ("overview", "machines", "settlements", "lps", "splits", "books", "log")
ROUNDS = 5
USABLE = """section => {
  const on = document.querySelector('.satm-nav__item--on')
  return on && on.dataset.section === section &&
    document.querySelector('#satm-main h1') &&
    !document.querySelector('.satm-wait, .satm-skeleton')
}"""


async def clicked(page: Page, section: str) -> float:
    """Seconds from the click on a section until it is usable."""
    link = page.locator(f'.satm-nav [data-section="{section}"]')
    await link.wait_for()
    started = time.perf_counter()
    await link.click()
    await page.wait_for_function(USABLE, arg=section, polling=20)
    return time.perf_counter() - started


async def visit(page: Page, url: str) -> None:
    started = time.perf_counter()
    await page.goto(f"{url}/satmachineadmin/splits")
    await page.wait_for_function(USABLE, arg="splits", polling=20, timeout=60_000)
    seconds = time.perf_counter() - started
    say(f"the page opened anew, LNbits' own part with it: {seconds * 1000:.0f} ms")
    times: dict[str, list[float]] = {section: [] for section in SECTIONS}
    for _ in range(ROUNDS + 1):
        for section in SECTIONS:
            times[section].append(await clicked(page, section))
    for section, (first, *others) in times.items():
        say(
            f"{section}: usable {median(others) * 1000:.0f} ms after the click (median "
            f"of {ROUNDS}; worst {max(others) * 1000:.0f}, first {first * 1000:.0f})"
        )
    worst = max(median(others) for _, *others in times.values())
    say(f"the slowest screen's median is {worst:.2f} s; 2 s is the limit")


async def look(scene: Stage, operator: UserSession, url: str) -> None:
    executable = browser.find()
    if executable is None:
        raise SystemExit(browser.HOW)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
        )
        context = await chromium.new_context()
        for name, value in (
            ("cookie_access_token", operator.token),
            ("is_lnbits_user_authorized", "true"),
        ):
            await context.add_cookies([{"name": name, "value": value, "url": url}])
        await context.add_init_script(
            'localStorage["lnbits.disclaimerShown"] = "__q_bool|1"'
        )
        await visit(await context.new_page(), url)
        await chromium.close()


async def main() -> None:
    settings.lnbits_rate_limit_no = 1_000_000
    async with booted() as scene:
        await wait_for(lambda: tasks.state.is_engine, 30)
        world = await scene.world(LEGS_EACH, "90000000.00")
        payment_hash = await world.cash_out(principal=100_000, fiat="100.00")
        await world.settle(payment_hash)
        await a_year_of_history(world)
        await tidy(db)
        say(f"{SETTLEMENTS} settlements, {SETTLEMENTS * LEGS_EACH} legs")
        # The same booted LNbits, on a port for the browser.
        port = free_port()
        config = uvicorn.Config(
            scene.transport.app,
            host=HOST,
            port=port,
            lifespan="off",
            log_level="warning",
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        await wait_for(lambda: server.started, 30)
        await look(scene, world.operator, f"http://{HOST}:{port}")
        server.should_exit = True
        await serving


if __name__ == "__main__":
    asyncio.run(main())
