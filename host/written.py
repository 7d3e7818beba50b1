"""Has anybody written to the databases since? What lets an idle engine rest.

A position is what says so: two that are equal were read with nothing committed in
between that anybody here cares for, by any process. On SQLite it costs nothing: byte 24
of a file is a counter that each transaction raises as it commits (file format, 1.3.8).
On PostgreSQL it is the snapshot that a statement of the poll saw, which two seconds
ask for anyway. None: it cannot be told (a write-ahead log, which leaves the counter
alone; transactions under way; another database; nobody polls).

The renewal of the lease is no news, nor a price: their commits leave the position as it
was, where they can be told from others' (`no_news`).
Guaranteed: a commit that is news moves the position, whatever is committed beside it.
Not guaranteed: that one that is not leaves it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..base.database import db
from .database import core_db, is_sqlite

# what depends on the clock alone is looked at so often
LONGEST_REST_SECONDS = 600
# what the poll saw is of now for so long
FRESH_SECONDS = 5

_COUNTER = slice(24, 28)
_HEADER_BYTES = 100
# bytes 18 and 19 of the header: 2 where a write-ahead log is used
_MODES = slice(18, 20)
_ROLLBACK_JOURNAL = b"\x01\x01"


class Count:
    """A counter of commits, and the value that it had at the last one that was news."""

    def __init__(self) -> None:
        self._raw = self._news = 0
        # commits of no news since the last reading, and those under way at it
        self._ours = self._open = 0
        self._was_open = False

    @property
    def raw(self) -> int:
        return self._raw

    @contextmanager
    def no_news(self) -> Iterator[Callable[[], None]]:
        """For the length of a transaction of no news; what it gives is called when one
        was committed that changed something, and not for one that did not."""
        self._open += 1
        try:
            yield self._committed
        finally:
            self._open -= 1

    def _committed(self) -> None:
        self._ours += 1

    def read(self, raw: int, *, theirs: int = 0) -> int:
        """The position at this reading; `theirs` is what another process committed
        since the last one that was no news.

        A commit that was under way at either reading may or may not be counted in it:
        then what came in between is news.
        """
        is_certain = not (self._open or self._was_open)
        if raw != self._raw:
            if not is_certain or raw - self._raw != self._ours + theirs:
                self._news = raw
            self._raw = raw
        self._ours, self._was_open = 0, self._open > 0
        return self._news


ours = Count()


class _Poll:
    """What the last poll of PostgreSQL saw."""

    position: int | None = None
    at = -1e9
    # when the lease ran out then
    expires = 0


_poll = _Poll()


def polled(snapshot: str | None, expires: int, *, is_engine: bool) -> None:
    """PostgreSQL's snapshot as a statement of ours saw it, and when the lease ends.

    A renewal by another process is one commit that is no news, if it was the only one.
    """
    first, _, rest = (snapshot or "").partition(":")
    # `7:7:` is all before 7; with others under way it is `5:7:5`
    if rest != f"{first}:":
        _poll.position = None
        return
    was_renewed = not is_engine and expires != _poll.expires
    _poll.position = ours.read(int(first), theirs=int(was_renewed))
    _poll.at, _poll.expires = time.monotonic(), expires


def position() -> object | None:
    """Of our database, where it costs nothing to ask."""
    raw = raw_position()
    return None if raw is None else ours.read(raw)


def raw_position() -> int | None:
    """The counter of our file, with what is no news."""
    found = position_of(Path(db.path)) if is_sqlite() else None
    return None if found is None else int.from_bytes(found, "big")


def renewed_by_another(before: int | None, after: int | None) -> None:
    """The lease was read twice, at these counters, and renewed in between. If that was
    the one commit, it was no news."""
    if before is not None and after is not None and before == ours.raw:
        ours.read(after, theirs=1)


def known() -> object | None:
    """Of our database, as of this moment or of the last poll."""
    if is_sqlite():
        return position()
    is_fresh = time.monotonic() - _poll.at < FRESH_SECONDS
    return _poll.position if is_fresh else None


def of_both() -> object | None:
    """Of our database and of LNbits'."""
    here = known()
    if here is None or not is_sqlite():
        return here  # one database
    there = position_of(Path(core_db.path))
    return None if there is None else (here, there)


# A file that was looked at stays open. The system takes every lock of a process off a
# file as soon as that process closes it anywhere (POSIX), those of SQLite in the middle
# of a commit too, and another process would write into it ("How To Corrupt An SQLite
# Database File", 2.2).
_files: dict[Path, tuple[tuple[int, int], int]] = {}


def position_of(path: Path) -> bytes | None:
    """The counter of a SQLite file; None if it cannot be read, or tells nothing."""
    try:
        header = os.pread(_file(path), _HEADER_BYTES, 0)
    except OSError:
        return None
    if header[_MODES] != _ROLLBACK_JOURNAL:
        return None
    return header[_COUNTER]


def _file(path: Path) -> int:
    """The file that is at this path now, for reading; another one may have been put
    there, and the one before is closed once it is nowhere any more."""
    there = os.stat(path)
    which = (there.st_dev, there.st_ino)
    known, number = _files.get(path, (None, -1))
    if known == which:
        return number
    if known and not os.fstat(number).st_nlink:
        os.close(number)
    number = os.open(path, os.O_RDONLY)
    opened = os.fstat(number)
    _files[path] = (opened.st_dev, opened.st_ino), number
    return number


class Rest:
    """Whether a loop that found nothing to do may leave its next turns out.

    What is looked at some time after it was written, as others must have come to their
    end with it, is so as long as the loop begins to rest that much later.
    """

    def __init__(self, quiet_seconds: float = 0) -> None:
        self._quiet_seconds = quiet_seconds
        self._position: object | None = None
        self._seen: object | None = None
        self._seen_at = 0.0
        self._until = 0.0

    def may_go_on(self, position: object | None) -> bool:
        return (
            position is not None
            and position == self._position
            and time.monotonic() < self._until
        )

    def looked(self, position: object | None, *, is_done: bool) -> None:
        """A turn is over; `position` is of before it read anything."""
        now = time.monotonic()
        if position != self._seen:
            self._seen, self._seen_at = position, now
        is_quiet = now - self._seen_at >= self._quiet_seconds
        self._position = position if is_done and is_quiet else None
        self._until = now + LONGEST_REST_SECONDS
