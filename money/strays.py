"""A database was restored: what did LNbits pay that we do not know, or lose?

Guaranteed: before anything is paid after a start, and in each sweep, payments out that
carry our tag and stand in no table of ours are looked for. One that is later than our
newest payout (or any, when that one is gone from under us) stops its wallet. So does
the other way round: what we hold for paid or received and LNbits does not know.
Nothing is worked out here: a person looks, takes over, undoes, or lets it go on.
Not guaranteed: that a wallet which is no machine's, of a machine that is gone too, is
stopped. It is in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from loguru import logger

from ..base.cursors import BEGAN, get_cursor
from ..host.strays import Outgoing, known_hashes, tagged_outgoing
from . import strays_crud
from .payouts import TAG
from .strays_crud import LOST, PAGE, UNKNOWN, Stray

# what is lost is found page by page, and this many pages are enough to stop for
MOST_PAGES = 50


@dataclass
class Watch:
    """Our newest payout when it was looked last, by one process."""

    payout_id: str | None = None


watch = Watch()


async def look(*, is_start: bool) -> int:
    """Find strays and stop their wallets; returns how many are new. What LNbits has
    lost is looked for at a start: its database is not exchanged while it runs."""
    newest = await strays_crud.newest_payout()
    began = await _began()
    since = newest[1] if newest else began
    if watch.payout_id and not await strays_crud.has_payout(watch.payout_id):
        since = began  # the database was exchanged while we ran
    strays = await _unknown(since) + (await _lost() if is_start else [])
    reasons = {
        x.machine_id: _reason(x.kind, [y for y in strays if _same(x, y)])
        for x in strays
        if x.machine_id
    }
    for x in strays:
        if not x.machine_id:
            logger.error(
                f"satmachineadmin: {x.kind} payment {x.payment_hash} of wallet "
                f"{x.wallet_id}, and no machine to stop for it"
            )
    new = await strays_crud.keep([x for x in strays if x.machine_id], reasons)
    watch.payout_id = newest[0] if newest else None
    if new:
        logger.error(f"satmachineadmin: {new} payments are not in both databases")
    return new


async def _began() -> datetime | None:
    """When everything of ours was deleted, if it was: what we paid before that is known
    to LNbits alone, and owed to nobody."""
    value = await get_cursor(BEGAN)
    return datetime.fromtimestamp(float(value), timezone.utc) if value else None


def _same(x: Stray, y: Stray) -> bool:
    return (x.machine_id, x.kind) == (y.machine_id, y.kind)


def _reason(kind: str, strays: list[Stray]) -> str:
    sats = sum(x.amount_sats for x in strays)
    if kind == UNKNOWN:
        return (
            f"LNbits made {len(strays)} payments of this extension, {sats} sat, that "
            "it does not know: was an older backup restored? Take them over, or they "
            "are paid again."
        )
    return (
        f"LNbits does not know {len(strays)} payments, {sats} sat, that stand here as "
        "made: was an older backup of LNbits restored? Undo them, or look at each."
    )


async def _unknown(since: datetime | None) -> list[Stray]:
    found = await tagged_outgoing(TAG, since)
    known = await strays_crud.our_hashes([x.payment_hash for x in found])
    strays = [await _stray(x) for x in found if x.payment_hash not in known]
    return [x for x in strays if x]


async def _stray(x: Outgoing) -> Stray | None:
    """None for what a wallet paid before it was registered: of an extension that was
    deleted since, and nothing that is from before lands."""
    owner = await strays_crud.machine_of(x.wallet_id, x.extra.get("machine_id"))
    if owner and owner[1] and x.created_at and x.created_at < owner[1]:
        return None
    return Stray(
        UNKNOWN,
        x.payment_hash,
        x.wallet_id,
        owner[0] if owner else None,
        x.amount_sats,
        x.extra,
    )


async def _lost() -> list[Stray]:
    lost: list[Stray] = []
    for page in range(MOST_PAGES):
        rows = await strays_crud.paid_page(page * PAGE)
        hashes = {row["payment_hash"].partition(":")[0] for row in rows}
        known = await known_hashes(hashes)
        missing = [r for r in rows if r["payment_hash"].partition(":")[0] not in known]
        lost += [
            Stray(
                LOST,
                row["payment_hash"],
                row["wallet_id"] or "",
                row["machine_id"],
                int(row["sats"] or 0),
                {},
            )
            for row in missing
        ]
        if not missing or len(rows) < PAGE:
            break
    return lost
