"""LNbits' users: who is the super user, what they call themselves, who sees us."""

from __future__ import annotations

from lnbits.settings import settings


def super_user() -> str:
    """The user id of LNbits' super user; empty while there is none."""
    return settings.super_user or ""
