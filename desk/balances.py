"""An LP's whole remaining balance, paid out in sats: once for each idempotency key.

Guaranteed: a rate that takes from an LP is an offer until they say yes, and debits
nothing while it waits; what it pays is worked out from what is left at the yes.
Not guaranteed: that the paying wallet still holds the sats when its turn comes. It is
looked at before; the leg then waits for what is free, as any other does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from .. import bitspire, crud, distribution
from ..base.audit import write_audit
from ..base.database import db, transaction
from ..base.idempotency import claim_key, done_before, fingerprint
from ..base.refusals import BadInputError, ConflictError
from ..calculations import cents_text, round_half_up
from ..host.people import accounts_gone
from ..host.wallets import wallet_facts
from ..ledger.postings import post_closing
from ..models import Client, Fiat, Leg, LpProfile, Machine, Offer, utc_now
from ..money.funds import free_sats
from ..parties import positions_crud
from . import offers_crud
from . import repairs_crud as sql
from .rates import KnownRates, known_rates

OFFER_LASTS = timedelta(days=14)
NO_PROFILE = "This LP has not chosen a wallet yet: ask them to, then close."
ACCOUNT_GONE = (
    "The LNbits account of this LP was deleted: nothing can be paid to them here. "
    "Settle with them outside."
)
WALLET_GONE = (
    "The wallet that this LP receives in no longer exists: they must "
    "choose another one before their balance can be paid out."
)
NOTHING_LEFT = "Nothing is left of this LP's deposits."
NOT_OFFERED = "This offer is over: it was answered, replaced, or is older than 14 days."
CANNOT_PAY_NOW = (
    "The operator's wallet cannot pay this now: ask them to fill it, then accept."
)


@dataclass(frozen=True)
class Closed:
    """What became of the request: a leg that is paid, or an offer that waits."""

    leg_id: str | None = None
    offer: Offer | None = None


@dataclass(frozen=True)
class Closing:
    """A balance that is to be closed, as it was read."""

    client: Client
    machine: Machine
    profile: LpProfile | None
    cents: int
    rates: KnownRates


async def close_balance(
    user_id: str,
    client_id: str,
    wallet_id: str,
    exchange_rate: Decimal,
    reason: str,
    key: str,
    *,
    confirm_rate: bool = False,
) -> Closed:
    """Pay an LP's whole remaining fiat in sats at a stated rate (sats for one unit of
    fiat). The wallet was checked to be the operator's.

    A rate more than 10 % below the usual or the market's is an offer to the LP.
    `BadInputError` for one more than three times above, unless it is confirmed;
    `ConflictError` where nothing can reach the LP, and from a wallet that cannot pay.
    """
    body = {"wallet_id": wallet_id, "exchange_rate": exchange_rate}
    action = fingerprint(f"close-balance:{client_id}", body)
    async with db.connect() as conn:
        closing = await _read(conn, user_id, client_id)
        done = await done_before(conn, user_id, key, action)
        if done:
            return await _what_it_made(conn, done)
    await _can_be_reached(closing)
    if closing.cents <= 0:
        raise ConflictError(NOTHING_LEFT)
    if not confirm_rate and closing.rates.takes_from_operator(exchange_rate):
        raise BadInputError(_far_above(exchange_rate, closing))
    is_offer = closing.rates.takes_from_lp(exchange_rate)
    if not is_offer:
        short = await _short_of(wallet_id, _sats_at(closing.cents, exchange_rate))
        if short:
            async with db.connect() as conn:
                # the same request may have been done while the wallet was looked at
                done = await done_before(conn, user_id, key, action)
                if done:
                    return await _what_it_made(conn, done)
            raise ConflictError(short)
    made_id = urlsafe_short_hash()
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        done = await claim_key(conn, user_id, key, action, made_id)
        if done:
            return await _what_it_made(conn, done)
        await offers_crud.end_offers(conn, client_id, utc_now())
        if is_offer:
            return Closed(
                offer=await _make_offer(
                    conn, made_id, closing, wallet_id, exchange_rate, reason
                )
            )
        leg = await _write_leg(conn, made_id, closing, wallet_id, exchange_rate)
        await _audit(conn, user_id, "close_balance", closing.client, leg, reason)
    distribution.wake()
    return Closed(made_id)


async def accept_offer(lp_user_id: str, offer_id: str, reason: str | None) -> None:
    """The LP takes an offer: what is left of their deposits now becomes a leg."""
    async with db.connect() as conn:
        offer = await offers_crud.get_lps_offer(conn, offer_id, lp_user_id)
        closing = await _read(conn, offer.operator_user_id, offer.client_id)
    if not _is_open(offer):
        raise ConflictError(NOT_OFFERED)
    await _can_be_reached(closing)
    if closing.cents <= 0:
        raise ConflictError(NOTHING_LEFT)
    facts = (await wallet_facts([offer.wallet_id])).get(offer.wallet_id)
    is_theirs = facts and facts.is_usable and facts.user_id == offer.operator_user_id
    sats = _sats_at(closing.cents, offer.exchange_rate)
    # an LP is not told what the operator holds
    if not is_theirs or await _short_of(offer.wallet_id, sats):
        raise ConflictError(CANNOT_PAY_NOW)
    leg_id = urlsafe_short_hash()
    async with transaction() as conn:
        await crud.lock_ledger(conn)
        if not await offers_crud.decide(conn, offer_id, "accepted", utc_now(), leg_id):
            raise ConflictError(NOT_OFFERED)
        leg = await _write_leg(
            conn, leg_id, closing, offer.wallet_id, offer.exchange_rate
        )
        await _audit(conn, lp_user_id, "offer_accepted", closing.client, leg, reason)
    distribution.wake()


async def decline_offer(lp_user_id: str, offer_id: str, reason: str | None) -> None:
    """The LP does not take an offer: their balance stays as it is."""
    async with transaction() as conn:
        offer = await offers_crud.get_lps_offer(conn, offer_id, lp_user_id)
        if not await offers_crud.decide(conn, offer_id, "declined", utc_now(), None):
            raise ConflictError(NOT_OFFERED)
        await write_audit(
            conn,
            lp_user_id,
            "client.offer_declined",
            "client",
            offer.client_id,
            None,
            {"exchange_rate": str(offer.exchange_rate)},
            reason,
            operator_user_id=offer.operator_user_id,
            machine_id=offer.machine_id,
            client_user_id=lp_user_id,
        )


def _is_open(offer: Offer) -> bool:
    return offer.state == offers_crud.WAITING and utc_now() < offer.expires_at


# ------------------------------------------------------------------------------ checks


async def _read(conn: Connection, user_id: str, client_id: str) -> Closing:
    client = await sql.get_own_client(conn, client_id, user_id)
    machine = await crud.get_machine(client.machine_id, conn)
    if machine is None:
        raise ConflictError("The machine of this LP was removed.")
    profiles = await positions_crud.lp_profiles_of_clients(conn, [client_id])
    rates = await known_rates(conn, machine, utc_now())
    cents = await sql.remaining_cents(conn, client_id)
    return Closing(client, machine, profiles.get(client_id), cents, rates)


async def _can_be_reached(closing: Closing) -> None:
    """`ConflictError` where no sats can reach the LP. Before our own transaction."""
    if await accounts_gone([closing.client.user_id]):
        raise ConflictError(ACCOUNT_GONE)
    if closing.profile is None:
        raise ConflictError(NO_PROFILE)
    wallet_id = closing.profile.dca_wallet_id
    facts = (await wallet_facts([wallet_id])).get(wallet_id)
    if not facts or not facts.is_usable or facts.user_id != closing.client.user_id:
        raise ConflictError(WALLET_GONE)


async def _short_of(wallet_id: str, sats: int) -> str | None:
    """Why a wallet cannot pay this, or None: only what it owes to nobody counts."""
    free = max(0, await free_sats(wallet_id))
    if free >= sats:
        return None
    return (
        f"{free} of the {sats} sat needed are free in this wallet: choose another one, "
        "or fill it first."
    )


def _far_above(rate: Decimal, closing: Closing) -> str:
    known = min(closing.rates.known)
    return (
        f"exchange_rate is {rate} sat for one {closing.machine.fiat_code}, more than "
        f"three times the usual {float(known):.7g}: if that is meant, send "
        "confirm_rate: true."
    )


def _sats_at(cents: int, exchange_rate: Decimal) -> int:
    rate = Fraction(exchange_rate)
    sats = round_half_up(cents * rate.numerator, 100 * rate.denominator)
    if not 0 < sats <= bitspire.MAX_SATS:
        raise BadInputError(
            f"exchange_rate is {exchange_rate}: at that rate {cents_text(cents)} is "
            f"{sats} sat. It is sats for one unit of fiat, like 133.3333."
        )
    return sats


# --------------------------------------------------------------------- what is written


async def _what_it_made(conn: Connection, made_id: str) -> Closed:
    offer = await offers_crud.get_offer(conn, made_id)
    if offer is None:
        return Closed(made_id)
    return Closed(offer.leg_id) if offer.leg_id else Closed(offer=offer)


async def _make_offer(
    conn: Connection,
    offer_id: str,
    closing: Closing,
    wallet_id: str,
    exchange_rate: Decimal,
    reason: str,
) -> Offer:
    now = utc_now()
    client, machine = closing.client, closing.machine
    sats = _sats_at(closing.cents, exchange_rate)
    offer = Offer(
        id=offer_id,
        client_id=client.id,
        machine_id=machine.id,
        operator_user_id=machine.operator_user_id,
        wallet_id=wallet_id,
        exchange_rate=exchange_rate,
        reason=reason,
        created_at=now,
        expires_at=now + OFFER_LASTS,
    )
    await offers_crud.insert_offer(conn, offer)
    await write_audit(
        conn,
        machine.operator_user_id,
        "client.offer",
        "client",
        client.id,
        None,
        {
            "amount": cents_text(closing.cents),
            "currency": machine.fiat_code,
            "amount_sats": sats,
            "exchange_rate": str(exchange_rate),
        },
        reason,
        operator_user_id=machine.operator_user_id,
        machine_id=machine.id,
        client_user_id=client.user_id,
    )
    return offer


async def _write_leg(
    conn: Connection,
    leg_id: str,
    closing: Closing,
    wallet_id: str,
    exchange_rate: Decimal,
) -> Leg:
    """The leg for what is left now, under the ledger lock."""
    client = closing.client
    cents = await sql.remaining_cents(conn, client.id)
    if cents <= 0:
        raise ConflictError(NOTHING_LEFT)
    now = utc_now()
    profile = closing.profile
    leg = Leg(
        id=leg_id,
        client_id=client.id,
        machine_id=client.machine_id,
        operator_user_id=closing.machine.operator_user_id,
        leg_type="settlement",
        leg_key=client.id,
        label="Balance paid out",
        amount_sats=_sats_at(cents, exchange_rate),
        amount_fiat=Fiat(cents_text(cents)),
        exchange_rate=float(exchange_rate),
        destination_wallet_id=profile.dca_wallet_id if profile else None,
        transaction_time=now,
        created_at=now,
        source_wallet_id=wallet_id,
        # a machine's wallet pays its settlements first
        from_free_balance=True,
    )
    await crud.insert_legs(conn, [leg])
    await post_closing(conn, [leg.id], "closed", now)
    return leg


async def _audit(
    conn: Connection,
    actor: str,
    action: str,
    client: Client,
    leg: Leg,
    reason: str | None,
) -> None:
    machine = await crud.get_machine(client.machine_id, conn)
    await write_audit(
        conn,
        actor,
        f"client.{action}",
        "client",
        client.id,
        {"remaining": leg.amount_fiat},
        {
            "remaining": cents_text(0),
            "amount": leg.amount_fiat,
            "currency": machine.fiat_code if machine else "",
            "amount_sats": leg.amount_sats,
            "exchange_rate": str(leg.exchange_rate),
            "payment": leg.id,
        },
        reason,
        operator_user_id=leg.operator_user_id,
        machine_id=client.machine_id,
        client_user_id=client.user_id,
    )
