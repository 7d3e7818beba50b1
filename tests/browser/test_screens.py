"""Every screen of every role, with names that try to break it.

At 390 x 844 and 1280 x 900, dark and light, English and Spanish: no horizontal scroll,
nothing cut off, no console error or warning, no failed request, nothing serious for a
screen reader, everything reachable with the keyboard. Names with markup, emoji, text
from right to left and the greatest length run nothing and break nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from looks import assert_none, screens_of
from playwright.async_api import Route
from stage import Desk, Stage

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.page,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.longest,
]


async def test_operators_lists(stage: Stage, desk: Desk) -> None:
    paths = ["overview", "machines", "settlements", "payments", "lps", "log"]
    paths += ["lps?show=deposits", "books"]
    assert_none(await screens_of(stage, desk.operator, paths))


async def test_operators_things(stage: Stage, desk: Desk) -> None:
    paths = [
        f"machines/{desk.machine_id}",
        f"settlements/{desk.settlement_id}",
        f"settlements/{desk.held_back_id}",
        f"lps/{desk.client_id}",
        f"books/{desk.report_id}",
        "splits",
    ]
    assert_none(await screens_of(stage, desk.operator, paths))


async def test_lp_super_and_newcomer(stage: Stage, desk: Desk) -> None:
    wrong = await screens_of(stage, desk.lp, ["dca"])
    paths = ["platform", "settlements", "lps?show=deposits", "books", "log"]
    wrong += await screens_of(stage, stage.platform, paths)
    wrong += await screens_of(stage, await stage.person("new"), [""])
    assert_none(wrong)


async def test_dialogs(stage: Stage, desk: Desk) -> None:
    """The dialogs too, which cover the page; Escape leaves without doing anything."""
    wrong: list[str] = []
    machine, lp = f"machines/{desk.machine_id}", f"lps/{desk.client_id}"
    held_back, good = (
        f"settlements/{one}" for one in (desk.held_back_id, desk.settlement_id)
    )
    for who, phone, screens in (
        (
            desk.operator,
            True,
            {
                "machines": ["Add a machine"],
                machine: ["Settings of the machine", "Pair"],
                held_back: ["Resolve"],
                lp: ["Close the balance"],
                "books": ["Reconcile now"],
            },
        ),
        (
            desk.operator,
            False,
            {good: ["Report dispense"], "lps": ["Record a deposit", "Invite an LP"]},
        ),
        (desk.lp, True, {"dca": ["Settings", "Statement"]}),
    ):
        watched = await stage.open(who, phone=phone, dark=phone)
        page = watched.page
        for path, buttons in screens.items():
            await stage.turn(watched, path)
            for name in buttons:
                button = page.get_by_role("button", name=name, exact=True)
                await button.first.click()
                dialog = page.get_by_role("dialog")
                await dialog.locator("h2").wait_for()
                wrong += [f"{name}: {one}" for one in await watched.unreadable()]
                if await watched.sideways() > 0:
                    wrong.append(f"{name}: scrolls sideways")
                await page.keyboard.press("Escape")
                await dialog.wait_for(state="detached")
        wrong += watched.problems
        await page.context.close()
    assert_none(wrong)


async def test_the_super_opens_everybodys_rows_and_mends_none_of_them(
    stage: Stage, desk: Desk
) -> None:
    watched = await stage.open(stage.platform, "settlements")
    page = watched.page
    await page.locator("tbody tr").first.wait_for()
    assert await page.locator("tbody tr").count() >= 2
    await page.locator("tbody tr").first.click()
    await page.wait_for_url("**/satmachineadmin/settlements/*")
    await page.get_by_text(f"of {desk.operator.username}").wait_for()
    for name in ("Void", "Resolve", "Refund", "Correct the dispense"):
        assert await page.get_by_role("button", name=name).count() == 0, name
    watched.assert_clean()
    await page.context.close()


async def test_an_open_page_notices_silence_and_outlives_a_refusal(
    stage: Stage, desk: Desk
) -> None:
    """Nothing changes in the database; what was typed is still there after a 429."""
    watched = await stage.open(desk.operator, f"machines/{desk.machine_id}")
    page = watched.page
    count = page.get_by_role("textbox", name="Pieces").first
    await count.fill("77")
    too_many = {"status": 429, "json": {"detail": "Too many."}}
    machines = "**/api/v1/machines/**"
    await page.route(machines, lambda route: route.fulfill(**too_many))
    later = datetime.now(timezone.utc) + timedelta(hours=3)

    async def three_hours_on(route: Route) -> None:
        # ages go by the server's clock, and the page reads again by its own
        found = await route.fetch()
        told = {**await found.json(), "now": later.isoformat()}
        await route.fulfill(response=found, json=told)

    await page.route("**/api/v1/changes", three_hours_on)
    await page.clock.set_fixed_time(later)
    await page.get_by_text("3 hours ago").first.wait_for()
    await page.get_by_text("Not up to date: Too many.").wait_for()
    assert await count.input_value() == "77"
    await page.unroute(machines)
    await page.get_by_role("button", name="Try again").click()
    await page.get_by_text("Not up to date").wait_for(state="detached")
    assert await count.input_value() == "77"
    watched.expected += ["429"]
    watched.assert_clean()
    await page.context.close()


async def test_a_long_page_has_jumps_on_a_phone(stage: Stage, desk: Desk) -> None:
    for who, path in ((desk.operator, f"machines/{desk.machine_id}"), (desk.lp, "dca")):
        watched = await stage.open(who, path, phone=True)
        page = watched.page
        jumps = page.get_by_role("navigation", name="On this page")
        names = await jumps.get_by_role("button").all_inner_texts()
        assert len(names) >= 4, names
        for button in await jumps.get_by_role("button").all():
            box = await button.bounding_box()
            assert box and box["height"] >= 44
        await jumps.get_by_role("button").last.click()
        await page.wait_for_function("scrollY > 200")
        heading = await page.evaluate("document.activeElement.textContent.trim()")
        assert heading == names[-1]
        watched.assert_clean()
        await page.context.close()


async def test_every_control_is_reached_with_the_keyboard(
    stage: Stage, desk: Desk
) -> None:
    watched = await stage.open(desk.operator, "settlements")
    page = watched.page
    await page.get_by_role("button", name="Filters").click()
    wanted = await page.evaluate("""() => {
          const all = document.querySelectorAll(
            '.satm a[href], .satm button, .satm input, .satm [role=combobox]')
          return [...all].filter(e => !e.disabled && e.tabIndex >= 0 &&
            e.getClientRects().length).map((e, i) => (e.dataset.stop = i, i))
        }""")
    await page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(len(wanted) * 2 + 40):
        await page.keyboard.press("Tab")
        stop = await page.evaluate("document.activeElement?.dataset?.stop")
        if stop is not None:
            reached.add(int(stop))
        if len(reached) == len(wanted):
            break
    assert sorted(reached) == wanted
    clickable = await page.evaluate(
        """() => [...document.querySelectorAll('.satm tbody tr')]
             .filter(row => !row.querySelector('a[href]')).length"""
    )
    assert clickable == 0  # a row that opens has a link in it


async def test_both_languages_say_the_same(stage: Stage) -> None:
    """Every message is there in English and in Spanish, with the same figures."""
    watched = await stage.open(stage.platform, language="es")
    await watched.wear(phone=False, dark=True, language="en")
    wrong = await watched.page.evaluate("""() => {
          const flat = (tree, name = '') => Object.entries(tree).flatMap(
            ([key, value]) => typeof value === 'object'
              ? flat(value, `${name}.${key}`) : [[`${name}.${key}`, value]])
          const read = language => new Map(flat(
            window.i18n.global.getLocaleMessage(language).satmachine))
          const [en, es] = [read('en'), read('es')]
          const marks = text =>
            [...new Set(String(text).match(/\\{\\w+\\}/g))].sort().join()
          return [...new Set([...en.keys(), ...es.keys()])].filter(key =>
            !en.has(key) || !es.has(key) || marks(en.get(key)) !== marks(es.get(key)))
        }""")
    assert wrong == []
