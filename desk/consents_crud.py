"""SQL of what is asked of those who are owed by a planned sale, and of their answers.

One question is open for a settlement at most: whoever asks holds the ledger lock, and
ends what was asked before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lnbits.db import Connection

from ..base.database import (
    db_time,
    execute,
    fetch_all,
    fetch_models,
    insert_sql,
    row_params,
)
from ..models import Consent

S = "satoshimachine"
OPEN = "open"


async def insert_consent(conn: Connection, consent: Consent) -> None:
    params = row_params(consent)
    await execute(conn, insert_sql("dca_consents", params), params)


async def open_consent(
    conn: Connection, settlement_id: str, now: datetime
) -> Consent | None:
    """What is asked about this settlement and has not lapsed."""
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_consents WHERE settlement_id = :id "  # noqa: S608
        "AND state = :open AND expires_at > :now",
        Consent,
        {"id": settlement_id, "open": OPEN, "now": db_time(now)},
    )
    return found[0] if found else None


async def newest_consent(conn: Connection, settlement_id: str) -> Consent | None:
    """What was asked last about this settlement, whatever became of it."""
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_consents WHERE settlement_id = :id "  # noqa: S608
        "ORDER BY created_at DESC, id DESC LIMIT 1",
        Consent,
        {"id": settlement_id},
    )
    return found[0] if found else None


async def open_settlement_ids(conn: Connection) -> list[str]:
    """Settlements about which something is asked, oldest question first."""
    found = await fetch_all(
        conn,
        f"SELECT settlement_id FROM {S}.dca_consents "  # noqa: S608
        "WHERE state = :open ORDER BY created_at, id",
        {"open": OPEN},
    )
    return [row["settlement_id"] for row in found]


async def end_consents(
    conn: Connection, settlement_id: str, state: str, now: datetime
) -> int:
    """Nothing is asked about this settlement any more; how many questions ended."""
    return await execute(
        conn,
        f"UPDATE {S}.dca_consents SET state = :state, decided_at = :now "  # noqa: S608
        "WHERE settlement_id = :id AND state = :open",
        {"id": settlement_id, "state": state, "now": db_time(now), "open": OPEN},
    )


async def put_answer(
    conn: Connection, consent_id: str, party: str, answer: str, now: datetime
) -> None:
    """What a party says; a no may become a yes while the question is open."""
    await execute(
        conn,
        f"""
        INSERT INTO {S}.dca_consent_answers (consent_id, party, answer, answered_at)
        VALUES (:id, :party, :answer, :now)
        ON CONFLICT (consent_id, party) DO UPDATE
        SET answer = :answer, answered_at = :now
        """,  # noqa: S608
        {"id": consent_id, "party": party, "answer": answer, "now": db_time(now)},
    )


async def answers(conn: Connection, consent_id: str) -> dict[str, str]:
    """party -> accepted or declined."""
    found = await fetch_all(
        conn,
        f"SELECT party, answer FROM {S}.dca_consent_answers "  # noqa: S608
        "WHERE consent_id = :id",
        {"id": consent_id},
    )
    return {row["party"]: row["answer"] for row in found}


async def names_of_clients(conn: Connection, settlement_id: str) -> Mapping[str, Any]:
    """client id -> what the operator calls each LP of this settlement."""
    found = await fetch_all(
        conn,
        f"""
        SELECT c.id, COALESCE(c.username, c.id) AS name FROM {S}.dca_clients c
        WHERE c.id IN (SELECT p.client_id FROM {S}.dca_payments p
            WHERE p.settlement_id = :id)
        """,  # noqa: S608
        {"id": settlement_id},
    )
    return {row["id"]: row["name"] for row in found}
