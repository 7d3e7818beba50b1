"""Handing a message to LNbits, which sends it in the background as each user set up."""

from __future__ import annotations

from lnbits.core.crud.users import get_account
from lnbits.core.models.notifications import NotificationType
from lnbits.core.services.notifications import (
    enqueue_user_notification,
    send_admin_notification,
)


async def tell_administrator(message: str) -> None:
    await send_admin_notification(message, NotificationType.text_message.value)


async def tell_user(user_id: str, message: str) -> bool:
    """False if there is no such user."""
    account = await get_account(user_id)
    if account is None:
        return False
    enqueue_user_notification(
        NotificationType.text_message,
        {"message": message},
        account.extra.notifications,
    )
    return True
