"""The first payment into a machine's wallet, and no machine stamped it: whose is it?

An operator who fills up the wallet knows. A machine that was given another wallet's
key, or that writes no stamp, sells and nobody is paid from it: without a word the sats
would lie there as the operator's own. So it is said until the first settlement lands,
which shows that this machine stamps; what comes in later without one is a top-up. What
the operator's own wallets paid, and what an administrator credited, needs no word.

LNbits' tables are in another database on SQLite: ours are read first, then LNbits'.
"""

from __future__ import annotations

from .. import bitspire, crud
from ..base.database import db
from ..books.reports import own_machines_sql, whose
from ..host.arrivals import Arrival, arrivals
from ..money.payouts import TAG
from . import gone_crud as sql
from .gone import Gone

# More than these are as much of a question.
MOST = 200


async def read_unstamped(user_id: str, is_all: bool) -> list[Gone]:
    """One cause for each machine whose first payments carry no stamp."""
    async with db.connect() as conn:
        machines = await sql.machines_without_sales(
            conn, own_machines_sql(is_all), whose(user_id, is_all)
        )
    if not machines:
        return []
    begun = {row["id"]: crud.from_time(row["since_at"]) for row in machines}
    wallets = sorted({row["wallet_id"] for row in machines})
    came = await arrivals(wallets, min(begun.values()), MOST)
    found = []
    for row in machines:
        # LNbits keeps whole seconds on SQLite
        first = begun[row["id"]].replace(microsecond=0)
        mine = [
            one
            for one in came
            if one.wallet_id == row["wallet_id"]
            and one.at is not None
            and one.at >= first
            and one.payer_id != row["operator_user_id"]
            and not _is_known(one)
        ]
        if mine:
            sats = sum(one.amount_sats for one in mine)
            found.append(
                Gone(
                    "unstamped",
                    f"{sats} sat came into {row['machine']}'s wallet that no machine "
                    "stamped: yours, or a machine set up wrongly?",
                    "If they are yours, nothing is to do. If a customer paid them, "
                    "look at the machine's key and settings.",
                    "machine",
                    row["id"],
                    machine_id=row["id"],
                    since=mine[0].at,
                    tell=(row["operator_user_id"],),
                )
            )
    return found


def _is_known(arrival: Arrival) -> bool:
    """Stamped, and so about to land, or paid by this extension itself."""
    is_stamped = arrival.extra.get("source") == bitspire.SOURCE
    return is_stamped or arrival.extra.get("tag") == TAG
