"""What a customer paid and the machine never got: LNbits died between its two commits.

Guaranteed: a stamped receipt of a machine's wallet is finished when the row of its
payer (same hash, other sign, same amount) is a success for a minute, and LNbits'
listeners are told, as LNbits would have done.
Not guaranteed: that it is finished soon. The sweep of the engine looks for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from .. import bitspire, crud
from ..host.receipts import half_done_hashes
from ..models import utc_now
from . import payouts


async def finish_receipts(since: datetime | None) -> int:
    """Finish half-done receipts of machines' wallets; returns how many.

    `since` is how far back the payer's row may be; None looks at all of them.
    """
    wallets = sorted(await crud.machine_wallets())
    before = utc_now() - timedelta(seconds=payouts.UNCREDITED_SECONDS)
    hashes = await half_done_hashes(
        wallets, bitspire.SOURCE, since=since, before=before
    )
    return await finish_payments(hashes)


async def finish_payments(payment_hashes: list[str]) -> int:
    """Credit the receivers of these payments, where the payer alone was debited."""
    finished = 0
    for seen in await payouts.undone_receipts(payment_hashes):
        finished += await payouts.credit_receiver(seen)
    return finished
