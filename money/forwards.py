"""Forwards: what an LP's received sats send on, and what must not leave any more.

A forward is over when it is a day old, or when its LP turned forwarding off: the sats
that it would send may be spent by then, and what is in the wallet now may be the LP's
salary. So it is asked where a payment begins, and not only by the sweep: when payouts
are opened, and again before an invoice is made or paid (`forwards_crud.py`).

Guaranteed: a forward that is over is in no payment that begins after that, but for one
case: an invoice that is kept already and that pays others too is paid as it is.
Not guaranteed: that what is on its way comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from ..crud import EXTERNAL_BATCH_DELAY
from ..models import Leg, LpProfile
from ..parties.positions_crud import lp_profiles_of_clients

AT_MOST = timedelta(hours=24)


def is_stale(leg: Leg, profile: LpProfile | None, now: datetime) -> bool:
    """Whether a leg is a forward that its LP's sats must not leave for any more."""
    if leg.leg_type != "autoforward":
        return False
    is_off = profile is not None and not profile.autoforward_enabled
    return is_off or leg.created_at < now - AT_MOST


async def autoforward_legs(
    conn: Connection, legs: Sequence[Leg], now: datetime
) -> list[Leg]:
    """The autoforward legs that received DCA legs give rise to."""
    received = [
        x
        for x in legs
        if x.leg_type == "dca" and x.client_id and x.destination_wallet_id
    ]
    if not received:
        return []
    profiles = await lp_profiles_of_clients(conn, [str(x.client_id) for x in received])
    forwards = []
    for leg in received:
        profile = profiles.get(str(leg.client_id))
        if not profile or not profile.autoforward_enabled:
            continue
        if not profile.autoforward_ln_address:
            continue
        forwards.append(
            Leg(
                id=urlsafe_short_hash(),
                settlement_id=leg.settlement_id,
                client_id=leg.client_id,
                machine_id=leg.machine_id,
                operator_user_id=leg.operator_user_id,
                leg_type="autoforward",
                leg_key=leg.id,
                parent_leg_id=leg.id,
                destination_ln_address=profile.autoforward_ln_address,
                target=profile.autoforward_ln_address,
                # what arrived: LNbits may keep a service fee of what was owed
                amount_sats=leg.sent_sats or leg.amount_sats,
                transaction_time=leg.transaction_time,
                source_wallet_id=leg.destination_wallet_id,
                next_try_at=now + EXTERNAL_BATCH_DELAY,
                created_at=now,
            )
        )
    return forwards
