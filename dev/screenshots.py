"""The pictures of docs/screenshots, made anew: ``make screenshots``.

A server of its own with the demo's people and a month of settlements, a machine that
reports over Nostr, one payment that failed, one that was held back and one dispense
that jammed; then every screen in Chromium, each as a visitor would meet it.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from . import browser
from .accounts import UserSession, answer, create_user, enable_extension
from .demo import DOMAIN, FIAT, Demo, deposit, refill, set_up
from .http_machine import pick_bills
from .installation import ROOT
from .nostr_machine import NostrMachine
from .prices import Prices, serve_prices
from .relay import DevRelay
from .server import Server, running

FOLDER = ROOT / "docs" / "screenshots"
TRADES = 70
DAYS = 30
PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=900)


@dataclass
class Shot:
    """One picture: who looks, where, in what, and what is clicked first."""

    name: str
    who: str
    path: str
    phone: bool = False
    dark: bool = True
    language: str = "en"
    click: str = ""
    scroll: str = ""


async def _until(
    found: Callable[[], Awaitable[Any]], timeout_seconds: float = 60
) -> Any:
    deadline = time.monotonic() + timeout_seconds
    while not (value := await found()):
        if time.monotonic() > deadline:
            raise SystemExit("The demo's data did not get ready in time.")
        await asyncio.sleep(0.3)
    return value


def _sql(server: Server, database: str, statement: str, *values: Any) -> None:
    file = server.folder / "data" / f"{database}.sqlite3"
    with sqlite3.connect(file, timeout=30) as connection:
        connection.execute(statement, values)


def _spread_over_a_month(server: Server, chance: random.Random) -> None:
    """Moves what was just done into the past, as a month of business."""
    file = server.folder / "data" / "ext_satoshimachine.sqlite3"
    with sqlite3.connect(file, timeout=30) as connection:
        rows = connection.execute(
            "SELECT id FROM dca_settlements ORDER BY transaction_time DESC"
        ).fetchall()
        step = DAYS * 86400 / max(1, len(rows))
        for index, (row_id,) in enumerate(rows):
            ago = int(index * step + chance.uniform(0, step) * 0.9)
            for table, key in (
                ("dca_settlements", "id"),
                ("dca_payments", "settlement_id"),
            ):
                connection.execute(
                    f"UPDATE {table} SET transaction_time = transaction_time - ?, "  # noqa: S608
                    f"created_at = created_at - ? WHERE {key} = ?",
                    (ago, ago, row_id),
                )
            connection.execute(
                "UPDATE dca_settlements SET processed_at = processed_at - ? "
                "WHERE id = ?",
                (ago, row_id),
            )
            connection.execute(
                "UPDATE dca_payments SET completed_at = completed_at - ? "
                "WHERE settlement_id = ?",
                (ago, row_id),
            )
            # so that what was sold is no correction of an earlier sale
            connection.execute(
                "UPDATE journal SET at = at - ?, recorded_at = recorded_at - ? "
                "WHERE settlement_id = ?",
                (ago, ago, row_id),
            )
        for column in ("created_at", "confirmed_at"):
            connection.execute(
                f"UPDATE dca_deposits SET {column} = {column} - ?",  # noqa: S608
                (DAYS * 86400,),
            )
        connection.execute(
            "UPDATE journal SET at = at - ?, recorded_at = recorded_at - ? "
            "WHERE deposit_id IS NOT NULL",
            (DAYS * 86400, DAYS * 86400),
        )


async def _pair(demo: Demo, relay: DevRelay) -> NostrMachine:
    """The first machine gets a line: paired, with cassettes and telemetry."""
    machines = answer(await demo.operator.api.get("/machines"))["data"]
    row = next(one for one in machines if one["name"] == "Zona 10")
    machine = NostrMachine()
    answer(await demo.platform.api.put("/super/nostr", json={"relays": [relay.url]}))
    path = f"/machines/{row['id']}"
    change = {"machine_npub": machine.npub}
    answer(await demo.operator.api.put(path, json=change))
    await machine.pair(answer(await demo.operator.api.post(f"{path}/pairing")))
    bays = {"1": (20, 420), "2": (50, 310), "3": (100, 288), "4": (200, 96)}
    positions = {
        bay: {"denomination": note, "count": count}
        for bay, (note, count) in bays.items()
    }
    body = {"positions": positions}
    answer(await demo.operator.api.put(f"{path}/cassettes", json=body))
    machine.state.cassettes = {int(bay): held for bay, held in bays.items()}
    machine.state.cassettes[3] = (100, 281)
    await machine.publish_cassettes()
    await machine.publish_beacon(model="bitSpire One", version="2.4.1")
    await machine.publish_telemetry()
    return machine


async def _reconcile(demo: Demo, server: Server) -> None:
    """Both machines' books are looked at; in one, a payment is missing in LNbits."""
    machines = answer(await demo.operator.api.get("/machines"))["data"]
    one = next(row for row in machines if row["name"] == "Zona 10")
    legs = answer(
        await demo.operator.api.get(
            "/payments",
            params={"machine_id": one["id"], "leg_type": "dca", "limit": 1},
        )
    )
    # as a restored backup of LNbits' database would have it
    _sql(
        server,
        "database",
        "UPDATE apipayments SET status = 'failed' "
        "WHERE payment_hash = ? AND amount < 0",
        legs["data"][0]["external_payment_hash"],
    )
    for row in sorted(machines, key=lambda row: row["name"] == "Zona 10"):
        path = f"/machines/{row['id']}/reconciliation"
        answer(await demo.operator.api.post(path))


async def _trade(demo: Demo, prices: Prices, chance: random.Random) -> None:
    rate = prices.sats_per_unit(FIAT)
    machine = chance.choice(list(demo.machines.values()))
    if chance.randrange(10) < 7:
        await machine.cash_out(demo.customer, pick_bills(chance), rate)
    else:
        await machine.cash_in(demo.customer, pick_bills(chance, 4), rate)
    prices.walk()


async def _trouble(demo: Demo, server: Server, prices: Prices) -> None:
    """What needs attention: a dead target, a stamp that lies, a jam, a deposit."""
    rate = prices.sats_per_unit(FIAT)
    landlord = demo.people["landlord"].wallet.id
    zona, antigua = demo.machines["Zona 10"], demo.machines["Antigua"]
    dead = "UPDATE wallets SET deleted = ? WHERE id = ?"
    _sql(server, "database", dead, 1, landlord)
    await zona.cash_out(demo.customer, {100: 4}, rate)
    await antigua.cash_out(demo.customer, {50: 3}, rate, fiat_code="USD")
    await zona.cash_out(demo.customer, {200: 3, 50: 1}, rate, dispense="awaiting")

    async def tried() -> bool:
        params = {"label": "Landlord", "status": "pending"}
        page = answer(await demo.operator.api.get("/payments", params=params))
        return any(leg["attempts"] for leg in page["data"])

    async def failed() -> bool:
        page = answer(
            await demo.operator.api.get("/payments", params={"status": "failed"})
        )
        return page["total"] > 0

    await _until(tried)
    _sql(
        server,
        "ext_satoshimachine",
        "UPDATE dca_payments SET attempts = 9, next_try_at = 0 "
        "WHERE label = 'Landlord' AND status = 'pending'",
    )
    await _until(failed)
    _sql(server, "database", dead, 0, landlord)
    client_id = next(iter(demo.clients))
    body = {"client_id": client_id, "amount": "1200.00", "notes": "counted twice"}
    answer(await demo.operator.api.post("/deposits", json=body))


async def _furnish(
    demo: Demo, server: Server, prices: Prices, chance: random.Random
) -> None:
    for client_id in demo.clients:
        await deposit(demo, client_id, "9000.00", "cash at the counter")
    for number in range(TRADES):
        await _trade(demo, prices, chance)
        if number % 10 == 0:
            await refill(demo)

    async def all_paid() -> bool:
        # cash-ins land with the sweep, up to a minute later
        if answer(await demo.operator.api.get("/settlements"))["total"] < TRADES:
            return False
        params = {"status[in]": "pending,processing"}
        page = answer(await demo.operator.api.get("/settlements", params=params))
        return page["total"] == 0

    await _until(all_paid, 180)
    _spread_over_a_month(server, chance)


def _shots(machine_id: str, good: str, failed: str, client_id: str) -> list[Shot]:
    return [
        Shot("overview", "operator", "overview"),
        Shot("overview-phone", "operator", "overview", phone=True, dark=False),
        Shot("overview-es", "operator", "overview", phone=True, language="es"),
        Shot("machines", "operator", "machines"),
        Shot("machine", "operator", f"machines/{machine_id}"),
        Shot("machine-phone", "operator", f"machines/{machine_id}", phone=True),
        Shot("machine-add", "operator", "machines", phone=True, click="Add a machine"),
        Shot("machine-pair", "operator", "machines", phone=True, click="Pair"),
        Shot("settlements", "operator", "settlements"),
        Shot("settlement", "operator", f"settlements/{good}"),
        Shot("settlement-phone", "operator", f"settlements/{good}", phone=True),
        Shot("settlement-failed", "operator", f"settlements/{failed}", dark=False),
        Shot(
            "settlement-repair",
            "operator",
            "settlements?status=awaiting_dispense",
            phone=True,
            click="a:Report dispense",
        ),
        Shot("payments", "operator", "payments", dark=False),
        Shot("lps", "operator", "lps"),
        Shot("lp", "operator", f"lps/{client_id}"),
        Shot("deposits", "operator", "lps?show=deposits", phone=True),
        Shot("splits", "operator", "splits"),
        Shot("books", "operator", "books"),
        Shot("report", "operator", "books", phone=True, click="open:"),
        Shot("log", "operator", "log"),
        Shot("dca", "lucia", "dca"),
        Shot("dca-phone", "lucia", "dca", phone=True),
        Shot("dca-settings", "felix", "dca", phone=True, dark=False, click="Settings"),
        Shot("statement", "ana", "dca/statement?lang=en"),
        Shot("welcome", "newcomer", "", phone=True),
        Shot("platform", "super", "platform"),
        Shot("platform-phone", "super", "platform", phone=True, dark=False),
    ]


async def _open(
    chromium: Browser, server: Server, person: UserSession, shot: Shot
) -> Page:
    context = await chromium.new_context(viewport=PHONE if shot.phone else DESK)
    for name, value in (
        ("cookie_access_token", person.token),
        ("is_lnbits_user_authorized", "true"),
    ):
        await context.add_cookies([{"name": name, "value": value, "url": server.url}])
    await context.add_init_script(
        'localStorage["lnbits.disclaimerShown"] = "__q_bool|1";'
        f'localStorage["lnbits.darkMode"] = "__q_bool|{int(shot.dark)}";'
        f'localStorage["lnbits.lang"] = "__q_strn|{shot.language}";'
    )
    page = await context.new_page()
    await page.goto(f"{server.url}/satmachineadmin/{shot.path}")
    await page.wait_for_load_state("networkidle")
    await page.locator(".satm h1, .satm h2, body > main").first.wait_for()
    return page


async def _take(
    chromium: Browser, server: Server, person: UserSession, shot: Shot
) -> None:
    page = await _open(chromium, server, person, shot)
    click = shot.click
    if click == "open:":  # what the first row of the list opens
        click = ""
        await page.locator(".satm-card a").first.click()
        await page.locator(".satm-back").wait_for()
        await page.wait_for_load_state("networkidle")
    if click.startswith("a:"):  # through the first row of the list
        click = click.removeprefix("a:")
        await page.locator(".satm-card a").first.click()
        await page.wait_for_load_state("networkidle")
    if click:
        await page.get_by_role("button", name=click, exact=True).first.click()
        await page.get_by_role("dialog").locator("h2").wait_for()
    await page.wait_for_timeout(700)  # charts draw, dialogs slide in
    await page.screenshot(path=FOLDER / f"{shot.name}.png")
    await page.context.close()
    print(f"docs/screenshots/{shot.name}.png", flush=True)


async def run() -> None:
    executable = browser.find()
    if executable is None:
        raise SystemExit(browser.HOW)
    FOLDER.mkdir(parents=True, exist_ok=True)
    chance = random.Random(21)  # noqa: S311 (a demo's customers, not a secret)
    relay = DevRelay()
    with tempfile.TemporaryDirectory(prefix="sms-") as folder:
        async with (
            running(
                Path(folder),
                domain=DOMAIN,
                env={"SATMACHINE_EXTERNAL_GATHER_SECONDS": "5"},
            ) as server,
            serve_prices(chance) as prices,
            async_playwright() as playwright,
        ):
            await relay.start()
            demo = await set_up(server.url, prices)
            print("A month of business, in a minute...", flush=True)
            await _furnish(demo, server, prices, chance)
            await _trouble(demo, server, prices)
            machine = await _pair(demo, relay)
            await _reconcile(demo, server)
            newcomer = await create_user(demo.platform, "newcomer")
            await enable_extension(newcomer)
            people = {**demo.people, "newcomer": newcomer}
            api = demo.operator.api

            async def first(path: str, **params: Any) -> str:
                page = answer(await api.get(path, params={**params, "limit": 1}))
                return str(page["data"][0]["id"])

            shots = _shots(
                await first("/machines", name="Zona 10"),
                await first(
                    "/settlements",
                    status="completed",
                    tx_type="cash_out",
                    sortby="principal_sats",
                    direction="desc",
                ),
                await first("/settlements", status="attention"),
                await first("/clients", username="lucia"),
            )
            chromium = await playwright.chromium.launch(
                executable_path=executable, args=["--no-sandbox", "--disable-gpu"]
            )
            for shot in shots:
                if sys.argv[1:] and shot.name not in sys.argv[1:]:
                    continue
                await _take(chromium, server, people[shot.who], shot)
            await chromium.close()
            await machine.go_offline()
            await newcomer.aclose()
            await demo.aclose()
            relay.stop()


if __name__ == "__main__":
    asyncio.run(run())
