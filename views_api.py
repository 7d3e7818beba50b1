"""Who may ask: the HTTP API under `/satmachineadmin/api/v1`, put together.

`/super/*` and `/health` are LNbits' super user's. Everything else is any user's who
has the extension enabled, and shows and changes nothing but their own rows: the owner
is in the SQL of every statement, in `registry.py`, `lps.py`, `splits.py`,
`repairs_crud.py` and `reports.py`.
"""

from __future__ import annotations

from fastapi import APIRouter

from . import (
    api_books,
    api_clients,
    api_line,
    api_lp,
    api_machines,
    api_repairs,
    api_settlements,
    api_super,
    api_system,
)

satmachineadmin_api_router = APIRouter(prefix="/api/v1")

PARTS = (
    api_system,
    api_super,
    api_machines,
    api_books,
    api_clients,
    api_settlements,
    api_repairs,
    api_line,
    api_lp,
)

for part in PARTS:
    satmachineadmin_api_router.include_router(part.router)
