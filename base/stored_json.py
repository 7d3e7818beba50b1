"""Whatever a stamp or a report holds, as JSON text that a database takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..calculations import shown
from .text import storable_text

# Bounds of what is kept of a stamp, so that its row can always be written.
MAX_STAMP_DEPTH = 20
MAX_STAMP_SIZE = 100_000


def storable_json(value: Any) -> str:
    """`value`, whatever it is, as JSON text that can be stored, read and sent.

    What JSON cannot carry (NaN, infinities, integers of thousands of digits) becomes
    text; what is nested too deep or goes on too long is cut. Never raises.
    """
    return json.dumps(storable(value), ensure_ascii=False, allow_nan=False)


def storable(value: Any) -> Any:
    """The same as plain values, of which the text is made."""
    return _Storable().of(value)


class _Storable:
    """One conversion to plain JSON values, with a budget of values and characters."""

    def __init__(self) -> None:
        self.left = MAX_STAMP_SIZE

    def of(self, value: Any, depth: int = 0) -> Any:
        self.left -= 1
        if self.left < 0 or depth > MAX_STAMP_DEPTH:
            return "(left out)"
        if isinstance(value, Mapping):
            return self._object(value, depth)
        if isinstance(value, (list, tuple)):
            return self._list(value, depth)
        return self._scalar(value)

    def _object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if self.left <= 0:
                break
            plain[str(self._scalar(key))] = self.of(item, depth + 1)
        return plain

    def _list(self, value: Sequence[Any], depth: int) -> list[Any]:
        plain: list[Any] = []
        for item in value:
            if self.left <= 0:
                break
            plain.append(self.of(item, depth + 1))
        return plain

    def _scalar(self, value: Any) -> Any:
        """A JSON value without structure: anything else becomes a short text."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            text = storable_text(value[: max(self.left, 0)])
            self.left -= len(text)
            return text
        if isinstance(value, int):
            return int(value) if value.bit_length() <= 200 else shown(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(float(value))
        return shown(value)
