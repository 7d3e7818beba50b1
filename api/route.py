"""How a request comes in and how a refusal goes out: one sentence, and its code.

Every route of ours is a `SentenceRoute`. It turns what FastAPI, pydantic or a lower
layer refuses into `{"detail": "<one sentence>"}` with 400, 403, 404 or 409, and asks
for a row by an id that no database could hold with a 404.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from inspect import cleandoc
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from lnbits.core.models import Account
from lnbits.decorators import check_account_exists, check_super_user
from pydantic import BaseModel, Field
from starlette.routing import compile_path, get_name

from ..base.acting import act, one_request
from ..base.refusals import ForbiddenError, NotFoundError, RefusedError
from ..parties import staff_crud
from .rights import OWN, roles_of


class Refusal(BaseModel):
    """What an error answers."""

    detail: str = Field(..., description="one sentence for the person who asked")


_MEANINGS = {
    400: "Bad input; the sentence says which field, and why.",
    401: "Nobody is logged in.",
    403: "Not allowed: the extension is not enabled for the user, or only the super "
    "user may do this.",
    404: "No such row, or it is somebody else's.",
    409: "It conflicts with the present state.",
}


def refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what every route may say, and `codes`.

    400 is among them: LNbits' login by `usr` is an id, or it is bad input.
    The default keeps FastAPI from documenting its own 422, which is never sent.
    """
    answers: dict[int | str, dict[str, Any]] = {
        code: {"model": Refusal, "description": _MEANINGS[code]}
        for code in sorted({400, 401, 403, *codes})
    }
    answers["default"] = {
        "model": Refusal,
        "description": "LNbits' own refusals, such as too many requests (429).",
    }
    return answers


# What FastAPI's `include_router` takes over from a route into the next.
_READ_WHERE_INCLUDED = (
    "response_model",
    "status_code",
    "summary",
    "response_description",
    "deprecated",
    "operation_id",
    "response_model_include",
    "response_model_exclude",
    "response_model_by_alias",
    "response_model_exclude_unset",
    "response_model_exclude_defaults",
    "response_model_exclude_none",
    "include_in_schema",
    "response_class",
    "callbacks",
    "openapi_extra",
    "generate_unique_id_function",
)


class SentenceRoute(APIRoute):
    """A route whose refusals are one sentence each, built when it is first asked.

    FastAPI builds a route where it is declared, and anew for every router it is
    included in and for the app: four times, each with copies of its models, which
    was most of what LNbits needed longer, and larger, to start with us. Here the
    declaration is kept, and what is asked for beyond it builds the route, once: its
    first request, or whoever reads LNbits' `/docs`.
    """

    def __init__(
        self, path: str, endpoint: Callable[..., Any], **declared: Any
    ) -> None:
        self._declared: dict[str, Any] | None = declared
        self.path = path
        self.endpoint = endpoint
        self.name = declared.get("name") or get_name(endpoint)
        self.methods = {method.upper() for method in declared.get("methods") or ["GET"]}
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)
        for named in _READ_WHERE_INCLUDED:
            setattr(self, named, declared[named])
        self.tags = declared["tags"] or []
        self.dependencies = list(declared["dependencies"] or [])
        self.responses = declared["responses"] or {}
        self.description = declared["description"] or cleandoc(endpoint.__doc__ or "")

    def __getattr__(self, name: str) -> Any:
        """What only a built route has."""
        declared = self.__dict__.get("_declared")
        if declared is None or name.startswith("__"):
            raise AttributeError(name)
        self._declared = None
        super().__init__(self.path, self.endpoint, **declared)
        return getattr(self, name)

    def get_route_handler(
        self,
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            if any(not _is_storable(v) for v in request.path_params.values()):
                raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such row.")
            try:
                with one_request():
                    return await handler(request)
            except RequestValidationError as exc:
                # Not "from exc": what was sent may be a secret, and would be logged.
                raise HTTPException(
                    HTTPStatus.BAD_REQUEST, sentence_of(exc.errors())
                ) from None
            except RefusedError as exc:
                raise HTTPException(exc.status, str(exc)) from exc

        return answer


def _is_storable(value: Any) -> bool:
    text = str(value)
    return "\x00" not in text and text.isprintable() and len(text) <= 200


def sentence_of(errors: Sequence[Any]) -> str:
    """The first of pydantic's errors as a sentence about the field it is in."""
    error = errors[0]
    if error["type"] == "json_invalid":
        return "The body is not valid JSON."  # FastAPI's own: it has no field
    where = [part for part in error["loc"] if part not in ("body", "query", "path")]
    names = [part for part in where if isinstance(part, str) and part != "__root__"]
    name = names[-1] if names else "The body"
    row = next((f"Number {p + 1}: " for p in where if isinstance(p, int)), "")
    return row + _predicate(name, error["type"], error["msg"])


def _predicate(name: str, kind: str, message: str) -> str:
    if kind == "value_error":
        return message  # a sentence of ours
    known = {
        "value_error.missing": "is missing",
        "type_error.none.not_allowed": "must not be null",
        "value_error.boolean": "must be true or false",
        "type_error.bool": "must be true or false",
        "value_error.strictboolean": "must be true or false",
        "type_error.integer": "must be a whole number",
        "type_error.list": "must be a list",
        "type_error.dict": "must be a JSON object",
        "value_error.datetime": "must be a time like 2025-01-31T12:00:00Z",
    }
    if kind in known:
        return f"{name} {known[kind]}."
    return f"{name}: {message}."


def new_router() -> APIRouter:
    """A router for one part of the API; `views_api.py` puts them together."""
    return APIRouter(route_class=SentenceRoute)


# ------------------------------------------------------------------ who is asking

Session = Annotated[Account, Depends(check_account_exists)]
SELF = "self"


async def caller(request: Request, account: Session) -> Account:
    """Who asks; or the operator for whom they work, within their role.

    Chosen by the header `X-Acting-For` or `?acting_for=` (`self`: for nobody else), or
    by itself for who owns no machine and works for just one operator. What comes back
    has the operator's id: the ownership in the SQL is theirs. `acting()` knows the
    person.
    """
    route = _named(request)
    roles = roles_of(route)
    if roles == OWN:
        return account
    headers, query = request.headers, request.query_params
    chosen = headers.get("x-acting-for") or query.get("acting_for")
    staff = await _membership(account.id, chosen, bool(roles))
    if staff is None:
        return account
    if staff.role not in roles:
        raise ForbiddenError("Your role does not include this.")
    who = staff.acting
    for asked in (request.path_params, query):
        machine_id = asked.get("machine_id")
        if machine_id and not who.may_see(machine_id):
            raise NotFoundError("There is no such machine of yours.")
    act(who)
    await staff_crud.note_seen(staff)
    operator = {"id": who.operator, "is_super_user": False, "is_admin": False}
    return account.copy(update=operator)


def _named(request: Request) -> str:
    """The route as `rights.py` names it."""
    path = request.scope["route"].path
    _, is_api, below = path.partition("/api/v1")
    if is_api:
        return f"{request.method} {below}"
    return f"PAGE {path.removeprefix('/satmachineadmin')}"


async def _membership(
    user_id: str, chosen: str | None, is_open: bool
) -> staff_crud.Staff | None:
    """The row by which this person acts, or None: for themselves."""
    if chosen == SELF:
        return None
    found = await staff_crud.works_for(user_id)
    if chosen:
        for staff in found:
            if staff.id == chosen:
                return staff
        raise ForbiddenError("You do not work for this operator, or no more.")
    if len(found) != 1 or not is_open or await staff_crud.owns_a_machine(user_id):
        return None
    return found[0]


Caller = Annotated[Account, Depends(caller)]
Super = Annotated[Account, Depends(check_super_user)]

MachineId = Annotated[str, Path(description="a machine of yours")]
ClientId = Annotated[str, Path(description="an LP enrolled at a machine of yours")]
DepositId = Annotated[str, Path(description="a deposit at a machine of yours")]
SettlementId = Annotated[str, Path(description="a settlement of a machine of yours")]


def acts_as_super(account: Account) -> bool:
    """Whether this is the super, by LNbits' own test: the id alone is no proof."""
    return account.is_super_user and account.has_password


async def all_or_own(
    account: Caller,
    scope: Annotated[
        str | None, Query(description="`all`: everybody's rows, for the super user")
    ] = None,
) -> Scope:
    """Whose rows a list shows: the caller's, or everybody's for the super."""
    if not scope:
        return Scope(user_id=account.id, is_all=False)
    if scope != "all":
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "scope must be all, or be left out."
        )
    if not acts_as_super(account):
        raise ForbiddenError("Only the super user may see everybody's rows.")
    return Scope(user_id=account.id, is_all=True)


class Scope(BaseModel):
    """Whose rows are asked for."""

    user_id: str
    is_all: bool


InScope = Annotated[Scope, Depends(all_or_own)]


def named_fields(body: BaseModel, nullable: Sequence[str] = ()) -> dict[str, Any]:
    """The fields a PUT names, with their values. 400 for a null where none may be.

    An empty text in a field that may be null is none.
    """
    named = {k: v for k, v in body.dict().items() if k in body.__fields_set__}
    for key in nullable:
        if named.get(key) == "":
            named[key] = None
    for key, value in named.items():
        if value is None and key not in nullable:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"{key} must not be null.")
    return named
