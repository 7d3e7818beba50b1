"""What a person can do from the screens, and how they get there, in a real browser."""

from __future__ import annotations

import time

import pytest
from browser.stage import Desk, Stage

pytest_plugins = ("browser.fixtures",)
pytestmark = [pytest.mark.browser, pytest.mark.server, pytest.mark.timeout(170)]


def _pair(stage: Stage, machine_id: str, at: int) -> None:
    """As when the machine has sent its code."""
    stage.sql(
        "ours",
        "UPDATE dca_machines SET is_paired = 1, paired_at = ?, pairing_code = NULL, "
        "pairing_expires_at = NULL WHERE id = ?",
        at,
        machine_id,
    )
    stage.sql("ours", "UPDATE dca_locks SET n = n + 1 WHERE id = 'ledger'")


async def test_a_machine_is_paired_and_paired_again(stage: Stage, desk: Desk) -> None:
    watched = await stage.open(desk.operator, f"machines/{desk.machine_id}", phone=True)
    page = watched.page
    dialog = page.get_by_role("dialog")
    now = int(time.time())
    await page.get_by_role("button", name="Pair", exact=True).click()
    await dialog.locator(".satm-qr svg").wait_for()
    _pair(stage, desk.machine_id, now - 86_400)
    await dialog.get_by_text("This machine is paired, since").wait_for()
    await page.route("**/pairing", lambda route: route.abort())
    await dialog.get_by_role("button", name="Pair again").click()
    await dialog.get_by_role("alert").filter(has_text="No connection").wait_for()
    await page.unroute("**/pairing")
    await dialog.get_by_role("button", name="Pair again").click()
    await dialog.locator(".satm-qr svg").wait_for()
    _pair(stage, desk.machine_id, now)
    await dialog.get_by_text("This machine is paired, since").wait_for()
    watched.expected += ["ERR_FAILED"]
    watched.assert_clean()
    stage.sql(
        "ours",
        "UPDATE dca_machines SET is_paired = 0, paired_at = NULL WHERE id = ?",
        desk.machine_id,
    )
    await page.context.close()
