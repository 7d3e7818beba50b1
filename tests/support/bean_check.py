"""`bean-check`, the program that judges /accounting.beancount."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

END = "2100-01-01"


def bean_check() -> list[str]:
    """The program, which requirements-dev.txt installs; CI may not do without it. As a
    module: the script in `bin` names the interpreter of where it was installed."""
    said = os.environ.get("SATMACHINE_BEAN_CHECK")
    if said:
        return [said]
    if importlib.util.find_spec("beancount") is None:
        assert not os.environ.get("CI"), "bean-check is not installed: make setup"
        pytest.skip("bean-check is not installed: make setup")
    return [sys.executable, "-m", "beancount.scripts.check"]


def assert_accepted(folder: Path, text: str, balances: dict[str, int]) -> None:
    """It takes the file, and says that these accounts hold so many sats at the end."""
    said = [f"{END} balance {name} {sats} SAT\n" for name, sats in balances.items()]
    file = folder / "books.beancount"
    file.write_text(text + "".join(said), encoding="utf-8")
    checked = subprocess.run(
        [*bean_check(), str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr + checked.stdout
