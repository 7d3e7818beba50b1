"""The fixture of the browser tests: one server and one Chromium for all of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from browser.stage import Stage
from playwright.async_api import async_playwright

import environment
from dev import accounts, browser
from dev.server import running

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
