"""Satoshi Machine: the back office of a network of bitSpire Bitcoin ATMs.

LNbits looks for these names: the router, the static files, and what starts and stops
the extension's tasks. At every start it first loads the package for its migrations and
its database alone, throws it away, and loads it again for the router: so what is behind
a name is loaded when LNbits asks for it, or all would be loaded twice.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base.database import db

if TYPE_CHECKING:
    from .tasks import start as satmachineadmin_start
    from .tasks import stop as satmachineadmin_stop
    from .views import satmachineadmin_ext

satmachineadmin_static_files = [
    {
        "path": "/satmachineadmin/static",
        "name": "satmachineadmin_static",
    }
]

_BEHIND = {
    "satmachineadmin_ext": ("views", "satmachineadmin_ext"),
    "satmachineadmin_start": ("tasks", "start"),
    "satmachineadmin_stop": ("tasks", "stop"),
}

__all__ = [
    "db",
    "satmachineadmin_ext",
    "satmachineadmin_start",
    "satmachineadmin_static_files",
    "satmachineadmin_stop",
]


def __getattr__(name: str) -> Any:
    if name not in _BEHIND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _BEHIND[name]
    found = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = found
    return found
