"""The operator's people and their codes on the screen, at 390 px: each role's story.

Discounts: the operator makes a code, sees what it forgave, ends it; the super makes
one of the platform; the sale says who forgave what.
"""

from __future__ import annotations

import secrets

import pytest
from looks import assert_none, screens_of
from stage import RATE, Stage, act

from conftest import wait_for
from dev.accounts import UserSession, answer

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
    assert_none(await screens_of(stage, operator, ["discounts"]))
