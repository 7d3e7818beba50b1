"""The super makes LNbits' balances fast on the Platform page, and puts them back.

What is changed, what it costs everybody and what to do before an upgrade are read
before the button is pressed; every look of the card is whole.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from looks import LOOKS
from stage import Stage, Watched

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
]

TITLES = re.compile("Speed of LNbits|Velocidad de LNbits")
WAITS = "Everybody on LNbits stands still for about"
BEFORE_UPGRADE = "Put it back before you upgrade LNbits"


async def _every_look(watched: Watched, name: str) -> None:
    for phone, dark, language in LOOKS:
        await watched.wear(phone=phone, dark=dark, language=language)
        look = f"{name}-{'phone' if phone else 'desk'}-{language}-{dark}"
        assert await watched.sideways() == 0, look
        assert await watched.cut_off() == [], look
        folder = os.environ.get("SATMACHINE_PICTURES")
        if folder:
            card = watched.page.get_by_role("region", name=TITLES)
            await card.screenshot(path=Path(folder) / f"{look}.png")


async def test_made_fast_and_put_back(stage: Stage) -> None:
    watched = await stage.open(stage.platform, "platform")
    page = watched.page
    card = page.get_by_role("region", name="Speed of LNbits")
    await card.get_by_text("not made").wait_for()
    await card.get_by_text("not measured yet").wait_for()
    await card.get_by_role("button", name="Measure").click()
    await card.get_by_text("A balance will cost at most").wait_for()
    await card.get_by_text("What exactly is changed").click()
    await card.get_by_text("CREATE VIEW balances").wait_for()
    await _every_look(watched, "offered")

    await watched.wear(phone=False, dark=False, language="en")
    await card.get_by_role("button", name="Make balances fast").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_text(WAITS).wait_for()
    await dialog.get_by_text(BEFORE_UPGRADE).wait_for()
    await dialog.get_by_role("button", name="Make balances fast").click()
    await dialog.get_by_text("The change is made.").wait_for()
    await dialog.get_by_role("button", name="Close").last.click()
    await card.get_by_text("Before the change a balance cost").wait_for()
    await _every_look(watched, "applied")

    await watched.wear(phone=False, dark=False, language="en")
    await card.get_by_role("button", name="Put it back").click()
    await dialog.get_by_role("button", name="Put it back").click()
    await dialog.get_by_text("as it was before").wait_for()
    await dialog.get_by_role("button", name="Close").last.click()
    await card.get_by_text("not made").wait_for()
    watched.assert_clean()
    await page.context.close()
