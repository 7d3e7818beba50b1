"""CSV for people: what a screen downloads (`?for=spreadsheet&lang=&tz=`).

Programs read the plain CSV, whose bytes stay as they are. A spreadsheet wants a BOM (or
it misreads letters), headings and codes in words, names beside ids, local times that it
takes for times, and its own decimal sign: `;` stands between columns where the comma is
decimal, else `,`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query

from ..base.database import db
from ..base.zones import Zone, zone_named, zone_or_utc
from ..books.lists import Kind
from ..books.names import clients_named, machines_named
from ..parties.preferences_crud import get_preferences
from .route import Caller
from .sheet_words import BOOLS, LANGUAGES, code_text, heading
from .zones import AskedZone

BOM = "\ufeff"
# What makes a spreadsheet take a text for a formula.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
# An id, and the column of the name that stands before it.
_NAMED = {"machine_id": "machine", "client_id": "client"}


def defused(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text


@dataclass(frozen=True)
class Sheet:
    """How a reader's spreadsheet wants it."""

    language: str
    zone: Zone
    has_comma: bool

    def columns_of(self, kinds: Mapping[str, Kind]) -> list[str]:
        """The columns, each id after its name."""
        names: list[str] = []
        for name in kinds:
            if name == "operator_user_id":
                continue  # a login, which no file for people needs
            beside = _NAMED.get(name)
            # a list that names its LP itself names them once
            is_there = beside == "client" and "username" in kinds
            if beside and beside not in kinds and not is_there:
                names.append(beside)
            names.append(name)
        return names

    def head(self, names: Iterable[str], kinds: Mapping[str, Kind]) -> str:
        """BOM and headings; a time's says in which zone it is."""
        words = []
        for name in names:
            zone = f" ({self.zone.name})" if kinds.get(name) == "time" else ""
            words.append(heading(name, self.language) + zone)
        return BOM + self.text([words])

    def text(self, table: Iterable[Sequence[Any]]) -> str:
        written = io.StringIO()
        csv.writer(written, delimiter=";" if self.has_comma else ",").writerows(table)
        return written.getvalue()

    def cell(self, name: str, kind: Kind, value: Any) -> Any:
        if value is None:
            return ""
        if kind == "time":
            return self.time(value)
        if kind == "bool":
            return BOOLS[bool(value)][LANGUAGES.index(self.language)]
        if kind in ("fiat", "fraction", "number"):
            return self.decimal(str(value))
        if kind == "text":
            return defused(code_text(name, str(value), self.language))
        return value

    def time(self, at: datetime) -> str:
        return self.zone.local(at).strftime("%Y-%m-%d %H:%M:%S")

    def decimal(self, text: str) -> str:
        return text.replace(".", ",") if self.has_comma else text

    async def rows(
        self,
        chunk: Sequence[Mapping[str, Any]],
        names: Sequence[str],
        kinds: Mapping[str, Kind],
    ) -> str:
        """Rows with the names of their machines and LPs."""
        machines: dict[str, str] = {}
        clients: dict[str, str] = {}
        if "machine" in names and "machine" not in kinds:
            machines = await machines_named({row["machine_id"] for row in chunk})
        if "client" in names and "client" not in kinds:
            clients = await clients_named({row["client_id"] for row in chunk})

        def value(row: Mapping[str, Any], name: str) -> Any:
            if name in kinds:
                return self.cell(name, kinds[name], row[name])
            known = machines if name == "machine" else clients
            of = row["machine_id" if name == "machine" else "client_id"]
            return defused(known.get(of or "", ""))

        return self.text([value(row, name) for name in names] for row in chunk)


async def sheet_of_request(
    account: Caller,
    whom: Annotated[
        Literal["spreadsheet"] | None,
        Query(alias="for", description="`spreadsheet`: for people, not for programs"),
    ] = None,
    language: Annotated[
        str, Query(alias="lang", max_length=10, description="en or es")
    ] = "en",
    tz: AskedZone = None,
) -> Sheet | None:
    """How this reader's spreadsheet wants it; None for a program."""
    if whom is None:
        return None
    async with db.connect() as conn:
        preferences = await get_preferences(conn, account.id)
    known = "es" if language.lower().startswith("es") else "en"
    comma = preferences.number_format or ("comma" if known == "es" else "point")
    zone = zone_named(tz) if tz else zone_or_utc(preferences.time_zone)
    return Sheet(known, zone, comma == "comma")


InSheet = Annotated[Sheet | None, Depends(sheet_of_request)]
