"""SQL of sums: balances of LPs, overviews of operators and of the platform."""

from __future__ import annotations

from .api_models import BalanceAnswer
from .calculations import cents_text
from .database import db, one
from .lps import NO_CLIENT, debited_cents_sql, deposited_cents_sql
from .refusals import NotFoundError
from .reports import own_machines_sql

S = "satoshimachine"


def sats_sql(client: str, condition: str) -> str:
    """Sats of a client's dca and settlement legs that fulfil the condition."""
    return (
        "COALESCE((SELECT SUM(p.amount_sats) "  # noqa: S608
        f"FROM {S}.dca_payments p WHERE p.client_id = {client} "
        f"AND p.leg_type IN ('dca', 'settlement') AND {condition}), 0)"
    )


RECEIVED = "p.status IN ('completed', 'skipped')"
ON_THE_WAY = "p.status IN ('pending', 'failed')"


async def client_balance(operator_user_id: str, client_id: str) -> BalanceAnswer:
    """The balance of an LP at one of this operator's machines."""
    async with db.connect() as conn:
        row = await one(
            conn,
            f"""
            SELECT m.fiat_code,
                {deposited_cents_sql("c.id")} AS deposited,
                {deposited_cents_sql("c.id", "pending")} AS pending,
                {debited_cents_sql("c.id")} AS debited,
                {sats_sql("c.id", RECEIVED)} AS received,
                {sats_sql("c.id", ON_THE_WAY)} AS on_the_way
            FROM {S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id
            WHERE c.id = :id AND c.machine_id IN {own_machines_sql(False)}
            """,  # noqa: S608
            {"id": client_id, "me": operator_user_id},
        )
    if row is None:
        raise NotFoundError(NO_CLIENT)
    deposited, debited = int(row["deposited"]), int(row["debited"])
    return BalanceAnswer(
        currency=row["fiat_code"],
        deposited=cents_text(deposited),
        pending_deposits=cents_text(int(row["pending"])),
        paid_out=cents_text(debited),
        remaining=cents_text(deposited - debited),
        sats_received=int(row["received"]),
        sats_on_the_way=int(row["on_the_way"]),
    )
