"""Signing what is sent to an operator's server, so that it can tell us from others.

The header is `t=<seconds since 1970>,v1=<hex>`, with one `v1` for each secret that is
in force: HMAC-SHA256 under the secret over the seconds, a point and the body's very
bytes. The time is signed with it, so that an old call cannot be sent again as new.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"


def new_secret() -> str:
    """256 bits that nobody else knows."""
    return PREFIX + secrets.token_urlsafe(32)


def signature_header(keys: Sequence[str], at: int, body: bytes) -> str:
    """The header's value for a body that is sent at `at`."""
    signed = b"%d." % at + body
    marks = [hmac.new(k.encode(), signed, hashlib.sha256).hexdigest() for k in keys]
    return ",".join([f"t={at}", *(f"v1={mark}" for mark in marks)])
