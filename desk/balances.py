"""An LP's whole remaining balance, paid out in sats: once for each idempotency key."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from lnbits.helpers import urlsafe_short_hash

from .. import bitspire, crud, distribution
from ..base.audit import write_audit
from ..base.database import db, transaction
from ..base.refusals import BadInputError, ConflictError
from ..calculations import cents_text, round_half_up
from ..host.wallets import wallet_facts
from ..models import Fiat, Leg, utc_now
from ..parties import positions_crud
from . import repairs_crud as sql
from .actions import (
    check_same_action,
)


async def close_balance(
    user_id: str,
    client_id: str,
    wallet_id: str,
    exchange_rate: Decimal,
    reason: str,
    key: str,
) -> str:
    """Pay an LP's whole remaining fiat in sats at a stated rate (sats for one unit of
    fiat); the id of the leg. The wallet was checked to be the operator's."""
    leg_id = urlsafe_short_hash()
    gone = await _wallet_is_gone(user_id, client_id)
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        client = await sql.get_own_client(conn, client_id, user_id)
        action = f"close-balance:{client_id}"
        used = await sql.claim_idempotency_key(conn, user_id, key, action, leg_id)
        if used:
            check_same_action(used, action)
            return used[1]
        profile = (await positions_crud.lp_profiles_of_clients(conn, [client_id])).get(
            client_id
        )
        if profile is None:
            raise ConflictError(
                "This LP has not chosen a wallet yet: ask them to, then close."
            )
        if gone:
            raise ConflictError(
                "The wallet that this LP receives in no longer exists: they must "
                "choose another one before their balance can be paid out."
            )
        cents = await sql.remaining_cents(conn, client_id)
        if cents <= 0:
            raise ConflictError("Nothing is left of this LP's deposits.")
        now = utc_now()
        leg = Leg(
            id=leg_id,
            client_id=client_id,
            machine_id=client.machine_id,
            operator_user_id=user_id,
            leg_type="settlement",
            leg_key=client_id,
            label="Balance paid out",
            amount_sats=_sats_at(cents, exchange_rate),
            amount_fiat=Fiat(cents_text(cents)),
            exchange_rate=float(exchange_rate),
            destination_wallet_id=profile.dca_wallet_id,
            transaction_time=now,
            created_at=now,
            source_wallet_id=wallet_id,
            # a machine's wallet pays its settlements first
            from_free_balance=True,
        )
        await crud.insert_legs(conn, [leg])
        await write_audit(
            conn,
            user_id,
            "client.close_balance",
            "client",
            client_id,
            {"remaining": cents_text(cents)},
            {
                "remaining": cents_text(0),
                "amount_sats": leg.amount_sats,
                "exchange_rate": str(exchange_rate),
                "payment": leg_id,
            },
            reason,
            operator_user_id=user_id,
            machine_id=client.machine_id,
            client_user_id=client.user_id,
        )
    distribution.wake()
    return leg_id


async def _wallet_is_gone(user_id: str, client_id: str) -> bool:
    """Whether nothing can reach the LP: their wallet was deleted, or their account with
    it, or it is not theirs. Read before our own transaction."""
    async with db.connect() as conn:
        client = await sql.get_own_client(conn, client_id, user_id)
        profiles = await positions_crud.lp_profiles_of_clients(conn, [client_id])
    profile = profiles.get(client_id)
    if profile is None:
        return False
    facts = (await wallet_facts([profile.dca_wallet_id])).get(profile.dca_wallet_id)
    if facts is None or facts.is_deleted or not facts.is_usable:
        return True
    return facts.user_id != client.user_id


def _sats_at(cents: int, exchange_rate: Decimal) -> int:
    rate = Fraction(exchange_rate)
    sats = round_half_up(cents * rate.numerator, 100 * rate.denominator)
    if not 0 < sats <= bitspire.MAX_SATS:
        raise BadInputError(
            f"exchange_rate is {exchange_rate}: at that rate {cents_text(cents)} is "
            f"{sats} sat. It is sats for one unit of fiat, like 133.3333."
        )
    return sats
