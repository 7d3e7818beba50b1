"""The pages: one Vue page behind every address a reader can bookmark.

LNbits serves the same shell for each of them and the browser's router shows
the section, so an address missing here works by clicking and is a 404 on
reload.
"""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from lnbits.core.views.generic import index

satmachineadmin_generic_router = APIRouter()

PAGES = (
    "/",
    "/overview",
    "/machines",
    "/machines/{machine_id}",
    "/settlements",
    "/settlements/{settlement_id}",
    "/payments",
    "/lps",
    "/lps/{client_id}",
    "/splits",
    "/log",
    "/dca",
    "/platform",
)

for page in PAGES:
    satmachineadmin_generic_router.add_api_route(
        page,
        endpoint=index,
        methods=["GET"],
        response_class=HTMLResponse,
        include_in_schema=False,
    )
