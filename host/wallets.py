"""LNbits' wallets: whose they are, and which of them can receive and pay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

from lnbits.core.crud.wallets import get_wallet_id_by_ln_address
from lnbits.settings import settings

from ..base.database import fetch_all, fetch_one, in_lists
from .database import core_connection
from .people import is_user_id


@dataclass(frozen=True)
class WalletFacts:
    """What matters of an LNbits wallet before sats go there or leave it."""

    wallet_id: str
    user_id: str
    wallet_type: str
    is_deleted: bool
    # whether the LNbits account that it belongs to is still there
    has_owner: bool = True

    @property
    def is_usable(self) -> bool:
        return not self.is_deleted and self.wallet_type == "lightning"


async def wallet_facts(wallet_ids: Iterable[str]) -> dict[str, WalletFacts]:
    """Facts of wallets by id, in one query; an unknown id is missing."""
    ids = sorted({w for w in wallet_ids if w})
    facts: dict[str, WalletFacts] = {}
    async with core_connection() as conn:
        for listed, params in in_lists(ids):
            for row in await fetch_all(
                conn,
                'SELECT id, "user" AS user_id, wallet_type, deleted, '  # noqa: S608
                'EXISTS (SELECT 1 FROM accounts a WHERE a.id = wallets."user") '
                f"AS has_owner FROM wallets WHERE id IN {listed}",
                params,
            ):
                facts[row["id"]] = WalletFacts(
                    wallet_id=row["id"],
                    user_id=row["user_id"],
                    wallet_type=row["wallet_type"] or "lightning",
                    is_deleted=bool(row["deleted"]),
                    has_owner=bool(row["has_owner"]) or not is_user_id(row["user_id"]),
                )
    return facts


async def wallets_of(user_id: str) -> list[str]:
    """Every wallet id of an LNbits user, deleted ones too."""
    async with core_connection() as conn:
        found = await fetch_all(
            conn, 'SELECT id FROM wallets WHERE "user" = :user', {"user": user_id}
        )
    return [row["id"] for row in found]


async def find_wallet(id_or_key: str) -> Mapping[str, Any] | None:
    """The wallet of this id, invoice key or admin key: id, inkey, adminkey,
    wallet_type, deleted."""
    async with core_connection() as conn:
        return await fetch_one(
            conn,
            "SELECT id, inkey, adminkey, wallet_type, deleted FROM wallets "
            "WHERE id = :text OR inkey = :text OR adminkey = :text",
            {"text": id_or_key},
        )


def is_own_domain(address: str) -> bool:
    """Whether the address is one of this LNbits instance by its configured URL."""
    domain = address.rpartition("@")[2]
    base = urlparse(settings.lnbits_baseurl)
    own = {base.netloc.lower(), (base.hostname or "").lower()} - {""}
    return domain in own


def serves_address(address: str) -> bool:
    """Whether LNbits itself says whose this address of its own domain is.

    Not when another extension serves `/.well-known/lnurlp`: its `alice` may be another
    person than LNbits' own `alice`, and by default it answers first.
    """
    if not is_own_domain(address) or not settings.ln_address_creation_allowed:
        return False
    name = address.partition("@")[0]
    return not settings.find_extension_redirect(f"/.well-known/lnurlp/{name}", [])


async def local_wallet_of_address(address: str) -> str | None:
    """The wallet behind an address of this instance, if it can be paid internally."""
    if not serves_address(address):
        return None
    name = address.partition("@")[0]
    wallet_id = await get_wallet_id_by_ln_address(name)
    if not wallet_id:
        return None
    facts = (await wallet_facts([wallet_id])).get(wallet_id)
    return wallet_id if facts and facts.is_usable else None
