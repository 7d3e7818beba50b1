"""What one party did that touches another's money, told to that other.

Read from the log, so that what is told is what was done: each entry is one piece of
news for each who is told. The sentences are ours; names and reasons that people typed
are quoted, cut at 60 characters and without links.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from lnbits.db import Connection

from ..base.currencies import money
from ..calculations import fiat_cents
from ..host.people import usernames_of
from ..parties.names import quoted
from .party_news_crud import entries_since

LP, OPERATOR, SUPER = "lp", "operator", "super"


class News(NamedTuple):
    """One sentence for one person about one entry of the log."""

    key: str
    kind: str
    user_id: str
    message: str
    subject_type: str
    subject_id: str
    machine_id: str | None


# What is told of an action, and to whom but the one who did it.
TOLD: dict[str, tuple[tuple[str, ...], str]] = {
    "client.invite": (
        (LP,),
        "{operator} invites you to provide cash for the machine {machine}. Open "
        "Satoshi Machine to say yes or no.",
    ),
    "client.accept": ((OPERATOR,), "{machine}: your invitation was accepted."),
    "client.leave": (
        (OPERATOR,),
        "{machine}: an LP has left. What they are owed stays owed.",
    ),
    "client.close_balance": (
        (LP,),
        "{machine}: your whole balance of {amount} is paid out to you in sats.",
    ),
    "client.offer": (
        (LP,),
        "{machine}: the operator offers to pay your whole balance of {amount} out at a "
        "low rate. Nothing changes until you accept. Reason: {reason}",
    ),
    "client.offer_accepted": (
        (OPERATOR,),
        "{machine}: an LP took your offer; {amount} are paid out.",
    ),
    "client.offer_declined": (
        (OPERATOR,),
        "{machine}: an LP did not take your offer to pay their balance out. Reason: "
        "{reason}",
    ),
    "deposit.create": (
        (LP,),
        "{machine}: a deposit of {amount} of yours was recorded. It counts once it is "
        "confirmed.",
    ),
    "deposit.claim": (
        (OPERATOR,),
        "{machine}: an LP says that they handed over {amount}. Confirm it, or say why "
        "not.",
    ),
    "deposit.cancelled": (
        (LP,),
        "{machine}: the deposit of {amount} is not confirmed. Reason: {reason}",
    ),
    "deposit.reversed": (
        (LP,),
        "{machine}: a deposit of {amount} of yours was taken back. Reason: {reason}",
    ),
    "deposit.reversal_requested": (
        (LP,),
        "{machine}: the operator says that {amount} were given back to you. Nothing "
        "changes until you agree. Reason: {reason}",
    ),
    "deposit.reversal_accepted": (
        (LP, OPERATOR),
        "{machine}: {amount} were taken back from a deposit, as was asked for.",
    ),
    "deposit.reversal_declined": (
        (LP, OPERATOR),
        "{machine}: {amount} of a deposit stay: taking them back was declined.",
    ),
    "deposit.dispute": (
        (OPERATOR, SUPER),
        "{machine}: an LP disputes a deposit of {amount}. Reason: {reason}",
    ),
    "deposit.dispute_withdrawn": (
        (OPERATOR, SUPER),
        "{machine}: the dispute of a deposit of {amount} was taken back.",
    ),
    "deposit.decided": (
        (LP, OPERATOR),
        "{machine}: the dispute of a deposit of {amount} was decided. Reason: {reason}",
    ),
    "machine.key_lost": (
        (OPERATOR,),
        "{machine}: the machine has paired with another registration of its key.",
    ),
}


async def party_news(
    conn: Connection, since: datetime, super_user_id: str
) -> list[News]:
    """What was done since then, for each who is to hear of it."""
    found = await entries_since(conn, since, TOLD)
    inviting = {r["actor"] for r in found if r["action"] == "client.invite"}
    names = await usernames_of(inviting) if inviting else {}
    news = []
    for row in found:
        readers, sentence = TOLD[row["action"]]
        message = sentence.format(**_facts(row, names))
        for user_id in _who(row, readers, super_user_id):
            news.append(
                News(
                    f"{row['action']}:{row['id']}:{user_id}",
                    row["action"].replace(".", "_"),
                    user_id,
                    message,
                    row["subject_type"],
                    row["subject_id"],
                    row["machine_id"],
                )
            )
    return news


def _facts(row: Mapping[str, Any], names: Mapping[str, str | None]) -> dict[str, str]:
    after = json.loads(row["after_json"] or "{}")
    amount = "?"
    if after.get("amount"):
        amount = money(fiat_cents(after["amount"]), after.get("currency") or "").strip()
    return {
        "machine": quoted(row["name"]),
        "operator": quoted(names.get(row["actor"])),
        "amount": amount,
        "reason": quoted(row["reason"]),
    }


def _who(
    row: Mapping[str, Any], readers: Iterable[str], super_user_id: str
) -> list[str]:
    ids = {
        LP: row["client_user_id"],
        OPERATOR: row["operator_user_id"],
        SUPER: super_user_id,
    }
    told = dict.fromkeys(ids[reader] for reader in readers)
    return [user for user in told if user and user != row["actor"]]
