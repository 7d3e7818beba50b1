"""Everything that `make lint` checks; with ``--fix``, what `make format` mends.

Black, ruff and mypy come from the virtual environment, prettier from npm when the
machine has Node. mypy sees the checkout through a link with the extension's name,
because the folder's own name may be anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .house import problems
from .installation import EXTENSION_ID, ROOT, package_sources

PRETTIER = "prettier@3.10.1"
TOOLS = ("bench", "dev")
# Where tests find modules of their own by bare name, as pytest lets them.
TEST_PATHS = ("tests", "tests/support", "tests/torture")
STATIC = ("static", "config.json", "manifest.json")


def _run(name: str, command: list[str], cwd: Path = ROOT, **env: str) -> bool:
    done = subprocess.run(  # noqa: S603 (our own commands, no shell)
        command, cwd=cwd, env=os.environ | env, capture_output=True, text=True
    )
    good = done.returncode == 0
    print(f"{name}: {'clean' if good else 'FAILED'}", flush=True)
    if not good:
        print((done.stdout + done.stderr).strip(), flush=True)
    return good


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    if not (link.is_symlink() and link.resolve() == target):
        link.unlink(missing_ok=True)
        link.symlink_to(target, target_is_directory=True)


def _python_sources(folder: str) -> list[str]:
    return sorted(str(path) for path in (ROOT / folder).rglob("*.py"))


def mypy() -> bool:
    """Checks the package under its own name, and the tools and tests beside it."""
    folder = ROOT / ".cache" / "types"
    _link(folder / EXTENSION_ID, ROOT)
    for tool in TOOLS:
        _link(folder / "tools" / tool, ROOT / tool)
    _link(folder / "tests", ROOT / "tests")
    sources = [f"{EXTENSION_ID}/{path.relative_to(ROOT)}" for path in package_sources()]
    for name, at in [*((tool, f"tools/{tool}") for tool in TOOLS), ("tests", "tests")]:
        sources += [
            f"{at}/{Path(path).relative_to(ROOT / name)}"
            for path in _python_sources(name)
        ]
    config = str(ROOT / "pyproject.toml")
    command = [sys.executable, "-m", "mypy", "--config-file", config, *sources]
    return _run("mypy", command, folder, MYPYPATH=":".join([".", "tools", *TEST_PATHS]))


def arrows(root: Path = ROOT) -> bool:
    """The layers of the package, under its own name: under the checkout's, which may
    be any, import-linter would miss imports."""
    folder = root / ".cache" / "types"
    _link(folder / EXTENSION_ID, root)
    linter = str(Path(sys.executable).with_name("lint-imports"))
    if not Path(linter).exists():
        print("import-linter: FAILED, run 'make setup' first", flush=True)
        return False
    config = str(root / "pyproject.toml")
    command = [linter, config, "--no-cache", "--no-logo"]
    return _run("import-linter", command, folder, PYTHONPATH=".")


def house() -> bool:
    """Who reaches into LNbits, and where SQL stands."""
    found = problems()
    print(f"house: {'FAILED' if found else 'clean'}", flush=True)
    for sentence in found:
        print(sentence, flush=True)
    return not found


def prettier(fix: bool) -> bool:
    if not shutil.which("npx"):
        print("prettier: skipped, it needs Node (npx) on this machine", flush=True)
        return True
    return _run(
        "prettier",
        [
            *("npx", "--yes", PRETTIER, "--log-level", "warn"),
            *("--write" if fix else "--check", *STATIC),
        ],
    )


def main() -> None:
    fix = "--fix" in sys.argv[1:]
    python = sys.executable
    # Import order first: ruff may move what black then wraps.
    checks = [
        _run("ruff", [python, "-m", "ruff", "check", *(["--fix"] if fix else []), "."]),
        _run("black", [python, "-m", "black", *([] if fix else ["--check"]), "."]),
        prettier(fix),
        arrows(),
        house(),
        mypy(),
    ]
    sys.exit(0 if all(checks) else 1)


if __name__ == "__main__":
    main()
