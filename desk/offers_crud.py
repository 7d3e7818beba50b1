"""SQL of offers to close an LP's balance: each is decided once, by its LP.

An offer is no leg: nothing is debited while it waits. What it would pay is worked out
when it is accepted, from what is left then.
"""

from __future__ import annotations

from datetime import datetime

from lnbits.db import Connection

from ..base.database import db_time, execute, fetch_models, insert_sql, row_params
from ..base.refusals import NotFoundError
from ..models import Offer

S = "satoshimachine"
WAITING = "waiting"
REPLACED = "replaced"


async def insert_offer(conn: Connection, offer: Offer) -> None:
    row = {**row_params(offer), "exchange_rate": str(offer.exchange_rate)}
    await execute(conn, insert_sql("dca_offers", row), row)


async def end_offers(conn: Connection, client_id: str, now: datetime) -> None:
    """No offer to this LP waits any more: another took its place."""
    await execute(
        conn,
        f"UPDATE {S}.dca_offers SET state = :replaced, decided_at = :now "  # noqa: S608
        "WHERE client_id = :client AND state = :waiting",
        {
            "replaced": REPLACED,
            "now": db_time(now),
            "client": client_id,
            "waiting": WAITING,
        },
    )


async def get_offer(conn: Connection, offer_id: str) -> Offer | None:
    found = await fetch_models(
        conn,
        f"SELECT * FROM {S}.dca_offers WHERE id = :id",  # noqa: S608
        Offer,
        {"id": offer_id},
    )
    return found[0] if found else None


async def get_lps_offer(conn: Connection, offer_id: str, lp_user_id: str) -> Offer:
    """An offer to this LP. `NotFoundError` for anybody else's."""
    found = await fetch_models(
        conn,
        f"SELECT o.* FROM {S}.dca_offers o "  # noqa: S608
        f"JOIN {S}.dca_clients c ON c.id = o.client_id "
        "WHERE o.id = :id AND c.user_id = :user",
        Offer,
        {"id": offer_id, "user": lp_user_id},
    )
    if not found:
        raise NotFoundError("There is no such offer to you.")
    return found[0]


async def decide(
    conn: Connection, offer_id: str, state: str, now: datetime, leg_id: str | None
) -> int:
    """Accept or decline an offer that waits and has not lapsed; 1 if it was."""
    return await execute(
        conn,
        f"UPDATE {S}.dca_offers SET state = :state, decided_at = :now, "  # noqa: S608
        "leg_id = :leg WHERE id = :id AND state = :waiting AND expires_at > :now",
        {
            "id": offer_id,
            "state": state,
            "now": db_time(now),
            "leg": leg_id,
            "waiting": WAITING,
        },
    )
