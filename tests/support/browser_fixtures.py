"""The fixtures of the browser tests: one server, one Chromium and one desk for all."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import async_playwright
from stage import RATE, Desk, Stage

import environment
from conftest import wait_for
from dev import accounts, browser
from dev.accounts import answer, create_wallet, enrol
from dev.server import running

# Markup, a template, an emoji, an override to right-to-left, and Arabic.
ARABIC = "\u0645\u0631\u062d\u0628\u0627"
HOSTILE = f"<img src=x onerror=window.ran=1> {{{{7*7}}}} \U0001f916 \u202e{ARABIC} "
LONGEST = HOSTILE + "W" * (120 - len(HOSTILE))
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest_asyncio.fixture(scope="session")
async def stage() -> AsyncIterator[Stage]:
    """Skips on PostgreSQL: the screens are the same, and seen once."""
    if environment.DATABASE != "sqlite":
        pytest.skip("the screens are tested on SQLite only")
    executable = browser.find()
    if executable is None:
        pytest.skip(browser.HOW)
    folder = Path(tempfile.mkdtemp(prefix="smb-"))
    try:
        async with (
            running(folder) as server,
            async_playwright() as playwright,
            httpx.AsyncClient(base_url=server.url, timeout=60) as anonymous,
        ):
            platform = await accounts.first_install(server.url, "super")
            await accounts.enable_extension(platform)
            await accounts.refresh_wallets(platform)
            chromium = await playwright.chromium.launch(
                executable_path=executable, args=list(FLAGS)
            )
            yield Stage(server, chromium, platform, anonymous)
            await chromium.close()
            await platform.aclose()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session")
async def desk(stage: Stage) -> Desk:
    """A machine, an LP, deposits and settlements, all with hostile names."""
    operator, lp = await stage.person("hostile"), await stage.person("lp")
    api = operator.api
    wallet = await create_wallet(operator, HOSTILE)
    machine = answer(
        await api.post(
            "/machines",
            json={
                "machine_npub": wallet.id * 2,
                "wallet_id": wallet.id,
                "name": LONGEST,
                "location": LONGEST,
                "fiat_code": "GTQ",
                "operator_cash_out_fee_fraction": "0.0500",
                "operator_cash_in_fee_fraction": "0.0500",
            },
        )
    )
    report = {
        "bays": [{"position": 1, "count": 7}, {"position": 2, LONGEST: LONGEST}],
        "door_open": False,
        "errors": [],
        "sensors": {"motors": [[1, 2], {"temperature": 41.5}], "note": LONGEST},
    }
    stage.sql(
        "ours",
        "INSERT INTO dca_telemetry (machine_id, telemetry_json, telemetry_received_at) "
        "VALUES (?, ?, ?)",
        machine["id"],
        json.dumps(report),
        time.time(),
    )
    path = f"/machines/{machine['id']}"
    answer(await api.post(f"{path}/pairing"))
    bays = {"1": {"denomination": 20, "count": 100}}
    answer(await api.put(f"{path}/cassettes", json={"positions": bays}))
    split = {"target": operator.wallet.id, "label": LONGEST, "fraction": "1.0000"}
    for splits in ("/splits", f"{path}/splits"):
        answer(await api.put(splits, json={"splits": [split]}))
    answer(
        await lp.api.post(
            "/lp",
            json={
                "dca_wallet_id": lp.wallet.id,
                "default_dca_mode": "fixed",
                "fixed_mode_daily_limit": "500.00",
            },
        )
    )
    client = await enrol(operator, lp, machine["id"])
    answer(await api.put(f"/clients/{client['id']}", json={"username": LONGEST}))
    for _ in range(2):
        deposit = {"client_id": client["id"], "amount": "700.00", "notes": LONGEST}
        made = answer(await api.post("/deposits", json=deposit))
    confirmed = {"status": "confirmed"}
    answer(await api.put(f"/deposits/{made['id']}/status", json=confirmed))
    sell = stage.machine(wallet, "0.00", "0.05")
    customer = await stage.customer()

    async def landed(payment_hash: str, status: str) -> str:
        seen: list[Any] = []

        async def find() -> str | None:
            params = {"payment_hash": payment_hash}
            seen[:] = answer(await api.get("/settlements", params=params))["data"]
            return next((row["id"] for row in seen if row["status"] == status), None)

        try:
            return str(await wait_for(find, timeout_seconds=150))
        except AssertionError as never:
            waits = answer(await api.get("/overview"))["needs_attention"]
            raise AssertionError(f"not {status}: {seen}; {waits}") from never

    good = await sell.cash_out(customer, {100: 2}, RATE)
    # before cash is bought with what it brought in: the wallet has nothing else
    good_id = await landed(good.payment_hash, "completed")
    bad = await sell.cash_out(customer, {50: 1}, RATE, fiat_code="USD")
    await sell.cash_in(customer, {20: 1}, RATE)

    # what the LP got and what the books say differ by less than they had
    stage.sql(
        "ours",
        "UPDATE dca_client_totals SET debited_cents = 1 WHERE client_id = ?",
        client["id"],
    )
    report = answer(await api.post(f"{path}/reconciliation"))
    assert report["differences"]
    return Desk(
        operator,
        lp,
        machine["id"],
        client["id"],
        good_id,
        await landed(bad.payment_hash, "quarantined"),
        report["id"],
    )
