"""Runs ``assert_ledger_balances`` on the databases of a run folder.

python tests/check_ledger.py FOLDER [DATABASE_URL]
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT))

from dev import installation  # noqa: E402 (needs the path above)


def main() -> None:
    folder = Path(sys.argv[1])
    os.environ.update(installation.environment(folder, *sys.argv[2:3]))
    os.chdir(folder)
    sys.path.append(str(folder / "extensions"))
    # LNbits reads its settings when it is imported: not before this line.
    ledger = importlib.import_module("balanced")
    asyncio.run(ledger.assert_ledger_balances())


if __name__ == "__main__":
    main()
