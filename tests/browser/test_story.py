"""Everybody's whole story, from the first login, in a real browser.

The super sets the platform's fees; an operator adds a machine by its npub, sets splits
and invites an LP, who says yes and starts their DCA; a deposit is recorded and
confirmed; a cash-out arrives on the open page by itself and everyone is paid; a leg
fails and is paid from the screen; a partial dispense and its refund; files that can be
opened elsewhere.
"""

from __future__ import annotations

import csv
import io
import re

import pytest
from pynostr.key import PrivateKey
from stage import RATE, Stage, Watched, act, choose, settled

from conftest import wait_for
from dev.accounts import UserSession, WalletKeys, answer, create_wallet
from dev.http_machine import HttpMachine

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.longest,
]

FIFTY = {50: 1}


async def _set_platform_fees(stage: Stage) -> None:
    screen = await stage.open(stage.platform, "platform")
    page = screen.page
    await page.get_by_role("textbox", name="Cash-out fee").fill("3")
    await page.get_by_role("textbox", name="Cash-in fee").fill("2.5")
    await choose(page, "Wallet that receives the fees", "")
    await page.get_by_role("button", name="Save", exact=True).first.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_text("3% of a cash-out, 2.5% of a cash-in").wait_for()
    await act(page, "Save", done="fees are saved")
    config = answer(await stage.platform.api.get("/super/config"))
    assert config["super_cash_out_fee_fraction"] == "0.0300"
    assert config["super_cash_in_fee_fraction"] == "0.0250"
    assert config["super_fee_wallet_id"] == stage.platform.wallet.id
    screen.assert_clean()
    await page.context.close()


async def _add_machine(stage: Stage, operator: UserSession) -> tuple[Watched, str]:
    """The operator's first visit, on a phone beside the machine."""
    screen = await stage.open(operator, phone=True)
    page = screen.page
    await page.get_by_role("button", name="Add a machine").click()
    await page.get_by_role("textbox", name="npub of the machine").fill("nsec1notthis")
    await page.get_by_role("button", name="Register").click()
    await page.get_by_text("That is a secret key").wait_for()
    await page.get_by_role("textbox", name="npub of the machine").fill(
        PrivateKey().public_key.bech32()
    )
    await page.get_by_role("textbox", name="Name", exact=True).fill("Café Central")
    # the browser's region says USD, and nothing is everybody's currency
    await page.get_by_role("dialog").get_by_text("USD", exact=True).first.wait_for()
    await page.get_by_role("combobox", name="Currency").fill("GTQ")
    await page.get_by_role("option", name="GTQ").click()
    await page.get_by_role("textbox", name="Cash-out fee").fill("60")
    await page.get_by_text("more than 15 % in all").wait_for()
    await page.get_by_text("3% platform + 60% yours = 63%").wait_for()
    await page.get_by_role("textbox", name="Cash-out fee").fill("5")
    await page.get_by_role("textbox", name="Cash-in fee").fill("5")
    await page.get_by_role("button", name="Register").click()
    pairing = page.get_by_role("dialog").filter(has_text="Pair Café Central")
    await pairing.locator("svg").first.wait_for()
    async with page.context.expect_page() as opened:
        await pairing.get_by_role("link", name="Print").click()
    sheet = await opened.value
    await sheet.get_by_role("img", name="One-time code").wait_for()
    assert await sheet.locator("svg").count() == 1
    await sheet.close()
    await pairing.locator(".satm-dialog__foot").get_by_role(
        "button", name="Close"
    ).click()
    await page.get_by_text("3% platform + 5% yours = 8%").wait_for()
    machine_id = page.url.split("/machines/")[1].split("?")[0]
    screen.assert_clean()
    return screen, machine_id


async def _set_splits(stage: Stage, screen: Watched, landlord: WalletKeys) -> None:
    page = screen.page
    await stage.goto(screen, "splits")
    await page.get_by_role("button", name="Add a target").click()
    await page.get_by_role("button", name="Choose one of your wallets").click()
    await page.locator(".q-menu").get_by_text("Savings").click()
    await page.get_by_role("textbox", name="Share").fill("60")
    await page.get_by_text("40% left to share out").wait_for()
    await page.get_by_role("button", name="Add a target").click()
    second = page.get_by_role("group", name="Target 2")
    await second.get_by_role("textbox", name="Target").fill(landlord.id)
    await second.get_by_role("textbox", name="Name", exact=True).fill("Landlord")
    # 8 000 sat of fees on the example: 3 000 platform, 3 000 and 2 000 ours
    flow = page.get_by_role("img", name=re.compile("Savings: 3,000 sat"))
    await flow.wait_for()
    await page.get_by_role("button", name="Save splits").click()
    await page.get_by_text("The splits are saved").wait_for()
    screen.assert_clean()


async def _enrol(stage: Stage, screen: Watched, lp: UserSession) -> None:
    page = screen.page
    await stage.goto(screen, "lps")
    # what it says of somebody who is not there, it says of everybody
    for name in ("nobody-of-that-name", lp.username):
        await page.get_by_role("button", name="Invite an LP").first.click()
        await page.get_by_role("textbox", name="LNbits username or user id").fill(name)
        await act(page, "Invite an LP", done=name)
    screen.assert_clean()


async def _onboard(stage: Stage, lp: UserSession) -> Watched:
    screen = await stage.open(lp, phone=True)
    page = screen.page
    await page.get_by_role("button", name="Accept").click()
    await page.get_by_role("button", name="Start my DCA").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("radio", name="Fixed daily limit").click()
    await dialog.get_by_role("textbox", name="At most a day").fill("1,000.00")
    await act(page, "Start my DCA")
    await page.get_by_role("heading", name="My DCA").wait_for()
    profile = answer(await lp.api.get("/lp"))
    assert profile["dca_wallet_id"] == lp.wallet.id
    assert profile["fixed_mode_daily_limit"] == "1000.00"
    await settled(page)
    screen.assert_clean()
    return screen


async def _deposit(stage: Stage, screen: Watched) -> None:
    page = screen.page
    await stage.goto(screen, "lps?show=deposits")
    await page.get_by_role("button", name="Record a deposit").first.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Amount").fill("400")
    await act(page, "Record a deposit", done=r"GTQ.400\.00 from .* is recorded")
    await page.get_by_role("button", name="Confirm", exact=True).click()
    await act(page, "Confirm", done=r"GTQ.400\.00 of .* is at work")
    await page.locator(".satm-chip").filter(has_text="confirmed").wait_for()
    screen.assert_clean()


async def _cash_out_arrives(
    stage: Stage, screen: Watched, lp_screen: Watched, sell: HttpMachine
) -> None:
    """On the open page of the operator, and of the LP, by itself."""
    page = screen.page
    await stage.goto(screen, "overview")
    await page.get_by_text("No settlements yet").wait_for()
    customer = await stage.customer()
    trade = await sell.cash_out(customer, {100: 2}, RATE)
    row = page.get_by_role("article").filter(has_text="200.00")
    await row.get_by_text("everyone paid").wait_for()
    # principal 26 667, all of it the LP's
    assert trade.principal_sats == 26_667
    await lp_screen.page.locator(".satm").get_by_text("26,667 sat").first.wait_for()
    await row.get_by_role("link").first.click()
    await page.get_by_role("heading", name="Where every sat went").wait_for()
    names = await page.locator(".satm-flow__text").all_inner_texts()
    said = " ".join(names)
    for part in ("28,800 sat", "26,667 sat", "800 sat", "1,333 sat", "533 sat"):
        assert part in said, (part, said)
    screen.assert_clean()
    lp_screen.assert_clean()


async def _failed_leg_is_paid(
    stage: Stage,
    screen: Watched,
    operator: UserSession,
    sell: HttpMachine,
    landlord: WalletKeys,
) -> None:
    """The landlord's wallet is gone for ten tries, comes back, and is paid by hand."""
    page = screen.page
    stage.sql("core", "UPDATE wallets SET deleted = 1 WHERE id = ?", landlord.id)
    trade = await sell.cash_out(await stage.customer(), FIFTY, RATE)

    async def leg() -> dict[str, object] | None:
        page = answer(
            await operator.api.get(
                "/payments", params={"label": "Landlord", "limit": 1}
            )
        )
        found = page["data"][0] if page["data"] else None
        return found if found and found["attempts"] else None

    waiting = await wait_for(leg)
    stage.sql(
        "ours",
        "UPDATE dca_payments SET attempts = 9, next_try_at = 0 WHERE id = ?",
        waiting["id"],
    )
    await stage.goto(screen, "overview")
    item = page.get_by_role("listitem").filter(has_text="A payment failed")
    await item.wait_for(timeout=60_000)
    await item.get_by_role("link", name="Pay again").click()
    # the very question; this one payment has its own beside it
    asked = page.get_by_role("dialog")
    await asked.get_by_role("heading", name="Pay what failed again?").wait_for()
    await page.keyboard.press("Escape")
    await asked.wait_for(state="detached")
    await page.locator(".satm-chip").filter(has_text="needs a person").wait_for()
    stage.sql("core", "UPDATE wallets SET deleted = 0 WHERE id = ?", landlord.id)
    card = page.get_by_role("article").filter(has_text="Landlord")
    await card.get_by_text("The receiving wallet no longer exists.").wait_for()
    await card.get_by_role("button", name="Pay again").click()
    await page.get_by_role("dialog").get_by_role("textbox", name="Why?").fill(
        "the wallet is back"
    )
    await act(page, "Pay again", done="is on its way again")
    await page.locator(".satm-head .satm-chip").filter(
        has_text="everyone paid"
    ).wait_for()
    await page.get_by_text("“the wallet is back”").first.wait_for()
    assert trade.payment_hash[:10] in await page.locator("body").inner_text()
    screen.assert_clean()


async def _partial_dispense(stage: Stage, screen: Watched, sell: HttpMachine) -> None:
    """200.00 ordered, 50.00 came out: a quarter is shared out, the rest refunded."""
    page = screen.page
    customer = await stage.customer()
    await sell.cash_out(customer, {100: 2}, RATE, dispense="awaiting")
    await stage.goto(screen, "settlements?status=awaiting_dispense")
    await page.locator(".satm-card a").first.click()
    await page.get_by_role("button", name="Report dispense").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Dispensed", exact=True).fill("50")
    await dialog.get_by_text("21,600 sat are owed to the customer").wait_for()
    await dialog.get_by_role("textbox", name="Why?").fill("jammed")
    await act(page, "Report dispense", done="being shared out")
    # not "everyone paid": the customer is not
    await page.locator(".satm-head .satm-chip").filter(
        has_text="refund is open"
    ).wait_for()
    await page.get_by_role("button", name="Refund", exact=True).click()
    most = await dialog.get_by_text("is owed to the customer").inner_text()
    limit = int(re.sub(r"\D", "", re.findall(r"At most ([\d,]+) sat", most)[0]))
    invoice = answer(
        await stage.anonymous.post(
            "/api/v1/payments",
            headers={"X-Api-Key": customer.inkey},
            json={"out": False, "amount": limit, "memo": "my money back"},
        )
    )
    await dialog.get_by_role("textbox", name="Lightning invoice or address").fill(
        invoice["bolt11"]
    )
    await dialog.get_by_role("textbox", name="Why?").fill("jammed")
    await act(page, "Refund", done="refund is on its way")
    refund = page.get_by_role("article").filter(has_text="Refund")
    await refund.get_by_text("paid", exact=True).wait_for()
    screen.assert_clean()


async def _files(stage: Stage, screen: Watched, lp_screen: Watched) -> None:
    page = screen.page
    await stage.goto(screen, "settlements")
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Download as CSV").click()
    file = await (await started.value).path()
    # for people: a BOM, words, names
    text = file.read_bytes().decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == 3
    assert {row["Kind"] for row in table} == {"Cash-out"}
    page = lp_screen.page
    await page.get_by_role("button", name="Statement").click()
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="Open the statement").click()
    statement = await opened.value
    await statement.get_by_role("heading", name="Statement").wait_for()
    text = await statement.locator("main").inner_text()
    assert "400.00 GTQ" in text.replace("\u00a0", " ")
    assert (await statement.pdf())[:5] == b"%PDF-"
    lp_screen.assert_clean()


async def test_everybodys_story(stage: Stage) -> None:
    operator, lp = await stage.person("operator"), await stage.person("lp")
    landlord = (await stage.person("landlord")).wallet
    savings = await create_wallet(operator, "Savings")
    assert savings.id != operator.wallet.id
    await _set_platform_fees(stage)
    screen, machine_id = await _add_machine(stage, operator)
    await _set_splits(stage, screen, landlord)
    await _enrol(stage, screen, lp)
    lp_screen = await _onboard(stage, lp)
    await _deposit(stage, screen)
    machine = answer(await operator.api.get(f"/machines/{machine_id}"))
    wallets = [operator.wallet, savings]
    wallet = next(one for one in wallets if one.id == machine["wallet_id"])
    sell = stage.machine(wallet, "0.03", "0.05")
    await _cash_out_arrives(stage, screen, lp_screen, sell)
    await _failed_leg_is_paid(stage, screen, operator, sell, landlord)
    await _partial_dispense(stage, screen, sell)
    await _files(stage, screen, lp_screen)
