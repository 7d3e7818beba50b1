"""Insight after a year: 100 000 settlements and 1 000 000 legs with their journal.

The three routes over the last month and over the year, in UTC and in a zone whose days
begin at a quarter to an hour; "first" is the very first answer, for which days are
summed up. Then the overview, lists and files of the same year. The rows are copies of
one settlement that was really paid, at five machines of one operator, made by the
database itself; each trade's LPs waited up to an hour.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from bench.figures import count_calls, engine_at_rest, say, seconds_of
from bench.stage import Stage
from bench.year import DAY, LEGS_EACH, SETTLEMENTS, tidy, unlanded

# isort: split
from lnbits.db import Connection
from world import World

from satmachineadmin import distribution, tasks
from satmachineadmin.base.database import (
    cents_sql,
    db,
    db_time,
    execute,
    fetch_all,
    fetch_one,
    transaction,
)
from satmachineadmin.base.zones import UTC
from satmachineadmin.books import summaries
from satmachineadmin.models import utc_now

from dev.accounts import UserSession

MACHINES = 5
RUNS = 7
LIMIT = 0.3


async def measure(scene: Stage) -> None:
    await engine_at_rest()
    world = await scene.world(LEGS_EACH, "90000000.00")
    payment = await world.core_payment(await unlanded(world))
    await tasks.landing.land_payment(payment)
    await distribution.worker.run_until_idle()
    settlement = await world.settlement(payment.payment_hash)
    started = time.perf_counter()
    await a_year_with_its_journal(world, settlement.id)
    await tidy(db)
    say(
        f"{SETTLEMENTS} settlements, {await _count('dca_payments')} legs and "
        f"{await _count('journal_lines')} lines of the journal at {MACHINES} machines, "
        f"written in {time.perf_counter() - started:.0f} s"
    )
    today = utc_now().date()
    year = f"from={today - timedelta(days=364)}"
    month = f"from={today - timedelta(days=29)}"
    paths = [
        f"/insight?{days}{more}"
        for days in (month, year)
        for more in ("", "&tz=Asia/Kathmandu", f"&machine_id={world.machine.id}")
    ]
    boss, lp = world.super_session, world.lps[0].user
    # days are summed up by the first of them
    await _ask(world.operator, paths[0])
    await _books(world)
    for user, path in (
        *((world.operator, path) for path in paths),
        *((lp, f"/lp/insight{more}") for more in ("?range=30d", "?range=all")),
        *((boss, f"/super/operators{more}") for more in ("", f"?{year}")),
    ):
        ask = partial(_ask, user, path)
        first = await seconds_of(ask)
        median, statements = await seconds_of(ask, RUNS), await count_calls(ask)
        verdict = "" if median <= LIMIT else f" (wanted: {LIMIT * 1000:.0f} ms)"
        say(
            f"GET {path}: {median * 1000:.0f} ms{verdict}, {statements} statements; "
            f"first {first * 1000:.0f} ms"
        )


# what a desk opens and files, of the month and of the year
PAGES = (
    *(
        "/overview?days=30",
        "/overview?days=365",
        "/overview?days=365&tz=Asia/Kathmandu",
    ),
    *("/settlements?limit=20", "/settlements?limit=20&offset=50000"),
    *("/settlements?limit=20&status=completed&sortby=wire_sats&direction=desc",),
    *("/payments?limit=20", "/payments?limit=20&leg_type=dca", "/deposits"),
    "/accounting/entries?limit=20",
)


async def _books(world: World) -> None:
    for path in PAGES:
        taken = await seconds_of(partial(_ask, world.operator, path), 5)
        verdict = "" if taken <= LIMIT else f" (wanted: {LIMIT * 1000:.0f} ms)"
        say(f"GET {path}: {taken * 1000:.0f} ms{verdict}")
    for days in (30, 365):
        entries = await seconds_of(partial(_by_entries, world, days), RUNS)
        rows = await seconds_of(partial(_by_rows, world, days), RUNS)
        say(
            f"the overview's sums of {days} days over entries: {entries / rows:.1f} x "
            f"those over settlements ({entries * 1000:.0f} and {rows * 1000:.0f} ms)"
        )
    today = utc_now().date()
    month = f"from={today - timedelta(days=29)}"
    for path in (
        "/settlements.csv",
        f"/accounting.csv?{month}",
        f"/accounting.csv?by=entry&{month}",
        f"/accounting.beancount?{month}",
    ):
        started = time.perf_counter()
        size = len((await world.operator.api.get(path, timeout=600)).content)
        seconds = time.perf_counter() - started
        say(f"GET {path}: {size >> 20} MiB in {seconds:.1f} s")


async def _by_entries(world: World, days: int) -> None:
    async with db.connect() as conn:
        await summaries.sums_of_days(conn, world.operator.user_id, False, days)


async def _by_rows(world: World, days: int) -> None:
    """As the overview summed before there was a journal."""
    since = UTC.start_of(UTC.today() - timedelta(days=days - 1))
    day = UTC.day_sql("s.transaction_time", since, utc_now())
    async with db.connect() as conn:
        await fetch_all(
            conn,
            f"""
            SELECT {day} AS day, s.tx_type, s.fiat_code, COUNT(*) AS n,
                SUM(COALESCE(s.dispensed_principal_sats, s.principal_sats)) AS sats,
                SUM(COALESCE(s.dispensed_platform_fee_sats, s.platform_fee_sats))
                    AS platform,
                SUM(COALESCE(s.dispensed_operator_fee_sats, s.operator_fee_sats))
                    AS operator,
                SUM({cents_sql("COALESCE(s.dispensed_fiat, s.fiat_amount)")}) AS cents,
                SUM(s.paid_to_lps_sats) AS paid_to_lps
            FROM satoshimachine.dca_settlements s
            WHERE s.machine_id IN (SELECT id FROM satoshimachine.dca_machines
                WHERE operator_user_id = :me) AND s.transaction_time >= :since
              AND s.status NOT IN ('quarantined', 'voided') AND s.is_test = false
            GROUP BY 1, 2, 3
            """,  # noqa: S608
            {"me": world.operator.user_id, "since": db_time(since)},
        )


async def _ask(user: UserSession, path: str) -> None:
    (await user.api.get(path, timeout=600)).raise_for_status()


async def _count(table: str) -> int:
    async with db.connect() as conn:
        sql = f"SELECT COUNT(*) AS n FROM satoshimachine.{table}"  # noqa: S608
        row = await fetch_one(conn, sql)
    return int(row["n"]) if row else 0


# the n-th trade's machine, moment, and how long its LPs waited
_MACHINE = f"CASE n % {MACHINES} WHEN 0 THEN '' ELSE '-m' || (n % {MACHINES}) END"
_STEP = 365 * DAY / SETTLEMENTS
_WAIT = "(n * 7919 % 3600)"


async def a_year_with_its_journal(world: World, settlement_id: str) -> None:
    """Copies a settlement with all that belongs to it a hundred thousand times."""
    start = db_time(utc_now() - timedelta(days=365))
    if db.type == "SQLITE":
        at = f"(CAST(:start AS REAL) + n * {_STEP})"
        paid, number = f"({at} + {_WAIT})", "printf('-%08d', n)"
    else:
        at = f"(CAST(:start AS TIMESTAMP) + n * INTERVAL '{_STEP} seconds')"
        paid = f"({at} + {_WAIT} * INTERVAL '1 second')"
        number = "'-' || LPAD(CAST(n AS TEXT), 8, '0')"
    times = dict.fromkeys(("created_at", "transaction_time", "planned_at"), at)
    later = dict.fromkeys(("processed_at", "completed_at"), paid)
    copy = _Copy({"start": start, "id": settlement_id}, number)
    async with transaction() as conn:
        if db.type == "SQLITE":
            # gigabytes of indexes, in no order: 2 MB would take half an hour
            await execute(conn, "PRAGMA satoshimachine.cache_size = -2000000")
        for n in range(1, MACHINES):
            machine = {"id": world.machine.id}
            suffix = f"'-m{n}'"
            await _Copy(machine, suffix).rows(
                *(conn, "dca_machines", "id = :id", ("id", "machine_npub", "wallet_id"))
            )
            await _Copy(machine, suffix).rows(
                *(conn, "dca_clients", "machine_id = :id", ("id", "machine_id"))
            )
        here = {name: f"{name} || {_MACHINE}" for name in ("machine_id", "client_id")}
        own = {**times, **later, "machine_id": here["machine_id"]}
        await copy.many(conn, "dca_settlements", "id = :id", ("payment_hash",), own)
        await copy.many(
            *(conn, "dca_payments", "settlement_id = :id", ("settlement_id",)),
            {**times, **later, **here},
        )
        when = f"CASE WHEN payment_id IS NULL THEN {at} ELSE {paid} END"
        own = {"at": when, "recorded_at": when, "machine_id": here["machine_id"]}
        ids = ("settlement_id", "payment_id")
        await copy.many(conn, "journal", "settlement_id = :id", ids, own)
        lines = (
            "journal_id IN (SELECT id FROM satoshimachine.journal "
            "WHERE settlement_id = :id)"
        )
        own = {"client_id": here["client_id"]}
        await copy.many(conn, "journal_lines", lines, ("journal_id",), own, key=None)
        await execute(conn, _TOTALS)


# What LPs had in all is kept beside their payments: of the copies as well.
_TOTALS = """
    INSERT INTO satoshimachine.dca_client_totals (
        client_id, debited_cents, received_sats, received_cents
    )
    SELECT client_id, SUM(cents), SUM(sats), SUM(cents) FROM (
        SELECT client_id, COALESCE(sent_sats, amount_sats) AS sats,
            CAST(ROUND(amount_fiat * 100) AS BIGINT) AS cents
        FROM satoshimachine.dca_payments
        WHERE leg_type = 'dca' AND status = 'completed') legs
    WHERE client_id IS NOT NULL GROUP BY client_id
    ON CONFLICT (client_id) DO UPDATE SET debited_cents = excluded.debited_cents,
        received_sats = excluded.received_sats,
        received_cents = excluded.received_cents
    """


class _Copy:
    """Of rows, with a suffix to what must be another name."""

    def __init__(self, params: Mapping[str, object], suffix: str) -> None:
        self.params, self.suffix = params, suffix

    async def rows(
        self,
        conn: Connection,
        table: str,
        where: str,
        suffixed: tuple[str, ...],
        changed: Mapping[str, str] | None = None,
        numbers: str = "",
    ) -> None:
        name = f"satoshimachine.{table}"
        row = await fetch_one(conn, f"SELECT * FROM {name} LIMIT 1")  # noqa: S608
        columns = list(row or {})
        values = {c: f"{c} || {self.suffix}" for c in suffixed} | dict(changed or {})
        said = f"{where} {':start' if numbers else ''}"
        wanted = {k: v for k, v in self.params.items() if f":{k}" in said}
        await execute(
            conn,
            f"{numbers} INSERT INTO {name} ({', '.join(columns)}) "  # noqa: S608
            f"SELECT {', '.join(values.get(c, c) for c in columns)} FROM {name}"
            f"{', numbers' if numbers else ''} WHERE {where}",
            wanted,
        )

    async def many(
        self,
        conn: Connection,
        table: str,
        where: str,
        suffixed: tuple[str, ...],
        changed: Mapping[str, str],
        key: str | None = "id",
    ) -> None:
        numbers = (
            "WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM "  # noqa: S608
            f"numbers WHERE n < {SETTLEMENTS - 1})"
        )
        names = (*suffixed, *([key] if key else []))
        await self.rows(conn, table, where, names, changed, numbers)
