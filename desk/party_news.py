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

from ..base.audit import ENGINE, MACHINE
from ..base.currencies import money
from ..calculations import fiat_cents
from ..host.people import usernames_of
from ..parties.names import quoted
from . import party_news_crud as sql

# the one whom an entry names; all who are owed by its sale; all LPs of its machine
LP, OWED, LPS = "lp", "owed", "lps"
OPERATOR, SUPER = "operator", "super"


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
    "visit.close": (
        (OPERATOR,),
        "{machine}: a visit was closed. What was counted differs by {difference} from "
        "what was expected.",
    ),
    "machine.key_lost": (
        (OPERATOR,),
        "{machine}: the machine has paired with another registration of its key.",
    ),
    "settlement.dispense_asked": (
        (OWED, SUPER),
        "{machine}: the operator says that {dispensed} of {amount} came out at a sale. "
        "Nothing of yours changes until you agree, or the platform decides. Reason: "
        "{reason}",
    ),
    "settlement.dispense_agreed": (
        (OPERATOR,),
        "{machine}: one who is owed agrees that {dispensed} of {amount} came out.",
    ),
    "settlement.dispense_refused": (
        (OPERATOR, SUPER),
        "{machine}: an LP does not agree that {dispensed} of {amount} came out. "
        "Reason: {reason}",
    ),
    "settlement.dispense_decided": (
        (OWED, OPERATOR),
        "{machine}: the platform has decided whether {dispensed} of {amount} came out. "
        "Reason: {reason}",
    ),
    "settlement.void_asked": (
        (OWED, SUPER),
        "{machine}: the operator asks to give up a sale of {amount}. Nothing of yours "
        "changes until you agree. Reason: {reason}",
    ),
    "settlement.void_agreed": (
        (OPERATOR,),
        "{machine}: one who is owed agrees to give up the sale of {amount}.",
    ),
    "settlement.void_refused": (
        (OPERATOR,),
        "{machine}: the sale of {amount} is not given up: one who is owed does not "
        "agree. Reason: {reason}",
    ),
    "settlement.void": (
        (LPS, SUPER),
        "{machine}: the operator gave up a sale of {amount} before anybody was paid "
        "from it. Reason: {reason}",
    ),
    "settlement.dispense": (
        (LPS, SUPER),
        "{machine}: the operator says that {dispensed} came out at a sale, less than "
        "was sold; the customer is owed {refund} sat. Reason: {reason}",
    ),
}
# What is told of a machine's settings, by the field that changed and its new value.
CHANGED: dict[str, dict[object, str]] = {
    "price_check": {
        False: "{machine}: its sales are no longer compared with the market's price.",
        True: "{machine}: its sales are compared with the market's price again.",
    },
    "market_factor": {
        ...: "{machine}: its sales are compared with {factor} times the market's "
        "price.",
    },
    "allow_stamped_invoices": {
        True: "{machine}: others than the machine may make its invoices now.",
        False: "{machine}: only the machine itself makes its invoices now.",
    },
}


async def party_news(
    conn: Connection, since: datetime, super_user_id: str
) -> list[News]:
    """What was done since then, for each who is to hear of it."""
    found = await sql.entries_since(conn, since, [*TOLD, "machine.change"])
    lps = await _many(conn, found)
    inviting = {r["actor"] for r in found if r["action"] == "client.invite"}
    names = await usernames_of(inviting) if inviting else {}
    news = []
    for row in found:
        for part, readers, sentence in _told(row):
            message = sentence.format(**_facts(row, names))
            news += [
                News(
                    f"{row['action']}:{row['id']}{part}:{user_id}",
                    row["action"].replace(".", "_"),
                    user_id,
                    message,
                    row["subject_type"],
                    row["subject_id"],
                    row["machine_id"],
                )
                for user_id in _who(row, readers, super_user_id, lps)
            ]
    return news


def _told(row: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], str]]:
    """What is told of an entry: a mark of the sentence, its readers, and itself."""
    after = json.loads(row["after_json"] or "{}")
    if row["action"] == "machine.change":
        return [
            (f":{field}", (LPS, SUPER), sentence)
            for field, sentences in CHANGED.items()
            if field in after
            and (sentence := sentences.get(after[field], sentences.get(...)))
        ]
    if row["action"] == "settlement.dispense":
        # what the machine says, or that all came out, takes nothing by a person's word
        is_persons = row["actor"] not in (MACHINE, ENGINE)
        if not is_persons or after.get("dispense_state") != "partial":
            return []
    readers, sentence = TOLD[row["action"]]
    return [("", readers, sentence)]


async def _many(
    conn: Connection, rows: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], list[str]]:
    """The LPs of the sales and of the machines of these entries, by word and id."""
    rows = list(rows)
    sales = {r["subject_id"] for r in rows if r["subject_type"] == "settlement"}
    machines = {r["machine_id"] for r in rows if r["machine_id"]}
    found = {(OWED, k): v for k, v in (await sql.lps_of_sales(conn, sales)).items()}
    for machine_id, users in (await sql.lps_of_machines(conn, machines)).items():
        found[LPS, machine_id] = users
    return found


def _facts(row: Mapping[str, Any], names: Mapping[str, str | None]) -> dict[str, str]:
    after = json.loads(row["after_json"] or "{}")
    amount = "?"
    if after.get("amount"):
        amount = money(fiat_cents(after["amount"]), after.get("currency") or "").strip()
    currency = after.get("currency") or row["fiat_code"] or ""
    dispensed = "?"
    if after.get("dispensed_fiat") is not None:
        dispensed = money(fiat_cents(after["dispensed_fiat"]), currency).strip()
    difference = "?"
    if after.get("difference") is not None:
        difference = money(fiat_cents(after["difference"]), currency).strip()
    return {
        "difference": difference,
        "dispensed": dispensed,
        "refund": str(after.get("refund_sats", "?")),
        "factor": str(after.get("market_factor", "?")),
        "machine": quoted(row["name"]),
        "operator": quoted(names.get(row["actor"])),
        "amount": amount,
        "reason": quoted(row["reason"]),
    }


def _who(
    row: Mapping[str, Any],
    readers: Iterable[str],
    super_user_id: str,
    lps: Mapping[tuple[str, str], list[str]],
) -> list[str]:
    ids = {
        LP: [row["client_user_id"]],
        OWED: lps.get((OWED, row["subject_id"]), []),
        LPS: lps.get((LPS, row["machine_id"] or ""), []),
        OPERATOR: [row["operator_user_id"]],
        SUPER: [super_user_id],
    }
    told = dict.fromkeys(user for reader in readers for user in ids[reader])
    return [user for user in told if user and user != row["actor"]]
