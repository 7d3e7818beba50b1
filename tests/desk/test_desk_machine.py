"""Payments, failures and repairs in any sequence: no sat and no cent is lost."""

from __future__ import annotations

import pytest
from desk_machine import Desk, run_machine
from examples import IS_THOROUGH

from satmachineadmin import distribution

pytestmark = pytest.mark.longest

EXAMPLES = 300 if IS_THOROUGH else 20


@pytest.mark.timeout(4 * 3600 if IS_THOROUGH else 900)
async def test_any_sequence_of_actions_and_failures_conserves_every_sat(
    engine_paused: distribution.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_machine(Desk, monkeypatch, EXAMPLES)
