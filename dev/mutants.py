"""Which mistakes could somebody have made in a file? Mutants, made from its syntax.

A mutant is a file's code with one thing in it changed: a comparison, an operator, a
number, a status, a step left out, a condition in SQL. `dev/mutation.py` runs tests
against them. Not mutated: what people read (docstrings, sentences in errors, logs),
annotations, default values and decorators.
"""

from __future__ import annotations

import ast
import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from .installation import ROOT

SHOWN_LENGTH = 70
# What `observed` code calls by this name, with the place of the function it is in.
CALLED = "_mutation_called"


def file_name(path: Path) -> str:
    """`money/payouts.py`: by which name a file of ours goes, through any link to it."""
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if ROOT in path.parents else path.name


@dataclass(frozen=True)
class Mutant:
    """`code` is the whole module's; of a constant, that of its new value. None if only
    the names were asked for: compiling takes most of the time."""

    file: str
    function: str
    first_line: int
    line: int
    change: str
    code: CodeType | None
    is_constant: bool = False

    @property
    def name(self) -> str:
        """The same as long as the function is, wherever it stands in its file."""
        return f"{self.file} {self.function}: {self.change}"


# --- what an expression or statement could have been instead ------------------------

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_CALLED = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "sum": "len",
    "abs": "int",
}


def _compare(node: ast.Compare) -> Iterator[ast.AST]:
    for i, old in enumerate(node.ops):
        for new in _COMPARE.get(type(old), ()):
            other = copy.deepcopy(node)
            other.ops[i] = new()
            yield other


def _bool_op(node: ast.BoolOp) -> Iterator[ast.AST]:
    other = copy.deepcopy(node)
    other.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    yield other
    for left_out in node.values:
        kept = [value for value in node.values if value is not left_out]
        yield kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)


def _bin_op(node: ast.BinOp) -> Iterator[ast.AST]:
    if type(node.op) in _BINARY:
        yield ast.BinOp(node.left, _BINARY[type(node.op)](), node.right)


def _unary_op(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        if value > 0:
            yield ast.Constant(value - 1)
    elif isinstance(value, str) and value and not _is_sql(value):
        yield ast.Constant("mutant" + value)


def _call(node: ast.Call) -> Iterator[ast.AST]:
    if isinstance(node.func, ast.Name) and node.func.id in _CALLED:
        other = copy.deepcopy(node)
        other.func = ast.Name(_CALLED[node.func.id], ast.Load())
        if node.func.id == "sorted":
            other.keywords = []
        yield other


def _if_exp(node: ast.IfExp) -> Iterator[ast.AST]:
    yield node.body
    yield node.orelse


def _condition(node: ast.If | ast.While) -> Iterator[ast.AST]:
    """A bare name or call as the condition; the others change by what is in them."""
    if not isinstance(node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp, ast.Constant)):
        other = copy.copy(node)
        other.test = ast.UnaryOp(ast.Not(), node.test)
        yield other


def _return(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None))


def _left_out(node: ast.stmt) -> Iterator[ast.AST]:
    yield ast.Pass()


def _step(node: ast.Expr) -> Iterator[ast.AST]:
    value = node.value.value if isinstance(node.value, ast.Await) else node.value
    if isinstance(value, ast.Call):
        yield ast.Pass()


def _aug_assign(node: ast.AugAssign) -> Iterator[ast.AST]:
    yield ast.Pass()
    if type(node.op) in _BINARY:
        yield ast.AugAssign(node.target, _BINARY[type(node.op)](), node.value)


def _jump(node: ast.Break | ast.Continue) -> Iterator[ast.AST]:
    yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()


_INSTEAD: dict[type[ast.AST], Callable[[Any], Iterator[ast.AST]]] = {
    ast.Compare: _compare,
    ast.BoolOp: _bool_op,
    ast.BinOp: _bin_op,
    ast.UnaryOp: _unary_op,
    ast.Constant: _constant,
    ast.Call: _call,
    ast.IfExp: _if_exp,
    ast.If: _condition,
    ast.While: _condition,
    ast.Return: _return,
    ast.Raise: _left_out,
    ast.Expr: _step,
    ast.AugAssign: _aug_assign,
    ast.Break: _jump,
    ast.Continue: _jump,
}


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


# --- SQL ----------------------------------------------------------------------------

_SQL = re.compile(r"\b(SELECT|UPDATE|INSERT|DELETE|WHERE|AND|SET|CASE|EXISTS|IN)\b")
_VALUE = r"(?:'[^']*'|:\w+|NULL)"
# Each: what is looked for, and what stands there instead.
_SQL_CHANGES: tuple[tuple[str, str], ...] = (
    # an assignment that assigns nothing; as a condition, one that is always true
    (rf"([\w.]+) (?:=|<>) {_VALUE}", r"\1 = \1"),
    (rf"([\w.]+) = ({_VALUE})(?= AND|\s+AND|\s*$|\))", r"\1 <> \2"),
    (r"([\w.]+) IS NULL", r"\1 IS NOT NULL"),
    (r"([\w.]+) IS NOT NULL", r"\1 IS NULL"),
    (r"<= ", "< "),
    (r">= ", "> "),
    (r"< ", "<= "),
    (r"(?<!<)> ", ">= "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r"\bNOT IN\b", "IN"),
    (r"(?<!NOT )\bEXISTS\b", "NOT EXISTS"),
    (r"\bAND\b", "OR"),
    (r"\bOR\b", "AND"),
    # one of a list of statuses
    (r"'\w+', (?='\w+')", ""),
    (r"(?<='), '\w+'(?=\))", ""),
    (r"\bORDER BY [\w., ]+", ""),
)


def _is_sql(text: str) -> bool:
    return bool(_SQL.search(text))


def _sql_variants(text: str) -> Iterator[tuple[str, str, str]]:
    """(the new text, what was changed, into what)."""
    seen = {text}
    for pattern, instead in _SQL_CHANGES:
        for match in re.finditer(pattern, text):
            new = match.expand(instead)
            changed = text[: match.start()] + new + text[match.end() :]
            if changed not in seen:
                seen.add(changed)
                at, end = max(0, match.start() - 20), match.end() + 20
                after = changed[at : match.start() + len(new) + 20]
                yield changed, text[at:end], after


# --- all of a file ------------------------------------------------------------------

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


class _File:
    def __init__(self, path: Path, source: str, *, only_names: bool) -> None:
        self.path = path
        self.only_names = only_names
        self.tree = ast.parse(source)
        # there, the keys of dicts name parameters: another name is an error at once
        self.is_sql = _is_sql(source)
        self.names: Counter[str] = Counter()

    def mutants(self) -> Iterator[Mutant]:
        for node in self.tree.body:
            yield from self._of(node, "")

    def _of(self, node: ast.stmt, prefix: str) -> Iterator[Mutant]:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield from self._of(inner, f"{prefix}{node.name}.")
        elif isinstance(node, FunctionNode):
            yield from self._in_function(node, prefix + node.name)
        elif isinstance(node, ast.Assign) and not prefix:
            yield from self._in_constant(node)

    def _in_function(self, node: FunctionNode, name: str) -> Iterator[Mutant]:
        lines = [d.lineno for d in node.decorator_list]
        first_line = min([node.lineno, *lines])
        for index, statement in enumerate(node.body):
            if index == 0 and _is_text(statement):
                continue
            for change, line in self._changes(node, "body", index, []):
                code = None if self.only_names else self._compiled(self.tree, "exec")
                yield self._mutant(name, first_line, line, change, code)

    def _in_constant(self, node: ast.Assign) -> Iterator[Mutant]:
        """A number at the top of the file; what is a text or a pattern stays."""
        target = node.targets[0]
        if not isinstance(target, ast.Name) or isinstance(node.value, ast.JoinedStr):
            return
        for change, line in self._changes(node, "value", None, []):
            value = ast.Expression(node.value)
            code = None if self.only_names else self._compiled(value, "eval")
            yield self._mutant(target.id, 0, line, change, code, is_constant=True)

    def _compiled(self, tree: ast.Module | ast.Expression, mode: str) -> CodeType:
        return compile(tree, str(self.path), mode)

    def _mutant(
        self,
        function: str,
        first_line: int,
        line: int,
        change: str,
        code: CodeType | None,
        is_constant: bool = False,
    ) -> Mutant:
        key = f"{function}: {change}"
        self.names[key] += 1
        if self.names[key] > 1:
            change += f" (no. {self.names[key]})"
        return Mutant(
            file_name(self.path), function, first_line, line, change, code, is_constant
        )

    def _changes(
        self, parent: ast.AST, field: str, index: int | None, above: list[ast.AST]
    ) -> Iterator[tuple[str, int]]:
        """Changes the tree in one place at a time; while this waits it is changed."""
        node = _get(parent, field, index)
        if _is_for_people(node, parent):
            return
        path = [*above, node]
        is_text_part = isinstance(parent, ast.JoinedStr)
        for instead, before, after in _variants(node, is_text_part):
            shown = _shown_node(path)
            was = before or ast.unparse(shown)
            fresh = ast.fix_missing_locations(ast.copy_location(instead, node))
            _set(parent, field, index, fresh)
            if shown is node:
                shown = fresh
            yield _told(was, after or ast.unparse(shown)), node.lineno
            _set(parent, field, index, node)
        for name, i in self._inside(node):
            yield from self._changes(node, name, i, path)

    def _inside(self, node: ast.AST) -> Iterator[tuple[str, int | None]]:
        """Where in a node there are others that may be changed."""
        if isinstance(node, ast.Raise):
            return
        for name, value in ast.iter_fields(node):
            if _is_skipped(node, name) or (name == "keys" and self.is_sql):
                continue
            if isinstance(value, list):
                for i, item in enumerate(value):
                    if isinstance(item, ast.AST):
                        yield name, i
            elif isinstance(value, ast.AST):
                yield name, None


def _variants(node: Any, is_text_part: bool) -> Iterator[tuple[Any, str, str]]:
    """(instead, before, after): the texts only where the syntax does not say it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if _is_sql(node.value):
            for text, before, after in _sql_variants(node.value):
                yield ast.Constant(text), before, after
            return
        if is_text_part:
            return
    for instead in _INSTEAD.get(type(node), lambda _: iter(()))(node):
        yield instead, "", ""


def _is_skipped(node: ast.AST, field: str) -> bool:
    if field in ("annotation", "returns", "args", "decorator_list", "ctx"):
        return field != "args" or isinstance(node, ast.arguments | FunctionNode)
    return False


def _is_for_people(node: Any, parent: ast.AST) -> bool:
    """A log line, the name of something in a sentence or a statement, or `strict=`."""
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    if isinstance(node, ast.Constant) and isinstance(parent, ast.Call):
        called = ast.unparse(parent.func).lstrip("_")
        return called == "in_list" or called.startswith("check_")
    return isinstance(node, ast.Expr) and "logger." in ast.unparse(node)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _shown_node(path: Sequence[ast.AST]) -> ast.AST:
    """The largest piece around the changed one that is not too long to read."""
    shown = path[-1]
    for node in reversed(path):
        if isinstance(node, (ast.keyword, ast.comprehension, ast.FormattedValue)):
            continue
        if not isinstance(node, (ast.expr, ast.Return, ast.AugAssign, ast.Assign)):
            break
        if len(ast.unparse(node)) > SHOWN_LENGTH:
            break
        shown = node
    return shown


def _told(before: str, after: str) -> str:
    return f"`{_one_line(before)}` → `{_one_line(after)}`"


def _one_line(text: str) -> str:
    line = " ".join(text.replace("`", "'").split())
    return line if len(line) <= 100 else line[:48] + " … " + line[-48:]


def _get(parent: ast.AST, field: str, index: int | None) -> Any:
    value = getattr(parent, field)
    return value if index is None else value[index]


def _set(parent: ast.AST, field: str, index: int | None, node: Any) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def mutants_of(path: Path, *, only_names: bool = False) -> Iterator[Mutant]:
    """All mutants of a file, in the order of its lines."""
    yield from _File(path, path.read_text(), only_names=only_names).mutants()


def place(code: CodeType) -> str:
    """Where a function stands; the same for its mutants."""
    return f"{file_name(Path(code.co_filename))}:{code.co_firstlineno}:{code.co_name}"


def observed(path: Path) -> CodeType:
    """The file's code, unchanged, but each function says first that it was called."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, FunctionNode):
            line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            key = ast.Constant(f"{file_name(path)}:{line}:{node.name}")
            call = ast.Call(ast.Name(CALLED, ast.Load()), [key], [])
            node.body.insert(0, ast.copy_location(ast.Expr(call), node.body[0]))
    return compile(ast.fix_missing_locations(tree), str(path), "exec")
