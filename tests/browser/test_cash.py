"""The cash book on the screen: a visit on a phone, in Spanish, with the line cut.

Somebody stands at the machine at 390 px, counts, loses the connection in the middle,
goes on counting, and closes the visit when it is back: nothing was lost, what was
expected was told only afterwards, the slip says the same. And the screens of cash in
every look.
"""

from __future__ import annotations

import pytest
from looks import assert_none, screens_of
from stage import Stage, act

from conftest import wait_for
from dev.accounts import UserSession, answer

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.longest,
]


async def _machine(stage: Stage, who: str) -> tuple[UserSession, str]:
    operator = await stage.person(who)
    body = {
        "machine_npub": operator.wallet.id * 2,
        "wallet_id": operator.wallet.id,
        "name": "Zona 1",
        "fiat_code": "GTQ",
    }
    machine = answer(await operator.api.post("/machines", json=body))
    bays = {"1": {"denomination": 20, "count": 50}}
    path = f"/machines/{machine['id']}"
    answer(await operator.api.put(f"{path}/cassettes", json={"positions": bays}))
    answer(await operator.api.put(path, json={"box_capacity": 500}))
    return operator, machine["id"]


async def test_a_visit_at_the_machine_with_the_connection_cut(stage: Stage) -> None:
    operator, machine_id = await _machine(stage, "cash")
    screen = await stage.open(operator, "cash", phone=True, language="es")
    page = screen.page
    await page.get_by_role("heading", name="Zona 1").wait_for()
    await page.get_by_role("button", name="Estoy en este cajero").click()
    await page.get_by_role("heading", name="Visita en Zona 1").wait_for()
    visit_id = page.url.rsplit("/", 1)[1]
    bay = page.get_by_role("region", name="Ranura 1")
    assert await bay.get_by_text("Se esperaban").count() == 0
    there, put_in = (bay.get_by_label(x) for x in ("Ahora hay", "Puse"))
    await there.fill("48")
    await there.blur()
    await bay.get_by_text("Se esperaban 50: faltan 2").wait_for()
    await page.context.set_offline(True)
    await put_in.fill("100")
    await put_in.blur()
    box = page.get_by_role("region", name="Caja")
    await box.get_by_label("Ahora hay").fill("3")
    await box.get_by_label("Ahora hay").blur()
    await box.get_by_text("Saqué el efectivo de la caja").click()
    await page.get_by_text("Sin conexión: queda en este dispositivo").wait_for()
    # what could not be sent outlives the page
    kept = await page.evaluate("id => localStorage['satmachine.visit.' + id]", visit_id)
    assert '"filled"' in kept and '"emptied"' in kept
    await page.context.set_offline(False)
    screen.problems.clear()
    await page.get_by_text("Todo está guardado").wait_for(timeout=30_000)

    async def sent() -> bool:
        found = answer(await operator.api.get(f"/visits/{visit_id}"))
        places = {one["place"]: one for one in found["places"]}
        return (
            places["bay:1"]["filled"] == {"20": 100}
            and places["box"]["counts"] == {"20": 3}
            and places["box"]["is_emptied"]
        )

    await wait_for(sent)
    await page.get_by_role("button", name="Cerrar la visita").click()
    await act(page, "Cerrar la visita", done="La visita está cerrada", close="Cerrar")
    section = page.get_by_role("region", name="Diferencias")
    await section.get_by_text("Se esperaba: 50 \u00d7 20").wait_for()
    await section.get_by_text("Contado: 48 \u00d7 20").wait_for()
    cash = answer(await operator.api.get(f"/cash?machine_id={machine_id}"))["data"]
    assert {r["place"]: r["notes"] for r in cash} == {"bay:1": 148, "box": 0}
    slip = await operator.core.get(f"/satmachineadmin/visits/{visit_id}/slip?lang=es")
    assert slip.status_code == 200 and "Comprobante de visita" in slip.text
    assert "48 \u00d7 20" in slip.text and "Ranura 1" in slip.text
    plan = await operator.core.get("/satmachineadmin/cash/plan/print")
    assert plan.status_code == 200 and "Round of refills" in plan.text
    stranger = await stage.person("stranger")
    other = await stranger.core.get(f"/satmachineadmin/visits/{visit_id}/slip")
    assert other.status_code == 404
    await stage.goto(screen, "cash")
    await page.get_by_role("button", name="En mi mano").click()
    await page.get_by_role("dialog").get_by_label("Importe").fill("500,00")
    await act(page, "Anotarlo", done="En su mano: 500,00", close="Cerrar")
    screen.assert_clean()
    await page.context.close()


async def test_the_screens_of_cash_in_every_look(stage: Stage) -> None:
    operator, machine_id = await _machine(stage, "cashlooks")
    visit = answer(await operator.api.post(f"/machines/{machine_id}/visits"))
    body = {"counts": {"bay:1": {"20": 48}}}
    answer(await operator.api.put(f"/visits/{visit['id']}", json=body))
    paths = ["cash", "cash?show=movements", "cash?show=visits", "cash?show=plan"]
    paths += [f"cash/{visit['id']}", f"machines/{machine_id}", "books"]
    assert_none(await screens_of(stage, operator, paths))
