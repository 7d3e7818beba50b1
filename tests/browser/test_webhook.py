"""Settings on the screen, at 390 px in Spanish: what one is told, how and when; and the
operator's own server: set, tried, its answer read, its secret seen once, removed."""

from __future__ import annotations

import pytest
from looks import FOR_SCREEN_READERS, assert_none, look_at
from receiver import Receiver
from stage import Stage, act

from conftest import wait_for
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
        hook = page.get_by_label("Su propio servidor")
        await hook.locator('[aria-checked="false"]').first.wait_for()
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


async def test_what_one_is_told_is_chosen_and_tried(stage: Stage) -> None:
    operator = await stage.person("told")
    body = {
        "machine_npub": operator.wallet.id * 2,
        "wallet_id": operator.wallet.id,
        "name": "Zona 1",
        "fiat_code": "GTQ",
    }
    answer(await operator.api.post("/machines", json=body))
    zone = {"time_zone": "America/Guatemala"}
    answer(await operator.api.put("/preferences", json=zone))
    screen = await stage.open(operator, "settings", phone=True, language="es")
    page = screen.page
    told = page.get_by_label("De qué se le avisa")
    await told.get_by_text("Con el reloj de America/Guatemala.").wait_for()
    await told.get_by_text("su administrador no ha configurado ningún").wait_for()
    await told.get_by_role("button", name="Enviarme una prueba").click()
    await told.get_by_text("No se envió nada").wait_for()
    await told.get_by_role("checkbox", name="Cada venta").click()
    await told.get_by_role("switch", name="Horas de silencio").click()
    await told.get_by_label("Desde").fill("23:15")
    await told.get_by_role("switch", name="Mi día en un mensaje").click()
    await told.get_by_label("A las").fill("06:30")

    async def kept() -> bool:
        found = answer(await operator.api.get("/notifications"))
        sale = next(k["is_told"] for k in found["kinds"] if k["kind"] == "sale")
        hours = [found[k] for k in ("quiet_from", "quiet_until", "digest_at")]
        return bool(sale and hours == ["23:15", "07:00", "06:30"])

    await wait_for(kept, 30)
    await page.reload()
    await told.get_by_text("en un solo mensaje").wait_for()
    assert await told.get_by_label("Desde").input_value() == "23:15"
    assert_none(await look_at(screen, "settings", FOR_SCREEN_READERS))
    for wear in ({"phone": True, "dark": True}, {"phone": False, "dark": False}):
        await screen.wear(language="en", **wear)
        await page.get_by_text("By the clock of America/Guatemala.").wait_for()
        assert_none(await look_at(screen, "settings", FOR_SCREEN_READERS))
    screen.assert_clean()
    await page.context.close()
