"""SQL of webhooks: whose, what they are told, and what came of it.

Guaranteed: an event is written once for what it tells of, whoever looks and however
often; its body never changes after; only the engine is given one to deliver, and what
came of a try is counted on an event that still waited.
Not guaranteed: that an event is delivered once. Whoever dies between the call and its
answer's row calls again, under the same id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from lnbits.db import Connection
from pydantic import BaseModel

from ..base.database import (
    cents_sql,
    db,
    db_time,
    execute,
    execute_many,
    fetch_all,
    fetch_models,
    fetch_one,
    in_list,
    in_lists,
    insert_sql,
    row_params,
)
from ..base.lease import lease_held_sql
from .kinds import MACHINE_NAME

__all__ = ["db"]

S = "satoshimachine"
WAITING, DELIVERED, GIVEN_UP, FAILED = "waiting", "delivered", "given_up", "failed"
Row = Mapping[str, Any]


class Webhook(BaseModel):
    """An operator's, at most one; `events_json` null: all that there are."""

    operator_user_id: str
    url: str
    events_json: str | None = None
    secret: str
    previous_secret: str | None = None
    previous_until: datetime | None = None
    rotated_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    read_from: datetime
    failures: int = 0
    paused_until: datetime | None = None

    @property
    def events(self) -> list[str] | None:
        return None if self.events_json is None else json.loads(self.events_json)


class Event(BaseModel):
    """Something that an operator's server is told, and what came of telling it."""

    id: str
    operator_user_id: str
    kind: str
    subject_id: str
    subject_at: datetime
    body: str
    status: str = WAITING
    attempts: int = 0
    created_at: datetime
    next_try_at: datetime
    give_up_at: datetime
    last_try_at: datetime | None = None
    delivered_at: datetime | None = None
    answer_status: int | None = None
    answer: str | None = None
    seen_at: datetime | None = None


# --------------------------------------------------------------------------- the owner


async def webhook_of(conn: Connection, operator: str) -> Webhook | None:
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_webhooks WHERE operator_user_id = :me",  # noqa: S608
        Webhook,
        {"me": operator},
    )
    return found[0] if found else None


async def all_webhooks(conn: Connection) -> list[Webhook]:
    return await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_webhooks ORDER BY operator_user_id",  # noqa: S608
        Webhook,
    )


async def put_webhook(conn: Connection, webhook: Webhook) -> None:
    params = row_params(webhook)
    changing = [c for c in params if c not in ("operator_user_id", "created_at")]
    sets = ", ".join(f"{c} = excluded.{c}" for c in changing)
    on_conflict = f"ON CONFLICT (operator_user_id) DO UPDATE SET {sets}"
    await execute(conn, insert_sql("dca_webhooks", params, on_conflict), params)


async def remove_webhook(conn: Connection, operator: str) -> None:
    """With all that it was told, and would have been."""
    for table in ("dca_webhook_events", "dca_webhook_causes", "dca_webhooks"):
        await execute(
            conn,
            f"DELETE FROM {S}.{table} WHERE operator_user_id = :me",  # noqa: S608
            {"me": operator},
        )


async def has_machine(conn: Connection, operator: str) -> bool:
    found = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.dca_machines "  # noqa: S608
        "WHERE operator_user_id = :me LIMIT 1",
        {"me": operator},
    )
    return found is not None


async def counts(conn: Connection, operator: str) -> Row:
    """`waiting`, `given_up` (and not looked at), `delivered_at` of the newest."""
    found = await fetch_one(
        conn,
        f"""
        SELECT
            (SELECT COUNT(*) FROM {S}.dca_webhook_events
                WHERE operator_user_id = :me AND status = '{WAITING}') AS waiting,
            (SELECT COUNT(*) FROM {S}.dca_webhook_events
                WHERE operator_user_id = :me AND status = '{GIVEN_UP}'
                AND seen_at IS NULL) AS given_up,
            (SELECT MAX(delivered_at) FROM {S}.dca_webhook_events
                WHERE operator_user_id = :me) AS delivered_at
        """,  # noqa: S608
        {"me": operator},
    )
    return found or {}


async def own_event(conn: Connection, event_id: str, operator: str) -> Event | None:
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_webhook_events "  # noqa: S608
        "WHERE id = :id AND operator_user_id = :me",
        Event,
        {"id": event_id, "me": operator},
    )
    return found[0] if found else None


async def waiting_test(conn: Connection, operator: str, kind: str) -> bool:
    found = await fetch_one(
        conn,
        f"SELECT 1 AS yes FROM {S}.dca_webhook_events "  # noqa: S608
        f"WHERE operator_user_id = :me AND status = '{WAITING}' AND kind = :kind",
        {"me": operator, "kind": kind},
    )
    return found is not None


async def send_again(
    conn: Connection,
    operator: str,
    now: datetime,
    give_up_at: datetime,
    event_id: str | None = None,
) -> int:
    """Let an event wait for its next try, which is now; without an id all that were
    given up, whether they were looked at or not."""
    params: dict[str, Any] = {
        "me": operator,
        "now": db_time(now),
        "give_up": db_time(give_up_at),
    }
    which = f"status = '{GIVEN_UP}'"
    if event_id is not None:
        which, params["id"] = "id = :id", event_id
    changed = await execute(
        conn,
        f"""
        UPDATE {S}.dca_webhook_events SET status = '{WAITING}', attempts = 0,
            next_try_at = :now, give_up_at = :give_up, seen_at = NULL
        WHERE operator_user_id = :me AND {which}
        """,  # noqa: S608
        params,
    )
    if changed:
        await resume(conn, operator)
    return changed


async def resume(conn: Connection, operator: str) -> None:
    await execute(
        conn,
        f"UPDATE {S}.dca_webhooks SET failures = 0, paused_until = NULL "  # noqa: S608
        "WHERE operator_user_id = :me",
        {"me": operator},
    )


async def mark_seen(conn: Connection, operator: str, now: datetime) -> int:
    return await execute(
        conn,
        f"UPDATE {S}.dca_webhook_events SET seen_at = :now "  # noqa: S608
        f"WHERE operator_user_id = :me AND status = '{GIVEN_UP}' AND seen_at IS NULL",
        {"me": operator, "now": db_time(now)},
    )


async def given_up(conn: Connection, operator: str) -> Row | None:
    """What nobody could be told and nobody has looked at: `n`, `since`, `answer`."""
    found = await fetch_one(
        conn,
        f"""
        SELECT COUNT(*) AS n, MIN(give_up_at) AS since, MAX(answer_status) AS status
        FROM {S}.dca_webhook_events
        WHERE operator_user_id = :me AND status = '{GIVEN_UP}' AND seen_at IS NULL
        """,  # noqa: S608
        {"me": operator},
    )
    return found if found and found["n"] else None


# ------------------------------------------------------------------- what is to be told


def _wants(kind: str) -> str:
    """A condition: this webhook is told of events of this kind."""
    return f"(w.events_json IS NULL OR w.events_json LIKE '%\"{kind}\"%')"


async def settlements_completed(conn: Connection, most: int) -> list[Row]:
    """Sales that completed and nobody was told of, of operators who want to be told."""
    return await fetch_all(
        conn,
        f"""
        SELECT w.operator_user_id, s.id, s.machine_id, {MACHINE_NAME}, s.payment_hash,
            s.tx_type, s.wire_sats, s.principal_sats, s.fee_sats,
            s.platform_fee_sats, s.operator_fee_sats, s.network_fee_sats,
            {cents_sql("s.fiat_amount")} AS cents, s.fiat_code, s.exchange_rate,
            s.bitspire_txid, s.transaction_time, s.processed_at, s.is_test
        FROM {S}.dca_webhooks w
        JOIN {S}.dca_machines m ON m.operator_user_id = w.operator_user_id
        JOIN {S}.dca_settlements s ON s.machine_id = m.id
        WHERE s.processed_at >= (SELECT MIN(o.read_from) FROM {S}.dca_webhooks o)
          AND s.processed_at >= w.read_from AND s.processed_at >= w.created_at
          AND s.status = 'completed' AND {_wants("settlement.completed")}
          AND NOT EXISTS (
            SELECT 1 FROM {S}.dca_webhook_events e
            WHERE e.operator_user_id = w.operator_user_id AND e.subject_id = s.id
              AND e.kind = 'settlement.completed' AND e.subject_at = s.processed_at)
        ORDER BY s.processed_at, s.id LIMIT :most
        """,  # noqa: S608
        {"most": most},
    )


async def deposits_changed(
    conn: Connection, kinds: Mapping[str, Iterable[str]], most: int
) -> list[Row]:
    """Entries of the log about deposits that nobody was told of; `kinds` says which
    actions each kind of event is of."""
    params: dict[str, Any] = {"most": most}
    wanted = " OR ".join(
        f"(a.action IN {in_list(f'a{index}_', actions, params)} AND {_wants(kind)})"
        for index, (kind, actions) in enumerate(kinds.items())
    )
    return await fetch_all(
        conn,
        f"""
        SELECT w.operator_user_id, a.id AS entry_id, a.created_at AS at, a.action,
            a.after_json, a.reason, d.id, d.client_id, d.machine_id, {MACHINE_NAME},
            {cents_sql("d.amount")} AS cents, d.currency, d.created_at
        FROM {S}.dca_webhooks w
        JOIN {S}.dca_audit a ON a.operator_user_id = w.operator_user_id
        JOIN {S}.dca_deposits d ON d.id = a.subject_id
        JOIN {S}.dca_machines m ON m.id = d.machine_id
        WHERE a.created_at >= w.read_from AND a.created_at >= w.created_at
          AND a.subject_type = 'deposit' AND ({wanted}) AND NOT EXISTS (
            SELECT 1 FROM {S}.dca_webhook_events e
            WHERE e.operator_user_id = w.operator_user_id AND e.subject_id = a.id)
        ORDER BY a.created_at, a.id LIMIT :most
        """,  # noqa: S608
        params,
    )


async def visits_closed(conn: Connection, most: int) -> list[Row]:
    return await fetch_all(
        conn,
        f"""
        SELECT w.operator_user_id, v.id, v.machine_id, {MACHINE_NAME}, v.opened_at,
            v.closed_at, v.reason, v.difference_cents, m.fiat_code
        FROM {S}.dca_webhooks w
        JOIN {S}.cash_visits v ON v.operator_user_id = w.operator_user_id
        JOIN {S}.dca_machines m ON m.id = v.machine_id
        WHERE v.closed_at >= w.read_from AND v.closed_at >= w.created_at
          AND v.status = 'closed' AND {_wants("visit.closed")} AND NOT EXISTS (
            SELECT 1 FROM {S}.dca_webhook_events e
            WHERE e.operator_user_id = w.operator_user_id AND e.subject_id = v.id)
        ORDER BY v.closed_at, v.id LIMIT :most
        """,  # noqa: S608
        {"most": most},
    )


async def write_events(conn: Connection, events: Sequence[Event]) -> None:
    """Each once: what another process wrote meanwhile stays as it is."""
    params = [row_params(event) for event in events]
    if params:
        sql = insert_sql("dca_webhook_events", params[0], "ON CONFLICT DO NOTHING")
        await execute_many(conn, sql, params)


async def read_on(conn: Connection, read_from: datetime, forget: datetime) -> None:
    """All there was until then was found; what was told long ago is forgotten."""
    await execute(
        conn,
        f"UPDATE {S}.dca_webhooks SET read_from = :at "  # noqa: S608
        "WHERE read_from < :at",
        {"at": db_time(read_from)},
    )
    await execute(
        conn,
        f"DELETE FROM {S}.dca_webhook_events "  # noqa: S608
        f"WHERE status <> '{WAITING}' AND created_at < :before",
        {"before": db_time(forget)},
    )


async def causes_of(conn: Connection, operator: str) -> dict[str, str]:
    """What stands open, as the operator's server knows it: cause -> item."""
    found = await fetch_all(
        conn,
        f"SELECT cause, item_json FROM {S}.dca_webhook_causes "  # noqa: S608
        "WHERE operator_user_id = :me",
        {"me": operator},
    )
    return {row["cause"]: row["item_json"] for row in found}


async def claim_causes(conn: Connection, operator: str, holder: str) -> bool:
    """From here on nobody else compares this operator's causes; False if another
    process is the engine, or the webhook is gone."""
    claimed = await execute(
        conn,
        f"UPDATE {S}.dca_webhooks SET failures = failures "  # noqa: S608
        f"WHERE operator_user_id = :me AND {lease_held_sql()}",
        {"me": operator, "holder": holder},
    )
    return claimed == 1


async def write_causes(
    conn: Connection,
    operator: str,
    now: datetime,
    opened: Mapping[str, str],
    closed: Sequence[str],
) -> None:
    await execute_many(
        conn,
        insert_sql(
            "dca_webhook_causes",
            ("operator_user_id", "cause", "item_json", "opened_at"),
        ),
        [
            {
                "operator_user_id": operator,
                "cause": cause,
                "item_json": item,
                "opened_at": db_time(now),
            }
            for cause, item in opened.items()
        ],
    )
    for listed, params in in_lists(list(closed), {"me": operator}):
        await execute(
            conn,
            f"DELETE FROM {S}.dca_webhook_causes "  # noqa: S608
            f"WHERE operator_user_id = :me AND cause IN {listed}",
            params,
        )


# -------------------------------------------------------------------------- the telling


async def operators_due(
    conn: Connection, now: datetime, holder: str
) -> tuple[list[str], datetime | float | None]:
    """Operators whose server can be told something now, and when the next one can be;
    nothing for a process that is not the engine."""
    ready = (
        "SELECT MIN(e.next_try_at) AS at, w.operator_user_id, w.paused_until "  # noqa: S608
        f"FROM {S}.dca_webhooks w JOIN {S}.dca_webhook_events e "
        "ON e.operator_user_id = w.operator_user_id "
        f"WHERE e.status = '{WAITING}' AND {lease_held_sql()} "
        "GROUP BY w.operator_user_id, w.paused_until"
    )
    found = await fetch_all(conn, ready, {"holder": holder})
    due, soonest = [], None
    limit = db_time(now)
    for row in found:
        at = max(row["at"], row["paused_until"] or row["at"])
        if at <= limit:
            due.append(row["operator_user_id"])
        elif soonest is None or at < soonest:
            soonest = at
    return due, soonest


async def next_due(
    conn: Connection, operator: str, now: datetime, holder: str
) -> tuple[Webhook, Event] | None:
    """What this operator's server is told next: what was never tried before what
    failed, so that one that it will not take keeps no other from it."""
    params = {"me": operator, "now": db_time(now)}
    events = await fetch_models(
        conn,
        f"""
        SELECT e.* FROM {S}.dca_webhook_events e JOIN {S}.dca_webhooks w
            ON w.operator_user_id = e.operator_user_id
        WHERE e.operator_user_id = :me AND e.status = '{WAITING}'
          AND e.next_try_at <= :now
          AND (w.paused_until IS NULL OR w.paused_until <= :now)
          AND {lease_held_sql()}
        ORDER BY e.attempts, e.created_at, e.subject_at, e.id LIMIT 1
        """,  # noqa: S608
        Event,
        {**params, "holder": holder},
    )
    webhook = await webhook_of(conn, operator) if events else None
    return (webhook, events[0]) if webhook else None


async def write_result(conn: Connection, event: Event) -> bool:
    """What came of a try; False if the event is gone, or waits no more."""
    written = await execute(
        conn,
        f"""
        UPDATE {S}.dca_webhook_events SET status = :status, attempts = :attempts,
            next_try_at = :next, last_try_at = :tried, delivered_at = :delivered,
            answer_status = :answer_status, answer = :answer
        WHERE id = :id AND operator_user_id = :me AND status = '{WAITING}'
        """,  # noqa: S608
        {
            "id": event.id,
            "me": event.operator_user_id,
            "status": event.status,
            "attempts": event.attempts,
            "next": db_time(event.next_try_at),
            "tried": db_time(event.last_try_at),
            "delivered": db_time(event.delivered_at),
            "answer_status": event.answer_status,
            "answer": event.answer,
        },
    )
    return written == 1


async def note_failure(
    conn: Connection, operator: str, failures: int, paused_until: datetime | None
) -> None:
    await execute(
        conn,
        f"UPDATE {S}.dca_webhooks SET failures = :n, "  # noqa: S608
        "paused_until = :until WHERE operator_user_id = :me",
        {"me": operator, "n": failures, "until": db_time(paused_until)},
    )


async def hurry(conn: Connection, operator: str, now: datetime) -> None:
    """The server takes calls again: what waited for a later try is told now."""
    await execute(
        conn,
        f"UPDATE {S}.dca_webhook_events SET next_try_at = :now "  # noqa: S608
        f"WHERE operator_user_id = :me AND status = '{WAITING}' "
        "AND next_try_at > :now",
        {"me": operator, "now": db_time(now)},
    )
