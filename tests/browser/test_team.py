"""The operator's people and their codes on the screen, at 390 px: each role's story.

Discounts: the operator makes a code, sees what it forgave, ends it; the super makes
one of the platform; the sale says who forgave what.

People: somebody is asked in by a link, says yes, and works for the operator, which
stands on every page. A collector has a list of machines and one button; a bookkeeper
has no button that does anything; a manager what the operator leaves to them. Who is
removed is out, and told so on the page that they have open.
"""

from __future__ import annotations

import re
import secrets

import pytest
from looks import FOR_SCREEN_READERS, assert_none, look_at
from stage import RATE, Stage, act, choose

from conftest import wait_for
from dev.accounts import UserSession, answer, create_wallet, enrol

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.page,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
]


async def _operator(stage: Stage) -> tuple[UserSession, str]:
    operator = await stage.person("boss")
    body = {
        "machine_npub": operator.wallet.id * 2,
        "wallet_id": operator.wallet.id,
        "name": "Zona 1",
        "fiat_code": "GTQ",
        "operator_cash_out_fee_fraction": "0.0500",
    }
    machine = answer(await operator.api.post("/machines", json=body))
    return operator, machine["id"]


async def _sale(stage: Stage, operator: UserSession) -> str:
    """A sale that landed; its id."""
    sell = stage.machine(operator.wallet, "0.00", "0.05")
    sold = await sell.cash_out(await stage.customer(), {100: 1}, RATE)
    asked = {"payment_hash": sold.payment_hash}

    async def landed() -> str | None:
        page = answer(await operator.api.get("/settlements", params=asked))
        return page["data"][0]["id"] if page["data"] else None

    return await wait_for(landed, timeout_seconds=60)


async def test_codes_of_the_operator_and_of_the_platform(stage: Stage) -> None:
    operator, _ = await _operator(stage)
    sale = await _sale(stage, operator)
    screen = await stage.open(operator, "discounts", phone=True, language="es")
    page = screen.page
    await page.get_by_text("Todavía no hay códigos").wait_for()
    await page.get_by_role("button", name="Código nuevo").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Código", exact=True).fill("vecino10")
    share = dialog.get_by_label("Rebaja de su comisión")
    await share.fill("0")
    await share.blur()
    await dialog.get_by_text("Escriba más de 0").wait_for()
    await share.fill("50")
    await dialog.get_by_label("Usos como máximo", exact=True).fill("10")
    await dialog.get_by_label("Hasta, incluido ese día").fill("2030-12-31")
    await act(page, "Guardar")
    await page.get_by_text("VECINO10", exact=True).wait_for()
    await page.get_by_text("0 de 10, quedan 10").wait_for()
    (code,) = answer(await operator.api.get("/discounts"))["data"]
    assert (code["fraction"], code["max_uses"]) == ("0.5000", 10)
    # the whole of the last day counts, of the reader's days
    assert code["valid_until"].startswith("2031-01-01T00:00:00")
    stage.sql(
        "ours",
        "UPDATE dca_settlements SET discount_id = ?, discount_code = ?, "
        "operator_discount_sats = 250, platform_discount_sats = 0 WHERE id = ?",
        *(code["id"], "VECINO10", sale),
    )
    stage.sql("ours", "UPDATE dca_discounts SET uses = 1 WHERE id = ?", code["id"])
    await stage.goto(screen, "discounts")
    await page.get_by_text("1 de 10, quedan 9").wait_for()
    assert await page.get_by_role("button", name="Quitar").count() == 0
    await page.get_by_role("link", name="250 sat").click()
    await page.locator(".satm-row__title").first.click()
    await page.get_by_text(
        "Código de descuento VECINO10: usted perdonó 250 sat."
    ).wait_for()
    await stage.turn(screen, "discounts")
    await page.get_by_role("button", name="Cambiar").click()
    await dialog.get_by_label("Rebaja de su comisión").fill("25")
    await act(page, "Guardar")
    (changed,) = answer(await operator.api.get("/discounts"))["data"]
    assert changed == {**code, "fraction": "0.2500", "uses": 1, "forgiven_sats": 250}
    await page.get_by_role("button", name="Terminar").click()
    await act(page, "Terminar", done="ya no da nada", close="Cerrar")
    await page.get_by_text("retirado").wait_for()
    screen.assert_clean()
    assert_none(await look_at(screen, "discounts", FOR_SCREEN_READERS))
    await page.context.close()

    screen = await stage.open(stage.platform, "platform", phone=True)
    page = screen.page
    panel = page.get_by_role("region", name="Discount codes of the platform")
    await panel.get_by_role("button", name="New code").click()
    dialog = page.get_by_role("dialog")
    name = f"P{secrets.token_hex(4)}".upper()
    await dialog.get_by_label("Code", exact=True).fill(name)
    await dialog.get_by_label("Off the platform").fill("100")
    await act(page, "Save")
    await panel.get_by_text(name, exact=True).wait_for()
    found = answer(await stage.platform.api.get("/super/discounts"))["data"]
    assert name in [one["code"] for one in found]
    # the super sees whose gift it was
    await stage.turn(screen, f"settlements/{sale}")
    await page.get_by_text("the operator forgave 250 sat").wait_for()
    screen.assert_clean()
    await page.context.close()


async def _hire(
    operator: UserSession, person: UserSession, role: str, limit: int | None = None
) -> None:
    made = answer(await operator.api.post("/staff", json={"role": role}))
    answer(await person.api.post(f"/invitations/{made['code']}/accept"))
    if limit is not None:
        body = {"staff_refund_limit_sats": limit}
        answer(await operator.api.put("/preferences", json=body))


async def test_a_collector_is_asked_in_works_and_is_removed(stage: Stage) -> None:
    operator, machine_id = await _operator(stage)
    second = await create_wallet(operator, "second")
    body = {"machine_npub": second.id * 2, "wallet_id": second.id}
    answer(
        await operator.api.post(
            "/machines", json={**body, "name": "Secreto", "fiat_code": "GTQ"}
        )
    )
    bays = {"positions": {"1": {"denomination": 20, "count": 50}}}
    path = f"/machines/{machine_id}/cassettes"
    answer(await operator.api.put(path, json=bays))
    desk = await stage.open(operator, "team", phone=True)
    page = desk.page
    await page.get_by_text("You work alone").wait_for()
    await page.get_by_role("button", name="Ask somebody in").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("What you call them").fill("Don Pedro")
    await dialog.get_by_text("All machines, later ones too").click()
    await choose(page, "These machines", "Zona 1")
    await page.keyboard.press("Escape")
    await dialog.get_by_role("button", name="Make the link").click()
    link = await dialog.locator("code").inner_text()
    await dialog.locator(".satm-dialog__foot").get_by_role("button").click()
    await page.get_by_role("heading", name="Don Pedro").wait_for()
    await page.get_by_text("asked in", exact=True).wait_for()

    person = await stage.person("pedro")
    mobile = await stage.open(
        person, link.split("/satmachineadmin/")[1], phone=True, language="es"
    )
    phone = mobile.page
    await phone.get_by_text("como: recaudador").wait_for()
    await phone.get_by_role("button", name="Aceptar").click()
    await phone.get_by_role("button", name="A trabajar").click()
    await phone.get_by_role("heading", name="Zona 1").wait_for()
    whose = phone.get_by_role("region", name="De quién es este puesto")
    said = f"Usted trabaja para {operator.username}: recaudador"
    await whose.get_by_text(said).wait_for()
    for where in ("", "settlements", f"machines/{machine_id}", "cash?show=plan"):
        await stage.turn(mobile, where)
        await whose.get_by_text(said).wait_for()
        text = await phone.locator("#satm-main").inner_text()
        assert "Secreto" not in text and not re.search(r"\bsats?\b|LP|%", text), text
        assert await phone.get_by_role("navigation", name="Secciones").count() == 0
    # what they are told themselves is theirs to choose
    await phone.get_by_role("link", name="Ajustes").click()
    await phone.get_by_role("checkbox", name="Queda poco efectivo").wait_for()
    assert await phone.get_by_role("checkbox", name="Un pago falló").count() == 0
    await phone.get_by_role("link", name="Efectivo").click()
    wrong = await look_at(mobile, "a collector's cash", FOR_SCREEN_READERS)
    await mobile.wear(phone=True, dark=True, language="es")
    assert await phone.locator("#satm-main .satm-card button").count() == 1
    await phone.get_by_role("button", name="Estoy en este cajero").click()
    bay = phone.get_by_role("region", name="Ranura 1")
    await bay.get_by_label("Ahora hay").fill("49")
    await bay.get_by_label("Ahora hay").blur()
    await bay.get_by_text("Se esperaban 50: faltan 1").wait_for()
    await phone.get_by_text("Todo está guardado").wait_for()

    # it shows by itself who came
    await page.get_by_role("heading", name=person.username).wait_for()
    await page.get_by_text("Last here").wait_for()
    wrong += await look_at(desk, "team", FOR_SCREEN_READERS)
    await desk.wear(phone=True, dark=True, language="en")
    await page.get_by_role("button", name="Remove").click()
    await act(page, "Remove", done="works for you no more")
    # the page that is open says so by itself, and shows nothing more
    gone = phone.get_by_text(f"Usted ya no trabaja para {operator.username}")
    await gone.wait_for(timeout=30_000)
    await phone.get_by_role("region", name="Ranura 1").wait_for(state="detached")
    assert answer(await person.api.get("/me"))["acting_for"] == []
    desk.assert_clean()
    await page.context.close()
    await phone.context.close()
    assert_none(wrong)


async def test_a_bookkeeper_has_no_button_that_does_anything(stage: Stage) -> None:
    """Every button of every screen is pressed: nothing is asked for but what is read,
    and no question opens; on a settlement there is the note."""
    operator, machine_id = await _operator(stage)
    person, lp = await stage.person("bea"), await stage.person("lp")
    await _hire(operator, person, "bookkeeper")
    answer(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}))
    client = await enrol(operator, lp, machine_id)
    deposit = {"client_id": client["id"], "amount": "700.00"}
    answer(await operator.api.post("/deposits", json=deposit))
    answer(await operator.api.post("/discounts", json={"code": "gift1", "fraction": 1}))
    sale = await _sale(stage, operator)
    visit = answer(await operator.api.post(f"/machines/{machine_id}/visits"))
    screen = await stage.open(person, "overview", phone=True)
    page = screen.page
    asked: list[str] = []
    page.on("request", lambda r: asked.append(f"{r.method} {r.url.split('/v1')[-1]}"))
    await page.get_by_text(f"You work for {operator.username}: bookkeeper").wait_for()
    for path in (
        *("overview", "machines", f"machines/{machine_id}", "settlements", "payments"),
        *("lps", "lps?show=deposits", f"lps/{client['id']}", "cash", "splits"),
        *(f"cash/{visit['id']}", "discounts", "books", "log"),
    ):
        await stage.turn(screen, path)
        buttons = page.locator("#satm-main button:visible:enabled")
        for number in range(await buttons.count()):
            button = buttons.nth(number)
            if not await button.is_visible():
                continue
            name = await button.inner_text() or await button.get_attribute("aria-label")
            await button.click(force=True)
            sends = page.locator(".q-dialog button[type=submit]")
            assert await sends.count() == 0, f"{path}: {name}"
            await page.keyboard.press("Escape")
    assert [a for a in asked if a[:4] != "GET " and "/splits/preview" not in a] == []
    await stage.turn(screen, f"settlements/{sale}")
    offered = page.locator(".satm-actions button")
    assert await offered.all_inner_texts() == ["edit_note\nAdd a note"]
    await offered.click()
    await page.get_by_role("dialog").get_by_label("Note").fill("Counted twice.")
    await act(page, "Add a note", done="Noted")
    told = answer(await operator.api.get(f"/settlements/{sale}"))
    assert "Counted twice." in told["notes"]
    # their files are the operator's too: a link has no header
    link = await page.evaluate("satmachine.api.url('/settlements.csv')")
    assert sale in (await person.core.get(link)).text
    screen.assert_clean()
    await page.context.close()


async def test_a_manager_has_what_the_operator_leaves_to_them(stage: Stage) -> None:
    operator, machine_id = await _operator(stage)
    person = await stage.person("max")
    answer(await person.api.post("/lp", json={"dca_wallet_id": person.wallet.id}))
    await _hire(operator, person, "manager", limit=100)
    sale = await _sale(stage, operator)
    screen = await stage.open(person, "", phone=True)
    page = screen.page
    # who has rows of their own begins with those, and goes to work from there
    await page.get_by_text("This is your own desk.").wait_for()
    await page.get_by_role("button", name="Switch").click()
    await page.get_by_text(f"For {operator.username}: manager").click()
    await page.get_by_role("heading", name="Overview").wait_for()
    await page.reload()
    await page.get_by_text(f"You work for {operator.username}: manager").wait_for()
    await stage.turn(screen, "machines")
    await page.get_by_role("heading", name="Zona 1").wait_for()
    assert await page.get_by_role("button", name="Add a machine").count() == 0
    assert await page.get_by_role("link", name="Team").count() == 0
    await stage.turn(screen, f"machines/{machine_id}")
    await page.get_by_role("button", name="Settings of the machine").click()
    dialog = page.get_by_role("dialog")
    assert await dialog.get_by_label("Wallet").count() == 0
    assert await dialog.get_by_label("Cash-out", exact=True).count() == 0
    await dialog.get_by_label("Place").fill("Zona 4")
    await act(page, "Save")
    assert await page.get_by_role("button", name="Remove").count() == 0
    seen = answer(await operator.api.get(f"/machines/{machine_id}"))
    assert seen["location"] == "Zona 4"
    body = {"dispensed_fiat": "0.00", "reason": "jam"}
    answer(await operator.api.post(f"/settlements/{sale}/dispense", json=body))
    await stage.goto(screen, f"settlements/{sale}")
    await page.get_by_role("button", name="Refund").first.click()
    await dialog.get_by_text("more than 100 sat").wait_for()
    assert await dialog.locator("button[type=submit]").count() == 0
    await page.keyboard.press("Escape")
    screen.assert_clean()
    await page.context.close()
