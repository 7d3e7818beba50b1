"""LNbits' users: who is the super user, what they call themselves, who may see us."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lnbits.core.crud.extensions import (
    create_user_extension,
    get_user_extension,
    update_user_extension,
)
from lnbits.core.crud.users import get_account, get_account_by_username
from lnbits.core.models import Account
from lnbits.core.models import User as User
from lnbits.core.models.extensions import UserExtension
from lnbits.settings import settings
from sqlalchemy.exc import IntegrityError

from ..base.database import CHUNK, fetch_all, in_list
from .database import core_connection

EXTENSION_ID = "satmachineadmin"
_USER_ID = re.compile(r"[0-9a-f]{32}")


def super_user() -> str:
    """The user id of LNbits' super user; empty while there is none."""
    return settings.super_user or ""


async def usernames_of(user_ids: Iterable[str]) -> dict[str, str | None]:
    """What LNbits users call themselves, by id."""
    params: dict[str, Any] = {}
    listed = in_list("u", sorted(set(user_ids)), params)
    async with core_connection() as conn:
        found = await fetch_all(
            conn,
            f"SELECT id, username FROM accounts WHERE id IN {listed}",  # noqa: S608
            params,
        )
    return {row["id"]: row["username"] for row in found}


def is_user_id(text: str) -> bool:
    """Whether LNbits could have given this id to a user: what never was an account
    was not deleted."""
    return _USER_ID.fullmatch(text) is not None


async def accounts_gone(user_ids: Iterable[str]) -> set[str]:
    """Of these users, those whose LNbits account was deleted."""
    ids = sorted({user for user in user_ids if is_user_id(user)})
    found: set[str] = set()
    async with core_connection() as conn:
        for start in range(0, len(ids), CHUNK):
            params: dict[str, Any] = {}
            listed = in_list("u", ids[start : start + CHUNK], params)
            sql = f"SELECT id FROM accounts WHERE id IN {listed}"  # noqa: S608
            found.update(row["id"] for row in await fetch_all(conn, sql, params))
    return set(ids) - found


async def account_of(user_id: str) -> Account | None:
    """The LNbits user of this id."""
    return await get_account(user_id)


async def user_named(username: str) -> Account | None:
    """The LNbits user of this name, in any spelling; LNbits strips tags from what it
    looks for: no near match is taken."""
    account = await get_account_by_username(username)
    if not account or (account.username or "").lower() != username.lower():
        return None
    return account


def may_use_extension(user_id: str) -> bool:
    """Whether LNbits lets this user in, and keeps this extension from nobody."""
    return settings.is_user_allowed(user_id) and not settings.is_admin_extension(
        EXTENSION_ID
    )


async def enable_extension(user_id: str) -> None:
    """Enable this extension for an LP. Looks first: a second row for one user is a
    unique violation that LNbits trips over."""
    new = UserExtension(user=user_id, extension=EXTENSION_ID, active=True)
    async with core_connection() as conn:
        present = await get_user_extension(user_id, EXTENSION_ID, conn=conn)
        if present and not present.active:
            present.active = True
            await update_user_extension(present, conn=conn)
        if present:
            return
        try:
            await create_user_extension(new, conn=conn)
        except IntegrityError:
            # another process was faster; its row says the same
            await conn.conn.rollback()
