"""The operator's own server on the screen: set at 390 px in Spanish, tried, its answer
read, its secret seen once, removed."""

from __future__ import annotations

import pytest
from looks import FOR_SCREEN_READERS, assert_none, look_at
from receiver import Receiver
from stage import Stage, act

from dev.accounts import answer

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.page,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
]


async def test_a_webhook_is_set_tried_and_removed(stage: Stage) -> None:
    operator = await stage.person("hooked")
    body = {
        "machine_npub": operator.wallet.id * 2,
        "wallet_id": operator.wallet.id,
        "name": "Zona 1",
        "fiat_code": "GTQ",
    }
    answer(await operator.api.post("/machines", json=body))
    async with Receiver() as shop:
        screen = await stage.open(operator, "settings", phone=True, language="es")
        page = screen.page
        await page.get_by_text("Ningún webhook").wait_for()
        await page.get_by_role("button", name="Configurar un webhook").click()
        address = page.get_by_role("dialog").get_by_label("Dirección")
        await address.fill(shop.url)
        await act(page, "Guardar", done="Copie ahora el secreto", close="Cerrar")
        await page.get_by_text("whsec_").wait_for()
        await page.get_by_role("button", name="Enviar una prueba").click()
        await page.get_by_text("aceptado 200").first.wait_for()
        assert shop.told("webhook.test")
        shop.how = "500"
        await page.get_by_role("button", name="Enviar una prueba").click()
        # what it answers is text, whatever it is
        await page.get_by_text("no aceptado 500 · <b>no</b>").wait_for()
        box = page.get_by_role("checkbox", name="Una visita está cerrada")
        await box.click()
        await page.locator('[aria-checked="false"]').first.wait_for()
        kept = answer(await operator.api.get("/webhook"))["events"]
        assert "visit.closed" not in kept and len(kept) == 7
        # seen once: not after a reload
        await stage.turn(screen, "settings")
        await page.reload()
        await page.get_by_text("De qué se avisa").wait_for()
        assert await page.get_by_text("whsec_").count() == 0
        assert_none(await look_at(screen, "settings", FOR_SCREEN_READERS))
        await screen.wear(phone=True, dark=True, language="es")
        await page.get_by_role("button", name="Eliminar").click()
        await act(page, "Eliminar", done="está eliminado", close="Cerrar")
        await page.get_by_text("Ningún webhook").wait_for()
        assert answer(await operator.api.get("/webhook"))["url"] is None
        screen.assert_clean()
        await page.context.close()
