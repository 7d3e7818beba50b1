"""SQL of lists of what was done, and of how the books agreed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..base.acting import person_behind
from ..base.database import in_list
from .lists import Condition, Fields, ListQuery, Source
from .reports import own_machines_sql, whose

S = "satoshimachine"


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
    user_id: str, super_user_id: str, subject_ids: Sequence[str], is_all: bool = False
) -> Source:
    """The entries about some subjects that the reader may see."""
    source = audit_source(user_id, is_all, super_user_id)
    listed = in_list("subject", subject_ids, source.params)
    source.where.append(f"a.subject_id IN {listed}")
    return source


# Fields of the log that say where somebody's sats are or go.
_PLACES = ("wallet_id", "target", "destination")


def _names_a_place(column: str) -> str:
    """`json.dumps` wrote it: inside a text the quotes would be escaped."""
    return " OR ".join(f"{column} LIKE '%\"{name}\": %'" for name in _PLACES)


# What an operator does to a settlement that changes what LPs are owed or shown.
TOUCHES_LPS = (
    *("void", "test", "resolve", "dispense"),
    *("dispense_asked", "dispense_decided", "void_asked"),
)
# What an operator may set that LPs rely on.
LPS_RELY_ON = ("price_check", "market_factor", "allow_stamped_invoices")


def _touched_sql() -> str:
    """Settlements from which the reader is owed, or voided where they are an LP."""
    mine = f"SELECT id FROM {S}.dca_clients WHERE user_id = :lp"  # noqa: S608
    there = f"SELECT machine_id FROM {S}.dca_clients WHERE user_id = :lp"  # noqa: S608
    rely_on = " OR ".join(f"a.after_json LIKE '%\"{x}\": %'" for x in LPS_RELY_ON)
    actions = ", ".join(f"'settlement.{name}'" for name in TOUCHES_LPS)
    return (
        f"(a.action IN ({actions}) AND (a.subject_id IN (SELECT p.settlement_id "  # noqa: S608
        f"FROM {S}.dca_payments p WHERE p.client_id IN ({mine})) "
        f"OR (a.action = 'settlement.void' AND a.machine_id IN ({there})) "
        "OR (a.action = 'settlement.dispense' AND a.actor <> 'machine' "
        f"AND a.machine_id IN ({there})))) "
        f"OR (a.action = 'machine.change' AND a.machine_id IN ({there}) "
        f"AND ({rely_on}))"
    )


def audit_source(user_id: str, is_all: bool, super_user_id: str) -> Source:
    """Entries about the reader's machines, or about themselves as an LP.

    A user id is a login in LNbits: a reader sees their own, and a role for others.
    """
    columns = {name: f"a.{name}" for name in AUDIT_FIELDS.kinds}
    # What an LP prefers is theirs alone, also from the super's eyes.
    is_private = "a.subject_type = 'lp' AND a.client_user_id <> :reader"
    is_others = "COALESCE(a.operator_user_id, '') <> :reader"
    for name in ("before", "after"):
        # an LP reads that it was done and why, not the operator's figures
        withheld = is_private
        if not is_all:
            withheld += (
                f" OR ({is_others} AND COALESCE(a.client_user_id, '') <> :reader)"
            )
        if is_all:
            withheld += f" OR ({is_others} AND ({_names_a_place(f'a.{name}_json')}))"
        columns[name] = f"CASE WHEN {withheld} THEN NULL ELSE a.{name}_json END"
    columns["actor"] = (
        "CASE WHEN a.actor = :person THEN a.actor "  # noqa: S608
        "WHEN a.actor = :super THEN 'super' "
        "WHEN a.actor = a.operator_user_id THEN 'operator' "
        "WHEN a.actor = a.client_user_id THEN 'lp' "
        "WHEN a.actor IN ('engine', 'machine', 'system') THEN a.actor "
        # who works for the operator has a name there, and is the operator to others
        f"ELSE COALESCE((SELECT CASE WHEN a.operator_user_id = :reader "
        f"THEN MIN(COALESCE(w.name, 'staff')) WHEN COUNT(*) > 0 THEN 'operator' END "
        f"FROM {S}.dca_staff w WHERE w.operator_user_id = a.operator_user_id "
        "AND w.user_id = a.actor), 'another user') END"
    )
    params: dict[str, Any] = {
        "reader": user_id,
        "person": person_behind(user_id),
        "super": super_user_id,
    }
    where = []
    if not is_all:
        where.append(
            "(a.operator_user_id = :me OR a.client_user_id = :me_too "
            f"OR {_touched_sql()})"
        )
        params.update(me=user_id, me_too=user_id, lp=user_id)
    return Source(
        columns=columns,
        tables=f"{S}.dca_audit a",
        where=where,
        params=params,
        key="a.id",
    )


def by_person(query: ListQuery, user_id: str) -> ListQuery:
    """The query with `actor=you` as the reader themselves: their id is a login, which
    stands in no address."""
    own = person_behind(user_id)

    def meant(one: Condition) -> Condition:
        if one.field != "actor":
            return one
        return replace(one, values=[own if v == "you" else v for v in one.values])

    return replace(query, conditions=[meant(one) for one in query.conditions])


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
