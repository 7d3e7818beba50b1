"""The pages: one Vue page behind every address a reader can bookmark, and two
documents to print.

LNbits serves the same shell for each page and the browser's router shows the section:
`satmachineadmin_page_router` answers every address that nothing else of ours has, so it
is put in last. The documents are HTML made here, without scripts: a machine's pairing
sheet for its operator, an LP's statement for the LP.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import pyqrcode
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse
from fastapi.routing import APIRoute
from lnbits.core.views.generic import index
from lnbits.decorators import check_user_exists
from lnbits.helpers import template_renderer
from starlette.routing import Match
from starlette.types import Scope

from .api.cash_plan import plan_answer
from .api.line import PairingAnswer, own_machine, pairing_answer
from .api.page_bundle import LANGUAGES, page_bundle, script_answer, words_bundle
from .api.reference import PREFIX, reference_of
from .api.route import Caller, new_router
from .api.settlements import settlement_detail
from .api.visits import own_visit, visit_answer
from .api.zones import AskedZone, InZone, zone_for
from .base.database import db
from .base.zones import Zone
from .books.statement import lp_statement, period_of, totals_of
from .host.people import User, usernames_of
from .models import utc_now
from .parties.preferences_crud import get_preferences
from .views_api import satmachineadmin_api_router

satmachineadmin_generic_router = new_router()

# Of these beginnings nothing is a page: a mistyped one is a 404, not a shell.
NO_PAGES = ("api", "static", "docs")


class PageRoute(APIRoute):
    """Any address under ours but those of the API and of files."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        path = found.get("path_params", {}).get("path", "")
        if path.partition("/")[0] in NO_PAGES:
            return Match.NONE, {}
        return match, found


satmachineadmin_page_router = APIRouter(route_class=PageRoute)
satmachineadmin_page_router.add_api_route(
    "/{path:path}",
    endpoint=index,
    methods=["GET"],
    response_class=HTMLResponse,
    include_in_schema=False,
)


@satmachineadmin_generic_router.get("/page.js", include_in_schema=False)
async def page_script(request: Request) -> Response:
    """What `static/index.js` loads: every style, template and component at once."""
    return script_answer(request, page_bundle())


@satmachineadmin_generic_router.get("/words/{language}.js", include_in_schema=False)
async def words_script(request: Request, language: str) -> Response:
    """The messages of a language; LNbits takes English where there are none."""
    if language not in LANGUAGES:
        raise HTTPException(
            HTTPStatus.NOT_FOUND, "There are no words of that language."
        )
    return script_answer(request, words_bundle(language))


Reader = Annotated[User, Depends(check_user_exists)]
Language = Annotated[str, Query(alias="lang", max_length=10)]


def pairing_payload(pairing: PairingAnswer) -> str:
    """What the machine scans, on paper as on the screen."""
    return json.dumps(
        {
            "machine_npub": pairing.machine_npub,
            "service_npub": pairing.service_npub,
            "relays": pairing.relays,
            "pairing_code": pairing.pairing_code,
        },
        separators=(",", ":"),
    )


def figure(amount: object, has_comma: bool) -> str:
    """As the reader writes numbers: 1,234,567.00 or 1.234.567,00"""
    text = str(amount)
    whole, dot, cents = text.lstrip("-").partition(".")
    sign = "\u2212" if text.startswith("-") else ""
    written = f"{sign}{int(whole):,}{dot}{cents}"
    return written.translate(POINT_AND_COMMA) if has_comma else written


POINT_AND_COMMA = str.maketrans(".,", ",.")
MONTHS = {
    "en": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(),
    "es": "ene feb mar abr may jun jul ago sep oct nov dic".split(),
}


def day_text(day: date, language: str) -> str:
    """5 Mar 2025: what no reader takes for another day."""
    return f"{day.day} {MONTHS[language][day.month - 1]} {day.year}"


def _print(
    request: Request,
    name: str,
    language: str,
    zone: Zone,
    number_format: str | None = None,
    **context: object,
) -> Response:
    """Every time on the paper is of the reader's zone, which stands on it; numbers are
    as they write them, or as their language does."""
    known = "es" if language.startswith("es") else "en"
    has_comma = (number_format or ("comma" if known == "es" else "point")) == "comma"

    def moment(at: datetime) -> str:
        local = zone.local(at)
        return f"{day_text(local.date(), known)} {local:%H:%M}"

    renderer = template_renderer(["satmachineadmin/templates"])
    renderer.env.filters.update(
        spaced=lambda amount: figure(amount, has_comma),
        moment=moment,
        day=lambda day: day_text(day, known),
    )
    return renderer.TemplateResponse(
        request,
        name,
        {
            "lang": known,
            "zone": zone.name,
            **context,
        },
        # The sheet holds a one-time code, the statement somebody's money.
        headers={"Cache-Control": "no-store"},
    )


@satmachineadmin_generic_router.get(
    "/machines/{machine_id}/pairing-sheet",
    response_class=HTMLResponse,
    include_in_schema=False,
)
async def pairing_sheet(
    request: Request,
    user: Caller,
    machine_id: str,
    zone: InZone,
    language: Language = "en",
) -> Response:
    """The pairing QR on paper, with what the machine's setup asks for."""
    machine = await own_machine(machine_id, user.id)
    pairing = await pairing_answer(machine)
    code = None
    if pairing.pairing_code:
        picture = io.BytesIO()
        pyqrcode.create(pairing_payload(pairing)).svg(
            picture, scale=5, xmldecl=False, svgns=True, omithw=True
        )
        code = picture.getvalue().decode()
    return _print(
        request,
        "pairing-sheet.html",
        language,
        zone,
        machine=machine,
        pairing=pairing,
        code=code,
    )


@satmachineadmin_generic_router.get(
    "/docs/reference", response_class=HTMLResponse, include_in_schema=False
)
async def api_reference(request: Request) -> Response:
    """Every route with its fields, without the internet that LNbits' `/docs` needs."""
    renderer = template_renderer(["satmachineadmin/templates"])
    return renderer.TemplateResponse(
        request,
        "reference.html",
        {"reference": reference_of(request.app.openapi()), "prefix": PREFIX},
    )


GUIDES = Path(__file__).resolve().parent / "docs"
GUIDE_TYPES = {".md": "text/markdown; charset=utf-8", ".png": "image/png"}


@satmachineadmin_generic_router.get("/docs/{name:path}", include_in_schema=False)
async def guide(name: str) -> Response:
    """A page of the guides as it is written, or one of its pictures: they ship with
    the extension, because where a machine stands there may be no internet. No secret
    is in them, and an LP reads before they have a login."""
    path = (GUIDES / name).resolve()
    kind = GUIDE_TYPES.get(path.suffix)
    # What is asked for may climb out of the folder, or name no file at all.
    if kind is None or GUIDES not in path.parents or not path.is_file():
        return PlainTextResponse("There is no such page.", status_code=404)
    return FileResponse(path, media_type=kind)


PLACE_WORDS = {
    "en": {"bay": "Bay", "box": "Cash box", "hand": "Hand", "bays": "A bay"},
    "es": {"bay": "Ranura", "box": "Caja", "hand": "En mano", "bays": "Una ranura"},
}


def place_words(language: str) -> Callable[[str], str]:
    """The names of places of cash: `bay:1` is "Bay 1"."""
    words = PLACE_WORDS["es" if language.startswith("es") else "en"]

    def name(place: str) -> str:
        kind, _, number = place.partition(":")
        return f"{words.get(kind, kind)} {number}".strip()

    return name


def notes_text(notes: Mapping[str, int] | None) -> str:
    """`{"20": 48}` as people write it: 48 x 20."""
    return ", ".join(f"{count} \u00d7 {note}" for note, count in (notes or {}).items())


@satmachineadmin_generic_router.get(
    "/visits/{visit_id}/slip", response_class=HTMLResponse, include_in_schema=False
)
async def visit_slip(
    request: Request,
    user: Caller,
    visit_id: str,
    zone: InZone,
    language: Language = "en",
) -> Response:
    """What was counted in a visit, and by whom, on paper."""
    async with db.connect() as conn:
        visit, machine = await own_visit(conn, visit_id, user.id)
        answer = await visit_answer(conn, visit, machine, user.id)
    names = await usernames_of({x for x in (visit.opened_by, visit.closed_by) if x})
    return _print(
        request,
        "visit-slip.html",
        language,
        zone,
        opened_by=names.get(visit.opened_by),
        closed_by=names.get(visit.closed_by or ""),
        visit=answer,
        machine=machine.name or machine.machine_npub[:12],
        place=place_words(language),
        notes=notes_text,
        unpaid=next((d for d in visit.differences if "unpaid" in d), None),
        now=utc_now(),
    )


@satmachineadmin_generic_router.get(
    "/cash/plan/print", response_class=HTMLResponse, include_in_schema=False
)
async def plan_sheet(
    request: Request,
    user: Caller,
    zone: InZone,
    machines: Annotated[str, Query(max_length=10_000)] = "",
    language: Language = "en",
) -> Response:
    """A round of refills on paper: what to bring and to fetch."""
    plan = await plan_answer(user.id, machines)
    return _print(
        request,
        "refill-plan.html",
        language,
        zone,
        plan=plan,
        names={bay.machine_id: bay.machine for bay in plan.bays},
        place=place_words(language),
        notes=notes_text,
        now=utc_now(),
    )


@satmachineadmin_generic_router.get(
    "/dca/statement", response_class=HTMLResponse, include_in_schema=False
)
async def statement(
    request: Request,
    user: Reader,
    first: Annotated[date | None, Query(alias="from")] = None,
    last: Annotated[date | None, Query(alias="to")] = None,
    tz: AskedZone = None,
    language: Language = "en",
) -> Response:
    """What the reader handed over and received as an LP, day by day of their zone."""
    zone = await zone_for(user.id, tz)
    start, end = period_of(first, last, zone)
    machines = await lp_statement(user.id, start, end, zone)
    async with db.connect() as conn:
        preferences = await get_preferences(conn, user.id)
    return _print(
        request,
        "statement.html",
        language,
        zone,
        reader=user.username or "",
        first=start,
        last=end,
        now=utc_now(),
        number_format=preferences.number_format,
        machines=machines,
        totals=totals_of(machines),
        operators=await usernames_of({x.operator_user_id for x in machines}),
    )


@satmachineadmin_generic_router.get(
    "/settlements/{settlement_id}/receipt",
    response_class=HTMLResponse,
    include_in_schema=False,
)
async def receipt(
    request: Request,
    user: Caller,
    settlement_id: str,
    zone: InZone,
    language: Language = "en",
) -> Response:
    """What a customer is given of one sale; who else is paid of it stands nowhere."""
    one = await settlement_detail(user.id, settlement_id)
    machine = await own_machine(one.machine_id, user.id)
    return _print(request, "receipt.html", language, zone, one=one, machine=machine)


TAX_COLUMNS = ("date", "sats_received", "cost", "currency", "payment_hash")


@satmachineadmin_generic_router.get("/dca/statement.csv", include_in_schema=False)
async def statement_csv(
    user: Reader,
    first: Annotated[date | None, Query(alias="from")] = None,
    last: Annotated[date | None, Query(alias="to")] = None,
    tz: AskedZone = None,
) -> Response:
    """What tax tools read: when, how many sats arrived, what they cost, and by which
    payment; the days of the period are the reader's, each time says its offset."""
    zone = await zone_for(user.id, tz)
    start, end = period_of(first, last, zone)
    machines = await lp_statement(user.id, start, end, zone)
    bought = [
        (line, one.currency)
        for one in machines
        for line in one.lines
        if line.sats and line.kind not in ("outside", "autoforward")
    ]
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(TAX_COLUMNS)
    for line, currency in sorted(bought, key=lambda row: row[0].at):
        at = zone.local(line.at).isoformat(timespec="seconds")
        rows.writerow((at, line.sats, line.cost, currency, line.payment_hash))
    return Response(
        written.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="sats-{start}-{end}.csv"',
            "Cache-Control": "no-store",
        },
    )


# ------------------------------------------------------------------------ put together

satmachineadmin_ext: APIRouter = APIRouter(
    prefix="/satmachineadmin", tags=["Satoshi Machine"]
)
satmachineadmin_ext.include_router(satmachineadmin_generic_router)
satmachineadmin_ext.include_router(satmachineadmin_api_router)
# last: it answers whatever nobody else does
satmachineadmin_ext.include_router(satmachineadmin_page_router)
