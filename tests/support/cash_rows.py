"""Machines, sales and counts for the tests of the cash book, and what must add up."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from satmachineadmin.base.database import db, execute, fetch_all
from satmachineadmin.cash import ledger, postings
from satmachineadmin.cash.crud import Place
from satmachineadmin.models import Machine, Settlement, utc_now

S = "satoshimachine"


def a_machine() -> Machine:
    return Machine(
        id=urlsafe_short_hash(),
        operator_user_id=urlsafe_short_hash(),
        machine_npub=urlsafe_short_hash(),
        wallet_id=urlsafe_short_hash(),
        created_at=utc_now() - timedelta(days=30),
    )


def a_sale(machine: Machine, at: datetime, fiat: str = "40.00") -> Settlement:
    return Settlement(
        id=urlsafe_short_hash(),
        machine_id=machine.id,
        payment_hash=urlsafe_short_hash(),
        wire_sats=1000,
        fiat_amount=Decimal(fiat),
        fiat_code=machine.fiat_code,
        exchange_rate=1,
        principal_sats=1000,
        fee_sats=0,
        platform_fee_sats=0,
        operator_fee_sats=0,
        tx_type="cash_out",
        dispense_state="awaiting",
        transaction_time=at,
    )


async def add_bays(conn: Connection, machine: Machine, *notes: int) -> None:
    for position, note in enumerate(notes, 1):
        await execute(
            conn,
            f"INSERT INTO {S}.cassette_configs (machine_id, position, denomination, "
            "count) VALUES (:m, :p, :d, 0)",
            {"m": machine.id, "p": position, "d": note},
        )


async def movements(operator: str) -> list[Any]:
    async with db.connect() as conn:
        return await fetch_all(
            conn,
            f"SELECT * FROM {S}.cash_movements WHERE operator_user_id = :o",
            {"o": operator},
        )


async def given_out(settlement: Settlement) -> list[tuple[str, str, int]]:
    """Where the cash of a sale moved: from, to, minor units."""
    async with db.connect() as conn:
        found = await fetch_all(
            conn,
            f"SELECT * FROM {S}.cash_movements WHERE settlement_id = :id",
            {"id": settlement.id},
        )
    return [
        (r["from_place"], r["to_place"], round(float(r["amount"]) * 100)) for r in found
    ]


async def assert_adds_up(operator: str) -> dict[tuple[str, int], tuple[int, int]]:
    """What places hold is the sum of what moved, and nothing came from nowhere: in
    each currency. Returns what is inside, of every currency."""
    held: dict[tuple[str, str, int], tuple[int, int]] = {}
    totals: dict[str, int] = {}
    for row in await movements(operator):
        assert Decimal(str(row["amount"])) > 0
        code, cents = row["currency"], round(float(row["amount"]) * 100)
        for place, sign in ((row["from_place"], -1), (row["to_place"], 1)):
            # the hand is kept by amount
            is_hand = place == ledger.HAND
            note = 0 if is_hand else int(row["denomination"] or 0)
            moved = 0 if is_hand else int(row["notes"] or 0)
            notes, before = held.get((code, place, note), (0, 0))
            held[code, place, note] = (notes + sign * moved, before + sign * cents)
    for (code, _, _), (_, cents) in held.items():
        totals[code] = totals.get(code, 0) + cents
    assert not any(totals.values()), totals
    inside = {k: v for k, v in held.items() if ledger.is_inside(k[1]) and v != (0, 0)}
    async with db.connect() as conn:
        kept = await fetch_all(
            conn,
            f"SELECT currency, place, denomination, SUM(notes) AS notes, "
            f"SUM(cents) AS cents FROM {S}.cash_balances "
            "WHERE operator_user_id = :o GROUP BY currency, place, denomination",
            {"o": operator},
        )
    balances = {
        (r["currency"], r["place"], int(r["denomination"])): (
            int(r["notes"]),
            int(r["cents"]),
        )
        for r in kept
        if r["notes"] or r["cents"]
    }
    assert balances == inside
    return {(place, note): value for (_, place, note), value in inside.items()}


async def count(
    conn: Connection, machine: Machine, name: str, notes: dict[int, int], at: datetime
) -> list[Any]:
    return await postings.post_count(
        conn, Place.of_machine(machine, name), notes, at=at, by="ana"
    )
