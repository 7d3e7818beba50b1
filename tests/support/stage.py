"""A real LNbits server, a real Chromium, and people who look at the pages.

    page = await stage.open(session, "machines", phone=True, dark=True, language="es")
    ...
    page.assert_clean()   # no console error or warning, no failed request

The server is one for all browser tests, on SQLite whatever the run's database is;
every test brings its own people, machines and names.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import time
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
import pytest
from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    ViewportSize,
)
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from dev import accounts, axe
from dev.accounts import UserSession, WalletKeys
from dev.http_machine import HttpMachine, Quote
from dev.server import Server

PHONE = ViewportSize(width=390, height=844)
DESK = ViewportSize(width=1280, height=900)
RATE = Decimal("133.3333")
# Our part of the page; LNbits' own header and drawer are not ours to mend.
OURS = (".satm", ".q-dialog")

STILL = "* { transition-duration: 0s !important; animation-duration: 0s !important }"
SIDEWAYS = "() => Math.max(0, document.scrollingElement.scrollWidth - innerWidth)"
# LNbits' drawer, open on a desk, may stay open when the window becomes narrow: on a
# phone nobody would have opened it.
NO_DRAWER = """() => {
  window.g.visibleDrawer = false
  const container = document.querySelector('.q-page-container')
  return !container || !parseFloat(getComputedStyle(container).paddingLeft)
}"""
CUT_OFF = """() => {
  const scrolls = element => {
    for (let e = element; e; e = e.parentElement) {
      if (['auto', 'scroll'].includes(getComputedStyle(e).overflowX)) return true
    }
    return false
  }
  const beyond = element => {
    const box = element.getBoundingClientRect()
    return box.width > 0 && box.right > innerWidth + 1
  }
  return [...document.querySelectorAll('.satm *')]
    .filter(e => beyond(e) && !e.closest('.satm-hidden') && !scrolls(e))
    .map(e => e.outerHTML.slice(0, 120))
}"""


@dataclass
class Watched:
    """A page, and everything that went wrong on it."""

    page: Page
    problems: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    traffic: deque[str] = field(default_factory=lambda: deque(maxlen=40))
    opened_at: float = field(default_factory=time.monotonic)

    def note(self, what: str) -> None:
        self.traffic.append(f"{time.monotonic() - self.opened_at:6.1f} s {what}")

    def asked(self, request: Request) -> None:
        self.note(f"{request.method} {request.url}")

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"console {message.type}: {message.text}")

    def thrown(self, error: PlaywrightError) -> None:
        # LNbits' own, for a payment that arrives before our script is there.
        if "onWebsocketMessage" not in (error.stack or ""):
            self.problems.append(f"thrown: {error}")

    def answered(self, response: Response) -> None:
        self.note(f"{response.status} {response.url}")
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.url}")

    def assert_clean(self) -> None:
        """Nothing went wrong but what was `expected` (parts of the lines)."""
        left = [
            problem
            for problem in self.problems
            if not any(part in problem for part in self.expected)
        ]
        assert left == []
        self.problems.clear()

    async def refused(self, words: str) -> None:
        """The server's sentence is on the screen; its 400 is no accident."""
        await self.page.get_by_role("alert").filter(has_text=words).wait_for()
        self.expected += ["status of 40", "/api/v1/"]

    async def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(await self.page.evaluate(SIDEWAYS))

    async def cut_off(self) -> list[str]:
        """Our texts and controls that reach beyond the right edge of the window.

        What lies in a box that scrolls by itself can be reached.
        """
        return list(await self.page.evaluate(CUT_OFF))

    async def unreadable(self) -> list[str]:
        """What axe finds serious or critical in our part of the page."""
        path = axe.script()
        if path is None:
            pytest.skip("axe-core comes from npm, which is not on this machine")
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(path.read_text())
        found = await self.page.evaluate(
            """async parts => {
              const include = parts.filter(one => document.querySelector(one))
              const {violations} = await axe.run(
                {include: include.map(one => [one])},
                {resultTypes: ['violations']}
              )
              return violations
                .filter(one => ['serious', 'critical'].includes(one.impact))
                .flatMap(one => one.nodes.map(node =>
                  `${one.id}: ${node.html.slice(0, 200)} ` +
                  `${node.any.concat(node.all).map(x => x.message).join(' ')}`))
            }""",
            list(OURS),
        )
        return list(found)

    async def wear(self, *, phone: bool, dark: bool, language: str) -> None:
        """Change size, theme and language of the page as it stands."""
        await self.page.set_viewport_size(PHONE if phone else DESK)
        await self.page.evaluate(
            """async ([dark, language]) => {
              window.g.darkChoice = dark
              window.g.locale = language
              document.activeElement?.blur()
            }""",
            [dark, language],
        )
        if phone:
            await self.page.wait_for_function(NO_DRAWER)
        await self.page.wait_for_function(
            "language => window.i18n.global.locale === language", arg=language
        )
        await self.fits()

    async def fits(self) -> None:
        """The layout follows a new width a moment later, a chart after it."""
        try:
            await self.page.wait_for_function(
                f"() => !({CUT_OFF})().length && !({SIDEWAYS})()", timeout=15_000
            )
        except PlaywrightTimeoutError:
            return  # it stays like that: `cut_off` and `sideways` tell


@dataclass
class Desk:
    """An operator's machine with some of everything, for tests that change nothing."""

    operator: UserSession
    lp: UserSession
    machine_id: str
    client_id: str
    settlement_id: str
    held_back_id: str
    report_id: str


@dataclass
class Stage:
    server: Server
    chromium: Browser
    platform: UserSession
    anonymous: httpx.AsyncClient
    pages: deque[Watched] = field(default_factory=lambda: deque(maxlen=3))

    def seen(self) -> str:
        """What the newest pages asked for and were told, for a test that failed."""
        return "\n".join(
            "\n".join((page.page.url, *page.problems, *page.traffic))
            for page in self.pages
        )

    async def person(self, name: str) -> UserSession:
        """Somebody new with one wallet, who has the extension enabled."""
        username = f"{name[:10]}{secrets.token_hex(4)}"
        session = await accounts.create_user(self.platform, username)
        await accounts.enable_extension(session)
        await accounts.refresh_wallets(session)
        return session

    async def customer(self) -> WalletKeys:
        """A wallet with plenty of sats."""
        session = await self.person("customer")
        await accounts.credit(self.platform, session.wallet.id, 5_000_000)
        return session.wallet

    def machine(self, wallet: WalletKeys, platform: str, operator: str) -> HttpMachine:
        both = (Decimal(platform), Decimal(operator))
        return HttpMachine(self.anonymous, wallet, Quote(both, both), "the machine")

    async def open(
        self,
        session: UserSession,
        path: str = "",
        *,
        phone: bool = False,
        dark: bool = True,
        language: str = "en",
    ) -> Watched:
        """The extension's page as this person sees it, loaded."""
        context = await self.chromium.new_context(
            viewport=PHONE if phone else DESK, accept_downloads=True, locale="en-US"
        )
        await context.add_cookies(
            [
                {"name": name, "value": value, "url": self.server.url}
                for name, value in (
                    ("cookie_access_token", session.token),
                    ("is_lnbits_user_authorized", "true"),
                )
            ]
        )
        await context.add_init_script(
            'localStorage["lnbits.disclaimerShown"] = "__q_bool|1";'
            f'localStorage["lnbits.darkMode"] = "__q_bool|{int(dark)}";'
            f'localStorage["lnbits.lang"] = "__q_strn|{language}";'
        )
        page = await context.new_page()
        page.set_default_timeout(60_000)
        watched = Watched(page)
        page.on("console", watched.heard)
        page.on("pageerror", watched.thrown)
        page.on("request", watched.asked)
        page.on("response", watched.answered)
        self.pages.append(watched)
        await self.goto(watched, path)
        return watched

    async def goto(self, watched: Watched, path: str) -> None:
        await watched.page.goto(f"{self.server.url}/satmachineadmin/{path}")
        await settled(watched.page)
        # Nothing fades: what is on the screen is there at once, for axe too.
        await watched.page.add_style_tag(content=STILL)

    async def turn(self, watched: Watched, path: str) -> None:
        """To another screen by the page's own router, without loading it anew."""
        address = f"/satmachineadmin/{path}"
        await watched.page.evaluate("path => window.router.push(path)", address)
        assert watched.page.url == f"{self.server.url}{address}"
        await settled(watched.page)

    def sql(self, database: str, statement: str, *values: Any) -> None:
        """One statement on a database of the running server: "core" or "ours"."""
        name = {"core": "database", "ours": "ext_satoshimachine"}[database]
        file = self.server.folder / "data" / f"{name}.sqlite3"
        with sqlite3.connect(file, timeout=20) as connection:
            connection.execute(statement, values)


async def settled(page: Page) -> None:
    """Nothing of ours is loading any more."""
    await page.locator(".satm h1, .satm h2, .satm-empty, body > main").first.wait_for()
    await page.wait_for_function(
        "() => !document.querySelector('.satm-wait, .satm-skeleton')"
    )


async def act(
    page: Page, ok: str, *, done: str | None = None, close: str = "Close"
) -> None:
    """Confirm the open dialog with its button `ok`; read what happened; close it."""
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name=ok, exact=True).click()
    if done is not None:
        await dialog.get_by_text(re.compile(done)).wait_for()
        await dialog.locator(".satm-dialog__foot").get_by_role(
            "button", name=close
        ).click()
    await dialog.wait_for(state="detached")


async def choose(page: Page, label: str, option: str) -> None:
    """An option of a Quasar select."""
    await page.get_by_role("combobox", name=label).click()
    await page.get_by_role("option", name=option).first.click()
