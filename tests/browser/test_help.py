"""The guides on screen: from an item of attention to its paragraph, from page to page,
in every look of one page. Nothing is asked of any other server.
"""

from __future__ import annotations

import pytest
from looks import assert_none, look_at
from stage import Desk, Stage

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.page,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
]


async def test_help_leads_to_its_paragraph(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.operator, "overview")
    page = watched.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.get_by_label("What it means: Held back").first.click()
    heading = page.get_by_role("heading", name="Held back")
    await heading.wait_for()
    assert page.url.endswith("/satmachineadmin/help/troubleshooting#quarantined")
    await page.wait_for_function(
        "Math.abs(document.getElementById('quarantined')"
        ".getBoundingClientRect().top) < innerHeight"
    )
    wrong = await look_at(watched, "help/troubleshooting")
    # From page to page without loading the shell again, and with Back.
    await page.evaluate("window.same = true")
    await watched.wear(phone=False, dark=False, language="en")
    link = page.get_by_role("link", name="Backup, restore, move").first
    await link.click()
    await page.get_by_role("heading", name="SQLite: take it").wait_for()
    await page.go_back()
    await heading.wait_for()
    assert await page.evaluate("window.same")
    # The screen's own help, with a picture, in Spanish.
    await stage.turn(watched, "lps")
    await watched.wear(phone=True, dark=False, language="es")
    await page.get_by_role("link", name="Ayuda de esta pantalla").click()
    await page.get_by_role("heading", name="LP y depósitos").last.wait_for()
    await page.wait_for_function(
        "document.querySelector('.satm-guide img')?.naturalWidth > 0"
    )
    assert_none(wrong)
    assert not [url for url in asked if not url.startswith((stage.server.url, "data:"))]
    await page.context.close()
