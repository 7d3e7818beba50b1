"""Whether each thing stands in its folder, as far as the linter of arrows cannot see.

One folder, `host/`, knows LNbits' insides; what extensions are meant to use (its
`db`, `decorators`, `helpers`, `task_manager`, `exceptions`) is free. And SQL stands in
modules named `crud` or `..._crud`, in `books/`, `base/` and `host/`, and in the
migrations. The root has the modules that LNbits and the world call by name, and no
others; and no module but the migrations is longer than `MOST_LINES`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from .installation import ROOT, package_sources

HOST = "host"
INSIDES = (
    "lnbits.core.db",
    "lnbits.core.crud",
    "lnbits.core.services",
    "lnbits.core.models",
    "lnbits.settings",
    "lnbits.utils",
    "lnbits.wallets",
)
FREE_MODELS = {"Account", "Payment"}
_LNBITS_TABLE = re.compile(
    r"\b(FROM|JOIN|INTO|UPDATE)\s+(apipayments|wallets|accounts)\b"
)

SQL_FOLDERS = ("base", "books", HOST)
_SQL = re.compile(r"\b(SELECT|INSERT INTO|DELETE FROM)\b|\bUPDATE \S+ SET\b")
# Modules that mix SQL with their question, and what keeps it there.
STILL_MIXED: dict[str, str] = {}

FIXED = "__init__ migrations models crud calculations bitspire distribution tasks views"
IN_ROOT = {*FIXED.split(), "views_api"}
MOST_LINES = 700


def problems(root: Path = ROOT) -> list[str]:
    """One sentence for each thing that stands in the wrong folder."""
    found, mixed = [], set()
    for path in package_sources(root):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        if "." not in name and name not in IN_ROOT:
            found.append(f"{name}: the root has the modules with fixed names alone.")
        if text.count("\n") > MOST_LINES and name != "migrations":
            found.append(f"{name}: longer than {MOST_LINES} lines; split it.")
        if name.partition(".")[0] != HOST:
            found += [f"{name}: {said}" for said in _reaches_in(tree)]
        line = _first_sql(tree)
        if line is not None and not _may_hold_sql(name):
            mixed.add(name)
            if name not in STILL_MIXED:
                found.append(f"{name}: SQL in line {line} belongs in a `_crud` module.")
    for name in sorted(set(STILL_MIXED) - mixed):
        found.append(f"{name}: holds no SQL any more; take it off STILL_MIXED.")
    return found


def _may_hold_sql(name: str) -> bool:
    stem = name.rpartition(".")[2]
    is_sql = stem in ("crud", "migrations") or stem.endswith("_crud")
    return is_sql or name.partition(".")[0] in SQL_FOLDERS


def _reaches_in(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        for name in _imported(node):
            if any(
                name == inside or name.startswith(f"{inside}.") for inside in INSIDES
            ):
                yield f"`{name}` in line {node.lineno} belongs in {HOST}/."  # type: ignore[attr-defined]
    for line, text in _texts(tree):
        if _LNBITS_TABLE.search(text):
            yield f"SQL on a table of LNbits' in line {line} belongs in {HOST}/."


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom) or node.level:
        return []
    names = [f"{node.module}.{alias.name}" for alias in node.names]
    free = {f"lnbits.core.models.{model}" for model in FREE_MODELS}
    return [name for name in names if name not in free]


def _first_sql(tree: ast.Module) -> int | None:
    return next((line for line, text in _texts(tree) if _SQL.search(text)), None)


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every text of the code but docstrings, what an f-string fills in as `x`."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [
                p.value if isinstance(p, ast.Constant) else "x" for p in node.values
            ]
            yield node.lineno, "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in told:
                yield node.lineno, node.value
