"""Who may ask: the HTTP API under `/satmachineadmin/api/v1`, put together.

`/super/*` and `/health` are LNbits' super user's. Everything else is any user's who
has the extension enabled, and shows and changes nothing but their own rows: the owner
is in the SQL of every statement, in the modules named `..._crud` and in `books/`.
"""

from __future__ import annotations

from fastapi import APIRouter

from .api import books as api_books
from .api import cash as api_cash
from .api import cash_books as api_cash_books
from .api import cash_plan as api_cash_plan
from .api import clients as api_clients
from .api import discounts as api_discounts
from .api import erasing as api_erasing
from .api import host as api_host
from .api import insight as api_insight
from .api import invitations as api_invitations
from .api import journal as api_journal
from .api import line as api_line
from .api import lp as api_lp
from .api import lp_insight as api_lp_insight
from .api import machines as api_machines
from .api import notifications as api_notifications
from .api import offers as api_offers
from .api import preferences as api_preferences
from .api import repairs as api_repairs
from .api import search as api_search
from .api import settlements as api_settlements
from .api import staff as api_staff
from .api import super as api_super
from .api import system as api_system
from .api import visits as api_visits
from .api import webhooks as api_webhooks

satmachineadmin_api_router = APIRouter(prefix="/api/v1")

PARTS = (
    api_system,
    api_super,
    api_host,
    api_erasing,
    api_machines,
    api_books,
    api_journal,
    api_insight,
    api_clients,
    api_invitations,
    api_settlements,
    api_repairs,
    api_offers,
    api_line,
    api_lp,
    api_lp_insight,
    api_cash,
    api_visits,
    api_cash_books,
    api_cash_plan,
    api_preferences,
    api_search,
    api_staff,
    api_discounts,
    api_webhooks,
    api_notifications,
)

for part in PARTS:
    satmachineadmin_api_router.include_router(part.router)
