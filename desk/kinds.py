"""What a kind of attention is: its SQL, its sentence, and what a person can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

MACHINE_NAME = "COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12)) AS machine"


@dataclass(frozen=True)
class Kind:
    """One kind of item: its SQL after `SELECT`, and the sentence for a row.

    The SQL names `:since_dispense` and `:now` as it needs, and returns
    `subject_id`, `machine_id`, `machine`, `since`, and what the sentence needs.
    """

    name: str
    subject_type: str
    action: str
    sql: Callable[[str], str]
    sentence: Callable[[Row], str]
