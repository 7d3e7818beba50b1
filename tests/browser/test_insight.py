"""Insight on the screen: an operator, an LP and the super each find their answer, in
every look, with names that are hostile; charts say what they show, and their figures
are there as a table and a file.
"""

from __future__ import annotations

import csv
import io

import pytest
from looks import assert_none, look_at
from stage import Desk, Stage, settled

from dev.accounts import answer

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.page,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.longest,
]


async def test_an_operator_sees_what_earned_and_takes_it_along(
    stage: Stage, desk: Desk
) -> None:
    watched = await stage.open(desk.operator, "insight")
    page = watched.page
    await page.get_by_text("kept the most").wait_for()
    # a chart says in a sentence what it shows
    charts = page.locator("canvas")
    for number in range(await charts.count()):
        said = await charts.nth(number).get_attribute("aria-label")
        assert said and said.endswith("."), said
    answered = answer(await desk.operator.api.get("/insight"))
    (total,) = answered["totals"]
    tile = page.locator(".satm-tile").filter(has_text="Volume")
    digits = "".join(c for c in await tile.inner_text() if c.isdigit())
    assert str(total["volume_sats"]) in digits
    # the file holds the same rows as the table
    link = page.get_by_role("link", name="Machine by machine: Download as CSV")
    async with page.expect_download() as waiting:
        await link.click()
    text = (await (await waiting.value).path()).read_text(encoding="utf-8-sig")
    rows = list(csv.reader(io.StringIO(text)))
    assert len(rows) == 1 + len(answered["machines"])
    # days without a trade are said in words, and a copied link shows the same days
    await stage.turn(watched, "insight?from=2020-01-01&to=2020-01-31")
    await page.get_by_text("Nothing was sold in these days").first.wait_for()
    await page.reload()
    await settled(page)
    assert await page.get_by_label("From").input_value() == "2020-01-01"
    await page.get_by_label("To", exact=True).fill("2019-12-01")
    await page.get_by_text("the first not after the second").wait_for()
    await stage.turn(watched, "insight")
    await page.get_by_text("kept the most").wait_for()
    wrong = await look_at(watched, "insight")
    await page.context.close()
    assert_none(wrong)


async def test_an_lp_sees_whether_they_are_ahead(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.lp, "insight")
    page = watched.page
    await page.get_by_text("for one bitcoin on average").first.wait_for()
    await page.get_by_text("Left of today").wait_for()
    wrong = await look_at(watched, "insight")
    await page.context.close()
    assert_none(wrong)


async def test_the_super_opens_what_a_sum_is_of(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(stage.platform, "insight")
    page = watched.page
    await page.get_by_text("sold the most in these days").first.wait_for()
    rows = page.locator("section[aria-label=Operators] tbody tr")
    mine = rows.filter(has_text=desk.operator.username)
    await mine.get_by_role("link").last.click()
    await page.wait_for_url(f"**/insight?*machine={desk.machine_id}*")
    watched.assert_clean()
    await page.context.close()
