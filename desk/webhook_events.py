"""What is an operator's server told? Found in the rows, after they were committed.

Guaranteed: whatever became true is found, also when nobody looked for a day or the
process died in between: each look reads from where the last one had read all there was
(`read_from`), with an overlap for transactions that took their time, and an event has
one id that follows from what it tells of, so that it is written once. The money path
does nothing for it: no statement of a payment or of a landing is for a webhook.
Not guaranteed: their order, and that each state in between is seen. A sale that was
completed, taken up again and completed anew within seconds is told once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ..base.database import db, from_db_time, transaction
from ..calculations import cents_text
from ..models import utc_now
from . import webhooks_crud as sql
from .attention import GRACE_PERIODS, waiting_items
from .webhooks_crud import Event, Row, Webhook

SETTLEMENT = "settlement.completed"
ATTENTION_OPENED, ATTENTION_CLOSED = "attention.opened", "attention.closed"
VISIT = "visit.closed"
TEST = "webhook.test"
# which actions of the log make a deposit's event
DEPOSITS = {
    "deposit.recorded": ("deposit.create", "deposit.claim"),
    "deposit.confirmed": ("deposit.confirmed",),
    "deposit.cancelled": ("deposit.cancelled",),
    "deposit.reversed": ("deposit.reversed", "deposit.reversal_accepted"),
}
KINDS = (SETTLEMENT, ATTENTION_OPENED, ATTENTION_CLOSED, *DEPOSITS, VISIT)
_OF_ACTION = {action: kind for kind, of in DEPOSITS.items() for action in of}
_FIRST_STATUS = {"deposit.create": "pending", "deposit.claim": "claimed"}

# for so long it is tried to tell an event
LASTS = timedelta(days=1)
# a transaction takes its time, and clocks differ, by this at most
OVERLAP = timedelta(minutes=5)
READ_ON_EVERY = timedelta(minutes=10)
KEPT = timedelta(days=30)
PAGE = 300
# more items of one kind than these are one trouble
MOST_ITEMS = 1_000


def _iso(value: Any) -> str | None:
    at = from_db_time(value)
    return at.isoformat() if at else None


def event_of(
    operator: str,
    kind: str,
    subject_id: str,
    subject_at: datetime,
    data: Mapping[str, Any],
    now: datetime,
) -> Event:
    """An event and the bytes that it is for good. Its id follows from what it tells
    of: a database that was restored tells it again under the same one."""
    told = "\n".join((operator, kind, subject_id, subject_at.isoformat()))
    event_id = "evt_" + hashlib.sha256(told.encode()).hexdigest()[:32]
    body = json.dumps(
        {
            "id": event_id,
            "type": kind,
            "created_at": subject_at.isoformat(),
            "data": data,
        },
        ensure_ascii=False,
    )
    return Event(
        id=event_id,
        operator_user_id=operator,
        kind=kind,
        subject_id=subject_id,
        subject_at=subject_at,
        body=body,
        created_at=now,
        next_try_at=now,
        give_up_at=now + LASTS,
    )


# ------------------------------------------------------------------------ from the rows


def _settlement(row: Row, now: datetime) -> Event:
    as_they_are = (
        *("id", "machine_id", "machine", "payment_hash", "tx_type", "wire_sats"),
        *("principal_sats", "fee_sats", "platform_fee_sats", "operator_fee_sats"),
        *("network_fee_sats", "fiat_code", "exchange_rate", "bitspire_txid"),
    )
    data = {
        **{name: row[name] for name in as_they_are},
        "status": "completed",
        "fiat_amount": cents_text(int(row["cents"])),
        "transaction_time": _iso(row["transaction_time"]),
        "processed_at": _iso(row["processed_at"]),
        "is_test": bool(row["is_test"]),
    }
    at = from_db_time(row["processed_at"]) or now
    return event_of(row["operator_user_id"], SETTLEMENT, row["id"], at, data, now)


def _deposit(row: Row, now: datetime) -> Event:
    after = json.loads(row["after_json"] or "{}")
    action = row["action"]
    data = {
        "id": row["id"],
        "client_id": row["client_id"],
        "machine_id": row["machine_id"],
        "machine": row["machine"],
        # of what was done: a part of a deposit may be taken back
        "amount": str(after.get("amount") or cents_text(int(row["cents"]))),
        "currency": row["currency"],
        "status": after.get("status") or _FIRST_STATUS.get(action),
        "reason": row["reason"],
        "recorded_at": _iso(row["created_at"]),
    }
    at = from_db_time(row["at"]) or now
    kind = _OF_ACTION[action]
    return event_of(row["operator_user_id"], kind, row["entry_id"], at, data, now)


def _visit(row: Row, now: datetime) -> Event:
    data = {
        "id": row["id"],
        "machine_id": row["machine_id"],
        "machine": row["machine"],
        "opened_at": _iso(row["opened_at"]),
        "closed_at": _iso(row["closed_at"]),
        "difference": cents_text(int(row["difference_cents"])),
        "currency": row["fiat_code"],
        "reason": row["reason"],
    }
    at = from_db_time(row["closed_at"]) or now
    return event_of(row["operator_user_id"], VISIT, row["id"], at, data, now)


async def look(webhooks: list[Webhook]) -> int:
    """Write down what is to be told and is not yet; how many events that are. With
    more to come it is to be called again at once."""
    now = utc_now()
    async with db.connect() as conn:
        sales = await sql.settlements_completed(conn, PAGE)
        deposits = await sql.deposits_changed(conn, DEPOSITS, PAGE)
        visits = await sql.visits_closed(conn, PAGE)
    events = [_settlement(row, now) for row in sales]
    events += [_deposit(row, now) for row in deposits]
    events += [_visit(row, now) for row in visits]
    is_all = max(len(sales), len(deposits), len(visits)) < PAGE
    read_from = now - OVERLAP
    is_late = min(w.read_from for w in webhooks) < read_from - READ_ON_EVERY
    if events or (is_all and is_late):
        async with transaction() as conn:
            await sql.write_events(conn, events)
            if is_all:
                await sql.read_on(conn, read_from, now - KEPT)
    return len(events)


# ---------------------------------------------------------------------------- attention


async def look_at_attention(webhook: Webhook, holder: str) -> int:
    """Tell what waits for a person since the last look, and what does no more; how
    many events that are. What is shown as one item is one cause, its sentence may
    change."""
    wanted = webhook.events
    operator = webhook.operator_user_id
    if wanted is not None and not {ATTENTION_OPENED, ATTENTION_CLOSED} & {*wanted}:
        return 0
    present = await _present(operator)
    async with db.connect() as conn:
        known = await sql.causes_of(conn, operator)
    if present.keys() == known.keys():
        return 0
    now = utc_now()
    async with transaction() as conn:
        if not await sql.claim_causes(conn, operator, holder):
            return 0
        known = await sql.causes_of(conn, operator)
        opened = {k: item for k, item in present.items() if k not in known}
        closed = {k: item for k, item in known.items() if k not in present}
        told = [(ATTENTION_OPENED, opened), (ATTENTION_CLOSED, closed)]
        events = [
            event_of(operator, kind, cause, now, json.loads(item), now)
            for kind, causes in told
            for cause, item in causes.items()
            if wanted is None or kind in wanted
        ]
        await sql.write_causes(conn, operator, now, opened, list(closed))
        await sql.write_events(conn, events)
    return len(events)


async def _present(operator: str) -> dict[str, str]:
    """What waits for this operator now: cause -> item, as it is told. A wallet may be
    short for a moment between two payments."""
    now = utc_now()
    found: dict[str, str] = {}
    for cause, item in await waiting_items(operator, MOST_ITEMS):
        since = item.since or now
        if since > now - GRACE_PERIODS.get(item.kind, timedelta(0)):
            continue
        shown = item.dict(exclude={"operator_name"})
        shown["since"] = item.since.isoformat() if item.since else None
        found[cause] = json.dumps(shown, ensure_ascii=False, sort_keys=True)
    return found
