"""One LNbits in this process, as `dev.server` starts it: ``serve.py HOST PORT``.

It is LNbits' own app under uvicorn, nothing patched; where a bench asks for it, the
statements of all its databases are counted, and SIGUSR1 has the count written into the
folder. The process ends itself when
its parent is gone, so that a test run that is killed leaves no server behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    os.kill(os.getpid(), signal.SIGKILL)


def _count_statements(port: int) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    count = 0

    def one_more(*_: object) -> None:
        nonlocal count
        count += 1

    def write(*_: object) -> None:
        with open(f"statements-{port}", "w", encoding="ascii") as file:
            file.write(str(count))

    event.listen(Engine, "before_cursor_execute", one_more)
    signal.signal(signal.SIGUSR1, write)


def main() -> None:
    host, port = sys.argv[1], int(sys.argv[2])
    # Python put our own folder first: its names are none of LNbits' business.
    sys.path.pop(0)
    # The script's run folder is the working directory: what is served from there.
    sys.path.insert(0, os.getcwd())
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    if os.environ.get("SATMACHINE_COUNT_STATEMENTS"):
        _count_statements(port)

    import uvicorn

    uvicorn.run(
        "lnbits.__main__:app",
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=5,
        ws_max_queue=128,
        ws_ping_timeout=60,
    )


if __name__ == "__main__":
    main()
