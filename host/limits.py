"""What LNbits itself lets pass: whether it can pay now, how much, from which wallet."""

from __future__ import annotations

from lnbits.core.services.payments import check_wallet_limits, fee_reserve_total
from lnbits.exceptions import PaymentError
from lnbits.settings import settings
from lnbits.wallets import fake_wallet, get_funding_source


def is_running() -> bool:
    """Whether LNbits is up and not on its way down."""
    return settings.lnbits_running


def has_funding_source() -> bool:
    """Whether LNbits has its real funding source (not at start, not when in need)."""
    source = get_funding_source()
    return source is not fake_wallet and type(source).__name__ != "VoidWallet"


def is_ready() -> bool:
    """LNbits starts extensions before it sets its real funding source."""
    return settings.lnbits_running and (has_funding_source() or _is_void_by_choice())


def _is_void_by_choice() -> bool:
    return settings.lnbits_backend_wallet_class == "VoidWallet"


def takes_only_incoming() -> bool:
    return settings.lnbits_only_allow_incoming_payments


def wants_pauses() -> bool:
    """Whether a wallet must wait between two payments."""
    return settings.lnbits_wallet_limit_secs_between_trans > 0


def most_outgoing_sats() -> int:
    """The most that LNbits pays at once."""
    return settings.lnbits_max_outgoing_payment_amount_sats


def most_incoming_sats() -> int:
    """The most that LNbits receives at once."""
    return settings.lnbits_max_incoming_payment_amount_sats


def most_balance_sats() -> int:
    """The most that a wallet may hold; 0 for no limit."""
    return max(0, settings.lnbits_wallet_limit_max_balance)


def reserve_sats(amount_sats: int, is_internal: bool) -> int:
    """What LNbits wants kept back for routing and its service fee, in whole sats."""
    return -(-fee_reserve_total(amount_sats * 1000, is_internal) // 1000)


def has_wallet_limits() -> bool:
    """Whether wallets have a pause or a sum for each day to keep."""
    return bool(
        settings.lnbits_wallet_limit_secs_between_trans
        or settings.lnbits_wallet_limit_daily_max_withdraw
    )


async def wallet_refusal(wallet_id: str, amount_sats: int) -> str | None:
    """LNbits' own sentence why this wallet may not pay so much now, or None."""
    try:
        await check_wallet_limits(wallet_id, amount_sats * 1000)
    except (PaymentError, ValueError) as exc:
        return str(getattr(exc, "message", None) or exc)
    return None
