"""From a machine's event to the answer it may be given.

Every request is answered from the present state. What asks for money (`invoice`,
`payout`, and what cannot be read well enough to say) is remembered by its event's id
before an ERROR is sent: a copy of it, also one that another process or a slow relay
brings after a restart, gets the same ERROR and nothing else.

Guaranteed: nothing raises out of `answer`; an ERROR to an order for money is committed
before it is returned. None is returned where nothing may be said: the refusal could not
be kept, or the event was acted upon and what became of that is not known here.
Not guaranteed: that the machine hears it. It asks again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from . import calls, payout, verdicts_crud
from .calls import Call
from .keys import KeyRing
from .nostr import Incoming, LineError, Request, read_request

Answer = dict[str, Any]
Handler = Callable[[Call, Mapping[str, Any]], Awaitable[Answer]]

CALLS: dict[str, Handler] = {
    "pair": calls.pair,
    "ping": calls.ping,
    "quote": calls.quote,
    "invoice": calls.invoice,
    "payout": payout.payout,
    "settlement": calls.settlement,
    "dispense": calls.dispense,
}
# What may move money. What cannot be read might have been one of them.
ORDERS = ("invoice", "payout", None)


async def answer(call: Call, ring: KeyRing | None) -> Answer | None:
    """The answer to a machine's request; None if nothing may be said.

    The broad except is the last one on this path: a machine must hear that its request
    failed here, and what failed is logged.
    """
    request: Request | None = None
    try:
        request = _read(call.event, ring)
        result = await _call(call, request)
    except LineError as exc:
        refusal = exc
    except Exception:
        logger.exception(
            f"satmachineadmin: request {call.event.id} of {call.machine.id}"
        )
        refusal = LineError("server_error", "The server failed; repeat the request.")
    else:
        return result | {
            "status": "OK",
            "requestId": request.request_id,
            "server_time": int(time.time()),
        }
    return await _refused(call, request, refusal)


def _read(event: Incoming, ring: KeyRing | None) -> Request:
    key = ring.readable.get(event.to) if ring else None
    if key is None:
        raise LineError("undecryptable", "This service key is no longer read.")
    return read_request(key.decrypt(event.pubkey, event.content))


async def _call(call: Call, request: Request) -> Answer:
    if request.rpc in ORDERS:
        known = await verdicts_crud.get_verdict(call.event.id)
        if known and known.verdict == verdicts_crud.REFUSED:
            raise LineError(known.code or "refused", known.reason or "It was refused.")
    if request.rpc != "pair" and not call.machine.is_paired:
        raise LineError(
            "not_paired", "Pair this machine first: show its QR in the dashboard."
        )
    if request.rpc not in CALLS:
        raise LineError("unknown_rpc", f"There is no call {request.rpc[:40]!r}.")
    return await CALLS[request.rpc](call, request.body)


async def _refused(
    call: Call, request: Request | None, refusal: LineError
) -> Answer | None:
    request_id = refusal.facts.pop("requestId", request.request_id if request else None)
    if (request.rpc if request else None) in ORDERS:
        try:
            is_kept = await verdicts_crud.refuse(
                call.event, call.machine.id, refusal.code, refusal.reason
            )
        except SQLAlchemyError:
            logger.exception(f"satmachineadmin: the refusal of {call.event.id}")
            return None
        if not is_kept:
            return None
    return refusal.facts | error(request_id, refusal)


def error(request_id: str | int | None, refusal: LineError) -> Answer:
    return {
        "status": "ERROR",
        "requestId": request_id,
        "server_time": int(time.time()),
        "code": refusal.code,
        "reason": refusal.reason,
    }
