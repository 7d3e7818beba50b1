"""Insight: its sums are those of the rows and of the journal, whatever range, zone and
machine are asked for; what it leaves out; what it costs; who is in it.

One desk for all: random trades of two machines over four months, written with the
journal that they come to, and counted again here in Python.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from api_world import Desk, add_lp, add_machine, make_desk, ok, refused
from examples import examples
from lnbits.helpers import urlsafe_short_hash
from money_rows import add_leg, add_settlement
from sqlalchemy import event

from satmachineadmin.api.insight import share_text
from satmachineadmin.base.database import db, fetch_all, from_db_time, transaction
from satmachineadmin.books.insight import persons_of, ranked
from satmachineadmin.calculations import cents_text, round_half_up
from satmachineadmin.ledger import crud as ledger_crud
from satmachineadmin.ledger.crud import Entry
from satmachineadmin.ledger.entries import lines_of, past_of, rate_of
from satmachineadmin.models import utc_now

from conftest import MakeUser, MakeWallet
from dev.accounts import UserSession

ZONES = (
    *("UTC", "America/Guatemala", "Europe/Berlin", "Asia/Kolkata"),
    *("Pacific/Auckland", "Pacific/Chatham", "America/Asuncion"),
)
# both changes of the clocks in Europe, one in Auckland and none in Guatemala
FIRST = datetime(2025, 8, 20, tzinfo=timezone.utc)
DAYS = 120
FIGURES = (
    *("cash_out", "cash_in", "fees_charged", "platform_share", "operator_share"),
    *("operator_discounts", "platform_discounts", "fees_received", "platform_paid"),
    *("splits_paid", "network_fees", "own_network_fees", "refunds", "losses"),
    *("other_kept", "volume", "margin"),
)


def at_of(value: Any) -> datetime:
    at = from_db_time(value)
    assert at
    return at


@dataclass
class Shop:
    desk: Desk
    machines: list[dict[str, Any]]
    rows: list[Any]
    entries: list[Any]

    @property
    def api(self) -> Any:
        return self.desk.operator.api


def _of_cash(sats: int, cents: int) -> int:
    """As the engine has it where half of the cash came out."""
    return round_half_up(sats * (cents // 2), cents)


async def trade(dice: Random, machine: dict[str, Any], clients: list[str]) -> str:
    """One trade as the engine might have left it; its id."""
    is_out = dice.random() < 0.7
    principal = dice.randint(1, 3_000_000)
    fee = dice.randint(0, principal // 5)
    cents = dice.randint(1, 90_000)
    platform = min(fee, principal * 3 // 100)
    operator = fee - platform - (dice.randint(0, 3) if fee - platform > 3 else 0)
    status = dice.choice(["completed"] * 6 + ["processing", "quarantined", "voided"])
    at = FIRST + timedelta(seconds=dice.randint(0, DAYS * 86_400))
    fields: dict[str, Any] = {
        "tx_type": "cash_out" if is_out else "cash_in",
        "is_outgoing": not is_out,
        "principal_sats": principal,
        "fee_sats": fee,
        "wire_sats": principal + fee if is_out else principal - fee,
        "platform_fee_sats": platform,
        "operator_fee_sats": operator,
        "operator_discount_sats": dice.choice([0, 0, dice.randint(1, 900)]),
        "platform_discount_sats": dice.choice([0, 0, dice.randint(1, 900)]),
        "network_fee_sats": dice.choice([0, 0, dice.randint(1, 50)]),
        "fiat_amount": cents_text(cents),
        "status": status,
        "transaction_time": at,
        "created_at": at,
        "is_test": dice.random() < 0.1,
    }
    if status in ("completed", "processing"):
        fields["planned_at"] = at
        if is_out and dice.random() < 0.3:
            fields |= {
                "dispensed_fiat": cents_text(cents // 2),
                "dispensed_principal_sats": _of_cash(principal, cents),
                "dispensed_fee_sats": _of_cash(fee, cents),
                "dispensed_platform_fee_sats": platform // 2,
                "dispensed_operator_fee_sats": operator // 2,
            }
    settlement = await add_settlement(machine, **fields)
    if status in ("completed", "processing"):
        await pay(dice, machine, settlement, fields, clients)
    return settlement


async def pay(
    dice: Random,
    machine: dict[str, Any],
    settlement: str,
    of: dict[str, Any],
    clients: list[str],
) -> None:
    """Legs of it: paid, here already, waiting, let go; at their own times."""
    before = "dispensed_" if "dispensed_fiat" in of else ""
    principal = of[f"{before}principal_sats"]
    parts: list[tuple[str, int, str | None]] = [
        ("super_fee", of[f"{before}platform_fee_sats"], None),
        ("operator_split", of[f"{before}operator_fee_sats"] // 2, None),
        ("operator_split", of[f"{before}operator_fee_sats"] // 3, None),
        ("refund", of["principal_sats"] - principal, None),
    ]
    if of["tx_type"] == "cash_out":
        parts.append(("dca", principal // 3, dice.choice(clients)))
        parts.append(("dca", principal // 2, dice.choice(clients)))
    for leg_type, sats, client in parts:
        if sats <= 0:
            continue
        status = dice.choice(["completed"] * 6 + ["skipped", "pending", "voided"])
        if leg_type == "refund" and status == "skipped":
            status = "completed"
        gone = of["transaction_time"] + timedelta(seconds=dice.randint(0, 400_000))
        kept = dice.randint(0, min(3, sats - 1)) if leg_type != "dca" else 0
        is_paid = status == "completed"
        await add_leg(
            machine,
            settlement,
            leg_type=leg_type,
            client_id=client,
            amount_sats=sats,
            amount_fiat="0.01" if client else None,
            sent_sats=sats - kept if is_paid else None,
            routing_sats=dice.randint(0, kept) if is_paid else None,
            status=status,
            paid_outside=is_paid and client is not None and dice.random() < 0.1,
            completed_at=gone if status in ("completed", "skipped") else None,
            transaction_time=of["transaction_time"],
        )


async def post(machines: Iterable[dict[str, Any]], operator: str) -> None:
    """The journal that these machines' trades come to."""
    ids = {m["id"] for m in machines}
    async with transaction() as conn:
        found = await fetch_all(conn, "SELECT * FROM satoshimachine.dca_settlements")
        own = [r["id"] for r in found if r["machine_id"] in ids]
        legs = await ledger_crud.legs_of_settlements(conn, own)
        for settlement in await ledger_crud.settlements(conn, own):
            past = past_of(settlement, legs.get(settlement.id, []))
            entries = [
                Entry(
                    id=urlsafe_short_hash(),
                    at=step.at,
                    recorded_at=utc_now(),
                    operator_user_id=operator,
                    machine_id=settlement.machine_id,
                    kind=step.kind,
                    lines=lines_of(step.change, rate_of(settlement)),
                    currency=settlement.fiat_code,
                    settlement_id=settlement.id,
                    payment_id=step.payment_id,
                    is_test=settlement.is_test,
                )
                for step in past
            ]
            await ledger_crud.write_entries(conn, entries)


@pytest_asyncio.fixture(scope="module")
async def shop(make_user: MakeUser, make_wallet: MakeWallet) -> Shop:
    desk = await make_desk(make_user, make_wallet)
    dollars = await add_machine(
        desk.operator, make_wallet, fiat_code="USD", name="=Airport"
    )
    also = await add_lp(desk.operator, dollars["id"], desk.lp)
    other = await make_user("lp")
    clients = {
        desk.machine["id"]: [
            desk.client["id"],
            (await add_lp(desk.operator, desk.machine["id"], other))["id"],
        ],
        dollars["id"]: [also["id"]],
    }
    machines = [desk.machine, dollars]
    dice = Random(20)
    for _ in range(90):
        machine = dice.choice(machines)
        await trade(dice, machine, clients[machine["id"]])
    await post(machines, desk.operator.user_id)
    # there for as long as they sell
    ids = [m["id"] for m in machines]
    async with transaction() as conn:
        rows = await fetch_all(conn, "SELECT * FROM satoshimachine.dca_settlements")
        entries = await fetch_all(
            conn,
            "SELECT j.*, l.account, l.client_id, l.sats, l.counter_cents FROM "
            "satoshimachine.journal j JOIN satoshimachine.journal_lines l "
            "ON l.journal_id = j.id",
        )
    return Shop(
        desk,
        machines,
        [r for r in rows if r["machine_id"] in ids],
        [e for e in entries if e["machine_id"] in ids],
    )


# ------------------------------------------------------------------- counted once more


def worth(sats: int, row: Any) -> int:
    cents = round(row["fiat_amount"] * 100)
    exact = Fraction(sats * cents, row["principal_sats"])
    return int(exact + Fraction(1, 2))


class Count(defaultdict[str, int]):
    """Sats and cents by figure, and how many."""

    def __init__(self) -> None:
        super().__init__(int)
        self.days: set[date] = set()

    def put(self, name: str, sats: int, cents: int) -> None:
        self[f"{name}_sats"] += sats
        self[f"{name}_cents"] += cents


def of_row(count: Count, row: Any) -> None:
    def part(name: str) -> int:
        whole = int(row[name])
        if row["dispensed_fiat"] is None:
            return whole
        return int(row[f"dispensed_{name}"])

    fiat = (
        row["fiat_amount"] if row["dispensed_fiat"] is None else row["dispensed_fiat"]
    )
    count[f"{row['tx_type']}_count"] += 1
    for name in (row["tx_type"], "volume"):
        count.put(name, part("principal_sats"), round(fiat * 100))
    for name, sats in (
        ("fees_charged", part("fee_sats")),
        ("platform_share", part("platform_fee_sats")),
        ("operator_share", part("operator_fee_sats")),
        ("operator_discounts", int(row["operator_discount_sats"])),
        ("platform_discounts", int(row["platform_discount_sats"])),
    ):
        count.put(name, sats, worth(sats, row))


def of_line(count: Count, line: Any) -> None:
    """What one line of the journal is in figures; margin is what the operator keeps
    and what their splits got, less what nobody gave back."""
    sats, cents = int(line["sats"]), int(line["counter_cents"])
    account = line["account"]
    names: list[tuple[str, int]] = {
        "platform_paid": [("platform_paid", 1)],
        "splits_paid": [("splits_paid", 1), ("fees_received", 1), ("margin", 1)],
        "surplus": [("other_kept", -1), ("margin", -1)],
        "reserve_kept": [("other_kept", -1), ("margin", -1)],
        "let_go": [("other_kept", -1), ("margin", -1)],
        "loss": [("losses", 1), ("margin", -1)],
        "routing": [("network_fees", 1)],
        "refunded": [("refunds", 1)],
    }.get(account, [])
    if account == "operator_fees" and line["payment_id"] is None:
        names = [("fees_received", -1), ("margin", -1)]
    if account == "routing" and line["payment_id"] is None:
        names = [*names, ("own_network_fees", 1), ("margin", -1)]
    for name, sign in names:
        count.put(name, sign * sats, sign * cents)


def counted(
    shop: Shop, zone: ZoneInfo, first: date, last: date, tests: bool
) -> dict[str, Count]:
    """By machine."""
    found: dict[str, Count] = defaultdict(Count)
    for row in shop.rows:
        day = at_of(row["transaction_time"]).astimezone(zone).date()
        is_counted = row["status"] not in ("quarantined", "voided")
        if first <= day <= last and is_counted and (tests or not row["is_test"]):
            of_row(found[row["machine_id"]], row)
            found[row["machine_id"]].days.add(day)
    for line in shop.entries:
        day = at_of(line["at"]).astimezone(zone).date()
        if first <= day <= last and (tests or not line["is_test"]):
            of_line(found[line["machine_id"]], line)
    return found


def agrees(answer: dict[str, Any], count: Count) -> None:
    trades = count["cash_out_count"] + count["cash_in_count"]
    assert answer["trades"] == trades
    assert answer["cash_out_count"] == count["cash_out_count"]
    for name in FIGURES:
        assert answer[f"{name}_sats"] == count[f"{name}_sats"], name
        assert answer[f"{name}_fiat"] == cents_text(count[f"{name}_cents"]), name
    if trades:
        average = int(Fraction(count["volume_sats"], trades) + Fraction(1, 2))
        assert answer["average_sats"] == average


async def asked(user: UserSession, **params: Any) -> dict[str, Any]:
    return ok(await user.api.get("/insight", params=params))


def heat_of(shop: Shop, zone: ZoneInfo, first: date, last: date) -> dict[Any, int]:
    found: dict[Any, int] = defaultdict(int)
    for row in shop.rows:
        at = at_of(row["transaction_time"]).astimezone(zone)
        if row["is_test"] or row["status"] in ("quarantined", "voided"):
            continue
        if first <= at.date() <= last:
            found[row["fiat_code"], at.isoweekday(), at.hour] += 1
    return found


async def test_its_sums_are_those_of_the_rows_and_of_the_journal(shop: Shop) -> None:
    """Random ranges and zones, with and without tests, all machines and each."""
    dice = Random(7)
    begin = FIRST.date() - timedelta(days=10)
    for number in range(examples(100)):
        name = ZONES[number % len(ZONES)]
        first = begin + timedelta(days=dice.randint(0, DAYS + 10))
        last = first + timedelta(days=dice.choice([0, 0, 1, 6, 29, 60]))
        tests = dice.random() < 0.3
        one = dice.choice([None, *(m["id"] for m in shop.machines)])
        answer = await asked(
            shop.desk.operator,
            tz=name,
            tests=tests,
            **{"from": str(first), "to": str(last)},
            **({"machine_id": one} if one else {}),
        )
        zone = ZoneInfo(name)
        length = last - first + timedelta(days=1)
        now = counted(shop, zone, first, last, tests)
        before = counted(shop, zone, first - length, last - length, tests)
        assert answer["before"] == {
            "from": str(first - length),
            "to": str(first - timedelta(days=1)),
        }
        wanted = [one] if one else sorted(m["id"] for m in shop.machines)
        assert sorted(m["machine_id"] for m in answer["machines"]) == wanted
        for machine in answer["machines"]:
            agrees(machine, now[machine["machine_id"]])
            agrees(machine["before"], before[machine["machine_id"]])
        by_currency: dict[str, Count] = defaultdict(Count)
        for machine in shop.machines:
            if one in (None, machine["id"]):
                for key, value in now[machine["id"]].items():
                    by_currency[machine["fiat_code"]][key] += value
        for total in answer["totals"]:
            agrees(total, by_currency[total["currency"]])
        if not tests and not one:
            heat = {
                (x["currency"], x["weekday"], x["hour"]): x["trades"]
                for x in answer["heat_map"]
            }
            assert heat == dict(heat_of(shop, zone, first, last))
        sold = sum(t["volume_sats"] for t in answer["totals"])
        for part in ("heat_map", "days"):
            of_part = [
                x.get("volume_sats", 0)
                + x.get("cash_out_sats", 0)
                + x.get("cash_in_sats", 0)
                for x in answer[part]
            ]
            assert sum(of_part) == sold, part


async def test_it_agrees_with_the_journal_and_the_accounting_file(shop: Shop) -> None:
    """The other screens of the books, asked for the same days."""
    days = {"from": "2025-08-01", "to": "2026-02-01"}
    answer = await asked(shop.desk.operator, **days)
    balances = ok(await shop.api.get("/accounting/balances?tests=false"))["data"]
    for name, account in (
        ("platform_paid", "platform_paid"),
        ("splits_paid", "splits_paid"),
        ("network_fees", "routing"),
        ("refunds", "refunded"),
        ("losses", "loss"),
    ):
        for total in answer["totals"]:
            of = [
                b
                for b in balances
                if b["account"] == account and b["currency"] == total["currency"]
            ]
            assert total[f"{name}_sats"] == sum(b["sats"] for b in of), name
    # what an owner let go of is no share in the file: see test_trade_lines.py
    file = await shop.api.get("/accounting.csv", params={**days, "tests": "false"})
    lines = list(csv.DictReader(io.StringIO(file.text)))
    for name, record in (
        ("volume", "principal"),
        ("fees_charged", "fee"),
    ):
        for total in answer["totals"]:
            own = [
                x
                for x in lines
                if x["record"] == record and x["currency"] == total["currency"]
            ]
            assert total[f"{name}_sats"] == sum(int(x["sats"]) for x in own), name
            value = sum(round(float(x["counter_value"]) * 100) for x in own)
            assert total[f"{name}_fiat"] == cents_text(value), name
    received = [b for b in balances if b["account"] == "lp_paid"]
    assert sum(x["received_sats"] for x in answer["lps"]) == sum(
        b["sats"] for b in received
    )


async def test_an_lp_is_one_person_at_all_machines(shop: Shop) -> None:
    answer = await asked(shop.desk.operator, **{"from": "2025-08-01"})
    first, second = answer["lps"]
    assert first["username"] == shop.desk.lp.username
    assert len(first["client_ids"]) == len(first["machine_ids"]) == 2
    assert set(first["at_work"]) == {"GTQ", "USD"}
    assert len(second["client_ids"]) == 1
    assert first["received_sats"] and second["received_sats"]
    assert shop.desk.lp.user_id not in str(answer)


@pytest.mark.pure
def test_people_are_ranked_and_never_added_across_currencies() -> None:
    def row(user: str, code: str, at_work: int, sats: int) -> dict[str, Any]:
        return {
            **{"user_id": user, "id": f"{user}{code}", "machine_id": code},
            **{"username": user, "currency": code, "at_work": at_work},
            **{"sats": sats, "cents": sats, "outside": 0},
        }

    found = ranked(
        persons_of(
            [row("a", "GTQ", 5, 9), row("b", "GTQ", 7, 1), row("a", "USD", 6, 2)]
        )
    )
    assert [x["username"] for x in found] == ["b", "a"]
    assert found[1]["at_work"] == {"GTQ": 5, "USD": 6}
    assert found[1]["received_sats"] == 11
    assert share_text(-5, 100_000) == "-0.0001"
    assert share_text(0, 0) is None and share_text(-1, 10**9) == "0.0000"


async def test_who_waited_how_long(shop: Shop) -> None:
    """By nearest rank, as counted here from the legs."""
    answer = await asked(shop.desk.operator, **{"from": "2025-08-01"})
    at = {
        r["id"]: at_of(r["transaction_time"])
        for r in shop.rows
        if not r["is_test"] and r["status"] not in ("quarantined", "voided")
    }
    async with transaction() as conn:
        legs = await fetch_all(conn, "SELECT * FROM satoshimachine.dca_payments")
    waited = sorted(
        int((at_of(x["completed_at"]) - at[x["settlement_id"]]).total_seconds())
        for x in legs
        if x["settlement_id"] in at
        and x["leg_type"] == "dca"
        and x["status"] == "completed"
        and not x["paid_outside"]
    )
    rank = {p: waited[-(-p * len(waited) // 100) - 1] for p in (50, 99)}
    assert answer["waits"] == [
        {"who": "customers", "count": 0, "p50_seconds": None, "p99_seconds": None},
        {
            "who": "lps",
            "count": len(waited),
            "p50_seconds": rank[50],
            "p99_seconds": rank[99],
        },
    ]


async def test_days_without_a_sale_are_those_that_have_begun(shop: Shop) -> None:
    """From the day on which the machine was there; days to come are none."""
    today = utc_now().date()
    ahead = {"from": str(today), "to": str(today + timedelta(days=9))}
    for machine in (await asked(shop.desk.operator, **ahead))["machines"]:
        assert machine["days_without_sale"] == 1
        assert machine["before"]["days_without_sale"] == 0
    later = {
        "from": str(today + timedelta(days=2)),
        "to": str(today + timedelta(days=3)),
    }
    for machine in (await asked(shop.desk.operator, **later))["machines"]:
        assert machine["days_without_sale"] == 0


async def test_tests_are_left_out_aloud(shop: Shop) -> None:
    days = {"from": "2025-08-01"}
    marked = [
        r
        for r in shop.rows
        if r["is_test"] and r["status"] not in ("quarantined", "voided")
    ]
    assert marked
    without = await asked(shop.desk.operator, **days)
    assert without["left_out"]["tests_count"] == len(marked)
    with_tests = await asked(shop.desk.operator, tests=True, **days)
    assert with_tests["left_out"] == {"tests_count": 0, "tests_sats": 0}
    more = [sum(t["volume_sats"] for t in x["totals"]) for x in (without, with_tests)]
    assert more[0] + without["left_out"]["tests_sats"] == more[1]


async def test_what_is_no_range_is_refused_in_a_sentence(shop: Shop) -> None:
    async def refuse(query: str, *words: str) -> None:
        refused(await shop.api.get(f"/insight?{query}"), 400, *words)

    await refuse("from=2025-02-01&to=2025-01-01", "before")
    await refuse("from=2000-01-01&to=2025-01-01", "more than 3700 days")
    await refuse("from=0001-01-01", "books")
    await refuse("from=yesterday", "from")
    await refuse("tz=Nowhere/City", "time zone")
    await refuse("machine_id=%00", "no id")
    refused(await shop.api.get("/insight.csv?part=secrets"), 400, "part")


async def test_others_see_nothing_of_it_and_the_super_all(
    shop: Shop, make_user: MakeUser, super_session: UserSession
) -> None:
    stranger = await make_user("stranger")
    named = {"machine_id": shop.machines[0]["id"], "from": "2025-08-01"}
    for params in ({"from": "2025-08-01"}, named):
        answer = await asked(stranger, **params)
        for part in ("totals", "machines", "heat_map", "days", "lps"):
            assert answer[part] == [], part
    # an LP has none of the operator's
    assert (await asked(shop.desk.lp, **named))["machines"] == []
    refused(await stranger.api.get("/insight?scope=all"), 403)
    answer = await asked(super_session, scope="all", **named)
    own = await asked(shop.desk.operator, **named)
    assert answer["machines"] == own["machines"]


async def test_each_part_as_a_file(shop: Shop) -> None:
    days = {"from": "2025-08-01", "tz": "America/Guatemala"}
    answer = await asked(shop.desk.operator, **days)
    for part in ("machines", "totals", "heat_map", "days", "waits"):
        file = await shop.api.get("/insight.csv", params={"part": part, **days})
        assert file.headers["content-type"].startswith("text/csv")
        lines = list(csv.DictReader(io.StringIO(file.text)))
        assert len(lines) == len(answer[part])
        for line, row in zip(lines, answer[part], strict=True):
            flat = {k: v for k, v in row.items() if k != "before"}
            flat |= {f"before_{k}": v for k, v in row.get("before", {}).items()}
            for name, value in flat.items():
                text = "" if value is None else str(value)
                assert line[name] in (text, f"'{text}"), (part, name)
    file = await shop.api.get("/insight.csv?part=lps&from=2025-08-01")
    assert len(file.text.strip().splitlines()) == 1 + 3
    sheet = await shop.api.get(
        "/insight.csv", params={"for": "spreadsheet", "lang": "es", **days}
    )
    assert sheet.text.startswith("\ufeff") and "'=Airport" in sheet.text
    assert "Margen" in sheet.text.splitlines()[0]
    assert ";" in sheet.text.splitlines()[1]


async def test_it_takes_the_same_number_of_statements_at_any_size(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    # the engine runs meanwhile: only what this request does is counted
    is_asking: ContextVar[bool] = ContextVar("is_asking", default=False)

    async def statements(user: UserSession, path: str) -> int:
        counts = []

        def count(*_args: Any) -> None:
            if is_asking.get():
                counts.append(1)

        engine = db.engine.sync_engine
        event.listen(engine, "before_cursor_execute", count)
        token = is_asking.set(True)
        try:
            ok(await user.api.get(path))
        finally:
            is_asking.reset(token)
            event.remove(engine, "before_cursor_execute", count)
        return len(counts)

    asking = [(desk.operator, "/insight"), (desk.lp, "/lp/insight")]
    before = [await statements(*one) for one in asking]
    assert all(before)
    for _ in range(2):
        machine = await add_machine(desk.operator, make_wallet)
        await add_lp(desk.operator, machine["id"], desk.lp)
        for _ in range(4):
            await add_leg(machine, await add_settlement(machine))
    assert [await statements(*one) for one in asking] == before
