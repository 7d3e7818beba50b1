"""Satoshi Machine: the back office of a network of bitSpire Bitcoin ATMs.

LNbits looks for these names: the router, the static files, and what starts and stops
the extension's tasks.
"""

from fastapi import APIRouter

from .base.database import db
from .tasks import start as satmachineadmin_start
from .tasks import stop as satmachineadmin_stop
from .views import satmachineadmin_generic_router, satmachineadmin_page_router
from .views_api import satmachineadmin_api_router

satmachineadmin_ext: APIRouter = APIRouter(
    prefix="/satmachineadmin", tags=["Satoshi Machine"]
)
satmachineadmin_ext.include_router(satmachineadmin_generic_router)
satmachineadmin_ext.include_router(satmachineadmin_api_router)
# last: it answers whatever nobody else does
satmachineadmin_ext.include_router(satmachineadmin_page_router)

satmachineadmin_static_files = [
    {
        "path": "/satmachineadmin/static",
        "name": "satmachineadmin_static",
    }
]

__all__ = [
    "db",
    "satmachineadmin_ext",
    "satmachineadmin_start",
    "satmachineadmin_static_files",
    "satmachineadmin_stop",
]
