"""Has anybody written to the database file since? What lets an idle engine rest.

SQLite only, where a question costs a connection and the answer nothing: byte 24 of the
file is a counter that each transaction raises as it commits (file format, 1.3.8).
Guaranteed: if the answer is the same as before, nothing was committed in between, by
any process. Not guaranteed: that something was, if it is not. None: it cannot be told
(another database; a write-ahead log, which leaves the counter alone).
"""

from __future__ import annotations

import time
from pathlib import Path

from ..base.database import db
from .database import is_sqlite

# what depends on the clock alone is looked at so often
LONGEST_REST_SECONDS = 600

_COUNTER = slice(24, 28)
_HEADER_BYTES = 100
# bytes 18 and 19 of the header: 2 where a write-ahead log is used
_MODES = slice(18, 20)
_ROLLBACK_JOURNAL = b"\x01\x01"


def position() -> bytes | None:
    """The counter of our file now."""
    return position_of(Path(db.path)) if is_sqlite() else None


def position_of(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return None
    if header[_MODES] != _ROLLBACK_JOURNAL:
        return None
    return header[_COUNTER]


class Rest:
    """Whether a loop that found nothing to do may leave its next turns out."""

    def __init__(self) -> None:
        self._position: bytes | None = None
        self._until = 0.0

    def may_go_on(self, position: bytes | None) -> bool:
        return (
            position is not None
            and position == self._position
            and time.monotonic() < self._until
        )

    def looked(self, position: bytes | None, *, is_done: bool) -> None:
        """A turn is over; `position` is of before it read anything."""
        self._position = position if is_done else None
        self._until = time.monotonic() + LONGEST_REST_SECONDS
