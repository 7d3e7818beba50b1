"""What the journal of an older database says beside its rows, and why it differs.

    python -m dev.opening FOLDER      a run folder: LNbits' data is in FOLDER/data
    python -m dev.opening FOLDER URL  the same with LNbits' database at URL

Run it after the extension was brought up to date, on a copy or with LNbits stopped. It
changes nothing. It ends with 1 where something is not explained by a rule.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from . import installation


def _prepare(folder: Path, url: str | None) -> None:
    """LNbits reads its settings when it is first imported."""
    installation.lay_out(folder)
    os.environ.update(installation.environment(folder, url))
    os.chdir(folder)
    sys.path.append(str(folder / "extensions"))


def table(books: Any) -> tuple[list[str], bool]:
    """Lines to print, and whether everything is explained."""
    said, is_explained = [], True
    for (machine, currency), figures in sorted(books.items()):
        said.append(f"machine {machine}, {currency or 'no currency'}")
        for name, figure in figures.items():
            if not (figure.by_rows or figure.by_journal or any(figure.rules.values())):
                continue
            change = figure.by_journal - figure.by_rows
            said.append(
                f"  {name}: {figure.by_rows} by the rows, {figure.by_journal} by the "
                f"journal ({change:+})"
            )
            for rule, amount in sorted(figure.rules.items()):
                if amount:
                    said.append(f"    {amount:+}  {rule}")
            if figure.unexplained:
                is_explained = False
                said.append(f"    settlements: {', '.join(figure.unexplained[:20])}")
    return said, is_explained


async def _compare() -> Any:
    from satmachineadmin.base.database import db
    from satmachineadmin.books.opening import compare

    async with db.connect() as conn:
        return await compare(conn)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    if not (folder / "data").is_dir():
        sys.exit(f"There is no {folder / 'data'}.")
    _prepare(folder, sys.argv[2] if len(sys.argv) == 3 else None)
    lines, is_explained = table(asyncio.run(_compare()))
    print("\n".join(lines) or "No settlements.")
    sys.exit(0 if is_explained else 1)


if __name__ == "__main__":
    main()
