"""What is in a machine's wallet that is nobody's sale: into the journal, once.

A top-up, a withdrawal, a payment that nobody stamped, LNbits' own service fee, and
sats that another machine's payout brought. Without them no wallet explains itself.

Guaranteed: a payment is an entry once, whoever looks and how often, dated as LNbits
booked it; one that lands as a sale later takes that entry back on its own day.
Not guaranteed: that it stands there at once. Ten minutes are left to whoever lands it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from .. import bitspire, crud
from ..base import cursors
from ..base.database import db_time, from_db_time, transaction
from ..host.payments import is_service_fee, successful_page
from ..ledger import crud as ledger_crud
from ..ledger.postings import post_other, post_service_fee
from ..models import utc_now

CURSOR = "journal_others"
SETTLING = timedelta(minutes=10)
PAGE = 500
BEGINNING = "1970-01-02T00:00:00+00:00"
Row = Mapping[str, Any]


async def post_foreign() -> int:
    """All since the last look; returns how many payments were looked at. For the
    engine. Killed in between, the page is looked at again."""
    wallets = await crud.machine_wallets()
    said = await cursors.get_cursor(CURSOR) or f"{BEGINNING}|"
    at, _, last = said.partition("|")
    after = (datetime.fromisoformat(at), last)
    until, seen = utc_now() - SETTLING, 0
    while wallets:
        page = await successful_page(
            sorted(wallets), (db_time(after[0]), after[1]), PAGE
        )
        rows = [(_at(row), row) for row in page]
        old = [(when, row) for when, row in rows if when < until]
        if not old:
            break
        await _post_page(old, wallets)
        after = (old[-1][0], old[-1][1]["checking_id"])
        await cursors.set_cursor(CURSOR, f"{after[0].isoformat()}|{after[1]}")
        seen += len(old)
        if len(old) < PAGE:
            break
    return seen


def _at(row: Row) -> datetime:
    return from_db_time(row["updated_at"]) or utc_now()


async def _post_page(
    rows: Sequence[tuple[datetime, Row]],
    wallets: Mapping[str, list[tuple[str, datetime]]],
) -> None:
    hashes = {row["payment_hash"] for _, row in rows}
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        sides = [_side(row) for _, row in rows]
        landed = await crud.recorded_sides(conn, sides)
        ours = await crud.recorded_hashes(conn, hashes, crud.OWN)
        tried = await crud.recorded_hashes(conn, hashes, ("attempt",))
        machines = {m for owners in wallets.values() for m, _ in owners}
        places = await ledger_crud.places(conn, machines)
        for when, row in rows:
            place = places.get(_machine_at(wallets[row["wallet_id"]], when))
            sats = _sats(row)
            if place is None:
                continue
            payment_hash = row["payment_hash"]
            if is_service_fee(row["checking_id"]):
                await post_service_fee(conn, place, payment_hash, -sats, when)
            elif _is_foreign(row, landed, ours, tried):
                await post_other(conn, place, payment_hash, sats, when)


def _side(row: Row) -> crud.PaymentSide:
    return row["payment_hash"], row["wallet_id"], int(row["amount"]) < 0


def _is_foreign(
    row: Row, landed: set[crud.PaymentSide], ours: set[str], tried: set[str]
) -> bool:
    payment_hash = row["payment_hash"]
    if int(row["amount"]) < 0:
        return not (
            payment_hash in ours or payment_hash in tried or _side(row) in landed
        )
    if payment_hash in ours:
        return True  # a payout of another machine, into this one's wallet
    # what is stamped lands, now or at the next look
    return _side(row) not in landed and bitspire.SOURCE not in str(row["extra"])


def _sats(row: Row) -> int:
    """What the wallet has more or less by it, its fee too, in whole sats."""
    msat = int(row["amount"]) - abs(int(row["fee"] or 0))
    return msat // 1000 if msat >= 0 else -(-msat // 1000)


def _machine_at(owners: Sequence[tuple[str, datetime]], at: datetime) -> str:
    """Whose wallet it was then; before anybody's, the first one's."""
    machine_id = owners[0][0]
    for owner, since in owners:
        if since <= at:
            machine_id = owner
    return machine_id
