"""Lists: what a reader may ask of one, and the SQL that answers it.

The wire format is LNbits' own: `limit`, `offset`, `sortby`, `direction`, `search`,
`field=value`, `field[op]=value`, answered with `{"data": [...], "total": n}`. LNbits
drops what it does not understand and compares times in the session's time zone; here
everything is checked first, and times, fiat and NULLs mean the same on SQLite and
PostgreSQL. All of it is done by the database, page by page.

Operators: `eq` (also without one), `ne`, `gt`, `ge`, `lt`, `le`; `in` and `ex` with
values between commas; `like` (contains), `any` and `every` (contain one or all of the
values between commas) on text. A date without a time means the whole day, in UTC or
in the zone that is asked for (`tz`).
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal

from lnbits.db import SQLITE, Connection, FilterModel, Operator
from pydantic import create_model
from pydantic.datetime_parse import parse_datetime
from pydantic.errors import DateTimeError

from ..base.acting import Acting
from ..base.database import (
    cents_sql,
    db,
    db_time,
    fetch_all,
    fetch_one,
    from_db_time,
    in_list,
)
from ..base.refusals import BadInputError, NotFoundError
from ..base.text import checked_text
from ..base.typed import typed_cents, typed_number, typed_whole
from ..base.zones import UTC, Zone
from ..calculations import cents_text, shown

Kind = Literal["text", "int", "fiat", "fraction", "number", "bool", "time"]

MAX_ROWS = 1000
CSV_CHUNK = 5000
MAX_VALUES = 200
# Query parameters that are not filters; `usr` is LNbits' login by user id, `for` and
# `lang` say who reads a CSV.
RESERVED = {
    *("limit", "offset", "sortby", "direction", "search", "scope", "usr"),
    # for whom who asks acts, where a link cannot have a header
    "acting_for",
    *("tz", "for", "lang", "totals"),
}
_TEXT_ONLY = {Operator.LIKE, Operator.ANY, Operator.EVERY}
_MANY = {Operator.INCLUDE, Operator.EXCLUDE, Operator.ANY, Operator.EVERY}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_LOST_PLUS = re.compile(r"(:\d{2}(?:\.\d+)?) (\d{2}:?\d{2})")
_PYTHON: dict[Kind, Any] = {
    "text": str,
    "int": int,
    "fiat": Decimal,
    "fraction": Decimal,
    "number": float,
    "bool": bool,
    "time": datetime,
}
_MAX_INT = 2**63 - 1


@dataclass(frozen=True)
class Elsewhere:
    """A text in another table that a search finds a row by: `{}` in `within` is where
    the condition on the column stands."""

    column: str
    within: str


@dataclass(frozen=True)
class Fields:
    """The columns a list shows: all of them can be filtered and sorted by.

    A search looks in the texts of `search`, in what is `elsewhere`, and for the exact
    number in `sats` and `cash`. `sums` are added up by `currency`.
    """

    kinds: Mapping[str, Kind]
    search: Sequence[str]
    newest: str = "created_at"
    elsewhere: Sequence[Elsewhere] = ()
    sats: Sequence[str] = ()
    cash: Sequence[str] = ()
    sums: Sequence[str] = ()
    currency: str | None = None

    def filter_model(self, name: str) -> type[FilterModel]:
        """The columns as LNbits' `FilterModel`, which writes them into OpenAPI."""
        columns: dict[str, Any] = {
            key: (_PYTHON[kind] | None, None) for key, kind in self.kinds.items()
        }
        model = create_model(name, __base__=FilterModel, **columns)
        model.__search_fields__ = list(self.search)
        return model


@dataclass(frozen=True)
class Day:
    """A date given without a time: from its first moment to the next one's."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Condition:
    field: str
    op: Operator
    values: Sequence[Any]


@dataclass(frozen=True)
class ListQuery:
    """What a reader asks of a list, checked."""

    fields: Fields
    conditions: Sequence[Condition] = ()
    search: str | None = None
    sortby: str | None = None
    direction: str | None = None
    limit: int = 10
    offset: int = 0


@dataclass
class Source:
    """Where a list's rows come from, and which of them the reader may see.

    `columns` gives the SQL expression of every field; `key` is unique. `joins` adds
    at most one row to each row of `tables`, for the columns named in `joined` only:
    rows are counted and put in order without it.
    """

    columns: Mapping[str, str]
    tables: str
    where: list[str]
    params: dict[str, Any] = field(default_factory=dict)
    key: str = "id"
    joins: str = ""
    joined: Collection[str] = ()

    def tables_for(self, names: Collection[str]) -> str:
        """What these columns need to be read from."""
        needed = not set(names).isdisjoint(self.joined)
        return f"{self.tables} {self.joins}" if needed else self.tables


# --------------------------------------------------------------- reading the question


def parse_query(
    fields: Fields,
    params: Sequence[tuple[str, str]],
    zone: Zone = UTC,
    **paging: Any,
) -> ListQuery:
    """The checked question; dates are days of `zone`. `BadInputError` for an unknown
    field or operator, a value that does not fit its column, or a sort field that is not
    there."""
    conditions: dict[tuple[str, Operator], list[Any]] = {}
    for key, raw in params:
        if key in RESERVED:
            continue
        name, op = _field_and_operator(fields, key)
        values = raw.split(",") if op in _MANY else [raw]
        kept = conditions.setdefault((name, op), [])
        kept.extend(_value(v, fields.kinds[name], name, zone) for v in values)
        if len(kept) > MAX_VALUES:
            raise BadInputError(f"{name}: at most {MAX_VALUES} values at once.")
    sortby = paging.pop("sortby", None)
    if sortby and sortby not in fields.kinds:
        raise BadInputError(
            f"sortby is {shown(sortby)}: it must be one of {', '.join(fields.kinds)}."
        )
    search = paging.pop("search", None)
    if search:
        search = _checked_text(search, "search")
    return ListQuery(
        fields=fields,
        conditions=[Condition(k[0], k[1], v) for k, v in conditions.items()],
        search=search or None,
        sortby=sortby or None,
        **paging,
    )


def _field_and_operator(fields: Fields, key: str) -> tuple[str, Operator]:
    match = re.fullmatch(r"(\w+)(?:\[(\w*)\])?", key, re.ASCII)
    name = match.group(1) if match else key
    if not match or name not in fields.kinds:
        raise BadInputError(
            f"{shown(key)} is not a field to filter by; there are "
            f"{', '.join(fields.kinds)}."
        )
    word = match.group(2)
    try:
        op = Operator("eq" if word is None else word)
    except ValueError as exc:
        raise BadInputError(
            f"{shown(word)} is not a filter operator; there are "
            f"{', '.join(o.value for o in Operator)}."
        ) from exc
    if op in _TEXT_ONLY and fields.kinds[name] != "text":
        raise BadInputError(f"{name}: {op.value} works on text columns only.")
    return name, op


def _checked_text(value: str, name: str) -> str:
    try:
        text = checked_text(value, name)
    except ValueError as exc:
        raise BadInputError(str(exc)) from exc
    if len(text) > 1000:
        raise BadInputError(f"{name} is longer than 1000 characters.")
    return text


def _value(raw: str, kind: Kind, name: str, zone: Zone) -> Any:
    """The value as the database compares it. `BadInputError` if it does not fit."""
    text = _checked_text(raw, name)
    if kind == "text":
        return text
    text = text.strip()
    if kind == "time":
        return _time(text, name, zone)
    if kind == "bool":
        if text.lower() not in ("true", "false", "1", "0"):
            raise BadInputError(f"{name} is {shown(raw)}: it must be true or false.")
        return text.lower() in ("true", "1")
    try:
        if kind == "fiat":
            return typed_cents(text, name)
        return _number(text, kind, name)
    except ValueError as exc:
        raise BadInputError(str(exc)) from exc


def _number(text: str, kind: Kind, name: str) -> int | float:
    read = typed_whole if kind == "int" else typed_number
    number = read(text, name)
    if kind == "number":
        return float(number)
    scaled = number * 10_000 if kind == "fraction" else number
    if scaled != int(scaled):
        places = "four decimal places" if kind == "fraction" else "no decimal places"
        raise ValueError(f"{name} is {shown(text)}: it may have {places}.")
    if abs(scaled) > _MAX_INT:
        raise ValueError(f"{name} is {shown(text)}: it is too large.")
    return int(scaled)


def _time(text: str, name: str, zone: Zone) -> datetime | Day:
    is_day = _DATE.fullmatch(text) is not None
    try:
        # A "+00:00" that was not escaped in the address arrives as a blank.
        moment = parse_datetime(
            f"{text}T00:00:00Z" if is_day else _LOST_PLUS.sub(r"\1+\2", text)
        )
    except (ValueError, OverflowError, DateTimeError) as exc:
        raise BadInputError(
            f"{name} is {shown(text)}: it must be a time like 2025-01-31T12:00:00Z "
            "or a date like 2025-01-31."
        ) from exc
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    if not 1970 <= moment.year < 9999:
        raise BadInputError(f"{name} is {shown(text)}: the year must be after 1969.")
    moment = moment.astimezone(timezone.utc)
    if not is_day:
        return moment
    day = moment.date()
    return Day(zone.start_of(day), zone.start_of(day + timedelta(days=1)))


# ------------------------------------------------------------------- writing the SQL


class _Where:
    """Collects conditions and their parameters."""

    def __init__(self, source: Source, query: ListQuery) -> None:
        self.params: dict[str, Any] = dict(source.params)
        self._source = source
        self._kinds = query.fields.kinds
        self.parts = list(source.where)
        for condition in query.conditions:
            self.parts.append(self._condition(condition))
        if query.search:
            self.parts.append(self._search(query.search, query.fields))

    @property
    def sql(self) -> str:
        return f"WHERE {' AND '.join(self.parts)}" if self.parts else ""

    def add(self, value: Any) -> str:
        """A placeholder for a value."""
        key = f"w{len(self.params)}"
        self.params[key] = value
        return f":{key}"

    def _condition(self, condition: Condition) -> str:
        kind = self._kinds[condition.field]
        expression = self._source.columns[condition.field]
        if kind == "fiat":
            expression = cents_sql(expression)
        elif kind == "fraction":
            expression = f"CAST(ROUND({expression} * 10000) AS BIGINT)"
        parts = [self._compare(expression, condition.op, v) for v in condition.values]
        negative = condition.op in (Operator.NE, Operator.EXCLUDE)
        every = negative or condition.op == Operator.EVERY
        joined = f"({(' AND ' if every else ' OR ').join(parts)})"
        if negative and "" not in condition.values:  # which NULL stands for
            return f"({expression} IS NULL OR {joined})"
        return joined

    def _compare(self, expression: str, op: Operator, value: Any) -> str:
        if op in _TEXT_ONLY:
            return self._contains(expression, value)
        if isinstance(value, Day):
            return self._compare_day(expression, op, value)
        if value == "" and op in (Operator.EQ, Operator.INCLUDE):
            return f"({expression} IS NULL OR {expression} = {self.add('')})"
        sign = {
            Operator.INCLUDE: "=",
            Operator.EQ: "=",
            Operator.EXCLUDE: "<>",
            Operator.NE: "<>",
        }.get(op) or op.as_sql
        bound = db_time(value) if isinstance(value, datetime) else value
        return f"{expression} {sign} {self.add(bound)}"

    def _compare_day(self, expression: str, op: Operator, day: Day) -> str:
        start, end = db_time(day.start), db_time(day.end)
        if op == Operator.LT:
            return f"{expression} < {self.add(start)}"
        if op == Operator.GE:
            return f"{expression} >= {self.add(start)}"
        if op == Operator.LE:
            return f"{expression} < {self.add(end)}"
        if op == Operator.GT:
            return f"{expression} >= {self.add(end)}"
        inside = (
            f"({expression} >= {self.add(start)} AND {expression} < {self.add(end)})"
        )
        return f"NOT {inside}" if op in (Operator.NE, Operator.EXCLUDE) else inside

    def _contains(self, expression: str, value: str) -> str:
        """Contains, whatever the case. SQLite folds ASCII letters only, so other
        letters are tried as they are, small and large."""
        if db.type != SQLITE:
            return f"{expression} ILIKE {self.add(_pattern(value))} ESCAPE '!'"
        spellings = (
            {value} if value.isascii() else {value, value.lower(), value.upper()}
        )
        tried = [
            f"{expression} LIKE {self.add(_pattern(v))} ESCAPE '!'"
            for v in sorted(spellings)
        ]
        return f"({' OR '.join(tried)})"

    def _search(self, text: str, fields: Fields) -> str:
        columns = self._source.columns
        parts = [self._contains(columns[n], text) for n in fields.search]
        for one in fields.elsewhere:
            parts.append(one.within.format(self._contains(one.column, text)))
        sats, cents = _typed(typed_whole, text), _typed(typed_cents, text)
        if sats is not None:
            parts += [f"{columns[n]} = {self.add(sats)}" for n in fields.sats]
        if cents is not None:
            parts += [
                f"{cents_sql(columns[n])} = {self.add(cents)}" for n in fields.cash
            ]
        return f"({' OR '.join(parts)})"


def _typed(read: Callable[[Any, str], Decimal | int], text: str) -> int | None:
    """The number that was typed, if it is one that a row could hold."""
    try:
        number = int(read(text, "search"))
    except ValueError:
        return None
    return number if abs(number) <= _MAX_INT else None


def _pattern(value: str) -> str:
    escaped = value.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


def narrowed(source: Source, column: str, who: Acting | None) -> Source:
    """The source without the rows of machines that a collector was not named for."""
    if who is None or who.machine_ids is None:
        return source
    params = dict(source.params)
    listed = in_list("named", who.machine_ids, params)
    where = [*source.where, f"{column} IN {listed}"]
    return replace(source, where=where, params=params)


@dataclass(frozen=True)
class _Order:
    """How rows are put in order: by a column, then by key, NULLs last."""

    name: str
    expression: str
    direction: str
    key: str
    may_be_null: bool

    @classmethod
    def of(cls, query: ListQuery, source: Source) -> _Order:
        name = query.sortby or query.fields.newest
        return cls(
            name=name,
            expression=source.columns[name],
            direction=query.direction or ("asc" if query.sortby else "desc"),
            key=source.key,
            may_be_null=name not in ("id", query.fields.newest),
        )

    @property
    def sql(self) -> str:
        nulls = " NULLS LAST" if self.may_be_null else ""
        return (
            f"ORDER BY {self.expression} {self.direction}{nulls}, "
            f"{self.key} {self.direction}"
        )

    def after_sql(self, where: _Where, value: Any, key: Any) -> str:
        """The rows behind the one with this value and key."""
        sign = ">" if self.direction == "asc" else "<"
        further = f"{self.key} {sign} {where.add(key)}"
        if value is None:
            return f"({self.expression} IS NULL AND {further})"
        behind = (
            f"({self.expression} {sign}= {where.add(value)} "
            f"AND ({self.expression} {sign} {where.add(value)} OR {further}))"
        )
        if not self.may_be_null:
            return behind
        return f"({self.expression} IS NULL OR {behind})"


def _used(query: ListQuery, order: _Order) -> set[str]:
    """The columns that decide which rows are shown, and in what order."""
    names = {c.field for c in query.conditions} | {order.name}
    if not query.search:
        return names
    fields = query.fields
    return names.union(fields.search, fields.sats, fields.cash)


async def _fetch(
    conn: Connection,
    source: Source,
    query: ListQuery,
    limit: int,
    offset: int = 0,
    after: tuple[Any, Any] | None = None,
) -> list[Mapping[str, Any]]:
    """Rows with their sort value and key.

    First the keys are found and put in order, then the columns of those few are read:
    a sort over whole rows, with all that is computed in them, is many times slower.
    """
    order = _Order.of(query, source)
    where = _Where(source, query)
    if after is not None:
        where.parts.append(order.after_sql(where, *after))
    keys = (
        f"SELECT {source.key} "  # noqa: S608 (names are ours, values are bound)
        f"FROM {source.tables_for(_used(query, order))} "
        f"{where.sql} {order.sql} "
        f"LIMIT {where.add(limit)} OFFSET {where.add(offset)}"
    )
    listed = ", ".join(f"{sql} AS {name}" for name, sql in source.columns.items())
    return await fetch_all(
        conn,
        f"SELECT {listed}, {order.expression} AS sort_value, "  # noqa: S608
        f"{source.key} AS sort_key FROM {source.tables} {source.joins} "
        f"WHERE {source.key} IN ({keys}) {order.sql}",
        where.params,
    )


async def _count(conn: Connection, source: Source, query: ListQuery) -> int:
    where = _Where(source, query)
    used = _used(query, _Order.of(query, source))
    row = await fetch_one(
        conn,
        f"SELECT COUNT(*) AS n FROM {source.tables_for(used)} {where.sql}",  # noqa: S608
        where.params,
    )
    return int(row["n"]) if row else 0


async def sums_of(source: Source, query: ListQuery) -> list[dict[str, Any]]:
    """What all rows of the filtered list add up to, by currency, and how many."""
    fields = query.fields
    if not fields.sums:
        return []
    where = _Where(source, query)
    columns = source.columns
    currency = columns[fields.currency] if fields.currency else "NULL"
    summed = ", ".join(
        f"SUM({_summable(columns[name], fields.kinds[name])}) AS {name}"
        for name in fields.sums
    )
    names = _used(query, _Order.of(query, source)) | {*fields.sums}
    names |= {fields.currency} if fields.currency else set()
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT {currency} AS currency, COUNT(*) AS n, {summed} "  # noqa: S608
            f"FROM {source.tables_for(names)} {where.sql} GROUP BY 1 ORDER BY 1",
            where.params,
        )
    return [
        {
            "currency": row["currency"],
            "rows": int(row["n"]),
            **{
                name: _sum_text(int(row[name] or 0), fields.kinds[name])
                for name in fields.sums
            },
        }
        for row in found
    ]


def _summable(expression: str, kind: Kind) -> str:
    return cents_sql(expression) if kind == "fiat" else expression


def _sum_text(value: int, kind: Kind) -> int | str:
    return cents_text(value) if kind == "fiat" else value


async def fetch_page(
    source: Source, query: ListQuery, most: int = MAX_ROWS
) -> tuple[list[dict[str, Any]], int]:
    """One page of decoded rows, and how many there are in all."""
    limit = min(query.limit or most, most)
    async with db.connect() as conn:
        found = await _fetch(conn, source, query, limit, query.offset)
        if query.offset == 0 and len(found) < limit:
            total = len(found)
        else:
            total = await _count(conn, source, query)
    return [decode(row, query.fields) for row in found], total


async def fetch_row(
    source: Source, fields: Fields, missing: str, *conditions: Condition
) -> dict[str, Any]:
    """The one decoded row of a source. `NotFoundError`, saying `missing`, for none."""
    query = ListQuery(fields, conditions=list(conditions), limit=1)
    found, _ = await fetch_page(source, query)
    if not found:
        raise NotFoundError(missing)
    return found[0]


async def ids_of(source: Source) -> list[str]:
    """The keys of all rows of a source whose rows are few."""
    where = f"WHERE {' AND '.join(source.where)}" if source.where else ""
    used = {k: v for k, v in source.params.items() if f":{k}" in where}
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT {source.key} AS id FROM {source.tables} {where}",  # noqa: S608
            used,
        )
    return [row["id"] for row in found]


async def stream_rows(
    source: Source, query: ListQuery
) -> AsyncIterator[list[dict[str, Any]]]:
    """All rows of the filtered list, a chunk at a time, each row once.

    Each chunk starts after the last row of the one before, by sort value and key, so
    that rows which come in meanwhile shift nothing. The database is free in between,
    however slow the reader is.
    """
    after: tuple[Any, Any] | None = None
    while True:
        async with db.connect() as conn:
            found = await _fetch(conn, source, query, CSV_CHUNK, after=after)
        if found:
            yield [decode(row, query.fields) for row in found]
        if len(found) < CSV_CHUNK:
            return
        after = (found[-1]["sort_value"], found[-1]["sort_key"])


def decode(row: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """A row as the API shows it: fiat and fractions as text, times UTC-aware."""
    decoded = {}
    for name, kind in fields.kinds.items():
        value = row[name]
        decoded[name] = None if value is None else _decoders[kind](value)
    return decoded


def _fiat_text(value: Any) -> str:
    """Two places. A float of SQLite's is within a hundredth of a cent."""
    return f"{value if isinstance(value, Decimal) else float(value):.2f}"


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


_decoders: dict[Kind, Any] = {
    "text": str,
    "int": int,
    "fiat": _fiat_text,
    "fraction": lambda value: f"{Decimal(str(value)):.4f}",
    "number": _finite,
    "bool": bool,
    "time": from_db_time,
}
