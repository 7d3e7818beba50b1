"""The table of docs/reliability.md, of runs that happened on this machine.

    python -m dev.reliability

What `make torture` noted (see figures.py): the newest run of every kind, its parts
added up. A row that was not run is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .figures import noted

Line = dict[str, Any]

HEADER = (
    "| faults tried | how often | settlements | sats moved | sats lost | sats doubled "
    "| longest to recover | run |"
)
DATABASES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
MODES = {
    "all": "every point",
    "lasting": "every commit and every call of the node, before and after",
    "kinds": "one point of every kind",
}


@dataclass(frozen=True)
class Row:
    fault: str
    times: str
    lines: Sequence[Line]

    def cells(self) -> list[str]:
        return [
            self.fault,
            self.times,
            f"{self._sum('settlements'):,}",
            f"{self._sum('moved_sats'):,}",
            f"{self._sum('lost_sats'):,}",
            f"{self._sum('doubled_sats'):,}",
            f"{max(line['longest_recovery_seconds'] for line in self.lines):g} s",
            f"{self.lines[-1]['date']} UTC, {self.lines[-1]['machine']}",
        ]

    def _sum(self, name: str) -> int:
        return sum(line[name] for line in self.lines)


def _newest_run(database: str, mode: str) -> list[Line]:
    """The newest run of this kind, all the parts of it that were run."""
    lines = [
        line
        for line in noted("points")
        if (line["database"], line["mode"]) == (database, mode)
    ]
    parts = {
        line["shard"]: line
        for line in lines
        if line["shard"].partition("/")[2] == lines[-1]["shard"].partition("/")[2]
    }
    return list(parts.values())


def _points() -> list[Row]:
    rows = []
    for database, known_as in DATABASES.items():
        for mode, meaning in MODES.items():
            lines = _newest_run(database, mode)
            if not lines:
                continue
            kills = sum(line["kills"] for line in lines)
            findings = sum(line["findings"] for line in lines)
            parts = "" if len(lines) == 1 else f" in {len(lines)} parts"
            rows.append(
                Row(
                    f"killed at a point, {meaning}, {known_as}",
                    f"{kills:,} kills{parts}, of {lines[-1]['points']:,} points of "
                    f"{lines[-1]['kinds']} kinds; {findings} findings",
                    lines,
                )
            )
    return rows


def _processes() -> list[Row]:
    rows = []
    for what, times in (
        ("processes killed", "{kills} kills, {takeovers} of them of the one that paid"),
        ("engine frozen", "{freezes} times past its lease, then woken"),
    ):
        for line in noted(what)[-1:]:
            fault = f"{what}: {line['processes']} servers on one PostgreSQL"
            rows.append(Row(fault, times.format(**line), [line]))
    return rows


def table() -> str:
    """Markdown: a row for every kind of run that was noted."""
    rows = [*_points(), *_processes()]
    if not rows:
        return "Nothing was noted yet: run `make torture`."
    lines = [HEADER, "|---" * HEADER.count(" |") + "|"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
