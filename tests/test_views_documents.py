"""The two documents to print: a machine's pairing sheet, an LP's statement.

What is tested: they are for their owner alone, names run nothing in them, and the
figures of a statement add up, day by day, on both databases.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from api_world import add_deposit, add_lp, add_machine, make_desk, ok
from httpx import Response
from money_rows import add_settlement
from rebooked import rebook
from world import insert

from satmachineadmin.base.database import db_time, execute, transaction
from satmachineadmin.base.refusals import BadInputError
from satmachineadmin.books.statement import lp_statement, period_of
from satmachineadmin.models import Leg

from conftest import MakeUser, MakeWallet

HOSTILE = "<script>window.ran = 1</script>&{{7*7}}"


def _text(response: Response) -> str:
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    return response.text.replace("\u00a0", " ")


async def _move(table: str, row_id: str, **columns: datetime) -> None:
    """Puts times of a row into the past."""
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    params: dict[str, Any] = {name: db_time(at) for name, at in columns.items()}
    async with transaction() as conn:
        await execute(
            conn,
            f"UPDATE satoshimachine.{table} SET {sets} WHERE id = :id",
            {**params, "id": row_id},
        )


def _noon(day: int, month: int = 3) -> datetime:
    return datetime(2025, month, day, 12, tzinfo=timezone.utc)


async def test_a_pairing_sheet_is_for_the_operator_and_runs_no_name(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    operator, other = await make_user("op"), await make_user("op")
    machine = await add_machine(operator, make_wallet, name=HOSTILE, location=HOSTILE)
    path = f"/satmachineadmin/machines/{machine['id']}/pairing-sheet"
    without = _text(await operator.core.get(path))
    assert "no valid code" in without and "<svg" not in without
    pairing = ok(await operator.api.post(f"/machines/{machine['id']}/pairing"), 201)
    sheet = _text(await operator.core.get(path))
    assert pairing["pairing_code"] in sheet and "<svg" in sheet
    assert "<script>window.ran" not in sheet and "&lt;script&gt;" in sheet
    assert "Vale hasta" in _text(await operator.core.get(path, params={"lang": "es"}))
    refused = await other.core.get(path)
    assert refused.status_code == 404
    assert pairing["pairing_code"] not in refused.text


async def test_a_statement_adds_up_in_every_period(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    desk = await make_desk(make_user, make_wallet)
    lp = await make_user("lp")
    client = await add_lp(desk.operator, desk.machine["id"], lp)
    first = await add_deposit(desk.operator, client["id"], "500.00")
    second = await add_deposit(desk.operator, client["id"], "80.05")
    await add_deposit(desk.operator, client["id"], "33.00", "pending")
    wrong = {"status": "reversed", "reason": "counted twice"}
    ok(await desk.operator.api.put(f"/deposits/{second['id']}/status", json=wrong))
    await _move("dca_deposits", first["id"], confirmed_at=_noon(1))
    await _move(
        "dca_deposits", second["id"], confirmed_at=_noon(10), reversed_at=_noon(20)
    )
    for number, (day, fiat, status) in enumerate(
        ((5, "100.10", "completed"), (15, "50.00", "failed"), (25, "7.00", "voided"))
    ):
        await insert(
            "dca_payments",
            Leg(
                id=f"{client['id']}{number}",
                settlement_id=None,
                client_id=client["id"],
                machine_id=desk.machine["id"],
                operator_user_id=desk.operator.user_id,
                leg_type="settlement",
                amount_sats=1000 * (number + 1),
                amount_fiat=fiat,
                transaction_time=_noon(day),
                created_at=_noon(day),
                completed_at=_noon(day + 1) if status == "completed" else None,
                status=status,
            ),
        )
    await rebook(desk.machine["id"])

    async def figures(start: date, end: date) -> dict[str, str]:
        (one,) = await lp_statement(lp.user_id, start, end)
        return one.figures

    march = await figures(date(2025, 3, 1), date(2025, 3, 31))
    assert march == {
        "opening": "0.00",
        "deposited": "580.05",
        "reversed": "80.05",
        "debited": "150.10",
        "closing": "349.90",
    }
    # any cut gives the same end, and each part begins where the one before ended
    for day in range(1, 31):
        left = await figures(date(2025, 3, 1), date(2025, 3, day))
        right = await figures(date(2025, 3, day) + timedelta(days=1), date(2025, 3, 31))
        assert left["closing"] == right["opening"]
        assert right["closing"] == march["closing"]
    path = "/satmachineadmin/dca/statement"
    period = {"from": "2025-03-01", "to": "2025-03-31"}
    page = _text(await lp.core.get(path, params=period))
    lines = re.findall(r"<td>(\d+) Mar 2025", page)
    # the sats came on the day after their cash was turned into them
    assert lines == ["1", "5", "6", "10", "15", "20"]
    assert "349.90 GTQ" in page and "counted twice" in page
    assert desk.operator.username in page and "counter(pages)" in page
    # what is left after each line, the rate of what arrived, and its average price, as
    # this reader writes numbers
    cells = re.findall(r'<td class="number">\s*([^<]*?)\s*</td>', page)
    remaining = ["500.00", "399.90", "399.90", "479.95", "429.95", "349.90"]
    assert cells[3::4] == remaining
    assert cells[2::4] == ["", "", "9.99", "", "", ""]
    assert "10,010,000.00 GTQ = 1 BTC" in page
    spanish = _text(await lp.core.get(path, params={**period, "lang": "es"}))
    assert "10.010.000,00 GTQ = 1 BTC" in spanish and "<td>5 mar 2025" in spanish
    taxes = await lp.core.get(f"{path}.csv", params={**period, "tz": "Asia/Kolkata"})
    assert taxes.headers["content-type"].startswith("text/csv")
    assert taxes.text.splitlines() == [
        "date,sats_received,cost,currency,payment_hash",
        "2025-03-06T17:30:00+05:30,1000,100.10,GTQ,",
    ]
    (before,) = await lp_statement(lp.user_id, date(2025, 3, 5), date(2025, 3, 5))
    (after,) = await lp_statement(lp.user_id, date(2025, 3, 6), date(2025, 3, 6))
    assert (before.debited_cents, before.sats) == (10_010, 0)
    assert (after.debited_cents, after.sats) == (0, 1_000)
    stranger = await make_user("lp")
    foreign = _text(await stranger.core.get(path, params=period))
    assert "349.90" not in foreign and "not enrolled" in foreign


async def test_papers_are_of_the_readers_days(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    """Guatemala is six hours behind: its February ends at six in the morning, UTC."""
    desk = await make_desk(make_user, make_wallet)
    lp = await make_user("lp")
    client = await add_lp(desk.operator, desk.machine["id"], lp)
    made = await add_deposit(desk.operator, client["id"], "500.00")
    at = datetime(2025, 3, 1, 5, 59, tzinfo=timezone.utc)
    await _move("dca_deposits", made["id"], confirmed_at=at)
    await rebook(desk.machine["id"])
    path = "/satmachineadmin/dca/statement"
    period = {"from": "2025-03-01", "to": "2025-03-31"}
    there = {**period, "tz": "America/Guatemala"}
    assert "<td>1 Mar 2025 05:59" in _text(await lp.core.get(path, params=period))
    page = _text(await lp.core.get(path, params=there))
    assert "<td>" not in page and "those of America/Guatemala." in page
    zone = {"time_zone": "America/Guatemala"}
    ok(await lp.api.put("/preferences", json=zone))
    before = {"from": "2025-02-01", "to": "2025-02-28"}
    page = _text(await lp.core.get(path, params=before))
    assert "<td>28 Feb 2025 23:59" in page and "500.00 GTQ" in page
    # a customer's receipt says nothing of who else is paid
    sale = await add_settlement(desk.machine, transaction_time=at)
    receipt = f"/satmachineadmin/settlements/{sale}/receipt"
    asked = {"lang": "es", "tz": "America/Guatemala"}
    page = _text(await desk.operator.core.get(receipt, params=asked))
    assert "28 feb 2025 23:59" in page and "750,00 GTQ" in page
    assert "108.000 sat" in page and "133,3333" in page and "3.000" not in page
    assert (await lp.core.get(receipt)).status_code == 404
    wrong = await lp.core.get(path, params={**period, "tz": "Atlantis/Deep"})
    assert wrong.status_code == 400 and "not a time zone" in wrong.text
    # and a slip says who was there
    visit = ok(
        await desk.operator.api.post(f"/machines/{desk.machine['id']}/visits"), 201
    )
    slip = f"/satmachineadmin/visits/{visit['id']}/slip"
    page = _text(await desk.operator.core.get(slip, params={"tz": "Asia/Tokyo"}))
    assert desk.operator.username in page and "those of Asia/Tokyo." in page


async def test_a_period_that_ends_before_it_begins_is_refused(
    make_user: MakeUser,
) -> None:
    with pytest.raises(BadInputError, match="before it begins"):
        period_of(date(2025, 3, 2), date(2025, 3, 1))
    assert period_of(None, date(2025, 3, 9)) == (date(2025, 3, 1), date(2025, 3, 9))
    lp = await make_user("lp")
    path = "/satmachineadmin/dca/statement"
    for params in ({"from": "2025-03-02", "to": "2025-03-01"}, {"from": "yesterday"}):
        assert (await lp.core.get(path, params=params)).status_code == 400


async def test_documents_need_a_login(client: Any) -> None:
    for path in ("dca/statement", "dca/statement.csv", "machines/some/pairing-sheet"):
        response = await client.get(f"/satmachineadmin/{path}")
        assert response.status_code in (307, 401, 403), response.text


async def test_the_guides_are_served_and_nothing_beside_them(client: Any) -> None:
    for path in ("README.md", "es/lp.md", "screenshots/dca-phone.png"):
        response = await client.get(f"/satmachineadmin/docs/{path}")
        assert response.status_code == 200, path
    for path in (
        "nothing.md",
        "..%2FREADME.md",
        "%2e%2e/config.json",
        "..%2f..%2f..%2fetc/passwd",
        "es/",
        "%00.md",
    ):
        response = await client.get(f"/satmachineadmin/docs/{path}")
        assert response.status_code == 404, path
