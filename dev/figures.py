"""Figures of runs that happened, kept so that a table can be made of them.

Long tests `note` what they measured; `python -m dev.reliability` prints it. A line of
JSON each in `.cache/reliability.jsonl`, or where SATMACHINE_FIGURES says.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FILE = Path(os.environ.get("SATMACHINE_FIGURES", ROOT / ".cache" / "reliability.jsonl"))


def machine() -> str:
    """Cores, memory and Python of this machine."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {gib:.0f} GiB, Python {platform.python_version()}"


def note(what: str, **figures: Any) -> None:
    """Adds one line: what was run, when, on what machine, and its figures."""
    line = {
        "what": what,
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M}",
        "machine": machine(),
        **figures,
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with FILE.open("a") as file:
        file.write(json.dumps(line) + "\n")


def noted(what: str) -> list[dict[str, Any]]:
    """The lines of one kind, oldest first."""
    if not FILE.exists():
        return []
    lines = [json.loads(line) for line in FILE.read_text().splitlines()]
    return [line for line in lines if line["what"] == what]
