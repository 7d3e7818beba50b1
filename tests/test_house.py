"""Everything stands in its folder, and the linter says so when something does not.

In copies of the package, where an arrow up, a reach into LNbits and a statement of SQL
are planted, each in its own copy.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dev import house, lint
from dev.installation import PACKAGES, ROOT, package_sources

pytestmark = pytest.mark.pure


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package's sources and its contract, in a folder of another name."""
    folder = tmp_path / "somewhere"
    for path in [*package_sources(), ROOT / "pyproject.toml"]:
        there = folder / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    return folder


def plant(path: Path, line: str) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(f"{text}\n{line}\n", encoding="utf-8")


def test_the_house_is_in_order(copy: Path) -> None:
    assert lint.arrows(copy)
    assert house.problems(copy) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("models.py", "from .base import audit"),
        ("host/wallets.py", "from ..parties import machines"),
        ("cash/bays.py", "from ..money import rounds"),
        ("money/rounds.py", "from .. import distribution"),
        ("books/lists.py", "from ..api.models import Totals"),
        ("desk/notices.py", "from ..line import engine"),
        ("line/calls.py", "from .. import tasks"),
        ("api/clients.py", "from .. import views"),
    ],
)
def test_an_arrow_up_is_seen(
    copy: Path, place: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(copy / place, line)
    assert not lint.arrows(copy)
    assert "BROKEN" in capsys.readouterr().out


def test_every_folder_has_its_floor(copy: Path) -> None:
    """A module that no floor is named for would be below the contract's notice."""
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = contract.partition("layers = [")[2].partition("]")[0]
    floors = {name for line in layers.split('"')[1::2] for name in line.split(" : ")}
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "migrations"}
    assert floors == modules | set(PACKAGES)


@pytest.mark.parametrize(
    "line",
    [
        "from lnbits.core.db import db as core_db",
        "from lnbits.core.crud.payments import get_payment",
        "from lnbits.core.models import Payment, Wallet",
        "import lnbits.settings",
        "from lnbits import settings",
        "from lnbits.utils.cache import cache",
        "from lnbits.wallets import get_funding_source",
        'HELD = f"SELECT amount FROM apipayments WHERE wallet_id = {1}"',
        "THEIRS = \"DELETE FROM accounts WHERE id = 'me'\"",
    ],
)
def test_a_reach_into_lnbits_is_seen(copy: Path, line: str) -> None:
    plant(copy / "money" / "payouts_crud.py", line)
    assert any("belongs in host/" in said for said in house.problems(copy))
    plant(copy / "host" / "payments.py", line)
    assert not any(said.startswith("host.") for said in house.problems(copy))


@pytest.mark.parametrize(
    "line",
    [
        "from lnbits.core.models import Account, Payment",
        "from lnbits.db import Connection",
        "from lnbits.task_manager import task_manager",
    ],
)
def test_what_extensions_are_meant_to_use_is_free(copy: Path, line: str) -> None:
    plant(copy / "money" / "payouts.py", line)
    assert house.problems(copy) == []


@pytest.mark.parametrize(
    "line",
    [
        'sql = "SELECT 1 FROM satoshimachine.dca_machines"',
        'sql = f"UPDATE {1}.dca_payments SET status = 1"',
        'sql = f"""INSERT INTO {1}.dca_payments (id) VALUES (1)"""',
        'sql = "DELETE " "FROM satoshimachine.dca_payments"',
    ],
)
def test_sql_outside_its_modules_is_seen(copy: Path, line: str) -> None:
    plant(copy / "money" / "planning.py", line)
    assert any(said.startswith("money.planning: SQL") for said in house.problems(copy))


def test_an_exception_that_is_none_any_more_is_seen(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(house.STILL_MIXED, "money.planning", "was mixed once")
    assert house.problems(copy) == [
        "money.planning: holds no SQL any more; take it off STILL_MIXED."
    ]


def test_a_new_module_of_the_root_and_one_that_grew_are_seen(copy: Path) -> None:
    (copy / "router.py").write_text("ROUTER = 1\n")
    plant(copy / "models.py", "\n" * house.MOST_LINES)
    assert house.problems(copy) == [
        "models: longer than 700 lines; split it.",
        "router: the root has the modules with fixed names alone.",
    ]
