"""Every route of ours with its fields and answers, as a page that needs no internet.

LNbits' own `/docs` takes its script from a server on the internet: where a machine
stands there may be none. This is the same OpenAPI document, written out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "/satmachineadmin/api/v1"
METHODS = ("get", "post", "put", "delete")
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body or an answer."""

    name: str
    kind: str
    is_needed: bool
    text: str


@dataclass(frozen=True)
class Call:
    """One route: what it takes and answers."""

    method: str
    path: str
    summary: str
    text: str
    parameters: list[Field]
    body: str
    answers: list[tuple[str, str, str]]

    @property
    def id(self) -> str:
        return f"{self.method} {self.path}".replace(" ", "-").strip("-")


@dataclass
class Reference:
    """Calls by the first word of their path, and the models that they name."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    models: dict[str, list[Field]] = field(default_factory=dict)


def reference_of(document: Schema) -> Reference:
    """What of an OpenAPI document is ours, in the order of paths; the models are those
    that calls and other models name, by name."""
    found = Reference()
    schemas = document.get("components", {}).get("schemas", {})
    named: set[str] = set()
    for path in sorted(document["paths"]):
        if not path.startswith(f"{PREFIX}/"):
            continue
        own = path.removeprefix(PREFIX)
        for method in METHODS:
            operation = document["paths"][path].get(method)
            if operation:
                group = own.split("/")[1].partition(".")[0]
                found.calls.setdefault(group, []).append(_call(method, own, operation))
                named |= set(_refs(operation))
    todo = sorted(named)
    while todo:
        name = todo.pop()
        if name in schemas and name not in found.models:
            found.models[name] = list(_fields(schemas[name]))
            todo += _refs(schemas[name])
    found.models = dict(sorted(found.models.items()))
    return found


def _call(method: str, path: str, operation: Schema) -> Call:
    body = operation.get("requestBody", {}).get("content", {})
    return Call(
        method.upper(),
        path,
        operation.get("summary", ""),
        operation.get("description", ""),
        [
            Field(
                one["name"],
                _kind(one.get("schema", {})),
                bool(one.get("required")),
                one.get("description", ""),
            )
            for one in operation.get("parameters", [])
            if one["in"] in ("path", "query")
        ],
        _kind(_schema_of(body)),
        [
            (code, answer.get("description", ""), _kind(_schema_of(answer)))
            for code, answer in sorted(operation.get("responses", {}).items())
        ],
    )


def _schema_of(answer: Schema) -> Schema:
    content = answer.get("content", answer)
    for kind in content.values() if isinstance(content, Mapping) else ():
        if isinstance(kind, Mapping) and "schema" in kind:
            schema: Schema = kind["schema"]
            return schema
    return {}


def _fields(schema: Schema) -> Iterator[Field]:
    needed = schema.get("required", [])
    for name, one in schema.get("properties", {}).items():
        yield Field(name, _kind(one), name in needed, one.get("description", ""))


def _kind(schema: Schema) -> str:
    """`list of Leg`, `text: one of a, b`: the kind of a value in words; a model's name
    stands alone."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for together in ("allOf", "anyOf", "oneOf"):
        if together in schema:
            return " or ".join(_kind(one) for one in schema[together])
    if "enum" in schema:
        return f"one of {', '.join(str(x) for x in schema['enum'])}"
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {})) or 'anything'}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    return " ".join(x for x in (kind, schema.get("format", "")) if x)


def _refs(part: Any) -> list[str]:
    if isinstance(part, Mapping):
        own = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
        return own + [x for one in part.values() for x in _refs(one)]
    if isinstance(part, list):
        return [x for one in part for x in _refs(one)]
    return []
