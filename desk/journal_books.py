"""Does the journal say what our rows and LNbits' wallets say? For the reconciliation.

Guaranteed: it names the settlement, the LP or the wallet; what another comparison says
of the same thing already is not said twice. Comparing changes nothing;
what the rows say and no entry does is posted after it was reported, on its own day.
Not guaranteed: fractions of a sat. A payment that was not for whole sats is rounded in
the journal, so a wallet may be off by less than one sat for each of those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import crud
from ..base.currencies import money
from ..base.database import db, transaction
from ..host.balances import Booked, booked
from ..host.payments import sides_by_hash
from ..ledger import postings
from ..ledger.entries import MACHINE_WALLET, Amount, Standing
from . import foreign
from . import journal_books_crud as sql
from .differences import Difference

Row = Mapping[str, Any]
WALLET_MOVE = "wallet_move"
JOURNAL_ROWS = "journal_rows"


@dataclass(frozen=True)
class WalletJournal:
    """What the wallets of a machine hold by the journal and by LNbits, in sats."""

    wallet_id: str
    by_journal: int
    by_lnbits: Booked
    # booked by LNbits and not in the journal, for a reason that is known
    on_its_way: int

    def compare(self, said: Iterable[Difference]) -> list[Difference]:
        """`said`: differences that are reported already; those of single payments and
        settlements explain a part of this one."""
        kinds = (WALLET_MOVE, JOURNAL_ROWS)
        explained = sum(d.sats or 0 for d in said if d.kind in kinds)
        found = self.by_lnbits.msat // 1000 - self.on_its_way
        off = found - self.by_journal
        # what is said of single payments may be wrong in our rows and right in here
        if min(abs(off), abs(off - explained)) <= self.by_lnbits.fractions:
            return []
        off -= explained
        return [
            Difference(
                "journal_wallet",
                "wallet",
                self.wallet_id,
                f"LNbits booked {found} sat, and the journal says {self.by_journal} "
                "sat.",
                (),
                off,
            )
        ]


async def read_wallets(machine_id: str, wallet_id: str) -> WalletJournal:
    """`wallet_id`: the one that a difference is named after."""
    async with db.connect() as conn:
        found = await sql.sharing(conn, machine_id)
        by_journal = await sql.wallet_account(conn, found.machine_ids)
        unfinished = await sql.unfinished_hashes(conn, found.wallet_ids)
    on_its_way = await foreign.not_posted_sats(found.wallet_ids)
    for sides in (await sides_by_hash(unfinished)).values():
        on_its_way += sum(
            -(-int(row["amount"] - abs(int(row["fee"] or 0))) // 1000)
            for row in sides
            if row["wallet_id"] in found.wallet_ids
            and row["status"] == "success"
            and int(row["amount"]) < 0
        )
    return WalletJournal(
        wallet_id, by_journal, await booked(found.wallet_ids), on_its_way
    )


async def correct(settlement_ids: Sequence[str]) -> None:
    """Post what the rows say beyond the entries, as an entry of today. Entries that do
    not even add up are left for a person."""
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        missing = await sql.missing_by_settlement(conn, settlement_ids)
        sound = [id_ for id_, change in missing.items() if not change.total]
        await postings.post(conn, sound, "correction")


def compare_rows(missing: Mapping[str, Standing]) -> list[Difference]:
    """Settlements whose rows come to something else than their entries."""
    return [
        Difference(
            JOURNAL_ROWS,
            "settlement",
            settlement_id,
            "Its entries in the journal do not add up to what its rows say: "
            f"{', '.join(sorted({account for account, _ in change}))}.",
            (),
            change.get((MACHINE_WALLET, None), Amount()).sats,
        )
        for settlement_id, change in missing.items()
    ]


def compare_lps(
    lps: Sequence[Row], left: Mapping[str, int], currency: str
) -> list[Difference]:
    """What is left of LPs' cash by the journal and by their running totals."""
    found = []
    for row in lps:
        remaining = int(row["deposited"]) - int(row["debited"])
        by_journal = left.get(row["id"], 0)
        if remaining != by_journal:
            found.append(
                Difference(
                    "journal_lp",
                    "client",
                    row["id"],
                    f"{row['username'] or row['id']}: {money(remaining, currency)} are "
                    f"left, the journal says {money(by_journal, currency)}.",
                )
            )
    return found


def not_said_yet(
    found: Iterable[Difference], said: Iterable[Difference], legs: Iterable[Row]
) -> list[Difference]:
    """Those about something that no other comparison names: one cause is one line."""
    named = {id_ for d in said for id_ in (d.subject_id, *d.ids)}
    for leg in legs:
        if named & {leg["id"], leg["payout_id"], leg["external_payment_hash"]}:
            named.add(leg["settlement_id"])
    return [d for d in found if d.subject_id not in named]
