"""What a person can do from the screens, and how they get there, in a real browser."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.async_api import Route
from stage import Desk, Stage, act

from dev.accounts import answer, create_wallet, enrol

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.page,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.longest,
]


def _pair(stage: Stage, machine_id: str, at: int) -> None:
    """As when the machine has sent its code."""
    stage.sql(
        "ours",
        "UPDATE dca_machines SET is_paired = 1, paired_at = ?, pairing_code = NULL, "
        "pairing_expires_at = NULL WHERE id = ?",
        at,
        machine_id,
    )
    stage.sql("ours", "UPDATE dca_locks SET n = n + 1 WHERE id = 'ledger'")


async def test_a_machine_is_paired_and_paired_again(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.operator, f"machines/{desk.machine_id}", phone=True)
    page = watched.page
    dialog = page.get_by_role("dialog")
    now = int(time.time())
    await page.get_by_role("button", name="Pair", exact=True).click()
    await dialog.locator(".satm-qr svg").wait_for()
    _pair(stage, desk.machine_id, now - 86_400)
    await dialog.get_by_text("This machine is paired, since").wait_for()
    await page.route("**/pairing", lambda route: route.abort())
    await dialog.get_by_role("button", name="Pair again").click()
    await dialog.get_by_role("alert").filter(has_text="No connection").wait_for()
    await page.unroute("**/pairing")
    await dialog.get_by_role("button", name="Pair again").click()
    await dialog.locator(".satm-qr svg").wait_for()
    _pair(stage, desk.machine_id, now)
    await dialog.get_by_text("This machine is paired, since").wait_for()
    watched.expected += ["ERR_FAILED"]
    watched.assert_clean()
    stage.sql(
        "ours",
        "UPDATE dca_machines SET is_paired = 0, paired_at = NULL WHERE id = ?",
        desk.machine_id,
    )
    await page.context.close()


async def test_a_second_role_is_one_click_away(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.operator, "machines", phone=True)
    page = watched.page
    await page.get_by_role("link", name="provide cash").click()
    await page.get_by_role("button", name="Start my DCA").wait_for()
    assert await page.get_by_role("button", name="Add a machine").count() == 0
    await page.context.close()
    newcomer = await stage.person("enrolled")
    client = await enrol(desk.operator, newcomer, desk.machine_id)
    watched = await stage.open(newcomer)
    page = watched.page
    await page.locator("[data-section=dca]").wait_for()
    await page.get_by_role("button", name="Start my DCA").wait_for()
    await page.get_by_role("link", name="run machines").click()
    await page.get_by_role("button", name="Add a machine").wait_for()
    watched.assert_clean()
    await page.context.close()
    answer(await desk.operator.api.delete(f"/clients/{client['id']}"))
    watched = await stage.open(stage.platform, "machines")
    await watched.page.get_by_role("button", name="Add a machine").first.wait_for()
    watched.assert_clean()
    await watched.page.context.close()


async def test_the_super_records_a_deposit_and_is_told_who_mends_the_rest(
    stage: Stage, desk: Desk
) -> None:
    watched = await stage.open(stage.platform, "lps")
    page = watched.page
    assert await page.get_by_role("button", name="Invite an LP").count() == 0
    await page.get_by_role("button", name="Record a deposit").click()
    lp = page.get_by_role("combobox", name="From")
    if not await lp.input_value():  # not the only one
        await lp.click()
        await page.get_by_role("option", name="W" * 20).first.click()
    await page.get_by_role("textbox", name="Amount").fill("12.50")
    await act(page, "Record a deposit", done="Confirm it when counted")
    await stage.goto(watched, "platform")
    items = page.locator(".satm-attention li")
    held_back = items.filter(has_text="Held back").filter(has_text="WWW").first
    await held_back.get_by_text("Its operator mends this.").wait_for()
    # the only link says what it means
    assert await held_back.locator("a.satm-attention__go").count() == 0
    await page.evaluate("satmachine.store.all = false")
    deposit = items.filter(has_text="12.50").first
    await deposit.get_by_text("Count the cash, then confirm").wait_for()
    await deposit.locator("a.satm-attention__go").click()
    # the very question; it is not answered yet
    await page.get_by_role("dialog").get_by_text("Confirm this deposit?").wait_for()
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    row = page.locator("tbody tr").filter(has_text="12.50")
    await row.get_by_role("button", name="Cancel it").click()
    await page.get_by_role("dialog").get_by_role("textbox").fill("a test's")
    await act(page, "Cancel it", done="is cancelled")
    watched.assert_clean()
    await page.context.close()


async def test_who_has_no_lp_to_record_for_is_led_to_enrol_one(stage: Stage) -> None:
    operator = await stage.person("empty")
    wallet = await create_wallet(operator, "machine")
    machine = {"machine_npub": wallet.id * 2, "wallet_id": wallet.id}
    more = {"name": "Empty", "fiat_code": "GTQ"}
    answer(await operator.api.post("/machines", json={**machine, **more}))
    watched = await stage.open(operator, "lps", phone=True)
    page = watched.page
    await page.get_by_role("button", name="Record a deposit").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_text("No LP has chosen a wallet yet").wait_for()
    assert await dialog.get_by_role("textbox").count() == 0
    await dialog.get_by_role("button", name="Invite an LP").click()
    await page.get_by_role("textbox", name="LNbits username or user id").wait_for()
    watched.assert_clean()
    await page.context.close()


async def test_many_machines_are_all_loaded_and_searched(
    stage: Stage, desk: Desk
) -> None:
    async def one_more(route: Route) -> None:
        """One of fifteen machines, from where the page asked on."""
        at = int(parse_qs(urlparse(route.request.url).query)["offset"][0])
        machine = {"id": str(at), "name": f"Nr {at}", "machine_npub": "npub"}
        await route.fulfill(json={"data": [machine], "total": 15})

    watched = await stage.open(desk.operator, "settlements")
    page = watched.page
    await page.route("**/api/v1/machines?*", one_more)
    await page.evaluate("satmachine.live.loadMachines()")
    await page.get_by_role("button", name="Filters").click()
    await page.get_by_role("combobox", name="Machine").fill("nr 14")
    option = page.get_by_role("option", name="Nr 14")
    await option.wait_for()
    assert await page.get_by_role("option").count() == 1
    await option.click()
    await page.get_by_role("button", name="Remove the filter Machine: Nr 14").wait_for()
    watched.assert_clean()
    await page.context.close()


async def test_a_machine_is_removed(stage: Stage) -> None:
    operator = await stage.person("leaving")
    wallet = await create_wallet(operator, "machine")
    machine = {"machine_npub": wallet.id * 2, "wallet_id": wallet.id}
    more = {"name": "Mistake", "fiat_code": "GTQ"}
    made = answer(await operator.api.post("/machines", json={**machine, **more}))
    watched = await stage.open(operator, f"machines/{made['id']}")
    page = watched.page
    await page.get_by_role("button", name="Remove").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Remove").click()
    await page.get_by_text("Welcome to Satoshi Machine").wait_for()
    watched.assert_clean()
    await page.context.close()


async def test_what_could_not_be_shared_out_is_shared_out_again(
    stage: Stage, desk: Desk
) -> None:
    """The plan that fails, and a loss, are the server's tests': here is the page."""
    asked = []

    async def unplanned(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.request.post_data_json)
            await route.fulfill(json={})
            return
        shown = await (await route.fetch()).json()
        changed = {"status": "attention", "legs": [], "loss_sats": 1_500}
        await route.fulfill(json={**shown, **changed})

    watched = await stage.open(desk.operator, "settlements", phone=True)
    page = watched.page
    await page.route(f"**/settlements/{desk.settlement_id}*", unplanned)
    await page.route(f"**/settlements/{desk.settlement_id}/retry", unplanned)
    await stage.turn(watched, f"settlements/{desk.settlement_id}")
    await page.get_by_text("1,500 sat more of the refund").wait_for()
    await page.get_by_text("Your loss by the refund").wait_for()
    await page.get_by_role("button", name="Share it out again").click()
    await page.get_by_role("dialog").get_by_role("textbox").fill("split mended")
    await act(page, "Share it out again", done="It is being shared out.")
    assert asked == [{"reason": "split mended"}]
    watched.assert_clean()
    await page.unroute_all(behavior="wait")
    await page.context.close()


async def test_an_lp_is_told_why_nothing_comes_and_sees_all_that_was_bought(
    stage: Stage, desk: Desk
) -> None:
    """A pause, a day's limit that is used up, a price that nobody knows: in words."""
    path = f"/clients/{desk.client_id}"
    answer(await desk.operator.api.put(path, json={"status": "paused"}))
    watched = await stage.open(desk.lp, "dca", phone=True)
    page = watched.page
    await page.get_by_text("Paused by the operator").wait_for()
    await page.get_by_text("at most 500 GTQ a day").wait_for()
    history = answer(await desk.lp.api.get("/lp/history", params={"range": "all"}))
    await page.get_by_role("button", name="All", exact=True).click()
    bought = f"{history[-1]['cumulative_sats']:,}"
    await page.locator(f"canvas[aria-label*='{bought}']").wait_for()
    answer(await desk.operator.api.put(path, json={"status": "active"}))
    await page.get_by_text("300.00 of GTQ").wait_for()
    answer(await desk.lp.api.put("/lp", json={"fixed_mode_daily_limit": "200.00"}))
    limit = page.get_by_text("is used up: nothing more comes before")
    await limit.wait_for()
    answer(await desk.lp.api.put("/lp", json={"fixed_mode_daily_limit": "500.00"}))
    await limit.wait_for(state="detached")
    # this server reaches nobody who would know: asked for, and then said
    await page.get_by_text("No price known").first.wait_for()
    watched.assert_clean()
    await page.context.close()


async def test_one_lp_at_two_machines_is_one_person(stage: Stage) -> None:
    """And the machines' list is narrowed to those that need somebody."""
    # at the desk's machines others count on one enrolment
    operator, lp = await stage.person("two"), await stage.person("lp")
    answer(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}))
    machines = []
    for name in ("Harbour", "Station"):
        wallet = await create_wallet(operator, name)
        body = {
            "machine_npub": wallet.id * 2,
            "wallet_id": wallet.id,
            "name": name,
            "fiat_code": "GTQ",
        }
        machines.append(answer(await operator.api.post("/machines", json=body)))
        await enrol(operator, lp, machines[-1]["id"])
    watched = await stage.open(operator, "lps")
    page = watched.page
    await page.get_by_role("link", name="at 2 machines").first.click()
    await page.wait_for_url("**/lps?person=*")
    assert await page.locator("tbody tr").count() == 2
    await page.locator("tbody tr").first.click()
    await page.get_by_role("heading", name="The same person").wait_for()
    here = await page.locator(".satm-head").first.inner_text()
    other = "Station" if "Harbour" in here else "Harbour"
    await page.get_by_role("link", name=other).click()
    await page.locator(".satm-head", has_text=other).wait_for()
    await stage.turn(watched, "machines?is_paired=false")
    chip = page.get_by_role("button", name="Remove the filter Paired: no")
    await chip.wait_for()
    assert await page.locator(".satm-card").count() == 2
    await page.get_by_role("searchbox", name="Search").first.fill("station")
    await page.locator(".satm-card", has_text="Harbour").wait_for(state="detached")
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Download as CSV").click()
    text = (await (await started.value).path()).read_text("utf-8-sig")
    assert "Station" in text and "Harbour" not in text
    watched.assert_clean()
    await page.context.close()
    # the super sees whose they are, and runs none of them
    watched = await stage.open(stage.platform, "machines?q=station")
    page = watched.page
    card = page.locator(".satm-card", has_text=f"of {operator.username}")
    await card.wait_for()
    assert await card.get_by_role("button").count() == 0
    await card.get_by_text("none yet", exact=False).first.wait_for()
    watched.assert_clean()
    await page.context.close()


async def test_several_are_done_at_once(stage: Stage, desk: Desk) -> None:
    """Deposits confirmed, payments tried again, marks seen: all that are on the page
    but those that were taken out; what is refused says why."""
    client = {"client_id": desk.client_id}
    for amount in ("11.00", "12.00", "13.00"):
        body = {**client, "amount": amount}
        answer(await desk.operator.api.post("/deposits", json=body))
    watched = await stage.open(desk.operator, "lps?show=deposits")
    page = watched.page
    dialog = page.get_by_role("dialog")
    await page.get_by_role("button", name="Confirm several").click()
    await dialog.get_by_text("4 chosen").wait_for()
    await dialog.get_by_role("checkbox", name="700.00").click()
    await dialog.get_by_role("checkbox", name="11.00").click()
    await dialog.get_by_text("2 chosen").wait_for()
    await act(page, "Confirm", done="2 done")
    asked = {**client, "status": "pending"}
    left = answer(await desk.operator.api.get("/deposits", params=asked))["data"]
    assert {one["amount"] for one in left} == {"700.00", "11.00"}
    for one in left:
        if one["amount"] == "11.00":
            path, cancelled = f"/deposits/{one['id']}/status", {"status": "cancelled"}
            answer(await desk.operator.api.put(path, json={**cancelled, "reason": "x"}))

    async def with_marks(route: Route) -> None:
        found = await route.fetch()
        told = await found.json()
        for row in told["data"]:
            row["marks"] = ["fee_off"]
        await route.fulfill(response=found, json=told)

    await page.route("**/api/v1/settlements?*", with_marks)
    await stage.turn(watched, "settlements")
    await page.get_by_role("button", name="Mark several as seen").click()
    boxes = dialog.get_by_role("checkbox")
    for box in (await boxes.all())[1:]:
        await box.click()
    await act(page, "Mark as seen", done="1 done")
    rows = answer(await desk.operator.api.get("/settlements"))["data"]
    assert sum(row["seen_at"] is not None for row in rows) == 1
    watched.assert_clean()
    await page.unroute_all(behavior="wait")
    await page.context.close()


async def test_the_beginning_has_a_list_of_steps(stage: Stage) -> None:
    """Each is done by itself when it is, and the list can be put away."""
    operator = await stage.person("begins")
    wallet = await create_wallet(operator, "Begins")
    body = {"machine_npub": wallet.id * 2, "wallet_id": wallet.id, "fiat_code": "GTQ"}
    machine = answer(await operator.api.post("/machines", json=body))
    watched = await stage.open(operator, "overview")
    page = watched.page
    steps = page.get_by_role("region", name="First steps")
    await steps.get_by_text("2 of 8 done").wait_for()
    fees = {"operator_cash_out_fee_fraction": "0.05"}
    answer(await operator.api.put(f"/machines/{machine['id']}", json=fees))
    split = {"target": operator.wallet.id, "fraction": "1"}
    answer(await operator.api.put("/splits", json={"splits": [split]}))
    await page.evaluate("satmachine.live.loadMachines()")
    await steps.get_by_text("4 of 8 done").wait_for()
    await steps.get_by_role("link", name="Invite the first LP").click()
    await page.wait_for_url("**/lps")
    await page.go_back()
    await steps.get_by_role("button", name="Put away").click()
    await steps.wait_for(state="detached")
    await page.reload()
    await page.get_by_text("No settlements yet").wait_for()
    assert await steps.count() == 0
    watched.assert_clean()
    await page.context.close()
    fresh = await stage.person("fresh")
    answer(await fresh.api.post("/lp", json={"dca_wallet_id": fresh.wallet.id}))
    for who, path in ((stage.platform, "platform"), (fresh, "dca")):
        watched = await stage.open(who, path)
        await watched.page.get_by_role("region", name="First steps").wait_for()
        watched.assert_clean()
        await watched.page.context.close()
