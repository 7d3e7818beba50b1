"""`make clean`: forgets the demo's data, and asks first while a demo runs on it.

Needs no virtual environment: any Python 3 does.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent / ".data"
LOCK = "demo.lock"


def running_at(data: Path) -> str | None:
    """The address of the demo that runs on this data; None if none does."""
    lock = data / LOCK
    if not lock.exists():
        return None
    with lock.open("a+", encoding="utf-8") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.seek(0)
            return held.read().strip() or "an address of its own"
    return None


def main(data: Path = DATA) -> None:
    if not data.exists():
        print("There is no data of a demo here.")
        return
    url = running_at(data)
    if url:
        print(f"A demo runs on this data, at {url}.")
        try:
            answer = input("Forget it all the same? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            sys.exit("Nothing was forgotten: stop the demo first (Ctrl-C).")
    shutil.rmtree(data)
    print(f"Forgotten: {data.name}/, the demo's data.")


if __name__ == "__main__":
    main()
