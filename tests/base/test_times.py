"""Times as the two databases give them back: every one of them is read."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from satmachineadmin.base.database import from_db_time

pytestmark = pytest.mark.pure

AT = datetime(2026, 11, 29, 22, 26, 53, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        AT.replace(tzinfo=None),  # PostgreSQL
        AT.timestamp(),  # SQLite, as we write it
        str(AT.timestamp()),
        "2026-11-29 22:26:53",  # SQLite's default of a column
    ],
)
def test_a_time_is_read(value: Any) -> None:
    assert from_db_time(value) == AT


def test_none_is_none() -> None:
    assert from_db_time(None) is None
