"""Who says what of whom, on screen: a missing deposit, a link, the super's sums.

An LP reports cash that nobody recorded, the operator makes a link that invites, and the
super reads what became of the platform's share; at a desk in English, on a phone in
Spanish.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stage import RATE, Desk, Stage, Watched, act

from conftest import wait_for
from dev.accounts import UserSession, answer, create_wallet, enrol

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


async def _owed(stage: Stage, operator: UserSession, lp: UserSession) -> str:
    """A sale of 200.00 whose payments gather until tomorrow; the settlement's id."""
    wallet = await create_wallet(operator, "gathers")
    body = {
        "machine_npub": wallet.id * 2,
        "wallet_id": wallet.id,
        "name": "Slow corner",
        "fiat_code": "GTQ",
        "operator_cash_out_fee_fraction": "0.0500",
        "payout_interval_minutes": 1440,
    }
    machine = answer(await operator.api.post("/machines", json=body))
    answer(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}))
    client = await enrol(operator, lp, machine["id"])
    deposit = {"client_id": client["id"], "amount": "700.00"}
    made = answer(await operator.api.post("/deposits", json=deposit))
    confirmed = {"status": "confirmed"}
    answer(await operator.api.put(f"/deposits/{made['id']}/status", json=confirmed))
    sell = stage.machine(wallet, "0.00", "0.05")
    payment_hash = await sell.cash_out(await stage.customer(), {100: 2}, RATE)

    async def planned() -> str | None:
        page = answer(await lp.api.get("/lp/payments"))
        return page["data"][0]["settlement_id"] if page["data"] else None

    assert payment_hash
    return str(await wait_for(planned))


async def test_a_lower_dispense_waits_for_the_lps_yes(stage: Stage) -> None:
    """The LP is asked, the operator reads whose yes it waits for, the super decides."""
    operator, lp = await stage.person("slow"), await stage.person("asked")
    settlement_id = await _owed(stage, operator, lp)
    less = {"dispensed_fiat": "50.00", "reason": "a bill jammed"}
    path = f"/settlements/{settlement_id}/dispense"
    answer(await operator.api.post(path, json=less))
    watched = await stage.open(lp, "dca", phone=True, language="es")
    await watched.page.get_by_text("espera su sí").first.wait_for()
    await _whole(watched, "consent-phone-es")
    watched.assert_clean()
    await watched.page.context.close()
    watched = await stage.open(operator, f"settlements/{settlement_id}")
    await watched.page.get_by_text("Waits for the yes of").first.wait_for()
    await watched.page.get_by_text(lp.username).first.wait_for()
    await _whole(watched, "consent-operator")
    watched.assert_clean()
    await watched.page.context.close()
    watched = await stage.open(lp, "dca")
    panel = watched.page.get_by_role("region", name="Waits for your yes")
    await panel.get_by_text("a bill jammed").wait_for()
    await panel.get_by_role("button", name="No", exact=True).click()
    await act(watched.page, "No", done="Nothing changes")
    watched.assert_clean()
    await watched.page.context.close()
    watched = await stage.open(
        stage.platform, f"settlements/{settlement_id}", phone=True
    )
    page = watched.page
    await page.get_by_text("Did not agree").first.wait_for()
    # whose it is; and nothing of it is the super's to mend
    await page.get_by_text(f"of {operator.username}").wait_for()
    await _whole(watched, "consent-super")
    await page.get_by_role("button", name="Grant it").click()
    await page.get_by_role("dialog").get_by_label("Why?").fill("seen on video")
    await act(page, "Grant it", done="Decided")
    await page.get_by_text("agreed", exact=True).first.wait_for()
    watched.assert_clean()
    await page.context.close()
    seen = answer(await operator.api.get(f"/settlements/{settlement_id}"))
    assert seen["dispensed_fiat"] == "50.00"


async def test_the_super_decides_a_deposit(stage: Stage, desk: Desk) -> None:
    deposit, *_ = answer(await desk.lp.api.get("/lp/deposits"))["data"]
    path = f"/lp/deposits/{deposit['id']}/dispute"
    answer(await desk.lp.api.post(path, json={"reason": "it was 800"}))
    watched = await stage.open(stage.platform, "lps?show=deposits&all=1")
    page = watched.page
    await page.get_by_role("button", name="Refuse", exact=True).first.click()
    await page.get_by_role("dialog").get_by_label("Why?").fill("no proof of it")
    await act(page, "Refuse", done="Decided")
    watched.assert_clean()
    await page.context.close()
    closed, *_ = [
        row
        for row in answer(await desk.lp.api.get("/lp/deposits"))["data"]
        if row["id"] == deposit["id"]
    ]
    assert closed["dispute"]["outcome"] == "dismissed"
