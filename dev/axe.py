"""axe-core, which finds what a screen reader would stumble over.

It comes from npm once, pinned, into the git-ignored .cache/; nothing of it is shipped.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from .installation import ROOT

PACKAGE = "axe-core@4.14.1"
SCRIPT = ROOT / ".cache" / "axe-core-4.14.1.min.js"


def script() -> Path | None:
    """Where the script is, fetched when it is not there; None without npm."""
    if SCRIPT.exists():
        return SCRIPT
    npm = shutil.which("npm")
    if npm is None:
        return None
    folder = SCRIPT.parent
    folder.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(  # noqa: S603 (a pinned package, no shell)
        [npm, "pack", "--silent", PACKAGE],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    archive = folder / packed.stdout.split()[-1]
    with tarfile.open(archive) as files:
        found = files.extractfile("package/axe.min.js")
        if found is None:
            raise RuntimeError(f"{PACKAGE} holds no axe.min.js")
        SCRIPT.write_bytes(found.read())
    archive.unlink()
    return SCRIPT
