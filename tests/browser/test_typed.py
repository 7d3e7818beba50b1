"""What somebody typed is not thrown away: not by a slip of the finger, nor by leaving.

A click beside a dialog, Esc, Cancel and the cross ask first; so does another section,
with cassettes or splits that are not saved. What nobody typed into closes at once.
"""

from __future__ import annotations

import pytest
from playwright.async_api import Page
from stage import Desk, Stage

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

WORDS = "kept while I look it up"


async def _beside(page: Page) -> None:
    await page.mouse.click(5, 5)


async def _escape(page: Page) -> None:
    await page.keyboard.press("Escape")


async def _cancel(page: Page) -> None:
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()


async def _cross(page: Page) -> None:
    foot = page.get_by_role("dialog").locator(".satm-dialog__head")
    await foot.get_by_role("button", name="Close").click()


async def _keeps(page: Page, opener: str, field: str) -> None:
    """The dialog behind the button `opener` asks before `field` is thrown away."""
    dialog = page.get_by_role("dialog")
    button = page.get_by_role("button", name=opener).first
    await button.click()
    typed = dialog.get_by_label(field).first
    await typed.wait_for()
    # who types at once types into the first field
    await page.wait_for_function(
        "document.activeElement.matches('.satm-dialog__body input')"
    )
    await _escape(page)
    await dialog.wait_for(state="detached")
    await button.click()
    await typed.fill(WORDS)
    for leave in (_beside, _escape, _cancel, _cross):
        await leave(page)
        await dialog.get_by_text("Discard it?").wait_for()
        await dialog.get_by_role("button", name="Go on typing").click()
        assert await typed.input_value() == WORDS
    await _cancel(page)
    await dialog.get_by_role("button", name="Discard", exact=True).click()
    await dialog.wait_for(state="detached")


async def test_every_dialog_keeps_what_was_typed(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.operator, "machines")
    await _keeps(watched.page, "Add a machine", "Name")
    await stage.goto(watched, "lps")
    await _keeps(watched.page, "Invite an LP", "LNbits username")
    watched.assert_clean()
    await watched.page.context.close()
    newcomer = await stage.person("typist")
    watched = await stage.open(newcomer, "welcome")
    await watched.page.get_by_role("button", name="Start my DCA").click()
    dialog = watched.page.get_by_role("dialog")
    await dialog.get_by_text("Forward", exact=False).first.click()
    await _beside(watched.page)
    await dialog.get_by_text("Discard it?").wait_for()
    await watched.page.context.close()


async def test_what_is_asked_about_is_meant_when_it_is_sent_again(
    stage: Stage, desk: Desk
) -> None:
    """An address whose server says nothing, a rate that is far too high: a sentence
    with what was typed still there; the same again is meant."""
    person = await stage.person("forwards")
    watched = await stage.open(person, "welcome", language="es")
    page = watched.page
    await page.get_by_role("button", name="Empezar mi DCA").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_text("Reenviar").first.click()
    address = dialog.get_by_role("textbox", name="Dirección Lightning")
    save = dialog.get_by_role("button", name="Empezar mi DCA")
    await address.fill("nadie@nowhere.invalid")
    await save.click()
    await watched.refused("no existe ese servidor")
    await address.fill("alguien@example.test")
    await page.context.set_offline(True)
    await save.click()
    await dialog.get_by_role("alert").filter(has_text="conexión").wait_for()
    await page.context.set_offline(False)
    await save.click()
    await watched.refused("pulse «Empezar mi DCA» otra vez")
    assert await address.input_value() == "alguien@example.test"
    await save.click()
    await dialog.wait_for(state="detached")
    kept = answer(await person.api.get("/lp"))
    assert kept["autoforward_ln_address"] == "alguien@example.test"
    watched.expected += ["ERR_INTERNET_DISCONNECTED"]
    watched.assert_clean()
    await page.context.close()
    for language, button, rate, why, words in (
        ("en", "Close the balance", "Rate", "Why?", "press again"),
        ("es", "Liquidar el saldo", "Tipo", "¿Por qué?", "pulse otra vez"),
    ):
        watched = await stage.open(
            desk.operator, f"lps/{desk.client_id}", language=language
        )
        page = watched.page
        await page.get_by_role("button", name=button, exact=True).click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("combobox").first.click()
        await page.get_by_role("option").first.click()
        await dialog.get_by_label(rate).fill("9000")
        await dialog.get_by_label(why).fill("moved away")
        ok = dialog.locator(".satm-dialog__foot button[type=submit]")
        await ok.click()
        await watched.refused(words)
        # now it is meant, and the wallet has nothing like it
        await ok.click()
        await watched.refused("sat")
        assert await dialog.get_by_text(words).count() == 0
        watched.assert_clean()
        await page.context.close()


async def test_what_is_not_saved_is_not_left_without_a_question(
    stage: Stage, desk: Desk
) -> None:
    watched = await stage.open(desk.operator, "splits")
    page = watched.page
    await page.get_by_role("button", name="Add a target").click()
    await page.evaluate("path => void window.router.push(path)", "/satmachineadmin/log")
    await page.get_by_role("button", name="Go on typing").click()
    await page.get_by_role("dialog").wait_for(state="detached")
    assert page.url.endswith("/splits")
    await page.evaluate("path => void window.router.push(path)", "/satmachineadmin/log")
    await page.get_by_role("button", name="Discard", exact=True).click()
    await page.wait_for_url("**/log")
    watched.assert_clean()
    await page.context.close()
