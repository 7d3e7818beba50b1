"""Everything that answers under our address, for LNbits."""

from fastapi import APIRouter

from .views import satmachineadmin_generic_router, satmachineadmin_page_router
from .views_api import satmachineadmin_api_router

satmachineadmin_ext: APIRouter = APIRouter(
    prefix="/satmachineadmin", tags=["Satoshi Machine"]
)
satmachineadmin_ext.include_router(satmachineadmin_generic_router)
satmachineadmin_ext.include_router(satmachineadmin_api_router)
# last: it answers whatever nobody else does
satmachineadmin_ext.include_router(satmachineadmin_page_router)
