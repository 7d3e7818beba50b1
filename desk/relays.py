"""Relays that are connected and do not listen for us, as the line last wrote down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# so long may a relay take to listen for us before a person hears of it
DEAF_SECONDS = 60


def deaf_sentence(relay: Mapping[str, Any]) -> str | None:
    """What is wrong with a relay that is connected and hears nothing for us."""
    if relay.get("deaf_seconds", 0) < DEAF_SECONDS:
        return None
    return f"connected, but this relay does not listen for us: {relay['words']}"
