"""What goes over the line to the machines: keys, signed events, NIP-44 v2, envelopes.

Guaranteed: what `open_event` returns is small, of a kind we speak, addressed to a key
of ours and signed by the author it names; everything else raises `IgnoredError`,
whatever the bytes are. No secret key is in a repr, a log or an error text.
Not guaranteed: that an event comes once, in order or in time. So nothing here remembers
a request, and nothing here decides about money.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from loguru import logger
from pynostr.bech32 import Encoding, bech32_decode, bech32_encode, convertbits
from pynostr.event import Event as SignedEvent
from pynostr.key import PrivateKey

from . import sdk

RPC_KIND = 21000
APP_DATA_KIND = 30078
TELEMETRY_KIND = 30079
KINDS = (RPC_KIND, APP_DATA_KIND, TELEMETRY_KIND)

# The longest NIP-44 payload is 87 472 characters: what is larger cannot be one, and is
# thrown away unread. What is smaller but longer than we allow gets an answer.
MAX_EVENT_BYTES = 100_000
MAX_PLAINTEXT_BYTES = 40_000
# what NIP-44 makes of them: padded to 40 960, with nonce and MAC, in base64
MAX_PAYLOAD = 54_704
MAX_TAGS = 20
MAX_REQUEST_ID_LENGTH = 200

# ----------------------------------------------------------------------------- keys


def _bech32_key(text: str, prefix: str) -> bytes | None:
    """The 32 bytes of an npub or nsec, or None if it is not one."""
    found, data, encoding = bech32_decode(text)
    if found != prefix or encoding != Encoding.BECH32 or data is None:
        return None
    raw = convertbits(data, 5, 8, False)
    return bytes(raw) if raw is not None and len(raw) == 32 else None


def _npub(raw: bytes) -> str:
    return bech32_encode("npub", convertbits(raw, 8, 5), Encoding.BECH32)


def npub_of(text: str) -> str:
    """The npub of a public key given as npub or as 64 hex digits.

    Raises ValueError with a sentence that never repeats what was typed: it may be a
    secret. Whether anybody holds the secret key of it, only a signature can tell.
    """
    key = re.sub("^nostr:", "", text.strip(), flags=re.IGNORECASE).strip()
    if key.lower().startswith(("nsec", "ncryptsec")):
        raise ValueError(
            "This is a SECRET key (nsec): it was not stored. Never give it to anybody; "
            "enter the machine's public key, which begins with npub."
        )
    if re.fullmatch("[0-9a-fA-F]{64}", key):
        return _npub(bytes.fromhex(key))
    raw = _bech32_key(key, "npub")
    if raw is None:
        raise ValueError(
            "This is not a Nostr public key: enter an npub, or its 64 hex digits."
        )
    return _npub(raw)


@lru_cache(maxsize=10_000)
def hex_of(npub: str) -> str:
    """The 64 hex digits of an npub (or of a key that is hex already)."""
    raw = _bech32_key(npub_of(npub), "npub")
    if raw is None:  # npub_of made it
        raise ValueError("This is not a Nostr public key.")
    return raw.hex()


class ServiceKey:
    """A secret key of this instance. Its text and its repr show the public part."""

    def __init__(self, nsec: str) -> None:
        raw = _bech32_key(nsec, "nsec")
        if raw is None:
            raise ValueError("The stored service key is not an nsec.")
        self._key = PrivateKey(raw)
        self._raw = raw
        self.pubkey: str = self._key.public_key.hex()
        self.npub: str = _npub(bytes.fromhex(self.pubkey))

    @classmethod
    def generate(cls) -> ServiceKey:
        return cls(PrivateKey().bech32())

    def nsec(self) -> str:
        """The secret itself: to be encrypted and stored, and for nothing else."""
        return self._key.bech32()

    @cached_property
    def _secret(self) -> sdk.SecretKey:
        return sdk.SecretKey.from_bytes(self._raw)

    def __repr__(self) -> str:
        return f"ServiceKey({self.npub})"

    __str__ = __repr__

    def encrypt(self, pubkey: str, plaintext: str) -> str:
        """NIP-44 v2 to `pubkey` (hex)."""
        return sdk.nip44_encrypt(
            self._secret, sdk.PublicKey.parse(pubkey), plaintext, sdk.Nip44Version.V2
        )

    def decrypt(self, pubkey: str, payload: str) -> str:
        """The plaintext of NIP-44 v2 from `pubkey` (hex).

        Raises LineError: `undecryptable`, or `too_long` above 40 000 bytes.
        """
        if len(payload) > MAX_PAYLOAD:
            raise _too_long()
        try:
            plaintext = sdk.nip44_decrypt(
                self._secret, sdk.PublicKey.parse(pubkey), payload
            )
        except sdk.NostrSdkError as exc:
            raise LineError(
                "undecryptable",
                "The content is not NIP-44 version 2 for this service key.",
            ) from exc
        if len(plaintext.encode()) > MAX_PLAINTEXT_BYTES:
            raise _too_long()
        return plaintext

    def sign(
        self,
        *,
        kind: int,
        content: str,
        tags: list[list[str]],
        created_at: int | None = None,
    ) -> str:
        """A signed event as JSON; dated now unless told."""
        event = SignedEvent(
            content=content,
            kind=kind,
            tags=tags,
            created_at=int(time.time()) if created_at is None else created_at,
        )
        event.sign(self._key.hex())
        return json.dumps(event.to_dict(), separators=(",", ":"), ensure_ascii=False)


# ----------------------------------------------------------------- what comes in


class IgnoredError(ValueError):
    """An event that gets no answer; the text is one word for the counters."""


class LineError(Exception):
    """A refusal that is answered: a code for the machine, a sentence for a person.

    `facts` are further fields of the answer, such as the state a payout is in.
    """

    def __init__(self, code: str, reason: str, **facts: Any) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.facts = facts


def _too_long() -> LineError:
    return LineError(
        "too_long", f"A message may have at most {MAX_PLAINTEXT_BYTES} bytes."
    )


@dataclass(frozen=True)
class Incoming:
    """An event whose signature holds. `to` is the service key named in its `p` tag,
    '' where a kind needs none; `d` the name of a replaceable event."""

    id: str
    pubkey: str
    created_at: int
    kind: int
    content: str
    to: str = ""
    d: str = ""


@dataclass(frozen=True)
class Request:
    rpc: str
    request_id: str | int
    body: dict[str, Any]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def read_json(text: str) -> Any:
    """What a JSON text says, if it can be kept in a database.

    Raises ValueError: not JSON, NaN or Infinity, nested too deeply, or text that a
    database cannot hold (a NUL, half a surrogate pair).
    """
    try:
        value = json.loads(text, parse_constant=_no_constant)
        again = json.dumps(value, ensure_ascii=False, allow_nan=False)
        again.encode()
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    if "\\u0000" in again:
        raise ValueError("a text holds a NUL character")
    return value


def _tag(tags: list[Any], name: str) -> list[str]:
    return [
        tag[1]
        for tag in tags
        if isinstance(tag, list)
        and len(tag) > 1
        and tag[0] == name
        and isinstance(tag[1], str)
    ]


def _addressee(kind: int, tags: list[Any], service_pubkeys: Container[str]) -> str:
    """Whom of us the event is for: named by requests, optional in the rest."""
    for pubkey in _tag(tags, "p"):
        if pubkey in service_pubkeys:
            return pubkey
    if kind == RPC_KIND:
        raise IgnoredError("addressee")
    return ""


def open_event(text: str, service_pubkeys: Container[str]) -> Incoming:
    """Check size, kind, `p` tag and signature, in this order; raises IgnoredError."""
    if len(text) > MAX_EVENT_BYTES or len(text.encode(errors="replace")) > (
        MAX_EVENT_BYTES
    ):
        raise IgnoredError("size")
    try:
        event = read_json(text)
    except ValueError as exc:
        raise IgnoredError("json") from exc
    if not isinstance(event, dict):
        raise IgnoredError("json")
    kind, tags = event.get("kind"), event.get("tags")
    if isinstance(kind, bool) or kind not in KINDS:
        raise IgnoredError("kind")
    if not isinstance(tags, list) or len(tags) > MAX_TAGS:
        raise IgnoredError("tags")
    to = _addressee(kind, tags, service_pubkeys)
    if not _is_signed(event):
        raise IgnoredError("signature")
    return Incoming(
        id=event["id"],
        pubkey=event["pubkey"],
        created_at=event["created_at"],
        kind=kind,
        content=event["content"],
        to=to,
        d=next(iter(_tag(tags, "d")), ""),
    )


def _is_hex(value: Any, length: int) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(f"[0-9a-f]{{{length}}}", value))


def _is_signed(event: dict[str, Any]) -> bool:
    """Whether id and signature are right for everything that the event says.

    By pynostr: nostr-sdk has checked it when it came from a relay, and passing a long
    text into nostr-sdk costs 40 ms of Python for each 90 kB, which a stranger could ask
    for as often as they like.
    """
    has_shape = (
        _is_hex(event.get("id"), 64)
        and _is_hex(event.get("pubkey"), 64)
        and _is_hex(event.get("sig"), 128)
        and type(event.get("created_at")) is int
        and 0 <= event["created_at"] < 2**63
        and isinstance(event.get("content"), str)
        and all(
            isinstance(tag, list) and all(isinstance(part, str) for part in tag)
            for tag in event["tags"]
        )
    )
    if not has_shape:
        return False
    signed = SignedEvent.from_dict(event)
    if signed.id != event["id"]:
        return False
    try:
        return bool(signed.verify())
    except ValueError:
        return False


def read_request(plaintext: str) -> Request:
    """The request in a decrypted kind-21000 event.

    Raises LineError `bad_request`; its facts hold the requestId as far as there is one.
    """
    try:
        message = read_json(plaintext)
    except ValueError as exc:
        raise LineError("bad_request", f"The message is not JSON: {exc}.") from exc
    if not isinstance(message, dict):
        raise LineError("bad_request", "The message is not a JSON object.")
    request_id = message.get("requestId")
    if (
        not isinstance(request_id, str | int)
        or isinstance(request_id, bool)
        or len(str(request_id)) > MAX_REQUEST_ID_LENGTH
    ):
        raise LineError(
            "bad_request",
            f"requestId is missing or longer than {MAX_REQUEST_ID_LENGTH} characters.",
        )
    rpc, body = message.get("rpcName"), message.get("body", {})
    if not isinstance(rpc, str) or not isinstance(body, dict):
        raise LineError(
            "bad_request",
            "rpcName must be text and body a JSON object.",
            requestId=request_id,
        )
    return Request(rpc=rpc, request_id=request_id, body=body)


# ------------------------------------------------------------------ what goes out


def reply_event(key: ServiceKey, request: Incoming, answer: Mapping[str, Any]) -> str:
    """The signed reply to a request, encrypted to the machine that asked."""
    text = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    return key.sign(
        kind=RPC_KIND,
        content=key.encrypt(request.pubkey, text),
        tags=[["p", request.pubkey], ["e", request.id]],
    )


class IgnoredCounts:
    """Counts what was thrown away; writes one line a minute at most."""

    def __init__(self, seconds: float = 60) -> None:
        self.total: Counter[str] = Counter()
        self._unwritten: Counter[str] = Counter()
        self._seconds = seconds
        self._next_line = 0.0

    def note(self, reason: str) -> None:
        self.total[reason] += 1
        self._unwritten[reason] += 1
        now = time.monotonic()
        if now < self._next_line:
            return
        self._next_line = now + self._seconds
        counts = ", ".join(f"{n} x {r}" for r, n in sorted(self._unwritten.items()))
        logger.info(f"satmachineadmin: Nostr events ignored: {counts}")
        self._unwritten.clear()
