"""Who did what: the append-only log of human actions on money and configuration.

An entry is written in the transaction of the change it tells of, so that there is
never one without the other. Nothing here updates or deletes, for the super neither.

`actor` is the LNbits user id of a person, or one of the words below. What readers see
of it is in `reports.py`: their own id, and a role for everybody else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash
from pydantic import BaseModel

from ..models import AuditEntry
from .acting import person_behind
from .database import execute, insert_sql, row_params

# Actors that are nobody's login.
ENGINE = "engine"
MACHINE = "machine"

Facts = Mapping[str, Any] | BaseModel | None


def _as_json(facts: Facts) -> str | None:
    if facts is None:
        return None
    plain = facts.dict() if isinstance(facts, BaseModel) else dict(facts)
    return json.dumps(plain, default=_text, ensure_ascii=False, sort_keys=True)


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def changed(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields whose value differs: as they were, and as they are."""
    keys = [k for k in after if before.get(k) != after[k]]
    return {k: before.get(k) for k in keys}, {k: after[k] for k in keys}


async def write_audit(
    conn: Connection,
    actor: str,
    action: str,
    subject_type: str,
    subject_id: str,
    before: Facts = None,
    after: Facts = None,
    reason: str | None = None,
    operator_user_id: str | None = None,
    machine_id: str | None = None,
    client_user_id: str | None = None,
) -> AuditEntry:
    """Append one entry in the caller's transaction.

    `operator_user_id` and `client_user_id` are who may read it. `before` and `after`
    are shown to them: no user ids and no keys in there. Who works for an operator is
    the actor of what they do with the operator's id.
    """
    entry = AuditEntry(
        id=urlsafe_short_hash(),
        actor=person_behind(actor),
        action=action,
        subject_type=subject_type,
        subject_id=subject_id,
        before_json=_as_json(before),
        after_json=_as_json(after),
        reason=reason,
        operator_user_id=operator_user_id,
        machine_id=machine_id,
        client_user_id=client_user_id,
    )
    params = row_params(entry)
    await execute(conn, insert_sql("dca_audit", params), params)
    return entry
