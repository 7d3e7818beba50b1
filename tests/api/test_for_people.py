"""What screens ask that programs do not: days of a zone, a spreadsheet, sums, a search.

A reader in Guatemala, Berlin, Kolkata and Auckland, over midnight and over a change to
summer time: the overview, the list, the books and the CSV of the same sales agree.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from api_world import Desk, make_desk, ok, refused
from fastapi import FastAPI
from money_rows import add_leg, add_settlement
from rebooked import rebook

from satmachineadmin.base.database import db, transaction
from satmachineadmin.base.zones import Zone
from satmachineadmin.books import summaries
from satmachineadmin.models import utc_now
from satmachineadmin.parties.positions_crud import day_debits

from conftest import MakeUser, MakeWallet
from dev.accounts import API_PREFIX

ZONES = ("America/Guatemala", "Europe/Berlin", "Asia/Kolkata", "Pacific/Auckland")


@dataclass
class People(Desk):
    settlement: str = ""
    payment_hash: str = ""
    leg_hash: str = ""


@pytest_asyncio.fixture(scope="module")
async def people(make_user: MakeUser, make_wallet: MakeWallet) -> People:
    desk = await make_desk(make_user, make_wallet)
    people = People(**vars(desk))
    people.payment_hash, people.leg_hash = secrets.token_hex(32), secrets.token_hex(32)
    people.settlement = await add_settlement(
        desk.machine, payment_hash=people.payment_hash, bitspire_txid="txid-4711"
    )
    await add_leg(
        desk.machine,
        people.settlement,
        client_id=desk.client["id"],
        amount_sats=98_765,
        amount_fiat="740.74",
        external_payment_hash=people.leg_hash,
    )
    return people


async def test_days_are_the_readers(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """Sales around midnight of several zones: every screen puts each on one day."""
    desk = await make_desk(make_user, make_wallet)
    api = desk.operator.api
    now = utc_now()
    times = [now - timedelta(hours=5 * n, minutes=7) for n in range(30)]
    for at in times:
        await add_settlement(desk.machine, transaction_time=at)
    await rebook(desk.machine["id"])
    for name in ZONES:
        zone = ZoneInfo(name)
        days: dict[str, int] = {}
        for at in times:
            day = at.astimezone(zone).date().isoformat()
            days[day] = days.get(day, 0) + 1
        overview = ok(await api.get("/overview", params={"days": 8, "tz": name}))
        assert overview["time_zone"] == name
        series = {d["date"]: d["cash_out_count"] for d in overview["series"]}
        assert {d: n for d, n in series.items() if n} == days
        assert overview["series"][-1]["date"] == now.astimezone(zone).date().isoformat()
        for day, count in days.items():
            asked: dict[str, Any] = {"transaction_time": day, "tz": name, "limit": 100}
            page = ok(await api.get("/settlements", params=asked))
            assert page["total"] == count, (name, day)
            asked = {"from": day, "to": day, "tz": name}
            books = (await api.get("/accounting.csv", params=asked)).text
            lines = list(csv.DictReader(io.StringIO(books)))
            assert sum(line["record"] == "principal" for line in lines) == count
    # the preference counts where nobody says tz, but for programs' filters
    ok(await api.put("/preferences", json={"time_zone": "Pacific/Auckland"}))
    assert ok(await api.get("/overview"))["time_zone"] == "Pacific/Auckland"
    utc = sum(at.date() == times[3].date() for at in times)
    utc_day = {"transaction_time": times[3].date().isoformat()}
    assert ok(await api.get("/settlements", params=utc_day))["total"] == utc
    for path in ("/overview", "/settlements", "/accounting.csv", "/lp/history"):
        refused(await api.get(path, params={"tz": "Nowhere"}), 400, "time zone")


async def test_a_summer_time_day_is_whole(
    make_user: MakeUser, make_wallet: MakeWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Berlin's 29 March 2026 has 23 hours, its 25 October 25."""
    desk = await make_desk(make_user, make_wallet)
    berlin = Zone("Europe/Berlin")
    for month, day, hours in ((3, 29, 23), (10, 25, 25)):
        noon = datetime(2026, month, day, 12, tzinfo=ZoneInfo("Europe/Berlin"))
        start = berlin.start_of(noon.date())
        for hour in range(-2, hours + 2):
            at = start + timedelta(hours=hour, minutes=30)
            await add_settlement(desk.machine, transaction_time=at, planned_at=at)
        await rebook(desk.machine["id"])
        monkeypatch.setattr(Zone, "today", lambda self, on=noon: self.day_of(on))
        monkeypatch.setattr(
            summaries, "utc_now", lambda end=start: end + timedelta(hours=25)
        )
        async with db.connect() as conn:
            sums = await summaries.sums_of_days(
                conn, desk.operator.user_id, False, 2, berlin
            )
        assert [day.cash_out_count for day in sums.series] == [2, hours]


async def test_an_lps_limit_goes_by_their_own_day(people: People) -> None:
    """And a change of zone counts from the next day: nobody has the limit twice."""
    api, machine = people.lp.api, people.machine
    at = utc_now()

    async def used(when: datetime) -> int:
        async with transaction() as conn:
            debits = await day_debits(conn, machine["id"], "GTQ", when)
        return debits.get(people.lp.user_id, 0)

    today = await used(at)
    assert today >= 74_074
    # where it is another day by now, the same debits still count until midnight
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        ok(await api.put("/preferences", json={"time_zone": zone}))
        assert await used(at) == today
    tomorrow = at + timedelta(days=2)
    assert await used(tomorrow) == 0


HEADINGS = {
    "en": {"Machine", "LP", "Kind", "State", "Principal, sat"},
    "es": {"Cajero", "Tipo", "Estado", "Principal, sat", "Comisión, sat"},
}


async def test_a_spreadsheet_is_for_people(people: People) -> None:
    api = people.operator.api
    plain = (await api.get("/settlements.csv")).content
    assert not plain.startswith("\ufeff".encode())
    assert plain.startswith(b"id,machine_id,payment_hash,tx_type,")
    for language, mark in (("en", ","), ("es", ";")):
        asked = {"for": "spreadsheet", "lang": language, "tz": "America/Guatemala"}
        answer = await api.get("/settlements.csv", params=asked)
        assert answer.content.startswith(b"\xef\xbb\xbf")
        text = answer.content.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text), delimiter=mark))
        row = next(r for r in rows if people.payment_hash in r.values())
        assert HEADINGS[language] - {"LP"} <= set(row)
        assert people.machine["name"] in row.values()
        when = next(k for k in row if "(America/Guatemala)" in k)
        local = datetime.strptime(row[when], "%Y-%m-%d %H:%M:%S")
        there = utc_now().astimezone(ZoneInfo("America/Guatemala"))
        assert abs(there.replace(tzinfo=None) - local) < timedelta(hours=1)
        cash = row["Cash" if language == "en" else "Efectivo"]
        assert cash == ("750.00" if language == "en" else "750,00")
        assert not any("_" in (name or "") for name in row)
    # the decimal sign that was chosen, whatever the language
    ok(await api.put("/preferences", json={"number_format": "comma"}))
    asked = {"for": "spreadsheet", "lang": "en"}
    for path in ("/payments.csv", "/clients.csv", "/deposits.csv", "/machines.csv"):
        text = (await api.get(path, params=asked)).content.decode("utf-8-sig")
        head, first = list(csv.reader(io.StringIO(text), delimiter=";"))[:2]
        assert len(head) == len(first) and not any("_" in name for name in head)
        assert people.machine["name"] in first, path
    for path in ("/accounting.csv", "/cash/books.csv", "/audit.csv", "/visits.csv"):
        answer = await api.get(path, params=asked)
        assert answer.content.startswith(b"\xef\xbb\xbf"), path
        assert b"_" not in answer.content.split(b"\r\n")[0], path
    ok(await api.put("/preferences", json={"number_format": None}))
    refused(await api.get("/settlements.csv", params={"for": "ants"}), 400, "for")


SIGNS = {"en": (",", re.compile(r"-?\d+,\d+")), "es": (";", re.compile(r"-?\d+\.\d+"))}
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
STRANGE = 'Ñandú; "1,5" =SUM(A1)'


async def test_every_file_is_read_right_by_a_spreadsheet(
    app: FastAPI, people: People
) -> None:
    """What LibreOffice needs of the bytes, in both locales: one byte order mark, one
    separator that no number has in it, the locale's decimal sign without groups, times
    that it knows for times, no formula, columns of different names, no codes."""
    api = people.operator.api
    machine = f"/machines/{people.machine['id']}"
    ok(await api.put(machine, json={"name": STRANGE}))
    paths = [
        path.removeprefix(API_PREFIX)
        for path in app.openapi()["paths"]
        if path.startswith(API_PREFIX) and path.endswith(".csv") and "{" not in path
    ]
    assert len(paths) > 10
    read = 0
    for path in paths:
        for language, (mark, wrong) in SIGNS.items():
            asked = {"for": "spreadsheet", "lang": language, "tz": "Asia/Kolkata"}
            answer = await api.get(path, params=asked)
            if answer.status_code != 200:
                continue  # the super's, or one that names what it is about
            content = answer.content
            assert content.startswith(codecs.BOM_UTF8), path
            assert content.count(codecs.BOM_UTF8) == 1
            assert content.endswith(b"\r\n") and b"\n\n" not in content
            text = content.decode("utf-8-sig")
            head, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
            assert len(head) == len(set(head)) > 1, (path, head)
            for row in rows:
                assert len(row) == len(head), path
                for name, cell in zip(head, row, strict=True):
                    assert not wrong.fullmatch(cell), (path, name, cell)
                    assert not re.match("[=+@\t\r]|-[^0-9]", cell), (path, name, cell)
                    if "(Asia/Kolkata)" in name and cell:
                        assert MOMENT.fullmatch(cell), (path, name, cell)
                assert people.operator.user_id not in row, path
            read += len(rows)
            if path in ("/machines.csv", "/settlements.csv"):
                assert any(STRANGE in row for row in rows), path
            if path == "/audit.csv":
                done = {cell for row in rows for cell in row}
                known = {"en": {"you", "Machine changed"}, "es": {"usted"}}
                assert known[language] <= done
    assert read > 10
    ok(await api.put(machine, json={"name": people.machine["name"]}))


async def test_a_list_says_what_it_adds_up_to(people: People) -> None:
    api = people.operator.api
    assert "totals" not in ok(await api.get("/settlements"))
    for path, amount in (
        ("/settlements", "fiat_amount"),
        ("/deposits", "amount"),
        ("/clients", "remaining"),
    ):
        asked: dict[str, Any] = {"totals": "true", "limit": 1000}
        page = ok(await api.get(path, params=asked))
        [sums] = page["totals"]
        assert sums["rows"] == page["total"] and sums["currency"] == "GTQ"
        assert Decimal(sums[amount]) == sum(Decimal(r[amount]) for r in page["data"])
    asked = {"totals": "true", "search": people.leg_hash}
    page = ok(await api.get("/payments", params=asked))
    assert page["totals"][0]["amount_sats"] == 98_765
    nothing = ok(await api.get("/settlements", params={**asked, "search": "zzz"}))
    assert nothing["totals"] == []


async def test_a_search_finds_what_people_type(
    people: People, make_user: MakeUser
) -> None:
    api, lp = people.operator.api, people.lp.api
    name = people.client["username"]

    def types(found: Any) -> set[tuple[str, str]]:
        return {(one["type"], one["id"]) for one in found["data"]}

    settlement = ("settlement", people.settlement)
    for typed in (
        people.payment_hash,
        people.payment_hash[:8],
        people.leg_hash[:10].upper(),
        "txid-4711",
        "108000",
        "108,000",
        "750.00",
        "750",
        name,
        people.machine["name"],
    ):
        found = ok(await api.get("/search", params={"q": typed}))
        assert settlement in types(found), typed
        assert len(found["data"]) == found["total"] <= 20
        page = ok(await api.get("/settlements", params={"search": typed}))
        assert people.settlement in {row["id"] for row in page["data"]}, typed
    found = ok(await api.get("/search", params={"q": people.payment_hash}))
    assert found["data"][0]["id"] == people.settlement
    assert ("machine", people.machine["id"]) in types(
        ok(await api.get("/search", params={"q": people.machine["name"]}))
    )
    assert ("client", people.client["id"]) in types(
        ok(await api.get("/search", params={"q": name}))
    )
    assert ("deposit", people.deposit["id"]) in types(
        ok(await api.get("/search", params={"q": "300.00"}))
    )
    own = ok(await lp.get("/search", params={"q": people.leg_hash}))
    assert [one["type"] for one in own["data"]] == ["payment"]
    assert own["data"][0]["as_lp"]
    stranger = await make_user("stranger")
    for typed in (people.payment_hash, name, "750.00", people.machine["id"]):
        found = ok(await stranger.api.get("/search", params={"q": typed}))
        assert found == {"data": [], "total": 0}
    assert ok(await api.get("/search"))["data"] == []
    for hostile in ("%", "_", "'", "\U0001f916", "{0}", "1e999", "9" * 60):
        ok(await api.get("/search", params={"q": hostile}))
    refused(await api.get("/search", params={"q": "a\x00"}), 400)
    refused(await api.get("/search", params={"q": "a" * 201}), 400)
