"""Pay them: from a landed settlement to everybody paid, once.

One pass plans what has landed, opens payouts for the legs that are due, and advances
every unfinished payout by what LNbits' rows say of it.

Guaranteed: only the engine (the holder of the lease) plans and pays; whatever is
interrupted is continued by the next pass from what stands in the database, in this
process or another.
Not guaranteed: when. Refusals that do not depend on the destination (a short wallet,
LNbits' limits, only-incoming mode) wait, with the reason on the leg.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from loguru import logger

from . import crud
from .base import lease, processes
from .host import limits
from .host.database import core_connection, deferred_commit
from .models import Payout, Settlement, utc_now
from .money import (
    ending,
    facts_crud,
    hosts_crud,
    payouts,
    payouts_crud,
    planning,
    receipts,
    rounds,
    strays_crud,
)
from .money.payouts import DestinationError, Observation, Outcome, in_flight_payments
from .money.rush import debouncer

# Sharing a connection halves the cost of internal payments, and everybody else waits
# for it: given back after so many seconds, however slow LNbits has become.
MAX_CONNECTION_SECONDS = 0.1
# what became of the payments is looked at, and kept, after so many seconds
OUTCOME_INTERVAL_SECONDS = 0.5
# invoices committed together, and kept in our database in one transaction
BATCH = 50
MAX_EXTERNAL_AT_ONCE = 3
# LNbits refused to pay an invoice that is kept (a short wallet, a limit): ask again
REFUSED_WAIT = timedelta(minutes=1)

# Who we are in the lease, the claims and the payouts: new with every process.
INSTANCE_ID = processes.new_name()

# Set by whatever makes work for the engine in this process.
work = asyncio.Event()


def wake() -> None:
    """Tell the engine's worker of this process that there is something to do."""
    work.set()


class Places:
    """So many at once for each paying wallet, in the order in which they came."""

    def __init__(self) -> None:
        self._of_wallet: dict[str, asyncio.Semaphore] = {}

    def of(self, wallet_id: str) -> asyncio.Semaphore:
        return self._of_wallet.setdefault(
            wallet_id, asyncio.Semaphore(MAX_EXTERNAL_AT_ONCE)
        )


class Worker:
    """The engine's hands in this process: passes one after another, never two."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.externals: dict[str, asyncio.Task] = {}
        # of each paying wallet, so that nobody's dead addresses take others' places;
        # and asking what became of a payment takes none of those for paying
        self.paying = Places()
        self.asking = Places()

    async def run_pass(self) -> int:
        """Plan, open payouts, advance them; returns how many things were done."""
        async with self.lock:
            if not await lease.holds_lease(INSTANCE_ID):
                return 0
            done = await plan_pending()
            stopped = await strays_crud.stopped_wallets()
            wallets = [
                w for w in await payouts_crud.waiting_wallets() if w not in stopped
            ]
            # one answer for all wallets: asking uses it up
            most = debouncer.take_batch_limit() if wallets else None
            for wallet_id in wallets:
                done += await _run_isolated(
                    rounds.open_round(wallet_id, INSTANCE_ID, most),
                    f"round of wallet {wallet_id}",
                )
            unfinished = await payouts_crud.unfinished_payouts()
            done += await self.advance(
                [p for p in unfinished if p.source_wallet_id not in stopped]
            )
            return done

    async def plan(self) -> None:
        """Only plan: our own database, and nothing of LNbits'."""
        async with self.lock:
            if await lease.holds_lease(INSTANCE_ID):
                await plan_pending()

    async def advance(self, unfinished: Sequence[Payout]) -> int:
        """One step of every unfinished payout that nobody is busy with."""
        busy = in_flight_payments.payout_ids | set(self.externals)
        free = [p for p in unfinished if p.id not in busy]
        new = [p for p in free if p.status == "new" and p.is_internal]
        invoiced = [p for p in free if p.status == "invoiced" and p.is_internal]
        done = 0
        for part in _slices(invoiced, BATCH):
            done += await _run_batch_isolated(continue_internal, part)
        for part in _slices(new, BATCH):
            done += await _run_batch_isolated(invoice_and_pay, part)
        for payout in (p for p in free if not p.is_internal):
            done += self.start_external(payout)
        return done

    def start_external(self, payout: Payout) -> int:
        """Pay outside, or ask the node what became of it, in the background: a slow
        server out there, or a node that does not answer, delays nobody."""
        if payout.id in self.externals or not limits.has_funding_source():
            return 0

        async def one() -> int:
            wallet_id = payout.source_wallet_id
            if payout.status == "invoiced":
                async with self.asking.of(wallet_id):
                    if await _run_batch_isolated(look_outside, [payout]):
                        return 1
            async with self.paying.of(wallet_id):
                return await _run_batch_isolated(pay_external, [payout])

        self.externals[payout.id] = asyncio.create_task(one())

        def forget(_: asyncio.Task) -> None:
            self.externals.pop(payout.id, None)
            wake()

        self.externals[payout.id].add_done_callback(forget)
        return 1

    async def run_until_idle(self, most: int = 200) -> None:
        """Passes until nothing is left to do now (used by tests and at shutdown)."""
        for _ in range(most):
            done = await self.run_pass()
            if self.externals:
                await asyncio.gather(*self.externals.values())
                continue
            if done == 0:
                return


worker = Worker()


async def _run_isolated(coro: Coroutine[Any, Any, int], what: str) -> int:
    """Run one party's work so that what goes wrong with it stops nobody after it.

    Nothing is lost by catching everything here: what was under way stands in the
    database as it was, and the next pass continues it.
    """
    try:
        return await coro
    except Exception:
        logger.exception(f"satmachineadmin: {what}")
        return 0


async def _run_batch_isolated(
    work: Callable[[Sequence[Payout]], Coroutine[Any, Any, int]], part: Sequence[Payout]
) -> int:
    """Work on several payouts at once; if that raises, on one after the other, so that
    only the one that raises waits. Shielded: what is begun comes to its end."""
    ids = [p.id for p in part]
    try:
        return await in_flight_payments.run(ids, work(part))
    except Exception as exc:
        logger.exception(f"satmachineadmin: payouts {ids}")
        if len(part) == 1:
            await payouts_crud.note_payout(
                part[0],
                reason=f"An error of this server ({type(exc).__name__}): see its log.",
                next_try_at=payouts.check_again_at(part[0], utc_now()),
            )
            return 0
    return sum([await _run_batch_isolated(work, [payout]) for payout in part])


async def process_settlement(settlement_id: str) -> Settlement | None:
    """Plan one settlement and pay what is due now; its row afterwards.

    Does nothing in a process that is not the engine. Safe to call again at any time.
    """
    await planning.plan_settlement(settlement_id, INSTANCE_ID)
    await worker.run_until_idle()
    return await crud.get_settlement(settlement_id)


async def plan_pending() -> int:
    """Plan what has landed, in order of transaction time."""
    done = 0
    for settlement_id in await crud.pending_settlement_ids():
        done += await _run_isolated(
            planning.plan_settlement(settlement_id, INSTANCE_ID),
            f"plan {settlement_id}",
        )
        # others may use the database between two plans
        await asyncio.sleep(0)
    return done


# ----------------------------------------------------------------- internal payouts


async def invoice_and_pay(new: Sequence[Payout]) -> int:
    """Invoices for payouts to wallets of this instance, kept, then paid.

    Killed before invoices are committed: there are none, and nothing to pay. Killed
    after that and before they are stored: LNbits keeps invoices that nobody pays, and
    the next start makes others.
    """
    wanted = await ending.may_be_paid(new, INSTANCE_ID)
    made: list[Payout] = []
    dead: list[tuple[Payout, str]] = []
    a_while = Deadline(OUTCOME_INTERVAL_SECONDS)
    while len(made) + len(dead) < len(wanted):
        await _invoice_in_one_slice(wanted[len(made) + len(dead) :], made, dead)
        if a_while.expired:
            break  # the rest is in the next pass
    for payout, reason in dead:
        await ending.fail_payout(payout, reason)
    # what was stored a moment ago was stored under the lease
    kept = await payouts_crud.store_invoices(made, INSTANCE_ID)
    await _pay_stored(kept)
    return len(kept) + len(dead) + len(new) - len(wanted)


async def _invoice_in_one_slice(
    wanted: Sequence[Payout], made: list[Payout], dead: list[tuple[Payout, str]]
) -> None:
    """Invoices for the first of these payouts, committed together."""
    async with deferred_commit() as conn:
        slice_end = Deadline(MAX_CONNECTION_SECONDS)
        for payout in wanted:
            try:
                invoice = await payouts.make_internal_invoice(
                    payout, _description(payout), conn
                )
                made.append(invoice)
            except DestinationError as exc:
                dead.append((payout, str(exc)))
            if slice_end.expired:
                return


async def continue_internal(invoiced: Sequence[Payout]) -> int:
    """Look what became of invoices that were kept by an earlier pass, or by another
    process, and pay those that LNbits has not tried."""
    to_pay = await ending.may_be_paid(await reconcile_payouts(invoiced), INSTANCE_ID)
    done = len(invoiced) - len(to_pay)
    if to_pay and await lease.holds_lease(INSTANCE_ID):
        done += await _pay_stored(to_pay)
    return done


async def _pay_stored(stored: Sequence[Payout]) -> int:
    """Pay stored invoices while we are the engine; returns how many were tried."""
    left = list(stored)
    while left:
        if len(left) < len(stored):
            await debouncer.wait_until_quiet()
            if not await lease.holds_lease(INSTANCE_ID):
                break
            # time has passed: wallets may be gone by now
            left = await ending.may_be_paid(left, INSTANCE_ID)
        left = left[await _pay_for_a_while(left) :]
    return len(stored) - len(left)


async def _pay_for_a_while(stored: Sequence[Payout]) -> int:
    """Pay the first of these invoices, and see what LNbits says of them, on a few
    connections: each time that one is given back, everybody who waits for it comes
    first, and among them is all that LNbits does about a payment afterwards."""
    tried: list[Payout] = []
    refused: dict[str, str] = {}
    seen: dict[str, Observation] | None = None
    a_while = Deadline(OUTCOME_INTERVAL_SECONDS)
    facts = await facts_crud.facts_of_payouts([p.id for p in stored])
    while seen is None:
        async with core_connection() as conn:
            slice_end = Deadline(MAX_CONNECTION_SECONDS)
            for payout in stored[len(tried) :]:
                reason = await payouts.try_to_pay(
                    payout, _description(payout), conn, facts=facts.get(payout.id)
                )
                if reason:
                    refused[payout.id] = reason
                tried.append(payout)
                if slice_end.expired:
                    break
            if len(tried) == len(stored) or a_while.expired or debouncer.should_defer():
                seen = await payouts.read_outcomes(tried, conn)
    for payout in await _apply(tried, seen):
        await _not_paid(payout, refused.get(payout.id))
    return len(tried)


class Deadline:
    """So many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.until


async def _not_paid(payout: Payout, reason: str | None) -> None:
    """LNbits refused and wrote no row: the same invoice is tried again later."""
    now = utc_now()
    await payouts_crud.note_payout(
        payout,
        reason=reason or "LNbits did not pay and gave no reason.",
        next_try_at=now + REFUSED_WAIT,
    )


def _description(payout: Payout) -> str:
    return f"Satoshi Machine payout {payout.id}"


# ----------------------------------------------------------------- external payouts


async def look_outside(one_payout: Sequence[Payout]) -> int:
    """Read, or ask the node, what became of a payment; 0 if it was never tried."""
    return 0 if await reconcile_payouts(one_payout) else 1


async def pay_external(one_payout: Sequence[Payout]) -> int:
    """Fetch an invoice from outside if there is none, keep it, pay it, look."""
    (payout,) = one_payout
    untried = one_payout
    if payout.status == "invoiced":
        untried = await reconcile_payouts([payout])
    if not await ending.may_be_paid(untried, INSTANCE_ID):
        return 1
    if payout.status == "new":
        fetched = await _fetch_invoice(payout)
        if fetched is None:
            return 1
        kept = await payouts_crud.store_invoices([fetched], INSTANCE_ID)
        if not kept:
            await _not_kept(payout)
            return 0
        payout = kept[0]
    if not await lease.holds_lease(INSTANCE_ID):
        return 0
    facts = await facts_crud.facts_of_payouts([payout.id])
    reason = await payouts.try_to_pay(
        payout, _description(payout), facts=facts.get(payout.id)
    )
    for unpaid in await reconcile_payouts([payout]):
        await _not_paid(unpaid, reason)
    return 1


async def _fetch_invoice(payout: Payout) -> Payout | None:
    """The payout with an invoice from outside; None if there is none now. A host that
    did not answer in time is left alone for a while, by all that goes there."""
    host = hosts_crud.host_of(payout.destination)
    until = await hosts_crud.paused_until(host) if host else None
    if until:
        await payouts_crud.note_payout(
            payout,
            reason="The destination's server did not answer in time; it is asked again "
            f"at {until:%H:%M} UTC.",
            next_try_at=until,
        )
        return None
    try:
        fetched = await payouts.fetch_external_invoice(payout)
    except DestinationError as exc:
        if host and isinstance(exc, payouts.NoAnswerError):
            await hosts_crud.note_timeout(host)
        await ending.fail_payout(payout, str(exc))
        return None
    if host:
        await hosts_crud.note_answer(host)
    return fetched


async def _not_kept(payout: Payout) -> None:
    """The invoice was used before (then the destination is at fault), or the lease is
    another's now (then the payout is too)."""
    if await lease.holds_lease(INSTANCE_ID):
        await ending.fail_payout(
            payout, "The destination gave an invoice that was used before."
        )


# ------------------------------------------------------------------------- outcomes


async def reconcile_payouts(invoiced: Sequence[Payout]) -> list[Payout]:
    """Read the outcomes of payouts and do what each means.

    Returns those that LNbits has not tried: for them, and only them, `pay_invoice` may
    be called with the invoice they have.
    """
    if not invoiced:
        return []
    return await _apply(invoiced, await payouts.read_outcomes(invoiced))


async def _apply(
    invoiced: Sequence[Payout], seen: Mapping[str, Observation]
) -> list[Payout]:
    paid = [p for p in invoiced if seen[p.id].outcome is Outcome.PAID]
    await payouts_crud.complete_payouts([seen[p.id].booked(p) for p in paid])
    not_tried = []
    for payout in invoiced:
        outcome = seen[payout.id].outcome
        if outcome is Outcome.NOT_TRIED:
            not_tried.append(payout)
        elif outcome is not Outcome.PAID:
            await _apply_unpaid(payout, seen[payout.id])
    return not_tried


async def _apply_unpaid(payout: Payout, seen: Observation) -> None:
    if seen.outcome is Outcome.UNCREDITED:
        if await payouts.credit_receiver(seen):
            await payouts_crud.complete_payouts([seen.booked(payout)])
        else:
            await payouts_crud.note_payout(
                payout,
                reason="Waiting for LNbits to credit the receiver.",
                next_try_at=utc_now() + timedelta(seconds=5),
            )
    elif seen.outcome is Outcome.INVOICE_FAILED:
        await _apply_invoice_failed(payout, seen)
    elif seen.outcome is Outcome.TAKEN:
        await ending.fail_payout(payout, payouts.TAKEN_REASON)
    elif seen.outcome is Outcome.FAILED:
        await _apply_failed(payout, seen)
    else:
        await _apply_in_flight(payout, seen)


async def _apply_invoice_failed(payout: Payout, seen: Observation) -> None:
    if payout.withdrawn_at is None:
        await ending.fail_payout(
            payout, "LNbits gave the invoice up before it was paid."
        )
        return
    reason = payout.reason or ending.WALLET_GONE
    since = seen.incoming.updated_at if seen.incoming else payout.withdrawn_at
    if utc_now() - since >= ending.SETTLING_TIME:
        await ending.withdraw(payout, reason, INSTANCE_ID)
        return
    await payouts_crud.note_payout(
        payout, reason=reason, next_try_at=since + ending.SETTLING_TIME
    )


async def _apply_failed(payout: Payout, seen: Observation) -> None:
    """A failed row frees the legs, unless the node says that it paid after all."""
    try:
        is_failed = await payouts.is_really_failed(seen)
    except Exception as exc:  # see _apply_in_flight
        logger.warning(f"satmachineadmin: payout {payout.id}: status unknown: {exc}")
        await _wait_for_node(payout)
        return
    if is_failed:
        await ending.fail_payout(payout, "LNbits reports that the payment failed.")
    else:
        await payouts_crud.complete_payouts([seen.booked(payout)])


async def _apply_in_flight(payout: Payout, seen: Observation) -> None:
    outgoing = seen.outgoing
    age = utc_now() - outgoing.updated_at if outgoing else timedelta(0)
    if age >= timedelta(minutes=1):
        try:
            await payouts.ask_node(seen)
        except Exception as exc:
            # every node's client raises classes of its own: none is an outcome, and
            # none may hold up the payouts behind this one
            logger.warning(f"satmachineadmin: payout {payout.id}: no status: {exc}")
        now_seen = (await payouts.read_outcomes([payout]))[payout.id]
        if now_seen.outcome is Outcome.PAID:
            await payouts_crud.complete_payouts([now_seen.booked(payout)])
            return
    await _wait_for_node(payout)


async def _wait_for_node(payout: Payout) -> None:
    minutes = int((utc_now() - payout.created_at).total_seconds() // 60)
    await payouts_crud.note_payout(
        payout,
        reason=f"On its way over Lightning for {minutes} min, outcome unknown.",
        next_try_at=payouts.check_again_at(payout, utc_now()),
    )


async def recheck_paid_payouts(paid: Iterable[Payout]) -> int:
    """The sweep's second look at completed payouts; returns how many it mended.

    A slow status check of LNbits can overwrite a received payment's `success` with
    `failed`: the payer's row is still `success`, so the receiver is credited again.
    """
    mended = 0
    listed = list(paid)
    seen = await payouts.read_outcomes(listed)
    for payout in listed:
        outcome = seen[payout.id].outcome
        if outcome is Outcome.UNCREDITED:
            mended += await payouts.credit_receiver(seen[payout.id])
        elif outcome is not Outcome.PAID:
            logger.error(
                f"satmachineadmin: payout {payout.id} ({payout.payment_hash}) "
                f"was paid, and LNbits now says {outcome.value}"
            )
    return mended


async def look_again_at_landed(hashes: Sequence[str]) -> int:
    """The same for payments between a machine and a customer of this instance, in
    either direction: the machine of a cash-out, the customer of a cash-in."""
    return await receipts.finish_payments(list(hashes))


def _slices(items: Sequence[Payout], size: int) -> list[list[Payout]]:
    return [list(items[i : i + size]) for i in range(0, len(items), size)]
