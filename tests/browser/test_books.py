"""The books on the screen: a difference is found, looked at, and payouts go on.

In Spanish, as the server's English sentences are translated by the page; every
difference leads to what it is about, and the accounting of a month can be opened in a
spreadsheet.
"""

from __future__ import annotations

import csv
import io

import pytest
from stage import RATE, Stage, act

from conftest import wait_for
from dev.accounts import answer, enrol

pytest_plugins = ("browser_fixtures",)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("browser"),
    pytest.mark.longest,
]


async def test_a_difference_stops_payouts_until_somebody_has_looked(
    stage: Stage,
) -> None:
    operator, lp = await stage.person("books"), await stage.person("lp")
    api = operator.api
    body = {
        "machine_npub": operator.wallet.id * 2,
        "wallet_id": operator.wallet.id,
        "name": "Zona 1",
        "fiat_code": "GTQ",
    }
    machine = answer(await api.post("/machines", json=body))
    answer(await lp.api.post("/lp", json={"dca_wallet_id": lp.wallet.id}))
    client = await enrol(operator, lp, machine["id"])
    body = {"client_id": client["id"], "amount": "900.00", "notes": ""}
    deposit = answer(await api.post("/deposits", json=body))
    path = f"/deposits/{deposit['id']}/status"
    answer(await api.put(path, json={"status": "confirmed"}))
    sell = stage.machine(operator.wallet, "0", "0")
    trade = await sell.cash_out(await stage.customer(), {100: 2}, RATE)
    held = await sell.cash_out(await stage.customer(), {50: 1}, RATE, fiat_code="USD")

    async def paid() -> bool:
        page = answer(await api.get("/settlements?status=completed"))
        both = answer(await api.get("/settlements"))["total"] == 2
        return both and page["total"] == 1

    await wait_for(paid)
    page_of_one = answer(await api.get("/settlements?status=completed"))
    trade_id = page_of_one["data"][0]["id"]
    stage.sql(
        "ours",
        "UPDATE dca_client_totals SET debited_cents = 15000 WHERE client_id = ?",
        client["id"],
    )
    screen = await stage.open(operator, "books", phone=True, language="es")
    page = screen.page
    await page.get_by_text("Aún no hay conciliaciones").wait_for()
    await page.get_by_role("button", name="Conciliar ahora").click()
    await page.get_by_role("dialog").get_by_role(
        "button", name="Conciliar ahora"
    ).click()
    # its report opens by itself, with the alarm
    alarm = page.get_by_role("alert")
    found = (
        f"{client['username']}: los pagos usaron 200,00 GTQ, "
        "el total corriente dice 150,00 GTQ."
    )
    await alarm.filter(
        has_text=f"La conciliación encontró una diferencia: {found}"
    ).wait_for()
    difference = page.get_by_role("article").filter(
        has=page.get_by_role("heading", name="El saldo de un LP no coincide")
    )
    await difference.get_by_text("el total corriente dice 150,00 GTQ").wait_for()
    link = difference.locator("dd a")
    assert await link.get_attribute("href") == f"/satmachineadmin/lps/{client['id']}"
    stopped = answer(await api.get(f"/machines/{machine['id']}"))
    assert "reconciliation" in stopped["payouts_stopped_reason"]
    await alarm.get_by_role("button", name="Reanudar los pagos").click()
    await page.get_by_role("dialog").get_by_role("textbox", name="¿Por qué?").fill(
        "ya lo miré"
    )
    await act(page, "Reanudar los pagos", done="Los pagos continúan", close="Cerrar")
    await alarm.wait_for(state="detached")
    stopped = answer(await api.get(f"/machines/{machine['id']}"))
    assert stopped["payouts_stopped_reason"] is None
    await stage.goto(screen, f"machines/{machine['id']}")
    await page.get_by_text("1 diferencia, pagos detenidos").wait_for()
    # one settlement, one payment: the machine's own past, and nothing to change
    await page.get_by_text("enseguida: 1 pago al día").wait_for()
    await stage.goto(screen, "overview")
    # what the server said when it landed, and within what needs attention
    sentence = (
        'Moneda es "USD", pero la moneda del cajero aquí es GTQ: corrija el '
        "ajuste del cajero."
    )
    await page.get_by_text(sentence, exact=True).wait_for()
    assert held.principal_sats == 6_667
    await page.get_by_text(
        f"Zona 1: un pago de 6667 sat está retenido. {sentence}"
    ).wait_for()
    await stage.goto(screen, "books")
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Descargar las cuentas (CSV)").click()
    file = await (await started.value).path()
    text = file.read_bytes().decode("utf-8-sig")
    table = list(csv.DictReader(io.StringIO(text), delimiter=";"))
    hashes = {row["Hash del pago"] for row in table}
    # what is held back is in it too, as that
    assert {trade.payment_hash, held.payment_hash} <= hashes
    assert {row["Cajero"] for row in table} == {"Zona 1"}
    # the journal: balances at the end of a day, and each entry with what it changed
    journal = page.get_by_role("region", name="El libro diario")
    balances = journal.get_by_role("region", name="Saldos")
    await balances.get_by_text("Retenido", exact=True).wait_for()
    owner = balances.get_by_role("row").filter(has_text="Depósitos de un LP")
    await owner.filter(has_text=client["username"]).wait_for()
    await owner.filter(has_text="-900,00 GTQ").wait_for()
    await journal.get_by_text("Depósito confirmado", exact=True).wait_for()
    async with page.expect_download() as started:
        await journal.get_by_role(
            "link", name="Contabilidad en texto (beancount)"
        ).click()
    file = await (await started.value).path()
    assert f'settlement: "{trade_id}"' in file.read_text(encoding="utf-8")
    await journal.get_by_label("Saldos al final del").fill("2020-01-01")
    await journal.get_by_text("Entonces no había nada en el libro diario.").wait_for()
    screen.assert_clean()
    await page.context.close()
