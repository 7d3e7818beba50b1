"""SQL of lists of settlements and legs: see `reports.py` for what is guaranteed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from lnbits.db import SQLITE

from ..base.audit import MACHINE
from ..base.database import db, db_time, in_list
from ..models import Mark, WaitCode, utc_now
from .lists import Elsewhere, Fields, Kind, Source
from .reports import machine_elsewhere, own_machines_sql, own_or_short_sql, whose

S = "satoshimachine"


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
    "shortfall_sats": "int",
    "marks": "text",
    "discount_code": "text",
    "operator_discount_sats": "int",
    "platform_discount_sats": "int",
    # as dispensed where that is known: what a sum over sales counts
    "traded_sats": "int",
    "traded_fiat": "fiat",
    "retained_sats": "int",
    "loss_sats": "int",
    "refund_sats": "int",
    "refundable_sats": "int",
    "seen_at": "time",
}
# What the customer is owed and nothing sends yet: "everyone paid" is not true then.
REFUNDABLE = f"""(
    SELECT CAST(COALESCE(SUM(r.amount_sats), 0) AS BIGINT) FROM {S}.dca_payments r
    WHERE r.settlement_id = s.id AND r.leg_type = 'refund'
      AND r.status IN ('pending', 'failed') AND r.payout_id IS NULL)"""  # noqa: S608
_TRADED = {
    "traded_sats": "COALESCE(s.dispensed_principal_sats, NULLIF(s.principal_sats, 0))",
    "traded_fiat": "COALESCE(s.dispensed_fiat, NULLIF(s.fiat_amount, 0))",
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
    elsewhere=(
        machine_elsewhere("s.machine_id"),
        Elsewhere(
            "external_payment_hash",
            f"s.id IN (SELECT settlement_id FROM {S}.dca_payments WHERE {{}})",  # noqa: S608
        ),
        Elsewhere(
            "q.username",
            f"s.id IN (SELECT l.settlement_id FROM {S}.dca_payments l "  # noqa: S608
            f"JOIN {S}.dca_clients q ON q.id = l.client_id WHERE {{}})",
        ),
    ),
    sats=("wire_sats", "principal_sats", "fee_sats"),
    cash=("fiat_amount",),
    sums=(
        *("wire_sats", "principal_sats", "fee_sats", "fiat_amount"),
        *("traded_sats", "traded_fiat", "retained_sats", "loss_sats", "refund_sats"),
    ),
    currency="fiat_code",
)
_DETAIL_KINDS: dict[str, Kind] = {
    **SETTLEMENT_KINDS,
    "dispensed_fiat": "fiat",
    "dispensed_by": "text",
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
    columns |= _TRADED
    for name in ("principal_sats", "fiat_amount", "exchange_rate"):
        columns[name] = f"NULLIF(s.{name}, 0)"
    for name in ("fee_sats", "platform_fee_sats", "operator_fee_sats"):
        columns[name] = f"CASE WHEN s.principal_sats > 0 THEN s.{name} END"
    test = f"CASE WHEN s.is_test = true THEN '{Mark.TEST},' ELSE '' END"
    if settlement_id is not None:
        columns["dispensed_by"] = (
            f"CASE WHEN s.dispensed_by IS NULL OR s.dispensed_by = '{MACHINE}' "
            "THEN s.dispensed_by ELSE 'person' END"
        )
    columns["marks"] = f"TRIM(s.marks || {test}, ',')"
    for name in ("tx_type", "fiat_code"):
        columns[name] = f"NULLIF(s.{name}, '')"
    columns["refundable_sats"] = REFUNDABLE
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
        "paid_outside": "bool",
        "reference": "text",
        "claim": "text",
        "claim_reference": "text",
        "claim_at": "time",
        "rate_mark": "text",
        "consent": "text",
        "consent_kind": "text",
        "consent_sold_fiat": "fiat",
        "consent_dispensed_fiat": "fiat",
        "consent_reason": "text",
        "consent_asked_at": "time",
        "consent_expires_at": "time",
        "paid_at": "time",
        "arrived_sats": "int",
        "routing_sats": "int",
        "currency": "text",
        "is_test": "bool",
    },
    search=("external_payment_hash", "label", "error_message", "id", "settlement_id"),
    elsewhere=(
        machine_elsewhere("p.machine_id"),
        Elsewhere(
            "payment_hash",
            f"p.settlement_id IN (SELECT id "  # noqa: S608
            f"FROM {S}.dca_settlements WHERE {{}})",
        ),
    ),
    sats=("amount_sats", "sent_sats"),
    cash=("amount_fiat",),
    sums=("amount_sats", "sent_sats", "arrived_sats"),
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

_PAID = "p.status IN ('completed', 'skipped')"
# What was paid stays what it was in the books, whoever marks its sale since.
_IS_TEST = f"""
    (CASE WHEN {_PAID} THEN EXISTS (SELECT 1 FROM {S}.journal j
        WHERE j.payment_id = p.id AND j.is_test = true)
    ELSE EXISTS (SELECT 1 FROM {S}.dca_settlements t
        WHERE t.id = p.settlement_id AND t.is_test = true) END)
    """  # noqa: S608

# A claim that an LP was paid outside is waited for this long, while the leg is unpaid.
CLAIM_LAPSES = timedelta(days=14)
_CLAIM = (
    "(CASE WHEN p.claim_state = 'waiting' AND (p.claim_at < :claims_since "
    "OR p.status NOT IN ('pending', 'failed')) THEN 'lapsed' ELSE p.claim_state END)"
)
# What is asked of whoever is owed by a leg, while it is unpaid.
_CONSENT = {
    "consent": "CASE WHEN k.id IS NULL THEN NULL ELSE COALESCE(ka.answer, 'waiting') "
    "END",
    "consent_kind": "k.kind",
    "consent_sold_fiat": "k.sold_fiat",
    "consent_dispensed_fiat": "k.dispensed_fiat",
    "consent_reason": "k.reason",
    "consent_asked_at": "k.created_at",
    "consent_expires_at": "k.expires_at",
}
_ASKED = (
    f"LEFT JOIN {S}.dca_consents k ON k.settlement_id = p.settlement_id "
    "AND k.state = 'open' AND k.expires_at > :consents_now "
    "AND p.status IN ('pending', 'failed') AND p.leg_type IN ('dca', 'super_fee') "
    f"LEFT JOIN {S}.dca_consent_answers ka ON ka.consent_id = k.id AND ka.party = "
    "(CASE WHEN p.leg_type = 'super_fee' THEN 'platform' ELSE p.client_id END)"
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
        "p.destination_wallet_id", own_or_short_sql("p.destination_wallet_id", own)
    )
    columns["destination_ln_address"] = _nullable(
        "p.destination_ln_address",
        own_or_short_sql("p.destination_ln_address", own_address),
    )
    yes, no = ("1", "0") if db.type == SQLITE else ("true", "false")
    columns["in_flight"] = _IN_FLIGHT.format(yes=yes, no=no)
    columns["has_destination"] = _HAS_DESTINATION.format(yes=yes, no=no)
    columns["claim"] = _CLAIM
    params["claims_since"] = db_time(utc_now() - CLAIM_LAPSES)
    columns |= _CONSENT
    params["consents_now"] = db_time(utc_now())
    # of rows of long ago only the sale's time is known: so they stand in the journal
    columns["paid_at"] = (
        f"CASE WHEN {_PAID} THEN COALESCE(p.completed_at, p.transaction_time) END"
    )
    columns["arrived_sats"] = (
        f"CASE WHEN {_PAID} AND p.paid_outside = false "
        "THEN COALESCE(p.sent_sats, p.amount_sats) END"
    )
    columns["currency"] = "m.fiat_code"
    columns["is_test"] = _IS_TEST
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
            f"LEFT JOIN {S}.dca_clients c ON c.id = p.client_id {_ASKED}"
        ),
        joined=("machine", "label", "currency", *_CONSENT),
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
            f"p.machine_id IN {own_machines_sql(is_all)}",
        ]
        params.update(settlement_id=settlement_id, **whose(user_id, is_all))
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


# Why a leg waits, without what the operator holds. An older row has no code for it.
WAITS_FOR_WALLET = "It waits for the machine's wallet."
_SAYS_A_BALANCE = (
    f"(p.wait_code IN ('{WaitCode.WALLET_SHORT}', '{WaitCode.FREE_BALANCE}', "
    f"'{WaitCode.SHORTFALL}', '{WaitCode.PAYING_WALLET}') "
    "OR p.error_message LIKE '% of the % sat needed%')"
)
_LPS_ERROR = (
    f"CASE WHEN p.leg_type <> 'autoforward' AND {_SAYS_A_BALANCE} "
    f"THEN '{WAITS_FOR_WALLET.replace(chr(39), chr(39) * 2)}' "
    "ELSE p.error_message END"
)


def lp_legs_source(user_id: str, own_wallets: Sequence[str]) -> Source:
    """Legs to the LP, and their autoforwards, at every machine."""
    clients = f"SELECT id FROM {S}.dca_clients WHERE user_id = :me"  # noqa: S608
    source = _leg_source(
        own_wallets,
        "1 = 1",
        [f"p.client_id IN ({clients})"],
        {"me": user_id},
    )
    return replace(source, columns={**source.columns, "error_message": _LPS_ERROR})
