"""Which process is this, and is that one gone? By names that no two processes share.

A name is `boot id : pid namespace : pid : start time`, all of Linux' /proc. Code that
LNbits loads again in the running process, as an upgrade does, adds `:2`, `:3`: what was
loaded before may be in the middle of a payment, and is somebody else.

Guaranteed: `is_gone` is True only for a process of the same boot and namespace that
runs no more. Not guaranteed: that it tells of one elsewhere, or of any where there is
no /proc (macOS, some sandboxes): names are random there, nobody is ever called gone,
and only the time of a lease says that its holder may be.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
# of the fields behind the command's name: the state is the first, the start the 20th
_STATE, _STARTED = 0, 19
# has ended, and nobody has asked yet how
_ENDED = ("Z", "X")
# what was loaded in this process, for the code that is loaded next
_LOADS = "SATMACHINEADMIN_LOADS"


class Place(NamedTuple):
    """Where a process id means one process."""

    boot: str
    namespace: str


class Seen(NamedTuple):
    started: str
    has_ended: bool


def _here() -> Place | None:
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink(PROC / "self/ns/pid").strip("pid:[]")
        # a /proc of another namespace would tell of other processes
        is_ours = os.readlink(PROC / "self") == str(os.getpid())
    except OSError:
        return None
    return Place(boot, namespace) if is_ours else None


def _look_at(pid: int) -> Seen | None:
    """What /proc says of a process; None if it says nothing."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # the command's name is in brackets, and may have any of them in it
    fields = stat.rpartition(")")[2].split()
    return Seen(fields[_STARTED], fields[_STATE] in _ENDED)


def name_of(pid: int) -> str | None:
    """The name of a process of this boot and namespace; None if it cannot be told."""
    here, seen = _here(), _look_at(pid)
    if here is None or seen is None:
        return None
    return f"{here.boot}:{here.namespace}:{pid}:{seen.started}"


def new_name() -> str:
    """What this code calls itself in this process: asked once, as it is loaded."""
    pid = os.getpid()
    name = name_of(pid)
    if name is None:
        return uuid.uuid4().hex
    of, _, count = os.environ.get(_LOADS, "").partition(":")
    # a child has its parent's environment
    loads = int(count) + 1 if of == str(pid) else 1
    os.environ[_LOADS] = f"{pid}:{loads}"
    return name if loads == 1 else f"{name}:{loads}"


def is_gone(name: str | None) -> bool:
    """Whether the process of that name has surely ended. Asks the kernel, and nobody
    else: it may be asked every second."""
    parts = (name or "").split(":")
    here = _here()
    if here is None or len(parts) < 4 or (parts[0], parts[1]) != here:
        return False
    pid, started = parts[2], parts[3]
    if not pid.isdecimal() or int(pid) == 0:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's: it lives, or another has its number
    except OverflowError:
        return False
    # where others' processes are hidden, nothing is seen, and it may live
    seen = _look_at(int(pid))
    return seen is not None and (seen.has_ended or seen.started != started)
