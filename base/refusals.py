"""Why not: the ways in which a request is refused, each with one sentence.

The text is for the person who asked: what is wrong, which value, what to do. It never
repeats a secret, and it never tells one tenant what another one has.
"""

from __future__ import annotations

from http import HTTPStatus


class RefusedError(Exception):
    """A request that changes nothing; its text is the sentence for the caller."""

    status = HTTPStatus.BAD_REQUEST


class BadInputError(RefusedError, ValueError):
    """What was sent makes no sense, whatever the state of things."""


class ForbiddenError(RefusedError):
    """Only somebody else may do this."""

    status = HTTPStatus.FORBIDDEN


class NotFoundError(RefusedError):
    """There is no such row, or it is somebody else's, which looks the same."""

    status = HTTPStatus.NOT_FOUND


class ConflictError(RefusedError):
    """It makes sense, but not in the state that things are in now."""

    status = HTTPStatus.CONFLICT
