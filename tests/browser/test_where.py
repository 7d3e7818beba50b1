"""Where the reader is, and whether what they see is true: addresses, Back, roles, a
server that does not answer, a session that is over.
"""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Request
from stage import Desk, Stage, settled

from dev.accounts import PASSWORD, UserSession

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.page,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.longest,
]

# The most that the first screen may ask for, whatever LNbits itself asks.
MOST_REQUESTS = 20


def _addresses(desk: Desk) -> list[str]:
    """Every screen, by section and by thing, and addresses where nothing is."""
    return [
        *("", "welcome", "overview", "machines", "settlements", "payments", "lps"),
        *(
            "insight",
            "lps?show=deposits",
            "splits",
            "cash",
            "books",
            "dca",
            "platform",
            "log",
        ),
        *("invitations", "invitations/none", "nowhere", "machines/a/b", "overview/x"),
        f"machines/{desk.machine_id}",
        f"settlements/{desk.settlement_id}",
        f"lps/{desk.client_id}",
        f"books/{desk.report_id}",
    ]


async def test_every_address_is_answered_to_everybody(stage: Stage, desk: Desk) -> None:
    for who in (desk.operator, desk.lp, stage.platform, await stage.person("new")):
        for path in _addresses(desk):
            loaded = await who.core.get(f"/satmachineadmin/{path}")
            assert loaded.status_code == 200, path
    core = desk.operator.core
    for path in ("api/v1/nowhere", "api", "static/nothing.js"):
        assert (await core.get(f"/satmachineadmin/{path}")).status_code == 404, path
    void = f"/satmachineadmin/api/v1/settlements/{desk.settlement_id}/void"
    assert (await core.get(void)).status_code == 405


async def _astray(
    stage: Stage, who: UserSession, home: str, paths: dict[str, str]
) -> None:
    """Each address shows the reader's beginning, and why; nothing is refused."""
    watched = await stage.open(who)
    for path, sentence in paths.items():
        await stage.turn(watched, path)
        await watched.page.get_by_text(sentence).wait_for()
        await watched.page.get_by_role("heading", name=home).first.wait_for()
    watched.assert_clean()
    await watched.page.context.close()


async def test_an_address_of_another_role_leads_home(stage: Stage, desk: Desk) -> None:
    theirs, none = "for another role than yours", "no page at this address"
    desks = ("machines", "settlements", "payments", "lps", "books", "log")
    lps = dict.fromkeys((*desks, "overview", "splits", "cash", "platform"), theirs)
    await _astray(stage, desk.lp, "My DCA", {**lps, "nowhere": none})
    operators = {"platform": theirs, "dca": theirs, "machines/a/b": none}
    await _astray(stage, desk.operator, "Overview", operators)
    supers = dict.fromkeys(("overview", "splits", "cash", "dca"), theirs)
    await _astray(stage, stage.platform, "Platform", supers)


async def test_the_first_screen_asks_for_little_and_is_named(
    stage: Stage, desk: Desk
) -> None:
    watched = await stage.open(desk.operator, "machines")
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(f"{request.method} {request.url}")

    page = watched.page
    page.on("request", note)
    await page.reload()
    await settled(page)
    ours = [one for one in asked if "/satmachineadmin" in one]
    assert len(ours) <= MOST_REQUESTS, "\n".join(asked)
    assert await page.title() == "Machines · Satoshi Machine"
    await page.keyboard.press("Tab")
    await page.evaluate("document.querySelector('.satm-skip').focus()")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "satm-main"
    await page.locator("[data-section=settlements]").click()
    await page.wait_for_function("document.activeElement.tagName === 'H1'")
    assert await page.title() == "Settlements · Satoshi Machine"
    watched.assert_clean()
    await page.context.close()


async def _old(page: Page) -> bool:
    return await page.locator("main.satm-old").count() == 1


async def test_who_is_not_answered_reads_since_when(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.operator, "overview")
    page = watched.page
    since = page.get_by_text("No connection since")
    again = page.get_by_role("button", name="Try again")
    await page.context.set_offline(True)
    await since.wait_for()
    assert await _old(page)
    await page.context.set_offline(False)
    await since.wait_for(state="detached")
    assert not await _old(page)
    # a server that answers with nothing sensible, or not at all
    await page.route("**/api/v1/changes", lambda route: route.fulfill(status=502))
    await page.evaluate("satmachine.live.again()")
    await since.wait_for()
    await page.unroute("**/api/v1/changes")
    await again.click()
    await since.wait_for(state="detached")
    watched.expected += ["502", "ERR_INTERNET_DISCONNECTED"]
    watched.assert_clean()
    # this device's clock is an hour behind: nothing is "in 59 minutes"
    text = await page.evaluate("""() => {
      satmachine.clock.now = Date.now() - 3600000
      return satmachine.format.ago(new Date().toISOString())
    }""")
    assert text == "now"
    await page.context.close()


async def test_who_was_logged_out_logs_in_and_goes_on(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.operator, f"machines/{desk.machine_id}")
    page = watched.page
    count = page.get_by_role("textbox", name="Pieces").first
    await count.fill("66")
    cookies = await page.context.cookies()
    await page.context.clear_cookies(name="cookie_access_token")
    await page.evaluate("satmachine.live.again()")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("heading", name="You were logged out").wait_for()
    assert await _old(page)
    await dialog.get_by_role("textbox", name="Password").fill("not it")
    await dialog.get_by_role("button", name="Log in").click()
    await dialog.get_by_text("The password is not right.").wait_for()
    await dialog.get_by_role("textbox", name="Password").fill(PASSWORD)
    await dialog.get_by_role("button", name="Log in").click()
    await dialog.wait_for(state="detached")
    assert not await _old(page)
    assert await count.input_value() == "66"
    assert len(await page.context.cookies()) >= len(cookies)
    watched.expected += ["401"]
    watched.assert_clean()
    await page.context.close()


async def test_what_is_shown_survives_and_is_dropped_when_asked(
    stage: Stage, desk: Desk
) -> None:
    """Filters and periods are in the address: Back, reload, and the section's name."""
    watched = await stage.open(desk.operator, "settlements?status=quarantined")
    page = watched.page
    chip = page.get_by_role("button", name="Remove the filter State")
    await chip.wait_for()
    assert await page.locator("tbody tr").count() == 1
    await page.get_by_text("All of it, one row").wait_for()
    await page.locator("[data-section=settlements]").click()
    await chip.wait_for(state="detached")
    await page.locator("tbody tr").nth(1).wait_for()
    await page.go_back()
    await chip.wait_for()
    await stage.turn(watched, "overview")
    await page.get_by_role("button", name="30 days").click()
    await page.wait_for_url("**/overview?days=30")
    await page.locator(".satm-tile--link").first.click()
    await page.wait_for_url("**/settlements?**")
    await page.locator("tbody tr").first.wait_for()
    assert await page.locator("tbody tr").count() == 1
    await page.go_back()
    await page.locator("[aria-pressed=true]").filter(has_text="30 days").wait_for()
    # every figure of the list is in its sum, and both are in the reader's days
    await page.get_by_role("button", name="choose another time zone").first.wait_for()
    for path in ("lps", "payments", "log", "cash", "books", "splits"):
        await stage.turn(watched, path)
    watched.assert_clean()
    await page.context.close()
    watched = await stage.open(desk.lp, "dca?days=90")
    await watched.page.get_by_text("90 days").first.wait_for()
    watched.assert_clean()
    await watched.page.context.close()
