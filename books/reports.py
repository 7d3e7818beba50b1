"""SQL of lists: which rows a reader may see of each table, and in which columns.

Guaranteed here: a reader's own id is in the SQL of every list; wallets and addresses
that are not the reader's are cut short by the database, so that neither a filter nor
a sort order tells more than what is shown; autoforward legs are the LP's alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lnbits.db import SQLITE

from ..base.database import db, db_time
from ..ledger.entries import LP_DEPOSITS
from ..models import utc_now
from ..parties.invitations_crud import UNANSWERED_SQL
from ..parties.lps_crud import (
    debited_cents_sql,
    deposited_cents_sql,
    on_the_way_sql,
    received_sql,
)
from .lists import Elsewhere, Fields, Source

S = "satoshimachine"

# A machine that said something this lately is online, is quiet, else offline.
ONLINE = timedelta(minutes=15)
QUIET = timedelta(hours=1)


def machine_elsewhere(machine_id: str) -> Elsewhere:
    """A machine's name, for a search of what is of it."""
    machines = f"SELECT id FROM {S}.dca_machines WHERE {{}}"  # noqa: S608
    return Elsewhere("name", f"{machine_id} IN ({machines})")


def own_machines_sql(is_all: bool) -> str:
    """Ids of the machines whose rows the reader may see (`:me`)."""
    owner = "" if is_all else " WHERE operator_user_id = :me"
    return f"(SELECT id FROM {S}.dca_machines{owner})"  # noqa: S608


def whose(user_id: str, is_all: bool) -> dict[str, Any]:
    """The parameter of `own_machines_sql`: PostgreSQL refuses one that is not used."""
    return {} if is_all else {"me": user_id}


def shortened_sql(column: str) -> str:
    """The first and last four characters; of a short text less."""
    if db.type == SQLITE:
        head, tail = f"substr({column}, 1, 4)", f"substr({column}, -4)"
    else:
        head, tail = f"LEFT({column}, 4)", f"RIGHT({column}, 4)"
    return (
        f"CASE WHEN LENGTH({column}) > 12 THEN {head} || '…' || {tail} "
        f"ELSE substr({column}, 1, 2) || '…' END"
    )


def own_or_short_sql(column: str, own: str) -> str:
    return f"CASE WHEN {own} THEN {column} ELSE {shortened_sql(column)} END"


# --------------------------------------------------------------------------- machines

MACHINE_FIELDS = Fields(
    kinds={
        "id": "text",
        "machine_npub": "text",
        "wallet_id": "text",
        "name": "text",
        "location": "text",
        "fiat_code": "text",
        "is_active": "bool",
        "operator_cash_in_fee_fraction": "fraction",
        "operator_cash_out_fee_fraction": "fraction",
        "payout_interval_minutes": "int",
        "min_payout_sats": "int",
        "max_payout_sats": "int",
        "max_daily_payout_sats": "int",
        "silent_after_minutes": "int",
        "low_cash_fraction": "fraction",
        "is_paired": "bool",
        "status": "text",
        "last_seen_at": "time",
        "last_settlement_at": "time",
        "platform_cash_in_fee_fraction": "fraction",
        "platform_cash_out_fee_fraction": "fraction",
        "payouts_stopped_reason": "text",
        "created_at": "time",
        "updated_at": "time",
        "balance_sats": "int",
        "free_balance_sats": "int",
        "cash_fiat": "fiat",
        "days_until_empty": "number",
        "operator_name": "text",
        "claimed_npub": "text",
        "bay_capacities": "text",
        "box_capacity": "int",
        "invoice_expiry_minutes": "int",
        "allow_stamped_invoices": "bool",
        "price_check": "bool",
        "market_factor": "fraction",
        "operator_cash_in_fixed_fee": "fiat",
        "operator_cash_out_fixed_fee": "fiat",
        "min_fiat": "fiat",
        "max_fiat": "fiat",
    },
    search=("name", "location", "machine_npub", "fiat_code", "id"),
)
# What LNbits' database knows of a machine, or what is computed: see `with_facts`.
MACHINE_FACTS: dict[str, str] = {
    "balance_sats": "BIGINT",
    "free_balance_sats": "BIGINT",
    "cash_fiat": "DECIMAL(20,2)",
    "days_until_empty": "REAL" if db.type == SQLITE else "DOUBLE PRECISION",
    "operator_name": "TEXT",
}


def machines_source(
    user_id: str, is_all: bool, machine_id: str | None = None
) -> Source:
    """Machines, online, quiet or offline by the age of their last word."""
    now = utc_now()
    columns = {name: f"m.{name}" for name in MACHINE_FIELDS.kinds}
    columns |= dict.fromkeys(MACHINE_FACTS, "NULL")
    columns["allow_stamped_invoices"] = "(COALESCE(m.allow_stamped_invoices, false))"
    columns["status"] = (
        "CASE WHEN m.last_seen_at >= :online_since THEN 'online' "
        "WHEN m.last_seen_at >= :quiet_since THEN 'quiet' ELSE 'offline' END"
    )
    columns["last_settlement_at"] = (
        f"(SELECT MAX(s.transaction_time) FROM {S}.dca_settlements s "  # noqa: S608
        "WHERE s.machine_id = m.id)"
    )
    for direction in ("cash_in", "cash_out"):
        columns[f"platform_{direction}_fee_fraction"] = (
            f"(SELECT super_{direction}_fee_fraction "  # noqa: S608
            f"FROM {S}.super_config WHERE id = 'default')"
        )
    if is_all:
        columns["wallet_id"] = own_or_short_sql(
            "m.wallet_id", "m.operator_user_id = :reader"
        )
    params: dict[str, Any] = {
        "online_since": db_time(now - ONLINE),
        "quiet_since": db_time(now - QUIET),
    }
    params["reader" if is_all else "me"] = user_id
    where = [] if is_all else ["m.operator_user_id = :me"]
    if machine_id is not None:
        where.append("m.id = :machine_id")
        params["machine_id"] = machine_id
    return Source(
        columns=columns,
        tables=f"{S}.dca_machines m",
        where=where,
        params=params,
        key="m.id",
    )


def with_facts(source: Source, facts: Mapping[str, Mapping[str, Any]]) -> Source:
    """The source with `MACHINE_FACTS` by machine id as columns like the others.

    They go to the database as one JSON text, so that it filters and sorts by them:
    on SQLite LNbits' tables are in another file, and no statement reads both.
    """
    if db.type == SQLITE:
        fact = "json_extract(:facts, '$.\"' || m.id || '\".{}')"
    else:
        fact = "(CAST(:facts AS JSONB) -> m.id ->> '{}')"
    columns = {
        name: f"CAST({fact.format(name)} AS {type_})"
        for name, type_ in MACHINE_FACTS.items()
    }
    return replace(
        source,
        columns={**source.columns, **columns},
        params={**source.params, "facts": json.dumps(facts)},
    )


# ---------------------------------------------------------------------------- clients

CLIENT_FIELDS = Fields(
    kinds={
        "id": "text",
        "machine_id": "text",
        "username": "text",
        "status": "text",
        "has_profile": "bool",
        "dca_mode": "text",
        "fixed_mode_daily_limit": "fiat",
        "remaining": "fiat",
        "currency": "text",
        "sats_received": "int",
        "sats_on_the_way": "int",
        "created_at": "time",
        "person": "text",
        "person_machines": "int",
    },
    search=("username", "id", "currency"),
    elsewhere=(machine_elsewhere("c.machine_id"),),
    cash=("remaining",),
    sums=("remaining", "sats_received", "sats_on_the_way"),
    currency="currency",
)


def _clients_and_invited_sql() -> str:
    """LPs, and those who have not said yes: of them nothing is told but their name."""
    return f"""
        (SELECT id, machine_id, user_id, username, status, created_at
         FROM {S}.dca_clients
         UNION ALL
         SELECT id, machine_id, NULL, username, 'invited', created_at
         FROM {S}.dca_invitations
         WHERE {UNANSWERED_SQL} AND expires_at > :now)
        """  # noqa: S608


# The enrolments of one person with one operator: nobody else's say who they are.
_SAME_PERSON = f"""
    FROM {S}.dca_clients x JOIN {S}.dca_machines y ON y.id = x.machine_id
    WHERE x.user_id = c.user_id AND y.operator_user_id = m.operator_user_id
    """


def clients_source(user_id: str, is_all: bool, client_id: str | None = None) -> Source:
    remaining = f"({deposited_cents_sql('c.id')} - {debited_cents_sql('c.id')})"
    preference = (
        f"(SELECT l.{{}} FROM {S}.dca_lp l "  # noqa: S608
        "WHERE l.user_id = c.user_id)"
    )
    where = [f"c.machine_id IN {own_machines_sql(is_all)}"]
    params = {**whose(user_id, is_all), "now": db_time(utc_now())}
    if client_id is not None:
        where.append("c.id = :client_id")
        params["client_id"] = client_id
    return Source(
        columns={
            "id": "c.id",
            "machine_id": "c.machine_id",
            "username": "c.username",
            "status": "c.status",
            "has_profile": (
                f"EXISTS (SELECT 1 FROM {S}.dca_lp l "  # noqa: S608
                "WHERE l.user_id = c.user_id)"
            ),
            "dca_mode": preference.format("default_dca_mode"),
            # the companion extension may have left any text there
            "fixed_mode_daily_limit": preference.format("fixed_mode_daily_limit * 1.0"),
            # minor units to units, exactly to the cent
            "remaining": f"CAST({remaining} AS DECIMAL(20,2)) / 100.0",
            "currency": "m.fiat_code",
            "sats_received": received_sql("c.id"),
            "sats_on_the_way": on_the_way_sql("c.id"),
            "created_at": "c.created_at",
            "person": (
                f"COALESCE((SELECT x.id {_SAME_PERSON} "
                "ORDER BY x.created_at, x.id LIMIT 1), c.id)"
            ),
            "person_machines": (
                f"(SELECT COUNT(DISTINCT x.machine_id) {_SAME_PERSON})"
            ),
        },
        tables=(
            f"{_clients_and_invited_sql()} c "
            f"JOIN {S}.dca_machines m ON m.id = c.machine_id"
        ),
        where=where,
        params=params,
        key="c.id",
    )


# --------------------------------------------------------------------------- deposits

DEPOSIT_FIELDS = Fields(
    kinds={
        "id": "text",
        "client_id": "text",
        "machine_id": "text",
        "username": "text",
        "amount": "fiat",
        "currency": "text",
        "status": "text",
        "notes": "text",
        "reason": "text",
        "created_at": "time",
        "confirmed_at": "time",
        "reversed_at": "time",
        "dispute": "text",
        "dispute_by": "text",
        "dispute_reason": "text",
        "dispute_opened_at": "time",
        "dispute_closed_at": "time",
        "dispute_outcome": "text",
        "reversal": "text",
        "reversal_amount": "fiat",
        "reversal_reason": "text",
        "reversal_at": "time",
        "part_of": "text",
        # what its entries come to: confirmed, less what was taken back
        "booked_amount": "fiat",
    },
    search=("username", "notes", "reason", "currency", "status", "id"),
    elsewhere=(machine_elsewhere("d.machine_id"),),
    cash=("amount",),
    sums=("amount", "booked_amount"),
    currency="currency",
)


def _deposit_columns() -> dict[str, str]:
    columns = {name: f"d.{name}" for name in DEPOSIT_FIELDS.kinds}
    columns["username"] = "c.username"
    # what the answers show as objects is filtered and sorted by its state
    columns["dispute"] = "d.dispute_state"
    columns["reversal"] = "d.reversal_state"
    columns["booked_amount"] = f"""(
        SELECT COALESCE(SUM(-l.fiat_cents), 0) FROM {S}.journal j
        JOIN {S}.journal_lines l ON l.journal_id = j.id
        WHERE j.deposit_id = d.id AND l.account = '{LP_DEPOSITS}') / 100.0
        """  # noqa: S608
    return columns


def deposits_source(
    user_id: str, is_all: bool, deposit_id: str | None = None
) -> Source:
    where = [] if is_all else [f"d.machine_id IN {own_machines_sql(False)}"]
    params = whose(user_id, is_all)
    if deposit_id is not None:
        where.append("d.id = :deposit_id")
        params["deposit_id"] = deposit_id
    return Source(
        columns=_deposit_columns(),
        tables=f"{S}.dca_deposits d",
        where=where,
        params=params,
        key="d.id",
        joins=f"LEFT JOIN {S}.dca_clients c ON c.id = d.client_id",
        joined=("username",),
    )


def lp_deposits_source(user_id: str, deposit_id: str | None = None) -> Source:
    """The LP's own deposits, at every machine."""
    one = {} if deposit_id is None else {"deposit_id": deposit_id}
    return Source(
        columns=_deposit_columns(),
        tables=f"{S}.dca_deposits d JOIN {S}.dca_clients c ON c.id = d.client_id",
        where=["c.user_id = :me", *(["d.id = :deposit_id"] if one else [])],
        params={"me": user_id, **one},
        key="d.id",
    )
