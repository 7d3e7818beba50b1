"""One search over everything that is the reader's own: what they type, as they type it.

The lists' own searches are asked, each in the SQL of its reader; a list answers with
its newest rows. At most `MOST` in all: what was exactly meant comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.text import checked_text
from .lists import Fields, ListQuery, Source, fetch_page
from .names import machines_named
from .payments import (
    LEG_FIELDS,
    SETTLEMENT_FIELDS,
    legs_source,
    lp_legs_source,
    settlements_source,
)
from .reports import (
    CLIENT_FIELDS,
    DEPOSIT_FIELDS,
    MACHINE_FIELDS,
    clients_source,
    deposits_source,
    lp_deposits_source,
    machines_source,
)

MOST = 20
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """One thing that was found, and by what a person tells it from others."""

    type: str
    id: str
    label: str
    machine_id: str | None = None
    machine: str | None = None
    client_id: str | None = None
    settlement_id: str | None = None
    status: str | None = None
    sats: int | None = None
    amount: str | None = None
    currency: str | None = None
    at: Any = None
    as_lp: bool = False


@dataclass(frozen=True)
class _Place:
    type: str
    source: Source
    fields: Fields
    as_lp: bool = False


async def search(user_id: str, own_wallets: Sequence[str], typed: str) -> list[Found]:
    """Settlements, legs, deposits, machines and LPs of this operator, and an LP's own
    legs and deposits. Raises ValueError for a text that no row could hold."""
    text = checked_text(typed, "q").strip()
    if not text:
        return []
    places = (
        _Place("machine", machines_source(user_id, False), MACHINE_FIELDS),
        _Place("client", clients_source(user_id, False), CLIENT_FIELDS),
        _Place("settlement", settlements_source(user_id, False), SETTLEMENT_FIELDS),
        _Place("payment", legs_source(user_id, False, own_wallets), LEG_FIELDS),
        _Place("deposit", deposits_source(user_id, False), DEPOSIT_FIELDS),
        _Place("payment", lp_legs_source(user_id, own_wallets), LEG_FIELDS, True),
        _Place("deposit", lp_deposits_source(user_id), DEPOSIT_FIELDS, True),
    )
    kinds = []
    for place in places:
        query = ListQuery(place.fields, search=text, limit=MOST)
        rows, _ = await fetch_page(place.source, query)
        kinds.append([(place, row) for row in rows])
    chosen = _chosen(kinds, text)
    machines = await machines_named({_machine_of(p, row) for p, row in chosen})
    return [_found(place, row, machines) for place, row in chosen]


def _chosen(
    kinds: Sequence[Sequence[tuple[_Place, Row]]], text: str
) -> list[tuple[_Place, Row]]:
    """Exact matches and beginnings first, then of every kind in turn."""
    turns = max((len(rows) for rows in kinds), default=0)
    mixed = [rows[n] for n in range(turns) for rows in kinds if n < len(rows)]
    # an LP at their own machine finds a leg from both sides: once is enough
    once: dict[tuple[str, str], tuple[_Place, Row]] = {}
    for place, row in mixed:
        once.setdefault((place.type, row["id"]), (place, row))
    return sorted(once.values(), key=lambda one: _rank(one[1], text))[:MOST]


_TOLD_BY = (
    *("payment_hash", "external_payment_hash", "bitspire_txid", "username", "name"),
    *("id", "label"),
)


def _rank(row: Row, text: str) -> int:
    """0 for what is exactly this, 1 for what begins so, 2 for the others."""
    wanted = text.casefold()
    values = [str(row[name] or "").casefold() for name in _TOLD_BY if name in row]
    if wanted in values:
        return 0
    return 1 if any(value.startswith(wanted) for value in values) else 2


def _machine_of(place: _Place, row: Row) -> str:
    return str(row["id" if place.type == "machine" else "machine_id"])


def _found(place: _Place, row: Row, machines: Mapping[str, str]) -> Found:
    machine_id = _machine_of(place, row)
    common: dict[str, Any] = {
        "type": place.type,
        "id": row["id"],
        "machine_id": machine_id,
        "machine": machines.get(machine_id),
        "status": row["status"],
        "as_lp": place.as_lp,
        "at": row.get("transaction_time") or row["created_at"],
    }
    if place.type == "machine":
        return Found(**common, label=machines.get(machine_id, ""))
    if place.type == "client":
        return Found(
            **common,
            label=row["username"] or "",
            client_id=row["id"],
            amount=row["remaining"],
            currency=row["currency"],
        )
    if place.type == "settlement":
        return Found(
            **common,
            label=row["bitspire_txid"] or row["payment_hash"],
            settlement_id=row["id"],
            sats=row["wire_sats"],
            amount=row["fiat_amount"],
            currency=row["fiat_code"],
        )
    if place.type == "payment":
        return Found(
            **common,
            label=row["label"] or row["external_payment_hash"] or row["id"],
            settlement_id=row["settlement_id"],
            client_id=row["client_id"],
            sats=row["amount_sats"],
            amount=row["amount_fiat"],
        )
    return Found(
        **common,
        label=row["username"] or "",
        client_id=row["client_id"],
        amount=row["amount"],
        currency=row["currency"],
    )
