"""SQL of the offers that an LP got: see `reports.py` for what is guaranteed."""

from __future__ import annotations

from typing import Any

from lnbits.db import SQLITE

from ..base.database import db, db_time
from ..models import utc_now
from ..parties.lps_crud import debited_cents_sql, deposited_cents_sql
from .lists import Fields, Source

S = "satoshimachine"

OFFER_FIELDS = Fields(
    kinds={
        "id": "text",
        "client_id": "text",
        "machine_id": "text",
        "machine": "text",
        "status": "text",
        "exchange_rate": "number",
        "remaining": "fiat",
        "currency": "text",
        "amount_sats": "int",
        "reason": "text",
        "payment_id": "text",
        "created_at": "time",
        "expires_at": "time",
        "decided_at": "time",
    },
    search=("machine", "reason", "currency", "status", "id"),
)


def lp_offers_source(user_id: str, offer_id: str | None = None) -> Source:
    """Offers to close the LP's balance, at every machine, the lapsed ones too."""
    number = "REAL" if db.type == SQLITE else "DOUBLE PRECISION"
    remaining = f"({deposited_cents_sql('c.id')} - {debited_cents_sql('c.id')})"
    status = (
        "(CASE WHEN o.state = 'waiting' AND o.expires_at <= :now "
        "THEN 'lapsed' ELSE o.state END)"
    )
    if db.type == SQLITE:
        rate = "CAST(o.exchange_rate AS REAL)"
        sats = f"CAST(MAX({remaining}, 0) * {rate} / 100.0 + 0.5 AS BIGINT)"
    else:
        rate = "CAST(o.exchange_rate AS NUMERIC)"
        sats = f"CAST(FLOOR(GREATEST({remaining}, 0) * {rate} / 100 + 0.5) AS BIGINT)"
    columns = {name: f"o.{name}" for name in OFFER_FIELDS.kinds}
    columns |= {
        "machine": "COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12))",
        "status": status,
        # for sorting and files; what is paid is worked out to the sat when it is taken
        "amount_sats": f"CASE WHEN {status} = 'waiting' THEN {sats} END",
        "exchange_rate": f"CAST(o.exchange_rate AS {number})",
        "remaining": f"CAST({remaining} AS DECIMAL(20,2)) / 100.0",
        "currency": "m.fiat_code",
        "payment_id": "o.leg_id",
    }
    params: dict[str, Any] = {"me": user_id, "now": db_time(utc_now())}
    where = ["c.user_id = :me"]
    if offer_id is not None:
        where.append("o.id = :offer_id")
        params["offer_id"] = offer_id
    return Source(
        columns=columns,
        tables=(
            f"{S}.dca_offers o JOIN {S}.dca_clients c ON c.id = o.client_id "
            f"JOIN {S}.dca_machines m ON m.id = o.machine_id"
        ),
        where=where,
        params=params,
        key="o.id",
    )
