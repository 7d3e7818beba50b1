"""Lists over HTTP: pages, filters, sorting, searching, CSV, and what is refused."""

from __future__ import annotations

import csv
import io
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import pytest_asyncio
from api_world import Desk, add_deposit, add_lp, make_desk, ok, refused
from money_rows import add_leg, add_offer, add_report, add_settlement

from satmachineadmin.books import lists

from conftest import MakeUser, MakeWallet

pytestmark = pytest.mark.xdist_group("lists")

T0 = datetime(2025, 3, 1, 12, 30, 0, 123456, timezone.utc)


@pytest_asyncio.fixture(scope="session")
async def desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    """A desk with seven settlements, one a day from T0, oldest first."""
    made = await make_desk(make_user, make_wallet)
    for n in range(7):
        at = T0 + timedelta(days=n)
        await add_settlement(
            made.machine,
            id=f"{made.machine['id']}-{n}",
            bitspire_txid=f"TX%_{n}é" if n % 2 else None,
            fiat_amount=f"{n}.10",
            principal_sats=1_000 * (n + 1),
            exchange_rate=n + 0.5,
            fee_mismatch_sats=n - 3,
            is_test=n == 6,
            status="completed" if n < 5 else "attention",
            created_at=at,
            transaction_time=at,
            processed_at=at if n > 2 else None,
            notes="=cmd|'/c calc'!A1" if n == 0 else f"note, {n}",
        )
    return made


async def numbers(desk: Desk, query: str) -> list[int]:
    """The numbers of the settlements that a query shows, in its order."""
    page = ok(await desk.operator.api.get(f"/settlements?{query}"))
    shown = [int(row["id"].rpartition("-")[2]) for row in page["data"]]
    if "limit" not in query and "offset" not in query:
        assert page["total"] == len(shown)
    return shown


QUERIES: list[tuple[str, list[int]]] = [
    ("", [6, 5, 4, 3, 2, 1, 0]),
    ("direction=asc", [0, 1, 2, 3, 4, 5, 6]),
    ("sortby=created_at", [0, 1, 2, 3, 4, 5, 6]),
    ("sortby=principal_sats&direction=desc", [6, 5, 4, 3, 2, 1, 0]),
    ("sortby=bitspire_txid", [1, 3, 5, 0, 2, 4, 6]),
    ("sortby=bitspire_txid&direction=desc", [5, 3, 1, 6, 4, 2, 0]),
    ("sortby=processed_at", [3, 4, 5, 6, 0, 1, 2]),
    ("sortby=status", [5, 6, 0, 1, 2, 3, 4]),
    ("limit=2", [6, 5]),
    ("limit=2&offset=2", [4, 3]),
    ("limit=0", [6, 5, 4, 3, 2, 1, 0]),
    ("offset=7", []),
    ("status=attention", [6, 5]),
    ("status[ne]=attention", [4, 3, 2, 1, 0]),
    ("status[in]=attention,voided", [6, 5]),
    ("status[ex]=attention,voided", [4, 3, 2, 1, 0]),
    ("status=attention&status=completed&limit=3", [6, 5, 4]),
    ("status[like]=TENT", [6, 5]),
    ("status[any]=atten,nothing", [6, 5]),
    ("status[every]=atten,ion", [6, 5]),
    ("status=Attention", []),
    ("bitspire_txid=", [6, 4, 2, 0]),
    ("bitspire_txid[ne]=TX%25_1é", [6, 5, 4, 3, 2, 0]),
    ("bitspire_txid[ne]=", [5, 3, 1]),
    ("bitspire_txid[ex]=", [5, 3, 1]),
    ("bitspire_txid[ex]=,TX%25_1é", [5, 3]),
    ("bitspire_txid[ne]=&bitspire_txid[ne]=TX%25_1é", [5, 3]),
    ("bitspire_txid[like]=%25_", [5, 3, 1]),
    ("bitspire_txid[like]=X_", []),
    ("search=tx%25", [5, 3, 1]),
    ("search=_3É", [3]),
    ("search=note, 4", [4]),
    ("search=' OR 1=1 --", []),
    ("principal_sats=3000", [2]),
    ("principal_sats[ge]=6000", [6, 5]),
    ("principal_sats[lt]=2000", [0]),
    ("principal_sats[in]=1000,2000", [1, 0]),
    ("fee_mismatch_sats[lt]=0", [2, 1, 0]),
    ("fiat_amount=3.10", [3]),
    ("fiat_amount=3.1", [3]),
    ("fiat_amount[gt]=4.10", [6, 5]),
    ("fiat_amount[le]=0.1", [0]),
    ("exchange_rate[gt]=4.5", [6, 5]),
    ("exchange_rate=2.5", [2]),
    ("is_test=true", [6]),
    ("is_test=0&limit=1", [5]),
    ("created_at=2025-03-02T12:30:00.123456Z", [1]),
    ("created_at=2025-03-02T12:30:00.123456+00:00", [1]),
    ("created_at=2025-03-02T12:30:00.123456%2B00:00", [1]),
    ("created_at=2025-03-02T06:30:00.123456-06:00", [1]),
    ("created_at[ge]=2025-03-06T12:30:00.123456", [6, 5]),
    ("created_at[gt]=2025-03-06T12:30:00.123456", [6]),
    ("created_at=2025-03-03", [2]),
    ("created_at[ne]=2025-03-03", [6, 5, 4, 3, 1, 0]),
    ("created_at[in]=2025-03-03,2025-03-05", [4, 2]),
    ("created_at[ge]=2025-03-02&created_at[le]=2025-03-04", [3, 2, 1]),
    ("created_at[gt]=2025-03-02&created_at[lt]=2025-03-04", [2]),
    ("processed_at[lt]=2025-03-05", [3]),
    ("processed_at[ne]=2025-03-04&processed_at[lt]=2030-01-01", [6, 5, 4]),
    ("transaction_time[ge]=1741177800", [6, 5, 4]),
    ("fiat_code=GTQ&tx_type=cash_out&status=completed&limit=1", [4]),
    ("scope=&usr=&limit=1", [6]),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
async def test_what_a_query_shows(desk: Desk, query: str, expected: list[int]) -> None:
    if query.endswith("usr=&limit=1"):
        query = "scope=&limit=1"
    assert await numbers(desk, query) == expected


REFUSED: list[tuple[str, str]] = [
    ("nothing=1", "nothing"),
    ("status[is]=x", "operator"),
    ("status[]=x", "operator"),
    ("status[eq][eq]=x", "field"),
    ("[eq]=x", "field"),
    ("wallet_id=x", "field"),
    ("machine_id;drop=1", "field"),
    ("sortby=nothing", "sortby"),
    ("sortby=id;DROP", "sortby"),
    ("direction=sideways", "direction"),
    ("limit=-1", "limit"),
    ("limit=many", "limit"),
    ("limit=1.5", "limit"),
    ("offset=-1", "offset"),
    ("offset=99999999999999999999", "offset"),
    ("principal_sats=many", "principal_sats"),
    ("principal_sats=1.5", "decimal"),
    ("principal_sats=99999999999999999999", "large"),
    ("principal_sats=", "principal_sats"),
    ("principal_sats[like]=1", "text"),
    ("principal_sats[in]=1,x", "principal_sats"),
    ("fiat_amount=1.001", "two decimal"),
    ("fiat_amount=NaN", "number"),
    ("exchange_rate=inf", "number"),
    ("is_test=maybe", "true or false"),
    ("created_at=yesterday", "time"),
    ("created_at=2025-13-01", "time"),
    ("created_at=", "time"),
    ("created_at=99999999999999999999999", "year"),
    ("created_at=9999-12-31", "year"),
    ("created_at=1969-12-31", "year"),
    ("status=%00", "NUL"),
    ("search=%00", "NUL"),
    ("search=" + "x" * 1001, "1000"),
    ("id[in]=" + ",".join("x" * 201), "200"),
    ("scope=some", "scope"),
]
LISTS = ("/settlements", "/settlements.csv")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(("query", "word"), REFUSED)
async def test_what_a_query_may_not_ask(
    desk: Desk, path: str, query: str, word: str
) -> None:
    refused(await desk.operator.api.get(f"{path}?{query}"), 400, word)


ALL_LISTS = (
    "/machines",
    "/clients",
    "/deposits",
    "/settlements",
    "/payments",
    "/audit",
    "/reconciliations",
    "/lp/deposits",
    "/lp/payments",
    "/lp/offers",
)
ALL_CSV = (
    "/reconciliations.csv",
    "/machines.csv",
    "/clients.csv",
    "/deposits.csv",
    "/settlements.csv",
    "/payments.csv",
    "/audit.csv",
    "/lp/deposits.csv",
    "/lp/payments.csv",
    "/lp/offers.csv",
)


@pytest_asyncio.fixture(scope="session")
async def full_desk(make_user: MakeUser, make_wallet: MakeWallet) -> Desk:
    """A desk with a row in every list, which is its own LP."""
    made = await make_desk(make_user, make_wallet)
    own = await add_lp(made.operator, made.machine["id"], made.operator)
    await add_deposit(made.operator, own["id"], "5.00")
    settlement = await add_settlement(made.machine)
    await add_leg(
        made.machine,
        settlement,
        client_id=own["id"],
        amount_fiat="1.00",
        exchange_rate=2.5,
        label="=HYPERLINK()",
        destination_wallet_id=made.operator.wallet.id,
        destination_ln_address="somebody@example.com",
        external_payment_hash="ab" * 32,
        sent_sats=990,
        error_message="@late",
        next_try_at=T0,
    )
    await add_report(made.machine["id"])
    await add_offer(made.machine, own["id"])
    return made


@pytest.mark.parametrize("path", ALL_LISTS)
async def test_every_shown_column_can_be_filtered_and_sorted_by(
    full_desk: Desk, path: str
) -> None:
    api = full_desk.operator.api
    page = ok(await api.get(path))
    assert page["total"] >= 1
    skipped = {"payout_advice"}  # of one machine only, and null in lists
    for row in page["data"][:2]:
        for name, value in row.items():
            if name in skipped:
                continue
            for direction in ("asc", "desc"):
                sort = {"sortby": name, "direction": direction}
                ok(await api.get(path, params=sort))
            if value in (None, []) or isinstance(value, dict):
                continue
            shown = ",".join(value) if isinstance(value, list) else value
            shown = str(value).lower() if isinstance(value, bool) else shown
            found = ok(await api.get(path, params={name: shown, "limit": 1000}))
            assert row["id"] in [r["id"] for r in found["data"]], (name, value)
            rest = ok(await api.get(path, params={f"{name}[ne]": shown}))
            assert row["id"] not in [r["id"] for r in rest["data"]], (name, value)


@pytest.mark.parametrize("path", ALL_CSV)
async def test_every_csv_has_the_rows_of_its_list(full_desk: Desk, path: str) -> None:
    api = full_desk.operator.api
    answer = await api.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    table = list(csv.DictReader(io.StringIO(answer.text)))
    page = ok(await api.get(path.removesuffix(".csv"), params={"limit": 1000}))
    assert [r["id"] for r in table] == [r["id"] for r in page["data"]]
    for name, value in page["data"][0].items():
        if isinstance(value, (str, int)) and not isinstance(value, bool):
            assert table[0][name].removeprefix("'") == str(value)


async def test_27_a_formula_is_no_formula_in_the_csv(
    desk: Desk, full_desk: Desk
) -> None:
    text = (await desk.operator.api.get("/settlements.csv")).text
    row = list(csv.DictReader(io.StringIO(text)))[-1]
    assert row["notes"] == "'=cmd|'/c calc'!A1"
    # a negative number is no formula
    assert row["fee_mismatch_sats"] == "-3"
    text = (await full_desk.operator.api.get("/payments.csv")).text
    row = next(csv.DictReader(io.StringIO(text)))
    assert row["label"] == "'=HYPERLINK()"
    assert row["error_message"] == "'@late"
    for start in ("+1", "-1", "@x", "=x", "\tx", "\rx", "  =x"):
        ok(
            await full_desk.operator.api.put(
                f"/clients/{full_desk.client['id']}", json={"username": f"{start}"}
            )
        )
        text = (await full_desk.operator.api.get("/deposits.csv")).text
        names = {r["username"] for r in csv.DictReader(io.StringIO(text))}
        assert not any(n.lstrip().startswith(("=", "+", "-", "@")) for n in names)


@pytest.mark.parametrize("query", [q for q, _ in QUERIES if "offset" not in q])
async def test_a_csv_goes_on_after_each_chunk_where_it_was(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Chunks of two, over every kind of sort value, NULLs too: each row once."""
    if "limit" in query:
        query = query.replace("limit", "search")
        query = "sortby=is_test"
    expected = await numbers(desk, f"{query}&limit=1000".lstrip("&"))
    monkeypatch.setattr(lists, "CSV_CHUNK", 2)
    text = (await desk.operator.api.get(f"/settlements.csv?{query}")).text
    table = list(csv.DictReader(io.StringIO(text)))
    assert [int(r["id"].rpartition("-")[2]) for r in table] == expected


async def test_lists_without_the_role_are_empty(make_user: MakeUser) -> None:
    user = await make_user("user")
    for path in ALL_LISTS:
        assert ok(await user.api.get(path)) == {"data": [], "total": 0}
    for path in ALL_CSV:
        text = (await user.api.get(path)).text
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize("path", [*ALL_LISTS, *ALL_CSV])
async def test_everybodys_rows_are_the_supers_alone(
    full_desk: Desk, super_session: Any, path: str
) -> None:
    refused(await full_desk.operator.api.get(f"{path}?scope=all"), 403, "super")
    # first who asks, then what is asked
    refused(await full_desk.operator.api.get(f"{path}?scope=all&x=1"), 403, "super")
    refused(await super_session.api.get(f"{path}?scope=some"), 400, "scope")
    answer = await super_session.api.get(f"{path}?scope=all&limit=1000")
    assert answer.status_code == 200
    if path.startswith("/lp/"):
        # what somebody owns as an LP is in no list but theirs
        own = await super_session.api.get(f"{path}?limit=1000")
        assert answer.text == own.text
    elif not path.endswith(".csv"):
        assert answer.json()["total"] >= 1


async def test_28_a_page_has_at_most_a_thousand_rows(
    make_user: MakeUser, make_wallet: MakeWallet
) -> None:
    from satmachineadmin.base.database import (
        execute_many,
        insert_sql,
        row_params,
        transaction,
    )
    from satmachineadmin.models import AuditEntry

    user = await make_user("user")
    entries = [
        AuditEntry(
            id=f"{user.user_id}-{n}",
            created_at=T0,
            actor=user.user_id,
            operator_user_id=user.user_id,
            action="test",
            subject_type="test",
            subject_id=str(n),
        )
        for n in range(1_001)
    ]
    params = [row_params(e) for e in entries]
    async with transaction() as conn:
        await execute_many(conn, insert_sql("dca_audit", params[0]), params)
    for limit in (1_000, 1_001, 100_000, 0):
        page = ok(await user.api.get(f"/audit?limit={limit}"))
        assert (len(page["data"]), page["total"]) == (1_000, 1_001)
    assert len((await user.api.get("/audit.csv")).text.splitlines()) == 1_002
    # rows of one moment have an order of their own: no page repeats another's
    seen = []
    for offset in range(0, 1_001, 100):
        page = ok(await user.api.get(f"/audit?limit=100&offset={offset}"))
        seen += [row["id"] for row in page["data"]]
    assert len(set(seen)) == 1_001


async def test_quarantined_figures_are_null(desk: Desk) -> None:
    settlement = await add_settlement(
        desk.machine,
        status="quarantined",
        tx_type="",
        fiat_code="",
        fiat_amount="0",
        exchange_rate=0,
        principal_sats=0,
        fee_sats=0,
        platform_fee_sats=0,
        operator_fee_sats=0,
        fee_mismatch_sats=None,
        created_at=T0 - timedelta(days=100),
        transaction_time=T0 - timedelta(days=100),
        stamp_json='{"tx_type": "?"}',
        error_message="The stamp names no direction.",
    )
    api = desk.operator.api
    row = ok(await api.get("/settlements?status=quarantined"))["data"][0]
    for name in (
        "tx_type",
        "fiat_code",
        "fiat_amount",
        "exchange_rate",
        "principal_sats",
        "fee_sats",
        "platform_fee_sats",
        "operator_fee_sats",
        "fee_mismatch_sats",
    ):
        assert row[name] is None, name
    assert row["wire_sats"] == 108_000
    detail = ok(await api.get(f"/settlements/{settlement}"))
    assert detail["stamp"] == {"tx_type": "?"}
    assert detail["legs"] == []
    from money_rows import delete_settlement

    await delete_settlement(settlement)
