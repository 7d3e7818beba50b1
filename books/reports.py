"""SQL of lists: which rows a reader may see of each table, and in which columns.

Guaranteed here: a reader's own id is in the SQL of every list; wallets and addresses
that are not the reader's are cut short by the database, so that neither a filter nor
a sort order tells more than what is shown; autoforward legs are the LP's alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lnbits.core.db import db as core_db
from lnbits.db import SQLITE

from ..base.database import db, db_time, fetch_all, in_list
from ..models import utc_now
from ..parties.lps import (
    debited_cents_sql,
    deposited_cents_sql,
    on_the_way_sql,
    received_sql,
)
from .lists import Fields, Kind, Source

S = "satoshimachine"

# A machine that said something this lately is online, is quiet, else offline.
ONLINE = timedelta(minutes=15)
QUIET = timedelta(hours=1)


def day_sql(column: str) -> str:
    """The number of the UTC day since 1970 of a time column."""
    if db.type == SQLITE:
        return f"CAST({column} / 86400 AS BIGINT)"
    return f"CAST(FLOOR(EXTRACT(EPOCH FROM {column}) / 86400) AS BIGINT)"


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


def _own_or_short_sql(column: str, own: str) -> str:
    return f"CASE WHEN {own} THEN {column} ELSE {shortened_sql(column)} END"


async def wallets_of(user_id: str) -> list[str]:
    """Every wallet id of an LNbits user, deleted ones too."""
    async with core_db.connect() as conn:
        found = await fetch_all(
            conn, 'SELECT id FROM wallets WHERE "user" = :user', {"user": user_id}
        )
    return [row["id"] for row in found]


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
        columns["wallet_id"] = _own_or_short_sql(
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
    },
    search=("username", "id", "currency"),
)


def clients_source(user_id: str, is_all: bool, client_id: str | None = None) -> Source:
    remaining = f"({deposited_cents_sql('c.id')} - {debited_cents_sql('c.id')})"
    preference = (
        f"(SELECT l.{{}} FROM {S}.dca_lp l "  # noqa: S608
        "WHERE l.user_id = c.user_id)"
    )
    where = [f"c.machine_id IN {own_machines_sql(is_all)}"]
    params = whose(user_id, is_all)
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
        },
        tables=f"{S}.dca_clients c JOIN {S}.dca_machines m ON m.id = c.machine_id",
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
    },
    search=("username", "notes", "reason", "currency", "status", "id"),
)


def _deposit_columns() -> dict[str, str]:
    columns = {name: f"d.{name}" for name in DEPOSIT_FIELDS.kinds}
    columns["username"] = "c.username"
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


def lp_deposits_source(user_id: str) -> Source:
    """The LP's own deposits, at every machine."""
    return Source(
        columns=_deposit_columns(),
        tables=f"{S}.dca_deposits d JOIN {S}.dca_clients c ON c.id = d.client_id",
        where=["c.user_id = :me"],
        params={"me": user_id},
        key="d.id",
    )


# ------------------------------------------------------------------------ settlements

SETTLEMENT_KINDS: dict[str, Kind] = {
    "id": "text",
    "machine_id": "text",
    "payment_hash": "text",
    "tx_type": "text",
    "status": "text",
    "wire_sats": "int",
    "principal_sats": "int",
    "fee_sats": "int",
    "platform_fee_sats": "int",
    "operator_fee_sats": "int",
    "fee_mismatch_sats": "int",
    "network_fee_sats": "int",
    "fiat_amount": "fiat",
    "fiat_code": "text",
    "exchange_rate": "number",
    "bitspire_txid": "text",
    "bitspire_event_id": "text",
    "error_message": "text",
    "notes": "text",
    "transaction_time": "time",
    "created_at": "time",
    "processed_at": "time",
    "is_test": "bool",
}
SETTLEMENT_FIELDS = Fields(
    kinds=SETTLEMENT_KINDS,
    search=(
        "payment_hash",
        "bitspire_txid",
        "bitspire_event_id",
        "error_message",
        "notes",
        "id",
    ),
)
_DETAIL_KINDS: dict[str, Kind] = {
    **SETTLEMENT_KINDS,
    "retained_sats": "int",
    "loss_sats": "int",
    "refund_sats": "int",
    "dispensed_fiat": "fiat",
    "dispense_state": "text",
    "dispensed_principal_sats": "int",
    "dispensed_fee_sats": "int",
    "stamp_json": "text",
    "wallet_id": "text",
}
SETTLEMENT_DETAIL = Fields(kinds=_DETAIL_KINDS, search=())


def settlements_source(
    user_id: str, is_all: bool, settlement_id: str | None = None
) -> Source:
    """Settlements of the reader's machines. What did not parse is kept as 0 or '' and
    shown as null: a good settlement has a principal above 0."""
    names = SETTLEMENT_KINDS if settlement_id is None else _DETAIL_KINDS
    columns = {name: f"s.{name}" for name in names}
    for name in ("principal_sats", "fiat_amount", "exchange_rate"):
        columns[name] = f"NULLIF(s.{name}, 0)"
    for name in ("fee_sats", "platform_fee_sats", "operator_fee_sats"):
        columns[name] = f"CASE WHEN s.principal_sats > 0 THEN s.{name} END"
    for name in ("tx_type", "fiat_code"):
        columns[name] = f"NULLIF(s.{name}, '')"
    where = [] if is_all else [f"s.machine_id IN {own_machines_sql(False)}"]
    params = whose(user_id, is_all)
    if settlement_id is not None:
        where.append("s.id = :settlement_id")
        params["settlement_id"] = settlement_id
    return Source(
        columns=columns,
        tables=f"{S}.dca_settlements s",
        where=where,
        params=params,
        key="s.id",
    )


# ------------------------------------------------------------------------------- legs

LEG_FIELDS = Fields(
    kinds={
        "id": "text",
        "settlement_id": "text",
        "client_id": "text",
        "machine_id": "text",
        "machine": "text",
        "leg_type": "text",
        "destination_wallet_id": "text",
        "destination_ln_address": "text",
        "label": "text",
        "amount_sats": "int",
        "sent_sats": "int",
        "amount_fiat": "fiat",
        "exchange_rate": "number",
        "status": "text",
        "error_message": "text",
        "attempts": "int",
        "next_try_at": "time",
        "external_payment_hash": "text",
        "in_flight": "bool",
        "from_free_balance": "bool",
        "has_destination": "bool",
        "transaction_time": "time",
        "created_at": "time",
    },
    search=("external_payment_hash", "label", "error_message", "id", "settlement_id"),
)
# In a payout, with an invoice already or not yet: no action is taken on it then.
_IN_FLIGHT = (
    "(CASE WHEN p.status = 'pending' AND p.payout_id IS NOT NULL "
    "THEN {yes} ELSE {no} END)"
)
# a customer's invoice is a target and nothing else
_HAS_DESTINATION = (
    "(CASE WHEN COALESCE(p.target, p.destination_wallet_id, p.destination_ln_address) "
    "IS NOT NULL THEN {yes} ELSE {no} END)"
)


def _leg_source(
    own_wallets: Sequence[str],
    own_address: str,
    where: list[str],
    params: dict[str, Any],
) -> Source:
    own = f"p.destination_wallet_id IN {in_list('own', own_wallets, params)}"
    columns = {name: f"p.{name}" for name in LEG_FIELDS.kinds}
    columns["destination_wallet_id"] = _nullable(
        "p.destination_wallet_id", _own_or_short_sql("p.destination_wallet_id", own)
    )
    columns["destination_ln_address"] = _nullable(
        "p.destination_ln_address",
        _own_or_short_sql("p.destination_ln_address", own_address),
    )
    yes, no = ("1", "0") if db.type == SQLITE else ("true", "false")
    columns["in_flight"] = _IN_FLIGHT.format(yes=yes, no=no)
    columns["has_destination"] = _HAS_DESTINATION.format(yes=yes, no=no)
    columns["machine"] = "COALESCE(m.name, SUBSTR(m.machine_npub, 1, 12))"
    # what the operator calls the LP, where the leg has no name of its own
    columns["label"] = "COALESCE(p.label, c.username)"
    return Source(
        columns=columns,
        tables=f"{S}.dca_payments p",
        where=where,
        params=params,
        key="p.id",
        joins=(
            f"LEFT JOIN {S}.dca_machines m ON m.id = p.machine_id "
            f"LEFT JOIN {S}.dca_clients c ON c.id = p.client_id"
        ),
        joined=("machine", "label"),
    )


def _nullable(column: str, expression: str) -> str:
    return f"CASE WHEN {column} IS NULL THEN NULL ELSE {expression} END"


# Reasons once began with the destination, which is not everybody's to see.
UNNAMED_ERROR = (
    "(CASE WHEN p.error_message LIKE '% gives no invoice: %' "
    "AND p.error_message NOT LIKE 'The destination gives no invoice: %' "
    "THEN 'The destination gives no invoice.' ELSE p.error_message END)"
)


def legs_source(
    user_id: str,
    is_all: bool,
    own_wallets: Sequence[str],
    settlement_id: str | None = None,
) -> Source:
    """Legs of the reader's machines. The addresses of their splits and refunds they
    gave themselves; those of LPs are not theirs to see, nor is what LPs forward."""
    where = ["p.leg_type <> 'autoforward'"]
    params: dict[str, Any] = {"reader": user_id}
    if settlement_id is not None:
        # By machine: SQLite would else read the operator's legs in their order.
        where += [
            "p.settlement_id = :settlement_id",
            f"p.machine_id IN {own_machines_sql(False)}",
        ]
        params.update(settlement_id=settlement_id, me=user_id)
    elif not is_all:
        where.append("p.operator_user_id = :reader")
    own_address = (
        "p.operator_user_id = :reader AND p.leg_type IN ('operator_split', 'refund')"
    )
    source = _leg_source(own_wallets, own_address, where, params)
    if not is_all:
        return source
    reason = (
        "CASE WHEN p.operator_user_id = :reader THEN p.error_message "
        f"ELSE {UNNAMED_ERROR} END"
    )
    return replace(source, columns={**source.columns, "error_message": reason})


def lp_legs_source(user_id: str, own_wallets: Sequence[str]) -> Source:
    """Legs to the LP, and their autoforwards, at every machine."""
    clients = f"SELECT id FROM {S}.dca_clients WHERE user_id = :me"  # noqa: S608
    return _leg_source(
        own_wallets,
        "1 = 1",
        [f"p.client_id IN ({clients})"],
        {"me": user_id},
    )


# ------------------------------------------------------------------------------ audit

AUDIT_FIELDS = Fields(
    kinds={
        "id": "text",
        "created_at": "time",
        "actor": "text",
        "action": "text",
        "subject_type": "text",
        "subject_id": "text",
        "machine_id": "text",
        "before": "text",
        "after": "text",
        "reason": "text",
    },
    search=("action", "subject_type", "subject_id", "before", "after", "reason"),
)


def audit_of_source(
    user_id: str, super_user_id: str, subject_ids: Sequence[str]
) -> Source:
    """The entries about some subjects that the reader may see."""
    source = audit_source(user_id, False, super_user_id)
    listed = in_list("subject", subject_ids, source.params)
    source.where.append(f"a.subject_id IN {listed}")
    return source


# Fields of the log that say where somebody's sats are or go.
_PLACES = ("wallet_id", "target", "destination")


def _names_a_place(column: str) -> str:
    """`json.dumps` wrote it: inside a text the quotes would be escaped."""
    return " OR ".join(f"{column} LIKE '%\"{name}\": %'" for name in _PLACES)


def audit_source(user_id: str, is_all: bool, super_user_id: str) -> Source:
    """Entries about the reader's machines, or about themselves as an LP.

    A user id is a login in LNbits: a reader sees their own, and a role for others.
    """
    columns = {name: f"a.{name}" for name in AUDIT_FIELDS.kinds}
    # What an LP prefers is theirs alone, also from the super's eyes.
    is_private = "a.subject_type = 'lp' AND a.client_user_id <> :reader"
    is_others = "COALESCE(a.operator_user_id, '') <> :reader"
    for name in ("before", "after"):
        withheld = is_private
        if is_all:
            withheld += f" OR ({is_others} AND ({_names_a_place(f'a.{name}_json')}))"
        columns[name] = f"CASE WHEN {withheld} THEN NULL ELSE a.{name}_json END"
    columns["actor"] = (
        "CASE WHEN a.actor = :reader THEN a.actor "
        "WHEN a.actor = :super THEN 'super' "
        "WHEN a.actor = a.operator_user_id THEN 'operator' "
        "WHEN a.actor = a.client_user_id THEN 'lp' "
        "WHEN a.actor IN ('engine', 'machine', 'system') THEN a.actor "
        "ELSE 'another user' END"
    )
    params: dict[str, Any] = {"reader": user_id, "super": super_user_id}
    where = []
    if not is_all:
        where.append("(a.operator_user_id = :me OR a.client_user_id = :me_too)")
        params.update(me=user_id, me_too=user_id)
    return Source(
        columns=columns,
        tables=f"{S}.dca_audit a",
        where=where,
        params=params,
        key="a.id",
    )


def audit_answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the log, with what was and what is as JSON again."""
    opened = dict(row)
    for key in ("before", "after"):
        opened[key] = json.loads(row[key]) if row[key] else None
    return opened


# -------------------------------------------------------------------- reconciliations

REPORT_FIELDS = Fields(
    kinds={
        "id": "text",
        "machine_id": "text",
        "created_at": "time",
        "actor": "text",
        "period_from": "time",
        "period_to": "time",
        "difference_count": "int",
        "stops": "bool",
    },
    search=("id", "machine_id"),
)


def reconciliations_source(user_id: str, is_all: bool) -> Source:
    """Reports of the reader's machines; who asked for one is you, or a role."""
    columns = {name: f"r.{name}" for name in REPORT_FIELDS.kinds}
    columns["difference_count"] = "CAST(r.differences AS BIGINT)"
    # json.dumps wrote it; inside a text of the report the quotes would be escaped
    columns["stops"] = "(r.report_json LIKE '%\"stops\": true%')"
    columns["actor"] = (
        "CASE WHEN r.actor IN (:reader, 'engine') THEN r.actor ELSE 'operator' END"
    )
    return Source(
        columns=columns,
        tables=f"{S}.dca_reconciliations r",
        where=[f"r.machine_id IN {own_machines_sql(is_all)}"],
        params={"reader": user_id, **whose(user_id, is_all)},
        key="r.id",
    )
