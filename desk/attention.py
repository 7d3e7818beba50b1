"""What waits for a person, each in one sentence with what can be done about it.

Every kind is one statement (`attention_crud.py`) over the rows that are in that state,
so the cost does not grow with the history. At most `MOST` of a kind are listed; the
last one says that there are more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lnbits.db import Connection
from pydantic import BaseModel, Field

from ..base.currencies import money
from ..base.database import db, db_time, from_db_time
from ..books.reports import whose
from ..calculations import cents_text
from ..cash.reservations import PROBABLY_DISPENSED
from ..cash.reservations_crud import NEVER
from ..host.people import usernames_of
from ..models import utc_now
from . import attention_crud as sql
from . import notices_crud, webhooks_crud
from .cash_attention import cash_rows
from .gone import Gone, read_gone
from .kinds import Kind, Row
from .platform_attention import LOOKS_BACK, platform_rows
from .relays import deaf_sentence
from .unstamped import read_unstamped

MOST = 20
FEE_OFF = "fee_off"
# A wallet may be short for a moment between two payments: that is told to nobody.
GRACE_PERIODS = dict.fromkeys(
    ("wallet_short", "payments_waiting"), timedelta(minutes=2)
)
# A machine has this long to report its dispense.
DISPENSE_OVERDUE = timedelta(minutes=15)


class AttentionItem(BaseModel):
    """Something that waits for a person, in one sentence."""

    kind: str
    message: str
    subject_type: str
    subject_id: str
    machine_id: str | None = None
    settlement_id: str | None = None
    client_id: str | None = None
    since: datetime | None = None
    action: str = Field(..., description="what the person can do about it")
    count: int | None = Field(None, description="of like causes that this is of")
    sats: int | None = Field(None, description="their sum")
    amount_fiat: str | None = Field(None, description="the sum of their cash")
    currency: str | None = None
    operator_name: str | None = Field(None, description="whose it is; for the super")


def _why_not_dispensed(row: Row) -> str:
    at = from_db_time(row["since"])
    if at and utc_now() - at > PROBABLY_DISPENSED:
        counted_at = from_db_time(row["counted_at"])
        if counted_at and counted_at > at:
            return (
                "No dispense was reported, and the machine was counted since: whether "
                "its notes left is in that count."
            )
        return (
            "No dispense was reported for a day: its notes count as probably "
            "dispensed until it is, or until the machine is counted."
        )
    return row["error_message"] or "No dispense was reported."


def _leg_name(row: Row) -> str:
    names = {
        "dca": "the payment to an LP",
        "super_fee": "the platform's fee",
        "operator_split": "a split",
        "settlement": "a balance paid out",
        "refund": "a refund",
    }
    return names.get(row["leg_type"], "a payment")


KINDS = (
    Kind(
        "payouts_stopped",
        "machine",
        "Read the reconciliation, then let the payouts go on.",
        sql.machines("m.payouts_stopped_reason IS NOT NULL", "m.updated_at"),
        lambda r: f"{r['machine']}: payouts are stopped. {r['reason']}",
    ),
    Kind(
        "leg_failed",
        "payment",
        "Pay it again, void it, or mark it as paid.",
        sql.legs("p.status = 'failed'"),
        lambda r: (
            f"{r['machine']}: {_leg_name(r)} of {r['amount_sats']} sat could not be "
            f"paid. {r['error_message'] or ''}"
        ).strip(),
    ),
    Kind(
        "quarantined",
        "settlement",
        "Enter the right figures, or void it.",
        sql.settlements(
            "s.status = 'quarantined' AND COALESCE(s.quarantine_code, '') <> 'past'"
        ),
        lambda r: (
            f"{r['machine']}: a payment of {abs(r['wire_sats'])} sat is held back. "
            f"{r['error_message'] or ''}"
        ).strip(),
    ),
    Kind(
        "past",
        "machine",
        "Give them up together, or resolve the ones that were not paid out.",
        sql.past,
        lambda r: (
            f"{r['machine']}: payments older than the registration of its wallet: "
            f"{r['payments']}, {r['amount_sats']} sat in all. Nobody is paid from them."
        ),
    ),
    Kind(
        "attention",
        "settlement",
        "Look at the settlement.",
        sql.settlements(
            "s.status = 'attention' AND (s.planned_at IS NOT NULL "
            "OR COALESCE(s.dispense_state, '') <> 'awaiting') "
            f"AND NOT {sql.HAS_FAILED_LEG}"
        ),
        lambda r: (
            f"{r['machine']}: a settlement of {abs(r['wire_sats'])} sat needs a "
            f"person. {r['error_message'] or ''}"
        ).strip(),
    ),
    Kind(
        "less_arrived",
        "settlement",
        "Say that you have seen it; what is missing is paid from what is free.",
        sql.settlements(
            "s.network_fee_sats > s.fee_sats AND s.seen_at IS NULL "
            "AND s.tx_type = 'cash_out' AND s.planned_at IS NOT NULL "
            "AND s.status <> 'voided'"
        ),
        lambda r: (
            f"{r['machine']}: after its network fee {r['arrived_sats']} sat of a "
            f"payment arrived, and {r['principal_sats']} are its principal: the "
            "difference is yours to bear."
        ),
    ),
    Kind(
        "dispense",
        "settlement",
        "Enter what the machine paid out.",
        sql.never_dispensed,
        lambda r: (
            f"{r['machine']}: {abs(r['wire_sats'])} sat came in and nothing is paid "
            f"out yet. {_why_not_dispensed(r)}"
        ),
    ),
    Kind(
        "wallet_short",
        "machine",
        "Put the reason right; the payments go on by themselves.",
        sql.waiting(sql.SHORT),
        lambda r: (
            f"{r['machine']}: payments of {r['amount_sats']} sat wait: "
            f"{r['error_message']}"
        ),
    ),
    Kind(
        "payments_waiting",
        "machine",
        "Put the reason right; the payments go on by themselves.",
        sql.waiting(sql.OTHERWISE),
        lambda r: (
            f"{r['machine']}: payments of {r['amount_sats']} sat wait: "
            f"{r['error_message']}"
        ),
    ),
    Kind(
        "refund",
        "payment",
        "Enter the customer's invoice or Lightning address.",
        sql.legs(
            "p.leg_type = 'refund' AND p.status = 'pending' "
            "AND p.target IS NULL AND p.payout_id IS NULL"
        ),
        lambda r: f"{r['machine']}: a customer is owed {r['amount_sats']} sat.",
    ),
    Kind(
        "offline",
        "machine",
        "Check its power and its connection.",
        sql.machines(sql.silent_sql(), "m.last_seen_at"),
        lambda r: f"{r['machine']} is silent.",
    ),
    Kind(
        "unpaired",
        "machine",
        "Let the machine scan its pairing code.",
        sql.machines(sql.NEVER_USED, "m.created_at"),
        lambda r: f"{r['machine']} was registered and has not been heard of yet.",
    ),
    Kind(
        "deposit_pending",
        "deposit",
        "Count the cash, then confirm or cancel the deposit.",
        sql.pending_deposits,
        lambda r: (
            f"{r['machine']}: a deposit of {money(int(r['cents']), r['currency'])} "
            f"of {r['lp']} waits to be confirmed."
        ),
    ),
    Kind(
        "dispute",
        "deposit",
        "Settle it with the LP; the platform can decide it.",
        sql.disputed_deposits,
        lambda r: (
            f"{r['machine']}: {r['lp']} disputes a deposit of "
            f"{money(int(r['cents']), r['currency'])}."
        ),
    ),
    Kind(
        "shortfall",
        "machine",
        "Put sats into the machine's wallet: they are paid from what is free.",
        sql.shortfalls,
        lambda r: (
            f"{r['machine']}: the platform is owed {r['amount_sats']} sat that "
            "customers were not charged."
        ),
    ),
    Kind(
        FEE_OFF,
        "machine",
        "Give the machine the fees in force, or say of each that you have seen it.",
        sql.fees_off,
        lambda r: (
            f"{r['machine']}: sales charged off the fees in force, in 30 days: "
            f"{r['count']}, by {r['sats']} sat in all."
        ),
    ),
    Kind(
        "balance_used_up",
        "client",
        "Ask the LP for a new deposit.",
        sql.clients(sql.NOTHING_LEFT),
        lambda r: f"{r['machine']}: the balance of {r['lp']} is used up.",
    ),
    Kind(
        "no_profile",
        "client",
        "Ask the LP to open the extension and choose a wallet.",
        sql.clients(sql.NO_PROFILE),
        lambda r: (f"{r['machine']}: {r['lp']} has not said yet where their sats go."),
    ),
)


def moments(now: datetime) -> dict[str, Any]:
    """The parameters that the kinds' SQL names."""
    return {
        "since_dispense": db_time(now - DISPENSE_OVERDUE),
        "now": db_time(now),
        "never": db_time(NEVER),
        "looks_back": db_time(now - LOOKS_BACK),
    }


async def everything_that_waits(user_id: str, is_all: bool) -> list[AttentionItem]:
    """What waits for a person: stops first, then who is gone, and what nobody stamped
    last."""
    gone = await read_gone(user_id, is_all)
    unstamped = await read_unstamped(user_id, is_all)
    async with db.connect() as conn:
        items = [item for _, item in await _waiting(conn, user_id, is_all, MOST)]
        if not is_all:
            items += await _untold(conn, user_id)
        owners = await notices_crud.owners_of_machines(conn) if is_all else {}
    first = [item for item in items if item.kind == KINDS[0].name]
    rest = items[len(first) :]
    items = [*first, *_gone_items(gone), *rest, *_gone_items(unstamped)]
    names = await usernames_of(set(owners.values())) if owners else {}
    for item in items:
        owner = owners.get(item.machine_id or "")
        item.operator_name = names.get(owner) if owner else None
    return items


async def waiting_items(user_id: str, most: int) -> list[tuple[str, AttentionItem]]:
    """What waits for an operator, at most so many of a kind, each with a key that is
    its own as long as it waits."""
    gone = await read_gone(user_id, False)
    gone += await read_unstamped(user_id, False)
    async with db.connect() as conn:
        found = await _waiting(conn, user_id, False, most)
    some = [(f"{x.kind}:{x.subject_id}", AttentionItem(**vars(x))) for x in gone]
    return [*found, *some]


def _gone_items(gone: Sequence[Gone]) -> list[AttentionItem]:
    items = []
    for kind in dict.fromkeys(x.kind for x in gone):
        found = [x for x in gone if x.kind == kind]
        some = [AttentionItem(**vars(x)) for x in found[:MOST]]
        if len(found) > MOST:
            some[-1].message += " (And there are more like this.)"
        items += some
    return items


async def _waiting(
    conn: Connection, user_id: str, is_all: bool, most: int
) -> list[tuple[str, AttentionItem]]:
    """What our own tables say, the gravest kinds first, each with its key, at most so
    many of a kind. One statement a kind."""
    params = {**whose(user_id, is_all), **moments(utc_now()), "most": most + 1}
    items: list[tuple[str, AttentionItem]] = []
    for kind in KINDS:
        if is_all and kind.name == FEE_OFF:
            continue
        items += _items(kind, await sql.rows_of(conn, kind, is_all, params), most)
    for kind, rows in await cash_rows(conn, user_id, is_all):
        items += _items(kind, rows[: most + 1], most)
    if is_all:
        for kind, rows in await platform_rows(conn, utc_now(), most + 1):
            items += _items(kind, rows, most)
        of_platform = await _missing_platform_wallet(conn) + await _deaf_relays(conn)
        items += [(item.kind, item) for item in of_platform]
    return items


def _items(
    kind: Kind, found: Sequence[Row], most: int
) -> list[tuple[str, AttentionItem]]:
    items = [
        (
            f"{kind.name}:{row['subject_id']}{row.get('part') or ''}",
            AttentionItem(
                kind=kind.name,
                message=kind.sentence(row),
                subject_type=kind.subject_type,
                subject_id=row["subject_id"],
                machine_id=row["machine_id"],
                settlement_id=row.get("settlement_id"),
                client_id=row.get("client_id"),
                since=from_db_time(row["since"]),
                action=kind.action,
                **_sums(row),
            ),
        )
        for row in found[:most]
    ]
    if len(found) > most:
        items[-1][1].message += " (And there are more like this.)"
    return items


async def _untold(conn: Connection, user_id: str) -> list[AttentionItem]:
    """What the reader's own server could not be told within a day."""
    found = await webhooks_crud.given_up(conn, user_id)
    if found is None:
        return []
    return [
        AttentionItem(
            kind="webhook",
            message=(
                f"Your webhook could not be told {found['n']} events within a day "
                "each: they are tried no more."
            ),
            subject_type="webhook",
            subject_id="own",
            since=from_db_time(found["since"]),
            count=int(found["n"]),
            action="Look at its answers, then send the events again.",
        )
    ]


def _sums(row: Row) -> dict[str, Any]:
    """How many causes an item is of, and their sums, where its kind has them."""
    sats, cents = row.get("sats", row.get("amount_sats")), row.get("cents")
    count = row.get("count", row.get("payments"))
    return {
        "count": None if count is None else int(count),
        "sats": None if sats is None else int(sats),
        "amount_fiat": None if cents is None else cents_text(int(cents)),
        "currency": None if cents is None else row.get("currency"),
    }


async def _missing_platform_wallet(conn: Connection) -> list[AttentionItem]:
    """The super's own: fees are due and there is no wallet for them."""
    found = await sql.fees_without_wallet(conn)
    if found is None:
        return []
    return [
        AttentionItem(
            kind="no_fee_wallet",
            message=f"Fees of {found['sats']} sat wait for the platform's wallet.",
            subject_type="super_config",
            subject_id="default",
            since=from_db_time(found["since"]),
            action="Choose the wallet for the platform's fee.",
        )
    ]


async def _deaf_relays(conn: Connection) -> list[AttentionItem]:
    """The super's: machines that know only such a relay are not heard."""
    row = await sql.line_status(conn)
    at = from_db_time(row["status_at"]) if row and row["status_json"] else None
    if row is None or at is None:
        return []
    return [
        AttentionItem(
            kind="relay_deaf",
            message=f"{relay['url']}: {sentence}",
            subject_type="nostr",
            subject_id="default",
            since=at - timedelta(seconds=relay["deaf_seconds"]),
            action="Ask who runs the relay, or choose another one.",
        )
        for relay in json.loads(row["status_json"]).get("relays", [])
        if (sentence := deaf_sentence(relay))
    ]
