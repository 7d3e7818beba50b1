"""What was filed stays: exports of days that are over are the same to the byte after
whatever happens later, and the days of any zone add up to all of them.

One business, whose past is put three weeks back; then everything is repaired at once.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from api_world import ok
from bean_check import assert_accepted
from desk_world import customer_invoice
from world import MakeWorld, World

from satmachineadmin import distribution
from satmachineadmin.base.cursors import set_cursor
from satmachineadmin.base.database import db, execute, fetch_all, transaction
from satmachineadmin.base.zones import Zone
from satmachineadmin.books import opening
from satmachineadmin.books.journal import beancount_account
from satmachineadmin.books.statement import lp_statement
from satmachineadmin.desk import foreign
from satmachineadmin.host.balances import balances_msat
from satmachineadmin.models import utc_now

WHY = {"reason": "as agreed"}
BACK = timedelta(days=21)
ZONES = ("UTC", "America/Guatemala", "Asia/Kolkata", "Pacific/Auckland")
COUNTED = (
    "is_test=false&status[in]=awaiting_dispense,pending,processing,completed,attention"
)
FILES = ("/accounting.csv", "/accounting.csv?by=entry", "/accounting.beancount")


async def put_back(world: World) -> None:
    """All of it happened three weeks ago."""
    back = BACK.total_seconds()
    moved = {
        "journal": ("at",),
        "dca_settlements": ("transaction_time", "created_at", "planned_at"),
        "dca_payments": ("transaction_time", "created_at", "completed_at"),
        "dca_deposits": ("created_at", "confirmed_at"),
    }
    async with transaction() as conn:
        for table, columns in moved.items():
            for row in await fetch_all(
                conn,
                f"SELECT id, {', '.join(columns)} FROM satoshimachine.{table} "
                "WHERE machine_id = :machine",
                {"machine": world.machine.id},
            ):
                for name in columns:
                    at = row[name]
                    if at is None:
                        continue
                    earlier = at - (BACK if isinstance(at, datetime) else back)
                    await execute(
                        conn,
                        f"UPDATE satoshimachine.{table} SET {name} = :at "
                        "WHERE id = :id",
                        {"at": earlier, "id": row["id"]},
                    )


async def exports(world: World, first: date, last: date, zone: str) -> dict[str, Any]:
    """Every file of a period, and what each LP's statement of it says."""
    operator, found = world.operator, dict[str, Any]()
    period = {"from": first.isoformat(), "to": last.isoformat(), "tz": zone}
    for path in FILES:
        bare, _, by = path.partition("?by=")
        answer = await operator.api.get(
            bare, params={**period, **({"by": by} if by else {})}
        )
        assert answer.status_code == 200, answer.text
        found[path] = answer.text
    zone_days = Zone(zone)
    ends = {
        "[ge]": zone_days.start_of(first).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "[lt]": zone_days.start_of(last + timedelta(days=1)).strftime(
            "%Y-%m-%dT%H:%M:%SZ"
        ),
    }
    for path, column in (
        ("/accounting/entries.csv", "at"),
        ("/payments.csv", "paid_at"),
    ):
        asked = {f"{column}{op}": at for op, at in ends.items()}
        asked |= {"sortby": column, "direction": "asc"}
        answer = await operator.api.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        found[path] = answer.text
    days: dict[str, Any] = {"days": (utc_now().date() - first).days + 2, "tz": zone}
    overview = ok(await operator.api.get("/overview", params=days))
    found["days of the overview"] = [
        day
        for day in overview["series"]
        if first.isoformat() <= day["date"] <= last.isoformat()
    ]
    for lp in world.lps:
        said = await lp_statement(lp.user.user_id, first, last, zone_days)
        found[f"statement of {lp.client.id}"] = repr(said)
    return found


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def by_record(lines: list[dict[str, str]]) -> dict[tuple[str, ...], list[int]]:
    """Sats, value in minor units and what the wallet gained, by what it is."""
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for x in lines:
        of = sums[x["record"], x["party"], x["settlement_id"], x["is_test"]]
        cents = round(float(x["counter_value"]) * 100)
        for n, value in enumerate((int(x["sats"]), cents, int(x["wallet_sats"]))):
            of[n] += value
    return {key: of for key, of in sums.items() if any(of)}


async def sold(world: World, worker: distribution.Worker) -> dict[str, str]:
    """Sales of every kind; ids of those that are repaired later."""
    found = {}
    for name in ("short", "refunded", "test"):
        found[name] = (await world.settle(await world.cash_out())).id
    waits = await world.landed(await world.cash_out(dispense="awaiting"))
    held = await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    resolved = await world.landed(await world.cash_out(fee=7_000, sats=108_000))
    found |= {"waits": waits.id, "held": held.id, "resolved": resolved.id}
    part = await world.landed(await world.cash_out(dispense="awaiting"))
    await dispensed(world, part.id, "150.00")
    found["part"] = part.id
    await worker.run_until_idle()
    return found


async def dispensed(world: World, settlement_id: str, fiat: str) -> None:
    body = {"dispensed_fiat": fiat, **WHY}
    ok(
        await world.operator.api.post(
            f"/settlements/{settlement_id}/dispense", json=body
        )
    )


async def repaired(
    world: World, ids: dict[str, str], worker: distribution.Worker
) -> None:
    """Everything that may happen to what was filed."""
    api = world.operator.api
    await world.fund(world.machine_wallet.id, 400_000)
    await dispensed(world, ids["waits"], "50.00")
    body: dict[str, Any] = {
        "destination": await customer_invoice(world, 27_000),
        "idempotency_key": uuid4().hex,
        **WHY,
    }
    ok(await api.post(f"/settlements/{ids['part']}/refund", json=body))
    ok(await api.post(f"/settlements/{ids['held']}/void", json=WHY))
    figures = {
        "tx_type": "cash_out",
        "principal_sats": 100_000,
        "fee_sats": 8_000,
        "fiat_amount": "190.00",
        "fiat_code": world.machine.fiat_code,
        **WHY,
    }
    ok(await api.post(f"/settlements/{ids['resolved']}/resolve", json=figures))
    for name in ("test", "waits"):
        body = {"is_test": True, **WHY}
        ok(await api.post(f"/settlements/{ids[name]}/test", json=body))
    await world.settle(await world.cash_out())
    await worker.run_until_idle()
    await foreign.post_foreign()
    lp = world.lps[0]
    await world.add_deposit(lp, "33.00", utc_now())
    ok(
        await api.put(
            f"/deposits/{ids['deposit']}/status", json={"status": "reversed", **WHY}
        )
    )


async def accepted(world: World, folder: Path) -> None:
    """bean-check takes the whole file, and its balance is LNbits'."""
    text = (await world.operator.api.get("/accounting.beancount")).text
    wallet = world.machine_wallet.id
    in_lnbits = (await balances_msat([wallet]))[wallet] // 1000
    name = beancount_account("machine_wallet", world.machine.id, None)
    assert_accepted(folder, text, {name: in_lnbits})


async def corrected(world: World, first: date) -> None:
    """What was repaired stands on today, as the accounting file says, and beside it how
    much of it is of sales of before: the rest is what the list behind the tile says."""
    api, today = world.operator.api, utc_now().date()
    for days in (2, (today - first).days + 2):
        since = today - timedelta(days=days - 1)
        overview = ok(await api.get(f"/overview?days={days}"))
        answer = await api.get(f"/accounting.csv?from={since}&tests=false")
        sums = {"cash_out": [0, 0], "cash_in": [0, 0]}
        for line in rows(answer.text):
            if line["record"] == "principal":
                of = sums[line["tx_type"]]
                of[0] += int(line["sats"])
                of[1] += round(float(line["counter_value"]) * 100)
        totals, older = overview["totals"], overview["corrections"]
        code = world.machine.fiat_code
        fiat = round(float(totals["cash_out_fiat"][code]) * 100)
        assert sums["cash_out"] == [totals["cash_out_sats"], fiat]
        asked = f"tx_type=cash_out&transaction_time[ge]={since}&limit=1&totals=true"
        listed = ok(await api.get(f"/settlements?{asked}&{COUNTED}"))["totals"]
        traded = sum(one["traded_sats"] for one in listed)
        count = sum(one["rows"] for one in listed)
        # one was paid from before it was marked as a test: it stays in the books
        is_whole = days > 2
        kept = 100_000 if is_whole else 0
        assert totals["cash_out_sats"] - older["cash_out_sats"] == traded + kept
        counted = totals["cash_out_count"] - older["cash_out_count"]
        assert counted == count + is_whole
        # one sale less that is a test since, and one more that was held back
        corrects = older["cash_out_fiat"].get(code, "0.00")
        assert corrects == ("0.00" if is_whole else "-10.00")


async def explained(machine_id: str) -> None:
    """The command that explains an opening has a rule for every difference."""
    async with db.connect() as conn:
        books = await opening.compare(conn)
    own = [of for (machine, _), of in books.items() if machine == machine_id]
    assert own
    for of in own:
        for name, figure in of.items():
            assert not figure.unexplained, (name, dict(figure.rules))


async def test_what_was_filed_stays_to_the_byte_and_days_add_up(
    make_world: MakeWorld,
    engine_paused: distribution.Worker,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    world = await make_world(deposits=["300.00", "2900.00"])
    monkeypatch.setattr(foreign, "SETTLING", timedelta(seconds=-5))
    await set_cursor(foreign.CURSOR, f"{foreign.BEGINNING}|")
    partner = await world.make_user("partner")
    await world.add_split(partner.wallet.id, "0.5000", wallet_id=partner.wallet.id)
    await world.add_split(
        world.operator.wallet.id, "0.5000", wallet_id=world.operator.wallet.id
    )
    started = utc_now()
    ids = await sold(world, engine_paused)
    ids["deposit"] = (await world.add_deposit(world.lps[1], "44.00")).id
    await put_back(world)
    first = (started - BACK - timedelta(days=1)).date()
    last = first + timedelta(days=4)
    filed = {zone: await exports(world, first, last, zone) for zone in ZONES}
    assert filed["UTC"]["/accounting.csv"].count("\n") > 30

    await repaired(world, ids, engine_paused)
    await world.assert_ledger()
    await accepted(world, tmp_path)
    await corrected(world, first)
    for zone in ZONES:
        again = await exports(world, first, last, zone)
        for name, said in filed[zone].items():
            assert again[name] == said, (zone, name)

    # the days of a zone add up to all of them; nothing is in two of them or in none
    today = utc_now().date() + timedelta(days=1)
    for zone in ZONES[1:3]:
        whole = await exports(world, first, today, zone)
        days: dict[str, list[dict[str, str]]] = defaultdict(list)
        cuts = [
            first,
            last,
            today - timedelta(days=2),
            today - timedelta(days=1),
            today,
        ]
        begin = first
        for end in cuts[1:]:
            part = await exports(world, begin, end, zone)
            for name in FILES[:2]:
                days[name] += rows(part[name])
            days["/payments.csv"] += rows(part["/payments.csv"])
            begin = end + timedelta(days=1)
        for name in FILES[:2]:
            assert by_record(days[name]) == by_record(rows(whole[name])), name
        for name, key in (("/payments.csv", "id"), (FILES[1], "id")):
            parts = [(x[key], x.get("record"), x.get("party")) for x in days[name]]
            everything = [
                (x[key], x.get("record"), x.get("party")) for x in rows(whole[name])
            ]
            assert sorted(parts) == sorted(everything), name
        await explained(world.machine.id)
        # a wallet explains itself
        wallet = world.machine_wallet.id
        in_lnbits = (await balances_msat([wallet]))[wallet] // 1000
        for name in FILES[:2]:
            gained = sum(int(x["wallet_sats"]) for x in rows(whole[name]))
            assert gained == in_lnbits, name
        local = {
            datetime.fromisoformat(x["time"]).astimezone(ZoneInfo(zone)).date()
            for x in days[FILES[1]]
        }
        assert min(local) >= first and max(local) <= today
