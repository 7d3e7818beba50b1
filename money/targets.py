"""Where sats can go: what a target text means, and whether a wallet may be used.

A target is, in this order of recognition: a Lightning address, an LNURL (either case,
`lightning:` allowed), an LNbits invoice key, an LNbits wallet id. What a target meant
when it was written is checked again when it is paid.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lnurl import LnAddress, LnurlException
from lnurl import decode as lnurl_decode

from ..base.refusals import BadInputError, ConflictError, RefusedError
from ..host.paying import NoReceiverError, SilentReceiverError, ask_receiver
from ..host.wallets import (
    find_wallet,
    local_wallet_of_address,
    serves_address,
    wallet_facts,
)

# servers of addresses that one request asks at a time
ASKED_AT_ONCE = 8
_KEY = re.compile(r"^[0-9a-f]{32}$")
_LNURL = re.compile(r"^(lnurl1[02-9ac-hj-np-z]+|lnurlp://\S+)$")


@dataclass(frozen=True)
class ResolvedTarget:
    """A target as it is kept: normalised text, kind, and the wallet if it is local."""

    target: str
    kind: str  # 'wallet' | 'key' | 'address' | 'lnurl'
    wallet_id: str | None


async def check_own_wallet(wallet_id: Any, user_id: str, what: str) -> str:
    """The wallet id, if it is an ordinary wallet of this user.

    Raises `BadInputError`: unknown, deleted, somebody else's, or shared (a shared
    wallet's payments carry another wallet's id).
    """
    if not isinstance(wallet_id, str) or not wallet_id.strip():
        raise BadInputError(f"{what} must be the id of one of your wallets.")
    wallet_id = wallet_id.strip()
    if "\x00" in wallet_id or not wallet_id.isprintable():
        raise BadInputError(f"{what} must be the id of one of your wallets.")
    facts = (await wallet_facts([wallet_id])).get(wallet_id)
    if facts is None or facts.is_deleted or facts.user_id != user_id:
        raise BadInputError(f"{what} is not a wallet of yours.")
    if not facts.is_usable:
        raise BadInputError(f"{what} is a shared wallet; choose one of your own.")
    return wallet_id


def normalise_address(text: str) -> str:
    """A Lightning address, trimmed and case-folded; `ValueError` if it is none."""
    address = text.strip().removeprefix("lightning:").strip().lower()
    try:
        return str(LnAddress(address))
    except (LnurlException, ValueError) as exc:
        # only what looks like an address is repeated: it may be a pasted secret
        is_shown = "@" in text and "nsec1" not in address
        what = repr(text.strip()[:80]) if is_shown else "This"
        raise ValueError(
            f"{what} is not a Lightning address like name@domain.com."
        ) from exc


def normalise_forwarding(text: str) -> str:
    """A Lightning address or an LNURL, normalised; `ValueError` if it is neither."""
    bare = text.strip()
    if bare.lower().startswith("lightning:"):
        bare = bare[len("lightning:") :].strip()
    if _LNURL.match(bare.lower()):
        return _normalise_lnurl(bare)
    return normalise_address(bare)


async def refusal_of(target: str, must_answer: bool) -> RefusedError | None:
    """Why a normalised address or LNURL is not kept: its own server, or this one, says
    that nobody is paid there. A server that says nothing now is a refusal only for who
    wants it to answer: whoever asks again without it has read why. None for the rest,
    wallets and keys too.
    """
    if not is_outside(target):
        return None
    shown = repr(target[:80]) if "@" in target else "This LNURL"
    if serves_address(target):
        if await local_wallet_of_address(target) is None:
            return BadInputError(
                f"{shown} cannot be paid: nobody on this server has that address."
            )
        return None
    try:
        await ask_receiver(target)
    except NoReceiverError as exc:
        return BadInputError(f"{shown} cannot be paid: {exc}.")
    except SilentReceiverError as exc:
        if must_answer:
            return ConflictError(
                f"{shown} could not be checked: {exc}. Look at it once more; to keep "
                "it unchecked, leave must_answer out."
            )
    return None


async def check_receivers(targets: Iterable[str], must_answer: bool) -> None:
    """Raise the first refusal (`refusal_of`) of these, all asked at once."""
    limit = asyncio.Semaphore(ASKED_AT_ONCE)

    async def ask(target: str) -> RefusedError | None:
        async with limit:
            return await refusal_of(target, must_answer)

    for refusal in await asyncio.gather(*map(ask, dict.fromkeys(targets))):
        if refusal is not None:
            raise refusal


def is_outside(target: str) -> bool:
    """Whether a kept target is an address or LNURL, not a wallet or its key."""
    return "@" in target or bool(_LNURL.match(target.lower()))


async def resolve_target(target: str, *, owner_user_id: str) -> ResolvedTarget:
    """What a split target is, normalised. Raises `ValueError` with one sentence.

    An *admin* key is refused without repeating it: it is a secret that spends, and
    nobody needs it to be paid. `owner_user_id` is who writes the target.
    """
    del owner_user_id  # a target may be anybody's: it only receives
    if not isinstance(target, str):
        raise ValueError("A target must be a text.")
    text = target.strip()
    if text.lower().startswith("lightning:"):
        text = text[len("lightning:") :].strip()
    if not text or not text.isprintable() or len(text) > 2000:
        raise ValueError("A target must not be empty.")
    if "@" in text:
        address = normalise_address(text)
        wallet_id = await local_wallet_of_address(address)
        return ResolvedTarget(address, "address", wallet_id)
    if _LNURL.match(text.lower()):
        return ResolvedTarget(_normalise_lnurl(text), "lnurl", None)
    return await _resolve_key_or_wallet(text.lower())


def _normalise_lnurl(text: str) -> str:
    lnurl = text.lower() if text.lower().startswith("lnurl1") else text
    try:
        lnurl_decode(lnurl)
    except (LnurlException, ValueError) as exc:
        raise ValueError("This LNURL cannot be decoded; copy it once more.") from exc
    return lnurl


async def _resolve_key_or_wallet(text: str) -> ResolvedTarget:
    nobody = (
        "This is no Lightning address, LNURL, invoice key or wallet id of this server."
    )
    if not _KEY.match(text):
        raise ValueError(nobody)
    row = await find_wallet(text)
    if row is None:
        raise ValueError(nobody)
    if row["adminkey"] == text:
        raise ValueError(
            "This is an admin key, a secret that can spend: use the invoice key or "
            "the wallet id, and renew the admin key if others saw it."
        )
    if row["deleted"]:
        raise ValueError("This wallet has been deleted.")
    if (row["wallet_type"] or "lightning") != "lightning":
        raise ValueError("This is a shared wallet; name the wallet that it shares.")
    kind = "wallet" if row["id"] == text else "key"
    return ResolvedTarget(text, kind, row["id"])
