"""Cash that LPs handed over: who says so, who disputes it, and what takes it back.

Guaranteed: what one side says of it the other reads; a confirmed deposit is taken back
by the operator alone only within an hour and while nothing was planned from it since,
else with the LP's yes or by the super's decision, with a reason, and never below an
LP's balance. A dispute changes nothing of the money: it is a state that all three see.
What is taken back in part is a row of its own (`part_of`), so that a balance stays the
sum of the confirmed rows.
Not guaranteed: that either side tells the truth. Nobody here saw the cash.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from lnbits.db import Connection
from lnbits.helpers import urlsafe_short_hash

from ..base.audit import changed, write_audit
from ..base.currencies import check_amount, money
from ..base.database import transaction
from ..base.idempotency import claim_key, fingerprint
from ..base.refusals import BadInputError, ConflictError
from ..cash.postings import post_deposit
from ..crud import lock_ledger
from ..ledger import postings
from ..models import Client, Deposit, utc_now
from . import deposits_crud as sql
from .deposits_crud import Found
from .lps import LEFT
from .lps_crud import get_own_client, get_profile

NO_WALLET_YET = (
    "This LP has not chosen a wallet yet. Ask them to open the extension and say where "
    "their sats go; then record the deposit."
)
ALONE_WITHIN = timedelta(hours=1)
CLAIMS_AT_MOST = 5

# From which statuses a deposit may go to which.
DEPOSIT_STEPS = {
    "confirmed": ("pending", "claimed"),
    "cancelled": ("pending", "claimed"),
    "reversed": ("confirmed",),
}


class Recorded(NamedTuple):
    """A deposit's id, and whether it was made just now."""

    id: str
    is_new: bool


async def _audit(
    conn: Connection,
    actor: str,
    action: str,
    found: Found,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    reason: str | None = None,
) -> None:
    await write_audit(
        conn,
        actor,
        f"deposit.{action}",
        "deposit",
        found.deposit.id,
        before,
        after,
        reason,
        operator_user_id=found.operator,
        machine_id=found.deposit.machine_id,
        client_user_id=found.lp or None,
    )


# ------------------------------------------------------------- recorded by the operator


async def create_deposit(
    actor: str,
    is_super: bool,
    client_id: str,
    amount: Decimal,
    notes: str | None,
    key: str | None = None,
) -> Recorded:
    """Record cash that an LP handed over, still to be confirmed: its id, and whether
    it is new. The same `key` and body again is the first one.

    `ConflictError` for an LP without a profile: they must have said where their sats
    go. The currency is the machine's.
    """
    async with transaction() as conn:
        await lock_ledger(conn)
        client, fiat_code, operator = await get_own_client(
            conn, client_id, actor, is_super
        )
        check_amount(amount, fiat_code, "amount")
        new = _new(client, actor, amount, fiat_code, notes)
        if key:
            body = {"client_id": client_id, "amount": amount, "notes": notes or ""}
            action = fingerprint("deposit.create", body)
            earlier = await claim_key(conn, actor, key, action, new.id)
            if earlier:
                return Recorded(earlier, False)
        if client.status == "left":
            raise ConflictError(LEFT)
        if await get_profile(conn, client.user_id) is None:
            raise ConflictError(NO_WALLET_YET)
        await sql.insert_deposit(conn, new)
        await _audit(
            conn,
            actor,
            "create",
            Found(new, operator, client.user_id),
            None,
            {"amount": new.amount, "currency": fiat_code, "notes": notes},
        )
    return Recorded(new.id, True)


def _new(
    client: Client,
    actor: str,
    amount: Decimal,
    currency: str,
    notes: str | None,
    status: str = "pending",
) -> Deposit:
    return Deposit(
        id=urlsafe_short_hash(),
        client_id=client.id,
        machine_id=client.machine_id,
        creator_user_id=actor,
        amount=amount,
        currency=currency,
        status=status,
        notes=notes,
    )


async def update_deposit(
    actor: str, is_super: bool, deposit_id: str, changes: Mapping[str, Any]
) -> Deposit:
    """Correct a deposit while it is pending."""
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await sql.get_own_deposit(conn, deposit_id, actor, is_super)
        before = found.deposit
        if before.status != "pending":
            raise ConflictError(
                f"This deposit is {before.status}: only a pending one can be changed."
            )
        old, new = changed(before.dict(), dict(changes))
        if not new:
            return before
        if "amount" in new:
            check_amount(new["amount"], before.currency, "amount")
        after = await sql.write_deposit(conn, before, new)
        await _audit(conn, actor, "change", found, old, new)
    return after


async def set_deposit_status(
    actor: str,
    is_super: bool,
    deposit_id: str,
    status: str,
    reason: str | None,
    amount: Decimal | None = None,
) -> Deposit:
    """Confirm or cancel a pending or claimed deposit, or take a confirmed one back.

    Taking back (`amount`: a part of it) is asked of the LP unless the operator may do
    it alone: then the deposit stays confirmed, with a reversal that is `requested`.
    `ConflictError` from any other status, when somebody else was faster, and when it
    would take the LP's balance below zero.
    """
    was = DEPOSIT_STEPS[status]
    if status == "reversed" and not reason:
        raise BadInputError("reason is missing: the LP sees why it was reversed.")
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await sql.get_own_deposit(conn, deposit_id, actor, is_super)
        before = found.deposit
        if before.status not in was:
            raise ConflictError(
                f"This deposit is {before.status}: only a {' or '.join(was)} one can "
                f"be {status}."
            )
        if status == "reversed":
            return await _take_back(conn, actor, found, amount, reason or "", is_super)
        if status == "cancelled" and before.status == "claimed" and not reason:
            raise BadInputError(
                "reason is missing: the LP sees why you do not have their cash."
            )
        step: dict[str, Any] = {"status": status}
        if reason:
            step["reason"] = reason
        if status == "confirmed":
            step["confirmed_at"] = utc_now()
        after = await sql.write_deposit(conn, before, step)
        if status == "confirmed":
            await post_deposit(conn, after, found.operator, actor)
            await _journal(conn, after, after.amount, "deposit")
        facts = {"amount": before.amount, "currency": before.currency}
        await _audit(
            conn,
            actor,
            status,
            found,
            {"status": before.status},
            {"status": status, **facts},
            reason,
        )
    return after


# ------------------------------------------------------------------------- taking back


async def _take_back(
    conn: Connection,
    actor: str,
    found: Found,
    amount: Decimal | None,
    reason: str,
    is_super: bool,
) -> Deposit:
    """Take it back now, or ask the LP."""
    before = found.deposit
    if amount is None or amount == before.amount:
        wanted: Decimal = before.amount
    else:
        check_amount(amount, before.currency, "amount")
        wanted = amount
    if wanted > before.amount:
        raise BadInputError(
            f"amount is {wanted}: the deposit is {before.amount} {before.currency}."
        )
    await _check_balance(conn, before, wanted)
    # for the super it is a decision
    if is_super or await _may_alone(conn, before):
        return await _reverse(conn, actor, found, wanted, reason, "reversed")
    if before.reversal_state == "requested":
        raise ConflictError("You have asked the LP already: they have not answered.")
    after = await sql.write_deposit(
        conn,
        before,
        {
            "reversal_state": "requested",
            "reversal_amount": wanted,
            "reversal_reason": reason,
            "reversal_at": utc_now(),
        },
    )
    facts = {"amount": wanted, "currency": before.currency}
    await _audit(conn, actor, "reversal_requested", found, None, facts, reason)
    return after


async def _may_alone(conn: Connection, deposit: Deposit) -> bool:
    """Within an hour, and while nothing was planned from the balance since."""
    confirmed = deposit.confirmed_at or deposit.created_at
    if utc_now() - confirmed > ALONE_WITHIN:
        return False
    return not await sql.was_planned_since(conn, deposit.client_id, confirmed)


async def _reverse(
    conn: Connection,
    actor: str,
    found: Found,
    amount: Decimal,
    reason: str,
    how: str,
) -> Deposit:
    """Take the amount off the LP's balance; a part of it becomes a row of its own."""
    before, now = found.deposit, utc_now()
    asked: dict[str, Any] = {}
    if before.reversal_state:
        asked["reversal_state"] = "accepted"
    if amount == before.amount:
        after = await sql.write_deposit(
            conn,
            before,
            {"status": "reversed", "reason": reason, "reversed_at": now, **asked},
        )
    else:
        asked = {
            "reversal_state": "accepted",
            "reversal_amount": amount,
            "reversal_reason": reason,
            "reversal_at": before.reversal_at or now,
        }
        after = await sql.write_deposit(
            conn, before, {"amount": before.amount - amount, **asked}
        )
        await sql.insert_deposit(conn, _part_of(before, amount, reason, now))
    await post_deposit(
        conn,
        before,
        found.operator,
        actor,
        is_reversal=True,
        cents=int(amount * 100),
    )
    await _journal(conn, before, -amount, "deposit_reversed")
    facts = {"amount": amount, "currency": before.currency}
    await _audit(
        conn,
        actor,
        how,
        found,
        {"status": before.status, "amount": before.amount},
        {"status": after.status, **facts},
        reason,
    )
    return after


async def _journal(
    conn: Connection, deposit: Deposit, amount: Decimal, kind: str
) -> None:
    cents = int(amount * 100)
    at = utc_now()
    await postings.post_deposit(conn, deposit, cents=cents, kind=kind, at=at)


def _part_of(deposit: Deposit, amount: Decimal, reason: str, now: datetime) -> Deposit:
    return Deposit(
        id=urlsafe_short_hash(),
        client_id=deposit.client_id,
        machine_id=deposit.machine_id,
        creator_user_id=deposit.creator_user_id,
        amount=amount,
        currency=deposit.currency,
        status="reversed",
        notes=deposit.notes,
        reason=reason,
        created_at=deposit.created_at,
        confirmed_at=deposit.confirmed_at,
        reversed_at=now,
        part_of=deposit.id,
    )


async def _check_balance(conn: Connection, deposit: Deposit, amount: Decimal) -> None:
    left = await sql.balance_cents(conn, deposit.client_id)
    if left < int(amount * 100):
        raise ConflictError(
            f"The LP has {money(left, deposit.currency)} left of their deposits: "
            f"{amount} cannot be taken back."
        )


async def answer_reversal(
    lp_user_id: str, deposit_id: str, accept: bool, reason: str | None = None
) -> str:
    """The LP's yes or no to a reversal that was asked of them."""
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await sql.lps_deposit(conn, deposit_id, lp_user_id)
        await _decide_reversal(conn, lp_user_id, found, accept, reason)
    return deposit_id


async def _decide_reversal(
    conn: Connection, actor: str, found: Found, accept: bool, reason: str | None
) -> None:
    before = found.deposit
    if before.reversal_state != "requested" or before.status != "confirmed":
        raise ConflictError("Nobody asks to take this deposit back.")
    amount = before.reversal_amount or before.amount
    if accept:
        await _check_balance(conn, before, amount)
        why = before.reversal_reason or ""
        await _reverse(conn, actor, found, amount, why, "reversal_accepted")
        return
    await sql.write_deposit(conn, before, {"reversal_state": "declined"})
    facts = {"amount": amount, "currency": before.currency}
    await _audit(conn, actor, "reversal_declined", found, None, facts, reason)


# ----------------------------------------------------------------- what the LP says


async def claim_deposit(
    lp_user_id: str,
    client_or_machine: str,
    amount: Decimal,
    notes: str | None,
    key: str | None = None,
) -> Recorded:
    """Report cash that was handed over and not recorded: the operator confirms or
    refuses it. `ConflictError` for a sixth that waits at one machine."""
    async with transaction() as conn:
        await lock_ledger(conn)
        client, currency, operator = await sql.enrolled(
            conn, lp_user_id, client_or_machine
        )
        check_amount(amount, currency, "amount")
        new = _new(client, lp_user_id, amount, currency, notes, "claimed")
        if key:
            body = {"client_id": client.id, "amount": amount, "notes": notes or ""}
            action = fingerprint("deposit.claim", body)
            earlier = await claim_key(conn, lp_user_id, key, action, new.id)
            if earlier:
                return Recorded(earlier, False)
        if await get_profile(conn, lp_user_id) is None:
            raise ConflictError("Say first where your sats go: choose a wallet.")
        await _check_claims(conn, client)
        await sql.insert_deposit(conn, new)
        await _audit(
            conn,
            lp_user_id,
            "claim",
            Found(new, operator, lp_user_id),
            None,
            {"amount": new.amount, "currency": currency, "notes": notes},
        )
    return Recorded(new.id, True)


async def _check_claims(conn: Connection, client: Client) -> None:
    if await sql.open_claims(conn, client.id) >= CLAIMS_AT_MOST:
        raise ConflictError(
            f"You have {CLAIMS_AT_MOST} claims at this machine that wait for an "
            "answer: wait for it."
        )


async def dispute(lp_user_id: str, deposit_id: str, reason: str) -> str:
    """The LP's word that this deposit is wrong; it changes nothing of the money."""
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await sql.lps_deposit(conn, deposit_id, lp_user_id)
        if found.deposit.dispute_state == "open":
            raise ConflictError("You dispute this deposit already.")
        await sql.write_deposit(
            conn,
            found.deposit,
            {
                "dispute_state": "open",
                "dispute_by": "lp",
                "dispute_reason": reason,
                "dispute_opened_at": utc_now(),
                "dispute_closed_at": None,
                "dispute_outcome": None,
            },
        )
        await _audit(conn, lp_user_id, "dispute", found, None, _facts(found), reason)
    return deposit_id


def _facts(found: Found) -> dict[str, Any]:
    deposit = found.deposit
    return {
        "status": deposit.status,
        "amount": deposit.amount,
        "currency": deposit.currency,
    }


async def withdraw_dispute(
    lp_user_id: str, deposit_id: str, reason: str | None = None
) -> str:
    """Close a dispute, by who opened it."""
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await sql.lps_deposit(conn, deposit_id, lp_user_id)
        await _close_dispute(conn, found, "withdrawn")
        await _audit(
            conn, lp_user_id, "dispute_withdrawn", found, None, _facts(found), reason
        )
    return deposit_id


async def _close_dispute(conn: Connection, found: Found, outcome: str) -> None:
    if found.deposit.dispute_state != "open":
        raise ConflictError("Nobody disputes this deposit.")
    await sql.write_deposit(
        conn,
        found.deposit,
        {
            "dispute_state": "closed",
            "dispute_outcome": outcome,
            "dispute_closed_at": utc_now(),
        },
    )


# ------------------------------------------------------------------ what the super says


async def decide(super_id: str, deposit_id: str, granted: bool, reason: str) -> str:
    """The super's decision on what is open: a reversal that was asked for, and a
    dispute. `granted`: the reversal is made, the dispute is upheld."""
    async with transaction() as conn:
        await lock_ledger(conn)
        found = await sql.get_own_deposit(conn, deposit_id, super_id, is_super=True)
        asks = found.deposit.reversal_state == "requested"
        if not asks and found.deposit.dispute_state != "open":
            raise ConflictError("There is nothing to decide about this deposit.")
        if found.deposit.dispute_state == "open":
            outcome = "upheld" if granted else "dismissed"
            await _close_dispute(conn, found, outcome)
            facts = {**_facts(found), "outcome": outcome}
            await _audit(conn, super_id, "decided", found, None, facts, reason)
        if asks:
            found = await sql.get_own_deposit(conn, deposit_id, super_id, is_super=True)
            await _decide_reversal(conn, super_id, found, granted, reason)
    return deposit_id
