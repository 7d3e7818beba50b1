"""Text that both databases can keep, and that can be read and sent again."""

from __future__ import annotations

import re
from typing import Any

from ..calculations import shown

_NOT_STORABLE = re.compile("[\x00\ud800-\udfff]")


def checked_text(value: Any, what: str) -> str:
    """`value` if it is text that both databases can keep; else `ValueError`."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {shown(value)}: it must be text.")
    if "\x00" in value:
        raise ValueError(f"{what} holds a NUL character, which cannot be stored.")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise ValueError(f"{what} holds half of a character: send UTF-8 text.") from exc
    return value


def storable_text(text: str) -> str:
    """`text` without what PostgreSQL (NUL) or UTF-8 (lone surrogates) refuses."""
    return _NOT_STORABLE.sub("\ufffd", text)
