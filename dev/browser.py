"""Where is a Chromium or Chrome? The screens' tests drive one.

    python -m dev.browser     prints its path; installs one on Debian when it may

Playwright's own download of a browser is not used: it does not come from a package
registry.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
HOW = (
    "No Chromium or Chrome here, so the browser tests are skipped. Debian: "
    "'apt-get install chromium' as root; macOS: install Google Chrome; anywhere: "
    "set CHROME to the path of one."
)


def find() -> str | None:
    """The browser's path: $CHROME, else the first one known that is installed."""
    named = os.environ.get("CHROME")
    if named:
        return named
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    return next((path for path in MAC if Path(path).exists()), None)


def install_on_debian() -> bool:
    """True when it installed one: only as root, where apt-get is."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        done = subprocess.run(  # noqa: S603 (our own commands, no shell)
            command, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            print(done.stderr.strip()[-2000:], file=sys.stderr)
            return False
    return True


def main() -> None:
    if find() is None and install_on_debian():
        print("Installed chromium for the browser tests.")
    print(find() or HOW)


if __name__ == "__main__":
    main()
