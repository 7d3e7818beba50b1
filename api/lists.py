"""Lists over HTTP: the question from the query string, the answer as a page or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse
from lnbits.helpers import generate_filter_params_openapi
from pydantic import BaseModel

from ..base.zones import UTC, zone_named
from ..books.lists import (
    Fields,
    Kind,
    ListQuery,
    Source,
    parse_query,
    stream_rows,
    sums_of,
)
from .spreadsheet import Sheet, defused, sheet_of_request
from .zones import AskedZone

# `defused` is at home in spreadsheet.py, and asked for here by who writes a CSV.
__all__ = [
    "CSV_ANSWER",
    "asked_of",
    "csv_answer",
    "csv_of_rows",
    "csv_text",
    "defused",
    "filter_docs",
    "totals_of",
]

_HIGHEST_OFFSET = 1_000_000_000


def asked_of(fields: Fields) -> Callable[..., ListQuery]:
    """A dependency that reads and checks what is asked of a list."""

    def read(
        request: Request,
        limit: Annotated[
            int, Query(ge=0, description="rows of a page, at most 1000 (0: 1000)")
        ] = 10,
        offset: Annotated[int, Query(ge=0, le=_HIGHEST_OFFSET)] = 0,
        sortby: Annotated[
            str | None, Query(description="a column; without it newest first")
        ] = None,
        direction: Literal["asc", "desc"] | None = None,
        search: str | None = Query(
            None,
            description=f"text in {', '.join(fields.search)}; where there are any also "
            "names of machines and LPs, hashes of payments, sats, cash amounts",
        ),
        tz: AskedZone = None,
        totals: bool = Query(False, description="also what all rows add up to"),
        sheet: Sheet | None = Depends(sheet_of_request),
    ) -> ListQuery:
        query = parse_query(
            fields,
            request.query_params.multi_items(),
            zone_named(tz) if tz else UTC,
            limit=min(limit, _HIGHEST_OFFSET),
            offset=offset,
            sortby=sortby,
            direction=direction,
            search=search,
        )
        return AskedList(**vars(query), sheet=sheet, wants_totals=totals)

    return read


@dataclass(frozen=True)
class AskedList(ListQuery):
    """What is asked, and by whom its CSV is read: a program, or people."""

    sheet: Sheet | None = None
    wants_totals: bool = False


async def totals_of(source: Source, query: ListQuery) -> list[dict[str, Any]] | None:
    """The sums by currency, where they were asked for."""
    if isinstance(query, AskedList) and query.wants_totals:
        return await sums_of(source, query)
    return None


def filter_docs(fields: Fields, name: str) -> dict[str, Any]:
    """The filters of a list for OpenAPI: `field=value` and `field[op]=value`."""
    docs = generate_filter_params_openapi(fields.filter_model(name))
    for parameter in docs["parameters"]:
        column = parameter["name"]
        more = ", like, any, every" if fields.kinds[column] == "text" else ""
        parameter["description"] = (
            f"{column}=value, or {column}[op]=value with op one of eq, ne, gt, ge, lt, "
            f"le, in, ex{more}"
        )
    return docs


CSV_ANSWER: dict[str, Any] = {
    "description": "The whole filtered list as CSV, formulas defused.",
    "content": {"text/csv": {"schema": {"type": "string"}}},
}


def csv_answer(source: Source, query: ListQuery, filename: str) -> StreamingResponse:
    """The whole filtered list as a CSV download, read and sent chunk by chunk."""
    return StreamingResponse(
        _csv_lines(source, query),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


async def _csv_lines(source: Source, query: ListQuery) -> AsyncIterator[str]:
    sheet = query.sheet if isinstance(query, AskedList) else None
    if sheet:
        kinds = query.fields.kinds
        names = sheet.columns_of(kinds)
        yield sheet.head(names, kinds)
        async for chunk in stream_rows(source, query):
            yield await sheet.rows(chunk, names, kinds)
        return
    cells = [(name, _CELLS.get(k)) for name, k in query.fields.kinds.items()]
    yield csv_text([[name for name, _ in cells]])
    async for chunk in stream_rows(source, query):
        yield csv_text(
            [
                [
                    cell(row[name]) if cell and row[name] is not None else row[name]
                    for name, cell in cells
                ]
                for row in chunk
            ]
        )


def csv_of_rows(
    rows: Sequence[BaseModel], fields: Sequence[str], sheet: Sheet | None, filename: str
) -> StreamingResponse:
    """A list that is read whole, as a CSV download: times, and texts for the rest."""

    def kind(value: Any) -> Kind:
        return "time" if isinstance(value, datetime) else "text"

    def cell(name: str, value: Any) -> Any:
        if isinstance(value, list):
            value = " ".join(value)
        if value is None:
            return ""
        if sheet:
            return sheet.cell(name, kind(value), value)
        return _CELLS[kind(value)](value)

    table = [[cell(name, getattr(row, name)) for name in fields] for row in rows]
    if sheet:
        text = sheet.head(fields, {}) + sheet.text(table)
    else:
        text = csv_text([list(fields), *table])
    return StreamingResponse(
        iter([text]),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def csv_text(table: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV; their cells are defused already."""
    text = io.StringIO()
    csv.writer(text).writerows(table)
    return text.getvalue()


# How a value of a kind is written; the others as they are, and None as nothing.
_CELLS: dict[Kind, Callable[[Any], str]] = {
    "time": lambda value: value.isoformat(),
    "bool": lambda value: "true" if value else "false",
    "text": defused,
}
