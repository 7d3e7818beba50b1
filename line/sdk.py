"""nostr-sdk, loaded by whoever first uses it: `sdk.Client` is `nostr_sdk.Client`.

It is a library of 22 MiB, which an LNbits whose machines use no line, or that has no
machine yet, need not carry. So it is imported by the first use of a name and not with
the extension; both modules that speak to it take their names from here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nostr_sdk import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    found = globals()[name] = getattr(import_module("nostr_sdk"), name)
    return found
