"""LNbits' surroundings for the tests. Import this before anything of LNbits.

LNbits reads its settings when it is first imported, and serves its files relative
to the working directory. So importing this module makes a run folder, moves
there, and sets the environment; with ``SATMACHINE_TEST_DB=postgres`` it starts a
PostgreSQL server of our own first. Everything is undone when the process ends.

LNbits imports an extension twice: for its migrations, then again for its routes.
A test module has imported it before that. To let all of them see the same
functions, classes and locks, the second import is answered with the modules of
the first (``_SameModules``).
"""

from __future__ import annotations

import atexit
import importlib.abc
import importlib.machinery
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from uuid import uuid4

ROOT = Path(__file__).resolve().parent.parent.parent
# At the end: our crud.py or models.py must never answer for somebody else's.
sys.path.append(str(ROOT))

from dev import installation, postgres  # noqa: E402 (needs the path above)

DATABASE = os.environ.get("SATMACHINE_TEST_DB", "sqlite")
if DATABASE not in ("sqlite", "postgres"):
    raise RuntimeError(f"SATMACHINE_TEST_DB is {DATABASE}, not sqlite or postgres")


class _SameModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports each of our modules once, however often LNbits forgets it."""

    def __init__(self) -> None:
        self._modules: dict[str, ModuleType] = {}
        self._real: dict[str, importlib.abc.Loader] = {}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != installation.EXTENSION_ID:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(
            spec.loader, importlib.machinery.SourceFileLoader
        ):
            return spec
        self._real[fullname] = spec.loader
        spec.loader = self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._modules.get(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        if name in self._modules:
            return
        self._modules[name] = module
        try:
            self._real[name].exec_module(module)
        except BaseException:
            del self._modules[name]
            raise


def _remove(folder: Path) -> None:
    os.chdir(ROOT)
    shutil.rmtree(folder, ignore_errors=True)


RAM = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)
# databases of a few servers, three processes for each of them
ENOUGH_BYTES = 6 << 30


def _use_ram() -> None:
    """Keep what tests write in memory, where there is enough of it.

    SQLite waits for the disk at each commit, and LNbits commits each statement: that is
    most of a test's time on a slow disk. What tests kill are processes, which take
    nothing back that was written; a machine that loses its power is not tried here.
    """
    meminfo = Path("/proc/meminfo")
    if not (RAM.is_dir() and meminfo.exists()):
        return
    found = re.search(r"^MemAvailable: +(\d+) kB", meminfo.read_text(), re.M)
    disk = os.statvfs(RAM)
    free = min(disk.f_bavail * disk.f_frsize, int(found[1]) << 10 if found else 0)
    if free >= ENOUGH_BYTES and os.access(RAM, os.W_OK):
        os.environ["TMPDIR"] = tempfile.tempdir = str(RAM)


_use_ram()
# Short: a Unix socket's path has about a hundred characters.
FOLDER = Path(tempfile.mkdtemp(prefix="smt-")).resolve()
atexit.register(_remove, FOLDER)
FOLDER.chmod(0o755)  # PostgreSQL runs as another user when we are root
installation.lay_out(FOLDER)

POSTGRES: postgres.Postgres | None = None
if DATABASE == "postgres":
    POSTGRES = postgres.start(FOLDER / "pg", durable=False)
    # Before the folder is removed: the last one registered is the first to run.
    atexit.register(POSTGRES.stop)


def new_database() -> str | None:
    """URL of an empty database for one more server; None means its own SQLite."""
    return POSTGRES.ensure_database(f"lnbits_{uuid4().hex}") if POSTGRES else None


for _name in [name for name in os.environ if name.startswith("LNBITS_")]:
    del os.environ[_name]
os.environ.update(installation.environment(FOLDER, new_database()))
os.chdir(FOLDER)
sys.path.append(str(FOLDER / "extensions"))
sys.meta_path.insert(0, _SameModules())

import quick_bolt11  # noqa: E402 (LNbits' settings are read from here on)

quick_bolt11.quicken()
