"""The tests of `host/` against each LNbits that we support, each in a place of its own.

An environment for each version stands under `.cache/hosts/`, with everything else as
pinned in requirements-dev.txt. Arguments are pytest's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .installation import ROOT

VERSIONS = ("1.6.0", "1.6.2")
REQUIREMENTS = ROOT / "requirements-dev.txt"
TESTS = ("-m", "pytest", "-c", "tests/pytest.ini", "-q", "tests/host")


def requirements(version: str) -> str:
    """What is pinned, with this LNbits."""
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return "\n".join(
        f"lnbits=={version}" if line.startswith("lnbits==") else line for line in lines
    )


def environment_of(version: str) -> Path:
    """The Python that has this LNbits; made anew when what is pinned has changed."""
    folder = ROOT / ".cache" / "hosts" / version
    python, pinned = folder / "bin" / "python", folder / "pinned.txt"
    wanted = requirements(version)
    if python.exists() and pinned.exists() and pinned.read_text() == wanted:
        return python
    print(f"LNbits {version}: making its environment", flush=True)
    _run(sys.executable, "-m", "venv", "--clear", str(folder))
    listed = folder / "wanted.txt"
    listed.write_text(wanted)
    # without dependencies: everything is listed, and an older LNbits pins others
    _run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(listed))
    pinned.write_text(wanted)
    return python


def _run(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 (our own commands)


def main() -> None:
    failed = []
    for version in VERSIONS:
        python = environment_of(version)
        print(f"LNbits {version}", flush=True)
        command = [str(python), *TESTS, *sys.argv[1:]]
        if subprocess.run(command, cwd=ROOT).returncode:  # noqa: S603 (our own)
            failed.append(version)
    if failed:
        sys.exit(f"host/ does not do with LNbits {', '.join(failed)}")


if __name__ == "__main__":
    main()
