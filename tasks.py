"""When? The listener, the sweep, the lease and the engine's worker.

Guaranteed: every successful stamped payment of a machine's wallet lands, by the
listener within moments or by the sweep within minutes, also when it was confirmed
while nobody was listening; one process of all that share a database plans and pays.
Not guaranteed: that the listener sees anything. LNbits' queue is memory, and outgoing
payments never enter it: its events are hints.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any

from lnbits.core.models import Payment
from lnbits.task_manager import task_manager
from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from . import bitspire, crud, distribution
from .base import cursors, lease, processes, rates_crud
from .base.database import CHUNK, db, db_time, transaction
from .base.events import in_own_task, wait_for_event
from .desk import consents, foreign, notices, reconciliation
from .desk.courier import courier
from .desk.outbox import outbox
from .desk.states import note_states
from .host import limits, written
from .host.payments import as_payment, successful_page
from .host.rates import ask_price
from .line import engine as line
from .models import utc_now
from .money import (
    forwards_crud,
    landing,
    owed_crud,
    payouts_crud,
    planning,
    receipts,
    strays,
)
from .money.rush import debouncer
from .parties import discounts_crud

PREFIX = "ext_satmachineadmin"
SWEEP_SECONDS = 60
PRICE_SECONDS = 600
FULL_SWEEP_SECONDS = 3600
RECHECK_INTERVAL_SECONDS = 600
DESK_SECONDS = 60
# the super is told of what lasts longer
TROUBLE = timedelta(minutes=5)
IDLE_POLL_SECONDS = 2
# whether the engine's process has ended is asked so often, of the kernel
WATCH_SECONDS = 1
# LNbits' clocks (several processes, a slow commit) may differ by this much
SWEEP_OVERLAP = timedelta(minutes=15)
CURSOR_SECONDS = 600
# a payment that LNbits has half written is looked at again after a minute or two
SWEEP_QUIET_SECONDS = 180
PAGE = 500
BEFORE_BITCOIN = datetime(2009, 1, 1, tzinfo=timezone.utc)


def _rest_of_sweep() -> written.Rest:
    return written.Rest(SWEEP_QUIET_SECONDS)


@dataclass
class State:
    """What `/health` tells of this process."""

    is_engine: bool = False
    # payments of ours that only LNbits knows were looked for since we are the engine
    has_looked: bool = False
    lease_renewed: float = 0.0
    # the lease as this process last saw it in another's hands
    lease_seen: lease.Lease | None = None
    # the counter of our file then; None if it moved meanwhile
    lease_raw: int | None = None
    # unless we know better, as after a start
    is_owed: bool = True
    listener_at: datetime | None = None
    sweep_at: datetime | None = None
    sweep_error: str | None = None
    worker_at: datetime | None = None
    full_sweep: float = field(default=-1e9)
    second_look: float = field(default=-1e9)
    prices: float = field(default=-1e9)
    # when the sweep's cursor was last written down
    cursor_written: float = field(default=-1e9)
    rest: written.Rest = field(default_factory=written.Rest)
    sweep_rest: written.Rest = field(default_factory=_rest_of_sweep)
    desk_rest: written.Rest = field(default_factory=written.Rest)
    relays_at: datetime = field(default_factory=utc_now)


state = State()
lease.owed_is(owed_crud.OWED)
# set when something begins to be owed: the lease is renewed for a shorter time then
owed_began = asyncio.Event()


# ------------------------------------------------------------------------- listener


async def on_invoice_paid(payment: Payment) -> None:
    """A hint from LNbits that an invoice of any wallet was paid.

    An exception here would lose the hint in LNbits' queue: the sweep finds the payment.
    A CancelledError would end the listener for good.
    """
    state.listener_at = utc_now()
    landed = await in_own_task(landing.land_payment(payment))
    if landed and landed.is_new:
        debouncer.landed()
        distribution.wake()


# ---------------------------------------------------------------------------- sweep


async def sweep(*, is_full: bool = False) -> int:
    """Land what the listener missed, both directions; returns how many landed.

    Own SQL on LNbits' payments of all wallets that are or ever were a machine's: paged
    by (updated_at, checking_id), since `created_at` is when an invoice was *made*. The
    watermark moves only when every page was read.
    """
    started = utc_now()
    since = None if is_full else await _sweep_from()
    if state.is_engine:
        await receipts.finish_receipts(since)
    landed = 0
    wallets = sorted(await crud.machine_wallets())
    for index in range(0, len(wallets), CHUNK):
        landed += await _sweep_wallets(wallets[index : index + CHUNK], since)
    await _keep_cursor(str(started.timestamp()), is_news=bool(landed))
    state.sweep_at = utc_now()
    if landed:
        distribution.wake()
    return landed


async def _keep_cursor(cursor: str, *, is_news: bool) -> None:
    """A restart reads on from here, and some minutes more are no matter."""
    if not is_news and time.monotonic() - state.cursor_written < CURSOR_SECONDS:
        return
    state.cursor_written = time.monotonic()
    if state.is_engine and not is_news:
        lease.with_next_renewal(partial(cursors.put_cursor, name="sweep", value=cursor))
    else:
        await cursors.set_cursor("sweep", cursor)


async def _sweep_from() -> datetime | None:
    value = await cursors.get_cursor("sweep")
    if value is None:
        return None
    return datetime.fromtimestamp(float(value), timezone.utc) - SWEEP_OVERLAP


async def _sweep_wallets(wallet_ids: list[str], since: datetime | None) -> int:
    landed = 0
    after = (db_time(since or BEFORE_BITCOIN), "")
    while True:
        page = await successful_page(wallet_ids, after, PAGE)
        if not page:
            return landed
        landed += await _land_page(page)
        after = (page[-1]["updated_at"], page[-1]["checking_id"])
        # the next page waits until others had their turn on LNbits' database
        await asyncio.sleep(0)


async def _land_page(page: list[Mapping[str, Any]]) -> int:
    stamped = [row for row in page if bitspire.SOURCE in str(row["extra"])]
    sides = [_side(row) for row in stamped]
    async with db.connect() as conn:
        known = await crud.recorded_sides(conn, sides)
    landed = 0
    for row, side in zip(stamped, sides, strict=True):
        if side not in known:
            landed += await _land_row(row)
    return landed


def _side(row: Mapping[str, Any]) -> crud.PaymentSide:
    return row["payment_hash"], row["wallet_id"], int(row["amount"]) < 0


async def _land_row(row: Mapping[str, Any]) -> int:
    """One payment that cannot be landed never stops the ones behind it."""
    try:
        found = await landing.land_payment(as_payment(row))
    except (
        *(SQLAlchemyError, ArithmeticError, LookupError, TypeError, ValueError),
        RecursionError,  # an `extra` of a thousand brackets, which LNbits cannot read
    ):
        logger.exception(
            f"satmachineadmin: payment {row['payment_hash']} in wallet "
            f"{row['wallet_id']} could not be landed; the next full sweep tries again"
        )
        return 0
    return int(bool(found and found.is_new))


# --------------------------------------------------------------------------- engine


async def renew_lease_once() -> None:
    """Become the engine, or stay it."""
    was = state.is_engine
    state.is_engine = await _hold_or_take()
    if state.is_engine:
        state.lease_renewed = time.monotonic()
    if state.is_engine != was:
        state.has_looked = False
        # an engine has more to do in its turns than another
        state.sweep_rest, state.desk_rest = _rest_of_sweep(), written.Rest()
        logger.info(
            "satmachineadmin: this process is the engine now"
            if state.is_engine
            else "satmachineadmin: another process is the engine"
        )
        distribution.wake()


async def _hold_or_take() -> bool:
    me = distribution.INSTANCE_ID
    if state.is_engine or state.lease_seen is None:
        if await _renew(me):
            return True
    seen = await _look_at_lease()
    if seen.is_over or seen.holder == me:
        return await _renew(me)
    if seen.holder and processes.is_gone(seen.holder):
        return await lease.take_from(seen.holder, me)
    if seen.is_owed and seen.seconds_left > lease.LEASE_SECONDS:
        await lease.shorten()
    return False


async def _renew(me: str) -> bool:
    with written.ours.no_news() as committed:
        is_ours = await lease.acquire_or_renew(me)
        if is_ours:
            committed()
    return is_ours


async def _look_at_lease() -> lease.Lease:
    """And tell whoever rests whether more than the lease was written."""
    last, last_raw = state.lease_seen, state.lease_raw
    raw = written.raw_position()  # before anything is read
    seen = await lease.look()
    state.lease_seen = seen
    state.lease_raw = raw if raw == written.raw_position() else None
    if last and seen.expires_epoch != last.expires_epoch:
        written.renewed_by_another(last_raw, state.lease_raw)
    written.polled(seen.snapshot, seen.expires_epoch, is_engine=False)
    return seen


def note_owed(*, is_owed: bool) -> None:
    """What the worker found out, for the lease."""
    if is_owed and not state.is_owed:
        owed_began.set()
    state.is_owed = is_owed


async def sweep_turn() -> None:
    """One turn of the sweep, unless there was nothing and nobody has written since."""
    position = written.of_both()  # before anything is read
    if state.sweep_rest.may_go_on(position):
        state.sweep_at = utc_now()
        return
    await sweep_once()
    is_done = not (state.sweep_error or await owed_crud.is_anything_waited_for())
    state.sweep_rest.looked(position, is_done=is_done)


async def sweep_once() -> None:
    """One turn of the sweep; every process lands, only the engine mends."""
    is_full = time.monotonic() - state.full_sweep >= FULL_SWEEP_SECONDS
    try:
        if state.is_engine:
            await look_for_strays()
        await sweep(is_full=is_full)
        state.sweep_error = None
    except (
        *(SQLAlchemyError, OSError),
        # a row that cannot be read: nothing is paid before it was, so somebody is told
        *(ArithmeticError, LookupError, TypeError, ValueError),
    ) as exc:
        state.sweep_error = f"{type(exc).__name__}: {str(exc)[:200]}"
        logger.exception("satmachineadmin: sweep")
        return
    if is_full:
        state.full_sweep = time.monotonic()
    if state.is_engine:
        await run_maintenance()


async def look_for_strays() -> None:
    """Payments of ours that are in one of the two databases only. Nothing is paid
    after a start before this was done once."""
    await strays.look(is_start=not state.has_looked)
    state.has_looked = True


async def run_maintenance() -> None:
    """What the engine looks after between payments."""
    now = utc_now()
    await crud.overdue_dispenses(planning.overdue_before(now))
    await forwards_crud.void_stale()
    await consents.settle_open()
    await discounts_crud.give_back_unpaid()
    if time.monotonic() - state.second_look >= RECHECK_INTERVAL_SECONDS:
        since = now - timedelta(hours=48)
        await distribution.recheck_paid_payouts(
            await payouts_crud.paid_payouts_since(since)
        )
        await distribution.look_again_at_landed(await crud.hashes_landed_since(since))
        await foreign.post_foreign()
        state.second_look = time.monotonic()


async def desk_turn() -> None:
    """One turn of the desk, unless all is as it was in the last."""
    seen = written.of_both()  # before anything is read
    trouble = await health_problems() if state.is_engine else {}
    position = None if seen is None else (seen, tuple(sorted(trouble.items())))
    if not state.desk_rest.may_go_on(position):
        await notify_and_reconcile()
        state.desk_rest.looked(position, is_done=True)


async def notify_and_reconcile() -> None:
    """Tell people what waits for them, and reconcile by night. What goes wrong here
    has a loop of its own, so that it delays no payment."""
    if not state.is_engine:
        return
    # one after another, and what goes wrong with one keeps no other from its turn
    for turn in (note_states, _tell_of_trouble, reconciliation.nightly):
        try:
            await turn()
        except (SQLAlchemyError, OSError):
            logger.exception(f"satmachineadmin: {turn.__name__}")


async def _tell_of_trouble() -> None:
    await notices.run_notices(await health_problems())


async def health_problems() -> dict[str, str]:
    """What the super must know of this process, by name; empty if all is well."""
    now = utc_now()
    found: dict[str, str] = {}
    if state.sweep_error:
        found["sweep"] = f"Payments are not looked for: {state.sweep_error}"
    if is_ready() and state.worker_at and now - state.worker_at > TROUBLE:
        found["worker"] = f"Nothing is paid since {state.worker_at:%Y-%m-%d %H:%M} UTC."
    seen = await line.health()
    if seen["problem"]:
        found["service key"] = seen["problem"]
    if not seen["relays"] or any(relay["connected"] for relay in seen["relays"]):
        state.relays_at = now
    elif now - state.relays_at > TROUBLE:
        found["relays"] = (
            f"None of the {len(seen['relays'])} relays can be reached: machines that "
            "speak over Nostr are not heard."
        )
    for relay in seen["relays"]:
        if relay.get("problem"):
            found[relay["url"]] = f"{relay['url']}: {relay['problem']}"
    return found


async def work_once() -> None:
    """One turn of the worker: passes while there is work, then wait for more."""
    if not state.is_engine or not is_ready():
        await _wait_for_work()
        # a call for work that is another process's to do would wake this one for ever
        distribution.work.clear()
        return
    position = written.position()  # before anything is read, and free of charge
    if not await _is_called(position):
        state.worker_at = utc_now()
        await _wait_for_work()
        return
    distribution.work.clear()
    if not state.has_looked:
        await look_for_strays()
    await debouncer.wait_until_quiet(distribution.worker.plan)
    done = await distribution.worker.run_pass()
    state.worker_at = utc_now()
    if done == 0:
        await _wait_for_work()
    else:
        await asyncio.sleep(0)


async def _is_called(position: object | None) -> bool:
    """Whether a pass may find anything: one statement, and on SQLite none while nobody
    has written. What another process has landed is found by this alone."""
    if distribution.work.is_set() or not state.has_looked:
        note_owed(is_owed=True)  # perhaps
        return True
    if state.rest.may_go_on(position):
        return False
    is_due, is_later = await payouts_crud.look_for_work()
    state.rest.looked(position, is_done=not (is_due or is_later))
    note_owed(is_owed=is_due or is_later)
    return is_due


async def _wait_for_work() -> None:
    await wait_for_event(distribution.work, IDLE_POLL_SECONDS)


async def ask_prices() -> None:
    """What a bitcoin costs in each machine's currency, kept in our database: in a loop
    of its own, since an answer may take seconds, and nobody waits for it."""
    if not state.is_engine or time.monotonic() - state.prices < PRICE_SECONDS:
        return
    state.prices = time.monotonic()
    try:
        async with db.connect() as conn:
            codes = await rates_crud.machine_currencies(conn)
        for code in codes:
            price = await ask_price(code)
            if price is not None:
                await _keep_price(code, price)
    except (SQLAlchemyError, OSError):
        logger.exception("satmachineadmin: prices")


async def _keep_price(code: str, price: Decimal) -> None:
    with written.ours.no_news() as committed:
        async with transaction() as conn:
            is_kept = await rates_crud.keep_price(conn, code, price, utc_now())
        if is_kept:
            committed()


async def deliver_webhooks() -> None:
    """Tell operators' own servers what happened: in a loop of its own, since each may
    take seconds to answer, and no payment waits for one."""
    if not state.is_engine:
        courier.stop()
        await asyncio.sleep(IDLE_POLL_SECONDS)
        return
    try:
        await courier.turn(distribution.INSTANCE_ID)
    except asyncio.CancelledError:
        courier.stop()
        raise
    except (SQLAlchemyError, OSError):
        logger.exception("satmachineadmin: webhooks")
        await asyncio.sleep(IDLE_POLL_SECONDS)


async def send_messages() -> None:
    """Tell people: in a loop of its own, since a mail server may take its time, and no
    payment waits for one."""
    if not state.is_engine:
        await asyncio.sleep(IDLE_POLL_SECONDS)
        return
    try:
        await outbox.turn(distribution.INSTANCE_ID)
    except (SQLAlchemyError, OSError):
        logger.exception("satmachineadmin: messages")
        await asyncio.sleep(IDLE_POLL_SECONDS)


def is_ready() -> bool:
    """LNbits starts extensions before it sets its real funding source."""
    return limits.is_ready()


# ------------------------------------------------------------------- start and stop


def _every(
    seconds: float, func: Callable[[], Coroutine[Any, Any, None]]
) -> Callable[[], Coroutine[Any, Any, None]]:
    """A loop that ends when it is cancelled or LNbits stops, and not by what it does:
    what goes wrong in a turn, LNbits begins it again after."""

    async def loop() -> None:
        while limits.is_running():
            await in_own_task(func())
            if seconds:
                await asyncio.sleep(seconds)

    loop.__name__ = func.__name__
    return loop


async def lease_loop() -> None:
    """Keep the lease until we are stopped, then let the next engine begin at once.

    A payment that is still on its way then has its invoice in the database: whoever is
    the engine next pays that same invoice or none, and LNbits pays an invoice once.
    """
    try:
        while limits.is_running():
            await in_own_task(renew_lease_once())
            await (_rest_as_engine() if state.is_engine else _wait_for_lease())
    except asyncio.CancelledError:
        state.is_engine = False
        await lease.release_lease(distribution.INSTANCE_ID)
        raise


async def _rest_as_engine() -> None:
    """Until the lease must be renewed, which is soon after something is owed."""
    while state.is_engine:
        every = lease.RENEW_SECONDS if state.is_owed else lease.RESTING_RENEW_SECONDS
        left = state.lease_renewed + every - time.monotonic()
        if left <= 0:
            return
        owed_began.clear()
        await wait_for_event(owed_began, left)


async def _wait_for_lease() -> None:
    """Until it is worth a look at who holds the lease, and whether anything is owed.

    The holder's process has ended; its time may be over; somebody has written to the
    database, or where that cannot be told, a moment has passed.
    """
    seen, began = state.lease_seen, time.monotonic()
    raw = state.lease_raw
    left = seen.seconds_left + 0.2 if seen else 0.0
    while (waited := time.monotonic() - began) < left:
        if waited >= IDLE_POLL_SECONDS and (
            raw is None or raw != written.raw_position()
        ):
            return
        if seen and processes.is_gone(seen.holder):
            return
        await asyncio.sleep(min(WATCH_SECONDS, left - waited))


async def keep_line() -> None:
    """The line to the machines: only the engine listens and answers."""
    await line.run(lambda: state.is_engine and state.has_looked and is_ready())


TASKS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    f"{PREFIX}_lease": lease_loop,
    f"{PREFIX}_sweep": _every(SWEEP_SECONDS, sweep_turn),
    f"{PREFIX}_worker": _every(0, work_once),
    f"{PREFIX}_desk": _every(DESK_SECONDS, desk_turn),
    f"{PREFIX}_line": _every(SWEEP_SECONDS, keep_line),
    f"{PREFIX}_prices": _every(SWEEP_SECONDS, ask_prices),
    f"{PREFIX}_webhooks": _every(0, deliver_webhooks),
    f"{PREFIX}_messages": _every(0, send_messages),
}


def start() -> None:
    """Register the listener and the loops with LNbits' task manager.

    Task names are global in LNbits, so ours carry the extension's name. A loop that
    raises is started again by LNbits after 5 s.
    """
    task_manager.register_invoice_listener(on_invoice_paid, PREFIX)
    for name, func in TASKS.items():
        task_manager.create_permanent_task(func, name=name)


def stop() -> None:
    """Stop the loops; a payment in progress is shielded and comes to its end."""
    for name in [*TASKS, f"{PREFIX}_invoice_listener"]:
        task = task_manager.get_task(name)
        if task:
            task_manager.cancel_task(task)
    state.is_engine = False


def begin_anew() -> None:
    """Everything of ours was deleted: nothing that this process remembers is so. Its
    line closes, and the engine begins as after a start, once it has its lease again."""
    state.is_engine = False
    state.has_looked = False
    state.full_sweep = state.second_look = state.cursor_written = -1e9
    state.lease_seen = state.lease_raw = None
    state.is_owed = True
    owed_began.set()
    strays.watch.payout_id = None
    distribution.wake()
    line.wake()


async def health() -> dict[str, Any]:
    """Listener, sweep, engine, backlog and the oldest unpaid leg."""
    backlog = await crud.backlog()
    held = await lease.lease_state()
    oldest = backlog.pop("oldest_unpaid_leg_at")
    return {
        "listener": {"last_event_at": state.listener_at},
        "sweep": {"last_at": state.sweep_at, "error": state.sweep_error},
        "engine": {
            "is_this_process": state.is_engine,
            "holder": held["holder"],
            "seconds_left": held["seconds_left"],
            "last_pass_at": state.worker_at,
        },
        "relays": await line.health(),
        "backlog": backlog,
        "oldest_unpaid_leg": oldest,
    }
