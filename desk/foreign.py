"""What is in a machine's wallet that is nobody's sale: into the journal, once.

A top-up, a withdrawal, a payment that nobody stamped, LNbits' own service fee, sats
that another machine's payout brought, and what an LP whose wallet this is forwards.
Without them no wallet explains itself.

Guaranteed: a payment is an entry once, whoever looks and how often, dated as LNbits
booked it; one that lands as a sale later takes that entry back on its own day.
Not guaranteed: that it stands there at once. Ten minutes are left to whoever lands it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection

from .. import bitspire, crud
from ..base import cursors
from ..base.database import db, db_time, from_db_time, transaction
from ..host.payments import is_service_fee, successful_page
from ..ledger import crud as ledger_crud
from ..ledger.postings import (
    other_id,
    post_other,
    post_service_fee,
    service_fee_id,
)
from ..models import utc_now

CURSOR = "journal_others"
SETTLING = timedelta(minutes=10)
PAGE = 500
BEGINNING = "1970-01-02T00:00:00+00:00"
Row = Mapping[str, Any]
# wallet id -> machines that it is or was of, and since when
Owners = Mapping[str, Sequence[tuple[str, datetime]]]


async def post_foreign() -> int:
    """All since the last look; returns how many payments were looked at. For the
    engine. Killed in between, the page is looked at again."""
    wallets = await crud.machine_wallets()
    after = await _position()
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


async def _position() -> tuple[datetime, str]:
    """What is posted already: (updated_at, checking_id) of the last that was seen."""
    said = await cursors.get_cursor(CURSOR) or f"{BEGINNING}|"
    at, _, last = said.partition("|")
    return datetime.fromisoformat(at), last


def _at(row: Row) -> datetime:
    return from_db_time(row["updated_at"]) or utc_now()


@dataclass(frozen=True)
class _Seen:
    """What our rows know of a page of LNbits'."""

    landed: set[crud.PaymentSide]
    ours: set[str]
    tried: set[str]
    forwarded: dict[str, int]
    posted: set[str]

    @classmethod
    async def of(cls, conn: Connection, rows: Sequence[Row], wallets: Owners) -> _Seen:
        hashes = {row["payment_hash"] for row in rows}
        return cls(
            posted=await ledger_crud.has_entries(
                conn, [id_ for row in rows for id_ in _entry_ids(row, wallets)]
            ),
            landed=await crud.recorded_sides(conn, [_side(row) for row in rows]),
            ours=await crud.recorded_hashes(conn, hashes, crud.OWN),
            tried=await crud.recorded_hashes(conn, hashes, ("attempt",)),
            forwarded=await ledger_crud.forwarded(conn, hashes),
        )

    def is_posted(self, row: Row, wallets: Owners) -> bool:
        """A look at the payment's state later moves it behind the last look: whosever
        wallet it is by then, it is posted once."""
        return any(id_ in self.posted for id_ in _entry_ids(row, wallets))

    def foreign_sats(self, row: Row) -> int:
        """How much of this payment is nobody's sale: all, nothing, or what an LP
        forwards out of this wallet; signed."""
        payment_hash = row["payment_hash"]
        if int(row["amount"]) >= 0:
            if payment_hash in self.ours:
                return _sats(row)  # a payout of another machine, into this one's wallet
            # what is stamped lands, now or at the next look
            is_stamped = bitspire.SOURCE in str(row["extra"])
            is_foreign = _side(row) not in self.landed and not is_stamped
            return _sats(row) if is_foreign else 0
        if payment_hash in self.ours:
            return -self.forwarded.get(payment_hash, 0)
        is_ours = payment_hash in self.tried or _side(row) in self.landed
        return 0 if is_ours else _sats(row)

    def is_waited_for(self, row: Row) -> bool:
        """A customer's payment that lands at the next look."""
        if row["payment_hash"] in self.ours or _side(row) in self.landed:
            return False
        if int(row["amount"]) < 0:
            return row["payment_hash"] in self.tried
        return bitspire.SOURCE in str(row["extra"])


def _entry_ids(row: Row, wallets: Owners) -> list[str]:
    """What a payment is posted under, at any machine that has or had its wallet."""
    payment_hash, sats = row["payment_hash"], int(row["amount"])
    machines = {machine_id for machine_id, _ in wallets[row["wallet_id"]]}
    if is_service_fee(row["checking_id"]):
        return [service_fee_id(payment_hash, m) for m in machines]
    return [other_id(payment_hash, sats, m) for m in machines]


async def _post_page(rows: Sequence[tuple[datetime, Row]], wallets: Owners) -> None:
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        seen = await _Seen.of(conn, [row for _, row in rows], wallets)
        machines = {m for owners in wallets.values() for m, _ in owners}
        places = await ledger_crud.places(conn, machines)
        for when, row in rows:
            place = places.get(_machine_at(wallets[row["wallet_id"]], when))
            if place is None or seen.is_posted(row, wallets):
                continue
            payment_hash = row["payment_hash"]
            if is_service_fee(row["checking_id"]):
                await post_service_fee(conn, place, payment_hash, -_sats(row), when)
            else:
                sats = seen.foreign_sats(row)
                await post_other(conn, place, payment_hash, sats, when)


async def not_posted_sats(wallet_ids: Sequence[str]) -> int:
    """What LNbits booked in these wallets since the last look, and no entry says yet:
    what is foreign, and sales that land at the next look."""
    wallets = {
        wallet_id: owners
        for wallet_id, owners in (await crud.machine_wallets()).items()
        if wallet_id in wallet_ids
    }
    after, total = await _position(), 0
    while page := await successful_page(
        sorted(wallets), (db_time(after[0]), after[1]), PAGE
    ):
        async with db.connect() as conn:
            seen = await _Seen.of(conn, page, wallets)
        for row in page:
            if seen.is_posted(row, wallets):
                continue
            is_fee = is_service_fee(row["checking_id"])
            is_whole = is_fee or seen.is_waited_for(row)
            total += _sats(row) if is_whole else seen.foreign_sats(row)
        after = (_at(page[-1]), page[-1]["checking_id"])
        if len(page) < PAGE:
            break
    return total


def _side(row: Row) -> crud.PaymentSide:
    return row["payment_hash"], row["wallet_id"], int(row["amount"]) < 0


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
