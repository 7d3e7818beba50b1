"""Whose words are these? The service key of this LNbits instance.

Guaranteed: made once, however many processes start at the same time; kept encrypted,
as an nsec; never returned, and never replaced unless the super says so: a key that
cannot be decrypted (the auth secret of LNbits was changed) stays where it is, nothing
new is made, and health tells.
Not guaranteed: secrecy from whoever can read both the database and LNbits' auth secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from lnbits.helpers import decrypt_internal_message, encrypt_internal_message
from loguru import logger

from ..base.audit import write_audit
from ..base.database import transaction
from ..base.refusals import ConflictError
from ..models import utc_now
from . import crud as line_crud
from .nostr import ServiceKey, hex_of, npub_of

OLD_KEY_DAYS = 30

UNREADABLE = (
    "The service key in the database cannot be decrypted: LNbits' auth secret was "
    "changed. Put the old secret back, or make a new key (machines then pair again)."
)


@dataclass(frozen=True)
class KeyRing:
    """The keys this instance answers for. `current` is None if it cannot be read."""

    current: ServiceKey | None
    current_pubkey: str
    readable: Mapping[str, ServiceKey] = field(default_factory=dict)

    @property
    def npub(self) -> str:
        return npub_of(self.current_pubkey)

    @property
    def problem(self) -> str | None:
        return None if self.current else UNREADABLE

    def for_machine(self, pubkey: str | None) -> ServiceKey | None:
        """The key that a machine knows, if it can still be read; else the current."""
        return self.readable.get(pubkey or "") or self.current


async def key_ring() -> KeyRing:
    """The current key, made now if there never was one, and those retired lately."""
    found = await line_crud.key_rows(utc_now() - timedelta(days=OLD_KEY_DAYS))
    if not found or found[0]["id"] != "current":
        await _make_first_key()
        found = await line_crud.key_rows(utc_now() - timedelta(days=OLD_KEY_DAYS))
    keys = {row["pubkey"]: _decrypted(row) for row in found}
    readable = {pubkey: key for pubkey, key in keys.items() if key}
    current_pubkey = found[0]["pubkey"]
    return KeyRing(readable.get(current_pubkey), current_pubkey, readable)


async def rotate(actor: str, reason: str | None = None) -> KeyRing:
    """A new key; the old one is read for 30 more days. `ConflictError` if another
    rotation came first."""
    ring = await key_ring()
    new = ServiceKey.generate()
    async with transaction() as conn:
        replaced = await line_crud.replace_key(
            conn, ring.current_pubkey, new.pubkey, _encrypted(new)
        )
        if not replaced:
            raise ConflictError("The service key was replaced a moment ago.")
        await write_audit(
            conn,
            actor,
            "nostr.rotate",
            "nostr",
            "default",
            {"service_npub": ring.npub},
            {"service_npub": new.npub},
            reason,
        )
    logger.info(f"satmachineadmin: the service key is {new.npub} now")
    return await key_ring()


async def revoke(
    actor: str, npub: str | None = None, reason: str | None = None
) -> KeyRing:
    """A retired key, or all of them, is refused now and not only after 30 days.
    `ConflictError` for the key in use, and where there is none to revoke."""
    ring = await key_ring()
    pubkey = None if npub is None else hex_of(npub)
    if pubkey == ring.current_pubkey:
        raise ConflictError("This is the key in use: make a new one first.")
    async with transaction() as conn:
        gone = await line_crud.revoke_retired(conn, pubkey)
        if not gone:
            raise ConflictError("There is no old service key to revoke.")
        await write_audit(
            conn,
            actor,
            "nostr.revoke",
            "nostr",
            "default",
            {"service_npub": ", ".join(npub_of(key) for key in gone)},
            None,
            reason,
        )
    return await key_ring()


async def _make_first_key() -> None:
    key = ServiceKey.generate()
    await line_crud.insert_key_unless_there(key.pubkey, _encrypted(key))


def _encrypted(key: ServiceKey) -> str:
    # an nsec and not hex: LNbits' helper does not round-trip 64 characters
    encrypted = encrypt_internal_message(key.nsec())
    if not encrypted or _decrypt(encrypted) != key.nsec():
        raise RuntimeError("LNbits cannot encrypt the service key.")
    return encrypted


def _decrypt(encrypted: str) -> str | None:
    try:
        return decrypt_internal_message(encrypted)
    except (ValueError, IndexError):
        return None


def _decrypted(row: Mapping[str, Any]) -> ServiceKey | None:
    """The key of a row, if what comes out is the secret of the row's public key."""
    try:
        key = ServiceKey(_decrypt(row["nsec_encrypted"]) or "")
    except ValueError:
        return None
    return key if key.pubkey == hex_of(row["pubkey"]) else None
