"""The super deletes everything on the Platform page: what forbids it is read there, and
nothing is sent before the words are typed.

The server's answers are planted where everything would be over: the stage is of other
tests too. What the server does is in tests/desk/test_erasing.py and test_install.py.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from looks import LOOKS
from stage import Stage

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.page,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
]

BALANCES = "Nothing is deleted while 3 LPs have a balance: close it first."
OPEN = {"open": [BALANCES], "exported_at": None, "is_exported": False}
OVER = {"open": [], "exported_at": "2026-11-30T10:00:00+00:00", "is_exported": True}


async def test_what_forbids_it_and_the_words_that_do_it(stage: Stage) -> None:
    watched = await stage.open(stage.platform, "log")
    page = watched.page
    now: dict[str, Any] = OPEN
    sent: list[dict[str, Any]] = []

    async def answer(route: Any) -> None:
        if route.request.method == "POST":
            sent.append(json.loads(route.request.post_data))
        await route.fulfill(json=now)

    await page.route("**/super/everything", answer)
    await page.route("**/super/everything/delete", answer)
    # by the page's router: after a reload LNbits' worker asks, whom nobody routes
    await stage.turn(watched, "platform")
    card = page.get_by_role("region", name="Delete everything")
    await card.get_by_text(BALANCES).wait_for()
    await card.get_by_text("Not downloaded yet.").wait_for()
    await card.get_by_role("link", name="Download everything").wait_for()
    assert await card.get_by_role("button", name="Delete everything").count() == 0
    for phone, dark, language in LOOKS:
        await watched.wear(phone=phone, dark=dark, language=language)
        name = re.compile("Delete everything|Borrar todo")
        here = page.get_by_role("region", name=name)
        await here.get_by_text(re.compile(r"(while|mientras) 3 LP")).wait_for()
        assert await watched.sideways() == 0
        assert await watched.cut_off() == []

    now = OVER
    await watched.wear(phone=False, dark=False, language="en")
    await stage.turn(watched, "log")
    await stage.turn(watched, "platform")
    await card.get_by_text("Nobody is owed anything").wait_for()
    await card.get_by_role("button", name="Delete everything").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_text("For good, for everybody").wait_for()
    await dialog.get_by_label("Type DELETE EVERYTHING").fill("delete everything")
    await dialog.get_by_label("Why").fill("sold")
    await dialog.get_by_role("button", name="Delete everything").click()
    await dialog.get_by_text("Type the words exactly").wait_for()
    assert sent == []
    await dialog.get_by_label("Type DELETE EVERYTHING").fill("DELETE EVERYTHING")
    await dialog.get_by_role("button", name="Delete everything").click()
    await dialog.get_by_text("Everything is deleted.").wait_for()
    assert sent == [{"confirmation": "DELETE EVERYTHING", "reason": "sold"}]
    watched.assert_clean()
    await page.context.close()
