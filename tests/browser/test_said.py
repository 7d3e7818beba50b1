"""Who says what of whom, on screen: a missing deposit, a link, the super's sums.

An LP reports cash that nobody recorded, the operator makes a link that invites, and the
super reads what became of the platform's share; at a desk in English, on a phone in
Spanish.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stage import Desk, Stage, Watched

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
]


async def _whole(watched: Watched, name: str) -> None:
    """Nothing is cut off; a picture of it for who asks for one."""
    assert await watched.sideways() == 0
    assert await watched.cut_off() == []
    folder = os.environ.get("SATMACHINE_PICTURES")
    if folder:
        path = Path(folder) / f"{name}.png"
        await watched.page.screenshot(path=path, full_page=True)


async def test_an_lp_reports_cash_that_is_missing(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.lp, "dca")
    page = watched.page
    await page.get_by_role("button", name="Report missing cash").click()
    dialog = page.get_by_role("dialog")
    amount = dialog.get_by_label("Amount of cash")
    await amount.fill("1.000")
    await dialog.get_by_role("button", name="Report missing cash").click()
    await dialog.get_by_text("This can be read as 1000 and as 1.00.").wait_for()
    await amount.fill("1 000,50")
    await _whole(watched, "claim-desk")
    await dialog.get_by_role("button", name="Report missing cash").click()
    await dialog.get_by_text("1,000.50").wait_for()
    await dialog.get_by_role("button", name="Close").last.click()
    await page.get_by_text("claimed by the LP").first.wait_for()
    watched.assert_clean()
    await page.context.close()
    watched = await stage.open(desk.lp, "dca", phone=True, language="es")
    await watched.page.get_by_text("Avisar de efectivo que falta").wait_for()
    await _whole(watched, "dca-phone-es")
    watched.assert_clean()
    await watched.page.context.close()


@pytest.mark.parametrize("phone", [False, True])
async def test_a_link_that_invites(stage: Stage, desk: Desk, phone: bool) -> None:
    language = "es" if phone else "en"
    button = "Invitar con un enlace" if phone else "Invite by a link"
    make = "Crear el enlace" if phone else "Make the link"
    watched = await stage.open(desk.operator, "lps", phone=phone, language=language)
    page = watched.page
    await page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name=make).click()
    await dialog.get_by_text("/satmachineadmin/invitations/").first.wait_for()
    await _whole(watched, f"link-{language}")
    watched.assert_clean()
    await page.context.close()


@pytest.mark.parametrize("phone", [False, True])
async def test_the_super_reads_the_sums_of_operators(
    stage: Stage, desk: Desk, phone: bool
) -> None:
    language = "es" if phone else "en"
    words = "Perdido con anulaciones" if phone else "Lost with voids"
    watched = await stage.open(
        stage.platform, "platform", phone=phone, language=language
    )
    await watched.page.get_by_text(words).first.wait_for()
    await _whole(watched, f"operators-{language}")
    watched.assert_clean()
    await watched.page.context.close()
